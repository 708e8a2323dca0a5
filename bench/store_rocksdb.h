/* The load through RocksDB: FIFO compaction, no compression, WAL synced for each batch. */
#ifndef BENCH_STORE_ROCKSDB_H
#define BENCH_STORE_ROCKSDB_H

#include "bench/store_load.h"

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

#endif
