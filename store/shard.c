/* A shard: what callers ask of it without changing files, the append lock, the stop after a failure
 * of the device, and who is told or woken. Operations have files of their own (operations.h). */
#include "store/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/describe.h"
#include "store/listen.h"
#include "store/store.h"

/* After a failed sync nobody knows what is on the device, and a second sync may report success for
 * pages that were dropped. So the first ERROR_IO stops all writes of the shard until it is opened
 * again, which reads what is really there. Searches go on. The text is filled once, before the
 * pointer to it is published: readers take no lock. */
int shard_check_stop(struct store_shard *shard, int code, const struct error *error)
{
    if (code == ERROR_NO_SPACE)
        atomic_store_explicit(&shard->store->full_seen_ns, io_monotonic_ns(shard->io),
                              memory_order_relaxed);
    if (code != ERROR_IO)
        return code;
    pthread_mutex_lock(&shard->stop.lock);
    if (!atomic_load(&shard->stop.reason)) {
        snprintf(shard->stop.text, sizeof(shard->stop.text), "writes stopped: %s", error->text);
        atomic_store(&shard->stop.reason, shard->stop.text);
        logger_write_event(LOGGER_ERROR, "store", "shard_stopped", "%s/%s: %s", shard->collection,
                           shard->name, shard->stop.text);
    }
    pthread_mutex_unlock(&shard->stop.lock);
    return code;
}

int shard_check_running(const struct store_shard *shard, struct error *error)
{
    const char *stopped = atomic_load(&shard->stop.reason);

    return stopped ? error_set(error, ERROR_IO, "%s", stopped) : 0;
}

/* The notes lock is for the counts by window: the active memtable adds windows meanwhile. A record
 * that is appended right after the look is late for a seal, as it would be a moment later. */
bool shard_memtables_touch(struct store_shard *shard, int64_t start_ms, int64_t length_ms)
{
    struct version *version = version_acquire(shard);
    bool touches = false;

    pthread_mutex_lock(&shard->windows.lock);
    for (size_t i = 0; i < version->memtable_count; i++) {
        const struct memtable *memtable = version->memtables[i];
        for (uint32_t j = 0; j < memtable->window_count && memtable->window_ms == length_ms; j++)
            touches |= memtable->windows[j].start_ms == start_ms;
    }
    pthread_mutex_unlock(&shard->windows.lock);
    version_unref(version);
    return touches;
}

const char *store_shard_name(const struct store_shard *shard)
{
    return shard->name;
}

const char *store_shard_collection(const struct store_shard *shard)
{
    return shard->collection;
}

const char *store_shard_directory(const struct store_shard *shard)
{
    return shard->directory;
}

int64_t store_shard_next_offset(const struct store_shard *shard)
{
    return atomic_load(&shard->progress.visible);
}

struct store_topic_fingerprint store_shard_topic_fingerprint(struct store_shard *shard)
{
    struct store_topic_fingerprint topic;

    pthread_mutex_lock(&shard->writer.lock);
    topic = shard->writer.topic;
    pthread_mutex_unlock(&shard->writer.lock);
    return topic;
}

struct store_clock store_shard_clock(const struct store_shard *shard)
{
    const struct shard_progress *progress = &shard->progress;

    return (struct store_clock){
        atomic_load_explicit(&progress->watermark_ms, memory_order_relaxed),
        atomic_load_explicit(&progress->last_record_wall_ms, memory_order_relaxed),
        atomic_load_explicit(&progress->safe_wall_ms, memory_order_relaxed),
        {atomic_load_explicit(&progress->log_known, memory_order_relaxed),
         atomic_load_explicit(&progress->log_time_ms, memory_order_relaxed),
         atomic_load_explicit(&progress->log_stamp_ms, memory_order_relaxed),
         atomic_load_explicit(&progress->log_watermark_ms, memory_order_relaxed)}};
}

