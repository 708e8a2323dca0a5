/* Recall is measured on the file as it is mapped, not on the graph in memory: what is judged is what
 * searches will read.
 *
 * The sample. Queries are rows of the segment itself, evenly spread; the row is not counted
 * as its own neighbour. The truth is brute force, bounded by WORK_MAX. Hits count by score, not by
 * row, and a hair below the k-th exact score: rows that tie are equally right. */
#include "indexer/worker/build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/span.h"
#include "store/attach.h"
#include "store/files/segment.h"
#include "store/store.h"

enum {
    BUILDS_MAX = 2,
    NEIGHBOURS = 10, /* that recall is measured by */
    QUERIES_MAX = 100,
    QUERIES_MIN = 20
};

/* Multiplications that the brute force may cost: a few seconds of one core. */
#define WORK_MAX 2e10

static struct vector_row vector_of(void *context, uint32_t row, struct error *error)
{
    const struct recall_sample *sample = context;
    struct vector_row stored = {.bytes = NULL};
    uint32_t count;

    if (sample->vectors(sample->context, row, &stored, &count, error) != 0)
        stored.bytes = NULL;
    return stored;
}

/* As many as brute force can afford: at 10^6 rows of 768 numbers, 26. */
static uint32_t query_count(const struct recall_sample *sample)
{
    double work = (double)sample->row_count * sample->dim;
    double affordable = WORK_MAX / work;
    uint32_t count = QUERIES_MAX;

    if (affordable < QUERIES_MAX)
        count = affordable < QUERIES_MIN ? QUERIES_MIN : (uint32_t)affordable;
    return count < sample->row_count ? count : sample->row_count;
}

struct recall_sample recall_sample_of(const struct config_collection *collection,
                                      const atomic_bool *cancel)
{
    return (struct recall_sample){.dim = collection->dim,
                                  .metric = vector_metric_ranking(collection->metric),
                                  .ef = collection->hnsw_ef,
                                  .recall = collection->recall,
                                  .floor = collection->recall_floor,
                                  .cancel = cancel};
}

/* The score of the wanted-th best hit that is not `self`. */
static float kth_score(const struct index_hit *hits, uint32_t count, uint32_t self, uint32_t wanted)
{
    float score = -INFINITY;

    for (uint32_t i = 0; i < count && wanted > 0; i++) {
        if (hits[i].row == self)
            continue;
        score = hits[i].score;
        wanted--;
    }
    return score;
}

/* Adds the nearest of a block to the `k` best so far, best first. */
static uint32_t merge(struct index_hit *best, uint32_t count, const struct index_hit *more,
                      uint32_t more_count, uint32_t k)
{
    struct index_hit merged[2 * (NEIGHBOURS + 1)] = {{0}};
    uint32_t from = 0, next = 0, both = count + more_count < k ? count + more_count : k;

    for (uint32_t i = 0; i < both; i++) {
        bool own = next == more_count || (from < count && best[from].score >= more[next].score);
        merged[i] = own ? best[from++] : more[next++];
    }
    memcpy(best, merged, both * sizeof(*best));
    return both;
}

static int exact_top(const struct recall_sample *sample, const float *query, uint32_t k,
                     struct index_hit *hits, uint32_t *hit_count, struct error *error)
{
    struct index_hit more[NEIGHBOURS + 1];
    uint32_t found, count;

    *hit_count = 0;
    for (uint32_t row = 0; row < sample->row_count; row += count) {
        struct vector_row rows;
        if (sample->vectors(sample->context, row, &rows, &count, error) != 0)
            return error->code;
        count = vector_codec_is_float32(rows.codec) ? count : 1;
        index_exact_top(sample->metric, index_row_values(rows, sample->dim), count, sample->dim,
                        query, k, more, &found);
        for (uint32_t i = 0; i < found; i++)
            more[i].row += row;
        *hit_count = merge(hits, *hit_count, more, found, k);
    }
    return 0;
}

