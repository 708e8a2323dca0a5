#include "config/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct setter {
    struct loaded_config *loaded;
    const struct property *property;
    const char *path;
    uint8_t *base;
    struct report *report;
};

static void *field(const struct setter *setter)
{
    return setter->base + setter->property->offset;
}

static void *extra_field(const struct setter *setter)
{
    return setter->base + setter->property->extra_offset;
}

static char *copy(const struct setter *setter, const char *text)
{
    return arena_copy(&setter->loaded->arena, text, strlen(text));
}

static bool check_text(const struct setter *setter, const struct tree_node *node)
{
    struct property_complaint complaint = {0};

    if (!setter->property->check || setter->property->check(node->text, &complaint))
        return true;
    report_error(setter->report, node->mark, "%s: %s (%s)", setter->path, complaint.text,
                 complaint.hint);
    return false;
}

/* ${NAME} comes from templates and other programs. It would go to a broker or the disk as it is. */
static bool expect_expanded(const struct setter *setter, const char *path,
                            const struct tree_node *node)
{
    const char *dollar = strstr(node->text, "${");
    size_t length = dollar
                        ? strspn(dollar + 2, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789_")
                        : 0;

    if (length == 0 || dollar[2 + length] != '}')
        return true;
    report_error(setter->report, node->mark,
                 "%s: ${%.*s} is not replaced by a variable (write the value, or fill in the "
                 "template before windrow reads it)",
                 path, (int)(length < 60 ? length : 60), dollar + 2);
    return false;
}

/* A single value that is there; lists and maps are for their own setters. */
static bool expect_scalar(const struct setter *setter, const struct tree_node *node)
{
    if (node->kind == TREE_SCALAR && !tree_is_null(node))
        return expect_expanded(setter, setter->path, node);
    report_error(setter->report, node->mark, "%s: expected %s, found %s", setter->path,
                 property_type_name(setter->property),
                 node->kind == TREE_SCALAR ? "nothing" : tree_kind_name(node));
    return false;
}

static bool expect_unquoted(const struct setter *setter, const struct tree_node *node)
{
    if (node->plain)
        return true;
    report_error(setter->report, node->mark,
                 "%s: expected %s, found quoted text (remove the quotes)", setter->path,
                 property_type_name(setter->property));
    return false;
}

static bool is_bounded(const struct property *property)
{
    return property->minimum != 0 || property->maximum != 0;
}

static void write_bound(const struct property *property, double bound, char out[TEXT_TIME_BYTES])
{
    if (property->type == PROPERTY_DURATION)
        text_format_duration((int64_t)bound, out);
    else if (property->type == PROPERTY_SIZE)
        text_format_size((uint64_t)bound, out);
    else
        (void)snprintf(out, TEXT_TIME_BYTES, "%.15g", bound);
}

static bool check_bounds(const struct setter *setter, const struct tree_node *node, double value)
{
    const struct property *property = setter->property;
    char minimum[TEXT_TIME_BYTES];
    char maximum[TEXT_TIME_BYTES];

    if (!is_bounded(property) || (value >= property->minimum && value <= property->maximum))
        return true;
    write_bound(property, property->minimum, minimum);
    write_bound(property, property->maximum, maximum);
    report_error(setter->report, node->mark, "%s: %.60s is out of bounds (%s to %s)", setter->path,
                 node->text, minimum, maximum);
    return false;
}

static bool parse_whole(const struct setter *setter, const struct tree_node *node, uint64_t *number)
{
    bool is_auto = setter->property->flags & PROPERTY_AUTO;

    *number = 0;
    if (is_auto && strcmp(node->text, "auto") == 0)
        return true;
    if (!expect_unquoted(setter, node))
        return false;
    if (text_parse_u64(node->text, strlen(node->text), number) != 0) {
        report_error(setter->report, node->mark, "%s: \"%.60s\" is not a whole number%s",
                     setter->path, node->text, is_auto ? " (or auto)" : "");
        return false;
    }
    return check_bounds(setter, node, (double)*number);
}

static bool set_integer(const struct setter *setter, const struct tree_node *node)
{
    uint64_t number;

    if (!parse_whole(setter, node, &number))
        return false;
    *(uint32_t *)field(setter) = (uint32_t)number;
    return true;
}

static bool set_rows(const struct setter *setter, const struct tree_node *node)
{
    uint64_t number;

    if (!parse_whole(setter, node, &number))
        return false;
    *(uint64_t *)field(setter) = number;
    return true;
}

static bool set_number(const struct setter *setter, const struct tree_node *node)
{
    char *end;
    double number;

    if (!expect_unquoted(setter, node))
        return false;
    number = strtod(node->text, &end);
    if (*end || end == node->text || !isfinite(number)) {
        report_error(setter->report, node->mark, "%s: \"%.60s\" is not a number", setter->path,
                     node->text);
        return false;
    }
    if (!check_bounds(setter, node, number))
        return false;
    *(double *)field(setter) = number;
    return true;
}

static bool set_duration(const struct setter *setter, const struct tree_node *node)
{
    int64_t duration_ms;

    if (text_parse_duration_ms(node->text, &duration_ms, ERROR_IGNORED) != 0) {
        report_error(
            setter->report, node->mark,
            "%s: invalid duration \"%.60s\" (use a number and a unit, such as 10m, 1h or 1h30m)",
            setter->path, node->text);
        return false;
    }
    if (!check_bounds(setter, node, (double)duration_ms))
        return false;
    *(int64_t *)field(setter) = duration_ms;
    return true;
}

static bool set_size(const struct setter *setter, const struct tree_node *node)
{
    uint64_t size_bytes;

    if (text_parse_size_bytes(node->text, &size_bytes, ERROR_IGNORED) != 0) {
        report_error(
            setter->report, node->mark,
            "%s: invalid size \"%.60s\" (use a number and a unit, such as 64KiB, 128MiB or 1GB)",
            setter->path, node->text);
        return false;
    }
    if (!check_bounds(setter, node, (double)size_bytes))
        return false;
    *(uint64_t *)field(setter) = size_bytes;
    return true;
}

/* "json, msgpack or raw": what may be written instead. */
static void list_choices(const struct property *property, char *out, size_t out_bytes)
{
    size_t available = 0;
    size_t written = 0;

    for (size_t i = 0; i < property->choice_count; i++)
        available += !property->choices[i].refused;
    out[0] = '\0';
    for (size_t i = 0, used = 0; i < property->choice_count && used < out_bytes; i++) {
        const char *separator = written == 0 ? "" : written + 1 == available ? " or " : ", ";
        if (property->choices[i].refused)
            continue;
        used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", separator,
                                 property->choices[i].name);
        written++;
    }
}

