#include "ingest/observer.h"

#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_offsets.h"
#include "store/registry.h"

enum {
    QUERY_TIMEOUT_MS = 2000,
    QUERY_AGAIN_TIMEOUT_MS = 200,
    METADATA_EVERY_S = 5,
    LETTER_PARTITIONS = 1,
    CREATE_TIMEOUT_MS = 5000,
};

struct observer {
    const struct config *config;
    struct topics *topics;
    struct coverage *coverage;
    struct partition_list *partitions;
    struct io *io;
    struct kafka_session *session;
    pthread_t thread;
    bool running;
    int64_t metadata_ns; /* when metadata last came; the thread's own */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t asked;
    bool stop, now, wake;
};

static void take_offsets(struct observer *observer, rd_kafka_t *client,
                         const struct kafka_offsets *offsets)
{
    int64_t high_watermark = kafka_high_watermark(client, offsets->topic, offsets->partition);
    int64_t now_ns = io_monotonic_ns(observer->io);
    struct partition *partition;

    if (offsets->code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    pthread_mutex_lock(&observer->partitions->lock);
    partition = partition_find(observer->partitions, offsets->topic, offsets->partition);
    if (partition) {
        partition->shared.begin_offset = offsets->begin;
        partition->shared.end_offset = offsets->end;
        partition->shared.end_seen_ns = now_ns;
        partition->shared.high_watermark = high_watermark;
        if (partition->shared.target_offset < 0)
            partition->shared.target_offset = offsets->end;
        partition_tell_behind(partition);
        store_registry_note_end(partition->context->registry, partition->name.collection->name,
                                partition->name.shard, offsets->end);
    }
    pthread_mutex_unlock(&observer->partitions->lock);
}

/* Copied, because partitions may go while the broker answers; names of topics live on. */
static struct kafka_offsets *questions(struct observer *observer, size_t *count)
{
    const struct partition_list *list = observer->partitions;
    struct kafka_offsets *questions;

    pthread_mutex_lock(&observer->partitions->lock);
    *count = list->count;
    questions = memory_new(*count + 1, sizeof(*questions));
    for (size_t i = 0; i < *count; i++)
        questions[i] = (struct kafka_offsets){.topic = list->items[i]->name.topic,
                                              .partition = list->items[i]->name.number};
    pthread_mutex_unlock(&observer->partitions->lock);
    return questions;
}

/* Which topics exist, with how many partitions, and whether a broker answers at all. */
static bool ask_topics(struct observer *observer, rd_kafka_t *client)
{
    const struct rd_kafka_metadata *metadata;

    if (rd_kafka_metadata(client, 1, NULL, &metadata, QUERY_TIMEOUT_MS) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < metadata->topic_cnt; i++)
        topics_learn(observer->topics, metadata->topics[i].topic,
                     metadata->topics[i].partition_cnt);
    rd_kafka_metadata_destroy(metadata);
    observer->metadata_ns = io_monotonic_ns(observer->io);
    coverage_update(observer->coverage);
    return true;
}

static bool stopping(struct observer *observer)
{
    bool stop;

    pthread_mutex_lock(&observer->lock);
    stop = observer->stop;
    pthread_mutex_unlock(&observer->lock);
    return stop;
}

/* One request a leader when all answer. One broker may be away while the others answer, or all of
 * them: then each partition is asked about for itself. */
static bool ask_offsets(struct observer *observer, rd_kafka_t *client)
{
    int timeout_ms = QUERY_TIMEOUT_MS;
    bool answered = false;
    size_t count;
    struct kafka_offsets *list = questions(observer, &count);
    bool all = kafka_query_all_offsets(client, list, count, timeout_ms);

    for (size_t i = 0; i < count && !stopping(observer); i++) {
        struct kafka_offsets *each = &list[i];
        if (!all)
            each->code = kafka_query_offsets(client, each->topic, each->partition, &each->begin,
                                             &each->end, timeout_ms);
        if (each->code == RD_KAFKA_RESP_ERR__TIMED_OUT ||
            each->code == RD_KAFKA_RESP_ERR__TRANSPORT)
            timeout_ms = QUERY_AGAIN_TIMEOUT_MS;
        else
            answered = true;
        take_offsets(observer, client, each);
    }
    free(list);
    return answered;
}

static void refresh_metrics(struct observer *observer)
{
    int64_t wall_ms = io_wall_ms(observer->io);

    pthread_mutex_lock(&observer->partitions->lock);
    for (size_t i = 0; i < observer->partitions->count; i++) {
        const struct partition *partition = observer->partitions->items[i];
        const struct partition_shared *shared = &partition->shared;
        const struct partition_metrics *series = &partition->metrics;
        int64_t lag = partition_lag(partition);
        int64_t newest_ms = shared->last_timestamp_ms;
        if (lag < 0)
            continue;
        metric_set(series->lag_records, (double)lag);
        metric_set(series->next_offset, (double)shared->next_offset);
        metric_set(series->begin_offset, (double)shared->begin_offset);
        metric_set(series->end_offset, (double)shared->end_offset);
        metric_set(series->lag_seconds, lag > 0 && newest_ms > 0 && wall_ms > newest_ms
                                            ? (double)(wall_ms - newest_ms) / 1e3
                                            : 0);
    }
    pthread_mutex_unlock(&observer->partitions->lock);
}

/* Whether a broker answered. */
static bool observe(struct observer *observer, rd_kafka_t *client)
{
    bool answered = ask_offsets(observer, client);

    if (!answered || !topics_all_known(observer->topics) ||
        io_monotonic_ns(observer->io) - observer->metadata_ns >= METADATA_EVERY_S * NS_PER_S)
        answered |= ask_topics(observer, client);
    kafka_session_heard(observer->session, answered);
    refresh_metrics(observer);
    return answered;
}

/* Done once a broker has answered, whatever the answer: who may not create topics creates it by
 * hand, and until then partitions with bad records wait. */
static bool create_letter_topic(struct observer *observer, rd_kafka_t *client)
{
    /* A letter is larger than its record by the headers. */
    static const struct config_pair settings[] = {{"max.message.bytes", "16777216"}};
    struct error error = {0};
    int code = kafka_create_topic(client, observer->config->kafka_dead_letters, LETTER_PARTITIONS,
                                  0, settings, 1, CREATE_TIMEOUT_MS, NULL, &error);

    if (code == ERROR_TIMEOUT)
        return false;
    if (code != 0 && !stopping(observer))
        log_warning(
            "ingest",
            "cannot create the dead-letter %s. Create it, or partitions wait at bad records",
            error.text);
    return true;
}

void observer_ask(struct observer *observer, bool wake)
{
    pthread_mutex_lock(&observer->lock);
    observer->now = true;
    observer->wake |= wake;
    pthread_cond_signal(&observer->asked);
    pthread_mutex_unlock(&observer->lock);
}

/* Sleeps for a second or until somebody asks. False when the observer is to end. */
static bool sleep_a_second(struct observer *observer, bool *wake)
{
    int64_t deadline_ns = thread_deadline(NS_PER_S);
    bool more;

    pthread_mutex_lock(&observer->lock);
    while (!observer->stop && !observer->now &&
           thread_condition_wait(&observer->asked, &observer->lock, deadline_ns))
        ;
    observer->now = false;
    *wake = observer->wake;
    observer->wake = false;
    more = !observer->stop;
    pthread_mutex_unlock(&observer->lock);
    return more;
}

static void *run(void *context)
{
    struct observer *observer = context;
    bool created = observer->config->kafka_dead_letters == NULL;
    bool wake = false;

    do {
        rd_kafka_t *client = kafka_session_borrow(observer->session);
        if (observe(observer, client) && !created)
            created = create_letter_topic(observer, client);
        kafka_session_return(observer->session);
        if (wake)
            kafka_session_wake(observer->session);
    } while (sleep_a_second(observer, &wake));
    return NULL;
}

struct observer *observer_new(const struct config *config, struct topics *topics,
                              struct coverage *coverage, struct partition_list *partitions,
                              struct io *io)
{
    struct observer *observer = memory_new(1, sizeof(*observer));

    observer->config = config;
    observer->topics = topics;
    observer->coverage = coverage;
    observer->partitions = partitions;
    observer->io = io;
    pthread_mutex_init(&observer->lock, NULL);
    thread_condition_create(&observer->asked);
    return observer;
}

int observer_run(struct observer *observer, struct kafka_session *session, struct error *error)
{
    int code;

    observer->session = session;
    code = thread_start(&observer->thread, "observe", run, observer);
    observer->running = code == 0;
    return code == 0 ? 0 : error_set_errno(error, code, "ingest: start a thread");
}

void observer_delete(struct observer *observer)
{
    if (!observer)
        return;
    pthread_mutex_lock(&observer->lock);
    observer->stop = true;
    pthread_cond_signal(&observer->asked);
    pthread_mutex_unlock(&observer->lock);
    if (observer->running)
        pthread_join(observer->thread, NULL);
    pthread_cond_destroy(&observer->asked);
    pthread_mutex_destroy(&observer->lock);
    free(observer);
}
