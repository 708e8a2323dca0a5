/* choice: which kind of segment answers faster over certain rows, and why it was chosen.
 *
 * A search's cost is its processor time over that of scoring one vector on the same machine: "as many
 * vectors could be scored meanwhile". So costs that different machines measured compare. A segment
 * is timed when it has been built, with the effort that default searches for ten rows make.
 *
 * Before that, where nothing is known of rows like these, a trial builds both kinds over an eighth
 * of the rows and times them; costs grow by the power COST_POWER of the rows. That was fitted to
 * three sets from 4,000 to 200,000 rows (.43 to .63, bench/notes/search.md) and is the same for both
 * kinds, because neither grew faster on all sets. */
#ifndef INDEXER_INDEX_CHOICE_H
#define INDEXER_INDEX_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

enum index_choice_how {
    INDEX_CHOICE_NONE,   /* the kind was named, or followed from age or memory */
    INDEX_CHOICE_TRIAL,  /* both kinds were built over a sample of the rows */
    INDEX_CHOICE_KNOWN,  /* segments of the collection with about as many rows were measured */
    INDEX_CHOICE_COMPARE /* to be measured, because the two kinds are expected to be close */
};

/* In the header of a segment file, behind its effort; zeros in files of before it was noted. */
struct index_choice {
    uint32_t how;         /* enum index_choice_how */
    uint32_t sample_rows; /* of the trial; 0: none */
    float graph_cost;     /* expected of a graph over the segment's rows; 0: not known */
    float lists_cost;     /* expected of lists */
    float cost;           /* measured of the segment itself; 0: it was not */
    float score_ns;       /* of scoring one vector on the machine that measured */
    float recall;         /* that searches were measured for */
    uint32_t reserved;    /* 0 */
};

/** Whether numbers are in bounds. */
bool index_choice_is_valid(const struct index_choice *choice);
/** The cost for another number of rows. */
double index_choice_scale(double cost, uint64_t rows, uint64_t to_rows);
/** Whether lists are to be built where these costs are expected. They win unless a graph is a tenth
 * faster: they take a sixth of the bytes, and several windows share their work. */
bool index_choice_takes_lists(double graph_cost, double lists_cost);
/** Searches a second of one thread at that cost; 0: not known. */
double index_choice_rate(const struct index_choice *choice, double cost);

#endif
