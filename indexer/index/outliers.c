/* The centre is the mean of a sample. Outliers pull it towards them, so it is taken again without the
 * sample's far rows: of n rows, one pulls the mean by no more than an n-th of its own distance.
 *
 * Why eight: in one dimension a normal distribution has one row in 10^7 beyond eight times the distance of
 * half of its rows, in more dimensions fewer. None of sift200k-128, changelog-384 and fashion-784
 * has a row beyond three times. An outlier nearer than that costs three bits of a code at most, which
 * the choice of the step bears (quantiser.c). */
#include "indexer/index/outliers.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/kernels.h"
#include "indexer/index/row_reads.h"
#include "indexer/index/segment.h"

enum {
    SAMPLE_ROWS = 1024,
    ROUNDS = 3,      /* of taking the centre without far rows */
    LEAST = 4,       /* Outliers that any segment may have ... */
    SHARE_PART = 256 /* ... and one row in so many. */
};
static const float FAR = 8; /* times the distance of half of the rows */

static int by_value(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;

    return (left > right) - (left < right);
}

/* Rows evenly spread over all. */
struct sample {
    const float *vectors;
    uint32_t count, dim, step;
    float *squares; /* Squared distances of the sample's rows from the centre. */
    float *sorted;
};

static const float *sample_row(const struct sample *sample, uint32_t i)
{
    return sample->vectors + (size_t)i * sample->step * sample->dim;
}

/* The mean of the rows within `limit`, of squared distances. */
static void take_centre(const struct sample *sample, float limit, float *centre)
{
    uint32_t taken = 0;

    for (uint32_t i = 0; i < sample->count; i++)
        taken += sample->squares[i] <= limit;
    memset(centre, 0, sample->dim * sizeof(float));
    for (uint32_t i = 0; i < sample->count; i++)
        for (uint32_t d = 0; d < sample->dim && sample->squares[i] <= limit; d++)
            centre[d] += sample_row(sample, i)[d] / (float)taken;
}

/* The squared distance that half of the sample's rows do not exceed. */
static float median_square(const struct sample *sample, const float *centre)
{
    for (uint32_t i = 0; i < sample->count; i++)
        sample->squares[i] = index_kernels()->l2(centre, sample_row(sample, i), sample->dim);
    memcpy(sample->sorted, sample->squares, sample->count * sizeof(float));
    qsort(sample->sorted, sample->count, sizeof(float), by_value);
    return sample->sorted[(sample->count - 1) / 2];
}

/* Fills the centre; returns the squared distance beyond which a row is an outlier. INFINITY: none
 * is. */
static float find_limit(const float *vectors, uint32_t count, uint32_t dim, float *centre)
{
    struct sample sample = {.vectors = vectors,
                            .count = count < SAMPLE_ROWS ? count : SAMPLE_ROWS,
                            .dim = dim,
                            .step = count < SAMPLE_ROWS ? 1 : count / SAMPLE_ROWS};
    float limit = 0;

    sample.squares = index_allocate_zeroed(sample.count, sizeof(float));
    sample.sorted = index_allocate(sample.count, sizeof(float));
    for (int round = 0; round < ROUNDS && isfinite(limit); round++) {
        float median;
        take_centre(&sample, limit, centre);
        median = median_square(&sample, centre);
        /* A median of zero: half of the rows are equal, and tell nothing of the others. */
        limit = median > 0 ? median * FAR * FAR : INFINITY;
    }
    free(sample.squares);
    free(sample.sorted);
    return limit;
}

void index_outliers_find(const float *vectors, uint32_t count, uint32_t dim,
                         struct index_outliers *outliers)
{
    uint32_t most = LEAST + count / SHARE_PART;
    float *centre;
    float limit;

    *outliers = (struct index_outliers){0};
    if (count <= 2 * LEAST)
        return;
    most = most < INDEX_OUTLIERS_MAX ? most : INDEX_OUTLIERS_MAX;
    centre = index_allocate(dim, sizeof(float));
    limit = find_limit(vectors, count, dim, centre);
    for (uint32_t row = 0; row < count && isfinite(limit); row++) {
        if (index_kernels()->l2(centre, vectors + (size_t)row * dim, dim) <= limit)
            continue;
        if (outliers->count == most) {
            *outliers = (struct index_outliers){0};
            break;
        }
        outliers->rows[outliers->count++] = row;
    }
    free(centre);
}

