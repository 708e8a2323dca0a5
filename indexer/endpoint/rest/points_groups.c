/* points/query/groups: the best rows of each value of a payload field. Rows are searched best first
 * and dealt out to groups; when the groups are not full, more rows are searched. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/render.h"
#include "indexer/endpoint/rest/search_form.h"

enum {
    GROUPS_DEFAULT = 10,
    GROUP_SIZE_DEFAULT = 3,
    GROUP_SIZE_MAX = 10000,
    GROUPS_MAX = 10000,
    FIRST_ROWS = 128,
    MORE_ROWS_FACTOR = 8
};

struct group {
    const struct doc *id; /* a string or an integer */
    struct query_hit *hits;
    uint32_t count;
};

struct grouping {
    struct http_request *request;
    const char *key;
    uint32_t group_max, size_max;
    struct group *groups; /* in the order of their best rows */
    uint32_t count, full;
    const struct query_hit *hit; /* being dealt out */
    struct stop_meter meter;
    struct error *error; /* why the meter stopped */
};

static struct group *group_for(struct grouping *grouping, const struct doc *id)
{
    struct group *group;

    for (uint32_t i = 0; i < grouping->count; i++) {
        if (doc_equal(grouping->groups[i].id, id))
            return &grouping->groups[i];
    }
    if (grouping->count == grouping->group_max)
        return NULL;
    group = &grouping->groups[grouping->count++];
    group->id = id;
    group->hits = memory_checked(
        arena_calloc(&grouping->request->arena, grouping->size_max, sizeof(*group->hits)));
    return group;
}

/* Whether all values of the field may name a group: a row with another one is in none, as in Qdrant. */
static bool is_no_group(void *context, const struct doc *value)
{
    if (value->type == DOC_ARRAY) {
        for (uint32_t i = 0; i < value->count; i++)
            if (is_no_group(context, &value->items[i]))
                return true;
        return false;
    }
    return value->type != DOC_STRING && value->type != DOC_INT && value->type != DOC_UINT;
}

/* Called for each value of the field; a row with several values is in several groups, but in none
 * twice. */
static bool deal(void *context, const struct doc *value)
{
    struct grouping *grouping = context;
    struct group *group;

    if (value->type == DOC_ARRAY) {
        for (uint32_t i = 0; i < value->count; i++)
            if (deal(context, &value->items[i]))
                return true;
        return false;
    }
    /* It is compared with each group's value. */
    if (stop_meter_add(&grouping->meter, 1 + grouping->count, grouping->error) != 0)
        return true;
    group = group_for(grouping, value);
    if (!group || group->count == grouping->size_max)
        return false;
    if (group->count > 0 && query_row_same(&group->hits[group->count - 1].row, &grouping->hit->row))
        return false;
    group->hits[group->count++] = *grouping->hit;
    grouping->full += group->count == grouping->size_max;
    return false;
}

static int deal_out(struct grouping *grouping, const struct query_result *result,
                    struct error *error)
{
    grouping->count = 0;
    grouping->full = 0;
    grouping->error = error;
    /* Hits that were found in time are dealt out, however late it is. */
    grouping->meter =
        (struct stop_meter){.stop = result->partial ? NULL : &grouping->request->stop};
    memset(grouping->groups, 0, grouping->group_max * sizeof(*grouping->groups));
    for (size_t i = 0; i < result->hit_count && grouping->full < grouping->group_max; i++) {
        struct doc payload;
        grouping->hit = &result->hits[i];
        if (query_row_payload(&grouping->hit->row, &grouping->request->arena, &payload, error) != 0)
            return error->code;
        if (!doc_visit_path(&payload, grouping->key, strlen(grouping->key), is_no_group, NULL))
            (void)doc_visit_path(&payload, grouping->key, strlen(grouping->key), deal, grouping);
        if (error->code != 0)
            return error->code;
    }
    return 0;
}

