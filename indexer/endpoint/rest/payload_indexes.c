#include "indexer/endpoint/rest/payload_indexes.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/handlers.h"
#include "indexer/endpoint/rest/parse.h"
#include "indexer/endpoint/rest/payload_edit.h"

enum { INDEXES_MAX = 1000, NAME_BYTES_MAX = 1024 };

/* Two changes at once: the second reads what the first wrote. */
static pthread_mutex_t change = PTHREAD_MUTEX_INITIALIZER;

static void file_name(const struct config_collection *collection, char name[NAME_MAX])
{
    (void)snprintf(name, NAME_MAX, "%.200s.indexes", collection->name);
}

int payload_indexes_read(struct http_request *request, const struct config_collection *collection,
                         struct doc *indexes, struct error *error)
{
    const struct rest_options *rest = rest_of(request);
    struct buffer text = {0};
    char name[NAME_MAX];
    const char *copy;
    int code;

    *indexes = (struct doc){.type = DOC_MAP};
    if (!rest->config->data_dir)
        return 0;
    file_name(collection, name);
    code = io_read_file(rest->io, rest->config->data_dir, name, &text, error);
    if (code == 0) {
        copy = arena_copy(&request->arena, text.data, text.size);
        code = doc_parse_json(&request->arena, copy, text.size, NULL, indexes, error);
        if (code == 0 && indexes->type != DOC_MAP)
            code = error_set(error, ERROR_CORRUPT, "not an object");
        if (code != 0)
            (void)error_wrap(error, "%s/%s", rest->config->data_dir, name);
    }
    buffer_destroy(&text);
    if (code != ERROR_NOT_FOUND)
        return code;
    *error = (struct error){0};
    return 0;
}

static int write_indexes(struct http_request *request, const struct config_collection *collection,
                         const struct doc *indexes, struct error *error)
{
    const struct rest_options *rest = rest_of(request);
    struct buffer text = {0};
    char name[NAME_MAX];
    int code;

    if (indexes->count > INDEXES_MAX)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: a collection has at most %d payload indexes", INDEXES_MAX);
    file_name(collection, name);
    doc_write_json(&text, indexes);
    buffer_append_byte(&text, '\n');
    code = io_replace_file(rest->io, rest->config->data_dir, name, text.data, text.size, error);
    buffer_destroy(&text);
    return code;
}

int payload_indexes_check_name(const struct doc *field, struct error *error)
{
    if (field->count > NAME_BYTES_MAX)
        return error_set(error, ERROR_INVALID,
                         "Validation error in JSON body: [$.field_name: %u bytes, at most %d are "
                         "possible]",
                         field->count, NAME_BYTES_MAX);
    return parse_path(field, "$.field_name", error);
}

int payload_indexes_set(struct http_request *request, const struct config_collection *collection,
                        const struct doc *field, const struct doc *schema, struct error *error)
{
    struct doc *pair = doc_items(&request->arena, 2);
    const struct doc added = {.type = DOC_MAP, .count = 1, .items = pair};
    struct doc indexes;
    int code;

    pair[0] = *field;
    pair[1] = schema ? *schema : doc_null();
    pthread_mutex_lock(&change);
    code = payload_indexes_read(request, collection, &indexes, error);
    if (code == 0 && rest_of(request)->config->data_dir) {
        indexes = payload_merge(&request->arena, &indexes, &added);
        code = write_indexes(request, collection, &indexes, error);
    }
    pthread_mutex_unlock(&change);
    return code;
}

/* Points that have a value at the path: neither null nor an empty list. */
static int count_points(struct query_view *view, const struct doc *field, struct arena *arena,
                        uint64_t *points, struct error *error)
{
    struct doc filter = doc_map(arena, 1), condition = doc_map(arena, 1), path = doc_map(arena, 1);
    const struct query_filter *compiled;

    doc_put(&path, "key", *field);
    doc_put(&condition, "is_empty", path);
    doc_put(&filter, "must_not", condition);
    if (query_filter_compile(&filter, "", arena, &compiled, error) != 0)
        return error->code;
    return query_count(view, compiled, points, error);
}

int payload_indexes_render(struct query_view *view, const struct doc *indexes, struct arena *arena,
                           struct buffer *out, struct error *error)
{
    const size_t begin = out->size;
    uint64_t points;

    buffer_append_byte(out, '{');
    for (uint32_t i = 0; i < indexes->count; i++) {
        const struct doc *field = &indexes->items[2 * i];
        const struct doc *schema = &indexes->items[2 * i + 1];
        const struct doc *type = schema->type == DOC_MAP ? doc_get(schema, "type") : schema;
        static const struct doc any = {.type = DOC_STRING, .count = 7, .string = "keyword"};
        if (!doc_path_is_valid(field->string, field->count))
            continue; /* earlier builds took any name */
        if (count_points(view, field, arena, &points, error) != 0)
            return error->code;
        if (out->size > begin + 1)
            buffer_append_byte(out, ',');
        doc_write_json(out, field);
        buffer_append_text(out, ":{\"data_type\":");
        doc_write_json(out, type ? type : &any);
        if (schema->type == DOC_MAP) {
            buffer_append_text(out, ",\"params\":");
            doc_write_json(out, schema);
        }
        buffer_append_format(out, ",\"points\":%llu}", (unsigned long long)points);
    }
    buffer_append_byte(out, '}');
    return 0;
}