static int search_one(const struct index_segment *segment, struct recall_sample *sample,
                      const float *query, uint32_t row, uint32_t wanted, uint32_t *found,
                      struct error *error)
{
    struct index_hit exact[NEIGHBOURS + 1] = {{0}};
    struct index_hit hits[NEIGHBOURS + 1];
    struct index_search search = {
        .query = query,
        .k = wanted + 1,
        .ef = sample->ef > wanted + 1 ? sample->ef : wanted + 1,
        .floor_score = -INFINITY,
        .vector = vector_of,
        .vector_context = sample,
        .hidden_row = row,
    };
    uint32_t exact_count;
    uint32_t hit_count;
    bool exhausted;
    uint32_t good = 0;
    float floor_score;

    if (exact_top(sample, query, wanted + 1, exact, &exact_count, error) != 0)
        return error->code;
    search.hides = exact[0].score > exact[1].score; /* else its equals hang below it */
    if (index_segment_search(segment, &search, hits, &hit_count, &exhausted, error) != 0)
        return error->code;
    floor_score = kth_score(exact, exact_count, row, wanted);
    floor_score -= 1e-6f * fabsf(floor_score);
    for (uint32_t i = 0; i < hit_count; i++)
        good += hits[i].row != row && hits[i].score >= floor_score;
    *found += good < wanted ? good : wanted;
    return 0;
}

/* What a sample tells of all searches. */
struct measured {
    double recall;
    double sure; /* less by the standard error of the sample */
};

static int measure_with(const struct index_segment *segment, const struct recall_sample *sample,
                        struct measured *measured, struct error *error)
{
    struct recall_sample own = *sample;
    uint32_t queries = query_count(sample);
    uint32_t wanted = sample->row_count - 1 < NEIGHBOURS ? sample->row_count - 1 : NEIGHBOURS;
    uint32_t found = 0;
    double squares = 0, mean;
    float *query;
    int code = 0;

    *measured = (struct measured){1, 1};
    if (wanted == 0)
        return 0;
    query = memory_new(sample->dim, sizeof(*query));
    for (uint32_t i = 0; i < queries && code == 0; i++) {
        uint32_t row = (uint32_t)((uint64_t)i * sample->row_count / queries);
        struct vector_row stored = vector_of(&own, row, error);
        uint32_t more = 0;
        if (sample->cancel && atomic_load(sample->cancel))
            code = error_set(error, ERROR_CANCELLED, "cancelled");
        else if (!stored.bytes)
            code = error->code;
        if (code != 0)
            break;
        vector_row_decode(stored, sample->dim, query);
        code = search_one(segment, &own, query, row, wanted, &more, error);
        found += more;
        squares += (double)more * more / ((double)wanted * wanted);
    }
    free(query);
    mean = (double)found / ((double)queries * wanted);
    *measured =
        (struct measured){mean, mean - sqrt(fmax(squares / queries - mean * mean, 0) / queries)};
    return code;
}

/* Measured with less than the careful effort first: half way there, by the root. */
static int raise_effort(struct index_segment *segment, const char *path,
                        const struct recall_sample *sample, uint32_t careful_ef,
                        const struct measured *careful, double *recall, struct error *error)
{
    const double target = fmin(sample->floor, sample->recall);
    struct recall_sample own = *sample;
    struct measured found;
    int code;

    own.ef = index_segment_default_ef(segment, NEIGHBOURS, sample->recall);
    own.ef = (uint32_t)ceil(sqrt((double)own.ef * careful_ef));
    code = measure_with(segment, &own, &found, error);
    if (code != 0)
        return code;
    if (found.sure < target) {
        own.ef = careful_ef;
        found = *careful;
    }
    *recall = found.recall;
    return index_segment_raise_effort(segment, path, NEIGHBOURS, sample->recall, own.ef, error);
}

int recall_measure(struct index_segment *segment, const char *path,
                   const struct recall_sample *sample, double *recall, bool *good,
                   struct error *error)
{
    struct recall_sample own = *sample;
    struct measured first, careful;
    int code;

    if (own.ef == 0)
        own.ef = index_segment_default_ef(segment, NEIGHBOURS, own.recall);
    code = measure_with(segment, &own, &first, error);
    *recall = first.recall;
    *good = first.recall >= own.floor;
    if (code != 0 || first.sure >= own.floor || sample->ef > 0)
        return code;
    /* Chance and a low `recall` must not condemn a segment that has more to give, and chance must not acquit one. */
    own.ef = index_segment_default_ef(segment, NEIGHBOURS, fmax((1 + own.floor) / 2, own.recall));
    own.ef = own.ef > INDEX_EF_UNMEASURED ? own.ef : INDEX_EF_UNMEASURED;
    code = measure_with(segment, &own, &careful, error);
    *good = *good || careful.recall >= own.floor;
    /* Searches must go as far as what was judged good, unless `recall` asks for less than the floor. */
    if (code == 0 && *good && first.sure < own.recall)
        code = raise_effort(segment, path, sample, own.ef, &careful, recall, error);
    return code;
}

