#include "windrow/daemon/trace_export.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/trace.h"
#include "base/version.h"

enum {
    QUEUE_MAX = 2048, /* spans, of 200 bytes */
    BATCH_MAX = 512,
    GATHER_MS = 1000,
    SEND_TIMEOUT_MS = 5000,
    LAST_TIMEOUT_MS = 1000
};

enum outcome { EXPORTED, DROPPED, FAILED, OUTCOME_COUNT };

struct trace_export {
    const struct config *config;
    struct metric *outcomes[OUTCOME_COUNT];
    struct logger_limit complaints;
    CURL *curl;
    struct curl_slist *headers;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;
    struct trace_span spans[QUEUE_MAX]; /* a ring */
    uint32_t first, count;
    bool stopping;
};

/* Under no lock of the caller that the exporter takes. */
static void take(void *context, const struct trace_span *span)
{
    struct trace_export *self = context;
    bool fits;

    pthread_mutex_lock(&self->lock);
    fits = self->count < QUEUE_MAX;
    if (fits) {
        self->spans[(self->first + self->count++) % QUEUE_MAX] = *span;
        /* The first one starts the gathering, a full batch ends it. */
        if (self->count == 1 || self->count == BATCH_MAX)
            pthread_cond_signal(&self->work);
    }
    pthread_mutex_unlock(&self->lock);
    if (!fits)
        metric_add(self->outcomes[DROPPED], 1);
}

static void append_text(struct buffer *out, const char *key, const char *value)
{
    buffer_append_format(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":", key);
    doc_write_json_string(out, value, strlen(value));
    buffer_append_text(out, "}}");
}

static void append_span(struct buffer *out, const struct trace_span *span)
{
    static const uint8_t none[TRACE_SPAN_BYTES];
    char trace[TRACE_ID_TEXT_BYTES], id[TRACE_SPAN_TEXT_BYTES];

    buffer_append_format(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\"",
                         trace_id_text(&span->context, trace),
                         trace_span_text(span->context.span_id, id));
    if (memcmp(span->context.parent_id, none, sizeof(none)) != 0)
        buffer_append_format(out, ",\"parentSpanId\":\"%s\"",
                             trace_span_text(span->context.parent_id, id));
    buffer_append_text(out, ",\"name\":");
    doc_write_json_string(out, span->name, strlen(span->name));
    /* SPAN_KIND_SERVER is 2, SPAN_KIND_INTERNAL 1; STATUS_CODE_ERROR is 2, UNSET 0. */
    buffer_append_format(out,
                         ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\","
                         "\"status\":{\"code\":%d},\"attributes\":[",
                         span->status > 0 ? 2 : 1, (long long)span->start_unix_ns,
                         (long long)(span->start_unix_ns + span->duration_ns),
                         span->status >= 500 ? 2 : 0);
    if (span->status > 0)
        buffer_append_format(
            out, "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"%u\"}}",
            span->status);
    if (span->detail[0] != '\0') {
        buffer_append_text(out, span->status > 0 ? "," : "");
        append_text(out, span->status > 0 ? "http.route" : "windrow.detail", span->detail);
    }
    buffer_append_text(out, "]}");
}

