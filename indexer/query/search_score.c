#include <float.h>
#include <math.h>

#include "indexer/query/searcher.h"

double search_decay(const struct searcher *searcher, int64_t event_time_ms)
{
    int64_t now_ms = searcher->view->score_now_ms;

    if (searcher->search->half_life_ms <= 0 || event_time_ms >= now_ms)
        return 1.0;
    return exp2(-((double)now_ms - (double)event_time_ms) / (double)searcher->search->half_life_ms);
}

/* Decay by more than a thousand half-lives underflows to 0; a distance stays finite. */
static double scaled(enum vector_metric metric, double raw, double decay)
{
    double order;

    if (metric != VECTOR_METRIC_L2)
        return raw * decay;
    order = raw < 0 ? raw / (decay * decay) : 0.0;
    return order > -DBL_MAX ? order : -DBL_MAX;
}

double search_order(const struct searcher *searcher, float raw, double decay)
{
    return scaled(searcher->metric, (double)raw, decay);
}

double search_order_bound(const struct source_search *source, double raw)
{
    enum vector_metric metric = source->searcher->metric;
    double young = scaled(metric, raw, source->decay_max);
    double old = scaled(metric, raw, source->decay_min);

    /* A negative product gains by decay. */
    return young > old ? young : old;
}

float search_raw_floor(const struct source_search *source, double order)
{
    double raw;

    if (!(order > -DBL_MAX))
        return -INFINITY;
    if (source->searcher->metric == VECTOR_METRIC_L2)
        raw = order * source->decay_max * source->decay_max;
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

    if (searcher->metric == VECTOR_METRIC_L2)
        score = order < 0 ? sqrt(-order) : 0.0;
    return score > (double)FLT_MAX ? FLT_MAX : (float)score;
}

double search_threshold_order(enum vector_metric metric, const struct query_search *search)
{
    double threshold = (double)search->threshold;

    if (!search->has_threshold)
        return -INFINITY;
    if (metric == VECTOR_METRIC_L2)
        return threshold > 0 ? -(threshold * threshold) * (1 + 1e-6) : 0.0;
    return threshold - fabs(threshold) * 1e-6;
}

bool search_passes_threshold(const struct searcher *searcher, float user_score)
{
    if (!searcher->search->has_threshold)
        return true;
    return searcher->metric == VECTOR_METRIC_L2 ? user_score < searcher->search->threshold
                                                : user_score > searcher->search->threshold;
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
