#include "tests/indexer/worker/worker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "indexer/index/index.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"

/* A minute. Sanitizers make builds ten to twenty times slower: four minutes there. */
enum {
    WAIT_ROUNDS = TEST_SANITIZED ? 12000 : 3000,
    WAIT_PAUSE_NS = 20 * 1000 * 1000,
    ROUNDS_MAX = 50, /* of reconciliation */
    GROUP_ROWS = 500
};

static int open_or_fail(struct io *io, const char *path, unsigned flags)
{
    struct failing_io *failing = (struct failing_io *)io;

    if (atomic_load(&failing->fail) && strstr(path, ".segment")) {
        atomic_fetch_add(&failing->failures, 1);
        return -EIO;
    }
    return io_posix()->operations->open(io_posix(), path, flags);
}

static void load_config(struct worker_fixture *fixture, const char *name, const char *yaml)
{
    struct buffer report = {0};
    char path[400];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.yaml", test_directory(), name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "kafka: {brokers: 'h:1'}\ndata_dir: %s\ncollections: {news: {ttl: ~, %s}}\n",
            fixture->data_dir, yaml);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_msg(config_load(path, &fixture->config, &report) == 0, "%s", buffer_text(&report));
    buffer_destroy(&report);
    fixture->config->build_nice = 0; /* beside a load, builds that give way to it end never */
    fixture->config->collections[0].window_ms = WINDOW_MS;
    fixture->config->collections[0].durability = CONFIG_DURABILITY_LOG;
    /* The windows are of 1970, and stay young unless a test says otherwise. */
    if (!strstr(yaml, "ivf_pq_after"))
        fixture->config->collections[0].ivf_pq_after_ms = 0;
}

struct store_shard *fixture_open_shard(struct worker_fixture *fixture, const char *name)
{
    struct store_shard *shard;
    struct error error = {0};

    ck_assert_msg(store_registry_claim(fixture->registry, &fixture->config->collections[0], name,
                                       &shard, &error) == 0,
                  "%s", error.text);
    return shard;
}

static void open_store(struct worker_fixture *fixture, const char *shard)
{
    struct store_options options = {.data_dir = fixture->data_dir,
                                    .memory_max_bytes = 256 << 20,
                                    .memtable_max_bytes = 64 << 20};
    struct error error = {0};

    ck_assert_msg(store_open(&options, &fixture->store, &error) == 0, "%s", error.text);
    fixture->registry =
        store_registry_new(&(struct store_registry_options){.store = fixture->store});
    fixture->shard = fixture_open_shard(fixture, shard);
    fixture->next_offset = store_shard_next_offset(fixture->shard);
    if (fixture->next_offset < 0)
        fixture->next_offset = 0;
}

void fixture_open(struct worker_fixture *fixture, const char *name, const char *shard,
                  const char *collection_yaml)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->random = test_seed();
    fixture->metrics = metrics_new();
    fixture->io.operations = *io_posix()->operations;
    fixture->io.operations.open = open_or_fail;
    fixture->io.io.operations = &fixture->io.operations;
    snprintf(fixture->data_dir, sizeof(fixture->data_dir), "%s/%s", test_directory(), name);
    load_config(fixture, name, collection_yaml);
    open_store(fixture, shard);
}

void fixture_switch(struct worker_fixture *fixture)
{
    struct store_shard *shard = fixture->shard;

    fixture->shard = fixture->other;
    fixture->other = shard;
}

static void close_store(struct worker_fixture *fixture)
{
    store_registry_close_all(fixture->registry, true);
    store_registry_delete(fixture->registry);
    fixture->other = NULL;
    store_close(fixture->store);
}

void fixture_close(struct worker_fixture *fixture)
{
    close_store(fixture);
    config_free(fixture->config);
    metrics_delete(fixture->metrics);
}

struct worker_fixture *fixture_start(const char *name, const char *collection_yaml,
                                     uint32_t thread_count)
{
    static int serial;
    struct worker_fixture *fixture = malloc(sizeof(*fixture));
    char own_name[64];

    ck_assert_ptr_nonnull(fixture);
    snprintf(own_name, sizeof(own_name), "%s-%d", name, serial++);
    fixture_open(fixture, own_name, "0", collection_yaml);
    ck_assert_int_eq(worker_queue_local(fixture->metrics, &fixture->queue, ERROR_IGNORED), 0);
    fixture->pool = fixture_pool(fixture, fixture->queue, thread_count);
    return fixture;
}

