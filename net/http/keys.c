/* Wrong keys. A table of a fixed size has the addresses that sent some of late; a full bucket of it
 * loses the one that is free soonest. Each wrong key moves the time from which its address is free
 * by a second; an address that would be free only in ten seconds is not listened to.
 *
 * Other clients may share an address with one that sends wrong keys (behind a proxy, or after a
 * change of keys that one of them missed). A key that was right from an address before is therefore
 * let through. Those pairs are kept as hashes in slots that are overwritten: forgetting one costs its client a
 * wait at worst. */
#include "net/http/keys.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/logger.h"
#include "base/memory.h"

enum { BUCKETS = 256, BUCKET_SIZE = 4, PAIRS = 4096, TRIES_AT_ONCE = 10 };

#define SECOND_NS INT64_C(1000000000)

/* As a set. */
enum key_kind { KEY_ADMIN = 1, KEY_READ_ONLY = 2, KEY_INTERNAL = 4, KEY_NONE = 8 };

/* What each key may do. */
static const unsigned granted[] = {
    [HTTP_READ] = KEY_ADMIN | KEY_READ_ONLY | KEY_INTERNAL,
    [HTTP_WRITE] = KEY_ADMIN,
    [HTTP_PROBE] = KEY_ADMIN | KEY_READ_ONLY | KEY_INTERNAL | KEY_NONE,
    [HTTP_CONTROL] = KEY_ADMIN | KEY_INTERNAL,
    [HTTP_INTERNAL] = KEY_ADMIN | KEY_INTERNAL,
    [HTTP_INTERNAL_WRITE] = KEY_ADMIN | KEY_INTERNAL,
    [HTTP_SEARCH] = KEY_ADMIN | KEY_READ_ONLY | KEY_INTERNAL,
    [HTTP_DASHBOARD] = KEY_ADMIN | KEY_READ_ONLY | KEY_INTERNAL,
    [HTTP_METRICS] = KEY_ADMIN | KEY_READ_ONLY | KEY_INTERNAL,
};

bool http_access_reads(enum http_access access)
{
    return access != HTTP_WRITE && access != HTTP_CONTROL && access != HTTP_INTERNAL_WRITE;
}

bool http_access_internal(enum http_access access)
{
    return access == HTTP_INTERNAL || access == HTTP_INTERNAL_WRITE;
}

bool http_access_is_open(const struct config *config, enum http_access access)
{
    const char *name = access == HTTP_DASHBOARD ? "dashboard" : "metrics";

    if (access != HTTP_DASHBOARD && access != HTTP_METRICS)
        return (granted[access] & KEY_NONE) != 0;
    for (size_t i = 0; i < config->http_open_route_count; i++)
        if (strcmp(config->http_open_routes[i], name) == 0)
            return true;
    return false;
}

struct suspect {
    uint64_t address;
    int64_t free_ns; /* the past: nothing is held against it */
};

struct http_keys {
    const struct config *config;
    struct io *io;
    uint64_t seed;
    _Atomic uint64_t pairs[PAIRS]; /* addresses and keys that were right */
    _Atomic int64_t limits_end_ns; /* nobody is limited from then on */
    _Atomic uint64_t untold;       /* wrong keys since the last line of the log */
    pthread_mutex_t lock;          /* of what follows */
    struct suspect suspects[BUCKETS][BUCKET_SIZE];
    char last[64]; /* address that sent a wrong key */
    int64_t told_ns;
    struct metric *wrong, *limited;
};

struct http_keys *http_keys_new(const struct config *config, struct metrics *metrics, struct io *io)
{
    struct http_keys *keys = memory_new(1, sizeof(*keys));

    keys->config = config;
    keys->io = io;
    io_random(io, &keys->seed, sizeof(keys->seed));
    pthread_mutex_init(&keys->lock, NULL);
    keys->wrong = metrics_counter(metrics, "windrow_http_wrong_keys_total",
                                  "Requests with an API key that there is not", NULL, 0);
    keys->limited = metrics_counter(
        metrics, "windrow_http_key_limited_total",
        "Requests refused because their address had sent too many wrong API keys", NULL, 0);
    return keys;
}

/* Addresses. */

uint64_t http_address_number(const struct sockaddr *address)
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
    const uint8_t *bytes = (const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr;
    size_t count = sizeof(struct in_addr);
    uint64_t number = 0;

    if (address->sa_family == AF_INET6) {
        bytes = IN6_IS_ADDR_V4MAPPED(v6) ? &v6->s6_addr[12] : v6->s6_addr;
        count = IN6_IS_ADDR_V4MAPPED(v6) ? count : sizeof(number);
    }
    for (size_t i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

const char *http_address_text(const struct sockaddr *address, char out[64])
{
    const void *bytes = address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)address)->sin_addr;

    return inet_ntop(address->sa_family, bytes, out, 64) ? out : "-";
}

/* Wrong keys. */

static struct suspect *bucket_of(struct http_keys *keys, uint64_t address)
{
    return keys->suspects[XXH3_64bits_withSeed(&address, sizeof(address), keys->seed) % BUCKETS];
}

static bool is_limited(struct http_keys *keys, uint64_t address, int64_t now)
{
    const struct suspect *bucket = bucket_of(keys, address);
    bool limited = false;

    if (now >= atomic_load(&keys->limits_end_ns))
        return false;
    pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < BUCKET_SIZE; i++)
        limited |= bucket[i].address == address &&
                   bucket[i].free_ns - now > (TRIES_AT_ONCE - 1) * SECOND_NS;
    pthread_mutex_unlock(&keys->lock);
    return limited;
}

