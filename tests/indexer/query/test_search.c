/* Searches over random lives, compared with brute force over a model: nothing invisible, nothing
 * missing, exact where scanned, full k at any selectivity, recall through segments. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/key.h"
#include "tests/indexer/query/question.h"

/* Several windows, upserts with a vector and without one into other windows, deletes, late rows, flushes, seals, segments, drops:
 * one step of an hour. Ids stay in their shard, as Kafka's partitioner keeps them. */
static void live_an_hour(struct world *world, int hour, uint32_t records)
{
    int64_t base_ms = START_MS + (int64_t)hour * HOUR_MS;

    atomic_store(&world->clock.now_ms, base_ms + HOUR_MS);
    for (uint32_t i = 0; i < records; i++) {
        uint64_t dice = test_random(&world->random);
        uint64_t id = dice % (records * 4);
        size_t shard = id % world->shard_count;
        int64_t time_ms = base_ms + (int64_t)(dice >> 20) % HOUR_MS;
        if ((dice >> 50) % 16 == 0 && hour > 0)
            time_ms -= HOUR_MS * (int64_t)(1 + (dice >> 54) % 2); /* late */
        if ((dice >> 58) == 0)
            world_delete(world, shard, id, time_ms);
        else if ((dice >> 36) % 8 == 0)
            world_upsert_bare(world, shard, id, time_ms, (dice >> 44) % 32 == 0 ? 3 * HOUR_MS : 0);
        else
            world_upsert(world, shard, id, time_ms, (dice >> 44) % 32 == 0 ? 3 * HOUR_MS : 0, NULL);
        if ((dice >> 8) % (records / 2) == 0)
            world_flush(world, shard);
    }
    for (size_t shard = 0; shard < world->shard_count; shard++) {
        uint64_t dice = test_random(&world->random);
        if (hour > 0 && dice % 8 != 0)
            world_seal(world, shard, base_ms - HOUR_MS);
        if (hour > 0 && dice % 8 > 1)
            world_index(world, shard, base_ms - HOUR_MS);
        if (hour > 2 && (dice >> 8) % 3 == 0) { /* late rows are folded in */
            world_seal(world, shard, base_ms - 2 * HOUR_MS);
            if (dice >> 16 & 1)
                world_index(world, shard, base_ms - 2 * HOUR_MS);
        }
        if (hour > 2 && (dice >> 20) % 2) /* the windows before go out of it one by one */
            (void)world_span(world, shard, base_ms - (dice >> 21 & 1 ? 6 : 3) * HOUR_MS,
                             base_ms - HOUR_MS, dice >> 21 & 1 ? 2 : 1, dice >> 22 & 1);
        if (hour > 5)
            world_drop(world, shard, base_ms - 6 * HOUR_MS);
    }
}

static void check_lives(enum vector_metric metric, size_t shards, int64_t ttl_ms, uint64_t seed)
{
    struct world world;
    struct recall recall = {0};
    struct question question;

    question_open_world(&world, metric, shards, ttl_ms, seed);
    for (int hour = 0; hour < 8; hour++) {
        struct query_view *view;
        live_an_hour(&world, hour, 600 * (uint32_t)shards);
        if (hour % 2) {
            thread_pool_delete(world.pool); /* half of the time alone */
            world.pool = NULL;
        } else if (!world.pool) {
            world.pool = world_pool();
        }
        view = world_view(&world);
        for (int i = 0; i < 40; i++) {
            question_random(&world, &question);
            question_ask_and_check(&world, view, &question, &recall);
        }
        query_view_close(view);
    }
    ck_assert_uint_gt(recall.wanted, 0);
    printf("recall %.4f over %zu\n", (double)recall.right / (double)recall.wanted, recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.95);
    world_close(&world);
}

START_TEST(cosine_searches_equal_brute_force_over_a_random_life)
{
    check_lives(VECTOR_METRIC_COSINE, 1, 5 * HOUR_MS + 1800000, test_seed());
}
END_TEST

START_TEST(l2_searches_equal_brute_force_over_a_random_life)
{
    check_lives(VECTOR_METRIC_L2, 1, 0, test_seed());
}
END_TEST

