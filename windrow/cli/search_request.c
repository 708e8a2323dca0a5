#include "windrow/cli/search_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/text.h"
#include "windrow/cli/options.h"

enum { FILE_BYTES_MAX = 16 << 20, DIM_MAX = 65536 };

static int parse(struct arena *arena, const char *what, const char *text, size_t size_bytes,
                 struct doc *doc, struct error *error)
{
    if (doc_parse_json(arena, text, size_bytes, NULL, doc, error) == 0)
        return 0;
    return error_wrap(error, "%s: invalid JSON", what);
}

/* An array, or a point, whose vector may stand below its name. */
static int write_vector(const struct search_arguments *arguments, const struct doc *doc,
                        const char *what, struct buffer *body, struct error *error)
{
    double number;

    if (doc->type == DOC_MAP && doc_get(doc, "vector"))
        doc = doc_get(doc, "vector");
    if (doc->type == DOC_MAP && arguments->vector_name && doc_get(doc, arguments->vector_name))
        doc = doc_get(doc, arguments->vector_name);
    if (doc->type != DOC_ARRAY || doc->count == 0)
        return error_set(error, ERROR_INVALID, "%s: expected an array of numbers", what);
    for (uint32_t i = 0; i < doc->count; i++)
        if (!doc_as_double(&doc->items[i], &number))
            return error_set(error, ERROR_INVALID, "%s: item %u is not a number", what, i);
    doc_write_json(body, doc);
    return 0;
}

static int read_whole(const char *path, struct buffer *out, struct error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    size_t got;
    int code = 0;

    if (!file)
        return error_set_errno(error, errno, "open %s", path);
    while ((got = fread(buffer_reserve(out, 65536), 1, 65536, file)) > 0) {
        out->size += got;
        if (out->size > FILE_BYTES_MAX) {
            code =
                error_set(error, ERROR_INVALID, "%s is larger than %d bytes", path, FILE_BYTES_MAX);
            break;
        }
    }
    if (code == 0 && ferror(file))
        code = error_set_errno(error, errno ? errno : EIO, "read %s", path);
    if (file != stdin)
        (void)fclose(file);
    return code;
}

/* .fbin: u32 count, u32 dim, then float32 rows, little endian. The first row is the query. */
static int write_fbin(const struct buffer *bytes, const char *path, struct buffer *body,
                      struct error *error)
{
    uint32_t header[2];

    if (bytes->size < sizeof(header))
        return error_set(error, ERROR_INVALID, "%s is too short for an .fbin file", path);
    memcpy(header, bytes->data, sizeof(header));
    if (header[0] == 0 || header[1] == 0 || header[1] > DIM_MAX ||
        bytes->size < sizeof(header) + header[1] * sizeof(float))
        return error_set(error, ERROR_INVALID, "%s is too short for one vector of its dimension",
                         path);
    buffer_append_byte(body, '[');
    for (uint32_t i = 0; i < header[1]; i++) {
        float value;
        memcpy(&value, bytes->data + sizeof(header) + i * sizeof(float), sizeof(value));
        if (i > 0)
            buffer_append_byte(body, ',');
        doc_write_json_float(body, value);
    }
    buffer_append_byte(body, ']');
    return 0;
}

static int write_file(struct arena *arena, const struct search_arguments *arguments,
                      struct buffer *body, struct error *error)
{
    const char *path = arguments->file, *dot = strrchr(path, '.');
    struct buffer bytes = {0};
    struct doc doc;
    int code = read_whole(path, &bytes, error);

    if (code == 0 && dot && strcmp(dot, ".fbin") == 0) {
        code = write_fbin(&bytes, path, body, error);
    } else if (code == 0) {
        code = parse(arena, path, (const char *)bytes.data, bytes.size, &doc, error);
        if (code == 0)
            code = write_vector(arguments, &doc, path, body, error);
    }
    buffer_destroy(&bytes);
    return code;
}

