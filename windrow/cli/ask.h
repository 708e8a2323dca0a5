/* What the commands that ask the running service have in common. */
#ifndef WINDROW_ASK_H
#define WINDROW_ASK_H

#include "windrow/cli/client.h"

struct ask {
    const char *path;          /* "/status" */
    const struct buffer *body; /* JSON, or NULL: GET */
    long timeout_s;            /* 0: the client's own */
    bool json;                 /* the raw reply */
    /* What people see otherwise. */
    void (*print)(const struct doc *reply, const void *context);
    const void *context;
};

/** One request, its answer on stdout. Returns an exit status; what went wrong is on stderr. */
int ask_service(const struct config *config, const struct ask *ask);

/** *collection (may be NULL): when none was given, the only one there is. COMMAND_OK, or
 * COMMAND_USAGE when there are several, or none of that name. */
int ask_choose_collection(const struct config *config, const char *command,
                          const char **collection);

#endif
