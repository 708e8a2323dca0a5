/* The consumer thread. One message a poll: batches of librdkafka 2.0 can skip offsets around pause
 * and rebalance. A group goes to the store as soon as the one before is durable and nothing more
 * lies ready to be read, so that a lone record is searchable at once and a flood shares its syncs.
 *
 * A group that cannot be appended is tried again while other partitions go on. Once the next one is
 * full too the whole loop stalls for up to a second (messages stay in librdkafka's bounded queue),
 * and after that the partition is paused, so that polling, rebalances and the other partitions go
 * on. */
#include "ingest/consumer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"

enum {
    POLL_IDLE_MS = 100,
    POLL_WAITING_MS = 5,
    STALL_ROUND_MS = 2,
    PROBE_TIMEOUT_MS = 500,
    READ_MESSAGES = 32, /* without a look at the clock */
};

/* ---- errors */

void consumer_client_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct ingest *ingest = opaque;

    (void)client;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        pthread_mutex_lock(&ingest->lock);
        if (ingest->broker_silent_ns == 0)
            ingest->broker_silent_ns = io_monotonic_ns(ingest->io);
        pthread_mutex_unlock(&ingest->lock);
    } else if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL) {
        log_error("ingest", "kafka: %s", reason);
    } else {
        log_debug("ingest", "kafka: %s", reason);
    }
}

/* Retention passed us, the log was cut, or the topic was made anew: never a silent skip. Said with
 * both offsets, so it waits until the broker told its own since. */
static void stop_out_of_range(struct ingest *ingest, struct partition *partition)
{
    long long ours, begin, end;

    pthread_mutex_lock(&ingest->lock);
    begin = (long long)partition->shared.begin_offset;
    end = (long long)partition->shared.end_offset;
    if (partition->shared.end_seen_ns <= partition->out_of_range_ns)
        begin = -1;
    pthread_mutex_unlock(&ingest->lock);
    if (begin < 0)
        return;
    partition->out_of_range_ns = 0;
    partition_drain(partition, CONSUMER_HAND_OVER_NS);
    ours = (long long)partition->position;
    if (partition->check == CHECK_FAILED)
        partition_stop(
            partition, STOP_MARK,
            "offset %lld is next, but the record before it, at %lld, is not the one that "
            "was read there, Kafka has %lld to %lld: the topic was made anew or its log "
            "was cut (`windrow resume --shard %s --rebuild` reads the new one, --skip "
            "keeps what is stored and goes on)",
            ours, (long long)partition->mark.offset, begin, end, partition->shard_name);
    else if (ours < begin)
        partition_stop(partition, STOP_RANGE,
                       "offset %lld is gone, Kafka begins at %lld: retention passed us and %lld "
                       "offsets are lost (`windrow resume --shard %s` with --skip or --rebuild)",
                       ours, begin, begin - ours, partition->shard_name);
    else if (ours > end)
        partition_stop(partition, STOP_RANGE,
                       "offset %lld is beyond Kafka's end at %lld: the topic was made anew or its "
                       "log was cut (`windrow resume --shard %s --rebuild` reads the new one)",
                       ours, end, partition->shard_name);
    else
        partition_stop(partition, STOP_RANGE, "offset %lld is out of range, Kafka has %lld to %lld",
                       ours, begin, end);
}

/* Retention passed the offset where a replay was to begin, while it was asked for, or Kafka does
 * not have the record at the mark: then it is read from its own next offset. */
static void start_again(struct partition *partition)
{
    struct error error = {0};

    if (consumer_assign_again(partition, &error) != 0)
        partition_stop(partition, STOP_RANGE, "it cannot be read again: %s", error.text);
}

static void say_topic_missing(struct ingest *ingest, const char *name)
{
    int64_t now_ns = io_monotonic_ns(ingest->io);

    for (size_t i = 0; i < ingest->topic_count; i++) {
        struct topic *topic = &ingest->topics[i];
        if (strcmp(topic->name, name) != 0)
            continue;
        pthread_mutex_lock(&ingest->lock);
        topic->missing = true;
        pthread_mutex_unlock(&ingest->lock);
        if (topic->said_ns == 0 || now_ns - topic->said_ns >= CONSUMER_COMPLAIN_NS)
            log_warning("ingest", "topic %s does not exist yet; waiting for it", name);
        else
            return;
        topic->said_ns = now_ns;
    }
}

