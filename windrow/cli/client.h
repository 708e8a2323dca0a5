/* HTTP from the commands to the running service, on libcurl. One thread. */
#ifndef WINDROW_CLIENT_H
#define WINDROW_CLIENT_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "config/config.h"

struct client;

/** For the service that `http.listen` of the config names, with its API key. Every address stands
 * for this machine when the service listens on all of them. ERROR_INVALID with port 0. */
int client_open(const struct config *config, struct client **client, struct error *error);
void client_close(struct client *client);

/** How long a request may take; 120 s unless told. */
void client_set_timeout(struct client *client, long seconds);

/** The address, "http://127.0.0.1:6333". */
const char *client_address(const struct client *client);

/** One request; `body` is JSON or NULL (then GET). `reply` is emptied first. ERROR_PEER: nobody
 * answers, with address and hint, or the service answered with an error, with its text; *status
 * (may be NULL) then tells which, 0 for nobody. */
int client_request(struct client *client, const char *path, const struct buffer *body,
                   struct buffer *reply, long *status, struct error *error);

/** The same, with the reply parsed into `arena`. `reply` must live as long as the document. */
int client_request_doc(struct client *client, const char *path, const struct buffer *body,
                       struct arena *arena, struct buffer *reply, struct doc *doc,
                       struct error *error);

#endif
