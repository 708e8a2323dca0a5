/* Questions to nodes that behave and to nodes that do not, over real sockets and a real NATS server.
 * What a good answer holds is not looked at here: tests/indexer/query/test_gather.c does that. */
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/doc.h"
#include "indexer/cluster/cluster.h"
#include "indexer/http/http.h"
#include "tests/indexer/worker/nats_server.h"
#include "tests/support/certificates.h"
#include "tests/support/test_main.h"

enum { NODES = 3, SHARDS = 3, TIMEOUT_MS = 20000 };

enum behaviour {
    GOOD,
    GARBAGE,
    UNAVAILABLE,
    OVERLOADED,
    SLOW,
    SLOW_ONCE,
    MOVED, /* its shards are elsewhere by now */
    PARTLY /* has the first shard that it is asked for */
};

struct fake {
    struct config config;
    struct metrics *metrics;
    struct http_server *server;
    _Atomic enum behaviour behaviour;
    atomic_uint asked;
    atomic_bool released;  /* a slow one answers */
    atomic_int ended;      /* why a slow one gave up; enum error_code */
    atomic_int timeout_ms; /* that it was given */
};

struct stage {
    struct nats_server nats;
    natsConnection *connection;
    struct config config;
    struct config_collection collection;
    struct metrics *metrics;
    struct store *store;
    struct store_registry *registry;
    struct cluster *cluster;
    struct fake fakes[NODES];
    int64_t protocols[NODES][2]; /* oldest and newest that they announce; {0, 0}: nothing */
    int version;                 /* of announcements; 0: 1 */
    const char *address;         /* in them, a format for the port; NULL: as it is */
};

/* Fake nodes. */

static void handle(struct http_request *request)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    static const char *const words[] = {
        [GARBAGE] = "nonsense", [MOVED] = "moved", [PARTLY] = "partly"};
    struct fake *fake = request->context;
    const unsigned before = atomic_fetch_add(&fake->asked, 1);
    const enum behaviour behaviour = atomic_load(&fake->behaviour);
    const char *word = behaviour < sizeof(words) / sizeof(words[0]) ? words[behaviour] : NULL;
    struct error error = {0};

    atomic_store(&fake->timeout_ms, atoi(http_request_argument(request, "timeout_ms")));
    switch (behaviour) {
    case UNAVAILABLE:
        http_reply_error(request, 503, "not now");
        return;
    case OVERLOADED:
        http_reply_error(request, 429, "too much");
        return;
    case SLOW:
    case SLOW_ONCE:
        while (!atomic_load(&fake->released) && (behaviour == SLOW || before == 0) &&
               stop_check(&request->stop, &error) == 0)
            nanosleep(&pause, NULL);
        atomic_store(&fake->ended, error.code);
        break;
    default:
        break;
    }
    http_reply_plain(request, 200, HTTP_TYPE_BINARY);
    buffer_append_text(&request->reply, word ? word : "sound");
}

static const struct http_key parameters[] = {{.name = "timeout_ms", .shape = &http_integer},
                                             {.name = NULL}};
static const struct http_schema schema = {.parameters = parameters, .body = &http_bytes};
static const struct http_route routes[] = {
    {"POST", "/internal/query", handle, HTTP_INTERNAL, &schema}};

static void fake_start(struct fake *fake)
{
    struct error error = {0};

    atomic_store(&fake->released, false);
    fake->metrics = metrics_new();
    fake->server =
        http_server_new(&(struct http_options){.config = &fake->config, .metrics = fake->metrics});
    http_server_add_routes(fake->server, routes, 1, fake);
    ck_assert_msg(http_server_start(fake->server, &error) == 0, "%s", error.text);
}

static void fake_open(struct fake *fake)
{
    fake->config = (struct config){.http_host = "127.0.0.1"};
    fake_start(fake);
}

static void fake_close(struct fake *fake)
{
    atomic_store(&fake->released, true);
    http_server_delete(fake->server);
    metrics_delete(fake->metrics);
}

/* Announcements, as a node of that name would send them. */

static void put(struct doc *map, struct arena *arena, const char *key, struct doc value)
{
    struct doc *items = (struct doc *)map->items + (size_t)2 * map->count++;

    items[0] = doc_string(arena, key);
    items[1] = value;
}

static struct doc list(const struct doc *items, uint32_t count)
{
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = items};
}

