/* The consumer against a broker (librdkafka's mock cluster) and the real store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/lease.h"
#include "store/snapshot.h"
#include "tests/ingest/stage.h"

START_TEST(restart_goes_on_at_the_offset_beside_the_data)
{
    const char *directory = stage_directory("data");
    struct stage stage;
    struct node node;

    stage_create(&stage, 3);
    stage_send_points(&stage, 3, 0, 300);
    for (int run = 0; run < 3; run++) {
        node_create(&node, &stage, directory);
        node_start(&node);
        for (int number = 0; number < 3; number++)
            node_wait_offset(&node, number, 100 * (run + 1));
        node_wait_ready(&node);
        node_stop(&node);
        /* What was there before is not read again: each run ingests its own 300. */
        ck_assert_uint_eq(node_count_rows(&node, 3), (size_t)300 * (size_t)(run + 1));
        ck_assert_double_eq(
            node_metric(&node, "windrow_records_ingested_total{collection=\"points\",shard=\"0\"}"),
            100);
        node_destroy(&node);
        stage_send_points(&stage, 3, 300 * (run + 1), 300 * (run + 2));
    }
    stage_destroy(&stage);
}
END_TEST

START_TEST(upserts_and_deletes_leave_the_newest)
{
    struct stage stage;
    struct node node;

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 10);
    stage_send_points(&stage, 1, 5, 10);
    stage_send(&stage, "points", 0, "3", NULL, NULL);
    stage_send(&stage, "points", 0, "{\"id\": 4}", NULL, NULL);
    stage_send(&stage, "points", 0, "unknown", NULL, NULL);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, 18);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 8);
    ck_assert_double_eq(
        node_metric(&node, "windrow_records_deleted_total{collection=\"points\",shard=\"0\"}"), 3);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

enum { UPSERTS = 9000, UPSERTED_IDS = 90, UPSERT_PARTITIONS = 3 };

