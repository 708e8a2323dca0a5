/* Which rows a snapshot shows, against a model, at every offset: while rows are replaced, deleted and
 * expire, and files are flushed, merged and sealed. Snapshots are held and asked again later. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/append.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, WINDOWS = 5, TTL_MS = 4 * WINDOW_MS, IDS = 120, STEPS = 900, HELD = 4 };

/* A snapshot and what it has to show. */
struct held {
    struct store_snapshot *snapshot;
    struct model model;
    int64_t now_ms;
};

/* How many files were seen that may hide rows by nothing, by one reason or by several. */
static uint64_t seen_hidden[8];

static bool is_expired(const struct model_row *row, int64_t now_ms)
{
    int64_t ttl_ms = row->ttl_ms > 0 && row->ttl_ms < TTL_MS ? row->ttl_ms : TTL_MS;

    return row->event_time_ms + ttl_ms <= now_ms;
}

static void check_row(const struct held *held, const struct store_source *source, uint32_t row)
{
    int64_t offset = store_row_offset(source, row);
    const struct model_row *newest;
    struct store_key key;
    size_t key_bytes;
    const uint8_t *bytes = store_row_key(source, row, &key_bytes);
    bool later = offset >= held->model.next_offset, alive, expired;

    key.size_bytes = (uint16_t)key_bytes;
    memcpy(key.bytes, bytes, key_bytes);
    newest = model_find(&held->model, &key);
    alive = newest && newest->offset == offset;
    expired = alive && is_expired(newest, held->now_ms);
    ck_assert_int_eq(store_row_visible(held->snapshot, source, row), !later && alive && !expired);
    if (later)
        ck_assert(source->hidden & STORE_HIDDEN_LATER);
    else if (!alive)
        ck_assert(source->hidden & STORE_HIDDEN_DEAD);
    else if (expired)
        ck_assert(source->hidden & STORE_HIDDEN_EXPIRED);
}

static void check_held(const struct held *held)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(held->snapshot, &count);
    const char *wrong = fixture_compare(held->snapshot, &held->model, held->now_ms, TTL_MS);

    ck_assert_msg(!wrong, "%s", wrong);
    for (size_t i = 0; i < count; i++) {
        for (uint32_t row = 0; row < sources[i].row_count; row++)
            check_row(held, &sources[i], row);
        if (sources[i].kind != STORE_SOURCE_MEMTABLE)
            seen_hidden[sources[i].hidden]++;
    }
}

static void hold(struct held *held, struct store_shard *shard, const struct model *model,
                 int64_t now_ms)
{
    if (held->snapshot) {
        check_held(held);
        store_snapshot_release(held->snapshot);
        model_destroy(&held->model);
    }
    held->snapshot = store_snapshot_acquire(shard, now_ms);
    held->now_ms = now_ms;
    model_copy(&held->model, model);
    check_held(held);
}

/* One record; most times it replaces or deletes an older one. */
static void append_one(struct store_shard *shard, struct model *model, uint64_t dice,
                       int64_t newest_ms)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct error error = {0};
    int64_t time_ms = newest_ms - (int64_t)((dice >> 16) % (2 * WINDOW_MS));
    int64_t ttl_ms = (dice >> 8) % 8 == 0 ? 1 + (int64_t)((dice >> 32) % TTL_MS) : 0;

    fixture_group_start(group, model->next_offset < 0 ? 0 : model->next_offset);
    if (dice % 10 == 0)
        fixture_group_delete(group, (uint32_t)(dice >> 40) % IDS, false);
    else
        fixture_group_put(group, (uint32_t)(dice >> 40) % IDS, time_ms > 0 ? time_ms : 0, ttl_ms, 8,
                          false);
    ck_assert_msg(store_shard_append(shard, &group->group, &error) == 0, "%s", error.text);
    model_apply(model, &group->group);
    free(group);
}

/* Without losing rows that a held snapshot shows: a seal keeps what has not expired now. */
static void change_files(struct store_shard *shard, uint64_t dice, int64_t window, int64_t now_ms)
{
    struct error error = {0};
    int code = 0;

    if (dice % 6 == 0)
        code = store_shard_flush(shard, &error);
    else if (dice % 6 == 1)
        code = compact_seal(shard, window * WINDOW_MS, WINDOW_MS, now_ms, &error);
    else if (dice % 6 == 2)
        code = compact_tier(shard, window * WINDOW_MS, WINDOW_MS, 4, &error);
    ck_assert_msg(code == 0 || code == ERROR_NOT_FOUND || code == ERROR_INVALID, "%s", error.text);
}

START_TEST(a_snapshot_shows_what_it_showed_at_every_offset)
{
    uint64_t random = test_seed();
    int64_t *wall_ms;
    struct store *store = fixture_store(fixture_io(&wall_ms), test_directory(), 64 * 1024);
    struct store_shard *shard = fixture_shard(store, WINDOW_MS, TTL_MS, STORE_DURABILITY_KAFKA);
    struct model model = {.next_offset = -1};
    struct held held[HELD] = {0};
    struct error error = {0};

    for (int64_t step = 0; step < STEPS; step++) {
        uint64_t dice = test_random(&random);
        int64_t newest_ms = (step + 1) * WINDOWS * WINDOW_MS / STEPS;
        int64_t window = newest_ms / WINDOW_MS - (int64_t)(dice % 3);
        *wall_ms = newest_ms; /* a flush leaves out what has expired by now */
        append_one(shard, &model, test_random(&random), newest_ms);
        if ((dice >> 8) % 4 == 0)
            change_files(shard, dice >> 16, window > 0 ? window : 0, newest_ms);
        /* As of now, or later, when more has expired. */
        hold(&held[step % HELD], shard, &model,
             newest_ms + ((dice >> 32) % 4 == 0 ? (int64_t)((dice >> 40) % TTL_MS) : 0));
        if (step % 8 == 0)
            for (int i = 0; i < HELD && held[i].snapshot; i++)
                check_held(&held[i]);
    }
    for (int i = 0; i < HELD; i++) {
        store_snapshot_release(held[i].snapshot);
        model_destroy(&held[i].model);
    }
    for (int i = 0; i < 8; i++)
        printf("hidden by %d: %llu files\n", i, (unsigned long long)seen_hidden[i]);
    ck_assert_uint_gt(seen_hidden[0], 0);
    ck_assert_uint_gt(seen_hidden[STORE_HIDDEN_DEAD], 0);
    ck_assert_uint_gt(seen_hidden[STORE_HIDDEN_EXPIRED], 0);
    model_destroy(&model);
    ck_assert_int_eq(store_shard_close(shard, true, &error), 0);
    store_close(store);
}
END_TEST

TEST_TABLE(TEST(a_snapshot_shows_what_it_showed_at_every_offset))
