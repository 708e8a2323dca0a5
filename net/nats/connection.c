/* Race: the callbacks run on a thread of the library, which may call them after a connection was
 * destroyed. The closed callback is the last. Until it came for each of them the struct stays; should it
 * never come, the struct is left behind.
 *
 * A connection that the library gave up is replaced, but stays until the end: other threads may be
 * calling the library with it. */
#include "net/nats/connection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"

enum {
    RECONNECT_WAIT_MS = 250,
    RECONNECT_JITTER_MS = 250,
    PING_INTERVAL_MS = 5000, /* a server that hangs is left after three of them at most */
    PINGS_OUT_MAX = 2,
    URLS_MAX = 16,
    CLOSE_WAIT_S = 5,
    MEND_EVERY_S = 2,
    FORMER_MAX = 64
};

struct nats_connection {
    const char *module, *effect;
    natsOptions *options;
    _Atomic(natsConnection *) current;
    _Atomic uint64_t generation;
    natsConnection *former[FORMER_MAX];
    size_t former_count;
    atomic_bool doubtful;
    atomic_bool closing; /* a lost connection is wanted */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    unsigned open;          /* connections for which the library's last call did not come yet */
    unsigned subscriptions; /* whose handlers may run */
    bool mending;
    int64_t mend_ns;   /* not before */
    char trouble[256]; /* why there is no connection */
};

int nats_connection_error(struct error *error, natsStatus status, jsErrCode code, const char *what)
{
    if (code != 0)
        return error_set(error, ERROR_PEER, "NATS: %s: %s (JetStream error %d)", what,
                         natsStatus_GetText(status), (int)code);
    return error_set(error, ERROR_PEER, "NATS: %s: %s", what, natsStatus_GetText(status));
}

/* The library's callback thread calls these. */

/* Says it once, until it is another one. */
static void note_trouble(struct nats_connection *connection, const char *text)
{
    const char *place = *text == '(' ? strstr(text, "): ") : NULL; /* in the library's source */
    bool fresh;

    if (place)
        text = place + 3;
    pthread_mutex_lock(&connection->lock);
    fresh = *text && strncmp(connection->trouble, text, sizeof(connection->trouble) - 1) != 0;
    (void)snprintf(connection->trouble, sizeof(connection->trouble), "%s", text);
    pthread_mutex_unlock(&connection->lock);
    if (fresh && !atomic_load(&connection->closing))
        log_warning(connection->module, "NATS: %s: %s", text, connection->effect);
}

