#include "cluster/members.h"

#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/version.h"
#include "cluster/announcement.h"
#include "cluster/claims.h"
#include "cluster/node.h"
#include "indexer/query/query.h"
#include "net/nats/connection.h"
#include "store/lease.h"
#include "store/registry.h"

enum {
    ANNOUNCE_MS = 1000,
    CHANGES_MS = 20, /* changes within that time are announced together */
    NODES_MAX = 2048,
    HOLDERS_MAX = 64,   /* of a shard; further ones are not looked at */
    OFFSET_SLACK = 1000 /* records by which a shard may be behind another and count as fresh */
};

#define NO_SUBSCRIPTION UINT64_MAX
#define SILENCE_NS      (NODE_SILENCE_MS * INT64_C(1000000))

static const struct doc_limits announcement_limits = {.max_bytes = 4 << 20, .max_depth = 16};

static const char *const outcome_names[NODE_OUTCOMES] = {
    [NODE_TAKEN] = "taken",
    [NODE_MALFORMED] = "malformed",
    [NODE_FOREIGN] = "foreign_cluster",
    [NODE_VERSION] = "version",
    [NODE_DUPLICATE] = "duplicate_name",
};

struct members {
    struct cluster_options options;
    char subject[160];
    char address[300];
    char host[256];
    char group[CONFIG_GROUP_BYTES];
    uint64_t incarnation;
    struct nats_connection *connection;
    natsSubscription *subscription; /* of the connection of that generation */
    uint64_t generation;            /* or NO_SUBSCRIPTION */
    atomic_bool draining;

    pthread_mutex_t lock; /* of the nodes */
    struct node *nodes;
    size_t node_count;
    atomic_size_t silent_count; /* of them; written under the lock */

    /* The announcing thread sleeps here. Taken under the registry's lock. */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool leaving, changed;
    struct store_registry_listener listener;
    bool announcing;
    pthread_t thread;

    struct metric *node_gauge, *silent_gauge, *connected_gauge, *outcomes[NODE_OUTCOMES];
};

/* Nodes. Under the lock. */

static struct node **find_node(struct members *members, const struct doc *name)
{
    struct node **place = &members->nodes;

    while (*place && !doc_string_equals(name, (*place)->name))
        place = &(*place)->next;
    return place;
}

static void remove_node(struct members *members, struct node **place)
{
    struct node *node = *place;

    *place = node->next;
    members->node_count--;
    if (node->silent)
        atomic_fetch_sub(&members->silent_count, 1);
    node_delete(node);
}

/* Silence is not proof that a node is dead, only that it may be: NATS may be between the two. It comes back with its
 * next word. */
static void judge_silent(struct members *members)
{
    int64_t now_ns = io_monotonic_ns(members->options.io);
    struct node **place = &members->nodes;

    while (*place) {
        struct node *node = *place;
        if (!node->silent && now_ns - node->heard_ns > SILENCE_NS) {
            log_warning("cluster",
                        "node %s at %s is silent: it is asked for its shards where nobody else "
                        "answers",
                        node->name, node->address);
            node->silent = true;
            atomic_fetch_add(&members->silent_count, 1);
        }
        if (node_is_gone(node, now_ns)) {
            log_warning("cluster", "node %s at %s is gone: neither heard nor answering", node->name,
                        node->address);
            remove_node(members, place);
        } else {
            place = &node->next;
        }
    }
}

/* The host part decides; an address is HOST:PORT. */
static bool on_this_host(const struct members *members, const char *address)
{
    size_t length = strcspn(members->address, ":");

    return length > 0 && strncmp(members->address, address, length) == 0 && address[length] == ':';
}

/* Announcements. */

/* Processes that read no Kafka learn here which shards there are. What was known stays: partitions
 * never become fewer, and a node that has just started knows nothing yet. */
