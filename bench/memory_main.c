/* windrow-bench-memory: searches of a store that is larger than the memory it may use.
 *
 *     windrow-bench-memory [--rows N] [--dim D] [--kind hnsw|ivf_pq] [--metric cosine|dot|l2] [--windows N]
 *                          [--share 0.1] [--clients 1,4] [--warm-up N] [--seconds S] [--rounds N]
 *                          [--store DIR] [--truth no]
 *
 * Rows are points of a mixture, made as they are stored: clusters of unequal width in a few directions
 * each. A process without a limit builds the store, with one segment a window. Then processes take turns
 * that open it and search: one with everything in the page cache, one in a memory cgroup that may hold
 * --share of the rows' float32 bytes, page cache and heap together, after what the kernel had cached was
 * dropped. Each looks at every row once, so that all checksums are taken, makes --warm-up searches and is then
 * measured. No query comes twice. A reading is a line:
 *
 *     clients, limit, queries a second of wall time, a second of processor time, median and 99th percentile
 *     of one, major faults and pages read from storage a query
 *
 * The last line of a round says what part of the warm rate is left, and whether the first queries had the
 * same hits, bit for bit. Needs the right to make a cgroup; without it the reason is printed, and only the
 * warm rates are. With --store the store is kept, and taken when it is there. With
 * --truth no the recall is not measured. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/measure.h"
#include "bench/serve_store.h"
#include "store/attach.h"
#include "store/registry.h"
#include "store/store.h"

enum {
    CLUSTERS = 4096,
    DIRECTIONS = 24, /* of a cluster */
    COMPARED = 100,  /* queries whose hits are compared */
    RECALLED = 40,   /* queries whose exact answer is known */
    CLIENTS_MAX = 64,
    SAMPLES_MAX = 1 << 20, /* of one client */
    DIM_MAX = 4096
};

struct reading {
    uint64_t queries;
    double seconds, cpu_seconds, p50_ms, p99_ms, faults, pages;
};

/* Between the processes. */
struct results {
    uint64_t truth[RECALLED][K];
    struct query_hit_id {
        uint64_t id;
        float score;
    } hits[2][COMPARED][K]; /* warm, limited */
    struct reading reading;
};

struct options {
    struct bench bench;
    uint32_t rows;
    double share, seconds;
    bool truth;
    int warm_up; /* queries before those that are measured */
    const char *store;
    float *centres, *directions;
    struct results *results;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9E3779B97F4A7C15));

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* About normal: four 16-bit numbers. */
static float next_normal(uint64_t *state)
{
    uint64_t x = next_random(state);
    float sum =
        (float)(x & 65535) + (float)(x >> 16 & 65535) + (float)(x >> 32 & 65535) + (float)(x >> 48);

    return (sum - 131070.0F) / 37837.0F;
}

static void make_mixture(struct options *options)
{
    size_t dim = options->bench.collection.dim;
    uint64_t state = 19;

    options->centres = malloc(CLUSTERS * dim * sizeof(float));
    options->directions = malloc((DIRECTIONS + CLUSTERS) * dim * sizeof(float));
    for (size_t i = 0; i < CLUSTERS * dim; i++)
        options->centres[i] = next_normal(&state);
    for (size_t i = 0; i < (DIRECTIONS + CLUSTERS) * dim; i++)
        options->directions[i] = next_normal(&state);
}

/* The n-th point: rows first, then queries. A cluster has the directions from its own number on. */
static void make_point(const struct options *options, uint64_t n, float *vector)
{
    uint32_t dim = options->bench.collection.dim;
    uint64_t state = n * 7919 + 5;
    uint64_t cluster = next_random(&state) % CLUSTERS;
    float width = 0.15F + 0.25F * (float)(cluster % 16) / 16;

    memcpy(vector, options->centres + cluster * dim, dim * sizeof(float));
    for (int i = 0; i < DIRECTIONS; i++) {
        const float *direction = options->directions + (cluster + (uint64_t)i) * dim;
        float along = width * next_normal(&state);
        for (uint32_t d = 0; d < dim; d++)
            vector[d] += along * direction[d];
    }
    if (options->bench.collection.metric == VECTOR_METRIC_COSINE)
        (void)index_normalise(vector, dim);
}

