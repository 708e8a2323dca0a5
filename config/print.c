/* Values as text: JSON, or YAML that reads back to the same value; and all of them for check-config
 * --print: nested YAML with the origin behind each value, or flat JSON. */
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "base/text.h"
#include "config/load.h"
#include "config/nearest.h"

enum { ORIGIN_COLUMN = 56 };

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
        doc_write_yaml_string(out, text, strlen(text));
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
    property_write_text(property_choice_name(property, value), json, out);
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
    const char *names[3];
    size_t count = 0;

    if (roles & CONFIG_ROLE_INGEST)
        names[count++] = "ingest";
    if (roles & CONFIG_ROLE_INDEXER)
        names[count++] = "indexer";
    if (roles & CONFIG_ROLE_QUERY)
        names[count++] = "query";
    write_list(names, count, json, out);
}

static void write_vectors(const struct config_vector *vectors, size_t count, bool json,
                          struct buffer *out)
{
    buffer_append_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        const struct config_vector *vector = &vectors[i];
        buffer_append_text(out, i > 0 ? ", " : "");
        property_write_text(vector->name, json, out);
        buffer_append_format(
            out, json ? ": {\"dim\": %u, \"metric\": \"%s\"%s}" : ": {dim: %u, metric: %s%s}",
            vector->dim, vector_metric_name(vector->metric),
            !vector->multiple ? ""
            : json            ? ", \"multivector\": \"max_sim\""
                              : ", multivector: max_sim");
    }
    buffer_append_byte(out, '}');
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

    if (!host) {
        write_null(json, out);
        return;
    }
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
    case PROPERTY_VECTORS:
        write_vectors(*(const struct config_vector *const *)value, *(const size_t *)extra, json,
                      out);
        break;
    case PROPERTY_PAIRS:
        write_pairs(*(const struct config_pair *const *)value, *(const size_t *)extra, json, reveal,
                    out);
        break;
    }
}

struct printer {
    const struct loaded_config *loaded;
    bool json;
    const char *file;
    bool shows;        /* config_show: whole paths, and what a reload does */
    const char *key;   /* only this value or those below it; NULL: all */
    size_t count;      /* of values written */
    char section[128]; /* headings that stand already: path without the last component */
    struct buffer *out;
};

static void write_origin(const struct printer *printer, struct report_mark mark,
                         struct buffer *origin)
{
    if (mark.line == 0)
        buffer_append_text(origin, "default");
    else if (mark.line == LOADED_FROM_ENVIRONMENT)
        buffer_append_text(origin, "environment");
    else
        buffer_append_format(origin, "%s:%u", printer->file, mark.line);
}

static void indent(struct printer *printer, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        buffer_append_text(printer->out, "  ");
}

/* Writes the headings of `path` that do not stand yet, returns the depth of its last component. */
static size_t open_sections(struct printer *printer, const char *path, const char *collection)
{
    const char *leaf = strrchr(path, '.');
    size_t length = leaf ? (size_t)(leaf - path) : 0;
    size_t depth = 0;
    size_t start = 0;

    while (start < length) {
        size_t end = start + strcspn(path + start, ".");
        bool stands = strncmp(printer->section, path, end) == 0 &&
                      (printer->section[end] == '.' || printer->section[end] == '\0');
        if (!stands) {
            indent(printer, depth);
            if (path[start] == '*')
                property_write_text(collection, false, printer->out);
            else
                buffer_append(printer->out, path + start, end - start);
            buffer_append_text(printer->out, ":\n");
        }
        depth++;
        start = end + 1;
    }
    (void)snprintf(printer->section, sizeof(printer->section), "%.*s", (int)length, path);
    return depth;
}

static void write_yaml(struct printer *printer, const char *path, const char *collection,
                       struct buffer *value, struct buffer *origin)
{
    size_t depth = open_sections(printer, path, collection);
    const char *leaf = strrchr(path, '.');
    size_t start = printer->out->size;

    indent(printer, depth);
    buffer_append_format(printer->out, "%s: %s", leaf ? leaf + 1 : path, buffer_text(value));
    do {
        buffer_append_byte(printer->out, ' ');
    } while (printer->out->size - start < ORIGIN_COLUMN);
    buffer_append_format(printer->out, "# %s\n", buffer_text(origin));
}

static void append_name(const char *path, const char *collection, struct buffer *name)
{
    if (collection)
        buffer_append_format(name, "collections.%s.%s", collection,
                             path + strlen("collections.*."));
    else
        buffer_append_text(name, path);
}

