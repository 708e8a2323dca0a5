/* effort: how far a search through a segment has to go, measured when it was built.
 *
 * For the nearest 1, 10 and 100 rows, and for each of some levels of recall, the least `ef` with
 * which such a share of them is found. A search over many segments needs of each only its part of
 * the answer, a row of one in ten of a hundred segments: it goes less far in each than a search of
 * that one alone. Such a row is nearer than the nearest of a segment mostly is, and found sooner.
 * Of r rows within a distance, r / 10 are within 10^(-1/d) of it where rows fill d dimensions; so
 * for a tenth of a row the query is moved towards its nearest row until it is that near. d is
 * estimated from the distances of the nearest hundred (Levina and Bickel 2004).
 *
 * Queries are rows of the segment that are hidden from its graph. A row that is met is found at
 * once, and its links are the answer: recall measured with it promises more than others get.
 * Hidden it promises less, because its neighbours are linked through it, so that answers come out
 * better than asked for: with .95, at .97 to .99 (bench/notes/search.md). Queries made by moving a row
 * away from its neighbours were tried: texts asked for .95 got .89 to .92. */
#ifndef INDEXER_INDEX_EFFORT_H
#define INDEXER_INDEX_EFFORT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    INDEX_EFFORT_RANKS = 4,  /* nearest .1, 1, 10 and 100 */
    INDEX_EFFORT_LEVELS = 8, /* of recall: index_effort_recalls */
    INDEX_EFFORT_MAX = 4096
};

extern const double index_effort_recalls[INDEX_EFFORT_LEVELS];

/* In the header of a segment file. */
struct index_effort {
    uint32_t query_count; /* that it was measured with; 0: it was not, as in older files */
    uint32_t reserved;    /* 0 */
    uint32_t ef[INDEX_EFFORT_RANKS][INDEX_EFFORT_LEVELS];
};

/** Whether numbers are in bounds and do not fall with recall or rank. */
bool index_effort_is_valid(const struct index_effort *effort);

/* What was measured, as searches read it: log2 of each ef. */
struct index_effort_logs {
    float ef[INDEX_EFFORT_RANKS][INDEX_EFFORT_LEVELS];
    bool measured;
};

struct index_effort_logs index_effort_logs(const struct index_effort *effort);
/** The least ef for the nearest `k` rows, between measured ones by proportion; 0: not measured. */
uint32_t index_effort_ef(const struct index_effort_logs *logs, double k, double recall);

#endif
