/* How many lists a search has to read: some rows serve as queries, their true neighbours are found
 * by brute force, and the rank of the list that each lies in is noted. */
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/index.h"
#include "indexer/index/ivf.h"
#include "indexer/index/rerank.h"

enum {
    QUERIES_MAX = 64,
    QUERIES_MIN = 16,
    NEIGHBOURS = 100,
    MISSED_PART = 2 /* neighbours that may lie in lists further away: 1 in ef_construct / 2 */
};
#define WORK_MAX 1e10 /* multiplications: about a second of one core */

struct probing {
    const struct index_ivf_build *build;
    uint32_t query_count;
    uint32_t queries[QUERIES_MAX];
    struct index_hit *hits; /* query_count x (NEIGHBOURS + 1): a row is its own nearest */
    struct index_top tops[QUERIES_MAX];
};

static uint32_t query_count(const struct index_ivf_build *build)
{
    double affordable = WORK_MAX / ((double)build->count * build->options->dim);
    uint32_t count = QUERIES_MAX;

    if (affordable < QUERIES_MAX)
        count = affordable < QUERIES_MIN ? QUERIES_MIN : (uint32_t)affordable;
    return count < build->count ? count : build->count;
}

/* All rows for a few queries. */
static void search_exactly(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct probing *probing = context;
    const struct index_ivf_build *build = probing->build;
    const float *queries[QUERIES_MAX];

    (void)thread;
    for (uint32_t q = first; q < end; q++)
        queries[q] = build->vectors + (size_t)probing->queries[q] * build->options->dim;
    index_exact_tops(build->options->metric, build->vectors, build->count, build->options->dim,
                     queries + first, end - first, probing->tops + first, build->options->cancel);
}

/* Ranks of the lists that hold a query's neighbours, in the order of the neighbours. */
static uint32_t rank_neighbours(struct probing *probing, uint32_t q, uint64_t *entries,
                                uint32_t *rank_of_list, uint8_t *query_codes, uint32_t *ranks)
{
    const struct index_ivf_build *build = probing->build;
    const struct index_ivf_codebook *codebook = &build->ivf->codebook;
    const float *query = build->vectors + (size_t)probing->queries[q] * build->options->dim;
    uint32_t count = 0;

    index_top_sort(&probing->tops[q]);
    index_ivf_list_keys(codebook, query, query_codes, entries);
    index_ivf_sort_lists(entries, codebook->list_count, 0, codebook->list_count);
    for (uint32_t rank = 0; rank < codebook->list_count; rank++)
        rank_of_list[index_neighbour_row(entries[rank])] = rank;
    for (uint32_t i = 0; i < probing->tops[q].count && count < NEIGHBOURS; i++) {
        uint32_t row = probing->tops[q].hits[i].row;
        if (row != probing->queries[q] && !index_outliers_have(&build->ivf->outliers, row))
            ranks[count++] = rank_of_list[build->nearest[row]];
    }
    return count;
}

/* Lists that hold all but a few of the ranks seen: a hundredth by default. */
static uint32_t lists_for(uint64_t *ranks, uint32_t count, uint32_t ef_construct)
{
    uint32_t part = ef_construct > 2 * MISSED_PART ? ef_construct : 2 * MISSED_PART;
    uint32_t keep = count - (uint32_t)((uint64_t)count * MISSED_PART / part);

    if (count == 0)
        return 1;
    index_entries_sort(ranks, count);
    return (uint32_t)ranks[keep - 1] + 2; /* one more: the sample is small */
}

static void count_lists(struct probing *probing)
{
    struct index_ivf *ivf = probing->build->ivf;
    uint32_t lists = ivf->codebook.list_count, near_count = 0, all_count = 0;
    uint64_t *entries = index_allocate(lists, sizeof(uint64_t));
    uint32_t *rank_of_list = index_allocate(lists, sizeof(uint32_t));
    uint8_t *query_codes = index_allocate(ivf->codebook.quantiser.stride, 1);
    uint64_t *near = index_allocate((size_t)QUERIES_MAX * 10, sizeof(uint64_t));
    uint64_t *all = index_allocate((size_t)QUERIES_MAX * NEIGHBOURS, sizeof(uint64_t));

    for (uint32_t q = 0; q < probing->query_count; q++) {
        uint32_t ranks[NEIGHBOURS];
        uint32_t count = rank_neighbours(probing, q, entries, rank_of_list, query_codes, ranks);
        for (uint32_t i = 0; i < count; i++) {
            all[all_count++] = ranks[i];
            if (i < 10)
                near[near_count++] = ranks[i];
        }
    }
    ivf->probes_10 = lists_for(near, near_count, probing->build->options->ef_construct);
    ivf->probes_100 = lists_for(all, all_count, probing->build->options->ef_construct);
    if (ivf->probes_100 < ivf->probes_10)
        ivf->probes_100 = ivf->probes_10;
    free(entries);
    free(rank_of_list);
    free(query_codes);
    free(near);
    free(all);
}

bool index_ivf_measure_probes(const struct index_ivf_build *build)
{
    struct probing probing = {.build = build, .query_count = query_count(build)};
    uint32_t wanted = NEIGHBOURS + 1, threads = build->team.threads;
    uint64_t state = build->options->seed + 3;
    uint32_t grain = (probing.query_count + threads - 1) / threads;
    bool done;

    probing.hits = index_allocate((size_t)probing.query_count * wanted, sizeof(struct index_hit));
    for (uint32_t q = 0; q < probing.query_count; q++) {
        probing.queries[q] = index_outliers_stand_in(
            &build->ivf->outliers, (uint32_t)(index_random(&state) % build->count));
        index_top_create(&probing.tops[q], probing.hits + (size_t)q * wanted, wanted);
    }
    done = thread_team_for(&build->team, probing.query_count, grain, search_exactly, &probing);
    if (done)
        count_lists(&probing);
    free(probing.hits);
    return done;
}
