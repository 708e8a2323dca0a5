/* The shards this process has open: how they come, whom they belong to, how they go.
 *
 * Kafka's assignment opens and closes shards while searches, builds and compactions run on them.
 * Each user takes a lease (store/lease.h). Closing takes the shard out of the registry at once, tells long work to
 * stop (`closing`), a moment later searches too (`broken_off`), and waits until the leases are back. Shards found on disk are opened at start,
 * so that searches are answered before (or without) a broker; the assignment then claims them. */
#ifndef STORE_REGISTRY_H
#define STORE_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/config.h"
#include "store/files/record.h"
#include "store/lease.h"

struct store;
struct store_registry;
struct store_shard;

/** Called after a shard was closed. */
typedef void (*store_registry_closed_function)(void *context, const char *name);
/** Called after a shard was opened and before anybody else sees it. */
typedef int (*store_registry_opened_function)(void *context, struct store_shard *shard,
                                              struct error *error);

struct store_registry_options {
    struct store *store;
    uint32_t level0_files_max;             /* see struct store_shard_options */
    store_registry_opened_function opened; /* may be NULL */
    store_registry_closed_function closed; /* may be NULL */
    void *opened_context;                  /* of both */
    /* Somebody calls store_registry_expect, and coverage is unknown until then. Otherwise what is
     * open is all there is. */
    bool expects_shards;
    bool owns_none; /* a process that reads no Kafka: every shard is somewhere else */
};

/* Learns of shards that come and go. Each function may be NULL. */
struct store_registry_listener {
    struct store_registry_listener *next; /* the registry's */
    /* Others may use the shard from now on. Shards that are open already are not told. Under no
     * lock that users of the registry take, as `closing`. */
    void (*opened)(void *context, struct store_shard *shard,
                   const struct config_collection *collection);
    /* The shard has to close, and `closing` of its leases has become true: wakes long work. Under
     * the registry's lock: it may not be called. */
    void (*leaving)(void *context, struct store_shard *shard);
    /* No lease is left, and the shard is about to close. */
    void (*closing)(void *context, struct store_shard *shard);
    /* A shard came or goes, or its `behind` is another one. As `leaving`. */
    void (*changed)(void *context);
    void *context;
};

struct store_registry *store_registry_new(const struct store_registry_options *options);
/** All shards must be closed. */
void store_registry_delete(struct store_registry *registry);

struct store *store_registry_store(const struct store_registry *registry);

/** Opens every shard on disk of the configured collections that are not refused. Folders of an earlier windrow,
 * named by the place of their topic in the list, are named by the topic first. A folder of a topic that the
 * collection does not read stays closed, and the log says so. */
int store_registry_open_existing(struct store_registry *registry, const struct config *config,
                                 struct error *error);
/** The same for one collection, which the consumer does not know yet. */
int store_registry_open_collection(struct store_registry *registry,
                                   const struct config_collection *collection, struct error *error);
/** Opens a shard, or finds it open; the assignment owns it from now on. With `expects_shards` it is
 * behind until store_registry_set_behind says that it is not. */
int store_registry_claim(struct store_registry *registry,
                         const struct config_collection *collection, const char *name,
                         struct store_shard **shard, struct error *error);
/** The assignment no longer owns the shard, and its next owner is not known: it stays open. */
void store_registry_unclaim(struct store_registry *registry, struct store_shard *shard);
/** This process gave the shard up, or lost it, and stores nothing in it any more. It is searched on, as complete as
 * it was, until somebody else has it and store_registry_close is called, or until it is claimed again:
 * registry_kept.c tells how. Nobody waits for its offsets: that is ERROR_NOT_FOUND, and somebody else is asked. */
void store_registry_hand_over(struct store_registry *registry, struct store_shard *shard);

/** Until now other processes were heard, if they said anything since so many pauses of this one (store_registry_pauses).
 * Not, where there has been another one. Called again within two seconds: else, from the first call on, a handed over shard
 * that comes back is behind unless nobody else can have had it. Any thread. */
void store_registry_note_hearing(struct store_registry *registry, uint64_t pauses);
/** Kafka assigned the shard to this process, and a copy of it is on its way here (`coming`), until it is claimed or
 * given back: others who keep the shard have to hear that somebody will have it, and what is kept here waits. Any
 * thread. */
void store_registry_set_coming(struct store_registry *registry, const char *collection,
                               const char *name, bool coming);
/** Those shards of the collection, in `arena`, and in which generation they were assigned. Any thread. */
size_t store_registry_coming(struct store_registry *registry, const char *collection,
                             struct arena *arena, const char ***names, int32_t *generation);

