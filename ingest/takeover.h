/* takeover: a partition that comes to this process brings its shard from whoever has it, instead of reading all of it
 * again from Kafka.
 *
 * The host does it (struct ingest_host), on a thread of this pool; the consumer thread is woken when it is over.
 * Everything is for the consumer thread. Private to ingest/. */
#ifndef INGEST_TAKEOVER_H
#define INGEST_TAKEOVER_H

#include "ingest/ingest.h"
#include "ingest/kafka_session.h"

struct takeovers;
struct takeover;

/** `host` must outlive it. */
struct takeovers *takeovers_new(const struct ingest_host *host, struct kafka_session *session);
/** All takeovers must have ended. NULL is allowed. */
void takeovers_delete(struct takeovers *takeovers);

/** Begins when the host knows somebody who is far enough ahead of `next_offset` (-1: nothing is here); else NULL. */
struct takeover *takeover_begin(struct takeovers *takeovers, const struct topic_partition *name,
                                int64_t next_offset);
/** Where the partition may stand meanwhile: Kafka has that offset, and nothing must be asked to know where it
 * is. The answer to such a question could come after the copy, and move the reader past new records. */
int64_t takeover_ahead_offset(const struct takeover *takeover);
bool takeover_is_over(const struct takeover *takeover);
/** Stops it unless it is over, waits, frees. Returns the folder that it brought, for the caller to free, or NULL. */
char *takeover_end(struct takeover *takeover);

#endif
