/* A window made anew from its records answers as before, also when its files were damaged. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/rebuild.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, GROUPS_MAX = 120, IDS = 150, RECORDS = 24 };

struct world {
    struct io *io;
    int64_t *wall_ms;
    struct store *store;
    struct store_shard *shard;
    struct model model;
    uint64_t random;
    struct fixture_group *groups[GROUPS_MAX]; /* what Kafka has */
    size_t group_count;
};

static void open_world(struct world *world)
{
    world->store = fixture_store(world->io, test_directory(), 64 * 1024);
    world->shard = fixture_shard(world->store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
}

static void create(struct world *world)
{
    *world = (struct world){.model = {.next_offset = -1}, .random = test_seed() | 1};
    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    world->io = fixture_io(&world->wall_ms);
    open_world(world);
}

static void close_world(struct world *world)
{
    ck_assert_int_eq(store_shard_close(world->shard, true, ERROR_IGNORED), 0);
    store_close(world->store);
}

static void destroy(struct world *world)
{
    struct buffer findings = {0};

    close_world(world);
    ck_assert_msg(store_verify(world->io, test_directory(), NULL, &findings, ERROR_IGNORED) == 0,
                  "%s", buffer_text(&findings));
    buffer_destroy(&findings);
    for (size_t i = 0; i < world->group_count; i++)
        free(world->groups[i]);
    model_destroy(&world->model);
}

static void append(struct world *world)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct error error = {0};
    int64_t now_ms = *world->wall_ms;

    ck_assert_ptr_nonnull(group);
    ck_assert_uint_lt(world->group_count, GROUPS_MAX);
    fixture_group_random(group, &world->random, world->model.next_offset, RECORDS, IDS,
                         now_ms - 3 * WINDOW_MS, now_ms);
    ck_assert_msg(store_shard_append(world->shard, &group->group, &error) == 0, "%s", error.text);
    model_apply(&world->model, &group->group);
    world->groups[world->group_count++] = group;
    *world->wall_ms += 40;
}

static void check(struct world *world, const char *when)
{
    const char *problem = fixture_check(world->shard, &world->model, *world->wall_ms, 0);

    ck_assert_msg(!problem, "%s: %s", when, problem);
}

/* As Kafka would be read: the records of [from, to). */
static void give(struct world *world, struct store_rebuild *rebuild, int64_t from, int64_t to)
{
    struct error error = {0};

    for (size_t i = 0; i < world->group_count; i++) {
        const struct store_group *group = &world->groups[i]->group;
        size_t first = 0;
        size_t end = group->record_count;
        while (first < end && group->records[first].offset < from)
            first++;
        while (end > first && group->records[end - 1].offset >= to)
            end--;
        if (end > first)
            ck_assert_msg(store_rebuild_append(rebuild, group->records + first, end - first,
                                               group->records[end - 1].offset + 1, NULL,
                                               &error) == 0,
                          "%s", error.text);
    }
    ck_assert_int_eq(store_rebuild_append(rebuild, NULL, 0, to, NULL, &error), 0);
}

/* Records go on to arrive at each step. */
static void rebuild_window(struct world *world, int64_t start_ms)
{
    struct store_rebuild *rebuild;
    struct error error = {0};
    int64_t from, to, next;

    ck_assert_msg(
        store_rebuild_begin(world->shard, start_ms, WINDOW_MS, &rebuild, &from, &to, &error) == 0,
        "%s", error.text);
    append(world);
    give(world, rebuild, from, to);
    ck_assert_msg(store_rebuild_write(rebuild, *world->wall_ms, NULL, &next, &error) == 0, "%s",
                  error.text);
    append(world);
    give(world, rebuild, to, next);
    to = next;
    ck_assert_msg(store_rebuild_hold(rebuild, &next, &error) == 0, "%s", error.text);
    {
        const struct store_group idle = {.next_offset = world->model.next_offset + 1};
        ck_assert_int_eq(store_shard_append(world->shard, &idle, ERROR_IGNORED), ERROR_BUSY);
    }
    give(world, rebuild, to, next);
    ck_assert_msg(store_rebuild_commit(rebuild, &error) == 0, "%s", error.text);
    store_rebuild_end(rebuild);
    check(world, "rebuilt");
    append(world);
    check(world, "after the next records");
}

static void seal_some(struct world *world, struct arena *arena)
{
    struct store_shard_info info;

    store_shard_describe(world->shard, arena, &info);
    for (size_t i = 0; i < info.window_count; i++)
        if (test_random(&world->random) % 2)
            ck_assert_int_eq(compact_seal(world->shard, info.windows[i].start_ms, WINDOW_MS,
                                          *world->wall_ms, ERROR_IGNORED),
                             0);
}

