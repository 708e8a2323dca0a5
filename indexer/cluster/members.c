#include "indexer/cluster/members.h"

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
#include "indexer/cluster/announcement.h"
#include "indexer/nats/connection.h"
#include "indexer/query/query.h"

enum {
    ANNOUNCE_MS = 1000,
    CHANGES_MS = 20, /* changes within that time are announced together */
    SILENCE_MS = 3000,
    NODES_MAX = 2048,
    OFFSET_SLACK = 1000 /* records by which a shard may be behind another and count as fresh */
};

static const struct doc_limits announcement_limits = {.max_bytes = 4 << 20, .max_depth = 16};

/* Everything lies in its arena; it is replaced as a whole. */
struct node {
    struct node *next;
    struct arena arena;
    const char *name, *address, *version, *replica_set;
    uint64_t incarnation;
    int64_t heard_ns;
    bool same_host;
    bool draining;    /* gives its shards up */
    bool understands; /* requests of this process; else it is never asked */
    int64_t oldest_protocol, protocol;
    struct doc roles;
    const struct doc *collections; /* an array, checked */
};

enum outcome { TAKEN, MALFORMED, FOREIGN, VERSION, DUPLICATE, OUTCOMES };

static const char *const outcome_names[OUTCOMES] = {
    [TAKEN] = "taken",     [MALFORMED] = "malformed",      [FOREIGN] = "foreign_cluster",
    [VERSION] = "version", [DUPLICATE] = "duplicate_name",
};

struct members {
    struct cluster_options options;
    char subject[160];
    char address[300];
    char host[256];
    uint64_t incarnation;
    struct nats_connection *connection;
    atomic_bool draining;
    natsSubscription *subscription; /* of the connection's generation */
    uint64_t generation;

    pthread_mutex_t lock; /* of the nodes */
    struct node *nodes;
    size_t node_count;

    /* The announcing thread sleeps here. Taken under the registry's lock. */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool leaving, changed;
    struct store_registry_listener listener;
    bool announcing;
    pthread_t thread;

    struct metric *node_gauge, *connected_gauge, *outcomes[OUTCOMES];
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
    arena_destroy(&node->arena);
    free(node);
}

/* A node is asked for as long as it is heard. Silence is not proof that it is dead, only that it may
 * be: its shards are then missing or another owner's, and it comes back with its next word. */
static void remove_silent(struct members *members)
{
    int64_t oldest_ns = io_monotonic_ns(members->options.io) - (int64_t)SILENCE_MS * 1000000;
    struct node **place = &members->nodes;

    while (*place) {
        if ((*place)->heard_ns >= oldest_ns) {
            place = &(*place)->next;
            continue;
        }
        log_warning("cluster", "node %s at %s is silent: others are asked for its shards",
                    (*place)->name, (*place)->address);
        remove_node(members, place);
    }
}

/* The host part decides; an address is HOST:PORT. */
static bool on_this_host(const struct members *members, const char *address)
{
    size_t length = strcspn(members->address, ":");

    return length > 0 && strncmp(members->address, address, length) == 0 && address[length] == ':';
}

/* Announcements. */

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
    return true;
}

static const char *text_of(struct arena *arena, const struct doc *map, const char *key)
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

/* What others do with an announcement is decided here: it is untrusted. */
static enum outcome read_announcement(struct members *members, const struct doc *doc,
                                      struct node *node)
{
    const struct config *config = members->options.config;
    const struct doc *version = doc_get(doc, "v");
    const struct doc *incarnation = doc_get(doc, "incarnation");

