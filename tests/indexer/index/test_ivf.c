/* IVF-PQ: recall, filters and codebooks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 6000, DIM = 40, QUERIES = 40, K = 10 };

static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_DOT,
                                             VECTOR_METRIC_L2};

static struct fixture_data first_rows(const struct fixture_data *data, uint32_t count)
{
    return (struct fixture_data){data->vectors, count, data->dim};
}

START_TEST(recall_is_high_for_all_metrics_and_thread_counts)
{
    uint64_t state = test_seed();

    for (size_t m = 0; m < 3; m++) {
        struct fixture_data data = fixture_clusters(metrics[m], ROWS, DIM, 30, 0.7f, &state);
        struct fixture_data queries = first_rows(&data, QUERIES);
        struct index_build_options options = fixture_options(metrics[m], DIM);
        for (options.thread_count = 1; options.thread_count <= 3; options.thread_count += 2) {
            struct index_segment *segment = fixture_ivf_segment(&data, &options);
            double ten = fixture_recall(segment, metrics[m], &data, &queries, K, 64);
            double hundred = fixture_recall(segment, metrics[m], &data, &queries, 100, 128);
            printf("metric %zu: recall@10 %.3f, @100 %.3f\n", m, ten, hundred);
            ck_assert_int_eq(index_segment_kind(segment), SEGMENT_IVF_PQ);
            ck_assert_double_ge(ten, 0.93);
            ck_assert_double_ge(hundred, 0.93);
            index_segment_close(segment);
        }
        fixture_data_destroy(&data);
    }
}
END_TEST

START_TEST(the_same_seed_gives_the_same_file_whatever_the_threads)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    uint8_t *contents[3];
    size_t sizes[3];

    for (uint32_t i = 0; i < 3; i++) {
        options.thread_count = i == 1 ? 4 : 1;
        options.seed = i == 2 ? 2 : 1;
        index_segment_close(fixture_ivf_segment(&data, &options));
        contents[i] = fixture_read_file(&sizes[i]);
    }
    ck_assert_uint_eq(sizes[0], sizes[1]);
    ck_assert(memcmp(contents[0], contents[1], sizes[0]) == 0);
    ck_assert(sizes[0] != sizes[2] || memcmp(contents[0], contents[2], sizes[0]) != 0);
    for (int i = 0; i < 3; i++)
        free(contents[i]);
    fixture_data_destroy(&data);
}
END_TEST

/* Data that leave nothing to choose: few rows, one dimension, all equal, nothing but zeros, numbers
 * near the ends of float32. The answer has min(k, rows) rows, the right ones where they differ. */
START_TEST(degenerate_windows_are_answered_in_full)
{
    static const struct {
        uint32_t rows, dim;
        float scale, offset; /* of the values */
    } cases[] = {{1, 1, 1, 0},        {1, 70, 1, 0},      {2, 5, 1, 0},         {33, 1, 1, 0},
                 {500, 3, 0, 0},      {500, 20, 0, 5},    {300, 20, 1e-20f, 0}, {300, 20, 1e15f, 0},
                 {300, 20, 1e18f, 0}, {300, 20, 1, 1e6f}, {200, 1100, 1, 0}};
    uint64_t state = test_seed();

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        for (size_t m = 0; m < 3; m++) {
            uint32_t rows = cases[c].rows, dim = cases[c].dim;
            struct fixture_data data = {malloc((size_t)rows * dim * sizeof(float)), rows, dim};
            struct index_build_options options = fixture_options(metrics[m], dim);
            struct index_segment *segment;
            struct index_search search;
            struct index_hit hits[K];
            struct error error;
            uint32_t count;
            bool exhausted;
            for (size_t i = 0; i < (size_t)rows * dim; i++)
                data.vectors[i] = cases[c].offset + cases[c].scale * fixture_gauss(&state);
            for (uint32_t row = 0; row < rows && metrics[m] == VECTOR_METRIC_COSINE; row++)
                index_normalise(data.vectors + (size_t)row * dim, dim);
            segment = fixture_ivf_segment(&data, &options);
            search = fixture_search(&data, data.vectors, K, 64);
            ck_assert_int_eq(
                index_segment_search(segment, &search, hits, &count, &exhausted, &error), 0);
            ck_assert_uint_eq(count, rows < K ? rows : K);
            ck_assert(exhausted);
            if (cases[c].scale == 1 && metrics[m] == VECTOR_METRIC_L2)
                ck_assert_uint_eq(hits[0].row, 0);
            index_segment_close(segment);
            fixture_data_destroy(&data);
        }
}
END_TEST

