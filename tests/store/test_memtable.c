/* The skip list and the memtable: order, versions, and one writer beside readers. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "store/memtable.h"
#include "store/shard.h"
#include "store/skiplist.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { KEYS = 4000, READERS = 4, KEY_BYTES = 12 };

static void make_key(uint64_t number, uint8_t key[KEY_BYTES])
{
    memset(key, 'k', 4);
    for (int i = 0; i < 8; i++)
        key[4 + i] = (uint8_t)(number >> (56 - 8 * i));
}

START_TEST(skip_list_keeps_keys_in_order_and_finds_them)
{
    static uint8_t keys[KEYS][KEY_BYTES]; /* the list has no copies */
    uint8_t behind_all[KEY_BYTES];
    uint64_t random = test_seed();
    struct skiplist list;
    struct arena arena;
    const struct skiplist_node *node;
    uint32_t count = 0;

    arena_create(&arena, 0);
    skiplist_create(&list, &arena, random);
    for (uint32_t i = 0; i < KEYS; i++) {
        bool inserted;
        make_key(test_random(&random) % (KEYS * 2), keys[i]);
        ck_assert_ptr_nonnull(skiplist_insert(&list, keys[i], KEY_BYTES, i, &inserted));
        count += inserted;
    }
    for (node = skiplist_seek(&list, NULL, 0); node; node = skiplist_next(node)) {
        const struct skiplist_node *next = skiplist_next(node);
        count--;
        if (next)
            ck_assert_int_lt(memcmp(node->key, next->key, KEY_BYTES), 0);
        ck_assert_ptr_eq(skiplist_find(&list, node->key, KEY_BYTES), node);
        ck_assert_ptr_eq(skiplist_seek(&list, node->key, KEY_BYTES), node);
    }
    ck_assert_uint_eq(count, 0);
    make_key(KEYS * 3, behind_all);
    ck_assert_ptr_null(skiplist_seek(&list, behind_all, KEY_BYTES));
    arena_destroy(&arena);
}
END_TEST

START_TEST(key_order_is_bytes_then_length)
{
    static const struct {
        const char *a;
        const char *b;
        int order;
    } cases[] = {{"a", "b", -1}, {"a", "a", 0},   {"a", "ab", -1},
                 {"b", "ab", 1}, {"a\1", "a", 1}, {"abcdefgh1", "abcdefgh2", -1}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int order = bytes_compare((const uint8_t *)cases[i].a, strlen(cases[i].a),
                                  (const uint8_t *)cases[i].b, strlen(cases[i].b));
        ck_assert_int_eq((order > 0) - (order < 0), cases[i].order);
    }
}
END_TEST

START_TEST(window_start_is_floor_division_also_before_1970)
{
    static const struct {
        int64_t time_ms, window_ms, start_ms;
    } cases[] = {{0, 10, 0},
                 {9, 10, 0},
                 {10, 10, 10},
                 {-1, 10, -10},
                 {-10, 10, -10},
                 {-11, 10, -20},
                 {INT64_MAX, 1, INT64_MAX}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_int_eq(memtable_window_start(cases[i].time_ms, cases[i].window_ms),
                         cases[i].start_ms);
}
END_TEST

struct race {
    struct store_memory memory;
    struct memtable *memtable;
    _Atomic int64_t visible;
    _Atomic bool stop;
    _Atomic bool failed;
};

/* Every key below the visible offset is found, in order, with the newest version below it. */
static void *read_race(void *context)
{
    struct race *race = context;

    while (!atomic_load(&race->stop)) {
        int64_t visible = atomic_load_explicit(&race->visible, memory_order_acquire);
        const struct skiplist_node *node = skiplist_seek(&race->memtable->list, NULL, 0);
        uint32_t alive = 0;
        for (; node; node = skiplist_next(node)) {
            uint32_t row = atomic_load_explicit(&node->newest, memory_order_acquire);
            while (row != MEMTABLE_NONE && memtable_row(race->memtable, row)->offset >= visible)
                row = memtable_row(race->memtable, row)->older;
            if (row == MEMTABLE_NONE)
                continue;
            alive += atomic_load_explicit(&memtable_row(race->memtable, row)->dead_at,
                                          memory_order_relaxed) >= visible;
            if (memcmp(memtable_row(race->memtable, row)->key, node->key, KEY_BYTES) != 0)
                atomic_store(&race->failed, true);
        }
        /* Offsets 0..KEYS/2 are first versions, later ones replace: one living row a key. */
        if (alive != (visible < KEYS / 2 ? (uint32_t)visible : KEYS / 2))
            atomic_store(&race->failed, true);
    }
    return NULL;
}

START_TEST(readers_beside_the_writer_see_whole_rows_and_one_version_a_key)
{
    static uint8_t keys[KEYS][KEY_BYTES];
    static const float vector[FIXTURE_DIM];
    struct store_events events = {.waiting = 0};
    struct race race = {.memory = {.events = &events}};
    struct log_file *log = log_file_new(NULL, NULL, "/nowhere", 1);
    pthread_t readers[READERS];

    race.memtable = memtable_new(&race.memory, log, 4096, 1000, test_seed());
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_race, &race), 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        /* A stride that is coprime to the count: keys come in no order. */
        struct memtable_row row = {
            .key = keys[i], .key_bytes = KEY_BYTES, .vector = vector, .offset = i, .contiguous = 1};
        uint32_t previous;
        make_key((i % (KEYS / 2)) * 1237 % (KEYS / 2), keys[i]);
        ck_assert(memtable_reserve_rows(race.memtable, 1, 4096));
        (void)memtable_insert(race.memtable, &row, table_key_hash(keys[i], KEY_BYTES), 0,
                              &previous);
        ck_assert_int_eq(previous != MEMTABLE_NONE, i >= KEYS / 2);
        if (previous != MEMTABLE_NONE)
            memtable_kill(race.memtable, previous, i);
        memtable_account(race.memtable);
        atomic_store_explicit(&race.visible, (int64_t)i + 1, memory_order_release);
    }
    atomic_store(&race.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    ck_assert(!atomic_load(&race.failed));
    ck_assert_uint_gt(atomic_load(&race.memory.used_bytes), 0);
    log_file_ref(log); /* without a shard there is nobody to take the file over */
    memtable_unref(race.memtable);
    ck_assert_uint_eq(atomic_load(&race.memory.used_bytes), 0);
    log_file_delete(log);
}
END_TEST

TEST_TABLE(TEST(skip_list_keeps_keys_in_order_and_finds_them), TEST(key_order_is_bytes_then_length),
           TEST(window_start_is_floor_division_also_before_1970),
           TEST(readers_beside_the_writer_see_whole_rows_and_one_version_a_key))
