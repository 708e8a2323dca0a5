/* indexer.build_memory_max_bytes, as a count under one lock. A build takes all that it may need
 * before it begins: two builds that took theirs bit by bit could each wait for the other.
 *
 * A build that waits gives its place in the thread pool away. It takes its memory under the lock
 * that it was woken with, so that nobody comes between; the largest builds may wait long while small
 * ones pass. */
#include "indexer/worker/memory.h"

void build_memory_create(struct build_memory *memory, const uint64_t *limit_bytes,
                         struct metrics *metrics)
{
    *memory = (struct build_memory){.limit_bytes = limit_bytes};
    pthread_mutex_init(&memory->lock, NULL);
    pthread_cond_init(&memory->given, NULL);
    memory->gauge =
        metrics_gauge(metrics, "windrow_index_build_memory_bytes",
                      "Memory held by running builds, of indexer.build_memory_max_bytes", NULL, 0);
}

void build_memory_destroy(struct build_memory *memory)
{
    pthread_cond_destroy(&memory->given);
    pthread_mutex_destroy(&memory->lock);
}

/* Under the lock. */
static bool fits(const struct build_memory *memory, uint64_t bytes)
{
    return memory->taken_bytes + bytes <= *memory->limit_bytes;
}

bool build_memory_take(struct build_memory *memory, uint64_t bytes, const atomic_bool *cancel,
                       struct thread_pool *pool)
{
    bool taken;

    pthread_mutex_lock(&memory->lock);
    if (!fits(memory, bytes)) {
        bool left = pool && thread_pool_wait_begin(pool);
        while (!fits(memory, bytes) && !atomic_load(cancel))
            pthread_cond_wait(&memory->given, &memory->lock);
        if (left)
            thread_pool_wait_end(pool);
    }
    taken = fits(memory, bytes);
    if (taken)
        metric_set(memory->gauge, (double)(memory->taken_bytes += bytes));
    pthread_mutex_unlock(&memory->lock);
    return taken;
}

void build_memory_give(struct build_memory *memory, uint64_t bytes)
{
    pthread_mutex_lock(&memory->lock);
    metric_set(memory->gauge, (double)(memory->taken_bytes -= bytes));
    pthread_cond_broadcast(&memory->given);
    pthread_mutex_unlock(&memory->lock);
}

bool build_memory_take_turn(struct build_memory *memory, const atomic_bool *cancel,
                            struct thread_pool *pool)
{
    bool taken;

    pthread_mutex_lock(&memory->lock);
    if (memory->turn_taken) {
        bool left = pool && thread_pool_wait_begin(pool);
        while (memory->turn_taken && !atomic_load(cancel))
            pthread_cond_wait(&memory->given, &memory->lock);
        if (left)
            thread_pool_wait_end(pool);
    }
    taken = !memory->turn_taken;
    memory->turn_taken = true;
    pthread_mutex_unlock(&memory->lock);
    return taken;
}

void build_memory_give_turn(struct build_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    memory->turn_taken = false;
    pthread_cond_broadcast(&memory->given);
    pthread_mutex_unlock(&memory->lock);
}

void build_memory_wake(struct build_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    pthread_cond_broadcast(&memory->given);
    pthread_mutex_unlock(&memory->lock);
}

uint64_t build_memory_taken(struct build_memory *memory)
{
    uint64_t bytes;

    pthread_mutex_lock(&memory->lock);
    bytes = memory->taken_bytes;
    pthread_mutex_unlock(&memory->lock);
    return bytes;
}
