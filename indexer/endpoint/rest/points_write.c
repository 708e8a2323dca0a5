/* Writes over REST: points become Kafka messages, one a point, keyed by id. Kafka stays the single
 * log; with wait=true the reply comes when the write is searchable. Everything is checked before
 * the first message is sent, so a bad request changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/render.h"
#include "indexer/endpoint/rest/write.h"
#include "store/files/key.h"

static int add_upsert(struct http_request *request, const struct config_collection *collection,
                      const struct doc *body, struct write_list *list, struct error *error)
{
    struct write_point *points;
    size_t count;
    int code = write_parse_points(&request->arena, collection, body, &points, &count, error);

    for (size_t i = 0; i < count && code == 0; i++) {
        struct write_record record = {.id = points[i].id,
                                      .vector = points[i].vector,
                                      .payload = points[i].payload,
                                      .time_ms = WRITE_NOW};
        code = write_add_record(request, &request->arena, collection, &record, list, NULL, error);
    }
    return code;
}

static int add_deletes(struct http_request *request, const struct doc *ids, struct write_list *list,
                       struct error *error)
{
    struct query_key *keys;
    int code = write_parse_ids(&request->arena, ids, &keys, error);

    for (uint32_t i = 0; i < ids->count && code == 0; i++)
        (void)write_add(&request->arena, list, keys[i].bytes, keys[i].size_bytes);
    return code;
}

/* A filter is resolved to the ids that match now; each becomes a delete. */
int write_add_matching(struct http_request *request, struct query_view *view,
                       const struct doc *body, struct write_list *list, struct error *error)
{
    struct query_scroll scroll = {.limit = WRITE_FILTER_PAGE, .arena = &request->arena};

    if (parse_filter(request, body, &scroll.filter, error) != 0)
        return error->code;
    for (;;) {
        struct query_result page = {0};
        const uint8_t *next = NULL;
        size_t next_bytes = 0;
        if (query_scroll_run(view, &scroll, &page, &next, &next_bytes, error) != 0)
            return error->code;
        for (size_t i = 0; i < page.hit_count; i++) {
            const struct query_row *row = &page.hits[i].row;
            size_t key_bytes;
            const uint8_t *key = query_row_key(row, &key_bytes);
            (void)write_add(&request->arena, list, key, key_bytes);
        }
        if (!next)
            return 0;
        scroll.from_key = next;
        scroll.from_key_bytes = next_bytes;
    }
}

static bool waits(struct http_request *request)
{
    const char *wait = http_request_argument(request, "wait");

    return wait && strcmp(wait, "true") == 0;
}

static void reply_status(struct http_request *request, int64_t operation, const char *status)
{
    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"operation_id\":%lld,\"status\":\"%s\"}",
                         (long long)operation, status);
    http_reply_end(request, NULL);
}

static void send_writes(struct http_request *request, const struct config_collection *collection,
                        struct write_list *list, int64_t timeout_ms)
{
    struct error error = {0};
    const char *status;
    int64_t operation;

    if (write_commit(request, collection, list, waits(request), timeout_ms, &operation, &status,
                     &error) == 0)
        reply_status(request, operation, status);
    else
        http_reply_from_error(request, &error);
}

static int open_write(struct http_request *request, const struct config_collection **collection,
                      struct doc *body, struct parse_extras *extras, struct error *error)
{
    if (http_request_collection(request, collection, error) != 0 ||
        http_request_body(request, body, error) != 0)
        return error->code;
    return parse_extras(request, body, extras, error);
}

static void run_update(struct http_request *request, struct update *update, int64_t timeout_ms)
{
    struct error error = {0};
    int64_t operation = 0;

    if (update_run(update, timeout_ms, &operation, &error) == 0)
        reply_status(request, operation, "completed");
    else
        http_reply_from_error(request, &error);
}

static void handle_update(struct http_request *request, enum update_kind kind)
{
    const struct config_collection *collection;
    struct parse_extras extras;
    struct error error = {0};
    struct update *update;
    struct doc body;

    if (open_write(request, &collection, &body, &extras, &error) == 0 &&
        update_parse(request, collection, kind, &body, &update, &error) == 0)
        run_update(request, update, extras.timeout_ms);
    else
        http_reply_from_error(request, &error);
}

