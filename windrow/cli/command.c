#include "windrow/cli/command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buffer.h"

static int load_config(const char *given, bool warnings, struct config **config)
{
    struct buffer report = {0};
    int code = config_load(config_default_path(given), config, &report);

    if (report.size > 0 && (warnings || code != 0))
        fputs(buffer_text(&report), stderr);
    buffer_destroy(&report);
    return code == 0 ? COMMAND_OK : COMMAND_CONFIG;
}

int command_load_config(const char *given, struct config **config)
{
    return load_config(given, true, config);
}

int command_load_config_quietly(const char *given, struct config **config)
{
    return load_config(given, false, config);
}

int command_usage_error(const char *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "windrow %s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: windrow %s --help\n", command);
    return COMMAND_USAGE;
}

int command_fail(const char *format, ...)
{
    va_list arguments;

    fputs("windrow: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return COMMAND_FAILED;
}

int command_parse_plain(int argc, char **argv, const char *help, const char **config_path,
                        bool *json)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;

    while ((option = getopt_long(argc, argv, "c:jh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            *config_path = optarg;
            break;
        case 'j':
            *json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return COMMAND_OK;
        default:
            return command_usage_error(argv[0], "see above");
        }
    }
    return -1;
}
