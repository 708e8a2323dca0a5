/* column: the values at one payload path of a table, dictionary-coded and kept in memory.
 *
 * A filter that has to decompress and decode payloads costs microseconds a row; on columns it costs
 * nanoseconds, because a condition is evaluated once for each distinct value. Columns are made on
 * first use in one pass over the table, those of payload_index ahead of it (column_preload.c), and
 * dropped when memory is short: the longest unused first, those of payload_index last. Paths with
 * nearly as many long values as rows (texts) have no column: their rows are decoded. */
#ifndef INDEXER_QUERY_COLUMN_H
#define INDEXER_QUERY_COLUMN_H

#include "indexer/query/filter.h"
#include "indexer/query/view.h"

struct column {
    struct column *next; /* in the cache, most recently used first */
    uint32_t references; /* the cache's and the users' */
    /* Identity. */
    char *directory;
    char *path;
    size_t path_bytes;
    uint64_t file_number;
    uint32_t row_count;
    /* Content. */
    uint32_t *codes;    /* by row; NULL: the path is not fit for a column */
    struct doc *values; /* by code: an array of what the path leads to */
    uint32_t value_count, value_room;
    /* Codes ascend with the values: one number that a double holds exactly, then one string, then
     * everything else. */
    uint32_t number_count, string_count;
    double *numbers;    /* of the first number_count codes */
    uint32_t *starts;   /* value_count + 1: where the rows of a code begin in `rows` */
    uint32_t *rows;     /* by code, then ascending */
    struct arena arena; /* of the values */
    size_t bytes;
    bool listed; /* in payload_index */
};

/** Numbers the codes of a fresh column by their values. */
void query_column_arrange(struct column *column);

/** The rows of the source that match, as bits (zeroed by the caller), and their number, found
 * through postings. False when no condition leaves at most `rows_max` rows, or the meter says to
 * stop: the bits are of no use then. */
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
    return column->codes[row];
}

static inline const struct doc *query_column_values(const struct column *column, uint32_t code)
{
    return &column->values[code];
}

/** A binding of the filter to the source in `arena`, or NULL. */
struct filter_binding *query_binding_make(const struct query_view *view, size_t shard,
                                          const struct store_source *source,
                                          const struct query_filter *filter, struct arena *arena);
/** Gives the columns back; NULL is fine. */
void query_binding_drop(struct filter_binding *binding, const struct query_filter *filter);

#endif
