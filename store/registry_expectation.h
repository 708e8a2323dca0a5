/* registry_expectation: the shards that a collection has in all processes together, in the order of the registry's entries.
 * Private to store/. */
#ifndef STORE_REGISTRY_EXPECTATION_H
#define STORE_REGISTRY_EXPECTATION_H

#include "store/registry.h"

struct registry_expectation {
    struct registry_expectation *next; /* the registry's */
    char *collection;
    struct store_expected_shard *shards; /* owns both texts of each */
    size_t count;
};

/** Copies everything. */
struct registry_expectation *registry_expectation_new(const char *collection,
                                                      const struct store_expected_shard *shards,
                                                      size_t count);
/** Where the one of the collection hangs in a list, or will: *place is NULL then. */
struct registry_expectation **registry_expectation_find(struct registry_expectation **first,
                                                        const char *collection);
void registry_expectation_free(struct registry_expectation *expectation);

#endif
