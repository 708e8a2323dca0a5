/* Opening and writing IVF-PQ files; the happy path and the checks are those of segment.c. */
#include "indexer/index/ivf_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "indexer/index/build_tools.h"
#include "indexer/index/row_reads.h"
#include "indexer/index/segment.h"

enum { DIM_LIMIT = 65536 };

uint64_t index_ivf_header_checksum(const struct index_ivf_header *header)
{
    return checksum_block(header, offsetof(struct index_ivf_header, checksum), header->file_number,
                          INDEX_IVF_SECTION_COUNT, 0);
}

static int check_counts(const struct index_ivf_header *header, struct error *error)
{
    uint32_t blocks_max = INDEX_IVF_COUNT_MAX / INDEX_PQ_BLOCK_ROWS;

    if (header->metric > VECTOR_METRIC_L2)
        return index_segment_corrupt(error, "unknown metric");
    if (header->code_kind != INDEX_CODE_INT7 && header->code_kind != INDEX_CODE_FLOAT)
        return index_segment_corrupt(error, "unknown kind of codes");
    if (header->dim == 0 || header->dim > DIM_LIMIT)
        return index_segment_corrupt(error, "dimensions out of bounds");
    if (header->stride != index_code_stride((enum index_code_kind)header->code_kind, header->dim))
        return index_segment_corrupt(error, "row length does not fit the dimensions");
    if (header->part_dim == 0 || header->part_dim > DIM_LIMIT || header->part_count == 0 ||
        header->part_count > INDEX_PQ_PARTS_MAX || header->part_count % INDEX_PQ_QUAD != 0 ||
        (uint64_t)header->part_dim * header->part_count < header->dim ||
        (uint64_t)header->part_dim * (header->part_count - INDEX_PQ_QUAD) >= header->dim)
        return index_segment_corrupt(error, "parts out of bounds");
    if (header->block_count == 0 || header->block_count > blocks_max || header->count == 0 ||
        header->count > (uint64_t)header->block_count * INDEX_PQ_BLOCK_ROWS)
        return index_segment_corrupt(error, "row count out of bounds");
    if (header->list_count == 0 || header->list_count > INDEX_IVF_LISTS_MAX)
        return index_segment_corrupt(error, "list count out of bounds");
    if (header->code_kind == INDEX_CODE_INT7 && !(isfinite(header->step) && header->step > 0))
        return index_segment_corrupt(error, "step of the codes out of bounds");
    if (!isfinite(header->bias_low) || !isfinite(header->bias_step) || !(header->bias_step >= 0) ||
        !isfinite(header->error) || !isfinite(header->codebook_error))
        return index_segment_corrupt(error, "a number is not finite");
    return 0;
}

/* With lists and blocks below 2^25, and at most 2^24 dimensions in all parts, sizes stay below
 * 2^43. */
int index_ivf_layout(struct index_ivf_header *header, struct error *error)
{
    uint64_t sizes[INDEX_IVF_SECTION_COUNT] = {0};
    uint64_t lists = header->list_count, blocks = header->block_count;
    uint64_t slots = blocks * INDEX_PQ_BLOCK_ROWS;
    int status = check_counts(header, error);

    if (status != 0)
        return status;
    if (header->code_kind == INDEX_CODE_INT7)
        sizes[INDEX_IVF_LOW] = (uint64_t)header->dim * sizeof(float);
    sizes[INDEX_IVF_CENTROIDS] = (lists + 1) * header->dim * sizeof(float);
    sizes[INDEX_IVF_CODES] = lists * header->stride;
    sizes[INDEX_IVF_CODEWORDS] =
        (uint64_t)header->part_count * header->part_dim * INDEX_PQ_CODEWORDS * sizeof(float);
    sizes[INDEX_IVF_LISTS] = (2 * lists + 1) * sizeof(uint32_t);
    sizes[INDEX_IVF_ROWS] = slots * sizeof(uint32_t);
    sizes[INDEX_IVF_BIASES] = header->metric == VECTOR_METRIC_L2 ? slots * sizeof(uint16_t) : 0;
    sizes[INDEX_IVF_BLOCKS] = slots * header->part_count / 2;
    header->file_bytes = index_sections_place(header->sections, sizes, INDEX_IVF_SECTION_COUNT);
    return 0;
}

