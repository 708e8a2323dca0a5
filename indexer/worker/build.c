/* One segment: run -> graph -> file -> recall -> rename -> attach.
 *
 *     snapshot of the shard        keeps the run's files while they are read
 *     index_hnsw_build, _ivf_build over the mapped vectors, cancellable
 *     DIR/n.segment.tmp            written and synced, opened, measured
 *     DIR/n.segment                renamed, folder synced
 *     store_shard_attach           one manifest edit: the swap
 *
 * Whatever fails before the attach leaves at most a temporary file, which is removed here, or,
 * after a crash, by the store when the shard is opened: no manifest names it. A segment below the
 * recall floor is built once more with stronger parameters and then not attached. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "indexer/worker/build.h"
#include "indexer/worker/codebook.h"
#include "indexer/worker/memory.h"
#include "indexer/worker/recall.h"

enum { BUILDS_MAX = 2 };

static struct io *io_of(const struct build *build)
{
    return build->task->pool->options.io;
}

enum index_metric worker_index_metric(const struct config_collection *collection)
{
    switch (collection->metric) {
    case CONFIG_METRIC_DOT:
        return INDEX_METRIC_DOT;
    case CONFIG_METRIC_L2:
        return INDEX_METRIC_L2;
    default:
        return INDEX_METRIC_COSINE;
    }
}

/* Idle workers' share goes to the builds that run. */
static uint32_t builder_threads(const struct worker_pool *pool)
{
    uint32_t building = atomic_load(&pool->building);
    uint32_t share = pool->thread_count / (building ? building : 1);

    return share ? share : 1;
}

/* Sets the options of the first build, or of a stronger one, and takes what it needs. */
static int take_memory(struct build *build, uint32_t m, uint32_t ef_construct, struct error *error)
{
    const struct config_collection *collection = build->task->collection;

    build->options = (struct index_build_options){
        .metric = worker_index_metric(collection),
        .dim = collection->dim,
        .m = m,
        .ef_construct = ef_construct,
        .lists = collection->ivf_pq_lists,
        .probes = collection->ivf_pq_nprobe,
        .codebook = build->codebook,
        .thread_count = builder_threads(build->task->pool),
        .seed = build->seed,
        .cancel = &build->task->cancel,
    };
    worker_memory_give(build->task->pool, &build->memory_bytes);
    return worker_memory_take(build->task, &build->options, build->lists, build->row_count,
                              build->copies, &build->memory_bytes, error);
}

int worker_build_begin(struct build *build, struct error *error)
{
    const struct config_collection *collection = build->task->collection;

    return take_memory(build, collection->hnsw_m, collection->hnsw_ef_construct, error);
}

static int write_lists(struct build *build, const struct index_build_options *options,
                       struct error *error)
{
    struct index_ivf *ivf = NULL;
    int code = index_ivf_build(build->vectors, build->row_count, options, &ivf, error);

    if (code != 0)
        return code;
    code = build->reserve(build, error);
    if (code == 0)
        code = index_ivf_write(io_of(build), build->path, build->file_number, ivf,
                               &build->segment_bytes, error);
    index_ivf_delete(ivf);
    return code;
}

static int write_graph(struct build *build, const struct index_build_options *options,
                       struct error *error)
{
    struct index_hnsw_graph *graph = NULL;
    int code = index_hnsw_build(build->vectors, build->row_count, options, &graph, error);

    if (code != 0)
        return code;
    code = build->reserve(build, error);
    if (code == 0)
        code = index_segment_write(io_of(build), build->path, build->file_number, graph,
                                   &build->segment_bytes, error);
    index_hnsw_graph_delete(graph);
    return code;
}

static int write_segment(struct build *build, const struct index_build_options *options,
                         struct error *error)
{
    const struct config_collection *collection = build->task->collection;
    int code =
        build->lists ? write_lists(build, options, error) : write_graph(build, options, error);

    if (code == 0)
        code = index_segment_open(io_of(build), build->path, build->file_number,
                                  worker_index_metric(collection), collection->dim,
                                  build->row_count, &build->segment, error);
    return code;
}

