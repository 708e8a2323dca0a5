/* Lists put together from lists of one codebook, by copying codes.
 *
 * Coding a row takes 2 to 5 us, copying its codes a hundredth of that, so that an index over everything can be
 * made anew whenever windows come or go. Rows of a list stand in the order of their numbers, as a build leaves
 * them: what came one behind the other stays one behind the other, and what a search may look at of a list is a few
 * slices of it (ivf_search.c). */
#include <stdlib.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/index.h"
#include "indexer/index/ivf.h"

/* A part with its place among the rows of the result. */
struct placed {
    const struct index_ivf_part *part;
    uint32_t new_first;
};

/* The parts of one set of lists, by their rows. */
struct source {
    const struct index_ivf *lists;
    struct placed *parts;
    uint32_t count;
};

/* A row on its way into a list. */
struct coded_row {
    uint32_t row; /* its new number */
    uint32_t slot;
    const struct index_ivf *from;
};

struct merging {
    struct source *sources;
    uint32_t source_count;
    struct coded_row *room; /* for the rows of one list */
    struct index_ivf *result;
    uint32_t *rows;
    uint16_t *biases;
    uint8_t *blocks;
};

/* The new number of a row; INDEX_IVF_NO_ROW: it is in no part. */
static uint32_t new_row(const struct source *source, uint32_t row)
{
    uint32_t first = 0, end = source->count;
    const struct placed *placed;

    while (end - first > 1) {
        uint32_t middle = first + (end - first) / 2;
        if (source->parts[middle].part->first_row <= row)
            first = middle;
        else
            end = middle;
    }
    placed = &source->parts[first];
    if (row < placed->part->first_row || row - placed->part->first_row >= placed->part->row_count)
        return INDEX_IVF_NO_ROW;
    return placed->new_first + (row - placed->part->first_row);
}

static int compare_rows(const void *a, const void *b)
{
    uint32_t left = ((const struct coded_row *)a)->row, right = ((const struct coded_row *)b)->row;

    return (left > right) - (left < right);
}

/* The rows of a list, in their order. */
static uint32_t collect(const struct merging *merging, uint32_t list)
{
    uint32_t count = 0;
    bool in_order = true;

    for (uint32_t i = 0; i < merging->source_count; i++) {
        const struct source *source = &merging->sources[i];
        uint32_t slot = source->lists->first_blocks[list] * INDEX_PQ_BLOCK_ROWS;
        for (uint32_t end = slot + source->lists->sizes[list]; slot < end; slot++) {
            uint32_t row = new_row(source, source->lists->rows[slot]);
            if (row == INDEX_IVF_NO_ROW)
                continue;
            in_order = in_order && (count == 0 || merging->room[count - 1].row < row);
            merging->room[count++] = (struct coded_row){row, slot, source->lists};
        }
    }
    if (!in_order)
        qsort(merging->room, count, sizeof(*merging->room), compare_rows);
    return count;
}

/* Where a row's bytes are in the block of its slot: pq.h draws it. */
static size_t place_of(uint32_t slot)
{
    uint32_t row = slot % INDEX_PQ_BLOCK_ROWS;

    return row < 16 ? 2 * row : 2 * (row - 16) + 1;
}

static void copy_codes(const struct merging *merging, const struct coded_row *from, uint32_t slot)
{
    const struct index_pq *pq = &merging->result->codebook.pq;
    size_t block_bytes = index_pq_block_bytes(pq);
    const uint8_t *in =
        from->from->blocks + from->slot / INDEX_PQ_BLOCK_ROWS * block_bytes + place_of(from->slot);
    uint8_t *out = merging->blocks + slot / INDEX_PQ_BLOCK_ROWS * block_bytes + place_of(slot);

    for (size_t at = 0; at < block_bytes; at += INDEX_PQ_BLOCK_ROWS)
        out[at] = in[at];
    merging->rows[slot] = from->row;
    if (merging->biases)
        merging->biases[slot] = from->from->biases[from->slot];
}

