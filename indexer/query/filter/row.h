/* row: one record as filters and orders see it: a row of a snapshot, or one that a peer answered. */
#ifndef INDEXER_QUERY_FILTER_ROW_H
#define INDEXER_QUERY_FILTER_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"
#include "store/store.h"

/* A row that a peer answered. */
struct query_peer_row {
    const uint8_t *key;
    size_t key_bytes;
    int64_t time_ms, offset, window_start_ms, ttl_ms;
    const uint8_t *payload; /* as it is stored; NULL: was not asked for */
    size_t payload_bytes;
    const float *vector; /* 64-byte aligned; NULL: was not asked for, or it has none */
};

/* A record as a filter or an order sees it. Rows that a peer answered have no snapshot and no
 * source; everybody outside of indexer/query reads rows through the functions below. */
struct query_row {
    const struct store_snapshot *snapshot;
    const struct store_source *source;
    uint32_t row;
    const char *shard;
    int64_t window_ms; /* the collection's window length: tells a memtable row's window */
    const struct query_peer_row *peer;
};

/** The id as the store sorts it. */
const uint8_t *query_row_key(const struct query_row *row, size_t *key_bytes);
/** Orders rows by their ids, as scrolling does, whichever process they come from. */
int query_row_compare_ids(const struct query_row *a, const struct query_row *b);
/** Whether it has no vector. Of a peer's row it is known only when its vector was asked for. */
bool query_row_is_bare(const struct query_row *row);
/** Position in its partition. */
int64_t query_row_offset(const struct query_row *row);
int64_t query_row_time_ms(const struct query_row *row);
/** The record's own TTL, 0: none. */
int64_t query_row_ttl_ms(const struct query_row *row);
/** Whether both are the same record. */
bool query_row_same(const struct query_row *a, const struct query_row *b);
/** The row's payload as a document in `arena` (an empty map at least), its vector as float32 (in
 * `arena` when it is stored otherwise; NULL: it has none), its id. The operation must have asked for them (struct
 * query_wants). */
int query_row_payload(const struct query_row *row, struct arena *arena, struct doc *payload,
                      struct error *error);
int query_row_vector(const struct query_row *row, struct arena *arena, const float **vector,
                     struct error *error);
struct doc query_row_id(const struct query_row *row, struct arena *arena);
/** The payload together with the sparse vectors by name, as parts_read makes them. Whoever wants them
 * asks for the payload. */
int query_row_body(const struct query_row *row, struct arena *arena, struct doc *payload,
                   struct doc *parts, struct error *error);
/** Start of the window the row belongs to. */
int64_t query_row_window_ms(const struct query_row *row);

/** Stored payload bytes of the row to a document; ERROR_CORRUPT when they are none. */
int query_payload_decode(const struct query_row *row, const uint8_t *bytes, size_t size_bytes,
                         struct arena *arena, struct doc *payload, struct error *error);
/** The same with the row's parts behind it; `parts` may be NULL. */
int query_body_decode(const struct query_row *row, const uint8_t *bytes, size_t size_bytes,
                      struct arena *arena, struct doc *payload, struct doc *parts,
                      struct error *error);

#endif
