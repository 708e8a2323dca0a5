#include "indexer/query/each.h"

#include "indexer/query/filter.h"

enum { DEADLINE_ROWS = 4096 }; /* between two looks at the clock */

struct each_state {
    const struct each_options *options;
    const struct query_filter *filter; /* NULL: everything */
    int64_t from_ms, to_ms;
    struct arena scratch;
};

static int out_of_time(struct error *error)
{
    return error_set(error, ERROR_TIMEOUT, "the request took longer than its timeout");
}

static int each_row(const struct each_state *state, size_t shard, const struct query_row *row,
                    struct arena *scratch, struct error *error)
{
    const struct each_options *options = state->options;
    bool matches = true;
    int code = 0;

    if (!store_row_visible(row->snapshot, row->source, row->row))
        return 0;
    if (state->filter)
        code = query_filter_match(state->filter, row, scratch, &matches, error);
    if (code == 0 && matches)
        code = options->visit(options->context, shard, row, scratch, error);
    return code;
}

static int each_source(struct each_state *state, size_t shard, const struct store_source *source,
                       struct error *error)
{
    const struct each_options *options = state->options;
    struct query_row row = query_view_row(options->view, shard, source, 0);

    for (; row.row < source->row_count; row.row++) {
        struct error local = {0};
        int code;
        if (row.row % DEADLINE_ROWS == DEADLINE_ROWS - 1 && query_view_expired(options->view))
            return out_of_time(error);
        code = each_row(state, shard, &row, &state->scratch, &local);
        if (state->scratch.used_bytes > 0)
            arena_reset(&state->scratch);
        if (code == 0)
            continue;
        if (code != ERROR_CORRUPT && code != ERROR_IO) {
            if (error)
                *error = local;
            return code;
        }
        query_view_report(options->view, shard, source, &local);
        if (!options->result) {
            if (error)
                *error = local;
            return code;
        }
        options->result->partial = true;
    }
    return 0;
}

int query_each(const struct each_options *options, struct error *error)
{
    const struct query_view *view = options->view;
    struct each_state state = {.options = options, .from_ms = INT64_MIN, .to_ms = INT64_MAX};
    struct window_tally tally;
    int code = 0;

    if (options->filter && !options->filter->accepts_all)
        state.filter = options->filter;
    query_filter_time_range(state.filter, &state.from_ms, &state.to_ms);
    arena_create(&state.scratch, 0);
    if (options->result)
        query_tally_start(&tally, view, options->arena);
    for (size_t i = 0; i < view->shard_count && code == 0; i++) {
        for (size_t j = 0; j < view->shards[i].source_count && code == 0; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            bool searched = query_source_overlaps(source, state.from_ms, state.to_ms);
            if (options->result && source->kind != STORE_SOURCE_MEMTABLE)
                query_tally_table(&tally, i, source, searched);
            else if (options->result && searched)
                query_tally_memtable(&tally, view, i, source, state.from_ms, state.to_ms);
            if (searched)
                code = each_source(&state, i, source, error);
        }
    }
    if (options->result)
        query_tally_finish(&tally, options->result);
    arena_destroy(&state.scratch);
    return code;
}
