/* Building: a codebook's tables, or new ones when they no longer fit; every row to its list; codes,
 * list by list. Besides the result it needs eight bytes a row and the samples (ivf_train.c). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/distance_matrix.h"
#include "indexer/index/index.h"
#include "indexer/index/ivf.h"
#include "indexer/index/kmeans.h"
#include "indexer/index/segment.h"

enum { LISTS_DRIFT = 4 }; /* a codebook for windows of up to four times more or fewer lists */
/* Errors of coding may grow by so much. Windows of another codebook are searched apart from the
 * rest: ten windows of changelog-384, in three codebooks with 1.1 and in one with this, are
 * asked 1.2 times as often at the same recall. */
static const float error_drift = 1.3f;
static const float doubts = 3; /* standard errors: a drift must be certain */

static void report(const struct index_ivf_build *build, double part)
{
    const struct index_build_options *options = build->options;

    if (options->progress)
        options->progress(options->progress_context, (uint32_t)(part * build->count), build->count);
}

/* Whether the tables of an older segment do for this window. False also when cancelled. */
static bool codebook_fits(const struct index_ivf_build *build,
                          const struct index_ivf_codebook *codebook)
{
    uint32_t wanted = index_ivf_lists(build->count, build->options->lists);
    float error, doubt;

    if (codebook->metric != build->options->metric ||
        codebook->quantiser.dim != build->options->dim ||
        codebook->list_count > (uint64_t)wanted * LISTS_DRIFT ||
        wanted > (uint64_t)codebook->list_count * LISTS_DRIFT)
        return false;
    if (build->options->lists != 0 && build->options->lists != codebook->list_count)
        return false;
    return index_ivf_measure_error(build, codebook, &error, &doubt) &&
           error - doubts * doubt <= codebook->error * error_drift;
}

bool index_lists_have_drifted(const struct index_ivf *lists)
{
    /* The doubt of one row's error is about the error itself. */
    float sampled = fmaxf((float)lists->count / INDEX_IVF_ERROR_SPREAD, 1);

    return lists->error > (error_drift + doubts / sqrtf(sampled)) * lists->codebook.error;
}

static bool measure_coded(const struct index_ivf_build *build)
{
    float doubt;

    return index_ivf_measure_error(build, &build->ivf->codebook, &build->ivf->error, &doubt);
}

static bool find_codebook(const struct index_ivf_build *build)
{
    const struct index_ivf_codebook *former = build->options->codebook;
    struct index_ivf *ivf = build->ivf;

    if (former && codebook_fits(build, former)) {
        index_ivf_codebook_copy(former, &ivf->codebook);
        return measure_coded(build);
    }
    if (!index_ivf_train(build, &ivf->codebook))
        return false;
    ivf->error = ivf->codebook.error;
    return true;
}

uint32_t index_ivf_place_lists(const uint32_t *sizes, uint32_t list_count, uint32_t *first_blocks)
{
    uint64_t blocks = 0;

    for (uint32_t list = 0; list < list_count; list++) {
        first_blocks[list] = (uint32_t)blocks;
        blocks += ((uint64_t)sizes[list] + INDEX_PQ_BLOCK_ROWS - 1) / INDEX_PQ_BLOCK_ROWS;
        if (blocks > INDEX_IVF_COUNT_MAX / INDEX_PQ_BLOCK_ROWS)
            return 0;
    }
    first_blocks[list_count] = (uint32_t)blocks;
    return (uint32_t)blocks;
}

struct encoding {
    const struct index_ivf_build *build;
    const uint32_t *offsets, *members; /* rows of each list */
    uint32_t *rows;
    uint16_t *biases;
    uint8_t *blocks;
};

/* A thread's room for one block. */
struct block_room {
    float *columns;     /* padded_dim x 32 */
    uint8_t *codes;     /* part_count x 32 */
    float *origin_room; /* padded_dim */
    float *bias_table;  /* part_count x 16 */
};

static uint16_t quantise_bias(const struct index_ivf_codebook *codebook, float bias)
{
    float number = (bias - codebook->bias_low) / codebook->bias_step;

    if (!(number > 0))
        return 0;
    return number < (float)UINT16_MAX ? (uint16_t)((uint32_t)(2 * number + 1) / 2) : UINT16_MAX;
}

