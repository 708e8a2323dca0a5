/* The producer against librdkafka's mock cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ingest/stage.h"

static void keep_result(void *context, const struct ingest_produced *result)
{
    *(struct ingest_produced *)context = *result;
}

static void send_and_wait(struct ingest_producer *producer, const char *topic, int32_t partition,
                          const char *key, const void *value, size_t value_bytes,
                          struct ingest_produced *result)
{
    struct error error = {0};

    *result = (struct ingest_produced){.code = 1};
    ck_assert_msg(ingest_producer_send(producer,
                                       &(struct ingest_outgoing){.topic = topic,
                                                                 .partition = partition,
                                                                 .key = key,
                                                                 .key_bytes = strlen(key),
                                                                 .value = value,
                                                                 .value_bytes = value_bytes,
                                                                 .timestamp_ms = -1},
                                       keep_result, result, &error) == 0,
                  "%s", error.text);
    for (int i = 0; i < STAGE_WAIT_MS / 100 && result->code == 1; i++)
        (void)ingest_producer_poll(producer, 100);
    ck_assert_int_ne(result->code, 1);
}

/* Partitions that org.apache.kafka.common.utils.Utils.murmur2 gives (its own unit test has the
 * hashes: "21" -> -973932308, "foobar" -> -790332482, "a-little-bit-long-string" -> -985981536). */
START_TEST(id_lives_where_javas_clients_put_it)
{
    static const struct {
        const char *key;
        uint32_t hash;
    } keys[] = {{"21", (uint32_t)-973932308},
                {"foobar", (uint32_t)-790332482},
                {"a-little-bit-long-string", (uint32_t)-985981536}};
    struct metrics *metrics = metrics_new();
    struct buffer text = {0};
    struct ingest_producer *producer;
    struct ingest_produced result;
    struct stage stage;
    struct error error = {0};

    stage_create(&stage, 7);
    ck_assert_int_eq(ingest_producer_new(&stage.config, metrics, &producer, &error), 0);
    for (size_t i = 0; i < 3; i++) {
        send_and_wait(producer, "points", INGEST_PARTITION_BY_KEY, keys[i].key, "{}", 2, &result);
        ck_assert_msg(result.code == 0, "%s", result.text);
        ck_assert_int_eq(result.partition, (int)((keys[i].hash & 0x7fffffff) % 7));
        ck_assert_int_ge(result.offset, 0);
    }
    metrics_render(metrics, &text);
    ck_assert_ptr_nonnull(
        strstr(buffer_text(&text), "windrow_quorum_commit_latency_seconds_count 3"));
    ck_assert_int_eq(ingest_producer_delete(producer, STAGE_WAIT_MS, &error), 0);
    buffer_destroy(&text);
    metrics_delete(metrics);
    stage_destroy(&stage);
}
END_TEST

START_TEST(message_that_is_too_large_is_the_senders_fault)
{
    struct ingest_producer *producer;
    struct stage stage;
    struct error error = {0};
    size_t size_bytes = 17 * 1024 * 1024;
    char *value = calloc(1, size_bytes);

    stage_create(&stage, 1);
    ck_assert_int_eq(ingest_producer_new(&stage.config, NULL, &producer, &error), 0);
    ck_assert_int_eq(
        ingest_producer_send(producer,
                             &(struct ingest_outgoing){.topic = "points",
                                                       .partition = INGEST_PARTITION_BY_KEY,
                                                       .key = "1",
                                                       .key_bytes = 1,
                                                       .value = value,
                                                       .value_bytes = size_bytes,
                                                       .timestamp_ms = -1},
                             NULL, NULL, &error),
        ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "points"));
    ck_assert_int_eq(ingest_producer_delete(producer, 0, ERROR_IGNORED), 0);
    free(value);
    stage_destroy(&stage);
}
END_TEST

START_TEST(undelivered_messages_get_their_callback_at_the_end)
{
    struct ingest_producer *producer;
    struct ingest_produced result = {.code = 1};
    struct stage stage;
    struct error error = {0};

    stage_create(&stage, 1);
    rd_kafka_mock_broker_set_down(stage.cluster, 1);
    ck_assert_int_eq(ingest_producer_new(&stage.config, NULL, &producer, &error), 0);
    ck_assert_int_eq(
        ingest_producer_send(producer,
                             &(struct ingest_outgoing){.topic = "points",
                                                       .partition = INGEST_PARTITION_BY_KEY,
                                                       .key = "1",
                                                       .key_bytes = 1,
                                                       .value = "{}",
                                                       .value_bytes = 2,
                                                       .timestamp_ms = -1},
                             keep_result, &result, &error),
        0);
    ck_assert_int_eq(ingest_producer_delete(producer, 100, &error), ERROR_TIMEOUT);
    ck_assert_int_lt(result.code, 0);
    ck_assert_ptr_nonnull(strstr(error.text, "1 messages"));
    rd_kafka_mock_broker_set_up(stage.cluster, 1);
    stage_destroy(&stage);
}
END_TEST

/* Whoever may not be idempotent fails for good; when the broker has changed its mind the next send
 * takes a new client. A first message that was queued before the failure fails with it, one that
 * finds the client failed goes to the new one. */
static void fail_and_replace(int wait_ms)
{
    struct ingest_producer *producer;
    struct ingest_produced result = {.code = 1};
    struct stage stage;
    struct error error = {0};
    bool kept;

    stage_create(&stage, 1);
    rd_kafka_mock_push_request_errors(stage.cluster, 22 /* InitProducerId */, 1,
                                      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
    ck_assert_int_eq(ingest_producer_new(&stage.config, NULL, &producer, &error), 0);
    for (int waited_ms = 0; waited_ms < wait_ms; waited_ms += 50)
        (void)ingest_producer_poll(producer, 50);
    send_and_wait(producer, "points", INGEST_PARTITION_BY_KEY, "1", "{}", 2, &result);
    kept = result.code == 0;
    send_and_wait(producer, "points", INGEST_PARTITION_BY_KEY, "1", "{}", 2, &result);
    ck_assert_msg(result.code == 0, "%s", result.text);
    ck_assert_int_eq(result.offset, kept);
    ck_assert_int_eq(ingest_producer_delete(producer, STAGE_WAIT_MS, &error), 0);
    stage_destroy(&stage);
}

START_TEST(producer_that_failed_for_good_is_replaced)
{
    fail_and_replace(0);
}
END_TEST

/* The failure has come by then, unless the machine is very slow. */
START_TEST(first_message_finds_a_failed_producer_replaced)
{
    fail_and_replace(1000);
}
END_TEST

TEST_TABLE(TEST(producer_that_failed_for_good_is_replaced),
           TEST(first_message_finds_a_failed_producer_replaced),
           TEST(id_lives_where_javas_clients_put_it),
           TEST(message_that_is_too_large_is_the_senders_fault),
           TEST(undelivered_messages_get_their_callback_at_the_end))
