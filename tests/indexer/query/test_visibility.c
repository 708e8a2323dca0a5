/* Searches ask whether a row may be returned only where the answer may be no. Here it may be no for
 * every reason there is, in graphs, lists, spans, chunks and memtables, and brute force watches: at
 * every offset, and in views that are asked again after rows died and the clock went on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/indexer/query/question.h"

enum { HOURS = 8, FILLED = 6, ROWS = 700, IDS = FILLED * ROWS, STEPS = 300, HELD = 3 };

/* A view that was asked, and its answers. */
struct held {
    struct query_view *view;
    struct question questions[2]; /* exact; through segments */
    struct answer answers[2];
};

/* Walks by how they were done. */
static size_t graphs, lists, spans;

/* Half of the questions have no filter, time range or threshold: they are asked without a look at
 * rows wherever that is right. */
static void random_question(struct world *world, struct question *question)
{
    uint64_t dice = test_random(&world->random);

    question_random(world, question);
    question->ef = dice & 1 ? 0 : 48;
    if (dice >> 1 & 1) {
        question->number_below = 0;
        question->has_near = false;
    } else if (dice >> 2 & 1) {
        question->from_ms = START_MS + (int64_t)((dice >> 8) % (HOURS * HOUR_MS));
        question->to_ms = question->from_ms + (int64_t)((dice >> 40) % (4 * HOUR_MS)) + 1;
    }
    if ((dice >> 3) % 8 == 0)
        question->half_life_ms = 100 * HOUR_MS;
}

static void count_walks(struct query_view *view, const struct question *question)
{
    struct query_result result;
    struct error error = {0};
    struct query_search search;
    struct arena arena;

    arena_create(&arena, 0);
    search = question_search(question, &arena);
    search.explain = true;
    ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
    for (size_t i = 0; i < result.explain_count; i++) {
        const char *how = result.explain[i].source;
        graphs += strcmp(how, "hnsw") == 0;
        lists += strcmp(how, "ivf_pq") == 0;
        spans += strstr(how, "_span") != NULL;
    }
    arena_destroy(&arena);
}

static void ask_again(const struct held *held)
{
    for (int i = 0; i < 2; i++) {
        const struct answer *before = &held->answers[i];
        struct answer now;
        question_ask(held->view, &held->questions[i], &now);
        ck_assert_uint_eq(now.count, before->count);
        ck_assert_mem_eq(now.ids, before->ids, before->count * sizeof(*before->ids));
        ck_assert_mem_eq(now.scores, before->scores, before->count * sizeof(*before->scores));
    }
}

static void hold(struct held *held, struct world *world)
{
    if (held->view) {
        ask_again(held);
        query_view_close(held->view);
    }
    held->view = world_view(world);
    for (int i = 0; i < 2; i++) {
        random_question(world, &held->questions[i]);
        held->questions[i].exact = i == 0;
        held->questions[i].half_life_ms = 0;
        question_ask(held->view, &held->questions[i], &held->answers[i]);
    }
}

/* Hours of which one has rows that expire by themselves, and one none that ever died. */
static void fill(struct world *world)
{
    uint64_t id = 0;

    atomic_store(&world->clock.now_ms, START_MS + FILLED * HOUR_MS);
    for (int hour = 0; hour < FILLED; hour++) {
        for (int64_t i = 0; i < ROWS; i++, id++)
            world_upsert(world, 0, id, START_MS + hour * HOUR_MS + i * (HOUR_MS - 1) / ROWS,
                         hour == 2 && i % 3 == 0 ? (FILLED + 1) * HOUR_MS + i * 1000 : 0, NULL);
        world_seal(world, 0, START_MS + hour * HOUR_MS);
        world_index_as(world, 0, START_MS + hour * HOUR_MS, hour % 2 != 0);
    }
}

/* One record: new, or in place of another one, or a delete; late now and then. */
static void append_one(struct world *world)
{
    uint64_t dice = test_random(&world->random), id = (dice >> 8) % IDS;
    int64_t now_ms = atomic_load(&world->clock.now_ms);
    int64_t late_ms = dice % 4 == 0 ? (int64_t)((dice >> 24) % (5 * HOUR_MS)) : 0;
    int64_t ttl_ms = (dice >> 4) % 4 == 0 ? 1 + (int64_t)((dice >> 40) % HOUR_MS) : 0;

    if (id >= 4 * ROWS && id < 5 * ROWS) /* of the hour in which none dies for now */
        id -= ROWS;
    if (dice % 3 == 0)
        world_delete(world, 0, id, now_ms);
    else
        world_upsert(world, 0, id, now_ms - late_ms, ttl_ms, NULL);
}

static void run(bool list_spans, uint64_t seed)
{
    struct world world;
    struct recall recall = {0};
    struct held held[HELD] = {0};

    question_open_world(&world, VECTOR_METRIC_L2, 1, HOURS * HOUR_MS, seed);
    world.collection.hnsw_ef = 0;
    world.collection.recall = 0.95;
    fill(&world);
    for (int64_t step = 0; step < STEPS; step++) {
        struct query_view *view;
        struct question question;
        append_one(&world);
        if (step == STEPS / 3)
            ck_assert(world_span(&world, 0, START_MS, START_MS + 5 * HOUR_MS, 1, list_spans));
        if (step % 40 == 39)
            world_flush(&world, 0);
        if (step == 2 * STEPS / 3) { /* late rows are folded in, masked ones go */
            world_seal(&world, 0, START_MS + 3 * HOUR_MS);
            world_index(&world, 0, START_MS + 3 * HOUR_MS);
        }
        /* To the middle of the fourth hour's expiry. */
        atomic_fetch_add(&world.clock.now_ms, (HOURS - FILLED + 3) * HOUR_MS / STEPS);
        view = world_view(&world);
        for (int i = 0; i < 2; i++) {
            random_question(&world, &question);
            question_ask_and_check(&world, view, &question, &recall);
        }
        if (step % 10 == 0)
            count_walks(view, &question);
        query_view_close(view);
        if (step % 5 == 0)
            hold(&held[step / 5 % HELD], &world);
    }
    for (int i = 0; i < HELD; i++) {
        ask_again(&held[i]);
        query_view_close(held[i].view);
    }
    printf("recall %.4f over %zu\n", (double)recall.right / (double)recall.wanted, recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.9);
    world_close(&world);
}

START_TEST(no_search_returns_or_misses_a_row_whatever_may_hide_it)
{
    uint64_t seed = test_seed();

    run(false, seed);
    run(true, seed + 1);
    printf("walked: %zu graphs, %zu lists, %zu windows through spans\n", graphs, lists, spans);
    ck_assert(graphs > 0 && lists > 0 && spans > 0);
}
END_TEST

TEST_TABLE(TEST(no_search_returns_or_misses_a_row_whatever_may_hide_it))
