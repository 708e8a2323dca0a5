/* Searching lists: the nearest by their centroids, all rows in them by product codes, the best by
 * exact float32. Windows of one codebook have the same centroids and codewords: lists are ranked
 * and tables made once for all of them, and each list is read in all.
 *
 * Rows that codes put before the limit go to a reservoir of twice as many as are kept; when it is
 * full, the better half stays and the limit falls: cheaper than a heap, for most rows fail the
 * comparison that the scan makes anyway. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "indexer/index/build_tools.h"
#include "indexer/index/ivf_file.h"
#include "indexer/index/ivf_slice.h"
#include "indexer/index/rerank.h"
#include "indexer/index/row_reads.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    KEEP_MIN = 64,        /* candidates: codes of 4 bits are coarse */
    KEEP_PER_HIT = 8,     /* for each hit wanted */
    KEEP_PER_EF = 2,      /* for each place of ef: with more lists alone the codes miss the rest */
    SELECTIVE = 3,        /* a filter that accepts fewer than one in so many near rows */
    REJECTED_KEEP = 1024, /* rejected rows remembered, the nearest */
    READS_ALONE = 16,     /* with less than one matching row in so many, lists are read alone */
    REJECTED_WEIGHT = 8, /* where few match, rejected rows of one in so many blocks stand for all */
    KEEP_FACTOR = 4,     /* more candidates in a repetition */
    KEEP_MAX = 8192,     /* of a repetition */
    OFFSET_MAX = 1 << 28,  /* of a list, in units of a sum */
    PATIENCE_FILTERED = 4, /* far from the query the best lie further apart in the order of codes */
    LISTS_ALONE = 2,       /* of a query among many: then its limit is low */
    MEASURED_HITS = 100    /* for so many nearest rows it was measured how many lists are needed */
};
/* Lists for more rows than were measured with: what matches far from the query lies in any direction,
 * and more of those are needed than in proportion. */
static const double FAR_GROWTH = 2;
static const float REACH = 4; /* see rerank.c: errors of 4 bits have long tails */

/* Memory of one search, in the thread's scratch. */
struct room {
    uint8_t *tables;
    float *products; /* part_count x 16 */
    float *query;    /* padded, less the origin */
    uint64_t *lists; /* list_count entries */
    uint16_t sums[INDEX_IVF_CHUNK_BLOCKS * INDEX_PQ_BLOCK_ROWS];
    uint32_t masks[INDEX_IVF_CHUNK_BLOCKS];
    uint32_t
        matching[INDEX_IVF_CHUNK_BLOCKS]; /* places that match, where blocks were looked at first */
};

struct search {
    const struct index_group_member *members; /* of one codebook */
    uint32_t member_count;
    const struct index_ivf_codebook *codebook;
    const struct index_search *wanted;
    uint32_t k, ef;
    uint32_t lists_read; /* of room.lists */
    uint64_t next_keep;  /* of the next pass */
    struct index_candidates candidates;
    uint64_t all;      /* rows of all members */
    uint32_t count;    /* of them those that are looked at */
    uint64_t matching; /* of them that a filter accepts, as far as that is known */
    bool asks;         /* a row may have to be rejected */
    uint32_t hidden;   /* row that is as if it were not there */
    struct index_scratch *scratch;
    struct room room;
    float unit;        /* of a sum */
    float constant;    /* of all rows, besides units and lists */
    float first_value; /* of the nearest list: offsets of the others are relative to it */
    uint16_t bias_scale;
    uint32_t keep;           /* candidates to have in the end */
    int64_t limit;           /* rows at or above it are not among them */
    uint64_t worst;          /* the last of them, once there are so many */
    uint64_t rejected_limit; /* rejected rows behind it are not remembered */
    bool looks_first;        /* few rows match: blocks are looked at before they are scanned */
    bool reads_on;           /* rejected rows tell how many lists are read after those */
    bool selective;          /* the filter rejects most of what is near the query */
};