static void fill_list(const struct merging *merging, uint32_t list)
{
    uint32_t count = collect(merging, list);
    uint32_t first = merging->result->first_blocks[list] * INDEX_PQ_BLOCK_ROWS;
    uint32_t end = merging->result->first_blocks[list + 1] * INDEX_PQ_BLOCK_ROWS;

    for (uint32_t i = 0; i < count; i++)
        copy_codes(merging, &merging->room[i], first + i);
    for (uint32_t slot = first + count; slot < end; slot++)
        merging->rows[slot] = INDEX_IVF_NO_ROW;
}

static bool have_one_codebook(const struct index_ivf_part *parts, uint32_t part_count)
{
    const struct index_ivf_codebook *first = &parts[0].lists->codebook;

    for (uint32_t i = 0; i < part_count; i++) {
        const struct index_ivf_codebook *own = &parts[i].lists->codebook;
        if (own->id != first->id || own->metric != first->metric ||
            own->list_count != first->list_count || own->pq.dim != first->pq.dim ||
            own->pq.part_dim != first->pq.part_dim || own->pq.part_count != first->pq.part_count)
            return false;
    }
    return true;
}

/* Brings parts of the same lists together. */
static void make_sources(struct merging *merging, const struct index_ivf_part *parts,
                         uint32_t part_count)
{
    uint32_t new_first = 0;

    merging->sources = index_allocate(part_count, sizeof(*merging->sources));
    for (uint32_t i = 0; i < part_count; i++) {
        struct source *source = merging->sources;
        struct source *end = source + merging->source_count;
        while (source < end && source->lists != parts[i].lists)
            source++;
        if (source == end) {
            *source = (struct source){.lists = parts[i].lists,
                                      .parts = index_allocate(part_count, sizeof(struct placed))};
            merging->source_count++;
        }
        source->parts[source->count++] = (struct placed){&parts[i], new_first};
        new_first += parts[i].row_count;
    }
}

static void make_arrays(struct merging *merging, uint32_t *sizes, uint32_t *first_blocks)
{
    struct index_ivf *result = merging->result;
    size_t slots = (size_t)result->block_count * INDEX_PQ_BLOCK_ROWS;

    result->sizes = sizes;
    result->first_blocks = first_blocks;
    result->rows = merging->rows = index_allocate(slots, sizeof(uint32_t));
    if (result->codebook.metric == VECTOR_METRIC_L2)
        result->biases = merging->biases = index_allocate_zeroed(slots, sizeof(uint16_t));
    result->blocks = merging->blocks =
        index_allocate_zeroed(result->block_count, index_pq_block_bytes(&result->codebook.pq));
}

/* Sizes of the lists; the largest, for the room. */
static uint32_t count_rows(const struct merging *merging, uint32_t *sizes)
{
    uint32_t lists = merging->result->codebook.list_count, most = 1;

    for (uint32_t list = 0; list < lists; list++) {
        uint32_t room = 0;
        sizes[list] = 0;
        for (uint32_t i = 0; i < merging->source_count; i++) {
            const struct source *source = &merging->sources[i];
            uint32_t slot = source->lists->first_blocks[list] * INDEX_PQ_BLOCK_ROWS;
            room += source->lists->sizes[list];
            for (uint32_t end = slot + source->lists->sizes[list]; slot < end; slot++)
                sizes[list] += new_row(source, source->lists->rows[slot]) != INDEX_IVF_NO_ROW;
        }
        most = room > most ? room : most;
    }
    return most;
}

/* Probe counts are the largest of any part; the error is the mean, weighted by rows. */
static void sum_up(struct index_ivf *result, const struct index_ivf_part *parts,
                   uint32_t part_count)
{
    double error = 0;

    for (uint32_t i = 0; i < part_count; i++) {
        const struct index_ivf *lists = parts[i].lists;
        error += (double)lists->error * parts[i].row_count;
        result->count += parts[i].row_count;
        result->probes_10 =
            lists->probes_10 > result->probes_10 ? lists->probes_10 : result->probes_10;
        result->probes_100 =
            lists->probes_100 > result->probes_100 ? lists->probes_100 : result->probes_100;
        result->fixed_probes =
            lists->fixed_probes > result->fixed_probes ? lists->fixed_probes : result->fixed_probes;
    }
    result->error = (float)(error / result->count);
}

