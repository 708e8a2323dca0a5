/* A collection comes, changes and goes over HTTP, again and again and each time with other dimensions, while clients
 * read and write it. The server, the handlers and the store are the real ones; what Kafka and the daemon do between
 * them is done here. Each reply is of one collection: 404 when it is gone, 400 for a vector that it cannot hold. */
#include "tests/support/test_main.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/arrow_format.h"
#include "base/doc.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/lease.h"
#include "store/registry.h"
#include "tests/support/rest_fixture.h"

enum { ROUNDS = 24, CLIENTS = 6, SEEDED = 200, SMALL_DIM = DIM, LARGE_DIM = 64 };

struct hammer {
    struct fixture fixture;
    struct config_collection
        rows[ROUNDS];     /* as in the daemon a row stays when its collection goes */
    pthread_mutex_t lock; /* of writes and changes */
    int64_t next_offset;  /* of the collection that is there */
    atomic_bool stop;
    atomic_ulong answered, vectors;
    uint64_t seed;
};

static void append(struct store_shard *shard, int64_t offset, uint64_t id, const float *vector)
{
    struct store_key key;
    struct store_record record;
    struct store_group group;
    struct error error = {0};

    store_key_from_u64(id, &key);
    record = (struct store_record){.key = key.bytes,
                                   .key_bytes = key.size_bytes,
                                   .offset = offset,
                                   .event_time_ms = 1000,
                                   .vector = vector};
    group = (struct store_group){.records = &record,
                                 .record_count = 1,
                                 .next_offset = offset + 1,
                                 .clock = {.watermark_ms = 2000}};
    ck_assert_msg(store_shard_append(shard, &group, &error) == 0, "%s", error.text);
}

/* What the daemon does for the handlers. */

static int create(void *context, const struct rest_collection_wish *wish, struct stop *stop,
                  struct error *error)
{
    struct hammer *hammer = context;
    struct config *config = &hammer->fixture.config;
    struct config_collection *row = &hammer->rows[config->collection_count];
    float vector[LARGE_DIM] = {1.0F};
    struct store_shard *shard;

    (void)stop;
    pthread_mutex_lock(&hammer->lock);
    *row = hammer->fixture.collection;
    row->dim = wish->dim;
    ck_assert_msg(store_registry_claim(hammer->fixture.registry, row, "0", &shard, error) == 0,
                  "%s", error->text);
    for (hammer->next_offset = 0; hammer->next_offset < SEEDED; hammer->next_offset++)
        append(shard, hammer->next_offset, (uint64_t)hammer->next_offset, vector);
    config->collection_count++;
    pthread_mutex_unlock(&hammer->lock);
    return 0;
}

static int change(void *context, const struct config_collection *collection, const struct doc *ttl,
                  struct error *error)
{
    struct hammer *hammer = context;

    (void)ttl;
    (void)error;
    hammer->rows[collection - hammer->rows].ttl_ms = 0;
    return 0;
}

static int take_away(void *context, const struct config_collection *collection, struct stop *stop,
                     struct error *error)
{
    struct hammer *hammer = context;
    struct store_lease lease;
    int code = 0;

    (void)stop;
    pthread_mutex_lock(&hammer->lock);
    hammer->rows[collection - hammer->rows].removed = true;
    if (store_registry_acquire_shard(hammer->fixture.registry, collection->name, "0", &lease)) {
        struct store_shard *shard = lease.shard;
        store_registry_release(hammer->fixture.registry, &lease);
        code = store_registry_discard(hammer->fixture.registry, shard, error);
    }
    pthread_mutex_unlock(&hammer->lock);
    return code;
}

/* A delete, or the vector of a JSON text. False: the collection is not the one that is there. */
static bool store_write(struct hammer *hammer, const struct config_collection *collection,
                        struct rest_write *write)
{
    struct store_lease lease;
    struct arena arena;
    float vector[LARGE_DIM];
    struct doc doc;
    double value;
    bool is_there;

    if (!store_registry_acquire_shard(hammer->fixture.registry, collection->name, "0", &lease))
        return false;
    is_there = store_lease_collection(&lease) == collection;
    arena_create(&arena, 0);
    if (is_there &&
        doc_parse_json(&arena, write->value, write->value_bytes, NULL, &doc, ERROR_IGNORED) == 0) {
        const struct doc *values = doc_get(&doc, "vector");
        ck_assert_uint_eq(values->count, collection->dim);
        for (uint32_t i = 0; i < values->count; i++) {
            ck_assert(doc_as_double(&values->items[i], &value));
            vector[i] = (float)value;
        }
        write->offset = hammer->next_offset++;
        append(lease.shard, write->offset, (uint64_t)write->offset % SEEDED, vector);
    }
    arena_destroy(&arena);
    store_registry_release(hammer->fixture.registry, &lease);
    return is_there;
}

static int produce(void *context, const struct config_collection *collection,
                   struct rest_write *writes, size_t count, struct error *error)
{
    struct hammer *hammer = context;
    bool stored = true;

    pthread_mutex_lock(&hammer->lock);
    for (size_t i = 0; i < count && stored; i++)
        stored = store_write(hammer, collection, &writes[i]);
    pthread_mutex_unlock(&hammer->lock);
    return stored ? 0 : error_set(error, ERROR_UNAVAILABLE, "The topic is gone");
}

/* Clients. */

static void append_vector(struct buffer *body, uint32_t dim)
{
    buffer_append_byte(body, '[');
    for (uint32_t i = 0; i < dim; i++)
        buffer_append_text(body, i > 0 ? ",0.5" : "0.5");
    buffer_append_byte(body, ']');
}