void index_ivf_list_keys(const struct index_ivf_codebook *codebook, const float *query,
                         uint8_t *query_codes, uint64_t *entries)
{
    struct index_quantiser quantiser = codebook->quantiser;
    uint32_t count = codebook->list_count;

    quantiser.metric = codebook->metric == VECTOR_METRIC_DOT ? VECTOR_METRIC_DOT : VECTOR_METRIC_L2;
    (void)index_quantiser_encode_query(&quantiser, query, query_codes);
    for (uint32_t list = 0; list < count; list += 4) {
        uint32_t filled = count - list < 4 ? count - list : 4;
        const uint8_t *rows[4];
        int32_t keys[4];
        for (uint32_t i = 0; i < 4; i++)
            rows[i] =
                codebook->centroid_codes + (size_t)(list + (i < filled ? i : 0)) * quantiser.stride;
        index_quantiser_keys_4(&quantiser, query_codes, rows, keys);
        for (uint32_t i = 0; i < filled; i++)
            entries[list + i] = index_candidate(keys[i], 0) | (list + i);
    }
}

void index_ivf_sort_lists(uint64_t *entries, uint32_t list_count, uint32_t from, uint32_t to)
{
    index_entries_select(entries + from, list_count - from, to - from);
    index_entries_sort(entries + from, to - from);
}

static void make_room(struct search *search)
{
    const struct index_ivf_codebook *codebook = search->codebook;
    size_t tables = bytes_align(index_pq_table_bytes(&codebook->pq), 64);
    size_t products =
        bytes_align((size_t)codebook->pq.part_count * INDEX_PQ_CODEWORDS * sizeof(float), 64);
    size_t query = bytes_align(index_pq_padded_dim(&codebook->pq) * sizeof(float), 64);
    uint8_t *at;

    index_scratch_query(search->scratch, codebook->quantiser.stride);
    index_scratch_tables(search->scratch,
                         tables + products + query + codebook->list_count * sizeof(uint64_t));
    at = search->scratch->tables;
    search->room.tables = at;
    search->room.products = (void *)(at + tables);
    search->room.query = (void *)(at + tables + products);
    search->room.lists = (void *)(at + tables + products + query);
}

/* What all rows of a list have in common, smaller is nearer. */
static float list_value(const struct search *search, uint32_t list)
{
    const struct index_ivf_codebook *codebook = search->codebook;
    const float *centroid = index_ivf_centroid(codebook, list);
    float score =
        index_score(codebook->metric, search->wanted->query, centroid, codebook->quantiser.dim);

    return -score;
}

static void make_tables(struct search *search)
{
    const struct index_ivf_codebook *codebook = search->codebook;
    const struct index_pq *pq = &codebook->pq;
    const float *origin = index_ivf_origin(codebook);
    bool by_distance = codebook->metric == VECTOR_METRIC_L2;
    uint32_t padded_dim = index_pq_padded_dim(pq);
    float share;

    for (uint32_t d = 0; d < pq->dim; d++)
        search->room.query[d] = search->wanted->query[d] - origin[d];
    for (uint32_t d = pq->dim; d < padded_dim; d++)
        search->room.query[d] = 0;
    index_kernels()->pq_products(search->room.query, pq->codewords, pq->part_count, pq->part_dim,
                                 search->room.products);
    /* Sums of entries stay below 2^15, and so do biases: together they fit 16 bits. */
    search->unit = index_pq_tables(pq, search->room.products, by_distance ? -2.0f : -1.0f,
                                   by_distance ? 2.001f * codebook->bias_step : 0,
                                   search->room.tables, &search->constant);
    share = by_distance ? codebook->bias_step / search->unit : 0;
    search->bias_scale = share > 0 && share < 0.5f ? (uint16_t)(share * 65536.0f) : 0;
    search->first_value = list_value(search, (uint32_t)search->room.lists[0]);
}

/* A list's value in units of sums; what is not a number is nearest, and its rows are scored. */
static int64_t list_offset(const struct search *search, uint32_t list)
{
    float units = (list_value(search, list) - search->first_value) / search->unit;

    if (!(units > -OFFSET_MAX))
        return -OFFSET_MAX;
    return units < OFFSET_MAX ? (int64_t)lrintf(units) : OFFSET_MAX;
}

