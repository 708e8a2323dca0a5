#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "tests/support/test_main.h"

enum { ALIVE = 0x600d, DEAD = 0xdead };

struct version {
    _Atomic int state;
};

static _Atomic int released;

static void release_version(void *object)
{
    struct version *version = object;

    atomic_store(&version->state, DEAD);
    atomic_fetch_add(&released, 1);
    free(version);
}

static struct version *version_new(void)
{
    struct version *version = malloc(sizeof(*version));

    atomic_init(&version->state, ALIVE);
    return version;
}

START_TEST(without_readers_the_object_goes_at_once)
{
    struct epoch *epoch = epoch_new();

    released = 0;
    epoch_retire(epoch, version_new(), release_version);
    ck_assert_int_eq(released, 1);
    epoch_delete(epoch);
}
END_TEST

START_TEST(a_reader_that_was_inside_holds_the_object)
{
    struct epoch *epoch = epoch_new();
    unsigned before, after;

    released = 0;
    before = epoch_enter(epoch);
    epoch_retire(epoch, version_new(), release_version);
    after = epoch_enter(epoch);
    ck_assert_uint_ne(before, after);
    epoch_collect(epoch);
    ck_assert_int_eq(released, 0);
    epoch_leave(epoch, before);
    ck_assert_int_eq(released, 0);
    epoch_collect(epoch);
    ck_assert_int_eq(released, 1);
    epoch_leave(epoch, after);
    epoch_delete(epoch);
}
END_TEST

START_TEST(objects_go_in_the_order_their_readers_leave)
{
    struct epoch *epoch = epoch_new();
    unsigned first, second;

    released = 0;
    first = epoch_enter(epoch);
    epoch_retire(epoch, version_new(), release_version);
    second = epoch_enter(epoch);
    epoch_retire(epoch, version_new(), release_version);
    epoch_leave(epoch, first);
    epoch_collect(epoch);
    ck_assert_int_eq(released, 1);
    epoch_leave(epoch, second);
    epoch_collect(epoch);
    ck_assert_int_eq(released, 2);
    epoch_delete(epoch);
}
END_TEST

START_TEST(deletion_frees_what_was_retired)
{
    struct epoch *epoch = epoch_new();
    unsigned slot;

    released = 0;
    slot = epoch_enter(epoch);
    for (int i = 0; i < 10; i++)
        epoch_retire(epoch, version_new(), release_version);
    epoch_leave(epoch, slot);
    epoch_delete(epoch);
    ck_assert_int_eq(released, 10);
}
END_TEST

struct nested {
    struct epoch *epoch;
};

static void release_nested(void *object)
{
    struct nested *nested = object;

    epoch_retire(nested->epoch, version_new(), release_version);
    free(nested);
}

START_TEST(a_release_may_retire_more)
{
    struct nested *nested = malloc(sizeof(*nested));

    nested->epoch = epoch_new();
    struct epoch *epoch = nested->epoch;
    released = 0;
    epoch_retire(epoch, nested, release_nested);
    ck_assert_int_eq(released, 1);
    epoch_delete(epoch);
}
END_TEST

START_TEST(all_slots_can_be_taken_and_given_back)
{
    struct epoch *epoch = epoch_new();
    bool taken[EPOCH_SLOTS] = {0};

    for (int i = 0; i < EPOCH_SLOTS; i++) {
        unsigned slot = epoch_enter(epoch);
        ck_assert_uint_lt(slot, EPOCH_SLOTS);
        ck_assert(!taken[slot]);
        taken[slot] = true;
    }
    for (unsigned i = 0; i < EPOCH_SLOTS; i++)
        epoch_leave(epoch, i);
    epoch_delete(epoch);
}
END_TEST

struct shared {
    struct epoch *epoch;
    struct version *_Atomic current;
    _Atomic bool stop;
    _Atomic int dead_seen;
    _Atomic uint64_t reads;
};

static void *read_versions(void *argument)
{
    struct shared *shared = argument;

    while (!atomic_load(&shared->stop)) {
        unsigned slot = epoch_enter(shared->epoch);
        struct version *version = atomic_load(&shared->current);
        for (int i = 0; i < 8; i++)
            if (atomic_load_explicit(&version->state, memory_order_relaxed) != ALIVE)
                atomic_fetch_add(&shared->dead_seen, 1);
        epoch_leave(shared->epoch, slot);
        atomic_fetch_add_explicit(&shared->reads, 1, memory_order_relaxed);
    }
    return NULL;
}

static void *replace_versions(void *argument)
{
    struct shared *shared = argument;

    for (int i = 0; i < 20000; i++)
        epoch_retire(shared->epoch, atomic_exchange(&shared->current, version_new()),
                     release_version);
    return NULL;
}

START_TEST(readers_never_see_a_freed_version)
{
    struct shared shared = {.epoch = epoch_new()};
    pthread_t readers[4];
    pthread_t writers[2];

    released = 0;
    atomic_init(&shared.current, version_new());
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_versions, &shared), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&writers[i], NULL, replace_versions, &shared), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    while (atomic_load(&shared.reads) < 1000)
        ;
    atomic_store(&shared.stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
    ck_assert_int_eq(shared.dead_seen, 0);
    epoch_delete(shared.epoch);
    ck_assert_int_eq(released, 40000);
    free(shared.current);
}
END_TEST

static void *crowd(void *argument)
{
    struct epoch *epoch = argument;

    for (int i = 0; i < 200; i++) {
        unsigned slot = epoch_enter(epoch);
        epoch_retire(epoch, version_new(), release_version);
        epoch_leave(epoch, slot);
    }
    return NULL;
}

START_TEST(more_readers_than_slots_wait_their_turn)
{
    enum { THREADS = EPOCH_SLOTS + 20 };
    struct epoch *epoch = epoch_new();
    pthread_t threads[THREADS];
    unsigned held[EPOCH_SLOTS - 4];

    released = 0;
    for (int i = 0; i < EPOCH_SLOTS - 4; i++)
        held[i] = epoch_enter(epoch);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd, epoch), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < EPOCH_SLOTS - 4; i++)
        epoch_leave(epoch, held[i]);
    epoch_delete(epoch);
    ck_assert_int_eq(released, THREADS * 200);
}
END_TEST

TEST_TABLE(TEST(without_readers_the_object_goes_at_once),
           TEST(a_reader_that_was_inside_holds_the_object),
           TEST(objects_go_in_the_order_their_readers_leave), TEST(deletion_frees_what_was_retired),
           TEST(a_release_may_retire_more), TEST(all_slots_can_be_taken_and_given_back),
           TEST(readers_never_see_a_freed_version), TEST(more_readers_than_slots_wait_their_turn))
