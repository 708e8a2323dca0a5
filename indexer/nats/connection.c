/* Race: the callbacks run on a thread of the library, which may call them after the connection was
 * destroyed. The closed callback is the last. Until it came the struct stays; should it never come,
 * the struct is left behind. */
#include "indexer/nats/connection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"

enum { RECONNECT_WAIT_MS = 250, RECONNECT_JITTER_MS = 250, URLS_MAX = 16, CLOSE_WAIT_S = 5 };

struct nats_connection {
    const char *module, *effect;
    natsOptions *options;
    natsConnection *connection;
    atomic_bool doubtful;
    atomic_bool closing; /* a lost connection is wanted */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed; /* the library has made its last call; under the lock */
};

int nats_connection_error(struct error *error, natsStatus status, jsErrCode code, const char *what)
{
    if (code != 0)
        return error_set(error, ERROR_PEER, "NATS: %s: %s (JetStream error %d)", what,
                         natsStatus_GetText(status), (int)code);
    return error_set(error, ERROR_PEER, "NATS: %s: %s", what, natsStatus_GetText(status));
}

/* The library's callback thread calls these. */

static void on_connected(natsConnection *handle, void *closure)
{
    struct nats_connection *connection = closure;

    (void)handle;
    nats_connection_doubt(connection);
    log_info(connection->module, "connected to NATS");
}

static void on_disconnected(natsConnection *handle, void *closure)
{
    struct nats_connection *connection = closure;

    (void)handle;
    nats_connection_doubt(connection);
    if (!atomic_load(&connection->closing))
        log_warning(connection->module, "lost the connection to NATS: %s", connection->effect);
}

static void on_closed(natsConnection *handle, void *closure)
{
    struct nats_connection *connection = closure;

    (void)handle;
    pthread_mutex_lock(&connection->lock);
    connection->closed = true;
    pthread_cond_signal(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

/* Without it the library prints asynchronous errors itself. */
static void on_error(natsConnection *handle, natsSubscription *subscription, natsStatus status,
                     void *closure)
{
    struct nats_connection *connection = closure;

    (void)handle;
    (void)subscription;
    nats_connection_doubt(connection);
    log_debug(connection->module, "NATS: %s", natsStatus_GetText(status));
}

static natsStatus set_servers(natsOptions *options, const char *urls)
{
    const char *servers[URLS_MAX];
    char *copy = memory_checked(strdup(urls));
    char *rest = NULL;
    int count = 0;
    natsStatus status;

    for (char *part = strtok_r(copy, ", ", &rest); part && count < URLS_MAX;
         part = strtok_r(NULL, ", ", &rest))
        servers[count++] = part;
    status = natsOptions_SetServers(options, servers, count);
    free(copy);
    return status;
}

static natsStatus set_options(struct nats_connection *connection,
                              const struct nats_connection_options *wanted)
{
    natsOptions *options = connection->options;
    natsStatus status = set_servers(options, wanted->urls);

    if (status == NATS_OK && wanted->name)
        status = natsOptions_SetName(options, wanted->name);
    if (status == NATS_OK)
        status = natsOptions_SetMaxReconnect(options, -1);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectWait(options, RECONNECT_WAIT_MS);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectJitter(options, RECONNECT_JITTER_MS, RECONNECT_JITTER_MS);
    if (status == NATS_OK)
        status = natsOptions_SetRetryOnFailedConnect(options, true, on_connected, connection);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectedCB(options, on_connected, connection);
    if (status == NATS_OK)
        status = natsOptions_SetDisconnectedCB(options, on_disconnected, connection);
    if (status == NATS_OK)
        status = natsOptions_SetClosedCB(options, on_closed, connection);
    if (status == NATS_OK)
        status = natsOptions_SetErrorHandler(options, on_error, connection);
    return status;
}

int nats_connection_open(const struct nats_connection_options *options,
                         struct nats_connection **connection, struct error *error)
{
    struct nats_connection *fresh = memory_new(1, sizeof(*fresh));
    natsStatus status = natsOptions_Create(&fresh->options);

    fresh->module = options->module;
    fresh->effect = options->effect;
    atomic_store(&fresh->doubtful, true);
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->changed);
    if (status == NATS_OK)
        status = set_options(fresh, options);
    if (status == NATS_OK)
        status = natsConnection_Connect(&fresh->connection, fresh->options);
    if (status == NATS_NOT_YET_CONNECTED) {
        log_warning(fresh->module, "NATS does not answer yet, retrying: %s", fresh->effect);
        status = NATS_OK;
    }
    if (status != NATS_OK) {
        nats_connection_close(fresh);
        return nats_connection_error(error, status, 0, "connect");
    }
    *connection = fresh;
    return 0;
}

/* Whether the library makes no further call. */
static bool wait_until_closed(struct nats_connection *connection)
{
    int64_t deadline_ns = thread_deadline(CLOSE_WAIT_S * INT64_C(1000000000));
    bool closed;

    pthread_mutex_lock(&connection->lock);
    while (!connection->closed &&
           thread_condition_wait(&connection->changed, &connection->lock, deadline_ns))
        ;
    closed = connection->closed;
    pthread_mutex_unlock(&connection->lock);
    return closed;
}

void nats_connection_close(struct nats_connection *connection)
{
    bool closed = true;

    if (!connection)
        return;
    atomic_store(&connection->closing, true);
    if (connection->connection) {
        natsConnection_Close(connection->connection);
        closed = wait_until_closed(connection);
        natsConnection_Destroy(connection->connection);
    }
    natsOptions_Destroy(connection->options);
    if (!closed)
        return;
    pthread_cond_destroy(&connection->changed);
    pthread_mutex_destroy(&connection->lock);
    free(connection);
}

natsConnection *nats_connection_handle(const struct nats_connection *connection)
{
    return connection->connection;
}

bool nats_connection_is_up(const struct nats_connection *connection)
{
    return natsConnection_Status(connection->connection) == NATS_CONN_STATUS_CONNECTED;
}

void nats_connection_doubt(struct nats_connection *connection)
{
    atomic_store(&connection->doubtful, true);
}

bool nats_connection_end_doubt(struct nats_connection *connection)
{
    return atomic_exchange(&connection->doubtful, false);
}
