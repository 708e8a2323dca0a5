/* A JSON Schema (draft 07, which the YAML servers of editors read) from the property table. It is as
 * strict as a schema can be: combinations of values and the ranges of durations and sizes are left to
 * check-config. */
#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "config/properties.h"

enum { NAME_BYTES = 64 };

static void write_text(struct buffer *out, const char *text)
{
    doc_write_json_string(out, text, strlen(text));
}

static void write_choices(const struct property *property, struct buffer *out)
{
    if (strcmp(property->choices[0].name, "false") == 0) {
        buffer_append_text(out, "\"type\":\"boolean\"");
        return;
    }
    buffer_append_text(out, "\"enum\":[");
    for (size_t i = 0, written = 0; i < property->choice_count; i++)
        if (!property->choices[i].refused)
            buffer_append_format(out, "%s\"%s\"", written++ ? "," : "", property->choices[i].name);
    buffer_append_text(out, "]");
}

static void write_number(const struct property *property, const char *type, struct buffer *out)
{
    buffer_append_format(out, "\"type\":\"%s\",\"minimum\":%.15g", type, property->minimum);
    if (property->maximum != 0)
        buffer_append_format(out, ",\"maximum\":%.15g", property->maximum);
}

static void write_type(const struct property *property, struct buffer *out)
{
    switch (property->type) {
    case PROPERTY_INTEGER:
    case PROPERTY_ROWS:
        write_number(property, "integer", out);
        break;
    case PROPERTY_NUMBER:
        write_number(property, "number", out);
        break;
    case PROPERTY_DURATION:
        buffer_append_text(out,
                           "\"type\":\"string\",\"pattern\":\"^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?"
                           "([0-9]+s)?([0-9]+ms)?$\"");
        break;
    case PROPERTY_SIZE:
        buffer_append_text(
            out,
            "\"type\":[\"string\",\"integer\"],\"pattern\":\"^[0-9]+(B|[kKMGT]B|[KMGTP]iB)?$\"");
        break;
    case PROPERTY_CHOICE:
        write_choices(property, out);
        break;
    case PROPERTY_TEXT_LIST:
        buffer_append_text(out, "\"type\":\"array\",\"uniqueItems\":true,"
                                "\"items\":{\"type\":[\"string\",\"number\"]}");
        break;
    case PROPERTY_ROLES:
        buffer_append_text(out, "\"type\":\"array\",\"uniqueItems\":true,\"minItems\":1,"
                                "\"items\":{\"enum\":[\"ingest\",\"indexer\",\"query\"]}");
        break;
    case PROPERTY_PAIRS:
        buffer_append_text(out, "\"type\":[\"object\",\"null\"],\"additionalProperties\":"
                                "{\"type\":[\"string\",\"number\",\"boolean\"]}");
        break;
    case PROPERTY_VECTORS:
        buffer_append_text(
            out, "\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\","
                 "\"additionalProperties\":false,\"required\":[\"dim\",\"metric\"],\"properties\":{"
                 "\"dim\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65536},"
                 "\"metric\":{\"enum\":[\"cosine\",\"dot\",\"l2\"]},"
                 "\"multivector\":{\"enum\":[\"max_sim\"]}}}");
        break;
    default:
        /* An unquoted number is text to windrow. */
        buffer_append_text(out, "\"type\":[\"string\",\"number\"]");
        break;
    }
}

static void write_property(const struct property *property, struct buffer *out)
{
    bool other = property->flags & (PROPERTY_AUTO | PROPERTY_NULLABLE);

    buffer_append_text(out, other ? "{\"anyOf\":[{" : "{");
    write_type(property, out);
    if (property->flags & PROPERTY_AUTO)
        buffer_append_text(out, "},{\"const\":\"auto\"");
    if (property->flags & PROPERTY_NULLABLE)
        buffer_append_text(out, "},{\"type\":\"null\"");
    buffer_append_text(out, other ? "}],\"description\":" : ",\"description\":");
    write_text(out, property->documentation);
    buffer_append_text(out, "}");
}

/* The component of `path` below `section`; its length, or 0 when it is not below. */
static size_t child_of(const char *path, const char *section, const char **child)
{
    size_t length = strlen(section);

    if (strncmp(path, section, length) != 0 || (length > 0 && path[length] != '.'))
        return 0;
    *child = path + length + (length > 0);
    return strcspn(*child, ".");
}

static void write_section(const char *section, struct buffer *out);

static void write_child(const char *section, const char *name, struct buffer *out)
{
    struct buffer path = {0};
    const struct property *property;

    buffer_append_format(&path, "%s%s%s", section, *section ? "." : "", name);
    property = property_find(buffer_text(&path));
    if (property)
        write_property(property, out);
    else
        write_section(buffer_text(&path), out);
    buffer_destroy(&path);
}

/* Each key of a section once: rows of one section stand together in the table. */
static void write_children(const char *section, struct buffer *out)
{
    char former[NAME_BYTES] = "";

    buffer_append_text(out, ",\"additionalProperties\":false,\"properties\":{");
    for (size_t i = 0; i < property_count; i++) {
        const char *child;
        char name[NAME_BYTES];
        size_t length = child_of(properties[i].path, section, &child);
        (void)snprintf(name, sizeof(name), "%.*s", (int)length, length ? child : "");
        if (length == 0 || strcmp(name, former) == 0)
            continue;
        buffer_append_format(out, "%s\"%s\":", *former ? "," : "", name);
        write_child(section, name, out);
        (void)snprintf(former, sizeof(former), "%s", name);
    }
    buffer_append_text(out, "}");
}

static void write_section(const char *section, struct buffer *out)
{
    if (strcmp(section, "collections") == 0) {
        buffer_append_text(out, "{\"type\":\"object\",\"minProperties\":1,\"propertyNames\":"
                                "{\"pattern\":\"^[A-Za-z0-9_-]{1,100}$\"},"
                                "\"additionalProperties\":");
        write_section("collections.*", out);
        buffer_append_text(out, "}");
        return;
    }
    /* A heading without content is as if left out. */
    buffer_append_text(out, strcmp(section, "kafka") == 0
                                ? "{\"type\":\"object\",\"required\":[\"brokers\"]"
                                : "{\"type\":[\"object\",\"null\"]");
    write_children(section, out);
    buffer_append_text(out, "}");
}

void config_write_schema(struct buffer *out)
{
    buffer_append_text(out, "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":"
                            "\"windrow.yaml\",\"type\":\"object\","
                            "\"required\":[\"kafka\",\"collections\"]");
    write_children("", out);
    buffer_append_text(out, "}\n");
}
