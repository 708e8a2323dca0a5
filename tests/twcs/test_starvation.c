/* A shard whose one background job is as good as always at work: seals, tiers of an open window and
 * late data of sealed ones compete for it, and each comes to its turn. */
#include <stdio.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "tests/twcs/clock.h"
#include "twcs/twcs.h"

enum {
    MINUTE_MS = 60000,
    HOUR_MS = 60 * MINUTE_MS,
    TTL_HOURS = 12,
    ROUNDS = 10 * 24 * 60, /* of a minute each: ten days */
    WINDOWS_MAX = TTL_HOURS + 4,
    CHUNKS_MAX = 256,
    DECISIONS_MAX = 32,
    SEAL_WAIT_MAX = 90, /* in minutes; over 300 seeds 24 and 213 were the longest */
    DEBT_WAIT_MAX = 480
};

#define MIB            (UINT64_C(1) << 20)
#define CHUNK_BYTES    (10 * MIB)
#define BYTES_A_MINUTE (40 * MIB) /* what the job merges */

struct one_window {
    struct twcs_run chunks[CHUNKS_MAX];
    int64_t due_since; /* round; -1: nothing is */
    bool due_seal;     /* what is due is its seal */
};

struct scene {
    uint64_t random;
    struct twcs_policy policy;
    struct twcs_clock clock;
    struct one_window own[WINDOWS_MAX];
    struct twcs_window windows[WINDOWS_MAX];
    size_t count;
    uint64_t next_file;
    int64_t round;
    /* The job. */
    int64_t job_start_ms; /* window; only while rounds_left > 0 */
    int64_t rounds_left;
    struct twcs_decision decision;
    size_t chunks_taken;
    /* What happened. */
    int64_t seals, tiers, reseals, busy_rounds, seal_wait, debt_wait;
};

static uint64_t below(struct scene *scene, uint64_t limit)
{
    return test_random(&scene->random) % limit;
}

static void add_chunk(struct scene *scene, size_t index)
{
    struct twcs_window *window = &scene->windows[index];

    ck_assert_uint_lt(window->chunk_count, CHUNKS_MAX);
    scene->own[index].chunks[window->chunk_count++] =
        (struct twcs_run){.file_number = scene->next_file++,
                          .bytes = CHUNK_BYTES / 2 + below(scene, CHUNK_BYTES),
                          .rows = 1000,
                          .max_expiry_ms = window->max_expiry_ms};
    window->last_arrival_wall_ms = scene->clock.safe_wall_ms;
}

static void point_at_chunks(struct scene *scene)
{
    for (size_t i = 0; i < scene->count; i++)
        scene->windows[i].chunks = scene->own[i].chunks;
}

/* Most of what comes is for the open window, the rest for any other. */
static void records_come(struct scene *scene)
{
    int64_t start_ms = twcs_window_start(scene->clock.safe_wall_ms, HOUR_MS);

    if (scene->count == 0 || scene->windows[scene->count - 1].start_ms != start_ms) {
        ck_assert_uint_lt(scene->count, WINDOWS_MAX);
        scene->own[scene->count].due_since = -1;
        scene->windows[scene->count++] = (struct twcs_window){
            .start_ms = start_ms,
            .length_ms = HOUR_MS,
            .max_expiry_ms = start_ms + HOUR_MS + (int64_t)TTL_HOURS * HOUR_MS};
    }
    add_chunk(scene, scene->count - 1);
    if (below(scene, 5) == 0)
        add_chunk(scene, (size_t)below(scene, scene->count));
    point_at_chunks(scene);
}

static size_t window_at(const struct scene *scene, int64_t start_ms)
{
    for (size_t i = 0; i < scene->count; i++)
        if (scene->windows[i].start_ms == start_ms)
            return i;
    return SIZE_MAX;
}

