/* A connection to a real NATS server: what its close waits for. */
#include <stdatomic.h>
#include <time.h>

#include "net/nats/connection.h"
#include "tests/support/nats_server.h"
#include "tests/support/test_main.h"

struct listener {
    atomic_bool begun, ended;
};

static void wait_a_moment(void)
{
    const struct timespec moment = {0, 200 * 1000 * 1000};

    nanosleep(&moment, NULL);
}

/* Slower than all that the test does meanwhile. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *closure)
{
    struct listener *listener = closure;

    (void)connection;
    (void)subscription;
    atomic_store(&listener->begun, true);
    for (int i = 0; i < 5; i++)
        wait_a_moment();
    natsMsg_Destroy(message);
    atomic_store(&listener->ended, true);
}

/* Whoever closed a connection frees what its handlers use. */
START_TEST(a_close_waits_for_the_handler_that_runs)
{
    struct nats_connection_options options = {.module = "test", .effect = "nothing waits"};
    struct nats_connection *connection;
    natsSubscription *subscription;
    struct listener listener = {0};
    struct nats_server server;
    struct error error = {0};

    nats_server_start(&server);
    options.urls = server.url;
    ck_assert_msg(nats_connection_open(&options, &connection, &error) == 0, "%s", error.text);
    while (!nats_connection_is_up(connection))
        wait_a_moment();
    ck_assert_msg(nats_connection_subscribe(connection, "subject", on_message, &listener,
                                            &subscription, &error) == 0,
                  "%s", error.text);
    ck_assert_int_eq(
        natsConnection_PublishString(nats_connection_handle(connection), "subject", "text"),
        NATS_OK);
    while (!atomic_load(&listener.begun))
        wait_a_moment();
    natsSubscription_Destroy(subscription);
    nats_connection_close(connection);
    ck_assert(atomic_load(&listener.ended));
}
END_TEST

TEST_TABLE(TEST(a_close_waits_for_the_handler_that_runs))
