#include "cluster/announcement.h"

#include <string.h>

#include "base/memory.h"
#include "base/version.h"
#include "cluster/claims.h"
#include "indexer/query/query.h"
#include "store/lease.h"
#include "store/snapshot.h"
#include "store/store.h"

enum { SHARD_FIELDS = 7 };

static const struct doc_limits limits = {.max_bytes = 4 << 20, .max_depth = 16};

struct doc announcement_list(const struct doc *items, size_t count)
{
    return (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items};
}

struct doc announcement_protocol(int64_t oldest, int64_t newest, struct arena *arena)
{
    struct doc *items = doc_items(arena, 2);

    items[0] = doc_integer(oldest);
    items[1] = doc_integer(newest);
    return announcement_list(items, 2);
}

struct doc announcement_roles(unsigned roles, struct arena *arena)
{
    struct doc *items = doc_items(arena, 3);
    uint32_t count = 0;

    if (roles & CONFIG_ROLE_INGEST)
        items[count++] = doc_string(arena, "ingest");
    if (roles & CONFIG_ROLE_INDEXER)
        items[count++] = doc_string(arena, "indexer");
    if (roles & CONFIG_ROLE_QUERY)
        items[count++] = doc_string(arena, "query");
    return announcement_list(items, count);
}

/* What lacks records is not offered to others. */
static struct doc own_shards(const struct cluster_options *options, const char *collection,
                             struct arena *arena)
{
    struct store_registry *registry = options->registry;
    int64_t now_ms = io_wall_ms(options->io);
    struct store_lease *leases;
    size_t leased = store_registry_acquire(registry, collection, arena, &leases), count = 0;
    struct doc *items = doc_items(arena, (uint32_t)leased);

    for (size_t i = 0; i < leased; i++) {
        struct store_snapshot *snapshot = store_snapshot_acquire(leases[i].shard, now_ms);
        struct doc *fields = doc_items(arena, SHARD_FIELDS);
        fields[0] = doc_string(arena, store_shard_name(leases[i].shard));
        fields[1] = doc_integer(store_snapshot_next_offset(snapshot));
        fields[2] = doc_integer(store_snapshot_watermark_ms(snapshot));
        fields[3] = doc_integer(leases[i].generation);
        fields[4] = doc_bool(leases[i].handed_over);
        fields[5] = doc_integer(leases[i].end_offset);
        fields[6] = doc_bool(leases[i].late || leases[i].reading == STORE_STOPPED);
        if (!leases[i].behind)
            items[count++] = announcement_list(fields, SHARD_FIELDS);
        store_snapshot_release(snapshot);
        store_registry_release(registry, &leases[i]);
    }
    return announcement_list(items, count);
}

static struct doc own_expected(const struct cluster_options *options, const char *collection,
                               struct arena *arena)
{
    struct store_expected_shard *shards;
    size_t count = store_registry_expected(options->registry, collection, arena, &shards);
    struct doc *items = doc_items(arena, (uint32_t)count);

    for (size_t i = 0; i < count; i++) {
        struct doc *pair = doc_items(arena, 2);
        pair[0] = doc_string(arena, shards[i].name);
        pair[1] = doc_string(arena, shards[i].label);
        items[i] = announcement_list(pair, 2);
    }
    return announcement_list(items, count);
}

struct doc announcement_collections(const struct cluster_options *options, struct arena *arena)
{
    const struct config *config = options->config;
    const size_t room = config->collection_count; /* one may be added meanwhile */
    struct doc *items = doc_items(arena, (uint32_t)room);
    size_t count = 0;

    for (size_t i = 0; i < room; i++) {
        const struct config_collection *collection = &config->collections[i];
        const char *name = collection->name;
        struct doc *item = &items[count];
        if (collection->removed)
            continue;
        count++;
        *item = doc_map(arena, 6);
        doc_put(item, "name", doc_string(arena, name));
        doc_put(item, "dim", doc_integer(collection->dim));
        if (collection->begin_identity != 0)
            doc_put(item, "begin", doc_integer((int64_t)collection->begin_identity));
        doc_put(item, "shards", own_shards(options, name, arena));
        doc_put(item, "claims", claims_own(options, name, arena));
        doc_put(item, "expected", own_expected(options, name, arena));
    }
    return announcement_list(items, count);
}

struct doc announcement_doc(const struct announcement *announcement, struct arena *arena)
{
    const struct cluster_options *options = announcement->options;
    const struct config *config = options->config;
    struct doc doc = doc_map(arena, 14);
    char group[CONFIG_GROUP_BYTES];

    doc_put(&doc, "v", doc_integer(ANNOUNCEMENT_VERSION));
    doc_put(&doc, "cluster", doc_string(arena, config->cluster_name));
    doc_put(&doc, "node", doc_string(arena, config->node));
    doc_put(&doc, "incarnation", doc_integer((int64_t)announcement->incarnation));
    doc_put(&doc, "address", doc_string(arena, announcement->address));
    doc_put(&doc, "version", doc_string(arena, WINDROW_VERSION));
    doc_put(&doc, "protocol", announcement_protocol(QUERY_PROTOCOL_OLDEST, QUERY_PROTOCOL, arena));
    doc_put(&doc, "roles", announcement_roles(options->roles, arena));
    doc_put(&doc, "replica_set", doc_text(arena, config->cluster_replica_set));
    config_consumer_group(config, group);
    doc_put(&doc, "group", doc_string(arena, group));
    doc_put(&doc, "leaving", doc_bool(announcement->leaving));
    doc_put(&doc, "draining", doc_bool(announcement->draining));
    doc_put(&doc, "pauses", doc_integer((int64_t)announcement->pauses));
    doc_put(&doc, "collections", announcement_collections(options, arena));
    return doc;
}

