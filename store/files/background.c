/* One thread for what appends and readers should not wait for. Members are walked in the list while
 * the lock is let go for each one's work: `busy` says which one that is, so that only its removal
 * waits. New members come in front and are seen in the next round.
 *
 * `due` is looked at twice, for speed outside the lock and for truth under it: a wake that finds it
 * set already costs one atomic exchange. */
#include "store/files/background.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/logger.h"
#include "base/thread.h"

struct background {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;               /* something is due, or it is time to stop */
    pthread_cond_t done;               /* `busy` changed */
    struct background_member *members; /* under the lock, as all that follows */
    struct background_member *busy;    /* the one that is worked on outside the lock */
    bool stopping;
    _Atomic bool due;
};

static void *run(void *context)
{
    struct background *background = context;
    const struct sched_param ordinary = {0};

    /* Whoever wakes it goes on: with two busy processors the unmapping of a dropped window (2.6 ms
     * for 10^6 rows) took the processor from the drop itself. Refused: only slower. */
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &ordinary);
    pthread_mutex_lock(&background->lock);
    while (!background->stopping) {
        if (!atomic_exchange(&background->due, false)) {
            pthread_cond_wait(&background->wake, &background->lock);
            continue;
        }
        for (struct background_member *member = background->members; member;
             member = member->next) {
            background->busy = member;
            pthread_mutex_unlock(&background->lock);
            member->work(member);
            pthread_mutex_lock(&background->lock);
            background->busy = NULL;
            pthread_cond_broadcast(&background->done);
            /* Who waits to take this member out of the list gets the lock after the next one is
             * busy. */
        }
    }
    pthread_mutex_unlock(&background->lock);
    return NULL;
}

struct background *background_start(void)
{
    struct background *background = calloc(1, sizeof(*background));

    if (!background || pthread_mutex_init(&background->lock, NULL) != 0 ||
        pthread_cond_init(&background->wake, NULL) != 0 ||
        pthread_cond_init(&background->done, NULL) != 0)
        abort();
    if (thread_start(&background->thread, "log-prealloc", run, background) != 0) {
        log_warning("store", "no background thread: appends write the zeros ahead of the log");
        free(background);
        return NULL;
    }
    return background;
}

void background_stop(struct background *background)
{
    if (!background)
        return;
    pthread_mutex_lock(&background->lock);
    background->stopping = true;
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
    pthread_join(background->thread, NULL);
    pthread_cond_destroy(&background->wake);
    pthread_cond_destroy(&background->done);
    pthread_mutex_destroy(&background->lock);
    free(background);
}

void background_add(struct background *background, struct background_member *member)
{
    if (!background)
        return;
    pthread_mutex_lock(&background->lock);
    member->next = background->members;
    background->members = member;
    pthread_mutex_unlock(&background->lock);
}

void background_remove(struct background *background, struct background_member *member)
{
    struct background_member **link;

    if (!background)
        return;
    pthread_mutex_lock(&background->lock);
    while (background->busy == member)
        pthread_cond_wait(&background->done, &background->lock);
    for (link = &background->members; *link; link = &(*link)->next)
        if (*link == member) {
            *link = member->next;
            break;
        }
    pthread_mutex_unlock(&background->lock);
}

void background_wake(struct background *background)
{
    if (!background || atomic_exchange(&background->due, true))
        return;
    /* The flag is looked at under the lock: the signal cannot come between that and the wait. */
    pthread_mutex_lock(&background->lock);
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
}

void garbage_create(struct garbage *garbage, struct background *background)
{
    *garbage = (struct garbage){.background = background};
    if (pthread_mutex_init(&garbage->lock, NULL) != 0 ||
        pthread_mutex_init(&garbage->collect_lock, NULL) != 0)
        abort();
}

void garbage_destroy(struct garbage *garbage)
{
    pthread_mutex_destroy(&garbage->lock);
    pthread_mutex_destroy(&garbage->collect_lock);
}

void garbage_add(struct garbage *garbage, struct garbage_item *item)
{
    pthread_mutex_lock(&garbage->lock);
    item->next = garbage->items;
    garbage->items = item;
    pthread_mutex_unlock(&garbage->lock);
    background_wake(garbage->background);
}

struct garbage_item *garbage_take(struct garbage *garbage)
{
    struct garbage_item *items;

    pthread_mutex_lock(&garbage->lock);
    items = garbage->items;
    garbage->items = NULL;
    pthread_mutex_unlock(&garbage->lock);
    return items;
}
