#include "base/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/doc.h"
#include "base/memory.h"
#include "base/trace.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics_family;

/* The last observation of a bucket that has a trace; `time_ms` 0: none yet. */
struct exemplar {
    char trace_id[TRACE_ID_TEXT_BYTES];
    double value;
    int64_t time_ms;
};

struct metric {
    struct metric *next; /* sorted by `labels` */
    struct metrics_family *family;
    char *labels;               /* rendered: `a="x",b="y"`, empty without labels */
    _Atomic uint64_t number;    /* bits of a double: value, or the sum of a histogram */
    _Atomic uint64_t *buckets;  /* histogram: bound_count + 1, not cumulative */
    struct exemplar *exemplars; /* histogram: one for each bucket; under the busy flag */
    atomic_flag exemplars_busy; /* who finds it set leaves its exemplar out */
};

struct metrics_family {
    struct metrics_family *next; /* sorted by `name` */
    char *name;
    char *help; /* escaped */
    enum metric_kind kind;
    double *bounds;
    size_t bound_count;
    struct metric *series;
};

struct metrics_refresh {
    struct metrics_refresh *next;
    void (*function)(void *context);
    void *context;
};

struct metrics {
    pthread_mutex_t lock; /* guards everything but the numbers */
    struct metrics_family *families;
    struct metrics_refresh *refreshes; /* only ever grows, at the end */
};

const double metrics_seconds_bounds[] = {50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3,
                                         10e-3, 25e-3,  50e-3,  100e-3, 0.25, 0.5,    1,
                                         2.5,   5,      10,     30,     60};
const size_t metrics_seconds_bound_count =
    sizeof(metrics_seconds_bounds) / sizeof(metrics_seconds_bounds[0]);

static const char total_suffix[] = "_total";

static bool has_suffix(const char *name, const char *suffix)
{
    size_t name_length = strlen(name), length = strlen(suffix);

    return name_length > length && strcmp(name + name_length - length, suffix) == 0;
}

static char *take_text(struct buffer *buffer)
{
    char *text = memory_checked(strdup(buffer_text(buffer)));
    buffer_destroy(buffer);
    return text;
}

struct metrics *metrics_new(void)
{
    struct metrics *metrics = memory_new(1, sizeof(*metrics));

    if (pthread_mutex_init(&metrics->lock, NULL) != 0)
        abort();
    return metrics;
}

static void metric_delete(struct metric *metric)
{
    free(metric->labels);
    free(metric->buckets);
    free(metric->exemplars);
    free(metric);
}

static void family_delete(struct metrics_family *family)
{
    while (family->series) {
        struct metric *metric = family->series;
        family->series = metric->next;
        metric_delete(metric);
    }
    free(family->name);
    free(family->help);
    free(family->bounds);
    free(family);
}

void metrics_delete(struct metrics *metrics)
{
    if (!metrics)
        return;
    while (metrics->families) {
        struct metrics_family *family = metrics->families;
        metrics->families = family->next;
        family_delete(family);
    }
    while (metrics->refreshes) {
        struct metrics_refresh *refresh = metrics->refreshes;
        metrics->refreshes = refresh->next;
        free(refresh);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static void append_escaped(struct buffer *out, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\\')
            buffer_append_text(out, "\\\\");
        else if (*text == '\n')
            buffer_append_text(out, "\\n");
        else if (*text == '"' && quotes)
            buffer_append_text(out, "\\\"");
        else
            buffer_append_byte(out, (uint8_t)*text);
    }
}

static struct metrics_family *family_find(struct metrics *metrics, const char *name,
                                          const char *help, enum metric_kind kind,
                                          const double *bounds, size_t bound_count)
{
    struct metrics_family **at = &metrics->families;
    struct metrics_family *family;
    struct buffer escaped = {0};

    while (*at && strcmp((*at)->name, name) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->name, name) == 0) {
        assert((*at)->kind == kind && (*at)->bound_count == bound_count);
        return *at;
    }
    family = memory_new(1, sizeof(*family));
    family->name = memory_checked(strdup(name));
    append_escaped(&escaped, help, false);
    family->help = take_text(&escaped);
    family->kind = kind;
    family->bounds = memory_new(bound_count, sizeof(double));
    if (bound_count)
        memcpy(family->bounds, bounds, bound_count * sizeof(double));
    family->bound_count = bound_count;
    family->next = *at;
    *at = family;
    return family;
}

