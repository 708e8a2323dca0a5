/* Which shards hold an id. */
#include <stdio.h>

#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"

/* Whether a search of the shard would find the id now: masked and expired versions do not count. */
static bool holds(struct store_shard *shard, const uint8_t *key, size_t key_bytes, int64_t now_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    const struct store_source *source;
    uint32_t row;
    bool found = store_snapshot_find(snapshot, key, key_bytes, &source, &row, ERROR_IGNORED) == 0;

    store_snapshot_release(snapshot);
    return found;
}

bool store_registry_find_elsewhere(struct store_registry *registry,
                                   const struct config_collection *collection,
                                   const struct store_shard *own, const uint8_t *key,
                                   size_t key_bytes, int64_t now_ms, char *name, size_t name_bytes)
{
    struct store_lease *leases;
    struct arena arena;
    bool found = false;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_acquire(registry, collection->name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        if (!found && leases[i].shard != own && holds(leases[i].shard, key, key_bytes, now_ms)) {
            snprintf(name, name_bytes, "%s", store_shard_name(leases[i].shard));
            found = true;
        }
        store_registry_release(registry, &leases[i]);
    }
    arena_destroy(&arena);
    return found;
}
