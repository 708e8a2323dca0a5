/* A copy that is behind a peer's is left to that peer. When the peer fails, it answers after all. What was read before the
 * process stood still is behind, too. */
#include <string.h>

#include "indexer/query/wire.h"
#include "store/registry.h"
#include "tests/indexer/query/query_comparison.h"
#include "tests/support/test_main.h"

/* The peer has the shard, with one record. */
static void open_at_peer(struct cluster *cluster)
{
    struct world *fresh = &cluster->nodes[4].world;
    struct error error = {0};

    ck_assert_int_eq(
        store_registry_claim(fresh->registry, &fresh->collection, "0", &fresh->shards[0], &error),
        0);
    world_upsert_near(fresh, 0, IDS + 1, start_ms, 0.5F);
}

static void check_that_shard_lacks(const struct query_view *view)
{
    const struct store_coverage *coverage = query_view_coverage(view);
    const struct query_shard_freshness *shards;
    size_t count;

    ck_assert_uint_eq(coverage->missing_count, 1);
    ck_assert_str_eq(coverage->missing[0], "topic[0]");
    shards = query_view_freshness(view, &count);
    ck_assert_uint_eq(count, SHARDS);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(shards[i].lacks, i == 0);
    ck_assert_int_eq(shards[0].known_offset, KNOWN_OFFSET);
}

/* Whatever a request asks for, however its peer fails: it is answered as it would be if the copy were alone, and says that it
 * lacks records. */
START_TEST(a_late_copy_answers_where_its_peer_fails_and_is_named)
{
    static struct cluster cluster;
    const enum damage damages = TEST_SANITIZED ? HALF : DAMAGES;

    cluster_open_late(&cluster);
    for (enum damage damage = SOUND; damage < damages; damage++) {
        struct query_view *view;
        struct error error = {0};
        uint64_t count;
        if (damage == SILENT) /* before, it answers that it has not got the shard */
            open_at_peer(&cluster);
        cluster.nodes[4].damage = damage;
        store_registry_set_behind(cluster.nodes[0].world.registry, "world", "0", damage % 2 == 0);
        view = cluster_view(&cluster, false);
        comparison_run(&cluster, view);
        check_that_shard_lacks(view);
        query_view_close(view);
        view = cluster_view(&cluster, true);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), ERROR_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(error.text, "topic[0]"));
        query_view_close(view);
    }
    cluster_close(&cluster);
}
END_TEST

/* A peer that answers is preferred, each time. Once it has failed, what the view said before is not all there was. */
START_TEST(a_view_that_a_late_copy_answered_once_stays_incomplete)
{
    static struct cluster cluster;
    struct query_view *view;
    struct error error = {0};
    uint64_t old, count;

    cluster_open_late(&cluster);
    open_at_peer(&cluster);
    view = cluster_view(&cluster, false);
    ck_assert_int_eq(query_count(view, NULL, &count, &error), 0);
    ck_assert(query_view_whole(view));
    cluster.nodes[4].damage = SILENT;
    ck_assert_int_eq(query_count(view, NULL, &old, &error), 0);
    ck_assert_uint_gt(old, count); /* the peer's copy has one record */
    check_that_shard_lacks(view);
    cluster.nodes[4].damage = SOUND;
    cluster.nodes[4].out_of_time = true;
    ck_assert_msg(query_count(view, NULL, &old, &error) == 0, "%s", error.text);
    ck_assert_uint_gt(old, count);
    cluster.nodes[4].out_of_time = false;
    ck_assert_int_eq(query_count(view, NULL, &old, &error), 0);
    ck_assert_uint_eq(old, count);
    check_that_shard_lacks(view);
    query_view_close(view);
    cluster_close(&cluster);
}
END_TEST

