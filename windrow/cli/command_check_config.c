#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static void print_buffer(struct buffer *out)
{
    fwrite(out->data, 1, out->size, stdout);
    buffer_destroy(out);
}

static void print_changes(const char *what, struct buffer *lines)
{
    const char *line = buffer_text(lines);

    while (*line) {
        size_t length = strcspn(line, "\n");
        printf("%s %.*s\n", what, (int)length, line);
        line += length + (line[length] == '\n');
    }
    buffer_destroy(lines);
}

/* What a service that runs with the file `against` does when it gets this one and SIGHUP. */
static int compare(const struct config *config, const char *against)
{
    struct buffer applied = {0}, restart_needed = {0};
    struct config *running = NULL;
    int status = command_load_config_quietly(against, &running);

    if (status != COMMAND_OK)
        return status;
    if (!config_compare(running, config, &applied, &restart_needed))
        printf("nothing changed\n");
    print_changes("a reload applies", &applied);
    print_changes("a restart is needed for", &restart_needed);
    config_free(running);
    return COMMAND_OK;
}

static int check(const char *path, const char *against, bool print, bool json)
{
    struct config *config = NULL;
    struct buffer out = {0};
    int status = command_load_config(path, &config);

    if (status != COMMAND_OK)
        return status;
    if (config_check_data_dir(config, &out) != 0) {
        fputs(buffer_text(&out), stderr);
        buffer_destroy(&out);
        status = COMMAND_CONFIG;
    } else if (print) {
        config_print(config, json, &out);
        print_buffer(&out);
    } else {
        fprintf(stderr, "windrow: %s is valid\n", config->path);
        if (against)
            status = compare(config, against);
    }
    config_free(config);
    return status;
}

int command_check_config(int argc, char **argv)
{
    const char *path = NULL, *against = NULL;
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
        {.name = "against",
         .type = OPTION_TEXT,
         .argument = "FILE",
         .help = "what a service that runs with FILE would apply of this one on a reload, and what "
                 "needs a restart",
         .target = &against},
        {.name = "documentation",
         .help = "print docs/configuration.md, made from the same table",
         .target = &documentation},
        {.name = "schema",
         .help = "print a JSON Schema of the file, made from the same table, for editors",
         .target = &schema},
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--print [--json]]\n[-c FILE] --against FILE",
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
    if (print && against)
        return command_usage_error("check-config", "--print and --against exclude each other");
    if (documentation)
        config_write_documentation(&out);
    else if (schema)
        config_write_schema(&out);
    else
        return check(path, against, print, json);
    print_buffer(&out);
    return COMMAND_OK;
}
