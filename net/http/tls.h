/* tls: certificates of the server, which may be replaced while it runs, and those of its clients.
 *
 * A handshake takes the certificate that is current when it begins. Connections that are open stay,
 * but each client's certificate is checked again after a reload: it may be revoked by then. Knows GnuTLS, but neither requests nor libmicrohttpd. */
#ifndef NET_HTTP_TLS_H
#define NET_HTTP_TLS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"

/* From TLS 1.2 on, with forward secrecy. */
#define HTTP_TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:%SERVER_PRECEDENCE"

struct http_tls;

/** Reads the files of http.tls: a key that does not fit, a file that is no PEM is ERROR_INVALID with its name. The
 * config must outlive it. */
int http_tls_open(const struct config *config, struct metrics *metrics, struct io *io,
                  struct http_tls **tls, struct error *error);
/** NULL is allowed. No handshake is under way. */
void http_tls_close(struct http_tls *tls);
/** Reads the same files again; on an error what was read before stays in force. One thread at a time. */
int http_tls_reload(struct http_tls *tls, struct error *error);

/** Before the handshake. */
void http_tls_begin(struct http_tls *tls, gnutls_session_t session);
/** Gives a session of http_tls_begin its certificate: a gnutls_certificate_retrieve_function2. */
int http_tls_certificate(gnutls_session_t session, const gnutls_datum_t *authorities,
                         int authority_count, const gnutls_pk_algorithm_t *algorithms,
                         int algorithm_count, gnutls_pcert_st **chain, unsigned *chain_length,
                         gnutls_privkey_t *key);
/** The certificates that clients' ones must be signed by, PEM, as they were read first; NULL: clients
 * need none. */
const char *http_tls_client_authorities(const struct http_tls *tls);

enum { HTTP_TLS_NAME_BYTES = 80 };

/* The certificate of a connection's client. Zeroed at first. */
struct http_tls_client {
    uint64_t checked;   /* against which reading of the files; 0: not yet */
    struct error fault; /* its code tells the outcome */
    char name[HTTP_TLS_NAME_BYTES];
};

/** Whether the client showed a certificate that was valid when the files were read last, or when it was first
 * asked after; `name` becomes its common name. Else ERROR_INVALID, and the fault says why not: none, expired, revoked, not
 * signed by one of client_ca_file. One thread at a time for a client. */
int http_tls_check_client(struct http_tls *tls, gnutls_session_t session,
                          struct http_tls_client *client);

#endif
