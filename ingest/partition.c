#include "ingest/partition.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "ingest/idle.h"
#include "ingest/kafka_offsets.h"
#include "ingest/topic_fingerprint.h"
#include "store/append.h"
#include "store/install.h"
#include "store/lease.h"
#include "store/registry.h"

enum { WATERMARK_TIMEOUT_MS = 5000 };

/* A full group that cannot be appended stalls the poll loop this long; then its partition is
 * paused: pausing throws the prefetched messages away, which costs most of a second. */
#define STALL_NS NS_PER_S
/* A paused partition is resumed when no flush is due (the store wakes the consumer), or after this
 * long. */
#define RESUME_NS (5 * NS_PER_S)
/* Waits that end at once are nobody's business. */
#define TELL_AFTER_NS NS_PER_S

#define TO(state) (1U << PARTITION_##state)
#define GOING     (TO(OUT_OF_RANGE) | TO(STOPPED) | TO(DRAINING) | TO(CLOSED))

/* The table of partition.h. */
static const struct {
    const char *name;
    unsigned next;
    bool paused; /* Kafka is to send nothing */
} states[] = {
    [PARTITION_OPENING] = {"opening",
                           TO(FETCHING) | TO(CHECKING_TOPIC) | TO(READING) | TO(HELD_BY_OPERATOR) |
                               TO(STOPPED) | TO(CLOSED),
                           false},
    [PARTITION_FETCHING] = {"fetching", TO(OPENING) | TO(CLOSED), true},
    [PARTITION_CHECKING_TOPIC] = {"checking_topic", TO(READING) | TO(HELD_BY_OPERATOR) | GOING,
                                  false},
    [PARTITION_READING] = {"reading",
                           TO(STALLED) | TO(PAUSED) | TO(WAITING_CLOCK) | TO(HELD_BY_OPERATOR) |
                               GOING,
                           false},
    [PARTITION_STALLED] = {"stalled",
                           TO(READING) | TO(PAUSED) | TO(WAITING_CLOCK) | TO(HELD_BY_OPERATOR) |
                               GOING,
                           false},
    [PARTITION_PAUSED] = {"paused",
                          TO(CHECKING_TOPIC) | TO(READING) | TO(WAITING_CLOCK) |
                              TO(HELD_BY_OPERATOR) | GOING,
                          true},
    [PARTITION_WAITING_CLOCK] = {"waiting_clock", TO(PAUSED) | TO(HELD_BY_OPERATOR) | GOING, true},
    [PARTITION_HELD_BY_OPERATOR] = {"held_by_operator", TO(PAUSED) | GOING, true},
    [PARTITION_OUT_OF_RANGE] = {"out_of_range", TO(STOPPED) | TO(DRAINING) | TO(CLOSED), false},
    [PARTITION_STOPPED] = {"stopped", TO(OPENING) | TO(CLOSED), true},
    [PARTITION_DRAINING] = {"draining", TO(STOPPED) | TO(CLOSED), false},
    [PARTITION_CLOSED] = {"closed", 0, false},
};

static int64_t now_of(const struct partition *partition)
{
    return io_monotonic_ns(partition->context->io);
}

static void lock(struct partition *partition)
{
    pthread_mutex_lock(&partition->context->list->lock);
}

static void unlock(struct partition *partition)
{
    pthread_mutex_unlock(&partition->context->list->lock);
}

static void enter(struct partition *partition, enum partition_state next)
{
    assert((states[partition->state].next & (1U << next)) != 0);
    log_debug("ingest", PARTITION_FORMAT ": %s -> %s", PARTITION_NAME(&partition->name),
              states[partition->state].name, states[next].name);
    partition->state = next;
    lock(partition);
    partition->shared.state = next;
    partition_tell_behind(partition);
    unlock(partition);
}

static bool may_enter(const struct partition *partition, enum partition_state next)
{
    return (states[partition->state].next & (1U << next)) != 0;
}

