/* audit: who changed what. One line of JSON for each write and each operator's command that somebody
 * who is known asked for, with its outcome; nothing for reads. Knows no connection: every front writes
 * into it. */
#ifndef NET_HTTP_AUDIT_H
#define NET_HTTP_AUDIT_H

#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"

struct http_audit;

struct http_audit_event {
    const char *who;         /* of http_keys_authorise; "" becomes "anyone" */
    const char *certificate; /* common name of the client's, or "" */
    const char *address;     /* of the connection */
    const char *forwarded; /* what a proxy says about the client, or NULL: nobody vouches for it */
    const char *method, *path;
    unsigned status;
    uint64_t body_bytes;
    double seconds;
};

/** Opens log.audit_file: ERROR_IO with its name. */
int http_audit_open(const struct config *config, struct metrics *metrics, struct http_audit **audit,
                    struct error *error);
/** NULL is allowed. */
void http_audit_close(struct http_audit *audit);
/** Opens the file again, which somebody may have moved. The former one stays in use on an error. */
int http_audit_reopen(struct http_audit *audit, struct error *error);
/** Past log.audit_max_bytes the file becomes PATH.1, in place of the former PATH.1. A line that cannot be
 * written is counted and told in the log; the request goes on. Any thread. */
void http_audit_write(struct http_audit *audit, const struct http_audit_event *event);

#endif