/* A store with its segments. */

static int load_segments(void *context, struct store_shard *shard, struct error *error)
{
    const struct options *options = context;
    const struct config_collection *collection = &options->bench.collection;
    struct store_shard_info info;
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count && code == 0; i++) {
        const struct store_file_info *run = &info.windows[i].run;
        struct index_segment *segment;
        char path[PATH_MAX];
        if (run->segment.file_number == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(shard),
                 (unsigned long long)run->segment.file_number);
        code = index_segment_open(io_posix(), path, run->segment.file_number, collection->metric,
                                  collection->dim, (uint32_t)run->rows, &segment, error);
        if (code == 0)
            code = store_shard_load_segment(shard, run->file_number, segment, index_segment_close,
                                            error);
    }
    arena_destroy(&arena);
    return code;
}

static void open_store(struct options *options)
{
    struct store_options store = {.data_dir = options->store,
                                  .memory_max_bytes = (uint64_t)1 << 30,
                                  .memtable_max_bytes = (uint64_t)128 << 20};
    struct bench *bench = &options->bench;
    struct error error = {0};

    serve_check(store_open(&store, &bench->store, &error), &error);
    bench->registry = store_registry_new(&(struct store_registry_options){
        .store = bench->store, .opened = load_segments, .opened_context = options});
    serve_check(
        store_registry_claim(bench->registry, &bench->collection, "0", &bench->shards[0], &error),
        &error);
}

static void close_store(struct options *options)
{
    store_registry_close_all(options->bench.registry, false);
    store_registry_delete(options->bench.registry);
    store_close(options->bench.store);
}

static struct query_view *open_view(struct options *options)
{
    struct query_view_options view_options = {.collection = &options->bench.collection,
                                              .registry = options->bench.registry,
                                              .timeout_ms = 3600000,
                                              .score_now_ms =
                                                  (int64_t)options->bench.windows * WINDOW_MS};
    struct query_view *view;
    struct error error = {0};

    serve_check(query_view_open(&view_options, &view, &error), &error);
    return view;
}

/* `hits` may be NULL: the ids are looked up, as an answer names them, and forgotten. */
static void ask(const struct options *options, struct query_view *view, uint64_t query, bool exact,
                struct query_hit_id hits[K])
{
    struct arena arena;
    struct error error = {0};
    struct query_result result;
    struct query_hit_id some[K];
    float vector[DIM_MAX];
    struct query_search search = {.vector = vector,
                                  .limit = K,
                                  .exact = exact,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .arena = &arena};

    make_point(options, options->rows + query, vector);
    arena_create(&arena, 0);
    serve_check(query_search_run(view, &search, &result, &error), &error);
    hits = hits ? hits : some;
    for (size_t i = 0; i < K; i++)
        hits[i] = i < result.hit_count ? (struct query_hit_id){serve_hit_id(&result.hits[i].row),
                                                               result.hits[i].score}
                                       : (struct query_hit_id){UINT64_MAX, 0};
    arena_destroy(&arena);
}

static void build(struct options *options)
{
    struct bench *bench = &options->bench;
    struct index_ivf_codebook *codebook = NULL;
    double start = bench_now();

    bench->base = (struct bench_vectors){.count = options->rows, .dim = bench->collection.dim};
    bench->base.values = malloc((size_t)options->rows * bench->base.dim * sizeof(float));
    for (uint32_t row = 0; row < options->rows; row++)
        make_point(options, row, bench->base.values + (size_t)row * bench->base.dim);
    bench->ranks = calloc(options->rows, sizeof(*bench->ranks));
    open_store(options);
    serve_load(bench, 0);
    serve_seal_and_index(bench, bench->shards[0], &codebook);
    index_codebook_delete(codebook);
    printf("# built in %.0f s, segments %.1f s, their effort %.1f s of processor time\n",
           bench_now() - start, bench->build_seconds, bench->effort_seconds);
    close_store(options);
}