    if (doc->type != DOC_MAP || !version || version->type != DOC_INT)
        return MALFORMED;
    if (version->integer != MEMBERS_VERSION)
        return VERSION;
    if (!doc_string_equals(doc_get(doc, "cluster"), config->cluster_name))
        return FOREIGN;
    node->name = text_of(&node->arena, doc, "node");
    node->address = text_of(&node->arena, doc, "address");
    node->version = text_of(&node->arena, doc, "version");
    node->replica_set = text_of(&node->arena, doc, "replica_set");
    node->collections = doc_get(doc, "collections");
    node->draining = is_true(doc, "draining");
    if (doc_get(doc, "roles"))
        node->roles = *doc_get(doc, "roles");
    if (!node->name || !node->address || strpbrk(node->address, "/ @?#") || !incarnation ||
        !doc_as_u64(incarnation, &node->incarnation) || !node->collections ||
        !read_protocol(doc_get(doc, "protocol"), node) || node->collections->type != DOC_ARRAY)
        return MALFORMED;
    for (uint32_t i = 0; i < node->collections->count; i++)
        if (!is_collection(&node->collections->items[i]))
            return MALFORMED;
    return TAKEN;
}

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
        name = text_of(&arena, one, "name");
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
static enum outcome take_node(struct members *members, struct node *fresh, const struct doc *name,
                              bool leaving)
{
    struct node **place = find_node(members, name);
    struct node *former = *place;
    enum outcome outcome = TAKEN;

    if (former && former->incarnation != fresh->incarnation) {
        if (strcmp(former->address, fresh->address) != 0) {
            log_error("cluster", "two nodes have the name %s: %s and %s (set `node`)", fresh->name,
                      former->address, fresh->address);
            outcome = DUPLICATE;
        }
        if (former->incarnation > fresh->incarnation)
            return DUPLICATE;
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
    struct node *fresh = memory_new(1, sizeof(*fresh));
    size_t bytes = (size_t)natsMsg_GetDataLength(message);
    const uint8_t *data = (const uint8_t *)natsMsg_GetData(message);
    enum outcome outcome = MALFORMED;
    struct error error = {0};
    struct doc doc;
    bool kept = false, is_new = false;

    (void)connection;
    (void)subscription;
    arena_create(&fresh->arena, 0);
    data = memory_checked(arena_copy(&fresh->arena, data, bytes));
    if (doc_parse_msgpack(&fresh->arena, data, bytes, &announcement_limits, &doc, &error) == 0)
        outcome = read_announcement(members, &doc, fresh);
    if (outcome == TAKEN && fresh->incarnation != members->incarnation) {
        fresh->same_host = on_this_host(members, fresh->address);
        fresh->heard_ns = io_monotonic_ns(members->options.io);
        if ((members->options.roles & CONFIG_ROLE_INGEST) == 0)
            learn_expected(members, fresh);
        pthread_mutex_lock(&members->lock);
        is_new = !*find_node(members, doc_get(&doc, "node"));
        outcome = take_node(members, fresh, doc_get(&doc, "node"), is_true(&doc, "leaving"));
        kept = is_linked(members, fresh);
        pthread_mutex_unlock(&members->lock);
    }
    metric_add(members->outcomes[outcome], 1);
    if (is_new && kept)
        wake(members, false); /* it has not heard of this process either */
    if (!kept) {
        arena_destroy(&fresh->arena);
        free(fresh);
    }
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
    generation = nats_connection_generation(members->connection);
    if (generation != members->generation) {
        natsSubscription_Destroy(members->subscription);
        members->subscription = NULL;
        if (subscribe(members, &error) == 0)
            members->generation = generation;
        else
            log_warning("cluster", "%s", error.text);
    }
    return nats_connection_is_up(members->connection);
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
        status = natsConnection_Flush(nats_connection_handle(members->connection));
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
        metric_set(members->connected_gauge, connected);
        if (connected)
            publish(members, false);
        pthread_mutex_lock(&members->lock);
        remove_silent(members);
        metric_set(members->node_gauge, (double)members->node_count + 1);
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
    return subscribe(members, error);
}

static void make_metrics(struct members *members)
{
    struct metrics *metrics = members->options.metrics;

    members->node_gauge =
        metrics_gauge(metrics, "windrow_cluster_nodes",
                      "Nodes of the cluster that are heard, this one too", NULL, 0);
    members->connected_gauge =
        metrics_gauge(metrics, "windrow_cluster_nats_connected",
                      "Whether announcements reach NATS (1) or not (0)", NULL, 0);
    for (int i = 0; i < OUTCOMES; i++) {
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

/* A node that does not understand what it would be asked has none. */
static const struct doc *shard_of(const struct node *node, const char *collection,
                                  const char *shard)
{
    if (!node->understands)
        return NULL;
    for (uint32_t i = 0; i < node->collections->count; i++) {
        const struct doc *one = &node->collections->items[i];
        const struct doc *shards = doc_get(one, "shards");
        if (!doc_string_equals(doc_get(one, "name"), collection))
            continue;
        for (uint32_t k = 0; k < shards->count; k++)
            if (doc_string_equals(&shards->items[k].items[0], shard))
                return shards->items[k].items;
    }
    return NULL;
}

/* A few records of difference say more about the moment of the announcement than about freshness. */
static bool is_better(const struct members_owner *a, const struct members_owner *b)
{
    int64_t ahead = a->next_offset - b->next_offset;

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

size_t members_owners(struct members *members, const char *collection, const char *shard,
                      struct arena *arena, struct members_owner *owners, size_t max)
{
    size_t count = 0;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node; node = node->next) {
        const struct doc *found = shard_of(node, collection, shard);
        struct members_owner fresh;
        size_t place;
        if (!found)
            continue;
        fresh = (struct members_owner){.node = arena_copy(arena, node->name, strlen(node->name)),
                                       .address =
                                           arena_copy(arena, node->address, strlen(node->address)),
                                       .next_offset = found[1].integer,
                                       .same_host = node->same_host};
        place = count < max ? count++ : max - 1;
        if (place == max - 1 && count == max && owners[place].node &&
            !is_better(&fresh, &owners[place]))
            continue;
        for (; place > 0 && is_better(&fresh, &owners[place - 1]); place--)
            owners[place] = owners[place - 1];
        owners[place] = fresh;
    }
    pthread_mutex_unlock(&members->lock);
    return count;
}

/* Under the lock. */
static bool is_successor(const struct members *members, const struct node *node)
{
    const char *set = members->options.config->cluster_replica_set;
    bool reads = false;

    for (uint32_t i = 0; node->roles.type == DOC_ARRAY && i < node->roles.count; i++)
        reads |= doc_string_equals(&node->roles.items[i], "ingest");
    return reads && !node->draining &&
           strcmp(set ? set : "", node->replica_set ? node->replica_set : "") == 0;
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
        count += is_successor(members, node);
    pthread_mutex_unlock(&members->lock);
    return count;
}

bool members_taken_over(struct members *members, const char *collection, const char *shard,
                        int64_t next_offset)
{
    bool taken = false;

    pthread_mutex_lock(&members->lock);
    for (const struct node *node = members->nodes; node && !taken; node = node->next) {
        const struct doc *found =
            is_successor(members, node) ? shard_of(node, collection, shard) : NULL;
        taken = found && found[1].integer >= next_offset;
    }
    pthread_mutex_unlock(&members->lock);
    return taken;
}

bool members_hears(struct members *members, const char *address)
{
    const struct node *node;

    pthread_mutex_lock(&members->lock);
    for (node = members->nodes; node && strcmp(node->address, address) != 0; node = node->next)
        ;
    pthread_mutex_unlock(&members->lock);
    return node != NULL;
}

static struct doc copy_text(struct arena *arena, const struct doc *from)
{
    struct doc copy = *from;

    copy.string = arena_copy(arena, from->string, from->count);
    return copy;
}

/* [{"collection", "shard", "next_offset", "watermark_ms"}, ...] of a node's announcement. */
static struct doc describe_shards(const struct doc *collections, struct arena *arena)
{
    struct doc *items;
    size_t count = 0;

    for (uint32_t i = 0; i < collections->count; i++)
        count += doc_get(&collections->items[i], "shards")->count;
    items = doc_items(arena, (uint32_t)count);
    count = 0;
    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *shards = doc_get(&collections->items[i], "shards");
        for (uint32_t k = 0; k < shards->count; k++) {
            const struct doc *fields = shards->items[k].items;
            struct doc *entry = &items[count++];
            *entry = doc_map(arena, 4);
            doc_put(entry, "collection", copy_text(arena, doc_get(&collections->items[i], "name")));
            doc_put(entry, "shard", copy_text(arena, &fields[0]));
            doc_put(entry, "next_offset", fields[1]);
            doc_put(entry, "watermark_ms", fields[2].integer == INT64_MIN ? doc_null() : fields[2]);
        }
    }
    return announcement_list(items, count);
}

static struct doc describe_node(const struct node *node, int64_t now_ns, bool self,
                                struct arena *arena)
{
    struct doc entry = doc_map(arena, 10);
    struct doc *roles = doc_items(arena, node->roles.type == DOC_ARRAY ? node->roles.count : 0);
    uint32_t role_count = 0;

    for (uint32_t i = 0; node->roles.type == DOC_ARRAY && i < node->roles.count; i++)
        if (node->roles.items[i].type == DOC_STRING)
            roles[role_count++] = copy_text(arena, &node->roles.items[i]);
    doc_put(&entry, "node", doc_text(arena, node->name));
    doc_put(&entry, "address", doc_text(arena, node->address));
    doc_put(&entry, "self", doc_bool(self));
    doc_put(&entry, "version", doc_text(arena, node->version));
    doc_put(&entry, "protocol",
            announcement_protocol(node->oldest_protocol, node->protocol, arena));
    doc_put(&entry, "roles", announcement_list(roles, role_count));
    doc_put(&entry, "replica_set", doc_text(arena, node->replica_set));
    doc_put(&entry, "draining", doc_bool(node->draining));
    doc_put(&entry, "heard_seconds", doc_number((double)(now_ns - node->heard_ns) / 1e9));
    doc_put(&entry, "shards", describe_shards(node->collections, arena));
    return entry;
}

/* Shards that no node has. Under the lock. */
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
            bool owned = shard_of(self, collection, shards[k].name) != NULL;
            for (const struct node *node = members->nodes; node && !owned; node = node->next)
                owned = shard_of(node, collection, shards[k].name) != NULL;
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
    struct doc *nodes;
    size_t count = 0;

    pthread_mutex_lock(&members->lock);
    nodes = doc_items(arena, (uint32_t)members->node_count + 1);
    nodes[count++] = describe_node(&self, now_ns, true, arena);
    for (const struct node *node = members->nodes; node; node = node->next)
        nodes[count++] = describe_node(node, now_ns, false, arena);
    *out = doc_map(arena, 5);
    doc_put(out, "name", doc_string(arena, config->cluster_name));
    doc_put(out, "connected", doc_bool(nats_connection_is_up(members->connection)));
    doc_put(out, "nodes", announcement_list(nodes, count));
    doc_put(out, "gaps", describe_gaps(members, &self, arena));
    pthread_mutex_unlock(&members->lock);
}
