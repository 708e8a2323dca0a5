/* Folders of shards: named by topic and partition, whatever the order of topics in the config. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "tests/store/cut_names.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

static char collection_name[] = "news";
static char news[] = "news", clicks[] = "clicks";

struct world {
    struct store *store;
    struct store_registry *registry;
    struct config_collection collection;
    struct config config;
    const char *topics[2];
    struct error error;
};

static void start_on(struct world *world, struct io *io, const char *first, const char *second)
{
    memset(world, 0, sizeof(*world));
    world->topics[0] = first;
    world->topics[1] = second;
    world->collection = (struct config_collection){.name = collection_name,
                                                   .dim = FIXTURE_DIM,
                                                   .metric = VECTOR_METRIC_L2,
                                                   .window_ms = 1000,
                                                   .topics = world->topics,
                                                   .topic_count = second ? 2 : 1};
    world->config = (struct config){.collections = &world->collection, .collection_count = 1};
    world->store = fixture_store(io, test_directory(), 64 * 1024);
    world->registry = store_registry_new(&(struct store_registry_options){.store = world->store});
}

static void start(struct world *world, const char *first, const char *second)
{
    start_on(world, fixture_io(NULL), first, second);
}

static int open_existing(struct world *world)
{
    return store_registry_open_existing(world->registry, &world->config, &world->error);
}

static void stop(struct world *world)
{
    store_registry_close_all(world->registry, true);
    store_registry_delete(world->registry);
    store_close(world->store);
}

/* The offset that a shard was written up to tells whose it is. -1: it is not open. */
static int64_t end_of(struct world *world, const char *shard)
{
    struct store_lease lease;
    int64_t end = -1;

    if (store_registry_acquire_shard(world->registry, collection_name, shard, &lease)) {
        end = store_shard_next_offset(lease.shard);
        store_registry_release(world->registry, &lease);
    }
    return end;
}

static void write_up_to(struct world *world, const char *shard, int64_t end)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct store_shard *opened;

    ck_assert_ptr_nonnull(group);
    ck_assert_msg(store_registry_claim(world->registry, &world->collection, shard, &opened,
                                       &world->error) == 0,
                  "%s", world->error.text);
    fixture_group_start(group, 0);
    for (int64_t i = 0; i < end; i++)
        fixture_group_put(group, (uint32_t)i, 100, 0, 0, false);
    ck_assert_int_eq(store_shard_append(opened, &group->group, &world->error), 0);
    free(group);
}

static bool is_there(const char *path)
{
    char whole[PATH_MAX];

    (void)snprintf(whole, sizeof(whole), "%s/%s", test_directory(), path);
    return access(whole, F_OK) == 0;
}

static void move(const char *from, const char *to)
{
    char paths[2][PATH_MAX];

    (void)snprintf(paths[0], PATH_MAX, "%s/%s", test_directory(), from);
    (void)snprintf(paths[1], PATH_MAX, "%s/%s", test_directory(), to);
    ck_assert_int_eq(rename(paths[0], paths[1]), 0);
}

/* 3 and 5 records of the first partitions of news and clicks. */
static void write_both(void)
{
    struct world world;

    start(&world, news, clicks);
    write_up_to(&world, "0", 3);
    write_up_to(&world, "clicks-0", 5);
    stop(&world);
}

/* As 0.2 and before had them: beside LOCK, those of the first topic by their number alone. */
static void make_old(void)
{
    write_both();
    move("collections.d/news/news-0", "collections.d/news/0");
    move("collections.d/news", "news");
}

START_TEST(each_topic_keeps_its_shards_when_the_order_changes)
{
    struct world world;

    write_both();
    start(&world, clicks, news);
    ck_assert_msg(open_existing(&world) == 0, "%s", world.error.text);
    ck_assert_int_eq(end_of(&world, "0"), 5);
    ck_assert_int_eq(end_of(&world, "news-0"), 3);
    ck_assert_int_eq(end_of(&world, "clicks-0"), -1);
    stop(&world);
    ck_assert(is_there("collections.d/news/news-0") && is_there("collections.d/news/clicks-0"));
}
END_TEST

START_TEST(shards_of_a_topic_that_left_the_list_are_kept_and_not_served)
{
    struct world world;

    write_both();
    start(&world, clicks, NULL);
    ck_assert_msg(open_existing(&world) == 0, "%s", world.error.text);
    ck_assert_int_eq(end_of(&world, "0"), 5);
    ck_assert_int_eq(end_of(&world, "news-0"), -1);
    stop(&world);
    start(&world, clicks, news);
    ck_assert_int_eq(open_existing(&world), 0);
    ck_assert_int_eq(end_of(&world, "news-0"), 3);
    stop(&world);
}
END_TEST

START_TEST(folders_of_an_earlier_windrow_are_named_by_their_topics)
{
    struct world world;

    make_old();
    start(&world, news, clicks);
    ck_assert_msg(open_existing(&world) == 0, "%s", world.error.text);
    ck_assert_int_eq(end_of(&world, "0"), 3);
    ck_assert_int_eq(end_of(&world, "clicks-0"), 5);
    stop(&world);
    ck_assert(is_there("collections.d/news/news-0") && !is_there("collections.d/news/0"));
    ck_assert(!is_there("news/clicks-0") && !is_there("collections.d/news/FIRST_TOPIC"));
}
END_TEST

