/* Searching lists: the nearest by their centroids, all rows in them by product codes, the best by
 * exact float32. Windows of one codebook have the same centroids and codewords: lists are ranked
 * and tables made once for all of them, and each list is read in all.
 *
 * Rows that codes put before the limit go to a reservoir of twice as many as are kept; when it is
 * full, the better half stays and the limit falls: cheaper than a heap, for most rows fail the
 * comparison that the scan makes anyway. */
#include <math.h>
#include <string.h>

#include "indexer/index/ivf.h"
#include "indexer/index/rerank.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    CHUNK_BLOCKS = 8,      /* scanned with one limit */
    KEEP_MIN = 64,         /* candidates: codes of 4 bits are coarse */
    KEEP_PER_HIT = 8,      /* for each hit wanted */
    KEEP_PER_EF = 2,       /* for each place of ef: with more lists alone the codes miss the rest */
    SELECTIVE = 3,         /* a filter that accepts fewer than one in so many near rows */
    REJECTED_KEEP = 1024,  /* rejected rows remembered, the nearest */
    KEEP_FACTOR = 4,       /* more candidates in a repetition */
    KEEP_MAX = 8192,       /* of a repetition */
    OFFSET_MAX = 1 << 28,  /* of a list, in units of a sum */
    PATIENCE_FILTERED = 4, /* far from the query the best lie further apart in the order of codes */
    MEASURED_HITS = 128 /* for so many nearest rows, about, it is known how many lists are needed */
};
static const float REACH = 4; /* see rerank.c: errors of 4 bits have long tails */

/* Memory of one search, in the thread's scratch. */
struct room {
    uint8_t *tables;
    float *products; /* part_count x 16 */
    float *query;    /* padded, less the origin */
    uint64_t *lists; /* list_count entries */
    uint16_t sums[CHUNK_BLOCKS * INDEX_PQ_BLOCK_ROWS];
};