static struct doc shards_of(struct arena *arena, int64_t next_offset, uint32_t first,
                            uint32_t count)
{
    struct doc *items = doc_items(arena, count);

    for (uint32_t i = 0; i < count; i++) {
        struct doc *fields = doc_items(arena, 3);
        char name[8];
        snprintf(name, sizeof(name), "%u", first + i);
        fields[0] = doc_string(arena, name);
        fields[1] = doc_integer(next_offset);
        fields[2] = doc_integer(0);
        items[i] = list(fields, 3);
    }
    return list(items, count);
}

/* Of a node with `count` shards from `first` on. */
static void announce(struct stage *stage, const char *cluster, const char *node, uint16_t port,
                     int64_t next_offset, uint32_t first, uint32_t count)
{
    struct arena arena;
    struct buffer bytes = {0};
    struct doc collection = {.type = DOC_MAP}, doc = {.type = DOC_MAP}, range[2];
    char address[64];

    arena_create(&arena, 0);
    snprintf(address, sizeof(address), stage->address ? stage->address : "127.0.0.1:%u", port);
    collection.items = doc_items(&arena, 8);
    put(&collection, &arena, "name", doc_string(&arena, "news"));
    put(&collection, &arena, "shards", shards_of(&arena, next_offset, first, count));
    put(&collection, &arena, "expected", list(NULL, 0));
    doc.items = doc_items(&arena, 20);
    put(&doc, &arena, "v", doc_integer(stage->version ? stage->version : 1));
    put(&doc, &arena, "cluster", doc_string(&arena, cluster));
    put(&doc, &arena, "node", doc_string(&arena, node));
    put(&doc, &arena, "incarnation", doc_integer(port));
    put(&doc, &arena, "address", doc_string(&arena, address));
    for (int i = 0; i < NODES; i++)
        if (stage->protocols[i][1] != 0 && http_server_port(stage->fakes[i].server) == port) {
            range[0] = doc_integer(stage->protocols[i][0]);
            range[1] = doc_integer(stage->protocols[i][1]);
            put(&doc, &arena, "protocol", list(range, 2));
        }
    put(&doc, &arena, "collections", list(&collection, 1));
    doc_write_msgpack(&bytes, &doc);
    ck_assert_int_eq(natsConnection_Publish(stage->connection, "windrow.cluster.test.nodes",
                                            bytes.data, (int)bytes.size),
                     NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(stage->connection), NATS_OK);
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}

/* How many announcements came to that. */
static int outcomes(struct stage *stage, const char *outcome)
{
    struct buffer text = {0};
    char series[80];
    const char *found;
    int count;

    snprintf(series, sizeof(series), "windrow_cluster_announcements_total{outcome=\"%s\"} ",
             outcome);
    metrics_render(stage->metrics, &text);
    found = strstr(buffer_text(&text), series);
    count = found ? atoi(found + strlen(series)) : -1;
    buffer_destroy(&text);
    return count;
}

static void stage_open(struct stage *stage)
{
    struct store_options store = {
        .data_dir = test_directory(), .memory_max_bytes = 64 << 20, .memtable_max_bytes = 1 << 20};
    struct error error = {0};

    *stage = (struct stage){.collection = {.name = "news", .dim = 4}};
    nats_server_start(&stage->nats);
    stage->config = (struct config){.node = "asker",
                                    .cluster_name = "test",
                                    .nats_url = stage->nats.url,
                                    .nats_prefix = "windrow",
                                    .http_host = "127.0.0.1",
                                    .collections = &stage->collection,
                                    .collection_count = 1};
    stage->metrics = metrics_new();
    ck_assert_int_eq(store_open(&store, &stage->store, &error), 0);
    stage->registry = store_registry_new(&(struct store_registry_options){.store = stage->store});
    ck_assert_int_eq(natsConnection_ConnectTo(&stage->connection, stage->nats.url), NATS_OK);
    ck_assert_msg(cluster_open(&(struct cluster_options){.config = &stage->config,
                                                         .registry = stage->registry,
                                                         .metrics = stage->metrics,
                                                         .io = io_posix()},
                               &stage->cluster, &error) == 0,
                  "%s", error.text);
    for (int i = 0; i < NODES; i++)
        fake_open(&stage->fakes[i]);
}

