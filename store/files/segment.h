/* What belongs to the files of a shard beside their rows: levels, segments, spans. */
#ifndef STORE_FILES_SEGMENT_H
#define STORE_FILES_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vector_row.h"

/* Levels of a window's unsealed runs: 0 to STORE_LEVELS - 1. */
enum { STORE_LEVELS = 7 };

struct store_segment_info {
    uint64_t file_number; /* 0: none */
    uint64_t bytes;
    enum segment_kind kind;
    double recall;     /* measured at build; -1: not measured */
    uint64_t checksum; /* of the whole file, taken when it was attached; 0: before that was done */
};

/* What an index attaches to a run or chunk: an opaque object with its release function. */
struct store_segment {
    struct store_segment_info info;
    void *object; /* the opened index; searches get it through store_source_segment */
    void (*release)(void *object); /* when the last snapshot that sees it is gone */
};

/* Spans: one index over several sealed runs of neighbouring windows. */

enum { STORE_SPAN_TIERS = 2, STORE_SPAN_PARTS_MAX = 1024 };

/* What a span covers of one window. Its rows are [first_row, first_row + row_count) of the span, in
 * the order that they have in the run. */
struct store_span_part {
    int64_t window_start_ms;
    uint64_t file_number; /* of the sealed run */
    uint32_t first_row;   /* the store fills it in */
    uint32_t row_count;
};

#endif
