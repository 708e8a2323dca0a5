/* A skip list over an arena: one writer, readers without locks (Pugh 1990). Nodes are never
 * removed. A node is complete before the release store that links it; readers follow links with
 * acquire loads, so they see whole nodes or none.
 *
 * A node stands for one key and holds the number of its newest row; older rows hang behind that one
 * (memtable.h). */
#ifndef STORE_SKIPLIST_H
#define STORE_SKIPLIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* With one node in four on the next level, 12 levels serve 16 million keys. */
enum { SKIPLIST_MAX_HEIGHT = 12 };

struct skiplist_node {
    const uint8_t *key;      /* not copied: lies in the log buffer */
    uint64_t prefix;         /* first 8 bytes, big-endian: most comparisons end here */
    _Atomic uint32_t newest; /* row number */
    uint16_t key_bytes;
    uint16_t height;
    _Atomic(struct skiplist_node *) next[]; /* height links */
};

struct skiplist {
    struct arena *arena;
    struct skiplist_node *head;
    uint64_t random;
};

void skiplist_create(struct skiplist *list, struct arena *arena, uint64_t seed);

/** The node of a key, or NULL. Any thread. */
struct skiplist_node *skiplist_find(const struct skiplist *list, const uint8_t *key,
                                    size_t key_bytes);
/** First node with a key >= `key` (NULL: the first of all), or NULL. Any thread. */
struct skiplist_node *skiplist_seek(const struct skiplist *list, const uint8_t *key,
                                    size_t key_bytes);
struct skiplist_node *skiplist_next(const struct skiplist_node *node);

/** The node of a key, made with `row` as its newest when there is none (`*inserted`). Writer only.
 */
struct skiplist_node *skiplist_insert(struct skiplist *list, const uint8_t *key, uint16_t key_bytes,
                                      uint32_t row, bool *inserted);

#endif
