/* Segments and spans as the service makes them: its own builders, queue, choice of kinds and least
 * sizes, over the shards of the benchmark. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/logger.h"
#include "bench/serve_store.h"
#include "indexer/worker/worker.h"
#include "store/append.h"
#include "store/snapshot.h"

enum { LOOK_NS = 20 * 1000 * 1000, BUILDERS = 2 };

static const char *const metric_names[] = {"cosine", "dot", "l2"};

/* What a user would write. */
static struct config *write_config(const struct bench *bench, const char *folder)
{
    static const char *const kinds[] = {"hnsw", "ivf_pq", "auto"};
    struct buffer report = {0};
    struct config *config;
    char path[PATH_MAX];
    FILE *file;

    snprintf(path, sizeof(path), "%s/serve.yaml", folder);
    file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "windrow-bench-serve: %s cannot be written\n", path);
        exit(1);
    }
    fprintf(
        file,
        "kafka: {brokers: 'none:9092'}\ndata_dir: %s\ncollections: {%s: {topics: [none], ttl: ~, "
        "dim: %u, metric: %s, window: 1h, index: {kind: %s, spans: %s, recall: %g}}}\n",
        folder, bench->collection.name, bench->collection.dim,
        metric_names[bench->collection.metric], kinds[bench->kind],
        bench->service_spans ? "auto" : "off", bench->collection.recall);
    if (fclose(file) != 0 || config_load(path, &config, &report) != 0) {
        fprintf(stderr, "windrow-bench-serve: %s\n", buffer_text(&report));
        exit(1);
    }
    buffer_destroy(&report);
    config->build_nice = 0;
    config->collections[0].ivf_pq_after_ms = 0; /* windows are of 1970 */
    return config;
}

/* Time goes on until the newest window is quiet: all that is over may be covered by spans. */
static void close_windows(const struct bench *bench, int64_t late_allowed_ms)
{
    const struct store_group group = {
        .next_offset = (int64_t)bench->base.count + bench->shard_count,
        .clock = {.watermark_ms = (int64_t)(bench->windows + 1) * WINDOW_MS + late_allowed_ms}};
    struct error error = {0};

    for (uint32_t i = 0; i < bench->shard_count; i++)
        serve_check(store_shard_append(bench->shards[i], &group, &error), &error);
}

static void report_segments(const struct bench *bench)
{
    uint32_t found[2] = {0}, covered[2] = {0}, flat = 0;

    for (uint32_t i = 0; i < bench->shard_count; i++) {
        struct store_snapshot *snapshot = store_snapshot_acquire(bench->shards[i], 0);
        size_t count, span_count;
        const struct store_source *sources = store_snapshot_sources(snapshot, &count);
        const struct store_span *spans = store_snapshot_spans(snapshot, &span_count);
        for (size_t j = 0; j < count; j++) {
            flat += sources[j].sealed && !sources[j].segment;
            if (sources[j].segment)
                found[index_segment_kind(sources[j].segment->object) == SEGMENT_IVF_PQ]++;
        }
        for (size_t j = 0; j < span_count; j++)
            covered[index_segment_kind(spans[j].segment->object) == SEGMENT_IVF_PQ]++;
        store_snapshot_release(snapshot);
    }
    printf("# of windows: %u graphs, %u lists, %u without a segment; spans: %u graphs, %u lists\n",
           found[0], found[1], flat, covered[0], covered[1]);
}

/* Until nothing is left to build. */
static void build_all(struct worker_pool *pool, struct worker_queue *queue)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};

    while (worker_pool_reconcile(pool) || queue->operations->depth(queue) != 0)
        (void)nanosleep(&pause, NULL);
}

void serve_index_as_service(struct bench *bench, const char *folder)
{
    struct config *config = write_config(bench, folder);
    struct metrics *metrics = metrics_new();
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct error error = {0};
    struct worker_pool_options options = {.config = config,
                                          .registry = bench->registry,
                                          .metrics = metrics,
                                          .io = io_posix(),
                                          .thread_count = BUILDERS,
                                          .build = true};
    double start = serve_cpu_seconds();

    logger_set_level(LOGGER_WARNING);
    close_windows(bench, config->collections[0].late_allowed_ms);
    serve_check(worker_queue_local(metrics, &queue, &error), &error);
    options.queue = queue;
    serve_check(worker_pool_start(&options, &pool, &error), &error);
    build_all(pool, queue);
    worker_pool_stop(pool);
    queue->operations->close(queue);
    metrics_delete(metrics);
    config_free(config);
    report_segments(bench);
    printf("# the service's builds, choices and measurements: %.2f s of processor time\n",
           serve_cpu_seconds() - start);
}
