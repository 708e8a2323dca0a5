/* Merges with the store's merge threads: vectors gathered ahead of the writer in pieces, and several
 * outputs at a time. Rows are wide, so that a run has many pieces. */
#include <stdlib.h>

#include "store/append.h"
#include "store/files/key.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/test_main.h"

enum { DIM = 2048, CHUNKS = 3, CHUNK_ROWS = 1100, ROWS = CHUNKS * CHUNK_ROWS, GROUP_ROWS = 100 };

struct world {
    struct store *store;
    struct store_shard *shard;
};

/* Row by row in another place of its chunk than in the run. */
static uint32_t id_of(int64_t offset)
{
    return (uint32_t)(offset * 1237 % ROWS);
}

static void fill_vector(int64_t offset, float *vector)
{
    for (int i = 0; i < DIM; i++)
        vector[i] = (float)(offset * 7 + i);
}

static void append_group(struct store_shard *shard, int64_t first_offset)
{
    struct store_record records[GROUP_ROWS];
    struct store_key keys[GROUP_ROWS];
    float *vectors = malloc(sizeof(*vectors) * GROUP_ROWS * DIM);
    struct store_group group = {
        .records = records, .record_count = GROUP_ROWS, .next_offset = first_offset + GROUP_ROWS};
    struct error error = {0};

    ck_assert_ptr_nonnull(vectors);
    for (int i = 0; i < GROUP_ROWS; i++) {
        store_key_from_u64(id_of(first_offset + i), &keys[i]);
        fill_vector(first_offset + i, vectors + (size_t)i * DIM);
        records[i] = (struct store_record){.key = keys[i].bytes,
                                           .key_bytes = keys[i].size_bytes,
                                           .offset = first_offset + i,
                                           .event_time_ms = 500,
                                           .vector = vectors + (size_t)i * DIM};
    }
    ck_assert_msg(store_shard_append(shard, &group, &error) == 0, "%s", error.text);
    free(vectors);
}

static void open_world(struct world *world)
{
    const struct store_options store_options = {.data_dir = test_directory(),
                                                .memory_max_bytes = UINT64_C(1) << 30,
                                                .memtable_max_bytes = UINT64_C(64) << 20,
                                                .merge_threads = 4};
    const struct store_shard_options options = {.collection = "news",
                                                .name = "3",
                                                .dim = DIM,
                                                .metric = VECTOR_METRIC_L2,
                                                .window_ms = 1000,
                                                .durability = STORE_DURABILITY_KAFKA};
    struct error error = {0};

    ck_assert_msg(store_open(&store_options, &world->store, &error) == 0, "%s", error.text);
    ck_assert_msg(store_shard_open(world->store, &options, &world->shard, &error) == 0, "%s",
                  error.text);
    for (int64_t offset = 0; offset < ROWS; offset += GROUP_ROWS) {
        append_group(world->shard, offset);
        if ((offset + GROUP_ROWS) % CHUNK_ROWS == 0)
            ck_assert_msg(store_shard_flush(world->shard, &error) == 0, "%s", error.text);
    }
}

static void close_world(struct world *world)
{
    struct error error = {0};

    ck_assert_msg(store_shard_close(world->shard, true, &error) == 0, "%s", error.text);
    store_close(world->store);
}

/* Every row once, with its own vector. Returns the number of files they lie in. */
static size_t check_rows(const struct world *world)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(world->shard, 0);
    float *expected = malloc(sizeof(*expected) * DIM);
    uint32_t found = 0;
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    ck_assert_ptr_nonnull(expected);
    for (size_t s = 0; s < count; s++) {
        for (uint32_t row = 0; row < sources[s].row_count; row++) {
            int64_t offset = store_row_offset(&sources[s], row);
            struct error error = {0};
            struct store_key key;
            const float *vector;
            uint32_t available;
            size_t key_bytes;
            const uint8_t *bytes = store_row_key(&sources[s], row, &key_bytes);
            store_key_from_u64(id_of(offset), &key);
            ck_assert_mem_eq(bytes, key.bytes, key.size_bytes);
            ck_assert_msg(store_row_vectors(&sources[s], row, &vector, &available, &error) == 0,
                          "%s", error.text);
            fill_vector(offset, expected);
            ck_assert_mem_eq(vector, expected, sizeof(*expected) * DIM);
            found++;
        }
    }
    ck_assert_uint_eq(found, ROWS);
    free(expected);
    store_snapshot_release(snapshot);
    return count;
}

START_TEST(one_run_is_gathered_by_several_threads)
{
    struct world world;
    struct error error = {0};

    open_world(&world);
    ck_assert_msg(compact_seal(world.shard, 0, 1000, INT64_MIN, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(check_rows(&world), 1);
    close_world(&world);
}
END_TEST

START_TEST(several_outputs_are_written_at_a_time)
{
    const struct store_window_info window = {.start_ms = 0, .length_ms = 1000};
    struct store_shard_info info;
    struct error error = {0};
    struct world world;
    struct arena arena;
    uint64_t numbers[CHUNKS];

    open_world(&world);
    arena_create(&arena, 0);
    store_shard_describe(world.shard, &arena, &info);
    ck_assert_uint_eq(info.window_count, 1);
    ck_assert_uint_eq(info.windows[0].chunk_count, CHUNKS);
    for (int i = 0; i < CHUNKS; i++)
        numbers[i] = info.windows[0].chunks[i].file_number;
    arena_destroy(&arena);
    ck_assert_msg(
        compact_merge(world.shard, &window, numbers, CHUNKS, 1, 4 << 20, INT64_MIN, 4, &error) == 0,
        "%s", error.text);
    ck_assert_uint_gt(check_rows(&world), 3);
    close_world(&world);
}
END_TEST

START_TEST(cancelled_merge_leaves_its_inputs)
{
    const atomic_bool cancel = true;
    const struct store_compaction_request request = {.kind = STORE_COMPACTION_SEAL,
                                                     .window_length_ms = 1000,
                                                     .now_ms = INT64_MIN,
                                                     .cancel = &cancel};
    struct error error = {0};
    struct world world;

    open_world(&world);
    ck_assert_int_eq(store_shard_compact(world.shard, &request, NULL, &error), ERROR_CANCELLED);
    ck_assert_uint_eq(check_rows(&world), CHUNKS);
    close_world(&world);
}
END_TEST

TEST_TABLE(TEST(one_run_is_gathered_by_several_threads),
           TEST(several_outputs_are_written_at_a_time), TEST(cancelled_merge_leaves_its_inputs))
