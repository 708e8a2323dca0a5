#include "ingest/kafka_conf.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"

struct property {
    const char *name;
    const char *value;
    const char *why; /* of a forced one: what to do instead */
};

/* Below the user's properties. */
static const struct property consumer_defaults[] = {
    {"isolation.level", "read_committed", NULL},
    /* Topics that come later, and partitions that are added, are found within seconds. */
    {"topic.metadata.refresh.interval.ms", "5000", NULL},
    {"fetch.wait.max.ms", "100", NULL},
    {"check.crcs", "true", NULL},
    /* A hand-over waits for the next heartbeat of who has to give. */
    {"heartbeat.interval.ms", "1000", NULL},
    /* After kill -9 the group waits this long for the dead member before the new one gets its
     * partitions; the brokers' smallest. A false alarm costs a hand-over and nothing else. */
    {"session.timeout.ms", "6000", NULL},
    {"fetch.error.backoff.ms", "100", NULL},
    /* What librdkafka may hold for us in all; the default is 64 MiB a partition. */
    {"queued.max.messages.kbytes", "32768", NULL},
    {"queued.min.messages", "10000", NULL},
    /* A group ends where the fetch of its partition does, and each costs a sync: librdkafka's 1 MiB
     * hold 330 vectors of 3 KiB. A whole answer stays within queued.max.messages.kbytes, to which
     * librdkafka lowers fetch.max.bytes unless the user sets that. */
    {"fetch.message.max.bytes", "4194304", NULL},
    {"reconnect.backoff.max.ms", "2000", NULL},
    {"log.connection.close", "false", NULL},
    {"statistics.interval.ms", "10000", NULL},
};

static const struct property producer_defaults[] = {
    /* That of Java's clients: an id must live on one partition, whoever writes it. */
    {"partitioner", "murmur2_random", NULL},
    {"linger.ms", "1", NULL},
    /* The topic's own limit decides; librdkafka's default is below the brokers'. */
    {"message.max.bytes", "16777216", NULL},
    {"message.timeout.ms", "60000", NULL},
    {"queue.buffering.max.kbytes", "65536", NULL},
    {"reconnect.backoff.max.ms", "2000", NULL},
    {"log.connection.close", "false", NULL},
    {"statistics.interval.ms", "10000", NULL},
};

/* Above the user's properties: exactly once hangs on each of them. */
static const struct property consumer_forced[] = {
    {"group.id", NULL, "set kafka.group"},
    {"enable.auto.commit", "false", "offsets live with the data"},
    {"enable.auto.offset.store", "false", "offsets live with the data"},
    {"auto.offset.reset", "error", "anything else skips records silently"},
    {"partition.assignment.strategy", "cooperative-sticky", "partitions move one by one"},
    {"enable.partition.eof", "true", "it tells when a partition is read to its end"},
};

static const struct property producer_forced[] = {
    {"enable.idempotence", "true", "a retry must not write twice"},
    {"acks", "all", "a write counts once a quorum has it"},
    {"request.required.acks", NULL, "acks is always all"},
    {"transactional.id", NULL, "windrow's writes are single records"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct property *forced_find(const struct property *forced, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(forced[i].name, name) == 0)
            return &forced[i];
    return NULL;
}

static int check_forced(const char *name, struct error *error)
{
    const struct property *found = forced_find(consumer_forced, COUNT(consumer_forced), name);

    if (!found)
        found = forced_find(producer_forced, COUNT(producer_forced), name);
    if (found)
        return error_set(error, ERROR_INVALID, "kafka.properties: %s cannot be set (%s)", name,
                         found->why);
    if (strcmp(name, "bootstrap.servers") == 0 || strcmp(name, "metadata.broker.list") == 0)
        return error_set(error, ERROR_INVALID,
                         "kafka.properties: %s cannot be set (set kafka.brokers)", name);
    return 0;
}

static int set_user_property(rd_kafka_conf_t *conf, const struct config_pair *pair,
                             struct error *error)
{
    char text[256];
    rd_kafka_conf_res_t result;

    if (check_forced(pair->name, error) != 0)
        return ERROR_INVALID;
    result = rd_kafka_conf_set(conf, pair->name, pair->value, text, sizeof(text));
    if (result == RD_KAFKA_CONF_OK)
        return 0;
    /* librdkafka's text quotes the value, which may be a secret. */
    return error_set(error, ERROR_INVALID, "kafka.properties: %s: %s", pair->name,
                     result == RD_KAFKA_CONF_UNKNOWN
                         ? "librdkafka knows no such property, or was built without it"
                         : "librdkafka refuses the value");
}

static void write_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    /* A property of consumers is no mistake in a producer: all clients share kafka.properties. */
    if (strcmp(facility, "CONFWARN") == 0)
        return;
    /* syslog levels; a broker that cannot be reached is said by the consumer itself, once a while,
     * so that what librdkafka says about each attempt is detail. */
    if (level <= 2)
        log_error("ingest", "kafka %s: %s: %s", rd_kafka_name(client), facility, text);
    else if (level <= 4 && strcmp(facility, "FAIL") != 0 && strcmp(facility, "ERROR") != 0)
        log_warning("ingest", "kafka %s: %s: %s", rd_kafka_name(client), facility, text);
    else
        log_debug("ingest", "kafka %s: %s: %s", rd_kafka_name(client), facility, text);
}

void kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        log_error("ingest", "librdkafka refuses %s: %s", name, text);
        abort();
    }
}

static void set_all(rd_kafka_conf_t *conf, const struct property *properties, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (properties[i].value)
            kafka_conf_set(conf, properties[i].name, properties[i].value);
}

/* Static membership: a restart within the session timeout gets its partitions back without a
 * rebalance. The name is the node's; the data folder's, which one process at a time may have, tells
 * two processes of one machine apart. An empty value of the user's switches it off. In a cluster
 * somebody else takes over: there a member that stops leaves at once instead of waiting out its
 * session. */
static void set_instance(rd_kafka_conf_t *conf, const struct config *config)
{
    char path[PATH_MAX];
    char name[256];

    for (size_t i = 0; i < config->kafka_property_count; i++)
        if (strcmp(config->kafka_properties[i].name, "group.instance.id") == 0)
            return;
    if (config->cluster_name || !config->node || !config->data_dir ||
        !realpath(config->data_dir, path))
        return;
    snprintf(name, sizeof(name), "%.200s-%08x", config->node,
             (unsigned)XXH3_64bits(path, strlen(path)));
    kafka_conf_set(conf, "group.instance.id", name);
}

int kafka_conf_new(const struct config *config, enum kafka_role role, void *opaque,
                   rd_kafka_conf_t **conf, struct error *error)
{
    rd_kafka_conf_t *made = rd_kafka_conf_new();
    char group[CONFIG_GROUP_BYTES];

    kafka_conf_set(made, "client.id", "windrow");
    if (role == KAFKA_CONSUMER)
        set_all(made, consumer_defaults, COUNT(consumer_defaults));
    else
        set_all(made, producer_defaults, COUNT(producer_defaults));
    for (size_t i = 0; i < config->kafka_property_count; i++) {
        if (set_user_property(made, &config->kafka_properties[i], error) != 0) {
            rd_kafka_conf_destroy(made);
            return ERROR_INVALID;
        }
    }
    kafka_conf_set(made, "bootstrap.servers", config->kafka_brokers);
    if (role == KAFKA_CONSUMER) {
        set_all(made, consumer_forced, COUNT(consumer_forced));
        config_consumer_group(config, group);
        kafka_conf_set(made, "group.id", group);
        set_instance(made, config);
    } else {
        set_all(made, producer_forced, COUNT(producer_forced));
    }
    rd_kafka_conf_set_log_cb(made, write_log);
    rd_kafka_conf_set_opaque(made, opaque);
    *conf = made;
    return 0;
}

int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **client,
                     struct error *error)
{
    char text[512];

    *client = rd_kafka_new(type, conf, text, sizeof(text));
    if (*client)
        return 0;
    rd_kafka_conf_destroy(conf);
    return error_set(error, ERROR_INVALID, "kafka: %s", text);
}

/* Ending. */

#define END_NS (5 * INT64_C(1000000000)) /* a healthy client takes less than one second */

struct ending {
    rd_kafka_t *client;
    int flags;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    bool is_done;
    bool is_alone; /* nobody waits any more: the thread frees it */
};

