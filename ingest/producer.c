/* Writes go to Kafka, which is the log: idempotent, acks=all, keyed by id with the partitioner of
 * Java's clients, so that all producers agree where an id lives.
 *
 * Failure modes. Brokers away: librdkafka tries again until the message's timeout, then its
 * callback says ERROR_TIMEOUT. The queue fills meanwhile: sends wait, then ERROR_BUSY. A fatal
 * error of the idempotent client: what is under way fails, the next send makes a new client. What
 * finds the client failed was never queued and goes to the new one. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/trace.h"
#include "ingest/decode/decode.h"
#include "ingest/ingest.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_stats.h"

enum { QUEUE_WAIT_MS = 10000, QUEUE_ROUND_MS = 20, CREATE_TIMEOUT_MS = 15000, PURGE_ROUNDS = 250 };
enum { EXPECTS_BYTES = 48 };

struct ingest_producer {
    const struct config *config;
    struct metrics *metrics;
    struct metric *latency;
    pthread_rwlock_t lock; /* write: the client is replaced */
    rd_kafka_t *client;
    atomic_bool fatal; /* the client is to be replaced */
};

/* One message until its delivery report. */
struct delivery {
    ingest_delivery_function delivered;
    void *context;
};

static int code_of(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return 0;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
        return ERROR_TIMEOUT;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return ERROR_INVALID;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return ERROR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
        return ERROR_CANCELLED;
    default:
        return ERROR_PEER;
    }
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct ingest_producer *producer = opaque;
    struct delivery *delivery = message->_private;
    struct ingest_produced result = {
        .partition = message->partition, .offset = message->offset, .code = code_of(message->err)};

    if (message->err == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(client, NULL, 0))
        atomic_store(&producer->fatal, true);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        metric_observe(producer->latency, (double)rd_kafka_message_latency(message) / 1e6);
    else
        snprintf(result.text, sizeof(result.text), "topic %s: %s",
                 rd_kafka_topic_name(message->rkt), rd_kafka_err2str(message->err));
    if (delivery->delivered)
        delivery->delivered(delivery->context, &result);
    free(delivery);
}

static int take_statistics(rd_kafka_t *client, char *json, size_t json_bytes, void *opaque)
{
    struct ingest_producer *producer = opaque;

    (void)client;
    kafka_stats_publish(producer->metrics, "producer", json, json_bytes);
    return 0; /* librdkafka frees the text */
}

static int client_new(struct ingest_producer *producer, struct error *error)
{
    rd_kafka_conf_t *conf;

    if (kafka_conf_new(producer->config, KAFKA_PRODUCER, producer, &conf, error) != 0)
        return error->code;
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_stats_cb(conf, take_statistics);
    return kafka_client_new(RD_KAFKA_PRODUCER, conf, &producer->client, error);
}

int ingest_producer_new(const struct config *config, struct metrics *metrics,
                        struct ingest_producer **producer, struct error *error)
{
    struct ingest_producer *fresh = memory_new(1, sizeof(*fresh));

    fresh->config = config;
    fresh->metrics = metrics;
    fresh->latency =
        metrics_histogram(metrics, "windrow_quorum_commit_latency_seconds", "Produce to acks=all",
                          NULL, 0, metrics_seconds_bounds, metrics_seconds_bound_count);
    if (client_new(fresh, error) != 0) {
        free(fresh);
        return error->code;
    }
    pthread_rwlock_init(&fresh->lock, NULL);
    *producer = fresh;
    return 0;
}

/* Everything that is left gets its callback. Returns how many that were. */
static int client_delete(rd_kafka_t *client)
{
    int left = rd_kafka_outq_len(client);

    (void)rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (int i = 0; i < PURGE_ROUNDS && rd_kafka_outq_len(client) > 0; i++)
        (void)rd_kafka_poll(client, QUEUE_ROUND_MS);
    (void)kafka_client_end(client, 0); /* callbacks come from polls alone */
    return left;
}

int ingest_producer_delete(struct ingest_producer *producer, int timeout_ms, struct error *error)
{
    int left;

    if (!producer)
        return 0;
    (void)rd_kafka_flush(producer->client, timeout_ms);
    left = client_delete(producer->client);
    pthread_rwlock_destroy(&producer->lock);
    free(producer);
    if (left == 0)
        return 0;
    return error_set(error, ERROR_TIMEOUT, "kafka: %d messages were not acknowledged in time",
                     left);
}

int ingest_producer_create_topic(struct ingest_producer *producer, const char *topic,
                                 int partition_count, int replication, bool *made,
                                 struct error *error)
{
    int code;

    pthread_rwlock_rdlock(&producer->lock);
    code = kafka_create_topic(producer->client, topic, partition_count, replication, NULL, 0,
                              CREATE_TIMEOUT_MS, made, error);
    pthread_rwlock_unlock(&producer->lock);
    return code;
}

