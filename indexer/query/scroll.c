/* scroll: pages of rows, in the order of their ids (the cursors of all shards, merged) or of a value.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/query/columns.h"
#include "indexer/query/filter/filter.h"
#include "indexer/query/gather.h"
#include "indexer/query/row_scan.h"
#include "indexer/query/top.h"
#include "indexer/query/view.h"
#include "store/snapshot.h"

enum { CHECK_ROWS = 1024 }; /* between two looks at the clock */

struct merge_input {
    struct store_cursor *cursor;
    bool valid;
    struct query_row row;
    const uint8_t *key;
    size_t key_bytes;
};

/* Columns of a source for the filter; made when its first row is met. */
struct bound_source {
    bool tried;
    struct filter_binding *binding;
};

struct merge {
    struct query_view *view;
    const struct query_scroll *scroll;
    struct merge_input *inputs;
    struct bound_source **bound; /* by shard and source */
    struct stop_meter meter;
};

static void input_advance(struct merge *merge, size_t shard)
{
    struct merge_input *input = &merge->inputs[shard];
    const struct store_source *source;
    uint32_t row;

    input->valid = store_cursor_next(input->cursor, &source, &row);
    if (!input->valid)
        return;
    input->row = query_view_row(merge->view, shard, source, row);
    input->key = store_row_key(source, row, &input->key_bytes);
}

static void merge_open(struct merge *merge, struct query_view *view,
                       const struct query_scroll *scroll)
{
    merge->view = view;
    merge->scroll = scroll;
    merge->meter = (struct stop_meter){.stop = view->stop};
    merge->bound = arena_calloc(scroll->arena, view->shard_count + 1, sizeof(*merge->bound));
    merge->inputs = arena_calloc(scroll->arena, view->shard_count + 1, sizeof(*merge->inputs));
    for (size_t i = 0; i < view->shard_count; i++) {
        merge->bound[i] =
            arena_calloc(scroll->arena, view->shards[i].source_count + 1, sizeof(*merge->bound[i]));
        merge->inputs[i].cursor =
            store_cursor_open(view->shards[i].snapshot, scroll->from_key, scroll->from_key_bytes);
        input_advance(merge, i);
    }
}

static void merge_close(struct merge *merge)
{
    for (size_t i = 0; i < merge->view->shard_count; i++) {
        store_cursor_close(merge->inputs[i].cursor);
        for (size_t j = 0; j < merge->view->shards[i].source_count; j++)
            query_binding_drop(merge->bound[i][j].binding, merge->scroll->filter);
    }
}

static int compare_inputs(const struct merge_input *a, const struct merge_input *b)
{
    return bytes_compare(a->key, a->key_bytes, b->key, b->key_bytes);
}

/* The smallest key; of one id in several shards the newest event. Shards are few (partitions), so a
 * look at all of them is as fast as a heap. */
static bool merge_next(struct merge *merge, struct query_row *row, const uint8_t **key,
                       size_t *key_bytes)
{
    const size_t shard_count = merge->view->shard_count;
    const struct merge_input *first = NULL;

    row->shard = NULL;
    for (size_t i = 0; i < shard_count; i++) {
        const struct merge_input *input = &merge->inputs[i];
        if (input->valid && (!first || compare_inputs(input, first) < 0))
            first = input;
    }
    if (!first)
        return false;
    *key = first->key;
    *key_bytes = first->key_bytes;
    for (size_t i = 0; i < shard_count; i++) {
        struct merge_input *input = &merge->inputs[i];
        if (!input->valid || bytes_compare(input->key, input->key_bytes, *key, *key_bytes) != 0)
            continue;
        if (!row->shard || query_row_compare_versions(&input->row, row) < 0)
            *row = input->row;
        input_advance(merge, i);
    }
    return true;
}

static void count_windows(struct query_view *view, struct arena *arena, struct query_result *result)
{
    struct window_stats stats;

    query_window_stats_start(&stats, view, arena);
    for (size_t i = 0; i < view->shard_count; i++)
        for (size_t j = 0; j < view->shards[i].source_count; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            if (source->kind != STORE_SOURCE_MEMTABLE)
                query_window_stats_table(&stats, i, source, true);
            else
                query_window_stats_memtable(&stats, view, i, source, INT64_MIN, INT64_MAX);
        }
    query_window_stats_finish(&stats, result);
}

