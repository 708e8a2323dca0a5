/* The work queue on JetStream.
 *
 *     publish   PREFIX.seal.<collection>.<shard>, message id = group + window + generation + kind
 *     fetch     durable pull consumer "workers", explicit ack, shared by all processes
 *     give up   PREFIX.dead.<collection>.<shard> in the stream <STREAM>_DEAD, then term
 *
 * Deduplication. The server drops a message whose id came within two minutes. That is right for a
 * seal that is published twice, and wrong for a job that reconciliation queues again because the
 * first copy was acknowledged in vain: a copy that is dropped while the queue is empty is published
 * again under another id. An extra copy does no harm, the work is idempotent.
 *
 * Attempts. A job that makes workers die is delivered again and again without anybody reporting a
 * failure: deliveries count, not reports. A job whose shard is not open here is no failure: it is
 * published anew with one pass more (later each time) and the same attempts, and this copy is
 * acknowledged. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "indexer/worker/locator.h"
#include "indexer/worker/nats_stream.h"
#include "indexer/worker/queue.h"

enum {
    PASSES_MAX = 20,
    PASS_DELAY_MAX_MS = 10000,
    PASS_DELAY_MS = 250,
    OFFLINE_PAUSE_MS = 100,
    FLUSH_WAIT_MS = 1000,
    FETCH_SLICE_MS = 500
};

struct nats_delivery {
    struct worker_delivery delivery; /* first */
    natsMsg *message;
    struct nats_delivery *next; /* in the list of jobs to be passed on */
    int64_t due_ms;
};

struct nats_queue {
    struct worker_queue queue; /* first */
    struct nats_stream stream;
    pthread_mutex_t fetch_lock; /* one thread pulls at a time; over the two that follow */
    natsSubscription *subscription;
    uint64_t subscribed_consumer; /* stream.consumers when it was made */
    pthread_mutex_t pass_lock;
    struct nats_delivery *passing; /* held back until due */
    pthread_cond_t woken;          /* on the monotonic clock; with pass_lock */
    _Atomic uint64_t copies;       /* for ids of copies */
    struct locator *locator;
};

static int64_t now_ms(void)
{
    return io_monotonic_ns(io_posix()) / 1000000;
}

/* "windrow.seal.news.my_topic-3" */
static void write_subject(const struct nats_queue *queue, const char *kind,
                          const struct worker_job *job, char *out, size_t out_bytes)
{
    int length =
        snprintf(out, out_bytes, "%s.%s.%s.", queue->stream.options.prefix, kind, job->collection);

    (void)snprintf(out + length, out_bytes - (size_t)length, "%s", job->shard);
    locator_make_token(out + length);
}

static natsStatus publish_once(struct nats_queue *queue, const char *subject, const char *id,
                               const struct buffer *bytes, bool *duplicate, jsErrCode *code)
{
    jsPubOptions options;
    jsPubAck *ack = NULL;
    natsStatus status = jsPubOptions_Init(&options);

    *code = 0;
    options.MsgId = id;
    if (status == NATS_OK)
        status = js_Publish(&ack, queue->stream.context, subject, bytes->data, (int)bytes->size,
                            &options, code);
    *duplicate = ack && ack->Duplicate;
    jsPubAck_Destroy(ack);
    return status;
}

/* A stream that the server has lost shows as a publication that nobody answers: made anew, once. */
static int publish_bytes(struct nats_queue *queue, const char *subject, const char *id,
                         const struct buffer *bytes, bool *duplicate, struct error *error)
{
    jsErrCode code;
    natsStatus status;

    if (nats_stream_ensure(&queue->stream, error) != 0)
        return ERROR_PEER;
    status = publish_once(queue, subject, id, bytes, duplicate, &code);
    if (status == NATS_OK)
        return 0;
    nats_connection_doubt(queue->stream.connection);
    if (nats_stream_ensure(&queue->stream, error) != 0)
        return ERROR_PEER;
    status = publish_once(queue, subject, id, bytes, duplicate, &code);
    return status == NATS_OK ? 0 : nats_connection_error(error, status, code, "publish");
}

