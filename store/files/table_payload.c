/* Payload blocks: checked, decompressed and cut into rows each time they are read. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "store/files/codec.h"
#include "store/files/table_internal.h"

/* The end offsets ascend and stay inside the block. */
static bool ends_are_sound(const uint8_t *raw, const struct table_block *block)
{
    uint32_t bytes = block->raw_bytes - block->row_count * (uint32_t)sizeof(uint32_t);
    uint32_t last = 0;

    for (uint32_t i = 0; i < block->row_count; i++) {
        uint32_t end;
        memcpy(&end, raw + (size_t)i * sizeof(end), sizeof(end));
        if (end < last || end > bytes)
            return false;
        last = end;
    }
    return last == bytes;
}

int table_payload_block(const struct table *table, uint32_t index, uint8_t *raw,
                        struct error *error)
{
    const struct table_block *block = table_column_blocks(table, TABLE_COLUMN_PAYLOADS) + index;
    const uint8_t *stored = table->index.bytes + block->offset;

    if (checksum_block(stored, block->size_bytes, table->footer->file_number, TABLE_COLUMN_PAYLOADS,
                       index) != block->checksum)
        return table_corrupt(table, TABLE_COLUMN_PAYLOADS, index, error, "checksum mismatch");
    if (block->size_bytes == block->raw_bytes) {
        memcpy(raw, stored, block->raw_bytes);
    } else {
        size_t got = ZSTD_decompressDCtx(codec_thread()->zstd, raw, block->raw_bytes, stored,
                                         block->size_bytes);
        if (got != block->raw_bytes)
            return table_corrupt(table, TABLE_COLUMN_PAYLOADS, index, error,
                                 "it does not decompress: %s",
                                 ZSTD_isError(got) ? ZSTD_getErrorName(got) : "wrong size");
    }
    if (!ends_are_sound(raw, block))
        return table_corrupt(table, TABLE_COLUMN_PAYLOADS, index, error,
                             "the rows' end offsets are out of order");
    return 0;
}

static uint32_t block_of_row(const struct table *table, uint32_t row)
{
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_PAYLOADS);
    uint32_t first = 0;
    uint32_t end = table->footer->columns[TABLE_COLUMN_PAYLOADS].block_count;

    while (end - first > 1) {
        uint32_t middle = first + (end - first) / 2;
        if (blocks[middle].first_row <= row)
            first = middle;
        else
            end = middle;
    }
    return first;
}

static void row_slice(const struct table_block *block, const uint8_t *raw, uint32_t row,
                      const uint8_t **payload, size_t *payload_bytes)
{
    uint32_t place = row - block->first_row;
    const uint32_t *ends = (const uint32_t *)raw;
    uint32_t first = place > 0 ? ends[place - 1] : 0;

    *payload = raw + (size_t)block->row_count * sizeof(uint32_t) + first;
    *payload_bytes = ends[place] - first;
}

int table_payload(const struct table *table, uint32_t row, struct arena *arena,
                  const uint8_t **payload, size_t *payload_bytes, struct error *error)
{
    uint32_t index = block_of_row(table, row);
    const struct table_block *block = table_column_blocks(table, TABLE_COLUMN_PAYLOADS) + index;
    uint8_t *raw = arena_alloc(arena, block->raw_bytes, sizeof(uint32_t));
    int result;

    assert(row < table->row_count);
    if (!raw)
        return error_set(error, ERROR_MEMORY, "no memory for a payload block of %u bytes",
                         block->raw_bytes);
    result = table_payload_block(table, index, raw, error);
    if (result == 0)
        row_slice(block, raw, row, payload, payload_bytes);
    return result;
}

uint64_t table_payload_bytes(const struct table *table)
{
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_PAYLOADS);
    uint64_t size_bytes = 0;

    for (uint32_t i = 0; i < table->footer->columns[TABLE_COLUMN_PAYLOADS].block_count; i++)
        size_bytes += blocks[i].raw_bytes;
    return size_bytes;
}

static int compare_places(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* Rows in ascending order with their place in the request: row << 32 | place. NULL without memory.
 */
static uint64_t *sorted_request(const uint32_t *rows, uint32_t count)
{
    uint64_t *request = malloc(sizeof(*request) * ((size_t)count + 1));

    if (!request)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        request[i] = (uint64_t)rows[i] << 32 | i;
    qsort(request, count, sizeof(*request), compare_places);
    return request;
}

int table_gather_payloads(const struct table *table, const uint32_t *rows, uint32_t count,
                          struct arena *arena, const uint8_t **payloads, uint32_t *payload_bytes,
                          struct error *error)
{
    uint64_t *request = sorted_request(rows, count);
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_PAYLOADS);
    const struct table_block *block = NULL;
    struct buffer raw = {0};
    int result = 0;

    if (!request)
        return error_set(error, ERROR_MEMORY, "no memory for the payloads of %u rows", count);
    for (uint32_t i = 0; result == 0 && i < count; i++) {
        uint32_t row = (uint32_t)(request[i] >> 32);
        uint32_t place = (uint32_t)request[i];
        const uint8_t *bytes;
        size_t size_bytes;
        assert(row < table->row_count);
        if (!block || row - block->first_row >= block->row_count) {
            uint32_t index = block_of_row(table, row);
            block = blocks + index;
            raw.size = 0;
            result =
                table_payload_block(table, index, buffer_reserve(&raw, block->raw_bytes), error);
            if (result)
                break;
        }
        row_slice(block, raw.data, row, &bytes, &size_bytes);
        payloads[place] = (const uint8_t *)arena_copy(arena, bytes, size_bytes);
        payload_bytes[place] = (uint32_t)size_bytes;
        if (!payloads[place])
            result = error_set(error, ERROR_MEMORY, "no memory for the payloads of %u rows", count);
    }
    buffer_destroy(&raw);
    free(request);
    return result;
}
