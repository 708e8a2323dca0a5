/* What the headers of a request decide before its body is read. */
#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "indexer/endpoint/pages/pages.h"
#include "net/http/server.h"
#include "tests/support/rest_fixture.h"

static int connect_from(const struct fixture *fixture, uint32_t address)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(fixture->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(connection, (const struct sockaddr *)&from, sizeof(from)), 0);
    ck_assert_int_eq(connect(connection, (const struct sockaddr *)&to, sizeof(to)), 0);
    return connection;
}

/* Sends bodies without a key, all but their last byte, that are more than the room for bodies; a request with a key and a
 * body of a megabyte is answered beside them. Then each stranger gets `status`. */
static void check_strangers(const struct fixture *fixture, const char *method, const char *path,
                            const char *status)
{
    enum { STRANGERS = 9, SENT = HTTP_BODY_MAX_BYTES - 1, OWN = 1 << 20 };
    char *body = calloc(1, SENT), *own = malloc(OWN), head[256];
    int strangers[STRANGERS];
    struct answer answer;
    int length = snprintf(head, sizeof(head),
                          "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                          "Content-Length: %d\r\n\r\n",
                          method, path, HTTP_BODY_MAX_BYTES);

    ck_assert_int_lt(length, (int)sizeof(head));
    for (int i = 0; i < STRANGERS; i++) {
        strangers[i] = connect_to(fixture);
        send_bytes(strangers[i], head, (size_t)length);
        send_bytes(strangers[i], body, SENT);
    }
    memset(own, ' ', OWN);
    memcpy(own, "{}", 2);
    answer = ask_bytes(fixture, "POST", C "/points/count", own, OWN, "api-key: secret");
    ck_assert_msg(answer.status == 200, "beside %s %s: %ld %s", method, path, answer.status,
                  buffer_text(&answer.body));
    answer_free(&answer);
    for (int i = 0; i < STRANGERS; i++) {
        char reply[16] = "";
        send_bytes(strangers[i], body, 1);
        ck_assert_int_ge(recv(strangers[i], reply, sizeof(reply) - 1, MSG_WAITALL), 12);
        ck_assert_msg(strncmp(reply + strlen("HTTP/1.1 "), status, 3) == 0, "%s %s: %s", method,
                      path, reply);
        close(strangers[i]);
    }
    free(own);
    free(body);
}

START_TEST(bodies_without_a_key_take_no_room_from_requests_with_one)
{
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    check_strangers(&fixture, "POST", C "/points/query", "403");
    check_strangers(&fixture, "POST", "/no/such/route", "403");
    fixture_close(&fixture);
}
END_TEST

static void handle_nothing(struct http_request *request)
{
    http_reply_plain(request, 200, HTTP_TYPE_TEXT);
}

/* Every route of the server that needs no key, and a probe as the daemon adds them. */
START_TEST(bodies_to_routes_without_a_key_take_no_room_from_requests_with_one)
{
    static const struct http_route probe = {"GET", "/livez", handle_nothing, HTTP_PROBE, NULL};
    static const char *open_routes[] = {"dashboard", "metrics"};
    size_t tried = 0;
    struct error error = {0};
    struct fixture fixture;

    fixture_open(&fixture);
    http_server_delete(fixture.server);
    fixture.config.http_api_key = "secret";
    fixture.config.http_open_routes = open_routes;
    fixture.config.http_open_route_count = 2;
    fixture.server = http_server_new(&(struct http_options){
        .config = &fixture.config, .metrics = fixture.metrics, .io = &fixture.io.io});
    pages_add_routes(fixture.server);
    rest_add_routes(fixture.rest, fixture.server);
    http_server_add_routes(fixture.server, &probe, 1, NULL);
    ck_assert_msg(http_server_start(fixture.server, &error) == 0, "%s", error.text);
    for (size_t i = 1; i < fixture.server->route_count; i++) {
        const struct http_route *route = fixture.server->routes[i].route;
        if (!http_access_is_open(&fixture.config, route->access))
            continue;
        check_strangers(&fixture, route->method, route->pattern, "200");
        tried++;
    }
    ck_assert_uint_eq(tried, 6); /* three of the dashboard, /metrics, /healthz, /livez */
    fixture_close(&fixture);
}
END_TEST

