/* A crash at any operation of a rebuild leaves the window wholly old or wholly new. The records it
 * is made of carry other payloads than the first time, so that a mixture would show. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/rebuild.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shadow_disk.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, NOW_MS = 1000000, GROUPS_MAX = 40, IDS = 90, RECORDS = 24 };
enum { OTHER_PAYLOAD_BYTES = 77, OUTCOMES = 2, SKIPPED_MAX = TEST_SANITIZED ? 8 : 1 };

struct world {
    struct shadow_disk *disk;
    struct io *io;
    struct store *store;
    struct store_shard *shard;
    uint64_t random;
    struct fixture_group *groups[GROUPS_MAX]; /* what Kafka has, and has shown */
    size_t group_count, acknowledged;
    int64_t start_ms;
    bool is_damaged;
};

static struct tally {
    uint64_t crashes, old, new, operations;
} tally;

/* A shard and its records. */

static int open_world(struct world *world, struct error *error)
{
    struct store_options store_options = {.data_dir = "/data",
                                          .memory_max_bytes = UINT64_C(1) << 26,
                                          .memtable_max_bytes = 64 * 1024,
                                          .io = world->io};
    struct store_shard_options options = {
        .collection = "news", .name = "3", .dim = FIXTURE_DIM, .window_ms = WINDOW_MS};
    int code = store_open(&store_options, &world->store, error);

    world->shard = NULL;
    if (code != 0)
        world->store = NULL;
    return code == 0 ? store_shard_open(world->store, &options, &world->shard, error) : code;
}

static void must_open(struct world *world)
{
    struct error error = {0};

    ck_assert_msg(open_world(world, &error) == 0, "%s", error.text);
}

static int append(struct world *world)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    int64_t next_offset = store_shard_next_offset(world->shard);
    int code;

    if (!group || world->group_count == GROUPS_MAX)
        abort();
    fixture_group_random(group, &world->random, next_offset, RECORDS, IDS, NOW_MS - 3 * WINDOW_MS,
                         NOW_MS);
    for (size_t i = 0; i < group->group.record_count; i++)
        group->records[i].ttl_ms = 0;
    world->groups[world->group_count++] = group;
    code = store_shard_append(world->shard, &group->group, ERROR_IGNORED);
    if (code == 0)
        world->acknowledged = world->group_count;
    return code;
}

/* The record as the rebuild reads it. */
static struct store_record read_again(const struct world *world, const struct store_record *record,
                                      uint8_t *payload)
{
    struct store_record other = *record;

    if (record->is_delete || record->event_time_ms < world->start_ms ||
        record->event_time_ms >= world->start_ms + WINDOW_MS)
        return other;
    fixture_payload(record->key, record->key_bytes, record->offset, OTHER_PAYLOAD_BYTES, payload);
    other.payload = payload;
    other.payload_bytes = OTHER_PAYLOAD_BYTES;
    return other;
}

/* Records of [from, to), as Kafka would be read. */
static int give(struct world *world, struct store_rebuild *rebuild, int64_t from, int64_t to)
{
    static uint8_t payloads[FIXTURE_GROUP_MAX][OTHER_PAYLOAD_BYTES];
    int code = 0;

    for (size_t i = 0; i < world->group_count && code == 0; i++) {
        const struct store_group *group = &world->groups[i]->group;
        struct store_record records[FIXTURE_GROUP_MAX];
        size_t count = 0;
        for (size_t k = 0; k < group->record_count; k++)
            if (group->records[k].offset >= from && group->records[k].offset < to) {
                records[count] = read_again(world, &group->records[k], payloads[count]);
                count++;
            }
        if (count > 0)
            code = store_rebuild_append(rebuild, records, count, records[count - 1].offset + 1,
                                        NULL, ERROR_IGNORED);
    }
    return code == 0 ? store_rebuild_append(rebuild, NULL, 0, to, NULL, ERROR_IGNORED) : code;
}

/* The rebuild. */

/* Records come at each step. Returns whether the swap was acknowledged; *replaced: the offset from
 * which records lie outside what it replaced. */
