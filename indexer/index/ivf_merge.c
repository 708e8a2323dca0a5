/* Merging segments of one codebook: their lists have the same centroids, their rows the same codes,
 * so that nothing is computed again; rows only move inside their block. */
#include <string.h>

#include "indexer/index/index.h"
#include "indexer/index/ivf.h"
#include "indexer/index/memory.h"
#include "indexer/index/segment.h"

struct merge {
    struct index_ivf *ivf;
    uint32_t *rows;
    uint16_t *biases;
    uint8_t *blocks;
    uint8_t *codes; /* of the block being filled */
};

/* Appends a part's list behind `used` rows of the merged one. */
static void append_list(const struct merge *merge, const struct index_ivf *part, uint32_t list,
                        uint32_t first_row, uint32_t used)
{
    const struct index_pq *pq = &part->codebook.pq;
    size_t block_bytes = index_pq_block_bytes(pq);
    size_t from = (size_t)part->first_blocks[list] * INDEX_PQ_BLOCK_ROWS;
    size_t to = (size_t)merge->ivf->first_blocks[list] * INDEX_PQ_BLOCK_ROWS + used;

    for (uint32_t i = 0; i < part->sizes[list]; i++, from++, to++) {
        uint32_t place = (uint32_t)(to % INDEX_PQ_BLOCK_ROWS);
        index_pq_unpack(pq, part->blocks + from / INDEX_PQ_BLOCK_ROWS * block_bytes,
                        (uint32_t)(from % INDEX_PQ_BLOCK_ROWS), place, merge->codes);
        merge->rows[to] = part->rows[from] + first_row;
        if (merge->biases)
            merge->biases[to] = part->biases[from];
        if (place + 1 == INDEX_PQ_BLOCK_ROWS || i + 1 == part->sizes[list])
            index_pq_pack(pq, merge->codes, place + 1,
                          merge->blocks + to / INDEX_PQ_BLOCK_ROWS * block_bytes);
    }
}

static void concatenate(const struct merge *merge, const struct index_segment *const *parts,
                        const uint32_t *first_rows, uint32_t part_count)
{
    for (uint32_t list = 0; list < merge->ivf->codebook.list_count; list++) {
        uint32_t used = 0;
        for (uint32_t i = 0; i < part_count; i++) {
            append_list(merge, parts[i]->ivf, list, first_rows[i], used);
            used += parts[i]->ivf->sizes[list];
        }
    }
}

/* More rows, denser lists: what the parts needed is enough for the merged segment. */
static void take_over(struct index_ivf *ivf, const struct index_ivf *part)
{
    double rows = (double)ivf->count + part->count;

    ivf->error =
        (float)(((double)ivf->error * ivf->count + (double)part->error * part->count) / rows);
    ivf->probes_10 = ivf->probes_10 > part->probes_10 ? ivf->probes_10 : part->probes_10;
    ivf->probes_100 = ivf->probes_100 > part->probes_100 ? ivf->probes_100 : part->probes_100;
    ivf->fixed_probes = part->fixed_probes;
    ivf->count += part->count;
}

static int check_parts(const struct index_segment *const *parts, uint32_t part_count,
                       struct error *error)
{
    uint64_t rows = 0;

    for (uint32_t i = 0; i < part_count; i++) {
        if (index_segment_codebook(parts[i]) == 0 ||
            index_segment_codebook(parts[i]) != index_segment_codebook(parts[0]) ||
            parts[i]->ivf->codebook.list_count != parts[0]->ivf->codebook.list_count ||
            index_pq_block_bytes(&parts[i]->ivf->codebook.pq) !=
                index_pq_block_bytes(&parts[0]->ivf->codebook.pq) ||
            parts[i]->ivf->codebook.metric != parts[0]->ivf->codebook.metric)
            return error_set(error, ERROR_INVALID, "segments of different codebooks");
        rows += parts[i]->ivf->count;
    }
    return part_count == 0 || rows > INDEX_IVF_COUNT_MAX / 2
               ? error_set(error, ERROR_INVALID, "%llu rows in a segment", (unsigned long long)rows)
               : 0;
}

int index_ivf_merge(const struct index_segment *const *parts, const uint32_t *first_rows,
                    uint32_t part_count, struct index_ivf **merged, struct error *error)
{
    int status = check_parts(parts, part_count, error);
    struct index_ivf *ivf;
    struct merge merge = {0};
    uint32_t lists, *sizes, *first_blocks;
    size_t slots;

    *merged = NULL;
    if (status != 0)
        return status;
    ivf = index_allocate_zeroed(1, sizeof(*ivf));
    index_ivf_codebook_copy(&parts[0]->ivf->codebook, &ivf->codebook);
    lists = ivf->codebook.list_count;
    ivf->sizes = sizes = index_allocate_zeroed(lists, sizeof(uint32_t));
    ivf->first_blocks = first_blocks = index_allocate((size_t)lists + 1, sizeof(uint32_t));
    for (uint32_t i = 0; i < part_count; i++) {
        for (uint32_t list = 0; list < lists; list++)
            sizes[list] += parts[i]->ivf->sizes[list];
        take_over(ivf, parts[i]->ivf);
    }
    ivf->block_count = index_ivf_place_lists(sizes, lists, first_blocks);
    if (ivf->block_count == 0) {
        index_ivf_delete(ivf);
        return error_set(error, ERROR_INVALID, "too many lists of few rows");
    }
    slots = (size_t)ivf->block_count * INDEX_PQ_BLOCK_ROWS;
    merge.ivf = ivf;
    ivf->rows = merge.rows = index_allocate(slots, sizeof(uint32_t));
    memset(merge.rows, 0xff, slots * sizeof(uint32_t));
    if (ivf->codebook.metric == INDEX_METRIC_L2)
        ivf->biases = merge.biases = index_allocate_zeroed(slots, sizeof(uint16_t));
    ivf->blocks = merge.blocks =
        index_allocate(ivf->block_count, index_pq_block_bytes(&ivf->codebook.pq));
    merge.codes = index_allocate(ivf->codebook.pq.part_count, INDEX_PQ_BLOCK_ROWS);
    concatenate(&merge, parts, first_rows, part_count);
    free(merge.codes);
    *merged = ivf;
    return 0;
}
