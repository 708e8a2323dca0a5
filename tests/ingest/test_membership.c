/* The generation of a consumer group, out of bytes that belong to librdkafka. */
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka_membership.h"
#include "tests/support/test_main.h"

/* Out of the first bytes of what the library writes. */
static int32_t parse_written(int32_t generation, size_t count)
{
    rd_kafka_consumer_group_metadata_t *metadata =
        rd_kafka_consumer_group_metadata_new_with_genid("windrow", generation, "member", NULL);
    void *written = NULL, *bytes = malloc(count); /* a sanitizer sees what is read behind them */
    size_t size = 0;
    int32_t parsed;

    ck_assert_ptr_null(rd_kafka_consumer_group_metadata_write(metadata, &written, &size));
    ck_assert(bytes && count <= size);
    memcpy(bytes, written, count);
    parsed = kafka_membership_parse(bytes, count);
    free(bytes);
    rd_kafka_mem_free(NULL, written);
    rd_kafka_consumer_group_metadata_destroy(metadata);
    return parsed;
}

/* Generations are compared: each is as far from the next as the group counts them. */
START_TEST(generation_is_read_as_the_group_counts_it)
{
    static const int32_t generations[] = {1, 2, 127, 128, 255, 256, 257, 65536, INT32_MAX};

    for (size_t i = 0; i < sizeof(generations) / sizeof(generations[0]); i++)
        ck_assert_int_eq(parse_written(generations[i], 11), generations[i]);
    ck_assert_int_eq(parse_written(-1, 11), 0); /* before the first assignment */
    ck_assert_int_eq(parse_written(1, 10), 0);
}
END_TEST

START_TEST(other_bytes_tell_no_generation)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"CGMDv2:", 7}, {"CGMDv", 5}, {"CGMDv1:\1\1\1\1", 11}, {"CGMDv3:\1\1\1\1", 11}, {"", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(kafka_membership_parse(cases[i].bytes, cases[i].size) == 0, "case %zu", i);
    ck_assert_int_eq(kafka_membership_parse(NULL, 0), 0);
}
END_TEST

static rd_kafka_t *client_with(const char *session_ms, const char *heartbeat_ms)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client;

    ck_assert_int_eq(rd_kafka_conf_set(conf, "group.id", "group", NULL, 0), RD_KAFKA_CONF_OK);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "session.timeout.ms", session_ms, NULL, 0),
                     RD_KAFKA_CONF_OK);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "heartbeat.interval.ms", heartbeat_ms, NULL, 0),
                     RD_KAFKA_CONF_OK);
    client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    ck_assert_ptr_nonnull(client);
    return client;
}

/* Never longer than what is left of a session whose last heartbeat went out an interval ago. */
START_TEST(a_pause_is_noticed_before_a_session_can_have_ended)
{
    static const struct {
        const char *session_ms, *heartbeat_ms;
        int64_t limit_ms;
    } cases[] = {{"6000", "1000", 4000}, {"3000", "500", 2000}, {"4000", "2000", 1000}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rd_kafka_t *client = client_with(cases[i].session_ms, cases[i].heartbeat_ms);
        ck_assert_int_eq(kafka_membership_pause_limit_ns(client), cases[i].limit_ms * 1000000);
        ck_assert_int_eq(kafka_membership_generation(client), 0);
        rd_kafka_destroy(client);
    }
}
END_TEST

TEST_TABLE(TEST(generation_is_read_as_the_group_counts_it), TEST(other_bytes_tell_no_generation),
           TEST(a_pause_is_noticed_before_a_session_can_have_ended))