START_TEST(window_made_anew_answers_as_before)
{
    struct store_shard_info info;
    struct world world;
    struct arena arena;

    create(&world);
    arena_create(&arena, 0);
    for (int i = 0; i < 60; i++) {
        append(&world);
        if (i % 10 == 9)
            ck_assert_int_eq(store_shard_flush(world.shard, ERROR_IGNORED), 0);
        if (i % 25 == 24)
            seal_some(&world, &arena);
    }
    store_shard_describe(world.shard, &arena, &info);
    ck_assert_uint_gt(info.window_count, 3);
    for (size_t i = 0; i < info.window_count && world.group_count + 8 < GROUPS_MAX; i++)
        rebuild_window(&world, info.windows[i].start_ms);
    close_world(&world);
    open_world(&world);
    check(&world, "opened again");
    arena_destroy(&arena);
    destroy(&world);
}
END_TEST

START_TEST(rebuild_given_up_changes_nothing)
{
    struct store_rebuild *rebuild;
    struct store_shard_info info;
    struct error error = {0};
    struct world world;
    struct arena arena;
    int64_t from, to;

    create(&world);
    arena_create(&arena, 0);
    for (int i = 0; i < 20; i++)
        append(&world);
    store_shard_describe(world.shard, &arena, &info);
    ck_assert_int_eq(store_rebuild_begin(world.shard, info.windows[0].start_ms, WINDOW_MS, &rebuild,
                                         &from, &to, &error),
                     0);
    ck_assert_int_eq(compact_seal(world.shard, info.windows[0].start_ms, WINDOW_MS, *world.wall_ms,
                                  ERROR_IGNORED),
                     ERROR_BUSY);
    /* Not all it needs. */
    give(&world, rebuild, from, from + (to - from) / 2);
    ck_assert_int_eq(store_rebuild_write(rebuild, 0, NULL, &to, &error), ERROR_INVALID);
    store_rebuild_end(rebuild);
    check(&world, "given up");
    append(&world);
    ck_assert_int_eq(
        store_rebuild_begin(world.shard, 77 * WINDOW_MS, WINDOW_MS, &rebuild, &from, &to, &error),
        ERROR_NOT_FOUND);
    arena_destroy(&arena);
    destroy(&world);
}
END_TEST

/* Turns a byte of the window's sealed run over; the next opening takes the window out. */
static void damage(struct world *world, const struct store_window_info *window)
{
    char path[400];
    uint8_t byte;
    off_t place;
    int file;

    snprintf(path, sizeof(path), "%s/%06" PRIu64 ".run", store_shard_directory(world->shard),
             window->run.file_number);
    close_world(world);
    file = open(path, O_RDWR);
    ck_assert_int_ge(file, 0);
    place = lseek(file, 0, SEEK_END) - 100; /* in the footer */
    ck_assert_int_eq(pread(file, &byte, 1, place), 1);
    byte ^= 0x40;
    ck_assert_int_eq(pwrite(file, &byte, 1, place), 1);
    ck_assert_int_eq(close(file), 0);
    open_world(world);
}

/* Of the windows the one that holds most: of an old one nothing may live. */
static int64_t fullest_start_ms(const struct store_shard_info *info)
{
    const struct store_window_info *found = &info->windows[0];

    for (size_t i = 1; i < info->window_count; i++)
        if (info->windows[i].live_rows > found->live_rows)
            found = &info->windows[i];
    return found->start_ms;
}

static const struct store_window_info *window_at(const struct store_shard_info *info,
                                                 int64_t start_ms)
{
    for (size_t i = 0; i < info->window_count; i++)
        if (info->windows[i].start_ms == start_ms)
            return &info->windows[i];
    ck_abort_msg("no window starts at %" PRId64, start_ms);
}

START_TEST(damaged_window_comes_back)
{
    struct store_shard_info info;
    struct world world;
    struct arena arena;
    int64_t start_ms;

    create(&world);
    arena_create(&arena, 0);
    for (int i = 0; i < 60; i++)
        append(&world);
    store_shard_describe(world.shard, &arena, &info);
    start_ms = fullest_start_ms(&info);
    ck_assert_int_eq(compact_seal(world.shard, start_ms, WINDOW_MS, *world.wall_ms, ERROR_IGNORED),
                     0);
    store_shard_describe(world.shard, &arena, &info);
    damage(&world, window_at(&info, start_ms));
    ck_assert_ptr_nonnull(store_shard_damage(world.shard));
    ck_assert_ptr_nonnull(fixture_check(world.shard, &world.model, *world.wall_ms, 0));
    store_shard_describe(world.shard, &arena, &info);
    ck_assert_uint_eq(info.damage_count, 1);
    ck_assert_int_eq(info.damages[0].start_ms, start_ms);
    append(&world);
    rebuild_window(&world, start_ms);
    ck_assert_ptr_null(store_shard_damage(world.shard));
    close_world(&world);
    open_world(&world);
    ck_assert_ptr_null(store_shard_damage(world.shard));
    check(&world, "opened again");
    arena_destroy(&arena);
    destroy(&world);
}
END_TEST

TEST_TABLE(TEST(window_made_anew_answers_as_before), TEST(rebuild_given_up_changes_nothing),
           TEST(damaged_window_comes_back))
