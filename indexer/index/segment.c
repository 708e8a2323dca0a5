/* Opening: nothing in the file is believed. The header's counts fix where every section must be, so
 * offsets and sizes are computed, not read; then checksums; then every number that a search uses
 * as an index. Only after that may a search run without checks. */
#include "indexer/index/segment.h"

#include <stdlib.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/ivf_file.h"
#include "indexer/index/row_reads.h"

static int check_header(const struct index_segment_header *header, uint64_t file_number,
                        uint64_t size_bytes, struct error *error)
{
    struct index_segment_header computed;
    int status;

    if (header->magic != INDEX_SEGMENT_MAGIC)
        return index_segment_corrupt(error, "no index segment");
    if (header->version < INDEX_SEGMENT_VERSION || header->version > INDEX_SEGMENT_VERSION_OUTLIERS)
        return error_set(error, ERROR_UNSUPPORTED, "index segment: format version %u",
                         header->version);
    if (header->checksum != index_header_checksum(header))
        return index_segment_corrupt(error, "the header does not match its checksum");
    if (header->file_number != file_number)
        return index_segment_corrupt(error, "written as another file");
    computed = *header;
    status = index_segment_layout(&computed, error);
    if (status != 0)
        return status;
    if (computed.file_bytes != header->file_bytes || header->file_bytes != size_bytes)
        return index_segment_corrupt(error, "the file's size does not fit its header");
    if (!index_effort_is_valid(&header->effort))
        return index_segment_corrupt(error, "the measured effort is out of bounds");
    if (!index_choice_is_valid(&header->choice))
        return index_segment_corrupt(error, "the measured cost is out of bounds");
    status = index_segment_check_outliers(
        &header->outliers, header->version == INDEX_SEGMENT_VERSION_OUTLIERS, header->count, error);
    if (status != 0)
        return status;
    return index_sections_agree(computed.sections, header->sections, INDEX_SECTION_COUNT, error);
}

static void place_graph(const struct index_segment_header *header, const uint8_t *bytes,
                        struct index_graph *graph)
{
    const struct index_section_entry *sections = header->sections;
    const uint32_t *levels = (const void *)(bytes + sections[INDEX_SECTION_LEVELS].offset);

    *graph = (struct index_graph){
        .quantiser = {.metric = (enum vector_metric)header->metric,
                      .kind = (enum index_code_kind)header->code_kind,
                      .dim = header->dim,
                      .extra_dim = header->extra_dim,
                      .stride = header->stride,
                      .step = header->step,
                      .longest_square = header->longest_square},
        .count = header->count,
        .m = header->m,
        .ef_construct = header->ef_construct,
        .codes = bytes + sections[INDEX_SECTION_CODES].offset,
        .rows = (const void *)(bytes + sections[INDEX_SECTION_ROWS].offset),
        .links = {.blocks = (const void *)(bytes + sections[INDEX_SECTION_PLACES].offset),
                  .bytes = bytes + sections[INDEX_SECTION_LINKS].offset,
                  .bits = header->link_bits},
        .level_count = header->level_count,
    };
    memcpy(graph->quantiser.levels, header->levels, sizeof(header->levels));
    if (header->code_kind != INDEX_CODE_FLOAT)
        graph->quantiser.low = (void *)(uintptr_t)(bytes + sections[INDEX_SECTION_LOW].offset);
    for (uint32_t i = 0; i < header->level_count; i++) {
        uint32_t count = header->level_items[i];
        graph->levels[i] =
            (struct index_level){count, levels, levels + count, levels + 2 * (size_t)count};
        levels += (2 + (size_t)header->m) * count;
    }
}

static uint32_t largest(const uint32_t *values, size_t count, bool skip_missing)
{
    uint32_t most = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t value = skip_missing && values[i] == UINT32_MAX ? 0 : values[i];
        most = value > most ? value : most;
    }
    return most;
}

/* What a search relies on for memory safety, and no row twice. The rest is for validate. */
static int check_numbers(const struct index_graph *graph, uint64_t link_bytes, struct error *error)
{
    const char *wrong;
    uint64_t *seen;
    int status = 0;

    if (largest(graph->rows, graph->count, false) >= graph->count)
        return index_segment_corrupt(error, "a row number is out of bounds");
    wrong = index_links_check(&graph->links, graph->count, 2 * graph->m, link_bytes);
    if (wrong)
        return index_segment_corrupt(error, wrong);
    for (uint32_t i = 0; i < graph->level_count; i++) {
        const struct index_level *level = &graph->levels[i];
        uint32_t below = i == 0 ? graph->count : graph->levels[i - 1].count;
        if (largest(level->nodes, level->count, false) >= graph->count ||
            largest(level->below, level->count, false) >= below ||
            largest(level->links, (size_t)level->count * graph->m, true) >= level->count)
            return index_segment_corrupt(error, "an upper level points out of bounds");
    }
    seen = index_allocate_zeroed(graph->count / 64 + 1, sizeof(uint64_t));
    for (uint32_t node = 0; node < graph->count && status == 0; node++) {
        uint32_t row = graph->rows[node];
        if (seen[row / 64] >> row % 64 & 1)
            status = index_segment_corrupt(error, "a row appears twice");
        seen[row / 64] |= UINT64_C(1) << row % 64;
    }
    free(seen);
    return status;
}