static void send_upserts(struct stage *stage)
{
    for (int i = 0; i < UPSERTS; i++) {
        int id = i % UPSERTED_IDS;
        char value[128];
        rd_kafka_resp_err_t code;
        snprintf(value, sizeof(value), "{\"id\":%d,\"vector\":[%d,1,2,3],\"payload\":{\"n\":%d}}",
                 id, i, i);
        code = rd_kafka_producev(stage->client, RD_KAFKA_V_TOPIC("points"),
                                 RD_KAFKA_V_PARTITION(id % UPSERT_PARTITIONS),
                                 RD_KAFKA_V_VALUE(value, strlen(value)),
                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        ck_assert_msg(code == 0, "%s", rd_kafka_err2str(code));
    }
    ck_assert_int_eq(rd_kafka_flush(stage->client, STAGE_WAIT_MS), 0);
}

START_TEST(order_of_a_partition_survives_many_decoding_threads)
{
    struct stage stage;
    struct node node;

    stage_create(&stage, UPSERT_PARTITIONS);
    send_upserts(&stage);
    node_create(&node, &stage, stage_directory("data"));
    node.config.decode_threads = 4;
    node_start(&node);
    for (int number = 0; number < UPSERT_PARTITIONS; number++)
        node_wait_offset(&node, number, UPSERTS / UPSERT_PARTITIONS);
    /* The last version of each id is the visible one: its vector begins with its number. */
    for (int number = 0; number < UPSERT_PARTITIONS; number++) {
        struct store_snapshot *snapshot = store_snapshot_acquire(node.shards[number], 0);
        for (int id = number; id < UPSERTED_IDS; id += UPSERT_PARTITIONS) {
            const struct store_source *source;
            const float *vector;
            struct store_key key;
            uint32_t row, count;
            store_key_from_u64((uint64_t)id, &key);
            ck_assert_int_eq(store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row,
                                                 ERROR_IGNORED),
                             0);
            ck_assert_int_eq(store_row_vectors(source, row, &vector, &count, ERROR_IGNORED), 0);
            ck_assert_int_eq((int)vector[0], UPSERTS - UPSERTED_IDS + id);
        }
        store_snapshot_release(snapshot);
    }
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

static size_t partition_count(struct node *node)
{
    struct ingest_partition_status *list;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    count = ingest_status(node->ingest, &arena, &list);
    arena_destroy(&arena);
    return count;
}

static bool both_own_two(void *context)
{
    struct node *nodes = context;

    return partition_count(&nodes[0]) == 2 && partition_count(&nodes[1]) == 2;
}

static bool first_owns_all(void *context)
{
    struct node *nodes = context;

    return partition_count(&nodes[0]) == 4;
}

START_TEST(partitions_move_between_nodes_without_two_writers)
{
    struct stage stage; /* checks in every opening that no other node has the shard */
    struct node nodes[2];
    struct error error = {0};

    stage_create(&stage, 4);
    stage_send_points(&stage, 4, 0, 400);
    node_create(&nodes[0], &stage, stage_directory("a"));
    node_create(&nodes[1], &stage, stage_directory("b"));
    node_start(&nodes[0]);
    node_wait_ready(&nodes[0]);
    /* A pause does not outlive the ownership of a partition. */
    ck_assert_int_eq(ingest_pause(nodes[0].ingest, "points", true, &error), 0);
    node_start(&nodes[1]);
    stage_wait(both_own_two, nodes, "both nodes own two partitions");
    ck_assert_int_eq(ingest_pause(nodes[0].ingest, "points", false, &error), 0);
    stage_send_points(&stage, 4, 400, 800);
    node_wait_ready(&nodes[1]);
    node_stop(&nodes[1]);
    ck_assert_int_eq(nodes[1].losses, 0);
    stage_wait(first_owns_all, nodes, "the first node owns all again");
    stage_send_points(&stage, 4, 800, 1200);
    for (int number = 0; number < 4; number++)
        node_wait_offset(&nodes[0], number, 300);
    node_stop(&nodes[0]);
    /* The first node was given everything back and read on from its own offsets. */
    ck_assert_uint_eq(node_count_rows(&nodes[0], 4), 1200);
    for (int i = 0; i < 2; i++)
        node_destroy(&nodes[i]);
    stage_destroy(&stage);
}
END_TEST

static size_t handed_over_count(struct node *node)
{
    struct store_lease *leases;
    struct arena arena;
    size_t count, handed_over = 0;

    arena_create(&arena, 0);
    count = store_registry_acquire(node->registry, "points", &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        handed_over += leases[i].handed_over;
        store_registry_release(node->registry, &leases[i]);
    }
    arena_destroy(&arena);
    return handed_over;
}

static bool first_keeps_two(void *context)
{
    return handed_over_count(context) == 2;
}

static bool first_keeps_none(void *context)
{
    return handed_over_count(context) == 0;
}

/* Nobody closes what a node of a cluster gives back: that is for who knows the other nodes. */
START_TEST(what_a_node_of_a_cluster_gives_back_stays_open_and_is_taken_up_again)
{
    static char cluster_name[] = "prod";
    struct stage stage;
    struct node nodes[2];

    stage_create(&stage, 4);
    stage.keeps = true;
    stage.config.cluster_name = cluster_name;
    stage_send_points(&stage, 4, 0, 400);
    for (int i = 0; i < 2; i++)
        node_create(&nodes[i], &stage, stage_directory(i == 0 ? "a" : "b"));
    node_start(&nodes[0]);
    node_wait_ready(&nodes[0]);
    node_start(&nodes[1]);
    stage_wait(both_own_two, nodes, "both nodes own two partitions");
    stage_wait(first_keeps_two, nodes, "the first node keeps the others open");
    stage_send_points(&stage, 4, 400, 800);
    node_wait_ready(&nodes[1]);
    for (int number = 0; number < 4; number++) {
        struct ingest_partition_status ignored;
        if (!node_partition(&nodes[0], number, &ignored)) /* nothing is written twice */
            ck_assert_int_eq(store_shard_next_offset(nodes[0].shards[number]), 100);
    }
    node_stop(&nodes[1]);
    stage_wait(first_owns_all, nodes, "the first node owns all again");
    stage_wait(first_keeps_none, nodes, "the first node writes them again");
    for (int number = 0; number < 4; number++)
        node_wait_offset(&nodes[0], number, 200);
    ck_assert_int_eq(nodes[0].openings, 4);
    node_stop(&nodes[0]);
    ck_assert_uint_eq(node_count_rows(&nodes[0], 4), 800);
    for (int i = 0; i < 2; i++)
        node_destroy(&nodes[i]);
    stage_destroy(&stage);
}
END_TEST

/* What an answer of the node would leave out; false while that is not known. */
static bool coverage(struct node *node, size_t *missing_count, char *first, size_t first_bytes)
{
    struct store_coverage coverage;
    struct store_lease *leases;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_acquire_covered(node->registry, "points", &arena, &leases, &coverage);
    for (size_t i = 0; i < count; i++)
        store_registry_release(node->registry, &leases[i]);
    *missing_count = coverage.missing_count;
    snprintf(first, first_bytes, "%s", coverage.missing_count > 0 ? coverage.missing[0] : "");
    arena_destroy(&arena);
    return coverage.known;
}

static bool coverage_is_known(void *context)
{
    char first[64];
    size_t missing;

    return coverage(context, &missing, first, sizeof(first));
}

/* Two of four each, and one of the two lacks the first partition. A shard leaves the registry a
 * moment after its partition left the list. */
static bool each_lacks_what_the_other_has(void *context)
{
    struct node *nodes = context;
    char first[2][64];

    for (int i = 0; i < 2; i++) {
        size_t missing;
        if (!coverage(&nodes[i], &missing, first[i], sizeof(first[i])) || missing != 2)
            return false;
    }
    return (strcmp(first[0], "points[0]") == 0) != (strcmp(first[1], "points[0]") == 0);
}

START_TEST(partitions_of_other_processes_are_known_by_name)
{
    struct stage stage;
    struct node nodes[2];
    char first[64];
    size_t missing;

    stage_create(&stage, 4);
    rd_kafka_mock_broker_set_down(stage.cluster, 1);
    node_create(&nodes[0], &stage, stage_directory("a"));
    node_create(&nodes[1], &stage, stage_directory("b"));
    node_start(&nodes[0]);
    sleep(1);
    ck_assert(!coverage_is_known(&nodes[0])); /* nobody told how many partitions there are */
    rd_kafka_mock_broker_set_up(stage.cluster, 1);
    stage_wait(coverage_is_known, &nodes[0], "Kafka told the partitions");
    node_wait_ready(&nodes[0]);
    ck_assert(coverage(&nodes[0], &missing, first, sizeof(first)));
    ck_assert_uint_eq(missing, 0);
    node_start(&nodes[1]);
    stage_wait(each_lacks_what_the_other_has, nodes, "each node names what the other has");
    for (int i = 1; i >= 0; i--)
        node_destroy(&nodes[i]);
    stage_destroy(&stage);
}
END_TEST

static bool shard_was_lost(void *context)
{
    struct node *node = context;

    return atomic_load(&node->losses) > 0;
}

/* The failure comes with the answer to a request of this kind.
 *
 * A session longer than the stage's: with three seconds the mock's answer to the new consumer's
 * joining and the end of librdkafka's patience came at the same moment. In one of eight runs beside
 * nine others the request timed out, and of these the mock never answered the next one in three. */
static void check_replaced(int16_t request)
{
    static const struct config_pair long_session[] = {{"session.timeout.ms", "4000"}};
    struct stage stage;
    struct node node;

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 10);
    node_create(&node, &stage, stage_directory("data"));
    node.config.kafka_properties = long_session;
    node_start(&node);
    node_wait_offset(&node, 0, 10);
    rd_kafka_mock_push_request_errors(stage.cluster, request, 1,
                                      RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    stage_send_points(&stage, 1, 10, 15); /* something to commit, if the rest was by then */
    stage_wait(shard_was_lost, &node, "the failed consumer lets its shard go");
    stage_send_points(&stage, 1, 15, 20);
    node_wait_offset(&node, 0, 20);
    node_wait_ready(&node);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 20);
    node_destroy(&node);
    stage_destroy(&stage);
}

