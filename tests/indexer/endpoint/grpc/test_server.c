/* Calls over a real socket, good ones and bad ones, over a real store of one shard. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "indexer/endpoint/grpc/dialect.h"
#include "indexer/endpoint/pages/pages.h"
#include "qdrant.pb-c.h"
#include "store/append.h"
#include "store/files/key.h"
#include "tests/support/grpc_frames.h"
#include "tests/support/rest_fixture.h"
#include "tests/support/test_main.h"

#define QUERY "/qdrant.Points/Query"
#define COUNT "/qdrant.Points/Count"

struct service {
    struct fixture fixture;
    struct grpc_catalog *catalog;
    struct grpc_server *grpc;
    struct frames frames;
};

/* `connections_max`: of HTTP; 0: the default. */
static void service_open_with(struct service *service, const char *key, uint32_t connections_max)
{
    struct fixture *fixture = &service->fixture;
    struct error error = {0};

    fixture_open(fixture);
    if (connections_max > 0) {
        http_server_delete(fixture->server);
        fixture->server =
            http_server_new(&(struct http_options){.config = &fixture->config,
                                                   .metrics = fixture->metrics,
                                                   .io = &fixture->io.io,
                                                   .connections_max = connections_max});
        pages_add_routes(fixture->server);
        rest_add_routes(fixture->rest, fixture->server);
        ck_assert_msg(http_server_start(fixture->server, &error) == 0, "%s", error.text);
    }
    service->fixture.config.http_api_key = key;
    service->fixture.config.http_grpc_host = "127.0.0.1";
    service->catalog = grpc_catalog_new(service->fixture.server, service->fixture.metrics);
    service->grpc =
        grpc_server_new(&(struct grpc_options){.config = &service->fixture.config,
                                               .http = service->fixture.server,
                                               .dialect = grpc_catalog_dialect(service->catalog),
                                               .metrics = service->fixture.metrics});
    ck_assert_msg(grpc_server_start(service->grpc, &error) == 0, "%s", error.text);
    frames_open(&service->frames, grpc_server_port(service->grpc));
}

static void service_open(struct service *service, const char *key)
{
    service_open_with(service, key, 0);
}

static void service_close(struct service *service)
{
    frames_close(&service->frames);
    grpc_server_refuse(service->grpc);
    http_server_stop(service->fixture.server);
    grpc_server_delete(service->grpc);
    grpc_catalog_delete(service->catalog);
    fixture_close(&service->fixture);
}

static size_t query_for(uint8_t *out, const char *collection, float *values, size_t dim)
{
    Qdrant__DenseVector dense = QDRANT__DENSE_VECTOR__INIT;
    Qdrant__VectorInput nearest = QDRANT__VECTOR_INPUT__INIT;
    Qdrant__Query query = QDRANT__QUERY__INIT;
    Qdrant__WithVectorsSelector with_vectors = QDRANT__WITH_VECTORS_SELECTOR__INIT;
    Qdrant__QueryPoints message = QDRANT__QUERY_POINTS__INIT;

    dense.n_data = dim;
    dense.data = values;
    nearest.variant_case = QDRANT__VECTOR_INPUT__VARIANT_DENSE;
    nearest.dense = &dense;
    query.variant_case = QDRANT__QUERY__VARIANT_NEAREST;
    query.nearest = &nearest;
    with_vectors.selector_options_case = QDRANT__WITH_VECTORS_SELECTOR__SELECTOR_OPTIONS_ENABLE;
    with_vectors.enable = true;
    message.has_collection_name = true;
    message.collection_name.data = (uint8_t *)collection;
    message.collection_name.len = strlen(collection);
    message.query = &query;
    message.with_vectors = &with_vectors;
    message.has_limit = true;
    message.limit = 3;
    return qdrant__query_points__pack(&message, out);
}

