#include "cluster/nodes.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "cluster/announcement.h"
#include "cluster/claims.h"
#include "cluster/describe.h"
#include "indexer/query/query.h"
#include "store/lease.h"
#include "store/registry.h"

enum {
    NODES_MAX = 2048,
    HOLDERS_MAX = 64,   /* of a shard; further ones are not looked at */
    OFFSET_SLACK = 1000 /* records by which a shard may be behind another and count as fresh */
};

#define SILENCE_NS (NODE_SILENCE_MS * INT64_C(1000000))

struct nodes {
    struct cluster_options options;
    char group[CONFIG_GROUP_BYTES]; /* this process's */
    pthread_mutex_t lock;           /* guards all below */
    struct node *first;
    size_t count;
    atomic_size_t silent_count;   /* of them; written under the lock */
    _Atomic uint64_t taken_count; /* announcements; written under the lock */
    int64_t deaf_ns;              /* when this process last could not hear anybody */
};

/* Nodes. Under the lock. */

static struct node **find_node(struct nodes *nodes, const struct doc *name)
{
    struct node **place = &nodes->first;

    while (*place && !doc_string_equals(name, (*place)->name))
        place = &(*place)->next;
    return place;
}

static void remove_node(struct nodes *nodes, struct node **place)
{
    struct node *node = *place;

    *place = node->next;
    nodes->count--;
    if (node->silent)
        atomic_fetch_sub(&nodes->silent_count, 1);
    node_delete(node);
}

/* Silence is not proof that a node is dead, only that it may be: NATS may be between the two. It comes back with its
 * next word. */
static void judge_silent(struct nodes *nodes)
{
    int64_t now_ns = io_monotonic_ns(nodes->options.io);
    struct node **place = &nodes->first;

    while (*place) {
        struct node *node = *place;
        if (!node->silent && now_ns - node->heard_ns > SILENCE_NS) {
            log_warning("cluster",
                        "node %s at %s is silent: it is asked for its shards where nobody else "
                        "answers",
                        node->name, node->address);
            node->silent = true;
            atomic_fetch_add(&nodes->silent_count, 1);
        }
        if (node_is_gone(node, nodes->deaf_ns, now_ns)) {
            log_warning("cluster", "node %s at %s is gone: neither heard nor answering", node->name,
                        node->address);
            remove_node(nodes, place);
        } else {
            place = &node->next;
        }
    }
}

/* Two processes of one name: the one that started later counts, and both say so. */
static enum node_outcome take_node(struct nodes *nodes, struct node *fresh, const struct doc *name,
                                   bool leaving)
{
    struct node **place = find_node(nodes, name);
    struct node *former = *place;
    enum node_outcome outcome = NODE_TAKEN;

    if (former && former->silent)
        log_info("cluster", "node %s at %s is heard again", fresh->name, fresh->address);
    if (former && !former->silent && former->incarnation != fresh->incarnation) {
        if (strcmp(former->address, fresh->address) != 0) {
            log_error("cluster", "two nodes have the name %s: %s and %s (set `node`)", fresh->name,
                      former->address, fresh->address);
            outcome = NODE_DUPLICATE;
        }
        if (former->incarnation > fresh->incarnation)
            return NODE_DUPLICATE;
    }
    if (former)
        remove_node(nodes, place);
    else if (!leaving)
        log_info("cluster", "node %s at %s is here", fresh->name, fresh->address);
    if (!former && !leaving && !fresh->understands)
        log_error("cluster",
                  "node %s at %s is not asked: windrow %s understands requests of versions %" PRId64
                  " to %" PRId64 ", this process those of %d to %d",
                  fresh->name, fresh->address, fresh->version ? fresh->version : "?",
                  fresh->oldest_protocol, fresh->protocol, QUERY_PROTOCOL_OLDEST, QUERY_PROTOCOL);
    if (leaving)
        log_info("cluster", "node %s at %s has left", fresh->name, fresh->address);
    if (!leaving && nodes->count < NODES_MAX) {
        fresh->next = nodes->first;
        nodes->first = fresh;
        nodes->count++;
    }
    return outcome;
}

/* Expected shards. Under the lock. */

static const struct doc *expected_in(const struct node *node, const char *collection)
{
    for (uint32_t i = 0; i < node->collections->count; i++)
        if (doc_string_equals(doc_get(&node->collections->items[i], "name"), collection))
            return doc_get(&node->collections->items[i], "expected");
    return NULL;
}

