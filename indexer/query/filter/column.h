/* column: the values at one payload path of a table, dictionary-coded.
 *
 * A filter that has to decompress and decode payloads costs microseconds a row; on columns it costs
 * nanoseconds, because a condition is evaluated once for each distinct value. Columns are made in one
 * pass over the table's payloads. Those of payload_index over a run are written beside it
 * (column_file.h) and mapped from then on: made once in the life of the run, and ahead of filters
 * (query_column_preload). All others are made on first use, stay in memory, and are dropped when
 * that is short (query_columns_limit): the longest unused first, those of payload_index last. Paths
 * with nearly as many long values as rows (texts) have no column: their rows are decoded. */
#ifndef INDEXER_QUERY_FILTER_COLUMN_H
#define INDEXER_QUERY_FILTER_COLUMN_H

#include "indexer/query/filter/column_file.h"
#include "indexer/query/view.h"

struct store_source;

struct column {
    struct column *next; /* in its place of the cache */
    uint32_t references; /* the cache's and the users' */
    uint64_t used;       /* when: counts uses of the cache */
    /* Identity. */
    char *directory;
    uint64_t file_number;
    struct column_image image;
    void *memory;             /* of the image, or NULL ... */
    struct column_file *file; /* ... when it is mapped */
    size_t bytes;             /* of memory */
    bool listed;              /* in payload_index */
};

/** The rows of the source that match, as bits (zeroed by the caller), and their number, found
 * through postings. False when no condition leaves at most `rows_max` rows and the filter is more
 * than a span of one column's values, or the meter says to stop: the bits are of no use then. */
bool query_postings_match(const struct query_filter *filter, const struct filter_binding *binding,
                          const struct query_row *row, uint64_t rows_max, struct arena *scratch,
                          struct stop_meter *meter, uint64_t *bits, uint64_t *count);

/** Columns for all slots of a filter over a chunk or run; builds what is missing. False when one of
 * them cannot be had (not fit, a damaged payload, or the view's stop): the caller decodes payloads,
 * or finds that it has to stop. Any thread. */
bool query_columns_acquire(const struct query_view *view, size_t shard,
                           const struct store_source *source, const struct query_filter *filter,
                           struct column **columns);
void query_columns_release(struct column **columns, size_t count);

/** Whether the source is large enough for columns and has none yet for some slot of the filter. */
bool query_columns_missing(const struct query_view *view, size_t shard,
                           const struct store_source *source, const struct query_filter *filter);
/** Whether there is memory for more without another having to go soon. */
bool query_columns_have_room(void);

static inline uint32_t query_column_code(const struct column *column, uint32_t row)
{
    return column_image_code(&column->image, row);
}

/** A binding of the filter to the source in `arena`, or NULL. */
struct filter_binding *query_binding_make(const struct query_view *view, size_t shard,
                                          const struct store_source *source,
                                          const struct query_filter *filter, struct arena *arena);
/** Gives the columns back; NULL is fine. */
void query_binding_drop(struct filter_binding *binding, const struct query_filter *filter);

#endif
