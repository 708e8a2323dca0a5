/* windrow status: what the running service says of itself, for people. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

enum { WINDOWS_SHOWN = 10 };

struct status_arguments {
    const char *config_path;
    const char *collection;
    bool all;
    bool json;
};

/* ---- reading what may be missing ---- */

static const struct doc empty_doc = {.type = DOC_NULL};

static const struct doc *get(const struct doc *map, const char *key)
{
    const struct doc *value = doc_get(map, key);

    return value ? value : &empty_doc;
}

static int64_t number_of(const struct doc *map, const char *key, int64_t otherwise)
{
    int64_t number;

    return doc_as_i64(get(map, key), &number) ? number : otherwise;
}

static bool is_true(const struct doc *map, const char *key)
{
    const struct doc *value = get(map, key);

    return value->type == DOC_BOOL && value->boolean;
}

/* For "%.*s". Control characters cannot be in it: the service writes names and its own texts. */
#define TEXT_OF(map, key) (int)text_length(get(map, key)), text_bytes(get(map, key))

static uint32_t text_length(const struct doc *value)
{
    return value->type == DOC_STRING ? value->count : 1;
}

static const char *text_bytes(const struct doc *value)
{
    return value->type == DOC_STRING ? value->string : "-";
}

static void append_time(struct buffer *out, const struct doc *map, const char *key)
{
    char text[TEXT_TIME_BYTES];
    int64_t time_ms;

    if (doc_as_i64(get(map, key), &time_ms))
        buffer_append_text(out, text_format_time(time_ms, text));
    else
        buffer_append_text(out, "none");
}

static const char *size_text(const struct doc *map, const char *key, char text[TEXT_TIME_BYTES])
{
    return text_format_size((uint64_t)number_of(map, key, 0), text);
}

/* ---- the report ---- */

static void append_head(struct buffer *out, const struct doc *status)
{
    const struct doc *workers = get(status, "workers");
    char uptime[TEXT_TIME_BYTES];

    buffer_append_format(
        out, "%.*s  windrow %.*s, up %s, ", TEXT_OF(status, "node"), TEXT_OF(status, "version"),
        text_format_duration(1000 * number_of(status, "uptime_seconds", 0), uptime));
    if (is_true(status, "ready"))
        buffer_append_text(out, "ready\n");
    else
        buffer_append_format(out, "NOT READY: %.*s\n", TEXT_OF(status, "why"));
    if (get(get(status, "clock"), "advice")->type == DOC_STRING)
        buffer_append_format(out, "%.*s\n", TEXT_OF(get(status, "clock"), "advice"));
    if (workers->type != DOC_MAP)
        return;
    buffer_append_format(out, "workers: %lld building of %lld, ",
                         (long long)number_of(workers, "building", 0),
                         (long long)number_of(workers, "threads", 0));
    if (number_of(workers, "depth", -1) >= 0)
        buffer_append_format(out, "%lld jobs in the %.*s queue",
                             (long long)number_of(workers, "depth", 0), TEXT_OF(workers, "queue"));
    else
        buffer_append_format(out, "%.*s queue", TEXT_OF(workers, "queue"));
    if (!is_true(workers, "connected"))
        buffer_append_format(out, ", NOT CONNECTED: %.*s", TEXT_OF(workers, "why"));
    buffer_append_byte(out, '\n');
}

static void append_window(struct buffer *out, const struct doc *window)
{
    const struct doc *segment = get(window, "segment");
    char bytes[TEXT_TIME_BYTES];
    double recall;

    buffer_append_text(out, "    ");
    append_time(out, window, "start_ms");
    buffer_append_format(out, "  %-8.*s %10lld  %10s", TEXT_OF(window, "state"),
                         (long long)number_of(window, "rows", 0),
                         size_text(window, "bytes", bytes));
    if (segment->type == DOC_MAP) {
        buffer_append_format(out, "  %.*s %s", TEXT_OF(segment, "kind"),
                             size_text(segment, "bytes", bytes));
        if (doc_as_double(get(segment, "recall"), &recall))
            buffer_append_format(out, ", recall %.3f", recall);
    }
    if (get(window, "drop_blocked_by")->type == DOC_STRING)
        buffer_append_format(out, "  expired, not dropped: %.*s",
                             TEXT_OF(window, "drop_blocked_by"));
    buffer_append_byte(out, '\n');
}

static void append_windows(struct buffer *out, const struct doc *windows, bool all)
{
    uint32_t hidden = 0;

    if (windows->type != DOC_ARRAY || windows->count == 0) {
        buffer_append_text(out, "    no windows yet\n");
        return;
    }
    buffer_append_format(out, "    %-24s  %-8s %10s  %10s  %s\n", "window", "state", "rows",
                         "bytes", "segment");
    for (uint32_t i = 0; i < windows->count; i++) {
        const struct doc *window = &windows->items[i];
        bool blocked = get(window, "drop_blocked_by")->type == DOC_STRING;
        if (all || blocked || i + WINDOWS_SHOWN >= windows->count)
            append_window(out, window);
        else
            hidden++;
    }
    if (hidden > 0)
        buffer_append_format(out, "    and %u older ones (--all)\n", hidden);
}

