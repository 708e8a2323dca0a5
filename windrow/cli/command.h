/* What the commands have in common. */
#ifndef WINDROW_CLI_COMMAND_H
#define WINDROW_CLI_COMMAND_H

#include "config/config.h"
#include "windrow/cli/cli.h"
#include "windrow/cli/client.h"

/** Loads the config that `given` (-c, may be NULL) names. Problems go to stderr, one a line;
 * returns COMMAND_OK or COMMAND_CONFIG. Free with config_free. */
int command_load_config(const char *given, struct config **config);
/** The same for commands that only need an address: warnings are for check-config and run. */
int command_load_config_quietly(const char *given, struct config **config);

/** Says what is wrong with the command line, and where help is. Returns COMMAND_USAGE. */
int command_usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Prints "windrow: text" to stderr and returns COMMAND_FAILED. */
int command_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Says that the config has no collection of that name, and which one may be meant. Returns
 * COMMAND_USAGE. */
int command_no_collection(const struct config *config, const char *command, const char *name);

/* --url and --ca-file, of commands that ask the service. */
#define OPTION_ROWS_SERVICE                                                                        \
    {"url",                                                                                        \
     0,                                                                                            \
     OPTION_TEXT,                                                                                  \
     "URL",                                                                                        \
     "the service; default: http.listen of the config",                                            \
     &client_choice.url,                                                                           \
     0},                                                                                           \
    {                                                                                              \
        "ca-file", 0, OPTION_TEXT, "FILE",                                                         \
            "authorities of its certificate, PEM; default: http.tls.ca_file of the config",        \
            &client_choice.ca_file, 0                                                              \
    }

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
