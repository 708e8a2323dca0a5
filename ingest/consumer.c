/* A group goes to the store as soon as the one before is durable and nothing more lies ready to be
 * read, so that a lone record is searchable at once and a flood shares its syncs.
 *
 * A group that cannot be appended is tried again while other partitions go on. Once the next one is
 * full too the whole loop stalls for up to a second (messages stay in librdkafka's bounded queue),
 * and after that the partition is paused, so that polling, rebalances and the other partitions go
 * on. */
#include "ingest/consumer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "store/listen.h"
#include "store/registry.h"

enum {
    READ_MESSAGES = 32, /* without a look at the clock */
    HAND_OVER_COMMIT_MS = 1000,
};

/* The longest sleep: watermarks of idle partitions, and the heartbeat. */
#define IDLE_NS      NS_PER_S
#define HOUSEKEEP_NS (100 * NS_PER_MS) /* at least between two, unless nothing lay ready */
#define COMMIT_NS    (5 * NS_PER_S)
#define CONFIRM_NS   (200 * NS_PER_MS) /* until a doubt is asked about again */
/* How long the stop of the process waits for the store: what is not stored is read again. */
#define STOP_NS NS_PER_S

struct consumer {
    struct ingest_options options;
    struct topics *topics;
    struct partition_list *partitions;
    struct control *control;
    struct observer *observer;
    struct kafka_session *session;
    struct pipeline pipeline;
    struct takeovers *takeovers;
    struct partition_context context; /* of all partitions */
    struct store_listener listener;   /* wakes the thread when refused groups may go */
    pthread_t thread;
    atomic_bool stop;
    atomic_bool hand_over; /* is wanted */
    atomic_bool left;      /* the group, for that */

    /* The thread's own. */
    struct partition *last; /* the partition of the last message */
    bool undecoded;         /* something was read since all was decoded */
    int64_t undecoded_ns;
    int64_t due_ns;  /* when a partition is next to be looked at; INT64_MAX: none is */
    bool waiting;    /* some group waits */
    bool any_paused; /* one was paused over it: the next need not stall all again */
    int64_t housekept_ns, maintain_ns, ticked_ns, committed_ns, confirm_ns;
    uint32_t group;         /* of struct store_ownership */
    bool strangers;         /* partitions of topics that are not read may be assigned */
    bool strangers_are_new; /* and are not paused yet */
};

static int64_t now_of(const struct consumer *consumer)
{
    return io_monotonic_ns(consumer->options.io);
}

static void alive(const struct consumer *consumer)
{
    if (consumer->options.host.alive)
        consumer->options.host.alive(consumer->options.host.context);
}

static struct partition *find(struct consumer *consumer, const char *topic, int32_t number)
{
    struct partition *last = consumer->last;

    if (!last || last->name.number != number || strcmp(last->name.topic, topic) != 0)
        last = partition_find(consumer->partitions, topic, number);
    if (last)
        consumer->last = last;
    return last;
}

/* Sleeping. */

/* An append that ends while the poll sleeps wakes it; one that ended just before must not be slept
 * through. */
static bool may_sleep(struct consumer *consumer, bool sleeps)
{
    return append_pool_may_sleep(consumer->pipeline.appends, sleeps);
}

/* Runs inside the pipeline while a hand-over waits. */
static void sleep_for(void *context, int64_t limit_ns)
{
    struct consumer *consumer = context;

    if (limit_ns > IDLE_NS)
        limit_ns = IDLE_NS; /* letters that failed are sent again */
    if (may_sleep(consumer, true))
        kafka_session_sleep(consumer->session, limit_ns);
    (void)may_sleep(consumer, false);
    if (consumer->pipeline.letters)
        dead_letters_poll(consumer->pipeline.letters, 0);
    alive(consumer);
}

static void wake(void *context)
{
    struct consumer *consumer = context;

    kafka_session_wake(consumer->session);
}

static int64_t sleep_limit_ns(const struct consumer *consumer, int64_t now_ns)
{
    int64_t until_ns = now_ns + IDLE_NS;

    if (consumer->maintain_ns < until_ns)
        until_ns = consumer->maintain_ns;
    if (consumer->due_ns < until_ns)
        until_ns = consumer->due_ns;
    return until_ns > now_ns ? until_ns - now_ns : 0;
}

