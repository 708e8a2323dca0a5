#include "net/http/schema.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

const struct http_shape http_boolean = {.types = HTTP_BOOLEAN};
static const char *const flags[] = {"true", "false", NULL};
const struct http_shape http_flag = {.types = HTTP_BOOLEAN, .values = flags};
const struct http_shape http_integer = {.types = HTTP_INTEGER};
const struct http_shape http_natural = {.types = HTTP_INTEGER, .has_minimum = true};
const struct http_shape http_positive = {.types = HTTP_INTEGER, .has_minimum = true, .minimum = 1};
const struct http_shape http_number = {.types = HTTP_NUMBER};
const struct http_shape http_string = {.types = HTTP_STRING};
const struct http_shape http_object = {.types = HTTP_OBJECT};
const struct http_shape http_bytes = {.types = HTTP_BYTES};
static const struct http_key no_keys[] = {{.name = NULL}};
const struct http_shape http_nothing = {.types = HTTP_OBJECT, .keys = no_keys};

/* Where in the body the check stands: a chain through the callers, written out for errors only. */
struct place {
    const struct place *parent; /* NULL: the body itself */
    const struct doc *key;      /* NULL: an item of an array */
    uint32_t index;
};

static void write_place(const struct place *place, struct buffer *out)
{
    if (!place->parent) {
        buffer_append_byte(out, '$');
        return;
    }
    write_place(place->parent, out);
    if (place->key)
        buffer_append_format(out, ".%.*s", (int)(place->key->count < 200 ? place->key->count : 200),
                             place->key->string);
    else
        buffer_append_format(out, "[%u]", place->index);
}

/* `text` is dropped. */
static int fail(const struct place *place, struct buffer *text, struct error *error)
{
    struct buffer where = {0};

    write_place(place, &where);
    error_set(error, ERROR_INVALID, "Format error in JSON body: %.400s: %s", buffer_text(&where),
              buffer_text(text));
    buffer_destroy(&where);
    buffer_destroy(text);
    return ERROR_INVALID;
}

static void write_choice(struct buffer *out, size_t i, const char *text)
{
    buffer_append_format(out, "%s`%s`", i > 0 ? ", " : "", text);
}

/* "expected `a`, `b`", "expected an integer, a string or an array", "expected an integer, 1 or larger" */
static void write_expected(const struct http_shape *shape, struct buffer *out)
{
    static const char *const names[] = {"a boolean", "an integer", "a number", "a string",
                                        "an array",  "an object",  "null"};
    unsigned left = shape->types;

    buffer_append_text(out, "expected ");
    for (size_t i = 0; shape->values && shape->values[i]; i++)
        write_choice(out, i, shape->values[i]);
    for (size_t i = 0; !shape->values && left != 0; i++) {
        if ((left & (1U << i)) == 0)
            continue;
        left &= ~(1U << i);
        buffer_append_format(out, "%s%s", names[i],
                             left == 0             ? ""
                             : (left & (left - 1)) ? ", "
                                                   : " or ");
    }
    if (shape->has_minimum)
        buffer_append_format(out, ", %lld or larger", (long long)shape->minimum);
}

static bool has_type(unsigned types, const struct doc *value)
{
    double number;

    switch (value->type) {
    case DOC_NULL:
        return types & HTTP_NULL;
    case DOC_BOOL:
        return types & HTTP_BOOLEAN;
    case DOC_STRING:
        return types & HTTP_STRING;
    case DOC_ARRAY:
    case DOC_FLOATS:
        return types & HTTP_ARRAY;
    case DOC_MAP:
        return types & HTTP_OBJECT;
    default:
        return (types & HTTP_NUMBER) ||
               ((types & HTTP_INTEGER) && doc_as_double(value, &number) && number == trunc(number));
    }
}

static bool has_value(const struct http_shape *shape, const struct doc *value)
{
    const char *const *known = shape->values;

    if (!known || (value->type != DOC_STRING && value->type != DOC_BOOL))
        return true;
    for (; *known; known++)
        if (value->type == DOC_STRING ? doc_string_equals(value, *known)
                                      : strcmp(*known, value->boolean ? "true" : "false") == 0)
            return true;
    return false;
}

static const struct http_key *find_key(const struct http_shape *shape, const struct doc *name)
{
    for (const struct http_key *key = shape->keys; key->name; key++)
        if (doc_string_equals(name, key->name))
            return key;
    return shape->others;
}

