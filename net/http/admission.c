/* What is decided when the headers of a request are complete, before its body is read: a request
 * that is refused here costs no memory for its body and no place in the pool. */
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/http/coding.h"
#include "net/http/server.h"

static const char *header_of(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* Framing. */

/* Of all headers together; nginx and HAProxy send fewer. libmicrohttpd has room for twice as much, so
 * that what is somewhat larger is refused here, in the envelope. */
enum { HEADERS_MAX_BYTES = 32 * 1024, HEADERS_MAX = 100, HEADER_OVERHEAD = 4 };

struct framing {
    size_t headers, bytes;
    unsigned content_lengths, transfer_encodings, content_encodings, hosts;
    const char *transfer_encoding;
    const char *line; /* where the next one has to begin; NULL: it began elsewhere */
    const char *fault;
};

enum { LINE_END = 2 }; /* CR and LF */

/* libmicrohttpd appends a line that goes on with its header (RFC 9112, 5.2) to the header's NAME, which nobody finds
 * then: a proxy that unfolds it reads chunks, and we a length. */
static bool name_is_plain(const char *name)
{
    static const char *const framing[] = {"Transfer-Encoding", "Content-Length", "Content-Encoding",
                                          "Host", "Origin"};
    static const char allowed[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    if (!*name || name[strspn(name, allowed)])
        return false;
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++) {
        size_t length = strlen(framing[i]);
        if (strncasecmp(name, framing[i], length) == 0 && name[length])
            return false;
    }
    return true;
}

/* Names end at a NUL: it would be asked after another one. Escapes are as they came. */
static enum MHD_Result look_for_nul(void *context, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct framing *framing = context;

    (void)kind;
    if (strstr(name, "%00") || (value && strstr(value, "%00")))
        framing->fault = "%00 stands in no name or parameter";
    return MHD_YES;
}

/* libmicrohttpd before 1.0 writes NULs over colons and the ends of lines, and then looks for NULs. A line without a name
 * or with a NUL in front ends the headers for it, and the rest is read as another request; a NUL ends a value. So a head
 * is taken only if its lines, as they were understood, fill it: CR LF leaves two NULs behind each of them. Two
 * things escape this: a NUL in place of a CR, and a colon in place of that of the empty line. */
static bool head_is_plain(const struct http_request *request, const struct http_head *head,
                          const struct framing *framing)
{
    size_t bytes;

    if (*MHD_get_version() != '0')
        return true; /* it refuses all this, and lays heads out otherwise */
    bytes = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
                ->header_size;
    return http_connection_of(request)->uri_end + 1 == head->version && framing->line &&
           framing->line + LINE_END == head->begin + bytes;
}

static enum MHD_Result look_at_header(void *context, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct framing *framing = context;
    const size_t name_length = strlen(name), value_length = value ? strlen(value) : 0;
    const char *after = name + name_length + 1;

    (void)kind;
    framing->headers++;
    framing->bytes += name_length + value_length + HEADER_OVERHEAD;
    framing->line =
        name == framing->line && value == after + strspn(after, " \t") && !strchr(value, '\r')
            ? value + value_length + LINE_END
            : NULL;
    if (!name_is_plain(name))
        framing->fault = "A header's name ends at its colon, its value on the same line";
    if (strcasecmp(name, "Content-Length") == 0)
        framing->content_lengths++;
    if (strcasecmp(name, "Content-Encoding") == 0)
        framing->content_encodings++;
    if (strcasecmp(name, "Host") == 0)
        framing->hosts++;
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->transfer_encodings++;
        framing->transfer_encoding = value;
    }
    return MHD_YES;
}

/* A proxy in front that reads such a request's end in another place than libmicrohttpd takes what
 * follows for the next client's request (RFC 9112, 6.3 and 11.2). */
