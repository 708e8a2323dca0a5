/* windrow export: a collection as one Arrow IPC stream, made of the pages of a scroll.
 *
 * Every page is a stream of its own: schema, at most one batch, end. The schema of the first page
 * begins the file; of the others only the batches are taken. The end is written when all are there, and
 * only then the file gets its name: a part is never taken for the whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arrow_format.h"
#include "base/flatbuffer.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

enum {
    PAGE_BYTES = 16 * 1024 * 1024, /* about, of vectors and payloads */
    PAYLOAD_BYTES = 1024,          /* of a row, for that estimate */
    PAGE_ROWS_MIN = 16,
    PAGE_ROWS_MAX = 10000,
    END_BYTES = 8
};

struct export
{
    const char *config_path, *collection, *path, *filter, *from, *to;
    bool no_vectors, number_ids, partial, json;

    struct client *client;
    FILE *out;
    char *temporary; /* NULL: standard output */
    uint64_t page_rows;
    struct buffer body, page;
    char *next; /* JSON of the next page's offset, or NULL */
    uint64_t rows, bytes;
};

/* The request. */

static int write_times(const struct export *export, struct buffer *out, struct error *error)
{
    const int64_t now_ms = io_wall_ms(io_posix());
    const char *const texts[] = {export->from, export->to};
    static const char *const names[] = {"from", "to"}, *const bounds[] = {"gte", "lt"};
    bool first = true;

    buffer_append_text(out, "{\"key\":\"@time\",\"range\":{");
    for (int i = 0; i < 2; i++) {
        int64_t time_ms;
        if (!texts[i])
            continue;
        if (options_parse_time(names[i], texts[i], now_ms, &time_ms, error) != 0)
            return error->code;
        buffer_append_format(out, "%s\"%s\":%lld", first ? "" : ",", bounds[i], (long long)time_ms);
        first = false;
    }
    buffer_append_text(out, "}}");
    return 0;
}

static int write_filter(const struct export *export, struct buffer *out, struct error *error)
{
    struct arena arena;
    struct doc filter;
    int code = 0;

    arena_create(&arena, 0);
    buffer_append_text(out, ",\"filter\":{\"must\":[");
    if (export->filter) {
        code = doc_parse_json(&arena, export->filter, strlen(export->filter), NULL, &filter, error);
        if (code != 0)
            error_wrap(error, "--filter: invalid JSON");
        else if (filter.type != DOC_MAP)
            code = error_set(error, ERROR_INVALID, "--filter: expected an object ({\"must\": ..})");
        else
            doc_write_json(out, &filter);
    }
    if (code == 0 && (export->from || export->to)) {
        buffer_append_text(out, export->filter ? "," : "");
        code = write_times(export, out, error);
    }
    buffer_append_text(out, "]}");
    arena_destroy(&arena);
    return code;
}

/* Without its end: the offset of the page and a brace follow. */
static int write_body(struct export *export, struct error *error)
{
    struct buffer *out = &export->body;

    buffer_append_format(out, "{\"limit\":%llu,\"with_vector\":%s",
                         (unsigned long long)export->page_rows,
                         export->no_vectors ? "false" : "true");
    if (!export->partial)
        buffer_append_text(out, ",\"windrow\":{\"require\":\"complete\"}");
    return write_filter(export, out, error);
}

static int ask(struct export *export, struct error *error)
{
    struct buffer path = {0};
    const size_t length = export->body.size;
    const char *next;
    int code;

    if (export->next)
        buffer_append_format(&export->body, ",\"offset\":%s", export->next);
    buffer_append_byte(&export->body, '}');
    buffer_append_format(&path, "/collections/%s/points/scroll", export->collection);
    code = client_request(export->client, buffer_text(&path), &export->body, &export->page, NULL,
                          error);
    export->body.size = length;
    free(export->next);
    next = code == 0 ? client_reply_header(export->client, "windrow-next-page-offset") : NULL;
    export->next = next ? memory_checked(strdup(next)) : NULL;
    buffer_destroy(&path);
    return code;
}

/* The page. */

