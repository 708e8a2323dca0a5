/* What a filter demands of @time, so that windows outside of it are never opened. */
#include <math.h>

#include "indexer/query/filter/filter.h"

struct time_range {
    int64_t from_ms, to_ms; /* [from, to) */
};

static const struct time_range everything = {INT64_MIN, INT64_MAX};

static int64_t successor(int64_t value)
{
    return value < INT64_MAX ? value + 1 : value;
}

static int64_t floor_ms(int64_t time_us)
{
    return time_us / 1000 - (time_us % 1000 < 0);
}

/* First whole millisecond >= `bound` (> when `above`). */
static int64_t first_after(const struct filter_range *range, enum filter_bound bound, bool above)
{
    int64_t whole;
    double number;

    if (range->kind == FILTER_RANGE_TIME) {
        whole = floor_ms(range->times_us[bound]);
        /* A bound between two milliseconds: the lower one is below it either way. */
        return above || range->times_us[bound] % 1000 != 0 ? successor(whole) : whole;
    }
    if (doc_as_i64(&range->bounds[bound], &whole))
        return above ? successor(whole) : whole;
    (void)doc_as_double(&range->bounds[bound], &number);
    if (!(number > -9e18))
        return INT64_MIN;
    if (number >= 9e18)
        return INT64_MAX;
    whole = (int64_t)floor(number);
    return (double)whole < number || above ? successor(whole) : whole;
}

static struct time_range range_demand(const struct filter_range *range)
{
    struct time_range out = everything;

    if (range->present[FILTER_GTE])
        out.from_ms = first_after(range, FILTER_GTE, false);
    if (range->present[FILTER_GT]) {
        int64_t from_ms = first_after(range, FILTER_GT, true);
        out.from_ms = from_ms > out.from_ms ? from_ms : out.from_ms;
    }
    if (range->present[FILTER_LT])
        out.to_ms = first_after(range, FILTER_LT, false);
    if (range->present[FILTER_LTE]) {
        int64_t to_ms = first_after(range, FILTER_LTE, true);
        out.to_ms = to_ms < out.to_ms ? to_ms : out.to_ms;
    }
    return out;
}

static struct time_range group_demand(const struct query_filter *filter);

static struct time_range condition_demand(const struct filter_condition *condition)
{
    const struct filter_field *field = condition->field;

    if (condition->kind == FILTER_GROUP)
        return group_demand(condition->group);
    if (condition->kind != FILTER_FIELD || condition->virtual_key != FILTER_TIME ||
        field->count.kind != FILTER_RANGE_NONE || field->has_empty || field->has_null)
        return everything;
    /* The parts of one field condition are alternatives: only a single part demands anything. */
    if (field->match.kind == FILTER_MATCH_NONE && field->range.kind != FILTER_RANGE_NONE)
        return range_demand(&field->range);
    if (field->match.kind == FILTER_MATCH_INTEGERS && field->range.kind == FILTER_RANGE_NONE)
        return (struct time_range){field->match.integers[0],
                                   successor(field->match.integers[field->match.count - 1])};
    return everything;
}

static struct time_range group_demand(const struct query_filter *filter)
{
    struct time_range out = everything;

    for (uint32_t i = 0; i < filter->must.count; i++) {
        struct time_range one = condition_demand(&filter->must.items[i]);
        out.from_ms = one.from_ms > out.from_ms ? one.from_ms : out.from_ms;
        out.to_ms = one.to_ms < out.to_ms ? one.to_ms : out.to_ms;
    }
    if (filter->should.count > 0) {
        struct time_range hull = {INT64_MAX, INT64_MIN};
        for (uint32_t i = 0; i < filter->should.count; i++) {
            struct time_range one = condition_demand(&filter->should.items[i]);
            hull.from_ms = one.from_ms < hull.from_ms ? one.from_ms : hull.from_ms;
            hull.to_ms = one.to_ms > hull.to_ms ? one.to_ms : hull.to_ms;
        }
        out.from_ms = hull.from_ms > out.from_ms ? hull.from_ms : out.from_ms;
        out.to_ms = hull.to_ms < out.to_ms ? hull.to_ms : out.to_ms;
    }
    return out;
}

void query_filter_time_range(const struct query_filter *filter, int64_t *from_ms, int64_t *to_ms)
{
    struct time_range demand = filter ? group_demand(filter) : everything;

    if (demand.from_ms > *from_ms)
        *from_ms = demand.from_ms;
    if (demand.to_ms < *to_ms)
        *to_ms = demand.to_ms;
}
