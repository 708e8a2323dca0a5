/* What windrow knows of the messages and calls on the wire: the descriptors that protoc-c makes of qdrant.proto and
 * health.proto, together with what their fields mean in the REST dialect. Made once, then read only. */
#ifndef INDEXER_ENDPOINT_GRPC_CATALOG_H
#define INDEXER_ENDPOINT_GRPC_CATALOG_H

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "net/http/http.h"

/* What becomes of a field. */
enum grpc_form {
    GRPC_KEY,      /* a key of the message's object */
    GRPC_BARE,     /* it stands for the whole message: PointId{num: 7} is 7 */
    GRPC_FLAT,     /* its own keys stand among the message's */
    GRPC_ARGUMENT, /* of the call: a query parameter; deeper: a key */
    GRPC_PART      /* of the call: of the path; deeper: it repeats the call's */
};

struct grpc_field {
    const ProtobufCFieldDescriptor *wire;
    const struct grpc_message *message; /* of a message field */
    const char *key;
    enum grpc_form form;
    bool always;   /* there, even if it did not come: an empty list, a zero */
    bool floats;   /* read in one piece */
    bool verbatim; /* an enum's names as they are, not in lower case */
};

struct grpc_message {
    const ProtobufCMessageDescriptor *wire;
    struct grpc_field *fields;          /* as many as the descriptor has */
    const struct grpc_field *bare_list; /* the bare field that is a list, or NULL */
    bool has_bare;
    bool is_entry; /* of a map: fields `key` and `value` */
    bool is_timestamp;
    bool is_refused; /* has no fields here: what is in it does not matter */
    struct grpc_message *next;
};

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16
};

enum grpc_method_kind {
    GRPC_ROUTE,
    GRPC_HEALTH,
    GRPC_REFLECTION /* a stream of requests, each answered at once; keys as for the route */
};

struct grpc_method {
    const char *path; /* "/qdrant.Points/Query" */
    enum grpc_method_kind kind;
    const char *http_method, *pattern;         /* of the route that answers; NULL: none */
    const struct grpc_message *input, *output; /* of GRPC_REFLECTION NULL */
    struct http_route_entry *route;            /* NULL: nobody has added it */
    struct metric *seconds;
    _Atomic(struct metric *) requests[17]; /* by grpc-status */
};

struct grpc_catalog;

/** Looks the routes up in `server`: they must be added before. */
struct grpc_catalog *grpc_catalog_new(struct http_server *server, struct metrics *metrics);
/** NULL is allowed. */
void grpc_catalog_delete(struct grpc_catalog *catalog);
/** The method with that path, or NULL. */
struct grpc_method *grpc_catalog_find(struct grpc_catalog *catalog, const char *path);

/** Stands for calls that have no method of their own, in the metrics. */
struct grpc_method *grpc_catalog_unknown(struct grpc_catalog *catalog);

/** Counts the method's calls that end in that status. */
struct metric *grpc_method_requests(struct grpc_method *method, struct metrics *metrics,
                                    unsigned status);

/** What a field means; fills `field`, whose descriptor is there. */
void grpc_rule_apply(const char *message, struct grpc_field *field);

#endif
