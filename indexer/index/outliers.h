/* outliers: rows so far from all others that codes cannot stand for both.
 *
 * Codes share one step and one range. Three rows of 5,003 that are 10^4 times as long as the rest cost
 * lists of the others a quarter to a half of their recall, and made a graph over products one of
 * distances. So codes, centroids and lengths are chosen without such rows. In the graph or the lists
 * an outlier has the code of an ordinary row, its stand-in, which nobody relies on: the segment's file
 * names the outliers, and each search scores them all exactly. */
#ifndef INDEXER_INDEX_OUTLIERS_H
#define INDEXER_INDEX_OUTLIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { INDEX_OUTLIERS_MAX = 256 };

/* In the header of a segment file: 1028 bytes. */
struct index_outliers {
    uint32_t count;                    /* 0: the segment has none. */
    uint32_t rows[INDEX_OUTLIERS_MAX]; /* The outliers in ascending order, zeros behind them. */
};

struct index_group_member;
struct index_hit;
struct index_search;

/** Finds rows more than eight times as far from the centre as half of the rows are. With more of
 * them than a search should score (four, and one row in 256), the data are of that kind: there are
 * none then. Reads every vector once. */
void index_outliers_find(const float *vectors, uint32_t count, uint32_t dim,
                         struct index_outliers *outliers);

bool index_outliers_have(const struct index_outliers *outliers, uint32_t row);

/** The row whose vector is coded in the place of `row`: an ordinary row is its own stand-in, an
 * outlier has the nearest ordinary row before it, else behind it. */
uint32_t index_outliers_stand_in(const struct index_outliers *outliers, uint32_t row);

/** Whether a file over `row_count` rows may have these. */
bool index_outliers_are_valid(const struct index_outliers *outliers, uint32_t row_count);

/** Scores the outliers of all members as rerank.h does, and puts the accepted ones among the hits of
 * a search that has ended, unless they are there. hit_members may be NULL: there is one member. */
int index_outliers_merge(const struct index_group_member *members, uint32_t member_count,
                         const struct index_search *search, struct index_hit *hits,
                         uint32_t *hit_members, uint32_t *hit_count, struct error *error);

#endif
