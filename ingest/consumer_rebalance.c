/* Partitions come and go one by one (cooperative protocol), inside rd_kafka_consumer_poll or
 * _close, on the thread that polls.
 *
 * Assigned: open the shard, seek to the offset that lies with its data. A shard that cannot be
 * opened is assigned all the same, as stopped: leaving it out would make its revocation an error.
 * Revoked: get the group durable, commit as a hint, flush and close, and only then give the
 * partition back, so that it never has two writers. Lost (the group went on without us, somebody
 * else may write already; or no broker answered for a session): what is not durable is dropped, and
 * what is stored is searched on until it is known whose the partition is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "ingest/consumer.h"

static struct topic *topic_find(struct ingest *ingest, const char *name)
{
    for (size_t i = 0; i < ingest->topic_count; i++)
        if (strcmp(ingest->topics[i].name, name) == 0)
            return &ingest->topics[i];
    return NULL;
}

/* Where the shard stands; a shard that never stored anything has no clock yet. */
static void take_over_shard(struct partition *partition)
{
    int64_t next_offset = store_shard_next_offset(partition->shard);
    struct store_clock clock = store_shard_clock(partition->shard);

    partition->next_offset = partition->position = partition->read_offset = next_offset;
    partition->mark = store_shard_topic_fingerprint(partition->shard);
    partition->clock = next_offset < 0
                           ? (struct twcs_clock){.watermark_ms = TWCS_NO_TIME}
                           : (struct twcs_clock){clock.watermark_ms, clock.last_record_wall_ms,
                                                 clock.safe_wall_ms};
    partition->persisted_watermark_ms = partition->clock.watermark_ms;
    twcs_clock_tick(&partition->clock, io_wall_ms(partition->ingest->io), true);
}

void partition_open(struct partition *partition)
{
    struct ingest *ingest = partition->ingest;
    struct error error = {0};

    if (ingest->host.shard_open(ingest->host.context, partition->collection, partition->shard_name,
                                &partition->shard, &error) == 0)
        take_over_shard(partition);
    else
        partition_stop(partition, STOP_OPEN, "its shard cannot be opened: %s", error.text);
    partition_publish(partition);
}

static void list_add(struct ingest *ingest, struct partition *partition)
{
    pthread_mutex_lock(&ingest->lock);
    if (ingest->partition_count == ingest->partition_capacity) {
        ingest->partition_capacity =
            ingest->partition_capacity ? 2 * ingest->partition_capacity : 8;
        ingest->partitions =
            realloc(ingest->partitions, ingest->partition_capacity * sizeof(*ingest->partitions));
        if (!ingest->partitions)
            abort();
    }
    ingest->partitions[ingest->partition_count++] = partition;
    pthread_mutex_unlock(&ingest->lock);
}

static void list_remove(struct ingest *ingest, const struct partition *partition)
{
    pthread_mutex_lock(&ingest->lock);
    for (size_t i = 0; i < ingest->partition_count; i++) {
        if (ingest->partitions[i] != partition)
            continue;
        ingest->partitions[i] = ingest->partitions[--ingest->partition_count];
        break;
    }
    pthread_mutex_unlock(&ingest->lock);
    if (ingest->last == partition)
        ingest->last = NULL;
}

static struct partition *partition_new(struct ingest *ingest, const struct topic *topic,
                                       int32_t number)
{
    struct partition *partition = calloc(1, sizeof(*partition));

    if (!partition)
        abort();
    partition->ingest = ingest;
    partition->collection = topic->collection;
    partition->topic = strdup(topic->name);
    if (!partition->topic)
        abort();
    partition->number = number;
    if (topic->first)
        snprintf(partition->shard_name, sizeof(partition->shard_name), "%d", number);
    else
        snprintf(partition->shard_name, sizeof(partition->shard_name), "%s-%d", topic->name,
                 number);
    partition->policy = ingest_policy(topic->collection);
    partition->group = &partition->groups[0];
    partition->appended_ns = INT64_MIN / 2;
    partition->next_offset = partition->position = partition->committed_offset = -1;
    partition->skip_offset = -1;
    partition->read_offset = -1;
    partition->clock.watermark_ms = TWCS_NO_TIME;
    partition->shared.next_offset = partition->shared.begin_offset = -1;
    partition->shared.end_offset = partition->shared.target_offset = -1;
    partition_metrics_create(partition);
    return partition;
}

