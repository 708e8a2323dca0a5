/* Requests that take long: who ends them, and who does not have to wait for them. */
#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/rest_fixture.h"

/* A route that works until it is told to stop, and others that answer at once. */
struct busy {
    struct config config;
    struct metrics *metrics;
    struct http_server *server;
    atomic_uint begun, cancelled;
    atomic_bool released;
    _Atomic int64_t next_look_ns; /* when the request under way looks for its client again */
};

static void handle_busy(struct http_request *request)
{
    struct busy *busy = request->context;
    struct error error = {0};

    atomic_fetch_add(&busy->begun, 1);
    while (!atomic_load(&busy->released) && stop_check(&request->stop, &error) == 0)
        atomic_store(&busy->next_look_ns, atomic_load(&request->stop.next_look_ns));
    if (error.code == ERROR_CANCELLED)
        atomic_fetch_add(&busy->cancelled, 1);
    http_reply_from_error(request, &error);
}

static void handle_quick(struct http_request *request)
{
    http_reply_plain(request, 200, HTTP_TYPE_TEXT);
}

static const struct http_key parameters[] = {{.name = "timeout_ms", .shape = &http_integer},
                                             {.name = NULL}};
static const struct http_schema schema = {.parameters = parameters};
static const struct http_route routes[] = {
    {"GET", "/busy", handle_busy, HTTP_READ, NULL},
    {"GET", "/busy_write", handle_busy, HTTP_WRITE, NULL},
    {"GET", "/quick", handle_quick, HTTP_READ, &schema},
};

static void busy_open(struct busy *busy)
{
    struct error error = {0};

    *busy = (struct busy){.config.http_host = "127.0.0.1", .metrics = metrics_new()};
    busy->server =
        http_server_new(&(struct http_options){.config = &busy->config, .metrics = busy->metrics});
    http_server_add_routes(busy->server, routes, sizeof(routes) / sizeof(routes[0]), busy);
    ck_assert_msg(http_server_start(busy->server, &error) == 0, "%s", error.text);
}

static void busy_close(struct busy *busy)
{
    atomic_store(&busy->released, true);
    http_server_delete(busy->server);
    metrics_delete(busy->metrics);
}

/* From one of the addresses that are this machine. */
static int ask_from(const struct busy *busy, const char *address, const char *path)
{
    struct timeval limit = {.tv_sec = 60};
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    char request[100];
    int size =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);

    to.sin_port = htons(http_server_port(busy->server));
    ck_assert_int_eq(inet_pton(AF_INET, address, &from.sin_addr), 1);
    ck_assert_int_eq(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    ck_assert_int_eq(bind(connection, (const struct sockaddr *)&from, sizeof(from)), 0);
    ck_assert_int_eq(connect(connection, (const struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(send(connection, request, (size_t)size, MSG_NOSIGNAL), size);
    return connection;
}

static void check_status(int connection, const char *status)
{
    char reply[13] = "";

    ck_assert_int_eq(recv(connection, reply, 12, MSG_WAITALL), 12);
    ck_assert_str_eq(reply + 9, status);
    close(connection);
}

static void wait_for(const atomic_uint *count, unsigned wanted)
{
    while (atomic_load(count) < wanted)
        usleep(1000);
}

START_TEST(closed_connection_ends_the_work_for_its_request)
{
    struct busy busy;
    int connection;

    busy_open(&busy);
    for (unsigned i = 0; i < 2; i++) {
        connection = ask_from(&busy, "127.0.0.1", "/busy");
        wait_for(&busy.begun, i + 1);
        if (i == 0)
            ck_assert_int_eq(shutdown(connection, SHUT_WR), 0);
        else
            close(connection);
        wait_for(&busy.cancelled, i + 1);
        if (i == 0)
            check_status(connection, "499");
    }
    busy_close(&busy);
}
END_TEST

START_TEST(closed_connection_does_not_end_a_write)
{
    struct busy busy;
    int connection;

    busy_open(&busy);
    connection = ask_from(&busy, "127.0.0.1", "/busy_write");
    wait_for(&busy.begun, 1);
    close(connection);
    for (int look = 0; look < 3; look++) {
        int64_t next_ns = atomic_load(&busy.next_look_ns);
        while (atomic_load(&busy.next_look_ns) == next_ns)
            usleep(1000);
    }
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 0);
    busy_close(&busy);
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 0);
}
END_TEST

/* More than the server has executors for. */
START_TEST(slow_requests_of_one_client_hold_up_nobody)
{
    enum { SLOW = 200 };
    struct busy busy;
    int slow[SLOW];

    busy_open(&busy);
    for (int i = 0; i < SLOW; i++)
        slow[i] = ask_from(&busy, "127.0.0.1", "/busy");
    wait_for(&busy.begun, 2);
    for (int i = 0; i < 20; i++)
        check_status(ask_from(&busy, "127.0.0.2", "/quick"), "200");
    ck_assert_uint_lt(atomic_load(&busy.begun), SLOW); /* they are bounded, too */
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 0);
    for (int i = 0; i < SLOW; i++)
        close(slow[i]);
    busy_close(&busy);
}
END_TEST

