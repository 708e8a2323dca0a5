/* Which windows an operation searched, pruned, and found unsealed rows in. */
#include "indexer/query/view.h"
#include "store/snapshot.h"

struct window_entry {
    size_t shard;
    int64_t start_ms;
    int64_t length_ms; /* 0: known from memtable rows only */
    bool table;        /* a chunk or run holds rows of it */
    bool searched;
    bool live; /* unsealed rows */
};

void query_window_stats_start(struct window_stats *stats, const struct query_view *view,
                              struct arena *arena)
{
    size_t most = 0;

    for (size_t i = 0; i < view->shard_count; i++)
        most += view->shards[i].source_count;
    /* A memtable may touch more windows than there are sources; past the room only the count of
     * live windows is short. */
    stats->entries = arena_calloc(arena, most + 64, sizeof(*stats->entries));
    stats->count = 0;
    stats->room = most + 64;
}

/* Sources of one window follow one another, so the last entry is nearly always the one. */
static struct window_entry *entry_for(struct window_stats *stats, size_t shard, int64_t start_ms)
{
    struct window_entry *entry;

    for (size_t i = stats->count; i > 0; i--) {
        entry = &stats->entries[i - 1];
        if (entry->shard == shard && entry->start_ms == start_ms)
            return entry;
    }
    if (stats->count == stats->room)
        return NULL;
    entry = &stats->entries[stats->count++];
    *entry = (struct window_entry){.shard = shard, .start_ms = start_ms};
    return entry;
}

void query_window_stats_table(struct window_stats *stats, size_t shard,
                              const struct store_source *source, bool searched)
{
    struct window_entry *entry = entry_for(stats, shard, source->window_start_ms);

    if (!entry)
        return;
    entry->table = true;
    entry->length_ms = source->window_length_ms;
    entry->searched = entry->searched || searched;
    entry->live = entry->live || !source->sealed;
}

void query_window_stats_memtable(struct window_stats *stats, const struct query_view *view,
                                 size_t shard, const struct store_source *source, int64_t from_ms,
                                 int64_t to_ms)
{
    struct query_row row = query_view_row(view, shard, source, 0);
    int64_t start_ms = INT64_MAX;
    int64_t end_ms = INT64_MIN;

    for (; row.row < source->row_count; row.row++) {
        int64_t time_ms = store_row_event_time_ms(source, row.row);
        struct window_entry *entry;
        if ((time_ms >= start_ms && time_ms < end_ms) || time_ms < from_ms || time_ms >= to_ms ||
            !store_row_visible(row.snapshot, source, row.row))
            continue;
        start_ms = query_row_window_ms(&row);
        end_ms = start_ms + row.window_ms;
        entry = entry_for(stats, shard, start_ms);
        if (row.window_ms <= 0) {
            start_ms = INT64_MIN;
            end_ms = INT64_MAX;
        }
        if (entry)
            entry->live = true;
        /* One window only, as nearly always: no need to look at the other rows. */
        if (source->min_event_ms >= start_ms && source->max_event_ms < end_ms)
            return;
    }
}

void query_window_stats_finish(const struct window_stats *stats, struct query_result *result)
{
    for (size_t i = 0; i < stats->count; i++) {
        const struct window_entry *entry = &stats->entries[i];
        result->windows_searched += entry->table && entry->searched;
        result->windows_pruned += entry->table && !entry->searched;
        result->windows_live += entry->live;
    }
}