static int unknown_key(const struct place *place, const struct http_key *keys,
                       const struct doc *name, struct error *error)
{
    struct buffer text = {0};
    size_t offered = 0;

    buffer_append_format(&text, "unknown field `%.*s`",
                         (int)(name->count < 200 ? name->count : 200), name->string);
    for (; keys->name; keys++) {
        if (!keys->shape || keys->name[0] == '\0') /* "" is the unnamed vector */
            continue;
        buffer_append_text(&text, offered == 0 ? ", expected one of " : "");
        write_choice(&text, offered++, keys->name);
    }
    return fail(place, &text, error);
}

static int refuse(const struct place *place, const struct http_key *key, struct error *error)
{
    const struct doc *given = place->key;
    struct buffer where = {0};

    write_place(place, &where);
    if (key->name || !given)
        error_set(error, ERROR_UNSUPPORTED, "windrow does not support this `%s` (%.400s): %s",
                  key->name, buffer_text(&where), key->refused);
    else
        error_set(error, ERROR_UNSUPPORTED, "windrow does not support this `%.*s` (%.400s): %s",
                  (int)(given->count < 200 ? given->count : 200), given->string,
                  buffer_text(&where), key->refused);
    buffer_destroy(&where);
    return ERROR_UNSUPPORTED;
}

/* Qdrant tells values out of bounds from values of another type, by status 422. */
static int check_minimum(const struct http_shape *shape, const struct doc *value,
                         const struct place *place, struct error *error)
{
    struct buffer where = {0}, text = {0};
    double number;

    if (!doc_as_double(value, &number) || number >= (double)shape->minimum)
        return 0;
    if (number < 0 && shape->minimum >= 0) { /* of another type: Qdrant reads an unsigned number */
        write_expected(shape, &text);
        return fail(place, &text, error);
    }
    write_place(place, &where);
    doc_write_json(&text, value);
    error_set(error, ERROR_INVALID,
              "Validation error in JSON body: [%.400s: value %s invalid, must be %lld or larger]",
              buffer_text(&where), buffer_text(&text), (long long)shape->minimum);
    buffer_destroy(&where);
    buffer_destroy(&text);
    return ERROR_INVALID;
}

static int check(const struct http_shape *shape, struct doc *value, const struct http_key *key,
                 const struct place *place, struct error *error);

/* Drops what is null, in place: handlers need not tell it from what is not there. */
static void drop_nulls(const struct http_shape *shape, struct doc *map)
{
    struct doc *items = (struct doc *)map->items; /* the parser's, in an arena */
    uint32_t kept = 0;

    for (uint32_t i = 0; i < map->count; i++) {
        const struct http_key *key = find_key(shape, &items[2 * i]);
        if (key && items[2 * i + 1].type == DOC_NULL &&
            (!key->shape || (key->shape->types & HTTP_NULL) == 0))
            continue;
        items[2 * kept] = items[2 * i];
        items[2 * kept++ + 1] = items[2 * i + 1];
    }
    map->count = kept;
}

static int check_forms(const struct http_key *keys, const struct doc *map,
                       const struct place *place, struct error *error)
{
    const char *first = NULL;
    struct buffer text = {0};

    for (; keys->name; keys++) {
        if (!keys->form && !keys->required)
            continue;
        if (!doc_get(map, keys->name)) {
            if (!keys->required)
                continue;
            buffer_append_format(&text, "missing field `%s`", keys->name);
            return fail(place, &text, error);
        }
        if (first && keys->form) {
            buffer_append_format(&text, "expected only one of `%s` and `%s`", first, keys->name);
            return fail(place, &text, error);
        }
        first = keys->form ? keys->name : first;
    }
    return 0;
}

static int check_map(const struct http_shape *shape, struct doc *map, const struct place *place,
                     struct error *error)
{
    const struct http_key *keys = shape ? shape->keys : NULL;
    const struct doc *twice = doc_duplicate_key(map);

