/* The move of collections from DATA_DIR/COLLECTION to DATA_DIR/collections.d/COLLECTION.
 *
 * 0.2 and before had the collections' folders among windrow's own files, so that a collection named LOCK made the
 * next start fail. What holds shards is recognised by what shards consist of, not by the config: a collection that
 * the config does not name moves as well. Names with a dot are none of a collection. */
#include "store/places.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/logger.h"
#include "store/store.h"

static int collect_entry(void *context, const char *name)
{
    struct buffer *names = context;

    buffer_append(names, name, strlen(name) + 1);
    return 0;
}

static int find_file_of_shard(void *context, const char *name)
{
    static const char *const endings[] = {".log", ".chunk", ".run", ".mask", ".segment"};
    const size_t digits = strspn(name, "0123456789");
    bool found = strcmp(name, "CURRENT") == 0 || strncmp(name, "MANIFEST-", 9) == 0;

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        found |= digits > 0 && strcmp(name + digits, endings[i]) == 0;
    *(bool *)context |= found;
    return found;
}

/* Some folder in it is a shard, or what is left of one: a damaged one is not to look like none. */
static bool holds_shards(struct io *io, const char *folder)
{
    struct buffer names = {0};
    bool found = false;

    if (io_list(io, folder, collect_entry, &names, ERROR_IGNORED) == 0)
        for (size_t at = 0; at < names.size && !found; at += strlen((char *)names.data + at) + 1) {
            char path[PATH_MAX];
            (void)snprintf(path, sizeof(path), "%.3500s/%.255s", folder, (char *)names.data + at);
            (void)io_list(io, path, find_file_of_shard, &found, ERROR_IGNORED);
        }
    buffer_destroy(&names);
    return found;
}

static int find_anything(void *context, const char *name)
{
    (void)name;
    *(bool *)context = true;
    return 1;
}

static int move(struct io *io, const char *data_dir, const char *name, bool *moved,
                struct error *error)
{
    char from[PATH_MAX], to[PATH_MAX];
    bool taken = false;
    int code;

    (void)snprintf(from, sizeof(from), "%.3000s/%.255s", data_dir, name);
    if (strpbrk(name, ".~") || !holds_shards(io, from))
        return 0;
    (void)snprintf(to, sizeof(to), "%.3000s/" STORE_COLLECTIONS "/%.255s", data_dir, name);
    if (io_list(io, to, find_anything, &taken, ERROR_IGNORED) == 0 && taken)
        return error_set(
            error, ERROR_EXISTS,
            "%s is of an earlier windrow, and %s is there as well: this windrow wrote the "
            "latter before the earlier one was started again. Remove the one that is not "
            "to be served",
            from, to);
    code = io_rename(io, from, to, error);
    if (code == 0)
        log_info("store", "%s is now %s", from, to);
    *moved |= code == 0;
    return code;
}

int places_prepare(struct io *io, const char *data_dir, struct error *error)
{
    struct buffer names = {0};
    char collections[PATH_MAX];
    bool moved = false;
    int code;

    (void)snprintf(collections, sizeof(collections), "%.3000s/" STORE_COLLECTIONS, data_dir);
    code = io_make_directory(io, collections, error);
    if (code == 0)
        code = io_list(io, data_dir, collect_entry, &names, error);
    for (size_t at = 0; at < names.size && code == 0; at += strlen((char *)names.data + at) + 1)
        code = move(io, data_dir, (char *)names.data + at, &moved, error);
    if (code == 0 && moved)
        code = io_sync_directory(io, collections, error);
    if (code == 0)
        code = io_sync_directory(io, data_dir, error);
    buffer_destroy(&names);
    return code;
}
