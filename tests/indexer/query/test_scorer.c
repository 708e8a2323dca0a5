/* Searches by several examples, compared with the formulas over every record: a window with a graph, one
 * with lists, and rows of today. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/indexer/query/question.h"

enum {
    DIM = 12,
    ROWS = TEST_SANITIZED ? 800 : 4000, /* of each window */
    EXAMPLES = 3,                       /* on each side */
    LIMIT = 10
};

struct scene {
    struct world world;
    float vector[DIM], examples[2 * EXAMPLES][DIM], weights[2 * EXAMPLES];
    struct query_search search;
    double *scores; /* of all records, best first; of the last search */
    size_t count;
};

static void scene_open(struct scene *scene, enum vector_metric metric)
{
    struct world *world = &scene->world;

    question_open_world(world, metric, 1, 0, test_seed());
    atomic_store(&world->clock.now_ms, START_MS + 3 * HOUR_MS);
    for (uint64_t id = 0; id < 3 * ROWS; id++)
        world_upsert(world, 0, id, START_MS + (int64_t)(id / ROWS) * HOUR_MS, 0, NULL);
    for (int window = 0; window < 2; window++) {
        world_seal(world, 0, START_MS + window * HOUR_MS);
        world_index_as(world, 0, START_MS + window * HOUR_MS, window == 1);
    }
    for (uint64_t id = 0; id < 3 * ROWS; id += 7) /* dead rows in all of them */
        world_delete(world, 0, id, START_MS + 2 * HOUR_MS);
    scene->scores = calloc(world->record_count, sizeof(*scene->scores));
}

static void scene_close(struct scene *scene)
{
    free(scene->scores);
    world_close(&scene->world);
}

/* Where higher is better, under L2 too. */
static double nearness(const struct scene *scene, const float *vector,
                       const struct world_record *record)
{
    double score = (double)world_score(&scene->world, vector, record);

    return scene->world.collection.metric == VECTOR_METRIC_L2        ? -score * score
           : scene->world.collection.metric == VECTOR_METRIC_HAMMING ? -score
                                                                     : score;
}

static double sigmoid(double x)
{
    return x / (1 + fabs(x));
}

static double model_score(const struct scene *scene, const struct world_record *record)
{
    enum query_scorer_kind kind = scene->search.scorer.kind;
    double best[2] = {-INFINITY, -INFINITY}, sum = 0, rank = 0, context = 0, weighted = 0;

    for (int i = 0; i < EXAMPLES; i++) {
        double p = nearness(scene, scene->examples[i], record);
        double n = nearness(scene, scene->examples[EXAMPLES + i], record);
        best[0] = fmax(best[0], p);
        best[1] = fmax(best[1], n);
        sum += p - n;
        rank += (p > n) - (p < n);
        context += sigmoid(fmin(p - n - 1.1920929e-7, 0));
        weighted += (double)scene->weights[i] * p + (double)scene->weights[EXAMPLES + i] * n;
    }
    switch (kind) {
    case QUERY_BEST_SCORE:
        return best[0] > best[1] ? (sigmoid(best[0]) + 1) / 2 : -(sigmoid(best[1]) + 1) / 2;
    case QUERY_SUM_SCORES:
        return sum;
    case QUERY_DISCOVER:
        return rank + (sigmoid(nearness(scene, scene->vector, record)) + 1) / 2;
    case QUERY_WEIGHTED_SCORES:
        return weighted;
    default:
        return context;
    }
}

static int descending(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left < right) - (left > right);
}

static void ask_the_model(struct scene *scene, int64_t number_below)
{
    scene->count = 0;
    for (size_t i = 0; i < scene->world.record_count; i++) {
        const struct world_record *record = &scene->world.records[i];
        if (world_visible(&scene->world, record) && record->number < number_below)
            scene->scores[scene->count++] = model_score(scene, record);
    }
    qsort(scene->scores, scene->count, sizeof(*scene->scores), descending);
}

/* Returns how many of the hits are among the best. */
static size_t check_answer(const struct scene *scene, const struct query_result *result)
{
    size_t right = 0;

    ck_assert_uint_eq(result->hit_count, LIMIT);
    for (size_t i = 0; i < result->hit_count; i++) {
        const struct world_record *record =
            world_find(&scene->world, world_hit_id(&result->hits[i].row));
        double score = (double)result->hits[i].score, tolerance = 1e-4 * fmax(1, fabs(score));
        ck_assert(record && world_visible(&scene->world, record));
        ck_assert_double_eq_tol(score, model_score(scene, record), tolerance);
        ck_assert(i == 0 || result->hits[i - 1].score >= result->hits[i].score);
        if (scene->search.exact)
            ck_assert_double_eq_tol(score, scene->scores[i], tolerance);
        right += score >= scene->scores[LIMIT - 1] - tolerance;
    }
    return right;
}

