/* One assigned partition: a state machine over its lane of the pipeline.
 *
 *     OPENING ----------> CHECKING_TOPIC --> READING <--> STALLED
 *                                            ^  |            |
 *                                            |  v            v
 *                                            PAUSED <--------+
 *                                            ^    ^
 *                              WAITING_CLOCK-+    +-HELD_BY_OPERATOR
 *
 *     OPENING -> FETCHING -> OPENING, when another process has a newer copy of the shard
 *
 *     from \ to         CHECK  READ   STALL  PAUSE  CLOCK  HELD   RANGE  STOP   OPEN   DRAIN  CLOSED
 *     OPENING           x      x                           x             x                    x
 *     CHECKING_TOPIC           x                           x      x      x             x      x
 *     READING                         x      x      x      x      x      x             x      x
 *     STALLED                  x             x      x      x      x      x             x      x
 *     PAUSED            x      x                    x      x      x      x             x      x
 *     WAITING_CLOCK                          x             x      x      x             x      x
 *     HELD_BY_OPERATOR                       x                    x      x             x      x
 *     OUT_OF_RANGE                                                       x             x      x
 *     STOPPED                                                                   x             x
 *     DRAINING                                                           x                    x
 *
 * OPENING           its shard is being opened, or it was resumed after a stop
 * FETCHING          another process's copy of its shard is on its way (takeover.h); reads nothing yet
 * CHECKING_TOPIC    reads from the record before its offset, to see that the topic is still the one
 *                   that was read (topic_fingerprint.h); takes nothing yet
 * READING           the usual state
 * STALLED           a group was refused (store behind, disk full, letters not acknowledged) and is
 *                   tried again; messages are read until the next group is full
 * PAUSED            Kafka was told to send nothing; continues when the store has room
 * WAITING_CLOCK     paused in front of a record that is newer than the frozen clock allows
 * HELD_BY_OPERATOR  paused by `windrow pause`; what was read before is still made durable
 * OUT_OF_RANGE      Kafka does not have our offset, or has another record below it; stops as soon
 *                   as the broker told its offsets, because the reason names them
 * STOPPED           continues only when an operator says so; its shard still answers searches
 * DRAINING          is being given back: what was read is made durable, within a limit
 * CLOSED            no longer ours; about to be deleted
 *
 * Who writes what. The consumer thread owns a partition. Other threads see `name` and `metrics`,
 * which do not change, and `shared`, which is guarded by the list's lock. The consumer thread reads
 * the list without the lock, because it alone changes it. The lock is never held across a call into
 * the store, the host or librdkafka. Private to ingest/. */
#ifndef INGEST_PARTITION_H
#define INGEST_PARTITION_H

#include "ingest/kafka_session.h"
#include "ingest/pipeline.h"
#include "ingest/takeover.h"
#include "store/lease.h"

enum partition_state {
    PARTITION_OPENING,
    PARTITION_FETCHING,
    PARTITION_CHECKING_TOPIC,
    PARTITION_READING,
    PARTITION_STALLED,
    PARTITION_PAUSED,
    PARTITION_WAITING_CLOCK,
    PARTITION_HELD_BY_OPERATOR,
    PARTITION_OUT_OF_RANGE,
    PARTITION_STOPPED,
    PARTITION_DRAINING,
    PARTITION_CLOSED,
};

/* Why a partition stopped. */
enum partition_stop_cause {
    STOP_NONE,
    STOP_OPEN,        /* its shard cannot be opened */
    STOP_STORE,       /* a write failed for good */
    STOP_RANGE,       /* Kafka no longer has its offset, or not yet: the topic was recreated */
    STOP_FINGERPRINT, /* Kafka has another record below it: the topic was recreated */
    STOP_RECORD,      /* a bad record, and no dead-letter topic */
};

/* What other threads see; guarded by the list's lock. */
struct partition_shared {
    enum partition_state state;
    bool paused;            /* librdkafka was told to */
    int64_t next_offset;    /* durable; -1: nothing known yet */
    int64_t begin_offset;   /* the oldest that Kafka still has; -1 unknown */
    int64_t end_offset;     /* last stable offset; -1 unknown */
    int64_t end_seen_ns;    /* when the broker said so */
    int64_t high_watermark; /* behind the records of open transactions, too; -1 unknown */
    int64_t target_offset;  /* the first end offset seen: what counts as caught up; -1 unknown */
    int64_t last_timestamp_ms;
    bool behind;                /* what the registry was told */
    enum store_reading reading; /* likewise */
    bool full;                  /* it waits for space on the disk, for longer than a moment */
    char stopped[512];
    char waiting[512];
};

/* All assigned partitions. */
struct partition_list {
    pthread_mutex_t lock;
    struct partition **items;
    size_t count, capacity;
};

