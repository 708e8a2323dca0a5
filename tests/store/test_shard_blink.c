/* An upserted id is there exactly once, at any instant, whatever runs beside the search. */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/append.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { IDS = 48, READERS = 4, GROUPS = 1500, MERGES = 20, WINDOW_MS = 1000 };

struct blink {
    struct store_shard *shard;
    uint64_t random;
    _Atomic bool stop;
    _Atomic uint64_t snapshots;
    _Atomic uint64_t merges;
    _Atomic(const char *) problem;
};

static void complain(struct blink *blink, const char *format, ...)
{
    char *text = malloc(256);
    va_list arguments;

    if (!text)
        abort();
    va_start(arguments, format);
    vsnprintf(text, 256, format, arguments);
    va_end(arguments);
    atomic_store(&blink->problem, text);
    atomic_store(&blink->stop, true);
}

static uint32_t id_of(const uint8_t *key, size_t key_bytes)
{
    for (uint32_t id = 0; id < IDS; id++) {
        struct store_key expected;
        fixture_key(id, &expected);
        if (expected.size_bytes == key_bytes && memcmp(expected.bytes, key, key_bytes) == 0)
            return id;
    }
    return UINT32_MAX;
}

/* Looks at every row as a search does, then at every id. `last` are the offsets seen before. */
static void look(struct blink *blink, int64_t last[IDS])
{
    struct store_snapshot *snapshot = store_snapshot_acquire(blink->shard, 0);
    unsigned seen[IDS] = {0};
    int64_t next_offset = store_snapshot_next_offset(snapshot);
    size_t source_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &source_count);

    for (size_t s = 0; s < source_count; s++) {
        for (uint32_t row = 0; row < sources[s].row_count; row++) {
            size_t key_bytes;
            const uint8_t *key;
            uint32_t id;
            if (!store_row_visible(snapshot, &sources[s], row))
                continue;
            key = store_row_key(&sources[s], row, &key_bytes);
            id = id_of(key, key_bytes);
            if (id == UINT32_MAX)
                complain(blink, "a row of no id");
            else
                seen[id]++;
        }
    }
    for (uint32_t id = 0; id < IDS; id++) {
        const struct store_source *source;
        struct store_key key;
        uint32_t row;
        fixture_key(id, &key);
        if (seen[id] != 1)
            complain(blink, "id %u was there %u times below offset %" PRId64, id, seen[id],
                     next_offset);
        if (store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row,
                                ERROR_IGNORED) != 0) {
            complain(blink, "id %u was not found below offset %" PRId64, id, next_offset);
        } else {
            int64_t offset = store_row_offset(source, row);
            if (offset < last[id] || offset >= next_offset)
                complain(blink, "id %u went from offset %" PRId64 " to %" PRId64, id, last[id],
                         offset);
            last[id] = offset;
        }
    }
    store_snapshot_release(snapshot);
    atomic_fetch_add(&blink->snapshots, 1);
}

static void *read_always(void *context)
{
    struct blink *blink = context;
    int64_t last[IDS] = {0};

    while (!atomic_load(&blink->stop))
        look(blink, last);
    return NULL;
}

/* Flushes, tiers and seals whatever there is. */
static void *merge_always(void *context)
{
    struct blink *blink = context;
    struct error error = {0};
    struct arena arena;
    unsigned round = 0;

    arena_create(&arena, 0);
    while (!atomic_load(&blink->stop)) {
        struct store_shard_info info;
        int code = store_shard_flush(blink->shard, &error);
        store_shard_describe(blink->shard, &arena, &info);
        for (size_t i = 0; i < info.window_count && code == 0; i++) {
            const struct store_window_info *window = &info.windows[i];
            if (window->chunk_count > 2 && round % 2)
                code = compact_tier(blink->shard, window->start_ms, window->length_ms, 2, &error);
            else
                code = compact_seal(blink->shard, window->start_ms, window->length_ms, 0, &error);
            atomic_fetch_add(&blink->merges, 1);
        }
        if (code != 0)
            complain(blink, "%.200s", error.text);
        arena_reset(&arena);
        round++;
    }
    arena_destroy(&arena);
    return NULL;
}

static void upsert(struct blink *blink, struct fixture_group *group, uint32_t first, uint32_t count)
{
    struct error error = {0};
    const struct timespec pause = {.tv_nsec = 1000000};
    int64_t next_offset = store_shard_next_offset(blink->shard);
    int code;

    memset(&group->group, 0, sizeof(group->group));
    fixture_group_start(group, next_offset);
    for (uint32_t i = 0; i < count; i++)
        fixture_group_put(group, (first + i) % IDS,
                          (int64_t)(test_random(&blink->random) % (3 * WINDOW_MS)), 0, 20, false);
    while ((code = store_shard_append(blink->shard, &group->group, &error)) == ERROR_BUSY)
        nanosleep(&pause, NULL);
    if (code != 0)
        complain(blink, "%.200s", error.text);
}

