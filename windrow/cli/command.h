/* What the commands have in common. */
#ifndef WINDROW_CLI_COMMAND_H
#define WINDROW_CLI_COMMAND_H

#include "config/config.h"
#include "windrow/cli/cli.h"

/** Loads the config that `given` (-c, may be NULL) names. Problems go to stderr, one a line;
 * returns COMMAND_OK or COMMAND_CONFIG. Free with config_free. */
int command_load_config(const char *given, struct config **config);
/** The same for commands that only need an address: warnings are for check-config and run. */
int command_load_config_quietly(const char *given, struct config **config);

/** Says what is wrong with the command line, and where help is. Returns COMMAND_USAGE. */
int command_usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** The options of commands that have only -c, --json and --help; optind is behind them. -1 to go
 * on, else the exit status. */
int command_parse_plain(int argc, char **argv, const char *help, const char **config_path,
                        bool *json);

/** Prints "windrow: text" to stderr and returns COMMAND_FAILED. */
int command_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