static bool set_choice(const struct setter *setter, const struct tree_node *node)
{
    const struct property *property = setter->property;
    char choices[200];

    list_choices(property, choices, sizeof(choices));
    for (size_t i = 0; i < property->choice_count; i++) {
        const struct property_choice *choice = &property->choices[i];
        if (strcmp(choice->name, node->text) != 0)
            continue;
        if (choice->refused) {
            report_error(setter->report, node->mark,
                         "%s: %s is not available in this version (use %s)", setter->path,
                         choice->name, choices);
            return false;
        }
        memcpy(field(setter), &choice->value, sizeof(choice->value));
        return true;
    }
    report_error(setter->report, node->mark, "%s: invalid value \"%.60s\" (use %s)", setter->path,
                 node->text, choices);
    return false;
}

static bool set_text(const struct setter *setter, const struct tree_node *node)
{
    if (!check_text(setter, node))
        return false;
    *(const char **)field(setter) = copy(setter, node->text);
    return true;
}

static bool set_listen(const struct setter *setter, const struct tree_node *node)
{
    char host[64];
    uint32_t port;

    if (!check_text(setter, node) || !split_address(node->text, host, sizeof(host), &port))
        return false;
    *(const char **)field(setter) = copy(setter, host);
    *(uint16_t *)extra_field(setter) = (uint16_t)port;
    return true;
}

static bool is_repeated(const struct setter *setter, const struct tree_node *list,
                        const struct tree_node *item)
{
    for (const struct tree_node *other = list->first; other != item; other = other->next) {
        if (other->kind == TREE_SCALAR && strcmp(other->text, item->text) == 0) {
            report_error(setter->report, item->mark, "%s: duplicate value %.60s", setter->path,
                         item->text);
            return true;
        }
    }
    return false;
}

