/* What counts against memory_max_bytes and how it comes back. */
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/shard.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { DIM = 64, ROWS = 4096, GROUP = 256, MEMORY_BYTES = 2 << 20, MEMTABLE_BYTES = 256 << 10 };

static float value_of(uint32_t row, uint32_t i)
{
    /* One exponent for all: the plane packs to nothing. */
    return 1.0f + (float)((row * 31 + i * 17) % 4096) / 8192.0f;
}

static struct store_shard *open_packed(struct store **store)
{
    struct store_options options = {.data_dir = test_directory(),
                                    .memory_max_bytes = MEMORY_BYTES,
                                    .memtable_max_bytes = MEMTABLE_BYTES,
                                    .io = fixture_io(NULL)};
    struct store_shard_options shard_options = {.collection = "news",
                                                .name = "3",
                                                .dim = DIM,
                                                .metric = VECTOR_METRIC_L2,
                                                .window_ms = 1000,
                                                .codec = VECTOR_CODEC_PACKED};
    struct store_shard *shard;

    ck_assert_int_eq(store_open(&options, store, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_open(*store, &shard_options, &shard, ERROR_IGNORED), 0);
    return shard;
}

static void fill_and_seal(struct store_shard *shard)
{
    static float vectors[GROUP][DIM];
    struct store_record records[GROUP];
    struct store_key keys[GROUP];

    for (uint32_t first = 0; first < ROWS; first += GROUP) {
        struct store_group group = {
            .records = records, .record_count = GROUP, .next_offset = first + GROUP};
        for (uint32_t i = 0; i < GROUP; i++) {
            for (uint32_t d = 0; d < DIM; d++)
                vectors[i][d] = value_of(first + i, d);
            store_key_from_u64(first + i, &keys[i]);
            records[i] = (struct store_record){.key = keys[i].bytes,
                                               .key_bytes = keys[i].size_bytes,
                                               .offset = first + i,
                                               .event_time_ms = 500,
                                               .vector = vectors[i]};
        }
        ck_assert_int_eq(store_shard_append(shard, &group, ERROR_IGNORED), 0);
        if (store_shard_needs_flush(shard))
            ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    }
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
}

/* Looks at every vector of the snapshot. */
static void read_all(const struct store_snapshot *snapshot)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct store_source *source;
        struct store_key key;
        const float *vector;
        uint32_t row;
        uint32_t count;
        store_key_from_u64(i, &key);
        if (store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row,
                                ERROR_IGNORED) != 0 ||
            store_row_vectors(source, row, &vector, &count, ERROR_IGNORED) != 0 ||
            vector[0] != value_of(i, 0) || vector[DIM - 1] != value_of(i, DIM - 1))
            ck_abort_msg("row %u", i);
    }
}

START_TEST(decoded_blocks_are_counted_and_come_back_after_the_last_search)
{
    struct store *store;
    struct store_shard *shard = open_packed(&store);
    struct store_snapshot *first;
    struct store_snapshot *second;
    uint64_t before;

    fill_and_seal(shard);
    before = memory_used(&store->memory);
    for (int round = 0; round < 3; round++) {
        first = store_snapshot_acquire(shard, 0);
        second = store_snapshot_acquire(shard, 0);
        read_all(first);
        ck_assert_uint_eq(atomic_load(&store->memory.decoded_bytes), (uint64_t)ROWS * DIM * 4);
        ck_assert_uint_eq(memory_used(&store->memory), before + memory_decoded_max(&store->memory));
        /* Someone may still look at them. */
        store_snapshot_release(first);
        ck_assert_uint_gt(atomic_load(&store->memory.decoded_bytes), 0);
        read_all(second);
        store_snapshot_release(second);
        ck_assert_uint_eq(atomic_load(&store->memory.decoded_bytes), 0);
    }
    ck_assert_uint_eq(memory_used(&store->memory), before);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    ck_assert_uint_eq(atomic_load(&store->memory.decoded_bytes), 0);
    store_close(store);
}
END_TEST

START_TEST(kept_buffers_go_before_a_writer_waits)
{
    struct store *store;
    struct store_shard *shard = open_packed(&store);
    uint8_t *buffer;

    buffer = memory_take_buffer(&store->memory, MEMTABLE_BYTES);
    ck_assert_ptr_nonnull(buffer);
    ck_assert_uint_eq(memory_used(&store->memory), 0);
    memory_give_buffer(&store->memory, buffer, MEMTABLE_BYTES);
    ck_assert_uint_eq(memory_used(&store->memory), MEMTABLE_BYTES);
    ck_assert_ptr_eq(memory_take_buffer(&store->memory, MEMTABLE_BYTES), buffer);
    ck_assert_uint_eq(memory_used(&store->memory), 0);
    memory_give_buffer(&store->memory, buffer, MEMTABLE_BYTES);
    memory_release_buffers(&store->memory);
    ck_assert_uint_eq(memory_used(&store->memory), 0);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
}
END_TEST

TEST_TABLE(TEST(decoded_blocks_are_counted_and_come_back_after_the_last_search),
           TEST(kept_buffers_go_before_a_writer_waits))