static bool rebuild_window(struct world *world, int64_t *replaced)
{
    struct store_rebuild *rebuild;
    int64_t from, to, next;
    int code;

    *replaced = store_shard_next_offset(world->shard);
    code = store_rebuild_begin(world->shard, world->start_ms, WINDOW_MS, &rebuild, &from, &to,
                               ERROR_IGNORED);
    if (code != 0)
        return false;
    ck_assert_int_eq(*replaced, to);
    code = append(world);
    if (code == 0)
        code = give(world, rebuild, from, to);
    if (code == 0)
        code = store_rebuild_write(rebuild, NOW_MS, NULL, &next, ERROR_IGNORED);
    if (code == 0)
        code = append(world);
    if (code == 0) {
        code = give(world, rebuild, to, next);
        to = next;
    }
    if (code == 0)
        code = store_rebuild_hold(rebuild, &next, ERROR_IGNORED);
    if (code == 0)
        code = give(world, rebuild, to, next);
    if (code == 0)
        code = store_rebuild_commit(rebuild, ERROR_IGNORED);
    store_rebuild_end(rebuild);
    return code == 0;
}

/* What may come back. */

/* The first `count` groups; rows of the window before offset `replaced` as the rebuild read them,
 * when `renewed`. */
static void replay(const struct world *world, size_t count, bool renewed, int64_t replaced,
                   struct model *model)
{
    *model = (struct model){.next_offset = -1};
    for (size_t i = 0; i < count; i++)
        model_apply(model, &world->groups[i]->group);
    for (size_t i = 0; i < model->count && renewed; i++) {
        struct model_row *row = &model->rows[i];
        if (row->offset < replaced && row->event_time_ms >= world->start_ms &&
            row->event_time_ms < world->start_ms + WINDOW_MS)
            row->payload_bytes = OTHER_PAYLOAD_BYTES;
    }
}

/* As many groups as the shard says it has: all that were acknowledged, perhaps the next. */
static size_t groups_there(const struct world *world)
{
    int64_t next_offset = store_shard_next_offset(world->shard);

    for (size_t i = world->acknowledged; i <= world->group_count && i > 0; i++)
        if (world->groups[i - 1]->group.next_offset == next_offset)
            return i;
    ck_abort_msg("next offset %" PRId64 " is no promise", next_offset);
}

static const char *compare(struct world *world, size_t count, bool renewed, int64_t replaced)
{
    struct model model;
    const char *problem;

    replay(world, count, renewed, replaced, &model);
    problem = fixture_check(world->shard, &model, NOW_MS, 0);
    model_destroy(&model);
    return problem;
}

static int find_shadow(void *context, const char *name)
{
    *(bool *)context |= strncmp(name, "rebuild~", 8) == 0;
    return 0;
}

/* Whether the window is the new one. */
static bool check(struct world *world, bool acknowledged, int64_t replaced)
{
    size_t count = groups_there(world);
    const char *problem = compare(world, count, true, replaced);
    bool is_new = problem == NULL;
    bool has_shadow = false;

    ck_assert_msg(is_new || !acknowledged, "a swap that was acknowledged is gone: %s", problem);
    if (is_new)
        ck_assert_ptr_null(store_shard_damage(world->shard));
    else if (world->is_damaged)
        ck_assert_ptr_nonnull(store_shard_damage(world->shard));
    else
        problem = compare(world, count, false, replaced);
    ck_assert_msg(is_new || world->is_damaged || !problem, "neither old nor new: %s", problem);
    ck_assert_int_eq(
        io_list(world->io, "/data/collections.d", find_shadow, &has_shadow, ERROR_IGNORED), 0);
    ck_assert(!has_shadow);
    return is_new;
}

/* Crashing. */