static int replace_client(struct ingest_producer *producer, struct error *error)
{
    int code = 0;

    pthread_rwlock_wrlock(&producer->lock);
    if (atomic_load(&producer->fatal)) {
        rd_kafka_t *old = producer->client;
        log_warning("ingest", "fatal error in the producer: replacing it");
        code = client_new(producer, error);
        if (code == 0) {
            (void)client_delete(old);
            atomic_store(&producer->fatal, false);
        } else {
            producer->client = old;
        }
    }
    pthread_rwlock_unlock(&producer->lock);
    return code;
}

/* As DECODE_EXPECTS_HEADER has it. */
static int format_expects(const struct ingest_outgoing *message, char text[EXPECTS_BYTES])
{
    int length = message->expected_offset == STORE_EXPECT_NONE
                     ? snprintf(text, EXPECTS_BYTES, "none")
                     : snprintf(text, EXPECTS_BYTES, "%lld", (long long)message->expected_offset);

    if (message->read_at >= 0)
        length += snprintf(text + length, (size_t)(EXPECTS_BYTES - length), "/%lld",
                           (long long)message->read_at);
    return length;
}

static rd_kafka_vu_t header_of(const char *name, const char *value, ssize_t size)
{
    return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {name, value, size}};
}

static rd_kafka_resp_err_t produce_once(struct ingest_producer *producer,
                                        const struct ingest_outgoing *message,
                                        struct delivery *delivery)
{
    const struct trace_context *trace = trace_current();
    char expects[EXPECTS_BYTES], parent[TRACE_PARENT_BYTES];
    rd_kafka_error_t *error;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = message->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = message->partition},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {(void *)(uintptr_t)message->key, message->key_bytes}},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {(void *)(uintptr_t)message->value, message->value_bytes}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP,
         .u.i64 = message->timestamp_ms < 0 ? 0 : message->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = delivery},
        header_of(DECODE_ID_HEADER, store_id_kind_name(message->id_kind), -1),
        {0}, /* headers that some messages have */
        {0},
    };
    size_t count = sizeof(parts) / sizeof(parts[0]) - 2;

    if (message->expects)
        parts[count++] =
            header_of(DECODE_EXPECTS_HEADER, expects, format_expects(message, expects));
    if (trace)
        parts[count++] =
            header_of("traceparent", trace_format(trace, parent), TRACE_PARENT_BYTES - 1);
    error = rd_kafka_produceva(producer->client, parts, count);
    /* The code of a fatal error is that of its cause: _FATAL is for rd_kafka_last_error(). */
    if (error)
        code =
            rd_kafka_error_is_fatal(error) ? RD_KAFKA_RESP_ERR__FATAL : rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    return code;
}

static rd_kafka_resp_err_t produce(struct ingest_producer *producer,
                                   const struct ingest_outgoing *message, struct delivery *delivery)
{
    rd_kafka_resp_err_t code;

    for (int waited_ms = 0;; waited_ms += QUEUE_ROUND_MS) {
        code = produce_once(producer, message, delivery);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || waited_ms >= QUEUE_WAIT_MS)
            return code;
        (void)rd_kafka_poll(producer->client, QUEUE_ROUND_MS);
    }
}

static_assert(INGEST_PARTITION_BY_KEY == RD_KAFKA_PARTITION_UA, "librdkafka's partitioner decides");

int ingest_producer_send(struct ingest_producer *producer, const struct ingest_outgoing *message,
                         ingest_delivery_function callback, void *context, struct error *error)
{
    struct delivery *delivery = malloc(sizeof(*delivery));
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__FATAL;

    if (!delivery)
        abort();
    *delivery = (struct delivery){callback, context};
    for (int attempt = 0; attempt < 2 && code == RD_KAFKA_RESP_ERR__FATAL; attempt++) {
        if (atomic_load(&producer->fatal)) {
            int failed = replace_client(producer, error);
            if (failed != 0) {
                free(delivery);
                return failed;
            }
        }
        pthread_rwlock_rdlock(&producer->lock);
        code = produce(producer, message, delivery);
        pthread_rwlock_unlock(&producer->lock);
        if (code == RD_KAFKA_RESP_ERR__FATAL)
            atomic_store(&producer->fatal, true);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    free(delivery);
    return error_set(error, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? ERROR_BUSY : code_of(code),
                     "topic %s: %s", message->topic, rd_kafka_err2str(code));
}

int ingest_producer_poll(struct ingest_producer *producer, int timeout_ms)
{
    int under_way;

    pthread_rwlock_rdlock(&producer->lock);
    (void)rd_kafka_poll(producer->client, timeout_ms);
    under_way = rd_kafka_outq_len(producer->client);
    pthread_rwlock_unlock(&producer->lock);
    return under_way;
}