static void take_error(struct ingest *ingest, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    struct partition *partition = partition_find(ingest, topic, message->partition);

    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (partition && partition_mark_behind(partition) &&
            message->offset < partition->read_offset)
            start_again(partition);
        else if (partition)
            partition_read_end(partition, message->offset);
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        if (partition && !partition->stopped &&
            (partition->read_offset < 0 || partition_mark_behind(partition))) {
            start_again(partition); /* nothing was read, so nothing can be lost */
        } else if (partition && !partition->stopped) {
            partition->out_of_range_ns = io_monotonic_ns(ingest->io);
            consumer_observe_soon(ingest);
        }
        return;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        say_topic_missing(ingest, topic);
        return;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        log_error("ingest", "kafka: %s", rd_kafka_message_errstr(message));
        return;
    default:
        break;
    }
    if (io_monotonic_ns(ingest->io) - ingest->complained_ns < CONSUMER_COMPLAIN_NS)
        return;
    ingest->complained_ns = io_monotonic_ns(ingest->io);
    log_warning("ingest", "kafka: %s%s%s", topic, *topic ? ": " : "",
                rd_kafka_message_errstr(message));
}

/* ---- pausing */

void consumer_set_paused(struct partition *partition, bool pause)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_t *client = partition->ingest->consumer;
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
    code =
        pause ? rd_kafka_pause_partitions(client, list) : rd_kafka_resume_partitions(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_warning("ingest", PARTITION_FORMAT ": pause or resume: %s", PARTITION_NAME(partition),
                    rd_kafka_err2str(code));
    partition->paused = pause;
    partition_publish(partition);
}

/* Hysteresis: a partition that is resumed too early is paused again, and each time its prefetched
 * messages are thrown away. */
static bool may_resume(const struct partition *partition, int64_t now_ns)
{
    if (!partition->paused || partition->stopped || partition_blocked(partition) ||
        partition->clock_wait_ns != 0 || partition_held(partition))
        return false;
    return !store_shard_needs_flush(partition->shard) ||
           now_ns - partition->idle_persisted_ns >= CONSUMER_RESUME_NS;
}

/* Whether nothing can be taken of it, and stalling for it has gone on for long enough. */
static bool must_pause(const struct partition *partition, int64_t now_ns)
{
    if (partition->paused || !partition_blocked(partition) || !partition_full(partition))
        return false;
    if (partition->wait == WAIT_NONE)
        return now_ns - partition->submitted_ns >= CONSUMER_STALL_NS;
    return partition->ingest->any_paused || now_ns - partition->wait_since_ns >= CONSUMER_STALL_NS;
}

static void pause_or_resume(struct partition *partition, int64_t now_ns)
{
    if (partition->pause_pending) {
        partition->pause_pending = false;
        consumer_set_paused(partition, true);
    } else if (may_resume(partition, now_ns)) {
        log_info("ingest", PARTITION_FORMAT " resumed", PARTITION_NAME(partition));
        consumer_set_paused(partition, false);
    } else if (must_pause(partition, now_ns)) {
        log_info("ingest", PARTITION_FORMAT " paused: its records cannot be stored for now",
                 PARTITION_NAME(partition));
        consumer_set_paused(partition, true);
    }
}

/* Whether no more messages can be taken for now. What is decoded may gather while an append is
 * under way, but only so much. */
static bool must_stall(const struct ingest *ingest)
{
    bool much = ingest->decoding_bytes > CONSUMER_DECODING_BYTES;

    for (size_t i = 0; (ingest->waiting || much) && i < ingest->partition_count; i++) {
        const struct partition *partition = ingest->partitions[i];
        if ((partition->wait != WAIT_NONE || (much && partition->appending)) &&
            !partition->paused && !partition->stopped && partition_full(partition))
            return true;
    }
    return false;
}

/* ---- groups */

/* Notes when the partition is next to be looked at. */
static void note_due(struct ingest *ingest, const struct partition *partition)
{
    int64_t due_ns = partition_due_ns(partition);

    if (due_ns < ingest->due_ns)
        ingest->due_ns = due_ns;
}

/* Appends what is due, tries again what waits, and finds out what comes next. While there is more
 * to read, groups may grow. */
static void append_due(struct ingest *ingest, int64_t now_ns, bool more)
{
    int64_t linger_ns = more ? CONSUMER_BUSY_LINGER_NS : 0;
    bool any_paused = false;

    ingest->due_ns = INT64_MAX;
    ingest->waiting = false;
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        int64_t due_ns = partition_due_ns(partition);
        if (partition->wait == WAIT_NONE && partition_full(partition))
            due_ns = 0;
        else if (partition->wait == WAIT_NONE && due_ns != INT64_MAX)
            due_ns += linger_ns;
        if (now_ns >= due_ns)
            partition_append(partition);
        if (partition_blocked(partition) || partition->pause_pending || partition->paused) {
            pause_or_resume(partition, now_ns);
            any_paused |= partition->paused && partition->wait != WAIT_NONE;
        }
        ingest->waiting |= partition->wait != WAIT_NONE;
        note_due(ingest, partition);
    }
    ingest->any_paused = any_paused;
}

