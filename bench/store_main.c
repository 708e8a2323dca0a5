/* The store beside RocksDB and beside what the device can do, all in one run on one folder.
 *
 *   windrow-bench-store FOLDER [MEGABYTES]
 *
 * 768-d float32 vectors, 16-byte keys, 64-byte payloads, one writer. windrow flushes and seals
 * behind the writer, ten windows over the run; its time is until the last window is sealed. Bytes
 * written are the kernel's count for this process. Times of a shared machine mean little: read the
 * ratios. */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "bench/store.h"
#include "store/store.h"

enum { GROUP = 64, WINDOWS = 10, WINDOW_MS = 1000, LOOKUPS = 20000, SINGLES = 3000 };

struct run {
    struct store *store;
    struct store_shard *shard;
    _Atomic bool written;
    _Atomic int64_t watermark_ms;
};

void bench_fail(const char *what, const char *text)
{
    fprintf(stderr, "windrow-bench-store: %s: %s\n", what, text);
    exit(1);
}

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

    sync();
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "write_bytes: %llu", &bytes) == 1)
            break;
    if (file)
        fclose(file);
    return bytes;
}

static uint64_t folder_sum;

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path;
    (void)walk;
    folder_sum += kind == FTW_F ? (uint64_t)info->st_blocks * 512 : 0;
    return 0;
}

uint64_t bench_folder_bytes(const char *folder)
{
    folder_sum = 0;
    (void)nftw(folder, add_size, 16, FTW_PHYS);
    return folder_sum;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
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
        vectors = malloc((size_t)BENCH_SOURCES * BENCH_DIM * sizeof(float));
        if (!vectors)
            abort();
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

/* What the device does with the same sizes: O_DIRECT | O_DSYNC onto zero-written bytes. */
static double device_floor(const char *folder, uint64_t bytes, size_t write_bytes)
{
    char path[4096];
    uint8_t *block = aligned_alloc(4096, write_bytes);
    double seconds;
    int file;

    if (!block)
        abort();
    snprintf(path, sizeof(path), "%s/floor", folder);
    memset(block, 0, write_bytes);
    file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    for (uint64_t at = 0; file >= 0 && at < bytes; at += write_bytes)
        if (pwrite(file, block, write_bytes, (off_t)at) < 0)
            bench_fail("floor", "write failed");
    if (file < 0 || fsync(file) < 0 || close(file) < 0)
        bench_fail("floor", "cannot prepare the file");
    file = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (file < 0)
        bench_fail("floor", "no O_DIRECT here");
    memset(block, 0x3f, write_bytes);
    seconds = bench_now();
    for (uint64_t at = 0; at < bytes; at += write_bytes)
        if (pwrite(file, block, write_bytes, (off_t)at) < 0)
            bench_fail("floor", "write failed");
    seconds = bench_now() - seconds;
    (void)close(file);
    (void)unlink(path);
    free(block);
    return (double)bytes / 1e6 / seconds;
}

static void run_open(struct run *run, const char *folder)
{
    struct store_options options = {
        .data_dir = folder, .memory_max_bytes = UINT64_C(1) << 30, .memtable_max_bytes = 32 << 20};
    struct store_shard_options shard = {
        .collection = "bench", .name = "0", .dim = BENCH_DIM, .window_ms = WINDOW_MS};
    struct error error = {0};

    if (store_open(&options, &run->store, &error) != 0 ||
        store_shard_open(run->store, &shard, &run->shard, &error) != 0)
        bench_fail("windrow", error.text);
}

static void run_close(struct run *run, bool flush)
{
    struct error error = {0};

    if (store_shard_close(run->shard, flush, &error) != 0)
        bench_fail("windrow", error.text);
    store_close(run->store);
}

/* Flushes when it is due and seals what the writer has passed. */
static void *work_behind(void *context)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    struct run *run = context;
    struct error error = {0};
    bool last;

    do {
        struct store_shard_info info;
        struct arena arena;
        last = atomic_load(&run->written);
        if ((last || store_shard_needs_flush(run->shard)) &&
            store_shard_flush(run->shard, &error) != 0)
            bench_fail("windrow", error.text);
        arena_create(&arena, 0);
        store_shard_describe(run->shard, &arena, &info);
        for (size_t i = 0; i < info.window_count; i++) {
            const struct store_window_info *window = &info.windows[i];
            if (window->chunk_count == 0 ||
                (!last && window->start_ms + 2 * WINDOW_MS > atomic_load(&run->watermark_ms)))
                continue;
            if (store_shard_seal(run->shard, window->start_ms, WINDOW_MS, 0, NULL, NULL, &error))
                bench_fail("windrow", error.text);
        }
        arena_destroy(&arena);
        nanosleep(&pause, NULL);
    } while (!last);
    return NULL;
}

static void append(struct run *run, uint64_t first, uint32_t count, uint64_t total)
{
    static const uint8_t payload[BENCH_PAYLOAD_BYTES] = {0x81, 0xa1, 'p', 0xd9, 59};
    static uint8_t keys[GROUP][BENCH_KEY_BYTES];
    struct store_record records[GROUP];
    struct store_group group = {.records = records, .record_count = count};
    const struct timespec pause = {.tv_nsec = 200000};
    struct error error = {0};
    int code;

    for (uint32_t i = 0; i < count; i++) {
        bench_key(first + i, keys[i]);
        records[i] = (struct store_record){.key = keys[i],
                                           .key_bytes = BENCH_KEY_BYTES,
                                           .offset = (int64_t)(first + i),
                                           .event_time_ms =
                                               (int64_t)((first + i) * WINDOWS * WINDOW_MS / total),
                                           .vector = bench_vector(first + i),
                                           .payload = payload,
                                           .payload_bytes = BENCH_PAYLOAD_BYTES};
    }
    group.next_offset = (int64_t)(first + count);
    while ((code = store_shard_append(run->shard, &group, &error)) == ERROR_BUSY)
        nanosleep(&pause, NULL);
    if (code != 0)
        bench_fail("windrow", error.text);
    atomic_store(&run->watermark_ms, records[count - 1].event_time_ms);
}

