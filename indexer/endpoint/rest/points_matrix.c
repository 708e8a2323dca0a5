/* points/search/matrix/pairs and /offsets: a sample of points, and for each of them those of the others that are nearest.
 *
 * Shards bring the sample with its vectors; everything else is done here. A few vectors are compared faster than asked
 * about, and the answer is that of one process. Points come in the order of their ids. */
#include <stdlib.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/render.h"
#include "indexer/endpoint/rest/search_form.h"

enum { SAMPLE_DEFAULT = 10, SAMPLE_MAX = 4096, NEIGHBOURS_DEFAULT = 3 };

struct matrix {
    struct query_hit *points; /* by id */
    size_t count;
    struct query_hit *neighbours; /* of all points, `per_point` each at most */
    size_t *neighbour_counts;
    uint32_t per_point;
};

static int compare_ids(const void *a, const void *b)
{
    const struct query_hit *left = a, *right = b;

    return query_row_compare_ids(&left->row, &right->row);
}

/* Of points that have the vector, by the request's filter. */
static int filter_drawn(struct http_request *request, const struct doc *body,
                        const struct search_form *form, const struct query_filter **filter,
                        struct error *error)
{
    struct arena *arena = &request->arena;
    struct doc has = doc_map(arena, 1), both = doc_map(arena, 1), wrapped = doc_map(arena, 1);
    struct doc *must = doc_items(arena, 2);
    const struct doc *given = doc_get(body, "filter");

    doc_put(&has, "has_vector", doc_string(arena, form->vector.name));
    must[0] = has;
    if (given)
        must[1] = *given;
    doc_put(&both, "must", (struct doc){.type = DOC_ARRAY, .count = given ? 2 : 1, .items = must});
    doc_put(&wrapped, "filter", both);
    return parse_filter(request, &wrapped, filter, error);
}

static int draw(struct http_request *request, struct query_view *view, const struct doc *body,
                const struct search_form *form, struct query_result *drawn, struct error *error)
{
    struct query_scroll scroll = {.sample = true, .arena = &request->arena};
    struct query_search ranked = form->search;
    const uint8_t *next_key;
    size_t next_key_bytes;

    search_want_ranked(&ranked);
    scroll.wants = ranked.wants;
    io_random(rest_of(request)->io, &scroll.seed, sizeof(scroll.seed));
    if (parse_u32(body, "sample", SAMPLE_DEFAULT, SAMPLE_MAX, &scroll.limit, error) != 0 ||
        filter_drawn(request, body, form, &scroll.filter, error) != 0 ||
        query_scroll_run(view, &scroll, drawn, &next_key, &next_key_bytes, error) != 0)
        return error->code;
    qsort(drawn->hits, drawn->hit_count, sizeof(*drawn->hits), compare_ids);
    return 0;
}

static int find_neighbours(struct query_view *view, const struct search_form *form, size_t i,
                           struct arena *scratch, struct matrix *matrix, struct error *error)
{
    struct query_search search = form->search;
    struct query_hit *own = matrix->neighbours + i * matrix->per_point;
    struct query_result found = {0};

    search.arena = scratch;
    search.exclude_key = query_row_key(&matrix->points[i].row, &search.exclude_key_bytes);
    if (query_ranked_values(&search, &matrix->points[i].row, scratch, &search.vector,
                            &search.vector_rows, error) != 0 ||
        query_rescore(view, &search, matrix->points, matrix->count, &found, error) != 0)
        return error->code;
    for (size_t k = 0; k < found.hit_count; k++)
        own[k] = found.hits[k];
    matrix->neighbour_counts[i] = found.hit_count;
    return 0;
}

/* One point alone makes no matrix. */
static int fill(struct http_request *request, struct query_view *view,
                const struct search_form *form, const struct query_result *drawn,
                struct matrix *matrix, struct error *error)
{
    struct arena scratch;
    int code = 0;

    *matrix = (struct matrix){.points = drawn->hits,
                              .count = drawn->hit_count < 2 ? 0 : drawn->hit_count};
    matrix->per_point =
        form->search.limit < matrix->count ? form->search.limit : (uint32_t)matrix->count;
    matrix->neighbours = memory_checked(arena_calloc(
        &request->arena, matrix->count * matrix->per_point + 1, sizeof(*matrix->neighbours)));
    matrix->neighbour_counts = memory_checked(
        arena_calloc(&request->arena, matrix->count + 1, sizeof(*matrix->neighbour_counts)));
    arena_create(&scratch, 0);
    for (size_t i = 0; i < matrix->count && code == 0; i++) {
        code = find_neighbours(view, form, i, &scratch, matrix, error);
        arena_reset(&scratch);
    }
    arena_destroy(&scratch);
    return code;
}

