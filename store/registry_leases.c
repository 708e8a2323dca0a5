/* Leases: what one says of its shard, taking leases of one shard, of all, or of the next one of a
 * walk, and giving them back. A closer sleeps on `released` until an entry has none. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/lease.h"
#include "store/registry_internal.h"
#include "store/shard.h"

/* Under the lock. */
static struct store_lease lease_of(struct store_registry *registry, struct registry_entry *entry)
{
    bool fenced = registry_is_fenced(registry, entry);
    bool doubtful = (entry->claimed && registry->trust.doubtful) || registry_is_absent(registry);
    bool coming =
        registry->coming && registry_is_coming(registry, entry->collection->name, entry->name);

    entry->leases++;
    return (struct store_lease){
        .shard = entry->shard,
        .closing = &entry->closing,
        .broken_off = &entry->broken_off,
        .token = entry,
        .behind = entry->behind || fenced || doubtful || (!entry->claimed && !entry->handed_over),
        .claimed = entry->claimed,
        .fenced = fenced,
        .doubtful = doubtful,
        .handed_over = entry->handed_over,
        .handed_over_ns = entry->handed_over_ns,
        .awaited_ns = coming ? io_monotonic_ns(registry->options.store->io) : entry->awaited_ns,
        .generation = entry->ownership.generation,
        .end_offset = entry->end_offset,
        .reading = entry->reading,
        .late = registry_is_late(registry, entry),
        .known_offset = registry_known_offset(registry, entry)};
}

static bool is_wanted(const struct registry_entry *entry, const char *collection)
{
    return !entry->leaving && (!collection || strcmp(entry->collection->name, collection) == 0);
}

/* Under the lock. */
size_t registry_lease_all(struct store_registry *registry, const char *collection,
                          struct arena *arena, struct store_lease **leases)
{
    size_t count = 0;

    registry_notice_pause(registry);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        count += is_wanted(entry, collection);
    *leases = arena_calloc(arena, count ? count : 1, sizeof(**leases));
    if (!*leases)
        abort();
    count = 0;
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next) {
        if (is_wanted(entry, collection))
            (*leases)[count++] = lease_of(registry, entry);
    }
    return count;
}

size_t store_registry_acquire(struct store_registry *registry, const char *collection,
                              struct arena *arena, struct store_lease **leases)
{
    size_t count;

    pthread_mutex_lock(&registry->lock);
    count = registry_lease_all(registry, collection, arena, leases);
    pthread_mutex_unlock(&registry->lock);
    return count;
}

bool store_registry_acquire_shard(struct store_registry *registry, const char *collection,
                                  const char *name, struct store_lease *lease)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    entry = registry_find_entry(registry, collection, name);
    if (entry)
        *lease = lease_of(registry, entry);
    pthread_mutex_unlock(&registry->lock);
    return entry != NULL;
}

bool store_registry_acquire_next(struct store_registry *registry,
                                 struct store_registry_position *position,
                                 struct store_lease *lease)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    entry = registry->entries;
    while (entry &&
           (entry->leaving || registry_compare_names(entry->collection->name, entry->name,
                                                     position->collection, position->name) <= 0))
        entry = entry->next;
    if (entry) {
        *lease = lease_of(registry, entry);
        snprintf(position->collection, sizeof(position->collection), "%s", entry->collection->name);
        snprintf(position->name, sizeof(position->name), "%s", entry->name);
    }
    pthread_mutex_unlock(&registry->lock);
    return entry != NULL;
}

void registry_give_back(struct store_registry *registry, struct registry_entry *entry)
{
    pthread_mutex_lock(&registry->lock);
    assert(entry->leases > 0);
    if (--entry->leases == 0)
        pthread_cond_broadcast(&registry->released);
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_release(struct store_registry *registry, struct store_lease *lease)
{
    registry_give_back(registry, lease->token);
    lease->shard = NULL;
}

const struct config_collection *store_lease_collection(const struct store_lease *lease)
{
    const struct registry_entry *entry = lease->token;

    return entry->collection;
}