START_TEST(quick_request_overtakes_slow_ones_of_its_own_client)
{
    struct busy busy;
    int slow[256];
    unsigned count = 0, begun, executors = 2 * thread_budget_processors();

    busy_open(&busy);
    /* With every executor taken, another slow one begins only when one of them stands back. */
    for (begun = 0; begun < (executors < 4 ? 4 : executors) + 2; begun++) {
        slow[count++] = ask_from(&busy, "127.0.0.1", "/busy");
        wait_for(&busy.begun, begun + 1);
    }
    check_status(ask_from(&busy, "127.0.0.1", "/quick"), "200");
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 0);
    for (unsigned i = 0; i < count; i++)
        close(slow[i]);
    busy_close(&busy);
}
END_TEST

/* Fills the server with slow requests of one client, until some wait. */
static void fill(struct busy *busy, int *slow, int count)
{
    struct thread_pool_usage pools[THREAD_POOLS_MAX];
    uint32_t queued = 0;

    for (int i = 0; i < count; i++)
        slow[i] = ask_from(busy, "127.0.0.1", "/busy");
    while (queued == 0) {
        uint32_t names = thread_pool_usage_list(pools);
        for (uint32_t i = 0; i < names; i++)
            if (strcmp(pools[i].name, "http") == 0)
                queued = pools[i].queued;
        usleep(1000);
    }
}

START_TEST(request_whose_turn_would_come_too_late_is_refused_at_once)
{
    enum { SLOW = 200 };
    struct busy busy;
    int slow[SLOW], patient;

    busy_open(&busy);
    /* The first ones tell how long requests wait. */
    fill(&busy, slow, SLOW);
    atomic_store(&busy.released, true);
    for (int i = 0; i < SLOW; i++)
        check_status(slow[i], "500");
    atomic_store(&busy.released, false);
    fill(&busy, slow, SLOW);
    check_status(ask_from(&busy, "127.0.0.1", "/quick?timeout_ms=0"), "504");
    check_status(ask_from(&busy, "127.0.0.2", "/quick?timeout_ms=0"), "200");
    patient = ask_from(&busy, "127.0.0.1", "/quick?timeout_ms=3600000");
    atomic_store(&busy.released, true);
    check_status(patient, "200");
    for (int i = 0; i < SLOW; i++)
        close(slow[i]);
    busy_close(&busy);
}
END_TEST

static void check_search(const struct fixture *fixture, const char *more, long status,
                         const char *contains)
{
    struct answer answer;
    struct buffer body = {0};

    /* Filters take 4,096 conditions; 50 points take far longer than a millisecond with them. */
    buffer_append_format(&body,
                         "{%s\"query\":[1,7,0.5,0],\"params\":{\"exact\":true},"
                         "\"filter\":{\"must_not\":[",
                         more);
    for (int i = 0; i < 4000; i++)
        buffer_append_format(&body, "%s{\"key\":\"n\",\"values_count\":{\"gt\":%d}}",
                             i > 0 ? "," : "", i + 1);
    buffer_append_text(&body, "]}}");
    answer = ask_bytes(fixture, "POST", C "/points/query", buffer_text(&body), body.size, NULL);
    ck_assert_msg(answer.status == status && strstr(buffer_text(&answer.body), contains),
                  "%s: %ld %.300s", more, answer.status, buffer_text(&answer.body));
    answer_free(&answer);
    buffer_destroy(&body);
}

START_TEST(query_over_its_time_is_408_or_partial_on_request)
{
    struct fixture fixture;

    fixture_open(&fixture);
    check_search(&fixture, "", 200, "\"partial\":false");
    check_search(&fixture, "\"windrow\":{\"timeout_ms\":1},", 408,
                 "{\"status\":{\"error\":\"the request took longer than its timeout");
    check_search(&fixture, "\"windrow\":{\"timeout_ms\":1,\"partial\":true},", 200,
                 "\"partial\":true");
    check_search(&fixture, "\"windrow\":{\"partial\":1},", 400, "$.windrow.partial: expected");
    fixture_close(&fixture);
}
END_TEST

START_TEST(stopping_server_gives_up_what_takes_too_long)
{
    struct busy busy;
    int connection;

    busy_open(&busy);
    connection = ask_from(&busy, "127.0.0.1", "/busy");
    wait_for(&busy.begun, 1);
    http_server_stop(busy.server);
    ck_assert_uint_eq(atomic_load(&busy.cancelled), 1);
    check_status(connection, "503");
    busy_close(&busy);
}
END_TEST

TEST_TABLE(TEST(closed_connection_ends_the_work_for_its_request),
           TEST(closed_connection_does_not_end_a_write),
           TEST(slow_requests_of_one_client_hold_up_nobody),
           TEST(quick_request_overtakes_slow_ones_of_its_own_client),
           TEST(request_whose_turn_would_come_too_late_is_refused_at_once),
           TEST(query_over_its_time_is_408_or_partial_on_request),
           TEST(stopping_server_gives_up_what_takes_too_long))
