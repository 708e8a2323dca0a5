/* thread: a thread with a name, which `top -H`, debuggers and crash reports show, and a condition
 * that threads sleep on until a deadline. Threads that one starts in turn have its name until they
 * take another. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { THREAD_NAME_MAX = 15 }; /* bytes; what Linux keeps */

/** As pthread_create with the default attributes. `name` NULL: the name of the calling thread.
 * Returns 0 or what errno would be. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *context);

/* Processor time of all threads of one name that thread_start made, since the process began. */
struct thread_usage {
    char name[THREAD_NAME_MAX + 1];
    double cpu_seconds;
    uint32_t running;
};

enum { THREAD_NAMES_MAX = 48 }; /* further names count as "other" */

/** Fills `out` and returns how many names there are. Any thread. */
uint32_t thread_usage_list(struct thread_usage out[THREAD_NAMES_MAX]);

/** Makes a condition for thread_condition_wait; pthread_cond_destroy ends it. */
void thread_condition_create(pthread_cond_t *condition);

/** The time of the monotonic clock `in_ns` from now. At once when `in_ns` is negative; INT64_MAX,
 * which never comes, when the sum is past it. */
int64_t thread_deadline(int64_t in_ns);

/** Sleeps on a condition of thread_condition_create until it is signalled or `deadline_ns`
 * (thread_deadline) has passed. Under `lock`, which is let go meanwhile. Returns false once the
 * deadline has passed. As with pthread_cond_wait, a thread may wake for no reason. */
bool thread_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns);

#endif
