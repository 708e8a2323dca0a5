/* From a sealed window to a served segment, with a real store and real graphs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "indexer/index/index.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/indexer/worker/worker_fixture.h"

#define SMALL  "dim: 16, metric: l2, index: {flat_below: 100}"
#define GRAPHS "dim: 16, metric: l2, index: {kind: hnsw}"

START_TEST(sealed_window_gets_a_segment_that_searches_see)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 2);
    struct store_window_info window;
    struct store_snapshot *snapshot;
    const struct store_source *sources;
    size_t count;

    fixture_seal(fixture, 5, 2000);
    fixture_submit(fixture, fixture->pool, 5);
    window = fixture_wait_indexed(fixture, 5);
    ck_assert_int_ne(window.run.segment.kind, SEGMENT_FLAT);
    ck_assert_double_ge(window.run.segment.recall, 0.9); /* about .95 is asked for */
    ck_assert_uint_gt(window.run.segment.bytes, 0);
    snapshot = store_snapshot_acquire(fixture->shard, 0);
    sources = store_snapshot_sources(snapshot, &count);
    for (size_t i = 0; i < count; i++)
        if (sources[i].sealed)
            ck_assert_ptr_nonnull(sources[i].segment->object);
    store_snapshot_release(snapshot);
    fixture_wait_drained(fixture->queue);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 1);
    ck_assert_int_eq(fixture_count_files(fixture, ".tmp"), 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(redelivered_job_finds_the_work_done)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 2);
    struct worker_job job = {.collection = "news",
                             .shard = "0",
                             .window_start_ms = 5 * (int64_t)WINDOW_MS,
                             .window_length_ms = WINDOW_MS,
                             .generation = 1};
    struct store_window_info window;

    fixture_seal(fixture, 5, 500);
    fixture_submit(fixture, fixture->pool, 5);
    window = fixture_wait_indexed(fixture, 5);
    fixture_wait_drained(fixture->queue);
    ck_assert_int_eq(fixture->queue->operations->publish(fixture->queue, &job, ERROR_IGNORED), 0);
    fixture_wait_drained(fixture->queue);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number,
                      window.run.segment.file_number);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 1);
    fixture_stop(fixture);
}
END_TEST

START_TEST(job_of_a_generation_that_is_gone_is_no_failure)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 1);
    const struct {
        int64_t window;
        uint64_t generation;
        const char *collection;
    } gone[] = {{5, 1, "news"}, {5, 9, "news"}, {77, 1, "news"}, {5, 2, "olds"}};

    fixture_seal(fixture, 5, 500);
    fixture_seal(fixture, 5, 500); /* generation 2 */
    ck_assert_uint_eq(fixture_window(fixture, 5).generation, 2);
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
        struct worker_job job = {.shard = "0",
                                 .window_start_ms = gone[i].window * WINDOW_MS,
                                 .window_length_ms = WINDOW_MS,
                                 .generation = gone[i].generation};
        snprintf(job.collection, sizeof(job.collection), "%s", gone[i].collection);
        ck_assert_int_eq(fixture->queue->operations->publish(fixture->queue, &job, ERROR_IGNORED),
                         0);
    }
    fixture_wait_drained(fixture->queue);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 0);
    ck_assert_double_eq(fixture_counter(fixture, "windrow_index_dead_letters_total"), 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(reseal_gets_a_segment_of_the_new_generation)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 1);

    fixture_seal(fixture, 5, 500);
    fixture_submit(fixture, fixture->pool, 5);
    (void)fixture_wait_indexed(fixture, 5);
    fixture_seal(fixture, 5, 300);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number, 0);
    fixture_submit(fixture, fixture->pool, 5);
    ck_assert_uint_eq(fixture_wait_indexed(fixture, 5).run.rows, 800);
    fixture_stop(fixture);
}
END_TEST

