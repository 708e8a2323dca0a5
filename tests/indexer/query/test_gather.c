/* The answer of a view that asks peers for some of its shards is the one of a process that has them
 * all: the same records in one world, and split over several that are joined by requests and answers
 * as they travel, without a network. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "indexer/query/wire.h"
#include "tests/indexer/query/query_world.h"
#include "tests/support/test_main.h"

enum { SHARDS = 4, DIM = 8, IDS = 500, RECORDS = 1500, NODES_MAX = 5 };

static const int64_t hour_ms = 3600000;
static const int64_t start_ms = 1700000000000 / 3600000 * 3600000;

/* What a peer does to its answer. */
enum damage {
    SOUND,
    SILENT,       /* nobody answers */
    GARBAGE,      /* bytes of no meaning */
    HALF,         /* the first half of the answer */
    FLIPPED,      /* one bit of it */
    OTHER_SHARDS, /* an answer about other shards than were asked for */
    REFUSING,     /* an older version, for which the request is wrong */
    DAMAGES
};

struct node {
    struct world world;
    bool owns[SHARDS];
    enum damage damage;
    int64_t clock_ahead_ms;
    bool out_of_time; /* when it is asked */
};

struct cluster {
    struct world whole; /* one process with every shard */
    struct node nodes[NODES_MAX];
    size_t node_count;
    size_t asking; /* the node whose views are tested; it asks the others */
    uint32_t refused;
    struct config config;
    struct query_peers peers;
    int protocol;   /* 0: the newest */
    uint32_t asked; /* requests to nodes */
    uint64_t random;
};

static uint64_t next_random(struct cluster *cluster)
{
    cluster->random = cluster->random * 6364136223846793005U + 1442695040888963407U;
    return cluster->random >> 33;
}

struct query_exchange {
    const struct query_peer_call *call;
    struct cluster *cluster;
};

static struct query_exchange *start(void *context, const struct query_peer_call *call)
{
    struct query_exchange *exchange = malloc(sizeof(*exchange));

    ck_assert_ptr_nonnull(exchange);
    *exchange = (struct query_exchange){call, context};
    return exchange;
}

static void refuse(struct buffer *body)
{
    struct arena arena;
    struct doc map;
    struct doc *pair;

    arena_create(&arena, 0);
    map = doc_map(&arena, 2);
    pair = doc_items(&arena, 2);
    pair[0] = doc_integer(ERROR_INVALID);
    pair[1] = wire_text("it does not know the operation");
    doc_put(&map, "v", doc_integer(QUERY_PROTOCOL));
    doc_put(&map, "error", (struct doc){.type = DOC_ARRAY, .count = 2, .items = pair});
    body->size = 0;
    doc_write_msgpack(body, &map);
    wire_seal(body, 0);
    arena_destroy(&arena);
}

static void spoil(struct cluster *cluster, enum damage damage, struct buffer *body)
{
    switch (damage) {
    case GARBAGE:
        for (size_t i = 0; i < body->size; i++)
            body->data[i] = (uint8_t)next_random(cluster);
        break;
    case HALF:
        body->size /= 2;
        break;
    case REFUSING:
        refuse(body);
        break;
    case FLIPPED:
        body->data[next_random(cluster) % body->size] ^= (uint8_t)(1U << next_random(cluster) % 8);
        break;
    default:
        break;
    }
}

/* One request to one node for all of its shards that are wanted. */
static void ask(struct query_exchange *exchange, struct node *node)
{
    const struct query_peer_call *call = exchange->call;
    struct cluster *cluster = exchange->cluster;
    struct stop stop;
    const struct query_view_options options = {
        .registry = node->world.registry, .io = &node->world.clock.io, .stop = &stop};
    const char *shards[SHARDS];
    bool served[SHARDS] = {false};
    struct query_peer_answer answer = {.node = "peer", .shards = shards, .served = served};
    struct buffer request = {0}, reply = {0};
    struct error error = {0};
    size_t asked;
    int code;

    for (size_t i = 0; i < call->shard_count; i++)
        if (node->owns[call->shards[i][0] - '0'])
            shards[answer.shard_count++] = call->shards[i];
    if (answer.shard_count == 0 || node->damage == SILENT)
        return;
    stop_create(&stop, io_posix());
    if (node->out_of_time)
        stop.deadline_ns = 0;
    asked = answer.shard_count;
    if (node->damage == OTHER_SHARDS) {
        answer.shard_count = asked - 1;
        if (asked == 1)
            shards[0] = "9";
    }
    query_peer_request(call, node->damage == OTHER_SHARDS && asked == 1 ? call->shards : shards,
                       asked, &request);
    code = query_answer(&cluster->config, &options, request.data, request.size, &reply, &error);
    ck_assert_msg(code == 0, "%d: %s", code, error.text);
    spoil(cluster, node->damage, &reply);
    answer.body = reply.data;
    answer.body_bytes = reply.size;
    code = call->accept(call->context, &answer, &error);
    cluster->refused += code != 0;
    if (node->damage != SOUND)
        ck_assert_int_ne(code, 0);
    else
        ck_assert_msg(code == 0, "%s", error.text);
    buffer_destroy(&request);
    buffer_destroy(&reply);
}

