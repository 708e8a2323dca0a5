/* Deletes through a broker: what they hit, and what they are counted as. Every message of the producer
 * says which id it means. */
#include <stdio.h>
#include <string.h>

#include "store/files/key.h"
#include "tests/ingest/stage.h"

static double outcome(struct node *node, const char *name)
{
    char series[128];

    snprintf(series, sizeof(series), "windrow_deletes_total{collection=\"points\",outcome=\"%s\"}",
             name);
    return node_metric(node, series);
}

static void check(struct node *node, double done, double other, double ambiguous, double no_such_id)
{
    ck_assert_double_eq(outcome(node, "done"), done);
    ck_assert_double_eq(outcome(node, "other_reading"), other);
    ck_assert_double_eq(outcome(node, "ambiguous"), ambiguous);
    ck_assert_double_eq(outcome(node, "no_such_id"), no_such_id);
    ck_assert_double_eq(
        node_metric(node, "windrow_records_deleted_total{collection=\"points\",shard=\"0\"}"),
        done + other + ambiguous + no_such_id);
}

/* What is stored beside the deletes is told by the outcomes and the rows. */
static void run(struct stage *stage, int64_t end, size_t rows, double done, double other,
                double ambiguous, double no_such_id)
{
    struct node node;

    node_create(&node, stage, stage_directory("data"));
    node_start(&node);
    node_wait_offset(&node, 0, end);
    node_stop(&node);
    ck_assert_uint_eq(node_count_rows(&node, 1), rows);
    check(&node, done, other, ambiguous, no_such_id);
    node_destroy(&node);
    stage_destroy(stage);
}

#define TEXT_42   "{\"id\":\"42\",\"vector\":[1,2,3,4]}"
#define NUMBER_42 "{\"id\":42,\"vector\":[1,2,3,4]}"

START_TEST(null_on_a_key_that_disagrees_with_the_id_deletes_or_is_counted)
{
    struct stage stage;

    stage_create(&stage, 1);
    stage_send(&stage, "points", 0, "42", TEXT_42, NULL);
    stage_send(&stage, "points", 0, "42", NULL, NULL); /* the text: no number is there */
    stage_send(&stage, "points", 0, "x", "{\"id\":\"y\",\"vector\":[1,2,3,4]}", NULL);
    stage_send(&stage, "points", 0, "x", NULL, NULL); /* nothing: y stays */
    stage_send(&stage, "points", 0, "\"doc\"", "{\"id\":\"doc\",\"vector\":[1,2,3,4]}", NULL);
    stage_send(&stage, "points", 0, "\"doc\"", NULL, NULL); /* without its quotes */
    run(&stage, 6, 1, 0, 2, 0, 1);
}
END_TEST

START_TEST(header_says_which_of_two_ids_is_meant)
{
    static const char *const number[] = {"windrow-id", "number", NULL};
    static const char *const text[] = {"windrow-id", "text", NULL};
    struct stage stage;

    stage_create(&stage, 1);
    stage_send(&stage, "points", 0, "42", TEXT_42, NULL);
    stage_send(&stage, "points", 0, "42", NUMBER_42, NULL);
    stage_send(&stage, "points", 0, "42", NULL, text);
    stage_send(&stage, "points", 0, "42", NULL, text); /* the number stays */
    stage_send(&stage, "points", 0, "42", NULL, number);
    stage_send(&stage, "points", 0, "{\"id\": 42}",
               "{\"id\":\"{\\\"id\\\": 42}\",\"vector\":[1,2,3,4]}", text);
    stage_send(&stage, "points", 0, "42", NUMBER_42, NULL);
    stage_send(&stage, "points", 0, "{\"id\": 42}", NULL, text);
    run(&stage, 8, 1, 3, 0, 0, 1);
}
END_TEST

START_TEST(key_of_two_stored_ids_deletes_the_first_reading)
{
    struct stage stage;

    stage_create(&stage, 1);
    stage_send(&stage, "points", 0, "42", TEXT_42, NULL);
    stage_send(&stage, "points", 0, "42", NUMBER_42, NULL);
    stage_send(&stage, "points", 0, "42", NULL, NULL);
    run(&stage, 3, 1, 0, 0, 1, 0);
}
END_TEST

START_TEST(rule_of_the_collection_reads_the_key_in_one_way)
{
    struct stage stage;

    stage_create(&stage, 1);
    stage.collection.key = CONFIG_KEY_NUMBER;
    stage_send(&stage, "points", 0, "42", TEXT_42, NULL);
    stage_send(&stage, "points", 0, "42", NULL, NULL);
    run(&stage, 2, 1, 0, 0, 0, 1);
}
END_TEST

