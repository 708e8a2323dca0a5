/* windrow search: one query to the running service, its answer as a table. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"
#include "windrow/cli/search_request.h"

enum { K_MAX = 100000, ID_WIDTH_MAX = 40, PAYLOAD_WIDTH_MIN = 20, LINE_WIDTH = 120 };

/* `text` cut to `width` characters of UTF-8, the last of them an ellipsis. */
static void append_cut(struct buffer *out, const char *text, size_t length, size_t width)
{
    size_t characters = 0;
    size_t at = 0;

    for (size_t i = 0; i < length; i++)
        characters += ((unsigned char)text[i] & 0xc0) != 0x80;
    if (characters <= width) {
        buffer_append(out, text, length);
        return;
    }
    for (size_t shown = 0; at < length; at++) {
        if (((unsigned char)text[at] & 0xc0) != 0x80 && ++shown == width)
            break;
    }
    buffer_append(out, text, at);
    buffer_append_text(out, "\u2026");
}

static size_t line_width(void)
{
    struct winsize size;

    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return LINE_WIDTH;
}

static int id_width(const struct doc *points)
{
    size_t width = 2;

    for (uint32_t i = 0; i < points->count; i++) {
        const struct doc *id = doc_get(&points->items[i], "id");
        struct buffer text = {0};
        if (id)
            doc_write_json(&text, id);
        width = text.size > width ? text.size : width;
        buffer_destroy(&text);
    }
    return (int)(width < ID_WIDTH_MAX ? width : ID_WIDTH_MAX);
}

static void append_point(struct buffer *out, uint32_t rank, const struct doc *point, int width,
                         size_t payload_width)
{
    const struct doc *id = doc_get(point, "id");
    const struct doc *payload = doc_get(point, "payload");
    char time_text[TEXT_TIME_BYTES] = "";
    struct buffer text = {0};
    int64_t time_ms;

    if (doc_as_i64(reply_get(doc_get(point, "windrow"), "time_ms"), &time_ms))
        text_format_time(time_ms, time_text);
    if (id)
        doc_write_json(&text, id);
    buffer_append_format(out, "%3u  %-*s  %8.4f  %-24s  ", rank, width, buffer_text(&text),
                         reply_double(point, "score", 0), *time_text ? time_text : "-");
    text.size = 0;
    if (payload)
        doc_write_json(&text, payload);
    append_cut(out, (const char *)text.data, text.size, payload_width);
    buffer_append_byte(out, '\n');
    buffer_destroy(&text);
}

static void append_pairs(struct buffer *out, const struct doc *map, bool times)
{
    for (uint32_t i = 0; map && map->type == DOC_MAP && i < map->count; i++) {
        const struct doc *key = &map->items[2 * i];
        char text[TEXT_TIME_BYTES];
        int64_t number;
        if (!doc_as_i64(&map->items[2 * i + 1], &number))
            continue;
        if (times)
            buffer_append_format(out, " %.*s:%s", (int)key->count, key->string,
                                 text_format_time(number, text));
        else
            buffer_append_format(out, " %.*s:%lld", (int)key->count, key->string,
                                 (long long)number);
    }
}

/* How fresh the answer is: what every reply tells. */
static void append_freshness(struct buffer *out, const struct doc *reply)
{
    const struct doc *windrow = doc_get(reply, "windrow");
    const struct doc *windows = doc_get(windrow, "windows");

    if (!windrow)
        return;
    buffer_append_format(
        out, "\nwindows: %lld searched, %lld pruned, %lld live; %.2f ms%s\n",
        (long long)reply_number(windows, "searched", 0),
        (long long)reply_number(windows, "pruned", 0), (long long)reply_number(windows, "live", 0),
        reply_double(reply, "time", 0) * 1e3,
        reply_is_true(windrow, "partial") ? "; PARTIAL, not every window answered in time" : "");
    buffer_append_text(out, "fresh up to offset");
    append_pairs(out, doc_get(windrow, "offsets"), false);
    buffer_append_text(out, "; watermark");
    append_pairs(out, doc_get(windrow, "watermarks_ms"), true);
    buffer_append_byte(out, '\n');
}

