/* Filters, invisible rows, floors and damaged vectors during a search; many threads at once. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 6000, DIM = 32, QUERIES = 30, K = 10 };

struct accept {
    const uint8_t *accepted; /* a flag a row */
    uint32_t calls;
};

static bool accept_row(void *context, uint32_t row)
{
    struct accept *accept = context;

    if (row >= ROWS) /* an assertion of check writes a message each time: too slow here */
        ck_abort_msg("row %u of %u", row, ROWS);
    accept->calls++;
    return accept->accepted[row];
}

struct world {
    struct fixture_data data;
    struct index_segment *segment;
    uint8_t accepted[ROWS];
};

static struct world *world_new(uint64_t *state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);

    world->data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 15, 0.5f, state);
    world->segment = fixture_segment(&world->data, &options);
    return world;
}

static void world_delete(struct world *world)
{
    index_segment_close(world->segment);
    fixture_data_destroy(&world->data);
    free(world);
}

/* The exact top k among accepted rows. */
static uint32_t filtered_truth(const struct world *world, const float *query, struct index_hit *out)
{
    struct index_hit *all = malloc(ROWS * sizeof(*all));
    uint32_t count, found = 0;

    index_exact_top(VECTOR_METRIC_L2, world->data.vectors, ROWS, DIM, query, ROWS, all, &count);
    for (uint32_t i = 0; i < count && found < K; i++)
        if (world->accepted[all[i].row])
            out[found++] = all[i];
    free(all);
    return found;
}

/* Searches once; checks the promises; returns how many of the true hits came. A search that says it
 * is not exhausted is finished as its caller would: by a scan. */
static uint32_t search_filtered(const struct world *world, const float *query, uint32_t ef,
                                uint32_t *wanted, uint32_t *scans)
{
    struct accept accept = {world->accepted, 0};
    struct index_search search = fixture_search(&world->data, query, K, ef);
    struct index_hit hits[K], truth[K];
    struct error error = {0};
    uint32_t count, found = 0;
    bool exhausted;

    search.accept = accept_row;
    search.accept_context = &accept;
    ck_assert_int_eq(
        index_segment_search(world->segment, &search, hits, &count, &exhausted, &error), 0);
    *wanted = filtered_truth(world, query, truth);
    ck_assert_uint_le(count, *wanted);
    for (uint32_t i = 0; i < count; i++)
        ck_assert(world->accepted[hits[i].row]);
    if (count < K && !exhausted) {
        ++*scans;
        return *wanted;
    }
    ck_assert_uint_eq(count, *wanted); /* nothing is missing unless it said so */
    for (uint32_t i = 0; i < count; i++)
        found += hits[i].score >= truth[*wanted - 1].score;
    return found;
}

START_TEST(filtered_search_returns_k_or_asks_for_a_scan_at_every_selectivity)
{
    static const double selectivities[] = {1, 0.9, 0.5, 0.1, 0.03, 0.01, 0.001, 0};
    uint64_t state = test_seed();
    struct world *world = world_new(&state);

    for (size_t s = 0; s < sizeof(selectivities) / sizeof(selectivities[0]); s++) {
        uint32_t found = 0, wanted = 0, scans = 0;
        for (uint32_t row = 0; row < ROWS; row++)
            world->accepted[row] =
                (double)(test_random(&state) >> 11) / 9007199254740992.0 < selectivities[s];
        for (uint32_t q = 0; q < QUERIES; q++) {
            uint32_t wanted_now;
            found += search_filtered(world, world->data.vectors + (size_t)q * 97 * DIM, 64,
                                     &wanted_now, &scans);
            wanted += wanted_now;
        }
        printf("selectivity %g: %u of %u found, %u scans\n", selectivities[s], found, wanted,
               scans);
        ck_assert_double_ge(found, 0.95 * wanted);
        if (selectivities[s] >= 0.5)
            ck_assert_uint_eq(scans, 0);
    }
    world_delete(world);
}
END_TEST

/* Only rows of the half space away from the query are accepted, or only those near it. */
START_TEST(filters_correlated_with_the_query_return_k_or_ask_for_a_scan)
{
    uint64_t state = test_seed();
    struct world *world = world_new(&state);

    for (int far = 0; far < 2; far++) {
        uint32_t found = 0, wanted = 0, scans = 0;
        for (uint32_t q = 0; q < QUERIES; q++) {
            const float *query = world->data.vectors + (size_t)q * 97 * DIM;
            uint32_t wanted_now;
            for (uint32_t row = 0; row < ROWS; row++) {
                const float *vector = world->data.vectors + (size_t)row * DIM;
                float score = index_score(VECTOR_METRIC_L2, query, vector, DIM);
                world->accepted[row] = (score < -2 * DIM) == far;
            }
            found += search_filtered(world, query, 64, &wanted_now, &scans);
            wanted += wanted_now;
        }
        printf("%s: %u of %u found, %u scans\n", far ? "far" : "near", found, wanted, scans);
        ck_assert_double_ge(found, 0.9 * wanted);
    }
    world_delete(world);
}
END_TEST