static atomic_uint clients_left;

static void ending_free(struct ending *ending)
{
    pthread_cond_destroy(&ending->ended);
    pthread_mutex_destroy(&ending->lock);
    free(ending);
}

static void *end_client(void *context)
{
    struct ending *ending = context;
    bool is_alone;

    rd_kafka_destroy_flags(ending->client, ending->flags);
    pthread_mutex_lock(&ending->lock);
    ending->is_done = true;
    is_alone = ending->is_alone;
    pthread_cond_signal(&ending->ended);
    pthread_mutex_unlock(&ending->lock);
    if (is_alone) {
        atomic_fetch_sub(&clients_left, 1);
        ending_free(ending);
    }
    return NULL;
}

bool kafka_client_end(rd_kafka_t *client, int flags)
{
    struct ending *ending = memory_new(1, sizeof(*ending));
    const int64_t deadline_ns = thread_deadline(END_NS);
    pthread_t thread;
    bool is_done;

    *ending = (struct ending){.client = client, .flags = flags};
    pthread_mutex_init(&ending->lock, NULL);
    thread_condition_create(&ending->ended);
    if (thread_start(&thread, "kafka-end", end_client, ending) != 0) {
        ending_free(ending);
        atomic_fetch_add(&clients_left, 1);
        log_warning("ingest", "a Kafka client is left behind: there is no thread to end it");
        return false;
    }
    (void)pthread_detach(thread);
    pthread_mutex_lock(&ending->lock);
    while (!ending->is_done && thread_condition_wait(&ending->ended, &ending->lock, deadline_ns))
        ;
    is_done = ending->is_done;
    ending->is_alone = !is_done;
    if (!is_done)
        atomic_fetch_add(&clients_left, 1);
    pthread_mutex_unlock(&ending->lock);
    if (is_done)
        ending_free(ending);
    else
        log_warning("ingest",
                    "a Kafka client did not end within %d s and is left behind. What was read is "
                    "durable; nothing has to be done",
                    (int)(END_NS / 1000000000));
    return is_done;
}

unsigned kafka_clients_left(void)
{
    return atomic_load(&clients_left);
}

/* The result of one topic's creation out of the reply. */
static int topic_result(rd_kafka_event_t *event, const char *topic, bool *made, struct error *error)
{
    const rd_kafka_topic_result_t **results;
    rd_kafka_resp_err_t code;
    size_t count = 0;

    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = rd_kafka_event_error(event);
        return error_set(error, code == RD_KAFKA_RESP_ERR__TIMED_OUT ? ERROR_TIMEOUT : ERROR_PEER,
                         "topic %s: %s", topic, rd_kafka_event_error_string(event));
    }
    results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    if (count != 1)
        return error_set(error, ERROR_PEER, "topic %s: no result in the broker's reply", topic);
    code = rd_kafka_topic_result_error(results[0]);
    if (made)
        *made = code == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return 0;
    return error_set(error, ERROR_PEER, "topic %s: %s", topic,
                     rd_kafka_topic_result_error_string(results[0])
                         ? rd_kafka_topic_result_error_string(results[0])
                         : rd_kafka_err2str(code));
}

int kafka_create_topic(rd_kafka_t *client, const char *topic, int partition_count, int replication,
                       const struct config_pair *settings, size_t setting_count, int timeout_ms,
                       bool *made, struct error *error)
{
    char text[256];
    rd_kafka_NewTopic_t *wanted;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *event;
    int code;

    wanted = rd_kafka_NewTopic_new(topic, partition_count, replication > 0 ? replication : -1, text,
                                   sizeof(text));
    if (!wanted)
        return error_set(error, ERROR_INVALID, "topic %s: %s", topic, text);
    for (size_t i = 0; i < setting_count; i++)
        (void)rd_kafka_NewTopic_set_config(wanted, settings[i].name, settings[i].value);
    options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof(text));
    queue = rd_kafka_queue_new(client);
    rd_kafka_CreateTopics(client, &wanted, 1, options, queue);
    event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
    code = event ? topic_result(event, topic, made, error)
                 : error_set(error, ERROR_TIMEOUT, "topic %s: no broker answers", topic);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(wanted);
    return code;
}
