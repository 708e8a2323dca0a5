/* Rows ordered by a payload field or by a virtual key: numbers by value, strings that are RFC 3339
 * times by time, in milliseconds. An array counts with the element that comes first in the order.
 * Equal values follow the id. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/query/filter.h"
#include "indexer/query/row_scan.h"
#include "indexer/query/scroll.h"
#include "indexer/query/top.h"

/* Holds every int64_t and every double exactly, so that 64-bit ids sort right. */
typedef long double order_value;

struct ordered {
    order_value value;
    struct query_row row;
    const uint8_t *key;
    size_t key_bytes;
};

struct ordering {
    const struct query_scroll *scroll;
    enum filter_virtual key;
    bool has_start;
    order_value start;
    struct ordered *best; /* a heap, the last in order at the root */
    size_t count;
};

static bool order_value_of(const struct doc *doc, order_value *value)
{
    int64_t time_us;

    switch (doc->type) {
    case DOC_INT:
        *value = (order_value)doc->integer;
        return true;
    case DOC_UINT:
        *value = (order_value)doc->unsigned_integer;
        return true;
    case DOC_DOUBLE:
        *value = (order_value)doc->number;
        return !isnan(doc->number);
    case DOC_STRING:
        if (!filter_parse_time_us(doc->string, doc->count, &time_us))
            return false;
        *value = (order_value)time_us / 1000;
        return true;
    default:
        return false;
    }
}

struct value_walk {
    bool descending, found;
    order_value value;
};

static void take_value(struct value_walk *walk, const struct doc *doc)
{
    order_value value;

    if (!order_value_of(doc, &value))
        return;
    if (!walk->found || (walk->descending ? value > walk->value : value < walk->value))
        walk->value = value;
    walk->found = true;
}

static bool visit_value(void *context, const struct doc *doc)
{
    struct value_walk *walk = context;

    if (doc->type == DOC_ARRAY)
        for (uint32_t i = 0; i < doc->count; i++)
            take_value(walk, &doc->items[i]);
    else
        take_value(walk, doc);
    return false;
}

static int row_value(const struct ordering *ordering, const struct query_row *row,
                     const uint8_t *bytes, size_t size_bytes, struct arena *scratch,
                     struct value_walk *walk, struct error *error)
{
    const char *path = ordering->scroll->order_by;
    struct doc payload;
    int code;

    walk->found = true;
    switch (ordering->key) {
    case FILTER_TIME:
        walk->value = (order_value)store_row_event_time_ms(row->source, row->row);
        return 0;
    case FILTER_WINDOW:
        walk->value = (order_value)query_row_window_ms(row);
        return 0;
    case FILTER_OFFSET:
        walk->value = (order_value)store_row_offset(row->source, row->row);
        return 0;
    default:
        walk->found = false;
        code = query_payload_decode(row, bytes, size_bytes, scratch, &payload, error);
        if (code == 0)
            (void)doc_visit_path(&payload, path, strlen(path), visit_value, walk);
        return code;
    }
}

/* Negative when a comes before b. */
static int ordered_compare(const struct ordering *ordering, const struct ordered *a,
                           const struct ordered *b)
{
    int order = (a->value > b->value) - (a->value < b->value);

    if (order != 0)
        return ordering->scroll->descending ? -order : order;
    return query_key_compare(a->key, a->key_bytes, b->key, b->key_bytes);
}

static void swap(struct ordered *a, struct ordered *b)
{
    struct ordered other = *a;

    *a = *b;
    *b = other;
}

static void sift_down(const struct ordering *ordering, size_t parent, size_t count)
{
    struct ordered *best = ordering->best;

    for (size_t child; (child = parent * 2 + 1) < count; parent = child) {
        if (child + 1 < count && ordered_compare(ordering, &best[child], &best[child + 1]) < 0)
            child++;
        if (ordered_compare(ordering, &best[parent], &best[child]) >= 0)
            return;
        swap(&best[parent], &best[child]);
    }
}

static void ordering_offer(struct ordering *ordering, const struct ordered *fresh)
{
    struct ordered *best = ordering->best;

    if (ordering->count < ordering->scroll->limit) {
        size_t child = ordering->count++;
        best[child] = *fresh;
        for (; child > 0 && ordered_compare(ordering, &best[(child - 1) / 2], &best[child]) < 0;
             child = (child - 1) / 2)
            swap(&best[(child - 1) / 2], &best[child]);
    } else if (ordered_compare(ordering, fresh, &best[0]) < 0) {
        best[0] = *fresh;
        sift_down(ordering, 0, ordering->count);
    }
}

static int order_row(void *context, const struct query_row *row, const uint8_t *bytes,
                     size_t size_bytes, struct arena *scratch, struct error *error)
{
    struct ordering *ordering = context;
    bool descending = ordering->scroll->descending;
    struct value_walk walk = {.descending = descending};
    struct ordered fresh = {.row = *row};
    int code = row_value(ordering, row, bytes, size_bytes, scratch, &walk, error);

    if (code != 0 || !walk.found)
        return code;
    if (ordering->has_start &&
        (descending ? walk.value > ordering->start : walk.value < ordering->start))
        return 0;
    fresh.value = walk.value;
    fresh.key = store_row_key(row->source, row->row, &fresh.key_bytes);
    ordering_offer(ordering, &fresh);
    return 0;
}

static enum filter_virtual order_key(const char *order_by)
{
    return strcmp(order_by, "@time") == 0     ? FILTER_TIME
           : strcmp(order_by, "@window") == 0 ? FILTER_WINDOW
           : strcmp(order_by, "@offset") == 0 ? FILTER_OFFSET
                                              : FILTER_PAYLOAD;
}

int query_scroll_ordered(struct query_view *view, const struct query_scroll *scroll,
                         struct query_result *result, struct error *error)
{
    struct ordering ordering = {.scroll = scroll, .key = order_key(scroll->order_by)};
    struct row_scan_options scan = {.view = view,
                                    .filter = scroll->filter,
                                    .result = result,
                                    .arena = scroll->arena,
                                    .needs_payload = ordering.key == FILTER_PAYLOAD,
                                    .visit = order_row,
                                    .context = &ordering};
    int code;

    if (scroll->start_from && scroll->start_from->type != DOC_NULL) {
        if (!order_value_of(scroll->start_from, &ordering.start))
            return error_set(error, ERROR_INVALID,
                             "order_by.start_from: expected a number or an RFC 3339 time");
        ordering.has_start = true;
    }
    ordering.best = arena_calloc(scroll->arena, scroll->limit, sizeof(*ordering.best));
    code = query_row_scan(&scan, error);
    if (code != 0)
        return code;
    result->hit_count = ordering.count;
    result->hits = arena_calloc(scroll->arena, ordering.count + 1, sizeof(*result->hits));
    /* The heap's root is the last: taken off from the back. */
    while (ordering.count > 0) {
        size_t last = --ordering.count;
        result->hits[last] = (struct query_hit){ordering.best[0].row, 1.0F};
        ordering.best[0] = ordering.best[last];
        sift_down(&ordering, 0, ordering.count);
    }
    return 0;
}
