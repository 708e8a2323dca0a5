#include "indexer/endpoint/pages/pages.h"

#include <string.h>

#include "base/version.h"
#include "indexer/endpoint/pages/openapi.h"

/* Clients compare this with their own version and warn when it is far off. */
#define QDRANT_VERSION "1.19.0"

/* The assembler takes the files in as they are: no generated source, no copy in a string literal. */
#define INCLUDE_FILE(name, path)                                                                   \
    extern const char name[], name##_end[];                                                        \
    __asm__(".section .rodata\n" #name ":\n.incbin \"" path "\"\n" #name "_end:\n.byte "           \
            "0\n.text\n")

INCLUDE_FILE(dashboard_html, DASHBOARD_PATH ".html");
INCLUDE_FILE(dashboard_css, DASHBOARD_PATH ".css");
INCLUDE_FILE(dashboard_js, DASHBOARD_PATH ".js");

static void reply_file(struct http_request *request, const char *content_type, const char *file,
                       const char *end)
{
    http_reply_plain(request, 200, content_type);
    buffer_append(&request->reply, file, (size_t)(end - file));
}

static void handle_style(struct http_request *request)
{
    reply_file(request, "text/css; charset=utf-8", dashboard_css, dashboard_css_end);
}

static void handle_script(struct http_request *request)
{
    reply_file(request, "text/javascript; charset=utf-8", dashboard_js, dashboard_js_end);
}

static void handle_root(struct http_request *request)
{
    if (strstr(request->accept, "text/html")) {
        reply_file(request, "text/html; charset=utf-8", dashboard_html, dashboard_html_end);
        return;
    }
    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    buffer_append_text(&request->reply,
                       "{\"title\":\"windrow (speaks the query side of qdrant's REST API)\","
                       "\"version\":\"" QDRANT_VERSION "\",\"commit\":\"windrow-" WINDROW_VERSION
                       "\"}");
}

static void handle_health(struct http_request *request)
{
    http_reply_plain(request, 200, HTTP_TYPE_TEXT);
    buffer_append_text(&request->reply, "healthz check passed");
}

static void handle_metrics(struct http_request *request)
{
    struct metrics *metrics = http_server_options(request->server)->metrics;

    if (strstr(request->accept, "application/openmetrics-text")) {
        http_reply_plain(request, 200,
                         "application/openmetrics-text; version=1.0.0; charset=utf-8");
        metrics_render_openmetrics(metrics, &request->reply);
        return;
    }
    http_reply_plain(request, 200, "text/plain; version=0.0.4; charset=utf-8");
    metrics_render(metrics, &request->reply);
}

static const struct http_route pages[] = {
    {"GET", "/", handle_root, HTTP_DASHBOARD, NULL},
    {"GET", "/dashboard.css", handle_style, HTTP_DASHBOARD, NULL},
    {"GET", "/dashboard.js", handle_script, HTTP_DASHBOARD, NULL},
    {"GET", "/healthz", handle_health, HTTP_PROBE, NULL},
    {"GET", "/metrics", handle_metrics, HTTP_METRICS, NULL},
    {"GET", "/openapi.json", openapi_handle, HTTP_READ, NULL},
};

void pages_add_routes(struct http_server *server)
{
    http_server_add_routes(server, pages, sizeof(pages) / sizeof(pages[0]), NULL);
}
