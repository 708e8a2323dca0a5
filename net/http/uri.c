#include "net/http/uri.h"

#include <string.h>

#include "net/http/server.h"

static char cut_query;

/* libmicrohttpd keeps 64 bytes of each query argument, and when they find no room it neither answers nor
 * closes (0.9.75). It shows the URI, in a buffer that may be written to, before it takes it apart. */
void *http_uri_cut(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_connection *one =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    char *query = strchr(uri, '?');
    size_t arguments = 0;

    (void)context;
    one->uri_end = uri + strcspn(uri, "\r");
    for (const char *at = query; at; at = strchr(at + 1, '&'))
        arguments++;
    if (arguments <= HTTP_ARGUMENTS_MAX)
        return NULL;
    query[1] = '\0';
    return &cut_query;
}

bool http_uri_was_cut(const void *slot)
{
    return slot == &cut_query;
}

size_t http_uri_keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}
