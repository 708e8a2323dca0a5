#include "ingest/kafka_membership.h"

#include <stdlib.h>
#include <string.h>

#include "base/logger.h"

#define NS_PER_MS INT64_C(1000000)

static const char magic[] = "CGMDv2:";

enum { MAGIC_BYTES = sizeof(magic) - 1 };

int32_t kafka_membership_parse(const void *bytes, size_t size_bytes)
{
    int32_t generation;

    if (size_bytes < MAGIC_BYTES + sizeof(generation) || memcmp(bytes, magic, MAGIC_BYTES) != 0)
        return 0;
    memcpy(&generation, (const char *)bytes + MAGIC_BYTES, sizeof(generation));
    return generation > 0 ? generation : 0;
}

int32_t kafka_membership_generation(rd_kafka_t *client)
{
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(client);
    rd_kafka_error_t *failed;
    void *bytes = NULL;
    size_t size = 0;
    int32_t generation = 0;

    if (!metadata)
        return 0;
    failed = rd_kafka_consumer_group_metadata_write(metadata, &bytes, &size);
    if (!failed)
        generation = kafka_membership_parse(bytes, size);
    else
        rd_kafka_error_destroy(failed);
    rd_kafka_mem_free(client, bytes);
    rd_kafka_consumer_group_metadata_destroy(metadata);
    return generation;
}

static int64_t property_ms(rd_kafka_t *client, const char *name)
{
    char text[32] = "";
    size_t size = sizeof(text);

    if (rd_kafka_conf_get(rd_kafka_conf(client), name, text, &size) != RD_KAFKA_CONF_OK)
        return 0;
    return strtoll(text, NULL, 10);
}

/* The broker counts from the last heartbeat that it got, which may be one interval old when the process
 * stops, and some time passes until it is sent. */
int64_t kafka_membership_pause_limit_ns(rd_kafka_t *client)
{
    int64_t session_ms = property_ms(client, "session.timeout.ms");
    int64_t limit_ms = session_ms - 2 * property_ms(client, "heartbeat.interval.ms");

    if (limit_ms < session_ms / 4)
        limit_ms = session_ms / 4;
    return limit_ms * NS_PER_MS;
}

void kafka_membership_ask(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets,
                          kafka_membership_function answered, uintptr_t question)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);

    if (!queue)
        return;
    (void)rd_kafka_commit_queue(client, offsets, queue, answered, (void *)question);
    rd_kafka_queue_destroy(queue);
}

bool kafka_membership_confirmed(rd_kafka_resp_err_t code,
                                const rd_kafka_topic_partition_list_t *offsets)
{
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && offsets && i < offsets->cnt; i++)
        code = offsets->elems[i].err;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_debug("ingest", "membership: %s", rd_kafka_err2str(code));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}