struct accept {
    const uint8_t *accepted;
};

static bool accept_row(void *context, uint32_t row)
{
    const struct accept *accept = context;

    if (row >= ROWS) /* an assertion of check writes a message each time: too slow here */
        ck_abort_msg("row %u of %u", row, ROWS);
    return accept->accepted[row];
}

/* Every hit is an accepted row, and there are k whenever k rows match, without a scan. */
static uint32_t search_filtered(const struct index_segment *segment,
                                const struct fixture_data *data, const float *query,
                                const uint8_t *accepted, uint32_t *wanted)
{
    struct index_hit hits[K], *truth = malloc(ROWS * sizeof(*truth));
    struct accept accept = {accepted};
    struct index_search search = fixture_search(data, query, K, 64);
    struct error error;
    uint32_t count, all, found = 0;
    float worst = -INFINITY;
    bool exhausted;

    search.accept = accept_row;
    search.accept_context = &accept;
    ck_assert_int_eq(index_segment_search(segment, &search, hits, &count, &exhausted, &error), 0);
    ck_assert(exhausted);
    index_exact_top(VECTOR_METRIC_L2, data->vectors, ROWS, DIM, query, ROWS, truth, &all);
    *wanted = 0;
    for (uint32_t i = 0; i < all && *wanted < K; i++)
        if (accepted[truth[i].row]) {
            worst = truth[i].score;
            ++*wanted;
        }
    ck_assert_uint_eq(count, *wanted);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(accepted[hits[i].row]);
        found += hits[i].score >= worst;
    }
    free(truth);
    return found;
}

