/* What is counted of a method. */
#include <stdio.h>

#include "net/grpc/grpc.h"
#include "net/http/http.h"

static struct metric *requests_of(struct grpc_method *method, struct metrics *metrics,
                                  unsigned status)
{
    struct metric *requests = atomic_load(&method->requests[status]);

    if (!requests) {
        char code[16];
        const struct metric_label labels[] = {{"method", method->path + 1}, {"code", code}};
        (void)snprintf(code, sizeof(code), "%u", status);
        requests = metrics_counter(metrics, "windrow_grpc_requests_total",
                                   "gRPC calls by grpc-status", labels, 2);
        atomic_store(&method->requests[status], requests);
    }
    return requests;
}

void grpc_method_begin(struct grpc_method *method, struct metrics *metrics)
{
    const struct metric_label label[] = {{"method", method->path + 1}};

    if (method->message_max_bytes == 0)
        method->message_max_bytes = HTTP_BODY_MAX_BYTES;
    method->seconds =
        metrics_histogram(metrics, "windrow_grpc_request_seconds", "Time of gRPC calls", label, 1,
                          metrics_seconds_bounds, metrics_seconds_bound_count);
    /* Those that alerts look at are there before the first one. */
    (void)requests_of(method, metrics, GRPC_OK);
    (void)requests_of(method, metrics, GRPC_RESOURCE_EXHAUSTED);
    (void)requests_of(method, metrics, GRPC_INTERNAL);
    (void)requests_of(method, metrics, GRPC_UNAVAILABLE);
}

void grpc_method_count(struct grpc_method *method, struct metrics *metrics, enum grpc_status status,
                       double seconds)
{
    metric_add(requests_of(method, metrics, status), 1);
    metric_observe(method->seconds, seconds);
}
