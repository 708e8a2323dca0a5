#include "store/orphans.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"

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
    static const char *const extensions[] = {"log",  "chunk",   "run",        "vectors",
                                             "mask", "segment", "segment.tmp"};
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
                   strcmp(extension, "segment.tmp") == 0;
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
        grown = realloc(list->names, list->capacity * sizeof(*grown));
        if (!grown)
            abort();
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
