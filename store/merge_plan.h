/* The order in which rows of several tables become one run, in batches of many thousand rows.
 *
 * A merge that takes one row at a time from a heap compares keys that lie all over memory and
 * mispredicts every second branch. Here a range of keys is cut out of all tables at once (the
 * sparse index finds the cuts), each row becomes sixteen bytes: the eight key bytes behind what all
 * keys of the range share, table and row; the sorted pieces are merged pairwise without branches on
 * the data; and only rows whose eight bytes are equal look at their keys again. Of one key the
 * newest row is kept. Ranges are independent: several plans over sstables of the key space may run
 * side by side. */
#ifndef STORE_MERGE_PLAN_H
#define STORE_MERGE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/files/table.h"

enum { MERGE_PLAN_BATCH_ROWS = 65536 }; /* aimed at; a batch may have up to four times as many */

struct merge_entry {
    uint64_t prefix; /* of the key, in the batch's own measure */
    uint32_t table;  /* index of the source */
    uint32_t row;
};

/* Whether a row goes into the run: not masked, not expired. Called once a row, in key order of each
 * table. */
typedef bool (*merge_survives)(void *context, uint32_t table, uint32_t row);

struct merge_plan;

/** A plan over all rows of the tables, which must outlive it. `survives` NULL: all rows. */
struct merge_plan *merge_plan_new(const struct table *const *tables, uint32_t table_count,
                                  merge_survives survives, void *context);
void merge_plan_delete(struct merge_plan *plan);

/** Only keys from `from` on and before `to` (NULL: no bound). Before the first batch. */
void merge_plan_limit(struct merge_plan *plan, const uint8_t *from, size_t from_bytes,
                      const uint8_t *to, size_t to_bytes);

/** The next batch: ascending keys, each once, greater than those of the batches before. NULL at the
 * end. Valid until the next call. A batch may be empty when no row of its range survives. */
const struct merge_entry *merge_plan_next(struct merge_plan *plan, size_t *count);

/** Sorts `run_count` sorted pieces (the i-th ends at ends[i]) of `entries` by prefix; of equal ones
 * those of earlier pieces come first. Returns where the result is: `entries` or `scratch`. */
struct merge_entry *merge_entries(struct merge_entry *entries, struct merge_entry *scratch,
                                  size_t *ends, size_t run_count);

#endif
