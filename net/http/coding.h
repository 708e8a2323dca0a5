/* Content codings of bodies (RFC 9110, 8.4): gzip (RFC 1952) and zstd (RFC 8878). Nothing here
 * knows connections; a decoder reads hostile bytes. */
#ifndef NET_HTTP_CODING_H
#define NET_HTTP_CODING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/stop.h"

enum http_coding { HTTP_CODING_NONE, HTTP_CODING_GZIP, HTTP_CODING_ZSTD };

/* What Accept-Encoding says of ourselves. */
#define HTTP_CODINGS "gzip, zstd"

/** The coding that a Content-Encoding header names (NULL: none). False: not understood here. */
bool http_coding_parse(const char *header, enum http_coding *coding);
/** "gzip"; NULL for none. */
const char *http_coding_name(enum http_coding coding);
/** The coding that an Accept-Encoding header (NULL: none) likes best; zstd among equals. */
enum http_coding http_coding_choose(const char *header);

struct http_decoder;

/** Takes decoded bytes. False: it wants no more. */
typedef bool (*http_decoder_sink)(void *context, const void *bytes, size_t size);

/** `coding` is not HTTP_CODING_NONE. */
struct http_decoder *http_decoder_new(enum http_coding coding);
/** NULL is allowed. */
void http_decoder_delete(struct http_decoder *decoder);
/** Decodes the next piece of a stream and hands on what comes out, at most 32 KiB at a time.
 * ERROR_CORRUPT with what is wrong; ERROR_UNSUPPORTED: the first bytes are of no such coding at all.
 * ERROR_CANCELLED when the sink wants no more. */
int http_decoder_feed(struct http_decoder *decoder, const void *bytes, size_t size,
                      http_decoder_sink sink, void *context, struct error *error);
/** Whether the stream may end here. A stream without bytes may. ERROR_CORRUPT: it is torn. */
int http_decoder_end(const struct http_decoder *decoder, struct error *error);
/** Memory that the decoder holds. At most a little more than 8 MiB, the largest window of zstd. */
size_t http_decoder_bytes(const struct http_decoder *decoder);

/** Replaces what `body` holds by its coded form. False and nothing changed: it would not become
 * smaller, or the work has to stop. */
bool http_encode(enum http_coding coding, struct buffer *body, struct stop *stop);

#endif
