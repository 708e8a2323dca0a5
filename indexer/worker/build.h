/* build: one segment from vectors in memory to a file that is measured and attached. Private to
 * indexer/worker.
 *
 *     worker_build_begin     memory is taken
 *     worker_build_good      index_hnsw_build or index_ivf_build, cancellable; PATH.tmp written and
 *                            synced, opened, its recall measured
 *     worker_build_attach    renamed, folder synced, one manifest edit: the swap
 *     worker_build_end
 *
 * Whatever fails before the attach leaves at most a temporary file, which worker_build_end removes,
 * or, after a crash, the store when the shard is opened: no manifest names it. A segment below the
 * recall floor is built once more with stronger parameters and then not attached. */
#ifndef INDEXER_WORKER_BUILD_H
#define INDEXER_WORKER_BUILD_H

#include <stdatomic.h>

#include "config/config.h"
#include "indexer/index/index.h"
#include "indexer/worker/memory.h"

struct store_registry;
struct store_shard;

enum { BUILD_PATH_BYTES = 4096 };

struct worker_span;

/* How far a build is: written by its threads, read by reports. */
struct build_progress {
    atomic_uint done, rows; /* rows: 0 before the first report */
};

struct build {
    /* Whose. */
    struct io *io;
    struct metrics *metrics;
    const struct config_collection *collection;
    const char *shard; /* name, for the log */
    int64_t window_start_ms;
    const atomic_bool *cancel;
    struct thread_pool *pool; /* that the caller is a task of, or NULL */
    uint32_t thread_count;
    struct build_memory *memory;
    struct build_progress *progress;
    /* Of what. */
    uint32_t row_count;
    uint64_t seed;
    const float *vectors; /* row_count x dim */
    float *copy;          /* of the vectors, when they do not lie in one piece; freed by the end */
    bool copies;          /* there is, or will be, such a copy: it counts as the build's memory */
    bool lists;           /* IVF-PQ instead of a graph */
    /* Memory that it takes with these options; NULL: worker_build_bytes. */
    uint64_t (*bytes)(const void *context, const struct index_build_options *options);
    const void *bytes_context;
    struct index_choice choice; /* why it is of its kind; a trial: that is found out first */
    const char *directory;      /* for the files of a trial */
    struct index_ivf_codebook *codebook; /* that goes on, or NULL; deleted by the end */
    struct store_registry *registry;     /* whose segments lists take the codebook from */
    int (*fetch_codebook)(struct build *build, struct error *error); /* or from another machine */
    const struct worker_span *span; /* over more than one run; NULL: over one file */
    /* A number for the file and where to write it. */
    int (*reserve)(struct build *build, struct error *error);
    void *reserve_context;
    /* What there is so far. */
    uint64_t memory_bytes; /* taken */
    struct index_build_options options;
    uint64_t file_number;
    char path[BUILD_PATH_BYTES]; /* of the file as it is named now; empty: none */
    struct index_segment *segment;
    uint64_t segment_bytes;
    double recall;
};

/** Takes the memory of a build whose row_count, lists, copies and bytes are set, before the vectors are
 * gathered: as many threads as fit. Waits for other builds. ERROR_UNSUPPORTED when one thread is too
 * much already, ERROR_CANCELLED. */
int worker_build_begin(struct build *build, struct error *error);
/** Builds until the recall floor is reached, at most twice; the segment is written, synced and
 * open. */
int worker_build_good(struct build *build, bool *low_recall, struct error *error);
/** Reserves the file, writes the lists of `row_count` rows into it, syncs it and opens it as *segment: of the build, or
 * only of a sample of its rows. Whatever happens, the file stays named in build->path. */
int worker_build_write_lists(struct build *build, const struct index_ivf *ivf, uint32_t row_count,
                             struct index_segment **segment, struct error *error);
/** Sets the recall metric to `build->recall` and logs a recall that is below the floor. `last`: no stronger build
 * follows. */
void worker_build_report_recall(const struct build *build, bool good, bool last);
/** Renames, syncs the folder, attaches to the file, or as a span: the swap. What was attached is the
 * store's. */
int worker_build_attach(struct build *build, struct store_shard *shard, uint64_t file_number,
                        struct error *error);
/** Gives the memory back; removes file, mapping and copy. */
void worker_build_end(struct build *build);

struct recall_sample {
    /* The rows from one on, as they are stored, and in *count how many of them lie together. Valid until
     * the end. */
    int (*vectors)(void *context, uint32_t row, struct vector_row *stored, uint32_t *count,
                   struct error *error);
    void *context;
    uint32_t row_count, dim;
    enum vector_metric metric;
    uint32_t ef;   /* 0: what was measured of the segment for `recall` */
    double recall; /* that searches shall have */
    double floor;  /* of what the segment is good for */
    const atomic_bool *cancel;
};

/** What a segment of the collection is measured by; vectors, their context
 * and row_count are left to the caller. */
struct recall_sample recall_sample_of(const struct config_collection *collection,
                                      const atomic_bool *cancel);

/** Share of the true ten nearest neighbours that a search of this segment alone finds, over at most
 * 100 of its rows as queries, each hidden from its own search. A row is no neighbour of itself; a
 * hit as good as the tenth counts, whichever row it is. *good: the segment reaches the floor, with
 * more effort if it takes that. Then the segment's efforts are raised in its file, `path`: what searches find by
 * default is `*recall`, which is no less than the floor and index.recall ask for. ERROR_CANCELLED. */
int recall_measure(struct index_segment *segment, const char *path,
                   const struct recall_sample *sample, double *recall, bool *good,
                   struct error *error);

#endif