static rd_kafka_message_t *poll_message(struct consumer *consumer, int timeout_ms)
{
    rd_kafka_message_t *message;

    if (timeout_ms > 0 && !may_sleep(consumer, true))
        timeout_ms = 0;
    message = kafka_session_poll(consumer->session, timeout_ms);
    if (timeout_ms > 0)
        (void)may_sleep(consumer, false);
    return message;
}

/* Groups. */

static void note_due(struct consumer *consumer, const struct partition *partition)
{
    int64_t due_ns = partition_due_ns(partition);

    if (due_ns < consumer->due_ns)
        consumer->due_ns = due_ns;
    consumer->waiting |= partition->lane.wait.reason != WAIT_NONE;
}

/* Appends what is due, tries again what waits, and finds out what comes next. While there is more
 * to read, groups may grow. */
static void append_due(struct consumer *consumer, int64_t now_ns, bool more)
{
    const struct partition_list *list = consumer->partitions;
    bool any_paused = false;

    consumer->due_ns = INT64_MAX;
    consumer->waiting = false;
    for (size_t i = 0; i < list->count; i++) {
        struct partition *partition = list->items[i];
        struct lane *lane = &partition->lane;
        int64_t due_ns = lane_due_ns(lane);
        if (lane->wait.reason == WAIT_NONE && lane_full(lane))
            due_ns = 0;
        else if (lane->wait.reason == WAIT_NONE && due_ns != INT64_MAX && more)
            due_ns += LANE_BUSY_LINGER_NS;
        if (now_ns >= due_ns)
            lane_append(lane);
        partition_settle(partition);
        any_paused |= partition_regulate(partition, now_ns, consumer->any_paused);
        note_due(consumer, partition);
    }
    consumer->any_paused = any_paused;
}

/* Takes over what is decoded; with `finish`, decodes all that was read before. */
static void take_decoded(struct consumer *consumer, bool finish)
{
    const struct partition_list *list = consumer->partitions;

    for (size_t i = 0; i < list->count; i++) {
        struct partition *partition = list->items[i];
        if (partition->lane.read.tasks) {
            lane_take(&partition->lane, finish);
            partition_settle(partition);
        }
        note_due(consumer, partition);
    }
}

/* Nothing more lies ready to be read: the consumer decodes with the workers. Waking them for a
 * handful of records would take longer than decoding it. */
static void finish_decoding(struct consumer *consumer)
{
    const struct partition_list *list = consumer->partitions;

    for (size_t i = 0; i < list->count; i++)
        if (consumer->pipeline.decoding_bytes > DECODE_TASK_BYTES)
            lane_submit(&list->items[i]->lane);
    take_decoded(consumer, true);
    consumer->undecoded = false;
}

/* Takes note of what is durable now. */
static void take_appended(struct consumer *consumer)
{
    const struct partition_list *list = consumer->partitions;

    if (!append_pool_news(consumer->pipeline.appends))
        return;
    for (size_t i = 0; i < list->count; i++) {
        struct partition *partition = list->items[i];
        if (!partition->lane.appending)
            continue;
        lane_take_appended(&partition->lane);
        if (partition->lane.appending)
            continue;
        partition_settle(partition);
        partition_publish(partition);
    }
    consumer->due_ns = 0; /* what gathered meanwhile may go */
}

/* Messages. */

static void take_error(struct consumer *consumer, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    struct partition *partition = find(consumer, topic, message->partition);

    consumer->due_ns = 0; /* whatever happened, look at the partitions */
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (partition)
            partition_read_end(partition, message->offset);
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        if (partition)
            partition_out_of_range(partition);
        break;
    default:
        kafka_session_take_error(consumer->session, message);
        break;
    }
}