START_TEST(window_whose_job_was_lost_is_found_by_reconciliation)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 2);

    for (int64_t number = 1; number <= 6; number++)
        fixture_seal(fixture, number, 300);
    worker_pool_reconcile(fixture->pool);
    worker_pool_reconcile(fixture->pool); /* harmless */
    for (int64_t number = 1; number <= 6; number++)
        (void)fixture_wait_indexed(fixture, number);
    fixture_wait_drained(fixture->queue);
    worker_pool_reconcile(fixture->pool);
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 6);
    fixture_stop(fixture);
}
END_TEST

START_TEST(packed_run_is_indexed_like_a_raw_one)
{
    struct worker_fixture *fixture =
        fixture_start("pool", "dim: 16, metric: l2, codec: packed, index: {flat_below: 100}", 1);

    fixture_seal(fixture, 5, 2000);
    fixture_submit(fixture, fixture->pool, 5);
    /* About .95 is asked for. */
    ck_assert_double_ge(fixture_wait_indexed(fixture, 5).run.segment.recall, 0.9);
    fixture_stop(fixture);
}
END_TEST

START_TEST(small_window_stays_flat)
{
    struct worker_fixture *fixture =
        fixture_start("pool", "dim: 16, metric: l2, index: {flat_below: 100, spans: off}", 1);

    fixture_seal(fixture, 5, 99);
    fixture_submit(fixture, fixture->pool, 5);
    worker_pool_reconcile(fixture->pool);
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number, 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(kind_and_row_count_decide_what_a_window_gets)
{
    struct config_collection collection = {.index_kind = CONFIG_INDEX_AUTO, .flat_below_rows = 10};

    ck_assert_int_eq(worker_wanted_kind(&collection, 9, 0), SEGMENT_FLAT);
    ck_assert_int_eq(worker_wanted_kind(&collection, 10, 0), SEGMENT_HNSW);
    ck_assert_int_eq(worker_wanted_kind(&collection, 10, INT64_MAX),
                     SEGMENT_HNSW); /* never for its age */
    ck_assert_int_eq(worker_wanted_kind(&collection, 100000000, 0), SEGMENT_IVF_PQ);
    collection.window_ms = 3600000; /* eight wait for their span */
    collection.spans = CONFIG_SPANS_AUTO;
    collection.flat_below_rows = 80;
    ck_assert_int_eq(worker_wanted_kind(&collection, 9, 0), SEGMENT_FLAT);
    ck_assert_int_eq(worker_wanted_kind(&collection, 10, 0), SEGMENT_HNSW);
    collection.spans = CONFIG_SPANS_OFF;
    collection.flat_below_rows = 10;
    collection.ivf_pq_after_ms = 1000;
    ck_assert_int_eq(worker_wanted_kind(&collection, 9, 1001), SEGMENT_FLAT);
    ck_assert_int_eq(worker_wanted_kind(&collection, 10, 1000), SEGMENT_HNSW);
    ck_assert_int_eq(worker_wanted_kind(&collection, 10, 1001), SEGMENT_IVF_PQ);
    collection.index_kind = CONFIG_INDEX_FLAT;
    ck_assert_int_eq(worker_wanted_kind(&collection, 1000000, 0), SEGMENT_FLAT);
    collection.index_kind = CONFIG_INDEX_HNSW;
    ck_assert_int_eq(worker_wanted_kind(&collection, 1, 0), SEGMENT_HNSW);
    collection.index_kind = CONFIG_INDEX_IVF_PQ;
    ck_assert_int_eq(worker_wanted_kind(&collection, 1, 0), SEGMENT_IVF_PQ);
}
END_TEST

/* Young windows get a graph; when they are old it is replaced in the background, and later windows
 * take over the centroids of earlier ones. */
START_TEST(windows_that_grow_old_become_lists_of_one_codebook)
{
    struct worker_fixture *fixture =
        fixture_start("pool", "dim: 16, metric: l2, index: {kind: hnsw}", 1);
    struct config_collection *collection = &fixture->config->collections[0];

    for (int64_t number = 1; number <= 2; number++) {
        fixture_seal(fixture, number, 8000);
        fixture_submit(fixture, fixture->pool, number);
        ck_assert_int_eq(fixture_wait_indexed(fixture, number).run.segment.kind, SEGMENT_HNSW);
    }
    fixture_wait_drained(fixture->queue);
    collection->index_kind = CONFIG_INDEX_AUTO;
    collection->ivf_pq_after_ms = 1000;
    for (int i = 0; i < 2000; i++) {
        worker_pool_reconcile(fixture->pool);
        fixture_wait_drained(fixture->queue);
        if (fixture_window(fixture, 1).run.segment.kind == SEGMENT_IVF_PQ &&
            fixture_window(fixture, 2).run.segment.kind == SEGMENT_IVF_PQ)
            break;
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    ck_assert_int_eq(fixture_window(fixture, 1).run.segment.kind, SEGMENT_IVF_PQ);
    ck_assert_int_eq(fixture_window(fixture, 2).run.segment.kind, SEGMENT_IVF_PQ);
    ck_assert_uint_ne(fixture_codebook(fixture, 1), 0);
    ck_assert_uint_eq(fixture_codebook(fixture, 1), fixture_codebook(fixture, 2));
    fixture_wait_files(fixture, ".segment", 2);
    fixture_stop(fixture);
}
END_TEST

/* Partitions of a topic look alike: lists of all their windows have one set of centroids. */
START_TEST(shards_share_a_codebook)
{
    struct worker_fixture *fixture =
        fixture_start("pool", "dim: 16, metric: l2, index: {kind: ivf_pq, flat_below: 0}", 1);
    uint64_t first;

    fixture->other = fixture_open_shard(fixture, "1");
    for (int64_t number = 1; number <= 4; number++) {
        fixture_seal(fixture, number, 3000);
        fixture_submit(fixture, fixture->pool, number);
        ck_assert_int_eq(fixture_wait_indexed(fixture, number).run.segment.kind, SEGMENT_IVF_PQ);
        fixture_wait_drained(fixture->queue);
        fixture_switch(fixture);
    }
    fixture_switch(fixture); /* windows 2 and 4 */
    first = fixture_codebook(fixture, 2);
    ck_assert_uint_ne(first, 0);
    ck_assert_uint_eq(fixture_codebook(fixture, 4), first);
    fixture_switch(fixture); /* windows 1 and 3 */
    ck_assert_uint_eq(fixture_codebook(fixture, 1), first);
    ck_assert_uint_eq(fixture_codebook(fixture, 3), first);
    fixture_stop(fixture);
}
END_TEST

START_TEST(segment_below_the_recall_floor_is_never_served)
{
    struct worker_fixture *fixture =
        fixture_start("pool",
                      "dim: 128, metric: l2, index: {kind: hnsw, recall_floor: 1, "
                      "hnsw: {m: 4, ef_construct: 8, ef: 1}}",
                      1);
    struct store_window_info window;
    char why[200] = "", wanted[64];
    double recall;

    fixture_seal(fixture, 5, 4000);
    window = fixture_window(fixture, 5);
    ck_assert(!worker_pool_why_scanned(fixture->pool, fixture->shard, &window, why, sizeof(why)));
    fixture_submit(fixture, fixture->pool, 5);
    fixture_wait_drained(fixture->queue);
    recall = fixture_gauge(fixture, "windrow_index_recall_ratio");
    snprintf(wanted, sizeof(wanted), "its recall of %.3f is below index.recall_floor, 1.000",
             recall);
    ck_assert(worker_pool_why_scanned(fixture->pool, fixture->shard, &window, why, sizeof(why)));
    ck_assert_msg(strstr(why, wanted), "%s", why);
    ck_assert_double_lt(recall, 1);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number, 0);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 0);
    ck_assert_int_eq(fixture_count_files(fixture, ".tmp"), 0);
    worker_pool_reconcile(fixture->pool); /* would only find the same again */
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    ck_assert_double_eq(fixture_gauge(fixture, "windrow_index_given_up_files"), 1);
    fixture_stop(fixture);
}
END_TEST

