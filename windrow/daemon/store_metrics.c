/* What the store holds, by collection: windows, rows, bytes on the disk, levels, and the work that
 * compaction is behind with. Shards of a collection are summed: what is looked at by shard is in
 * /status. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/query/query.h"
#include "indexer/worker/worker.h"
#include "store/lease.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/telemetry.h"

static const char *const states[] = {"open", "sealing", "sealed", "indexed"};

enum { STATE_COUNT = sizeof(states) / sizeof(states[0]) };

struct sums {
    uint64_t windows[STATE_COUNT];
    uint64_t bytes[STORE_BYTES_COUNT];
    uint64_t level_files[TWCS_LEVEL_COUNT];
    uint64_t segment_bytes[SEGMENT_KIND_COUNT];
    uint64_t rows, live_rows, indexed_rows;
    uint64_t spans[STORE_SPAN_TIERS], span_bytes[STORE_SPAN_TIERS], span_rows[STORE_SPAN_TIERS];
    uint64_t immutable_memtables, damaged_windows, pending_bytes;
    int64_t lag_ms;
};

static void add_file(struct sums *sums, const struct store_file_info *file)
{
    sums->rows += file->rows;
    if (file->segment.file_number == 0)
        return;
    sums->indexed_rows += file->rows - file->dead_rows;
    sums->segment_bytes[file->segment.kind] += file->segment.bytes;
}

static void add_window(struct sums *sums, const struct store_window_info *window)
{
    const char *state = store_window_state(window);

    for (size_t i = 0; i < STATE_COUNT; i++)
        sums->windows[i] += strcmp(states[i], state) == 0;
    sums->live_rows += window->live_rows;
    sums->rows += window->memtable_rows;
    if (window->sealed)
        add_file(sums, &window->run);
    for (size_t i = 0; i < window->chunk_count; i++) {
        add_file(sums, &window->chunks[i]);
        sums->level_files[window->chunks[i].level]++;
    }
}

static void add_span(struct sums *sums, const struct store_span_info *span)
{
    sums->segment_bytes[span->segment.kind] += span->segment.bytes;
    sums->spans[span->tier - 1]++;
    sums->span_bytes[span->tier - 1] += span->segment.bytes;
    sums->span_rows[span->tier - 1] += span->live_rows;
}

static void add_shard(struct sums *sums, struct service *service, const struct store_lease *lease)
{
    struct compaction_debt debt;
    struct compaction_view view;
    struct arena arena;

    arena_create(&arena, 0);
    compaction_describe(lease->shard, store_lease_collection(lease), io_wall_ms(service->io),
                        &arena, &view);
    for (size_t i = 0; i < view.info.window_count; i++)
        add_window(sums, &view.info.windows[i]);
    for (size_t i = 0; i < view.info.span_count; i++)
        add_span(sums, &view.info.spans[i]);
    for (size_t i = 0; i < STORE_BYTES_COUNT; i++)
        sums->bytes[i] += view.info.bytes[i];
    sums->immutable_memtables += view.info.immutable_memtables;
    sums->damaged_windows += view.info.damage_count;
    compaction_debt(&view, &arena, &debt);
    sums->pending_bytes += debt.pending_bytes;
    if (debt.lag_ms > sums->lag_ms)
        sums->lag_ms = debt.lag_ms;
    arena_destroy(&arena);
}

static void set(struct metrics *metrics, const char *collection, const char *name, const char *help,
                double value)
{
    const struct metric_label labels[] = {{"collection", collection}};

    metric_set(metrics_gauge(metrics, name, help, labels, collection ? 1 : 0), value);
}

static void set_kind(struct metrics *metrics, const char *collection, const char *name,
                     const char *help, const char *label, const char *value, uint64_t number)
{
    const struct metric_label labels[] = {{"collection", collection}, {label, value}};

    metric_set(metrics_gauge(metrics, name, help, labels, 2), (double)number);
}

static void publish_kinds(struct metrics *metrics, const char *name, const struct sums *sums)
{
    for (size_t i = 0; i < STATE_COUNT; i++)
        set_kind(metrics, name, "windrow_windows", "Windows by state", "state", states[i],
                 sums->windows[i]);
    for (enum store_bytes_kind kind = 0; kind < STORE_BYTES_COUNT; kind++)
        set_kind(metrics, name, "windrow_disk_bytes", "Bytes of files, by kind", "kind",
                 store_bytes_kind_name(kind), sums->bytes[kind]);
    for (enum segment_kind kind = SEGMENT_FLAT; kind <= SEGMENT_IVF_PQ; kind++)
        set_kind(metrics, name, "windrow_index_segment_bytes", "Bytes of index segments, by kind",
                 "kind", segment_kind_name(kind), sums->segment_bytes[kind]);
    for (unsigned level = 0; level < TWCS_LEVEL_COUNT; level++) {
        char text[8];
        snprintf(text, sizeof(text), "%u", level);
        set_kind(metrics, name, "windrow_lsm_level_files", "Unsealed files, by level", "level",
                 text, sums->level_files[level]);
    }
}

static void publish_spans(struct metrics *metrics, const char *name, const struct sums *sums)
{
    for (size_t i = 0; i < STORE_SPAN_TIERS; i++) {
        char tier[8];
        snprintf(tier, sizeof(tier), "%zu", i + 1);
        set_kind(metrics, name, "windrow_index_spans", "Segments over several windows, by tier",
                 "tier", tier, sums->spans[i]);
        set_kind(metrics, name, "windrow_index_span_bytes",
                 "Bytes of segments over several windows, by tier", "tier", tier,
                 sums->span_bytes[i]);
        set_kind(metrics, name, "windrow_index_span_rows",
                 "Rows in segments over several windows whose window is still there, by tier",
                 "tier", tier, sums->span_rows[i]);
    }
}

static void publish(struct metrics *metrics, const struct config_collection *collection,
                    const struct sums *sums)
{
    const char *name = collection->name;

    set(metrics, name, "windrow_collection_refused",
        "1 while nobody reads or writes the collection, because stored records contradict its "
        "settings",
        collection->refused ? 1 : 0);
    publish_kinds(metrics, name, sums);
    publish_spans(metrics, name, sums);
    if (collection->max_bytes > 0)
        set(metrics, name, "windrow_disk_max_bytes", "The collection's max_bytes",
            (double)collection->max_bytes);
    set(metrics, name, "windrow_live_rows", "Rows that no later version hides",
        (double)sums->live_rows);
    set(metrics, name, "windrow_dead_rows",
        "Rows that a later version or a delete hides, until a merge leaves them out",
        sums->rows > sums->live_rows ? (double)(sums->rows - sums->live_rows) : 0);
    set(metrics, name, "windrow_index_rows", "Rows that searches find through a segment",
        (double)sums->indexed_rows);
    set(metrics, name, "windrow_lsm_immutable_memtables", "Full memtables that wait for a flush",
        (double)sums->immutable_memtables);
    set(metrics, name, "windrow_damaged_windows", "Windows left out of answers: damaged files",
        (double)sums->damaged_windows);
    set(metrics, name, "windrow_compaction_pending_bytes",
        "Bytes of files that compactions have to read which are due or under way",
        (double)sums->pending_bytes);
    set(metrics, name, "windrow_compaction_lag_seconds",
        "Event time since the oldest window that is not sealed should have been",
        (double)sums->lag_ms * 1e-3);
}

static void publish_collection(struct service *service, const struct config_collection *collection)
{
    struct sums sums = {.lag_ms = 0};
    struct store_lease *leases;
    struct arena arena;
    size_t count;

    /* Counters are there before their first event: increase() does not see the step of a series that
     * begins with it. */
    worker_metrics_begin(service->metrics, collection->name);
    (void)compaction_seal_seconds(service->metrics, collection->name);
    arena_create(&arena, 0);
    count = store_registry_acquire(service->registry, collection->name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        add_shard(&sums, service, &leases[i]);
        store_registry_release(service->registry, &leases[i]);
    }
    arena_destroy(&arena);
    publish(service->metrics, collection, &sums);
}

