/* The promises, stated once more and in the plainest way: from the model and from what the store
 * says of its files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "tests/support/test_main.h"
#include "tests/twcs/compaction/crash_world.h"

/* Rows. */

static int64_t expiry_of(const struct model_row *row)
{
    int64_t ttl_ms = row->ttl_ms > 0 && row->ttl_ms < CRASH_TTL_MS ? row->ttl_ms : CRASH_TTL_MS;

    return row->event_time_ms + ttl_ms;
}

/* No unexpired row lost, no expired one visible. A change that a crash cut off happened or not. */
static void check_rows(struct crash_world *world)
{
    const char *problem = fixture_check(world->shard, &world->model, world->wall_ms, CRASH_TTL_MS);

    if (problem && world->open_change) {
        struct model former = world->model;
        world->model = world->maybe;
        world->maybe = former;
        problem = fixture_check(world->shard, &world->model, world->wall_ms, CRASH_TTL_MS);
    }
    world->open_change = false;
    ck_assert_msg(!problem, "after doing %d at %" PRId64 ": %s", (int)world->doing, world->wall_ms,
                  problem);
}

static void check_clock(struct crash_world *world)
{
    struct store_clock clock = store_shard_clock(world->shard);

    if (world->watermark_ms == TWCS_NO_TIME)
        return;
    ck_assert_int_ge(clock.watermark_ms, world->watermark_ms);
    ck_assert_int_le(clock.watermark_ms, world->wall_ms);
    world->watermark_ms = clock.watermark_ms;
}

/* Files. */

/* Files lie in their levels, no two of one number, and level 0 has a bound. */
static void check_levels(const struct crash_world *world, const struct store_window_info *window)
{
    enum config_style style = world->collection.compaction_style;
    uint8_t sorted_from = style == CONFIG_STYLE_LEVELED  ? 1
                          : style == CONFIG_STYLE_HYBRID ? 3
                                                         : STORE_LEVELS;
    size_t level0 = 0;

    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct store_file_info *a = &window->chunks[i];
        level0 += a->level == 0;
        for (size_t j = 0; j < i && !window->sealed; j++)
            ck_assert_uint_ne(a->file_number, window->chunks[j].file_number);
    }
    if (!window->sealed)
        fixture_check_levels(window, sorted_from);
    ck_assert(window->length_ms > 0 || level0 <= TWCS_LEVEL0_FILES_MAX);
}

static void check_file(const struct store_window_info *window, const struct store_file_info *file)
{
    if (window->length_ms == 0)
        return;
    ck_assert_int_ge(file->min_event_ms, window->start_ms);
    ck_assert_int_lt(file->max_event_ms, window->start_ms + window->length_ms);
}

/* Windows are covered once: none twice, none overlapping, no row outside its own. */
static void check_windows(const struct crash_world *world, const struct store_shard_info *info)
{
    ck_assert_uint_eq(info->damage_count, 0);
    for (size_t i = 0; i < info->window_count; i++) {
        const struct store_window_info *window = &info->windows[i];
        ck_assert_int_eq(window->length_ms, world->collection.window_ms);
        ck_assert_int_eq(window->start_ms, twcs_window_start(window->start_ms, window->length_ms));
        ck_assert(!window->busy);
        ck_assert(!window->sealed || window->length_ms > 0);
        if (i > 0)
            ck_assert_int_ge(window->start_ms, info->windows[i - 1].start_ms + window->length_ms);
        if (window->sealed)
            check_file(window, &window->run);
        for (size_t k = 0; k < window->chunk_count; k++)
            check_file(window, &window->chunks[k]);
        check_levels(world, window);
    }
}

struct files {
    const struct store_shard_info *info;
    size_t count;
};

static int count_file(void *context, const char *name)
{
    struct files *files = context;
    const char *suffix = strrchr(name, '.');
    uint64_t number = strtoull(name, NULL, 10);
    bool known = false;

    if (!suffix || (strcmp(suffix, ".run") != 0 && strcmp(suffix, ".chunk") != 0))
        return 0;
    for (size_t i = 0; i < files->info->window_count; i++) {
        const struct store_window_info *window = &files->info->windows[i];
        known |= window->sealed && window->run.file_number == number;
        for (size_t k = 0; k < window->chunk_count; k++)
            known |= window->chunks[k].file_number == number;
    }
    ck_assert_msg(known, "%s belongs to no window", name);
    files->count++;
    return 0;
}