static void take_message(struct consumer *consumer, rd_kafka_message_t *message)
{
    struct pipeline *pipeline = &consumer->pipeline;
    struct partition *partition;

    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_error(consumer, message);
        rd_kafka_message_destroy(message);
        return;
    }
    partition = find(consumer, rd_kafka_topic_name(message->rkt), message->partition);
    /* Without one: given back while the message was under way. */
    if (!partition || !partition_read(partition, message)) {
        rd_kafka_message_destroy(message);
        return;
    }
    if (!consumer->undecoded)
        consumer->undecoded_ns = now_of(consumer);
    consumer->undecoded = true;
    if (!partition->lane.read.submitted)
        return;
    take_decoded(consumer, false);
    while (pipeline_is_full(pipeline) && decode_pool_help(pipeline->decoders))
        take_decoded(consumer, false);
}

/* Reads some messages. False when none lies ready any more. */
static bool read_messages(struct consumer *consumer, int timeout_ms)
{
    for (int i = 0; i < READ_MESSAGES; i++) {
        rd_kafka_message_t *message = poll_message(consumer, i == 0 ? timeout_ms : 0);
        if (!message)
            return false;
        take_message(consumer, message);
        if (consumer->waiting || consumer->due_ns == 0 || pipeline_is_full(&consumer->pipeline))
            break;
    }
    return true;
}

/* Whether no more messages can be taken for now. What is decoded may gather while an append is
 * under way, but only so much. */
static bool must_stall(const struct consumer *consumer)
{
    const struct partition_list *list = consumer->partitions;
    bool much = pipeline_is_full(&consumer->pipeline);

    for (size_t i = 0; (consumer->waiting || much) && i < list->count; i++)
        if (partition_must_stall(list->items[i], much))
            return true;
    return false;
}

static void stall(struct consumer *consumer)
{
    int64_t limit_ns = sleep_limit_ns(consumer, now_of(consumer));

    if (limit_ns > 0 && may_sleep(consumer, true))
        kafka_session_sleep(consumer->session, limit_ns);
    (void)may_sleep(consumer, false);
}

/* Housekeeping. */

static void commit(struct consumer *consumer, int wait_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

    for (size_t i = 0; i < consumer->partitions->count; i++) {
        struct partition *partition = consumer->partitions->items[i];
        int64_t next_offset = partition->lane.durable.next_offset;
        if (next_offset < 0 || next_offset == partition->committed_offset)
            continue;
        partition->committed_offset = next_offset;
        rd_kafka_topic_partition_list_add(list, partition->name.topic, partition->name.number)
            ->offset = next_offset;
    }
    kafka_session_commit(consumer->session, list, wait_ms);
    rd_kafka_topic_partition_list_destroy(list);
}

/* What is known to be the end of what it has: its offset, or where an empty partition begins. */
static int64_t settled_offset(const struct partition_list *list, const struct partition *partition)
{
    const struct partition_shared *shared = &partition->shared;
    int64_t offset = -1;

    pthread_mutex_lock((pthread_mutex_t *)&list->lock);
    if (partition_caught_up(partition))
        offset = shared->next_offset >= 0 ? shared->next_offset : shared->begin_offset;
    pthread_mutex_unlock((pthread_mutex_t *)&list->lock);
    return offset;
}

/* After this process has stood still it may be no member of its group any more. Partitions that have not caught
 * up count for nothing yet: without any other there is nothing to ask about. */
static void confirm(struct consumer *consumer, int64_t now_ns)
{
    struct store_registry *registry = consumer->options.registry;
    uint64_t doubt = store_registry_doubt(registry);
    rd_kafka_topic_partition_list_t *list;

    if (doubt == 0 || now_ns < consumer->confirm_ns)
        return;
    consumer->confirm_ns = now_ns + CONFIRM_NS;
    list = rd_kafka_topic_partition_list_new(8);
    for (size_t i = 0; i < consumer->partitions->count; i++) {
        const struct partition *partition = consumer->partitions->items[i];
        int64_t offset = settled_offset(consumer->partitions, partition);
        if (offset >= 0)
            rd_kafka_topic_partition_list_add(list, partition->name.topic, partition->name.number)
                ->offset = offset;
    }
    if (list->cnt > 0)
        kafka_session_confirm(consumer->session, list, doubt);
    else if (consumer->partitions->count == 0)
        store_registry_end_doubt(registry, doubt);
    rd_kafka_topic_partition_list_destroy(list);
}

static void end_takeovers(struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->partitions->count; i++) {
        struct partition *partition = consumer->partitions->items[i];
        if (partition->takeover && takeover_is_over(partition->takeover))
            partition_end_takeover(partition,
                                   control_is_held(consumer->control, partition->name.collection));
    }
}

