/* Creation: the file is checked as the next start will check it, the topic is made, the file is
 * written, and then the running configuration takes the collection over; ingestion subscribes to its
 * topic. Whoever creates it waits until its shards are open.
 *
 * Removal goes the other way, the file last: after a crash in between the collection is there again
 * and its removal may be asked for again. Requests that hold the collection find it empty. Before all of it stands
 * where the topic ends (deletion.h), which the next collection of that name begins at. Without it nothing is removed.
 *
 * One change at a time. */
#include "windrow/daemon/collections.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cluster/cluster.h"
#include "ingest/ingest.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "windrow/daemon/deletion.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/reload.h"
#include "windrow/daemon/writer.h"

/* Between two looks at what nobody tells of: ingestion's list of partitions. */
#define LOOK_NS INT64_C(50000000)
/* What other nodes are given to answer a look. */
#define USABLE_LOOK_MS 2000

struct collections {
    struct service *service;
    struct store_registry_listener listener;
    pthread_mutex_t change; /* held during a change */
    pthread_mutex_t lock;
    pthread_cond_t happened; /* shards came or went */
};

static void shards_changed(void *context)
{
    struct collections *collections = context;

    pthread_mutex_lock(&collections->lock);
    pthread_cond_broadcast(&collections->happened);
    pthread_mutex_unlock(&collections->lock);
}

struct collections *collections_new(struct service *service)
{
    struct collections *collections = memory_new(1, sizeof(*collections));

    collections->service = service;
    collections->listener.changed = shards_changed;
    collections->listener.context = collections;
    pthread_mutex_init(&collections->change, NULL);
    pthread_mutex_init(&collections->lock, NULL);
    thread_condition_create(&collections->happened);
    return collections;
}

void collections_delete(struct collections *collections)
{
    if (!collections)
        return;
    pthread_cond_destroy(&collections->happened);
    pthread_mutex_destroy(&collections->lock);
    pthread_mutex_destroy(&collections->change);
    free(collections);
}

void collections_listen(struct collections *collections)
{
    store_registry_listen(collections->service->registry, &collections->listener);
}

void collections_unlisten(struct collections *collections)
{
    store_registry_unlisten(collections->service->registry, &collections->listener);
}

void collections_begin_change(struct collections *collections)
{
    pthread_mutex_lock(&collections->change);
}

void collections_end_change(struct collections *collections)
{
    pthread_mutex_unlock(&collections->change);
}

/* Waiting. */

typedef bool (*wanted_function)(struct collections *collections,
                                const struct config_collection *collection);

static int wait_until(struct collections *collections, const struct config_collection *collection,
                      wanted_function wanted, struct stop *stop, struct error *error)
{
    while (!wanted(collections, collection)) {
        if (stop_check(stop, error) != 0)
            return error->code;
        pthread_mutex_lock(&collections->lock);
        (void)thread_condition_wait(&collections->happened, &collections->lock,
                                    thread_deadline(LOOK_NS));
        pthread_mutex_unlock(&collections->lock);
    }
    return 0;
}

/* Every partition is here, and what Kafka had when it came is read. */
static bool is_served(struct collections *collections, const struct config_collection *collection)
{
    struct store_registry *registry = collections->service->registry;
    struct store_coverage coverage;
    struct store_lease *leases;
    struct arena arena;
    size_t count;
    bool served;

    arena_create(&arena, 0);
    count = store_registry_acquire_covered(registry, collection->name, &arena, &leases, &coverage);
    served = count > 0 && store_coverage_whole(&coverage);
    for (size_t i = 0; i < count; i++) {
        served &= !leases[i].behind;
        store_registry_release(registry, &leases[i]);
    }
    arena_destroy(&arena);
    return served;
}

/* Every partition has an owner that answers, on whatever node. */
static bool is_usable(struct collections *collections, const struct config_collection *collection)
{
    struct service *service = collections->service;
    struct cluster *cluster = service_cluster(service);
    const struct query_view_options options = {.collection = collection,
                                               .registry = service->registry,
                                               .io = service->io,
                                               .timeout_ms = USABLE_LOOK_MS,
                                               .peers = cluster ? cluster_peers(cluster) : NULL};
    struct query_totals totals;
    struct query_view *view = NULL;
    struct error error = {0};
    bool usable;

    if (collection->removed) /* somebody else did it: nothing is waited for */
        return true;
    usable = query_view_open(&options, &view, &error) == 0 &&
             query_totals(view, &totals, &error) == 0 &&
             store_coverage_whole(query_view_coverage(view));
    query_view_close(view);
    return usable;
}

