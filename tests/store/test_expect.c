/* Records that expect a version are stored while it is the living one, and refused otherwise. */
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

#include <string.h>

#include "base/io.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/snapshot.h"
#include "store/store.h"

enum { WINDOW_MS = 1000, TTL_MS = 100000, ANY = -10 };

struct scene {
    struct store *store;
    struct store_shard *shard;
    struct fixture_group group;
    struct store_unmet unmet;
    int64_t next_offset;
};

static void scene_open(struct scene *scene, const char *folder, int64_t ttl_ms)
{
    memset(scene, 0, sizeof(*scene));
    scene->store = fixture_store(io_posix(), folder, 1 << 20);
    scene->shard = fixture_shard(scene->store, WINDOW_MS, ttl_ms, STORE_DURABILITY_LOG);
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
}

/* Expects an offset, or ANY. */
static void put(struct scene *scene, uint32_t id, int64_t expected)
{
    struct store_record *record = &scene->group.records[scene->group.group.record_count];

    fixture_group_put(&scene->group, id, 5, 0, 10, false);
    record->expects = expected != ANY;
    record->expected_offset = expected;
}

static void delete (struct scene *scene, uint32_t id)
{
    fixture_group_delete(&scene->group, id, false);
}

static void append(struct scene *scene)
{
    struct error error = {0};

    scene->group.group.unmet = &scene->unmet;
    ck_assert_msg(store_shard_append(scene->shard, &scene->group.group, &error) == 0, "%s",
                  error.text);
    scene->next_offset = scene->group.group.next_offset;
}

/* The offset of the id's version, -1 without one. */
static int64_t version_of(struct scene *scene, uint32_t id)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(scene->shard, 10);
    const struct store_source *source;
    struct error error = {0};
    struct store_key key;
    int64_t offset = -1;
    uint32_t row;

    fixture_key(id, &key);
    if (store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, &error) == 0)
        offset = store_row_offset(source, row);
    store_snapshot_release(snapshot);
    return offset;
}

static void check_refused(struct scene *scene, int64_t offset, const char *reason)
{
    const char *found = store_shard_refusal(scene->shard, offset);

    ck_assert_msg((!found && !reason) || (found && reason && strcmp(found, reason) == 0),
                  "offset %lld: %s, expected %s", (long long)offset, found ? found : "stored",
                  reason ? reason : "stored");
}

START_TEST(first_of_those_that_read_the_same_version_wins)
{
    struct scene scene;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, 1, ANY); /* 0 */
    put(&scene, 2, ANY);
    append(&scene);
    begin(&scene);
    put(&scene, 1, 0); /* 2: met */
    put(&scene, 1, 0); /* 3: replaced by 2 */
    put(&scene, 1, 2); /* 4: met by a record of the same group */
    put(&scene, 2, 0); /* 5: another id's offset */
    append(&scene);
    ck_assert_uint_eq(scene.unmet.records, 2);
    ck_assert_int_eq(version_of(&scene, 1), 4);
    ck_assert_int_eq(version_of(&scene, 2), 1);
    check_refused(&scene, 2, NULL);
    check_refused(&scene, 3, "superseded");
    check_refused(&scene, 4, NULL);
    check_refused(&scene, 5, "superseded");
    scene_close(&scene);
}
END_TEST

START_TEST(deleted_and_missing_ids_meet_only_who_expects_none)
{
    struct scene scene;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, 1, ANY);
    put(&scene, 2, STORE_EXPECT_NONE);
    put(&scene, 2, STORE_EXPECT_NONE);
    put(&scene, 3, 7);
    delete (&scene, 1);
    put(&scene, 1, 0);
    append(&scene);
    ck_assert_uint_eq(scene.unmet.records, 3);
    check_refused(&scene, 2, "exists");
    check_refused(&scene, 3, "superseded");
    check_refused(&scene, 5, "superseded");
    ck_assert_int_eq(version_of(&scene, 1), -1);
    begin(&scene);
    put(&scene, 1, STORE_EXPECT_NONE);
    put(&scene, 2, STORE_EXPECT_NEVER);
    append(&scene);
    ck_assert_int_eq(version_of(&scene, 1), 6);
    check_refused(&scene, 7, "superseded");
    scene_close(&scene);
}
END_TEST

/* A version that the log has passed the expiry of is as good as none, whether its file is still there or
 * not. One that has expired for the reader only still lives: another reader would find it. */
START_TEST(expired_version_does_not_exist)
{
    struct scene scene;

    scene_open(&scene, test_directory(), TTL_MS);
    begin(&scene);
    put(&scene, 1, ANY);
    put(&scene, 2, ANY);
    append(&scene);
    begin(&scene);
    put(&scene, 1, STORE_EXPECT_NONE);
    put(&scene, 2, 1);
    scene.group.records[0].log_time_ms = scene.group.records[1].log_time_ms = TTL_MS + 50;
    append(&scene);
    check_refused(&scene, 2, NULL);
    check_refused(&scene, 3, "superseded");
    begin(&scene);
    put(&scene, 2, STORE_EXPECT_NONE);
    put(&scene, 2, 1);
    scene.group.group.clock.safe_wall_ms = 10 * TTL_MS;
    scene.group.records[0].log_time_ms = scene.group.records[1].log_time_ms = TTL_MS + 4;
    append(&scene);
    check_refused(&scene, 4, "exists");
    check_refused(&scene, 5, NULL);
    scene_close(&scene);
}
END_TEST

START_TEST(version_is_found_in_flushed_files_and_after_a_restart)
{
    const char *folder = test_directory();
    struct error error = {0};
    struct scene scene;

    scene_open(&scene, folder, 0);
    begin(&scene);
    put(&scene, 1, ANY);
    put(&scene, 2, ANY);
    append(&scene);
    ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
    begin(&scene);
    put(&scene, 1, 0);
    put(&scene, 1, 0);
    append(&scene);
    ck_assert_int_eq(version_of(&scene, 1), 2);
    scene_close(&scene);

    scene_open(&scene, folder, 0); /* from the log */
    scene.next_offset = 4;
    ck_assert_int_eq(version_of(&scene, 1), 2);
    check_refused(&scene, 3, STORE_REFUSAL_UNKNOWN);
    begin(&scene);
    put(&scene, 1, 0);
    put(&scene, 1, 2);
    put(&scene, 2, 1);
    append(&scene);
    ck_assert_int_eq(version_of(&scene, 1), 5);
    ck_assert_int_eq(version_of(&scene, 2), 6);
    check_refused(&scene, 4, "superseded");
    scene_close(&scene);
}
END_TEST

TEST_TABLE(TEST(first_of_those_that_read_the_same_version_wins),
           TEST(deleted_and_missing_ids_meet_only_who_expects_none),
           TEST(expired_version_does_not_exist),
           TEST(version_is_found_in_flushed_files_and_after_a_restart))