static int check_header(const struct index_ivf_header *header, uint64_t file_number,
                        uint64_t size_bytes, struct error *error)
{
    struct index_ivf_header computed;
    int status;

    if (header->version != INDEX_IVF_VERSION && header->version != INDEX_IVF_VERSION_OUTLIERS)
        return error_set(error, ERROR_UNSUPPORTED, "index segment: format version %u",
                         header->version);
    if (header->checksum != index_ivf_header_checksum(header))
        return index_segment_corrupt(error, "the header does not match its checksum");
    if (header->file_number != file_number)
        return index_segment_corrupt(error, "written as another file");
    computed = *header;
    status = index_ivf_layout(&computed, error);
    if (status != 0)
        return status;
    if (computed.file_bytes != header->file_bytes || header->file_bytes != size_bytes)
        return index_segment_corrupt(error, "the file's size does not fit its header");
    if (!index_effort_is_valid(&header->effort))
        return index_segment_corrupt(error, "the measured effort is out of bounds");
    if (!index_choice_is_valid(&header->choice))
        return index_segment_corrupt(error, "the measured cost is out of bounds");
    status = index_segment_check_outliers(
        &header->outliers, header->version == INDEX_IVF_VERSION_OUTLIERS, header->count, error);
    if (status != 0)
        return status;
    return index_sections_agree(computed.sections, header->sections, INDEX_IVF_SECTION_COUNT,
                                error);
}

static void place(const struct index_ivf_header *header, const uint8_t *bytes,
                  struct index_ivf *ivf)
{
    const void *sections[INDEX_IVF_SECTION_COUNT];
    const uint32_t *lists;

    for (uint32_t i = 0; i < INDEX_IVF_SECTION_COUNT; i++)
        sections[i] = bytes + header->sections[i].offset;
    lists = sections[INDEX_IVF_LISTS];
    *ivf = (struct index_ivf){
        .codebook = {.id = header->codebook,
                     .metric = (enum vector_metric)header->metric,
                     .quantiser = {.metric = VECTOR_METRIC_L2,
                                   .kind = (enum index_code_kind)header->code_kind,
                                   .dim = header->dim,
                                   .stride = header->stride,
                                   .step = header->step},
                     .pq = {.dim = header->dim,
                            .part_dim = header->part_dim,
                            .part_count = header->part_count,
                            .codewords = sections[INDEX_IVF_CODEWORDS]},
                     .list_count = header->list_count,
                     .bias_low = header->bias_low,
                     .bias_step = header->bias_step,
                     .error = header->codebook_error,
                     .centroids = sections[INDEX_IVF_CENTROIDS],
                     .centroid_codes = sections[INDEX_IVF_CODES]},
        .count = header->count,
        .block_count = header->block_count,
        .error = header->error,
        .probes_10 = header->probes_10,
        .probes_100 = header->probes_100,
        .outliers = header->outliers,
        .fixed_probes = header->fixed_probes,
        .first_blocks = lists,
        .sizes = lists + header->list_count + 1,
        .rows = sections[INDEX_IVF_ROWS],
        .blocks = sections[INDEX_IVF_BLOCKS],
    };
    if (header->metric == VECTOR_METRIC_L2)
        ivf->biases = sections[INDEX_IVF_BIASES];
    if (header->code_kind == INDEX_CODE_INT7)
        ivf->codebook.quantiser.low = (void *)(uintptr_t)sections[INDEX_IVF_LOW];
}

/* Lists follow each other without gaps, and have the blocks that their rows need. */
static int check_lists(const struct index_ivf *ivf, struct error *error)
{
    uint64_t next = 0, rows = 0;

    for (uint32_t list = 0; list < ivf->codebook.list_count; list++) {
        if (ivf->first_blocks[list] != next)
            return index_segment_corrupt(error, "a list is not where it must be");
        next += ((uint64_t)ivf->sizes[list] + INDEX_PQ_BLOCK_ROWS - 1) / INDEX_PQ_BLOCK_ROWS;
        rows += ivf->sizes[list];
        if (next > ivf->block_count)
            return index_segment_corrupt(error, "a list is longer than the file");
    }
    if (next != ivf->block_count || ivf->first_blocks[ivf->codebook.list_count] != next ||
        rows != ivf->count)
        return index_segment_corrupt(error, "the lists do not add up to the rows");
    return 0;
}

static int check_rows(const struct index_ivf *ivf, struct error *error)
{
    uint64_t *seen = index_allocate_zeroed(ivf->count / 64 + 1, sizeof(uint64_t));
    int status = 0;

    for (uint32_t list = 0; list < ivf->codebook.list_count && status == 0; list++) {
        const uint32_t *rows = ivf->rows + (size_t)ivf->first_blocks[list] * INDEX_PQ_BLOCK_ROWS;
        const uint32_t *end = ivf->rows + (size_t)ivf->first_blocks[list + 1] * INDEX_PQ_BLOCK_ROWS;
        for (uint32_t i = 0; i < ivf->sizes[list] && status == 0; i++) {
            uint32_t row = rows[i];
            if (row >= ivf->count)
                status = index_segment_corrupt(error, "a row number is out of bounds");
            else if (seen[row / 64] >> row % 64 & 1)
                status = index_segment_corrupt(error, "a row appears twice");
            else
                seen[row / 64] |= UINT64_C(1) << row % 64;
        }
        for (rows += ivf->sizes[list]; rows < end && status == 0; rows++)
            if (*rows != INDEX_IVF_NO_ROW)
                status = index_segment_corrupt(error, "a row lies behind the end of its list");
    }
    free(seen);
    return status;
}

