/* A merge of some sstables of one window, from taking its inputs to the edit that swaps them: what
 * the compaction verb and rebuilds have in common. */
#ifndef STORE_COMPACTION_INTERNAL_H
#define STORE_COMPACTION_INTERNAL_H

#include "store/merge.h"
#include "store/version.h"

struct store_shard;

struct compaction {
    struct store_shard *shard;
    struct merge merge;
    struct merge_progress progress;
    struct manifest_table like; /* of every output: window, sealed, level, generation */
    struct merge_outputs outputs;
    enum vector_codec refused; /* the type that the outputs were to have; RAW: they have it */
    double measured_recall;    /* of a sample in the type that was asked for; -1: not measured */
    bool rebuilds; /* the inputs are another shard's: `replaced` and damaged tables go instead */
    struct sstable **replaced;
    size_t replaced_count;
    const struct store_clock *clock; /* goes into the edit when not NULL */
};

/** One more input, with a reference. */
void compaction_add(struct compaction *compaction, struct sstable *sstable);

/** One more sstable that goes, with a reference. */
void compaction_replace(struct compaction *compaction, struct sstable *sstable);

/** Writes the outputs. The window is claimed. */
int compaction_merge(struct compaction *compaction, struct error *error);
/** Swaps the outputs in, with one edit. */
int compaction_commit(struct compaction *compaction, struct error *error);
/** Lets go of inputs and outputs; with `remove`, files of outputs go. */
void compaction_end(struct compaction *compaction, bool remove);

#endif
