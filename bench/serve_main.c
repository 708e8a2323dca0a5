/* windrow-bench-serve: what it costs that a collection is cut into windows, and what filters cost.
 *
 *     windrow-bench-serve --base F --queries F [--metric cosine|dot|l2]
 *                         [--kind hnsw|ivf_pq|auto] [--graphs N] [--windows 1,10] [--shards 1,4]
 *                         [--ef LIST] [--shuffle]
 *                         [--recall R] [--threads N] [--no-filters] [--dir DIR] [--builders N [--nice M]]
 *                         [--spans [auto]] [--tail N] [--range PART] [--half-life HOURS]
 *                         [--passing 50,10,1,0.1] [--fields n,near,time] [--vary] [--rounds N]
 *
 * Rows of the base file go through the real store, in file order as time (or shuffled over the
 * windows with --shuffle), are sealed, indexed and asked through query_search_run. Truth is the
 * same search with `exact`. One line an experiment: windows, filter, ef (0 in LIST: as much as
 * --recall needs), recall@10, queries a second of processor time, median time of one.
 *
 * With --builders: times of searches, and of new rows until they are searched, while so many threads
 * build the windows (with --spans: the spans) again and swap them, beside those without, in turns.
 * With --spans: the spans that twcs decides on are built as well. With --kind auto or --spans auto the
 * service's own builders make segments and spans, as a running windrow does it: small windows get
 * none, and of graphs and lists it builds what it measures to be faster. With --tail the newest N windows
 * seal when it has built what the others need. With --range: over such a part of
 * the time in the middle. With --half-life: scores decay, as seen from the end of the last window.
 * Filters let --passing percent of the rows pass: by a number that has nothing to do with the vector
 * (n), by the rank along a direction of the vector space, so that all is near a query or all far away
 * (near), or by the rank in time (time). With --vary each query has a span of its own: what is
 * remembered of a filter is of no use. A line after each list of ef says the rate at --recall,
 * between the points around it, and what part of the unfiltered one it is. Rates are the best of
 * --rounds. */
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "bench/measure.h"
#include "bench/serve_store.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "twcs/twcs.h"

/* Asking. */

struct measurement {
    double recall, queries_per_second, p50_ms;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* A range that so many percent of the rows pass. */
struct filter {
    const char *field;
    int field_bytes;
    double percent;
};

static void compile_filter(const struct bench *bench, const struct filter *filter, uint32_t query,
                           struct query_search *search)
{
    double share = filter->percent / 100 * RANKS;
    double first = bench->vary ? floor((RANKS - share) / QUERIES_MAX * query) : 0;
    struct error error = {0};
    struct doc doc;
    char text[160];

