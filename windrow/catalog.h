/* The shards this process has open, and who is using them.
 *
 * Kafka's assignment opens and closes shards while searches, builds and compactions run on them.
 * Each user takes a lease; closing takes the shard out of the catalog at once and waits until the
 * leases are back. Shards that are on disk are opened at start, so that search answers before (or
 * without) a broker; the assignment then claims them. */
#ifndef WINDROW_CATALOG_H
#define WINDROW_CATALOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "config/config.h"
#include "indexer/indexer.h"
#include "store/store.h"

struct catalog;
struct catalog_entry;

struct catalog *catalog_new(struct store *store);
/** All shards must be closed. */
void catalog_delete(struct catalog *catalog);

/** Called after a shard was opened and before it is used by others; may be NULL. */
typedef int (*catalog_opened_function)(void *context, struct store_shard *shard,
                                       struct error *error);
void catalog_on_open(struct catalog *catalog, catalog_opened_function opened, void *context);

/** Opens every shard of the configured collections that is on disk. */
int catalog_open_existing(struct catalog *catalog, const struct config *config,
                          struct error *error);
/** Opens a shard, or finds it open; the assignment owns it from now on. */
int catalog_claim(struct catalog *catalog, const struct config_collection *collection,
                  const char *name, struct store_shard **shard, struct error *error);
/** Takes the shard out, waits for its leases, closes it. */
void catalog_close(struct catalog *catalog, struct store_shard *shard, bool flush);
/** The same, and removes what it stored. */
int catalog_discard(struct catalog *catalog, struct store_shard *shard, struct error *error);
/** The assignment owns it no more, and it is not known who does: it stays open. */
void catalog_unclaim(struct catalog *catalog, struct store_shard *shard);
/** Closes shards that nobody claimed (they moved to another process). */
void catalog_close_unclaimed(struct catalog *catalog);
/** Tells long work on all shards to stop: the process is about to close them. */
void catalog_interrupt(struct catalog *catalog);
/** Closes all. */
void catalog_close_all(struct catalog *catalog, bool flush);

/** Leases every open shard of a collection (NULL: of all), in the order of their names. Each lease
 * is given back with catalog_release. */
size_t catalog_acquire(struct catalog *catalog, const char *collection, struct arena *arena,
                       struct indexer_shard_lease **leases);
void catalog_release(struct catalog *catalog, struct indexer_shard_lease *lease);

/** The name of a shard of the collection other than `own` that holds a visible version of the id;
 * false when none does. */
bool catalog_find_elsewhere(struct catalog *catalog, const struct config_collection *collection,
                            const struct store_shard *own, const uint8_t *key, size_t key_bytes,
                            int64_t now_ms, char *name, size_t name_bytes);

/* Where a walk over the shards is; zeroed at the start. */
struct catalog_position {
    char collection[104];
    char name[300];
};

/** Leases the next shard of a walk over all of them; false at the end. Long work holds one lease at
 * a time, so that closing another shard does not wait for it. */
bool catalog_acquire_next(struct catalog *catalog, struct catalog_position *position,
                          struct indexer_shard_lease *lease);

/** Leases the shard that has waited longest for maintenance since a time before `before_ns`, for
 * this thread alone; false when there is none. catalog_end_maintain gives it back: `now_ns` counts
 * as the end of its turn. */
bool catalog_begin_maintain(struct catalog *catalog, int64_t before_ns,
                            struct indexer_shard_lease *lease);
void catalog_end_maintain(struct catalog *catalog, struct indexer_shard_lease *lease,
                          int64_t now_ns);

/** The collection's configuration a lease belongs to. */
const struct config_collection *catalog_lease_collection(const struct indexer_shard_lease *lease);

#endif
