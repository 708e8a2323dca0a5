/* The consumer's own structures. Private to ingest/{ingest,consumer*}.c.
 *
 *     ingest.c              start, stop, status, readiness
 *     consumer.c            the thread: poll, errors, stalls, housekeeping
 *     consumer_take.c       one partition: read, decode in tasks, judge, into the group
 *     consumer_partition.c  one partition: hand the group to an append, wait, stop
 *     consumer_wait.c       one partition: what it waits for, and who is told
 *     consumer_start.c      where a partition is read from
 *     consumer_mark.c       whether its topic is still the one that was read
 *     consumer_rebalance.c  assignment: open, seek; revocation: flush, hand over
 *     consumer_fetch.c      keeps librdkafka fetching
 *     consumer_control.c    what operators ask for: pause, resume
 *     consumer_observe.c    a second thread that asks the broker for end offsets
 *     consumer_metrics.c    the series of a partition
 *
 * Threads. The consumer thread owns every partition. Workers decode (decode_pool.h), others append
 * to the store (append_pool.h). The observer asks the broker, so that no query ever delays a poll.
 * What other threads read (struct partition_shared, the list of partitions, struct broker_view) is
 * guarded by `lock`, which is never held across a call into the store, the host or librdkafka. */
#ifndef INGEST_CONSUMER_H
#define INGEST_CONSUMER_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/io.h"
#include "ingest/append_pool.h"
#include "ingest/dead_letter.h"
#include "ingest/decode_pool.h"
#include "ingest/ingest.h"

enum {
    CONSUMER_GROUP_RECORDS = 2048,          /* a group is appended once it has this many */
    CONSUMER_GROUP_BYTES = 4 * 1024 * 1024, /* or this much */
    /* What is read and not taken: beyond it the consumer decodes instead of reading. */
    CONSUMER_DECODING_BYTES = 8 * 1024 * 1024,
    /* A group of this size waits for no others: its page of the log is nearly all records. */
    CONSUMER_GROUP_WORTH_BYTES = 32 * 1024,
};

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* A lone record is appended at once, and what comes while that is under way goes with the next
 * append. A small one begins this long after the one before: each takes a whole page of the log,
 * however few records it has. */
#define CONSUMER_LINGER_NS NS_PER_MS
/* While messages keep coming without a pause a group may grow this long: in a backlog a sync for
 * what was read in a millisecond costs more than the reading. */
#define CONSUMER_BUSY_LINGER_NS (5 * NS_PER_MS)
/* Without records (control records, aborted transactions) the offset moves less often. */
#define CONSUMER_GAP_NS (200 * NS_PER_MS)
/* A full group that cannot be appended stalls the poll loop this long; then its partition is
 * paused: pausing throws the prefetched messages away, which costs most of a second. */
#define CONSUMER_STALL_NS NS_PER_S
/* A partition paused for lack of memory is resumed when no flush is due, or after this long. */
#define CONSUMER_RESUME_NS (5 * NS_PER_S)
/* One id so often, whatever the rate, is looked for in the other shards. */
#define CONSUMER_SAMPLE_NS (100 * NS_PER_MS)
/* A client that failed for good leaves its group within this time. */
#define CONSUMER_LEAVE_NS (500 * NS_PER_MS)
/* The longest wait between two clients, when one after the other fails for good. */
#define CONSUMER_RENEW_MAX_NS (60 * NS_PER_S)
#define CONSUMER_COMMIT_NS    (5 * NS_PER_S)
#define CONSUMER_COMPLAIN_NS  (30 * NS_PER_S)
/* How long a hand-over waits for dead letters to be acknowledged. */
#define CONSUMER_HAND_OVER_NS (5 * NS_PER_S)
/* The same when the process stops. */
#define CONSUMER_STOP_NS NS_PER_S
/* An idle shard's watermark is persisted when a window may close, or this often. */
#define CONSUMER_IDLE_PERSIST_NS (30 * NS_PER_S)

