#include "net/http/revocation.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Besides times, which are looked at where a certificate is; another fault has a bit of its own beside INVALID. */
#define TIMES                                                                                      \
    (GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE |       \
     GNUTLS_CERT_INVALID)

/* An authority that has a new key under its old name has two certificates: one of them has signed. */
static bool is_signed(gnutls_x509_crl_t list, const gnutls_x509_crt_t *authorities, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned status = 0;
        if (gnutls_x509_crl_verify(list, &authorities[i], 1, 0, &status) == 0 &&
            (status & ~(unsigned)TIMES) == 0)
            return true;
    }
    return false;
}

/* The number of the first list that nobody has signed; `count`: none. */
static unsigned find_unsigned(const struct http_revocations *revocations, const gnutls_datum_t *pem)
{
    gnutls_x509_crt_t *authorities = NULL;
    unsigned count = 0, at = 0;

    if (gnutls_x509_crt_list_import2(&authorities, &count, pem, GNUTLS_X509_FMT_PEM, 0) < 0)
        return 0;
    while (at < revocations->count && is_signed(revocations->lists[at], authorities, count))
        at++;
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(authorities[i]);
    gnutls_free(authorities);
    return at;
}

int http_revocations_read(struct http_revocations *revocations, const char *path,
                          const gnutls_datum_t *authorities, struct error *error)
{
    gnutls_datum_t text = {0};
    unsigned bad;
    int code = gnutls_load_file(path, &text);

    if (code == 0)
        code = gnutls_x509_crl_list_import2(&revocations->lists, &revocations->count, &text,
                                            GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(text.data);
    if (code >= 0) {
        revocations->issuers = memory_new(revocations->count, sizeof(gnutls_datum_t));
        code = 0;
    }
    for (unsigned i = 0; i < revocations->count && code == 0; i++)
        code = gnutls_x509_crl_get_raw_issuer_dn(revocations->lists[i], &revocations->issuers[i]);
    if (code < 0)
        return error_set(error, ERROR_INVALID, "http.tls.client_crl_file: %s: %s", path,
                         gnutls_strerror(code));
    bad = find_unsigned(revocations, authorities);
    if (bad < revocations->count)
        return error_set(error, ERROR_INVALID,
                         "http.tls.client_crl_file: %s: list %u is not signed by an authority of "
                         "http.tls.client_ca_file",
                         path, bad + 1);
    return 0;
}

void http_revocations_destroy(struct http_revocations *revocations)
{
    for (unsigned i = 0; i < revocations->count; i++) {
        gnutls_x509_crl_deinit(revocations->lists[i]);
        if (revocations->issuers)
            gnutls_free(revocations->issuers[i].data);
    }
    gnutls_free(revocations->lists);
    free(revocations->issuers);
    *revocations = (struct http_revocations){0};
}

time_t http_revocations_end(const struct http_revocations *revocations)
{
    time_t end = -1;

    for (unsigned i = 0; i < revocations->count; i++) {
        time_t one = gnutls_x509_crl_get_next_update(revocations->lists[i]);
        if (one != -1 && (end == -1 || one < end))
            end = one;
    }
    return end;
}

const char *http_revocations_fault(const struct http_revocations *revocations,
                                   gnutls_x509_crt_t certificate, time_t now)
{
    gnutls_datum_t issuer = {0};
    const char *fault = "its authority has no list in http.tls.client_crl_file";

    if (gnutls_x509_crt_get_raw_issuer_dn(certificate, &issuer) < 0)
        return "this one names no authority";
    for (unsigned i = 0; i < revocations->count; i++) {
        const gnutls_datum_t *name = &revocations->issuers[i];
        time_t end = gnutls_x509_crl_get_next_update(revocations->lists[i]);
        if (name->size != issuer.size || memcmp(name->data, issuer.data, issuer.size) != 0)
            continue;
        if (gnutls_x509_crt_check_revocation(certificate, &revocations->lists[i], 1) != 0) {
            fault = "this one is revoked";
            break;
        }
        fault = end != -1 && end < now ? "the revocation list of its authority is too old" : NULL;
        if (fault)
            break;
    }
    gnutls_free(issuer.data);
    return fault;
}
