/* What operators ask for: pause and resume a collection, resume a stopped partition on purpose.
 *
 * An HTTP thread leaves a request and sleeps; the consumer thread, which owns all partitions,
 * serves it between two polls. One request at a time. A paused collection is a file
 * DATA_DIR/COLLECTION.paused, so that a restart does not resume what an operator stopped. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/marker.h"
#include "ingest/consumer.h"
#include "ingest/kafka_offsets.h"

enum { WATERMARK_TIMEOUT_MS = 5000 };

struct control {
    const struct config_collection *collection;
    const char *shard; /* NULL: the collection */
    bool pause;
    enum ingest_resume how;
    struct error error;
    int code;
    bool done;
};

/* ---- the side that waits */

static void lock(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
}

static void unlock(struct ingest *ingest)
{
    pthread_cond_broadcast(&ingest->controlled);
    pthread_mutex_unlock(&ingest->lock);
}

static int ask(struct ingest *ingest, const char *collection, struct control *control,
               struct error *error)
{
    control->collection = config_collection_find(ingest->config, collection);
    if (!control->collection)
        return error_set(error, ERROR_NOT_FOUND, "there is no collection %s", collection);
    lock(ingest);
    ingest->control_users++;
    while (ingest->control && !ingest->control_closed)
        pthread_cond_wait(&ingest->controlled, &ingest->lock);
    if (!ingest->control_closed) {
        ingest->control = control;
        while (!control->done)
            pthread_cond_wait(&ingest->controlled, &ingest->lock);
    } else {
        control->code = error_set(&control->error, ERROR_CANCELLED, "the service is stopping");
    }
    ingest->control_users--;
    unlock(ingest);
    if (control->code != 0)
        return error_set(error, control->code, "%s", control->error.text);
    return 0;
}

int ingest_pause(struct ingest *ingest, const char *collection, bool pause, struct error *error)
{
    struct control control = {.pause = pause};

    return ask(ingest, collection, &control, error);
}

int ingest_resume_stopped(struct ingest *ingest, const char *collection, const char *shard,
                          enum ingest_resume how, struct error *error)
{
    struct control control = {.shard = shard, .how = how};

    return ask(ingest, collection, &control, error);
}

bool ingest_paused(struct ingest *ingest, const char *collection)
{
    const struct config_collection *found = config_collection_find(ingest->config, collection);
    bool held = false;

    lock(ingest);
    if (found)
        held = ingest->held[found - ingest->config->collections];
    pthread_mutex_unlock(&ingest->lock);
    return held;
}

/* ---- the marker */

static void marker_name(const struct config_collection *collection, char name[NAME_MAX])
{
    snprintf(name, NAME_MAX, "%s.paused", collection->name);
}

static int marker_write(struct ingest *ingest, const struct config_collection *collection,
                        bool pause, struct error *error)
{
    char name[NAME_MAX];

    if (!ingest->config->data_dir)
        return 0;
    marker_name(collection, name);
    return marker_set(ingest->io, ingest->config->data_dir, name, pause, error);
}

void consumer_control_load(struct ingest *ingest)
{
    const struct config *config = ingest->config;

    for (size_t i = 0; config->data_dir && i < config->collection_count; i++) {
        char name[NAME_MAX];
        marker_name(&config->collections[i], name);
        if (!marker_is_set(ingest->io, config->data_dir, name))
            continue;
        ingest->held[i] = true;
        log_warning("ingest", "%s is paused since an earlier run (`windrow resume -C %s`)",
                    config->collections[i].name, config->collections[i].name);
    }
}

/* ---- the side that serves */

static int serve_pause(struct ingest *ingest, struct control *control)
{
    size_t index = (size_t)(control->collection - ingest->config->collections);
    int code = marker_write(ingest, control->collection, control->pause, &control->error);

    if (code != 0)
        return code;
    lock(ingest);
    ingest->held[index] = control->pause;
    pthread_mutex_unlock(&ingest->lock);
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        if (partition->collection == control->collection && control->pause && !partition->paused)
            partition->pause_pending = true;
    }
    log_info("ingest", "%s: %s by an operator", control->collection->name,
             control->pause ? "paused" : "resumed");
    return 0;
}

/* Behind what Kafka lost, or behind the bad record; of a topic that was made anew, what is not
 * below our own offset. */
