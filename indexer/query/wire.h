/* wire: operations and their results as documents, for requests to peers and their answers. Inside
 * the room only.
 *
 * A request is MessagePack, [shard names, request], and so is an answer. Behind both stand eight
 * bytes: their XXH3 in little-endian order.
 *
 *     request   {"v": version, "collection", "dim", "now_ms", "timeout_ms", "min_offsets": {shard: offset},
 *                "op": {"do": NAME, "needs": the lowest version that has all of it, if not 1, ...}}
 *     answer    {"v": the request's, "collection", "dim", "shards": [[name, next offset, watermark,
 *                [[step, rest], ...], lacks records, known offset, generation], ...], "result": {...}}
 *                                        of the shards that the node has; others it does not serve
 *               {"v": 1, "error": [code, text]}    the request's time is over
 *     row       [key, shard, event time, offset, start of the window, score, order, rest of the
 *                order, payload or null, vector or null, the record's own TTL or 0]
 *
 * lacks records: others have more of the shard, or its partition stopped; it is known to go up to the known
 * offset. [step, rest]: the residues of the shard's ids, by enum key_hash (store/files/residues.h). The generation is that
 * of the consumer group in which the shard was assigned to the node; 0: not known. Nodes of windrow 0.2 and before leave
 * these four out.
 *
 * `shard` of a row is a place in the answer's shards. Keys, payloads (as they are stored) and vectors
 * (little-endian float32) are bytes. A sender puts in what its version knows; a reader ignores keys
 * that it does not know inside results and refuses unknown operations, so that the version only
 * rises when a meaning changes. */
#ifndef INDEXER_QUERY_WIRE_H
#define INDEXER_QUERY_WIRE_H

#include "base/doc.h"
#include "indexer/query/peers.h"
#include "indexer/query/query.h"
#include "store/files/residues.h"

/* Rows that a peer is asked for and may answer at once: the largest page of a caller, and the row behind it, by
 * which the start of the next page is known. */
enum { WIRE_ROWS_MAX = QUERY_LIMIT_MAX + 1 };

/** Appends the checksum of everything that was appended since `first`. */
void wire_seal(struct buffer *buffer, size_t first);
/** Takes the checksum off a body. ERROR_INVALID: it does not fit. */
int wire_open(const void *body, size_t *body_bytes, struct error *error);

/* The bytes stay where they are. */
struct doc wire_bytes(const void *bytes, size_t size_bytes);
struct doc wire_text(const char *text);

/** The `v` of a request or an answer. ERROR_INVALID: this process does not understand it. */
int wire_get_version(const struct doc *map, int64_t *version, struct error *error);
/** The value of a key with the type that is wanted. ERROR_INVALID names the key. */
int wire_get(const struct doc *map, const char *key, enum doc_type type, const struct doc **value,
             struct error *error);
int wire_get_i64(const struct doc *map, const char *key, int64_t *value, struct error *error);
/** At most `max`. */
int wire_get_u32(const struct doc *map, const char *key, uint32_t max, uint32_t *value,
                 struct error *error);
/** Any number but NaN: thresholds and values of payloads may be infinite. */
int wire_get_double(const struct doc *map, const char *key, double *value, struct error *error);
/** False where it is absent. */
bool wire_get_bool(const struct doc *map, const char *key);

/** A row that is of this process. `shard`: its place in the answer. */
int wire_from_hit(const struct query_hit *hit, uint32_t shard, uint32_t dim,
                  struct query_wants wants, struct arena *arena, struct doc *row,
                  struct error *error);
/** What a peer sent; everything is checked. `shards` are the names of the answer's shards. */
int wire_to_hit(const struct doc *row, const char *const *shards, size_t shard_count, uint32_t dim,
                struct query_wants wants, struct arena *arena, struct query_hit *hit,
                struct error *error);

/** What the ids of a shard have in common, as an entry of an answer's shards tells it. */
struct doc wire_from_residues(const struct key_residues *residues, struct arena *arena);
/** Of such an entry; false where it is not sound. */
bool wire_to_residues(const struct doc *shard, struct key_residues *residues);

/* Whether the shard that was answered for lacks records, and how far it is known to go. */
struct wire_lack {
    bool lacks;
    int64_t known_offset;
};

bool wire_to_lack(const struct doc *shard, struct wire_lack *lack);
bool wire_to_generation(const struct doc *shard, int32_t *generation);

/* The operations: what is sent, and the same read at the other end. */

/** The lowest version of the exchange in which the operation can be asked. */
int wire_needs(const struct doc *op);
struct doc wire_from_search(const struct query_search *search, uint32_t limit, uint32_t dim,
                            struct arena *arena);
/** {"do": "searches"}: such operations, which are answered together. */
struct doc wire_from_searches(const struct doc *searches, uint32_t count, struct arena *arena);
int wire_to_search(const struct doc *op, const struct config_collection *collection,
                   struct arena *arena, struct query_search *search, struct error *error);
struct doc wire_from_scroll(const struct query_scroll *scroll, uint32_t limit, struct arena *arena);
int wire_to_scroll(const struct doc *op, const struct config_collection *collection,
                   struct arena *arena, struct query_scroll *scroll, struct error *error);
struct doc wire_from_keys(const char *name, const struct query_key *keys, size_t count,
                          struct query_wants wants, struct arena *arena);
int wire_to_keys(const struct doc *op, struct arena *arena, struct query_key **keys, size_t *count,
                 struct query_wants *wants, struct error *error);
/** {"do": name, "filter", "key"}: a count, or a facet of a key. */
struct doc wire_from_filter(const char *name, const struct query_filter *filter, const char *key,
                            struct arena *arena);

/** The filter of an operation, compiled. */
int wire_to_filter(const struct doc *op, const struct config_collection *collection,
                   struct arena *arena, const struct query_filter **filter, struct error *error);

#endif
