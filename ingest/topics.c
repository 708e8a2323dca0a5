#include "ingest/topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

static int check_topic(const struct topics *topics, const struct config *config,
                       const struct config_collection *collection, const char *name,
                       struct error *error)
{
    const char *letters = config->kafka_dead_letters;
    const struct topic *other = topics_find(topics, name);

    if (name[0] == '^')
        return error_set(error, ERROR_UNSUPPORTED,
                         "collection %s: topic %s: patterns are not supported, because a shard "
                         "belongs to one topic of one collection (list the topics)",
                         collection->name, name);
    if (letters && strcmp(letters, name) == 0)
        return error_set(error, ERROR_INVALID, "collection %s: topic %s is also kafka.dead_letters",
                         collection->name, name);
    if (other)
        return error_set(error, ERROR_INVALID,
                         "topic %s is listed twice: in collection %s and in %s", name,
                         other->collection->name, collection->name);
    return 0;
}

int topics_add(struct topics *topics, const struct config *config,
               const struct config_collection *collection, struct error *error)
{
    if (topics->count + collection->topic_count > topics->room)
        return error_set(error, ERROR_BUSY, "no more topics can be read without a restart");
    for (size_t j = 0; j < collection->topic_count; j++) {
        struct topic *topic = &topics->list[topics->count];
        if (check_topic(topics, config, collection, collection->topics[j], error) != 0)
            return error->code;
        topic->name = collection->topics[j];
        topic->collection = collection;
        topic->index = j;
        topic->partition_count = -1;
        topics->count++;
    }
    return 0;
}

void topics_remove(struct topics *topics, const struct config_collection *collection)
{
    for (size_t i = 0; i < topics->count; i++)
        if (topics->list[i].collection == collection)
            topics->list[i].removed = true;
}

int topics_create(struct topics *topics, const struct config *config, struct error *error)
{
    *topics = (struct topics){.room = CONFIG_COLLECTIONS_ADDED_MAX};
    pthread_mutex_init(&topics->lock, NULL);
    for (size_t i = 0; i < config->collection_count; i++)
        topics->room += config->collections[i].topic_count;
    topics->list = memory_new(topics->room, sizeof(*topics->list));
    for (size_t i = 0; i < config->collection_count; i++)
        if (!config->collections[i].refused &&
            topics_add(topics, config, &config->collections[i], error) != 0)
            return error->code;
    return 0;
}

void topics_destroy(struct topics *topics)
{
    pthread_mutex_destroy(&topics->lock);
    free(topics->list);
}

struct topic *topics_find(const struct topics *topics, const char *name)
{
    for (size_t i = 0; i < topics->count; i++)
        if (!topics->list[i].removed && strcmp(topics->list[i].name, name) == 0)
            return &topics->list[i];
    return NULL;
}

struct topic_partition topic_partition_of(const struct topic *topic, int32_t number)
{
    struct topic_partition partition = {
        .collection = topic->collection, .topic = topic->name, .number = number};

    config_shard_name(topic->collection, topic->index, number, partition.shard);
    return partition;
}

int topic_partition_parse(const struct config_collection *collection, const char *shard,
                          struct topic_partition *partition, struct error *error)
{
    *partition = (struct topic_partition){.collection = collection};
    if (!config_shard_partition(collection, shard, &partition->topic, &partition->number))
        return error_set(error, ERROR_NOT_FOUND, "shard %s belongs to no topic of %s", shard,
                         collection->name);
    (void)snprintf(partition->shard, sizeof(partition->shard), "%s", shard);
    return 0;
}

void topics_learn(struct topics *topics, const char *name, int partition_count)
{
    struct topic *topic = topics_find(topics, name);

    if (!topic)
        return;
    pthread_mutex_lock(&topics->lock);
    topic->partition_count = partition_count;
    pthread_mutex_unlock(&topics->lock);
}

bool topics_learn_missing(struct topics *topics, const char *name, int64_t now_ns, int64_t every_ns)
{
    struct topic *topic = topics_find(topics, name);
    bool worth_logging;

    if (!topic)
        return false;
    pthread_mutex_lock(&topics->lock);
    topic->partition_count = 0;
    worth_logging = topic->complained_ns == 0 || now_ns - topic->complained_ns >= every_ns;
    if (worth_logging)
        topic->complained_ns = now_ns;
    pthread_mutex_unlock(&topics->lock);
    return worth_logging;
}

const char *topics_missing(struct topics *topics)
{
    const char *missing = NULL;

    pthread_mutex_lock(&topics->lock);
    for (size_t i = 0; i < topics->count && !missing; i++)
        if (!topics->list[i].removed && topics->list[i].partition_count == 0)
            missing = topics->list[i].name;
    pthread_mutex_unlock(&topics->lock);
    return missing;
}

bool topics_all_known(struct topics *topics)
{
    bool known = true;

    pthread_mutex_lock(&topics->lock);
    for (size_t i = 0; i < topics->count; i++)
        known &= topics->list[i].removed || topics->list[i].partition_count > 0;
    pthread_mutex_unlock(&topics->lock);
    return known;
}

bool topics_any(const struct topics *topics)
{
    for (size_t i = 0; i < topics->count; i++)
        if (!topics->list[i].removed)
            return true;
    return false;
}
