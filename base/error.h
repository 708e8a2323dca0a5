/* Errors: a negative code to branch on and a text for people.
 *
 * A function that can fail returns 0 or a negative enum error_code and fills the `struct error *`
 * its caller gave. Callers add context on the way up with error_wrap, so that the text reads from
 * the outside in: "collection news: shard 3: open 000007.log: No space left on device". */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_INVALID = -1,  /* a value from a user or a peer is wrong */
    ERROR_IO = -2,       /* the device or file system failed; not retried on the same file */
    ERROR_NO_SPACE = -3, /* ENOSPC or EDQUOT: resumes when space returns */
    ERROR_CORRUPT = -4,  /* bytes do not match their checksum or structure */
    ERROR_NOT_FOUND = -5,
    ERROR_EXISTS = -6,
    ERROR_BUSY = -7, /* backpressure or a lock: try again later */
    ERROR_CANCELLED = -8,
    ERROR_TIMEOUT = -9,
    ERROR_UNSUPPORTED = -10,
    ERROR_MEMORY = -11,      /* a bounded arena or quota is full */
    ERROR_PEER = -12,        /* Kafka, NATS or an HTTP peer answered with an error */
    ERROR_UNAVAILABLE = -13, /* what is asked for lies in another process, or in none now */
    ERROR_UPSTREAM =
        -14, /* a service that an answer needs (an embedder) failed or talks nonsense */
    ERROR_UPSTREAM_TIMEOUT = -15, /* it did not answer in its time */
    ERROR_NO_FILES = -16, /* EMFILE or ENFILE: no descriptor was free; resumes when one is */
    ERROR_LAST = ERROR_NO_FILES
};

/** Whether the system lacks something for a while: room on the disk, descriptors, memory, a turn. Nothing is damaged.
 * What was refused, or written in part, is done again later, over what is there. After a sync the same errnos say
 * something else: see io_failed. */
static inline bool error_is_shortage(int code)
{
    return code == ERROR_NO_SPACE || code == ERROR_NO_FILES || code == ERROR_MEMORY ||
           code == ERROR_BUSY;
}

/* Small enough to zero without thought. */
struct error {
    int code;                     /* enum error_code */
    char text[512 - sizeof(int)]; /* cut where it does not fit */
};

/** For a caller that does not care why: a `struct error *` is never NULL. */
#define ERROR_IGNORED (&(struct error){0})

/** Fills `error` and returns `code`, so that `return error_set(...)` reads well. */
int error_set(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** As error_set, code and ending (": No space left on device") taken from `errno_value` (positive).
 */
int error_set_errno(struct error *error, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Puts "context: " in front of the text that is there. Returns the error's code. */
int error_wrap(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Stable lower-case name of a code, for logs and metrics labels: "no_space". */
const char *error_code_name(int code);

#endif
