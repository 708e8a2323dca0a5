/* Pages that need nothing but the server: root, dashboard, health, metrics. */
#include <string.h>

#include "indexer/http/server.h"

/* Clients compare this with their own version and warn when it is far off. */
#define QDRANT_VERSION "1.19.0"

/* The assembler takes the page in as it is: no generated source, no copy in a string literal. */
extern const char dashboard_html[];
extern const char dashboard_html_end[];

__asm__(".section .rodata\n"
        ".global dashboard_html\n"
        ".global dashboard_html_end\n"
        "dashboard_html:\n"
        ".incbin \"" DASHBOARD_HTML_PATH "\"\n"
        "dashboard_html_end:\n"
        ".byte 0\n"
        ".text\n");

static void handle_root(struct http_request *request)
{
    if (strstr(request->accept, "text/html")) {
        http_reply_plain(request, 200, "text/html; charset=utf-8");
        buffer_append(&request->reply, dashboard_html,
                      (size_t)(dashboard_html_end - dashboard_html));
        return;
    }
    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    buffer_append_text(&request->reply,
                       "{\"title\":\"windrow (speaks the query side of qdrant's REST API)\","
                       "\"version\":\"" QDRANT_VERSION "\"}");
}

static void handle_health(struct http_request *request)
{
    http_reply_plain(request, 200, HTTP_TYPE_TEXT);
    buffer_append_text(&request->reply, "healthz check passed");
}

static void handle_metrics(struct http_request *request)
{
    http_reply_plain(request, 200, "text/plain; version=0.0.4; charset=utf-8");
    metrics_render(request->server->options.metrics, &request->reply);
}

const struct http_route http_pages[] = {
    {"GET", "/", handle_root, HTTP_READ, false},
    {"GET", "/healthz", handle_health, HTTP_PROBE, false},
    {"GET", "/metrics", handle_metrics, HTTP_READ, false},
    {"GET", "/openapi.json", http_handle_openapi, HTTP_READ, false},
};
const size_t http_page_count = sizeof(http_pages) / sizeof(http_pages[0]);
