/* What the device does with the same sizes, and how much this process asked of it. */
#include "bench/store_device.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/store_load.h"

enum { READ_BYTES = 1 << 20 };

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t bench_device_bytes(void)
{
    FILE *file = fopen("/proc/self/io", "re");
    char line[128];
    unsigned long long bytes = 0;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "write_bytes: %llu", &bytes) == 1)
            break;
    if (file)
        fclose(file);
    return bytes;
}

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
