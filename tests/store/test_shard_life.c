/* Random lives of a shard, checked against a sorted array after every step. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, INPUTS_MAX = 64, HELD_MAX = 4, STEPS = 900 };

struct held {
    struct store_snapshot *snapshot;
    struct model model;
    int64_t now_ms;
};

struct life {
    uint64_t random;
    struct io *io;
    int64_t *wall_ms;
    struct store *store;
    struct store_shard *shard;
    enum store_durability durability;
    int64_t window_ms; /* 0: one window without bounds */
    int64_t ttl_ms;
    uint64_t memtable_max_bytes;
    uint32_t id_count;
    struct model model;
    struct held held[HELD_MAX];
    size_t held_count;
    unsigned step;
};

static int compare_bytes(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static void check(struct life *life, const char *what)
{
    const char *problem = fixture_check(life->shard, &life->model, *life->wall_ms, life->ttl_ms);

    ck_assert_msg(!problem, "step %u, after %s: %s", life->step, what, problem);
    for (size_t i = 0; i < life->held_count; i++) {
        problem = fixture_compare(life->held[i].snapshot, &life->held[i].model,
                                  life->held[i].now_ms, life->ttl_ms);
        ck_assert_msg(!problem, "step %u, after %s, held snapshot: %s", life->step, what, problem);
    }
}

static void release_held(struct life *life)
{
    while (life->held_count > 0) {
        struct held *held = &life->held[--life->held_count];
        store_snapshot_release(held->snapshot);
        model_destroy(&held->model);
    }
}

static void append(struct life *life)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct error error = {0};
    int64_t now = *life->wall_ms;
    uint32_t count = (uint32_t)(test_random(&life->random) % 20);

    fixture_group_random(group, &life->random, life->model.next_offset, count, life->id_count,
                         now - 4 * WINDOW_MS, now + 1);
    ck_assert_msg(store_shard_append(life->shard, &group->group, &error) == 0, "%s", error.text);
    model_apply(&life->model, &group->group);
    free(group);
    *life->wall_ms += (int64_t)(test_random(&life->random) % 60);
}

/* A window the shard knows, or false. */
static bool pick_window(struct life *life, struct arena *arena, struct store_window_info *window)
{
    struct store_shard_info info;

    store_shard_describe(life->shard, arena, &info);
    if (info.window_count == 0)
        return false;
    *window = info.windows[test_random(&life->random) % info.window_count];
    return true;
}

static uint64_t newest_file(struct life *life, struct arena *arena)
{
    struct store_shard_info info;
    uint64_t newest = 0;

    store_shard_describe(life->shard, arena, &info);
    for (size_t i = 0; i < info.window_count; i++)
        for (size_t j = 0; j < info.windows[i].chunk_count; j++)
            if (info.windows[i].chunks[j].file_number > newest)
                newest = info.windows[i].chunks[j].file_number;
    return newest;
}

static bool overlap(const struct store_file_info *a, const struct store_file_info *b)
{
    return compare_bytes(a->first_key, a->first_key_bytes, b->last_key, b->last_key_bytes) <= 0 &&
           compare_bytes(b->first_key, b->first_key_bytes, a->last_key, a->last_key_bytes) <= 0;
}

/* What a compaction wrote (files behind number `newest`) is in its level and shares no key. */
static void check_outputs(struct life *life, struct arena *arena, uint64_t newest, uint8_t level)
{
    struct store_shard_info info;

    store_shard_describe(life->shard, arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        const struct store_window_info *window = &info.windows[i];
        for (size_t j = 0; j < window->chunk_count; j++) {
            const struct store_file_info *file = &window->chunks[j];
            if (file->file_number <= newest)
                continue;
            ck_assert_uint_eq(file->level, level);
            for (size_t k = 0; k < j; k++)
                ck_assert(window->chunks[k].file_number <= newest ||
                          !overlap(file, &window->chunks[k]));
        }
    }
}

static void merge(struct life *life, struct arena *arena)
{
    struct store_window_info window;
    struct error error = {0};
    int code = 0;

    if (!pick_window(life, arena, &window))
        return;
    if (window.chunk_count > 1 && test_random(&life->random) % 2 == 0)
        code = compact_tier(life->shard, window.start_ms, window.length_ms,
                            2 + test_random(&life->random) % (window.chunk_count - 1), &error);
    else
        code = compact_seal(life->shard, window.start_ms, window.length_ms, *life->wall_ms, &error);
    ck_assert_msg(code == 0, "step %u: %s", life->step, error.text);
}

/* Any of the window's files into files of a few rows of some level, or one moved as it is. */
static void compact(struct life *life, struct arena *arena)
{
    struct store_window_info window;
    struct error error = {0};
    uint64_t numbers[INPUTS_MAX];
    uint8_t level = (uint8_t)(test_random(&life->random) % STORE_LEVELS);
    uint64_t newest = 0;
    size_t count = 0;
    int code;

    if (!pick_window(life, arena, &window))
        return;
    for (size_t i = 0; i < window.chunk_count && count < INPUTS_MAX; i++)
        if (test_random(&life->random) % 3)
            numbers[count++] = window.chunks[i].file_number;
    newest = newest_file(life, arena);
    if (count == 0)
        return;
    if (count == 1 && test_random(&life->random) % 2)
        code = compact_move(life->shard, &window, numbers[0], level, &error);
    else
        code = compact_merge(life->shard, &window, numbers, count, level,
                             test_random(&life->random) % 2 ? 2048 : 0, *life->wall_ms,
                             (unsigned)(1 + test_random(&life->random) % 3), &error);
    ck_assert_msg(code == 0, "step %u: %s", life->step, error.text);
    check_outputs(life, arena, newest, level);
}