static const struct filter_binding *binding_of(struct merge *merge, size_t shard,
                                               const struct query_row *row)
{
    const struct query_filter *filter = merge->scroll->filter;
    struct bound_source *bound =
        &merge->bound[shard][row->source - merge->view->shards[shard].sources];

    if (!bound->tried && filter && filter->needs_payload)
        bound->binding =
            query_binding_make(merge->view, shard, row->source, filter, merge->scroll->arena);
    bound->tried = true;
    return bound->binding;
}

/* 1: matches, 0: does not, negative: error. A damaged payload leaves its row out. */
static int row_matches(struct merge *merge, const struct query_row *row, struct arena *scratch,
                       struct query_result *result, struct error *error)
{
    const struct query_view *view = merge->view;
    struct error local;
    struct filter_subject subject = {
        .row = row, .scratch = scratch, .meter = &merge->meter, .error = &local};
    size_t shard = 0;
    bool matches;
    int code;

    while (view->shards[shard].snapshot != row->snapshot)
        shard++;
    subject.binding = binding_of(merge, shard, row);
    local.code = 0;
    local.text[0] = '\0';
    code = filter_subject_match(merge->scroll->filter, &subject, &matches);
    if (scratch->used_bytes > 0)
        arena_reset(scratch);
    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        query_view_report(view, shard, row->source, &local);
        result->partial = true;
        return 0;
    }
    if (code != 0)
        *error = local;
    return code != 0 ? code : matches;
}

static int scroll_by_id(struct query_view *view, const struct query_scroll *scroll,
                        struct query_result *result, const uint8_t **next_key,
                        size_t *next_key_bytes, struct error *error)
{
    struct merge merge;
    struct arena scratch;
    struct query_row row = {0};
    const uint8_t *key;
    size_t key_bytes;
    uint32_t rows = 0;
    int code = 0;

    arena_create(&scratch, 0);
    merge_open(&merge, view, scroll);
    while (merge_next(&merge, &row, &key, &key_bytes)) {
        if (rows++ % CHECK_ROWS == 0 && (code = query_view_check(view, error)) != 0)
            break;
        code = row_matches(&merge, &row, &scratch, result, error);
        if (code < 0)
            break;
        if (code == 0)
            continue;
        code = 0;
        if (result->hit_count == scroll->limit) {
            *next_key = (const uint8_t *)arena_copy(scroll->arena, key, key_bytes);
            *next_key_bytes = key_bytes;
            break;
        }
        result->hits[result->hit_count++] = (struct query_hit){.row = row, .score = 1.0F};
    }
    merge_close(&merge);
    arena_destroy(&scratch);
    return code;
}

/* By the value of a payload field or of a virtual key: numbers by value, strings that are RFC 3339
 * times by time, in milliseconds. A row has an entry for each of its values, as in Qdrant's index; with
 * `once` for the first in the order. Equal values follow the id. Rows without an orderable value are left
 * out. */

/* A sample is the first page in the order of a hash of the ids: every id is as likely as any other, and
 * nodes agree about it without a word.
 *
 * Holds every int64_t and every double exactly, so that 64-bit ids sort right. */
typedef long double order_value;

static bool is_ordered(const struct query_scroll *scroll)
{
    return scroll->order_by || scroll->sample;
}

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
    size_t count, limit;
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

/* The values of one row that lie in the range of the order. */
struct value_walk {
    const struct ordering *ordering;
    struct arena *scratch;
    order_value *values;
    size_t count, capacity;
};

static bool in_range(const struct ordering *ordering, order_value value)
{
    if (!ordering->has_start)
        return true;
    return ordering->scroll->descending ? value <= ordering->start : value >= ordering->start;
}

static void take_value(struct value_walk *walk, const struct doc *doc)
{
    order_value value;

    if (!order_value_of(doc, &value) || !in_range(walk->ordering, value))
        return;
    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity ? 2 * walk->capacity : 4;
        order_value *values = memory_checked(
            arena_alloc(walk->scratch, capacity * sizeof(*values), _Alignof(order_value)));
        if (walk->count > 0)
            memcpy(values, walk->values, walk->count * sizeof(*values));
        walk->values = values;
        walk->capacity = capacity;
    }
    walk->values[walk->count++] = value;
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

