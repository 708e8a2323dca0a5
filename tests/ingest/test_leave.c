/* A process that is told to stop before its group has given it anything. */
#include <unistd.h>

#include "tests/ingest/stage.h"

enum { MOCK_BROKER = 1, SYNC_GROUP = 14 };

/* The one answer that a member waits for once it has joined was taken from the stack: it comes
 * after its delay. */
static bool sync_is_asked(void *context)
{
    struct stage *stage = context;
    size_t left = 1;

    ck_assert_int_eq(
        rd_kafka_mock_broker_error_stack_cnt(stage->cluster, MOCK_BROKER, SYNC_GROUP, &left), 0);
    return left == 0;
}

static void stop_between_join_and_assignment(int answer_after_ms)
{
    struct stage stage;
    struct node node;

    stage_create(&stage, 1);
    ck_assert_int_eq(
        rd_kafka_mock_broker_push_request_error_rtts(stage.cluster, MOCK_BROKER, SYNC_GROUP, 1,
                                                     RD_KAFKA_RESP_ERR_NO_ERROR, answer_after_ms),
        0);
    stage_send_points(&stage, 1, 0, 10);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    stage_wait(sync_is_asked, &stage, "the node has joined");
    node_stop(&node);

    node_start(&node);
    node_wait_offset(&node, 0, 10);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 10);
    node_destroy(&node);
    stage_destroy(&stage);
}

START_TEST(stop_before_the_first_assignment_waits_for_it)
{
    stop_between_join_and_assignment(700);
}
END_TEST

START_TEST(stop_before_an_assignment_that_does_not_come_ends_all_the_same)
{
    stop_between_join_and_assignment(20000);
}
END_TEST

TEST_TABLE(TEST(stop_before_the_first_assignment_waits_for_it),
           TEST(stop_before_an_assignment_that_does_not_come_ends_all_the_same))
