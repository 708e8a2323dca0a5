/* The bytes of a connection: a socket, or TLS on it. Never waits. */
#ifndef NET_GRPC_TRANSPORT_H
#define NET_GRPC_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "net/http/tls.h"

/* What the connections of a server share. */
struct grpc_transport_settings {
    struct http_tls *tls; /* NULL: none */
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
};

struct grpc_transport {
    struct grpc_transport_settings *settings;
    int socket;
    gnutls_session_t session; /* NULL: no TLS */
    bool handshaken;
    struct http_tls_client client;
};

enum { GRPC_TRANSPORT_WAITS = -1, GRPC_TRANSPORT_BROKEN = -2 };

/** `tls` NULL: without. Certificates stay those of `tls`, which may be reloaded. */
int grpc_transport_settings_create(struct grpc_transport_settings *settings, struct http_tls *tls,
                                   struct error *error);
void grpc_transport_settings_destroy(struct grpc_transport_settings *settings);

/** Takes the socket over. False: no memory for it; the socket is closed. */
bool grpc_transport_open(struct grpc_transport *transport, struct grpc_transport_settings *settings,
                         int socket);
void grpc_transport_close(struct grpc_transport *transport);
/** Whether the handshake is over, if there is one: receiving goes on with it. */
bool grpc_transport_is_ready(const struct grpc_transport *transport);
/** Whether the handshake waits until the socket takes more. */
bool grpc_transport_wants_write(const struct grpc_transport *transport);
/** Whether the client has the certificate that it needs, if it needs one; else its fault says why not. */
bool grpc_transport_client_is_known(struct grpc_transport *transport);
/** Bytes that came, 0 at the end, or a GRPC_TRANSPORT_*. */
ssize_t grpc_transport_receive(struct grpc_transport *transport, void *out, size_t room);
/** Whether bytes came that epoll does not know of. */
bool grpc_transport_has_more(const struct grpc_transport *transport);
/** Bytes that went, or a GRPC_TRANSPORT_*: after GRPC_TRANSPORT_WAITS the same bytes are to be sent again. */
ssize_t grpc_transport_send(struct grpc_transport *transport, const void *bytes, size_t size);

#endif