/* Codes are 7-bit: a larger byte, or level of half codes, would overflow the integer kernels' sums.
 * A half code is one of sixteen, whatever it is. */
static int check_codes(const struct index_graph *graph, struct error *error)
{
    const uint64_t *words = (const void *)graph->codes;
    size_t count = (size_t)graph->count * graph->quantiser.stride / sizeof(uint64_t);
    uint64_t all = 0;

    for (uint32_t i = 0; i < INDEX_HALF_LEVELS; i++)
        if (graph->quantiser.levels[i] > INDEX_CODE_MAX)
            return index_segment_corrupt(error, "a level of half codes is out of bounds");
    if (graph->quantiser.kind != INDEX_CODE_INT7)
        return 0;
    for (size_t i = 0; i < count; i++)
        all |= words[i];
    return all & UINT64_C(0x8080808080808080)
               ? index_segment_corrupt(error, "a code is out of bounds")
               : 0;
}

/* What a segment must be of. */
struct expected {
    enum vector_metric metric;
    uint32_t dim, rows;
};

static int check_expected(uint32_t metric, uint32_t dim, uint32_t rows,
                          const struct expected *expected, struct error *error)
{
    if (metric != (uint32_t)expected->metric || dim != expected->dim || rows != expected->rows)
        return error_set(error, ERROR_CORRUPT,
                         "index segment: has metric %u, %u dimensions, %u rows; metric %u, %u "
                         "dimensions, %u rows expected",
                         metric, dim, rows, (unsigned)expected->metric, expected->dim,
                         expected->rows);
    return 0;
}

static int open_graph(struct index_segment *opened, uint64_t file_number,
                      const struct expected *expected, struct error *error)
{
    const struct index_segment_header *header = (const void *)opened->bytes;
    int status = check_header(header, file_number, opened->size_bytes, error);

    if (status == 0)
        status = check_expected(header->metric, header->dim, header->count, expected, error);
    if (status == 0)
        status = index_sections_check(opened->bytes, header->sections, INDEX_SECTION_COUNT,
                                      header->file_number, error);
    if (status != 0)
        return status;
    place_graph(header, opened->bytes, &opened->graph);
    opened->effort = header->effort;
    opened->effort_logs = index_effort_logs(&opened->effort);
    opened->choice = header->choice;
    opened->outliers = header->outliers;
    status = check_numbers(&opened->graph, header->link_bytes, error);
    return status != 0 ? status : check_codes(&opened->graph, error);
}

static int open_ivf(struct index_segment *opened, uint64_t file_number,
                    const struct expected *expected, struct error *error)
{
    const struct index_ivf_header *header = (const void *)opened->bytes;
    struct index_ivf *ivf = index_allocate_zeroed(1, sizeof(*ivf));
    int status = index_ivf_open(opened->bytes, opened->size_bytes, file_number, ivf, error);

    if (status == 0)
        status = check_expected(header->metric, header->dim, header->count, expected, error);
    opened->effort = header->effort;
    opened->effort_logs = index_effort_logs(&opened->effort);
    opened->choice = header->choice;
    opened->outliers = header->outliers;
    if (status == 0)
        opened->ivf = ivf;
    else
        free(ivf);
    return status;
}

static int map_file(struct io *io, const char *path, uint64_t *size_bytes, const void **bytes,
                    struct error *error)
{
    struct error ignored;
    int file, status = io_open(io, path, IO_READ, &file, error);

    if (status != 0)
        return status;
    status = io_size(io, file, path, size_bytes, error);
    if (status == 0 && *size_bytes < INDEX_SEGMENT_PAGE)
        status = index_segment_corrupt(error, "shorter than its header");
    if (status == 0)
        status = io_map(io, file, path, *size_bytes, bytes, error);
    (void)io_close(io, file, path, &ignored); /* only read; the mapping holds on its own */
    return status;
}

int index_segment_open(struct io *io, const char *path, uint64_t file_number,
                       enum vector_metric metric, uint32_t dim, uint32_t row_count,
                       struct index_segment **segment, struct error *error)
{
    struct index_segment opened = {.io = io};
    const struct expected expected = {metric, dim, row_count};
    const void *bytes;
    int status;

    *segment = NULL;
    status = map_file(io, path, &opened.size_bytes, &bytes, error);
    if (status != 0)
        return error_wrap(error, "open %s", path);
    opened.bytes = bytes;
    if (*(const uint64_t *)bytes == INDEX_IVF_MAGIC)
        status = open_ivf(&opened, file_number, &expected, error);
    else
        status = open_graph(&opened, file_number, &expected, error);
    if (status != 0) {
        io_unmap(io, bytes, opened.size_bytes);
        return error_wrap(error, "open %s", path);
    }
    io_expect_random(io, bytes, opened.size_bytes); /* the checks read it from end to end */
    *segment = index_allocate(1, sizeof(opened));
    **segment = opened;
    return 0;
}

