/* Reads a log into the buffer of the memtable that it becomes again, in a thread of its own while
 * the logs before it are replayed: reading is what a recovery waits for. Small logs are read by
 * whoever waits, so that a simulated disk sees one thread. */
#ifndef STORE_LOG_READER_H
#define STORE_LOG_READER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { LOG_READERS_AHEAD = 2 };

struct log_file;
struct memtable;
struct store_memory;

struct log_reader {
    struct store_memory *memory; /* of the memtables that it makes */
    int64_t window_ms;           /* likewise */
    struct log_file *log;        /* NULL: not started */
    struct memtable *memtable;
    pthread_t thread;
    bool threaded;
    int code;
    struct error error;
};

/** Starts to read a log that is not empty. */
void log_reader_start(struct log_reader *reader, struct log_file *log, struct store_memory *memory,
                      int64_t window_ms);
/** The memtable with all of the file's bytes in its buffer, no row yet and a reference to the log;
 * the caller's. What can be read may not be durable yet: it is synced. */
int log_reader_wait(struct log_reader *reader, struct memtable **memtable, struct error *error);
/** Frees what nobody waited for. */
void log_reader_destroy(struct log_reader *reader);

#endif
