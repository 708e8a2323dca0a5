#include "store/registry_expectation.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void registry_expectation_free(struct registry_expectation *expectation)
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

struct registry_expectation *registry_expectation_new(const char *collection,
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

struct registry_expectation **registry_expectation_find(struct registry_expectation **first,
                                                        const char *collection)
{
    while (*first && strcmp((*first)->collection, collection) != 0)
        first = &(*first)->next;
    return first;
}