static void random_question(struct scene *scene, enum query_scorer_kind kind, struct arena *arena)
{
    for (int i = 0; i < 2 * EXAMPLES; i++)
        world_random_vector(&scene->world, scene->examples[i]);
    for (int i = 0; i < 2 * EXAMPLES; i++) /* more good than bad, as feedback is */
        scene->weights[i] = (i < EXAMPLES ? 1.0F : -0.5F) / (float)(1 + i % EXAMPLES);
    world_random_vector(&scene->world, scene->vector);
    scene->search = (struct query_search){.vector = kind == QUERY_DISCOVER ? scene->vector : NULL,
                                          .scorer = {.kind = kind,
                                                     .examples = scene->examples[0],
                                                     .positive_count = EXAMPLES,
                                                     .negative_count = EXAMPLES,
                                                     .weights = scene->weights},
                                          .limit = LIMIT,
                                          .from_ms = INT64_MIN,
                                          .to_ms = INT64_MAX,
                                          .explain = true,
                                          .arena = arena};
}

static bool went_through(const struct query_result *result, const char *source)
{
    for (size_t i = 0; i < result->explain_count; i++)
        if (strcmp(result->explain[i].source, source) == 0)
            return true;
    return false;
}

/* Share of the best rows that come back through the graph. */
static double check_scorer(struct scene *scene, enum query_scorer_kind kind)
{
    enum { QUESTIONS = 60 }; /* of 20 the share was below its bound in one run of a hundred */
    struct query_view *view = world_view(&scene->world);
    struct query_result result;
    struct error error = {0};
    size_t right = 0, graphs = 0;
    struct arena arena;

    arena_create(&arena, 0);
    for (int i = 0; i < QUESTIONS; i++) {
        bool filtered = i % 4 == 3;
        random_question(scene, kind, &arena);
        if (filtered)
            scene->search.filter =
                world_filter(&arena, "{\"must\":[{\"key\":\"n\",\"range\":{\"lt\":5000}}]}");
        ask_the_model(scene, filtered ? 5000 : INT64_MAX);
        scene->search.exact = true;
        ck_assert_int_eq(query_search_run(view, &scene->search, &result, &error), 0);
        (void)check_answer(scene, &result);
        ck_assert(!went_through(&result, "hnsw"));
        scene->search.exact = false;
        ck_assert_int_eq(query_search_run(view, &scene->search, &result, &error), 0);
        right += check_answer(scene, &result);
        graphs += went_through(&result, "hnsw");
        ck_assert(!went_through(&result, "ivf_pq"));
    }
    ck_assert(TEST_SANITIZED || graphs > 0);
    arena_destroy(&arena);
    query_view_close(view);
    return (double)right / (QUESTIONS * LIMIT);
}

static void check_metric(enum vector_metric metric)
{
    static const char *const names[] = {"",         "best_score", "sum_scores",
                                        "discover", "context",    "weighted"};
    static struct scene scene;

    scene_open(&scene, metric);
    for (enum query_scorer_kind kind = QUERY_BEST_SCORE; kind <= QUERY_WEIGHTED_SCORES; kind++) {
        double recall = check_scorer(&scene, kind);
        printf("%s: recall %.3f\n", names[kind], recall);
        ck_assert_double_ge(recall, 0.9);
    }
    scene_close(&scene);
}

START_TEST(cosine_examples_score_as_the_formulas_say)
{
    check_metric(VECTOR_METRIC_COSINE);
}
END_TEST

START_TEST(dot_examples_score_as_the_formulas_say)
{
    check_metric(VECTOR_METRIC_DOT);
}
END_TEST

START_TEST(l2_examples_score_as_the_formulas_say)
{
    check_metric(VECTOR_METRIC_L2);
}
END_TEST

START_TEST(hamming_examples_score_as_the_formulas_say)
{
    check_metric(VECTOR_METRIC_HAMMING);
}
END_TEST