static void partition_delete(struct partition *partition)
{
    partition_metrics_remove(partition);
    partition_forget(partition);
    dead_letter_ticket_delete(partition->ticket);
    for (size_t i = 0; i < 2; i++) {
        free(partition->groups[i].records);
        free(partition->groups[i].timestamps_ms);
    }
    free(partition->topic);
    free(partition);
}

static void assigned(struct ingest *ingest, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *place = &list->elems[i];
        const struct topic *topic = topic_find(ingest, place->topic);
        struct partition *partition;
        if (!topic || partition_find(ingest, place->topic, place->partition))
            continue; /* neither can be: we subscribed to these, and each is assigned once */
        partition = partition_new(ingest, topic, place->partition);
        list_add(ingest, partition);
        partition_open(partition);
        partition->pause_pending |= partition_held(partition);
        log_info("ingest", PARTITION_FORMAT " assigned, shard %s, from offset %lld",
                 PARTITION_NAME(partition), partition->shard_name,
                 (long long)partition->next_offset);
        if (ingest->host.alive)
            ingest->host.alive(ingest->host.context);
    }
    consumer_set_starts(ingest, list);
}

static void partition_close(struct partition *partition, bool lost)
{
    struct ingest *ingest = partition->ingest;
    bool flush = !lost && !partition->stopped;

    if (lost) {
        pthread_mutex_lock(&ingest->lock);
        ingest->lost = true;
        pthread_mutex_unlock(&ingest->lock);
    }
    log_info("ingest", PARTITION_FORMAT " %s at offset %lld", PARTITION_NAME(partition),
             lost ? "lost" : "given back", (long long)partition->next_offset);
    /* librdkafka would remember the pause for the next time that we own it. */
    if (partition->paused)
        consumer_set_paused(partition, false);
    list_remove(ingest, partition);
    partition_forget(partition);
    if (partition->shard && lost && ingest->host.shard_keep && !atomic_load(&ingest->stop))
        ingest->host.shard_keep(ingest->host.context, partition->shard);
    else if (partition->shard)
        ingest->host.shard_close(ingest->host.context, partition->shard, flush);
    if (ingest->host.alive)
        ingest->host.alive(ingest->host.context);
    partition_delete(partition);
}

static void revoked(struct ingest *ingest, const rd_kafka_topic_partition_list_t *list, bool lost)
{
    /* A stop is not held up by a full disk: what is not stored is read again. */
    int64_t limit_ns = atomic_load(&ingest->stop) ? CONSUMER_STOP_NS : CONSUMER_HAND_OVER_NS;

    /* All groups first: shards close one after the other, and each may take its time. */
    for (int i = 0; i < list->cnt && !lost; i++) {
        struct partition *partition =
            partition_find(ingest, list->elems[i].topic, list->elems[i].partition);
        if (partition)
            partition_drain(partition, limit_ns);
    }
    if (!lost && !ingest->no_commit)
        consumer_commit(ingest, 1000);
    for (int i = 0; i < list->cnt; i++) {
        struct partition *partition =
            partition_find(ingest, list->elems[i].topic, list->elems[i].partition);
        if (partition)
            partition_close(partition, lost);
    }
}

static void report(rd_kafka_error_t *error, const char *what)
{
    if (!error)
        return;
    log_error("ingest", "%s: %s", what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

void consumer_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t event,
                        rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct ingest *ingest = opaque;
    bool failed = rd_kafka_fatal_error(client, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;

    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && failed) {
        report(rd_kafka_incremental_assign(client, list), "leave partitions"); /* nothing is read */
        return;
    }
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assigned(ingest, list);
        report(rd_kafka_incremental_assign(client, list), "assign partitions");
        ingest->ever_assigned = true;
        pthread_mutex_lock(&ingest->lock);
        ingest->joined = true;
        ingest->lost = false;
        pthread_mutex_unlock(&ingest->lock);
        consumer_observe_soon(ingest);
        /* A collection that an operator paused is to be paused before its first message comes, and
         * a partition must not be paused in here: the poll ends now, whatever else is there. */
        rd_kafka_yield(client);
        return;
    }
    if (event != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        log_error("ingest", "rebalance: %s", rd_kafka_err2str(event));
    revoked(ingest, list, failed || rd_kafka_assignment_lost(client) != 0);
    report(rd_kafka_incremental_unassign(client, list), "give partitions back");
}

void consumer_forget_all(struct ingest *ingest)
{
    while (ingest->partition_count > 0)
        partition_close(ingest->partitions[ingest->partition_count - 1], true);
}
