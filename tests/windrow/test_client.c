/* The commands' HTTP client, against a socket that answers what the test wants. */
#include "windrow/cli/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test_main.h"

/* Answers one connection with fixed bytes. */
struct canned_server {
    pthread_t thread;
    int listener;
    uint16_t port;
    const char *reply;
    char request[4096];
};

static void *serve(void *context)
{
    struct canned_server *server = context;
    int connection = accept(server->listener, NULL, NULL);
    size_t size = 0;
    ssize_t got;

    while (!strstr(server->request, "\r\n\r\n") &&
           (got = recv(connection, server->request + size, sizeof(server->request) - 1 - size, 0)) >
               0)
        size += (size_t)got;
    (void)send(connection, server->reply, strlen(server->reply), MSG_NOSIGNAL);
    close(connection);
    return NULL;
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return listener;
}

static void server_start(struct canned_server *server, const char *reply)
{
    memset(server, 0, sizeof(*server));
    server->reply = reply;
    server->listener = listen_anywhere(&server->port);
    ck_assert_int_eq(listen(server->listener, 1), 0);
    ck_assert_int_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct canned_server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
}

/* One GET of "/x"; the body or NULL with the error. */
static const char *get(const struct config *config, struct buffer *reply, struct error *error)
{
    struct client *client;
    int code;

    ck_assert_int_eq(client_open(config, &client, error), 0);
    code = client_request(client, "/x", NULL, reply, NULL, error);
    client_close(client);
    return code == 0 ? buffer_text(reply) : NULL;
}

START_TEST(good_reply_is_handed_over)
{
    struct canned_server server;
    struct buffer reply = {0};
    struct error error = {0};
    struct config config = {.http_host = "0.0.0.0", .http_api_key = "hush"};
    const char *body;

    server_start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    config.http_port = server.port;
    body = get(&config, &reply, &error);
    server_stop(&server);
    ck_assert_msg(body != NULL, "%s", error.text);
    ck_assert_str_eq(body, "{}");
    ck_assert_msg(strncmp(server.request, "GET /x HTTP/1.1\r\n", 17) == 0, "%s", server.request);
    ck_assert_ptr_nonnull(strstr(server.request, "api-key: hush\r\n"));
    buffer_destroy(&reply);
}
END_TEST

START_TEST(errors_of_the_service_keep_their_words)
{
    static const struct {
        const char *reply;
        const char *error; /* %s: the address */
    } table[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 38\r\n\r\n"
         "{\"status\":{\"error\":\"no\"},\"time\":0.001}",
         "no"},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nugly", "%s answered 500: ugly"},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 26\r\n\r\n{\"status\":{\"error\":\"key\"}}",
         "%s requires an API key (http.api_key_file): key"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct canned_server server;
        struct buffer reply = {0};
        struct error error = {0};
        struct config config = {.http_host = "127.0.0.1"};
        char address[64];
        char expected[200];
        const char *body;
        server_start(&server, table[i].reply);
        config.http_port = server.port;
        body = get(&config, &reply, &error);
        server_stop(&server);
        ck_assert_ptr_null(body);
        snprintf(address, sizeof(address), "http://127.0.0.1:%u", server.port);
        snprintf(expected, sizeof(expected), table[i].error, address);
        ck_assert_str_eq(error.text, expected);
        buffer_destroy(&reply);
    }
}
END_TEST

START_TEST(nobody_there_is_said_with_address_and_hint)
{
    struct config config = {.http_host = "127.0.0.1"};
    struct buffer reply = {0};
    struct error error = {0};
    char start[64];

    close(listen_anywhere(&config.http_port));
    ck_assert_ptr_null(get(&config, &reply, &error));
    snprintf(start, sizeof(start), "http://127.0.0.1:%u does not answer: ", config.http_port);
    ck_assert_msg(strncmp(error.text, start, strlen(start)) == 0, "%s", error.text);
    ck_assert_ptr_nonnull(strstr(error.text, "(is `windrow run` running?)"));
    buffer_destroy(&reply);
}
END_TEST

START_TEST(reply_that_ends_early_or_is_no_json_is_an_error)
{
    static const char *const replies[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{[",
        "",
    };

    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        struct config config = {.http_host = "127.0.0.1"};
        struct canned_server server;
        struct client *client;
        struct buffer reply = {0};
        struct error error = {0};
        struct arena arena;
        struct doc doc;
        arena_create(&arena, 0);
        server_start(&server, replies[i]);
        config.http_port = server.port;
        ck_assert_int_eq(client_open(&config, &client, &error), 0);
        ck_assert_int_ne(client_request_doc(client, "/", NULL, &arena, &reply, &doc, &error), 0);
        ck_assert_str_ne(error.text, "");
        server_stop(&server);
        client_close(client);
        arena_destroy(&arena);
        buffer_destroy(&reply);
    }
}
END_TEST

START_TEST(port_zero_cannot_be_asked)
{
    struct config config = {.http_host = "127.0.0.1", .path = "w.yaml"};
    struct client *client = NULL;
    struct error error = {0};

    ck_assert_int_eq(client_open(&config, &client, &error), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "w.yaml"));
}
END_TEST

TEST_TABLE(TEST(good_reply_is_handed_over), TEST(errors_of_the_service_keep_their_words),
           TEST(nobody_there_is_said_with_address_and_hint),
           TEST(reply_that_ends_early_or_is_no_json_is_an_error), TEST(port_zero_cannot_be_asked))
