/* Calls that take long: who ends them, and who is told that there are too many. */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "indexer/endpoint/grpc/dialect.h"
#include "net/http/http.h"
#include "tests/support/grpc_frames.h"
#include "tests/support/test_main.h"

#define COUNT    "/qdrant.Points/Count"
#define UPSERT   "/qdrant.Points/Upsert"
#define QUERY    "/qdrant.Points/Query"
#define CANCELED "\0\0\0\x8"

/* Routes that work until they are told to stop. */
struct busy {
    struct config config;
    struct metrics *metrics;
    struct http_server *http;
    struct grpc_catalog *catalog;
    struct grpc_server *grpc;
    struct frames client;
    atomic_uint begun, cancelled, ended;
    atomic_bool released;
    atomic_bool is_stuck; /* searches get through in the pool alone */
    atomic_uint begun_here, begun_in_pool;
    atomic_uint held; /* the search that waits for `released`, counted from 1; 0: none */
};

static void handle_busy(struct http_request *request)
{
    struct busy *busy = request->context;
    struct error error = {0};

    atomic_fetch_add(&busy->begun, 1);
    while (!atomic_load(&busy->released) && stop_check(&request->stop, &error) == 0)
        (void)sched_yield();
    if (error.code == ERROR_CANCELLED)
        atomic_fetch_add(&busy->cancelled, 1);
    if (error.code != 0) {
        http_reply_from_error(request, &error);
    } else {
        http_reply_begin(request);
        buffer_append_text(&request->reply, "{}");
        http_reply_end(request, NULL);
    }
    atomic_fetch_add(&busy->ended, 1);
}

