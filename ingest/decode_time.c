#include <math.h>
#include <string.h>

#include "base/text.h"
#include "ingest/decode.h"

/* Years 1 to 9999: what RFC 3339 can write. Anything beyond is a wrong unit, and sums of times and
 * durations cannot overflow inside. */
#define TIME_MIN_MS INT64_C(-62135596800000)
#define TIME_MAX_MS INT64_C(253402300799999)

static const char *unit_name(enum config_time_unit unit)
{
    switch (unit) {
    case CONFIG_TIME_S:
        return "seconds";
    case CONFIG_TIME_US:
        return "microseconds";
    case CONFIG_TIME_NS:
        return "nanoseconds";
    case CONFIG_TIME_RFC3339:
        return "RFC 3339 text";
    case CONFIG_TIME_MS:
    default:
        return "milliseconds";
    }
}

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* False when the value is no time in this unit. */
static bool to_milliseconds(const struct doc *doc, enum config_time_unit unit, int64_t *time_ms)
{
    int64_t whole;
    double number;

    if (unit == CONFIG_TIME_RFC3339)
        return doc->type == DOC_STRING &&
               text_parse_time_ms(doc->string, doc->count, time_ms, NULL) == 0;
    if (doc->type == DOC_INT) {
        whole = doc->integer;
        switch (unit) {
        case CONFIG_TIME_S:
            return !__builtin_mul_overflow(whole, 1000, time_ms);
        case CONFIG_TIME_US:
            *time_ms = floor_divide(whole, 1000);
            return true;
        case CONFIG_TIME_NS:
            *time_ms = floor_divide(whole, 1000000);
            return true;
        case CONFIG_TIME_MS:
        case CONFIG_TIME_RFC3339:
        default:
            *time_ms = whole;
            return true;
        }
    }
    if (doc->type != DOC_DOUBLE)
        return false;
    number = doc->number * (unit == CONFIG_TIME_S    ? 1e3
                            : unit == CONFIG_TIME_US ? 1e-3
                            : unit == CONFIG_TIME_NS ? 1e-6
                                                     : 1.0);
    if (!(number >= (double)TIME_MIN_MS && number <= (double)TIME_MAX_MS))
        return false;
    *time_ms = (int64_t)floor(number);
    return true;
}

static bool keep_first(void *context, const struct doc *value)
{
    *(const struct doc **)context = value;
    return true;
}

int decode_event_time(struct decode *decode, const struct decode_part *part,
                      const struct doc *point, const struct doc *payload, int64_t *time_ms)
{
    const char *field = decode->collection->event_time_field;
    enum config_time_unit unit = decode->collection->event_time_unit;
    const struct doc *found = NULL;
    const char *inside = "";

    if (!field || !point) {
        *time_ms = decode->message->timestamp_ms;
        if (*time_ms >= 0)
            return 0;
        decode_reject(decode, part, "time", "%s: the Kafka record has no timestamp", part->path);
        return ERROR_INVALID;
    }
    found = doc_get(point, field);
    if (!found && payload) {
        (void)doc_visit_path(payload, field, strlen(field), keep_first, &found);
        inside = payload == point ? "" : ".payload";
    }
    if (!found || found->type == DOC_NULL) {
        decode_reject(decode, part, "time",
                      "%s: no event time in \"%s\", neither in the record nor in its payload",
                      part->path, field);
        return ERROR_INVALID;
    }
    if (to_milliseconds(found, unit, time_ms) && *time_ms >= TIME_MIN_MS && *time_ms <= TIME_MAX_MS)
        return 0;
    decode_reject(decode, part, "time", "%s%s.%s: expected a time in %s between years 1 and 9999",
                  part->path, inside, field, unit_name(unit));
    return ERROR_INVALID;
}

int decode_ttl(struct decode *decode, const struct decode_part *part, const struct doc *point,
               int64_t *ttl_ms)
{
    const struct doc *ttl = doc_get(point, "ttl");
    char text[32];

    *ttl_ms = 0;
    if (!ttl || ttl->type == DOC_NULL)
        return 0;
    if (ttl->type == DOC_STRING && ttl->count < sizeof(text)) {
        memcpy(text, ttl->string, ttl->count);
        text[ttl->count] = '\0';
        if (text_parse_duration_ms(text, ttl_ms, NULL) == 0 && *ttl_ms > 0)
            return 0;
    } else if (doc_as_i64(ttl, ttl_ms) && *ttl_ms > 0) {
        return 0;
    }
    decode_reject(decode, part, "ttl",
                  "%s.ttl: expected a duration (\"90m\") or milliseconds, above zero", part->path);
    return ERROR_INVALID;
}
