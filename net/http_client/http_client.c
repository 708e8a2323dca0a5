#include "net/http_client/http_client.h"

#include <stdio.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/trace.h"

static struct curl_slist *add(struct curl_slist *headers, const char *header)
{
    return memory_checked(curl_slist_append(headers, header));
}

struct curl_slist *http_client_headers_with(const struct config_key *key, const char *type)
{
    struct curl_slist *headers = add(NULL, "Expect:"); /* no round trip before a large body */
    struct buffer text = {0};

    headers = add(headers, "Accept:"); /* any type, as without the header */
    buffer_append_format(&text, "Content-Type: %s", type);
    headers = add(headers, buffer_text(&text));
    if (key) {
        text.size = 0;
        buffer_append_format(&text, "api-key: %.*s", (int)key->length, key->text);
        headers = add(headers, buffer_text(&text));
    }
    if (trace_current()) {
        char parent[TRACE_PARENT_BYTES];
        text.size = 0;
        buffer_append_format(&text, "traceparent: %s", trace_format(trace_current(), parent));
        headers = add(headers, buffer_text(&text));
    }
    buffer_destroy(&text);
    return headers;
}

struct curl_slist *http_client_headers(const struct config *config, const char *type)
{
    struct config_key key;

    return http_client_headers_with(config_key_sent(config, &key) ? &key : NULL, type);
}

const char *http_client_scheme(const struct config *config)
{
    return config->http_tls_cert_file || config->http_tls_ca_file ? "https" : "http";
}

void http_client_prepare(CURL *curl, const struct config *config)
{
    /* Before the authorities' file is read again; a connection, where certificates may be revoked. */
    enum { AUTHORITIES_KEPT_S = 60, CONNECTION_KEPT_S = 60 };

    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, http_client_scheme(config));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    /* Addresses are of windrow's own processes; a proxy of the environment is for other places. */
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, (long)AUTHORITIES_KEPT_S);
    if (config->http_tls_crl_file) {
        curl_easy_setopt(curl, CURLOPT_CRLFILE, config->http_tls_crl_file);
        /* A session that is taken up again would spare the other one the look into the list. */
        curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
        curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_KEPT_S);
    }
    if (config->http_tls_ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, config->http_tls_ca_file);
    if (!config->http_tls_client_ca_file)
        return;
    curl_easy_setopt(curl, CURLOPT_SSLCERT, config->http_tls_cert_file);
    curl_easy_setopt(curl, CURLOPT_SSLKEY, config->http_tls_key_file);
}

struct curl_slist *http_client_foreign_headers(const struct config_key *key)
{
    struct curl_slist *headers = add(add(NULL, "Expect:"), "Content-Type: application/json");
    struct buffer text = {0};

    if (key) {
        buffer_append_format(&text, "Authorization: Bearer %.*s", (int)key->length, key->text);
        headers = add(headers, buffer_text(&text));
    }
    buffer_destroy(&text);
    return headers;
}

void http_client_prepare_foreign(CURL *curl, const char *url)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

const char *http_client_reason(CURLcode code, const char *reason,
                               char out[HTTP_CLIENT_REASON_BYTES])
{
    (void)snprintf(out, HTTP_CLIENT_REASON_BYTES, "%s%s",
                   code == CURLE_PEER_FAILED_VERIFICATION ? "its certificate is refused: " : "",
                   *reason ? reason : curl_easy_strerror(code));
    return out;
}