START_TEST(build_that_fails_always_is_given_up_after_the_last_attempt)
{
    const struct metric_label labels[] = {{"collection", "news"},
                                          {"reason", error_code_name(ERROR_IO)}};
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 1);

    atomic_store(&fixture->io.fail, true);
    fixture_seal(fixture, 5, 300);
    fixture_submit(fixture, fixture->pool, 5);
    fixture_wait_drained(fixture->queue);
    ck_assert_double_eq(metric_value(metrics_counter(
                            fixture->metrics, "windrow_index_build_failures_total", "", labels, 2)),
                        WORKER_ATTEMPTS_MAX);
    ck_assert_double_eq(fixture_counter(fixture, "windrow_index_dead_letters_total"), 1);
    worker_pool_reconcile(fixture->pool);
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    ck_assert_int_eq(fixture_count_files(fixture, ".tmp"), 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(depth_of_the_queue_is_told_before_jobs_are_taken)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 1);
    struct metric *depth =
        metrics_gauge(fixture->metrics, "windrow_index_queue_depth", "", NULL, 0);
    const struct timespec pause = {0, 1000 * 1000};

    worker_pool_stop(fixture->pool);
    ck_assert_double_eq(metric_value(depth), 0);
    fixture->pool = fixture_pool(fixture, fixture->queue, 0); /* only publishes */
    fixture_seal(fixture, 5, 300);
    fixture_submit(fixture, fixture->pool, 5);
    worker_pool_stop(fixture->pool);
    fixture->pool = fixture_pool(fixture, fixture->queue, 1);
    while (metric_value(depth) < 1)
        nanosleep(&pause, NULL);
    fixture_wait_drained(fixture->queue);
    fixture_stop(fixture);
}
END_TEST

