#include "store/shard_metrics.h"

static struct metric *counter(const struct shard_metrics *metrics, const char *name,
                              const char *help, const char *kind)
{
    struct metric_label labels[] = {
        {"collection", metrics->collection}, {"shard", metrics->shard}, {"kind", kind}};

    return metrics_counter(metrics->registry, name, help, labels, kind ? 3 : 2);
}

static struct metric *stall_counter(const struct shard_metrics *metrics, const char *cause)
{
    struct metric_label labels[] = {
        {"collection", metrics->collection}, {"shard", metrics->shard}, {"cause", cause}};

    return metrics_counter(metrics->registry, "windrow_write_stall_seconds_total",
                           "Time that appends waited, by cause", labels, 3);
}

static struct metric *gauge(const struct shard_metrics *metrics, const char *name, const char *help)
{
    struct metric_label labels[] = {{"collection", metrics->collection}, {"shard", metrics->shard}};

    return metrics_gauge(metrics->registry, name, help, labels, 2);
}

struct metric *shard_metrics_drops(const struct shard_metrics *metrics, const char *cause)
{
    struct metric_label labels[] = {
        {"collection", metrics->collection}, {"shard", metrics->shard}, {"cause", cause}};

    return metrics_counter(metrics->registry, "windrow_window_drops_total", "Windows dropped whole",
                           labels, 3);
}

void shard_metrics_create(struct shard_metrics *metrics, struct metrics *registry,
                          const char *collection, const char *shard)
{
    static const char *const bytes_name = "windrow_lsm_bytes_written_total";
    static const char *const bytes_help = "Bytes written to the device, by kind of file";
    struct metric_label labels[] = {{"collection", collection}, {"shard", shard}};

    *metrics =
        (struct shard_metrics){.registry = registry, .collection = collection, .shard = shard};
    /* From 0 on: rate() does not see the step of a series that begins with its first event. */
    (void)shard_metrics_drops(metrics, "ttl");
    (void)shard_metrics_drops(metrics, "fifo");
    metrics->bytes_log = counter(metrics, bytes_name, bytes_help, "log");
    metrics->bytes_chunk = counter(metrics, bytes_name, bytes_help, "chunk");
    metrics->bytes_run = counter(metrics, bytes_name, bytes_help, "run");
    metrics->bytes_mask = counter(metrics, bytes_name, bytes_help, "mask");
    metrics->bytes_manifest = counter(metrics, bytes_name, bytes_help, "manifest");
    metrics->user_bytes = counter(metrics, "windrow_lsm_user_bytes_total",
                                  "Bytes of keys, payloads and vectors appended", NULL);
    metrics->stall_memory_seconds = stall_counter(metrics, "memory");
    metrics->stall_compaction_seconds = stall_counter(metrics, "compaction");
    metrics->stall_held_seconds = stall_counter(metrics, "held");
    metrics->stall_cap_seconds = stall_counter(metrics, "cap");
    metrics->lookups = counter(metrics, "windrow_lsm_lookups_total", "Point lookups", NULL);
    metrics->lookup_reads = counter(metrics, "windrow_lsm_lookup_reads_total",
                                    "Tables that point lookups had to search", NULL);
    metrics->fsync_seconds = metrics_histogram(metrics->registry, "windrow_fsync_seconds",
                                               "Time to make a group of records durable", labels, 2,
                                               metrics_seconds_bounds, metrics_seconds_bound_count);
    metrics->memtable_bytes = gauge(metrics, "windrow_lsm_memtable_size_bytes",
                                    "Memory of the memtable that takes appends");
    metrics->tables = gauge(metrics, "windrow_lsm_sstables", "Chunks and runs");
    metrics->compactions = gauge(metrics, "windrow_lsm_compaction_running", "Merges under way");
    metrics->write_amplification =
        gauge(metrics, "windrow_lsm_write_amplification_ratio",
              "Bytes written to the device for each byte appended, since the start");
    metrics->space_amplification = gauge(metrics, "windrow_lsm_space_amplification_ratio",
                                         "Bytes on the device for each byte of living rows");
}

void shard_metrics_remove(struct shard_metrics *metrics)
{
    struct metric *const series[] = {
        metrics->bytes_log,
        metrics->bytes_chunk,
        metrics->bytes_run,
        metrics->bytes_mask,
        metrics->bytes_manifest,
        metrics->user_bytes,
        metrics->stall_memory_seconds,
        metrics->stall_compaction_seconds,
        metrics->stall_held_seconds,
        metrics->stall_cap_seconds,
        metrics->lookups,
        metrics->lookup_reads,
        metrics->fsync_seconds,
        metrics->memtable_bytes,
        metrics->tables,
        metrics->compactions,
        metrics->write_amplification,
        metrics->space_amplification,
    };

    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
        if (series[i])
            metrics_remove(metrics->registry, series[i]);
}
