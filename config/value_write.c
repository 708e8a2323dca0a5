/* One value as text: JSON, or YAML that reads back to the same value. */
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "base/text.h"
#include "config/loaded.h"
#include "config/properties.h"

static const void *field(const struct property *property, const void *base)
{
    return (const uint8_t *)base + property->offset;
}

static const void *extra_field(const struct property *property, const void *base)
{
    return (const uint8_t *)base + property->extra_offset;
}

/* Whether a YAML reader would take the bare text as this text: no indicator, no blank, and nothing
 * that looks like null. Quoting too much is harmless. */
static bool is_bare(const char *text)
{
    if (*text == '\0' || strpbrk(text, " \t\n\"'#&*!|>%@`{}[],?~") || *text == '-')
        return false;
    if (strstr(text, ": ") || text[strlen(text) - 1] == ':')
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            return false;
    return strcasecmp(text, "null") != 0;
}

void property_write_text(const char *text, bool json, struct buffer *out)
{
    if (!json && is_bare(text))
        buffer_append_text(out, text);
    else
        doc_write_json_string(out, text, strlen(text));
}

static void write_null(bool json, struct buffer *out)
{
    buffer_append_text(out, json ? "null" : "~");
}

/* The largest unit that divides it: reads back exactly. */
static void write_size(uint64_t size_bytes, bool json, struct buffer *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    char text[TEXT_TIME_BYTES];

    while (unit + 1 < sizeof(units) / sizeof(units[0]) && size_bytes && size_bytes % 1024 == 0) {
        size_bytes /= 1024;
        unit++;
    }
    (void)snprintf(text, sizeof(text), "%llu%s", (unsigned long long)size_bytes, units[unit]);
    property_write_text(text, json, out);
}

static void write_duration(int64_t duration_ms, bool json, struct buffer *out)
{
    char text[TEXT_TIME_BYTES];

    property_write_text(text_format_duration(duration_ms, text), json, out);
}

static void write_choice(const struct property *property, const void *base, bool json,
                         struct buffer *out)
{
    int value;

    memcpy(&value, field(property, base), sizeof(value));
    for (size_t i = 0; i < property->choice_count; i++)
        if (property->choices[i].value == value)
            property_write_text(property->choices[i].name, json, out);
}

static void write_list(const char *const *texts, size_t count, bool json, struct buffer *out)
{
    buffer_append_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_text(out, json ? "," : ", ");
        property_write_text(texts[i], json, out);
    }
    buffer_append_text(out, "]");
}

static void write_roles(unsigned roles, bool json, struct buffer *out)
{
    const char *names[2];
    size_t count = 0;

    if (roles & CONFIG_ROLE_INGEST)
        names[count++] = "ingest";
    if (roles & CONFIG_ROLE_INDEXER)
        names[count++] = "indexer";
    write_list(names, count, json, out);
}

static void write_pairs(const struct config_pair *pairs, size_t count, bool json, bool reveal,
                        struct buffer *out)
{
    buffer_append_text(out, "{");
    for (size_t i = 0; i < count; i++) {
        bool hidden = !reveal && property_name_is_secret(pairs[i].name);
        if (i > 0)
            buffer_append_text(out, json ? "," : ", ");
        property_write_text(pairs[i].name, json, out);
        buffer_append_text(out, json ? ":" : ": ");
        property_write_text(hidden ? "(hidden)" : pairs[i].value, true, out);
    }
    buffer_append_text(out, "}");
}

/* nats://user:password@host -> nats://(hidden)@host, in each URL of a list. */
static void write_url(const char *urls, bool json, bool reveal, struct buffer *out)
{
    struct buffer shown = {0};

    while (*urls && !reveal) {
        size_t length = strcspn(urls, ",");
        const char *scheme = strstr(urls, "://");
        const char *host = scheme && scheme < urls + length ? scheme + 3 : urls;
        const char *at = memrchr(host, '@', (size_t)(urls + length - host));
        buffer_append(&shown, urls, (size_t)(host - urls));
        if (at) {
            buffer_append_text(&shown, "(hidden)");
            host = at;
        }
        buffer_append(&shown, host, (size_t)(urls + length - host));
        urls += length;
        if (*urls == ',') {
            buffer_append_byte(&shown, ',');
            urls++;
        }
    }
    property_write_text(reveal ? urls : buffer_text(&shown), json, out);
    buffer_destroy(&shown);
}

static void write_listen(const char *host, uint16_t port, bool json, struct buffer *out)
{
    char text[80];

    (void)snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    property_write_text(text, json, out);
}

static void write_plain(const struct property *property, const void *base, bool json, bool reveal,
                        struct buffer *out)
{
    const char *text = *(const char *const *)field(property, base);

    if (!text)
        write_null(json, out);
    else if (property->flags & PROPERTY_URL_SECRET)
        write_url(text, json, reveal, out);
    else
        property_write_text(text, json, out);
}

static void write_whole(const struct property *property, uint64_t value, bool json,
                        struct buffer *out)
{
    if (value == 0 && (property->flags & PROPERTY_AUTO))
        property_write_text("auto", json, out);
    else
        buffer_append_format(out, "%llu", (unsigned long long)value);
}

static bool is_null_number(const struct property *property, const void *base)
{
    /* Both are 64 bits wide and null as 0. */
    return (property->type == PROPERTY_DURATION || property->type == PROPERTY_SIZE) &&
           (property->flags & PROPERTY_NULLABLE) && *(const uint64_t *)field(property, base) == 0;
}

void property_write(const struct property *property, const void *base, bool json, bool reveal,
                    struct buffer *out)
{
    const void *value = field(property, base);
    const void *extra = extra_field(property, base);

    if (is_null_number(property, base)) {
        write_null(json, out);
        return;
    }
    switch (property->type) {
    case PROPERTY_TEXT:
        write_plain(property, base, json, reveal, out);
        break;
    case PROPERTY_INTEGER:
        write_whole(property, *(const uint32_t *)value, json, out);
        break;
    case PROPERTY_ROWS:
        write_whole(property, *(const uint64_t *)value, json, out);
        break;
    case PROPERTY_NUMBER:
        doc_write_json_double(out, *(const double *)value);
        break;
    case PROPERTY_DURATION:
        write_duration(*(const int64_t *)value, json, out);
        break;
    case PROPERTY_SIZE:
        write_size(*(const uint64_t *)value, json, out);
        break;
    case PROPERTY_CHOICE:
        write_choice(property, base, json, out);
        break;
    case PROPERTY_TEXT_LIST:
        write_list(*(const char *const *const *)value, *(const size_t *)extra, json, out);
        break;
    case PROPERTY_ROLES:
        write_roles(*(const unsigned *)value, json, out);
        break;
    case PROPERTY_LISTEN:
        write_listen(*(const char *const *)value, *(const uint16_t *)extra, json, out);
        break;
    case PROPERTY_PAIRS:
        write_pairs(*(const struct config_pair *const *)value, *(const size_t *)extra, json, reveal,
                    out);
        break;
    }
}
