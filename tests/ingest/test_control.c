/* What operators ask of the consumer: pause, resume, go on after a stop. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "store/append.h"
#include "tests/ingest/stage.h"

static bool is_paused(void *context)
{
    struct ingest_partition_status status;

    return node_partition(context, 0, &status) && status.paused;
}

static int64_t offset_of(struct node *node)
{
    struct ingest_partition_status status;

    ck_assert(node_partition(node, 0, &status));
    return status.next_offset;
}

START_TEST(paused_collection_keeps_its_place_over_a_restart)
{
    struct stage stage;
    struct node node;
    struct error error = {0};

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 10);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, 10);
    ck_assert_int_eq(ingest_pause(node.ingest, "unknown", true, &error), ERROR_NOT_FOUND);
    ck_assert_int_eq(ingest_pause(node.ingest, "points", true, &error), 0);
    ck_assert(ingest_paused(node.ingest, "points"));
    stage_wait(is_paused, &node, "the partition pauses");
    stage_send_points(&stage, 1, 10, 20);
    usleep(500000);
    ck_assert_int_eq(offset_of(&node), 10);
    ck_assert_int_eq(node.flushes + node.losses, 0);
    node_stop(&node);

    node_start(&node);
    ck_assert(ingest_paused(node.ingest, "points"));
    stage_wait(is_paused, &node, "the partition pauses again");
    node_wait_ready(&node); /* an operator wanted it so */
    ck_assert_int_eq(offset_of(&node), 10);
    ck_assert_int_eq(ingest_pause(node.ingest, "points", false, &error), 0);
    node_wait_offset(&node, 0, 20);
    ck_assert(!ingest_paused(node.ingest, "points"));
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 20);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

static void expect_refused(struct node *node, enum ingest_resume how, const char *words)
{
    struct error error = {0};

    ck_assert_int_eq(ingest_resume_stopped(node->ingest, "points", "0", how, &error),
                     ERROR_INVALID);
    ck_assert_msg(strstr(error.text, words), "\"%s\" lacks \"%s\"", error.text, words);
}

START_TEST(topic_made_anew_is_read_after_a_rebuild)
{
    const char *directory = stage_directory("data");
    struct stage stage;
    struct node node;
    struct error error = {0};
    char text[512];

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 50);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_offset(&node, 0, 50);
    expect_refused(&node, INGEST_RESUME_SKIP, "not stopped");
    node_destroy(&node);
    stage_destroy(&stage);

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 20);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(strstr(text, "--rebuild"), "%s", text);
    expect_refused(&node, INGEST_RESUME_SKIP, "recreated");
    ck_assert_int_eq(
        ingest_resume_stopped(node.ingest, "points", "7", INGEST_RESUME_REBUILD, &error),
        ERROR_NOT_FOUND);
    ck_assert_msg(
        ingest_resume_stopped(node.ingest, "points", "0", INGEST_RESUME_REBUILD, &error) == 0, "%s",
        error.text);
    node_wait_offset(&node, 0, 20);
    stage_send_points(&stage, 1, 20, 25);
    node_wait_offset(&node, 0, 25);
    ck_assert_double_eq(
        node_metric(&node, "windrow_partition_stopped{collection=\"points\",shard=\"0\"}"), 0);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 25);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

static void resume_stopped(struct node *node, const char *shard, enum ingest_resume how)
{
    struct error error = {0};

    ck_assert_msg(ingest_resume_stopped(node->ingest, "points", shard, how, &error) == 0, "%s",
                  error.text);
}

/* Partition 0 has as many records as before, 1 more, and 2 is as it was: empty. */
static int count_records(void *context, const struct store_record *records, size_t count,
                         int64_t next_offset, struct error *error)
{
    (void)records;
    (void)next_offset;
    (void)error;
    *(size_t *)context += count;
    return 0;
}

/* What a window is made anew from must be what was stored. */
static int replay_half(struct stage *stage, struct store_topic_fingerprint mark, size_t *count,
                       struct error *error)
{
    const struct ingest_replay range = {.config = &stage->config,
                                        .wall_ms = io_wall_ms(io_posix()),
                                        .collection = &stage->collection,
                                        .shard = "0",
                                        .to_offset = 50,
                                        .topic = mark};

    *count = 0;
    return ingest_replay(&range, count_records, count, error);
}

START_TEST(topic_made_anew_that_reaches_our_offset_is_told_from_the_old_one)
{
    static const char *const stopped =
        "windrow_partition_stopped{collection=\"points\",shard=\"2\"}";
    const char *directory = stage_directory("data");
    struct stage stage;
    struct node node;
    struct error error = {0};
    struct store_topic_fingerprint mark;
    char text[512];
    size_t count;

    stage_create(&stage, 3);
    stage_send_points(&stage, 2, 0, 100);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_offset(&node, 0, 50);
    node_wait_offset(&node, 1, 50);
    mark = store_shard_topic_fingerprint(node.shards[0]);
    ck_assert_msg(replay_half(&stage, mark, &count, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(count, 50);
    node_destroy(&node);
    stage_destroy(&stage);

    stage_create(&stage, 3);
    stage_send_points(&stage, 2, 1000, 1100);
    ck_assert_int_eq(replay_half(&stage, mark, &count, &error), ERROR_NOT_FOUND);
    ck_assert_msg(strstr(error.text, "offset 49 is not the one"), "%s", error.text);
    stage_send(&stage, "points", 1, "1100", "{\"vector\": [1, 2, 3, 4]}", NULL);
    stage_send(&stage, "points", 2, "1101", "{\"vector\": [1, 2, 3, 4]}", NULL);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(strstr(text, "offset 50 is next") && strstr(text, "Kafka has 0 to 50"), "%s",
                  text);
    node_wait_stopped(&node, 1, text);
    ck_assert_msg(strstr(text, "at 49, is not the one") && strstr(text, "Kafka has 0 to 51"), "%s",
                  text);
    node_wait_offset(&node, 2, 1);
    ck_assert_double_eq(node_metric(&node, stopped), 0);
    resume_stopped(&node, "0", INGEST_RESUME_REBUILD);
    node_wait_offset(&node, 0, 50);
    resume_stopped(&node, "1", INGEST_RESUME_SKIP);
    node_wait_offset(&node, 1, 51);
    node_wait_ready(&node);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 3), 50 + 50 + 1 + 1);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(bad_record_without_dead_letters_is_skipped_on_purpose)
{
    struct stage stage;
    struct node node;
    struct error error = {0};
    char text[512];

    stage_create(&stage, 1);
    stage.config.kafka_dead_letters = NULL;
    stage_send_points(&stage, 1, 0, 10);
    stage_send(&stage, "points", 0, "10", "{", NULL);
    stage_send_points(&stage, 1, 11, 20);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(strstr(text, "offset 10") && strstr(text, "--skip"), "%s", text);
    ck_assert_msg(ingest_resume_stopped(node.ingest, "points", "0", INGEST_RESUME_SKIP, &error) ==
                      0,
                  "%s", error.text);
    node_wait_offset(&node, 0, 20);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 19);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

TEST_TABLE(TEST(paused_collection_keeps_its_place_over_a_restart),
           TEST(topic_made_anew_is_read_after_a_rebuild),
           TEST(topic_made_anew_that_reaches_our_offset_is_told_from_the_old_one),
           TEST(bad_record_without_dead_letters_is_skipped_on_purpose))