START_TEST(hamming_searches_equal_brute_force_over_a_random_life)
{
    check_lives(VECTOR_METRIC_HAMMING, 1, 0, test_seed());
}
END_TEST

START_TEST(dot_searches_over_three_shards_equal_brute_force)
{
    check_lives(VECTOR_METRIC_DOT, 3, 5 * HOUR_MS + 1800000, test_seed());
}
END_TEST

/* One indexed window. */

static void fill_window(struct world *world, int hour, uint64_t first_id, uint32_t count)
{
    int64_t base_ms = START_MS + (int64_t)hour * HOUR_MS;

    for (uint32_t i = 0; i < count; i++)
        world_upsert(world, 0, first_id + i, base_ms + (int64_t)i * (HOUR_MS - 1) / count, 0, NULL);
}

START_TEST(k_rows_come_back_at_every_selectivity)
{
    static const int64_t below[] = {1, 3, 10, 30, 100, 300, 1000, 3000, 10000};
    struct world world;
    struct recall recall = {0};
    struct query_view *view;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, test_seed());
    fill_window(&world, 0, 0, 4000);
    world_seal(&world, 0, START_MS);
    world_index(&world, 0, START_MS);
    view = world_view(&world);
    for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++)
        for (int sign = -1; sign <= 1; sign++)
            for (int round = 0; round < 5; round++) {
                struct question question = {
                    .limit = 10, .ef = round % 2 ? 32 : 16, .number_below = below[i]};
                world_random_vector(&world, question.vector);
                if (sign != 0) {
                    question.vector[0] = 1;
                    question.has_near = true;
                    question.near_from = sign > 0 ? 0.2F : -1.0F;
                    question.near_to = sign > 0 ? 1.0F : -0.2F;
                }
                question_ask_and_check(&world, view, &question, &recall);
            }
    printf("recall %.4f over %zu\n", (double)recall.right / (double)recall.wanted, recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.95);
    query_view_close(view);
    world_close(&world);
}
END_TEST

START_TEST(dead_rows_never_take_the_place_of_live_ones)
{
    struct world world;
    struct recall recall = {0};
    struct question question = {.limit = 10, .ef = 16};
    struct query_view *view;

    question_open_world(&world, VECTOR_METRIC_L2, 1, 0, test_seed());
    fill_window(&world, 0, 0, 3000);
    world_seal(&world, 0, START_MS);
    world_index(&world, 0, START_MS);
    /* The closest 500 die: what a walk meets first may not be returned. */
    world_random_vector(&world, question.vector);
    for (int i = 0; i < 500; i++) {
        const struct world_record *closest = NULL;
        for (size_t j = 0; j < world.record_count; j++) {
            const struct world_record *record = &world.records[j];
            if (record->alive && (!closest || world_score(&world, question.vector, record) <
                                                  world_score(&world, question.vector, closest)))
                closest = record;
        }
        world_delete(&world, 0, closest->id, closest->time_ms);
    }
    view = world_view(&world);
    question_ask_and_check(&world, view, &question, &recall);
    ck_assert_uint_ge(recall.right, 9);
    query_view_close(view);
    world_close(&world);
}
END_TEST

START_TEST(recency_decay_ranks_by_the_decayed_score)
{
    static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_DOT,
                                                 VECTOR_METRIC_L2, VECTOR_METRIC_HAMMING};
    static const int64_t half_lives[] = {60000, HOUR_MS / 4, HOUR_MS, 10 * HOUR_MS};
    enum { ROWS = TEST_SANITIZED ? 500 : 1500 };
    uint64_t seed = test_seed();

    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        struct world world;
        struct recall recall = {0};
        struct query_view *view;
        question_open_world(&world, metrics[m], 1, 0, seed);
        for (int hour = 0; hour < 4; hour++) {
            fill_window(&world, hour, (uint64_t)hour * ROWS, ROWS);
            world_seal(&world, 0, START_MS + hour * HOUR_MS);
            world_index(&world, 0, START_MS + hour * HOUR_MS);
        }
        atomic_store(&world.clock.now_ms, START_MS + 4 * HOUR_MS);
        view = world_view(&world);
        for (size_t i = 0; i < 4; i++)
            for (int round = 0; round < 20; round++) {
                struct question question = {
                    .limit = 10, .ef = 48, .half_life_ms = half_lives[i], .exact = round % 2};
                world_random_vector(&world, question.vector);
                question_ask_and_check(&world, view, &question, &recall);
            }
        printf("recall %.4f\n", (double)recall.right / (double)recall.wanted);
        ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.95);
        query_view_close(view);
        world_close(&world);
    }
}
END_TEST

