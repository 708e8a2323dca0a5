/* The job on the wire. */
#include <stdio.h>
#include <string.h>

#include "indexer/worker/job_tracker.h"
#include "indexer/worker/worker.h"
#include "tests/support/test_main.h"

static const struct worker_job sample = {
    .collection = "news",
    .shard = "my.topic-3",
    .window_start_ms = -3600000,
    .window_length_ms = 3600000,
    .generation = 7,
    .run_file_number = 42,
    .run_checksum = UINT64_MAX,
    .rows = 1000,
    .bytes = UINT64_C(1) << 40,
    .min_offset = 5,
    .max_offset = INT64_MAX,
    .kind = SEGMENT_HNSW,
    .attempts_before = 2,
    .passes = 1,
};

START_TEST(job_survives_the_wire)
{
    struct buffer bytes = {0};
    struct error error = {0};
    struct worker_job job;

    worker_job_encode(&sample, &bytes);
    ck_assert_msg(worker_job_decode(bytes.data, bytes.size, &job, &error) == 0, "%s", error.text);
    ck_assert_str_eq(job.collection, sample.collection);
    ck_assert_str_eq(job.shard, sample.shard);
    ck_assert_int_eq(job.window_start_ms, sample.window_start_ms);
    ck_assert_int_eq(job.window_length_ms, sample.window_length_ms);
    ck_assert_uint_eq(job.generation, sample.generation);
    ck_assert_uint_eq(job.run_file_number, sample.run_file_number);
    ck_assert_uint_eq(job.run_checksum, sample.run_checksum);
    ck_assert_uint_eq(job.rows, sample.rows);
    ck_assert_uint_eq(job.bytes, sample.bytes);
    ck_assert_int_eq(job.min_offset, sample.min_offset);
    ck_assert_int_eq(job.max_offset, sample.max_offset);
    ck_assert_int_eq(job.kind, SEGMENT_HNSW);
    ck_assert_uint_eq(job.attempts_before, 2);
    ck_assert_uint_eq(job.passes, 1);
    buffer_destroy(&bytes);
}
END_TEST

START_TEST(choice_survives_the_wire_and_a_later_one_is_left_out)
{
    struct buffer bytes = {0};
    struct error error = {0};
    struct worker_job job = sample;

    job.chosen = SEGMENT_IVF_PQ;
    job.choice = (struct index_choice){
        .how = INDEX_CHOICE_KNOWN, .graph_cost = 1234.5F, .lists_cost = 99.25F};
    worker_job_encode(&job, &bytes);
    ck_assert_msg(worker_job_decode(bytes.data, bytes.size, &job, &error) == 0, "%s", error.text);
    ck_assert_int_eq(job.kind, SEGMENT_HNSW); /* for builders that know no choice */
    ck_assert_int_eq(job.chosen, SEGMENT_IVF_PQ);
    ck_assert_uint_eq(job.choice.how, INDEX_CHOICE_KNOWN);
    ck_assert_float_eq(job.choice.graph_cost, 1234.5F);
    ck_assert_float_eq(job.choice.lists_cost, 99.25F);

    memcpy(strstr(buffer_text(&bytes), "\"known\""), "\"later\"", 7);
    ck_assert_msg(worker_job_decode(bytes.data, bytes.size, &job, &error) == 0, "%s", error.text);
    ck_assert_int_eq(job.chosen, SEGMENT_NONE);
    ck_assert_uint_eq(job.choice.how, INDEX_CHOICE_NONE);

    memcpy(strstr(buffer_text(&bytes), "\"later\""), "\"known\"", 7);
    memcpy(strstr(buffer_text(&bytes), "99.25"), "-9.25", 5);
    ck_assert_int_eq(worker_job_decode(bytes.data, bytes.size, &job, &error), ERROR_INVALID);
    ck_assert_str_eq(error.text, "job: choice: expected a kind and costs");
    buffer_destroy(&bytes);
}
END_TEST

#define REST                                                                                       \
    "\"generation\":1,\"run_file_number\":1,\"run_checksum\":1,\"rows\":1,\"bytes\":1,"            \
    "\"min_offset\":0,\"max_offset\":0}"

