/* Questions to a world: asked of a view, and answered by brute force over the model. */
#ifndef TESTS_INDEXER_QUERY_QUESTION_H
#define TESTS_INDEXER_QUERY_QUESTION_H

#include "tests/indexer/query/query_world.h"

enum { HOUR_MS = 3600000, K_MAX = 200 };
static const int64_t START_MS = 1760000000000 / HOUR_MS * HOUR_MS;

/* What a question asks for, for the model and for the search. */
struct question {
    const struct config_vector *extra; /* NULL: by the world's own vector */
    uint32_t vector_rows;              /* of a list */
    float vector[WORLD_DIM_MAX];
    uint32_t limit, offset, ef;
    double recall;
    bool exact;
    int64_t number_below; /* payload n < this; 0: any */
    float near_from, near_to;
    bool has_near;
    int64_t from_ms, to_ms; /* 0, 0: open */
    int64_t half_life_ms;
    bool has_threshold;
    float threshold;
};

struct answer {
    uint64_t ids[K_MAX];
    float scores[K_MAX];
    size_t count;
    struct query_result result;
};

struct recall {
    size_t right, wanted;
};

/** A world of 12 dimensions and windows of an hour, at START_MS. */
void question_open_world(struct world *world, enum vector_metric metric, size_t shards,
                         int64_t ttl_ms, uint64_t seed);
void question_random(struct world *world, struct question *question);
void question_ask(struct query_view *view, const struct question *question, struct answer *answer);
/** What the view is asked. */
struct query_search question_search(const struct question *question, struct arena *arena);
/** Asserts that the answer holds nothing invisible, misses nothing, and is exact where it must be;
 * counts how right it is where it need not. */
void question_ask_and_check(struct world *world, struct query_view *view,
                            const struct question *question, struct recall *recall);

#endif
