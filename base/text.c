#include "base/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const struct unit size_units[] = {
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"PiB", UINT64_C(1) << 50},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", 1000000000000},
    {"B", 1},
    {"", 1},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits from *text on, moves it behind them. False when there is none or they overflow. */
static bool take_number(const char **text, uint64_t *number)
{
    uint64_t value = 0;

    if (!is_digit(**text))
        return false;
    for (; is_digit(**text); (*text)++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
            return false;
    *number = value;
    return true;
}

/* The unit whose name is the letters at *text, moved behind them; NULL when there is none. */
static const struct unit *take_unit(const char **text, const struct unit *units, size_t count)
{
    size_t length = 0;

    while (((*text)[length] | 0x20) >= 'a' && ((*text)[length] | 0x20) <= 'z')
        length++;
    for (size_t i = 0; i < count; i++) {
        if (strlen(units[i].name) == length && memcmp(units[i].name, *text, length) == 0) {
            *text += length;
            return &units[i];
        }
    }
    return NULL;
}

int text_parse_duration_ms(const char *text, int64_t *duration_ms, struct error *error)
{
    const struct unit *former = NULL;
    const char *at = text;
    uint64_t total = 0;

    do {
        const struct unit *unit;
        uint64_t number;
        if (!take_number(&at, &number))
            goto invalid;
        unit = take_unit(&at, duration_units, COUNT(duration_units));
        /* Units fall: "30m1h" and "1h1h" are slips of the pen. */
        if (!unit || (former && unit->factor >= former->factor))
            goto invalid;
        if (__builtin_mul_overflow(number, unit->factor, &number) ||
            __builtin_add_overflow(total, number, &total) || total > INT64_MAX)
            goto invalid;
        former = unit;
    } while (*at);
    *duration_ms = (int64_t)total;
    return 0;

invalid:
    return error_set(
        error, ERROR_INVALID,
        "invalid duration '%.40s': use a number and a unit, such as 250ms, 10m, 1h or 1h30m", text);
}

int text_parse_size_bytes(const char *text, uint64_t *size_bytes, struct error *error)
{
    const char *at = text;
    const struct unit *unit = NULL;
    uint64_t number;

    if (take_number(&at, &number))
        unit = take_unit(&at, size_units, COUNT(size_units));
    if (!unit || *at || __builtin_mul_overflow(number, unit->factor, &number))
        return error_set(
            error, ERROR_INVALID,
            "invalid size '%.40s': use a number and a unit, such as 64KiB, 128MiB or 1GiB", text);
    *size_bytes = number;
    return 0;
}

char *text_format_duration(int64_t duration_ms, char out[TEXT_TIME_BYTES])
{
    uint64_t left = duration_ms < 0 ? 0 - (uint64_t)duration_ms : (uint64_t)duration_ms;
    size_t used = 0;

    if (left == 0)
        return strcpy(out, "0s");
    if (duration_ms < 0)
        out[used++] = '-';
    for (size_t i = 0; i < COUNT(duration_units); i++) {
        uint64_t number = left / duration_units[i].factor;
        if (number == 0)
            continue;
        used += (size_t)snprintf(out + used, TEXT_TIME_BYTES - used, "%llu%s",
                                 (unsigned long long)number, duration_units[i].name);
        left -= number * duration_units[i].factor;
    }
    return out;
}

char *text_format_size(uint64_t size_bytes, char out[TEXT_TIME_BYTES])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)size_bytes;
    size_t unit = 0;

    /* 1023.95 would print as 1024.0. */
    while (value >= 1023.95 && unit + 1 < COUNT(names)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, TEXT_TIME_BYTES, unit ? "%.1f %s" : "%.0f %s", value, names[unit]);
    return out;
}

int text_parse_u64(const char *text, size_t length, uint64_t *value)
{
    uint64_t result = 0;

    if (length == 0 || length > 20 || (length > 1 && text[0] == '0'))
        return ERROR_INVALID;
    for (size_t i = 0; i < length; i++)
        if (!is_digit(text[i]) || __builtin_mul_overflow(result, 10, &result) ||
            __builtin_add_overflow(result, (uint64_t)(text[i] - '0'), &result))
            return ERROR_INVALID;
    *value = result;
    return 0;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int text_parse_uuid(const char *text, size_t length, uint8_t uuid[16])
{
    static const char prefix[] = "urn:uuid:";
    uint8_t result[16] = {0};
    bool dashes;

    if (length == sizeof(prefix) - 1 + 36 && strncasecmp(text, prefix, sizeof(prefix) - 1) == 0) {
        text += sizeof(prefix) - 1;
        length = 36;
    }
    if (length != 36 && length != 32)
        return ERROR_INVALID;
    dashes = length == 36;
    for (unsigned nibble = 0; nibble < 32; nibble++) {
        int digit;
        if (dashes && (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) &&
            *text++ != '-')
            return ERROR_INVALID;
        digit = hex_digit(*text++);
        if (digit < 0)
            return ERROR_INVALID;
        result[nibble / 2] = (uint8_t)(result[nibble / 2] << 4 | digit);
    }
    memcpy(uuid, result, sizeof(result));
    return 0;
}

char *text_format_uuid(const uint8_t uuid[16], char out[TEXT_UUID_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *to = out;

    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[uuid[i] >> 4];
        *to++ = digits[uuid[i] & 15];
    }
    *to = '\0';
    return out;
}

/* Without the padding, which fills the text up to a multiple of four. */
static size_t base64_digits(const char *text, size_t length)
{
    for (unsigned i = 0; i < 2 && length > 0 && (length + i) % 4 == 0 && text[length - 1] == '=';
         i++)
        length--;
    return length;
}

size_t text_base64_bytes(const char *text, size_t length)
{
    length = base64_digits(text, length);
    return length / 4 * 3 + length % 4 * 3 / 4;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int text_parse_base64(const char *text, size_t length, uint8_t *bytes, size_t *bad)
{
    const size_t digits = base64_digits(text, length);
    uint32_t value = 0;

    for (size_t i = 0; i < digits; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0 || (i + 1 == digits && digits % 4 == 1)) {
            *bad = i;
            return ERROR_INVALID;
        }
        value = value << 6 | (uint32_t)digit;
        if (i % 4 != 0)
            *bytes++ = (uint8_t)(value >> (6 - 2 * (i % 4)));
    }
    return 0;
}

/* Length of the well-formed sequence at `at` (Unicode 15, table 3-7), 0 when there is none. */
static size_t utf8_sequence(const unsigned char *at, size_t left)
{
    unsigned char first = at[0];
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t length;

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length > left)
        return 0;
    if (first == 0xe0)
        low = 0xa0; /* shorter would do */
    else if (first == 0xed)
        high = 0x9f; /* surrogates */
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

size_t text_utf8_valid(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0;

    while (at < length) {
        size_t sequence;
        uint64_t word;
        if (length - at >= sizeof(word)) {
            memcpy(&word, bytes + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        sequence = utf8_sequence(bytes + at, length - at);
        if (sequence == 0)
            return at;
        at += sequence;
    }
    return at;
}

/* RFC 3339 times to and from milliseconds since the epoch, for the years 0 to 9999, without the C
 * library's time zones. */

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
