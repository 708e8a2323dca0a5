#include "cluster/node.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

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

/* Look-ups. */

bool node_means(const struct doc *announced, uint64_t begin)
{
    const struct doc *found = doc_get(announced, "begin");
    uint64_t theirs = 0;

    return found ? doc_as_u64(found, &theirs) && theirs == begin : begin == 0;
}

const struct doc *node_collection(const struct node *node, const char *collection, uint64_t begin)
{
    for (uint32_t i = 0; node->understands && i < node->collections->count; i++) {
        const struct doc *one = &node->collections->items[i];
        if (doc_string_equals(doc_get(one, "name"), collection) && node_means(one, begin))
            return one;
    }
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

const struct doc *node_shard(const struct node *node, const char *collection, uint64_t begin,
                             const char *shard)
{
    const struct doc *one = node_collection(node, collection, begin);

    return one ? node_shard_in(one, shard) : NULL;
}

bool node_reads(const struct node *node)
{
    bool reads = false;

    for (uint32_t i = 0; node->roles.type == DOC_ARRAY && i < node->roles.count; i++)
        reads |= doc_string_equals(&node->roles.items[i], "ingest");
    return reads;
}

bool node_is_successor(const struct node *node, const char *replica_set)
{
    return node_reads(node) && !node->draining && !node->silent &&
           strcmp(replica_set ? replica_set : "", node->replica_set ? node->replica_set : "") == 0;
}

/* Silence. */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool node_is_gone(const struct node *node, int64_t deaf_ns, int64_t now_ns)
{
    return now_ns - later(deaf_ns, later(node->heard_ns, node->answered_ns)) > GONE_NS;
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
