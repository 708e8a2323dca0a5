/* windrow-bench-serve: what it costs that a collection is cut into windows, and what filters cost.
 *
 *     windrow-bench-serve --base F --queries F [--metric cosine|dot|l2] [--kind hnsw|ivf_pq]
 *                         [--graphs N] [--windows 1,10] [--shards N] [--ef LIST] [--shuffle]
 *                         [--recall R] [--threads N] [--no-filters] [--dir DIR] [--builders N [--nice M]]
 *                         [--spans] [--range PART]
 *
 * Rows of the base file go through the real store, in file order as time (or shuffled over the
 * windows with --shuffle), are sealed, indexed and asked through query_search_run. Truth is the
 * same search with `exact`. One line an experiment: windows, filter, ef (0 in LIST: as much as
 * --recall needs), recall@10, queries a second of processor time, median time of one. With --builders: times of searches while so many threads build the windows again and swap
 * them, beside those without, in turns. With --spans: the spans that twcs decides on are built as well. With --range: over
 * such a part of the time in the middle. */
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
#include "bench/index_vectors.h"
#include "bench/measure.h"
#include "indexer/query/query.h"
#include "twcs/twcs.h"

enum { K = 10, WINDOW_MS = 3600000, QUERIES_MAX = 500, GROUP = 64, SHARDS_MAX = 64 };

struct bench {
    struct bench_vectors base, queries;
    struct config_collection collection;
    struct store *store;
    struct store_shard *shards[SHARDS_MAX];
    uint32_t shard_count; /* rows go to one after the other, as to partitions of a topic */
    struct store_registry *registry;
    struct thread_pool *pool;
    uint32_t windows;
    bool shuffle;
    bool lists;      /* IVF-PQ; else HNSW */
    uint32_t graphs; /* with lists: the youngest so many windows are HNSW all the same */
    bool spans;
    double range;           /* part of the time that is searched */
    uint32_t build_threads; /* beside the searches; 0: other experiments */
    int build_nice;
    double build_seconds, effort_seconds; /* processor time of builds, of measuring effort */
    uint64_t (*truth)[K];
};

static void check(int code, const struct error *error)
{
    if (code == 0)
        return;
    fprintf(stderr, "windrow-bench-serve: %s\n", error->text);
    exit(1);
}

static uint32_t mix(uint32_t value)
{
    value = (value ^ (value >> 16)) * 0x7FEB352DU;
    value = (value ^ (value >> 15)) * 0x846CA68BU;
    return value ^ (value >> 16);
}

/* About what a changelog entry carries besides its text's first words. */
static void write_payload(struct buffer *buffer, uint32_t row)
{
    struct arena arena;
    struct doc map;
    struct doc *items;
    char text[200];

    arena_create(&arena, 0);
    snprintf(text, sizeof(text),
             "entry %u of package-%u: fixes a fault in module %u when option %u is set, thanks to "
             "reporter %u",
             row, row % 5000, mix(row) % 100000, mix(row) % 77, row % 900);
    items = doc_items(&arena, 6);
    items[0] = doc_string(&arena, "n");
    items[1] = doc_integer(mix(row + 99) % 10000);
    items[2] = doc_string(&arena, "package");
    items[3] = doc_string(&arena, "package");
    items[4] = doc_string(&arena, "text");
    items[5] = doc_string(&arena, text);
    map = (struct doc){.type = DOC_MAP, .count = 3, .items = items};
    buffer->size = 0;
    doc_write_msgpack(buffer, &map);
    arena_destroy(&arena);
}

static int64_t row_time(const struct bench *bench, uint32_t row)
{
    uint64_t window = bench->shuffle ? mix(row) % bench->windows
                                     : (uint64_t)row * bench->windows / bench->base.count;

    return (int64_t)window * WINDOW_MS + row % WINDOW_MS;
}

