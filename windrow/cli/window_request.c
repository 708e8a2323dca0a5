#include "windrow/cli/window_request.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "windrow/cli/argument.h"
#include "windrow/cli/ask.h"
#include "windrow/cli/command.h"

/* A merge or a read from Kafka takes what it takes; Ctrl-C leaves the service at it. */
enum { WAIT_S = 24 * 60 * 60 };

enum option_code { OPTION_WINDOW = 256, OPTION_SHARD, OPTION_JSON };

struct arguments {
    const char *command;
    const char *config_path;
    const char *collection;
    const char *window;
    const char *shard;
    bool json;
};

/* ---- the answer ---- */

static int64_t number_of(const struct doc *map, const char *key)
{
    const struct doc *value = doc_get(map, key);
    int64_t number = 0;

    return value && doc_as_i64(value, &number) ? number : 0;
}

static void print_window(const struct doc *window)
{
    const struct doc *shard = doc_get(window, "shard");
    const struct doc *action = doc_get(window, "action");
    char start[TEXT_TIME_BYTES];
    char bytes[TEXT_TIME_BYTES];

    if (!shard || shard->type != DOC_STRING || !action || action->type != DOC_STRING)
        return;
    printf("shard %.*s  %s  %.*s  %lld rows, %s\n", (int)shard->count, shard->string,
           number_of(window, "window_length_ms") > 0
               ? text_format_time(number_of(window, "window_start_ms"), start)
               : "all rows",
           (int)action->count, action->string, (long long)number_of(window, "rows"),
           text_format_size((uint64_t)number_of(window, "bytes"), bytes));
}

static void print_windows(const struct doc *reply, const void *context)
{
    const struct doc *windows = doc_get(reply, "result");

    (void)context;
    for (uint32_t i = 0; windows && windows->type == DOC_ARRAY && i < windows->count; i++)
        print_window(&windows->items[i]);
    if (windows && windows->type == DOC_ARRAY && windows->count == 0)
        printf("nothing to do\n");
}

/* ---- the question ---- */

static int write_body(const struct arguments *arguments, struct buffer *body, struct error *error)
{
    int64_t time_ms;

    buffer_append_byte(body, '{');
    if (arguments->window) {
        if (argument_parse_time("window", arguments->window, io_wall_ms(io_posix()), &time_ms,
                                error) != 0)
            return ERROR_INVALID;
        buffer_append_format(body, "\"window\":%lld", (long long)time_ms);
    }
    if (arguments->shard) {
        buffer_append_text(body, arguments->window ? ",\"shard\":" : "\"shard\":");
        doc_write_json_string(body, arguments->shard, strlen(arguments->shard));
    }
    buffer_append_byte(body, '}');
    return 0;
}

static int ask(const struct config *config, const struct arguments *arguments,
               const struct buffer *body)
{
    struct buffer path = {0};
    int status;

    buffer_append_format(&path, "/collections/%s/%s", arguments->collection, arguments->command);
    status = ask_service(config, &(struct ask){.path = buffer_text(&path),
                                               .body = body,
                                               .timeout_s = WAIT_S,
                                               .json = arguments->json,
                                               .print = print_windows});
    buffer_destroy(&path);
    return status;
}

static int run(const struct config *config, struct arguments *arguments)
{
    struct buffer body = {0};
    struct error error = {0};
    int status = ask_choose_collection(config, arguments->command, &arguments->collection);

    if (status != COMMAND_OK)
        return status;
    if (write_body(arguments, &body, &error) == 0)
        status = ask(config, arguments, &body);
    else
        status = command_usage_error(arguments->command, "%s", error.text);
    buffer_destroy(&body);
    return status;
}

/* COMMAND_OK, or how the command ends. */
static int take_option(int option, struct arguments *arguments)
{
    switch (option) {
    case 'c':
        arguments->config_path = optarg;
        break;
    case 'C':
        arguments->collection = optarg;
        break;
    case OPTION_WINDOW:
        arguments->window = optarg;
        break;
    case OPTION_SHARD:
        arguments->shard = optarg;
        break;
    case OPTION_JSON:
        arguments->json = true;
        break;
    default:
        return command_usage_error(arguments->command, "see above");
    }
    return COMMAND_OK;
}

int window_request_run(int argc, char **argv, const char *command, const char *help,
                       bool needs_window)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"collection", required_argument, NULL, 'C'},
                                            {"window", required_argument, NULL, OPTION_WINDOW},
                                            {"shard", required_argument, NULL, OPTION_SHARD},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct arguments arguments = {.command = command};
    struct config *config = NULL;
    int status = COMMAND_OK;
    int option;

    while ((option = getopt_long(argc, argv, "c:C:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return COMMAND_OK;
        }
        status = take_option(option, &arguments);
        if (status != COMMAND_OK)
            return status;
    }
    if (optind < argc)
        return command_usage_error(command, "what is %s?", argv[optind]);
    if (needs_window && !arguments.window)
        return command_usage_error(command, "which window? (--window TIME)");
    status = command_load_config_quietly(arguments.config_path, &config);
    if (status == COMMAND_OK)
        status = run(config, &arguments);
    config_free(config);
    return status;
}
