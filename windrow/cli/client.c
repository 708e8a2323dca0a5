#include "windrow/cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/http_client/http_client.h"

enum { CONNECT_TIMEOUT_S = 5, TIMEOUT_S = 120, REPLY_BYTES_MAX = 256 << 20 };

struct client {
    CURL *curl;
    const struct config *config;
    struct curl_slist *headers, *connect_to;
    char address[320];
    long timeout_s;
    char curl_error[CURL_ERROR_SIZE];
};

struct reply_sink {
    struct buffer *buffer;
};

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct reply_sink *sink = context;
    size_t size_bytes = size * count;

    if (sink->buffer->size + size_bytes > REPLY_BYTES_MAX)
        return 0; /* curl fails the transfer */
    buffer_append(sink->buffer, bytes, size_bytes);
    return size_bytes;
}

struct client_choice client_choice;

/* The listener's address, as others write it. */
static void write_listener(const struct config *config, char *out, size_t out_bytes)
{
    const char *host = config->http_host;

    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    (void)snprintf(out, out_bytes, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                   config->http_port);
}

/* A certificate is for a name: that one stands in the URL, while the connection goes to the
 * listener. */
static int choose_address(struct client *client, const struct config *config, struct error *error)
{
    const char *url = client_choice.url, *name = config->cluster_advertise;
    const bool tls = config->http_tls_cert_file != NULL;
    char listener[80], target[100];

    if (url) {
        size_t length = strlen(url);
        bool known = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
        while (length > 0 && url[length - 1] == '/')
            length--;
        if (!known || length >= sizeof(client->address))
            return error_set(error, ERROR_INVALID,
                             "--url %s: expected http://HOST:PORT or https://HOST:PORT", url);
        (void)snprintf(client->address, sizeof(client->address), "%.*s", (int)length, url);
        return 0;
    }
    if (config->http_port == 0)
        return error_set(error, ERROR_INVALID,
                         "http.listen has port 0, so commands cannot find the service (set a port "
                         "in %s, or name it with --url)",
                         config->path);
    write_listener(config, listener, sizeof(listener));
    (void)snprintf(client->address, sizeof(client->address), "%s://%s", tls ? "https" : "http",
                   tls && name ? name : listener);
    (void)snprintf(target, sizeof(target), "::%s", listener);
    if (tls && name)
        client->connect_to = memory_checked(curl_slist_append(NULL, target));
    return 0;
}

int client_open(const struct config *config, struct client **client, struct error *error)
{
    const char *keys = config->http_api_key;
    struct config_key key;
    struct client *fresh;

    fresh = memory_new(1, sizeof(*fresh));
    fresh->curl = curl_easy_init();
    if (!fresh->curl) {
        free(fresh);
        return error_set(error, ERROR_MEMORY, "cannot initialise libcurl");
    }
    fresh->config = config;
    fresh->timeout_s = TIMEOUT_S;
    if (choose_address(fresh, config, error) != 0) {
        client_close(fresh);
        return error->code;
    }
    fresh->headers =
        http_client_headers_with(config_key_next(&keys, &key) ? &key : NULL, "application/json");
    *client = fresh;
    return 0;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    curl_slist_free_all(client->headers);
    curl_slist_free_all(client->connect_to);
    curl_easy_cleanup(client->curl);
    free(client);
}

void client_set_timeout(struct client *client, long seconds)
{
    client->timeout_s = seconds;
}

const char *client_address(const struct client *client)
{
    return client->address;
}

void client_accept(struct client *client, const char *type)
{
    struct buffer line = {0};

    buffer_append_format(&line, "Accept: %s", type);
    client->headers = memory_checked(curl_slist_append(client->headers, buffer_text(&line)));
    buffer_destroy(&line);
}

