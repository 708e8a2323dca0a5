#include "indexer/index/segment_format.h"

#include <math.h>

#include "base/checksum.h"

enum { M_LIMIT = INDEX_LINKS_MAX / 2, DIM_LIMIT = 65536, EXTRA_LIMIT = 512 };

int index_segment_corrupt(struct error *error, const char *what)
{
    return error_set(error, ERROR_CORRUPT, "index segment: %s", what);
}

uint64_t index_sections_place(struct index_section_entry *sections, const uint64_t *sizes,
                              uint32_t section_count)
{
    uint64_t offset = INDEX_SEGMENT_PAGE;

    for (uint32_t i = 0; i < section_count; i++) {
        sections[i].offset = offset;
        sections[i].size_bytes = sizes[i];
        offset += (sizes[i] + INDEX_SEGMENT_PAGE - 1) / INDEX_SEGMENT_PAGE * INDEX_SEGMENT_PAGE;
    }
    return offset;
}

int index_sections_agree(const struct index_section_entry *computed,
                         const struct index_section_entry *read, uint32_t section_count,
                         struct error *error)
{
    for (uint32_t i = 0; i < section_count; i++)
        if (computed[i].offset != read[i].offset || computed[i].size_bytes != read[i].size_bytes)
            return index_segment_corrupt(error, "a section is not where it must be");
    return 0;
}

int index_sections_check(const uint8_t *bytes, const struct index_section_entry *sections,
                         uint32_t section_count, uint64_t file_number, struct error *error)
{
    for (uint32_t i = 0; i < section_count; i++)
        if (index_section_checksum(bytes + sections[i].offset, sections[i].size_bytes, file_number,
                                   i) != sections[i].checksum)
            return error_set(error, ERROR_CORRUPT,
                             "index segment: section %u at byte %llu does not match its checksum",
                             i, (unsigned long long)sections[i].offset);
    return 0;
}

static int check_counts(const struct index_segment_header *header, struct error *error)
{
    uint32_t below = header->count;

    if (header->metric > INDEX_METRIC_L2)
        return index_segment_corrupt(error, "unknown metric");
    if (header->code_kind != INDEX_CODE_INT7 && header->code_kind != INDEX_CODE_FLOAT)
        return index_segment_corrupt(error, "unknown kind of codes");
    if (header->dim == 0 || header->dim > DIM_LIMIT || header->extra_dim > EXTRA_LIMIT)
        return index_segment_corrupt(error, "dimensions out of bounds");
    if (header->count == 0 || header->count > INT32_MAX || header->m < 2 || header->m > M_LIMIT)
        return index_segment_corrupt(error, "row count or degree out of bounds");
    if (header->stride !=
        index_code_stride((enum index_code_kind)header->code_kind, header->dim + header->extra_dim))
        return index_segment_corrupt(error, "row length does not fit the dimensions");
    if (header->code_kind == INDEX_CODE_INT7 && !(isfinite(header->step) && header->step > 0))
        return index_segment_corrupt(error, "step of the codes out of bounds");
    if (header->level_count > INDEX_LEVELS_MAX)
        return index_segment_corrupt(error, "too many levels");
    if (header->link_bits != index_link_bits(header->count))
        return index_segment_corrupt(error, "the width of links does not fit the row count");
    if (header->link_bytes < INDEX_LINK_SLACK ||
        header->link_bytes - INDEX_LINK_SLACK >
            (uint64_t)header->count * index_link_bytes(2 * header->m, header->link_bits))
        return index_segment_corrupt(error, "the size of the links is out of bounds");
    for (uint32_t i = 0; i < header->level_count; i++) {
        if (header->level_items[i] == 0 || header->level_items[i] > below)
            return index_segment_corrupt(error, "a level has more items than the one below");
        below = header->level_items[i];
    }
    return 0;
}

/* With counts bounded by 2^31 and strides by 2^19 bytes, sizes stay below 2^51. */
int index_segment_layout(struct index_segment_header *header, struct error *error)
{
    uint64_t sizes[INDEX_SECTION_COUNT] = {0};
    int status = check_counts(header, error);

    if (status != 0)
        return status;
    if (header->code_kind == INDEX_CODE_INT7)
        sizes[INDEX_SECTION_LOW] = (uint64_t)header->dim * sizeof(float);
    sizes[INDEX_SECTION_ROWS] = (uint64_t)header->count * sizeof(uint32_t);
    sizes[INDEX_SECTION_CODES] = (uint64_t)header->count * header->stride;
    sizes[INDEX_SECTION_PLACES] =
        (uint64_t)index_link_block_count(header->count) * sizeof(struct index_link_block);
    sizes[INDEX_SECTION_LINKS] = header->link_bytes;
    for (uint32_t i = 0; i < header->level_count; i++)
        sizes[INDEX_SECTION_LEVELS] +=
            (uint64_t)header->level_items[i] * (2 + header->m) * sizeof(uint32_t);
    header->file_bytes = index_sections_place(header->sections, sizes, INDEX_SECTION_COUNT);
    return 0;
}

uint64_t index_section_checksum(const void *bytes, uint64_t size_bytes, uint64_t file_number,
                                uint32_t section)
{
    return checksum_block(bytes, size_bytes, file_number, section, size_bytes);
}

uint64_t index_header_checksum(const struct index_segment_header *header)
{
    return checksum_block(header, offsetof(struct index_segment_header, checksum),
                          header->file_number, INDEX_SECTION_COUNT, 0);
}