static void write_id(struct http_request *request, const struct query_hit *hit)
{
    struct doc id = query_row_id(&hit->row, &request->arena);

    doc_write_json(&request->reply, &id);
}

/* [{"a", "b", "score"}] */
static void write_pairs(struct http_request *request, const struct matrix *matrix)
{
    struct buffer *out = &request->reply;
    const char *separator = "";

    buffer_append_text(out, "{\"pairs\":[");
    for (size_t i = 0; i < matrix->count; i++)
        for (size_t k = 0; k < matrix->neighbour_counts[i]; k++) {
            const struct query_hit *hit = &matrix->neighbours[i * matrix->per_point + k];
            buffer_append_format(out, "%s{\"a\":", separator);
            write_id(request, &matrix->points[i]);
            buffer_append_text(out, ",\"b\":");
            write_id(request, hit);
            buffer_append_text(out, ",\"score\":");
            doc_write_json_float(out, hit->score);
            buffer_append_byte(out, '}');
            separator = ",";
        }
    buffer_append_text(out, "]}");
}

enum column { ROWS, COLUMNS, SCORES };

static void write_column(struct http_request *request, const struct matrix *matrix,
                         enum column column)
{
    struct buffer *out = &request->reply;
    const char *separator = "";

    for (size_t i = 0; i < matrix->count; i++)
        for (size_t k = 0; k < matrix->neighbour_counts[i]; k++) {
            const struct query_hit *hit = &matrix->neighbours[i * matrix->per_point + k];
            const struct query_hit *point = column != COLUMNS
                                                ? &matrix->points[i]
                                                : bsearch(hit, matrix->points, matrix->count,
                                                          sizeof(*matrix->points), compare_ids);
            buffer_append_text(out, separator);
            if (column == SCORES)
                doc_write_json_float(out, hit->score);
            else
                buffer_append_format(out, "%zu", (size_t)(point - matrix->points));
            separator = ",";
        }
}

/* The same as a sparse matrix: places of both points in `ids`, and the score. */
static void write_offsets(struct http_request *request, const struct matrix *matrix)
{
    struct buffer *out = &request->reply;

    buffer_append_text(out, "{\"offsets_row\":[");
    write_column(request, matrix, ROWS);
    buffer_append_text(out, "],\"offsets_col\":[");
    write_column(request, matrix, COLUMNS);
    buffer_append_text(out, "],\"scores\":[");
    write_column(request, matrix, SCORES);
    buffer_append_text(out, "],\"ids\":[");
    for (size_t i = 0; i < matrix->count; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        write_id(request, &matrix->points[i]);
    }
    buffer_append_text(out, "]}");
}

static void answer(struct http_request *request,
                   void (*write)(struct http_request *request, const struct matrix *matrix))
{
    const struct config_collection *collection;
    struct search_form form = {.kind = SEARCH_NEAREST};
    struct query_view *view = NULL;
    struct query_result drawn = {0};
    struct matrix matrix = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    form.search.arena = &request->arena;
    if (code == 0)
        code = search_form_check_using(collection, &body, &error);
    if (code == 0)
        code = search_form_common(request, &body, &extras, &form, &error);
    if (code == 0 && !doc_get(&body, "limit"))
        form.search.limit = NEIGHBOURS_DEFAULT;
    if (code == 0)
        code = draw(request, view, &body, &form, &drawn, &error);
    if (code == 0)
        code = fill(request, view, &form, &drawn, &matrix, &error);
    if (code == 0) {
        http_reply_begin(request);
        write(request, &matrix);
        http_reply_end(request, render_windrow(request, view, &drawn));
    } else {
        http_reply_from_error(request, &error);
    }
    query_view_close(view);
}

void rest_handle_matrix_pairs(struct http_request *request)
{
    answer(request, write_pairs);
}

void rest_handle_matrix_offsets(struct http_request *request)
{
    answer(request, write_offsets);
}
