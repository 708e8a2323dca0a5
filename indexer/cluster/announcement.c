#include "indexer/cluster/announcement.h"

#include "base/version.h"
#include "indexer/cluster/members.h"

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
        struct doc *fields = doc_items(arena, 3);
        fields[0] = doc_string(arena, store_shard_name(leases[i].shard));
        fields[1] = doc_integer(store_snapshot_next_offset(snapshot));
        fields[2] = doc_integer(store_snapshot_watermark_ms(snapshot));
        if (!leases[i].behind)
            items[count++] = announcement_list(fields, 3);
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
    struct doc *items = doc_items(arena, (uint32_t)config->collection_count);

    for (size_t i = 0; i < config->collection_count; i++) {
        const char *name = config->collections[i].name;
        items[i] = doc_map(arena, 4);
        doc_put(&items[i], "name", doc_string(arena, name));
        doc_put(&items[i], "dim", doc_integer(config->collections[i].dim));
        doc_put(&items[i], "shards", own_shards(options, name, arena));
        doc_put(&items[i], "expected", own_expected(options, name, arena));
    }
    return announcement_list(items, config->collection_count);
}

struct doc announcement_doc(const struct announcement *announcement, struct arena *arena)
{
    const struct cluster_options *options = announcement->options;
    const struct config *config = options->config;
    struct doc doc = doc_map(arena, 12);

    doc_put(&doc, "v", doc_integer(MEMBERS_VERSION));
    doc_put(&doc, "cluster", doc_string(arena, config->cluster_name));
    doc_put(&doc, "node", doc_string(arena, config->node));
    doc_put(&doc, "incarnation", doc_integer((int64_t)announcement->incarnation));
    doc_put(&doc, "address", doc_string(arena, announcement->address));
    doc_put(&doc, "version", doc_string(arena, WINDROW_VERSION));
    doc_put(&doc, "protocol", announcement_protocol(QUERY_PROTOCOL_OLDEST, QUERY_PROTOCOL, arena));
    doc_put(&doc, "roles", announcement_roles(options->roles, arena));
    doc_put(&doc, "replica_set", doc_text(arena, config->cluster_replica_set));
    doc_put(&doc, "leaving", doc_bool(announcement->leaving));
    doc_put(&doc, "draining", doc_bool(announcement->draining));
    doc_put(&doc, "collections", announcement_collections(options, arena));
    return doc;
}
