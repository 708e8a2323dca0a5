/* How many points a collection has, and how many of them are in segments. */
#include "indexer/query/gather.h"
#include "store/append.h"

static void add_window(const struct store_window_info *window,
                       const struct config_collection *collection, struct query_totals *totals)
{
    totals->points += window->live_rows;
    if (window->run.segment.file_number) {
        totals->indexed += window->run.rows - window->masked_rows;
        totals->segments++;
    } else if (window->sealed && collection->index_kind != CONFIG_INDEX_FLAT &&
               window->run.rows >= config_flat_below_rows(collection)) {
        totals->building = true;
    }
    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct store_file_info *chunk = &window->chunks[i];
        if (chunk->segment.file_number == 0)
            continue;
        totals->indexed += chunk->rows - chunk->dead_rows;
        totals->segments++;
    }
}

static struct query_totals totals_here(struct query_view *view)
{
    struct query_totals totals = {0};

    for (size_t i = 0; i < view->shard_count; i++) {
        struct store_shard *shard = view->shards[i].lease->shard;
        struct store_shard_info info;
        store_shard_describe(shard, &view->arena, &info);
        totals.damaged |= store_shard_damage(shard) != NULL || store_shard_stopped(shard) != NULL;
        for (size_t k = 0; k < info.window_count; k++)
            add_window(&info.windows[k], view->collection, &totals);
    }
    return totals;
}

/* {"points", "indexed", "segments", "building", "damaged"} */
static int take_totals(void *context, const struct gather_answer *answer, struct error *error)
{
    struct query_totals *totals = context;
    int64_t points, indexed, segments;

    if (wire_get_i64(answer->result, "points", &points, error) != 0 ||
        wire_get_i64(answer->result, "indexed", &indexed, error) != 0 ||
        wire_get_i64(answer->result, "segments", &segments, error) != 0)
        return error->code;
    if (points < 0 || indexed < 0 || segments < 0)
        return error_set(error, ERROR_INVALID, "peer: a total is negative");
    totals->points += (uint64_t)points;
    totals->indexed += (uint64_t)indexed;
    totals->segments += (uint64_t)segments;
    totals->building |= wire_get_bool(answer->result, "building");
    totals->damaged |= wire_get_bool(answer->result, "damaged");
    return 0;
}

int query_totals(struct query_view *view, struct query_totals *totals, struct error *error)
{
    const struct doc op = wire_from_filter("totals", NULL, NULL, &view->arena);
    struct gather gather;

    gather_start(&gather, view, &view->arena, &op);
    *totals = totals_here(view);
    return gather_finish(&gather, 0, take_totals, totals, error);
}

int answer_totals(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error)
{
    const struct query_totals totals = totals_here(view);

    (void)op;
    (void)arena;
    (void)error;
    doc_put(result, "points", doc_integer((int64_t)totals.points));
    doc_put(result, "indexed", doc_integer((int64_t)totals.indexed));
    doc_put(result, "segments", doc_integer((int64_t)totals.segments));
    doc_put(result, "building", doc_bool(totals.building));
    doc_put(result, "damaged", doc_bool(totals.damaged));
    return 0;
}