static bool all_finite(const float *values, size_t count)
{
    bool finite = true;

    for (size_t i = 0; i < count; i++)
        finite &= (bool)isfinite(values[i]);
    return finite;
}

static int check_tables(const struct index_ivf_codebook *codebook, struct error *error)
{
    const struct index_quantiser *quantiser = &codebook->quantiser;
    size_t items = ((size_t)codebook->list_count + 1) * quantiser->dim;
    uint8_t all = 0;

    if (!all_finite(codebook->centroids, items) ||
        !all_finite(codebook->pq.codewords, index_pq_codeword_floats(&codebook->pq)) ||
        (quantiser->low && !all_finite(quantiser->low, quantiser->dim)))
        return index_segment_corrupt(error, "a number is not finite");
    /* Codes are 7-bit: a larger byte would overflow the integer kernels' sums. */
    for (size_t i = 0; i < (size_t)codebook->list_count * quantiser->stride; i++)
        all |= codebook->centroid_codes[i];
    return quantiser->kind == INDEX_CODE_INT7 && all & 128
               ? index_segment_corrupt(error, "a code is out of bounds")
               : 0;
}

int index_ivf_validate(const struct index_ivf *ivf, struct error *error)
{
    int status = check_lists(ivf, error);

    if (status == 0)
        status = check_rows(ivf, error);
    return status != 0 ? status : check_tables(&ivf->codebook, error);
}

int index_ivf_open(const void *bytes, uint64_t size_bytes, uint64_t file_number,
                   struct index_ivf *ivf, struct error *error)
{
    const struct index_ivf_header *header = bytes;
    int status = check_header(header, file_number, size_bytes, error);

    if (status == 0)
        status = index_sections_check(bytes, header->sections, INDEX_IVF_SECTION_COUNT,
                                      header->file_number, error);
    if (status != 0)
        return status;
    place(header, bytes, ivf);
    return index_ivf_validate(ivf, error);
}

static void fill_header(const struct index_ivf *ivf, uint64_t file_number,
                        struct index_ivf_header *header)
{
    const struct index_ivf_codebook *codebook = &ivf->codebook;

    *header = (struct index_ivf_header){
        .magic = INDEX_IVF_MAGIC,
        .version = ivf->outliers.count > 0 ? INDEX_IVF_VERSION_OUTLIERS : INDEX_IVF_VERSION,
        .metric = codebook->metric,
        .file_number = file_number,
        .code_kind = codebook->quantiser.kind,
        .dim = codebook->quantiser.dim,
        .stride = codebook->quantiser.stride,
        .part_dim = codebook->pq.part_dim,
        .part_count = codebook->pq.part_count,
        .count = ivf->count,
        .list_count = codebook->list_count,
        .block_count = ivf->block_count,
        .probes_10 = ivf->probes_10,
        .probes_100 = ivf->probes_100,
        .fixed_probes = ivf->fixed_probes,
        .step = codebook->quantiser.step,
        .bias_low = codebook->bias_low,
        .bias_step = codebook->bias_step,
        .codebook_error = codebook->error,
        .error = ivf->error,
        .codebook = codebook->id,
        .outliers = ivf->outliers,
    };
}

/* Of the sections up to LISTS, which a codebook consists of. */
static void fill_tables(const struct index_ivf_codebook *codebook,
                        const void *content[INDEX_IVF_LISTS])
{
    content[INDEX_IVF_LOW] = codebook->quantiser.low ? (const void *)codebook->quantiser.low : "";
    content[INDEX_IVF_CENTROIDS] = codebook->centroids;
    content[INDEX_IVF_CODES] = codebook->centroid_codes;
    content[INDEX_IVF_CODEWORDS] = codebook->pq.codewords;
}

