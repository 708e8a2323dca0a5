/* The program: one main, one file a command, and what `run` wires together.
 *
 * Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 64 usage, 78
 * config. */
#ifndef WINDROW_COMMAND_H
#define WINDROW_COMMAND_H

#include "base/io.h"
#include "config/config.h"

enum command_exit { COMMAND_OK = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 64, COMMAND_CONFIG = 78 };

/* Each gets its own name as argv[0] and returns an exit status. */
int command_run(int argc, char **argv);
/* The same under other clocks than the operating system's (NULL: those), for tests. */
int command_run_under(struct io *wall, int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_check_config(int argc, char **argv);
int command_compact(int argc, char **argv);
int command_produce(int argc, char **argv);
int command_pause(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_rebuild(int argc, char **argv);
int command_search(int argc, char **argv);
int command_status(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_verify(int argc, char **argv);

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
