/* Where requests end, and what begins behind them. */
#include "tests/support/test_main.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/rest_fixture.h"

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
        COUNT "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Content-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT,
        COUNT "Content-Length:\r\n 2\r\n\r\n{}" NEXT,
        COUNT "Content-Length: -2\r\n\r\n{}" NEXT,
        COUNT "Content-Length: 2, 2\r\n\r\n{}" NEXT,
        COUNT "Host: localhost\r\nContent-Length: 2\r\n\r\n{}" NEXT,
        "POST /collections/news/points/count HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}" NEXT,
        "GET /healthz HTTP/1.1\r\n\r\n" NEXT,
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char *reply = converse(&fixture, requests[i]);
        ck_assert_msg(strncmp(reply, "HTTP/1.1 400", 12) == 0 && !strstr(reply, "HTTP/1.1 200"),
                      "case %zu: %s", i, reply);
    }
    ck_assert_int_eq(strncmp(converse(&fixture, "GET /healthz HTTP/1.0\r\n\r\n") + 8, " 200", 4),
                     0);
    fixture_close(&fixture);
#undef COUNT
#undef NEXT
}
END_TEST

/* libmicrohttpd takes a NUL for the end of a line, also one that it wrote over a colon. */
START_TEST(lines_that_end_early_are_refused_and_end_the_connection)
{
#define CASE(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define HEAD "POST /collections/news/points/count HTTP/1.1\r\nHost: 127.0.0.1\r\n"
#define TYPE "Content-Type: application/json\r\n"
#define NEXT "GET /collections HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
#define REST TYPE "Content-Length: 2\r\n\r\n{}" NEXT
    static const struct {
        const char *bytes;
        size_t size;
    } requests[] = {
        CASE(HEAD ": x\r\n" REST),
        CASE(HEAD ":\r\n" REST),
        CASE(HEAD TYPE "Content-Length: 2\r\n: x\r\n\r\n{}" NEXT),
        CASE(HEAD TYPE "Content-Length: 0\r\n: x\r\n" NEXT),
        CASE("GET /collections HTTP/1.1\r\nHost: 127.0.0.1\r\n: x\r\n" NEXT),
        CASE("GET /healthz HTTP/1.1\r\n: x\r\nHost: 127.0.0.1\r\n\r\n" NEXT),
        CASE("GET /healthz HTTP/1.0\r\n\0: x\r\n" NEXT),
        CASE(HEAD "\0\r\n" REST),
        CASE(HEAD "\0X: y\r\n" REST),
        CASE(HEAD "X: a\0b\r\n" REST),
        CASE(HEAD "X: a\0\0\r\n" REST),
        CASE(HEAD "X: \0\r\n" REST),
        CASE(HEAD TYPE "Content-Length: 2\r\nX: a\0b\r\n\r\n{}" NEXT),
        CASE(HEAD "X: a\0\r\n" REST),
        CASE(HEAD "X: a\rTransfer-Encoding: chunked\r\n" REST),
        CASE(HEAD "X: a\r\r\n" REST),
        CASE(HEAD "X: a\nY: b\r\n" REST),
        CASE(HEAD TYPE "Content-Length: 2\r\n\n{}" NEXT),
        CASE("GET /healthz HTTP/1.1\nHost: 127.0.0.1\r\n\r\n" NEXT),
        CASE("GET /healthz\0more HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" NEXT),
        CASE("GET /healthz\0HTTP/1.1\0\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" NEXT),
        CASE("GET /collections?a=b\0c HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" NEXT),
        CASE("GET /healthz HTTP/1.1\rX: HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" NEXT),
    };
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char *reply = converse_bytes(&fixture, requests[i].bytes, requests[i].size);
        ck_assert_msg(strncmp(reply, "HTTP/1.1 400", 12) == 0 &&
                          strstr(reply, "{\"status\":{\"error\":\"A ") &&
                          !strstr(reply + 1, "HTTP/1.1 "),
                      "case %zu: %s", i, reply);
    }
    fixture_close(&fixture);
}
END_TEST

/* Nothing is shown of trailers, which may end early as well: what follows a chunked body is left alone. */
START_TEST(nothing_is_read_behind_a_chunked_body)
{
    static const struct {
        const char *bytes;
        size_t size;
    } trailers[] = {CASE(""),       CASE("A: b\r\n"),   CASE(": x\r\n"),
                    CASE("\0\r\n"), CASE("\0A: b\r\n"), CASE("A: b\r\n: x\r\n")};
    static const char head[] = HEAD TYPE "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n";
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t i = 0; i < sizeof(trailers) / sizeof(trailers[0]); i++) {
        struct buffer request = {0};
        const char *reply;
        buffer_append_text(&request, head);
        buffer_append(&request, trailers[i].bytes, trailers[i].size);
        buffer_append_text(&request, "\r\n" NEXT);
        reply = converse_bytes(&fixture, buffer_text(&request), request.size);
        ck_assert_msg(strstr(reply, "{\"count\":50}") && strstr(reply, "Connection: close\r\n") &&
                          !strstr(reply + 1, "HTTP/1.1 "),
                      "case %zu: %s", i, reply);
        buffer_destroy(&request);
    }
    fixture_close(&fixture);
}
END_TEST

/* In any pieces, and behind each other. */
START_TEST(plain_heads_are_taken_however_they_come)
{
    static const char request[] =
        "GET /healthz HTTP/1.1\r\nHost: \t 127.0.0.1 \r\nX:\r\nY: :\r\nCookie: a=b; c\r\n\r\n"
        "GET /healthz?&&=&a=%41+ HTTP/1.1\r\nHost:127.0.0.1\r\n\r\n"
        "GET /collections HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" HEAD TYPE
        "Connection: close\r\nContent-Length: 2\r\n\r\n{}";
    static const char *const wanted[] = {"HTTP/1.1 200",  "HTTP/1.1 400",      "unknown query",
                                         "HTTP/1.1 200",  "\"collections\":[", "HTTP/1.1 200",
                                         "{\"count\":50}"};
    struct fixture fixture;

    fixture_open(&fixture);
    for (size_t piece = 1; piece < sizeof(request); piece += piece < 8 ? 1 : piece) {
        static char reply[8192];
        int connection = connect_to(&fixture), on = 1;
        const char *at = reply;
        size_t size = 0;
        ssize_t got;
        ck_assert_int_eq(setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
        for (size_t sent = 0; sent < sizeof(request) - 1; sent += piece) {
            size_t left = sizeof(request) - 1 - sent;
            send_bytes(connection, request + sent, piece < left ? piece : left);
        }
        while (size + 1 < sizeof(reply) &&
               (got = recv(connection, reply + size, sizeof(reply) - 1 - size, 0)) > 0)
            size += (size_t)got;
        close(connection);
        reply[size] = '\0';
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            at = strstr(at, wanted[i]);
            ck_assert_msg(at, "pieces of %zu, %zu: %s", piece, i, reply);
            at += strlen(wanted[i]);
        }
    }
    fixture_close(&fixture);
#undef CASE
#undef HEAD
#undef TYPE
#undef NEXT
#undef REST
}
END_TEST

TEST_TABLE(TEST(unclear_framing_is_refused_and_ends_the_connection),
           TEST(lines_that_end_early_are_refused_and_end_the_connection),
           TEST(nothing_is_read_behind_a_chunked_body),
           TEST(plain_heads_are_taken_however_they_come))