static void finish(struct query_exchange *exchange, bool cancel, struct query_peer_counts *counts)
{
    struct cluster *cluster = exchange->cluster;

    for (size_t i = 0; i < cluster->node_count && !cancel; i++)
        if (i != cluster->asking) {
            counts->asked++;
            exchange->cluster->asked++;
            ask(exchange, &cluster->nodes[i]);
        }
    free(exchange);
}

static bool serves(void *context, const struct config_collection *collection, const char *shard)
{
    (void)context;
    (void)collection;
    (void)shard;
    return false;
}

static int protocol(void *context)
{
    const struct cluster *cluster = context;

    return cluster->protocol != 0 ? cluster->protocol : QUERY_PROTOCOL;
}

/* Clusters. */

static struct node *owner_of(struct cluster *cluster, size_t shard)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].owns[shard])
            return &cluster->nodes[i];
    ck_abort_msg("a shard without an owner");
    return NULL;
}

static void expect_all(struct world *world)
{
    static const struct store_expected_shard all[SHARDS] = {
        {"0", "topic[0]"}, {"1", "topic[1]"}, {"2", "topic[2]"}, {"3", "topic[3]"}};

    store_registry_expect(world->registry, "world", all, SHARDS);
}

static void cluster_open(struct cluster *cluster, size_t node_count, enum vector_metric metric,
                         uint64_t seed)
{
    const struct world_options options = {.shard_count = SHARDS,
                                          .dim = DIM,
                                          .metric = metric,
                                          .window_ms = hour_ms,
                                          .ttl_ms = 100 * hour_ms,
                                          .seed = seed};

    *cluster = (struct cluster){.node_count = node_count, .random = seed};
    cluster->peers = (struct query_peers){.context = cluster,
                                          .serves = serves,
                                          .protocol = protocol,
                                          .start = start,
                                          .finish = finish};
    world_open(&cluster->whole, &options);
    for (size_t i = 0; i < node_count; i++) {
        struct node *node = &cluster->nodes[i];
        world_open(&node->world, &options);
        for (size_t shard = 0; shard < SHARDS; shard++) {
            node->owns[shard] = shard % node_count == i;
            if (!node->owns[shard])
                store_registry_close(node->world.registry, node->world.shards[shard], false);
        }
        expect_all(&node->world);
    }
    cluster->config =
        (struct config){.collections = &cluster->whole.collection, .collection_count = 1};
}

static void cluster_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        world_close(&cluster->nodes[i].world);
    world_close(&cluster->whole);
}

static void set_clock(struct cluster *cluster, int64_t now_ms)
{
    atomic_store(&cluster->whole.clock.now_ms, now_ms);
    for (size_t i = 0; i < cluster->node_count; i++)
        atomic_store(&cluster->nodes[i].world.clock.now_ms,
                     now_ms + cluster->nodes[i].clock_ahead_ms);
}

/* Some ids are written to two shards, as producers with two partitioners do; equal vectors make
 * equal scores. */
