/* Chunk segments: large files of windows that still fill are indexed, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "indexer/index/index.h"
#include "store/attach.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/indexer/worker/worker_fixture.h"
#include "tests/support/compact.h"

#define CHUNKED "dim: 16, metric: l2, index: {kind: hnsw, chunk_above: 400}"

enum { CHUNKS_MAX = 8 };

/* Sources of the window that a search would walk. */
static int walkable(struct worker_fixture *fixture, int64_t number)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(fixture->shard, 0);
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    int found = 0;

    for (size_t i = 0; i < count; i++)
        found += sources[i].window_start_ms == number * WINDOW_MS && sources[i].segment &&
                 sources[i].segment->object;
    store_snapshot_release(snapshot);
    return found;
}

START_TEST(large_chunks_of_an_open_window_get_segments_and_small_ones_none)
{
    struct worker_fixture *fixture = fixture_start("chunks", CHUNKED, 2);
    struct store_file_info chunks[CHUNKS_MAX];
    struct store_file_info chunk;

    fixture_flush(fixture, 5, 1000);
    fixture_flush(fixture, 5, 399);
    fixture_flush(fixture, 5, 400);
    worker_pool_reconcile(fixture->pool);
    worker_pool_reconcile(fixture->pool); /* harmless */
    chunk = fixture_wait_chunk(fixture, 5, 0);
    ck_assert_int_eq(chunk.segment.kind, SEGMENT_HNSW);
    ck_assert_double_ge(chunk.segment.recall, 0.9); /* about .95 is asked for */
    (void)fixture_wait_chunk(fixture, 5, 2);
    fixture_wait_drained(fixture->queue);
    ck_assert_uint_eq(fixture_chunks(fixture, 5, chunks, CHUNKS_MAX), 3);
    ck_assert_uint_eq(chunks[1].segment.file_number, 0);
    ck_assert_int_eq(walkable(fixture, 5), 2);
    ck_assert(!fixture_window(fixture, 5).sealed);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 2);
    worker_pool_reconcile(fixture->pool);
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(chunk_segment_goes_with_its_chunk_when_chunks_merge_and_when_the_window_seals)
{
    struct worker_fixture *fixture = fixture_start("chunks", CHUNKED, 2);
    struct store_file_info chunk;
    struct error error = {0};

    fixture_flush(fixture, 5, 500);
    fixture_flush(fixture, 5, 600);
    worker_pool_reconcile(fixture->pool);
    (void)fixture_wait_chunk(fixture, 5, 0);
    (void)fixture_wait_chunk(fixture, 5, 1);
    fixture_wait_drained(fixture->queue);
    ck_assert_msg(compact_tier(fixture->shard, 5 * (int64_t)WINDOW_MS, WINDOW_MS, 2, &error) == 0,
                  "%s", error.text);
    ck_assert_int_eq(walkable(fixture, 5), 0);
    fixture_wait_files(fixture, ".segment", 0);
    worker_pool_reconcile(fixture->pool);
    chunk = fixture_wait_chunk(fixture, 5, 0);
    ck_assert_uint_eq(chunk.rows, 1100);
    fixture_wait_drained(fixture->queue);

    fixture_seal(fixture, 5, 10);
    ck_assert_int_eq(walkable(fixture, 5), 0);
    fixture_wait_files(fixture, ".segment", 0);
    fixture_submit(fixture, fixture->pool, 5);
    ck_assert_uint_eq(fixture_wait_indexed(fixture, 5).run.rows, 1110);
    fixture_wait_files(fixture, ".segment", 1);
    fixture_stop(fixture);
}
END_TEST

START_TEST(late_chunk_of_a_sealed_window_gets_a_segment_beside_that_of_the_run)
{
    struct worker_fixture *fixture = fixture_start("chunks", CHUNKED, 2);

    fixture_seal(fixture, 5, 500);
    fixture_flush(fixture, 5, 700);
    worker_pool_reconcile(fixture->pool);
    (void)fixture_wait_indexed(fixture, 5);
    (void)fixture_wait_chunk(fixture, 5, 0);
    ck_assert_int_eq(walkable(fixture, 5), 2);
    fixture_stop(fixture);
}
END_TEST

START_TEST(job_of_a_chunk_that_is_merged_is_no_failure)
{
    struct worker_fixture *fixture = fixture_start("chunks", CHUNKED, 2);
    struct worker_job job = {.collection = "news",
                             .shard = "0",
                             .window_start_ms = 5 * (int64_t)WINDOW_MS,
                             .window_length_ms = WINDOW_MS};
    struct store_file_info chunks[CHUNKS_MAX];

    fixture_flush(fixture, 5, 500);
    ck_assert_uint_eq(fixture_chunks(fixture, 5, chunks, CHUNKS_MAX), 1);
    fixture_seal(fixture, 5, 10);
    job.run_file_number = chunks[0].file_number;
    job.rows = chunks[0].rows;
    ck_assert_int_eq(fixture->queue->operations->publish(fixture->queue, &job, ERROR_IGNORED), 0);
    fixture_wait_drained(fixture->queue);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 0);
    ck_assert_double_eq(fixture_counter(fixture, "windrow_index_dead_letters_total"), 0);
    fixture_stop(fixture);
}
END_TEST

