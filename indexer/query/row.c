/* row: one row of a snapshot, found by its id, as documents and numbers. */
#include "indexer/query/view.h"

int query_payload_decode(const struct query_row *row, const uint8_t *bytes, size_t size_bytes,
                         struct arena *arena, struct doc *payload, struct error *error)
{
    if (size_bytes == 0) {
        *payload = (struct doc){.type = DOC_MAP};
        return 0;
    }
    if (doc_parse_msgpack(arena, bytes, size_bytes, NULL, payload, error) != 0) {
        (void)error_wrap(error, "shard %s: payload of row %u", row->shard, row->row);
        error->code = ERROR_CORRUPT;
        return ERROR_CORRUPT;
    }
    if (payload->type != DOC_MAP)
        return error_set(error, ERROR_CORRUPT, "shard %s: payload of row %u is not a map",
                         row->shard, row->row);
    return 0;
}

int query_row_payload(const struct query_row *row, struct arena *arena, struct doc *payload,
                      struct error *error)
{
    const uint8_t *bytes;
    size_t size_bytes;
    int code = store_row_payload(row->source, row->row, arena, &bytes, &size_bytes, error);

    return code != 0 ? code : query_payload_decode(row, bytes, size_bytes, arena, payload, error);
}

int query_row_vector(const struct query_row *row, const float **vector, struct error *error)
{
    uint32_t count;

    return store_row_vectors(row->source, row->row, vector, &count, error);
}

struct doc query_row_id(const struct query_row *row, struct arena *arena)
{
    size_t key_bytes;
    const uint8_t *key = store_row_key(row->source, row->row, &key_bytes);

    return store_key_to_doc(key, key_bytes, arena);
}

int64_t query_row_window_ms(const struct query_row *row)
{
    int64_t time_ms, over;

    if (row->source->kind != STORE_SOURCE_MEMTABLE)
        return row->source->window_start_ms;
    time_ms = store_row_event_time_ms(row->source, row->row);
    if (row->window_ms <= 0)
        return 0; /* the window without bounds */
    over = time_ms % row->window_ms;
    return time_ms - (over < 0 ? over + row->window_ms : over);
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

size_t query_locate(const struct query_view *view, const uint8_t *key, size_t key_bytes,
                    const char **shards, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < view->shard_count; i++) {
        const struct store_source *source;
        struct error ignored = {0};
        uint32_t row;
        if (store_snapshot_find(view->shards[i].snapshot, key, key_bytes, &source, &row,
                                &ignored) == ERROR_NOT_FOUND)
            continue;
        if (count < max)
            shards[count] = view->shards[i].name;
        count++;
    }
    return count;
}
