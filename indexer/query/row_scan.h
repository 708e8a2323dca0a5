/* each: every visible row that matches a filter, source by source. Inside the room only. */
#ifndef INDEXER_QUERY_ROW_SCAN_H
#define INDEXER_QUERY_ROW_SCAN_H

#include "indexer/query/view.h"

struct row_scan_options {
    struct query_view *view;
    const struct query_filter *filter;
    struct query_result *result; /* windows and `partial`; may be NULL */
    struct arena *arena;         /* for the windows; NULL without a result */
    bool needs_payload;          /* visit wants the stored payload */
    /** `scratch` lives for the call; `bytes` is the payload, NULL unless it is needed. */
    int (*visit)(void *context, const struct query_row *row, const uint8_t *bytes,
                 size_t size_bytes, struct arena *scratch, struct error *error);
    void *context;
};

/** Visits the rows. A damaged payload is reported; with a result its row is left out and the result
 * is partial, without one the error is returned. ERROR_TIMEOUT at the view's deadline. */
int query_row_scan(const struct row_scan_options *options, struct error *error);

#endif
