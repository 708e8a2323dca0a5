#include "base/doc.h"
#include "base/bytes.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

static bool key_equals(const struct doc *key, const char *text, size_t length)
{
    return key->count == length && memcmp(key->string, text, length) == 0;
}

const struct doc *doc_get_n(const struct doc *map, const char *key, size_t key_length)
{
    if (!map || map->type != DOC_MAP)
        return NULL;
    for (uint32_t i = map->count; i-- > 0;)
        if (key_equals(&map->items[2 * i], key, key_length))
            return &map->items[2 * i + 1];
    return NULL;
}

const struct doc *doc_get(const struct doc *map, const char *key)
{
    return doc_get_n(map, key, strlen(key));
}

bool doc_as_double(const struct doc *doc, double *value)
{
    switch (doc->type) {
    case DOC_INT:
        *value = (double)doc->integer;
        return true;
    case DOC_UINT:
        *value = (double)doc->unsigned_integer;
        return true;
    case DOC_DOUBLE:
        *value = doc->number;
        return true;
    default:
        return false;
    }
}

bool doc_as_u64(const struct doc *doc, uint64_t *value)
{
    if (doc->type == DOC_UINT) {
        *value = doc->unsigned_integer;
        return true;
    }
    if (doc->type == DOC_INT && doc->integer >= 0) {
        *value = (uint64_t)doc->integer;
        return true;
    }
    if (doc->type == DOC_DOUBLE && doc->number >= 0 && doc->number < 0x1p64 &&
        doc->number == trunc(doc->number)) {
        *value = (uint64_t)doc->number;
        return true;
    }
    return false;
}

bool doc_as_i64(const struct doc *doc, int64_t *value)
{
    if (doc->type == DOC_INT) {
        *value = doc->integer;
        return true;
    }
    if (doc->type == DOC_UINT && doc->unsigned_integer <= INT64_MAX) {
        *value = (int64_t)doc->unsigned_integer;
        return true;
    }
    if (doc->type == DOC_DOUBLE && doc->number >= -0x1p63 && doc->number < 0x1p63 &&
        doc->number == trunc(doc->number)) {
        *value = (int64_t)doc->number;
        return true;
    }
    return false;
}

bool doc_string_equals(const struct doc *doc, const char *text)
{
    return doc->type == DOC_STRING && key_equals(doc, text, strlen(text));
}

static bool is_number(const struct doc *doc)
{
    return doc->type == DOC_INT || doc->type == DOC_UINT || doc->type == DOC_DOUBLE;
}

/* By value: 1 equals 1.0, 2^53 + 1 does not equal 2^53 as a double. */
static bool numbers_equal(const struct doc *a, const struct doc *b)
{
    int64_t a_integer, b_integer;
    uint64_t a_unsigned, b_unsigned;

    if (a->type == DOC_DOUBLE && b->type == DOC_DOUBLE)
        return a->number == b->number;
    if (doc_as_i64(a, &a_integer) && doc_as_i64(b, &b_integer))
        return a_integer == b_integer;
    return doc_as_u64(a, &a_unsigned) && doc_as_u64(b, &b_unsigned) && a_unsigned == b_unsigned;
}

/* Keys in byte order; a key that comes twice is sorted by its place, so that the last comes last.
 */
static int compare_pairs(const void *a, const void *b)
{
    const struct doc *left = *(const struct doc *const *)a;
    const struct doc *right = *(const struct doc *const *)b;
    int order = bytes_compare(left->string, left->count, right->string, right->count);

    return order != 0 ? order : (left > right) - (left < right);
}

/* Pairs of a map sorted by key, the last one of each key only. The caller frees. */
static const struct doc **sorted_pairs(const struct doc *map, size_t *count)
{
    const struct doc **pairs = malloc((map->count ? map->count : 1) * sizeof(struct doc *));
    size_t kept = 0;

    if (!pairs)
        abort();
    for (uint32_t i = 0; i < map->count; i++)
        pairs[i] = &map->items[2 * i];
    qsort(pairs, map->count, sizeof(struct doc *), compare_pairs);
    for (uint32_t i = 0; i < map->count; i++) {
        if (kept && key_equals(pairs[kept - 1], pairs[i]->string, pairs[i]->count))
            kept--;
        pairs[kept++] = pairs[i];
    }
    *count = kept;
    return pairs;
}

