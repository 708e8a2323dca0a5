/* A world for query tests: a real store with its shards, real segments, a clock that stands still
 * until it is moved, and a model of what must be visible. */
#ifndef TESTS_INDEXER_QUERY_QUERY_WORLD_H
#define TESTS_INDEXER_QUERY_QUERY_WORLD_H

#include <stdatomic.h>

#include "indexer/query/query.h"
#include "tests/support/test_main.h"

enum { WORLD_SHARDS_MAX = 4, WORLD_DIM_MAX = 32 };
/* Every world has extra vectors "one" and "list" of this dimension. */
enum { WORLD_EXTRAS = 2, WORLD_EXTRA_DIM = 4, WORLD_LIST_MAX = 3 };

struct world_record {
    uint64_t id;
    bool alive;
    bool bare; /* it has no vector: no search may return it */
    size_t shard;
    int64_t time_ms, ttl_ms, offset;
    int64_t number;                    /* payload "n": 0 to 9,999 */
    float near;                        /* payload "near": the first coordinate as it came */
    float vector[WORLD_DIM_MAX];       /* as it is stored */
    uint32_t extra_rows[WORLD_EXTRAS]; /* 0: it lacks that vector */
    float extras[WORLD_EXTRAS][WORLD_LIST_MAX * WORLD_EXTRA_DIM]; /* likewise */
};

struct world_io {
    struct io io;
    struct io_operations operations;
    _Atomic int64_t now_ms;
};

struct world {
    const struct query_describer *describer; /* Of views; NULL: there is none. */
    struct world_io clock;
    char folder[200];
    struct store *store;
    struct store_shard *shards[WORLD_SHARDS_MAX];
    int64_t next_offset[WORLD_SHARDS_MAX];
    size_t shard_count;
    struct config_collection collection;
    struct config_vector extras[WORLD_EXTRAS];
    struct store_registry *registry;
    struct thread_pool *pool;     /* shares out the smallest search */
    struct world_record *records; /* by id: the newest version; not alive when there is none */
    size_t record_count;
    uint64_t random;
};

struct world_options {
    size_t shard_count;
    uint32_t dim;
    enum vector_metric metric;
    int64_t window_ms, ttl_ms;
    uint64_t seed;
};

/** Threads that help searches, however small. */
struct thread_pool *world_pool(void);

void world_open(struct world *world, const struct world_options *options);
void world_close(struct world *world);
/** Closes the store, with a flush, and opens it again. */
void world_restart(struct world *world);

/** Appends one record to a shard (and the model); vector NULL: a random one. Payload: {"n": number,
 * "near": first coordinate, "tag": "t<n % 10>"}. */
void world_upsert(struct world *world, size_t shard, uint64_t id, int64_t time_ms, int64_t ttl_ms,
                  const float *vector);
/** One without a vector. */
void world_upsert_bare(struct world *world, size_t shard, uint64_t id, int64_t time_ms,
                       int64_t ttl_ms);
/** A random vector, and `near` as the payload has it: any number. */
void world_upsert_near(struct world *world, size_t shard, uint64_t id, int64_t time_ms, float near);
void world_delete(struct world *world, size_t shard, uint64_t id, int64_t time_ms);
/** One of these three, by chance: in ten a delete, and one without a vector. */
void world_change(struct world *world, size_t shard, uint64_t id, int64_t time_ms, uint64_t dice);
void world_flush(struct world *world, size_t shard);
void world_seal(struct world *world, size_t shard, int64_t time_ms);
/** Builds and attaches a segment to the sealed run of the window: a graph. */
void world_index(struct world *world, size_t shard, int64_t time_ms);
/** The same with lists (IVF-PQ), or back with a graph. */
void world_index_as(struct world *world, size_t shard, int64_t time_ms, bool lists);
/** Builds and attaches graphs to unsealed files of that many rows that have none. Returns how many.
 */
size_t world_index_chunks(struct world *world, size_t shard, uint32_t min_rows);
/** Builds and attaches a span over the sealed windows that begin in [from_ms, to_ms). False when
 * there are none, or most of them were dropped or resealed meanwhile. */
bool world_span(struct world *world, size_t shard, int64_t from_ms, int64_t to_ms, uint8_t tier,
                bool lists);
void world_drop(struct world *world, size_t shard, int64_t time_ms);

/** Whether the model has the record now. */
bool world_visible(const struct world *world, const struct world_record *record);
const struct world_record *world_find(const struct world *world, uint64_t id);
float world_uniform(struct world *world); /* [-1, 1) */
void world_random_vector(struct world *world, float *vector);
/** Whether the lowest score is the best. */
bool world_has_distances(const struct world *world);
/** Score as a user sees it. */
float world_score(const struct world *world, const float *query, const struct world_record *record);
/** The same by an extra vector, for `rows` vectors of a query; the record has it. */
float world_extra_score(const struct world *world, const struct config_vector *extra,
                        const float *query, uint32_t rows, const struct world_record *record);
/** Whether the record has what is ranked by: NULL is the world's own vector. */
bool world_has_vector(const struct world *world, const struct config_vector *extra,
                      const struct world_record *record);

struct query_view *world_view(struct world *world);
const struct query_filter *world_filter(struct arena *arena, const char *json);
uint64_t world_hit_id(const struct query_row *row);

#endif