/* The nearest of [1, 7, 0.5, 0] is point 7. */
static size_t query_message(uint8_t *out, const char *collection, size_t dim)
{
    float values[] = {1.0F, 7.0F, 0.5F, 0.0F, 0.0F};

    return query_for(out, collection, values, dim);
}

static struct frames_reply ask_call(struct service *service, uint32_t stream, const char *path,
                                    const void *message, size_t size)
{
    struct buffer out = {0};
    struct frames_reply reply;

    frames_put_call(&out, stream, path, message, size);
    frames_send(&service->frames, out.data, out.size);
    buffer_destroy(&out);
    reply = frames_wait(&service->frames, stream);
    return reply;
}

START_TEST(a_query_is_answered_with_points_and_vectors)
{
    struct service service;
    struct frames_reply reply;
    Qdrant__QueryResponse *response;
    uint8_t message[256];

    service_open(&service, NULL);
    reply = ask_call(&service, 1, QUERY, message, query_message(message, "news", 4));
    ck_assert_msg(reply.status == 0 && reply.http_status == 200, "%d %s", reply.status,
                  reply.message);
    ck_assert(reply.body.size > 5 && reply.body.data[0] == 0);
    response = qdrant__query_response__unpack(NULL, reply.body.size - 5, reply.body.data + 5);
    ck_assert(response && response->n_result == 3);
    ck_assert_uint_eq(response->result[0]->id->num, 7);
    ck_assert_uint_eq(response->result[0]->vectors->vector->dense->n_data, DIM);
    ck_assert_float_eq(response->result[0]->vectors->vector->dense->data[1], 7.0F);
    qdrant__query_response__free_unpacked(response, NULL);
    frames_reply_free(&reply);
    service_close(&service);
}
END_TEST

/* The front reads all of them from binary: JSON's own checks do not run. */
START_TEST(a_query_whose_scores_would_not_be_finite_is_told_why)
{
    static float vectors[][DIM] = {
        {0, 1e19F, 0, 0}, {3e38F, -3e38F, 3e38F, -3e38F}, {0, NAN, 0, 0}, {INFINITY, 0, 0, 0}};
    static const char *const texts[] = {"$.query: the vector's length 1e+19 is above 8.9e+18",
                                        "$.query: the vector's length 6e+38", "$.query[1]",
                                        "$.query[0]"};
    struct service service;
    uint8_t message[256];

    service_open(&service, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        struct frames_reply reply = ask_call(&service, 2 * i + 1, QUERY, message,
                                             query_for(message, "news", vectors[i], DIM));
        ck_assert_msg(reply.status == 3 && strstr(reply.message, texts[i]), "%d %s", reply.status,
                      reply.message);
        frames_reply_free(&reply);
    }
    service_close(&service);
}
END_TEST

static void append_time(struct service *service, uint64_t id, int64_t offset, const char *time)
{
    float vector[DIM] = {1.0F, (float)id, 0.5F, 0.0F};
    struct buffer payload = {0};
    struct arena arena;
    struct doc map;
    struct store_key key;
    struct store_record record;
    struct store_group group;
    struct error error = {0};

    arena_create(&arena, 0);
    map = doc_map(&arena, 1);
    doc_put(&map, "t", doc_string(&arena, time));
    doc_write_msgpack(&payload, &map);
    store_key_from_u64(id, &key);
    record = (struct store_record){.key = key.bytes,
                                   .key_bytes = key.size_bytes,
                                   .offset = offset,
                                   .event_time_ms = 1000 + (int64_t)id,
                                   .vector = vector,
                                   .payload = payload.data,
                                   .payload_bytes = (uint32_t)payload.size};
    group = (struct store_group){.records = &record,
                                 .record_count = 1,
                                 .next_offset = offset + 1,
                                 .clock = {.watermark_ms = 2000}};
    ck_assert_msg(store_shard_append(service->fixture.shard, &group, &error) == 0, "%s",
                  error.text);
    buffer_destroy(&payload);
    arena_destroy(&arena);
}

