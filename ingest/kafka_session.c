#include "ingest/kafka_session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_membership.h"
#include "ingest/kafka_offsets.h"
#include "ingest/kafka_stats.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* A client that failed for good leaves its group within this time. */
#define LEAVE_NS (500 * NS_PER_MS)
/* The longest wait between two clients, when one after the other fails for good. */
#define RENEW_MAX_NS  (60 * NS_PER_S)
#define COMPLAIN_NS   (30 * NS_PER_S)
#define EMPTY_NS      (3 * NS_PER_S)
#define JOIN_LIMIT_NS NS_PER_S
/* Between two requests that keep librdkafka fetching. */
#define FETCH_WAKE_NS (10 * NS_PER_MS)

enum {
    QUERY_TIMEOUT_MS = 5000,
    PROBE_TIMEOUT_MS = 500,
    JOIN_POLL_MS = 100,
    FETCH_LOOK_EVERY = 64,     /* messages: the length of the queue is behind a lock */
    FETCH_WORTH_MESSAGES = 16, /* a queue that was never longer than this was never full */
};

struct kafka_session {
    struct kafka_session_options options;

    /* Replaced by the consumer thread under the write lock. */
    pthread_rwlock_t client_lock;
    rd_kafka_t *client;

    /* Consumer thread. */
    struct {
        size_t peak;       /* greatest length of the queue since the fetching was woken */
        unsigned unlooked; /* messages taken since its length was looked at */
        int64_t woken_ns;
    } fetch;
    bool ever_assigned;
    /* When an assignment of nothing came. The cooperative protocol gives partitions only in a second
     * round, after whoever had them gave them back: a first round with nothing says nothing yet. A
     * member that is given nothing for EMPTY_NS is one too many. 0: it was not. Under `lock`. */
    int64_t empty_since_ns;
    bool no_commit;      /* no broker answers while the session ends */
    bool silence_logged; /* a line says that no broker answers */
    bool given_up;       /* this process is not to be a member any more */
    bool is_left;        /* a client that did not end may still call back */
    bool failed;         /* the client did for good: a new one has to take over */
    int64_t failed_ns;
    int64_t renewed_ns; /* when a new one last took over */
    int64_t renew_wait_ns;
    int64_t complained_ns; /* when a line last said that no broker answers */
    struct logger_limit complaints;

    /* Any thread. */
    pthread_mutex_t lock;
    pthread_cond_t awake;
    bool woken;
    rd_kafka_queue_t *queue; /* of fetched messages */
    struct kafka_view view;
};

static int64_t now_of(const struct kafka_session *session)
{
    return io_monotonic_ns(session->options.io);
}

/* What is known, and who is woken. */

struct kafka_view kafka_session_view(struct kafka_session *session)
{
    struct kafka_view view;

    pthread_mutex_lock(&session->lock);
    if (session->empty_since_ns != 0 && now_of(session) - session->empty_since_ns >= EMPTY_NS) {
        session->empty_since_ns = 0;
        session->view.joined = true;
        session->view.lost = false;
    }
    view = session->view;
    pthread_mutex_unlock(&session->lock);
    return view;
}

void kafka_session_heard(struct kafka_session *session, bool answered)
{
    pthread_mutex_lock(&session->lock);
    session->view.answered |= answered;
    if (answered)
        session->view.silent_ns = 0;
    else if (session->view.silent_ns == 0)
        session->view.silent_ns = now_of(session);
    pthread_mutex_unlock(&session->lock);
}

void kafka_session_set_lost(struct kafka_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->view.lost = true;
    pthread_mutex_unlock(&session->lock);
}

void kafka_session_wake(struct kafka_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->woken = true;
    pthread_cond_signal(&session->awake);
    if (session->queue)
        rd_kafka_queue_yield(session->queue);
    pthread_mutex_unlock(&session->lock);
}

void kafka_session_sleep(struct kafka_session *session, int64_t limit_ns)
{
    int64_t deadline_ns = thread_deadline(limit_ns);

    pthread_mutex_lock(&session->lock);
    while (!session->woken && thread_condition_wait(&session->awake, &session->lock, deadline_ns))
        ;
    session->woken = false;
    pthread_mutex_unlock(&session->lock);
}