START_TEST(build_that_fails_once_is_repeated)
{
    struct worker_fixture *fixture = fixture_start("pool", SMALL, 1);
    struct timespec pause = {0, 1000 * 1000};

    atomic_store(&fixture->io.fail, true);
    fixture_seal(fixture, 5, 300);
    fixture_submit(fixture, fixture->pool, 5);
    while (atomic_load(&fixture->io.failures) == 0)
        nanosleep(&pause, NULL);
    atomic_store(&fixture->io.fail, false);
    (void)fixture_wait_indexed(fixture, 5);
    ck_assert_double_eq(fixture_counter(fixture, "windrow_index_dead_letters_total"), 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(segments_are_there_again_after_a_restart)
{
    struct worker_fixture *fixture = fixture_start("pool", GRAPHS, 1);
    struct store_window_info window;
    struct store_snapshot *snapshot;
    const struct store_source *sources;
    struct error error = {0};
    size_t count;

    fixture_seal(fixture, 5, 300);
    fixture_submit(fixture, fixture->pool, 5);
    window = fixture_wait_indexed(fixture, 5);
    fixture_wait_drained(fixture->queue);
    fixture_reopen(fixture);
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, &error), 0);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number,
                      window.run.segment.file_number);
    snapshot = store_snapshot_acquire(fixture->shard, 0);
    sources = store_snapshot_sources(snapshot, &count);
    ck_assert_ptr_nonnull(sources[count - 1].segment);
    ck_assert_ptr_nonnull(sources[count - 1].segment->object);
    store_snapshot_release(snapshot);
    fixture_stop(fixture);
}
END_TEST