/* Why a group is not appended yet, or (the last one) the next message not taken. */
enum partition_wait {
    WAIT_NONE,
    WAIT_DEAD_LETTERS, /* not acknowledged */
    WAIT_STORE,        /* ERROR_BUSY: flush or compaction is behind, or the byte cap is passed */
    WAIT_SPACE,        /* ERROR_NO_SPACE */
    WAIT_CLOCK,        /* newer than the clock that stands; never in partition.wait */
    WAIT_COUNT
};

/* Why a partition will not go on by itself. */
enum partition_stop_cause {
    STOP_NONE,
    STOP_OPEN,   /* its shard cannot be opened */
    STOP_STORE,  /* a write failed for good */
    STOP_RANGE,  /* Kafka no longer has its offset, or not yet: the topic was made anew */
    STOP_MARK,   /* Kafka has another record at the mark: the topic was made anew */
    STOP_RECORD, /* a bad record, and no dead-letter topic */
};

/* Whether the record at the mark was looked at since the partition was assigned. */
enum partition_check {
    CHECK_DUE,    /* the start begins at the mark */
    CHECK_MARK,   /* reading began there; its record has not come */
    CHECK_BEHIND, /* it came, or something behind it; what comes may be durable already */
    CHECK_FAILED, /* it is another one: nothing is read; stops once the broker told its offsets */
    CHECK_DONE,
};

enum { REJECT_REASONS_MAX = 24 }; /* more than decoding and judging have */

/* What became of the records of a group that are not in it. Counted once the group is durable: what
 * is lost before is read, and counted, again. */
struct partition_counts {
    size_t late_accepted, late_dropped, late_dead_letter, expired;
    size_t reason_count;
    struct {
        const char *reason; /* a literal */
        size_t count;
    } rejects[REJECT_REASONS_MAX];
};

struct partition_metrics {
    struct metric *ingested, *superseded, *deleted;
    struct metric *late_accepted, *late_dropped, *late_dead_letter, *expired;
    struct metric *lag_records, *lag_seconds, *watermark, *stalled, *stopped;
    struct metric *next_offset, *begin_offset, *end_offset;
    struct metric *waiting[WAIT_COUNT]; /* WAIT_NONE has none */
    struct metric *freshness;
};

/* What other threads see; guarded by ingest->lock. */
struct partition_shared {
    int64_t next_offset;   /* durable; -1: nothing known yet */
    int64_t begin_offset;  /* the oldest that Kafka still has; -1 unknown */
    int64_t end_offset;    /* last stable offset; -1 unknown */
    int64_t end_seen_ns;   /* when the broker said so */
    int64_t target_offset; /* the first end offset seen: what counts as caught up; -1 unknown */
    int64_t last_timestamp_ms;
    bool paused;
    bool clock_wait;
    char stopped[512];
    char waiting[512];
};

/* What was taken and is not durable yet. */
struct partition_group {
    struct decode_task *tasks; /* the records lie in them */
    struct partition_counts counts;
    struct store_record *records;
    int64_t *timestamps_ms; /* of Kafka, one a record, for freshness */
    size_t record_count;
    size_t record_capacity;
    size_t weight_records; /* records and letters */
    size_t weight_bytes;
    int64_t started_ns;       /* when it got its first message; 0: it is empty */
    bool gap;                 /* it has no message, only offsets without records */
    rd_kafka_message_t *last; /* taken; until the group goes to the store */
    /* As of its last message, once it goes to the store. */
    int64_t next_offset;
    struct store_topic_fingerprint mark;
    struct twcs_clock clock;
};

struct partition {
    struct ingest *ingest;
    const struct config_collection *collection;
    char *topic;
    int32_t number;
    char shard_name[300];
    struct store_shard *shard; /* NULL when it could not be opened: then stopped */
    struct twcs_policy policy;
    struct twcs_clock clock; /* as of the last record taken */
    struct partition_metrics metrics;