void fixture_stop(struct worker_fixture *fixture)
{
    worker_pool_stop(fixture->pool);
    fixture->queue->operations->close(fixture->queue);
    fixture_close(fixture);
    free(fixture);
}

void fixture_reconcile(struct worker_fixture *fixture)
{
    for (int round = 0; worker_pool_reconcile(fixture->pool); round++) {
        ck_assert_msg(round < ROUNDS_MAX, "builds never end");
        fixture_wait_drained(fixture->queue);
    }
}

void fixture_reopen(struct worker_fixture *fixture)
{
    char name[64];

    snprintf(name, sizeof(name), "%s", store_shard_name(fixture->shard));
    store_registry_close_all(fixture->registry, true);
    fixture->shard = fixture_open_shard(fixture, name);
}

static void append_group(struct worker_fixture *fixture, int64_t number, uint32_t rows)
{
    uint32_t dim = fixture->config->collections[0].dim;
    struct store_record *records = calloc(rows, sizeof(*records));
    struct store_key *keys = calloc(rows, sizeof(*keys));
    float *vectors = malloc((size_t)rows * dim * sizeof(*vectors));
    struct store_group group = {.records = records, .record_count = rows};
    struct error error = {0};

    for (uint32_t i = 0; i < rows; i++) {
        for (uint32_t d = 0; d < dim; d++)
            vectors[(size_t)i * dim + d] =
                (float)(test_random(&fixture->random) >> 40) * (1.0f / (1 << 24)) - 0.5f;
        store_key_from_u64((uint64_t)fixture->next_offset, &keys[i]);
        records[i] = (struct store_record){.key = keys[i].bytes,
                                           .key_bytes = keys[i].size_bytes,
                                           .offset = fixture->next_offset++,
                                           .event_time_ms = number * WINDOW_MS + i % WINDOW_MS,
                                           .vector = vectors + (size_t)i * dim};
    }
    group.next_offset = fixture->next_offset;
    group.clock.watermark_ms = number * WINDOW_MS;
    ck_assert_msg(store_shard_append(fixture->shard, &group, &error) == 0, "%s", error.text);
    free(vectors);
    free(keys);
    free(records);
}

static void append_rows(struct worker_fixture *fixture, int64_t number, uint32_t rows)
{
    for (uint32_t done = 0; done < rows;) {
        uint32_t count = rows - done < GROUP_ROWS ? rows - done : GROUP_ROWS;
        append_group(fixture, number, count);
        done += count;
    }
}

void fixture_flush(struct worker_fixture *fixture, int64_t number, uint32_t rows)
{
    struct error error = {0};

    append_rows(fixture, number, rows);
    ck_assert_msg(store_shard_flush(fixture->shard, &error) == 0, "%s", error.text);
}

size_t fixture_chunks(struct worker_fixture *fixture, int64_t number,
                      struct store_file_info *chunks, size_t room)
{
    struct store_shard_info info;
    struct arena arena;
    size_t count = 0;

    arena_create(&arena, 0);
    store_shard_describe(fixture->shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        const struct store_window_info *window = &info.windows[i];
        for (size_t j = 0; window->start_ms == number * WINDOW_MS && j < window->chunk_count; j++) {
            ck_assert_uint_lt(count, room);
            chunks[count] = window->chunks[j];
            chunks[count].first_key = chunks[count].last_key = NULL;
            count++;
        }
    }
    arena_destroy(&arena);
    return count;
}

static void pause_ns(long ns)
{
    (void)nanosleep(&(struct timespec){0, ns}, NULL);
}

struct store_file_info fixture_wait_chunk(struct worker_fixture *fixture, int64_t number,
                                          size_t index)
{
    for (int round = 0;; round++) {
        struct store_file_info chunks[16];
        size_t count = fixture_chunks(fixture, number, chunks, 16);
        ck_assert_uint_lt(index, count);
        if (chunks[index].segment.file_number != 0)
            return chunks[index];
        ck_assert_msg(round < WAIT_ROUNDS, "chunk %zu of window %lld got no segment", index,
                      (long long)number);
        pause_ns(WAIT_PAUSE_NS);
    }
}

void fixture_seal(struct worker_fixture *fixture, int64_t number, uint32_t rows)
{
    struct error error = {0};

    append_rows(fixture, number, rows);
    ck_assert_msg(compact_seal(fixture->shard, number * WINDOW_MS, WINDOW_MS,
                               io_wall_ms(io_posix()), &error) == 0,
                  "%s", error.text);
}

