/* cli: the commands of the program, one file each. Most are clients of the running service over
 * HTTP; the others read the files of a service that does not run.
 *
 * Results go to stdout, everything else to stderr. */
#ifndef WINDROW_CLI_CLI_H
#define WINDROW_CLI_CLI_H

#include <stdbool.h>

#include "config/config.h"

enum command_exit { COMMAND_OK = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 64, COMMAND_CONFIG = 78 };

/* Each gets its own name as argv[0] and returns an exit status. */
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_check_config(int argc, char **argv);
int command_config(int argc, char **argv);
int command_compact(int argc, char **argv);
int command_produce(int argc, char **argv);
int command_pause(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_export(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_rebuild(int argc, char **argv);
int command_search(int argc, char **argv);
int command_status(int argc, char **argv);
int command_log_level(int argc, char **argv);
int command_top(int argc, char **argv);
int command_nodes(int argc, char **argv);
int command_repair(int argc, char **argv);
int command_trust_clock(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_verify(int argc, char **argv);

#define CLI_SUMMARY     "keeps the last N days of a stream of embeddings searchable"
#define CLI_FILES       "The config is -c FILE, or ./windrow.yaml, or /etc/windrow/windrow.yaml."
#define CLI_EXIT_STATUS "0 done, 1 failed, 64 wrong usage, 78 wrong config."

struct manual_entry {
    const char *command;
    const char *summary;
};

/* Pages in man(7) format, made from what --help prints. A command's page is its head, then what the
 * command itself writes when it is called with --man. */
void manual_write_program(struct buffer *out, const struct manual_entry *entries, size_t count);
void manual_write_head(struct buffer *out, const char *command, const char *summary);

/* The command line of `windrow run`. */
struct command_run_options {
    struct config *config; /* the caller frees it */
    unsigned roles;        /* enum config_role */
    bool trust_clock;
};

/** Parses it and loads the config. -1 to go on, else the exit status. */
int command_run_parse(int argc, char **argv, struct command_run_options *run);

#endif
