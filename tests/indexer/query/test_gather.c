/* The answer of a view that asks peers for some of its shards is the one of a process that has them
 * all. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "indexer/query/wire.h"
#include "store/files/key.h"
#include "store/lease.h"
#include "tests/indexer/query/query_cluster.h"
#include "tests/support/test_main.h"

/* Comparisons. */

static void same_payload(const struct query_row *a, const struct query_row *b)
{
    struct arena arena;
    struct doc left, right;
    struct error error = {0};
    const float *left_vector, *right_vector;

    arena_create(&arena, 0);
    ck_assert_int_eq(query_row_payload(a, &arena, &left, &error), 0);
    ck_assert_int_eq(query_row_payload(b, &arena, &right, &error), 0);
    ck_assert(doc_equal(&left, &right));
    ck_assert_int_eq(query_row_vector(a, &arena, &left_vector, &error), 0);
    ck_assert_int_eq(query_row_vector(b, &arena, &right_vector, &error), 0);
    ck_assert_mem_eq(left_vector, right_vector, DIM * sizeof(float));
    arena_destroy(&arena);
}

static void same_row(const struct query_row *a, const struct query_row *b)
{
    ck_assert_uint_eq(world_hit_id(a), world_hit_id(b));
    ck_assert_str_eq(a->shard, b->shard);
    ck_assert_int_eq(query_row_offset(a), query_row_offset(b));
    ck_assert_int_eq(query_row_time_ms(a), query_row_time_ms(b));
    ck_assert_int_eq(query_row_window_ms(a), query_row_window_ms(b));
    same_payload(a, b);
}

static void same_result(const struct query_result *a, const struct query_result *b)
{
    ck_assert_uint_eq(a->hit_count, b->hit_count);
    for (size_t i = 0; i < a->hit_count; i++) {
        ck_assert_float_eq(a->hits[i].score, b->hits[i].score);
        same_row(&a->hits[i].row, &b->hits[i].row);
    }
    ck_assert_uint_eq(a->windows_searched, b->windows_searched);
    ck_assert_uint_eq(a->windows_pruned, b->windows_pruned);
    ck_assert_uint_eq(a->windows_live, b->windows_live);
    ck_assert_int_eq(a->partial, b->partial);
    ck_assert_uint_eq(a->explain_count, b->explain_count);
}

static void same_freshness(struct query_view *a, struct query_view *b)
{
    const struct query_shard_freshness *left, *right;
    size_t left_count, right_count;

    left = query_view_freshness(a, &left_count);
    right = query_view_freshness(b, &right_count);
    ck_assert_uint_eq(left_count, SHARDS);
    ck_assert_uint_eq(right_count, SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        ck_assert_str_eq(left[i].shard, right[i].shard);
        ck_assert_int_eq(left[i].next_offset, right[i].next_offset);
        ck_assert_int_eq(left[i].watermark_ms, right[i].watermark_ms);
    }
    ck_assert(query_view_whole(b));
}

static const struct query_filter *some_filter(struct cluster *cluster, struct arena *arena)
{
    enum { JSON_BYTES = 200 };
    char *json = arena_alloc(arena, JSON_BYTES, 1);

    switch (cluster_random(cluster) % 4) {
    case 0:
        return NULL;
    case 1:
        snprintf(json, JSON_BYTES, "{\"must\":[{\"key\":\"tag\",\"match\":{\"value\":\"t%d\"}}]}",
                 (int)(cluster_random(cluster) % 10));
        break;
    case 2:
        snprintf(json, JSON_BYTES, "{\"must_not\":[{\"key\":\"n\",\"range\":{\"gte\":%d}}]}",
                 (int)(cluster_random(cluster) % 10000));
        break;
    default:
        snprintf(json, JSON_BYTES,
                 "{\"should\":[{\"has_id\":[%d,%d,%d]},{\"key\":\"@time\","
                 "\"range\":{\"lt\":%lld}}]}",
                 (int)(cluster_random(cluster) % IDS), (int)(cluster_random(cluster) % IDS),
                 (int)(cluster_random(cluster) % IDS),
                 (long long)(start_ms + (int64_t)(cluster_random(cluster) % 9) * hour_ms));
        break;
    }
    return world_filter(arena, json);
}

