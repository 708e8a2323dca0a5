#include "cluster/node.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cluster/announcement.h"
#include "cluster/claims.h"
#include "cluster/members.h"
#include "indexer/query/query.h"

#define MS_NS         INT64_C(1000000)
#define SILENCE_NS    (NODE_SILENCE_MS * MS_NS)
#define GONE_NS       (30000 * MS_NS)
#define LEFT_ALONE_NS (3000 * MS_NS)
/* For an answer of a silent node that has answered nobody of late. */
#define PATIENCE_NS (1000 * MS_NS)

struct node *node_new(void)
{
    struct node *node = memory_new(1, sizeof(*node));

    arena_create(&node->arena, 0);
    return node;
}

void node_delete(struct node *node)
{
    arena_destroy(&node->arena);
    free(node);
}

/* Announcements. */

const char *node_text(struct arena *arena, const struct doc *map, const char *key)
{
    const struct doc *found = doc_get(map, key);

    return found && found->type == DOC_STRING && found->count > 0 && found->count < 256
               ? arena_copy(arena, found->string, found->count)
               : NULL;
}

bool node_is_true(const struct doc *map, const char *key)
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

enum node_outcome node_read(struct node *node, const struct doc *doc, const char *cluster)
{
    const struct doc *version = doc_get(doc, "v");
    const struct doc *incarnation = doc_get(doc, "incarnation");

    if (doc->type != DOC_MAP || !version || version->type != DOC_INT)
        return NODE_MALFORMED;
    if (version->integer != MEMBERS_VERSION)
        return NODE_VERSION;
    if (!doc_string_equals(doc_get(doc, "cluster"), cluster))
        return NODE_FOREIGN;
    node->name = node_text(&node->arena, doc, "node");
    node->address = node_text(&node->arena, doc, "address");
    node->version = node_text(&node->arena, doc, "version");
    node->replica_set = node_text(&node->arena, doc, "replica_set");
    node->group = node_text(&node->arena, doc, "group");
    node->collections = doc_get(doc, "collections");
    node->draining = node_is_true(doc, "draining");
    if (doc_get(doc, "roles"))
        node->roles = *doc_get(doc, "roles");
    if (!node->name || !node->address || strpbrk(node->address, "/ @?#") || !incarnation ||
        !doc_as_u64(incarnation, &node->incarnation) || !node->collections ||
        !read_protocol(doc_get(doc, "protocol"), node) || node->collections->type != DOC_ARRAY)
        return NODE_MALFORMED;
    for (uint32_t i = 0; i < node->collections->count; i++)
        if (!announcement_is_collection(&node->collections->items[i]))
            return NODE_MALFORMED;
    return NODE_TAKEN;
}

/* Look-ups. */

const struct doc *node_collection(const struct node *node, const char *collection)
{
    for (uint32_t i = 0; node->understands && i < node->collections->count; i++)
        if (doc_string_equals(doc_get(&node->collections->items[i], "name"), collection))
            return &node->collections->items[i];
    return NULL;
}

const struct doc *node_shard_in(const struct doc *collection, const char *shard)
{
    const struct doc *shards = doc_get(collection, "shards");

    for (uint32_t i = 0; i < shards->count; i++)
        if (doc_string_equals(&shards->items[i].items[0], shard))
            return &shards->items[i];
    return NULL;
}

const struct doc *node_shard(const struct node *node, const char *collection, const char *shard)
{
    const struct doc *one = node_collection(node, collection);

    return one ? node_shard_in(one, shard) : NULL;
}

bool node_is_successor(const struct node *node, const char *replica_set)
{
    bool reads = false;

    for (uint32_t i = 0; node->roles.type == DOC_ARRAY && i < node->roles.count; i++)
        reads |= doc_string_equals(&node->roles.items[i], "ingest");
    return reads && !node->draining && !node->silent &&
           strcmp(replica_set ? replica_set : "", node->replica_set ? node->replica_set : "") == 0;
}

/* Silence. */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool node_is_gone(const struct node *node, int64_t now_ns)
{
    return now_ns - later(node->heard_ns, node->answered_ns) > GONE_NS;
}

bool node_has_failed(const struct node *node)
{
    return node->silent && node->failed_ns > node->answered_ns;
}

bool node_may_answer(const struct node *node, int64_t now_ns)
{
    return !node_has_failed(node) || now_ns - node->failed_ns > LEFT_ALONE_NS;
}

bool node_is_expected(const struct node *node, int64_t asked_ns, int64_t now_ns)
{
    return !node->silent || now_ns - asked_ns < PATIENCE_NS ||
           (node->answered_ns != 0 && now_ns - node->answered_ns < SILENCE_NS);
}

struct doc node_describe(const struct node *node, int64_t now_ns, bool self,
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
    doc_put(&entry, "shards", announcement_describe_shards(node->collections, lags, arena));
    doc_put(&entry, "claims", claims_describe(node->collections, lags, arena));
    return entry;
}
