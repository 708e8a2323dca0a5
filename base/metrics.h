/* Counters, gauges and histograms in the Prometheus text format (version 0.0.4) and in OpenMetrics
 * (version 1.0.0).
 *
 * A registry is created by the program and handed down. Series are created once and kept by their
 * owner; updates are atomic and lock-free. All functions accept a NULL registry or series and do
 * nothing, so that a component works without metrics. Names carry the windrow_ prefix in full.
 * Those of counters end in _total. Label names and values are given as one flat list. Labels have
 * few values, which are known beforehand: collection, shard, reason.
 *
 * A histogram keeps for each bucket the last value that was observed for a sampled request
 * (base/trace.h), and its trace id: the exemplars of OpenMetrics. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct metrics;
struct metric;

enum { METRICS_LABELS_MAX = 3 };

struct metric_label {
    const char *name;
    const char *value;
};

struct metrics *metrics_new(void);
void metrics_delete(struct metrics *metrics);

/** The series of `name` with these labels, created on first use; the same pointer for the same
 * labels afterwards. `labels` has `label_count` entries. Strings are copied. Any thread; takes a
 * lock. */
struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const struct metric_label *labels, size_t label_count);
struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                             const struct metric_label *labels, size_t label_count);
/** `bounds` ascending upper bounds in base units; +Inf is added. Copied. */
struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
                                 const struct metric_label *labels, size_t label_count,
                                 const double *bounds, size_t bound_count);

/** Histogram bounds for latencies: 50 us to 60 s. */
extern const double metrics_seconds_bounds[];
extern const size_t metrics_seconds_bound_count;

void metric_add(struct metric *metric, double amount); /* counter or gauge */
/** Raises a counter to a total that somebody else counts; a smaller one changes nothing. Only from
 * the functions of metrics_on_render. */
void metric_raise(struct metric *metric, double total);
void metric_set(struct metric *metric, double value);     /* gauge */
void metric_observe(struct metric *metric, double value); /* histogram */

/* All series of a family together, for who shows them without a database. */
enum { METRICS_BOUNDS_MAX = 32 };
struct metrics_total {
    double value;   /* sum of the values; of a histogram, of what was observed */
    uint64_t count; /* observations */
    size_t bound_count;
    double bounds[METRICS_BOUNDS_MAX];        /* +Inf is not among them */
    uint64_t buckets[METRICS_BOUNDS_MAX + 1]; /* not cumulative */
};
/** False, and all zero, when no such series exist (yet). Any thread; takes a lock. */
bool metrics_sum(struct metrics *metrics, const char *name, struct metrics_total *total);

double metric_value(const struct metric *metric); /* counter or gauge, for status and tests */
/** Removes a series that no longer stands for anything (a shard that moved away). */
void metrics_remove(struct metrics *metrics, struct metric *metric);

/** Registers a function that refreshes gauges right before each rendering. */
void metrics_on_render(struct metrics *metrics, void (*refresh)(void *context), void *context);

/** Appends the exposition: families sorted by name, # HELP and # TYPE once each. */
void metrics_render(struct metrics *metrics, struct buffer *out);
/** The same as OpenMetrics, with exemplars; ends with # EOF. */
void metrics_render_openmetrics(struct metrics *metrics, struct buffer *out);

#endif
