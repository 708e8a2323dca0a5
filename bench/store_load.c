#include "bench/store_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "bench/measure.h"

void bench_fail(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, text);
    exit(1);
}

static uint64_t mix(uint64_t number)
{
    number ^= number >> 31;
    number *= 0x7fb5d329728ea185u;
    number ^= number >> 27;
    number *= 0x81dadef4bc2dd44du;
    return number ^ number >> 33;
}

const float *bench_vector(uint64_t number)
{
    static float *vectors;

    if (!vectors) {
        vectors = memory_checked(malloc((size_t)BENCH_SOURCES * BENCH_DIM * sizeof(float)));
        for (uint64_t i = 0; i < (uint64_t)BENCH_SOURCES * BENCH_DIM; i++)
            vectors[i] = (float)(int32_t)mix(i + 1) * 0x1p-31f;
    }
    return vectors + number % BENCH_SOURCES * BENCH_DIM;
}

void bench_key(uint64_t number, uint8_t key[BENCH_KEY_BYTES])
{
    uint64_t halves[2] = {mix(number + 1), number};

    memcpy(key, halves, BENCH_KEY_BYTES);
}

uint64_t bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

enum { READ_BYTES = 1 << 20 };

static const char *floor_path(const char *folder)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/floor", folder);
    return path;
}

void bench_floor_open(struct bench_floor *floor, const char *folder, size_t write_bytes,
                      uint64_t file_bytes)
{
    const char *path = floor_path(folder);
    int file = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);

    *floor = (struct bench_floor){.block = aligned_alloc(4096, write_bytes),
                                  .write_bytes = write_bytes,
                                  .file_bytes = file_bytes / write_bytes * write_bytes};
    if (!floor->block)
        abort();
    memset(floor->block, 0, write_bytes);
    for (uint64_t at = 0; file >= 0 && at < floor->file_bytes; at += write_bytes)
        if (pwrite(file, floor->block, write_bytes, (off_t)at) != (ssize_t)write_bytes)
            bench_fail("floor", "write failed");
    if (file < 0 || fsync(file) < 0 || close(file) < 0)
        bench_fail("floor", "cannot prepare the file");
    memset(floor->block, 0x3f, write_bytes);
    floor->file = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (floor->file < 0)
        bench_fail("floor", "no O_DIRECT here");
}

void bench_floor_slice(struct bench_floor *floor, uint64_t writes)
{
    double before = bench_now();

    for (uint64_t i = 0; i < writes; i++) {
        if (pwrite(floor->file, floor->block, floor->write_bytes, (off_t)floor->at) !=
            (ssize_t)floor->write_bytes)
            bench_fail("floor", "write failed");
        floor->at = (floor->at + floor->write_bytes) % floor->file_bytes;
    }
    floor->seconds += bench_now() - before;
    floor->writes += writes;
}

void bench_floor_close(struct bench_floor *floor)
{
    (void)close(floor->file);
    free(floor->block);
}

double bench_floor_read(const char *folder, uint64_t bytes)
{
    uint8_t *block = aligned_alloc(4096, READ_BYTES);
    int file = open(floor_path(folder), O_RDONLY | O_DIRECT | O_CLOEXEC);
    struct stat info;
    uint64_t size;
    double before;

    if (!block || file < 0 || fstat(file, &info) < 0 || info.st_size < READ_BYTES)
        bench_fail("floor", "cannot read");
    size = (uint64_t)info.st_size / READ_BYTES * READ_BYTES;
    before = bench_now();
    for (uint64_t at = 0; at < bytes; at += READ_BYTES)
        if (pread(file, block, READ_BYTES, (off_t)(at % size)) != READ_BYTES)
            bench_fail("floor", "read failed");
    before = bench_now() - before;
    (void)close(file);
    free(block);
    return before;
}
