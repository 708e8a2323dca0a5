/* Values on the command line that several commands take. */
#ifndef WINDROW_ARGUMENT_H
#define WINDROW_ARGUMENT_H

#include <stdint.h>

#include "base/error.h"

/** --NAME: RFC 3339, milliseconds since the epoch, or a duration before `now_ms`. */
int argument_parse_time(const char *name, const char *text, int64_t now_ms, int64_t *time_ms,
                        struct error *error);

#endif