/* What its owner answered before is of an older generation than what somebody else has shown by now. */
START_TEST(an_answer_tells_its_generation_and_is_discarded_when_a_newer_one_is_known)
{
    static const char *const shards[] = {"1", "3"};
    static struct cluster cluster;
    struct node *owner = &cluster.nodes[1];
    struct store_shard *shard;
    struct query_view *view;
    struct error error = {0};
    uint64_t all, count;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    store_registry_set_ownership(owner->world.registry, (struct store_ownership){1, 7});
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(store_registry_claim(owner->world.registry, &cluster.whole.collection,
                                              shards[i], &shard, &error),
                         0);
    for (int32_t newer = 6; newer <= 8; newer++) {
        view = cluster_view(&cluster, false);
        cluster.newer_generation = newer;
        ck_assert_int_eq(query_count(view, NULL, newer < 8 ? &all : &count, &error), 0);
        ck_assert_int_eq(query_view_whole(view), newer < 8);
        query_view_close(view);
    }
    ck_assert_uint_lt(count, all);
    ck_assert_uint_eq(cluster.refused, 1);
    cluster_close(&cluster);
}
END_TEST

static int answer_count(struct cluster *cluster, struct error *error)
{
    static const char *const shards[] = {"0"};
    struct node *node = &cluster->nodes[0];
    const struct query_view_options options = {.registry = node->world.registry,
                                               .io = &node->world.clock.io};
    struct buffer body = {0}, request = {0}, reply = {0};
    struct query_peer_call call;
    struct arena arena;
    struct doc map;
    int code;

    arena_create(&arena, 0);
    map = doc_map(&arena, 6);
    doc_put(&map, "v", doc_integer(QUERY_PROTOCOL));
    doc_put(&map, "collection", wire_text("world"));
    doc_put(&map, "dim", doc_integer(DIM));
    doc_put(&map, "now_ms", doc_integer(start_ms));
    doc_put(&map, "min_offsets", doc_map(&arena, 1));
    doc_put(&map, "op", wire_from_filter("count", NULL, NULL, &arena));
    doc_write_msgpack(&body, &map);
    call = (struct query_peer_call){.body = body.data, .body_bytes = body.size};
    query_peer_request(&call, shards, 1, &request);
    code = query_answer(&cluster->config, &options, request.data, request.size, &reply, error);
    buffer_destroy(&body);
    buffer_destroy(&request);
    buffer_destroy(&reply);
    arena_destroy(&arena);
    return code;
}

/* It may be older than what others have answered meanwhile. A process without others is never older than itself. */
START_TEST(what_was_read_before_this_process_stood_still_is_no_answer)
{
    static struct cluster cluster;
    struct store_registry *registry;
    struct error error = {0};

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    registry = cluster.nodes[0].world.registry;
    for (int alone = 0; alone < 2; alone++) {
        struct query_view_options options = {.collection = &cluster.whole.collection,
                                             .registry = registry,
                                             .io = &cluster.nodes[0].world.clock.io,
                                             .peers = alone ? NULL : &cluster.peers};
        struct query_view *view;
        struct stop stop;
        uint64_t count;
        stop_create(&stop, io_posix());
        options.stop = &stop;
        store_registry_watch_absence(registry, INT64_MAX);
        ck_assert_int_eq(answer_count(&cluster, &error), 0);
        ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), 0);
        store_registry_watch_absence(registry, 1); /* any moment is too long */
        ck_assert_int_eq(query_count(view, NULL, &count, &error), alone ? 0 : ERROR_CANCELLED);
        ck_assert_int_eq(atomic_load(&stop.begin_anew), !alone);
        ck_assert_int_eq(answer_count(&cluster, &error), ERROR_CANCELLED);
        query_view_close(view);
    }
    cluster_close(&cluster);
}
END_TEST

TEST_TABLE(TEST(what_was_read_before_this_process_stood_still_is_no_answer),
           TEST(an_answer_tells_its_generation_and_is_discarded_when_a_newer_one_is_known),
           TEST(a_late_copy_answers_where_its_peer_fails_and_is_named),
           TEST(a_view_that_a_late_copy_answered_once_stays_incomplete))