/* An id that was never used: unique over processes and restarts. */
static void write_copy_id(struct nats_queue *queue, const char *id, char *out, size_t out_bytes)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(out, out_bytes, "%s/%d-%lld-%llu", id, (int)getpid(),
                   (long long)now.tv_sec * 1000000000 + now.tv_nsec,
                   (unsigned long long)atomic_fetch_add(&queue->copies, 1));
}

static int publish_copy(struct nats_queue *queue, const struct worker_job *job, const char *subject,
                        const struct buffer *bytes, struct error *error)
{
    char id[WORKER_JOB_ID_BYTES];
    char copy_id[WORKER_JOB_ID_BYTES + 64];
    bool duplicate;

    worker_job_id(job, id, sizeof(id));
    write_copy_id(queue, id, copy_id, sizeof(copy_id));
    return publish_bytes(queue, subject, copy_id, bytes, &duplicate, error);
}

static int queue_publish(struct worker_queue *base, const struct worker_job *job,
                         struct error *error)
{
    struct nats_queue *queue = (struct nats_queue *)base;
    struct buffer bytes = {0};
    char subject[WORKER_JOB_ID_BYTES];
    char id[WORKER_JOB_ID_BYTES];
    bool duplicate = false;
    int code;

    worker_job_encode(job, &bytes);
    worker_job_id(job, id, sizeof(id));
    write_subject(queue, "seal", job, subject, sizeof(subject));
    code = publish_bytes(queue, subject, id, &bytes, &duplicate, error);
    if (code == 0 && duplicate && nats_stream_depth(&queue->stream) == 0)
        code = publish_copy(queue, job, subject, &bytes, error);
    buffer_destroy(&bytes);
    return code;
}

static void free_delivery(struct nats_delivery *delivery)
{
    natsMsg_Destroy(delivery->message);
    free(delivery);
}

/* The same for each delivery of a message, other for each message, also in a stream made anew. */
static void write_letter_id(natsMsg *message, char *out, size_t out_bytes)
{
    jsMsgMetaData *meta = NULL;

    out[0] = '\0';
    if (natsMsg_GetMetaData(&meta, message) == NATS_OK)
        (void)snprintf(out, out_bytes, "%llu-%lld", (unsigned long long)meta->Sequence.Stream,
                       (long long)meta->Timestamp);
    jsMsgMetaData_Destroy(meta);
}

/* To the dead-letter subject, the bytes as they came, with the reason; then out of the queue. When
 * the publication fails the message stays and comes again. A message that is delivered once more
 * before the server has let it go makes no second letter. */
static void bury(struct nats_queue *queue, natsMsg *message, const char *subject, const char *why,
                 const char *collection)
{
    natsMsg *dead = NULL;
    jsErrCode code = 0;
    jsPubOptions options;
    jsPubAck *letter = NULL;
    struct error error = {0};
    char id[64];
    natsStatus status = natsMsg_Create(&dead, subject, NULL, natsMsg_GetData(message),
                                       natsMsg_GetDataLength(message));

    write_letter_id(message, id, sizeof(id));
    (void)jsPubOptions_Init(&options);
    options.MsgId = id;
    if (status == NATS_OK)
        status = natsMsgHeader_Set(dead, "Windrow-Reason", why);
    if (status == NATS_OK)
        status = natsMsgHeader_Set(dead, "Windrow-Subject", natsMsg_GetSubject(message));
    if (status == NATS_OK)
        status = js_PublishMsg(&letter, queue->stream.context, dead, &options, &code);
    natsMsg_Destroy(dead);
    if (status == NATS_OK)
        status = natsMsg_Term(message, NULL);
    if (status == NATS_OK && !letter->Duplicate)
        metric_add(worker_queue_dead(queue->stream.options.metrics, collection), 1);
    jsPubAck_Destroy(letter);
    if (status == NATS_OK)
        return;
    nats_connection_doubt(queue->stream.connection);
    (void)nats_connection_error(&error, status, code, "publish a dead letter");
    log_warning("indexer", "%s: %s", subject, error.text);
}

