#include "store/shard.h"

static struct metric *counter(struct store_shard *shard, const char *name, const char *help,
                              const char *kind)
{
    struct metric_label labels[] = {
        {"collection", shard->collection}, {"shard", shard->name}, {"kind", kind}};

    return metrics_counter(shard->store->metrics, name, help, labels, kind ? 3 : 2);
}

static struct metric *stall_counter(struct store_shard *shard, const char *cause)
{
    struct metric_label labels[] = {
        {"collection", shard->collection}, {"shard", shard->name}, {"cause", cause}};

    return metrics_counter(shard->store->metrics, "windrow_write_stall_seconds_total",
                           "Time from an append that had to wait to the next that did not, by what "
                           "it waited for",
                           labels, 3);
}

static struct metric *gauge(struct store_shard *shard, const char *name, const char *help)
{
    struct metric_label labels[] = {{"collection", shard->collection}, {"shard", shard->name}};

    return metrics_gauge(shard->store->metrics, name, help, labels, 2);
}

struct metric *shard_metrics_drops(struct store_shard *shard, const char *cause)
{
    struct metric_label labels[] = {
        {"collection", shard->collection}, {"shard", shard->name}, {"cause", cause}};

    return metrics_counter(shard->store->metrics, "windrow_window_drops_total",
                           "Windows dropped whole", labels, 3);
}

void shard_metrics_create(struct store_shard *shard)
{
    static const char *const bytes_name = "windrow_lsm_bytes_written_total";
    static const char *const bytes_help = "Bytes written to the device, by kind of file";
    struct metric_label labels[] = {{"collection", shard->collection}, {"shard", shard->name}};
    struct shard_metrics *metrics = &shard->metrics;

    /* From 0 on: rate() does not see the step of a series that begins with its first event. */
    (void)shard_metrics_drops(shard, "ttl");
    (void)shard_metrics_drops(shard, "fifo");
    metrics->bytes_log = counter(shard, bytes_name, bytes_help, "log");
    metrics->bytes_chunk = counter(shard, bytes_name, bytes_help, "chunk");
    metrics->bytes_run = counter(shard, bytes_name, bytes_help, "run");
    metrics->bytes_mask = counter(shard, bytes_name, bytes_help, "mask");
    metrics->bytes_manifest = counter(shard, bytes_name, bytes_help, "manifest");
    metrics->user_bytes = counter(shard, "windrow_lsm_user_bytes_total",
                                  "Bytes of keys, payloads and vectors appended", NULL);
    metrics->stall_memory_seconds = stall_counter(shard, "memory");
    metrics->stall_compaction_seconds = stall_counter(shard, "compaction");
    metrics->stall_held_seconds = stall_counter(shard, "held");
    metrics->stall_cap_seconds = stall_counter(shard, "cap");
    metrics->lookups = counter(shard, "windrow_lsm_lookups_total", "Point lookups", NULL);
    metrics->lookup_reads = counter(shard, "windrow_lsm_lookup_reads_total",
                                    "Tables that point lookups had to search", NULL);
    metrics->fsync_seconds = metrics_histogram(shard->store->metrics, "windrow_fsync_seconds",
                                               "Time to make a group of records durable", labels, 2,
                                               metrics_seconds_bounds, metrics_seconds_bound_count);
    metrics->memtable_bytes = gauge(shard, "windrow_lsm_memtable_size_bytes",
                                    "Memory of the memtable that takes appends");
    metrics->tables = gauge(shard, "windrow_lsm_sstables", "Chunks and runs");
    metrics->compactions = gauge(shard, "windrow_lsm_compaction_running", "Merges under way");
    metrics->write_amplification =
        gauge(shard, "windrow_lsm_write_amplification_ratio",
              "Bytes written to the device for each byte appended, since the start");
    metrics->space_amplification = gauge(shard, "windrow_lsm_space_amplification_ratio",
                                         "Bytes on the device for each byte of living rows");
}

void shard_metrics_remove(struct store_shard *shard)
{
    struct metric *const series[] = {
        shard->metrics.bytes_log,
        shard->metrics.bytes_chunk,
        shard->metrics.bytes_run,
        shard->metrics.bytes_mask,
        shard->metrics.bytes_manifest,
        shard->metrics.user_bytes,
        shard->metrics.stall_memory_seconds,
        shard->metrics.stall_compaction_seconds,
        shard->metrics.stall_held_seconds,
        shard->metrics.stall_cap_seconds,
        shard->metrics.lookups,
        shard->metrics.lookup_reads,
        shard->metrics.fsync_seconds,
        shard->metrics.memtable_bytes,
        shard->metrics.tables,
        shard->metrics.compactions,
        shard->metrics.write_amplification,
        shard->metrics.space_amplification,
    };

    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
        if (series[i])
            metrics_remove(shard->store->metrics, series[i]);
}
