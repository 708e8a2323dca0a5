/* ingest: from Kafka topics into the store, exactly once.
 *
 *     poll -> decode -> judge (twcs) -> store append (records and next offset in one durable unit)
 *                  \-> dead letters (acknowledged before the offset passes them)
 *
 * One consumer thread for the process; order per partition is kept. On assignment a shard is opened
 * and the consumer seeks to the store's own next offset; the commit to Kafka is a hint for lag
 * tools. A partition whose offset is out of Kafka's range stops with an error; the others go on. */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "store/files/key.h"
#include "store/files/record.h"
#include "store/lease.h"
#include "twcs/twcs.h"

struct store_registry;

struct ingest;

/* A record that went to the dead letters. */
struct ingest_bad_record {
    const char *topic;
    int32_t partition;
    int64_t offset;
    const char *reason; /* label of windrow_dead_letters_total */
    const char *text;   /* for people */
    const void *value;  /* the bad part; NULL: a delete */
    size_t value_bytes;
};

/* What the consumer tells the rest of the program, on its own thread. Each may be NULL. */
struct ingest_host {
    void *context;
    /** A partition was given back, or lost. In a cluster its shard is handed over (store_registry_hand_over), unless the
     * process stops. Else it is closed; that of a lost one stays open for searches, unclaimed until ingest_settled
     * says whose it is. */
    void (*partition_left)(void *context, const struct config_collection *collection,
                           const char *shard, bool lost);
    /** A record is on its way to the dead letters; for as long as the call lasts. */
    void (*buried)(void *context, const struct ingest_bad_record *record);
    /** The offset that somebody else has reached who is so far ahead of `next_offset` (-1: nothing is here)
     * that the shard is to be copied from there instead of being read again from Kafka; -1: nobody is. Does
     * not wait. */
    int64_t (*fetch_worth)(void *context, const struct config_collection *collection,
                           const char *shard, int64_t next_offset);
    /** Brings that copy, verified, for store_registry_install; `folder` has PATH_MAX bytes. Ends within a
     * second after *cancel. On a thread of its own. */
    int (*fetch)(void *context, const struct config_collection *collection, const char *shard,
                 int64_t next_offset, const atomic_bool *cancel, char *folder, struct error *error);
    /** About once a second, and before anything that takes long: keeps the watchdog fed. */
    void (*alive)(void *context);
};

struct ingest_options {
    const struct config *config;
    struct store_registry *registry; /* where shards of assigned partitions are claimed */
    struct ingest_host host;
    struct metrics *metrics;
    struct io *io;   /* its wall clock is believed: a safe one; NULL: io_posix() */
    struct io *wall; /* its wall clock may be ahead of that: what it allows and the safe one does
                        not yet has to wait; NULL: io */
};

/** Connects and starts the consumer thread. A broker that does not answer is no error: it is
 * retried for ever, logged once a while, and ingest_ready says so. */
int ingest_start(const struct ingest_options *options, struct ingest **ingest, struct error *error);
/** Stops reading, makes durable what was read, commits offsets as a hint, leaves the group, closes
 * the shards through the host. */
void ingest_stop(struct ingest *ingest);
/** How many Kafka clients of this process did not end in their time and are left behind. Any thread. */
unsigned ingest_clients_left(void);

/** Reads the topics of a collection that the configuration has now. Returns at once. One thread at a
 * time. */
int ingest_add_collection(struct ingest *ingest, const struct config_collection *collection,
                          struct error *error);
/** Reads its topics no more: its partitions are given back, and their shards closed, soon. */
int ingest_remove_collection(struct ingest *ingest, const struct config_collection *collection,
                             struct error *error);
/** Whether no partition of the collection is left. Any thread. */
bool ingest_reads_nothing_of(struct ingest *ingest, const struct config_collection *collection);

/** Leaves the consumer group, so that others get the partitions at once. What was read is made durable; the
 * shards stay open, handed over (store_registry_hand_over). Returns at once; there is no way back but
 * a restart. Any thread. */
void ingest_hand_over(struct ingest *ingest);
/** Whether no partition is left. Any thread. */
bool ingest_handed_over(struct ingest *ingest);

/** Stops or resumes reading the partitions of one collection in this process; the group membership,
 * and all other collections, are not touched. Kept over restarts in DATA_DIR/COLLECTION.paused.
 * Returns when the consumer has done it. Any thread. */
int ingest_pause(struct ingest *ingest, const char *collection, bool pause, struct error *error);
/** Whether ingest_pause stopped it. Any thread. */
bool ingest_paused(struct ingest *ingest, const char *collection);

enum ingest_resume {
    INGEST_RESUME_SKIP,   /* go on behind the records that Kafka no longer has, behind the bad
                             record, or at our own offset of a recreated topic that has
                             reached it; what is stored stays */
    INGEST_RESUME_REBUILD /* forget what the shard stored, read again from what Kafka has */
};

/** Resumes a stopped partition on purpose. ERROR_INVALID with the reason when that cannot be: it is
 * not stopped, it was stopped by its disk, or the topic was recreated and has to be rebuilt. Any
 * thread. */