static void fill(struct cluster *cluster)
{
    float vector[DIM];

    for (size_t i = 0; i < RECORDS; i++) {
        uint64_t id = next_random(cluster) % IDS;
        size_t shard = id % 50 == 0 ? next_random(cluster) % SHARDS : id % SHARDS;
        struct world *worlds[] = {&cluster->whole, &owner_of(cluster, shard)->world};
        int64_t time_ms = start_ms + (int64_t)(i * 8 * (size_t)hour_ms / RECORDS);
        uint64_t number = next_random(cluster);
        world_random_vector(&cluster->whole, vector);
        if (i % 3 == 0)
            for (size_t k = 0; k < DIM; k++)
                vector[k] = k == i % DIM ? 1.0F : 0.0F;
        for (size_t w = 0; w < 2; w++) {
            worlds[w]->random = number; /* the payload's */
            if (i % 20 == 19)
                world_delete(worlds[w], shard, id, time_ms);
            else
                world_upsert(worlds[w], shard, id, time_ms, 0, vector);
            if (i % 400 == 399)
                world_flush(worlds[w], shard);
        }
    }
    set_clock(cluster, start_ms + 9 * hour_ms);
}

static struct query_view *view_of(struct cluster *cluster, bool whole)
{
    struct node *node = &cluster->nodes[cluster->asking];
    struct query_view_options options = {.collection = &cluster->whole.collection,
                                         .registry = node->world.registry,
                                         .io = &node->world.clock.io,
                                         .whole = whole,
                                         .peers = &cluster->peers};
    struct query_view *view;
    struct error error = {0};

    ck_assert_msg(query_view_open(&options, &view, &error) == 0, "%s", error.text);
    return view;
}

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
    ck_assert_int_eq(query_row_vector(a, &left_vector, &error), 0);
    ck_assert_int_eq(query_row_vector(b, &right_vector, &error), 0);
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

    switch (next_random(cluster) % 4) {
    case 0:
        return NULL;
    case 1:
        snprintf(json, JSON_BYTES, "{\"must\":[{\"key\":\"tag\",\"match\":{\"value\":\"t%d\"}}]}",
                 (int)(next_random(cluster) % 10));
        break;
    case 2:
        snprintf(json, JSON_BYTES, "{\"must_not\":[{\"key\":\"n\",\"range\":{\"gte\":%d}}]}",
                 (int)(next_random(cluster) % 10000));
        break;
    default:
        snprintf(json, JSON_BYTES,
                 "{\"should\":[{\"has_id\":[%d,%d,%d]},{\"key\":\"@time\","
                 "\"range\":{\"lt\":%lld}}]}",
                 (int)(next_random(cluster) % IDS), (int)(next_random(cluster) % IDS),
                 (int)(next_random(cluster) % IDS),
                 (long long)(start_ms + (int64_t)(next_random(cluster) % 9) * hour_ms));
        break;
    }
    return world_filter(arena, json);
}

static struct query_search some_search(struct cluster *cluster, float vector[DIM],
                                       struct arena *arena)
{
    struct query_search search = {.vector = vector,
                                  .limit = 1 + (uint32_t)(next_random(cluster) % 40),
                                  .offset = (uint32_t)(next_random(cluster) % 10),
                                  .exact = true,
                                  .filter = some_filter(cluster, arena),
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .has_threshold = next_random(cluster) % 4 == 0,
                                  .threshold = 0.2F,
                                  .explain = next_random(cluster) % 2 == 0,
                                  .wants = {.payload = true, .vector = true},
                                  .arena = arena};

    world_random_vector(&cluster->whole, vector);
    if (next_random(cluster) % 3 == 0) /* many equal scores */
        for (size_t k = 0; k < DIM; k++)
            vector[k] = k == 0 ? 1.0F : 0.0F;
    if (next_random(cluster) % 3 == 0)
        search.half_life_ms = hour_ms;
    if (next_random(cluster) % 3 == 0)
        search.from_ms = start_ms + (int64_t)(next_random(cluster) % 6) * hour_ms;
    if (next_random(cluster) % 3 == 0)
        search.to_ms = start_ms + (int64_t)(3 + next_random(cluster) % 6) * hour_ms;
    return search;
}

static void compare_search(struct cluster *cluster, struct query_view *one, struct query_view *many,
                           struct arena *arena)
{
    float vector[DIM];
    const struct query_search search = some_search(cluster, vector, arena);
    struct query_result expected, result;
    struct error error = {0};

