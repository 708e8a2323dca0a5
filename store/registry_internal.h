/* What the files of the registry share. Each section names the file where it is done. */
#ifndef STORE_REGISTRY_INTERNAL_H
#define STORE_REGISTRY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/files/record.h"
#include "store/lease.h"
#include "store/registry.h"

struct store_expected_shard;
struct store_lease;

/* Whether this process can have lost its shards without knowing it: see registry_ownership.c. */
struct registry_trust {
    struct store_ownership ownership; /* of what is claimed from now on */
    int64_t pause_limit_ns;           /* a longer one brings doubt; 0: not watched */
    int64_t absence_limit_ns; /* after a longer one others must be heard anew; 0: not watched */
    int64_t seen_ns, seen_wall_ms; /* when it last ran; 0: never */
    int64_t heard_ns;              /* when other processes could last be heard; 0: not watched */
    uint64_t pauses;               /* how often it did not for longer than one of the limits */
    uint64_t doubts;               /* of them those that brought doubt */
    int64_t absent_ns;             /* when a pause began after which others were not heard yet */
    int64_t absent_until_ns;       /* as long as they are waited for; 0: they were heard */
    bool doubtful;
};

/* One open shard. `next`, `collection`, `name` and `shard` do not change while it is linked in. */
struct registry_entry {
    struct registry_entry *next;
    const struct config_collection *collection;
    char *name;                /* outlives the shard while it closes */
    struct store_shard *shard; /* NULL: its folder is being removed */
    /* Under the registry's lock: */
    unsigned leases;
    bool leaving; /* being closed: no new leases; the name is free again after it */
    bool claimed; /* Kafka assigned it to us */
    bool handed_over;
    bool unheard;           /* since then others may have had it without being heard */
    int64_t handed_over_ns; /* when it was */
    int64_t awaited_ns; /* when somebody who will have it next was last heard, or handed_over_ns */
    bool behind;
    int64_t end_offset;               /* of its partition in Kafka; 0: not known */
    struct store_ownership ownership; /* under which it was last claimed */
    int32_t rival_generation;         /* in which another process claims it; 0: none does */
    int64_t rival_until_ns;           /* unless that process says so again */
    enum store_reading reading;
    int64_t others_offset,
        others_until_ns;          /* how far another process has it, as long as that counts */
    int64_t mark_offset, mark_ns; /* what another one had then, which may not be reached here yet */
    /* Without it: */
    atomic_bool closing;    /* long work on a lease stops when it sees this */
    atomic_bool broken_off; /* and searches when they see this */
};

/* A shard whose copy is on its way here. */
struct registry_coming {
    struct registry_coming *next;
    char *collection, *name;
};

/* The shards that a collection has in all processes together, in the order of the entries. */
struct registry_expectation {
    struct registry_expectation *next; /* the registry's */
    char *collection;
    struct store_expected_shard *shards; /* owns both texts of each */
    size_t count;
};

struct store_registry {
    struct store_registry_options options;
    /* The list of listeners changes under both locks and is read under either. listen_lock is held
     * while `opened` and `closing` are called, `lock` while `leaving` is. listen_lock comes first. */
    pthread_mutex_t listen_lock;
    struct store_registry_listener *listeners;
    pthread_mutex_t lock;
    pthread_cond_t released;
    _Atomic uint64_t opened; /* how many shards were, ever */
    /* Under the lock: */
    struct registry_entry *entries; /* by collection, then by name */
    struct registry_expectation *expectations;
    struct registry_coming *coming;
    struct registry_trust trust;
    int64_t fresh_records,
        fresh_ns; /* what a copy may be behind others; see registry_freshness.c */
};

/* registry_lookup.c */

/** Orders shards by collection, then by name: shard 10 comes after shard 9. */
int registry_compare_names(const char *collection_a, const char *name_a, const char *collection_b,
                           const char *name_b);
/** The place where an entry of that name is or belongs. Under the lock. */
struct registry_entry **registry_find_place(struct store_registry *registry, const char *collection,
                                            const char *name, bool *found);
/** NULL when the shard is not open here, or about to close. Under the lock. */
struct registry_entry *registry_find_entry(struct store_registry *registry, const char *collection,
                                           const char *name);

/* registry_leases.c */

/** Leases every open shard of the collection (NULL: of all). Under the lock. */
size_t registry_lease_all(struct store_registry *registry, const char *collection,
                          struct arena *arena, struct store_lease **leases);
/** Ends one lease of the entry. */
void registry_give_back(struct store_registry *registry, struct registry_entry *entry);

/* registry_coverage.c */

/** The registry goes. */
void registry_forget_expectations(struct store_registry *registry);

/* registry_listeners.c */

/** Takes listen_lock. */
void registry_tell_opened(struct store_registry *registry, const struct registry_entry *entry);
/** Under the lock. */
void registry_tell_leaving(struct store_registry *registry, const struct registry_entry *entry);
/** Takes listen_lock. */
void registry_tell_closing(struct store_registry *registry, const struct registry_entry *entry);
/** Under the lock. */
void registry_tell_changed(struct store_registry *registry);

/* registry_ownership.c */

/** Notices a pause of the process. Under the lock, before claims are looked at. */
void registry_notice_pause(struct store_registry *registry);
/** Whether this process stood still, and others have not been heard since. Under the lock. */
bool registry_is_absent(const struct store_registry *registry);
/** Others were heard after the last pause. Under the lock. */
void registry_end_absence(struct store_registry *registry);
/** Whether a newer claim than the entry's own was heard. Under the lock. */
bool registry_is_fenced(const struct store_registry *registry, const struct registry_entry *entry);
/** Writes the entry's shard under the ownership that counts now. Under the lock. */
void registry_own(struct store_registry *registry, struct registry_entry *entry);

/* registry_freshness.c */

/** Whether another process has more of it by more than is tolerated. Under the lock. */
bool registry_is_late(const struct store_registry *registry, const struct registry_entry *entry);
/** How far the shard is known to go, here or anywhere. Under the lock. */
int64_t registry_known_offset(const struct store_registry *registry,
                              const struct registry_entry *entry);

/* registry_kept.c */

/** The process that has the handed over shard next was heard; it answers for it by now, or not yet. Under the lock. */
void registry_note_next(struct store_registry *registry, struct registry_entry *entry, bool serves);
/** Whether others may have had a handed over shard that comes back, although none was heard. Before it is owned again,
 * under the lock. */
bool registry_may_have_missed(const struct store_registry *registry,
                              const struct registry_entry *entry);
/** Whether a copy of the shard is on its way here. Under the lock. */
bool registry_is_coming(const struct store_registry *registry, const char *collection,
                        const char *name);
/** What is handed over has come back: who waits for one of its offsets looks again. Under the lock. */
void registry_end_hand_over(struct store_registry *registry, struct registry_entry *entry);

#endif
