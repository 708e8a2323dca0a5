/* This process's membership in the Kafka consumer group: one librdkafka client, and a new one when
 * it fails for good.
 *
 * The consumer thread polls. Partitions come and go one by one (cooperative protocol), inside
 * kafka_session_poll or _leave, on the thread that polls: `events` then says what is to be opened
 * or given back, and the session hands partitions back to Kafka only after the event has returned.
 *
 * Threads. Everything is for the consumer thread, but for what says "any thread":
 * kafka_session_wake, what is known about Kafka (struct kafka_view, guarded by a lock inside), and
 * the client itself between kafka_session_borrow and _return, which the observer uses. Private to
 * ingest/. */
#ifndef INGEST_KAFKA_SESSION_H
#define INGEST_KAFKA_SESSION_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"
#include "ingest/topics.h"

struct kafka_session;

struct kafka_session_events {
    void *context;
    /** New partitions: sets the offset of each to where it is to be read from. All that is assigned, now and
     * before, is so in that generation of the group; 0: not known. */
    void (*assigned)(void *context, rd_kafka_topic_partition_list_t *list, int32_t generation);
    /** Partitions are to be given back. `lost`: somebody else may write them already, or no broker
     * answered for a session. */
    void (*revoked)(void *context, const rd_kafka_topic_partition_list_t *list, bool lost);
    /** The client failed for good, or left the group without an answer: all partitions are lost. */
    void (*lost_all)(void *context);
    /** Any request to the leaders of partitions would help fetching. */
    void (*ask_leaders)(void *context);
    /** The answer to kafka_session_confirm: this process is a member of the group. */
    void (*confirmed)(void *context, uint64_t question);
};

struct kafka_session_options {
    const struct config *config;
    struct topics *topics;
    struct metrics *metrics;
    struct io *io;
    struct kafka_session_events events;
};

/* What is known about Kafka. */
struct kafka_view {
    bool answered;     /* a broker did, since the start */
    bool joined;       /* an assignment has come; one of nothing counts once it has lasted */
    bool lost;         /* partitions were, and no such assignment has come since */
    int64_t silent_ns; /* since when no broker answers; 0: they do */
    char failed[256];  /* why the client failed for good, until a new one takes over */
};

/** Connects and subscribes. A broker that does not answer is no error. */
int kafka_session_new(const struct kafka_session_options *options, struct kafka_session **session,
                      struct error *error);
/** After kafka_session_leave. NULL is allowed. */
void kafka_session_delete(struct kafka_session *session);
/** Leaves the group while the session goes on: polls give every partition back through the events. A static
 * member leaves, too. */
void kafka_session_give_up(struct kafka_session *session);
/** Leaves the group: gives every partition back through the events. */
void kafka_session_leave(struct kafka_session *session);

/** One message or event, or NULL. One a call: batches of librdkafka 2.0 can skip offsets around
 * pauses and rebalances. */
rd_kafka_message_t *kafka_session_poll(struct kafka_session *session, int timeout_ms);
/** Sleeps without polling, until kafka_session_wake or for `limit_ns`. */
void kafka_session_sleep(struct kafka_session *session, int64_t limit_ns);
/** Ends a poll or sleep that is under way, or the next one. Any thread. */
void kafka_session_wake(struct kafka_session *session);
/** The list of topics has changed: those that are new are read, those that are gone are given back.
 * Any thread. */
int kafka_session_subscribe(struct kafka_session *session, struct error *error);

/** What librdkafka told about an event that concerns no single partition: logged, once a while. */
void kafka_session_take_error(struct kafka_session *session, const rd_kafka_message_t *message);
/** Now and then: says when brokers are silent, and replaces a client that failed for good. Returns
 * when it wants to be called again. */
int64_t kafka_session_maintain(struct kafka_session *session);

/** The partitions that the group gave this process, also those of topics that it does not read. The caller destroys the
 * list. */
rd_kafka_topic_partition_list_t *kafka_session_assignment(struct kafka_session *session);
/** Pausing throws away what was fetched. Not inside an event. */
void kafka_session_pause_all(struct kafka_session *session, rd_kafka_topic_partition_list_t *list);
void kafka_session_set_paused(struct kafka_session *session, const struct topic_partition *name,
                              bool pause);
/** Reads an assigned partition anew, from this offset. Not inside an event. */
int kafka_session_read_from(struct kafka_session *session, const struct topic_partition *name,
                            int64_t offset, struct error *error);
/** Where a shard that never stored anything is to be read from. May ask the broker. */
int64_t kafka_session_replay_start(struct kafka_session *session,
                                   const struct topic_partition *name);
/** Begin and end of a partition as its leader has them. */
int kafka_session_query_offsets(struct kafka_session *session, const struct topic_partition *name,
                                int64_t *begin, int64_t *end, int timeout_ms, struct error *error);
/** Commits as a hint for lag tools; nothing reads it back. `wait_ms` 0: without waiting. */
void kafka_session_commit(struct kafka_session *session,
                          const rd_kafka_topic_partition_list_t *list, int wait_ms);

/** Asks a broker whether this process is still a member of the group in its generation, by committing the list.
 * A yes is told through the events. */
void kafka_session_confirm(struct kafka_session *session,
                           const rd_kafka_topic_partition_list_t *list, uint64_t question);
/** How long this process may stand still before others can have its partitions. */
int64_t kafka_session_pause_limit_ns(struct kafka_session *session);

/** A copy. Any thread. */
struct kafka_view kafka_session_view(struct kafka_session *session);
/** Whether a broker has answered, or was silent. Any thread. */
void kafka_session_heard(struct kafka_session *session, bool answered);
/** A partition was lost. */
void kafka_session_set_lost(struct kafka_session *session);

/** The client, which stays until kafka_session_return. Any thread. */
rd_kafka_t *kafka_session_borrow(struct kafka_session *session);
void kafka_session_return(struct kafka_session *session);

#endif