static struct metric *series_find(struct metrics *metrics, const char *name, const char *help,
                                  enum metric_kind kind, const struct metric_label *labels,
                                  size_t label_count, const double *bounds, size_t bound_count)
{
    struct metrics_family *family;
    struct buffer text = {0};
    struct metric **at;
    struct metric *metric;

    if (!metrics)
        return NULL;
    assert(label_count <= METRICS_LABELS_MAX);
    for (size_t i = 0; i < label_count; i++) {
        buffer_append_format(&text, "%s%s=\"", i ? "," : "", labels[i].name);
        append_escaped(&text, labels[i].value, true);
        buffer_append_byte(&text, '"');
    }
    (void)buffer_text(&text);

    pthread_mutex_lock(&metrics->lock);
    family = family_find(metrics, name, help, kind, bounds, bound_count);
    at = &family->series;
    while (*at && strcmp((*at)->labels, (const char *)text.data) < 0)
        at = &(*at)->next;
    metric = *at;
    if (!metric || strcmp(metric->labels, (const char *)text.data) != 0) {
        metric = memory_new(1, sizeof(*metric));
        metric->family = family;
        metric->labels = take_text(&text);
        if (kind == METRIC_HISTOGRAM) {
            metric->buckets = memory_new(bound_count + 1, sizeof(*metric->buckets));
            metric->exemplars = memory_new(bound_count + 1, sizeof(*metric->exemplars));
        }
        metric->next = *at;
        *at = metric;
    }
    pthread_mutex_unlock(&metrics->lock);
    buffer_destroy(&text);
    return metric;
}

struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const struct metric_label *labels, size_t label_count)
{
    assert(has_suffix(name, total_suffix));
    return series_find(metrics, name, help, METRIC_COUNTER, labels, label_count, NULL, 0);
}

struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                             const struct metric_label *labels, size_t label_count)
{
    return series_find(metrics, name, help, METRIC_GAUGE, labels, label_count, NULL, 0);
}

struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
                                 const struct metric_label *labels, size_t label_count,
                                 const double *bounds, size_t bound_count)
{
    for (size_t i = 1; i < bound_count; i++)
        assert(bounds[i - 1] < bounds[i]);
    return series_find(metrics, name, help, METRIC_HISTOGRAM, labels, label_count, bounds,
                       bound_count);
}

