/* Pages of rows in id order: the cursors of all shards, merged. */
#include "indexer/query/scroll.h"

#include <string.h>

#include "indexer/query/column.h"
#include "indexer/query/filter.h"
#include "indexer/query/top.h"
#include "indexer/query/view.h"

enum { DEADLINE_ROWS = 1024 };

struct merge_input {
    struct store_cursor *cursor;
    bool valid;
    struct query_row row;
    const uint8_t *key;
    size_t key_bytes;
};

/* Columns of a source for the filter; made when its first row is met. */
struct bound_source {
    bool tried;
    struct filter_binding *binding;
};

struct merge {
    struct query_view *view;
    const struct query_scroll *scroll;
    struct merge_input *inputs;
    struct bound_source **bound; /* by shard and source */
};

static void input_advance(struct merge *merge, size_t shard)
{
    struct merge_input *input = &merge->inputs[shard];
    const struct store_source *source;
    uint32_t row;

    input->valid = store_cursor_next(input->cursor, &source, &row);
    if (!input->valid)
        return;
    input->row = query_view_row(merge->view, shard, source, row);
    input->key = store_row_key(source, row, &input->key_bytes);
}

static void merge_open(struct merge *merge, struct query_view *view,
                       const struct query_scroll *scroll)
{
    merge->view = view;
    merge->scroll = scroll;
    merge->bound = arena_calloc(scroll->arena, view->shard_count + 1, sizeof(*merge->bound));
    merge->inputs = arena_calloc(scroll->arena, view->shard_count + 1, sizeof(*merge->inputs));
    for (size_t i = 0; i < view->shard_count; i++) {
        merge->bound[i] =
            arena_calloc(scroll->arena, view->shards[i].source_count + 1, sizeof(*merge->bound[i]));
        merge->inputs[i].cursor =
            store_cursor_open(view->shards[i].snapshot, scroll->from_key, scroll->from_key_bytes);
        input_advance(merge, i);
    }
}

static void merge_close(struct merge *merge)
{
    for (size_t i = 0; i < merge->view->shard_count; i++) {
        store_cursor_close(merge->inputs[i].cursor);
        for (size_t j = 0; j < merge->view->shards[i].source_count; j++)
            query_binding_drop(merge->bound[i][j].binding, merge->scroll->filter);
    }
}

static int compare_inputs(const struct merge_input *a, const struct merge_input *b)
{
    return query_key_compare(a->key, a->key_bytes, b->key, b->key_bytes);
}

/* The smallest key; of one id in several shards the newest event. Shards are few (partitions), so a
 * look at all of them is as fast as a heap. */
static bool merge_next(struct merge *merge, struct query_row *row, const uint8_t **key,
                       size_t *key_bytes)
{
    const size_t shard_count = merge->view->shard_count;
    const struct merge_input *first = NULL;
    int64_t newest_ms = INT64_MIN;

    for (size_t i = 0; i < shard_count; i++) {
        const struct merge_input *input = &merge->inputs[i];
        if (input->valid && (!first || compare_inputs(input, first) < 0))
            first = input;
    }
    if (!first)
        return false;
    *key = first->key;
    *key_bytes = first->key_bytes;
    for (size_t i = 0; i < shard_count; i++) {
        struct merge_input *input = &merge->inputs[i];
        int64_t time_ms;
        if (!input->valid || query_key_compare(input->key, input->key_bytes, *key, *key_bytes) != 0)
            continue;
        time_ms = store_row_event_time_ms(input->row.source, input->row.row);
        if (newest_ms == INT64_MIN || time_ms > newest_ms) {
            newest_ms = time_ms;
            *row = input->row;
        }
        input_advance(merge, i);
    }
    return true;
}

static void count_windows(struct query_view *view, struct arena *arena, struct query_result *result)
{
    struct window_stats stats;

    query_window_stats_start(&stats, view, arena);
    for (size_t i = 0; i < view->shard_count; i++)
        for (size_t j = 0; j < view->shards[i].source_count; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            if (source->kind != STORE_SOURCE_MEMTABLE)
                query_window_stats_table(&stats, i, source, true);
            else
                query_window_stats_memtable(&stats, view, i, source, INT64_MIN, INT64_MAX);
        }
    query_window_stats_finish(&stats, result);
}

static const struct filter_binding *binding_of(struct merge *merge, size_t shard,
                                               const struct query_row *row)
{
    const struct query_filter *filter = merge->scroll->filter;
    struct bound_source *bound =
        &merge->bound[shard][row->source - merge->view->shards[shard].sources];

    if (!bound->tried && filter && filter->needs_payload)
        bound->binding =
            query_binding_make(merge->view, shard, row->source, filter, merge->scroll->arena);
    bound->tried = true;
    return bound->binding;
}

/* 1: matches, 0: does not, negative: error. A damaged payload leaves its row out. */
static int row_matches(struct merge *merge, const struct query_row *row, struct arena *scratch,
                       struct query_result *result, struct error *error)
{
    const struct query_view *view = merge->view;
    struct error local;
    struct filter_subject subject = {.row = row, .scratch = scratch, .error = &local};
    size_t shard = 0;
    bool matches;
    int code;

    while (view->shards[shard].snapshot != row->snapshot)
        shard++;
    subject.binding = binding_of(merge, shard, row);
    local.code = 0;
    local.text[0] = '\0';
    code = filter_subject_match(merge->scroll->filter, &subject, &matches);
    if (scratch->used_bytes > 0)
        arena_reset(scratch);
    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        query_view_report(view, shard, row->source, &local);
        result->partial = true;
        return 0;
    }
    if (code != 0 && error)
        *error = local;
    return code != 0 ? code : matches;
}

static int scroll_by_id(struct query_view *view, const struct query_scroll *scroll,
                        struct query_result *result, const uint8_t **next_key,
                        size_t *next_key_bytes, struct error *error)
{
    struct merge merge;
    struct arena scratch;
    struct query_row row = {0};
    const uint8_t *key;
    size_t key_bytes;
    uint32_t rows = 0;
    int code = 0;

    arena_create(&scratch, 0);
    merge_open(&merge, view, scroll);
    while (merge_next(&merge, &row, &key, &key_bytes)) {
        if (++rows % DEADLINE_ROWS == 0 && (code = query_view_check(view, error)) != 0)
            break;
        code = row_matches(&merge, &row, &scratch, result, error);
        if (code < 0)
            break;
        if (code == 0)
            continue;
        code = 0;
        if (result->hit_count == scroll->limit) {
            *next_key = (const uint8_t *)arena_copy(scroll->arena, key, key_bytes);
            *next_key_bytes = key_bytes;
            break;
        }
        result->hits[result->hit_count++] = (struct query_hit){row, 1.0F};
    }
    merge_close(&merge);
    arena_destroy(&scratch);
    return code;
}

int query_scroll_run(struct query_view *view, const struct query_scroll *scroll,
                     struct query_result *result, const uint8_t **next_key, size_t *next_key_bytes,
                     struct error *error)
{
    *result = (struct query_result){0};
    *next_key = NULL;
    *next_key_bytes = 0;
    if (scroll->limit == 0)
        return error_set(error, ERROR_INVALID, "limit: value 0 invalid, must be 1 or larger");
    if (scroll->limit > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit: at most %d", QUERY_LIMIT_MAX);
    if (scroll->order_by)
        return query_scroll_ordered(view, scroll, result, error);
    result->hits = arena_calloc(scroll->arena, scroll->limit, sizeof(*result->hits));
    count_windows(view, scroll->arena, result);
    return scroll_by_id(view, scroll, result, next_key, next_key_bytes, error);
}
