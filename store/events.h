/* Who is told what happens in a store, and who waits for it.
 *
 *     listeners  functions that are called: a flush is due, the windows of a shard changed
 *     waits      threads that sleep on one condition: for an offset, for room, for the last
 *                snapshot
 *
 * What happens often (an append) looks at a count of waiting threads and does nothing more when it
 * is 0. The race: a waiting thread first raises the count, then takes the lock, then looks at what
 * it waits for. Whoever changes that first changes it, then looks at the count. With sequentially
 * consistent atomics one of the two sees the other; the notifier takes the lock, so that its signal
 * cannot come between the waiting thread's look and its sleep.
 *
 * One condition serves the whole store: waits are few and short, and a thread that is woken for
 * nothing sleeps again. */
#ifndef STORE_EVENTS_H
#define STORE_EVENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"

struct store_listener;
struct store_shard;

struct store_events {
    struct io *io;        /* whose clock deadlines are of */
    pthread_mutex_t lock; /* a leaf: taken under any other lock of the store */
    pthread_cond_t happened;
    _Atomic uint32_t waiting;
    _Atomic uint64_t room; /* counts the times that appends may have got room */
    pthread_rwlock_t listeners_lock;
    struct store_listener *listeners;
};

void events_create(struct store_events *events, struct io *io);
void events_destroy(struct store_events *events);

/** Wakes every thread that waits. Nearly free when there is none. */
void events_notify(struct store_events *events);
/** What made appends ERROR_BUSY may be over. Any thread, under any lock. */
void events_room(struct store_events *events);

void events_listen(struct store_events *events, struct store_listener *listener);
/** Waits for calls under way. */
void events_unlisten(struct store_events *events, struct store_listener *listener);
/** Calls the listeners. Under no lock of the store. */
void events_tell(struct store_events *events, struct store_shard *shard, bool appended,
                 bool windows_changed, bool flush_due);

/* What a thread waits for. */
typedef bool (*events_condition)(const void *context);

/** Sleeps until `met`, the deadline (io_monotonic_ns; INT64_MAX: none) or a cancellation:
 * ERROR_TIMEOUT, ERROR_CANCELLED. `cancel` may be NULL; whoever sets it calls events_notify. */
int events_wait(struct store_events *events, events_condition met, const void *context,
                int64_t deadline_ns, const atomic_bool *cancel, struct error *error);

#endif
