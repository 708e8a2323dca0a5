/* XXH3 (64 bits) over data and identity: a block that was written for another file or place fails.
 */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

/** Checksum of `size_bytes` bytes seeded with who they are: file number, column or kind, block. */
uint64_t checksum_block(const void *bytes, size_t size_bytes, uint64_t file_number, uint64_t column,
                        uint64_t block);

#endif
