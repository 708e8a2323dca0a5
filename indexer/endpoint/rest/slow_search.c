/* Searches past log.slow_search, with where the time went. */
#include "base/logger.h"
#include "base/trace.h"
#include "indexer/endpoint/rest/handlers.h"
#include "indexer/endpoint/rest/search_form.h"

static void append_efforts(const struct query_result *result, struct buffer *out)
{
    for (const struct query_effort *effort = result->efforts; effort->source; effort++)
        buffer_append_format(out, "; %s: %u with %llu rows, %.3f s", effort->source, effort->count,
                             (unsigned long long)effort->rows, effort->seconds);
}

static void append_peers(const struct query_view *view, struct buffer *out)
{
    struct query_peer_counts peers = query_view_peers(view);

    if (peers.asked > 0)
        buffer_append_format(out, "; other nodes: %u asked, %u answered, %u hedged", peers.asked,
                             peers.answered, peers.hedged);
}

void rest_log_slow_search(struct http_request *request, const struct query_view *view,
                          const struct search_form *form, const struct query_result *result,
                          int64_t start_ns)
{
    static struct logger_limit limit = {.interval_ns = INT64_C(1000000000)};
    const struct rest_options *rest = rest_of(request);
    int64_t limit_ms = rest->config->log_slow_search_ms;
    int64_t taken_ns = io_monotonic_ns(rest->io) - start_ns;
    const struct query_search *search = &form->search;
    struct buffer efforts = {0};
    struct trace_context trace;

    if (trace_begin_child(&trace))
        trace_end(&trace, "search", form->collection->name, taken_ns, 0);
    if (limit_ms == 0 || taken_ns < limit_ms * 1000000)
        return;
    append_efforts(result, &efforts);
    append_peers(view, &efforts);
    (void)logger_write_limited(
        &limit, LOGGER_WARNING, "query", "slow_search",
        "slow search of %s: %.3f s, begun %.3f s after its request was complete; limit %u, ef "
        "%u%s%s; %u windows searched, %u pruned%s",
        form->collection->name, (double)taken_ns * 1e-9,
        (double)(start_ns - request->complete_ns) * 1e-9, search->limit, search->ef,
        search->exact ? ", exact" : "", search->filter ? ", with a filter" : "",
        result->windows_searched, result->windows_pruned, buffer_text(&efforts));
    buffer_destroy(&efforts);
}