    /* What was read and not taken yet, in order. The last one is open until it is submitted, or
     * until the consumer decodes it itself. */
    struct decode_task *tasks, *last_task;
    bool submitted;      /* the last one was */
    int64_t read_offset; /* offset behind the last message read; -1: none yet */

    struct partition_group groups[2];
    struct partition_group *group;     /* takes records */
    struct partition_group *sent;      /* given to the store, or refused by it; NULL: none */
    struct append_job job;             /* of it */
    bool appending;                    /* the job is under way */
    int64_t submitted_ns;              /* when that began */
    int64_t appended_ns;               /* when the last one was seen to be done */
    struct dead_letter_ticket *ticket; /* letters that must be acknowledged before `group` */

    int64_t position;                    /* offset behind the last message taken; -1: none yet */
    int64_t next_offset;                 /* durable: where a restart goes on; -1: nothing */
    struct store_topic_fingerprint mark; /* durable: of the last record below it */
    enum partition_check check;
    int64_t committed_offset;
    int64_t last_timestamp_ms;
    bool at_end; /* read to the partition's end; nothing came since */

    enum partition_wait wait;
    int64_t wait_since_ns;
    int64_t retry_ns; /* next try of a group that waits */
    int64_t complained_ns;
    bool wait_told;        /* shared.waiting says so */
    int64_t clock_wait_ns; /* the next message waits for the clock since then; 0: it does not */
    bool paused;           /* asked librdkafka to pause it */
    bool stopped;          /* will not go on until an operator says so */
    enum partition_stop_cause stop_cause;
    int64_t bad_offset;      /* of STOP_RECORD */
    int64_t skip_offset;     /* an operator said so, and what lies before it is read again; -1 */
    bool pause_pending;      /* stopped or stalled inside a callback: pause at the next round */
    int64_t out_of_range_ns; /* Kafka refused our offset then; 0: it did not */

    int64_t idle_persisted_ns;
    int64_t persisted_watermark_ms;

    struct partition_shared shared;
};

/* One subscribed topic. */
struct topic {
    const char *name;
    const struct config_collection *collection;
    bool first;      /* of its collection: its shards are named by the partition alone */
    bool missing;    /* the broker does not know it; guarded by ingest->lock */
    int64_t said_ns; /* when that was logged */
};

struct control;

struct ingest {
    const struct config *config;
    struct ingest_host host;
    struct metrics *metrics;
    struct io *io;
    struct io *wall; /* its wall clock may be ahead of io's */
    rd_kafka_t *consumer;
    pthread_rwlock_t client_lock; /* write: the consumer thread replaces `consumer`; the observer
                                     reads it */
    struct dead_letters *letters; /* NULL: partitions stop instead */
    pthread_t thread;
    pthread_t observer;
    atomic_bool stop;

    /* Consumer thread only. */
    struct decode_pool *pool;
    struct append_pool *appends;
    int64_t undecoded_ns;
    bool undecoded;         /* something was read since all was decoded */
    size_t decoding_bytes;  /* read and not taken */
    struct partition *last; /* the partition of the last message */
    int64_t due_ns;         /* when a partition is next to be looked at; INT64_MAX: none is */
    bool waiting;           /* some group waits */
    bool any_paused;        /* one was paused over it: the next need not stall all again */
    int64_t housekept_ns;
    int64_t ticked_ns;
    int64_t commit_ns;
    int64_t complained_ns; /* about brokers */
    int64_t sampled_ns;    /* when an id was last looked for in other shards */
    int64_t twice_said_ns; /* when one that was found there was last logged */
    bool silence_said;     /* a line says that no broker answers */
    bool ever_assigned;
    bool fatal;         /* the client failed for good: a new one has to take over */
    int64_t failed_ns;  /* when that was seen */
    int64_t renewed_ns; /* when a new one last took over */
    int64_t renew_wait_ns;
    bool no_commit; /* no broker answers while the consumer closes */
    struct {
        rd_kafka_queue_t *queue; /* of fetched messages */
        size_t peak;             /* its greatest length since the fetching was woken */
        unsigned unlooked;       /* messages taken since its length was looked at */
        int64_t woken_ns;
    } fetch;
    bool *held; /* one a collection: an operator paused it. Written under `lock` */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* for the observer */
    struct partition **partitions;
    size_t partition_count, partition_capacity;
    struct topic *topics;
    size_t topic_count;
    struct control *control;   /* what an operator waits for */
    size_t control_users;      /* threads that wait */
    bool control_closed;       /* nobody will serve them any more */
    pthread_cond_t controlled; /* any of these changed */
    bool observer_stop;
    bool observe_now;
    bool joined;              /* an assignment has come, even an empty one */
    bool lost;                /* partitions were, and no assignment has come since */
    bool broker_answered;     /* since the start */
    int64_t broker_silent_ns; /* since when no broker answers; 0: they do */
    char failed[256];         /* why the client failed for good, until a new one takes over */
};

