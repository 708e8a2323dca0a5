#include "windrow/daemon/definition.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "config/config.h"

#define ENTRY_LINE "# cluster: "

/* Entries. */

/* YAML ends a line, and with it a comment, at U+0085, U+2028 and U+2029, too. */
static bool is_one_line(const char *text, size_t size_bytes)
{
    for (size_t i = 0; i + 1 < size_bytes; i++)
        if (memcmp(text + i, "\xc2\x85", 2) == 0 ||
            (i + 2 < size_bytes && (memcmp(text + i, "\xe2\x80\xa8", 3) == 0 ||
                                    memcmp(text + i, "\xe2\x80\xa9", 3) == 0)))
            return false;
    return !memchr(text, '\n', size_bytes) && !memchr(text, '\r', size_bytes);
}

int definition_parse(const char *text, size_t size_bytes, const char *cluster, struct arena *arena,
                     struct definition *definition, struct error *error)
{
    const struct doc *settings, *created, *revision, *of;
    struct doc *entry = doc_items(arena, 1);

    *definition = (struct definition){0};
    if (!is_one_line(text, size_bytes))
        return error_set(error, ERROR_INVALID, "Wrong input: a setting has a line separator in it");
    if (doc_parse_json(arena, text, size_bytes, NULL, entry, error) != 0)
        return error->code;
    settings = doc_get(entry, "settings");
    created = doc_get(entry, "created");
    revision = doc_get(entry, "revision");
    if (!created || !doc_as_u64(created, &definition->created) || !revision ||
        !doc_as_u64(revision, &definition->revision) || definition->created == 0 ||
        definition->revision < definition->created || definition->revision > INT64_MAX ||
        (settings && settings->type != DOC_MAP))
        return error_set(error, ERROR_INVALID, "not the definition of a collection");
    of = doc_get(entry, "cluster");
    if (!of || !doc_string_equals(of, cluster))
        return error_set(error, ERROR_INVALID, "the definition is of another cluster");
    definition->settings = settings;
    definition->ends = doc_get(entry, "deleted");
    return definition->ends ? definition_check_ends(definition->ends, error) : 0;
}

void definition_write(const struct definition *definition, const char *cluster, struct buffer *text)
{
    buffer_append_text(text, "{\"cluster\":");
    doc_write_yaml_string(text, cluster, strlen(cluster));
    buffer_append_format(text, ",\"created\":%llu,\"revision\":%llu",
                         (unsigned long long)definition->created,
                         (unsigned long long)definition->revision);
    if (definition->settings) {
        buffer_append_text(text, ",\"settings\":");
        doc_write_yaml(text, definition->settings);
    }
    if (definition->ends) {
        buffer_append_text(text, ",\"deleted\":");
        doc_write_yaml(text, definition->ends);
    }
    buffer_append_byte(text, '}');
}

static uint64_t next_revision(const struct definition *former, int64_t now_ms)
{
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 1;

    return now > former->revision ? now : former->revision + 1;
}

struct definition definition_create(const struct definition *former, const struct doc *settings,
                                    int64_t now_ms)
{
    uint64_t revision = next_revision(former, now_ms);

    assert(settings);
    return (struct definition){.created = revision, .revision = revision, .settings = settings};
}

struct definition definition_follow(const struct definition *former, const struct doc *settings,
                                    int64_t now_ms)
{
    assert(former->created > 0);
    return (struct definition){.created = former->created,
                               .revision = next_revision(former, now_ms),
                               .settings = settings};
}

struct doc definition_with(const struct doc *settings, const struct doc *changes,
                           struct arena *arena)
{
    struct doc changed = doc_map(arena, settings->count + changes->count);

    doc_merge(&changed, changes);
    doc_merge(&changed, settings);
    return changed;
}

/* Ends. */

static const struct doc *topic_of(const struct doc *settings)
{
    const struct doc *topics = doc_get(settings, "topics");

    return topics && topics->type == DOC_ARRAY && topics->count > 0 &&
                   topics->items[0].type == DOC_STRING
               ? &topics->items[0]
               : NULL;
}

const char *definition_topic(const struct doc *settings, struct arena *arena)
{
    const struct doc *topic = topic_of(settings);

    return topic ? memory_checked(arena_copy(arena, topic->string, topic->count)) : NULL;
}

static bool is_begin(const struct doc *doc)
{
    struct config_begin begin;
    char text[CONFIG_BEGIN_BYTES];

    if (doc->type != DOC_STRING || doc->count >= sizeof(text))
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", (int)doc->count, doc->string);
    return config_begin_parse(text, &begin);
}

