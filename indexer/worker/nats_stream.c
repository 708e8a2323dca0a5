/* Happy path: connect, find or create the work-queue stream, the dead-letter stream and the durable
 * consumer, bind a pull subscription to it.
 *
 * The server may be down at the start, go away, or come back without its disk. The library
 * reconnects for ever; after every reconnect and every error that a lost stream can explain, the
 * streams and the consumer are looked up again and made anew. What was queued in a lost stream is
 * lost with it; reconciliation makes up for that. */
#include "indexer/worker/nats_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/logger.h"
#include "base/memory.h"

enum {
    REQUEST_WAIT_MS = 3000,
    RECONNECT_WAIT_MS = 500,
    RECONNECT_JITTER_MS = 250,
    CHECK_INTERVAL_MS = 5000,
    URLS_MAX = 16,
    CLOSE_WAIT_S = 5
};

#define NS_A_MS         INT64_C(1000000)
#define DEDUPE_NS       (INT64_C(120) * 1000 * NS_A_MS)
#define DEAD_AGE_NS     (INT64_C(14) * 24 * 3600 * 1000 * NS_A_MS)
#define DEAD_MESSAGES   10000
#define CONSUMER        "workers"
#define MAX_ACK_PENDING 1000

static int64_t now_ms(void)
{
    return io_monotonic_ns(io_posix()) / NS_A_MS;
}

int nats_stream_error(struct error *error, natsStatus status, jsErrCode code, const char *what)
{
    if (code != 0)
        return error_set(error, ERROR_PEER, "NATS: %s: %s (JetStream error %d)", what,
                         natsStatus_GetText(status), (int)code);
    return error_set(error, ERROR_PEER, "NATS: %s: %s", what, natsStatus_GetText(status));
}

void nats_stream_doubt(struct nats_stream *stream)
{
    atomic_store(&stream->watch->doubtful, true);
}

/* The library's callback thread calls these. */
static void on_connected(natsConnection *connection, void *closure)
{
    struct nats_watch *watch = closure;

    (void)connection;
    atomic_store(&watch->doubtful, true);
    log_info("indexer", "connected to NATS");
}

static void on_disconnected(natsConnection *connection, void *closure)
{
    struct nats_watch *watch = closure;

    (void)connection;
    atomic_store(&watch->doubtful, true);
    if (!atomic_load(&watch->closing))
        log_warning("indexer", "lost the connection to NATS: index jobs wait, nothing is lost");
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct nats_watch *watch = closure;

    (void)connection;
    (void)sem_post(&watch->closed);
}

/* Without it the library prints asynchronous errors itself. */
static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *closure)
{
    struct nats_watch *watch = closure;

    (void)connection;
    (void)subscription;
    atomic_store(&watch->doubtful, true);
    log_debug("indexer", "NATS: %s", natsStatus_GetText(status));
}

bool nats_stream_connected(const struct nats_stream *stream)
{
    return stream->connection &&
           natsConnection_Status(stream->connection) == NATS_CONN_STATUS_CONNECTED;
}

/* Splits the URL list in place. */
static natsStatus set_servers(struct nats_stream *stream)
{
    const char *servers[URLS_MAX];
    char *rest = NULL;
    int count = 0;

    for (char *part = strtok_r(stream->url, ", ", &rest); part && count < URLS_MAX;
         part = strtok_r(NULL, ", ", &rest))
        servers[count++] = part;
    return natsOptions_SetServers(stream->connect_options, servers, count);
}

static natsStatus set_options(struct nats_stream *stream)
{
    natsOptions *options = stream->connect_options;
    natsStatus status = set_servers(stream);

    if (status == NATS_OK && stream->name)
        status = natsOptions_SetName(options, stream->name);
    if (status == NATS_OK)
        status = natsOptions_SetMaxReconnect(options, -1);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectWait(options, RECONNECT_WAIT_MS);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectJitter(options, RECONNECT_JITTER_MS, RECONNECT_JITTER_MS);
    if (status == NATS_OK)
        status = natsOptions_SetRetryOnFailedConnect(options, true, on_connected, stream->watch);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectedCB(options, on_connected, stream->watch);
    if (status == NATS_OK)
        status = natsOptions_SetDisconnectedCB(options, on_disconnected, stream->watch);
    if (status == NATS_OK)
        status = natsOptions_SetClosedCB(options, on_closed, stream->watch);
    if (status == NATS_OK)
        status = natsOptions_SetErrorHandler(options, on_error, stream->watch);
    return status;
}

