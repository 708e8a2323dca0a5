#include "indexer/http_client/http_client.h"

#include "base/buffer.h"
#include "base/memory.h"

static struct curl_slist *add(struct curl_slist *headers, const char *header)
{
    return memory_checked(curl_slist_append(headers, header));
}

struct curl_slist *http_client_headers_with(const struct config_key *key, const char *type)
{
    struct curl_slist *headers = add(NULL, "Expect:"); /* no round trip before a large body */
    struct buffer text = {0};

    buffer_append_format(&text, "Content-Type: %s", type);
    headers = add(headers, buffer_text(&text));
    if (key) {
        text.size = 0;
        buffer_append_format(&text, "api-key: %.*s", (int)key->length, key->text);
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
