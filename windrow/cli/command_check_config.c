#include <getopt.h>
#include <stdio.h>

#include "base/buffer.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static void print_buffer(struct buffer *out)
{
    fwrite(out->data, 1, out->size, stdout);
    buffer_destroy(out);
}

static int check(const char *path, bool print, bool json)
{
    struct config *config = NULL;
    struct buffer out = {0};
    int status = command_load_config(path, &config);

    if (status != COMMAND_OK)
        return status;
    if (print) {
        config_print(config, json, &out);
        print_buffer(&out);
    } else {
        fprintf(stderr, "windrow: %s is valid\n", config->path);
    }
    config_free(config);
    return COMMAND_OK;
}

int command_check_config(int argc, char **argv)
{
    const char *path = NULL;
    bool print = false;
    bool json = false;
    bool documentation = false;
    bool schema = false;
    struct buffer out = {0};
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(path),
        {.name = "print",
         .help = "show every effective value and where it comes from; secrets stay hidden",
         .target = &print},
        {.name = "json",
         .letter = 'j',
         .help = "with --print: one JSON object, \"path\": {\"value\", \"origin\"}",
         .target = &json},
        {.name = "documentation",
         .help = "print docs/configuration.md, made from the same table",
         .target = &documentation},
        {.name = "schema",
         .help = "print a JSON Schema of the file, made from the same table, for editors",
         .target = &schema},
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--print [--json]]",
        .about = "Reads the config and reports every problem at once, as FILE:LINE:COL: message "
                 "(hint). Exits 0 "
                 "if the service could start with it (warnings are shown), else 78.",
        .examples = "windrow check-config -c /etc/windrow/windrow.yaml --print",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (json && !print)
        return command_usage_error("check-config", "--json needs --print");
    if (documentation)
        config_write_documentation(&out);
    else if (schema)
        config_write_schema(&out);
    else
        return check(path, print, json);
    print_buffer(&out);
    return COMMAND_OK;
}
