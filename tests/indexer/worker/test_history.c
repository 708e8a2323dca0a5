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

#define LISTS "dim: 16, metric: l2, index: {kind: ivf_pq, spans: auto}"

static void seal(struct worker_fixture *fixture, int64_t first, int64_t end)
{
    for (int64_t window = first; window < end; window++)
        fixture_seal(fixture, window, ROWS);
}

/* The loaded span of a tier. */
struct found {
    uint32_t rows, parts;
    uint64_t codebook, file_number;
    double recall;
};

static struct found find_span(struct worker_fixture *fixture, uint8_t tier)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(fixture->shard, 0);
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
    struct worker_fixture *fixture = fixture_start("history", LISTS, 2);
    struct found base, tail, next;

    seal(fixture, 0, WINDOWS);
    fixture_reconcile(fixture);
    base = find_span(fixture, TWCS_BASE_TIER);
    ck_assert_uint_eq(base.rows, WINDOWS * ROWS);
    ck_assert_uint_eq(base.parts, WINDOWS);
    ck_assert_double_ge(base.recall, 0.85);
    ck_assert_uint_eq(find_span(fixture, TWCS_TAIL_TIER).rows, 0);
    for (int64_t window = WINDOWS; window < WINDOWS + 3; window++) {
        seal(fixture, window, window + 1);
        fixture_reconcile(fixture);
        tail = find_span(fixture, TWCS_TAIL_TIER);
        ck_assert_uint_eq(tail.rows, (uint32_t)(window - WINDOWS + 1) * ROWS);
        ck_assert_uint_eq(tail.codebook, base.codebook);
        ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).file_number, base.file_number);
    }
    seal(fixture, WINDOWS + 3, WINDOWS + 4); /* more than an eighth */
    fixture_reconcile(fixture);
    next = find_span(fixture, TWCS_BASE_TIER);
    ck_assert_uint_eq(next.rows, (WINDOWS + 4) * ROWS);
    ck_assert_uint_eq(next.codebook, base.codebook); /* nothing was trained anew */
    ck_assert_uint_ne(next.file_number, base.file_number);
    ck_assert_double_ge(next.recall, 0.85);
    ck_assert_uint_eq(find_span(fixture, TWCS_TAIL_TIER).rows, 0);
    fixture_stop(fixture);
}
END_TEST

/* Searches that read one list of many find little in random rows. The windows are too small for segments: what is
 * measured is the base. */
START_TEST(base_below_the_recall_floor_is_measured_and_not_served)
{
    struct worker_fixture *fixture =
        fixture_start("history",
                      "dim: 16, metric: l2, index: {kind: auto, spans: auto, "
                      "ivf_pq: {lists: 64, nprobe: 1}}",
                      2);
    double recall;

    seal(fixture, 0, WINDOWS);
    ck_assert(worker_pool_reconcile(fixture->pool));
    fixture_wait_drained(fixture->queue);
    recall = fixture_gauge(fixture, "windrow_index_recall_ratio");
    ck_assert_double_gt(recall, 0);
    ck_assert_double_lt(recall, fixture->config->collections[0].recall_floor);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).rows, 0);
    ck_assert_int_eq(fixture_count_files(fixture, ".tmp"), 0);
    worker_pool_reconcile(fixture->pool); /* would only find the same again */
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    fixture_stop(fixture);
}
END_TEST

/* Windows leave at the old end; one that is sealed anew is in the tail. */
START_TEST(windows_that_go_and_windows_that_change_leave_the_base)
{
    struct worker_fixture *fixture = fixture_start("history", LISTS, 2);
    struct found base;

    seal(fixture, 0, WINDOWS);
    fixture_reconcile(fixture);
    base = find_span(fixture, TWCS_BASE_TIER);
    fixture_seal(fixture, 9, 5); /* late rows */
    fixture_reconcile(fixture);
    ck_assert_uint_eq(find_span(fixture, TWCS_TAIL_TIER).rows, ROWS + 5);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).file_number, base.file_number);
    for (int64_t window = 0; window < 7; window++)
        ck_assert_int_eq(
            store_shard_drop(fixture->shard, window * WINDOW_MS, WINDOW_MS, "test", ERROR_IGNORED),
            0);
    fixture_reconcile(fixture);
    base = find_span(fixture, TWCS_BASE_TIER); /* more than a quarter had died */
    ck_assert_uint_eq(base.rows, (WINDOWS - 7) * ROWS + 5);
    ck_assert_uint_eq(base.parts, WINDOWS - 7);
    ck_assert_uint_eq(find_span(fixture, TWCS_TAIL_TIER).rows, 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(shards_take_one_codebook)
{
    struct worker_fixture *fixture = fixture_start("history", LISTS, 2);
    uint64_t codebook;

    fixture->other = fixture_open_shard(fixture, "1");
    seal(fixture, 0, WINDOWS / 2);
    fixture_switch(fixture);
    seal(fixture, 0, WINDOWS / 2);
    fixture_reconcile(fixture);
    codebook = find_span(fixture, TWCS_BASE_TIER).codebook;
    ck_assert_uint_ne(codebook, 0);
    fixture_switch(fixture);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).codebook, codebook);
    fixture_stop(fixture);
}
END_TEST