static void handle_search(struct http_request *request)
{
    struct busy *busy = request->context;
    struct error error = {0};
    char name[16] = "";
    bool in_pool;

    ck_assert_int_eq(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    in_pool = strcmp(name, "http") == 0;
    atomic_fetch_add(in_pool ? &busy->begun_in_pool : &busy->begun_here, 1);
    while (atomic_load(&busy->begun_here) + atomic_load(&busy->begun_in_pool) ==
               atomic_load(&busy->held) &&
           !atomic_load(&busy->released))
        (void)sched_yield();
    while (!in_pool && atomic_load(&busy->is_stuck) && stop_check(&request->stop, &error) == 0)
        ;
    if (error.code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"points\":[]}");
    http_reply_end(request, NULL);
}

static const struct http_schema any = {.not_offered = true};
static const struct http_route routes[] = {
    {"POST", "/collections/{}/points/count", handle_busy, HTTP_READ, &any},
    {"PUT", "/collections/{}/points", handle_busy, HTTP_WRITE, &any},
    {"POST", "/collections/{}/points/query", handle_search, HTTP_SEARCH, &any},
};

static void busy_open(struct busy *busy)
{
    struct error error = {0};

    *busy = (struct busy){.config = {.http_host = "127.0.0.1", .http_grpc_host = "127.0.0.1"},
                          .metrics = metrics_new()};
    busy->http =
        http_server_new(&(struct http_options){.config = &busy->config, .metrics = busy->metrics});
    http_server_add_routes(busy->http, routes, sizeof(routes) / sizeof(routes[0]), busy);
    ck_assert_msg(http_server_start(busy->http, &error) == 0, "%s", error.text);
    busy->catalog = grpc_catalog_new(busy->http, busy->metrics);
    busy->grpc =
        grpc_server_new(&(struct grpc_options){.config = &busy->config,
                                               .http = busy->http,
                                               .dialect = grpc_catalog_dialect(busy->catalog),
                                               .metrics = busy->metrics});
    ck_assert_msg(grpc_server_start(busy->grpc, &error) == 0, "%s", error.text);
    frames_open(&busy->client, grpc_server_port(busy->grpc));
}

static void busy_close(struct busy *busy)
{
    atomic_store(&busy->released, true);
    grpc_server_refuse(busy->grpc);
    http_server_stop(busy->http);
    grpc_server_delete(busy->grpc);
    grpc_catalog_delete(busy->catalog);
    http_server_delete(busy->http);
    metrics_delete(busy->metrics);
}

static void send_call(struct frames *client, uint32_t stream, const char *path)
{
    struct buffer out = {0};

    frames_put_call(&out, stream, path, "\x0a\x01x", 3);
    frames_send(client, out.data, out.size);
    buffer_destroy(&out);
}

static void send_reset(struct frames *client, uint32_t stream)
{
    struct buffer out = {0};

    frames_put_frame(&out, NGHTTP2_RST_STREAM, 0, stream, CANCELED, 4);
    frames_send(client, out.data, out.size);
    buffer_destroy(&out);
}

/* ctest ends a test that waits in vain. */
static void wait_for(const atomic_uint *count, unsigned wanted)
{
    while (atomic_load(count) < wanted)
        (void)sched_yield();
}

START_TEST(a_cancelled_read_ends_and_its_connection_goes_on)
{
    struct busy busy;
    struct frames_reply reply;

    busy_open(&busy);
    send_call(&busy.client, 1, COUNT);
    wait_for(&busy.begun, 1);
    send_reset(&busy.client, 1);
    wait_for(&busy.cancelled, 1);
    atomic_store(&busy.released, true);
    send_call(&busy.client, 3, COUNT);
    reply = frames_wait(&busy.client, 3);
    ck_assert_msg(reply.status == 0, "%d %s", reply.status, reply.message);
    frames_reply_free(&reply);
    frames_close(&busy.client);
    busy_close(&busy);
}
END_TEST

START_TEST(a_closed_connection_ends_its_reads)
{
    struct busy busy;

    busy_open(&busy);
    for (uint32_t i = 0; i < 3; i++)
        send_call(&busy.client, 2 * i + 1, COUNT);
    wait_for(&busy.begun, 3);
    frames_close(&busy.client);
    wait_for(&busy.cancelled, 3);
    busy_close(&busy);
}
END_TEST

START_TEST(a_write_goes_on_without_its_client)
{
    struct busy busy;

    busy_open(&busy);
    send_call(&busy.client, 1, UPSERT);
    wait_for(&busy.begun, 1);
    send_call(&busy.client, 3, COUNT);
    wait_for(&busy.begun, 2);
    frames_close(&busy.client);
    wait_for(&busy.ended, 1); /* the read was looked at, and so was the write */
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 1);
    atomic_store(&busy.released, true);
    wait_for(&busy.ended, 2);
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 1);
    busy_close(&busy);
}
END_TEST

START_TEST(a_call_ends_at_its_deadline)
{
    static const char *const timeout[] = {"grpc-timeout", "30m", NULL};
    struct busy busy;
    struct buffer out = {0}, body = {0};
    struct frames_reply reply;

    busy_open(&busy);
    frames_put_headers(&out, 1, COUNT, timeout, false);
    frames_put_prefixed(&body, 0, 3, "\x0a\x01x", 3);
    frames_put_frame(&out, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, body.data, body.size);
    frames_send(&busy.client, out.data, out.size);
    reply = frames_wait(&busy.client, 1);
    ck_assert_msg(reply.status == 4, "%d %s", reply.status, reply.message);
    frames_reply_free(&reply);
    buffer_destroy(&out);
    buffer_destroy(&body);
    frames_close(&busy.client);
    busy_close(&busy);
}
END_TEST

/* A client has 256 places in the queue; its threads have as many calls as run at a time. Calls that run for long step
 * aside and let a few of the queue begin, so the last connection sends more than those. */