static void drop(struct scene *scene, size_t index)
{
    size_t behind = --scene->count - index;

    memmove(&scene->windows[index], &scene->windows[index + 1], behind * sizeof(*scene->windows));
    memmove(&scene->own[index], &scene->own[index + 1], behind * sizeof(*scene->own));
    point_at_chunks(scene);
}

/* Chunks [first, first + taken) become one run. */
static void finish_job(struct scene *scene)
{
    size_t index = window_at(scene, scene->job_start_ms);
    struct twcs_window *window = &scene->windows[index];
    struct twcs_run *chunks = scene->own[index].chunks;
    bool tier = scene->decision.action == TWCS_TIER;
    size_t first = tier ? scene->decision.first_chunk : 0;
    struct twcs_run merged = tier || !window->sealed ? (struct twcs_run){0} : window->sealed_run;

    for (size_t i = first; i < first + scene->chunks_taken; i++) {
        merged.bytes += chunks[i].bytes;
        merged.rows += chunks[i].rows;
    }
    merged.file_number = scene->next_file++;
    merged.max_expiry_ms = window->max_expiry_ms;
    window->chunk_count -= scene->chunks_taken;
    memmove(&chunks[first], &chunks[first + scene->chunks_taken],
            (window->chunk_count - first) * sizeof(*chunks));
    if (tier) {
        memmove(&chunks[first + 1], &chunks[first],
                (window->chunk_count++ - first) * sizeof(*chunks));
        chunks[first] = merged;
    } else {
        window->sealed = true;
        window->sealed_run = merged;
        window->generation++;
    }
    window->busy = false;
    scene->seals += scene->decision.action == TWCS_SEAL;
    scene->reseals += scene->decision.action == TWCS_RESEAL;
    scene->tiers += tier;
}

static void begin_job(struct scene *scene, const struct twcs_decision *decision)
{
    struct twcs_window *window = &scene->windows[decision->window];
    bool tier = decision->action == TWCS_TIER;
    size_t first = tier ? decision->first_chunk : 0;
    uint64_t bytes = decision->action == TWCS_RESEAL ? window->sealed_run.bytes : 0;

    scene->decision = *decision;
    scene->chunks_taken = tier ? decision->chunk_count : window->chunk_count;
    for (size_t i = first; i < first + scene->chunks_taken; i++)
        bytes += window->chunks[i].bytes;
    scene->job_start_ms = window->start_ms;
    scene->rounds_left = 1 + (int64_t)(bytes / BYTES_A_MINUTE);
    window->busy = true;
}

static uint64_t oldest_input(const struct twcs_window *window, const struct twcs_decision *decision)
{
    if (decision->action == TWCS_TIER)
        return window->chunks[decision->first_chunk].file_number;
    return window->chunk_count ? window->chunks[0].file_number : window->sealed_run.file_number;
}

/* Of all that is due the choice is a seal, or else the oldest debt. */
static void check_choice(const struct scene *scene, const struct twcs_decision *choice,
                         const struct twcs_decision *due, size_t due_count)
{
    for (size_t i = 0; i < due_count; i++) {
        const struct twcs_window *window = &scene->windows[due[i].window];
        if (choice->action == TWCS_SEAL)
            ck_assert(due[i].action != TWCS_SEAL || due[i].window >= choice->window);
        else
            ck_assert(due[i].action != TWCS_SEAL &&
                      oldest_input(window, &due[i]) >=
                          oldest_input(&scene->windows[choice->window], choice));
    }
}

/* How long each window has been waiting for its turn. */
static void note_waits(struct scene *scene, const struct twcs_decision *due, size_t due_count)
{
    bool is_due[WINDOWS_MAX] = {false};

    for (size_t i = 0; i < due_count; i++) {
        struct one_window *own = &scene->own[due[i].window];
        int64_t *longest = due[i].action == TWCS_SEAL ? &scene->seal_wait : &scene->debt_wait;
        is_due[due[i].window] = true;
        if (own->due_since < 0 || own->due_seal != (due[i].action == TWCS_SEAL))
            own->due_since = scene->round;
        own->due_seal = due[i].action == TWCS_SEAL;
        if (scene->round - own->due_since > *longest)
            *longest = scene->round - own->due_since;
    }
    for (size_t i = 0; i < scene->count; i++)
        if (!is_due[i])
            scene->own[i].due_since = -1;
}

