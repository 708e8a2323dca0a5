/* The library compacts itself: a store, a registry and a scheduler, no program around them. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/append.h"
#include "store/compaction.h"
#include "store/listen.h"
#include "store/rebuild.h"
#include "store/registry.h"
#include "store/store.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"
#include "twcs/compaction/compaction.h"

enum { HOUR = 3600000, TTL = 10 * HOUR, ROWS = 20, SHARDS_MAX = 10 };

#define START (INT64_C(1000) * HOUR)

/* The operating system's files; the test sets the wall clock and sees who looks at it. */
struct clock_io {
    struct io io; /* first */
    struct io_operations operations;
    _Atomic int64_t wall_ms;
    _Atomic uint64_t looks;
};

struct scene {
    struct clock_io clock;
    struct config_collection collection;
    struct metrics *metrics;
    struct store *store;
    struct store_registry *registry;
    struct compaction_scheduler *scheduler;
    struct store_shard *shards[SHARDS_MAX];
    int64_t next_offset;
    pthread_mutex_t lock;
    struct store_window_info sealed; /* that was told last */
    unsigned seals;
    _Atomic unsigned reconciliations;
};

static int64_t wall_ms(struct io *io)
{
    struct clock_io *clock = (struct clock_io *)io;

    atomic_fetch_add(&clock->looks, 1);
    return atomic_load(&clock->wall_ms);
}

static void on_sealed(void *context, struct store_shard *shard,
                      const struct store_window_info *window)
{
    struct scene *scene = context;

    (void)shard;
    pthread_mutex_lock(&scene->lock);
    scene->sealed = *window;
    scene->seals++;
    pthread_mutex_unlock(&scene->lock);
}

static bool on_reconcile(void *context)
{
    struct scene *scene = context;

    atomic_fetch_add(&scene->reconciliations, 1);
    return false;
}

static void start_scheduler(struct scene *scene)
{
    const struct compaction_scheduler_options options = {.store = scene->store,
                                                         .registry = scene->registry,
                                                         .metrics = scene->metrics,
                                                         .io = &scene->clock.io,
                                                         .job_count = 2,
                                                         .on_sealed = on_sealed,
                                                         .reconcile = on_reconcile,
                                                         .context = scene};
    struct error error = {0};

    ck_assert_msg(compaction_scheduler_start(&options, &scene->scheduler, &error) == 0, "%s",
                  error.text);
}

static void open_shard(struct scene *scene, size_t index)
{
    struct error error = {0};
    char name[8];

    snprintf(name, sizeof(name), "%zu", index);
    ck_assert_msg(store_registry_claim(scene->registry, &scene->collection, name,
                                       &scene->shards[index], &error) == 0,
                  "%s", error.text);
}

static void scene_open(struct scene *scene, uint64_t max_bytes)
{
    *scene = (struct scene){.collection = {.name = "news",
                                           .dim = FIXTURE_DIM,
                                           .window_ms = HOUR,
                                           .ttl_ms = TTL,
                                           .max_bytes = max_bytes,
                                           .size_tiered_min_threshold = 4,
                                           .size_tiered_max_threshold = 32}};
    scene->clock.operations = *io_posix()->operations;
    scene->clock.operations.wall_ms = wall_ms;
    scene->clock.io.operations = &scene->clock.operations;
    atomic_store(&scene->clock.wall_ms, START);
    scene->metrics = metrics_new();
    pthread_mutex_init(&scene->lock, NULL);
    scene->store = fixture_store(&scene->clock.io, test_directory(), UINT64_C(1) << 16);
    scene->registry = store_registry_new(&(struct store_registry_options){.store = scene->store});
    open_shard(scene, 0);
    start_scheduler(scene);
}

static void scene_close(struct scene *scene)
{
    store_registry_interrupt(scene->registry);
    compaction_scheduler_stop(scene->scheduler);
    store_registry_close_all(scene->registry, true);
    store_registry_delete(scene->registry);
    store_close(scene->store);
    metrics_delete(scene->metrics);
    pthread_mutex_destroy(&scene->lock);
}

/* Rows of the first minutes after `time_ms`. */
static void append_at(struct scene *scene, size_t shard, int64_t time_ms,
                      const struct store_clock *clock)
{
    static struct fixture_group group;
    struct error error = {0};
    int code;

    fixture_group_start(&group, scene->next_offset);
    for (uint32_t i = 0; i < ROWS; i++)
        fixture_group_put(&group, (uint32_t)(scene->next_offset + i), time_ms + i, 0, 40, false);
    group.group.clock = *clock;
    while ((code = store_shard_append(scene->shards[shard], &group.group, &error)) == ERROR_BUSY)
        ck_assert_int_eq(store_shard_wait_room(scene->shards[shard], INT64_MAX, NULL, &error), 0);
    ck_assert_msg(code == 0, "%s", error.text);
    scene->next_offset = group.group.next_offset;
}