/* Ten windows, each about something else: the whole answer lies in one of them. */
START_TEST(an_answer_concentrated_in_one_window_is_found)
{
    enum { WINDOWS = 10, ROWS = 600 };
    struct world world;
    struct recall recall = {0};
    struct query_view *view;
    float centre[WINDOWS][WORLD_DIM_MAX];

    question_open_world(&world, VECTOR_METRIC_L2, 1, 0, test_seed());
    for (int window = 0; window < WINDOWS; window++) {
        world_random_vector(&world, centre[window]);
        for (uint64_t i = 0; i < ROWS; i++) {
            float vector[WORLD_DIM_MAX];
            world_random_vector(&world, vector);
            for (uint32_t d = 0; d < 12; d++)
                vector[d] = centre[window][d] + 0.3F * vector[d];
            world_upsert(&world, 0, (uint64_t)window * ROWS + i,
                         START_MS + window * HOUR_MS + (int64_t)i, 0, vector);
        }
        world_seal(&world, 0, START_MS + window * HOUR_MS);
        world_index(&world, 0, START_MS + window * HOUR_MS);
    }
    view = world_view(&world);
    for (int i = 0; i < 100; i++) {
        struct question question = {.limit = 10, .ef = 40};
        world_random_vector(&world, question.vector);
        for (uint32_t d = 0; d < 12; d++)
            question.vector[d] = centre[i % WINDOWS][d] + 0.2F * question.vector[d];
        question_ask_and_check(&world, view, &question, &recall);
    }
    printf("recall %.4f\n", (double)recall.right / (double)recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.95);
    query_view_close(view);
    world_close(&world);
}
END_TEST

/* Rows around many centres, each cluster of them in a few directions of its own, and the windows of
 * four shards hold some of each: a graph that is easy to search alone is hard to search a little. */
enum { CLUSTERS = 400, DIRECTIONS = 30 };

struct clusters {
    float centres[CLUSTERS][WORLD_DIM_MAX], directions[CLUSTERS][DIRECTIONS][WORLD_DIM_MAX];
};

static void clusters_create(struct world *world, struct clusters *clusters)
{
    for (int c = 0; c < CLUSTERS; c++) {
        world_random_vector(world, clusters->centres[c]);
        for (int i = 0; i < DIRECTIONS; i++)
            world_random_vector(world, clusters->directions[c][i]);
    }
}

static void clusters_vector(struct world *world, const struct clusters *clusters, float *vector)
{
    uint64_t c = test_random(&world->random) % CLUSTERS;

    memcpy(vector, clusters->centres[c], sizeof(clusters->centres[c]));
    for (int i = 0; i < DIRECTIONS; i++) {
        float part = world_uniform(world) + world_uniform(world);
        for (uint32_t d = 0; d < WORLD_DIM_MAX; d++)
            vector[d] += part * clusters->directions[c][i][d];
    }
}

/* Share of what exact searches for rows like these return that others return, too. */
static double recall_among(struct world *world, struct query_view *view,
                           const struct clusters *clusters, uint32_t queries, double asked)
{
    size_t right = 0, all = 0;

    for (uint32_t i = 0; i < queries; i++) {
        struct question question = {.limit = 10, .exact = true};
        struct answer exact, found;
        clusters_vector(world, clusters, question.vector);
        question_ask(view, &question, &exact);
        question.exact = false;
        question.recall = asked;
        question_ask(view, &question, &found);
        for (size_t j = 0; j < exact.count; j++)
            for (size_t k = 0; k < found.count; k++)
                right += exact.ids[j] == found.ids[k];
        all += exact.count;
    }
    return (double)right / (double)all;
}

