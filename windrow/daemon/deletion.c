#include "windrow/daemon/deletion.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/memory.h"
#include "config/config.h"
#include "ingest/ingest.h"
#include "windrow/daemon/definition.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/writer.h"

#define ASK_NS INT64_C(15000000000)

static struct doc ends_of(const char *topic, const struct config_begin *ends, size_t count,
                          struct arena *arena)
{
    struct doc *items = doc_items(arena, (uint32_t)count), map = doc_map(arena, 2);
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        char text[CONFIG_BEGIN_BYTES];
        config_begin_format(&ends[i], text);
        items[i] = doc_string(arena, memory_checked(arena_copy(arena, text, strlen(text))));
        any |= ends[i].offset > 0;
    }
    doc_put(&map, "topic", doc_string(arena, topic));
    doc_put(&map, "begin_offsets",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items});
    return any ? map : doc_null();
}

int deletion_find(struct service *service, const char *name, const char *topic, struct stop *stop,
                  struct arena *arena, struct doc *ends, struct error *error)
{
    const struct config_collection *collection = config_collection_find(service->config, name);
    int64_t deadline_ns = io_monotonic_ns(service->io) + ASK_NS;
    struct config_begin *found;
    size_t count;
    int code = collection ? writer_settle(service->writer, collection, stop, error) : 0;

    if (stop->deadline_ns < deadline_ns)
        deadline_ns = stop->deadline_ns;
    if (code == 0)
        code = ingest_topic_end(service->config, topic, deadline_ns, arena, &found, &count, error);
    if (code != 0)
        return error_wrap(error,
                          "Collection `%s` was not deleted, because it is not known where its "
                          "topic ends: try again",
                          name);
    *ends = ends_of(topic, found, count, arena);
    return 0;
}

/* The file. */

struct deletion_file {
    char folder[PATH_MAX];
    char name[NAME_MAX];
};

static struct deletion_file file_of(const struct service *service, const char *name)
{
    struct deletion_file file;

    config_state_folder(service->config, file.folder);
    (void)snprintf(file.name, sizeof(file.name), "%.200s.deleted", name);
    return file;
}

int deletion_keep(struct service *service, const char *name, const struct doc *ends,
                  struct error *error)
{
    const struct deletion_file file = file_of(service, name);
    char path[PATH_MAX + NAME_MAX + 2];
    struct buffer text = {0};
    int code;

    (void)snprintf(path, sizeof(path), "%s/%s", file.folder, file.name);
    if (ends->type == DOC_NULL)
        return io_unlink(service->io, path, error);
    doc_write_json(&text, ends);
    buffer_append_byte(&text, '\n');
    code = io_make_directory(service->io, file.folder, error);
    if (code == 0)
        code = io_replace_file(service->io, file.folder, file.name, text.data, text.size, error);
    buffer_destroy(&text);
    return code;
}

int deletion_read(struct service *service, const char *name, struct arena *arena, struct doc *ends,
                  struct error *error)
{
    const struct deletion_file file = file_of(service, name);
    struct buffer text = {0};
    struct error unread = {0};
    int code = io_read_file(service->io, file.folder, file.name, &text, &unread);

    *ends = doc_null();
    if (code == ERROR_NOT_FOUND)
        return 0;
    if (code != 0)
        *error = unread;
    if (code == 0)
        code = doc_parse_json(arena, arena_copy(arena, buffer_text(&text), text.size), text.size,
                              NULL, ends, error);
    if (code == 0)
        code = definition_check_ends(ends, error);
    buffer_destroy(&text);
    return code == 0 ? 0
                     : error_wrap(error, "%s/%s (where the topic of the former collection ended)",
                                  file.folder, file.name);
}
