/* schema: what a route takes. Each route declares its query parameters and the keys of its body once;
 * requests are checked against that, and /openapi.json is made from it.
 *
 * A key that is not declared is refused with its JSON path, and so is a key that comes twice, in the
 * free parts (payloads) too. A declared key may be refused as well, with the reason: clients of the
 * dialect learn what windrow does not do. A null stands for a key that was left out. */
#ifndef NET_HTTP_SCHEMA_H
#define NET_HTTP_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"

/* Types of JSON, as a set. */
enum http_type {
    HTTP_BOOLEAN = 1,
    HTTP_INTEGER = 2, /* 3.0 is one; not beside HTTP_NUMBER */
    HTTP_NUMBER = 4,
    HTTP_STRING = 8,
    HTTP_ARRAY = 16,
    HTTP_OBJECT = 32,
    HTTP_NULL = 64,
    HTTP_ANY = 127,
    HTTP_BYTES = 128 /* of a body only: no JSON */
};

struct http_shape {
    const char *name; /* of the schema in /openapi.json; NULL: written where it is used */
    unsigned types;   /* set of enum http_type */
    const struct http_key *keys; /* of an object, ends without a name; NULL: any */
    /* What holds for keys that `keys` lacks; without a shape, for those whose value is an object. NULL:
     * they are unknown. */
    const struct http_key *others;
    const struct http_shape *items; /* of an array; NULL: any, its reader checks them */
    const char *const *values;      /* of a string or boolean, as text, ends with NULL; NULL: any */
    bool has_minimum;
    int64_t minimum; /* of an integer */
    bool or_bytes;   /* a body that may come as application/octet-stream as well */
    /* What its reader checks besides, for /openapi.json. */
    bool needs_form;     /* one of the keys with `form` must be there */
    const char *also;    /* further keywords of its JSON schema: "\"maxItems\":16" */
    const char *written; /* its JSON schema, in place of what the fields above say; NULL: they do */
    const struct http_shape *const *forms; /* an object is one of these, ends with NULL */
    const char *example;                   /* of a body, as JSON */
};

/* A key of an object, or a query parameter. */
struct http_key {
    const char *name;
    const struct http_shape *shape; /* NULL: refused, whatever it holds */
    /* Why it is refused; or why values are that do not fit the shape: other than its `values`, of another
     * type, or, of an object without keys, all but {}. The end of a sentence. */
    const char *refused;
    bool required;
    bool form;        /* of an object's keys with this mark, only one may be there */
    const char *with; /* for /openapi.json: stands beside that key with `form` only */
};

struct http_schema {
    const struct http_key *parameters; /* of the query string; NULL: none */
    const struct http_shape *body;     /* NULL: none */
    bool not_offered;                  /* the route says only that; nothing is checked */
};

/** Checks a body that was parsed into an arena, and drops the keys whose value is null. The error
 * names the JSON path: ERROR_INVALID, or ERROR_UNSUPPORTED for what is refused. */
int http_schema_check(const struct http_shape *shape, struct doc *body, struct error *error);

/** Checks a query parameter: ERROR_INVALID with the names that there are, or the values. */
int http_schema_parameter(const struct http_schema *schema, const char *name, const char *value,
                          struct error *error);

/* http_natural: an integer from 0; http_positive: one from 1. */
extern const struct http_shape http_boolean, http_integer, http_natural, http_positive, http_number,
    http_string, http_object, http_bytes, http_nothing; /* http_nothing: an object without keys */
extern const struct http_shape http_flag;               /* a query parameter: true or false */

#endif
