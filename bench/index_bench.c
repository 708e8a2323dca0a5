/* windrow-bench-index, which `windrow bench index` runs: builds a segment from any vector file,
 * measures build time, size and recall against queries per second, and runs every installed peer on
 * the same files. */
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/memory.h"
#include "bench/index_vectors.h"
#include "indexer/index/index.h"

enum { HITS = 10, ROUNDS = 3, FILE_NUMBER = 1, CURVES_MAX = 8, NUMBER_MAX = 4096 };

static const char usage[] =
    "usage: windrow bench index --base F --queries F [options]\n"
    "\n"
    "Builds an index over the vectors of a .u8bin, .hbin or .fbin file, searches it with those of\n"
    "another, and prints build time, size, and recall@10 against queries per second, for windrow\n"
    "and for every peer that is installed (SymphonyQG, VSAG, hnswlib, faiss, usearch;\n"
    "--python says where).\n"
    "\n"
    "  --gt F            exact neighbours (.ibin); computed when missing\n"
    "  --metric M        l2, dot or cosine; default l2\n"
    "  --kind K          hnsw, ivf_pq or both; default hnsw\n"
    "  --threads N       for building; default 1\n"
    "  --search-threads LIST  one curve for each number, with commas; default: as for building\n"
    "  --batch N         queries a call, for lists and for faiss's batched ones; default: one for\n"
    "                    windrow, all for faiss\n"
    "  --m N, --ef-construct N\n"
    "  --peers NAMES     those only, with commas: hnswlib, usearch, faiss IVF-PQ, ...; or all\n"
    "  --python FILE     Python that has the peers; default "
    "~/.cache/windrow/bench-venv/bin/python\n"
    "  --no-peers        windrow alone\n"
    "  --json            one JSON object a line, for bench/index_chart.py\n"
    "\n"
    "queries/s are by processor time, times the threads: what so many processors of one's own "
    "would\n"
    "answer; beside them by the clock, which counts what others do on this machine.\n"
    "\n"
    "  windrow bench index --base sift.u8bin --queries sift-query.u8bin --gt sift-gt100.ibin\n";

struct bench {
    const char *base_path, *query_path, *gt_path, *metric_name, *python;
    const char *peer_names; /* NULL: those that index_peers.py takes by itself */
    char data[64];          /* what rows call the data: "sift200k-128" */
    enum vector_metric metric;
    uint32_t threads, m, ef_construct;
    uint32_t batch;                  /* queries that are searched together; 1: each alone */
    const char *search_threads_text; /* as given; NULL: as for building */
    uint32_t search_threads[CURVES_MAX], curves;
    bool peers, json;
    bool graph, lists; /* the kinds asked for */
    struct bench_vectors base, queries;
    uint32_t *neighbours; /* queries x columns */
    uint32_t columns;
};

static double now_s(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void exact_neighbours(struct bench *bench)
{
    bench->columns = HITS;
    bench->neighbours = memory_new((size_t)bench->queries.count * HITS, sizeof(uint32_t));
    for (uint32_t q = 0; q < bench->queries.count; q++) {
        struct index_hit hits[HITS];
        uint32_t count;
        index_exact_top(bench->metric, bench->base.values, bench->base.count, bench->base.dim,
                        bench->queries.values + (size_t)q * bench->queries.dim, HITS, hits, &count);
        for (uint32_t i = 0; i < count; i++)
            bench->neighbours[(size_t)q * HITS + i] = hits[i].row;
    }
}

static int load(struct bench *bench, struct error *error)
{
    int status = bench_vectors_load(bench->base_path, &bench->base, error);

    if (status == 0)
        status = bench_vectors_load(bench->query_path, &bench->queries, error);
    if (status == 0 && bench->queries.dim != bench->base.dim)
        status = error_set(error, ERROR_INVALID, "queries have %u dimensions, the base %u",
                           bench->queries.dim, bench->base.dim);
    if (status != 0)
        return status;
    if (bench->metric == VECTOR_METRIC_COSINE) {
        for (uint32_t i = 0; i < bench->base.count; i++)
            index_normalise(bench->base.values + (size_t)i * bench->base.dim, bench->base.dim);
        for (uint32_t i = 0; i < bench->queries.count; i++)
            index_normalise(bench->queries.values + (size_t)i * bench->base.dim, bench->base.dim);
    }
    if (bench->gt_path)
        return bench_neighbours_load(bench->gt_path, bench->queries.count, &bench->neighbours,
                                     &bench->columns, error);
    exact_neighbours(bench);
    return 0;
}

static struct vector_row vector_of(void *context, uint32_t row, struct error *error)
{
    const struct bench_vectors *base = context;

    (void)error;
    return vector_row_float32(base->values + (size_t)row * base->dim);
}

static uint32_t matches(const struct bench *bench, uint32_t query, const struct index_hit *hits,
                        uint32_t count)
{
    const uint32_t *truth = bench->neighbours + (size_t)query * bench->columns;
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < HITS && j < bench->columns; j++)
            found += hits[i].row == truth[j];
    return found;
}

