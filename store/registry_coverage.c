/* Coverage: which shards a collection has in all processes together, as somebody said last, and which
 * of them are not open here. Expected shards have the order of the registry's entries. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/lease.h"
#include "store/registry_internal.h"

static void expectation_free(struct registry_expectation *expectation)
{
    for (size_t i = 0; i < expectation->count; i++) {
        free((char *)expectation->shards[i].name);
        free((char *)expectation->shards[i].label);
    }
    free(expectation->shards);
    free(expectation->collection);
    free(expectation);
}

static int compare_expected(const void *a, const void *b)
{
    return strverscmp(((const struct store_expected_shard *)a)->name,
                      ((const struct store_expected_shard *)b)->name);
}

static struct registry_expectation *expectation_new(const char *collection,
                                                    const struct store_expected_shard *shards,
                                                    size_t count)
{
    struct registry_expectation *expectation = memory_new(1, sizeof(*expectation));

    expectation->collection = memory_checked(strdup(collection));
    expectation->shards = memory_new(count, sizeof(*expectation->shards));
    for (size_t i = 0; i < count; i++) {
        expectation->shards[i].name = memory_checked(strdup(shards[i].name));
        expectation->shards[i].label = memory_checked(strdup(shards[i].label));
    }
    expectation->count = count;
    qsort(expectation->shards, count, sizeof(*expectation->shards), compare_expected);
    return expectation;
}

static struct registry_expectation **find_expectation(struct registry_expectation **first,
                                                      const char *collection)
{
    while (*first && strcmp((*first)->collection, collection) != 0)
        first = &(*first)->next;
    return first;
}

void registry_forget_expectations(struct store_registry *registry)
{
    while (registry->expectations) {
        struct registry_expectation *next = registry->expectations->next;
        expectation_free(registry->expectations);
        registry->expectations = next;
    }
}

void store_registry_expect(struct store_registry *registry, const char *collection,
                           const struct store_expected_shard *shards, size_t count)
{
    struct registry_expectation *fresh = expectation_new(collection, shards, count);
    struct registry_expectation **place;
    struct registry_expectation *former;

    pthread_mutex_lock(&registry->lock);
    place = find_expectation(&registry->expectations, collection);
    former = *place;
    fresh->next = former ? former->next : NULL;
    *place = fresh;
    pthread_mutex_unlock(&registry->lock);
    if (former)
        expectation_free(former);
}

size_t store_registry_expected(struct store_registry *registry, const char *collection,
                               struct arena *arena, struct store_expected_shard **shards)
{
    const struct registry_expectation *expectation;
    size_t count;

    pthread_mutex_lock(&registry->lock);
    expectation = *find_expectation(&registry->expectations, collection);
    count = expectation ? expectation->count : 0;
    *shards = memory_checked(arena_calloc(arena, count + 1, sizeof(**shards)));
    for (size_t i = 0; i < count; i++) {
        const struct store_expected_shard *shard = &expectation->shards[i];
        (*shards)[i].name = arena_copy(arena, shard->name, strlen(shard->name));
        (*shards)[i].label = arena_copy(arena, shard->label, strlen(shard->label));
    }
    pthread_mutex_unlock(&registry->lock);
    return count;
}

/* Under the lock. Every search comes here: entries and expected shards have one order, so that one
 * walk over both tells which are missing. */
static void cover(struct store_registry *registry, const char *collection, struct arena *arena,
                  struct store_coverage *coverage)
{
    const struct registry_expectation *expectation =
        *find_expectation(&registry->expectations, collection);
    const struct registry_entry *entry = registry->entries;

    *coverage = (struct store_coverage){.elsewhere = registry->options.owns_none,
                                        .known = !registry->options.expects_shards || expectation};
    for (size_t i = 0; expectation && i < expectation->count; i++) {
        const struct store_expected_shard *shard = &expectation->shards[i];
        int order = -1;
        while (entry && (order = registry_compare_names(entry->collection->name, entry->name,
                                                        collection, shard->name)) < 0)
            entry = entry->next;
        if (entry && order == 0 && !entry->leaving)
            continue;
        if (!coverage->missing) {
            coverage->missing =
                memory_checked(arena_calloc(arena, expectation->count, sizeof(char *)));
            coverage->missing_names =
                memory_checked(arena_calloc(arena, expectation->count, sizeof(char *)));
        }
        coverage->missing_names[coverage->missing_count] =
            arena_copy(arena, shard->name, strlen(shard->name));
        coverage->missing[coverage->missing_count++] =
            arena_copy(arena, shard->label, strlen(shard->label));
    }
}

size_t store_registry_acquire_covered(struct store_registry *registry, const char *collection,
                                      struct arena *arena, struct store_lease **leases,
                                      struct store_coverage *coverage)
{
    size_t count;

    pthread_mutex_lock(&registry->lock);
    count = registry_lease_all(registry, collection, arena, leases);
    cover(registry, collection, arena, coverage);
    pthread_mutex_unlock(&registry->lock);
    return count;
}

void store_registry_coverage(struct store_registry *registry, const char *collection,
                             struct arena *arena, struct store_coverage *coverage)
{
    pthread_mutex_lock(&registry->lock);
    cover(registry, collection, arena, coverage);
    pthread_mutex_unlock(&registry->lock);
}
