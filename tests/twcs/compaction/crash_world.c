#include "tests/twcs/compaction/crash_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/compaction.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/test_main.h"

enum { MEMTABLE_BYTES = 48 * 1024, DECISIONS = 16, TURNS_MAX = 400 };

static uint64_t chance(struct crash_world *world, uint64_t of)
{
    return test_random(&world->random) % of;
}

/* Opening. */

static int open_store(struct crash_world *world, struct error *error)
{
    struct store_options store_options = {.data_dir = "/data",
                                          .memory_max_bytes = UINT64_C(1) << 26,
                                          .memtable_max_bytes = MEMTABLE_BYTES,
                                          .io = world->io};
    struct store_shard_options options = {.collection = "news",
                                          .name = "0",
                                          .dim = FIXTURE_DIM,
                                          .window_ms = world->collection.window_ms,
                                          .ttl_ms = CRASH_TTL_MS,
                                          .level0_files_max = TWCS_LEVEL0_FILES_MAX};
    int code;

    world->doing = CRASH_OPENING;
    code = store_open(&store_options, &world->store, error);
    if (code != 0) {
        world->store = NULL;
        return code;
    }
    code = store_shard_open(world->store, &options, &world->shard, error);
    if (code != 0)
        world->shard = NULL;
    return code;
}