/* The ids of the points from a time on, in the order of times. */
static size_t ids_from(struct service *service, uint32_t stream, int64_t seconds, int32_t nanos,
                       uint64_t *ids)
{
    Qdrant__Timestamp time = QDRANT__TIMESTAMP__INIT;
    Qdrant__StartFrom start = QDRANT__START_FROM__INIT;
    Qdrant__OrderBy order = QDRANT__ORDER_BY__INIT;
    Qdrant__ScrollPoints scroll = QDRANT__SCROLL_POINTS__INIT;
    Qdrant__ScrollResponse *response;
    struct frames_reply reply;
    uint8_t message[256];
    size_t count;

    time.has_seconds = time.has_nanos = true;
    time.seconds = seconds;
    time.nanos = nanos;
    start.value_case = QDRANT__START_FROM__VALUE_TIMESTAMP;
    start.timestamp = &time;
    order.has_key = true;
    order.key = (ProtobufCBinaryData){1, (uint8_t *)"t"};
    order.start_from = &start;
    scroll.has_collection_name = true;
    scroll.collection_name = (ProtobufCBinaryData){4, (uint8_t *)"news"};
    scroll.order_by = &order;
    reply = ask_call(service, stream, "/qdrant.Points/Scroll", message,
                     qdrant__scroll_points__pack(&scroll, message));
    ck_assert_msg(reply.status == 0, "%d %s", reply.status, reply.message);
    response = qdrant__scroll_response__unpack(NULL, reply.body.size - 5, reply.body.data + 5);
    ck_assert_ptr_nonnull(response);
    count = response->n_result;
    for (size_t i = 0; i < count && i < 8; i++)
        ids[i] = response->result[i]->id->num;
    qdrant__scroll_response__free_unpacked(response, NULL);
    frames_reply_free(&reply);
    return count;
}

/* A client that pages by the last time of a page asks for what lies at or behind it. A time that is cut to
 * milliseconds gives the same page for ever. */
START_TEST(a_timestamp_keeps_what_is_below_its_milliseconds)
{
    static const char *const times[] = {"1969-12-31T23:59:59.999999Z", "2024-02-29T12:00:00.123Z",
                                        "2024-02-29T12:00:00.123456Z",
                                        "2024-02-29T12:00:00.123457Z"};
    static const struct {
        int64_t seconds;
        int32_t nanos;
        size_t first; /* the first of the times that is not before it */
    } cases[] = {
        {-1, 999999000, 0},         {-1, 999999999, 0},         {0, 0, 1},
        {1709208000, 123000000, 1}, {1709208000, 123001000, 2}, {1709208000, 123456000, 2},
        {1709208000, 123456999, 2}, {1709208000, 123457000, 3}, {1709208000, 123458000, 4}};
    struct service service;

    service_open(&service, NULL);
    for (size_t i = 0; i < 4; i++)
        append_time(&service, 100 + i, POINTS + (int64_t)i, times[i]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t ids[8];
        size_t count =
            ids_from(&service, (uint32_t)(2 * i + 1), cases[i].seconds, cases[i].nanos, ids);
        ck_assert_msg(count == 4 - cases[i].first, "case %zu: %zu", i, count);
        for (size_t k = 0; k < count; k++)
            ck_assert_uint_eq(ids[k], 100 + cases[i].first + k);
    }
    service_close(&service);
}
END_TEST

START_TEST(calls_of_one_connection_run_at_a_time)
{
    enum { CALLS = 100 };
    struct service service;
    uint32_t ended;
    struct buffer out = {0};
    uint8_t message[256];

    service_open(&service, NULL);
    for (uint32_t i = 0; i < CALLS; i++)
        frames_put_call(&out, 2 * i + 1, QUERY, message, query_message(message, "news", 4));
    frames_send(&service.frames, out.data, out.size);
    ended = frames_wait_all(&service.frames, CALLS);
    ck_assert_uint_eq(ended, CALLS);
    buffer_destroy(&out);
    service_close(&service);
}
END_TEST

