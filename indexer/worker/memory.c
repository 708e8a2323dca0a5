#include "indexer/worker/memory.h"

#include <string.h>
#include <time.h>

enum { WAIT_NS = 10 * 1000 * 1000 };

bool worker_copies_vectors(const struct config *config, const struct config_collection *collection,
                           bool sealed)
{
    /* Over NATS another machine may build, and has the vectors in memory. */
    return config->nats_url || !sealed || collection->codec == CONFIG_CODEC_PACKED;
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
    struct index_build_options options = {.metric = worker_index_metric(collection),
                                          .dim = collection->dim,
                                          .m = collection->hnsw_m,
                                          .ef_construct = collection->hnsw_ef_construct,
                                          .lists = collection->ivf_pq_lists,
                                          .thread_count = 1};

    return worker_build_bytes(&options, lists, rows, copies) <= config->build_memory_max_bytes;
}

const char *worker_fitting_kind(const struct config *config,
                                const struct config_collection *collection, const char *wanted,
                                uint64_t rows, bool copies)
{
    bool lists = strcmp(wanted, "ivf_pq") == 0;

    if (strcmp(wanted, "flat") == 0 || (!lists && fits(config, collection, false, rows, copies)))
        return wanted;
    return fits(config, collection, true, rows, copies) ? "ivf_pq" : "flat";
}

static bool take_now(struct worker_pool *pool, uint64_t bytes)
{
    bool taken;

    pthread_mutex_lock(&pool->lock);
    taken = pool->memory_bytes + bytes <= pool->options.config->build_memory_max_bytes;
    if (taken)
        metric_set(pool->memory, (double)(pool->memory_bytes += bytes));
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

int worker_memory_take(struct worker_task *task, struct index_build_options *options, bool lists,
                       uint64_t row_count, bool copies, uint64_t *taken, struct error *error)
{
    uint64_t most = task->pool->options.config->build_memory_max_bytes;
    uint64_t bytes = worker_build_bytes(options, lists, row_count, copies);

    while (bytes > most && options->thread_count > 1) {
        options->thread_count--;
        bytes = worker_build_bytes(options, lists, row_count, copies);
    }
    if (bytes > most)
        return error_set(error, ERROR_UNSUPPORTED,
                         "building over %llu rows takes %llu bytes, indexer.build_memory_max_bytes "
                         "is %llu: they are scanned",
                         (unsigned long long)row_count, (unsigned long long)bytes,
                         (unsigned long long)most);
    while (!take_now(task->pool, bytes)) {
        if (worker_task_cancelled(task))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        (void)nanosleep(&(struct timespec){0, WAIT_NS}, NULL);
    }
    options->memory_max_bytes = most - (copies ? row_count * options->dim * sizeof(float) : 0);
    *taken = bytes;
    return 0;
}

void worker_memory_give(struct worker_pool *pool, uint64_t *taken)
{
    pthread_mutex_lock(&pool->lock);
    metric_set(pool->memory, (double)(pool->memory_bytes -= *taken));
    pthread_mutex_unlock(&pool->lock);
    *taken = 0;
}