void index_segment_close(void *object)
{
    struct index_segment *segment = object;

    if (!segment)
        return;
    io_unmap(segment->io, segment->bytes, segment->size_bytes);
    free(segment->ivf);
    free(segment);
}

enum segment_kind index_segment_kind(const struct index_segment *segment)
{
    return segment->ivf ? SEGMENT_IVF_PQ : SEGMENT_HNSW;
}

enum vector_metric index_segment_metric(const struct index_segment *segment)
{
    return segment->ivf ? segment->ivf->codebook.metric : segment->graph.quantiser.metric;
}

uint32_t index_segment_dim(const struct index_segment *segment)
{
    return segment->ivf ? segment->ivf->codebook.quantiser.dim : segment->graph.quantiser.dim;
}

uint32_t index_segment_effort(const struct index_segment *segment, double k, double recall)
{
    return index_effort_ef(&segment->effort_logs, k, recall);
}

uint32_t index_segment_least_ef(const struct index_segment *segment)
{
    return segment->ivf || segment->effort.query_count == 0 ? INDEX_EF_UNMEASURED
                                                            : INDEX_EF_GRAPH_MIN;
}

uint32_t index_segment_default_ef(const struct index_segment *segment, double k, double recall)
{
    uint32_t ef = index_segment_effort(segment, k, recall), least = index_segment_least_ef(segment);

    return ef > least ? ef : least;
}

const struct index_choice *index_segment_choice(const struct index_segment *segment)
{
    return &segment->choice;
}

uint64_t index_segment_codebook(const struct index_segment *segment)
{
    return segment->ivf ? segment->ivf->codebook.id : 0;
}

const struct index_ivf *index_segment_lists(const struct index_segment *segment)
{
    return segment->ivf;
}

uint64_t index_segment_bytes(const struct index_segment *segment)
{
    return segment->size_bytes;
}

/* Lists of one codebook share tables and centroids; a number for its lowest bits, beyond those of
 * the kinds of codes. Keys of half codes are in steps of codes. */
uint32_t index_segment_group(const struct index_segment *segment)
{
    if (segment->ivf)
        return (uint32_t)segment->ivf->codebook.id | UINT32_C(1) << 31;
    return segment->graph.quantiser.kind == INDEX_CODE_FLOAT ? INDEX_CODE_FLOAT : INDEX_CODE_INT7;
}

int index_group_search(const struct index_group_member *members, uint32_t member_count,
                       const struct index_search *search, struct index_hit *hits,
                       uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                       struct error *error)
{
    int status;

    *hit_count = 0;
    *exhausted = true;
    if (member_count == 0)
        return 0;
    index_reads_begin();
    status = members[0].segment->ivf ? index_ivf_search(members, member_count, search, hits,
                                                        hit_members, hit_count, exhausted, error)
                                     : index_graph_search(members, member_count, search, hits,
                                                          hit_members, hit_count, exhausted, error);
    if (status == 0)
        status = index_outliers_merge(members, member_count, search, hits, hit_members, hit_count,
                                      error);
    return status;
}

static bool have_same_ranges(const struct index_group_member *a, const struct index_group_member *b)
{
    if (!a->ranges || !b->ranges)
        return a->ranges == b->ranges;
    return a->range_count == b->range_count &&
           memcmp(a->ranges, b->ranges, a->range_count * sizeof(*a->ranges)) == 0;
}

bool index_queries_share_rows(const struct index_group_query *queries, uint32_t query_count,
                              uint32_t member_count)
{
    for (uint32_t i = 1; i < query_count; i++)
        for (uint32_t j = 0; j < member_count; j++)
            if (!have_same_ranges(&queries[0].members[j], &queries[i].members[j]))
                return false;
    return true;
}

void index_group_searches(struct index_group_query *queries, uint32_t query_count,
                          uint32_t member_count)
{
    if (query_count > 1 && member_count > 0 && queries[0].members[0].segment->ivf &&
        index_queries_share_rows(queries, query_count, member_count)) {
        index_reads_begin();
        index_ivf_searches(queries, query_count, member_count);
        for (uint32_t i = 0; i < query_count; i++) {
            struct index_group_query *query = &queries[i];
            if (query->status == 0)
                query->status =
                    index_outliers_merge(query->members, member_count, query->search, query->hits,
                                         query->hit_members, &query->hit_count, &query->error);
        }
        return;
    }
    for (uint32_t i = 0; i < query_count; i++) {
        struct index_group_query *query = &queries[i];
        query->status = index_group_search(query->members, member_count, query->search, query->hits,
                                           query->hit_members, &query->hit_count, &query->exhausted,
                                           &query->error);
    }
}

int index_segment_search(const struct index_segment *segment, const struct index_search *search,
                         struct index_hit *hits, uint32_t *hit_count, bool *exhausted,
                         struct error *error)
{
    struct index_group_member member = {.segment = segment,
                                        .accept = search->accept,
                                        .accept_context = search->accept_context,
                                        .vector = search->vector,
                                        .vector_context = search->vector_context};

    return index_group_search(&member, 1, search, hits, NULL, hit_count, exhausted, error);
}
