/* span: one index over the rows of several sealed runs of neighbouring windows.
 *
 * Each run has a segment of its own, or is too small for one. A search over many windows enters each
 * of them, and what it pays for is how many there are. A span covers many: its index is built over
 * the rows of their runs one after another, in the order of time, and a row of it is row
 * `row - first_row` of the run whose part holds it. The file is a segment like any other
 * (NNN.segment). Which runs it covers stands in the manifest beside its number and checksum: a file
 * can never meet another table of parts.
 *
 * A part is live exactly while the run with its file number is in the version. So the edit that
 * drops, reseals or rebuilds a window masks it in its spans, without a word about them, at the same
 * instant, and at a price that does not depend on rows. Runs never change and numbers are never
 * given to another file: a part that is live has the rows that the index was built over. A span
 * whose last part dies goes with the same edit, in the manifest's state (manifest_state.c) and in
 * the version (version_drop_dead_spans).
 *
 * Tiers. Spans of one tier never share a window: attaching one replaces those that it meets. Spans
 * of different tiers lie over each other; a search takes what covers its time range best. Lists have two
 * spans: the tail in tier 1, the base in tier 2 (twcs/history.c). */
#ifndef STORE_FILES_SPAN_H
#define STORE_FILES_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "store/files/segment.h"
#include "store/files/wire.h"

struct span {
    struct store_segment_info segment;
    uint8_t tier;             /* 1 to STORE_SPAN_TIERS */
    int64_t window_length_ms; /* of every window in it */
    uint32_t row_count;       /* of all parts */
    uint32_t part_count;
    struct store_span_part *parts; /* by time; owned */
};

/** A copy on the heap. */
struct span *span_new(const struct span *from);
/** Frees what the span owns, and for span_delete itself; may be NULL there. */
void span_destroy(struct span *span);
void span_delete(struct span *span);

/** Fills in the rows and where parts begin. ERROR_INVALID when there are too few or too many parts or
 * rows, or parts are not in the order of time without sharing a window. */
int span_check(struct span *span, struct error *error);
/** Whether some window is in both. */
bool span_overlaps(const struct span *a, const struct span *b);
/** Whether the run is one of the parts. */
bool span_covers(const struct span *span, uint64_t file_number);

/** The tier, the length of windows and the parts, as in a manifest's record. */
void span_put_parts(struct buffer *out, const struct span *span);
/** Back again, checked; false and nothing to free when they make no sense. */
bool span_read_parts(struct wire_reader *in, struct span *span);

#endif
