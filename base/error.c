#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
    va_list arguments;

    assert(error);
    error->code = code;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return code;
}

static int code_from_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case EMFILE:
    case ENFILE:
        return ERROR_NO_FILES;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
        return ERROR_EXISTS;
    case ENOMEM:
        return ERROR_MEMORY;
    case EINVAL:
        return ERROR_INVALID;
    case EWOULDBLOCK:
    case EBUSY:
        return ERROR_BUSY;
    case EOPNOTSUPP:
        return ERROR_UNSUPPORTED;
    case ETIMEDOUT:
        return ERROR_TIMEOUT;
    case EUCLEAN:
        return ERROR_CORRUPT;
    default:
        return ERROR_IO;
    }
}

int error_set_errno(struct error *error, int errno_value, const char *format, ...)
{
    int code = code_from_errno(errno_value);
    va_list arguments;
    size_t used;

    assert(error);
    error->code = code;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    used = strlen(error->text);
    (void)snprintf(error->text + used, sizeof(error->text) - used, ": %s", strerror(errno_value));
    return code;
}

int error_wrap(struct error *error, const char *format, ...)
{
    char former[sizeof(error->text)];
    va_list arguments;
    size_t used;

    assert(error);
    memcpy(former, error->text, sizeof(former));
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    used = strlen(error->text);
    (void)snprintf(error->text + used, sizeof(error->text) - used, ": %s", former);
    return error->code;
}

const char *error_code_name(int code)
{
    static const char *const names[] = {
        "none",   "invalid",     "io",        "no_space",         "corrupt",     "not_found",
        "exists", "busy",        "cancelled", "timeout",          "unsupported", "memory",
        "peer",   "unavailable", "upstream",  "upstream_timeout", "no_files",
    };
    size_t index = (size_t) - (long)code;

    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "unknown";
}
