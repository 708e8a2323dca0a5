/* The parts of windrow-bench-store: the load that both stores are given, both stores, and the device
 * below them. */
#ifndef BENCH_STORE_LOAD_H
#define BENCH_STORE_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_DIM = 768,
    BENCH_KEY_BYTES = 16,
    BENCH_PAYLOAD_BYTES = 64,
    BENCH_SOURCES = 4096,
    BENCH_GROUP = 64
};

enum {
    BENCH_VALUE_BYTES = BENCH_DIM * 4 + BENCH_PAYLOAD_BYTES,
    BENCH_RECORD_BYTES = BENCH_KEY_BYTES + BENCH_VALUE_BYTES
};

/* What one side did, summed over its slices. */
struct bench_side {
    uint64_t records;
    double write_seconds;  /* in calls that return when the records are durable */
    double wall_seconds;   /* until everything behind them was done as well */
    uint64_t device_bytes; /* that this process wrote to the device meanwhile */
    uint64_t lookups;
    double lookup_seconds;
};

/** A vector that is the same for the same number. */
const float *bench_vector(uint64_t number);
/** A 16-byte key without order. */
void bench_key(uint64_t number, uint8_t key[BENCH_KEY_BYTES]);
/** The next of a row of random numbers. */
uint64_t bench_random(uint64_t *state);

/** "PROGRAM: WHAT: TEXT" on stderr, and the end. */
_Noreturn void bench_fail(const char *what, const char *text);

/* The load through the store. */

struct bench_windrow;

struct bench_windrow_options {
    const char *folder;
    uint64_t records; /* of the whole run; spread over `windows` */
    uint32_t windows; /* 0: nothing is sealed */
    uint64_t memory_bytes;
    bool behind; /* a thread flushes and seals */
};

struct bench_windrow *bench_windrow_open(const struct bench_windrow_options *options);
/** Appends the next records in groups of `group`, then waits for what is behind them. */
void bench_windrow_write(struct bench_windrow *run, uint64_t records, uint32_t group,
                         struct bench_side *side);
void bench_windrow_look_up(struct bench_windrow *run, uint64_t lookups, uint64_t *random,
                           struct bench_side *side);
/** Tables searched for each lookup so far. */
double bench_windrow_read_amplification(struct bench_windrow *run);
/** Seals all that is left. */
void bench_windrow_finish(struct bench_windrow *run, struct bench_side *side);
void bench_windrow_close(struct bench_windrow *run);

/** Seconds to drop a window of few and one of many rows: the median of `rounds`. */
void bench_windrow_drops(const char *folder, uint32_t few, uint32_t many, int rounds,
                         double *few_seconds, double *many_seconds);

/* The load through RocksDB: FIFO compaction, no compression, WAL synced for each batch. */

struct bench_rocksdb;
struct rocksdb_t;

/** Returns when no memtable waits for a flush and nothing is flushed or compacted.
 * *rested_version: 0 at first, then what the last call left there. */
void bench_rocksdb_rest(struct rocksdb_t *db, uint64_t *rested_version);
struct bench_rocksdb *bench_rocksdb_open(const char *folder);
void bench_rocksdb_write(struct bench_rocksdb *run, uint64_t records, uint32_t batch,
                         struct bench_side *side);
void bench_rocksdb_look_up(struct bench_rocksdb *run, uint64_t lookups, uint64_t *random,
                           struct bench_side *side);
void bench_rocksdb_finish(struct bench_rocksdb *run, struct bench_side *side);
void bench_rocksdb_close(struct bench_rocksdb *run);

/* What the device does with the same sizes: O_DIRECT | O_DSYNC onto bytes that a file already has.
 */

struct bench_floor {
    int file;
    uint8_t *block;
    size_t write_bytes;
    uint64_t file_bytes, at;
    uint64_t writes;
    double seconds;
};

/** Zero-writes a file of `file_bytes` for writes of `write_bytes`. */
void bench_floor_open(struct bench_floor *floor, const char *folder, size_t write_bytes,
                      uint64_t file_bytes);
void bench_floor_slice(struct bench_floor *floor, uint64_t writes);
void bench_floor_close(struct bench_floor *floor);
/** Seconds to read `bytes` of that file past the page cache, a MiB at a time. */
double bench_floor_read(const char *folder, uint64_t bytes);

#endif
