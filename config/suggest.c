#include "config/suggest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config/properties.h"

enum { KEY_BYTES_MAX = 64 };

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Edits (insert, delete, replace, swap neighbours) from `a` to `b`: optimal string alignment. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][KEY_BYTES_MAX + 1];
    size_t a_length = strnlen(a, KEY_BYTES_MAX);
    size_t b_length = strnlen(b, KEY_BYTES_MAX);

    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        const size_t *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above2[j - 2] + 1 < row[j])
                row[j] = above2[j - 2] + 1;
        }
    }
    return rows[a_length % 3][b_length];
}

/* The component of `path` below `section`, into `name`. False when `path` is not below it. */
static bool child_of(const char *path, const char *section, char name[KEY_BYTES_MAX])
{
    size_t length = strlen(section);

    if (length > 0) {
        if (strncmp(path, section, length) != 0 || path[length] != '.')
            return false;
        path += length + 1;
    }
    (void)snprintf(name, KEY_BYTES_MAX, "%.*s", (int)strcspn(path, "."), path);
    return true;
}

static size_t closeness(const char *key, const char *known)
{
    size_t key_length = strlen(key);
    size_t known_length = strlen(known);
    size_t common = key_length < known_length ? key_length : known_length;

    if (common >= 3 && strncmp(key, known, common) == 0)
        return 1;
    return edit_distance(key, known);
}

static bool suggest_sibling(const char *section, const char *key, char *hint, size_t hint_bytes)
{
    size_t limit = strlen(key) / 3 > 1 ? strlen(key) / 3 : 1;
    size_t best = limit + 1;
    char name[KEY_BYTES_MAX];

    for (size_t i = 0; i < property_count; i++) {
        size_t distance;
        if (!child_of(properties[i].path, section, name))
            continue;
        distance = closeness(key, name);
        if (distance < best) {
            best = distance;
            (void)snprintf(hint, hint_bytes, "did you mean %s?", name);
        }
    }
    return best <= limit;
}

/* The same name in another section: the key is known, only misplaced. */
static bool suggest_elsewhere(const char *key, char *hint, size_t hint_bytes)
{
    for (size_t i = 0; i < property_count; i++) {
        const char *leaf = strrchr(properties[i].path, '.');
        bool collection = property_is_collection(&properties[i]);
        if (strcmp(leaf ? leaf + 1 : properties[i].path, key) != 0)
            continue;
        (void)snprintf(hint, hint_bytes, "did you mean %s%s?",
                       collection ? "collections.NAME." : "",
                       properties[i].path + (collection ? strlen("collections.*.") : 0));
        return true;
    }
    return false;
}

static void list_siblings(const char *section, char *hint, size_t hint_bytes)
{
    size_t used = (size_t)snprintf(hint, hint_bytes, "known here: ");
    char former[KEY_BYTES_MAX] = "";
    char name[KEY_BYTES_MAX];

    for (size_t i = 0; i < property_count && used < hint_bytes; i++) {
        if (!child_of(properties[i].path, section, name) || strcmp(name, former) == 0)
            continue;
        used += (size_t)snprintf(hint + used, hint_bytes - used, "%s%s", *former ? ", " : "", name);
        memcpy(former, name, sizeof(former));
    }
}

void suggest_key(const char *section, const char *key, char *hint, size_t hint_bytes)
{
    if (!suggest_sibling(section, key, hint, hint_bytes) &&
        !suggest_elsewhere(key, hint, hint_bytes))
        list_siblings(section, hint, hint_bytes);
}