/* What was `put` at a place of the segment's file makes it unreadable. */
static void check_built_again(const void *put, size_t size_bytes, uint64_t (*place)(uint64_t bytes))
{
    struct worker_fixture *fixture = fixture_start("pool", GRAPHS, 1);
    struct store_window_info window;
    struct error error = {0};
    char path[500];
    FILE *file;

    fixture_seal(fixture, 5, 300);
    fixture_submit(fixture, fixture->pool, 5);
    window = fixture_wait_indexed(fixture, 5);
    fixture_wait_drained(fixture->queue);
    snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(fixture->shard),
             (unsigned long long)window.run.segment.file_number);
    fixture_reopen(fixture);
    file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    fseek(file, (long)place(window.run.segment.bytes), SEEK_SET);
    ck_assert_uint_eq(fwrite(put, 1, size_bytes, file), size_bytes);
    fclose(file);
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, &error), 0);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number, 0);
    worker_pool_reconcile_shard(fixture->pool, fixture->shard);
    ck_assert_uint_ne(fixture_wait_indexed(fixture, 5).run.segment.file_number,
                      window.run.segment.file_number);
    fixture_stop(fixture);
}

static uint64_t in_the_middle(uint64_t bytes)
{
    return bytes / 2;
}

START_TEST(damaged_segment_is_forgotten_and_built_again)
{
    check_built_again("damage", 6, in_the_middle);
}
END_TEST

static uint64_t at_the_version(uint64_t bytes)
{
    (void)bytes;
    return 8; /* behind the magic number, in all versions */
}

START_TEST(segment_of_an_older_format_is_forgotten_and_built_again)
{
    const uint32_t former = 1;

    check_built_again(&former, sizeof(former), at_the_version);
}
END_TEST

/* Until a build has begun. */
static void wait_building(struct worker_fixture *fixture)
{
    uint32_t threads;
    uint32_t building = 0;
    uint64_t memory;

    for (int round = 0; building == 0; round++) {
        struct timespec pause = {0, 1000 * 1000};
        ck_assert_int_lt(round, 60000);
        worker_pool_describe(fixture->pool, &threads, &building, &memory);
        nanosleep(&pause, NULL);
    }
}

START_TEST(shard_that_is_wanted_back_is_let_go_and_indexed_later)
{
    struct worker_fixture *fixture = fixture_start(
        "pool", "dim: 256, metric: l2, index: {flat_below: 0, hnsw: {ef_construct: 400}}", 1);

    fixture_seal(fixture, 5, 20000);
    fixture_submit(fixture, fixture->pool, 5);
    wait_building(fixture);
    /* Waits until the build has given its lease back. */
    store_registry_close(fixture->registry, fixture->shard, true);
    fixture_wait_drained(fixture->queue);
    fixture->shard = fixture_open_shard(fixture, "0");
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number, 0);
    ck_assert_int_eq(fixture_count_files(fixture, ".tmp"), 0);
    worker_pool_reconcile(fixture->pool);
    wait_building(fixture);
    fixture_stop(fixture); /* and stopping cancels a build, too */
}
END_TEST

TEST_TABLE(TEST(sealed_window_gets_a_segment_that_searches_see),
           TEST(redelivered_job_finds_the_work_done),
           TEST(job_of_a_generation_that_is_gone_is_no_failure),
           TEST(reseal_gets_a_segment_of_the_new_generation),
           TEST(window_whose_job_was_lost_is_found_by_reconciliation),
           TEST(packed_run_is_indexed_like_a_raw_one), TEST(small_window_stays_flat),
           TEST(kind_and_row_count_decide_what_a_window_gets),
           TEST(windows_that_grow_old_become_lists_of_one_codebook), TEST(shards_share_a_codebook),
           TEST(segment_below_the_recall_floor_is_never_served),
           TEST(build_that_fails_always_is_given_up_after_the_last_attempt),
           TEST(depth_of_the_queue_is_told_before_jobs_are_taken),
           TEST(build_that_fails_once_is_repeated), TEST(segments_are_there_again_after_a_restart),
           TEST(damaged_segment_is_forgotten_and_built_again),
           TEST(segment_of_an_older_format_is_forgotten_and_built_again),
           TEST(shard_that_is_wanted_back_is_let_go_and_indexed_later))
