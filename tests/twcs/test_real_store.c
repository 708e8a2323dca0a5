/* What twcs is told, and what becomes of its decisions, on the real store. */
#include <errno.h>
#include <stdatomic.h>

#include "store/append.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"
#include "twcs/twcs.h"

enum { HOUR = 3600000, TTL = 10 * HOUR };

#define START (INT64_C(1000) * HOUR)

struct scene {
    struct io *io;
    int64_t *wall_ms;
    struct store *store;
    struct store_shard *shard;
    struct arena arena;
    int64_t next_offset;
    int64_t ttl_ms;
    int64_t window_ms;
};

static void scene_open(struct scene *scene)
{
    scene->store = fixture_store(scene->io, test_directory(), UINT64_C(1) << 20);
    scene->shard =
        fixture_shard(scene->store, scene->window_ms, scene->ttl_ms, STORE_DURABILITY_LOG);
}

static void scene_create(struct scene *scene)
{
    *scene = (struct scene){.ttl_ms = TTL, .window_ms = HOUR};
    scene->io = fixture_io(&scene->wall_ms);
    *scene->wall_ms = START;
    arena_create(&scene->arena, 0);
    scene_open(scene);
}

static void scene_reopen(struct scene *scene)
{
    ck_assert_int_eq(store_shard_close(scene->shard, false, ERROR_IGNORED), 0);
    store_close(scene->store);
    scene_open(scene);
}

static void scene_destroy(struct scene *scene)
{
    ck_assert_int_eq(store_shard_close(scene->shard, true, ERROR_IGNORED), 0);
    store_close(scene->store);
    arena_destroy(&scene->arena);
}

static void append(struct scene *scene, struct fixture_group *group)
{
    struct error error = {0};

    ck_assert_msg(store_shard_append(scene->shard, &group->group, &error) == 0, "%s", error.text);
    scene->next_offset = group->group.next_offset;
}

static void put(struct scene *scene, uint32_t id, int64_t event_ms, int64_t ttl_ms)
{
    static struct fixture_group group;

    fixture_group_start(&group, scene->next_offset);
    fixture_group_put(&group, id, event_ms, ttl_ms, 8, false);
    append(scene, &group);
}

static void erase(struct scene *scene, uint32_t id)
{
    static struct fixture_group group;

    fixture_group_start(&group, scene->next_offset);
    fixture_group_delete(&group, id, false);
    append(scene, &group);
}

static const struct store_window_info *windows_of(struct scene *scene, size_t count)
{
    struct store_shard_info info;

    store_shard_describe(scene->shard, &scene->arena, &info);
    ck_assert_uint_eq(info.window_count, count);
    return info.windows;
}

static bool is_visible(struct scene *scene, uint32_t id, int64_t now_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(scene->shard, now_ms);
    const struct store_source *source;
    struct store_key key;
    uint32_t row;
    bool found;

    fixture_key(id, &key);
    found =
        store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, ERROR_IGNORED) == 0;
    store_snapshot_release(snapshot);
    return found;
}

static int drop_expired(struct scene *scene, int64_t now_ms)
{
    return store_shard_drop_expired(scene->shard, START, HOUR, now_ms, ERROR_IGNORED);
}

/* Peers took a file's age from its creation, so that a restore or a rebuild gave it a new life. */
START_TEST(the_largest_expiry_is_that_of_surviving_rows_through_every_recovery)
{
    struct scene scene;

    scene_create(&scene);
    put(&scene, 1, START + 1, 0);
    put(&scene, 2, START + 2, HOUR);
    put(&scene, 3, START + 3, 0);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 3 + TTL);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    erase(&scene, 3);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 1 + TTL);
    *scene.wall_ms += 5 * HOUR;
    scene_reopen(&scene);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 1 + TTL);
    erase(&scene, 1);
    /* A mask counts once it is durable. */
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(compact_seal(scene.shard, START, HOUR, START + HOUR / 2, ERROR_IGNORED), 0);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 2 + HOUR);
    scene_reopen(&scene);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 2 + HOUR);
    scene_destroy(&scene);
}
END_TEST

