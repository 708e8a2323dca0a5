/* A text is queued, sent and answered; whoever wants the same one meanwhile waits for the same answer.
 *
 *     waiting thread: lock, add to the endpoint's queue, wake the `embed` thread, sleep
 *     embed thread:   lock, queue -> requests, unlock; libcurl's multi interface runs them all
 *                     answer -> lock, vectors into the cache, wake all who wait
 *
 * An endpoint has a few requests under way. While those are out, texts gather in its queue and share the
 * next one. A waiting thread looks at its stop now and then, since nobody tells of a client that has
 * gone; what it wanted is not sent if it was not yet, and is kept if it was. */
#include "indexer/endpoint/embedder/embedder.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "indexer/endpoint/embedder/answer.h"
#include "indexer/endpoint/embedder/cache.h"
#include "net/http_client/http_client.h"

enum {
    CACHE_BYTES = 32 << 20,
    IN_FLIGHT_MAX = 4,            /* requests to one endpoint */
    REQUEST_MAX_BYTES = 1 << 20,  /* of texts in one request, when it has more than one */
    QUEUE_MAX_BYTES = 16 << 20,   /* of texts that wait for one endpoint */
    ANSWER_MAX_BYTES = 256 << 20, /* 2,048 vectors of 4,096 numbers, as text */
    POLL_MS = 60000,
    LOG_EVERY_S = 10
};

/* Between two looks at the stop. */
#define LOOK_NS INT64_C(50000000)

enum outcome { ANSWERED, REFUSED, UNUSABLE, UNREACHABLE, TIMED_OUT, OUTCOMES };

static const char *const outcome_names[OUTCOMES] = {
    [ANSWERED] = "answered",       [REFUSED] = "refused",   [UNUSABLE] = "unusable",
    [UNREACHABLE] = "unreachable", [TIMED_OUT] = "timeout",
};

/* That of a collection; its place is the collection's. */
struct endpoint {
    const struct config_collection *collection; /* NULL: not needed yet */
    struct cached_list queue;
    size_t queue_bytes;
    uint32_t in_flight;
    struct metric *hits, *misses, *seconds, *outcomes[OUTCOMES];
    struct logger_limit complaints;
};

/* A request under way. The embed thread's alone. */
struct transfer {
    struct transfer *next;
    struct endpoint *endpoint;
    struct cached **texts; /* of which it is a user */
    size_t count;
    CURL *curl;
    struct curl_slist *headers;
    struct buffer body, answer;
    char reason[CURL_ERROR_SIZE];
    int64_t start_ns;
};

struct embedder {
    const struct config *config;
    struct metrics *metrics;
    struct io *io;
    struct metric *cache_bytes;
    CURLM *multi;
    struct transfer *transfers;
    pthread_t thread;
    pthread_mutex_t lock;    /* guards all below, and what endpoints and the cache hold */
    pthread_cond_t answered; /* some texts have their vectors, or never will */
    bool started, stopping;
    struct endpoint *endpoints;
    struct cache cache;
};

static struct metric *counter(struct embedder *embedder, const char *collection, const char *name,
                              const char *help)
{
    const struct metric_label label = {"collection", collection};

    return metrics_counter(embedder->metrics, name, help, &label, 1);
}

static void begin_endpoint(struct embedder *embedder, struct endpoint *endpoint,
                           const struct config_collection *collection)
{
    struct metric_label labels[] = {{"collection", collection->name}, {"outcome", NULL}};

    endpoint->complaints.interval_ns = LOG_EVERY_S * INT64_C(1000000000);
    endpoint->hits = counter(embedder, collection->name, "windrow_embedder_cache_hits_total",
                             "Words of queries whose vector was known");
    endpoint->misses = counter(embedder, collection->name, "windrow_embedder_cache_misses_total",
                               "Words of queries that the embedder had to be asked for");
    endpoint->seconds = metrics_histogram(embedder->metrics, "windrow_embedder_request_seconds",
                                          "Time of a request to the embedder", labels, 1,
                                          metrics_seconds_bounds, metrics_seconds_bound_count);
    for (int i = 0; i < OUTCOMES; i++) {
        labels[1].value = outcome_names[i];
        endpoint->outcomes[i] = metrics_counter(
            embedder->metrics, "windrow_embedder_requests_total",
            "Requests to the embedder, by what became of them: refused by their status, unusable "
            "when the answer had no vectors that fit",
            labels, 2);
    }
    endpoint->collection = collection;
}