static struct query_search some_search(struct cluster *cluster, float vector[DIM],
                                       struct arena *arena)
{
    struct query_search search = {.vector = vector,
                                  .limit = 1 + (uint32_t)(cluster_random(cluster) % 40),
                                  .offset = (uint32_t)(cluster_random(cluster) % 10),
                                  .exact = true,
                                  .filter = some_filter(cluster, arena),
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .has_threshold = cluster_random(cluster) % 4 == 0,
                                  .threshold = 0.2F,
                                  .explain = cluster_random(cluster) % 2 == 0,
                                  .wants = {.payload = true, .vector = true},
                                  .arena = arena};

    world_random_vector(&cluster->whole, vector);
    if (cluster_random(cluster) % 3 == 0) /* many equal scores */
        for (size_t k = 0; k < DIM; k++)
            vector[k] = k == 0 ? 1.0F : 0.0F;
    if (cluster_random(cluster) % 3 == 0)
        search.half_life_ms = hour_ms;
    if (cluster_random(cluster) % 3 == 0)
        search.from_ms = start_ms + (int64_t)(cluster_random(cluster) % 6) * hour_ms;
    if (cluster_random(cluster) % 3 == 0)
        search.to_ms = start_ms + (int64_t)(3 + cluster_random(cluster) % 6) * hour_ms;
    return search;
}

/* Three examples on each side, or pairs of them. */
static void add_scorer(struct cluster *cluster, struct query_search *search,
                       float examples[6 * DIM])
{
    static const float weights[6] = {1, -0.5F, 0.25F, 2, -1, 0};

    for (size_t i = 0; i < 6; i++)
        world_random_vector(&cluster->whole, examples + i * DIM);
    search->scorer = (struct query_scorer){
        .kind = (enum query_scorer_kind)(cluster_random(cluster) % (QUERY_WEIGHTED_SCORES + 1)),
        .examples = examples,
        .positive_count = 3,
        .negative_count = 3,
        .weights = weights};
    if (search->scorer.kind != QUERY_NEAREST && search->scorer.kind != QUERY_DISCOVER)
        search->vector = NULL;
}

static void compare_search(struct cluster *cluster, struct query_view *one, struct query_view *many,
                           struct arena *arena)
{
    float vector[DIM], examples[6 * DIM];
    struct query_search search = some_search(cluster, vector, arena);
    struct query_result expected, result;
    struct error error = {0};

    if (cluster_random(cluster) % 2 == 0)
        add_scorer(cluster, &search, examples);
    ck_assert_int_eq(query_search_run(one, &search, &expected, &error), 0);
    ck_assert_msg(query_search_run(many, &search, &result, &error) == 0, "%s", error.text);
    same_result(&expected, &result);
}

/* Rows of peers are scored as those of this process are, by all that a formula reads of them. */
static void compare_formula(struct cluster *cluster, struct query_view *one,
                            struct query_view *many, struct arena *arena)
{
    static const char json[] =
        "{\"sum\":[{\"mult\":[2,\"$score\"]},{\"div\":{\"left\":\"$score[1]\",\"right\":\"n\","
        "\"by_zero_default\":1}},{\"gauss_decay\":{\"x\":{\"sum\":[\"@time\",{\"neg\":\"@window\"}]"
        "},"
        "\"scale\":1e6}},{\"mult\":[\"@offset\",1e-3]},\"@partition\",{\"has_id\":[1,2,3,4,5,6,7,8]"
        "},"
        "{\"slice\":{\"total\":3,\"index\":1}},{\"key\":\"@time\",\"range\":{\"gt\":1700000000000}}"
        ","
        "{\"must_not\":{\"key\":\"tag\",\"match\":{\"any\":[\"t1\",\"t2\",\"t3\"]}}}]}";
    struct query_result of_one[2], of_many[2], expected = {0}, result = {0};
    const struct query_formula *formula;
    struct query_search searches[2];
    float vectors[2][DIM];
    struct error error = {0};
    struct doc document;

