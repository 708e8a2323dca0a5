#include "net/http/coding.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#define ZLIB_CONST /* zlib reads through pointers to const */
#include <zlib.h>
#include <zstd.h>

#include "base/memory.h"

enum {
    PIECE_BYTES = 32 * 1024,
    GZIP_WINDOW_BITS = 15,
    GZIP_FORMAT = 16,               /* added to the window bits: gzip's header instead of zlib's */
    GZIP_DECODER_BYTES = 48 * 1024, /* zconf.h: 32 KiB of window and about 7 KiB */
    GZIP_MEMORY_LEVEL = 8,          /* zlib's default */
    ZSTD_WINDOW_BITS = 23,          /* 8 MiB: what RFC 8878 (3.1.1.1.2) asks decoders to have */
    /* The fastest levels. Measured with points as JSON text on one busy core: zstd makes 36 % of 1 MB
     * with vectors in 6 ms and 15 % of 1 MB without in 3 ms, gzip 43 % in 16 ms and 20 % in 8 ms. */
    LEVEL = 1,
    ENCODE_STEP_BYTES = 1024 * 1024 /* between two looks at the stop */
};

bool http_coding_parse(const char *header, enum http_coding *coding)
{
    *coding = HTTP_CODING_NONE;
    if (!header || !*header || strcasecmp(header, "identity") == 0)
        return true;
    if (strcasecmp(header, "zstd") == 0)
        *coding = HTTP_CODING_ZSTD;
    else if (strcasecmp(header, "gzip") == 0 || strcasecmp(header, "x-gzip") == 0)
        *coding = HTTP_CODING_GZIP;
    return *coding != HTTP_CODING_NONE;
}

const char *http_coding_name(enum http_coding coding)
{
    return coding == HTTP_CODING_ZSTD ? "zstd" : coding == HTTP_CODING_GZIP ? "gzip" : NULL;
}

/* "name ; q=0.5" up to a comma: the name's length and the weight, 0 to 1. What is no weight counts
 * as 0: a client that cannot be understood gets the plain body. */
static double weight_of(const char *item, size_t length, size_t *name_length)
{
    const char *semicolon = memchr(item, ';', length);
    const char *at = semicolon ? semicolon + 1 : NULL;
    char *end;
    double weight;

    *name_length = strcspn(item, ",; \t");
    if (!at)
        return 1;
    at += strspn(at, " \t");
    if (strncasecmp(at, "q=", 2) != 0 || at[2] < '0' || at[2] > '1')
        return 0;
    weight = strtod(at + 2, &end);
    return weight >= 0 && weight <= 1 ? weight : 0;
}

enum http_coding http_coding_choose(const char *header)
{
    /* Those that are not named get the star's weight; a plain body is always possible. */
    double zstd = -1, gzip = -1, plain = -1, others = 0;

    for (const char *at = header; at && *at;) {
        const char *item = at + strspn(at, " \t");
        size_t length = strcspn(item, ",");
        size_t name_length;
        double weight = weight_of(item, length, &name_length);
        if (name_length == 4 && strncasecmp(item, "zstd", 4) == 0)
            zstd = weight;
        else if (name_length == 4 && strncasecmp(item, "gzip", 4) == 0)
            gzip = weight;
        else if (name_length == 8 && strncasecmp(item, "identity", 8) == 0)
            plain = weight;
        else if (name_length == 1 && *item == '*')
            others = weight;
        at = item + length + (item[length] == ',');
    }
    zstd = zstd < 0 ? others : zstd;
    gzip = gzip < 0 ? others : gzip;
    if (zstd > 0 && zstd >= gzip && zstd >= plain)
        return HTTP_CODING_ZSTD;
    return gzip > 0 && gzip >= plain ? HTTP_CODING_GZIP : HTTP_CODING_NONE;
}

/* Decoding. */

struct http_decoder {
    enum http_coding coding;
    z_stream gzip;
    ZSTD_DCtx *zstd;
    bool
        begun; /* inside a gzip member or a zstd frame; a stream is any number of them (RFC 1952, 2.2;
                   RFC 8878, 3) */
    bool failed;
    uint8_t head[4]; /* the stream's first bytes */
    size_t head_bytes;
};