/* Under the lock, or before others see the embedder. */
static struct endpoint *endpoint_of(struct embedder *embedder,
                                    const struct config_collection *collection)
{
    struct endpoint *endpoint = &embedder->endpoints[collection - embedder->config->collections];

    if (!endpoint->collection)
        begin_endpoint(embedder, endpoint, collection);
    return endpoint;
}

struct embedder *embedder_new(const struct config *config, struct metrics *metrics, struct io *io)
{
    struct embedder *embedder = memory_new(1, sizeof(*embedder));
    size_t room = config->collection_room + config->collection_count;

    embedder->config = config;
    embedder->metrics = metrics;
    embedder->io = io;
    embedder->endpoints = memory_new(room, sizeof(*embedder->endpoints));
    embedder->cache.max_bytes = CACHE_BYTES;
    pthread_mutex_init(&embedder->lock, NULL);
    thread_condition_create(&embedder->answered);
    embedder->cache_bytes = metrics_gauge(metrics, "windrow_embedder_cache_bytes",
                                          "Vectors of words that are kept", NULL, 0);
    for (size_t i = 0; i < config->collection_count; i++)
        if (config->collections[i].embedder_url)
            (void)endpoint_of(embedder, &config->collections[i]);
    return embedder;
}

/* Transfers. */

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct buffer *answer = context;

    if (answer->size + size * count > ANSWER_MAX_BYTES)
        return 0; /* the transfer fails */
    buffer_append(answer, bytes, size * count);
    return size * count;
}

static bool same_model(const struct cached_key *a, const struct cached_key *b)
{
    return bytes_equal(a->model, a->model_bytes, b->model, b->model_bytes);
}

/* Takes the texts of the next request out of the queue: the first one, and others of its model. */
static void take_texts(struct endpoint *endpoint, struct transfer *transfer)
{
    const size_t room = endpoint->collection->embedder_batch;
    struct cached *one = endpoint->queue.first, *after;
    size_t bytes = 0;

    transfer->texts = memory_new(room, sizeof(struct cached *));
    for (; one && transfer->count < room; one = after) {
        after = one->after;
        if (transfer->count > 0 && (!same_model(&transfer->texts[0]->key, &one->key) ||
                                    bytes + one->key.text_bytes > REQUEST_MAX_BYTES))
            continue;
        bytes += one->key.text_bytes;
        endpoint->queue_bytes -= one->key.text_bytes;
        cached_remove(&endpoint->queue, one);
        one->state = CACHED_SENT;
        one->users++;
        transfer->texts[transfer->count++] = one;
    }
}

static void prepare(struct transfer *transfer)
{
    const struct config_collection *collection = transfer->endpoint->collection;
    const char *keys = collection->embedder_key;
    CURL *curl = transfer->curl = memory_checked(curl_easy_init());
    struct config_key key;

    answer_write_request(transfer->texts, transfer->count, &transfer->body);
    transfer->headers = http_client_foreign_headers(config_key_next(&keys, &key) ? &key : NULL);
    http_client_prepare_foreign(curl, collection->embedder_url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body.size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, transfer->body.data);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)collection->embedder_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer->answer);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
}

static void send_queued(struct embedder *embedder, struct endpoint *endpoint)
{
    while (endpoint->queue.first && endpoint->in_flight < IN_FLIGHT_MAX) {
        struct transfer *transfer = memory_new(1, sizeof(*transfer));
        transfer->endpoint = endpoint;
        transfer->start_ns = io_monotonic_ns(embedder->io);
        take_texts(endpoint, transfer);
        prepare(transfer);
        transfer->next = embedder->transfers;
        embedder->transfers = transfer;
        endpoint->in_flight++;
        (void)curl_multi_add_handle(embedder->multi, transfer->curl);
    }
}

