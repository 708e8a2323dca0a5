/* The memtable: rows of one log file, in memory until their flush.
 *
 *     segments   rows in order of arrival; segment k has 1024 * 2^k of them and never moves
 *     skip list  the same rows by key
 *     filter     a bloom filter of all keys, for the search for older versions
 *     windows    how many rows and which times each window has (notes lock)
 *     buffer     the bytes of the log file's frames: keys, payloads and vectors are pointers here
 *
 * One writer, under the append lock. Readers see the rows below `row_count`, which they load with
 * acquire: a row, its segment and its bytes are complete before the count is stored. A row in the
 * skip list may be newer than the count or the snapshot; readers compare its offset.
 *
 * Doubling segments make a row's place a few instructions, and growing never copies a row that a
 * reader may be looking at. */
#include "store/memtable.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "store/files/bloom.h"
#include "store/files/table.h"

/* Of the filter of a memtable that has no key yet; 320 KiB. */
enum { FILTER_GUESS_MAX_KEYS = 1 << 18 };

/* Row r lies in segment k = floor(log2(r / 1024 + 1)), which starts at row (2^k - 1) * 1024. */
static unsigned segment_of(uint32_t row, uint32_t *first)
{
    uint32_t unit = row / MEMTABLE_FIRST_SEGMENT_ROWS + 1;
    unsigned segment = 31u - (unsigned)__builtin_clz(unit);

    *first = ((UINT32_C(1) << segment) - 1) * MEMTABLE_FIRST_SEGMENT_ROWS;
    return segment;
}

struct memtable *memtable_new(struct store_memory *memory, struct log_file *log,
                              uint64_t buffer_bytes, int64_t window_ms, uint64_t seed)
{
    struct memtable *memtable = calloc(1, sizeof(*memtable));
    uint8_t *buffer = memory_take_buffer(memory, buffer_bytes);

    if (!memtable || !buffer) {
        if (buffer)
            memory_give_buffer(memory, buffer, buffer_bytes);
        free(memtable);
        return NULL;
    }
    atomic_init(&memtable->refs, 1);
    memtable->memory = memory;
    memtable->log = log;
    memtable->buffer = buffer;
    memtable->buffer_bytes = buffer_bytes;
    memtable->window_ms = window_ms;
    memtable->next_offset = -1;
    key_residues_share(&memtable->residues);
    arena_create(&memtable->arena, 0);
    skiplist_create(&memtable->list, &memtable->arena, seed);
    return memtable;
}

void memtable_ref(struct memtable *memtable)
{
    uint32_t before = atomic_fetch_add_explicit(&memtable->refs, 1, memory_order_relaxed);

    assert(before > 0);
    (void)before;
}

