/* condition: what a request says of the rows that it wants, compiled. */
#ifndef INDEXER_QUERY_FILTER_CONDITION_H
#define INDEXER_QUERY_FILTER_CONDITION_H

#include <stdint.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"

struct query_filter;

/* Part of the error's text: a condition on a field says nothing of it. */
#define QUERY_FILTER_NO_CONDITION "At least one field condition must be specified"
/* The end of a text about a slice beyond the last. */
#define QUERY_FILTER_NO_SLICE "must be below `total`"

/** Compiles Qdrant's filter document (must, should, must_not, min_should; match
 * value/any/except/text, range over numbers and RFC 3339 times, has_id, is_empty, is_null, nested,
 * values_count; the virtual keys @time, @partition, @offset, @window) into `arena`. Unknown keys
 * are ERROR_INVALID with the JSON path ("filter.must[1].range.gtx: unknown field ..."), depth and
 * size are bounded. `vector_name` is what has_vector calls the dense vector, which every record has ("": it
 * has no name). NULL or an empty document compile to a filter that accepts everything. Peers get
 * the document itself: it has to live as long as the filter. */
int query_filter_compile(const struct doc *filter, const char *vector_name, struct arena *arena,
                         const struct query_filter **compiled, struct error *error);

/** Narrows [*from_ms, *to_ms) by what the filter demands of @time, for pruning. */
void query_filter_time_range(const struct query_filter *filter, int64_t *from_ms, int64_t *to_ms);

#endif