    ck_assert_int_eq(query_search_run(one, &search, &expected, &error), 0);
    ck_assert_msg(query_search_run(many, &search, &result, &error) == 0, "%s", error.text);
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
    /* Ids in two shards cost another round at most twice. */
    ck_assert_uint_ge(asked, others);
    ck_assert_uint_le(asked, 3 * others);
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
    struct query_scroll scroll = {.limit = 1 + (uint32_t)(next_random(cluster) % 60),
                                  .order_by = orders[next_random(cluster) % 4],
                                  .filter = some_filter(cluster, arena),
                                  .descending = next_random(cluster) % 2 == 0,
                                  .wants = {.payload = true, .vector = true},
                                  .arena = arena};
    struct error error = {0};

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
    const char *key = next_random(cluster) % 2 == 0 ? "tag" : "n";
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
        uint64_t id = next_random(cluster) % (IDS + 100);
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
        for (size_t k = 0; k < holders[i].count; k++)
            ck_assert_str_eq(holders[i].shards[k], expected_holders[i].shards[k]);
    }
}

static void compare_all(struct cluster *cluster, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        struct query_view *one = world_view(&cluster->whole);
        struct query_view *many;
        struct arena arena;
        cluster->asking = next_random(cluster) % cluster->node_count;
        many = view_of(cluster, true);
        arena_create(&arena, 0);
        compare_search(cluster, one, many, &arena);
        compare_searches(cluster, one, many, &arena);
        compare_scroll(cluster, one, many, &arena);
        compare_counts(cluster, one, many, &arena);
        compare_ids(cluster, one, many, &arena);
        compare_totals(one, many);
        same_freshness(one, many);
        arena_destroy(&arena);
        query_view_close(many);
        query_view_close(one);
    }
}

START_TEST(answers_of_nodes_together_are_those_of_one_process)
{
    static const size_t sizes[] = {2, 3, 5};
    static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_DOT,
                                                 VECTOR_METRIC_L2};
    static struct cluster cluster;

    for (size_t i = 0; i < 3; i++) {
        cluster_open(&cluster, sizes[i], metrics[i], test_seed() + i);
        fill(&cluster);
        compare_all(&cluster, 150);
        cluster_close(&cluster);
    }
}
END_TEST

/* Ages count from the asking node's clock. */
START_TEST(clocks_that_differ_change_no_score)
{
    static struct cluster cluster;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    fill(&cluster);
    cluster.nodes[1].clock_ahead_ms = 300000;
    set_clock(&cluster, start_ms + 9 * hour_ms);
    for (int round = 0; round < 40; round++) {
        struct query_view *one = world_view(&cluster.whole);
        struct query_view *many = view_of(&cluster, true);
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
    fill(&cluster);
    for (enum damage damage = SILENT; damage < DAMAGES; damage++) {
        cluster.nodes[1].damage = damage;
        for (int round = 0; round < 30; round++) {
            struct query_view *view = view_of(&cluster, round % 2 == 0);
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
    fill(&cluster);
    cluster.nodes[1].out_of_time = true;
    arena_create(&arena, 0);
    view = view_of(&cluster, false);
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

/* A node that has given its shard away answers at once: waiting for an offset there would last until
 * the deadline, while somebody else has it. */
START_TEST(offsets_of_shards_that_have_left_are_not_waited_for)
{
    static const struct query_min_offset wanted = {"1", 1000000};
    static struct cluster cluster;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    fill(&cluster);
    store_registry_close(cluster.nodes[1].world.registry, cluster.nodes[1].world.shards[1], false);
    options = (struct query_view_options){.collection = &cluster.whole.collection,
                                          .registry = cluster.nodes[0].world.registry,
                                          .io = &cluster.nodes[0].world.clock.io,
                                          .min_offsets = &wanted,
                                          .min_offset_count = 1,
                                          .peers = &cluster.peers};
    ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
    ck_assert_msg(query_count(view, NULL, &count, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(query_view_coverage(view)->missing_count, 1);
    ck_assert_str_eq(query_view_coverage(view)->missing[0], "topic[1]");
    query_view_close(view);
    cluster_close(&cluster);
}
END_TEST

TEST_TABLE(TEST(offsets_of_shards_that_have_left_are_not_waited_for),
           TEST(answers_of_nodes_together_are_those_of_one_process),
           TEST(clocks_that_differ_change_no_score),
           TEST(bad_answers_are_refused_and_their_shards_missing),
           TEST(peer_out_of_time_ends_the_request_as_the_own_clock_does))