static void ask_as_one(struct hammer *hammer, uint64_t dice, struct buffer *body)
{
    static const struct {
        const char *method, *path, *before, *after; /* of the vector; after NULL: there is none */
        const char *header;
    } requests[] = {
        {"POST", C "/points/query", "{\"with_vector\":true,\"limit\":100,\"query\":", "}", NULL},
        {"POST", C "/points/query", "{\"with_vector\":true,\"limit\":100,\"query\":", "}",
         "Accept: " ARROW_STREAM_TYPE},
        {"POST", C "/points/scroll", "{\"with_vector\":true,\"limit\":200}", NULL, NULL},
        {"POST", C "/points/scroll", "{\"with_vector\":true,\"limit\":200}", NULL,
         "Accept: " ARROW_STREAM_TYPE},
        {"POST", C "/points/query/groups",
         "{\"group_by\":\"n\",\"with_vector\":true,\"limit\":10,\"query\":", "}", NULL},
        {"POST", C "/points", "{\"ids\":[1,2,3],\"with_vector\":true}", NULL, NULL},
        {"POST", C "/points/count", "{}", NULL, NULL},
        {"GET", C, NULL, NULL, NULL},
        {"PUT", C "/points", "{\"points\":[{\"id\":7,\"vector\":", "}]}", NULL},
        {"PUT", C "/points?wait=true&timeout=1", "{\"points\":[{\"id\":8,\"vector\":", "}]}", NULL},
        {"PATCH", C, "{\"windrow\":{\"ttl\":\"1h\"}}", NULL, NULL},
    };
    /* 503: the collection goes meanwhile. */
    static const long statuses[] = {200, 400, 404, 503};
    size_t at = dice % (sizeof(requests) / sizeof(requests[0])), known = 0;
    struct answer answer;

    body->size = 0;
    buffer_append_text(body, requests[at].before ? requests[at].before : "");
    if (requests[at].after) {
        append_vector(body, dice >> 32 & 1 ? LARGE_DIM : SMALL_DIM);
        buffer_append_text(body, requests[at].after);
    }
    answer = ask_bytes(&hammer->fixture, requests[at].method, requests[at].path, buffer_text(body),
                       body->size, requests[at].header);
    while (known < sizeof(statuses) / sizeof(statuses[0]) && statuses[known] != answer.status)
        known++;
    ck_assert_msg(known < sizeof(statuses) / sizeof(statuses[0]), "%s %s %s: %ld %s",
                  requests[at].method, requests[at].path, buffer_text(body), answer.status,
                  buffer_text(&answer.body));
    hammer->answered++;
    hammer->vectors += answer.status == 200 && strstr(buffer_text(&answer.body), "\"vector\":[");
    answer_free(&answer);
}

static void *ask_always(void *context)
{
    struct hammer *hammer = context;
    static atomic_uint number;
    uint64_t random = hammer->seed + ++number;
    struct buffer body = {0};

    while (!hammer->stop)
        ask_as_one(hammer, test_random(&random), &body);
    buffer_destroy(&body);
    return NULL;
}

/* Reads of each collection are under way when it goes. */
static void come_and_go(struct hammer *hammer, uint32_t round)
{
    unsigned long before = hammer->vectors;
    char body[100];
    struct answer answer;

    snprintf(body, sizeof(body), "{\"vectors\":{\"size\":%d,\"distance\":\"Euclid\"}}",
             round % 2 ? LARGE_DIM : SMALL_DIM);
    answer = ask(&hammer->fixture, "PUT", C, body);
    ck_assert_msg(answer.status == 200, "%s", buffer_text(&answer.body));
    answer_free(&answer);
    while (hammer->vectors < before + CLIENTS)
        sched_yield();
    answer = ask(&hammer->fixture, "DELETE", C, NULL);
    ck_assert_msg(answer.status == 200, "%s", buffer_text(&answer.body));
    answer_free(&answer);
}

static void open_hammer(struct hammer *hammer)
{
    struct fixture *fixture = &hammer->fixture;
    struct error error = {0};

    fixture_open(fixture);
    http_server_delete(fixture->server);
    rest_delete(fixture->rest);
    ck_assert_msg(store_registry_discard(fixture->registry, fixture->shard, &error) == 0, "%s",
                  error.text);
    fixture->config.collections = hammer->rows;
    fixture->config.collection_count = 0;
    fixture->config.collection_room = ROUNDS;
    fixture->config.http_allow_create = CONFIG_TRUE;
    fixture->rest = rest_new(&(struct rest_options){
        .config = &fixture->config,
        .registry = fixture->registry,
        .metrics = fixture->metrics,
        .io = &fixture->io.io,
        .writer = {.context = hammer, .write = produce},
        .collections = {
            .context = hammer, .create = create, .change = change, .remove = take_away}});
    fixture_start_server(fixture);
}

START_TEST(requests_hold_their_collection_while_it_comes_and_goes)
{
    static struct hammer hammer = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t clients[CLIENTS];

    hammer.seed = test_seed();
    open_hammer(&hammer);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&clients[i], NULL, ask_always, &hammer), 0);
    for (uint32_t round = 0; round < ROUNDS; round++)
        come_and_go(&hammer, round);
    hammer.stop = true;
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_join(clients[i], NULL), 0);
    printf("%lu replies, %lu with vectors\n", hammer.answered, hammer.vectors);
    ck_assert_uint_gt(hammer.vectors, 0);
    fixture_close(&hammer.fixture);
}
END_TEST

TEST_TABLE(TEST(requests_hold_their_collection_while_it_comes_and_goes))
