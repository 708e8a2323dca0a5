#include "indexer/index/segment_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "indexer/index/memory.h"

enum { WRITE_BYTES = 4 << 20 };

static void fill_header(const struct index_graph *graph, uint64_t file_number, uint64_t link_bytes,
                        struct index_segment_header *header)
{
    const struct index_quantiser *quantiser = &graph->quantiser;

    *header = (struct index_segment_header){
        .magic = INDEX_SEGMENT_MAGIC,
        .version = INDEX_SEGMENT_VERSION,
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
    };
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
    fill_header(graph, file_number, link_bytes, &header);
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