/* A byte of the footer turned over: the window is taken out at the next opening. */
static void damage(struct world *world, uint64_t file_number)
{
    char path[64];
    uint8_t byte;
    uint64_t size;
    int file;

    snprintf(path, sizeof(path), "/data/collections.d/news/3/%06" PRIu64 ".run", file_number);
    ck_assert_int_eq(io_open(world->io, path, IO_WRITE, &file, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_size(world->io, file, path, &size, ERROR_IGNORED), 0);
    ck_assert_uint_gt(size, 100);
    ck_assert_int_eq(io_read(world->io, file, path, &byte, 1, size - 100, ERROR_IGNORED), 0);
    byte ^= 0x40;
    ck_assert_int_eq(io_write(world->io, file, path, &byte, 1, size - 100, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_datasync(world->io, file, path, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_close(world->io, file, path, ERROR_IGNORED), 0);
}

/* A shard with a sealed window, late chunks, masks, and rows that are in no file yet; closed. */
static void create(struct world *world, uint64_t seed, bool is_damaged)
{
    struct store_shard_info info;
    struct arena arena;

    *world = (struct world){.random = seed | 1, .disk = shadow_disk_new(seed)};
    world->io = shadow_disk_io(world->disk);
    ck_assert_int_eq(io_make_directory(world->io, "", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_make_directory(world->io, "/data", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_sync_directory(world->io, "", ERROR_IGNORED), 0);
    must_open(world);
    arena_create(&arena, 0);
    for (int i = 0; i < 18; i++) {
        ck_assert_int_eq(append(world), 0);
        if (i % 5 == 4)
            ck_assert_int_eq(store_shard_flush(world->shard, ERROR_IGNORED), 0);
        if (i != 10)
            continue;
        store_shard_describe(world->shard, &arena, &info);
        world->start_ms = info.windows[1].start_ms;
        ck_assert_int_eq(
            compact_seal(world->shard, world->start_ms, WINDOW_MS, NOW_MS, ERROR_IGNORED), 0);
    }
    store_shard_describe(world->shard, &arena, &info);
    ck_assert(info.windows[1].sealed);
    fixture_abandon(&world->store, &world->shard);
    if (is_damaged)
        damage(world, info.windows[1].run.file_number);
    world->is_damaged = is_damaged;
    arena_destroy(&arena);
}

static void verify(struct world *world)
{
    struct buffer findings = {0};

    ck_assert_int_eq(store_shard_flush(world->shard, ERROR_IGNORED), 0);
    fixture_abandon(&world->store, &world->shard);
    ck_assert_msg(store_verify(world->io, "/data", NULL, &findings, ERROR_IGNORED) == 0, "%s",
                  buffer_text(&findings));
    buffer_destroy(&findings);
}

/* One rebuild that dies at `operation` of it. Returns whether it did; else it was whole. */
static bool crash_at(const struct world *origin, uint64_t operation, uint64_t seed)
{
    struct world world = *origin;
    int64_t replaced;
    bool acknowledged;
    bool was_dead;
    bool is_new;

    world.disk = shadow_disk_clone(origin->disk, seed);
    world.io = shadow_disk_io(world.disk);
    must_open(&world);
    shadow_disk_die_at(world.disk, shadow_disk_operations(world.disk) + operation);
    acknowledged = rebuild_window(&world, &replaced);
    was_dead = shadow_disk_dead(world.disk);
    ck_assert(was_dead || acknowledged);
    fixture_abandon(&world.store, &world.shard);
    if (seed % 4 == 0)
        shadow_disk_kill_process(world.disk);
    else
        shadow_disk_crash(world.disk);
    must_open(&world);
    is_new = check(&world, acknowledged, replaced);
    tally.crashes += was_dead;
    tally.new += was_dead &&is_new;
    tally.old += was_dead && !is_new;
    if (!is_new) { /* it can be done again */
        world.acknowledged = groups_there(&world);
        while (world.group_count > world.acknowledged)
            free(world.groups[--world.group_count]);
        ck_assert(rebuild_window(&world, &replaced));
        ck_assert(check(&world, true, replaced));
    }
    verify(&world);
    while (world.group_count > origin->group_count)
        free(world.groups[--world.group_count]);
    shadow_disk_delete(world.disk);
    return was_dead;
}

static void crash_everywhere(bool is_damaged)
{
    uint64_t random = test_seed();
    struct world *world = malloc(sizeof(*world));
    bool dead = true;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    ck_assert_ptr_nonnull(world);
    create(world, test_random(&random) >> 8, is_damaged);
    tally = (struct tally){0};
    for (uint64_t operation = 1; dead; operation += 1 + test_random(&random) % SKIPPED_MAX) {
        for (int i = 0; i < OUTCOMES; i++)
            dead = crash_at(world, operation, test_random(&random) >> 8);
        tally.operations = operation;
    }
    printf("%" PRIu64 " crashes in %" PRIu64 " operations: %" PRIu64 " old, %" PRIu64 " new\n",
           tally.crashes, tally.operations, tally.old, tally.new);
    ck_assert_uint_gt(tally.old, 0);
    ck_assert_uint_gt(tally.new, 0);
    for (size_t i = 0; i < world->group_count; i++)
        free(world->groups[i]);
    shadow_disk_delete(world->disk);
    free(world);
}

START_TEST(crash_at_any_operation_leaves_the_window_old_or_new)
{
    crash_everywhere(false);
}
END_TEST

START_TEST(crash_at_any_operation_leaves_the_window_damaged_or_whole)
{
    crash_everywhere(true);
}
END_TEST

TEST_TABLE(TEST(crash_at_any_operation_leaves_the_window_old_or_new),
           TEST(crash_at_any_operation_leaves_the_window_damaged_or_whole))
