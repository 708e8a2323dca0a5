/* Collections that were made again over the topic of a former one: what lies below where they begin is as if it were
 * not there, unless Kafka has another topic of that name by now. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/io.h"
#include "base/memory.h"
#include "tests/ingest/stage.h"

#define SECOND_NS INT64_C(1000000000)

/* As the definition of a collection has it; in the arena. */
static const char *end_of(struct stage *stage, struct arena *arena, size_t partition)
{
    int64_t deadline_ns = io_monotonic_ns(io_posix()) + 30 * SECOND_NS;
    char *text = memory_checked(arena_calloc(arena, CONFIG_BEGIN_BYTES, 1));
    struct config_begin *ends;
    struct error error = {0};
    size_t count;

    ck_assert_msg(
        ingest_topic_end(&stage->config, "points", deadline_ns, arena, &ends, &count, &error) == 0,
        "%s", error.text);
    ck_assert_uint_lt(partition, count);
    config_begin_format(&ends[partition], text);
    return text;
}

/* What a node with an empty disk has once it is ready. */
static size_t rows_of_a_new_node(struct stage *stage, const char *directory, int partition_count)
{
    struct node node;
    size_t rows;

    node_create(&node, stage, stage_directory(directory));
    node_start(&node);
    node_wait_ready(&node);
    node_stop(&node);
    rows = node_count_rows(&node, partition_count);
    node_destroy(&node);
    return rows;
}

START_TEST(a_collection_that_was_made_again_is_empty_and_takes_what_follows)
{
    struct ingest_partition_status status;
    const char *begins[2];
    struct stage stage;
    struct arena arena;
    struct node node;

    arena_create(&arena, 0);
    stage_create(&stage, 3);
    stage_send_points(&stage, 2, 0, 40); /* nothing in the third partition */
    begins[0] = end_of(&stage, &arena, 0);
    begins[1] = end_of(&stage, &arena, 1);
    ck_assert_msg(strncmp(begins[0], "20/19/", 6) == 0, "%s", begins[0]);
    ck_assert_str_eq(end_of(&stage, &arena, 2), "0");
    stage.collection.begin_offsets = begins;
    stage.collection.begin_offset_count = 2;

    node_create(&node, &stage, stage_directory("a"));
    node_start(&node);
    node_wait_ready(&node);
    node_wait_offset(&node, 0, 20);
    ck_assert(node_partition(&node, 1, &status));
    ck_assert_int_eq(status.lag_records, 0);
    stage_send_points(&stage, 3, 3, 9);
    node_wait_offset(&node, 0, 22);
    node_wait_offset(&node, 2, 2);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 3), 6);
    node_destroy(&node);
    /* A disk that was lost is read again from where the collection begins. */
    ck_assert_uint_eq(rows_of_a_new_node(&stage, "b", 3), 6);
    stage_destroy(&stage);
    arena_destroy(&arena);
}
END_TEST

START_TEST(a_topic_that_was_made_anew_is_read_from_its_start)
{
    static const struct {
        const char *begin; /* of the partition before; it has 20 records by now */
        size_t rows;
    } table[] = {
        {"10/9/0123456789abcdef", 20},  /* another record lies there */
        {"20/19/0123456789abcdef", 20}, /* and at the very end */
        {"30/29/0123456789abcdef", 20}, /* beyond the end */
        {"30", 20},
        {"20", 0}, /* nothing contradicts these */
        {"10", 10},
        {"0", 20},
    };
    enum { COUNT = sizeof(table) / sizeof(table[0]) };
    const char *begins[COUNT];
    size_t rows = 0;
    struct stage stage;
    struct node node;

    stage_create(&stage, COUNT);
    stage_send_points(&stage, COUNT, 0, 20 * COUNT);
    for (size_t i = 0; i < COUNT; i++)
        begins[i] = table[i].begin;
    stage.collection.begin_offsets = begins;
    stage.collection.begin_offset_count = COUNT;
    node_create(&node, &stage, stage_directory("a"));
    node_start(&node);
    node_wait_ready(&node);
    node_stop(&node);
    for (size_t i = 0; i < COUNT; i++) {
        rows += table[i].rows;
        ck_assert_msg(node_count_rows(&node, (int)i + 1) == rows, "%s", begins[i]);
    }
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(a_rebuild_looks_again_whether_the_topic_is_the_same)
{
    const char *directory = stage_directory("data");
    struct error error = {0};
    const char *begin;
    struct stage stage;
    struct arena arena;
    struct node node;
    char text[512];

    arena_create(&arena, 0);
    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 20);
    begin = end_of(&stage, &arena, 0);
    stage.collection.begin_offsets = &begin;
    stage.collection.begin_offset_count = 1;
    stage_send_points(&stage, 1, 20, 50);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_offset(&node, 0, 50);
    node_destroy(&node);
    stage_destroy(&stage);

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 100, 125);
    stage.collection.begin_offsets = &begin;
    stage.collection.begin_offset_count = 1;
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(
        ingest_resume_stopped(node.ingest, "points", "0", INGEST_RESUME_REBUILD, &error) == 0, "%s",
        error.text);
    node_wait_offset(&node, 0, 25);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 25);
    node_destroy(&node);
    stage_destroy(&stage);
    arena_destroy(&arena);
}
END_TEST

START_TEST(the_end_of_a_topic_is_told_or_an_error)
{
    struct config_begin *ends;
    struct error error = {0};
    struct stage stage;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    stage_create(&stage, 1);
    ck_assert_msg(ingest_topic_end(&stage.config, "gone",
                                   io_monotonic_ns(io_posix()) + 30 * SECOND_NS, &arena, &ends,
                                   &count, &error) == 0,
                  "%s", error.text);
    ck_assert_uint_eq(count, 0);
    rd_kafka_mock_broker_set_down(stage.cluster, 1);
    ck_assert_int_eq(ingest_topic_end(&stage.config, "points",
                                      io_monotonic_ns(io_posix()) + SECOND_NS / 2, &arena, &ends,
                                      &count, &error),
                     ERROR_PEER);
    stage_destroy(&stage);
    arena_destroy(&arena);
}
END_TEST

START_TEST(begin_offsets_are_read_and_written)
{
    static const char *const good[] = {"0", "7", "7/6/00000000000000ff",
                                       "9223372036854775807/0/ffffffffffffffff"};
    static const char *const bad[] = {"",
                                      "-1",
                                      "x",
                                      "7/",
                                      "7/6",
                                      "7/6/ff",
                                      "7/7/00000000000000ff",
                                      "7/6/0000000000000000",
                                      "7/6/00000000000000FF",
                                      "7/6/00000000000000ff/",
                                      "7/-6/00000000000000ff",
                                      "9223372036854775808"};
    struct config_begin begin;
    char text[CONFIG_BEGIN_BYTES];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(config_begin_parse(good[i], &begin), "%s", good[i]);
        config_begin_format(&begin, text);
        ck_assert_str_eq(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!config_begin_parse(bad[i], &begin), "%s", bad[i]);
}
END_TEST

TEST_TABLE(TEST(a_collection_that_was_made_again_is_empty_and_takes_what_follows),
           TEST(a_topic_that_was_made_anew_is_read_from_its_start),
           TEST(a_rebuild_looks_again_whether_the_topic_is_the_same),
           TEST(the_end_of_a_topic_is_told_or_an_error), TEST(begin_offsets_are_read_and_written))