    ck_assert_int_eq(doc_parse_json(arena, json, sizeof(json) - 1, NULL, &document, &error), 0);
    ck_assert_msg(query_formula_compile(&document, NULL, "", arena, &formula, &error) == 0, "%s",
                  error.text);
    for (int i = 0; i < 2; i++)
        searches[i] = some_search(cluster, vectors[i], arena);
    ck_assert_int_eq(query_searches_run(one, searches, 2, of_one, &error), 0);
    ck_assert_int_eq(query_searches_run(many, searches, 2, of_many, &error), 0);
    ck_assert_int_eq(query_formula_run(one, formula, &searches[0], of_one, 2, &expected, &error),
                     0);
    ck_assert_msg(query_formula_run(many, formula, &searches[0], of_many, 2, &result, &error) == 0,
                  "%s", error.text);
    same_result(&expected, &result);
}

/* One request to each node, unless one of them is from before there were several searches in one. */
static void compare_searches(struct cluster *cluster, struct query_view *one,
                             struct query_view *many, struct arena *arena)
{
    enum { SEARCHES = 7 };
    float vectors[SEARCHES][DIM];
    struct query_search searches[SEARCHES];
    struct query_result expected, results[SEARCHES];
    uint32_t others = (uint32_t)cluster->node_count - 1, asked;
    struct error error = {0};

    for (int i = 0; i < SEARCHES; i++)
        searches[i] = some_search(cluster, vectors[i], arena);
    cluster->asked = 0;
    ck_assert_int_eq(query_searches_run(many, searches, SEARCHES, results, &error), 0);
    asked = cluster->asked;
    for (int i = 0; i < SEARCHES; i++) {
        ck_assert_int_eq(query_search_run(one, &searches[i], &expected, &error), 0);
        same_result(&expected, &results[i]);
    }
    /* Each round has two questions: the searches, and which hits are old versions, where some may be.
     * Ids in two shards cost another round at most twice. */
    ck_assert_uint_ge(asked, others);
    ck_assert_uint_le(asked, 6 * others);
    cluster->protocol = QUERY_PROTOCOL_SEARCHES - 1;
    cluster->asked = 0;
    ck_assert_int_eq(query_searches_run(many, searches, SEARCHES, results, &error), 0);
    ck_assert_uint_ge(cluster->asked, SEARCHES * others);
    for (int i = 0; i < SEARCHES; i++) {
        ck_assert_int_eq(query_search_run(one, &searches[i], &expected, &error), 0);
        same_result(&expected, &results[i]);
    }
    cluster->protocol = 0;
}

static void compare_scroll(struct cluster *cluster, struct query_view *one, struct query_view *many,
                           struct arena *arena)
{
    static const char *const orders[] = {NULL, "n", "@time", "@offset"};
    struct query_scroll scroll = {.limit = 1 + (uint32_t)(cluster_random(cluster) % 60),
                                  .order_by = orders[cluster_random(cluster) % 4],
                                  .filter = some_filter(cluster, arena),
                                  .descending = cluster_random(cluster) % 2 == 0,
                                  .wants = {.payload = true, .vector = true},
                                  .arena = arena};
    struct error error = {0};

    scroll.sample = !scroll.order_by && cluster_random(cluster) % 2 == 0;
    scroll.seed = cluster_random(cluster);
    for (int page = 0; page < 12; page++) {
        struct query_result expected, result;
        const uint8_t *expected_key, *key;
        size_t expected_bytes, bytes;
        ck_assert_int_eq(
            query_scroll_run(one, &scroll, &expected, &expected_key, &expected_bytes, &error), 0);
        ck_assert_int_eq(query_scroll_run(many, &scroll, &result, &key, &bytes, &error), 0);
        same_result(&expected, &result);
        ck_assert_int_eq(expected_key == NULL, key == NULL);
        if (!key)
            break;
        ck_assert_uint_eq(bytes, expected_bytes);
        ck_assert_mem_eq(key, expected_key, bytes);
        scroll.from_key = key;
        scroll.from_key_bytes = bytes;
    }
}

static void compare_counts(struct cluster *cluster, struct query_view *one, struct query_view *many,
                           struct arena *arena)
{
    const struct query_filter *filter = some_filter(cluster, arena);
    const char *key = cluster_random(cluster) % 2 == 0 ? "tag" : "n";
    struct query_facet_value *expected, *values;
    size_t expected_count, value_count;
    uint64_t wanted, count;
    struct error error = {0};

