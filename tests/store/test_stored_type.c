/* Sealed runs of other types than float32, as files: their size and format version, what inspect says
 * of them, and that verify reads every byte. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/files/table_format.h"
#include "store/shard.h"
#include "store/store.h"
#include "store/tools/inspect.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { DIM = 48, ROWS = 3000 };

static struct store *open_store(enum vector_codec codec, const char *data_dir,
                                struct store_shard **shard)
{
    struct store_options options = {.data_dir = data_dir,
                                    .memory_max_bytes = 64 << 20,
                                    .memtable_max_bytes = 16 << 20,
                                    .io = fixture_io(NULL)};
    struct store_shard_options shard_options = {.collection = "news",
                                                .name = "3",
                                                .dim = DIM,
                                                .metric = VECTOR_METRIC_L2,
                                                .window_ms = 1000,
                                                .codec = codec,
                                                .storage_recall = 0.9};
    struct store *store;

    ck_assert_int_eq(store_open(&options, &store, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_open(store, &shard_options, shard, ERROR_IGNORED), 0);
    return store;
}

static void fill_and_seal(struct store_shard *shard, uint64_t *state)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        float vector[DIM];
        struct store_key key;
        struct store_record record = {.offset = i, .event_time_ms = 500, .vector = vector};
        struct store_group group = {.records = &record, .record_count = 1, .next_offset = i + 1};
        for (int d = 0; d < DIM; d++)
            vector[d] = (float)(int32_t)test_random(state) * 0x1p-31F;
        store_key_from_u64(i, &key);
        record.key = key.bytes;
        record.key_bytes = key.size_bytes;
        ck_assert_int_eq(store_shard_append(shard, &group, ERROR_IGNORED), 0);
    }
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
}

static int verify(const char *data_dir)
{
    struct buffer findings = {0};
    int code = store_verify(fixture_io(NULL), data_dir, NULL, &findings, ERROR_IGNORED);

    ck_assert_int_eq(code, findings.size > 0 ? ERROR_CORRUPT : 0);
    buffer_destroy(&findings);
    return code;
}

/* Any byte of the vectors. */
static void flip(const char *path, uint64_t *state)
{
    int file = open(path, O_RDWR);
    off_t size = lseek(file, 0, SEEK_END);
    off_t at = (off_t)(64 + test_random(state) % (uint64_t)(size - 128));
    uint8_t byte;

    ck_assert_int_eq(pread(file, &byte, 1, at), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(file, &byte, 1, at), 1);
    close(file);
}

static void check_inspect(const char *path, enum vector_codec codec)
{
    struct buffer out = {0};
    char codec_text[40], version[40];
    bool other = !vector_codec_is_float32(codec);

    ck_assert_int_eq(store_inspect(fixture_io(NULL), path, true, &out, ERROR_IGNORED), 0);
    snprintf(codec_text, sizeof(codec_text), "\"codec\":\"%s\"", vector_codec_name(codec));
    snprintf(version, sizeof(version), "\"version\":%d", other ? 2 : 1);
    ck_assert_msg(strstr(buffer_text(&out), codec_text) != NULL, "%s", buffer_text(&out));
    ck_assert_msg(strstr(buffer_text(&out), version) != NULL, "%s", buffer_text(&out));
    if (strstr(path, ".run"))
        ck_assert_int_eq(strstr(buffer_text(&out), "\"recall\":") != NULL, other);
    buffer_destroy(&out);
}

static void check_type(enum vector_codec codec, double row_bytes, uint64_t *state)
{
    struct store_window_info window;
    struct store_shard *shard;
    struct store *store;
    char data_dir[300], run[400], vectors[400];
    uint64_t number, vector_bytes;

    snprintf(data_dir, sizeof(data_dir), "%s/%s", test_directory(), vector_codec_name(codec));
    store = open_store(codec, data_dir, &shard);
    fill_and_seal(shard, state);
    store_shard_describe_window(shard, 0, 1000, &window);
    ck_assert_int_eq(window.run.codec, codec);
    ck_assert_double_ge(window.run.recall, 0.9);
    number = window.run.file_number;
    vector_bytes = atomic_load(&shard->versions.current)->entries[0].sstable->info.vector_bytes;
    ck_assert_double_ge((double)vector_bytes, row_bytes * ROWS);
    ck_assert_double_le((double)vector_bytes, row_bytes * ROWS * 1.01 + 256);
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);

    snprintf(run, sizeof(run), "%s/collections.d/news/3/%06llu.run", data_dir,
             (unsigned long long)number);
    snprintf(vectors, sizeof(vectors), "%s/collections.d/news/3/%06llu.vectors", data_dir,
             (unsigned long long)number);
    check_inspect(run, codec);
    check_inspect(vectors, codec);
    ck_assert_int_eq(verify(data_dir), 0);
    /* The type that is asked for does not change what is there. */
    store = open_store(VECTOR_CODEC_RAW, data_dir, &shard);
    store_shard_describe_window(shard, 0, 1000, &window);
    ck_assert_int_eq(window.run.codec, codec);
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
    flip(vectors, state);
    ck_assert_int_eq(verify(data_dir), ERROR_CORRUPT);
}

START_TEST(files_of_every_type_are_inspected_and_verified)
{
    uint64_t state = test_seed();

    check_type(VECTOR_CODEC_RAW, DIM * 4, &state);
    check_type(VECTOR_CODEC_FLOAT16, DIM * 2, &state);
    check_type(VECTOR_CODEC_BFLOAT16, DIM * 2, &state);
    check_type(VECTOR_CODEC_INT8, DIM + 4, &state);
}
END_TEST

TEST_TABLE(TEST(files_of_every_type_are_inspected_and_verified))
