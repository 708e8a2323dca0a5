#include <getopt.h>
#include <stdio.h>

#include "base/buffer.h"
#include "windrow/cli/command.h"

static const char help[] =
    "Usage: windrow check-config [-c FILE] [--print [--json]]\n\n"
    "Reads the config and reports every problem at once, as FILE:LINE:COL: message (hint).\n"
    "Exit 0 when the service could start with it (warnings are shown), 78 when not.\n\n"
    "  -c, --config FILE   default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "      --print         show every effective value with its origin, secrets hidden\n"
    "      --json          with --print: one JSON object, \"path\": {\"value\", \"origin\"}\n"
    "      --documentation print docs/configuration.md, made from the same table\n\n"
    "Example:\n  windrow check-config -c /etc/windrow/windrow.yaml --print\n";

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
        fprintf(stderr, "windrow: %s is good\n", config->path);
    }
    config_free(config);
    return COMMAND_OK;
}

int command_check_config(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"print", no_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},         {"documentation", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},         {0}};
    const char *path = NULL;
    bool print = false;
    bool json = false;
    struct buffer out = {0};
    int option;

    while ((option = getopt_long(argc, argv, "c:jh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'p':
            print = true;
            break;
        case 'j':
            json = true;
            break;
        case 'd':
            config_write_documentation(&out);
            print_buffer(&out);
            return COMMAND_OK;
        case 'h':
            fputs(help, stdout);
            return COMMAND_OK;
        default:
            return command_usage_error("check-config", "see above");
        }
    }
    if (optind < argc)
        return command_usage_error("check-config", "name the file with -c %s", argv[optind]);
    if (json && !print)
        return command_usage_error("check-config", "--json needs --print");
    return check(path, print, json);
}
