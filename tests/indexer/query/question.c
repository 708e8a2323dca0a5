#include "tests/indexer/query/question.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool question_matches(const struct question *question, const struct world_record *record)
{
    if (question->number_below && record->number >= question->number_below)
        return false;
    if (question->has_near &&
        (record->near < question->near_from || record->near > question->near_to))
        return false;
    return (question->from_ms == 0 && question->to_ms == 0) ||
           (record->time_ms >= question->from_ms && record->time_ms < question->to_ms);
}

static bool lowest_is_best(const struct world *world, const struct question *question)
{
    return question->extra ? question->extra->metric == VECTOR_METRIC_L2
                           : world_has_distances(world);
}

static double model_order(const struct world *world, const struct question *question,
                          const struct world_record *record)
{
    double score =
        (double)(question->extra ? world_extra_score(world, question->extra, question->vector,
                                                     question->vector_rows, record)
                                 : world_score(world, question->vector, record));
    double decay = 1;

    if (question->half_life_ms > 0 && record->time_ms < atomic_load(&world->clock.now_ms))
        decay = exp2(-(double)(atomic_load(&world->clock.now_ms) - record->time_ms) /
                     (double)question->half_life_ms);
    return lowest_is_best(world, question) ? -score / decay : score * decay;
}

static int descending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left < right) - (left > right);
}

/* Orders of all matching rows, best first; the caller frees. */
static double *model_answer(const struct world *world, const struct question *question,
                            size_t *count)
{
    double *orders = malloc((world->record_count + 1) * sizeof(*orders));

    *count = 0;
    for (size_t i = 0; i < world->record_count; i++) {
        const struct world_record *record = &world->records[i];
        double order;
        if (!world_visible(world, record) || !world_has_vector(world, question->extra, record) ||
            !question_matches(question, record))
            continue;
        order = model_order(world, question, record);
        if (question->has_threshold &&
            (lowest_is_best(world, question) ? -order >= (double)question->threshold
                                             : order <= (double)question->threshold))
            continue;
        orders[(*count)++] = order;
    }
    qsort(orders, *count, sizeof(*orders), descending);
    return orders;
}

enum { FILTER_BYTES = 300 };

static void filter_json(const struct question *question, char *out, size_t out_bytes)
{
    int used = snprintf(out, out_bytes, "{\"must\":[{}");

    if (question->number_below)
        used +=
            snprintf(out + used, out_bytes - (size_t)used,
                     ",{\"key\":\"n\",\"range\":{\"lt\":%lld}}", (long long)question->number_below);
    if (question->has_near)
        used += snprintf(out + used, out_bytes - (size_t)used,
                         ",{\"key\":\"near\",\"range\":{\"gte\":%.9g,\"lte\":%.9g}}",
                         (double)question->near_from, (double)question->near_to);
    snprintf(out + used, out_bytes - (size_t)used, "]}");
}

struct query_search question_search(const struct question *question, struct arena *arena)
{
    struct query_search search = {.extra = question->extra,
                                  .vector = question->vector,
                                  .vector_rows = question->vector_rows,
                                  .limit = question->limit,
                                  .offset = question->offset,
                                  .ef = question->ef,
                                  .recall = question->recall,
                                  .exact = question->exact,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .half_life_ms = question->half_life_ms,
                                  .has_threshold = question->has_threshold,
                                  .threshold = question->threshold,
                                  .arena = arena};
    char *json;

    if (question->from_ms || question->to_ms) {
        search.from_ms = question->from_ms;
        search.to_ms = question->to_ms;
    }
    if (question->number_below || question->has_near) {
        json = arena_alloc(arena, FILTER_BYTES, 1); /* the filter's document lies in it */
        filter_json(question, json, FILTER_BYTES);
        search.filter = world_filter(arena, json);
    }
    return search;
}

