/* One output of a merge: the rows of a range of keys into one run. */
#ifndef STORE_MERGE_RANGE_H
#define STORE_MERGE_RANGE_H

#include "store/merge.h"

/* Keys from `from` on and before `to`; NULL is no bound. */
struct merge_range {
    const uint8_t *from, *to;
    size_t from_bytes, to_bytes;
};

/** Writes `output->table` and opens it; `sstable` stays NULL when the range has no row left.
 * `helpers` threads gather ahead of this one. `budget_bytes` bounds the payloads held at a time. */
int merge_range_run(const struct merge *merge, const struct table *const *tables,
                    const struct merge_range *range, unsigned helpers, uint64_t budget_bytes,
                    struct merge_output *output, struct error *error);

#endif