/* A header value is one line. */
static void bury_job(struct nats_queue *queue, struct nats_delivery *delivery, const char *why)
{
    const struct worker_job *job = &delivery->delivery.job;
    char subject[WORKER_JOB_ID_BYTES];
    char id[WORKER_JOB_ID_BYTES];
    char reason[512];

    (void)snprintf(reason, sizeof(reason), "%d attempts: %s", WORKER_ATTEMPTS_MAX, why);
    for (char *c = reason; *c; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    worker_job_id(job, id, sizeof(id));
    write_subject(queue, "dead", job, subject, sizeof(subject));
    log_error("indexer", "giving up on %s after %s", id, reason);
    bury(queue, delivery->message, subject, reason, job->collection);
}

/* What no worker can read ends as a dead letter at once. */
static void bury_garbage(struct nats_queue *queue, natsMsg *message, const char *why)
{
    char subject[128];

    (void)snprintf(subject, sizeof(subject), "%s.dead.unreadable.job",
                   queue->stream.options.prefix);
    log_error("indexer", "a message on %s is not a job: %s", natsMsg_GetSubject(message), why);
    bury(queue, message, subject, why, "");
}

/* Takes over `message`. NULL when it was no job, or one that is given up. */
static struct nats_delivery *open_message(struct nats_queue *queue, natsMsg *message)
{
    struct nats_delivery *delivery = memory_new(1, sizeof(*delivery));
    jsMsgMetaData *meta = NULL;
    struct error error = {0};
    uint64_t deliveries = 1;

    delivery->delivery.queue = &queue->queue;
    delivery->message = message;
    if (worker_job_decode(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message),
                          &delivery->delivery.job, &error) != 0) {
        bury_garbage(queue, message, error.text);
        free_delivery(delivery);
        return NULL;
    }
    if (natsMsg_GetMetaData(&meta, message) == NATS_OK)
        deliveries = meta->NumDelivered;
    jsMsgMetaData_Destroy(meta);
    delivery->delivery.attempt =
        delivery->delivery.job.attempts_before +
        (uint32_t)(deliveries < WORKER_ATTEMPTS_MAX + 1 ? deliveries : WORKER_ATTEMPTS_MAX + 1);
    if (delivery->delivery.attempt > WORKER_ATTEMPTS_MAX) {
        bury_job(queue, delivery, "workers die or fall silent over it");
        free_delivery(delivery);
        return NULL;
    }
    return delivery;
}

/* Passing on. */

static int64_t pass_delay_ms(const struct nats_queue *queue, uint32_t passes)
{
    int64_t delay_ms = queue->stream.options.pass_delay_ms;
    int64_t max_ms = queue->stream.options.ack_wait_ms / 3;

    delay_ms = delay_ms ? delay_ms : PASS_DELAY_MS;
    delay_ms <<= passes < 6 ? passes : 6;
    delay_ms = delay_ms < PASS_DELAY_MAX_MS ? delay_ms : PASS_DELAY_MAX_MS;
    /* Held longer it would be delivered a second time. */
    return delay_ms < max_ms ? delay_ms : max_ms;
}

/* Publishes the copy, then lets this one go: twice in the queue rather than not at all. */
static int hand_on(struct nats_queue *queue, const struct nats_delivery *delivery,
                   struct error *error)
{
    struct worker_job copy = delivery->delivery.job;
    struct buffer bytes = {0};
    char subject[WORKER_JOB_ID_BYTES];
    int code = 0;

    copy.attempts_before = delivery->delivery.attempt - 1;
    copy.passes++;
    if (copy.group[0])
        copy.owner[0] = '\0'; /* asked for anew */
    if (copy.passes <= PASSES_MAX) {
        worker_job_encode(&copy, &bytes);
        write_subject(queue, "seal", &copy, subject, sizeof(subject));
        code = publish_copy(queue, &copy, subject, &bytes, error);
        buffer_destroy(&bytes);
    }
    if (code == 0)
        (void)natsMsg_Ack(delivery->message, NULL);
    return code;
}