static void give_memory(struct build *build)
{
    build_memory_give(build->memory, build->memory_bytes);
    build->memory_bytes = 0;
}

static uint64_t build_bytes(const struct build *build)
{
    return build->bytes
               ? build->bytes(build->bytes_context, &build->options)
               : worker_build_bytes(&build->options, build->lists, build->row_count, build->copies);
}

/* With as many of the threads as fit. */
static int take_memory(struct build *build, struct error *error)
{
    struct index_build_options *options = &build->options;
    uint64_t limit = *build->memory->limit_bytes;
    uint64_t bytes = build_bytes(build);

    while (bytes > limit && options->thread_count > 1) {
        options->thread_count--;
        bytes = build_bytes(build);
    }
    if (bytes > limit)
        return error_set(error, ERROR_UNSUPPORTED,
                         "building over %u rows takes %llu bytes, indexer.build_memory_max_bytes "
                         "is %llu: they are scanned",
                         build->row_count, (unsigned long long)bytes, (unsigned long long)limit);
    if (!build_memory_take(build->memory, bytes, build->cancel, build->pool))
        return error_set(error, ERROR_CANCELLED, "cancelled");
    build->memory_bytes = bytes;
    options->memory_max_bytes =
        limit - (build->copies ? (uint64_t)build->row_count * options->dim * sizeof(float) : 0);
    return 0;
}

/* Threads report in any order: the furthest one counts. */
static void report_progress(void *context, uint32_t done, uint32_t rows)
{
    struct build_progress *progress = context;
    uint32_t before = atomic_load(&progress->done);

    atomic_store(&progress->rows, rows);
    while (done > before && !atomic_compare_exchange_weak(&progress->done, &before, done))
        ;
}

/* Sets the options of the first build, or of a stronger one, and takes what it needs. */
static int prepare(struct build *build, uint32_t m, uint32_t ef_construct, struct error *error)
{
    const struct config_collection *collection = build->collection;

    build->options = (struct index_build_options){
        .metric = vector_metric_ranking(collection->metric),
        .dim = collection->dim,
        .m = m,
        .ef_construct = ef_construct,
        .lists = collection->ivf_pq_lists,
        .probes = collection->ivf_pq_nprobe,
        .codebook = build->codebook,
        .thread_count = build->thread_count,
        .seed = build->seed,
        .cancel = build->cancel,
        .progress = report_progress,
        .progress_context = build->progress,
    };
    atomic_store(&build->progress->done, 0);
    give_memory(build);
    return take_memory(build, error);
}

int worker_build_begin(struct build *build, struct error *error)
{
    return prepare(build, build->collection->hnsw_m, build->collection->hnsw_ef_construct, error);
}

static int open_segment(const struct build *build, uint32_t row_count,
                        struct index_segment **segment, struct error *error)
{
    const struct config_collection *collection = build->collection;

    return index_segment_open(build->io, build->path, build->file_number,
                              vector_metric_ranking(collection->metric), collection->dim, row_count,
                              segment, error);
}

int worker_build_write_lists(struct build *build, const struct index_ivf *ivf, uint32_t row_count,
                             struct index_segment **segment, struct error *error)
{
    int code = build->reserve(build, error);

    if (code == 0)
        code = index_ivf_write(build->io, build->path, build->file_number, ivf,
                               &build->segment_bytes, error);
    return code == 0 ? open_segment(build, row_count, segment, error) : code;
}

static int write_lists(struct build *build, const struct index_build_options *options,
                       struct error *error)
{
    struct index_ivf *ivf = NULL;
    int code = index_ivf_build(build->vectors, build->row_count, options, &ivf, error);

    if (code == 0)
        code = worker_build_write_lists(build, ivf, build->row_count, &build->segment, error);
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
        code = index_segment_write(build->io, build->path, build->file_number, graph,
                                   &build->segment_bytes, error);
    index_hnsw_graph_delete(graph);
    return code == 0 ? open_segment(build, build->row_count, &build->segment, error) : code;
}