static double from_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void number_add(_Atomic uint64_t *number, double amount)
{
    uint64_t bits = atomic_load_explicit(number, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(number, &bits, to_bits(from_bits(bits) + amount),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void metric_add(struct metric *metric, double amount)
{
    if (!metric)
        return;
    assert(metric->family->kind != METRIC_HISTOGRAM);
    assert(metric->family->kind == METRIC_GAUGE || amount >= 0);
    number_add(&metric->number, amount);
}

void metric_raise(struct metric *metric, double total)
{
    double before = metric_value(metric);

    if (total > before)
        metric_add(metric, total - before);
}

void metric_set(struct metric *metric, double value)
{
    if (!metric)
        return;
    assert(metric->family->kind == METRIC_GAUGE);
    atomic_store_explicit(&metric->number, to_bits(value), memory_order_relaxed);
}

static void keep_exemplar(struct metric *metric, size_t bucket, double value,
                          const struct trace_context *trace)
{
    struct exemplar *exemplar = &metric->exemplars[bucket];
    struct timespec now;

    if (atomic_flag_test_and_set_explicit(&metric->exemplars_busy, memory_order_acquire))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    trace_id_text(trace, exemplar->trace_id);
    exemplar->value = value;
    exemplar->time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    atomic_flag_clear_explicit(&metric->exemplars_busy, memory_order_release);
}

void metric_observe(struct metric *metric, double value)
{
    const struct trace_context *trace = trace_current();
    size_t bucket = 0;

    if (!metric)
        return;
    assert(metric->family->kind == METRIC_HISTOGRAM);
    while (bucket < metric->family->bound_count && !(value <= metric->family->bounds[bucket]))
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    number_add(&metric->number, value);
    if (trace && trace->sampled)
        keep_exemplar(metric, bucket, value, trace);
}

double metric_value(const struct metric *metric)
{
    if (!metric)
        return 0;
    assert(metric->family->kind != METRIC_HISTOGRAM);
    return from_bits(atomic_load_explicit(&metric->number, memory_order_relaxed));
}

void metrics_remove(struct metrics *metrics, struct metric *metric)
{
    struct metric **at;

    if (!metrics || !metric)
        return;
    pthread_mutex_lock(&metrics->lock);
    at = &metric->family->series;
    while (*at != metric) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = metric->next;
    pthread_mutex_unlock(&metrics->lock);
    metric_delete(metric);
}

void metrics_on_render(struct metrics *metrics, void (*refresh)(void *context), void *context)
{
    struct metrics_refresh **at;
    struct metrics_refresh *added;

    if (!metrics)
        return;
    added = memory_new(1, sizeof(*added));
    added->function = refresh;
    added->context = context;
    pthread_mutex_lock(&metrics->lock);
    at = &metrics->refreshes;
    while (*at)
        at = &(*at)->next;
    *at = added;
    pthread_mutex_unlock(&metrics->lock);
}

/* Without the lock while a refresh runs: it creates and sets series. Entries are never removed, so
 * the next pointer stays good; it is read under the lock because a registration may write it. */
static void refresh_all(struct metrics *metrics)
{
    struct metrics_refresh *refresh;

    pthread_mutex_lock(&metrics->lock);
    refresh = metrics->refreshes;
    pthread_mutex_unlock(&metrics->lock);
    while (refresh) {
        refresh->function(refresh->context);
        pthread_mutex_lock(&metrics->lock);
        refresh = refresh->next;
        pthread_mutex_unlock(&metrics->lock);
    }
}

static void append_number(struct buffer *out, double value)
{
    if (isnan(value))
        buffer_append_text(out, "NaN");
    else if (isinf(value))
        buffer_append_text(out, value > 0 ? "+Inf" : "-Inf");
    else if (value == trunc(value) && fabs(value) < 1e15)
        buffer_append_format(out, "%.0f", value);
    else
        doc_write_json_double(out, value);
}

static void append_exemplar(struct metric *metric, size_t bucket, struct buffer *out)
{
    struct exemplar copy = {.time_ms = 0};

    if (!atomic_flag_test_and_set_explicit(&metric->exemplars_busy, memory_order_acquire)) {
        copy = metric->exemplars[bucket];
        atomic_flag_clear_explicit(&metric->exemplars_busy, memory_order_release);
    }
    if (copy.time_ms == 0)
        return;
    buffer_append_format(out, " # {trace_id=\"%s\"} ", copy.trace_id);
    append_number(out, copy.value);
    buffer_append_format(out, " %lld.%03lld", (long long)(copy.time_ms / 1000),
                         (long long)(copy.time_ms % 1000));
}

static void render_histogram(struct metric *metric, bool openmetrics, struct buffer *out)
{
    const struct metrics_family *family = metric->family;
    const char *comma = metric->labels[0] ? "," : "";
    const char *open = metric->labels[0] ? "{" : "";
    const char *close = metric->labels[0] ? "}" : "";
    uint64_t count = 0;

    for (size_t i = 0; i <= family->bound_count; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        buffer_append_format(out, "%s_bucket{%s%sle=\"", family->name, metric->labels, comma);
        append_number(out, i < family->bound_count ? family->bounds[i] : (double)INFINITY);
        buffer_append_format(out, "\"} %llu", (unsigned long long)count);
        if (openmetrics)
            append_exemplar(metric, i, out);
        buffer_append_byte(out, '\n');
    }
    buffer_append_format(out, "%s_sum%s%s%s ", family->name, open, metric->labels, close);
    append_number(out, from_bits(atomic_load_explicit(&metric->number, memory_order_relaxed)));
    buffer_append_format(out, "\n%s_count%s%s%s %llu\n", family->name, open, metric->labels, close,
                         (unsigned long long)count);
}

static void render_number(const struct metric *metric, struct buffer *out)
{
    buffer_append_text(out, metric->family->name);
    if (metric->labels[0])
        buffer_append_format(out, "{%s}", metric->labels);
    buffer_append_byte(out, ' ');
    append_number(out, metric_value(metric));
    buffer_append_byte(out, '\n');
}

static void render_head(const struct metrics_family *family, bool openmetrics, struct buffer *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    size_t length = strlen(family->name);

    /* OpenMetrics has the suffix in the samples of a counter and not in the family's name. */
    if (openmetrics && family->kind == METRIC_COUNTER)
        length -= sizeof(total_suffix) - 1;
    buffer_append_format(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)length, family->name,
                         family->help, (int)length, family->name, kinds[family->kind]);
}

static void render(struct metrics *metrics, bool openmetrics, struct buffer *out)
{
    if (!metrics)
        return;
    refresh_all(metrics);
    pthread_mutex_lock(&metrics->lock);
    for (struct metrics_family *family = metrics->families; family; family = family->next) {
        if (!family->series)
            continue;
        render_head(family, openmetrics, out);
        for (struct metric *metric = family->series; metric; metric = metric->next) {
            if (family->kind == METRIC_HISTOGRAM)
                render_histogram(metric, openmetrics, out);
            else
                render_number(metric, out);
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_render(struct metrics *metrics, struct buffer *out)
{
    render(metrics, false, out);
}

void metrics_render_openmetrics(struct metrics *metrics, struct buffer *out)
{
    render(metrics, true, out);
    buffer_append_text(out, "# EOF\n");
}

static void add_series(const struct metric *metric, struct metrics_total *total)
{
    total->value += from_bits(atomic_load_explicit(&metric->number, memory_order_relaxed));
    for (size_t i = 0; metric->buckets && i <= total->bound_count; i++) {
        uint64_t count = atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        total->buckets[i] += count;
        total->count += count;
    }
}

bool metrics_sum(struct metrics *metrics, const char *name, struct metrics_total *total)
{
    bool found = false;

    *total = (struct metrics_total){0};
    if (!metrics)
        return false;
    pthread_mutex_lock(&metrics->lock);
    for (struct metrics_family *family = metrics->families; family; family = family->next) {
        if (strcmp(family->name, name) != 0)
            continue;
        assert(family->bound_count <= METRICS_BOUNDS_MAX);
        total->bound_count = family->bound_count;
        for (size_t i = 0; i < family->bound_count; i++)
            total->bounds[i] = family->bounds[i];
        for (const struct metric *metric = family->series; metric; metric = metric->next) {
            add_series(metric, total);
            found = true;
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    return found;
}