static int by_shard_name(const void *a, const void *b)
{
    return strcmp(((const struct store_expected_shard *)a)->name,
                  ((const struct store_expected_shard *)b)->name);
}

/* Adds those of one announcement; `shards` has room. */
static size_t add_expected(const struct doc *expected, struct arena *arena,
                           struct store_expected_shard *shards, size_t count)
{
    for (uint32_t i = 0; expected && i < expected->count; i++) {
        const struct doc *pair = expected->items[i].items;
        shards[count++] = (struct store_expected_shard){
            .name = arena_copy(arena, pair[0].string, pair[0].count),
            .label = arena_copy(arena, pair[1].string, pair[1].count)};
    }
    return count;
}

/* Each once, by name. Returns how many. */
static size_t sort_expected(struct store_expected_shard *shards, size_t count)
{
    size_t kept = 0;

    if (count > 1)
        qsort(shards, count, sizeof(*shards), by_shard_name);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(shards[kept - 1].name, shards[i].name) != 0)
            shards[kept++] = shards[i];
    return kept;
}

static bool same_expected(const struct store_expected_shard *a, size_t a_count,
                          const struct store_expected_shard *b, size_t b_count)
{
    for (size_t i = 0; i < a_count && a_count == b_count; i++)
        if (strcmp(a[i].name, b[i].name) != 0)
            return false;
    return a_count == b_count;
}

/* What any node that is heard expects. Some know new partitions earlier than others; a topic that is gone from all of them
 * is gone. */
static void learn_from_all(const struct nodes *nodes, const char *collection, struct arena *arena)
{
    struct store_expected_shard *shards;
    size_t room = 0, count = 0;

    for (const struct node *node = nodes->first; node; node = node->next) {
        const struct doc *expected = node->silent ? NULL : expected_in(node, collection);
        room += expected ? expected->count : 0;
    }
    shards = memory_checked(arena_calloc(arena, room + 1, sizeof(*shards)));
    for (const struct node *node = nodes->first; node; node = node->next)
        if (!node->silent)
            count = add_expected(expected_in(node, collection), arena, shards, count);
    store_registry_expect(nodes->options.registry, collection, shards,
                          sort_expected(shards, count));
}

/* Processes that read no Kafka learn from announcements which shards there are. A node that has just started, or has lost
 * sight of a topic, knows none: that says nothing. */
static void learn_expected(const struct nodes *nodes, const struct node *fresh)
{
    for (uint32_t i = 0; i < fresh->collections->count; i++) {
        const struct doc *one = &fresh->collections->items[i];
        const struct doc *expected = doc_get(one, "expected");
        struct store_expected_shard *known, *told;
        struct arena arena;
        size_t known_count, told_count;
        const char *name;
        arena_create(&arena, 0);
        name = announcement_text(&arena, one, "name");
        if (name && config_collection_find(nodes->options.config, name) && expected->count > 0) {
            known_count = store_registry_expected(nodes->options.registry, name, &arena, &known);
            told = memory_checked(arena_calloc(&arena, expected->count, sizeof(*told)));
            told_count = sort_expected(told, add_expected(expected, &arena, told, 0));
            if (!same_expected(known, sort_expected(known, known_count), told, told_count))
                learn_from_all(nodes, name, &arena);
        }
        arena_destroy(&arena);
    }
}

/* What others announced counts for so long, and a copy may be behind them for so long. Nothing runs for two seconds now
 * and then on a busy machine. */
static int64_t absence_limit_ms(const struct config *config)
{
    enum { LEAST_MS = 2000 };
    const int64_t fresh_ms = config->cluster_fresh_within_ms;

    if (fresh_ms < LEAST_MS)
        return LEAST_MS;
    return fresh_ms < NODE_SILENCE_MS ? fresh_ms : NODE_SILENCE_MS;
}

struct nodes *nodes_new(const struct cluster_options *options)
{
    struct nodes *nodes = memory_new(1, sizeof(*nodes));

    nodes->options = *options;
    store_registry_watch_others(options->registry, options->config->cluster_fresh_records,
                                options->config->cluster_fresh_within_ms * INT64_C(1000000));
    store_registry_watch_absence(options->registry,
                                 absence_limit_ms(options->config) * INT64_C(1000000));
    config_consumer_group(options->config, nodes->group);
    pthread_mutex_init(&nodes->lock, NULL);
    return nodes;
}

void nodes_delete(struct nodes *nodes)
{
    if (!nodes)
        return;
    while (nodes->first)
        remove_node(nodes, &nodes->first);
    pthread_mutex_destroy(&nodes->lock);
    free(nodes);
}

