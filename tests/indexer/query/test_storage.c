/* Searches over windows that are stored in different types: each answer is that of a brute force over
 * what is stored, whichever way leads to a row. */
#include <stdio.h>
#include <string.h>

#include "store/files/key.h"
#include "tests/indexer/query/question.h"

enum { WINDOWS = 5, ROWS = 700 };

static void check_questions(struct world *world, struct recall *recall)
{
    struct query_view *view = world_view(world);
    struct question question;

    for (int i = 0; i < 30; i++) {
        question_random(world, &question);
        question.ef = 0;
        if (i % 7 == 0)
            question.half_life_ms = i % 2 ? HOUR_MS : 100 * HOUR_MS;
        question_ask_and_check(world, view, &question, recall);
    }
    query_view_close(view);
}

static enum vector_codec type_of(struct world *world, int64_t start_ms)
{
    struct store_window_info window;
    enum vector_codec codec;

    store_shard_describe_window(world->shards[0], start_ms, HOUR_MS, &window);
    ck_assert(window.sealed);
    codec = window.run.codec;
    ck_assert_double_ge(window.run.recall, 0);
    ck_assert_double_le(window.run.recall, 1);
    ck_assert(!vector_codec_is_float32(codec) || window.run.recall >= 1);
    ck_assert_int_eq(window.run.refused, VECTOR_CODEC_RAW);
    return codec;
}

static void set_storage(struct world *world, enum vector_codec codec)
{
    world->collection.storage = codec;
    world_restart(world);
}

/* One window of each type, and one that is open. */
static void fill(struct world *world)
{
    static const enum vector_codec types[WINDOWS] = {VECTOR_CODEC_FLOAT16, VECTOR_CODEC_BFLOAT16,
                                                     VECTOR_CODEC_RAW, VECTOR_CODEC_INT8};
    uint64_t id = 0;

    for (int hour = 0; hour < WINDOWS; hour++) {
        int64_t start_ms = START_MS + hour * HOUR_MS;
        for (uint32_t i = 0; i < ROWS; i++)
            world_upsert(world, 0, id++, start_ms + (int64_t)i * (HOUR_MS - 1) / ROWS, 0, NULL);
        if (hour + 1 == WINDOWS)
            break;
        set_storage(world, types[hour]);
        world_seal(world, 0, start_ms);
        ck_assert_int_eq(type_of(world, start_ms), types[hour]);
    }
}

static void check_types(enum vector_metric metric, bool lists, uint64_t seed)
{
    struct world world;
    struct recall recall = {0};

    question_open_world(&world, metric, 1, 0, seed);
    world.collection.hnsw_ef = 0;
    atomic_store(&world.clock.now_ms, START_MS + WINDOWS * HOUR_MS);
    fill(&world);
    check_questions(&world, &recall); /* scans */
    for (int hour = 0; hour + 1 < WINDOWS; hour++)
        world_index_as(&world, 0, START_MS + hour * HOUR_MS, lists);
    check_questions(&world, &recall);
    ck_assert(world_span(&world, 0, START_MS, START_MS + WINDOWS * HOUR_MS, 1, lists));
    check_questions(&world, &recall);
    /* Late rows and a delete; the windows are sealed anew, one in its own type and one in another. */
    for (int hour = 0; hour < 2; hour++) {
        int64_t start_ms = START_MS + hour * HOUR_MS;
        for (uint64_t i = 0; i < 20; i++)
            world_upsert(&world, 0, 100000 + (uint64_t)hour * 100 + i, start_ms + 7, 0, NULL);
        world_delete(&world, 0, (uint64_t)hour * ROWS + 3, start_ms);
        check_questions(&world, &recall);
        set_storage(&world, VECTOR_CODEC_FLOAT16);
        world_seal(&world, 0, start_ms);
        ck_assert_int_eq(type_of(&world, start_ms), VECTOR_CODEC_FLOAT16);
        check_questions(&world, &recall);
    }
    set_storage(&world, VECTOR_CODEC_RAW);
    check_questions(&world, &recall);
    printf("recall %.4f over %zu\n", (double)recall.right / (double)recall.wanted, recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.93);
    world_close(&world);
}