static void find_truth(struct options *options)
{
    struct query_view *view;

    open_store(options);
    view = open_view(options);
    for (uint32_t i = 0; i < RECALLED; i++) {
        struct query_hit_id hits[K];
        ask(options, view, i, true, hits);
        for (int j = 0; j < K; j++)
            options->results->truth[i][j] = hits[j].id;
    }
    query_view_close(view);
    close_store(options);
}

/* Measuring. */

struct client {
    struct options *options;
    pthread_t thread;
    uint64_t first; /* query; each client has its own */
    double until;
    uint32_t count;
    double *seconds; /* of each query */
};

static void *search_until(void *context)
{
    struct client *client = context;
    double before = bench_now();

    while (before < client->until && client->count < SAMPLES_MAX) {
        struct query_view *view = open_view(client->options);
        double after;
        ask(client->options, view, client->first + client->count, false, NULL);
        query_view_close(view);
        after = bench_now();
        client->seconds[client->count++] = after - before;
        before = after;
    }
    return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint64_t pages_read(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    unsigned long long bytes = 0;
    char line[128];

    while (file && fgets(line, sizeof(line), file))
        (void)sscanf(line, "read_bytes: %llu", &bytes);
    if (file)
        (void)fclose(file);
    return bytes / 4096;
}

static uint64_t major_faults(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_majflt;
}

static struct reading search_for(struct options *options, uint32_t client_count, double seconds,
                                 uint64_t first)
{
    struct client clients[CLIENTS_MAX];
    double *all = malloc((size_t)client_count * SAMPLES_MAX * sizeof(*all));
    double start = bench_now(), cpu = bench_cpu();
    uint64_t pages = pages_read(), faults = major_faults();
    struct reading reading = {0};

    for (uint32_t i = 0; i < client_count; i++) {
        clients[i] = (struct client){.options = options,
                                     .first = first + (uint64_t)i * SAMPLES_MAX,
                                     .until = start + seconds,
                                     .seconds = malloc(SAMPLES_MAX * sizeof(double))};
        if (pthread_create(&clients[i].thread, NULL, search_until, &clients[i]) != 0)
            exit(1);
    }
    for (uint32_t i = 0; i < client_count; i++) {
        (void)pthread_join(clients[i].thread, NULL);
        memcpy(all + reading.queries, clients[i].seconds, clients[i].count * sizeof(*all));
        reading.queries += clients[i].count;
        free(clients[i].seconds);
    }
    reading.seconds = bench_now() - start;
    reading.cpu_seconds = bench_cpu() - cpu;
    reading.faults = (double)(major_faults() - faults) / (double)reading.queries;
    reading.pages = (double)(pages_read() - pages) / (double)reading.queries;
    qsort(all, reading.queries, sizeof(*all), compare_doubles);
    reading.p50_ms = all[reading.queries / 2] * 1e3;
    reading.p99_ms = all[reading.queries * 99 / 100] * 1e3;
    free(all);
    return reading;
}

static void measure(struct options *options, uint32_t client_count, int limited)
{
    struct query_view *view;
    static uint64_t first;

    open_store(options);
    view = open_view(options);
    ask(options, view, 0, true, NULL);
    for (uint32_t i = 0; i < COMPARED; i++)
        ask(options, view, i, false, options->results->hits[limited][i]);
    first = COMPARED + (uint64_t)getpid() * SAMPLES_MAX * CLIENTS_MAX * 2;
    for (int i = 0; i < options->warm_up; i++)
        ask(options, view, first + (uint64_t)i, false, NULL);
    query_view_close(view);
    options->results->reading =
        search_for(options, client_count, options->seconds, first + SAMPLES_MAX * CLIENTS_MAX);
    close_store(options);
}

/* Processes. */

static bool write_text(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    FILE *file;
    bool written;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    if (!file)
        return false;
    written = fputs(text, file) >= 0;
    return fclose(file) == 0 && written;
}

/* Of version 1 or 2. False, with errno: it cannot be made. */
static bool make_cgroup(char *folder, size_t folder_bytes, uint64_t limit_bytes)
{
    static const char *const roots[2] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};
    static const char *const limits[2] = {"memory.limit_in_bytes", "memory.max"};
    char text[32];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)limit_bytes);
    for (int i = 0; i < 2; i++) {
        snprintf(folder, folder_bytes, "%s/windrow-bench-%ld", roots[i], (long)getpid());
        if (mkdir(folder, 0755) != 0)
            continue;
        if (write_text(folder, limits[i], text))
            return true;
        (void)rmdir(folder);
    }
    return false;
}