static int write_query(struct arena *arena, const struct search_arguments *arguments,
                       struct buffer *body, struct error *error)
{
    struct doc doc;
    uint64_t number;

    if (arguments->text) {
        buffer_append_text(body, "{\"nearest\":{\"text\":");
        doc_write_json_string(body, arguments->text, strlen(arguments->text));
        buffer_append_text(body, "}}");
        return 0;
    }
    if (arguments->file)
        return write_file(arena, arguments, body, error);
    if (arguments->like) {
        if (text_parse_u64(arguments->like, strlen(arguments->like), &number) == 0)
            buffer_append_text(body, arguments->like);
        else
            doc_write_json_string(body, arguments->like, strlen(arguments->like));
        return 0;
    }
    if (parse(arena, "--vector", arguments->vector, strlen(arguments->vector), &doc, error) != 0)
        return error->code;
    return write_vector(arguments, &doc, "--vector", body, error);
}

static int write_time(const char *name, const char *text, int64_t now_ms, struct buffer *body,
                      struct error *error)
{
    int64_t time_ms;

    if (options_parse_time(name, text, now_ms, &time_ms, error) != 0)
        return ERROR_INVALID;
    buffer_append_format(body, "\"%s\":%lld,", name, (long long)time_ms);
    return 0;
}

static int write_windrow(const struct search_arguments *arguments, int64_t now_ms,
                         struct buffer *body, struct error *error)
{
    int64_t half_life_ms;

    buffer_append_text(body, ",\"windrow\":{");
    if (arguments->from && write_time("from", arguments->from, now_ms, body, error) != 0)
        return ERROR_INVALID;
    if (arguments->to && write_time("to", arguments->to, now_ms, body, error) != 0)
        return ERROR_INVALID;
    if (arguments->half_life) {
        if (text_parse_duration_ms(arguments->half_life, &half_life_ms, error) != 0 ||
            half_life_ms == 0)
            return error_set(
                error, ERROR_INVALID,
                "--half-life: invalid duration \"%.60s\" (use a number and a unit, such as 6h)",
                arguments->half_life);
        buffer_append_text(body, "\"half_life\":");
        doc_write_json_string(body, arguments->half_life, strlen(arguments->half_life));
        buffer_append_byte(body, ',');
    }
    buffer_append_text(body, "\"explain\":true}");
    return 0;
}

static int write_body(struct arena *arena, const struct search_arguments *arguments, int64_t now_ms,
                      struct buffer *body, struct error *error)
{
    struct doc filter;

    buffer_append_text(body, "{\"query\":");
    if (write_query(arena, arguments, body, error) != 0)
        return error->code;
    if (arguments->vector_name) {
        buffer_append_text(body, ",\"using\":");
        doc_write_json_string(body, arguments->vector_name, strlen(arguments->vector_name));
    }
    buffer_append_format(body, ",\"limit\":%llu,\"with_payload\":true",
                         (unsigned long long)arguments->k);
    if (arguments->filter) {
        if (parse(arena, "--filter", arguments->filter, strlen(arguments->filter), &filter, error))
            return error->code;
        if (filter.type != DOC_MAP)
            return error_set(error, ERROR_INVALID, "--filter: expected an object ({\"must\": ..})");
        buffer_append_text(body, ",\"filter\":");
        doc_write_json(body, &filter);
    }
    buffer_append_format(body, ",\"params\":{\"exact\":%s", arguments->exact ? "true" : "false");
    if (arguments->ef > 0)
        buffer_append_format(body, ",\"hnsw_ef\":%llu", (unsigned long long)arguments->ef);
    buffer_append_byte(body, '}');
    if (write_windrow(arguments, now_ms, body, error) != 0)
        return error->code;
    buffer_append_byte(body, '}');
    return 0;
}

int search_request_write(const struct search_arguments *arguments, int64_t now_ms,
                         struct buffer *body, struct error *error)
{
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    code = write_body(&arena, arguments, now_ms, body, error);
    arena_destroy(&arena);
    return code;
}
