/* Creation: the file is checked as the next start will check it, the topic is made, the file is
 * written, and then the running configuration takes the collection over; ingestion subscribes to its
 * topic. Whoever creates it waits until its shards are open.
 *
 * Removal goes the other way, the file last: after a crash in between the collection is there again
 * and its removal may be asked for again. Requests that hold the collection find it empty.
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
#include "windrow/daemon/service.h"

/* Between two looks at what nobody tells of: ingestion's list of partitions. */
#define LOOK_NS INT64_C(50000000)

#define MARK "# Made over HTTP"

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

/* What is still open then belongs to nobody. */
static bool is_left(struct collections *collections, const struct config_collection *collection)
{
    struct service *service = collections->service;

    return ingest_reads_nothing_of(atomic_load(&service->ingest), collection) &&
           !store_registry_in_use(service->registry, collection->name);
}

/* The file. */

static void append_setting(struct buffer *text, const struct doc *key, const struct doc *value)
{
    buffer_append_text(text, "    ");
    doc_write_json(text, key);
    buffer_append_text(text, ": ");
    doc_write_json(text, value);
    buffer_append_byte(text, '\n');
}

/* JSON is YAML. A key that is given twice is an error of the file, as everywhere. */
static void write_text(const struct rest_collection_wish *wish, struct buffer *text)
{
    static const char *const metrics[] = {
        [VECTOR_METRIC_COSINE] = "cosine", [VECTOR_METRIC_DOT] = "dot", [VECTOR_METRIC_L2] = "l2"};
    const struct doc *settings = wish->settings;

    buffer_append_text(text,
                       MARK " (PUT /collections/NAME). DELETE takes this file away.\n"
                            "# A change here needs a restart; of `ttl` only a reload (SIGHUP).\n"
                            "collections:\n  ");
    doc_write_json_string(text, wish->name, strlen(wish->name));
    buffer_append_text(text, ":\n");
    if (!settings || !doc_get(settings, "topics")) {
        buffer_append_text(text, "    topics: [");
        doc_write_json_string(text, wish->name, strlen(wish->name));
        buffer_append_text(text, "]\n");
    }
    buffer_append_format(text, "    dim: %u\n    metric: %s\n", wish->dim, metrics[wish->metric]);
    if (wish->hnsw_m > 0 || wish->hnsw_ef_construct > 0)
        buffer_append_format(text, "    index: {hnsw: {m: %u, ef_construct: %u}}\n",
                             wish->hnsw_m ? wish->hnsw_m : 16,
                             wish->hnsw_ef_construct ? wish->hnsw_ef_construct : 200);
    for (uint32_t i = 0; settings && i < settings->count; i++)
        append_setting(text, &settings->items[2 * i], &settings->items[2 * i + 1]);
}

struct file {
    char folder[PATH_MAX];
    char name[NAME_MAX];
};

static void name_file(const struct collections *collections, const char *collection,
                      struct file *file)
{
    config_folder(collections->service->config->path, file->folder);
    snprintf(file->name, sizeof(file->name), "%.200s.yaml", collection);
}

/* What the next start would say of it. */
static int check_file(struct collections *collections, const struct file *file, struct buffer *text,
                      struct config **fresh, struct error *error)
{
    struct buffer report = {0};
    int code = config_load_with(collections->service->config->path, file->name, buffer_text(text),
                                fresh, &report);

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

/* The text of a collection's file, if it is ours. */
static int read_file(struct collections *collections, const struct config_collection *collection,
                     const struct file *file, struct buffer *text, struct error *error)
{
    int code = collection->file_number == 0
                   ? ERROR_NOT_FOUND
                   : io_read_file(collections->service->io, file->folder, file->name, text, error);

    if (code == 0 && text->size >= strlen(MARK) && memcmp(text->data, MARK, strlen(MARK)) == 0)
        return 0;
    return error_set(error, ERROR_UNSUPPORTED,
                     "Collection `%s` was not made over HTTP: change %s and restart",
                     collection->name, collection->file);
}

/* Creation. */

static int check_possible(const struct collections *collections, struct error *error)
{
    const struct service *service = collections->service;

    if (service->config->cluster_name)
        return error_set(
            error, ERROR_UNSUPPORTED,
            "The nodes of a cluster read their collections from files: add it to those "
            "of each node and restart them");
    if (!atomic_load(&service->ingest))
        return error_set(error, ERROR_UNSUPPORTED, "This process does not read from Kafka");
    return 0;
}

/* The running service takes over what the file says. */
static int adopt(struct collections *collections, const struct rest_collection_wish *wish,
                 struct config *fresh, struct config_collection **collection, struct error *error)
{
    struct service *service = collections->service;
    int code;

