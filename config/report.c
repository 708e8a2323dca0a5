#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(struct report *report, struct report_mark mark, bool warning, const char *format,
                va_list arguments) __attribute__((format(printf, 4, 0)));

static void add(struct report *report, struct report_mark mark, bool warning, const char *format,
                va_list arguments)
{
    char text[1024];
    struct report_finding *finding;

    if (!warning)
        report->error_count++;
    if (report->count == REPORT_FINDINGS_MAX)
        return;
    (void)vsnprintf(text, sizeof(text), format, arguments);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    finding = &report->findings[report->count++];
    finding->file = report->file;
    finding->file_number = report->file_number;
    finding->mark = mark;
    finding->warning = warning;
    finding->text = arena_copy(report->arena, text, strlen(text));
}

void report_error(struct report *report, struct report_mark mark, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(report, mark, false, format, arguments);
    va_end(arguments);
}

void report_warning(struct report *report, struct report_mark mark, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(report, mark, true, format, arguments);
    va_end(arguments);
}

static bool is_before(const struct report_finding *a, const struct report_finding *b)
{
    if (a->file_number != b->file_number)
        return a->file_number < b->file_number;
    return a->mark.line != b->mark.line ? a->mark.line < b->mark.line
                                        : a->mark.column < b->mark.column;
}

/* Insertion sort: few findings, mostly in order already, and equal places must keep their order. */
static void sort(struct report *report)
{
    for (size_t i = 1; i < report->count; i++) {
        struct report_finding moved = report->findings[i];
        size_t at = i;
        for (; at > 0 && is_before(&moved, &report->findings[at - 1]); at--)
            report->findings[at] = report->findings[at - 1];
        report->findings[at] = moved;
    }
}

void report_write(struct report *report, struct buffer *out)
{
    size_t shown_errors = 0;

    sort(report);
    for (size_t i = 0; i < report->count; i++) {
        const struct report_finding *finding = &report->findings[i];
        buffer_append_format(out, "%s:%u:%u: %s%s\n", finding->file, finding->mark.line,
                             finding->mark.column, finding->warning ? "warning: " : "",
                             finding->text);
        shown_errors += !finding->warning;
    }
    if (shown_errors < report->error_count)
        buffer_append_format(out, "%s: and %zu more errors\n", report->file,
                             report->error_count - shown_errors);
}
