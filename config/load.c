/* tree -> struct loaded_config, driven by the property table.
 *
 * Defaults are YAML texts in the table and go through the same setters as the file's values; then
 * the tree is walked and overwrites them. Findings gather in one report, so that one run of
 * check-config shows them all. Checks across values look only at collections whose values are good
 * by themselves: an error must not cause a second, misleading one. */
#include "config/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "config/nearest.h"

enum { PATH_BYTES = 512, KEY_BYTES_MAX = 64 };

/* One map of the tree and where its values go. */
struct section {
    const char *path;    /* with "*" for a collection's name; "" at the top */
    const char *display; /* as people know it: "collections.news.late" */
    void *base;
    struct report_mark *marks;
};

struct loader {
    struct loaded_config *loaded;
    struct report *report;
};

static void join(char out[PATH_BYTES], const char *path, const char *key)
{
    (void)snprintf(out, PATH_BYTES, "%.380s%s%.120s", path, *path ? "." : "", key);
}

static void set_defaults(struct loader *loader, bool of_collection, void *base)
{
    struct loaded_config *loaded = loader->loaded;

    for (size_t i = 0; i < property_count; i++) {
        const struct property *property = &properties[i];
        const struct tree_node *node;
        if (property_is_collection(property) != of_collection)
            continue;
        /* A value that must be given has none; the zero of calloc stands. */
        if (strcmp(property->default_yaml, "~") == 0 && !(property->flags & PROPERTY_NULLABLE))
            continue;
        node = tree_parse(&loaded->arena, property->default_yaml, strlen(property->default_yaml),
                          loader->report);
        (void)value_set(loaded, property, node, property->path, base, loader->report);
    }
}

