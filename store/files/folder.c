/* What a shard's folder holds beyond what the manifest says: logs that prove that the manifest has
 * lost its last edits, and orphans.
 *
 * A log is used only after the edit that names its generation is durable. So a whole frame of a
 * generation that the manifest does not know means that the manifest lost edits which once were
 * durable. Opening such a shard would lose records: it is refused.
 *
 * Orphans. After a crash there may be files whose edit
 * was never committed, and files whose drop was committed and whose unlink was not. The manifest
 * decides: a number it has reserved and refers to no more is ours to remove; a number above those
 * that were ever reserved is not (somebody put it there), and so is any name we do not know. */
#include "store/files/folder.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "store/files/log_frame.h"

struct search {
    struct io *io;
    const char *directory;
    const struct manifest_state *state;
    struct error *error;
    int code;
};

/* Whether the file begins with a whole frame of the use that the header names. */
static int is_whole(struct io *io, int file, const char *path, uint64_t size_bytes,
                    const struct log_frame_header *header, bool *whole, struct error *error)
{
    const struct log_frame_identity identity = {header->file_number, header->log_generation,
                                                header->salt, 0};
    struct log_frame frame;
    uint8_t *bytes;
    int code;

    *whole = false;
    if (header->frame_bytes > size_bytes || header->frame_bytes % LOG_FRAME_ALIGNMENT != 0)
        return 0;
    bytes = aligned_alloc(LOG_FRAME_ALIGNMENT, (size_t)header->frame_bytes);
    if (!bytes)
        return error_set(error, ERROR_MEMORY, "%s: no memory for a frame", path);
    code = io_read(io, file, path, bytes, (size_t)header->frame_bytes, 0, error);
    if (code == 0)
        *whole =
            log_frame_parse(bytes, header->frame_bytes, &identity, 0, &frame, ERROR_IGNORED) == 0;
    free(bytes);
    return code;
}

static int check_open_log(const struct search *search, int file, const char *path, uint64_t number)
{
    struct log_frame_header header;
    uint64_t size_bytes = 0;
    bool whole = false;
    int code = io_size(search->io, file, path, &size_bytes, search->error);

    if (code != 0 || size_bytes < sizeof(header))
        return code;
    code = io_read(search->io, file, path, &header, sizeof(header), 0, search->error);
    if (code != 0 || header.magic != LOG_FRAME_MAGIC || header.file_number != number ||
        header.log_generation < search->state->next_log_generation)
        return code;
    code = is_whole(search->io, file, path, size_bytes, &header, &whole, search->error);
    if (code == 0 && whole)
        code = error_set(search->error, ERROR_CORRUPT,
                         "%s holds records of log generation %" PRIu64
                         ", but the manifest knows only those below %" PRIu64
                         ": it has lost its last edits",
                         path, header.log_generation, search->state->next_log_generation);
    return code;
}

static int check_log(void *context, const char *name)
{
    struct search *search = context;
    char path[PATH_MAX];
    uint64_t number;
    int end = 0;
    int file;

    if (sscanf(name, "%" SCNu64 ".log%n", &number, &end) != 1 || name[end] != '\0' || end == 0)
        return 0;
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", search->directory, name) >= sizeof(path))
        return 0;
    search->code = io_open(search->io, path, IO_READ, &file, search->error);
    if (search->code != 0)
        return 1;
    search->code = check_open_log(search, file, path, number);
    (void)io_close(search->io, file, path, ERROR_IGNORED); /* nothing was written */
    return search->code != 0;
}

int manifest_truncation_check(struct io *io, const char *directory,
                              const struct manifest_state *state, struct error *error)
{
    struct search search = {.io = io, .directory = directory, .state = state, .error = error};
    int code = io_list(io, directory, check_log, &search, error);

    return code != 0 ? code : search.code;
}

struct orphan_list {
    const struct manifest *manifest;
    char **names;
    size_t count, capacity;
};

/* "000042.chunk" -> 42 and "chunk"; NULL for other names. */
static const char *parse_name(const char *name, uint64_t *number)
{
    char *end;

    if (name[0] < '0' || name[0] > '9' || strlen(name) > 64)
        return NULL;
    *number = strtoull(name, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

static bool is_orphan(const struct manifest *manifest, const char *name)
{
    static const char *const extensions[] = {"log",         "chunk",   "run",
                                             "vectors",     "mask",    "segment",
                                             "segment.tmp", "columns", "columns.tmp"};
    const char *extension;
    uint64_t number;

    if (strcmp(name, "CURRENT.tmp") == 0)
        return true;
    if (sscanf(name, "MANIFEST-%" SCNu64, &number) == 1)
        return number != manifest->manifest_number;
    extension = parse_name(name, &number);
    if (!extension || number == 0 || number >= manifest->state.next_file_number)
        return false;
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
        if (strcmp(extension, extensions[i]) == 0)
            return !manifest_state_refers(&manifest->state, number) ||
                   strcmp(extension, "segment.tmp") == 0 || strcmp(extension, "columns.tmp") == 0;
    return false;
}

static int collect(void *context, const char *name)
{
    struct orphan_list *list = context;

    if (!is_orphan(list->manifest, name))
        return 0;
    if (list->count == list->capacity) {
        char **grown;
        list->capacity = list->capacity ? list->capacity * 2 : 16;
        grown = memory_resize(list->names, list->capacity, sizeof(*grown));
        list->names = grown;
    }
    list->names[list->count] = strdup(name);
    if (!list->names[list->count++])
        abort();
    return 0;
}

int orphans_remove(struct manifest *manifest, bool *all_removed, struct error *error)
{
    struct orphan_list list = {.manifest = manifest};
    int code = io_list(manifest->io, manifest->directory, collect, &list, error);

    *all_removed = code == 0;
    for (size_t i = 0; i < list.count; i++) {
        struct error local;
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", manifest->directory, list.names[i]);
        if (code == 0 && io_unlink(manifest->io, path, &local) != 0) {
            log_warning("store", "cannot delete an orphaned file, retrying at the next start: %s",
                        local.text);
            *all_removed = false;
        }
        free(list.names[i]);
    }
    free(list.names);
    return code;
}
