/* A store: the data folder, its lock, and what all shards share (memory, events, pools).
 *
 *     DATA_DIR/LOCK                      held while a process has the folder open
 *     DATA_DIR/collections.d/COLLECTION/SHARD/CURRENT  makes the folder a shard
 *
 * Opening makes the folder with all above it and syncs the parent: a record is acknowledged only in
 * a folder whose name survives a crash. The lock is the kernel's, on the open file: it goes with
 * the process, however that ends.
 *
 * A shard exists from the rename of its first CURRENT until CURRENT is unlinked. Anything else in
 * such a folder is the remains of a crash. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "store/files/backup_files.h"
#include "store/listen.h"
#include "store/log_reader.h"
#include "store/operations.h"
#include "store/places.h"
#include "store/store.h"

enum { MEMORY_DEFAULT_BYTES = 1 << 30, MEMTABLE_DEFAULT_BYTES = 128 << 20 };

/* Creates the data folder and those above it that are missing. */
static int make_data_dir(struct io *io, const char *data_dir, struct error *error)
{
    char path[PATH_MAX];
    size_t length = strlen(data_dir);

    if (length == 0 || length > PATH_MAX - 600)
        return error_set(error, ERROR_INVALID,
                         "data_dir has a path of %zu bytes, which is empty or too long", length);
    memcpy(path, data_dir, length + 1);
    if (io_make_directory(io, path, error) == 0)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (path[i] != '/')
            continue;
        path[i] = '\0';
        /* A folder that exists and may not be written answers as well: the last one decides. */
        (void)io_make_directory(io, path, ERROR_IGNORED);
        path[i] = '/';
    }
    return io_make_directory(io, path, error);
}

/* The folder's own name is durable before anything in it is acknowledged. */
static int sync_parent(struct io *io, const char *data_dir, struct error *error)
{
    char path[PATH_MAX];
    char *slash;

    snprintf(path, sizeof(path), "%s", data_dir);
    slash = strrchr(path, '/');
    if (!slash)
        snprintf(path, sizeof(path), ".");
    else if (slash == path)
        slash[1] = '\0';
    else
        *slash = '\0';
    /* A parent that may not be opened is not one that we have just created the folder in. */
    return io_sync_directory(io, path, error) == ERROR_IO ? ERROR_IO : 0;
}

static void store_delete(struct store *store)
{
    background_stop(store->background);
    thread_pool_delete(store->mergers);
    thread_pool_delete(store->log_readers);
    if (store->lock_file >= 0)
        (void)io_close(store->io, store->lock_file, store->lock_path, ERROR_IGNORED); /* unlocks */
    memory_destroy(&store->memory);
    events_destroy(&store->events);
    pthread_mutex_destroy(&store->shadow_lock);
    free(store->data_dir);
    free(store->collections);
    free(store->lock_path);
    free(store);
}

/* Pools make threads when they are first needed: a store in one thread stays in one. */
static void start_pools(struct store *store)
{
    if (store->merge_threads > 1)
        store->mergers = thread_pool_new(&(struct thread_pool_options){
            .name = "merge", .class = THREAD_COMPACTION, .threads_max = store->merge_threads - 1});
    store->log_readers = thread_pool_new(&(struct thread_pool_options){
        .name = "log-read", .class = THREAD_BLOCKING, .threads_max = LOG_READERS_AHEAD});
}

int store_open(const struct store_options *options, struct store **out, struct error *error)
{
    struct io *io = options->io ? options->io : io_posix();
    struct store *store;
    int code = make_data_dir(io, options->data_dir, error);

    if (code == 0)
        code = sync_parent(io, options->data_dir, error);
    if (code != 0)
        return code;
    store = memory_new(1, sizeof(*store));
    store->io = io;
    store->metrics = options->metrics;
    store->merge_threads = options->merge_threads ? options->merge_threads : 1;
    store->memtable_max_bytes =
        options->memtable_max_bytes ? options->memtable_max_bytes : MEMTABLE_DEFAULT_BYTES;
    events_create(&store->events, io);
    memory_create(&store->memory, &store->events,
                  options->memory_max_bytes ? options->memory_max_bytes : MEMORY_DEFAULT_BYTES,
                  memtable_buffer_bytes(store->memtable_max_bytes));
    store->lock_file = -1;
    if (pthread_mutex_init(&store->shadow_lock, NULL) != 0)
        abort();
    store->data_dir = strdup(options->data_dir);
    if (!store->data_dir || asprintf(&store->lock_path, "%s/LOCK", options->data_dir) < 0 ||
        asprintf(&store->collections, "%s/" STORE_COLLECTIONS, options->data_dir) < 0)
        abort();
    code = io_open(io, store->lock_path, IO_WRITE | IO_CREATE, &store->lock_file, error);
    if (code == 0)
        code = io_lock(io, store->lock_file, store->lock_path, error);
    if (code == 0)
        code = backup_check_restored(io, options->data_dir, error);
    if (code == 0)
        code = places_prepare(io, options->data_dir, error);
    if (code != 0) {
        store_delete(store);
        return code;
    }
    rebuild_remove_shadows(store);
    start_pools(store);
    if (store->memtable_max_bytes > LOG_GROW_BYTES)
        store->background = background_start();
    *out = store;
    return 0;
}