/* Keeps the `keep` smallest entries of a list, and returns the largest of those. */
static uint64_t keep_smallest(struct index_search_list *list, uint32_t keep)
{
    uint64_t worst = 0;

    index_entries_select(list->entries, list->count, keep);
    list->count = keep;
    for (uint32_t i = 0; i < keep; i++)
        worst = list->entries[i] > worst ? list->entries[i] : worst;
    return worst;
}

/* Of rows as near as the last that is kept, the first slots stay, whatever the order in which lists are
 * read. */
static void shrink(struct search *search)
{
    struct index_search_list *list = &search->scratch->nearest;

    if (list->count <= search->keep)
        return;
    search->worst = keep_smallest(list, search->keep);
    search->limit = (int64_t)index_candidate_key(search->worst) + 1;
}

/* Remembers how near rows that the filter rejects are. */
static void reject(struct search *search, uint64_t candidate)
{
    struct index_search_list *rejected = &search->scratch->accepted;

    if (candidate >= search->rejected_limit)
        return;
    rejected->entries[rejected->count++] = candidate;
    if (rejected->count == 2 * REJECTED_KEEP)
        search->rejected_limit = keep_smallest(rejected, REJECTED_KEEP);
}

/* Those of a block's places in `mask` whose row the filter leaves. */
static uint32_t matching_rows(const struct index_ivf_chunk *chunk, uint32_t at, uint32_t mask)
{
    const struct index_group_member *member = chunk->member;
    const uint32_t *rows =
        index_ivf_of(member)->rows + (size_t)(chunk->first + at) * INDEX_PQ_BLOCK_ROWS;

    return member->matching ? index_kernels()->rows_marked(rows, member->matching, mask) : mask;
}

/* Whether rejected rows of the block are remembered. */
static bool is_sampled(const struct search *search, const struct index_ivf_chunk *chunk,
                       uint32_t at)
{
    return search->reads_on && (!search->looks_first || (chunk->first + at) % REJECTED_WEIGHT == 0);
}

/* A block's rows below the limit; of them those that match. */
static void offer_rows(struct search *search, const struct index_ivf_chunk *chunk, uint32_t at,
                       uint32_t mask, uint32_t matching, int64_t offset)
{
    struct index_search_list *list = &search->scratch->nearest;
    const struct index_group_member *member = chunk->member;
    const uint16_t *sums = search->room.sums + at * INDEX_PQ_BLOCK_ROWS;
    uint32_t first_slot = (chunk->first + at) * INDEX_PQ_BLOCK_ROWS;
    const uint32_t *rows = index_ivf_of(member)->rows + first_slot;

    if (!is_sampled(search, chunk, at))
        mask = matching;
    for (; mask; mask &= mask - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(mask);
        uint64_t candidate =
            index_candidate((int32_t)(offset + sums[i]), chunk->base + first_slot + i);
        if (candidate >= search->worst || rows[i] == search->hidden)
            continue;
        if (!(matching >> i & 1) ||
            (member->accept && !member->accept(member->accept_context, rows[i])))
            reject(search, candidate);
        else
            list->entries[list->count++] = candidate;
    }
    if (list->count >= 2 * search->keep)
        shrink(search);
}

static uint16_t limit_in_list(const struct search *search, int64_t offset)
{
    int64_t limit = search->limit - offset;

    return limit <= 0 ? 0 : limit < UINT16_MAX ? (uint16_t)limit : UINT16_MAX;
}

/* Blocks [from, to); tables, limit and scale are a query's. */
static struct index_pq_scan scan_of(const struct index_ivf_chunk *chunk, uint32_t from, uint32_t to)
{
    const struct index_ivf *ivf = index_ivf_of(chunk->member);
    size_t block = chunk->first + from;

    return (struct index_pq_scan){
        .blocks = ivf->blocks + block * index_pq_block_bytes(&ivf->codebook.pq),
        .biases = ivf->biases ? ivf->biases + block * INDEX_PQ_BLOCK_ROWS : NULL,
        .quad_count = ivf->codebook.pq.part_count / INDEX_PQ_QUAD,
        .block_count = to - from,
    };
}

