/* check-config --print: nested YAML with the origin behind each value, or flat JSON. */
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "config/loaded.h"
#include "config/properties.h"

enum { ORIGIN_COLUMN = 56 };

struct printer {
    const struct loaded_config *loaded;
    bool json;
    bool first;
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
        buffer_append_format(origin, "%s:%u", printer->loaded->config.path, mark.line);
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

static void write_json(struct printer *printer, const char *path, const char *collection,
                       struct buffer *value, struct buffer *origin)
{
    struct buffer name = {0};

    if (collection)
        buffer_append_format(&name, "collections.%s.%s", collection,
                             path + strlen("collections.*."));
    else
        buffer_append_text(&name, path);
    if (!printer->first)
        buffer_append_text(printer->out, ",\n");
    doc_write_json_string(printer->out, (const char *)name.data, name.size);
    buffer_append_format(printer->out, ": {\"value\": %s, \"origin\": ", buffer_text(value));
    doc_write_json_string(printer->out, (const char *)origin->data, origin->size);
    buffer_append_text(printer->out, "}");
    buffer_destroy(&name);
}

static void write_value(struct printer *printer, const char *path, const char *collection,
                        struct buffer *value, struct buffer *origin)
{
    if (printer->json)
        write_json(printer, path, collection, value, origin);
    else
        write_yaml(printer, path, collection, value, origin);
    printer->first = false;
    buffer_destroy(value);
    buffer_destroy(origin);
}

static void print_property(struct printer *printer, const struct property *property,
                           const void *base, const char *collection, struct report_mark mark)
{
    struct buffer value = {0};
    struct buffer origin = {0};

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
    write_value(printer, property->path, collection, &value, &origin);
}

static void print_scope(struct printer *printer, const void *base, const char *collection,
                        const struct report_mark *marks)
{
    for (size_t i = 0; i < property_count; i++)
        if (property_is_collection(&properties[i]) == (collection != NULL))
            print_property(printer, &properties[i], base, collection, marks[i]);
}

void config_print(const struct config *config, bool json, struct buffer *out)
{
    const struct loaded_config *loaded = (const struct loaded_config *)config;
    struct printer printer = {.loaded = loaded, .json = json, .first = true, .out = out};

    if (json)
        buffer_append_text(out, "{");
    print_scope(&printer, loaded, NULL, loaded->marks);
    for (size_t i = 0; i < config->collection_count; i++) {
        /* Each collection needs its own heading below "collections". */
        if (i > 0)
            (void)snprintf(printer.section, sizeof(printer.section), "collections");
        print_scope(&printer, &config->collections[i], config->collections[i].name,
                    loaded->collection_marks[i]);
    }
    if (json)
        buffer_append_text(out, "}\n");
}
