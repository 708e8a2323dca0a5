/* Payload paths as Qdrant writes them: a.b, a[].b, a[0], "a.b".c. */
#include <string.h>

#include "base/doc.h"
#include "base/text.h"

struct walk {
    const char *end;
    bool (*visit)(void *context, const struct doc *value);
    void *context;
};

static bool walk_brackets(const struct walk *walk, const struct doc *doc, const char *at);

/* At a key: take it, go to its value. */
static bool walk_key(const struct walk *walk, const struct doc *doc, const char *at)
{
    const char *key = at;
    size_t length;

    if (at < walk->end && *at == '"') {
        const char *close = memchr(at + 1, '"', (size_t)(walk->end - at) - 1);
        if (!close)
            return false;
        key = at + 1;
        length = (size_t)(close - key);
        at = close + 1;
    } else {
        while (at < walk->end && *at != '.' && *at != '[')
            at++;
        length = (size_t)(at - key);
        if (length == 0)
            return false;
    }
    doc = doc_get_n(doc, key, length);
    return doc && walk_brackets(walk, doc, at);
}

/* Behind a key or a bracket: the end, a dot or another bracket. */
static bool walk_brackets(const struct walk *walk, const struct doc *doc, const char *at)
{
    const char *close;
    uint64_t index;

    if (at == walk->end)
        return walk->visit(walk->context, doc);
    if (*at == '.')
        return walk_key(walk, doc, at + 1);
    if (*at != '[' || doc->type != DOC_ARRAY)
        return false;
    close = memchr(at, ']', (size_t)(walk->end - at));
    if (!close)
        return false;
    if (close == at + 1) {
        for (uint32_t i = 0; i < doc->count; i++)
            if (walk_brackets(walk, &doc->items[i], close + 1))
                return true;
        return false;
    }
    if (text_parse_u64(at + 1, (size_t)(close - at) - 1, &index) != 0 || index >= doc->count)
        return false;
    return walk_brackets(walk, &doc->items[index], close + 1);
}

bool doc_visit_path(const struct doc *doc, const char *path, size_t path_length,
                    bool (*visit)(void *context, const struct doc *value), void *context)
{
    struct walk walk = {path + path_length, visit, context};

    return walk_key(&walk, doc, path);
}
