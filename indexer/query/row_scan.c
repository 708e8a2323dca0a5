#include "indexer/query/row_scan.h"

#include "indexer/query/columns.h"
#include "indexer/query/filter/filter.h"
#include "indexer/query/gather.h"
#include "store/snapshot.h"

enum {
    BATCH_ROWS = 256,
    CHECK_BATCHES = 4 /* between two looks at the clock */
};

struct scan_state {
    const struct row_scan_options *options;
    const struct query_filter *filter; /* NULL: everything */
    struct filter_binding *binding;    /* of the source under way, or NULL */
    int64_t from_ms, to_ms;
    struct arena scratch; /* of one batch */
    struct stop_meter meter;
};

/* Payloads of a batch, when they are needed. */
struct scan_batch {
    uint32_t rows[BATCH_ROWS];
    const uint8_t *payloads[BATCH_ROWS];
    uint32_t payload_bytes[BATCH_ROWS];
    uint32_t count;
    bool read;
};

/* Damage: with a result the row is left out, without one the operation fails. */
static int settle(const struct scan_state *state, size_t shard, const struct store_source *source,
                  int code, const struct error *local, struct error *error)
{
    const struct row_scan_options *options = state->options;
    bool damage = code == ERROR_CORRUPT || code == ERROR_IO;

    if (damage)
        query_view_report(options->view, shard, source, local);
    if (damage && options->result) {
        options->result->partial = true;
        return 0;
    }
    *error = *local;
    return code;
}

static int scan_row(struct scan_state *state, const struct query_row *row, const uint8_t *bytes,
                    size_t size_bytes, struct error *error)
{
    const struct row_scan_options *options = state->options;
    struct filter_subject subject = {.row = row,
                                     .scratch = &state->scratch,
                                     .binding = state->binding,
                                     .bytes = bytes,
                                     .size_bytes = size_bytes,
                                     .meter = &state->meter,
                                     .error = error};
    bool matches;
    int code = filter_subject_match(state->filter, &subject, &matches);

    if (code != 0 || !matches)
        return code;
    if (options->needs_payload && !bytes)
        code =
            store_row_payload(row->source, row->row, &state->scratch, &bytes, &size_bytes, error);
    return code ? code
                : options->visit(options->context, row, bytes, size_bytes, &state->scratch, error);
}

static int scan_batch(struct scan_state *state, size_t shard, struct query_row *row,
                      struct scan_batch *batch, struct error *error)
{
    bool payloads = state->options->needs_payload ||
                    (state->filter && state->filter->needs_payload && !state->binding);
    struct error local;
    int code = 0;

    local.text[0] = '\0';
    /* When a block is damaged, the rows are read one by one to find those that are not. */
    batch->read =
        payloads && store_rows_payloads(row->source, batch->rows, batch->count, &state->scratch,
                                        batch->payloads, batch->payload_bytes, &local) == 0;
    for (uint32_t i = 0; i < batch->count && code == 0; i++) {
        row->row = batch->rows[i];
        code = scan_row(state, row, batch->read ? batch->payloads[i] : NULL,
                        batch->read ? batch->payload_bytes[i] : 0, &local);
        if (code != 0)
            code = settle(state, shard, row->source, code, &local, error);
    }
    if (state->scratch.used_bytes > 0)
        arena_reset(&state->scratch);
    return code;
}

static int scan_source(struct scan_state *state, size_t shard, const struct store_source *source,
                       struct error *error)
{
    const struct query_view *view = state->options->view;
    struct query_row row = query_view_row(view, shard, source, 0);
    struct scan_batch batch;
    uint32_t batches = 0;
    int code = 0;

    for (uint32_t next = 0; next < source->row_count && code == 0;) {
        if (batches++ % CHECK_BATCHES == 0 && (code = query_view_check(view, error)) != 0)
            return code;
        for (batch.count = 0; next < source->row_count && batch.count < BATCH_ROWS; next++)
            if (store_row_visible(row.snapshot, source, next))
                batch.rows[batch.count++] = next;
        code = scan_batch(state, shard, &row, &batch, error);
    }
    return code;
}

static int scan_bound(struct scan_state *state, size_t shard, const struct store_source *source,
                      struct error *error)
{
    struct arena bound;
    int code;

    arena_create(&bound, 0);
    if (state->filter && state->filter->needs_payload)
        state->binding =
            query_binding_make(state->options->view, shard, source, state->filter, &bound);
    code = scan_source(state, shard, source, error);
    query_binding_drop(state->binding, state->filter);
    state->binding = NULL;
    arena_destroy(&bound);
    return code;
}

int query_row_scan(const struct row_scan_options *options, struct error *error)
{
    const struct query_view *view = options->view;
    struct scan_state state = {.options = options,
                               .from_ms = INT64_MIN,
                               .to_ms = INT64_MAX,
                               .meter = {.stop = view->stop}};
    struct window_stats stats;
    int code = 0;

    if (options->filter && !options->filter->accepts_all)
        state.filter = options->filter;
    query_filter_time_range(state.filter, &state.from_ms, &state.to_ms);
    arena_create(&state.scratch, 0);
    if (options->result)
        query_window_stats_start(&stats, view, options->arena);
    for (size_t i = 0; i < view->shard_count && code == 0; i++) {
        for (size_t j = 0; j < view->shards[i].source_count && code == 0; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            bool searched = query_source_overlaps(source, state.from_ms, state.to_ms);
            if (options->result && source->kind != STORE_SOURCE_MEMTABLE)
                query_window_stats_table(&stats, i, source, searched);
            else if (options->result && searched)
                query_window_stats_memtable(&stats, view, i, source, state.from_ms, state.to_ms);
            if (searched)
                code = scan_bound(&state, i, source, error);
        }
    }
    if (options->result)
        query_window_stats_finish(&stats, options->result);
    arena_destroy(&state.scratch);
    return code;
}

static int count_row(void *context, const struct query_row *row, const uint8_t *bytes,
                     size_t size_bytes, struct arena *scratch, struct error *error)
{
    uint64_t *count = context;

    (void)row;
    (void)bytes;
    (void)size_bytes;
    (void)scratch;
    (void)error;
    (*count)++;
    return 0;
}

static int count_here(struct query_view *view, const struct query_filter *filter, uint64_t *count,
                      struct error *error)
{
    const struct row_scan_options options = {
        .view = view, .filter = filter, .visit = count_row, .context = count};

    *count = 0;
    return query_row_scan(&options, error);
}

/* {"count": n} */
static int take_count(void *context, const struct gather_answer *answer, struct error *error)
{
    uint64_t *count = context;
    int64_t more;

    if (wire_get_i64(answer->result, "count", &more, error) != 0)
        return error->code;
    if (more < 0)
        return error_set(error, ERROR_INVALID, "peer: `count` is negative");
    *count += (uint64_t)more;
    return 0;
}

int query_count(struct query_view *view, const struct query_filter *filter, uint64_t *count,
                struct error *error)
{
    const struct doc op = wire_from_filter("count", filter, NULL, &view->arena);
    struct gather gather;

    gather_start(&gather, view, &view->arena, &op);
    return gather_finish(&gather, count_here(view, filter, count, error), take_count, count, error);
}

int answer_count(struct query_view *view, const struct doc *op, struct arena *arena,
                 struct doc *result, struct error *error)
{
    const struct query_filter *filter;
    uint64_t count;

    if (wire_to_filter(op, view->collection, arena, &filter, error) != 0 ||
        count_here(view, filter, &count, error) != 0)
        return error->code;
    doc_put(result, "count", doc_integer((int64_t)count));
    return 0;
}