static void memory(struct metrics *metrics, const char *kind, uint64_t bytes)
{
    const struct metric_label labels[] = {{"kind", kind}};

    metric_set(metrics_gauge(metrics, "windrow_memory_bytes",
                             "Memory of the store and its caches, by kind", labels, 1),
               (double)bytes);
}

static void publish_memory(struct service *service)
{
    struct metrics *metrics = service->metrics;
    struct query_columns_info columns;
    struct store_memory_info info;

    store_memory_describe(service->store, &info);
    query_columns_describe(&columns);
    memory(metrics, "memtables", info.memtable_bytes);
    memory(metrics, "buffers", info.buffer_bytes);
    memory(metrics, "decoded_blocks", info.decoded_bytes);
    memory(metrics, "columns", columns.bytes);
    memory(metrics, "columns_mapped", columns.mapped_bytes);
    memory(metrics, "recall_searches", query_recall_bytes());
    set(metrics, NULL, "windrow_memory_max_bytes",
        "store.memory_max_bytes: bound of memtables, buffers and decoded blocks",
        (double)info.max_bytes);
    metric_raise(metrics_counter(metrics, "windrow_column_hits_total",
                                 "Columns of payload fields that filters found in memory", NULL, 0),
                 (double)columns.hits);
    metric_raise(metrics_counter(metrics, "windrow_column_misses_total",
                                 "Columns of payload fields that filters did not find in memory",
                                 NULL, 0),
                 (double)columns.misses);
    metric_raise(metrics_counter(metrics, "windrow_column_builds_total",
                                 "Tables whose payloads were all read to make columns of them",
                                 NULL, 0),
                 (double)columns.passes);
    metric_raise(metrics_counter(metrics, "windrow_decoded_blocks_total",
                                 "Blocks of packed runs decoded for searches", NULL, 0),
                 (double)store_decoded_blocks());
    metric_raise(metrics_counter(metrics, "windrow_damaged_blocks_total",
                                 "How often a block of a file failed its checksum", NULL, 0),
                 (double)store_damaged_blocks());
}

static void refresh(void *context)
{
    struct service *service = context;

    for (size_t i = 0; i < service->config->collection_count; i++)
        if (!service->config->collections[i].removed)
            publish_collection(service, &service->config->collections[i]);
    publish_memory(service);
}

void store_metrics_register(struct service *service)
{
    metrics_on_render(service->metrics, refresh, service);
}
