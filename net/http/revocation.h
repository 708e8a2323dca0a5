/* revocation: lists of certificates that their authorities have taken back before their time (CRLs, RFC 5280).
 *
 * They fail closed, as libcurl's do for calls to other nodes: a certificate is refused, too, when the
 * list of its authority is missing or too old. Else an attacker with a stolen certificate only had to
 * keep the new list away. */
#ifndef NET_HTTP_REVOCATION_H
#define NET_HTTP_REVOCATION_H

#include <gnutls/x509.h>
#include <time.h>

#include "base/error.h"

struct http_revocations {
    gnutls_x509_crl_t *lists;
    gnutls_datum_t *issuers; /* of each: the name as in its certificates */
    unsigned count;
};

/** Reads a PEM file with one list or more. Each must be signed by one of the authorities (PEM), which may be old:
 * else ERROR_INVALID names the file. Zeroed before; _destroy also after an error. */
int http_revocations_read(struct http_revocations *revocations, const char *path,
                          const gnutls_datum_t *authorities, struct error *error);
void http_revocations_destroy(struct http_revocations *revocations);

/** When the first of the lists becomes too old; -1: none does. */
time_t http_revocations_end(const struct http_revocations *revocations);
/** Why the certificate is refused at this time, as words of a sentence; NULL: it is not. Any thread. */
const char *http_revocations_fault(const struct http_revocations *revocations,
                                   gnutls_x509_crt_t certificate, time_t now);

#endif
