/* One Kafka message as a stream of Arrow record batches (base/arrow_format.h), read where it lies.
 *
 *     arrow_stream.c  messages, schema, batches: where each column's buffers are
 *     arrow_value.c   one value of a column as a document
 *     arrow.c         rows become points
 *
 * Nobody else's reader is used: the distribution has none for C, and a reject must name batch, row and
 * column. Bytes are hostile. Opening a batch checks that the buffers hold as many values as its length
 * says; offsets inside of them are checked with each value. All of it lies in the scratch arena.
 * Private to ingest/decode/. */
#ifndef INGEST_DECODE_ARROW_H
#define INGEST_DECODE_ARROW_H

#include "base/arrow_format.h"
#include "base/doc.h"
#include "base/flatbuffer.h"

enum {
    ARROW_FIELDS_MAX = 4096, /* of a schema, children included */
    ARROW_NAME_MAX_BYTES = 1024,
    ARROW_DEPTH_MAX = 16, /* of lists and structs */
    ARROW_DICTIONARIES_MAX = 256
};

/* What a column holds, as the schema has it. */
struct arrow_field {
    const char *name; /* UTF-8, in the message */
    uint32_t name_length;
    enum arrow_type type; /* of the values, also of those in a dictionary */
    unsigned
        width; /* bytes of a number or a fixed-size binary, or of an offset of texts and lists */
    bool is_signed;
    enum arrow_time_unit unit; /* of ARROW_TIMESTAMP */
    uint32_t list_size;        /* of ARROW_FIXED_SIZE_LIST */
    bool has_dictionary;
    int64_t dictionary;   /* its id */
    unsigned index_width; /* of the indexes into it */
    bool index_signed;
    struct arrow_field *children;
    uint32_t child_count;
};

struct arrow_bytes {
    const uint8_t *data;
    size_t size;
};

/* The values of a field in one batch. */
struct arrow_column {
    const struct arrow_field *field;
    uint64_t length;
    struct arrow_bytes validity; /* a bit a value; NULL: none is null */
    struct arrow_bytes values; /* numbers, bits, views, bytes of texts; indexes into a dictionary */
    struct arrow_bytes offsets; /* of texts and lists: one more than there are values */
    struct arrow_bytes *pieces; /* of texts in views */
    uint32_t piece_count;
    struct arrow_column *children;
    const struct arrow_column *dictionary; /* NULL: the values are its own */
};

struct arrow_dictionary {
    const struct arrow_field *field;   /* its values; without a dictionary of their own */
    const struct arrow_column *values; /* NULL: it has not come yet */
};

/* A stream that is read from front to back. */
struct arrow_stream {
    const uint8_t *data;
    size_t size, at;
    struct arena *arena;
    struct arrow_field *fields; /* NULL: the schema has not come yet */
    uint32_t field_count;
    uint32_t field_total; /* children included */
    struct arrow_dictionary dictionaries[ARROW_DICTIONARIES_MAX];
    uint32_t dictionary_count;
    char text[256]; /* what went wrong */
};

struct arrow_batch {
    uint64_t row_count;
    struct arrow_column *columns; /* one for each field of the stream */
};

/** The next batch. 1: there is one; 0: the stream has ended; ERROR_*: it is broken, see `text`. */
int arrow_stream_next(struct arrow_stream *stream, struct arrow_batch *batch);

/** A value as a document in `arena`, which points into the message: texts as strings, binaries as bytes, lists as arrays,
 * structs as maps, dates and times as RFC 3339 text. `row` is below the column's length. ERROR_INVALID
 * with the reason in `text` (of `text_bytes`). */
int arrow_value(const struct arrow_column *column, uint64_t row, struct arena *arena,
                struct doc *value, char *text, size_t text_bytes);
bool arrow_is_null(const struct arrow_column *column, uint64_t row);
/** Where the items of a list lie among its child's. False: the offsets are broken. */
bool arrow_list_range(const struct arrow_column *column, uint64_t row, uint64_t *begin,
                      uint64_t *count);
/** Bytes without UTF-8: only the column `vector` is taken then. */
bool arrow_is_binary(enum arrow_type type);
/** "list", "decimal"... */
const char *arrow_type_name(enum arrow_type type);

#endif
