/* windrow's side: one writer, a thread that flushes and seals behind it. */
#include "bench/store_load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "bench/measure.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/describe.h"
#include "store/snapshot.h"
#include "store/store.h"

enum { WINDOW_MS = 1000, LATE_MS = WINDOW_MS / 6, MEMTABLE_BYTES = 16 << 20 };

struct bench_windrow {
    struct bench_windrow_options options;
    struct metrics *metrics;
    struct store *store;
    struct store_shard *shard;
    uint64_t next;
    pthread_t thread;
    _Atomic int64_t watermark_ms;
    _Atomic bool writing; /* a slice of appends is under way: seals wait for its end */
    _Atomic bool working; /* the thread may have something to do */
    _Atomic bool stop;
};

static const struct timespec pause_short = {.tv_nsec = 200000};

static void run_open(struct bench_windrow *run, uint32_t dim, enum store_durability durability)
{
    struct store_options options = {.data_dir = run->options.folder,
                                    .memory_max_bytes = run->options.memory_bytes,
                                    .memtable_max_bytes = MEMTABLE_BYTES,
                                    .metrics = run->metrics};
    struct store_shard_options shard = {.collection = "bench",
                                        .name = "0",
                                        .dim = dim,
                                        .window_ms = WINDOW_MS,
                                        .durability = durability};
    struct error error = {0};

    if (store_open(&options, &run->store, &error) != 0 ||
        store_shard_open(run->store, &shard, &run->shard, &error) != 0)
        bench_fail("windrow", error.text);
}

static void run_close(struct bench_windrow *run)
{
    struct error error = {0};

    if (store_shard_close(run->shard, false, &error) != 0)
        bench_fail("windrow", error.text);
    store_close(run->store);
}

static void seal(struct bench_windrow *run, int64_t start_ms)
{
    const struct store_compaction_request request = {
        .kind = STORE_COMPACTION_SEAL, .window_start_ms = start_ms, .window_length_ms = WINDOW_MS};
    struct error error = {0};

    if (store_shard_compact(run->shard, &request, NULL, &error) != 0)
        bench_fail("windrow", error.text);
}

/* Seals the windows that the watermark has left; true when there was one. */
static bool seal_due(struct bench_windrow *run)
{
    int64_t watermark_ms = atomic_load(&run->watermark_ms);
    struct store_shard_info info;
    struct arena arena;
    bool sealed = false;

    arena_create(&arena, 0);
    store_shard_describe(run->shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        const struct store_window_info *window = &info.windows[i];
        if ((window->chunk_count == 0 && window->memtable_rows == 0) ||
            window->start_ms + WINDOW_MS + LATE_MS > watermark_ms)
            continue;
        seal(run, window->start_ms);
        sealed = true;
    }
    arena_destroy(&arena);
    return sealed;
}

static void *work_behind(void *context)
{
    struct bench_windrow *run = context;
    struct error error = {0};

    while (!atomic_load(&run->stop)) {
        bool worked = false;
        if (store_shard_needs_flush(run->shard)) {
            if (store_shard_flush_due(run->shard, &error) != 0)
                bench_fail("windrow", error.text);
            worked = true;
        }
        if (run->options.windows > 0 && !atomic_load(&run->writing))
            worked |= seal_due(run);
        if (!worked) {
            atomic_store(&run->working, false);
            nanosleep(&pause_short, NULL);
        }
    }
    return NULL;
}

struct bench_windrow *bench_windrow_open(const struct bench_windrow_options *options)
{
    struct bench_windrow *run = memory_new(1, sizeof(*run));

    run->options = *options;
    run->options.folder = strdup(options->folder);
    run->metrics = metrics_new();
    run_open(run, BENCH_DIM, STORE_DURABILITY_LOG);
    run->next =
        store_shard_next_offset(run->shard) < 0 ? 0 : (uint64_t)store_shard_next_offset(run->shard);
    if (options->behind && pthread_create(&run->thread, NULL, work_behind, run) != 0)
        abort();
    return run;
}

static void append(struct bench_windrow *run, const struct store_group *group)
{
    struct error error = {0};
    int code;

    while ((code = store_shard_append(run->shard, group, &error)) == ERROR_BUSY)
        nanosleep(&pause_short, NULL);
    if (code != 0)
        bench_fail("windrow", error.text);
}

static void append_next(struct bench_windrow *run, uint32_t count)
{
    static const uint8_t payload[BENCH_PAYLOAD_BYTES] = {0x81, 0xa1, 'p', 0xd9, 59};
    static uint8_t keys[BENCH_GROUP][BENCH_KEY_BYTES];
    struct store_record records[BENCH_GROUP];
    struct store_group group = {.records = records, .record_count = count};
    uint32_t windows = run->options.windows ? run->options.windows : 1;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = run->next + i;
        bench_key(number, keys[i]);
        records[i] = (struct store_record){
            .key = keys[i],
            .key_bytes = BENCH_KEY_BYTES,
            .offset = (int64_t)number,
            .event_time_ms = (int64_t)(number * windows * WINDOW_MS / run->options.records),
            .vector = bench_vector(number),
            .payload = payload,
            .payload_bytes = BENCH_PAYLOAD_BYTES};
    }
    run->next += count;
    group.next_offset = (int64_t)run->next;
    append(run, &group);
    atomic_store(&run->watermark_ms, records[count - 1].event_time_ms);
}

/* Until the thread has found nothing to do since now. */
static void wait_behind(struct bench_windrow *run)
{
    if (!run->options.behind)
        return;
    atomic_store(&run->working, true);
    while (atomic_load(&run->working))
        nanosleep(&pause_short, NULL);
    atomic_store(&run->working, true); /* the round that cleared it may have begun before */
    while (atomic_load(&run->working))
        nanosleep(&pause_short, NULL);
}