/* The first node is the freshest, so it is asked first. */
static void announce_all(struct stage *stage)
{
    static const struct {
        const char *name;
        int64_t next_offset;
        uint32_t first, count;
    } nodes[NODES] = {{"n0", 1000000, 0, SHARDS}, {"n1", 900000, 0, 2}, {"n2", 800000, 2, 1}};
    static const struct timespec pause = {.tv_nsec = 5000000};

    /* The first ones may come before anybody listens; of five in a row three are of all. */
    for (int i = 0; i < 4000 && outcomes(stage, "taken") < 5; i++) {
        for (int k = 0; k < NODES; k++)
            announce(stage, "test", nodes[k].name, http_server_port(stage->fakes[k].server),
                     nodes[k].next_offset, nodes[k].first, nodes[k].count);
        nanosleep(&pause, NULL);
    }
    ck_assert_int_ge(outcomes(stage, "taken"), 5);
}

static void announce_both(struct stage *stage)
{
    static const struct timespec pause = {.tv_nsec = 5000000};

    /* The first ones may come before anybody listens; of three in a row two are of both. */
    for (int i = 0; i < 4000 && outcomes(stage, "taken") < 3; i++) {
        announce(stage, "test", "n0", http_server_port(stage->fakes[0].server), 1000000, 0, SHARDS);
        announce(stage, "test", "n1", http_server_port(stage->fakes[1].server), 900000, 0, SHARDS);
        nanosleep(&pause, NULL);
    }
    ck_assert_int_ge(outcomes(stage, "taken"), 3);
}

static void stage_close(struct stage *stage)
{
    cluster_close(stage->cluster);
    for (int i = 0; i < NODES; i++)
        fake_close(&stage->fakes[i]);
    natsConnection_Destroy(stage->connection);
    store_registry_delete(stage->registry);
    store_close(stage->store);
    metrics_delete(stage->metrics);
    nats_server_kill(&stage->nats);
}

/* Calls. */

struct taken {
    unsigned answers, shards;
};

/* A slow node that answers when another one's answer without shards was taken. */
static struct fake *after_moved;

static bool says(const struct query_peer_answer *answer, const char *word)
{
    return answer->body_bytes == strlen(word) && memcmp(answer->body, word, strlen(word)) == 0;
}

static int accept_sound(void *context, const struct query_peer_answer *answer, struct error *error)
{
    struct taken *taken = context;
    size_t count = answer->shard_count;

    if (says(answer, "moved")) {
        count = 0;
        atomic_store(&after_moved->released, true);
    } else if (says(answer, "partly"))
        count = 1;
    else if (!says(answer, "sound"))
        return error_set(error, ERROR_INVALID, "not sound");
    taken->answers++;
    for (size_t i = 0; i < count; i++)
        answer->served[i] = true;
    taken->shards += (unsigned)count;
    return 0;
}

static struct query_peer_counts call_until(struct stage *stage, struct taken *taken,
                                           struct stop *stop)
{
    static const char *const shards[SHARDS] = {"0", "1", "2"};
    const struct query_peers *peers = cluster_peers(stage->cluster);
    const struct query_peer_call wanted = {.collection = &stage->collection,
                                           .shards = shards,
                                           .shard_count = SHARDS,
                                           .body = "\xc0",
                                           .body_bytes = 1,
                                           .deadline_ns = io_monotonic_ns(io_posix()) +
                                                          (int64_t)TIMEOUT_MS * 1000000,
                                           .stop = stop,
                                           .accept = accept_sound,
                                           .context = taken};
    struct query_peer_counts counts = {0};

    *taken = (struct taken){0};
    peers->finish(peers->start(peers->context, &wanted), false, &counts);
    return counts;
}

static struct query_peer_counts call(struct stage *stage, struct taken *taken)
{
    return call_until(stage, taken, NULL);
}

START_TEST(one_request_for_all_shards_of_a_node)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(counts.answered, 1);
    ck_assert_uint_eq(taken.answers, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 1);
    ck_assert_uint_eq(stage.fakes[1].asked, 0);
    stage_close(&stage);
}
END_TEST

START_TEST(a_node_that_understands_no_request_of_ours_is_not_asked)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage.protocols[0][0] = QUERY_PROTOCOL + 1;
    stage.protocols[0][1] = QUERY_PROTOCOL + 2;
    stage.protocols[1][0] = QUERY_PROTOCOL_OLDEST;
    stage.protocols[1][1] = QUERY_PROTOCOL + 1;
    announce_both(&stage);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 0);
    ck_assert_uint_eq(stage.fakes[1].asked, 1);
    stage_close(&stage);
}
END_TEST

