/* Searches through spans: over windows of every size, of which rows, runs and all of them go. */
#include <stdio.h>
#include <string.h>

#include "tests/indexer/query/question.h"

/* Windows that a span covers are searched through it; `wanted` of them. */
static void check_spans(struct world *world, struct query_view *view, size_t wanted)
{
    struct question question = {.limit = 10};
    struct query_result result;
    struct error error = {0};
    struct arena arena;
    size_t found = 0;
    struct query_search search = {.vector = question.vector,
                                  .limit = 10,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .explain = true,
                                  .arena = &arena};

    arena_create(&arena, 0);
    world_random_vector(world, question.vector);
    ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
    for (size_t i = 0; i < result.explain_count; i++)
        found += strstr(result.explain[i].source, "_span") != NULL;
    arena_destroy(&arena);
    ck_assert_uint_eq(found, wanted);
}

/* Brute force and the world agree on searches of every kind; spans must not show. */
static void check_questions(struct world *world, struct recall *recall)
{
    struct query_view *view = world_view(world);
    struct question question;

    for (int i = 0; i < 60; i++) {
        question_random(world, &question);
        question.ef = 0;
        if (i % 3 == 0) {
            question.from_ms = START_MS + (int64_t)(test_random(&world->random) % 5) * HOUR_MS / 2;
            question.to_ms =
                question.from_ms + (int64_t)(test_random(&world->random) % 6) * HOUR_MS / 2 + 1;
        }
        if (i % 7 == 0)
            question.half_life_ms = HOUR_MS;
        question_ask_and_check(world, view, &question, recall);
    }
    query_view_close(view);
}

static void check_span_of_unequal_windows(bool lists, uint64_t seed)
{
    static const uint32_t rows[] = {1, 700, 3, 0, 1900, 40};
    struct world world;
    struct recall recall = {0};
    struct query_view *view;
    uint64_t id = 0;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, seed);
    world.collection.hnsw_ef = 0;
    world.collection.recall = 0.95;
    for (int hour = 0; hour < 6; hour++) {
        for (uint32_t i = 0; i < rows[hour]; i++)
            world_upsert(&world, 0, id++,
                         START_MS + hour * HOUR_MS + (int64_t)i * (HOUR_MS - 1) / rows[hour], 0,
                         NULL);
        if (rows[hour] > 0)
            world_seal(&world, 0, START_MS + hour * HOUR_MS);
    }
    ck_assert(world_span(&world, 0, START_MS, START_MS + 6 * HOUR_MS, 1, lists));
    view = world_view(&world);
    check_spans(&world, view, 5);
    query_view_close(view);
    check_questions(&world, &recall);
    for (uint64_t i = 701; i < 704; i++) /* all rows of a window, whose run stays */
        world_delete(&world, 0, i, START_MS + 2 * HOUR_MS);
    world_upsert(&world, 0, 1, START_MS + HOUR_MS, 0, NULL); /* late: the window is sealed anew */
    check_questions(&world, &recall);
    world_seal(&world, 0, START_MS + HOUR_MS);
    view = world_view(&world);
    check_spans(&world, view, 4);
    query_view_close(view);
    check_questions(&world, &recall);
    world_drop(&world, 0, START_MS);
    check_questions(&world, &recall);
    ck_assert(world_span(&world, 0, START_MS, START_MS + 6 * HOUR_MS, 2, lists));
    view = world_view(&world);
    check_spans(&world, view, 4); /* one of two tiers has each of them */
    query_view_close(view);
    check_questions(&world, &recall);
    printf("recall %.4f over %zu\n", (double)recall.right / (double)recall.wanted, recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.93);
    for (uint64_t i = 0; i < id; i++) /* nothing is left, but the runs and the span are */
        world_delete(&world, 0, i, START_MS);
    check_questions(&world, &recall);
    world_close(&world);
}

START_TEST(graph_over_unequal_windows_answers_as_the_windows_would)
{
    check_span_of_unequal_windows(false, test_seed());
}
END_TEST

START_TEST(lists_over_unequal_windows_answer_as_the_windows_would)
{
    check_span_of_unequal_windows(true, test_seed());
}
END_TEST

TEST_TABLE(TEST(graph_over_unequal_windows_answers_as_the_windows_would),
           TEST(lists_over_unequal_windows_answer_as_the_windows_would))
