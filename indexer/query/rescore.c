/* Rows that other searches found, scored anew: what a query over a prefetch asks for. Nothing is looked
 * for, so it costs as much as the rows are many. */
#include "indexer/query/searcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "store/files/parts.h"

static bool is_excluded(const struct query_search *search, const struct query_row *row)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);

    return search->exclude_key &&
           bytes_equal(key, key_bytes, search->exclude_key, search->exclude_key_bytes);
}

void search_extra_values(const struct config_vector *extra, const struct doc *parts,
                         const float **values, uint32_t *rows)
{
    const struct doc *part = doc_get(parts, extra->name);

    /* Of a name that was taken out and given to another vector. */
    if (!part || !parts_dense_values(part, extra->dim, values, rows) ||
        (part->type == DOC_ARRAY) != extra->multiple)
        *values = NULL;
}

int query_ranked_values(const struct query_search *search, const struct query_row *row,
                        struct arena *arena, const float **values, uint32_t *rows,
                        struct error *error)
{
    struct doc payload, parts;

    *rows = 1;
    if (!search->extra)
        return query_row_vector(row, arena, values, error);
    if (query_row_body(row, arena, &payload, &parts, error) != 0)
        return error->code;
    search_extra_values(search->extra, &parts, values, rows);
    return 0;
}

/* *ranked false: it has no vector. */
static int score_hit(const struct searcher *searcher, struct query_hit *hit, bool *ranked,
                     struct error *error)
{
    const struct query_search *search = searcher->search;
    const float *values;
    uint32_t rows;

    if (query_ranked_values(search, &hit->row, search->arena, &values, &rows, error) != 0)
        return error->code;
    *ranked = values != NULL;
    if (!values)
        return 0;
    hit->order = search_order(searcher, search_score_values(searcher, values, rows),
                              search_decay(searcher, query_row_time_ms(&hit->row)));
    hit->order_rest = 0;
    hit->score = search_user_score(searcher, hit->order);
    return 0;
}

int query_rescore(struct query_view *view, const struct query_search *search,
                  const struct query_hit *hits, size_t count, struct query_result *result,
                  struct error *error)
{
    struct searcher searcher;
    struct query_hit *kept = memory_checked(arena_calloc(search->arena, count + 1, sizeof(*kept)));
    size_t kept_count = 0, first;

    if (search_start(&searcher, view, search, error) != 0)
        return error->code;
    for (size_t i = 0; i < count; i++) {
        struct query_hit hit = hits[i];
        bool ranked = false;
        if (stop_check(view->stop, error) != 0 || score_hit(&searcher, &hit, &ranked, error) != 0)
            return error->code;
        if (ranked && !is_excluded(search, &hit.row) &&
            search_passes_threshold(&searcher, hit.score))
            kept[kept_count++] = hit;
    }
    qsort(kept, kept_count, sizeof(*kept), search_best_first);
    first = search->offset < kept_count ? search->offset : kept_count;
    result->hits = kept + first;
    result->hit_count = kept_count - first < search->limit ? kept_count - first : search->limit;
    return 0;
}
