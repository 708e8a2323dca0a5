/* What the bodies of all requests may hold while they come in: together, by address, and by key. An address may be a
 * proxy's and a key everybody's: neither gets all of it. */
#include <string.h>
#include <xxhash.h>

#include "net/http/server.h"

enum {
    BODIES_MAX_BYTES = 256 * 1024 * 1024, /* of all requests that are here at a time */
    CLIENT_BODIES_MAX_BYTES = BODIES_MAX_BYTES / 2,
    KEY_BODIES_MAX_BYTES = BODIES_MAX_BYTES / 4 * 3
};

bool http_body_reserve(const struct http_request *request, uint32_t lane, size_t bytes)
{
    struct http_server *server = request->server;
    bool own_full =
        atomic_fetch_add(&server->lane_bodies_bytes[lane], bytes) > CLIENT_BODIES_MAX_BYTES - bytes;
    bool key_full = atomic_fetch_add(&server->key_bodies_bytes[request->body_share], bytes) >
                        KEY_BODIES_MAX_BYTES - bytes &&
                    request->body_share > 0;
    bool full = atomic_fetch_add(&server->bodies_bytes, bytes) > BODIES_MAX_BYTES - bytes;

    if (own_full || key_full || full)
        http_body_release(request, lane, bytes);
    return !own_full && !key_full && !full;
}

void http_body_release(const struct http_request *request, uint32_t lane, size_t bytes)
{
    struct http_server *server = request->server;

    atomic_fetch_sub(&server->bodies_bytes, bytes);
    atomic_fetch_sub(&server->key_bodies_bytes[request->body_share], bytes);
    atomic_fetch_sub(&server->lane_bodies_bytes[lane], bytes);
}

/* Where keys are asked for: elsewhere a client would send another one with each request. */
uint32_t http_body_share(const struct http_server *server, const char *key)
{
    if (!key || !server->options.config->http_api_key)
        return 0;
    return 1 + (uint32_t)(XXH3_64bits(key, strlen(key)) % (HTTP_KEY_SHARES - 1));
}