/* Bad calls: the frames behind the headers, and what is answered. */
struct bad_call {
    const char *path;
    const char *extra[3];
    uint8_t flag;
    uint32_t length; /* that the prefix says; UINT32_MAX: no prefix */
    const char *message;
    uint32_t size;
    int status;
    const char *contains;
};

START_TEST(bad_calls_are_told_why)
{
    static const struct bad_call cases[] = {
        {"/qdrant.Points/Nothing", {NULL}, 0, 0, "", 0, 12, "/qdrant.Points/Nothing"},
        {"/grpc.other/X", {NULL}, 0, 0, "", 0, 12, "/grpc.other/X"},
        {QUERY, {NULL}, 0, 7, "garbage", 7, 3, "the message is no qdrant.QueryPoints"},
        {QUERY, {NULL}, 1, 7, "garbage", 7, 13, "compressed"},
        {QUERY, {"grpc-encoding", "gzip"}, 1, 7, "garbage", 7, 12, "compressed"},
        {QUERY, {NULL}, 0, 0xfffffff0, "x", 1, 8, "larger than"},
        {QUERY, {NULL}, 0, 9, "short", 5, 13, "ended inside"},
        {QUERY, {NULL}, 0, UINT32_MAX, "", 0, 13, "ended inside"},
        {QUERY, {NULL}, 0, 0, "more", 4, 13, "More follows"},
        {QUERY, {NULL}, 0, 0, "", 0, 3, "missing field `collection_name`"},
        {QUERY,
         {NULL},
         0,
         3,
         "\xa0\x3f\x01",
         3,
         3,
         "does not know field 1012 of qdrant.QueryPoints"},
        {QUERY, {NULL}, 0, 4, "\x0a\x02\xff\xfe", 4, 3, "not valid UTF-8"},
        {QUERY,
         {NULL},
         0,
         5,
         "\x0a\x03"
         "a\0b",
         5,
         3,
         "NUL"},
        {COUNT,
         {NULL},
         0,
         7,
         "\x0a\x05"
         "other",
         7,
         5,
         "Collection `other` doesn't exist!"},
        {QUERY, {"grpc-timeout", "5x"}, 0, 0, "", 0, 3, "grpc-timeout"},
        {QUERY,
         {"grpc-timeout", "1n"},
         0,
         6,
         "\x0a\x04"
         "news",
         6,
         4,
         "timeout"},
        {QUERY, {"origin", "http://example.org"}, 0, 0, "", 0, 7, "Web pages"},
        {QUERY, {"content-type", "text/plain"}, 0, 0, "", 0, 2, "application/grpc"},
        {QUERY, {":method", "PUT"}, 0, 0, "", 0, 2, "application/grpc"},
        {"/qdrant.Collections/Create",
         {NULL},
         0,
         5,
         "\x0a\x03"
         "abc",
         5,
         3,
         "missing field `vectors`"},
        {"/qdrant.Points/Upsert",
         {NULL},
         0,
         6,
         "\x0a\x04"
         "news",
         6,
         12,
         "does not produce"},
    };
    struct service service;

    service_open(&service, NULL);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct bad_call *bad = &cases[i];
        uint32_t stream = 2 * i + 1;
        struct buffer out = {0}, body = {0};
        struct frames_reply reply;
        frames_put_headers(&out, stream, bad->path, bad->extra, false);
        if (bad->length != UINT32_MAX)
            frames_put_prefixed(&body, bad->flag, bad->length, bad->message, bad->size);
        frames_put_frame(&out, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, body.data, body.size);
        frames_send(&service.frames, out.data, out.size);
        reply = frames_wait(&service.frames, stream);
        ck_assert_msg(reply.status == bad->status && strstr(reply.message, bad->contains),
                      "%u %s: %d %s", i, bad->path, reply.status, reply.message);
        frames_reply_free(&reply);
        buffer_destroy(&body);
        buffer_destroy(&out);
    }
    service_close(&service);
}
END_TEST