/* Searching. */

struct measuring {
    const struct bench *bench;
    const struct index_segment *segment;
    uint32_t ef, threads;
    struct index_hit *hits;   /* queries x HITS */
    uint32_t *hit_counts;     /* a query */
    pthread_barrier_t begins; /* a round begins */
    pthread_barrier_t ends;
};

struct searcher {
    struct measuring *measuring;
    uint32_t first; /* asks its share: first, first + threads, ..., in batches where they are */
    int status;
    struct error error;
    pthread_t thread;
};

static struct index_search search_for(const struct measuring *measuring, uint32_t query)
{
    const struct bench *bench = measuring->bench;

    return (struct index_search){
        .query = bench->queries.values + (size_t)query * bench->queries.dim,
        .k = HITS,
        .ef = measuring->ef,
        .floor_score = -__builtin_inff(),
        .vector = vector_of,
        .vector_context = (void *)(uintptr_t)&bench->base,
    };
}

static int search_one(const struct measuring *measuring, uint32_t query, struct error *error)
{
    struct index_search search = search_for(measuring, query);
    bool exhausted;

    return index_segment_search(measuring->segment, &search, measuring->hits + (size_t)query * HITS,
                                &measuring->hit_counts[query], &exhausted, error);
}

/* The next `count` queries in one call. */
static int search_batch(const struct measuring *measuring, uint32_t first, uint32_t count,
                        struct error *error)
{
    const struct bench *bench = measuring->bench;
    struct index_group_member member = {.segment = measuring->segment,
                                        .vector = vector_of,
                                        .vector_context = (void *)(uintptr_t)&bench->base};
    struct index_search searches[INDEX_QUERIES_MAX];
    struct index_group_query queries[INDEX_QUERIES_MAX];

    for (uint32_t i = 0; i < count; i++) {
        searches[i] = search_for(measuring, first + i);
        queries[i] =
            (struct index_group_query){.members = &member,
                                       .search = &searches[i],
                                       .hits = measuring->hits + (size_t)(first + i) * HITS};
    }
    index_group_searches(queries, count, 1);
    for (uint32_t i = 0; i < count; i++) {
        measuring->hit_counts[first + i] = queries[i].hit_count;
        if (queries[i].status != 0)
            return error_set(error, queries[i].status, "%s", queries[i].error.text);
    }
    return 0;
}

static int search_round(const struct searcher *searcher, struct error *error)
{
    const struct measuring *measuring = searcher->measuring;
    uint32_t total = measuring->bench->queries.count, batch = measuring->bench->batch;
    int status = 0;

    for (uint32_t q = searcher->first * batch; q < total && status == 0;
         q += measuring->threads * batch)
        status = batch == 1
                     ? search_one(measuring, q, error)
                     : search_batch(measuring, q, total - q < batch ? total - q : batch, error);
    return status;
}

/* Lives for all rounds: what a search keeps for its thread is warm after the first. */
static void *search_rounds(void *context)
{
    struct searcher *searcher = context;
    struct measuring *measuring = searcher->measuring;

    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&measuring->begins);
        if (searcher->status == 0)
            searcher->status = search_round(searcher, &searcher->error);
        pthread_barrier_wait(&measuring->ends);
    }
    return NULL;
}

struct rate {
    double recall;
    double per_second;      /* by processor time, times the threads */
    double wall_per_second; /* by the clock */
};

/* The best of a few rounds: others use the machine too. */
static void time_rounds(struct measuring *measuring, struct rate *rate)
{
    const struct bench *bench = measuring->bench;
    double queries = bench->queries.count;

    for (int round = 0; round < ROUNDS; round++) {
        double wall = now_s(CLOCK_MONOTONIC), took = now_s(CLOCK_PROCESS_CPUTIME_ID);
        pthread_barrier_wait(&measuring->begins);
        pthread_barrier_wait(&measuring->ends);
        took = now_s(CLOCK_PROCESS_CPUTIME_ID) - took;
        wall = now_s(CLOCK_MONOTONIC) - wall;
        if (queries * measuring->threads / took > rate->per_second)
            rate->per_second = queries * measuring->threads / took;
        if (queries / wall > rate->wall_per_second)
            rate->wall_per_second = queries / wall;
    }
}

