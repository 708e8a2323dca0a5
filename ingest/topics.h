/* The topics that this process reads: which collection each belongs to, how its shards are named,
 * and what Kafka's metadata last said about it.
 *
 * The list only grows, by one thread. What metadata said is guarded by the lock inside: the observer and
 * the consumer write it, any thread reads it. Private to ingest/. */
#ifndef INGEST_TOPICS_H
#define INGEST_TOPICS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"

struct topic {
    const char *name; /* the configuration's */
    const struct config_collection *collection;
    size_t index;          /* among its collection's topics */
    int partition_count;   /* -1: not known yet; 0: the broker has no such topic. Guarded */
    int64_t complained_ns; /* when it was last logged that it is missing; 0: never. Guarded */
    atomic_bool removed;   /* it is read no more, and nobody finds it */
};

struct topics {
    pthread_mutex_t lock;
    struct topic *list;   /* none ever moves */
    _Atomic size_t count; /* grows up to the room */
    size_t room;
};

/* One partition of a topic; it lives as long as the configuration. */
struct topic_partition {
    const struct config_collection *collection;
    const char *topic;
    int32_t number;
    char shard[CONFIG_SHARD_NAME_BYTES]; /* "3" of the first topic, "other-3" of another one */
};

/* For log lines: "news: topic [3]". */
#define PARTITION_FORMAT  "%s: %s [%d]"
#define PARTITION_NAME(p) (p)->collection->name, (p)->topic, (p)->number

/** Lists the topics of all collections that are not refused. ERROR_INVALID or ERROR_UNSUPPORTED when they
 * cannot be read together. Destroy it in any case. */
int topics_create(struct topics *topics, const struct config *config, struct error *error);
void topics_destroy(struct topics *topics);
/** Adds the topics of a collection that the configuration has now. Errors as above, and ERROR_BUSY
 * without room. One thread at a time; others may read. */
int topics_add(struct topics *topics, const struct config *config,
               const struct config_collection *collection, struct error *error);
/** Nobody finds the topics of the collection from now on. */
void topics_remove(struct topics *topics, const struct config_collection *collection);

/** NULL: no such topic. */
struct topic *topics_find(const struct topics *topics, const char *name);

struct topic_partition topic_partition_of(const struct topic *topic, int32_t number);
/** The partition whose shard has this name. */
int topic_partition_parse(const struct config_collection *collection, const char *shard,
                          struct topic_partition *partition, struct error *error);

/** Metadata told how many partitions the topic has; 0: there is no such topic. Any thread. */
void topics_learn(struct topics *topics, const char *name, int partition_count);
/** The broker says that the topic does not exist. Whether that is worth a line in the log: once,
 * and again after `every_ns`. Any thread. */
bool topics_learn_missing(struct topics *topics, const char *name, int64_t now_ns,
                          int64_t every_ns);
/** The first topic that is known not to exist; NULL: there is none. Any thread. */
const char *topics_missing(struct topics *topics);
/** Whether there is one to read. Any thread. */
bool topics_any(const struct topics *topics);
/** Whether each topic is known to exist. Any thread. */
bool topics_all_known(struct topics *topics);

#endif