void rest_handle_payload_set(struct http_request *request)
{
    handle_update(request, UPDATE_SET);
}

void rest_handle_payload_overwrite(struct http_request *request)
{
    handle_update(request, UPDATE_OVERWRITE);
}

void rest_handle_payload_delete(struct http_request *request)
{
    handle_update(request, UPDATE_REMOVE);
}

void rest_handle_payload_clear(struct http_request *request)
{
    handle_update(request, UPDATE_CLEAR);
}

void rest_handle_vectors_update(struct http_request *request)
{
    handle_update(request, UPDATE_VECTORS);
}

void rest_handle_vectors_delete(struct http_request *request)
{
    const struct config_collection *collection;
    struct error error = {0};

    if (http_request_collection(request, &collection, &error) == 0)
        (void)error_set(&error, ERROR_UNSUPPORTED,
                        "A point has one vector, and there is no point without one: delete the "
                        "point");
    http_reply_from_error(request, &error);
}

static void handle_raw(struct http_request *request)
{
    static const struct doc no_body = {.type = DOC_MAP};
    const struct config_collection *collection;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};

    if (http_request_collection(request, &collection, &error) == 0 &&
        parse_extras(request, &no_body, &extras, &error) == 0 &&
        write_add_raw(request, collection, &list, &error) == 0)
        send_writes(request, collection, &list, extras.timeout_ms);
    else
        http_reply_from_error(request, &error);
}

void rest_handle_upsert(struct http_request *request)
{
    const struct config_collection *collection;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct update *update = NULL;
    struct doc body;
    int code;

    if (write_is_raw(request)) {
        handle_raw(request);
        return;
    }
    code = open_write(request, &collection, &body, &extras, &error);
    if (code == 0 && http_request_argument(request, "first_id"))
        code = error_set(&error, ERROR_INVALID,
                         "Wrong input: `first_id` belongs to a body of vectors "
                         "(Content-Type: " HTTP_TYPE_BINARY ")");
    if (code == 0 && update_is_conditional(&body))
        code = update_parse(request, collection, UPDATE_UPSERT, &body, &update, &error);
    else if (code == 0)
        code = add_upsert(request, collection, &body, &list, &error);
    if (code != 0)
        http_reply_from_error(request, &error);
    else if (update)
        run_update(request, update, extras.timeout_ms);
    else
        send_writes(request, collection, &list, extras.timeout_ms);
}

void rest_handle_delete(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = open_write(request, &collection, &body, &extras, &error);

    if (code == 0) {
        const struct doc *points = doc_get(&body, "points");
        if (points && extras.min_offset_count > 0)
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.windrow.min_offsets: expected beside "
                             "`filter` only");
        else if (points)
            code = add_deletes(request, points, &list, &error);
        else if (!doc_get(&body, "filter"))
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $: expected `points` or `filter`");
        else if ((code = parse_whole_view(request, collection, &extras, &view, &error)) == 0)
            code = write_add_matching(request, view, &body, &list, &error);
    }
    query_view_close(view);
    if (code == 0)
        send_writes(request, collection, &list, extras.timeout_ms);
    else
        http_reply_from_error(request, &error);
}

/* Several operations. */

/* Operations that go together: those without a look at what is stored, or one that needs it. */
struct step {
    struct write_list list;
    struct update *update;    /* or NULL */
    const struct doc *delete; /* by filter, or NULL */
};

struct steps {
    struct http_request *request;
    const struct config_collection *collection;
    struct step *steps;
    size_t count;
};

/* The step that takes more plain writes. */
static struct write_list *plain_list(struct steps *steps)
{
    const struct step *last = steps->count > 0 ? &steps->steps[steps->count - 1] : NULL;

    if (!last || last->update || last->delete)
        steps->count++;
    return &steps->steps[steps->count - 1].list;
}

static int add_update(struct steps *steps, enum update_kind kind, const struct doc *body,
                      struct error *error)
{
    return update_parse(steps->request, steps->collection, kind, body,
                        &steps->steps[steps->count++].update, error);
}

