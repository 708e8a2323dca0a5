/* rerank: from many candidates to the best k hits. The smallest of many entries, a heap of the best
 * hits, and exact scores for the candidates that codes have found. */
#ifndef INDEXER_INDEX_RERANK_H
#define INDEXER_INDEX_RERANK_H

#include <stdbool.h>
#include <stdint.h>

#include "indexer/index/index.h"

/** Sorts, smallest first. */
void index_entries_sort(uint64_t *entries, uint32_t count);
/** Moves the `keep` smallest to the front, in no order; keep <= count. */
void index_entries_select(uint64_t *entries, uint32_t count, uint32_t keep);

/* The best k hits seen so far: a heap with the worst on top. Ties go to the lower row. */
struct index_top {
    struct index_hit *hits; /* the caller's, room for `limit` */
    uint32_t count, limit;
};

/* Best first. A score that is not a number is worse than any. */
static inline bool index_hit_better(const struct index_hit *a, const struct index_hit *b)
{
    if (a->score != b->score && !(a->score != a->score && b->score != b->score))
        return a->score > b->score || b->score != b->score;
    return a->row < b->row;
}

static inline void index_top_create(struct index_top *top, struct index_hit *hits, uint32_t limit)
{
    top->hits = hits;
    top->count = 0;
    top->limit = limit;
}

static inline void index_top_sink(struct index_top *top, uint32_t at, uint32_t count)
{
    struct index_hit moving = top->hits[at];

    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && index_hit_better(&top->hits[child], &top->hits[child + 1]))
            child++;
        if (!index_hit_better(&moving, &top->hits[child]))
            break;
        top->hits[at] = top->hits[child];
        at = child;
    }
    top->hits[at] = moving;
}

/* Whether it took a place. */
static inline bool index_top_offer(struct index_top *top, uint32_t row, float score)
{
    struct index_hit hit = {row, score};

    if (top->count < top->limit) {
        uint32_t at = top->count++;
        while (at > 0 && index_hit_better(&top->hits[(at - 1) / 2], &hit)) {
            top->hits[at] = top->hits[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        top->hits[at] = hit;
    } else if (top->limit > 0 && index_hit_better(&hit, &top->hits[0])) {
        top->hits[0] = hit;
        index_top_sink(top, 0, top->count);
    } else {
        return false;
    }
    return true;
}

/* Best first; the heap is used up. */
static inline void index_top_sort(struct index_top *top)
{
    for (uint32_t left = top->count; left > 1;) {
        struct index_hit worst = top->hits[0];
        top->hits[0] = top->hits[--left];
        top->hits[left] = worst;
        index_top_sink(top, 0, left);
    }
}

/* Puts a hit at the end of `at` sorted ones, whose scores are not below its own: of equal scores of
 * one member the lower row goes first. hit_members may be NULL: all are of one. */
static inline void index_hit_append(struct index_hit *hits, uint32_t *hit_members, uint32_t at,
                                    struct index_hit hit, uint32_t member)
{
    if (hit_members)
        hit_members[at] = member; /* moves are among hits of one member */
    for (; at > 0 && hits[at - 1].score == hit.score && hits[at - 1].row > hit.row &&
           (!hit_members || hit_members[at - 1] == member);
         at--)
        hits[at] = hits[at - 1];
    hits[at] = hit;
}

/* What a search by codes found: candidates (see index_candidate), nearest first. */
struct index_candidates {
    const uint32_t *rows; /* node to row; NULL: nodes take the place of rows, in hits, too */
    enum vector_metric metric;
    uint32_t dim;
    float score_per_key; /* score = constant + this * key, about; 0: codes are the vectors */
    uint32_t patience; /* when so many in a row were not among the best, the rest are not either */
    float reach;       /* a candidate may be wrong by so many standard deviations of the error */
    /* Coarse codes, and a filter that accepts few rows: how little is known. 0: not used. */
    float constant;     /* the score of a row whose key is 0 */
    float error_square; /* mean square of the length of what codes leave out of a row */
    const uint64_t *entries;
    uint32_t count;
};

/** Exact scores of candidates, as they are stored, as many as are needed: the best k in `hits`, those above the
 * floor only. *open (may be NULL): even the last candidate might have been among them, there may be
 * better ones that are no candidates. */
int index_rerank(const struct index_candidates *candidates, const struct index_search *search,
                 struct index_hit *hits, uint32_t *hit_count, bool *open, struct error *error);

/** Asks for the vectors that index_rerank looks at first, as it would; what is damaged is passed over. */
void index_rerank_fetch(const struct index_candidates *candidates,
                        const struct index_search *search);

#endif
