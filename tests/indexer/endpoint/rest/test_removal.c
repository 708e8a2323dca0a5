/* What is removed after it was read: an upsert that comes in between stays, unless it has to go as well.
 *
 * Writes go into a log and from there into the shards in the order of their offsets, as ingestion does it.
 * The log lets others write between the look of a request and its tombstones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/files/key.h"
#include "store/registry.h"
#include "tests/support/rest_fixture.h"
#include "tests/support/test_main.h"

enum { PARTITIONS = 2, OLD = 0, NEW = 1 };

struct log {
    struct fixture fixture;
    struct store_shard *shards[PARTITIONS];
    int64_t next_offset[PARTITIONS];
    uint64_t ids[2 * POINTS]; /* that `meanwhile` writes, before the tombstones; in `partition` */
    size_t id_count;
    int32_t partition;
    int state;       /* that it gives them: OLD or NEW */
    int rounds;      /* before how many lists of writes it does so */
    int lists;       /* that came */
    size_t deletes;  /* of all of them */
    int64_t time_ms; /* of what is written next */
};

static void append(struct log *log, int32_t partition, struct store_record *record)
{
    struct store_group group = {.records = record, .record_count = 1};
    struct error error = {0};

    record->offset = log->next_offset[partition]++;
    record->event_time_ms = log->time_ms++;
    group.next_offset = record->offset + 1;
    ck_assert_msg(store_shard_append(log->shards[partition], &group, &error) == 0, "%s",
                  error.text);
}

/* Payload: {"n": state}. */
static void upsert(struct log *log, int32_t partition, uint64_t id, int state)
{
    const uint8_t payload[] = {0x81, 0xa1, 'n', (uint8_t)state};
    float vector[DIM] = {1.0F, (float)id, 0.5F, 0.0F};
    struct store_key key;
    struct store_record record = {
        .vector = vector, .payload = payload, .payload_bytes = sizeof(payload)};

    store_key_from_u64(id, &key);
    record.key = key.bytes;
    record.key_bytes = key.size_bytes;
    append(log, partition, &record);
}

static int take_writes(void *context, const struct config_collection *collection,
                       struct rest_write *writes, size_t count, struct error *error)
{
    struct log *log = context;

    (void)collection;
    (void)error;
    if (log->lists++ < log->rounds)
        for (size_t i = 0; i < log->id_count; i++)
            upsert(log, log->partition, log->ids[i], log->state);
    for (size_t i = 0; i < count; i++) {
        struct store_record record = {.is_delete = true,
                                      .expects = writes[i].expects,
                                      .expected_offset = writes[i].expected_offset};
        struct store_key key;
        ck_assert_ptr_null(writes[i].value);
        ck_assert_ptr_nonnull(writes[i].topic);
        store_key_from_u64(strtoull(writes[i].key, NULL, 10), &key);
        record.key = key.bytes;
        record.key_bytes = key.size_bytes;
        append(log, writes[i].partition, &record);
        writes[i].offset = record.offset;
        log->deletes++;
    }
    return 0;
}

/* Points 0 to 49 lie in partition 0 in state NEW, from the fixture. */
static void log_open(struct log *log)
{
    struct fixture *fixture = &log->fixture;
    struct error error = {0};

    *log = (struct log){.time_ms = 1000000};
    fixture_open(fixture);
    http_server_delete(fixture->server);
    rest_delete(fixture->rest);
    log->shards[0] = fixture->shard;
    log->next_offset[0] = POINTS;
    ck_assert_int_eq(
        store_registry_claim(fixture->registry, &fixture->collection, "1", &log->shards[1], &error),
        0);
    fixture->rest = rest_new(&(struct rest_options){.config = &fixture->config,
                                                    .registry = fixture->registry,
                                                    .metrics = fixture->metrics,
                                                    .io = &fixture->io.io,
                                                    .writer = {log, take_writes}});
    fixture_start_server(fixture);
}

static void log_close(struct log *log)
{
    fixture_close(&log->fixture);
}

static void check_count(const struct log *log, const char *filter, int wanted)
{
    char body[200], text[40];

    snprintf(body, sizeof(body), "{\"filter\":%s}", filter);
    snprintf(text, sizeof(text), "{\"count\":%d}", wanted);
    check_all(&log->fixture, &(struct expectation){"POST", C "/points/count", body, 200, text}, 1);
}

#define IS_OLD  "{\"must\":[{\"key\":\"n\",\"match\":{\"value\":0}}]}"
#define IS_NEW  "{\"must\":[{\"key\":\"n\",\"match\":{\"value\":1}}]}"
#define REMOVE  "{\"filter\":" IS_OLD "}"
#define REMOVES "{\"operations\":[{\"delete\":{\"filter\":" IS_OLD "}}]}"