/* Under the lock. */
static void free_transfer(struct embedder *embedder, struct transfer *transfer)
{
    struct transfer **place = &embedder->transfers;

    while (*place != transfer)
        place = &(*place)->next;
    *place = transfer->next;
    transfer->endpoint->in_flight--;
    for (size_t i = 0; i < transfer->count; i++)
        cache_release(transfer->texts[i]);
    (void)curl_multi_remove_handle(embedder->multi, transfer->curl);
    curl_easy_cleanup(transfer->curl);
    curl_slist_free_all(transfer->headers);
    buffer_destroy(&transfer->body);
    buffer_destroy(&transfer->answer);
    free(transfer->texts);
    free(transfer);
}

/* Answers. */

/* The client learns what happened, but not where: the address is for the log. */
static enum outcome fail(struct transfer *transfer, enum outcome outcome, const char *detail,
                         struct error *error)
{
    const struct config_collection *collection = transfer->endpoint->collection;
    struct error told;

    (void)error_set(&told, outcome == TIMED_OUT ? ERROR_UPSTREAM_TIMEOUT : ERROR_UPSTREAM,
                    "the embedder of collection `%s` %s", collection->name, error->text);
    (void)logger_write_limited(&transfer->endpoint->complaints, LOGGER_WARNING, "embedder",
                               "embedder_failed", "%s: embedder %s %s%s%s", collection->name,
                               collection->embedder_url, error->text, *detail ? ": " : "", detail);
    *error = told;
    return outcome;
}

static enum outcome fail_transfer(struct transfer *transfer, CURLcode result, struct error *error)
{
    char why[HTTP_CLIENT_REASON_BYTES];

    if (result == CURLE_OPERATION_TIMEDOUT) {
        (void)error_set(error, ERROR_UPSTREAM_TIMEOUT, "did not answer within %lld ms",
                        (long long)transfer->endpoint->collection->embedder_timeout_ms);
        return fail(transfer, TIMED_OUT, "", error);
    }
    (void)error_set(error, ERROR_UPSTREAM, "cannot be asked: %s", curl_easy_strerror(result));
    return fail(transfer, UNREACHABLE, http_client_reason(result, transfer->reason, why), error);
}

static enum outcome read_answer(struct transfer *transfer, CURLcode result, float **vectors,
                                struct error *error)
{
    const struct config_collection *collection = transfer->endpoint->collection;
    const struct buffer *answer = &transfer->answer;
    struct buffer reason = {0};
    long status = 0;

    if (result != CURLE_OK)
        return fail_transfer(transfer, result, error);
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        answer_read_reason(answer->data, answer->size, &reason);
        (void)error_set(error, ERROR_UPSTREAM, "answered %ld: %s", status, buffer_text(&reason));
        buffer_destroy(&reason);
        return fail(transfer, REFUSED, "", error);
    }
    if (answer_read(answer->data, answer->size, collection->dim, transfer->count, vectors, error))
        return fail(transfer, UNUSABLE, "", error);
    return ANSWERED;
}

static void finish(struct embedder *embedder, struct transfer *transfer, CURLcode result)
{
    struct endpoint *endpoint = transfer->endpoint;
    float **vectors = memory_new(transfer->count, sizeof(float *));
    struct error error = {0};
    enum outcome outcome = read_answer(transfer, result, vectors, &error);

    metric_add(endpoint->outcomes[outcome], 1);
    metric_observe(endpoint->seconds,
                   (double)(io_monotonic_ns(embedder->io) - transfer->start_ns) * 1e-9);
    pthread_mutex_lock(&embedder->lock);
    for (size_t i = 0; i < transfer->count; i++) {
        struct cached *one = transfer->texts[i];
        if (outcome == ANSWERED)
            cache_set_ready(&embedder->cache, one, vectors[i], endpoint->collection->dim);
        else
            cache_set_failed(&embedder->cache, one, &error);
    }
    metric_set(embedder->cache_bytes, (double)embedder->cache.bytes);
    free_transfer(embedder, transfer);
    pthread_cond_broadcast(&embedder->answered);
    pthread_mutex_unlock(&embedder->lock);
    free(vectors);
}

