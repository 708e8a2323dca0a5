/* Threads that sleep until the store tells them, and functions that it calls. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/compaction.h"
#include "store/listen.h"
#include "store/shard.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, MEMTABLE_BYTES = 64 * 1024 };

struct scene {
    struct store *store;
    struct store_shard *shard;
};

static void scene_open(struct scene *scene)
{
    struct store_options options = {.data_dir = test_directory(),
                                    .memory_max_bytes = 256 * 1024,
                                    .memtable_max_bytes = MEMTABLE_BYTES,
                                    .io = io_posix()};

    ck_assert_int_eq(store_open(&options, &scene->store, ERROR_IGNORED), 0);
    scene->shard = fixture_shard(scene->store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
}

static void scene_close(struct scene *scene)
{
    ck_assert_int_eq(store_shard_close(scene->shard, true, ERROR_IGNORED), 0);
    store_close(scene->store);
}

static int append(struct scene *scene, struct error *error)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    int64_t next = store_shard_next_offset(scene->shard);
    int code;

    ck_assert_ptr_nonnull(group);
    fixture_group_start(group, next);
    fixture_group_put(group, (uint32_t)(next < 0 ? 0 : next), 100, 0, 100, false);
    code = store_shard_append(scene->shard, &group->group, error);
    free(group);
    return code;
}

/* A thread that waits, and what came of it. */
struct waiter {
    struct scene *scene;
    int64_t offset; /* -1: for room */
    atomic_bool cancel;
    pthread_t thread;
    int code;
};

static void *run_waiter(void *context)
{
    struct waiter *waiter = context;
    struct store_shard *shard = waiter->scene->shard;
    struct error error = {0};

    waiter->code =
        waiter->offset < 0
            ? store_shard_wait_room(shard, INT64_MAX, &waiter->cancel, &error)
            : store_shard_wait_visible(shard, waiter->offset, INT64_MAX, &waiter->cancel, &error);
    return NULL;
}

/* Returns when the thread sleeps, or is about to under the lock. */
static void waiter_start(struct waiter *waiter, struct scene *scene, int64_t offset)
{
    *waiter = (struct waiter){.scene = scene, .offset = offset};
    ck_assert_int_eq(pthread_create(&waiter->thread, NULL, run_waiter, waiter), 0);
    while (atomic_load(&scene->store->events.waiting) == 0)
        sched_yield();
    pthread_mutex_lock(&scene->store->events.lock);
    pthread_mutex_unlock(&scene->store->events.lock);
}

static int waiter_join(struct waiter *waiter)
{
    ck_assert_int_eq(pthread_join(waiter->thread, NULL), 0);
    return waiter->code;
}

