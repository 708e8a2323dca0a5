/* A backup is what the shard was at one instant, whatever the shard does later; and a crash leaves
 * either a whole backup or none. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/backup.h"
#include "store/store.h"
#include "store/tools/backup_folder.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shadow_disk.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, IDS = 150, RECORDS = 24, OUTCOMES = 2, SKIPPED = TEST_SANITIZED ? 5 : 2 };

struct world {
    struct io *io;
    int64_t wall_ms;
    int64_t *fixture_wall_ms; /* or NULL */
    char data_dir[PATH_MAX];
    struct store *store;
    struct store_shard *shard;
    struct model model;
    uint64_t random;
};

static void open_world(struct world *world)
{
    world->store = fixture_store(world->io, world->data_dir, 64 * 1024);
    world->shard = fixture_shard(world->store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
}

static void create(struct world *world)
{
    *world = (struct world){.model = {.next_offset = -1}, .random = test_seed() | 1};
    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    world->io = fixture_io(&world->fixture_wall_ms);
    world->wall_ms = *world->fixture_wall_ms;
    snprintf(world->data_dir, sizeof(world->data_dir), "%s/data", test_directory());
    open_world(world);
}

static void append(struct world *world)
{
    static struct fixture_group group;
    struct error error = {0};

    memset(&group, 0, sizeof(group));
    fixture_group_random(&group, &world->random, world->model.next_offset, RECORDS, IDS,
                         world->wall_ms - 3 * WINDOW_MS, world->wall_ms);
    for (size_t i = 0; i < group.group.record_count; i++)
        group.records[i].ttl_ms = 0;
    group.group.clock.safe_wall_ms = world->wall_ms;
    ck_assert_msg(store_shard_append(world->shard, &group.group, &error) == 0, "%s", error.text);
    model_apply(&world->model, &group.group);
    world->wall_ms += 40;
    if (world->fixture_wall_ms)
        *world->fixture_wall_ms = world->wall_ms;
}

static void check(struct world *world, const struct model *model, const char *when)
{
    const char *problem = fixture_check(world->shard, model, world->wall_ms, 0);

    ck_assert_msg(!problem, "%s: %s", when, problem);
}

/* Everything that is there now gets sealed: logs are written over afterwards, masks replaced. */
static void seal_all(struct world *world)
{
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(world->shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++)
        ck_assert_int_eq(compact_seal(world->shard, info.windows[i].start_ms,
                                      info.windows[i].length_ms, world->wall_ms, ERROR_IGNORED),
                         0);
    arena_destroy(&arena);
}

static int back_up(struct world *world, const char *folder, struct store_backup_shard *done,
                   struct error *error)
{
    char token[STORE_BACKUP_TOKEN_BYTES];
    int code = store_backup_begin(world->io, folder, token, error);

    *done = (struct store_backup_shard){0};
    if (code == 0)
        code = store_backup_check(world->io, folder, token, error);
    if (code == 0)
        code = store_shard_backup(world->shard, folder, NULL, done, error);
    return code == 0 ? store_backup_finish(world->io, folder, done, 1, error) : code;
}

static int restore(struct world *world, const char *folder, const char *data_dir,
                   struct error *error)
{
    size_t shards;
    uint64_t bytes;
    int code = store_restore(world->io, folder, data_dir, &shards, &bytes, error);

    ck_assert(code != 0 || (shards == 1 && bytes > 0));
    return code;
}

static void verify(struct world *world, const char *folder)
{
    struct buffer findings = {0};
    struct error error = {0};

    ck_assert_msg(store_verify(world->io, folder, NULL, &findings, &error) == 0, "%s: %s\n%s",
                  folder, error.text, buffer_text(&findings));
    buffer_destroy(&findings);
}

static const char *place(const char *name)
{
    static char paths[4][PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, PATH_MAX, "%s/%s", test_directory(), name);
    return path;
}

START_TEST(backup_stays_what_the_shard_was)
{
    struct store_backup_shard done;
    struct error error = {0};
    struct store_clock clock;
    struct model then = {0};
    struct world world;

    create(&world);
    for (int i = 0; i < 24; i++)
        append(&world);
    seal_all(&world);
    for (int i = 0; i < 12; i++)
        append(&world);
    model_copy(&then, &world.model);
    clock = store_shard_clock(world.shard);
    ck_assert_msg(back_up(&world, place("backup"), &done, &error) == 0, "%s", error.text);
    ck_assert_int_eq(done.next_offset, then.next_offset);
    ck_assert_uint_gt(done.bytes, done.copied_bytes); /* runs are links */
    ck_assert_uint_gt(done.copied_bytes, 0);          /* logs are not */
    for (int round = 0; round < 3; round++) {         /* the logs are used again and again */
        seal_all(&world);
        for (int i = 0; i < 24; i++)
            append(&world);
    }
    check(&world, &world.model, "the shard went on");
    ck_assert_int_eq(store_shard_close(world.shard, true, ERROR_IGNORED), 0);
    store_close(world.store);
    verify(&world, world.data_dir);
    verify(&world, place("backup"));

    ck_assert_msg(restore(&world, place("backup"), place("restored"), &error) == 0, "%s",
                  error.text);
    verify(&world, place("restored"));
    snprintf(world.data_dir, sizeof(world.data_dir), "%s", place("restored"));
    open_world(&world);
    check(&world, &then, "restored");
    ck_assert_int_eq(store_shard_next_offset(world.shard), then.next_offset);
    ck_assert_int_eq(store_shard_clock(world.shard).safe_wall_ms, clock.safe_wall_ms);
    ck_assert_int_eq(store_shard_clock(world.shard).watermark_ms, clock.watermark_ms);
    model_destroy(&world.model);
    world.model = then;
    for (int i = 0; i < 24; i++) /* and goes on itself; the backup knows nothing of it */
        append(&world);
    seal_all(&world);
    check(&world, &world.model, "the restored shard went on");
    fixture_abandon(&world.store, &world.shard);
    verify(&world, place("backup"));
    model_destroy(&world.model);
}
END_TEST

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(what_is_no_whole_backup_is_refused)
{
    static const char *const damages[] = {
        "",
        "windrow backup 1\n",
        "windrow backup 1\nnews 3 5\nend 0000000000000000\n",
    };
    char token[STORE_BACKUP_TOKEN_BYTES], path[PATH_MAX];
    struct store_backup_shard done;
    struct error error = {0};
    struct world world;

    create(&world);
    for (int i = 0; i < 10; i++)
        append(&world);
    ck_assert_msg(back_up(&world, place("backup"), &done, &error) == 0, "%s", error.text);
    /* Neither the one nor the other goes into a folder with something in it. */
    ck_assert_int_eq(store_backup_begin(world.io, place("backup"), token, &error), ERROR_EXISTS);
    ck_assert_int_eq(restore(&world, place("backup"), place("backup"), &error), ERROR_EXISTS);
    /* Without the token nobody writes there, and not again once it is finished. */
    ck_assert_int_eq(store_backup_begin(world.io, place("begun"), token, &error), 0);
    ck_assert_int_eq(store_backup_check(world.io, place("begun"), "", &error), ERROR_INVALID);
    ck_assert_int_eq(store_backup_check(world.io, place("begun"), token, &error), 0);
    ck_assert_int_eq(store_backup_check(world.io, place("backup"), token, &error), ERROR_INVALID);
    ck_assert_int_eq(restore(&world, place("begun"), place("restored"), &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "not a complete backup"), "%s", error.text);
    ck_assert_int_eq(restore(&world, place("nothing"), place("restored"), &error), ERROR_CORRUPT);
    ck_assert_int_ne(access(place("restored"), F_OK), 0);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        snprintf(path, sizeof(path), "%s/BACKUP", place("backup"));
        write_file(path, damages[i]);
        ck_assert_int_eq(restore(&world, place("backup"), place("restored"), &error),
                         ERROR_CORRUPT);
    }
    write_file(path, "windrow backup 2\nnews 3 5\nend 0000000000000000\n");
    ck_assert_int_eq(restore(&world, place("backup"), place("restored"), &error),
                     ERROR_UNSUPPORTED);
    ck_assert_msg(strstr(error.text, "BACKUP: format version 2: a newer windrow wrote it"), "%s",
                  error.text);
    fixture_abandon(&world.store, &world.shard);
    model_destroy(&world.model);
}
END_TEST