void store_shard_settle(struct store_shard *shard, int64_t settled_ms)
{
    int64_t before_ms = atomic_load_explicit(&shard->progress.settled_ms, memory_order_relaxed);

    while (settled_ms > before_ms && !atomic_compare_exchange_weak_explicit(
                                         &shard->progress.settled_ms, &before_ms, settled_ms,
                                         memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Whoever finds the disk full tries again every second. */
#define FULL_BELIEVED_NS INT64_C(10000000000)

/* What nobody sees may be all that can give space: a partition that waits for space reads nothing, so
 * its log would never pass what fills the disk. */
static bool is_full(const struct store_shard *shard)
{
    int64_t seen_ns = atomic_load_explicit(&shard->store->full_seen_ns, memory_order_relaxed);

    return seen_ns != 0 && io_monotonic_ns(shard->io) - seen_ns < FULL_BELIEVED_NS;
}

int64_t store_shard_log_passed_ms(const struct store_shard *shard)
{
    const struct store_log_clock log = store_shard_clock(shard).log;
    int64_t settled_ms = atomic_load_explicit(&shard->progress.settled_ms, memory_order_relaxed);

    if (!log.known || log.stamp_ms == INT64_MIN || is_full(shard))
        return INT64_MAX;
    return log.time_ms > settled_ms ? log.time_ms : settled_ms;
}

int64_t store_shard_expired_before_ms(const struct store_shard *shard, int64_t wall_ms)
{
    int64_t passed_ms = store_shard_log_passed_ms(shard);

    return passed_ms < wall_ms ? passed_ms : wall_ms;
}

const char *store_shard_stopped(const struct store_shard *shard)
{
    return atomic_load(&shard->stop.reason);
}

void store_shard_set_ttl(struct store_shard *shard, int64_t ttl_ms)
{
    atomic_store_explicit(&shard->settings.ttl_ms, ttl_ms, memory_order_relaxed);
}

/* A group that was deleted, or that nobody used for days, counts its generations from the beginning. So an
 * earlier generation says nothing about who is right: that is for the broker to tell. */
void store_shard_set_ownership(struct store_shard *shard, struct store_ownership ownership)
{
    struct store_ownership former = manifest_set_ownership(shard->manifest, ownership);

    if (former.group == ownership.group && former.generation > ownership.generation &&
        ownership.generation != 0)
        log_info("store",
                 "%s/%s was last written in generation %d of its consumer group, which is in "
                 "generation %d now: the group has begun anew",
                 store_shard_collection(shard), store_shard_name(shard), former.generation,
                 ownership.generation);
}

bool store_shard_set_over_cap(struct store_shard *shard, bool over)
{
    bool was_over = atomic_exchange(&shard->settings.over_cap, over);

    if (was_over && !over)
        events_room(&shard->store->events);
    return was_over;
}

const char *store_shard_damage(const struct store_shard *shard)
{
    return atomic_load(&shard->damages.shown);
}

/* The publisher counts itself before it waits; the appender looks at the count after it got the lock
 * and waits while there is one. The last publisher to get the lock wakes the appender, which goes
 * on when this lock is given back. */
void shard_publish_lock(struct store_shard *shard)
{
    atomic_fetch_add(&shard->writer.publishers_waiting, 1);
    pthread_mutex_lock(&shard->writer.lock);
    if (atomic_fetch_sub(&shard->writer.publishers_waiting, 1) == 1)
        pthread_cond_broadcast(
            &shard->writer.publishers_served); /* goes on when this lock is free */
}

void shard_append_lock(struct store_shard *shard)
{
    pthread_mutex_lock(&shard->writer.lock);
    while (atomic_load(&shard->writer.publishers_waiting) > 0)
        pthread_cond_wait(&shard->writer.publishers_served, &shard->writer.lock);
}

void shard_appended(struct store_shard *shard, bool visible)
{
    struct store *store = shard->store;

    if (visible)
        events_notify(&store->events);
    /* Memory that one shard takes may make another one due, which does not append itself. */
    events_tell(&store->events, shard, visible, false,
                memory_is_short(&store->memory) || store_shard_needs_flush(shard));
}

/* Room first: a thread that waits for room must not depend on listeners, which may take long. */
void shard_windows_changed(struct store_shard *shard)
{
    struct store *store = shard->store;

    events_room(&store->events);
    events_tell(&store->events, shard, false, true,
                memory_is_short(&store->memory) || store_shard_needs_flush(shard));
}

void store_shard_end_waits(struct store_shard *shard)
{
    atomic_store(&shard->waits_ended, true);
    events_notify(&shard->store->events);
}

void store_shard_set_still(struct store_shard *shard, bool still)
{
    atomic_store(&shard->still, still);
    events_notify(&shard->store->events);
}

struct wait {
    const struct store_shard *shard;
    int64_t offset;
    uint64_t room;
    uint64_t locks_released;
};

static bool is_visible(const void *context)
{
    const struct wait *wait = context;

    return atomic_load(&wait->shard->progress.visible) > wait->offset ||
           atomic_load(&wait->shard->waits_ended) || atomic_load(&wait->shard->still);
}

static bool has_room(const void *context)
{
    const struct wait *wait = context;

    return atomic_load(&wait->shard->store->events.room) != wait->room ||
           atomic_load(&wait->shard->waits_ended);
}

bool store_shard_room_changed(const struct store_shard *shard)
{
    const struct wait wait = {.shard = shard, .room = atomic_load(&shard->writer.room_seen)};

    return has_room(&wait);
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
    int code;

    if (atomic_load(&shard->progress.visible) > offset)
        return 0;
    code = wait_of_shard(shard, is_visible, &wait, deadline_ns, cancel, error);
    if (code == 0 && atomic_load(&shard->progress.visible) <= offset)
        return error_set(error, ERROR_CANCELLED, "%s/%s is not written here any more",
                         shard->collection, shard->name);
    return code;
}

int store_shard_wait_room(struct store_shard *shard, int64_t deadline_ns, const atomic_bool *cancel,
                          struct error *error)
{
    const struct wait wait = {.shard = shard, .room = atomic_load(&shard->writer.room_seen)};

    return wait_of_shard(shard, has_room, &wait, deadline_ns, cancel, error);
}

static bool window_was_released(const void *context)
{
    const struct wait *wait = context;

    return atomic_load(&wait->shard->windows.locks_released) != wait->locks_released ||
           atomic_load(&wait->shard->waits_ended);
}

int store_shard_wait_window(struct store_shard *shard, int64_t window_start_ms,
                            int64_t window_length_ms, int64_t deadline_ns,
                            const atomic_bool *cancel, struct error *error)
{
    /* The count is read before the window is looked at: a release in between is not missed. */
    struct wait wait = {.shard = shard,
                        .locks_released = atomic_load(&shard->windows.locks_released)};
    int code = 0;

    while (code == 0 && !window_lock_is_free(&shard->windows, window_start_ms, window_length_ms)) {
        code = wait_of_shard(shard, window_was_released, &wait, deadline_ns, cancel, error);
        wait.locks_released = atomic_load(&shard->windows.locks_released);
    }
    return code;
}