static bool join_cgroup(const char *folder)
{
    return write_text(folder, "cgroup.procs", "0");
}

/* Pages that the kernel has of the store's files belong to whoever read them first: they would be
 * outside of the limit. */
static void drop_cached(const char *folder)
{
    DIR *names = opendir(folder);
    struct dirent *entry;

    while (names && (entry = readdir(names))) {
        char path[PATH_MAX];
        struct stat info;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
            drop_cached(path);
        } else {
            int file = open(path, O_RDONLY | O_CLOEXEC);
            (void)fdatasync(file);
            (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
            (void)close(file);
        }
    }
    if (names)
        (void)closedir(names);
}

/* Runs it in a process of its own, which leaves nothing in this one's memory. */
static void run_apart(void (*function)(struct options *, uint32_t, int), struct options *options,
                      uint32_t client_count, int limited, const char *cgroup)
{
    pid_t process = fork();
    int status = -1;

    if (process == 0) {
        if (cgroup && !join_cgroup(cgroup))
            exit(1);
        function(options, client_count, limited);
        fflush(stdout);
        _exit(0);
    }
    if (process < 0 || waitpid(process, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "windrow-bench-memory: a measuring process ended with status %d\n", status);
        exit(1);
    }
}

static void build_apart(struct options *options, uint32_t client_count, int limited)
{
    (void)client_count;
    (void)limited;
    build(options);
}

static void find_truth_apart(struct options *options, uint32_t client_count, int limited)
{
    (void)client_count;
    (void)limited;
    find_truth(options);
}

static double recall_of(const struct results *results)
{
    uint32_t right = 0;

    for (int i = 0; i < RECALLED; i++)
        for (int j = 0; j < K; j++)
            for (int t = 0; t < K; t++)
                right += results->truth[i][t] == results->hits[0][i][j].id;
    return (double)right / (RECALLED * K);
}

static struct reading print_reading(const struct results *results, uint32_t clients,
                                    const char *limit)
{
    struct reading reading = results->reading;

    printf("%7u  %-8s  %8.0f  %8.0f  %7.3f  %7.3f  %7.1f  %7.1f\n", clients, limit,
           (double)reading.queries / reading.seconds, (double)reading.queries / reading.cpu_seconds,
           reading.p50_ms, reading.p99_ms, reading.faults, reading.pages);
    fflush(stdout);
    return reading;
}

static void measure_round(struct options *options, uint32_t clients, const char *cgroup)
{
    struct results *results = options->results;
    struct reading warm, limited;

    run_apart(measure, options, clients, 0, NULL);
    warm = print_reading(results, clients, "none");
    if (!cgroup)
        return;
    drop_cached(options->store);
    run_apart(measure, options, clients, 1, cgroup);
    limited = print_reading(results, clients, "limited");
    printf("%7u  of the warm rate: %.3f by wall time, %.3f by processor time; hits %s", clients,
           (double)limited.queries / limited.seconds / ((double)warm.queries / warm.seconds),
           (double)limited.queries / limited.cpu_seconds /
               ((double)warm.queries / warm.cpu_seconds),
           memcmp(results->hits[0], results->hits[1], sizeof(results->hits[0])) == 0 ? "equal"
                                                                                     : "DIFFER");
    if (options->truth)
        printf(", recall %.4f", recall_of(results));
    printf("\n");
    fflush(stdout);
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return otherwise;
}