static int run(struct http_request *request, struct query_view *view, struct search_form *form,
               struct grouping *grouping, struct query_result *result, struct error *error)
{
    uint64_t rows = 2 * (uint64_t)grouping->group_max * grouping->size_max;
    struct error ignored;

    if (rows < FIRST_ROWS)
        rows = FIRST_ROWS;
    for (;; rows *= MORE_ROWS_FACTOR) {
        form->search.limit = rows < QUERY_LIMIT_MAX ? (uint32_t)rows : QUERY_LIMIT_MAX;
        form->search.offset = 0;
        *result = (struct query_result){0};
        if (search_form_run(request, view, form, result, error) != 0 ||
            deal_out(grouping, result, error) != 0)
            return error->code;
        if ((form->search.partial && stop_check(&request->stop, &ignored) != 0) ||
            grouping->full == grouping->group_max || result->hit_count < form->search.limit ||
            form->search.limit == QUERY_LIMIT_MAX)
            return 0;
    }
}

static int parse_grouping(struct http_request *request, const struct doc *body,
                          struct grouping *grouping, struct error *error)
{
    const struct doc *key = doc_get(body, "group_by");

    grouping->request = request;
    if (parse_path(key, "$.group_by", error) != 0)
        return error->code;
    if (key->string[0] == '@')
        return error_set(error, ERROR_UNSUPPORTED, "windrow does not group by virtual keys");
    grouping->key = arena_copy(&request->arena, key->string, key->count);
    if (parse_u32(body, "limit", GROUPS_DEFAULT, GROUPS_MAX, &grouping->group_max, error) != 0 ||
        parse_u32(body, "group_size", GROUP_SIZE_DEFAULT, GROUP_SIZE_MAX, &grouping->size_max,
                  error) != 0)
        return error->code;
    if ((uint64_t)grouping->group_max * grouping->size_max > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID,
                         "Validation error in JSON body: [internal.limit: limit x group_size must "
                         "be %d or smaller]",
                         QUERY_LIMIT_MAX);
    grouping->groups =
        arena_calloc(&request->arena, grouping->group_max, sizeof(*grouping->groups));
    if (!grouping->groups)
        abort();
    return 0;
}

static int render(struct http_request *request, const struct grouping *grouping,
                  const struct parse_selector *selector, struct error *error)
{
    struct buffer *out = &request->reply;

    http_reply_begin(request);
    buffer_append_text(out, "{\"groups\":[");
    for (uint32_t i = 0; i < grouping->count; i++) {
        const struct group *group = &grouping->groups[i];
        struct query_result hits = {
            .hits = group->hits, .hit_count = group->count, .partial = !grouping->meter.stop};
        buffer_append_text(out, i > 0 ? ",{\"id\":" : "{\"id\":");
        doc_write_json(out, group->id);
        buffer_append_text(out, ",\"hits\":");
        if (render_hits(request, &hits, true, selector, out, error) != 0)
            return error->code;
        buffer_append_byte(out, '}');
    }
    buffer_append_text(out, "]}");
    return 0;
}

void search_answer_groups(struct http_request *request, search_rewrite rewrite)
{
    const struct config_collection *collection;
    struct grouping grouping = {0};
    struct search_form form = {0};
    struct query_view *view = NULL;
    struct query_result result = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_grouping(request, &body, &grouping, &error);
    form.prefetch_factor = grouping.size_max;
    if (code == 0 && rewrite)
        body = rewrite(&request->arena, &body);
    if (code == 0)
        code = search_form_parse(request, view, &body, collection, &extras, &form, &error);
    if (code == 0)
        form.search.wants.payload = true; /* the groups' ids are in it */
    if (code == 0)
        code = run(request, view, &form, &grouping, &result, &error);
    if (code == 0)
        code = render(request, &grouping, &form.selector, &error);
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &result));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

void rest_handle_query_groups(struct http_request *request)
{
    search_answer_groups(request, NULL);
}