static int add_delete(struct steps *steps, const struct doc *body, struct error *error)
{
    const struct query_filter *filter;

    if (doc_get(body, "points"))
        return add_deletes(steps->request, doc_get(body, "points"), plain_list(steps), error);
    if (!doc_get(body, "filter"))
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $: expected `points` or `filter`");
    steps->steps[steps->count++].delete = body;
    return parse_filter(steps->request, body, &filter, error);
}

static int add_operation(struct steps *steps, const struct doc *operation, uint32_t i,
                         struct error *error)
{
    static const char *const updates[UPDATE_KINDS] = {
        [UPDATE_SET] = "set_payload",        [UPDATE_OVERWRITE] = "overwrite_payload",
        [UPDATE_REMOVE] = "delete_payload",  [UPDATE_CLEAR] = "clear_payload",
        [UPDATE_VECTORS] = "update_vectors",
    };
    const struct doc *upsert = doc_get(operation, "upsert");

    if (operation->count != 1)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.operations[%u]: expected an object with "
                         "one operation",
                         i);
    for (enum update_kind kind = 0; kind < UPDATE_KINDS; kind++)
        if (updates[kind] && doc_get(operation, updates[kind]))
            return add_update(steps, kind, doc_get(operation, updates[kind]), error);
    if (upsert && update_is_conditional(upsert))
        return add_update(steps, UPDATE_UPSERT, upsert, error);
    if (upsert)
        return add_upsert(steps->request, steps->collection, upsert, plain_list(steps), error);
    return add_delete(steps, doc_get(operation, "delete"), error);
}

/* A step that needs to see what is stored sees the steps before it. */
static int run_step(struct steps *steps, struct step *step, bool wait,
                    const struct parse_extras *extras, int64_t *operation, const char **status,
                    struct error *error)
{
    struct query_view *view = NULL;
    int64_t offset = 0;
    int code = 0;

    if (step->update) {
        *status = "completed";
        return update_run(step->update, extras->timeout_ms, operation, error);
    }
    if (step->delete) {
        code = parse_whole_view(steps->request, steps->collection, extras, &view, error);
        if (code == 0)
            code = write_add_matching(steps->request, view, step->delete, &step->list, error);
        query_view_close(view);
    }
    if (code == 0)
        code = write_commit(steps->request, steps->collection, &step->list, wait,
                            extras->timeout_ms, &offset, status, error);
    if (offset > *operation)
        *operation = offset;
    if (code == 0 && wait && strcmp(*status, "completed") != 0)
        return error_set(error, ERROR_TIMEOUT,
                         "Timeout: an operation of the batch was sent and did not become "
                         "searchable in time; those after it were not carried out");
    return code;
}

static int run_steps(struct steps *steps, const struct parse_extras *extras, int64_t *operation,
                     const char **status, struct error *error)
{
    bool wanted = waits(steps->request);
    int code = 0;

    *operation = 0;
    *status = wanted ? "completed" : "acknowledged";
    for (size_t i = 0; i < steps->count && code == 0; i++) {
        bool last = i + 1 == steps->count;
        code = run_step(steps, &steps->steps[i], wanted || !last, extras, operation, status, error);
        if (code == ERROR_TIMEOUT && last && strcmp(*status, "wait_timeout") == 0)
            code = 0; /* nothing waits for it but the caller, who is told */
    }
    return code;
}

/* All operations are checked before the first message is sent; they keep their order. */
void rest_handle_write_batch(struct http_request *request)
{
    struct steps steps = {.request = request};
    const struct doc *operations = NULL;
    struct parse_extras extras;
    struct error error = {0};
    const char *status;
    int64_t operation;
    struct doc body;
    int code = open_write(request, &steps.collection, &body, &extras, &error);

    if (code == 0) {
        operations = doc_get(&body, "operations");
        if (operations->count > WRITE_POINTS_MAX)
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.operations: expected an array of at "
                             "most %d operations",
                             WRITE_POINTS_MAX);
    }
    if (code == 0)
        steps.steps = memory_checked(
            arena_calloc(&request->arena, (size_t)operations->count + 1, sizeof(*steps.steps)));
    for (uint32_t i = 0; code == 0 && i < operations->count; i++)
        code = add_operation(&steps, &operations->items[i], i, &error);
    if (code == 0)
        code = run_steps(&steps, &extras, &operation, &status, &error);
    if (code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_byte(&request->reply, '[');
    for (uint32_t i = 0; i < operations->count; i++)
        buffer_append_format(&request->reply, "%s{\"operation_id\":%lld,\"status\":\"%s\"}",
                             i > 0 ? "," : "", (long long)operation, status);
    buffer_append_byte(&request->reply, ']');
    http_reply_end(request, NULL);
}

