#include <float.h>
#include <math.h>

#include "indexer/query/searcher.h"
#include "store/snapshot.h"

double search_decay(const struct searcher *searcher, int64_t event_time_ms)
{
    int64_t now_ms = searcher->view->score_now_ms;

    if (searcher->search->half_life_ms <= 0 || event_time_ms >= now_ms)
        return 1.0;
    return exp2(-((double)now_ms - (double)event_time_ms) / (double)searcher->search->half_life_ms);
}

/* By what decay of a distance divides the raw score, which for L2 is its square. */
static double distance_decay(const struct searcher *searcher, double decay)
{
    return searcher->squares ? decay : decay * decay;
}

/* Decay by more than a thousand half-lives underflows to 0; a distance stays finite. */
static double scaled(const struct searcher *searcher, double raw, double decay)
{
    double order;

    if (!searcher->distances)
        return raw * decay;
    order = raw < 0 ? raw / distance_decay(searcher, decay) : 0.0;
    return order > -DBL_MAX ? order : -DBL_MAX;
}

/* Segments score rows without this file, and old rows may have scores that are infinite or NaN
 * (scorer.c): those rank as the nearest finite score, NaN as the lowest. */
double search_order(const struct searcher *searcher, float raw, double decay)
{
    return scaled(searcher, (double)fminf(fmaxf(raw, -FLT_MAX), FLT_MAX), decay);
}

double search_order_bound(const struct source_search *source, double raw)
{
    double young = scaled(source->searcher, raw, source->decay_max);
    double old = scaled(source->searcher, raw, source->decay_min);

    /* A negative product gains by decay. */
    return young > old ? young : old;
}

float search_raw_floor(const struct source_search *source, double order)
{
    double raw;

    if (!(order > -DBL_MAX))
        return -INFINITY;
    if (source->searcher->distances)
        raw = order * distance_decay(source->searcher, source->decay_max);
    else
        raw = order / (order > 0 ? source->decay_max : source->decay_min);
    /* Rounding must not lose a row: the order itself is compared afterwards. */
    if (isnan(raw) || raw < -(double)FLT_MAX)
        return -INFINITY;
    if (raw > (double)FLT_MAX)
        return FLT_MAX;
    return nextafterf((float)raw, -INFINITY);
}

float search_user_score(const struct searcher *searcher, double order)
{
    double score = order;

    if (searcher->distances)
        score = !(order < 0) ? 0.0 : searcher->squares ? -order : sqrt(-order);
    return (float)fmin(fmax(score, -(double)FLT_MAX), (double)FLT_MAX);
}

double search_threshold_order(const struct searcher *searcher)
{
    double threshold = (double)searcher->search->threshold;

    if (!searcher->search->has_threshold)
        return -INFINITY;
    if (searcher->distances)
        return threshold > 0 ? -(searcher->squares ? threshold : threshold * threshold) * (1 + 1e-6)
                             : 0.0;
    return threshold - fabs(threshold) * 1e-6;
}

bool search_passes_threshold(const struct searcher *searcher, float user_score)
{
    if (!searcher->search->has_threshold)
        return true;
    return searcher->distances ? user_score < searcher->search->threshold
                               : user_score > searcher->search->threshold;
}

int search_best_first(const void *a, const void *b)
{
    const struct query_hit *left = a, *right = b;
    int order = (left->order < right->order) - (left->order > right->order);

    if (order == 0)
        order = query_row_compare_ids(&left->row, &right->row);
    return order != 0 ? order : query_shard_compare(left->row.shard, right->row.shard);
}

void search_offer(struct source_search *source, uint32_t row, double order)
{
    struct searcher *searcher = source->searcher;
    struct top_entry entry = {.order = order,
                              .score = search_user_score(searcher, order),
                              .row = row,
                              .shard = (uint32_t)source->shard,
                              .source = source->source};
    double floor;

    if (!search_passes_threshold(searcher, entry.score))
        return;
    entry.key = store_row_key(source->source, row, &entry.key_bytes);
    (void)pthread_mutex_lock(&searcher->lock);
    if (query_top_offer(&searcher->top, &entry)) {
        floor = query_top_floor(&searcher->top);
        if (floor > search_floor(searcher))
            atomic_store_explicit(&searcher->floor, floor, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&searcher->lock);
}