static int row_values(const struct ordering *ordering, const struct query_row *row,
                      const uint8_t *bytes, size_t size_bytes, struct value_walk *walk,
                      struct error *error)
{
    const char *path = ordering->scroll->order_by;
    struct doc payload, value;
    int code;

    if (ordering->key != FILTER_PAYLOAD) {
        value = filter_virtual_value(ordering->key, row);
        take_value(walk, &value);
        return 0;
    }
    code = query_payload_decode(row, bytes, size_bytes, walk->scratch, &payload, error);
    if (code == 0)
        (void)doc_visit_path(&payload, path, strlen(path), visit_value, walk);
    return code;
}

static int ascending(const void *a, const void *b)
{
    const order_value left = *(const order_value *)a, right = *(const order_value *)b;

    return (left > right) - (left < right);
}

/* Negative when a comes before b. */
static int ordered_compare(const struct ordering *ordering, const struct ordered *a,
                           const struct ordered *b)
{
    int order = (a->value > b->value) - (a->value < b->value);

    if (order != 0)
        return ordering->scroll->descending ? -order : order;
    order = bytes_compare(a->key, a->key_bytes, b->key, b->key_bytes);
    return order != 0 ? order : query_row_compare_versions(&a->row, &b->row);
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

/* False when the entry is behind all of a full page. */
static bool ordering_offer(struct ordering *ordering, const struct ordered *fresh)
{
    struct ordered *best = ordering->best;

    if (ordering->count < ordering->limit) {
        size_t child = ordering->count++;
        best[child] = *fresh;
        for (; child > 0 && ordered_compare(ordering, &best[(child - 1) / 2], &best[child]) < 0;
             child = (child - 1) / 2)
            swap(&best[(child - 1) / 2], &best[child]);
    } else if (ordered_compare(ordering, fresh, &best[0]) < 0) {
        best[0] = *fresh;
        sift_down(ordering, 0, ordering->count);
    } else {
        return false;
    }
    return true;
}

static int order_row(void *context, const struct query_row *row, const uint8_t *bytes,
                     size_t size_bytes, struct arena *scratch, struct error *error)
{
    struct ordering *ordering = context;
    struct value_walk walk = {.ordering = ordering, .scratch = scratch};
    struct ordered fresh = {.row = *row};
    order_value last = 0;
    int code = row_values(ordering, row, bytes, size_bytes, &walk, error);
    bool goes_on = true;

    if (code != 0 || walk.count == 0)
        return code;
    qsort(walk.values, walk.count, sizeof(*walk.values), ascending);
    fresh.key = store_row_key(row->source, row->row, &fresh.key_bytes);
    for (size_t i = 0; i < walk.count && goes_on; i++) {
        fresh.value = walk.values[ordering->scroll->descending ? walk.count - 1 - i : i];
        if (i == 0 || fresh.value != last)
            goes_on = ordering_offer(ordering, &fresh) && !ordering->scroll->once;
        last = fresh.value;
    }
    return 0;
}

static int sample_row(void *context, const struct query_row *row, const uint8_t *bytes,
                      size_t size_bytes, struct arena *scratch, struct error *error)
{
    struct ordering *ordering = context;
    struct ordered fresh = {.row = *row};

    (void)bytes;
    (void)size_bytes;
    (void)scratch;
    (void)error;
    fresh.key = store_row_key(row->source, row->row, &fresh.key_bytes);
    fresh.value =
        (order_value)XXH3_64bits_withSeed(fresh.key, fresh.key_bytes, ordering->scroll->seed);
    (void)ordering_offer(ordering, &fresh);
    return 0;
}

static enum filter_virtual order_key(const char *order_by)
{
    return strcmp(order_by, "@time") == 0     ? FILTER_TIME
           : strcmp(order_by, "@window") == 0 ? FILTER_WINDOW
           : strcmp(order_by, "@offset") == 0 ? FILTER_OFFSET
                                              : FILTER_PAYLOAD;
}

/* The value travels as the sum of two doubles, which hold it exactly. Infinity, which a payload may
 * hold, has no rest. */
static struct query_hit hit_of(const struct ordered *ordered)
{
    double order = (double)ordered->value;
    order_value rest = isinf(order) ? 0 : ordered->value - (order_value)order;

    return (struct query_hit){
        .row = ordered->row, .score = 1.0F, .order = order, .order_rest = (double)rest};
}

static int scroll_by_value(struct query_view *view, const struct query_scroll *scroll,
                           struct query_result *result, struct error *error)
{
    struct ordering ordering = {.scroll = scroll};
    struct row_scan_options scan = {.view = view,
                                    .filter = scroll->filter,
                                    .result = result,
                                    .arena = scroll->arena,
                                    .visit = scroll->sample ? sample_row : order_row,
                                    .context = &ordering};
    int code;

    if (scroll->order_by)
        ordering.key = order_key(scroll->order_by);
    scan.needs_payload = scroll->order_by && ordering.key == FILTER_PAYLOAD;
    if (scroll->start_from && scroll->start_from->type != DOC_NULL) {
        if (!order_value_of(scroll->start_from, &ordering.start))
            return error_set(error, ERROR_INVALID,
                             "order_by.start_from: expected a number or an RFC 3339 time");
        ordering.has_start = true;
    }
    ordering.limit = scroll->limit;
    ordering.best = arena_calloc(scroll->arena, ordering.limit, sizeof(*ordering.best));
    code = query_row_scan(&scan, error);
    if (code != 0)
        return code;
    result->hit_count = ordering.count;
    result->hits = arena_calloc(scroll->arena, ordering.count + 1, sizeof(*result->hits));
    /* The heap's root is the last: taken off from the back. */
    while (ordering.count > 0) {
        size_t last = --ordering.count;
        result->hits[last] = hit_of(&ordering.best[0]);
        ordering.best[0] = ordering.best[last];
        sift_down(&ordering, 0, ordering.count);
    }
    return 0;
}

/* The value among those of the payload that the order was made of. */
struct value_search {
    order_value order;
    struct doc *found;
};

static bool is_ordered_by(void *context, const struct doc *doc)
{
    const struct value_search *search = context;
    order_value value;
    int64_t time_us;

    if (doc->type == DOC_ARRAY) {
        for (uint32_t i = 0; i < doc->count; i++)
            if (is_ordered_by(context, &doc->items[i]))
                return true;
        return false;
    }
    if (!order_value_of(doc, &value) || value != search->order)
        return false;
    *search->found = *doc;
    if (doc->type == DOC_STRING && filter_parse_time_us(doc->string, doc->count, &time_us))
        *search->found = doc_integer(time_us);
    return true;
}

int query_hit_order_value(const struct query_hit *hit, const char *order_by, struct arena *arena,
                          struct doc *value, struct error *error)
{
    order_value order = (order_value)hit->order + (order_value)hit->order_rest;
    struct value_search search = {order, value};
    struct doc payload;

    *value = doc_integer(0);
    if (order_key(order_by) != FILTER_PAYLOAD) {
        *value = doc_integer((int64_t)order);
        return 0;
    }
    if (query_row_payload(&hit->row, arena, &payload, error) != 0)
        return error->code;
    (void)doc_visit_path(&payload, order_by, strlen(order_by), is_ordered_by, &search);
    return 0;
}

static int scroll_here(struct query_view *view, const struct query_scroll *scroll,
                       struct query_result *result, const uint8_t **next_key,
                       size_t *next_key_bytes, struct error *error)
{
    if (is_ordered(scroll))
        return scroll_by_value(view, scroll, result, error);
    result->hits = arena_calloc(scroll->arena, scroll->limit, sizeof(*result->hits));
    count_windows(view, scroll->arena, result);
    return scroll_by_id(view, scroll, result, next_key, next_key_bytes, error);
}

/* Pages of peers. */

struct gathered {
    const struct query_scroll *scroll;
    uint32_t dim;
    struct query_hit *hits;
    size_t count;
    struct query_result result; /* windows and `partial` */
};

static int take_answer(void *context, const struct gather_answer *answer, struct error *error)
{
    struct gathered *gathered = context;
    struct arena *arena = gathered->scroll->arena;
    struct query_result result = gathered->result;
    struct query_hit *hits, *all;
    size_t count;

    if (gather_hits(answer, gathered->dim, gathered->scroll->wants, arena, &hits, &count, error) !=
            0 ||
        gather_result(answer, arena, &result, error) != 0)
        return error->code;
    all = memory_checked(arena_calloc(arena, gathered->count + count + 1, sizeof(*all)));
    if (gathered->count > 0)
        memcpy(all, gathered->hits, gathered->count * sizeof(*all));
    memcpy(all + gathered->count, hits, count * sizeof(*all));
    gathered->hits = all;
    gathered->count += count;
    gathered->result = result;
    return 0;
}

/* Of one id in several shards the newest event comes first. */
static int by_key(const void *a, const void *b)
{
    const struct query_hit *left = a, *right = b;
    int order = query_row_compare_ids(&left->row, &right->row);

    return order != 0 ? order : query_row_compare_versions(&left->row, &right->row);
}

static int by_value(const void *a, const void *b, void *context)
{
    const struct query_hit *left = a, *right = b;
    const struct query_scroll *scroll = context;
    order_value left_value = (order_value)left->order + (order_value)left->order_rest;
    order_value right_value = (order_value)right->order + (order_value)right->order_rest;
    int order = (left_value > right_value) - (left_value < right_value);

    if (order != 0)
        return scroll->descending ? -order : order;
    return by_key(a, b);
}

/* Of an id that follows itself the first version stays: the newest. */
static void drop_repeated(struct query_result *result)
{
    size_t kept = 0;

    for (size_t i = 0; i < result->hit_count; i++)
        if (kept == 0 ||
            query_row_compare_ids(&result->hits[kept - 1].row, &result->hits[i].row) != 0)
            result->hits[kept++] = result->hits[i];
    result->hit_count = kept;
}

/* The first page of all pages together. Each page has one row more than the limit, by which the next
 * page's start is known. */
static void merge_pages(const struct query_scroll *scroll, const struct gathered *gathered,
                        struct query_result *result, const uint8_t **next_key,
                        size_t *next_key_bytes)
{
    size_t count = result->hit_count + gathered->count;
    struct query_hit *all = memory_checked(arena_calloc(scroll->arena, count + 1, sizeof(*all)));

    if (result->hit_count > 0)
        memcpy(all, result->hits, result->hit_count * sizeof(*all));
    if (gathered->count > 0)
        memcpy(all + result->hit_count, gathered->hits, gathered->count * sizeof(*all));
    if (is_ordered(scroll))
        qsort_r(all, count, sizeof(*all), by_value, (void *)scroll);
    else
        qsort(all, count, sizeof(*all), by_key);
    result->hits = all;
    result->hit_count = count;
    if (!is_ordered(scroll))
        drop_repeated(result);
    *next_key = NULL;
    if (result->hit_count > scroll->limit) {
        if (!is_ordered(scroll))
            *next_key = query_row_key(&all[scroll->limit].row, next_key_bytes);
        result->hit_count = scroll->limit;
    }
    if (*next_key)
        *next_key =
            (const uint8_t *)memory_checked(arena_copy(scroll->arena, *next_key, *next_key_bytes));
}

static int page_everywhere(struct query_view *view, const struct query_scroll *scroll,
                           struct query_result *result, const uint8_t **next_key,
                           size_t *next_key_bytes, struct error *error)
{
    struct query_scroll one_more = *scroll;
    struct gathered gathered = {.scroll = scroll, .dim = view->collection->dim};
    struct gather gather;
    struct doc op;
    int code;

    one_more.limit++;
    op = wire_from_scroll(scroll, one_more.limit, scroll->arena);
    gather_start(&gather, view, scroll->arena, &op);
    code = scroll_here(view, &one_more, result, next_key, next_key_bytes, error);
    code = gather_finish(&gather, code, take_answer, &gathered, error);
    if (code != 0)
        return code;
    merge_pages(scroll, &gathered, result, next_key, next_key_bytes);
    result->partial |= gathered.result.partial;
    result->windows_searched += gathered.result.windows_searched;
    result->windows_pruned += gathered.result.windows_pruned;
    result->windows_live += gathered.result.windows_live;
    return 0;
}

static int keep_newest(struct query_view *view, struct arena *arena, struct query_result *page,
                       struct error *error)
{
    struct hit_list list = {page->hits, page->hit_count};
    struct hit_list *const lists[] = {&list};
    int code = query_keep_newest(view, lists, 1, arena, error);

    page->hit_count = list.count;
    return code;
}

/* In the order of a value each version has a place of its own, and old ones leave afterwards. Where they
 * took places, a longer page is looked for. */
static int ordered_everywhere(struct query_view *view, const struct query_scroll *scroll,
                              struct query_result *result, struct error *error)
{
    struct query_scroll longer = *scroll;
    const uint8_t *no_key = NULL;
    size_t no_key_bytes = 0;
    bool full, partial = false;

    for (;;) {
        *result = (struct query_result){0};
        if ((gather_needed(view) ? page_everywhere : scroll_here)(view, &longer, result, &no_key,
                                                                  &no_key_bytes, error) != 0)
            return error->code;
        full = result->hit_count == longer.limit;
        if (keep_newest(view, scroll->arena, result, error) != 0)
            return error->code;
        partial |= result->partial;
        if (!full || result->hit_count >= scroll->limit || longer.limit == QUERY_LIMIT_MAX)
            break;
        longer.limit = longer.limit < QUERY_LIMIT_MAX / 3 ? 3 * longer.limit : QUERY_LIMIT_MAX;
    }
    result->partial = partial || (full && result->hit_count < scroll->limit);
    if (result->hit_count > scroll->limit)
        result->hit_count = scroll->limit;
    return 0;
}

/* Pages of all nodes until one of the caller's is full, and one row more that tells where the next
 * one starts. Each node filters the version that it has. Of an id in two shards that may be an old one
 * which matches, while the newest one does not: such rows leave. */
static int filter_everywhere(struct query_view *view, const struct query_scroll *scroll,
                             struct query_result *result, const uint8_t **next_key,
                             size_t *next_key_bytes, struct error *error)
{
    const size_t wanted = (size_t)scroll->limit + 1;
    struct query_scroll rest = *scroll;
    struct query_hit *hits = memory_checked(arena_calloc(scroll->arena, wanted, sizeof(*hits)));
    size_t count = 0;

    do {
        struct query_result page = {0};
        rest.limit = (uint32_t)(wanted - count);
        if (rest.limit > QUERY_LIMIT_MAX) /* page_everywhere asks for one more itself */
            rest.limit = QUERY_LIMIT_MAX;
        if (page_everywhere(view, &rest, &page, next_key, next_key_bytes, error) != 0 ||
            keep_newest(view, scroll->arena, &page, error) != 0)
            return error->code;
        memcpy(hits + count, page.hits, page.hit_count * sizeof(*hits));
        count += page.hit_count;
        page.partial |= result->partial;
        *result = page; /* the windows of every page are the same */
        rest.from_key = *next_key;
        rest.from_key_bytes = *next_key_bytes;
    } while (count < wanted && *next_key);
    *next_key = NULL;
    if (count == wanted)
        *next_key = query_row_key(&hits[--count].row, next_key_bytes);
    result->hits = hits;
    result->hit_count = count;
    return 0;
}

int query_scroll_run(struct query_view *view, const struct query_scroll *scroll,
                     struct query_result *result, const uint8_t **next_key, size_t *next_key_bytes,
                     struct error *error)
{
    *result = (struct query_result){0};
    *next_key = NULL;
    *next_key_bytes = 0;
    if (scroll->limit == 0)
        return error_set(error, ERROR_INVALID, "limit: value 0 invalid, must be 1 or larger");
    if (scroll->limit > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit: at most %d", QUERY_LIMIT_MAX);
    if (is_ordered(scroll))
        return ordered_everywhere(view, scroll, result, error);
    if (gather_needed(view) && scroll->filter)
        return filter_everywhere(view, scroll, result, next_key, next_key_bytes, error);
    if (gather_needed(view))
        return page_everywhere(view, scroll, result, next_key, next_key_bytes, error);
    return scroll_here(view, scroll, result, next_key, next_key_bytes, error);
}

int answer_scroll(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error)
{
    struct query_result page = {0};
    struct query_scroll scroll;
    const uint8_t *next_key = NULL;
    size_t next_key_bytes = 0;

    if (wire_to_scroll(op, view->collection, arena, &scroll, error) != 0)
        return error->code;
    if (scroll.limit == 0)
        return error_set(error, ERROR_INVALID, "peer: limit is 0");
    if (scroll_here(view, &scroll, &page, &next_key, &next_key_bytes, error) != 0)
        return error->code;
    return answer_result(view, &page, scroll.wants, arena, result, error);
}
