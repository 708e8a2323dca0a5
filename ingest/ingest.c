#include "ingest/ingest.h"
#include "ingest/kafka_conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ingest/consumer.h"

struct ingest {
    struct ingest_options options;
    struct topics topics;
    struct coverage *coverage;
    struct partition_list partitions;
    struct control *control;
    struct observer *observer;
    struct consumer *consumer;
};

static void ingest_delete(struct ingest *ingest)
{
    observer_delete(ingest->observer);
    consumer_delete(ingest->consumer);
    control_delete(ingest->control);
    partition_list_destroy(&ingest->partitions);
    coverage_delete(ingest->coverage);
    topics_destroy(&ingest->topics);
    free(ingest);
}

int ingest_start(const struct ingest_options *options, struct ingest **ingest, struct error *error)
{
    struct ingest *fresh = memory_new(1, sizeof(*fresh));
    int code;

    fresh->options = *options;
    if (!fresh->options.io)
        fresh->options.io = io_posix();
    if (!fresh->options.wall)
        fresh->options.wall = fresh->options.io;
    options = &fresh->options;
    partition_list_create(&fresh->partitions);
    fresh->control = control_new(options->config, options->io);
    code = topics_create(&fresh->topics, options->config, error);
    fresh->coverage = coverage_new(options->config, options->registry, &fresh->topics, options->io);
    fresh->observer = observer_new(options->config, &fresh->topics, fresh->coverage,
                                   &fresh->partitions, options->io);
    if (code == 0)
        code = consumer_new(options, &fresh->topics, &fresh->partitions, fresh->control,
                            fresh->observer, &fresh->consumer, error);
    if (code == 0)
        code = observer_run(fresh->observer, consumer_session(fresh->consumer), error);
    if (code == 0)
        code = consumer_run(fresh->consumer, error);
    if (code != 0) {
        ingest_delete(fresh);
        return code;
    }
    *ingest = fresh;
    return 0;
}

void ingest_stop(struct ingest *ingest)
{
    if (!ingest)
        return;
    consumer_stop(ingest->consumer);
    ingest_delete(ingest);
}

unsigned ingest_clients_left(void)
{
    return kafka_clients_left();
}

int ingest_add_collection(struct ingest *ingest, const struct config_collection *collection,
                          struct error *error)
{
    int code;

    control_add(ingest->control, collection);
    code = topics_add(&ingest->topics, ingest->options.config, collection, error);
    if (code == 0)
        code = kafka_session_subscribe(consumer_session(ingest->consumer), error);
    if (code != 0)
        topics_remove(&ingest->topics, collection);
    observer_ask(ingest->observer, true);
    return code;
}

int ingest_remove_collection(struct ingest *ingest, const struct config_collection *collection,
                             struct error *error)
{
    topics_remove(&ingest->topics, collection);
    return kafka_session_subscribe(consumer_session(ingest->consumer), error);
}

bool ingest_reads_nothing_of(struct ingest *ingest, const struct config_collection *collection)
{
    struct partition_list *all = &ingest->partitions;
    bool nothing = true;

    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->count; i++)
        nothing &= all->items[i]->name.collection != collection;
    pthread_mutex_unlock(&all->lock);
    return nothing;
}

void ingest_hand_over(struct ingest *ingest)
{
    consumer_hand_over(ingest->consumer);
}

bool ingest_handed_over(struct ingest *ingest)
{
    return consumer_handed_over(ingest->consumer);
}

int ingest_pause(struct ingest *ingest, const char *collection, bool pause, struct error *error)
{
    return control_pause(ingest->control, consumer_session(ingest->consumer), collection, pause,
                         error);
}

bool ingest_paused(struct ingest *ingest, const char *collection)
{
    const struct config_collection *found =
        config_collection_find(ingest->options.config, collection);

    return found && control_is_held(ingest->control, found);
}

int ingest_resume_stopped(struct ingest *ingest, const char *collection, const char *shard,
                          enum ingest_resume how, struct error *error)
{
    return control_resume_stopped(ingest->control, consumer_session(ingest->consumer), collection,
                                  shard, how, error);
}

size_t ingest_status(struct ingest *ingest, struct arena *arena,
                     struct ingest_partition_status **partitions)
{
    struct partition_list *all = &ingest->partitions;
    struct ingest_partition_status *list;
    size_t count;

    pthread_mutex_lock(&all->lock);
    count = all->count;
    list = arena_calloc(arena, count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const struct topic_partition *name = &all->items[i]->name;
        const struct partition_shared *shared = &all->items[i]->shared;
        list[i] = (struct ingest_partition_status){
            .collection = name->collection->name,
            .topic = name->topic,
            .partition = name->number,
            .next_offset = shared->next_offset,
            .begin_offset = shared->begin_offset,
            .end_offset = shared->end_offset,
            .lag_records = partition_lag(all->items[i]),
            .last_timestamp_ms = shared->last_timestamp_ms,
            .paused = shared->paused,
            .reading = shared->reading,
        };
        memcpy(list[i].shard, name->shard, sizeof(list[i].shard));
        memcpy(list[i].stopped, shared->stopped, sizeof(list[i].stopped));
        memcpy(list[i].waiting, shared->waiting, sizeof(list[i].waiting));
    }
    pthread_mutex_unlock(&all->lock);
    *partitions = list;
    return count;
}

static bool not_ready(char *why, size_t why_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool not_ready(char *why, size_t why_bytes, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, why_bytes, format, arguments);
    va_end(arguments);
    return false;
}

static bool catching_up(struct partition_list *partitions, char *why, size_t why_bytes)
{
    for (size_t i = 0; i < partitions->count; i++) {
        const struct topic_partition *name = &partitions->items[i]->name;
        const struct partition_shared *shared = &partitions->items[i]->shared;
        if (partition_caught_up(partitions->items[i]))
            continue;
        if (shared->target_offset < 0)
            return !not_ready(why, why_bytes, PARTITION_FORMAT ": its end is not known yet",
                              PARTITION_NAME(name));
        return !not_ready(why, why_bytes, PARTITION_FORMAT " is at offset %lld of %lld",
                          PARTITION_NAME(name), (long long)shared->next_offset,
                          (long long)shared->target_offset);
    }
    return false;
}

bool ingest_ready(struct ingest *ingest, char *why, size_t why_bytes)
{
    const struct config *config = ingest->options.config;
    struct kafka_view view = kafka_session_view(consumer_session(ingest->consumer));
    const char *missing = topics_missing(&ingest->topics);
    char group[CONFIG_GROUP_BYTES];
    bool ready;

    config_consumer_group(config, group);
    if (view.failed[0] != '\0')
        return not_ready(why, why_bytes, "the Kafka consumer failed: %s", view.failed);
    if (!view.answered)
        return not_ready(why, why_bytes, "no Kafka broker has answered yet at %s",
                         config->kafka_brokers);
    if (missing)
        return not_ready(why, why_bytes, "topic %s does not exist yet", missing);
    if (!view.joined && topics_any(&ingest->topics))
        return not_ready(why, why_bytes, "waiting for partitions of group %s", group);
    pthread_mutex_lock(&ingest->partitions.lock);
    ready = !catching_up(&ingest->partitions, why, why_bytes);
    pthread_mutex_unlock(&ingest->partitions.lock);
    return ready;
}

bool ingest_settled(struct ingest *ingest)
{
    struct kafka_view view = kafka_session_view(consumer_session(ingest->consumer));

    return !view.lost && view.silent_ns == 0;
}