static void load(struct bench *bench, uint32_t shard_index)
{
    struct store_shard *shard = bench->shards[shard_index];
    struct store_record records[GROUP];
    struct store_key keys[GROUP];
    struct buffer payloads[GROUP] = {{0}};
    struct error error = {0};

    for (uint32_t first = shard_index; first < bench->base.count;
         first += GROUP * bench->shard_count) {
        uint32_t left = (bench->base.count - first + bench->shard_count - 1) / bench->shard_count;
        uint32_t count = left < GROUP ? left : GROUP;
        struct store_group group = {.records = records,
                                    .record_count = count,
                                    .next_offset =
                                        (int64_t)first + (int64_t)count * bench->shard_count};
        for (uint32_t i = 0; i < count; i++) {
            uint32_t row = first + i * bench->shard_count;
            store_key_from_u64(row, &keys[i]);
            write_payload(&payloads[i], row);
            records[i] =
                (struct store_record){.key = keys[i].bytes,
                                      .key_bytes = keys[i].size_bytes,
                                      .offset = row,
                                      .event_time_ms = row_time(bench, row),
                                      .vector = bench->base.values + (size_t)row * bench->base.dim,
                                      .payload = payloads[i].data,
                                      .payload_bytes = (uint32_t)payloads[i].size};
        }
        check(store_shard_append(shard, &group, &error), &error);
        if (store_shard_needs_flush(shard))
            check(store_shard_flush(shard, &error), &error);
    }
    check(store_shard_flush(shard, &error), &error);
    for (int i = 0; i < GROUP; i++)
        buffer_destroy(&payloads[i]);
}

/* Time of all threads on processors: other programs on the machine do not count. */
static double cpu_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Builds the segment and writes it to `path`, PATH_MAX bytes that receive its name. */
static int write_segment(bool lists, struct store_shard *shard, const float *vectors, uint32_t rows,
                         const struct index_build_options *build, char *path,
                         struct store_segment_info *info, struct error *error)
{
    struct index_hnsw_graph *graph = NULL;
    struct index_ivf *ivf = NULL;
    int code = lists ? index_ivf_build(vectors, rows, build, &ivf, error)
                     : index_hnsw_build(vectors, rows, build, &graph, error);

    if (code != 0)
        return code;
    store_shard_reserve_segment(shard, &info->file_number, path, PATH_MAX);
    code = lists ? index_ivf_write(io_posix(), path, info->file_number, ivf, &info->bytes, error)
                 : index_segment_write(io_posix(), path, info->file_number, graph, &info->bytes,
                                       error);
    index_ivf_delete(ivf);
    index_hnsw_graph_delete(graph);
    return code;
}

static void gather(const struct bench *bench, const struct store_source *source, float *vectors)
{
    struct error error = {0};

    for (uint32_t row = 0; row < source->row_count; row++) {
        const float *vector;
        uint32_t span;
        check(store_row_vectors(source, row, &vector, &span, &error), &error);
        memcpy(vectors + (size_t)row * bench->base.dim, vector, bench->base.dim * sizeof(float));
    }
}

/* Builds with `threads`, measures and opens; false when cancelled before. Frees the vectors. */
static bool build_segment(struct bench *bench, struct store_shard *shard, float *vectors,
                          uint32_t rows, bool lists, uint32_t threads,
                          const struct index_ivf_codebook *codebook, const atomic_bool *cancel,
                          struct store_segment *segment)
{
    struct index_build_options build = {.metric = bench->collection.metric,
                                        .dim = bench->base.dim,
                                        .m = 16,
                                        .ef_construct = 200,
                                        .codebook = codebook,
                                        .thread_count = threads,
                                        .seed = 7,
                                        .cancel = cancel};
    struct io *io = io_posix();
    struct error error = {0};
    struct index_segment *opened;
    int code;
    char temporary[PATH_MAX], final[PATH_MAX];

    *segment = (struct store_segment){
        .info = {.kind = lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW, .recall = -1},
        .release = index_segment_close};
    bench->build_seconds -= cpu_seconds();
    code = write_segment(lists, shard, vectors, rows, &build, temporary, &segment->info, &error);
    bench->build_seconds += cpu_seconds();
    if (code == ERROR_CANCELLED) {
        free(vectors);
        return false;
    }
    check(code, &error);
    snprintf(final, sizeof(final), "%.*s", (int)(strlen(temporary) - 4), temporary);
    check(io_rename(io, temporary, final, &error), &error);
    check(index_segment_open(io, final, segment->info.file_number, build.metric, build.dim, rows,
                             &opened, &error),
          &error);
    bench->effort_seconds -= cpu_seconds();
    check(index_segment_measure_effort(
              opened, final,
              &(struct index_effort_sample){.vectors = vectors, .count = rows, .dim = build.dim},
              &error),
          &error);
    bench->effort_seconds += cpu_seconds();
    free(vectors);
    segment->object = opened;
    return true;
}

