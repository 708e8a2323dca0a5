/* Writes on their way into Kafka: a list of them, where each goes, and what became of it. */
#ifndef INDEXER_ENDPOINT_REST_WRITE_H
#define INDEXER_ENDPOINT_REST_WRITE_H

#include "indexer/endpoint/rest/parse.h"

enum { WRITE_POINTS_MAX = 100000, WRITE_FILTER_PAGE = 1000 };

struct write_list {
    struct rest_write *writes;
    struct query_key *ids; /* of the writes */
    size_t count;
    size_t capacity;
};

/** A delete of that id. Upserts are made of it: the one place where a write gets its key. */
struct rest_write *write_add(struct arena *arena, struct write_list *list, const uint8_t *key,
                             size_t key_bytes);

#define WRITE_NOW INT64_MIN

/* A record as a whole. */
struct write_record {
    struct query_key id;
    const float *vector; /* NULL: it has none */
    const struct doc
        *parts; /* vectors beside the own one by name, as parts_write takes them; NULL: none */
    const struct doc *payload; /* NULL: none */
    int64_t time_ms;           /* the event time if the payload has none, or WRITE_NOW */
    int64_t ttl_ms;            /* its own, 0: none */
    bool packed;               /* the vector as bytes, where the collection takes MessagePack */
};

/** Adds an upsert, as a JSON text, or MessagePack where the collection or the payload needs it. */
int write_add_record(struct http_request *request, struct arena *arena,
                     const struct config_collection *collection, const struct write_record *record,
                     struct write_list *list, struct rest_write **write, struct error *error);

/* What a request writes (write_parse.c). All of it lies in the arena. */

/** The collection, the body and its extras. */
int write_open(struct http_request *request, const struct config_collection **collection,
               struct doc *body, struct parse_extras *extras, struct error *error);

struct write_point {
    struct query_key id;
    const float *vector;       /* NULL: it was not given */
    const struct doc *parts;   /* as of struct write_record */
    const struct doc *payload; /* NULL: none */
};

/** The `points` or the `batch` of a body that fits its schema. What ingest would make a dead letter
 * is refused here, while somebody listens. */
int write_parse_points(struct arena *arena, const struct config_collection *collection,
                       const struct doc *body, struct write_point **points, size_t *count,
                       struct error *error);
/** {"must": [filter, {"has_id": ids}]}: points of these that match. */
struct doc write_filter_of_ids(struct arena *arena, const struct doc *filter,
                               const struct query_key *ids, size_t count);
/** As many keys as `ids` has items. */
int write_parse_ids(struct arena *arena, const struct doc *ids, struct query_key **keys,
                    struct error *error);

/** Whether the body is rows of float32 (application/octet-stream). */
bool write_is_raw(const struct http_request *request);
/** Adds an upsert for each row of such a body; all of them are checked before. */
int write_add_raw(struct http_request *request, const struct config_collection *collection,
                  struct write_list *list, struct error *error);

/** Whether the collection has one shard, and the view has it: nobody has to be asked where an id lies. */
bool write_has_one_place(const struct query_view *view);
/** Sends the write to the partition of that shard. False: its topic left the configuration. */
bool write_send_to(const struct config_collection *collection, const char *shard,
                   struct rest_write *write);

/** The write counts only while its id has the version that the view saw in that shard, at `offset`;
 * STORE_EXPECT_NONE: while it has none. `shard` NULL: where it is written is not known yet. */
void write_expect(struct rest_write *write, const struct query_view *view, const char *shard,
                  int64_t offset);
/** Whether that was so no longer, or is not known: whoever read the version has to read again. NULL:
 * the write was not refused. */
bool write_is_superseded(const char *refused);

/** Returns when Kafka has answered for every message. */
int write_produce(struct http_request *request, const struct config_collection *collection,
                  struct write_list *list, struct error *error);

/** Waits until all of it is searchable, and tells what became of it: one entry a write. */
int write_wait(struct http_request *request, const struct config_collection *collection,
               const struct write_list *list, int64_t timeout_ms, struct query_written **written,
               struct error *error);
/** Names the first one that was not stored. */
int write_check_stored(const struct write_list *list, const struct query_written *written,
                       struct error *error);

/** Sends each to where its id lives, and waits if `wait`. `operation` is the largest offset. */
int write_commit(struct http_request *request, const struct config_collection *collection,
                 struct write_list *list, bool wait, int64_t timeout_ms, int64_t *operation,
                 const char **status, struct error *error);

/* Updates: records that are read, changed, and written back for the version that was read
 * (points_update.c). */

enum update_kind {
    UPDATE_SET,       /* payload keys put in */
    UPDATE_OVERWRITE, /* the payload becomes another one */
    UPDATE_REMOVE,    /* payload keys taken out */
    UPDATE_CLEAR,
    UPDATE_VECTORS,
    UPDATE_REMOVE_VECTORS, /* sparse ones taken out */
    UPDATE_UPSERT,         /* as a whole, under a condition */
    UPDATE_KINDS
};

struct update;

/** Reads `body`, a request's or an operation's of a batch, into the request's arena. */
int update_parse(struct http_request *request, const struct config_collection *collection,
                 enum update_kind kind, const struct doc *body, struct update **update,
                 struct error *error);
/** Returns when all of it is searchable. *operation becomes the largest offset that was written, if
 * that is larger. ERROR_BUSY: others changed the same points all the time. */
int update_run(struct update *update, int64_t timeout_ms, int64_t *operation, struct error *error);
/** Whether an upsert has to see what is stored. */
bool update_is_conditional(const struct doc *upsert);

/* Removals (points_remove.c). */

/** Deletes the points that match now, in the versions that do: what another producer writes meanwhile
 * is looked at again, and stays unless it matches, too. Returns when all of it is searchable.
 * *operation as of update_run. ERROR_BUSY: the same points were changed all the time. `filter` may be
 * NULL. */
int write_delete_matching(struct http_request *request, const struct config_collection *collection,
                          const struct doc *filter, const struct parse_extras *extras,
                          int64_t *operation, struct error *error);

#endif