START_TEST(a_node_that_fails_is_passed_over_at_once)
{
    static const enum behaviour failing[] = {GARBAGE, UNAVAILABLE, OVERLOADED};
    static struct stage stage;

    stage_open(&stage);
    announce_both(&stage);
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        struct query_peer_counts counts;
        struct taken taken;
        atomic_store(&stage.fakes[0].behaviour, failing[i]);
        counts = call(&stage, &taken);
        ck_assert_uint_eq(counts.asked, 2);
        ck_assert_uint_eq(counts.answered, 1);
        ck_assert_uint_eq(taken.shards, SHARDS);
        ck_assert_uint_eq(stage.fakes[1].asked, i + 1);
    }
    stage_close(&stage);
}
END_TEST

START_TEST(nodes_send_the_internal_key_and_its_successor_when_it_changes)
{
    static struct stage stage;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    for (int i = 0; i < NODES; i++) {
        stage.fakes[i].config.http_api_key = "chief";
        stage.fakes[i].config.http_internal_key = "node\nfresh";
    }
    stage.config.http_api_key = "another";
    (void)call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, 0);
    stage.config.http_internal_key = "node";
    (void)call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage.config.http_internal_key = "fresh\nnode";
    for (int i = 0; i < NODES; i++)
        stage.fakes[i].config.http_internal_key = "fresh";
    (void)call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

/* Starts the server of a node again, over TLS. */
static void serve_with(struct fake *fake, const char *certificate)
{
    fake_close(fake);
    fake->config.http_tls_cert_file = test_certificate(certificate);
    fake->config.http_tls_key_file = test_certificate("key.pem");
    fake->config.http_tls_client_ca_file = test_certificate("ca.pem");
    fake_start(fake);
}

/* The other one has the shards as well. */
START_TEST(nodes_whose_certificate_is_wrong_are_passed_over)
{
    static const char *const wrong[] = {"expired.pem", "elsewhere.pem", "untrusted.pem"};
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        stage_open(&stage);
        serve_with(&stage.fakes[0], wrong[i]);
        serve_with(&stage.fakes[1], "good.pem");
        stage.config.http_tls_cert_file = test_certificate("good.pem");
        stage.config.http_tls_key_file = test_certificate("key.pem");
        stage.config.http_tls_ca_file = test_certificate("ca.pem");
        stage.config.http_tls_client_ca_file = test_certificate("ca.pem");
        announce_both(&stage);
        counts = call(&stage, &taken);
        ck_assert_uint_eq(counts.asked, 2);
        ck_assert_uint_eq(taken.shards, SHARDS);
        ck_assert_uint_eq(stage.fakes[0].asked, 0);
        /* Without a certificate of its own it is refused. */
        stage.config.http_tls_client_ca_file = NULL;
        (void)call(&stage, &taken);
        ck_assert_uint_eq(taken.shards, 0);
        stage_close(&stage);
    }
}
END_TEST

START_TEST(a_node_that_is_gone_is_asked_last)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    http_server_stop(stage.fakes[0].server);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

/* Without a hedge the call would wait for its deadline. */
START_TEST(a_slow_node_is_hedged_and_then_asked_last)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    atomic_store(&stage.fakes[0].behaviour, SLOW);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.hedged, 1);
    ck_assert_uint_eq(counts.answered, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.hedged, 0);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

/* Else the shards would be missing although their owner is about to answer. */
START_TEST(a_hedge_without_shards_leaves_the_slow_request_alone)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    atomic_store(&stage.fakes[0].behaviour, SLOW);
    atomic_store(&stage.fakes[1].behaviour, MOVED);
    after_moved = &stage.fakes[0];
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(counts.answered, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 1);
    stage_close(&stage);
}
END_TEST

START_TEST(a_slow_node_is_hedged_to_several_that_share_its_shards)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_all(&stage);
    for (int i = 0; i < 25; i++) /* earns a second hedge */
        (void)call(&stage, &taken);
    atomic_store(&stage.fakes[0].behaviour, SLOW);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.hedged, 2);
    ck_assert_uint_eq(taken.answers, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

/* It has stopped, and nobody else has its shards: they are missing before the deadline. */
START_TEST(a_silent_node_is_not_waited_for)
{
    const int64_t deadline_ns = io_monotonic_ns(io_posix()) + (int64_t)TIMEOUT_MS * 1000000;
    static struct stage stage;
    struct query_peer_counts counts;
    struct error error = {0};
    struct taken taken;

    stage_open(&stage);
    ck_assert_int_eq(cluster_announce(stage.cluster, 1, &error), 0);
    announce_both(&stage);
    for (int i = 0; i < NODES; i++)
        atomic_store(&stage.fakes[i].behaviour, SLOW);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.answered, 0);
    ck_assert_uint_eq(taken.shards, 0);
    ck_assert_int_lt(io_monotonic_ns(io_posix()), deadline_ns);
    stage_close(&stage);
}
END_TEST