static void wait_until_building(struct worker_fixture *fixture)
{
    uint32_t threads, building = 0;
    uint64_t memory_bytes;

    for (int round = 0; building == 0; round++) {
        ck_assert_int_lt(round, 60000);
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        worker_pool_describe(fixture->pool, &threads, &building, &memory_bytes);
    }
}

START_TEST(base_that_waits_for_its_turn_has_no_memory)
{
    struct worker_fixture *fixture = fixture_start("history", LISTS, 2);
    const struct index_build_options options = {
        .metric = VECTOR_METRIC_L2, .dim = 16, .thread_count = 1};
    struct build_memory *memory = &fixture->pool->memory;
    atomic_bool cancel = false;

    /* Enough for the base, not for a window beside it. */
    fixture->config->build_memory_max_bytes =
        worker_build_bytes(&options, true, WINDOWS * ROWS, false) +
        worker_build_bytes(&options, true, ROWS, false) / 2;
    ck_assert(build_memory_take_turn(memory, &cancel, NULL));
    seal(fixture, 0, WINDOWS);
    worker_pool_reconcile(fixture->pool);
    for (int64_t window = 0; window < WINDOWS; window++)
        (void)fixture_wait_indexed(fixture, window);
    wait_until_building(fixture);
    seal(fixture, WINDOWS, WINDOWS + 1);
    fixture_submit(fixture, fixture->pool, WINDOWS);
    (void)fixture_wait_indexed(fixture, WINDOWS);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).rows, 0);
    build_memory_give_turn(memory);
    fixture_wait_drained(fixture->queue);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).rows, WINDOWS * ROWS);
    fixture_stop(fixture);
}
END_TEST

/* Beside the lists of all rows there are the vectors of the sample that a codebook is trained on, here all. Rows are coded
 * in pieces, of which one window fills several. */
START_TEST(base_has_memory_for_its_sample_and_is_coded_in_pieces)
{
    enum { LARGE = 3000, DIM = 16, ALL = WINDOWS * ROWS + LARGE };
    const struct index_build_options options = {
        .metric = VECTOR_METRIC_L2, .dim = DIM, .thread_count = 1};
    uint64_t lists = worker_build_bytes(&options, true, ALL, false);
    uint64_t sample = ALL * DIM * sizeof(float);

    for (int fits = 0; fits < 2; fits++) {
        struct worker_fixture *fixture = fixture_start("history", LISTS, 1);
        struct found base;
        fixture->config->build_memory_max_bytes = lists + (fits ? sample : sample / 2);
        seal(fixture, 0, WINDOWS);
        fixture_seal(fixture, WINDOWS, LARGE);
        (void)worker_pool_reconcile(fixture->pool);
        fixture_wait_drained(fixture->queue);
        base = find_span(fixture, TWCS_BASE_TIER);
        ck_assert_uint_eq(base.rows, fits ? ALL : 0);
        ck_assert(!fits || base.recall >= 0.85);
        fixture_stop(fixture);
    }
}
END_TEST

/* Lists are the root of the rows of now: a codebook of a tenth of them is too coarse. */
START_TEST(base_that_has_outgrown_its_codebook_is_trained_anew)
{
    struct worker_fixture *fixture = fixture_start("history", LISTS, 2);
    struct found small, large;

    seal(fixture, 0, 4);
    fixture_reconcile(fixture);
    small = find_span(fixture, TWCS_BASE_TIER);
    seal(fixture, 4, WINDOWS);
    fixture_reconcile(fixture);
    large = find_span(fixture, TWCS_BASE_TIER);
    ck_assert_uint_eq(large.rows, WINDOWS * ROWS);
    ck_assert_uint_ne(large.codebook, small.codebook);
    fixture_stop(fixture);
}
END_TEST

START_TEST(history_is_loaded_after_a_restart_and_goes_when_it_is_switched_off)
{
    struct worker_fixture *fixture = fixture_start("history", LISTS, 2);

    seal(fixture, 0, WINDOWS);
    fixture_reconcile(fixture);
    seal(fixture, WINDOWS, WINDOWS + 1);
    fixture_reconcile(fixture);
    fixture_reopen(fixture);
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, ERROR_IGNORED), 0);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).rows, WINDOWS * ROWS);
    ck_assert_uint_eq(find_span(fixture, TWCS_TAIL_TIER).rows, ROWS);
    ck_assert(!worker_pool_reconcile(fixture->pool));
    fixture->config->collections[0].spans = CONFIG_SPANS_OFF;
    fixture_reconcile(fixture);
    ck_assert_uint_eq(find_span(fixture, TWCS_BASE_TIER).rows, 0);
    ck_assert_uint_eq(find_span(fixture, TWCS_TAIL_TIER).rows, 0);
    fixture_stop(fixture);
}
END_TEST

TEST_TABLE(TEST(what_settles_goes_into_the_tail_and_in_the_end_into_the_base),
           TEST(base_below_the_recall_floor_is_measured_and_not_served),
           TEST(windows_that_go_and_windows_that_change_leave_the_base),
           TEST(shards_take_one_codebook), TEST(base_that_waits_for_its_turn_has_no_memory),
           TEST(base_has_memory_for_its_sample_and_is_coded_in_pieces),
           TEST(base_that_has_outgrown_its_codebook_is_trained_anew),
           TEST(history_is_loaded_after_a_restart_and_goes_when_it_is_switched_off))
