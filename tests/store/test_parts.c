/* Sparse vectors lie behind the payloads of their records: through log, chunk, run and merges, and in files
 * whose version says so. */
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "store/append.h"
#include "store/files/log_frame.h"
#include "store/files/parts.h"
#include "store/files/table_format.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

#define SPARSE                                                                                     \
    "{\"text\":{\"indices\":[70000,3],\"values\":[0.5,-1.25]},\"code\":{\"indices\":[],"           \
    "\"values\":[]}}"

static struct doc parse(struct arena *arena, const char *json)
{
    struct doc doc;

    ck_assert_int_eq(doc_parse_json(arena, json, strlen(json), NULL, &doc, ERROR_IGNORED), 0);
    return doc;
}

START_TEST(sparse_vectors_are_checked)
{
    static const struct {
        const char *json, *words; /* NULL: sound */
    } cases[] = {
        {"{\"indices\":[],\"values\":[]}", NULL},
        {"{\"indices\":[4294967295,0],\"values\":[1e-40,-3e38]}", NULL},
        {"{\"indices\":[1]}", "expected a sparse vector"},
        {"{\"indices\":[1],\"values\":[1],\"more\":1}", "expected a sparse vector"},
        {"{\"indices\":1,\"values\":[1]}", "expected a sparse vector"},
        {"[1,2]", "expected a sparse vector"},
        {"{\"indices\":[1,2],\"values\":[1]}", ": 2 indices and 1 values, must be equally many"},
        {"{\"indices\":[2,5,2],\"values\":[1,1,1]}", ".indices: 2 comes twice"},
        {"{\"indices\":[4294967296],\"values\":[1]}", ".indices[0]: expected an integer"},
        {"{\"indices\":[1,-1],\"values\":[1,1]}", ".indices[1]: expected an integer"},
        {"{\"indices\":[1,2],\"values\":[1,\"x\"]}", ".values[1]: expected a number"},
        {"{\"indices\":[1],\"values\":[1e39]}", ".values[0]: not a finite float32"},
    };
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct doc sparse = parse(&arena, cases[i].json);
        struct error error = {0};
        int code = parts_check_sparse(&sparse, &arena, &error);
        ck_assert_msg((code == 0) == !cases[i].words, "%s: %s", cases[i].json, error.text);
        ck_assert_msg(!cases[i].words || strstr(error.text, cases[i].words), "%s: %s",
                      cases[i].json, error.text);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(dense_parts_come_back_as_they_were)
{
    static _Alignas(64) const float values[] = {1, -2.5F, 3e-40F, 4, 5, 6};
    struct buffer bytes = {0};
    struct doc parts, found;
    const float *read;
    struct arena arena;
    uint32_t rows;

    arena_create(&arena, 0);
    parts = doc_map(&arena, 2);
    doc_put(&parts, "one", parts_dense(values, 6, 1, false, &arena));
    doc_put(&parts, "list", parts_dense(values, 2, 3, true, &arena));
    parts_write(&parts, &arena, &bytes);
    ck_assert_int_eq(parts_read(bytes.data, bytes.size, &arena, &found, ERROR_IGNORED), 0);
    ck_assert(doc_equal(&parts, &found));
    ck_assert(parts_dense_values(doc_get(&found, "one"), 6, &read, &rows));
    ck_assert_uint_eq(rows, 1);
    ck_assert_mem_eq(read, values, sizeof(values));
    ck_assert(parts_dense_values(doc_get(&found, "list"), 2, &read, &rows));
    ck_assert_uint_eq(rows, 3);
    ck_assert_mem_eq(read, values, sizeof(values));
    ck_assert(!parts_dense_values(doc_get(&found, "one"), 5, &read, &rows));
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}
END_TEST

START_TEST(bytes_that_are_no_parts_are_damage)
{
    const struct doc sound = {.type = DOC_MAP};
    struct buffer bytes = {0};
    struct arena arena;
    struct doc parts;

    arena_create(&arena, 0);
    parts = parse(&arena, SPARSE);
    parts_write(&parts, &arena, &bytes);
    ck_assert_int_eq(parts_read(bytes.data, bytes.size, &arena, &parts, ERROR_IGNORED), 0);
    ck_assert_uint_eq(parts.count, 2);
    for (size_t size = 1; size < bytes.size; size++)
        ck_assert_int_eq(parts_read(bytes.data, size, &arena, &parts, ERROR_IGNORED),
                         ERROR_CORRUPT);
    for (size_t i = 0; i < bytes.size; i++) { /* any byte: an error, or parts of the same shape */
        struct error error = {0};
        bytes.data[i] ^= 0x55;
        if (parts_read(bytes.data, bytes.size, &arena, &parts, &error) != 0)
            ck_assert_int_eq(error.code, ERROR_CORRUPT);
        bytes.data[i] ^= 0x55;
    }
    ck_assert_int_eq(parts_read(NULL, 0, &arena, &parts, ERROR_IGNORED), 0);
    ck_assert_uint_eq(parts.count, sound.count);
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}
END_TEST

/* Four records; those with odd ids have parts if `parts`. */
static void append(struct store_shard *shard, int64_t *offset, uint32_t first, bool parts)
{
    static struct fixture_group group;
    struct buffer bytes = {0};
    struct arena arena;
    struct doc sparse;

    arena_create(&arena, 0);
    sparse = parse(&arena, SPARSE);
    parts_write(&sparse, &arena, &bytes);
    fixture_group_start(&group, *offset);
    for (uint32_t i = first; i < first + 4; i++) {
        struct store_record *record = &group.records[i - first];
        fixture_group_put(&group, i, 500, 0, 0, false);
        group.payloads[i - first][0] = 0x80;
        record->payload = group.payloads[i - first];
        record->payload_bytes = 1;
        record->has_parts = parts && i % 2 == 1;
        if (record->has_parts) {
            memcpy(group.payloads[i - first] + 1, bytes.data, bytes.size);
            record->payload_bytes += (uint32_t)bytes.size;
        }
    }
    ck_assert_int_eq(store_shard_append(shard, &group.group, ERROR_IGNORED), 0);
    *offset = group.group.next_offset;
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}

static void check_parts(struct store_shard *shard, uint32_t count, const char *when)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
    struct arena arena;
    struct doc expected;

    arena_create(&arena, 0);
    expected = parse(&arena, SPARSE);
    for (uint32_t i = 0; i < count; i++) {
        const struct store_source *source;
        const uint8_t *payload;
        struct buffer found = {0}, wanted = {0};
        struct store_key key;
        struct doc map, parts;
        size_t size, used;
        uint32_t row;
        fixture_key(i, &key);
        ck_assert_int_eq(
            store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, ERROR_IGNORED),
            0);
        ck_assert_int_eq(store_row_payload(source, row, &arena, &payload, &size, ERROR_IGNORED), 0);
        ck_assert_int_eq(
            doc_parse_msgpack_first(&arena, payload, size, NULL, &map, &used, ERROR_IGNORED), 0);
        ck_assert_int_eq(parts_read(payload + used, size - used, &arena, &parts, ERROR_IGNORED), 0);
        if (i % 2 == 1)
            doc_write_json(&wanted, &expected);
        else
            buffer_append_text(&wanted, "{}");
        doc_write_json(&found, &parts);
        ck_assert_msg(strcmp(buffer_text(&found), buffer_text(&wanted)) == 0, "%s, row %u: %s",
                      when, i, buffer_text(&found));
        buffer_destroy(&found);
        buffer_destroy(&wanted);
    }
    arena_destroy(&arena);
    store_snapshot_release(snapshot);
}

