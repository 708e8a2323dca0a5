#include "ingest/ingest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/thread.h"
#include "ingest/consumer.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_stats.h"

enum { LETTERS_FLUSH_MS = 2000 };

struct twcs_policy ingest_policy(const struct config_collection *collection)
{
    static const enum twcs_late_policy late[] = {
        [CONFIG_LATE_ACCEPT] = TWCS_LATE_ACCEPT,
        [CONFIG_LATE_DROP] = TWCS_LATE_DROP,
        [CONFIG_LATE_DEAD_LETTER] = TWCS_LATE_DEAD_LETTER,
    };
    static const enum twcs_style styles[] = {
        [CONFIG_STYLE_TIME_WINDOW] = TWCS_STYLE_TIME_WINDOW,
        [CONFIG_STYLE_FIFO] = TWCS_STYLE_FIFO,
        [CONFIG_STYLE_SIZE_TIERED] = TWCS_STYLE_SIZE_TIERED,
        [CONFIG_STYLE_LEVELED] = TWCS_STYLE_LEVELED,
        [CONFIG_STYLE_HYBRID] = TWCS_STYLE_HYBRID,
    };
    const int64_t minute_ms = 60 * 1000;
    int64_t quiet_ms = collection->window_ms;

    /* A window is written anew for stragglers once they have stopped coming for about as long as
     * the window took to fill. */
    if (quiet_ms < minute_ms)
        quiet_ms = minute_ms;
    if (quiet_ms > 60 * minute_ms)
        quiet_ms = 60 * minute_ms;
    return (struct twcs_policy){
        .window_ms = collection->window_ms,
        .ttl_ms = collection->ttl_ms,
        .late_allowed_ms = collection->late_allowed_ms,
        .max_future_ms = collection->max_future_ms,
        .idle_timeout_ms = collection->idle_timeout_ms,
        .late_policy = late[collection->late_policy],
        .max_bytes = collection->max_bytes,
        .tiered_min_threshold = collection->size_tiered_min_threshold,
        .tiered_max_threshold = collection->size_tiered_max_threshold,
        .reseal_ratio = 0.1,
        .dead_ratio = 0.3,
        .reseal_quiet_ms = quiet_ms,
        .style = styles[collection->compaction_style],
        .max_space_amplification = collection->max_space_amplification,
        .target_file_bytes = collection->leveled_target_file_size_bytes,
        .size_ratio = collection->leveled_size_ratio,
        .level0_trigger = 4,
    };
}

/* ---- start */

static int check_topic(const struct ingest *ingest, const struct config_collection *collection,
                       const char *name, struct error *error)
{
    const char *letters = ingest->config->kafka_dead_letters;

    if (name[0] == '^')
        return error_set(error, ERROR_UNSUPPORTED,
                         "collection %s: topic %s: patterns are not supported, because a shard "
                         "belongs to one topic of one collection (list the topics)",
                         collection->name, name);
    if (letters && strcmp(letters, name) == 0)
        return error_set(error, ERROR_INVALID, "collection %s: topic %s is also kafka.dead_letters",
                         collection->name, name);
    for (size_t i = 0; i < ingest->topic_count; i++)
        if (strcmp(ingest->topics[i].name, name) == 0)
            return error_set(error, ERROR_INVALID,
                             "topic %s is listed twice: in collection %s and in %s", name,
                             ingest->topics[i].collection->name, collection->name);
    return 0;
}

static int check_format(const struct config_collection *collection, struct error *error)
{
    if (collection->format != CONFIG_FORMAT_ARROW)
        return 0;
    return error_set(error, ERROR_UNSUPPORTED,
                     "collection %s: format arrow is not supported by this build",
                     collection->name);
}

static int list_topics(struct ingest *ingest, struct error *error)
{
    const struct config *config = ingest->config;
    size_t count = 0;

    for (size_t i = 0; i < config->collection_count; i++)
        count += config->collections[i].topic_count;
    ingest->topics = calloc(count + 1, sizeof(*ingest->topics));
    if (!ingest->topics)
        abort();
    for (size_t i = 0; i < config->collection_count; i++) {
        const struct config_collection *collection = &config->collections[i];
        if (check_format(collection, error) != 0)
            return error->code;
        for (size_t j = 0; j < collection->topic_count; j++) {
            if (check_topic(ingest, collection, collection->topics[j], error) != 0)
                return error->code;
            ingest->topics[ingest->topic_count++] = (struct topic){
                .name = collection->topics[j], .collection = collection, .first = j == 0};
        }
    }
    return 0;
}

