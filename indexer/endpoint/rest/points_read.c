/* Points without a query vector: points/scroll, points/count, POST points. */
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/arrow.h"
#include "indexer/endpoint/rest/parse.h"
#include "indexer/endpoint/rest/render.h"
#include "store/files/key.h"

enum { LIMIT_DEFAULT = 10, IDS_MAX = 100000 };

static int parse_scroll(struct http_request *request, const struct doc *body,
                        struct store_key *from, struct query_scroll *scroll, struct error *error)
{
    const struct doc *offset = doc_get(body, "offset");

    scroll->arena = &request->arena;
    if (parse_limit(body, LIMIT_DEFAULT, &scroll->limit, error) != 0 ||
        parse_filter(request, body, &scroll->filter, error) != 0 ||
        parse_order_by(doc_get(body, "order_by"), &request->arena, scroll, error) != 0)
        return error->code;
    if (!offset)
        return 0;
    if (scroll->order_by)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: Cannot use an `offset` when using `order_by`. The "
                         "alternative for paging is to use `order_by.start_from` and a filter to "
                         "exclude the IDs that you've already seen for the `order_by.start_from` "
                         "value");
    if (parse_id(offset, from, error) != 0)
        return error->code;
    scroll->from_key = from->bytes;
    scroll->from_key_bytes = from->size_bytes;
    return 0;
}

static int reply_page(struct http_request *request, const struct query_view *view,
                      const struct query_result *result, const struct parse_selector *selector,
                      const uint8_t *next_key, size_t next_key_bytes, struct error *error)
{
    struct doc next = {.type = DOC_NULL};

    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"points\":");
    if (render_hits(request, result, false, selector, &request->reply, error) != 0)
        return error->code;
    if (next_key)
        next = store_key_to_doc(next_key, next_key_bytes, &request->arena);
    buffer_append_text(&request->reply, ",\"next_page_offset\":");
    doc_write_json(&request->reply, &next);
    buffer_append_byte(&request->reply, '}');
    http_reply_end(request, render_windrow(request, view, result));
    return 0;
}

void rest_handle_scroll(struct http_request *request)
{
    struct parse_selector selector;
    const struct config_collection *collection;
    struct parse_extras extras;
    struct query_scroll scroll = {0};
    struct query_result result = {0};
    struct query_view *view = NULL;
    struct error error = {0};
    struct store_key from;
    const uint8_t *next_key = NULL;
    size_t next_key_bytes = 0;
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_scroll(request, &body, &from, &scroll, &error);
    if (code == 0)
        code = parse_selector(collection, &body, true, &selector, &error);
    if (code == 0)
        parse_ordered_selector(&scroll, &selector);
    if (code == 0)
        code = query_scroll_run(view, &scroll, &result, &next_key, &next_key_bytes, &error);
    if (code == 0 && arrow_wanted(request)) {
        code =
            arrow_reply(request, view, &result, false, &selector, next_key, next_key_bytes, &error);
    } else if (code == 0) {
        code = reply_page(request, view, &result, &selector, next_key, next_key_bytes, &error);
    }
    if (code != 0)
        http_reply_from_error(request, &error);
    query_view_close(view);
}

void rest_handle_count(struct http_request *request)
{
    const struct query_filter *filter = NULL;
    struct query_view *view = NULL;
    const struct config_collection *collection;
    struct parse_extras extras;
    struct error error = {0};
    uint64_t count = 0;
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_filter(request, &body, &filter, &error);
    if (code == 0)
        code = query_count(view, filter, &count, &error);
    if (code == 0) {
        http_reply_begin(request);
        buffer_append_format(&request->reply, "{\"count\":%llu}", (unsigned long long)count);
        http_reply_end(request, render_windrow(request, view, NULL));
    } else {
        http_reply_from_error(request, &error);
    }
    query_view_close(view);
}

/* Ids that are not there are left out, as Qdrant does. */
static int retrieve(struct http_request *request, struct query_view *view, const struct doc *ids,
                    const struct parse_selector *selector, struct error *error)
{
    struct arena *arena = &request->arena;
    struct store_key *ids_as_keys =
        memory_checked(arena_calloc(arena, (size_t)ids->count + 1, sizeof(*ids_as_keys)));
    struct query_key *keys =
        memory_checked(arena_calloc(arena, (size_t)ids->count + 1, sizeof(*keys)));
    struct query_row *rows =
        memory_checked(arena_calloc(arena, (size_t)ids->count + 1, sizeof(*rows)));
    bool first = true;

    for (uint32_t i = 0; i < ids->count; i++) {
        if (parse_id(&ids->items[i], &ids_as_keys[i], error) != 0)
            return error->code;
        keys[i] = (struct query_key){ids_as_keys[i].bytes, ids_as_keys[i].size_bytes};
    }
    if (query_find_many(view, keys, ids->count, parse_wants(selector), arena, rows, error) != 0)
        return error->code;
    http_reply_begin(request);
    buffer_append_byte(&request->reply, '[');
    for (uint32_t i = 0; i < ids->count; i++) {
        if (!rows[i].shard)
            continue;
        if (!first)
            buffer_append_byte(&request->reply, ',');
        first = false;
        if (render_point(request, &rows[i], selector, &request->reply, error) != 0)
            return error->code;
    }
    buffer_append_byte(&request->reply, ']');
    return 0;
}

void rest_handle_retrieve(struct http_request *request)
{
    struct parse_selector selector;
    const struct config_collection *collection;
    struct parse_extras extras;
    struct query_view *view = NULL;
    struct error error = {0};
    const struct doc *ids;
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_selector(collection, &body, true, &selector, &error);
    if (code == 0) {
        ids = doc_get(&body, "ids");
        if (ids->count > IDS_MAX)
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.ids: expected an array of at most %d "
                             "point ids",
                             IDS_MAX);
        else
            code = retrieve(request, view, ids, &selector, &error);
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, NULL));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

/* One point, as a whole. */
/* The id of a path: digits are a number, unless the caller says that it is a text. */
static int path_id(struct http_request *request, const char *id, struct store_key *key,
                   struct error *error)
{
    const char *kind = http_request_argument(request, "id_kind");
    enum store_id_kind wanted;

    if (kind && store_id_kind_parse(kind, &wanted))
        return store_key_from_message(wanted, id, strlen(id), key, error);
    return store_key_from_text(id, strlen(id), true, key, error);
}

void rest_handle_point(struct http_request *request)
{
    struct parse_selector whole = {.payload = true};
    const struct doc no_body = {.type = DOC_NULL};
    const struct config_collection *collection;
    const char *id = request->parts[1];
    struct query_view *view = NULL;
    struct parse_extras extras;
    struct error error = {0};
    struct store_key key = {0};
    struct query_row row;
    int code = rest_request_collection(request, &collection, &error);

    if (code == 0)
        code = path_id(request, id, &key, &error);
    if (code == 0)
        code = parse_view(request, &no_body, collection, &extras, &view, &error);
    if (code == 0 && (code = query_find(view, key.bytes, key.size_bytes, &request->arena, &row,
                                        &error)) == ERROR_NOT_FOUND)
        (void)error_set(&error, ERROR_NOT_FOUND, "Not found: Point with id %.255s does not exists!",
                        id);
    if (code == 0) {
        parse_select_vectors(collection, &whole);
        http_reply_begin(request);
        code = render_point(request, &row, &whole, &request->reply, &error);
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, NULL));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}