/* No shard is answered for twice: a count would have its rows twice. */
START_TEST(a_hedge_with_some_shards_leaves_the_rest_to_the_slow_node)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    atomic_store(&stage.fakes[0].behaviour, SLOW_ONCE);
    atomic_store(&stage.fakes[1].behaviour, PARTLY);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 3);
    ck_assert_uint_eq(counts.hedged, 1);
    ck_assert_uint_eq(taken.answers, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 2);
    stage_close(&stage);
}
END_TEST

START_TEST(shards_stay_unanswered_when_everybody_fails)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_both(&stage);
    for (int i = 0; i < NODES; i++)
        atomic_store(&stage.fakes[i].behaviour, GARBAGE);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(counts.answered, 0);
    ck_assert_uint_eq(taken.shards, 0);
    stage_close(&stage);
}
END_TEST

static bool nobody_waits(void *context)
{
    const struct stage *stage = context;

    return atomic_load(&stage->fakes[0].asked) + atomic_load(&stage->fakes[1].asked) == 2;
}

/* Both nodes are busy by then: the first one, and the one that was to be faster. */
START_TEST(nodes_get_less_time_than_there_is_and_end_with_the_asking_request)
{
    enum { ANNOUNCED = 2 };
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;
    struct stop stop;

    stage_open(&stage);
    announce_both(&stage);
    for (int i = 0; i < ANNOUNCED; i++)
        atomic_store(&stage.fakes[i].behaviour, SLOW);
    stop_create(&stop, io_posix());
    stop.abandoned = nobody_waits;
    stop.context = &stage;
    counts = call_until(&stage, &taken, &stop);
    ck_assert_uint_eq(counts.asked, ANNOUNCED);
    ck_assert_uint_eq(counts.answered, 0);
    for (int i = 0; i < ANNOUNCED; i++) {
        while (atomic_load(&stage.fakes[i].ended) == 0)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        ck_assert_int_eq(atomic_load(&stage.fakes[i].ended), ERROR_CANCELLED);
        ck_assert_int_gt(atomic_load(&stage.fakes[i].timeout_ms), 0);
        ck_assert_int_lt(atomic_load(&stage.fakes[i].timeout_ms), TIMEOUT_MS / 32 * 31 + 1);
    }
    stage_close(&stage);
}
END_TEST

START_TEST(announcements_of_others_are_counted_and_ignored)
{
    static const struct timespec pause = {.tv_nsec = 5000000};
    static const char subject[] = "windrow.cluster.test.nodes";
    static const char truncated[] = "\x86\xa1v\x01";
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    for (int i = 0;
         i < 4000 && (outcomes(&stage, "malformed") < 4 ||
                      outcomes(&stage, "foreign_cluster") < 2 || outcomes(&stage, "version") < 2);
         i++) {
        announce(&stage, "other", "n0", http_server_port(stage.fakes[0].server), 10, 0, SHARDS);
        stage.version = 2;
        announce(&stage, "test", "n0", http_server_port(stage.fakes[0].server), 10, 0, SHARDS);
        stage.version = 0;
        (void)natsConnection_PublishString(stage.connection, subject, "hello");
        (void)natsConnection_Publish(stage.connection, subject, truncated, sizeof(truncated) - 1);
        (void)natsConnection_Flush(stage.connection);
        nanosleep(&pause, NULL);
    }
    ck_assert_int_ge(outcomes(&stage, "malformed"), 4);
    ck_assert_int_ge(outcomes(&stage, "foreign_cluster"), 2);
    ck_assert_int_ge(outcomes(&stage, "version"), 2);
    ck_assert_int_eq(outcomes(&stage, "taken"), 0);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 0);
    stage_close(&stage);
}
END_TEST

