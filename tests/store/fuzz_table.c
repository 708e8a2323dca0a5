/* Hostile n.chunk and n.run files. Checksums alone would stop every changed input at the door, so
 * the input is signed again first: what is left is the structure, which must be refused or read
 * without a step outside the file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "store/files/table.h"
#include "store/files/table_format.h"
#include "tests/store/table_memory_io.h"

enum { LOG_BYTES = 16384, VECTORS_MAX_BYTES = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Signs the blocks of a column as far as they lie in the file. */
static void sign_column(uint8_t *file, uint64_t file_bytes, struct table_footer *footer,
                        struct table_block *blocks, int column)
{
    const struct table_extent *extent = &footer->columns[column];
    uint64_t checksums;

    if (extent->first_block > footer->block_count ||
        extent->block_count > footer->block_count - extent->first_block ||
        extent->offset > file_bytes || extent->size_bytes > file_bytes - extent->offset)
        return;
    checksums = bytes_align(extent->offset + extent->size_bytes, 8);
    for (uint32_t i = 0; i < extent->block_count; i++) {
        struct table_block *block = &blocks[extent->first_block + i];
        if (block->offset > file_bytes || block->size_bytes > file_bytes - block->offset)
            continue;
        block->checksum = checksum_block(file + block->offset, block->size_bytes,
                                         footer->file_number, (uint64_t)column, i);
        if (checksums + i * UINT64_C(8) + 8 <= file_bytes)
            memcpy(file + checksums + (size_t)i * 8, &block->checksum, 8);
    }
}

static void fill_header(struct table_header *header, const char *magic,
                        const struct table_footer *footer)
{
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, magic, TABLE_MAGIC_BYTES);
    header->version = TABLE_VERSION;
    header->kind = footer->kind;
    header->codec = footer->codec;
    header->dim = footer->dim;
    header->file_number = footer->file_number;
    header->checksum = checksum_block(header, offsetof(struct table_header, checksum),
                                      footer->file_number, TABLE_PART_HEADER, 0);
}

/* The vectors of a run: zeros under a right header, so that opening gets past their checksums. */
static void put_vectors(struct memory_io *memory, struct table_footer *footer,
                        struct table_block *blocks)
{
    static uint8_t bytes[VECTORS_MAX_BYTES];
    struct table_header header;

    memset(bytes, 0, sizeof(bytes));
    if (footer->kind != TABLE_RUN) {
        sign_column(bytes, LOG_BYTES, footer, blocks, TABLE_COLUMN_VECTORS);
        memory_io_put(memory, "d/000002.log", bytes, LOG_BYTES);
        return;
    }
    if (footer->vector_bytes > sizeof(bytes) || footer->vector_bytes < sizeof(header))
        footer->vector_bytes = sizeof(bytes);
    fill_header(&header, TABLE_MAGIC_VECTORS, footer);
    memcpy(bytes, &header, sizeof(header));
    sign_column(bytes, footer->vector_bytes, footer, blocks, TABLE_COLUMN_VECTORS);
    memory_io_put(memory, "d/000001.vectors", bytes, (size_t)footer->vector_bytes);
}

/* False: too short to be signed. */
static bool sign(struct memory_io *memory, uint8_t *file, size_t size, struct table_footer *footer)
{
    uint64_t footer_offset = size - sizeof(*footer);
    bool is_run = memcmp(file, TABLE_MAGIC_RUN, TABLE_MAGIC_BYTES) == 0;

    if (footer_offset % 8 != 0)
        return false;
    memcpy(footer, file + footer_offset, sizeof(*footer));
    memcpy(footer->magic, TABLE_MAGIC_FOOTER, TABLE_MAGIC_BYTES);
    footer->version = TABLE_VERSION;
    footer->kind = is_run ? TABLE_RUN : TABLE_CHUNK;
    footer->file_number = 1;
    footer->log_file_number = is_run ? 0 : 2;
    fill_header((struct table_header *)file, is_run ? TABLE_MAGIC_RUN : TABLE_MAGIC_CHUNK, footer);
    if (footer->index_offset <= footer_offset && footer->index_offset % 8 == 0 &&
        footer->block_count <= (footer_offset - footer->index_offset) / 32) {
        struct table_block *blocks = (struct table_block *)(file + footer->index_offset);
        for (int i = 0; i < TABLE_COLUMN_VECTORS; i++)
            sign_column(file, footer->index_offset, footer, blocks, i);
        put_vectors(memory, footer, blocks);
        footer->index_checksum =
            checksum_block(blocks, footer->block_count * sizeof(*blocks), 1, TABLE_PART_INDEX, 0);
    }
    footer->checksum =
        checksum_block(footer, offsetof(struct table_footer, checksum), 1, TABLE_PART_FOOTER, 0);
    memcpy(file + footer_offset, footer, sizeof(*footer));
    return true;
}

static void read_everything(struct table *table)
{
    struct arena arena;
    struct buffer findings = {0};

    arena_create(&arena, 1 << 24);
    for (uint32_t row = 0; row < table_row_count(table); row++) {
        const uint8_t *payload;
        struct vector_row rows;
        float values[4096];
        size_t key_bytes, payload_bytes;
        uint32_t count, found;
        const uint8_t *key = table_key(table, row, &key_bytes);
        uint32_t place = table_lower_bound(table, key, key_bytes);
        /* The order was checked: a key that is there is found. */
        assert(place < table_row_count(table));
        (void)table_find(table, key, key_bytes, table_key_hash(key, key_bytes), &found);
        (void)table_lower_bound(table, key, key_bytes - 1);
        arena_reset(&arena);
        if (table_payload(table, row, &arena, &payload, &payload_bytes, ERROR_IGNORED) == 0 &&
            payload_bytes > 0)
            assert(payload[0] <= 255 && payload[payload_bytes - 1] <= 255);
        if (table_rows(table, row, &rows, &count, ERROR_IGNORED) == 0) {
            assert(count >= 1 && count <= table_row_count(table) - row);
            if (table_describe(table)->dim <= 4096)
                vector_row_decode(rows, table_describe(table)->dim, values);
        }
    }
    (void)table_verify(table, &findings, ERROR_IGNORED);
    buffer_destroy(&findings);
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_io memory;
    struct table_footer footer;
    struct table *table;
    uint8_t *file;

    if (size < sizeof(struct table_header) + sizeof(footer))
        return 0;
    memory_io_create(&memory);
    file = aligned_alloc(64, (size + 63) / 64 * 64);
    assert(file);
    memcpy(file, data, size);
    if (sign(&memory, file, size, &footer)) {
        struct table_description description = {
            .kind = (enum table_kind)footer.kind,
            .codec = (enum vector_codec)footer.codec,
            .file_number = 1,
            .log_file_number = 2,
            .dim = footer.dim,
            .window_start_ms = footer.window_start_ms,
            .window_length_ms = footer.window_length_ms,
            .generation = footer.generation,
        };
        memory_io_put(&memory, footer.kind == TABLE_RUN ? "d/000001.run" : "d/000001.chunk", file,
                      size);
        if (table_open(&memory.io, "d", &description, NULL, &table, ERROR_IGNORED) == 0) {
            read_everything(table);
            table_close(table);
        }
    }
    free(file);
    memory_io_destroy(&memory);
    return 0;
}
