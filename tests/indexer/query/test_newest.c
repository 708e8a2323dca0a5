/* Ids in two shards: searches and pages show the newest version, once, on one process and on several. */
#include <string.h>

#include "store/files/key.h"
#include "store/files/residues.h"

#include "tests/indexer/query/query_cluster.h"
#include "tests/support/test_main.h"

/* Every id has an old version near the query, in the shard that it was written to first, and its newest
 * far from it, where a filter of the old ones does not match either. */
enum { MOVED = 300, PAGE = 20 };

static void write_twice(struct cluster *cluster, bool newest, uint64_t id)
{
    size_t shard = (id + (newest ? 1 : 0)) % SHARDS;
    struct world *worlds[] = {&cluster->whole, &cluster_owner(cluster, shard)->world};
    float vector[DIM] = {newest ? -1.0F : 1.0F, 0.001F * (float)id, 0.5F};

    for (size_t w = 0; w < 2; w++) {
        worlds[w]->random = id; /* the payload's number: equal ones on both sides */
        world_upsert(worlds[w], shard, id, start_ms + (newest ? hour_ms : 0), 0, vector);
        if (id % 100 == 99)
            world_flush(worlds[w], shard);
    }
}

static void check_newest(const struct query_result *result, size_t count)
{
    ck_assert_uint_eq(result->hit_count, count);
    ck_assert(!result->partial);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(query_row_time_ms(&result->hits[i].row), start_ms + hour_ms);
        for (size_t k = 0; k < i; k++)
            ck_assert_uint_ne(world_hit_id(&result->hits[i].row),
                              world_hit_id(&result->hits[k].row));
    }
}

static void check_only_newest(struct query_view *view, struct arena *arena)
{
    static const char *const orders[] = {"n", "@time", "@offset", NULL};
    const struct query_filter *old =
        world_filter(arena, "{\"must\":[{\"key\":\"near\",\"range\":{\"gt\":0}}]}");
    float vector[DIM] = {1.0F};
    struct query_search search = {.vector = vector,
                                  .limit = PAGE,
                                  .exact = true,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .wants = {.payload = true, .vector = true},
                                  .arena = arena};
    struct query_scroll scroll = {.limit = PAGE, .wants = search.wants, .arena = arena};
    struct query_result result;
    struct error error = {0};
    const uint8_t *key;
    size_t key_bytes;

    ck_assert_msg(query_search_run(view, &search, &result, &error) == 0, "%s", error.text);
    check_newest(&result, PAGE);
    search.offset = MOVED - 5;
    ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
    check_newest(&result, 5);
    search.offset = 0;
    search.filter = scroll.filter = old;
    ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
    check_newest(&result, 0);
    ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &key, &key_bytes, &error), 0);
    check_newest(&result, 0);
    scroll.filter = NULL;
    for (size_t i = 0; i < 4; i++) {
        scroll.order_by = orders[i];
        scroll.sample = !orders[i];
        ck_assert_int_eq(query_scroll_run(view, &scroll, &result, &key, &key_bytes, &error), 0);
        check_newest(&result, PAGE);
    }
}

START_TEST(of_an_id_in_two_shards_only_the_newest_version_is_seen)
{
    static struct cluster cluster;
    struct query_view *one, *many;
    struct arena arena;

    cluster_open(&cluster, 3, VECTOR_METRIC_DOT, test_seed());
    for (int newest = 0; newest < 2; newest++)
        for (uint64_t id = 0; id < MOVED; id++)
            write_twice(&cluster, newest, id);
    cluster_set_clock(&cluster, start_ms + 3 * hour_ms);
    one = world_view(&cluster.whole);
    many = cluster_view(&cluster, true);
    arena_create(&arena, 0);
    check_only_newest(one, &arena);
    check_only_newest(many, &arena);
    arena_destroy(&arena);
    query_view_close(many);
    query_view_close(one);
    cluster_close(&cluster);
}
END_TEST

/* Where Kafka's Java client puts it. */
static size_t shard_of(uint64_t id)
{
    struct key_hashes hashes;
    struct store_key key;

    store_key_from_u64(id, &key);
    key_hashes_of(key.bytes, key.size_bytes, &hashes);
    return hashes.by[KEY_HASH_MURMUR2] % SHARDS;
}

