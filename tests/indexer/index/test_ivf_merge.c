/* Lists put together from coded rows, and searches of a part of their rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/ivf.h"
#include "indexer/index/segment.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 3000, DIM = 24, K = 10, PARTS = 5 };

static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_L2};

struct setting {
    struct fixture_data data;
    struct index_build_options options;
    struct index_segment *trained; /* whose codebook the options have */
    struct index_ivf_codebook *codebook;
};

static void set_up(struct setting *setting, enum vector_metric metric, uint64_t *state)
{
    setting->data = fixture_clusters(metric, ROWS, DIM, 30, 0.7f, state);
    setting->options = fixture_options(metric, DIM);
    setting->trained = fixture_ivf_segment(&setting->data, &setting->options);
    setting->codebook = index_segment_copy_codebook(setting->trained);
    setting->options.codebook = setting->codebook;
}

static void tear_down(struct setting *setting)
{
    index_codebook_delete(setting->codebook);
    index_segment_close(setting->trained);
    fixture_data_destroy(&setting->data);
}

static struct index_ivf *code_rows(const struct setting *setting, const float *vectors,
                                   uint32_t count)
{
    struct error error = {0};
    struct index_ivf *ivf;

    ck_assert_msg(index_ivf_code(vectors, count, &setting->options, &ivf, &error) == 0, "%s",
                  error.text);
    return ivf;
}

static void check_same(const struct index_ivf *a, const struct index_ivf *b)
{
    size_t slots;

    ck_assert_uint_eq(a->count, b->count);
    ck_assert_uint_eq(a->block_count, b->block_count);
    ck_assert_mem_eq(a->sizes, b->sizes, a->codebook.list_count * sizeof(uint32_t));
    slots = (size_t)a->block_count * INDEX_PQ_BLOCK_ROWS;
    ck_assert_mem_eq(a->rows, b->rows, slots * sizeof(uint32_t));
    ck_assert_mem_eq(a->blocks, b->blocks, a->block_count * index_pq_block_bytes(&a->codebook.pq));
    ck_assert_int_eq(a->biases != NULL, b->biases != NULL);
    for (size_t slot = 0; a->biases && slot < slots; slot++)
        if (a->rows[slot] != INDEX_IVF_NO_ROW)
            ck_assert_uint_eq(a->biases[slot], b->biases[slot]);
    ck_assert_int_eq(index_ivf_validate(a, ERROR_IGNORED), 0);
}

/* Rows that are taken from here and there, in any order: as if they had been coded in that order. */
START_TEST(copied_codes_are_those_of_rows_coded_at_once)
{
    uint64_t state = test_seed();

    for (size_t m = 0; m < 2; m++) {
        struct setting setting;
        struct index_ivf *pieces[2], *merged, *whole;
        struct index_ivf_part parts[PARTS];
        uint32_t half = ROWS / 3, total = 0;
        float *vectors = malloc((size_t)ROWS * DIM * sizeof(float));
        set_up(&setting, metrics[m], &state);
        pieces[0] = code_rows(&setting, setting.data.vectors, half);
        pieces[1] = code_rows(&setting, setting.data.vectors + (size_t)half * DIM, ROWS - half);
        for (uint32_t i = 0; i < PARTS; i++) { /* of both pieces in turn, with rows left out */
            uint32_t piece = i % 2, place = i / 2;
            uint32_t stretch = pieces[piece]->count / 3;
            uint32_t count = 1 + (uint32_t)(test_random(&state) % stretch);
            uint32_t first =
                place * stretch + (uint32_t)(test_random(&state) % (stretch - count + 1));
            parts[i] = (struct index_ivf_part){pieces[piece], first, count};
            memcpy(vectors + (size_t)total * DIM,
                   setting.data.vectors + (size_t)(piece * half + first) * DIM,
                   (size_t)count * DIM * sizeof(float));
            total += count;
        }
        ck_assert_int_eq(index_ivf_merge(parts, PARTS, &merged, ERROR_IGNORED), 0);
        whole = code_rows(&setting, vectors, total);
        check_same(merged, whole);
        index_ivf_delete(whole);
        index_ivf_delete(merged);
        index_ivf_delete(pieces[0]);
        index_ivf_delete(pieces[1]);
        free(vectors);
        tear_down(&setting);
    }
}
END_TEST

