/* Everything found wrong with the configuration files, printed together in the order of the files.
 * Private to config/. */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"

enum { REPORT_FINDINGS_MAX = 200 };

/* A place in the file, counted from 1. Line 0 stands for "not in the file" (a default). */
struct report_mark {
    uint32_t line, column;
};

struct report_finding {
    const char *file;
    size_t file_number; /* the order in which files are read */
    struct report_mark mark;
    bool warning;
    const char *text;
};

struct report {
    struct arena *arena;
    const char *file; /* that findings are about from now on, and its number */
    size_t file_number;
    struct report_finding findings[REPORT_FINDINGS_MAX];
    size_t count;
    size_t error_count; /* past REPORT_FINDINGS_MAX too */
};

/** `text` reads "message (hint)". Control characters in it are shown as '?'. */
void report_error(struct report *report, struct report_mark mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_warning(struct report *report, struct report_mark mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Appends "FILE:LINE:COL: text" a finding, sorted by place; findings at the same place keep the
 * order in which they were found. */
void report_write(struct report *report, struct buffer *out);

#endif
