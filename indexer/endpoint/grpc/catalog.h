/* What windrow knows of the messages and calls on the wire: the descriptors that protoc-c makes of qdrant.proto and
 * health.proto, together with what their fields mean in the REST dialect. Made once, then read only. */
#ifndef INDEXER_ENDPOINT_GRPC_CATALOG_H
#define INDEXER_ENDPOINT_GRPC_CATALOG_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "indexer/endpoint/grpc/dialect.h"
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
    bool typed; /* its object says in `type` what the field's name begins with: text_index_params */
    bool word;  /* a message without fields here whose value is the text `key` */
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

enum grpc_method_kind {
    GRPC_ROUTE,
    GRPC_HEALTH,
    GRPC_REFLECTION /* a stream of requests, each answered at once; keys as for the route */
};

struct grpc_catalog_method {
    struct grpc_method served; /* first: the transport sees this part */
    enum grpc_method_kind kind;
    const char *pattern;                       /* of the route that answers */
    const struct grpc_message *input, *output; /* of GRPC_REFLECTION NULL */
};

/** The method with that path, or NULL. */
struct grpc_catalog_method *grpc_catalog_find(struct grpc_catalog *catalog, const char *path);
/** The catalog's part of a call's method. */
const struct grpc_catalog_method *grpc_catalog_of(const struct grpc_method *method);

/* dialect.c */
bool grpc_dialect_read(struct grpc_call *call);
void grpc_dialect_write(struct grpc_call *call, struct buffer *reply);

/** Of a typed field: the text that its object has in `type`. */
struct doc grpc_field_type(const struct grpc_field *field);
/** What a field means; fills `field`, whose descriptor is there. */
void grpc_rule_apply(const char *message, struct grpc_field *field);

#endif
