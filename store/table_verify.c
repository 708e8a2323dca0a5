/* Reads every byte of an open table again, whatever was checked before, and goes on after damage so
 * that one report names all of it. */
#include <stdlib.h>
#include <string.h>

#include "store/table_internal.h"

struct verification {
    const struct table *table;
    struct buffer *findings;
    bool found;
};

static void note(struct verification *verification, int result, const struct error *error)
{
    if (result == 0)
        return;
    buffer_append_text(verification->findings, error->text);
    buffer_append_byte(verification->findings, '\n');
    verification->found = true;
}

/* Zeros around the checksums that follow a column, and those checksums against the block index. */
static void verify_tail(struct verification *verification, enum table_column_id column,
                        const uint8_t *file)
{
    const struct table_extent *extent = &verification->table->footer->columns[column];
    const struct table_block *blocks = table_column_blocks(verification->table, column);
    uint64_t place = extent->offset + extent->size_bytes;
    uint64_t checksums = table_align(place, 8);
    uint64_t checksums_end = checksums + (uint64_t)extent->block_count * 8;
    struct error error;

    for (; place < table_extent_end(extent); place++) {
        if ((place < checksums || place >= checksums_end) && file[place] != 0) {
            note(verification,
                 table_corrupt(verification->table, column, UINT32_MAX, &error,
                               "byte %llu in a gap is not zero", (unsigned long long)place),
                 &error);
            break;
        }
    }
    for (uint32_t i = 0; i < extent->block_count; i++) {
        uint64_t stored;
        memcpy(&stored, file + checksums + (uint64_t)i * 8, sizeof(stored));
        if (stored != blocks[i].checksum)
            note(verification,
                 table_corrupt(verification->table, column, i, &error,
                               "the checksum behind the column is not the block index's"),
                 &error);
    }
}

static void verify_payloads(struct verification *verification)
{
    const struct table *table = verification->table;
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_PAYLOADS);
    struct buffer raw = {0};
    struct error error;

    for (uint32_t i = 0; i < table->footer->columns[TABLE_COLUMN_PAYLOADS].block_count; i++)
        note(verification,
             table_payload_block(table, i, buffer_reserve(&raw, blocks[i].raw_bytes), &error),
             &error);
    buffer_destroy(&raw);
    verify_tail(verification, TABLE_COLUMN_PAYLOADS, table->index.bytes);
}

static void verify_vectors(struct verification *verification)
{
    const struct table *table = verification->table;
    struct error error;

    for (uint32_t i = 0; i < table->footer->columns[TABLE_COLUMN_VECTORS].block_count; i++)
        note(verification, table_vector_block_check(table, i, &error), &error);
    if (table->description.kind == TABLE_RUN)
        verify_tail(verification, TABLE_COLUMN_VECTORS, table->vectors.bytes);
}

int table_verify(struct table *table, struct buffer *findings, struct error *error)
{
    struct verification verification = {.table = table, .findings = findings};
    struct error found;

    for (int i = TABLE_COLUMN_EVENT_TIMES; i < TABLE_COLUMN_VECTORS; i++)
        note(&verification, table_check_column(table, (enum table_column_id)i, &found), &found);
    note(&verification, table_check_content(table, &found), &found);
    verify_payloads(&verification);
    verify_vectors(&verification);
    if (verification.found)
        return error_set(error, ERROR_CORRUPT, "%s: damaged", table->index.path);
    return 0;
}
