#include "indexer/endpoint/rest/payload_edit.h"

#include <string.h>

#include "base/memory.h"

/* A copy with room for `more` pairs. Anything but a map becomes an empty one. */
static struct doc copy_map(struct arena *arena, const struct doc *map, uint32_t more)
{
    uint32_t count = map && map->type == DOC_MAP ? map->count : 0;
    struct doc copy = doc_map(arena, count + more);

    if (count > 0)
        memcpy((struct doc *)(uintptr_t)copy.items, map->items, 2 * count * sizeof(struct doc));
    copy.count = count;
    return copy;
}

static struct doc copy_array(struct arena *arena, const struct doc *array)
{
    struct doc copy = *array;
    struct doc *items = doc_items(arena, array->count);

    if (array->count > 0)
        memcpy(items, array->items, array->count * sizeof(*items));
    copy.items = items;
    return copy;
}

static bool is_key(const struct doc *name, const char *key, size_t length)
{
    return name->count == length && memcmp(name->string, key, length) == 0;
}

/* Of a map that was copied. */
static void take_out(struct doc *map, const char *key, size_t length)
{
    struct doc *items = (struct doc *)(uintptr_t)map->items;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < map->count; i++) {
        if (is_key(&items[2 * i], key, length))
            continue;
        items[2 * kept] = items[2 * i];
        items[2 * kept + 1] = items[2 * i + 1];
        kept++;
    }
    map->count = kept;
}

/* There is room. The key keeps its place. */
static void put_in(struct doc *map, const struct doc *key, const struct doc *value)
{
    struct doc *items = (struct doc *)(uintptr_t)map->items;
    bool found = false;

    for (uint32_t i = 0; i < map->count; i++)
        if (is_key(&items[2 * i], key->string, key->count)) {
            items[2 * i + 1] = *value;
            found = true;
        }
    if (found)
        return;
    items[2 * map->count] = *key;
    items[2 * map->count + 1] = *value;
    map->count++;
}

struct doc payload_merge(struct arena *arena, const struct doc *map, const struct doc *added)
{
    struct doc merged = copy_map(arena, map, added->count);

    for (uint32_t i = 0; i < added->count; i++) {
        const struct doc *key = &added->items[2 * i];
        const struct doc *value = &added->items[2 * i + 1];
        if (value->type == DOC_NULL)
            take_out(&merged, key->string, key->count);
        else
            put_in(&merged, key, value);
    }
    return merged;
}

/* What takes the place of a value; NULL: there was none. The path is as deep as its text is long,
 * which the limits of a body bound, as they bound the depth of a document. */
struct edit {
    struct arena *arena;
    const struct doc *added; /* NULL: the value at the path's end goes */
};

static struct doc edit_value(const struct edit *edit, const struct doc *value,
                             struct doc_path path);

static struct doc edit_key(const struct edit *edit, const struct doc *value,
                           const struct doc_path_part *part, struct doc_path rest)
{
    struct doc_path ahead = rest;
    struct doc_path_part ignored;
    const struct doc *child =
        value && value->type == DOC_MAP ? doc_get_n(value, part->key, part->key_length) : NULL;
    struct doc key = {.type = DOC_STRING, .count = (uint32_t)part->key_length, .string = part->key};
    struct doc map, fresh;

    if (!edit->added && !child)
        return *value;
    map = copy_map(edit->arena, value, 1);
    if (!edit->added && doc_path_next(&ahead, &ignored) == 0) {
        take_out(&map, part->key, part->key_length);
        return map;
    }
    fresh = edit_value(edit, child, rest);
    put_in(&map, &key, &fresh);
    return map;
}

static struct doc edit_array(const struct edit *edit, const struct doc *value,
                             const struct doc_path_part *part, struct doc_path rest)
{
    bool is_array = value && value->type == DOC_ARRAY;
    bool each = part->kind == DOC_PATH_EACH;
    struct doc_path ahead = rest;
    struct doc_path_part ignored;
    bool last = doc_path_next(&ahead, &ignored) == 0;
    struct doc *items;
    struct doc array;

    if (!is_array)
        return edit->added ? (struct doc){.type = DOC_ARRAY} : *value;
    if (!edit->added && last)
        return each ? (struct doc){.type = DOC_ARRAY} : *value;
    array = copy_array(edit->arena, value);
    items = (struct doc *)(uintptr_t)array.items;
    for (uint32_t i = 0; i < array.count; i++)
        if (each || i == part->index)
            items[i] = edit_value(edit, &items[i], rest);
    return array;
}

/* `path` is valid (doc_path_is_valid). Without `added` there is a value. */
static struct doc edit_value(const struct edit *edit, const struct doc *value, struct doc_path path)
{
    struct doc_path_part part;

    if (doc_path_next(&path, &part) != 1)
        return payload_merge(edit->arena, value, edit->added);
    return part.kind == DOC_PATH_KEY ? edit_key(edit, value, &part, path)
                                     : edit_array(edit, value, &part, path);
}

struct doc payload_merge_at(struct arena *arena, const struct doc *payload, const char *path,
                            size_t path_length, const struct doc *added)
{
    const struct edit edit = {arena, added};

    return edit_value(&edit, payload, (struct doc_path){.at = path, .end = path + path_length});
}

struct doc payload_remove_at(struct arena *arena, const struct doc *payload, const char *path,
                             size_t path_length)
{
    const struct edit edit = {arena, NULL};

    return edit_value(&edit, payload, (struct doc_path){.at = path, .end = path + path_length});
}