bool index_outliers_have(const struct index_outliers *outliers, uint32_t row)
{
    uint32_t low = 0, high = outliers->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (outliers->rows[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low < outliers->count && outliers->rows[low] == row;
}

uint32_t index_outliers_stand_in(const struct index_outliers *outliers, uint32_t row)
{
    uint32_t before = row;

    while (index_outliers_have(outliers, before) && before > 0)
        before--;
    if (!index_outliers_have(outliers, before))
        return before;
    while (index_outliers_have(outliers, row))
        row++;
    return row;
}

bool index_outliers_are_valid(const struct index_outliers *outliers, uint32_t row_count)
{
    if (outliers->count > INDEX_OUTLIERS_MAX)
        return false;
    for (uint32_t i = 0; i < outliers->count; i++)
        if (outliers->rows[i] >= row_count || (i > 0 && outliers->rows[i] <= outliers->rows[i - 1]))
            return false;
    return true;
}

/* What a search gathers. */
struct merging {
    const struct index_search *search;
    struct index_hit *hits;
    uint32_t *hit_members; /* NULL: all hits are of one member. */
    uint32_t hit_count;
};

static uint32_t member_of(const struct merging *merging, uint32_t hit)
{
    return merging->hit_members ? merging->hit_members[hit] : 0;
}

static void insert(struct merging *merging, struct index_hit hit, uint32_t member)
{
    struct index_hit *hits = merging->hits;
    uint32_t at = 0, last;

    if (!(hit.score > merging->search->floor_score))
        return;
    for (uint32_t i = 0; i < merging->hit_count; i++)
        if (hits[i].row == hit.row && member_of(merging, i) == member)
            return;
    while (at < merging->hit_count &&
           (hits[at].score > hit.score ||
            (hits[at].score == hit.score &&
             (member_of(merging, at) < member ||
              (member_of(merging, at) == member && hits[at].row < hit.row)))))
        at++;
    if (at == merging->search->k)
        return;
    last = merging->hit_count < merging->search->k ? merging->hit_count++ : merging->search->k - 1;
    for (; last > at; last--) {
        hits[last] = hits[last - 1];
        if (merging->hit_members)
            merging->hit_members[last] = merging->hit_members[last - 1];
    }
    hits[at] = hit;
    if (merging->hit_members)
        merging->hit_members[at] = member;
}

static bool is_looked_at(const struct index_group_member *member, uint32_t row)
{
    for (uint32_t i = 0; i < member->range_count; i++)
        if (row >= member->ranges[i].first && row < member->ranges[i].end)
            return true;
    return !member->ranges;
}

static bool may_be_hit(const struct index_group_member *member, const struct index_search *search,
                       uint32_t row)
{
    if ((search->hides && search->hidden_row == row) || !is_looked_at(member, row))
        return false;
    if (member->matching && !(member->matching[row / 64] >> row % 64 & 1))
        return false;
    return !member->accept || member->accept(member->accept_context, row);
}

/* Rows that may be hits, at most INDEX_ROW_READS_MAX of them: those that are not in memory are read
 * together. */
static int merge_rows(struct merging *merging, const struct index_group_member *member,
                      uint32_t number, const uint32_t *rows, uint32_t count, struct error *error)
{
    const struct index_search *search = merging->search;
    enum vector_metric metric = index_segment_metric(member->segment);
    struct vector_row vectors[INDEX_ROW_READS_MAX];
    uint32_t known[INDEX_ROW_READS_MAX], known_count = 0;
    uint32_t dim = index_segment_dim(member->segment);

    for (uint32_t i = 0; i < count; i++) {
        struct vector_row vector = member->vector(member->vector_context, rows[i], error);
        if (!vector.bytes && (error->code != 0 || !search->score))
            return error->code != 0 ? error->code : ERROR_CORRUPT;
        if (!vector.bytes)
            continue;
        vectors[known_count] = vector;
        known[known_count++] = rows[i];
    }
    if (index_reads_expected())
        index_rows_read(vectors, known_count, dim);
    for (uint32_t i = 0; i < known_count; i++) {
        float score = search->score ? search->score(search->score_context, vectors[i])
                                    : index_score_row(metric, search->query, vectors[i], dim);
        insert(merging, (struct index_hit){known[i], score}, number);
    }
    return 0;
}

static int merge_member(struct merging *merging, const struct index_group_member *member,
                        uint32_t number, struct error *error)
{
    const struct index_outliers *outliers = &member->segment->outliers;
    uint32_t rows[INDEX_ROW_READS_MAX], count = 0;
    int status = 0;

    for (uint32_t i = 0; i < outliers->count && status == 0; i++) {
        if (may_be_hit(member, merging->search, outliers->rows[i]))
            rows[count++] = outliers->rows[i];
        if (count < INDEX_ROW_READS_MAX)
            continue;
        status = merge_rows(merging, member, number, rows, count, error);
        count = 0;
    }
    return status == 0 && count > 0 ? merge_rows(merging, member, number, rows, count, error)
                                    : status;
}

int index_outliers_merge(const struct index_group_member *members, uint32_t member_count,
                         const struct index_search *search, struct index_hit *hits,
                         uint32_t *hit_members, uint32_t *hit_count, struct error *error)
{
    struct merging merging = {search, hits, hit_members, *hit_count};
    int status = 0;

    assert(hit_members || member_count == 1);
    for (uint32_t i = 0; i < member_count && status == 0; i++)
        if (members[i].segment->outliers.count > 0)
            status = merge_member(&merging, &members[i], i, error);
    *hit_count = merging.hit_count;
    return status;
}