static bool framing_is_plain(struct http_request *request, const struct http_head *head)
{
    struct framing framing = {.line = head->version + strlen(head->version) + LINE_END};

    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look_at_header, &framing);
    (void)MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, look_for_nul,
                                    &framing);
    (void)look_for_nul(&framing, MHD_HEADER_KIND, request->path, NULL);
    if (framing.content_lengths > 1)
        framing.fault = "Content-Length is given more than once";
    if (framing.content_encodings > 1)
        framing.fault = "Content-Encoding is given more than once";
    if (framing.hosts > 1)
        framing.fault = "Host is given more than once";
    if (framing.hosts == 0 && request->needs_host)
        framing.fault = "Host is missing, which every request of HTTP/1.1 has";
    if (framing.transfer_encodings > 0) {
        if (framing.content_lengths > 0)
            framing.fault = "Content-Length and Transfer-Encoding exclude each other";
        else if (framing.transfer_encodings > 1 || !framing.transfer_encoding ||
                 strcasecmp(framing.transfer_encoding, "chunked") != 0)
            framing.fault = "The only Transfer-Encoding understood is chunked";
    }
    if (!framing.fault && !head_is_plain(request, head, &framing))
        framing.fault = "A line of the head has no name, or a NUL, CR or LF inside";
    request->is_chunked = framing.transfer_encodings > 0;
    if (framing.fault)
        http_reply_error(request, 400, "%s", framing.fault);
    else if (framing.headers > HEADERS_MAX || framing.bytes > HEADERS_MAX_BYTES)
        http_reply_error(request, 431, "The headers are more than %d, or larger than %d bytes",
                         HEADERS_MAX, HEADERS_MAX_BYTES);
    else
        return true;
    request->closes = true;
    return false;
}

/* Keys. */

static const char *key_of(const struct http_request *request)
{
    const char *given = header_of(request, "api-key");

    if (given)
        return given;
    given = header_of(request, "Authorization");
    return given && strncasecmp(given, "Bearer ", 7) == 0 ? given + 7 : given;
}

static bool is_authorised(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct http_caller caller = {.key = key_of(request), .address = info->client_addr};
    struct error error;

    switch (http_keys_authorise(request->server->keys, &caller,
                                request->route ? request->route->route->access : HTTP_READ,
                                request->who, &error)) {
    case HTTP_ALLOWED:
        request->body_share = http_body_share(request->server, caller.key);
        return true;
    case HTTP_LIMITED:
        request->retry_after_seconds = 1;
        http_reply_error(request, 429, "%s", error.text);
        return false;
    default:
        http_reply_error(request, 403, "%s", error.text);
        return false;
    }
}

/* Browsers.
 *
 * A web page can make its visitor's browser send requests to this service. Without an API key only
 * the checks below keep it out. Host: a page whose own name was pointed to this address (DNS
 * rebinding) counts as the same origin and could read answers. Origin and Sec-Fetch-Site: other
 * pages. The type of a body: requests that need no permission of ours come as text or as a form. */

static bool is_listed(const char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(list[i], text) == 0)
            return true;
    return false;
}

/* "127.0.0.1:6333" -> "127.0.0.1", "[::1]:6333" -> "::1" */
static void strip_port(const char *host, char *out, size_t out_bytes)
{
    const char *first = *host == '[' ? host + 1 : host;
    size_t length = *host == '[' ? strcspn(first, "]") : strcspn(first, ":");

    (void)snprintf(out, out_bytes, "%.*s", length < out_bytes ? (int)length : 0, first);
}

static bool host_is_ours(struct http_request *request)
{
    const struct config *config = request->server->options.config;
    const char *host = header_of(request, "Host");
    const char *const *allowed = (const char *const *)config->http_allowed_hosts;
    char name[256];

    /* Who rebinds a name does not know the key. An open endpoint may not know its names, unless some are listed. */
    if (!host || config->http_api_key ||
        (config->http_insecure == CONFIG_TRUE && config->http_allowed_host_count == 0))
        return true;
    strip_port(host, name, sizeof(name));
    if (strcasecmp(name, "localhost") == 0 || strcmp(name, config->http_host) == 0 ||
        is_listed(allowed, config->http_allowed_host_count, host) ||
        is_listed(allowed, config->http_allowed_host_count, name) ||
        (config->cluster_advertise && strcasecmp(host, config->cluster_advertise) == 0))
        return true;
    http_reply_error(request, 403,
                     "Host %.200s is not a name of this service (http.allowed_hosts lists more)",
                     host);
    return false;
}