START_TEST(lists_of_two_codebooks_or_with_rows_missing_are_refused)
{
    uint64_t state = test_seed();
    struct setting setting, other;
    struct index_ivf *ivf, *stranger, *merged;
    uint32_t *rows;

    set_up(&setting, VECTOR_METRIC_L2, &state);
    set_up(&other, VECTOR_METRIC_L2, &state);
    ivf = code_rows(&setting, setting.data.vectors, 100);
    stranger = code_rows(&other, other.data.vectors, 100);
    ck_assert_int_eq(index_ivf_merge((struct index_ivf_part[]){{ivf, 0, 100}, {stranger, 0, 100}},
                                     2, &merged, ERROR_IGNORED),
                     ERROR_INVALID);
    rows = (uint32_t *)(uintptr_t)ivf->rows;
    for (uint32_t i = 0; i < ivf->block_count * INDEX_PQ_BLOCK_ROWS; i++)
        if (rows[i] == 7)
            rows[i] = 8;
    ck_assert_int_eq(
        index_ivf_merge((struct index_ivf_part[]){{ivf, 0, 8}}, 1, &merged, ERROR_IGNORED),
        ERROR_CORRUPT);
    ck_assert_ptr_null(merged);
    index_ivf_delete(ivf);
    index_ivf_delete(stranger);
    tear_down(&setting);
    tear_down(&other);
}
END_TEST

/* Rows far from all others are scored by every search, wherever their codes come from; but not where they are not
 * looked at. */
START_TEST(outliers_are_found_in_merged_lists)
{
    uint64_t state = test_seed();
    struct setting setting;
    struct index_ivf *pieces[2], *merged;
    struct index_segment *segment;
    struct error error = {0};
    float *far;
    uint64_t size_bytes;
    uint32_t half = ROWS / 2, rows[2] = {ROWS / 4, ROWS / 2 + ROWS / 4};

    set_up(&setting, VECTOR_METRIC_L2, &state);
    for (int i = 0; i < 2; i++)
        for (uint32_t d = 0; d < DIM; d++)
            setting.data.vectors[(size_t)rows[i] * DIM + d] *= 1e4f;
    pieces[0] = code_rows(&setting, setting.data.vectors, half);
    pieces[1] = code_rows(&setting, setting.data.vectors + (size_t)half * DIM, ROWS - half);
    ck_assert_uint_eq(pieces[0]->outliers.count, 1);
    ck_assert_int_eq(index_ivf_merge((struct index_ivf_part[]){{pieces[0], 1, half - 1},
                                                               {pieces[1], 0, ROWS - half}},
                                     2, &merged, &error),
                     0);
    ck_assert_uint_eq(merged->outliers.count, 2);
    ck_assert_uint_eq(merged->outliers.rows[0], rows[0] - 1);
    ck_assert_uint_eq(merged->outliers.rows[1], rows[1] - 1);
    (void)remove(fixture_path());
    ck_assert_int_eq(index_ivf_write(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, merged,
                                     &size_bytes, &error),
                     0);
    ck_assert_int_eq(index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                        VECTOR_METRIC_L2, DIM, ROWS - 1, &segment, &error),
                     0);
    ck_assert_uint_eq(index_segment_lists(segment)->outliers.count, 2);
    far = setting.data.vectors + (size_t)rows[1] * DIM;
    for (int looked_at = 0; looked_at < 2; looked_at++) {
        struct fixture_data data = {setting.data.vectors + DIM, ROWS - 1, DIM};
        struct index_rows range = {rows[looked_at ? 1 : 0] - 1, rows[looked_at ? 1 : 0]};
        struct index_search search = fixture_search(&data, far, 1, 1);
        struct index_group_member member = {.segment = segment,
                                            .ranges = &range,
                                            .range_count = 1,
                                            .vector = search.vector,
                                            .vector_context = search.vector_context};
        struct index_hit hit;
        uint32_t found, number;
        bool exhausted;
        ck_assert_int_eq(
            index_group_search(&member, 1, &search, &hit, &number, &found, &exhausted, &error), 0);
        ck_assert_uint_eq(found, 1);
        ck_assert_uint_eq(hit.row, range.first);
    }
    index_segment_close(segment);
    index_ivf_delete(merged);
    index_ivf_delete(pieces[0]);
    index_ivf_delete(pieces[1]);
    tear_down(&setting);
}
END_TEST

static bool is_inside(uint32_t row, const struct index_rows *ranges, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (row >= ranges[i].first && row < ranges[i].end)
            return true;
    return false;
}

/* Every list is read: as many hits as the ranges have rows, all of them inside. Returns how many of *wanted are those of
 * the brute force. Not always all: rows are scored in the order of their codes until the next would have to be wrong
 * by four standard deviations. */