START_TEST(refused_client_that_asks_first_is_not_told_to_continue)
{
    static const char request[] =
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    ck_assert_ptr_eq(strstr(converse(&fixture, request), "HTTP/1.1 403"),
                     converse(&fixture, request));
    fixture_close(&fixture);
}
END_TEST

/* The end may come with the bytes before it, or after them. */
START_TEST(an_end_inside_a_body_ends_the_connection)
{
    static const char *const heads[] = {
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: 9000000\r\n\r\n",
        "POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: "
        "chunked\r\n\r\n100000\r\n"};
    static const size_t sizes[] = {0, 1, 1000, 20000, 70000, 200000, 1000000};
    static char body[1000000];
    struct fixture fixture;
    char byte;

    memset(body, 'a', sizeof(body));
    fixture_open(&fixture);
    for (size_t i = 0; i < 5 * 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        int connection = connect_to(&fixture);
        send_bytes(connection, heads[i % 2], strlen(heads[i % 2]));
        send_bytes(connection, body, sizes[i / 2 % (sizeof(sizes) / sizeof(sizes[0]))]);
        ck_assert_int_eq(shutdown(connection, SHUT_WR), 0);
        ck_assert_msg(recv(connection, &byte, 1, 0) == 0, "case %zu", i);
        close(connection);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(names_that_are_no_utf8_are_shown_in_full)
{
    struct fixture fixture;

    fixture_open(&fixture);
    ck_assert_ptr_nonnull(
        strstr(converse(&fixture, "GET /collections/a%ff%c3%a9%c3 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                  "Connection: close\r\n\r\n"),
               "Collection `a\\\\xff\xc3\xa9\\\\xc3` doesn't exist!"));
    fixture_close(&fixture);
}
END_TEST

START_TEST(parameters_are_bounded_in_number)
{
    static const int counts[] = {100, 101, 1000, 10000};
    static char request[40000];
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        size_t size = (size_t)snprintf(request, sizeof(request), "GET /collections?");
        const char *reply;
        for (int k = 0; k < counts[i]; k++)
            size +=
                (size_t)snprintf(request + size, sizeof(request) - size, "%sa=", k > 0 ? "&" : "");
        snprintf(request + size, sizeof(request) - size,
                 " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        reply = converse(&fixture, request);
        ck_assert_msg(strncmp(reply, "HTTP/1.1 400", 12) == 0 &&
                          !strstr(reply, "more than 100 parameters") == (counts[i] <= 100),
                      "case %zu: %s", i, reply);
    }
    fixture_close(&fixture);
}
END_TEST

/* Sends `count` headers whose values have `bytes` bytes each. */
static const char *ask_with_headers(const struct fixture *fixture, int count, size_t bytes)
{
    struct buffer request = {0};
    static char copy[64 * 1024];

    buffer_append_text(&request, "GET /collections HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (int i = 0; i < count; i++) {
        buffer_append_format(&request, "x-%d: ", i);
        for (size_t k = 0; k < bytes; k++)
            buffer_append_byte(&request, 'a');
        buffer_append_text(&request, "\r\n");
    }
    buffer_append_text(&request, "Connection: close\r\n\r\n");
    ck_assert_uint_lt(request.size, sizeof(copy));
    memcpy(copy, request.data, request.size + 1);
    buffer_destroy(&request);
    return converse(fixture, copy);
}

START_TEST(nul_ends_no_name)
{
    static const char *const lines[] = {"GET /collections/news%00more", "GET /collections/%00news",
                                        "GET /windows?collection=news%00", "GET /livez?%00=1"};
    struct fixture fixture;
    char request[200];

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *reply;
        snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", lines[i]);
        reply = converse(&fixture, request);
        ck_assert_msg(strncmp(reply, "HTTP/1.1 400", 12) == 0 &&
                          strstr(reply, "{\"status\":{\"error\":\"%00 stands in no name"),
                      "case %zu: %s", i, reply);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(headers_are_bounded_in_number_and_size)
{
    static const struct {
        int count;
        size_t bytes;
        int status;
    } cases[] = {{90, 300, 200},  {98, 1, 200},   {99, 1, 431},    {1, 32000, 200},
                 {1, 33000, 431}, {90, 400, 431}, {1, 45000, 431}, {400, 20, 431}};
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *reply = ask_with_headers(&fixture, cases[i].count, cases[i].bytes);
        ck_assert_msg(atoi(reply + strlen("HTTP/1.1 ")) == cases[i].status, "case %zu: %s", i,
                      reply);
        if (cases[i].status == 431)
            ck_assert_msg(strstr(reply, "{\"status\":{\"error\":\"The headers are more than 100"),
                          "case %zu: %s", i, reply);
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(chunked_bodies_are_understood)
{
    static const char request[] =
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: Chunked\r\n\r\n"
        "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    struct fixture fixture;

    fixture_open(&fixture);
    ck_assert_ptr_nonnull(strstr(converse(&fixture, request), "{\"count\":50}"));
    fixture_close(&fixture);
}
END_TEST

/* Sends one request of METHOD with these lines, and no key unless they have one. */
static const char *ask_raw(const struct fixture *fixture, const char *request_line,
                           const char *lines)
{
    char request[1024];

    snprintf(request, sizeof(request),
             "%s HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n%s\r\n{}", request_line,
             lines);
    return converse(fixture, request);
}

struct browser_case {
    const char *request_line, *lines;
    int status;
};

static void check_browsers(const struct fixture *fixture, const struct browser_case *cases,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *reply = ask_raw(fixture, cases[i].request_line, cases[i].lines);
        ck_assert_msg(atoi(reply + strlen("HTTP/1.1 ")) == cases[i].status, "case %zu: %s", i,
                      reply);
    }
}

#define COUNT "POST /collections/news/points/count"
#define WRITE "POST /collections/news/points/delete" /* 400: {} names nothing */
#define HOST  "Host: 127.0.0.1:6333\r\n"
#define JSON  "Content-Type: application/json\r\n"

/* The idle limit of a connection is two minutes. */
START_TEST(body_that_stands_still_ends_after_its_time)
{
    static const char request[] =
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    struct timeval patience = {.tv_sec = 60};
    struct error error = {0};
    struct fixture fixture;
    char byte;
    int connection;

    fixture_open(&fixture);
    http_server_delete(fixture.server);
    fixture.server = http_server_new(&(struct http_options){.config = &fixture.config,
                                                            .metrics = fixture.metrics,
                                                            .io = &fixture.io.io,
                                                            .body_seconds = 2});
    rest_add_routes(fixture.rest, fixture.server);
    ck_assert_msg(http_server_start(fixture.server, &error) == 0, "%s", error.text);
    connection = connect_to(&fixture);
    ck_assert_int_eq(setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)),
                     0);
    send_bytes(connection, request, strlen(request));
    ck_assert_int_eq(recv(connection, &byte, 1, 0), 0);
    close(connection);
    fixture_close(&fixture);
}
END_TEST

START_TEST(one_key_leaves_others_room_for_their_bodies)
{
    enum { PART = 96 << 20 };
    struct http_request first = {0}, other = {0};
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    first.server = other.server = fixture.server;
    first.body_share = http_body_share(fixture.server, "first");
    other.body_share = http_body_share(fixture.server, "other");
    ck_assert_uint_ne(first.body_share, other.body_share);
    /* From three addresses. */
    ck_assert(http_body_reserve(&first, 1, PART));
    ck_assert(http_body_reserve(&first, 2, PART));
    ck_assert(!http_body_reserve(&first, 3, 1));
    ck_assert(http_body_reserve(&other, 3, PART / 2));
    http_body_release(&first, 2, PART);
    ck_assert(http_body_reserve(&first, 3, 1));
    http_body_release(&first, 3, 1);
    http_body_release(&first, 1, PART);
    http_body_release(&other, 3, PART / 2);
    fixture_close(&fixture);
}
END_TEST

START_TEST(without_a_key_the_host_must_be_ours)
{
    static const char *hosts[] = {"search.example.org", "10.0.0.7:6333"};
    static const struct browser_case cases[] = {
        {COUNT, "Host: 127.0.0.1\r\n", 200},
        {COUNT, HOST, 200},
        {COUNT, "Host: LocalHost:1234\r\n", 200},
        {COUNT, "Host: search.example.org:80\r\n", 200},
        {COUNT, "Host: 10.0.0.7:6333\r\n", 200},
        {COUNT, "Host: 10.0.0.7:6334\r\n", 403},
        {COUNT, "Host: rebound.example.com\r\n", 403},
        {COUNT, "Host: localhost.example.com\r\n", 403},
        {COUNT, "Host: \r\n", 403},
        {"GET /healthz", "Host: rebound.example.com\r\n", 200},
    };
    static const struct browser_case open[] = {{COUNT, "Host: any.example.com\r\n", 200}};
    static const struct browser_case keyed[] = {
        {COUNT, "Host: any.example.com\r\napi-key: secret\r\n", 200}};
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_allowed_hosts = hosts;
    fixture.config.http_allowed_host_count = 2;
    check_browsers(&fixture, cases, sizeof(cases) / sizeof(cases[0]));
    fixture.config.http_insecure = CONFIG_TRUE;
    check_browsers(&fixture, cases, sizeof(cases) / sizeof(cases[0]));
    fixture.config.http_allowed_host_count = 0;
    check_browsers(&fixture, open, 1);
    fixture.config.http_insecure = CONFIG_FALSE;
    fixture.config.http_api_key = "secret";
    check_browsers(&fixture, keyed, 1);
    fixture_close(&fixture);
}
END_TEST

START_TEST(foreign_web_pages_are_refused)
{
    static const char *origins[] = {"https://app.example.org"};
    static const struct browser_case cases[] = {
        {WRITE, HOST JSON "Origin: http://127.0.0.1:6333\r\n", 400},
        {WRITE, HOST JSON "Origin: https://app.example.org\r\n", 400},
        {WRITE, HOST JSON "Origin: http://evil.example.com\r\n", 403},
        {WRITE, HOST JSON "Origin: http://127.0.0.1:8000\r\n", 403},
        {WRITE, HOST JSON "Origin: null\r\n", 403},
        {COUNT, HOST "Origin: http://evil.example.com\r\n", 403},
        {COUNT, HOST "Sec-Fetch-Site: cross-site\r\n", 403},
        {COUNT, HOST "Sec-Fetch-Site: same-site\r\n", 403},
        {COUNT, HOST "Sec-Fetch-Site: same-origin\r\n", 200},
        {"GET /collections", HOST "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n", 403},
        {"GET /", HOST "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", 200},
        {WRITE, HOST JSON "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", 403},
        {"OPTIONS /collections/news/points",
         HOST "Origin: https://app.example.org\r\nAccess-Control-Request-Method: PUT\r\n", 204},
        {"OPTIONS /collections/news/points",
         HOST "Origin: http://evil.example.com\r\nAccess-Control-Request-Method: PUT\r\n", 403},
    };
    struct fixture fixture;
    const char *reply;

    fixture_open(&fixture);
    fixture.config.http_cors_origins = origins;
    fixture.config.http_cors_origin_count = 1;
    check_browsers(&fixture, cases, sizeof(cases) / sizeof(cases[0]));
    reply = ask_raw(&fixture, COUNT, HOST "Origin: https://app.example.org\r\n");
    ck_assert_ptr_nonnull(
        strstr(reply, "Access-Control-Allow-Origin: https://app.example.org\r\n"));
    reply = ask_raw(&fixture, COUNT, HOST "Origin: http://127.0.0.1:6333\r\n");
    ck_assert_ptr_null(strstr(reply, "Access-Control"));
    fixture_close(&fixture);
}
END_TEST

START_TEST(writes_come_as_json)
{
    static const struct browser_case cases[] = {
        {WRITE, HOST "Content-Type: text/plain\r\n", 415},
        {WRITE, HOST "Content-Type: application/x-www-form-urlencoded\r\n", 415},
        {WRITE, HOST "Content-Type: application/jsonp\r\n", 415},
        {WRITE, HOST, 415},
        {WRITE, HOST JSON, 400},
        {WRITE, HOST "Content-Type: Application/JSON; charset=utf-8\r\n", 400},
        {"PUT /collections/news/points", HOST "Content-Type: text/plain\r\n", 415},
        {COUNT, HOST "Content-Type: text/plain\r\n", 200},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    check_browsers(&fixture, cases, sizeof(cases) / sizeof(cases[0]));
    fixture_close(&fixture);
}
END_TEST

static void handle_internal(struct http_request *request)
{
    http_reply_plain(request, 200, HTTP_TYPE_BINARY);
}

START_TEST(replies_to_other_processes_of_windrow_have_no_policy_for_pages)
{
    static const struct http_route route = {"GET", "/internal/thing", handle_internal,
                                            HTTP_INTERNAL, NULL};
    struct fixture fixture;
    struct error error = {0};
    const char *reply;

    fixture_open(&fixture);
    http_server_delete(fixture.server);
    fixture.server = http_server_new(
        &(struct http_options){.config = &fixture.config, .metrics = fixture.metrics});
    http_server_add_routes(fixture.server, &route, 1, NULL);
    ck_assert_msg(http_server_start(fixture.server, &error) == 0, "%s", error.text);
    reply = ask_raw(&fixture, "GET /internal/thing", HOST);
    ck_assert_msg(strstr(reply, "HTTP/1.1 200") == reply, "%s", reply);
    ck_assert_ptr_nonnull(strstr(reply, "X-Content-Type-Options: nosniff\r\n"));
    ck_assert_ptr_null(strstr(reply, "Content-Security-Policy"));
    /* What it refuses may be shown by a browser. */
    reply = ask_raw(&fixture, "POST /internal/thing", HOST);
    ck_assert_msg(strstr(reply, "Content-Security-Policy"), "%s", reply);
    fixture_close(&fixture);
}
END_TEST

START_TEST(replies_tell_browsers_what_they_may_do_with_them)
{
    static const char *const requests[] = {
        "GET /", "GET /dashboard.js", "GET /collections", "GET /nowhere", WRITE, "GET /healthz"};
    static const char policy[] = "Content-Security-Policy: default-src 'none'; script-src 'self'; ";
    static const char *const headers[] = {"X-Content-Type-Options: nosniff\r\n",
                                          "X-Frame-Options: DENY\r\n", policy};
    struct fixture fixture;
    const char *page;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char *reply = ask_raw(&fixture, requests[i], HOST JSON);
        for (size_t k = 0; k < sizeof(headers) / sizeof(headers[0]); k++)
            ck_assert_msg(strstr(reply, headers[k]), "%s: %s", requests[i], reply);
    }
    /* Nothing in the page that the policy forbids. */
    page = ask_raw(&fixture, "GET /", HOST "Accept: text/html\r\n");
    ck_assert_ptr_nonnull(strstr(page, "<script src=\"dashboard.js\">"));
    ck_assert_ptr_null(strstr(page, "<script>"));
    ck_assert_ptr_null(strstr(page, "<style"));
    ck_assert_ptr_null(strstr(page, "style="));
    fixture_close(&fixture);
}
END_TEST

START_TEST(read_only_key_reads)
{
    static const struct browser_case cases[] = {
        {COUNT, HOST "api-key: reader\r\n", 200},
        {"GET /metrics", HOST "Authorization: Bearer reader\r\n", 200},
        {"GET /nowhere", HOST "api-key: reader\r\n", 404},
        {WRITE, HOST JSON "api-key: reader\r\n", 403},
        {"PUT /collections/news/index", HOST JSON "api-key: reader\r\n", 403},
        {"DELETE /collections/news", HOST JSON "api-key: reader\r\n", 403},
        {WRITE, HOST JSON "api-key: secret\r\n", 400},
        {COUNT, HOST "api-key: else\r\n", 403},
        {COUNT, HOST, 403},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    fixture.config.http_read_only_key = "reader";
    check_browsers(&fixture, cases, sizeof(cases) / sizeof(cases[0]));
    fixture_close(&fixture);
}
END_TEST

static void start_with(struct fixture *fixture, uint32_t connections_max)
{
    struct error error = {0};

    http_server_delete(fixture->server);
    fixture->server = http_server_new(&(struct http_options){.config = &fixture->config,
                                                             .metrics = fixture->metrics,
                                                             .io = &fixture->io.io,
                                                             .connections_max = connections_max});
    pages_add_routes(fixture->server);
    rest_add_routes(fixture->rest, fixture->server);
    ck_assert_msg(http_server_start(fixture->server, &error) == 0, "%s", error.text);
}

/* Of every kind that waits for its client: nothing was sent, half of the headers, half of a body. */
START_TEST(idle_connections_keep_out_neither_probes_nor_requests)
{
    enum { MOST = 20, IDLE = 1000 };
    static const char half_of_the_headers[] =
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127";
    static const char half_of_a_body[] =
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    static const char *const beginnings[] = {"", half_of_the_headers, half_of_a_body};
    static int idle[IDLE];
    struct fixture fixture;
    struct metric *closed;
    char byte;

    fixture_open(&fixture);
    start_with(&fixture, MOST);
    for (int i = 0; i < IDLE; i++) {
        const char *beginning = beginnings[i % 3];
        idle[i] = connect_to(&fixture);
        /* It may have to go already. */
        (void)send(idle[i], beginning, strlen(beginning), MSG_NOSIGNAL);
        if (i % 100 == 99) {
            struct answer answer = ask(&fixture, "GET", "/healthz", NULL);
            ck_assert_int_eq(answer.status, 200);
            answer_free(&answer);
            answer = ask(&fixture, "POST", C "/points/count", "{}");
            ck_assert_int_eq(answer.status, 200);
            answer_free(&answer);
        }
    }
    /* The first ones were closed for the others. */
    ck_assert_int_le(recv(idle[0], &byte, 1, 0), 0);
    closed = metrics_counter(fixture.metrics, "windrow_http_connections_closed_total", "", NULL, 0);
    ck_assert_double_ge(metric_value(closed), IDLE - MOST);
    for (int i = 0; i < IDLE; i++)
        close(idle[i]);
    fixture_close(&fixture);
}
END_TEST

START_TEST(crowd_of_one_client_closes_no_connection_of_another)
{
    enum { MOST = 20, CROWD = 200 };
    static int crowd[CROWD];
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture fixture;
    char reply[13] = "";
    int quiet;

    fixture_open(&fixture);
    start_with(&fixture, MOST);
    quiet = connect_from(&fixture, 0x7F000002);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = connect_to(&fixture);
    send_bytes(quiet, request, strlen(request));
    ck_assert_int_eq(recv(quiet, reply, 12, MSG_WAITALL), 12);
    ck_assert_str_eq(reply, "HTTP/1.1 200");
    close(quiet);
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    fixture_close(&fixture);
}
END_TEST

/* Half of the room for bodies is left to others. */
START_TEST(bodies_of_one_client_leave_room_for_those_of_another)
{
    enum { BODIES = 9, SENT = HTTP_BODY_MAX_BYTES - 1, OTHERS = 16777216 };
    static const char head[] = "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                               "Content-Type: application/json\r\nContent-Length: 33554432\r\n\r\n";
    static const char other_head[] =
        "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: 16777216\r\n\r\n";
    char *body = malloc(SENT);
    char reply[13] = "";
    int connections[BODIES], other;
    struct fixture fixture;

    fixture_open(&fixture);
    memset(body, ' ', SENT);
    for (int i = 0; i < BODIES; i++) {
        connections[i] = connect_to(&fixture);
        send_bytes(connections[i], head, sizeof(head) - 1);
        send_bytes(connections[i], body, SENT);
    }
    other = connect_from(&fixture, 0x7F000002);
    body[0] = '{';
    body[OTHERS - 1] = '}';
    send_bytes(other, other_head, sizeof(other_head) - 1);
    send_bytes(other, body, OTHERS);
    ck_assert_int_eq(recv(other, reply, 12, MSG_WAITALL), 12);
    ck_assert_str_eq(reply, "HTTP/1.1 200");
    close(other);
    for (int i = 0; i < BODIES; i++)
        close(connections[i]);
    fixture_close(&fixture);
    free(body);
}
END_TEST

TEST_TABLE(TEST(replies_to_other_processes_of_windrow_have_no_policy_for_pages),
           TEST(replies_tell_browsers_what_they_may_do_with_them),
           TEST(body_that_stands_still_ends_after_its_time),
           TEST(one_key_leaves_others_room_for_their_bodies),
           TEST(without_a_key_the_host_must_be_ours), TEST(foreign_web_pages_are_refused),
           TEST(writes_come_as_json), TEST(read_only_key_reads),
           TEST(bodies_without_a_key_take_no_room_from_requests_with_one),
           TEST(bodies_to_routes_without_a_key_take_no_room_from_requests_with_one),
           TEST(refused_client_that_asks_first_is_not_told_to_continue), TEST(nul_ends_no_name),
           TEST(an_end_inside_a_body_ends_the_connection),
           TEST(names_that_are_no_utf8_are_shown_in_full), TEST(parameters_are_bounded_in_number),
           TEST(headers_are_bounded_in_number_and_size), TEST(chunked_bodies_are_understood),
           TEST(idle_connections_keep_out_neither_probes_nor_requests),
           TEST(crowd_of_one_client_closes_no_connection_of_another),
           TEST(bodies_of_one_client_leave_room_for_those_of_another))
