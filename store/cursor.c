/* Visible rows in key order: a binary heap over one position per source. Of one id at most one row
 * is visible in a snapshot, so nothing has to be passed over. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "store/shard.h"
#include "store/skiplist.h"
#include "store/snapshot_internal.h"

struct cursor_input {
    const struct store_source *source;
    const struct skiplist_node *node; /* memtables: where the list goes on */
    uint32_t place;                   /* sstables: next place of the key order */
    uint32_t row;                     /* the visible row it stands at */
    const uint8_t *key;
    size_t key_bytes;
};

struct store_cursor {
    const struct store_snapshot *snapshot;
    size_t heap_count;
    struct cursor_input **heap;
    struct cursor_input inputs[];
};

/* The key's visible version in a memtable, or MEMTABLE_NONE. */
static uint32_t visible_version(const struct store_snapshot *snapshot,
                                const struct store_source *source, const struct skiplist_node *node)
{
    const struct memtable *memtable = source->inner;
    uint32_t row = atomic_load_explicit(&node->newest, memory_order_acquire);

    while (row != MEMTABLE_NONE && memtable_row(memtable, row)->offset >= snapshot->visible)
        row = memtable_row(memtable, row)->older;
    if (row == MEMTABLE_NONE || !store_row_visible(snapshot, source, row))
        return MEMTABLE_NONE;
    return row;
}

static bool advance_memtable(const struct store_snapshot *snapshot, struct cursor_input *input)
{
    while (input->node) {
        const struct skiplist_node *node = input->node;
        input->node = skiplist_next(node);
        input->row = visible_version(snapshot, input->source, node);
        if (input->row == MEMTABLE_NONE)
            continue;
        input->key = node->key;
        input->key_bytes = node->key_bytes;
        return true;
    }
    return false;
}

static bool advance_sstable(const struct store_snapshot *snapshot, struct cursor_input *input)
{
    const struct sstable *sstable = input->source->inner;

    while (input->place < sstable->row_count) {
        input->row = table_row_at(sstable->table, input->place++);
        if (!store_row_visible(snapshot, input->source, input->row))
            continue;
        input->key = table_key(sstable->table, input->row, &input->key_bytes);
        return true;
    }
    return false;
}

static bool advance(const struct store_snapshot *snapshot, struct cursor_input *input)
{
    return input->source->kind == STORE_SOURCE_MEMTABLE ? advance_memtable(snapshot, input)
                                                        : advance_sstable(snapshot, input);
}

static bool before(const struct cursor_input *a, const struct cursor_input *b)
{
    return bytes_compare(a->key, a->key_bytes, b->key, b->key_bytes) < 0;
}

static void sink(struct store_cursor *cursor, size_t at)
{
    struct cursor_input *item = cursor->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= cursor->heap_count)
            break;
        if (child + 1 < cursor->heap_count && before(cursor->heap[child + 1], cursor->heap[child]))
            child++;
        if (!before(cursor->heap[child], item))
            break;
        cursor->heap[at] = cursor->heap[child];
        at = child;
    }
    cursor->heap[at] = item;
}

struct store_cursor *store_cursor_open(const struct store_snapshot *snapshot, const uint8_t *from,
                                       size_t from_bytes)
{
    size_t count = snapshot->source_count;
    struct store_cursor *cursor =
        memory_new(1, sizeof(*cursor) + count * sizeof(cursor->inputs[0]));

    cursor->snapshot = snapshot;
    cursor->heap = memory_new(count ? count : 1, sizeof(*cursor->heap));
    for (size_t i = 0; i < count; i++) {
        struct cursor_input *input = &cursor->inputs[i];
        input->source = &snapshot->sources[i];
        if (input->source->kind == STORE_SOURCE_MEMTABLE)
            input->node = skiplist_seek(&((const struct memtable *)input->source->inner)->list,
                                        from, from_bytes);
        else if (from)
            input->place = table_lower_bound(((const struct sstable *)input->source->inner)->table,
                                             from, from_bytes);
        if (advance(snapshot, input))
            cursor->heap[cursor->heap_count++] = input;
    }
    for (size_t i = cursor->heap_count / 2; i-- > 0;)
        sink(cursor, i);
    return cursor;
}

bool store_cursor_next(struct store_cursor *cursor, const struct store_source **source,
                       uint32_t *row)
{
    struct cursor_input *first;

    if (cursor->heap_count == 0)
        return false;
    first = cursor->heap[0];
    *source = first->source;
    *row = first->row;
    if (!advance(cursor->snapshot, first))
        cursor->heap[0] = cursor->heap[--cursor->heap_count];
    if (cursor->heap_count > 0)
        sink(cursor, 0);
    return true;
}

void store_cursor_close(struct store_cursor *cursor)
{
    if (!cursor)
        return;
    free(cursor->heap);
    free(cursor);
}