struct http_decoder *http_decoder_new(enum http_coding coding)
{
    struct http_decoder *decoder = memory_new(1, sizeof(*decoder));

    decoder->coding = coding;
    if (coding == HTTP_CODING_ZSTD) {
        decoder->zstd = memory_checked(ZSTD_createDCtx());
        (void)ZSTD_DCtx_setParameter(decoder->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_BITS);
    } else if (inflateInit2(&decoder->gzip, GZIP_WINDOW_BITS + GZIP_FORMAT) != Z_OK) {
        abort(); /* no memory: the version is the one that this was built with */
    }
    return decoder;
}

void http_decoder_delete(struct http_decoder *decoder)
{
    if (!decoder)
        return;
    if (decoder->coding == HTTP_CODING_ZSTD)
        (void)ZSTD_freeDCtx(decoder->zstd);
    else
        (void)inflateEnd(&decoder->gzip);
    free(decoder);
}

size_t http_decoder_bytes(const struct http_decoder *decoder)
{
    return decoder->coding == HTTP_CODING_ZSTD ? ZSTD_sizeof_DCtx(decoder->zstd)
                                               : GZIP_DECODER_BYTES;
}

/* A body whose first bytes are of no such stream is of another coding, whatever its header says. */
static bool begins_as_coded(const struct http_decoder *decoder)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    const bool is_gzip = decoder->coding == HTTP_CODING_GZIP;
    const size_t size = is_gzip ? sizeof(gzip) : sizeof(zstd);

    return memcmp(decoder->head, is_gzip ? gzip : zstd,
                  decoder->head_bytes < size ? decoder->head_bytes : size) == 0;
}

static int broken(struct http_decoder *decoder, const char *what, struct error *error)
{
    decoder->failed = true;
    return error_set(error, begins_as_coded(decoder) ? ERROR_CORRUPT : ERROR_UNSUPPORTED,
                     "the body is not valid %s: %s", http_coding_name(decoder->coding), what);
}

/* One step: how many bytes came out and went in; *more tells whether there may be output without
 * input. */
static int step_zstd(struct http_decoder *decoder, ZSTD_inBuffer *in, ZSTD_outBuffer *out,
                     bool *more, struct error *error)
{
    size_t left = ZSTD_decompressStream(decoder->zstd, out, in);

    if (ZSTD_isError(left))
        return broken(decoder, ZSTD_getErrorName(left), error);
    decoder->begun = left != 0;
    *more = out->pos == out->size && left != 0;
    return 0;
}

static int step_gzip(struct http_decoder *decoder, ZSTD_inBuffer *in, ZSTD_outBuffer *out,
                     bool *more, struct error *error)
{
    z_stream *gzip = &decoder->gzip;
    size_t size = in->size - in->pos;
    int code;

    gzip->next_in = (const Bytef *)in->src + in->pos;
    gzip->avail_in = (uInt)size;
    gzip->next_out = out->dst;
    gzip->avail_out = (uInt)out->size;
    decoder->begun = decoder->begun || size > 0;
    code = inflate(gzip, Z_NO_FLUSH);
    in->pos += size - gzip->avail_in;
    out->pos = out->size - gzip->avail_out;
    *more = gzip->avail_out == 0 && code == Z_OK;
    if (code == Z_STREAM_END) {
        decoder->begun = false;
        code = inflateReset(gzip);
    }
    if (code == Z_MEM_ERROR)
        abort();
    /* Z_BUF_ERROR: it needs more input. */
    if (code != Z_OK && code != Z_BUF_ERROR)
        return broken(decoder, gzip->msg ? gzip->msg : "it needs a dictionary", error);
    return 0;
}

int http_decoder_feed(struct http_decoder *decoder, const void *bytes, size_t size,
                      http_decoder_sink sink, void *context, struct error *error)
{
    uint8_t piece[PIECE_BYTES];
    ZSTD_inBuffer in = {bytes, size, 0};
    bool more = false;

    if (decoder->failed)
        return error_set(error, ERROR_CORRUPT, "the body was broken before");
    for (size_t i = 0; i < size && decoder->head_bytes < sizeof(decoder->head); i++)
        decoder->head[decoder->head_bytes++] = ((const uint8_t *)bytes)[i];
    while (in.pos < in.size || more) {
        ZSTD_outBuffer out = {piece, sizeof(piece), 0};
        int code = decoder->coding == HTTP_CODING_ZSTD
                       ? step_zstd(decoder, &in, &out, &more, error)
                       : step_gzip(decoder, &in, &out, &more, error);
        if (code != 0)
            return code;
        if (out.pos > 0 && !sink(context, piece, out.pos))
            return error_set(error, ERROR_CANCELLED, "nobody wants more");
    }
    return 0;
}

