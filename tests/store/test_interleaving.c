/* What may happen in the middle of something else, made to happen there: records that replace rows
 * while these are being flushed, sealed, tiered or compacted, and a version that is replaced while
 * a snapshot is taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/shard.h"
#include "store/snapshot_internal.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, IDS = 12, REPLACED = 4, DELETED = 7 };

struct world {
    struct io io; /* first: calls `moment` once, when a file with the suffix is created */
    const char *suffix;
    void (*moment)(struct world *world);
    bool flush_in_moment;
    char data_dir[128];
    struct store *store;
    struct store_shard *shard;
    struct model model;
};

static struct io_operations operations;

static int hooked_open(struct io *io, const char *path, unsigned flags)
{
    struct world *world = (struct world *)io;
    size_t length = strlen(path);
    size_t suffix_length = world->suffix ? strlen(world->suffix) : 0;

    if (world->suffix && (flags & IO_CREATE) && length > suffix_length &&
        strcmp(path + length - suffix_length, world->suffix) == 0) {
        world->suffix = NULL;
        world->moment(world);
    }
    return io_posix()->operations->open(io, path, flags);
}

static void append(struct world *world, struct fixture_group *group)
{
    struct error error = {0};

    ck_assert_msg(store_shard_append(world->shard, &group->group, &error) == 0, "%s", error.text);
    model_apply(&world->model, &group->group);
}

static void flush(struct world *world)
{
    struct error error = {0};

    ck_assert_msg(store_shard_flush(world->shard, &error) == 0, "%s", error.text);
}

static void put_all(struct world *world, int64_t event_time_ms)
{
    static struct fixture_group group;

    fixture_group_start(&group, world->model.next_offset);
    group.group.record_count = 0;
    for (uint32_t id = 0; id < IDS; id++)
        fixture_group_put(&group, id, event_time_ms, 0, 40, false);
    append(world, &group);
}

/* One row moves to another window, one is deleted, one is replaced where it is. */
static void replace_some(struct world *world)
{
    static struct fixture_group group;

    fixture_group_start(&group, world->model.next_offset);
    group.group.record_count = 0;
    fixture_group_put(&group, REPLACED, 5 * WINDOW_MS, 0, 80, false);
    fixture_group_delete(&group, DELETED, false);
    fixture_group_put(&group, 1, 10, 0, 80, false);
    append(world, &group);
    if (world->flush_in_moment)
        flush(world);
}

