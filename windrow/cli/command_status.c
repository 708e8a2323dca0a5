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

static void append_time(struct buffer *out, const struct doc *map, const char *key)
{
    char text[TEXT_TIME_BYTES];
    int64_t time_ms;

    if (doc_as_i64(reply_get(map, key), &time_ms))
        buffer_append_text(out, text_format_time(time_ms, text));
    else
        buffer_append_text(out, "none");
}

static const char *size_text(const struct doc *map, const char *key, char text[TEXT_TIME_BYTES])
{
    return text_format_size((uint64_t)reply_number(map, key, 0), text);
}

static void append_builds(struct buffer *out, const struct doc *builds)
{
    for (uint32_t i = 0; builds->type == DOC_ARRAY && i < builds->count; i++) {
        const struct doc *build = &builds->items[i];
        long long rows = reply_number(build, "rows", 1);
        buffer_append_format(out, "  building %.*s shard %.*s, window ",
                             REPLY_TEXT(build, "collection"), REPLY_TEXT(build, "shard"));
        append_time(out, build, "window_start_ms");
        buffer_append_format(out, ": %lld %% of %lld rows\n",
                             100 * (long long)reply_number(build, "rows_done", 0) / rows, rows);
    }
}

static void append_head(struct buffer *out, const struct doc *status)
{
    const struct doc *workers = reply_get(status, "workers");
    char uptime[TEXT_TIME_BYTES];

    buffer_append_format(
        out, "%.*s  windrow %.*s, up %s, ", REPLY_TEXT(status, "node"),
        REPLY_TEXT(status, "version"),
        text_format_duration(1000 * reply_number(status, "uptime_seconds", 0), uptime));
    if (reply_is_true(status, "ready"))
        buffer_append_text(out, "ready\n");
    else
        buffer_append_format(out, "NOT READY: %.*s\n", REPLY_TEXT(status, "why"));
    if (reply_get(reply_get(status, "clock"), "advice")->type == DOC_STRING)
        buffer_append_format(out, "%.*s\n", REPLY_TEXT(reply_get(status, "clock"), "advice"));
    if (workers->type != DOC_MAP)
        return;
    buffer_append_format(out, "workers: %lld building of %lld, ",
                         (long long)reply_number(workers, "building", 0),
                         (long long)reply_number(workers, "threads", 0));
    if (reply_number(workers, "depth", -1) >= 0)
        buffer_append_format(out, "%lld jobs in the %.*s queue",
                             (long long)reply_number(workers, "depth", 0),
                             REPLY_TEXT(workers, "queue"));
    else
        buffer_append_format(out, "%.*s queue", REPLY_TEXT(workers, "queue"));
    if (!reply_is_true(workers, "connected"))
        buffer_append_format(out, ", NOT CONNECTED: %.*s", REPLY_TEXT(workers, "why"));
    buffer_append_byte(out, '\n');
    append_builds(out, reply_get(workers, "builds"));
}

static void append_window(struct buffer *out, const struct doc *window)
{
    const struct doc *segment = reply_get(window, "segment"), *merge = reply_get(window, "merge");
    char bytes[TEXT_TIME_BYTES];
    double recall;

    buffer_append_text(out, "    ");
    append_time(out, window, "start_ms");
    buffer_append_format(out, "  %-8.*s %10lld  %10s", REPLY_TEXT(window, "state"),
                         (long long)reply_number(window, "rows", 0),
                         size_text(window, "bytes", bytes));
    if (segment->type == DOC_MAP) {
        buffer_append_format(out, "  %.*s %s", REPLY_TEXT(segment, "kind"),
                             size_text(segment, "bytes", bytes));
        if (doc_as_double(reply_get(segment, "recall"), &recall))
            buffer_append_format(out, ", recall %.3f", recall);
    }
    if (reply_get(window, "drop_blocked_by")->type == DOC_STRING)
        buffer_append_format(out, "  expired, not dropped: %.*s",
                             REPLY_TEXT(window, "drop_blocked_by"));
    if (merge->type == DOC_MAP)
        buffer_append_format(out, "  merging: %lld %% of %lld rows",
                             100 * (long long)reply_number(merge, "rows_done", 0) /
                                 (long long)reply_number(merge, "rows", 1),
                             (long long)reply_number(merge, "rows", 1));
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
        bool told = reply_get(window, "drop_blocked_by")->type == DOC_STRING ||
                    reply_get(window, "merge")->type == DOC_MAP;
        if (all || told || i + WINDOWS_SHOWN >= windows->count)
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
    if (reply_get(shard, key)->type == DOC_STRING)
        buffer_append_format(out, "    %s: %.*s\n", label, REPLY_TEXT(shard, key));
}