static int poll_timeout_ms(const struct ingest *ingest, int64_t now_ns)
{
    int64_t left_ns = POLL_IDLE_MS * NS_PER_MS;

    if (ingest->undecoded)
        return 0; /* what was read comes first, unless there is more to read */
    if (ingest->waiting)
        left_ns = POLL_WAITING_MS * NS_PER_MS;
    if (ingest->due_ns < now_ns + left_ns)
        left_ns = ingest->due_ns - now_ns;
    return left_ns <= 0 ? 0 : (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* Takes over what is decoded; with `finish`, decodes all that was read before. */
static void take_decoded(struct ingest *ingest, bool finish)
{
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        if (partition->tasks && finish)
            partition_finish(partition);
        else if (partition->tasks)
            partition_take(partition);
        ingest->waiting |= partition->wait != WAIT_NONE;
        note_due(ingest, partition);
    }
}

/* Nothing more lies ready to be read: the consumer decodes with the workers. Waking them for a
 * handful of records would take longer than decoding it. */
static void finish_decoding(struct ingest *ingest)
{
    for (size_t i = 0; i < ingest->partition_count && ingest->decoding_bytes > DECODE_TASK_BYTES;
         i++)
        partition_submit(ingest->partitions[i]);
    take_decoded(ingest, true);
    ingest->undecoded = false;
}

static void take_message(struct ingest *ingest, rd_kafka_message_t *message)
{
    struct partition *partition;

    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_error(ingest, message);
        rd_kafka_message_destroy(message);
        ingest->due_ns = 0; /* whatever happened, look at the partitions */
        return;
    }
    partition = partition_find(ingest, rd_kafka_topic_name(message->rkt), message->partition);
    /* Without one: given back while the message was under way. */
    if (!partition || !partition_read(partition, message)) {
        rd_kafka_message_destroy(message);
        return;
    }
    if (!ingest->undecoded)
        ingest->undecoded_ns = io_monotonic_ns(ingest->io);
    ingest->undecoded = true;
    if (!partition->submitted)
        return;
    take_decoded(ingest, false);
    while (ingest->decoding_bytes > CONSUMER_DECODING_BYTES && decode_pool_help(ingest->pool))
        take_decoded(ingest, false);
}

/* ---- housekeeping */

void consumer_commit(struct ingest *ingest, int wait_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(ingest->consumer);
    rd_kafka_event_t *event;

    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        if (partition->next_offset < 0 || partition->next_offset == partition->committed_offset)
            continue;
        partition->committed_offset = partition->next_offset;
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
            partition->next_offset;
    }
    /* A failed commit is no failure: our own offsets count. The next one tells more. */
    if (list->cnt > 0 && wait_ms == 0)
        (void)rd_kafka_commit(ingest->consumer, list, 1);
    else if (list->cnt > 0 && rd_kafka_commit_queue(ingest->consumer, list, queue, NULL, NULL) ==
                                  RD_KAFKA_RESP_ERR_NO_ERROR) {
        event = rd_kafka_queue_poll(queue, wait_ms);
        if (event)
            rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
}

/* Returns whether some broker answers, and says when none does. */
static bool check_brokers(struct ingest *ingest, int64_t now_ns)
{
    int64_t silent_ns;

    pthread_mutex_lock(&ingest->lock);
    silent_ns = ingest->broker_silent_ns;
    pthread_mutex_unlock(&ingest->lock);
    if (silent_ns == 0 && ingest->silence_said)
        log_info("ingest", "Kafka answers again");
    ingest->silence_said &= silent_ns != 0;
    if (silent_ns == 0 || now_ns - ingest->complained_ns < CONSUMER_COMPLAIN_NS)
        return silent_ns == 0;
    ingest->complained_ns = now_ns;
    ingest->silence_said = true;
    log_warning("ingest", "no Kafka broker answers at %s; trying again until one does",
                ingest->config->kafka_brokers);
    return false;
}

