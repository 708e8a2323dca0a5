#include "cluster/members.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/version.h"
#include "cluster/announcement.h"
#include "cluster/node.h"
#include "indexer/query/query.h"
#include "net/nats/connection.h"
#include "store/lease.h"
#include "store/registry.h"

enum {
    ANNOUNCE_MS = 1000,
    CHANGES_MS = 20 /* changes within that time are announced together */
};

#define NO_SUBSCRIPTION UINT64_MAX

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
    char address_text[300];
    /* HOST:PORT; "" until this process announces itself: it hears others before. */
    _Atomic(const char *) address;
    uint64_t incarnation;
    struct nats_connection *connection;
    natsSubscription *subscription; /* of the connection of that generation */
    uint64_t generation;            /* or NO_SUBSCRIPTION */
    atomic_bool draining;

    struct nodes *nodes;

    /* The announcing thread sleeps here. Taken under the registry's lock. */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool leaving, changed;
    struct store_registry_listener listener;
    bool announcing;
    pthread_t thread;

    struct metric *node_gauge, *silent_gauge, *connected_gauge, *outcomes[NODE_OUTCOMES];
};

/* The host part decides; an address is HOST:PORT. */
static bool on_this_host(const struct members *members, const char *address)
{
    const char *own = atomic_load(&members->address);
    size_t length = strcspn(own, ":");

    return length > 0 && strncmp(own, address, length) == 0 && address[length] == ':';
}

/* Announcements. */

static void wake(struct members *members, bool leaving)
{
    pthread_mutex_lock(&members->wake_lock);
    members->changed = true;
    members->leaving |= leaving;
    pthread_cond_signal(&members->wake);
    pthread_mutex_unlock(&members->wake_lock);
}

/* On a thread of the library. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *closure)
{
    struct members *members = closure;
    struct node *fresh = node_new();
    size_t bytes = (size_t)natsMsg_GetDataLength(message);
    const uint8_t *data = (const uint8_t *)natsMsg_GetData(message);
    enum node_outcome outcome;
    struct doc doc;
    bool is_own, kept = false, is_new = false;

    (void)connection;
    (void)subscription;
    outcome = announcement_read(fresh, data, bytes, members->options.config->cluster_name, &doc);
    is_own = fresh->incarnation == members->incarnation;
    if (outcome == NODE_TAKEN && !is_own) {
        fresh->same_host = on_this_host(members, fresh->address);
        fresh->heard_ns = io_monotonic_ns(members->options.io);
        kept = nodes_take(members->nodes, fresh, &doc, &outcome, &is_new);
    }
    /* Its own announcement: whatever another node says would have come, too. */
    if (outcome == NODE_TAKEN && is_own)
        store_registry_note_hearing(members->options.registry, announcement_pauses(&doc));
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
                                 .address = atomic_load(&members->address),
                                 .incarnation = members->incarnation,
                                 .pauses = store_registry_pauses(members->options.registry),
                                 .draining = atomic_load(&members->draining)};
}

static int subscribe(struct members *members, struct error *error)
{
    return nats_connection_subscribe(members->connection, members->subject, on_message, members,
                                     &members->subscription, error);
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
        size_t heard, silent;
        metric_set(members->connected_gauge, connected);
        if (connected)
            publish(members, false);
        nodes_judge(members->nodes, connected, &heard, &silent);
        metric_set(members->node_gauge, (double)heard + 1);
        metric_set(members->silent_gauge, (double)silent);
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
    atomic_init(&fresh->address, "");
    fresh->incarnation = (uint64_t)io_wall_ms(options->io) * 1000 + (uint64_t)getpid() % 1000;
    (void)snprintf(fresh->subject, sizeof(fresh->subject), "%s.cluster.%s.nodes",
                   options->config->nats_prefix, options->config->cluster_name);
    fresh->nodes = nodes_new(options);
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
        (void)snprintf(members->address_text, sizeof(members->address_text), "%s",
                       config->cluster_advertise);
    else
        (void)snprintf(members->address_text, sizeof(members->address_text),
                       strchr(config->http_host, ':') ? "[%s]:%u" : "%s:%u", config->http_host,
                       port);
    atomic_store(&members->address, members->address_text);
    store_registry_note_hearing(members->options.registry,
                                store_registry_pauses(members->options.registry));
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
    nodes_delete(members->nodes);
    pthread_cond_destroy(&members->wake);
    pthread_mutex_destroy(&members->wake_lock);
    free(members);
}

struct nodes *members_nodes(const struct members *members)
{
    return members->nodes;
}

void members_set_draining(struct members *members)
{
    atomic_store(&members->draining, true);
    on_shards_changed(members);
}

bool members_connected(struct members *members)
{
    return nats_connection_is_up(members->connection);
}

void members_describe(struct members *members, struct arena *arena, struct doc *out)
{
    const struct config *config = members->options.config;
    struct doc collections = announcement_collections(&members->options, arena);
    int64_t now_ns = io_monotonic_ns(members->options.io);
    const struct node self = {.name = config->node,
                              .address = atomic_load(&members->address),
                              .version = WINDROW_VERSION,
                              .replica_set = config->cluster_replica_set,
                              .roles = announcement_roles(members->options.roles, arena),
                              .collections = &collections,
                              .draining = atomic_load(&members->draining),
                              .heard_ns = now_ns,
                              .understands = true,
                              .oldest_protocol = QUERY_PROTOCOL_OLDEST,
                              .protocol = QUERY_PROTOCOL};

    *out = doc_map(arena, 5);
    doc_put(out, "name", doc_string(arena, config->cluster_name));
    doc_put(out, "connected", doc_bool(nats_connection_is_up(members->connection)));
    nodes_describe(members->nodes, &self, arena, out);
}
