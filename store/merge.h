/* Merging parts of one window into one run. */
#ifndef STORE_MERGE_H
#define STORE_MERGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/manifest.h"
#include "store/part.h"

struct merge {
    struct store_shard *shard;
    struct part **inputs;
    size_t input_count;
    int64_t dead_below; /* rows that died below go; those that died later stay, with their masks */
    int64_t now_ms;     /* rows expired by then go; INT64_MIN keeps all */
    const atomic_bool *cancel; /* may be NULL */
};

/** Writes the run that `table->description` describes; fills `table->info` and opens it into
 * `*part` (NULL when no row is left: then no file is). Newest version of an id wins.
 * ERROR_CANCELLED leaves no file. */
int merge_run(const struct merge *merge, struct manifest_table *table, struct part **part,
              struct error *error);

/** Rows of the inputs that died since go on as masks of the run: those not yet marked there are
 * marked now, when they died below `below`. */
void merge_carry_masks(const struct merge *merge, struct part *run, int64_t below);

#endif
