/* Base and tail through the worker: one codebook, codes that are copied, what goes and comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "indexer/index/index.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/state.h"
#include "store/compaction.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/indexer/worker/worker_fixture.h"
#include "twcs/twcs.h"

enum { WINDOWS = 24, ROWS = 200 };

struct setting {
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
};

#define LISTS "dim: 16, metric: l2, index: {kind: ivf_pq, spans: auto}"

static struct setting *set_up(const char *yaml)
{
    static int serial;
    struct setting *setting = calloc(1, sizeof(*setting));
    char name[24];

    ck_assert_ptr_nonnull(setting);
    snprintf(name, sizeof(name), "history-%d", serial++);
    fixture_open(&setting->fixture, name, "0", yaml);
    ck_assert_int_eq(worker_queue_local(setting->fixture.metrics, &setting->queue, ERROR_IGNORED),
                     0);
    setting->pool = fixture_pool(&setting->fixture, setting->queue, 2);
    return setting;
}

static void tear_down(struct setting *setting)
{
    worker_pool_stop(setting->pool);
    setting->queue->operations->close(setting->queue);
    fixture_close(&setting->fixture);
    free(setting);
}

static void seal(struct setting *setting, int64_t first, int64_t end)
{
    for (int64_t window = first; window < end; window++)
        fixture_seal(&setting->fixture, window, ROWS);
}

/* What the worker does until nothing is left to do. */
static void reconcile(struct setting *setting)
{
    int round = 0;

    for (; round < 50 && worker_pool_reconcile(setting->pool); round++)
        fixture_wait_drained(setting->queue);
    ck_assert_int_lt(round, 50);
}

/* The loaded span of a tier. */
struct found {
    uint32_t rows, parts;
    uint64_t codebook, file_number;
    double recall;
};

static struct found find_span(struct setting *setting, uint8_t tier)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(setting->fixture.shard, 0);
    struct found found = {0};
    size_t count;
    const struct store_span *spans = store_snapshot_spans(snapshot, &count);

    ck_assert_uint_le(count, 2);
    for (size_t i = 0; i < count; i++)
        if (spans[i].tier == tier) {
            ck_assert_uint_eq(found.rows, 0);
            found =
                (struct found){spans[i].row_count, spans[i].part_count,
                               index_segment_codebook(spans[i].segment->object),
                               spans[i].segment->info.file_number, spans[i].segment->info.recall};
            ck_assert_int_eq(index_segment_validate(spans[i].segment->object, ERROR_IGNORED), 0);
            ck_assert_uint_gt(index_segment_effort(spans[i].segment->object, 10, 0.95), 0);
        }
    store_snapshot_release(snapshot);
    return found;
}

START_TEST(what_settles_goes_into_the_tail_and_in_the_end_into_the_base)
{
    struct setting *setting = set_up(LISTS);
    struct found base, tail, next;

    seal(setting, 0, WINDOWS);
    reconcile(setting);
    base = find_span(setting, TWCS_BASE_TIER);
    ck_assert_uint_eq(base.rows, WINDOWS * ROWS);
    ck_assert_uint_eq(base.parts, WINDOWS);
    ck_assert_double_ge(base.recall, 0.85);
    ck_assert_uint_eq(find_span(setting, TWCS_TAIL_TIER).rows, 0);
    for (int64_t window = WINDOWS; window < WINDOWS + 3; window++) {
        seal(setting, window, window + 1);
        reconcile(setting);
        tail = find_span(setting, TWCS_TAIL_TIER);
        ck_assert_uint_eq(tail.rows, (uint32_t)(window - WINDOWS + 1) * ROWS);
        ck_assert_uint_eq(tail.codebook, base.codebook);
        ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).file_number, base.file_number);
    }
    seal(setting, WINDOWS + 3, WINDOWS + 4); /* more than an eighth */
    reconcile(setting);
    next = find_span(setting, TWCS_BASE_TIER);
    ck_assert_uint_eq(next.rows, (WINDOWS + 4) * ROWS);
    ck_assert_uint_eq(next.codebook, base.codebook); /* nothing was trained anew */
    ck_assert_uint_ne(next.file_number, base.file_number);
    ck_assert_double_ge(next.recall, 0.85);
    ck_assert_uint_eq(find_span(setting, TWCS_TAIL_TIER).rows, 0);
    tear_down(setting);
}
END_TEST

/* Searches that read one list of many find little in random rows. The windows are too small for segments: what is
 * measured is the base. */
START_TEST(base_below_the_recall_floor_is_measured_and_not_served)
{
    struct setting *setting = set_up("dim: 16, metric: l2, index: {kind: auto, spans: auto, "
                                     "ivf_pq: {lists: 64, nprobe: 1}}");
    double recall;

    seal(setting, 0, WINDOWS);
    ck_assert(worker_pool_reconcile(setting->pool));
    fixture_wait_drained(setting->queue);
    recall = fixture_gauge(&setting->fixture, "windrow_index_recall_ratio");
    ck_assert_double_gt(recall, 0);
    ck_assert_double_lt(recall, setting->fixture.config->collections[0].recall_floor);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).rows, 0);
    ck_assert_int_eq(fixture_count_files(&setting->fixture, ".tmp"), 0);
    worker_pool_reconcile(setting->pool); /* would only find the same again */
    ck_assert_int_eq(setting->queue->operations->depth(setting->queue), 0);
    tear_down(setting);
}
END_TEST

