#include "indexer/query/top.h"
#include "base/bytes.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Negative when a ranks before b. Rows of one id in two shards are told apart by the shard, so that
 * the order does not depend on who came first. */
static int rank_compare(const struct top_entry *a, const struct top_entry *b)
{
    int order = (a->order < b->order) - (a->order > b->order);

    if (order == 0)
        order = bytes_compare(a->key, a->key_bytes, b->key, b->key_bytes);
    if (order == 0)
        order = (a->shard > b->shard) - (a->shard < b->shard);
    return order;
}

static int sort_compare(const void *a, const void *b)
{
    return rank_compare(a, b);
}

void query_top_start(struct top *top, size_t limit, struct arena *arena)
{
    *top = (struct top){.entries = arena_calloc(arena, limit + 1, sizeof(*top->entries)),
                        .limit = limit};
    assert(top->entries);
}

/* Moves a hole down from the root until `entry` fits: every parent ranks after its children. */
static void sift_down(struct top *top, const struct top_entry *entry)
{
    size_t hole = 0;

    for (size_t child; (child = hole * 2 + 1) < top->count; hole = child) {
        if (child + 1 < top->count &&
            rank_compare(&top->entries[child], &top->entries[child + 1]) < 0)
            child++;
        if (rank_compare(entry, &top->entries[child]) >= 0)
            break;
        top->entries[hole] = top->entries[child];
    }
    top->entries[hole] = *entry;
}

static void sift_up(struct top *top, const struct top_entry *entry)
{
    size_t hole = top->count++;

    for (; hole > 0; hole = (hole - 1) / 2) {
        if (rank_compare(&top->entries[(hole - 1) / 2], entry) >= 0)
            break;
        top->entries[hole] = top->entries[(hole - 1) / 2];
    }
    top->entries[hole] = *entry;
}

bool query_top_offer(struct top *top, const struct top_entry *entry)
{
    if (top->limit == 0)
        return false;
    if (top->count < top->limit) {
        sift_up(top, entry);
        return true;
    }
    if (rank_compare(entry, &top->entries[0]) >= 0)
        return false;
    sift_down(top, entry);
    return true;
}

double query_top_floor(const struct top *top)
{
    return top->count == top->limit && top->limit > 0 ? top->entries[0].order : -INFINITY;
}

void query_top_sort(struct top *top)
{
    if (top->count > 1)
        qsort(top->entries, top->count, sizeof(*top->entries), sort_compare);
}
