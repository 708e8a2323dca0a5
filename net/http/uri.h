/* uri: what libmicrohttpd does to a URI, and what it is kept from. Private to net/http. */
#ifndef NET_HTTP_URI_H
#define NET_HTTP_URI_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

enum { HTTP_ARGUMENTS_MAX = 100 }; /* of a query */

/** For MHD_OPTION_URI_LOG_CALLBACK, which comes first: notes where the URI ends, and cuts the query off that has
 * more parameters. What it returns is the request's slot. */
void *http_uri_cut(void *context, const char *uri, struct MHD_Connection *connection);
/** Whether that is the slot of a request whose query was cut off. */
bool http_uri_was_cut(const void *slot);

/** For MHD_OPTION_UNESCAPE_CALLBACK: paths stay encoded, and route.c decodes them part by part, so that %2F
 * is no slash. */
size_t http_uri_keep_escapes(void *context, struct MHD_Connection *connection, char *text);

#endif
