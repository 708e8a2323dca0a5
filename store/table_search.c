/* Finding keys: bloom filter, then the sparse index, then a binary search of at most a few dozen
 * places. */
#include <assert.h>
#include <string.h>

#include "store/bloom.h"
#include "store/table_internal.h"

uint64_t table_key_hash(const uint8_t *key, size_t key_bytes)
{
    return XXH3_64bits(key, key_bytes);
}

int table_key_compare(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

    if (order)
        return order;
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

uint64_t table_key_prefix(const uint8_t *key, size_t key_bytes, size_t prefix_bytes)
{
    uint8_t bytes[8] = {0};
    uint64_t value;

    if (key_bytes >= prefix_bytes + 8) {
        memcpy(&value, key + prefix_bytes, sizeof(value));
        return __builtin_bswap64(value);
    }
    if (key_bytes > prefix_bytes) {
        size_t left = key_bytes - prefix_bytes;
        memcpy(bytes, key + prefix_bytes, left < 8 ? left : 8);
    }
    memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap64(value);
}

/* First sparse entry that is >= (or, with `past`, >) the prefix. Without branches on the data. */
static uint32_t sparse_bound(const struct table *table, uint64_t prefix, bool past)
{
    uint32_t first = 0;
    uint32_t count = table->sparse_count;

    while (count > 0) {
        uint32_t half = count / 2;
        uint64_t value = table->sparse[first + half];
        bool right = past ? value <= prefix : value < prefix;
        first = right ? first + half + 1 : first;
        count = right ? count - half - 1 : half;
    }
    return first;
}

/* Places [*first, *end) hold the lower bound of the key, or it is *end. */
static void narrow(const struct table *table, const uint8_t *key, size_t key_bytes, uint32_t *first,
                   uint32_t *end)
{
    uint32_t prefix_bytes = table->footer->prefix_bytes;
    size_t head_bytes = key_bytes < prefix_bytes ? key_bytes : prefix_bytes;
    size_t any_bytes;
    const uint8_t *any = table_key(table, 0, &any_bytes);
    int order = memcmp(key, any, head_bytes);
    uint32_t below, above;

    if (order == 0 && key_bytes < prefix_bytes)
        order = -1;
    if (order) {
        *first = *end = order < 0 ? 0 : table->row_count;
        return;
    }
    /* Keys of equal sparse prefixes may differ behind them: all of those places are searched. */
    below = sparse_bound(table, table_key_prefix(key, key_bytes, prefix_bytes), false);
    above = sparse_bound(table, table_key_prefix(key, key_bytes, prefix_bytes), true);
    *first = below == 0 ? 0 : (below - 1) * TABLE_SPARSE_STEP;
    *end = above >= table->sparse_count ? table->row_count : above * TABLE_SPARSE_STEP;
}

uint32_t table_lower_bound(const struct table *table, const uint8_t *key, size_t key_bytes)
{
    uint32_t first, end;

    if (table->row_count == 0)
        return 0;
    narrow(table, key, key_bytes, &first, &end);
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        size_t other_bytes;
        const uint8_t *other = table_key(table, table_row_at(table, middle), &other_bytes);
        if (table_key_compare(other, other_bytes, key, key_bytes) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

void table_prefetch(const struct table *table, uint64_t key_hash)
{
    if (table->bloom_block_count > 0)
        bloom_prefetch(table->bloom, table->bloom_block_count, key_hash);
}

bool table_may_contain(const struct table *table, uint64_t key_hash)
{
    return bloom_may_contain(table->bloom, table->bloom_block_count, key_hash);
}

bool table_find(const struct table *table, const uint8_t *key, size_t key_bytes, uint64_t key_hash,
                uint32_t *row)
{
    const uint8_t *other;
    size_t other_bytes;
    uint32_t place, found;

    if (!table_may_contain(table, key_hash))
        return false;
    place = table_lower_bound(table, key, key_bytes);
    if (place == table->row_count)
        return false;
    found = table_row_at(table, place);
    other = table_key(table, found, &other_bytes);
    if (other_bytes != key_bytes || memcmp(other, key, key_bytes) != 0)
        return false;
    *row = found;
    return true;
}
