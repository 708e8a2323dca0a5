#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

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