static int take_statistics(rd_kafka_t *client, char *json, size_t json_bytes, void *opaque)
{
    struct ingest *ingest = opaque;

    (void)client;
    kafka_stats_publish(ingest->metrics, "consumer", json, json_bytes);
    return 0; /* librdkafka frees the text */
}

int consumer_connect(struct ingest *ingest, rd_kafka_t **client, struct error *error)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_conf_t *conf;
    rd_kafka_resp_err_t code;

    if (kafka_conf_new(ingest->config, KAFKA_CONSUMER, ingest, &conf, error) != 0)
        return error->code;
    rd_kafka_conf_set_rebalance_cb(conf, consumer_rebalance);
    rd_kafka_conf_set_error_cb(conf, consumer_client_error);
    rd_kafka_conf_set_stats_cb(conf, take_statistics);
    if (kafka_client_new(RD_KAFKA_CONSUMER, conf, client, error) != 0)
        return error->code;
    (void)rd_kafka_poll_set_consumer(*client);
    list = rd_kafka_topic_partition_list_new((int)ingest->topic_count);
    for (size_t i = 0; i < ingest->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, ingest->topics[i].name, RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(*client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    rd_kafka_destroy_flags(*client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    *client = NULL;
    return error_set(error, ERROR_INVALID, "kafka: subscribe: %s", rd_kafka_err2str(code));
}

static void ingest_delete(struct ingest *ingest)
{
    dead_letters_delete(ingest->letters, LETTERS_FLUSH_MS);
    if (ingest->fetch.queue)
        rd_kafka_queue_destroy(ingest->fetch.queue);
    if (ingest->consumer)
        consumer_destroy(ingest);
    pthread_cond_destroy(&ingest->controlled);
    pthread_cond_destroy(&ingest->wake);
    pthread_mutex_destroy(&ingest->lock);
    pthread_rwlock_destroy(&ingest->client_lock);
    append_pool_delete(ingest->appends);
    decode_pool_delete(ingest->pool);
    free(ingest->partitions);
    free(ingest->topics);
    free(ingest->held);
    free(ingest);
}

static struct ingest *ingest_new(const struct ingest_options *options)
{
    struct ingest *ingest = calloc(1, sizeof(*ingest));
    pthread_condattr_t attributes;

    if (!ingest)
        abort();
    ingest->config = options->config;
    ingest->host = options->host;
    ingest->metrics = options->metrics;
    ingest->io = options->io ? options->io : io_posix();
    ingest->wall = options->wall ? options->wall : ingest->io;
    ingest->complained_ns = INT64_MIN / 2;
    ingest->due_ns = INT64_MAX;
    ingest->held = calloc(options->config->collection_count + 1, sizeof(*ingest->held));
    if (!ingest->held)
        abort();
    pthread_mutex_init(&ingest->lock, NULL);
    pthread_rwlock_init(&ingest->client_lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&ingest->wake, &attributes);
    pthread_cond_init(&ingest->controlled, &attributes);
    pthread_condattr_destroy(&attributes);
    return ingest;
}

static int start_threads(struct ingest *ingest, struct error *error)
{
    int code = thread_start(&ingest->observer, "observe", consumer_observe, ingest);

    if (code != 0)
        return error_set_errno(error, code, "ingest: start a thread");
    code = thread_start(&ingest->thread, "consume", consumer_main, ingest);
    if (code == 0)
        return 0;
    pthread_mutex_lock(&ingest->lock);
    ingest->observer_stop = true;
    pthread_cond_signal(&ingest->wake);
    pthread_mutex_unlock(&ingest->lock);
    pthread_join(ingest->observer, NULL);
    return error_set_errno(error, code, "ingest: start a thread");
}

int ingest_start(const struct ingest_options *options, struct ingest **ingest, struct error *error)
{
    struct error own = {0};
    struct ingest *fresh = ingest_new(options);
    int code;

    if (!error)
        error = &own;
    consumer_control_load(fresh);
    code = list_topics(fresh, error);
    if (code == 0 && options->config->kafka_dead_letters)
        code = dead_letters_new(options->config, fresh->metrics, fresh->io, &fresh->letters, error);
    if (code == 0) {
        fresh->pool = decode_pool_new(options->config->decode_threads);
        fresh->appends = append_pool_new(fresh->io, consumer_wake, fresh);
        code = consumer_connect(fresh, &fresh->consumer, error);
    }
    if (code == 0)
        fresh->fetch.queue = rd_kafka_queue_get_consumer(fresh->consumer);
    if (code == 0)
        code = start_threads(fresh, error);
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
    atomic_store(&ingest->stop, true);
    pthread_join(ingest->thread, NULL);
    pthread_mutex_lock(&ingest->lock);
    ingest->observer_stop = true;
    pthread_cond_signal(&ingest->wake);
    pthread_mutex_unlock(&ingest->lock);
    pthread_join(ingest->observer, NULL);
    ingest_delete(ingest);
}

/* ---- what others see */

size_t ingest_status(struct ingest *ingest, struct arena *arena,
                     struct ingest_partition_status **partitions)
{
    struct ingest_partition_status *list;
    size_t count;

    pthread_mutex_lock(&ingest->lock);
    count = ingest->partition_count;
    list = arena_calloc(arena, count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const struct partition *partition = ingest->partitions[i];
        list[i] = (struct ingest_partition_status){
            .collection = partition->collection->name,
            .topic = arena_copy(arena, partition->topic, strlen(partition->topic)),
            .partition = partition->number,
            .next_offset = partition->shared.next_offset,
            .begin_offset = partition->shared.begin_offset,
            .end_offset = partition->shared.end_offset,
            .lag_records = partition_lag(partition),
            .last_timestamp_ms = partition->shared.last_timestamp_ms,
            .paused = partition->shared.paused,
        };
        memcpy(list[i].shard, partition->shard_name, sizeof(list[i].shard));
        memcpy(list[i].stopped, partition->shared.stopped, sizeof(list[i].stopped));
        memcpy(list[i].waiting, partition->shared.waiting, sizeof(list[i].waiting));
    }
    pthread_mutex_unlock(&ingest->lock);
    *partitions = list;
    return count;
}

/* A stopped or held partition, or one that waits for the clock, is caught up in the sense that
 * waiting will not help: it is for an operator, and /status and a metric show it; the others must
 * go on serving. */
static bool caught_up(const struct partition *partition)
{
    const struct partition_shared *shared = &partition->shared;

    if (shared->stopped[0] != '\0' || shared->clock_wait || partition_held(partition))
        return true;
    return shared->target_offset >= 0 &&
           (shared->next_offset >= shared->target_offset ||
            (shared->next_offset < 0 && shared->begin_offset >= shared->target_offset));
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

static bool why_not_ready(struct ingest *ingest, char *why, size_t why_bytes)
{
    if (ingest->failed[0] != '\0')
        return not_ready(why, why_bytes, "the Kafka consumer failed: %s", ingest->failed);
    if (!ingest->broker_answered)
        return not_ready(why, why_bytes, "no Kafka broker has answered yet at %s",
                         ingest->config->kafka_brokers);
    for (size_t i = 0; i < ingest->topic_count; i++)
        if (ingest->topics[i].missing)
            return not_ready(why, why_bytes, "topic %s does not exist yet", ingest->topics[i].name);
    if (!ingest->joined)
        return not_ready(why, why_bytes, "waiting for partitions of group %s",
                         ingest->config->kafka_group);
    for (size_t i = 0; i < ingest->partition_count; i++) {
        const struct partition *partition = ingest->partitions[i];
        const struct partition_shared *shared = &partition->shared;
        if (caught_up(partition))
            continue;
        if (shared->target_offset < 0)
            return not_ready(why, why_bytes, PARTITION_FORMAT ": its end is not known yet",
                             PARTITION_NAME(partition));
        return not_ready(why, why_bytes, PARTITION_FORMAT " is at offset %lld of %lld",
                         PARTITION_NAME(partition), (long long)shared->next_offset,
                         (long long)shared->target_offset);
    }
    return true;
}

bool ingest_settled(struct ingest *ingest)
{
    bool settled;

    pthread_mutex_lock(&ingest->lock);
    settled = !ingest->lost;
    pthread_mutex_unlock(&ingest->lock);
    return settled;
}

bool ingest_ready(struct ingest *ingest, char *why, size_t why_bytes)
{
    bool ready;

    pthread_mutex_lock(&ingest->lock);
    ready = why_not_ready(ingest, why, why_bytes);
    pthread_mutex_unlock(&ingest->lock);
    return ready;
}
