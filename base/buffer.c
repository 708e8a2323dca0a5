#include "base/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_destroy(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

bool buffer_try_reserve(struct buffer *buffer, size_t extra_bytes)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    uint8_t *data;
    size_t need;

    if (__builtin_add_overflow(buffer->size, extra_bytes, &need))
        return false;
    if (need <= buffer->capacity)
        return true;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    data = realloc(buffer->data, capacity);
    if (!data)
        return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t extra_bytes)
{
    if (!buffer_try_reserve(buffer, extra_bytes))
        abort();
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size_bytes)
{
    if (size_bytes == 0)
        return;
    memcpy(buffer_reserve(buffer, size_bytes), bytes, size_bytes);
    buffer->size += size_bytes;
}

void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    *buffer_reserve(buffer, 1) = byte;
    buffer->size++;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    buffer_reserve(buffer, (size_t)length + 1);
    va_start(arguments, format);
    (void)vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)length;
}

/* Replies are full of them, and printf takes some ten times as long. */
void buffer_append_unsigned(struct buffer *buffer, uint64_t number, unsigned digits_min)
{
    enum { DIGITS_MAX = 20 };
    uint8_t digits[DIGITS_MAX];
    unsigned first = DIGITS_MAX;

    assert(digits_min <= DIGITS_MAX);
    do {
        digits[--first] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0 || DIGITS_MAX - first < digits_min);
    buffer_append(buffer, digits + first, DIGITS_MAX - first);
}

void buffer_append_integer(struct buffer *buffer, int64_t number)
{
    if (number < 0)
        buffer_append_byte(buffer, '-');
    buffer_append_unsigned(buffer, number < 0 ? -(uint64_t)number : (uint64_t)number, 1);
}

const char *buffer_text(struct buffer *buffer)
{
    *buffer_reserve(buffer, 1) = '\0';
    return (const char *)buffer->data;
}