/* The recall of a search is that of its answer, however many segments bring it. */
static void check_recall_over_segments(bool lists)
{
    /* Sanitizers look at the way, not at the numbers: 48 segments would take minutes. */
    enum {
        SHARDS = 4,
        WINDOWS = TEST_SANITIZED ? 2 : 12,
        ROWS = TEST_SANITIZED ? 300 : 1500,
        QUERIES = TEST_SANITIZED ? 20 : 150
    };
    /* Of 1,500 neighbours in 150 queries: about three standard errors below. */
    static const struct {
        double wanted, least;
    } cases[] = {{0.8, TEST_SANITIZED ? 0.6 : 0.76},
                 {0.95, TEST_SANITIZED ? 0.8 : 0.94},
                 {0.99, TEST_SANITIZED ? 0.9 : 0.98}};
    const struct world_options options = {.shard_count = SHARDS,
                                          .dim = WORLD_DIM_MAX,
                                          .metric = VECTOR_METRIC_L2,
                                          .window_ms = HOUR_MS,
                                          .seed = test_seed()};
    struct clusters *clusters = calloc(1, sizeof(*clusters));
    struct world world;
    struct query_view *view;
    uint64_t id = 0;

    world_open(&world, &options);
    atomic_store(&world.clock.now_ms, START_MS);
    world.collection.hnsw_ef = 0;
    clusters_create(&world, clusters);
    for (int window = 0; window < WINDOWS; window++)
        for (size_t shard = 0; shard < SHARDS; shard++) {
            int64_t start_ms = START_MS + window * HOUR_MS;
            for (int64_t i = 0; i < ROWS; i++) {
                float vector[WORLD_DIM_MAX];
                clusters_vector(&world, clusters, vector);
                world_upsert(&world, shard, id++, start_ms + i, 0, vector);
            }
            world_seal(&world, shard, start_ms);
            world_index_as(&world, shard, start_ms, lists);
        }
    view = world_view(&world);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        double got, asked;
        world.collection.recall = cases[i].wanted;
        got = recall_among(&world, view, clusters, QUERIES, 0);
        world.collection.recall = 0.5;
        asked = recall_among(&world, view, clusters, QUERIES, cases[i].wanted);
        printf("recall %.2f wanted: %.4f, asked for: %.4f\n", cases[i].wanted, got, asked);
        ck_assert_double_ge(got, cases[i].least);
        ck_assert_double_ge(asked, cases[i].least);
    }
    query_view_close(view);
    world_close(&world);
    free(clusters);
}

START_TEST(searches_over_many_graphs_have_the_recall_that_is_configured)
{
    check_recall_over_segments(false);
}
END_TEST

START_TEST(searches_over_many_lists_have_the_recall_that_is_configured)
{
    check_recall_over_segments(true);
}
END_TEST

/* One call with questions of all kinds over memtables, chunks, runs, graphs, lists and spans, many with
 * a filter that another one has too. A search alone by one thread is repeatable, so answers are compared
 * bit for bit. */
static void ask_together_and_compare(struct world *world, struct query_view *view)
{
    enum { TOGETHER = 48 };
    struct question questions[TOGETHER];
    struct query_search searches[TOGETHER];
    struct query_result results[TOGETHER];
    struct error error = {0};
    struct arena arena;

    arena_create(&arena, 0);
    for (int i = 0; i < TOGETHER; i++) {
        question_random(world, &questions[i]);
        if (i % 3 == 0)
            questions[i].number_below = 1000;
        if (i % 8 == 0)
            questions[i].half_life_ms = HOUR_MS;
        if (i % 5 == 0) {
            questions[i].from_ms = START_MS + HOUR_MS;
            questions[i].to_ms = START_MS + 4 * HOUR_MS;
        }
        searches[i] = question_search(&questions[i], &arena);
    }
    ck_assert_msg(query_searches_run(view, searches, TOGETHER, results, &error) == 0, "%s",
                  error.text);
    for (int i = 0; i < TOGETHER; i++) {
        struct answer alone;
        question_ask(view, &questions[i], &alone);
        ck_assert_uint_eq(results[i].hit_count, alone.count);
        ck_assert_uint_eq(results[i].windows_searched, alone.result.windows_searched);
        for (size_t j = 0; j < alone.count; j++) {
            ck_assert_uint_eq(world_hit_id(&results[i].hits[j].row), alone.ids[j]);
            ck_assert_mem_eq(&results[i].hits[j].score, &alone.scores[j], sizeof(float));
        }
    }
    arena_destroy(&arena);
}