/* Its lane does nothing. */
static bool stands_still(const struct partition *partition)
{
    return partition->state == PARTITION_STOPPED || partition->state == PARTITION_FETCHING;
}

/* The list. */

void partition_list_create(struct partition_list *list)
{
    *list = (struct partition_list){0};
    pthread_mutex_init(&list->lock, NULL);
}

void partition_list_destroy(struct partition_list *list)
{
    assert(list->count == 0);
    pthread_mutex_destroy(&list->lock);
    free(list->items);
}

struct partition *partition_find(const struct partition_list *list, const char *topic,
                                 int32_t number)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i]->name.number == number && strcmp(list->items[i]->name.topic, topic) == 0)
            return list->items[i];
    return NULL;
}

static void list_add(struct partition_list *list, struct partition *partition)
{
    pthread_mutex_lock(&list->lock);
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 8;
        list->items = memory_resize(list->items, list->capacity, sizeof(*list->items));
    }
    list->items[list->count++] = partition;
    pthread_mutex_unlock(&list->lock);
}

static void list_remove(struct partition_list *list, const struct partition *partition)
{
    pthread_mutex_lock(&list->lock);
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i] != partition)
            continue;
        list->items[i] = list->items[--list->count];
        break;
    }
    pthread_mutex_unlock(&list->lock);
}

void partition_publish(struct partition *partition)
{
    const struct lane *lane = &partition->lane;

    lock(partition);
    partition->shared.next_offset = lane->durable.next_offset;
    partition->shared.last_timestamp_ms = lane->last_timestamp_ms;
    partition->shared.paused = partition->client_paused;
    partition_tell_behind(partition);
    unlock(partition);
    metric_set(partition->metrics.next_offset, (double)lane->durable.next_offset);
    if (lane->clock.watermark_ms != TWCS_NO_TIME)
        metric_set(partition->metrics.watermark, (double)lane->clock.watermark_ms / 1e3);
}

static void tell_wait(struct partition *partition, enum wait_reason reason, const char *text)
{
    if (partition->told == reason)
        return;
    partition->told = reason;
    partition_metrics_wait(&partition->metrics, reason);
    lock(partition);
    snprintf(partition->shared.waiting, sizeof(partition->shared.waiting), "%s", text);
    partition->shared.full = reason == WAIT_SPACE;
    partition_tell_behind(partition);
    unlock(partition);
}

/* Opening, stopping, starting. */

static void stop(struct partition *partition, enum partition_stop_cause cause, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));