rd_kafka_t *kafka_session_borrow(struct kafka_session *session)
{
    pthread_rwlock_rdlock(&session->client_lock);
    return session->client;
}

void kafka_session_return(struct kafka_session *session)
{
    pthread_rwlock_unlock(&session->client_lock);
}

/* Callbacks of librdkafka, all inside a poll. */

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct kafka_session *session = opaque;

    switch (code) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        kafka_session_heard(session, false);
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL: /* at each attempt to connect */
        (void)logger_write_limited(&session->complaints, LOGGER_ERROR, "ingest", "kafka_error",
                                   "kafka: %s", reason);
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
        rd_kafka_yield(client); /* kafka_session_maintain looks at it */
        break;
    default:
        log_debug("ingest", "kafka: %s", reason);
        break;
    }
}

static int on_statistics(rd_kafka_t *client, char *json, size_t json_bytes, void *opaque)
{
    struct kafka_session *session = opaque;

    (void)client;
    kafka_stats_publish(session->options.metrics, "consumer", json, json_bytes);
    return 0; /* librdkafka frees the text */
}

static void report(rd_kafka_error_t *error, const char *what)
{
    if (!error)
        return;
    log_error("ingest", "%s: %s", what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

static void on_assigned(struct kafka_session *session, rd_kafka_topic_partition_list_t *list)
{
    const struct kafka_session_events *events = &session->options.events;

    events->assigned(events->context, list, kafka_membership_generation(session->client));
    report(rd_kafka_incremental_assign(session->client, list), "cannot take partitions over");
    session->ever_assigned = true;
    pthread_mutex_lock(&session->lock);
    if (list->cnt > 0) {
        session->empty_since_ns = 0;
        session->view.joined = true;
        session->view.lost = false;
    } else if (!session->view.joined || session->view.lost) {
        session->empty_since_ns = now_of(session);
    }
    pthread_mutex_unlock(&session->lock);
    events->ask_leaders(events->context);
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t event,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_session *session = opaque;
    const struct kafka_session_events *events = &session->options.events;
    bool failed = rd_kafka_fatal_error(client, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;

    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && failed) {
        report(rd_kafka_incremental_assign(client, list),
               "cannot take partitions over"); /* nothing is read */
    } else if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assigned(session, list);
    } else {
        if (event != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
            logger_write_event(LOGGER_ERROR, "ingest", "rebalance_failed", "rebalance failed: %s",
                               rd_kafka_err2str(event));
        events->revoked(events->context, list, failed || rd_kafka_assignment_lost(client) != 0);
        report(rd_kafka_incremental_unassign(client, list), "cannot give partitions back");
    }
    /* A collection that an operator paused must be paused before its first message comes, and a
     * partition cannot be paused in here: the poll ends now, whatever else is there. This comes
     * last, because each call that waits for the library takes the word back. */
    rd_kafka_yield(client);
}

/* The client. */

static rd_kafka_resp_err_t subscribe(rd_kafka_t *client, const struct topics *topics)
{
    const size_t count = topics->count;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < count; i++)
        if (!topics->list[i].removed)
            rd_kafka_topic_partition_list_add(list, topics->list[i].name, RD_KAFKA_PARTITION_UA);
    /* A service that waits for its first collection reads nothing. */
    code = list->cnt > 0 ? rd_kafka_subscribe(client, list) : rd_kafka_unsubscribe(client);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

int kafka_session_subscribe(struct kafka_session *session, struct error *error)
{
    rd_kafka_t *client = kafka_session_borrow(session);
    rd_kafka_resp_err_t code = subscribe(client, session->options.topics);

    kafka_session_return(session);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : error_set(error, ERROR_PEER, "kafka: subscribe: %s", rd_kafka_err2str(code));
}

static int connect_client(struct kafka_session *session, rd_kafka_t **client, struct error *error)
{
    rd_kafka_conf_t *conf;
    rd_kafka_resp_err_t code;

    if (kafka_conf_new(session->options.config, KAFKA_CONSUMER, session, &conf, error) != 0)
        return error->code;
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_statistics);
    if (kafka_client_new(RD_KAFKA_CONSUMER, conf, client, error) != 0)
        return error->code;
    (void)rd_kafka_poll_set_consumer(*client);
    code = subscribe(*client, session->options.topics);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    (void)kafka_client_end(*client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    *client = NULL;
    return error_set(error, ERROR_INVALID, "kafka: subscribe: %s", rd_kafka_err2str(code));
}

/* The group has answered to our joining and not given us anything yet, not even an assignment of
 * nothing. */
static bool half_joined(const struct kafka_session *session)
{
    const char *protocol = rd_kafka_rebalance_protocol(session->client);

    return !session->ever_assigned && protocol && strcmp(protocol, "NONE") != 0;
}

static void set_queue(struct kafka_session *session, rd_kafka_queue_t *queue)
{
    rd_kafka_queue_t *old;

    pthread_mutex_lock(&session->lock);
    old = session->queue;
    session->queue = queue;
    pthread_mutex_unlock(&session->lock);
    if (old)
        rd_kafka_queue_destroy(old);
}

/* Without closing the old one, which is left behind when it cannot be destroyed. */
static void replace_client(struct kafka_session *session, rd_kafka_t *next)
{
    pthread_rwlock_wrlock(&session->client_lock);
    set_queue(session, next ? rd_kafka_queue_get_consumer(next) : NULL);
    if (session->client && half_joined(session))
        log_warning("ingest", "the Kafka client is not closed: its group has not answered");
    else if (session->client &&
             !kafka_client_end(session->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE))
        session->is_left = true;
    session->client = next;
    pthread_rwlock_unlock(&session->client_lock);
}

int kafka_session_new(const struct kafka_session_options *options, struct kafka_session **session,
                      struct error *error)
{
    struct kafka_session *fresh = memory_new(1, sizeof(*fresh));
    rd_kafka_t *client = NULL;
    int code;

    fresh->options = *options;
    fresh->complained_ns = INT64_MIN / 2;
    fresh->complaints.interval_ns = COMPLAIN_NS;
    pthread_rwlock_init(&fresh->client_lock, NULL);
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->awake);
    code = connect_client(fresh, &client, error);
    if (code != 0) {
        kafka_session_delete(fresh);
        return code;
    }
    replace_client(fresh, client);
    *session = fresh;
    return 0;
}

void kafka_session_delete(struct kafka_session *session)
{
    if (!session)
        return;
    replace_client(session, NULL);
    if (session->is_left)
        return; /* it is what the callbacks of that client use */
    pthread_cond_destroy(&session->awake);
    pthread_mutex_destroy(&session->lock);
    pthread_rwlock_destroy(&session->client_lock);
    free(session);
}

/* Failure and renewal. */

static void set_failed(struct kafka_session *session, const char *text)
{
    pthread_mutex_lock(&session->lock);
    snprintf(session->view.failed, sizeof(session->view.failed), "%s", text);
    if (*text == '\0')
        session->view.joined = false;
    pthread_mutex_unlock(&session->lock);
}

/* librdkafka 2.0.2 tells a fatal error through the callback, as a message among others or, after a
 * failed commit, in its log only: so the client is asked. The usual one: a static member that was
 * away for longer than its session has joined anew, and a commit that was still under way under its
 * old name is taken for that of another process.
 *
 * The client goes on to heartbeat, to join and to take partitions, and one that waits for our
 * answer to a rebalance cannot be destroyed any more: it leaves the group first, while it is still
 * served. */
static void look_for_failure(struct kafka_session *session)
{
    const struct kafka_session_events *events = &session->options.events;
    char text[sizeof(session->view.failed)] = "";

    if (session->failed ||
        rd_kafka_fatal_error(session->client, text, sizeof(text)) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    logger_write_event(LOGGER_ERROR, "ingest", "kafka_fatal",
                       "fatal error in the Kafka consumer: %s. Replacing it", text);
    session->failed = true;
    session->failed_ns = now_of(session);
    set_failed(session, text);
    events->lost_all(events->context);
    (void)rd_kafka_unsubscribe(session->client);
}

/* A client with a fatal error does nothing any more for us: a new one takes over. When another
 * process really has our name, the two would throw each other out for ever: each wait is twice as
 * long as the one before. What was not durable is read again. */
static void renew(struct kafka_session *session, int64_t now_ns)
{
    rd_kafka_t *client = NULL;
    struct error error = {0};

    if (now_ns - session->failed_ns < LEAVE_NS ||
        now_ns - session->renewed_ns < session->renew_wait_ns)
        return;
    if (now_ns - session->renewed_ns > RENEW_MAX_NS)
        session->renew_wait_ns = 0;
    session->renewed_ns = now_ns;
    session->renew_wait_ns = session->renew_wait_ns ? 2 * session->renew_wait_ns : NS_PER_S;
    if (session->renew_wait_ns > RENEW_MAX_NS)
        session->renew_wait_ns = RENEW_MAX_NS;
    if (connect_client(session, &client, &error) != 0) {
        log_error("ingest", "%s", error.text);
        return;
    }
    replace_client(session, client);
    session->ever_assigned = session->failed = false;
    set_failed(session, "");
}

static void check_brokers(struct kafka_session *session, int64_t now_ns)
{
    int64_t silent_ns = kafka_session_view(session).silent_ns;

    if (silent_ns == 0 && session->silence_logged)
        logger_write_event(LOGGER_INFO, "ingest", "kafka_connected", "Kafka answers again");
    session->silence_logged &= silent_ns != 0;
    if (silent_ns == 0 || now_ns - session->complained_ns < COMPLAIN_NS)
        return;
    session->complained_ns = now_ns;
    session->silence_logged = true;
    logger_write_event(LOGGER_WARNING, "ingest", "kafka_unreachable",
                       "no Kafka broker answers at %s; trying again until one does",
                       session->options.config->kafka_brokers);
}

int64_t kafka_session_maintain(struct kafka_session *session)
{
    int64_t now_ns = now_of(session);

    check_brokers(session, now_ns);
    look_for_failure(session);
    if (session->failed && !session->given_up)
        renew(session, now_ns);
    return now_ns + (session->failed ? LEAVE_NS : NS_PER_S);
}

void kafka_session_take_error(struct kafka_session *session, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    int64_t now_ns = now_of(session);

    switch (message->err) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        if (topics_learn_missing(session->options.topics, topic, now_ns, COMPLAIN_NS))
            log_warning("ingest", "topic %s does not exist yet; waiting for it", topic);
        return;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        log_error("ingest", "kafka: %s", rd_kafka_message_errstr(message));
        return;
    default:
        break;
    }
    (void)logger_write_limited(&session->complaints, LOGGER_WARNING, "ingest", "kafka_error",
                               "kafka: %s%s%s", topic, *topic ? ": " : "",
                               rd_kafka_message_errstr(message));
}

/* Reading. */

/* Keeps librdkafka fetching in a backlog. When its queue is full (queued.max.messages.kbytes),
 * librdkafka up to 2.1 looks again only after a second, unless something else wakes the broker's
 * thread: a reader that empties the queue faster stands still for the rest of that second
 * (librdkafka issue 2879; 2.2 has fetch.queue.backoff.ms). Any request to the partition's leader
 * wakes that thread, and the observer asks the leaders for offsets anyway: so it is told to ask as
 * soon as half of what was queued has been read. */
static void keep_fetching(struct kafka_session *session)
{
    const struct kafka_session_events *events = &session->options.events;
    int64_t now_ns;
    size_t length;

    if (++session->fetch.unlooked < FETCH_LOOK_EVERY)
        return;
    session->fetch.unlooked = 0;
    length = rd_kafka_queue_length(session->queue);
    if (length > session->fetch.peak)
        session->fetch.peak = length;
    if (session->fetch.peak < FETCH_WORTH_MESSAGES || length > session->fetch.peak / 2)
        return;
    now_ns = now_of(session);
    if (now_ns - session->fetch.woken_ns < FETCH_WAKE_NS)
        return;
    session->fetch.woken_ns = now_ns;
    session->fetch.peak = length;
    events->ask_leaders(events->context);
}

rd_kafka_message_t *kafka_session_poll(struct kafka_session *session, int timeout_ms)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(session->client, timeout_ms);

    if (message)
        keep_fetching(session);
    return message;
}

