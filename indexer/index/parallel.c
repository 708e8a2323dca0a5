#include "indexer/index/parallel.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS_MAX = 256 };

struct parallel_loop {
    atomic_uint_least64_t next; /* first index that nobody has taken */
    uint32_t count, grain;
    index_parallel_function function;
    void *context;
    const atomic_bool *cancel;
};

struct parallel_worker {
    struct parallel_loop *loop;
    pthread_t handle;
    uint32_t thread;
};

static bool cancelled(const struct parallel_loop *loop)
{
    return loop->cancel && *loop->cancel;
}

static void *run(void *argument)
{
    struct parallel_worker *worker = argument;
    struct parallel_loop *loop = worker->loop;

    while (!cancelled(loop)) {
        uint64_t first = atomic_fetch_add(&loop->next, loop->grain);
        uint64_t end = first + loop->grain;
        if (first >= loop->count)
            break;
        loop->function(loop->context, worker->thread, (uint32_t)first,
                       end < loop->count ? (uint32_t)end : loop->count);
    }
    return NULL;
}

bool index_parallel_for(uint32_t thread_count, uint32_t count, uint32_t grain,
                        index_parallel_function function, void *context, const atomic_bool *cancel)
{
    struct parallel_loop loop = {
        .count = count, .grain = grain, .function = function, .context = context, .cancel = cancel};
    struct parallel_worker workers[THREADS_MAX];
    uint32_t started = 1;
    uint64_t pieces = ((uint64_t)count + grain - 1) / grain;

    assert(grain > 0 && thread_count > 0);
    atomic_init(&loop.next, 0);
    if (thread_count > THREADS_MAX)
        thread_count = THREADS_MAX;
    if (thread_count > pieces)
        thread_count = pieces ? (uint32_t)pieces : 1;
    workers[0] = (struct parallel_worker){.loop = &loop, .thread = 0};
    for (; started < thread_count; started++) {
        workers[started] = (struct parallel_worker){.loop = &loop, .thread = started};
        if (pthread_create(&workers[started].handle, NULL, run, &workers[started]) != 0)
            break;
    }
    run(&workers[0]);
    for (uint32_t i = 1; i < started; i++)
        pthread_join(workers[i].handle, NULL);
    return !cancelled(&loop);
}
