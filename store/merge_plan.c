#include "store/merge_plan.h"
#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/files/table_internal.h"

/* Pieces of equal prefixes up to this size are sorted by insertion: most have two rows. */
enum { INSERTION_ROWS = 12 };

enum { PREFETCH_PLACES = 16 };

struct merge_plan {
    const struct table *const *tables;
    uint32_t table_count;
    merge_survives survives;
    void *context;
    uint32_t *first; /* per table: next place of the key order */
    uint32_t *end;   /* per table: end of the range being cut out */
    uint32_t *last;  /* per table: end of what the plan is about */
    size_t *ends;    /* of the sorted pieces */
    struct merge_entry *entries, *scratch;
    size_t capacity;
};

struct merge_plan *merge_plan_new(const struct table *const *tables, uint32_t table_count,
                                  merge_survives survives, void *context)
{
    struct merge_plan *plan = memory_new(1, sizeof(*plan));

    plan->tables = tables;
    plan->table_count = table_count;
    plan->survives = survives;
    plan->context = context;
    plan->first = memory_new(table_count, sizeof(*plan->first));
    plan->end = memory_new(table_count, sizeof(*plan->end));
    plan->last = memory_new(table_count, sizeof(*plan->last));
    plan->ends = memory_new(table_count, sizeof(*plan->ends));
    for (uint32_t i = 0; i < table_count; i++)
        plan->last[i] = tables[i]->row_count;
    return plan;
}

void merge_plan_limit(struct merge_plan *plan, const uint8_t *from, size_t from_bytes,
                      const uint8_t *to, size_t to_bytes)
{
    for (uint32_t i = 0; i < plan->table_count; i++) {
        const struct table *table = plan->tables[i];
        plan->first[i] = from ? table_lower_bound(table, from, from_bytes) : 0;
        plan->last[i] = to ? table_lower_bound(table, to, to_bytes) : table->row_count;
        assert(plan->first[i] <= plan->last[i]);
    }
}

void merge_plan_delete(struct merge_plan *plan)
{
    if (!plan)
        return;
    free(plan->first);
    free(plan->end);
    free(plan->last);
    free(plan->ends);
    free(plan->entries);
    free(plan->scratch);
    free(plan);
}

/* Merging without branches. */

/* a or b, by a mask: compilers turn a conditional expression here into a branch that is wrong every
 * second time. */
static inline const struct merge_entry *pick(const struct merge_entry *a,
                                             const struct merge_entry *b, bool take_b)
{
    uintptr_t both = (uintptr_t)a ^ (uintptr_t)b;

    return (const struct merge_entry *)((uintptr_t)a ^ (both & -(uintptr_t)take_b));
}

/* Merges from both ends at once: the two chains of loads and comparisons do not wait for each
 * other. Each end takes half as many steps as the shorter side has entries, so that together they
 * cannot run out of either and no bound is checked; the rest is taken from the front. */
static void merge_two(const struct merge_entry *a, size_t a_count, const struct merge_entry *b,
                      size_t b_count, struct merge_entry *out)
{
    size_t steps = (a_count < b_count ? a_count : b_count) / 2;
    const struct merge_entry *a_last = a + a_count, *b_last = b + b_count;
    struct merge_entry *tail = out + a_count + b_count;

    while (steps > 0) {
        for (; steps > 0; steps--) {
            bool take_b = b->prefix < a->prefix;
            bool take_a = a_last[-1].prefix > b_last[-1].prefix;
            *out++ = *pick(a, b, take_b);
            a += !take_b;
            b += take_b;
            *--tail = *pick(b_last - 1, a_last - 1, take_a);
            a_last -= take_a;
            b_last -= !take_a;
        }
        /* Random keys use up both sides alike: go on until one is nearly gone. */
        steps = (size_t)(a_last - a < b_last - b ? a_last - a : b_last - b) / 2;
    }
    while (a < a_last && b < b_last) {
        bool take_b = b->prefix < a->prefix;
        *out++ = *pick(a, b, take_b);
        a += !take_b;
        b += take_b;
    }
    memcpy(out, a, (size_t)(a_last - a) * sizeof(*a));
    out += a_last - a;
    memcpy(out, b, (size_t)(b_last - b) * sizeof(*b));
    out += b_last - b;
    assert(out == tail);
}

