/* The move of collections from DATA_DIR/COLLECTION to DATA_DIR/collections.d/COLLECTION, and of their shards to names
 * by topic.
 *
 * 0.2 and before had the collections' folders among windrow's own files, so that a collection named LOCK made the
 * next start fail. What holds shards is recognised by what shards consist of, not by the config: a collection that
 * the config does not name moves as well. Names with a dot or a
 * tilde are none of a collection.
 *
 *     DATA_DIR/news~moved     the notice is made
 *     DATA_DIR/news           becomes DATA_DIR/collections.d/news
 *     DATA_DIR/news~moved     becomes DATA_DIR/news
 *
 * The notice is a folder of a shard whose manifest has a version that no windrow reads. An earlier windrow, started
 * again, finds it where it looks for shards: it names the folder, says that a later windrow wrote it, and ends. Without
 * it that windrow would serve an empty collection and read again what Kafka has left.
 *
 * Folders with a number alone are those of the topic that came first, and the config may list the topics in another
 * order by now. collections.d/news/FIRST_TOPIC says which one they are named by, from before the first rename until
 * after the last: a start that goes on with them after a crash names them alike. */
#include "store/places.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/logger.h"
#include "store/files/manifest_format.h"
#include "store/install.h"
#include "store/shard.h"
#include "store/store.h"

#define MOVED       "~moved" /* behind the name of a collection */
#define FIRST_TOPIC "FIRST_TOPIC"

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

    if (store_list_names(io, folder, &names, ERROR_IGNORED) == 0)
        for (const char *name = NULL; !found && (name = store_next_name(&names, name));) {
            char path[PATH_MAX];
            (void)snprintf(path, sizeof(path), "%.3500s/%.255s", folder, name);
            if (strcmp(name, STORE_NOTICE) != 0)
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

/* The notice. */

static bool is_there(struct io *io, const char *folder)
{
    bool any = false;

    return io_list(io, folder, find_anything, &any, ERROR_IGNORED) == 0;
}

/* In a folder that nobody looks into, which is durable when this returns. */
static int make_notice(struct io *io, const char *folder, struct error *error)
{
    const struct manifest_state unreadable = {.version = UINT16_MAX};
    struct buffer manifest = {0};
    char path[PATH_MAX], current[128];
    int code;

    (void)snprintf(path, sizeof(path), "%.3500s/" STORE_NOTICE, folder);
    manifest_current_format(1, current, sizeof(current));
    manifest_frame_encode(&manifest, &unreadable, 1, 0, 0, NULL, 0);
    code = io_make_directory(io, folder, error);
    if (code == 0)
        code = io_make_directory(io, path, error);
    if (code == 0)
        code = io_replace_file(io, path, "MANIFEST-000001", manifest.data, manifest.size, error);
    if (code == 0)
        code = io_replace_file(io, path, "CURRENT", current, strlen(current), error);
    if (code == 0)
        code = io_sync_directory(io, folder, error);
    buffer_destroy(&manifest);
    return code;
}

/* Under a name that ends with MOVED, which a crash left: the collection is in its place, or moves yet. */
static int put_notice(struct io *io, const char *data_dir, const char *name, struct error *error)
{
    char from[PATH_MAX], to[PATH_MAX];

    (void)snprintf(from, sizeof(from), "%.3000s/%.255s", data_dir, name);
    (void)snprintf(to, sizeof(to), "%.3000s/%.*s", data_dir, (int)(strlen(name) - strlen(MOVED)),
                   name);
    return is_there(io, to) ? 0 : io_rename(io, from, to, error);
}

void places_forget(struct io *io, const char *data_dir, const char *collection)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%.3000s/%.255s/" STORE_NOTICE, data_dir, collection);
    if (store_folder_remove(io, path, ERROR_IGNORED) != 0)
        return;
    (void)snprintf(path, sizeof(path), "%.3000s/%.255s", data_dir, collection);
    (void)io_remove_directory(io, path, ERROR_IGNORED); /* it may hold what is not ours */
}

/* The move. */

static int move(struct io *io, const char *data_dir, const char *name, struct error *error)
{
    char from[PATH_MAX], to[PATH_MAX], notice[PATH_MAX];
    bool taken = false;
    int code;

    (void)snprintf(from, sizeof(from), "%.3000s/%.255s", data_dir, name);
    if (strlen(name) > strlen(MOVED) && strcmp(name + strlen(name) - strlen(MOVED), MOVED) == 0)
        return put_notice(io, data_dir, name, error);
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
    /* One that went back with its shards would become a shard that cannot be read. */
    (void)snprintf(notice, sizeof(notice), "%.3500s/" STORE_NOTICE, from);
    code = store_folder_remove(io, notice, error);
    (void)snprintf(notice, sizeof(notice), "%.3500s" MOVED, from);
    if (code == 0)
        code = make_notice(io, notice, error);
    if (code == 0)
        code = io_rename(io, from, to, error);
    if (code != 0)
        return code;
    log_info("store", "collection of an earlier windrow moved: %s is now %s", from, to);
    return io_rename(io, notice, from, error);
}

