/* segment_kind: the kind is wanted by size and age, and has to fit indexer.build_memory_max_bytes. */
#include "indexer/worker/segment_kind.h"

#include "store/describe.h"

bool worker_copies_vectors(const struct config *config, const struct config_collection *collection,
                           bool sealed)
{
    /* Over NATS another machine may build, and has the vectors in memory. */
    return config->nats_url || !sealed || collection->codec == VECTOR_CODEC_PACKED ||
           collection->storage != VECTOR_CODEC_RAW;
}

uint64_t worker_build_bytes(const struct index_build_options *options, bool lists,
                            uint64_t row_count, bool copies)
{
    uint64_t copy = copies ? row_count * options->dim * sizeof(float) : 0;

    if (row_count > INT32_MAX)
        return UINT64_MAX;
    return copy + (lists ? index_ivf_build_bytes((uint32_t)row_count, options)
                         : index_hnsw_build_bytes((uint32_t)row_count, options));
}

static bool fits(const struct config *config, const struct config_collection *collection,
                 bool lists, uint64_t rows, bool copies)
{
    struct index_build_options options = {.metric = vector_metric_ranking(collection->metric),
                                          .dim = collection->dim,
                                          .m = collection->hnsw_m,
                                          .ef_construct = collection->hnsw_ef_construct,
                                          .lists = collection->ivf_pq_lists,
                                          .thread_count = 1};

    return worker_build_bytes(&options, lists, rows, copies) <= config->build_memory_max_bytes;
}

enum segment_kind worker_fitting_kind(const struct config *config,
                                      const struct config_collection *collection,
                                      enum segment_kind wanted, uint64_t rows, bool copies)
{
    bool lists = wanted == SEGMENT_IVF_PQ;

    if (wanted == SEGMENT_FLAT || (!lists && fits(config, collection, false, rows, copies)))
        return wanted;
    return fits(config, collection, true, rows, copies) ? SEGMENT_IVF_PQ : SEGMENT_FLAT;
}

enum { IVF_PQ_ROWS = 10 * 1000 * 1000 }; /* a graph over more takes too much memory to build */

enum segment_kind worker_wanted_kind(const struct config_collection *collection, uint64_t rows,
                                     int64_t age_ms)
{
    switch (collection->index_kind) {
    case CONFIG_INDEX_FLAT:
        return SEGMENT_FLAT;
    case CONFIG_INDEX_HNSW:
        return SEGMENT_HNSW;
    case CONFIG_INDEX_IVF_PQ:
        return SEGMENT_IVF_PQ;
    default:
        break;
    }
    if (rows < config_flat_below_rows(collection))
        return SEGMENT_FLAT;
    if (rows >= IVF_PQ_ROWS ||
        (collection->ivf_pq_after_ms > 0 && age_ms > collection->ivf_pq_after_ms))
        return SEGMENT_IVF_PQ;
    return SEGMENT_HNSW;
}

enum segment_kind worker_chunk_kind(const struct config_collection *collection, uint64_t rows)
{
    if (collection->chunk_above_rows == 0 || rows < collection->chunk_above_rows)
        return SEGMENT_FLAT;
    return worker_wanted_kind(collection, rows, 0);
}

bool worker_kind_is_free(const struct config_collection *collection, enum segment_kind wanted)
{
    return collection->index_kind == CONFIG_INDEX_AUTO && wanted == SEGMENT_HNSW;
}

bool worker_kind_serves(const struct config_collection *collection, enum segment_kind wanted,
                        enum segment_kind kind)
{
    return kind == wanted || (kind == SEGMENT_IVF_PQ && worker_kind_is_free(collection, wanted));
}

/* The kind that is wanted, and the one that can be built. */
struct kinds {
    enum segment_kind wanted, fitting;
};

static struct kinds file_kinds(const struct config *config,
                               const struct config_collection *collection, bool sealed,
                               int64_t end_ms, uint64_t rows, int64_t now_ms)
{
    /* A shard without windows is one window that does not age. */
    int64_t age_ms = collection->window_ms > 0 ? now_ms - end_ms : 0;
    struct kinds kinds;

    kinds.wanted =
        sealed ? worker_wanted_kind(collection, rows, age_ms) : worker_chunk_kind(collection, rows);
    kinds.fitting = worker_fitting_kind(config, collection, kinds.wanted, rows,
                                        worker_copies_vectors(config, collection, sealed));
    return kinds;
}

enum segment_kind worker_job_kind(const struct config *config,
                                  const struct config_collection *collection,
                                  const struct worker_job *job, int64_t now_ms)
{
    return file_kinds(config, collection, job->generation > 0,
                      job->window_start_ms + job->window_length_ms, job->rows, now_ms)
        .fitting;
}

bool worker_file_lacks_segment(const struct config *config,
                               const struct config_collection *collection,
                               const struct store_window_info *window,
                               const struct store_file_info *file, int64_t now_ms, bool *too_large)
{
    bool sealed = file == &window->run;
    struct kinds kinds;

    *too_large = false;
    if ((sealed && !window->sealed) || file->rows == 0 || file->rows > UINT32_MAX)
        return false;
    kinds = file_kinds(config, collection, sealed, window->start_ms + window->length_ms, file->rows,
                       now_ms);
    *too_large = file->segment.file_number == 0 && kinds.wanted != SEGMENT_FLAT &&
                 kinds.fitting == SEGMENT_FLAT;
    if (kinds.fitting == SEGMENT_FLAT)
        return false;
    return file->segment.file_number == 0 ||
           !worker_kind_serves(collection, kinds.fitting, file->segment.kind);
}