static int measure(const struct bench *bench, const struct index_segment *segment, uint32_t ef,
                   uint32_t threads, struct rate *rate, struct error *error)
{
    struct measuring measuring = {.bench = bench, .segment = segment, .ef = ef, .threads = threads};
    struct searcher *searchers = calloc(threads, sizeof(*searchers));
    uint64_t found = 0;
    int status = 0;

    *rate = (struct rate){0};
    measuring.hits = calloc((size_t)bench->queries.count * HITS, sizeof(*measuring.hits));
    measuring.hit_counts = calloc(bench->queries.count, sizeof(*measuring.hit_counts));
    if (!searchers || !measuring.hits || !measuring.hit_counts ||
        pthread_barrier_init(&measuring.begins, NULL, threads + 1) != 0 ||
        pthread_barrier_init(&measuring.ends, NULL, threads + 1) != 0)
        abort();
    for (uint32_t i = 0; i < threads; i++) {
        searchers[i].measuring = &measuring;
        searchers[i].first = i;
        if (pthread_create(&searchers[i].thread, NULL, search_rounds, &searchers[i]) != 0)
            abort();
    }
    time_rounds(&measuring, rate);
    for (uint32_t i = 0; i < threads; i++) {
        (void)pthread_join(searchers[i].thread, NULL);
        if (searchers[i].status != 0 && status == 0)
            status = error_set(error, searchers[i].status, "%s", searchers[i].error.text);
    }
    for (uint32_t q = 0; q < bench->queries.count; q++)
        found += matches(bench, q, measuring.hits + (size_t)q * HITS, measuring.hit_counts[q]);
    rate->recall = (double)found / ((double)bench->queries.count * HITS);
    (void)pthread_barrier_destroy(&measuring.begins);
    (void)pthread_barrier_destroy(&measuring.ends);
    free(measuring.hits);
    free(measuring.hit_counts);
    free(searchers);
    return status;
}

/* One kind. */

static const char *name_of(bool lists)
{
    return lists ? "windrow IVF-PQ" : "windrow HNSW";
}

static int curve(const struct bench *bench, const struct index_segment *segment, bool lists,
                 uint32_t threads, struct error *error)
{
    static const uint32_t efs[] = {10,  16,  24,  32,  40,  48,  64,  80,  96,  128,
                                   160, 200, 256, 320, 400, 512, 640, 800, 1000};

    for (size_t i = 0; i < sizeof(efs) / sizeof(efs[0]); i++) {
        struct rate rate;
        int status = measure(bench, segment, efs[i], threads, &rate, error);
        if (status != 0)
            return status;
        printf(bench->json
                   ? "{\"data\":\"%s\",\"library\":\"%s\",\"threads\":%u,\"ef\":%u,"
                     "\"recall\":%.4f,\"qps\":%.0f,\"qps_wall\":%.0f}\n"
                   : "  %s: %s, %u threads, ef %5u   recall@10 %.4f   %8.0f queries/s, %8.0f by "
                     "the clock\n",
               bench->data, name_of(lists), threads, efs[i], rate.recall, rate.per_second,
               rate.wall_per_second);
        fflush(stdout);
        if (rate.recall > 0.9985)
            break;
    }
    return 0;
}

static int build_segment(const struct bench *bench, struct io *io, const char *path, bool lists,
                         struct error *error)
{
    const struct index_build_options options = {
        .metric = bench->metric,
        .dim = bench->base.dim,
        .m = bench->m,
        .ef_construct = bench->ef_construct,
        .thread_count = bench->threads,
        .seed = 1,
    };
    struct index_hnsw_graph *graph = NULL;
    struct index_ivf *ivf = NULL;
    uint64_t size_bytes = 0;
    double started = now_s(CLOCK_MONOTONIC), started_cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    double built, built_cpu;
    int status =
        lists ? index_ivf_build(bench->base.values, bench->base.count, &options, &ivf, error)
              : index_hnsw_build(bench->base.values, bench->base.count, &options, &graph, error);

