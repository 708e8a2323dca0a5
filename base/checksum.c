#include "base/checksum.h"

/* The library's plain function uses SSE2 on x86-64, whatever the processor has; with AVX2 or
 * AVX-512 the same sum takes half the time and less. */
#ifdef WINDROW_XXHASH_DISPATCH
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>

#define SUM XXH3_64bits_withSeed_dispatch

/* The first sum of more than 240 bytes chooses, without a lock: here no other thread runs yet. */
__attribute__((constructor)) static void choose(void)
{
    static const uint8_t bytes[256];

    (void)SUM(bytes, sizeof(bytes), 0);
}
#else
#define SUM XXH3_64bits_withSeed
#endif

uint64_t checksum_block(const void *bytes, size_t size_bytes, uint64_t file_number, uint64_t column,
                        uint64_t block)
{
    uint64_t identity[3] = {file_number, column, block};

    return SUM(bytes, size_bytes, XXH3_64bits(identity, sizeof(identity)));
}