    ck_assert_int_eq(query_count(one, filter, &wanted, &error), 0);
    ck_assert_int_eq(query_count(many, filter, &count, &error), 0);
    ck_assert_uint_eq(count, wanted);
    ck_assert_int_eq(query_facet(one, key, filter, arena, &expected, &expected_count, &error), 0);
    ck_assert_int_eq(query_facet(many, key, filter, arena, &values, &value_count, &error), 0);
    ck_assert_uint_eq(value_count, expected_count);
    for (size_t i = 0; i < value_count; i++) {
        ck_assert_uint_eq(values[i].count, expected[i].count);
        ck_assert(doc_equal(&values[i].value, &expected[i].value));
    }
}

static void compare_totals(struct query_view *one, struct query_view *many)
{
    struct query_totals expected, totals;
    struct error error = {0};

    ck_assert_int_eq(query_totals(one, &expected, &error), 0);
    ck_assert_int_eq(query_totals(many, &totals, &error), 0);
    ck_assert_uint_gt(totals.points, 0);
    ck_assert_uint_eq(totals.points, expected.points);
    ck_assert_uint_eq(totals.indexed, expected.indexed);
    ck_assert_uint_eq(totals.segments, expected.segments);
    ck_assert_int_eq(totals.building, expected.building);
    ck_assert_int_eq(totals.damaged, expected.damaged);
}

/* The same documents, and who sent them. */
static void compare_descriptions(struct cluster *cluster, struct query_view *one,
                                 struct query_view *many, struct arena *arena)
{
    struct query_shard_doc *expected, *shards;
    struct error error = {0};
    size_t expected_count, count, windows = 0;

    ck_assert_int_eq(query_describe(one, arena, &expected, &expected_count, &error), 0);
    ck_assert_int_eq(query_describe(many, arena, &shards, &count, &error), 0);
    ck_assert_uint_eq(expected_count, SHARDS);
    ck_assert_uint_eq(count, SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        bool own = cluster->nodes[cluster->asking].owns[i];
        ck_assert_str_eq(shards[i].shard, expected[i].shard);
        ck_assert_ptr_null(expected[i].node);
        ck_assert(own ? shards[i].node == NULL : strcmp(shards[i].node, "peer") == 0);
        ck_assert(doc_equal(&shards[i].doc, &expected[i].doc));
        windows += doc_get(&shards[i].doc, "windows")->count;
    }
    ck_assert_uint_gt(windows, SHARDS);
}

static void compare_ids(struct cluster *cluster, struct query_view *one, struct query_view *many,
                        struct arena *arena)
{
    enum { ASKED = 20 };
    const struct query_wants wants = {.payload = true, .vector = true};
    struct store_key ids[ASKED];
    struct query_key keys[ASKED];
    struct query_row expected[ASKED], rows[ASKED];
    struct query_holders *expected_holders, *holders;
    struct error error = {0};

    for (size_t i = 0; i < ASKED; i++) {
        uint64_t id = cluster_random(cluster) % (IDS + 100);
        store_key_from_u64(i % 4 == 0 ? id / 50 * 50 : id, &ids[i]);
        keys[i] = (struct query_key){ids[i].bytes, ids[i].size_bytes};
    }
    ck_assert_int_eq(query_find_many(one, keys, ASKED, wants, arena, expected, &error), 0);
    ck_assert_int_eq(query_find_many(many, keys, ASKED, wants, arena, rows, &error), 0);
    ck_assert_int_eq(query_locate(one, keys, ASKED, arena, &expected_holders, &error), 0);
    ck_assert_int_eq(query_locate(many, keys, ASKED, arena, &holders, &error), 0);
    for (size_t i = 0; i < ASKED; i++) {
        ck_assert_int_eq(expected[i].shard == NULL, rows[i].shard == NULL);
        if (rows[i].shard)
            same_row(&expected[i], &rows[i]);
        ck_assert_uint_eq(holders[i].count, expected_holders[i].count);
        for (size_t k = 0; k < holders[i].count; k++) {
            const struct query_version *version = &holders[i].versions[k];
            const struct query_version *wanted = &expected_holders[i].versions[k];
            ck_assert_str_eq(version->shard, wanted->shard);
            ck_assert_int_eq(version->time_ms, wanted->time_ms);
            ck_assert_int_eq(version->offset, wanted->offset);
        }
    }
}