static void hold(struct nats_queue *queue, struct nats_delivery *delivery)
{
    delivery->due_ms = now_ms() + pass_delay_ms(queue, delivery->delivery.job.passes);
    pthread_mutex_lock(&queue->pass_lock);
    delivery->next = queue->passing;
    queue->passing = delivery;
    pthread_mutex_unlock(&queue->pass_lock);
}

/* Hands on what is due, or everything at the end. What the server does not take is held on to: let
 * go it would come back only after the ack wait, as one attempt more. */
static void hand_on_due(struct nats_queue *queue, bool at_end)
{
    struct nats_delivery *due = NULL;
    int64_t now = now_ms();

    pthread_mutex_lock(&queue->pass_lock);
    for (struct nats_delivery **place = &queue->passing; *place;) {
        struct nats_delivery *delivery = *place;
        if (!at_end && delivery->due_ms > now) {
            place = &delivery->next;
            continue;
        }
        *place = delivery->next;
        delivery->next = due;
        due = delivery;
    }
    pthread_mutex_unlock(&queue->pass_lock);
    while (due) {
        struct nats_delivery *next = due->next;
        struct error error = {0};
        int code = hand_on(queue, due, &error);
        if (code != 0)
            log_debug("indexer", "return a job to the queue: %s", error.text);
        if (code != 0 && !at_end)
            hold(queue, due);
        else
            free_delivery(due);
        due = next;
    }
}

static int queue_pass(struct worker_delivery *base, struct error *error)
{
    (void)error;
    hold((struct nats_queue *)base->queue, (struct nats_delivery *)base);
    return 0;
}

/* Fetching and answering. */

/* A consumer that was made anew needs a subscription of its own. */
static int subscribe(struct nats_queue *queue, struct error *error)
{
    uint64_t consumer = atomic_load(&queue->stream.consumers);

    if (queue->subscription && queue->subscribed_consumer == consumer)
        return 0;
    natsSubscription_Destroy(queue->subscription);
    queue->subscription = NULL;
    queue->subscribed_consumer = consumer;
    return nats_stream_subscribe(&queue->stream, &queue->subscription, error);
}

static int fetch_message(struct nats_queue *queue, int timeout_ms, natsMsg **message,
                         struct error *error)
{
    natsMsgList list = {0};
    jsErrCode code = 0;
    natsStatus status;

    status = natsSubscription_Fetch(&list, queue->subscription, 1, timeout_ms, &code);
    if (status == NATS_OK && list.Count == 1) {
        *message = list.Msgs[0];
        list.Msgs[0] = NULL;
        natsMsgList_Destroy(&list);
        return 0;
    }
    natsMsgList_Destroy(&list);
    if (status == NATS_TIMEOUT)
        return error_set(error, ERROR_TIMEOUT, "no job");
    nats_connection_doubt(queue->stream.connection);
    return nats_connection_error(error, status, code, "fetch");
}

/* While the server is away, a fetch is paced here. */
static void pause_offline(struct nats_queue *queue, const atomic_bool *stop)
{
    pthread_mutex_lock(&queue->pass_lock);
    if (!stop || !atomic_load(stop))
        (void)thread_condition_wait(&queue->woken, &queue->pass_lock,
                                    thread_deadline(OFFLINE_PAUSE_MS * 1000000));
    pthread_mutex_unlock(&queue->pass_lock);
}

static int fetch_slice(struct nats_queue *queue, int timeout_ms, const atomic_bool *stop,
                       struct worker_delivery **delivery, struct error *error)
{
    natsMsg *message = NULL;
    struct nats_delivery *opened;
    int code;

