/* Where in a filter document something stands, and errors that say so. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "indexer/query/filter.h"

struct filter_place filter_place_name(const struct filter_place *parent, const char *name)
{
    return (struct filter_place){.parent = parent, .name = name, .name_bytes = strlen(name)};
}

struct filter_place filter_place_index(const struct filter_place *parent, uint32_t index)
{
    return (struct filter_place){.parent = parent, .index = index};
}

static void write_place(const struct filter_place *place, char *out, size_t out_bytes)
{
    size_t used;

    out[0] = '\0';
    if (place->parent)
        write_place(place->parent, out, out_bytes);
    used = strlen(out);
    if (place->name)
        (void)snprintf(out + used, out_bytes - used, "%s%.*s", place->parent ? "." : "",
                       (int)place->name_bytes, place->name);
    else
        (void)snprintf(out + used, out_bytes - used, "[%u]", place->index);
}

int filter_error(const struct filter_compiler *compiler, const struct filter_place *place,
                 const char *format, ...)
{
    char where[512];
    char what[480];
    va_list arguments;

    write_place(place, where, sizeof(where));
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return error_set(compiler->error, ERROR_INVALID, "%s: %s", where, what);
}

static bool is_known(const struct doc *key, const char *const *known)
{
    for (; *known; known++)
        if (doc_string_equals(key, *known))
            return true;
    return false;
}

int filter_check_keys(const struct filter_compiler *compiler, const struct filter_place *place,
                      const struct doc *doc, const char *const *known)
{
    char expected[320] = "";

    if (doc->type != DOC_MAP)
        return filter_error(compiler, place, "expected an object");
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct doc *key = &doc->items[(size_t)i * 2];
        struct filter_place at = {place, key->string, key->count < 60 ? key->count : 60, 0};
        if (is_known(key, known))
            continue;
        for (const char *const *name = known; *name; name++) {
            size_t used = strlen(expected);
            (void)snprintf(expected + used, sizeof(expected) - used, "%s`%s`",
                           name == known ? "" : ", ", *name);
        }
        return filter_error(compiler, &at, "unknown field `%.*s`, expected %s%s",
                            (int)at.name_bytes, key->string, known[1] ? "one of " : "", expected);
    }
    return 0;
}

const struct doc *filter_get(const struct doc *map, const char *key)
{
    const struct doc *value = doc_get(map, key);

    return value && value->type != DOC_NULL ? value : NULL;
}
