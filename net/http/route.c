/* Paths to handlers. Each owner of routes brings its own table; a request is matched when its
 * headers are complete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/http/server.h"

static size_t count_slashes(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += *text == '/';
    return count;
}

void http_server_add_routes(struct http_server *server, const struct http_route *routes,
                            size_t count, void *context)
{
    struct http_route_entry *grown =
        realloc(server->routes, (server->route_count + count) * sizeof(*grown));

    if (!grown)
        abort();
    server->routes = grown;
    for (size_t i = 0; i < count; i++) {
        struct http_route_entry *entry = &grown[server->route_count++];
        memset(entry, 0, sizeof(*entry));
        entry->route = &routes[i];
        entry->context = context;
        if (!routes[i].pattern)
            continue;
        entry->slashes = count_slashes(routes[i].pattern);
        http_route_begin(server->options.metrics, &routes[i]);
    }
}

/* The first entry stands for requests that no route fits. */
const struct http_route *http_server_route(const struct http_server *server, size_t place)
{
    return place + 1 < server->route_count ? server->routes[place + 1].route : NULL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *http_percent_decode(struct arena *arena, const char *part, size_t length)
{
    char *text = arena_copy(arena, part, length);
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        int high = i + 2 < length ? hex_digit(part[i + 1]) : -1;
        int low = i + 2 < length ? hex_digit(part[i + 2]) : -1;
        bool escaped = part[i] == '%' && high >= 0 && low >= 0;
        text[used++] = escaped ? (char)(high * 16 + low) : part[i];
        i += escaped ? 2 : 0;
    }
    text[used] = '\0';
    return text;
}

/* A part of a path, as it was sent. */
struct part {
    const char *text;
    size_t length;
};

static bool match(const char *pattern, const char *path, struct part parts[HTTP_PATH_PARTS_MAX],
                  size_t *count)
{
    *count = 0;
    while (*pattern) {
        if (pattern[0] == '{' && pattern[1] == '}') {
            size_t length = (size_t)(strchrnul(path, '/') - path);
            if (length == 0 || *count == HTTP_PATH_PARTS_MAX)
                return false;
            parts[(*count)++] = (struct part){path, length};
            pattern += 2;
            path += length;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    /* "/collections/" is "/collections", as for Qdrant. */
    return *path == '\0' || strcmp(path, "/") == 0;
}

bool http_route_find(struct http_request *request)
{
    const struct http_server *server = request->server;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    struct buffer allow = {0};
    struct part parts[HTTP_PATH_PARTS_MAX];
    const size_t slashes = count_slashes(request->path);
    size_t count;

    for (size_t i = 1; i < server->route_count; i++) {
        struct http_route_entry *entry = &server->routes[i];
        if (entry->slashes != slashes && entry->slashes + 1 != slashes) /* one may end the path */
            continue;
        if (!match(entry->route->pattern, request->path, parts, &count))
            continue;
        if (strcmp(entry->route->method, method) == 0) {
            for (size_t part = 0; part < count; part++)
                request->parts[part] =
                    http_percent_decode(&request->arena, parts[part].text, parts[part].length);
            request->part_count = count;
            request->route = entry;
            request->context = entry->context;
            buffer_destroy(&allow);
            return true;
        }
        if (allow.size > 0)
            buffer_append_text(&allow, ", ");
        buffer_append_text(&allow, entry->route->method);
    }
    if (allow.size > 0) {
        request->allow = arena_copy(&request->arena, allow.data, allow.size);
        http_reply_error(request, 405, "%s is not allowed here; allowed: %s", request->method,
                         request->allow);
    } else {
        http_reply_error(request, 404, "There is no route %s", request->path);
    }
    buffer_destroy(&allow);
    return false;
}

/* Metrics. */

static size_t slot_of(unsigned status)
{
    static const unsigned statuses[HTTP_STATUS_COUNT] = {200, 204, 400, 403, 404, 405, 408,
                                                         409, 413, 415, 422, 429, 431, 499,
                                                         500, 501, 502, 503, 504};
    size_t slot = 0;

    while (slot < HTTP_STATUS_COUNT && statuses[slot] != status)
        slot++;
    return slot;
}

static struct metric *requests_of(struct metrics *metrics, const char *pattern, unsigned status)
{
    char code[16];
    struct metric_label labels[] = {{"route", pattern}, {"code", code}};

    snprintf(code, sizeof(code), "%u", status);
    return metrics_counter(metrics, "windrow_http_requests_total", "HTTP requests", labels, 2);
}

void http_route_begin(struct metrics *metrics, const struct http_route *route)
{
    static const unsigned statuses[] = {200, 429, 500, 503};

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        (void)requests_of(metrics, route ? route->pattern : "unknown", statuses[i]);
}

/* Two threads that make the same series get the same one. */
void http_route_count(const struct http_request *request)
{
    const struct http_server *server = request->server;
    struct metrics *metrics = server->options.metrics;
    struct http_route_entry *entry = request->route ? request->route : &server->routes[0];
    const char *pattern = entry->route ? entry->route->pattern : "unknown";
    size_t slot = slot_of(request->status);
    struct metric *requests = slot < HTTP_STATUS_COUNT ? atomic_load(&entry->requests[slot]) : NULL;
    struct metric *seconds = atomic_load(&entry->seconds);
    const struct trace_context *before = trace_set_current(&request->trace);

    if (!requests) {
        requests = requests_of(metrics, pattern, request->status);
        if (slot < HTTP_STATUS_COUNT)
            atomic_store(&entry->requests[slot], requests);
    }
    if (!seconds) {
        struct metric_label label[] = {{"route", pattern}};
        seconds = metrics_histogram(metrics, "windrow_http_request_seconds", "Time in the handler",
                                    label, 1, metrics_seconds_bounds, metrics_seconds_bound_count);
        atomic_store(&entry->seconds, seconds);
    }
    metric_add(requests, 1);
    metric_observe(seconds,
                   (double)(io_monotonic_ns(server->options.io) - request->start_ns) * 1e-9);
    (void)trace_set_current(before);
}
