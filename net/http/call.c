/* Requests that come over another front than REST, through the same routes. */
#include <string.h>

#include "net/http/server.h"

struct http_route_entry *http_route_of(struct http_server *server, const char *method,
                                       const char *pattern)
{
    for (size_t i = 1; i < server->route_count; i++) {
        const struct http_route *route = server->routes[i].route;
        if (strcmp(route->method, method) == 0 && strcmp(route->pattern, pattern) == 0)
            return &server->routes[i];
    }
    return NULL;
}

enum http_access http_route_access(const struct http_route_entry *route)
{
    return route->route->access;
}

enum http_verdict http_call_authorise(struct http_server *server, const struct http_caller *caller,
                                      enum http_access access, char who[HTTP_CALLER_BYTES],
                                      struct error *error)
{
    return http_keys_authorise(server->keys, caller, access, who, error);
}

/* Writes and commands of callers who are known: the log counts the others. */
void http_request_audit(const struct http_request *request, const struct sockaddr *from,
                        struct http_audit_event *event)
{
    const struct http_server *server = request->server;
    char address[64];
    enum http_access access;

    if (!server->audit || !request->route || !request->route->route)
        return;
    access = request->route->route->access;
    if ((access != HTTP_WRITE && access != HTTP_CONTROL) ||
        (!*request->who && server->options.config->http_api_key))
        return;
    event->who = request->who;
    event->address = http_address_text(from, address);
    event->method = request->method;
    event->path = request->path;
    event->status = request->status;
    event->seconds = (double)(io_monotonic_ns(server->options.io) - request->start_ns) * 1e-9;
    http_audit_write(server->audit, event);
}

struct http_tls *http_server_tls(const struct http_server *server)
{
    return server->tls;
}

bool http_call_submit(struct http_server *server, struct thread_task *task)
{
    return thread_pool_submit(server->pool, task);
}

bool http_call_unqueue(struct http_server *server, struct thread_task *task)
{
    return thread_pool_unqueue(server->pool, task) != NULL;
}

bool http_server_is_stopping(const struct http_server *server)
{
    return atomic_load(&server->stopping);
}

const char *http_call_argument(const struct http_call *call, const char *name)
{
    for (size_t i = 0; i < call->argument_count; i++)
        if (strcmp(call->arguments[i].name, name) == 0)
            return call->arguments[i].value;
    return NULL;
}

void http_call_check_arguments(const struct http_call *call, const struct http_schema *schema,
                               struct error *error)
{
    for (size_t i = 0; i < call->argument_count && error->code == 0; i++)
        (void)http_schema_parameter(schema, call->arguments[i].name, call->arguments[i].value,
                                    error);
}

size_t http_call_add_vector(struct http_request *request, const float *vector, uint32_t count)
{
    struct buffer *vectors = &request->call->vectors;
    size_t place = vectors->size;

    buffer_append(vectors, &count, sizeof(count));
    buffer_append(vectors, vector, count * sizeof(*vector));
    return place;
}
