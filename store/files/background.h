/* A store's background thread: what appends and readers should not wait for.
 *
 *     zeros    ahead of the appender (store/log_preallocator.c)
 *     garbage  unlinking what was dropped, taking log files back (store/collect.c)
 *
 * It sleeps on a condition until somebody wakes it, then does the work of every member once.
 *
 * Stores with logs of one step and less have none (there is nothing to be gained), so that tests
 * with a simulated disk stay single-threaded. */
#ifndef STORE_FILES_BACKGROUND_H
#define STORE_FILES_BACKGROUND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct background;

/* One shard's work. It lies in the shard. */
struct background_member {
    struct background_member *next;
    void (*work)(struct background_member *member);
};

/** NULL when no thread can be had: appends do without. */
struct background *background_start(void);
/** Waits for the thread. All members must have been removed. `background` may be NULL, here and
 * below. */
void background_stop(struct background *background);

void background_add(struct background *background, struct background_member *member);
/** Waits while the thread is at work on the member. */
void background_remove(struct background *background, struct background_member *member);
/** There is something to do. Any thread, under any lock: a flag, and a signal when it was not set.
 */
void background_wake(struct background *background);

/* Garbage: objects that nobody refers to any more, until they are collected (store/collect.c). The last
 * reader to leave only puts an object on this list, so that a search never pays for an unlink or an
 * unmap. */

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
