/* windrow search: one query to the running service, its answer as a table. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "windrow/cli/ask.h"
#include "windrow/cli/command.h"
#include "windrow/cli/search_request.h"

static const char help[] =
    "Usage: windrow search -C COLLECTION (--vector JSON | --like ID | --file F) [options]\n\n"
    "Nearest neighbours from the running service (http.listen of the config).\n\n"
    "  -c, --config FILE      default: ./windrow.yaml, then /etc/windrow/windrow.yaml\n"
    "  -C, --collection NAME  may be left out when the config has only one\n"
    "      --vector JSON      the query, as in [0.1, 0.9]\n"
    "      --like ID          the vector of this point, which itself is left out\n"
    "      --file F           a file with a JSON array or {\"vector\": [...]} (- for standard\n"
    "                         input), or the first row of an .fbin file\n"
    "  -k N                   how many (10)\n"
    "      --filter JSON      {\"must\": [{\"key\": \"package\", \"match\": {\"value\": \"x\"}}]}\n"
    "      --from, --to TIME  event time: 2026-11-21T03:04:05Z, milliseconds, or 2h for two hours\n"
    "                         ago\n"
    "      --half-life DUR    older points count less: half after each 6h\n"
    "      --exact            no index, every vector\n"
    "      --ef N             candidates an HNSW search keeps\n"
    "      --json             the raw reply\n\n"
    "Examples:\n"
    "  windrow search -C news --like 17 -k 5\n"
    "  windrow search -C news --file query.json --from 6h --filter '{\"must\": [{\"key\": "
    "\"lang\", \"match\": {\"value\": \"en\"}}]}'\n";

enum { K_MAX = 100000, ID_WIDTH_MAX = 40, PAYLOAD_WIDTH_MIN = 20, LINE_WIDTH = 120 };

enum option_code {
    OPTION_VECTOR = 256,
    OPTION_LIKE,
    OPTION_FILE,
    OPTION_FILTER,
    OPTION_FROM,
    OPTION_TO,
    OPTION_HALF_LIFE,
    OPTION_EXACT,
    OPTION_EF,
    OPTION_JSON
};

/* ---- the table ---- */

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
    const struct doc *extra = doc_get(point, "windrow");
    const struct doc *time_doc = extra ? doc_get(extra, "time_ms") : NULL;
    char time_text[TEXT_TIME_BYTES] = "";
    struct buffer text = {0};
    double score = 0;
    int64_t time_ms;

    if (doc_get(point, "score"))
        (void)doc_as_double(doc_get(point, "score"), &score);
    if (time_doc && doc_as_i64(time_doc, &time_ms))
        text_format_time(time_ms, time_text);
    if (id)
        doc_write_json(&text, id);
    buffer_append_format(out, "%3u  %-*s  %8.4f  %-24s  ", rank, width, buffer_text(&text), score,
                         *time_text ? time_text : "-");
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

static long long count_of(const struct doc *windows, const char *key)
{
    const struct doc *value = windows ? doc_get(windows, key) : NULL;
    int64_t number = 0;

    if (value)
        (void)doc_as_i64(value, &number);
    return number;
}

/* How fresh the answer is: what every reply tells. */
static void append_freshness(struct buffer *out, const struct doc *reply)
{
    const struct doc *windrow = doc_get(reply, "windrow");
    const struct doc *windows = windrow ? doc_get(windrow, "windows") : NULL;
    const struct doc *partial = windrow ? doc_get(windrow, "partial") : NULL;
    const struct doc *time_doc = doc_get(reply, "time");
    double seconds = 0;

    if (!windrow)
        return;
    if (time_doc)
        (void)doc_as_double(time_doc, &seconds);
    buffer_append_format(out, "\nwindows: %lld searched, %lld pruned, %lld live; %.2f ms%s\n",
                         count_of(windows, "searched"), count_of(windows, "pruned"),
                         count_of(windows, "live"), seconds * 1e3,
                         partial && partial->type == DOC_BOOL && partial->boolean
                             ? "; PARTIAL, not every window answered in time"
                             : "");
    buffer_append_text(out, "fresh up to offset");
    append_pairs(out, doc_get(windrow, "offsets"), false);
    buffer_append_text(out, "; watermark");
    append_pairs(out, doc_get(windrow, "watermarks_ms"), true);
    buffer_append_byte(out, '\n');
}

