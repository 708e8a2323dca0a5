#include "tests/store/table_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "store/files/key.h"
#include "store/files/table_format.h"
#include "tests/support/test_main.h"

static void draw_key(uint64_t id, uint64_t style, struct store_key *key)
{
    char text[64];
    uint64_t state = id * 2 + 1;
    int length;

    switch (style % 4) {
    case 0:
        store_key_from_u64(id, key);
        return;
    case 1:
        length = snprintf(text, sizeof(text), "document-%llu/part", (unsigned long long)id);
        break;
    case 2:
        length = snprintf(text, sizeof(text), "%08llx-0000-4000-8000-%012llx",
                          (unsigned long long)(test_random(&state) & 0xffffffff),
                          (unsigned long long)id);
        break;
    default: /* one key is often the beginning of another */
        length = snprintf(text, sizeof(text), "%.*s", (int)(1 + id % 40),
                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        if (id >= 40)
            length += snprintf(text + length, sizeof(text) - (size_t)length, "%llu",
                               (unsigned long long)(id / 40));
    }
    ck_assert_int_eq(store_key_from_text(text, (size_t)length, false, key, ERROR_IGNORED), 0);
}

/* What a run of that type gives back. */
static void round_to(enum vector_codec codec, float *vector, uint32_t dim, struct arena *arena)
{
    void *bytes = arena_alloc(arena, vector_row_bytes(codec, dim), 4);

    ck_assert(vector_row_encode(codec, vector, dim, bytes));
    vector_row_decode((struct vector_row){.bytes = bytes, .codec = codec}, dim, vector);
}

static void draw_row(struct table_fixture *fixture, const struct table_fixture_options *options,
                     uint64_t style, uint32_t place, uint64_t *state, struct table_row *row)
{
    uint32_t space = options->key_space ? options->key_space : options->row_count;
    struct store_key key;
    float *vector = arena_alloc(&fixture->arena, (size_t)options->dim * 4, 64);
    uint64_t dice = test_random(state) % 100;
    size_t payload_bytes = test_random(state) % 200;
    uint8_t *payload;

    /* `style` 4 mixes all kinds of ids in one table. */
    draw_key(test_random(state) % space, style == 4 ? test_random(state) : style, &key);
    if (dice == 0 && !options->small_payloads)
        payload_bytes = 10000 + test_random(state) % 40000;
    else if (dice < 10)
        payload_bytes = 0;
    payload = arena_alloc(&fixture->arena, payload_bytes + 1, 1);
    for (size_t i = 0; i < payload_bytes; i++)
        payload[i] = dice % 2 ? (uint8_t)test_random(state) : (uint8_t)(i / 8);
    for (uint32_t i = 0; i < options->dim; i++) {
        uint32_t bits = (uint32_t)test_random(state);
        float near_one = (float)(int32_t)bits / 2147483648.0f;
        /* Now and then any bits: infinities, denormals and NaNs are carried as they are. */
        memcpy(&vector[i],
               dice == 1 && vector_codec_is_float32(options->codec) ? (const void *)&bits
                                                                    : (const void *)&near_one,
               4);
    }
    round_to(options->codec, vector, options->dim, &fixture->arena);
    *row = (struct table_row){
        .key = (const uint8_t *)arena_copy(&fixture->arena, key.bytes, key.size_bytes),
        .key_bytes = key.size_bytes,
        .event_time_ms = 1700000000000 + (int64_t)(test_random(state) % 3600000),
        .offset = 1000 + (int64_t)(place / 3), /* records of one batch message share theirs */
        .ttl_ms = style % 2 && dice < 20 ? (int64_t)(1 + test_random(state) % 100000) : 0,
        .payload = payload,
        .payload_bytes = (uint32_t)payload_bytes,
        .vector = vector,
    };
}

static int compare_rows(const void *a, const void *b)
{
    const struct table_row *left = a, *right = b;
    size_t common = left->key_bytes < right->key_bytes ? left->key_bytes : right->key_bytes;
    int order = memcmp(left->key, right->key, common);

    return order ? order : (int)left->key_bytes - (int)right->key_bytes;
}

static void sort_and_unique(struct table_fixture *fixture)
{
    uint32_t kept = 0;

    qsort(fixture->rows, fixture->row_count, sizeof(*fixture->rows), compare_rows);
    for (uint32_t i = 0; i < fixture->row_count; i++) {
        if (kept == 0 || compare_rows(&fixture->rows[kept - 1], &fixture->rows[i]) != 0)
            fixture->rows[kept++] = fixture->rows[i];
    }
    fixture->row_count = kept;
}

/* Vectors lie in the log with gaps of other windows' rows and frame headers between them. */
static void write_log(struct table_fixture *fixture, struct io *io, const char *directory,
                      uint64_t *state)
{
    size_t vector_bytes = (size_t)fixture->description.dim * 4;
    uint64_t position = 192;
    char path[PATH_MAX];
    int file;

    table_path(directory, fixture->description.log_file_number, "log", path, sizeof(path));
    ck_assert_int_eq(io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file, ERROR_IGNORED),
                     0);
    for (uint32_t i = 0; i < fixture->row_count; i++) {
        if (test_random(state) % 7 == 0)
            position = bytes_align(position + test_random(state) % 5000, 64);
        fixture->rows[i].log_position = position;
        ck_assert_int_eq(io_write(io, file, path, fixture->rows[i].vector, vector_bytes, position,
                                  ERROR_IGNORED),
                         0);
        position += vector_bytes;
    }
    ck_assert_int_eq(io_close(io, file, path, ERROR_IGNORED), 0);
}