/** Whether a claimed shard has yet to read what Kafka had when it came. Any thread. */
void store_registry_set_behind(struct store_registry *registry, const char *collection,
                               const char *name, bool behind);

/** The end of the shard's partition, as Kafka told it. Any thread. */
void store_registry_note_end(struct store_registry *registry, const char *collection,
                             const char *name, int64_t end_offset);

/* Freshness: registry_freshness.c tells how. */

/** How far a copy may be behind another process's: by so many records, and by some of them for so long. */
void store_registry_watch_others(struct store_registry *registry, int64_t fresh_records,
                                 int64_t fresh_ns);
/** Another process serves the shard and has it up to `next_offset`; that counts until then (io_monotonic_ns). Any
 * thread. */
void store_registry_note_others(struct store_registry *registry, const char *collection,
                                const char *name, int64_t next_offset, int64_t until_ns);
/** Whether the records of the shard's partition are taken. Any thread. */
void store_registry_set_reading(struct store_registry *registry, const char *collection,
                                const char *name, enum store_reading reading);

/* Fencing: registry_ownership.c tells how. */

/** Under which assignment this process has the shards that are claimed, and those that it claims from now on.
 * Generation 0: not known, what is there stays. */
void store_registry_set_ownership(struct store_registry *registry,
                                  struct store_ownership ownership);
/** Another process of the group claims the shard in that generation, and answers for it (`serves`) or will. If it is
 * claimed here in an older one, it is fenced until then (io_monotonic_ns): its leases are `behind`. If it is
 * handed over here, it is behind from then on when the other one answers, and waits for that one otherwise. Any
 * thread. */
void store_registry_note_rival(struct store_registry *registry, const char *collection,
                               const char *name, int32_t generation, bool serves, int64_t until_ns);
/** When nothing here ran for longer than `limit_ns`, it is in doubt whether this process still owns what it
 * claimed: all claimed shards are behind until store_registry_end_doubt. What looks for pauses: each lease,
 * and store_registry_doubt, which is to be called more often than that. */
void store_registry_watch_pauses(struct store_registry *registry, int64_t limit_ns);
/** When nothing here ran for longer than `limit_ns`, what others said before, and their silence, says nothing: all shards
 * are behind until store_registry_note_hearing, or for as long again. */
void store_registry_watch_absence(struct store_registry *registry, int64_t limit_ns);
/** How often nothing here ran for longer than one of the limits. What was read before the last time may be older than what
 * others have answered since. Looks for a pause first. Any thread. */
uint64_t store_registry_pauses(struct store_registry *registry);
/** The number of the present doubt; 0: there is none. Any thread. */
uint64_t store_registry_doubt(struct store_registry *registry);
/** The group said, asked after the doubt had begun, that this process is its member. Not for a doubt that has
 * come since. */
void store_registry_end_doubt(struct store_registry *registry, uint64_t doubt);

/** Takes the shard out, waits for its leases, closes it. */
void store_registry_close(struct store_registry *registry, struct store_shard *shard, bool flush);
/** The same, and removes what the shard stored. */
int store_registry_discard(struct store_registry *registry, struct store_shard *shard,
                           struct error *error);
/** Puts a verified copy (store_copy_verify) in the place of the shard, which is closed if it was open without
 * an owner, and claims it. A copy that cannot be opened, although it was sound, is taken out again, and what
 * was there is back. Consumer thread. */
int store_registry_install(struct store_registry *registry,
                           const struct config_collection *collection, const char *name,
                           const char *folder, struct error *error);
/** Whether some shard of the collection is claimed, handed over, or about to close. Any thread. */
bool store_registry_in_use(struct store_registry *registry, const char *collection);
/** Removes what a shard that is not open here stored; who wants to open it meanwhile waits. ERROR_BUSY when it is
 * open. Any thread. */
int store_registry_remove(struct store_registry *registry,
                          const struct config_collection *collection, const char *name,
                          struct error *error);
/** The offset up to which a shard that is not open was flushed; -1: there is none, or nothing in it. */
int64_t store_registry_peek(struct store_registry *registry,
                            const struct config_collection *collection, const char *name);
/** Closes shards that nobody claimed (they moved to another process). */
void store_registry_close_unclaimed(struct store_registry *registry);
void store_registry_close_all(struct store_registry *registry, bool flush);
/** Tells long work on all shards to stop: the process is about to close them. */
void store_registry_interrupt(struct store_registry *registry);

/** Calls the listener until store_registry_unlisten has returned, which waits for calls under way. */
void store_registry_listen(struct store_registry *registry,
                           struct store_registry_listener *listener);
void store_registry_unlisten(struct store_registry *registry,
                             struct store_registry_listener *listener);

#endif