struct search {
    const struct index_group_member *members; /* of one codebook */
    uint32_t member_count;
    const struct index_ivf_codebook *codebook;
    const struct index_search *wanted;
    uint32_t count;    /* rows of all members */
    uint64_t matching; /* of them that a filter accepts, as far as that is known */
    bool asks;         /* a row may have to be rejected */
    struct index_scratch *scratch;
    struct room room;
    float unit;        /* of a sum */
    float constant;    /* of all rows, besides units and lists */
    float first_value; /* of the nearest list: offsets of the others are relative to it */
    uint16_t bias_scale;
    uint32_t keep;           /* candidates to have in the end */
    int64_t limit;           /* rows at or above it are not among them */
    uint64_t rejected_limit; /* rejected rows behind it are not remembered */
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

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void make_room(struct search *search)
{
    const struct index_ivf_codebook *codebook = search->codebook;
    size_t tables = round_up(index_pq_table_bytes(&codebook->pq));
    size_t products =
        round_up((size_t)codebook->pq.part_count * INDEX_PQ_CODEWORDS * sizeof(float));
    size_t query = round_up(index_pq_padded_dim(&codebook->pq) * sizeof(float));
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

static void shrink(struct search *search)
{
    struct index_search_list *list = &search->scratch->nearest;

    if (list->count > search->keep)
        search->limit = index_candidate_key(keep_smallest(list, search->keep));
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

static const struct index_ivf *lists_of(const struct index_group_member *member)
{
    return member->segment->ivf;
}

static bool is_accepted(const struct index_group_member *member, uint32_t row)
{
    if (member->matching && !(member->matching[row / 64] >> row % 64 & 1))
        return false;
    return !member->accept || member->accept(member->accept_context, row);
}

/* A block's rows; `base` is the number of the member's slot 0 among all. */
static void offer_rows(struct search *search, const struct index_group_member *member,
                       uint32_t base, uint32_t mask, const uint16_t *sums, uint32_t first_slot,
                       int64_t offset)
{
    struct index_search_list *list = &search->scratch->nearest;
    const uint32_t *rows = lists_of(member)->rows + first_slot;

    for (; mask; mask &= mask - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(mask);
        uint64_t candidate = index_candidate((int32_t)(offset + sums[i]), base + first_slot + i);
        if (search->asks && !is_accepted(member, rows[i]))
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

static void scan_list(struct search *search, const struct index_group_member *member, uint32_t base,
                      uint32_t list, int64_t offset)
{
    const struct index_ivf *ivf = lists_of(member);
    uint32_t block = ivf->first_blocks[list], end = ivf->first_blocks[list + 1];
    uint32_t last_rows = ivf->sizes[list] % INDEX_PQ_BLOCK_ROWS;

    for (; block < end; block += CHUNK_BLOCKS) {
        uint32_t masks[CHUNK_BLOCKS];
        size_t first = (size_t)block * INDEX_PQ_BLOCK_ROWS;
        struct index_pq_scan scan = {
            .blocks = ivf->blocks + block * index_pq_block_bytes(&ivf->codebook.pq),
            .biases = ivf->biases ? ivf->biases + first : NULL,
            .tables = search->room.tables,
            .quad_count = ivf->codebook.pq.part_count / INDEX_PQ_QUAD,
            .block_count = end - block < CHUNK_BLOCKS ? end - block : CHUNK_BLOCKS,
            .bias_scale = search->bias_scale,
            .limit = limit_in_list(search, offset),
        };
        if (scan.limit == 0)
            return;
        index_kernels()->pq_scan(&scan, search->room.sums, masks);
        if (block + scan.block_count == end && last_rows > 0)
            masks[scan.block_count - 1] &= (UINT32_C(1) << last_rows) - 1;
        for (uint32_t i = 0; i < scan.block_count; i++)
            if (masks[i])
                offer_rows(search, member, base, masks[i],
                           search->room.sums + i * INDEX_PQ_BLOCK_ROWS,
                           (uint32_t)first + i * INDEX_PQ_BLOCK_ROWS, offset);
    }
}

static uint32_t slots_of(const struct index_group_member *member)
{
    return lists_of(member)->block_count * INDEX_PQ_BLOCK_ROWS;
}

static void scan_in_all(struct search *search, uint32_t list)
{
    int64_t offset = list_offset(search, list);
    uint32_t base = 0;

    for (uint32_t i = 0; i < search->member_count; i++) {
        scan_list(search, &search->members[i], base, list, offset);
        base += slots_of(&search->members[i]);
    }
}

/* Lists that hold nearly all of the nearest k rows, by what was measured for 10 and for 100; an ef
 * above or below the default makes it more or less. */
static uint32_t lists_for(const struct search *search, double k, uint32_t ef)
{
    uint32_t count = search->codebook->list_count, most = 1;

    for (uint32_t i = 0; i < search->member_count; i++) {
        const struct index_ivf *ivf = lists_of(&search->members[i]);
        double near = ivf->probes_10 ? ivf->probes_10 : 1, lists = near;
        double far = ivf->probes_100 > ivf->probes_10 ? ivf->probes_100 : near;
        double default_ef = k > INDEX_IVF_EF_DEFAULT ? fmin(k, ef) : INDEX_IVF_EF_DEFAULT;
        if (k > 10)
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
    uint32_t nearer = k;

    index_entries_select(list->entries, list->count, k);
    for (uint32_t i = 0; i < k; i++)
        worst = list->entries[i] > worst ? list->entries[i] : worst;
    for (uint32_t i = 0; i < rejected->count; i++)
        nearer += rejected->entries[i] < worst;
    return nearer;
}

/* How many lists to read after `done` of them: as many as K needs. Beyond what was measured only
 * all lists are enough. */
static uint32_t next_lists(struct search *search, uint32_t k, uint32_t ef, uint32_t done)
{
    uint32_t count = search->codebook->list_count, needed = 0, nearest;

    if (search->scratch->nearest.count < k)
        return 2 * done < count ? 2 * done : count;
    if (search->scratch->accepted.count > 0) {
        nearest = nearest_rows(search, k);
        search->selective = nearest / SELECTIVE > k;
        if (lists_of(search->members)->fixed_probes == 0)
            needed = nearest <= MEASURED_HITS || nearest < 2 * k ? lists_for(search, nearest, ef)
                                                                 : count;
    }
    return needed;
}

static void scan_lists(struct search *search, uint32_t k, uint32_t ef)
{
    uint32_t count = search->codebook->list_count, done = 0;
    uint32_t wanted = lists_for(search, k, ef);

    while (done < wanted) {
        index_ivf_sort_lists(search->room.lists, count, done, wanted);
        if (done == 0)
            make_tables(search);
        for (; done < wanted; done++)
            scan_in_all(search, (uint32_t)search->room.lists[done]);
        wanted = next_lists(search, k, ef, done);
    }
}

/* The member that a slot is of; *slot becomes its own number. */
static const struct index_group_member *member_of(const struct search *search, uint32_t *slot)
{
    const struct index_group_member *member = search->members;

    for (; *slot >= slots_of(member); member++)
        *slot -= slots_of(member);
    return member;
}

static const float *vector_of_slot(void *context, uint32_t slot, struct error *error)
{
    const struct index_group_member *member = member_of(context, &slot);

    return member->vector(member->vector_context, lists_of(member)->rows[slot], error);
}

/* Reads lists and scores what they gave; hits have slots instead of rows. *open: candidates were
 * dropped that might be hits. */
static int search_once(struct search *search, uint32_t k, uint32_t ef, struct index_hit *hits,
                       uint32_t *hit_count, bool *open, struct error *error)
{
    struct index_search_list *list = &search->scratch->nearest;
    struct index_search by_slot = *search->wanted;
    float constant, error_square = lists_of(search->members)->error;
    int status;

    index_search_list_limit(list, 2 * search->keep + INDEX_PQ_BLOCK_ROWS);
    search->limit = INT32_MAX;
    search->rejected_limit = UINT64_MAX;
    search->selective = false;
    search->scratch->accepted.count = 0;
    scan_lists(search, k, ef);
    shrink(search);
    index_entries_sort(list->entries, list->count);
    by_slot.vector = vector_of_slot;
    by_slot.vector_context = search;
    constant = search->first_value + search->constant;
    if (search->codebook->metric == VECTOR_METRIC_L2)
        constant += search->codebook->bias_low;
    status = index_rerank(
        &(struct index_candidates){.metric = search->codebook->metric,
                                   .dim = search->codebook->quantiser.dim,
                                   .score_per_key = -search->unit,
                                   .reach = REACH,
                                   .patience = search->selective ? PATIENCE_FILTERED * ef : ef,
                                   .constant = -constant,
                                   .error_square = search->selective ? error_square : 0,
                                   .entries = list->entries,
                                   .count = list->count},
        &by_slot, hits, hit_count, open, error);
    *open = *open && list->count == search->keep;
    return status;
}

/* Slots become rows. */
static void name_rows(const struct search *search, struct index_hit *hits, uint32_t *hit_members,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct index_group_member *member = member_of(search, &hits[i].row);
        struct index_hit hit = {lists_of(member)->rows[hits[i].row], hits[i].score};

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

/* With a filter the nearest that match may lie far from the query, where rows are many and codes do
 * not tell them apart: the search is repeated with more candidates. Without one, `ef` says how many
 * candidates the caller wants to pay for. */
int index_ivf_search(const struct index_group_member *members, uint32_t member_count,
                     const struct index_search *wanted, struct index_hit *hits,
                     uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                     struct error *error)
{
    struct search search = {.members = members,
                            .member_count = member_count,
                            .codebook = &members[0].segment->ivf->codebook,
                            .wanted = wanted,
                            .scratch = index_scratch_get()};
    uint32_t k, ef;
    uint64_t keep, slots = 0;
    bool open = true;

    *hit_count = 0;
    *exhausted = true; /* all lists are read before less than k rows are returned */
    if (!have_one_shape(members, member_count))
        return error_set(error, ERROR_UNSUPPORTED, "two codebooks have the same number");
    for (uint32_t i = 0; i < member_count; i++) {
        search.count += lists_of(&members[i])->count;
        slots += slots_of(&members[i]);
        search.matching +=
            members[i].matching ? members[i].matching_rows : lists_of(&members[i])->count;
        search.asks = search.asks || members[i].accept || members[i].matching;
    }
    if (slots > INT32_MAX)
        return error_set(error, ERROR_UNSUPPORTED, "%llu rows in one search",
                         (unsigned long long)slots);
    k = wanted->k < search.count ? wanted->k : search.count;
    ef = wanted->ef > k ? wanted->ef : k;
    if (k == 0)
        return 0;
    keep = (uint64_t)ef * KEEP_PER_EF > KEEP_MIN ? (uint64_t)ef * KEEP_PER_EF : KEEP_MIN;
    keep = keep > (uint64_t)k * KEEP_PER_HIT ? keep : (uint64_t)k * KEEP_PER_HIT;
    make_room(&search);
    index_ivf_list_keys(search.codebook, wanted->query, search.scratch->query, search.room.lists);
    index_search_list_limit(&search.scratch->accepted, 2 * REJECTED_KEEP);
    if (search.matching < search.count / SELECTIVE)
        keep *= KEEP_FACTOR;
    for (; open; keep *= KEEP_FACTOR) {
        int status;
        search.keep = keep < search.count ? (uint32_t)keep : search.count;
        status = search_once(&search, k, ef, hits, hit_count, &open, error);
        if (status != 0)
            return status;
        open = open && search.asks && keep * KEEP_FACTOR <= KEEP_MAX;
    }
    name_rows(&search, hits, hit_members, *hit_count);
    return 0;
}
