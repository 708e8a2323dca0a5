/* Vectors where they lie: a block's checksum is taken when one of its rows is first asked for.
 *
 * Two threads that meet on a block both take its checksum; the bit is set by whoever is first and
 * is never cleared, because the files do not change. A block that fails stays unset and fails
 * again. */
#include <assert.h>
#include <string.h>

#include "store/table_internal.h"

int table_vector_block_check(const struct table *table, uint32_t index, struct error *error)
{
    const struct table_block *block = table_column_blocks(table, TABLE_COLUMN_VECTORS) + index;

    if (checksum_block(table->vectors.bytes + block->offset, block->size_bytes,
                       table->footer->file_number, TABLE_COLUMN_VECTORS, index) != block->checksum)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, index, error, "checksum mismatch");
    return 0;
}

static int check_once(const struct table *table, uint32_t index, struct error *error)
{
    uint64_t bit = UINT64_C(1) << (index % 64);
    _Atomic uint64_t *word = &table->vectors_verified[index / 64];
    int result;

    if (atomic_load_explicit(word, memory_order_relaxed) & bit)
        return 0;
    result = table_vector_block_check(table, index, error);
    if (result == 0)
        (void)atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    return result;
}

static uint32_t block_of_row(const struct table *table, uint32_t row)
{
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_VECTORS);
    uint32_t first = 0;
    uint32_t end = table->footer->columns[TABLE_COLUMN_VECTORS].block_count;

    if (table->uniform_rows)
        return row / table->uniform_rows;
    while (end - first > 1) {
        uint32_t middle = first + (end - first) / 2;
        if (blocks[middle].first_row <= row)
            first = middle;
        else
            end = middle;
    }
    return first;
}

int table_vectors(const struct table *table, uint32_t row, const float **vectors, uint32_t *count,
                  struct error *error)
{
    uint32_t index = block_of_row(table, row);
    const struct table_block *block = table_column_blocks(table, TABLE_COLUMN_VECTORS) + index;
    uint32_t place = row - block->first_row;
    int result;

    assert(row < table->row_count);
    result = check_once(table, index, error);
    if (result)
        return result;
    *vectors =
        (const float *)(table->vectors.bytes + block->offset + place * table->vector_size_bytes);
    *count = block->row_count - place;
    return 0;
}

int table_gather(const struct table *table, const uint32_t *rows, uint32_t count, float *out,
                 struct error *error)
{
    size_t dim = table->description.dim;

    for (uint32_t i = 0; i < count; i++) {
        const float *vector;
        uint32_t available;
        int result = table_vectors(table, rows[i], &vector, &available, error);
        if (result)
            return result;
        memcpy(out + i * dim, vector, dim * sizeof(float));
    }
    return 0;
}
