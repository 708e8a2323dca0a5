/* keys: who may do what. Knows neither connections nor libmicrohttpd: every front of the service asks
 * here before it works for somebody. */
#ifndef NET_HTTP_KEYS_H
#define NET_HTTP_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"

/* What a call does. keys.c has the table of the keys that it takes. */
enum http_access {
    HTTP_READ,
    HTTP_WRITE,    /* changes points or collections */
    HTTP_PROBE,    /* no key; answered at once by an I/O thread, so that it tells of an overload */
    HTTP_CONTROL,  /* an operator's command: backup, compact, pause */
    HTTP_INTERNAL, /* another node or a builder reads */
    HTTP_INTERNAL_WRITE, /* a builder brings a segment */
    HTTP_SEARCH, /* reads points and may be begun anew: often so short that an I/O thread runs it */
    HTTP_DASHBOARD, /* reads; needs no key where http.open_routes says so, as the next one */
    HTTP_METRICS
};

/** Whether it needs no key: a probe, or what http.open_routes lists. */
bool http_access_is_open(const struct config *config, enum http_access access);
/** Whether it changes nothing. */
bool http_access_reads(enum http_access access);
/** Whether other processes of windrow alone call it. */
bool http_access_internal(enum http_access access);

struct http_keys;
struct sockaddr;

/* Who calls. */
struct http_caller {
    const char *key; /* as it was sent, or NULL */
    const struct sockaddr *address;
};

enum http_verdict {
    HTTP_ALLOWED,
    HTTP_DENIED, /* no key, a wrong one, or one that may not do this */
    HTTP_LIMITED /* too many wrong ones came from the address: later again */
};

enum { HTTP_CALLER_BYTES = 96 };

/** `config`: its keys may be replaced meanwhile (config_adopt_keys). */
struct http_keys *http_keys_new(const struct config *config, struct metrics *metrics,
                                struct io *io);
/** NULL is allowed. */
void http_keys_delete(struct http_keys *keys);

/** Whether the caller may do this; else `error` has the sentence to answer. `who` becomes the
 * name of the key for logs: "admin", "internal:backup", or "" without one. An address may send ten wrong keys,
 * then one a second; meanwhile it is HTTP_LIMITED with any key but those that it sent before and
 * that were right. Compares in constant time. Any thread. */
enum http_verdict http_keys_authorise(struct http_keys *keys, const struct http_caller *caller,
                                      enum http_access access, char who[HTTP_CALLER_BYTES],
                                      struct error *error);

/** Stands for an address of IPv4, or a network of IPv6: a host has all of it. */
uint64_t http_address_number(const struct sockaddr *address);
/** The address as text, without the port. */
const char *http_address_text(const struct sockaddr *address, char out[64]);

#endif
