/* What the device under a folder gives, with the writes that the store's log makes: the bound of
 * everything that is to be durable. */
#ifndef BENCH_INGEST_DEVICE_H
#define BENCH_INGEST_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file that is written as the log is. All that fails ends the process. */
struct bench_file {
    char path[4096];
    int file;
    bool synced; /* by the open flags */
};

/** Makes DIRECTORY/NAME, with the folder if need be. */
void bench_file_create(struct bench_file *file, const char *directory, const char *name);
/** Durable when it returns. Bytes, size and offset are aligned to 4096. */
void bench_file_write(const struct bench_file *file, const void *bytes, size_t size_bytes,
                      uint64_t offset);
/** Closes it and removes it. */
void bench_file_remove(struct bench_file *file);

struct device_speed {
    double new_bytes_per_s; /* synced writes of `write_bytes`, one behind the other, to a file that
                               grows: blocks that a virtual disk may first get from its host */
    double bytes_per_s;     /* the same over blocks that were written before */
    double sync_p50_ms;     /* one synced write of a single record's frame */
    double sync_p99_ms;
};

/** Writes 128 MiB, twice, and a few hundred small frames into a file of `directory`, and removes
 * it. Ends the process on an error. */
struct device_speed device_measure(const char *directory, size_t write_bytes);

/** Pages that a virtual machine touches for the first time come from its host, which took fifty
 * times as long as clearing them again does: touches so many and gives them back, so that whoever
 * is measured next does not pay for it. */
void memory_warm(size_t size_bytes);

/* The least that a consumer can do for records to be durable: their bytes are copied into groups as
 * large as windrow's in a backlog, summed, and written to new files as the log writes, by as many
 * threads as windrow appends with. Nothing is decoded, and nothing could be found again: what the
 * machine leaves for any consumer beside its broker. */
enum { BENCH_GROUP_BYTES = 4 << 20 }; /* what windrow appends at once in a backlog */

struct bench_least;

/** The folder must outlive it. All that fails ends the process. */
struct bench_least *bench_least_new(const char *directory);
/** One record, copied. One thread. */
void bench_least_add(struct bench_least *least, const void *bytes, size_t size_bytes);
/** Everything added is durable when it returns. Nothing may be added after it. The sum of all
 * groups' checksums. */
uint64_t bench_least_finish(struct bench_least *least);
/** Removes the files. */
void bench_least_delete(struct bench_least *least);

#endif