START_TEST(deep_and_swollen_messages_cost_a_bounded_amount)
{
    enum { BYTES = 1 << 20 };
    struct service service;
    struct frames_reply reply;
    struct buffer deep = {0}, swollen = {0};

    service_open(&service, NULL);
    /* QueryPoints.prefetch is a PrefetchQuery, whose prefetch is one: each level holds the rest. */
    for (uint32_t level = 0; level < 100000; level++) {
        uint8_t head[8] = {level == 99999 ? 0x12 : 0x0a};
        size_t used = 1, length = deep.size;
        struct buffer outer = {0};
        if (deep.size > 60000)
            break;
        for (; length >= 128; length >>= 7)
            head[used++] = (uint8_t)(length | 128);
        head[used++] = (uint8_t)length;
        buffer_append(&outer, head, used);
        if (deep.size > 0)
            buffer_append(&outer, deep.data, deep.size);
        buffer_destroy(&deep);
        deep = outer;
    }
    deep.data[0] = 0x12;
    reply = ask_call(&service, 1, QUERY, deep.data, deep.size);
    ck_assert_msg(reply.status == 3 && strstr(reply.message, "too deep"), "%d %s", reply.status,
                  reply.message);
    frames_reply_free(&reply);
    /* UpsertPoints.points, each empty. */
    for (unsigned i = 0; i < BYTES / 2; i++)
        buffer_append(&swollen, (const uint8_t[]){0x1a, 0x00}, 2);
    reply = ask_call(&service, 3, "/qdrant.Points/Upsert", swollen.data, swollen.size);
    ck_assert_msg(reply.status == 8 && strstr(reply.message, "times its size"), "%d %s",
                  reply.status, reply.message);
    frames_reply_free(&reply);
    buffer_destroy(&deep);
    buffer_destroy(&swollen);
    service_close(&service);
}
END_TEST

START_TEST(a_key_is_asked_for_before_the_message_comes)
{
    static const char *const right[] = {"api-key", "secret", NULL};
    static const char *const bearer[] = {"authorization", "Bearer secret", NULL};
    static const char *const wrong[] = {"api-key", "guess", NULL};
    const struct {
        const char *const *extra;
        int status; /* -1: it waits for the message */
    } cases[] = {{NULL, 16}, {wrong, 16}, {right, -1}, {bearer, -1}};
    struct service service;

    service_open(&service, "secret");
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t stream = 2 * i + 1;
        struct buffer out = {0};
        struct frames_reply reply;
        uint8_t message[256];
        frames_put_headers(&out, stream, QUERY, cases[i].extra, false);
        if (cases[i].status < 0) {
            size_t size = query_message(message, "news", 4);
            struct buffer body = {0};
            frames_put_prefixed(&body, 0, (uint32_t)size, message, size);
            frames_put_frame(&out, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, body.data,
                             body.size);
            buffer_destroy(&body);
        }
        frames_send(&service.frames, out.data, out.size);
        reply = frames_wait(&service.frames, stream);
        ck_assert_msg(reply.status == (cases[i].status < 0 ? 0 : cases[i].status), "%u: %d %s", i,
                      reply.status, reply.message);
        frames_reply_free(&reply);
        buffer_destroy(&out);
    }
    service_close(&service);
}
END_TEST

/* The route that tells the version needs no key then. */
static void open_dashboard(struct service *service)
{
    static const char *open[] = {"dashboard"};

    service->fixture.config.http_open_routes = open;
    service->fixture.config.http_open_route_count = 1;
}