static void live_one_round(struct scene *scene)
{
    struct twcs_decision due[DECISIONS_MAX];
    struct twcs_decision choice;
    struct twcs_policy all = scene->policy;
    size_t count;

    scene->clock.safe_wall_ms += MINUTE_MS;
    scene->clock.watermark_ms = scene->clock.safe_wall_ms;
    records_come(scene);
    if (scene->rounds_left > 0 && --scene->rounds_left == 0)
        finish_job(scene);
    while (twcs_decide(&scene->policy, &scene->clock, scene->windows, scene->count, &choice, 1) &&
           choice.action == TWCS_DROP_TTL)
        drop(scene, choice.window);
    all.max_jobs = 0;
    count = twcs_decide(&all, &scene->clock, scene->windows, scene->count, due, DECISIONS_MAX);
    note_waits(scene, due, count);
    scene->busy_rounds += scene->rounds_left > 0;
    if (scene->rounds_left > 0 || count == 0)
        return;
    ck_assert_uint_eq(
        twcs_decide(&scene->policy, &scene->clock, scene->windows, scene->count, &choice, 1), 1);
    check_choice(scene, &choice, due, count);
    begin_job(scene, &choice);
}

START_TEST(seals_tiers_and_late_data_share_one_job_and_none_starves)
{
    static struct scene scene;

    scene = (struct scene){
        .random = test_seed(),
        .policy = {.window_ms = HOUR_MS,
                   .ttl_ms = (int64_t)TTL_HOURS * HOUR_MS,
                   .late_allowed_ms = 2 * MINUTE_MS,
                   .tiered_min_threshold = 4,
                   .tiered_max_threshold = 32,
                   .reseal_ratio = 0.1,
                   .dead_ratio = 0.3,
                   .max_jobs = 1},
        .next_file = 1,
    };
    for (scene.round = 0; scene.round < ROUNDS; scene.round++)
        live_one_round(&scene);
    printf("%lld seals, %lld tiers, %lld reseals, busy %lld of %d rounds; longest wait of a seal "
           "%lld, of another %lld\n",
           (long long)scene.seals, (long long)scene.tiers, (long long)scene.reseals,
           (long long)scene.busy_rounds, ROUNDS, (long long)scene.seal_wait,
           (long long)scene.debt_wait);
    ck_assert_int_ge(scene.seals, ROUNDS / 60 - 3);
    ck_assert_int_gt(scene.tiers, ROUNDS / 60);
    ck_assert_int_gt(scene.reseals, 10);
    ck_assert_int_gt(scene.busy_rounds, ROUNDS / 2);
    ck_assert_int_le(scene.seal_wait, SEAL_WAIT_MAX);
    ck_assert_int_le(scene.debt_wait, DEBT_WAIT_MAX);
}
END_TEST

/* Level 0. */

enum { RUNS_MAX = 4096, LEVEL_ROUNDS = 3000, STALL_MAX = 400 }; /* the largest merge takes 130 */

#define BYTES_A_ROUND (8 * MIB)
#define LIVE_BYTES    (200 * MIB) /* ids come again: no more than this is left of a merge */

struct levels {
    struct twcs_run runs[RUNS_MAX];
    struct twcs_window window;
    struct twcs_decision decision;
    int rounds_left;
    uint64_t next_file;
    int flushed, stalled, stalled_now, longest_stall;
};

static struct twcs_run run_of(struct levels *levels, uint64_t bytes, uint8_t level)
{
    static const uint8_t first[1] = {0}, last[1] = {255};

    return (struct twcs_run){.file_number = levels->next_file++,
                             .bytes = bytes,
                             .rows = 1000,
                             .level = level,
                             .max_expiry_ms = TWCS_NEVER,
                             .first_key = first,
                             .last_key = last,
                             .first_key_bytes = 1,
                             .last_key_bytes = 1};
}