/* Where the message at `at` ends, with its metadata and body; 0: there is no whole message. */
static size_t message_end(const struct buffer *page, size_t at, uint64_t *rows)
{
    uint32_t prefix[2];
    struct flatbuffer metadata;
    size_t root, header;
    int64_t body;

    if (page->size - at < sizeof(prefix))
        return 0;
    memcpy(prefix, page->data + at, sizeof(prefix));
    at += sizeof(prefix);
    if (prefix[0] != ARROW_CONTINUATION || prefix[1] > page->size - at)
        return 0;
    metadata = (struct flatbuffer){.data = page->data + at, .size = prefix[1]};
    at += prefix[1];
    root = flatbuffer_root(&metadata);
    body = flatbuffer_integer(&metadata, root, ARROW_MESSAGE_BODY_BYTES, 8, 0);
    header = flatbuffer_table(&metadata, root, ARROW_MESSAGE_HEADER);
    if (flatbuffer_integer(&metadata, root, ARROW_MESSAGE_HEADER_TYPE, 1, 0) ==
        ARROW_HEADER_RECORDS)
        *rows += (uint64_t)flatbuffer_integer(&metadata, header, ARROW_RECORDS_LENGTH, 8, 0);
    if (metadata.broken || body < 0 || (uint64_t)body > page->size - at)
        return 0;
    return at + (size_t)body;
}

static int write_bytes(struct export *export, const void *bytes, size_t size, struct error *error)
{
    export->bytes += size;
    if (fwrite(bytes, 1, size, export->out) == size)
        return 0;
    return error_set_errno(error, errno ? errno : EIO, "write %s", export->path);
}

static int write_page(struct export *export, bool first, struct error *error)
{
    const struct buffer *page = &export->page;
    size_t end = page->size < END_BYTES ? 0 : page->size - END_BYTES;
    size_t schema = message_end(page, 0, &export->rows);
    size_t at = schema;

    while (at != 0 && at < end)
        at = message_end(page, at, &export->rows);
    if (at == 0 || at != end)
        return error_set(error, ERROR_PEER,
                         "%s does not answer in Arrow: it may be an older windrow",
                         client_address(export->client));
    at = first ? 0 : schema;
    return write_bytes(export, page->data + at, end - at, error);
}

static int write_all(struct export *export, struct error *error)
{
    static const uint8_t end[END_BYTES] = {0xff, 0xff, 0xff, 0xff};
    bool first = true;

    do {
        if (ask(export, error) != 0 || write_page(export, first, error) != 0)
            return error->code;
        first = false;
    } while (export->next);
    return write_bytes(export, end, sizeof(end), error);
}

/* The file. */

static int open_file(struct export *export, struct error *error)
{
    struct buffer name = {0};

    if (strcmp(export->path, "-") == 0) {
        export->out = stdout;
        return 0;
    }
    buffer_append_format(&name, "%s.part", export->path);
    export->temporary = (char *)(uintptr_t)buffer_text(&name);
    export->out = fopen(export->temporary, "wb");
    return export->out ? 0 : error_set_errno(error, errno, "create %s", export->temporary);
}

/* With its name once it is whole and durable; else it goes. */
static int close_file(struct export *export, int code, struct error *error)
{
    if (export->out && code == 0 &&
        (fflush(export->out) != 0 || (export->temporary && fsync(fileno(export->out)) != 0)))
        code = error_set_errno(error, errno, "write %s", export->path);
    if (export->temporary && export->out) {
        if (fclose(export->out) != 0 && code == 0)
            code = error_set_errno(error, errno, "close %s", export->temporary);
        if (code == 0 && rename(export->temporary, export->path) != 0)
            code = error_set_errno(error, errno, "rename %s", export->temporary);
        if (code != 0)
            (void)unlink(export->temporary);
    }
    free(export->temporary);
    return code;
}

/* On standard output, unless the rows are there. */
static void report(const struct export *export)
{
    FILE *out = strcmp(export->path, "-") == 0 ? stderr : stdout;
    char size[TEXT_TIME_BYTES];

    if (export->json)
        fprintf(out, "{\"rows\":%llu,\"bytes\":%llu}\n", (unsigned long long)export->rows,
                (unsigned long long)export->bytes);
    else
        fprintf(out, "%llu rows, %s\n", (unsigned long long)export->rows,
                text_format_size(export->bytes, size));
}

