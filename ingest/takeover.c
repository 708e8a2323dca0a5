#include "ingest/takeover.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread_pool.h"

/* Each may fill a network link alone. */
enum { THREADS = 2 };

struct takeovers {
    const struct ingest_host *host;
    struct kafka_session *session;
    struct thread_pool *pool; /* made when it is first needed */
};

struct takeover {
    struct thread_task task; /* first */
    struct takeovers *takeovers;
    const struct config_collection *collection;
    char shard[300];
    int64_t next_offset, ahead_offset;
    atomic_bool cancel, over;
    bool brought; /* of a takeover that is over */
    char folder[PATH_MAX];
    pthread_mutex_t lock;
    pthread_cond_t ended;
};

struct takeovers *takeovers_new(const struct ingest_host *host, struct kafka_session *session)
{
    struct takeovers *takeovers = memory_new(1, sizeof(*takeovers));

    takeovers->host = host;
    takeovers->session = session;
    return takeovers;
}

void takeovers_delete(struct takeovers *takeovers)
{
    if (!takeovers)
        return;
    thread_pool_delete(takeovers->pool);
    free(takeovers);
}

/* The takeover may be gone as soon as the lock is free: the session outlives it. */
static void run(struct thread_task *task, uint32_t thread)
{
    struct takeover *takeover = (struct takeover *)task;
    const struct ingest_host *host = takeover->takeovers->host;
    struct kafka_session *session = takeover->takeovers->session;
    struct error error = {0};
    bool brought;

    (void)thread;
    brought = host->fetch(host->context, takeover->collection, takeover->shard,
                          takeover->next_offset, &takeover->cancel, takeover->folder, &error) == 0;
    if (!brought && !atomic_load(&takeover->cancel))
        log_warning("ingest", "%s/%s is read from Kafka: %s", takeover->collection->name,
                    takeover->shard, error.text);
    pthread_mutex_lock(&takeover->lock);
    takeover->brought = brought;
    atomic_store(&takeover->over, true);
    pthread_cond_signal(&takeover->ended);
    pthread_mutex_unlock(&takeover->lock);
    kafka_session_wake(session);
}

struct takeover *takeover_begin(struct takeovers *takeovers, const struct topic_partition *name,
                                int64_t next_offset)
{
    const struct ingest_host *host = takeovers->host;
    struct takeover *takeover;
    int64_t ahead_offset = host->fetch_worth ? host->fetch_worth(host->context, name->collection,
                                                                 name->shard, next_offset)
                                             : -1;

    if (ahead_offset < 0)
        return NULL;
    if (!takeovers->pool)
        takeovers->pool = thread_pool_new(&(struct thread_pool_options){
            .name = "takeover", .class = THREAD_BLOCKING, .threads_max = THREADS});
    takeover = memory_new(1, sizeof(*takeover));
    takeover->task.run = run;
    takeover->takeovers = takeovers;
    takeover->collection = name->collection;
    memcpy(takeover->shard, name->shard, sizeof(takeover->shard));
    takeover->next_offset = next_offset;
    takeover->ahead_offset = ahead_offset;
    pthread_mutex_init(&takeover->lock, NULL);
    pthread_cond_init(&takeover->ended, NULL);
    (void)thread_pool_submit(takeovers->pool,
                             &takeover->task); /* without a limit it is not refused */
    return takeover;
}

int64_t takeover_ahead_offset(const struct takeover *takeover)
{
    return takeover->ahead_offset;
}

bool takeover_is_over(const struct takeover *takeover)
{
    return atomic_load(&takeover->over);
}

char *takeover_end(struct takeover *takeover)
{
    char *folder = NULL;

    atomic_store(&takeover->cancel, true);
    if (!thread_pool_unqueue(takeover->takeovers->pool, &takeover->task)) {
        pthread_mutex_lock(&takeover->lock);
        while (!atomic_load(&takeover->over))
            pthread_cond_wait(&takeover->ended, &takeover->lock);
        pthread_mutex_unlock(&takeover->lock);
    }
    if (takeover->brought)
        folder = memory_checked(strdup(takeover->folder));
    pthread_cond_destroy(&takeover->ended);
    pthread_mutex_destroy(&takeover->lock);
    free(takeover);
    return folder;
}