/* Those of all parts have the codes of their stand-ins: searches score them all, as before. False: too many. */
static bool merge_outliers(struct index_outliers *outliers, const struct index_ivf_part *parts,
                           uint32_t part_count)
{
    uint32_t first = 0;

    for (uint32_t i = 0; i < part_count; first += parts[i++].row_count) {
        const struct index_outliers *own = &parts[i].lists->outliers;
        for (uint32_t j = 0; j < own->count; j++) {
            uint32_t row = own->rows[j] - parts[i].first_row;
            if (own->rows[j] < parts[i].first_row || row >= parts[i].row_count)
                continue;
            if (outliers->count == INDEX_OUTLIERS_MAX)
                return false;
            outliers->rows[outliers->count++] = first + row;
        }
    }
    return true;
}

/* False: rows of a part are missing, or are there twice. */
static bool merge_lists(struct merging *merging)
{
    uint32_t lists = merging->result->codebook.list_count;
    uint32_t *sizes = index_allocate(lists, sizeof(uint32_t));
    uint32_t *first_blocks = index_allocate((size_t)lists + 1, sizeof(uint32_t));
    uint64_t rows = 0;

    merging->room = index_allocate(count_rows(merging, sizes), sizeof(*merging->room));
    for (uint32_t list = 0; list < lists; list++)
        rows += sizes[list];
    merging->result->block_count = index_ivf_place_lists(sizes, lists, first_blocks);
    make_arrays(merging, sizes, first_blocks);
    for (uint32_t list = 0; list < lists; list++)
        fill_list(merging, list);
    free(merging->room);
    return rows == merging->result->count;
}

int index_ivf_merge(const struct index_ivf_part *parts, uint32_t part_count, struct index_ivf **ivf,
                    struct error *error)
{
    struct merging merging = {0};
    uint64_t rows = 0;
    struct index_outliers outliers = {0};
    bool whole;

    *ivf = NULL;
    for (uint32_t i = 0; i < part_count; i++)
        rows += parts[i].row_count;
    if (rows == 0 || rows > INDEX_IVF_COUNT_MAX / 2)
        return error_set(error, ERROR_INVALID,
                         "cannot merge lists of %llu rows: 1 to %d are possible",
                         (unsigned long long)rows, INDEX_IVF_COUNT_MAX / 2);
    if (!have_one_codebook(parts, part_count))
        return error_set(error, ERROR_INVALID, "lists of different codebooks");
    if (!merge_outliers(&outliers, parts, part_count))
        return error_set(error, ERROR_UNSUPPORTED, "more than %d rows are far from all others",
                         INDEX_OUTLIERS_MAX);
    merging.result = index_allocate_zeroed(1, sizeof(*merging.result));
    merging.result->outliers = outliers;
    index_ivf_codebook_copy(&parts[0].lists->codebook, &merging.result->codebook);
    sum_up(merging.result, parts, part_count);
    make_sources(&merging, parts, part_count);
    whole = merge_lists(&merging);
    for (uint32_t i = 0; i < merging.source_count; i++)
        free(merging.sources[i].parts);
    free(merging.sources);
    if (!whole) {
        index_ivf_delete(merging.result);
        return error_set(error, ERROR_CORRUPT, "lists that do not have each of their rows once");
    }
    *ivf = merging.result;
    return 0;
}

uint32_t index_lists_count(const struct index_ivf *lists)
{
    return lists->codebook.list_count;
}

void index_ivf_take_probes(struct index_ivf *lists, const struct index_ivf *from)
{
    lists->probes_10 = from->probes_10;
    lists->probes_100 = from->probes_100;
    lists->fixed_probes = from->fixed_probes;
}
