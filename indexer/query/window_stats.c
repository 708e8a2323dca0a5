/* Which windows an operation searched, pruned, and found unsealed rows in. */
#include "indexer/query/view.h"
#include "store/snapshot.h"

#include <stdlib.h>

enum { MEMTABLE_WINDOWS = 64 /* of all shards; more are not counted */ };

struct window_entry {
    size_t shard;
    int64_t start_ms;
    bool table; /* a chunk or run holds rows of it */
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
    stats->entries = arena_calloc(arena, most + MEMTABLE_WINDOWS, sizeof(*stats->entries));
    stats->count = stats->memtable_windows = 0;
    stats->room = most + MEMTABLE_WINDOWS;
}

static struct window_entry *new_entry(struct window_stats *stats, size_t shard, int64_t start_ms)
{
    struct window_entry *entry;

    if (stats->count == stats->room)
        return NULL;
    entry = &stats->entries[stats->count++];
    *entry = (struct window_entry){.shard = shard, .start_ms = start_ms};
    return entry;
}

/* Tables of one window follow one another. A memtable may hold rows of it, too: entries of equal
 * windows are brought together at the end. */
static struct window_entry *table_entry(struct window_stats *stats, size_t shard, int64_t start_ms)
{
    struct window_entry *last = stats->count > 0 ? &stats->entries[stats->count - 1] : NULL;

    return last && last->table && last->shard == shard && last->start_ms == start_ms
               ? last
               : new_entry(stats, shard, start_ms);
}

/* Rows of many windows take turns in a memtable. It has few windows, and they come before those of
 * the shard's tables. */
static struct window_entry *memtable_entry(struct window_stats *stats, size_t shard,
                                           int64_t start_ms)
{
    struct window_entry *entry;

    for (size_t i = stats->count; i > 0; i--) {
        entry = &stats->entries[i - 1];
        if (entry->shard != shard)
            break;
        if (entry->start_ms == start_ms)
            return entry;
    }
    if (stats->memtable_windows == MEMTABLE_WINDOWS)
        return NULL;
    entry = new_entry(stats, shard, start_ms);
    stats->memtable_windows += entry != NULL;
    return entry;
}

void query_window_stats_table(struct window_stats *stats, size_t shard,
                              const struct store_source *source, bool searched)
{
    struct window_entry *entry = table_entry(stats, shard, source->window_start_ms);

    if (!entry)
        return;
    entry->table = true;
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
        entry = memtable_entry(stats, shard, start_ms);
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

static int compare_windows(const void *a, const void *b)
{
    const struct window_entry *left = a, *right = b;

    if (left->shard != right->shard)
        return left->shard < right->shard ? -1 : 1;
    return (left->start_ms > right->start_ms) - (left->start_ms < right->start_ms);
}

/* Brings entries of one window together. */
static void merge_windows(struct window_stats *stats)
{
    size_t kept = 0;

    qsort(stats->entries, stats->count, sizeof(*stats->entries), compare_windows);
    for (size_t i = 1; i < stats->count; i++) {
        struct window_entry *last = &stats->entries[kept], *next = &stats->entries[i];
        if (compare_windows(last, next) != 0) {
            stats->entries[++kept] = *next;
            continue;
        }
        last->table |= next->table;
        last->searched |= next->searched;
        last->live |= next->live;
    }
    stats->count = kept + 1;
}

void query_window_stats_finish(struct window_stats *stats, struct query_result *result)
{
    if (stats->memtable_windows > 0)
        merge_windows(stats);
    for (size_t i = 0; i < stats->count; i++) {
        const struct window_entry *entry = &stats->entries[i];
        result->windows_searched += entry->table && entry->searched;
        result->windows_pruned += entry->table && !entry->searched;
        result->windows_live += entry->live;
    }
}
