/* What a reload would change: values are compared by how they are written. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/load.h"

struct comparison {
    struct buffer *applied, *restart_needed;
    bool changed;
};

static void note(struct buffer *out, const char *collection, const char *path)
{
    if (collection)
        buffer_append_format(out, "collections.%s%s%s", collection, *path ? "." : "", path);
    else
        buffer_append_text(out, path);
}

static void note_change(struct comparison *comparison, const struct property *property,
                        const void *a, const void *b, const char *collection)
{
    struct buffer *out =
        property->flags & PROPERTY_RELOADABLE ? comparison->applied : comparison->restart_needed;

    comparison->changed = true;
    if (!out)
        return;
    note(out, collection, property->path + (collection ? strlen("collections.*.") : 0));
    buffer_append_text(out, " (");
    property_write(property, a, false, false, out);
    buffer_append_text(out, " -> ");
    property_write(property, b, false, false, out);
    buffer_append_text(out, ")\n");
}

static bool is_equal(const struct property *property, const void *a, const void *b)
{
    struct buffer texts[2] = {0};
    bool equal;

    property_write(property, a, true, true, &texts[0]);
    property_write(property, b, true, true, &texts[1]);
    equal = strcmp(buffer_text(&texts[0]), buffer_text(&texts[1])) == 0;
    buffer_destroy(&texts[0]);
    buffer_destroy(&texts[1]);
    return equal;
}

static void compare_scope(struct comparison *comparison, const void *a, const void *b,
                          const char *collection)
{
    for (size_t i = 0; i < property_count; i++) {
        const struct property *property = &properties[i];
        if (property_is_collection(property) != (collection != NULL) || is_equal(property, a, b))
            continue;
        note_change(comparison, property, a, b, collection);
    }
}

static void note_missing(struct comparison *comparison, const struct config *present,
                         const struct config *other, const char *what)
{
    for (size_t i = 0; i < present->collection_count; i++) {
        if (present->collections[i].removed ||
            config_collection_find(other, present->collections[i].name))
            continue;
        comparison->changed = true;
        if (!comparison->restart_needed)
            continue;
        note(comparison->restart_needed, present->collections[i].name, "");
        buffer_append_format(comparison->restart_needed, " (%s)\n", what);
    }
}

bool config_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* A file's name may be the same while the keys in it are new. */
static bool has_new_keys(const struct config *running, const struct config *fresh)
{
    for (size_t i = 0; i < running->collection_count; i++) {
        const struct config_collection *own = &running->collections[i];
        const struct config_collection *other = config_collection_find(fresh, own->name);
        if (other && !own->removed && !config_same_text(own->embedder_key, other->embedder_key))
            return true;
    }
    return !config_same_text(running->http_api_key, fresh->http_api_key) ||
           !config_same_text(running->http_read_only_key, fresh->http_read_only_key) ||
           !config_same_text(running->http_internal_key, fresh->http_internal_key);
}

/* Clients change these texts as often as they like, so that those of before are freed: whoever reads a
 * running config's holds this lock. */
static pthread_mutex_t client_settings_lock = PTHREAD_MUTEX_INITIALIZER;

void client_settings_hold(void)
{
    pthread_mutex_lock(&client_settings_lock);
}

void client_settings_release(void)
{
    pthread_mutex_unlock(&client_settings_lock);
}

const char *config_client_settings(const struct config_collection *collection, struct arena *arena)
{
    const char *text;

    client_settings_hold();
    text = collection->client_settings;
    if (text)
        text = memory_checked(arena_copy(arena, text, strlen(text)));
    client_settings_release();
    return text;
}

void config_adopt_client_settings(struct config *running, const char *collection, const char *text)
{
    const struct config_collection *found = config_collection_find(running, collection);
    struct config_collection *changed;

    if (!found)
        return;
    changed = &running->collections[found - running->collections];
    client_settings_hold();
    free(changed->client_settings_heap);
    changed->client_settings_heap = text ? memory_checked(strdup(text)) : NULL;
    changed->client_settings = changed->client_settings_heap;
    client_settings_release();
}

/* Texts of before stay in the arena: somebody may be reading them. */
void config_adopt_log(struct config *running, const struct config *fresh)
{
    struct arena *arena = &((struct loaded_config *)running)->arena;

    running->log_level = fresh->log_level;
    running->log_format = fresh->log_format;
    running->log_slow_search_ms = fresh->log_slow_search_ms;
    running->log_levels =
        memory_checked(arena_calloc(arena, fresh->log_level_count + 1, sizeof(char *)));
    running->log_level_count = fresh->log_level_count;
    for (size_t i = 0; i < fresh->log_level_count; i++)
        running->log_levels[i] =
            memory_checked(arena_copy(arena, fresh->log_levels[i], strlen(fresh->log_levels[i])));
}

bool config_compare(const struct config *running, const struct config *fresh,
                    struct buffer *applied, struct buffer *restart_needed)
{
    struct comparison comparison = {applied, restart_needed, false};

    client_settings_hold();
    compare_scope(&comparison, running, fresh, NULL);
    if (has_new_keys(running, fresh)) {
        comparison.changed = true;
        if (applied)
            buffer_append_text(applied, "API keys (new ones in their files)\n");
    }
    for (size_t i = 0; i < running->collection_count; i++) {
        const struct config_collection *collection = &running->collections[i];
        const struct config_collection *other = config_collection_find(fresh, collection->name);
        if (other && !collection->removed)
            compare_scope(&comparison, collection, other, collection->name);
    }
    note_missing(&comparison, running, fresh, "removed");
    note_missing(&comparison, fresh, running, "added");
    client_settings_release();
    return comparison.changed;
}
