/* The consumer thread: polls Kafka, moves every partition along, keeps house.
 *
 *     round: poll or stall -> take what is appended -> take what is decoded -> append what is due
 *
 * The thread sleeps in one place, the poll (or, while it stalls, kafka_session_sleep), until
 * something is due. Everything else that has to end that sleep calls kafka_session_wake: an append
 * that is done, an acknowledged dead letter, an operator's request, the broker's answer, the stop.
 * An idle consumer wakes once a second, for the watermarks.
 *
 * Partitions come and go inside the poll. Assigned: the shard is opened and read from the offset
 * that lies with its data; one that cannot be opened is assigned all the same, as stopped, because
 * leaving it out would make its revocation an error. Revoked: what was read is made durable, the
 * offset is committed as a hint, the shard is flushed and closed, and only then the partition is
 * given back, so that it never has two writers. Lost: what is not durable is dropped, and what is
 * stored is searched on until it is known whose the partition is. Private to ingest/. */
#ifndef INGEST_CONSUMER_H
#define INGEST_CONSUMER_H

#include "ingest/control.h"
#include "ingest/observer.h"
#include "ingest/partition.h"

struct consumer;

/** Connects; `consumer_run` starts the thread. What is passed must outlive it. */
int consumer_new(const struct ingest_options *options, struct topics *topics,
                 struct partition_list *partitions, struct control *control,
                 struct observer *observer, struct consumer **consumer, struct error *error);
/** After consumer_stop. NULL is allowed. */
void consumer_delete(struct consumer *consumer);

int consumer_run(struct consumer *consumer, struct error *error);
/** Makes durable what was read, leaves the group, closes the shards. */
void consumer_stop(struct consumer *consumer);

/** Leaves the group, and keeps the shards open: store_registry_hand_over. Returns at once. Any thread. */
void consumer_hand_over(struct consumer *consumer);
/** Whether that is done. Any thread. */
bool consumer_handed_over(struct consumer *consumer);

/** As long as the consumer. */
struct kafka_session *consumer_session(struct consumer *consumer);

#endif