static void drop(struct life *life, struct arena *arena)
{
    struct store_window_info window;
    struct error error = {0};

    if (!pick_window(life, arena, &window))
        return;
    ck_assert_msg(
        store_shard_drop(life->shard, window.start_ms, window.length_ms, "test", &error) == 0, "%s",
        error.text);
    model_drop(&life->model, window.start_ms, window.length_ms);
}

static void reopen(struct life *life)
{
    struct error error = {0};
    bool flush = life->durability == STORE_DURABILITY_KAFKA || test_random(&life->random) % 2;

    release_held(life);
    ck_assert_msg(store_shard_close(life->shard, flush, &error) == 0, "%s", error.text);
    store_close(life->store);
    life->store = fixture_store(life->io, test_directory(), life->memtable_max_bytes);
    life->shard = fixture_shard(life->store, life->window_ms, life->ttl_ms, life->durability);
    ck_assert_ptr_null(store_shard_damage(life->shard));
}

static void hold(struct life *life)
{
    struct held *held;

    if (life->held_count == HELD_MAX) {
        release_held(life);
        return;
    }
    held = &life->held[life->held_count++];
    held->now_ms = *life->wall_ms;
    held->snapshot = store_snapshot_acquire(life->shard, held->now_ms);
    model_copy(&held->model, &life->model);
}

static const char *step(struct life *life, struct arena *arena)
{
    struct error error = {0};
    uint64_t chance = test_random(&life->random) % 100;

    if (chance < 70) {
        append(life);
        return "append";
    }
    if (chance < 80) {
        ck_assert_msg(store_shard_flush(life->shard, &error) == 0, "%s", error.text);
        return "flush";
    }
    if (chance < 84 && life->window_ms > 0) {
        merge(life, arena);
        return "merge";
    }
    if (chance < 90) {
        compact(life, arena);
        return "compact";
    }
    if (chance < 91 + (life->window_ms > 0)) {
        drop(life, arena);
        return "drop";
    }
    if (chance < 94) {
        reopen(life);
        return "reopen";
    }
    hold(life);
    return "hold";
}

static void live(enum store_durability durability, int64_t window_ms, int64_t ttl_ms,
                 uint64_t memtable_max_bytes, uint32_t id_count)
{
    struct life life = {.random = test_seed(),
                        .durability = durability,
                        .window_ms = window_ms,
                        .ttl_ms = ttl_ms,
                        .memtable_max_bytes = memtable_max_bytes,
                        .id_count = id_count,
                        .model = {.next_offset = -1}};
    struct error error = {0};
    struct buffer findings = {0};
    struct arena arena;

    arena_create(&arena, 0);
    life.io = fixture_io(&life.wall_ms);
    life.store = fixture_store(life.io, test_directory(), memtable_max_bytes);
    life.shard = fixture_shard(life.store, window_ms, ttl_ms, durability);
    for (life.step = 0; life.step < STEPS; life.step++) {
        check(&life, step(&life, &arena));
        arena_reset(&arena);
    }
    release_held(&life);
    ck_assert_msg(store_shard_close(life.shard, true, &error) == 0, "%s", error.text);
    store_close(life.store);
    ck_assert_msg(store_verify(life.io, test_directory(), NULL, &findings, &error) == 0, "%s\n%s",
                  error.text, buffer_text(&findings));
    buffer_destroy(&findings);
    model_destroy(&life.model);
    arena_destroy(&arena);
}

START_TEST(random_life_answers_as_a_sorted_array_does)
{
    live(STORE_DURABILITY_LOG, WINDOW_MS, 0, 64 * 1024, 64);
}
END_TEST

START_TEST(random_life_without_windows_answers_as_a_sorted_array_does)
{
    live(STORE_DURABILITY_LOG, 0, 3500, 64 * 1024, 200);
}
END_TEST

START_TEST(random_life_with_ttl_answers_as_a_sorted_array_does)
{
    live(STORE_DURABILITY_LOG, WINDOW_MS, 3500, 32 * 1024, 200);
}
END_TEST

START_TEST(random_life_without_synced_log_answers_as_a_sorted_array_does)
{
    live(STORE_DURABILITY_KAFKA, WINDOW_MS, 0, 128 * 1024, 40);
}
END_TEST

TEST_TABLE(TEST(random_life_answers_as_a_sorted_array_does),
           TEST(random_life_without_windows_answers_as_a_sorted_array_does),
           TEST(random_life_with_ttl_answers_as_a_sorted_array_does),
           TEST(random_life_without_synced_log_answers_as_a_sorted_array_does))