void question_ask(struct query_view *view, const struct question *question, struct answer *answer)
{
    struct arena arena;
    struct error error = {0};
    struct query_search search;

    arena_create(&arena, 0);
    search = question_search(question, &arena);
    ck_assert_msg(query_search_run(view, &search, &answer->result, &error) == 0, "%s", error.text);
    ck_assert_uint_le(answer->result.hit_count, K_MAX);
    answer->count = answer->result.hit_count;
    for (size_t i = 0; i < answer->count; i++) {
        answer->ids[i] = world_hit_id(&answer->result.hits[i].row);
        answer->scores[i] = answer->result.hits[i].score;
    }
    arena_destroy(&arena);
    answer->result.hits = NULL;
}

/* Everything that must hold for any answer; returns how many of the true top are in it. */
static size_t check_answer(const struct world *world, const struct question *question,
                           const struct answer *answer, const double *orders, size_t matching)
{
    double sign = lowest_is_best(world, question) ? -1 : 1;
    size_t wanted = matching > question->offset ? matching - question->offset : 0;
    size_t right = 0;

    if (wanted > question->limit)
        wanted = question->limit;
    ck_assert_msg(answer->count == wanted, "%zu hits for %zu matching rows, limit %u",
                  answer->count, matching, question->limit);
    for (size_t i = 0; i < answer->count; i++) {
        const struct world_record *record = world_find(world, answer->ids[i]);
        double order = sign * (double)answer->scores[i];
        double tolerance = 1e-4 * fmax(1, fabs(order));
        ck_assert_msg(record && world_visible(world, record) &&
                          world_has_vector(world, question->extra, record),
                      "id %llu is not visible", (unsigned long long)answer->ids[i]);
        ck_assert(question_matches(question, record));
        ck_assert_double_eq_tol(order, model_order(world, question, record), tolerance);
        for (size_t j = 0; j < i; j++)
            ck_assert_msg(answer->ids[j] != answer->ids[i], "id %llu twice",
                          (unsigned long long)answer->ids[i]);
        if (i > 0)
            ck_assert_double_ge(sign * (double)answer->scores[i - 1], order);
        if (question->exact || question->extra)
            ck_assert_double_eq_tol(order, orders[question->offset + i], tolerance);
        right += order >= orders[question->offset + wanted - 1] - tolerance;
    }
    return right;
}

void question_ask_and_check(struct world *world, struct query_view *view,
                            const struct question *question, struct recall *recall)
{
    struct answer answer;
    size_t matching, right;
    double *orders = model_answer(world, question, &matching);

    question_ask(view, question, &answer);
    ck_assert(!answer.result.partial);
    right = check_answer(world, question, &answer, orders, matching);
    if (!question->exact && !question->extra) {
        recall->right += right;
        recall->wanted += answer.count;
    }
    free(orders);
}

void question_random(struct world *world, struct question *question)
{
    static const int64_t below[] = {0, 0, 0, 1, 10, 100, 1000, 5000, 10000};
    uint64_t dice = test_random(&world->random);

    *question = (struct question){.limit = 1 + (uint32_t)(dice % 20),
                                  .ef = 32,
                                  .exact = dice >> 8 & 1,
                                  .number_below = below[(dice >> 16) % 9]};
    world_random_vector(world, question->vector);
    if ((dice >> 24) % 4 == 0)
        question->offset = (uint32_t)(dice >> 32) % 10;
    if ((dice >> 40) % 4 == 0) {
        /* With the query's own direction or against it. */
        bool along = dice >> 44 & 1;
        question->has_near = true;
        question->vector[0] = world->collection.metric == VECTOR_METRIC_HAMMING ? 1 : 0.8F;
        question->near_from = along ? 0.3F : -2.0F;
        question->near_to = along ? 2.0F : -0.3F;
    }
    if ((dice >> 48) % 4 == 0) {
        question->extra = &world->extras[dice >> 50 & 1];
        question->vector_rows = question->extra->multiple ? 1 + (uint32_t)(dice >> 51 & 1) : 1;
    }
}

void question_open_world(struct world *world, enum vector_metric metric, size_t shards,
                         int64_t ttl_ms, uint64_t seed)
{
    struct world_options options = {.shard_count = shards,
                                    .dim = 12,
                                    .metric = metric,
                                    .window_ms = HOUR_MS,
                                    .ttl_ms = ttl_ms,
                                    .seed = seed};

    world_open(world, &options);
    atomic_store(&world->clock.now_ms, START_MS);
}
