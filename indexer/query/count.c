/* Counting rows and finding one. */
#include "indexer/query/row_scan.h"

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

int query_count(struct query_view *view, const struct query_filter *filter, uint64_t *count,
                struct error *error)
{
    struct row_scan_options options = {
        .view = view, .filter = filter, .visit = count_row, .context = count};

    *count = 0;
    return query_row_scan(&options, error);
}

struct visitor {
    query_visit_function visit;
    void *context;
    struct arena payload; /* of one row */
};

static int visit_row(void *context, const struct query_row *row, const uint8_t *bytes,
                     size_t size_bytes, struct arena *scratch, struct error *error)
{
    struct visitor *visitor = context;
    struct doc payload;

    (void)scratch;
    arena_reset(&visitor->payload);
    if (query_payload_decode(row, bytes, size_bytes, &visitor->payload, &payload, error) != 0)
        return error->code;
    return visitor->visit(visitor->context, row, &payload, error);
}

int query_visit(struct query_view *view, const struct query_filter *filter,
                query_visit_function visit, void *context, struct error *error)
{
    struct visitor visitor = {.visit = visit, .context = context};
    struct row_scan_options options = {.view = view,
                                       .filter = filter,
                                       .needs_payload = true,
                                       .visit = visit_row,
                                       .context = &visitor};
    int code;

    arena_create(&visitor.payload, 0);
    code = query_row_scan(&options, error);
    arena_destroy(&visitor.payload);
    return code;
}

int query_find(struct query_view *view, const uint8_t *key, size_t key_bytes, struct query_row *row,
               struct error *error)
{
    bool found = false;
    int64_t found_ms = 0;

    for (size_t i = 0; i < view->shard_count; i++) {
        const struct store_source *source;
        struct error local = {0};
        uint32_t place;
        int64_t time_ms;
        int code =
            store_snapshot_find(view->shards[i].snapshot, key, key_bytes, &source, &place, &local);
        if (code == ERROR_NOT_FOUND)
            continue;
        if (code != 0) {
            if (error)
                *error = local;
            return error_wrap(error, "shard %s", view->shards[i].name);
        }
        /* Offsets of two shards do not compare; the newest event is the best guess there is. */
        time_ms = store_row_event_time_ms(source, place);
        if (found && time_ms <= found_ms)
            continue;
        found = true;
        found_ms = time_ms;
        *row = query_view_row(view, i, source, place);
    }
    return found ? 0 : error_set(error, ERROR_NOT_FOUND, "no record has this id");
}