int definition_check_ends(const struct doc *ends, struct error *error)
{
    const struct doc *topic = doc_get(ends, "topic"), *begins = doc_get(ends, "begin_offsets");
    bool good = topic && topic->type == DOC_STRING && begins && begins->type == DOC_ARRAY;

    for (uint32_t i = 0; good && i < begins->count; i++)
        good = is_begin(&begins->items[i]);
    return good ? 0 : error_set(error, ERROR_INVALID, "it does not say where a topic ended");
}

struct doc definition_begin(const struct doc *settings, const struct doc *ends, struct arena *arena)
{
    const struct doc *topic = topic_of(settings);
    struct doc changed;

    if (!ends || ends->type == DOC_NULL || !topic || !doc_equal(topic, doc_get(ends, "topic")))
        return *settings;
    changed = doc_map(arena, settings->count + 1);
    doc_merge(&changed, settings);
    doc_put(&changed, "begin_offsets", *doc_get(ends, "begin_offsets"));
    return changed;
}

/* Files. */

void definition_write_file(const char *name, const struct definition *definition,
                           const char *cluster, struct buffer *text)
{
    const struct doc *settings = definition->settings;

    buffer_append_text(text,
                       DEFINITION_MARK " (PUT /collections/NAME). DELETE takes this file away.\n");
    if (cluster) {
        buffer_append_text(
            text, "# All nodes of the cluster have it: change it over HTTP only.\n" ENTRY_LINE);
        definition_write(definition, cluster, text);
        buffer_append_byte(text, '\n');
    } else {
        buffer_append_text(
            text,
            "# A change here needs a restart; of `ttl` and `client_settings` a reload (SIGHUP).\n");
    }
    buffer_append_text(text, "collections:\n  ");
    doc_write_yaml_string(text, name, strlen(name));
    buffer_append_text(text, ":\n");
    for (uint32_t i = 0; i < settings->count; i++) {
        buffer_append_text(text, "    ");
        doc_write_yaml(text, &settings->items[2 * i]);
        buffer_append_text(text, ": ");
        doc_write_yaml(text, &settings->items[2 * i + 1]);
        buffer_append_byte(text, '\n');
    }
}

int definition_read_file(const char *text, size_t size_bytes, const char *cluster,
                         struct arena *arena, struct definition *definition, struct error *error)
{
    const char *end = text + size_bytes;
    const size_t mark = strlen(DEFINITION_MARK), start = strlen(ENTRY_LINE);

    *definition = (struct definition){0};
    if (size_bytes < mark || memcmp(text, DEFINITION_MARK, mark) != 0)
        return error_set(error, ERROR_INVALID, "it was not made over HTTP");
    for (const char *line = text; line < end && *line == '#';) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((newline ? newline : end) - line);
        if (length > start && memcmp(line, ENTRY_LINE, start) == 0)
            return definition_parse(line + start, length - start, cluster, arena, definition,
                                    error);
        line += length + 1;
    }
    return error_set(error, ERROR_INVALID, "it was made before the process joined a cluster");
}

/* Decisions. */

static enum definition_action decide_shared(const struct definition *mine,
                                            const struct definition *agreed)
{
    if (agreed->revision < mine->revision)
        return DEFINITION_PUBLISH;
    if (!agreed->settings)
        return DEFINITION_DROP;
    if (agreed->created != mine->created)
        return DEFINITION_REPLACE;
    return agreed->revision == mine->revision ? DEFINITION_KEEP : DEFINITION_CHANGE;
}

/* A collection that is half here is half made or half dropped. Which of the two it was does not matter:
 * it is completed, or taken away and made anew when it is another one. */
static enum definition_action decide_half(const struct definition *mine,
                                          const struct definition *agreed)
{
    if (!agreed->settings)
        return DEFINITION_DROP;
    return agreed->created == mine->created ? DEFINITION_MAKE : DEFINITION_REPLACE;
}

enum definition_action definition_decide(enum definition_local local, const struct definition *mine,
                                         const struct definition *agreed)
{
    switch (local) {
    case DEFINITION_NONE:
        return agreed->settings ? DEFINITION_MAKE : DEFINITION_KEEP;
    case DEFINITION_OWN:
        return agreed->settings ? DEFINITION_OPPOSE : DEFINITION_KEEP;
    case DEFINITION_HALF:
        return decide_half(mine, agreed);
    case DEFINITION_SHARED:
        return decide_shared(mine, agreed);
    }
    return DEFINITION_KEEP;
}
