#include "windrow/cli/argument.h"

#include <string.h>

#include "base/text.h"

int argument_parse_time(const char *name, const char *text, int64_t now_ms, int64_t *time_ms,
                        struct error *error)
{
    uint64_t number;

    if (text_parse_u64(text, strlen(text), &number) == 0 && number <= INT64_MAX)
        *time_ms = (int64_t)number;
    else if (text_parse_duration_ms(text, time_ms, NULL) == 0)
        *time_ms = now_ms - *time_ms;
    else if (text_parse_time_ms(text, strlen(text), time_ms, NULL) != 0)
        return error_set(error, ERROR_INVALID,
                         "--%s: \"%.60s\" is no time (2026-11-21T03:04:05Z, 2026-11-21, "
                         "milliseconds since the epoch, or 2h for two hours ago)",
                         name, text);
    return 0;
}