/* What is still open then belongs to nobody. */
static bool is_left(struct collections *collections, const struct config_collection *collection)
{
    struct service *service = collections->service;

    struct ingest *ingest = atomic_load(&service->ingest);

    return (!ingest || ingest_reads_nothing_of(ingest, collection)) &&
           !store_registry_in_use(service->registry, collection->name);
}

/* The file. */

/* As keys of windrow.yaml. What is given twice is in there twice: the check of the file tells. */
struct doc collections_settings(const struct rest_collection_wish *wish, struct arena *arena)
{
    const struct doc *more = wish->settings;
    struct doc settings = doc_map(arena, 8 + (more ? more->count : 0));
    struct doc index = doc_map(arena, 1), hnsw = doc_map(arena, 2), *topics = doc_items(arena, 1);

    if (!more || !doc_get(more, "topics")) {
        topics[0] = doc_string(arena, wish->name);
        doc_put(&settings, "topics", (struct doc){.type = DOC_ARRAY, .count = 1, .items = topics});
    }
    doc_put(&settings, "dim", doc_integer(wish->dim));
    doc_put(&settings, "metric", doc_string(arena, vector_metric_name(wish->metric)));
    if (wish->vector_name.type == DOC_STRING)
        doc_put(&settings, "vector_name", wish->vector_name);
    if (wish->sparse_vectors.count > 0)
        doc_put(&settings, "sparse_vectors", wish->sparse_vectors);
    if (wish->extra_vectors.count > 0)
        doc_put(&settings, "extra_vectors", wish->extra_vectors);
    if (wish->client_settings.type == DOC_STRING)
        doc_put(&settings, "client_settings", wish->client_settings);
    if (wish->hnsw_m > 0 || wish->hnsw_ef_construct > 0) {
        doc_put(&hnsw, "m", doc_integer(wish->hnsw_m ? wish->hnsw_m : 16));
        doc_put(&hnsw, "ef_construct",
                doc_integer(wish->hnsw_ef_construct ? wish->hnsw_ef_construct : 200));
        doc_put(&index, "hnsw", hnsw);
        doc_put(&settings, "index", index);
    }
    for (uint32_t i = 0; more && i < more->count; i++) {
        struct doc *pair = (struct doc *)settings.items + (size_t)2 * settings.count++;
        pair[0] = more->items[2 * i];
        pair[1] = more->items[2 * i + 1];
    }
    return settings;
}

struct file {
    char folder[PATH_MAX];
    char name[NAME_MAX];
};

static bool is_ours(const struct buffer *text)
{
    const size_t length = strlen(DEFINITION_MARK);

    return text->size >= length && memcmp(text->data, DEFINITION_MARK, length) == 0;
}

/* 0.2 and before wrote beside the configuration: what is there stays there. All else is kept with the state, where
 * the service may write. */
static void name_file(const struct collections *collections, const char *collection,
                      struct file *file)
{
    const struct config *config = collections->service->config;
    struct buffer text = {0};

    (void)snprintf(file->name, sizeof(file->name), "%.200s.yaml", collection);
    config_folder(config->path, file->folder);
    if (io_read_file(collections->service->io, file->folder, file->name, &text, ERROR_IGNORED) !=
            0 ||
        !is_ours(&text))
        config_state_folder(config, file->folder);
    buffer_destroy(&text);
}

/* What the next start would say of it. */
static int check_file(struct collections *collections, const struct file *file, struct buffer *text,
                      struct config **fresh, struct error *error)
{
    struct buffer report = {0};
    char path[PATH_MAX + NAME_MAX + 2];
    int code;

    (void)snprintf(path, sizeof(path), "%s/%s", file->folder, file->name);
    code = config_load_with(collections->service->config->path, path, buffer_text(text), fresh,
                            &report);

