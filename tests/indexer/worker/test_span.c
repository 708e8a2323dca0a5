/* Spans through the worker: wanted, built, measured, attached, loaded, built again, given up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "indexer/index/index.h"
#include "store/compaction.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/indexer/worker/worker_fixture.h"

enum { WINDOWS = 8, LATER = 12 };

/* Eight sealed windows, some of them too small for a segment of their own, one empty; rows of a later
 * window say that their time is over. */
static struct worker_fixture *set_up(const char *yaml)
{
    static const uint32_t rows[WINDOWS] = {300, 1, 120, 0, 90, 500, 40, 200};
    struct worker_fixture *fixture = fixture_start("span", yaml, 2);

    for (int64_t window = 0; window < WINDOWS; window++)
        if (rows[window] > 0)
            fixture_seal(fixture, window, rows[window]);
    fixture_flush(fixture, LATER, 1);
    return fixture;
}

/* The only span; false: there is none. */
static bool only_span(struct worker_fixture *fixture, struct store_span_info *span)
{
    struct store_shard_info info;
    struct arena arena;
    bool found;

    arena_create(&arena, 0);
    store_shard_describe(fixture->shard, &arena, &info);
    ck_assert_uint_le(info.span_count, 1);
    found = info.span_count == 1;
    if (found)
        *span = info.spans[0];
    span->parts = NULL;
    span->live = NULL;
    arena_destroy(&arena);
    return found;
}

/* Spans that searches see. */
static size_t loaded_spans(struct worker_fixture *fixture)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(fixture->shard, 0);
    size_t count;

    (void)store_snapshot_spans(snapshot, &count);
    store_snapshot_release(snapshot);
    return count;
}

#define AUTO "dim: 16, metric: l2, index: {flat_below: 800, spans: auto}"

START_TEST(windows_whose_time_is_over_get_a_span)
{
    struct worker_fixture *fixture = set_up(AUTO);
    struct store_span_info span;

    fixture_reconcile(fixture);
    ck_assert(only_span(fixture, &span));
    ck_assert_uint_eq(span.tier, 1);
    ck_assert_uint_eq(span.part_count, 7);
    ck_assert_uint_eq(span.rows, 1251);
    ck_assert_uint_eq(span.live_rows, 1251);
    ck_assert_int_ne(span.segment.kind, SEGMENT_FLAT);
    ck_assert_double_ge(span.segment.recall, 0.9); /* about .95 is asked for */
    ck_assert_uint_eq(loaded_spans(fixture), 1);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 4 + 1);
    fixture_stop(fixture);
}
END_TEST

/* None of them has a segment of its own, all have one together. */
START_TEST(windows_that_are_too_small_each_get_a_span)
{
    struct worker_fixture *fixture =
        set_up("dim: 16, metric: l2, index: {flat_below: 8000, spans: auto}");
    struct store_span_info span;

    fixture_reconcile(fixture);
    ck_assert(only_span(fixture, &span));
    ck_assert_uint_eq(span.live_rows, 1251);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 1);
    fixture_stop(fixture);
}
END_TEST

START_TEST(no_span_where_none_is_wanted)
{
    static const char *const yamls[] = {
        "dim: 16, metric: l2, index: {flat_below: 100, spans: off}",
        "dim: 16, metric: l2, index: {flat_below: 20000, spans: auto}",
        "dim: 16, metric: l2, index: {kind: flat, spans: auto}",
        /* nothing lies before them that the cap would take first */
        "dim: 16, metric: l2, max_bytes: 1GiB, index: {flat_below: 800, spans: auto}"};

    for (size_t i = 0; i < sizeof(yamls) / sizeof(yamls[0]); i++) {
        struct worker_fixture *fixture = set_up(yamls[i]);
        struct store_span_info span;
        fixture_reconcile(fixture);
        ck_assert_msg(!only_span(fixture, &span), "%s", yamls[i]);
        fixture_stop(fixture);
    }
}
END_TEST

