#include "ingest/decode_pool.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/thread_pool.h"

enum {
    FREE_TASKS_MAX = 64,
    /* One huge message must not keep its memory for ever. */
    ARENA_KEPT_MAX_BYTES = 512 * 1024,
};

struct decode_pool {
    struct thread_pool *threads;
    struct arena *scratch;       /* one for each thread; the last is the consumer's */
    _Atomic uint64_t done_count; /* by the threads */

    /* The consumer's. */
    uint64_t submitted_count; /* less those that it took back */
    struct decode_task *free;
    size_t free_count;
};

static struct arena *consumer_scratch(struct decode_pool *pool)
{
    return &pool->scratch[thread_pool_thread_limit(pool->threads)];
}

static void arena_forget(struct arena *arena)
{
    arena_reset(arena);
    if (arena->reserved_bytes > ARENA_KEPT_MAX_BYTES)
        arena_destroy(arena);
}

/* librdkafka terminates header values with a zero. */
static const char *header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t size_bytes;

    return rd_kafka_header_get_last(headers, name, &value, &size_bytes) ==
                   RD_KAFKA_RESP_ERR_NO_ERROR
               ? value
               : NULL;
}

static void take_headers(const struct config_collection *collection,
                         const rd_kafka_message_t *message, struct decode_message *out)
{
    rd_kafka_headers_t *headers;

    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    out->expects = header(headers, DECODE_EXPECTS_HEADER);
    out->vector_type = header(headers, DECODE_VECTOR_TYPE_HEADER);
    out->id_kind = header(headers, DECODE_ID_HEADER);
    if (collection->format != CONFIG_FORMAT_AUTO)
        return;
    out->content_type = header(headers, "content-type");
    if (!out->content_type)
        out->content_type = header(headers, "Content-Type");
}

struct decode_message decode_message_of(const struct config_collection *collection,
                                        const char *topic, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    struct decode_message decodable = {
        .topic = topic,
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .key = message->key,
        .key_bytes = message->key_len,
        .value = message->payload,
        .value_bytes = message->len,
    };

    take_headers(collection, message, &decodable);
    return decodable;
}

static void decode(struct decode_task *task, struct arena *scratch)
{
    for (size_t i = 0; i < task->message_count; i++) {
        const struct decode_message decodable =
            decode_message_of(task->collection, task->topic, task->messages[i]);
        arena_forget(scratch);
        decode_message(task->collection, &decodable, scratch, &task->arena, &task->decoded[i]);
    }
    atomic_store(&task->state, DECODE_DONE); /* the consumer may delete it from here on */
}

static void run(struct thread_task *queued, uint32_t thread)
{
    struct decode_task *task = (struct decode_task *)queued;
    struct decode_pool *pool = task->pool;

    decode(task, &pool->scratch[thread]);
    atomic_fetch_add(&pool->done_count, 1);
}

struct decode_task *decode_task_new(struct decode_pool *pool)
{
    struct decode_task *task = pool->free;

    if (task) {
        pool->free = task->next;
        pool->free_count--;
    } else {
        task = memory_new(1, sizeof(*task));
        arena_create(&task->arena, 0);
    }
    task->next = NULL;
    task->message_count = task->taken_count = task->bytes = 0;
    task->end_offset = -1;
    task->state = DECODE_OPEN;
    return task;
}

void decode_task_add(struct decode_task *task, rd_kafka_message_t *message)
{
    assert(task->state == DECODE_OPEN && task->message_count < DECODE_TASK_MESSAGES);
    task->messages[task->message_count++] = message;
    task->bytes += message->len + message->key_len;
}

bool decode_task_full(const struct decode_task *task)
{
    return task->message_count == DECODE_TASK_MESSAGES || task->bytes >= DECODE_TASK_BYTES;
}

rd_kafka_message_t *decode_task_take(struct decode_task *task)
{
    assert(task->taken_count < task->message_count);
    return task->messages[task->taken_count++];
}

static void task_free(struct decode_task *task)
{
    arena_destroy(&task->arena);
    free(task);
}

void decode_task_delete(struct decode_pool *pool, struct decode_task *task)
{
    while (task->taken_count < task->message_count)
        rd_kafka_message_destroy(decode_task_take(task));
    if (pool->free_count == FREE_TASKS_MAX) {
        task_free(task);
        return;
    }
    arena_forget(&task->arena);
    task->next = pool->free;
    pool->free = task;
    pool->free_count++;
}

void decode_pool_submit(struct decode_pool *pool, struct decode_task *task)
{
    assert(task->state == DECODE_OPEN);
    task->queued.run = run;
    task->pool = pool;
    task->state = DECODE_SUBMITTED;
    pool->submitted_count++;
    if (!thread_pool_submit(pool->threads, &task->queued))
        abort(); /* there is no limit, and nobody submits to a pool that is deleted */
}

bool decode_pool_is_done(struct decode_task *task)
{
    return atomic_load(&task->state) == DECODE_DONE;
}

/* Decodes a queued task here, `task` or the first one. */
static bool run_here(struct decode_pool *pool, struct decode_task *task)
{
    struct thread_task *taken = thread_pool_unqueue(pool->threads, task ? &task->queued : NULL);

    if (!taken)
        return false;
    pool->submitted_count--;
    decode((struct decode_task *)taken, consumer_scratch(pool));
    return true;
}

void decode_pool_finish(struct decode_pool *pool, struct decode_task *task)
{
    if (task->state == DECODE_OPEN)
        decode(task, consumer_scratch(pool));
    if (!decode_pool_is_done(task))
        (void)run_here(pool, task);
    for (;;) {
        uint64_t seen = thread_pool_completed(pool->threads);
        if (decode_pool_is_done(task))
            return;
        (void)thread_pool_wait_completed(pool->threads, seen, -1);
    }
}

bool decode_pool_help(struct decode_pool *pool)
{
    uint64_t seen = thread_pool_completed(pool->threads);

    if (run_here(pool, NULL))
        return true;
    if (atomic_load(&pool->done_count) == pool->submitted_count)
        return false;
    (void)thread_pool_wait_completed(pool->threads, seen, -1);
    return true;
}

struct decode_pool *decode_pool_new(uint32_t thread_count)
{
    struct decode_pool *pool = memory_new(1, sizeof(*pool));
    uint32_t limit;

    pool->threads = thread_pool_new(&(struct thread_pool_options){
        .name = "decode", .class = THREAD_SEARCH, .threads_max = thread_count});
    limit = thread_pool_thread_limit(pool->threads);
    pool->scratch = memory_new(limit + 1, sizeof(*pool->scratch));
    for (uint32_t i = 0; i <= limit; i++)
        arena_create(&pool->scratch[i], 0);
    return pool;
}

void decode_pool_delete(struct decode_pool *pool)
{
    uint32_t limit;

    if (!pool)
        return;
    limit = thread_pool_thread_limit(pool->threads);
    thread_pool_delete(pool->threads);
    assert(pool->done_count == pool->submitted_count);
    while (pool->free) {
        struct decode_task *task = pool->free;
        pool->free = task->next;
        task_free(task);
    }
    for (uint32_t i = 0; i <= limit; i++)
        arena_destroy(&pool->scratch[i]);
    free(pool->scratch);
    free(pool);
}