/* Inputs and drops are gone from the disk, and nothing half written stays: every byte counts. */
static void check_directory(struct crash_world *world, const struct store_shard_info *info)
{
    struct files files = {.info = info};
    size_t expected = 0;

    for (size_t i = 0; i < info->window_count; i++)
        expected += info->windows[i].chunk_count + info->windows[i].sealed;
    ck_assert_int_eq(
        io_list(world->io, "/data/collections.d/news/0", count_file, &files, ERROR_IGNORED), 0);
    ck_assert_uint_eq(files.count, expected);
}

/* Majors. */

static const struct store_window_info *find_window(const struct store_shard_info *info,
                                                   int64_t start_ms)
{
    for (size_t i = 0; i < info->window_count; i++)
        if (info->windows[i].start_ms == start_ms)
            return &info->windows[i];
    return NULL;
}

static struct crash_window *known_window(struct crash_world *world, int64_t start_ms)
{
    for (size_t i = 0; i < world->window_count; i++)
        if (world->windows[i].start_ms == start_ms)
            return &world->windows[i];
    return NULL;
}

/* A major that was acknowledged is never undone or done again unasked. The one under way adds one
 * to the generation, or not; one that leaves no row takes the run away. */
static void check_majors(struct crash_world *world, const struct store_shard_info *info)
{
    size_t kept = 0;

    for (size_t i = 0; i < world->window_count; i++) {
        struct crash_window known = world->windows[i];
        const struct store_window_info *window = find_window(info, known.start_ms);
        bool working = world->working_on_ms == known.start_ms;
        if (!window)
            continue; /* dropped: check_rows has seen that nothing is missing */
        if (window->sealed) {
            /* The first one of a window that was dropped before counts on from there. */
            ck_assert(known.generation > 0 || working);
            ck_assert_uint_ge(window->generation, known.generation);
            ck_assert(known.generation == 0 ||
                      window->generation <= known.generation + (working ? 1 : 0));
            known.generation = window->generation;
        } else {
            ck_assert(known.generation == 0 || working);
            known.generation = 0;
        }
        world->windows[kept++] = known;
    }
    world->window_count = kept;
    for (size_t i = 0; i < info->window_count; i++) {
        const struct store_window_info *window = &info->windows[i];
        if (known_window(world, window->start_ms))
            continue;
        ck_assert_uint_eq(window->generation, 0);
        ck_assert_uint_lt(world->window_count, CRASH_WINDOWS_MAX);
        world->windows[world->window_count++] = (struct crash_window){.start_ms = window->start_ms};
    }
}

void crash_check(struct crash_world *world)
{
    struct store_shard_info info;
    struct arena arena;

    world->tally.checks++;
    arena_create(&arena, 0);
    check_rows(world);
    check_clock(world);
    store_shard_describe(world->shard, &arena, &info);
    check_windows(world, &info);
    check_majors(world, &info);
    check_directory(world, &info);
    arena_destroy(&arena);
}

/* Whether the file was there before and was no input. */
static bool is_bystander(const struct store_window_info *before,
                         const struct twcs_decision *decision, uint64_t file_number)
{
    for (size_t i = 0; i < before->chunk_count; i++) {
        bool is_input = false;
        if (before->chunks[i].file_number != file_number)
            continue;
        for (uint32_t k = 0; k < decision->input_count; k++)
            is_input |= decision->inputs[k] == i;
        ck_assert_msg(!is_input || decision->trivial_move, "an input of a merge is still there");
        return !is_input;
    }
    return false;
}

/* Whether the file was flushed meanwhile: all of it is newer than what was there before. */
static bool is_newcomer(const struct store_window_info *before, const struct store_file_info *file)
{
    for (size_t i = 0; i < before->chunk_count; i++)
        if (file->min_offset <= before->chunks[i].max_offset)
            return false;
    return file->level == 0;
}

void crash_check_done(struct crash_world *world, const struct compaction_view *before,
                      const struct twcs_decision *decision)
{
    const struct store_window_info *former = &before->info.windows[decision->window];
    const struct store_window_info *window;
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(world->shard, &arena, &info);
    window = find_window(&info, former->start_ms);
    if (window && (decision->action == TWCS_SEAL || decision->action == TWCS_RESEAL)) {
        ck_assert(window->sealed);
        ck_assert_uint_eq(window->chunk_count, 0);
        ck_assert_uint_eq(window->memtable_rows, 0);
    }
    for (size_t i = 0; window && decision->action == TWCS_COMPACT && i < window->chunk_count; i++)
        if (!is_bystander(former, decision, window->chunks[i].file_number) &&
            !is_newcomer(former, &window->chunks[i]))
            ck_assert_uint_eq(window->chunks[i].level, decision->output_level);
    ck_assert(!window || decision->action != TWCS_DROP_TTL);
    arena_destroy(&arena);
}

/* When nothing is due. */

