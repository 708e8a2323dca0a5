/* A skip list with one writer and any number of readers, over an arena that is never freed before
 * the memtable. A node is filled before the pointer to it is released, and nodes are never
 * unlinked: a reader follows what it sees and always comes to the end. Levels are linked from the
 * lowest up, so that a node that is found above is there below. */
#include "store/skiplist.h"
#include "base/bytes.h"

#include <assert.h>
#include <string.h>

/* Shorter keys are padded with zeros: equal prefixes are told apart by the full comparison. */
static uint64_t key_prefix(const uint8_t *key, size_t key_bytes)
{
    uint64_t prefix = 0;

    memcpy(&prefix, key, key_bytes < sizeof(prefix) ? key_bytes : sizeof(prefix));
    return __builtin_bswap64(prefix);
}

static int compare_node(const struct skiplist_node *node, uint64_t prefix, const uint8_t *key,
                        size_t key_bytes)
{
    if (node->prefix != prefix)
        return node->prefix < prefix ? -1 : 1;
    return bytes_compare(node->key, node->key_bytes, key, key_bytes);
}

static struct skiplist_node *node_new(struct arena *arena, uint16_t height)
{
    struct skiplist_node *node =
        arena_alloc(arena, sizeof(*node) + height * sizeof(node->next[0]), _Alignof(max_align_t));

    assert(node); /* the memtable's arena has no limit */
    memset(node, 0, sizeof(*node));
    node->height = height;
    for (uint16_t level = 0; level < height; level++)
        atomic_init(&node->next[level], NULL);
    return node;
}

void skiplist_create(struct skiplist *list, struct arena *arena, uint64_t seed)
{
    list->arena = arena;
    list->head = node_new(arena, SKIPLIST_MAX_HEIGHT);
    list->random = seed | 1;
}

/* Heights must not follow from keys: a producer that chooses keys could make a linear list. */
static uint16_t random_height(struct skiplist *list)
{
    uint16_t height = 1;
    uint64_t bits;

    list->random ^= list->random << 13;
    list->random ^= list->random >> 7;
    list->random ^= list->random << 17;
    bits = list->random >> 16;
    while (height < SKIPLIST_MAX_HEIGHT && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

/* Descends to the first node >= key; before[] gets the last smaller node of each level. */
static struct skiplist_node *descend(const struct skiplist *list, const uint8_t *key,
                                     size_t key_bytes, struct skiplist_node **before)
{
    uint64_t prefix = key_prefix(key, key_bytes);
    struct skiplist_node *node = list->head;
    struct skiplist_node *next = NULL;
    struct skiplist_node *known = NULL; /* compared a level above: not smaller than the key */

    for (int level = SKIPLIST_MAX_HEIGHT - 1; level >= 0; level--) {
        for (;;) {
            next = atomic_load_explicit(&node->next[level], memory_order_acquire);
            if (!next || next == known || compare_node(next, prefix, key, key_bytes) >= 0)
                break;
            node = next;
        }
        known = next;
        if (before)
            before[level] = node;
    }
    return next;
}

struct skiplist_node *skiplist_seek(const struct skiplist *list, const uint8_t *key,
                                    size_t key_bytes)
{
    if (!key)
        return atomic_load_explicit(&list->head->next[0], memory_order_acquire);
    return descend(list, key, key_bytes, NULL);
}

struct skiplist_node *skiplist_find(const struct skiplist *list, const uint8_t *key,
                                    size_t key_bytes)
{
    struct skiplist_node *node = descend(list, key, key_bytes, NULL);

    if (!node || bytes_compare(node->key, node->key_bytes, key, key_bytes) != 0)
        return NULL;
    return node;
}

struct skiplist_node *skiplist_next(const struct skiplist_node *node)
{
    return atomic_load_explicit(&node->next[0], memory_order_acquire);
}

struct skiplist_node *skiplist_insert(struct skiplist *list, const uint8_t *key, uint16_t key_bytes,
                                      uint32_t row, bool *inserted)
{
    struct skiplist_node *before[SKIPLIST_MAX_HEIGHT];
    struct skiplist_node *node = descend(list, key, key_bytes, before);

    *inserted = false;
    if (node && bytes_compare(node->key, node->key_bytes, key, key_bytes) == 0)
        return node;

    node = node_new(list->arena, random_height(list));
    node->key = key;
    node->key_bytes = key_bytes;
    node->prefix = key_prefix(key, key_bytes);
    atomic_init(&node->newest, row);
    for (uint16_t level = 0; level < node->height; level++)
        atomic_init(&node->next[level],
                    atomic_load_explicit(&before[level]->next[level], memory_order_relaxed));
    for (uint16_t level = 0; level < node->height; level++)
        atomic_store_explicit(&before[level]->next[level], node, memory_order_release);
    *inserted = true;
    return node;
}