/* What a scan of blocks [from, to) left in the room. */
static void offer_blocks(struct search *search, const struct index_ivf_chunk *chunk, uint32_t from,
                         uint32_t to, int64_t offset, bool looked)
{
    for (uint32_t at = from; at < to; at++) {
        uint32_t mask = search->room.masks[at] & index_ivf_chunk_rows(chunk, at);
        if (mask)
            offer_rows(search, chunk, at, mask,
                       looked ? search->room.matching[at] & mask : matching_rows(chunk, at, mask),
                       offset);
    }
}

static void scan_blocks(struct search *search, const struct index_ivf_chunk *chunk, uint32_t from,
                        uint32_t to, int64_t offset, bool looked)
{
    struct index_pq_scan scan = scan_of(chunk, from, to);

    scan.tables = search->room.tables;
    scan.bias_scale = search->bias_scale;
    scan.limit = limit_in_list(search, offset);
    index_kernels()->pq_scan(&scan, search->room.sums + (size_t)from * INDEX_PQ_BLOCK_ROWS,
                             search->room.masks + from);
    offer_blocks(search, chunk, from, to, offset, looked);
}

/* Blocks in which no row matches are scanned only where their rows are counted. */
static void scan_matching_blocks(struct search *search, const struct index_ivf_chunk *chunk,
                                 int64_t offset)
{
    uint32_t from = 0;

    for (uint32_t at = 0; at < chunk->count; at++) {
        search->room.matching[at] = matching_rows(chunk, at, index_ivf_chunk_rows(chunk, at));
        if (is_sampled(search, chunk, at) || search->room.matching[at])
            continue;
        if (from < at)
            scan_blocks(search, chunk, from, at, offset, true);
        from = at + 1;
    }
    if (from < chunk->count)
        scan_blocks(search, chunk, from, chunk->count, offset, true);
}

static void scan_slice(struct search *search, const struct index_ivf_slice *slice, int64_t offset)
{
    for (uint32_t block = slice->block; block < slice->end; block += INDEX_IVF_CHUNK_BLOCKS) {
        struct index_ivf_chunk chunk = index_ivf_chunk_of(slice, block);
        if (limit_in_list(search, offset) == 0)
            return;
        if (search->looks_first)
            scan_matching_blocks(search, &chunk, offset);
        else
            scan_blocks(search, &chunk, 0, chunk.count, offset, false);
    }
}

/* A list in one member. */
static void scan_list(struct search *search, const struct index_group_member *member, uint32_t base,
                      uint32_t list, int64_t offset)
{
    struct index_ivf_slice slice;
    struct index_ivf_slices slices = index_ivf_slices(member, base, list);

    while (index_ivf_next_slice(&slices, &slice))
        scan_slice(search, &slice, offset);
}

static void scan_in_all(struct search *search, uint32_t list)
{
    int64_t offset = list_offset(search, list);
    uint32_t base = 0;

    for (uint32_t i = 0; i < search->member_count; i++) {
        scan_list(search, &search->members[i], base, list, offset);
        base += index_ivf_slots(&search->members[i]);
    }
}

/* Lists that hold nearly all of the nearest k rows, by what was measured for 10 and for 100; an ef
 * above or below the default makes it more or less. With a filter k is more than the rows wanted,
 * which the ef is for. */
static uint32_t lists_for(const struct search *search, double k, uint32_t ef)
{
    uint32_t count = search->codebook->list_count, most = 1;
    double wanted = search->k;

    k *= (double)search->all /
         search->count; /* where few rows are looked at, the nearest lie further */
    for (uint32_t i = 0; i < search->member_count; i++) {
        const struct index_ivf *ivf = index_ivf_of(&search->members[i]);
        double near = ivf->probes_10 ? ivf->probes_10 : 1, lists = near;
        double far = ivf->probes_100 > ivf->probes_10 ? ivf->probes_100 : near;
        double default_ef = wanted > INDEX_IVF_EF_DEFAULT ? fmin(wanted, ef) : INDEX_IVF_EF_DEFAULT;
        if (k > MEASURED_HITS)
            lists = far * pow(k / MEASURED_HITS, FAR_GROWTH);
        else if (k > 10)
            lists = near * pow(far / near, log10(k / 10));
        lists = ivf->fixed_probes ? ivf->fixed_probes : ceil(lists * ef / default_ef);
        lists = lists < count ? lists : count;
        most = lists > most ? (uint32_t)lists : most;
    }
    return most;
}

