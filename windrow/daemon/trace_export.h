/* Spans of sampled requests to an OTLP/HTTP receiver, as JSON (OpenTelemetry Protocol 1.0,
 * https://opentelemetry.io/docs/specs/otlp/).
 *
 * A request puts its span into a bounded queue and goes on: one that does not fit is dropped and
 * counted. One thread sends what has gathered, about once a second. A batch that the receiver does
 * not take is dropped, too: spans are not worth memory. */
#ifndef WINDROW_TRACE_EXPORT_H
#define WINDROW_TRACE_EXPORT_H

#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"

struct trace_export;

/** Takes the spans of the process from now on. *export is NULL without trace.otlp_url. */
int trace_export_start(const struct config *config, struct metrics *metrics,
                       struct trace_export **trace_export, struct error *error);
/** Sends what is left, for a second at most. No request is under way. NULL is allowed. */
void trace_export_stop(struct trace_export *trace_export);

#endif
