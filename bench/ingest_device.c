#include "bench/ingest_device.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"

enum { TOTAL_BYTES = 128 << 20, SMALL_BYTES = 4096, SMALL_COUNT = 300, ALIGN = 4096 };

static void check(int code, const struct error *error)
{
    if (code == 0)
        return;
    fprintf(stderr, "device: %s\n", error->text);
    exit(1);
}

static double now_s(void)
{
    return (double)io_monotonic_ns(io_posix()) / 1e9;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return left < right ? -1 : left > right;
}

struct probe {
    char path[4096];
    int file;
    bool synced; /* by the open flags */
    void *bytes;
};

static void write_synced(const struct probe *probe, size_t size_bytes, uint64_t offset)
{
    struct error error = {0};

    check(io_write(io_posix(), probe->file, probe->path, probe->bytes, size_bytes, offset, &error),
          &error);
    if (!probe->synced)
        check(io_datasync(io_posix(), probe->file, probe->path, &error), &error);
}

static void open_probe(struct probe *probe, const char *directory, size_t write_bytes)
{
    struct error error = {0};
    unsigned flags = IO_WRITE | IO_CREATE | IO_TRUNCATE;
    int code;

    snprintf(probe->path, sizeof(probe->path), "%s/device", directory);
    check(io_make_directory(io_posix(), directory, &error), &error);
    code = io_open(io_posix(), probe->path, flags | IO_DIRECT, &probe->file, &error);
    probe->synced = code == 0;
    if (code == ERROR_UNSUPPORTED)
        code = io_open(io_posix(), probe->path, flags, &probe->file, &error);
    check(code, &error);
    probe->bytes = aligned_alloc(ALIGN, write_bytes);
    if (!probe->bytes)
        abort();
    memset(probe->bytes, 0x5a, write_bytes);
}

/* Bytes a second. */
static double write_all(const struct probe *probe, size_t write_bytes, size_t count)
{
    double start_s = now_s();

    for (size_t i = 0; i < count; i++)
        write_synced(probe, write_bytes, i * write_bytes);
    return (double)(count * write_bytes) / (now_s() - start_s);
}

struct device_speed device_measure(const char *directory, size_t write_bytes)
{
    struct device_speed speed = {0};
    struct error error = {0};
    struct probe probe = {0};
    double latencies_ms[SMALL_COUNT];
    size_t count;
    double start_s;

    write_bytes = (write_bytes + ALIGN - 1) / ALIGN * ALIGN;
    count = TOTAL_BYTES / write_bytes;
    open_probe(&probe, directory, write_bytes);
    speed.new_bytes_per_s = write_all(&probe, write_bytes, count);
    speed.bytes_per_s = write_all(&probe, write_bytes, count);
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        start_s = now_s();
        write_synced(&probe, SMALL_BYTES, i * SMALL_BYTES);
        latencies_ms[i] = (now_s() - start_s) * 1e3;
    }
    qsort(latencies_ms, SMALL_COUNT, sizeof(double), compare);
    speed.sync_p50_ms = latencies_ms[SMALL_COUNT / 2];
    speed.sync_p99_ms = latencies_ms[SMALL_COUNT * 99 / 100];
    check(io_close(io_posix(), probe.file, probe.path, &error), &error);
    check(io_unlink(io_posix(), probe.path, &error), &error);
    free(probe.bytes);
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