START_TEST(a_changed_ttl_moves_the_largest_expiry_of_data_that_exists)
{
    struct scene scene;

    scene_create(&scene);
    put(&scene, 1, START + 1, 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    store_shard_set_ttl(scene.shard, 2 * HOUR);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 1 + 2 * HOUR);
    ck_assert(!is_visible(&scene, 1, START + 1 + 2 * HOUR));
    store_shard_set_ttl(scene.shard, 20 * HOUR);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 1 + 20 * HOUR);
    ck_assert(is_visible(&scene, 1, START + 20 * HOUR));
    store_shard_set_ttl(scene.shard, 0);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, TWCS_NEVER);
    scene.ttl_ms = 3 * HOUR;
    scene_reopen(&scene);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, START + 1 + 3 * HOUR);
    scene_destroy(&scene);
}
END_TEST

START_TEST(a_records_own_ttl_hides_it_on_time_wherever_it_lies)
{
    struct scene scene;

    scene_create(&scene);
    put(&scene, 1, START + 5, HOUR);
    put(&scene, 2, START + 5, 100 * HOUR); /* cannot be longer than the collection's */
    for (int place = 0; place < 4; place++) {
        ck_assert(is_visible(&scene, 1, START + 5 + HOUR - 1));
        ck_assert(!is_visible(&scene, 1, START + 5 + HOUR));
        ck_assert(is_visible(&scene, 2, START + 5 + TTL - 1));
        ck_assert(!is_visible(&scene, 2, START + 5 + TTL));
        if (place == 0)
            ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
        if (place == 1)
            ck_assert_int_eq(compact_seal(scene.shard, START, HOUR, START + 6, ERROR_IGNORED), 0);
        if (place == 2)
            scene_reopen(&scene);
    }
    scene_destroy(&scene);
}
END_TEST

/* It came between the description that showed a window of expired rows and the drop. */
START_TEST(a_record_that_comes_while_its_window_goes_is_kept)
{
    struct scene scene;
    const int64_t now_ms = START + 1 + TTL;

    scene_create(&scene);
    put(&scene, 1, START + 1, 0);
    ck_assert_int_eq(windows_of(&scene, 1)->max_expiry_ms, now_ms);
    put(&scene, 2, START + 2, 0);
    ck_assert_int_eq(drop_expired(&scene, now_ms), ERROR_BUSY);
    ck_assert(is_visible(&scene, 2, now_ms));
    ck_assert_int_eq(drop_expired(&scene, now_ms + 1), 0);
    (void)windows_of(&scene, 0);
    scene_destroy(&scene);
}
END_TEST

START_TEST(a_window_whose_rows_were_all_deleted_may_go_but_not_with_a_new_one)
{
    struct scene scene;

    scene_create(&scene);
    put(&scene, 1, START + 1, 0);
    erase(&scene, 1);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    put(&scene, 2, START + 2, 0);
    ck_assert_int_eq(drop_expired(&scene, START + 3), ERROR_BUSY);
    ck_assert(is_visible(&scene, 2, START + 3));
    erase(&scene, 2);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(drop_expired(&scene, START + 3), 0);
    (void)windows_of(&scene, 0);
    scene_destroy(&scene);
}
END_TEST