    *collection = config_adopt_collection(service->config, fresh, wish->name);
    if (!*collection) {
        config_free(fresh);
        return error_set(error, ERROR_BUSY,
                         "%d collections were added since the start: restart to add more",
                         CONFIG_COLLECTIONS_ADDED_MAX);
    }
    code = ingest_add_collection(atomic_load(&service->ingest), *collection, error);
    if (code != 0)
        (*collection)->removed = true;
    return code;
}

static int make_topic(struct collections *collections, const struct rest_collection_wish *wish,
                      const struct config *fresh, struct error *error)
{
    const struct config_collection *made = config_collection_find(fresh, wish->name);

    if (made->topic_count != 1)
        return error_set(error, ERROR_UNSUPPORTED,
                         "A collection that is made over HTTP has one topic: define `%s` in a file",
                         wish->name);
    return writer_create_topic(collections->service->writer, made->topics[0],
                               wish->partitions ? (int)wish->partitions : 1, (int)wish->replication,
                               error);
}

static int create_now(struct collections *collections, const struct rest_collection_wish *wish,
                      struct stop *stop, struct error *error)
{
    struct config_collection *collection = NULL;
    struct config *fresh = NULL;
    struct buffer text = {0};
    struct file file;
    int code;

    name_file(collections, wish->name, &file);
    write_text(wish, &text);
    code = check_file(collections, &file, &text, &fresh, error);
    if (code == 0 && (code = make_topic(collections, wish, fresh, error)) == 0)
        code = write_file(collections, &file, &text, error);
    buffer_destroy(&text);
    if (code != 0) {
        config_free(fresh);
        return code;
    }
    code = adopt(collections, wish, fresh, &collection, error);
    if (code != 0) {
        (void)remove_file(collections, &file, ERROR_IGNORED);
        return code;
    }
    log_info("windrow", "collection %s was created over HTTP: %s/%s", wish->name, file.folder,
             file.name);
    return wait_until(collections, collection, is_served, stop, error);
}

static int create(void *context, const struct rest_collection_wish *wish, struct stop *stop,
                  struct error *error)
{
    struct collections *collections = context;
    int code;

    pthread_mutex_lock(&collections->change);
    code = check_possible(collections, error);
    if (code == 0 && config_collection_find(collections->service->config, wish->name))
        code = error_set(error, ERROR_EXISTS, "Wrong input: Collection `%s` already exists!",
                         wish->name);
    if (code == 0)
        code = create_now(collections, wish, stop, error);
    pthread_mutex_unlock(&collections->change);
    return code;
}

/* Change. */

/* Without the line of `ttl`, and with the one that is given. */
static void replace_ttl(const struct buffer *old, const struct doc *ttl, struct buffer *text)
{
    static const char prefix[] = "    \"ttl\":";
    const struct doc key = {.type = DOC_STRING, .count = 3, .string = "ttl"};
    const char *line = (const char *)old->data, *end = line + old->size;

    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t length = newline ? (size_t)(newline + 1 - line) : (size_t)(end - line);
        if (length < sizeof(prefix) || memcmp(line, prefix, sizeof(prefix) - 1) != 0)
            buffer_append(text, line, length);
        line += length;
    }
    append_setting(text, &key, ttl);
}

static int change(void *context, const struct config_collection *collection, const struct doc *ttl,
                  struct error *error)
{
    struct collections *collections = context;
    struct buffer old = {0}, text = {0};
    struct config *fresh = NULL;
    struct file file;
    int code;

    pthread_mutex_lock(&collections->change);
    name_file(collections, collection->name, &file);
    code = read_file(collections, collection, &file, &old, error);
    if (code == 0) {
        replace_ttl(&old, ttl, &text);
        code = check_file(collections, &file, &text, &fresh, error);
    }
    if (code == 0)
        code = write_file(collections, &file, &text, error);
    if (code == 0)
        service_set_ttl(collections->service, collection->name,
                        config_collection_find(fresh, collection->name)->ttl_ms);
    config_free(fresh);
    buffer_destroy(&old);
    buffer_destroy(&text);
    pthread_mutex_unlock(&collections->change);
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
    snprintf(path, sizeof(path), "%.3000s/%.200s", service->config->data_dir, name);
    (void)io_remove_directory(service->io, path, ERROR_IGNORED);
    return code;
}

static int remove_now(struct collections *collections, struct config_collection *collection,
                      struct stop *stop, struct error *error)
{
    struct service *service = collections->service;
    struct buffer text = {0};
    struct file file;
    int code;

    name_file(collections, collection->name, &file);
    code = read_file(collections, collection, &file, &text, error);
    buffer_destroy(&text);
    if (code != 0)
        return code;
    collection->removed = true;
    code = ingest_remove_collection(atomic_load(&service->ingest), collection, error);
    if (code == 0)
        code = wait_until(collections, collection, is_left, stop, error);
    if (code == 0)
        code = remove_data(collections, collection, error);
    if (code == 0)
        code = remove_file(collections, &file, error);
    if (code != 0)
        return error_wrap(error,
                          "Collection `%s` is no longer served, but it comes back with a "
                          "restart",
                          collection->name);
    log_info("windrow", "collection %s was deleted over HTTP; its topic %s stays", collection->name,
             collection->topics[0]);
    return 0;
}

static int remove_collection(void *context, const struct config_collection *collection,
                             struct stop *stop, struct error *error)
{
    struct collections *collections = context;
    struct config *config = collections->service->config;
    int code;

    pthread_mutex_lock(&collections->change);
    code = check_possible(collections, error);
    if (code == 0 && !collection->removed)
        code = remove_now(collections, &config->collections[collection - config->collections], stop,
                          error);
    pthread_mutex_unlock(&collections->change);
    return code;
}

struct rest_collections collections_rest(struct collections *collections)
{
    return (struct rest_collections){
        .context = collections, .create = create, .change = change, .remove = remove_collection};
}