static void compare_all(struct cluster *cluster, int rounds)
{
    for (int round = 0; round < (TEST_SANITIZED ? rounds / 4 + 1 : rounds); round++) {
        struct query_view *one = world_view(&cluster->whole);
        struct query_view *many;
        struct arena arena;
        cluster->asking = cluster_random(cluster) % cluster->node_count;
        many = cluster_view(cluster, true);
        arena_create(&arena, 0);
        compare_search(cluster, one, many, &arena);
        compare_searches(cluster, one, many, &arena);
        compare_formula(cluster, one, many, &arena);
        compare_scroll(cluster, one, many, &arena);
        compare_counts(cluster, one, many, &arena);
        compare_ids(cluster, one, many, &arena);
        compare_totals(one, many);
        compare_descriptions(cluster, one, many, &arena);
        same_freshness(one, many);
        arena_destroy(&arena);
        query_view_close(many);
        query_view_close(one);
    }
}

START_TEST(answers_of_nodes_together_are_those_of_one_process)
{
    static const size_t sizes[] = {2, 3, 5, 2};
    static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_DOT,
                                                 VECTOR_METRIC_L2, VECTOR_METRIC_HAMMING};
    static struct cluster cluster;

    for (size_t i = 0; i < 4; i++) {
        cluster_open(&cluster, sizes[i], metrics[i], test_seed() + i);
        cluster_fill(&cluster);
        compare_all(&cluster, 150);
        cluster_close(&cluster);
    }
}
END_TEST

/* An older node would leave out what it does not know of a request, and nobody would be told. */
START_TEST(what_older_nodes_do_not_know_is_refused)
{
    static const char place[] = "{\"must\":[{\"key\":\"a\",\"geo_radius\":{\"center\":{\"lon\":1,"
                                "\"lat\":2},\"radius\":3}}]}";
    static struct cluster cluster;
    float vector[DIM], examples[6 * DIM];
    struct query_search search, weighted;
    struct query_scroll sample = {.limit = 3, .sample = true};
    struct query_result result;
    struct query_view *view;
    struct error error = {0};
    const uint8_t *key;
    size_t key_bytes;
    uint64_t count;
    struct arena arena;

    cluster_open(&cluster, 2, VECTOR_METRIC_DOT, test_seed());
    cluster_fill(&cluster);
    arena_create(&arena, 0);
    search = some_search(&cluster, vector, &arena);
    while (search.scorer.kind == QUERY_NEAREST || search.scorer.kind == QUERY_WEIGHTED_SCORES) {
        search.vector = vector; /* some scorers take it away */
        add_scorer(&cluster, &search, examples);
    }
    weighted = search;
    weighted.scorer.kind = QUERY_WEIGHTED_SCORES;
    sample.arena = &arena;
    for (int version = QUERY_PROTOCOL; version >= QUERY_PROTOCOL_EXAMPLES - 1; version--) {
        int wanted = version < QUERY_PROTOCOL_EXAMPLES ? ERROR_UNSUPPORTED : 0;
        cluster.protocol = version;
        cluster.asked = 0;
        view = cluster_view(&cluster, true);
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), wanted);
        ck_assert_int_eq(query_search_run(view, &weighted, &result, &error),
                         version < QUERY_PROTOCOL_WEIGHTS ? ERROR_UNSUPPORTED : 0);
        ck_assert_int_eq(query_scroll_run(view, &sample, &result, &key, &key_bytes, &error),
                         wanted);
        ck_assert_int_eq(query_count(view, world_filter(&arena, place), &count, &error), wanted);
        ck_assert_uint_eq(cluster.asked > 0, wanted == 0);
        if (wanted != 0)
            ck_assert_ptr_nonnull(strstr(error.text, "older version"));
        query_view_close(view);
    }
    arena_destroy(&arena);
    cluster_close(&cluster);
}
END_TEST

