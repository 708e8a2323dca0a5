/* What both stores are given, and how what they did is counted. */
#ifndef BENCH_STORE_LOAD_H
#define BENCH_STORE_LOAD_H

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

#endif