START_TEST(consumer_that_failed_for_good_is_replaced)
{
    check_replaced(12 /* Heartbeat */);
}
END_TEST

START_TEST(consumer_that_failed_in_a_commit_is_replaced)
{
    check_replaced(8 /* OffsetCommit */);
}
END_TEST

START_TEST(broker_down_at_the_start_is_waited_for)
{
    struct stage stage;
    struct node node;
    char why[256];

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 10);
    rd_kafka_mock_broker_set_down(stage.cluster, 1);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    sleep(1);
    ck_assert(!ingest_ready(node.ingest, why, sizeof(why)));
    ck_assert_ptr_nonnull(strstr(why, "no Kafka broker has answered yet"));
    rd_kafka_mock_broker_set_up(stage.cluster, 1);
    node_wait_offset(&node, 0, 10);
    node_wait_ready(&node);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(stop_while_no_broker_answers_ends)
{
    struct stage stage;
    struct node node;

    stage_create(&stage, 1);
    rd_kafka_mock_broker_set_down(stage.cluster, 1);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    sleep(1);
    node_stop(&node);
    rd_kafka_mock_broker_set_up(stage.cluster, 1);
    stage_send_points(&stage, 1, 0, 10);
    node_start(&node);
    node_wait_offset(&node, 0, 10);
    rd_kafka_mock_broker_set_down(stage.cluster, 1);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 10);
    node_destroy(&node);
    rd_kafka_mock_broker_set_up(stage.cluster, 1);
    stage_destroy(&stage);
}
END_TEST