/* A value whose feature is missing may only repeat the default. */
static void set_value(struct loader *loader, const struct property *property,
                      const struct tree_node *node, const char *display, void *base)
{
    struct buffer before = {0};
    struct buffer after = {0};

    property_write(property, base, true, true, &before);
    if (value_set(loader->loaded, property, node, display, base, loader->report)) {
        property_write(property, base, true, true, &after);
        if (strcmp(buffer_text(&before), buffer_text(&after)) != 0) {
            if (property->refused)
                report_error(loader->report, node->mark, "%s: not available in this version (%s)",
                             display, property->refused);
        }
    }
    buffer_destroy(&before);
    buffer_destroy(&after);
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

static bool suggest_sibling(const char *section, const char *key, char *hint, size_t hint_bytes)
{
    struct nearest nearest = nearest_to(key);
    char name[KEY_BYTES_MAX];

    for (size_t i = 0; i < property_count; i++)
        if (child_of(properties[i].path, section, name) && nearest_try(&nearest, name))
            (void)snprintf(hint, hint_bytes, "did you mean %s?", name);
    return nearest.found;
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
    size_t used = (size_t)snprintf(hint, hint_bytes, "known keys: ");
    char former[KEY_BYTES_MAX] = "";
    char name[KEY_BYTES_MAX];

    for (size_t i = 0; i < property_count && used < hint_bytes; i++) {
        if (!child_of(properties[i].path, section, name) || strcmp(name, former) == 0)
            continue;
        used += (size_t)snprintf(hint + used, hint_bytes - used, "%s%s", *former ? ", " : "", name);
        memcpy(former, name, sizeof(former));
    }
}

/* A hint for `key`, unknown in `section` ("" for the top, "collections.*.late"): "did you mean
 * allowed?", a full path when the key belongs elsewhere, or the keys known here. */
static void suggest_key(const char *section, const char *key, char *hint, size_t hint_bytes)
{
    if (!suggest_sibling(section, key, hint, hint_bytes) &&
        !suggest_elsewhere(key, hint, hint_bytes))
        list_siblings(section, hint, hint_bytes);
}

static void report_unknown(struct loader *loader, const struct section *section,
                           const struct tree_node *child)
{
    char hint[400];

    suggest_key(section->path, child->key, hint, sizeof(hint));
    report_error(loader->report, child->key_mark, "unknown key %.80s%s%s (%s)", child->key,
                 *section->display ? " in " : "", section->display, hint);
}

static void walk(struct loader *loader, const struct section *section,
                 const struct tree_node *node);

static void walk_child(struct loader *loader, const struct section *section,
                       const struct tree_node *child)
{
    char path[PATH_BYTES];
    char display[PATH_BYTES];
    const struct property *property;

    join(path, section->path, child->key);
    join(display, section->display, child->key);
    /* A dot or a star inside a key is no way around the nesting. */
    property = strpbrk(child->key, ".*") ? NULL : property_find(path);
    if (property) {
        section->marks[property - properties] = child->mark;
        set_value(loader, property, child, display, section->base);
    } else if (!strpbrk(child->key, ".*") && *child->key && property_is_section(path)) {
        struct section inner = {path, display, section->base, section->marks};
        walk(loader, &inner, child);
    } else {
        report_unknown(loader, section, child);
    }
}

static void walk(struct loader *loader, const struct section *section, const struct tree_node *node)
{
    if (tree_is_null(node))
        return; /* a heading without content: as if left out */
    if (node->kind != TREE_MAP) {
        report_error(loader->report, node->mark, "%s: expected a map, found %s",
                     *section->display ? section->display : "the file", tree_kind_name(node));
        return;
    }
    for (const struct tree_node *child = node->first; child; child = child->next)
        walk_child(loader, section, child);
}

/* Whoever defined the name before. */
static bool is_new_name(struct loader *loader, const struct tree_node *node)
{
    const struct loaded_config *loaded = loader->loaded;
    const struct config_collection *other = config_collection_find(&loaded->config, node->key);

    if (!other)
        return true;
    report_error(loader->report, node->key_mark,
                 "collections.%s: defined twice (the other one is at %s:%u:%u)", node->key,
                 other->file,
                 loaded->collection_name_marks[other - loaded->config.collections].line,
                 loaded->collection_name_marks[other - loaded->config.collections].column);
    return false;
}

static void load_collection(struct loader *loader, const struct tree_node *node)
{
    struct loaded_config *loaded = loader->loaded;
    size_t index = loaded->config.collection_count;
    struct config_collection *collection = &loaded->config.collections[index];
    struct property_complaint complaint = {0};
    struct section section = {"collections.*", NULL, collection, NULL};
    size_t errors_before = loader->report->error_count;
    char display[PATH_BYTES];

    if (!is_new_name(loader, node))
        return;
    loaded->config.collection_count++;
    collection->name = node->key;
    collection->file = loader->report->file;
    collection->file_number = loader->report->file_number;
    if (!check_collection_name(node->key, &complaint))
        report_error(loader->report, node->key_mark, "collections: %s (%s)", complaint.text,
                     complaint.hint);
    loaded->collection_name_marks[index] = node->key_mark;
    section.marks = arena_calloc(&loaded->arena, property_count, sizeof(*section.marks));
    loaded->collection_marks[index] = section.marks;
    set_defaults(loader, true, collection);
    join(display, "collections", node->key);
    section.display = display;
    walk(loader, &section, node);
    if (collection->topic_count == 0) {
        collection->topics = arena_calloc(&loaded->arena, 1, sizeof(*collection->topics));
        collection->topics[0] = collection->name;
        collection->topic_count = 1;
    }
    collection->begin_identity = begin_identity(collection);
    if (loader->report->error_count == errors_before)
        check_collection(loaded, index, loader->report);
}

static void load_collections(struct loader *loader, const struct tree_node *node)
{
    if (node->kind != TREE_MAP) {
        report_error(loader->report, node->mark,
                     "collections: expected a map of names, found %s (such as collections: {news: "
                     "{dim: 384}})",
                     tree_is_null(node) ? "nothing" : tree_kind_name(node));
        return;
    }
    for (const struct tree_node *child = node->first; child; child = child->next)
        load_collection(loader, child);
}

static const struct tree_node *child_named(const struct tree_node *map, const char *key)
{
    const struct tree_node *child = map && map->kind == TREE_MAP ? map->first : NULL;

    while (child && strcmp(child->key, key) != 0)
        child = child->next;
    return child;
}

static bool is_map(struct loader *loader, const struct tree_node *root)
{
    if (root->kind != TREE_MAP)
        report_error(loader->report, root->mark, "the file contains %s, not a map (see %s)",
                     tree_is_null(root) ? "nothing" : tree_kind_name(root),
                     "docs/configuration.md");
    return root->kind == TREE_MAP;
}

static void load_root(struct loader *loader, const struct tree_node *root)
{
    struct loaded_config *loaded = loader->loaded;
    struct section section = {"", "", loaded, loaded->marks};

    if (!is_map(loader, root))
        return;
    for (const struct tree_node *child = root->first; child; child = child->next) {
        if (strcmp(child->key, "collections") == 0)
            load_collections(loader, child);
        else
            walk_child(loader, &section, child);
    }
}

/* A file beside the first one. */
static void load_more(struct loader *loader, const struct tree_node *root)
{
    if (!is_map(loader, root))
        return;
    for (const struct tree_node *child = root->first; child; child = child->next) {
        if (strcmp(child->key, "collections") == 0)
            load_collections(loader, child);
        else
            report_error(loader->report, child->key_mark,
                         "%.80s: files in conf.d define collections only (move it to %s)",
                         child->key, loader->loaded->config.path);
    }
}

/* Room for the collections of all trees. */
static void make_room(struct loaded_config *loaded, struct tree_node *const *roots, size_t count)
{
    struct arena *arena = &loaded->arena;
    size_t room = CONFIG_COLLECTIONS_ADDED_MAX;

    for (size_t i = 0; i < count; i++) {
        const struct tree_node *collections = child_named(roots[i], "collections");
        room += collections ? collections->count : 0;
    }
    loaded->config.collection_room = room;
    loaded->config.collections = arena_calloc(arena, room, sizeof(struct config_collection));
    loaded->collection_marks = arena_calloc(arena, room, sizeof(struct report_mark *));
    loaded->collection_name_marks = arena_calloc(arena, room, sizeof(struct report_mark));
}

static void set_source(struct loader *loader, const struct loaded_source *sources, size_t i)
{
    loader->report->file = sources[i].path;
    loader->report->file_number = i;
}

/* Once all trees are loaded: what one file leaves out, another may have. */
static void check_not_empty(struct loader *loader, const struct loaded_source *sources,
                            struct tree_node *const *roots, size_t count)
{
    const struct tree_node *empty = NULL;
    size_t place = 0;

    for (size_t i = count; i-- > 0;) {
        const struct tree_node *collections = child_named(roots[i], "collections");
        if (collections && (collections->kind != TREE_MAP || collections->count > 0))
            return;
        if (collections) {
            empty = collections;
            place = i;
        }
    }
    set_source(loader, sources, place);
    if (!empty)
        report_error(loader->report, (struct report_mark){1, 1},
                     "collections is missing (such as collections: {news: {dim: 384}})");
    else
        report_error(
            loader->report, empty->mark,
            "collections: empty (define at least one, such as collections: {news: {dim: 384}})");
    set_source(loader, sources, 0);
}

static void load_all(struct loader *loader, const struct loaded_source *sources, size_t count)
{
    struct loaded_config *loaded = loader->loaded;
    struct tree_node **roots = arena_calloc(&loaded->arena, count, sizeof(*roots));

    for (size_t i = 0; i < count; i++) {
        set_source(loader, sources, i);
        roots[i] =
            tree_parse(&loaded->arena, sources[i].text, sources[i].size_bytes, loader->report);
    }
    make_room(loaded, roots, count);
    for (size_t i = 0; i < count; i++) {
        set_source(loader, sources, i);
        if (roots[i])
            (i == 0 ? load_root : load_more)(loader, roots[i]);
    }
    set_source(loader, sources, 0);
    if (!roots[0] || roots[0]->kind != TREE_MAP)
        return;
    if (loaded->config.http_allow_create != CONFIG_TRUE)
        check_not_empty(loader, sources, roots, count);
    secrets_read(loaded, loader->report);
    kafka_properties_check(loaded, loader->report);
    check_config(loaded, loader->report);
}

static const char *host_name(struct arena *arena)
{
    char name[256] = "";

    if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
        return "windrow";
    return arena_copy(arena, name, strlen(name));
}

/* Whatever is wrong with it is in the report. */
static struct loaded_config *load_sources(const struct loaded_source *sources, size_t count,
                                          struct report *report)
{
    struct loaded_config *loaded = memory_new(1, sizeof(*loaded));
    struct loader loader = {loaded, report};
    struct loaded_source *kept;

    arena_create(&loaded->arena, 0);
    report->arena = &loaded->arena;
    kept = arena_calloc(&loaded->arena, count, sizeof(*kept));
    for (size_t i = 0; i < count; i++) {
        kept[i] = sources[i];
        kept[i].path = arena_copy(&loaded->arena, sources[i].path, strlen(sources[i].path));
    }
    report->file = loaded->config.path = kept[0].path;
    loaded->marks = arena_calloc(&loaded->arena, property_count, sizeof(*loaded->marks));
    set_defaults(&loader, false, loaded);
    load_all(&loader, kept, count);
    return loaded;
}

int loaded_config_parse_all(const struct loaded_source *sources, size_t count,
                            struct loaded_config **out, struct buffer *messages)
{
    struct report *report = memory_new(1, sizeof(*report));
    struct loaded_config *loaded = load_sources(sources, count, report);
    int code = 0;

    *out = NULL;
    if (!loaded->config.node)
        loaded->config.node = host_name(&loaded->arena);
    report_write(report, messages);
    if (report->error_count > 0) {
        code = ERROR_INVALID;
        config_free(&loaded->config);
    } else {
        *out = loaded;
    }
    free(report);
    return code;
}

char *loaded_config_data_dir(const struct loaded_source *source)
{
    struct report *report = memory_new(1, sizeof(*report));
    struct loaded_config *loaded = load_sources(source, 1, report);
    char *data_dir =
        loaded->config.data_dir ? memory_checked(strdup(loaded->config.data_dir)) : NULL;

    config_free(&loaded->config);
    free(report);
    return data_dir;
}

int loaded_config_parse(const char *path, const char *text, size_t size_bytes,
                        struct loaded_config **out, struct buffer *messages)
{
    const struct loaded_source source = {path, text, size_bytes};

    return loaded_config_parse_all(&source, 1, out, messages);
}

void config_free(struct config *config)
{
    struct loaded_config *loaded = (struct loaded_config *)config;

    if (!loaded)
        return;
    for (size_t i = 0; i < config->collection_count; i++)
        free(config->collections[i].client_settings_heap);
    config_free((struct config *)loaded->adopted);
    arena_destroy(&loaded->arena);
    free(loaded);
}

void config_refuse_collection(struct config *config, size_t index, const char *why)
{
    struct loaded_config *loaded = (struct loaded_config *)config;

    config->collections[index].refused = arena_copy(&loaded->arena, why, strlen(why));
}

struct config_collection *config_adopt_collection(struct config *running, struct config *fresh,
                                                  const char *name)
{
    struct loaded_config *loaded = (struct loaded_config *)running;
    struct loaded_config *owned = (struct loaded_config *)fresh;
    const struct config_collection *added = config_collection_find(fresh, name);
    size_t index = running->collection_count;

    if (!added || index == running->collection_room)
        return NULL;
    running->collections[index] = *added;
    loaded->collection_marks[index] = owned->collection_marks[added - fresh->collections];
    loaded->collection_name_marks[index] = owned->collection_name_marks[added - fresh->collections];
    owned->adopted = loaded->adopted;
    loaded->adopted = owned;
    running->collection_count = index + 1;
    return &running->collections[index];
}