static bool expect_list(const struct setter *setter, const struct tree_node *node)
{
    bool good = true;

    if (node->kind != TREE_LIST) {
        report_error(setter->report, node->mark, "%s: expected a list, found %s (such as [a, b])",
                     setter->path, tree_is_null(node) ? "nothing" : tree_kind_name(node));
        return false;
    }
    for (const struct tree_node *item = node->first; item; item = item->next) {
        if (item->kind == TREE_SCALAR && !tree_is_null(item)) {
            good &= !is_repeated(setter, node, item) &&
                    expect_expanded(setter, setter->path, item) && check_text(setter, item);
            continue;
        }
        report_error(setter->report, item->mark, "%s: expected a text, found %s", setter->path,
                     item->kind == TREE_SCALAR ? "nothing" : tree_kind_name(item));
        good = false;
    }
    return good;
}

static bool set_text_list(const struct setter *setter, const struct tree_node *node)
{
    const char **texts;
    size_t count = 0;

    if (!expect_list(setter, node))
        return false;
    texts = arena_calloc(&setter->loaded->arena, node->count + 1, sizeof(*texts));
    for (const struct tree_node *item = node->first; item; item = item->next)
        texts[count++] = copy(setter, item->text);
    *(const char ***)field(setter) = texts;
    *(size_t *)extra_field(setter) = count;
    return true;
}

static bool set_roles(const struct setter *setter, const struct tree_node *node)
{
    unsigned roles = 0;
    bool good = expect_list(setter, node);

    if (!good)
        return false;
    for (const struct tree_node *item = node->first; item; item = item->next) {
        if (strcmp(item->text, "ingest") == 0) {
            roles |= CONFIG_ROLE_INGEST;
        } else if (strcmp(item->text, "indexer") == 0) {
            roles |= CONFIG_ROLE_INDEXER;
        } else if (strcmp(item->text, "query") == 0) {
            roles |= CONFIG_ROLE_QUERY;
        } else {
            report_error(setter->report, item->mark,
                         "%s: invalid role \"%.60s\" (use ingest, indexer, query)", setter->path,
                         item->text);
            good = false;
        }
    }
    if (good && roles == 0) {
        report_error(setter->report, node->mark, "%s: empty list (use ingest, indexer, query)",
                     setter->path);
        good = false;
    }
    if (good)
        *(unsigned *)field(setter) = roles;
    return good;
}

static bool check_pair(const struct setter *setter, const struct tree_node *pair)
{
    const char *reserved = property_kafka_reserved(pair->key);
    char path[200];

    if (reserved) {
        report_error(setter->report, pair->key_mark, "%s.%.80s cannot be set (%s)", setter->path,
                     pair->key, reserved);
        return false;
    }
    (void)snprintf(path, sizeof(path), "%.100s.%.80s", setter->path, pair->key);
    if (pair->kind == TREE_SCALAR)
        return expect_expanded(setter, path, pair);
    report_error(setter->report, pair->mark, "%s.%.80s: expected a single value, found %s",
                 setter->path, pair->key, tree_kind_name(pair));
    return false;
}

static bool set_pairs(const struct setter *setter, const struct tree_node *node)
{
    struct arena *arena = &setter->loaded->arena;
    struct config_pair *pairs;
    struct report_mark *marks;
    size_t count = 0;
    bool good = true;

    if (node->kind != TREE_MAP && !tree_is_null(node)) {
        report_error(setter->report, node->mark, "%s: expected a map, found %s", setter->path,
                     tree_kind_name(node));
        return false;
    }
    pairs = arena_calloc(arena, node->count + 1, sizeof(*pairs));
    marks = arena_calloc(arena, node->count + 1, sizeof(*marks));
    for (const struct tree_node *pair = node->first; pair; pair = pair->next) {
        if (!check_pair(setter, pair)) {
            good = false;
            continue;
        }
        pairs[count] = (struct config_pair){copy(setter, pair->key), copy(setter, pair->text)};
        marks[count++] = pair->mark;
    }
    *(const struct config_pair **)field(setter) = pairs;
    *(size_t *)extra_field(setter) = count;
    setter->loaded->pair_marks = marks;
    return good;
}

static bool refuse_vector(const struct setter *setter, const struct tree_node *node,
                          const char *name, const char *what)
{
    report_error(setter->report, node->mark, "%s.%.80s: %s", setter->path, name, what);
    return false;
}