START_TEST(an_ef_of_the_whole_segment_sees_every_row)
{
    uint64_t state = test_seed();
    struct world *world = world_new(&state);
    struct accept accept = {world->accepted, 0};
    struct index_search search = fixture_search(&world->data, world->data.vectors, K, ROWS);
    struct index_hit hits[K];
    uint32_t count;
    bool exhausted;

    world->accepted[123] = 1;
    search.accept = accept_row;
    search.accept_context = &accept;
    ck_assert_int_eq(
        index_segment_search(world->segment, &search, hits, &count, &exhausted, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(hits[0].row, 123);
    ck_assert(exhausted);
    world_delete(world);
}
END_TEST

START_TEST(hits_at_or_below_the_floor_are_left_out_without_asking_for_a_scan)
{
    uint64_t state = test_seed();
    struct world *world = world_new(&state);
    struct index_search search = fixture_search(&world->data, world->data.vectors, K, 64);
    struct index_hit all[K], some[K];
    uint32_t count;
    bool exhausted;

    ck_assert_int_eq(
        index_segment_search(world->segment, &search, all, &count, &exhausted, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, K);
    search.floor_score = all[4].score;
    ck_assert_int_eq(
        index_segment_search(world->segment, &search, some, &count, &exhausted, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, 4);
    ck_assert_mem_eq(some, all, 4 * sizeof(all[0]));
    ck_assert(exhausted);
    world_delete(world);
}
END_TEST

static struct vector_row damaged_vector(void *context, uint32_t row, struct error *error)
{
    (void)context;
    error_set(error, ERROR_CORRUPT, "row %u is damaged", row);
    return (struct vector_row){.bytes = NULL};
}

START_TEST(a_damaged_vector_is_an_error_and_not_a_result)
{
    uint64_t state = test_seed();
    struct world *world = world_new(&state);
    struct index_search search = fixture_search(&world->data, world->data.vectors, K, 64);
    struct index_hit hits[K];
    struct error error = {0};
    uint32_t count;
    bool exhausted;

    search.vector = damaged_vector;
    ck_assert_int_eq(
        index_segment_search(world->segment, &search, hits, &count, &exhausted, &error),
        ERROR_CORRUPT);
    ck_assert_uint_eq(count, 0);
    ck_assert_ptr_nonnull(strstr(error.text, "is damaged"));
    world_delete(world);
}
END_TEST

START_TEST(k_may_be_zero_or_more_than_there_are_rows)
{
    uint64_t state = test_seed();
    struct world *world = world_new(&state);
    struct index_hit *hits = malloc((ROWS + 100) * sizeof(*hits));
    struct index_search search = fixture_search(&world->data, world->data.vectors, 0, 0);
    uint32_t count;
    bool exhausted;

    ck_assert_int_eq(
        index_segment_search(world->segment, &search, hits, &count, &exhausted, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, 0);
    search.k = ROWS + 100;
    ck_assert_int_eq(
        index_segment_search(world->segment, &search, hits, &count, &exhausted, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, ROWS);
    ck_assert(exhausted);
    free(hits);
    world_delete(world);
}
END_TEST

struct searcher {
    const struct world *world;
    const struct index_hit *truth; /* K for each query */
    pthread_t thread;
    bool wrong;
};

static void *search_many(void *argument)
{
    struct searcher *searcher = argument;

    for (uint32_t i = 0; i < 20 * QUERIES; i++) {
        uint32_t q = i % QUERIES, count;
        struct index_search search = fixture_search(
            &searcher->world->data, searcher->world->data.vectors + (size_t)q * DIM, K, 50);
        struct index_hit hits[K];
        bool exhausted;
        if (index_segment_search(searcher->world->segment, &search, hits, &count, &exhausted,
                                 ERROR_IGNORED) != 0 ||
            count != K || memcmp(hits, searcher->truth + (size_t)q * K, sizeof(hits)) != 0)
            searcher->wrong = true;
    }
    return NULL;
}

START_TEST(threads_search_one_segment_without_disturbing_each_other)
{
    uint64_t state = test_seed();
    struct world *world = world_new(&state);
    struct index_hit truth[QUERIES * K];
    struct searcher searchers[4];

    for (uint32_t q = 0; q < QUERIES; q++) {
        struct index_search search =
            fixture_search(&world->data, world->data.vectors + (size_t)q * DIM, K, 50);
        uint32_t count;
        bool exhausted;
        ck_assert_int_eq(index_segment_search(world->segment, &search, truth + (size_t)q * K,
                                              &count, &exhausted, ERROR_IGNORED),
                         0);
        ck_assert_uint_eq(count, K);
    }
    for (int i = 0; i < 4; i++) {
        searchers[i] = (struct searcher){.world = world, .truth = truth};
        ck_assert_int_eq(pthread_create(&searchers[i].thread, NULL, search_many, &searchers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(searchers[i].thread, NULL);
        ck_assert(!searchers[i].wrong);
    }
    world_delete(world);
}
END_TEST

TEST_TABLE(TEST(filtered_search_returns_k_or_asks_for_a_scan_at_every_selectivity),
           TEST(filters_correlated_with_the_query_return_k_or_ask_for_a_scan),
           TEST(an_ef_of_the_whole_segment_sees_every_row),
           TEST(hits_at_or_below_the_floor_are_left_out_without_asking_for_a_scan),
           TEST(a_damaged_vector_is_an_error_and_not_a_result),
           TEST(k_may_be_zero_or_more_than_there_are_rows),
           TEST(threads_search_one_segment_without_disturbing_each_other))