int ingest_resume_stopped(struct ingest *ingest, const char *collection, const char *shard,
                          enum ingest_resume how, struct error *error);

struct ingest_partition_status {
    const char *collection;
    const char *topic;
    int32_t partition;
    char shard[300];
    int64_t next_offset;       /* ours */
    int64_t begin_offset;      /* the oldest that Kafka still has; -1 unknown */
    int64_t end_offset;        /* last stable offset of the broker; -1 unknown */
    int64_t lag_records;       /* -1 unknown */
    int64_t last_timestamp_ms; /* Kafka timestamp of the newest record read; 0 none */
    bool paused;
    /* Whether it reads no further until an operator does something: it stopped or found no room on the disk, or is held by
     * `windrow pause` or the clock. */
    enum store_reading reading;
    char stopped[512]; /* why the partition stopped; empty: it did not */
    char waiting[512]; /* what it waits for, for longer than a moment; empty: nothing */
};

/** Copies the status of all assigned partitions into `arena`. Any thread. */
size_t ingest_status(struct ingest *ingest, struct arena *arena,
                     struct ingest_partition_status **partitions);

/** True once a broker has answered, partitions are assigned, every topic exists and what was in
 * Kafka when each partition came has been read. Otherwise writes why not. It stays true while a
 * broker is away later: searches go on, and the lag tells. A stopped partition does not make it
 * false, because waiting does not help: ingest_status and windrow_partition_stopped show it. Any
 * thread. */
bool ingest_ready(struct ingest *ingest, char *why, size_t why_bytes);

/** Whether it is known which partitions are ours: not from when they were lost, as after a session
 * without an answer of a broker, until the group assigns some again, and not while no broker answers. Any thread. */
bool ingest_settled(struct ingest *ingest);

struct ingest_replay {
    const struct config *config;
    const struct config_collection *collection;
    const char *shard;              /* its name tells topic and partition */
    int64_t from_offset, to_offset; /* [from, to) */
    int64_t wall_ms; /* now: a Kafka timestamp that is later by more than max_future is a mistake */
    struct store_topic_fingerprint topic; /* the shard's, when the range was chosen or later */
    const atomic_bool *cancelled[2];      /* any of them ends it; may be NULL */
};

/** Records of one message, or none; everything below `next_offset` has been given. */
typedef int (*ingest_replay_function)(void *context, const struct store_record *records,
                                      size_t count, int64_t next_offset, struct error *error);

/** Reads a range of a partition again, beside the consumer, and gives the records that ingestion
 * took then to `take`, in order. Judged is by the message's timestamp as the time of arrival.
 * ERROR_NOT_FOUND: Kafka no longer holds the range (the text names both offsets), or has another
 * record where the shard read its last one; then some of the range has been given. ERROR_PEER: no broker answers. */
int ingest_replay(const struct ingest_replay *replay, ingest_replay_function take, void *context,
                  struct error *error);

/* Idempotent, acks=all, keyed by id. Used by `windrow produce` and by REST writes. */
struct ingest_producer;

struct ingest_produced {
    int32_t partition;
    int64_t offset;
    int code; /* 0 or enum error_code */
    char text[256];
};
typedef void (*ingest_delivery_function)(void *context, const struct ingest_produced *result);

int ingest_producer_new(const struct config *config, struct metrics *metrics,
                        struct ingest_producer **producer, struct error *error);
/** Flushes for at most `timeout_ms`, then closes. Undelivered messages get their callback with an
 * error. */
int ingest_producer_delete(struct ingest_producer *producer, int timeout_ms, struct error *error);
/** Creates the topic when it is missing; `replication` 0: the broker's default. */
int ingest_producer_create_topic(struct ingest_producer *producer, const char *topic,
                                 int partition_count, int replication, struct error *error);
enum { INGEST_PARTITION_BY_KEY = -1 };

/* One JSON point or a delete. */
struct ingest_outgoing {
    const char *topic;
    int32_t partition; /* or INGEST_PARTITION_BY_KEY */
    const char *key;   /* the id, as store_key_to_message has it */
    size_t key_bytes;
    enum store_id_kind id_kind;
    const void *value; /* NULL: delete */
    size_t value_bytes;
    int64_t timestamp_ms; /* -1: now */
    /* The record counts only while the id's version is the one at `expected_offset`, or there is
     * none: STORE_EXPECT_NONE. That was so when `read_at` was the next offset; -1: unknown. */
    bool expects;
    int64_t expected_offset, read_at;
};

/** Sends a message; copies everything. Waits up to 10 s while the queue is full, then ERROR_BUSY.
 * The callback runs on the thread that is in ingest_producer_poll, _delete or a waiting _send, and
 * must not use the producer. Any thread. */
int ingest_producer_send(struct ingest_producer *producer, const struct ingest_outgoing *message,
                         ingest_delivery_function delivered, void *context, struct error *error);
/** Serves delivery callbacks, waiting up to `timeout_ms`; returns how many messages are under way.
 * Any thread. */
int ingest_producer_poll(struct ingest_producer *producer, int timeout_ms);

#endif
