/* trace: which request a thread works for, as W3C Trace Context has it
 * (https://www.w3.org/TR/trace-context/, version 00).
 *
 *     traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
 *                     trace id                         parent span id   sampled
 *
 * A context belongs to a thread while it works for the request; log lines and exemplars of that
 * thread name the trace. What leaves the process (a question to another node, a Kafka message)
 * carries the context as its traceparent. */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TRACE_ID_BYTES = 16,
    TRACE_SPAN_BYTES = 8,
    TRACE_ID_TEXT_BYTES = 2 * TRACE_ID_BYTES + 1,
    TRACE_SPAN_TEXT_BYTES = 2 * TRACE_SPAN_BYTES + 1,
    TRACE_PARENT_BYTES = 56 /* a traceparent as text */
};

struct trace_context {
    uint8_t trace_id[TRACE_ID_BYTES];
    uint8_t span_id[TRACE_SPAN_BYTES];   /* of the work under way */
    uint8_t parent_id[TRACE_SPAN_BYTES]; /* all zero: this is where the trace begins */
    bool sampled;
};

/** Reads a traceparent; false when it is none, and the trace begins anew. Versions after 00 are
 * read as far as 00 goes. The context is that of the caller: trace_begin makes ours from it. */
bool trace_parse(const char *text, struct trace_context *context);
/** Our part of the trace that `parent` (a traceparent, or NULL) belongs to, or a new trace, which
 * is sampled with the probability `ratio`. */
void trace_begin(struct trace_context *context, const char *parent, double ratio);
/** A traceparent for whom we ask: `context` as its parent. */
const char *trace_format(const struct trace_context *context, char out[TRACE_PARENT_BYTES]);
const char *trace_id_text(const struct trace_context *context, char out[TRACE_ID_TEXT_BYTES]);
const char *trace_span_text(const uint8_t span_id[TRACE_SPAN_BYTES],
                            char out[TRACE_SPAN_TEXT_BYTES]);

/** The calling thread works for `context` (NULL: for nobody) from now on. Returns what was set
 * before, for the caller to set again. The context stays the caller's. */
const struct trace_context *trace_set_current(const struct trace_context *context);
/** NULL: the thread works for no request. */
const struct trace_context *trace_current(void);

#endif