bool nodes_take(struct nodes *nodes, struct node *fresh, const struct doc *announcement,
                enum node_outcome *outcome, bool *is_new)
{
    const struct doc *name = doc_get(announcement, "node");
    const struct node *former;
    bool kept;

    pthread_mutex_lock(&nodes->lock);
    former = *find_node(nodes, name);
    *is_new = !former || former->silent;
    *outcome = take_node(nodes, fresh, name, announcement_is_leaving(announcement));
    kept = nodes->first == fresh;
    atomic_fetch_add(&nodes->taken_count, 1);
    if (kept && (nodes->options.roles & CONFIG_ROLE_INGEST) == 0)
        learn_expected(nodes, fresh);
    if ((nodes->options.roles & CONFIG_ROLE_INGEST) != 0 && fresh->understands &&
        !announcement_is_leaving(announcement))
        claims_note_others(&nodes->options, fresh->collections, fresh->heard_ns + SILENCE_NS);
    /* Race: who finds a shard here that has been left to this node must find the node, too. */
    if ((nodes->options.roles & CONFIG_ROLE_INGEST) != 0 && fresh->group &&
        strcmp(fresh->group, nodes->group) == 0)
        claims_fence(nodes->options.registry, fresh->collections, fresh->heard_ns + SILENCE_NS);
    pthread_mutex_unlock(&nodes->lock);
    return kept;
}

void nodes_judge(struct nodes *nodes, bool hears, size_t *heard, size_t *silent)
{
    pthread_mutex_lock(&nodes->lock);
    if (!hears)
        nodes->deaf_ns = io_monotonic_ns(nodes->options.io);
    judge_silent(nodes);
    *silent = atomic_load(&nodes->silent_count);
    *heard = nodes->count - *silent;
    pthread_mutex_unlock(&nodes->lock);
}

/* Look-ups. */

/* A few records of difference say more about the moment of the announcement than about freshness. */
static bool is_better(const struct nodes_owner *a, const struct nodes_owner *b)
{
    int64_t ahead = a->next_offset - b->next_offset;

    if (a->silent != b->silent)
        return b->silent;
    if (a->late != b->late)
        return b->late;
    if (a->handed_over != b->handed_over)
        return b->handed_over;
    if (ahead > OFFSET_SLACK || ahead < -OFFSET_SLACK)
        return ahead > 0;
    if (a->same_host != b->same_host)
        return a->same_host;
    return strcmp(a->node, b->node) < 0;
}

int nodes_protocol(struct nodes *nodes)
{
    int64_t newest = QUERY_PROTOCOL;

    pthread_mutex_lock(&nodes->lock);
    for (const struct node *node = nodes->first; node; node = node->next)
        if (node->understands && node->protocol < newest)
            newest = node->protocol;
    pthread_mutex_unlock(&nodes->lock);
    return (int)newest;
}

/* Claims of all nodes on one shard, first those of nodes that are heard. */
struct holders {
    struct claim claims[HOLDERS_MAX];
    const struct node *nodes[HOLDERS_MAX];
    int64_t next_offsets[HOLDERS_MAX];
    bool late[HOLDERS_MAX];
    size_t count, heard_count;
};

/* Of the collection that has the name here. */
static uint64_t begin_of(const struct nodes *nodes, const char *collection)
{
    const struct config_collection *own = config_collection_find(nodes->options.config, collection);

    return own ? own->begin_identity : 0;
}

/* Under the lock. */
static void find_some_holders(const struct nodes *nodes, const char *collection, const char *shard,
                              bool silent, struct holders *holders)
{
    const uint64_t begin = begin_of(nodes, collection);

    for (const struct node *node = nodes->first; node && holders->count < HOLDERS_MAX;
         node = node->next) {
        const struct doc *one =
            node->silent == silent ? node_collection(node, collection, begin) : NULL;
        const struct doc *found = one ? node_shard_in(one, shard) : NULL;
        int32_t generation = found ? claims_generation(found)
                             : one ? claims_waiting(one, shard)
                                   : 0;
        if (!found && generation == 0)
            continue;
        holders->claims[holders->count] =
            (struct claim){.group = node->group,
                           .generation = generation,
                           .serves = found != NULL,
                           .handed_over = node->draining || (found && claims_handed_over(found))};
        holders->next_offsets[holders->count] = found ? found->items[1].integer : -1;
        holders->late[holders->count] = found && claims_late(found);
        holders->nodes[holders->count++] = node;
    }
}

