/* What is decided when the headers of a request are complete, before its body is read: a request
 * that is refused here costs no memory for its body and no place in the pool. */
#include <microhttpd.h>
#include <string.h>
#include <strings.h>

#include "indexer/http/server.h"

static const char *header_of(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* ---- framing ---- */

struct framing {
    unsigned content_lengths, transfer_encodings, hosts;
    const char *transfer_encoding;
    const char *fault;
};

static enum MHD_Result look_at_header(void *context, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct framing *framing = context;

    (void)kind;
    if (strpbrk(name, " \t"))
        framing->fault = "A header's name ends at its colon";
    if (strcasecmp(name, "Content-Length") == 0)
        framing->content_lengths++;
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
static bool framing_is_plain(struct http_request *request)
{
    struct framing framing = {0};

    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look_at_header, &framing);
    if (framing.content_lengths > 1)
        framing.fault = "Content-Length is given more than once";
    if (framing.hosts > 1)
        framing.fault = "Host is given more than once";
    if (framing.transfer_encodings > 0) {
        if (framing.content_lengths > 0)
            framing.fault = "Content-Length and Transfer-Encoding exclude each other";
        else if (framing.transfer_encodings > 1 || !framing.transfer_encoding ||
                 strcasecmp(framing.transfer_encoding, "chunked") != 0)
            framing.fault = "The only Transfer-Encoding understood is chunked";
    }
    if (!framing.fault)
        return true;
    http_reply_error(request, 400, "%s", framing.fault);
    request->closes = true;
    return false;
}

/* ---- keys ---- */

/* Compares in constant time: the key is a secret. */
static bool key_matches(const char *given, const char *wanted)
{
    size_t given_length = strlen(given);
    size_t wanted_length = strlen(wanted);
    unsigned char difference = given_length != wanted_length;

    for (size_t i = 0; i < given_length; i++)
        difference |= (unsigned char)(given[i] ^ wanted[i % (wanted_length + 1)]);
    return difference == 0;
}

static bool is_authorised(struct http_request *request)
{
    const char *wanted = request->server->options.config->http_api_key;
    const char *given = header_of(request, "api-key");

    if (!wanted)
        return true;
    if (!given) {
        given = header_of(request, "Authorization");
        if (given && strncasecmp(given, "Bearer ", 7) == 0)
            given += 7;
    }
    if (given && key_matches(given, wanted))
        return true;
    http_reply_error(request, 403, "Must provide an API key or an Authorization bearer token");
    return false;
}

/* ---- bodies ---- */

/* Bodies come as they are: no client that is known compresses them. */
static bool body_is_plain(struct http_request *request)
{
    const char *encoding = header_of(request, "Content-Encoding");

    if (!encoding || !*encoding || strcasecmp(encoding, "identity") == 0)
        return true;
    http_reply_error(request, 415, "Bodies with a Content-Encoding are not understood");
    return false;
}

bool http_admit(struct http_request *request)
{
    if (!framing_is_plain(request))
        return false;
    if (request->route && request->route->route->access == HTTP_PROBE)
        return true; /* probes come without keys */
    return is_authorised(request) && body_is_plain(request) && request->route;
}

bool http_expects_body(const struct http_request *request)
{
    const char *length = header_of(request, "Content-Length");
    const char *expect = header_of(request, "Expect");

    /* A client that asks first (100-continue) sends none after a refusal. */
    if (expect && strcasecmp(expect, "100-continue") == 0)
        return false;
    return header_of(request, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}
