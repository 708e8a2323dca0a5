/* What the parts of the reader and the writer of documents share. Private to base/doc*.c.
 *
 *     doc.c          values, paths into them, equality
 *     doc_scratch.c  items of arrays and maps that are still open
 *     doc_json.c     the JSON parser; strings
 *     doc_number.c   numbers of JSON to integers and doubles
 *     doc_json_floats.c, doc_json_blocks.c   arrays of decimals, many at a time
 *     doc_msgpack.c  the MessagePack parser
 *     doc_write.c    both encodings, out */
#ifndef BASE_DOC_INTERNAL_H
#define BASE_DOC_INTERNAL_H

#include "base/doc.h"

/* Where parsers gather the items of arrays and maps that are still open: a stack of documents that
 * grows with what was really read, so that a hostile count costs nothing. A closed array's items
 * are copied once into the arena. */

struct doc_scratch {
    struct doc *items;
    size_t count;
    size_t capacity;
    size_t limit; /* items that may be open at once */
};

/* One open array or map; the frames of the parsers form a chain, innermost first. */
struct doc_frame {
    const struct doc_frame *parent;
    size_t base; /* its first item in the scratch stack */
    bool map;
};

void doc_scratch_create(struct doc_scratch *scratch, const struct arena *arena);
void doc_scratch_destroy(struct doc_scratch *scratch);

/* Makes room for one more. False past the limit. */
bool doc_scratch_grow(struct doc_scratch *scratch);

static inline struct doc *doc_scratch_push(struct doc_scratch *scratch)
{
    if (__builtin_expect(scratch->count == scratch->capacity, 0) && !doc_scratch_grow(scratch))
        return NULL;
    return &scratch->items[scratch->count++];
}

/* Pops what lies above `frame->base` into the arena, as the items of `out`. False past the arena's
 * limit. */
bool doc_scratch_close(struct doc_scratch *scratch, const struct doc_frame *frame,
                       struct arena *arena, struct doc *out);

enum { DOC_PATH_BYTES = 256 };

/* "$.points[3].vector" for the value that is being read; long keys and paths are cut. */
void doc_frame_path(const struct doc_frame *frame, const struct doc_scratch *scratch,
                    char path[DOC_PATH_BYTES]);

/* Decimal numbers to doubles. */

/** digits x 10^exponent, correctly rounded. False when only strtod can tell. */
bool doc_number_scale(uint64_t digits, int64_t exponent, double *value);

enum { DOC_NUMBER_POWERS = 23 };

/** The powers of ten that a double holds exactly: 10^0 to 10^22. */
extern const double doc_number_powers_of_ten[DOC_NUMBER_POWERS];

/** The first 64 bits of 5^exponent, the highest of them set; exponent from -64 to 55. */
uint64_t doc_number_power(int64_t exponent);

/* Where the JSON parser is and how it fails. */

struct json_parser {
    const char *start;
    const char *at;
    const char *end;
    struct arena *arena;
    struct doc_scratch scratch;
    const struct doc_frame *frame; /* innermost open container */
    uint32_t depth;
    uint32_t max_depth;
    struct error *error;
};

/* ERROR_INVALID with "byte 12 ($.path): what". */
int json_fail(struct json_parser *parser, const char *at, const char *what);
int json_fail_memory(struct json_parser *parser);

static inline bool json_is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* The leaves of the JSON grammar. */

/* At a minus or a digit (doc_number.c). */
int json_parse_number(struct json_parser *parser, struct doc *out);

/* In an array, before an item or the space ahead of it: pushes what follows of short decimals that
 * have a comma behind them, commas taken, and stops before the first item that is anything else
 * (doc_json_floats.c). Without the instructions for it nothing is taken. */
void json_take_floats(struct json_parser *parser);

/* At the opening quote (doc_json.c). */
int json_parse_string(struct json_parser *parser, struct doc *out);

/* Ways to read the short decimals of an array many at a time. */

enum { JSON_FLOAT_BYTES = 32 }; /* of text that must be ahead of where a block begins */

/** Whether the processor has what json_take_float_blocks needs (doc_json_blocks.c). */
bool json_has_float_blocks(void);

/** As json_take_floats, with JSON_FLOAT_BYTES of text ahead. */
void json_take_float_blocks(struct json_parser *parser);

#endif
