#include "config/nearest.h"

#include <string.h>

enum { NAME_BYTES_MAX = 64 };

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Edits (insert, delete, replace, swap neighbours) from `a` to `b`: optimal string alignment. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_BYTES_MAX + 1];
    size_t a_length = strnlen(a, NAME_BYTES_MAX);
    size_t b_length = strnlen(b, NAME_BYTES_MAX);

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

static size_t closeness(const char *key, const char *known)
{
    size_t key_length = strlen(key);
    size_t known_length = strlen(known);
    size_t common = key_length < known_length ? key_length : known_length;

    if (common >= 3 && strncmp(key, known, common) == 0)
        return 1;
    return edit_distance(key, known);
}

struct nearest nearest_to(const char *name)
{
    size_t limit = strlen(name) / 3;

    return (struct nearest){.name = name, .best = (limit > 1 ? limit : 1) + 1};
}

bool nearest_try(struct nearest *nearest, const char *known)
{
    size_t distance = closeness(nearest->name, known);

    if (distance >= nearest->best)
        return false;
    nearest->best = distance;
    nearest->found = true;
    return true;
}