struct doc announcement_copy(struct arena *arena, const struct doc *from)
{
    struct doc copy = *from;

    copy.string = arena_copy(arena, from->string, from->count);
    return copy;
}

/* Of others. */

static bool is_list(const struct doc *doc, enum doc_type first, uint32_t width)
{
    if (!doc || doc->type != DOC_ARRAY)
        return false;
    for (uint32_t i = 0; i < doc->count; i++)
        if (doc->items[i].type != DOC_ARRAY || doc->items[i].count < width ||
            doc->items[i].items[0].type != first)
            return false;
    return true;
}

static bool is_collection(const struct doc *doc)
{
    const struct doc *name = doc_get(doc, "name");
    const struct doc *shards = doc_get(doc, "shards");
    const struct doc *expected = doc_get(doc, "expected");

    if (!name || name->type != DOC_STRING || !is_list(shards, DOC_STRING, 3) ||
        !is_list(expected, DOC_STRING, 2))
        return false;
    for (uint32_t i = 0; i < shards->count; i++)
        if (shards->items[i].items[1].type != DOC_INT || shards->items[i].items[2].type != DOC_INT)
            return false;
    for (uint32_t i = 0; i < expected->count; i++)
        if (expected->items[i].items[1].type != DOC_STRING)
            return false;
    return claims_are_sound(doc);
}

const char *announcement_text(struct arena *arena, const struct doc *map, const char *key)
{
    const struct doc *found = doc_get(map, key);

    return found && found->type == DOC_STRING && found->count > 0 && found->count < 256
               ? arena_copy(arena, found->string, found->count)
               : NULL;
}

static bool is_true(const struct doc *map, const char *key)
{
    const struct doc *found = doc_get(map, key);

    return found && found->type == DOC_BOOL && found->boolean;
}

/* "protocol": [oldest, newest]. Nodes from before there was a second version do not say. */
static bool read_protocol(const struct doc *range, struct node *node)
{
    node->oldest_protocol = node->protocol = 1;
    if (range && (range->type != DOC_ARRAY || range->count != 2 ||
                  range->items[0].type != DOC_INT || range->items[1].type != DOC_INT))
        return false;
    if (range) {
        node->oldest_protocol = range->items[0].integer;
        node->protocol = range->items[1].integer;
    }
    node->understands =
        node->oldest_protocol <= QUERY_PROTOCOL && node->protocol >= QUERY_PROTOCOL_OLDEST;
    return true;
}

static enum node_outcome read_node(struct node *node, const struct doc *doc, const char *cluster)
{
    const struct doc *version = doc_get(doc, "v");
    const struct doc *incarnation = doc_get(doc, "incarnation");

    if (doc->type != DOC_MAP || !version || version->type != DOC_INT)
        return NODE_MALFORMED;
    if (version->integer != ANNOUNCEMENT_VERSION)
        return NODE_VERSION;
    if (!doc_string_equals(doc_get(doc, "cluster"), cluster))
        return NODE_FOREIGN;
    node->name = announcement_text(&node->arena, doc, "node");
    node->address = announcement_text(&node->arena, doc, "address");
    node->version = announcement_text(&node->arena, doc, "version");
    node->replica_set = announcement_text(&node->arena, doc, "replica_set");
    node->group = announcement_text(&node->arena, doc, "group");
    node->collections = doc_get(doc, "collections");
    node->draining = is_true(doc, "draining");
    if (doc_get(doc, "roles"))
        node->roles = *doc_get(doc, "roles");
    if (!node->name || !node->address || strpbrk(node->address, "/ @?#") || !incarnation ||
        !doc_as_u64(incarnation, &node->incarnation) || !node->collections ||
        !read_protocol(doc_get(doc, "protocol"), node) || node->collections->type != DOC_ARRAY)
        return NODE_MALFORMED;
    for (uint32_t i = 0; i < node->collections->count; i++)
        if (!is_collection(&node->collections->items[i]))
            return NODE_MALFORMED;
    return NODE_TAKEN;
}

enum node_outcome announcement_read(struct node *node, const void *bytes, size_t size_bytes,
                                    const char *cluster, struct doc *announcement)
{
    const void *copy = memory_checked(arena_copy(&node->arena, bytes, size_bytes));
    struct error error = {0};

    if (doc_parse_msgpack(&node->arena, copy, size_bytes, &limits, announcement, &error) != 0)
        return NODE_MALFORMED;
    return read_node(node, announcement, cluster);
}

bool announcement_is_leaving(const struct doc *announcement)
{
    return is_true(announcement, "leaving");
}

uint64_t announcement_pauses(const struct doc *announcement)
{
    const struct doc *found = doc_get(announcement, "pauses");
    uint64_t pauses;

    return found && doc_as_u64(found, &pauses) ? pauses : UINT64_MAX;
}
