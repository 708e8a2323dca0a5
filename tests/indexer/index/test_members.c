/* Several segments searched as one: the same answers as one segment over all rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 6000, PARTS = 5, DIM = 32, QUERIES = 40, K = 10 };

/* Parts of different sizes, the last too small to have levels. */
static const uint32_t part_rows[PARTS] = {2500, 1800, 1100, 550, 50};

struct forest {
    struct fixture_data data, parts[PARTS], queries;
    struct index_segment *segments[PARTS];
    uint32_t first[PARTS];
    uint64_t *matching[PARTS];
    uint64_t matching_rows[PARTS];
    enum vector_metric metric;
    bool scans;
};

static void forest_open(struct forest *forest, enum vector_metric metric, uint64_t *state)
{
    struct index_build_options options = fixture_options(metric, DIM);
    uint32_t first = 0;

    *forest = (struct forest){.metric = metric};
    forest->data = fixture_clusters(metric, ROWS + QUERIES, DIM, 15, 0.5f, state);
    forest->data.count = ROWS;
    forest->queries = forest->data;
    forest->queries.vectors += (size_t)ROWS * DIM;
    for (int i = 0; i < PARTS; i++) {
        forest->parts[i] =
            (struct fixture_data){forest->data.vectors + (size_t)first * DIM, part_rows[i], DIM};
        forest->segments[i] = fixture_segment(&forest->parts[i], &options);
        (void)unlink(fixture_path()); /* the mapping stays */
        forest->first[i] = first;
        forest->matching[i] = calloc(part_rows[i] / 64 + 1, sizeof(uint64_t));
        first += part_rows[i];
    }
    ck_assert_uint_eq(first, ROWS);
}

static void forest_close(struct forest *forest)
{
    for (int i = 0; i < PARTS; i++) {
        index_segment_close(forest->segments[i]);
        free(forest->matching[i]);
    }
    fixture_data_destroy(&forest->data);
}

static bool is_set(const struct forest *forest, uint32_t part, uint32_t row)
{
    return forest->matching[part][row / 64] >> row % 64 & 1;
}

/* `percent` of the rows match: any, or, with `side`, those whose first coordinate is small or large
 * for the most part. */
static void choose_matching(struct forest *forest, uint32_t percent, int side, uint64_t *state)
{
    for (uint32_t i = 0; i < PARTS; i++) {
        memset(forest->matching[i], 0, (part_rows[i] / 64 + 1) * sizeof(uint64_t));
        forest->matching_rows[i] = 0;
        for (uint32_t row = 0; row < part_rows[i]; row++) {
            float value = forest->parts[i].vectors[(size_t)row * DIM];
            uint64_t chance = side && (value > 0) != (side > 0) ? percent / 8 : percent;
            if (test_random(state) % 100 >= chance)
                continue;
            forest->matching[i][row / 64] |= UINT64_C(1) << row % 64;
            forest->matching_rows[i]++;
        }
    }
}

static uint32_t truth(const struct forest *forest, const float *query, bool filtered,
                      struct index_hit *out)
{
    struct index_hit *all = malloc(ROWS * sizeof(*all));
    uint32_t count, found = 0;

    index_exact_top(forest->metric, forest->data.vectors, ROWS, DIM, query, ROWS, all, &count);
    for (uint32_t i = 0; i < count && found < K; i++) {
        uint32_t part = 0;
        while (part + 1 < PARTS && all[i].row >= forest->first[part + 1])
            part++;
        if (!filtered || is_set(forest, part, all[i].row - forest->first[part]))
            out[found++] = all[i];
    }
    free(all);
    return found;
}

/* Returns how many of the true hits came. */
static uint32_t search(const struct forest *forest, const float *query, uint32_t ef, bool filtered,
                       uint32_t *wanted)
{
    struct index_group_member members[PARTS];
    struct index_search asked = fixture_search(&forest->data, query, K, ef);
    struct index_hit hits[K], exact[K];
    struct error error = {0};
    uint32_t owners[K], count, found = 0;
    bool exhausted;

    asked.scans = forest->scans;
    for (int i = 0; i < PARTS; i++)
        members[i] = (struct index_group_member){.segment = forest->segments[i],
                                                 .matching = filtered ? forest->matching[i] : NULL,
                                                 .matching_rows = forest->matching_rows[i],
                                                 .vector = fixture_vector,
                                                 .vector_context = (void *)&forest->parts[i]};
    *wanted = truth(forest, query, filtered, exact);
    ck_assert_int_eq(
        index_group_search(members, PARTS, &asked, hits, owners, &count, &exhausted, &error), 0);
    ck_assert(count == *wanted || !exhausted);
    ck_assert(exhausted || !forest->scans);
    for (uint32_t i = 0; i < count; i++) {
        const float *vector;
        ck_assert_uint_lt(owners[i], PARTS);
        ck_assert_uint_lt(hits[i].row, part_rows[owners[i]]);
        ck_assert(!filtered || is_set(forest, owners[i], hits[i].row));
        vector = forest->parts[owners[i]].vectors + (size_t)hits[i].row * DIM;
        ck_assert_float_eq(hits[i].score, index_score(forest->metric, query, vector, DIM));
        ck_assert(i == 0 || hits[i].score <= hits[i - 1].score);
        for (uint32_t j = 0; j < i; j++)
            ck_assert(owners[i] != owners[j] || hits[i].row != hits[j].row);
        found += *wanted > 0 && hits[i].score >= exact[*wanted - 1].score;
    }
    /* What is not exhausted is finished by its caller's scan. */
    return exhausted ? found : *wanted;
}

