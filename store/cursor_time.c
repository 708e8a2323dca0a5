/* A scan in order of event time over rows that lie in key order or in order of arrival.
 *
 * Sources hold rows of one window, so their smallest and largest times tell when they are due: a
 * source waits at that bound, and only when the scan reaches it its visible rows are collected into
 * a heap by (time, key). A scan that ends after the first rows never looks into other windows, and
 * pays for order only as far as it reads. A memtable holds rows of any time and is due at once. */
#include <stdlib.h>

#include "store/skiplist.h"
#include "store/snapshot.h"

struct time_row {
    int64_t time_ms;
    uint32_t row;
};

struct time_input {
    const struct store_source *source;
    int64_t due_ms;        /* no row of it comes earlier in the scan; exact once it is collected */
    struct time_row *rows; /* a heap, the next row at the root; NULL: not collected */
    uint32_t count;
};

struct store_time_cursor {
    const struct store_snapshot *snapshot;
    int64_t from_ms, to_ms;
    bool descending;
    size_t heap_count;
    struct time_input **heap;
    struct time_input inputs[];
};

static int compare_keys(const struct time_input *a, uint32_t a_row, const struct time_input *b,
                        uint32_t b_row)
{
    size_t a_bytes;
    size_t b_bytes;
    const uint8_t *a_key = store_row_key(a->source, a_row, &a_bytes);
    const uint8_t *b_key = store_row_key(b->source, b_row, &b_bytes);

    return skiplist_compare(a_key, a_bytes, b_key, b_bytes);
}

static int compare_times(const struct store_time_cursor *cursor, int64_t a_ms, int64_t b_ms)
{
    int order = (a_ms > b_ms) - (a_ms < b_ms);

    return cursor->descending ? -order : order;
}

static bool row_before(const struct store_time_cursor *cursor, const struct time_input *input,
                       const struct time_row *a, const struct time_row *b)
{
    int order = compare_times(cursor, a->time_ms, b->time_ms);

    return order != 0 ? order < 0 : compare_keys(input, a->row, input, b->row) < 0;
}

/* Of one time, a source that is not collected yet goes first: its rows may have smaller keys. */
static bool input_before(const struct store_time_cursor *cursor, const struct time_input *a,
                         const struct time_input *b)
{
    int order = compare_times(cursor, a->due_ms, b->due_ms);

    if (order != 0)
        return order < 0;
    if (!a->rows || !b->rows)
        return !a->rows;
    return compare_keys(a, a->rows[0].row, b, b->rows[0].row) < 0;
}

static void sink_row(const struct store_time_cursor *cursor, struct time_input *input, uint32_t at)
{
    struct time_row item = input->rows[at];

    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= input->count)
            break;
        if (child + 1 < input->count &&
            row_before(cursor, input, &input->rows[child + 1], &input->rows[child]))
            child++;
        if (!row_before(cursor, input, &input->rows[child], &item))
            break;
        input->rows[at] = input->rows[child];
        at = (uint32_t)child;
    }
    input->rows[at] = item;
}

static void sink_input(struct store_time_cursor *cursor, size_t at)
{
    struct time_input *item = cursor->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= cursor->heap_count)
            break;
        if (child + 1 < cursor->heap_count &&
            input_before(cursor, cursor->heap[child + 1], cursor->heap[child]))
            child++;
        if (!input_before(cursor, cursor->heap[child], item))
            break;
        cursor->heap[at] = cursor->heap[child];
        at = child;
    }
    cursor->heap[at] = item;
}

/* The input at the root has changed: it goes to its place, or away when it is exhausted. */
static void settle_root(struct store_time_cursor *cursor)
{
    struct time_input *root = cursor->heap[0];

    if (root->count > 0) {
        root->due_ms = root->rows[0].time_ms;
    } else {
        free(root->rows);
        root->rows = NULL;
        cursor->heap[0] = cursor->heap[--cursor->heap_count];
    }
    if (cursor->heap_count > 0)
        sink_input(cursor, 0);
}

/* Collects what is visible and asked for into a heap. */
static int collect(const struct store_time_cursor *cursor, struct time_input *input,
                   struct error *error)
{
    const struct store_source *source = input->source;

    input->rows = malloc((source->row_count ? source->row_count : 1) * sizeof(*input->rows));
    if (!input->rows)
        return error_set(error, ERROR_MEMORY, "no memory to sort %u rows by time",
                         source->row_count);
    for (uint32_t row = 0; row < source->row_count; row++) {
        int64_t time_ms = store_row_event_time_ms(source, row);
        if (time_ms >= cursor->from_ms && time_ms < cursor->to_ms &&
            store_row_visible(cursor->snapshot, source, row))
            input->rows[input->count++] = (struct time_row){time_ms, row};
    }
    for (uint32_t i = input->count / 2; i-- > 0;)
        sink_row(cursor, input, i);
    return 0;
}

static bool source_overlaps(const struct store_time_cursor *cursor,
                            const struct store_source *source)
{
    return source->row_count > 0 && source->max_event_ms >= cursor->from_ms &&
           source->min_event_ms < cursor->to_ms;
}

struct store_time_cursor *store_time_cursor_open(const struct store_snapshot *snapshot,
                                                 int64_t from_ms, int64_t to_ms, bool descending)
{
    size_t count = snapshot->source_count;
    struct store_time_cursor *cursor =
        calloc(1, sizeof(*cursor) + count * sizeof(cursor->inputs[0]));

    if (!cursor)
        abort();
    *cursor = (struct store_time_cursor){
        .snapshot = snapshot, .from_ms = from_ms, .to_ms = to_ms, .descending = descending};
    cursor->heap = calloc(count ? count : 1, sizeof(*cursor->heap));
    if (!cursor->heap)
        abort();
    for (size_t i = 0; i < count; i++) {
        const struct store_source *source = &snapshot->sources[i];
        if (!source_overlaps(cursor, source))
            continue;
        cursor->inputs[i].source = source;
        cursor->inputs[i].due_ms = descending ? source->max_event_ms : source->min_event_ms;
        cursor->heap[cursor->heap_count++] = &cursor->inputs[i];
    }
    for (size_t i = cursor->heap_count / 2; i-- > 0;)
        sink_input(cursor, i);
    return cursor;
}

int store_time_cursor_next(struct store_time_cursor *cursor, const struct store_source **source,
                           uint32_t *row, struct error *error)
{
    while (cursor->heap_count > 0) {
        struct time_input *first = cursor->heap[0];
        if (!first->rows) {
            int code = collect(cursor, first, error);
            if (code != 0)
                return code;
            settle_root(cursor);
            continue;
        }
        *source = first->source;
        *row = first->rows[0].row;
        first->rows[0] = first->rows[--first->count];
        if (first->count > 0)
            sink_row(cursor, first, 0);
        settle_root(cursor);
        return 0;
    }
    return error_set(error, ERROR_NOT_FOUND, "no more rows");
}

void store_time_cursor_close(struct store_time_cursor *cursor)
{
    if (!cursor)
        return;
    for (size_t i = 0; i < cursor->snapshot->source_count; i++)
        free(cursor->inputs[i].rows);
    free(cursor->heap);
    free(cursor);
}