static void keep_result(void *context, const struct ingest_produced *result)
{
    *(struct ingest_produced *)context = *result;
}

static void produce(struct ingest_producer *producer, const struct store_key *id, const char *value)
{
    struct ingest_produced result = {.code = 1};
    struct store_message_key key;
    struct error error = {0};

    store_key_to_message(id->bytes, id->size_bytes, &key);
    ck_assert_msg(
        ingest_producer_send(producer,
                             &(struct ingest_outgoing){.topic = "points",
                                                       .partition = INGEST_PARTITION_BY_KEY,
                                                       .key = key.bytes,
                                                       .key_bytes = key.size_bytes,
                                                       .id_kind = key.kind,
                                                       .value = value,
                                                       .value_bytes = value ? strlen(value) : 0,
                                                       .timestamp_ms = -1},
                             keep_result, &result, &error) == 0,
        "%s", error.text);
    for (int i = 0; i < STAGE_WAIT_MS / 100 && result.code == 1; i++)
        (void)ingest_producer_poll(producer, 100);
    ck_assert_int_eq(result.code, 0);
}

/* Both under one key, and records without an id in their value. */
START_TEST(message_of_the_producer_means_its_id_and_no_other)
{
    static const char *const vector = "{\"vector\":[1,2,3,4]}";
    struct ingest_producer *producer;
    struct store_key number, text;
    struct error error = {0};
    struct stage stage;

    stage_create(&stage, 1);
    store_key_from_u64(42, &number);
    ck_assert_int_eq(store_key_from_text("42", 2, false, &text, &error), 0);
    ck_assert_int_eq(ingest_producer_new(&stage.config, NULL, &producer, &error), 0);
    produce(producer, &number, vector);
    produce(producer, &text, vector);
    produce(producer, &text, NULL);
    produce(producer, &text, NULL);
    ck_assert_int_eq(ingest_producer_delete(producer, STAGE_WAIT_MS, &error), 0);
    run(&stage, 4, 1, 1, 0, 0, 1);
}
END_TEST

/* What a replay says of deletes: "OFFSET:ID " each. */
static int note_deletes(void *context, const struct store_record *records, size_t count,
                        int64_t next_offset, struct error *error)
{
    struct buffer *out = context;
    struct arena arena;

    (void)next_offset;
    (void)error;
    arena_create(&arena, 0);
    for (size_t i = 0; i < count; i++) {
        struct doc id = store_key_to_doc(records[i].key, records[i].key_bytes, &arena);
        ck_assert_ptr_null(records[i].other_key);
        if (!records[i].is_delete)
            continue;
        buffer_append_format(out, "%lld:", (long long)records[i].offset);
        doc_write_json(out, &id);
        buffer_append_byte(out, ' ');
    }
    arena_destroy(&arena);
    return 0;
}

/* The window that is rebuilt has no say in which ids lived outside of it. */
START_TEST(replay_deletes_what_was_deleted_as_far_as_it_can_know)
{
    struct buffer deletes = {0};
    struct error error = {0};
    struct stage stage;

    stage_create(&stage, 1);
    stage_send(&stage, "points", 0, "42", TEXT_42, NULL);
    stage_send(&stage, "points", 0, "42", NULL,
               NULL); /* no number is known: the text goes in any case */
    stage_send(&stage, "points", 0, "42", TEXT_42, NULL);
    stage_send(&stage, "points", 0, "42", NUMBER_42, NULL);
    stage_send(&stage, "points", 0, "42", NULL, NULL); /* the number is known: the text stays */
    stage_send(&stage, "points", 0, "42", NULL, NULL); /* the number is gone */
    ck_assert_msg(ingest_replay(&(struct ingest_replay){.config = &stage.config,
                                                        .collection = &stage.collection,
                                                        .shard = "0",
                                                        .to_offset = 6},
                                note_deletes, &deletes, &error) == 0,
                  "%s", error.text);
    ck_assert_str_eq(buffer_text(&deletes), "1:42 1:\"42\" 4:42 5:42 5:\"42\" ");
    buffer_destroy(&deletes);
    stage_destroy(&stage);
}
END_TEST

TEST_TABLE(TEST(null_on_a_key_that_disagrees_with_the_id_deletes_or_is_counted),
           TEST(header_says_which_of_two_ids_is_meant),
           TEST(key_of_two_stored_ids_deletes_the_first_reading),
           TEST(rule_of_the_collection_reads_the_key_in_one_way),
           TEST(message_of_the_producer_means_its_id_and_no_other),
           TEST(replay_deletes_what_was_deleted_as_far_as_it_can_know))
