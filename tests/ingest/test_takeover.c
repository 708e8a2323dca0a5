/* A partition whose shard is to be copied from somebody else. */
#include <unistd.h>

#include "store/registry.h"
#include "tests/ingest/stage.h"

enum { AHEAD = 30, BEFORE = 100, MEANWHILE = 150 };

static atomic_bool fetching, may_end;

static int64_t fetch_worth(void *context, const struct config_collection *collection,
                           const char *shard, int64_t next_offset)
{
    (void)context;
    (void)collection;
    (void)shard;
    return next_offset < AHEAD ? AHEAD : -1;
}

static int fetch(void *context, const struct config_collection *collection, const char *shard,
                 int64_t next_offset, const atomic_bool *cancel, char *folder, struct error *error)
{
    (void)context;
    (void)collection;
    (void)shard;
    (void)next_offset;
    (void)folder;
    atomic_store(&fetching, true);
    while (!atomic_load(&may_end) && !atomic_load(cancel))
        usleep(1000);
    return error_set(error, ERROR_NOT_FOUND, "no copy can be used");
}

static bool is_fetching(void *unused)
{
    (void)unused;
    return atomic_load(&fetching);
}

static size_t coming(struct node *node, int32_t *generation)
{
    struct arena arena;
    const char **names;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_coming(node->registry, "points", &arena, &names, generation);
    if (count > 0)
        ck_assert_str_eq(names[0], "0");
    arena_destroy(&arena);
    return count;
}

/* The partition stands where the other process was. Without a copy it goes back to its own offset, and misses neither
 * what is below nor what came meanwhile. */
START_TEST(a_copy_that_does_not_come_costs_no_record)
{
    struct stage stage;
    struct node node;
    int32_t generation;

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, BEFORE);
    node_create(&node, &stage, stage_directory("data"));
    node.copies = (struct ingest_host){.fetch_worth = fetch_worth, .fetch = fetch};
    node_start(&node);
    stage_wait(is_fetching, NULL, "the shard is fetched");
    ck_assert_uint_eq(coming(&node, &generation), 1);
    ck_assert_int_gt(generation, 0);
    stage_send_points(&stage, 1, BEFORE, MEANWHILE);
    atomic_store(&may_end, true);
    node_wait_ready(&node);
    node_wait_offset(&node, 0, MEANWHILE);
    ck_assert_uint_eq(coming(&node, &generation), 0);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), MEANWHILE);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(a_partition_that_goes_while_its_shard_is_fetched_comes_no_more)
{
    struct stage stage;
    struct node node;
    int32_t generation;

    stage_create(&stage, 1);
    node_create(&node, &stage, stage_directory("data"));
    node.copies = (struct ingest_host){.fetch_worth = fetch_worth, .fetch = fetch};
    node_start(&node);
    stage_wait(is_fetching, NULL, "the shard is fetched");
    ck_assert_uint_eq(coming(&node, &generation), 1);
    node_stop(&node);
    ck_assert_uint_eq(coming(&node, &generation), 0);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

TEST_TABLE(TEST(a_copy_that_does_not_come_costs_no_record),
           TEST(a_partition_that_goes_while_its_shard_is_fetched_comes_no_more))