/* The version of the newest file of that kind: `end` bytes before its end, 0: at `offset`. */
static uint32_t version_of(const char *kind, size_t from_end, size_t offset, size_t size)
{
    char pattern[600];
    uint32_t version = 0;
    glob_t names;
    FILE *file;

    snprintf(pattern, sizeof(pattern), "%s/data/collections.d/news/3/*.%s", test_directory(), kind);
    ck_assert_int_eq(glob(pattern, 0, NULL, &names), 0);
    file = fopen(names.gl_pathv[names.gl_pathc - 1], "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (long)offset - (long)from_end, from_end ? SEEK_END : SEEK_SET), 0);
    ck_assert_uint_eq(fread(&version, size, 1, file), 1);
    fclose(file);
    globfree(&names);
    return version;
}

static uint32_t table_version_of(const char *kind)
{
    return version_of(kind, sizeof(struct table_footer), offsetof(struct table_footer, version),
                      sizeof(uint32_t));
}

START_TEST(parts_stay_with_their_records_and_files_tell)
{
    char data_dir[600];
    int64_t offset = 0;
    struct store *store;
    struct store_shard *shard;

    snprintf(data_dir, sizeof(data_dir), "%s/data", test_directory());
    store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    append(shard, &offset, 0, true);
    check_parts(shard, 4, "in memory");
    ck_assert_uint_eq(version_of("log", 0, offsetof(struct log_frame_header, version), 2),
                      LOG_FRAME_VERSION_PARTS);
    fixture_abandon(&store, &shard);
    store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    check_parts(shard, 4, "after a replay");
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    check_parts(shard, 4, "in a chunk");
    ck_assert_uint_eq(table_version_of("chunk"), TABLE_VERSION_PARTS);
    append(shard, &offset, 4, false);
    ck_assert_uint_eq(version_of("log", 0, offsetof(struct log_frame_header, version), 2),
                      LOG_FRAME_VERSION);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert_uint_eq(table_version_of("chunk"), TABLE_VERSION);
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
    check_parts(shard, 4, "in a run");
    ck_assert_uint_eq(table_version_of("run"), TABLE_VERSION_PARTS);
    ck_assert_uint_eq(version_of("vectors", 0, offsetof(struct table_header, version), 4),
                      TABLE_VERSION_PARTS);
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
    store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    check_parts(shard, 4, "after a restart");
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
}
END_TEST

#define OWN_TTL_MS (INT64_C(1) << 50)

/* Records with even ids have no vector, and every third one a TTL of its own. */
static void append_bare(struct store_shard *shard, int64_t *offset, uint32_t first, bool bare)
{
    static struct fixture_group group;

    fixture_group_start(&group, *offset);
    for (uint32_t i = first; i < first + 6; i++) {
        struct store_record *record = &group.records[i - first];
        fixture_group_put(&group, i, 500, 0, 0, false);
        record->ttl_ms = i % 3 == 0 ? OWN_TTL_MS + i : 0;
        if (bare && i % 2 == 0)
            record->vector = NULL;
    }
    ck_assert_int_eq(store_shard_append(shard, &group.group, ERROR_IGNORED), 0);
    *offset = group.group.next_offset;
}

static void check_bare(struct store_shard *shard, const char *when)
{
    static const float zeros[FIXTURE_DIM];
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
    struct arena arena;

    arena_create(&arena, 0);
    for (uint32_t i = 0; i < 6; i++) {
        const struct store_source *source;
        const float *vector;
        struct store_key key;
        uint32_t row;
        fixture_key(i, &key);
        ck_assert_int_eq(
            store_snapshot_find(snapshot, key.bytes, key.size_bytes, &source, &row, ERROR_IGNORED),
            0);
        ck_assert_msg(store_row_is_bare(source, row) == (i % 2 == 0), "%s: row %u", when, i);
        ck_assert(source->has_bare);
        ck_assert_int_eq(store_row_ttl_ms(source, row), i % 3 == 0 ? OWN_TTL_MS + i : 0);
        ck_assert_int_eq(store_row_vector(source, row, &arena, &vector, ERROR_IGNORED), 0);
        ck_assert((memcmp(vector, zeros, sizeof(zeros)) == 0) == (i % 2 == 0));
    }
    arena_destroy(&arena);
    store_snapshot_release(snapshot);
}

START_TEST(records_without_a_vector_stay_so_and_files_tell)
{
    char data_dir[600];
    int64_t offset = 0;
    struct store *store;
    struct store_shard *shard;

    snprintf(data_dir, sizeof(data_dir), "%s/data", test_directory());
    store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    append_bare(shard, &offset, 0, true);
    check_bare(shard, "in memory");
    ck_assert_uint_eq(version_of("log", 0, offsetof(struct log_frame_header, version), 2),
                      LOG_FRAME_VERSION_BARE);
    fixture_abandon(&store, &shard);
    store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    check_bare(shard, "after a replay");
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    check_bare(shard, "in a chunk");
    ck_assert_uint_eq(table_version_of("chunk"), TABLE_VERSION_BARE);
    append_bare(shard, &offset, 6, false);
    ck_assert_uint_eq(version_of("log", 0, offsetof(struct log_frame_header, version), 2),
                      LOG_FRAME_VERSION);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert_uint_eq(table_version_of("chunk"), TABLE_VERSION);
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
    check_bare(shard, "in a run");
    ck_assert_uint_eq(table_version_of("run"), TABLE_VERSION_BARE);
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
    store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    check_bare(shard, "after a restart");
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
}
END_TEST

TEST_TABLE(TEST(sparse_vectors_are_checked), TEST(dense_parts_come_back_as_they_were),
           TEST(bytes_that_are_no_parts_are_damage),
           TEST(parts_stay_with_their_records_and_files_tell),
           TEST(records_without_a_vector_stay_so_and_files_tell))
