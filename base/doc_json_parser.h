/* Where the JSON parser is and how it fails. Private to doc_json*.c. */
#ifndef BASE_DOC_JSON_PARSER_H
#define BASE_DOC_JSON_PARSER_H

#include "base/doc_scratch.h"

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

#endif
