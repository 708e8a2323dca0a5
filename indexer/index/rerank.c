/* Re-ranking: codes give an order that is about right, exact scores give the right one.
 *
 * How many candidates must be scored depends on the data: where the tenth neighbour is much nearer
 * than the twentieth, a dozen; where all distances are nearly alike, many more. So a first batch is
 * scored, the spread of (exact score - score by codes) in it is the error of the codes around this
 * query, and scoring goes on until the next candidate would have to be wrong by `reach` of it to
 * get among the best k. Coarse codes have errors with long tails, and need a longer reach: with 2,
 * the recall of 4-bit codes stopped at .95 on changelog-384, with 4 at .995. But for rows of other
 * data that is far too long, and the best are found: so `patience` ends it, too, when so many in a
 * row were none of them. */
#include "indexer/index/rerank.h"

#include <math.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/kernels.h"
#include "indexer/index/row_reads.h"
#include "indexer/index/scratch.h"

enum {
    FIRST_MIN = 16, /* candidates in the first batch: enough to tell a spread */
    BATCH = 16,
    FETCH_BYTES = 512, /* of all rows of a batch, asked for at once */
    FETCH_AHEAD = 2,   /* rows: the rest of one is asked for so long before it is scored */
    READ_AHEAD = 32,   /* rows that are read together, where more may be needed */
    EXACT_BLOCK_ROWS = 256
};
static const double MISSING_REACH = 2.0; /* of what codes leave out, where they are coarse */

struct rerank {
    const struct index_candidates *candidates;
    const struct index_search *search;
    double score_per_key;
    struct index_top top;
    double count;
    double sum, sum_of_squares; /* of exact scores minus scores by codes */
    uint32_t without;           /* scored since one took a place among the best */
    int32_t first_key;
    double query_length;
    struct vector_row
        *read; /* when rows have to be read: those of [read_from, read_to), in memory */
    uint32_t read_from, read_to;
};

/* Keys are taken relative to the first one: the differences are what matters, and are small. */
static double score_by_codes(const struct rerank *rerank, uint64_t candidate)
{
    return rerank->score_per_key * ((double)index_candidate_key(candidate) - rerank->first_key);
}

static uint32_t row_of(const struct index_candidates *candidates, uint64_t candidate)
{
    uint32_t node = index_candidate_node(candidate);

    return candidates->rows ? candidates->rows[node] : node;
}

/* Always inlined: gcc drops calls of a function that only asks for memory. */
static inline __attribute__((always_inline)) void fetch(struct vector_row row, size_t from,
                                                        size_t to)
{
    for (size_t at = from; at < to; at += 64)
        __builtin_prefetch((const char *)row.bytes + at);
}

static void fetch_begin(struct vector_row row, uint32_t dim)
{
    size_t size_bytes = vector_row_bytes(row.codec, dim);

    fetch(row, 0, size_bytes < FETCH_BYTES ? size_bytes : FETCH_BYTES);
}

static int find_row(const struct rerank *rerank, uint32_t at, struct vector_row *found,
                    struct error *error)
{
    const struct index_candidates *candidates = rerank->candidates;
    const struct index_search *search = rerank->search;

    *found =
        search->vector(search->vector_context, row_of(candidates, candidates->entries[at]), error);
    if (found->bytes)
        return 0;
    return error->code != 0 ? error->code : ERROR_CORRUPT;
}

/* The rows that are scored in any case are read together, then more each time. */
static int read_rows(struct rerank *rerank, uint32_t first, struct error *error)
{
    const struct index_candidates *candidates = rerank->candidates;
    uint32_t wanted = READ_AHEAD, left = candidates->count - first;

    if (first == 0 && candidates->patience < INDEX_ROW_READS_MAX)
        wanted = candidates->patience + FIRST_MIN;
    wanted = wanted < INDEX_ROW_READS_MAX ? wanted : INDEX_ROW_READS_MAX;
    wanted = wanted < left ? wanted : left;
    for (uint32_t i = 0; i < wanted; i++) {
        int status = find_row(rerank, first + i, &rerank->read[i], error);
        if (status != 0)
            return status;
    }
    index_rows_read(rerank->read, wanted, candidates->dim);
    rerank->read_from = first;
    rerank->read_to = first + wanted;
    return 0;
}