/* Peers' files spanned windows and blocked the expiry of all that lay in them. */
START_TEST(a_flush_makes_one_run_a_window_also_after_the_length_changed)
{
    struct scene scene;
    const struct store_window_info *windows;

    scene_create(&scene);
    for (uint32_t i = 0; i < 6; i++)
        put(&scene, i, START + i * (HOUR / 2), 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    scene.window_ms = 3 * HOUR;
    scene_reopen(&scene);
    for (uint32_t i = 6; i < 12; i++)
        put(&scene, i, START + i * (HOUR / 2), 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    windows = windows_of(&scene, 3 + 2); /* START is 1 hour past a multiple of 3 */
    for (int i = 0; i < 5; i++) {
        int64_t length_ms = windows[i].length_ms;
        ck_assert_int_eq(windows[i].start_ms, twcs_window_start(windows[i].start_ms, length_ms));
        ck_assert_uint_eq(windows[i].chunk_count, 1);
        ck_assert_int_ge(windows[i].chunks[0].min_event_ms, windows[i].start_ms);
        ck_assert_int_lt(windows[i].chunks[0].max_event_ms, windows[i].start_ms + length_ms);
    }
    for (uint32_t i = 0; i < 12; i++)
        ck_assert(is_visible(&scene, i, START + 6 * HOUR));
    scene_destroy(&scene);
}
END_TEST

/* Past the cap with nothing to drop: records wait, time goes on. */
START_TEST(over_the_cap_records_wait_and_the_clock_moves)
{
    struct scene scene;
    static struct fixture_group group;

    scene_create(&scene);
    put(&scene, 1, START + 1, 0);
    ck_assert(!store_shard_set_over_cap(scene.shard, true));
    fixture_group_start(&group, scene.next_offset);
    fixture_group_put(&group, 2, START + 2, 0, 8, false);
    ck_assert_int_eq(store_shard_append(scene.shard, &group.group, ERROR_IGNORED), ERROR_BUSY);
    ck_assert_int_eq(store_shard_next_offset(scene.shard), scene.next_offset);
    fixture_group_start(&group, scene.next_offset);
    group.group.clock.watermark_ms = START + HOUR;
    append(&scene, &group);
    ck_assert_int_eq(store_shard_clock(scene.shard).watermark_ms, START + HOUR);
    ck_assert(store_shard_set_over_cap(scene.shard, false));
    put(&scene, 2, START + 2, 0);
    ck_assert(is_visible(&scene, 2, START + 3));
    scene_destroy(&scene);
}
END_TEST

START_TEST(the_clock_that_a_group_brought_is_there_after_recovery)
{
    struct scene scene;
    static struct fixture_group group;
    struct store_clock clock;

    scene_create(&scene);
    fixture_group_start(&group, 0);
    group.group.clock = (struct store_clock){
        .watermark_ms = START + 7, .last_record_wall_ms = START + 8, .safe_wall_ms = START + 9};
    append(&scene, &group);
    scene_reopen(&scene);
    clock = store_shard_clock(scene.shard);
    ck_assert_int_eq(clock.watermark_ms, START + 7);
    ck_assert_int_eq(clock.last_record_wall_ms, START + 8);
    ck_assert_int_eq(clock.safe_wall_ms, START + 9);
    scene_destroy(&scene);
}
END_TEST

/* The seal began before the records came, and its edit is written after theirs. */
START_TEST(a_seal_takes_no_clock_back)
{
    struct scene scene;
    static struct fixture_group group;
    const struct store_clock begun = {
        .watermark_ms = START + 1, .last_record_wall_ms = START + 20, .safe_wall_ms = START + 1};
    const struct store_compaction_request seal = {.kind = STORE_COMPACTION_SEAL,
                                                  .window_start_ms = START,
                                                  .window_length_ms = HOUR,
                                                  .now_ms = START + 6,
                                                  .clock = &begun};
    struct error error = {0};
    struct store_clock clock;

    scene_create(&scene);
    put(&scene, 1, START + 1, 0);
    fixture_group_start(&group, scene.next_offset);
    group.group.clock = (struct store_clock){
        .watermark_ms = START + 7, .last_record_wall_ms = START + 8, .safe_wall_ms = START + 9};
    append(&scene, &group);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_compact(scene.shard, &seal, NULL, &error), 0);
    scene_reopen(&scene);
    clock = store_shard_clock(scene.shard);
    ck_assert_int_eq(clock.watermark_ms, START + 7);
    ck_assert_int_eq(clock.last_record_wall_ms, START + 20);
    ck_assert_int_eq(clock.safe_wall_ms, START + 9);
    scene_destroy(&scene);
}
END_TEST

/* What an idle shard writes now and then, also while others append. */
START_TEST(the_safe_clock_is_kept_without_records)
{
    struct scene scene;
    static struct fixture_group group;
    struct store_clock clock;

    scene_create(&scene);
    fixture_group_start(&group, 0);
    group.group.clock = (struct store_clock){
        .watermark_ms = START + 7, .last_record_wall_ms = START + 8, .safe_wall_ms = START + 9};
    append(&scene, &group);
    ck_assert_int_eq(store_shard_keep_clock(scene.shard, START + 24 * HOUR, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_clock(scene.shard).safe_wall_ms, START + 24 * HOUR);
    scene_reopen(&scene);
    ck_assert_int_eq(store_shard_keep_clock(scene.shard, START + 10, ERROR_IGNORED),
                     0); /* not back */
    for (int i = 0; i < 2; i++) {
        clock = store_shard_clock(scene.shard);
        ck_assert_int_eq(clock.watermark_ms, START + 7);
        ck_assert_int_eq(clock.last_record_wall_ms, START + 8);
        ck_assert_int_eq(clock.safe_wall_ms, START + 24 * HOUR);
        scene_reopen(&scene);
    }
    scene_destroy(&scene);
}
END_TEST

static atomic_bool disk_is_full;

static int64_t full_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                           uint64_t offset)
{
    (void)io;
    if (atomic_load(&disk_is_full))
        return -ENOSPC;
    return io_posix()->operations->pwrite(io_posix(), file, bytes, size_bytes, offset);
}

/* A partition that waits for space reads nothing: its log never passes what fills the disk. */
START_TEST(a_full_disk_lets_expired_windows_go_that_waited_for_the_log)
{
    const int64_t written_ms = START + HOUR, now_ms = START + 12 * HOUR;
    struct scene scene;
    static struct fixture_group group;
    static struct io_operations operations;
    struct io io = {&operations};

    scene_create(&scene);
    store_shard_close(scene.shard, true, ERROR_IGNORED);
    store_close(scene.store);
    operations = *scene.io->operations;
    operations.pwrite = full_pwrite;
    scene.io = &io;
    scene_open(&scene);
    fixture_group_start(&group, 0);
    fixture_group_put(&group, 1, START + 1, 0, 8, false);
    group.group.clock = (struct store_clock){
        written_ms, written_ms, written_ms, {true, written_ms, written_ms, START + 1}};
    append(&scene, &group);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_expired_before_ms(scene.shard, now_ms), written_ms);
    ck_assert_int_eq(drop_expired(&scene, written_ms), ERROR_BUSY);
    atomic_store(&disk_is_full, true);
    fixture_group_start(&group, 1);
    fixture_group_put(&group, 2, now_ms, 0, 8, false);
    ck_assert_int_eq(store_shard_append(scene.shard, &group.group, ERROR_IGNORED), ERROR_NO_SPACE);
    ck_assert_int_eq(store_shard_expired_before_ms(scene.shard, now_ms), now_ms);
    atomic_store(&disk_is_full, false);
    ck_assert_int_eq(drop_expired(&scene, store_shard_expired_before_ms(scene.shard, now_ms)), 0);
    (void)windows_of(&scene, 0);
    scene_destroy(&scene);
}
END_TEST

TEST_TABLE(TEST(a_full_disk_lets_expired_windows_go_that_waited_for_the_log),
           TEST(the_safe_clock_is_kept_without_records),
           TEST(the_largest_expiry_is_that_of_surviving_rows_through_every_recovery),
           TEST(a_changed_ttl_moves_the_largest_expiry_of_data_that_exists),
           TEST(a_records_own_ttl_hides_it_on_time_wherever_it_lies),
           TEST(a_record_that_comes_while_its_window_goes_is_kept),
           TEST(a_window_whose_rows_were_all_deleted_may_go_but_not_with_a_new_one),
           TEST(a_flush_makes_one_run_a_window_also_after_the_length_changed),
           TEST(over_the_cap_records_wait_and_the_clock_moves),
           TEST(the_clock_that_a_group_brought_is_there_after_recovery),
           TEST(a_seal_takes_no_clock_back))