START_TEST(graphs_over_every_type_answer_from_what_is_stored)
{
    check_types(VECTOR_METRIC_COSINE, false, test_seed());
    check_types(VECTOR_METRIC_L2, false, test_seed());
    check_types(VECTOR_METRIC_HAMMING, false, test_seed());
}
END_TEST

START_TEST(lists_over_every_type_answer_from_what_is_stored)
{
    check_types(VECTOR_METRIC_DOT, true, test_seed());
    check_types(VECTOR_METRIC_L2, true, test_seed());
    check_types(VECTOR_METRIC_HAMMING, true, test_seed());
}
END_TEST

/* Merged again and again, a window never loses more than once. */
START_TEST(sealing_again_changes_no_value)
{
    struct world world;

    for (int codec = VECTOR_CODEC_FLOAT16; codec < VECTOR_CODEC_COUNT; codec++) {
        question_open_world(&world, VECTOR_METRIC_L2, 1, 0, test_seed());
        atomic_store(&world.clock.now_ms, START_MS + HOUR_MS);
        set_storage(&world, (enum vector_codec)codec);
        for (uint64_t id = 0; id < 200; id++)
            world_upsert(&world, 0, id, START_MS + (int64_t)id, 0, NULL);
        world_seal(&world, 0, START_MS);
        for (uint64_t round = 0; round < 5; round++) {
            world_upsert(&world, 0, 1000 + round, START_MS + 1, 0, NULL);
            world_seal(&world, 0, START_MS);
            for (uint64_t id = 0; id < 200; id++) {
                const struct world_record *record = world_find(&world, id);
                struct query_view *view = world_view(&world);
                const float *vector;
                struct query_row row;
                struct store_key key;
                struct arena arena;
                struct error error = {0};
                arena_create(&arena, 0);
                store_key_from_u64(id, &key);
                ck_assert_int_eq(query_find(view, key.bytes, key.size_bytes, &arena, &row, &error),
                                 0);
                ck_assert_int_eq(query_row_vector(&row, &arena, &vector, &error), 0);
                ck_assert_mem_eq(vector, record->vector, world.collection.dim * sizeof(float));
                arena_destroy(&arena);
                query_view_close(view);
            }
        }
        world_close(&world);
    }
}
END_TEST

/* What the type loses is measured before it is chosen. */
START_TEST(type_that_loses_too_much_or_cannot_hold_a_value_is_refused)
{
    static const struct {
        float around;  /* where the values lie: far from 0, small differences are lost */
        float largest; /* of one row */
        double recall_most;
    } cases[] = {{1000, 0, 0.9}, {0, 70000, -1}};
    struct store_window_info window;
    struct world world;

    for (size_t i = 0; i < 2; i++) {
        question_open_world(&world, VECTOR_METRIC_L2, 1, 0, test_seed());
        world.collection.recall = 0.95;
        atomic_store(&world.clock.now_ms, START_MS + HOUR_MS);
        set_storage(&world, VECTOR_CODEC_FLOAT16);
        /* The row that does not fit is not in the sample. */
        for (uint64_t id = 0; id < 9000; id++) {
            float vector[WORLD_DIM_MAX];
            world_random_vector(&world, vector);
            for (uint32_t d = 0; d < world.collection.dim; d++)
                vector[d] += cases[i].around;
            vector[0] += id == 5 ? cases[i].largest : 0;
            world_upsert(&world, 0, id, START_MS + (int64_t)id, 0, vector);
        }
        world_seal(&world, 0, START_MS);
        store_shard_describe_window(world.shards[0], START_MS, HOUR_MS, &window);
        ck_assert(window.sealed);
        ck_assert_uint_eq(window.run.rows, 9000);
        ck_assert_int_eq(window.run.codec, VECTOR_CODEC_RAW);
        ck_assert_int_eq(window.run.refused, VECTOR_CODEC_FLOAT16);
        ck_assert_double_le(window.run.refused_recall, cases[i].recall_most);
        world_close(&world);
    }
}
END_TEST

TEST_TABLE(TEST(graphs_over_every_type_answer_from_what_is_stored),
           TEST(lists_over_every_type_answer_from_what_is_stored),
           TEST(sealing_again_changes_no_value),
           TEST(type_that_loses_too_much_or_cannot_hold_a_value_is_refused))