    snprintf(text, sizeof(text), "{\"must\":[{\"key\":\"%.*s\",\"range\":{\"gte\":%g,\"lt\":%g}}]}",
             filter->field_bytes, filter->field, first, first + share);
    serve_check(doc_parse_json(search->arena, text, strlen(text), NULL, &doc, &error), &error);
    serve_check(query_filter_compile(&doc, "", search->arena, &search->filter, &error), &error);
}

/* Every query once; with `exact` the answers become the truth. */
static struct measurement ask_all(struct bench *bench, struct query_view *view, uint32_t ef,
                                  bool exact, const struct filter *filter)
{
    uint32_t count = bench->queries.count < QUERIES_MAX ? bench->queries.count : QUERIES_MAX;
    int64_t time_ms = (int64_t)bench->windows * WINDOW_MS;
    int64_t from_ms =
        bench->range < 1 ? (int64_t)((double)time_ms * (1 - bench->range) / 2) : INT64_MIN;
    int64_t to_ms =
        bench->range < 1 ? from_ms + (int64_t)((double)time_ms * bench->range) : INT64_MAX;
    double start = serve_cpu_seconds();
    uint64_t right = 0;
    double seconds, wall_ms[QUERIES_MAX];

    for (uint32_t i = 0; i < count; i++) {
        struct arena arena;
        struct error error = {0};
        struct query_result result;
        struct query_search search = {.vector =
                                          bench->queries.values + (size_t)i * bench->queries.dim,
                                      .limit = K,
                                      .ef = ef,
                                      .exact = exact,
                                      .from_ms = from_ms,
                                      .to_ms = to_ms,
                                      .half_life_ms = (int64_t)(bench->half_life_hours * WINDOW_MS),
                                      .arena = &arena};
        arena_create(&arena, 0);
        if (filter)
            compile_filter(bench, filter, i, &search);
        wall_ms[i] = (double)io_monotonic_ns(io_posix());
        serve_check(query_search_run(view, &search, &result, &error), &error);
        wall_ms[i] = ((double)io_monotonic_ns(io_posix()) - wall_ms[i]) / 1e6;
        for (size_t j = 0; j < K; j++) {
            uint64_t id = j < result.hit_count ? serve_hit_id(&result.hits[j].row) : UINT64_MAX;
            if (exact)
                bench->truth[i][j] = id;
            for (size_t t = 0; t < K; t++)
                right += bench->truth[i][t] == id;
        }
        arena_destroy(&arena);
    }
    seconds = serve_cpu_seconds() - start;
    qsort(wall_ms, count, sizeof(*wall_ms), compare_doubles);
    return (struct measurement){(double)right / ((double)count * K), count / seconds,
                                wall_ms[count / 2]};
}

/* Between the points around --recall, or of the first that has it. */
static double rate_at(const struct bench *bench, const struct measurement *points, size_t count)
{
    double wanted = bench->collection.recall;

    for (size_t i = 0; i < count; i++) {
        const struct measurement *at = &points[i], *before = at - 1;
        if (at->recall < wanted)
            continue;
        if (i == 0 || at->recall <= before->recall)
            return at->queries_per_second;
        return exp(log(before->queries_per_second) +
                   (wanted - before->recall) / (at->recall - before->recall) *
                       log(at->queries_per_second / before->queries_per_second));
    }
    return 0;
}

static struct measurement measure_ef(struct bench *bench, struct query_view *view, uint32_t ef,
                                     const char *name, const struct filter *filter)
{
    struct measurement best = ask_all(bench, view, ef, false, filter);
    char effort[16] = "auto";

    if (ef > 0)
        snprintf(effort, sizeof(effort), "%u", ef);
    for (uint32_t round = 1; round < bench->rounds; round++) {
        struct measurement hot = ask_all(bench, view, ef, false, filter);
        best.queries_per_second = fmax(hot.queries_per_second, best.queries_per_second);
        best.p50_ms = fmin(hot.p50_ms, best.p50_ms);
    }
    printf("%7u  %-10s  %5s  %.4f  %9.0f  %6.3f\n", bench->windows, name, effort, best.recall,
           best.queries_per_second, best.p50_ms);
    fflush(stdout);
    return best;
}

static void measure(struct bench *bench, const char *efs, const char *name,
                    const struct filter *filter)
{
    struct query_view_options options = {.collection = &bench->collection,
                                         .registry = bench->registry,
                                         .pool = bench->pool,
                                         .timeout_ms = 3600000};
    struct measurement points[EFS_MAX];
    struct query_view *view;
    struct error error = {0};
    struct measurement exact;
    double rate;
    size_t count = 0;

    options.pool = bench->pool;
    options.timeout_ms = 3600000;
    options.score_now_ms = (int64_t)bench->windows * WINDOW_MS;
    serve_check(query_view_open(&options, &view, &error), &error);
    exact = ask_all(bench, view, 0, true, filter);
    printf("%7u  %-10s  %5s  %6s  %9.0f  %6.3f\n", bench->windows, name, "exact", "1",
           exact.queries_per_second, exact.p50_ms);
    for (const char *at = efs; *at && count < EFS_MAX;) {
        char *end;
        uint32_t ef = (uint32_t)strtoul(at, &end, 10);
        struct measurement measured = measure_ef(bench, view, ef, name, filter);
        if (ef > 0 || strchr(efs, ',') == NULL)
            points[count++] = measured;
        at = *end == ',' ? end + 1 : end;
    }
    rate = rate_at(bench, points, count);
    if (!filter)
        bench->unfiltered = rate;
    printf("%7u  %-10s  at %.3f: %.0f, %.2f of unfiltered\n", bench->windows, name,
           bench->collection.recall, rate, bench->unfiltered > 0 ? rate / bench->unfiltered : 0);
    query_view_close(view);
}

static void measure_filters(struct bench *bench, const char *efs, const char *fields,
                            const char *passing)
{
    for (const char *field = fields; *field;) {
        int field_bytes = (int)strcspn(field, ",");
        for (const char *at = passing; *at;) {
            char *end, name[32];
            struct filter filter = {field, field_bytes, strtod(at, &end)};
            snprintf(name, sizeof(name), "%.*s %g%%", field_bytes, field, filter.percent);
            measure(bench, efs, name, &filter);
            at = *end == ',' ? end + 1 : end + strlen(end);
        }
        field += field_bytes + (field[field_bytes] == ',');
    }
}

/* Searches beside builds. */

enum {
    ROUNDS = 5,
    ROUND_QUERIES = 5000,
    ROUND_APPENDS = 100, /* of one row each, spread over the queries */
    ROUND_EF = 64
};

struct building {
    struct bench *bench;
    uint32_t threads;
    int nice;
    atomic_bool stop;
    uint32_t swaps;
};

/* The next window, or the next span. */
static void build_next(struct building *building, const struct store_snapshot *snapshot,
                       size_t next)
{
    struct store_shard *shard = building->bench->shards[0];
    size_t count, span_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    const struct store_span *spans = store_snapshot_spans(snapshot, &span_count);
    const struct store_span *span = span_count > 0 ? &spans[next % span_count] : NULL;

    if (span)
        serve_index_span(building->bench, shard, span->tier,
                         &sources[span->first_source + span->places[0]], span->part_count,
                         building->threads, NULL, &building->stop);
    else if (sources[next % count].sealed)
        (void)serve_index_source(building->bench, shard, &sources[next % count], building->threads,
                                 NULL, &building->stop);
}

/* Builds one window after another again and swaps it, as reseals would; or one span after another. */
static void *build_always(void *context)
{
    struct building *building = context;
    struct store_shard *shard = building->bench->shards[0];

    (void)setpriority(PRIO_PROCESS, 0, building->nice); /* inherited by the threads of a build */
    for (size_t next = 0; !atomic_load(&building->stop); next++) {
        struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
        build_next(building, snapshot, next);
        building->swaps += !atomic_load(&building->stop);
        store_snapshot_release(snapshot);
    }
    return NULL;
}

/* A new row until searches see it, durable: wall seconds. Its window stays open. */
static double time_append(struct bench *bench)
{
    static int64_t serial;
    int64_t row = bench->base.count + serial++;
    int64_t start_ns = io_monotonic_ns(io_posix());
    struct store_key key;
    struct store_record record = {.offset = row,
                                  .event_time_ms = (int64_t)bench->windows * WINDOW_MS,
                                  .vector = bench->base.values};
    const struct store_group group = {
        .records = &record, .record_count = 1, .next_offset = row + 1};
    struct error error = {0};

    store_key_from_u64((uint64_t)row, &key);
    record.key = key.bytes;
    record.key_bytes = key.size_bytes;
    serve_check(store_shard_append(bench->shards[0], &group, &error), &error);
    return (double)(io_monotonic_ns(io_posix()) - start_ns) / 1e9;
}

/* One search after another, each with a view of its own, as requests have, and now and then a new
 * row: sorted wall seconds. */
static void time_searches(struct bench *bench, double *seconds, double *appends)
{
    struct query_view_options options = {
        .collection = &bench->collection, .registry = bench->registry, .pool = bench->pool};

    for (uint32_t i = 0; i < ROUND_QUERIES; i++) {
        struct error error = {0};
        struct query_result result;
        struct query_view *view;
        struct arena arena;
        int64_t start_ns = io_monotonic_ns(io_posix());
        struct query_search search = {.vector =
                                          bench->queries.values +
                                          (size_t)(i % bench->queries.count) * bench->queries.dim,
                                      .limit = K,
                                      .ef = ROUND_EF,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .arena = &arena};
        arena_create(&arena, 0);
        serve_check(query_view_open(&options, &view, &error), &error);
        serve_check(query_search_run(view, &search, &result, &error), &error);
        query_view_close(view);
        arena_destroy(&arena);
        seconds[i] = (double)(io_monotonic_ns(io_posix()) - start_ns) / 1e9;
        if (i % (ROUND_QUERIES / ROUND_APPENDS) == 0)
            appends[i / (ROUND_QUERIES / ROUND_APPENDS)] = time_append(bench);
    }
    qsort(seconds, ROUND_QUERIES, sizeof(*seconds), compare_doubles);
    qsort(appends, ROUND_APPENDS, sizeof(*appends), compare_doubles);
}

/* Rounds without and with builders take turns, so that both see the same machine. */
static void measure_beside_builds(struct bench *bench, uint32_t threads, int nice_value)
{
    double p50[2][ROUNDS], p95[2][ROUNDS], fresh[2][ROUNDS], ratios[ROUNDS];
    double appends[ROUND_APPENDS];
    double *seconds = calloc(ROUND_QUERIES, sizeof(*seconds));
    uint32_t swaps = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (int busy = 0; busy < 2; busy++) {
            struct building building = {.bench = bench, .threads = threads, .nice = nice_value};
            pthread_t thread;
            if (busy && pthread_create(&thread, NULL, build_always, &building) != 0)
                exit(1);
            time_searches(bench, seconds, appends);
            fresh[busy][round] = appends[ROUND_APPENDS / 100 * 95];
            p50[busy][round] = seconds[ROUND_QUERIES / 2];
            p95[busy][round] = seconds[ROUND_QUERIES / 100 * 95];
            atomic_store(&building.stop, true);
            if (busy)
                (void)pthread_join(thread, NULL);
            swaps += building.swaps;
        }
        ratios[round] = p95[1][round] / p95[0][round];
    }
    for (int busy = 0; busy < 2; busy++) {
        qsort(p50[busy], ROUNDS, sizeof(double), compare_doubles);
        qsort(p95[busy], ROUNDS, sizeof(double), compare_doubles);
        qsort(fresh[busy], ROUNDS, sizeof(double), compare_doubles);
        printf("%7u  %-8s  %5d  p50 %.3f ms  p95 %.3f ms  new rows p95 %.3f ms\n", bench->windows,
               busy ? "building" : "idle", ROUND_EF, p50[busy][ROUNDS / 2] * 1e3,
               p95[busy][ROUNDS / 2] * 1e3, fresh[busy][ROUNDS / 2] * 1e3);
    }
    qsort(ratios, ROUNDS, sizeof(double), compare_doubles);
    printf("%7u  p95 while building over idle: %.2f (%.2f to %.2f), %u build threads, nice %d, %u "
           "swaps\n",
           bench->windows, ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1], threads, nice_value,
           swaps);
    free(seconds);
}

