/* Hostile packed blocks: two bytes of value count, then the block. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t drawn;
    size_t count;
    float *values;

    if (size < sizeof(drawn))
        return 0;
    memcpy(&drawn, data, sizeof(drawn));
    count = (size_t)drawn % 5000 + 1;
    values = malloc(count * sizeof(*values)); /* exact: a sanitizer sees the first float too many */
    assert(values);
    (void)codec_decode(data + sizeof(drawn), size - sizeof(drawn), values, count, ERROR_IGNORED);
    free(values);
    return 0;
}