void bench_windrow_write(struct bench_windrow *run, uint64_t records, uint32_t group,
                         struct bench_side *side)
{
    uint64_t device = bench_device_bytes();
    double before = bench_now();

    atomic_store(&run->writing, true);
    for (uint64_t i = 0; i < records; i += group)
        append_next(run, records - i < group ? (uint32_t)(records - i) : group);
    side->write_seconds += bench_now() - before;
    atomic_store(&run->writing, false);
    wait_behind(run);
    side->wall_seconds += bench_now() - before;
    side->device_bytes += bench_device_bytes() - device;
    side->records += records;
}

void bench_windrow_look_up(struct bench_windrow *run, uint64_t lookups, uint64_t *random,
                           struct bench_side *side)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(run->shard, 0);
    double before = bench_now();

    for (uint64_t i = 0; i < lookups; i++) {
        uint64_t number = bench_random(random) % run->next;
        const struct store_source *source;
        const float *vector;
        uint8_t key[BENCH_KEY_BYTES];
        uint32_t row;
        uint32_t count;
        bench_key(number, key);
        if (store_snapshot_find(snapshot, key, sizeof(key), &source, &row, ERROR_IGNORED) != 0 ||
            store_row_vectors(source, row, &vector, &count, ERROR_IGNORED) != 0 ||
            vector[0] != bench_vector(number)[0])
            bench_fail("windrow", "a key was not found");
    }
    side->lookup_seconds += bench_now() - before;
    side->lookups += lookups;
    store_snapshot_release(snapshot);
}

double bench_windrow_read_amplification(struct bench_windrow *run)
{
    const struct metric_label labels[] = {{"collection", "bench"}, {"shard", "0"}};
    double lookups =
        metric_value(metrics_counter(run->metrics, "windrow_lsm_lookups_total", "", labels, 2));
    double reads = metric_value(
        metrics_counter(run->metrics, "windrow_lsm_lookup_reads_total", "", labels, 2));

    return lookups > 0 ? reads / lookups : 0;
}

void bench_windrow_finish(struct bench_windrow *run, struct bench_side *side)
{
    uint64_t device = bench_device_bytes();
    double before = bench_now();
    struct error error = {0};

    if (store_shard_flush(run->shard, &error) != 0)
        bench_fail("windrow", error.text);
    atomic_store(&run->watermark_ms, INT64_MAX / 2);
    wait_behind(run);
    side->wall_seconds += bench_now() - before;
    side->device_bytes += bench_device_bytes() - device;
}

void bench_windrow_close(struct bench_windrow *run)
{
    atomic_store(&run->stop, true);
    if (run->options.behind)
        pthread_join(run->thread, NULL);
    run_close(run);
    metrics_delete(run->metrics);
    free((void *)(uintptr_t)run->options.folder);
    free(run);
}

/* Drops. */

enum { DROP_DIM = 8, DROP_GROUP = 4096, DROP_ROUNDS_MAX = 15 };

static void fill_window(struct bench_windrow *run, int64_t window, uint32_t rows)
{
    static uint8_t keys[DROP_GROUP][BENCH_KEY_BYTES];
    static struct store_record records[DROP_GROUP];
    struct store_group group = {.records = records};
    struct error error = {0};

    for (uint32_t done = 0; done < rows;) {
        for (group.record_count = 0; group.record_count < DROP_GROUP && done < rows; done++) {
            size_t i = group.record_count++;
            bench_key(run->next, keys[i]);
            records[i] = (struct store_record){.key = keys[i],
                                               .key_bytes = BENCH_KEY_BYTES,
                                               .offset = (int64_t)run->next,
                                               .event_time_ms = window * WINDOW_MS,
                                               .vector = bench_vector(run->next)};
            run->next++;
        }
        group.next_offset = (int64_t)run->next;
        append(run, &group);
        if (store_shard_flush_due(run->shard, &error) != 0)
            bench_fail("windrow", error.text);
    }
    seal(run, window * WINDOW_MS);
}

static double drop_window(struct bench_windrow *run, int64_t window)
{
    const struct timespec rest = {.tv_nsec = 300000000};
    struct error error = {0};
    double before;

    /* What was written, sealed or dropped before must not be waited for in this drop. */
    sync();
    nanosleep(&rest, NULL);
    before = bench_now();
    if (store_shard_drop(run->shard, window * WINDOW_MS, WINDOW_MS, "ttl", &error) != 0)
        bench_fail("windrow", error.text);
    return bench_now() - before;
}

static int compare_seconds(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return left < right ? -1 : left > right;
}

void bench_windrow_drops(const char *folder, uint32_t few, uint32_t many, int rounds,
                         double *few_seconds, double *many_seconds)
{
    struct bench_windrow run = {.options = {.folder = folder, .memory_bytes = UINT64_C(1) << 30}};
    double seconds[2][DROP_ROUNDS_MAX];

    rounds = rounds < DROP_ROUNDS_MAX ? rounds : DROP_ROUNDS_MAX;
    run_open(&run, DROP_DIM, STORE_DURABILITY_KAFKA);
    for (int i = 0; i < rounds; i++) {
        fill_window(&run, 2 * i, few);
        fill_window(&run, 2 * i + 1, many);
        seconds[0][i] = drop_window(&run, 2 * i);
        seconds[1][i] = drop_window(&run, 2 * i + 1);
    }
    run_close(&run);
    for (int i = 0; i < 2; i++)
        qsort(seconds[i], (size_t)rounds, sizeof(seconds[i][0]), compare_seconds);
    *few_seconds = seconds[0][rounds / 2];
    *many_seconds = seconds[1][rounds / 2];
}