static void learn_expected(struct members *members, const struct node *node)
{
    const struct config *config = members->options.config;

    for (uint32_t i = 0; i < node->collections->count; i++) {
        const struct doc *one = &node->collections->items[i];
        const struct doc *expected = doc_get(one, "expected");
        struct store_expected_shard *shards;
        struct arena arena;
        size_t known = 0;
        const char *name;
        arena_create(&arena, 0);
        name = node_text(&arena, one, "name");
        if (name && config_collection_find(config, name))
            known = store_registry_expected(members->options.registry, name, &arena, &shards);
        if (name && config_collection_find(config, name) && expected->count > known) {
            shards = memory_checked(arena_calloc(&arena, expected->count, sizeof(*shards)));
            for (uint32_t k = 0; k < expected->count; k++) {
                const struct doc *pair = expected->items[k].items;
                shards[k].name = arena_copy(&arena, pair[0].string, pair[0].count);
                shards[k].label = arena_copy(&arena, pair[1].string, pair[1].count);
            }
            store_registry_expect(members->options.registry, name, shards, expected->count);
        }
        arena_destroy(&arena);
    }
}

/* Two processes of one name: the one that started later counts, and both say so. */
static enum node_outcome take_node(struct members *members, struct node *fresh,
                                   const struct doc *name, bool leaving)
{
    struct node **place = find_node(members, name);
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
        remove_node(members, place);
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
    if (!leaving && members->node_count < NODES_MAX) {
        fresh->next = members->nodes;
        members->nodes = fresh;
        members->node_count++;
    }
    return outcome;
}

static void wake(struct members *members, bool leaving)
{
    pthread_mutex_lock(&members->wake_lock);
    members->changed = true;
    members->leaving |= leaving;
    pthread_cond_signal(&members->wake);
    pthread_mutex_unlock(&members->wake_lock);
}

static bool is_linked(const struct members *members, const struct node *node)
{
    return members->nodes == node;
}

/* On a thread of the library. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *closure)
{
    struct members *members = closure;
    struct node *fresh = node_new();
    size_t bytes = (size_t)natsMsg_GetDataLength(message);
    const uint8_t *data = (const uint8_t *)natsMsg_GetData(message);
    enum node_outcome outcome = NODE_MALFORMED;
    struct error error = {0};
    const struct node *former;
    struct doc doc;
    bool kept = false, is_new = false;

    (void)connection;
    (void)subscription;
    data = memory_checked(arena_copy(&fresh->arena, data, bytes));
    if (doc_parse_msgpack(&fresh->arena, data, bytes, &announcement_limits, &doc, &error) == 0)
        outcome = node_read(fresh, &doc, members->options.config->cluster_name);
    if (outcome == NODE_TAKEN && fresh->incarnation != members->incarnation) {
        fresh->same_host = on_this_host(members, fresh->address);
        fresh->heard_ns = io_monotonic_ns(members->options.io);
        if ((members->options.roles & CONFIG_ROLE_INGEST) == 0)
            learn_expected(members, fresh);
        pthread_mutex_lock(&members->lock);
        former = *find_node(members, doc_get(&doc, "node"));
        is_new = !former || former->silent;
        outcome = take_node(members, fresh, doc_get(&doc, "node"), node_is_true(&doc, "leaving"));
        kept = is_linked(members, fresh);
        /* Race: who finds a shard here that has been left to this node must find the node, too. */
        if ((members->options.roles & CONFIG_ROLE_INGEST) != 0 && fresh->group &&
            strcmp(fresh->group, members->group) == 0)
            claims_fence(members->options.registry, fresh->collections,
                         fresh->heard_ns + SILENCE_NS);
        pthread_mutex_unlock(&members->lock);
    }
    /* Its own announcement: whatever another node says would have come, too. */
    if (outcome == NODE_TAKEN && fresh->incarnation == members->incarnation)
        store_registry_note_hearing(members->options.registry);
    metric_add(members->outcomes[outcome], 1);
    if (is_new && kept)
        wake(members, false); /* it has not heard of this process either */
    if (!kept)
        node_delete(fresh);
    natsMsg_Destroy(message);
}

/* This process. */

static struct announcement own(const struct members *members)
{
    return (struct announcement){.options = &members->options,
                                 .address = members->address,
                                 .incarnation = members->incarnation,
                                 .draining = atomic_load(&members->draining)};
}