/* Segments of all windows, and spans. */
static void build(struct bench *bench, const char *folder)
{
    struct index_ivf_codebook *codebook = NULL;

    if (bench->kind == SERVE_AUTO || bench->service_spans) {
        uint32_t settled = bench->windows > bench->tail ? bench->windows - bench->tail : 0;
        for (uint32_t i = 0; i < bench->shard_count; i++)
            serve_seal(bench->shards[i], 0, settled);
        serve_index_as_service(bench, folder);
        if (settled == bench->windows)
            return;
        for (uint32_t i = 0; i < bench->shard_count; i++)
            serve_seal(bench->shards[i], settled, bench->windows);
        serve_index_as_service(bench, folder);
        return;
    }
    for (uint32_t i = 0; i < bench->shard_count; i++)
        serve_seal_and_index(bench, bench->shards[i], &codebook);
    printf("# %u windows: builds %.2f s, measuring effort %.2f s of processor time\n",
           bench->windows, bench->build_seconds, bench->effort_seconds);
    for (uint32_t i = 0; bench->spans && i < bench->shard_count; i++)
        serve_index_spans(bench, bench->shards[i], codebook);
    index_codebook_delete(codebook);
    bench->build_seconds = bench->effort_seconds = 0;
}

/* `fields` NULL: no filters. */
static void run(struct bench *bench, const char *parent, const char *efs, const char *fields,
                const char *passing)
{
    char path[PATH_MAX];
    struct error error = {0};
    struct store_options store = {.data_dir = path,
                                  .memory_max_bytes = (uint64_t)1 << 30,
                                  .memtable_max_bytes = (uint64_t)128 << 20};

    snprintf(path, sizeof(path), "%s/bench-serve-%ld-%u-%u", parent, (long)getpid(),
             bench->shard_count, bench->windows);
    serve_check(store_open(&store, &bench->store, &error), &error);
    bench->registry = store_registry_new(&(struct store_registry_options){.store = bench->store});
    for (uint32_t i = 0; i < bench->shard_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        serve_check(store_registry_claim(bench->registry, &bench->collection, name,
                                         &bench->shards[i], &error),
                    &error);
        serve_load(bench, i);
    }
    build(bench, path);
    if (bench->build_threads > 0)
        measure_beside_builds(bench, bench->build_threads, bench->build_nice);
    else
        measure(bench, efs, "-", NULL);
    if (fields)
        measure_filters(bench, efs, fields, passing);
    store_registry_close_all(bench->registry, false);
    store_registry_delete(bench->registry);
    store_close(bench->store);
    bench_folder_remove(path);
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return otherwise;
}

