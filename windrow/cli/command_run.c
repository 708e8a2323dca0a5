/* windrow run: the command line of the service. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static int parse_role(const char *text, unsigned *roles)
{
    if (strcmp(text, "all") == 0)
        *roles = CONFIG_ROLE_INGEST | CONFIG_ROLE_INDEXER;
    else if (strcmp(text, "ingest") == 0)
        *roles = CONFIG_ROLE_INGEST;
    else if (strcmp(text, "indexer") == 0)
        *roles = CONFIG_ROLE_INDEXER;
    else if (strcmp(text, "query") == 0)
        *roles = CONFIG_ROLE_QUERY;
    else
        return command_usage_error("run", "invalid role %s: use ingest, indexer, query or all",
                                   text);
    return COMMAND_OK;
}

int command_run_parse(int argc, char **argv, struct command_run_options *run)
{
    const char *config_path = NULL;
    const char *role = NULL;
    bool verbose = false;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(config_path),
        {.name = "role",
         .letter = 'r',
         .type = OPTION_TEXT,
         .argument = "ROLE",
         .help = "ingest, indexer, query or all; overrides `roles` of the config",
         .target = &role},
        {.name = "trust-clock",
         .help = "the system clock is right, however long windrow was down",
         .target = &run->trust_clock},
        {.name = "verbose", .letter = 'v', .help = "log debug lines", .target = &verbose},
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--role ingest|indexer|query|all] [--trust-clock]",
        .about = "Runs the service until SIGTERM or Ctrl-C. SIGHUP reads the config again.",
        .examples = "windrow run -c windrow.yaml",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status;

    *run = (struct command_run_options){0};
    status = options_parse(&line, argc, argv);
    if (status != -1)
        return status;
    if (role && (status = parse_role(role, &run->roles)) != COMMAND_OK)
        return status;
    status = command_load_config(config_path, &run->config);
    if (status != COMMAND_OK)
        return status;
    if (verbose)
        run->config->log_level = LOGGER_DEBUG;
    logger_set_level(run->config->log_level);
    logger_set_format(run->config->log_format);
    if (run->roles == 0)
        run->roles = run->config->roles;
    if ((run->roles & CONFIG_ROLE_INGEST) == 0 && !run->config->nats_url) {
        config_free(run->config);
        command_fail("without the role ingest a process works for others, which it finds on NATS: "
                     "set nats.url");
        return COMMAND_CONFIG;
    }
    return -1;
}
