/* Race: a handshake on an I/O thread uses a certificate while a reload replaces it. What was replaced
 * is freed by a later reload, when it has been out of use for longer than a handshake may take. */
#include "net/http/tls.h"

#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "base/memory.h"
#include "net/http/revocation.h"

enum { CHAIN_MAX = 16, RETIRED_S = 600, EXPIRES_SOON_S = 7 * 86400 };

/* All that is read from the files. */
struct material {
    struct material *next; /* of those out of use */
    uint64_t number;       /* of the readings, from 1 */
    int64_t retired_ns;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned chain_length;
    gnutls_privkey_t key;
    gnutls_x509_trust_list_t authorities; /* NULL: clients need no certificate */
    gnutls_datum_t authorities_pem;
    struct http_revocations revocations; /* none: nobody looks */
};

struct http_tls {
    const struct config *config;
    struct io *io;
    _Atomic(struct material *) current;
    struct material *retired;
    char *client_authorities;
    struct metric *expiry;
    struct metric *authority_expiry; /* NULL: clients need no certificate */
    struct metric *list_expiry;      /* NULL: no lists */
};

static void material_free(struct material *material)
{
    for (unsigned i = 0; i < material->chain_length; i++)
        gnutls_pcert_deinit(&material->chain[i]);
    if (material->key)
        gnutls_privkey_deinit(material->key);
    if (material->authorities)
        gnutls_x509_trust_list_deinit(material->authorities, 1);
    gnutls_free(material->authorities_pem.data);
    http_revocations_destroy(&material->revocations);
    free(material);
}

static int fail(struct error *error, const char *name, const char *path, int code)
{
    return error_set(error, ERROR_INVALID, "%s: %s: %s", name, path, gnutls_strerror(code));
}