/* The same; the watermark goes to `watermark_ms`. */
static void append(struct scene *scene, size_t shard, int64_t time_ms, int64_t watermark_ms)
{
    int64_t now_ms = atomic_load(&scene->clock.wall_ms);

    append_at(scene, shard, time_ms,
              &(struct store_clock){.watermark_ms = watermark_ms,
                                    .last_record_wall_ms = now_ms,
                                    .safe_wall_ms = now_ms});
}

static unsigned seals_of(struct scene *scene)
{
    unsigned seals;

    pthread_mutex_lock(&scene->lock);
    seals = scene->seals;
    pthread_mutex_unlock(&scene->lock);
    return seals;
}

static bool one_more_seal(struct scene *scene)
{
    static unsigned before;
    unsigned seals = seals_of(scene);
    bool more = seals > before;

    before = more ? seals : before;
    return more;
}

static bool holds_nothing(struct scene *scene)
{
    struct store_shard_info info;
    struct arena arena;
    bool nothing;

    arena_create(&arena, 0);
    store_shard_describe(scene->shards[0], &arena, &info);
    nothing = info.window_count == 0;
    arena_destroy(&arena);
    return nothing;
}

static bool is_flushed(struct scene *scene)
{
    return !store_shard_needs_flush(scene->shards[0]);
}

static bool has_reconciled(struct scene *scene)
{
    return atomic_load(&scene->reconciliations) > 0;
}