START_TEST(topic_made_anew_stops_the_partition_with_both_offsets)
{
    const char *directory = stage_directory("data");
    struct stage stage;
    struct node node;
    char text[512];

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 50);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_offset(&node, 0, 50);
    node_destroy(&node);
    stage_destroy(&stage);

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 20);
    node_create(&node, &stage, directory);
    node_start(&node);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(strstr(text, "offset 50") && strstr(text, "end at 20"), "%s", text);
    /* It is for an operator: the rest of the service stays ready. */
    node_wait_ready(&node);
    ck_assert_double_eq(
        node_metric(&node, "windrow_partition_stopped{collection=\"points\",shard=\"0\"}"), 1);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 50);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

/* The operating system's I/O, with a disk that can be full. */
static struct io_operations full_operations;
static struct io full_io = {&full_operations};
static atomic_bool full;

static int64_t full_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                           uint64_t offset)
{
    (void)io;
    if (atomic_load(&full))
        return -ENOSPC;
    return io_posix()->operations->pwrite(io_posix(), file, bytes, size_bytes, offset);
}

static int full_allocate(struct io *io, int file, uint64_t size_bytes)
{
    (void)io;
    if (atomic_load(&full))
        return -ENOSPC;
    return io_posix()->operations->allocate(io_posix(), file, size_bytes);
}

static bool is_paused(void *context)
{
    struct ingest_partition_status status;

    return node_partition(context, 0, &status) && status.paused;
}

/* What finds no room counts as stopped: it lacks what Kafka has, and answers name it. */
static bool is_told_of_the_disk(void *context)
{
    struct ingest_partition_status status;

    return node_partition(context, 0, &status) &&
           (status.reading == STORE_STOPPED) == atomic_load(&full);
}

