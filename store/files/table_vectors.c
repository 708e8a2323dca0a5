/* Vectors where they lie: a block's checksum is taken when one of its rows is first asked for.
 *
 * Raw blocks, and those of types with fewer bytes than float32, are read in place. A packed block is decoded once, into its place in an address range
 * that the table reserves for all its vectors: the pointers stay good until the table is closed,
 * and rows of neighbouring blocks follow one another as in a raw file. The memory behind the range
 * comes with the blocks that are touched (a cold window's re-rank touches few), is counted, and
 * goes when the table is closed or, with no reader left, trimmed. Merges pass by it: table_gather
 * decodes into a scratch block of its own.
 *
 * Two threads that meet on a raw block both take its checksum; the bit is set by whoever is first.
 * On a packed block one decodes under a lock and the other waits for it; the bit is set, with
 * release, after the floats are in place. Bits are cleared by table_trim only. A block that fails
 * stays unset and fails again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store/files/codec.h"
#include "store/files/table_internal.h"

static const struct table_block *vector_block(const struct table *table, uint32_t index)
{
    return table_column_blocks(table, TABLE_COLUMN_VECTORS) + index;
}

static bool is_packed(const struct table_block *block)
{
    return block->size_bytes != block->raw_bytes;
}

static int check_checksum(const struct table *table, uint32_t index, struct error *error)
{
    const struct table_block *block = vector_block(table, index);

    if (checksum_block(table->vectors.bytes + block->offset, block->size_bytes,
                       table->footer->file_number, TABLE_COLUMN_VECTORS, index) != block->checksum)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, index, error, "checksum mismatch");
    return 0;
}

/* Checks a block and decodes it to `out`; a raw block is copied. */
static int decode_block(const struct table *table, uint32_t index, float *out, struct error *error)
{
    const struct table_block *block = vector_block(table, index);
    const uint8_t *stored = table->vectors.bytes + block->offset;
    struct error cause;
    int result = check_checksum(table, index, error);

    if (result)
        return result;
    if (!is_packed(block)) {
        memcpy(out, stored, block->raw_bytes);
        return 0;
    }
    if (codec_decode(stored, block->size_bytes, out, block->raw_bytes / sizeof(float), &cause) != 0)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, index, error, "%s", cause.text);
    return 0;
}

int table_vector_block_check(const struct table *table, uint32_t index, struct error *error)
{
    float *scratch;
    int result;

    if (!is_packed(vector_block(table, index)))
        return check_checksum(table, index, error);
    scratch = malloc(vector_block(table, index)->raw_bytes);
    if (!scratch)
        return error_set(error, ERROR_MEMORY, "%s: no memory to decode a block",
                         table->vectors.path);
    result = decode_block(table, index, scratch, error);
    free(scratch);
    return result;
}

/* Blocks of a packed table in memory. */

int table_vectors_create(struct table *table, struct error *error)
{
    uint32_t block_count = table->footer->columns[TABLE_COLUMN_VECTORS].block_count;
    size_t size_bytes = table->row_count * table->vector_size_bytes;
    void *range;

    table->vectors_ready = calloc(block_count / 64 + 1, sizeof(*table->vectors_ready));
    if (!table->vectors_ready)
        return error_set(error, ERROR_MEMORY, "%s: no memory for %u blocks", table->vectors.path,
                         block_count);
    if (table->description.codec != VECTOR_CODEC_PACKED || size_bytes == 0)
        return 0;
    range = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        return error_set(error, ERROR_MEMORY, "%s: no address range of %zu bytes",
                         table->vectors.path, size_bytes);
    table->decoded = range;
    for (int i = 0; i < TABLE_DECODE_LOCKS; i++) {
        if (pthread_mutex_init(&table->decode_locks[i], NULL) != 0)
            abort();
    }
    return 0;
}

/* `bytes` wraps around for less, as unsigned numbers do. */
static void count_decoded(struct table *table, uint64_t bytes)
{
    (void)atomic_fetch_add_explicit(&table->decoded_bytes, bytes, memory_order_relaxed);
    if (table->decoded_total)
        (void)atomic_fetch_add_explicit(table->decoded_total, bytes, memory_order_relaxed);
}

void table_count_decoded(struct table *table, _Atomic uint64_t *total)
{
    assert(table_decoded_bytes(table) == 0);
    table->decoded_total = total;
}

void table_vectors_destroy(struct table *table)
{
    count_decoded(table, -table_decoded_bytes(table));
    free(table->vectors_ready);
    if (!table->decoded)
        return;
    (void)munmap(table->decoded, table->row_count * table->vector_size_bytes);
    for (int i = 0; i < TABLE_DECODE_LOCKS; i++)
        (void)pthread_mutex_destroy(&table->decode_locks[i]);
}

static uint8_t *decoded_place(const struct table *table, const struct table_block *block)
{
    return table->decoded + block->first_row * table->vector_size_bytes;
}

/* Hits are not counted: each row of each search would be one. */
static _Atomic uint64_t decoded_blocks;

uint64_t table_decoded_blocks(void)
{
    return atomic_load_explicit(&decoded_blocks, memory_order_relaxed);
}

static int make_ready(struct table *table, uint32_t index, struct error *error)
{
    const struct table_block *block = vector_block(table, index);
    uint64_t bit = UINT64_C(1) << (index % 64);
    _Atomic uint64_t *word = &table->vectors_ready[index / 64];
    pthread_mutex_t *lock = &table->decode_locks[index % TABLE_DECODE_LOCKS];
    int result = 0;

    if (!is_packed(block)) {
        result = check_checksum(table, index, error);
        if (result == 0)
            (void)atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
        return result;
    }
    pthread_mutex_lock(lock);
    if (!(atomic_load_explicit(word, memory_order_acquire) & bit)) {
        result = decode_block(table, index, (void *)decoded_place(table, block), error);
        if (result == 0) {
            (void)atomic_fetch_add_explicit(&decoded_blocks, 1, memory_order_relaxed);
            count_decoded(table, block->raw_bytes);
            (void)atomic_fetch_or_explicit(word, bit, memory_order_release);
        }
    }
    pthread_mutex_unlock(lock);
    return result;
}

