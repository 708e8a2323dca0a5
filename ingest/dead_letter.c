/* Happy path: copy, produce (idempotent, acks=all), acknowledged, ticket counts down.
 *
 * Failure modes. No broker or no topic: librdkafka gives the message back after a while, the letter
 * goes to the list of those that are sent again, the partition waits. Larger than the topic allows
 * (the headers came on top): the value is cut and a header says so, or one huge record would block
 * its partition for ever. A timestamp the broker refuses: sent with the time of sending. A fatal
 * error of the idempotent producer: a new client takes over. */
#include "ingest/dead_letter.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_stats.h"
#include "ingest/partition_metrics.h"

#define RETRY_NS     INT64_C(1000000000)
#define LOG_EVERY_NS INT64_C(5000000000)

enum { VALUE_CUT_BYTES = 512 * 1024, ACK_TIMEOUT_MS = 30000 };

/* One letter until its acknowledgement. */
struct letter {
    struct letter *next; /* in the list of those to be sent again */
    struct dead_letter_ticket *ticket;
    rd_kafka_headers_t *headers;
    char *reason;
    uint8_t *key; /* NULL: none */
    size_t key_bytes;
    uint8_t *value; /* NULL: tombstone */
    size_t value_bytes;
    int64_t timestamp_ms; /* 0: now */
};

struct dead_letters {
    const struct config *config;
    struct metrics *metrics;
    struct io *io;
    void (*wake)(void *context);
    void *context;
    rd_kafka_t *client;
    rd_kafka_queue_t *events; /* of the client: acknowledgements */
    struct letter *again;     /* to be sent again, oldest first */
    struct letter **again_tail;
    size_t in_flight;
    int64_t send_again_ns; /* when to try `again` */
    struct logger_limit refusals;
    int64_t said_ns; /* the last bad record that was logged */
    uint64_t unsaid; /* bad records since then */
    bool recreate;   /* the client has a fatal error */
};

struct dead_letter_ticket *dead_letter_ticket_new(void)
{
    struct dead_letter_ticket *ticket = memory_new(1, sizeof(*ticket));

    return ticket;
}

void dead_letter_ticket_delete(struct dead_letter_ticket *ticket)
{
    if (!ticket)
        return;
    if (ticket->outstanding == 0)
        free(ticket);
    else
        ticket->abandoned = true;
}

static void letter_delete(struct letter *letter)
{
    struct dead_letter_ticket *ticket = letter->ticket;

    ticket->outstanding--;
    if (ticket->abandoned && ticket->outstanding == 0)
        free(ticket);
    rd_kafka_headers_destroy(letter->headers);
    free(letter->reason);
    free(letter->key);
    free(letter->value);
    free(letter);
}

static void send_later(struct dead_letters *letters, struct letter *letter)
{
    letter->next = NULL;
    *letters->again_tail = letter;
    letters->again_tail = &letter->next;
    letters->send_again_ns = io_monotonic_ns(letters->io) + RETRY_NS;
}

static void produce(struct dead_letters *letters, struct letter *letter)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_copy(letter->headers);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        letters->client, RD_KAFKA_V_TOPIC(letters->config->kafka_dead_letters),
        RD_KAFKA_V_KEY(letter->key, letter->key_bytes),
        RD_KAFKA_V_VALUE(letter->value, letter->value_bytes), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_TIMESTAMP(letter->timestamp_ms), RD_KAFKA_V_OPAQUE(letter), RD_KAFKA_V_END);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        letters->in_flight++;
        return;
    }
    rd_kafka_headers_destroy(headers);
    letters->recreate |= code == RD_KAFKA_RESP_ERR__FATAL;
    send_later(letters, letter);
}

static void cut_value(struct letter *letter)
{
    char original[32];

    snprintf(original, sizeof(original), "%zu", letter->value_bytes);
    (void)rd_kafka_header_add(letter->headers, "windrow.value.cut.from.bytes", -1, original, -1);
    letter->value_bytes =
        letter->value_bytes > VALUE_CUT_BYTES ? VALUE_CUT_BYTES : letter->value_bytes / 2;
}