static int connect_in_background(struct nats_stream *stream, struct error *error)
{
    jsOptions options;
    natsStatus status = natsOptions_Create(&stream->connect_options);

    if (status == NATS_OK)
        status = set_options(stream);
    if (status == NATS_OK)
        status = natsConnection_Connect(&stream->connection, stream->connect_options);
    if (status == NATS_NOT_YET_CONNECTED) {
        log_warning("indexer", "NATS does not answer yet: index jobs wait, retrying");
        status = NATS_OK;
    }
    if (status == NATS_OK)
        status = jsOptions_Init(&options);
    if (status == NATS_OK) {
        options.Wait = REQUEST_WAIT_MS;
        status = natsConnection_JetStream(&stream->context, stream->connection, &options);
    }
    return status == NATS_OK ? 0 : nats_stream_error(error, status, 0, "connect");
}

static char *copy(const char *text, const char *suffix)
{
    char *out = NULL;

    if (asprintf(&out, "%s%s", text, suffix) < 0)
        abort();
    return out;
}

int nats_stream_open(const struct queue_nats_options *options, struct nats_stream *stream,
                     struct error *error)
{
    memset(stream, 0, sizeof(*stream));
    stream->options = *options;
    stream->url = copy(options->url, "");
    stream->name = options->name ? copy(options->name, "") : NULL;
    stream->options.stream = copy(options->stream, "");
    stream->dead_name = copy(options->stream, "_DEAD");
    pthread_mutex_init(&stream->lock, NULL);
    stream->watch = memory_new(1, sizeof(*stream->watch));
    sem_init(&stream->watch->closed, 0, 0);
    atomic_store(&stream->watch->doubtful, true);
    if (connect_in_background(stream, error) == 0)
        return 0;
    nats_stream_close(stream);
    return ERROR_PEER;
}

/* Race: the callbacks run on a thread of the library, which may call them after the connection was
 * destroyed. The watch goes after the last of them; should that never come, it is left behind. */
static void close_connection(struct nats_stream *stream)
{
    struct timespec deadline;

    atomic_store(&stream->watch->closing, true);
    jsCtx_Destroy(stream->context);
    if (stream->connection) {
        natsConnection_Close(stream->connection);
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += CLOSE_WAIT_S;
        if (sem_timedwait(&stream->watch->closed, &deadline) != 0)
            stream->watch = NULL;
    }
    natsConnection_Destroy(stream->connection);
    natsOptions_Destroy(stream->connect_options);
    if (stream->watch)
        sem_destroy(&stream->watch->closed);
    free(stream->watch);
}

void nats_stream_close(struct nats_stream *stream)
{
    close_connection(stream);
    pthread_mutex_destroy(&stream->lock);
    free(stream->url);
    free(stream->name);
    free((char *)stream->options.stream);
    free(stream->dead_name);
}

static void describe_seals(struct nats_stream *stream, jsStreamConfig *config)
{
    static const char *subjects[] = {NATS_STREAM_SEAL_SUBJECTS};

    (void)jsStreamConfig_Init(config);
    config->Name = stream->options.stream;
    config->Subjects = subjects;
    config->SubjectsLen = 1;
    config->Retention = js_WorkQueuePolicy;
    config->Storage = js_FileStorage;
    config->Replicas = stream->options.replicas;
    config->Duplicates = DEDUPE_NS;
}

static void describe_dead(struct nats_stream *stream, jsStreamConfig *config)
{
    static const char *subjects[] = {NATS_STREAM_DEAD_SUBJECTS};

    (void)jsStreamConfig_Init(config);
    config->Name = stream->dead_name;
    config->Subjects = subjects;
    config->SubjectsLen = 1;
    config->Retention = js_LimitsPolicy;
    config->Storage = js_FileStorage;
    config->Replicas = stream->options.replicas;
    config->MaxAge = DEAD_AGE_NS;
    config->MaxMsgs = DEAD_MESSAGES;
    config->Discard = js_DiscardOld;
}

/* Another process may create it between the two calls: an existing name is fine. */
static int ensure_stream(struct nats_stream *stream, jsStreamConfig *config, struct error *error)
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus status = js_GetStreamInfo(&info, stream->context, config->Name, NULL, &code);

    jsStreamInfo_Destroy(info);
    if (status == NATS_OK)
        return 0;
    if (code != JSStreamNotFoundErr && status != NATS_NOT_FOUND)
        return nats_stream_error(error, status, code, "look up the stream");
    code = 0;
    status = js_AddStream(NULL, stream->context, config, NULL, &code);
    if (status != NATS_OK && code != JSStreamNameExistErr)
        return nats_stream_error(error, status, code,
                                 code == JSStreamSubjectOverlapErr
                                     ? "another stream has the subject windrow.seal.> or "
                                       "windrow.dead.>; nats.stream must name it"
                                     : "create the stream");
    if (status == NATS_OK)
        log_info("indexer", "created the JetStream stream %s", config->Name);
    return 0;
}

static void describe_consumer(const struct nats_stream *stream, jsConsumerConfig *config)
{
    (void)jsConsumerConfig_Init(config);
    config->Durable = CONSUMER;
    config->AckPolicy = js_AckExplicit;
    config->AckWait = stream->options.ack_wait_ms * NS_A_MS;
    /* Attempts are counted by the worker, which ends a job itself on the last one: behind the
     * server's own limit a message would lie in the work queue for ever. */
    config->MaxDeliver = -1;
    config->MaxAckPending = MAX_ACK_PENDING;
    config->FilterSubject = NATS_STREAM_SEAL_SUBJECTS;
}