static void finish_done(struct embedder *embedder)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(embedder->multi, &left))) {
        CURLcode result = message->data.result;
        char *transfer = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        finish(embedder, (struct transfer *)(void *)transfer, result);
    }
}

static void *run(void *context)
{
    struct embedder *embedder = context;
    int running;

    for (;;) {
        bool stopping;
        pthread_mutex_lock(&embedder->lock);
        stopping = embedder->stopping;
        for (size_t i = 0; !stopping && i < embedder->config->collection_count; i++)
            send_queued(embedder, &embedder->endpoints[i]);
        pthread_mutex_unlock(&embedder->lock);
        if (stopping)
            return NULL;
        (void)curl_multi_perform(embedder->multi, &running);
        finish_done(embedder);
        (void)curl_multi_poll(embedder->multi, NULL, 0, POLL_MS, NULL);
    }
}

static int start(struct embedder *embedder, struct error *error)
{
    int failure;

    if (embedder->started)
        return 0;
    if (!embedder->multi)
        embedder->multi = memory_checked(curl_multi_init());
    failure = thread_start(&embedder->thread, "embed", run, embedder);
    embedder->started = failure == 0;
    return failure == 0 ? 0 : error_set_errno(error, failure, "start the thread of embedders");
}

void embedder_delete(struct embedder *embedder)
{
    if (!embedder)
        return;
    pthread_mutex_lock(&embedder->lock);
    embedder->stopping = true;
    if (embedder->started)
        (void)curl_multi_wakeup(embedder->multi);
    pthread_mutex_unlock(&embedder->lock);
    if (embedder->started)
        (void)pthread_join(embedder->thread, NULL);
    while (embedder->transfers)
        free_transfer(embedder, embedder->transfers);
    cache_destroy(&embedder->cache);
    if (embedder->multi)
        (void)curl_multi_cleanup(embedder->multi);
    pthread_cond_destroy(&embedder->answered);
    pthread_mutex_destroy(&embedder->lock);
    free(embedder->endpoints);
    free(embedder);
}

/* Waiting threads. */

static struct cached_key key_of(const struct embedder *embedder,
                                const struct config_collection *collection,
                                const struct embedder_text *text)
{
    struct cached_key key = {.collection = (uint32_t)(collection - embedder->config->collections),
                             .model = text->model_bytes > 0 ? text->model : "",
                             .model_bytes = text->model_bytes,
                             .text = text->text,
                             .text_bytes = text->text_bytes};

    if (collection->embedder_model) {
        key.model = collection->embedder_model;
        key.model_bytes = (uint32_t)strlen(key.model);
    }
    return key;
}

static void copy_vector(const struct cached *one, uint32_t dim, struct embedder_text *text,
                        struct arena *arena)
{
    float *copy = memory_checked(arena_alloc(arena, dim * sizeof(float), 64));

    memcpy(copy, one->vector, dim * sizeof(float));
    text->vector = copy;
}

size_t embedder_find(struct embedder *embedder, const struct config_collection *collection,
                     struct embedder_text *texts, size_t count, struct arena *arena)
{
    size_t missing = 0;

    pthread_mutex_lock(&embedder->lock);
    for (size_t i = 0; i < count; i++) {
        const struct cached_key key = key_of(embedder, collection, &texts[i]);
        struct cached *one = cache_find(&embedder->cache, &key);
        texts[i].vector = NULL;
        missing += !one || one->state != CACHED_READY;
        if (!one || one->state != CACHED_READY)
            continue;
        cache_touch(&embedder->cache, one);
        copy_vector(one, collection->dim, &texts[i], arena);
    }
    metric_add(endpoint_of(embedder, collection)->hits, (double)(count - missing));
    pthread_mutex_unlock(&embedder->lock);
    return missing;
}

/* Whoever waits is a user of what it waits for. */
struct wait {
    struct embedder *embedder;
    struct endpoint *endpoint;
    struct cached **wanted; /* NULL: not this one (any more) */
    size_t count;
};