/* Most maps are small: comparing each pair of keys needs no memory. */
const struct doc *doc_duplicate_key(const struct doc *map)
{
    enum { SMALL_MAX = 16 };
    const struct doc *found = NULL;
    const struct doc **pairs;

    for (uint32_t i = 1; i < map->count && map->count <= SMALL_MAX; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (key_equals(&map->items[2 * i], map->items[2 * k].string, map->items[2 * k].count))
                return &map->items[2 * i];
    }
    if (map->count <= SMALL_MAX)
        return NULL;
    pairs = malloc(map->count * sizeof(*pairs));
    if (!pairs)
        abort();
    for (uint32_t i = 0; i < map->count; i++)
        pairs[i] = &map->items[2 * i];
    qsort(pairs, map->count, sizeof(*pairs), compare_pairs);
    for (uint32_t i = 1; i < map->count && !found; i++)
        if (key_equals(pairs[i], pairs[i - 1]->string, pairs[i - 1]->count))
            found = pairs[i];
    free(pairs);
    return found;
}

static bool maps_equal(const struct doc *a, const struct doc *b)
{
    size_t a_count, b_count;
    const struct doc **a_pairs = sorted_pairs(a, &a_count);
    const struct doc **b_pairs = sorted_pairs(b, &b_count);
    bool equal = a_count == b_count;

    for (size_t i = 0; equal && i < a_count; i++)
        equal = key_equals(a_pairs[i], b_pairs[i]->string, b_pairs[i]->count) &&
                doc_equal(a_pairs[i] + 1, b_pairs[i] + 1);
    free(a_pairs);
    free(b_pairs);
    return equal;
}

bool doc_equal(const struct doc *a, const struct doc *b)
{
    if (is_number(a) && is_number(b))
        return numbers_equal(a, b);
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case DOC_NULL:
        return true;
    case DOC_BOOL:
        return a->boolean == b->boolean;
    case DOC_STRING:
    case DOC_BYTES:
        return key_equals(a, b->string, b->count);
    case DOC_ARRAY:
        if (a->count != b->count)
            return false;
        for (uint32_t i = 0; i < a->count; i++)
            if (!doc_equal(&a->items[i], &b->items[i]))
                return false;
        return true;
    case DOC_FLOATS:
        return a->count == b->count && memcmp(a->floats, b->floats, a->count * sizeof(float)) == 0;
    default:
        return maps_equal(a, b);
    }
}

struct doc doc_string(struct arena *arena, const char *text)
{
    size_t length = strlen(text);
    struct doc doc = {.type = DOC_STRING, .count = (uint32_t)length};

    assert(length <= UINT32_MAX);
    doc.string = memory_checked(arena_copy(arena, text, length));
    return doc;
}

struct doc doc_text(struct arena *arena, const char *text)
{
    return text ? doc_string(arena, text) : doc_null();
}

struct doc doc_null(void)
{
    return (struct doc){.type = DOC_NULL};
}

struct doc doc_bool(bool value)
{
    return (struct doc){.type = DOC_BOOL, .boolean = value};
}

struct doc doc_integer(int64_t value)
{
    return (struct doc){.type = DOC_INT, .integer = value};
}

struct doc doc_number(double value)
{
    return (struct doc){.type = DOC_DOUBLE, .number = value};
}

struct doc *doc_items(struct arena *arena, uint32_t count)
{
    struct doc *items = memory_checked(arena_calloc(arena, count, sizeof(struct doc)));
    return items;
}

/* Behind the last pair stands an item that is not null, so that doc_put sees the end. */
struct doc doc_map(struct arena *arena, uint32_t room)
{
    struct doc *items = doc_items(arena, 2 * room + 1);

    items[2 * room].type = DOC_MAP;
    return (struct doc){.type = DOC_MAP, .items = items};
}

