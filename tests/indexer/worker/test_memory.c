/* Builds within a bound of memory: their estimate, what becomes of those that do not fit, and how
 * they share it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "indexer/index/index.h"
#include "indexer/worker/segment_kind.h"
#include "tests/indexer/worker/worker_fixture.h"

static struct worker_fixture *set_up(const char *yaml, uint64_t memory_max_bytes, uint32_t threads)
{
    struct worker_fixture *fixture = fixture_start("memory", yaml, threads);

    fixture->config->build_memory_max_bytes = memory_max_bytes;
    return fixture;
}

static void tear_down(struct worker_fixture *fixture)
{
    uint32_t threads, building;
    uint64_t memory_bytes;

    worker_pool_quiesce(fixture->pool);
    worker_pool_describe(fixture->pool, &threads, &building, &memory_bytes);
    ck_assert_uint_eq(memory_bytes, 0);
    fixture_stop(fixture);
}

static struct index_build_options options_of(const struct config_collection *collection,
                                             uint32_t threads)
{
    return (struct index_build_options){.metric = VECTOR_METRIC_L2,
                                        .dim = collection->dim,
                                        .m = collection->hnsw_m,
                                        .ef_construct = collection->hnsw_ef_construct,
                                        .thread_count = threads};
}

/* A line of /proc/self/status, in bytes. */
static uint64_t process_bytes(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    unsigned long long kib = 0;
    char line[200];

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            (void)sscanf(line + strlen(name) + 1, "%llu", &kib);
    fclose(file);
    return kib * 1024;
}

/* What the child's build adds to its resident memory at most, over what is allowed. */
static int grows_beyond(bool lists, uint32_t rows, const struct index_build_options *options,
                        const float *vectors, uint64_t allowed)
{
    struct index_hnsw_graph *graph = NULL;
    struct index_ivf *ivf = NULL;
    uint64_t before = process_bytes("VmRSS");
    int code = lists ? index_ivf_build(vectors, rows, options, &ivf, ERROR_IGNORED)
                     : index_hnsw_build(vectors, rows, options, &graph, ERROR_IGNORED);
    uint64_t grown = process_bytes("VmHWM") - before;

    printf("%s, %u rows of %u: %llu bytes, estimated %llu\n", lists ? "lists" : "graph", rows,
           options->dim, (unsigned long long)grown, (unsigned long long)allowed);
    fflush(stdout);
    /* Small tables of lists fit into what the process had free. */
    return code != 0 || grown > allowed || (!lists && grown < allowed / 4);
}

START_TEST(no_build_takes_more_than_its_estimate)
{
    static const struct {
        bool lists;
        uint32_t rows, dim, ef_construct, threads;
    } builds[] = {{false, 40000, 32, 200, 1},
                  {false, 20000, 96, 400, 2},
                  {false, 10000, 256, 100, 1},
                  {true, 60000, 32, 200, 2},
                  {true, 20000, 256, 200, 1}};
    uint64_t random = test_seed();

    for (size_t i = 0; i < sizeof(builds) / sizeof(builds[0]) && !TEST_SANITIZED; i++) {
        struct index_build_options options = {.metric = VECTOR_METRIC_L2,
                                              .dim = builds[i].dim,
                                              .m = 16,
                                              .ef_construct = builds[i].ef_construct,
                                              .thread_count = builds[i].threads};
        size_t floats = (size_t)builds[i].rows * builds[i].dim;
        float *vectors = malloc(floats * sizeof(float));
        /* Code and stacks of the process are not the build's. */
        uint64_t bytes = worker_build_bytes(&options, builds[i].lists, builds[i].rows, false);
        uint64_t allowed = bytes + (4 << 20);
        int status;
        pid_t child;
        for (size_t f = 0; f < floats; f++)
            vectors[f] = (float)(test_random(&random) >> 40) * (1.0f / (1 << 24));
        child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            _exit(grows_beyond(builds[i].lists, builds[i].rows, &options, vectors, allowed));
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "build %zu", i);
        free(vectors);
    }
}
END_TEST

