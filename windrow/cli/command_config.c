/* windrow config show: one value, or a section, and where it comes from. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static int show(const struct config *config, const char *key, bool json)
{
    struct buffer out = {0};
    int status = COMMAND_OK;

    if (config_show(config, key, json, &out))
        fwrite(out.data, 1, out.size, stdout);
    else if (out.size > 0)
        status = command_usage_error("config", "there is no key %s (did you mean %s?)", key,
                                     buffer_text(&out));
    else
        status = command_usage_error("config", "there is no key %s", key);
    buffer_destroy(&out);
    return status;
}

int command_config(int argc, char **argv)
{
    const char *path = NULL;
    struct config *config = NULL;
    bool json = false;
    const struct option_row rows[] = {OPTION_ROW_CONFIG(path), OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "show [KEY] [-c FILE] [--json]",
        .about = "Shows what the service would use: the effective value of KEY, or of all keys "
                 "below it, with the "
                 "line of the file that it comes from, or `default`, and whether a reload (SIGHUP) "
                 "applies a change. "
                 "Secrets stay hidden. Collections are named: collections.NAME.ttl.",
        .examples = "windrow config show store.memory_max_bytes\nwindrow config show collections",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
        .operands = "show and a key",
        .operands_min = 1,
        .operands_max = 2,
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (strcmp(argv[optind], "show") != 0)
        return command_usage_error("config", "unknown action %s: it is `config show`",
                                   argv[optind]);
    status = command_load_config_quietly(path, &config);
    if (status == COMMAND_OK)
        status = show(config, argv[optind + 1], json); /* argv ends with NULL */
    config_free(config);
    return status;
}