static struct suspect *take_suspect(struct http_keys *keys, uint64_t address)
{
    struct suspect *bucket = bucket_of(keys, address), *taken = bucket;

    for (size_t i = 0; i < BUCKET_SIZE; i++) {
        if (bucket[i].address == address)
            return &bucket[i];
        if (bucket[i].free_ns < taken->free_ns)
            taken = &bucket[i];
    }
    *taken = (struct suspect){.address = address};
    return taken;
}

/* At most a line a second, which has the number of all since the last one. */
static void tell(struct http_keys *keys, int64_t now, bool at_once)
{
    char address[64] = "";
    uint64_t told = 0;

    if (atomic_load(&keys->untold) == 0)
        return;
    pthread_mutex_lock(&keys->lock);
    if (at_once || keys->told_ns == 0 || now - keys->told_ns >= SECOND_NS) {
        told = atomic_exchange(&keys->untold, 0);
        keys->told_ns = now;
        memcpy(address, keys->last, sizeof(address));
    }
    pthread_mutex_unlock(&keys->lock);
    if (told > 0)
        logger_write_event(LOGGER_WARNING, "http", "wrong_api_key",
                           "%llu request(s) with a wrong API key, the last one from %s",
                           (unsigned long long)told, address);
}

static void note_wrong(struct http_keys *keys, const struct sockaddr *address, int64_t now)
{
    struct suspect *suspect;

    metric_add(keys->wrong, 1);
    pthread_mutex_lock(&keys->lock);
    suspect = take_suspect(keys, http_address_number(address));
    suspect->free_ns = (suspect->free_ns > now ? suspect->free_ns : now) + SECOND_NS;
    if (suspect->free_ns > atomic_load(&keys->limits_end_ns))
        atomic_store(&keys->limits_end_ns, suspect->free_ns);
    (void)http_address_text(address, keys->last);
    atomic_fetch_add(&keys->untold, 1);
    pthread_mutex_unlock(&keys->lock);
}

void http_keys_delete(struct http_keys *keys)
{
    if (!keys)
        return;
    tell(keys, 0, true);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

/* Right keys. */

static uint64_t pair_of(const struct http_keys *keys, uint64_t address, const char *key)
{
    return XXH3_64bits_withSeed(key, strlen(key), keys->seed ^ address) | 1;
}

/* Compares in constant time: the key is a secret. */
static bool key_matches(const char *given, size_t given_length, const struct config_key *wanted)
{
    unsigned char difference = given_length != wanted->length;

    for (size_t i = 0; i < given_length; i++)
        difference |= (unsigned char)(given[i] ^ wanted->text[i % wanted->length]);
    return difference == 0;
}

/* The strongest kind that the key is of; all of them are looked at. */
static enum key_kind kind_of(const struct http_keys *keys, const char *given,
                             char who[HTTP_CALLER_BYTES])
{
    const struct {
        enum key_kind kind;
        const char *name, *keys;
    } kinds[] = {{KEY_READ_ONLY, "read-only", keys->config->http_read_only_key},
                 {KEY_INTERNAL, "internal", keys->config->http_internal_key},
                 {KEY_ADMIN, "admin", keys->config->http_api_key}};
    const size_t length = strlen(given);
    enum key_kind found = KEY_NONE;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *rest = kinds[i].keys;
        struct config_key key;
        while (config_key_next(&rest, &key)) {
            if (!key_matches(given, length, &key))
                continue;
            found = kinds[i].kind;
            (void)snprintf(who, HTTP_CALLER_BYTES, "%s%s%.*s", kinds[i].name, key.name ? ":" : "",
                           (int)key.name_length, key.name ? key.name : "");
        }
    }
    return found;
}

static enum http_verdict deny(struct error *error, const char *text)
{
    (void)error_set(error, ERROR_INVALID, "%s", text);
    return HTTP_DENIED;
}

enum http_verdict http_keys_authorise(struct http_keys *keys, const struct http_caller *caller,
                                      enum http_access access, char who[HTTP_CALLER_BYTES],
                                      struct error *error)
{
    static const char missing[] = "Must provide an API key or an Authorization bearer token";
    const uint64_t address = http_address_number(caller->address);
    const int64_t now = io_monotonic_ns(keys->io);
    enum key_kind kind;
    _Atomic uint64_t *slot;
    uint64_t pair;

    who[0] = '\0';
    if (!keys->config->http_api_key || http_access_is_open(keys->config, access))
        return HTTP_ALLOWED;
    if (!caller->key || !*caller->key)
        return deny(error, missing);
    pair = pair_of(keys, address, caller->key);
    slot = &keys->pairs[pair / 2 % PAIRS];
    if (is_limited(keys, address, now) && atomic_load(slot) != pair) {
        metric_add(keys->limited, 1);
        (void)error_set(error, ERROR_BUSY, "Too many wrong API keys came from this address");
        return HTTP_LIMITED;
    }
    kind = kind_of(keys, caller->key, who);
    if (kind == KEY_NONE)
        note_wrong(keys, caller->address, now);
    tell(keys, now, false);
    if (kind == KEY_NONE)
        return deny(error, missing);
    if (atomic_load(slot) != pair)
        atomic_store(slot, pair);
    if (granted[access] & kind)
        return HTTP_ALLOWED;
    return deny(error, kind == KEY_READ_ONLY
                           ? "This API key may only read (http.read_only_key_file)"
                           : "This API key is for other nodes and for commands to the service, not "
                             "for writes (http.internal_key_file)");
}