/* What all partitions are made with. */
struct partition_context {
    struct partition_list *list;
    struct kafka_session *session;
    struct pipeline *pipeline;
    struct takeovers *takeovers;
    struct store_registry *registry;
    const struct ingest_host *host;
    struct metrics *metrics;
    struct io *io;
    /* Makes the broker tell begin and end offsets soon, and wakes the consumer then. */
    void (*ask_offsets)(void *context);
    void *context;
};

struct partition {
    struct topic_partition name;
    struct partition_metrics metrics;

    /* Consumer thread. */
    const struct partition_context *context;
    struct lane lane;
    enum partition_state state;
    struct takeover *takeover; /* of FETCHING */
    bool check_pending;        /* the topic fingerprint was not compared yet; messages below our own
                              offset are looked at and dropped */
    bool client_paused;        /* librdkafka was told to */
    enum wait_reason told;     /* what `shared.waiting` says it waits for */
    enum partition_stop_cause stop_cause; /* of STOPPED and OUT_OF_RANGE */
    int64_t out_of_range_ns;
    int64_t committed_offset;

    struct partition_shared shared;
};

void partition_list_create(struct partition_list *list);
void partition_list_destroy(struct partition_list *list);
/** Consumer thread, or under the lock. */
struct partition *partition_find(const struct partition_list *list, const char *topic,
                                 int32_t number);

/** Makes it, lists it, opens its shard: OPENING or STOPPED; or FETCHING. */
struct partition *partition_open(const struct partition_context *context,
                                 const struct topic_partition *name);
/** Where it is to be read from: at the record of its topic fingerprint when `check` and that is near, else at its next
 * offset, or where a replay begins. May ask the broker. */
int64_t partition_start_offset(struct partition *partition, bool check);
/** FETCHING that is over becomes OPENING, then as partition_begin, with the copy or without. */
void partition_end_takeover(struct partition *partition, bool held);
/** Reads one anew that the group gave this process before. Not inside an event. */
void partition_read_anew(struct partition *partition, bool held);
/** Reading begins there: CHECKING_TOPIC, READING, or HELD_BY_OPERATOR when `held`. */
void partition_begin(struct partition *partition, bool held);

/** One message in order. Takes it over and returns true, unless it is not wanted. */
bool partition_read(struct partition *partition, rd_kafka_message_t *message);
/** Read to the end, which is at `offset`. */
void partition_read_end(struct partition *partition, int64_t offset);
/** Kafka does not have the offset that was asked for. */
void partition_out_of_range(struct partition *partition);

/** After every call into the lane: takes over what it waits for or why it failed. */
void partition_settle(struct partition *partition);
/** Pauses and resumes fetching as the state wants it. Between polls only: librdkafka throws away
 * what it has fetched. Returns whether it is paused because a group cannot go. */
bool partition_regulate(struct partition *partition, int64_t now_ns, bool any_paused);
/** Whether the poll loop has to stall, so that the broker keeps what it has. `much`: a lot is read
 * and not taken. */
bool partition_must_stall(const struct partition *partition, bool much);
/** When it is next to be looked at; INT64_MAX: not before something happens. */
int64_t partition_due_ns(const struct partition *partition);
/** About once a second: the frozen clock, the watermark of an idle shard, and OUT_OF_RANGE. */
void partition_tick(struct partition *partition, int64_t wall_ms);

void partition_hold(struct partition *partition, bool hold);
/** Continues after a stop because an operator asked for it: behind what is lost or bad, or with an empty shard.
 */
int partition_resume_stopped(struct partition *partition, enum ingest_resume how, bool held,
                             struct error *error);

/** DRAINING: up to `limit_ns` to make durable what was read. */
void partition_drain(struct partition *partition, int64_t limit_ns);
/* What becomes of the shard of a partition that goes. */
enum partition_shard_fate {
    SHARD_CLOSED,
    SHARD_KEPT,        /* searched until it is known whose it is */
    SHARD_HANDED_OVER, /* searched, as complete as it is, until its next owner has it */
};

/** Leaves the shard to its fate, deletes the partition. `lost`: it was not drained. */
void partition_close(struct partition *partition, bool lost, enum partition_shard_fate fate);

/** Publishes next offset and timestamp for other threads. */
void partition_publish(struct partition *partition);
/** Records behind the durable offset; -1 unknown. Under the lock. */
int64_t partition_lag(const struct partition *partition);
/** Whether waiting longer brings nothing: all that was in Kafka when it came is durable, or it
 * waits for an operator. Under the lock. */
bool partition_caught_up(const struct partition *partition);
/** Tells the registry whether the shard still lacks what Kafka had when it came, if that has
 * changed. Under the list's lock. */
void partition_tell_behind(struct partition *partition);

#endif