START_TEST(kind_of_a_file_is_one_that_fits)
{
    struct config config = {0};
    struct config_collection collection = {
        .dim = 128, .hnsw_m = 16, .hnsw_ef_construct = 200, .metric = VECTOR_METRIC_L2};
    struct index_build_options options = options_of(&collection, 1);
    uint64_t graph = worker_build_bytes(&options, false, 100000, false);
    uint64_t lists = worker_build_bytes(&options, true, 100000, false);
    const struct {
        uint64_t memory_max_bytes;
        enum segment_kind wanted, fitting;
    } table[] = {
        {graph, SEGMENT_HNSW, SEGMENT_HNSW},     {graph - 1, SEGMENT_HNSW, SEGMENT_IVF_PQ},
        {lists, SEGMENT_HNSW, SEGMENT_IVF_PQ},   {lists - 1, SEGMENT_HNSW, SEGMENT_FLAT},
        {lists, SEGMENT_IVF_PQ, SEGMENT_IVF_PQ}, {lists - 1, SEGMENT_IVF_PQ, SEGMENT_FLAT},
        {graph, SEGMENT_FLAT, SEGMENT_FLAT},
    };

    ck_assert_uint_lt(lists, graph);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        config.build_memory_max_bytes = table[i].memory_max_bytes;
        ck_assert_int_eq(worker_fitting_kind(&config, &collection, table[i].wanted, 100000, false),
                         table[i].fitting);
    }
    /* A copy of the vectors counts. */
    config.build_memory_max_bytes = graph;
    ck_assert_int_eq(worker_fitting_kind(&config, &collection, SEGMENT_HNSW, 100000, true),
                     SEGMENT_IVF_PQ);
    ck_assert_int_eq(worker_fitting_kind(&config, &collection, SEGMENT_HNSW, UINT32_MAX, false),
                     SEGMENT_FLAT);
}
END_TEST

START_TEST(window_too_large_for_a_graph_gets_lists_and_stays_with_them)
{
    struct worker_fixture *fixture =
        set_up("dim: 64, metric: l2, index: {flat_below: 100}", 1 << 20, 1);
    struct index_build_options options = options_of(&fixture->config->collections[0], 1);
    uint64_t graph = worker_build_bytes(&options, false, 8000, false);
    struct store_window_info window;

    fixture->config->build_memory_max_bytes = graph - 1;
    ck_assert_uint_lt(worker_build_bytes(&options, true, 8000, false), graph);
    fixture_seal(fixture, 5, 8000);
    fixture_submit(fixture, fixture->pool, 5);
    window = fixture_wait_indexed(fixture, 5);
    ck_assert_int_eq(window.run.segment.kind, SEGMENT_IVF_PQ);
    fixture_wait_drained(fixture->queue);
    worker_pool_reconcile(fixture->pool);
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    tear_down(fixture);
}
END_TEST

START_TEST(window_too_large_for_any_build_is_scanned_and_counted)
{
    struct worker_fixture *fixture =
        set_up("dim: 64, metric: l2, index: {flat_below: 100}", 100000, 1);
    struct metric_label label = {"collection", "news"};
    struct metric *gauge =
        metrics_gauge(fixture->metrics, "windrow_index_too_large_files", "", &label, 1);

    fixture_seal(fixture, 5, 8000);
    fixture_submit(fixture, fixture->pool, 5);
    worker_pool_reconcile(fixture->pool);
    ck_assert_int_eq(fixture->queue->operations->depth(fixture->queue), 0);
    ck_assert_uint_eq(fixture_window(fixture, 5).run.segment.file_number, 0);
    ck_assert_double_eq(metric_value(gauge), 1);
    fixture->config->build_memory_max_bytes = 1 << 30;
    worker_pool_reconcile(fixture->pool);
    ck_assert_double_eq(metric_value(gauge), 0);
    (void)fixture_wait_indexed(fixture, 5);
    tear_down(fixture);
}
END_TEST

/* Watches the build of a window. Returns how often it was further than before. A build is listed for a moment after its
 * segment was attached: the one before may still be there. */