/* Reads the next rows when it is their turn; a batch ends where what was read does. */
static int prepare(struct rerank *rerank, uint32_t first, uint32_t *batch, struct error *error)
{
    int status = first >= rerank->read_to ? read_rows(rerank, first, error) : 0;

    if (*batch > rerank->read_to - first)
        *batch = rerank->read_to - first;
    return status;
}

/* All vectors are asked for, and their beginnings fetched towards the cache, before the first is
 * used; the rest of each while others are scored. Asking for all of 784 dimensions at once kept the
 * processor waiting for room to ask in: a fifth of a search through lists went there. */
static int score_batch(struct rerank *rerank, uint32_t first, uint32_t count, struct error *error)
{
    const struct index_candidates *candidates = rerank->candidates;
    const struct index_search *search = rerank->search;
    uint32_t dim = candidates->dim;
    struct vector_row rows[BATCH];

    for (uint32_t i = 0; i < count; i++) {
        int status = 0;
        if (rerank->read)
            rows[i] = rerank->read[first + i - rerank->read_from];
        else
            status = find_row(rerank, first + i, &rows[i], error);
        if (status != 0)
            return status;
        fetch_begin(rows[i], dim);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t candidate = candidates->entries[first + i];
        float score;
        double difference;
        if (i + FETCH_AHEAD < count)
            fetch(rows[i + FETCH_AHEAD], FETCH_BYTES,
                  vector_row_bytes(rows[i + FETCH_AHEAD].codec, dim));
        score = search->score ? search->score(search->score_context, rows[i])
                              : index_score_row(candidates->metric, search->query, rows[i], dim);
        difference = (double)score - score_by_codes(rerank, candidate);
        if (index_top_offer(&rerank->top, row_of(candidates, candidate), score))
            rerank->without = 0;
        else
            rerank->without++;
        rerank->count += 1;
        rerank->sum += difference;
        rerank->sum_of_squares += difference * difference;
    }
    return 0;
}

void index_rerank_fetch(const struct index_candidates *candidates,
                        const struct index_search *search)
{
    uint32_t count = candidates->count < FIRST_MIN ? candidates->count : FIRST_MIN;
    struct error ignored;

    for (uint32_t i = 0; i < count; i++) {
        struct vector_row row = search->vector(
            search->vector_context, row_of(candidates, candidates->entries[i]), &ignored);
        if (row.bytes)
            fetch_begin(row, candidates->dim);
    }
}

/* Far from the query, where rows are many, the first candidates are there because their error was
 * in their favour, and say nothing about the error of those behind them. But how much of a row the
 * codes leave out is known. At most it is missing from the score in full, when it points from the
 * row to the query; else it adds an error that is about normal, the part of it that lies in the
 * direction of the query (or, for distances, of the way from the query to the row). */
static double most_missing(const struct rerank *rerank)
{
    const struct index_candidates *candidates = rerank->candidates;
    double square = (double)candidates->error_square;
    double length = rerank->query_length;

    if (candidates->metric == VECTOR_METRIC_L2)
        length = 2 * sqrt(fmax(-(double)rerank->top.hits[0].score, 0));
    return square + MISSING_REACH * length * sqrt(square / candidates->dim);
}

static bool may_belong_by_code(const struct rerank *rerank, uint64_t candidate)
{
    double score = (double)rerank->candidates->constant +
                   rerank->score_per_key * index_candidate_key(candidate);

    return score + most_missing(rerank) > (double)rerank->top.hits[0].score;
}

/* Whether a candidate, and with it all behind it, may still belong to the best k. */
static bool may_belong(const struct rerank *rerank, uint64_t candidate)
{
    double mean, variance, best;

    if (rerank->top.count < rerank->top.limit)
        return true;
    if (rerank->score_per_key == 0)
        return false; /* codes are the vectors */
    if (rerank->without >= rerank->candidates->patience)
        return false;
    if (rerank->candidates->error_square > 0)
        return may_belong_by_code(rerank, candidate);
    mean = rerank->sum / rerank->count;
    variance = fmax(rerank->sum_of_squares / rerank->count - mean * mean, 0);
    best = score_by_codes(rerank, candidate) + mean +
           (double)rerank->candidates->reach * sqrt(variance);
    return best > (double)fmaxf(rerank->top.hits[0].score, rerank->search->floor_score);
}