void memtable_unref(struct memtable *memtable)
{
    if (!memtable || atomic_fetch_sub_explicit(&memtable->refs, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub_explicit(&memtable->memory->used_bytes, memtable->accounted_bytes,
                              memory_order_relaxed);
    for (unsigned i = 0; i < MEMTABLE_SEGMENTS; i++)
        free(atomic_load_explicit(&memtable->segments[i], memory_order_relaxed));
    arena_destroy(&memtable->arena);
    free(memtable->filter);
    memory_give_buffer(memtable->memory, memtable->buffer, memtable->buffer_bytes);
    log_file_unref(memtable->log);
    free(memtable->windows);
    free(memtable);
}

struct memtable_row *memtable_row(const struct memtable *memtable, uint32_t row)
{
    uint32_t first;
    unsigned segment = segment_of(row, &first);

    return atomic_load_explicit(&memtable->segments[segment], memory_order_acquire) + (row - first);
}

/* Windows are aligned to the epoch, times before 1970 included: the remainder of a negative time is
 * negative and is moved up. */
int64_t memtable_window_start(int64_t event_time_ms, int64_t window_ms)
{
    int64_t rest;

    assert(window_ms >= 0);
    if (window_ms == 0)
        return 0;
    rest = event_time_ms % window_ms;
    if (rest < 0)
        rest += window_ms;
    /* The window that holds INT64_MIN would start below it. */
    return event_time_ms < INT64_MIN + rest ? INT64_MIN : event_time_ms - rest;
}

/* The last window first: records come nearly in order of time. */
static uint32_t window_find(struct memtable *memtable, int64_t event_time_ms)
{
    int64_t start = memtable_window_start(event_time_ms, memtable->window_ms);
    struct memtable_window *grown;

    if (memtable->window_count > 0 && memtable->windows[memtable->window_last].start_ms == start)
        return memtable->window_last;
    for (uint32_t i = 0; i < memtable->window_count; i++)
        if (memtable->windows[i].start_ms == start)
            return memtable->window_last = i;
    if (memtable->window_count == memtable->window_capacity) {
        memtable->window_capacity = memtable->window_capacity ? memtable->window_capacity * 2 : 8;
        grown = memory_resize(memtable->windows, memtable->window_capacity, sizeof(*grown));
        memtable->windows = grown;
    }
    memtable->windows[memtable->window_count] = (struct memtable_window){
        .start_ms = start, .min_event_ms = INT64_MAX, .max_event_ms = INT64_MIN};
    return memtable->window_last = memtable->window_count++;
}

/* A filter for so many keys, with those of all rows. */
static bool filter_grow(struct memtable *memtable, uint32_t keys)
{
    uint32_t row_count = atomic_load_explicit(&memtable->row_count, memory_order_relaxed);
    uint32_t blocks = bloom_block_count(keys, BLOOM_BITS_PER_KEY);
    uint8_t *filter = aligned_alloc(BLOOM_BLOCK_BYTES, (size_t)blocks * BLOOM_BLOCK_BYTES);

    if (!filter)
        return false;
    memset(filter, 0, (size_t)blocks * BLOOM_BLOCK_BYTES);
    for (uint32_t i = 0; i < row_count; i++) {
        const struct memtable_row *row = memtable_row(memtable, i);
        bloom_add(filter, blocks, table_key_hash(row->key, row->key_bytes));
    }
    free(memtable->filter);
    memtable->filter = filter;
    memtable->filter_blocks = blocks;
    memtable->filter_keys = keys;
    return true;
}

/* How many keys the first filter is made for: as many as there will be if all rows are as large as
 * the first. A guess that is too small costs the adding of all keys to a larger one. */
static uint32_t filter_first_keys(const struct memtable *memtable, uint32_t count,
                                  uint64_t frame_bytes)
{
    uint64_t frames = memtable->buffer_bytes / frame_bytes;

    return count >= FILTER_GUESS_MAX_KEYS || frames >= FILTER_GUESS_MAX_KEYS / count
               ? FILTER_GUESS_MAX_KEYS
               : (uint32_t)frames * count;
}

bool memtable_reserve_rows(struct memtable *memtable, uint32_t count, uint64_t frame_bytes)
{
    uint32_t from = atomic_load_explicit(&memtable->row_count, memory_order_relaxed);
    uint32_t first;
    uint32_t keys;

    if (count == 0)
        return true;
    for (unsigned i = segment_of(from, &first); i <= segment_of(from + count - 1, &first); i++) {
        struct memtable_row *rows =
            atomic_load_explicit(&memtable->segments[i], memory_order_relaxed);
        if (rows)
            continue;
        rows = malloc(((size_t)MEMTABLE_FIRST_SEGMENT_ROWS << i) * sizeof(*rows));
        if (!rows)
            return false;
        atomic_store_explicit(&memtable->segments[i], rows, memory_order_release);
    }
    if (from + count <= memtable->filter_keys)
        return true;
    keys = from == 0 ? filter_first_keys(memtable, count, frame_bytes) : 2 * (from + count);
    if (keys < from + count)
        keys = from + count;
    return filter_grow(memtable,
                       keys > MEMTABLE_FIRST_SEGMENT_ROWS ? keys : MEMTABLE_FIRST_SEGMENT_ROWS);
}

static struct memtable_row *row_new(struct memtable *memtable, uint32_t row)
{
    uint32_t first;
    unsigned segment = segment_of(row, &first);
    struct memtable_row *rows =
        atomic_load_explicit(&memtable->segments[segment], memory_order_relaxed);

    assert(rows); /* memtable_reserve_rows */
    memtable->segment_bytes += sizeof(*rows);
    return &rows[row - first];
}

bool memtable_may_contain(const struct memtable *memtable, uint64_t key_hash)
{
    return bloom_may_contain(memtable->filter, memtable->filter_blocks, key_hash);
}

void memtable_prefetch(const struct memtable *memtable, uint64_t key_hash)
{
    if (memtable->filter)
        bloom_prefetch(memtable->filter, memtable->filter_blocks, key_hash);
}

uint32_t memtable_insert(struct memtable *memtable, const struct memtable_row *row,
                         uint64_t key_hash, int64_t arrival_wall_ms, uint32_t *previous)
{
    uint32_t number = atomic_load_explicit(&memtable->row_count, memory_order_relaxed);
    struct memtable_row *slot = row_new(memtable, number);
    struct memtable_window *window;
    struct skiplist_node *node;
    bool inserted;

    assert(number < MEMTABLE_NONE);
    slot->key = row->key;
    slot->payload = row->payload;
    slot->vector = row->vector;
    slot->event_time_ms = row->event_time_ms;
    slot->offset = row->offset;
    slot->ttl_ms = row->ttl_ms;
    atomic_init(&slot->dead_at, MEMTABLE_ALIVE);
    slot->older = MEMTABLE_NONE;
    slot->payload_bytes = row->payload_bytes;
    slot->contiguous = row->contiguous;
    slot->window = window_find(memtable, row->event_time_ms);
    slot->key_bytes = row->key_bytes;
    slot->bare = row->bare;

    window = &memtable->windows[slot->window];
    window->rows++;
    if (row->event_time_ms < window->min_event_ms)
        window->min_event_ms = row->event_time_ms;
    if (row->event_time_ms > window->max_event_ms)
        window->max_event_ms = row->event_time_ms;
    window->last_arrival_wall_ms = arrival_wall_ms;

    assert(number < memtable->filter_keys); /* memtable_reserve_rows */
    bloom_add(memtable->filter, memtable->filter_blocks, key_hash);
    key_residues_share_add(&memtable->residues, row->key, row->key_bytes);

    /* The row is complete before the release store that lets a reader come to it. */
    *previous = MEMTABLE_NONE;
    node = skiplist_insert(&memtable->list, row->key, row->key_bytes, number, &inserted);
    if (!inserted) {
        *previous = atomic_load_explicit(&node->newest, memory_order_relaxed);
        slot->older = *previous;
        atomic_store_explicit(&node->newest, number, memory_order_release);
    }
    atomic_store_explicit(&memtable->row_count, number + 1, memory_order_release);
    return number;
}

void memtable_release_tail(struct memtable *memtable)
{
    uint64_t tail = memtable->buffer_bytes - memtable->used_bytes;

    if (tail > 0)
        (void)madvise(memtable->buffer + memtable->used_bytes, tail, MADV_DONTNEED); /* a hint */
}

void memtable_account(struct memtable *memtable)
{
    uint64_t bytes = memtable->used_bytes + memtable->arena.reserved_bytes +
                     memtable->segment_bytes +
                     (uint64_t)memtable->filter_blocks * BLOOM_BLOCK_BYTES;

    assert(bytes >= memtable->accounted_bytes);
    atomic_fetch_add_explicit(&memtable->memory->used_bytes, bytes - memtable->accounted_bytes,
                              memory_order_relaxed);
    memtable->accounted_bytes = bytes;
    atomic_store_explicit(&memtable->memory_bytes, bytes, memory_order_relaxed);
}

uint32_t memtable_find(const struct memtable *memtable, const uint8_t *key, size_t key_bytes)
{
    const struct skiplist_node *node = skiplist_find(&memtable->list, key, key_bytes);

    return node ? atomic_load_explicit(&node->newest, memory_order_acquire) : MEMTABLE_NONE;
}

void memtable_kill(struct memtable *memtable, uint32_t row, int64_t offset)
{
    struct memtable_row *slot = memtable_row(memtable, row);

    assert(atomic_load_explicit(&slot->dead_at, memory_order_relaxed) == MEMTABLE_ALIVE);
    assert(slot->offset < offset);
    atomic_store_explicit(&slot->dead_at, offset, memory_order_release);
    memtable->windows[slot->window].dead_rows++;
}