static double look_up(struct run *run, uint64_t records)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(run->shard, 0);
    double before = bench_now();
    uint64_t random = 88172645463325252u;

    for (uint64_t i = 0; i < LOOKUPS; i++) {
        uint8_t key[BENCH_KEY_BYTES];
        const struct store_source *source;
        const float *vector;
        uint32_t row;
        uint32_t count;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bench_key(random % records, key);
        if (store_snapshot_find(snapshot, key, sizeof(key), &source, &row, NULL) != 0 ||
            store_row_vectors(source, row, &vector, &count, NULL) != 0 ||
            vector[0] != bench_vector(random % records)[0])
            bench_fail("windrow", "a key was not found");
    }
    before = bench_now() - before;
    store_snapshot_release(snapshot);
    return LOOKUPS / before;
}

static void measure_windrow(const char *folder, uint64_t records, struct bench_result *result,
                            double *append_seconds, double *lookup_rate)
{
    struct run run = {0};
    uint64_t device = bench_device_bytes();
    double user = (double)records * BENCH_RECORD_BYTES;
    double before;
    pthread_t thread;

    run_open(&run, folder);
    if (pthread_create(&thread, NULL, work_behind, &run) != 0)
        abort();
    before = bench_now();
    for (uint64_t i = 0; i < records; i += GROUP)
        append(&run, i, records - i < GROUP ? (uint32_t)(records - i) : GROUP, records);
    *append_seconds = bench_now() - before;
    atomic_store(&run.written, true);
    pthread_join(thread, NULL);
    result->seconds = bench_now() - before;
    result->megabytes = user / 1e6;
    result->device_ratio = (double)(bench_device_bytes() - device) / user;
    result->space_ratio = (double)bench_folder_bytes(folder) / user;
    *lookup_rate = look_up(&run, records);
    run_close(&run, true);
}

/* Groups of one, and how long it takes to open what they left in the log. */
static double measure_singles(const char *folder)
{
    struct run run = {0};
    double before;

    run_open(&run, folder);
    append(&run, 0, 1, SINGLES);
    before = bench_now();
    for (uint64_t i = 1; i < SINGLES; i++)
        append(&run, i, 1, SINGLES);
    before = bench_now() - before;
    run_close(&run, false);
    return SINGLES / before;
}

static void measure_recovery(const char *folder, uint64_t records)
{
    struct run run = {0};
    double before;

    run_open(&run, folder);
    for (uint64_t i = 0; i < records; i += GROUP)
        append(&run, i, GROUP, records);
    run_close(&run, false);
    before = bench_now();
    run_open(&run, folder);
    printf("recovery of a log tail of %.0f MB: %.2f s\n",
           (double)records * BENCH_RECORD_BYTES / 1e6, bench_now() - before);
    run_close(&run, false);
}

static const char *subfolder(const char *folder, const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return path;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : NULL;
    uint64_t megabytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
    uint64_t records = megabytes * 1000000 / BENCH_RECORD_BYTES / GROUP * GROUP;
    struct bench_result ours = {0};
    struct bench_result theirs = {0};
    struct bench_result single = {0};
    double appended = 0;
    double our_lookups;
    double their_lookups;
    double unused;
    double rate;

    if (!folder || records == 0) {
        fprintf(stderr, "usage: windrow-bench-store FOLDER [MEGABYTES]\n");
        return 64;
    }
    logger_set_level(LOGGER_WARNING);
    (void)mkdir(folder, 0700);
    (void)bench_vector(0);
    rate = device_floor(folder, records * BENCH_RECORD_BYTES / 2, 200 * 1024);
    measure_windrow(subfolder(folder, "windrow"), records, &ours, &appended, &our_lookups);
    bench_rocksdb(subfolder(folder, "rocksdb"), records, GROUP, LOOKUPS, &theirs, &their_lookups);
    printf("%.0f MB in groups of %d, device floor %.0f MB/s\n", ours.megabytes, GROUP, rate);
    printf("%-10s %10s %14s %14s %8s %12s\n", "", "MB/s", "MB/s sealed", "device/user", "space",
           "lookups/s");
    printf("%-10s %10.0f %14.0f %14.2f %8.2f %12.0f\n", "windrow", ours.megabytes / appended,
           ours.megabytes / ours.seconds, ours.device_ratio, ours.space_ratio, our_lookups);
    printf("%-10s %10.0f %14s %14.2f %8.2f %12.0f\n", "rocksdb", theirs.megabytes / theirs.seconds,
           "-", theirs.device_ratio, theirs.space_ratio, their_lookups);
    printf("%-10s %9.1fx %14s %14s %8s %11.1fx; of the floor %.2f\n", "ratio",
           theirs.seconds / appended, "", "", "", our_lookups / their_lookups,
           ours.megabytes / appended / rate);
    rate = measure_singles(subfolder(folder, "windrow"));
    bench_rocksdb(subfolder(folder, "rocksdb"), SINGLES, 1, 0, &single, &unused);
    printf("groups of one: windrow %.0f/s, rocksdb %.0f/s: %.1fx\n", rate, SINGLES / single.seconds,
           rate * single.seconds / SINGLES);
    measure_recovery(subfolder(folder, "windrow"),
                     records < 300000 ? records / 2 / GROUP * GROUP : 300032);
    (void)subfolder(folder, "windrow");
    (void)subfolder(folder, "rocksdb");
    return 0;
}