static uint32_t check_ranges(const struct setting *setting, const struct index_rows *ranges,
                             uint32_t count, const float *query, uint32_t *wanted)
{
    struct index_hit exact[ROWS], hits[K];
    struct index_search search = fixture_search(&setting->data, query, K, ROWS);
    struct index_group_member member = {.segment = setting->trained,
                                        .ranges = ranges,
                                        .range_count = count,
                                        .vector = search.vector,
                                        .vector_context = search.vector_context};
    uint32_t exact_count, found, inside = 0, right = 0, members[K];
    bool exhausted;

    index_exact_top(setting->options.metric, setting->data.vectors, ROWS, DIM, query, ROWS, exact,
                    &exact_count);
    ck_assert_int_eq(
        index_group_search(&member, 1, &search, hits, members, &found, &exhausted, ERROR_IGNORED),
        0);
    ck_assert(exhausted);
    for (uint32_t i = 0; i < exact_count && inside < K; i++)
        if (is_inside(exact[i].row, ranges, count))
            exact[inside++] = exact[i];
    ck_assert_uint_eq(found, inside);
    for (uint32_t i = 0; i < found; i++) {
        ck_assert(is_inside(hits[i].row, ranges, count));
        right += hits[i].score >= exact[inside - 1].score;
    }
    *wanted += inside;
    return right;
}

START_TEST(ranges_of_rows_are_searched_and_nothing_else)
{
    uint64_t state = test_seed();
    uint32_t right = 0, wanted = 0;
    struct setting setting;

    for (size_t m = 0; m < 2; m++) {
        set_up(&setting, metrics[m], &state);
        for (int i = 0; i < 60; i++) {
            struct index_rows ranges[3];
            uint32_t count = (uint32_t)(test_random(&state) % 3) + 1, at = 0;
            for (uint32_t j = 0; j < count; j++) {
                uint32_t room = (ROWS - at) / (count - j);
                ranges[j].first = at + (uint32_t)(test_random(&state) % room);
                at += room;
                ranges[j].end =
                    ranges[j].first +
                    (i % 3 == 0 ? 1 : 1 + (uint32_t)(test_random(&state) % (at - ranges[j].first)));
            }
            right += check_ranges(&setting, ranges, count,
                                  setting.data.vectors + (size_t)(test_random(&state) % ROWS) * DIM,
                                  &wanted);
        }
        tear_down(&setting);
    }
    printf("%u of %u found\n", right, wanted);
    ck_assert_uint_ge(right, wanted * 98 / 100);
}
END_TEST

/* Two searches that look at the same rows, each with ranges of its own. */
START_TEST(queries_of_equal_ranges_read_lists_together)
{
    enum { QUERIES = 20 };
    uint64_t state = test_seed();
    struct setting setting;

    for (size_t m = 0; m < 2; m++) {
        const struct index_rows ranges[2] = {{3, ROWS / 3}, {ROWS / 2, ROWS - 7}};
        struct index_rows own[QUERIES][2];
        struct index_group_query queries[QUERIES];
        struct index_group_member members[QUERIES];
        struct index_search searches[QUERIES];
        struct index_hit hits[QUERIES][K], alone[K];
        uint32_t owners[QUERIES][K];
        set_up(&setting, metrics[m], &state);
        for (uint32_t i = 0; i < QUERIES; i++) {
            memcpy(own[i], ranges, sizeof(ranges));
            searches[i] = fixture_search(
                &setting.data, setting.data.vectors + (size_t)(test_random(&state) % ROWS) * DIM,
                1 + (uint32_t)(test_random(&state) % K), 64);
            members[i] = (struct index_group_member){.segment = setting.trained,
                                                     .ranges = own[i],
                                                     .range_count = 2,
                                                     .vector = searches[i].vector,
                                                     .vector_context = searches[i].vector_context};
            queries[i] = (struct index_group_query){.members = &members[i],
                                                    .search = &searches[i],
                                                    .hits = hits[i],
                                                    .hit_members = owners[i]};
        }
        ck_assert(index_queries_share_rows(queries, QUERIES, 1));
        index_group_searches(queries, QUERIES, 1);
        for (uint32_t i = 0; i < QUERIES; i++) {
            uint32_t count;
            bool exhausted;
            ck_assert_int_eq(queries[i].status, 0);
            ck_assert_int_eq(index_group_search(&members[i], 1, &searches[i], alone, owners[i],
                                                &count, &exhausted, ERROR_IGNORED),
                             0);
            ck_assert_uint_eq(queries[i].hit_count, count);
            ck_assert_mem_eq(hits[i], alone, count * sizeof(alone[0]));
        }
        own[QUERIES - 1][1].end--;
        ck_assert(!index_queries_share_rows(queries, QUERIES, 1));
        members[QUERIES - 1].range_count = 1;
        ck_assert(!index_queries_share_rows(queries, QUERIES, 1));
        members[QUERIES - 1].ranges = NULL;
        ck_assert(!index_queries_share_rows(queries, QUERIES, 1));
        tear_down(&setting);
    }
}
END_TEST

TEST_TABLE(TEST(copied_codes_are_those_of_rows_coded_at_once),
           TEST(lists_of_two_codebooks_or_with_rows_missing_are_refused),
           TEST(outliers_are_found_in_merged_lists),
           TEST(ranges_of_rows_are_searched_and_nothing_else),
           TEST(queries_of_equal_ranges_read_lists_together))