static void run(struct options *options, const char *clients, int rounds)
{
    uint64_t bytes = (uint64_t)options->rows * options->bench.collection.dim * sizeof(float);
    char cgroup[PATH_MAX];
    bool limits = make_cgroup(cgroup, sizeof(cgroup), (uint64_t)(options->share * (double)bytes));
    struct stat info;

    if (!limits)
        printf("# no limited rates: a memory cgroup cannot be made: %s\n", strerror(errno));
    if (stat(options->store, &info) != 0)
        run_apart(build_apart, options, 0, 0, NULL);
    if (options->truth)
        run_apart(find_truth_apart, options, 0, 0, NULL);
    printf("# %u x %u, %.0f MB of float32, at most %.0f MB of memory\nclients  limit       "
           "q/wall-s   q/cpu-s  "
           " p50 ms   p99 ms   faults    pages\n",
           options->rows, options->bench.collection.dim, (double)bytes / 1e6,
           options->share * (double)bytes / 1e6);
    for (int round = 0; round < rounds; round++)
        for (const char *at = clients; *at;) {
            char *end;
            unsigned long count = strtoul(at, &end, 10);
            if (count == 0 || count > CLIENTS_MAX)
                break;
            measure_round(options, (uint32_t)count, limits ? cgroup : NULL);
            at = *end == ',' ? end + 1 : end;
        }
    if (limits)
        (void)rmdir(cgroup);
}

int main(int argc, char **argv)
{
    const char *kind = option(argc, argv, "--kind", "ivf_pq");
    const char *metric = option(argc, argv, "--metric", "l2");
    const char *store = option(argc, argv, "--store", NULL);
    struct options options = {.rows = (uint32_t)atoi(option(argc, argv, "--rows", "2000000")),
                              .share = atof(option(argc, argv, "--share", "0.1")),
                              .seconds = atof(option(argc, argv, "--seconds", "10")),
                              .warm_up = atoi(option(argc, argv, "--warm-up", "1000"))};
    char path[PATH_MAX];

    options.bench.windows = (uint32_t)atoi(option(argc, argv, "--windows", "1"));
    options.bench.shard_count = 1;
    options.truth = strcmp(option(argc, argv, "--truth", "yes"), "no") != 0;
    options.bench.lists = strcmp(kind, "hnsw") != 0;
    options.bench.collection =
        (struct config_collection){.name = "bench",
                                   .dim = (uint32_t)atoi(option(argc, argv, "--dim", "128")),
                                   .window_ms = WINDOW_MS,
                                   .recall = 0.95,
                                   .metric = strcmp(metric, "cosine") == 0 ? VECTOR_METRIC_COSINE
                                             : strcmp(metric, "dot") == 0  ? VECTOR_METRIC_DOT
                                                                           : VECTOR_METRIC_L2};
    if (options.rows == 0 || options.bench.windows == 0 || options.bench.collection.dim == 0 ||
        options.bench.collection.dim > DIM_MAX) {
        fputs("usage: windrow-bench-memory [--rows N] [--dim D] [--kind hnsw|ivf_pq]\n"
              "           [--metric cosine|dot|l2] [--windows N] [--share 0.1] [--clients 1,4]\n"
              "           [--warm-up N] [--seconds S] [--rounds N] [--store DIR] [--truth no]\n",
              stderr);
        return 64;
    }
    snprintf(path, sizeof(path), "/tmp/bench-memory-%ld", (long)getpid());
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    options.store = store ? store : path;
    options.results = mmap(NULL, sizeof(*options.results), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (options.results == MAP_FAILED)
        return 1;
    make_mixture(&options);
    run(&options, option(argc, argv, "--clients", "1,4"),
        atoi(option(argc, argv, "--rounds", "3")));
    if (!store)
        bench_folder_remove(path);
    return 0;
}