START_TEST(what_is_no_job_is_refused_with_a_reason)
{
    static const struct {
        const char *bytes;
        const char *reason;
    } table[] = {
        {"", "job: "},
        {"[]", "job: expected a map"},
        {"{}", "job: collection: expected a text of 1 to 103 bytes"},
        {"{\"collection\":\"\"}", "job: collection: expected a text of 1 to 103 bytes"},
        {"{\"collection\":\"a\\u0000b\"}", "job: collection: expected a text of 1 to 103 bytes"},
        {"{\"collection\":\"a\",\"shard\":3}", "job: shard: expected a text of 1 to 299 bytes"},
        {"{\"collection\":\"a\",\"shard\":\"3\"," REST,
         "job: window_start_ms: expected a whole number"},
        {"{\"collection\":\"a\",\"shard\":\"3\",\"window_start_ms\":0,\"window_length_ms\":0," REST,
         "job: window_length_ms: not a window"},
        {"{\"collection\":\"a\",\"shard\":\"3\",\"window_start_ms\":9223372036854775807,"
         "\"window_length_ms\":1," REST,
         "job: window_length_ms: not a window"},
        {"{\"collection\":\"a\",\"shard\":\"3\",\"window_start_ms\":0,\"window_length_ms\":1,"
         "\"passes\":-1," REST,
         "job: passes: expected a small whole number"},
        {"{\"collection\":\"a\",\"shard\":\"3\",\"window_start_ms\":0,\"window_length_ms\":1,"
         "\"kind\":\"flat\"," REST,
         "job: kind: expected hnsw or ivf_pq"},
        {"{\"collection\":\"a\",\"shard\":\"3\",\"window_start_ms\":0,\"window_length_ms\":1,"
         "\"kind\":\"a text that is too long\"," REST,
         "job: kind: expected a text of 1 to 15 bytes"},
        {"{\"collection\":\"a\",\"shard\":\"3\",\"window_start_ms\":0,\"window_length_ms\":1,"
         "\"span_tier\":1," REST,
         "job: span_tier: expected at most 2, and no generation"},
        {"[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]", "job: "},
    };
    struct worker_job job;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct error error = {0};
        ck_assert_int_ne(worker_job_decode(table[i].bytes, strlen(table[i].bytes), &job, &error),
                         0);
        ck_assert_msg(strncmp(error.text, table[i].reason, strlen(table[i].reason)) == 0, "%s: %s",
                      table[i].bytes, error.text);
    }
}
END_TEST