/* Whether the key is the certificate's. */
static int check_pair(const gnutls_datum_t *chain, const gnutls_datum_t *key)
{
    gnutls_certificate_credentials_t credentials;
    int code = gnutls_certificate_allocate_credentials(&credentials);

    if (code < 0)
        return code;
    code = gnutls_certificate_set_x509_key_mem(credentials, chain, key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    return code < 0 ? code : 0;
}

static int read_pair(const struct config *config, struct material *material, struct error *error)
{
    const char *chain_path = config->http_tls_cert_file, *key_path = config->http_tls_key_file;
    gnutls_datum_t chain = {0}, key = {0};
    unsigned length = CHAIN_MAX;
    int code = gnutls_load_file(chain_path, &chain);

    if (code < 0) {
        (void)fail(error, "http.tls.cert_file", chain_path, code);
        goto out;
    }
    code = gnutls_load_file(key_path, &key);
    if (code == 0)
        code = check_pair(&chain, &key);
    if (code == 0 && (code = gnutls_privkey_init(&material->key)) == 0)
        code = gnutls_privkey_import_x509_raw(material->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (code < 0) {
        (void)fail(error, "http.tls.key_file", key_path, code);
        goto out;
    }
    code =
        gnutls_pcert_list_import_x509_raw(material->chain, &length, &chain, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0)
        (void)fail(error, "http.tls.cert_file", chain_path, code);
    else
        material->chain_length = length;
out:
    gnutls_free(chain.data);
    if (key.data)
        gnutls_memset(key.data, 0, key.size);
    gnutls_free(key.data);
    return code < 0 ? ERROR_INVALID : 0;
}

static int read_authorities(const struct config *config, struct material *material,
                            struct error *error)
{
    const char *path = config->http_tls_client_ca_file;
    int code = gnutls_load_file(path, &material->authorities_pem);

    if (code == 0)
        code = gnutls_x509_trust_list_init(&material->authorities, 0);
    if (code == 0)
        code = gnutls_x509_trust_list_add_trust_mem(
            material->authorities, &material->authorities_pem, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    if (code < 0)
        return fail(error, "http.tls.client_ca_file", path, code);
    return code > 0 ? 0
                    : error_set(error, ERROR_INVALID,
                                "http.tls.client_ca_file: %s: there is no certificate in it", path);
}

/* An expired certificate is served: clients say what is wrong, and the rest of the service works. */
static void look_at_expiry(struct http_tls *tls, const struct material *material)
{
    gnutls_x509_crt_t certificate = NULL;
    time_t end = -1, now = time(NULL);

    if (gnutls_pcert_export_x509((gnutls_pcert_st *)material->chain, &certificate) == 0)
        end = gnutls_x509_crt_get_expiration_time(certificate);
    if (certificate)
        gnutls_x509_crt_deinit(certificate);
    metric_set(tls->expiry, (double)end);
    if (end <= now)
        log_error("http", "the certificate %s has expired: clients refuse it",
                  tls->config->http_tls_cert_file);
    else if (end - now < EXPIRES_SOON_S)
        log_warning("http", "the certificate %s expires in %.1f days",
                    tls->config->http_tls_cert_file, (double)(end - now) / 86400);
}

/* The first authority to end: nothing that it signed is taken after that. */
static void look_at_authorities(struct http_tls *tls, const struct material *material)
{
    gnutls_x509_trust_list_iter_t at = NULL;
    gnutls_x509_crt_t authority;
    time_t first = -1;

    while (gnutls_x509_trust_list_iter_get_ca(material->authorities, &at, &authority) == 0) {
        time_t end = gnutls_x509_crt_get_expiration_time(authority);
        if (first == -1 || end < first)
            first = end;
        gnutls_x509_crt_deinit(authority);
    }
    metric_set(tls->authority_expiry, (double)first);
    if (first - time(NULL) < EXPIRES_SOON_S)
        log_warning("http",
                    "a certificate in %s expires or has expired: what it signed is refused then",
                    tls->config->http_tls_client_ca_file);
}

static void look_at_lists(struct http_tls *tls, const struct material *material)
{
    const char *path = tls->config->http_tls_client_crl_file;
    time_t end = http_revocations_end(&material->revocations), now = time(NULL);

    metric_set(tls->list_expiry, (double)end);
    if (end != -1 && end <= now)
        log_error("http",
                  "a revocation list of %s is too old: client certificates of its authority are "
                  "refused",
                  path);
}

static int material_read(struct http_tls *tls, struct material **material, struct error *error)
{
    struct material *fresh = memory_new(1, sizeof(*fresh));
    int code = read_pair(tls->config, fresh, error);

    if (code == 0 && tls->config->http_tls_client_ca_file)
        code = read_authorities(tls->config, fresh, error);
    if (code == 0 && tls->config->http_tls_client_crl_file)
        code = http_revocations_read(&fresh->revocations, tls->config->http_tls_client_crl_file,
                                     &fresh->authorities_pem, error);
    if (code != 0) {
        material_free(fresh);
        return code;
    }
    look_at_expiry(tls, fresh);
    if (fresh->authorities)
        look_at_authorities(tls, fresh);
    if (tls->list_expiry)
        look_at_lists(tls, fresh);
    *material = fresh;
    return 0;
}

int http_tls_open(const struct config *config, struct metrics *metrics, struct io *io,
                  struct http_tls **tls, struct error *error)
{
    struct http_tls *fresh = memory_new(1, sizeof(*fresh));
    struct material *material;

    fresh->config = config;
    fresh->io = io;
    fresh->expiry = metrics_gauge(metrics, "windrow_http_certificate_expiry_timestamp_seconds",
                                  "When the certificate of the endpoint expires", NULL, 0);
    if (config->http_tls_client_ca_file)
        fresh->authority_expiry =
            metrics_gauge(metrics, "windrow_http_client_authority_expiry_timestamp_seconds",
                          "When the first authority of clients' certificates expires", NULL, 0);
    if (config->http_tls_client_crl_file)
        fresh->list_expiry =
            metrics_gauge(metrics, "windrow_http_revocation_list_expiry_timestamp_seconds",
                          "When the first revocation list of clients becomes too old", NULL, 0);
    if (material_read(fresh, &material, error) != 0) {
        free(fresh);
        return error->code;
    }
    material->number = 1;
    if (material->authorities_pem.data)
        fresh->client_authorities = memory_checked(
            strndup((const char *)material->authorities_pem.data, material->authorities_pem.size));
    atomic_store(&fresh->current, material);
    *tls = fresh;
    return 0;
}

void http_tls_close(struct http_tls *tls)
{
    if (!tls)
        return;
    while (tls->retired) {
        struct material *next = tls->retired->next;
        material_free(tls->retired);
        tls->retired = next;
    }
    material_free(atomic_load(&tls->current));
    free(tls->client_authorities);
    free(tls);
}

int http_tls_reload(struct http_tls *tls, struct error *error)
{
    const int64_t now = io_monotonic_ns(tls->io);
    struct material *fresh, *former, **place = &tls->retired;

    if (material_read(tls, &fresh, error) != 0)
        return error->code;
    while (*place) {
        struct material *one = *place;
        if (now - one->retired_ns < (int64_t)RETIRED_S * 1000000000) {
            place = &one->next;
            continue;
        }
        *place = one->next;
        material_free(one);
    }
    fresh->number = atomic_load(&tls->current)->number + 1;
    former = atomic_exchange(&tls->current, fresh);
    log_info("http", "read the certificate %s again", tls->config->http_tls_cert_file);
    former->retired_ns = now;
    former->next = tls->retired;
    tls->retired = former;
    return 0;
}

void http_tls_begin(struct http_tls *tls, gnutls_session_t session)
{
    gnutls_session_set_ptr(session, tls);
}

int http_tls_certificate(gnutls_session_t session, const gnutls_datum_t *authorities,
                         int authority_count, const gnutls_pk_algorithm_t *algorithms,
                         int algorithm_count, gnutls_pcert_st **chain, unsigned *chain_length,
                         gnutls_privkey_t *key)
{
    struct http_tls *tls = gnutls_session_get_ptr(session);
    struct material *material = atomic_load(&tls->current);

    (void)authorities;
    (void)authority_count;
    (void)algorithms;
    (void)algorithm_count;
    *chain = material->chain;
    *chain_length = material->chain_length;
    *key = material->key;
    return 0;
}

const char *http_tls_client_authorities(const struct http_tls *tls)
{
    return tls->client_authorities;
}

/* Clients. */

static int refuse(struct error *error, const char *why)
{
    return error_set(error, ERROR_INVALID, "A client certificate is needed (%s)", why);
}

static const char *reason_of(unsigned status)
{
    if (status & GNUTLS_CERT_EXPIRED)
        return "this one has expired";
    if (status & GNUTLS_CERT_NOT_ACTIVATED)
        return "this one is not valid yet";
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
        return "this one is not signed by an authority of http.tls.client_ca_file";
    return "this one is not valid for a client";
}

/* Each certificate that was shown: one between the client's and the authority may be revoked, too. */
static const char *find_fault(const struct material *material, gnutls_x509_crt_t *certificates,
                              unsigned count)
{
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
    const char *fault = NULL;
    unsigned status = 0;
    time_t now = time(NULL);
    int code = gnutls_x509_trust_list_verify_crt2(material->authorities, certificates, count,
                                                  &purpose, 1, 0, &status, NULL);

    if (code < 0)
        return gnutls_strerror(code);
    if (status != 0)
        return reason_of(status);
    for (unsigned i = 0; i < count && material->revocations.count > 0 && !fault; i++)
        fault = http_revocations_fault(&material->revocations, certificates[i], now);
    return fault;
}

static int check_shown(const struct material *material, gnutls_session_t session,
                       struct http_tls_client *client)
{
    gnutls_x509_crt_t certificates[CHAIN_MAX];
    unsigned shown = 0, count = 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &shown);
    size_t name_bytes = sizeof(client->name);
    const char *fault = NULL;
    int code = 0;

    if (!raw || shown == 0 || shown > CHAIN_MAX)
        return refuse(&client->fault, "there is none");
    for (; count < shown && code == 0; count++) {
        if (gnutls_x509_crt_init(&certificates[count]) < 0)
            abort();
        code = gnutls_x509_crt_import(certificates[count], &raw[count], GNUTLS_X509_FMT_DER);
    }
    fault = code < 0 ? gnutls_strerror(code) : find_fault(material, certificates, shown);
    /* The first time alone: others may read it meanwhile. */
    if (!fault && !client->name[0] &&
        gnutls_x509_crt_get_dn_by_oid(certificates[0], GNUTLS_OID_X520_COMMON_NAME, 0, 0,
                                      client->name, &name_bytes) < 0)
        (void)snprintf(client->name, sizeof(client->name), "certificate");
    while (count > 0)
        gnutls_x509_crt_deinit(certificates[--count]);
    return fault ? refuse(&client->fault, fault) : 0;
}

int http_tls_check_client(struct http_tls *tls, gnutls_session_t session,
                          struct http_tls_client *client)
{
    const struct material *material = atomic_load(&tls->current);

    if (client->checked == material->number)
        return client->fault.code;
    client->fault = (struct error){0};
    client->checked = material->number;
    return check_shown(material, session, client);
}
