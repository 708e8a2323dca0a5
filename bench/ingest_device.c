#include "bench/ingest_device.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checksum.h"
#include "base/io.h"
#include "base/memory.h"
#include "bench/measure.h"
#include "ingest/append_pool.h"

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
    double start_s = bench_now();

    for (size_t i = 0; i < count; i++)
        bench_file_write(file, bytes, write_bytes, i * write_bytes);
    return (double)(count * write_bytes) / (bench_now() - start_s);
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
        double start_s = bench_now();
        bench_file_write(&file, bytes, SMALL_BYTES, i * SMALL_BYTES);
        latencies_ms[i] = (bench_now() - start_s) * 1e3;
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

/* The least consumer. */

enum { GROUPS = 8 };

struct group {
    struct group *next;
    uint8_t *bytes;
    size_t used_bytes;
};

struct writer {
    struct bench_least *least;
    pthread_t thread;
    struct bench_file file;
    uint64_t end; /* of the file */
    uint64_t sum; /* of all checksums */
};

struct bench_least {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct group groups[GROUPS];
    struct group *free, *full;
    struct group *current; /* the one that is filled */
    bool end;
    struct writer writers[APPEND_THREADS];
};

static struct group *pop(struct group **list)
{
    struct group *group = *list;

    *list = group->next;
    return group;
}

static void push(struct group **list, struct group *group)
{
    group->next = *list;
    *list = group;
}

static void write_group(struct writer *writer, const struct group *group)
{
    size_t size_bytes = (group->used_bytes + ALIGN - 1) / ALIGN * ALIGN;

    writer->sum += checksum_block(group->bytes, size_bytes, 0, 0, writer->end);
    bench_file_write(&writer->file, group->bytes, size_bytes, writer->end);
    writer->end += size_bytes;
}

static void *work(void *context)
{
    struct writer *writer = context;
    struct bench_least *least = writer->least;

    pthread_mutex_lock(&least->lock);
    while (least->full || !least->end) {
        struct group *group;
        if (!least->full) {
            pthread_cond_wait(&least->changed, &least->lock);
            continue;
        }
        group = pop(&least->full);
        pthread_mutex_unlock(&least->lock);
        write_group(writer, group);
        pthread_mutex_lock(&least->lock);
        push(&least->free, group);
        pthread_cond_broadcast(&least->changed);
    }
    pthread_mutex_unlock(&least->lock);
    return NULL;
}

struct bench_least *bench_least_new(const char *directory)
{
    struct bench_least *least = calloc(1, sizeof(*least));

    if (!least || pthread_mutex_init(&least->lock, NULL) != 0 ||
        pthread_cond_init(&least->changed, NULL) != 0)
        abort();
    for (int i = 0; i < GROUPS; i++) {
        least->groups[i].bytes = memory_checked(aligned_alloc(ALIGN, BENCH_GROUP_BYTES));
        memset(least->groups[i].bytes, 0, BENCH_GROUP_BYTES);
        push(&least->free, &least->groups[i]);
    }
    for (int i = 0; i < APPEND_THREADS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "least-%d", i);
        least->writers[i].least = least;
        bench_file_create(&least->writers[i].file, directory, name);
        if (pthread_create(&least->writers[i].thread, NULL, work, &least->writers[i]) != 0)
            abort();
    }
    return least;
}

static void submit(struct bench_least *least)
{
    pthread_mutex_lock(&least->lock);
    push(&least->full, least->current);
    pthread_cond_broadcast(&least->changed);
    pthread_mutex_unlock(&least->lock);
    least->current = NULL;
}

static void take_group(struct bench_least *least)
{
    pthread_mutex_lock(&least->lock);
    while (!least->free)
        pthread_cond_wait(&least->changed, &least->lock);
    least->current = pop(&least->free);
    pthread_mutex_unlock(&least->lock);
    least->current->used_bytes = 0;
}

void bench_least_add(struct bench_least *least, const void *bytes, size_t size_bytes)
{
    if (size_bytes > BENCH_GROUP_BYTES)
        abort();
    if (least->current && least->current->used_bytes + size_bytes > BENCH_GROUP_BYTES)
        submit(least);
    if (!least->current)
        take_group(least);
    memcpy(least->current->bytes + least->current->used_bytes, bytes, size_bytes);
    least->current->used_bytes += size_bytes;
}

uint64_t bench_least_finish(struct bench_least *least)
{
    uint64_t sum = 0;

    if (least->current)
        submit(least);
    pthread_mutex_lock(&least->lock);
    least->end = true;
    pthread_cond_broadcast(&least->changed);
    pthread_mutex_unlock(&least->lock);
    for (int i = 0; i < APPEND_THREADS; i++) {
        pthread_join(least->writers[i].thread, NULL);
        sum += least->writers[i].sum;
    }
    return sum;
}

void bench_least_delete(struct bench_least *least)
{
    for (int i = 0; i < APPEND_THREADS; i++)
        bench_file_remove(&least->writers[i].file);
    for (int i = 0; i < GROUPS; i++)
        free(least->groups[i].bytes);
    pthread_cond_destroy(&least->changed);
    pthread_mutex_destroy(&least->lock);
    free(least);
}
