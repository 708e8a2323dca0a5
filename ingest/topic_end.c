/* Where a topic ends, for a collection that is deleted. It is asked by a client of its own, which joins no group.
 *
 * The end is the high watermark, not the last stable offset: a record that a producer without transactions was
 * acknowledged may lie behind an open transaction of another one. So what a transaction wrote before and commits
 * later counts as deleted, too.
 *
 * The last record below the end tells the topic from another one of its name that is made later
 * (topic_fingerprint.h). The end of a partition may follow control records, which are never delivered: reading
 * begins a few offsets earlier. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/memory.h"
#include "ingest/ingest.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_offsets.h"
#include "ingest/topic_fingerprint.h"

enum {
    BACK_OFFSETS = 16,
    POLL_MS = 100,
    /* A broker may not have heard yet of a topic that another one has just made. */
    UNKNOWN_ASKS = 5,
    UNKNOWN_PAUSE_MS = 200,
};

struct topic_end {
    rd_kafka_t *client;
    const char *topic;
    int64_t deadline_ns;
    struct config_begin *ends; /* in the arena */
    bool *read;                /* of each: what lies below its end is known */
    size_t count, left;
};

static int left_ms(const struct topic_end *ask)
{
    int64_t ms = (ask->deadline_ns - io_monotonic_ns(io_posix())) / INT64_C(1000000);

    return ms > 1 ? (int)ms : 1;
}

static int open_end_client(const struct config *config, struct topic_end *ask, struct error *error)
{
    rd_kafka_conf_t *conf;
    int code = kafka_conf_new(config, KAFKA_CONSUMER, ask, &conf, error);

    if (code != 0)
        return code;
    kafka_conf_set(conf, "isolation.level", "read_uncommitted");
    code = kafka_client_new(RD_KAFKA_CONSUMER, conf, &ask->client, error);
    if (code == 0)
        (void)rd_kafka_poll_set_consumer(ask->client);
    return code;
}

/* All topics are asked for: a question about one may create it. */
static int count_once(const struct topic_end *ask, size_t *count, struct error *error)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(ask->client, 1, NULL, &metadata, left_ms(ask));

    *count = 0;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_PEER, "kafka: %s", rd_kafka_err2str(code));
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, ask->topic) == 0)
            *count = (size_t)metadata->topics[i].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

static int count_partitions(struct topic_end *ask, struct error *error)
{
    int code = count_once(ask, &ask->count, error);

    for (int i = 0; code == 0 && ask->count == 0 && i < UNKNOWN_ASKS; i++) {
        (void)rd_kafka_poll(ask->client, UNKNOWN_PAUSE_MS);
        code = count_once(ask, &ask->count, error);
    }
    return code;
}

/* Fills the ends, and in `from` where reading for the last records begins. */
static int ask_ends(struct topic_end *ask, rd_kafka_topic_partition_list_t *from,
                    struct error *error)
{
    struct kafka_offsets *list = memory_new(ask->count + 1, sizeof(*list));
    int code = 0;

    for (size_t i = 0; i < ask->count; i++)
        list[i] = (struct kafka_offsets){.topic = ask->topic, .partition = (int32_t)i};
    (void)kafka_query_all_offsets(ask->client, list, ask->count, left_ms(ask));
    for (size_t i = 0; i < ask->count && code == 0; i++) {
        int64_t back = list[i].end - BACK_OFFSETS;
        if (list[i].code != RD_KAFKA_RESP_ERR_NO_ERROR)
            code = error_set(error, ERROR_PEER, "%s [%zu]: %s", ask->topic, i,
                             rd_kafka_err2str(list[i].code));
        ask->ends[i] = (struct config_begin){.offset = list[i].end, .record_offset = -1};
        ask->read[i] = list[i].end <= list[i].begin;
        if (ask->read[i])
            continue;
        ask->left++;
        rd_kafka_topic_partition_list_add(from, ask->topic, (int32_t)i)->offset =
            back > list[i].begin ? back : list[i].begin;
    }
    free(list);
    return code;
}

/* One record, or the word that a partition is read to its end. */
static void take_end(struct topic_end *ask, const rd_kafka_message_t *message)
{
    const bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    size_t i = (size_t)message->partition;

    if ((message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !is_end) || i >= ask->count || ask->read[i])
        return;
    if (!is_end && message->offset < ask->ends[i].offset) {
        ask->ends[i].record_offset = message->offset;
        ask->ends[i].record_hash = topic_fingerprint(message);
    }
    if (!is_end && message->offset < ask->ends[i].offset - 1)
        return;
    ask->read[i] = true;
    ask->left--;
}

static int read_last_records(struct topic_end *ask, const rd_kafka_topic_partition_list_t *from,
                             struct error *error)
{
    rd_kafka_resp_err_t code = rd_kafka_assign(ask->client, from);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_PEER, "%s: %s", ask->topic, rd_kafka_err2str(code));
    while (ask->left > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(ask->client, POLL_MS);
        if (message) {
            take_end(ask, message);
            rd_kafka_message_destroy(message);
        }
        if (ask->left > 0 && io_monotonic_ns(io_posix()) >= ask->deadline_ns)
            return error_set(error, ERROR_PEER, "%s: its last records cannot be read in time",
                             ask->topic);
    }
    return 0;
}

int ingest_topic_end(const struct config *config, const char *topic, int64_t deadline_ns,
                     struct arena *arena, struct config_begin **ends, size_t *count,
                     struct error *error)
{
    struct topic_end ask = {.topic = topic, .deadline_ns = deadline_ns};
    rd_kafka_topic_partition_list_t *from = rd_kafka_topic_partition_list_new(8);
    int code = open_end_client(config, &ask, error);

    if (code == 0)
        code = count_partitions(&ask, error);
    if (code == 0) {
        ask.ends = arena_calloc(arena, ask.count + 1, sizeof(*ask.ends));
        ask.read = arena_calloc(arena, ask.count + 1, sizeof(*ask.read));
        code = ask_ends(&ask, from, error);
    }
    if (code == 0 && ask.left > 0)
        code = read_last_records(&ask, from, error);
    rd_kafka_topic_partition_list_destroy(from);
    if (ask.client) {
        (void)rd_kafka_consumer_close(ask.client);
        (void)kafka_client_end(ask.client, 0);
    }
    *ends = ask.ends;
    *count = ask.count;
    return code;
}
