/* One description of a file in two forms: lines for people and one JSON object for programs. */
#ifndef STORE_TOOLS_REPORT_H
#define STORE_TOOLS_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct report {
    struct buffer *out;
    bool json;
    bool in_item; /* fields go behind one another instead of below */
    bool first;   /* no comma yet */
};

/** Begins the object. `report_end` ends it with a line break. */
void report_begin(struct report *report, struct buffer *out, bool json);
void report_end(struct report *report);

void report_text(struct report *report, const char *name, const char *value);
void report_u64(struct report *report, const char *name, uint64_t value);
void report_i64(struct report *report, const char *name, int64_t value);
void report_number(struct report *report, const char *name, double value); /* 4 decimals */
void report_bool(struct report *report, const char *name, bool value);
/** 16 hex digits: nobody computes with a checksum. */
void report_hex(struct report *report, const char *name, uint64_t value);
/** Milliseconds since the epoch, as RFC 3339 for people and as the number in JSON. */
void report_time(struct report *report, const char *name, int64_t time_ms);

/** A list of items; lists do not nest. */
void report_list_begin(struct report *report, const char *name);
void report_list_end(struct report *report);
void report_item_begin(struct report *report);
void report_item_end(struct report *report);

#endif
