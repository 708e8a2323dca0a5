/* Rows that other searches found, scored anew: what a query over a prefetch asks for. Nothing is looked
 * for, so it costs as much as the rows are many. */
#include "indexer/query/searcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"

static bool is_excluded(const struct query_search *search, const struct query_row *row)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);

    return search->exclude_key &&
           bytes_equal(key, key_bytes, search->exclude_key, search->exclude_key_bytes);
}

/* *ranked false: it has no vector. */
static int score_hit(const struct searcher *searcher, struct query_hit *hit, bool *ranked,
                     struct error *error)
{
    const float *vector;

    if (query_row_vector(&hit->row, searcher->search->arena, &vector, error) != 0)
        return error->code;
    *ranked = vector != NULL;
    if (!vector)
        return 0;
    hit->order = search_order(searcher, search_score_row(searcher, vector_row_float32(vector)),
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