/* `node`: who serves it, where there is more than one node. */
static void append_shard(struct buffer *out, const struct doc *shard, const struct doc *node,
                         bool all)
{
    char bytes[TEXT_TIME_BYTES];
    int64_t lag = reply_number(shard, "lag_records", -1);

    buffer_append_format(out, "  shard %.*s", REPLY_TEXT(shard, "shard"));
    if (reply_get(shard, "topic")->type == DOC_STRING)
        buffer_append_format(out, " (%.*s[%lld])", REPLY_TEXT(shard, "topic"),
                             (long long)reply_number(shard, "partition", -1));
    if (node->type == DOC_STRING)
        buffer_append_format(out, " on %.*s", (int)node->count, node->string);
    buffer_append_format(out, ": next offset %lld, ",
                         (long long)reply_number(shard, "next_offset", 0));
    if (lag >= 0)
        buffer_append_format(out, "lag %lld, watermark ", (long long)lag);
    else
        buffer_append_text(out, "lag unknown, watermark ");
    append_time(out, shard, "watermark_ms");
    buffer_append_format(out, ", %s on disk", size_text(shard, "total_bytes", bytes));
    buffer_append_format(out, ", %s in memory%s\n", size_text(shard, "memtable_bytes", bytes),
                         reply_is_true(shard, "paused") ? ", PAUSED" : "");
    append_trouble(out, shard, "stopped", "STOPPED");
    append_trouble(out, shard, "waiting", "WAITS");
    append_trouble(out, shard, "damage", "DAMAGED");
    append_windows(out, reply_get(shard, "windows"), all);
}

static void append_collection(struct buffer *out, const struct doc *collection, bool in_cluster,
                              bool all)
{
    const struct doc *shards = reply_get(collection, "shards");
    const struct doc *missing = reply_get(collection, "missing");
    char window[TEXT_TIME_BYTES];
    char ttl[TEXT_TIME_BYTES] = "forever";
    int64_t ttl_ms = reply_number(collection, "ttl_ms", 0);
    int64_t window_ms = reply_number(collection, "window_ms", 0);

    if (ttl_ms > 0)
        text_format_duration(ttl_ms, ttl);
    buffer_append_format(
        out, "\n%.*s  %lld dimensions, %.*s, %s%s, kept %s\n", REPLY_TEXT(collection, "name"),
        (long long)reply_number(collection, "dim", 0), REPLY_TEXT(collection, "metric"),
        window_ms > 0 ? "windows of " : "no windows",
        window_ms > 0 ? text_format_duration(window_ms, window) : "", ttl);
    if (reply_get(collection, "refused")->type == DOC_STRING)
        buffer_append_format(out, "  REFUSED: %.*s\n", REPLY_TEXT(collection, "refused"));
    if (shards->type != DOC_ARRAY || shards->count == 0)
        buffer_append_text(out, "  no shards open here\n");
    for (uint32_t i = 0; shards->type == DOC_ARRAY && i < shards->count; i++)
        append_shard(out, &shards->items[i],
                     reply_get(in_cluster ? &shards->items[i] : NULL, "node"), all);
    for (uint32_t i = 0; missing->type == DOC_ARRAY && i < missing->count; i++)
        buffer_append_format(out, "  MISSING: nobody serves %.*s\n", (int)missing->items[i].count,
                             missing->items[i].string);
}

static void print_report(const struct doc *status, const void *context)
{
    const struct status_arguments *arguments = context;
    const struct doc *collections = reply_get(status, "collections");
    bool in_cluster = reply_get(status, "cluster")->type == DOC_STRING;
    struct buffer out = {0};

    append_head(&out, status);
    for (uint32_t i = 0; collections->type == DOC_ARRAY && i < collections->count; i++)
        if (!arguments->collection ||
            doc_string_equals(reply_get(&collections->items[i], "name"), arguments->collection))
            append_collection(&out, &collections->items[i], in_cluster, arguments->all);
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
}

int command_status(int argc, char **argv)
{
    struct status_arguments arguments = {0};
    struct config *config = NULL;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(arguments.config_path),
        OPTION_ROWS_SERVICE,
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
        status = command_no_collection(config, "status", arguments.collection);
    else if (status == COMMAND_OK)
        status = ask_service(config, &(struct ask){.path = "/status",
                                                   .json = arguments.json,
                                                   .print = print_report,
                                                   .context = &arguments});
    config_free(config);
    return status;
}