static void run(enum store_durability durability)
{
    struct blink blink = {.random = test_seed()};
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct store *store = fixture_store(fixture_io(NULL), test_directory(), 64 * 1024);
    pthread_t readers[READERS];
    pthread_t merger;
    struct error error = {0};
    const struct timespec pause = {.tv_nsec = 20000000};

    blink.shard = fixture_shard(store, WINDOW_MS, 0, durability);
    upsert(&blink, group, 0, IDS);
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_always, &blink), 0);
    ck_assert_int_eq(pthread_create(&merger, NULL, merge_always, &blink), 0);
    /* On a busy machine merges are few: go on until there were enough beside the readers. */
    for (int i = 0;
         (i < GROUPS || atomic_load(&blink.merges) <= MERGES) && !atomic_load(&blink.stop); i++) {
        upsert(&blink, group, (uint32_t)(test_random(&blink.random) % IDS),
               1 + (uint32_t)(test_random(&blink.random) % 8));
        if (i >= GROUPS)
            nanosleep(&pause, NULL);
    }
    atomic_store(&blink.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    pthread_join(merger, NULL);
    printf("%" PRIu64 " snapshots, %" PRIu64 " merges\n", atomic_load(&blink.snapshots),
           atomic_load(&blink.merges));
    ck_assert_msg(!atomic_load(&blink.problem), "%s", atomic_load(&blink.problem));
    ck_assert_uint_gt(atomic_load(&blink.snapshots), 10);
    ck_assert_uint_gt(atomic_load(&blink.merges), MERGES);
    ck_assert_int_eq(store_shard_close(blink.shard, true, &error), 0);
    store_close(store);
    free(group);
}

START_TEST(upserted_ids_never_blink_beside_flush_seal_and_tier)
{
    run(STORE_DURABILITY_LOG);
}
END_TEST

START_TEST(upserted_ids_never_blink_without_synced_log)
{
    run(STORE_DURABILITY_KAFKA);
}
END_TEST

/* Of the youngest file. */
static bool all_visible(struct store_snapshot *snapshot)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    const struct store_source *last = &sources[count - 1]; /* memtables come first */

    return store_source_all_visible(last);
}

static bool all_visible_at(struct store_shard *shard, int64_t now_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    bool all = all_visible(snapshot);

    store_snapshot_release(snapshot);
    return all;
}

START_TEST(all_rows_are_visible_until_one_dies_or_expires)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    int64_t *wall_ms;
    struct store *store = fixture_store(fixture_io(&wall_ms), test_directory(), 64 * 1024);
    struct store_shard *shard =
        fixture_shard(store, WINDOW_MS, 5 * WINDOW_MS, STORE_DURABILITY_LOG);
    struct store_snapshot *before;
    struct error error = {0};

    *wall_ms = 0;
    fixture_group_start(group, 0);
    for (uint32_t id = 0; id < IDS; id++)
        fixture_group_put(group, id, 100 + id, 0, 20, false);
    ck_assert_int_eq(store_shard_append(shard, &group->group, &error), 0);
    ck_assert(!all_visible_at(shard, 0)); /* of a memtable it is not known */
    ck_assert_int_eq(store_shard_flush(shard, &error), 0);
    ck_assert(all_visible_at(shard, 5 * WINDOW_MS + 99));
    ck_assert(!all_visible_at(shard, 5 * WINDOW_MS + 100));
    ck_assert_int_eq(compact_seal(shard, 0, WINDOW_MS, 0, &error), 0);
    before = store_snapshot_acquire(shard, 0);
    ck_assert(all_visible(before));
    fixture_group_start(group, IDS);
    fixture_group_delete(group, 7, false);
    ck_assert_int_eq(store_shard_append(shard, &group->group, &error), 0);
    ck_assert(!all_visible_at(shard, 0));
    store_snapshot_release(before);
    /* A record with a time to live of its own, in a window behind it. */
    fixture_group_start(group, IDS + 1);
    fixture_group_put(group, 8, WINDOW_MS, 10, 20, false);
    ck_assert_int_eq(store_shard_append(shard, &group->group, &error), 0);
    ck_assert_int_eq(store_shard_flush(shard, &error), 0);
    ck_assert(all_visible_at(shard, WINDOW_MS + 9));
    ck_assert(!all_visible_at(shard, WINDOW_MS + 10));
    fixture_group_start(group, IDS + 2);
    fixture_group_put(group, 9, 2 * WINDOW_MS, 0, 20, false);
    ck_assert_int_eq(store_shard_append(shard, &group->group, &error), 0);
    ck_assert_int_eq(store_shard_flush(shard, &error), 0);
    ck_assert(all_visible_at(shard, 0));
    ck_assert_int_eq(store_shard_close(shard, true, &error), 0);
    store_close(store);
    free(group);
}
END_TEST

TEST_TABLE(TEST(upserted_ids_never_blink_beside_flush_seal_and_tier),
           TEST(upserted_ids_never_blink_without_synced_log),
           TEST(all_rows_are_visible_until_one_dies_or_expires))