struct worker_pool *fixture_pool(struct worker_fixture *fixture, struct worker_queue *queue,
                                 uint32_t thread_count)
{
    struct worker_pool_options options = {.config = fixture->config,
                                          .registry = fixture->registry,
                                          .queue = queue,
                                          .metrics = fixture->metrics,
                                          .io = &fixture->io.io,
                                          .thread_count = thread_count,
                                          .build = thread_count > 0};
    struct worker_pool *pool;
    struct error error = {0};

    ck_assert_msg(worker_pool_start(&options, &pool, &error) == 0, "%s", error.text);
    return pool;
}

struct store_window_info fixture_window(struct worker_fixture *fixture, int64_t number)
{
    struct store_window_info found = {0};
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(fixture->shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++)
        if (info.windows[i].start_ms == number * WINDOW_MS)
            found = info.windows[i];
    arena_destroy(&arena);
    ck_assert_int_eq(found.length_ms, WINDOW_MS);
    found.chunks = NULL;
    return found;
}

void fixture_submit(struct worker_fixture *fixture, struct worker_pool *pool, int64_t number)
{
    struct store_window_info window = fixture_window(fixture, number);
    struct error error = {0};

    for (int round = 0; worker_pool_submit(pool, fixture->shard, &window, &error) != 0; round++) {
        ck_assert_msg(round < WAIT_ROUNDS, "%s", error.text);
        pause_ns(WAIT_PAUSE_NS);
    }
}

struct store_window_info fixture_wait_indexed(struct worker_fixture *fixture, int64_t number)
{
    for (int round = 0;; round++) {
        struct store_window_info window = fixture_window(fixture, number);
        if (window.run.segment.file_number != 0)
            return window;
        ck_assert_msg(round < WAIT_ROUNDS, "window %lld got no segment", (long long)number);
        pause_ns(WAIT_PAUSE_NS);
    }
}

uint64_t fixture_codebook(struct worker_fixture *fixture, int64_t number)
{
    struct store_snapshot *snapshot =
        store_snapshot_acquire(fixture->shard, io_wall_ms(io_posix()));
    uint64_t codebook = 0;
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t i = 0; i < count; i++)
        if (sources[i].segment && sources[i].window_start_ms == number * WINDOW_MS)
            codebook = index_segment_codebook(sources[i].segment->object);
    store_snapshot_release(snapshot);
    return codebook;
}

void fixture_wait_drained(struct worker_queue *queue)
{
    for (int round = 0; queue->operations->depth(queue) != 0; round++) {
        ck_assert_msg(round < WAIT_ROUNDS, "the queue does not run empty");
        pause_ns(WAIT_PAUSE_NS);
    }
}

struct count {
    const char *ending;
    int files;
};

static int count_file(void *context, const char *name)
{
    struct count *count = context;
    size_t length = strlen(name);
    size_t ending = strlen(count->ending);

    if (length >= ending && strcmp(name + length - ending, count->ending) == 0)
        count->files++;
    return 0;
}

int fixture_count_files(struct worker_fixture *fixture, const char *ending)
{
    struct count count = {.ending = ending};
    struct error error = {0};

    ck_assert_msg(
        io_list(io_posix(), store_shard_directory(fixture->shard), count_file, &count, &error) == 0,
        "%s", error.text);
    return count.files;
}

void fixture_wait_files(struct worker_fixture *fixture, const char *ending, int wanted)
{
    for (int round = 0; fixture_count_files(fixture, ending) != wanted; round++) {
        ck_assert_msg(round < WAIT_ROUNDS, "%s", ending);
        pause_ns(WAIT_PAUSE_NS / 2);
    }
}

double fixture_counter(struct worker_fixture *fixture, const char *name)
{
    struct metric_label label = {"collection", "news"};

    return metric_value(metrics_counter(fixture->metrics, name, "", &label, 1));
}

double fixture_gauge(struct worker_fixture *fixture, const char *name)
{
    struct metric_label label = {"collection", "news"};

    return metric_value(metrics_gauge(fixture->metrics, name, "", &label, 1));
}

void fixture_wait_counter(struct worker_fixture *fixture, const char *name, double wanted)
{
    for (int round = 0; fixture_counter(fixture, name) != wanted; round++) {
        ck_assert_msg(round < WAIT_ROUNDS, "%s", name);
        pause_ns(WAIT_PAUSE_NS / 2);
    }
}
