/* Every compaction style from flushed chunks to expiry: the real store under simulated time, driven
 * by the decisions of twcs as the service drives it, checked against a sorted array. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"
#include "twcs/compaction/compaction.h"

enum { STEPS = 240, STEP_MS = 1000, WINDOW_MS = 20 * STEP_MS, TTL_MS = 80 * STEP_MS, IDS = 4000 };

struct style_case {
    enum config_style style;
    bool windows;
};

struct world {
    struct config_collection collection;
    struct model model;
    struct store *store;
    struct store_shard *shard;
    struct io *io;
    int64_t *wall_ms;
    uint64_t random;
    unsigned actions[TWCS_COMPACT + 1];
    unsigned moves;
    struct arena arena;
};

static void configure(struct world *world, const struct style_case *style)
{
    world->collection = (struct config_collection){.name = "news",
                                                   .window_ms = style->windows ? WINDOW_MS : 0,
                                                   .ttl_ms = TTL_MS,
                                                   .max_future_ms = STEP_MS,
                                                   .idle_timeout_ms = 60 * STEP_MS,
                                                   .late_allowed_ms = STEP_MS,
                                                   .compaction_style = style->style,
                                                   .max_space_amplification = 1.5,
                                                   .size_tiered_min_threshold = 4,
                                                   .size_tiered_max_threshold = 32,
                                                   .leveled_target_file_size_bytes = 16 * 1024,
                                                   .leveled_size_ratio = 4};
}

static void open_world(struct world *world)
{
    struct store_shard_options options = {.collection = "news",
                                          .name = "0",
                                          .dim = FIXTURE_DIM,
                                          .window_ms = world->collection.window_ms,
                                          .ttl_ms = TTL_MS,
                                          .level0_files_max = TWCS_LEVEL0_FILES_MAX};
    struct error error = {0};

    world->store = fixture_store(world->io, test_directory(), 64 * 1024);
    ck_assert_msg(store_shard_open(world->store, &options, &world->shard, &error) == 0, "%s",
                  error.text);
}

static void close_world(struct world *world)
{
    struct error error = {0};

    ck_assert_msg(store_shard_close(world->shard, true, &error) == 0, "%s", error.text);
    store_close(world->store);
}

static void check_invariants(const struct world *world, const struct compaction_view *view)
{
    enum config_style style = world->collection.compaction_style;

    for (size_t i = 0; i < view->info.window_count; i++) {
        const struct store_window_info *window = &view->info.windows[i];
        ck_assert(window->max_expiry_ms > view->clock.safe_wall_ms);
        ck_assert_int_eq(window->length_ms, world->collection.window_ms);
        if (style == CONFIG_STYLE_FIFO)
            ck_assert_uint_le(window->generation, 1);
        if (style == CONFIG_STYLE_LEVELED || style == CONFIG_STYLE_HYBRID)
            fixture_check_levels(window, style == CONFIG_STYLE_LEVELED ? 1 : 3);
        if (window->length_ms == 0) {
            size_t level0 = 0;
            for (size_t k = 0; k < window->chunk_count; k++)
                level0 += window->chunks[k].level == 0;
            ck_assert_uint_le(level0, TWCS_LEVEL0_FILES_MAX);
            ck_assert(!window->sealed);
        }
    }
}

/* What the service does each time it looks, until nothing is due. */
static void maintain(struct world *world)
{
    struct twcs_decision decisions[16];
    struct compaction_view view;

    for (int turn = 0;; turn++) {
        size_t count;
        arena_reset(&world->arena);
        compaction_describe(world->shard, &world->collection, *world->wall_ms, &world->arena,
                            &view);
        view.policy.max_jobs = 1;
        count = twcs_decide(&view.policy, &view.clock, view.windows, view.info.window_count,
                            decisions, 16);
        if (count == 0)
            break;
        ck_assert_int_lt(turn, 200); /* it comes to rest */
        for (size_t i = 0; i < count; i++) {
            struct error error = {0};
            ck_assert_msg(
                compaction_execute(world->shard, &view, &decisions[i], 2, NULL, NULL, &error) == 0,
                "%s", error.text);
            world->actions[decisions[i].action]++;
            world->moves += decisions[i].trivial_move;
        }
    }
    check_invariants(world, &view);
}

static void append(struct world *world)
{
    static struct fixture_group group;
    struct error error = {0};
    int64_t now_ms = *world->wall_ms;
    int code;

    memset(&group, 0, sizeof(group));
    fixture_group_random(&group, &world->random, world->model.next_offset, FIXTURE_GROUP_MAX, IDS,
                         now_ms - STEP_MS, now_ms);
    group.group.clock = (struct store_clock){
        .watermark_ms = now_ms, .last_record_wall_ms = now_ms, .safe_wall_ms = now_ms};
    code = store_shard_append(world->shard, &group.group, &error);
    ck_assert_msg(code == 0, "%s", error.text);
    model_apply(&world->model, &group.group);
}

static void check(struct world *world, int step)
{
    const char *problem = fixture_check(world->shard, &world->model, *world->wall_ms, TTL_MS);

    ck_assert_msg(!problem, "step %d: %s", step, problem);
}

