/* The HTTP server: limits, keys, threads, stopping. */
#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/rest_fixture.h"

struct waiter {
    const struct fixture *fixture;
    long status;
};

static void *ask_for_the_future(void *context)
{
    struct waiter *waiter = context;
    struct answer answer =
        ask(waiter->fixture, "POST", C "/points/count",
            "{\"windrow\":{\"min_offsets\":{\"0\":1000000},\"timeout_ms\":60000}}");

    waiter->status = answer.status;
    answer_free(&answer);
    return NULL;
}

/* Many more than there are executors for computing. */
START_TEST(requests_that_wait_hold_up_nobody_and_end_with_the_server)
{
    enum { WAITERS = 100 };
    static struct waiter waiters[WAITERS];
    pthread_t threads[WAITERS];
    struct fixture fixture;

    fixture_open(&fixture);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].fixture = &fixture;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_for_the_future, &waiters[i]), 0);
    }
    while (atomic_load(&fixture.io.threads_seen) < WAITERS)
        usleep(1000); /* each that waits has a thread */
    for (int i = 0; i < 50; i++) {
        struct answer answer = ask(&fixture, "POST", C "/points/count", "{}");
        ck_assert_int_eq(answer.status, 200);
        answer_free(&answer);
    }
    for (int i = 0; i < WAITERS; i++)
        ck_assert_int_eq(waiters[i].status, 0); /* they still wait */
    fixture_close(&fixture);
    for (int i = 0; i < WAITERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(waiters[i].status, 503);
    }
}
END_TEST

/* At the port that CONTEXT has, until it is 0. One request a connection; it may be refused, cut off
 * or answered, and either side may close first. */
static void *visit(void *context)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const _Atomic uint16_t *shared_port = context;
    uint16_t port;

    while ((port = atomic_load(shared_port)) != 0) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int connection = socket(AF_INET, SOCK_STREAM, 0);
        char answer[512];
        if (connect(connection, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
            send(connection, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0)
            (void)recv(connection, answer, sizeof(answer), 0);
        close(connection);
    }
    return NULL;
}

START_TEST(stop_while_connections_come_and_go)
{
    enum { VISITORS = 4, STOPS = 300 };
    pthread_t visitors[VISITORS];
    struct fixture fixture;
    _Atomic uint16_t port;

    fixture_open(&fixture);
    atomic_init(&port, http_server_port(fixture.server));
    for (int i = 0; i < VISITORS; i++)
        ck_assert_int_eq(pthread_create(&visitors[i], NULL, visit, &port), 0);
    for (int stop = 0; stop < STOPS; stop++) {
        usleep((useconds_t)(stop % 10) * 300);
        http_server_delete(fixture.server);
        fixture_start_server(&fixture);
        atomic_store(&port, http_server_port(fixture.server));
    }
    atomic_store(&port, 0);
    for (int i = 0; i < VISITORS; i++)
        ck_assert_int_eq(pthread_join(visitors[i], NULL), 0);
    fixture_close(&fixture);
}
END_TEST

START_TEST(browsers_get_the_dashboard)
{
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    answer = ask_bytes(&fixture, "GET", "/", NULL, 0, "Accept: text/html,*/*");
    ck_assert_int_eq(answer.status, 200);
    ck_assert_ptr_nonnull(strstr(buffer_text(&answer.body), "<title>windrow</title>"));
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

START_TEST(wrong_method_names_the_allowed_ones)
{
    struct fixture fixture;
    struct answer answer;

    fixture_open(&fixture);
    answer = ask(&fixture, "PATCH", C "/points", NULL);
    ck_assert_int_eq(answer.status, 405);
    ck_assert_str_eq(answer.allow, "POST, PUT");
    answer_free(&answer);
    fixture_close(&fixture);
}
END_TEST

START_TEST(oversize_body_is_413)
{
    enum { SIZE = 33 * 1024 * 1024 };
    struct fixture fixture;
    struct answer answer;
    char *body = malloc(SIZE);

    memset(body, ' ', SIZE);
    fixture_open(&fixture);
    answer = ask_bytes(&fixture, "POST", C "/points/query", body, SIZE, NULL);
    ck_assert_int_eq(answer.status, 413);
    answer_free(&answer);
    answer = ask(&fixture, "GET", "/healthz", NULL);
    ck_assert_int_eq(answer.status, 200);
    answer_free(&answer);
    fixture_close(&fixture);
    free(body);
}
END_TEST

START_TEST(api_key_guards_all_but_the_probes)
{
    static const struct {
        const char *path, *header;
        long status;
    } cases[] = {
        {"/collections", NULL, 403},
        {"/collections", "api-key: wrong", 403},
        {"/collections", "api-key: secre", 403},
        {"/collections", "api-key: secret", 200},
        {"/collections", "Authorization: Bearer secret", 200},
        {"/healthz", NULL, 200},
    };
    struct fixture fixture;

    fixture_open(&fixture);
    fixture.config.http_api_key = "secret";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = ask_bytes(&fixture, "GET", cases[i].path, NULL, 0, cases[i].header);
        ck_assert_int_eq(answer.status, cases[i].status);
        answer_free(&answer);
    }
    fixture_close(&fixture);
}
END_TEST

static void *ask_many(void *context)
{
    const struct fixture *fixture = context;

    for (int i = 0; i < 50; i++) {
        struct answer answer = ask(fixture, "POST", C "/points/query",
                                   "{\"query\":[1,7,0.5,0],\"limit\":3,\"with_payload\":true}");
        ck_assert_int_eq(answer.status, 200);
        answer_free(&answer);
    }
    return NULL;
}

START_TEST(many_clients_at_once_are_all_answered)
{
    struct fixture fixture;
    pthread_t threads[8];

    fixture_open(&fixture);
    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_many, &fixture), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(requests_that_wait_hold_up_nobody_and_end_with_the_server),
           TEST(stop_while_connections_come_and_go), TEST(browsers_get_the_dashboard),
           TEST(wrong_method_names_the_allowed_ones), TEST(oversize_body_is_413),
           TEST(api_key_guards_all_but_the_probes), TEST(many_clients_at_once_are_all_answered))