START_TEST(order_that_changed_with_the_upgrade_is_refused_before_anything_is_named)
{
    struct world world;

    make_old();
    start(&world, clicks, news);
    ck_assert_int_eq(open_existing(&world), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(world.error.text, "which was not clicks"));
    stop(&world);
    ck_assert(is_there("collections.d/news/0") && is_there("collections.d/news/clicks-0"));
    start(&world, news, clicks);
    ck_assert_int_eq(open_existing(&world), 0);
    ck_assert_int_eq(end_of(&world, "0"), 3);
    stop(&world);
}
END_TEST

/* A process of a cluster has some partitions: those of both topics need not have a number in common. */
START_TEST(order_that_changed_shows_by_other_partitions_too)
{
    struct world world;

    start(&world, news, clicks);
    write_up_to(&world, "1", 3);
    write_up_to(&world, "clicks-0", 5);
    stop(&world);
    move("collections.d/news/news-1", "collections.d/news/1");
    start(&world, clicks, news);
    ck_assert_int_eq(open_existing(&world), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(world.error.text, "which was not clicks"));
    stop(&world);
    ck_assert(is_there("collections.d/news/1") && is_there("collections.d/news/clicks-0"));
}
END_TEST

/* Of two folders, wherever the process ends: the next start names both alike, and one with another order none. */
START_TEST(naming_that_was_cut_off_goes_on_with_the_topic_that_it_began_with)
{
    bool whole = false;
    unsigned cut = 0;

    for (; !whole && cut < 60; cut++) {
        struct world world;
        char command[1024];
        bool begun;

        start(&world, news, clicks);
        write_up_to(&world, "0", 3);
        write_up_to(&world, "1", 4);
        stop(&world);
        move("collections.d/news/news-0", "collections.d/news/0");
        move("collections.d/news/news-1", "collections.d/news/1");
        start_on(&world, cut_names_io(1000), news, clicks);
        (void)cut_names_io(cut);
        whole = open_existing(&world) == 0;
        (void)cut_names_io(1000);
        stop(&world);
        begun = is_there("collections.d/news/FIRST_TOPIC");
        if (begun) {
            start(&world, clicks, news);
            ck_assert_int_eq(open_existing(&world),
                             is_there("collections.d/news/1") ? ERROR_INVALID : 0);
            stop(&world);
        }
        start(&world, news, clicks);
        ck_assert_msg(open_existing(&world) == 0, "%s", world.error.text);
        ck_assert_int_eq(end_of(&world, "0"), 3);
        ck_assert_int_eq(end_of(&world, "1"), 4);
        stop(&world);
        ck_assert(!is_there("collections.d/news/FIRST_TOPIC") && !is_there("collections.d/news/1"));
        (void)snprintf(command, sizeof(command), "rm -R '%s'/*", test_directory());
        ck_assert_int_eq(system(command), 0);
    }
    ck_assert(whole);
    ck_assert_uint_gt(cut, 6);
}
END_TEST

/* Topics of every legal form: their names are each a folder's, and none is another one's. */
START_TEST(folder_of_a_shard_tells_its_topic_and_partition)
{
    static char longest[250];
    const char *topics[] = {"a", "a-1", "a-1-1", "a.b", "a_b", ".a", "_a",
                            "-", "--1", "...",   "0",   "1-0", "A",  longest};
    enum { TOPICS = sizeof(topics) / sizeof(topics[0]) };
    static const int32_t partitions[] = {0, 1, 10, 11, 99999};
    enum { PARTITIONS = sizeof(partitions) / sizeof(partitions[0]) };
    static char folders[TOPICS * PARTITIONS][CONFIG_SHARD_NAME_BYTES];
    const struct config_collection all = {.topics = topics, .topic_count = TOPICS};
    size_t count = 0;

    memset(longest, 'x', sizeof(longest) - 1);
    for (size_t i = 0; i < TOPICS; i++)
        for (size_t j = 0; j < PARTITIONS; j++, count++) {
            char shard[CONFIG_SHARD_NAME_BYTES], again[CONFIG_SHARD_NAME_BYTES];
            config_shard_name(&all, i, partitions[j], shard);
            config_shard_folder(&all, shard, folders[count]);
            ck_assert(config_shard_of_folder(&all, folders[count], again));
            ck_assert_str_eq(again, shard);
            ck_assert_uint_le(strlen(folders[count]), NAME_MAX);
            ck_assert_int_ne(folders[count][0], '.');
            for (size_t k = 0; k < count; k++)
                ck_assert_str_ne(folders[k], folders[count]);
        }
}
END_TEST

START_TEST(folder_that_no_shard_has_is_of_no_topic)
{
    static const char *const folders[] = {"3",    "a",   "a-", "a-01",        "a-+1",
                                          "a-1x", "b-1", "-1", "a-4294967296"};
    const char *topics[] = {"a"};
    const struct config_collection one = {.topics = topics, .topic_count = 1};
    char shard[CONFIG_SHARD_NAME_BYTES];

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        ck_assert_msg(!config_shard_of_folder(&one, folders[i], shard), "%s", folders[i]);
}
END_TEST

TEST_TABLE(TEST(each_topic_keeps_its_shards_when_the_order_changes),
           TEST(shards_of_a_topic_that_left_the_list_are_kept_and_not_served),
           TEST(folders_of_an_earlier_windrow_are_named_by_their_topics),
           TEST(order_that_changed_with_the_upgrade_is_refused_before_anything_is_named),
           TEST(order_that_changed_shows_by_other_partitions_too),
           TEST(naming_that_was_cut_off_goes_on_with_the_topic_that_it_began_with),
           TEST(folder_of_a_shard_tells_its_topic_and_partition),
           TEST(folder_that_no_shard_has_is_of_no_topic))