    if (code != 0)
        code = error_set(error, ERROR_INVALID, "Wrong input: %.900s", buffer_text(&report));
    buffer_destroy(&report);
    return code;
}

static int write_file(struct collections *collections, const struct file *file, struct buffer *text,
                      struct error *error)
{
    struct io *io = collections->service->io;

    if (io_make_directory(io, file->folder, error) != 0)
        return error->code;
    return io_replace_file(io, file->folder, file->name, text->data, text->size, error);
}

static int remove_file(struct collections *collections, const struct file *file,
                       struct error *error)
{
    char path[PATH_MAX + NAME_MAX + 2];

    snprintf(path, sizeof(path), "%s/%s", file->folder, file->name);
    if (io_unlink(collections->service->io, path, error) != 0)
        return error->code;
    return io_sync_directory(collections->service->io, file->folder, error);
}

/* Only a file that is not there is free, or one with our mark: one that cannot be read is somebody's. */
static int check_place(struct collections *collections, const char *folder, const char *name,
                       struct error *error)
{
    struct buffer text = {0};
    struct error unread = {0};
    int code = io_read_file(collections->service->io, folder, name, &text, &unread);

    if (code == ERROR_NOT_FOUND || (code == 0 && is_ours(&text)))
        code = 0;
    else if (code == 0)
        code = error_set(error, ERROR_EXISTS, "%s/%s is there, and was not made over HTTP", folder,
                         name);
    else
        code = error_set(error, code, "%s/%s may be another's: %.300s", folder, name, unread.text);
    buffer_destroy(&text);
    return code;
}

/* A name that an operator's file has, in either folder, is his. */
static int check_free(struct collections *collections, const struct file *file, struct error *error)
{
    char beside[PATH_MAX];
    int code;

    config_folder(collections->service->config->path, beside);
    code = check_place(collections, beside, file->name, error);
    return code == 0 ? check_place(collections, file->folder, file->name, error) : code;
}

/* The text of a collection's file, if it is ours. */
static int read_file(struct collections *collections, const struct config_collection *collection,
                     const struct file *file, struct buffer *text, struct error *error)
{
    int code = collection->file_number == 0
                   ? ERROR_NOT_FOUND
                   : io_read_file(collections->service->io, file->folder, file->name, text, error);

    if (code == 0 && is_ours(text))
        return 0;
    return error_set(error, ERROR_UNSUPPORTED,
                     "Collection `%s` was not made over HTTP: change %s and restart",
                     collection->name, collection->file);
}

/* Creation. */

static int check_possible(const struct collections *collections, struct error *error)
{
    if (!atomic_load(&collections->service->ingest))
        return error_set(error, ERROR_UNSUPPORTED, "This process does not read from Kafka");
    return 0;
}

static int no_room(struct error *error)
{
    return error_set(error, ERROR_BUSY,
                     "%d collections were added since the start: restart to add more",
                     CONFIG_COLLECTIONS_ADDED_MAX);
}

static int check_room(const struct collections *collections, struct error *error)
{
    const struct config *config = collections->service->config;

    return config->collection_count < config->collection_room ? 0 : no_room(error);
}

/* The running service takes over what the file says. A process that only asks others reads nothing. */
static int adopt(struct collections *collections, const char *name, struct config *fresh,
                 struct error *error)
{
    struct service *service = collections->service;
    struct ingest *ingest = atomic_load(&service->ingest);
    struct config_collection *collection = config_adopt_collection(service->config, fresh, name);
    int code;

    if (!collection) {
        config_free(fresh);
        return no_room(error);
    }
    code = ingest ? ingest_add_collection(ingest, collection, error) : 0;
    if (code != 0)
        collection->removed = true;
    return code;
}

/* The file as it would be, checked. */
static int draw_up(struct collections *collections, const char *name,
                   const struct definition *definition, struct file *file, struct buffer *text,
                   struct config **fresh, struct error *error)
{
    const char *cluster = collections->service->config->cluster_name;
    const struct config_collection *made;

