/* Hostile n.mask files: the first byte says whether the checksum is made right before reading. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "store/files/table.h"
#include "store/files/table_format.h"
#include "tests/store/table_memory_io.h"

enum { ROWS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_io memory;
    struct mask_entry *entries;
    struct buffer *file;
    uint32_t count;

    if (size < 1)
        return 0;
    memory_io_create(&memory);
    memory_io_put(&memory, "d/000001.mask", data + 1, size - 1);
    file = memory_io_file(&memory, "d/000001.mask");
    if (data[0] % 2 && file->size >= 8) {
        uint64_t checksum = checksum_block(file->data, file->size - 8, 1, TABLE_PART_MASK, 2);
        memcpy(file->data + file->size - 8, &checksum, 8);
    }
    if (mask_read(&memory.io, "d", 1, 2, ROWS, &entries, &count, ERROR_IGNORED) == 0) {
        for (uint32_t i = 0; i < count; i++)
            assert(entries[i].row < ROWS && (i == 0 || entries[i - 1].row < entries[i].row));
        free(entries);
    }
    memory_io_destroy(&memory);
    return 0;
}
