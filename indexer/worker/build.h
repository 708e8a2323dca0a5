/* What builds here and builds for others share. Private to indexer/worker. */
#ifndef INDEXER_WORKER_BUILD_H
#define INDEXER_WORKER_BUILD_H

#include "indexer/worker/pool.h"
#include "indexer/worker/remote.h"
#include "store/store.h"

enum { BUILD_PATH_BYTES = 4096 };

struct build {
    struct worker_task *task;
    const char *shard; /* name, for the log */
    uint32_t row_count;
    uint64_t seed;
    const float *vectors; /* row_count x dim */
    float *copy;          /* of the vectors, when they do not lie in one piece; freed by the end */
    /* A number for the file and where to write it. */
    int (*reserve)(struct build *build, struct error *error);
    void *reserve_context;
    uint64_t file_number;
    char path[BUILD_PATH_BYTES]; /* of the file as it is named now; empty: none */
    struct index_segment *segment;
    uint64_t segment_bytes;
    double recall;
    bool copies;           /* the vectors do not lie in one piece, and count */
    uint64_t memory_bytes; /* taken: memory.h */
    struct index_build_options options;
    bool lists;                          /* IVF-PQ instead of a graph */
    struct index_ivf_codebook *codebook; /* that goes on, or NULL; deleted by the end */
};

/** The file in a snapshot. */
int worker_build_find(const struct worker_run *run, struct store_snapshot *snapshot,
                      const struct store_source **source, struct error *error);
/** Fills `vectors` with those of a run. */
int worker_build_gather(struct build *build, const struct store_source *source, uint32_t dim,
                        struct error *error);

/** Takes the memory of a build whose row_count, lists and copies are set, before the vectors are
 * gathered. */
int worker_build_begin(struct build *build, struct error *error);
/** Builds until the recall floor is reached, at most twice; the segment is written, synced and
 * open. */
int worker_build_good(struct build *build, bool *low_recall, struct error *error);
/** Renames, syncs the folder, attaches: the swap. What was attached is the store's. */
int worker_build_attach(struct build *build, struct store_shard *shard, uint64_t file_number,
                        struct error *error);
/** Removes file, mapping and copy. */
void worker_build_end(struct build *build);

/** Builds a window whose shard is elsewhere, see remote.h. ERROR_NOT_FOUND: no longer wanted. */
int worker_build_remote(struct worker_task *task, bool *low_recall, struct error *error);
/** Removes what killed builds of the kind left in the data folder. */
void worker_remote_clean(struct worker_pool *pool);

#endif
