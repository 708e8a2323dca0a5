#include "windrow/daemon/history.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/http/http.h"
#include "store/lease.h"
#include "windrow/daemon/service.h"
#include "windrow/daemon/telemetry.h"

enum {
    STEP_MS = 5000,
    SAMPLES_MAX = 720, /* an hour */
    DISK_EVERY = 6     /* samples: looking at every file of every shard costs more than the rest */
};

/* What a sample has, in this order. */
enum column {
    TIME_MS,
    RECORDS_PER_S,
    FRESHNESS_P50_S,
    FRESHNESS_P99_S,
    LAG_RECORDS,
    SEARCHES_PER_S,
    SEARCH_P50_S,
    SEARCH_P99_S,
    BUILDS,
    MERGES,
    RESIDENT_BYTES,
    MEMTABLE_BYTES,
    DISK_BYTES,
    DISK_FREE_BYTES,
    COLUMNS
};

static const char *const column_names[COLUMNS] = {
    [TIME_MS] = "time_ms",
    [RECORDS_PER_S] = "records_per_s",
    [FRESHNESS_P50_S] = "freshness_p50_s",
    [FRESHNESS_P99_S] = "freshness_p99_s",
    [LAG_RECORDS] = "lag_records",
    [SEARCHES_PER_S] = "searches_per_s",
    [SEARCH_P50_S] = "search_p50_s",
    [SEARCH_P99_S] = "search_p99_s",
    [BUILDS] = "builds",
    [MERGES] = "merges",
    [RESIDENT_BYTES] = "resident_bytes",
    [MEMTABLE_BYTES] = "memtable_bytes",
    [DISK_BYTES] = "disk_bytes",
    [DISK_FREE_BYTES] = "disk_free_bytes",
};

struct history {
    pthread_mutex_t lock; /* of the samples; the rest is of the main thread */
    double samples[SAMPLES_MAX][COLUMNS];
    uint64_t taken; /* sample n lies at n % SAMPLES_MAX */
    int64_t taken_ns;
    struct metrics_total records, freshness, searches; /* as of the last sample */
    double disk_bytes, disk_free_bytes;
};

struct history *history_new(void)
{
    struct history *history = memory_new(1, sizeof(*history));

    pthread_mutex_init(&history->lock, NULL);
    history->disk_bytes = history->disk_free_bytes = (double)NAN;
    return history;
}

void history_delete(struct history *history)
{
    if (!history)
        return;
    pthread_mutex_destroy(&history->lock);
    free(history);
}

/* Samples. */

/* Of what was observed between two totals; NAN: nothing was. The values of a bucket count as spread
 * evenly over it, and those above the last bound as lying on it. */
static double quantile(const struct metrics_total *now, const struct metrics_total *before,
                       double q)
{
    double rank = q * (double)(now->count - before->count), seen = 0;
    double low = 0;

    if (now->count == before->count)
        return (double)NAN;
    for (size_t i = 0; i < now->bound_count; i++) {
        double in_bucket = (double)(now->buckets[i] - before->buckets[i]);
        if (in_bucket > 0 && seen + in_bucket >= rank)
            return low + (now->bounds[i] - low) * (rank - seen) / in_bucket;
        seen += in_bucket;
        low = now->bounds[i];
    }
    return low;
}

static void look_at_disk(struct history *history, struct service *service)
{
    const struct config *config = service->config;
    uint64_t free_bytes, size_bytes;
    struct arena arena;
    double bytes = 0;

    arena_create(&arena, 0);
    for (size_t i = 0; i < config->collection_count; i++) {
        struct store_lease *leases;
        size_t count = config->collections[i].removed
                           ? 0
                           : store_registry_acquire(service->registry, config->collections[i].name,
                                                    &arena, &leases);
        for (size_t k = 0; k < count; k++) {
            struct store_shard_info info;
            store_shard_describe(leases[k].shard, &arena, &info);
            bytes += (double)info.total_bytes;
            store_registry_release(service->registry, &leases[k]);
        }
    }
    arena_destroy(&arena);
    history->disk_bytes = bytes;
    if (io_disk_room(config->data_dir, &free_bytes, &size_bytes))
        history->disk_free_bytes = (double)free_bytes;
}

static double sum(struct service *service, const char *name)
{
    struct metrics_total total;

    return metrics_sum(service->metrics, name, &total) ? total.value : (double)NAN;
}