static void rest_ms(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void wait_until(struct scene *scene, bool (*met)(struct scene *scene), const char *what)
{
    for (int round = 0; !met(scene); round++) {
        ck_assert_msg(round < 6000, "%s", what);
        rest_ms(5);
    }
}

START_TEST(windows_are_sealed_when_they_close_and_dropped_when_they_expire)
{
    static struct scene scene;

    scene_open(&scene, 0);
    append(&scene, 0, START, START);
    append(&scene, 0, START + HOUR, START + HOUR); /* the first window closes */
    wait_until(&scene, one_more_seal, "the closed window was not sealed");
    ck_assert_int_eq(scene.sealed.start_ms, START);
    ck_assert_int_eq(scene.sealed.length_ms, HOUR);
    ck_assert(scene.sealed.sealed);
    ck_assert_uint_eq(scene.sealed.generation, 1);
    ck_assert_uint_eq(scene.sealed.run.rows, ROWS);
    ck_assert_uint_eq(scene.sealed.live_rows, ROWS);
    ck_assert_uint_gt(scene.sealed.total_bytes, 0);
    rest_ms(600); /* nothing else is due */
    ck_assert_uint_eq(seals_of(&scene), 1);
    /* No record, no event: only the clock moves. */
    atomic_store(&scene.clock.wall_ms, START + 2 * HOUR + TTL);
    wait_until(&scene, holds_nothing, "expired windows were not dropped");
    scene_close(&scene);
}
END_TEST

START_TEST(a_shard_that_is_opened_later_is_looked_after_until_it_closes)
{
    static struct scene scene;

    scene_open(&scene, 0);
    open_shard(&scene, 1);
    append(&scene, 1, START, START + HOUR);
    wait_until(&scene, one_more_seal, "the window of the second shard was not sealed");
    store_registry_close(scene.registry, scene.shards[1], true);
    open_shard(&scene, 1);
    append(&scene, 1, START + HOUR, START + 2 * HOUR);
    wait_until(&scene, one_more_seal, "the shard that came back is not looked after");
    scene_close(&scene);
}
END_TEST

START_TEST(full_memtables_are_flushed)
{
    static struct scene scene;

    scene_open(&scene, 0);
    for (int i = 0; i < 400; i++)
        append(&scene, 0, START, START);
    wait_until(&scene, is_flushed, "a full memtable was not flushed");
    wait_until(&scene, has_reconciled, "nobody reconciled");
    scene_close(&scene);
}
END_TEST

static int64_t oldest_window(struct scene *scene)
{
    struct store_shard_info info;
    struct arena arena;
    int64_t start_ms;

    arena_create(&arena, 0);
    store_shard_describe(scene->shards[0], &arena, &info);
    start_ms = info.window_count > 0 ? info.windows[0].start_ms : INT64_MIN;
    arena_destroy(&arena);
    return start_ms;
}

static bool oldest_is_gone(struct scene *scene)
{
    return oldest_window(scene) > START;
}

START_TEST(over_its_cap_a_collection_loses_its_oldest_window)
{
    static struct scene scene;

    scene_open(&scene, 1 << 20);
    for (int64_t window = 0; window < 8; window++)
        for (int group = 0; group < 40; group++)
            append(&scene, 0, START + window * HOUR, START + window * HOUR);
    wait_until(&scene, oldest_is_gone, "the oldest window is still there");
    ck_assert_int_le(oldest_window(&scene), START + 7 * HOUR); /* the open one never goes */
    scene_close(&scene);
}
END_TEST

/* They are neither sealed, nor has the log passed their expiry: the partition is far behind. */
START_TEST(over_its_cap_a_collection_loses_expired_windows_that_wait_for_the_log)
{
    static struct scene scene;
    const struct store_clock behind = {.watermark_ms = START,
                                       .last_record_wall_ms = START,
                                       .safe_wall_ms = START + TTL + 20 * HOUR,
                                       .log = {true, START, START, START}};

    scene_open(&scene, 1 << 20);
    atomic_store(&scene.clock.wall_ms, behind.safe_wall_ms);
    for (int64_t window = 0; window < 8; window++)
        for (int group = 0; group < 40; group++)
            append_at(&scene, 0, START + window * HOUR, &behind);
    wait_until(&scene, oldest_is_gone, "the oldest window is still there");
    scene_close(&scene);
}
END_TEST

START_TEST(an_idle_scheduler_sleeps)
{
    static struct scene scene;
    uint64_t looks = UINT64_MAX;

    scene_open(&scene, 0);
    for (size_t i = 1; i < SHARDS_MAX; i++)
        open_shard(&scene, i);
    append(&scene, 0, START, START);
    rest_ms(
        1500); /* it looks after the append, then it rests: on a busy machine that may come later */
    for (int round = 0; looks > 6 && round < 20; round++) {
        uint64_t before = atomic_load(&scene.clock.looks);
        rest_ms(2000);
        looks = atomic_load(&scene.clock.looks) - before;
    }
    /* One look at most, and reconciliation. */
    ck_assert_uint_le(looks, 6);
    scene_close(&scene);
}
END_TEST

struct manual {
    struct scene *scene;
    struct arena arena;
    struct manual_compaction_result *results;
    size_t count;
    int code;
    struct error error;
    atomic_bool done;
};

static void *compact_by_hand(void *context)
{
    struct manual *manual = context;
    const struct manual_compaction_request request = {
        .collection = &manual->scene->collection, .has_time = true, .time_ms = START};

    manual->code = manual_compaction_compact(manual->scene->scheduler, &request, &manual->arena,
                                             &manual->results, &manual->count, &manual->error);
    atomic_store(&manual->done, true);
    return NULL;
}

START_TEST(a_manual_compaction_waits_for_the_window_and_tells_what_it_made)
{
    static struct scene scene;
    static struct manual manual;
    struct store_rebuild *holder;
    struct error error = {0};
    pthread_t thread;
    int64_t from, to;

    scene_open(&scene, 0);
    append(&scene, 0, START, START);
    ck_assert_int_eq(store_shard_flush(scene.shards[0], &error), 0);
    ck_assert_int_eq(store_rebuild_begin(scene.shards[0], START, HOUR, &holder, &from, &to, &error),
                     0);
    manual.scene = &scene;
    arena_create(&manual.arena, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, compact_by_hand, &manual), 0);
    rest_ms(100);
    ck_assert(!atomic_load(&manual.done));
    store_rebuild_end(holder);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_msg(manual.code == 0, "%s", manual.error.text);
    ck_assert_uint_eq(manual.count, 1);
    ck_assert_str_eq(manual.results[0].shard, "0");
    ck_assert_int_eq(manual.results[0].action, COMPACTION_SEAL);
    ck_assert_uint_eq(manual.results[0].window.generation, 1);
    ck_assert_uint_eq(manual.results[0].window.live_rows, ROWS);
    wait_until(&scene, one_more_seal, "a manual seal was not announced");
    (void)compact_by_hand(&manual);
    ck_assert_int_eq(manual.results[0].action, COMPACTION_NONE);
    arena_destroy(&manual.arena);
    scene_close(&scene);
}
END_TEST

TEST_TABLE(TEST(windows_are_sealed_when_they_close_and_dropped_when_they_expire),
           TEST(a_shard_that_is_opened_later_is_looked_after_until_it_closes),
           TEST(full_memtables_are_flushed),
           TEST(over_its_cap_a_collection_loses_its_oldest_window),
           TEST(over_its_cap_a_collection_loses_expired_windows_that_wait_for_the_log),
           TEST(an_idle_scheduler_sleeps),
           TEST(a_manual_compaction_waits_for_the_window_and_tells_what_it_made))