void doc_put(struct doc *map, const char *key, struct doc value)
{
    struct doc *pair = (struct doc *)map->items + (size_t)2 * map->count++;

    assert(pair->type == DOC_NULL);
    pair[0] = (struct doc){.type = DOC_STRING, .count = (uint32_t)strlen(key), .string = key};
    pair[1] = value;
}

void doc_merge(struct doc *map, const struct doc *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const struct doc *key = &from->items[2 * i];
        struct doc *pair = (struct doc *)map->items + (size_t)2 * map->count;
        if (doc_get_n(map, key->string, key->count))
            continue;
        pair[0] = key[0];
        pair[1] = key[1];
        map->count++;
    }
}

/* Payload paths as Qdrant writes them: a.b, a[].b, a[0], "a.b".c. */

bool doc_path_is_valid(const char *path, size_t length)
{
    const char *at = path, *end = path + length;

    for (;;) {
        const char *start = at;
        if (at < end && *at == '"') {
            const char *close = memchr(at + 1, '"', (size_t)(end - at) - 1);
            if (!close || close == at + 1)
                return false;
            at = close + 1;
        } else {
            while (at < end && *at != '.' && *at != '[' && *at != ']' && *at != '"')
                at++;
            if (at == start)
                return false;
        }
        while (at < end && *at == '[') {
            for (at++; at < end && *at >= '0' && *at <= '9'; at++)
                ;
            if (at == end || *at != ']')
                return false;
            at++;
        }
        if (at == end)
            return true;
        if (*at++ != '.')
            return false;
    }
}

static bool next_key(struct doc_path *path, struct doc_path_part *part)
{
    const char *at = path->at;

    part->kind = DOC_PATH_KEY;
    part->key = at;
    if (at < path->end && *at == '"') {
        const char *close = memchr(at + 1, '"', (size_t)(path->end - at) - 1);
        if (!close)
            return false;
        part->key = at + 1;
        part->key_length = (size_t)(close - part->key);
        path->at = close + 1;
        return true;
    }
    while (at < path->end && *at != '.' && *at != '[')
        at++;
    part->key_length = (size_t)(at - part->key);
    path->at = at;
    return part->key_length > 0;
}

static bool next_bracket(struct doc_path *path, struct doc_path_part *part)
{
    const char *close = memchr(path->at, ']', (size_t)(path->end - path->at));
    const char *digits = path->at + 1;

    if (!close || *path->at != '[')
        return false;
    path->at = close + 1;
    part->kind = close == digits ? DOC_PATH_EACH : DOC_PATH_INDEX;
    return close == digits || text_parse_u64(digits, (size_t)(close - digits), &part->index) == 0;
}

int doc_path_next(struct doc_path *path, struct doc_path_part *part)
{
    bool found;

    if (path->at == path->end && path->begun)
        return 0;
    if (!path->begun) {
        found = next_key(path, part);
    } else if (*path->at == '.') {
        path->at++;
        found = next_key(path, part);
    } else {
        found = next_bracket(path, part);
    }
    path->begun = true;
    return found ? 1 : -1;
}

typedef bool (*path_visit)(void *context, const struct doc *value);

/* `path` is what is left of it. */
static bool walk(const struct doc *doc, struct doc_path path, path_visit visit, void *context)
{
    struct doc_path_part part;
    int left = doc_path_next(&path, &part);

    if (left <= 0)
        return left == 0 && visit(context, doc);
    if (part.kind == DOC_PATH_KEY) {
        doc = doc_get_n(doc, part.key, part.key_length);
        return doc && walk(doc, path, visit, context);
    }
    if (doc->type != DOC_ARRAY)
        return false;
    if (part.kind == DOC_PATH_INDEX)
        return part.index < doc->count && walk(&doc->items[part.index], path, visit, context);
    for (uint32_t i = 0; i < doc->count; i++)
        if (walk(&doc->items[i], path, visit, context))
            return true;
    return false;
}

bool doc_visit_path(const struct doc *doc, const char *path, size_t path_length,
                    bool (*visit)(void *context, const struct doc *value), void *context)
{
    return walk(doc, (struct doc_path){path, path + path_length, false}, visit, context);
}
