/* columns: a view's way to the columns of filter/. Inside the folder only. */
#ifndef INDEXER_QUERY_COLUMNS_H
#define INDEXER_QUERY_COLUMNS_H

#include "indexer/query/filter/column.h"
#include "indexer/query/view.h"

/** A binding of the filter to the source in `arena`, or NULL; query_binding_drop gives it back. */
struct filter_binding *query_binding_make(const struct query_view *view, size_t shard,
                                          const struct store_source *source,
                                          const struct query_filter *filter, struct arena *arena);

#endif