struct merge_entry *merge_entries(struct merge_entry *entries, struct merge_entry *scratch,
                                  size_t *ends, size_t run_count)
{
    struct merge_entry *from = entries, *to = scratch;

    while (run_count > 1) {
        size_t kept = 0, start = 0;
        for (size_t i = 0; i + 1 < run_count; i += 2) {
            merge_two(from + start, ends[i] - start, from + ends[i], ends[i + 1] - ends[i],
                      to + start);
            start = ends[i + 1];
            ends[kept++] = start;
        }
        if (run_count % 2) {
            memcpy(to + start, from + start, (ends[run_count - 1] - start) * sizeof(*from));
            ends[kept++] = ends[run_count - 1];
        }
        run_count = kept;
        struct merge_entry *other = from;
        from = to;
        to = other;
    }
    return from;
}

/* Cutting a range of keys out of all tables. */

static uint64_t rows_left(const struct merge_plan *plan, uint32_t *largest)
{
    uint64_t rows = 0;

    *largest = 0;
    for (uint32_t i = 0; i < plan->table_count; i++) {
        uint32_t left = plan->last[i] - plan->first[i];
        rows += left;
        if (left > plan->last[*largest] - plan->first[*largest])
            *largest = i;
    }
    return rows;
}

/* Ends the range before the key at `place` of table `pivot`. Returns the rows in it. */
static uint64_t cut_before(struct merge_plan *plan, uint32_t pivot, uint32_t place)
{
    const struct table *table = plan->tables[pivot];
    uint64_t rows = 0;
    size_t key_bytes;
    const uint8_t *key = table_key(table, table_row_at(table, place), &key_bytes);

    for (uint32_t i = 0; i < plan->table_count; i++) {
        plan->end[i] = table_lower_bound(plan->tables[i], key, key_bytes);
        assert(plan->end[i] >= plan->first[i]);
        rows += plan->end[i] - plan->first[i];
    }
    return rows;
}

static uint64_t cut_all(struct merge_plan *plan)
{
    uint64_t rows = 0;

    for (uint32_t i = 0; i < plan->table_count; i++) {
        plan->end[i] = plan->last[i];
        rows += plan->end[i] - plan->first[i];
    }
    return rows;
}

/* The table with most rows left says where the range ends, as if the others were spread alike;
 * where they are not, the range shrinks or grows by halves until it fits. All versions of a key
 * fall into one range, so that a key with very many versions makes a large one. */
static uint64_t cut_range(struct merge_plan *plan)
{
    uint32_t pivot;
    uint64_t left = rows_left(plan, &pivot);
    uint64_t of_pivot = plan->last[pivot] - plan->first[pivot];
    uint64_t step;

    if (left <= MERGE_PLAN_BATCH_ROWS * 3 / 2)
        return cut_all(plan);
    step = of_pivot * MERGE_PLAN_BATCH_ROWS / left;
    step = step ? step : 1;
    while (step < of_pivot) {
        uint64_t rows = cut_before(plan, pivot, plan->first[pivot] + (uint32_t)step);
        if (rows == 0) {
            step *= 2; /* one key fills the step */
            continue;
        }
        if (rows <= MERGE_PLAN_BATCH_ROWS * 4 || step == 1)
            return rows;
        step /= 2;
        /* Halving must not lead back to an empty range: then the large one is what there is. */
        if (cut_before(plan, pivot, plan->first[pivot] + (uint32_t)step) == 0)
            return cut_before(plan, pivot, plan->first[pivot] + (uint32_t)step * 2);
    }
    return cut_all(plan);
}

static size_t shared_bytes(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t shared = 0;

    while (shared < a_bytes && shared < b_bytes && a[shared] == b[shared])
        shared++;
    return shared;
}

/* Bytes that all keys of the range share: what the outermost keys of all tables share. */
static size_t range_prefix_bytes(const struct merge_plan *plan)
{
    const uint8_t *any = NULL;
    size_t any_bytes = 0, shared = 0;

    for (uint32_t i = 0; i < plan->table_count; i++) {
        const struct table *table = plan->tables[i];
        const uint32_t places[2] = {plan->first[i], plan->end[i] - 1};
        for (int j = 0; j < 2 && plan->first[i] < plan->end[i]; j++) {
            size_t key_bytes, common;
            const uint8_t *key = table_key(table, table_row_at(table, places[j]), &key_bytes);
            if (!any) {
                any = key;
                any_bytes = shared = key_bytes;
            }
            common = shared_bytes(any, any_bytes, key, key_bytes);
            shared = common < shared ? common : shared;
        }
    }
    return shared;
}