static void open_world(struct world *world)
{
    world->store = fixture_store(&world->io, world->data_dir, 1 << 20);
    world->shard = fixture_shard(world->store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
}

static void close_world(struct world *world)
{
    struct error error = {0};

    ck_assert_msg(store_shard_close(world->shard, false, &error) == 0, "%s", error.text);
    store_close(world->store);
}

static void check(struct world *world, const char *when)
{
    const char *problem = fixture_check(world->shard, &world->model, 0, 0);

    ck_assert_msg(!problem, "%s: %s", when, problem);
}

/* A world with two chunks of one window, the second of which replaces half of the first. */
static void start(struct world *world)
{
    static int worlds;
    static struct fixture_group group;

    operations = *io_posix()->operations;
    operations.open = hooked_open;
    *world = (struct world){.io = {&operations}, .model = {.next_offset = -1}};
    (void)snprintf(world->data_dir, sizeof(world->data_dir), "%s/%d", test_directory(), worlds++);
    open_world(world);
    put_all(world, 10);
    flush(world);
    fixture_group_start(&group, world->model.next_offset);
    group.group.record_count = 0;
    for (uint32_t id = 0; id < IDS; id += 2)
        fixture_group_put(&group, id, 20, 0, 40, false);
    append(world, &group);
}

static int work_flush(struct world *world, struct error *error)
{
    return store_shard_flush(world->shard, error);
}

static int work_seal(struct world *world, struct error *error)
{
    return compact_seal(world->shard, 0, WINDOW_MS, 0, error);
}

static int work_tier(struct world *world, struct error *error)
{
    return compact_tier(world->shard, 0, WINDOW_MS, 2, error);
}

static int work_compact(struct world *world, struct error *error)
{
    struct store_shard_info info;
    struct arena arena;
    uint64_t numbers[2];
    int code;

    arena_create(&arena, 0);
    store_shard_describe(world->shard, &arena, &info);
    ck_assert_uint_eq(info.windows[0].chunk_count, 2);
    for (int i = 0; i < 2; i++)
        numbers[i] = info.windows[0].chunks[i].file_number;
    code = compact_merge(world->shard,
                         &(struct store_window_info){.start_ms = 0, .length_ms = WINDOW_MS},
                         numbers, 2, 1, 0, 0, 1, error);
    arena_destroy(&arena);
    return code;
}

/* Rows die while `work` writes a file with the suffix. Records that killed them are still in the
 * log when the world is opened again, or, flushed in between, are not: then only the edit that
 * brought the new file in can have said it. */
static void die_meanwhile(const char *suffix, int (*work)(struct world *, struct error *))
{
    for (int flushed = 0; flushed < 2; flushed++) {
        struct world world;
        struct store_snapshot *before;
        struct model model_before;
        struct error error = {0};
        const char *problem;
        if (work == work_flush && flushed)
            break; /* a flush waits for the one under way */
        start(&world);
        if (work != work_flush)
            flush(&world);
        model_copy(&model_before, &world.model);
        before = store_snapshot_acquire(world.shard, 0);
        world.flush_in_moment = flushed;
        world.moment = replace_some;
        world.suffix = suffix;
        ck_assert_msg(work(&world, &error) == 0, "%s", error.text);
        ck_assert_msg(!world.suffix, "no %s was written", suffix);
        check(&world, "after it");
        problem = fixture_compare(before, &model_before, 0, 0);
        ck_assert_msg(!problem, "a snapshot from before: %s", problem);
        store_snapshot_release(before);
        model_destroy(&model_before);
        close_world(&world);
        open_world(&world);
        ck_assert_ptr_null(store_shard_damage(world.shard));
        check(&world, "opened again");
        flush(&world);
        check(&world, "flushed");
        ck_assert_int_eq(compact_seal(world.shard, 0, WINDOW_MS, 0, ERROR_IGNORED), 0);
        check(&world, "sealed");
        for (int64_t start_ms = 0; start_ms <= 5 * WINDOW_MS; start_ms += 5 * WINDOW_MS)
            ck_assert_int_eq(store_shard_drop(world.shard, start_ms, WINDOW_MS, "test", &error), 0);
        model_drop(&world.model, 0, 6 * WINDOW_MS);
        check(&world, "dropped");
        model_destroy(&world.model);
        close_world(&world);
    }
}

START_TEST(rows_that_die_while_they_are_flushed_stay_dead)
{
    die_meanwhile(".chunk", work_flush);
}
END_TEST

START_TEST(rows_that_die_while_they_are_sealed_stay_dead)
{
    die_meanwhile(".run", work_seal);
}
END_TEST

START_TEST(rows_that_die_while_they_are_tiered_stay_dead)
{
    die_meanwhile(".run", work_tier);
}
END_TEST

START_TEST(rows_that_die_while_they_are_compacted_stay_dead)
{
    die_meanwhile(".run", work_compact);
}
END_TEST

/* A reader may learn of a memtable's rows before the offset that makes them visible. */
START_TEST(row_at_the_visible_offset_is_not_visible_yet)
{
    struct world world;
    struct store_snapshot *snapshot;
    struct store_source source;
    size_t count;

    start(&world);
    snapshot = store_snapshot_acquire(world.shard, 0);
    source = *store_snapshot_sources(snapshot, &count);
    ck_assert_int_eq(source.kind, STORE_SOURCE_MEMTABLE);
    put_all(&world, 30);
    for (uint32_t i = 0; i < IDS; i++) {
        ck_assert_int_eq(store_row_offset(&source, source.row_count + i),
                         store_snapshot_next_offset(snapshot) + i);
        ck_assert(!store_row_visible(snapshot, &source, source.row_count + i));
    }
    store_snapshot_release(snapshot);
    model_destroy(&world.model);
    close_world(&world);
}
END_TEST

/* Everything is replaced, in memtables that the version at hand does not have. */
static void replace_all(void *context)
{
    struct world *world = context;

    if (!world->moment)
        return;
    world->moment = NULL;
    flush(world);
    put_all(world, 30);
}

START_TEST(version_replaced_while_a_snapshot_is_taken_is_not_the_one_it_holds)
{
    struct world world;
    struct store_snapshot *snapshot;
    const char *problem;

    start(&world);
    world.moment = replace_some; /* any: it is time */
    snapshot = snapshot_acquire_between(world.shard, 0, replace_all, &world);
    ck_assert_ptr_null(world.moment);
    problem = fixture_compare(snapshot, &world.model, 0, 0);
    ck_assert_msg(!problem, "%s", problem);
    store_snapshot_release(snapshot);
    model_destroy(&world.model);
    close_world(&world);
}
END_TEST

TEST_TABLE(TEST(rows_that_die_while_they_are_flushed_stay_dead),
           TEST(rows_that_die_while_they_are_sealed_stay_dead),
           TEST(rows_that_die_while_they_are_tiered_stay_dead),
           TEST(rows_that_die_while_they_are_compacted_stay_dead),
           TEST(row_at_the_visible_offset_is_not_visible_yet),
           TEST(version_replaced_while_a_snapshot_is_taken_is_not_the_one_it_holds))