static void tick(struct consumer *consumer, int64_t now_ns)
{
    int64_t wall_ms = io_wall_ms(consumer->options.io);

    consumer->ticked_ns = now_ns;
    for (size_t i = 0; i < consumer->partitions->count; i++) {
        partition_tick(consumer->partitions->items[i], wall_ms);
        partition_settle(consumer->partitions->items[i]);
    }
}

static struct partition *open_assigned(struct consumer *consumer,
                                       const struct topic_partition *name)
{
    struct partition *partition = partition_open(&consumer->context, name);

    logger_write_event(LOGGER_INFO, "ingest", "partition_assigned",
                       PARTITION_FORMAT " assigned, shard %s, from offset %lld",
                       PARTITION_NAME(name), name->shard,
                       (long long)partition->lane.durable.next_offset);
    return partition;
}

static void open_stranger(struct consumer *consumer, const struct topic *topic, int32_t number)
{
    const struct topic_partition name = topic_partition_of(topic, number);
    struct partition *partition = open_assigned(consumer, &name);

    kafka_session_set_paused(consumer->session, &name, false);
    partition_read_anew(partition, control_is_held(consumer->control, name.collection));
    alive(consumer);
}

/* Strangers are paused. When their topic is read later, nobody assigns them again. True when one was opened. */
static bool look_at_strangers(struct consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list, *strangers;
    bool opened = false;

    if (!consumer->strangers)
        return false;
    list = kafka_session_assignment(consumer->session);
    strangers = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *place = &list->elems[i];
        const struct topic *topic = topics_find(consumer->topics, place->topic);
        if (!topic)
            rd_kafka_topic_partition_list_add(strangers, place->topic, place->partition);
        else if (!partition_find(consumer->partitions, place->topic, place->partition)) {
            open_stranger(consumer, topic, place->partition);
            opened = true;
        }
    }
    if (strangers->cnt > 0 && consumer->strangers_are_new)
        kafka_session_pause_all(consumer->session, strangers);
    consumer->strangers = strangers->cnt > 0;
    consumer->strangers_are_new = false;
    rd_kafka_topic_partition_list_destroy(strangers);
    rd_kafka_topic_partition_list_destroy(list);
    return opened;
}

static void housekeep(struct consumer *consumer, int64_t now_ns)
{
    bool regulate;

    consumer->housekept_ns = now_ns;
    alive(consumer);
    if (consumer->pipeline.letters)
        dead_letters_poll(consumer->pipeline.letters, 0);
    end_takeovers(consumer);
    regulate = look_at_strangers(consumer);
    if (atomic_load(&consumer->hand_over) && !atomic_load(&consumer->left)) {
        kafka_session_give_up(consumer->session);
        atomic_store(&consumer->left, true);
    }
    regulate |= control_serve(consumer->control, consumer->partitions);
    if (regulate) /* pauses what is held now, before its next message comes */
        append_due(consumer, now_ns, false);
    for (size_t i = 0; i < consumer->partitions->count; i++)
        if (consumer->partitions->items[i]->state == PARTITION_OUT_OF_RANGE)
            partition_tick(consumer->partitions->items[i], io_wall_ms(consumer->options.io));
    if (now_ns - consumer->ticked_ns >= NS_PER_S)
        tick(consumer, now_ns);
    if (now_ns - consumer->committed_ns >= COMMIT_NS &&
        kafka_session_view(consumer->session).silent_ns == 0) {
        consumer->committed_ns = now_ns;
        commit(consumer, 0);
    }
    confirm(consumer, now_ns);
    consumer->maintain_ns = kafka_session_maintain(consumer->session);
}