static void append_batch(const struct trace_export *self, const struct trace_span *spans,
                         uint32_t count, struct buffer *out)
{
    buffer_append_text(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    append_text(out, "service.name", "windrow");
    buffer_append_text(out, ",");
    append_text(out, "service.version", WINDROW_VERSION);
    buffer_append_text(out, ",");
    append_text(out, "service.instance.id", self->config->node);
    buffer_append_text(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"windrow\"},\"spans\":[");
    for (uint32_t i = 0; i < count; i++) {
        buffer_append_text(out, i ? "," : "");
        append_span(out, &spans[i]);
    }
    buffer_append_text(out, "]}]}]}");
}

static size_t ignore_reply(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    (void)context;
    return size * count;
}

static void send_batch(struct trace_export *self, const struct trace_span *spans, uint32_t count,
                       long timeout_ms)
{
    struct buffer body = {0};
    long status = 0;
    CURLcode code;

    append_batch(self, spans, count, &body);
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(self->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    curl_easy_setopt(self->curl, CURLOPT_POSTFIELDS, body.data);
    code = curl_easy_perform(self->curl);
    (void)curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &status);
    metric_add(self->outcomes[code == CURLE_OK && status / 100 == 2 ? EXPORTED : FAILED], count);
    if (code != CURLE_OK)
        (void)logger_write_limited(&self->complaints, LOGGER_WARNING, "trace", "export_failed",
                                   "%u spans are lost, %s: %s", count, self->config->trace_otlp_url,
                                   curl_easy_strerror(code));
    else if (status / 100 != 2)
        (void)logger_write_limited(&self->complaints, LOGGER_WARNING, "trace", "export_failed",
                                   "%u spans are lost, %s answers %ld", count,
                                   self->config->trace_otlp_url, status);
    buffer_destroy(&body);
}

/* Waits for spans; takes up to a batch. 0: it is the end. */
static uint32_t gather(struct trace_export *self, struct trace_span *batch, bool *stopping)
{
    int64_t deadline_ns = INT64_MAX;
    uint32_t count;

    pthread_mutex_lock(&self->lock);
    while (!self->stopping && self->count < BATCH_MAX) {
        if (self->count > 0 && deadline_ns == INT64_MAX)
            deadline_ns = thread_deadline(GATHER_MS * INT64_C(1000000));
        if (!thread_condition_wait(&self->work, &self->lock, deadline_ns))
            break;
    }
    count = self->count < BATCH_MAX ? self->count : BATCH_MAX;
    for (uint32_t i = 0; i < count; i++)
        batch[i] = self->spans[(self->first + i) % QUEUE_MAX];
    self->first = (self->first + count) % QUEUE_MAX;
    self->count -= count;
    *stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    return count;
}

/* A stop sends one batch more: a receiver that is away must not hold it up. */
static void *run(void *context)
{
    struct trace_export *self = context;
    struct trace_span *batch = memory_new(BATCH_MAX, sizeof(*batch));
    bool stopping = false;

    while (!stopping) {
        uint32_t count = gather(self, batch, &stopping);
        if (count > 0)
            send_batch(self, batch, count, stopping ? LAST_TIMEOUT_MS : SEND_TIMEOUT_MS);
    }
    free(batch);
    return NULL;
}

static void open_client(struct trace_export *self)
{
    self->curl = memory_checked(curl_easy_init());
    self->headers = memory_checked(curl_slist_append(NULL, "Content-Type: application/json"));
    curl_easy_setopt(self->curl, CURLOPT_URL, self->config->trace_otlp_url);
    curl_easy_setopt(self->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(self->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(self->curl, CURLOPT_HTTPHEADER, self->headers);
    curl_easy_setopt(self->curl, CURLOPT_WRITEFUNCTION, ignore_reply);
}

static void export_delete(struct trace_export *self)
{
    curl_slist_free_all(self->headers);
    curl_easy_cleanup(self->curl);
    pthread_cond_destroy(&self->work);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

int trace_export_start(const struct config *config, struct metrics *metrics,
                       struct trace_export **trace_export, struct error *error)
{
    static const char *const names[OUTCOME_COUNT] = {"exported", "dropped", "failed"};
    struct trace_export *self;
    int failure;

    *trace_export = NULL;
    if (!config->trace_otlp_url)
        return 0;
    self = memory_new(1, sizeof(*self));
    self->config = config;
    self->complaints.interval_ns = 60 * INT64_C(1000000000);
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        const struct metric_label label = {"outcome", names[i]};
        self->outcomes[i] = metrics_counter(metrics, "windrow_trace_spans_total",
                                            "Spans of sampled requests, by what became of them: "
                                            "dropped before the queue, failed behind it",
                                            &label, 1);
    }
    pthread_mutex_init(&self->lock, NULL);
    thread_condition_create(&self->work);
    open_client(self);
    failure = thread_start(&self->thread, "trace", run, self);
    if (failure != 0) {
        export_delete(self);
        return error_set_errno(error, failure, "start the export of traces");
    }
    trace_set_sink(take, self);
    *trace_export = self;
    return 0;
}

void trace_export_stop(struct trace_export *self)
{
    if (!self)
        return;
    trace_set_sink(NULL, NULL);
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_signal(&self->work);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    export_delete(self);
}