START_TEST(full_disk_pauses_and_goes_on_by_itself)
{
    struct stage stage;
    struct node node;

    full_operations = *io_posix()->operations;
    full_operations.pwrite = full_pwrite;
    full_operations.allocate = full_allocate;
    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 100);
    node_create(&node, &stage, stage_directory("data"));
    node_close_store(&node);
    node.io = &full_io;
    node_open_store(&node);
    node_start(&node);
    node_wait_offset(&node, 0, 100);
    atomic_store(&full, true);
    stage_send_points(&stage, 1, 100, 6000); /* more than the group that waits and the next hold */
    stage_wait(is_paused, &node, "the partition pauses");
    stage_wait(is_told_of_the_disk, &node, "the partition counts as stopped");
    atomic_store(&full, false);
    node_wait_offset(&node, 0, 6000);
    stage_wait(is_told_of_the_disk, &node, "the partition reads on");
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), 6000);
    ck_assert_double_gt(
        node_metric(&node, "windrow_ingest_wait_seconds_total{collection=\"points\",shard=\"0\"}"),
        0);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(late_records_are_counted_by_what_became_of_them)
{
    static const struct {
        enum config_late policy;
        const char *series;
        size_t rows;
    } policies[] = {
        {CONFIG_LATE_ACCEPT,
         "windrow_records_late_total{collection=\"points\",outcome=\"accepted\"}", 2},
        {CONFIG_LATE_DROP, "windrow_records_late_total{collection=\"points\",outcome=\"dropped\"}",
         1},
        {CONFIG_LATE_DEAD_LETTER,
         "windrow_records_late_total{collection=\"points\",outcome=\"dead_letter\"}", 1},
    };
    const int64_t now_ms = io_wall_ms(io_posix());

    for (size_t i = 0; i < 3; i++) {
        char name[16];
        char value[160];
        struct stage stage;
        struct node node;
        const int64_t times_ms[] = {now_ms, now_ms - 5 * 3600000, now_ms - 100 * 3600000,
                                    now_ms + 3600000};
        stage_create(&stage, 1);
        stage.collection.event_time_field = "time_ms";
        stage.collection.late_policy = policies[i].policy;
        stage.collection.ttl_ms = 50 * 3600000;
        for (int id = 0; id < 4; id++) {
            snprintf(value, sizeof(value), "{\"id\":%d,\"vector\":[1,2,3,4],\"time_ms\":%lld}", id,
                     (long long)times_ms[id]);
            stage_send(&stage, "points", 0, NULL, value, NULL);
        }
        snprintf(name, sizeof(name), "data-%zu", i);
        node_create(&node, &stage, stage_directory(name));
        node_start(&node);
        node_wait_offset(&node, 0, 4);
        node_stop(&node);
        ck_assert_uint_eq(node_count_rows(&node, 1), policies[i].rows);
        ck_assert_double_eq(node_metric(&node, policies[i].series), 1);
        ck_assert_double_eq(
            node_metric(&node,
                        "windrow_records_late_total{collection=\"points\",outcome=\"expired\"}"),
            1);
        ck_assert_double_eq(node_metric(&node, "windrow_dead_letters_total{reason=\"future\"}"), 1);
        node_destroy(&node);
        stage_destroy(&stage);
    }
}
END_TEST

/* Sum of all series of a family, whatever their labels. */
static double family_sum(struct node *node, const char *family)
{
    struct buffer text = {0};
    size_t length = strlen(family);
    double sum = 0;

    metrics_render(node->metrics, &text);
    for (const char *line = buffer_text(&text); line && *line;) {
        const char *end = strchr(line, '\n');
        if (strncmp(line, family, length) == 0 && line[length] == '{')
            sum += strtod(strchr(line, '}') + 1, NULL);
        line = end ? end + 1 : NULL;
    }
    buffer_destroy(&text);
    return sum;
}

