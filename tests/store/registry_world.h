/* registry_world: a registry of open shards whose clocks a test moves. Shard "0" of `collection` is what most of it is about. */
#ifndef TESTS_STORE_REGISTRY_WORLD_H
#define TESTS_STORE_REGISTRY_WORLD_H

#include <limits.h>

#include "base/arena.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"

extern const struct config_collection collection;

struct world {
    struct store *store;
    struct store_registry *registry;
    struct arena arena;
    struct error error;
};

/* How far both clocks are ahead of where they began. */
extern int64_t world_paused_ns;
/* How much farther the wall clock is: the machine slept. */
extern int64_t world_slept_ms;
/* Files below this folder cannot be opened for so many times, and nothing can be renamed to it. */
extern char world_unreadable[PATH_MAX];
extern int world_refusals, world_rename_refusals;

/** The operating system's, with those clocks. */
struct io *world_clock_io(void);
void world_open(struct world *world, bool expects_shards);
void world_close(struct world *world);
struct store_shard *world_claim(struct world *world, const char *name);
/** What a lease says; it is given back. */
struct store_lease world_lease(struct world *world);
bool world_is_behind(struct world *world);
/** Shards are claimed in that generation from now on. */
void world_own(struct world *world, int32_t generation);
/** Another process claims the shard, or has it up to there; that counts for so long. */
void world_note_rival(struct world *world, int32_t generation, int64_t for_ns);
void world_note_others(struct world *world, int64_t next_offset, int64_t for_ns);

#endif