/* One key of a vector. */
static bool set_vector_key(const struct setter *setter, const struct tree_node *node,
                           struct config_vector *vector)
{
    uint64_t dim = 0;

    if (node->kind != TREE_SCALAR)
        return refuse_vector(setter, node, vector->name, "expected single values under its keys");
    if (strcmp(node->key, "dim") == 0) {
        if (text_parse_u64(node->text, strlen(node->text), &dim) != 0 || dim == 0 ||
            dim > CONFIG_DIM_MAX)
            return refuse_vector(setter, node, vector->name, "dim must be from 1 to 65536");
        vector->dim = (uint32_t)dim;
        return true;
    }
    if (strcmp(node->key, "metric") == 0)
        return (vector_metric_parse(node->text, &vector->metric) &&
                vector->metric != VECTOR_METRIC_HAMMING) ||
               refuse_vector(setter, node, vector->name, "metric must be cosine, dot or l2");
    if (strcmp(node->key, "multivector") == 0 && strcmp(node->text, "max_sim") == 0) {
        vector->multiple = true;
        return true;
    }
    return refuse_vector(setter, node, vector->name,
                         "expected dim, metric and, for lists, `multivector: max_sim`");
}

static bool set_vector(const struct setter *setter, const struct tree_node *node,
                       struct config_vector *vector)
{
    bool good = true, metric = false;

    *vector = (struct config_vector){.name = copy(setter, node->key)};
    if (node->kind != TREE_MAP)
        return refuse_vector(setter, node, vector->name, "expected {dim: 8, metric: cosine}");
    for (const struct tree_node *key = node->first; key; key = key->next) {
        good &= set_vector_key(setter, key, vector);
        metric |= strcmp(key->key, "metric") == 0;
    }
    if (good && (vector->dim == 0 || !metric))
        return refuse_vector(setter, node, vector->name, "needs dim and metric");
    return good;
}

static bool set_vectors(const struct setter *setter, const struct tree_node *node)
{
    struct config_vector *vectors;
    size_t count = 0;
    bool good = true;

    if (node->kind != TREE_MAP) {
        report_error(setter->report, node->mark, "%s: expected a map, found %s", setter->path,
                     tree_is_null(node) ? "nothing" : tree_kind_name(node));
        return false;
    }
    vectors = arena_calloc(&setter->loaded->arena, node->count + 1, sizeof(*vectors));
    for (const struct tree_node *child = node->first; child; child = child->next)
        good &= set_vector(setter, child, &vectors[count++]);
    *(const struct config_vector **)field(setter) = vectors;
    *(size_t *)extra_field(setter) = count;
    return good;
}

static void set_null(const struct setter *setter)
{
    switch (setter->property->type) {
    case PROPERTY_DURATION:
        *(int64_t *)field(setter) = 0;
        break;
    case PROPERTY_SIZE:
        *(uint64_t *)field(setter) = 0;
        break;
    default:
        *(const char **)field(setter) = NULL;
        break;
    }
}

bool value_set(struct loaded_config *loaded, const struct property *property,
               const struct tree_node *node, const char *path, void *base, struct report *report)
{
    struct setter setter = {loaded, property, path, base, report};

    if ((property->flags & PROPERTY_NULLABLE) && tree_is_null(node)) {
        set_null(&setter);
        return true;
    }
    switch (property->type) {
    case PROPERTY_TEXT_LIST:
        return set_text_list(&setter, node);
    case PROPERTY_ROLES:
        return set_roles(&setter, node);
    case PROPERTY_PAIRS:
        return set_pairs(&setter, node);
    case PROPERTY_VECTORS:
        return set_vectors(&setter, node);
    default:
        break;
    }
    if (!expect_scalar(&setter, node))
        return false;
    switch (property->type) {
    case PROPERTY_INTEGER:
        return set_integer(&setter, node);
    case PROPERTY_ROWS:
        return set_rows(&setter, node);
    case PROPERTY_NUMBER:
        return set_number(&setter, node);
    case PROPERTY_DURATION:
        return set_duration(&setter, node);
    case PROPERTY_SIZE:
        return set_size(&setter, node);
    case PROPERTY_CHOICE:
        return set_choice(&setter, node);
    case PROPERTY_LISTEN:
        return set_listen(&setter, node);
    default:
        return set_text(&setter, node);
    }
}