static void make_old(struct log *log, int32_t partition, uint64_t first, uint64_t end)
{
    for (uint64_t id = first; id < end; id++)
        upsert(log, partition, id, OLD);
}

START_TEST(an_upsert_beside_a_delete_by_filter_stays)
{
    static const char *const calls[][2] = {{C "/points/delete?wait=true", REMOVE},
                                           {C "/points/delete", REMOVE},
                                           {C "/points/batch?wait=true", REMOVES}};
    static struct log log;

    log_open(&log);
    for (uint64_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        make_old(&log, 0, 15 * i, 15 * i + 15);
        log.id_count = 0;
        for (uint64_t id = 15 * i + 5; id < 15 * i + 10; id++)
            log.ids[log.id_count++] = id;
        log.state = NEW;
        log.lists = 0;
        log.rounds = 1;
        check_all(&log.fixture,
                  &(struct expectation){"POST", calls[i][0], calls[i][1], 200, "completed"}, 1);
        check_count(&log, IS_OLD, 0);
        check_count(&log, IS_NEW, POINTS - 10 * ((int)i + 1));
        ck_assert_uint_eq(log.deletes, 15 * (i + 1));
    }
    log_close(&log);
}
END_TEST

START_TEST(an_upsert_that_still_matches_is_deleted_as_well)
{
    static struct log log;

    log_open(&log);
    make_old(&log, 0, 0, 30);
    for (uint64_t id = 10; id < 20; id++)
        log.ids[log.id_count++] = id;
    log.state = OLD;
    log.rounds = 5;
    check_all(&log.fixture,
              &(struct expectation){"POST", C "/points/delete?wait=true", REMOVE, 200, "completed"},
              1);
    check_count(&log, "{}", POINTS - 30);
    ck_assert_int_eq(log.lists, 6);
    ck_assert_uint_eq(log.deletes, 30 + 5 * 10);
    log_close(&log);
}
END_TEST

START_TEST(a_point_that_keeps_changing_is_told)
{
    static struct log log;

    log_open(&log);
    make_old(&log, 0, 7, 8);
    log.ids[log.id_count++] = 7;
    log.rounds = INT32_MAX;
    check_all(
        &log.fixture,
        &(struct expectation){"POST", C "/points/delete", REMOVE, 429, "1 points kept changing"},
        1);
    check_count(&log, "{}", POINTS);
    log_close(&log);
}
END_TEST

/* Of an id in two partitions the newest version is the one that matches or not, and all of them go. */
START_TEST(a_delete_by_filter_takes_the_old_versions_along)
{
    static struct log log;

    log_open(&log);
    make_old(&log, 1, 0, 10); /* the newest of these; partition 0 has older ones */
    upsert(&log, 0, 0, NEW);  /* and now it has the newest of this one */
    check_all(&log.fixture,
              &(struct expectation){"POST", C "/points/delete", REMOVE, 200, "completed"}, 1);
    ck_assert_uint_eq(log.deletes, 2 * 9);
    check_all(&log.fixture,
              &(struct expectation){"POST", C "/points/scroll", "{\"limit\":1}", 200, "\"n\":1"},
              1);
    check_count(&log, IS_NEW, POINTS - 9);
    log_close(&log);
}
END_TEST

/* In the partition that is cleaned up. What comes becomes the newest version, and the others go. */
START_TEST(an_upsert_beside_a_repair_stays)
{
    static const struct expectation once = {
        "POST", C "/points/repair", "{\"limit\":100}", 200,
        "{\"scanned\":50,\"found\":10,\"removed\":10,\"next_page_offset\":null}"};
    static const struct expectation nothing = {"POST", C "/points/repair", "{\"limit\":100}", 200,
                                               "\"found\":0,\"removed\":0"};
    static struct log log;

    log_open(&log);
    make_old(&log, 1, 0, 10);
    for (uint64_t id = 3; id < 6; id++)
        log.ids[log.id_count++] = id;
    log.state = NEW;
    log.rounds = 1;
    check_all(&log.fixture, &once, 1);
    ck_assert_uint_eq(log.deletes,
                      10 + 3); /* three were refused, and three in the other partition */
    check_count(&log, IS_OLD, 7);
    check_count(&log, IS_NEW, POINTS - 7);
    check_all(&log.fixture, &nothing, 1);
    log_close(&log);
}
END_TEST

TEST_TABLE(TEST(an_upsert_beside_a_delete_by_filter_stays),
           TEST(an_upsert_that_still_matches_is_deleted_as_well),
           TEST(a_point_that_keeps_changing_is_told),
           TEST(a_delete_by_filter_takes_the_old_versions_along),
           TEST(an_upsert_beside_a_repair_stays))