rd_kafka_topic_partition_list_t *kafka_session_assignment(struct kafka_session *session)
{
    rd_kafka_topic_partition_list_t *list = NULL;

    return rd_kafka_assignment(session->client, &list) == RD_KAFKA_RESP_ERR_NO_ERROR
               ? list
               : rd_kafka_topic_partition_list_new(0);
}

void kafka_session_pause_all(struct kafka_session *session, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code = rd_kafka_pause_partitions(session->client, list);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_warning("ingest", "librdkafka cannot pause %d partitions: %s", list->cnt,
                    rd_kafka_err2str(code));
}

void kafka_session_set_paused(struct kafka_session *session, const struct topic_partition *name,
                              bool pause)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(list, name->topic, name->number);
    code = pause ? rd_kafka_pause_partitions(session->client, list)
                 : rd_kafka_resume_partitions(session->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_warning("ingest", PARTITION_FORMAT ": librdkafka cannot pause or resume it: %s",
                    PARTITION_NAME(name), rd_kafka_err2str(code));
}

int kafka_session_read_from(struct kafka_session *session, const struct topic_partition *name,
                            int64_t offset, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_error_t *failed;
    int code = 0;

    rd_kafka_topic_partition_list_add(list, name->topic, name->number)->offset = offset;
    failed = rd_kafka_incremental_unassign(session->client, list);
    if (!failed)
        failed = rd_kafka_incremental_assign(session->client, list);
    if (failed) {
        code = error_set(error, ERROR_PEER, "kafka: %s", rd_kafka_error_string(failed));
        rd_kafka_error_destroy(failed);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

int kafka_session_query_offsets(struct kafka_session *session, const struct topic_partition *name,
                                int64_t *begin, int64_t *end, int timeout_ms, struct error *error)
{
    rd_kafka_resp_err_t code =
        kafka_query_offsets(session->client, name->topic, name->number, begin, end, timeout_ms);

    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : error_set(error, ERROR_PEER, "kafka: %s", rd_kafka_err2str(code));
}

void kafka_session_commit(struct kafka_session *session,
                          const rd_kafka_topic_partition_list_t *list, int wait_ms)
{
    rd_kafka_queue_t *queue;

    /* A failed commit is no failure: our own offsets count. The next one tells more. */
    if (list->cnt == 0 || session->no_commit)
        return;
    if (wait_ms == 0) {
        (void)rd_kafka_commit(session->client, list, 1);
        return;
    }
    queue = rd_kafka_queue_new(session->client);
    if (rd_kafka_commit_queue(session->client, list, queue, NULL, NULL) ==
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait_ms);
        if (event)
            rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

/* Where a replay begins. When the event time is the Kafka timestamp, records older than the TTL
 * have expired whatever they say, and the broker finds the first record that is not older: it
 * compares every timestamp, so that order does not matter. What lies before it are expired versions
 * and deletes of such versions. When the event time is a field of the record, its Kafka timestamp
 * says nothing about it: a record may be sent long before or after the time it carries. Then,
 * without a TTL, and when the broker does not answer, the replay starts at the beginning, and what
 * has expired is dropped on arrival. */

static bool can_skip_expired(const struct config_collection *collection)
{
    /* Who is late depends on all records before. */
    return collection->ttl_ms > 0 && collection->late_policy == CONFIG_LATE_ACCEPT &&
           (!collection->event_time_field || collection->format == CONFIG_FORMAT_RAW);
}

static bool find_time(struct kafka_session *session, const struct topic_partition *name,
                      int64_t from_ms, int64_t *offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *asked =
        rd_kafka_topic_partition_list_add(list, name->topic, name->number);
    rd_kafka_resp_err_t code;

    asked->offset = from_ms;
    code = rd_kafka_offsets_for_times(session->client, list, QUERY_TIMEOUT_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = asked->err;
    *offset = asked->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    log_warning("ingest",
                PARTITION_FORMAT ": cannot find the first unexpired offset (%s), reading "
                                 "from the beginning",
                PARTITION_NAME(name), rd_kafka_err2str(code));
    return false;
}

int64_t kafka_session_replay_start(struct kafka_session *session,
                                   const struct topic_partition *name)
{
    /* What lives now was written within the TTL, and decided against what lived then. */
    int64_t from_ms = io_wall_ms(session->options.io) - 2 * name->collection->ttl_ms;
    char text[TEXT_TIME_BYTES];
    int64_t begin, end, offset;

    if (!can_skip_expired(name->collection) || from_ms <= 0)
        return RD_KAFKA_OFFSET_BEGINNING;
    if (kafka_query_offsets(session->client, name->topic, name->number, &begin, &end,
                            QUERY_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        end <= begin || !find_time(session, name, from_ms, &offset))
        return RD_KAFKA_OFFSET_BEGINNING;
    /* When every record has expired, the end as it was before that was found out: a record that
     * comes in between is not passed over. */
    if (offset < 0)
        offset = end;
    if (offset > begin)
        log_info("ingest",
                 PARTITION_FORMAT " begins at offset %lld of %lld to %lld: earlier records were "
                                  "written before %s and have expired",
                 PARTITION_NAME(name), (long long)offset, (long long)begin, (long long)end,
                 text_format_time(from_ms, text));
    return offset;
}

/* Membership. */

static void on_confirmed(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *offsets, void *question)
{
    struct kafka_session *session = rd_kafka_opaque(client);
    const struct kafka_session_events *events = &session->options.events;

    if (kafka_membership_confirmed(code, offsets))
        events->confirmed(events->context, (uintptr_t)question);
}

void kafka_session_confirm(struct kafka_session *session,
                           const rd_kafka_topic_partition_list_t *list, uint64_t question)
{
    kafka_membership_ask(session->client, list, on_confirmed, (uintptr_t)question);
}

int64_t kafka_session_pause_limit_ns(struct kafka_session *session)
{
    return kafka_membership_pause_limit_ns(session->client);
}

/* Leaving. */

/* A commit that finds no coordinator holds the closing up for a whole session timeout. */
static bool broker_answers(struct kafka_session *session)
{
    const struct rd_kafka_metadata *metadata;

    if (rd_kafka_metadata(session->client, 0, NULL, &metadata, PROBE_TIMEOUT_MS) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* librdkafka 2.0.2 cannot be destroyed in the middle of joining: without the first assignment it
 * aborts (its issue 4312), and with one that nobody takes it waits for ever. */
static void finish_join(struct kafka_session *session)
{
    int64_t end_ns = now_of(session) + JOIN_LIMIT_NS;

    while (half_joined(session) && now_of(session) < end_ns) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(session->client, JOIN_POLL_MS);
        if (message)
            rd_kafka_message_destroy(message);
    }
}

/* A static member that closes keeps its partitions until its session ends, for its next start. One
 * that unsubscribes sends LeaveGroup as any other (librdkafka 2.0.2, rd_kafka_cgrp_leave_maybe). */
void kafka_session_give_up(struct kafka_session *session)
{
    rd_kafka_resp_err_t code = rd_kafka_unsubscribe(session->client);

    session->given_up = true;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_warning("ingest", "cannot leave the consumer group: %s", rd_kafka_err2str(code));
}

/* Closing gives every partition back through on_rebalance. A consumer that was never assigned
 * anything is only destroyed: closing it may crash librdkafka, and the group forgets it after its
 * session timeout. An answer to its joining that comes from here on is not looked at any more. */
void kafka_session_leave(struct kafka_session *session)
{
    const struct kafka_session_events *events = &session->options.events;
    rd_kafka_resp_err_t code;

    session->no_commit = !broker_answers(session);
    if (!session->no_commit)
        finish_join(session);
    set_queue(session, NULL); /* a wake would end the closing before all is given back */
    if (session->ever_assigned)
        code = rd_kafka_consumer_close(session->client);
    else
        code = rd_kafka_unsubscribe(session->client);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_warning("ingest", "cannot leave the consumer group: %s", rd_kafka_err2str(code));
    events->lost_all(events->context);
}
