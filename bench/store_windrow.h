/* The load through the store. */
#ifndef BENCH_STORE_WINDROW_H
#define BENCH_STORE_WINDROW_H

#include "bench/store_load.h"
#include <stdbool.h>

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

#endif