static uint32_t requests_of_search(struct cluster *cluster, struct query_view *view,
                                   struct arena *arena)
{
    float vector[DIM] = {1.0F};
    const struct query_search search = {.vector = vector,
                                        .limit = PAGE,
                                        .exact = true,
                                        .from_ms = INT64_MIN,
                                        .to_ms = INT64_MAX,
                                        .arena = arena};
    struct query_result result;
    struct error error = {0};

    cluster->requests = 0;
    ck_assert_msg(query_search_run(view, &search, &result, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(result.hit_count, PAGE);
    ck_assert(!result.partial);
    return cluster->requests;
}

/* The query's own vector: it is on the page. */
static void write_nearest(struct cluster *cluster, size_t shard, uint64_t id)
{
    struct world *worlds[] = {&cluster->whole, &cluster_owner(cluster, shard)->world};
    float vector[DIM] = {1.0F};

    for (size_t w = 0; w < 2; w++)
        world_upsert(worlds[w], shard, id, start_ms + 8 * hour_ms, 0, vector);
}

static bool is_asked(struct cluster *cluster, size_t node, size_t shard)
{
    return cluster_owner(cluster, shard) == &cluster->nodes[node];
}

/* One question to each other node. An id where the partitioner does not put it makes a second one to two nodes at
 * most: where it should be, and where it is (any other id may be there too). */
START_TEST(shards_that_a_partitioner_filled_are_asked_once)
{
    static struct cluster cluster;
    const size_t wrong = (shard_of(MOVED) + 1) % SHARDS;
    uint32_t expected;
    struct query_view *view;
    struct arena arena;

    cluster_open(&cluster, 3, VECTOR_METRIC_DOT, test_seed());
    for (uint64_t id = 0; id < MOVED; id++) {
        cluster_upsert_near(&cluster, shard_of(id), id, 0.5F);
        if (id == MOVED / 2)
            for (size_t shard = 0; shard < SHARDS; shard++)
                world_flush(&cluster_owner(&cluster, shard)->world, shard);
    }
    cluster_set_clock(&cluster, start_ms + 9 * hour_ms);
    arena_create(&arena, 0);
    view = cluster_view(&cluster, true);
    ck_assert_uint_eq(requests_of_search(&cluster, view, &arena), 2);
    query_view_close(view);
    write_nearest(&cluster, wrong, MOVED);
    view = cluster_view(&cluster, true);
    expected = 2;
    for (size_t node = 1; node < cluster.node_count; node++)
        expected += is_asked(&cluster, node, wrong) || is_asked(&cluster, node, shard_of(MOVED));
    ck_assert_uint_gt(expected, 2);
    ck_assert_uint_eq(requests_of_search(&cluster, view, &arena), expected);
    query_view_close(view);
    arena_destroy(&arena);
    cluster_close(&cluster);
}
END_TEST

/* Behind the first question to the two other nodes. */
static void write_all_anew(struct cluster *cluster)
{
    float vector[DIM] = {1.0F};

    if (cluster->asked == 3)
        for (uint64_t id = 0; id < MOVED; id++)
            world_upsert(&cluster_owner(cluster, id % SHARDS)->world, id % SHARDS, id,
                         start_ms + hour_ms, 0, vector);
}

/* A hit that its own shard has in a newer version by then was right when the search looked. */
START_TEST(hits_that_are_written_anew_between_the_two_questions_stay)
{
    static struct cluster cluster;
    struct query_view *view;
    struct arena arena;

    cluster_open(&cluster, 3, VECTOR_METRIC_DOT, test_seed());
    for (uint64_t id = 0; id < MOVED; id++)
        write_twice(&cluster, false, id);
    cluster_set_clock(&cluster, start_ms + 3 * hour_ms);
    arena_create(&arena, 0);
    view = cluster_view(&cluster, true);
    cluster.before_ask = write_all_anew;
    ck_assert_uint_eq(requests_of_search(&cluster, view, &arena), 4);
    query_view_close(view);
    arena_destroy(&arena);
    cluster_close(&cluster);
}
END_TEST

TEST_TABLE(TEST(hits_that_are_written_anew_between_the_two_questions_stay),
           TEST(of_an_id_in_two_shards_only_the_newest_version_is_seen),
           TEST(shards_that_a_partitioner_filled_are_asked_once))
