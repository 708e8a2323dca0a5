#ifndef INDEXER_QUERY_SCROLL_H
#define INDEXER_QUERY_SCROLL_H

#include "indexer/query/query.h"

/** Rows by the value of scroll->order_by; rows without an orderable value are left out. */
int query_scroll_ordered(struct query_view *view, const struct query_scroll *scroll,
                         struct query_result *result, struct error *error);

#endif
