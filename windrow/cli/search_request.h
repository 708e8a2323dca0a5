/* From the command line of `windrow search` to the body of a query. */
#ifndef WINDROW_SEARCH_REQUEST_H
#define WINDROW_SEARCH_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct search_arguments {
    const char *config_path;
    const char *collection;
    const char *text, *vector, *like, *file; /* exactly one is given */
    const char *vector_name;                 /* of the collection; NULL: it has none */
    const char *filter;
    const char *from, *to;
    const char *half_life;
    uint64_t k;
    uint64_t ef; /* 0: the collection's */
    bool exact;
    bool json;
};

/** Appends the JSON body. ERROR_INVALID: an argument cannot be understood, the text says which;
 * ERROR_IO: the file cannot be read. `now_ms` is what relative times are counted from. */
int search_request_write(const struct search_arguments *arguments, int64_t now_ms,
                         struct buffer *body, struct error *error);

#endif
