/* Path to handler: one table. A pattern part "{}" matches one non-empty path part. */
#include <string.h>

#include "indexer/http/request.h"

static const struct http_route routes[] = {
    {"GET", "/", http_handle_root},
    {"GET", "/healthz", http_handle_health},
    {"GET", "/livez", http_handle_livez},
    {"GET", "/readyz", http_handle_readyz},
    {"GET", "/metrics", http_handle_metrics},
    {"GET", "/status", http_handle_status},
    {"GET", "/windows", http_handle_windows},
    {"GET", "/openapi.json", http_handle_openapi},
    {"POST", "/backup", http_handle_backup},
    {"POST", "/clock/trust", http_handle_trust_clock},
    {"GET", "/internal/run", http_handle_run},
    {"GET", "/internal/epoch", http_handle_codebook},
    {"POST", "/internal/segment", http_handle_segment_begin},
    {"PUT", "/internal/segment", http_handle_segment_part},
    {"GET", "/aliases", http_handle_aliases},
    {"GET", "/collections", http_handle_collections},
    {"GET", "/collections/{}", http_handle_collection},
    {"PUT", "/collections/{}", http_handle_collection_create},
    {"PATCH", "/collections/{}", http_handle_collection_update},
    {"DELETE", "/collections/{}", http_handle_collection_delete},
    {"GET", "/collections/{}/exists", http_handle_collection_exists},
    {"GET", "/collections/{}/aliases", http_handle_collection_aliases},
    {"POST", "/collections/{}/compact", http_handle_compact},
    {"POST", "/collections/{}/rebuild", http_handle_rebuild},
    {"PUT", "/collections/{}/index", http_handle_index_create},
    {"DELETE", "/collections/{}/index/{}", http_handle_index_delete},
    {"POST", "/collections/{}/pause", http_handle_pause},
    {"POST", "/collections/{}/resume", http_handle_resume},
    {"POST", "/collections/{}/facet", http_handle_facet},
    {"POST", "/collections/{}/points", http_handle_retrieve},
    {"PUT", "/collections/{}/points", http_handle_upsert},
    {"POST", "/collections/{}/points/delete", http_handle_delete},
    {"POST", "/collections/{}/points/query", http_handle_query},
    {"POST", "/collections/{}/points/query/batch", http_handle_query_batch},
    {"POST", "/collections/{}/points/query/groups", http_handle_query_groups},
    {"POST", "/collections/{}/points/search", http_handle_search},
    {"POST", "/collections/{}/points/scroll", http_handle_scroll},
    {"POST", "/collections/{}/points/count", http_handle_count},
    {"POST", "/collections/{}/points/batch", http_handle_write_batch},
    {"POST", "/collections/{}/points/payload", http_handle_partial_update},
    {"PUT", "/collections/{}/points/payload", http_handle_partial_update},
    {"POST", "/collections/{}/points/payload/delete", http_handle_partial_update},
    {"POST", "/collections/{}/points/payload/clear", http_handle_partial_update},
    {"PUT", "/collections/{}/points/vectors", http_handle_partial_update},
    {"POST", "/collections/{}/points/vectors/delete", http_handle_partial_update},
    {"POST", "/collections/aliases", http_handle_not_available},
};

const struct http_route *http_routes(size_t *count)
{
    *count = sizeof(routes) / sizeof(routes[0]);
    return routes;
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

/* Matches and collects the {} parts; both walk part by part. */
static bool match(const char *pattern, const char *path, struct http_request *request)
{
    request->part_count = 0;
    while (*pattern == '/' && *path == '/') {
        size_t pattern_length = strcspn(++pattern, "/");
        size_t length = strcspn(++path, "/");
        if (pattern_length == 2 && memcmp(pattern, "{}", 2) == 0) {
            if (length == 0 || request->part_count == HTTP_PATH_PARTS_MAX)
                return false;
            request->parts[request->part_count++] =
                http_percent_decode(&request->arena, path, length);
        } else if (pattern_length != length || memcmp(pattern, path, length) != 0) {
            return false;
        }
        pattern += pattern_length;
        path += length;
    }
    /* "/collections/" is "/collections", as for Qdrant. */
    return *pattern == '\0' && (*path == '\0' || strcmp(path, "/") == 0);
}

void http_route_dispatch(struct http_request *request)
{
    struct buffer allow = {0};
    bool is_head = strcmp(request->method, "HEAD") == 0;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!match(routes[i].pattern, request->path, request))
            continue;
        if (strcmp(routes[i].method, is_head ? "GET" : request->method) == 0) {
            request->route = &routes[i];
            buffer_destroy(&allow);
            routes[i].handle(request);
            return;
        }
        if (allow.size > 0)
            buffer_append_text(&allow, ", ");
        buffer_append_text(&allow, routes[i].method);
    }
    if (allow.size > 0) {
        request->allow = arena_copy(&request->arena, allow.data, allow.size);
        http_reply_error(request, 405, "%s is not allowed here; allowed: %s", request->method,
                         request->allow);
    } else {
        http_reply_error(request, 404, "There is no route %s", request->path);
    }
    buffer_destroy(&allow);
}