/* Once in a process's life: two that were told different values would change it to and fro. Jobs
 * under way keep their delivery; those silent for longer than the new time come again. */
static int agree_consumer(struct nats_stream *stream, int64_t found_ns, struct error *error)
{
    jsConsumerConfig config;
    jsErrCode code = 0;
    natsStatus status = NATS_OK;

    describe_consumer(stream, &config);
    if (found_ns != config.AckWait) {
        status =
            js_UpdateConsumer(NULL, stream->context, stream->options.stream, &config, NULL, &code);
        if (status != NATS_OK)
            return nats_stream_error(error, status, code, "set the ack wait of the consumer");
        log_info("indexer", "nats.ack_wait is %lld ms, was %lld ms",
                 (long long)stream->options.ack_wait_ms, (long long)(found_ns / NS_A_MS));
    }
    stream->consumer_agreed = true;
    return 0;
}

static int create_consumer(struct nats_stream *stream, struct error *error)
{
    jsConsumerConfig config;
    jsErrCode code = 0;
    natsStatus status;

    describe_consumer(stream, &config);
    status = js_AddConsumer(NULL, stream->context, stream->options.stream, &config, NULL, &code);
    if (status != NATS_OK)
        return nats_stream_error(error, status, code, "create the consumer");
    stream->consumer_agreed = true;
    atomic_fetch_add(&stream->consumers, 1);
    return 0;
}

static int ensure_consumer(struct nats_stream *stream, struct error *error)
{
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    int64_t found_ns = 0;
    natsStatus status =
        js_GetConsumerInfo(&info, stream->context, stream->options.stream, CONSUMER, NULL, &code);

    if (status == NATS_OK)
        found_ns = info->Config->AckWait;
    jsConsumerInfo_Destroy(info);
    if (status == NATS_OK)
        return stream->consumer_agreed ? 0 : agree_consumer(stream, found_ns, error);
    if (code != JSConsumerNotFoundErr && status != NATS_NOT_FOUND)
        return nats_stream_error(error, status, code, "look up the consumer");
    return create_consumer(stream, error);
}

int nats_stream_subscribe(struct nats_stream *stream, natsSubscription **subscription,
                          struct error *error)
{
    jsSubOptions options;
    jsErrCode code = 0;
    natsStatus status;

    (void)jsSubOptions_Init(&options);
    options.Stream = stream->options.stream;
    options.Consumer = CONSUMER;
    status = js_PullSubscribe(subscription, stream->context, NATS_STREAM_SEAL_SUBJECTS, CONSUMER,
                              NULL, &options, &code);
    return status == NATS_OK ? 0 : nats_stream_error(error, status, code, "subscribe");
}

/* Under the lock. */
static int set_up(struct nats_stream *stream, struct error *error)
{
    jsStreamConfig seals;
    jsStreamConfig dead;
    int code;

    describe_seals(stream, &seals);
    describe_dead(stream, &dead);
    code = ensure_stream(stream, &seals, error);
    if (code == 0)
        code = ensure_stream(stream, &dead, error);
    if (code == 0)
        code = ensure_consumer(stream, error);
    return code;
}

int nats_stream_ensure(struct nats_stream *stream, struct error *error)
{
    bool doubtful;
    int code = 0;

    if (!nats_stream_connected(stream))
        return error_set(error, ERROR_PEER, "NATS: not connected");
    pthread_mutex_lock(&stream->lock);
    doubtful = atomic_exchange(&stream->watch->doubtful, false);
    if (doubtful || stream->checked_ms == 0 || now_ms() - stream->checked_ms > CHECK_INTERVAL_MS) {
        struct error local = {0};
        code = set_up(stream, &local);
        if (code == 0) {
            stream->checked_ms = now_ms();
            stream->trouble[0] = '\0';
        } else {
            atomic_store(&stream->watch->doubtful, true);
            if (strncmp(stream->trouble, local.text, sizeof(stream->trouble) - 1) != 0)
                log_warning("indexer", "%s", local.text);
            (void)snprintf(stream->trouble, sizeof(stream->trouble), "%.255s", local.text);
            (void)error_set(error, ERROR_PEER, "%s", local.text);
        }
    }
    pthread_mutex_unlock(&stream->lock);
    return code;
}

int64_t nats_stream_depth(struct nats_stream *stream)
{
    jsStreamInfo *info = NULL;
    int64_t depth = -1;

    if (!nats_stream_connected(stream))
        return -1;
    if (js_GetStreamInfo(&info, stream->context, stream->options.stream, NULL, NULL) == NATS_OK)
        depth = (int64_t)info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return depth;
}
