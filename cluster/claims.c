#include "cluster/claims.h"

#include <stdio.h>
#include <string.h>

#include "cluster/announcement.h"
#include "store/append.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"

enum {
    SHARD_FIELDS = 4,
    HANDED_OVER_FIELD = 4,
    LATE_FIELD = 6,
    CLAIM_FIELDS = 3,
    CLAIM_ALL_FIELDS = 5,
    NAME_BYTES = 300
};

/* The next owner has not read the shard yet: who gives it up answers meanwhile. */
bool claims_superseded(const struct claim *claims, size_t count, size_t which)
{
    const struct claim *own = &claims[which];

    if (!own->group || own->generation == 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (claims[i].generation > own->generation && (claims[i].serves || !own->handed_over) &&
            claims[i].group && strcmp(claims[i].group, own->group) == 0)
            return true;
    return false;
}

/* What others announced. */

static bool is_generation(const struct doc *doc)
{
    return doc->type == DOC_INT && doc->integer >= 0 && doc->integer <= INT32_MAX;
}

bool claims_are_sound(const struct doc *collection)
{
    const struct doc *shards = doc_get(collection, "shards");
    const struct doc *claims = doc_get(collection, "claims");

    for (uint32_t i = 0; i < shards->count; i++)
        if (shards->items[i].count >= SHARD_FIELDS && !is_generation(&shards->items[i].items[3]))
            return false;
    if (!claims)
        return true;
    for (uint32_t i = 0; claims->type == DOC_ARRAY && i < claims->count; i++) {
        const struct doc *one = &claims->items[i];
        if (one->type != DOC_ARRAY || one->count < CLAIM_FIELDS ||
            one->items[0].type != DOC_STRING || !is_generation(&one->items[1]) ||
            one->items[2].type != DOC_STRING)
            return false;
    }
    return claims->type == DOC_ARRAY;
}

int32_t claims_generation(const struct doc *shard)
{
    return shard->count >= SHARD_FIELDS ? (int32_t)shard->items[3].integer : 0;
}

static bool is_true_at(const struct doc *shard, uint32_t field)
{
    return shard->count > field && shard->items[field].type == DOC_BOOL &&
           shard->items[field].boolean;
}

bool claims_handed_over(const struct doc *shard)
{
    return is_true_at(shard, HANDED_OVER_FIELD);
}

bool claims_late(const struct doc *shard)
{
    return is_true_at(shard, LATE_FIELD);
}

/* Only what the broker has just given to the node: neither what it lost, nor what it is not sure of. */
static bool is_waiting(const struct doc *claim)
{
    return doc_string_equals(&claim->items[2], "behind");
}

static int64_t number_at(const struct doc *claim, uint32_t field)
{
    return claim->count > field && claim->items[field].type == DOC_INT ? claim->items[field].integer
                                                                       : -1;
}

int64_t claims_next_offset(const struct doc *claim)
{
    return number_at(claim, CLAIM_FIELDS);
}

int64_t claims_end(const struct doc *claim)
{
    return number_at(claim, CLAIM_FIELDS + 1);
}

int32_t claims_waiting(const struct doc *collection, const char *shard)
{
    const struct doc *claims = doc_get(collection, "claims");

    for (uint32_t i = 0; claims && i < claims->count; i++)
        if (is_waiting(&claims->items[i]) && doc_string_equals(&claims->items[i].items[0], shard))
            return (int32_t)claims->items[i].items[1].integer;
    return 0;
}

/* This process. */

/* `lease`: NULL where nothing is here yet. */
static struct doc own_claim(struct arena *arena, const char *shard, int32_t generation,
                            const char *state, const struct store_lease *lease)
{
    struct doc *fields = doc_items(arena, CLAIM_ALL_FIELDS);

    fields[0] = doc_string(arena, shard);
    fields[1] = doc_integer(generation);
    fields[2] = doc_string(arena, state);
    fields[3] = doc_integer(lease ? store_shard_next_offset(lease->shard) : -1);
    fields[4] = doc_integer(lease ? lease->end_offset : 0);
    return announcement_list(fields, CLAIM_ALL_FIELDS);
}

struct doc claims_own(const struct cluster_options *options, const char *collection,
                      struct arena *arena)
{
    struct store_lease *leases;
    const char **coming;
    int32_t generation;
    size_t coming_count =
        store_registry_coming(options->registry, collection, arena, &coming, &generation);
    size_t count = store_registry_acquire(options->registry, collection, arena, &leases), kept = 0;
    struct doc *items = doc_items(arena, (uint32_t)(count + coming_count));

    for (size_t i = 0; i < coming_count; i++)
        items[kept++] = own_claim(arena, coming[i], generation, "behind", NULL);

    for (size_t i = 0; i < count; i++) {
        const struct store_lease *lease = &leases[i];
        if (lease->claimed && lease->behind)
            items[kept++] = own_claim(arena, store_shard_name(lease->shard), lease->generation,
                                      lease->doubtful ? "unconfirmed"
                                      : lease->fenced ? "fenced"
                                                      : "behind",
                                      lease);
        store_registry_release(options->registry, &leases[i]);
    }
    return announcement_list(items, kept);
}

/* False for a name that no collection or shard has. */
static bool copy_name(const struct doc *name, char out[NAME_BYTES])
{
    if (name->count >= NAME_BYTES)
        return false;
    (void)snprintf(out, NAME_BYTES, "%.*s", (int)name->count, name->string);
    return true;
}

static void fence(struct store_registry *registry, const struct doc *collection,
                  const struct doc *shard, int64_t generation, bool serves, int64_t until_ns)
{
    char collection_name[NAME_BYTES], shard_name[NAME_BYTES];

    if (generation == 0 || !copy_name(doc_get(collection, "name"), collection_name) ||
        !copy_name(shard, shard_name))
        return;
    store_registry_note_rival(registry, collection_name, shard_name, (int32_t)generation, serves,
                              until_ns);
}

static void note_shards(struct store_registry *registry, const char *collection,
                        const struct doc *shards, int64_t until_ns)
{
    for (uint32_t k = 0; k < shards->count; k++) {
        const struct doc *fields = shards->items[k].items;
        char shard[NAME_BYTES];
        if (copy_name(&fields[0], shard))
            store_registry_note_others(registry, collection, shard, fields[1].integer, until_ns);
    }
}

void claims_note_others(const struct cluster_options *options, const struct doc *collections,
                        int64_t until_ns)
{
    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *one = &collections->items[i];
        const struct config_collection *own;
        char name[NAME_BYTES];
        if (!copy_name(doc_get(one, "name"), name))
            continue;
        own = config_collection_find(options->config, name);
        if (own && node_means(one, own->begin_identity))
            note_shards(options->registry, name, doc_get(one, "shards"), until_ns);
    }
}

