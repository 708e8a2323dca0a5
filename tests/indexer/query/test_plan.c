/* What a search plans to look at, against a plain count over the view. */
#include <stdlib.h>

#include "indexer/query/view.h"
#include "tests/indexer/query/question.h"

enum { HOURS = 12, SHARDS = 3 };

/* Of one window of one shard. */
struct counted {
    bool table, searched, live;
};

static void count_source(const struct store_snapshot *snapshot, const struct store_source *source,
                         int64_t from_ms, int64_t to_ms, struct counted *windows)
{
    if (source->kind != STORE_SOURCE_MEMTABLE) {
        struct counted *window = &windows[(source->window_start_ms - START_MS) / HOUR_MS];
        window->table = true;
        window->searched |= query_source_overlaps(source, from_ms, to_ms);
        window->live |= !source->sealed;
        return;
    }
    for (uint32_t row = 0; row < source->row_count; row++) {
        int64_t time_ms = store_row_event_time_ms(source, row);
        if (store_row_visible(snapshot, source, row) && time_ms >= from_ms && time_ms < to_ms)
            windows[(time_ms - START_MS) / HOUR_MS].live = true;
    }
}

static void check_windows(struct world *world, int64_t from_ms, int64_t to_ms)
{
    struct counted windows[SHARDS][HOURS] = {0};
    struct question question = {.limit = 5, .from_ms = from_ms, .to_ms = to_ms};
    struct query_view *view = world_view(world);
    uint32_t searched = 0, pruned = 0, live = 0;
    struct answer answer;

    for (size_t i = 0; i < view->shard_count; i++)
        for (size_t j = 0; j < view->shards[i].source_count; j++)
            count_source(view->shards[i].snapshot, &view->shards[i].sources[j], from_ms, to_ms,
                         windows[i]);
    for (int i = 0; i < SHARDS * HOURS; i++) {
        const struct counted *window = &windows[i / HOURS][i % HOURS];
        searched += window->table && window->searched;
        pruned += window->table && !window->searched;
        live += window->live;
    }
    world_random_vector(world, question.vector);
    question_ask(view, &question, &answer);
    ck_assert_uint_eq(answer.result.windows_searched, searched);
    ck_assert_uint_eq(answer.result.windows_pruned, pruned);
    ck_assert_uint_eq(answer.result.windows_live, live);
    query_view_close(view);
}

/* A memtable has rows of windows that chunks and runs have, too, and of windows in any order. */
START_TEST(windows_are_counted_once_whatever_holds_their_rows)
{
    struct world world;

    question_open_world(&world, VECTOR_METRIC_L2, SHARDS, 0, test_seed());
    atomic_store(&world.clock.now_ms, START_MS + HOURS * HOUR_MS);
    for (int step = 0; step < 400; step++) {
        uint64_t dice = test_random(&world.random);
        size_t shard = dice % SHARDS;
        int64_t time_ms = START_MS + (int64_t)((dice >> 8) % (HOURS * HOUR_MS));
        world_upsert(&world, shard, (dice >> 32) % 300 * SHARDS + shard, time_ms, 0, NULL);
        if ((dice >> 48) % 16 == 0)
            world_flush(&world, shard);
        if ((dice >> 52) % 32 == 0)
            world_seal(&world, shard, time_ms);
        if (step % 4 == 0) {
            int64_t from_ms = START_MS + (int64_t)(test_random(&world.random) % HOURS) * HOUR_MS;
            int64_t length_ms = (int64_t)(test_random(&world.random) % (HOURS * HOUR_MS)) + 1;
            check_windows(&world, from_ms, from_ms + length_ms);
            check_windows(&world, START_MS, START_MS + HOURS * HOUR_MS);
        }
    }
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(windows_are_counted_once_whatever_holds_their_rows))