START_TEST(chunk_segments_are_there_again_after_a_restart_or_built_again_when_damaged)
{
    struct worker_fixture *fixture = fixture_start("chunks", CHUNKED, 2);
    struct store_file_info chunk;
    struct error error = {0};
    char path[500];
    FILE *file;

    fixture_flush(fixture, 5, 500);
    worker_pool_reconcile(fixture->pool);
    chunk = fixture_wait_chunk(fixture, 5, 0);
    fixture_wait_drained(fixture->queue);
    fixture_reopen(fixture);
    ck_assert_int_eq(walkable(fixture, 5), 0);
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, &error), 0);
    ck_assert_int_eq(walkable(fixture, 5), 1);

    snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(fixture->shard),
             (unsigned long long)chunk.segment.file_number);
    fixture_reopen(fixture);
    file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    fseek(file, (long)chunk.segment.bytes / 2, SEEK_SET);
    fputs("damage", file);
    fclose(file);
    ck_assert_int_eq(worker_pool_load_segments(fixture->pool, fixture->shard, &error), 0);
    ck_assert_int_eq(walkable(fixture, 5), 0);
    worker_pool_reconcile_shard(fixture->pool, fixture->shard);
    ck_assert_uint_ne(fixture_wait_chunk(fixture, 5, 0).segment.file_number,
                      chunk.segment.file_number);
    fixture_stop(fixture);
}
END_TEST

START_TEST(segment_file_that_no_manifest_names_goes_at_the_next_opening)
{
    struct worker_fixture *fixture = fixture_start("chunks", CHUNKED, 2);
    char path[4096];
    uint64_t number;
    FILE *file;

    fixture_flush(fixture, 5, 500);
    /* Killed between the rename and the attach; and by somebody whose number is not reserved. */
    store_shard_reserve_segment(fixture->shard, &number, path, sizeof(path));
    path[strlen(path) - strlen(".tmp")] = '\0';
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("half a segment", file);
    fclose(file);
    snprintf(path, sizeof(path), "%s/900000.segment", store_shard_directory(fixture->shard));
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 2);
    fixture_reopen(fixture);
    ck_assert_int_eq(fixture_count_files(fixture, ".segment"), 1);
    ck_assert_int_eq(fixture_count_files(fixture, "900000.segment"), 1);
    fixture_stop(fixture);
}
END_TEST

START_TEST(rows_and_kind_decide_what_a_chunk_gets)
{
    struct config_collection collection = {
        .index_kind = CONFIG_INDEX_AUTO, .flat_below_rows = 10, .chunk_above_rows = 100};

    ck_assert_int_eq(worker_chunk_kind(&collection, 99), SEGMENT_FLAT);
    ck_assert_int_eq(worker_chunk_kind(&collection, 100), SEGMENT_HNSW);
    collection.flat_below_rows = 1000;
    ck_assert_int_eq(worker_chunk_kind(&collection, 100), SEGMENT_FLAT);
    collection.index_kind = CONFIG_INDEX_IVF_PQ;
    ck_assert_int_eq(worker_chunk_kind(&collection, 100), SEGMENT_IVF_PQ);
    collection.index_kind = CONFIG_INDEX_FLAT;
    ck_assert_int_eq(worker_chunk_kind(&collection, 100), SEGMENT_FLAT);
    collection.index_kind = CONFIG_INDEX_HNSW;
    collection.chunk_above_rows = 0;
    ck_assert_int_eq(worker_chunk_kind(&collection, UINT32_MAX), SEGMENT_FLAT);
}
END_TEST

TEST_TABLE(TEST(large_chunks_of_an_open_window_get_segments_and_small_ones_none),
           TEST(chunk_segment_goes_with_its_chunk_when_chunks_merge_and_when_the_window_seals),
           TEST(late_chunk_of_a_sealed_window_gets_a_segment_beside_that_of_the_run),
           TEST(job_of_a_chunk_that_is_merged_is_no_failure),
           TEST(chunk_segments_are_there_again_after_a_restart_or_built_again_when_damaged),
           TEST(segment_file_that_no_manifest_names_goes_at_the_next_opening),
           TEST(rows_and_kind_decide_what_a_chunk_gets))
