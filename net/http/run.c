/* Running a request: on a thread of the pool, or on the I/O thread that read it.
 *
 * A hand-over to the pool and back costs about as much as a small search: two switches, and the system calls that make
 * them and that take the connection out of its epoll set and put it back. So a request of a route that has been short
 * lately (HTTP_SEARCH) runs where it was read. What goes wrong with that would hold up everybody whose connections the
 * I/O thread has, probes among them, hence:
 *
 *   - it takes a place in the pool as a guest (thread_pool_enter): limits, lanes and the budget count it, and it runs
 *     only while nobody is queued;
 *   - it does not wait for anybody (http_request_wait_begin): it is given up, and begins anew in the pool;
 *   - so it does when it takes longer than HERE_MAX_NS;
 *   - a route whose requests are not short any more goes back to the pool altogether.
 *
 * A read that was broken off by something that is gone when it begins anew (struct stop, begin_anew) does so, where it
 * runs: a shard that this process had to close while it was read is found in another one. */
#include "base/thread_pool.h"
#include "net/http/server.h"

enum {
    /* Requests that run for longer stand back for others that wait. */
    LONG_MS = 50,
    /* The share of a route's latest requests that were short, a moving mean over about so many; of SHARE_ONE. */
    SHARE_ONE = 1 << 16,
    SHARE_MEAN = 16,
    SHARE_MIN = SHARE_ONE / 8 * 7,
    HTTP_UNAVAILABLE = 503,
    HERE_BODY_MAX_BYTES = 64 * 1024 /* it is parsed before anybody looks at the clock */
};

/* With a processor for each I/O thread a hand-over gains nothing but fairness, which short requests do not need. With
 * more of them a request that is longer than its hand-over gains the other processors. */
static const int64_t SHORT_NS = 100000, SHORT_WITH_MORE_NS = 30000, HERE_MAX_NS = 500000;

void http_call_trace(struct http_request *request, const char *traceparent)
{
    const struct config *config = request->server->options.config;

    trace_begin(&request->trace, traceparent,
                config->trace_otlp_url ? config->trace_sample_ratio : 0);
}

bool http_request_is_abandoned(struct http_request *request, bool client_gone)
{
    const struct http_server *server = request->server;
    int64_t now_ns = io_monotonic_ns(server->options.io);

    if (request->is_here) {
        request->gives_up_here |= now_ns - request->begin_ns > HERE_MAX_NS;
        return request->gives_up_here;
    }
    if (request->begin_ns > 0 && now_ns - request->begin_ns > LONG_MS * INT64_C(1000000))
        thread_pool_step_aside();
    return (client_gone && http_access_reads(request->route->route->access)) ||
           (atomic_load(&server->stopping) && now_ns > server->patience_end_ns);
}

/* Threads that learn at the same time may undo each other's lesson. */
static void learn(struct http_route_entry *entry, int64_t taken_ns)
{
    const int64_t limit_ns =
        thread_budget_processors() > HTTP_IO_THREADS ? SHORT_WITH_MORE_NS : SHORT_NS;
    int32_t share = atomic_load_explicit(&entry->short_share, memory_order_relaxed);

    share += ((taken_ns <= limit_ns ? SHARE_ONE : 0) - share) / SHARE_MEAN;
    atomic_store_explicit(&entry->short_share, share, memory_order_relaxed);
}

/* What the handler made of it is thrown away. */
static void forget(struct http_request *request)
{
    request->begin_ns = 0;
    atomic_store(&request->stop.code, 0);
    atomic_store(&request->stop.next_look_ns, 0);
    request->status = 0;
    request->content_type = NULL;
    request->retry_after_seconds = 0;
    request->partial = false;
    request->next_page = NULL;
    request->reply.size = 0;
    if (request->call)
        request->call->vectors.size = 0;
}

/* Whether what broke the handler off was in its way only then. Who writes may have written some of it. */
static bool begins_anew(struct http_request *request)
{
    struct error error;

    return atomic_exchange(&request->stop.begin_anew, false) &&
           request->status == HTTP_UNAVAILABLE &&
           http_access_reads(request->route->route->access) &&
           !atomic_load(&request->server->stopping) && stop_check(&request->stop, &error) == 0 &&
           !http_request_needs_pool(request);
}

static void run_handler(struct http_request *request)
{
    const int64_t begin_ns = request->begin_ns;

    request->route->route->handle(request);
    while (begins_anew(request)) {
        forget(request);
        request->begin_ns = begin_ns;
        request->route->route->handle(request);
    }
}

void http_call_run(struct http_request *request)
{
    const struct trace_context *before = trace_set_current(&request->trace);
    int64_t end_ns;
    struct error error;

    request->context = request->route->context;
    request->begin_ns = io_monotonic_ns(request->server->options.io);
    if (stop_check(&request->stop, &error) != 0) /* it may have waited for its turn */
        http_reply_from_error(request, &error);
    else if (http_request_check(request))
        run_handler(request);
    end_ns = io_monotonic_ns(request->server->options.io);
    learn(request->route, end_ns - request->begin_ns);
    if (!request->gives_up_here) {
        metric_observe(request->server->queue_seconds,
                       (double)(request->begin_ns - request->complete_ns) * 1e-9);
        trace_end(&request->trace, request->route->route->pattern, request->method,
                  end_ns - request->start_ns, request->status);
    }
    (void)trace_set_current(before);
}

bool http_request_begin_here(struct http_request *request, uint32_t lane)
{
    struct http_server *server = request->server;

    if (request->route->route->access != HTTP_SEARCH || request->body.size > HERE_BODY_MAX_BYTES ||
        atomic_load_explicit(&request->route->short_share, memory_order_relaxed) < SHARE_MIN ||
        !thread_pool_enter(server->pool, lane))
        return false;
    request->is_here = true;
    atomic_store(&request->stop.next_look_ns, io_monotonic_ns(server->options.io) + HERE_MAX_NS);
    return true;
}

bool http_request_end_here(struct http_request *request)
{
    bool done = !request->gives_up_here;

    thread_pool_leave(request->server->pool);
    request->is_here = false;
    request->gives_up_here = false;
    if (!done)
        forget(request);
    return done;
}

bool http_request_needs_pool(struct http_request *request)
{
    request->gives_up_here = request->is_here;
    return request->is_here;
}

bool http_request_wait_begin(struct http_request *request)
{
    return !http_request_needs_pool(request) && thread_pool_wait_begin(request->server->pool);
}

void http_request_wait_end(struct http_request *request)
{
    thread_pool_wait_end(request->server->pool);
}
