#include "store/tools/report.h"

#include <inttypes.h>

#include "base/doc.h"
#include "base/text.h"

void report_begin(struct report *report, struct buffer *out, bool json)
{
    *report = (struct report){.out = out, .json = json, .first = true};
    if (json)
        buffer_append_byte(out, '{');
}

void report_end(struct report *report)
{
    buffer_append_text(report->out, report->json ? "}\n" : "");
}

static void begin_field(struct report *report, const char *name)
{
    if (report->json)
        buffer_append_format(report->out, "%s\"%s\":", report->first ? "" : ",", name);
    else if (report->in_item)
        buffer_append_format(report->out, "  %s ", name);
    else
        buffer_append_format(report->out, "%s: ", name);
    report->first = false;
}

static void end_field(struct report *report)
{
    if (!report->json && !report->in_item)
        buffer_append_byte(report->out, '\n');
}

void report_text(struct report *report, const char *name, const char *value)
{
    size_t length = 0;

    while (value[length] != '\0')
        length++;
    begin_field(report, name);
    if (report->json)
        doc_write_json_string(report->out, value, length);
    else
        buffer_append_text(report->out, value);
    end_field(report);
}

void report_u64(struct report *report, const char *name, uint64_t value)
{
    begin_field(report, name);
    buffer_append_format(report->out, "%" PRIu64, value);
    end_field(report);
}

void report_i64(struct report *report, const char *name, int64_t value)
{
    begin_field(report, name);
    buffer_append_format(report->out, "%" PRId64, value);
    end_field(report);
}

void report_number(struct report *report, const char *name, double value)
{
    begin_field(report, name);
    buffer_append_format(report->out, "%.4f", value);
    end_field(report);
}

void report_bool(struct report *report, const char *name, bool value)
{
    begin_field(report, name);
    buffer_append_text(report->out, value ? "true" : "false");
    end_field(report);
}

void report_hex(struct report *report, const char *name, uint64_t value)
{
    begin_field(report, name);
    buffer_append_format(report->out, report->json ? "\"%016" PRIx64 "\"" : "%016" PRIx64, value);
    end_field(report);
}

void report_time(struct report *report, const char *name, int64_t time_ms)
{
    char text[TEXT_TIME_BYTES];

    if (report->json)
        report_i64(report, name, time_ms);
    else
        report_text(report, name, text_format_time(time_ms, text));
}

void report_list_begin(struct report *report, const char *name)
{
    if (report->json) {
        begin_field(report, name);
        buffer_append_byte(report->out, '[');
    } else {
        buffer_append_format(report->out, "%s:\n", name);
    }
    report->first = true;
}

void report_list_end(struct report *report)
{
    if (report->json)
        buffer_append_byte(report->out, ']');
    report->first = false;
}

void report_item_begin(struct report *report)
{
    if (report->json)
        buffer_append_text(report->out, report->first ? "{" : ",{");
    report->in_item = true;
    report->first = true;
}

void report_item_end(struct report *report)
{
    buffer_append_byte(report->out, report->json ? '}' : '\n');
    report->in_item = false;
    report->first = false;
}
