/* gather: one operation at the peers of a view, around the same operation on the shards that are
 * open here. Inside the room only.
 *
 *     gather_start(&gather, view, arena, op)     sends
 *     ... the shards of this process ...
 *     gather_finish(&gather, take, context)      `take` reads the result of each node
 *
 * Without peers, or with nothing to ask them for, both do nothing. */
#ifndef INDEXER_QUERY_GATHER_H
#define INDEXER_QUERY_GATHER_H

#include "indexer/query/view.h"
#include "indexer/query/wire.h"

/* What a node answered, while `take` reads it. */
struct gather_answer {
    const char *node;         /* NULL: this process; in the gather's arena */
    const struct doc *result; /* in the gather's arena */
    const char **shards;      /* names that rows refer to; valid until the view closes */
    size_t shard_count;
};

struct gather {
    struct query_view *view;
    struct arena *arena; /* for answers */
    struct query_exchange *exchange;
    struct query_peer_call call;
    struct buffer body;
    /* Not 0: the answer is not sound. It must not have changed anything then. */
    int (*take)(void *context, const struct gather_answer *answer, struct error *error);
    void *context;
    struct error failure; /* a node ran out of the request's time */
};

/** Whether the view has shards that peers are asked for. */
bool gather_needed(const struct query_view *view);
/** The version of the exchange with them. */
int gather_protocol(const struct query_view *view);
/** `op` is used before it returns. */
void gather_start(struct gather *gather, struct query_view *view, struct arena *arena,
                  const struct doc *op);
/** Waits and reads the answers; `local` is the outcome of this process's own part: not 0 cancels the
 * exchange. Returns it, or the error of the operation. Under the view's `whole`, ERROR_UNAVAILABLE
 * when a shard stayed without an answer. */
int gather_finish(struct gather *gather, int local,
                  int (*take)(void *context, const struct gather_answer *answer,
                              struct error *error),
                  void *context, struct error *error);

/* Hits of one operation, in their order. */
struct hit_list {
    struct query_hit *hits;
    size_t count;
};

/** Leaves the newest version of each id in each list, as all shards of the view have it, those of peers too: hits
 * whose id has a newer version leave, wherever that is. After an operation that brought the hits. Only shards
 * that may hold an id by their residues are looked at; peers get one question for each 100,000 hits if there are
 * any. Ends with the request only: a shard that is wanted back ends no search. */
int query_keep_newest(struct query_view *view, struct hit_list *const *lists, size_t list_count,
                      struct arena *arena, struct error *error);

/** The hits of an answer's {"hits": [...]}, in `arena`. */
int gather_hits(const struct gather_answer *answer, uint32_t dim, struct query_wants wants,
                struct arena *arena, struct query_hit **hits, size_t *count, struct error *error);

/* Operations on the view's own shards for a peer: `op` was checked to be one, what is put into
 * `result` is what the matching `take` reads. */
int answer_search(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error);
int answer_searches(struct query_view *view, const struct doc *op, struct arena *arena,
                    struct doc *result, struct error *error);
int answer_scroll(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error);
int answer_count(struct query_view *view, const struct doc *op, struct arena *arena,
                 struct doc *result, struct error *error);
int answer_facet(struct query_view *view, const struct doc *op, struct arena *arena,
                 struct doc *result, struct error *error);
int answer_find(struct query_view *view, const struct doc *op, struct arena *arena,
                struct doc *result, struct error *error);
int answer_totals(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error);
int answer_describe(struct query_view *view, const struct doc *op, struct arena *arena,
                    struct doc *result, struct error *error);
int answer_locate(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error);
int answer_wait(struct query_view *view, const struct doc *op, struct arena *arena,
                struct doc *result, struct error *error);

/** Puts {"hits"}, {"windows"}, {"partial"} and the explanations of a result. */
int answer_result(const struct query_view *view, const struct query_result *result,
                  struct query_wants wants, struct arena *arena, struct doc *map,
                  struct error *error);
/** Adds those of an answer, without the hits, to the result. */
int gather_result(const struct gather_answer *answer, struct arena *arena,
                  struct query_result *result, struct error *error);

#endif