START_TEST(every_record_is_accounted_for)
{
    uint64_t state = test_seed();
    const int64_t now_ms = io_wall_ms(io_posix());
    struct stage stage;
    struct node node;
    double late;

    stage_create(&stage, 2);
    stage.collection.event_time_field = "time_ms";
    stage.collection.late_policy = CONFIG_LATE_DROP;
    stage.collection.ttl_ms = 50 * 3600000;
    for (int i = 0; i < 400; i++) {
        /* Good, upserts, old, expired, from the future, broken; some as tombstones. */
        static const int64_t hours[] = {0, 0, 0, 5, 100, -1};
        char value[128];
        char key[16];
        uint64_t kind = test_random(&state) % 8;
        snprintf(key, sizeof(key), "%d", (int)(test_random(&state) % 100));
        snprintf(value, sizeof(value), "{\"vector\":[1,2,3,4],\"time_ms\":%lld}%s",
                 (long long)(now_ms - hours[kind % 6] * 3600000), kind == 6 ? "}" : "");
        stage_send(&stage, "points", i % 2, key, kind == 7 ? NULL : value, NULL);
    }
    for (int i = 0; i < 2; i++) {
        char batch[400];
        snprintf(batch, sizeof(batch),
                 "[{\"id\":1,\"vector\":[1,2,3,4],\"time_ms\":%lld},"
                 "{\"id\":2,\"vector\":[1,2,3,4],\"time_ms\":%lld},"
                 "{\"id\":1,\"vector\":[1,2,3,5],\"time_ms\":%lld}]",
                 (long long)now_ms, (long long)now_ms, (long long)now_ms);
        stage_send(&stage, "points", i, NULL, batch, NULL);
    }
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, 201);
    node_wait_offset(&node, 1, 201);
    node_stop(&node);
    late =
        node_metric(&node,
                    "windrow_records_late_total{collection=\"points\",outcome=\"dropped\"}") +
        node_metric(&node, "windrow_records_late_total{collection=\"points\",outcome=\"expired\"}");
    ck_assert_double_gt(late, 0);
    ck_assert_double_gt(family_sum(&node, "windrow_records_rejected_total"), 0);
    ck_assert_double_eq(family_sum(&node, "windrow_records_ingested_total") +
                            family_sum(&node, "windrow_records_deleted_total") +
                            family_sum(&node, "windrow_records_superseded_total") +
                            family_sum(&node, "windrow_records_rejected_total") + late,
                        400 + 2 * 3);
    ck_assert_double_eq(family_sum(&node, "windrow_records_superseded_total"), 2);
    ck_assert_double_eq(family_sum(&node, "windrow_dead_letters_total"),
                        family_sum(&node, "windrow_records_rejected_total"));
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

static bool watermark_follows_the_wall(void *context)
{
    struct node *node = context;
    struct store_shard *shard = node->shards[0];

    return shard && store_shard_clock(shard).watermark_ms > io_wall_ms(node->io) - 3600000;
}

START_TEST(idle_partition_lets_its_watermark_follow_the_wall_clock)
{
    struct stage stage;
    struct node node;
    char value[160];

    stage_create(&stage, 1);
    stage.collection.event_time_field = "time_ms";
    stage.collection.idle_timeout_ms = 1000;
    snprintf(value, sizeof(value), "{\"id\":1,\"vector\":[1,2,3,4],\"time_ms\":%lld}",
             (long long)io_wall_ms(io_posix()) - 7200000);
    stage_send(&stage, "points", 0, NULL, value, NULL);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, 1);
    stage_wait(watermark_follows_the_wall, &node, "the watermark reaches the wall clock");
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

static bool second_topic_is_there(void *context)
{
    struct node *node = context;
    struct ingest_partition_status *list;
    struct arena arena;
    bool found = false;
    size_t count;

    arena_create(&arena, 0);
    count = ingest_status(node->ingest, &arena, &list);
    for (size_t i = 0; i < count; i++)
        found |= strcmp(list[i].topic, "more") == 0 && strcmp(list[i].shard, "more-0") == 0 &&
                 list[i].next_offset >= 0;
    arena_destroy(&arena);
    return found;
}

