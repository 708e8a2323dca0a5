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
#include "tests/indexer/query/query_comparison.h"
#include "tests/support/test_main.h"

static void compare_all(struct cluster *cluster, int rounds)
{
    for (int round = 0; round < (TEST_SANITIZED ? rounds / 8 + 1 : rounds); round++) {
        struct query_view *many;
        cluster->asking = cluster_random(cluster) % cluster->node_count;
        many = cluster_view(cluster, true);
        comparison_run(cluster, many);
        ck_assert(query_view_whole(many));
        query_view_close(many);
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
    struct query_search search, weighted, extra;
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
    search = comparison_some_search(&cluster, vector, &arena);
    while (search.scorer.kind == QUERY_NEAREST || search.scorer.kind == QUERY_WEIGHTED_SCORES) {
        search.vector = vector; /* some scorers take it away */
        comparison_add_scorer(&cluster, &search, examples);
    }
    weighted = search;
    weighted.scorer.kind = QUERY_WEIGHTED_SCORES;
    extra = comparison_some_search(&cluster, vector, &arena);
    extra.extra = cluster.whole.extras;
    sample.arena = &arena;
    for (int version = QUERY_PROTOCOL; version >= QUERY_PROTOCOL_EXAMPLES - 1; version--) {
        int wanted = version < QUERY_PROTOCOL_EXAMPLES ? ERROR_UNSUPPORTED : 0;
        cluster.protocol = version;
        cluster.asked = 0;
        view = cluster_view(&cluster, true);
        ck_assert_int_eq(query_search_run(view, &search, &result, &error), wanted);
        ck_assert_int_eq(query_search_run(view, &weighted, &result, &error),
                         version < QUERY_PROTOCOL_WEIGHTS ? ERROR_UNSUPPORTED : 0);
        ck_assert_int_eq(query_search_run(view, &extra, &result, &error),
                         version < QUERY_PROTOCOL_EXTRAS ? ERROR_UNSUPPORTED : 0);
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
        comparison_search(&cluster, one, many, &arena);
        comparison_searches(&cluster, one, many, &arena);
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
            comparison_same_result(&expected, &result);
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
        comparison_same_result(&expected, &result);
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