    /* It names a file that is read and an address that is called: not for whoever may write. */
    if (doc_get(definition->settings, "embedder"))
        return error_set(error, ERROR_INVALID,
                         "Wrong input: an `embedder` can be set in windrow.yaml only");
    name_file(collections, name, file);
    definition_write_file(name, definition, cluster, text);
    if (check_free(collections, file, error) != 0 ||
        check_file(collections, file, text, fresh, error) != 0)
        return error->code;
    made = config_collection_find(*fresh, name);
    if (made->topic_count != 1)
        return error_set(error, ERROR_UNSUPPORTED,
                         "A collection that is made over HTTP has one topic: define `%s` in a file",
                         name);
    return 0;
}

int collections_check(struct collections *collections, const char *name,
                      const struct definition *definition, struct error *error)
{
    struct config *fresh = NULL;
    struct buffer text = {0};
    struct file file;
    int code = draw_up(collections, name, definition, &file, &text, &fresh, error);

    config_free(fresh);
    buffer_destroy(&text);
    return code;
}

int collections_make_topic(struct collections *collections, const struct rest_collection_wish *wish,
                           const struct definition *definition, bool *made, struct error *error)
{
    struct config *fresh = NULL;
    struct buffer text = {0};
    struct file file;
    int code = draw_up(collections, wish->name, definition, &file, &text, &fresh, error);

    /* windrow puts it into settings later, where it knows the end of a former collection. */
    if (code == 0 && doc_get(definition->settings, "begin_offsets"))
        code = error_set(error, ERROR_INVALID,
                         "Wrong input: `begin_offsets` can be set in windrow.yaml only");
    /* The topic comes last of what can fail: the file is written as it will be, and taken away again. */
    if (code == 0)
        code = check_room(collections, error);
    if (code == 0)
        code = write_file(collections, &file, &text, error);
    if (code == 0)
        code = remove_file(collections, &file, error);
    if (code == 0)
        code = writer_create_topic(
            collections->service->writer, config_collection_find(fresh, wish->name)->topics[0],
            wish->partitions ? (int)wish->partitions : 1, (int)wish->replication, made, error);
    config_free(fresh);
    buffer_destroy(&text);
    return code;
}

int collections_make(struct collections *collections, const char *name,
                     const struct definition *definition, struct error *error)
{
    struct config *fresh = NULL;
    struct buffer text = {0};
    struct file file;
    int code = draw_up(collections, name, definition, &file, &text, &fresh, error);

    if (code == 0)
        code = write_file(collections, &file, &text, error);
    buffer_destroy(&text);
    if (code != 0) {
        config_free(fresh);
        return code;
    }
    code = adopt(collections, name, fresh, error);
    if (code != 0) {
        (void)remove_file(collections, &file, ERROR_IGNORED);
        return code;
    }
    log_info("windrow", "collection %s was created over HTTP: %s/%s", name, file.folder, file.name);
    return 0;
}

int collections_wait(struct collections *collections, const char *name, struct stop *stop,
                     struct error *error)
{
    const struct config *config = collections->service->config;
    const struct config_collection *collection = config_collection_find(config, name);
    int code = collection ? wait_until(collections, collection,
                                       config->cluster_name ? is_usable : is_served, stop, error)
                          : 0;

    if (code == 0 && (!collection || collection->removed))
        code = error_set(error, ERROR_NOT_FOUND, "Collection `%s` was deleted meanwhile", name);
    return code;
}

static int create_alone(struct collections *collections, const struct rest_collection_wish *wish,
                        struct arena *arena, struct stop *stop, struct error *error)
{
    struct doc settings = collections_settings(wish, arena), ends;
    struct definition definition = {.created = 1, .revision = 1, .settings = &settings};
    bool is_new_topic;

    if (check_possible(collections, error) != 0)
        return error->code;
    if (config_collection_find(collections->service->config, wish->name))
        return error_set(error, ERROR_EXISTS, "Wrong input: Collection `%s` already exists!",
                         wish->name);
    if (deletion_read(collections->service, wish->name, arena, &ends, error) != 0 ||
        collections_make_topic(collections, wish, &definition, &is_new_topic, error) != 0)
        return error->code;
    if (!is_new_topic)
        settings = definition_begin(&settings, &ends, arena);
    ends = doc_null();
    if (collections_make(collections, wish->name, &definition, error) != 0 ||
        deletion_keep(collections->service, wish->name, &ends, error) != 0)
        return error->code;
    return collections_wait(collections, wish->name, stop, error);
}