/* Under the lock. */
static void find_holders(const struct nodes *nodes, const char *collection, const char *shard,
                         struct holders *holders)
{
    holders->count = 0;
    find_some_holders(nodes, collection, shard, false, holders);
    holders->heard_count = holders->count;
    if (atomic_load(&nodes->silent_count) > 0)
        find_some_holders(nodes, collection, shard, true, holders);
}

/* What a silent node once claimed takes no place of what is heard now. Under the lock. */
static bool may_be_asked(const struct holders *holders, size_t which, int64_t now_ns)
{
    size_t rivals = which < holders->heard_count ? holders->heard_count : holders->count;

    return holders->claims[which].serves && node_may_answer(holders->nodes[which], now_ns) &&
           !claims_superseded(holders->claims, rivals, which);
}

/* Returns how many there are now: the worst one goes when there is no room. */
static size_t insert_owner(struct nodes_owner *owners, size_t count, size_t max,
                           const struct nodes_owner *fresh)
{
    size_t place = count < max ? count++ : max - 1;

    if (place == max - 1 && owners[place].node && !is_better(fresh, &owners[place]))
        return count;
    for (; place > 0 && is_better(fresh, &owners[place - 1]); place--)
        owners[place] = owners[place - 1];
    owners[place] = *fresh;
    return count;
}

size_t nodes_owners(struct nodes *nodes, const char *collection, const char *shard,
                    struct arena *arena, struct nodes_owner *owners, size_t max)
{
    const int64_t now_ns = io_monotonic_ns(nodes->options.io);
    struct holders holders;
    size_t count = 0;

    memset(owners, 0, max * sizeof(*owners));
    pthread_mutex_lock(&nodes->lock);
    find_holders(nodes, collection, shard, &holders);
    for (size_t i = 0; i < holders.count; i++) {
        const struct node *node = holders.nodes[i];
        struct nodes_owner fresh = {.next_offset = holders.next_offsets[i],
                                    .heard_ns = node->heard_ns,
                                    .same_host = node->same_host,
                                    .silent = node->silent,
                                    .handed_over = holders.claims[i].handed_over,
                                    .late = holders.late[i]};
        if (!may_be_asked(&holders, i, now_ns))
            continue;
        fresh.node = arena_copy(arena, node->name, strlen(node->name));
        fresh.address = arena_copy(arena, node->address, strlen(node->address));
        count = insert_owner(owners, count, max, &fresh);
    }
    pthread_mutex_unlock(&nodes->lock);
    return count;
}

uint64_t nodes_taken_count(const struct nodes *nodes)
{
    return atomic_load(&nodes->taken_count);
}

/* Only by one who answers: who waits to do so has shown nobody more. */
bool nodes_superseded(struct nodes *nodes, const char *collection, const char *shard,
                      const char *node, int32_t generation)
{
    struct claim claims[HOLDERS_MAX + 1];
    struct holders holders;
    const struct node *asked;
    size_t count = 0;
    bool superseded = false;

    pthread_mutex_lock(&nodes->lock);
    for (asked = nodes->first; asked && strcmp(asked->name, node) != 0; asked = asked->next)
        ;
    if (asked) {
        find_holders(nodes, collection, shard, &holders);
        claims[count++] = (struct claim){.group = asked->group, .generation = generation};
        for (size_t i = 0; i < holders.heard_count; i++)
            if (holders.nodes[i] != asked && holders.claims[i].serves)
                claims[count++] = holders.claims[i];
        superseded = claims_superseded(claims, count, 0);
    }
    pthread_mutex_unlock(&nodes->lock);
    return superseded;
}

size_t nodes_successors(struct nodes *nodes)
{
    size_t count = 0;

    pthread_mutex_lock(&nodes->lock);
    for (const struct node *node = nodes->first; node; node = node->next)
        count += node_is_successor(node, nodes->options.config->cluster_replica_set);
    pthread_mutex_unlock(&nodes->lock);
    return count;
}

/* Up to which offset the node serves the shard and goes on with it; INT64_MIN: it does not. Under the lock. */
static int64_t live_offset(const struct node *node, const char *collection, uint64_t begin,
                           const char *shard)
{
    const struct doc *found =
        node->silent || node->draining ? NULL : node_shard(node, collection, begin, shard);

    return found && !claims_handed_over(found) ? found->items[1].integer : INT64_MIN;
}