static void round_once(struct consumer *consumer)
{
    bool more = true;
    bool idle = false;
    int64_t now_ns;

    if (must_stall(consumer)) {
        stall(consumer);
        more = false;
    } else {
        /* What was read comes first, unless there is more to read. */
        int64_t limit_ns = consumer->undecoded ? 0 : sleep_limit_ns(consumer, now_of(consumer));
        more = read_messages(consumer, (int)((limit_ns + NS_PER_MS - 1) / NS_PER_MS));
        idle = !more && limit_ns > 0;
    }
    now_ns = now_of(consumer);
    take_appended(consumer);
    /* A partition with few records does not wait until one with many is read. */
    if (!more || (consumer->undecoded && now_ns - consumer->undecoded_ns >= LANE_BUSY_LINGER_NS))
        finish_decoding(consumer);
    if (consumer->waiting && consumer->pipeline.letters)
        dead_letters_poll(consumer->pipeline.letters, 0);
    if (!more || consumer->waiting || consumer->due_ns == 0 ||
        (consumer->due_ns != INT64_MAX && now_ns - consumer->due_ns >= LANE_BUSY_LINGER_NS))
        append_due(consumer, now_ns, more);
    if (idle || now_ns - consumer->housekept_ns >= HOUSEKEEP_NS)
        housekeep(consumer, now_ns);
}

/* Partitions come and go. */

/* To a static member that comes back the group gives what it had, without asking what it reads now: also partitions of
 * topics that left the config, or of a collection that is refused. look_at_strangers deals with them. */
static void on_assigned(void *context, rd_kafka_topic_partition_list_t *list, int32_t generation)
{
    struct consumer *consumer = context;

    store_registry_set_ownership(consumer->options.registry,
                                 (struct store_ownership){consumer->group, generation});
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *place = &list->elems[i];
        const struct topic *topic = topics_find(consumer->topics, place->topic);
        struct topic_partition name;
        struct partition *partition;
        if (!topic)
            consumer->strangers = consumer->strangers_are_new = true;
        if (!topic || partition_find(consumer->partitions, place->topic, place->partition))
            continue; /* each is assigned once */
        name = topic_partition_of(topic, place->partition);
        partition = open_assigned(consumer, &name);
        place->offset = partition_start_offset(partition, true);
        partition_begin(partition, control_is_held(consumer->control, name.collection));
        alive(consumer);
    }
}

/* In a cluster it is known when another node has the shard, and until then this copy is as good as it was. A
 * partition that is given back goes the same way as one that is lost: between two owners a group may take seconds, and
 * when a broker dies the groups of all replica sets do so at once. The registry tells how long (registry_kept.c). */
static enum partition_shard_fate fate_of(const struct consumer *consumer,
                                         const struct partition *partition, bool lost)
{
    const bool stops = atomic_load(&consumer->stop);

    if (!topics_find(consumer->topics, partition->name.topic))
        return SHARD_CLOSED; /* its collection was deleted */
    if (!lost && atomic_load(&consumer->left))
        return SHARD_HANDED_OVER; /* the daemon stops when it is taken over */
    if (stops)
        return SHARD_CLOSED;
    if (consumer->options.config->cluster_name)
        return SHARD_HANDED_OVER;
    return lost ? SHARD_KEPT : SHARD_CLOSED;
}

static void close_partition(struct consumer *consumer, struct partition *partition, bool lost)
{
    if (lost)
        kafka_session_set_lost(consumer->session);
    if (consumer->last == partition)
        consumer->last = NULL;
    partition_close(partition, lost, fate_of(consumer, partition, lost));
    alive(consumer);
}

static void on_revoked(void *context, const rd_kafka_topic_partition_list_t *list, bool lost)
{
    struct consumer *consumer = context;
    int64_t limit_ns = atomic_load(&consumer->stop) ? STOP_NS : LANE_HAND_OVER_NS;

    /* All groups first: shards close one after the other, and each may take its time. */
    for (int i = 0; i < list->cnt && !lost; i++) {
        struct partition *partition =
            partition_find(consumer->partitions, list->elems[i].topic, list->elems[i].partition);
        if (partition)
            partition_drain(partition, limit_ns);
    }
    if (!lost)
        commit(consumer, HAND_OVER_COMMIT_MS);
    for (int i = 0; i < list->cnt; i++) {
        struct partition *partition =
            partition_find(consumer->partitions, list->elems[i].topic, list->elems[i].partition);
        if (partition)
            close_partition(consumer, partition, lost);
    }
}

