/* thread: a thread with a name, which `top -H`, debuggers and crash reports show. Threads that one
 * starts in turn have its name until they take another. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

enum { THREAD_NAME_MAX = 15 }; /* bytes; what Linux keeps */

/** As pthread_create with the default attributes. `name` NULL: the name of the calling thread.
 * Returns 0 or what errno would be. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *context);

#endif