int http_decoder_end(const struct http_decoder *decoder, struct error *error)
{
    if (decoder->begun)
        return error_set(error, ERROR_CORRUPT, "the body is not valid %s: it ends too early",
                         http_coding_name(decoder->coding));
    return 0;
}

/* Encoding. */

/* Coded bytes go to `out`, which never grows beyond the plain size. */
struct encoding {
    const struct buffer *in;
    struct buffer out;
    struct stop *stop;
};

static bool encoding_goes_on(struct encoding *encoding)
{
    size_t left = encoding->in->size - encoding->out.size;

    if (left == 0 || stop_check(encoding->stop, ERROR_IGNORED) != 0)
        return false;
    (void)buffer_reserve(&encoding->out, left < ENCODE_STEP_BYTES ? left : ENCODE_STEP_BYTES);
    return true;
}

static size_t room_of(const struct encoding *encoding)
{
    size_t room = encoding->out.capacity - encoding->out.size;
    size_t left = encoding->in->size - encoding->out.size;

    return room < left ? room : left;
}

static bool encode_zstd(struct encoding *encoding)
{
    ZSTD_CCtx *zstd = memory_checked(ZSTD_createCCtx());
    ZSTD_inBuffer in = {encoding->in->data, 0, 0};
    size_t left = 1;

    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setPledgedSrcSize(zstd, encoding->in->size);
    while (left != 0 && encoding_goes_on(encoding)) {
        ZSTD_outBuffer out = {encoding->out.data + encoding->out.size, room_of(encoding), 0};
        size_t rest = encoding->in->size - in.size;
        if (in.pos == in.size)
            in.size += rest < ENCODE_STEP_BYTES ? rest : ENCODE_STEP_BYTES;
        left = ZSTD_compressStream2(zstd, &out, &in,
                                    in.size == encoding->in->size ? ZSTD_e_end : ZSTD_e_continue);
        encoding->out.size += out.pos;
        if (ZSTD_isError(left))
            break;
        if (in.size < encoding->in->size || in.pos < in.size)
            left = 1;
    }
    (void)ZSTD_freeCCtx(zstd);
    return left == 0;
}

static bool encode_gzip(struct encoding *encoding)
{
    z_stream gzip = {.next_in = encoding->in->data};
    size_t fed = 0;
    int code = Z_OK;

    if (deflateInit2(&gzip, LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS + GZIP_FORMAT, GZIP_MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    while (code != Z_STREAM_END && encoding_goes_on(encoding)) {
        size_t room = room_of(encoding);
        size_t rest = encoding->in->size - fed;
        if (gzip.avail_in == 0) {
            gzip.avail_in = (uInt)(rest < ENCODE_STEP_BYTES ? rest : ENCODE_STEP_BYTES);
            fed += gzip.avail_in;
        }
        gzip.next_out = encoding->out.data + encoding->out.size;
        gzip.avail_out = (uInt)(room < ENCODE_STEP_BYTES ? room : ENCODE_STEP_BYTES);
        code = deflate(&gzip, fed == encoding->in->size ? Z_FINISH : Z_NO_FLUSH);
        encoding->out.size = (size_t)(gzip.next_out - encoding->out.data);
        if (code != Z_OK && code != Z_BUF_ERROR && code != Z_STREAM_END)
            break;
    }
    (void)deflateEnd(&gzip);
    return code == Z_STREAM_END;
}

bool http_encode(enum http_coding coding, struct buffer *body, struct stop *stop)
{
    struct encoding encoding = {.in = body, .stop = stop};
    bool done = coding == HTTP_CODING_ZSTD ? encode_zstd(&encoding) : encode_gzip(&encoding);

    if (!done) {
        buffer_destroy(&encoding.out);
        return false;
    }
    buffer_destroy(body);
    *body = encoding.out;
    return true;
}