/* The file of a try that is not good enough, or of a build that failed. */
static void remove_segment(struct build *build)
{
    struct error error = {0};

    if (build->segment)
        index_segment_close(build->segment);
    build->segment = NULL;
    if (build->path[0] && io_unlink(build->io, build->path, &error) != 0)
        log_warning("indexer", "%s", error.text);
    build->path[0] = '\0';
}

/* What searches need to know to reach index.recall. */
static int measure_effort(struct build *build, struct error *error)
{
    const struct index_effort_sample sample = {.vectors = build->vectors,
                                               .count = build->row_count,
                                               .dim = build->collection->dim,
                                               .cancel = build->cancel,
                                               .recall = build->collection->recall,
                                               .choice = &build->choice};

    return index_segment_measure_effort(build->segment, build->path, &sample, error);
}

static int vectors_of(void *context, uint32_t row, struct vector_row *stored, uint32_t *count,
                      struct error *error)
{
    const struct build *build = context;

    (void)error;
    *stored = vector_row_float32(build->vectors + (size_t)row * build->options.dim);
    *count = build->row_count - row;
    return 0;
}

static int build_once(struct build *build, bool *good, struct error *error)
{
    struct recall_sample sample = recall_sample_of(build->collection, build->cancel);
    int code = build->lists ? write_lists(build, &build->options, error)
                            : write_graph(build, &build->options, error);

    sample.vectors = vectors_of;
    sample.context = build;
    sample.row_count = build->row_count;
    if (code == 0)
        code = measure_effort(build, error);
    if (code == 0)
        code = recall_measure(build->segment, build->path, &sample, &build->recall, good, error);
    return code;
}

static void count_recall(const struct build *build)
{
    struct metric_label labels[] = {{"collection", build->collection->name}};

    metric_set(metrics_gauge(build->metrics, "windrow_index_recall_ratio",
                             "Recall at 10 of the newest segment, measured on a sample", labels, 1),
               build->recall);
}

static void log_low_recall(const struct build *build, bool last)
{
    log_warning("indexer",
                "%s/%s window %lld: recall %.3f with m=%u ef_construct=%u is below the floor of "
                "%.3f: %s",
                build->collection->name, build->shard, (long long)build->window_start_ms,
                build->recall, build->options.m, build->options.ef_construct,
                build->collection->recall_floor,
                last && build->span ? "there is no span"
                : last              ? "searches scan the window"
                                    : "building it again with stronger parameters");
}

void worker_build_report_recall(const struct build *build, bool good, bool last)
{
    count_recall(build);
    if (!good)
        log_low_recall(build, last);
}

int worker_build_good(struct build *build, bool *low_recall, struct error *error)
{
    for (int i = 0; i < BUILDS_MAX; i++) {
        uint32_t m = build->options.m;
        bool good = false;
        int code;
        remove_segment(build);
        code = i == 0 ? 0 : prepare(build, m + (m + 1) / 2, 2 * build->options.ef_construct, error);
        if (code == 0)
            code = build_once(build, &good, error);
        if (code != 0)
            return code;
        worker_build_report_recall(build, good, i + 1 == BUILDS_MAX);
        *low_recall = !good;
        if (good)
            return 0;
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
    if (io_rename(build->io, build->path, final, error) != 0)
        return error->code;
    memcpy(build->path, final, length - 3);
    return io_sync_directory(build->io, directory, error);
}

static int attach_span(const struct build *build, struct store_shard *shard,
                       const struct store_segment *segment, struct error *error)
{
    const struct worker_span *span = build->span;

    return store_shard_attach_span(shard, segment, span->tier, span->window_length_ms, span->parts,
                                   span->part_count, error);
}

/* After a failed edit the file stays with the build, whose end removes it. Should the edit count
 * after all (ERROR_IO: nobody knows), the next opening finds no file, takes the segment away
 * (store_shard_load_segment) and it is built again. */
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

    segment.info.kind = index_segment_kind(build->segment);
    if (code == 0)
        code = build->span ? attach_span(build, shard, &segment, error)
                           : store_shard_attach(shard, file_number, &segment, error);
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
    give_memory(build);
}