/* Twice as old is half as good, and what a search found is scored by another as if that had found it. */
START_TEST(decay_thresholds_and_rescoring_hold_for_examples)
{
    static struct scene scene;
    struct query_view *view;
    struct query_result all, page, again;
    struct error error = {0};
    struct arena arena;

    scene_open(&scene, VECTOR_METRIC_L2);
    view = world_view(&scene.world);
    arena_create(&arena, 0);
    random_question(&scene, QUERY_DISCOVER, &arena);
    scene.search.half_life_ms = HOUR_MS;
    scene.search.limit = 50;
    scene.search.wants.vector = true;
    scene.search.exact = true;
    ck_assert_int_eq(query_search_run(view, &scene.search, &all, &error), 0);
    for (size_t i = 0; i < all.hit_count; i++) {
        const struct world_record *record =
            world_find(&scene.world, world_hit_id(&all.hits[i].row));
        double age = (double)(START_MS + 3 * HOUR_MS - record->time_ms) / HOUR_MS;
        ck_assert_double_eq_tol((double)all.hits[i].score, model_score(&scene, record) * exp2(-age),
                                1e-4);
    }
    scene.search.has_threshold = true;
    scene.search.threshold = all.hits[20].score;
    scene.search.offset = 2;
    scene.search.limit = 10;
    ck_assert_int_eq(query_search_run(view, &scene.search, &page, &error), 0);
    ck_assert_int_eq(query_rescore(view, &scene.search, all.hits, all.hit_count, &again, &error),
                     0);
    ck_assert_uint_eq(page.hit_count, 10);
    ck_assert_uint_eq(again.hit_count, page.hit_count);
    for (size_t i = 0; i < page.hit_count; i++) {
        ck_assert(query_row_same(&page.hits[i].row, &all.hits[2 + i].row));
        ck_assert(query_row_same(&again.hits[i].row, &page.hits[i].row));
        ck_assert_float_eq(again.hits[i].score, page.hits[i].score);
        ck_assert_float_gt(page.hits[i].score, scene.search.threshold);
    }
    arena_destroy(&arena);
    query_view_close(view);
    scene_close(&scene);
}
END_TEST

/* Each score fits a float32, their sums do not. */
START_TEST(sums_beyond_float32_are_its_largest_number)
{
    static struct scene scene;

    scene_open(&scene, VECTOR_METRIC_DOT);
    for (int i = 0; i < 2 * EXAMPLES; i++)
        for (uint32_t d = 0; d < DIM; d++)
            scene.examples[i][d] = i < EXAMPLES ? 5e18F : -5e18F;
    world_upsert(&scene.world, 0, scene.world.record_count, START_MS, 0, scene.examples[0]);
    for (int i = 0; i < 2 * EXAMPLES; i++)
        scene.weights[i] = i < EXAMPLES ? 3e38F : -3e38F;
    for (int kind = QUERY_BEST_SCORE; kind <= QUERY_WEIGHTED_SCORES; kind++) {
        struct query_view *view = world_view(&scene.world);
        float examples[2 * EXAMPLES * DIM];
        struct query_result result;
        struct error error = {0};
        struct arena arena;
        uint32_t dim = scene.world.collection.dim;
        bool pairs = kind == QUERY_DISCOVER || kind == QUERY_CONTEXT;
        struct query_search search = {.vector = kind == QUERY_DISCOVER ? scene.examples[0] : NULL,
                                      .scorer = {.kind = (enum query_scorer_kind)kind,
                                                 .examples = examples,
                                                 .positive_count = EXAMPLES,
                                                 .negative_count = EXAMPLES,
                                                 .weights = scene.weights},
                                      .limit = 5,
                                      .exact = true,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .arena = &arena};
        for (int i = 0; i < 2 * EXAMPLES; i++)
            memcpy(examples + (size_t)i * dim, scene.examples[i], dim * sizeof(float));
        arena_create(&arena, 0);
        ck_assert_msg(query_search_run(view, &search, &result, &error) == 0, "%s", error.text);
        ck_assert_uint_eq(result.hit_count, 5);
        for (size_t i = 0; i < result.hit_count; i++)
            ck_assert_msg(isfinite(result.hits[i].score), "scorer %d: %g", kind,
                          (double)result.hits[i].score);
        if (!pairs && kind != QUERY_BEST_SCORE)
            ck_assert_float_eq(result.hits[0].score, FLT_MAX);
        query_view_close(view);
        arena_destroy(&arena);
    }
    scene_close(&scene);
}
END_TEST

TEST_TABLE(TEST(cosine_examples_score_as_the_formulas_say),
           TEST(dot_examples_score_as_the_formulas_say),
           TEST(l2_examples_score_as_the_formulas_say),
           TEST(hamming_examples_score_as_the_formulas_say),
           TEST(decay_thresholds_and_rescoring_hold_for_examples),
           TEST(sums_beyond_float32_are_its_largest_number))
