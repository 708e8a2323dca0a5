/* Whatever a segment file holds, opening it refuses it or makes it safe to search. Checksums are
 * put right first: whoever can write a file can write them. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/ivf_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One file in memory. */
struct memory_io {
    struct io io;
    const uint8_t *bytes;
    size_t size;
};

static int memory_open(struct io *io, const char *path, unsigned flags)
{
    (void)io;
    (void)path;
    return flags == IO_READ ? 3 : -EACCES;
}

static int memory_close(struct io *io, int file)
{
    (void)io;
    (void)file;
    return 0;
}

static int64_t memory_size(struct io *io, int file)
{
    (void)file;
    return (int64_t)((struct memory_io *)io)->size;
}

static int memory_map(struct io *io, int file, uint64_t size_bytes, const void **bytes)
{
    (void)file;
    (void)size_bytes;
    *bytes = ((struct memory_io *)io)->bytes;
    return 0;
}

static int memory_unmap(struct io *io, const void *bytes, uint64_t size_bytes)
{
    (void)io;
    (void)bytes;
    (void)size_bytes;
    return 0;
}

static const struct io_operations operations = {.open = memory_open,
                                                .close = memory_close,
                                                .size = memory_size,
                                                .map = memory_map,
                                                .unmap = memory_unmap};

static void sign_sections(uint8_t *bytes, size_t size, uint64_t file_number,
                          struct index_section_entry *sections, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (sections[i].offset <= size && sections[i].size_bytes <= size - sections[i].offset)
            sections[i].checksum = index_section_checksum(bytes + sections[i].offset,
                                                          sections[i].size_bytes, file_number, i);
}

static void sign(uint8_t *bytes, size_t size)
{
    struct index_segment_header *header = (void *)bytes;
    struct index_ivf_header *lists = (void *)bytes;

    if (header->magic == INDEX_SEGMENT_MAGIC) {
        sign_sections(bytes, size, header->file_number, header->sections, INDEX_SECTION_COUNT);
        header->checksum = index_header_checksum(header);
    } else if (header->magic == INDEX_IVF_MAGIC) {
        sign_sections(bytes, size, lists->file_number, lists->sections, INDEX_IVF_SECTION_COUNT);
        lists->checksum = index_ivf_header_checksum(lists);
    }
}

static struct vector_row vector_of(void *context, uint32_t row, struct error *error)
{
    (void)row;
    (void)error;
    return vector_row_float32(context);
}

static bool accept_odd(void *context, uint32_t row)
{
    (void)context;
    return row % 2 == 1;
}

/* Every third row matches: the walk goes over these alone, two links at a time. */
static void search_matching(const struct index_segment *segment, uint32_t rows,
                            const struct index_search *search)
{
    struct index_group_member member = {.segment = segment,
                                        .matching_rows = (rows + 2) / 3,
                                        .vector = search->vector,
                                        .vector_context = search->vector_context};
    uint64_t *matching = calloc((size_t)rows / 64 + 1, sizeof(*matching));
    uint32_t members[5], count;
    struct index_hit hits[5];
    struct error error;
    bool exhausted;

    for (uint32_t row = 0; row < rows; row += 3)
        matching[row / 64] |= UINT64_C(1) << row % 64;
    member.matching = matching;
    if (index_group_search(&member, 1, search, hits, members, &count, &exhausted, &error) != 0 ||
        count > 5)
        abort();
    for (uint32_t i = 0; i < count; i++)
        if (hits[i].row % 3 != 0)
            abort();
    free(matching);
}

static void use(const struct index_segment *segment, uint32_t dim, uint32_t rows)
{
    float *vector = calloc(dim, sizeof(float));
    struct index_search search = {.query = vector,
                                  .k = 5,
                                  .ef = 20,
                                  .floor_score = -__builtin_inff(),
                                  .vector = vector_of,
                                  .vector_context = vector};
    struct index_hit hits[5];
    struct error error;
    uint32_t count;
    bool exhausted;

    for (uint32_t i = 0; i < dim; i++)
        vector[i] = (float)(i % 7) - 3;
    for (int filtered = 0; filtered < 2; filtered++) {
        search.accept = filtered ? accept_odd : NULL;
        if (index_segment_search(segment, &search, hits, &count, &exhausted, &error) != 0 ||
            count > 5)
            abort();
    }
    search.accept = NULL;
    search_matching(segment, rows, &search);
    (void)index_segment_validate(segment, &error);
    free(vector);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_io memory = {.io = {&operations}, .size = size};
    struct index_segment_header *header;
    struct index_segment *segment;
    struct error error;
    uint32_t rows;
    uint8_t *bytes;

    if (size < sizeof(*header) || size > 1 << 22)
        return 0;
    bytes = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    memory.bytes = bytes;
    header = (void *)bytes;
    sign(bytes, size);
    rows = header->magic == INDEX_IVF_MAGIC
               ? ((const struct index_ivf_header *)(const void *)bytes)->count
               : header->count;
    if (index_segment_open(&memory.io, "fuzz", header->file_number,
                           (enum vector_metric)header->metric, header->dim, rows, &segment,
                           &error) == 0) {
        use(segment, header->dim, rows);
        index_segment_close(segment);
    }
    free(bytes);
    return 0;
}