/* Ages count from the asking node's clock. */
START_TEST(clocks_that_differ_change_no_score)
{
    static struct cluster cluster;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    cluster.nodes[1].clock_ahead_ms = 300000;
    cluster_set_clock(&cluster, start_ms + 9 * hour_ms);
    for (int round = 0; round < 40; round++) {
        struct query_view *one = world_view(&cluster.whole);
        struct query_view *many = cluster_view(&cluster, true);
        struct arena arena;
        arena_create(&arena, 0);
        compare_search(&cluster, one, many, &arena);
        compare_searches(&cluster, one, many, &arena);
        arena_destroy(&arena);
        query_view_close(many);
        query_view_close(one);
    }
    cluster_close(&cluster);
}
END_TEST

/* A peer that fails in any way takes nothing from the others: the shards it was asked for are named
 * as missing, and a view that has to be whole is refused. */
START_TEST(bad_answers_are_refused_and_their_shards_missing)
{
    static struct cluster cluster;

    cluster_open(&cluster, 3, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    for (enum damage damage = SILENT; damage < DAMAGES; damage++) {
        cluster.nodes[1].damage = damage;
        for (int round = 0; round < 30; round++) {
            struct query_view *view = cluster_view(&cluster, round % 2 == 0);
            const struct store_coverage *coverage;
            struct error error = {0};
            uint64_t count;
            int code = query_count(view, NULL, &count, &error);
            coverage = query_view_coverage(view);
            ck_assert_int_eq(code, round % 2 == 0 ? ERROR_UNAVAILABLE : 0);
            ck_assert_uint_eq(coverage->missing_count, 1);
            ck_assert_str_eq(coverage->missing[0], "topic[1]");
            if (code != 0)
                ck_assert_ptr_nonnull(strstr(error.text, "topic[1]"));
            query_view_close(view);
        }
    }
    ck_assert_uint_eq(cluster.refused, 30 * (DAMAGES - SILENT - 1));
    cluster_close(&cluster);
}
END_TEST

/* In an answer to a search. */

/* MessagePack has infinity, so payloads may. JSON shows null for it. */
START_TEST(infinite_numbers_of_payloads_have_their_place_across_nodes)
{
    static struct cluster cluster;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    for (size_t shard = 0; shard < SHARDS; shard++) {
        cluster_upsert_near(&cluster, shard, IDS + 2 * shard, INFINITY);
        cluster_upsert_near(&cluster, shard, IDS + 2 * shard + 1, -INFINITY);
    }
    for (int descending = 0; descending < 2; descending++)
        for (int starts = 0; starts < 2; starts++) {
            struct query_view *one = world_view(&cluster.whole);
            struct query_view *many = cluster_view(&cluster, true);
            struct doc from = doc_number(descending ? (double)INFINITY : -(double)INFINITY);
            struct arena arena;
            struct query_scroll scroll = {.limit = 30,
                                          .order_by = "near",
                                          .descending = descending,
                                          .start_from = starts ? &from : NULL,
                                          .wants = {.payload = true, .vector = true},
                                          .arena = &arena};
            struct query_result expected, result;
            const uint8_t *key;
            size_t key_bytes;
            struct error error = {0};
            arena_create(&arena, 0);
            ck_assert_int_eq(query_scroll_run(one, &scroll, &expected, &key, &key_bytes, &error),
                             0);
            ck_assert_msg(query_scroll_run(many, &scroll, &result, &key, &key_bytes, &error) == 0,
                          "%s", error.text);
            ck_assert_uint_eq(query_view_coverage(many)->missing_count, 0);
            ck_assert_uint_eq(result.hit_count, 30);
            same_result(&expected, &result);
            for (size_t i = 0; i < SHARDS; i++)
                ck_assert(isinf(result.hits[i].order) && result.hits[i].order_rest == 0.0);
            query_view_close(one);
            query_view_close(many);
            arena_destroy(&arena);
        }
    ck_assert_uint_eq(cluster.refused, 0);
    cluster_close(&cluster);
}
END_TEST

static struct doc *of_first_hit(struct doc *answer, uint32_t field)
{
    const struct doc *hits = doc_get(doc_get(answer, "result"), "hits");

    ck_assert_uint_gt(hits->count, 0);
    return (struct doc *)&hits->items[0].items[field];
}

static void name_another_collection(struct doc *answer, struct arena *arena)
{
    *(struct doc *)doc_get(answer, "collection") = doc_string(arena, "another");
}

static void have_another_dimension(struct doc *answer, struct arena *arena)
{
    (void)arena;
    *(struct doc *)doc_get(answer, "dim") = doc_integer(DIM + 1);
}

static void lose_a_dimension(struct doc *answer, struct arena *arena)
{
    enum { VECTOR_FIELD = 9 };

    (void)arena;
    of_first_hit(answer, VECTOR_FIELD)->count -= (uint32_t)sizeof(float);
}

static void score_nan(struct doc *answer, struct arena *arena)
{
    enum { SCORE_FIELD = 5 };

    (void)arena;
    *of_first_hit(answer, SCORE_FIELD) = doc_number((double)NAN);
}

static void order_infinity(struct doc *answer, struct arena *arena)
{
    enum { ORDER_FIELD = 6 };

    (void)arena;
    *of_first_hit(answer, ORDER_FIELD) = doc_number((double)INFINITY);
}

START_TEST(searches_whose_numbers_or_vectors_are_wrong_are_refused)
{
    static void (*const changes[])(struct doc *, struct arena *) = {
        name_another_collection, have_another_dimension, lose_a_dimension, score_nan,
        order_infinity};
    static struct cluster cluster;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    cluster.nodes[1].damage = CHANGED;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct query_view *view = cluster_view(&cluster, false);
        float vector[DIM];
        struct arena arena;
        struct query_search search = {.vector = vector,
                                      .limit = 1000,
                                      .exact = true,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .wants = {.payload = true, .vector = true},
                                      .arena = &arena};
        struct query_result result;
        struct error error = {0};
        arena_create(&arena, 0);
        world_random_vector(&cluster.whole, vector);
        cluster.change = changes[i];
        ck_assert_msg(query_search_run(view, &search, &result, &error) == 0, "%s", error.text);
        ck_assert_uint_gt(result.hit_count, 0);
        for (size_t k = 0; k < result.hit_count; k++)
            ck_assert(isfinite(result.hits[k].score) && !result.hits[k].row.peer);
        ck_assert_uint_eq(query_view_coverage(view)->missing_count, SHARDS / 2);
        ck_assert_uint_eq(cluster.refused, i + 1);
        query_view_close(view);
        arena_destroy(&arena);
    }
    cluster_close(&cluster);
}
END_TEST