int index_ivf_write(struct io *io, const char *path, uint64_t file_number,
                    const struct index_ivf *ivf, uint64_t *size_bytes, struct error *error)
{
    const struct index_ivf_codebook *codebook = &ivf->codebook;
    const void *content[INDEX_IVF_SECTION_COUNT];
    struct index_ivf_header header;
    uint32_t lists = codebook->list_count, *places;
    int status;

    fill_header(ivf, file_number, &header);
    status = index_ivf_layout(&header, error);
    if (status != 0) /* vectors that are not finite */
        return status;
    places = index_allocate(2 * (size_t)lists + 1, sizeof(uint32_t));
    memcpy(places, ivf->first_blocks, ((size_t)lists + 1) * sizeof(uint32_t));
    memcpy(places + lists + 1, ivf->sizes, (size_t)lists * sizeof(uint32_t));
    fill_tables(codebook, content);
    content[INDEX_IVF_LISTS] = places;
    content[INDEX_IVF_ROWS] = ivf->rows;
    content[INDEX_IVF_BIASES] = ivf->biases ? (const void *)ivf->biases : "";
    content[INDEX_IVF_BLOCKS] = ivf->blocks;
    index_sections_sum(header.sections, content, INDEX_IVF_SECTION_COUNT, file_number);
    header.checksum = index_ivf_header_checksum(&header);
    status = index_sections_write(io, path, &header, header.sections, content,
                                  INDEX_IVF_SECTION_COUNT, header.file_bytes, error);
    free(places);
    *size_bytes = header.file_bytes;
    return status;
}

/* A codebook alone. */

struct index_ivf_codebook *index_segment_copy_codebook(const struct index_segment *segment)
{
    struct index_ivf_codebook *copy;

    if (!segment->ivf)
        return NULL;
    copy = index_allocate(1, sizeof(*copy));
    index_ivf_codebook_copy(&segment->ivf->codebook, copy);
    return copy;
}

void index_codebook_delete(struct index_ivf_codebook *codebook)
{
    if (!codebook)
        return;
    index_ivf_codebook_destroy(codebook);
    free(codebook);
}

int index_codebook_pack(const struct index_ivf_codebook *codebook, struct buffer *out,
                        struct error *error)
{
    const struct index_ivf alone = {.codebook = *codebook, .count = 1, .block_count = 1};
    const void *content[INDEX_IVF_LISTS];
    struct index_ivf_header header;
    uint64_t bytes;

    fill_header(&alone, 0, &header);
    if (index_ivf_layout(&header, error) != 0)
        return error->code;
    fill_tables(codebook, content);
    index_sections_sum(header.sections, content, INDEX_IVF_LISTS, 0);
    header.checksum = index_ivf_header_checksum(&header);
    bytes = header.sections[INDEX_IVF_LISTS].offset;
    (void)buffer_reserve(out, bytes);
    memset(out->data, 0, bytes);
    memcpy(out->data, &header, sizeof(header));
    for (uint32_t i = 0; i < INDEX_IVF_LISTS; i++)
        memcpy(out->data + header.sections[i].offset, content[i], header.sections[i].size_bytes);
    out->size = bytes;
    return 0;
}

int index_codebook_unpack(const void *bytes, size_t size_bytes,
                          struct index_ivf_codebook **codebook, struct error *error)
{
    const struct index_ivf_header *header = bytes;
    struct index_ivf alone;
    int status;

    *codebook = NULL;
    if (size_bytes < sizeof(*header) || header->magic != INDEX_IVF_MAGIC)
        return index_segment_corrupt(error, "no codebook");
    status = check_header(header, 0, header->file_bytes, error);
    if (status == 0 && header->sections[INDEX_IVF_LISTS].offset != size_bytes)
        status = index_segment_corrupt(error, "the codebook's size does not fit its header");
    if (status == 0)
        status = index_sections_check(bytes, header->sections, INDEX_IVF_LISTS, 0, error);
    if (status != 0)
        return status;
    place(header, bytes, &alone);
    status = check_tables(&alone.codebook, error);
    if (status == 0) {
        *codebook = index_allocate(1, sizeof(**codebook));
        index_ivf_codebook_copy(&alone.codebook, *codebook);
    }
    return status;
}

void index_ivf_fetch_lists(const struct index_segment *segment, const uint64_t *lists,
                           uint32_t count)
{
    const struct index_ivf *ivf = segment->ivf;
    size_t block_bytes = index_pq_block_bytes(&ivf->codebook.pq);
    struct index_fetch fetch;

    index_fetch_begin(&fetch, segment->io);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *first = &ivf->first_blocks[(uint32_t)lists[i]];
        size_t block = first[0], blocks = first[1] - first[0], slots = blocks * INDEX_PQ_BLOCK_ROWS;
        if (blocks == 0)
            continue;
        index_fetch_add(&fetch, ivf->blocks + block * block_bytes, blocks * block_bytes);
        index_fetch_add(&fetch, ivf->rows + block * INDEX_PQ_BLOCK_ROWS,
                        slots * sizeof(*ivf->rows));
        if (ivf->biases)
            index_fetch_add(&fetch, ivf->biases + block * INDEX_PQ_BLOCK_ROWS,
                            slots * sizeof(*ivf->biases));
    }
    index_fetch_end(&fetch);
}
