/* Garbage: objects that nobody refers to any more, until they are collected (collect.h).
 *
 * The last reader to leave only puts an object on this list, so that a search never pays for an
 * unlink or an unmap. */
#ifndef STORE_GARBAGE_H
#define STORE_GARBAGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct background;

enum garbage_kind { GARBAGE_SSTABLE, GARBAGE_ATTACHMENT, GARBAGE_LOG };

/* The first member of what can become garbage. */
struct garbage_item {
    struct garbage_item *next;
    enum garbage_kind kind;
};

/* One a shard. */
struct garbage {
    struct background *background; /* collects; may be NULL */
    pthread_mutex_t lock;          /* guards `items`; a leaf */
    struct garbage_item *items;
    pthread_mutex_t collect_lock; /* one collector at a time */
    _Atomic bool closing;         /* log files are closed, not taken back */
};

void garbage_create(struct garbage *garbage, struct background *background);
void garbage_destroy(struct garbage *garbage);

/** Nobody refers to the item any more. Any thread, under any lock. */
void garbage_add(struct garbage *garbage, struct garbage_item *item);
/** Takes the list as it is. */
struct garbage_item *garbage_take(struct garbage *garbage);

#endif