    if (status != 0)
        return status;
    built = now_s(CLOCK_MONOTONIC) - started;
    built_cpu = now_s(CLOCK_PROCESS_CPUTIME_ID) - started_cpu;
    status = ivf ? index_ivf_write(io, path, FILE_NUMBER, ivf, &size_bytes, error)
                 : index_segment_write(io, path, FILE_NUMBER, graph, &size_bytes, error);
    printf(bench->json ? "{\"data\":\"%s\",\"library\":\"%s\",\"threads\":%u,\"simd\":\"%s\","
                         "\"m\":%u,\"ef_construct\":%u,\"build_s\":%.2f,\"build_cpu_s\":%.2f,"
                         "\"bytes\":%llu}\n"
                       : "%s: %s, %u threads (%s), m %u, ef_construct %u: built in %.2f s (%.2f s "
                         "of processor time), %llu bytes\n",
           bench->data, name_of(lists), bench->threads, index_simd_name(), bench->m,
           bench->ef_construct, built, built_cpu, (unsigned long long)size_bytes);
    index_hnsw_graph_delete(graph);
    index_ivf_delete(ivf);
    return status;
}

static int run_kind(const struct bench *bench, bool lists, struct error *error)
{
    struct io *io = io_posix();
    struct index_segment *segment = NULL;
    char path[64];
    int status;

    snprintf(path, sizeof(path), "/tmp/windrow-bench-index-%ld", (long)getpid());
    status = build_segment(bench, io, path, lists, error);
    if (status == 0)
        status = index_segment_open(io, path, FILE_NUMBER, bench->metric, bench->base.dim,
                                    bench->base.count, &segment, error);
    (void)unlink(path); /* the mapping keeps the content */
    if (status == 0)
        status = index_segment_validate(segment, error);
    for (uint32_t i = 0; i < bench->curves && status == 0; i++)
        status = curve(bench, segment, lists, bench->search_threads[i], error);
    index_segment_close(segment);
    return status;
}

static int run_windrow(const struct bench *bench, struct error *error)
{
    int status = bench->graph ? run_kind(bench, false, error) : 0;

    return status == 0 && bench->lists ? run_kind(bench, true, error) : status;
}

/* "/data/sift200k-128-base.u8bin": "sift200k-128". */
static void name_data(struct bench *bench)
{
    const char *slash = strrchr(bench->base_path, '/');
    const char *name = slash ? slash + 1 : bench->base_path;
    size_t length = strcspn(name, ".\"\\");

    if (length > 5 && memcmp(name + length - 5, "-base", 5) == 0)
        length -= 5;
    if (length >= sizeof(bench->data))
        length = sizeof(bench->data) - 1;
    memcpy(bench->data, name, length);
}

/* The peers are Python packages: a process of its own, on the same files and neighbours. */
static int run_peers(const struct bench *bench)
{
    char threads[16], m[16], ef_construct[16], batch[16];
    const char *arguments[32] = {bench->python,
                                 BENCH_FOLDER "/index_peers.py",
                                 "--base",
                                 bench->base_path,
                                 "--queries",
                                 bench->query_path,
                                 "--metric",
                                 bench->metric_name,
                                 "--threads",
                                 threads,
                                 "--m",
                                 m,
                                 "--ef-construct",
                                 ef_construct,
                                 "--data",
                                 bench->data};
    int used = 16, state;
    pid_t child;

    snprintf(threads, sizeof(threads), "%u", bench->threads);
    snprintf(m, sizeof(m), "%u", bench->m);
    snprintf(ef_construct, sizeof(ef_construct), "%u", bench->ef_construct);
    if (bench->batch > 1) {
        snprintf(batch, sizeof(batch), "%u", bench->batch);
        arguments[used++] = "--batch";
        arguments[used++] = batch;
    }
    if (bench->gt_path) {
        arguments[used++] = "--gt";
        arguments[used++] = bench->gt_path;
    }
    if (bench->search_threads_text) {
        arguments[used++] = "--search-threads";
        arguments[used++] = bench->search_threads_text;
    }
    if (bench->peer_names) {
        arguments[used++] = "--peers";
        arguments[used++] = bench->peer_names;
    }
    if (bench->json)
        arguments[used++] = "--json";
    if (access(arguments[1], R_OK) != 0) {
        fprintf(stderr, "no peers: %s is not there\n", arguments[1]);
        return 0;
    }
    fflush(stdout);
    child = fork();
    if (child == 0) {
        execv(bench->python, (char *const *)(uintptr_t)arguments);
        fprintf(stderr,
                "no peers: %s cannot be run; make it with\n  python3 -m venv "
                "~/.cache/windrow/bench-venv && ~/.cache/windrow/bench-venv/bin/pip install "
                "hnswlib faiss-cpu usearch\n",
                bench->python);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &state, 0) != child)
        return 1;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 1;
}

