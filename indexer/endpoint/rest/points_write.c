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
                                      .parts = points[i].parts,
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

    if (write_open(request, &collection, &body, &extras, &error) == 0 &&
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
    handle_update(request, UPDATE_REMOVE_VECTORS);
}

static void handle_raw(struct http_request *request)
{
    static const struct doc no_body = {.type = DOC_MAP};
    const struct config_collection *collection;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};

    if (rest_request_collection(request, &collection, &error) == 0 &&
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
    code = write_open(request, &collection, &body, &extras, &error);
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

static void delete_matching(struct http_request *request,
                            const struct config_collection *collection, const struct doc *filter,
                            const struct parse_extras *extras)
{
    struct error error = {0};
    int64_t operation = 0;

    if (write_delete_matching(request, collection, filter, extras, &operation, &error) == 0)
        reply_status(request, operation, "completed");
    else
        http_reply_from_error(request, &error);
}

void rest_handle_delete(struct http_request *request)
{
    const struct config_collection *collection;
    const struct query_filter *checked;
    const struct doc *points, *filter;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = write_open(request, &collection, &body, &extras, &error);

    points = code == 0 ? doc_get(&body, "points") : NULL;
    filter = code == 0 ? doc_get(&body, "filter") : NULL;
    if (points && extras.min_offset_count > 0)
        code = error_set(&error, ERROR_INVALID,
                         "Format error in JSON body: $.windrow.min_offsets: expected beside "
                         "`filter` only");
    else if (points)
        code = add_deletes(request, points, &list, &error);
    else if (code == 0 && !filter)
        code = error_set(&error, ERROR_INVALID,
                         "Format error in JSON body: $: expected `points` or `filter`");
    else if (code == 0)
        code = parse_filter(request, &body, &checked, &error);
    if (code != 0)
        http_reply_from_error(request, &error);
    else if (points)
        send_writes(request, collection, &list, extras.timeout_ms);
    else
        delete_matching(request, collection, filter, &extras);
}

/* Several operations. */

/* Operations that go together: those without a look at what is stored, or one that needs it. */
struct step {
    struct write_list list;
    struct update *update;    /* or NULL */
    const struct doc *delete; /* the filter of those that are deleted, or NULL */
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
    steps->steps[steps->count++].delete = doc_get(body, "filter");
    return parse_filter(steps->request, body, &filter, error);
}

static int add_operation(struct steps *steps, const struct doc *operation, uint32_t i,
                         struct error *error)
{
    static const char *const updates[UPDATE_KINDS] = {
        [UPDATE_SET] = "set_payload",        [UPDATE_OVERWRITE] = "overwrite_payload",
        [UPDATE_REMOVE] = "delete_payload",  [UPDATE_CLEAR] = "clear_payload",
        [UPDATE_VECTORS] = "update_vectors", [UPDATE_REMOVE_VECTORS] = "delete_vectors",
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
    int64_t offset = 0;
    int code;

    if (step->update || step->delete)
        *status = "completed";
    if (step->update)
        return update_run(step->update, extras->timeout_ms, operation, error);
    if (step->delete)
        return write_delete_matching(steps->request, steps->collection, step->delete, extras,
                                     operation, error);
    code = write_commit(steps->request, steps->collection, &step->list, wait, extras->timeout_ms,
                        &offset, status, error);
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
    int code = write_open(request, &steps.collection, &body, &extras, &error);

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