static int subscribe(struct members *members, struct error *error)
{
    natsStatus status = natsConnection_Subscribe(&members->subscription,
                                                 nats_connection_handle(members->connection),
                                                 members->subject, on_message, members);

    return status == NATS_OK ? 0 : nats_connection_error(error, status, 0, "subscribe");
}

/* The library gives a connection up that the server refuses; another one has no subscription. */
static bool stay_connected(struct members *members)
{
    uint64_t generation;
    struct error error;

    nats_connection_mend(members->connection);
    if (!nats_connection_is_up(members->connection))
        return false;
    generation = nats_connection_generation(members->connection);
    if (generation == members->generation)
        return true;
    natsSubscription_Destroy(members->subscription);
    members->subscription = NULL;
    members->generation = NO_SUBSCRIPTION;
    if (subscribe(members, &error) == 0)
        members->generation = generation;
    else
        log_warning("cluster", "%s", error.text);
    return members->generation == generation;
}

static void publish(struct members *members, bool leaving)
{
    struct buffer bytes = {0};
    struct arena arena;
    struct announcement announcement = own(members);
    struct doc doc;
    natsStatus status;

    arena_create(&arena, 0);
    announcement.leaving = leaving;
    doc = announcement_doc(&announcement, &arena);
    doc_write_msgpack(&bytes, &doc);
    status = natsConnection_Publish(nats_connection_handle(members->connection), members->subject,
                                    bytes.data, (int)bytes.size);
    if (status == NATS_OK)
        status =
            natsConnection_FlushTimeout(nats_connection_handle(members->connection), ANNOUNCE_MS);
    if (status != NATS_OK)
        log_debug("cluster", "announcement: %s", natsStatus_GetText(status));
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}

/* Until a second after the last announcement; or until shards have changed, but at once only for the
 * first change in a while: an assignment moves many. Returns whether this process stays. */
static bool sleep_until_due(struct members *members)
{
    const int64_t soon_ns = thread_deadline(CHANGES_MS * INT64_C(1000000));
    const int64_t second_ns = thread_deadline(ANNOUNCE_MS * INT64_C(1000000));
    bool leaving;

    pthread_mutex_lock(&members->wake_lock);
    while (!members->leaving && thread_condition_wait(&members->wake, &members->wake_lock, soon_ns))
        ;
    while (!members->leaving && !members->changed &&
           thread_condition_wait(&members->wake, &members->wake_lock, second_ns))
        ;
    members->changed = false;
    leaving = members->leaving;
    pthread_mutex_unlock(&members->wake_lock);
    return !leaving;
}

static void *announce_all(void *context)
{
    struct members *members = context;

    do {
        bool connected = stay_connected(members);
        size_t silent;
        metric_set(members->connected_gauge, connected);
        if (connected)
            publish(members, false);
        pthread_mutex_lock(&members->lock);
        judge_silent(members);
        silent = atomic_load(&members->silent_count);
        metric_set(members->node_gauge, (double)(members->node_count - silent) + 1);
        metric_set(members->silent_gauge, (double)silent);
        pthread_mutex_unlock(&members->lock);
    } while (sleep_until_due(members));
    return NULL;
}

static void on_shards_changed(void *context)
{
    wake(context, false);
}

/* The connection. */

static int connect_in_background(struct members *members, struct error *error)
{
    const struct nats_connection_options options = {.urls = members->options.config->nats_url,
                                                    .name = members->options.config->node,
                                                    .module = "cluster",
                                                    .effect = "other nodes are not heard",
                                                    .security =
                                                        &members->options.config->nats_security};

    if (nats_connection_open(&options, &members->connection, error) != 0)
        return ERROR_PEER;
    /* A server that refuses this process may have ended the connection already: the next one counts. */
    if (subscribe(members, ERROR_IGNORED) != 0)
        members->generation = NO_SUBSCRIPTION;
    return 0;
}