static void encode_block(const struct encoding *encoding, const struct block_room *room,
                         uint32_t list, const uint32_t *members, uint32_t count, size_t block)
{
    const struct index_ivf_codebook *codebook = &encoding->build->ivf->codebook;
    const struct index_pq *pq = &codebook->pq;
    const float *centroid = index_ivf_centroid(codebook, list);
    size_t first = block * INDEX_PQ_BLOCK_ROWS;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = index_outliers_stand_in(&encoding->build->ivf->outliers, members[i]);
        const float *vector = encoding->build->vectors + (size_t)from * pq->dim;
        for (uint32_t d = 0; d < pq->dim; d++)
            room->columns[(size_t)d * INDEX_PQ_BLOCK_ROWS + i] = vector[d] - centroid[d];
        encoding->rows[first + i] = members[i];
    }
    index_pq_encode(pq, room->columns, room->codes);
    index_pq_pack(pq, room->codes, count, encoding->blocks + block * index_pq_block_bytes(pq));
    for (uint32_t i = count; i < INDEX_PQ_BLOCK_ROWS; i++)
        encoding->rows[first + i] = INDEX_IVF_NO_ROW;
    for (uint32_t i = 0; i < INDEX_PQ_BLOCK_ROWS && encoding->biases; i++) {
        float bias = 0;
        for (uint32_t part = 0; part < pq->part_count; part++)
            bias += room->bias_table[(size_t)part * INDEX_PQ_CODEWORDS +
                                     room->codes[(size_t)part * INDEX_PQ_BLOCK_ROWS + i]];
        encoding->biases[first + i] = i < count ? quantise_bias(codebook, bias) : 0;
    }
}

static void encode_lists(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    const struct encoding *encoding = context;
    const struct index_ivf *ivf = encoding->build->ivf;
    const struct index_pq *pq = &ivf->codebook.pq;
    uint32_t padded_dim = index_pq_padded_dim(pq);
    struct block_room room = {
        index_allocate_zeroed((size_t)padded_dim * INDEX_PQ_BLOCK_ROWS, sizeof(float)),
        index_allocate(pq->part_count, INDEX_PQ_BLOCK_ROWS),
        index_allocate(padded_dim, sizeof(float)),
        index_allocate((size_t)pq->part_count * INDEX_PQ_CODEWORDS, sizeof(float)),
    };

    (void)thread;
    for (uint32_t list = first; list < end; list++) {
        uint32_t size = ivf->sizes[list];
        if (encoding->biases)
            index_ivf_bias_table(&ivf->codebook, list, room.origin_room, room.bias_table);
        for (uint32_t at = 0; at < size; at += INDEX_PQ_BLOCK_ROWS)
            encode_block(encoding, &room, list, encoding->members + encoding->offsets[list] + at,
                         size - at < INDEX_PQ_BLOCK_ROWS ? size - at : INDEX_PQ_BLOCK_ROWS,
                         (size_t)ivf->first_blocks[list] + at / INDEX_PQ_BLOCK_ROWS);
    }
    free(room.columns);
    free(room.codes);
    free(room.origin_room);
    free(room.bias_table);
}

static bool place_rows(struct index_ivf *ivf, uint32_t count, const uint32_t *offsets)
{
    uint32_t lists = ivf->codebook.list_count;
    uint32_t *sizes = index_allocate(lists, sizeof(uint32_t));
    uint32_t *first_blocks = index_allocate((size_t)lists + 1, sizeof(uint32_t));

    for (uint32_t list = 0; list < lists; list++)
        sizes[list] = offsets[list + 1] - offsets[list];
    ivf->count = count;
    ivf->sizes = sizes;
    ivf->first_blocks = first_blocks;
    ivf->block_count = index_ivf_place_lists(sizes, lists, first_blocks);
    return ivf->block_count > 0;
}

bool index_ivf_encode(const struct index_ivf_build *build)
{
    struct index_ivf *ivf = build->ivf;
    struct encoding encoding = {.build = build};
    uint32_t *offsets = index_allocate((size_t)ivf->codebook.list_count + 2, sizeof(uint32_t));
    uint32_t *members = index_allocate(build->count, sizeof(uint32_t));
    bool done;

    index_kmeans_collect(build->nearest, build->count, ivf->codebook.list_count, offsets, members);
    done = place_rows(ivf, build->count, offsets);
    if (done) {
        size_t slots = (size_t)ivf->block_count * INDEX_PQ_BLOCK_ROWS;
        encoding.offsets = offsets;
        encoding.members = members;
        ivf->rows = encoding.rows = index_allocate(slots, sizeof(uint32_t));
        if (ivf->codebook.metric == VECTOR_METRIC_L2)
            ivf->biases = encoding.biases = index_allocate(slots, sizeof(uint16_t));
        ivf->blocks = encoding.blocks =
            index_allocate(ivf->block_count, index_pq_block_bytes(&ivf->codebook.pq));
        done = thread_team_for(&build->team, ivf->codebook.list_count, 4, encode_lists, &encoding);
    }
    free(offsets);
    free(members);
    return done;
}

/* An outlier goes where its stand-in does. */
static bool choose_lists(const struct index_ivf_build *build)
{
    const struct index_ivf *ivf = build->ivf;
    const struct index_kmeans kmeans = {.quantiser = &ivf->codebook.quantiser,
                                        .vectors = build->vectors,
                                        .count = build->count,
                                        .centroid_count = ivf->codebook.list_count,
                                        .team = &build->team};

    if (!index_kmeans_assign(&kmeans, ivf->codebook.centroids, build->nearest))
        return false;
    for (uint32_t i = 0; i < ivf->outliers.count; i++) {
        uint32_t row = ivf->outliers.rows[i];
        build->nearest[row] = build->nearest[index_outliers_stand_in(&ivf->outliers, row)];
    }
    return true;
}

