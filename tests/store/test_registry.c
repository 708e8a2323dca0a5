/* The registry of open shards: who has a lease, and which shards of a collection are missing. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/install.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "store/tools/copy.h"
#include "tests/store/registry_world.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

static const struct store_expected_shard expected[] = {
    {"0", "news[0]"}, {"1", "news[1]"}, {"2", "news[2]"}, {"10", "news[10]"}};

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

    world_open(&world, true);
    world_claim(&world, "0");
    ck_assert(!coverage_of(&world, 1).known);
    store_registry_expect(world.registry, collection.name, expected, 1);
    coverage = coverage_of(&world, 1);
    ck_assert(coverage.known);
    ck_assert_uint_eq(coverage.missing_count, 0);
    world_close(&world);
}
END_TEST

START_TEST(what_is_open_is_all_where_nobody_tells)
{
    struct store_coverage coverage;
    struct world world;

    world_open(&world, false);
    coverage = coverage_of(&world, 0);
    ck_assert(coverage.known);
    ck_assert_uint_eq(coverage.missing_count, 0);
    world_close(&world);
}
END_TEST

START_TEST(missing_shards_are_named_until_they_open)
{
    struct store_coverage coverage;
    struct store_shard *shard;
    struct world world;

    world_open(&world, true);
    store_registry_expect(world.registry, "another", expected, 4);
    store_registry_expect(world.registry, collection.name, expected, 4);
    shard = world_claim(&world, "1");
    world_claim(&world, "10");
    coverage = coverage_of(&world, 2);
    ck_assert_uint_eq(coverage.missing_count, 2);
    ck_assert_str_eq(coverage.missing[0], "news[0]");
    ck_assert_str_eq(coverage.missing[1], "news[2]");
    world_claim(&world, "0");
    world_claim(&world, "2");
    ck_assert_uint_eq(coverage_of(&world, 4).missing_count, 0);

    store_registry_close(world.registry, shard, false);
    coverage = coverage_of(&world, 3);
    ck_assert_uint_eq(coverage.missing_count, 1);
    ck_assert_str_eq(coverage.missing[0], "news[1]");
    world_close(&world);
}
END_TEST

/* Partitions are added to a topic while it is read. */
/* In no moment between its coming and its owner's word a shard counts as complete. */
START_TEST(a_shard_that_comes_is_behind_until_its_owner_says_otherwise)
{
    struct world world;
    struct store_shard *shard;

    world_open(&world, true);
    shard = world_claim(&world, "0");
    ck_assert(world_is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert(!world_is_behind(&world));
    (void)world_claim(&world, "0"); /* it did not go */
    ck_assert(!world_is_behind(&world));
    store_registry_unclaim(world.registry, shard);
    ck_assert(world_is_behind(&world));
    (void)world_claim(&world, "0");
    ck_assert(world_is_behind(&world));
    world_close(&world);
    world_open(&world, false);
    (void)world_claim(&world, "0");
    ck_assert(!world_is_behind(&world));
    world_close(&world);
}
END_TEST

START_TEST(a_shard_that_is_handed_over_answers_as_it_was_until_it_is_closed)
{
    struct world world;
    struct store_shard *shard;

    world_open(&world, true);
    shard = world_claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    store_registry_hand_over(world.registry, shard);
    store_registry_close_unclaimed(world.registry);
    ck_assert(!world_is_behind(&world));
    (void)world_claim(&world, "0"); /* it came back before anybody else had it */
    ck_assert(!world_is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", true);
    store_registry_hand_over(world.registry, shard);
    ck_assert(world_is_behind(&world)); /* it had not caught up */
    (void)world_claim(&world, "0");
    ck_assert(world_is_behind(&world));
    store_registry_close(world.registry, shard, true);
    (void)coverage_of(&world, 0);
    world_close(&world);
}
END_TEST

struct closing {
    struct store_registry *registry;
    struct store_shard *shard;
};

static void *close_it(void *context)
{
    const struct closing *closing = context;

    store_registry_close(closing->registry, closing->shard, true);
    return NULL;
}

/* One lease is given back when long work has to stop, the other as late as searches are broken off. */
START_TEST(a_shard_that_closes_breaks_searches_off_later_than_long_work)
{
    struct store_lease work, search;
    struct world world;
    struct closing closing;
    pthread_t closer;

    world_open(&world, false);
    closing = (struct closing){world.registry, world_claim(&world, "0")};
    ck_assert(store_registry_acquire_shard(world.registry, collection.name, "0", &work));
    ck_assert(store_registry_acquire_shard(world.registry, collection.name, "0", &search));
    ck_assert_int_eq(pthread_create(&closer, NULL, close_it, &closing), 0);
    while (!atomic_load(work.closing))
        sched_yield();
    ck_assert(!store_registry_acquire_shard(world.registry, collection.name, "0",
                                            &(struct store_lease){0}));
    store_registry_release(world.registry, &work);
    while (!atomic_load(search.broken_off))
        sched_yield();
    store_registry_release(world.registry, &search);
    pthread_join(closer, NULL);
    (void)coverage_of(&world, 0);
    world_close(&world);
}
END_TEST

START_TEST(a_search_in_a_shard_that_closes_is_let_end)
{
    struct store_lease search;
    bool broken_off;
    struct world world;
    struct closing closing;
    pthread_t closer;

    world_open(&world, false);
    closing = (struct closing){world.registry, world_claim(&world, "0")};
    store_registry_hand_over(world.registry, closing.shard);
    ck_assert(store_registry_acquire_shard(world.registry, collection.name, "0", &search));
    ck_assert_int_eq(pthread_create(&closer, NULL, close_it, &closing), 0);
    while (!atomic_load(search.closing))
        sched_yield();
    broken_off = atomic_load(search.broken_off);
    store_registry_release(world.registry, &search);
    pthread_join(closer, NULL);
    ck_assert(!broken_off);
    world_close(&world);
}
END_TEST

static const struct config_collection wide = {
    .name = "news", .dim = FIXTURE_DIM, .window_ms = 1000};

/* Stores one record, so that the shard's offset is behind it. */
static int64_t fill(struct world *world, struct store_shard *shard, int64_t offset)
{
    static struct fixture_group group;

    fixture_group_start(&group, offset);
    fixture_group_put(&group, 1, 500, 0, 4, false);
    ck_assert_msg(store_shard_append(shard, &group.group, &world->error) == 0, "%s",
                  world->error.text);
    return group.group.next_offset;
}

/* A copy that is another process's shard, whole and flushed, in a folder of its own. */
static int64_t make_copy(struct world *world, char folder[PATH_MAX])
{
    char from[PATH_MAX], to[PATH_MAX];
    struct store_shard *shard;
    int64_t next_offset;

    ck_assert_int_eq(store_registry_claim(world->registry, &wide, "0", &shard, &world->error), 0);
    next_offset = fill(world, shard, 5000);
    store_registry_close(world->registry, shard, true);
    ck_assert_int_eq(store_copy_incoming(world_clock_io(), test_directory(), collection.name, "0",
                                         folder, &world->error),
                     0);
    (void)snprintf(from, sizeof(from), "%s/collections.d/news/0", test_directory());
    (void)snprintf(to, sizeof(to), "%.3000s/news/0", folder);
    ck_assert_int_eq(rmdir(to), 0);
    ck_assert_int_eq(rename(from, to), 0);
    return next_offset;
}

/* Whatever is wrong with it was not seen by those who verified it: the shard goes on from what it had. */
START_TEST(a_copy_that_cannot_be_opened_or_moved_leaves_what_was_there)
{
    struct store_shard *shard;
    char folder[PATH_MAX];
    struct world world;
    int64_t before, copied;

    for (int way = 0; way < 4; way++) {
        const bool had = way & 1, opens = way & 2;
        world_open(&world, true);
        (void)snprintf(world_unreadable, sizeof(world_unreadable), "%s/collections.d/news/0/",
                       test_directory());
        copied = make_copy(&world, folder);
        before = -1;
        if (had) {
            ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error),
                             0);
            before = fill(&world, shard, 10);
            store_registry_unclaim(world.registry, shard);
        }
        *(opens ? &world_rename_refusals : &world_refusals) = 1;
        ck_assert_int_ne(store_registry_install(world.registry, &wide, "0", folder, &world.error),
                         0);
        ck_assert_int_eq(world_refusals + world_rename_refusals, 0);
        ck_assert_int_eq(store_folder_remove(world_clock_io(), folder, &world.error), 0);
        ck_assert_msg(store_registry_claim(world.registry, &wide, "0", &shard, &world.error) == 0,
                      "%s", world.error.text);
        ck_assert_int_eq(store_shard_next_offset(shard), before);
        ck_assert_int_eq(store_registry_discard(world.registry, shard, &world.error), 0);

        ck_assert_int_eq(make_copy(&world, folder), copied);
        ck_assert_int_eq(store_registry_install(world.registry, &wide, "0", folder, &world.error),
                         0);
        ck_assert_int_eq(access(folder, F_OK), -1);
        ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error), 0);
        ck_assert_int_eq(store_shard_next_offset(shard), copied);
        ck_assert_int_eq(store_registry_discard(world.registry, shard, &world.error), 0);
        world_close(&world);
    }
}
END_TEST