static void print_table(const struct doc *reply, const void *context)
{
    const struct doc *result = doc_get(reply, "result");
    const struct doc *points = result ? doc_get(result, "points") : NULL;
    struct buffer out = {0};
    size_t used;
    int width;

    (void)context;
    if (points && points->type == DOC_ARRAY && points->count > 0) {
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

/* ---- asking ---- */

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

/* ---- the command line ---- */

static bool parse_count(const char *text, uint64_t maximum, uint64_t *count)
{
    return text_parse_u64(text, strlen(text), count) == 0 && *count > 0 && *count <= maximum;
}

/* COMMAND_OK, or how the command ends. */
static int take_option(int option, struct search_arguments *arguments)
{
    switch (option) {
    case 'c':
        arguments->config_path = optarg;
        break;
    case 'C':
        arguments->collection = optarg;
        break;
    case 'k':
        if (!parse_count(optarg, K_MAX, &arguments->k))
            return command_usage_error("search", "-k wants a number from 1 to %d", K_MAX);
        break;
    case OPTION_VECTOR:
        arguments->vector = optarg;
        break;
    case OPTION_LIKE:
        arguments->like = optarg;
        break;
    case OPTION_FILE:
        arguments->file = optarg;
        break;
    case OPTION_FILTER:
        arguments->filter = optarg;
        break;
    case OPTION_FROM:
        arguments->from = optarg;
        break;
    case OPTION_TO:
        arguments->to = optarg;
        break;
    case OPTION_HALF_LIFE:
        arguments->half_life = optarg;
        break;
    case OPTION_EXACT:
        arguments->exact = true;
        break;
    case OPTION_EF:
        if (!parse_count(optarg, K_MAX, &arguments->ef))
            return command_usage_error("search", "--ef wants a number from 1 to %d", K_MAX);
        break;
    case OPTION_JSON:
        arguments->json = true;
        break;
    default:
        return command_usage_error("search", "see above");
    }
    return COMMAND_OK;
}

int command_search(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"collection", required_argument, NULL, 'C'},
        {"vector", required_argument, NULL, OPTION_VECTOR},
        {"like", required_argument, NULL, OPTION_LIKE},
        {"file", required_argument, NULL, OPTION_FILE},
        {"filter", required_argument, NULL, OPTION_FILTER},
        {"from", required_argument, NULL, OPTION_FROM},
        {"to", required_argument, NULL, OPTION_TO},
        {"half-life", required_argument, NULL, OPTION_HALF_LIFE},
        {"exact", no_argument, NULL, OPTION_EXACT},
        {"ef", required_argument, NULL, OPTION_EF},
        {"json", no_argument, NULL, OPTION_JSON},
        {"help", no_argument, NULL, 'h'},
        {0}};
    struct search_arguments arguments = {.k = 10};
    struct config *config = NULL;
    int status = COMMAND_OK;
    int option;

    while ((option = getopt_long(argc, argv, "c:C:k:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return COMMAND_OK;
        }
        status = take_option(option, &arguments);
        if (status != COMMAND_OK)
            return status;
    }
    if (optind < argc)
        return command_usage_error("search", "what is %s?", argv[optind]);
    if (!!arguments.vector + !!arguments.like + !!arguments.file != 1)
        return command_usage_error("search", "one of --vector, --like and --file is needed");
    status = command_load_config_quietly(arguments.config_path, &config);
    if (status == COMMAND_OK)
        status = search(config, &arguments);
    config_free(config);
    return status;
}