START_TEST(reader_sleeps_until_its_offset_is_visible)
{
    struct scene scene;
    struct waiter waiter;
    struct error error = {0};

    scene_open(&scene);
    waiter_start(&waiter, &scene, 1);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(append(&scene, &error), 0);
    ck_assert_int_eq(waiter_join(&waiter), 0);
    ck_assert_int_gt(store_shard_next_offset(scene.shard), 1);
    /* What is visible already is not waited for. */
    ck_assert_int_eq(store_shard_wait_visible(scene.shard, 0, 0, NULL, &error), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(visible_offsets_without_a_record_tell_why)
{
    struct store_refusal many[STORE_REFUSALS_MAX];
    struct store_refusal two[] = {{3, "expired"}, {1, "late"}};
    struct store_group group = {.next_offset = 5, .refusals = two, .refusal_count = 2};
    struct error error = {0};
    struct scene scene;

    scene_open(&scene);
    ck_assert_ptr_null(store_shard_refusal(scene.shard, 3));
    ck_assert_int_eq(store_shard_append(scene.shard, &group, &error), 0);
    ck_assert_str_eq(store_shard_refusal(scene.shard, 3), "expired");
    ck_assert_str_eq(store_shard_refusal(scene.shard, 1), "late");
    ck_assert_ptr_null(store_shard_refusal(scene.shard, 2));
    /* As many newer ones push the oldest out. */
    for (int i = 0; i < STORE_REFUSALS_MAX; i++)
        many[i] = (struct store_refusal){5 + i, "future"};
    group = (struct store_group){.next_offset = 5 + STORE_REFUSALS_MAX,
                                 .refusals = many,
                                 .refusal_count = STORE_REFUSALS_MAX - 1};
    ck_assert_int_eq(store_shard_append(scene.shard, &group, &error), 0);
    ck_assert_str_eq(store_shard_refusal(scene.shard, 3), STORE_REFUSAL_UNKNOWN);
    ck_assert_str_eq(store_shard_refusal(scene.shard, 1), "late");
    ck_assert_ptr_null(store_shard_refusal(scene.shard, 4));
    ck_assert_str_eq(store_shard_refusal(scene.shard, 5), "future");
    scene_close(&scene);
}
END_TEST

START_TEST(wait_ends_at_its_deadline_when_cancelled_and_before_the_shard_closes)
{
    struct scene scene;
    struct waiter waiter;
    struct error error = {0};
    int64_t soon;

    scene_open(&scene);
    soon = io_monotonic_ns(io_posix()) + 5000000;
    ck_assert_int_eq(store_shard_wait_visible(scene.shard, 7, soon, NULL, &error), ERROR_TIMEOUT);
    ck_assert_int_ge(io_monotonic_ns(io_posix()), soon);
    waiter_start(&waiter, &scene, 7);
    atomic_store(&waiter.cancel, true);
    store_wake_waits(scene.store);
    ck_assert_int_eq(waiter_join(&waiter), ERROR_CANCELLED);
    waiter_start(&waiter, &scene, 7);
    store_shard_end_waits(scene.shard);
    ck_assert_int_eq(waiter_join(&waiter), ERROR_CANCELLED);
    scene_close(&scene);
}
END_TEST

START_TEST(stalled_writer_sleeps_until_a_flush_gives_room)
{
    struct scene scene;
    struct waiter waiter;
    struct error error = {0};
    int code = 0;

    scene_open(&scene);
    for (int i = 0; i < 1000 && code == 0; i++)
        code = append(&scene, &error);
    ck_assert_int_eq(code, ERROR_BUSY);
    waiter_start(&waiter, &scene, -1);
    ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
    ck_assert_int_eq(waiter_join(&waiter), 0);
    ck_assert_int_eq(append(&scene, &error), 0);
    /* A flush between the append and the wait is not missed. */
    while ((code = append(&scene, &error)) == 0)
        ;
    ck_assert_int_eq(code, ERROR_BUSY);
    ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
    ck_assert_int_eq(store_shard_wait_room(scene.shard, INT64_MAX, NULL, &error), 0);
    scene_close(&scene);
}
END_TEST

START_TEST(writer_over_the_byte_cap_sleeps_until_it_is_lifted)
{
    struct scene scene;
    struct waiter waiter;
    struct error error = {0};

    scene_open(&scene);
    (void)store_shard_set_over_cap(scene.shard, true);
    ck_assert_int_eq(append(&scene, &error), ERROR_BUSY);
    waiter_start(&waiter, &scene, -1);
    (void)store_shard_set_over_cap(scene.shard, false);
    ck_assert_int_eq(waiter_join(&waiter), 0);
    ck_assert_int_eq(append(&scene, &error), 0);
    scene_close(&scene);
}
END_TEST

static void count_room(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
}

START_TEST(listener_hears_when_a_refused_append_may_go)
{
    struct scene scene;
    atomic_int heard = 0;
    struct store_listener listener = {.room = count_room, .context = &heard};
    struct error error = {0};
    int code = 0;

    scene_open(&scene);
    store_listen(scene.store, &listener);
    for (int i = 0; i < 1000 && code == 0; i++)
        code = append(&scene, &error);
    ck_assert_int_eq(code, ERROR_BUSY);
    ck_assert(!store_shard_room_changed(scene.shard));
    atomic_store(&heard, 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
    ck_assert_int_gt(atomic_load(&heard), 0);
    ck_assert(store_shard_room_changed(scene.shard));
    ck_assert_int_eq(append(&scene, &error), 0);
    ck_assert(!store_shard_room_changed(scene.shard));
    (void)store_shard_set_over_cap(scene.shard, true);
    ck_assert_int_eq(append(&scene, &error), ERROR_BUSY);
    atomic_store(&heard, 0);
    (void)store_shard_set_over_cap(scene.shard, false);
    ck_assert_int_gt(atomic_load(&heard), 0);
    ck_assert(store_shard_room_changed(scene.shard));
    store_unlisten(scene.store, &listener);
    scene_close(&scene);
}
END_TEST

struct release {
    struct store_snapshot *snapshot;
    struct scene *scene;
};

static void *release_late(void *context)
{
    struct release *release = context;

    while (atomic_load(&release->scene->store->events.waiting) == 0)
        sched_yield();
    store_snapshot_release(release->snapshot);
    return NULL;
}

START_TEST(closing_sleeps_until_the_last_snapshot_is_released)
{
    struct scene scene;
    struct release release = {.scene = &scene};
    struct store_snapshot *other;
    struct error error = {0};
    pthread_t thread;

    scene_open(&scene);
    ck_assert_int_eq(append(&scene, &error), 0);
    release.snapshot = store_snapshot_acquire(scene.shard, 0);
    other = store_snapshot_acquire(scene.shard, 0);
    store_snapshot_release(other);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_late, &release), 0);
    ck_assert_int_eq(store_shard_close(scene.shard, true, ERROR_IGNORED), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    store_close(scene.store);
}
END_TEST

struct heard {
    int flush_due, windows_changed, appended;
};

static void on_flush_due(void *context, struct store_shard *shard)
{
    struct heard *heard = context;

    heard->flush_due += store_shard_needs_flush(shard);
}

static void on_windows_changed(void *context, struct store_shard *shard)
{
    struct heard *heard = context;

    (void)shard;
    heard->windows_changed++;
}

static void on_appended(void *context, struct store_shard *shard)
{
    struct heard *heard = context;

    heard->appended += store_shard_next_offset(shard) > 0;
}

START_TEST(listener_is_told_what_happens_and_nothing_after_it_left)
{
    struct scene scene;
    struct heard heard = {0};
    struct error error = {0};
    struct store_listener listener = {.flush_due = on_flush_due,
                                      .windows_changed = on_windows_changed,
                                      .appended = on_appended,
                                      .context = &heard};
    struct store_listener deaf = {.context = NULL};
    int appended = 0;

    scene_open(&scene);
    store_listen(scene.store, &listener);
    store_listen(scene.store, &deaf);
    while (heard.flush_due == 0) {
        ck_assert_int_eq(append(&scene, &error), 0);
        appended++;
    }
    ck_assert_int_eq(heard.appended, appended);
    ck_assert_int_eq(heard.windows_changed, 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
    ck_assert_int_ge(heard.windows_changed, 1);
    heard.windows_changed = 0;
    ck_assert_int_eq(store_shard_drop(scene.shard, 0, WINDOW_MS, "test", &error), 0);
    ck_assert_int_ge(heard.windows_changed, 1);
    store_unlisten(scene.store, &listener);
    heard = (struct heard){0};
    ck_assert_int_eq(append(&scene, &error), 0);
    ck_assert_int_eq(store_shard_flush(scene.shard, &error), 0);
    ck_assert_int_eq(heard.appended + heard.windows_changed + heard.flush_due, 0);
    store_unlisten(scene.store, &deaf);
    scene_close(&scene);
}
END_TEST

TEST_TABLE(TEST(reader_sleeps_until_its_offset_is_visible),
           TEST(visible_offsets_without_a_record_tell_why),
           TEST(wait_ends_at_its_deadline_when_cancelled_and_before_the_shard_closes),
           TEST(stalled_writer_sleeps_until_a_flush_gives_room),
           TEST(writer_over_the_byte_cap_sleeps_until_it_is_lifted),
           TEST(listener_hears_when_a_refused_append_may_go),
           TEST(closing_sleeps_until_the_last_snapshot_is_released),
           TEST(listener_is_told_what_happens_and_nothing_after_it_left))
