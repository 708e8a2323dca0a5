/* API keys. A file of keys has one key a line, the first one is the one that this process sends:
 *
 *     # comment
 *     KEY
 *     KEY # NAME
 *
 * The name stands in the audit log in place of the key. Kept as "KEY NAME\nKEY": a text per kind of key,
 * replaced as a whole while other threads read it. */
#include <string.h>

#include "config/load.h"

enum { KEYS_MAX = 16, NAME_MAX_BYTES = 64 };

static bool is_key(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x21 || (unsigned char)text[i] > 0x7e)
            return false;
    return length > 0;
}

/* Splits "KEY # NAME". */
static bool split_line(const char *line, size_t length, struct config_key *key)
{
    static const char mark[] = " # ";
    const char *found = memmem(line, length, mark, sizeof(mark) - 1);

    *key = (struct config_key){.text = line, .length = found ? (size_t)(found - line) : length};
    if (found) {
        key->name = found + sizeof(mark) - 1;
        key->name_length = length - (size_t)(key->name - line);
    }
    return is_key(key->text, key->length) &&
           (!found || (key->name_length <= NAME_MAX_BYTES && is_key(key->name, key->name_length)));
}

static bool is_comment(const char *line, size_t length)
{
    return length == 0 || (line[0] == '#' && (length == 1 || line[1] == ' '));
}

const char *keys_parse(struct loaded_config *loaded, const char *name, const char *text,
                       struct report_mark mark, struct report *report)
{
    struct buffer kept = {0};
    const char *result = NULL;
    struct config_key key;
    unsigned count = 0;
    bool good = true;

    while (*text && good) {
        size_t length = strcspn(text, "\r\n");
        if (!is_comment(text, length)) {
            good = split_line(text, length, &key) && ++count <= KEYS_MAX;
            if (good)
                buffer_append_format(&kept, "%s%.*s%s%.*s", kept.size > 0 ? "\n" : "",
                                     (int)key.length, key.text, key.name ? " " : "",
                                     (int)key.name_length, key.name ? key.name : "");
        }
        text += length + (text[length] != '\0');
    }
    if (count > KEYS_MAX)
        report_error(report, mark, "%s: more than %d keys", name, KEYS_MAX);
    else if (!good)
        report_error(report, mark,
                     "%s: the API key contains blanks or unprintable characters (use a key of "
                     "printable ASCII a line, or KEY # NAME)",
                     name);
    else if (count == 0)
        report_error(report, mark, "%s: there is no key in it", name);
    else
        result = arena_copy(&loaded->arena, kept.data, kept.size);
    buffer_destroy(&kept);
    return result;
}

bool config_key_next(const char **rest, struct config_key *key)
{
    const char *line = *rest;
    size_t length = line ? strcspn(line, "\n") : 0;
    const char *blank = length > 0 ? memchr(line, ' ', length) : NULL;

    if (length == 0)
        return false;
    *key = (struct config_key){.text = line, .length = length};
    if (blank)
        *key = (struct config_key){.text = line,
                                   .length = (size_t)(blank - line),
                                   .name = blank + 1,
                                   .name_length = length - (size_t)(blank + 1 - line)};
    *rest = line + length + (line[length] == '\n');
    return true;
}

bool config_key_sent(const struct config *config, struct config_key *key)
{
    const char *keys = config->http_internal_key;

    if (!keys)
        keys = config->http_api_key;
    return config_key_next(&keys, key);
}

static void adopt(struct arena *arena, _Atomic(const char *) *running, const char *fresh)
{
    if (!config_same_text(*running, fresh))
        *running = fresh ? arena_copy(arena, fresh, strlen(fresh)) : NULL;
}

/* Nobody may find the service without a key that had one: without a restart nothing checks where it
 * listens. What is replaced stays in the arena: somebody may be reading it. */
bool config_adopt_keys(struct config *running, const struct config *fresh)
{
    struct arena *arena = &((struct loaded_config *)running)->arena;

    if (running->http_api_key && !fresh->http_api_key)
        return false;
    adopt(arena, &running->http_api_key, fresh->http_api_key);
    adopt(arena, &running->http_read_only_key, fresh->http_read_only_key);
    adopt(arena, &running->http_internal_key, fresh->http_internal_key);
    for (size_t i = 0; i < running->collection_count; i++) {
        struct config_collection *own = &running->collections[i];
        const struct config_collection *other = config_collection_find(fresh, own->name);
        if (other && !own->removed)
            adopt(arena, &own->embedder_key, other->embedder_key);
    }
    return true;
}