static bool is_listed(const struct bench *bench, int64_t window_start_ms)
{
    return bench->lists && window_start_ms / WINDOW_MS + (int64_t)bench->graphs < bench->windows;
}

/* Builds and swaps the segment in, unless cancelled before (NULL then). It belongs to the shard. */
static const struct index_segment *index_source(struct bench *bench, struct store_shard *shard,
                                                const struct store_source *source, uint32_t threads,
                                                const struct index_ivf_codebook *codebook,
                                                const atomic_bool *cancel)
{
    float *vectors = malloc((size_t)source->row_count * bench->base.dim * sizeof(float));
    struct store_segment segment;
    struct error error = {0};

    gather(bench, source, vectors);
    if (!build_segment(bench, shard, vectors, source->row_count,
                       is_listed(bench, source->window_start_ms), threads, codebook, cancel,
                       &segment))
        return NULL;
    check(store_shard_attach(shard, source->file_number, &segment, &error), &error);
    return segment.object;
}

/* One span over sealed windows, which lie one after another. */
static void index_span(struct bench *bench, struct store_shard *shard, uint8_t tier,
                       const struct store_source *sources, uint32_t count,
                       const struct index_ivf_codebook *codebook)
{
    struct store_span_part parts[STORE_SPAN_PARTS_MAX];
    struct store_segment segment;
    struct error error = {0};
    uint32_t rows = 0;
    float *vectors;

    for (uint32_t i = 0; i < count; i++)
        rows += sources[i].row_count;
    vectors = malloc((size_t)rows * bench->base.dim * sizeof(float));
    rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = (struct store_span_part){.window_start_ms = sources[i].window_start_ms,
                                            .file_number = sources[i].file_number,
                                            .row_count = sources[i].row_count};
        gather(bench, &sources[i], vectors + (size_t)rows * bench->base.dim);
        rows += sources[i].row_count;
    }
    (void)build_segment(bench, shard, vectors, rows, is_listed(bench, sources[0].window_start_ms),
                        2, codebook, NULL, &segment);
    check(store_shard_attach_span(shard, &segment, tier, WINDOW_MS, parts, count, &error), &error);
}

/* What twcs would have once the newest window is quiet. */
static void index_spans(struct bench *bench, struct store_shard *shard,
                        const struct index_ivf_codebook *codebook)
{
    const struct twcs_policy policy = {.window_ms = WINDOW_MS};
    const struct twcs_clock clock = {.watermark_ms = (int64_t)(bench->windows + 1) * WINDOW_MS};
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
    size_t count, decision_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    struct twcs_span_window *windows = calloc(count + 1, sizeof(*windows));
    struct twcs_span_decision *decisions = calloc(count + 1, sizeof(*decisions));

    for (size_t i = 0; i < count; i++)
        windows[i] = (struct twcs_span_window){.start_ms = sources[i].window_start_ms,
                                               .length_ms = sources[i].window_length_ms,
                                               .rows = sources[i].row_count,
                                               .settled = sources[i].sealed,
                                               .max_expiry_ms = TWCS_NEVER};
    decision_count =
        twcs_decide_spans(&policy, &clock, windows, count, NULL, 0, decisions, count + 1);
    bench->build_seconds = bench->effort_seconds = 0;
    for (size_t i = 0; i < decision_count; i++)
        index_span(bench, shard, decisions[i].tier, &sources[decisions[i].first_window],
                   (uint32_t)decisions[i].window_count, codebook);
    printf("# %zu spans: builds %.2f s, measuring effort %.2f s of processor time\n",
           decision_count, bench->build_seconds, bench->effort_seconds);
    free(windows);
    free(decisions);
    store_snapshot_release(snapshot);
}