static void housekeep(struct ingest *ingest, int64_t now_ns)
{
    bool answered = check_brokers(ingest, now_ns);

    ingest->housekept_ns = now_ns;
    if (ingest->letters)
        dead_letters_poll(ingest->letters, 0);
    if (ingest->host.alive)
        ingest->host.alive(ingest->host.context);
    for (size_t i = 0; i < ingest->partition_count; i++)
        if (ingest->partitions[i]->out_of_range_ns > 0)
            stop_out_of_range(ingest, ingest->partitions[i]);
    consumer_control(ingest);
    if (now_ns - ingest->ticked_ns >= NS_PER_S) {
        int64_t wall_ms = io_wall_ms(ingest->io);
        ingest->ticked_ns = now_ns;
        for (size_t i = 0; i < ingest->partition_count; i++)
            partition_tick(ingest->partitions[i], wall_ms);
    }
    if (answered && now_ns - ingest->commit_ns >= CONSUMER_COMMIT_NS) {
        ingest->commit_ns = now_ns;
        consumer_commit(ingest, 0);
    }
}

static void stall(struct ingest *ingest)
{
    if (!ingest->waiting)
        append_pool_wait_any(ingest->appends, STALL_ROUND_MS * NS_PER_MS);
    else if (ingest->letters)
        dead_letters_poll(ingest->letters, STALL_ROUND_MS);
    else
        usleep(STALL_ROUND_MS * 1000);
}

/* The group has answered to our joining and not given us anything yet, not even an assignment of
 * nothing. */
static bool half_joined(const struct ingest *ingest)
{
    const char *protocol = rd_kafka_rebalance_protocol(ingest->consumer);

    return !ingest->ever_assigned && protocol && strcmp(protocol, "NONE") != 0;
}

