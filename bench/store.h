/* The parts of windrow-bench-store. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_DIM = 768, BENCH_KEY_BYTES = 16, BENCH_PAYLOAD_BYTES = 64, BENCH_SOURCES = 4096 };

enum {
    BENCH_VALUE_BYTES = BENCH_DIM * 4 + BENCH_PAYLOAD_BYTES,
    BENCH_RECORD_BYTES = BENCH_KEY_BYTES + BENCH_VALUE_BYTES
};

struct bench_result {
    double seconds;      /* wall clock */
    double megabytes;    /* user bytes, 10^6 */
    double device_ratio; /* bytes the process wrote to the device for each user byte */
    double space_ratio;  /* bytes on the device at the end for each user byte */
};

/** A vector that is the same for the same number. */
const float *bench_vector(uint64_t number);
/** A 16-byte key without order. */
void bench_key(uint64_t number, uint8_t key[BENCH_KEY_BYTES]);

double bench_now(void);
/** write_bytes of /proc/self/io. */
uint64_t bench_device_bytes(void);
/** Bytes of all files below a folder, as allocated. */
uint64_t bench_folder_bytes(const char *folder);
_Noreturn void bench_fail(const char *what, const char *text);

/** RocksDB: FIFO compaction, no compression, WAL synced for each batch. `lookups` point lookups a
 * second go to `*lookup_rate`. */
void bench_rocksdb(const char *folder, uint64_t records, uint32_t batch, uint64_t lookups,
                   struct bench_result *result, double *lookup_rate);

#endif