/* What follows the host would choose another one, or another route. */
START_TEST(addresses_that_are_more_than_host_and_port_are_not_called)
{
    static const struct timespec pause = {.tv_nsec = 5000000};
    static const char *const addresses[] = {"there@127.0.0.1:%u", "127.0.0.1:%u/backup?",
                                            "127.0.0.1:%u?", "127.0.0.1:%u#", "127.0.0.1 :%u"};
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;
    int refused = 0;

    stage_open(&stage);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        stage.address = addresses[i];
        for (int k = 0; k < 4000 && outcomes(&stage, "malformed") == refused; k++) {
            announce(&stage, "test", "n0", http_server_port(stage.fakes[0].server), 10, 0, SHARDS);
            nanosleep(&pause, NULL);
        }
        ck_assert_int_gt(outcomes(&stage, "malformed"), refused);
        refused = outcomes(&stage, "malformed");
    }
    ck_assert_int_eq(outcomes(&stage, "taken"), 0);
    counts = call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 0);
    stage_close(&stage);
}
END_TEST

/* Time until an announcement that offers so many shards. */
static int64_t announced_ns(natsSubscription *announcements, uint32_t shards)
{
    const int64_t start_ns = io_monotonic_ns(io_posix());
    bool found = false;

    while (!found) {
        natsMsg *message = NULL;
        struct arena arena;
        struct doc doc;
        struct error error = {0};
        const struct doc *collections;
        ck_assert_int_eq(natsSubscription_NextMsg(&message, announcements, TIMEOUT_MS), NATS_OK);
        arena_create(&arena, 0);
        ck_assert_int_eq(doc_parse_msgpack(&arena, (const uint8_t *)natsMsg_GetData(message),
                                           (size_t)natsMsg_GetDataLength(message), NULL, &doc,
                                           &error),
                         0);
        collections = doc_get(&doc, "collections");
        found = doc_get(&collections->items[0], "shards")->count == shards;
        arena_destroy(&arena);
        natsMsg_Destroy(message);
    }
    return io_monotonic_ns(io_posix()) - start_ns;
}

/* Not after the rest of the period: that is how long searches would call the shard missing. */
START_TEST(a_shard_that_comes_is_announced_at_once)
{
    enum { CHANGES = 6 };
    static struct stage stage;
    natsSubscription *announcements;
    struct store_shard *shard;
    struct error error = {0};
    int64_t period_ns, changes_ns = 0;

    stage_open(&stage);
    ck_assert_int_eq(natsConnection_SubscribeSync(&announcements, stage.connection,
                                                  "windrow.cluster.test.nodes"),
                     NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(stage.connection), NATS_OK);
    ck_assert_int_eq(cluster_announce(stage.cluster, 1, &error), 0);
    (void)announced_ns(announcements, 0);
    period_ns = announced_ns(announcements, 0);
    ck_assert_msg(store_registry_claim(stage.registry, &stage.collection, "0", &shard, &error) == 0,
                  "%s", error.text);
    changes_ns += announced_ns(announcements, 1);
    for (int i = 0; i < CHANGES; i++) {
        store_registry_set_behind(stage.registry, "news", "0", i % 2 == 0);
        changes_ns += announced_ns(announcements, i % 2 == 0 ? 0 : 1);
    }
    ck_assert_int_lt(changes_ns, period_ns * CHANGES / 2);
    cluster_leave(stage.cluster);
    store_registry_close_all(stage.registry, false);
    natsSubscription_Destroy(announcements);
    stage_close(&stage);
}
END_TEST

TEST_TABLE(TEST(one_request_for_all_shards_of_a_node),
           TEST(a_node_that_understands_no_request_of_ours_is_not_asked),
           TEST(a_node_that_fails_is_passed_over_at_once),
           TEST(nodes_send_the_internal_key_and_its_successor_when_it_changes),
           TEST(nodes_whose_certificate_is_wrong_are_passed_over),
           TEST(a_node_that_is_gone_is_asked_last), TEST(a_slow_node_is_hedged_and_then_asked_last),
           TEST(a_slow_node_is_hedged_to_several_that_share_its_shards),
           TEST(a_silent_node_is_not_waited_for),
           TEST(a_hedge_without_shards_leaves_the_slow_request_alone),
           TEST(a_hedge_with_some_shards_leaves_the_rest_to_the_slow_node),
           TEST(shards_stay_unanswered_when_everybody_fails),
           TEST(nodes_get_less_time_than_there_is_and_end_with_the_asking_request),
           TEST(announcements_of_others_are_counted_and_ignored),
           TEST(addresses_that_are_more_than_host_and_port_are_not_called),
           TEST(a_shard_that_comes_is_announced_at_once))