void consumer_destroy(struct ingest *ingest)
{
    if (half_joined(ingest))
        log_warning("ingest", "the Kafka consumer is left behind: its group has not answered");
    else
        rd_kafka_destroy_flags(ingest->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    ingest->consumer = NULL;
}

/* librdkafka 2.0.2 tells a fatal error through the callback, as a message among others or, after a
 * failed commit, in its log only: so the client is asked. The usual one: a static member that was
 * away for longer than its session has joined anew, and a commit that was still under way under its
 * old name is taken for that of another process.
 *
 * The client goes on to heartbeat, to join and to take partitions, and one that waits for our
 * answer to a rebalance cannot be destroyed any more: it leaves the group first, while it is still
 * served. */
static void look_for_failure(struct ingest *ingest, int64_t now_ns)
{
    char text[sizeof(ingest->failed)] = "";

    if (ingest->fatal ||
        rd_kafka_fatal_error(ingest->consumer, text, sizeof(text)) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    log_error("ingest", "the Kafka consumer failed for good: %s; a new one takes over", text);
    ingest->fatal = true;
    ingest->failed_ns = now_ns;
    pthread_mutex_lock(&ingest->lock);
    memcpy(ingest->failed, text, sizeof(text));
    pthread_mutex_unlock(&ingest->lock);
    consumer_forget_all(ingest);
    (void)rd_kafka_unsubscribe(ingest->consumer);
}

/* A client with a fatal error does nothing any more for us: a new one takes over. When another
 * process really has our name, the two would throw each other out for ever: each wait is twice as
 * long as the one before. What was not durable is read again. */
static void renew(struct ingest *ingest, int64_t now_ns)
{
    rd_kafka_t *client = NULL;
    struct error error = {0};

    if (now_ns - ingest->failed_ns < CONSUMER_LEAVE_NS ||
        now_ns - ingest->renewed_ns < ingest->renew_wait_ns)
        return;
    if (now_ns - ingest->renewed_ns > CONSUMER_RENEW_MAX_NS)
        ingest->renew_wait_ns = 0;
    ingest->renewed_ns = now_ns;
    ingest->renew_wait_ns = ingest->renew_wait_ns ? 2 * ingest->renew_wait_ns : NS_PER_S;
    if (ingest->renew_wait_ns > CONSUMER_RENEW_MAX_NS)
        ingest->renew_wait_ns = CONSUMER_RENEW_MAX_NS;
    if (consumer_connect(ingest, &client, &error) != 0) {
        log_error("ingest", "%s", error.text);
        return;
    }
    pthread_rwlock_wrlock(&ingest->client_lock);
    rd_kafka_queue_destroy(ingest->fetch.queue);
    consumer_destroy(ingest);
    ingest->consumer = client;
    ingest->fetch.queue = rd_kafka_queue_get_consumer(client);
    pthread_rwlock_unlock(&ingest->client_lock);
    ingest->ever_assigned = ingest->fatal = false;
    pthread_mutex_lock(&ingest->lock);
    ingest->failed[0] = '\0';
    ingest->joined = false;
    pthread_mutex_unlock(&ingest->lock);
}

/* Takes note of what is durable now. */
static void take_appended(struct ingest *ingest)
{
    if (!append_pool_news(ingest->appends))
        return;
    for (size_t i = 0; i < ingest->partition_count; i++)
        partition_appended(ingest->partitions[i]);
    ingest->due_ns = 0; /* what gathered meanwhile may go */
}

/* The append that ends while the poll sleeps wakes it. */
static rd_kafka_message_t *poll_message(struct ingest *ingest, int timeout_ms)
{
    rd_kafka_message_t *message;

    if (timeout_ms > 0 && !append_pool_may_sleep(ingest->appends, true))
        timeout_ms = 0;
    message = rd_kafka_consumer_poll(ingest->consumer, timeout_ms);
    if (timeout_ms > 0)
        (void)append_pool_may_sleep(ingest->appends, false);
    return message;
}

void consumer_wake(void *context)
{
    struct ingest *ingest = context;

    rd_kafka_queue_yield(ingest->fetch.queue);
}

/* Reads some messages. False when none lies ready any more. */
static bool read_messages(struct ingest *ingest, int timeout_ms)
{
    for (int i = 0; i < READ_MESSAGES; i++) {
        rd_kafka_message_t *message = poll_message(ingest, i == 0 ? timeout_ms : 0);
        if (!message)
            return false;
        take_message(ingest, message);
        consumer_fetch_keep_up(ingest);
        if (ingest->waiting || ingest->due_ns == 0 ||
            ingest->decoding_bytes > CONSUMER_DECODING_BYTES)
            break;
    }
    return true;
}

static void round_once(struct ingest *ingest)
{
    bool more = true;
    int64_t now_ns;

    if (must_stall(ingest)) {
        stall(ingest);
        more = false;
    } else {
        more = read_messages(ingest, poll_timeout_ms(ingest, io_monotonic_ns(ingest->io)));
    }
    now_ns = io_monotonic_ns(ingest->io);
    take_appended(ingest);
    /* A partition with few records does not wait until one with many is read. */
    if (!more || (ingest->undecoded && now_ns - ingest->undecoded_ns >= CONSUMER_BUSY_LINGER_NS))
        finish_decoding(ingest);
    if (ingest->waiting && ingest->letters)
        dead_letters_poll(ingest->letters, 0);
    if (!more || ingest->waiting || ingest->due_ns == 0 ||
        (ingest->due_ns != INT64_MAX && now_ns - ingest->due_ns >= CONSUMER_BUSY_LINGER_NS))
        append_due(ingest, now_ns, more);
    if (now_ns - ingest->housekept_ns >= POLL_IDLE_MS * NS_PER_MS) {
        housekeep(ingest, now_ns);
        look_for_failure(ingest, now_ns);
        if (ingest->fatal)
            renew(ingest, now_ns);
    }
}

/* A commit that finds no coordinator holds the closing up for a whole session timeout. */
static bool broker_answers(struct ingest *ingest)
{
    const struct rd_kafka_metadata *metadata;

    if (rd_kafka_metadata(ingest->consumer, 0, NULL, &metadata, PROBE_TIMEOUT_MS) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* librdkafka 2.0.2 cannot be destroyed in the middle of joining: without the first assignment it
 * aborts (its issue 4312), and with one that nobody takes it waits for ever. */
static void finish_join(struct ingest *ingest)
{
    int64_t end_ns = io_monotonic_ns(ingest->io) + CONSUMER_STOP_NS;

    while (half_joined(ingest) && io_monotonic_ns(ingest->io) < end_ns) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(ingest->consumer, POLL_WAITING_MS);
        if (message)
            rd_kafka_message_destroy(message);
    }
}

/* Leaves the group. Closing gives every partition back through the rebalance callback, which makes
 * them durable. A consumer that was never assigned anything is only destroyed: closing it may crash
 * librdkafka, and the group forgets it after its session timeout. An answer to its joining that
 * comes from here on is not looked at any more. */
static void leave(struct ingest *ingest)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

    ingest->no_commit = !broker_answers(ingest);
    if (!ingest->no_commit)
        finish_join(ingest);
    if (ingest->ever_assigned)
        code = rd_kafka_consumer_close(ingest->consumer);
    else
        code = rd_kafka_unsubscribe(ingest->consumer);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_warning("ingest", "leave the group: %s", rd_kafka_err2str(code));
    consumer_forget_all(ingest);
}

void *consumer_main(void *context)
{
    struct ingest *ingest = context;

    while (!atomic_load(&ingest->stop))
        round_once(ingest);
    consumer_control_close(ingest);
    leave(ingest);
    return NULL;
}