/* Windows leave at the old end; one that is sealed anew is in the tail. */
START_TEST(windows_that_go_and_windows_that_change_leave_the_base)
{
    struct setting *setting = set_up(LISTS);
    struct found base;

    seal(setting, 0, WINDOWS);
    reconcile(setting);
    base = find_span(setting, TWCS_BASE_TIER);
    fixture_seal(&setting->fixture, 9, 5); /* late rows */
    reconcile(setting);
    ck_assert_uint_eq(find_span(setting, TWCS_TAIL_TIER).rows, ROWS + 5);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).file_number, base.file_number);
    for (int64_t window = 0; window < 7; window++)
        ck_assert_int_eq(store_shard_drop(setting->fixture.shard, window * WINDOW_MS, WINDOW_MS,
                                          "test", ERROR_IGNORED),
                         0);
    reconcile(setting);
    base = find_span(setting, TWCS_BASE_TIER); /* more than a quarter had died */
    ck_assert_uint_eq(base.rows, (WINDOWS - 7) * ROWS + 5);
    ck_assert_uint_eq(base.parts, WINDOWS - 7);
    ck_assert_uint_eq(find_span(setting, TWCS_TAIL_TIER).rows, 0);
    tear_down(setting);
}
END_TEST

START_TEST(shards_take_one_codebook)
{
    struct setting *setting = set_up(LISTS);
    uint64_t codebook;

    setting->fixture.other = fixture_open_shard(&setting->fixture, "1");
    seal(setting, 0, WINDOWS / 2);
    fixture_switch(&setting->fixture);
    seal(setting, 0, WINDOWS / 2);
    reconcile(setting);
    codebook = find_span(setting, TWCS_BASE_TIER).codebook;
    ck_assert_uint_ne(codebook, 0);
    fixture_switch(&setting->fixture);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).codebook, codebook);
    tear_down(setting);
}
END_TEST

static void wait_until_building(struct setting *setting)
{
    uint32_t threads, building = 0;
    uint64_t memory_bytes;

    for (int round = 0; building == 0; round++) {
        ck_assert_int_lt(round, 60000);
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        worker_pool_describe(setting->pool, &threads, &building, &memory_bytes);
    }
}

START_TEST(base_that_waits_for_its_turn_has_no_memory)
{
    struct setting *setting = set_up(LISTS);
    const struct index_build_options options = {
        .metric = VECTOR_METRIC_L2, .dim = 16, .thread_count = 1};
    struct build_memory *memory = &setting->pool->memory;
    atomic_bool cancel = false;

    /* Enough for the base, not for a window beside it. */
    setting->fixture.config->build_memory_max_bytes =
        worker_build_bytes(&options, true, WINDOWS * ROWS, false) +
        worker_build_bytes(&options, true, ROWS, false) / 2;
    ck_assert(build_memory_take_turn(memory, &cancel, NULL));
    seal(setting, 0, WINDOWS);
    worker_pool_reconcile(setting->pool);
    for (int64_t window = 0; window < WINDOWS; window++)
        (void)fixture_wait_indexed(&setting->fixture, window);
    wait_until_building(setting);
    seal(setting, WINDOWS, WINDOWS + 1);
    fixture_submit(&setting->fixture, setting->pool, WINDOWS);
    (void)fixture_wait_indexed(&setting->fixture, WINDOWS);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).rows, 0);
    build_memory_give_turn(memory);
    fixture_wait_drained(setting->queue);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).rows, WINDOWS * ROWS);
    tear_down(setting);
}
END_TEST

/* Lists are the root of the rows of now: a codebook of a tenth of them is too coarse. */
START_TEST(base_that_has_outgrown_its_codebook_is_trained_anew)
{
    struct setting *setting = set_up(LISTS);
    struct found small, large;

    seal(setting, 0, 4);
    reconcile(setting);
    small = find_span(setting, TWCS_BASE_TIER);
    seal(setting, 4, WINDOWS);
    reconcile(setting);
    large = find_span(setting, TWCS_BASE_TIER);
    ck_assert_uint_eq(large.rows, WINDOWS * ROWS);
    ck_assert_uint_ne(large.codebook, small.codebook);
    tear_down(setting);
}
END_TEST

START_TEST(history_is_loaded_after_a_restart_and_goes_when_it_is_switched_off)
{
    struct setting *setting = set_up(LISTS);

    seal(setting, 0, WINDOWS);
    reconcile(setting);
    seal(setting, WINDOWS, WINDOWS + 1);
    reconcile(setting);
    fixture_reopen(&setting->fixture);
    ck_assert_int_eq(
        worker_pool_load_segments(setting->pool, setting->fixture.shard, ERROR_IGNORED), 0);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).rows, WINDOWS * ROWS);
    ck_assert_uint_eq(find_span(setting, TWCS_TAIL_TIER).rows, ROWS);
    ck_assert(!worker_pool_reconcile(setting->pool));
    setting->fixture.config->collections[0].spans = CONFIG_SPANS_OFF;
    reconcile(setting);
    ck_assert_uint_eq(find_span(setting, TWCS_BASE_TIER).rows, 0);
    ck_assert_uint_eq(find_span(setting, TWCS_TAIL_TIER).rows, 0);
    tear_down(setting);
}
END_TEST

TEST_TABLE(TEST(what_settles_goes_into_the_tail_and_in_the_end_into_the_base),
           TEST(base_below_the_recall_floor_is_measured_and_not_served),
           TEST(windows_that_go_and_windows_that_change_leave_the_base),
           TEST(shards_take_one_codebook), TEST(base_that_waits_for_its_turn_has_no_memory),
           TEST(base_that_has_outgrown_its_codebook_is_trained_anew),
           TEST(history_is_loaded_after_a_restart_and_goes_when_it_is_switched_off))