static void stop(struct partition *partition, enum partition_stop_cause cause, const char *format,
                 ...)
{
    char text[sizeof(partition->shared.stopped)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    logger_write_event(LOGGER_ERROR, "ingest", "partition_stopped", PARTITION_FORMAT " stopped: %s",
                       PARTITION_NAME(&partition->name), text);
    partition->stop_cause = cause;
    lane_stop(&partition->lane);
    tell_wait(partition, WAIT_NONE, "");
    if (partition->state != PARTITION_STOPPED)
        enter(partition, PARTITION_STOPPED);
    lock(partition);
    memcpy(partition->shared.stopped, text, sizeof(text));
    unlock(partition);
    metric_set(partition->metrics.stopped, 1);
    partition_publish(partition);
}

static void open_shard(struct partition *partition)
{
    struct store_shard *shard;
    struct error error = {0};

    if (store_registry_claim(partition->context->registry, partition->name.collection,
                             partition->name.shard, &shard, &error) == 0) {
        lock(partition);
        partition->shared.behind = true; /* the registry says so of a shard that comes */
        unlock(partition);
        lane_open(&partition->lane, shard);
    } else {
        stop(partition, STOP_OPEN, "its shard cannot be opened: %s", error.text);
    }
    partition_publish(partition);
}

/* How far what is here goes. */
static int64_t own_offset(const struct partition *partition)
{
    struct store_registry *registry = partition->context->registry;
    const char *collection = partition->name.collection->name;
    struct store_lease lease;
    int64_t next_offset;

    if (!store_registry_acquire_shard(registry, collection, partition->name.shard, &lease))
        return store_registry_peek(registry, partition->name.collection, partition->name.shard);
    next_offset = store_shard_next_offset(lease.shard);
    store_registry_release(registry, &lease);
    return next_offset;
}

static void set_coming(const struct partition *partition, bool coming)
{
    store_registry_set_coming(partition->context->registry, partition->name.collection->name,
                              partition->name.shard, coming);
}

static void say_waiting(struct partition *partition, const char *text)
{
    lock(partition);
    snprintf(partition->shared.waiting, sizeof(partition->shared.waiting), "%s", text);
    unlock(partition);
}

struct partition *partition_open(const struct partition_context *context,
                                 const struct topic_partition *name)
{
    struct partition *partition = memory_new(1, sizeof(*partition));

    partition->context = context;
    partition->name = *name;
    partition->committed_offset = -1;
    partition->shared.next_offset = partition->shared.begin_offset = -1;
    partition->shared.end_offset = partition->shared.target_offset = -1;
    partition->shared.high_watermark = -1;
    partition_metrics_create(&partition->metrics, context->metrics, &partition->name);
    lane_create(&partition->lane, context->pipeline, &partition->name, &partition->metrics);
    list_add(context->list, partition);
    partition->takeover =
        takeover_begin(context->takeovers, &partition->name, own_offset(partition));
    if (partition->takeover) {
        lane_stop(&partition->lane);
        enter(partition, PARTITION_FETCHING);
        set_coming(partition, true);
        say_waiting(partition, "its shard is copied from another node");
        partition_publish(partition);
    } else {
        open_shard(partition);
    }
    return partition;
}

/* A copy that cannot be put in place is none: Kafka has the records. */
static void install(struct partition *partition)
{
    const struct partition_context *context = partition->context;
    char *folder = takeover_end(partition->takeover);
    struct error error = {0};

    partition->takeover = NULL;
    if (folder && store_registry_install(context->registry, partition->name.collection,
                                         partition->name.shard, folder, &error) != 0) {
        log_error("ingest", PARTITION_FORMAT ": its copy cannot be used: %s",
                  PARTITION_NAME(&partition->name), error.text);
        (void)store_folder_remove(context->io, folder, ERROR_IGNORED);
    }
    free(folder);
}

void partition_read_anew(struct partition *partition, bool held)
{
    struct error error = {0};

    if (kafka_session_read_from(partition->context->session, &partition->name,
                                partition_start_offset(partition, true), &error) != 0)
        stop(partition, STOP_RANGE, "Kafka refuses to read it: %s", error.text);
    else
        partition_begin(partition, held);
    partition_publish(partition);
}

void partition_end_takeover(struct partition *partition, bool held)
{
    install(partition);
    say_waiting(partition, "");
    enter(partition, PARTITION_OPENING);
    open_shard(partition);
    set_coming(partition, false);
    if (partition->state != PARTITION_OPENING)
        return;
    lane_resume(&partition->lane);
    log_info("ingest", PARTITION_FORMAT " goes on from offset %lld",
             PARTITION_NAME(&partition->name), (long long)partition->lane.durable.next_offset);
    partition_read_anew(partition, held);
}

int64_t partition_start_offset(struct partition *partition, bool check)
{
    const struct store_topic_fingerprint *topic = &partition->lane.durable.topic;
    int64_t next_offset = partition->lane.durable.next_offset;

    if (partition->state == PARTITION_FETCHING)
        return takeover_ahead_offset(partition->takeover);
    partition->check_pending = check && topic_fingerprint_worth_checking(topic, next_offset);
    if (partition->check_pending)
        return topic->offset;
    if (next_offset >= 0)
        return next_offset;
    return kafka_session_replay_start(partition->context->session, &partition->name);
}

void partition_begin(struct partition *partition, bool held)
{
    if (partition->state != PARTITION_OPENING)
        return; /* stopped: its shard cannot be opened */
    if (held)
        enter(partition, PARTITION_HELD_BY_OPERATOR);
    else
        enter(partition, partition->check_pending ? PARTITION_CHECKING_TOPIC : PARTITION_READING);
}

static void check_done(struct partition *partition)
{
    partition->check_pending = false;
    if (partition->state == PARTITION_CHECKING_TOPIC)
        enter(partition, PARTITION_READING);
}

/* Retention passed the offset where a replay was to begin, while it was asked for, or Kafka does
 * not have the record of the fingerprint: then it is read from its own next offset. */
static void start_again(struct partition *partition)
{
    struct error error = {0};
    int64_t offset = partition_start_offset(partition, false);

    if (kafka_session_read_from(partition->context->session, &partition->name, offset, &error) != 0)
        stop(partition, STOP_RANGE, "Kafka refuses to read it from another offset: %s", error.text);
    else
        check_done(partition);
}

/* Reading. */

static void enter_out_of_range(struct partition *partition, enum partition_stop_cause cause)
{
    if (!may_enter(partition, PARTITION_OUT_OF_RANGE))
        return;
    partition->stop_cause = cause;
    partition->out_of_range_ns = now_of(partition);
    enter(partition, PARTITION_OUT_OF_RANGE);
    partition->context->ask_offsets(partition->context->context);
}

bool partition_read(struct partition *partition, rd_kafka_message_t *message)
{
    struct lane *lane = &partition->lane;

    if (stands_still(partition) || partition->state == PARTITION_OUT_OF_RANGE)
        return false;
    if (partition->check_pending && !topic_fingerprint_matches(&lane->durable.topic, message)) {
        enter_out_of_range(partition, STOP_FINGERPRINT);
        return false;
    }
    if (partition->check_pending && message->offset >= lane->read.offset)
        check_done(partition);
    return lane_read(lane, message);
}

void partition_read_end(struct partition *partition, int64_t offset)
{
    if (stands_still(partition) || partition->state == PARTITION_OUT_OF_RANGE)
        return;
    if (partition->check_pending && offset < partition->lane.read.offset) {
        start_again(partition);
        return;
    }
    check_done(partition);
    lane_read_end(&partition->lane, offset);
}

void partition_out_of_range(struct partition *partition)
{
    if (stands_still(partition) || partition->state == PARTITION_OUT_OF_RANGE)
        return;
    if (partition->lane.read.offset < 0 || partition->check_pending)
        start_again(partition); /* nothing was read, so nothing can be lost */
    else
        enter_out_of_range(partition, STOP_RANGE);
}

/* Retention passed us, the log was cut, or the topic was recreated: never a silent skip. The reason
 * names both offsets, so it waits until the broker told its own since. */
static void stop_out_of_range(struct partition *partition)
{
    const char *shard = partition->name.shard;
    long long ours, begin, end;

    lock(partition);
    begin = (long long)partition->shared.begin_offset;
    end = (long long)partition->shared.end_offset;
    if (partition->shared.end_seen_ns <= partition->out_of_range_ns)
        begin = -1;
    unlock(partition);
    if (begin < 0)
        return;
    lane_drain(&partition->lane, LANE_HAND_OVER_NS);
    ours = (long long)partition->lane.position;
    if (partition->stop_cause == STOP_FINGERPRINT)
        stop(partition, STOP_FINGERPRINT,
             "offset %lld is next, but the record before it, at %lld, is not the one that was read "
             "there, Kafka has %lld to %lld: the topic was recreated or its log was cut (`windrow "
             "resume --shard %s --rebuild` reads the new one, --skip keeps what is stored and goes "
             "on)",
             ours, (long long)partition->lane.durable.topic.offset, begin, end, shard);
    else if (ours < begin)
        stop(partition, STOP_RANGE,
             "offset %lld is gone, Kafka begins at %lld: retention passed us and %lld offsets are "
             "lost (`windrow resume --shard %s` with --skip or --rebuild)",
             ours, begin, begin - ours, shard);
    else if (ours > end)
        stop(partition, STOP_RANGE,
             "offset %lld is beyond Kafka's end at %lld: the topic was recreated or its log was "
             "cut (`windrow resume --shard %s --rebuild` reads the new one)",
             ours, end, shard);
    else
        stop(partition, STOP_RANGE, "offset %lld is out of range, Kafka has %lld to %lld", ours,
             begin, end);
}

/* Going on and standing still. */

static void settle_state(struct partition *partition)
{
    const struct lane *lane = &partition->lane;
    const bool waits = lane->wait.reason != WAIT_NONE;

    if (lane->clock_since_ns != 0 && may_enter(partition, PARTITION_WAITING_CLOCK))
        enter(partition, PARTITION_WAITING_CLOCK);
    else if (lane->clock_since_ns == 0 && partition->state == PARTITION_WAITING_CLOCK)
        enter(partition, PARTITION_PAUSED);
    else if (waits && partition->state == PARTITION_READING)
        enter(partition, PARTITION_STALLED);
    else if (!waits && partition->state == PARTITION_STALLED)
        enter(partition, PARTITION_READING);
}

void partition_settle(struct partition *partition)
{
    const struct lane *lane = &partition->lane;

    if (stands_still(partition))
        return;
    if (lane->failure.cause != LANE_WELL) {
        stop(partition, lane->failure.cause == LANE_STORE ? STOP_STORE : STOP_RECORD, "%s",
             lane->failure.text);
        return;
    }
    settle_state(partition);
    if (lane->clock_since_ns != 0)
        tell_wait(partition, WAIT_CLOCK, lane->clock_text);
    else if (lane->wait.reason == WAIT_NONE)
        tell_wait(partition, WAIT_NONE, "");
    else if (now_of(partition) - lane->wait.since_ns >= TELL_AFTER_NS)
        tell_wait(partition, lane->wait.reason, lane->wait.text);
}

/* Hysteresis: a partition that is resumed too early is paused again, and each time its prefetched
 * messages are thrown away. */
static bool may_resume(const struct partition *partition, int64_t now_ns)
{
    const struct lane *lane = &partition->lane;

    return partition->state == PARTITION_PAUSED && !lane_blocked(lane) &&
           (!store_shard_needs_flush(lane->shard) || now_ns - lane->durable.since_ns >= RESUME_NS);
}

/* When nothing can be taken of it, and stalling for it has gone on for long enough; INT64_MAX: it
 * goes on. */
static int64_t pause_due_ns(const struct partition *partition, bool any_paused)
{
    const struct lane *lane = &partition->lane;

    if (!may_enter(partition, PARTITION_PAUSED) || states[partition->state].paused ||
        !lane_blocked(lane) || !lane_full(lane))
        return INT64_MAX;
    if (lane->wait.reason == WAIT_NONE)
        return lane->submitted_ns + STALL_NS;
    return any_paused ? 0 : lane->wait.since_ns + STALL_NS;
}

static void set_client_paused(struct partition *partition, bool pause)
{
    kafka_session_set_paused(partition->context->session, &partition->name, pause);
    partition->client_paused = pause;
    partition_publish(partition);
}

bool partition_regulate(struct partition *partition, int64_t now_ns, bool any_paused)
{
    if (may_resume(partition, now_ns)) {
        logger_write_event(LOGGER_INFO, "ingest", "partition_resumed", PARTITION_FORMAT " resumed",
                           PARTITION_NAME(&partition->name));
        enter(partition, partition->check_pending ? PARTITION_CHECKING_TOPIC : PARTITION_READING);
    } else if (now_ns >= pause_due_ns(partition, any_paused)) {
        logger_write_event(LOGGER_INFO, "ingest", "partition_paused",
                           PARTITION_FORMAT " paused: the store cannot take its records for now",
                           PARTITION_NAME(&partition->name));
        enter(partition, PARTITION_PAUSED);
    }
    if (states[partition->state].paused != partition->client_paused)
        set_client_paused(partition, states[partition->state].paused);
    return partition->client_paused && partition->lane.wait.reason != WAIT_NONE;
}

bool partition_must_stall(const struct partition *partition, bool much)
{
    const struct lane *lane = &partition->lane;

    return (lane->wait.reason != WAIT_NONE || (much && lane->appending)) &&
           !states[partition->state].paused && lane_full(lane);
}

int64_t partition_due_ns(const struct partition *partition)
{
    const struct lane *lane = &partition->lane;
    int64_t due_ns = lane_due_ns(lane);
    int64_t turn_ns = pause_due_ns(partition, false);

    if (partition->state == PARTITION_PAUSED && !lane_blocked(lane))
        turn_ns = lane->durable.since_ns + RESUME_NS;
    return turn_ns < due_ns ? turn_ns : due_ns;
}

void partition_tick(struct partition *partition, int64_t wall_ms)
{
    struct lane *lane = &partition->lane;

    if (stands_still(partition))
        return;
    twcs_clock_follow(&lane->clock, wall_ms);
    if (partition->state == PARTITION_OUT_OF_RANGE)
        stop_out_of_range(partition);
    else
        idle_watch(partition, now_of(partition));
}

/* What operators ask for. */

void partition_hold(struct partition *partition, bool hold)
{
    if (hold && may_enter(partition, PARTITION_HELD_BY_OPERATOR))
        enter(partition, PARTITION_HELD_BY_OPERATOR);
    else if (!hold && partition->state == PARTITION_HELD_BY_OPERATOR)
        enter(partition, PARTITION_PAUSED);
}

/* Behind what Kafka lost, or behind the bad record; of a topic that was recreated, what is not
 * below our own offset. */
static int skip(struct partition *partition, struct error *error)
{
    struct lane *lane = &partition->lane;
    int64_t begin = -1;
    int64_t end = -1;
    int64_t next = lane->failure.offset + 1;

    if (partition->stop_cause != STOP_RECORD) {
        if (kafka_session_query_offsets(partition->context->session, &partition->name, &begin, &end,
                                        WATERMARK_TIMEOUT_MS, error) != 0)
            return error->code;
        next = begin;
        if (partition->stop_cause == STOP_FINGERPRINT && begin <= lane->position &&
            end >= lane->position) {
            log_warning("ingest",
                        PARTITION_FORMAT " continues at offset %lld of the recreated topic, as an "
                                         "operator asked",
                        PARTITION_NAME(&partition->name), (long long)lane->position);
            return lane_move(lane, lane->position, error);
        }
    }
    if (next <= lane->position)
        return error_set(error, ERROR_INVALID,
                         "offset %lld cannot go back to %lld (the topic was recreated): only "
                         "--rebuild reads the new topic",
                         (long long)lane->position, (long long)next);
    if (partition->stop_cause == STOP_RECORD && lane->durable.next_offset != lane->position) {
        log_warning("ingest", PARTITION_FORMAT " skips offset %lld, as an operator asked",
                    PARTITION_NAME(&partition->name), (long long)lane->failure.offset);
        lane->skip_offset = lane->failure.offset;
        lane->position = lane->durable.next_offset; /* the store took no more before the stop */
        return 0;
    }
    log_warning("ingest", PARTITION_FORMAT " skips offsets %lld to %lld, as an operator asked",
                PARTITION_NAME(&partition->name), (long long)lane->position, (long long)next - 1);
    return lane_move(lane, next, error);
}

static int rebuild(struct partition *partition, struct error *error)
{
    struct store_shard *shard = partition->lane.shard;

    log_warning("ingest",
                PARTITION_FORMAT " is deleted and read again from Kafka, as an operator asked",
                PARTITION_NAME(&partition->name));
    partition->lane.shard = NULL;
    if (store_registry_discard(partition->context->registry, shard, error) != 0) {
        partition->stop_cause = STOP_OPEN;
        return error->code;
    }
    open_shard(partition);
    if (!partition->lane.shard)
        return error_set(error, ERROR_IO, "the new shard cannot be opened; the log says why");
    return 0;
}

int partition_resume_stopped(struct partition *partition, enum ingest_resume how, bool held,
                             struct error *error)
{
    const char *shard = partition->name.shard;
    int code;

    if (partition->state != PARTITION_STOPPED)
        return error_set(error, ERROR_INVALID, "shard %s is not stopped", shard);
    if (partition->stop_cause == STOP_OPEN || partition->stop_cause == STOP_STORE)
        return error_set(error, ERROR_INVALID,
                         "shard %s was stopped by its files, not by Kafka: repair them and restart "
                         "windrow",
                         shard);
    code = how == INGEST_RESUME_SKIP ? skip(partition, error) : rebuild(partition, error);
    if (code == 0)
        code = kafka_session_read_from(partition->context->session, &partition->name,
                                       partition_start_offset(partition, false), error);
    if (code != 0)
        return code;
    enter(partition, PARTITION_OPENING);
    partition->stop_cause = STOP_NONE;
    lane_resume(&partition->lane);
    lock(partition);
    partition->shared.stopped[0] = '\0';
    partition->shared.target_offset = -1;
    unlock(partition);
    metric_set(partition->metrics.stopped, 0);
    partition_begin(partition, held);
    partition_publish(partition);
    return 0;
}

/* Giving back. */

void partition_drain(struct partition *partition, int64_t limit_ns)
{
    if (stands_still(partition))
        return;
    enter(partition, PARTITION_DRAINING);
    lane_drain(&partition->lane, limit_ns);
    partition_settle(partition);
}

void partition_close(struct partition *partition, bool lost, enum partition_shard_fate fate)
{
    const struct ingest_host *host = partition->context->host;
    struct store_shard *shard = partition->lane.shard;
    bool flush = !lost && !stands_still(partition);
    bool unknown = lost;
    char *folder;

    if (partition->takeover) {
        folder = takeover_end(partition->takeover);
        if (folder)
            (void)store_folder_remove(partition->context->io, folder, ERROR_IGNORED);
        free(folder);
        set_coming(partition, false);
        unknown = true; /* an older copy may be open without an owner */
    }
    enter(partition, PARTITION_CLOSED);
    /* librdkafka would remember the pause for the next time that we own it. */
    if (partition->client_paused)
        set_client_paused(partition, false);
    list_remove(partition->context->list, partition);
    lane_stop(&partition->lane);
    /* Now: an append that was under way has become durable, and the offset counts it. */
    logger_write_event(LOGGER_INFO, "ingest", "partition_left",
                       PARTITION_FORMAT " %s at offset %lld", PARTITION_NAME(&partition->name),
                       lost                        ? "lost"
                       : fate == SHARD_HANDED_OVER ? "handed over"
                                                   : "given back",
                       (long long)partition->lane.durable.next_offset);
    if (shard && fate == SHARD_KEPT)
        store_registry_unclaim(partition->context->registry, shard);
    else if (shard && fate == SHARD_HANDED_OVER)
        store_registry_hand_over(partition->context->registry, shard);
    else if (shard)
        store_registry_close(partition->context->registry, shard, flush);
    if (host->partition_left)
        host->partition_left(host->context, partition->name.collection, partition->name.shard,
                             unknown);
    partition_metrics_remove(&partition->metrics);
    lane_destroy(&partition->lane);
    free(partition);
}