static void print_table(const struct doc *reply, const void *context)
{
    const struct doc *points = reply_get(reply_get(reply, "result"), "points");
    struct buffer out = {0};
    size_t used;
    int width;

    (void)context;
    if (points->type == DOC_ARRAY && points->count > 0) {
        width = id_width(points);
        used = 3 + 2 + (size_t)width + 2 + 8 + 2 + 24 + 2;
        buffer_append_format(&out, "%3s  %-*s  %8s  %-24s  %s\n", "#", width, "id", "score",
                             "event time", "payload");
        for (uint32_t i = 0; i < points->count; i++)
            append_point(&out, i + 1, &points->items[i], width,
                         line_width() > used + PAYLOAD_WIDTH_MIN ? line_width() - used
                                                                 : PAYLOAD_WIDTH_MIN);
    } else {
        buffer_append_text(&out, "nothing found\n");
    }
    append_freshness(&out, reply);
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
}

static int ask(const struct config *config, const struct search_arguments *arguments,
               const struct buffer *body)
{
    struct buffer path = {0};
    int status;

    buffer_append_format(&path, "/collections/%s/points/query", arguments->collection);
    status = ask_service(config, &(struct ask){.path = buffer_text(&path),
                                               .body = body,
                                               .json = arguments->json,
                                               .print = print_table});
    buffer_destroy(&path);
    return status;
}

static int search(const struct config *config, struct search_arguments *arguments)
{
    struct buffer body = {0};
    struct error error = {0};
    int status = ask_choose_collection(config, "search", &arguments->collection);
    int code;

    if (status != COMMAND_OK)
        return status;
    arguments->vector_name = config_collection_find(config, arguments->collection)->vector_name;
    code = search_request_write(arguments, io_wall_ms(io_posix()), &body, &error);
    if (code == 0)
        status = ask(config, arguments, &body);
    else if (code == ERROR_INVALID)
        status = command_usage_error("search", "%s", error.text);
    else
        status = command_fail("%s", error.text);
    buffer_destroy(&body);
    return status;
}

int command_search(int argc, char **argv)
{
    struct search_arguments arguments = {.k = 10};
    struct config *config = NULL;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(arguments.config_path),
        OPTION_ROWS_SERVICE,
        OPTION_ROW_COLLECTION(arguments.collection, "may be left out if the config has only one"),
        {"text", 0, OPTION_TEXT, "WORDS",
         "words, of which the embedder of the collection makes the query vector", &arguments.text,
         0},
        {"vector", 0, OPTION_TEXT, "JSON", "the query vector, such as [0.1, 0.9]",
         &arguments.vector, 0},
        {"like", 0, OPTION_TEXT, "ID",
         "search with the vector of this point; the point itself is left out", &arguments.like, 0},
        {"file", 0, OPTION_TEXT, "F",
         "a file with a JSON array or {\"vector\": [...]} (- for standard input), or the first row "
         "of an .fbin file",
         &arguments.file, 0},
        {NULL, 'k', OPTION_COUNT, "N", "how many points to return (10)", &arguments.k, K_MAX},
        {"filter", 0, OPTION_TEXT, "JSON",
         "{\"must\": [{\"key\": \"package\", \"match\": {\"value\": \"x\"}}]}", &arguments.filter,
         0},
        {"from", 0, OPTION_TEXT, "TIME",
         "earliest event time: 2026-11-21T03:04:05Z, milliseconds, or 2h for two hours ago",
         &arguments.from, 0},
        {"to", 0, OPTION_TEXT, "TIME", "latest event time", &arguments.to, 0},
        {"half-life", 0, OPTION_TEXT, "DUR",
         "halve the score of a point for each such duration of age, such as 6h",
         &arguments.half_life, 0},
        {"exact", 0, OPTION_FLAG, NULL, "compare every vector instead of using an index",
         &arguments.exact, 0},
        {"ef", 0, OPTION_COUNT, "N", "candidates that an HNSW search keeps", &arguments.ef, K_MAX},
        OPTION_ROW_JSON(arguments.json),
    };
    const struct command_line line = {
        .usage = "-C COLLECTION (--text WORDS | --vector JSON | --like ID | --file F) [options]",
        .about = "Prints the nearest neighbours that the running service (http.listen of the "
                 "config) finds.",
        .examples =
            "windrow search -C news --text 'storm over the harbour'\n"
            "windrow search -C news --like 17 -k 5\n"
            "windrow search -C news --file query.json --from 6h --filter '{\"must\": [{\"key\": "
            "\"lang\", \"match\": {\"value\": \"en\"}}]}'",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (!!arguments.text + !!arguments.vector + !!arguments.like + !!arguments.file != 1)
        return command_usage_error("search",
                                   "use exactly one of --text, --vector, --like and --file");
    status = command_load_config_quietly(arguments.config_path, &config);
    if (status == COMMAND_OK)
        status = search(config, &arguments);
    config_free(config);
    return status;
}
