/* Dead letters: what they carry, and that no offset passes them unacknowledged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/ingest/stage.h"

/* A letter as a consumer of the topic sees it. */
struct letter {
    char key[64];
    char value[256];
    bool has_key, has_value;
    int64_t timestamp_ms;
    char headers[1024]; /* "name=value\n" each */
};

static rd_kafka_t *reader_new(struct stage *stage)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_t *reader;

    rd_kafka_conf_set(conf, "bootstrap.servers", stage->config.kafka_brokers, text, sizeof(text));
    rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof(text));
    reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    ck_assert_msg(reader != NULL, "%s", text);
    rd_kafka_poll_set_consumer(reader);
    rd_kafka_topic_partition_list_add(list, "dead", 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    return reader;
}

static void copy_text(char *to, size_t to_bytes, const void *from, size_t from_bytes)
{
    snprintf(to, to_bytes, "%.*s", (int)from_bytes, from ? (const char *)from : "");
}

static void take_letter(const rd_kafka_message_t *message, struct letter *letter)
{
    rd_kafka_timestamp_type_t type;
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size = 0;
    size_t size_bytes;

    *letter = (struct letter){.has_key = message->key != NULL,
                              .has_value = message->payload != NULL,
                              .timestamp_ms = rd_kafka_message_timestamp(message, &type)};
    copy_text(letter->key, sizeof(letter->key), message->key, message->key_len);
    copy_text(letter->value, sizeof(letter->value), message->payload, message->len);
    ck_assert_int_eq(rd_kafka_message_headers(message, &headers), 0);
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size_bytes) == 0; i++)
        size += (size_t)snprintf(letter->headers + size, sizeof(letter->headers) - size,
                                 "%s=%.*s\n", name, (int)size_bytes, (const char *)value);
}

/* Exactly `count` letters, in order. */
static void read_letters(struct stage *stage, struct letter *letters, size_t count)
{
    rd_kafka_t *reader = reader_new(stage);
    size_t got = 0;

    for (int round = 0; round < STAGE_WAIT_MS / 100 && got < count; round++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
        if (message && message->err == 0)
            take_letter(message, &letters[got++]);
        if (message)
            rd_kafka_message_destroy(message);
    }
    ck_assert_uint_eq(got, count);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
}

static void assert_header(const struct letter *letter, const char *line)
{
    ck_assert_msg(strstr(letter->headers, line) != NULL, "no \"%s\" in:\n%s", line,
                  letter->headers);
}

