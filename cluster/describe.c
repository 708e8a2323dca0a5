#include "cluster/describe.h"

#include "cluster/announcement.h"
#include "cluster/claims.h"

static struct doc describe_shards(const struct doc *collections, const struct lags *lags,
                                  struct arena *arena)
{
    struct doc *items;
    size_t count = 0;

    for (uint32_t i = 0; i < collections->count; i++)
        count += doc_get(&collections->items[i], "shards")->count;
    items = doc_items(arena, (uint32_t)count);
    count = 0;
    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *name = doc_get(&collections->items[i], "name");
        const struct doc *shards = doc_get(&collections->items[i], "shards");
        for (uint32_t k = 0; k < shards->count; k++) {
            const struct doc *fields = shards->items[k].items;
            struct doc *entry = &items[count++];
            *entry = doc_map(arena, 7);
            doc_put(entry, "collection", announcement_copy(arena, name));
            doc_put(entry, "shard", announcement_copy(arena, &fields[0]));
            doc_put(entry, "next_offset", fields[1]);
            doc_put(entry, "watermark_ms", fields[2].integer == INT64_MIN ? doc_null() : fields[2]);
            doc_put(entry, "generation",
                    claims_generation(&shards->items[k]) == 0 ? doc_null() : fields[3]);
            lags_describe(lags, name, &fields[0], fields[1].integer, fields[2].integer, entry);
        }
    }
    return announcement_list(items, count);
}

struct doc describe_node(const struct node *node, int64_t now_ns, bool self,
                         const struct lags *lags, struct arena *arena)
{
    struct doc entry = doc_map(arena, 12);
    struct doc *roles = doc_items(arena, node->roles.type == DOC_ARRAY ? node->roles.count : 0);
    uint32_t role_count = 0;

    for (uint32_t i = 0; node->roles.type == DOC_ARRAY && i < node->roles.count; i++)
        if (node->roles.items[i].type == DOC_STRING)
            roles[role_count++] = announcement_copy(arena, &node->roles.items[i]);
    doc_put(&entry, "node", doc_text(arena, node->name));
    doc_put(&entry, "address", doc_text(arena, node->address));
    doc_put(&entry, "self", doc_bool(self));
    doc_put(&entry, "version", doc_text(arena, node->version));
    doc_put(&entry, "protocol",
            announcement_protocol(node->oldest_protocol, node->protocol, arena));
    doc_put(&entry, "roles", announcement_list(roles, role_count));
    doc_put(&entry, "replica_set", doc_text(arena, node->replica_set));
    doc_put(&entry, "draining", doc_bool(node->draining));
    doc_put(&entry, "silent", doc_bool(node->silent));
    doc_put(&entry, "heard_seconds", doc_number((double)(now_ns - node->heard_ns) / 1e9));
    doc_put(&entry, "shards", describe_shards(node->collections, lags, arena));
    doc_put(&entry, "claims", claims_describe(node->collections, lags, arena));
    return entry;
}
