#include "net/grpc/transport.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(struct error *error, int code)
{
    return error_set(error, ERROR_INVALID, "http.grpc_listen: TLS: %s", gnutls_strerror(code));
}

/* Authorities make the server ask for a certificate; who has none gets his answer in words. */
int grpc_transport_settings_create(struct grpc_transport_settings *settings, struct http_tls *tls,
                                   struct error *error)
{
    const char *authorities = tls ? http_tls_client_authorities(tls) : NULL;
    int code;

    *settings = (struct grpc_transport_settings){.tls = tls};
    if (!tls)
        return 0;
    code = gnutls_certificate_allocate_credentials(&settings->credentials);
    if (code >= 0)
        code = gnutls_priority_init(&settings->priorities, HTTP_TLS_PRIORITIES, NULL);
    if (code >= 0 && authorities) {
        const gnutls_datum_t pem = {(unsigned char *)authorities, (unsigned)strlen(authorities)};
        code =
            gnutls_certificate_set_x509_trust_mem(settings->credentials, &pem, GNUTLS_X509_FMT_PEM);
    }
    if (code < 0)
        return fail(error, code);
    gnutls_certificate_set_retrieve_function2(settings->credentials, http_tls_certificate);
    return 0;
}

void grpc_transport_settings_destroy(struct grpc_transport_settings *settings)
{
    if (settings->priorities)
        gnutls_priority_deinit(settings->priorities);
    if (settings->credentials)
        gnutls_certificate_free_credentials(settings->credentials);
    *settings = (struct grpc_transport_settings){0};
}

static int begin_tls(struct grpc_transport *transport)
{
    static const gnutls_datum_t h2 = {(unsigned char *)"h2", 2};
    struct grpc_transport_settings *settings = transport->settings;
    gnutls_session_t session;
    int code = gnutls_init(&transport->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

    if (code < 0)
        return code;
    session = transport->session;
    http_tls_begin(settings->tls, session);
    gnutls_transport_set_int(session, transport->socket);
    if (http_tls_client_authorities(settings->tls))
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
    code = gnutls_priority_set(session, settings->priorities);
    if (code >= 0)
        code = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, settings->credentials);
    if (code >= 0) /* clients that cannot speak HTTP/2 are told so by the handshake */
        code = gnutls_alpn_set_protocols(session, &h2, 1, GNUTLS_ALPN_MANDATORY);
    return code;
}

bool grpc_transport_open(struct grpc_transport *transport, struct grpc_transport_settings *settings,
                         int socket)
{
    *transport = (struct grpc_transport){.settings = settings, .socket = socket};
    if (!settings->tls || begin_tls(transport) >= 0)
        return true;
    grpc_transport_close(transport);
    return false;
}

void grpc_transport_close(struct grpc_transport *transport)
{
    if (transport->session) {
        if (transport->handshaken)
            (void)gnutls_bye(transport->session, GNUTLS_SHUT_WR);
        gnutls_deinit(transport->session);
    }
    transport->session = NULL;
    close(transport->socket);
}

static ssize_t outcome(ssize_t size)
{
    if (size >= 0)
        return size;
    return size == GNUTLS_E_AGAIN || size == GNUTLS_E_INTERRUPTED ? GRPC_TRANSPORT_WAITS
                                                                  : GRPC_TRANSPORT_BROKEN;
}

static ssize_t plain_outcome(ssize_t size)
{
    if (size >= 0)
        return size;
    return errno == EAGAIN || errno == EINTR ? GRPC_TRANSPORT_WAITS : GRPC_TRANSPORT_BROKEN;
}

/* 0: done. */
static ssize_t shake_hands(struct grpc_transport *transport)
{
    int code = gnutls_handshake(transport->session);

    if (code < 0)
        return gnutls_error_is_fatal(code) ? GRPC_TRANSPORT_BROKEN : GRPC_TRANSPORT_WAITS;
    transport->handshaken = true;
    return 0;
}

bool grpc_transport_client_is_known(struct grpc_transport *transport)
{
    struct http_tls *tls = transport->settings->tls;

    return !tls || !http_tls_client_authorities(tls) ||
           http_tls_check_client(tls, transport->session, &transport->client) == 0;
}

bool grpc_transport_is_ready(const struct grpc_transport *transport)
{
    return !transport->session || transport->handshaken;
}

bool grpc_transport_wants_write(const struct grpc_transport *transport)
{
    return !grpc_transport_is_ready(transport) &&
           gnutls_record_get_direction(transport->session) == 1;
}

ssize_t grpc_transport_receive(struct grpc_transport *transport, void *out, size_t room)
{
    ssize_t code;

    if (!transport->session)
        return plain_outcome(recv(transport->socket, out, room, MSG_DONTWAIT));
    if (!transport->handshaken && (code = shake_hands(transport)) != 0)
        return code;
    return outcome(gnutls_record_recv(transport->session, out, room));
}

bool grpc_transport_has_more(const struct grpc_transport *transport)
{
    return transport->session && gnutls_record_check_pending(transport->session) > 0;
}

ssize_t grpc_transport_send(struct grpc_transport *transport, const void *bytes, size_t size)
{
    if (!transport->session)
        return plain_outcome(send(transport->socket, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (!transport->handshaken)
        return GRPC_TRANSPORT_WAITS;
    return outcome(gnutls_record_send(transport->session, bytes, size));
}
