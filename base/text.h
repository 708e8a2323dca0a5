/* Units and times as people write them. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/** "250ms", "5s", "10m", "1h", "7d", "1h30m" -> milliseconds. ERROR_INVALID on anything else, on
 * negatives and on overflow. */
int text_parse_duration_ms(const char *text, int64_t *duration_ms, struct error *error);

/** "64KiB", "128MiB", "1GiB", "2TiB", "1GB" (10^9), "512" (bytes) -> bytes. */
int text_parse_size_bytes(const char *text, uint64_t *size_bytes, struct error *error);

/** RFC 3339 ("2026-11-21T03:04:05.678Z", offsets, a space for T, a date alone) -> ms since the
 * epoch. */
int text_parse_time_ms(const char *text, size_t length, int64_t *time_ms, struct error *error);

enum { TEXT_TIME_BYTES = 32 };
/** Milliseconds since the epoch as "2026-11-21T03:04:05.678Z" into `out`; returns `out`. */
char *text_format_time(int64_t time_ms, char out[TEXT_TIME_BYTES]);

/** "1h30m", "250ms": the shortest exact form that text_parse_duration_ms reads back. */
char *text_format_duration(int64_t duration_ms, char out[TEXT_TIME_BYTES]);

/** "1.2 GiB" for people. */
char *text_format_size(uint64_t size_bytes, char out[TEXT_TIME_BYTES]);

/** Strict decimal u64, no sign, no spaces, no leading zeros but "0" itself. Returns 0 or
 * ERROR_INVALID. */
int text_parse_u64(const char *text, size_t length, uint64_t *value);

/** A UUID as 36 characters, 32 hex digits or urn:uuid:..., any case -> 16 bytes. */
int text_parse_uuid(const char *text, size_t length, uint8_t uuid[16]);

enum { TEXT_UUID_BYTES = 37 };
/** Lower-case 8-4-4-4-12 form with a terminating zero. */
char *text_format_uuid(const uint8_t uuid[16], char out[TEXT_UUID_BYTES]);

/** Bytes that base64 text (RFC 4648, with or without padding) stands for. */
size_t text_base64_bytes(const char *text, size_t length);
/** Writes them; `bytes` has room. ERROR_INVALID with `*bad`, the place of the first character that is
 * not base64. */
int text_parse_base64(const char *text, size_t length, uint8_t *bytes, size_t *bad);

/** Length of the valid UTF-8 prefix; equal to `length` when all of it is valid (RFC 3629: no
 * surrogates, no overlong forms). */
size_t text_utf8_valid(const char *text, size_t length);

#endif
