/* What a delete hits: the id that it names, or of two ids the one that lives; and what it is counted
 * as. */
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/files/key.h"
#include "store/snapshot.h"
#include "store/store.h"

enum { WINDOW_MS = 1000, TTL_MS = 1000 };

/* The same bytes as a key: number 42, and the text of its digits. */
enum { NUMBER = 0, TEXT = 1 };

struct scene {
    struct store *store;
    struct store_shard *shard;
    struct fixture_group group;
    struct store_key ids[2];
    struct store_deletes deletes;
    int64_t next_offset;
};

static void scene_open(struct scene *scene, const char *folder, int64_t ttl_ms)
{
    memset(scene, 0, sizeof(*scene));
    scene->store = fixture_store(io_posix(), folder, 1 << 20);
    scene->shard = fixture_shard(scene->store, WINDOW_MS, ttl_ms, STORE_DURABILITY_LOG);
    store_key_from_u64(42, &scene->ids[NUMBER]);
    ck_assert_int_eq(store_key_from_text("42", 2, false, &scene->ids[TEXT], ERROR_IGNORED), 0);
}

static void scene_close(struct scene *scene)
{
    struct error error = {0};

    ck_assert_int_eq(store_shard_close(scene->shard, false, &error), 0);
    store_close(scene->store);
}

static void begin(struct scene *scene)
{
    fixture_group_start(&scene->group, scene->next_offset);
    scene->group.group.deletes = &scene->deletes;
}

static void put(struct scene *scene, int id)
{
    struct store_record *record = &scene->group.records[scene->group.group.record_count];

    fixture_group_put(&scene->group, 0, 5, 0, 10, false);
    record->key = scene->ids[id].bytes;
    record->key_bytes = scene->ids[id].size_bytes;
}

/* A tombstone whose key is 42, of a writer who did not say more. */
static struct store_record *delete_either(struct scene *scene, int64_t timestamp_ms)
{
    struct store_record *record = &scene->group.records[scene->group.group.record_count];

    fixture_group_delete(&scene->group, 0, false);
    record->event_time_ms = record->log_time_ms = timestamp_ms;
    record->key = scene->ids[NUMBER].bytes;
    record->key_bytes = scene->ids[NUMBER].size_bytes;
    record->other_key = scene->ids[TEXT].bytes;
    record->other_key_bytes = scene->ids[TEXT].size_bytes;
    record->is_foreign = true;
    return record;
}

static void append(struct scene *scene)
{
    struct error error = {0};

    ck_assert_msg(store_shard_append(scene->shard, &scene->group.group, &error) == 0, "%s",
                  error.text);
    scene->next_offset = scene->group.group.next_offset;
}

static bool lives(struct scene *scene, int id)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(scene->shard, 10);
    const struct store_source *source;
    struct error error = {0};
    uint32_t row;
    bool found = store_snapshot_find(snapshot, scene->ids[id].bytes, scene->ids[id].size_bytes,
                                     &source, &row, &error) == 0;

    store_snapshot_release(snapshot);
    return found;
}

static void check(struct scene *scene, bool number, bool text)
{
    ck_assert_int_eq(lives(scene, NUMBER), number);
    ck_assert_int_eq(lives(scene, TEXT), text);
}

static void check_counts(const struct scene *scene, size_t done, size_t other, size_t ambiguous,
                         size_t no_such_id)
{
    const size_t *counts = scene->deletes.counts;

    ck_assert_uint_eq(counts[STORE_DELETE_DONE], done);
    ck_assert_uint_eq(counts[STORE_DELETE_OTHER_READING], other);
    ck_assert_uint_eq(counts[STORE_DELETE_AMBIGUOUS], ambiguous);
    ck_assert_uint_eq(counts[STORE_DELETE_NO_SUCH_ID], no_such_id);
}

