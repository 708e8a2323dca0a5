/* A growable byte string for building messages, files and replies. Out of memory aborts. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/** A zeroed struct is an empty buffer. */
void buffer_destroy(struct buffer *buffer);

/** Makes room for `extra_bytes` more and returns where they go; size does not change. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t extra_bytes);
/** The same for those that can go on without: false and nothing changed when there is no memory. */
bool buffer_try_reserve(struct buffer *buffer, size_t extra_bytes);
void buffer_append(struct buffer *buffer, const void *bytes, size_t size_bytes);
void buffer_append_byte(struct buffer *buffer, uint8_t byte);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** In decimal, with a sign where it is negative. */
void buffer_append_integer(struct buffer *buffer, int64_t number);
/** In decimal, with zeros in front up to `digits_min` (20 at most). */
void buffer_append_unsigned(struct buffer *buffer, uint64_t number, unsigned digits_min);

/** Terminates with a zero byte that does not count, and returns the text. */
const char *buffer_text(struct buffer *buffer);

#endif
