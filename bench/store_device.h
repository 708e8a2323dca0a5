/* What the device does with the same sizes, and how much this process asked of it. */
#ifndef BENCH_STORE_DEVICE_H
#define BENCH_STORE_DEVICE_H

#include <stddef.h>
#include <stdint.h>

double bench_now(void);
/** write_bytes of /proc/self/io. */
uint64_t bench_device_bytes(void);

/* The device: O_DIRECT | O_DSYNC onto bytes that a file already has. */

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