START_TEST(span_is_loaded_after_a_restart_and_built_again_when_damaged)
{
    struct worker_fixture *fixture = set_up(AUTO);
    struct store_span_info span, again;
    char path[600];
    FILE *file;

    fixture_reconcile(fixture);
    ck_assert(only_span(fixture, &span));
    fixture_reopen(fixture);
    ck_assert_uint_eq(loaded_spans(fixture), 0);
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, ERROR_IGNORED), 0);
    ck_assert_uint_eq(loaded_spans(fixture), 1);
    snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(fixture->shard),
             (unsigned long long)span.segment.file_number);
    store_registry_close_all(fixture->registry, true);
    file = fopen(path, "r+");
    ck_assert_int_eq(fseek(file, 40, SEEK_SET), 0); /* in the header, of whichever kind it is */
    ck_assert_int_ne(fputc(0xA5, file), EOF);
    ck_assert_int_eq(fputc(0x5A, file), 0x5A);
    ck_assert_int_eq(fclose(file), 0);
    fixture->shard = fixture_open_shard(fixture, "0");
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, ERROR_IGNORED), 0);
    ck_assert(!only_span(fixture, &again));
    fixture_reconcile(fixture);
    ck_assert(only_span(fixture, &again));
    ck_assert_uint_ne(again.segment.file_number, span.segment.file_number);
    ck_assert_uint_eq(loaded_spans(fixture), 1);
    fixture_stop(fixture);
}
END_TEST

START_TEST(span_that_lost_most_rows_is_built_over_what_is_left)
{
    struct worker_fixture *fixture = set_up(AUTO);
    struct store_span_info span;

    fixture_reconcile(fixture);
    for (int64_t window = 0; window < 6; window++)
        if (window != 3)
            ck_assert_int_eq(store_shard_drop(fixture->shard, window * WINDOW_MS, WINDOW_MS, "test",
                                              ERROR_IGNORED),
                             0);
    ck_assert(only_span(fixture, &span));
    ck_assert_uint_eq(span.live_rows, 240);
    fixture_reconcile(fixture);
    ck_assert(only_span(fixture, &span));
    ck_assert_uint_eq(span.part_count, 2);
    ck_assert_uint_eq(span.rows, 240);
    fixture_wait_files(fixture, ".segment", 2);
    fixture_stop(fixture);
}
END_TEST

START_TEST(spans_go_when_they_are_switched_off)
{
    struct worker_fixture *fixture = set_up(AUTO);
    struct store_span_info span;

    fixture_reconcile(fixture);
    ck_assert(only_span(fixture, &span));
    fixture->config->collections[0].spans = CONFIG_SPANS_OFF;
    fixture_reconcile(fixture);
    ck_assert(!only_span(fixture, &span));
    fixture_wait_files(fixture, ".segment", 4);
    fixture_stop(fixture);
}
END_TEST

START_TEST(job_over_other_runs_is_no_longer_wanted)
{
    struct worker_fixture *fixture = set_up(AUTO);
    struct store_span_info span;
    struct worker_job job = {.collection = "news",
                             .shard = "0",
                             .window_length_ms = (int64_t)WINDOWS * WINDOW_MS,
                             .span_tier = 1,
                             .run_checksum = 99};

    ck_assert_int_eq(fixture->queue->operations->publish(fixture->queue, &job, ERROR_IGNORED), 0);
    fixture_wait_drained(fixture->queue);
    ck_assert(!only_span(fixture, &span));
    fixture_stop(fixture);
}
END_TEST

TEST_TABLE(TEST(windows_whose_time_is_over_get_a_span),
           TEST(windows_that_are_too_small_each_get_a_span), TEST(no_span_where_none_is_wanted),
           TEST(span_is_loaded_after_a_restart_and_built_again_when_damaged),
           TEST(span_that_lost_most_rows_is_built_over_what_is_left),
           TEST(spans_go_when_they_are_switched_off), TEST(job_over_other_runs_is_no_longer_wanted))