/* What a hostile owner says of its shard. */
static void lie(void *context, struct query_described *shards, size_t count, struct arena *arena)
{
    const int *lies = context;
    struct doc *shard, *window;

    if (count == 0)
        return;
    shard = (struct doc *)shards[0].shard.items;
    window = (struct doc *)shards[0].windows[0].items;
    switch (*lies) {
    case 0:
        shards[0].shard = doc_null();
        break;
    case 1: /* the name */
        shard[1] = doc_string(arena, "7");
        break;
    case 2: /* the windows */
        shard[3] = doc_integer(1);
        break;
    case 3:
        shards[0].windows[0] = doc_string(arena, "window");
        break;
    case 4: /* the start */
        window[1] = doc_integer(INT64_MAX);
        break;
    case 5: /* the start's name */
        window[0] = doc_string(arena, "began_ms");
        break;
    case 6: /* the rows */
        window[7] = doc_integer(-1);
        break;
    default:
        break;
    }
}

START_TEST(descriptions_that_are_not_sound_are_refused)
{
    enum { LIES = 7 };
    static struct cluster cluster;
    int lies = 0;
    const struct query_describer describer = {.context = &lies, .add = lie};

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    cluster.describer = &describer;
    for (; lies <= LIES; lies++) {
        struct query_view *view = cluster_view(&cluster, false);
        struct query_shard_doc *shards;
        struct arena arena;
        struct error error = {0};
        size_t count;
        arena_create(&arena, 0);
        /* A peer is only as good as its answer: it is not asked for a part of it. */
        cluster.nodes[1].damage = lies < LIES ? LYING : SOUND;
        ck_assert_int_eq(query_describe(view, &arena, &shards, &count, &error), 0);
        ck_assert_uint_eq(count, lies < LIES ? SHARDS / 2 : SHARDS);
        ck_assert_uint_eq(query_view_coverage(view)->missing_count, lies < LIES ? SHARDS / 2 : 0);
        query_view_close(view);
        arena_destroy(&arena);
    }
    cluster_close(&cluster);
}
END_TEST