/* With a filter, the nearest k that match are the nearest K of all rows, K being k and what was
 * rejected nearer than the last of them. */
static uint32_t nearest_rows(struct search *search, uint32_t k)
{
    struct index_search_list *list = &search->scratch->nearest,
                             *rejected = &search->scratch->accepted;
    uint64_t worst = 0;
    uint32_t weight = search->looks_first ? REJECTED_WEIGHT : 1;
    uint32_t nearer = 0;

    index_entries_select(list->entries, list->count, k);
    for (uint32_t i = 0; i < k; i++)
        worst = list->entries[i] > worst ? list->entries[i] : worst;
    for (uint32_t i = 0; i < rejected->count; i++)
        nearer += rejected->entries[i] < worst;
    /* How many more are remembered depends on the order in which they came. */
    return k + weight * (nearer < REJECTED_KEEP ? nearer : REJECTED_KEEP);
}

/* How many lists to read after `done` of them: as many as K needs. */
static uint32_t next_lists(struct search *search)
{
    uint32_t count = search->codebook->list_count, needed = 0, nearest;
    uint32_t k = search->k, ef = search->ef, done = search->lists_read;

    if (search->scratch->nearest.count < k)
        return 2 * done < count ? 2 * done : count;
    if (search->scratch->accepted.count > 0) {
        nearest = nearest_rows(search, k);
        search->selective = nearest / SELECTIVE > k;
        if (index_ivf_of(search->members)->fixed_probes == 0)
            needed = lists_for(search, nearest, ef);
    }
    return needed;
}

/* Sorts the lists to read next; the nearest is known then, to which offsets are relative. */
static void sort_lists(struct search *search, uint32_t wanted)
{
    index_ivf_sort_lists(search->room.lists, search->codebook->list_count, search->lists_read,
                         wanted);
    for (uint32_t i = 0; i < search->member_count && index_waits_expected(); i++)
        index_ivf_fetch_lists(search->members[i].segment, search->room.lists + search->lists_read,
                              wanted - search->lists_read);
    if (search->lists_read == 0)
        make_tables(search);
    search->reads_on = search->asks && wanted < search->codebook->list_count;
}

/* Reads lists up to `wanted`, and more if those turn out to be too few. */
static void scan_lists(struct search *search, uint32_t wanted)
{
    while (search->lists_read < wanted) {
        sort_lists(search, wanted);
        for (; search->lists_read < wanted; search->lists_read++)
            scan_in_all(search, (uint32_t)search->room.lists[search->lists_read]);
        wanted = next_lists(search);
    }
}

/* The member that a slot is of; *slot becomes its own number. */
static const struct index_group_member *member_of(const struct search *search, uint32_t *slot)
{
    const struct index_group_member *member = search->members;

    for (; *slot >= index_ivf_slots(member); member++)
        *slot -= index_ivf_slots(member);
    return member;
}

static struct vector_row vector_of_slot(void *context, uint32_t slot, struct error *error)
{
    const struct index_group_member *member = member_of(context, &slot);

    return member->vector(member->vector_context, index_ivf_of(member)->rows[slot], error);
}

static void pass_begin(struct search *search)
{
    struct index_scratch *scratch = search->scratch;

    search->keep = search->next_keep < search->count ? (uint32_t)search->next_keep : search->count;
    index_search_list_limit(&scratch->nearest, 2 * search->keep + INDEX_PQ_BLOCK_ROWS);
    search->limit = INT32_MAX;
    search->worst = UINT64_MAX;
    search->rejected_limit = UINT64_MAX;
    search->selective = search->matching < search->count / SELECTIVE;
    search->lists_read = 0;
    scratch->accepted.count = 0;
}