struct wait {
    struct world *world;
    int64_t offset;
    int code;
};

static void *wait_for_it(void *context)
{
    struct wait *wait = context;
    struct error error = {0};

    wait->code = store_registry_wait_visible(wait->world->registry, collection.name, "0",
                                             wait->offset, true, INT64_MAX, NULL, &error);
    return NULL;
}

START_TEST(nobody_waits_for_an_offset_that_a_handed_over_shard_does_not_have)
{
    struct store_shard *shard;
    struct world world;
    struct wait wait = {.world = &world};
    pthread_t thread;

    world_open(&world, true);
    ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error), 0);
    wait.offset = fill(&world, shard, 10);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &wait), 0);
    usleep(10000); /* asleep, most of the time */
    store_registry_hand_over(world.registry, shard);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(wait.code, ERROR_NOT_FOUND);
    wait_for_it(&wait);
    ck_assert_int_eq(wait.code, ERROR_NOT_FOUND);
    wait.offset--;
    wait_for_it(&wait);
    ck_assert_int_eq(wait.code, 0); /* what it has is there */
    wait.offset++;
    ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &wait), 0);
    (void)fill(&world, shard, wait.offset);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(wait.code, 0);
    world_close(&world);
}
END_TEST

START_TEST(folder_of_a_closed_shard_is_removed_and_an_open_one_is_not)
{
    struct world world;
    struct store_shard *shard;
    struct error error = {0};
    const char **names;
    struct arena arena;
    size_t count;

    world_open(&world, true);
    arena_create(&arena, 0);
    shard = world_claim(&world, "0");
    ck_assert_int_eq(store_registry_remove(world.registry, &collection, "0", &error), ERROR_BUSY);
    store_registry_close(world.registry, shard, true);
    ck_assert_int_eq(store_registry_remove(world.registry, &collection, "0", &error), 0);
    ck_assert_int_eq(store_shard_list(world.store, collection.name, &arena, &names, &count, &error),
                     0);
    ck_assert_uint_eq(count, 0);
    (void)world_claim(&world, "0"); /* its name is free */
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

START_TEST(later_word_about_the_shards_replaces_the_earlier_one)
{
    struct store_coverage coverage;
    struct world world;

    world_open(&world, true);
    world_claim(&world, "0");
    store_registry_expect(world.registry, collection.name, expected, 1);
    ck_assert_uint_eq(coverage_of(&world, 1).missing_count, 0);
    store_registry_expect(world.registry, collection.name, expected, 2);
    coverage = coverage_of(&world, 1);
    ck_assert_uint_eq(coverage.missing_count, 1);
    ck_assert_str_eq(coverage.missing[0], "news[1]");
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(a_copy_that_cannot_be_opened_or_moved_leaves_what_was_there),
           TEST(a_shard_that_comes_is_behind_until_its_owner_says_otherwise),
           TEST(coverage_is_unknown_until_the_shards_are_told),
           TEST(what_is_open_is_all_where_nobody_tells),
           TEST(missing_shards_are_named_until_they_open),
           TEST(a_shard_that_is_handed_over_answers_as_it_was_until_it_is_closed),
           TEST(nobody_waits_for_an_offset_that_a_handed_over_shard_does_not_have),
           TEST(a_shard_that_closes_breaks_searches_off_later_than_long_work),
           TEST(a_search_in_a_shard_that_closes_is_let_end),
           TEST(folder_of_a_closed_shard_is_removed_and_an_open_one_is_not),
           TEST(later_word_about_the_shards_replaces_the_earlier_one))