START_TEST(searches_of_one_request_have_the_answers_that_each_has_alone)
{
    for (int m = 0; m < 3; m++) {
        struct world world;
        question_open_world(&world, (enum vector_metric)m, 2, 24 * HOUR_MS, test_seed());
        thread_pool_delete(world.pool);
        world.pool = NULL;
        for (int hour = 0; hour < 6; hour++) {
            struct query_view *view;
            live_an_hour(&world, hour, 1500);
            if (hour % 2)
                for (size_t shard = 0; shard < 2; shard++) {
                    world_seal(&world, shard, START_MS + (hour - 1) * HOUR_MS);
                    world_index_as(&world, shard, START_MS + (hour - 1) * HOUR_MS, true);
                }
            view = world_view(&world);
            ask_together_and_compare(&world, view);
            query_view_close(view);
        }
        world_close(&world);
    }
}
END_TEST

/* Rows of releases that took in every finite float32: their scores may be infinite or NaN in float32.
 * All others keep their places, live, sealed and through a graph. */
START_TEST(a_stored_vector_of_infinite_length_costs_no_other_its_place)
{
    static const enum vector_metric metrics[] = {VECTOR_METRIC_DOT, VECTOR_METRIC_L2};
    uint64_t seed = test_seed();

    for (size_t m = 0; m < 2; m++) {
        struct world world;
        float huge[WORLD_DIM_MAX];
        question_open_world(&world, metrics[m], 1, 0, seed);
        fill_window(&world, 0, 0, 400);
        for (uint32_t i = 0; i < world.collection.dim; i++)
            huge[i] = i % 2 ? -3e38F : 3e38F;
        world_upsert(&world, 0, 1000, START_MS, 0, huge);
        for (int state = 0; state < 3; state++) {
            if (state == 1)
                world_seal(&world, 0, START_MS);
            if (state == 2)
                world_index(&world, 0, START_MS);
            for (int i = 0; i < 30; i++) {
                struct question question = {.limit = 10, .exact = state < 2};
                struct answer answer;
                struct query_view *view = world_view(&world);
                size_t others = 0, nearer = 0;
                world_random_vector(&world, question.vector);
                question_ask(view, &question, &answer);
                ck_assert_uint_eq(answer.count, 10);
                for (size_t k = 0; k < answer.count; k++) {
                    ck_assert(isfinite(answer.scores[k]));
                    others += answer.ids[k] != 1000;
                }
                for (uint64_t id = 0; id < 400; id++) {
                    float score = world_score(&world, question.vector, world_find(&world, id));
                    float last = answer.scores[answer.count - 1];
                    nearer += world_has_distances(&world) ? score < last : score > last;
                }
                ck_assert_uint_ge(others, 9);
                if (question.exact)
                    ck_assert_uint_le(nearer, others);
                query_view_close(view);
            }
        }
        world_close(&world);
    }
}
END_TEST

/* Four windows of graphs, or of lists, searched with little effort: what a wide search finds is not what a
 * narrow one found and more. */
START_TEST(pages_of_one_search_do_not_overlap)
{
    enum { WINDOWS = 4, ROWS = TEST_SANITIZED ? 600 : 2000, PAGES = 12, LIMIT = 10 };
    uint64_t seed = test_seed();

    for (int lists = 0; lists < 2; lists++) {
        struct world world;
        uint32_t queries = TEST_SANITIZED ? 10 : 60;
        question_open_world(&world, VECTOR_METRIC_L2, 1, 0, seed);
        for (int hour = 0; hour < WINDOWS; hour++) {
            fill_window(&world, hour, (uint64_t)hour * ROWS, ROWS);
            world_seal(&world, 0, START_MS + hour * HOUR_MS);
            world_index_as(&world, 0, START_MS + hour * HOUR_MS, lists);
        }
        for (uint32_t q = 0; q < queries; q++) {
            struct query_view *view = world_view(&world);
            struct question question = {.limit = LIMIT, .recall = .7};
            bool seen[WINDOWS * ROWS] = {false};
            world_random_vector(&world, question.vector);
            for (uint32_t page = 0; page < PAGES; page++) {
                struct answer answer;
                question.offset = page * LIMIT;
                question_ask(view, &question, &answer);
                ck_assert_uint_eq(answer.count, LIMIT);
                for (size_t i = 0; i < answer.count; i++) {
                    ck_assert_msg(!seen[answer.ids[i]], "query %u, page %u: id %llu came before", q,
                                  page, (unsigned long long)answer.ids[i]);
                    seen[answer.ids[i]] = true;
                    ck_assert(i == 0 || answer.scores[i] >= answer.scores[i - 1]);
                }
            }
            query_view_close(view);
        }
        world_close(&world);
    }
}
END_TEST