/* Its part is not left out: the answer would look whole. */
START_TEST(peer_out_of_time_ends_the_request_as_the_own_clock_does)
{
    static const float vector[DIM] = {1};
    static struct cluster cluster;
    struct query_facet_value *values;
    struct query_key key = {(const uint8_t *)"x", 1};
    struct query_holders *holders;
    struct query_row row;
    struct query_view *view;
    struct arena arena;
    struct error error = {0};
    const uint8_t *next;
    size_t size;
    uint64_t count;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    cluster.nodes[1].out_of_time = true;
    arena_create(&arena, 0);
    view = cluster_view(&cluster, false);
    {
        struct query_result result;
        struct query_scroll scroll = {.limit = 10, .arena = &arena};
        struct query_search search = {.vector = vector,
                                      .limit = 10,
                                      .from_ms = INT64_MIN,
                                      .to_ms = INT64_MAX,
                                      .arena = &arena};
        ck_assert_int_eq(query_count(view, NULL, &count, &error), ERROR_TIMEOUT);
        ck_assert_int_eq(query_facet(view, "n", NULL, &arena, &values, &size, &error),
                         ERROR_TIMEOUT);
        ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &next, &size, &error),
                         ERROR_TIMEOUT);
        ck_assert_int_eq(
            query_find_many(view, &key, 1, (struct query_wants){0}, &arena, &row, &error),
            ERROR_TIMEOUT);
        ck_assert_int_eq(query_locate(view, &key, 1, &arena, &holders, &error), ERROR_TIMEOUT);
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), ERROR_TIMEOUT);
        search.partial = true;
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
        ck_assert(result.partial);
        ck_assert_uint_eq(result.hit_count, 10);
    }
    query_view_close(view);
    arena_destroy(&arena);
    cluster_close(&cluster);
}
END_TEST

/* Peers take a page that is one row longer than any caller's. */
START_TEST(the_largest_page_is_asked_for_as_any_other)
{
    static struct cluster cluster;
    struct query_view *one, *many;
    struct query_result expected, result;
    struct error error = {0};
    const uint8_t *key;
    size_t key_bytes;
    struct query_scroll scroll = {.limit = QUERY_LIMIT_MAX,
                                  .wants = {.payload = true, .vector = true}};
    struct arena arena;

    cluster_open(&cluster, 3, VECTOR_METRIC_DOT, test_seed());
    cluster_fill(&cluster);
    one = world_view(&cluster.whole);
    many = cluster_view(&cluster, true);
    arena_create(&arena, 0);
    scroll.arena = &arena;
    for (int round = 0; round < 4; round++) {
        scroll.filter =
            round % 2 == 0 ? NULL : world_filter(&arena, "{\"must_not\":[{\"has_id\":[1]}]}");
        scroll.order_by = round < 2 ? NULL : "n";
        ck_assert_int_eq(query_scroll_run(one, &scroll, &expected, &key, &key_bytes, &error), 0);
        ck_assert_msg(query_scroll_run(many, &scroll, &result, &key, &key_bytes, &error) == 0, "%s",
                      error.text);
        ck_assert_uint_gt(result.hit_count, 100);
        same_result(&expected, &result);
    }
    arena_destroy(&arena);
    query_view_close(many);
    query_view_close(one);
    cluster_close(&cluster);
}
END_TEST

TEST_TABLE(TEST(answers_of_nodes_together_are_those_of_one_process),
           TEST(the_largest_page_is_asked_for_as_any_other),
           TEST(what_older_nodes_do_not_know_is_refused), TEST(clocks_that_differ_change_no_score),
           TEST(bad_answers_are_refused_and_their_shards_missing),
           TEST(infinite_numbers_of_payloads_have_their_place_across_nodes),
           TEST(peer_out_of_time_ends_the_request_as_the_own_clock_does),
           TEST(searches_whose_numbers_or_vectors_are_wrong_are_refused),
           TEST(descriptions_that_are_not_sound_are_refused))
