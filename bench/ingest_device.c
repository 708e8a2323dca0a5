#include "bench/ingest_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/memory.h"
#include "bench/ingest_clock.h"

enum { TOTAL_BYTES = 128 << 20, SMALL_BYTES = 4096, SMALL_COUNT = 300, ALIGN = 4096 };

static void check(int code, const struct error *error)
{
    if (code == 0)
        return;
    fprintf(stderr, "device: %s\n", error->text);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return left < right ? -1 : left > right;
}

void bench_file_create(struct bench_file *file, const char *directory, const char *name)
{
    struct error error = {0};
    unsigned flags = IO_WRITE | IO_CREATE | IO_TRUNCATE;
    int code;

    snprintf(file->path, sizeof(file->path), "%s/%s", directory, name);
    check(io_make_directory(io_posix(), directory, &error), &error);
    code = io_open(io_posix(), file->path, flags | IO_DIRECT, &file->file, &error);
    file->synced = code == 0;
    if (code == ERROR_UNSUPPORTED)
        code = io_open(io_posix(), file->path, flags, &file->file, &error);
    check(code, &error);
}

void bench_file_write(const struct bench_file *file, const void *bytes, size_t size_bytes,
                      uint64_t offset)
{
    struct error error = {0};

    check(io_write(io_posix(), file->file, file->path, bytes, size_bytes, offset, &error), &error);
    if (!file->synced)
        check(io_datasync(io_posix(), file->file, file->path, &error), &error);
}

void bench_file_remove(struct bench_file *file)
{
    struct error error = {0};

    check(io_close(io_posix(), file->file, file->path, &error), &error);
    check(io_unlink(io_posix(), file->path, &error), &error);
}

/* Bytes a second. */
static double write_all(const struct bench_file *file, const void *bytes, size_t write_bytes,
                        size_t count)
{
    double start_s = bench_now_s();

    for (size_t i = 0; i < count; i++)
        bench_file_write(file, bytes, write_bytes, i * write_bytes);
    return (double)(count * write_bytes) / (bench_now_s() - start_s);
}

struct device_speed device_measure(const char *directory, size_t write_bytes)
{
    struct device_speed speed = {0};
    struct bench_file file;
    double latencies_ms[SMALL_COUNT];
    size_t count;
    void *bytes;

    write_bytes = (write_bytes + ALIGN - 1) / ALIGN * ALIGN;
    count = TOTAL_BYTES / write_bytes;
    bytes = memory_checked(aligned_alloc(ALIGN, write_bytes));
    memset(bytes, 0x5a, write_bytes);
    bench_file_create(&file, directory, "device");
    speed.new_bytes_per_s = write_all(&file, bytes, write_bytes, count);
    speed.bytes_per_s = write_all(&file, bytes, write_bytes, count);
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        double start_s = bench_now_s();
        bench_file_write(&file, bytes, SMALL_BYTES, i * SMALL_BYTES);
        latencies_ms[i] = (bench_now_s() - start_s) * 1e3;
    }
    qsort(latencies_ms, SMALL_COUNT, sizeof(double), compare);
    speed.sync_p50_ms = latencies_ms[SMALL_COUNT / 2];
    speed.sync_p99_ms = latencies_ms[SMALL_COUNT * 99 / 100];
    bench_file_remove(&file);
    free(bytes);
    return speed;
}

void memory_warm(size_t size_bytes)
{
    uint8_t *bytes =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (bytes == MAP_FAILED)
        return;
    (void)madvise(bytes, size_bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < size_bytes; i += 4096)
        bytes[i] = 1;
    (void)munmap(bytes, size_bytes);
}