static int create(void *context, const struct rest_collection_wish *wish, struct stop *stop,
                  struct error *error)
{
    struct collections *collections = context;
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    collections_begin_change(collections);
    code = create_alone(collections, wish, &arena, stop, error);
    collections_end_change(collections);
    arena_destroy(&arena);
    return code;
}

/* Change. */

/* Whether a line gives one of the values that change. */
static bool is_replaced(const char *line, size_t length, const struct doc *changes)
{
    enum { INDENT = 4 };

    for (uint32_t i = 0; i < changes->count; i++) {
        const struct doc *key = &changes->items[2 * i];
        if (length > INDENT + key->count + 3 && memcmp(line, "    \"", INDENT + 1) == 0 &&
            memcmp(line + INDENT + 1, key->string, key->count) == 0 &&
            memcmp(line + INDENT + 1 + key->count, "\":", 2) == 0)
            return true;
    }
    return false;
}

/* Without the lines of what changes, and with those that are given. */
static void replace_lines(const struct buffer *old, const struct doc *changes, struct buffer *text)
{
    const char *line = (const char *)old->data, *end = line + old->size;

    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t length = newline ? (size_t)(newline + 1 - line) : (size_t)(end - line);
        if (!is_replaced(line, length, changes))
            buffer_append(text, line, length);
        line += length;
    }
    for (uint32_t i = 0; i < changes->count; i++) {
        buffer_append_text(text, "    ");
        doc_write_yaml(text, &changes->items[2 * i]);
        buffer_append_text(text, ": ");
        doc_write_yaml(text, &changes->items[2 * i + 1]);
        buffer_append_byte(text, '\n');
    }
}

/* Writes the checked file, and applies what changes while running. */
static int apply_file(struct collections *collections, const char *name, const struct file *file,
                      struct buffer *text, const struct config *fresh, struct error *error)
{
    int code = write_file(collections, file, text, error);

    if (code == 0)
        reload_set_ttl(collections->service, name, config_collection_find(fresh, name)->ttl_ms);
    if (code == 0)
        config_adopt_client_settings(collections->service->config, name,
                                     config_collection_find(fresh, name)->client_settings);
    return code;
}

int collections_alter(struct collections *collections, const char *name,
                      const struct definition *definition, struct error *error)
{
    struct config *fresh = NULL;
    struct buffer text = {0};
    struct file file;
    int code = draw_up(collections, name, definition, &file, &text, &fresh, error);

    if (code == 0)
        code = apply_file(collections, name, &file, &text, fresh, error);
    config_free(fresh);
    buffer_destroy(&text);
    return code;
}

static int change(void *context, const struct config_collection *collection,
                  const struct doc *changes, struct error *error)
{
    struct collections *collections = context;
    struct buffer old = {0}, text = {0};
    struct config *fresh = NULL;
    struct doc kept, settled;
    struct arena arena;
    struct file file;
    int code;

    arena_create(&arena, 0);
    collections_begin_change(collections);
    name_file(collections, collection->name, &file);
    code = read_file(collections, collection, &file, &old, error);
    if (code == 0) {
        kept = doc_text(&arena, config_client_settings(collection, &arena));
        code = rest_changes_settle(&arena, changes, &kept, &settled, error);
    }
    if (code == 0) {
        replace_lines(&old, &settled, &text);
        code = check_file(collections, &file, &text, &fresh, error);
    }
    if (code == 0)
        code = apply_file(collections, collection->name, &file, &text, fresh, error);
    collections_end_change(collections);
    config_free(fresh);
    buffer_destroy(&old);
    buffer_destroy(&text);
    arena_destroy(&arena);
    return code;
}

/* Removal. */

static int remove_data(struct collections *collections, const struct config_collection *collection,
                       struct error *error)
{
    static const char *const files[] = {"%.3000s/%.200s.partitions", "%.3000s/%.200s.paused",
                                        "%.3000s/%.200s.indexes"};
    struct service *service = collections->service;
    const char *name = collection->name;
    struct store_lease *leases;
    struct arena arena;
    const char **shards;
    char path[PATH_MAX];
    size_t count;
    int code = 0;