static int skip(struct partition *partition, struct error *error)
{
    int64_t begin = -1;
    int64_t end = -1;
    int64_t next = partition->bad_offset + 1;
    rd_kafka_resp_err_t code;

    if (partition->stop_cause == STOP_RANGE || partition->stop_cause == STOP_MARK) {
        code = kafka_query_offsets(partition->ingest->consumer, partition->topic, partition->number,
                                   &begin, &end, WATERMARK_TIMEOUT_MS);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return error_set(error, ERROR_PEER, "kafka: %s", rd_kafka_err2str(code));
        next = begin;
        if (partition->stop_cause == STOP_MARK && begin <= partition->position &&
            end >= partition->position) {
            log_warning("ingest",
                        PARTITION_FORMAT " goes on at offset %lld of another topic or log on an "
                                         "operator's word",
                        PARTITION_NAME(partition), (long long)partition->position);
            return partition_move(partition, partition->position, error);
        }
    }
    if (next <= partition->position)
        return error_set(error, ERROR_INVALID,
                         "offset %lld cannot go back to %lld (the topic was made anew): only "
                         "rebuilding reads it",
                         (long long)partition->position, (long long)next);
    if (partition->stop_cause == STOP_RECORD && partition->next_offset != partition->position) {
        log_warning("ingest", PARTITION_FORMAT " skips offset %lld on an operator's word",
                    PARTITION_NAME(partition), (long long)partition->bad_offset);
        partition->skip_offset = partition->bad_offset;
        partition->position = partition->next_offset; /* the store took no more before the stop */
        return 0;
    }
    log_warning("ingest", PARTITION_FORMAT " skips offsets %lld to %lld on an operator's word",
                PARTITION_NAME(partition), (long long)partition->position, (long long)next - 1);
    return partition_move(partition, next, error);
}

static int rebuild(struct partition *partition, struct error *error)
{
    struct ingest *ingest = partition->ingest;
    struct store_shard *shard = partition->shard;

    if (!ingest->host.shard_discard)
        return error_set(error, ERROR_UNSUPPORTED, "this process cannot discard a shard");
    log_warning("ingest", PARTITION_FORMAT " is built again on an operator's word",
                PARTITION_NAME(partition));
    partition->shard = NULL;
    partition_forget(partition);
    if (ingest->host.shard_discard(ingest->host.context, shard, error) != 0) {
        partition->stop_cause = STOP_OPEN;
        return error->code;
    }
    partition_open(partition);
    if (!partition->shard)
        return error_set(error, ERROR_IO, "the shard cannot be opened again");
    return 0;
}

static int serve_stopped(struct partition *partition, struct control *control)
{
    struct error *error = &control->error;
    int code;

    if (!partition->stopped)
        return error_set(error, ERROR_INVALID, "shard %s is not stopped", control->shard);
    if (partition->stop_cause == STOP_OPEN || partition->stop_cause == STOP_STORE)
        return error_set(error, ERROR_INVALID,
                         "shard %s was stopped by its files, not by Kafka: mend them and restart "
                         "windrow",
                         control->shard);
    code = control->how == INGEST_RESUME_SKIP ? skip(partition, error) : rebuild(partition, error);
    if (code != 0 || (code = consumer_assign_again(partition, error)) != 0)
        return code;
    partition_go_on(partition);
    consumer_observe_soon(partition->ingest);
    return 0;
}

static int serve(struct ingest *ingest, struct control *control)
{
    if (!control->shard)
        return serve_pause(ingest, control);
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        if (partition->collection == control->collection &&
            strcmp(partition->shard_name, control->shard) == 0)
            return serve_stopped(partition, control);
    }
    return error_set(&control->error, ERROR_NOT_FOUND,
                     "shard %s of %s is not assigned to this process", control->shard,
                     control->collection->name);
}

void consumer_control(struct ingest *ingest)
{
    struct control *control;
    int code;

    pthread_mutex_lock(&ingest->lock);
    control = ingest->control;
    pthread_mutex_unlock(&ingest->lock);
    if (!control)
        return;
    code = serve(ingest, control);
    lock(ingest);
    control->code = code;
    control->done = true;
    ingest->control = NULL;
    unlock(ingest);
}

void consumer_control_close(struct ingest *ingest)
{
    consumer_control(ingest);
    lock(ingest);
    ingest->control_closed = true;
    pthread_cond_broadcast(&ingest->controlled);
    while (ingest->control_users > 0) {
        struct control *control = ingest->control;
        if (control) {
            control->code = error_set(&control->error, ERROR_CANCELLED, "the service is stopping");
            control->done = true;
            ingest->control = NULL;
            pthread_cond_broadcast(&ingest->controlled);
        }
        pthread_cond_wait(&ingest->controlled, &ingest->lock);
    }
    unlock(ingest);
}