void store_close(struct store *store)
{
    if (store)
        store_delete(store);
}

struct removal {
    struct io *io;
    const char *directory;
    struct error *error;
};

static int remove_file(void *context, const char *name)
{
    struct removal *removal = context;
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", removal->directory, name);
    return io_unlink(removal->io, path, removal->error);
}

/* CURRENT goes first: without it the folder is no shard, and what a crash leaves of it is removed
 * by whoever makes a shard of that name. */
int store_shard_remove(struct store *store, const char *collection, const char *folder,
                       struct error *error)
{
    char directory[PATH_MAX];
    struct removal removal = {store->io, directory, error};
    int code;

    snprintf(directory, sizeof(directory), "%s/%s/%s", store->collections, collection, folder);
    code = remove_file(&removal, "CURRENT");
    if (code == 0)
        code = io_sync_directory(store->io, directory, error);
    if (code == ERROR_NOT_FOUND)
        return 0;
    if (code == 0)
        code = io_list(store->io, directory, remove_file, &removal, error);
    return code == 0 ? io_remove_directory(store->io, directory, error) : code;
}

void store_collection_forget(struct store *store, const char *collection)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%.3000s/%.255s", store->collections, collection);
    (void)io_remove_directory(store->io, path, ERROR_IGNORED);
    places_forget(store->io, store->data_dir, collection);
}

struct name_list {
    struct arena *arena;
    const char **names;
    size_t count, capacity;
};

static int add_name(void *context, const char *name)
{
    struct name_list *list = context;

    if (name[0] == '.')
        return 0;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        const char **grown = arena_calloc(list->arena, capacity, sizeof(*grown));
        if (!grown)
            return 1;
        if (list->count > 0)
            memcpy(grown, list->names, list->count * sizeof(*grown));
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count] = arena_copy(list->arena, name, strlen(name));
    if (!list->names[list->count])
        return 1;
    list->count++;
    return 0;
}

/* A folder without CURRENT was never a shard, or a crash came before it was one. */
static bool is_shard(struct store *store, const char *collection, const char *name)
{
    char path[PATH_MAX];
    int file;

    snprintf(path, sizeof(path), "%s/%s/%s/CURRENT", store->collections, collection, name);
    if (io_open(store->io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return false;
    (void)io_close(store->io, file, path, ERROR_IGNORED); /* nothing was written */
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

int store_shard_list(struct store *store, const char *collection, struct arena *arena,
                     const char ***folders, size_t *count, struct error *error)
{
    struct name_list list = {.arena = arena};
    char path[PATH_MAX];
    size_t kept = 0;
    int code;

    *folders = NULL;
    *count = 0;
    snprintf(path, sizeof(path), "%s/%s", store->collections, collection);
    code = io_list(store->io, path, add_name, &list, error);
    if (code == ERROR_NOT_FOUND)
        return 0;
    if (code != 0)
        return code;
    for (size_t i = 0; i < list.count; i++)
        if (is_shard(store, collection, list.names[i]))
            list.names[kept++] = list.names[i];
    if (kept > 0)
        qsort(list.names, kept, sizeof(*list.names), compare_names);
    *folders = list.names;
    *count = kept;
    return 0;
}

int store_shard_rename(struct store *store, const char *collection, const char *folder,
                       const char *to, struct error *error)
{
    char from_path[PATH_MAX], to_path[PATH_MAX], parent[PATH_MAX];
    int code;

    (void)snprintf(parent, sizeof(parent), "%.3000s/%.255s", store->collections, collection);
    (void)snprintf(from_path, sizeof(from_path), "%.3300s/%.255s", parent, folder);
    (void)snprintf(to_path, sizeof(to_path), "%.3300s/%.255s", parent, to);
    if (is_shard(store, collection, to))
        return error_set(error, ERROR_EXISTS, "%s and %s are both shards", from_path, to_path);
    code = io_rename(store->io, from_path, to_path, error);
    return code == 0 ? io_sync_directory(store->io, parent, error) : code;
}

void store_listen(struct store *store, struct store_listener *listener)
{
    events_listen(&store->events, listener);
}

void store_unlisten(struct store *store, struct store_listener *listener)
{
    events_unlisten(&store->events, listener);
}

void store_wake_waits(struct store *store)
{
    events_notify(&store->events);
}
