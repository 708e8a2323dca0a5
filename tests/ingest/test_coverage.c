/* Which shards a collection has in all processes together, by what Kafka said of its topics. */
#include "ingest/coverage.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "tests/support/test_main.h"

static void check_coverage(struct store_registry *registry, bool known, size_t missing)
{
    struct store_coverage coverage;
    struct arena arena;

    arena_create(&arena, 0);
    store_registry_coverage(registry, "points", &arena, &coverage);
    ck_assert_int_eq(coverage.known, known);
    ck_assert_uint_eq(coverage.missing_count, missing);
    arena_destroy(&arena);
}

/* Nobody has seen it, or it was deleted. An answer from none of its partitions would look whole. */
START_TEST(partitions_of_a_topic_that_is_not_there_are_not_taken_for_none)
{
    static const char *const topic_names[] = {"points"};
    struct config_collection collection = {
        .name = "points", .topics = (const char **)topic_names, .topic_count = 1};
    struct config config = {
        .data_dir = test_directory(), .collections = &collection, .collection_count = 1};
    struct store_options options = {.data_dir = test_directory(), .memory_max_bytes = 64 << 20};
    struct store_registry *registry;
    struct coverage *known;
    struct error error = {0};
    struct topics topics;
    struct store *store;

    ck_assert_int_eq(store_open(&options, &store, &error), 0);
    ck_assert_int_eq(topics_create(&topics, &config, &error), 0);
    for (int round = 0; round < 2;
         round++) { /* the second one begins with what the first one kept */
        registry = store_registry_new(
            &(struct store_registry_options){.store = store, .expects_shards = true});
        known = coverage_new(&config, registry, &topics, io_posix());
        topics_learn(&topics, "points", 0);
        coverage_update(known);
        check_coverage(registry, round == 1, round == 1 ? 3 : 0);
        topics_learn(&topics, "points", 3);
        coverage_update(known);
        check_coverage(registry, true, 3);
        topics_learn(&topics, "points", 0);
        coverage_update(known);
        check_coverage(registry, true, 3);
        coverage_delete(known);
        store_registry_delete(registry);
    }
    topics_destroy(&topics);
    store_close(store);
}
END_TEST

TEST_TABLE(TEST(partitions_of_a_topic_that_is_not_there_are_not_taken_for_none))