static void fill(struct history *history, struct service *service, double seconds,
                 double sample[COLUMNS])
{
    struct indexer *indexer = atomic_load(&service->indexer);
    struct metrics_total records = {0}, freshness = {0}, searches = {0};

    (void)metrics_sum(service->metrics, "windrow_records_ingested_total", &records);
    (void)metrics_sum(service->metrics, "windrow_freshness_seconds", &freshness);
    (void)metrics_sum(service->metrics, "windrow_search_seconds", &searches);
    sample[TIME_MS] = (double)io_wall_ms(service->wall);
    sample[RECORDS_PER_S] = (records.value - history->records.value) / seconds;
    sample[FRESHNESS_P50_S] = quantile(&freshness, &history->freshness, 0.5);
    sample[FRESHNESS_P99_S] = quantile(&freshness, &history->freshness, 0.99);
    sample[LAG_RECORDS] = sum(service, "windrow_kafka_lag_records");
    sample[SEARCHES_PER_S] = (double)(searches.count - history->searches.count) / seconds;
    sample[SEARCH_P50_S] = quantile(&searches, &history->searches, 0.5);
    sample[SEARCH_P99_S] = quantile(&searches, &history->searches, 0.99);
    sample[BUILDS] = indexer ? indexer_builds(indexer) : 0;
    sample[MERGES] = sum(service, "windrow_lsm_compaction_running");
    sample[RESIDENT_BYTES] = process_resident_bytes();
    sample[MEMTABLE_BYTES] = sum(service, "windrow_lsm_memtable_size_bytes");
    sample[DISK_BYTES] = history->disk_bytes;
    sample[DISK_FREE_BYTES] = history->disk_free_bytes;
    history->records = records;
    history->freshness = freshness;
    history->searches = searches;
}

/* A shard that leaves takes its series along: a total that has shrunk is a new start, not a rate. */
static void drop_negative(double sample[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (sample[i] < 0)
            sample[i] = (double)NAN;
}

void history_tick(struct history *history, struct service *service)
{
    int64_t now_ns = io_monotonic_ns(service->io);
    bool first = history->taken_ns == 0;
    double sample[COLUMNS];

    if (!first && now_ns - history->taken_ns < (int64_t)STEP_MS * 1000000)
        return;
    if (history->taken % DISK_EVERY == 0)
        look_at_disk(history, service);
    fill(history, service, first ? 1 : (double)(now_ns - history->taken_ns) / 1e9, sample);
    history->taken_ns = now_ns;
    if (first)
        return; /* rates need something to start from */
    drop_negative(sample);
    pthread_mutex_lock(&history->lock);
    memcpy(history->samples[history->taken % SAMPLES_MAX], sample, sizeof(sample));
    history->taken++;
    pthread_mutex_unlock(&history->lock);
}

/* The route. */

static void append_sample(struct buffer *out, const double sample[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++) {
        buffer_append_byte(out, i == 0 ? '[' : ',');
        if (isnan(sample[i]))
            buffer_append_text(out, "null");
        else
            buffer_append_format(out, i == TIME_MS ? "%.0f" : "%.6g", sample[i]);
    }
    buffer_append_byte(out, ']');
}

static void append_samples(struct history *history, struct buffer *out, double since_ms)
{
    uint64_t first;
    bool any = false;

    pthread_mutex_lock(&history->lock);
    first = history->taken > SAMPLES_MAX ? history->taken - SAMPLES_MAX : 0;
    for (uint64_t i = first; i < history->taken; i++) {
        const double *sample = history->samples[i % SAMPLES_MAX];
        if (sample[TIME_MS] <= since_ms)
            continue;
        if (any)
            buffer_append_byte(out, ',');
        append_sample(out, sample);
        any = true;
    }
    pthread_mutex_unlock(&history->lock);
}

/* What disk_bytes may grow to by the caps of all collections; 0: one has none. */
static uint64_t disk_limit(const struct config *config)
{
    uint64_t limit = 0;

    for (size_t i = 0; i < config->collection_count; i++) {
        if (config->collections[i].removed)
            continue;
        if (config->collections[i].max_bytes == 0)
            return 0;
        limit += config->collections[i].max_bytes;
    }
    return limit;
}

void history_handle(struct http_request *request)
{
    struct service *service = request->context;
    const char *since = http_request_argument(request, "since_ms");
    uint64_t disk = disk_limit(service->config), since_ms = 0;
    struct buffer *out = &request->reply;

    if (since)
        (void)text_parse_u64(since, strlen(since), &since_ms);
    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    buffer_append_text(out, "{\"node\":");
    doc_write_json_string(out, service->config->node, strlen(service->config->node));
    buffer_append_format(out, ",\"step_ms\":%d,\"columns\":[", STEP_MS);
    for (size_t i = 0; i < COLUMNS; i++)
        buffer_append_format(out, "%s\"%s\"", i > 0 ? "," : "", column_names[i]);
    buffer_append_text(out, "],\"samples\":[");
    append_samples(service->history, out, (double)since_ms);
    buffer_append_format(out, "],\"limits\":{\"memory_bytes\":%llu,\"disk_bytes\":",
                         (unsigned long long)service->config->memory_max_bytes);
    if (disk > 0)
        buffer_append_format(out, "%llu}}", (unsigned long long)disk);
    else
        buffer_append_text(out, "null}}");
}