static void delivery_failed(struct dead_letters *letters, struct letter *letter,
                            rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(letters->client, NULL, 0))
        letters->recreate = true;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && letter->value_bytes > 0)
        cut_value(letter);
    else if (code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP && letter->timestamp_ms != 0)
        letter->timestamp_ms = 0;
    else
        (void)logger_write_limited(
            &letters->refusals, LOGGER_ERROR, "ingest", NULL,
            "cannot write a dead letter to %s: %s. Its partition waits and tries again",
            letters->config->kafka_dead_letters, rd_kafka_err2str(code));
    if (letter->ticket->abandoned)
        letter_delete(letter);
    else
        send_later(letters, letter);
}

static struct metric *series(struct metrics *metrics, const char *reason)
{
    const struct metric_label label = {"reason", reason};

    return metrics_counter(metrics, "windrow_dead_letters_total",
                           "Records written to the dead-letter topic", &label, 1);
}

/* Runs inside dead_letters_poll. */
static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct dead_letters *letters = opaque;
    struct letter *letter = message->_private;

    (void)client;
    letters->in_flight--;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        delivery_failed(letters, letter, message->err);
        return;
    }
    metric_add(series(letters->metrics, letter->reason), 1);
    letter_delete(letter);
}

static int take_statistics(rd_kafka_t *client, char *json, size_t json_bytes, void *opaque)
{
    struct dead_letters *letters = opaque;

    (void)client;
    kafka_stats_publish(letters->metrics, "dead_letters", json, json_bytes);
    return 0; /* librdkafka frees the text */
}

static void on_event(rd_kafka_t *client, void *opaque)
{
    struct dead_letters *letters = opaque;

    (void)client;
    letters->wake(letters->context);
}

static int client_new(struct dead_letters *letters, struct error *error)
{
    char timeout[16];
    rd_kafka_conf_t *conf;
    int code = kafka_conf_new(letters->config, KAFKA_PRODUCER, letters, &conf, error);

    if (code != 0)
        return code;
    snprintf(timeout, sizeof(timeout), "%d", ACK_TIMEOUT_MS);
    kafka_conf_set(conf, "message.timeout.ms", timeout);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_stats_cb(conf, take_statistics);
    code = kafka_client_new(RD_KAFKA_PRODUCER, conf, &letters->client, error);
    if (code != 0)
        return code;
    letters->events = rd_kafka_queue_get_main(letters->client);
    rd_kafka_queue_cb_event_enable(letters->events, on_event, letters);
    return 0;
}

int dead_letters_new(const struct config *config, struct metrics *metrics, struct io *io,
                     void (*wake)(void *context), void *context, struct dead_letters **letters,
                     struct error *error)
{
    struct dead_letters *made = memory_new(1, sizeof(*made));
    int code;

    made->config = config;
    made->metrics = metrics;
    made->io = io;
    made->wake = wake;
    made->context = context;
    made->again_tail = &made->again;
    for (size_t i = 0; i < record_reject_reason_count; i++)
        (void)series(metrics, record_reject_reasons[i]);
    made->refusals.interval_ns = LOG_EVERY_NS;
    made->said_ns = INT64_MIN / 2;
    code = client_new(made, error);
    if (code != 0) {
        free(made);
        return code;
    }
    *letters = made;
    return 0;
}

