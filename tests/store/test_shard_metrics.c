/* What a shard counts while it works: windrow_lsm_compaction_running,
 * windrow_lsm_immutable_memtables, windrow_write_stall_seconds_total. */
#include <stdio.h>
#include <string.h>

#include "store/append.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { DIM = 64, GROUP = 256, MEMTABLE_BYTES = 256 << 10, MEMORY_BYTES = 2 << 20 };

/* The operating system's I/O, which looks at a gauge with each write. */
static struct io_operations watching_operations;
static struct io watching_io = {&watching_operations};
static struct metric *watched;
static double most;

/* And at how far a merge is, when it creates its file and when it writes to it: no lock is held then. */
static struct store_shard *merging; /* NULL: it does not */
static int run_file = -1;
static uint64_t seen_rows, seen_done;
static unsigned looks;

static void look_at_merge(void)
{
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(merging, &arena, &info);
    ck_assert_uint_eq(info.window_count, 1);
    if (looks++ == 0)
        ck_assert_uint_eq(info.windows[0].merge_rows_done, 0);
    ck_assert_uint_ge(info.windows[0].merge_rows_done, seen_done);
    seen_rows = info.windows[0].merge_rows;
    seen_done = info.windows[0].merge_rows_done;
    arena_destroy(&arena);
}

static int watching_open(struct io *io, const char *path, unsigned flags)
{
    const char *suffix = strrchr(path, '.');
    int file = io_posix()->operations->open(io_posix(), path, flags);

    (void)io;
    if (merging && (flags & IO_CREATE) && suffix && strcmp(suffix, ".run") == 0) {
        run_file = file;
        look_at_merge();
    }
    return file;
}

static int64_t watching_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                               uint64_t offset)
{
    (void)io;
    if (watched && metric_value(watched) > most)
        most = metric_value(watched);
    if (merging && file == run_file)
        look_at_merge();
    return io_posix()->operations->pwrite(io_posix(), file, bytes, size_bytes, offset);
}

static struct store_shard *open_shard(struct metrics *metrics, struct store **store)
{
    const struct store_options options = {.data_dir = test_directory(),
                                          .memory_max_bytes = MEMORY_BYTES,
                                          .memtable_max_bytes = MEMTABLE_BYTES,
                                          .metrics = metrics,
                                          .io = &watching_io};
    const struct store_shard_options shard_options = {.collection = "news",
                                                      .name = "3",
                                                      .dim = DIM,
                                                      .metric = VECTOR_METRIC_L2,
                                                      .window_ms = 1000};
    struct store_shard *shard;

    watching_operations = *io_posix()->operations;
    watching_operations.pwrite = watching_pwrite;
    watching_operations.open = watching_open;
    ck_assert_int_eq(store_open(&options, store, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_open(*store, &shard_options, &shard, ERROR_IGNORED), 0);
    return shard;
}

static int append_ids(struct store_shard *shard, uint32_t first, uint32_t first_id)
{
    static float vectors[GROUP][DIM];
    struct store_record records[GROUP];
    struct store_key keys[GROUP];
    const struct store_group group = {
        .records = records, .record_count = GROUP, .next_offset = first + GROUP};

    for (uint32_t i = 0; i < GROUP; i++) {
        store_key_from_u64(first_id + i, &keys[i]);
        records[i] = (struct store_record){.key = keys[i].bytes,
                                           .key_bytes = keys[i].size_bytes,
                                           .offset = first + i,
                                           .event_time_ms = 500,
                                           .vector = vectors[i]};
    }
    return store_shard_append(shard, &group, ERROR_IGNORED);
}

static int append(struct store_shard *shard, uint32_t first)
{
    return append_ids(shard, first, first);
}

static uint32_t immutable_memtables(struct store_shard *shard)
{
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    arena_destroy(&arena);
    return info.immutable_memtables;
}

START_TEST(full_memtables_wait_then_appends_do_and_a_flush_ends_both)
{
    const struct metric_label labels[] = {
        {"collection", "news"}, {"shard", "3"}, {"cause", "memory"}};
    struct metrics *metrics = metrics_new();
    struct store *store;
    struct store_shard *shard = open_shard(metrics, &store);
    struct metric *stall =
        metrics_counter(metrics, "windrow_write_stall_seconds_total", "", labels, 3);
    uint32_t first = 0;

    ck_assert_uint_eq(immutable_memtables(shard), 0);
    ck_assert_double_eq(metric_value(stall), 0);
    while (append(shard, first) == 0)
        first += GROUP;
    ck_assert_uint_gt(immutable_memtables(shard), 1);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert_uint_eq(immutable_memtables(shard), 0);
    ck_assert_int_eq(append(shard, first), 0);
    ck_assert_double_gt(metric_value(stall), 0);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
    metrics_delete(metrics);
}
END_TEST

START_TEST(merge_under_way_is_seen)
{
    const struct metric_label labels[] = {{"collection", "news"}, {"shard", "3"}};
    struct metrics *metrics = metrics_new();
    struct store *store;
    struct store_shard *shard = open_shard(metrics, &store);

    watched = metrics_gauge(metrics, "windrow_lsm_compaction_running", "", labels, 2);
    ck_assert_int_eq(append(shard, 0), 0);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert_double_eq(most, 0);
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
    ck_assert_double_eq(most, 1);
    ck_assert_double_eq(metric_value(watched), 0);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
    metrics_delete(metrics);
}
END_TEST

/* Of two chunks with the same rows those of the older one are left out. */
START_TEST(description_tells_how_far_a_merge_is)
{
    struct metrics *metrics = metrics_new();
    struct store *store;
    struct store_shard *shard = open_shard(metrics, &store);

    watched = NULL;
    ck_assert_int_eq(append(shard, 0), 0);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(append_ids(shard, GROUP, 0), 0);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    merging = shard;
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
    ck_assert_uint_gt(looks, 1);
    ck_assert_uint_eq(seen_rows, 2 * GROUP);
    ck_assert_uint_eq(seen_done, 2 * GROUP);
    run_file = -1;
    seen_done = 0;
    look_at_merge();
    ck_assert_uint_eq(seen_rows, 0);
    merging = NULL;
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
    metrics_delete(metrics);
}
END_TEST

TEST_TABLE(TEST(full_memtables_wait_then_appends_do_and_a_flush_ends_both),
           TEST(merge_under_way_is_seen), TEST(description_tells_how_far_a_merge_is))
