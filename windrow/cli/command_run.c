/* windrow run: the command line of the service. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "windrow/cli/command.h"

static const char help[] =
    "Usage: windrow run [-c FILE] [--role ingest|indexer|all] [--trust-clock]\n\n"
    "Runs the service until SIGTERM or Ctrl-C. SIGHUP reads the config again and says that the\n"
    "wall clock is right.\n\n"
    "  -c, --config FILE   default ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  --role ROLE         overrides `roles` of the config\n"
    "  --trust-clock       the wall clock is right, however long windrow did not run\n"
    "  -v, --verbose       debug lines\n\n"
    "Example:\n  windrow run -c windrow.yaml\n";

static int parse_role(const char *text, unsigned *roles)
{
    if (strcmp(text, "all") == 0)
        *roles = CONFIG_ROLE_INGEST | CONFIG_ROLE_INDEXER;
    else if (strcmp(text, "ingest") == 0)
        *roles = CONFIG_ROLE_INGEST;
    else if (strcmp(text, "indexer") == 0)
        *roles = CONFIG_ROLE_INDEXER;
    else
        return command_usage_error("run", "--role is ingest, indexer or all, not %s", text);
    return COMMAND_OK;
}

int command_run_parse(int argc, char **argv, struct command_run_options *run)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"role", required_argument, NULL, 'r'},
        {"trust-clock", no_argument, NULL, 't'},  {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {0}};
    const char *config_path = NULL;
    int status;
    int option;

    *run = (struct command_run_options){0};
    while ((option = getopt_long(argc, argv, "c:r:vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'r':
            status = parse_role(optarg, &run->roles);
            if (status != COMMAND_OK)
                return status;
            break;
        case 't':
            run->trust_clock = true;
            break;
        case 'v':
            logger_set_level(LOGGER_DEBUG);
            break;
        case 'h':
            fputs(help, stdout);
            return COMMAND_OK;
        default:
            return command_usage_error("run", "see above");
        }
    }
    if (optind < argc)
        return command_usage_error("run", "unexpected %s", argv[optind]);
    status = command_load_config(config_path, &run->config);
    if (status != COMMAND_OK)
        return status;
    if (run->roles == 0)
        run->roles = run->config->roles;
    if ((run->roles & CONFIG_ROLE_INGEST) == 0 && !run->config->nats_url) {
        config_free(run->config);
        command_fail("the role indexer alone builds for other machines and gets its work from "
                     "NATS: give nats.url");
        return COMMAND_CONFIG;
    }
    return -1;
}