static void on_connected(natsConnection *handle, void *closure)
{
    struct nats_connection *connection = closure;

    (void)handle;
    nats_connection_doubt(connection);
    note_trouble(connection, "");
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
    connection->open -= connection->open > 0;
    pthread_cond_signal(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

/* Without it the library prints asynchronous errors itself. */
static void on_error(natsConnection *handle, natsSubscription *subscription, natsStatus status,
                     void *closure)
{
    struct nats_connection *connection = closure;
    const char *text = NULL;

    (void)subscription;
    nats_connection_doubt(connection);
    if (status == NATS_CONNECTION_AUTH_FAILED || status == NATS_NOT_PERMITTED ||
        status == NATS_SSL_ERROR) {
        (void)natsConnection_GetLastError(handle, &text);
        note_trouble(connection, text && *text ? text : natsStatus_GetText(status));
    }
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

static natsStatus set_security(natsOptions *options, const struct config_nats_security *security)
{
    natsStatus status = NATS_OK;

    if (security->creds_file)
        status = natsOptions_SetUserCredentialsFromFiles(options, security->creds_file, NULL);
    if (status == NATS_OK && security->nkey)
        status = natsOptions_SetNKeyFromSeed(options, security->nkey, security->nkey_seed_file);
    if (status == NATS_OK && security->ca_file)
        status = natsOptions_SetSecure(options, true);
    if (status == NATS_OK && security->ca_file)
        status = natsOptions_LoadCATrustedCertificates(options, security->ca_file);
    if (status == NATS_OK && security->cert_file)
        status =
            natsOptions_LoadCertificatesChain(options, security->cert_file, security->key_file);
    return status;
}

static natsStatus set_options(struct nats_connection *connection,
                              const struct nats_connection_options *wanted)
{
    natsOptions *options = connection->options;
    natsStatus status = set_servers(options, wanted->urls);

    if (status == NATS_OK && wanted->security)
        status = set_security(options, wanted->security);
    if (status == NATS_OK && wanted->name)
        status = natsOptions_SetName(options, wanted->name);
    if (status == NATS_OK)
        status = natsOptions_SetMaxReconnect(options, -1);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectWait(options, RECONNECT_WAIT_MS);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectJitter(options, RECONNECT_JITTER_MS, RECONNECT_JITTER_MS);
    if (status == NATS_OK)
        status = natsOptions_SetPingInterval(options, PING_INTERVAL_MS);
    if (status == NATS_OK)
        status = natsOptions_SetMaxPingsOut(options, PINGS_OUT_MAX);
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
    natsConnection *handle = NULL;
    natsStatus status = natsOptions_Create(&fresh->options);

    fresh->module = options->module;
    fresh->effect = options->effect;
    atomic_store(&fresh->doubtful, true);
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->changed);
    if (status == NATS_OK)
        status = set_options(fresh, options);
    fresh->open = status == NATS_OK;
    if (status == NATS_OK)
        status = natsConnection_Connect(&handle, fresh->options);
    atomic_store(&fresh->current, handle);
    if (status == NATS_NOT_YET_CONNECTED) {
        log_warning(fresh->module, "NATS does not answer yet, retrying: %s", fresh->effect);
        status = NATS_OK;
    }
    if (status != NATS_OK) {
        const char *reason = nats_GetLastError(NULL);
        (void)nats_connection_error(error, status, 0, reason && *reason ? reason : "connect");
        nats_connection_close(fresh);
        return ERROR_PEER;
    }
    *connection = fresh;
    return 0;
}

static void count_subscription(struct nats_connection *connection, int change)
{
    pthread_mutex_lock(&connection->lock);
    connection->subscriptions += (unsigned)change;
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

/* On the thread of the subscription, behind its last message. */
static void on_complete(void *closure)
{
    count_subscription(closure, -1);
}

int nats_connection_subscribe(struct nats_connection *connection, const char *subject,
                              natsMsgHandler handler, void *closure,
                              natsSubscription **subscription, struct error *error)
{
    natsStatus status = natsConnection_Subscribe(subscription, nats_connection_handle(connection),
                                                 subject, handler, closure);

    if (status != NATS_OK)
        return nats_connection_error(error, status, 0, "subscribe");
    count_subscription(connection, 1);
    if (natsSubscription_SetOnCompleteCB(*subscription, on_complete, connection) != NATS_OK)
        count_subscription(connection, -1); /* its connection is closed: there is no thread */
    return 0;
}

/* Whether the library makes no further call. */
static bool wait_until_closed(struct nats_connection *connection)
{
    int64_t deadline_ns = thread_deadline(CLOSE_WAIT_S * INT64_C(1000000000));
    bool closed;

    pthread_mutex_lock(&connection->lock);
    while ((connection->open > 0 || connection->subscriptions > 0) &&
           thread_condition_wait(&connection->changed, &connection->lock, deadline_ns))
        ;
    closed = connection->open == 0 && connection->subscriptions == 0;
    pthread_mutex_unlock(&connection->lock);
    return closed;
}

void nats_connection_close(struct nats_connection *connection)
{
    natsConnection *current;
    bool closed = true;

    if (!connection)
        return;
    atomic_store(&connection->closing, true);
    current = atomic_load(&connection->current);
    if (current) {
        natsConnection_Close(current);
        closed = wait_until_closed(connection);
        natsConnection_Destroy(current);
    }
    for (size_t i = 0; i < connection->former_count; i++)
        natsConnection_Destroy(connection->former[i]);
    natsOptions_Destroy(connection->options);
    if (!closed)
        return;
    pthread_cond_destroy(&connection->changed);
    pthread_mutex_destroy(&connection->lock);
    free(connection);
}

/* Whether it is this thread's turn. */
static bool may_mend(struct nats_connection *connection)
{
    const int64_t now = thread_deadline(0);
    bool may;

    pthread_mutex_lock(&connection->lock);
    may = connection->open == 0 && !connection->mending && now >= connection->mend_ns &&
          !atomic_load(&connection->closing);
    if (may) {
        connection->mending = true;
        connection->open = 1;
    }
    pthread_mutex_unlock(&connection->lock);
    return may;
}

/* The oldest one goes when there are many: it was replaced minutes ago, and what still belongs to it
 * keeps it alive in the library. Under the lock. */
static void retire(struct nats_connection *connection, natsConnection *former)
{
    if (connection->former_count == FORMER_MAX) {
        natsConnection_Destroy(connection->former[0]);
        memmove(&connection->former[0], &connection->former[1],
                --connection->former_count * sizeof(connection->former[0]));
    }
    connection->former[connection->former_count++] = former;
}

void nats_connection_mend(struct nats_connection *connection)
{
    natsConnection *fresh = NULL;
    natsStatus status;

    if (!may_mend(connection))
        return;
    /* One attempt in this thread: only so the library tells why it failed. */
    status = natsOptions_SetRetryOnFailedConnect(connection->options, false, NULL, NULL);
    if (status == NATS_OK)
        status = natsConnection_Connect(&fresh, connection->options);
    if (status != NATS_OK) {
        const char *reason = nats_GetLastError(NULL);
        note_trouble(connection, reason && *reason ? reason : natsStatus_GetText(status));
    }
    pthread_mutex_lock(&connection->lock);
    connection->mending = false;
    connection->mend_ns = thread_deadline(MEND_EVERY_S * INT64_C(1000000000));
    if (status == NATS_OK)
        retire(connection, atomic_exchange(&connection->current, fresh));
    else
        connection->open = 0;
    pthread_mutex_unlock(&connection->lock);
    if (status != NATS_OK)
        return;
    atomic_fetch_add(&connection->generation, 1);
    on_connected(fresh, connection);
}

natsConnection *nats_connection_handle(const struct nats_connection *connection)
{
    return atomic_load(&connection->current);
}

uint64_t nats_connection_generation(const struct nats_connection *connection)
{
    return atomic_load(&connection->generation);
}

bool nats_connection_is_up(const struct nats_connection *connection)
{
    return natsConnection_Status(nats_connection_handle(connection)) == NATS_CONN_STATUS_CONNECTED;
}

void nats_connection_trouble(struct nats_connection *connection, char *out, size_t out_bytes)
{
    pthread_mutex_lock(&connection->lock);
    (void)snprintf(out, out_bytes, "%s%s", *connection->trouble ? "NATS: " : "NATS does not answer",
                   connection->trouble);
    pthread_mutex_unlock(&connection->lock);
}

void nats_connection_doubt(struct nats_connection *connection)
{
    atomic_store(&connection->doubtful, true);
}

bool nats_connection_end_doubt(struct nats_connection *connection)
{
    return atomic_exchange(&connection->doubtful, false);
}
