/* Decoding on several threads, order kept.
 *
 * The consumer fills a task with messages of one partition and submits it; any worker decodes it.
 * Order is the consumer's: it takes the tasks of a partition in the order of reading, and decodes
 * one itself where it would wait. Records lie in their task's arena until their group is durable.
 * Private to ingest/. */
#ifndef INGEST_DECODE_POOL_H
#define INGEST_DECODE_POOL_H

#include <librdkafka/rdkafka.h>

#include "base/thread_pool.h"
#include "ingest/decode/decode.h"

enum {
    DECODE_TASK_MESSAGES = 128,
    DECODE_TASK_BYTES = 256 * 1024, /* a task is submitted once it has this much */
};

enum decode_state { DECODE_OPEN, DECODE_SUBMITTED, DECODE_DONE };

struct decode_task {
    struct thread_task queued; /* the first member */
    struct decode_pool *pool;
    struct decode_task *next; /* in its partition's list, or among the free ones */
    const struct config_collection *collection;
    const char *topic; /* the partition's */
    int32_t partition;
    size_t message_count;
    size_t taken_count; /* of the first messages nothing is left but records */
    size_t bytes;
    int64_t end_offset; /* the partition's end lies behind the messages; -1: it does not */
    _Atomic enum decode_state state; /* a thread has the rest while it is SUBMITTED */
    struct arena arena;              /* what the records point to */
    rd_kafka_message_t *messages[DECODE_TASK_MESSAGES];
    struct decode_result decoded[DECODE_TASK_MESSAGES];
};

struct decode_pool;

/** A message as the decoder wants it; points into it. Any thread. */
struct decode_message decode_message_of(const struct config_collection *collection,
                                        const char *topic, const rd_kafka_message_t *message);

/** `thread_count` 0: one a processor. */
struct decode_pool *decode_pool_new(uint32_t thread_count);
/** All tasks must be deleted. */
void decode_pool_delete(struct decode_pool *pool);

/** An open task without messages. The calls below are for one thread, the consumer's. */
struct decode_task *decode_task_new(struct decode_pool *pool);
/** Adds a message, which the task owns from now on. */
void decode_task_add(struct decode_task *task, rd_kafka_message_t *message);
bool decode_task_full(const struct decode_task *task);
/** The next message was taken: it is the caller's now. Its records stay until the task is deleted.
 */
rd_kafka_message_t *decode_task_take(struct decode_task *task);
/** The task must be open or done. */
void decode_task_delete(struct decode_pool *pool, struct decode_task *task);

/** Hands an open task to the workers. */
void decode_pool_submit(struct decode_pool *pool, struct decode_task *task);
bool decode_pool_is_done(struct decode_task *task);
/** Decodes the task here, or waits for the worker that has it. */
void decode_pool_finish(struct decode_pool *pool, struct decode_task *task);
/** Decodes one queued task here, or waits until a worker is done with one. False when there is
 * nothing to wait for. */
bool decode_pool_help(struct decode_pool *pool);

#endif
