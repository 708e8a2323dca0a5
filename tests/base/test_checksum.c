#include "base/checksum.h"

#include <stdlib.h>

#include "tests/support/test_main.h"

/* Files that were written on one processor are read on another. */
START_TEST(the_checksum_is_xxh3_seeded_with_the_identity_whatever_the_processor_has)
{
    enum { LENGTHS = 3000 };
    uint8_t *bytes = malloc(LENGTHS);
    uint64_t identity[3] = {7, 1, UINT64_MAX};
    uint64_t seed = XXH3_64bits(identity, sizeof(identity));

    for (size_t i = 0; i < LENGTHS; i++)
        bytes[i] = (uint8_t)(i * i % 251);
    for (size_t length = 0; length < LENGTHS; length++)
        ck_assert_uint_eq(checksum_block(bytes, length, 7, 1, UINT64_MAX),
                          XXH3_64bits_withSeed(bytes, length, seed));
    free(bytes);
}
END_TEST

TEST_TABLE(TEST(the_checksum_is_xxh3_seeded_with_the_identity_whatever_the_processor_has))
