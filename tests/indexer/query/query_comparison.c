#include "tests/indexer/query/query_comparison.h"

#include <stdio.h>
#include <string.h>

#include "store/files/key.h"
#include "tests/support/test_main.h"

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
    ck_assert(!left_vector == !right_vector);
    if (left_vector)
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

static double efforts(const struct query_result *result)
{
    double sum = 0;

    for (size_t i = 0; i < result->explain_count; i++)
        sum += result->explain[i].effort;
    return sum;
}

void comparison_same_result(const struct query_result *a, const struct query_result *b)
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
    ck_assert_double_eq(efforts(a), efforts(b)); /* 1 each */
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

struct query_search comparison_some_search(struct cluster *cluster, float *vector,
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

void comparison_add_scorer(struct cluster *cluster, struct query_search *search, float *examples)
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

/* `vector` and the examples are long enough for it. */
static void rank_by_extra(struct cluster *cluster, struct query_search *search)
{
    const bool list = search->scorer.kind == QUERY_NEAREST && cluster_random(cluster) % 2 == 0;

    search->extra = &cluster->whole.extras[list];
    search->vector_rows = list ? DIM / WORLD_EXTRA_DIM : 1;
}

void comparison_search(struct cluster *cluster, struct query_view *one, struct query_view *many,
                       struct arena *arena)
{
    float vector[DIM], examples[6 * DIM];
    struct query_search search = comparison_some_search(cluster, vector, arena);
    struct query_result expected, result;
    struct error error = {0};

    if (cluster_random(cluster) % 2 == 0)
        comparison_add_scorer(cluster, &search, examples);
    if (cluster_random(cluster) % 3 == 0)
        rank_by_extra(cluster, &search);
    ck_assert_int_eq(query_search_run(one, &search, &expected, &error), 0);
    ck_assert_msg(query_search_run(many, &search, &result, &error) == 0, "%s", error.text);
    comparison_same_result(&expected, &result);
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
        searches[i] = comparison_some_search(cluster, vectors[i], arena);
    ck_assert_int_eq(query_searches_run(one, searches, 2, of_one, &error), 0);
    ck_assert_int_eq(query_searches_run(many, searches, 2, of_many, &error), 0);
    ck_assert_int_eq(query_formula_run(one, formula, &searches[0], of_one, 2, &expected, &error),
                     0);
    ck_assert_msg(query_formula_run(many, formula, &searches[0], of_many, 2, &result, &error) == 0,
                  "%s", error.text);
    comparison_same_result(&expected, &result);
}

void comparison_searches(struct cluster *cluster, struct query_view *one, struct query_view *many,
                         struct arena *arena)
{
    enum { SEARCHES = 7 };
    float vectors[SEARCHES][DIM];
    struct query_search searches[SEARCHES];
    struct query_result expected, results[SEARCHES];
    uint32_t others = (uint32_t)cluster->node_count - 1, asked;
    struct error error = {0};

    for (int i = 0; i < SEARCHES; i++)
        searches[i] = comparison_some_search(cluster, vectors[i], arena);
    cluster->asked = 0;
    ck_assert_int_eq(query_searches_run(many, searches, SEARCHES, results, &error), 0);
    asked = cluster->asked;
    for (int i = 0; i < SEARCHES; i++) {
        ck_assert_int_eq(query_search_run(one, &searches[i], &expected, &error), 0);
        comparison_same_result(&expected, &results[i]);
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
        comparison_same_result(&expected, &results[i]);
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
        comparison_same_result(&expected, &result);
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

void comparison_run(struct cluster *cluster, struct query_view *many)
{
    struct query_view *one = world_view(&cluster->whole);
    struct arena arena;

    arena_create(&arena, 0);
    comparison_search(cluster, one, many, &arena);
    comparison_searches(cluster, one, many, &arena);
    compare_formula(cluster, one, many, &arena);
    compare_scroll(cluster, one, many, &arena);
    compare_counts(cluster, one, many, &arena);
    compare_ids(cluster, one, many, &arena);
    compare_totals(one, many);
    compare_descriptions(cluster, one, many, &arena);
    same_freshness(one, many);
    arena_destroy(&arena);
    query_view_close(one);
}
