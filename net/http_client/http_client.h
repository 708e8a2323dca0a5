/* http_client: what requests of this process have in common, on libcurl. Other nodes, owners of remote
 * builds and the commands are asked with it, and services that are not windrow's (embedders). */
#ifndef NET_HTTP_CLIENT_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_HTTP_CLIENT_H

#include <curl/curl.h>

#include "config/config.h"

/** Headers of a request to another node: the type of its body (HTTP_TYPE_*) and the key that nodes send
 * (config_key_sent, which may change between two requests), and the trace of the calling thread. curl_slist_free_all after the transfer. */
struct curl_slist *http_client_headers(const struct config *config, const char *type);
/** The same with a key of the caller's choice. NULL: none. */
struct curl_slist *http_client_headers_with(const struct config_key *key, const char *type);

/** "https" when this process has a certificate or names authorities (http.tls), else "http". Never what
 * the other side says: a key does not go out in plain text because somebody asks for it. */
const char *http_client_scheme(const struct config *config);
/** What every request has: only that scheme, authorities, the own certificate where the cluster wants
 * one, no proxy, no redirect, no signals. */
void http_client_prepare(CURL *curl, const struct config *config);

/** Headers of a request with a JSON body to somebody else's service; a key (NULL: none) goes out as
 * Authorization: Bearer. */
struct curl_slist *http_client_foreign_headers(const struct config_key *key);
/** What such a request has: the URL of the config, over HTTP or HTTPS with the system's authorities, no
 * redirect, no signals. Proxies are those of the environment (https_proxy, no_proxy). */
void http_client_prepare_foreign(CURL *curl, const char *url);

enum { HTTP_CLIENT_REASON_BYTES = CURL_ERROR_SIZE + 64 };
/** Why a transfer failed, into `out`: that it was the certificate, and `reason`, which is what
 * CURLOPT_ERRORBUFFER got. */
const char *http_client_reason(CURLcode code, const char *reason,
                               char out[HTTP_CLIENT_REASON_BYTES]);

#endif
