#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
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

/* A thread under way, on its stack. */
struct running {
    struct running *next;
    pthread_t handle;
    uint32_t name; /* index in usage.names */
};

/* Threads that ended have left their time in their name's cpu_seconds. */
static struct {
    pthread_mutex_t lock;
    struct running *threads;
    struct thread_usage names[THREAD_NAMES_MAX];
    uint32_t count;
} usage = {.lock = PTHREAD_MUTEX_INITIALIZER};

static double cpu_seconds(clockid_t clock)
{
    struct timespec spent;

    return clock_gettime(clock, &spent) == 0
               ? (double)spent.tv_sec + (double)spent.tv_nsec / NS_PER_S
               : 0;
}

/* Under the lock. */
static uint32_t name_index(const char *name)
{
    uint32_t i = 0;

    while (i < usage.count && strcmp(usage.names[i].name, name) != 0)
        i++;
    if (i == THREAD_NAMES_MAX)
        i--;
    if (i == usage.count) {
        usage.count++;
        snprintf(usage.names[i].name, sizeof(usage.names[i].name), "%s",
                 i + 1 < THREAD_NAMES_MAX ? name : "other");
    }
    return i;
}

static void usage_begin(struct running *thread)
{
    char name[THREAD_NAME_MAX + 1] = "";

    (void)prctl(PR_GET_NAME, name, 0, 0, 0);
    thread->handle = pthread_self();
    pthread_mutex_lock(&usage.lock);
    thread->name = name_index(name);
    usage.names[thread->name].running++;
    thread->next = usage.threads;
    usage.threads = thread;
    pthread_mutex_unlock(&usage.lock);
}

static void usage_end(const struct running *thread)
{
    struct running **place = &usage.threads;

    pthread_mutex_lock(&usage.lock);
    while (*place != thread)
        place = &(*place)->next;
    *place = thread->next;
    usage.names[thread->name].running--;
    usage.names[thread->name].cpu_seconds += cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
    pthread_mutex_unlock(&usage.lock);
}

uint32_t thread_usage_list(struct thread_usage out[THREAD_NAMES_MAX])
{
    uint32_t count;

    pthread_mutex_lock(&usage.lock);
    count = usage.count;
    memcpy(out, usage.names, count * sizeof(*out));
    for (const struct running *thread = usage.threads; thread; thread = thread->next) {
        clockid_t clock;
        if (pthread_getcpuclockid(thread->handle, &clock) == 0)
            out[thread->name].cpu_seconds += cpu_seconds(clock);
    }
    pthread_mutex_unlock(&usage.lock);
    return count;
}

/* The thread names itself: its first log line and its first crash have the name already. */
static void *begin(void *context)
{
    struct start start = *(struct start *)context;
    struct running self;
    void *result;

    free(context);
    if (start.name[0] != '\0')
        (void)prctl(PR_SET_NAME, start.name, 0, 0, 0);
    usage_begin(&self);
    result = start.run(start.context);
    usage_end(&self);
    return result;
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