static uint32_t watch_build(struct worker_fixture *fixture, int64_t number, uint32_t rows)
{
    uint32_t seen = 0, before = 0;

    while (fixture_window(fixture, number).run.segment.file_number == 0) {
        struct worker_build_info info;
        if (worker_pool_builds(fixture->pool, &info, 1) > 0 &&
            info.window_start_ms != (number - 1) * WINDOW_MS) {
            ck_assert_str_eq(info.collection, "news");
            ck_assert_str_eq(info.shard, "0");
            ck_assert_uint_eq(info.rows, rows);
            ck_assert_int_eq(info.window_start_ms, number * WINDOW_MS);
            ck_assert_uint_ge(info.rows_done, before);
            ck_assert_uint_le(info.rows_done, rows);
            seen += info.rows_done > before;
            before = info.rows_done;
        }
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return seen;
}

/* Where the machine is busy a whole build may pass between two looks: then the next one is watched. */
START_TEST(build_under_way_says_how_far_it_is)
{
    enum { ROWS = 8000, BUILDS_MAX = 20 };
    struct worker_fixture *fixture =
        set_up("dim: 64, metric: l2, index: {flat_below: 100, recall_floor: 0.5}", 1 << 30, 1);
    uint32_t seen = 0;

    for (int64_t number = 1; seen == 0 && number <= BUILDS_MAX; number++) {
        fixture_seal(fixture, number, ROWS);
        fixture_submit(fixture, fixture->pool, number);
        seen = watch_build(fixture, number, ROWS);
    }
    ck_assert_uint_ge(seen, 1);
    tear_down(fixture);
}
END_TEST

START_TEST(builds_that_do_not_fit_together_wait_for_each_other)
{
    struct worker_fixture *fixture = set_up("dim: 64, metric: l2, index: {kind: hnsw}", 1 << 20, 3);
    struct index_build_options options = options_of(&fixture->config->collections[0], 1);
    struct metric *gauge =
        metrics_gauge(fixture->metrics, "windrow_index_build_memory_bytes", "", NULL, 0);
    uint64_t most = worker_build_bytes(&options, false, 4000, false) * 3 / 2;
    bool all = false;

    fixture->config->build_memory_max_bytes = most;
    for (int64_t number = 1; number <= 4; number++)
        fixture_seal(fixture, number, 4000);
    worker_pool_reconcile(fixture->pool);
    for (int round = 0; !all; round++) {
        ck_assert_int_lt(round, 60000);
        ck_assert_double_le(metric_value(gauge), (double)most);
        all = true;
        for (int64_t number = 1; number <= 4; number++)
            all &= fixture_window(fixture, number).run.segment.file_number != 0;
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    for (int64_t number = 1; number <= 4; number++)
        ck_assert_int_eq(fixture_window(fixture, number).run.segment.kind, SEGMENT_HNSW);
    tear_down(fixture);
}
END_TEST

/* Two rows that 7 bits cannot tell apart need float codes, four times as long: known only when the
 * build has begun. */
START_TEST(build_that_turns_out_larger_is_refused_before_it_takes_the_memory)
{
    enum { ROWS = 4000, DIM = 64 };
    struct index_build_options options = {
        .metric = VECTOR_METRIC_L2, .dim = DIM, .m = 16, .ef_construct = 100, .thread_count = 1};
    float *vectors = malloc((size_t)ROWS * DIM * sizeof(float));
    struct index_hnsw_graph *graph = NULL;
    uint64_t random = test_seed();
    struct error error = {0};

    for (size_t i = 0; i < (size_t)ROWS * DIM; i++)
        vectors[i] = (float)(test_random(&random) >> 40) * (1.0f / (1 << 24)) * 1e-4f;
    for (size_t i = 0; i < (size_t)ROWS / 2 * DIM; i++) /* two groups too tight for 7 bits */
        vectors[i] += 1;
    options.memory_max_bytes = index_hnsw_build_bytes(ROWS, &options);
    ck_assert_int_eq(index_hnsw_build(vectors, ROWS, &options, &graph, &error), ERROR_UNSUPPORTED);
    ck_assert_ptr_null(graph);
    options.memory_max_bytes = 0;
    ck_assert_int_eq(index_hnsw_build(vectors, ROWS, &options, &graph, &error), 0);
    index_hnsw_graph_delete(graph);
    free(vectors);
}
END_TEST

TEST_TABLE(TEST(no_build_takes_more_than_its_estimate), TEST(kind_of_a_file_is_one_that_fits),
           TEST(window_too_large_for_a_graph_gets_lists_and_stays_with_them),
           TEST(window_too_large_for_any_build_is_scanned_and_counted),
           TEST(build_under_way_says_how_far_it_is),
           TEST(builds_that_do_not_fit_together_wait_for_each_other),
           TEST(build_that_turns_out_larger_is_refused_before_it_takes_the_memory))