static const char usage[] =
    "usage: windrow-bench-serve --base F --queries F [--metric cosine|dot|l2]\n"
    "           [--kind hnsw|ivf_pq|auto] [--graphs N] [--windows 1,10] [--shards 1,4] [--ef "
    "LIST]\n"
    "           [--shuffle] [--recall R] [--threads N] [--no-filters] [--dir DIR]\n"
    "           [--builders N [--nice M]] [--spans [auto]] [--tail N] [--range PART] [--half-life "
    "HOURS]\n"
    "           [--passing 50,10,1,0.1] [--fields n,near,time] [--vary] [--rounds N]\n"
    "           [--in-turns]\n";

/* Which of three names the option has; the first when it is not given. */
static int choice(int argc, char **argv, const char *name, const char *const names[3])
{
    const char *wanted = option(argc, argv, name, names[0]);

    for (int i = 0; i < 3 && names[i]; i++)
        if (strcmp(wanted, names[i]) == 0)
            return i;
    fprintf(stderr, "windrow-bench-serve: %s %s\n%s", name, wanted, usage);
    exit(64);
}

static bool has_flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

/* Of a list with commas; 0: it has ended. */
static uint32_t next_number(const char **list)
{
    char *end;
    uint32_t number = (uint32_t)strtoul(*list, &end, 10);

    *list = *end == ',' ? end + 1 : end;
    return number;
}