/* Goes on with the lists and sorts the candidates that they gave. */
static void pass_scan(struct search *search)
{
    struct index_search_list *list = &search->scratch->nearest;
    float constant;

    scan_lists(search, search->lists_read > 0 ? next_lists(search)
                                              : lists_for(search, search->k, search->ef));
    shrink(search);
    index_entries_sort(list->entries, list->count);
    constant = search->first_value + search->constant;
    if (search->codebook->metric == VECTOR_METRIC_L2)
        constant += search->codebook->bias_low;
    search->candidates = (struct index_candidates){
        .metric = search->codebook->metric,
        .dim = search->codebook->quantiser.dim,
        .score_per_key = -search->unit,
        .reach = REACH,
        .patience = search->selective ? PATIENCE_FILTERED * search->ef : search->ef,
        .constant = -constant,
        .error_square = search->selective ? index_ivf_of(search->members)->error : 0,
        .entries = list->entries,
        .count = list->count};
}

/* Candidates have slots instead of rows, and so have hits. */
static struct index_search by_slot(struct search *search)
{
    struct index_search wanted = *search->wanted;

    wanted.vector = vector_of_slot;
    wanted.vector_context = search;
    return wanted;
}

/* Scores what the lists gave. *again: candidates were dropped that might be hits, and a pass with
 * more is worth it: with a filter the nearest that match may lie far from the query, where rows are
 * many and codes do not tell them apart. Without one, `ef` says how many candidates the caller wants
 * to pay for. */
static int pass_end(struct search *search, struct index_hit *hits, uint32_t *hit_count, bool *again,
                    struct error *error)
{
    struct index_search wanted = by_slot(search);
    bool open;
    int status = index_rerank(&search->candidates, &wanted, hits, hit_count, &open, error);

    *again = open && search->candidates.count == search->keep && search->asks &&
             search->next_keep * KEEP_FACTOR <= KEEP_MAX;
    search->next_keep *= KEEP_FACTOR;
    return status;
}

/* Slots become rows. */
static void name_rows(const struct search *search, struct index_hit *hits, uint32_t *hit_members,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct index_group_member *member = member_of(search, &hits[i].row);
        struct index_hit hit = {index_ivf_of(member)->rows[hits[i].row], hits[i].score};

        index_hit_append(hits, hit_members, i, hit, (uint32_t)(member - search->members));
    }
}

static bool have_one_shape(const struct index_group_member *members, uint32_t member_count)
{
    const struct index_ivf_codebook *first = &members[0].segment->ivf->codebook;

    for (uint32_t i = 1; i < member_count; i++) {
        const struct index_ivf_codebook *other =
            members[i].segment->ivf ? &members[i].segment->ivf->codebook : NULL;
        if (!other || other->id != first->id || other->metric != first->metric ||
            other->list_count != first->list_count ||
            other->quantiser.dim != first->quantiser.dim ||
            other->pq.part_dim != first->pq.part_dim ||
            other->pq.part_count != first->pq.part_count)
            return false;
    }
    return true;
}

/* Counts rows, and makes room. k is 0 when there is nothing to search. */
static int search_begin(struct search *search, struct error *error)
{
    const struct index_search *wanted = search->wanted;
    uint64_t slots = 0, keep;

    search->codebook = &search->members[0].segment->ivf->codebook;
    search->hidden = wanted->hides && search->member_count == 1 ? wanted->hidden_row : INDEX_NO_ROW;
    if (!have_one_shape(search->members, search->member_count))
        return error_set(error, ERROR_UNSUPPORTED, "two codebooks have the same number");
    for (uint32_t i = 0; i < search->member_count; i++) {
        const struct index_group_member *member = &search->members[i];
        search->count += index_ivf_rows(member);
        search->all += index_ivf_of(member)->count;
        slots += index_ivf_slots(member);
        search->matching += member->matching ? member->matching_rows : index_ivf_rows(member);
        search->asks = search->asks || member->accept || member->matching;
    }
    if (slots > INT32_MAX)
        return error_set(error, ERROR_UNSUPPORTED, "%llu rows in one search",
                         (unsigned long long)slots);
    search->k = wanted->k < search->count ? wanted->k : search->count;
    search->ef = wanted->ef > search->k ? wanted->ef : search->k;
    if (search->k == 0)
        return 0;
    keep = (uint64_t)search->ef * KEEP_PER_EF > KEEP_MIN ? (uint64_t)search->ef * KEEP_PER_EF
                                                         : KEEP_MIN;
    keep = keep > (uint64_t)search->k * KEEP_PER_HIT ? keep : (uint64_t)search->k * KEEP_PER_HIT;
    search->looks_first = search->matching < search->count / SELECTIVE;
    search->next_keep = search->matching < search->count / SELECTIVE ? keep * KEEP_FACTOR : keep;
    make_room(search);
    index_ivf_list_keys(search->codebook, wanted->query, search->scratch->query,
                        search->room.lists);
    index_search_list_limit(&search->scratch->accepted, 2 * REJECTED_KEEP);
    pass_begin(search);
    return 0;
}