int index_rerank(const struct index_candidates *candidates, const struct index_search *search,
                 struct index_hit *hits, uint32_t *hit_count, bool *open, struct error *error)
{
    struct vector_row read[INDEX_ROW_READS_MAX];
    struct rerank rerank = {.candidates = candidates,
                            .search = search,
                            .score_per_key = (double)candidates->score_per_key};
    uint32_t count = candidates->count;
    uint32_t least = search->k < UINT32_MAX / 2 ? search->k + search->k / 4 : search->k;

    if (candidates->error_square > 0)
        rerank.query_length =
            sqrt((double)index_kernels()->dot(search->query, search->query, candidates->dim));
    least = least < FIRST_MIN ? FIRST_MIN : least;
    rerank.read = index_reads_expected() ? read : NULL;
    index_top_create(&rerank.top, hits, search->k);
    rerank.first_key = count > 0 ? index_candidate_key(candidates->entries[0]) : 0;
    for (uint32_t first = 0; first < count;) {
        uint32_t batch = count - first < BATCH ? count - first : BATCH;
        int status;
        if (first >= least) {
            batch = batch < BATCH / 4 ? batch : BATCH / 4;
            if (!may_belong(&rerank, candidates->entries[first]))
                break;
        }
        status = rerank.read ? prepare(&rerank, first, &batch, error) : 0;
        if (status == 0)
            status = score_batch(&rerank, first, batch, error);
        if (status != 0)
            return status;
        first += batch;
    }
    if (open)
        *open = count > 0 && rerank.count >= count && candidates->error_square > 0 &&
                rerank.top.count == rerank.top.limit &&
                may_belong(&rerank, candidates->entries[count - 1]);
    index_top_sort(&rerank.top);
    while (rerank.top.count > 0 && !(hits[rerank.top.count - 1].score > search->floor_score))
        rerank.top.count--;
    *hit_count = rerank.top.count;
    return 0;
}

/* Rows that all queries look at while they lie in the cache. */
enum { EXACT_BLOCK_BYTES = 256 << 10 };

void index_exact_tops(enum vector_metric metric, const float *vectors, uint32_t count, uint32_t dim,
                      const float *const *queries, uint32_t query_count, struct index_top *tops,
                      const atomic_bool *cancel)
{
    uint32_t block_rows = EXACT_BLOCK_BYTES / (dim * (uint32_t)sizeof(float)) + 1;
    float *scores = index_allocate((size_t)block_rows * INDEX_TILE_QUERIES, sizeof(float));
    float *of[INDEX_TILE_QUERIES];

    for (uint32_t i = 0; i < INDEX_TILE_QUERIES; i++)
        of[i] = scores + (size_t)i * block_rows;
    for (uint32_t row = 0; row < count && !(cancel && atomic_load(cancel)); row += block_rows) {
        uint32_t block = count - row < block_rows ? count - row : block_rows;
        for (uint32_t q = 0, some; q < query_count; q += some) {
            some = query_count - q < INDEX_TILE_QUERIES ? query_count - q : INDEX_TILE_QUERIES;
            index_score_tile(metric, queries + q, some, vectors + (size_t)row * dim, block, dim,
                             of);
            for (uint32_t i = 0; i < block * some; i++)
                index_top_offer(&tops[q + i / block], row + i % block, of[i / block][i % block]);
        }
    }
    free(scores);
}

void index_exact_top(enum vector_metric metric, const float *vectors, uint32_t count, uint32_t dim,
                     const float *query, uint32_t k, struct index_hit *hits, uint32_t *hit_count)
{
    struct index_top top;
    float scores[EXACT_BLOCK_ROWS];

    index_top_create(&top, hits, k);
    for (uint32_t first = 0; first < count; first += EXACT_BLOCK_ROWS) {
        uint32_t block = count - first < EXACT_BLOCK_ROWS ? count - first : EXACT_BLOCK_ROWS;
        index_score_block(metric, query, vectors + (size_t)first * dim, block, dim, scores);
        for (uint32_t i = 0; i < block; i++)
            index_top_offer(&top, first + i, scores[i]);
    }
    index_top_sort(&top);
    *hit_count = top.count;
}