static void normalise(struct bench_vectors *vectors)
{
    for (uint32_t i = 0; i < vectors->count; i++)
        (void)index_normalise(vectors->values + (size_t)i * vectors->dim, vectors->dim);
}

int main(int argc, char **argv)
{
    const char *base = option(argc, argv, "--base", NULL);
    const char *queries = option(argc, argv, "--queries", NULL);
    /* In the order of enum vector_metric. */
    int metric = choice(argc, argv, "--metric", (const char *const[3]){"cosine", "dot", "l2"});
    int kind = choice(argc, argv, "--kind", (const char *const[3]){"hnsw", "ivf_pq", "auto"});
    const char *windows = option(argc, argv, "--windows", "1,10");
    const char *shard_counts = option(argc, argv, "--shards", "1");
    uint32_t threads = (uint32_t)atoi(option(argc, argv, "--threads", "1"));
    struct bench bench = {.shuffle = has_flag(argc, argv, "--shuffle"),
                          .kind = (enum serve_kind)kind,
                          .lists = kind == SERVE_IVF_PQ,
                          .spans = has_flag(argc, argv, "--spans"),
                          .tail = (uint32_t)atoi(option(argc, argv, "--tail", "0")),
                          .service_spans = strcmp(option(argc, argv, "--spans", ""), "auto") == 0,
                          .vary = has_flag(argc, argv, "--vary"),
                          .in_turns = has_flag(argc, argv, "--in-turns"),
                          .rounds = (uint32_t)atoi(option(argc, argv, "--rounds", "2")),
                          .range = atof(option(argc, argv, "--range", "1")),
                          .half_life_hours = atof(option(argc, argv, "--half-life", "0")),
                          .graphs = (uint32_t)atoi(option(argc, argv, "--graphs", "0")),
                          .build_threads = (uint32_t)atoi(option(argc, argv, "--builders", "0")),
                          .build_nice = atoi(option(argc, argv, "--nice", "10"))};
    struct error error = {0};

    if (!base || !queries) {
        fputs(usage, stderr);
        return 64;
    }
    serve_check(bench_vectors_load(base, &bench.base, &error), &error);
    serve_check(bench_vectors_load(queries, &bench.queries, &error), &error);
    if (bench.queries.dim != bench.base.dim) {
        fprintf(stderr, "windrow-bench-serve: %s has dimension %u, %s %u\n", base, bench.base.dim,
                queries, bench.queries.dim);
        return 1;
    }
    bench.collection =
        (struct config_collection){.name = "bench",
                                   .dim = bench.base.dim,
                                   .window_ms = WINDOW_MS,
                                   .recall = atof(option(argc, argv, "--recall", "0.95")),
                                   .metric = (enum vector_metric)metric};
    if (bench.collection.metric == VECTOR_METRIC_COSINE)
        normalise(&bench.base);
    serve_rank_rows(&bench);
    bench.truth = calloc(QUERIES_MAX, sizeof(*bench.truth));
    bench.pool = threads > 1
                     ? thread_pool_new(&(struct thread_pool_options){
                           .name = "query", .class = THREAD_SEARCH, .threads_max = threads - 1})
                     : NULL;
    printf("# %s, %u x %u, %s, kernels %s, %u threads\nwindows  filter         ef  recall        "
           "q/cpu-s  p50 ms\n",
           base, bench.base.count, bench.base.dim, bench.shuffle ? "shuffled" : "by time",
           index_simd_name(), threads);
    for (uint32_t shards; (shards = next_number(&shard_counts)) > 0;) {
        bench.shard_count = shards < SHARDS_MAX ? shards : SHARDS_MAX;
        printf("# %u shards\n", bench.shard_count);
        for (const char *at = windows; (bench.windows = next_number(&at)) > 0;)
            run(&bench, option(argc, argv, "--dir", "/tmp"),
                option(argc, argv, "--ef", "16,32,64,128"),
                bench.build_threads > 0 || has_flag(argc, argv, "--no-filters")
                    ? NULL
                    : option(argc, argv, "--fields", "n"),
                option(argc, argv, "--passing", "10,1"));
    }
    thread_pool_delete(bench.pool);
    bench_vectors_destroy(&bench.base);
    bench_vectors_destroy(&bench.queries);
    free(bench.truth);
    free(bench.ranks);
    return 0;
}