static bool parse_number(const char *text, uint32_t *number)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    *number = (uint32_t)value;
    return *text && !*end && value >= 1 && value <= NUMBER_MAX;
}

static int parse_search_threads(struct bench *bench, const char *text)
{
    bench->search_threads_text = text;
    bench->curves = 0;
    for (const char *at = text; *at;) {
        char *end;
        unsigned long value = strtoul(at, &end, 10);
        if (end == at || value < 1 || value > NUMBER_MAX || bench->curves == CURVES_MAX ||
            (*end && (*end != ',' || !end[1])))
            return -1;
        bench->search_threads[bench->curves++] = (uint32_t)value;
        at = *end ? end + 1 : end;
    }
    return bench->curves > 0 ? 0 : -1;
}

static int parse_option(struct bench *bench, int option)
{
    switch (option) {
    case 'b':
        bench->base_path = optarg;
        return 0;
    case 'q':
        bench->query_path = optarg;
        return 0;
    case 'g':
        bench->gt_path = optarg;
        return 0;
    case 'm':
        bench->metric_name = optarg;
        if (!vector_metric_parse(optarg, &bench->metric))
            return -1;
        bench->metric = vector_metric_ranking(bench->metric);
        return 0;
    case 'k':
        bench->lists = strcmp(optarg, "hnsw") != 0;
        bench->graph = strcmp(optarg, "ivf_pq") != 0;
        return (bench->lists && bench->graph && strcmp(optarg, "both") != 0) ? -1 : 0;
    case 't':
        return parse_number(optarg, &bench->threads) ? 0 : -1;
    case 'M':
        return parse_number(optarg, &bench->m) ? 0 : -1;
    case 'e':
        return parse_number(optarg, &bench->ef_construct) ? 0 : -1;
    case 'p':
        bench->python = optarg;
        return 0;
    case 's':
        return parse_search_threads(bench, optarg);
    case 'P':
        bench->peer_names = optarg;
        return 0;
    case 'B':
        return parse_number(optarg, &bench->batch) && bench->batch <= INDEX_QUERIES_MAX ? 0 : -1;
    case 'n':
        bench->peers = false;
        return 0;
    case 'j':
        bench->json = true;
        return 0;
    default:
        return -1;
    }
}

static int parse(struct bench *bench, int argc, char **argv)
{
    static const struct option options[] = {
        {"base", required_argument, NULL, 'b'},
        {"queries", required_argument, NULL, 'q'},
        {"gt", required_argument, NULL, 'g'},
        {"metric", required_argument, NULL, 'm'},
        {"kind", required_argument, NULL, 'k'},
        {"threads", required_argument, NULL, 't'},
        {"m", required_argument, NULL, 'M'},
        {"ef-construct", required_argument, NULL, 'e'},
        {"python", required_argument, NULL, 'p'},
        {"batch", required_argument, NULL, 'B'},
        {"no-peers", no_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},
        {"peers", required_argument, NULL, 'P'},
        {"search-threads", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (parse_option(bench, option) != 0)
            return -1;
    if (bench->curves == 0)
        bench->search_threads[bench->curves++] = bench->threads;
    return optind == argc && bench->base_path && bench->query_path ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct bench bench = {.metric_name = "l2",
                          .metric = VECTOR_METRIC_L2,
                          .threads = 1,
                          .batch = 1,
                          .m = 16,
                          .ef_construct = 200,
                          .graph = true,
                          .peers = true};
    struct error error = {0};
    char python[512];
    int status;

    snprintf(python, sizeof(python), "%s/.cache/windrow/bench-venv/bin/python",
             getenv("HOME") ? getenv("HOME") : "");
    bench.python = python;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (parse(&bench, argc, argv) != 0) {
        fputs(usage, stderr);
        return 64;
    }
    name_data(&bench);
    status = load(&bench, &error);
    if (status == 0)
        status = run_windrow(&bench, &error);
    if (status != 0)
        fprintf(stderr, "bench index: %s\n", error.text);
    else if (bench.peers)
        status = run_peers(&bench);
    bench_vectors_destroy(&bench.base);
    bench_vectors_destroy(&bench.queries);
    free(bench.neighbours);
    return status == 0 ? 0 : 1;
}
