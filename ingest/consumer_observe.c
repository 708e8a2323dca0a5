/* Asks the broker where each partition begins and ends, once a second, on a thread of its own: a
 * query may take as long as a broker is away, and the poll must never wait for it. Under
 * read_committed the end is the last stable offset, which is what can be read. */
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "ingest/consumer.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_offsets.h"

enum {
    QUERY_TIMEOUT_MS = 2000,
    QUERY_AGAIN_TIMEOUT_MS = 200,
    LETTER_PARTITIONS = 1,
    CREATE_TIMEOUT_MS = 5000
};

/* A partition to be asked about: copied, because partitions may go while the broker answers. */
struct question {
    char *topic;
    int32_t number;
};

static struct question *questions(struct ingest *ingest, size_t *count)
{
    struct question *list;

    pthread_mutex_lock(&ingest->lock);
    *count = ingest->partition_count;
    list = calloc(*count + 1, sizeof(*list));
    if (!list)
        abort();
    for (size_t i = 0; i < *count; i++) {
        list[i].topic = strdup(ingest->partitions[i]->topic);
        list[i].number = ingest->partitions[i]->number;
        if (!list[i].topic)
            abort();
    }
    pthread_mutex_unlock(&ingest->lock);
    return list;
}

static void answer(struct ingest *ingest, const struct question *question, int64_t begin,
                   int64_t end)
{
    int64_t now_ns = io_monotonic_ns(ingest->io);

    pthread_mutex_lock(&ingest->lock);
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        if (partition->number != question->number || strcmp(partition->topic, question->topic) != 0)
            continue;
        partition->shared.begin_offset = begin;
        partition->shared.end_offset = end;
        partition->shared.end_seen_ns = now_ns;
        if (partition->shared.target_offset < 0)
            partition->shared.target_offset = end;
    }
    ingest->broker_answered = true;
    ingest->broker_silent_ns = 0;
    pthread_mutex_unlock(&ingest->lock);
}

static void mark_known(struct ingest *ingest, const rd_kafka_metadata_t *metadata)
{
    pthread_mutex_lock(&ingest->lock);
    for (int i = 0; i < metadata->topic_cnt; i++)
        for (size_t j = 0; j < ingest->topic_count; j++)
            if (strcmp(metadata->topics[i].topic, ingest->topics[j].name) == 0)
                ingest->topics[j].missing = metadata->topics[i].partition_cnt == 0;
    ingest->broker_answered = true;
    ingest->broker_silent_ns = 0;
    pthread_mutex_unlock(&ingest->lock);
}

/* Which of our topics exist, and whether a broker answers at all. */
static bool ask_topics(struct ingest *ingest)
{
    const struct rd_kafka_metadata *metadata;

    if (rd_kafka_metadata(ingest->consumer, 1, NULL, &metadata, QUERY_TIMEOUT_MS) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    mark_known(ingest, metadata);
    rd_kafka_metadata_destroy(metadata);
    return true;
}

static bool any_topic_missing(struct ingest *ingest)
{
    bool missing = false;

    pthread_mutex_lock(&ingest->lock);
    for (size_t i = 0; i < ingest->topic_count; i++)
        missing |= ingest->topics[i].missing;
    pthread_mutex_unlock(&ingest->lock);
    return missing;
}

static void silent(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
    if (ingest->broker_silent_ns == 0)
        ingest->broker_silent_ns = io_monotonic_ns(ingest->io);
    pthread_mutex_unlock(&ingest->lock);
}

static bool stopping(struct ingest *ingest)
{
    bool stop;

    pthread_mutex_lock(&ingest->lock);
    stop = ingest->observer_stop;
    pthread_mutex_unlock(&ingest->lock);
    return stop;
}

/* Whether a broker answered. */
static bool observe(struct ingest *ingest)
{
    size_t count;
    struct question *list = questions(ingest, &count);
    bool answered = count == 0;
    int timeout_ms = QUERY_TIMEOUT_MS;

    if (count == 0 || any_topic_missing(ingest))
        answered = ask_topics(ingest);
    for (size_t i = 0; i < count && !stopping(ingest); i++) {
        int64_t begin = -1;
        int64_t end = -1;
        rd_kafka_resp_err_t code = kafka_query_offsets(ingest->consumer, list[i].topic,
                                                       list[i].number, &begin, &end, timeout_ms);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            answer(ingest, &list[i], begin, end);
        /* One broker may be away while the others answer, or all of them. */
        if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT)
            timeout_ms = QUERY_AGAIN_TIMEOUT_MS;
        else
            answered = true;
    }
    if (!answered)
        silent(ingest);
    for (size_t i = 0; i < count; i++)
        free(list[i].topic);
    free(list);
    consumer_metrics_refresh(ingest);
    return answered;
}

/* Done once a broker has answered, whatever the answer: who may not create topics creates it by
 * hand, and until then partitions with bad records wait. */
static bool create_letter_topic(struct ingest *ingest)
{
    /* A letter is larger than its record by the headers. */
    static const struct config_pair settings[] = {{"max.message.bytes", "16777216"}};
    const char *topic = ingest->config->kafka_dead_letters;
    struct error error = {0};
    int code = kafka_create_topic(ingest->consumer, topic, LETTER_PARTITIONS, 0, settings, 1,
                                  CREATE_TIMEOUT_MS, &error);

    if (code == ERROR_TIMEOUT)
        return false;
    if (code != 0 && !atomic_load(&ingest->stop))
        log_warning("ingest", "dead-letter %s (create it yourself, or bad records will wait)",
                    error.text);
    return true;
}

void consumer_observe_soon(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
    ingest->observe_now = true;
    pthread_cond_signal(&ingest->wake);
    pthread_mutex_unlock(&ingest->lock);
}

/* False when the observer is to end. */
static bool sleep_a_second(struct ingest *ingest)
{
    struct timespec until;
    bool more;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&ingest->lock);
    while (!ingest->observer_stop && !ingest->observe_now)
        if (pthread_cond_timedwait(&ingest->wake, &ingest->lock, &until) != 0)
            break;
    ingest->observe_now = false;
    more = !ingest->observer_stop;
    pthread_mutex_unlock(&ingest->lock);
    return more;
}

void *consumer_observe(void *context)
{
    struct ingest *ingest = context;
    bool created = ingest->letters == NULL;

    do {
        pthread_rwlock_rdlock(&ingest->client_lock);
        if (observe(ingest) && !created)
            created = create_letter_topic(ingest);
        pthread_rwlock_unlock(&ingest->client_lock);
    } while (sleep_a_second(ingest));
    return NULL;
}