static double recall(const struct forest *forest, uint32_t ef, bool filtered)
{
    uint32_t found = 0, wanted = 0;

    for (uint32_t q = 0; q < QUERIES; q++) {
        uint32_t more;
        found += search(forest, forest->queries.vectors + (size_t)q * DIM, ef, filtered, &more);
        wanted += more;
    }
    return wanted ? (double)found / wanted : 1;
}

START_TEST(segments_searched_as_one_find_what_one_segment_would)
{
    /* Under the inner product one seed in 150 gives .9375. */
    static const struct {
        enum vector_metric metric;
        double least;
    } cases[] = {{VECTOR_METRIC_L2, 0.95}, {VECTOR_METRIC_COSINE, 0.95}, {VECTOR_METRIC_DOT, 0.92}};
    uint64_t state = test_seed();
    double narrow = 0, wide = 0;

    for (int i = 0; i < 3; i++) {
        struct forest forest;
        double found[2];
        forest_open(&forest, cases[i].metric, &state);
        found[0] = recall(&forest, 64, false);
        found[1] = recall(&forest, 200, false);
        forest_close(&forest);
        ck_assert_double_ge(found[0], cases[i].least);
        ck_assert_double_ge(found[1], cases[i].least);
        narrow += found[0] / 3;
        wide += found[1] / 3;
    }
    ck_assert_double_ge(narrow, 0.95);
    ck_assert_double_ge(wide, 0.95);
}
END_TEST

static void check_shares(uint64_t state)
{
    static const uint32_t percents[] = {1, 3, 5, 10, 25, 45, 60, 100};
    struct forest forest;

    forest_open(&forest, VECTOR_METRIC_L2, &state);
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        for (int side = -1; side <= 1; side++) {
            double reached;
            choose_matching(&forest, percents[i], side, &state);
            forest.scans = false;
            reached = recall(&forest, 64, true);
            ck_assert_msg(reached >= 0.93, "%u %% on side %d: recall %.3f", percents[i], side,
                          reached);
            forest.scans = true;
            reached = recall(&forest, 64, true);
            ck_assert_msg(reached >= 0.99, "%u %% on side %d, by all codes: recall %.3f",
                          percents[i], side, reached);
        }
    forest_close(&forest);
}

START_TEST(only_matching_rows_come_back_at_every_share)
{
    check_shares(test_seed());
}
END_TEST

/* With this seed a tenth of the rows match far from the queries and one in eighty near them: a walk
 * over matching rows alone found four in five. */
START_TEST(rows_that_hardly_match_near_the_query_are_found)
{
    check_shares(UINT64_C(1882481628820334));
}
END_TEST

static bool count_accepted(void *context, uint32_t row)
{
    (void)row;
    ++*(uint32_t *)context;
    return true;
}

/* A walk over all rows asks about each matching one that it meets, time and again as it widens. */
START_TEST(a_walk_to_matching_rows_far_from_the_query_goes_over_those_alone)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 1, 1.0f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    uint64_t matching[ROWS / 64 + 1] = {0};
    uint32_t asked = 0;
    struct index_group_member member = {.matching = matching,
                                        .accept = count_accepted,
                                        .accept_context = &asked,
                                        .vector = fixture_vector,
                                        .vector_context = &data};
    struct index_segment *segment;

    for (uint32_t row = 0; row < ROWS; row++) {
        bool matches = row % 3 == 0;
        data.vectors[(size_t)row * DIM] += matches ? 30 : 0;
        matching[row / 64] |= (uint64_t)matches << row % 64;
        member.matching_rows += matches;
    }
    segment = fixture_segment(&data, &options);
    (void)unlink(fixture_path()); /* the mapping stays */
    member.segment = segment;
    for (uint32_t q = 0; q < QUERIES; q++) {
        struct index_search search =
            fixture_search(&data, data.vectors + (size_t)(3 * q + 1) * DIM, K, 64);
        struct index_hit hits[K];
        uint32_t owners[K], count;
        struct error error = {0};
        bool exhausted;
        ck_assert_int_eq(
            index_group_search(&member, 1, &search, hits, owners, &count, &exhausted, &error), 0);
        ck_assert_uint_eq(count, K);
        ck_assert(exhausted);
    }
    printf("%u rows asked about in a search\n", asked / QUERIES);
    ck_assert_uint_le(asked / QUERIES, 4 * K);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

enum { ISLANDS = 11, ISLAND_ROWS = 400, MANY = 100 };