START_TEST(job_of_a_span_names_its_tier_and_its_runs)
{
    struct worker_job job, span = sample;
    struct buffer bytes = {0};
    struct error error = {0};
    char a[400], b[400];

    span.generation = 0;
    span.span_tier = 2;
    worker_job_encode(&span, &bytes);
    ck_assert_msg(worker_job_decode(bytes.data, bytes.size, &job, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(job.span_tier, 2);
    worker_job_id(&span, a, sizeof(a));
    worker_job_id(&job, b, sizeof(b));
    ck_assert_str_eq(a, b);
    job.run_checksum--;
    worker_job_id(&job, b, sizeof(b));
    ck_assert_str_ne(a, b);
    job = span;
    job.span_tier = 1;
    worker_job_id(&job, b, sizeof(b));
    ck_assert_str_ne(a, b);
    buffer_destroy(&bytes);
}
END_TEST

START_TEST(unknown_keys_of_a_job_are_skipped)
{
    static const char bytes[] = "{\"later\":[1],\"collection\":\"a\",\"shard\":\"3\","
                                "\"window_start_ms\":0,\"window_length_ms\":1," REST;
    struct worker_job job;

    ck_assert_int_eq(worker_job_decode(bytes, sizeof(bytes) - 1, &job, ERROR_IGNORED), 0);
}
END_TEST

START_TEST(job_id_tells_windows_generations_and_kinds_apart)
{
    struct worker_job other = sample;
    char a[400];
    char b[400];

    worker_job_id(&sample, a, sizeof(a));
    ck_assert_str_eq(a, "news/my.topic-3/-3600000/7/hnsw");
    other.passes = 9; /* no part of the identity */
    worker_job_id(&other, b, sizeof(b));
    ck_assert_str_eq(a, b);
    other.generation++;
    worker_job_id(&other, b, sizeof(b));
    ck_assert_str_ne(a, b);
    other = sample;
    other.kind = SEGMENT_IVF_PQ; /* another job for the same file */
    worker_job_id(&other, b, sizeof(b));
    ck_assert_str_eq(b, "news/my.topic-3/-3600000/7/ivf_pq");
    worker_job_file(&sample, a, sizeof(a));
    worker_job_file(&other, b, sizeof(b));
    ck_assert_str_eq(a, b);
    other.kind = SEGMENT_NONE; /* from a publisher that does not tell it */
    other.generation = 0;      /* a chunk: its file tells it apart */
    other.run_file_number = 7;
    worker_job_id(&other, b, sizeof(b));
    ck_assert_str_eq(b, "news/my.topic-3/-3600000/chunk-7");
    (void)snprintf(other.group, sizeof(other.group), "windrow-a"); /* has files of its own */
    worker_job_file(&other, b, sizeof(b));
    ck_assert_str_eq(b, "windrow-a/news/my.topic-3/-3600000/chunk-7");
}
END_TEST

START_TEST(job_tracker_tells_kinds_apart_except_while_one_is_built)
{
    struct worker_job graph = sample;
    struct worker_job lists = sample;
    struct job_tracker job_tracker;

    lists.kind = SEGMENT_IVF_PQ;
    job_tracker_create(&job_tracker);
    job_tracker_set(&job_tracker, &graph, JOB_GIVEN_UP, INT64_MAX);
    ck_assert_int_eq(job_tracker_get(&job_tracker, &graph).state, JOB_GIVEN_UP);
    ck_assert_int_eq(job_tracker_get(&job_tracker, &lists).state, JOB_NONE);
    job_tracker_set(&job_tracker, &lists, JOB_PUBLISHED, 5);
    ck_assert_int_eq(job_tracker_get(&job_tracker, &lists).state, JOB_PUBLISHED);
    ck_assert_int_eq(job_tracker_get(&job_tracker, &graph).state, JOB_NONE);

    ck_assert_int_eq(job_tracker_claim(&job_tracker, &graph), JOB_CLAIMED);
    ck_assert_int_eq(job_tracker_claim(&job_tracker, &graph), JOB_SAME);
    ck_assert_int_eq(job_tracker_claim(&job_tracker, &lists), JOB_OTHER);
    ck_assert_int_eq(job_tracker_get(&job_tracker, &lists).state, JOB_BUILDING);
    job_tracker_set(&job_tracker, &graph, JOB_NONE, 0);
    ck_assert_int_eq(job_tracker_claim(&job_tracker, &lists), JOB_CLAIMED);
    job_tracker_destroy(&job_tracker);
}
END_TEST

START_TEST(job_tracker_keeps_what_it_is_told_while_it_grows)
{
    struct job_tracker job_tracker;
    struct worker_job job = sample;

    job_tracker_create(&job_tracker);
    for (int64_t i = 0; i < 5000; i++) {
        job.window_start_ms = i;
        ck_assert_int_eq(job_tracker_get(&job_tracker, &job).state, JOB_NONE);
        if (i % 2)
            job_tracker_set(&job_tracker, &job, JOB_PUBLISHED, i);
        else
            ck_assert_int_eq(job_tracker_claim(&job_tracker, &job), JOB_CLAIMED);
    }
    for (int64_t i = 0; i < 5000; i++) {
        job.window_start_ms = i;
        if (i % 2) {
            ck_assert_int_eq(job_tracker_get(&job_tracker, &job).state, JOB_PUBLISHED);
            ck_assert_int_eq(job_tracker_get(&job_tracker, &job).time_ms, i);
        } else {
            ck_assert_int_eq(job_tracker_claim(&job_tracker, &job), JOB_SAME);
        }
    }
    job.window_start_ms = 0;
    job_tracker_set(&job_tracker, &job, JOB_NONE, 0);
    ck_assert_int_eq(job_tracker_claim(&job_tracker, &job), JOB_CLAIMED);
    job_tracker_destroy(&job_tracker);
}
END_TEST

TEST_TABLE(TEST(job_survives_the_wire), TEST(choice_survives_the_wire_and_a_later_one_is_left_out),
           TEST(what_is_no_job_is_refused_with_a_reason),
           TEST(job_of_a_span_names_its_tier_and_its_runs), TEST(unknown_keys_of_a_job_are_skipped),
           TEST(job_id_tells_windows_generations_and_kinds_apart),
           TEST(job_tracker_tells_kinds_apart_except_while_one_is_built),
           TEST(job_tracker_keeps_what_it_is_told_while_it_grows))
