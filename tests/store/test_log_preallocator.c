/* Logs large enough for the preallocator: zeros ahead of the appender, files that come back, and a
 * recovery that reads several of them at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "store/append.h"
#include "store/operations.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum {
    MEMTABLE_BYTES = 6 << 20,
    PAYLOAD_BYTES = 20000,
    GROUP_RECORDS = 8, /* a frame of 160 KiB, which is not LOG_BULK_BYTES */
    WINDOW_MS = 1000
};

struct scene {
    struct store *store;
    struct store_shard *shard;
    uint8_t payload[PAYLOAD_BYTES];
    uint32_t next;
};

static void scene_open(struct scene *scene)
{
    scene->store = fixture_store(fixture_io(NULL), test_directory(), MEMTABLE_BYTES);
    scene->shard = fixture_shard(scene->store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
}

static void scene_start(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    /* {"p": bin 16 of the rest} */
    memcpy(scene->payload, "\x81\xa1p\xc5", 4);
    scene->payload[4] = (PAYLOAD_BYTES - 6) >> 8;
    scene->payload[5] = (PAYLOAD_BYTES - 6) & 255;
    scene_open(scene);
}

static void scene_close(struct scene *scene)
{
    ck_assert_int_eq(store_shard_close(scene->shard, false, ERROR_IGNORED), 0);
    store_close(scene->store);
}

/* A group of records of one window; ids and offsets count up. */
static void append(struct scene *scene, int64_t window)
{
    static float vector[FIXTURE_DIM];
    struct store_record records[GROUP_RECORDS];
    struct store_key keys[GROUP_RECORDS];
    struct store_group group = {.records = records, .record_count = GROUP_RECORDS};
    struct error error = {0};

    for (uint32_t i = 0; i < GROUP_RECORDS; i++) {
        store_key_from_u64(scene->next, &keys[i]);
        records[i] = (struct store_record){.key = keys[i].bytes,
                                           .key_bytes = keys[i].size_bytes,
                                           .offset = scene->next++,
                                           .event_time_ms = window * WINDOW_MS,
                                           .vector = vector,
                                           .payload = scene->payload,
                                           .payload_bytes = PAYLOAD_BYTES};
    }
    group.next_offset = scene->next;
    ck_assert_msg(store_shard_append(scene->shard, &group, &error) == 0, "%s", error.text);
}

static void append_bytes(struct scene *scene, int64_t window, uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes; done += GROUP_RECORDS * PAYLOAD_BYTES)
        append(scene, window);
}

static void check_all_there(struct scene *scene, uint32_t first)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(scene->shard, 0);
    struct store_key key;

    ck_assert_int_eq(store_shard_next_offset(scene->shard), scene->next);
    for (uint32_t i = first; i < scene->next; i++) {
        const struct store_source *source;
        uint32_t row;
        store_key_from_u64(i, &key);
        ck_assert_int_eq(
            store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, ERROR_IGNORED),
            0);
        ck_assert_int_eq(store_row_offset(source, row), i);
    }
    store_snapshot_release(snapshot);
}

/* Waits for what the preallocator does by itself; the limit is for hangs only. */
static bool soon(bool (*done)(struct scene *scene), struct scene *scene)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    for (int i = 0; i < 60000; i++) {
        if (done(scene))
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static bool active_log_has_all_its_bytes(struct scene *scene)
{
    struct log_file *log = log_space_active(&scene->shard->logs);
    bool done = log && atomic_load(&log->allocated_bytes) >= MEMTABLE_BYTES;

    log_file_unref(log);
    return done;
}

static bool spare_has_bytes(struct scene *scene)
{
    struct log_file *log = log_space_next_spare(&scene->shard->logs);
    bool done = log && atomic_load(&log->allocated_bytes) > 0;

    log_file_unref(log);
    return done;
}

START_TEST(zeros_lie_ahead_of_the_appender_in_the_log_and_in_the_next_one)
{
    static struct scene scene;
    struct stat info;

    scene_start(&scene);
    append_bytes(&scene, 1, MEMTABLE_BYTES / 2);
    ck_assert(soon(active_log_has_all_its_bytes, &scene));
    ck_assert(soon(spare_has_bytes, &scene));
    ck_assert_int_eq(stat(scene.shard->writer.active->log->path, &info), 0);
    ck_assert_uint_ge((uint64_t)info.st_size, MEMTABLE_BYTES);
    check_all_there(&scene, 0);
    scene_close(&scene);
    /* Zeros behind the last frame are no frame and no damage. */
    scene_open(&scene);
    check_all_there(&scene, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(logs_of_dropped_windows_are_written_again)
{
    static struct scene scene;
    uint64_t first_round = 0;

    scene_start(&scene);
    for (int64_t window = 1; window <= 12; window++) {
        uint32_t first = scene.next;
        append_bytes(&scene, window, MEMTABLE_BYTES);
        check_all_there(&scene, first);
        ck_assert_int_eq(compact_seal(scene.shard, window * WINDOW_MS, WINDOW_MS, 0, ERROR_IGNORED),
                         0);
        check_all_there(&scene, first);
        ck_assert_int_eq(
            store_shard_drop(scene.shard, window * WINDOW_MS, WINDOW_MS, "test", ERROR_IGNORED), 0);
        if (window == 4)
            first_round = atomic_load(&scene.shard->logs.bytes);
    }
    /* Not one file more than the first windows needed. */
    ck_assert_uint_gt(first_round, 0);
    ck_assert_uint_le(atomic_load(&scene.shard->logs.bytes), first_round + MEMTABLE_BYTES);
    scene_close(&scene);
}
END_TEST

START_TEST(many_large_logs_are_replayed_in_order)
{
    static struct scene scene;

    scene_start(&scene);
    append_bytes(&scene, 1, 5 * (uint64_t)MEMTABLE_BYTES);
    ck_assert_uint_ge(atomic_load(&scene.shard->writer.immutable_count), 4);
    scene_close(&scene);
    scene_open(&scene);
    check_all_there(&scene, 0);
    /* And again, with the logs that the replay left as they were. */
    append(&scene, 2);
    scene_close(&scene);
    scene_open(&scene);
    check_all_there(&scene, 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    check_all_there(&scene, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(large_log_that_is_missing_fails_the_opening)
{
    struct store_shard_options options = {.collection = "news",
                                          .name = "3",
                                          .dim = FIXTURE_DIM,
                                          .metric = VECTOR_METRIC_L2,
                                          .window_ms = WINDOW_MS};
    static struct scene scene;
    struct error error = {0};
    char path[LOG_PATH_BYTES];
    struct version *version;

    scene_start(&scene);
    append_bytes(&scene, 1, 3 * (uint64_t)MEMTABLE_BYTES);
    version = version_acquire(scene.shard);
    ck_assert_uint_ge(version->memtable_count, 3);
    snprintf(path, sizeof(path), "%s", version->memtables[1]->log->path);
    version_unref(version);
    scene_close(&scene);
    ck_assert_int_eq(remove(path), 0);
    scene.store = fixture_store(fixture_io(NULL), test_directory(), MEMTABLE_BYTES);
    ck_assert_int_eq(store_shard_open(scene.store, &options, &scene.shard, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "missing"), "%s", error.text);
    store_close(scene.store);
}
END_TEST

TEST_TABLE(TEST(zeros_lie_ahead_of_the_appender_in_the_log_and_in_the_next_one),
           TEST(logs_of_dropped_windows_are_written_again),
           TEST(many_large_logs_are_replayed_in_order),
           TEST(large_log_that_is_missing_fails_the_opening))
