#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { NS_PER_S = 1000000000 };

struct start {
    char name[THREAD_NAME_MAX + 1];
    void *(*run)(void *);
    void *context;
};

/* The thread names itself: its first log line and its first crash have the name already. */
static void *begin(void *context)
{
    struct start start = *(struct start *)context;

    free(context);
    if (start.name[0] != '\0')
        (void)prctl(PR_SET_NAME, start.name, 0, 0, 0);
    return start.run(start.context);
}

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *context)
{
    struct start *start = malloc(sizeof(*start));
    int code;

    assert(!name || strlen(name) <= THREAD_NAME_MAX);
    if (!start)
        return ENOMEM;
    *start = (struct start){.run = run, .context = context};
    strcpy(start->name, name ? name : "");
    code = pthread_create(thread, NULL, begin, start);
    if (code != 0)
        free(start);
    return code;
}

void thread_condition_create(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    /* On the system's clock a sleep would change its length whenever somebody sets the time. */
    if (pthread_condattr_init(&attributes) != 0 ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(condition, &attributes) != 0)
        abort();
    pthread_condattr_destroy(&attributes);
}

int64_t thread_deadline(int64_t in_ns)
{
    struct timespec now;
    int64_t deadline_ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (__builtin_add_overflow((int64_t)now.tv_sec * NS_PER_S + now.tv_nsec, in_ns > 0 ? in_ns : 0,
                               &deadline_ns))
        return INT64_MAX;
    return deadline_ns;
}

bool thread_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns)
{
    const struct timespec until = {.tv_sec = deadline_ns / NS_PER_S,
                                   .tv_nsec = deadline_ns % NS_PER_S};

    if (deadline_ns == INT64_MAX)
        return pthread_cond_wait(condition, lock) == 0;
    return pthread_cond_timedwait(condition, lock, &until) == 0;
}
