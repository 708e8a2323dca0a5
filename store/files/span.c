#include "store/files/span.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct span *span_new(const struct span *from)
{
    struct span *span = memory_new(1, sizeof(*span));

    *span = *from;
    span->parts = memory_new(from->part_count, sizeof(*span->parts));
    memcpy(span->parts, from->parts, from->part_count * sizeof(*span->parts));
    return span;
}

void span_destroy(struct span *span)
{
    free(span->parts);
    span->parts = NULL;
}

void span_delete(struct span *span)
{
    if (span)
        span_destroy(span);
    free(span);
}

/* Where the windows of a part end may not overflow. */
static bool follows(const struct span *span, uint32_t part)
{
    int64_t end_ms;

    if (__builtin_add_overflow(span->parts[part].window_start_ms, span->window_length_ms, &end_ms))
        return false;
    return part + 1 == span->part_count || span->parts[part + 1].window_start_ms >= end_ms;
}

int span_check(struct span *span, struct error *error)
{
    uint64_t rows = 0;

    if (span->tier < 1 || span->tier > STORE_SPAN_TIERS || span->window_length_ms <= 0)
        return error_set(error, ERROR_INVALID, "span: tier %u over windows of %lld ms", span->tier,
                         (long long)span->window_length_ms);
    if (span->part_count < 1 || span->part_count > STORE_SPAN_PARTS_MAX)
        return error_set(error, ERROR_INVALID, "span: %u parts", span->part_count);
    for (uint32_t i = 0; i < span->part_count; i++) {
        struct store_span_part *part = &span->parts[i];
        if (part->file_number == 0 || part->row_count == 0 || !follows(span, i))
            return error_set(error, ERROR_INVALID, "span: part %u is out of order or empty", i);
        part->first_row = (uint32_t)rows;
        rows += part->row_count;
        if (rows > INT32_MAX)
            return error_set(error, ERROR_INVALID, "span: too many rows");
    }
    span->row_count = (uint32_t)rows;
    return 0;
}

bool span_overlaps(const struct span *a, const struct span *b)
{
    const struct store_span_part *a_last = &a->parts[a->part_count - 1];
    const struct store_span_part *b_last = &b->parts[b->part_count - 1];

    return a->parts[0].window_start_ms < b_last->window_start_ms + b->window_length_ms &&
           b->parts[0].window_start_ms < a_last->window_start_ms + a->window_length_ms;
}

bool span_covers(const struct span *span, uint64_t file_number)
{
    for (uint32_t i = 0; i < span->part_count; i++)
        if (span->parts[i].file_number == file_number)
            return true;
    return false;
}

void span_put_parts(struct buffer *out, const struct span *span)
{
    wire_put_u8(out, span->tier);
    wire_put_i64(out, span->window_length_ms);
    wire_put_u32(out, span->part_count);
    for (uint32_t i = 0; i < span->part_count; i++) {
        wire_put_i64(out, span->parts[i].window_start_ms);
        wire_put_u64(out, span->parts[i].file_number);
        wire_put_u32(out, span->parts[i].row_count);
    }
}

bool span_read_parts(struct wire_reader *in, struct span *span)
{
    span->tier = wire_read_u8(in);
    span->window_length_ms = wire_read_i64(in);
    span->part_count = wire_read_u32(in);
    span->parts = NULL;
    if (in->failed || span->part_count > STORE_SPAN_PARTS_MAX)
        return false;
    span->parts = memory_new(span->part_count, sizeof(*span->parts));
    for (uint32_t i = 0; i < span->part_count; i++) {
        span->parts[i].window_start_ms = wire_read_i64(in);
        span->parts[i].file_number = wire_read_u64(in);
        span->parts[i].row_count = wire_read_u32(in);
    }
    if (!in->failed && span_check(span, ERROR_IGNORED) == 0)
        return true;
    span_destroy(span);
    return false;
}
