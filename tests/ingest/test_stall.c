/* The store takes nothing for longer than Kafka lets a member go without a poll: the member stays
 * in its group, and nothing is lost. STALL_MS is ten minutes in the long form. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/ingest/stage.h"

#ifndef STALL_MS
#define STALL_MS 3600
#endif

/* The operating system's I/O, with a disk that hangs or is full. */
enum disk { WELL, HANGS, FULL };

static struct io_operations sick_operations;
static struct io sick_io = {&sick_operations};
static atomic_int disk;
static atomic_int hanging; /* writes */

/* Appends alone: a hanging thread that prepares the next log file would keep the append from
 * beginning, or be taken for it. */
static void hang(void)
{
    char thread[16];

    if (pthread_getname_np(pthread_self(), thread, sizeof(thread)) != 0 ||
        strcmp(thread, "append") != 0)
        return;
    atomic_fetch_add(&hanging, 1);
    while (atomic_load(&disk) == HANGS)
        usleep(1000);
    atomic_fetch_sub(&hanging, 1);
}

static int64_t sick_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                           uint64_t offset)
{
    (void)io;
    hang();
    if (atomic_load(&disk) == FULL)
        return -ENOSPC;
    return io_posix()->operations->pwrite(io_posix(), file, bytes, size_bytes, offset);
}

static int sick_allocate(struct io *io, int file, uint64_t size_bytes)
{
    (void)io;
    hang();
    if (atomic_load(&disk) == FULL)
        return -ENOSPC;
    return io_posix()->operations->allocate(io_posix(), file, size_bytes);
}

static bool is_paused(void *context)
{
    struct ingest_partition_status status;

    return node_partition(context, 0, &status) && status.paused;
}

/* Sends more points than two groups hold while the disk is sick, and expects them all afterwards.
 */
static void stall(struct stage *stage, struct node *node, enum disk sickness, int from, int to)
{
    atomic_store(&disk, sickness);
    stage_send_points(stage, 1, from, to);
    stage_wait(is_paused, node, "the partition pauses");
    for (int i = 0; i < STALL_MS / 100; i++)
        usleep(100000);
    ck_assert_int_eq(atomic_load(&node->flushes) + atomic_load(&node->losses), 0);
    atomic_store(&disk, WELL);
    node_wait_offset(node, 0, to);
    ck_assert_int_eq(atomic_load(&node->flushes) + atomic_load(&node->losses), 0);
}

START_TEST(member_whose_disk_takes_nothing_stays_in_its_group)
{
    /* About the shortest with which the mock cluster lets a member join; the long form has the
     * library's own five minutes. */
    static const struct config_pair short_interval[] = {{"session.timeout.ms", "3000"},
                                                        {"heartbeat.interval.ms", "200"},
                                                        {"max.poll.interval.ms", "3000"}};
    const bool is_long = STALL_MS >= 60000;
    const int count = is_long ? 10000 : 5000;
    struct stage stage;
    struct node node;

    sick_operations = *io_posix()->operations;
    sick_operations.pwrite = sick_pwrite;
    sick_operations.allocate = sick_allocate;
    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 100);
    node_create(&node, &stage, stage_directory("data"));
    node_close_store(&node);
    node.io = &sick_io;
    node_open_store(&node);
    if (!is_long) {
        node.config.kafka_properties = short_interval;
        node.config.kafka_property_count = 3;
    }
    node_start(&node);
    node_wait_offset(&node, 0, 100);
    stall(&stage, &node, HANGS, 100, 5000);
    if (is_long)
        stall(&stage, &node, FULL, 5000, count);
    ck_assert_double_eq(
        node_metric(&node, "windrow_records_ingested_total{collection=\"points\",shard=\"0\"}"),
        count);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), (size_t)count);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

/* The store took nothing before the stop, and what was read until then is forgotten with it. */
START_TEST(records_before_a_skipped_one_are_read_again)
{
    struct stage stage;
    struct node node;
    struct error error = {0};
    char text[512];

    sick_operations = *io_posix()->operations;
    sick_operations.pwrite = sick_pwrite;
    sick_operations.allocate = sick_allocate;
    stage_create(&stage, 1);
    stage.config.kafka_dead_letters = NULL;
    stage_send_points(&stage, 1, 0, 5);
    node_create(&node, &stage, stage_directory("data"));
    node_close_store(&node);
    node.io = &sick_io;
    node_open_store(&node);
    node_start(&node);
    node_wait_offset(&node, 0, 5);
    atomic_store(&disk, FULL);
    stage_send_points(&stage, 1, 5, 10);
    stage_send(&stage, "points", 0, "10", "{", NULL);
    stage_send_points(&stage, 1, 11, 20);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(strstr(text, "offset 10"), "%s", text);
    atomic_store(&disk, WELL);
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

static bool append_hangs(void *context)
{
    (void)context;
    return atomic_load(&hanging) > 0;
}

static bool is_given_up(void *context)
{
    struct ingest_partition_status status;

    return !node_partition(context, 0, &status);
}

/* An append cannot be called back: the next owner goes on behind it, so nobody else counts it. */
START_TEST(records_appended_while_their_partition_is_lost_are_counted)
{
    static const struct config_pair long_session[] = {{"session.timeout.ms", "4000"}};
    struct stage stage;
    struct node node;

    sick_operations = *io_posix()->operations;
    sick_operations.pwrite = sick_pwrite;
    sick_operations.allocate = sick_allocate;
    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 10);
    node_create(&node, &stage, stage_directory("data"));
    node_close_store(&node);
    node.io = &sick_io;
    node_open_store(&node);
    node.config.kafka_properties = long_session;
    node_start(&node);
    node_wait_offset(&node, 0, 10);
    atomic_store(&disk, HANGS);
    stage_send_points(&stage, 1, 10, 20);
    stage_wait(append_hangs, &node, "an append hangs");
    rd_kafka_mock_push_request_errors(stage.cluster, 12 /* Heartbeat */, 1,
                                      RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    stage_wait(is_given_up, &node, "the failed consumer gives its partition up");
    atomic_store(&disk, WELL);
    node_wait_offset(&node, 0, 20);
    ck_assert_int_eq(atomic_load(&node.losses), 1);
    ck_assert_double_eq(
        node_metric(&node, "windrow_records_ingested_total{collection=\"points\",shard=\"0\"}"),
        20);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 20);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

TEST_TABLE(TEST(records_appended_while_their_partition_is_lost_are_counted),
           TEST(records_before_a_skipped_one_are_read_again),
           TEST(member_whose_disk_takes_nothing_stays_in_its_group))
