/* What the headers of a request decide before its body is read. */
#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/indexer/rest/rest_fixture.h"

static int connect_to(const struct fixture *fixture)
{
    struct timeval timeout = {.tv_sec = 20};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(fixture->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(connect(connection, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    return connection;
}

static void send_bytes(int connection, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(connection, bytes, size, MSG_NOSIGNAL);
        ck_assert_int_gt(sent, 0);
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* Sends and reads until the server closes; returns everything that came. */
static const char *converse(const struct fixture *fixture, const char *request)
{
    static char reply[8192];
    int connection = connect_to(fixture);
    size_t size = 0;
    ssize_t got;

    send_bytes(connection, request, strlen(request));
    while (size + 1 < sizeof(reply) &&
           (got = recv(connection, reply + size, sizeof(reply) - 1 - size, 0)) > 0)
        size += (size_t)got;
    close(connection);
    reply[size] = '\0';
    return reply;
}

START_TEST(bodies_without_a_key_take_no_room_from_requests_with_one)
{
    enum { STRANGERS = 9, SENT = HTTP_BODY_MAX_BYTES - 1 };
    static const char head[] = "POST /collections/news/points/query HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                               "Content-Type: application/json\r\nContent-Length: 33554432\r\n\r\n";
    char *body = calloc(1, SENT);
    int strangers[STRANGERS];
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    for (int i = 0; i < STRANGERS; i++) {
        strangers[i] = connect_to(&fixture);
        send_bytes(strangers[i], head, sizeof(head) - 1);
        send_bytes(strangers[i], body, SENT);
    }
    answer = ask_bytes(&fixture, "POST", C "/points/count", "{}", 2, "api-key: secret");
    ck_assert_msg(answer.status == 200, "%ld %s", answer.status, buffer_text(&answer.body));
    answer_free(&answer);
    for (int i = 0; i < STRANGERS; i++) {
        char reply[16] = "";
        send_bytes(strangers[i], body, 1);
        ck_assert_int_ge(recv(strangers[i], reply, sizeof(reply) - 1, MSG_WAITALL), 12);
        ck_assert_msg(strncmp(reply, "HTTP/1.1 403", 12) == 0, "%s", reply);
        close(strangers[i]);
    }
    fixture_close(&fixture);
    free(body);
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

START_TEST(unclear_framing_is_refused_and_ends_the_connection)
{
#define COUNT                                                                                      \
    "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"                          \
    "Content-Type: application/json\r\n"
#define NEXT "GET /collections HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    static const char *const requests[] = {
        COUNT "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" NEXT,
        COUNT "Content-Length: 2\r\nContent-Length: 99\r\n\r\n{}" NEXT,
        COUNT "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Content-Length : 2\r\n\r\n{}" NEXT,
        COUNT "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Transfer-Encoding\t: chunked\r\nContent-Length: 2\r\n\r\n{}" NEXT,
        COUNT "Content-Length: -2\r\n\r\n{}" NEXT,
        COUNT "Content-Length: 2, 2\r\n\r\n{}" NEXT,
        COUNT "Host: localhost\r\nContent-Length: 2\r\n\r\n{}" NEXT,
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char *reply = converse(&fixture, requests[i]);
        ck_assert_msg(strncmp(reply, "HTTP/1.1 400", 12) == 0 && !strstr(reply, "HTTP/1.1 200"),
                      "case %zu: %s", i, reply);
    }
    fixture_close(&fixture);
#undef COUNT
#undef NEXT
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

TEST_TABLE(TEST(bodies_without_a_key_take_no_room_from_requests_with_one),
           TEST(refused_client_that_asks_first_is_not_told_to_continue),
           TEST(unclear_framing_is_refused_and_ends_the_connection),
           TEST(chunked_bodies_are_understood))