int places_prepare(struct io *io, const char *data_dir, struct error *error)
{
    struct buffer names = {0};
    const char *name = NULL;
    char collections[PATH_MAX];
    int code;

    (void)snprintf(collections, sizeof(collections), "%.3000s/" STORE_COLLECTIONS, data_dir);
    code = io_make_directory(io, collections, error);
    if (code == 0)
        code = store_list_names(io, data_dir, &names, error);
    while (code == 0 && (name = store_next_name(&names, name)))
        code = move(io, data_dir, name, error);
    if (code == 0)
        code = io_sync_directory(io, collections, error);
    if (code == 0)
        code = io_sync_directory(io, data_dir, error);
    buffer_destroy(&names);
    return code;
}

/* Names by topic. */

struct naming {
    struct store *store;
    const struct config_collection *collection;
    char parent[PATH_MAX]; /* the collection's folder */
    const char **folders;
    size_t count;
};

/* It is the partition of whichever topic came first in the config of that windrow. */
bool places_is_old_folder(const char *folder)
{
    return folder[0] && strspn(folder, "0123456789") == strlen(folder);
}

/* An earlier windrow named no folder by the topic that came first. One that is there is of a topic that has come to the
 * front of the list since. */
static int check_order(const struct naming *naming, struct error *error)
{
    const struct config_collection *collection = naming->collection;
    char shard[CONFIG_SHARD_NAME_BYTES];

    for (size_t i = 0; i < naming->count; i++)
        if (!places_is_old_folder(naming->folders[i]) &&
            config_shard_of_folder(collection, naming->folders[i], shard) &&
            places_is_old_folder(shard))
            return error_set(
                error, ERROR_INVALID,
                "collection %s: shards of an earlier windrow are of the topic that came "
                "first in its config, which was not %s: that one has shard %s. Start "
                "once with the topics in their former order",
                collection->name, collection->topics[0], naming->folders[i]);
    return 0;
}

/* Says by which topic the folders are named, unless a start before this one did. */
static int begin_naming(const struct naming *naming, struct error *error)
{
    struct io *io = naming->store->io;
    const char *first = naming->collection->topics[0];
    struct buffer text = {0};
    int code = io_read_file(io, naming->parent, FIRST_TOPIC, &text, error);

    if (code == ERROR_NOT_FOUND) {
        code = check_order(naming, error);
        if (code == 0)
            code = io_replace_file(io, naming->parent, FIRST_TOPIC, first, strlen(first), error);
    } else if (code == 0 && !bytes_equal(text.data, text.size, first, strlen(first))) {
        code = error_set(error, ERROR_INVALID,
                         "collection %s: an earlier start began to name its shards after topic "
                         "%.250s, but the first topic is now %s. Start once with the topics in "
                         "their former order",
                         naming->collection->name, buffer_text(&text), first);
    }
    buffer_destroy(&text);
    return code;
}

static int name_all(const struct naming *naming, struct error *error)
{
    char name[CONFIG_SHARD_NAME_BYTES];
    int code = 0;

    for (size_t i = 0; i < naming->count && code == 0; i++)
        if (places_is_old_folder(naming->folders[i])) {
            config_shard_folder(naming->collection, naming->folders[i], name);
            code = store_shard_rename(naming->store, naming->collection->name, naming->folders[i],
                                      name, error);
        }
    return code;
}

int places_name_shards(struct store *store, const struct config_collection *collection,
                       struct error *error)
{
    struct naming naming = {.store = store, .collection = collection};
    char path[PATH_MAX];
    struct arena arena;
    bool any = false;
    int code;

    if (collection->topic_count == 0)
        return 0;
    arena_create(&arena, 0);
    (void)snprintf(naming.parent, sizeof(naming.parent), "%.3000s/%.255s", store->collections,
                   collection->name);
    code = store_shard_list(store, collection->name, &arena, &naming.folders, &naming.count, error);
    for (size_t i = 0; i < naming.count; i++)
        any |= places_is_old_folder(naming.folders[i]);
    if (code == 0 && any)
        code = begin_naming(&naming, error);
    if (code == 0 && any)
        code = name_all(&naming, error);
    (void)snprintf(path, sizeof(path), "%.3500s/" FIRST_TOPIC, naming.parent);
    if (code == 0)
        code = io_unlink(store->io, path, error);
    arena_destroy(&arena);
    return code;
}
