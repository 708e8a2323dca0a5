/* Merging sstables of one window into runs. */
#ifndef STORE_MERGE_H
#define STORE_MERGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/files/manifest.h"
#include "store/sstable.h"

struct store_shard;

struct merge_progress {
    uint64_t rows;              /* of all inputs */
    _Atomic uint64_t rows_done; /* written or left out so far */
};

struct merge {
    struct store_shard *shard;
    struct sstable **inputs;
    size_t input_count;
    int64_t dead_below; /* rows that died below go; those that died later stay, with their masks */
    int64_t now_ms;     /* rows expired by then go; INT64_MIN keeps all */
    uint64_t target_file_bytes; /* of an output; 0: all into one */
    unsigned jobs;              /* threads, this one included; 0 is 1 */
    const atomic_bool *cancel;  /* may be NULL */
    struct merge_progress *progress;
};

struct merge_output {
    struct manifest_table table;
    struct sstable *sstable;
};

/* In key order; no key is in two of them. */
struct merge_outputs {
    struct merge_output *items;
    size_t count;
};

/** Writes the runs: each as `like` describes it, with a file number of its own. Newest version of
 * an id wins. No output is left when no row is. On failure (ERROR_CANCELLED among them) no file
 * stays that an edit does not name. */
int merge_run(const struct merge *merge, const struct manifest_table *like,
              struct merge_outputs *outputs, struct error *error);

/** Lets go of the outputs; with `remove`, their files go too. */
void merge_outputs_release(struct store_shard *shard, struct merge_outputs *outputs, bool remove);

/** Rows of the inputs that died since go on as masks of the runs: those not yet marked there are
 * marked now, when they died below `below`. */
void merge_carry_masks(const struct merge *merge, const struct merge_outputs *outputs,
                       int64_t below);

/* Keys from `from` on and before `to`; NULL is no bound. */
struct merge_range {
    const uint8_t *from, *to;
    size_t from_bytes, to_bytes;
};

/** One output: writes `output->table` and opens it; `sstable` stays NULL when the range has no row
 * left. `helpers` of the store's merge threads gather ahead of this one. `budget_bytes` bounds the
 * payloads held at a time. */
int merge_range_run(const struct merge *merge, const struct table *const *tables,
                    const struct merge_range *range, unsigned helpers, uint64_t budget_bytes,
                    struct merge_output *output, struct error *error);

#endif
