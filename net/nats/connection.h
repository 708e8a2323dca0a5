/* nats: one connection to a NATS server or cluster, which the library restores for ever.
 *
 * Connecting goes on in the background, so that a process starts while NATS is away. Whatever lives
 * on the server (streams, consumers) may be gone after a reconnect: the connection is then in
 * doubt, and its user looks before it goes on. */
#ifndef NET_NATS_CONNECTION_H
#define NET_NATS_CONNECTION_H

#include <nats/nats.h>
#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct nats_connection_options {
    const char *urls;   /* separated by commas */
    const char *name;   /* of this client, as the server lists it; may be NULL */
    const char *module; /* of log lines; a literal, as the next one */
    const char *effect; /* what it means that NATS is away, for log lines: "index jobs wait" */
    const struct config_nats_security *security; /* NULL: none of it */
};

struct nats_connection;

/** Starts to connect. A server that does not answer, or refuses, is no failure: ERROR_PEER says that the options
 * are wrong (a certificate cannot be read) or the library has no memory or thread. */
int nats_connection_open(const struct nats_connection_options *options,
                         struct nats_connection **connection, struct error *error);
/** Subscriptions and contexts have been destroyed. Waits up to 5 s for the library's callbacks and for handlers of
 * subscriptions that still run: what they use may go afterwards. NULL is allowed. */
void nats_connection_close(struct nats_connection *connection);

/** For calls of the library; valid until close. */
natsConnection *nats_connection_handle(const struct nats_connection *connection);
bool nats_connection_is_up(const struct nats_connection *connection);

/** Subscribes on the connection of the moment. The library calls the handler on a thread of its own, and goes on with a
 * message that it has begun when the subscription is destroyed: the close waits for that. */
int nats_connection_subscribe(struct nats_connection *connection, const char *subject,
                              natsMsgHandler handler, void *closure,
                              natsSubscription **subscription, struct error *error);

/** The library gives a connection up for good when the server refuses it (a wrong user twice, a
 * certificate at the first attempt). This makes another one then, at most every two seconds, and may
 * take as long. Called now and then by the users' threads. */
void nats_connection_mend(struct nats_connection *connection);
/** Counts the connections that were made: subscriptions and contexts belong to one of them. */
uint64_t nats_connection_generation(const struct nats_connection *connection);
/** Why there is no connection, as far as that is known: the server's or the library's words. */
void nats_connection_trouble(struct nats_connection *connection, char *out, size_t out_bytes);

/** Somebody met an error that a lost stream or consumer may explain. Any thread. */
void nats_connection_doubt(struct nats_connection *connection);
/** Whether there was doubt, which is over with this call: a new connection, a reconnect, an
 * asynchronous error, or nats_connection_doubt. */
bool nats_connection_end_doubt(struct nats_connection *connection);

/** Fills an error from a status: ERROR_PEER. `code` 0: not of JetStream. */
int nats_connection_error(struct error *error, natsStatus status, jsErrCode code, const char *what);

#endif