START_TEST(shards_of_further_topics_carry_their_name)
{
    struct stage stage;
    struct node node;

    stage_create(&stage, 1);
    rd_kafka_mock_topic_create(stage.cluster, "more", 1, 1);
    stage.topics[1] = "more";
    stage.collection.topic_count = 2;
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    stage_wait(second_topic_is_there, &node, "the second topic is ingested");
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(impossible_settings_are_refused_with_a_reason)
{
    static const char *const patterns[] = {"^points-.*"};
    static const char *const letters[] = {"dead"};
    static const char *const twice[] = {"points", "points"};
    struct {
        struct config_pair property;
        const char *const *topics;
        size_t topic_count;
        enum config_format format;
        const char *text;
    } cases[] = {
        {{"enable.auto.commit", "true"}, NULL, 0, CONFIG_FORMAT_AUTO, "enable.auto.commit"},
        {{"auto.offset.reset", "latest"}, NULL, 0, CONFIG_FORMAT_AUTO, "auto.offset.reset"},
        {{"group.id", "x"}, NULL, 0, CONFIG_FORMAT_AUTO, "kafka.group"},
        {{"bootstrap.servers", "x"}, NULL, 0, CONFIG_FORMAT_AUTO, "kafka.brokers"},
        {{"acks", "1"}, NULL, 0, CONFIG_FORMAT_AUTO, "acks"},
        {{"no.such.property", "secret"}, NULL, 0, CONFIG_FORMAT_AUTO, "no such property"},
        {{"session.timeout.ms", "secret"}, NULL, 0, CONFIG_FORMAT_AUTO, "session.timeout.ms"},
        {{NULL, NULL}, patterns, 1, CONFIG_FORMAT_AUTO, "patterns"},
        {{NULL, NULL}, letters, 1, CONFIG_FORMAT_AUTO, "kafka.dead_letters"},
        {{NULL, NULL}, twice, 2, CONFIG_FORMAT_AUTO, "twice"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *points[] = {"points"};
        struct config_collection collection = {.name = "points",
                                               .topics = points,
                                               .topic_count = 1,
                                               .format = cases[i].format,
                                               .dim = 4,
                                               .window_ms = 3600000};
        struct config config = {.kafka_brokers = "127.0.0.1:1",
                                .kafka_group = "windrow",
                                .kafka_dead_letters = "dead",
                                .kafka_properties = &cases[i].property,
                                .kafka_property_count = cases[i].property.name != NULL,
                                .collections = &collection,
                                .collection_count = 1};
        struct ingest_options options = {.config = &config};
        struct ingest *ingest;
        struct error error = {0};
        if (cases[i].topics) {
            collection.topics = (const char **)(uintptr_t)cases[i].topics;
            collection.topic_count = cases[i].topic_count;
        }
        ck_assert_int_lt(ingest_start(&options, &ingest, &error), 0);
        ck_assert_msg(strstr(error.text, cases[i].text), "\"%s\" lacks \"%s\"", error.text,
                      cases[i].text);
        ck_assert_ptr_null(strstr(error.text, "secret"));
    }
}
END_TEST

static bool statistics_are_there(void *context)
{
    return node_metric(context, "windrow_kafka_consumer_received_bytes_total") > 0 &&
           node_metric(context, "windrow_kafka_consumer_connects_total") > 0 &&
           node_metric(context, "windrow_kafka_consumer_rebalances_total") > 0 &&
           node_metric(context, "windrow_kafka_dead_letters_queue_messages") == 0;
}

START_TEST(kafka_properties_reach_librdkafka)
{
    static const struct config_pair properties[] = {{"client.rack", "r1"},
                                                    {"isolation.level", "read_uncommitted"},
                                                    {"statistics.interval.ms", "100"},
                                                    {"compression.type", "zstd"}};
    struct stage stage;
    struct node node;

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 10);
    node_create(&node, &stage, stage_directory("data"));
    node.config.kafka_properties = properties;
    node.config.kafka_property_count = 4;
    node_start(&node);
    node_wait_offset(&node, 0, 10);
    stage_wait(statistics_are_there, &node, "librdkafka's statistics are metrics");
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

TEST_TABLE(TEST(restart_goes_on_at_the_offset_beside_the_data),
           TEST(upserts_and_deletes_leave_the_newest),
           TEST(order_of_a_partition_survives_many_decoding_threads),
           TEST(partitions_move_between_nodes_without_two_writers),
           TEST(what_a_node_of_a_cluster_gives_back_stays_open_and_is_taken_up_again),
           TEST(partitions_of_other_processes_are_known_by_name),
           TEST(consumer_that_failed_for_good_is_replaced),
           TEST(consumer_that_failed_in_a_commit_is_replaced),
           TEST(broker_down_at_the_start_is_waited_for), TEST(stop_while_no_broker_answers_ends),
           TEST(topic_made_anew_stops_the_partition_with_both_offsets),
           TEST(full_disk_pauses_and_goes_on_by_itself),
           TEST(late_records_are_counted_by_what_became_of_them),
           TEST(every_record_is_accounted_for),
           TEST(idle_partition_lets_its_watermark_follow_the_wall_clock),
           TEST(shards_of_further_topics_carry_their_name),
           TEST(impossible_settings_are_refused_with_a_reason),
           TEST(kafka_properties_reach_librdkafka))
