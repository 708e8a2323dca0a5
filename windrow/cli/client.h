/* HTTP from the commands to the running service, on libcurl. One thread. */
#ifndef WINDROW_CLIENT_H
#define WINDROW_CLIENT_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "config/config.h"

struct client;

/* What the command line says about the service; NULL: what the config says. */
struct client_choice {
    const char *url;     /* --url */
    const char *ca_file; /* --ca-file */
};
extern struct client_choice client_choice;

/** For the service that `http.listen` of the config names, or --url, with its API key. Every address stands
 * for this machine when the service listens on all of them. Over TLS, the certificate must be for the name in
 * cluster.advertise if there is one, else for the address. ERROR_INVALID with port 0, or with a URL
 * that is none. */
int client_open(const struct config *config, struct client **client, struct error *error);
void client_close(struct client *client);

/** How long a request may take; 120 s unless told. */
void client_set_timeout(struct client *client, long seconds);

/** The address, "http://127.0.0.1:6333", without a slash at its end. */
const char *client_address(const struct client *client);

/** One request; `body` is JSON or NULL (then GET). `reply` is emptied first. ERROR_PEER: nobody
 * answers, with address and hint, or the service answered with an error, with its text; *status
 * (may be NULL) then tells which, 0 for nobody. */
int client_request(struct client *client, const char *path, const struct buffer *body,
                   struct buffer *reply, long *status, struct error *error);

/** The type that replies are asked for from now on, as the header Accept. */
void client_accept(struct client *client, const char *type);
/** A header of the last reply, or NULL. Valid until the next request. */
const char *client_reply_header(struct client *client, const char *name);

/** The same, with the reply parsed into `arena`. `reply` must live as long as the document. */
int client_request_doc(struct client *client, const char *path, const struct buffer *body,
                       struct arena *arena, struct buffer *reply, struct doc *doc,
                       struct error *error);

/* Reading replies: what is missing or of another type is a null document, the default, false, "-".
 * All accept a map that is NULL. */
const struct doc *reply_get(const struct doc *map, const char *key);
int64_t reply_number(const struct doc *map, const char *key, int64_t otherwise);
double reply_double(const struct doc *map, const char *key, double otherwise);
bool reply_is_true(const struct doc *map, const char *key);
/** For "%.*s". The service writes no control characters into names and texts. */
#define REPLY_TEXT(map, key) reply_text_length(map, key), reply_text(map, key)
int reply_text_length(const struct doc *map, const char *key);
const char *reply_text(const struct doc *map, const char *key);

#endif