bool nodes_taken_over(struct nodes *nodes, const char *collection, const char *shard,
                      int64_t next_offset)
{
    const uint64_t begin = begin_of(nodes, collection);
    bool taken = false;

    pthread_mutex_lock(&nodes->lock);
    for (const struct node *node = nodes->first; node && !taken; node = node->next)
        taken = node_is_successor(node, nodes->options.config->cluster_replica_set) &&
                live_offset(node, collection, begin, shard) >= next_offset;
    pthread_mutex_unlock(&nodes->lock);
    return taken;
}

bool nodes_ahead(struct nodes *nodes, const char *collection, const char *shard,
                 int64_t next_offset)
{
    const uint64_t begin = begin_of(nodes, collection);
    bool ahead = false;

    pthread_mutex_lock(&nodes->lock);
    for (const struct node *node = nodes->first; node && !ahead; node = node->next)
        ahead = live_offset(node, collection, begin, shard) > next_offset;
    pthread_mutex_unlock(&nodes->lock);
    return ahead;
}

/* Under the lock; NULL: nobody has announced it. */
static struct node *node_at(const struct nodes *nodes, const char *address)
{
    struct node *node = nodes->first;

    while (node && strcmp(node->address, address) != 0)
        node = node->next;
    return node;
}

bool nodes_expects(struct nodes *nodes, const char *address, int64_t asked_ns)
{
    const struct node *node;
    bool expected;

    pthread_mutex_lock(&nodes->lock);
    node = node_at(nodes, address);
    expected = node && node_is_expected(node, asked_ns, io_monotonic_ns(nodes->options.io));
    pthread_mutex_unlock(&nodes->lock);
    return expected;
}

void nodes_note(struct nodes *nodes, const char *address, bool answered)
{
    int64_t now_ns;
    struct node *node;

    if (atomic_load(&nodes->silent_count) == 0)
        return;
    now_ns = io_monotonic_ns(nodes->options.io);
    pthread_mutex_lock(&nodes->lock);
    node = node_at(nodes, address);
    if (node && node->silent)
        *(answered ? &node->answered_ns : &node->failed_ns) = now_ns;
    pthread_mutex_unlock(&nodes->lock);
}

bool nodes_reaches_readers(struct nodes *nodes)
{
    bool reached = false;

    pthread_mutex_lock(&nodes->lock);
    for (const struct node *node = nodes->first; node && !reached; node = node->next)
        reached = node->understands && node_reads(node) && !node_has_failed(node);
    pthread_mutex_unlock(&nodes->lock);
    return reached;
}

/* Shards that neither this node nor one that is heard has. Under the lock. */
static struct doc describe_gaps(struct nodes *nodes, const struct node *self, struct arena *arena)
{
    const struct config *config = nodes->options.config;
    struct doc *items = NULL;
    size_t room = 0, count = 0;

    for (size_t i = 0; i < config->collection_count; i++) {
        struct store_expected_shard *shards;
        room += store_registry_expected(nodes->options.registry, config->collections[i].name, arena,
                                        &shards);
    }
    items = doc_items(arena, (uint32_t)room);
    for (size_t i = 0; i < config->collection_count; i++) {
        const char *collection = config->collections[i].name;
        const uint64_t begin = begin_of(nodes, collection);
        struct store_expected_shard *shards;
        size_t expected =
            store_registry_expected(nodes->options.registry, collection, arena, &shards);
        for (size_t k = 0; k < expected && count < room; k++) {
            bool owned = node_shard(self, collection, begin, shards[k].name) != NULL;
            for (const struct node *node = nodes->first; node && !owned; node = node->next)
                owned =
                    !node->silent && node_shard(node, collection, begin, shards[k].name) != NULL;
            if (!owned)
                items[count++] = doc_string(arena, shards[k].label);
        }
    }
    return announcement_list(items, count);
}

void nodes_describe(struct nodes *nodes, const struct node *self, struct arena *arena,
                    struct doc *out)
{
    const int64_t now_ns = self->heard_ns; /* it hears itself now */
    struct lags *lags = lags_new(arena);
    struct doc *items;
    size_t count = 0;

    pthread_mutex_lock(&nodes->lock);
    items = doc_items(arena, (uint32_t)nodes->count + 1);
    lags_note(lags, self->collections);
    for (const struct node *node = nodes->first; node; node = node->next)
        lags_note(lags, node->collections);
    items[count++] = describe_node(self, now_ns, true, lags, arena);
    for (const struct node *node = nodes->first; node; node = node->next)
        items[count++] = describe_node(node, now_ns, false, lags, arena);
    doc_put(out, "nodes", announcement_list(items, count));
    doc_put(out, "gaps", describe_gaps(nodes, self, arena));
    pthread_mutex_unlock(&nodes->lock);
}
