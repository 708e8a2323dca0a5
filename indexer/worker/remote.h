/* remote: builds for another machine. A sealed window, a chunk of an open one, or the windows of a
 * span go to the builder, and the segment comes back.
 *
 *     builder                                        owner (these functions, behind HTTP; locator.h finds it)
 *     GET  /internal/epoch    offset             ->  a part of the codebook that lists are built with
 *     GET  /internal/run      rows first, count  ->  vectors, checksum in front
 *     POST /internal/segment                     ->  a file number, which the file carries
 *     PUT  /internal/segment  offset, total      ->  takes a part of the file, checksum in front;
 *                                                    the last one verifies it and swaps it in
 *
 * Every call names window and generation and takes a lease of its own. Rows of a span are numbered
 * through all of its runs, and its generation is a hash of them: with other runs it is not wanted.
 * What came is read with the runs where they lie: the owner needs no memory for a copy. ERROR_NOT_FOUND ends the
 * build: the shard moved away, a newer generation came, or somebody else brought a segment of the
 * wanted kind. So a job that is delivered twice is done once. An upload that its builder left is
 * removed when another one begins for the same window, after ten minutes, or when the shard is
 * opened again. */
#ifndef INDEXER_WORKER_REMOTE_H
#define INDEXER_WORKER_REMOTE_H

#include "base/buffer.h"
#include "base/error.h"
#include "indexer/worker/source.h"
#include "indexer/worker/worker.h"

struct worker_part {
    uint64_t file_number;
    uint64_t offset, total_bytes; /* of the file */
    const uint8_t *bytes;         /* 8 of checksum, then the part */
    size_t size_bytes;
};

enum {
    REMOTE_CHECKSUM_BYTES = 8,
    REMOTE_TOTAL_BYTES = 8,             /* in front of a part of a codebook: size of all parts */
    REMOTE_PART_BYTES = 4 * 1024 * 1024 /* of vectors or of a segment in one message */
};

/** Checksum of a message: of which run, and from where. */
uint64_t worker_remote_checksum(const void *bytes, size_t size_bytes, uint64_t generation,
                                uint64_t number, uint64_t offset);

/** Appends the checksum and `count` vectors from row `first` on. ERROR_NOT_FOUND when that
 * generation is not here; ERROR_INVALID for rows that do not exist. */
int worker_remote_vectors(struct worker_pool *pool, const struct worker_run *run, uint64_t first,
                          uint64_t count, struct buffer *out, struct error *error);

/** Appends the size of the codebook (index_codebook_pack) that the run's lists are to be built
 * with, and its bytes from `offset` on, which carry their checksums: parts of two codebooks do not
 * fit together. ERROR_NOT_FOUND when nothing of the collection has lists yet, too. */
int worker_remote_codebook(struct worker_pool *pool, const struct worker_run *run, uint64_t offset,
                           struct buffer *out, struct error *error);

/** Begins: the number that the segment file has to carry. Another beginning of the same window ends
 * the former. */
int worker_remote_begin(struct worker_pool *pool, const struct worker_run *run,
                        uint64_t *file_number, struct error *error);

/** Takes the next part. *attached when it was the last and the segment is served now. A file that
 * is damaged, or whose recall is too low, is ERROR_CORRUPT or ERROR_INVALID and gone. */
int worker_remote_part(struct worker_pool *pool, const struct worker_run *run,
                       const struct worker_part *part, bool *attached, struct error *error);

/** The builder cannot reach the recall floor with that kind: the window stays as it is. */
int worker_remote_give_up(struct worker_pool *pool, const struct worker_run *run, const char *kind,
                          struct error *error);

/** Forgets all segments on their way in. */
void worker_remote_close(struct worker_pool *pool);

struct worker_task;

/** The builder's side: builds the segment of a file whose shard is elsewhere. ERROR_NOT_FOUND: no
 * longer wanted. */
int worker_build_remote(struct worker_task *task, bool *low_recall, struct error *error);
/** Removes what killed builds of the kind left in the data folder. */
void worker_remote_clean(struct worker_pool *pool);

#endif