/* After the scan of the first pass: passes until none is worth it. */
static int search_finish(struct search *search, struct index_hit *hits, uint32_t *hit_members,
                         uint32_t *hit_count, struct error *error)
{
    bool again;
    int status;

    while ((status = pass_end(search, hits, hit_count, &again, error)) == 0 && again) {
        pass_begin(search);
        pass_scan(search);
    }
    if (status == 0)
        name_rows(search, hits, hit_members, *hit_count);
    return status;
}

int index_ivf_search(const struct index_group_member *members, uint32_t member_count,
                     const struct index_search *wanted, struct index_hit *hits,
                     uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                     struct error *error)
{
    struct search search = {.members = members,
                            .member_count = member_count,
                            .wanted = wanted,
                            .scratch = index_scratch_get()};
    int status;

    *hit_count = 0;
    *exhausted = true; /* all lists are read before less than k rows are returned */
    status = search_begin(&search, error);
    if (status != 0 || search.k == 0)
        return status;
    pass_scan(&search);
    return search_finish(&search, hits, hit_members, hit_count, error);
}

/* Several queries. The nearest lists of each are read for it alone, so that its limit falls; the
 * others in the order of the file, each once for all queries that want it. What a query keeps does
 * not depend on the order, so it gets the answer that it would have alone. */

struct reader {
    struct search *search;
    int64_t offset; /* of the list that is read */
};

/* Reads a chunk of a member for a few queries. */
static void read_chunk(const struct reader *const *readers, uint32_t count, uint32_t member,
                       struct index_ivf_chunk chunk)
{
    const struct index_kernels *kernels = index_kernels();
    struct index_pq_scan scan = scan_of(&chunk, 0, chunk.count);
    struct index_pq_query queries[INDEX_PQ_QUERIES];
    bool together = count > 1 && kernels->pq_scan_many;

    for (uint32_t i = 0; i < count; i++) {
        struct search *search = readers[i]->search;
        queries[i] = (struct index_pq_query){.tables = search->room.tables,
                                             .bias_scale = search->bias_scale,
                                             .limit = limit_in_list(search, readers[i]->offset),
                                             .sums = search->room.sums,
                                             .masks = search->room.masks};
    }
    if (together)
        kernels->pq_scan_many(&scan, queries, count);
    for (uint32_t i = 0; i < count; i++) {
        struct search *search = readers[i]->search;
        chunk.member = &search->members[member];
        if (together)
            offer_blocks(search, &chunk, 0, chunk.count, readers[i]->offset, false);
        else
            scan_blocks(search, &chunk, 0, chunk.count, readers[i]->offset, false);
    }
}

/* One slice, chunk by chunk, for all queries that it may still bring something. */
static void read_slice(const struct reader *readers, uint32_t reader_count, uint32_t member,
                       const struct index_ivf_slice *slice)
{
    for (uint32_t block = slice->block; block < slice->end; block += INDEX_IVF_CHUNK_BLOCKS) {
        const struct reader *some[INDEX_PQ_QUERIES];
        uint32_t count = 0;
        for (uint32_t i = 0; i < reader_count; i++) {
            if (limit_in_list(readers[i].search, readers[i].offset) > 0)
                some[count++] = &readers[i];
            if (count == INDEX_PQ_QUERIES || (i + 1 == reader_count && count > 0)) {
                read_chunk(some, count, member, index_ivf_chunk_of(slice, block));
                count = 0;
            }
        }
    }
}

