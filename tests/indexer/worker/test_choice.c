/* `kind: auto`: graph or lists, by what segments of the collection cost. */
#include "indexer/worker/choice.h"
#include "store/snapshot.h"
#include "tests/indexer/worker/worker_fixture.h"

enum { ROWS = 3000 };

static struct index_choice *choice_of(struct worker_fixture *fixture, int64_t number)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(fixture->shard, 0);
    struct index_choice *choice = NULL;
    const struct store_source *sources;
    size_t count;

    sources = store_snapshot_sources(snapshot, &count);
    for (size_t i = 0; i < count; i++)
        if (sources[i].window_start_ms == number * WINDOW_MS)
            choice = (void *)(uintptr_t)index_segment_choice(sources[i].segment->object);
    store_snapshot_release(snapshot); /* the shard keeps the segment */
    ck_assert_ptr_nonnull(choice);
    return choice;
}

static struct worker_job choose(struct worker_fixture *fixture, uint64_t rows, uint64_t checksum)
{
    struct worker_job job = {
        .generation = 1, .rows = rows, .run_checksum = checksum, .kind = SEGMENT_HNSW};

    worker_choose(fixture->registry, &fixture->config->collections[0], 0, &job);
    return job;
}

/* Costs of a window's graph or lists, and what was expected of both, in place of what was measured. */
static void set(struct worker_fixture *fixture, int64_t number, float cost, float graph_cost,
                float lists_cost)
{
    struct index_choice *choice = choice_of(fixture, number);

    choice->cost = cost;
    choice->graph_cost = graph_cost;
    choice->lists_cost = lists_cost;
}

static void check(struct worker_fixture *fixture, uint64_t rows, uint64_t checksum,
                  enum index_choice_how how, enum segment_kind chosen)
{
    struct worker_job job = choose(fixture, rows, checksum);

    ck_assert_uint_eq(job.choice.how, how);
    ck_assert_int_eq(job.chosen, chosen);
    ck_assert_int_eq(job.kind, SEGMENT_HNSW);
}

static void build_window(struct worker_fixture *fixture, struct worker_pool *pool, int64_t number,
                         enum config_index kind)
{
    fixture->config->collections[0].index_kind = kind;
    fixture_seal(fixture, number, ROWS);
    fixture_submit(fixture, pool, number);
    (void)fixture_wait_indexed(fixture, number);
    fixture->config->collections[0].index_kind = CONFIG_INDEX_AUTO;
}

START_TEST(what_segments_cost_decides_on_the_next_one)
{
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct worker_job job = {.rows = ROWS, .kind = SEGMENT_IVF_PQ, .generation = 1};
    struct error error = {0};

    fixture_open(&fixture, "choice", "0", "dim: 16, metric: l2, index: {recall_floor: 0.5}");
    ck_assert_int_eq(worker_queue_local(fixture.metrics, &queue, &error), 0);
    pool = fixture_pool(&fixture, queue, 1);

    /* Nothing is known: the builder tries both. Of a chunk it does not. */
    check(&fixture, ROWS, 1, INDEX_CHOICE_TRIAL, SEGMENT_NONE);
    job.kind = SEGMENT_HNSW;
    job.generation = 0;
    worker_choose(fixture.registry, &fixture.config->collections[0], 0, &job);
    ck_assert_uint_eq(job.choice.how, INDEX_CHOICE_NONE);

    /* One graph, of which the file says what lists would cost. */
    build_window(&fixture, pool, 1, CONFIG_INDEX_HNSW);
    set(&fixture, 1, 100, 100, 1000);
    check(&fixture, ROWS, 1, INDEX_CHOICE_KNOWN, SEGMENT_HNSW);
    set(&fixture, 1, 100, 100, 140);
    check(&fixture, ROWS, 1, INDEX_CHOICE_COMPARE, SEGMENT_IVF_PQ);
    set(&fixture, 1, 100, 100, 50);
    check(&fixture, ROWS, 1, INDEX_CHOICE_COMPARE, SEGMENT_IVF_PQ);
    check(&fixture, 4 * ROWS, 1, INDEX_CHOICE_TRIAL, SEGMENT_NONE);
    check(&fixture, 2 * ROWS, 1, INDEX_CHOICE_COMPARE, SEGMENT_IVF_PQ);
    set(&fixture, 1, 100, 0, 0);
    check(&fixture, ROWS, 1, INDEX_CHOICE_TRIAL, SEGMENT_NONE);

    /* Both are measured. */
    build_window(&fixture, pool, 2, CONFIG_INDEX_IVF_PQ);
    set(&fixture, 2, 105, 0, 0);
    check(&fixture, ROWS, 1, INDEX_CHOICE_KNOWN, SEGMENT_IVF_PQ);
    check(&fixture, ROWS, 32, INDEX_CHOICE_COMPARE, SEGMENT_HNSW);
    set(&fixture, 2, 130, 0, 0);
    check(&fixture, ROWS, 1, INDEX_CHOICE_KNOWN, SEGMENT_HNSW);
    check(&fixture, ROWS, 32, INDEX_CHOICE_COMPARE, SEGMENT_IVF_PQ);
    set(&fixture, 2, 300, 0, 0);
    check(&fixture, ROWS, 32, INDEX_CHOICE_KNOWN, SEGMENT_HNSW);

    /* Measured for another recall, they say nothing. */
    fixture.config->collections[0].recall = 0.99;
    check(&fixture, ROWS, 1, INDEX_CHOICE_TRIAL, SEGMENT_NONE);

    worker_pool_stop(pool);
    queue->operations->close(queue);
    fixture_close(&fixture);
}
END_TEST

START_TEST(sealed_window_of_an_auto_collection_tells_why_and_is_not_built_again)
{
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct error error = {0};
    const struct index_choice *choice;
    struct store_segment_info segment;

    fixture_open(&fixture, "auto", "0", "dim: 16, metric: l2, index: {recall_floor: 0.5}");
    ck_assert_int_eq(worker_queue_local(fixture.metrics, &queue, &error), 0);
    pool = fixture_pool(&fixture, queue, 1);
    build_window(&fixture, pool, 1, CONFIG_INDEX_AUTO);
    segment = fixture_window(&fixture, 1).run.segment;
    choice = choice_of(&fixture, 1);
    ck_assert_uint_eq(choice->how, INDEX_CHOICE_TRIAL);
    ck_assert_float_gt(choice->cost, 0);
    ck_assert_int_eq(segment.kind, index_choice_takes_lists((double)choice->graph_cost,
                                                            (double)choice->lists_cost)
                                       ? SEGMENT_IVF_PQ
                                       : SEGMENT_HNSW);
    fixture_wait_drained(queue);
    ck_assert(!worker_pool_reconcile(pool));
    worker_pool_stop(pool);
    queue->operations->close(queue);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(what_segments_cost_decides_on_the_next_one),
           TEST(sealed_window_of_an_auto_collection_tells_why_and_is_not_built_again))