/* Steps of a build. False: cancelled. */
typedef bool build_steps(const struct index_ivf_build *build);

static bool build_with_training(const struct index_ivf_build *build)
{
    if (!find_codebook(build))
        return false;
    report(build, 0.3);
    if (!choose_lists(build))
        return false;
    report(build, 0.5);
    if (!index_ivf_encode(build))
        return false;
    report(build, 0.8);
    if (!index_ivf_measure_probes(build))
        return false;
    report(build, 1);
    return true;
}

static bool build_with_codebook(const struct index_ivf_build *build)
{
    index_ivf_codebook_copy(build->options->codebook, &build->ivf->codebook);
    return choose_lists(build) && index_ivf_encode(build) && measure_coded(build);
}

/* With what both ways to build need: outliers, threads, room. */
static int carry_out(build_steps *steps, const float *vectors, uint32_t count,
                     const struct index_build_options *options, struct index_ivf **ivf,
                     struct error *error)
{
    struct index_ivf_build build = {.vectors = vectors, .count = count, .options = options};
    bool done;

    build.ivf = index_allocate_zeroed(1, sizeof(*build.ivf));
    build.ivf->fixed_probes = options->probes;
    build.nearest = index_allocate(count, sizeof(uint32_t));
    index_outliers_find(vectors, count, options->dim, &build.ivf->outliers);
    thread_team_create(&build.team, THREAD_BUILD, options->thread_count, options->cancel);
    done = steps(&build);
    thread_team_destroy(&build.team);
    free(build.nearest);
    if (!done) {
        index_ivf_delete(build.ivf);
        return error_set(error, ERROR_CANCELLED, "the build was cancelled");
    }
    *ivf = build.ivf;
    return 0;
}

int index_ivf_code(const float *vectors, uint32_t count, const struct index_build_options *options,
                   struct index_ivf **ivf, struct error *error)
{
    *ivf = NULL;
    assert(options->codebook && count > 0 && count <= INDEX_IVF_COUNT_MAX / 2);
    return carry_out(build_with_codebook, vectors, count, options, ivf, error);
}

uint64_t index_ivf_code_bytes(uint32_t count, const struct index_build_options *options)
{
    struct index_pq pq = index_pq_shape(options->dim);
    uint64_t lists = index_ivf_lists(count, options->lists);
    uint64_t slots = count + (lists < count ? lists : count) * INDEX_PQ_BLOCK_ROWS;

    return lists * (options->dim * sizeof(float) + index_quantiser_stride(options->dim) +
                    2 * sizeof(uint32_t)) +
           index_pq_codeword_floats(&pq) * sizeof(float) +
           slots * (sizeof(uint32_t) + sizeof(uint16_t) + pq.part_count / 2);
}

uint64_t index_ivf_build_bytes(uint32_t count, const struct index_build_options *options)
{
    struct index_pq pq = index_pq_shape(options->dim);
    uint64_t lists = index_ivf_lists(count, options->lists);
    uint64_t slots = count + lists * INDEX_PQ_BLOCK_ROWS;
    uint32_t stride = index_quantiser_stride(options->dim);
    /* Each thread that assigns rows has the centroids as codes. */
    uint64_t assigning = (lists + INDEX_PANEL_COLUMNS) * stride +
                         index_distance_matrix_bytes(stride, (uint32_t)lists);

    /* Two tables: a codebook that was given may not fit. */
    return index_ivf_train_bytes(count, options) +
           lists * (2 * (options->dim * sizeof(float) + stride) + 5 * sizeof(uint32_t)) +
           slots * (sizeof(uint32_t) + sizeof(uint16_t) + pq.part_count / 2) +
           2 * (uint64_t)count * sizeof(uint32_t) + options->thread_count * assigning;
}

int index_ivf_build(const float *vectors, uint32_t count, const struct index_build_options *options,
                    struct index_ivf **ivf, struct error *error)
{
    *ivf = NULL;
    if (count == 0 || count > INDEX_IVF_COUNT_MAX / 2)
        return error_set(error, ERROR_INVALID, "lists of %u vectors", count);
    if (options->dim == 0 || options->dim > 65536 || options->thread_count == 0)
        return error_set(error, ERROR_INVALID, "%u dimensions, %u threads", options->dim,
                         options->thread_count);
    if (options->memory_max_bytes > 0 &&
        index_ivf_build_bytes(count, options) > options->memory_max_bytes)
        return error_set(error, ERROR_UNSUPPORTED,
                         "building lists of %u vectors takes more than %llu bytes", count,
                         (unsigned long long)options->memory_max_bytes);
    return carry_out(build_with_training, vectors, count, options, ivf, error);
}

void index_ivf_delete(struct index_ivf *ivf)
{
    if (!ivf)
        return;
    index_ivf_codebook_destroy(&ivf->codebook);
    free((void *)(uintptr_t)ivf->first_blocks);
    free((void *)(uintptr_t)ivf->sizes);
    free((void *)(uintptr_t)ivf->rows);
    free((void *)(uintptr_t)ivf->biases);
    free((void *)(uintptr_t)ivf->blocks);
    free(ivf);
}
