/* The leaves of the JSON grammar. Private to doc_json*.c. */
#ifndef BASE_DOC_JSON_VALUE_H
#define BASE_DOC_JSON_VALUE_H

#include "base/doc_json_parser.h"

/* At a minus or a digit (doc_json_number.c). */
int json_parse_number(struct json_parser *parser, struct doc *out);

/* In an array, before an item or the space ahead of it: pushes what follows of short decimals that
 * have a comma behind them, commas taken, and stops before the first item that is anything else
 * (doc_json_floats.c). Without the instructions for it nothing is taken. */
void json_take_floats(struct json_parser *parser);

/* At the opening quote (doc_json_string.c). */
int json_parse_string(struct json_parser *parser, struct doc *out);

#endif
