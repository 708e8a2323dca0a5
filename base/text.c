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