static bool is_ready(const struct table *table, uint32_t index)
{
    return atomic_load_explicit(&table->vectors_ready[index / 64], memory_order_acquire) >>
               (index % 64) &
           1;
}

uint64_t table_decoded_bytes(const struct table *table)
{
    return atomic_load_explicit(&table->decoded_bytes, memory_order_relaxed);
}

void table_trim(struct table *table)
{
    uint32_t block_count = table->footer->columns[TABLE_COLUMN_VECTORS].block_count;

    if (!table->decoded)
        return;
    for (uint32_t i = 0; i < block_count / 64 + 1; i++)
        atomic_store_explicit(&table->vectors_ready[i], 0, memory_order_relaxed);
    (void)madvise(table->decoded, table->row_count * table->vector_size_bytes, MADV_DONTNEED);
    count_decoded(table, -table_decoded_bytes(table));
}

/* Rows. */

static uint32_t block_of_row(const struct table *table, uint32_t row)
{
    uint32_t first = 0;
    uint32_t end = table->footer->columns[TABLE_COLUMN_VECTORS].block_count;

    if (table->uniform_rows)
        return row / table->uniform_rows;
    while (end - first > 1) {
        uint32_t middle = first + (end - first) / 2;
        if (vector_block(table, middle)->first_row <= row)
            first = middle;
        else
            end = middle;
    }
    return first;
}

/* The bits and what they stand for are a cache: the table is the same to its readers. */
static int find_row(const struct table *table, uint32_t row, const struct table_block **block,
                    struct error *error)
{
    uint32_t index = block_of_row(table, row);

    assert(row < table->row_count);
    *block = vector_block(table, index);
    return is_ready(table, index) ? 0 : make_ready((struct table *)(uintptr_t)table, index, error);
}

static const uint8_t *row_bytes(const struct table *table, const struct table_block *block,
                                uint32_t row, const uint8_t *mapped)
{
    size_t place = (row - block->first_row) * table->vector_size_bytes;

    return is_packed(block) ? decoded_place(table, block) + place : mapped + block->offset + place;
}

int table_rows(const struct table *table, uint32_t row, struct vector_row *rows, uint32_t *count,
               struct error *error)
{
    const struct table_block *block;
    int result = find_row(table, row, &block, error);

    if (result)
        return result;
    rows->codec = table->description.codec;
    rows->mapping = NULL;
    rows->bytes = row_bytes(table, block, row, table->vectors.bytes);
    *count = block->row_count - (row - block->first_row);
    return 0;
}

int table_row_alone(const struct table *table, uint32_t row, struct vector_row *stored,
                    struct error *error)
{
    struct io_mapping *random = (struct io_mapping *)(uintptr_t)&table->random;
    const struct table_block *block;
    int result = find_row(table, row, &block, error);

    if (result)
        return result;
    stored->codec = table->description.codec;
    stored->bytes =
        row_bytes(table, block, row, random->bytes ? random->bytes : table->vectors.bytes);
    stored->mapping = random->bytes && !is_packed(block) ? random : NULL;
    return 0;
}

int table_vectors(const struct table *table, uint32_t row, const float **vectors, uint32_t *count,
                  struct error *error)
{
    struct vector_row rows;
    int result;

    if (!vector_codec_is_float32(table->description.codec))
        return error_set(error, ERROR_UNSUPPORTED, "%s: vectors are stored as %s",
                         table->vectors.path, vector_codec_name(table->description.codec));
    result = table_rows(table, row, &rows, count, error);
    if (result == 0)
        *vectors = rows.bytes;
    return result;
}

double table_recall(const struct table *table)
{
    return vector_codec_is_float32(table->description.codec) ? 1 : table->footer->recall;
}

/* Rows of packed blocks: each block is decoded when a row of another one was asked for before, so
 * rows that ascend, as in a merge, decode each block once and leave nothing in memory. */
static int gather_packed(const struct table *table, const uint32_t *rows, uint32_t count,
                         float *out, struct error *error)
{
    size_t dim = table->description.dim;
    float *scratch = malloc((size_t)table->uniform_rows * table->vector_size_bytes);
    uint32_t loaded = UINT32_MAX;
    int result = 0;

    if (!scratch)
        return error_set(error, ERROR_MEMORY, "%s: no memory to decode blocks",
                         table->vectors.path);
    for (uint32_t i = 0; result == 0 && i < count; i++) {
        uint32_t index = block_of_row(table, rows[i]);
        assert(rows[i] < table->row_count);
        if (index != loaded)
            result = decode_block(table, index, scratch, error);
        loaded = index;
        if (result == 0)
            memcpy(out + i * dim, scratch + (rows[i] - vector_block(table, index)->first_row) * dim,
                   table->vector_size_bytes);
    }
    free(scratch);
    return result;
}

int table_gather(const struct table *table, const uint32_t *rows, uint32_t count, float *out,
                 struct error *error)
{
    size_t dim = table->description.dim;

    if (table->description.codec == VECTOR_CODEC_PACKED)
        return gather_packed(table, rows, count, out, error);
    for (uint32_t i = 0; i < count; i++) {
        struct vector_row stored;
        uint32_t available;
        int result = table_rows(table, rows[i], &stored, &available, error);
        if (result)
            return result;
        vector_row_decode(stored, (uint32_t)dim, out + i * dim);
    }
    return 0;
}
