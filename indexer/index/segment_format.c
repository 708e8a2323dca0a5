/* The file of a segment: where sections lie, their checksums, writing. segment.h draws it. */
#include "indexer/index/segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "indexer/index/build_tools.h"

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

    if (header->metric > VECTOR_METRIC_L2)
        return index_segment_corrupt(error, "unknown metric");
    if (header->version == INDEX_SEGMENT_VERSION_OUTLIERS
            ? header->code_kind < INDEX_CODE_INT7 || header->code_kind > INDEX_CODE_HALF
        : header->version == INDEX_SEGMENT_VERSION_HALF
            ? header->code_kind != INDEX_CODE_HALF
            : header->code_kind != INDEX_CODE_INT7 && header->code_kind != INDEX_CODE_FLOAT)
        return index_segment_corrupt(error, "unknown kind of codes");
    if (header->dim == 0 || header->dim > DIM_LIMIT || header->extra_dim > EXTRA_LIMIT)
        return index_segment_corrupt(error, "dimensions out of bounds");
    if (header->count == 0 || header->count > INT32_MAX || header->m < 2 || header->m > M_LIMIT)
        return index_segment_corrupt(error, "row count or degree out of bounds");
    if (header->stride !=
        index_code_stride((enum index_code_kind)header->code_kind, header->dim + header->extra_dim))
        return index_segment_corrupt(error, "row length does not fit the dimensions");
    if (header->code_kind != INDEX_CODE_FLOAT && !(isfinite(header->step) && header->step > 0))
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

int index_segment_check_outliers(const struct index_outliers *outliers, bool expected,
                                 uint32_t row_count, struct error *error)
{
    if (expected != (outliers->count > 0) || !index_outliers_are_valid(outliers, row_count))
        return index_segment_corrupt(error, "the outliers are out of bounds");
    return 0;
}

/* With counts bounded by 2^31 and strides by 2^19 bytes, sizes stay below 2^51. */
int index_segment_layout(struct index_segment_header *header, struct error *error)
{
    uint64_t sizes[INDEX_SECTION_COUNT] = {0};
    int status = check_counts(header, error);

    if (status != 0)
        return status;
    if (header->code_kind != INDEX_CODE_FLOAT)
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

enum { WRITE_BYTES = 4 << 20 };

static void fill_header(const struct index_hnsw_graph *hnsw, uint64_t file_number,
                        uint64_t link_bytes, struct index_segment_header *header)
{
    const struct index_graph *graph = &hnsw->graph;
    const struct index_quantiser *quantiser = &graph->quantiser;

    *header = (struct index_segment_header){
        .magic = INDEX_SEGMENT_MAGIC,
        .version = hnsw->outliers.count > 0             ? INDEX_SEGMENT_VERSION_OUTLIERS
                   : quantiser->kind == INDEX_CODE_HALF ? INDEX_SEGMENT_VERSION_HALF
                                                        : INDEX_SEGMENT_VERSION,
        .metric = quantiser->metric,
        .file_number = file_number,
        .code_kind = quantiser->kind,
        .dim = quantiser->dim,
        .extra_dim = quantiser->extra_dim,
        .stride = quantiser->stride,
        .count = graph->count,
        .m = graph->m,
        .ef_construct = graph->ef_construct,
        .step = quantiser->step,
        .longest_square = quantiser->longest_square,
        .level_count = graph->level_count,
        .link_bytes = link_bytes,
        .link_bits = index_link_bits(graph->count),
        .outliers = hnsw->outliers,
    };
    memcpy(header->levels, quantiser->levels, sizeof(header->levels));
    for (uint32_t i = 0; i < graph->level_count; i++)
        header->level_items[i] = graph->levels[i].count;
}

/* Levels lie apart in memory and together in the file. */
static uint8_t *gather_levels(const struct index_graph *graph, uint64_t size_bytes)
{
    uint8_t *bytes = index_allocate(size_bytes, 1);
    uint8_t *out = bytes;

    for (uint32_t i = 0; i < graph->level_count; i++) {
        const struct index_level *level = &graph->levels[i];
        size_t items = (size_t)level->count * sizeof(uint32_t);
        memcpy(out, level->nodes, items);
        memcpy(out + items, level->below, items);
        memcpy(out + 2 * items, level->links, items * graph->m);
        out += items * (2 + graph->m);
    }
    return bytes;
}

static int write_all(struct io *io, int file, const char *path, const void *bytes, uint64_t size,
                     uint64_t offset, struct error *error)
{
    const uint8_t *from = bytes;
    int status = 0;

    while (size > 0 && status == 0) {
        uint64_t part = size < WRITE_BYTES ? size : WRITE_BYTES;
        status = io_write(io, file, path, from, part, offset, error);
        from += part;
        offset += part;
        size -= part;
    }
    return status;
}

void index_sections_sum(struct index_section_entry *sections, const void *const *content,
                        uint32_t section_count, uint64_t file_number)
{
    for (uint32_t i = 0; i < section_count; i++)
        sections[i].checksum =
            index_section_checksum(content[i], sections[i].size_bytes, file_number, i);
}

/* The header goes last: a file without it is nothing. */
int index_sections_write(struct io *io, const char *path, const void *header,
                         const struct index_section_entry *sections, const void *const *content,
                         uint32_t section_count, uint64_t file_bytes, struct error *error)
{
    struct error ignored;
    int file, status = io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file, error);

    if (status != 0)
        return status;
    status = io_truncate(io, file, path, file_bytes, error);
    for (uint32_t i = 0; i < section_count && status == 0; i++)
        status = write_all(io, file, path, content[i], sections[i].size_bytes, sections[i].offset,
                           error);
    if (status == 0)
        status = io_write(io, file, path, header, INDEX_SEGMENT_PAGE, 0, error);
    if (status == 0)
        status = io_datasync(io, file, path, error);
    if (status == 0)
        return io_close(io, file, path, error);
    (void)io_close(io, file, path, &ignored); /* the first error is the one to report */
    return status;
}

int index_segment_write(struct io *io, const char *path, uint64_t file_number,
                        const struct index_hnsw_graph *hnsw, uint64_t *size_bytes,
                        struct error *error)
{
    const struct index_graph *graph = &hnsw->graph;
    struct index_segment_header header;
    struct index_link_block *blocks;
    uint8_t *levels, *links;
    uint64_t link_bytes;
    int status;

    index_links_pack(hnsw->links, graph->count, 2 * graph->m, &blocks, &links, &link_bytes);
    fill_header(hnsw, file_number, link_bytes, &header);
    status = index_segment_layout(&header, error);
    assert(status == 0);
    levels = gather_levels(graph, header.sections[INDEX_SECTION_LEVELS].size_bytes);
    const void *content[INDEX_SECTION_COUNT] = {
        graph->quantiser.low ? (const void *)graph->quantiser.low : "",
        graph->rows,
        graph->codes,
        blocks,
        links,
        levels};
    index_sections_sum(header.sections, content, INDEX_SECTION_COUNT, file_number);
    header.checksum = index_header_checksum(&header);
    status = index_sections_write(io, path, &header, header.sections, content, INDEX_SECTION_COUNT,
                                  header.file_bytes, error);
    free(levels);
    free(links);
    free(blocks);
    *size_bytes = header.file_bytes;
    return status;
}
