/* Ways to read the short decimals of an array many at a time. Private to doc_json*.c. */
#ifndef BASE_DOC_JSON_FLOATS_H
#define BASE_DOC_JSON_FLOATS_H

#include "base/doc_json_parser.h"

enum { JSON_FLOAT_BYTES = 32 }; /* of text that must be ahead of where a block begins */

/** Whether the processor has what json_take_float_blocks needs (doc_json_blocks.c). */
bool json_has_float_blocks(void);

/** As json_take_floats, with JSON_FLOAT_BYTES of text ahead. */
void json_take_float_blocks(struct json_parser *parser);

#endif