static void flush_or_stall(struct levels *levels)
{
    struct twcs_window *window = &levels->window;
    size_t level0 = 0;

    if (twcs_overloaded(window)) {
        levels->stalled++;
        levels->stalled_now++;
        if (levels->stalled_now > levels->longest_stall)
            levels->longest_stall = levels->stalled_now;
    } else {
        ck_assert_uint_lt(window->chunk_count, RUNS_MAX);
        levels->runs[window->chunk_count++] = run_of(levels, CHUNK_BYTES, 0);
        levels->flushed++;
        levels->stalled_now = 0;
    }
    for (size_t i = 0; i < window->chunk_count; i++)
        level0 += levels->runs[i].level == 0;
    ck_assert_uint_le(level0, TWCS_LEVEL0_FILES_MAX);
}

static uint64_t input_bytes(const struct levels *levels)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < levels->decision.input_count; i++)
        bytes += levels->runs[levels->decision.inputs[i]].bytes;
    return bytes;
}

static void finish_merge(struct levels *levels)
{
    const struct twcs_decision *decision = &levels->decision;
    uint64_t bytes = input_bytes(levels);
    size_t *count = &levels->window.chunk_count;

    for (uint32_t i = decision->input_count; i-- > 0;)
        memmove(&levels->runs[decision->inputs[i]], &levels->runs[decision->inputs[i] + 1],
                (--*count - decision->inputs[i]) * sizeof(*levels->runs));
    memmove(&levels->runs[1], &levels->runs[0], (*count)++ * sizeof(*levels->runs));
    levels->runs[0] =
        run_of(levels, bytes < LIVE_BYTES ? bytes : LIVE_BYTES, decision->output_level);
    levels->window.busy = false;
}

/* Level 0 fills faster than one job empties it: ingestion waits for a moment, again and again, and
 * never has more than its bound. */
START_TEST(ingestion_stalls_before_level_0_overflows_and_goes_on)
{
    static struct levels levels;
    const struct twcs_clock clock = clock_at(HOUR_MS);
    struct twcs_policy with = {.max_space_amplification = 1.5,
                               .target_file_bytes = 64 * MIB,
                               .size_ratio = 10,
                               .level0_trigger = 4,
                               .tiered_min_threshold = 4,
                               .tiered_max_threshold = 32,
                               .max_jobs = 1};

    for (int style = TWCS_STYLE_SIZE_TIERED; style <= TWCS_STYLE_HYBRID; style++) {
        levels = (struct levels){.next_file = 1};
        levels.window = (struct twcs_window){.max_expiry_ms = TWCS_NEVER, .chunks = levels.runs};
        with.style = (enum twcs_style)style;
        for (int round = 0; round < LEVEL_ROUNDS; round++) {
            flush_or_stall(&levels);
            if (levels.rounds_left > 0 && --levels.rounds_left == 0)
                finish_merge(&levels);
            if (levels.rounds_left > 0 ||
                twcs_decide(&with, &clock, &levels.window, 1, &levels.decision, 1) == 0)
                continue;
            ck_assert_int_eq(levels.decision.action, TWCS_COMPACT);
            levels.rounds_left = 1 + (int)(input_bytes(&levels) / BYTES_A_ROUND);
            levels.window.busy = true;
        }
        printf("style %d: %d flushed, %d rounds stalled, at most %d in a row\n", style,
               levels.flushed, levels.stalled, levels.longest_stall);
        ck_assert_int_gt(levels.flushed, 100);
        ck_assert_int_gt(levels.stalled, 0);
        ck_assert_int_lt(levels.longest_stall, STALL_MAX);
    }
}
END_TEST

TEST_TABLE(TEST(seals_tiers_and_late_data_share_one_job_and_none_starves),
           TEST(ingestion_stalls_before_level_0_overflows_and_goes_on))