void crash_world_create(struct crash_world *world, enum config_style style, bool windows,
                        uint64_t max_bytes, uint64_t seed)
{
    struct error error = {0};

    *world = (struct crash_world){.random = seed | 1,
                                  .wall_ms = 1000000,
                                  .watermark_ms = TWCS_NO_TIME,
                                  .model = {.next_offset = -1},
                                  .working_on_ms = INT64_MAX};
    world->collection = (struct config_collection){.name = "news",
                                                   .window_ms = windows ? CRASH_WINDOW_MS : 0,
                                                   .ttl_ms = CRASH_TTL_MS,
                                                   .max_future_ms = CRASH_STEP_MS,
                                                   .idle_timeout_ms = 60 * CRASH_STEP_MS,
                                                   .late_allowed_ms = CRASH_STEP_MS,
                                                   .max_bytes = max_bytes,
                                                   .compaction_style = style,
                                                   .max_space_amplification = 1.5,
                                                   .size_tiered_min_threshold = 4,
                                                   .size_tiered_max_threshold = 32,
                                                   .leveled_target_file_size_bytes = 8 * 1024,
                                                   .leveled_size_ratio = 4};
    for (int i = 0; i < CRASH_DOINGS; i++)
        world->span[i] = 8;
    arena_create(&world->arena, 0);
    world->disk = shadow_disk_new(seed);
    world->io = shadow_disk_io(world->disk);
    shadow_disk_set_wall_ms(world->disk, world->wall_ms);
    ck_assert_int_eq(io_make_directory(world->io, "", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_make_directory(world->io, "/data", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_sync_directory(world->io, "", ERROR_IGNORED), 0);
    ck_assert_msg(open_store(world, &error) == 0, "%s", error.text);
}

/* Crashing. */

static void verify(struct crash_world *world)
{
    struct buffer findings = {0};
    struct error error = {0};

    ck_assert_msg(store_verify(world->io, "/data", NULL, &findings, &error) == 0, "%s\n%s",
                  error.text, buffer_text(&findings));
    buffer_destroy(&findings);
}

/* The disk comes back and the store recovers; now and then it crashes in that, too. */
static void recover(struct crash_world *world)
{
    struct error error = {0};

    fixture_abandon(&world->store, &world->shard);
    world->tally.crashes[world->doing]++;
    world->all_flushed = false;
    for (bool again = true; again;) {
        if (chance(world, 4) == 0) {
            shadow_disk_kill_process(world->disk);
            world->tally.kills++;
        } else {
            shadow_disk_crash(world->disk);
        }
        if (chance(world, 4) == 0)
            shadow_disk_die_at(world->disk,
                               shadow_disk_operations(world->disk) + 1 + chance(world, 12));
        again = open_store(world, &error) != 0;
        ck_assert_msg(!again || shadow_disk_dead(world->disk), "%s", error.text);
        if (again || shadow_disk_dead(world->disk)) {
            world->tally.crashes[CRASH_OPENING]++;
            fixture_abandon(&world->store, &world->shard);
            again = true;
        }
    }
    shadow_disk_die_at(world->disk, SHADOW_NEVER);
    world->tally.done[CRASH_OPENING]++;
    (void)store_shard_set_over_cap(world->shard, world->starved);
    crash_check(world);
    world->working_on_ms = INT64_MAX;
    if (store_shard_compaction_behind(world->shard) || chance(world, 8) != 0)
        return;
    /* A log file without rows that count is not read: what a crash tore in its end is no finding.
     */
    ck_assert_msg(store_shard_flush(world->shard, &error) == 0, "%s", error.text);
    fixture_abandon(&world->store, &world->shard);
    verify(world);
    ck_assert_msg(open_store(world, &error) == 0, "%s", error.text);
    (void)store_shard_set_over_cap(world->shard, world->starved);
    crash_check(world);
}

/* With this much luck the disk dies in what comes now, at any of its operations alike. */
static uint64_t begin(struct crash_world *world, enum crash_doing doing, uint64_t one_in)
{
    uint64_t operations = shadow_disk_operations(world->disk);

    world->doing = doing;
    if (chance(world, one_in) == 0)
        shadow_disk_die_at(world->disk, operations + 1 + chance(world, world->span[doing] + 1));
    return operations;
}

/* Whether the process lives on. An error is one only if it does. */
static bool end(struct crash_world *world, uint64_t operations, int code, const struct error *error)
{
    uint64_t span = shadow_disk_operations(world->disk) - operations;

    shadow_disk_meanwhile(world->disk, NULL, NULL, NULL);
    if (shadow_disk_dead(world->disk)) {
        recover(world);
        return false;
    }
    shadow_disk_die_at(world->disk, SHADOW_NEVER);
    ck_assert_msg(code == 0, "doing %d: %s", (int)world->doing, error->text);
    world->span[world->doing] = span;
    world->tally.done[world->doing]++;
    return true;
}

/* What changes the visible state. */

static void open_change(struct crash_world *world)
{
    model_destroy(&world->maybe);
    model_copy(&world->maybe, &world->model);
    world->open_change = true;
}

static void settle_change(struct crash_world *world, bool happened)
{
    if (happened) {
        struct model former = world->model;
        world->model = world->maybe;
        world->maybe = former;
    }
    world->open_change = false;
}

/* Upserts, deletes and records with a TTL of their own, out of order, some windows back. */
static int append(struct crash_world *world, struct error *error)
{
    static struct fixture_group group;
    int64_t back_ms = chance(world, 4) == 0 ? 3 * CRASH_WINDOW_MS : 2 * CRASH_STEP_MS;
    int64_t watermark_ms = world->watermark_ms;
    int code;

    memset(&group, 0, sizeof(group));
    fixture_group_random(&group, &world->random, world->model.next_offset,
                         (uint32_t)chance(world, FIXTURE_GROUP_MAX), CRASH_IDS,
                         world->wall_ms - back_ms, world->wall_ms);
    for (size_t i = 0; i < group.group.record_count; i++) {
        struct store_record *record = &group.records[i];
        if (record->ttl_ms > 0)
            record->ttl_ms *= 1 + (int64_t)chance(world, 20);
        if (!record->is_delete && record->event_time_ms > watermark_ms)
            watermark_ms = record->event_time_ms;
    }
    group.group.clock = (struct store_clock){.watermark_ms = watermark_ms,
                                             .last_record_wall_ms = world->wall_ms,
                                             .safe_wall_ms = world->wall_ms};
    open_change(world);
    model_apply(&world->maybe, &group.group);
    code = store_shard_append(world->shard, &group.group, error);
    if (code == 0) {
        settle_change(world, true);
        world->watermark_ms = watermark_ms;
        world->all_flushed = false;
    } else if (code == ERROR_BUSY && !shadow_disk_dead(world->disk)) {
        settle_change(world, false); /* level 0 is full, or the cap is passed */
    }
    return code;
}

static int flush(struct crash_world *world, struct error *error)
{
    int code = store_shard_flush(world->shard, error);

    world->all_flushed = code == 0;
    return code;
}

/* Records go on to come, and may be flushed, while a merge writes its file. */
static void in_between(void *context)
{
    struct crash_world *world = context;

    if (append(world, ERROR_IGNORED) != 0)
        return;
    world->tally.meanwhile++;
    if (chance(world, 2) == 0 && !store_shard_compaction_behind(world->shard))
        (void)flush(world, ERROR_IGNORED);
}

/* One step. */

static bool records_come(struct crash_world *world)
{
    struct error error = {0};
    uint64_t operations = begin(world, CRASH_APPENDING, 30);
    int code = append(world, &error);

    if (code == ERROR_BUSY && !shadow_disk_dead(world->disk)) {
        ck_assert(world->starved || store_shard_compaction_behind(world->shard));
        code = 0;
    }
    if (!end(world, operations, code, &error))
        return false;
    if (store_shard_compaction_behind(world->shard) ||
        (!store_shard_needs_flush(world->shard) && chance(world, 3) != 0))
        return true;
    operations = begin(world, CRASH_FLUSHING, 8);
    code = flush(world, &error);
    return end(world, operations, code, &error);
}

static enum crash_doing doing_of(const struct twcs_decision *decision)
{
    switch (decision->action) {
    case TWCS_DROP_TTL:
        return CRASH_DROPPING;
    case TWCS_SEAL:
        return CRASH_SEALING;
    case TWCS_RESEAL:
        return CRASH_RESEALING;
    case TWCS_TIER:
        return CRASH_TIERING;
    case TWCS_COMPACT:
        break;
    }
    if (decision->reason == TWCS_REASON_EXPIRED)
        return CRASH_DROPPING;
    return decision->trivial_move ? CRASH_MOVING : CRASH_COMPACTING;
}

static bool carry_out(struct crash_world *world, const struct compaction_view *view,
                      const struct twcs_decision *decision)
{
    struct error error = {0};
    uint64_t meanwhile = world->tally.meanwhile;
    uint64_t operations;
    bool done;
    int code;

    crash_check_decision(world, view, decision);
    if (decision->action == TWCS_SEAL || decision->action == TWCS_RESEAL)
        world->working_on_ms = view->info.windows[decision->window].start_ms;
    if (!world->quiet && chance(world, 3) == 0)
        shadow_disk_meanwhile(world->disk, ".run", in_between, world);
    operations = begin(world, doing_of(decision), 4);
    code = compaction_execute(world->shard, view, decision, 1, NULL, NULL, &error);
    done = code == 0;
    if (!shadow_disk_dead(world->disk) && (code == ERROR_BUSY || code == ERROR_NOT_FOUND))
        code = 0; /* the view is no longer true: records came in between */
    if (!end(world, operations, code, &error))
        return false;
    crash_check(world);
    if (done && meanwhile == world->tally.meanwhile)
        crash_check_done(world, view, decision);
    world->working_on_ms = INT64_MAX;
    return true;
}

/* What the service does each time it looks, until nothing is due. */
static bool maintain(struct crash_world *world)
{
    struct twcs_decision decisions[DECISIONS];
    struct compaction_view view;

    for (int turn = 0;; turn++) {
        size_t count;
        arena_reset(&world->arena);
        compaction_describe(world->shard, &world->collection, world->wall_ms, &world->arena, &view);
        view.policy.max_jobs = 1;
        count = twcs_decide(&view.policy, &view.clock, view.windows, view.info.window_count,
                            decisions, DECISIONS);
        if (count == 0)
            break;
        ck_assert_int_lt(turn, TURNS_MAX); /* it comes to rest */
        for (size_t i = 0; i < count; i++)
            if (!carry_out(world, &view, &decisions[i]))
                return false;
    }
    crash_check_rest(world, &view);
    return true;
}

/* The byte cap, as the service keeps it. */
static size_t pick_for_cap(struct crash_world *world, struct compaction_view *view)
{
    struct twcs_fifo_window windows[CRASH_WINDOWS_MAX];

    arena_reset(&world->arena);
    compaction_describe(world->shard, &world->collection, world->wall_ms, &world->arena, view);
    ck_assert_uint_le(view->info.window_count, CRASH_WINDOWS_MAX);
    for (size_t i = 0; i < view->info.window_count; i++)
        windows[i] = (struct twcs_fifo_window){
            .end_ms = view->info.windows[i].start_ms + view->info.windows[i].length_ms,
            .bytes = view->info.windows[i].total_bytes,
            .open = !view->info.windows[i].sealed,
            .busy = view->info.windows[i].busy,
            .expired = view->info.windows[i].max_expiry_ms <= view->clock.safe_wall_ms};
    return twcs_fifo_pick(&view->policy, windows, view->info.window_count, view->info.total_bytes,
                          &world->starved);
}

static bool enforce_cap(struct crash_world *world)
{
    struct compaction_view view;
    size_t pick;

    while ((pick = pick_for_cap(world, &view)) != SIZE_MAX) {
        const struct store_window_info *window = &view.info.windows[pick];
        struct error error = {0};
        uint64_t operations = begin(world, CRASH_CAPPING, 3);
        int code;
        for (size_t i = 0; i < pick; i++) /* it is the oldest whole one */
            ck_assert(!view.info.windows[i].sealed);
        open_change(world);
        model_drop(&world->maybe, window->start_ms, window->length_ms);
        code = store_shard_drop(world->shard, window->start_ms, window->length_ms, "fifo", &error);
        if (code == 0)
            settle_change(world, true);
        if (!end(world, operations, code, &error))
            return false;
        crash_check(world);
    }
    for (size_t i = 0; i < view.info.window_count; i++)
        ck_assert(!world->starved || !view.info.windows[i].sealed);
    ck_assert(world->starved || world->collection.max_bytes == 0 ||
              view.info.total_bytes <= world->collection.max_bytes);
    (void)store_shard_set_over_cap(world->shard, world->starved);
    return true;
}

void crash_world_step(struct crash_world *world)
{
    world->wall_ms += 1 + (int64_t)chance(world, 2 * CRASH_STEP_MS);
    shadow_disk_set_wall_ms(world->disk, world->wall_ms);
    if (!records_come(world))
        return;
    crash_check(world);
    if (maintain(world))
        (void)enforce_cap(world);
}

/* The end. */

void crash_world_finish(struct crash_world *world)
{
    struct error error = {0};
    struct store_shard_info info;

    world->quiet = true;
    world->wall_ms += 2 * CRASH_TTL_MS;
    shadow_disk_set_wall_ms(world->disk, world->wall_ms);
    do
        ck_assert_msg(flush(world, &error) == 0, "%s", error.text);
    while (!maintain(world));
    store_shard_describe(world->shard, &world->arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        ck_assert_uint_eq(info.windows[i].chunk_count, 0);
        ck_assert(!info.windows[i].sealed);
    }
    ck_assert_msg(store_shard_close(world->shard, true, &error) == 0, "%s", error.text);
    store_close(world->store);
    verify(world);
    shadow_disk_delete(world->disk);
    model_destroy(&world->model);
    model_destroy(&world->maybe);
    arena_destroy(&world->arena);
}