/* ---- ingest.c */
/* A client that has subscribed. */
int consumer_connect(struct ingest *ingest, rd_kafka_t **client, struct error *error);

/* ---- consumer.c */
void *consumer_main(void *context);
/* The error callback of the client: brokers that do not answer or do not let us in. */
void consumer_client_error(rd_kafka_t *client, int code, const char *reason, void *opaque);
/* Without closing it. One that cannot be destroyed is left behind. */
void consumer_destroy(struct ingest *ingest);
/* Makes its poll return; called by appends (append_pool.h). */
void consumer_wake(void *context);
/* Commits what is durable, as a hint for lag tools. `wait_ms` 0: without waiting for the reply. */
void consumer_commit(struct ingest *ingest, int wait_ms);

/* Tells librdkafka; pausing throws away what it has fetched. Not inside an assignment. */
void consumer_set_paused(struct partition *partition, bool pause);

/* ---- consumer_partition.c */
struct partition *partition_find(struct ingest *ingest, const char *topic, int32_t number);
bool partition_full(const struct partition *partition);
/* Whether something was taken that is not durable. */
bool partition_pending(const struct partition *partition);
/* Gives the group to the store if it can, unless the one before is still on its way; else `wait`
 * says why not. */
void partition_append(struct partition *partition);
/* Takes note of an append that is done. */
void partition_appended(struct partition *partition);
/* When its group is to be appended; INT64_MAX: not before something else happens. */
int64_t partition_due_ns(const struct partition *partition);
/* Whether nothing more can be taken until the store or a dead letter answers. */
bool partition_blocked(const struct partition *partition);
/* Tries that for up to `limit_ns`. */
void partition_append_for(struct partition *partition, int64_t limit_ns);
/* Tries for up to `limit_ns` to get all that was read durable: before a hand-over. */
void partition_drain(struct partition *partition, int64_t limit_ns);
/* The safe clock, and the watermark of an idle shard. About once a second. */
void partition_tick(struct partition *partition, int64_t wall_ms);
void partition_stop(struct partition *partition, enum partition_stop_cause cause,
                    const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Moves the durable offset of an idle or stopped partition without a record; the mark goes. */
int partition_move(struct partition *partition, int64_t next_offset, struct error *error);
/* Forgets what was read and is not durable. */
void partition_forget(struct partition *partition);
/* No longer stopped; it is read from its position. */
void partition_go_on(struct partition *partition);
/* Whether an operator paused its collection. */
bool partition_held(const struct partition *partition);
/* Publishes next offset, timestamp and pause for other threads. */
void partition_publish(struct partition *partition);
/* Records that are behind the durable offset; -1 unknown. The lock must be held. */
int64_t partition_lag(const struct partition *partition);
/* For log lines: "news: topic [3]". */
#define PARTITION_FORMAT  "%s: %s [%d]"
#define PARTITION_NAME(p) (p)->collection->name, (p)->topic, (p)->number

/* ---- consumer_wait.c */
/* The group cannot be appended: it stays as it is. */
void partition_wait_for(struct partition *partition, enum partition_wait why, int64_t retry_in_ns,
                        const char *text);
void partition_wait_ended(struct partition *partition);
/* Whether this message has to wait for the clock. */
bool partition_wait_for_clock(struct partition *partition, int64_t offset,
                              const struct decode_result *decoded);
/* The partition stops or goes: it waits for nothing any more. */
void partition_wait_forget(struct partition *partition);

/* ---- consumer_fetch.c */
/* After each message. */
void consumer_fetch_keep_up(struct ingest *ingest);
/* ---- consumer_take.c */
/* One message in order. Takes it over and returns true, unless it is not wanted. */
bool partition_read(struct partition *partition, rd_kafka_message_t *message);
/* The partition ends at `offset`. */
void partition_read_end(struct partition *partition, int64_t offset);
/* Hands what was read to the workers. */
void partition_submit(struct partition *partition);
/* Takes what is decoded, as far as the group has room; appends full groups. */
void partition_take(struct partition *partition);
/* The same, and decodes what is not yet. */
void partition_finish(struct partition *partition);
/* Forgets what was read and not taken. */
void partition_drop_tasks(struct partition *partition);

/* ---- consumer_start.c */
/* Sets each partition's offset to where it is to be read from: our own next offset, or the earliest
 * one whose event time can still be unexpired. May ask the broker. */
void consumer_set_starts(struct ingest *ingest, rd_kafka_topic_partition_list_t *list);
/* Begins to read the partition anew, from there. Not inside the rebalance callback. */
int consumer_assign_again(struct partition *partition, struct error *error);

/* ---- consumer_mark.c */
/* The last message taken so far; takes it over. */
void partition_mark_keep(struct partition *partition, rd_kafka_message_t *message);
void partition_mark_drop(struct partition_group *group);
/* The mark of the group that goes to the store. */
struct store_topic_fingerprint partition_mark_make(struct partition *partition);
/* Where a partition is to be read from: at its mark when that is to be looked at, else at its next
 * offset; -1 when it never stored anything. */
int64_t partition_mark_start(struct partition *partition);
/* Looks at a message before it is read. False: it is not wanted. */
bool partition_mark_check(struct partition *partition, const rd_kafka_message_t *message);
/* Whether it reads from its mark on and has not come to its next offset. */
bool partition_mark_behind(const struct partition *partition);

/* ---- consumer_rebalance.c */
void consumer_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t event,
                        rd_kafka_topic_partition_list_t *list, void *opaque);
/* Closes what is still open without a flush: after a consumer that never joined. */
void consumer_forget_all(struct ingest *ingest);

/* Opens its shard, or finds why not. */
void partition_open(struct partition *partition);

/* ---- consumer_control.c */
/* Serves a waiting request, if there is one. */
void consumer_control(struct ingest *ingest);
/* The consumer ends: whoever waits is told so, and nobody waits any more when this returns. */
void consumer_control_close(struct ingest *ingest);
/* Which collections were paused when the process last ran. */
void consumer_control_load(struct ingest *ingest);

/* ---- consumer_observe.c */
void *consumer_observe(void *context);
void consumer_observe_soon(struct ingest *ingest);

/* ---- consumer_metrics.c */
void partition_metrics_create(struct partition *partition);
void partition_metrics_remove(struct partition *partition);
void partition_count_reject(struct partition *partition, const char *reason);
/* A group became durable at `wall_ms`: what was in it, and what was not, is counted. Its records
 * may change places. */
void partition_count_durable(struct partition *partition, struct partition_group *group,
                             int64_t wall_ms);
/* Lag gauges, from what the observer has learnt. */
void consumer_metrics_refresh(struct ingest *ingest);

#endif