/* Everything under way comes back through `delivered`, as failed. */
static void client_delete(struct dead_letters *letters)
{
    (void)rd_kafka_purge(letters->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (int i = 0; i < 100 && letters->in_flight > 0; i++)
        (void)rd_kafka_poll(letters->client, 20);
    rd_kafka_queue_cb_event_enable(letters->events, NULL, NULL);
    rd_kafka_queue_destroy(letters->events);
    (void)kafka_client_end(letters->client, 0); /* callbacks come from polls alone */
    letters->client = NULL;
}

void dead_letters_delete(struct dead_letters *letters, int timeout_ms)
{
    if (!letters)
        return;
    (void)rd_kafka_flush(letters->client, timeout_ms);
    client_delete(letters);
    while (letters->again) {
        struct letter *letter = letters->again;
        letters->again = letter->next;
        letter_delete(letter);
    }
    free(letters);
}

static void add_header(rd_kafka_headers_t *headers, const char *name, const char *value)
{
    /* A letter that is consumed again carries headers of its first death. */
    (void)rd_kafka_header_remove(headers, name);
    (void)rd_kafka_header_add(headers, name, -1, value, -1);
}

static rd_kafka_headers_t *make_headers(const struct dead_letter *letter)
{
    const rd_kafka_message_t *message = letter->message;
    rd_kafka_headers_t *original = NULL;
    rd_kafka_headers_t *headers;
    char text[64];

    headers = rd_kafka_message_headers(message, &original) == RD_KAFKA_RESP_ERR_NO_ERROR
                  ? rd_kafka_headers_copy(original)
                  : rd_kafka_headers_new(8);
    add_header(headers, "__connect.errors.topic", rd_kafka_topic_name(message->rkt));
    snprintf(text, sizeof(text), "%d", message->partition);
    add_header(headers, "__connect.errors.partition", text);
    snprintf(text, sizeof(text), "%lld", (long long)message->offset);
    add_header(headers, "__connect.errors.offset", text);
    add_header(headers, "__connect.errors.stage", letter->stage);
    snprintf(text, sizeof(text), "windrow.ingest.%s", letter->reason);
    add_header(headers, "__connect.errors.exception.class.name", text);
    add_header(headers, "__connect.errors.exception.message", letter->text);
    return headers;
}

static void *copy_bytes(const void *bytes, size_t size_bytes)
{
    void *copy;

    if (!bytes)
        return NULL;
    copy = malloc(size_bytes + 1); /* an empty value is not a null one */
    if (!copy)
        abort();
    memcpy(copy, bytes, size_bytes);
    return copy;
}

/* One line a second at most, however bad a topic is. */
static void say(struct dead_letters *letters, const struct dead_letter *letter)
{
    int64_t now_ns = io_monotonic_ns(letters->io);

    if (now_ns - letters->said_ns < RETRY_NS) {
        letters->unsaid++;
        return;
    }
    logger_write_event(LOGGER_WARNING, "ingest", "dead_letter",
                       "dead letter: %s [%d] offset %lld: %s: %s (%llu more since the last line)",
                       rd_kafka_topic_name(letter->message->rkt), letter->message->partition,
                       (long long)letter->message->offset, letter->reason, letter->text,
                       (unsigned long long)letters->unsaid);
    letters->said_ns = now_ns;
    letters->unsaid = 0;
}

void dead_letters_send(struct dead_letters *letters, struct dead_letter_ticket *ticket,
                       const struct dead_letter *letter)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(letter->message, &type);
    struct letter *copy = memory_new(1, sizeof(*copy));

    copy->ticket = ticket;
    copy->headers = make_headers(letter);
    copy->reason = copy_bytes(letter->reason, strlen(letter->reason) + 1);
    copy->key = copy_bytes(letter->message->key, letter->message->key_len);
    copy->key_bytes = letter->message->key_len;
    copy->value = copy_bytes(letter->value, letter->value_bytes);
    copy->value_bytes = letter->value_bytes;
    copy->timestamp_ms = timestamp_ms > 0 ? timestamp_ms : 0;
    ticket->outstanding++;
    say(letters, letter);
    produce(letters, copy);
}

static void replace_client(struct dead_letters *letters)
{
    struct error error = {0};

    log_warning("ingest", "fatal error in the dead-letter producer: replacing it");
    client_delete(letters);
    if (client_new(letters, &error) != 0) {
        /* The same settings worked before. */
        log_error("ingest", "dead-letter producer: %s", error.text);
        abort();
    }
    letters->recreate = false;
}

static void send_again(struct dead_letters *letters)
{
    struct letter *letter = letters->again;

    letters->again = NULL;
    letters->again_tail = &letters->again;
    while (letter) {
        struct letter *next = letter->next;
        if (letter->ticket->abandoned)
            letter_delete(letter);
        else
            produce(letters, letter);
        letter = next;
    }
}

void dead_letters_poll(struct dead_letters *letters, int timeout_ms)
{
    (void)rd_kafka_poll(letters->client, timeout_ms);
    if (letters->recreate)
        replace_client(letters);
    if (letters->again && io_monotonic_ns(letters->io) >= letters->send_again_ns)
        send_again(letters);
}
