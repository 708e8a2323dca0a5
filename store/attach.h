/* Attaching indexes to files of a shard: segments of runs and chunks, spans of several runs. */
#ifndef STORE_ATTACH_H
#define STORE_ATTACH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/files/segment.h"

struct store_shard;

/** A number and path ("DIR/000042.segment.tmp") for a segment file about to be built. */
void store_shard_reserve_segment(struct store_shard *shard, uint64_t *file_number, char *path,
                                 size_t path_bytes);

/** Attaches a segment to a file of the shard, a sealed run or an unsealed chunk or run:
 * DIR/n.segment must be complete and synced under its final name. One manifest edit, then
 * published: searches from now on see it (the hot swap); a former segment of that file goes when
 * its last reader leaves, and this one goes with its file when that is merged or dropped.
 * ERROR_NOT_FOUND when the file is no longer part of the shard: the caller removes the segment's.
 * Takes over `segment->object` on success only. */
int store_shard_attach(struct store_shard *shard, uint64_t file_number,
                       const struct store_segment *segment, struct error *error);

/** After opening: gives the object of a segment the manifest knows (the indexer maps its file).
 * With `object` NULL the segment is forgotten and its file removed (it was damaged): reconciliation
 * then finds the file without one. */
int store_shard_load_segment(struct store_shard *shard, uint64_t file_number, void *object,
                             void (*release)(void *object), struct error *error);

/** Attaches a span of this tier over the runs that `parts` name, by time: DIR/n.segment must be
 * complete as for store_shard_attach. One manifest edit, which also drops spans of the tier that
 * share a window with it. Parts whose run has gone meanwhile are dead from the start;
 * ERROR_NOT_FOUND when they have more than half of the rows. Takes over `segment->object` on success
 * only. */
int store_shard_attach_span(struct store_shard *shard, const struct store_segment *segment,
                            uint8_t tier, int64_t window_length_ms,
                            const struct store_span_part *parts, uint32_t part_count,
                            struct error *error);

/** As store_shard_load_segment, for a span, told by the number of its file. With `object` NULL the
 * span is dropped: it was damaged, or pays no longer. */
int store_shard_load_span(struct store_shard *shard, uint64_t file_number, void *object,
                          void (*release)(void *object), struct error *error);

#endif
