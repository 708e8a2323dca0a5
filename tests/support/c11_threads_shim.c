/* C11 threads on top of pthreads, for ThreadSanitizer builds only.
 *
 * Debian's librdkafka calls glibc's mtx_*, cnd_* and thrd_*. TSan intercepts pthreads and knows
 * nothing of these: threads started by thrd_create have no state of its own, and the first
 * instrumented callback on them crashes. The definitions here come first in symbol resolution and
 * route everything through what TSan intercepts. glibc's mtx_t and cnd_t are unions around
 * pthread_mutex_t and pthread_cond_t with the same size, so that the storage fits. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "a mutex fits");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "a condition fits");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "a thread fits");

/* librdkafka is not instrumented: TSan sees its malloc, free and memcpy but not the atomic counters
 * that order them. Its locks still count, because they come through here. A race with one of
 * these functions in its stack is one on the memory of a lock of librdkafka's (made by one thread,
 * handed over by such a counter, taken by another): the program's own locks are pthreads, and these
 * functions call nothing back. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so.1\n"
           "race:^mtx_\n"
           "race:^cnd_\n";
}

static int result(int code)
{
    switch (code) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    case EBUSY:
        return thrd_busy;
    case ENOMEM:
        return thrd_nomem;
    default:
        return thrd_error;
    }
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attributes;
    int code;

    pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    code = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return result(code);
}

int mtx_lock(mtx_t *mutex)
{
    return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex)
{
    return result(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *condition)
{
    return result(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int cnd_signal(cnd_t *condition)
{
    return result(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
    return result(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    return result(
        pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

struct start {
    thrd_start_t function;
    void *argument;
};

static void *run(void *context)
{
    struct start start = *(struct start *)context;

    free(context);
    return (void *)(intptr_t)start.function(start.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument)
{
    struct start *start = malloc(sizeof(*start));
    int code;

    if (!start)
        return thrd_nomem;
    *start = (struct start){function, argument};
    code = pthread_create((pthread_t *)thread, NULL, run, start);
    if (code != 0)
        free(start);
    return result(code);
}

int thrd_join(thrd_t thread, int *status)
{
    void *returned = NULL;
    int code = pthread_join((pthread_t)thread, &returned);

    if (status)
        *status = (int)(intptr_t)returned;
    return result(code);
}

int thrd_detach(thrd_t thread)
{
    return result(pthread_detach((pthread_t)thread));
}

thrd_t thrd_current(void)
{
    return (thrd_t)pthread_self();
}

int thrd_equal(thrd_t a, thrd_t b)
{
    return pthread_equal((pthread_t)a, (pthread_t)b);
}

_Noreturn void thrd_exit(int status)
{
    pthread_exit((void *)(intptr_t)status);
}
