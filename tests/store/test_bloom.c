/* The bloom filter never loses a key and passes about one absent key in a hundred at 10 bits a key,
 * one in seven hundred at 16. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/bloom.h"
#include "store/files/key.h"
#include "store/files/table.h"
#include "tests/support/test_main.h"

enum { ABSENT_KEYS = 200000 };

static uint64_t hash_of(int style, uint64_t number)
{
    struct store_key key;
    char text[40];
    int length;

    if (style == 0) {
        store_key_from_u64(number, &key);
        return table_key_hash(key.bytes, key.size_bytes);
    }
    length = snprintf(text, sizeof(text), "document-%llu", (unsigned long long)number);
    return table_key_hash((const uint8_t *)text, (size_t)length);
}

static uint8_t *filter_of(int style, uint64_t first, uint32_t key_count, uint32_t bits_per_key)
{
    uint32_t block_count = bloom_block_count(key_count, bits_per_key);
    uint8_t *bloom = aligned_alloc(64, (size_t)block_count * BLOOM_BLOCK_BYTES);

    ck_assert_ptr_nonnull(bloom);
    memset(bloom, 0, (size_t)block_count * BLOOM_BLOCK_BYTES);
    for (uint32_t i = 0; i < key_count; i++)
        bloom_add(bloom, block_count, hash_of(style, first + i));
    return bloom;
}

START_TEST(added_keys_are_always_found)
{
    static const uint32_t counts[] = {1, 2, 51, 52, 1000, 100000};
    uint64_t seed = test_seed();

    for (int i = 0; i < 12; i++) {
        uint32_t count = counts[i / 2];
        uint8_t *bloom = filter_of(i % 2, seed, count, BLOOM_BITS_PER_KEY);
        for (uint32_t j = 0; j < count; j++)
            ck_assert(bloom_may_contain(bloom, bloom_block_count(count, BLOOM_BITS_PER_KEY),
                                        hash_of(i % 2, seed + j)));
        free(bloom);
    }
}
END_TEST

/* Of ABSENT_KEYS in each of eight filters fewer than `limit` may pass. */
static void check_absent_keys(uint32_t bits_per_key, uint32_t limit)
{
    static const uint32_t counts[] = {2000, 20000, 300000, 1000000};
    uint64_t seed = test_seed() >> 8;

    for (int i = 0; i < 8; i++) {
        uint32_t count = counts[i / 2];
        uint8_t *bloom = filter_of(i % 2, seed, count, bits_per_key);
        uint32_t passed = 0;
        for (uint32_t j = 0; j < ABSENT_KEYS; j++)
            passed += bloom_may_contain(bloom, bloom_block_count(count, bits_per_key),
                                        hash_of(i % 2, seed + count + j));
        printf("%u keys: %.3f %% of absent ones pass\n", count, 100.0 * passed / ABSENT_KEYS);
        ck_assert_uint_lt(passed, limit);
        free(bloom);
    }
}

START_TEST(fewer_than_12_in_1000_absent_keys_pass)
{
    /* Six standard deviations of such a sample are 0.13 %: 1.2 % is far from chance. */
    check_absent_keys(BLOOM_BITS_PER_KEY, ABSENT_KEYS / 1000 * 12);
}
END_TEST

START_TEST(fewer_than_2_in_1000_absent_keys_pass_filters_of_16_bits)
{
    check_absent_keys(16, ABSENT_KEYS / 1000 * 2);
}
END_TEST

START_TEST(no_keys_no_blocks_nothing_found)
{
    ck_assert_uint_eq(bloom_block_count(0, BLOOM_BITS_PER_KEY), 0);
    ck_assert(!bloom_may_contain(NULL, 0, 42));
    ck_assert_uint_eq(bloom_block_count(52, BLOOM_BITS_PER_KEY), 2);
    ck_assert_uint_eq(bloom_block_count(UINT32_MAX, BLOOM_BITS_PER_KEY), 83886080);
}
END_TEST

TEST_TABLE(TEST(added_keys_are_always_found), TEST(fewer_than_12_in_1000_absent_keys_pass),
           TEST(fewer_than_2_in_1000_absent_keys_pass_filters_of_16_bits),
           TEST(no_keys_no_blocks_nothing_found))