    if (twice) {
        struct buffer text = {0};
        buffer_append_format(&text, "duplicate field `%.*s`",
                             (int)(twice->count < 200 ? twice->count : 200), twice->string);
        return fail(place, &text, error);
    }
    if (keys)
        drop_nulls(shape, map);
    for (uint32_t i = 0; i < map->count; i++) {
        struct doc *name = (struct doc *)&map->items[2 * i];
        const struct http_key *key = keys ? find_key(shape, name) : NULL;
        struct place at = {place, name, 0};
        if (keys && (!key || (key == shape->others && !key->shape && name[1].type != DOC_MAP)))
            return unknown_key(place, keys, name, error);
        if (key && !key->shape)
            return refuse(&at, key, error);
        if (check(key ? key->shape : NULL, name + 1, key, &at, error) != 0)
            return error->code;
    }
    return keys ? check_forms(keys, map, place, error) : 0;
}

/* Most items are the numbers of a vector: they need no more than this. */
static bool is_plain(const struct http_shape *shape, const struct doc *item)
{
    if (item->type == DOC_ARRAY || item->type == DOC_MAP)
        return false;
    return !shape || (!shape->values && !shape->has_minimum && has_type(shape->types, item));
}

/* `shape` NULL: anything. `key` (or NULL) tells why values beside the shape's are refused. */
static int check(const struct http_shape *shape, struct doc *value, const struct http_key *key,
                 const struct place *place, struct error *error)
{
    bool empty = shape && shape->keys && !shape->keys->name; /* {} asks for nothing */
    bool fits = !shape || (has_type(shape->types, value) && has_value(shape, value) &&
                           !(empty && key && key->refused && value->count > 0));

    if (!fits && key && key->refused &&
        (has_type(shape->types, value) || (!shape->values && !empty)))
        return refuse(place, key, error);
    if (!fits) {
        struct buffer text = {0};
        write_expected(shape, &text);
        return fail(place, &text, error);
    }
    if (shape && shape->has_minimum && check_minimum(shape, value, place, error) != 0)
        return error->code;
    if (value->type == DOC_MAP)
        return check_map(shape, value, place, error);
    for (uint32_t i = 0; value->type == DOC_ARRAY && i < value->count; i++) {
        struct doc *item = (struct doc *)&value->items[i];
        struct place at = {place, NULL, i};
        if (is_plain(shape ? shape->items : NULL, item))
            continue;
        if (check(shape ? shape->items : NULL, item, key, &at, error) != 0)
            return error->code;
    }
    return 0;
}

int http_schema_check(const struct http_shape *shape, struct doc *body, struct error *error)
{
    const struct place root = {NULL, NULL, 0};

    return check(shape, body, NULL, &root, error);
}

static bool is_integer(const struct http_shape *shape, const char *text)
{
    bool negative = *text == '-' && !shape->has_minimum;
    uint64_t number;

    return text_parse_u64(text + negative, strlen(text + negative), &number) == 0 &&
           (!shape->has_minimum || number >= (uint64_t)shape->minimum);
}

int http_schema_parameter(const struct http_schema *schema, const char *name, const char *value,
                          struct error *error)
{
    const struct http_key *keys = schema->parameters ? schema->parameters : no_keys;
    struct doc text = {.type = DOC_STRING,
                       .count = value ? (uint32_t)strlen(value) : 0,
                       .string = value ? value : ""};
    struct buffer expected = {0};
    size_t place = 0;

    while (keys[place].name && strcmp(keys[place].name, name) != 0)
        place++;
    if (keys[place].name) {
        const struct http_shape *shape = keys[place].shape;
        if (has_value(shape, &text) &&
            (shape->types != HTTP_INTEGER || is_integer(shape, text.string)))
            return 0;
        write_expected(shape, &expected);
        if (shape->types == HTTP_INTEGER && is_integer(&http_natural, text.string))
            error_set(
                error, ERROR_INVALID,
                "Validation error in query parameters: [%s: value %.40s invalid, must be %lld "
                "or larger]",
                name, text.string, (long long)shape->minimum);
        else
            error_set(error, ERROR_INVALID, "Wrong input: query parameter `%s`: %s", name,
                      buffer_text(&expected));
        buffer_destroy(&expected);
        return ERROR_INVALID;
    }
    for (size_t i = 0; keys[i].name; i++) {
        buffer_append_text(&expected, i == 0 ? ", expected one of " : "");
        write_choice(&expected, i, keys[i].name);
    }
    error_set(error, ERROR_INVALID, "Wrong input: unknown query parameter `%.200s`%s", name,
              buffer_text(&expected));
    buffer_destroy(&expected);
    return ERROR_INVALID;
}
