/* The parts of windrow-bench-compaction. */
#ifndef BENCH_COMPACTION_H
#define BENCH_COMPACTION_H

#include <stdbool.h>

#include "bench/store_load.h"

enum {
    COMPACTION_MEMTABLE_BYTES = 4 << 20,
    COMPACTION_FILE_BYTES = 8 << 20, /* of sorted levels */
    COMPACTION_LEVEL0_FILES = 4,
    COMPACTION_SIZE_RATIO = 10,
    COMPACTION_LEVELS = 7,
    COMPACTION_WINDOW_MS = 60 * 60 * 1000
};

/* One load; the same for all who begin it with the same three numbers. */
struct compaction_load {
    uint64_t records;
    uint32_t windows;
    uint32_t upsert_percent; /* of the records that carry an id given before */
    uint64_t next;           /* number of the next record */
    uint64_t distinct;       /* ids so far */
    uint64_t random;
};

struct compaction_row {
    uint8_t key[BENCH_KEY_BYTES];
    uint8_t payload[BENCH_PAYLOAD_BYTES]; /* a MessagePack map */
    const float *vector;
    int64_t event_time_ms;
};

/* What one way of compaction wrote and left. */
struct compaction_result {
    const char *name;
    uint64_t distinct;
    uint64_t device_bytes;                      /* write_bytes of this process */
    double log_bytes, flush_bytes, merge_bytes; /* as the store counts them */
    uint64_t folder_bytes, folder_files;        /* at the end, as allocated */
    /* windrow: how often, and bytes that merges into a level read (moves read none) */
    uint64_t seals, tiers, compactions;
    uint64_t read_into_level[COMPACTION_LEVELS];
    unsigned deepest_level; /* that held a file while it ran (RocksDB: at the end) */
};

/** False when all records have been given. */
bool compaction_load_next(struct compaction_load *load, struct compaction_row *row);

/** How many ways there are. */
size_t compaction_windrow_count(void);
/** The whole load through the store, with what twcs decides carried out after each group. */
void compaction_windrow_run(size_t way, const char *folder, struct compaction_load *load,
                            struct compaction_result *result);

size_t compaction_rocksdb_count(void);
void compaction_rocksdb_run(size_t way, const char *folder, struct compaction_load *load,
                            struct compaction_result *result);

#endif