static void append_trouble(struct buffer *out, const struct doc *shard, const char *key,
                           const char *label)
{
    if (get(shard, key)->type == DOC_STRING)
        buffer_append_format(out, "    %s: %.*s\n", label, TEXT_OF(shard, key));
}

static void append_shard(struct buffer *out, const struct doc *shard, bool all)
{
    char bytes[TEXT_TIME_BYTES];
    int64_t lag = number_of(shard, "lag_records", -1);

    buffer_append_format(out, "  shard %.*s", TEXT_OF(shard, "shard"));
    if (get(shard, "topic")->type == DOC_STRING)
        buffer_append_format(out, " (%.*s[%lld])", TEXT_OF(shard, "topic"),
                             (long long)number_of(shard, "partition", -1));
    buffer_append_format(out, ": next offset %lld, ",
                         (long long)number_of(shard, "next_offset", 0));
    if (lag >= 0)
        buffer_append_format(out, "lag %lld, watermark ", (long long)lag);
    else
        buffer_append_text(out, "lag unknown, watermark ");
    append_time(out, shard, "watermark_ms");
    buffer_append_format(out, ", %s on disk", size_text(shard, "total_bytes", bytes));
    buffer_append_format(out, ", %s in memory%s\n", size_text(shard, "memtable_bytes", bytes),
                         is_true(shard, "paused") ? ", PAUSED" : "");
    append_trouble(out, shard, "stopped", "STOPPED");
    append_trouble(out, shard, "waiting", "WAITS");
    append_trouble(out, shard, "damage", "DAMAGED");
    append_windows(out, get(shard, "windows"), all);
}

static void append_collection(struct buffer *out, const struct doc *collection, bool all)
{
    const struct doc *shards = get(collection, "shards");
    char window[TEXT_TIME_BYTES];
    char ttl[TEXT_TIME_BYTES] = "forever";
    int64_t ttl_ms = number_of(collection, "ttl_ms", 0);
    int64_t window_ms = number_of(collection, "window_ms", 0);

    if (ttl_ms > 0)
        text_format_duration(ttl_ms, ttl);
    buffer_append_format(out, "\n%.*s  %lld dimensions, %.*s, %s%s, kept %s\n",
                         TEXT_OF(collection, "name"), (long long)number_of(collection, "dim", 0),
                         TEXT_OF(collection, "metric"),
                         window_ms > 0 ? "windows of " : "no windows",
                         window_ms > 0 ? text_format_duration(window_ms, window) : "", ttl);
    if (shards->type != DOC_ARRAY || shards->count == 0)
        buffer_append_text(out, "  no shards open here\n");
    for (uint32_t i = 0; shards->type == DOC_ARRAY && i < shards->count; i++)
        append_shard(out, &shards->items[i], all);
}

static void print_report(const struct doc *status, const void *context)
{
    const struct status_arguments *arguments = context;
    const struct doc *collections = get(status, "collections");
    struct buffer out = {0};

    append_head(&out, status);
    for (uint32_t i = 0; collections->type == DOC_ARRAY && i < collections->count; i++)
        if (!arguments->collection ||
            doc_string_equals(get(&collections->items[i], "name"), arguments->collection))
            append_collection(&out, &collections->items[i], arguments->all);
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
}

int command_status(int argc, char **argv)
{
    struct status_arguments arguments = {0};
    struct config *config = NULL;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(arguments.config_path),
        OPTION_ROW_COLLECTION(arguments.collection, "show only this one"),
        {.name = "all",
         .letter = 'a',
         .help = "show every window, not only the newest ten of a shard and those that cannot be "
                 "dropped",
         .target = &arguments.all},
        OPTION_ROW_JSON(arguments.json),
    };
    const struct command_line line = {
        .usage = "[-c FILE] [-C COLLECTION] [--all] [--json]",
        .about =
            "Shows what the running service (http.listen of the config) reports: collections, "
            "shards, offsets and lag, "
            "watermarks, windows with state, rows, bytes and segment, what blocks a drop, workers.",
        .examples = "windrow status -C news --all",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(arguments.config_path, &config);
    if (status == COMMAND_OK && arguments.collection &&
        !config_collection_find(config, arguments.collection))
        status = command_usage_error("status", "%s has no collection %s", config->path,
                                     arguments.collection);
    else if (status == COMMAND_OK)
        status = ask_service(config, &(struct ask){.path = "/status",
                                                   .json = arguments.json,
                                                   .print = print_report,
                                                   .context = &arguments});
    config_free(config);
    return status;
}