int table_fixture_add_rows(const struct table_fixture *fixture, struct table_writer *writer,
                           struct error *error)
{
    int result = 0;

    for (uint32_t i = 0; result == 0 && i < fixture->row_count; i++)
        result = table_writer_add(writer, &fixture->rows[i], error);
    return result;
}

void table_fixture_create(struct table_fixture *fixture, struct io *io, const char *directory,
                          const struct table_fixture_options *options)
{
    uint64_t state = options->seed;
    uint64_t style = test_random(&state) % 5;
    struct table_writer *writer;
    struct error error = {0};

    /* Of keys that are beginnings of one another there are only 40: a run of many rows needs
     * others.
     */
    if (options->kind == TABLE_RUN && options->row_count > 1000 && style == 3)
        style = 4;
    memset(fixture, 0, sizeof(*fixture));
    arena_create(&fixture->arena, 0);
    fixture->description = (struct table_description){
        .kind = options->kind,
        .codec = options->codec,
        .file_number = options->file_number,
        .log_file_number = options->kind == TABLE_CHUNK ? options->file_number + 1 : 0,
        .dim = options->dim,
        .window_start_ms = 1700000000000,
        .window_length_ms = 3600000,
        .generation = options->kind == TABLE_RUN ? 1 : 0,
    };
    fixture->row_count = options->row_count;
    fixture->rows = arena_calloc(&fixture->arena, options->row_count + 1, sizeof(*fixture->rows));
    for (uint32_t i = 0; i < options->row_count; i++)
        draw_row(fixture, options, style, i, &state, &fixture->rows[i]);
    if (options->kind == TABLE_RUN)
        sort_and_unique(fixture);
    else
        write_log(fixture, io, directory, &state);
    ck_assert_msg(table_writer_open(io, directory, &fixture->description, &writer, &error) == 0 &&
                      table_fixture_add_rows(fixture, writer, &error) == 0 &&
                      table_writer_finish(writer, &fixture->info, &error) == 0,
                  "%s", error.text);
    ck_assert_uint_eq(fixture->info.row_count, fixture->row_count);
}

void table_fixture_destroy(struct table_fixture *fixture)
{
    arena_destroy(&fixture->arena);
}

/* libcheck writes a message for each assertion it passes, which made comparisons ten times slower.
 */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("row %u: " #condition, (unsigned)i);                                      \
    } while (0)

static void compare_columns(const struct table_fixture *fixture, const struct table *table)
{
    ck_assert_uint_eq(table_row_count(table), fixture->row_count);
    for (uint32_t i = 0; i < fixture->row_count; i++) {
        const struct table_row *row = &fixture->rows[i];
        size_t key_bytes;
        const uint8_t *key = table_key(table, i, &key_bytes);
        REQUIRE(key_bytes == row->key_bytes);
        REQUIRE(memcmp(key, row->key, key_bytes) == 0);
        REQUIRE(table_event_times(table)[i] == row->event_time_ms);
        REQUIRE(table_offsets(table)[i] == row->offset);
        REQUIRE((table_ttls(table) ? table_ttls(table)[i] : 0) == row->ttl_ms);
        REQUIRE(table_may_contain(table, table_key_hash(row->key, row->key_bytes)));
    }
}

