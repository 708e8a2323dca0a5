/* RFC 3339 times to and from milliseconds since the epoch, for the years 0 to 9999, without the C
 * library's time zones. */
#include "base/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { DAY_MS = 86400000 };

/* Days from 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
 * the leap day is the last of the year, and in eras of 400 years (146,097 days). */
static int64_t days_from_date(int64_t year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;

    *day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

struct cursor {
    const char *at;
    const char *end;
};

static bool take_digits(struct cursor *cursor, int count, int *value)
{
    *value = 0;
    if (cursor->end - cursor->at < count)
        return false;
    for (int i = 0; i < count; i++, cursor->at++) {
        if (*cursor->at < '0' || *cursor->at > '9')
            return false;
        *value = *value * 10 + (*cursor->at - '0');
    }
    return true;
}

static bool take_char(struct cursor *cursor, char wanted)
{
    if (cursor->at == cursor->end || *cursor->at != wanted)
        return false;
    cursor->at++;
    return true;
}

static bool take_date(struct cursor *cursor, int64_t *time_ms)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    bool leap;

    if (!take_digits(cursor, 4, &year) || !take_char(cursor, '-') ||
        !take_digits(cursor, 2, &month) || !take_char(cursor, '-') || !take_digits(cursor, 2, &day))
        return false;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 ||
        day > month_days[month - 1] + (month == 2 && leap ? 1 : 0))
        return false;
    *time_ms = days_from_date(year, month, day) * DAY_MS;
    return true;
}

/* hh:mm, optional :ss and a fraction; digits below the millisecond are cut off. */
static bool take_clock(struct cursor *cursor, int64_t *time_ms)
{
    int hour, minute, second = 0;
    int fraction_ms = 0;

    if (!take_digits(cursor, 2, &hour) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &minute))
        return false;
    if (take_char(cursor, ':')) {
        if (!take_digits(cursor, 2, &second))
            return false;
        if (take_char(cursor, '.')) {
            int scale = 100;
            int digit;
            if (!take_digits(cursor, 1, &digit))
                return false;
            do {
                fraction_ms += digit * scale;
                scale /= 10;
            } while (take_digits(cursor, 1, &digit));
        }
    }
    /* RFC 3339 lets a leap second be written; the epoch count has no place for it. */
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    *time_ms += ((int64_t)hour * 60 + minute) * 60000 + (int64_t)second * 1000 + fraction_ms;
    return true;
}

static bool take_offset(struct cursor *cursor, int64_t *time_ms)
{
    int hours, minutes;
    int sign;

    if (take_char(cursor, 'Z') || take_char(cursor, 'z'))
        return true;
    if (take_char(cursor, '+'))
        sign = -1;
    else if (take_char(cursor, '-'))
        sign = 1;
    else
        return cursor->at == cursor->end; /* none written: UTC, as Qdrant reads it */
    if (!take_digits(cursor, 2, &hours))
        return false;
    (void)take_char(cursor, ':');
    if (!take_digits(cursor, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *time_ms += sign * ((int64_t)hours * 60 + minutes) * 60000;
    return true;
}

int text_parse_time_ms(const char *text, size_t length, int64_t *time_ms, struct error *error)
{
    struct cursor cursor = {text, text + length};
    int64_t value = 0;

    if (!take_date(&cursor, &value))
        goto invalid;
    if (cursor.at != cursor.end) {
        if (!take_char(&cursor, 'T') && !take_char(&cursor, 't') && !take_char(&cursor, ' '))
            goto invalid;
        if (!take_clock(&cursor, &value) || !take_offset(&cursor, &value) ||
            cursor.at != cursor.end)
            goto invalid;
    }
    *time_ms = value;
    return 0;

invalid:
    return error_set(error, ERROR_INVALID,
                     "invalid time '%.*s': use RFC 3339, such as 2026-11-21T03:04:05.678Z",
                     (int)(length < 40 ? length : 40), text);
}

char *text_format_time(int64_t time_ms, char out[TEXT_TIME_BYTES])
{
    int64_t days = time_ms / DAY_MS - (time_ms % DAY_MS < 0);
    int of_day = (int)(time_ms - days * DAY_MS);
    int64_t year;
    int month, day;

    date_from_days(days, &year, &month, &day);
    /* Times that RFC 3339 has no form for keep their number. */
    if (year < 0 || year > 9999)
        (void)snprintf(out, TEXT_TIME_BYTES, "%lldms", (long long)time_ms);
    else
        (void)snprintf(out, TEXT_TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)year,
                       month, day, of_day / 3600000, of_day / 60000 % 60, of_day / 1000 % 60,
                       of_day % 1000);
    return out;
}
