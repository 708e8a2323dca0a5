/* The manifest is truth, the queue is delivery: what is sealed is compared with what is indexed. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "indexer/worker/pool.h"

enum {
    /* A job that was published and is not done: perhaps it waits behind others. */
    REPUBLISH_MS = 10 * 60 * 1000,
    PATH_BYTES = 4096
};

static void fill_job(struct worker_job *job, const struct worker_pool *pool,
                     struct store_shard *shard, const struct store_window_info *window)
{
    memset(job, 0, sizeof(*job));
    (void)snprintf(job->owner, sizeof(job->owner), "%s", pool->address);
    (void)snprintf(job->collection, sizeof(job->collection), "%s", store_shard_collection(shard));
    (void)snprintf(job->shard, sizeof(job->shard), "%s", store_shard_name(shard));
    job->window_start_ms = window->start_ms;
    job->window_length_ms = window->length_ms;
    job->generation = window->generation;
    job->run_file_number = window->run.file_number;
    job->run_checksum = window->run_checksum;
    job->rows = window->run.rows;
    job->bytes = window->run.bytes;
    job->min_offset = window->run.min_offset;
    job->max_offset = window->run.max_offset;
}

static int64_t now_ms(const struct worker_pool *pool)
{
    return io_monotonic_ns(pool->options.io) / 1000000;
}

static int publish(struct worker_pool *pool, const struct worker_job *job, struct error *error)
{
    struct worker_queue *queue = pool->options.queue;
    int code;

    /* Before the publication: what a worker makes of it must not be overwritten. */
    if (ledger_get(&pool->ledger, job).state != LEDGER_BUILDING)
        ledger_set(&pool->ledger, job, LEDGER_PUBLISHED, now_ms(pool));
    code = queue->operations->publish(queue, job, error);
    if (code != 0)
        ledger_set(&pool->ledger, job, LEDGER_NONE, 0);
    return code;
}

int worker_pool_submit(struct worker_pool *pool, struct store_shard *shard,
                       const struct store_window_info *window, struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(pool->options.config, store_shard_collection(shard));
    struct worker_job job;

    if (!collection ||
        !worker_window_lacks_segment(collection, window, io_wall_ms(pool->options.io)))
        return 0;
    fill_job(&job, pool, shard, window);
    return publish(pool, &job, error);
}

static bool is_taken_care_of(struct worker_pool *pool, const struct worker_job *job, int64_t depth)
{
    struct ledger_entry entry = ledger_get(&pool->ledger, job);
    int64_t now = now_ms(pool);

    switch (entry.state) {
    case LEDGER_BUILDING:
        return true;
    case LEDGER_GIVEN_UP:
        return now < entry.time_ms;
    case LEDGER_PUBLISHED:
        /* With an empty queue it is lost; with an unknown one it may wait. */
        return depth != 0 && now - entry.time_ms < REPUBLISH_MS;
    default:
        return false;
    }
}

/* `depth` was read before the description: a job that was gone from the queue then has its segment
 * in the description, because the attach comes before the acknowledgement. */
static int reconcile_shard(struct worker_pool *pool, struct store_shard *shard, int64_t depth,
                           struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(pool->options.config, store_shard_collection(shard));
    struct store_shard_info info;
    struct arena arena;
    int code = 0;

    if (!collection)
        return 0;
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count && code == 0; i++) {
        struct worker_job job;
        if (info.windows[i].busy || !worker_window_lacks_segment(collection, &info.windows[i],
                                                                 io_wall_ms(pool->options.io)))
            continue;
        fill_job(&job, pool, shard, &info.windows[i]);
        if (is_taken_care_of(pool, &job, depth))
            continue;
        code = publish(pool, &job, error);
        if (code == 0)
            log_debug("indexer", "queued window %lld of %s/%s again",
                      (long long)job.window_start_ms, job.collection, job.shard);
    }
    arena_destroy(&arena);
    return code;
}

void worker_pool_reconcile_shard(struct worker_pool *pool, struct store_shard *shard)
{
    struct worker_queue *queue = pool->options.queue;
    int64_t depth = queue->operations->depth(queue);
    struct error error = {0};

    if (reconcile_shard(pool, shard, depth, &error) != 0)
        log_debug("indexer", "queue what has no segment later: %s", error.text);
}

void worker_pool_reconcile(struct worker_pool *pool)
{
    const struct indexer_host *host = pool->options.host;
    const struct config *config = pool->options.config;
    struct worker_queue *queue = pool->options.queue;
    int64_t depth = queue->operations->depth(queue);
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    for (size_t i = 0; i < config->collection_count; i++) {
        struct indexer_shard_lease *leases;
        size_t count =
            host->shards_acquire(host->context, config->collections[i].name, &arena, &leases);
        for (size_t j = 0; j < count; j++) {
            struct error error = {0};
            /* One failure is NATS being away: the others would fail, too. */
            if (code == 0)
                code = reconcile_shard(pool, leases[j].shard, depth, &error);
            host->shard_release(host->context, &leases[j]);
        }
    }
    arena_destroy(&arena);
}

static int load_segment(struct worker_pool *pool, struct store_shard *shard,
                        const struct config_collection *collection,
                        const struct store_window_info *window, struct error *error)
{
    struct index_segment *segment = NULL;
    struct error open_error = {0};
    char path[PATH_BYTES];
    int code;

    (void)snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(shard),
                   (unsigned long long)window->segment.file_number);
    code = index_segment_open(pool->options.io, path, window->segment.file_number,
                              worker_index_metric(collection), collection->dim,
                              (uint32_t)window->run.rows, &segment, &open_error);
    if (code != 0)
        log_warning("indexer", "segment of window %lld is built again: %s",
                    (long long)window->start_ms, open_error.text);
    code = store_shard_load_segment(shard, window->start_ms, window->length_ms, window->generation,
                                    segment, segment ? index_segment_close : NULL, error);
    if (code != 0 && segment)
        index_segment_close(segment);
    /* A window that was dropped meanwhile needs none. */
    return code == ERROR_NOT_FOUND ? 0 : code;
}

int worker_pool_load_segments(struct worker_pool *pool, struct store_shard *shard,
                              struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(pool->options.config, store_shard_collection(shard));
    struct store_shard_info info;
    struct arena arena;
    int code = 0;

    if (!collection)
        return 0;
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count && code == 0; i++)
        if (info.windows[i].sealed && info.windows[i].segment.file_number != 0)
            code = load_segment(pool, shard, collection, &info.windows[i], error);
    arena_destroy(&arena);
    return code;
}
