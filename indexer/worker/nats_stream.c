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

enum { REQUEST_WAIT_MS = 3000, CHECK_INTERVAL_MS = 5000 };

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

static char *copy(const char *text, const char *suffix)
{
    char *out = NULL;

    if (asprintf(&out, "%s%s", text, suffix) < 0)
        abort();
    return out;
}

/* Of the current connection. */
static natsStatus make_context(struct nats_stream *stream)
{
    jsOptions options;
    jsCtx *context = NULL;
    natsStatus status = jsOptions_Init(&options);

    options.Wait = REQUEST_WAIT_MS;
    if (status == NATS_OK)
        status = natsConnection_JetStream(&context, nats_connection_handle(stream->connection),
                                          &options);
    if (status == NATS_OK)
        atomic_store(&stream->context, context);
    return status;
}

/* The library gave the former connection up, and there is another one. Subscriptions are made anew
 * when the consumer seems to be. Under the lock. */
static int follow_connection(struct nats_stream *stream, struct error *error)
{
    const uint64_t generation = nats_connection_generation(stream->connection);
    jsCtx *former = atomic_load(&stream->context);
    natsStatus status;

    if (generation == stream->generation)
        return 0;
    status = make_context(stream);
    if (status != NATS_OK)
        return nats_connection_error(error, status, 0, "connect");
    if (stream->former_count == NATS_STREAM_FORMER_MAX) {
        jsCtx_Destroy(stream->former[0]);
        memmove(&stream->former[0], &stream->former[1],
                --stream->former_count * sizeof(stream->former[0]));
    }
    stream->former[stream->former_count++] = former;
    stream->generation = generation;
    atomic_fetch_add(&stream->consumers, 1);
    return 0;
}

int nats_stream_open(const struct queue_nats_options *options, struct nats_stream *stream,
                     struct error *error)
{
    const struct nats_connection_options connection = {.urls = options->url,
                                                       .name = options->name,
                                                       .security = options->security,
                                                       .module = "indexer",
                                                       .effect =
                                                           "index jobs wait, nothing is lost"};
    natsStatus status;

    *stream = (struct nats_stream){.options = *options};
    if (nats_connection_open(&connection, &stream->connection, error) != 0)
        return ERROR_PEER;
    stream->options.stream = copy(options->stream, "");
    stream->dead_name = copy(options->stream, "_DEAD");
    stream->seal_subjects = copy(options->prefix, ".seal.>");
    stream->dead_subjects = copy(options->prefix, ".dead.>");
    pthread_mutex_init(&stream->lock, NULL);
    status = make_context(stream);
    if (status == NATS_OK)
        return 0;
    nats_stream_close(stream);
    return nats_connection_error(error, status, 0, "connect");
}

void nats_stream_close(struct nats_stream *stream)
{
    jsCtx_Destroy(stream->context);
    while (stream->former_count > 0)
        jsCtx_Destroy(stream->former[--stream->former_count]);
    nats_connection_close(stream->connection);
    pthread_mutex_destroy(&stream->lock);
    free((char *)stream->options.stream);
    free(stream->dead_name);
    free(stream->seal_subjects);
    free(stream->dead_subjects);
}

static void describe_seals(struct nats_stream *stream, jsStreamConfig *config)
{
    (void)jsStreamConfig_Init(config);
    config->Name = stream->options.stream;
    config->Subjects = (const char **)&stream->seal_subjects;
    config->SubjectsLen = 1;
    config->Retention = js_WorkQueuePolicy;
    config->Storage = js_FileStorage;
    config->Replicas = stream->options.replicas;
    config->Duplicates = DEDUPE_NS;
}

static void describe_dead(struct nats_stream *stream, jsStreamConfig *config)
{
    (void)jsStreamConfig_Init(config);
    config->Name = stream->dead_name;
    config->Subjects = (const char **)&stream->dead_subjects;
    config->SubjectsLen = 1;
    config->Retention = js_LimitsPolicy;
    config->Storage = js_FileStorage;
    config->Replicas = stream->options.replicas;
    config->MaxAge = DEAD_AGE_NS;
    config->MaxMsgs = DEAD_MESSAGES;
    config->Discard = js_DiscardOld;
}

/* A stream of another deployment takes none of our jobs. */
static int check_subjects(const jsStreamConfig *found, const jsStreamConfig *wanted,
                          struct error *error)
{
    for (int i = 0; i < found->SubjectsLen; i++)
        if (strcmp(found->Subjects[i], wanted->Subjects[0]) == 0)
            return 0;
    return error_set(error, ERROR_PEER,
                     "the JetStream stream %s exists and does not carry %s: it belongs to another "
                     "nats.prefix, set nats.stream to another name",
                     wanted->Name, wanted->Subjects[0]);
}

/* Another process may create it between the two calls: an existing name is fine. */
static int ensure_stream(struct nats_stream *stream, jsStreamConfig *config, struct error *error)
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus status = js_GetStreamInfo(&info, stream->context, config->Name, NULL, &code);

    if (status == NATS_OK && check_subjects(info->Config, config, error) != 0)
        code = JSStreamNameExistErr;
    jsStreamInfo_Destroy(info);
    if (status == NATS_OK)
        return code == 0 ? 0 : ERROR_PEER;
    if (code != JSStreamNotFoundErr && status != NATS_NOT_FOUND)
        return nats_connection_error(error, status, code, "look up the stream");
    code = 0;
    status = js_AddStream(NULL, stream->context, config, NULL, &code);
    if (status != NATS_OK && code != JSStreamNameExistErr)
        return nats_connection_error(error, status, code,
                                     code == JSStreamSubjectOverlapErr
                                         ? "another stream has the subjects of nats.prefix; "
                                           "nats.stream must name it"
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
    config->FilterSubject = stream->seal_subjects;
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
            return nats_connection_error(error, status, code, "set the ack wait of the consumer");
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
        return nats_connection_error(error, status, code, "create the consumer");
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
        return nats_connection_error(error, status, code, "look up the consumer");
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
    status = js_PullSubscribe(subscription, stream->context, stream->seal_subjects, CONSUMER, NULL,
                              &options, &code);
    return status == NATS_OK ? 0 : nats_connection_error(error, status, code, "subscribe");
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
    int code;

    nats_connection_mend(stream->connection);
    if (!nats_connection_is_up(stream->connection))
        return error_set(error, ERROR_PEER, "NATS: not connected");
    pthread_mutex_lock(&stream->lock);
    code = follow_connection(stream, error);
    doubtful = code == 0 && nats_connection_end_doubt(stream->connection);
    if (code == 0 && (doubtful || stream->checked_ms == 0 ||
                      now_ms() - stream->checked_ms > CHECK_INTERVAL_MS)) {
        struct error local = {0};
        code = set_up(stream, &local);
        if (code == 0) {
            stream->checked_ms = now_ms();
            stream->trouble[0] = '\0';
        } else {
            nats_connection_doubt(stream->connection);
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

    if (!nats_connection_is_up(stream->connection))
        return -1;
    if (js_GetStreamInfo(&info, stream->context, stream->options.stream, NULL, NULL) == NATS_OK)
        depth = (int64_t)info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return depth;
}