    hand_on_due(queue, false);
    pthread_mutex_lock(&queue->fetch_lock);
    code = nats_stream_ensure(&queue->stream, error);
    locator_follow(queue->locator);
    if (code == 0)
        code = subscribe(queue, error);
    if (code == 0)
        code = fetch_message(queue, timeout_ms, &message, error);
    pthread_mutex_unlock(&queue->fetch_lock);
    if (code != 0) {
        if (code == ERROR_PEER)
            pause_offline(queue, stop);
        return code;
    }
    opened = open_message(queue, message);
    if (!opened)
        return error_set(error, ERROR_TIMEOUT, "no job");
    *delivery = &opened->delivery;
    return 0;
}

/* The library cannot interrupt a pull that waits on the server, so one with a stop flag is made in
 * slices: a stop waits for the end of a slice, and an idle worker sends two requests a second. */
static int queue_fetch(struct worker_queue *base, int timeout_ms, const atomic_bool *stop,
                       struct worker_delivery **delivery, struct error *error)
{
    int64_t end_ms = now_ms() + timeout_ms, left_ms = timeout_ms;
    int code;

    do {
        if (stop && atomic_load(stop))
            return error_set(error, ERROR_TIMEOUT, "no job");
        if (stop && left_ms > FETCH_SLICE_MS)
            left_ms = FETCH_SLICE_MS;
        code = fetch_slice((struct nats_queue *)base, (int)left_ms, stop, delivery, error);
        left_ms = end_ms - now_ms();
    } while (code == ERROR_TIMEOUT && left_ms > 0 && stop);
    return code;
}

static void queue_wake(struct worker_queue *base)
{
    struct nats_queue *queue = (struct nats_queue *)base;

    pthread_mutex_lock(&queue->pass_lock);
    pthread_cond_broadcast(&queue->woken);
    pthread_mutex_unlock(&queue->pass_lock);
}

static int queue_ack(struct worker_delivery *base, struct error *error)
{
    struct nats_queue *queue = (struct nats_queue *)base->queue;
    struct nats_delivery *delivery = (struct nats_delivery *)base;
    jsErrCode code = 0;
    natsStatus status = NATS_CONNECTION_DISCONNECTED;

    if (nats_connection_is_up(queue->stream.connection))
        status = natsMsg_AckSync(delivery->message, NULL, &code);
    free_delivery(delivery);
    return status == NATS_OK ? 0 : nats_connection_error(error, status, code, "acknowledge");
}

static int queue_retry(struct worker_delivery *base, int64_t delay_ms, const char *why,
                       struct error *error)
{
    struct nats_queue *queue = (struct nats_queue *)base->queue;
    struct nats_delivery *delivery = (struct nats_delivery *)base;
    natsStatus status = NATS_OK;

    if (base->attempt >= WORKER_ATTEMPTS_MAX)
        bury_job(queue, delivery, why);
    else
        status = natsMsg_NakWithDelay(delivery->message, delay_ms > 0 ? delay_ms : 1, NULL);
    free_delivery(delivery);
    return status == NATS_OK ? 0 : nats_connection_error(error, status, 0, "hand a job back");
}

static int queue_in_progress(struct worker_delivery *base, struct error *error)
{
    struct nats_delivery *delivery = (struct nats_delivery *)base;
    natsStatus status = natsMsg_InProgress(delivery->message, NULL);

    return status == NATS_OK ? 0 : nats_connection_error(error, status, 0, "report progress");
}

static int64_t queue_depth(struct worker_queue *base)
{
    return nats_stream_depth(&((struct nats_queue *)base)->stream);
}

static bool queue_connected(struct worker_queue *base, char *why, size_t why_bytes)
{
    struct nats_queue *queue = (struct nats_queue *)base;
    bool connected = nats_connection_is_up(queue->stream.connection);

    if (!connected) {
        nats_connection_trouble(queue->stream.connection, why, why_bytes);
        return false;
    }
    locator_follow(queue->locator);
    /* Whoever holds it is setting up just now, which may take seconds. */
    if (pthread_mutex_trylock(&queue->stream.lock) != 0)
        return true;
    connected = queue->stream.trouble[0] == '\0';
    if (!connected)
        (void)snprintf(why, why_bytes, "%s", queue->stream.trouble);
    pthread_mutex_unlock(&queue->stream.lock);
    return connected;
}