/* Once nothing comes any more, everything goes: by windows, or by runs. */
static void expire(struct world *world)
{
    struct store_shard_info info;

    ck_assert_int_eq(store_shard_flush(world->shard, ERROR_IGNORED), 0);
    *world->wall_ms += 2 * TTL_MS;
    for (int day = 0; day < 2; day++) {
        struct store_clock clock = {.watermark_ms = *world->wall_ms,
                                    .last_record_wall_ms = *world->wall_ms,
                                    .safe_wall_ms = *world->wall_ms};
        struct store_group idle = {
            .next_offset = world->model.next_offset, .topic = world->model.topic, .clock = clock};
        ck_assert_int_eq(store_shard_append(world->shard, &idle, ERROR_IGNORED), 0);
        ck_assert_int_eq(store_shard_flush(world->shard, ERROR_IGNORED), 0);
        maintain(world);
    }
    store_shard_describe(world->shard, &world->arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        ck_assert_uint_eq(info.windows[i].chunk_count, 0);
        ck_assert(!info.windows[i].sealed);
    }
}

static void live(struct world *world, const struct style_case *style)
{
    uint64_t seed = test_seed();

    *world = (struct world){.model = {.next_offset = -1}, .random = seed | 1};
    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    configure(world, style);
    arena_create(&world->arena, 0);
    world->io = fixture_io(&world->wall_ms);
    open_world(world);
    for (int step = 0; step < STEPS; step++) {
        *world->wall_ms += STEP_MS;
        append(world);
        if (step % 4 == 3)
            ck_assert_int_eq(store_shard_flush(world->shard, ERROR_IGNORED), 0);
        maintain(world);
        if (step % 20 == 19)
            check(world, step);
        if (step % 80 == 79) {
            close_world(world);
            open_world(world);
            check(world, step);
        }
    }
    expire(world);
}

static void leave(struct world *world)
{
    struct buffer findings = {0};
    struct error error = {0};

    close_world(world);
    ck_assert_msg(store_verify(world->io, test_directory(), NULL, &findings, &error) == 0, "%s\n%s",
                  error.text, buffer_text(&findings));
    buffer_destroy(&findings);
    model_destroy(&world->model);
    arena_destroy(&world->arena);
}

START_TEST(time_windows_tier_seal_once_and_expire_whole)
{
    struct world world;

    live(&world, &(struct style_case){CONFIG_STYLE_TIME_WINDOW, true});
    ck_assert_uint_ge(world.actions[TWCS_SEAL], STEPS * STEP_MS / WINDOW_MS - 1);
    ck_assert_uint_gt(world.actions[TWCS_TIER], 0);
    ck_assert_uint_gt(world.actions[TWCS_DROP_TTL], 0);
    ck_assert_uint_eq(world.actions[TWCS_COMPACT], 0);
    leave(&world);
}
END_TEST

START_TEST(fifo_seals_each_window_once_and_rewrites_none)
{
    struct world world;

    live(&world, &(struct style_case){CONFIG_STYLE_FIFO, true});
    ck_assert_uint_ge(world.actions[TWCS_SEAL], STEPS * STEP_MS / WINDOW_MS - 1);
    ck_assert_uint_eq(world.actions[TWCS_TIER], 0);
    ck_assert_uint_eq(world.actions[TWCS_RESEAL], 0);
    ck_assert_uint_eq(world.actions[TWCS_COMPACT], 0);
    leave(&world);
}
END_TEST

static void compacts(enum config_style style, bool windows)
{
    struct world world;

    live(&world, &(struct style_case){style, windows});
    ck_assert_uint_gt(world.actions[TWCS_COMPACT], 5);
    ck_assert_uint_eq(world.actions[TWCS_SEAL] > 0, windows);
    leave(&world);
}

START_TEST(size_tiered_without_windows_keeps_few_runs)
{
    compacts(CONFIG_STYLE_SIZE_TIERED, false);
}
END_TEST

START_TEST(leveled_without_windows_keeps_its_levels_sorted)
{
    compacts(CONFIG_STYLE_LEVELED, false);
}
END_TEST

START_TEST(hybrid_without_windows_keeps_its_lower_levels_sorted)
{
    compacts(CONFIG_STYLE_HYBRID, false);
}
END_TEST

START_TEST(size_tiered_inside_windows_ends_with_the_seal)
{
    compacts(CONFIG_STYLE_SIZE_TIERED, true);
}
END_TEST

START_TEST(leveled_inside_windows_ends_with_the_seal)
{
    compacts(CONFIG_STYLE_LEVELED, true);
}
END_TEST

START_TEST(hybrid_inside_windows_ends_with_the_seal)
{
    compacts(CONFIG_STYLE_HYBRID, true);
}
END_TEST

TEST_TABLE(TEST(time_windows_tier_seal_once_and_expire_whole),
           TEST(fifo_seals_each_window_once_and_rewrites_none),
           TEST(size_tiered_without_windows_keeps_few_runs),
           TEST(leveled_without_windows_keeps_its_levels_sorted),
           TEST(hybrid_without_windows_keeps_its_lower_levels_sorted),
           TEST(size_tiered_inside_windows_ends_with_the_seal),
           TEST(leveled_inside_windows_ends_with_the_seal),
           TEST(hybrid_inside_windows_ends_with_the_seal))
