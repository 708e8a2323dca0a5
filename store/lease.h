/* Leases of open shards, what a set of them leaves out, and waits for shards and records.
 *
 * A lease keeps its shard open. Whoever holds one looks at `closing` or `broken_off` and gives it back
 * soon: closing waits for it. store/registry.h tells how shards come and go. */
#ifndef STORE_LEASE_H
#define STORE_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

struct config_collection;
struct store_registry;
struct store_shard;

/* Whether the records of a shard's partition are taken. */
enum store_reading {
    STORE_READING,
    STORE_HELD,   /* not now: an operator holds it, or the clock is frozen */
    STORE_STOPPED /* not until an operator says so: damage, or a topic that was made anew */
};

/* Keeps a shard open. */
struct store_lease {
    struct store_shard *shard;
    const atomic_bool *closing; /* becomes true when the shard is about to close: long work stops */
    const atomic_bool *broken_off; /* true a moment later: searches stop too */
    void *token;                   /* the registry's */
    /* It may lack records that its Kafka partition has: nobody assigned it to this process, or it
     * has not yet read what was there when it came. */
    bool behind;
    /* Further reasons for it, for people: see store_registry_note_rival, and store_registry_watch_pauses and _absence. */
    bool fenced, doubtful;
    bool claimed;
    bool handed_over;       /* see store_registry_hand_over */
    int64_t handed_over_ns; /* when it was, of io_monotonic_ns */
    int64_t
        awaited_ns; /* when a process was last heard that will have it next; or handed_over_ns */
    int32_t generation; /* in which it was claimed last; 0: not known */
    int64_t end_offset; /* of its partition, as Kafka told it last; 0: not known, or empty */
    enum store_reading reading;
    bool late; /* another process has more by more than is tolerated: registry_freshness.c */
    int64_t known_offset; /* how far the shard is known to go, here or anywhere */
};

/** Leases every open shard of a collection (NULL: of all), ordered by collection and name, into
 * `arena`. Each lease is given back with store_registry_release. */
size_t store_registry_acquire(struct store_registry *registry, const char *collection,
                              struct arena *arena, struct store_lease **leases);
/** Leases one shard; false when it is not open here. */
bool store_registry_acquire_shard(struct store_registry *registry, const char *collection,
                                  const char *name, struct store_lease *lease);
void store_registry_release(struct store_registry *registry, struct store_lease *lease);
/** The configuration of the collection that the leased shard belongs to. */
const struct config_collection *store_lease_collection(const struct store_lease *lease);

/* Where a walk over the shards is; zeroed at the start. */
struct store_registry_position {
    char collection[104];
    char name[300];
};

/** Leases the next shard of a walk over all of them; false at the end. Long work holds one lease at
 * a time, so that closing another shard does not wait for it. */
bool store_registry_acquire_next(struct store_registry *registry,
                                 struct store_registry_position *position,
                                 struct store_lease *lease);

/** The name of a shard of the collection other than `own` that holds a visible version of the id;
 * false when none does. */
bool store_registry_find_elsewhere(struct store_registry *registry,
                                   const struct config_collection *collection,
                                   const struct store_shard *own, const uint8_t *key,
                                   size_t key_bytes, int64_t now_ms, char *name, size_t name_bytes);

/** Whether a handed over shard is to be closed although nobody has it: for a minute no process was heard that will have
 * it. The minute begins anew while it is not known which shards are whose, until `settled_ns` for the last time: a group
 * that cannot assign them says nothing about who will have them. */
bool store_lease_is_forsaken(const struct store_lease *lease, int64_t now_ns, int64_t settled_ns);

/* Coverage. */

/* A shard that a collection has in this process or another one: a Kafka partition. */
struct store_expected_shard {
    const char *name;  /* of the shard: "3", or "topic-3" for topics after the first */
    const char *label; /* for people: "topic[3]" */
};

/* What a set of leases leaves out. An answer from the leases alone is whole only when the shards
 * are known and none is missing. */
struct store_coverage {
    bool elsewhere;       /* this process owns no shards at all */
    bool known;           /* false: nobody has said yet which shards the collection has */
    const char **missing; /* labels of the shards that are not open here */
    const char **missing_names;
    size_t missing_count;
};

static inline bool store_coverage_whole(const struct store_coverage *coverage)
{
    return coverage->known && coverage->missing_count == 0 && !coverage->elsewhere;
}

/** As store_registry_acquire, and fills `coverage` for the same instant. */
size_t store_registry_acquire_covered(struct store_registry *registry, const char *collection,
                                      struct arena *arena, struct store_lease **leases,
                                      struct store_coverage *coverage);
/** Coverage alone. */
void store_registry_coverage(struct store_registry *registry, const char *collection,
                             struct arena *arena, struct store_coverage *coverage);
/** Says which shards a collection has in all processes together; replaces what was said before.
 * Copies everything. Any thread. */
void store_registry_expect(struct store_registry *registry, const char *collection,
                           const struct store_expected_shard *shards, size_t count);
/** What was said last, in `arena`; 0 when nothing was. Any thread. */
size_t store_registry_expected(struct store_registry *registry, const char *collection,
                               struct arena *arena, struct store_expected_shard **shards);

/* Waits. */

/** Sleeps until the shard is open here and a search of it sees the record at `offset`. No lease delays
 * a closing. `while_open`: ERROR_NOT_FOUND as soon as the shard is not open here or has to close, for
 * who then asks somebody else; otherwise it is waited for. `deadline_ns` is of io_monotonic_ns.
 * ERROR_TIMEOUT; ERROR_CANCELLED when *cancel (may be NULL) became true and store_registry_wake_waits
 * was called. */
int store_registry_wait_visible(struct store_registry *registry, const char *collection,
                                const char *name, int64_t offset, bool while_open,
                                int64_t deadline_ns, const atomic_bool *cancel,
                                struct error *error);
/** Sleeps until some shard is opened here, or a handed over one claimed again. ERROR_TIMEOUT; ERROR_CANCELLED as above. */
int store_registry_wait_opened(struct store_registry *registry, int64_t deadline_ns,
                               const atomic_bool *cancel, struct error *error);
/** Lets all who wait look at their `cancel`. */
void store_registry_wake_waits(struct store_registry *registry);

#endif
