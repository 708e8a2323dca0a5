/* top: the best k rows found so far, shared by all sources of a search.
 *
 * Order is a double so that decayed scores neither collide nor underflow; equal orders rank by id.
 * The order of the k-th best is the floor that the other sources have to beat. */
#ifndef INDEXER_QUERY_TOP_H
#define INDEXER_QUERY_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct store_source;

struct top_entry {
    double order; /* higher is better */
    float score;  /* as the user sees it */
    uint32_t row;
    uint32_t shard; /* of the view */
    const struct store_source *source;
    const uint8_t *key;
    size_t key_bytes;
};

struct top {
    struct top_entry *entries; /* a heap, the worst at the root, until sorted */
    size_t count, limit;
};

/** Room for `limit` entries in `arena`. */
void query_top_start(struct top *top, size_t limit, struct arena *arena);
/** Takes the entry if it is among the best; returns whether. */
bool query_top_offer(struct top *top, const struct top_entry *entry);
/** Order of the k-th best; -INFINITY while there are fewer. */
double query_top_floor(const struct top *top);
/** Sorts best first; nothing may be offered afterwards. */
void query_top_sort(struct top *top);

#endif
