#include "indexer/index/ivf_slice.h"

uint32_t index_ivf_rows(const struct index_group_member *member)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < member->range_count; i++)
        count += member->ranges[i].end - member->ranges[i].first;
    return member->ranges ? count : index_ivf_of(member)->count;
}

struct index_ivf_slices index_ivf_slices(const struct index_group_member *member, uint32_t base,
                                         uint32_t list)
{
    return (struct index_ivf_slices){.member = member, .base = base, .list = list};
}

/* Places [from, to) of the list. */
static struct index_ivf_slice make_slice(const struct index_ivf_slices *slices, uint32_t from,
                                         uint32_t to)
{
    uint32_t block = index_ivf_of(slices->member)->first_blocks[slices->list];
    uint32_t rest = to % INDEX_PQ_BLOCK_ROWS;

    return (struct index_ivf_slice){.member = slices->member,
                                    .base = slices->base,
                                    .block = block + from / INDEX_PQ_BLOCK_ROWS,
                                    .end = block +
                                           (to + INDEX_PQ_BLOCK_ROWS - 1) / INDEX_PQ_BLOCK_ROWS,
                                    .first_rows = UINT32_MAX << from % INDEX_PQ_BLOCK_ROWS,
                                    .last_rows = rest > 0 ? (UINT32_C(1) << rest) - 1 : UINT32_MAX};
}

/* The first place from `from` on whose row is not below `row`. */
static uint32_t place_of_row(const uint32_t *rows, uint32_t from, uint32_t end, uint32_t row)
{
    while (from < end) {
        uint32_t middle = from + (end - from) / 2;
        if (rows[middle] < row)
            from = middle + 1;
        else
            end = middle;
    }
    return from;
}

bool index_ivf_next_slice(struct index_ivf_slices *slices, struct index_ivf_slice *slice)
{
    const struct index_group_member *member = slices->member;
    const struct index_ivf *ivf = index_ivf_of(member);
    const uint32_t *rows =
        ivf->rows + (size_t)ivf->first_blocks[slices->list] * INDEX_PQ_BLOCK_ROWS;
    uint32_t size = ivf->sizes[slices->list], from = slices->place;

    if (!member->ranges) {
        slices->place = size;
        *slice = make_slice(slices, 0, size);
        return from < size;
    }
    while (slices->range < member->range_count && slices->place < size) {
        const struct index_rows *range = &member->ranges[slices->range++];
        from = place_of_row(rows, slices->place, size, range->first);
        slices->place = place_of_row(rows, from, size, range->end);
        if (from == slices->place)
            continue;
        *slice = make_slice(slices, from, slices->place);
        return true;
    }
    return false;
}

struct index_ivf_chunk index_ivf_chunk_of(const struct index_ivf_slice *slice, uint32_t block)
{
    uint32_t left = slice->end - block;
    bool is_last = left <= INDEX_IVF_CHUNK_BLOCKS;

    return (struct index_ivf_chunk){.member = slice->member,
                                    .base = slice->base,
                                    .first = block,
                                    .count = is_last ? left : INDEX_IVF_CHUNK_BLOCKS,
                                    .first_rows =
                                        block == slice->block ? slice->first_rows : UINT32_MAX,
                                    .last_rows = is_last ? slice->last_rows : UINT32_MAX};
}