static void on_lost_all(void *context)
{
    struct consumer *consumer = context;
    struct partition_list *list = consumer->partitions;

    consumer->strangers = false; /* the client that goes has all partitions still */
    while (list->count > 0)
        close_partition(consumer, list->items[list->count - 1], true);
}

static void ask_leaders(void *context)
{
    struct consumer *consumer = context;

    observer_ask(consumer->observer, false);
}

static void ask_offsets(void *context)
{
    struct consumer *consumer = context;

    observer_ask(consumer->observer, true);
}

static void on_confirmed(void *context, uint64_t doubt)
{
    const struct consumer *consumer = context;

    store_registry_end_doubt(consumer->options.registry, doubt);
}

/* Life. */

static uint32_t group_of(const struct config *config)
{
    char group[CONFIG_GROUP_BYTES];

    config_consumer_group(config, group);
    return (uint32_t)checksum_block(group, strlen(group), 0, 0, 0);
}

int consumer_new(const struct ingest_options *options, struct topics *topics,
                 struct partition_list *partitions, struct control *control,
                 struct observer *observer, struct consumer **consumer, struct error *error)
{
    struct consumer *fresh = memory_new(1, sizeof(*fresh));
    struct kafka_session_options session = {
        .config = options->config,
        .topics = topics,
        .metrics = options->metrics,
        .io = options->io,
        .events = {fresh, on_assigned, on_revoked, on_lost_all, ask_leaders, on_confirmed}};
    int code;

    fresh->options = *options;
    fresh->topics = topics;
    fresh->partitions = partitions;
    fresh->control = control;
    fresh->observer = observer;
    fresh->group = group_of(options->config);
    fresh->due_ns = INT64_MAX;
    *consumer = fresh;
    code = kafka_session_new(&session, &fresh->session, error);
    if (code == 0)
        code = pipeline_create(&fresh->pipeline, &fresh->options, wake, sleep_for, fresh, error);
    fresh->takeovers = takeovers_new(&fresh->options.host, fresh->session);
    fresh->context = (struct partition_context){.list = partitions,
                                                .session = fresh->session,
                                                .pipeline = &fresh->pipeline,
                                                .takeovers = fresh->takeovers,
                                                .registry = options->registry,
                                                .host = &fresh->options.host,
                                                .metrics = options->metrics,
                                                .io = options->io,
                                                .ask_offsets = ask_offsets,
                                                .context = fresh};
    if (code != 0)
        return code;
    if (options->config->cluster_name)
        store_registry_watch_pauses(options->registry,
                                    kafka_session_pause_limit_ns(fresh->session));
    fresh->listener = (struct store_listener){.room = wake, .context = fresh};
    store_listen(store_registry_store(options->registry), &fresh->listener);
    return 0;
}

void consumer_delete(struct consumer *consumer)
{
    if (!consumer)
        return;
    if (consumer->listener.context)
        store_unlisten(store_registry_store(consumer->options.registry), &consumer->listener);
    takeovers_delete(consumer->takeovers);
    pipeline_destroy(&consumer->pipeline);
    kafka_session_delete(consumer->session);
    free(consumer);
}

static void *run(void *context)
{
    struct consumer *consumer = context;

    while (!atomic_load(&consumer->stop))
        round_once(consumer);
    control_close(consumer->control);
    kafka_session_leave(consumer->session);
    return NULL;
}

int consumer_run(struct consumer *consumer, struct error *error)
{
    int code = thread_start(&consumer->thread, "consume", run, consumer);

    return code == 0 ? 0 : error_set_errno(error, code, "ingest: start a thread");
}

void consumer_stop(struct consumer *consumer)
{
    atomic_store(&consumer->stop, true);
    kafka_session_wake(consumer->session);
    pthread_join(consumer->thread, NULL);
}

void consumer_hand_over(struct consumer *consumer)
{
    atomic_store(&consumer->hand_over, true);
    kafka_session_wake(consumer->session);
}

bool consumer_handed_over(struct consumer *consumer)
{
    bool none;

    pthread_mutex_lock(&consumer->partitions->lock);
    none = consumer->partitions->count == 0;
    pthread_mutex_unlock(&consumer->partitions->lock);
    return none && atomic_load(&consumer->left);
}

struct kafka_session *consumer_session(struct consumer *consumer)
{
    return consumer->session;
}