START_TEST(a_threshold_is_strict)
{
    static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_L2};
    uint64_t seed = test_seed();

    for (size_t m = 0; m < 2; m++) {
        struct world world;
        struct question question = {.limit = 5, .exact = true};
        struct answer answer;
        struct query_view *view;
        question_open_world(&world, metrics[m], 1, 0, seed);
        fill_window(&world, 0, 0, 100);
        world_random_vector(&world, question.vector);
        view = world_view(&world);
        question_ask(view, &question, &answer);
        ck_assert_uint_eq(answer.count, 5);
        question.has_threshold = true;
        question.threshold = answer.scores[3];
        question_ask(view, &question, &answer);
        ck_assert_uint_eq(answer.count, 3);
        question.threshold = answer.scores[0];
        question_ask(view, &question, &answer);
        ck_assert_uint_eq(answer.count, 0);
        query_view_close(view);
        world_close(&world);
    }
}
END_TEST

START_TEST(time_ranges_prune_windows)
{
    struct world world;
    struct recall recall = {0};
    struct answer answer;
    struct query_view *view;

    question_open_world(&world, VECTOR_METRIC_DOT, 1, 0, test_seed());
    for (int hour = 0; hour < 5; hour++) {
        fill_window(&world, hour, (uint64_t)hour * 300, 300);
        if (hour < 3)
            world_seal(&world, 0, START_MS + hour * HOUR_MS);
        else if (hour == 3)
            world_flush(&world, 0);
    }
    view = world_view(&world);
    for (int from = 0; from < 5; from++)
        for (int to = from + 1; to <= 5; to++) {
            struct question question = {.limit = 20,
                                        .from_ms = START_MS + from * HOUR_MS + 1000,
                                        .to_ms = START_MS + to * HOUR_MS - 1000};
            uint32_t tables = (to < 4 ? (uint32_t)to : 4) - (from < 4 ? (uint32_t)from : 4);
            world_random_vector(&world, question.vector);
            question_ask_and_check(&world, view, &question, &recall);
            question_ask(view, &question, &answer);
            ck_assert_uint_eq(answer.result.windows_searched, tables);
            ck_assert_uint_eq(answer.result.windows_pruned, 4 - tables);
            ck_assert_uint_eq(answer.result.windows_live, 1 + (to == 5));
        }
    query_view_close(view);
    world_close(&world);
}
END_TEST

START_TEST(a_vector_without_direction_scores_zero)
{
    struct world world;
    struct question question = {.limit = 7};
    struct answer answer;
    struct query_view *view;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, test_seed());
    fill_window(&world, 0, 10, 700);
    world_seal(&world, 0, START_MS);
    world_index(&world, 0, START_MS);
    view = world_view(&world);
    question_ask(view, &question, &answer);
    ck_assert_uint_eq(answer.count, 7);
    for (uint64_t i = 0; i < 7; i++) { /* ties follow the id */
        ck_assert_uint_eq(answer.ids[i], 10 + i);
        ck_assert_float_eq(answer.scores[i], 0);
    }
    query_view_close(view);
    world_close(&world);
}
END_TEST

