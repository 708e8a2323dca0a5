/* Look-up in the registry: entries by the name of their shard, shards by an id that they hold. */
#include <stdio.h>
#include <string.h>

#include "store/lease.h"
#include "store/registry.h"
#include "store/registry_internal.h"
#include "store/snapshot.h"
#include "store/store.h"

int registry_compare_names(const char *collection_a, const char *name_a, const char *collection_b,
                           const char *name_b)
{
    int order = strcmp(collection_a, collection_b);

    /* strverscmp puts shard 10 after shard 9. */
    return order ? order : strverscmp(name_a, name_b);
}

/* Under the lock. The place where an entry of that name is or belongs. */
struct registry_entry **registry_find_place(struct store_registry *registry, const char *collection,
                                            const char *name, bool *found)
{
    struct registry_entry **place = &registry->entries;

    *found = false;
    for (; *place; place = &(*place)->next) {
        int order =
            registry_compare_names((*place)->collection->name, (*place)->name, collection, name);
        *found = order == 0;
        if (order >= 0)
            break;
    }
    return place;
}

struct registry_entry *registry_find_entry(struct store_registry *registry, const char *collection,
                                           const char *name)
{
    bool found;
    struct registry_entry *entry = *registry_find_place(registry, collection, name, &found);

    return found && !entry->leaving ? entry : NULL;
}

bool store_registry_in_use(struct store_registry *registry, const char *collection)
{
    bool in_use = false;

    pthread_mutex_lock(&registry->lock);
    for (const struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        in_use |= (entry->claimed || entry->handed_over || entry->leaving) &&
                  strcmp(entry->collection->name, collection) == 0;
    pthread_mutex_unlock(&registry->lock);
    return in_use;
}

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