static bool same_payload(const struct table_row *row, const uint8_t *payload, size_t payload_bytes)
{
    return payload_bytes == row->payload_bytes && memcmp(payload, row->payload, payload_bytes) == 0;
}

/* All rows at once, from the last to the first. */
static int compare_gathered(const struct table_fixture *fixture, const struct table *table,
                            struct arena *arena)
{
    uint32_t count = fixture->row_count;
    uint32_t *rows = arena_calloc(arena, count + (size_t)1, sizeof(*rows));
    const uint8_t **payloads = arena_calloc(arena, count + (size_t)1, sizeof(*payloads));
    uint32_t *sizes = arena_calloc(arena, count + (size_t)1, sizeof(*sizes));
    uint64_t raw_bytes = 0;
    int result;

    for (uint32_t i = 0; i < count; i++) {
        rows[i] = count - 1 - i;
        raw_bytes += sizeof(uint32_t) + fixture->rows[i].payload_bytes;
    }
    ck_assert_uint_eq(table_payload_bytes(table), raw_bytes);
    result = table_gather_payloads(table, rows, count, arena, payloads, sizes, ERROR_IGNORED);
    for (uint32_t i = 0; result == 0 && i < count; i++)
        REQUIRE(same_payload(&fixture->rows[rows[i]], payloads[i], sizes[i]));
    return result;
}

static int compare_payloads(const struct table_fixture *fixture, const struct table *table)
{
    struct arena arena;
    uint32_t step;
    int result;

    arena_create(&arena, 0);
    result = compare_gathered(fixture, table, &arena);
    /* With damage somewhere, each row is right or refused. */
    step = result ? 1 : 16;
    for (uint32_t i = 0; i < fixture->row_count; i += step) {
        const uint8_t *payload;
        size_t payload_bytes;
        int got;
        arena_reset(&arena);
        got = table_payload(table, i, &arena, &payload, &payload_bytes, ERROR_IGNORED);
        REQUIRE(got == 0 || (got == ERROR_CORRUPT && result == ERROR_CORRUPT));
        REQUIRE(got != 0 || same_payload(&fixture->rows[i], payload, payload_bytes));
    }
    arena_destroy(&arena);
    return result;
}

/* The fixture keeps what is to be read back. */
static bool same_vector(const struct table_fixture *fixture, uint32_t row, struct vector_row rows,
                        uint32_t place)
{
    uint32_t dim = fixture->description.dim;
    float values[TABLE_FIXTURE_DIM_MAX];

    rows.bytes = (const uint8_t *)rows.bytes + place * vector_row_bytes(rows.codec, dim);
    return memcmp(vector_row_values(rows, dim, values), fixture->rows[row].vector,
                  dim * sizeof(float)) == 0;
}

static int compare_vectors(const struct table_fixture *fixture, const struct table *table)
{
    int result = 0;

    for (uint32_t i = 0; i < fixture->row_count; i++) {
        struct vector_row rows;
        uint32_t count;
        int got = table_rows(table, i, &rows, &count, ERROR_IGNORED);
        if (got) {
            REQUIRE(got == ERROR_CORRUPT);
            result = got;
            continue;
        }
        REQUIRE(count >= 1 && count <= fixture->row_count - i);
        for (uint32_t j = 0; j < (i % 16 ? 1 : count); j++)
            REQUIRE(same_vector(fixture, i + j, rows, j));
        REQUIRE(rows.codec == fixture->description.codec);
    }
    return result;
}

int table_fixture_compare(const struct table_fixture *fixture, struct io *io, const char *directory)
{
    struct table *table;
    struct error error = {0};
    int result = table_open(io, directory, &fixture->description, &fixture->info, &table, &error);
    int payloads, vectors;

    if (result) {
        ck_assert_msg(result == ERROR_CORRUPT, "%d: %s", result, error.text);
        return result;
    }
    compare_columns(fixture, table);
    payloads = compare_payloads(fixture, table);
    vectors = compare_vectors(fixture, table);
    table_close(table);
    return payloads ? payloads : vectors;
}