/* What lived before, in a group of its own or the same, and flushed or not. */
START_TEST(key_of_two_readings_deletes_the_id_that_lives)
{
    static const struct {
        bool number, text;
        size_t done, other, ambiguous, no_such_id;
        bool text_stays;
    } rows[] = {
        {true, false, 1, 0, 0, 0, false},
        {false, true, 0, 1, 0, 0, false},
        {true, true, 0, 0, 1, 0, true}, /* the first reading, as ever */
        {false, false, 0, 0, 0, 1, false},
    };

    for (size_t i = 0; i < 3 * sizeof(rows) / sizeof(rows[0]); i++) {
        size_t row = i / 3, how = i % 3;
        struct error error = {0};
        struct scene scene;
        char folder[512];
        snprintf(folder, sizeof(folder), "%s/%zu", test_directory(), i);
        scene_open(&scene, folder, 0); /* a flush leaves out what has expired */
        begin(&scene);
        if (rows[row].number)
            put(&scene, NUMBER);
        if (rows[row].text)
            put(&scene, TEXT);
        if (how > 0)
            append(&scene);
        if (how == 2)
            ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
        if (how > 0)
            begin(&scene);
        (void)delete_either(&scene, 5);
        append(&scene);
        check(&scene, false, rows[row].text_stays);
        check_counts(&scene, rows[row].done, rows[row].other, rows[row].ambiguous,
                     rows[row].no_such_id);
        ck_assert((scene.deletes.no_such_id != NULL) == (rows[row].no_such_id > 0));
        ck_assert((scene.deletes.ambiguous != NULL) == (rows[row].ambiguous > 0));
        scene_close(&scene);
    }
}
END_TEST

/* The group boundaries are not in Kafka's log: they must decide nothing. */
START_TEST(deletes_of_one_group_see_each_other)
{
    struct scene scene;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, TEXT);
    (void)delete_either(&scene, 5); /* the text */
    (void)delete_either(&scene, 5); /* nothing */
    put(&scene, NUMBER);
    put(&scene, TEXT);
    (void)delete_either(&scene, 5); /* the number, of both */
    (void)delete_either(&scene, 5); /* the text */
    put(&scene, NUMBER);
    append(&scene);
    check(&scene, true, false);
    check_counts(&scene, 0, 2, 1, 1);
    ck_assert_int_eq(scene.deletes.no_such_id->offset, 2);
    ck_assert_int_eq(scene.deletes.ambiguous->offset, 5);
    scene_close(&scene);
}
END_TEST

/* Whether the file of an expired row is still there depends on the reader, and so does the clock; the
 * timestamp of the tombstone does not. */
START_TEST(expired_id_is_no_reading)
{
    struct scene scene;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, NUMBER);
    put(&scene, TEXT);
    scene.group.records[1].ttl_ms = TTL_MS / 2;
    append(&scene);
    begin(&scene);
    (void)delete_either(&scene, 5 + TTL_MS / 2); /* the text has expired: not ambiguous */
    (void)delete_either(&scene, 5 + TTL_MS / 2);
    append(&scene);
    check_counts(&scene, 1, 0, 0, 1);
    check(&scene, false, true);
    scene_close(&scene);
}
END_TEST

START_TEST(choice_is_in_the_log_and_survives_a_restart)
{
    const char *folder = test_directory();
    struct scene scene;

    scene_open(&scene, folder, TTL_MS);
    begin(&scene);
    put(&scene, TEXT);
    (void)delete_either(&scene, 5);
    put(&scene, NUMBER);
    append(&scene);
    check(&scene, true, false);
    scene_close(&scene);
    scene_open(&scene, folder, TTL_MS); /* from the log */
    check(&scene, true, false);
    scene_close(&scene);
}
END_TEST

START_TEST(exact_delete_hits_nothing_else)
{
    struct scene scene;
    struct store_record *record;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, TEXT);
    record = delete_either(&scene, 5);
    record->other_key = NULL;
    record->is_foreign = false;
    append(&scene);
    check(&scene, false, true);
    check_counts(&scene, 0, 0, 0, 1);
    ck_assert_ptr_null(scene.deletes.no_such_id); /* counted, and nobody is warned */
    scene_close(&scene);
}
END_TEST

/* The version that is expected is that of the id which the delete hits. */
START_TEST(delete_that_expects_a_version_is_judged_by_the_id_it_hits)
{
    struct scene scene;
    struct store_record *record;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, TEXT); /* 0 */
    record = delete_either(&scene, 5);
    record->expects = true;
    record->expected_offset = 7;
    append(&scene);
    check(&scene, false, true);
    ck_assert_uint_eq(scene.deletes.counts[STORE_DELETE_UNMET], 1);
    begin(&scene);
    record = delete_either(&scene, 5);
    record->expects = true;
    append(&scene);
    check(&scene, false, false);
    check_counts(&scene, 0, 1, 0, 0);
    scene_close(&scene);
}
END_TEST

TEST_TABLE(TEST(key_of_two_readings_deletes_the_id_that_lives),
           TEST(deletes_of_one_group_see_each_other), TEST(expired_id_is_no_reading),
           TEST(choice_is_in_the_log_and_survives_a_restart), TEST(exact_delete_hits_nothing_else),
           TEST(delete_that_expects_a_version_is_judged_by_the_id_it_hits))