/* One that needs no key gets less time than one that has shown it and began before. */
START_TEST(call_without_an_end_ends_early)
{
    static const char *const key[] = {"api-key", "secret", NULL};
    struct service service;
    struct buffer out = {0}, body = {0};
    struct frames_reply reply;
    uint8_t message[256];
    size_t size = query_message(message, "news", 4);

    service_open(&service, "secret");
    open_dashboard(&service);
    frames_put_headers(&out, 1, QUERY, key, false);
    frames_put_headers(&out, 3, "/qdrant.Qdrant/HealthCheck", NULL, false);
    frames_send(&service.frames, out.data, out.size);
    reply = frames_wait(&service.frames, 3);
    ck_assert(reply.reset);
    frames_reply_free(&reply);
    out.size = 0;
    frames_put_prefixed(&body, 0, (uint32_t)size, message, size);
    frames_put_frame(&out, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, body.data, body.size);
    frames_send(&service.frames, out.data, out.size);
    reply = frames_wait(&service.frames, 1);
    ck_assert_msg(reply.status == 0, "%d %s", reply.status, reply.message);
    frames_reply_free(&reply);
    buffer_destroy(&body);
    buffer_destroy(&out);
    service_close(&service);
}
END_TEST

START_TEST(large_message_without_a_key_is_refused_by_its_prefix)
{
    struct service service;
    struct buffer out = {0};
    struct frames_reply reply;

    service_open(&service, "secret");
    open_dashboard(&service);
    frames_put_headers(&out, 1, "/qdrant.Qdrant/HealthCheck", NULL, false);
    frames_put_frame(&out, NGHTTP2_DATA, 0, 1, "\0\1\0\0\0", 5);
    frames_send(&service.frames, out.data, out.size);
    reply = frames_wait(&service.frames, 1);
    ck_assert_msg(reply.status == 8, "%d %s", reply.status, reply.message);
    frames_reply_free(&reply);
    buffer_destroy(&out);
    service_close(&service);
}
END_TEST

static int connect_from(uint32_t address, uint16_t port)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(connection, (const struct sockaddr *)&from, sizeof(from)), 0);
    ck_assert_int_eq(connect(connection, (const struct sockaddr *)&to, sizeof(to)), 0);
    return connection;
}