static void choose_page(struct export *export, const struct config *config)
{
    const struct config_collection *collection = config_collection_find(config, export->collection);
    size_t row = PAYLOAD_BYTES;

    if (export->page_rows > 0)
        return;
    if (collection && !export->no_vectors)
        row += collection->dim * sizeof(float);
    row = PAGE_BYTES / row;
    export->page_rows = row < PAGE_ROWS_MIN   ? PAGE_ROWS_MIN
                        : row > PAGE_ROWS_MAX ? PAGE_ROWS_MAX
                                              : row;
}

static int run_export(struct export *export, const struct config *config)
{
    struct error error = {0};
    int code;

    choose_page(export, config);
    if (write_body(export, &error) != 0) {
        buffer_destroy(&export->body);
        return command_usage_error("export", "%s", error.text);
    }
    if ((code = client_open(config, &export->client, &error)) == 0) {
        client_accept(export->client,
                      export->number_ids ? ARROW_STREAM_TYPE "; ids=uint64" : ARROW_STREAM_TYPE);
        code = open_file(export, &error);
        if (code == 0)
            code = write_all(export, &error);
        code = close_file(export, code, &error);
    }
    if (code == 0)
        report(export);
    client_close(export->client);
    buffer_destroy(&export->body);
    buffer_destroy(&export->page);
    free(export->next);
    return code == 0 ? COMMAND_OK : command_fail("%s", error.text);
}

int command_export(int argc, char **argv)
{
    struct export export = {0};
    struct config *config = NULL;
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(export.config_path),
        OPTION_ROWS_SERVICE,
        OPTION_ROW_COLLECTION(export.collection, "may be left out if the config has only one"),
        {"arrow", 0, OPTION_TEXT, "FILE",
         "an Arrow IPC stream is written there (- for standard output)", &export.path, 0},
        {"filter", 0, OPTION_TEXT, "JSON",
         "{\"must\": [{\"key\": \"package\", \"match\": {\"value\": \"x\"}}]}", &export.filter, 0},
        {"from", 0, OPTION_TEXT, "TIME",
         "earliest event time: 2026-11-21T03:04:05Z, milliseconds, or 2h for two hours ago",
         &export.from, 0},
        {"to", 0, OPTION_TEXT, "TIME", "event times before this one", &export.to, 0},
        {"no-vectors", 0, OPTION_FLAG, NULL, "leave the vectors out", &export.no_vectors, 0},
        {"number-ids", 0, OPTION_FLAG, NULL, "ids as numbers; fails at an id that is text",
         &export.number_ids, 0},
        {"partial", 0, OPTION_FLAG, NULL, "go on when shards of the collection are missing",
         &export.partial, 0},
        {"page", 0, OPTION_COUNT, "N", "rows of one request; default: about 16 MiB of them",
         &export.page_rows, 100000},
        {"json", 'j', OPTION_FLAG, NULL, "print the report as JSON", &export.json, 0},
    };
    const struct command_line line = {
        .usage = "-C COLLECTION --arrow FILE [options]",
        .about = "Writes the rows of a collection, in the order of their ids, as one Arrow IPC "
                 "stream with the columns id, time, vector and payload (JSON text). pyarrow, "
                 "polars and DuckDB read it, and sent to a topic it can be ingested again.\n\n"
                 "The running service (http.listen of the config) is asked page by page. Rows that "
                 "change meanwhile are written in their old or new form, and none twice.",
        .examples = "windrow export -C news --arrow news.arrows\n"
                    "windrow export -C news --arrow - --from 1d --no-vectors | consumer",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (!export.path)
        return command_usage_error("export", "--arrow FILE is missing");
    status = command_load_config_quietly(export.config_path, &config);
    if (status == COMMAND_OK)
        status = ask_choose_collection(config, "export", &export.collection);
    if (status == COMMAND_OK)
        status = run_export(&export, config);
    config_free(config);
    return status;
}
