#include "store/files/bloom.h"

#include <string.h>

enum { WORDS = BLOOM_BLOCK_BYTES / 8, PLACE_BITS = 9 };

uint32_t bloom_block_count(uint32_t key_count, uint32_t bits_per_key)
{
    uint64_t bits = (uint64_t)key_count * bits_per_key;

    return (uint32_t)((bits + BLOOM_BLOCK_BYTES * 8 - 1) / (BLOOM_BLOCK_BYTES * 8));
}

/* Six places of nine bits out of one product. The block was chosen by the upper half of the hash,
 * so the places must not depend on that half alone: the multiplication carries the lower half up.
 */
static inline uint64_t places(uint64_t hash)
{
    uint64_t mixed = (hash ^ (hash >> 29)) * UINT64_C(0x9fb21c651e98df25);

    return mixed >> (64 - BLOOM_PROBES * PLACE_BITS);
}

void bloom_add(uint8_t *bloom, uint32_t block_count, uint64_t hash)
{
    uint8_t *block = bloom + (uint64_t)bloom_block(block_count, hash) * BLOOM_BLOCK_BYTES;
    uint64_t rest = places(hash);

    for (int i = 0; i < BLOOM_PROBES; i++, rest >>= PLACE_BITS) {
        uint32_t place = (uint32_t)rest & 511;
        block[place >> 3] = (uint8_t)(block[place >> 3] | 1U << (place & 7));
    }
}

bool bloom_may_contain(const uint8_t *bloom, uint32_t block_count, uint64_t hash)
{
    uint64_t words[WORDS];
    uint64_t rest = places(hash);
    uint64_t all = 1;

    if (block_count == 0)
        return false;
    memcpy(words, bloom + (uint64_t)bloom_block(block_count, hash) * BLOOM_BLOCK_BYTES,
           sizeof(words));
    /* No early exit: five correct guesses of six are worth less than one wrong branch. */
    for (int i = 0; i < BLOOM_PROBES; i++, rest >>= PLACE_BITS) {
        uint32_t place = (uint32_t)rest & 511;
        all &= words[place >> 6] >> (place & 63);
    }
    return all & 1;
}