static void write_json(struct printer *printer, const struct property *property,
                       const struct buffer *name, struct buffer *value, struct buffer *origin)
{
    if (printer->count > 0)
        buffer_append_text(printer->out, ",\n");
    doc_write_json_string(printer->out, (const char *)name->data, name->size);
    buffer_append_format(printer->out, ": {\"value\": %s, \"origin\": ", buffer_text(value));
    doc_write_json_string(printer->out, (const char *)origin->data, origin->size);
    if (printer->shows)
        buffer_append_format(printer->out, ", \"reloadable\": %s",
                             property->flags & PROPERTY_RELOADABLE ? "true" : "false");
    buffer_append_text(printer->out, "}");
}

static void write_line(struct printer *printer, const struct property *property,
                       struct buffer *name, struct buffer *value, struct buffer *origin)
{
    buffer_append_format(printer->out, "%s: %s # %s; %s\n", buffer_text(name), buffer_text(value),
                         buffer_text(origin),
                         property->flags & PROPERTY_RELOADABLE ? "a reload applies changes"
                                                               : "changes need a restart");
}

static bool is_wanted(const struct printer *printer, const char *name)
{
    size_t length = printer->key ? strlen(printer->key) : 0;

    return length == 0 || (strncmp(name, printer->key, length) == 0 &&
                           (name[length] == '\0' || name[length] == '.'));
}

static void print_property(struct printer *printer, const struct property *property,
                           const void *base, const char *collection, struct report_mark mark)
{
    struct buffer name = {0};
    struct buffer value = {0};
    struct buffer origin = {0};

    append_name(property->path, collection, &name);
    if (!is_wanted(printer, buffer_text(&name))) {
        buffer_destroy(&name);
        return;
    }
    property_write(property, base, printer->json, false, &value);
    write_origin(printer, mark, &origin);
    if (property->type == PROPERTY_PAIRS)
        for (size_t i = 0; i < printer->loaded->config.kafka_property_count; i++)
            if (printer->loaded->pair_marks[i].line == LOADED_FROM_ENVIRONMENT)
                buffer_append_format(&origin, ", %s from the environment",
                                     printer->loaded->config.kafka_properties[i].name);
    if (strcmp(property->path, "http.api_key_file") == 0 &&
        printer->loaded->api_key_from_environment)
        buffer_append_text(&origin, ", overridden by WINDROW_HTTP_API_KEY");
    if (printer->json)
        write_json(printer, property, &name, &value, &origin);
    else if (printer->shows)
        write_line(printer, property, &name, &value, &origin);
    else
        write_yaml(printer, property->path, collection, &value, &origin);
    printer->count++;
    buffer_destroy(&name);
    buffer_destroy(&value);
    buffer_destroy(&origin);
}

static void print_scope(struct printer *printer, const void *base, const char *collection,
                        const struct report_mark *marks)
{
    for (size_t i = 0; i < property_count; i++)
        if (property_is_collection(&properties[i]) == (collection != NULL))
            print_property(printer, &properties[i], base, collection, marks[i]);
}

static void print_all(struct printer *printer)
{
    const struct loaded_config *loaded = printer->loaded;
    const struct config *config = &loaded->config;

    if (printer->json)
        buffer_append_text(printer->out, "{");
    printer->file = config->path;
    print_scope(printer, loaded, NULL, loaded->marks);
    for (size_t i = 0; i < config->collection_count; i++) {
        if (config->collections[i].removed)
            continue;
        printer->file = config->collections[i].file;
        /* Each collection needs its own heading below "collections". */
        if (i > 0)
            (void)snprintf(printer->section, sizeof(printer->section), "collections");
        print_scope(printer, &config->collections[i], config->collections[i].name,
                    loaded->collection_marks[i]);
    }
    if (printer->json)
        buffer_append_text(printer->out, "}\n");
}

void config_print(const struct config *config, bool json, struct buffer *out)
{
    struct printer printer = {
        .loaded = (const struct loaded_config *)config, .json = json, .out = out};

    print_all(&printer);
}

static void suggest_key(const struct config *config, const char *key, struct buffer *hint)
{
    struct nearest nearest = nearest_to(key);
    struct buffer name = {0};

    for (size_t i = 0; i < property_count; i++) {
        bool own = property_is_collection(&properties[i]);
        for (size_t c = 0; c < (own ? config->collection_count : 1); c++) {
            name.size = 0;
            append_name(properties[i].path, own ? config->collections[c].name : NULL, &name);
            if (!nearest_try(&nearest, buffer_text(&name)))
                continue;
            hint->size = 0;
            buffer_append_text(hint, buffer_text(&name));
        }
    }
    buffer_destroy(&name);
}

bool config_show(const struct config *config, const char *key, bool json, struct buffer *out)
{
    struct printer printer = {.loaded = (const struct loaded_config *)config,
                              .json = json,
                              .shows = true,
                              .key = key,
                              .out = out};

    client_settings_hold();
    print_all(&printer);
    client_settings_release();
    if (printer.count > 0)
        return true;
    out->size = 0;
    suggest_key(config, key, out);
    return false;
}