/* Segments that lie far from each other, more than are walked side by side. */
struct islands {
    struct fixture_data parts[ISLANDS];
    struct index_group_member members[ISLANDS];
    uint64_t matching[ISLAND_ROWS / 64 + 1];
};

static void islands_open(struct islands *islands, uint64_t *state)
{
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);

    *islands = (struct islands){0};
    for (uint32_t i = 0; i < ISLANDS; i++) {
        struct fixture_data *part = &islands->parts[i];
        *part = fixture_clusters(VECTOR_METRIC_L2, ISLAND_ROWS, DIM, 1, 0.5f, state);
        for (uint32_t row = 0; row < ISLAND_ROWS; row++)
            part->vectors[(size_t)row * DIM + i] += 40;
        islands->members[i] =
            (struct index_group_member){.segment = fixture_segment(part, &options),
                                        .vector = fixture_vector,
                                        .vector_context = part};
        (void)unlink(fixture_path()); /* the mapping stays */
    }
}

static void islands_close(struct islands *islands)
{
    for (uint32_t i = 0; i < ISLANDS; i++) {
        index_segment_close((void *)(uintptr_t)islands->members[i].segment);
        fixture_data_destroy(&islands->parts[i]);
    }
}

/* Asks with a row of one part for as many as lie in it in the neighbourhood of the row. */
static uint32_t ask_island(const struct islands *islands, uint32_t part, uint32_t row,
                           struct index_hit hits[MANY], uint32_t owners[MANY], bool *exhausted)
{
    const float *query = islands->parts[part].vectors + (size_t)row * DIM;
    struct index_search search = {.query = query, .k = MANY, .ef = MANY, .floor_score = -INFINITY};
    struct error error = {0};
    uint32_t count;

    ck_assert_int_eq(index_group_search(islands->members, ISLANDS, &search, hits, owners, &count,
                                        exhausted, &error),
                     0);
    return count;
}

/* A graph misses even the row that is asked with now and then, in about one search of 3,000 here.
 */
enum { ISLANDS_FOUND = ISLANDS - 1 };

/* The other parts are walked before and after it, and must neither take its places nor its way. */
START_TEST(one_segment_that_holds_all_answers_gives_them_all_wherever_it_stands)
{
    uint64_t state = test_seed();
    uint32_t own = 0;
    struct islands islands;

    islands_open(&islands, &state);
    for (uint32_t part = 0; part < ISLANDS; part++) {
        struct index_hit hits[MANY], exact[MANY];
        uint32_t owners[MANY], count, found = 0;
        uint32_t row = (uint32_t)(test_random(&state) % ISLAND_ROWS);
        bool exhausted;

        ck_assert_uint_eq(ask_island(&islands, part, row, hits, owners, &exhausted), MANY);
        ck_assert(exhausted);
        index_exact_top(VECTOR_METRIC_L2, islands.parts[part].vectors, ISLAND_ROWS, DIM,
                        islands.parts[part].vectors + (size_t)row * DIM, MANY, exact, &count);
        for (uint32_t i = 0; i < MANY; i++) {
            ck_assert_uint_eq(owners[i], part);
            found += hits[i].score >= exact[MANY - 1].score;
        }
        ck_assert_msg(found >= MANY * 9 / 10, "part %u: %u of %d", part, found, MANY);
        own += hits[0].row == row;
    }
    ck_assert_uint_ge(own, ISLANDS_FOUND);
    islands_close(&islands);
}
END_TEST

START_TEST(a_segment_without_a_matching_row_gives_none_and_takes_none_from_others)
{
    uint64_t state = test_seed();
    uint32_t own = 0;
    struct islands islands;

    islands_open(&islands, &state);
    for (uint32_t part = 0; part < ISLANDS; part++) {
        struct index_hit hits[MANY];
        uint32_t owners[MANY], count, other = (part + 1) % ISLANDS;
        bool exhausted;

        islands.members[part].matching = islands.matching;
        count = ask_island(&islands, part, 0, hits, owners, &exhausted);
        ck_assert(count == MANY || !exhausted);
        for (uint32_t i = 0; i < count; i++)
            ck_assert_uint_ne(owners[i], part);
        count = ask_island(&islands, other, 0, hits, owners, &exhausted);
        ck_assert(count == MANY || !exhausted);
        ck_assert_uint_gt(count, 0);
        ck_assert_uint_eq(owners[0], other);
        own += hits[0].row == 0;
        islands.members[part].matching = NULL;
    }
    ck_assert_uint_ge(own, ISLANDS_FOUND);
    islands_close(&islands);
}
END_TEST

TEST_TABLE(TEST(segments_searched_as_one_find_what_one_segment_would),
           TEST(only_matching_rows_come_back_at_every_share),
           TEST(rows_that_hardly_match_near_the_query_are_found),
           TEST(a_walk_to_matching_rows_far_from_the_query_goes_over_those_alone),
           TEST(one_segment_that_holds_all_answers_gives_them_all_wherever_it_stands),
           TEST(a_segment_without_a_matching_row_gives_none_and_takes_none_from_others))