static void remove_segment(struct build *build)
{
    struct error error = {0};

    if (build->segment)
        index_segment_close(build->segment);
    build->segment = NULL;
    if (build->path[0] && io_unlink(io_of(build), build->path, &error) != 0)
        log_warning("indexer", "%s", error.text);
    build->path[0] = '\0';
}

static int build_once(struct build *build, struct error *error)
{
    const struct config_collection *collection = build->task->collection;
    struct recall_sample sample = {
        .vectors = build->vectors,
        .row_count = build->row_count,
        .dim = collection->dim,
        .metric = build->options.metric,
        .ef = collection->hnsw_ef,
        .cancel = &build->task->cancel,
    };
    int code = write_segment(build, &build->options, error);

    if (code == 0)
        code = recall_measure(build->segment, &sample, &build->recall, error);
    return code;
}

static void report_recall(const struct build *build)
{
    struct metric_label labels[] = {{"collection", build->task->collection->name}};

    metric_set(metrics_gauge(build->task->pool->options.metrics, "windrow_index_recall_ratio",
                             "Recall at 10 of the newest segment, measured on a sample", labels, 1),
               build->recall);
}

static void report_low_recall(const struct build *build, bool last)
{
    log_warning("indexer",
                "%s/%s window %lld: recall %.3f with m=%u ef_construct=%u is below the floor of "
                "%.3f: %s",
                build->task->collection->name, build->shard,
                (long long)build->task->delivery->job.window_start_ms, build->recall,
                build->options.m, build->options.ef_construct,
                build->task->collection->recall_floor,
                last ? "the window stays scanned" : "building it again, stronger");
}

int worker_build_good(struct build *build, bool *low_recall, struct error *error)
{
    for (int i = 0; i < BUILDS_MAX; i++) {
        uint32_t m = build->options.m;
        int code;
        remove_segment(build);
        code = i == 0 ? 0
                      : take_memory(build, m + (m + 1) / 2, 2 * build->options.ef_construct, error);
        if (code == 0)
            code = build_once(build, error);
        if (code != 0)
            return code;
        report_recall(build);
        *low_recall = build->recall < build->task->collection->recall_floor;
        if (!*low_recall)
            return 0;
        report_low_recall(build, i + 1 == BUILDS_MAX);
    }
    return 0;
}

/* The mapping stays valid over the rename. */
static int rename_segment(struct build *build, const char *directory, struct error *error)
{
    size_t length = strlen(build->path);
    char final[BUILD_PATH_BYTES];

    if (length < 4 || strcmp(build->path + length - 4, ".tmp") != 0)
        return error_set(error, ERROR_INVALID, "%s does not end in .tmp", build->path);
    memcpy(final, build->path, length - 4);
    final[length - 4] = '\0';
    if (io_rename(io_of(build), build->path, final, error) != 0)
        return error->code;
    memcpy(build->path, final, length - 3);
    return io_sync_directory(io_of(build), directory, error);
}

int worker_build_attach(struct build *build, struct store_shard *shard, uint64_t file_number,
                        struct error *error)
{
    struct store_segment segment = {
        .info = {.file_number = build->file_number,
                 .bytes = build->segment_bytes,
                 .recall = build->recall},
        .object = build->segment,
        .release = index_segment_close,
    };
    int code = rename_segment(build, store_shard_directory(shard), error);

    (void)snprintf(segment.info.kind, sizeof(segment.info.kind), "%s",
                   index_segment_kind(build->segment));
    if (code == 0)
        code = store_shard_attach(shard, file_number, &segment, error);
    if (code == 0) {
        build->segment = NULL; /* the store's now, file and all */
        build->path[0] = '\0';
    }
    return code;
}

void worker_build_end(struct build *build)
{
    remove_segment(build);
    free(build->copy);
    build->copy = NULL;
    index_codebook_delete(build->codebook);
    build->codebook = NULL;
    worker_memory_give(build->task->pool, &build->memory_bytes);
}