START_TEST(filtered_search_returns_all_k_at_every_selectivity)
{
    static const double selectivities[] = {1, 0.5, 0.1, 0.03, 0.01, 0.001, 0};
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct index_segment *segment = fixture_ivf_segment(&data, &options);
    uint8_t *accepted = malloc(ROWS);

    for (size_t s = 0; s < sizeof(selectivities) / sizeof(selectivities[0]); s++) {
        uint32_t found = 0, wanted = 0;
        for (uint32_t row = 0; row < ROWS; row++)
            accepted[row] =
                (double)(test_random(&state) >> 11) / 9007199254740992.0 < selectivities[s];
        for (uint32_t q = 0; q < QUERIES; q++) {
            uint32_t wanted_now;
            found += search_filtered(segment, &data, data.vectors + (size_t)q * 97 * DIM, accepted,
                                     &wanted_now);
            wanted += wanted_now;
        }
        printf("selectivity %g: %u of %u found\n", selectivities[s], found, wanted);
        ck_assert_double_ge(found, 0.95 * wanted);
    }
    free(accepted);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

struct counted {
    const struct fixture_data *data;
    uint32_t vectors;
};

static struct vector_row count_vector(void *context, uint32_t row, struct error *error)
{
    struct counted *counted = context;

    counted->vectors++;
    return fixture_vector((void *)(uintptr_t)counted->data, row, error);
}

/* Rows without order, which 4 bits tell apart badly: codes must spare most of the scoring all the
 * same. What a filter leaves could as well be scored row by row. */
START_TEST(a_filtered_search_scores_a_part_of_what_matches)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 1, 1.0f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct index_segment *segment = fixture_ivf_segment(&data, &options);
    uint64_t *matching = calloc(ROWS / 64 + 1, sizeof(*matching));
    uint32_t matching_rows = 0, scored = 0;

    for (uint32_t row = 0; row < ROWS; row++)
        if (test_random(&state) % 5 == 0) {
            matching[row / 64] |= UINT64_C(1) << row % 64;
            matching_rows++;
        }
    for (uint32_t q = 0; q < QUERIES; q++) {
        struct counted counted = {&data, 0};
        struct index_group_member member = {.segment = segment,
                                            .matching = matching,
                                            .matching_rows = matching_rows,
                                            .vector = count_vector,
                                            .vector_context = &counted};
        struct index_search search =
            fixture_search(&data, data.vectors + (size_t)q * 97 * DIM, K, 32);
        struct index_hit hits[K];
        uint32_t members[K], count;
        struct error error;
        bool exhausted;
        ck_assert_int_eq(
            index_group_search(&member, 1, &search, hits, members, &count, &exhausted, &error), 0);
        ck_assert_uint_eq(count, K);
        scored += counted.vectors;
    }
    printf("%u of %u matching rows scored\n", scored / QUERIES, matching_rows);
    ck_assert_uint_lt(scored / QUERIES, matching_rows / 6); /* a fifth before patience */
    free(matching);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

/* Only rows far from the query match, or only those near it. */
START_TEST(filters_correlated_with_the_query_return_all_k)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct index_segment *segment = fixture_ivf_segment(&data, &options);
    uint8_t *accepted = malloc(ROWS);

    for (int far = 0; far < 2; far++) {
        uint32_t found = 0, wanted = 0;
        for (uint32_t q = 0; q < QUERIES; q++) {
            const float *query = data.vectors + (size_t)q * 97 * DIM;
            uint32_t wanted_now;
            for (uint32_t row = 0; row < ROWS; row++)
                accepted[row] =
                    (index_score(VECTOR_METRIC_L2, query, data.vectors + (size_t)row * DIM, DIM) <
                     -2.0f * DIM) == (far == 1);
            found += search_filtered(segment, &data, query, accepted, &wanted_now);
            wanted += wanted_now;
        }
        printf("far %d: %u of %u found\n", far, found, wanted);
        ck_assert_double_ge(found, 0.9 * wanted);
    }
    free(accepted);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(hits_at_or_below_the_floor_are_left_out)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct index_segment *segment = fixture_ivf_segment(&data, &options);
    struct index_search search = fixture_search(&data, data.vectors, K, 64);
    struct index_hit hits[K], above[K];
    struct error error;
    uint32_t count, above_count;
    bool exhausted;

    ck_assert_int_eq(index_segment_search(segment, &search, hits, &count, &exhausted, &error), 0);
    ck_assert_uint_eq(count, K);
    search.floor_score = hits[4].score;
    ck_assert_int_eq(
        index_segment_search(segment, &search, above, &above_count, &exhausted, &error), 0);
    ck_assert_uint_eq(above_count, 4);
    ck_assert_mem_eq(above, hits, 4 * sizeof(hits[0]));
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

static struct index_segment *built_after(const struct index_segment *former,
                                         const struct fixture_data *data)
{
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct index_ivf_codebook *codebook = former ? index_segment_copy_codebook(former) : NULL;
    struct index_segment *segment;

    options.codebook = codebook;
    segment = fixture_ivf_segment(data, &options);
    index_codebook_delete(codebook);
    return segment;
}

START_TEST(windows_share_a_codebook_until_the_data_drift)
{
    uint64_t state = test_seed();
    struct fixture_data all = fixture_clusters(VECTOR_METRIC_L2, 2 * ROWS, DIM, 30, 0.7f, &state);
    struct fixture_data second = {all.vectors + (size_t)ROWS * DIM, ROWS, DIM};
    struct fixture_data other = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct fixture_data first = first_rows(&all, ROWS), queries = first_rows(&second, QUERIES);
    struct fixture_data few = first_rows(&all, 60);
    struct index_segment *segment = built_after(NULL, &first), *next, *drifted, *small;
    double recall;

    next = built_after(segment, &second);
    drifted = built_after(next, &other);
    small = built_after(segment, &few);
    ck_assert_uint_ne(index_segment_codebook(segment), 0);
    ck_assert_uint_eq(index_segment_codebook(next), index_segment_codebook(segment));
    ck_assert_uint_ne(index_segment_codebook(drifted), index_segment_codebook(segment));
    ck_assert_uint_ne(index_segment_codebook(small), index_segment_codebook(segment));
    recall = fixture_recall(next, VECTOR_METRIC_L2, &second, &queries, K, 64);
    printf("recall with an older window's centroids: %.3f\n", recall);
    ck_assert_double_ge(recall, 0.95);
    index_segment_close(segment);
    index_segment_close(next);
    index_segment_close(drifted);
    index_segment_close(small);
    fixture_data_destroy(&all);
    fixture_data_destroy(&other);
}
END_TEST

/* A codebook on its way to another machine: the same in both directions, and of damaged bytes none.
 */
START_TEST(a_codebook_goes_through_bytes_and_damage_is_told)
{
    uint64_t state = test_seed();

    for (size_t m = 0; m < 3; m++) {
        struct fixture_data data = fixture_clusters(metrics[m], ROWS, DIM, 30, 0.7f, &state);
        struct fixture_data first = first_rows(&data, ROWS / 2);
        struct index_build_options options = fixture_options(metrics[m], DIM);
        struct index_segment *segment = fixture_ivf_segment(&first, &options), *next;
        struct index_ivf_codebook *codebook = index_segment_copy_codebook(segment), *unpacked;
        struct buffer bytes = {0}, again = {0};
        struct error error = {0};
        ck_assert_int_eq(index_codebook_pack(codebook, &bytes, &error), 0);
        ck_assert_msg(index_codebook_unpack(bytes.data, bytes.size, &unpacked, &error) == 0, "%s",
                      error.text);
        ck_assert_int_eq(index_codebook_pack(unpacked, &again, &error), 0);
        ck_assert_uint_eq(bytes.size, again.size);
        ck_assert_mem_eq(bytes.data, again.data, bytes.size);
        options.codebook = unpacked;
        next = fixture_ivf_segment(&data, &options);
        ck_assert_uint_eq(index_segment_codebook(next), index_segment_codebook(segment));
        index_codebook_delete(unpacked);
        for (int i = 0; i < 200; i++) {
            size_t at = test_random(&state) % bytes.size;
            uint8_t flip = (uint8_t)(1U << test_random(&state) % 8);
            int code;
            bytes.data[at] ^= flip;
            code = index_codebook_unpack(bytes.data, bytes.size, &unpacked, &error);
            bytes.data[at] ^= flip;
            /* Only between sections is there nothing to damage. */
            ck_assert(code != 0 || again.data[at] == 0);
            ck_assert((code == 0) == (unpacked != NULL));
            index_codebook_delete(unpacked);
            at = test_random(&state) % bytes.size;
            ck_assert_int_ne(index_codebook_unpack(bytes.data, at, &unpacked, &error), 0);
        }
        buffer_destroy(&bytes);
        buffer_destroy(&again);
        index_codebook_delete(codebook);
        index_segment_close(segment);
        index_segment_close(next);
        fixture_data_destroy(&data);
    }
}
END_TEST

/* Three windows are searched as one: rows of the right window, as good as in one segment. */
START_TEST(windows_of_one_codebook_are_searched_as_one)
{
    enum { PARTS = 3, PART_ROWS = ROWS / PARTS };
    uint64_t state = test_seed();
    struct fixture_data all = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct fixture_data parts[PARTS];
    struct index_group_member members[PARTS];
    uint32_t found = 0;

    for (uint32_t i = 0; i < PARTS; i++) {
        parts[i] = (struct fixture_data){all.vectors + (size_t)i * PART_ROWS * DIM, PART_ROWS, DIM};
        members[i] = (struct index_group_member){
            .segment = built_after(i ? members[0].segment : NULL, &parts[i]),
            .vector = fixture_vector,
            .vector_context = &parts[i]};
        ck_assert_uint_eq(index_segment_group(members[i].segment),
                          index_segment_group(members[0].segment));
    }
    for (uint32_t q = 0; q < QUERIES; q++) {
        const float *query = all.vectors + (size_t)q * 149 * DIM;
        struct index_search search = fixture_search(&all, query, K, 64);
        struct index_hit hits[K], truth[K];
        uint32_t owners[K], count, truth_count;
        struct error error;
        bool exhausted;
        ck_assert_int_eq(
            index_group_search(members, PARTS, &search, hits, owners, &count, &exhausted, &error),
            0);
        ck_assert_uint_eq(count, K);
        index_exact_top(VECTOR_METRIC_L2, all.vectors, ROWS, DIM, query, K, truth, &truth_count);
        for (uint32_t i = 0; i < K; i++) {
            uint32_t row = owners[i] * PART_ROWS + hits[i].row;
            ck_assert_float_eq(hits[i].score, index_score(VECTOR_METRIC_L2, query,
                                                          all.vectors + (size_t)row * DIM, DIM));
            found += hits[i].score >= truth[K - 1].score;
        }
    }
    printf("%u of %u found\n", found, QUERIES * K);
    ck_assert_uint_ge(found, QUERIES * K * 93 / 100);
    for (uint32_t i = 0; i < PARTS; i++)
        index_segment_close((void *)(uintptr_t)members[i].segment);
    fixture_data_destroy(&all);
}
END_TEST

struct progress {
    uint32_t last, total, cancel_at;
    atomic_bool cancel;
};

static void on_progress(void *context, uint32_t done, uint32_t total)
{
    struct progress *progress = context;

    ck_assert_uint_ge(done, progress->last);
    progress->last = done;
    progress->total = total;
    if (done >= progress->cancel_at)
        atomic_store(&progress->cancel, true);
}

/* Queries of all kinds in one call: other k, ef and floors, filters from all rows down to none. Whatever
 * order the lists are read in, each has the hits that it has alone, bit for bit. */
START_TEST(queries_searched_together_have_the_answers_that_each_has_alone)
{
    enum { TOGETHER = 50, K_MOST = 700 };
    uint64_t state = test_seed();

    for (size_t m = 0; m < 3; m++) {
        /* Few distinct rows: many candidates are equally near. */
        struct fixture_data data = fixture_clusters(metrics[m], ROWS, DIM, 30, 0.7f, &state);
        struct index_build_options options = fixture_options(metrics[m], DIM);
        struct index_group_query *queries = calloc(TOGETHER, sizeof(*queries));
        struct index_group_member members[TOGETHER];
        struct index_search searches[TOGETHER];
        struct accept accepts[TOGETHER];
        struct index_segment *segment;
        for (uint32_t row = ROWS / 2; row < ROWS; row++)
            memcpy(data.vectors + (size_t)row * DIM, data.vectors + (size_t)(row % 50) * DIM,
                   DIM * sizeof(float));
        segment = fixture_ivf_segment(&data, &options);
        for (uint32_t i = 0; i < TOGETHER; i++) {
            static const uint32_t ks[] = {1, 10, 10, 100, K_MOST};
            static const uint32_t ways[] = {1, 1, 2, 10, 200, ROWS};
            uint8_t *accepted = calloc(ROWS, 1);
            for (uint32_t row = 0; row < ROWS; row++)
                accepted[row] = test_random(&state) % ways[i % 6] == 0;
            accepts[i].accepted = accepted;
            searches[i] =
                fixture_search(&data, data.vectors + (size_t)(test_random(&state) % ROWS) * DIM,
                               ks[i % 5], i % 4 ? 48 : 128);
            if (i % 7 == 0)
                searches[i].floor_score = metrics[m] == VECTOR_METRIC_L2 ? -1.0f : 0.5f;
            members[i] = (struct index_group_member){.segment = segment,
                                                     .accept = i % 6 ? accept_row : NULL,
                                                     .accept_context = &accepts[i],
                                                     .vector = fixture_vector,
                                                     .vector_context = searches[i].vector_context};
            queries[i] =
                (struct index_group_query){.members = &members[i],
                                           .search = &searches[i],
                                           .hits = calloc(K_MOST, sizeof(struct index_hit)),
                                           .hit_members = calloc(K_MOST, sizeof(uint32_t))};
        }
        index_group_searches(queries, TOGETHER, 1);
        for (uint32_t i = 0; i < TOGETHER; i++) {
            struct index_hit hits[K_MOST];
            uint32_t hit_members[K_MOST], count;
            struct error error;
            bool exhausted;
            ck_assert_int_eq(queries[i].status, 0);
            ck_assert_int_eq(index_group_search(&members[i], 1, &searches[i], hits, hit_members,
                                                &count, &exhausted, &error),
                             0);
            ck_assert_uint_eq(queries[i].hit_count, count);
            ck_assert_int_eq(queries[i].exhausted, exhausted);
            ck_assert_mem_eq(queries[i].hits, hits, count * sizeof(hits[0]));
            free(queries[i].hits);
            free(queries[i].hit_members);
            free((void *)(uintptr_t)accepts[i].accepted);
        }
        free(queries);
        index_segment_close(segment);
        fixture_data_destroy(&data);
    }
}
END_TEST

START_TEST(a_build_reports_progress_and_can_be_cancelled)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    static const uint32_t cancel_at[] = {UINT32_MAX, ROWS / 4, ROWS / 2, ROWS * 3 / 4, 0};
    struct error error;

    for (size_t i = 0; i < 5; i++) {
        struct progress progress = {.cancel_at = cancel_at[i]};
        struct index_ivf *ivf;
        options.progress = on_progress;
        options.progress_context = &progress;
        options.cancel = &progress.cancel;
        atomic_store(&progress.cancel, cancel_at[i] == 0);
        ck_assert_int_eq(index_ivf_build(data.vectors, ROWS, &options, &ivf, &error),
                         i == 0 ? 0 : ERROR_CANCELLED);
        if (i == 0) {
            ck_assert_uint_eq(progress.last, ROWS);
            ck_assert_uint_eq(progress.total, ROWS);
        }
        index_ivf_delete(ivf);
    }
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(lists_and_probes_are_what_was_asked_for)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 30, 0.7f, &state);
    struct fixture_data queries = first_rows(&data, QUERIES);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct buffer text = {0};
    struct error error;
    double one, all;

    options.lists = 50;
    for (options.probes = 1; options.probes <= 50; options.probes += 49) {
        struct index_segment *segment = fixture_ivf_segment(&data, &options);
        double recall = fixture_recall(segment, VECTOR_METRIC_L2, &data, &queries, K, 64);
        *(options.probes == 1 ? &one : &all) = recall;
        index_segment_close(segment);
    }
    ck_assert_double_lt(one, all);
    ck_assert_double_ge(all, 0.99);
    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), false, &text, &error), 0);
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "lists         50\n"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "fixed: 50\n"));
    buffer_destroy(&text);
    fixture_data_destroy(&data);
}
END_TEST

TEST_TABLE(TEST(recall_is_high_for_all_metrics_and_thread_counts),
           TEST(the_same_seed_gives_the_same_file_whatever_the_threads),
           TEST(degenerate_windows_are_answered_in_full),
           TEST(filtered_search_returns_all_k_at_every_selectivity),
           TEST(a_filtered_search_scores_a_part_of_what_matches),
           TEST(filters_correlated_with_the_query_return_all_k),
           TEST(hits_at_or_below_the_floor_are_left_out),
           TEST(windows_share_a_codebook_until_the_data_drift),
           TEST(a_codebook_goes_through_bytes_and_damage_is_told),
           TEST(windows_of_one_codebook_are_searched_as_one),
           TEST(queries_searched_together_have_the_answers_that_each_has_alone),
           TEST(a_build_reports_progress_and_can_be_cancelled),
           TEST(lists_and_probes_are_what_was_asked_for))