static void seal_and_index(struct bench *bench, struct store_shard *shard,
                           struct index_ivf_codebook **codebook)
{
    struct store_snapshot *snapshot;
    const struct store_source *sources;
    struct error error = {0};
    size_t count;

    for (uint32_t i = 0; i < bench->windows; i++)
        check(store_shard_compact(
                  shard,
                  &(struct store_compaction_request){.kind = STORE_COMPACTION_SEAL,
                                                     .window_start_ms = (int64_t)i * WINDOW_MS,
                                                     .window_length_ms = WINDOW_MS},
                  NULL, &error),
              &error);
    snapshot = store_snapshot_acquire(shard, 0);
    sources = store_snapshot_sources(snapshot, &count);
    for (size_t i = 0; i < count; i++) {
        const struct index_segment *segment;
        if (!sources[i].sealed)
            continue;
        segment = index_source(bench, shard, &sources[i], 2, *codebook, NULL);
        if (index_segment_codebook(segment) == 0)
            continue;
        index_codebook_delete(*codebook);
        *codebook = index_segment_copy_codebook(segment);
    }
    store_snapshot_release(snapshot);
}

/* Asking. */

static uint64_t hit_id(const struct query_row *row)
{
    size_t key_bytes;
    const uint8_t *key = store_row_key(row->source, row->row, &key_bytes);
    uint64_t id = 0;

    for (size_t i = 1; i < key_bytes; i++)
        id = id << 8 | key[i];
    return id;
}

struct measurement {
    double recall, queries_per_second, p50_ms;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Every query once; with `exact` the answers become the truth. */
static struct measurement ask_all(struct bench *bench, struct query_view *view, uint32_t ef,
                                  bool exact, const char *filter_json)
{
    uint32_t count = bench->queries.count < QUERIES_MAX ? bench->queries.count : QUERIES_MAX;
    int64_t time_ms = (int64_t)bench->windows * WINDOW_MS;
    int64_t from_ms =
        bench->range < 1 ? (int64_t)((double)time_ms * (1 - bench->range) / 2) : INT64_MIN;
    int64_t to_ms =
        bench->range < 1 ? from_ms + (int64_t)((double)time_ms * bench->range) : INT64_MAX;
    double start = cpu_seconds();
    uint64_t right = 0;
    double seconds, wall_ms[QUERIES_MAX];

    for (uint32_t i = 0; i < count; i++) {
        struct arena arena;
        struct error error = {0};
        struct query_result result;
        struct doc doc;
        struct query_search search = {.vector =
                                          bench->queries.values + (size_t)i * bench->queries.dim,
                                      .limit = K,
                                      .ef = ef,
                                      .exact = exact,
                                      .from_ms = from_ms,
                                      .to_ms = to_ms,
                                      .arena = &arena};
        arena_create(&arena, 0);
        if (filter_json) {
            check(doc_parse_json(&arena, filter_json, strlen(filter_json), NULL, &doc, &error),
                  &error);
            check(query_filter_compile(&doc, &arena, &search.filter, &error), &error);
        }
        wall_ms[i] = (double)io_monotonic_ns(io_posix());
        check(query_search_run(view, &search, &result, &error), &error);
        wall_ms[i] = ((double)io_monotonic_ns(io_posix()) - wall_ms[i]) / 1e6;
        for (size_t j = 0; j < K; j++) {
            uint64_t id = j < result.hit_count ? hit_id(&result.hits[j].row) : UINT64_MAX;
            if (exact)
                bench->truth[i][j] = id;
            for (size_t t = 0; t < K; t++)
                right += bench->truth[i][t] == id;
        }
        arena_destroy(&arena);
    }
    seconds = cpu_seconds() - start;
    qsort(wall_ms, count, sizeof(*wall_ms), compare_doubles);
    return (struct measurement){(double)right / ((double)count * K), count / seconds,
                                wall_ms[count / 2]};
}

static void measure(struct bench *bench, const char *efs, const char *name, const char *filter_json)
{
    struct query_view_options options = {.collection = &bench->collection,
                                         .registry = bench->registry};
    struct query_view *view;
    struct error error = {0};
    struct measurement exact;

    options.pool = bench->pool;
    options.timeout_ms = 3600000;
    check(query_view_open(&options, &view, &error), &error);
    exact = ask_all(bench, view, 0, true, filter_json);
    printf("%7u  %-8s  %5s  %6s  %9.0f  %6.3f\n", bench->windows, name, "exact", "1",
           exact.queries_per_second, exact.p50_ms);
    for (const char *at = efs; *at;) {
        char *end;
        uint32_t ef = (uint32_t)strtoul(at, &end, 10);
        struct measurement warm = ask_all(bench, view, ef, false, filter_json);
        struct measurement hot = ask_all(bench, view, ef, false, filter_json);
        char effort[16] = "auto";
        if (ef > 0)
            snprintf(effort, sizeof(effort), "%u", ef);
        printf("%7u  %-8s  %5s  %.4f  %9.0f  %6.3f\n", bench->windows, name, effort, warm.recall,
               fmax(hot.queries_per_second, warm.queries_per_second),
               fmin(hot.p50_ms, warm.p50_ms));
        fflush(stdout);
        at = *end == ',' ? end + 1 : end;
    }
    query_view_close(view);
}

/* Searches beside builds. */

enum { ROUNDS = 5, ROUND_QUERIES = 20000, ROUND_EF = 64 };

struct building {
    struct bench *bench;
    uint32_t threads;
    int nice;
    atomic_bool stop;
    uint32_t swaps;
};

/* Builds one window after another again and swaps it, as reseals would. */
static void *build_always(void *context)
{
    struct building *building = context;
    struct store_shard *shard = building->bench->shards[0];

    (void)setpriority(PRIO_PROCESS, 0, building->nice); /* inherited by the threads of a build */
    for (size_t next = 0; !atomic_load(&building->stop); next++) {
        struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
        size_t count;
        const struct store_source *sources = store_snapshot_sources(snapshot, &count);
        if (sources[next % count].sealed)
            (void)index_source(building->bench, shard, &sources[next % count], building->threads,
                               NULL, &building->stop);
        building->swaps += !atomic_load(&building->stop);
        store_snapshot_release(snapshot);
    }
    return NULL;
}

/* One search after another, each with a view of its own, as requests have: sorted wall seconds. */
static void time_searches(struct bench *bench, double *seconds)
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
        check(query_view_open(&options, &view, &error), &error);
        check(query_search_run(view, &search, &result, &error), &error);
        query_view_close(view);
        arena_destroy(&arena);
        seconds[i] = (double)(io_monotonic_ns(io_posix()) - start_ns) / 1e9;
    }
    qsort(seconds, ROUND_QUERIES, sizeof(*seconds), compare_doubles);
}