/* A chunk's keys lie in order of arrival, so that key order jumps over all of them: the end offset
 * of a key and then the key itself are asked for ahead of time. */
static inline void prefetch_key(const struct table *table, uint32_t place)
{
    uint32_t ahead = place + PREFETCH_PLACES;

    if (!table->permutation || ahead + PREFETCH_PLACES >= table->row_count)
        return;
    __builtin_prefetch(&table->key_offsets[table->permutation[ahead + PREFETCH_PLACES]]);
    __builtin_prefetch(table->keys + table->key_offsets[table->permutation[ahead]]);
}

/* Surviving rows of the range, one sorted piece a table. Returns how many. */
static size_t load(struct merge_plan *plan, size_t prefix_bytes)
{
    size_t count = 0;

    for (uint32_t i = 0; i < plan->table_count; i++) {
        const struct table *table = plan->tables[i];
        for (uint32_t place = plan->first[i]; place < plan->end[i]; place++) {
            uint32_t row = table->permutation ? table->permutation[place] : place;
            uint32_t start = table->key_offsets[row];
            prefetch_key(table, place);
            if (plan->survives && !plan->survives(plan->context, i, row))
                continue;
            plan->entries[count++] = (struct merge_entry){
                table_key_prefix(table->keys + start, table->key_offsets[row + 1] - start,
                                 prefix_bytes),
                i, row};
        }
        plan->ends[i] = count;
        plan->first[i] = plan->end[i];
    }
    return count;
}

/* Equal prefixes. */

static int compare_keys(const struct merge_plan *plan, const struct merge_entry *a,
                        const struct merge_entry *b)
{
    size_t a_bytes, b_bytes;
    const uint8_t *a_key = table_key(plan->tables[a->table], a->row, &a_bytes);
    const uint8_t *b_key = table_key(plan->tables[b->table], b->row, &b_bytes);

    return bytes_compare(a_key, a_bytes, b_key, b_bytes);
}

/* Key order; of one key the newest first: the larger offset, then the later table and row. */
static int compare_entries(const void *left, const void *right, void *context)
{
    const struct merge_plan *plan = context;
    const struct merge_entry *a = left, *b = right;
    int order = compare_keys(plan, a, b);
    int64_t a_offset = plan->tables[a->table]->offsets[a->row];
    int64_t b_offset = plan->tables[b->table]->offsets[b->row];

    if (order)
        return order;
    if (a_offset != b_offset)
        return a_offset > b_offset ? -1 : 1;
    if (a->table != b->table)
        return a->table > b->table ? -1 : 1;
    return a->row > b->row ? -1 : a->row < b->row;
}

static void sort_equal(struct merge_plan *plan, struct merge_entry *entries, size_t count)
{
    if (count > INSERTION_ROWS) {
        qsort_r(entries, count, sizeof(*entries), compare_entries, plan);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct merge_entry entry = entries[i];
        size_t place = i;
        for (; place > 0 && compare_entries(&entry, &entries[place - 1], plan) < 0; place--)
            entries[place] = entries[place - 1];
        entries[place] = entry;
    }
}

/* Sorts entries of equal prefixes by their keys and keeps the first of each key. */
static size_t settle(struct merge_plan *plan, struct merge_entry *entries, size_t count)
{
    size_t kept = 0;

    for (size_t first = 0, end; first < count; first = end) {
        size_t group = kept;
        for (end = first + 1; end < count && entries[end].prefix == entries[first].prefix;)
            end++;
        if (end - first > 1)
            sort_equal(plan, entries + first, end - first);
        for (size_t i = first; i < end; i++) {
            if (kept == group || compare_keys(plan, &entries[kept - 1], &entries[i]) != 0)
                entries[kept++] = entries[i];
        }
    }
    return kept;
}

const struct merge_entry *merge_plan_next(struct merge_plan *plan, size_t *count)
{
    struct merge_entry *merged;
    uint64_t rows = plan->table_count > 0 ? cut_range(plan) : 0;

    *count = 0;
    if (rows == 0)
        return NULL;
    if (rows > plan->capacity) {
        free(plan->entries);
        free(plan->scratch);
        plan->entries = memory_new((size_t)rows, sizeof(*plan->entries));
        plan->scratch = memory_new((size_t)rows, sizeof(*plan->scratch));
        plan->capacity = (size_t)rows;
    }
    *count = load(plan, range_prefix_bytes(plan));
    merged = merge_entries(plan->entries, plan->scratch, plan->ends, plan->table_count);
    *count = settle(plan, merged, *count);
    return merged;
}
