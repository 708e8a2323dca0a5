#include "base/trace.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static _Thread_local const struct trace_context *current;

enum { VERSION_CHARS = 2, FLAGS_AT = 53, TEXT_CHARS = 55 };

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; /* capitals are not allowed */
}

/* False when a byte is no two digits; *any tells whether one is not zero. */
static bool parse_hex(const char *text, uint8_t *bytes, size_t count, bool *any)
{
    *any = false;
    for (size_t i = 0; i < count; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
        *any |= bytes[i] != 0;
    }
    return true;
}

static void format_hex(const uint8_t *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

bool trace_parse(const char *text, struct trace_context *context)
{
    size_t length = strnlen(text, TEXT_CHARS + 1);
    uint8_t version, flags;
    bool any, has_trace, has_span;

    *context = (struct trace_context){.sampled = false};
    if (length < TEXT_CHARS || text[2] != '-' || text[35] != '-' || text[52] != '-' ||
        !parse_hex(text, &version, 1, &any) || version == 0xff ||
        (version == 0 && length != TEXT_CHARS) ||
        (length > TEXT_CHARS && text[TEXT_CHARS] != '-') ||
        !parse_hex(text + VERSION_CHARS + 1, context->trace_id, TRACE_ID_BYTES, &has_trace) ||
        !parse_hex(text + 36, context->span_id, TRACE_SPAN_BYTES, &has_span) ||
        !parse_hex(text + FLAGS_AT, &flags, 1, &any))
        return false;
    context->sampled = (flags & 1) != 0;
    return has_trace && has_span;
}

/* Ids need not be secret: what cannot be had without waiting is left as it is, but never zero. Each
 * thread asks the kernel for ten requests' worth at once. */
static void fill_random(uint8_t *bytes, size_t count)
{
    static _Thread_local uint8_t stock[256];
    static _Thread_local size_t used = sizeof(stock);

    if (used + count > sizeof(stock)) {
        (void)!getrandom(stock, sizeof(stock), GRND_NONBLOCK);
        used = 0;
    }
    memcpy(bytes, stock + used, count);
    used += count;
    bytes[count - 1] |= 1;
}

void trace_begin(struct trace_context *context, const char *parent, double ratio)
{
    uint64_t chance = 0;

    if (parent && trace_parse(parent, context)) {
        memcpy(context->parent_id, context->span_id, TRACE_SPAN_BYTES);
    } else {
        *context = (struct trace_context){.sampled = false};
        fill_random(context->trace_id, TRACE_ID_BYTES);
        /* By the id, so that all who see it decide alike; its last byte is not all random. */
        memcpy(&chance, context->trace_id + 4, sizeof(chance));
        context->sampled = (double)(chance >> 11) * 0x1p-53 < ratio;
    }
    fill_random(context->span_id, TRACE_SPAN_BYTES);
}

const char *trace_id_text(const struct trace_context *context, char out[TRACE_ID_TEXT_BYTES])
{
    format_hex(context->trace_id, TRACE_ID_BYTES, out);
    return out;
}

const char *trace_span_text(const uint8_t span_id[TRACE_SPAN_BYTES],
                            char out[TRACE_SPAN_TEXT_BYTES])
{
    format_hex(span_id, TRACE_SPAN_BYTES, out);
    return out;
}

const char *trace_format(const struct trace_context *context, char out[TRACE_PARENT_BYTES])
{
    memcpy(out, "00-", 3);
    format_hex(context->trace_id, TRACE_ID_BYTES, out + 3);
    out[35] = '-';
    format_hex(context->span_id, TRACE_SPAN_BYTES, out + 36);
    memcpy(out + 52, context->sampled ? "-01" : "-00", 4);
    return out;
}

const struct trace_context *trace_set_current(const struct trace_context *context)
{
    const struct trace_context *before = current;

    current = context;
    return before;
}

const struct trace_context *trace_current(void)
{
    return current;
}

static struct {
    _Atomic(void (*)(void *context, const struct trace_span *span)) take;
    void *_Atomic context;
} sink;

void trace_set_sink(void (*take)(void *context, const struct trace_span *span), void *context)
{
    atomic_store(&sink.context, context);
    atomic_store(&sink.take, take);
}

void trace_end(const struct trace_context *context, const char *name, const char *detail,
               int64_t duration_ns, unsigned status)
{
    void (*take)(void *, const struct trace_span *) = atomic_load(&sink.take);
    struct trace_span span = {.context = *context, .duration_ns = duration_ns, .status = status};
    struct timespec now;

    if (!take || !context->sampled || clock_gettime(CLOCK_REALTIME, &now) != 0)
        return;
    (void)snprintf(span.name, sizeof(span.name), "%s", name);
    (void)snprintf(span.detail, sizeof(span.detail), "%s", detail);
    span.start_unix_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - duration_ns;
    take(atomic_load(&sink.context), &span);
}

bool trace_begin_child(struct trace_context *child)
{
    if (!current || !current->sampled || !atomic_load(&sink.take))
        return false;
    *child = *current;
    memcpy(child->parent_id, current->span_id, TRACE_SPAN_BYTES);
    fill_random(child->span_id, TRACE_SPAN_BYTES);
    return true;
}