/* Race: a fetch may give up before the server has forgotten its request. A copy that is published
 * then can answer that request, and would lie with a process that is gone until the ack wait is
 * over. So the subscription ends first, and what had come for it is passed on as well. */
static void stop_fetching(struct nats_queue *queue)
{
    struct error error = {0};
    natsMsg *message = NULL;
    uint64_t left = 0;

    if (!queue->subscription || natsSubscription_Drain(queue->subscription) != NATS_OK)
        return;
    if (natsConnection_FlushTimeout(nats_connection_handle(queue->stream.connection),
                                    FLUSH_WAIT_MS) != NATS_OK)
        return;
    while (natsSubscription_QueuedMsgs(queue->subscription, &left) == NATS_OK && left > 0 &&
           fetch_message(queue, 1, &message, &error) == 0) {
        struct nats_delivery *delivery = open_message(queue, message);
        if (delivery)
            hold(queue, delivery);
    }
}

static void queue_close(struct worker_queue *base)
{
    struct nats_queue *queue = (struct nats_queue *)base;

    if (nats_connection_is_up(queue->stream.connection))
        stop_fetching(queue);
    hand_on_due(queue, true);
    if (nats_connection_is_up(queue->stream.connection))
        (void)natsConnection_FlushTimeout(nats_connection_handle(queue->stream.connection),
                                          FLUSH_WAIT_MS);
    natsSubscription_Destroy(queue->subscription);
    locator_end(queue->locator);
    nats_stream_close(&queue->stream);
    locator_delete(queue->locator);
    pthread_cond_destroy(&queue->woken);
    pthread_mutex_destroy(&queue->pass_lock);
    pthread_mutex_destroy(&queue->fetch_lock);
    free(queue);
}

static int queue_locate(struct worker_queue *base, struct worker_job *job, struct error *error)
{
    return locator_ask(((struct nats_queue *)base)->locator, job, error);
}

static int queue_answer(struct worker_queue *base, worker_claim_function claim, void *context,
                        struct error *error)
{
    return locator_answer(((struct nats_queue *)base)->locator, claim, context, error);
}

static const struct worker_queue_operations nats_operations = {
    .locate = queue_locate,
    .answer = queue_answer,
    .publish = queue_publish,
    .fetch = queue_fetch,
    .wake = queue_wake,
    .ack = queue_ack,
    .retry = queue_retry,
    .pass = queue_pass,
    .in_progress = queue_in_progress,
    .depth = queue_depth,
    .connected = queue_connected,
    .close = queue_close,
};

int queue_nats_open(const struct queue_nats_options *options, struct worker_queue **queue,
                    struct error *error)
{
    struct nats_queue *fresh = memory_new(1, sizeof(*fresh));

    fresh->queue.operations = &nats_operations;
    fresh->queue.ack_wait_ms = options->ack_wait_ms;
    if (nats_stream_open(options, &fresh->stream, error) != 0) {
        free(fresh);
        return ERROR_PEER;
    }
    fresh->locator = locator_new(fresh->stream.connection, options->prefix, options->group);
    pthread_mutex_init(&fresh->fetch_lock, NULL);
    pthread_mutex_init(&fresh->pass_lock, NULL);
    thread_condition_create(&fresh->woken);
    *queue = &fresh->queue;
    return 0;
}

int worker_queue_nats(const struct config *config, struct metrics *metrics,
                      struct worker_queue **queue, struct error *error)
{
    char group[CONFIG_GROUP_BYTES];
    struct queue_nats_options options = {
        .url = config->nats_url,
        .prefix = config->nats_prefix,
        .group = group,
        .security = &config->nats_security,
        .stream = config->nats_stream,
        .name = config->node,
        .replicas = config->nats_replicas,
        .ack_wait_ms = config->nats_ack_wait_ms,
        .metrics = metrics,
    };

    config_consumer_group(config, group);
    return queue_nats_open(&options, queue, error);
}
