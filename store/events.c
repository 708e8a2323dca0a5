/* Waits and listeners of a store. The race that events.h describes, in this file's terms:
 *
 *     waiting thread             notifying thread
 *     waiting + 1                makes `met` true
 *     lock, met?, sleep          waiting == 0? return
 *                                lock, broadcast
 *
 * If the notifier reads 0, its change came before the count in the one order of all sequentially
 * consistent operations, and the waiting thread's look sees it. Otherwise it broadcasts under the
 * lock, which the waiting thread holds from its look until it sleeps.
 *
 * Listeners are called under a read lock: many at a time, and removal waits for all of them. */
#include "store/events.h"

#include <stdlib.h>

#include "base/thread.h"
#include "store/listen.h"

void events_create(struct store_events *events, struct io *io)
{
    *events = (struct store_events){.io = io};
    if (pthread_mutex_init(&events->lock, NULL) != 0 ||
        pthread_rwlock_init(&events->listeners_lock, NULL) != 0)
        abort();
    thread_condition_create(&events->happened);
}

void events_destroy(struct store_events *events)
{
    pthread_rwlock_destroy(&events->listeners_lock);
    pthread_cond_destroy(&events->happened);
    pthread_mutex_destroy(&events->lock);
}

void events_notify(struct store_events *events)
{
    if (atomic_load(&events->waiting) == 0)
        return;
    pthread_mutex_lock(&events->lock);
    pthread_cond_broadcast(&events->happened);
    pthread_mutex_unlock(&events->lock);
}

void events_room(struct store_events *events)
{
    atomic_fetch_add(&events->room, 1);
    events_notify(events);
    pthread_rwlock_rdlock(&events->listeners_lock);
    for (struct store_listener *listener = events->listeners; listener; listener = listener->next)
        if (listener->room)
            listener->room(listener->context);
    pthread_rwlock_unlock(&events->listeners_lock);
}

int events_wait(struct store_events *events, events_condition met, const void *context,
                int64_t deadline_ns, const atomic_bool *cancel, struct error *error)
{
    int64_t left_ns = INT64_MAX;
    int code = 0;

    if (met(context))
        return 0;
    atomic_fetch_add(&events->waiting, 1);
    pthread_mutex_lock(&events->lock);
    while (code == 0 && !met(context)) {
        if (cancel && atomic_load(cancel)) {
            code = error_set(error, ERROR_CANCELLED, "the wait was cancelled");
        } else if (deadline_ns != INT64_MAX &&
                   (left_ns = deadline_ns - io_monotonic_ns(events->io)) <= 0) {
            code = error_set(error, ERROR_TIMEOUT, "the wait took too long");
        } else {
            /* The deadline is of the store's clock, which a test may simulate. */
            (void)thread_condition_wait(&events->happened, &events->lock, thread_deadline(left_ns));
        }
    }
    pthread_mutex_unlock(&events->lock);
    atomic_fetch_sub(&events->waiting, 1);
    return code;
}

void events_tell(struct store_events *events, struct store_shard *shard, bool appended,
                 bool windows_changed, bool flush_due)
{
    /* Under the read lock: a listener that has been removed is not called any more. */
    pthread_rwlock_rdlock(&events->listeners_lock);
    for (struct store_listener *listener = events->listeners; listener; listener = listener->next) {
        if (appended && listener->appended)
            listener->appended(listener->context, shard);
        if (windows_changed && listener->windows_changed)
            listener->windows_changed(listener->context, shard);
        if (flush_due && listener->flush_due)
            listener->flush_due(listener->context, shard);
    }
    pthread_rwlock_unlock(&events->listeners_lock);
}

void events_listen(struct store_events *events, struct store_listener *listener)
{
    pthread_rwlock_wrlock(&events->listeners_lock);
    listener->next = events->listeners;
    events->listeners = listener;
    pthread_rwlock_unlock(&events->listeners_lock);
}

void events_unlisten(struct store_events *events, struct store_listener *listener)
{
    struct store_listener **link = &events->listeners;

    pthread_rwlock_wrlock(&events->listeners_lock);
    while (*link && *link != listener)
        link = &(*link)->next;
    if (*link)
        *link = listener->next;
    pthread_rwlock_unlock(&events->listeners_lock);
}