static void make_metrics(struct members *members)
{
    struct metrics *metrics = members->options.metrics;

    members->node_gauge =
        metrics_gauge(metrics, "windrow_cluster_nodes",
                      "Nodes of the cluster that are heard, this one too", NULL, 0);
    members->silent_gauge = metrics_gauge(
        metrics, "windrow_cluster_silent_nodes",
        "Nodes of the cluster that are not heard and still asked where nobody else answers", NULL,
        0);
    members->connected_gauge =
        metrics_gauge(metrics, "windrow_cluster_nats_connected",
                      "Whether announcements reach NATS (1) or not (0)", NULL, 0);
    for (int i = 0; i < NODE_OUTCOMES; i++) {
        const struct metric_label label[] = {{"outcome", outcome_names[i]}};
        members->outcomes[i] =
            metrics_counter(metrics, "windrow_cluster_announcements_total",
                            "Announcements of other nodes, by what became of them", label, 1);
    }
}

int members_open(const struct cluster_options *options, struct members **members,
                 struct error *error)
{
    struct members *fresh = memory_new(1, sizeof(*fresh));

    fresh->options = *options;
    fresh->incarnation = (uint64_t)io_wall_ms(options->io) * 1000 + (uint64_t)getpid() % 1000;
    (void)snprintf(fresh->subject, sizeof(fresh->subject), "%s.cluster.%s.nodes",
                   options->config->nats_prefix, options->config->cluster_name);
    config_consumer_group(options->config, fresh->group);
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_mutex_init(&fresh->wake_lock, NULL);
    thread_condition_create(&fresh->wake);
    make_metrics(fresh);
    *members = fresh;
    if (connect_in_background(fresh, error) == 0)
        return 0;
    members_close(fresh);
    *members = NULL;
    return ERROR_PEER;
}

int members_announce(struct members *members, uint16_t port, struct error *error)
{
    const struct config *config = members->options.config;

    if (config->cluster_advertise)
        (void)snprintf(members->address, sizeof(members->address), "%s", config->cluster_advertise);
    else
        (void)snprintf(members->address, sizeof(members->address),
                       strchr(config->http_host, ':') ? "[%s]:%u" : "%s:%u", config->http_host,
                       port);
    store_registry_note_hearing(members->options.registry);
    if (thread_start(&members->thread, "cluster", announce_all, members) != 0)
        return error_set(error, ERROR_MEMORY, "cannot start a thread");
    members->announcing = true;
    members->listener =
        (struct store_registry_listener){.changed = on_shards_changed, .context = members};
    store_registry_listen(members->options.registry, &members->listener);
    return 0;
}

void members_leave(struct members *members)
{
    if (!members->announcing)
        return;
    store_registry_unlisten(members->options.registry, &members->listener);
    wake(members, true);
    (void)pthread_join(members->thread, NULL);
    members->announcing = false;
    publish(members, true);
}

void members_close(struct members *members)
{
    if (!members)
        return;
    members_leave(members);
    natsSubscription_Destroy(members->subscription);
    nats_connection_close(members->connection);
    while (members->nodes)
        remove_node(members, &members->nodes);
    pthread_cond_destroy(&members->wake);
    pthread_mutex_destroy(&members->wake_lock);
    pthread_mutex_destroy(&members->lock);
    free(members);
}

/* Look-ups. */

/* A few records of difference say more about the moment of the announcement than about freshness. */
static bool is_better(const struct members_owner *a, const struct members_owner *b)
{
    int64_t ahead = a->next_offset - b->next_offset;

    if (a->silent != b->silent)
        return b->silent;
    if (a->handed_over != b->handed_over)
        return b->handed_over;
    if (ahead > OFFSET_SLACK || ahead < -OFFSET_SLACK)
        return ahead > 0;
    if (a->same_host != b->same_host)
        return a->same_host;
    return strcmp(a->node, b->node) < 0;
}

int members_protocol(struct members *members)
{
    int64_t newest = QUERY_PROTOCOL;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node; node = node->next)
        if (node->understands && node->protocol < newest)
            newest = node->protocol;
    pthread_mutex_unlock(&members->lock);
    return (int)newest;
}

/* Claims of all nodes on one shard, first those of nodes that are heard. */
struct holders {
    struct claim claims[HOLDERS_MAX];
    const struct node *nodes[HOLDERS_MAX];
    int64_t next_offsets[HOLDERS_MAX];
    size_t count, heard_count;
};

