/* Documents: the JSON-like trees that messages, payloads, queries and replies are made of.
 *
 * A document lives in an arena and points into it (strings are unescaped copies or, where no escape
 * occurred, slices of the input: the input must live as long as the document). JSON (RFC 8259) and
 * MessagePack are two encodings of it. Parsers are strict and bounded by struct doc_limits; input
 * is hostile. Numbers keep their kind: an integer that fits stays an integer; floats parse
 * bit-identical to strtod. */
#ifndef BASE_DOC_H
#define BASE_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

enum doc_type {
    DOC_NULL,
    DOC_BOOL,
    DOC_INT,  /* fits int64_t */
    DOC_UINT, /* above INT64_MAX */
    DOC_DOUBLE,
    DOC_STRING, /* UTF-8, not zero-terminated */
    DOC_BYTES,  /* MessagePack bin only */
    DOC_ARRAY,
    DOC_MAP, /* items alternate key, value; keys are DOC_STRING, in input order; the last wins */
    DOC_FLOATS /* an array of float32 in one piece; no parser makes it: Protobuf and stores bring it */
};

struct doc {
    uint32_t type;  /* enum doc_type */
    uint32_t count; /* bytes of a string, items of an array, pairs of a map */
    uint32_t place; /* byte offset of the value in the input, for messages */
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_integer;
        double number;
        const char *string;
        const struct doc *items; /* count of an array, 2 x count of a map */
        const float *floats;     /* of DOC_FLOATS */
    };
};

struct doc_limits {
    size_t max_bytes;   /* of the input; 0: 64 MiB */
    uint32_t max_depth; /* 0: 64 */
};

/** Parses one whole JSON text; trailing bytes are an error. `limits` may be NULL. The error's text
 * names what and where: "byte 123 ($.points[3].vector): expected ',' or ']'". */
int doc_parse_json(struct arena *arena, const char *text, size_t size_bytes,
                   const struct doc_limits *limits, struct doc *out, struct error *error);

/** As doc_parse_msgpack for the first value of the bytes; others may follow it. */
int doc_parse_msgpack_first(struct arena *arena, const uint8_t *bytes, size_t size_bytes,
                            const struct doc_limits *limits, struct doc *out, size_t *used_bytes,
                            struct error *error);

/** Parses one whole MessagePack value; ext types are ERROR_UNSUPPORTED; map keys must be str. A
 * count larger than the bytes that are left fails before anything is allocated. */
int doc_parse_msgpack(struct arena *arena, const uint8_t *bytes, size_t size_bytes,
                      const struct doc_limits *limits, struct doc *out, struct error *error);

/** Appends compact JSON. Non-finite doubles and bytes become null. Doubles in the shortest form
 * that reads back ("0.1", "1.0"). */
void doc_write_json(struct buffer *buffer, const struct doc *doc);
void doc_write_json_string(struct buffer *buffer, const char *text, size_t length);
void doc_write_json_double(struct buffer *buffer, double value);
/** The same JSON on one line of YAML. YAML ends lines at U+0085, U+2028 and U+2029, and refuses others that JSON
 * allows: these are escaped. */
void doc_write_yaml(struct buffer *buffer, const struct doc *doc);
void doc_write_yaml_string(struct buffer *buffer, const char *text, size_t length);
/** Shortest decimal that reads back to the same float. */
void doc_write_json_float(struct buffer *buffer, float value);

/** Appends MessagePack, smallest forms. */
void doc_write_msgpack(struct buffer *buffer, const struct doc *doc);

/** Whether the value is a list: DOC_ARRAY or DOC_FLOATS. */
static inline bool doc_is_list(const struct doc *doc)
{
    return doc->type == DOC_ARRAY || doc->type == DOC_FLOATS;
}

/** Value of a map's key (last occurrence), or NULL when absent or `map` is no map. */
const struct doc *doc_get(const struct doc *map, const char *key);
const struct doc *doc_get_n(const struct doc *map, const char *key, size_t key_length);

/** A key that `map` holds twice, or NULL. */
const struct doc *doc_duplicate_key(const struct doc *map);

/* A payload path of Qdrant, taken apart: a.b, a[].b, a[0], "a.b".c. */
struct doc_path {
    const char *at, *end; /* what is left */
    bool begun;           /* false: a key comes first, without a dot */
};

struct doc_path_part {
    enum { DOC_PATH_KEY, DOC_PATH_EACH, DOC_PATH_INDEX } kind;
    const char *key; /* of DOC_PATH_KEY, without quotes */
    size_t key_length;
    uint64_t index; /* of DOC_PATH_INDEX */
};

/** Takes the next part. 1: there is one; 0: the path has ended; -1: it is broken. */
int doc_path_next(struct doc_path *path, struct doc_path_part *part);
/** Whether a path from outside is one: broken ones lead nowhere, and nobody would be told. */
bool doc_path_is_valid(const char *path, size_t length);

/** Walks a Qdrant payload path: dots descend, "[]" means every element, "[0]" one; a quoted part
 * ("a.b".c) is taken whole. Calls `visit` for each value found until it returns true; returns
 * whether one did. */
bool doc_visit_path(const struct doc *doc, const char *path, size_t path_length,
                    bool (*visit)(void *context, const struct doc *value), void *context);

/** INT, UINT and DOUBLE as double. False for other types. */
bool doc_as_double(const struct doc *doc, double *value);
/** INT and UINT, and a DOUBLE with an integer value, as uint64_t. False when negative or other. */
bool doc_as_u64(const struct doc *doc, uint64_t *value);
/** INT, and UINT/DOUBLE that fit exactly, as int64_t. */
bool doc_as_i64(const struct doc *doc, int64_t *value);
bool doc_string_equals(const struct doc *doc, const char *text);
/** Deep equality; INT, UINT and DOUBLE compare by value; map order does not matter. */
bool doc_equal(const struct doc *a, const struct doc *b);

/** Builders, all into the arena. Arrays are filled by the caller through `items`. */
struct doc doc_string(struct arena *arena, const char *text);
/** The same; null for NULL. */
struct doc doc_text(struct arena *arena, const char *text);
struct doc doc_null(void);
struct doc doc_bool(bool value);
struct doc doc_integer(int64_t value);
struct doc doc_number(double value);
/** Zeroed items for an array (count) or a map (2 x count); writable through the returned pointer.
 */
struct doc *doc_items(struct arena *arena, uint32_t count);
/** An empty map with room for `room` pairs, for doc_put. */
struct doc doc_map(struct arena *arena, uint32_t room);
/** Adds the pairs of `from` whose keys `map` has not got; there must be room for all. */
void doc_merge(struct doc *map, const struct doc *from);
/** Adds a pair behind the others. There must be room; `key` is not copied. */
void doc_put(struct doc *map, const char *key, struct doc value);

#endif