START_TEST(too_many_calls_are_told_when_to_come_again)
{
    enum { CONNECTIONS = 4, CALLS = 127 };
    struct busy busy;
    struct frames others[CONNECTIONS];
    struct frames_reply reply;
    struct buffer out = {0};

    busy_open(&busy);
    for (uint32_t i = 0; i < CALLS; i++)
        frames_put_call(&out, 2 * i + 1, COUNT, "\x0a\x01x", 3);
    frames_put_call(&out, 2 * CALLS + 1, "/none/None", "", 0); /* behind them, answered at once */
    for (uint32_t c = 0; c < CONNECTIONS; c++) {
        frames_open(&others[c], grpc_server_port(busy.grpc));
        frames_send(&others[c], out.data, out.size);
        reply = frames_wait(&others[c], 2 * CALLS + 1);
        ck_assert_int_eq(reply.status, 12);
        frames_reply_free(&reply);
    }
    out.size = 0;
    for (uint32_t i = 0; i < CALLS; i++)
        frames_put_call(&out, 2 * i + 1, COUNT, "\x0a\x01x", 3);
    frames_send(&busy.client, out.data, out.size);
    reply = frames_wait(&busy.client, FRAMES_ANY);
    ck_assert_msg(reply.status == 8 && strcmp(reply.retry_after, "1") == 0, "%d %s", reply.status,
                  reply.message);
    frames_reply_free(&reply);
    atomic_store(&busy.released, true);
    for (uint32_t c = 0; c < CONNECTIONS; c++)
        frames_close(&others[c]);
    buffer_destroy(&out);
    frames_close(&busy.client);
    busy_close(&busy);
}
END_TEST

static void ask_search(struct busy *busy, uint32_t *stream)
{
    struct frames_reply reply;

    send_call(&busy->client, *stream, QUERY);
    reply = frames_wait(&busy->client, *stream);
    ck_assert_msg(reply.status == 0, "%d %s", reply.status, reply.message);
    frames_reply_free(&reply);
    *stream += 2;
}

START_TEST(short_search_runs_where_it_was_read_and_moves_when_it_takes_long)
{
    struct busy busy;
    uint32_t stream = 1;

    busy_open(&busy);
    ask_search(&busy, &stream);
    ck_assert_uint_eq(atomic_load(&busy.begun_in_pool), 1); /* nobody knows yet */
    do {
        atomic_store(&busy.is_stuck, false);
        while (atomic_load(&busy.begun_here) == 0)
            ask_search(&busy, &stream);
        atomic_store(&busy.begun_here, 0);
        atomic_store(&busy.begun_in_pool, 0);
        atomic_store(&busy.is_stuck, true);
        ask_search(&busy, &stream);
        ck_assert_uint_eq(atomic_load(&busy.begun_in_pool), 1);
    } while (atomic_load(&busy.begun_here) == 0);
    frames_close(&busy.client);
    busy_close(&busy);
}
END_TEST

START_TEST(replies_do_not_wait_for_all_that_was_read_with_their_calls)
{
    enum { CALLS = 120 };
    struct busy busy;
    struct frames_reply reply;
    struct buffer out = {0};
    uint32_t stream = 1;

    thread_budget_set(2); /* calls that come together run where they were read */
    busy_open(&busy);
    while (atomic_load(&busy.begun_here) == 0)
        ask_search(&busy, &stream);
    atomic_store(&busy.begun_here, 0);
    atomic_store(&busy.begun_in_pool, 0);
    atomic_store(&busy.held, CALLS);
    for (uint32_t i = 0; i < CALLS; i++)
        frames_put_call(&out, stream + 2 * i, QUERY, "\x0a\x01x", 3);
    frames_send(&busy.client, out.data, out.size);
    reply = frames_wait(&busy.client, stream); /* while the last one still runs */
    ck_assert_int_eq(reply.status, 0);
    frames_reply_free(&reply);
    atomic_store(&busy.released, true);
    buffer_destroy(&out);
    frames_close(&busy.client);
    busy_close(&busy);
}
END_TEST

TEST_TABLE(TEST(a_cancelled_read_ends_and_its_connection_goes_on),
           TEST(a_closed_connection_ends_its_reads), TEST(a_write_goes_on_without_its_client),
           TEST(a_call_ends_at_its_deadline),
           TEST(short_search_runs_where_it_was_read_and_moves_when_it_takes_long),
           TEST(replies_do_not_wait_for_all_that_was_read_with_their_calls),
           TEST(too_many_calls_are_told_when_to_come_again))