/* Rounds without and with builders take turns, so that both see the same machine. */
static void measure_beside_builds(struct bench *bench, uint32_t threads, int nice_value)
{
    double p50[2][ROUNDS], p95[2][ROUNDS], ratios[ROUNDS];
    double *seconds = calloc(ROUND_QUERIES, sizeof(*seconds));
    uint32_t swaps = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (int busy = 0; busy < 2; busy++) {
            struct building building = {.bench = bench, .threads = threads, .nice = nice_value};
            pthread_t thread;
            if (busy && pthread_create(&thread, NULL, build_always, &building) != 0)
                exit(1);
            time_searches(bench, seconds);
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
        printf("%7u  %-8s  %5d  p50 %.3f ms  p95 %.3f ms\n", bench->windows,
               busy ? "building" : "idle", ROUND_EF, p50[busy][ROUNDS / 2] * 1e3,
               p95[busy][ROUNDS / 2] * 1e3);
    }
    qsort(ratios, ROUNDS, sizeof(double), compare_doubles);
    printf("%7u  p95 while building over idle: %.2f (%.2f to %.2f), %u build threads, nice %d, %u "
           "swaps\n",
           bench->windows, ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1], threads, nice_value,
           swaps);
    free(seconds);
}

static void run(struct bench *bench, const char *parent, const char *efs, bool has_filters)
{
    char path[PATH_MAX];
    struct error error = {0};
    struct store_options store = {.data_dir = path,
                                  .memory_max_bytes = (uint64_t)1 << 30,
                                  .memtable_max_bytes = (uint64_t)128 << 20};
    struct index_ivf_codebook *codebook = NULL;

    snprintf(path, sizeof(path), "%s/bench-serve-%ld-%u", parent, (long)getpid(), bench->windows);
    check(store_open(&store, &bench->store, &error), &error);
    bench->registry = store_registry_new(&(struct store_registry_options){.store = bench->store});
    for (uint32_t i = 0; i < bench->shard_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        check(store_registry_claim(bench->registry, &bench->collection, name, &bench->shards[i],
                                   &error),
              &error);
        load(bench, i);
        seal_and_index(bench, bench->shards[i], &codebook);
    }
    printf("# %u windows: builds %.2f s, measuring effort %.2f s of processor time\n",
           bench->windows, bench->build_seconds, bench->effort_seconds);
    for (uint32_t i = 0; bench->spans && i < bench->shard_count; i++)
        index_spans(bench, bench->shards[i], codebook);
    index_codebook_delete(codebook);
    bench->build_seconds = bench->effort_seconds = 0;
    if (bench->build_threads > 0)
        measure_beside_builds(bench, bench->build_threads, bench->build_nice);
    else
        measure(bench, efs, "-", NULL);
    if (has_filters)
        measure(bench, efs, "10%", "{\"must\":[{\"key\":\"n\",\"range\":{\"lt\":1000}}]}");
    if (has_filters)
        measure(bench, efs, "1%", "{\"must\":[{\"key\":\"n\",\"range\":{\"lt\":100}}]}");
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
    "           [--kind hnsw|ivf_pq] [--graphs N] [--windows 1,10] [--shards N] [--ef LIST]\n"
    "           [--shuffle] [--recall R] [--threads N] [--no-filters] [--dir DIR]\n"
    "           [--builders N [--nice M]] [--spans] [--range PART]\n";

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
    int kind = choice(argc, argv, "--kind", (const char *const[3]){"hnsw", "ivf_pq"});
    const char *windows = option(argc, argv, "--windows", "1,10");
    uint32_t threads = (uint32_t)atoi(option(argc, argv, "--threads", "1"));
    struct bench bench = {.shuffle = has_flag(argc, argv, "--shuffle"),
                          .shard_count = (uint32_t)atoi(option(argc, argv, "--shards", "1")),
                          .lists = kind == 1,
                          .spans = has_flag(argc, argv, "--spans"),
                          .range = atof(option(argc, argv, "--range", "1")),
                          .graphs = (uint32_t)atoi(option(argc, argv, "--graphs", "0")),
                          .build_threads = (uint32_t)atoi(option(argc, argv, "--builders", "0")),
                          .build_nice = atoi(option(argc, argv, "--nice", "10"))};
    struct error error = {0};

    if (!base || !queries || bench.shard_count < 1 || bench.shard_count > SHARDS_MAX) {
        fputs(usage, stderr);
        return 64;
    }
    check(bench_vectors_load(base, &bench.base, &error), &error);
    check(bench_vectors_load(queries, &bench.queries, &error), &error);
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
    bench.truth = calloc(QUERIES_MAX, sizeof(*bench.truth));
    bench.pool = threads > 1
                     ? thread_pool_new(&(struct thread_pool_options){
                           .name = "query", .class = THREAD_SEARCH, .threads_max = threads - 1})
                     : NULL;
    printf("# %s, %u x %u, %s, kernels %s, %u threads\nwindows  filter       ef  recall        "
           "q/cpu-s  p50 ms\n",
           base, bench.base.count, bench.base.dim, bench.shuffle ? "shuffled" : "by time",
           index_simd_name(), threads);
    for (const char *at = windows; *at;) {
        char *end;
        bench.windows = (uint32_t)strtoul(at, &end, 10);
        if (bench.windows == 0)
            break;
        run(&bench, option(argc, argv, "--dir", "/tmp"), option(argc, argv, "--ef", "16,32,64,128"),
            bench.build_threads == 0 && !has_flag(argc, argv, "--no-filters"));
        at = *end == ',' ? end + 1 : end;
    }
    thread_pool_delete(bench.pool);
    bench_vectors_destroy(&bench.base);
    bench_vectors_destroy(&bench.queries);
    free(bench.truth);
    return 0;
}