/* Whether a page of this origin was served by us. */
static bool is_own_origin(const struct http_request *request, const char *origin)
{
    const char *host = header_of(request, "Host");

    if (strncasecmp(origin, "http://", 7) == 0)
        origin += 7;
    else if (strncasecmp(origin, "https://", 8) == 0) /* a proxy speaks TLS in front */
        origin += 8;
    else
        return false;
    return host && strcasecmp(origin, host) == 0;
}

/* Following a link from another page shows an answer to the visitor, not to that page. */
static bool is_link(const struct http_request *request)
{
    const char *mode = header_of(request, "Sec-Fetch-Mode");

    return strcmp(request->method, "GET") == 0 && mode && strcasecmp(mode, "navigate") == 0;
}

static bool page_is_allowed(struct http_request *request)
{
    const struct config *config = request->server->options.config;
    const char *origin = header_of(request, "Origin");
    const char *site = header_of(request, "Sec-Fetch-Site");

    if (origin && is_listed((const char *const *)config->http_cors_origins,
                            config->http_cors_origin_count, origin)) {
        request->cors_origin = origin;
        return true;
    }
    if (origin ? is_own_origin(request, origin)
               : !site || strcasecmp(site, "same-origin") == 0 || strcasecmp(site, "none") == 0 ||
                     is_link(request))
        return true;
    http_reply_error(request, 403,
                     "Web pages of %.200s may not use this service (http.cors_origins lists those "
                     "that may)",
                     origin ? origin : "other sites");
    return false;
}

/* A browser asks for permission before it sends what a plain form could not send. */
static bool is_preflight(const struct http_request *request)
{
    return request->cors_origin && strcmp(request->method, "OPTIONS") == 0 &&
           header_of(request, "Access-Control-Request-Method");
}

static bool type_is_safe(struct http_request *request)
{
    const char *type = header_of(request, "Content-Type");
    size_t length = type ? strcspn(type, "; ") : 0;

    if (!request->route || http_access_reads(request->route->route->access) ||
        (strcmp(request->method, "POST") != 0 && !http_expects_body(request)) ||
        (length == strlen(HTTP_TYPE_JSON) && strncasecmp(type, HTTP_TYPE_JSON, length) == 0) ||
        (length == strlen(HTTP_TYPE_BINARY) && strncasecmp(type, HTTP_TYPE_BINARY, length) == 0))
        return true;
    http_reply_error(request, 415, "Content-Type: expected application/json");
    return false;
}

/* Bodies. */

static bool coding_is_known(struct http_request *request)
{
    const char *encoding = header_of(request, "Content-Encoding");
    enum http_coding coding;

    if (http_coding_parse(encoding, &coding))
        return true;
    http_reply_error(request, 415, "Content-Encoding: %.100s is not one of " HTTP_CODINGS,
                     encoding);
    return false;
}

static bool client_is_known(struct http_request *request)
{
    const struct http_server *server = request->server;
    struct http_connection *connection = http_connection_of(request);

    if (!server->tls || !http_tls_client_authorities(server->tls))
        return true;
    if (http_tls_check_client(server->tls, http_session_of(request->connection),
                              &connection->certificate) == 0)
        return true;
    http_reply_error(request, 403, "%s", connection->certificate.fault.text);
    return false;
}

bool http_admit(struct http_request *request, const struct http_head *head)
{
    if (!framing_is_plain(request, head))
        return false;
    if (request->route && request->route->route->access == HTTP_PROBE)
        return true; /* probes come without keys */
    if (!host_is_ours(request) || !page_is_allowed(request))
        return false;
    if (is_preflight(request)) {
        http_reply_plain(request, 204, NULL);
        return false;
    }
    return client_is_known(request) && is_authorised(request) && coding_is_known(request) &&
           type_is_safe(request) && request->route;
}

bool http_announces_body(const struct http_request *request)
{
    const char *length = header_of(request, "Content-Length");

    return header_of(request, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}

bool http_expects_body(const struct http_request *request)
{
    const char *expect = header_of(request, "Expect");

    /* A client that asks first (100-continue) sends none after a refusal. */
    if (expect && strcasecmp(expect, "100-continue") == 0)
        return false;
    return http_announces_body(request);
}