const char *client_reply_header(struct client *client, const char *name)
{
    struct curl_header *header;

    if (curl_easy_header(client->curl, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    return header->value;
}

static CURLcode perform(struct client *client, const char *path, const struct buffer *body,
                        struct reply_sink *sink)
{
    CURL *curl = client->curl;
    struct buffer url = {0};
    CURLcode code;

    buffer_append_format(&url, "%s%s", client->address, path);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, buffer_text(&url));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, client->timeout_s);
    http_client_prepare(curl, client->config);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https"); /* as the address says */
    curl_easy_setopt(curl, CURLOPT_CONNECT_TO, client->connect_to);
    if (client_choice.ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, client_choice.ca_file);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
    }
    client->curl_error[0] = '\0';
    code = curl_easy_perform(curl);
    buffer_destroy(&url);
    return code;
}

/* The text of the error envelope, or the body itself. */
static int refuse(const struct client *client, long status, const struct buffer *reply,
                  struct error *error)
{
    struct arena arena;
    struct doc doc;
    const struct doc *text = NULL;
    size_t length = reply->size < 500 ? reply->size : 500;

    arena_create(&arena, 0);
    if (doc_parse_json(&arena, (const char *)reply->data, reply->size, NULL, &doc, ERROR_IGNORED) ==
        0) {
        const struct doc *envelope = doc_get(&doc, "status");
        text = envelope ? doc_get(envelope, "error") : NULL;
    }
    if (text && text->type == DOC_STRING)
        (void)error_set(error, ERROR_PEER, "%.*s", (int)(text->count < 800 ? text->count : 800),
                        text->string);
    else
        (void)error_set(error, ERROR_PEER, "%s answered %ld: %.*s", client->address, status,
                        (int)length, (const char *)reply->data);
    if (status == 401 || status == 403)
        (void)error_wrap(error, "%s requires an API key (http.api_key_file)", client->address);
    arena_destroy(&arena);
    return ERROR_PEER;
}

int client_request(struct client *client, const char *path, const struct buffer *body,
                   struct buffer *reply, long *status, struct error *error)
{
    struct reply_sink sink = {reply};
    char reason[HTTP_CLIENT_REASON_BYTES];
    long http_status = 0;
    CURLcode code;

    reply->size = 0;
    code = perform(client, path, body, &sink);
    if (code == CURLE_OK)
        curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &http_status);
    if (status)
        *status = http_status;
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return error_set(error, ERROR_PEER,
                         "%s: %s (http.tls.ca_file or --ca-file names the authorities, --url the "
                         "service)",
                         client->address, http_client_reason(code, client->curl_error, reason));
    if (code != CURLE_OK)
        return error_set(error, ERROR_PEER, "%s does not answer: %s (is `windrow run` running?)",
                         client->address, http_client_reason(code, client->curl_error, reason));
    if (http_status < 200 || http_status > 299)
        return refuse(client, http_status, reply, error);
    return 0;
}

int client_request_doc(struct client *client, const char *path, const struct buffer *body,
                       struct arena *arena, struct buffer *reply, struct doc *doc,
                       struct error *error)
{
    const struct doc_limits limits = {.max_bytes = REPLY_BYTES_MAX};
    int code = client_request(client, path, body, reply, NULL, error);

    if (code != 0)
        return code;
    code = doc_parse_json(arena, (const char *)reply->data, reply->size, &limits, doc, error);
    return code == 0 ? 0 : error_wrap(error, "%s%s", client->address, path);
}

const struct doc *reply_get(const struct doc *map, const char *key)
{
    static const struct doc missing = {.type = DOC_NULL};
    const struct doc *value = doc_get(map, key);

    return value ? value : &missing;
}

int64_t reply_number(const struct doc *map, const char *key, int64_t otherwise)
{
    int64_t number;

    return doc_as_i64(reply_get(map, key), &number) ? number : otherwise;
}

double reply_double(const struct doc *map, const char *key, double otherwise)
{
    double number;

    return doc_as_double(reply_get(map, key), &number) ? number : otherwise;
}

bool reply_is_true(const struct doc *map, const char *key)
{
    const struct doc *value = reply_get(map, key);

    return value->type == DOC_BOOL && value->boolean;
}

int reply_text_length(const struct doc *map, const char *key)
{
    const struct doc *value = reply_get(map, key);

    return value->type == DOC_STRING ? (int)value->count : 1;
}

const char *reply_text(const struct doc *map, const char *key)
{
    const struct doc *value = reply_get(map, key);

    return value->type == DOC_STRING ? value->string : "-";
}