    arena_create(&arena, 0);
    /* Those that nobody had assigned to this process are open still. */
    count = store_registry_acquire(service->registry, name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        struct store_shard *shard = leases[i].shard;
        store_registry_release(service->registry, &leases[i]);
        if (code == 0)
            code = store_registry_discard(service->registry, shard, error);
    }
    if (code == 0)
        code = store_shard_list(service->store, name, &arena, &shards, &count, error);
    for (size_t i = 0; i < count && code == 0; i++)
        code = store_shard_remove(service->store, name, shards[i], error);
    arena_destroy(&arena);
    if (code != 0)
        return code;
    store_registry_expect(service->registry, name, NULL, 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && code == 0; i++) {
        snprintf(path, sizeof(path), files[i], service->config->data_dir, name);
        code = io_unlink(service->io, path, error);
    }
    store_collection_forget(service->store, name);
    return code;
}

/* The newest of the name: those before were dropped. */
static struct config_collection *newest(struct config *config, const char *name)
{
    for (size_t i = config->collection_count; i-- > 0;)
        if (strcmp(config->collections[i].name, name) == 0)
            return &config->collections[i];
    return NULL;
}

int collections_drop(struct collections *collections, const char *name, struct stop *stop,
                     struct error *error)
{
    struct service *service = collections->service;
    struct config_collection *collection = newest(service->config, name);
    struct ingest *ingest = atomic_load(&service->ingest);
    struct file file;
    int code = 0;

    name_file(collections, name, &file);
    if (collection) {
        collection->removed = true;
        if (ingest)
            code = ingest_remove_collection(ingest, collection, error);
        if (code == 0)
            code = wait_until(collections, collection, is_left, stop, error);
        if (code == 0)
            code = remove_data(collections, collection, error);
    }
    if (code == 0)
        code = remove_file(collections, &file, error);
    if (code != 0)
        return error_wrap(error, "Collection `%s` is no longer served, but its data is still here",
                          name);
    log_info("windrow", "collection %s was deleted over HTTP; its topic stays", name);
    return 0;
}

static int remove_alone(struct collections *collections, const struct config_collection *collection,
                        struct stop *stop, struct error *error)
{
    struct buffer text = {0};
    struct arena arena;
    struct file file;
    struct doc ends;
    int code;

    arena_create(&arena, 0);
    name_file(collections, collection->name, &file);
    code = read_file(collections, collection, &file, &text, error);
    buffer_destroy(&text);
    if (code == 0)
        code = deletion_find(collections->service, collection->name, collection->topics[0], stop,
                             &arena, &ends, error);
    if (code == 0)
        code = deletion_keep(collections->service, collection->name, &ends, error);
    arena_destroy(&arena);
    if (code == 0 && collections_drop(collections, collection->name, stop, error) != 0)
        code = error_wrap(error, "A restart brings it back");
    return code;
}

static int remove_collection(void *context, const struct config_collection *collection,
                             struct stop *stop, struct error *error)
{
    struct collections *collections = context;
    int code;

    collections_begin_change(collections);
    code = check_possible(collections, error);
    if (code == 0 && !collection->removed)
        code = remove_alone(collections, collection, stop, error);
    collections_end_change(collections);
    return code;
}

/* What is here. */

enum definition_local collections_look(struct collections *collections, const char *name,
                                       struct arena *arena, struct definition *mine)
{
    const struct config *config = collections->service->config;
    const struct config_collection *served = config_collection_find(config, name);
    enum definition_local local = served ? DEFINITION_OWN : DEFINITION_NONE;
    struct buffer text = {0};
    struct file file;

    *mine = (struct definition){0};
    name_file(collections, name, &file);
    if ((!served || served->file_number > 0) &&
        io_read_file(collections->service->io, file.folder, file.name, &text, ERROR_IGNORED) == 0 &&
        definition_read_file(arena_copy(arena, buffer_text(&text), text.size), text.size,
                             config->cluster_name, arena, mine, ERROR_IGNORED) == 0)
        local = served ? DEFINITION_SHARED : DEFINITION_HALF;
    buffer_destroy(&text);
    return local;
}

struct rest_collections collections_rest(struct collections *collections)
{
    return (struct rest_collections){
        .context = collections, .create = create, .change = change, .remove = remove_collection};
}