START_TEST(letter_keeps_the_record_and_says_why)
{
    static const char *const headers[] = {"source", "crawler", "__connect.errors.stage", "OLD",
                                          NULL};
    struct stage stage;
    struct node node;
    struct letter letters[4];

    stage_create(&stage, 1);
    stage_send(&stage, "points", 0, "17", "{\"id\":17,\"vector\":[1,2]}", headers);
    stage_send(&stage, "points", 0, "b",
               "{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]},{\"id\":2,\"vector\":[1,2,3,\"x\"]}]}",
               NULL);
    stage_send(&stage, "points", 0, NULL, NULL, NULL);
    stage_send(&stage, "points", 0, "{\"key\":1}", NULL, NULL);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, 4);
    node_stop(&node);

    read_letters(&stage, letters, 4);
    ck_assert_str_eq(letters[0].key, "17");
    ck_assert_str_eq(letters[0].value, "{\"id\":17,\"vector\":[1,2]}");
    ck_assert_int_gt(letters[0].timestamp_ms, 0);
    assert_header(&letters[0], "source=crawler\n");
    assert_header(&letters[0], "__connect.errors.topic=points\n");
    assert_header(&letters[0], "__connect.errors.partition=0\n");
    assert_header(&letters[0], "__connect.errors.offset=0\n");
    assert_header(&letters[0], "__connect.errors.stage=VALUE_CONVERTER\n");
    assert_header(&letters[0], "__connect.errors.exception.class.name=windrow.ingest.dimension\n");
    assert_header(&letters[0], "__connect.errors.exception.message=$.vector: 2 values");
    ck_assert_ptr_null(strstr(letters[0].headers, "OLD"));
    /* Of a batch only the bad part, under the batch's key. */
    ck_assert_str_eq(letters[1].key, "b");
    ck_assert_str_eq(letters[1].value, "{\"id\":2,\"vector\":[1,2,3,\"x\"]}");
    assert_header(&letters[1], "exception.message=$.points[1].vector[3]");
    ck_assert(!letters[2].has_key && !letters[2].has_value);
    assert_header(&letters[2], "__connect.errors.stage=KEY_CONVERTER\n");
    assert_header(&letters[3], "__connect.errors.offset=3\n");
    ck_assert_uint_eq(node_count_rows(&node, 1), 1);
    ck_assert_double_eq(node_metric(&node, "windrow_dead_letters_total{reason=\"id\"}"), 2);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(offset_waits_until_the_letter_is_acknowledged)
{
    struct stage stage;
    struct node node;
    struct ingest_partition_status status;
    struct letter letter;

    stage_create(&stage, 2);
    stage_send_points(&stage, 2, 0, 20);
    stage_send(&stage, "points", 0, "bad", "{", NULL);
    rd_kafka_mock_topic_set_error(stage.cluster, "dead",
                                  RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    /* The other partition goes on. */
    node_wait_offset(&node, 1, 10);
    sleep(2);
    ck_assert(node_partition(&node, 0, &status));
    ck_assert_int_le(status.next_offset, 10);
    ck_assert_str_eq(status.stopped, "");
    rd_kafka_mock_topic_set_error(stage.cluster, "dead", RD_KAFKA_RESP_ERR_NO_ERROR);
    node_wait_offset(&node, 0, 11);
    node_stop(&node);
    read_letters(&stage, &letter, 1);
    ck_assert_str_eq(letter.value, "{");
    ck_assert_uint_eq(node_count_rows(&node, 2), 20);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

/* Without messages under way, only the next letter can notice. */
START_TEST(letter_finds_a_failed_producer_replaced)
{
    struct stage stage;
    struct node node;
    struct letter letter;

    stage_create(&stage, 1);
    stage_send_points(&stage, 1, 0, 20);
    rd_kafka_mock_push_request_errors(stage.cluster, 22 /* InitProducerId */, 1,
                                      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, 20);
    stage_send(&stage, "points", 0, "bad", "{", NULL);
    node_wait_offset(&node, 0, 21);
    node_stop(&node);
    read_letters(&stage, &letter, 1);
    ck_assert_str_eq(letter.value, "{");
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

START_TEST(without_a_letter_topic_the_partition_stops_at_the_bad_record)
{
    struct stage stage;
    struct node node;
    struct ingest_partition_status status;
    char text[512];

    stage_create(&stage, 2);
    stage.config.kafka_dead_letters = NULL;
    stage_send_points(&stage, 2, 0, 20);
    /* Nothing of a batch with a bad part is kept: its offset was not passed. */
    stage_send(&stage, "points", 0, NULL,
               "[{\"id\":100,\"vector\":[1,2,3,4]},{\"id\":101,\"vector\":[1]}]", NULL);
    stage_send_points(&stage, 2, 20, 40);
    node_create(&node, &stage, stage_directory("data"));
    node_start(&node);
    node_wait_stopped(&node, 0, text);
    ck_assert_msg(strstr(text, "offset 10") && strstr(text, "$[1].vector"), "%s", text);
    node_wait_offset(&node, 1, 20);
    ck_assert(node_partition(&node, 0, &status));
    ck_assert_int_eq(status.next_offset, 10);
    node_wait_ready(&node);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 2), 30);
    node_destroy(&node);
    stage_destroy(&stage);
}
END_TEST

TEST_TABLE(TEST(letter_keeps_the_record_and_says_why),
           TEST(offset_waits_until_the_letter_is_acknowledged),
           TEST(letter_finds_a_failed_producer_replaced),
           TEST(without_a_letter_topic_the_partition_stops_at_the_bad_record))
