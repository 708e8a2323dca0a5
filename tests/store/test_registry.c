/* The registry of open shards: who has a lease, and which shards of a collection are missing. */
#include <stdlib.h>
#include <string.h>

#include "store/registry.h"
#include "tests/support/test_main.h"

static char collection_name[] = "news";

static const struct config_collection collection = {
    .name = collection_name, .dim = 2, .window_ms = 1000};

static const struct store_expected_shard expected[] = {
    {"0", "news[0]"}, {"1", "news[1]"}, {"2", "news[2]"}, {"10", "news[10]"}};

struct world {
    struct store *store;
    struct store_registry *registry;
    struct arena arena;
    struct error error;
};

static void setup(struct world *world, bool expects_shards)
{
    struct store_options options = {
        .data_dir = test_directory(), .memory_max_bytes = 64 << 20, .memtable_max_bytes = 1 << 20};

    memset(world, 0, sizeof(*world));
    arena_create(&world->arena, 0);
    ck_assert_int_eq(store_open(&options, &world->store, &world->error), 0);
    world->registry = store_registry_new(
        &(struct store_registry_options){.store = world->store, .expects_shards = expects_shards});
}

static void teardown(struct world *world)
{
    store_registry_close_all(world->registry, false);
    store_registry_delete(world->registry);
    store_close(world->store);
    arena_destroy(&world->arena);
}

static struct store_shard *claim(struct world *world, const char *name)
{
    struct store_shard *shard;

    ck_assert_int_eq(
        store_registry_claim(world->registry, &collection, name, &shard, &world->error), 0);
    return shard;
}

static struct store_coverage coverage_of(struct world *world, size_t lease_count)
{
    struct store_coverage coverage;
    struct store_lease *leases;
    size_t count = store_registry_acquire_covered(world->registry, collection.name, &world->arena,
                                                  &leases, &coverage);

    ck_assert_uint_eq(count, lease_count);
    for (size_t i = 0; i < count; i++)
        store_registry_release(world->registry, &leases[i]);
    return coverage;
}

START_TEST(coverage_is_unknown_until_the_shards_are_told)
{
    struct store_coverage coverage;
    struct world world;

    setup(&world, true);
    claim(&world, "0");
    ck_assert(!coverage_of(&world, 1).known);
    store_registry_expect(world.registry, collection.name, expected, 1);
    coverage = coverage_of(&world, 1);
    ck_assert(coverage.known);
    ck_assert_uint_eq(coverage.missing_count, 0);
    teardown(&world);
}
END_TEST

START_TEST(what_is_open_is_all_where_nobody_tells)
{
    struct store_coverage coverage;
    struct world world;

    setup(&world, false);
    coverage = coverage_of(&world, 0);
    ck_assert(coverage.known);
    ck_assert_uint_eq(coverage.missing_count, 0);
    teardown(&world);
}
END_TEST

START_TEST(missing_shards_are_named_until_they_open)
{
    struct store_coverage coverage;
    struct store_shard *shard;
    struct world world;

    setup(&world, true);
    store_registry_expect(world.registry, "another", expected, 4);
    store_registry_expect(world.registry, collection.name, expected, 4);
    shard = claim(&world, "1");
    claim(&world, "10");
    coverage = coverage_of(&world, 2);
    ck_assert_uint_eq(coverage.missing_count, 2);
    ck_assert_str_eq(coverage.missing[0], "news[0]");
    ck_assert_str_eq(coverage.missing[1], "news[2]");
    claim(&world, "0");
    claim(&world, "2");
    ck_assert_uint_eq(coverage_of(&world, 4).missing_count, 0);

    store_registry_close(world.registry, shard, false);
    coverage = coverage_of(&world, 3);
    ck_assert_uint_eq(coverage.missing_count, 1);
    ck_assert_str_eq(coverage.missing[0], "news[1]");
    teardown(&world);
}
END_TEST

/* Partitions are added to a topic while it is read. */
static bool is_behind(struct world *world)
{
    struct store_lease lease;
    bool behind;

    ck_assert(store_registry_acquire_shard(world->registry, collection.name, "0", &lease));
    behind = lease.behind;
    store_registry_release(world->registry, &lease);
    return behind;
}

/* In no moment between its coming and its owner's word a shard counts as complete. */
START_TEST(a_shard_that_comes_is_behind_until_its_owner_says_otherwise)
{
    struct world world;
    struct store_shard *shard;

    setup(&world, true);
    shard = claim(&world, "0");
    ck_assert(is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert(!is_behind(&world));
    (void)claim(&world, "0"); /* it did not go */
    ck_assert(!is_behind(&world));
    store_registry_unclaim(world.registry, shard);
    ck_assert(is_behind(&world));
    (void)claim(&world, "0");
    ck_assert(is_behind(&world));
    teardown(&world);
    setup(&world, false);
    (void)claim(&world, "0");
    ck_assert(!is_behind(&world));
    teardown(&world);
}
END_TEST

START_TEST(a_shard_that_is_handed_over_answers_as_it_was_until_it_is_closed)
{
    struct world world;
    struct store_shard *shard;

    setup(&world, true);
    shard = claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    store_registry_hand_over(world.registry, shard);
    store_registry_close_unclaimed(world.registry);
    ck_assert(!is_behind(&world));
    (void)claim(&world, "0"); /* it came back */
    ck_assert(is_behind(&world));
    store_registry_hand_over(world.registry, shard);
    ck_assert(is_behind(&world)); /* it had not caught up */
    store_registry_close(world.registry, shard, true);
    (void)coverage_of(&world, 0);
    teardown(&world);
}
END_TEST

START_TEST(later_word_about_the_shards_replaces_the_earlier_one)
{
    struct store_coverage coverage;
    struct world world;

    setup(&world, true);
    claim(&world, "0");
    store_registry_expect(world.registry, collection.name, expected, 1);
    ck_assert_uint_eq(coverage_of(&world, 1).missing_count, 0);
    store_registry_expect(world.registry, collection.name, expected, 2);
    coverage = coverage_of(&world, 1);
    ck_assert_uint_eq(coverage.missing_count, 1);
    ck_assert_str_eq(coverage.missing[0], "news[1]");
    teardown(&world);
}
END_TEST

TEST_TABLE(TEST(a_shard_that_comes_is_behind_until_its_owner_says_otherwise),
           TEST(coverage_is_unknown_until_the_shards_are_told),
           TEST(what_is_open_is_all_where_nobody_tells),
           TEST(missing_shards_are_named_until_they_open),
           TEST(a_shard_that_is_handed_over_answers_as_it_was_until_it_is_closed),
           TEST(later_word_about_the_shards_replaces_the_earlier_one))