/* Ids in several shards. */

/* A tombstone for each version but the newest. Partitions of a topic that left the configuration
 * cannot be written to. */
static void add_old_versions(struct http_request *request,
                             const struct config_collection *collection,
                             const struct query_row *row, const struct query_holders *holders,
                             struct write_list *list)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);

    for (size_t i = 1; i < holders->count; i++) {
        struct rest_write *write = write_add(&request->arena, list, key, key_bytes);
        if (!write_send_to(collection, holders->shards[i], write))
            list->count--;
    }
}

/* What a page of ids brings to light. */
struct repair {
    struct write_list list;
    size_t scanned, found;
    const uint8_t *next;
    size_t next_bytes;
};

static int look_for_old_versions(struct http_request *request,
                                 const struct config_collection *collection,
                                 struct query_view *view, const struct query_scroll *scroll,
                                 struct repair *repair, struct error *error)
{
    struct query_result page = {0};
    struct query_holders *holders;

    if (query_scroll_run(view, scroll, &page, &repair->next, &repair->next_bytes, error) != 0)
        return error->code;
    if (query_locate_hits(view, page.hits, page.hit_count, &request->arena, &holders, error) != 0)
        return error->code;
    repair->scanned = page.hit_count;
    for (size_t i = 0; i < page.hit_count; i++)
        if (holders[i].count > 1) {
            repair->found++;
            add_old_versions(request, collection, &page.hits[i].row, &holders[i], &repair->list);
        }
    return 0;
}

static void reply_repair(struct http_request *request, const struct repair *repair, bool removed)
{
    http_reply_begin(request);
    buffer_append_format(&request->reply,
                         "{\"scanned\":%zu,\"found\":%zu,\"removed\":%zu,\"next_page_offset\":",
                         repair->scanned, repair->found, removed ? repair->list.count : 0);
    if (repair->next) {
        struct doc id = store_key_to_doc(repair->next, repair->next_bytes, &request->arena);
        doc_write_json(&request->reply, &id);
    } else {
        buffer_append_text(&request->reply, "null");
    }
    buffer_append_byte(&request->reply, '}');
    http_reply_end(request, NULL);
}

/* One page. A version that comes between the look and the tombstone would go with the old ones: who
 * repairs has stopped the producer that writes to other partitions. */
void rest_handle_repair(struct http_request *request)
{
    struct query_scroll scroll = {.arena = &request->arena};
    const struct config_collection *collection;
    const struct doc *offset, *dry_run;
    struct query_view *view = NULL;
    struct repair repair = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct store_key from;
    struct doc body;
    bool removes;
    int code = open_write(request, &collection, &body, &extras, &error);

    if (code == 0)
        code = parse_limit(&body, WRITE_FILTER_PAGE, &scroll.limit, &error);
    offset = code == 0 ? doc_get(&body, "offset") : NULL;
    if (offset && (code = parse_id(offset, &from, &error)) == 0) {
        scroll.from_key = from.bytes;
        scroll.from_key_bytes = from.size_bytes;
    }
    if (code == 0)
        code = parse_whole_view(request, collection, &extras, &view, &error);
    if (code == 0)
        code = look_for_old_versions(request, collection, view, &scroll, &repair, &error);
    query_view_close(view);
    dry_run = code == 0 ? doc_get(&body, "dry_run") : NULL;
    removes = repair.list.count > 0 && !(dry_run && dry_run->boolean);
    if (code == 0 && removes)
        code = write_produce(request, collection, &repair.list, &error);
    if (code == 0)
        reply_repair(request, &repair, removes);
    else
        http_reply_from_error(request, &error);
}
