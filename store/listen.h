/* Who hears what happens in a store, and who sleeps until it does.
 *
 * A thread that waits sleeps until it is told. An append that nobody waits for pays one look at a
 * count. */
#ifndef STORE_LISTEN_H
#define STORE_LISTEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct store;
struct store_shard;

/* Functions that the store calls as soon as something happened, under no lock of the store, in the
 * thread that did it. They may be called without need. They must return at once (set a flag, wake a
 * thread) and not call store_listen or store_unlisten. NULL: not interested. */
struct store_listener {
    /* A flush of this shard, or of another one when memory is short, is due
     * (store_shard_needs_flush). One that a shard brings along when it is opened is not told. */
    void (*flush_due)(void *context, struct store_shard *shard);
    /* Files of the shard's windows changed: after flush, seal, compaction, drop, attach, rebuild.
     */
    void (*windows_changed)(void *context, struct store_shard *shard);
    /* A group was appended: next offset, clock and memtable moved. */
    void (*appended)(void *context, struct store_shard *shard);
    /* An append that was ERROR_BUSY may succeed now, in any shard (store_shard_room_changed). Called
     * under locks of the store, by any thread: it may wake somebody and nothing else. */
    void (*room)(void *context);
    void *context;
    struct store_listener *next; /* the store's */
};

/** The listener stays where it is until store_unlisten, which waits for calls under way. */
void store_listen(struct store *store, struct store_listener *listener);
void store_unlisten(struct store *store, struct store_listener *listener);

/** Sleeps until a search sees the record at `offset`. `deadline_ns` is of io_monotonic_ns,
 * INT64_MAX: none. ERROR_TIMEOUT; ERROR_CANCELLED when *cancel (may be NULL) became true and
 * store_wake_waits was called, or when the waits of the shard have ended. Any thread with a lease.
 */
int store_shard_wait_visible(struct store_shard *shard, int64_t offset, int64_t deadline_ns,
                             const atomic_bool *cancel, struct error *error);
/** After an append that was ERROR_BUSY: sleeps until the next one may succeed. Results as above. By
 * the thread that appends. */
int store_shard_wait_room(struct store_shard *shard, int64_t deadline_ns, const atomic_bool *cancel,
                          struct error *error);
/** After an append that was ERROR_BUSY: whether store_shard_wait_room would return at once. */
bool store_shard_room_changed(const struct store_shard *shard);
/** After a compaction, drop or rebuild that was ERROR_BUSY: sleeps until no other work holds the
 * window. Results as above. Any thread with a lease. */
int store_shard_wait_window(struct store_shard *shard, int64_t window_start_ms,
                            int64_t window_length_ms, int64_t deadline_ns,
                            const atomic_bool *cancel, struct error *error);
/** Lets all who wait look at their `cancel`. */
void store_wake_waits(struct store *store);
/** The shard is about to close: waits on it are ERROR_CANCELLED from now on. */
void store_shard_end_waits(struct store_shard *shard);
/** Whether no record comes any more: store_shard_wait_visible does not wait for one, it is ERROR_CANCELLED. */
void store_shard_set_still(struct store_shard *shard, bool still);

#endif