void claims_fence(struct store_registry *registry, const struct doc *collections, int64_t until_ns)
{
    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *one = &collections->items[i];
        const struct doc *shards = doc_get(one, "shards"), *claims = doc_get(one, "claims");
        for (uint32_t k = 0; k < shards->count; k++)
            fence(registry, one, &shards->items[k].items[0], claims_generation(&shards->items[k]),
                  true, until_ns);
        for (uint32_t k = 0; claims && k < claims->count; k++)
            if (is_waiting(&claims->items[k]))
                fence(registry, one, &claims->items[k].items[0], claims->items[k].items[1].integer,
                      false, until_ns);
    }
}

struct doc claims_describe(const struct doc *collections, const struct lags *lags,
                           struct arena *arena)
{
    struct doc *items;
    size_t count = 0;

    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *claims = doc_get(&collections->items[i], "claims");
        count += claims ? claims->count : 0;
    }
    items = doc_items(arena, (uint32_t)count);
    count = 0;
    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *name = doc_get(&collections->items[i], "name");
        const struct doc *claims = doc_get(&collections->items[i], "claims");
        for (uint32_t k = 0; claims && k < claims->count; k++) {
            const struct doc *fields = claims->items[k].items;
            struct doc *entry = &items[count++];
            *entry = doc_map(arena, 6);
            doc_put(entry, "collection", announcement_copy(arena, name));
            doc_put(entry, "shard", announcement_copy(arena, &fields[0]));
            doc_put(entry, "generation", fields[1].integer == 0 ? doc_null() : fields[1]);
            doc_put(entry, "state", announcement_copy(arena, &fields[2]));
            if (claims->items[k].count > CLAIM_FIELDS)
                lags_describe(lags, name, &fields[0], claims_next_offset(&claims->items[k]),
                              INT64_MIN, entry);
        }
    }
    return announcement_list(items, count);
}
