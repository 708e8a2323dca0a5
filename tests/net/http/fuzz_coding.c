/* Any bytes as a coded body. The first byte chooses the coding and the size of the pieces. Nothing may
 * crash, the decoder's memory is bounded, and what comes out in pieces is what comes out at once. */
#include <stdlib.h>
#include <string.h>

#include "net/http/coding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 1 << 20, DECODER_MAX_BYTES = 9 << 20 };

static bool gather(void *context, const void *bytes, size_t size)
{
    struct buffer *out = context;

    if (size > LIMIT - out->size)
        return false;
    buffer_append(out, bytes, size);
    return true;
}

static int decode(enum http_coding coding, const uint8_t *data, size_t size, size_t step,
                  struct buffer *out)
{
    struct http_decoder *decoder = http_decoder_new(coding);
    int code = 0;

    for (size_t at = 0; code == 0 && at < size; at += step)
        code = http_decoder_feed(decoder, data + at, size - at < step ? size - at : step, gather,
                                 out, ERROR_IGNORED);
    if (code == 0)
        code = http_decoder_end(decoder, ERROR_IGNORED);
    if (http_decoder_bytes(decoder) > DECODER_MAX_BYTES)
        abort();
    http_decoder_delete(decoder);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer pieces = {0}, whole = {0};
    enum http_coding coding;
    bool both;

    if (size < 2)
        return 0;
    coding = data[0] & 1 ? HTTP_CODING_ZSTD : HTTP_CODING_GZIP;
    /* One may be refused and the other not: libzstd compares the announced size with an empty frame's
     * only when it sees the frame as a whole, and of a fault just behind the limit either is met first. */
    both = decode(coding, data + 1, size - 1, 1 + data[0] / 2, &pieces) == 0;
    both = decode(coding, data + 1, size - 1, size, &whole) == 0 && both;
    if (both && (pieces.size != whole.size ||
                 (pieces.size > 0 && memcmp(pieces.data, whole.data, pieces.size) != 0)))
        abort();
    buffer_destroy(&pieces);
    buffer_destroy(&whole);
    return 0;
}