/* What the store says of a window's rows is what the model knows of them. */
static void check_account(const struct crash_world *world, const struct store_window_info *window)
{
    int64_t max_expiry_ms = INT64_MIN;
    uint64_t rows = 0, unexpired = 0, stored = 0, dead = 0;

    for (size_t i = 0; i < world->model.count; i++) {
        const struct model_row *row = &world->model.rows[i];
        if (window->length_ms > 0 && (row->event_time_ms < window->start_ms ||
                                      row->event_time_ms >= window->start_ms + window->length_ms))
            continue;
        rows++;
        unexpired += expiry_of(row) > world->wall_ms;
        if (expiry_of(row) > max_expiry_ms)
            max_expiry_ms = expiry_of(row);
    }
    for (size_t i = 0; i < window->chunk_count; i++) {
        stored += window->chunks[i].rows;
        dead += window->chunks[i].dead_rows;
    }
    if (window->sealed) {
        stored += window->run.rows;
        dead += window->run.dead_rows;
    }
    ck_assert_uint_eq(window->memtable_rows, 0);
    ck_assert_uint_eq(stored - dead, window->live_rows);
    ck_assert_uint_ge(window->live_rows, unexpired);
    ck_assert_uint_le(window->live_rows, rows);
    /* A few newly dead rows may count until more have died, rows that never were do not. */
    ck_assert_int_ge(window->max_expiry_ms, max_expiry_ms);
    ck_assert_int_le(window->max_expiry_ms, window->max_event_ms + CRASH_TTL_MS);
}

/* Bytes stored over bytes of rows that are neither masked nor, as far as a run's event times tell,
 * expired. */
static void check_space(const struct crash_world *world, const struct store_window_info *window)
{
    double oldest_ms = (double)(world->wall_ms - CRASH_TTL_MS);
    double stored_bytes = 0, live_bytes = 0;

    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct store_file_info *file = &window->chunks[i];
        double span_ms = (double)(file->max_event_ms - file->min_event_ms);
        double share = 1 - (double)file->dead_rows / (double)file->rows;
        if ((double)file->min_event_ms <= oldest_ms && span_ms > 0)
            share *= 1 - (oldest_ms - (double)file->min_event_ms) / span_ms;
        stored_bytes += (double)file->bytes;
        live_bytes += (double)file->bytes * (share > 0 ? share : 0);
    }
    ck_assert_double_le(stored_bytes,
                        world->collection.max_space_amplification * live_bytes * 1.0001);
}

void crash_check_rest(struct crash_world *world, const struct compaction_view *view)
{
    enum config_style style = world->collection.compaction_style;

    for (size_t i = 0; i < view->info.window_count; i++) {
        const struct store_window_info *window = &view->info.windows[i];
        bool closed = window->length_ms > 0 &&
                      view->clock.watermark_ms >=
                          window->start_ms + window->length_ms + world->collection.late_allowed_ms;
        if (window->chunk_count > 0 || window->sealed || window->length_ms > 0)
            ck_assert_int_gt(window->max_expiry_ms, world->wall_ms);
        ck_assert(window->sealed || !closed);
        if (style >= CONFIG_STYLE_SIZE_TIERED && !window->sealed)
            check_space(world, window);
        if (world->all_flushed)
            check_account(world, window);
    }
}

/* Decisions. */

void crash_check_decision(struct crash_world *world, const struct compaction_view *view,
                          const struct twcs_decision *decision)
{
    const struct store_window_info *window = &view->info.windows[decision->window];
    const struct crash_window *known = known_window(world, window->start_ms);
    int64_t end_ms = window->start_ms + window->length_ms;

    ck_assert(window->length_ms > 0 || decision->action == TWCS_COMPACT);
    if (world->collection.compaction_style == CONFIG_STYLE_FIFO) /* nothing is written twice */
        ck_assert(decision->action == TWCS_SEAL || decision->action == TWCS_DROP_TTL);
    switch (decision->action) {
    case TWCS_SEAL: /* once, whatever crashed meanwhile */
        ck_assert(!known || known->generation == 0);
        ck_assert_int_ge(view->clock.watermark_ms, end_ms + world->collection.late_allowed_ms);
        break;
    case TWCS_RESEAL:
        ck_assert(known && known->generation > 0);
        break;
    case TWCS_DROP_TTL:
        for (size_t i = 0; i < world->model.count; i++) {
            const struct model_row *row = &world->model.rows[i];
            ck_assert(row->event_time_ms < window->start_ms || row->event_time_ms >= end_ms ||
                      expiry_of(row) <= world->wall_ms);
        }
        break;
    case TWCS_TIER:
    case TWCS_COMPACT:
        break;
    }
}
