/* windrow compact and windrow rebuild: ask the running service for merges, or for a window from
 * Kafka. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

/* Merges and reads from Kafka take long; the service continues after Ctrl-C. */
enum { WAIT_S = 24 * 60 * 60 };

struct arguments {
    const char *command;
    const char *config_path;
    const char *collection;
    const char *window;
    const char *shard;
    bool json;
};

static void print_window(const struct doc *window)
{
    char start[TEXT_TIME_BYTES];
    char bytes[TEXT_TIME_BYTES];

    printf("shard %.*s  %s  %.*s  %lld rows, %s\n", REPLY_TEXT(window, "shard"),
           reply_number(window, "window_length_ms", 0) > 0
               ? text_format_time(reply_number(window, "window_start_ms", 0), start)
               : "all rows",
           REPLY_TEXT(window, "action"), (long long)reply_number(window, "rows", 0),
           text_format_size((uint64_t)reply_number(window, "bytes", 0), bytes));
}

static void print_windows(const struct doc *reply, const void *context)
{
    const struct doc *windows = reply_get(reply, "result");

    (void)context;
    if (windows->type != DOC_ARRAY || windows->count == 0) {
        printf("nothing to do\n");
        return;
    }
    for (uint32_t i = 0; i < windows->count; i++)
        print_window(&windows->items[i]);
}

static int write_body(const struct arguments *arguments, struct buffer *body, struct error *error)
{
    int64_t time_ms;

    buffer_append_byte(body, '{');
    if (arguments->window) {
        if (options_parse_time("window", arguments->window, io_wall_ms(io_posix()), &time_ms,
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

static int request(const struct config *config, struct arguments *arguments)
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

static int run(int argc, char **argv, const struct command_line *line, bool needs_window,
               struct arguments *arguments)
{
    struct config *config = NULL;
    int status = options_parse(line, argc, argv);

    if (status != -1)
        return status;
    if (needs_window && !arguments->window)
        return command_usage_error(argv[0], "name a window with --window TIME");
    status = command_load_config_quietly(arguments->config_path, &config);
    if (status == COMMAND_OK)
        status = request(config, arguments);
    config_free(config);
    return status;
}

#define SHARED_ROWS(arguments, window_help)                                                        \
    OPTION_ROW_CONFIG((arguments).config_path), OPTION_ROWS_SERVICE,                               \
        OPTION_ROW_COLLECTION((arguments).collection,                                              \
                              "may be left out if the config has only one"),                       \
        {"window", 0, OPTION_TEXT, "TIME", window_help, &(arguments).window, 0},                   \
        {"shard",                                                                                  \
         0,                                                                                        \
         OPTION_TEXT,                                                                              \
         "SHARD",                                                                                  \
         "only this one, as `windrow status` names it",                                            \
         &(arguments).shard,                                                                       \
         0},                                                                                       \
        OPTION_ROW_JSON((arguments).json)

int command_compact(int argc, char **argv)
{
    struct arguments arguments = {.command = "compact"};
    const struct option_row rows[] = {SHARED_ROWS(arguments,
                                                  "the window that contains this time, open or "
                                                  "not: 2026-11-21T03:04:05Z, milliseconds, or 2h "
                                                  "for two hours ago")};
    const struct command_line line = {
        .usage = "-C COLLECTION [--window TIME] [--shard SHARD]",
        .about = "Asks the running service (http.listen of the config) to seal, reseal or merge "
                 "now, and waits until "
                 "it is done. Without --window: every closed window; a collection without windows "
                 "merges everything.",
        .examples = "windrow compact -C news --window 2026-11-21T03:00:00Z",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };

    return run(argc, argv, &line, false, &arguments);
}

int command_rebuild(int argc, char **argv)
{
    struct arguments arguments = {.command = "rebuild"};
    const struct option_row rows[] = {
        SHARED_ROWS(arguments, "the window that contains this time: 2026-11-21T03:04:05Z, "
                               "milliseconds, or 2h for two hours ago")};
    const struct command_line line = {
        .usage = "-C COLLECTION --window TIME [--shard SHARD]",
        .about = "Asks the running service (http.listen of the config) to read a window again from "
                 "Kafka, and waits "
                 "until the window is swapped in. This brings back a window that was removed "
                 "because its files are "
                 "damaged. Searches continue. The service refuses if Kafka no longer has the "
                 "window's records.",
        .examples = "windrow rebuild -C news --window 2026-11-21T03:00:00Z",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };

    return run(argc, argv, &line, true, &arguments);
}