static int want(struct wait *wait, struct embedder_text *texts, struct error *error)
{
    struct embedder *embedder = wait->embedder;
    struct endpoint *endpoint = wait->endpoint;

    for (size_t i = 0; i < wait->count; i++) {
        const struct cached_key key = key_of(embedder, endpoint->collection, &texts[i]);
        struct cached *one = cache_find(&embedder->cache, &key);
        if (texts[i].vector)
            continue;
        metric_add(endpoint->misses, 1);
        if (!one && endpoint->queue_bytes + key.text_bytes > QUEUE_MAX_BYTES)
            return error_set(error, ERROR_BUSY, "Too many texts wait for the embedder");
        if (!one) {
            one = cache_add(&embedder->cache, &key);
            cached_append(&endpoint->queue, one);
            endpoint->queue_bytes += key.text_bytes;
        }
        one->users++;
        wait->wanted[i] = one;
    }
    return 0;
}

/* What nobody wants any more and is not under way is forgotten. */
static void let_go(struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++) {
        struct cached *one = wait->wanted[i];
        if (!one)
            continue;
        if (one->state == CACHED_QUEUED && one->users == 1) {
            cached_remove(&wait->endpoint->queue, one);
            wait->endpoint->queue_bytes -= one->key.text_bytes;
            cache_forget(&wait->embedder->cache, one);
        }
        cache_release(one);
    }
}

static bool all_answered(const struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++)
        if (wait->wanted[i] && wait->wanted[i]->state < CACHED_READY)
            return false;
    return true;
}

static int look(const struct wait *wait, int64_t deadline_ns, struct stop *stop,
                struct error *error)
{
    const struct config_collection *collection = wait->endpoint->collection;

    if (stop->ending && atomic_load(stop->ending))
        return error_set(error, ERROR_CANCELLED, "the service is stopping");
    if (stop_check(stop, error) != 0)
        return error->code;
    if (io_monotonic_ns(wait->embedder->io) < deadline_ns)
        return 0;
    return error_set(error, ERROR_UPSTREAM_TIMEOUT,
                     "the embedder of collection `%s` did not answer within %lld ms",
                     collection->name, (long long)collection->embedder_timeout_ms);
}

/* Under the lock, but for the looks: they ask libmicrohttpd's sockets. */
static int wait_answered(const struct wait *wait, struct stop *stop, struct error *error)
{
    struct embedder *embedder = wait->embedder;
    int64_t deadline_ns = io_monotonic_ns(embedder->io) +
                          wait->endpoint->collection->embedder_timeout_ms * INT64_C(1000000);
    int code = 0;

    while (code == 0 && !all_answered(wait)) {
        (void)thread_condition_wait(&embedder->answered, &embedder->lock, thread_deadline(LOOK_NS));
        if (all_answered(wait))
            break;
        pthread_mutex_unlock(&embedder->lock);
        code = look(wait, deadline_ns, stop, error);
        pthread_mutex_lock(&embedder->lock);
    }
    return code;
}

static int copy_answers(const struct wait *wait, struct embedder_text *texts, struct arena *arena,
                        struct error *error)
{
    for (size_t i = 0; i < wait->count; i++) {
        const struct cached *one = wait->wanted[i];
        if (one && one->state == CACHED_FAILED) {
            *error = *one->error;
            return error->code;
        }
        if (one)
            copy_vector(one, wait->endpoint->collection->dim, &texts[i], arena);
    }
    return 0;
}

int embedder_fetch(struct embedder *embedder, const struct config_collection *collection,
                   struct embedder_text *texts, size_t count, struct arena *arena,
                   struct stop *stop, struct error *error)
{
    struct wait wait = {
        .embedder = embedder, .wanted = memory_new(count, sizeof(struct cached *)), .count = count};
    int code;

    pthread_mutex_lock(&embedder->lock);
    wait.endpoint = endpoint_of(embedder, collection);
    code = start(embedder, error);
    if (code == 0)
        code = want(&wait, texts, error);
    if (code == 0) {
        (void)curl_multi_wakeup(embedder->multi);
        code = wait_answered(&wait, stop, error);
    }
    if (code == 0)
        code = copy_answers(&wait, texts, arena, error);
    let_go(&wait);
    pthread_mutex_unlock(&embedder->lock);
    free(wait.wanted);
    return code;
}