/* ---- of a shard that is open here ---- */

static bool is_run(const struct store_source *source, const struct worker_run *run)
{
    if (source->kind == STORE_SOURCE_MEMTABLE || source->window_start_ms != run->start_ms ||
        source->window_length_ms != run->length_ms)
        return false;
    return run->generation > 0 ? source->sealed && source->generation == run->generation
                               : !source->sealed && source->file_number == run->file_number;
}

int worker_build_find(const struct worker_run *run, struct store_snapshot *snapshot,
                      const struct store_source **source, struct error *error)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t i = 0; i < count; i++) {
        if (is_run(&sources[i], run)) {
            *source = &sources[i];
            return 0;
        }
    }
    return error_set(error, ERROR_NOT_FOUND, "%s",
                     run->generation > 0 ? "the generation is no longer current"
                                         : "the chunk is no longer part of the window");
}

/* Looks at every block, which also takes their checksums. A raw run's vectors lie in one piece and
 * are used in place; others are gathered. */
int worker_build_gather(struct build *build, const struct store_source *source, uint32_t dim,
                        struct error *error)
{
    const float *first = NULL;
    bool in_one_piece = true;

    for (uint32_t row = 0; row < source->row_count;) {
        const float *vectors;
        uint32_t count;
        if (worker_task_cancelled(build->task))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        if (store_row_vectors(source, row, &vectors, &count, error) != 0)
            return error->code;
        if (row == 0)
            first = vectors;
        if (in_one_piece && vectors != first + (size_t)row * dim) {
            in_one_piece = false;
            build->copy = malloc((size_t)source->row_count * dim * sizeof(float));
            if (!build->copy)
                return error_set(error, ERROR_MEMORY, "no memory for %u vectors",
                                 source->row_count);
            row = 0;
            continue;
        }
        if (!in_one_piece)
            memcpy(build->copy + (size_t)row * dim, vectors, (size_t)count * dim * sizeof(float));
        row += count;
    }
    build->vectors = in_one_piece ? first : build->copy;
    return 0;
}

static int reserve_here(struct build *build, struct error *error)
{
    (void)error;
    store_shard_reserve_segment(build->task->lease.shard, &build->file_number, build->path,
                                sizeof(build->path));
    return 0;
}

int worker_build(struct worker_task *task, bool *low_recall, struct error *error)
{
    struct store_shard *shard = task->lease.shard;
    const struct worker_job *job = &task->delivery->job;
    const struct worker_run run = {.start_ms = job->window_start_ms,
                                   .length_ms = job->window_length_ms,
                                   .generation = job->generation,
                                   .file_number = job->run_file_number};
    const struct config *config = task->pool->options.config;
    int64_t now_ms = io_wall_ms(task->pool->options.io);
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    struct build build = {.task = task,
                          .shard = store_shard_name(shard),
                          .seed = job->run_checksum,
                          .reserve = reserve_here};
    const struct store_source *source = NULL;
    int code = worker_build_find(&run, snapshot, &source, error);

    *low_recall = false;
    if (code == 0) {
        build.lists = strcmp(worker_job_kind(config, task->collection, job, now_ms), "ivf_pq") == 0;
        if (build.lists)
            build.codebook = worker_codebook_find(task->pool, job->collection, run.start_ms);
        build.row_count = source->row_count;
        build.copies = worker_copies_vectors(config, task->collection, run.generation > 0);
        code = worker_build_begin(&build, error);
    }
    if (code == 0) {
        code = worker_build_gather(&build, source, task->collection->dim, error);
    }
    if (code == 0)
        code = worker_build_good(&build, low_recall, error);
    if (code == 0 && !*low_recall && worker_task_cancelled(task))
        code = error_set(error, ERROR_CANCELLED, "cancelled");
    if (code == 0 && !*low_recall)
        code = worker_build_attach(&build, shard, source->file_number, error);
    worker_build_end(&build);
    store_snapshot_release(snapshot);
    return code;
}
