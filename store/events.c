#include "store/events.h"

#include <stdlib.h>
#include <time.h>

#include "store/shard.h"

void events_create(struct store_events *events, struct io *io)
{
    pthread_condattr_t attributes;

    *events = (struct store_events){.io = io};
    if (pthread_condattr_init(&attributes) != 0 ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_mutex_init(&events->lock, NULL) != 0 ||
        pthread_cond_init(&events->happened, &attributes) != 0 ||
        pthread_rwlock_init(&events->listeners_lock, NULL) != 0)
        abort();
    pthread_condattr_destroy(&attributes);
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
}

/* When the system's clock shows what the store's (which a test may simulate) will at `deadline_ns`.
 */
static struct timespec system_deadline(struct store_events *events, int64_t deadline_ns)
{
    enum { NS_PER_S = 1000000000, FAR_S = 1000000 };
    int64_t left_ns = deadline_ns - io_monotonic_ns(events->io);
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    if (left_ns > (int64_t)FAR_S * NS_PER_S)
        left_ns = (int64_t)FAR_S * NS_PER_S;
    if (left_ns < 0)
        left_ns = 0;
    at.tv_sec += left_ns / NS_PER_S;
    at.tv_nsec += left_ns % NS_PER_S;
    if (at.tv_nsec >= NS_PER_S) {
        at.tv_sec++;
        at.tv_nsec -= NS_PER_S;
    }
    return at;
}

int events_wait(struct store_events *events, events_condition met, const void *context,
                int64_t deadline_ns, const atomic_bool *cancel, struct error *error)
{
    int code = 0;

    if (met(context))
        return 0;
    atomic_fetch_add(&events->waiting, 1);
    pthread_mutex_lock(&events->lock);
    while (code == 0 && !met(context)) {
        if (cancel && atomic_load(cancel)) {
            code = error_set(error, ERROR_CANCELLED, "the wait was cancelled");
        } else if (deadline_ns == INT64_MAX) {
            pthread_cond_wait(&events->happened, &events->lock);
        } else if (io_monotonic_ns(events->io) >= deadline_ns) {
            code = error_set(error, ERROR_TIMEOUT, "the wait took too long");
        } else {
            struct timespec until = system_deadline(events, deadline_ns);
            (void)pthread_cond_timedwait(&events->happened, &events->lock, &until);
        }
    }
    pthread_mutex_unlock(&events->lock);
    atomic_fetch_sub(&events->waiting, 1);
    return code;
}

/* Under the read lock: a listener that has been removed is not called any more. */
static void tell(struct store_shard *shard, bool flush_due, bool appended, bool windows_changed)
{
    struct store_events *events = &shard->store->events;

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

/* Memory that one shard takes may make another one due, which does not append itself. */
static bool memory_is_short(const struct store *store)
{
    return store_memory_used(store) > store->memory_max_bytes / 4 * 3;
}

void events_appended(struct store_shard *shard, bool visible)
{
    if (visible)
        events_notify(&shard->store->events);
    tell(shard, memory_is_short(shard->store) || store_shard_needs_flush(shard), visible, false);
}

void events_windows_changed(struct store_shard *shard)
{
    events_room(&shard->store->events);
    tell(shard, memory_is_short(shard->store) || store_shard_needs_flush(shard), false, true);
}

void store_listen(struct store *store, struct store_listener *listener)
{
    pthread_rwlock_wrlock(&store->events.listeners_lock);
    listener->next = store->events.listeners;
    store->events.listeners = listener;
    pthread_rwlock_unlock(&store->events.listeners_lock);
}

void store_unlisten(struct store *store, struct store_listener *listener)
{
    struct store_listener **link = &store->events.listeners;

    pthread_rwlock_wrlock(&store->events.listeners_lock);
    while (*link && *link != listener)
        link = &(*link)->next;
    if (*link)
        *link = listener->next;
    pthread_rwlock_unlock(&store->events.listeners_lock);
}

void store_wake_waits(struct store *store)
{
    events_notify(&store->events);
}

void store_shard_end_waits(struct store_shard *shard)
{
    atomic_store(&shard->waits_ended, true);
    events_notify(&shard->store->events);
}

struct wait {
    const struct store_shard *shard;
    int64_t offset;
    uint64_t room;
};

static bool is_visible(const void *context)
{
    const struct wait *wait = context;

    return atomic_load(&wait->shard->visible) > wait->offset ||
           atomic_load(&wait->shard->waits_ended);
}

static bool has_room(const void *context)
{
    const struct wait *wait = context;

    return atomic_load(&wait->shard->store->events.room) != wait->room ||
           atomic_load(&wait->shard->waits_ended);
}

static int wait_of_shard(struct store_shard *shard, events_condition met, const struct wait *wait,
                         int64_t deadline_ns, const atomic_bool *cancel, struct error *error)
{
    int code = events_wait(&shard->store->events, met, wait, deadline_ns, cancel, error);

    if (code == 0 && atomic_load(&shard->waits_ended))
        return error_set(error, ERROR_CANCELLED, "%s/%s is about to close", shard->collection,
                         shard->name);
    return code;
}

int store_shard_wait_visible(struct store_shard *shard, int64_t offset, int64_t deadline_ns,
                             const atomic_bool *cancel, struct error *error)
{
    const struct wait wait = {.shard = shard, .offset = offset};

    if (atomic_load(&shard->visible) > offset)
        return 0;
    return wait_of_shard(shard, is_visible, &wait, deadline_ns, cancel, error);
}

int store_shard_wait_room(struct store_shard *shard, int64_t deadline_ns, const atomic_bool *cancel,
                          struct error *error)
{
    const struct wait wait = {.shard = shard, .room = atomic_load(&shard->room_seen)};

    return wait_of_shard(shard, has_room, &wait, deadline_ns, cancel, error);
}
