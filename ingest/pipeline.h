/* From messages of Kafka to durable records.
 *
 *     lane_read -> task -> decoded on any thread -> lane_take: judged by twcs -> group -> append
 *                                                        \-> dead letters         -> durable offset
 *
 * The pipeline has what all partitions share: the pools that decode and append, the dead-letter
 * producer. A lane is one partition's way through it. Order is kept: tasks are taken in the order
 * of reading, and one append of a lane is under way at most. While it is, the next group gathers.
 *
 * Invariants. A group goes to the store only after its dead letters are acknowledged. Records, next
 * offset, topic fingerprint and clock of a group become durable together or not at all. Nothing is taken while
 * the group is full and cannot go, nor past a record that waits for the clock.
 *
 * A lane never decides what its partition does: it says what it waits for (`wait`,
 * `clock_since_ns`) or that it failed (`failure`), and the partition acts on it (partition.h).
 *
 * Consumer thread only. Private to ingest/. */
#ifndef INGEST_PIPELINE_H
#define INGEST_PIPELINE_H

#include "base/arena.h"
#include "base/io.h"
#include "ingest/append_pool.h"
#include "ingest/dead_letter.h"
#include "ingest/decode_pool.h"
#include "ingest/delete_outcomes.h"
#include "ingest/duplicate_ids.h"
#include "ingest/ingest.h"
#include "ingest/record_group.h"
#include "store/files/record.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* Waits longer than this are logged, and again after as long. */
#define LANE_COMPLAIN_NS (30 * NS_PER_S)
/* While messages keep coming without a pause a group may grow this long: in a backlog a sync for
 * what was read in a millisecond costs more than the reading. */
#define LANE_BUSY_LINGER_NS (5 * NS_PER_MS)
/* How long a hand-over waits for the store and for dead letters. */
#define LANE_HAND_OVER_NS (5 * NS_PER_S)

struct pipeline {
    struct io *io;
    struct io *wall; /* its wall clock may be ahead of io's */
    struct decode_pool *decoders;
    struct append_pool *appends;
    struct ingest_host host;
    struct dead_letters *letters; /* NULL: partitions stop at a bad record instead */
    /* Sleeps until an append is done, a letter is acknowledged or `limit_ns` have passed. */
    void (*sleep)(void *context, int64_t limit_ns);
    void *context;

    size_t decoding_bytes; /* read and not taken */
    struct duplicate_ids duplicates;
    struct delete_outcomes deletes;
};

/** `wake` is called by other threads when something happened that a sleep should end for. */
int pipeline_create(struct pipeline *pipeline, const struct ingest_options *options,
                    void (*wake)(void *context), void (*sleep)(void *context, int64_t limit_ns),
                    void *context, struct error *error);
/** All lanes must be destroyed. */
void pipeline_destroy(struct pipeline *pipeline);

/** Whether so much is read and not decoded that the consumer should decode instead of reading. */
bool pipeline_is_full(const struct pipeline *pipeline);

enum lane_failure_cause {
    LANE_WELL,
    LANE_STORE,      /* a write failed for good */
    LANE_BAD_RECORD, /* it needs a dead-letter topic, and there is none */
};

struct lane {
    struct pipeline *pipeline;
    const struct topic_partition *name;
    const struct partition_metrics *metrics;
    struct store_shard *shard; /* NULL: it could not be opened, the lane is stopped */
    struct twcs_policy policy;
    struct twcs_clock clock; /* as of the last record taken */

    /* What was read and not taken yet, in order. The last task is open until it is submitted, or
     * until the consumer decodes it itself. */
    struct {
        struct decode_task *tasks, *last;
        bool submitted; /* the last one was */
        int64_t offset; /* behind the last message read; -1: none yet */
    } read;

    /* What was taken and is not durable. */
    struct record_group groups[2];
    struct record_group *group;        /* gathers */
    struct record_group *sent;         /* given to the store, or refused by it; NULL: none */
    struct append_job job;             /* of it */
    bool appending;                    /* the job is under way */
    int64_t submitted_ns;              /* when that began */
    int64_t appended_ns;               /* when the last one was seen to be done */
    struct dead_letter_ticket *ticket; /* letters that must be acknowledged before `group` goes */
    int64_t position;                  /* offset behind the last message taken; -1: none yet */
    int64_t skip_offset;               /* of a bad record that an operator gave up; -1: none */
    int64_t last_timestamp_ms;
    bool at_end; /* read to the partition's end; nothing came since */

    struct {
        int64_t next_offset; /* where a restart continues; -1: nothing was ever stored */
        struct store_topic_fingerprint topic; /* the last record below it */
        int64_t watermark_ms;
        int64_t since_ns;
    } durable;

    /* Why the sent group, or the one that gathers, cannot go yet. */
    struct {
        enum wait_reason reason;
        int64_t since_ns, retry_ns, complained_ns;
        char text[512];
    } wait;
    int64_t clock_since_ns; /* the next message waits for the clock since then; 0: it does not */
    char clock_text[512];
    struct {
        enum lane_failure_cause cause;
        int64_t offset; /* of the bad record */
        char text[512];
    } failure;
    bool stopped; /* takes nothing until lane_resume */
};

/** `name` and `metrics` must outlive it. No shard yet. */
void lane_create(struct lane *lane, struct pipeline *pipeline, const struct topic_partition *name,
                 const struct partition_metrics *metrics);
void lane_destroy(struct lane *lane);
/** Takes up where the shard stands. */
void lane_open(struct lane *lane, struct store_shard *shard);

/** One message, in order. Takes it over and returns true, unless it was read before. */
bool lane_read(struct lane *lane, rd_kafka_message_t *message);
/** The partition ends at `offset`: what lies before it and was not delivered are control records
 * and aborted transactions. */
void lane_read_end(struct lane *lane, int64_t offset);
/** Hands what was read to the decoding threads. */
void lane_submit(struct lane *lane);
/** Takes what is decoded, as far as the group has room, and appends full groups. With `finish`,
 * decodes here what is not decoded yet. */
void lane_take(struct lane *lane, bool finish);

/** Gives a group to the store, unless one is on its way or has to wait; then `wait` says why. */
void lane_append(struct lane *lane);
/** Takes note of an append that is done. */
void lane_take_appended(struct lane *lane);
/** When lane_append is to be called; INT64_MAX: not before something else happens. */
int64_t lane_due_ns(const struct lane *lane);

bool lane_full(const struct lane *lane);
/** Whether nothing can go to the store for now. */
bool lane_blocked(const struct lane *lane);
/** Whether something was read that is not durable. */
bool lane_unfinished(const struct lane *lane);

/** Tries for up to `limit_ns` to make durable all that was read. What waits for the clock is left.
 */
void lane_drain(struct lane *lane, int64_t limit_ns);
/** Makes the clock of an idle lane durable, without a record. */
void lane_persist_clock(struct lane *lane);
/** Moves the durable offset of a stopped lane without a record; the topic fingerprint goes. */
int lane_move(struct lane *lane, int64_t next_offset, struct error *error);

/** Forgets what is not durable, and takes nothing until lane_resume. */
void lane_stop(struct lane *lane);
void lane_resume(struct lane *lane);

#endif
