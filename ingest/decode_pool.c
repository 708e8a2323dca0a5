#include "ingest/decode_pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/thread.h"

enum {
    THREADS_MAX = 64,
    FREE_TASKS_MAX = 64,
    /* One huge message must not keep its memory for ever. */
    ARENA_KEPT_MAX_BYTES = 512 * 1024,
};

struct decode_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;              /* a task was queued, or the end has come */
    pthread_cond_t done;              /* a task is done */
    struct decode_task *first, *last; /* queued */
    size_t running_count;
    bool stop;
    pthread_t threads[THREADS_MAX];
    uint32_t thread_count;

    /* The consumer's. */
    struct arena scratch;
    struct decode_task *free;
    size_t free_count;
};

static void arena_forget(struct arena *arena)
{
    arena_reset(arena);
    if (arena->reserved_bytes > ARENA_KEPT_MAX_BYTES)
        arena_destroy(arena);
}

/* ---- one task */

static const char *content_type(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size_bytes;

    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    /* librdkafka terminates header values with a zero. */
    if (rd_kafka_header_get_last(headers, "content-type", &value, &size_bytes) !=
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, "Content-Type", &value, &size_bytes) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    return value;
}

struct decode_message decode_message_of(const struct config_collection *collection,
                                        const char *topic, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;

    return (struct decode_message){
        .topic = topic,
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .key = message->key,
        .key_bytes = message->key_len,
        .value = message->payload,
        .value_bytes = message->len,
        .content_type = collection->format == CONFIG_FORMAT_AUTO ? content_type(message) : NULL,
    };
}

static void run(struct decode_task *task, struct arena *scratch)
{
    for (size_t i = 0; i < task->message_count; i++) {
        const struct decode_message decodable =
            decode_message_of(task->collection, task->topic, task->messages[i]);
        arena_forget(scratch);
        decode_message(task->collection, &decodable, scratch, &task->arena, &task->decoded[i]);
    }
}

struct decode_task *decode_task_new(struct decode_pool *pool)
{
    struct decode_task *task = pool->free;

    if (task) {
        pool->free = task->next;
        pool->free_count--;
    } else {
        task = calloc(1, sizeof(*task));
        if (!task)
            abort();
        arena_create(&task->arena, 0);
    }
    task->next = task->queued_next = NULL;
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

/* ---- many */

/* Under the lock. */
static struct decode_task *pop(struct decode_pool *pool)
{
    struct decode_task *task = pool->first;

    pool->first = task->queued_next;
    if (!pool->first)
        pool->last = NULL;
    return task;
}

/* Under the lock, which is let go meanwhile. */
static void run_unlocked(struct decode_pool *pool, struct decode_task *task, struct arena *scratch)
{
    task->state = DECODE_RUNNING;
    pool->running_count++;
    pthread_mutex_unlock(&pool->lock);
    run(task, scratch);
    pthread_mutex_lock(&pool->lock);
    pool->running_count--;
    task->state = DECODE_DONE;
    pthread_cond_signal(&pool->done); /* only the consumer waits */
}

static void *work(void *context)
{
    struct decode_pool *pool = context;
    struct arena scratch;

    arena_create(&scratch, 0);
    pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        if (pool->first)
            run_unlocked(pool, pop(pool), &scratch);
        else
            pthread_cond_wait(&pool->work, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    arena_destroy(&scratch);
    return NULL;
}

void decode_pool_submit(struct decode_pool *pool, struct decode_task *task)
{
    pthread_mutex_lock(&pool->lock);
    assert(task->state == DECODE_OPEN);
    task->state = DECODE_QUEUED;
    if (pool->last)
        pool->last->queued_next = task;
    else
        pool->first = task;
    pool->last = task;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

bool decode_pool_is_done(struct decode_pool *pool, struct decode_task *task)
{
    bool done;

    pthread_mutex_lock(&pool->lock);
    done = task->state == DECODE_DONE;
    pthread_mutex_unlock(&pool->lock);
    return done;
}

/* Under the lock. */
static void unqueue(struct decode_pool *pool, struct decode_task *task)
{
    struct decode_task **place = &pool->first;
    struct decode_task *before = NULL;

    while (*place != task) {
        before = *place;
        place = &before->queued_next;
    }
    *place = task->queued_next;
    if (pool->last == task)
        pool->last = before;
}

void decode_pool_finish(struct decode_pool *pool, struct decode_task *task)
{
    pthread_mutex_lock(&pool->lock);
    if (task->state == DECODE_QUEUED)
        unqueue(pool, task);
    if (task->state == DECODE_QUEUED || task->state == DECODE_OPEN)
        run_unlocked(pool, task, &pool->scratch);
    while (task->state != DECODE_DONE)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

bool decode_pool_help(struct decode_pool *pool)
{
    bool any;

    pthread_mutex_lock(&pool->lock);
    any = pool->first || pool->running_count > 0;
    if (pool->first)
        run_unlocked(pool, pop(pool), &pool->scratch);
    else if (any)
        pthread_cond_wait(&pool->done, &pool->lock); /* waking for nothing does no harm */
    pthread_mutex_unlock(&pool->lock);
    return any;
}

static uint32_t core_count(void)
{
    cpu_set_t cores;

    if (sched_getaffinity(0, sizeof(cores), &cores) != 0 || CPU_COUNT(&cores) < 1)
        return 1;
    return (uint32_t)CPU_COUNT(&cores);
}

int decode_pool_new(uint32_t thread_count, struct decode_pool **pool, struct error *error)
{
    struct decode_pool *fresh = calloc(1, sizeof(*fresh));

    if (!fresh)
        abort();
    if (thread_count == 0)
        thread_count = core_count();
    if (thread_count > THREADS_MAX)
        thread_count = THREADS_MAX;
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_cond_init(&fresh->work, NULL);
    pthread_cond_init(&fresh->done, NULL);
    arena_create(&fresh->scratch, 0);
    for (; fresh->thread_count < thread_count; fresh->thread_count++) {
        int code = thread_start(&fresh->threads[fresh->thread_count], "decode", work, fresh);
        if (code != 0) {
            decode_pool_delete(fresh);
            return error_set_errno(error, code, "ingest: start a decoding thread");
        }
    }
    *pool = fresh;
    return 0;
}

void decode_pool_delete(struct decode_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    assert(!pool->first);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    while (pool->free) {
        struct decode_task *task = pool->free;
        pool->free = task->next;
        task_free(task);
    }
    arena_destroy(&pool->scratch);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