/* Under the lock. */
static void find_some_holders(const struct members *members, const char *collection,
                              const char *shard, bool silent, struct holders *holders)
{
    for (const struct node *node = members->nodes; node && holders->count < HOLDERS_MAX;
         node = node->next) {
        const struct doc *one = node->silent == silent ? node_collection(node, collection) : NULL;
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
        holders->nodes[holders->count++] = node;
    }
}

/* Under the lock. */
static void find_holders(const struct members *members, const char *collection, const char *shard,
                         struct holders *holders)
{
    holders->count = 0;
    find_some_holders(members, collection, shard, false, holders);
    holders->heard_count = holders->count;
    if (atomic_load(&members->silent_count) > 0)
        find_some_holders(members, collection, shard, true, holders);
}

/* What a silent node once claimed takes no place of what is heard now. Under the lock. */
static bool may_be_asked(const struct holders *holders, size_t which, int64_t now_ns)
{
    size_t rivals = which < holders->heard_count ? holders->heard_count : holders->count;

    return holders->claims[which].serves && node_may_answer(holders->nodes[which], now_ns) &&
           !claims_superseded(holders->claims, rivals, which);
}

/* Returns how many there are now: the worst one goes when there is no room. */
static size_t insert_owner(struct members_owner *owners, size_t count, size_t max,
                           const struct members_owner *fresh)
{
    size_t place = count < max ? count++ : max - 1;

    if (place == max - 1 && owners[place].node && !is_better(fresh, &owners[place]))
        return count;
    for (; place > 0 && is_better(fresh, &owners[place - 1]); place--)
        owners[place] = owners[place - 1];
    owners[place] = *fresh;
    return count;
}

size_t members_owners(struct members *members, const char *collection, const char *shard,
                      struct arena *arena, struct members_owner *owners, size_t max)
{
    const int64_t now_ns = io_monotonic_ns(members->options.io);
    struct holders holders;
    size_t count = 0;

    memset(owners, 0, max * sizeof(*owners));
    pthread_mutex_lock(&members->lock);
    find_holders(members, collection, shard, &holders);
    for (size_t i = 0; i < holders.count; i++) {
        const struct node *node = holders.nodes[i];
        struct members_owner fresh = {.next_offset = holders.next_offsets[i],
                                      .heard_ns = node->heard_ns,
                                      .same_host = node->same_host,
                                      .silent = node->silent,
                                      .handed_over = holders.claims[i].handed_over};
        if (!may_be_asked(&holders, i, now_ns))
            continue;
        fresh.node = arena_copy(arena, node->name, strlen(node->name));
        fresh.address = arena_copy(arena, node->address, strlen(node->address));
        count = insert_owner(owners, count, max, &fresh);
    }
    pthread_mutex_unlock(&members->lock);
    return count;
}

void members_set_draining(struct members *members)
{
    atomic_store(&members->draining, true);
    on_shards_changed(members);
}

size_t members_successors(struct members *members)
{
    size_t count = 0;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node; node = node->next)
        count += node_is_successor(node, members->options.config->cluster_replica_set);
    pthread_mutex_unlock(&members->lock);
    return count;
}

/* Up to which offset the node serves the shard and goes on with it; INT64_MIN: it does not. Under the lock. */
static int64_t live_offset(const struct node *node, const char *collection, const char *shard)
{
    const struct doc *found =
        node->silent || node->draining ? NULL : node_shard(node, collection, shard);

    return found && !claims_handed_over(found) ? found->items[1].integer : INT64_MIN;
}

bool members_taken_over(struct members *members, const char *collection, const char *shard,
                        int64_t next_offset)
{
    bool taken = false;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node && !taken; node = node->next)
        taken = node_is_successor(node, members->options.config->cluster_replica_set) &&
                live_offset(node, collection, shard) >= next_offset;
    pthread_mutex_unlock(&members->lock);
    return taken;
}

bool members_ahead(struct members *members, const char *collection, const char *shard,
                   int64_t next_offset)
{
    bool ahead = false;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node && !ahead; node = node->next)
        ahead = live_offset(node, collection, shard) > next_offset;
    pthread_mutex_unlock(&members->lock);
    return ahead;
}

/* Under the lock; NULL: nobody has announced it. */
static struct node *node_at(const struct members *members, const char *address)
{
    struct node *node = members->nodes;

