/* Request bodies into the structs of query.h. Every function fills an error whose text is what the
 * client reads: Qdrant's wording where Qdrant has one, with the JSON path where a value is wrong.
 */
#ifndef INDEXER_ENDPOINT_REST_PARSE_H
#define INDEXER_ENDPOINT_REST_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/doc.h"
#include "indexer/endpoint/rest/handlers.h"
#include "indexer/query/query.h"
#include "net/http/http.h"

struct store_key;

/* Which parts of a point the reply carries. */
struct parse_selector {
    bool payload;              /* any of it */
    const struct doc *include; /* array of paths, or NULL: all */
    const struct doc *exclude; /* array of paths, or NULL: none */
    bool vector;               /* the collection's own */
    bool parts;                /* any of those beside it */
    const struct doc *names;   /* array of the vectors that are wanted, or NULL: all */
    const char *order_by;      /* replies carry what they are ordered by; NULL: by something else */
    bool place;                /* where the record lies: the request's windrow.place */
};

static inline struct query_wants parse_wants(const struct parse_selector *selector)
{
    return (struct query_wants){.payload = selector->payload || selector->parts,
                                .vector = selector->vector};
}

/* The `windrow` key of a request and ?timeout=. */
struct parse_extras {
    int64_t from_ms, to_ms;
    int64_t half_life_ms;
    double recall; /* 0: the collection's */
    int64_t timeout_ms;
    bool partial; /* of a search: what was found when the time was over */
    struct query_min_offset *min_offsets;
    size_t min_offset_count;
    bool explain;
    bool local;    /* answered by this process alone */
    bool complete; /* "require": "complete": an answer that leaves shards out is an error */
};

int parse_extras(struct http_request *request, const struct doc *body, struct parse_extras *extras,
                 struct error *error);
/** with_payload and with_vector (alias with_vectors) with the call's default for the payload. */
int parse_selector(const struct config_collection *collection, const struct doc *body,
                   bool payload_default, struct parse_selector *selector, struct error *error);
/** All vectors of a point. */
void parse_select_vectors(const struct config_collection *collection,
                          struct parse_selector *selector);
/** limit with its default; absurd values are refused with a 422 that names them. */
int parse_limit(const struct doc *body, uint32_t fallback, uint32_t *limit, struct error *error);
/** A number of at most `max`; `key` may be a path, whose last part `body` has: "hnsw_config.m". */
int parse_u32(const struct doc *body, const char *key, uint32_t fallback, uint32_t max,
              uint32_t *value, struct error *error);
int parse_filter(struct http_request *request, const struct doc *body,
                 const struct query_filter **filter, struct error *error);
/** What is wrong with a filter, as the client reads it. */
int parse_filter_fault(const struct error *fault, struct error *error);
/** A point id: an unsigned integer or a UUID or another string. */
int parse_id(const struct doc *doc, struct store_key *key, struct error *error);
/** "Not existing vector name error: ..." */
int parse_no_such_vector(const struct doc *name, struct error *error);
/** The same for a vector without a name where the collection's has one. */
int parse_no_unnamed_vector(const struct config_collection *collection, struct error *error);
/** The vector's `dim` floats in the arena out of an array (or {"": [...]}, the unnamed vector). */
int parse_vector(struct arena *arena, const struct doc *doc, const char *where,
                 const struct config_vector *vector, const float **values, struct error *error);
/** The same of a vector that is a list: *rows of them, one after the other. */
int parse_vector_list(struct arena *arena, const struct doc *doc, const char *where,
                      const struct config_vector *vector, const float **values, uint32_t *rows,
                      struct error *error);

/** order_by as "key" or {key, direction, start_from}; NULL leaves the scroll in id order. */
int parse_order_by(const struct doc *order_by, struct arena *arena, struct query_scroll *scroll,
                   struct error *error);
/** What the scroll has to bring for what a reply shows, also of its order. */
void parse_ordered_selector(struct query_scroll *scroll, struct parse_selector *selector);
/** Refuses a string that is no payload path; it would lead nowhere. */
int parse_path(const struct doc *path, const char *where, struct error *error);
/** The seconds of `?timeout` as milliseconds, at most ten minutes; `otherwise_ms` without it. */
int64_t parse_timeout_ms(struct http_request *request, int64_t otherwise_ms);
/** Reads the extras, then opens the view they ask for. */
int parse_view(struct http_request *request, const struct doc *body,
               const struct config_collection *collection, struct parse_extras *extras,
               struct query_view **view, struct error *error);
/** The same for extras that are parsed, and only with every shard of the collection: for what would
 * be wrong in part. */
int parse_whole_view(struct http_request *request, const struct config_collection *collection,
                     const struct parse_extras *extras, struct query_view **view,
                     struct error *error);
/** Fills in what the server knows, then opens the view; others are served while it waits. `local`: no
 * peer is asked. */
int parse_open_view(struct http_request *request, struct query_view_options *options, bool local,
                    struct query_view **view, struct error *error);

/** Collection, body as the route's schema wants it, with vectors in place of words (words.h), and the view
 * it asks for. */
int parse_open(struct http_request *request, struct doc *body,
               const struct config_collection **collection, struct parse_extras *extras,
               struct query_view **view, struct error *error);

#endif
