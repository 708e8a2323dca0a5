/* Reads a log into the buffer of the memtable that it becomes again, on a thread of the store while
 * the logs before it are replayed: reading is what a recovery waits for. Small logs are read by
 * whoever waits, so that a simulated disk sees one thread. */
#ifndef STORE_LOG_READER_H
#define STORE_LOG_READER_H

#include <stdint.h>

#include "base/error.h"
#include "base/thread_future.h"

enum { LOG_READERS_AHEAD = 2 };

struct log_file;
struct memtable;
struct store;

struct log_reader {
    struct thread_future future; /* first */
    struct store *store;
    int64_t window_ms;    /* of the memtable */
    struct log_file *log; /* NULL: not started */
    struct memtable *memtable;
    int code;
    struct error error;
};

/** Starts to read a log that is not empty. */
void log_reader_start(struct log_reader *reader, struct log_file *log, struct store *store,
                      int64_t window_ms);
/** The memtable with all of the file's bytes in its buffer, no row yet and a reference to the log;
 * the caller's. What can be read may not be durable yet: it is synced. */
int log_reader_wait(struct log_reader *reader, struct memtable **memtable, struct error *error);
/** Frees what nobody waited for. */
void log_reader_destroy(struct log_reader *reader);

#endif
