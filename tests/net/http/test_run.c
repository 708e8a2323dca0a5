/* Which thread runs a request: one of the pool, or the I/O thread that read it. */
#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread_pool.h"
#include "net/http/http.h"

enum { REPLY_BYTES = 4096, MANY = 64 };

enum mode {
    QUICK,
    SLOW,    /* not as short as requests have to be */
    STUCK,   /* on an I/O thread, until it is told to stop */
    WAITING, /* for somebody */
    BROKEN   /* off, the first two times */
};

/* A route that does what the test wants and answers where it ran. */
struct stage {
    struct config config;
    struct metrics *metrics;
    struct http_server *server;
    _Atomic enum mode mode;
    atomic_uint begun_here, begun_in_pool;
    atomic_uint broken;
    atomic_bool released; /* what `hold` waits for */
};

static bool is_in_pool(void)
{
    char name[16] = "";

    ck_assert_int_eq(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    return strcmp(name, "http") == 0;
}

static void handle_search(struct http_request *request)
{
    struct stage *stage = request->context;
    const bool in_pool = is_in_pool();
    const enum mode mode = atomic_load(&stage->mode);
    const int64_t begin_ns = io_monotonic_ns(io_posix());
    struct error error = {0};

    atomic_fetch_add(in_pool ? &stage->begun_in_pool : &stage->begun_here, 1);
    while (mode == SLOW && io_monotonic_ns(io_posix()) - begin_ns < 300000)
        ;
    while (mode == STUCK && !in_pool && stop_check(&request->stop, &error) == 0)
        ;
    if (mode == WAITING && http_request_wait_begin(request))
        http_request_wait_end(request);
    else if (mode == WAITING)
        error_set(&error, ERROR_BUSY, "too many wait");
    if (mode == BROKEN && atomic_fetch_add(&stage->broken, 1) < 2) {
        atomic_store(&request->stop.begin_anew, true);
        error_set(&error, ERROR_CANCELLED, "broken off");
    }
    if (error.code != 0) {
        request->partial = true;
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_plain(request, 200, HTTP_TYPE_TEXT);
    buffer_append_text(&request->reply, in_pool ? "in the pool" : "here");
}

static void handle_held(struct http_request *request)
{
    struct stage *stage = request->context;

    while (!atomic_load(&stage->released))
        usleep(1000);
    http_reply_plain(request, 200, HTTP_TYPE_TEXT);
}

static const struct http_route routes[] = {
    {"GET", "/search", handle_search, HTTP_SEARCH, NULL},
    {"GET", "/read", handle_search, HTTP_READ, NULL},
    {"GET", "/write", handle_search, HTTP_WRITE, NULL},
    {"GET", "/held", handle_held, HTTP_READ, NULL},
};

static void stage_open(struct stage *stage)
{
    struct error error = {0};

    *stage = (struct stage){.config.http_host = "127.0.0.1", .metrics = metrics_new()};
    stage->server = http_server_new(
        &(struct http_options){.config = &stage->config, .metrics = stage->metrics});
    http_server_add_routes(stage->server, routes, sizeof(routes) / sizeof(routes[0]), stage);
    ck_assert_msg(http_server_start(stage->server, &error) == 0, "%s", error.text);
}

static void stage_close(struct stage *stage)
{
    atomic_store(&stage->released, true);
    http_server_delete(stage->server);
    metrics_delete(stage->metrics);
}

static int send_request(const struct stage *stage, const char *path)
{
    const struct timeval limit = {.tv_sec = 60};
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(http_server_port(stage->server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    char request[200];
    int size = snprintf(request, sizeof(request),
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);

    ck_assert_int_eq(connect(connection, (const struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(send(connection, request, (size_t)size, MSG_NOSIGNAL), size);
    return connection;
}

/* The whole reply, until the connection ends. */
static void read_reply(int connection, char reply[REPLY_BYTES])
{
    size_t used = 0;
    ssize_t got;

    while ((got = recv(connection, reply + used, REPLY_BYTES - 1 - used, 0)) > 0)
        used += (size_t)got;
    ck_assert_int_eq(got, 0);
    reply[used] = '\0';
    close(connection);
}

/* Returns whether an I/O thread has answered. */
static bool ask(const struct stage *stage, const char *path)
{
    char reply[REPLY_BYTES];
    bool here;

    read_reply(send_request(stage, path), reply);
    ck_assert_msg(strncmp(reply, "HTTP/1.1 200 ", 13) == 0, "%s", reply);
    ck_assert_ptr_null(strstr(reply, "windrow-partial"));
    here = strcmp(strstr(reply, "\r\n\r\n") + 4, "here") == 0;
    if (!here)
        ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, "in the pool");
    return here;
}

/* ctest ends a test that waits in vain. */
static void warm_up(struct stage *stage)
{
    atomic_store(&stage->mode, QUICK);
    while (!ask(stage, "/search"))
        ;
}

START_TEST(short_searches_come_to_run_where_they_were_read)
{
    struct stage stage;

    stage_open(&stage);
    ck_assert(!ask(&stage, "/search")); /* nobody knows yet */
    warm_up(&stage);
    stage_close(&stage);
}
END_TEST

START_TEST(other_reads_stay_in_the_pool)
{
    struct stage stage;

    stage_open(&stage);
    for (int i = 0; i < 2 * MANY; i++)
        ck_assert(!ask(&stage, "/read"));
    stage_close(&stage);
}
END_TEST

/* Those that do not get through on an I/O thread are begun anew, and nobody is told of the first time. */
static void check_that_it_moves(enum mode mode)
{
    struct stage stage;

    stage_open(&stage);
    do {
        warm_up(&stage);
        atomic_store(&stage.begun_here, 0);
        atomic_store(&stage.begun_in_pool, 0);
        atomic_store(&stage.mode, mode);
        ck_assert(!ask(&stage, "/search"));
        ck_assert_uint_eq(atomic_load(&stage.begun_in_pool), 1);
    } while (atomic_load(&stage.begun_here) == 0);
    ck_assert_uint_eq(atomic_load(&stage.begun_here), 1);
    stage_close(&stage);
}

START_TEST(search_that_takes_long_moves_to_the_pool)
{
    check_that_it_moves(STUCK);
}
END_TEST

START_TEST(search_that_has_to_wait_moves_to_the_pool)
{
    check_that_it_moves(WAITING);
}
END_TEST

START_TEST(route_whose_searches_are_long_goes_back_to_the_pool)
{
    struct stage stage;

    stage_open(&stage);
    warm_up(&stage);
    atomic_store(&stage.mode, SLOW);
    for (int i = 0; i < MANY; i++)
        (void)ask(&stage, "/search");
    ck_assert(!ask(&stage, "/search"));
    warm_up(&stage); /* and comes back from there */
    stage_close(&stage);
}
END_TEST

START_TEST(read_that_was_broken_off_begins_anew_and_a_write_does_not)
{
    char reply[REPLY_BYTES];
    struct stage stage;

    stage_open(&stage);
    warm_up(&stage);
    atomic_store(&stage.mode, BROKEN);
    atomic_store(&stage.begun_in_pool, 0);
    (void)ask(&stage, "/read");
    ck_assert_uint_eq(atomic_load(&stage.begun_in_pool), 3);
    atomic_store(&stage.broken, 0);
    (void)ask(&stage, "/search"); /* wherever it runs */
    ck_assert_uint_eq(atomic_load(&stage.broken), 3);
    atomic_store(&stage.broken, 0);
    read_reply(send_request(&stage, "/write"), reply);
    ck_assert_msg(strncmp(reply, "HTTP/1.1 503 ", 13) == 0, "%s", reply);
    ck_assert_uint_eq(atomic_load(&stage.broken), 1);
    stage_close(&stage);
}
END_TEST

/* That the pool has, running or queued. */
static uint32_t requests_in_pool(void)
{
    struct thread_pool_usage usage[THREAD_POOLS_MAX];
    uint32_t count = thread_pool_usage_list(usage);

    for (uint32_t i = 0; i < count; i++)
        if (strcmp(usage[i].name, "http") == 0)
            return usage[i].queued + usage[i].running;
    return 0;
}

START_TEST(search_waits_for_its_turn_behind_others)
{
    struct stage stage;
    int holders[MANY], search;
    char reply[REPLY_BYTES];

    thread_budget_set(1);
    stage_open(&stage);
    warm_up(&stage);
    for (int i = 0; i < MANY; i++)
        holders[i] = send_request(&stage, "/held");
    while (requests_in_pool() < MANY)
        usleep(1000);
    atomic_store(&stage.begun_here, 0);
    search = send_request(&stage, "/search");
    while (requests_in_pool() <= MANY)
        usleep(1000);
    atomic_store(&stage.released, true);
    read_reply(search, reply);
    ck_assert_ptr_nonnull(strstr(reply, "in the pool"));
    ck_assert_uint_eq(atomic_load(&stage.begun_here), 0);
    for (int i = 0; i < MANY; i++)
        read_reply(holders[i], reply);
    stage_close(&stage);
}
END_TEST

TEST_TABLE(TEST(short_searches_come_to_run_where_they_were_read),
           TEST(other_reads_stay_in_the_pool), TEST(search_that_takes_long_moves_to_the_pool),
           TEST(search_that_has_to_wait_moves_to_the_pool),
           TEST(route_whose_searches_are_long_goes_back_to_the_pool),
           TEST(search_waits_for_its_turn_behind_others),
           TEST(read_that_was_broken_off_begins_anew_and_a_write_does_not))