START_TEST(the_asking_record_is_left_out)
{
    struct world world;
    struct arena arena;
    struct store_key key;
    struct query_result result;
    struct error error = {0};
    struct query_view *view;
    const struct world_record *record;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, test_seed());
    fill_window(&world, 0, 0, 800);
    world_seal(&world, 0, START_MS);
    world_index(&world, 0, START_MS);
    record = world_find(&world, 123);
    view = world_view(&world);
    arena_create(&arena, 0);
    store_key_from_u64(123, &key);
    for (int excluded = 0; excluded < 2; excluded++) {
        struct query_search search = {.vector = record->vector,
                                      .limit = 5,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .exclude_key = excluded ? key.bytes : NULL,
                                      .exclude_key_bytes = key.size_bytes,
                                      .explain = true,
                                      .arena = &arena};
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
        ck_assert_uint_eq(result.hit_count, 5);
        ck_assert_int_eq(world_hit_id(&result.hits[0].row) == 123, !excluded);
        ck_assert_uint_eq(result.explain_count, 1);
        ck_assert_str_eq(result.explain[0].source, "hnsw");
        ck_assert_uint_eq(result.explain[0].rows, 800);
    }
    arena_destroy(&arena);
    query_view_close(view);
    world_close(&world);
}
END_TEST

START_TEST(what_a_search_may_not_ask)
{
    struct world world;
    struct arena arena;
    struct query_result result;
    struct error error = {0};
    struct query_view *view;
    float good[WORLD_DIM_MAX] = {1};
    float bad[WORLD_DIM_MAX] = {1, NAN};
    struct query_search base = {
        .vector = good, .limit = 1, .from_ms = INT64_MIN, .to_ms = INT64_MAX, .arena = &arena};
    struct query_search searches[5];

    for (size_t i = 0; i < 5; i++)
        searches[i] = base;
    searches[0].limit = 0;
    searches[1].limit = QUERY_LIMIT_MAX + 1;
    searches[2].offset = UINT32_MAX;
    searches[3].vector = bad;
    searches[4].half_life_ms = -1;
    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, 1);
    fill_window(&world, 0, 0, 3);
    arena_create(&arena, 0);
    view = world_view(&world);
    ck_assert_int_eq(query_search_run(view, &base, &result, &error), 0);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(query_search_run(view, &searches[i], &result, &error), ERROR_INVALID);
    base.limit = QUERY_LIMIT_MAX;
    ck_assert_int_eq(query_search_run(view, &base, &result, &error), 0);
    ck_assert_uint_eq(result.hit_count, 3);
    query_view_close(view);
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

START_TEST(an_id_in_two_shards_is_returned_once)
{
    struct world world;
    struct question question = {.limit = 10, .exact = true};
    struct answer answer;
    struct query_view *view;

    question_open_world(&world, VECTOR_METRIC_L2, 2, 0, test_seed());
    for (uint64_t id = 0; id < 30; id++) {
        world_upsert(&world, 0, id, START_MS + 1000, 0, NULL);
        if (id % 2)
            world_upsert(&world, 1, id, START_MS + 2000, 0, world_find(&world, id)->vector);
    }
    world_random_vector(&world, question.vector);
    view = world_view(&world);
    question_ask(view, &question, &answer);
    ck_assert_uint_eq(answer.count, 10);
    for (size_t i = 0; i < answer.count; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(answer.ids[i], answer.ids[j]);
    query_view_close(view);
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(cosine_searches_equal_brute_force_over_a_random_life),
           TEST(l2_searches_equal_brute_force_over_a_random_life),
           TEST(hamming_searches_equal_brute_force_over_a_random_life),
           TEST(dot_searches_over_three_shards_equal_brute_force),
           TEST(k_rows_come_back_at_every_selectivity),
           TEST(dead_rows_never_take_the_place_of_live_ones),
           TEST(recency_decay_ranks_by_the_decayed_score),
           TEST(an_answer_concentrated_in_one_window_is_found),
           TEST(searches_over_many_graphs_have_the_recall_that_is_configured),
           TEST(searches_over_many_lists_have_the_recall_that_is_configured),
           TEST(searches_of_one_request_have_the_answers_that_each_has_alone),
           TEST(a_stored_vector_of_infinite_length_costs_no_other_its_place),
           TEST(pages_of_one_search_do_not_overlap), TEST(a_threshold_is_strict),
           TEST(time_ranges_prune_windows), TEST(a_vector_without_direction_scores_zero),
           TEST(the_asking_record_is_left_out), TEST(what_a_search_may_not_ask),
           TEST(an_id_in_two_shards_is_returned_once))