/* What all queries look at of a list of one member. */
static void read_list(const struct reader *readers, uint32_t reader_count, uint32_t member,
                      uint32_t base, uint32_t list)
{
    const struct index_group_member *first = &readers[0].search->members[member];
    struct index_ivf_slices slices = index_ivf_slices(first, base, list);
    struct index_ivf_slice slice;

    while (index_ivf_next_slice(&slices, &slice))
        read_slice(readers, reader_count, member, &slice);
}

/* A list in all members; `wanting` has the list in upper halves, the query's place in lower. */
static void read_in_all(struct search *searches, const uint64_t *wanting, uint32_t count)
{
    uint32_t list = (uint32_t)(wanting[0] >> 32), base = 0;
    struct reader readers[INDEX_QUERIES_MAX];

    for (uint32_t i = 0; i < count; i++) {
        struct search *search = &searches[(uint32_t)wanting[i]];
        readers[i] = (struct reader){search, list_offset(search, list)};
    }
    for (uint32_t i = 0; i < searches[0].member_count; i++) {
        read_list(readers, count, i, base, list);
        base += index_ivf_slots(&searches[0].members[i]);
    }
}

/* The lists that each query wants first. A query that scans few of their blocks reads them alone. */
static void read_together(struct search *searches, uint32_t count)
{
    uint64_t *wanting;
    uint32_t most = 0, filled = 0;

    for (uint32_t i = 0; i < count; i++)
        most += lists_for(&searches[i], searches[i].k, searches[i].ef);
    wanting = index_allocate(most, sizeof(*wanting));
    for (uint32_t i = 0; i < count; i++) {
        struct search *search = &searches[i];
        uint32_t wanted = lists_for(search, search->k, search->ef);
        sort_lists(search, wanted);
        for (; search->lists_read < wanted; search->lists_read++) {
            uint32_t list = (uint32_t)search->room.lists[search->lists_read];
            if (search->lists_read < LISTS_ALONE || search->matching < search->count / READS_ALONE)
                scan_in_all(search, list);
            else
                wanting[filled++] = (uint64_t)list << 32 | i;
        }
    }
    index_entries_sort(wanting, filled);
    for (uint32_t first = 0, next; first < filled; first = next) {
        for (next = first + 1; next < filled && wanting[next] >> 32 == wanting[first] >> 32;)
            next++;
        read_in_all(searches, wanting + first, next - first);
    }
    free(wanting);
}

/* While another query's candidates are scored, those that are scored first come towards the cache.
 * Damage that shows here shows again when they are used. */
static void fetch_candidates(struct search *search)
{
    struct index_search wanted = by_slot(search);

    index_rerank_fetch(&search->candidates, &wanted);
}

void index_ivf_searches(struct index_group_query *queries, uint32_t query_count,
                        uint32_t member_count)
{
    struct search *searches = index_allocate(query_count, sizeof(*searches));
    struct index_group_query *of[INDEX_QUERIES_MAX];
    uint32_t count = 0;

    assert(query_count <= INDEX_QUERIES_MAX);
    for (uint32_t i = 0; i < query_count; i++) {
        struct index_group_query *query = &queries[i];
        searches[count] = (struct search){.members = query->members,
                                          .member_count = member_count,
                                          .wanted = query->search,
                                          .scratch = index_scratch_of(count)};
        query->hit_count = 0;
        query->exhausted = true;
        query->status = search_begin(&searches[count], &query->error);
        if (query->status == 0 && searches[count].k > 0)
            of[count++] = query;
    }
    if (count > 0)
        read_together(searches, count);
    for (uint32_t i = 0; i < count; i++)
        pass_scan(&searches[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count)
            fetch_candidates(&searches[i + 1]);
        of[i]->status = search_finish(&searches[i], of[i]->hits, of[i]->hit_members,
                                      &of[i]->hit_count, &of[i]->error);
    }
    free(searches);
}