/* Each has a call that never ends. */
START_TEST(crowd_of_one_client_closes_no_connection_of_another)
{
    enum { CONNECTIONS_MAX = 64, CROWD = 200 };
    static int crowd[CROWD];
    const uint32_t elsewhere = INADDR_LOOPBACK + 1;
    struct service service;
    struct buffer hello = {0};
    struct frames_reply reply;
    uint8_t message[256];
    char bytes[4096];
    int closed = 0;

    service_open_with(&service, NULL, CONNECTIONS_MAX);
    buffer_append_text(&hello, NGHTTP2_CLIENT_MAGIC);
    frames_put_frame(&hello, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    frames_put_headers(&hello, 1, "/qdrant.Qdrant/HealthCheck", NULL, false);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = connect_from(elsewhere, grpc_server_port(service.grpc));
        (void)send(crowd[i], hello.data, hello.size, MSG_NOSIGNAL); /* it may have to go already */
    }
    /* The connection of before, and a new one. */
    for (int i = 0; i < 2; i++) {
        reply = ask_call(&service, 1, QUERY, message, query_message(message, "news", 4));
        ck_assert_msg(reply.status == 0, "%d %s", reply.status, reply.message);
        frames_reply_free(&reply);
        frames_close(&service.frames);
        frames_open(&service.frames, grpc_server_port(service.grpc));
    }
    /* The server has taken all that came before. */
    for (int i = 0; i < CROWD; i++) {
        ssize_t got;
        while ((got = recv(crowd[i], bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
            ;
        closed += got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
        close(crowd[i]);
    }
    ck_assert_int_ge(closed, CROWD - CONNECTIONS_MAX);
    buffer_destroy(&hello);
    service_close(&service);
}
END_TEST

START_TEST(health_tells_the_version)
{
    struct service service;
    struct frames_reply reply;

    service_open(&service, NULL);
    reply = ask_call(&service, 1, "/qdrant.Qdrant/HealthCheck", "", 0);
    ck_assert_msg(reply.status == 0, "%d %s", reply.status, reply.message);
    ck_assert(memmem(reply.body.data, reply.body.size, "1.19", 4));
    frames_reply_free(&reply);
    service_close(&service);
}
END_TEST

/* Floods: the connection ends with ENHANCE_YOUR_CALM, and others go on. */

static void put_ping(struct buffer *out, uint32_t stream)
{
    (void)stream;
    frames_put_frame(out, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void put_settings(struct buffer *out, uint32_t stream)
{
    (void)stream;
    frames_put_frame(out, NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\x64", 6);
}

static void put_reset(struct buffer *out, uint32_t stream)
{
    uint8_t message[256];

    frames_put_call(out, stream, QUERY, message, query_message(message, "news", 4));
    frames_put_frame(out, NGHTTP2_RST_STREAM, 0, stream, "\0\0\0\x8", 4);
}

static void put_empty_data(struct buffer *out, uint32_t stream)
{
    if (stream == 1)
        frames_put_headers(out, 1, QUERY, NULL, false);
    frames_put_frame(out, NGHTTP2_DATA, 0, 1, NULL, 0);
}

START_TEST(floods_end_their_connection_only)
{
    static void (*const floods[])(struct buffer *, uint32_t) = {put_ping, put_settings, put_reset,
                                                                put_empty_data};
    enum { FRAMES = 20000 };
    struct metrics_total ended;
    struct service service;

    service_open(&service, NULL);
    for (size_t flood = 0; flood < sizeof(floods) / sizeof(floods[0]); flood++) {
        struct frames flooding;
        struct frames_reply reply;
        struct buffer out = {0};
        uint8_t message[256];
        frames_open(&flooding, grpc_server_port(service.grpc));
        for (uint32_t i = 0; i < FRAMES; i++)
            floods[flood](&out, 2 * i + 1);
        frames_send(&flooding, out.data, out.size);
        reply = frames_wait(&flooding, 0);
        ck_assert_msg(reply.closed, "flood %zu: the connection stays", flood);
        frames_reply_free(&reply);
        frames_close(&flooding);
        buffer_destroy(&out);
        reply = ask_call(&service, 2 * (uint32_t)flood + 1, QUERY, message,
                         query_message(message, "news", 4));
        ck_assert_int_eq(reply.status, 0);
        frames_reply_free(&reply);
    }
    ck_assert(metrics_sum(service.fixture.metrics, "windrow_grpc_floods_total", &ended));
    ck_assert_double_ge(ended.value, 1); /* the library ends some of them itself */
    service_close(&service);
}
END_TEST

START_TEST(large_headers_are_refused)
{
    char value[20000];
    const char *const extra[] = {"x-large", value, NULL};
    struct service service;
    struct frames_reply reply;
    struct buffer out = {0};

    memset(value, 'a', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    service_open(&service, NULL);
    frames_put_headers(&out, 1, QUERY, extra, true);
    frames_send(&service.frames, out.data, out.size);
    reply = frames_wait(&service.frames, 1);
    ck_assert_msg(reply.status == 8 || reply.closed || reply.reset, "%d %s", reply.status,
                  reply.message);
    frames_reply_free(&reply);
    buffer_destroy(&out);
    service_close(&service);
}
END_TEST

TEST_TABLE(TEST(a_query_is_answered_with_points_and_vectors),
           TEST(a_query_whose_scores_would_not_be_finite_is_told_why),
           TEST(a_timestamp_keeps_what_is_below_its_milliseconds),
           TEST(calls_of_one_connection_run_at_a_time), TEST(bad_calls_are_told_why),
           TEST(deep_and_swollen_messages_cost_a_bounded_amount),
           TEST(a_key_is_asked_for_before_the_message_comes), TEST(call_without_an_end_ends_early),
           TEST(large_message_without_a_key_is_refused_by_its_prefix),
           TEST(crowd_of_one_client_closes_no_connection_of_another),
           TEST(health_tells_the_version), TEST(floods_end_their_connection_only),
           TEST(large_headers_are_refused))
