#include "indexer/query/filter/row.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "store/files/key.h"
#include "store/files/parts.h"
#include "store/snapshot.h"

int query_payload_decode(const struct query_row *row, const uint8_t *bytes, size_t size_bytes,
                         struct arena *arena, struct doc *payload, struct error *error)
{
    return query_body_decode(row, bytes, size_bytes, arena, payload, NULL, error);
}

int query_body_decode(const struct query_row *row, const uint8_t *bytes, size_t size_bytes,
                      struct arena *arena, struct doc *payload, struct doc *parts,
                      struct error *error)
{
    size_t used_bytes = 0;
    int code = 0;

    *payload = (struct doc){.type = DOC_MAP};
    if (size_bytes > 0)
        code = doc_parse_msgpack_first(arena, bytes, size_bytes, NULL, payload, &used_bytes, error);
    if (code == 0 && payload->type != DOC_MAP)
        code = error_set(error, ERROR_CORRUPT, "it is not a map");
    if (code == 0 && parts)
        code = parts_read(bytes + used_bytes, size_bytes - used_bytes, arena, parts, error);
    if (code == 0)
        return 0;
    (void)error_wrap(error, "shard %s: payload of row %u", row->shard, row->row);
    error->code = ERROR_CORRUPT;
    return ERROR_CORRUPT;
}

int query_row_body(const struct query_row *row, struct arena *arena, struct doc *payload,
                   struct doc *parts, struct error *error)
{
    const uint8_t *bytes;
    size_t size_bytes;
    int code;

    if (row->peer)
        return query_body_decode(row, row->peer->payload, row->peer->payload_bytes, arena, payload,
                                 parts, error);
    code = store_row_payload(row->source, row->row, arena, &bytes, &size_bytes, error);
    return code != 0 ? code
                     : query_body_decode(row, bytes, size_bytes, arena, payload, parts, error);
}

int query_row_payload(const struct query_row *row, struct arena *arena, struct doc *payload,
                      struct error *error)
{
    return query_row_body(row, arena, payload, NULL, error);
}

int query_row_vector(const struct query_row *row, struct arena *arena, const float **vector,
                     struct error *error)
{
    *vector = row->peer ? row->peer->vector : NULL;
    return row->peer || store_row_is_bare(row->source, row->row)
               ? 0
               : store_row_vector(row->source, row->row, arena, vector, error);
}

bool query_row_is_bare(const struct query_row *row)
{
    return row->peer ? !row->peer->vector : store_row_is_bare(row->source, row->row);
}

const uint8_t *query_row_key(const struct query_row *row, size_t *key_bytes)
{
    if (!row->peer)
        return store_row_key(row->source, row->row, key_bytes);
    *key_bytes = row->peer->key_bytes;
    return row->peer->key;
}

int64_t query_row_offset(const struct query_row *row)
{
    return row->peer ? row->peer->offset : store_row_offset(row->source, row->row);
}

int64_t query_row_time_ms(const struct query_row *row)
{
    return row->peer ? row->peer->time_ms : store_row_event_time_ms(row->source, row->row);
}

int64_t query_row_ttl_ms(const struct query_row *row)
{
    return row->peer ? row->peer->ttl_ms : store_row_ttl_ms(row->source, row->row);
}

bool query_row_same(const struct query_row *a, const struct query_row *b)
{
    return query_row_offset(a) == query_row_offset(b) && strcmp(a->shard, b->shard) == 0;
}

int query_row_compare_ids(const struct query_row *a, const struct query_row *b)
{
    size_t a_bytes, b_bytes;
    const uint8_t *a_key = query_row_key(a, &a_bytes);
    const uint8_t *b_key = query_row_key(b, &b_bytes);

    return bytes_compare(a_key, a_bytes, b_key, b_bytes);
}

struct doc query_row_id(const struct query_row *row, struct arena *arena)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);

    return store_key_to_doc(key, key_bytes, arena);
}

int64_t query_row_window_ms(const struct query_row *row)
{
    int64_t time_ms, over;

    if (row->peer)
        return row->peer->window_start_ms;
    if (row->source->kind != STORE_SOURCE_MEMTABLE)
        return row->source->window_start_ms;
    time_ms = store_row_event_time_ms(row->source, row->row);
    if (row->window_ms <= 0)
        return 0; /* the window without bounds */
    over = time_ms % row->window_ms;
    return time_ms - (over < 0 ? over + row->window_ms : over);
}