    while (node && strcmp(node->address, address) != 0)
        node = node->next;
    return node;
}

bool members_expects(struct members *members, const char *address, int64_t asked_ns)
{
    const struct node *node;
    bool expected;

    pthread_mutex_lock(&members->lock);
    node = node_at(members, address);
    expected = node && node_is_expected(node, asked_ns, io_monotonic_ns(members->options.io));
    pthread_mutex_unlock(&members->lock);
    return expected;
}

void members_note(struct members *members, const char *address, bool answered)
{
    int64_t now_ns;
    struct node *node;

    if (atomic_load(&members->silent_count) == 0)
        return;
    now_ns = io_monotonic_ns(members->options.io);
    pthread_mutex_lock(&members->lock);
    node = node_at(members, address);
    if (node && node->silent)
        *(answered ? &node->answered_ns : &node->failed_ns) = now_ns;
    pthread_mutex_unlock(&members->lock);
}

bool members_connected(struct members *members)
{
    return nats_connection_is_up(members->connection);
}

bool members_reaches_others(struct members *members)
{
    bool reached = false;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node && !reached; node = node->next)
        reached = node->understands && !node_has_failed(node);
    pthread_mutex_unlock(&members->lock);
    return reached;
}

/* Shards that neither this node nor one that is heard has. Under the lock. */
static struct doc describe_gaps(struct members *members, const struct node *self,
                                struct arena *arena)
{
    const struct config *config = members->options.config;
    struct doc *items = NULL;
    size_t room = 0, count = 0;

    for (size_t i = 0; i < config->collection_count; i++) {
        struct store_expected_shard *shards;
        room += store_registry_expected(members->options.registry, config->collections[i].name,
                                        arena, &shards);
    }
    items = doc_items(arena, (uint32_t)room);
    for (size_t i = 0; i < config->collection_count; i++) {
        const char *collection = config->collections[i].name;
        struct store_expected_shard *shards;
        size_t expected =
            store_registry_expected(members->options.registry, collection, arena, &shards);
        for (size_t k = 0; k < expected && count < room; k++) {
            bool owned = node_shard(self, collection, shards[k].name) != NULL;
            for (const struct node *node = members->nodes; node && !owned; node = node->next)
                owned = !node->silent && node_shard(node, collection, shards[k].name) != NULL;
            if (!owned)
                items[count++] = doc_string(arena, shards[k].label);
        }
    }
    return announcement_list(items, count);
}

void members_describe(struct members *members, struct arena *arena, struct doc *out)
{
    const struct config *config = members->options.config;
    struct doc collections = announcement_collections(&members->options, arena);
    int64_t now_ns = io_monotonic_ns(members->options.io);
    const struct node self = {.name = config->node,
                              .address = members->address,
                              .version = WINDROW_VERSION,
                              .replica_set = config->cluster_replica_set,
                              .roles = announcement_roles(members->options.roles, arena),
                              .collections = &collections,
                              .draining = atomic_load(&members->draining),
                              .heard_ns = now_ns,
                              .understands = true,
                              .oldest_protocol = QUERY_PROTOCOL_OLDEST,
                              .protocol = QUERY_PROTOCOL};
    struct lags *lags = lags_new(arena);
    struct doc *nodes;
    size_t count = 0;

    pthread_mutex_lock(&members->lock);
    nodes = doc_items(arena, (uint32_t)members->node_count + 1);
    lags_note(lags, &collections);
    for (const struct node *node = members->nodes; node; node = node->next)
        lags_note(lags, node->collections);
    nodes[count++] = node_describe(&self, now_ns, true, lags, arena);
    for (const struct node *node = members->nodes; node; node = node->next)
        nodes[count++] = node_describe(node, now_ns, false, lags, arena);
    *out = doc_map(arena, 5);
    doc_put(out, "name", doc_string(arena, config->cluster_name));
    doc_put(out, "connected", doc_bool(nats_connection_is_up(members->connection)));
    doc_put(out, "nodes", announcement_list(nodes, count));
    doc_put(out, "gaps", describe_gaps(members, &self, arena));
    pthread_mutex_unlock(&members->lock);
}