START_TEST(half_restored_folder_is_not_opened)
{
    struct store_options options = {.data_dir = place("restored")};
    struct store_backup_shard done;
    struct error error = {0};
    struct store *store;
    struct world world;
    char path[PATH_MAX];

    create(&world);
    for (int i = 0; i < 30; i++)
        append(&world);
    seal_all(&world);
    ck_assert_msg(back_up(&world, place("backup"), &done, &error) == 0, "%s", error.text);
    fixture_abandon(&world.store, &world.shard);
    snprintf(path, sizeof(path), "%s/news/3/CURRENT", place("backup"));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(restore(&world, place("backup"), options.data_dir, &error), ERROR_CORRUPT);
    ck_assert_int_eq(store_open(&options, &store, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "restore"), "%s", error.text);
    ck_assert_int_eq(restore(&world, place("backup"), options.data_dir, &error), ERROR_EXISTS);
    model_destroy(&world.model);
}
END_TEST

/* Crashes, on a disk in memory. */

static void create_in_memory(struct world *world, struct shadow_disk *disk, uint64_t seed)
{
    *world = (struct world){.model = {.next_offset = -1},
                            .random = seed,
                            .wall_ms = 1000000,
                            .io = shadow_disk_io(disk),
                            .data_dir = "/data"};
    shadow_disk_set_wall_ms(disk, world->wall_ms);
    ck_assert_int_eq(io_make_directory(world->io, "", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_sync_directory(world->io, "", ERROR_IGNORED), 0);
    open_world(world);
    for (int i = 0; i < 12; i++)
        append(world);
    seal_all(world);
    for (int i = 0; i < 6; i++)
        append(world);
    shadow_disk_set_wall_ms(disk, world->wall_ms);
}

/* What was finished is whole, what was not is refused, and the shard has lost nothing. */
static void check_after_crash(struct world *world, bool backed_up, bool restored)
{
    struct store_options options = {.data_dir = "/restored", .io = world->io};
    struct store *store;
    struct error error = {0};
    int code;

    open_world(world);
    check(world, &world->model, "the shard after the crash");
    fixture_abandon(&world->store, &world->shard);
    code = restore(world, "/backup", "/again", &error);
    ck_assert_msg(code == 0 || !backed_up, "a finished backup: %s", error.text);
    if (code == 0) {
        verify(world, "/again");
        snprintf(world->data_dir, sizeof(world->data_dir), "/again");
        open_world(world);
        check(world, &world->model, "restored");
        fixture_abandon(&world->store, &world->shard);
    }
    if (!restored)
        return;
    ck_assert_msg(store_open(&options, &store, &error) == 0, "%s", error.text);
    store_close(store);
    snprintf(world->data_dir, sizeof(world->data_dir), "/restored");
    open_world(world);
    check(world, &world->model, "restored before the crash");
    fixture_abandon(&world->store, &world->shard);
}

START_TEST(crash_leaves_a_whole_backup_or_none)
{
    uint64_t seed = test_seed() | 1;
    uint64_t random = seed;
    unsigned whole = 0, none = 0;
    bool dead = true;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    for (uint64_t step = 1; dead; step += 1 + test_random(&random) % SKIPPED) {
        for (int outcome = 0; outcome < OUTCOMES; outcome++) {
            struct shadow_disk *disk = shadow_disk_new(seed + step * OUTCOMES + (uint64_t)outcome);
            struct store_backup_shard done;
            struct world world;
            bool backed_up, restored;
            create_in_memory(&world, disk, seed);
            shadow_disk_die_at(disk, shadow_disk_operations(disk) + step);
            backed_up = back_up(&world, "/backup", &done, ERROR_IGNORED) == 0;
            restored = backed_up && restore(&world, "/backup", "/restored", ERROR_IGNORED) == 0;
            dead = shadow_disk_dead(disk);
            ck_assert(dead || restored);
            fixture_abandon(&world.store, &world.shard);
            shadow_disk_crash(disk);
            check_after_crash(&world, backed_up, restored);
            whole += backed_up;
            none += !backed_up;
            model_destroy(&world.model);
            shadow_disk_delete(disk);
        }
    }
    ck_assert_uint_gt(whole, 2);
    ck_assert_uint_gt(none, 10);
}
END_TEST

TEST_TABLE(TEST(backup_stays_what_the_shard_was), TEST(what_is_no_whole_backup_is_refused),
           TEST(half_restored_folder_is_not_opened), TEST(crash_leaves_a_whole_backup_or_none))
