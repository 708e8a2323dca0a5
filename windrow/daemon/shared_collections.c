#include "windrow/daemon/shared_collections.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cluster/definitions.h"
#include "windrow/daemon/collections.h"
#include "windrow/daemon/definition.h"
#include "windrow/daemon/deletion.h"
#include "windrow/daemon/parts.h"

enum { WAIT_MS = 200, DROP_TIMEOUT_S = 30, NOTED_MAX = 64 };

struct shared_collections {
    struct service *service;
    _Atomic(struct definitions *) definitions; /* NULL until started */
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t stop_wanted;

    /* Under the lock of changes: revisions of which the log has told that they are not served here. */
    uint64_t noted[NOTED_MAX];
    size_t note_count;
};

struct shared_collections *shared_collections_new(struct service *service)
{
    struct shared_collections *fresh;

    if (!service->config->cluster_name)
        return NULL;
    fresh = memory_new(1, sizeof(*fresh));
    fresh->service = service;
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->stop_wanted);
    return fresh;
}

void shared_collections_delete(struct shared_collections *shared)
{
    if (!shared)
        return;
    shared_collections_stop(shared);
    definitions_close(atomic_load(&shared->definitions));
    pthread_cond_destroy(&shared->stop_wanted);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

/* What the cluster has under a name. Under the lock of changes, as all of this part. */
struct agreed {
    struct definition definition;
    uint64_t number; /* of the entry; 0: there is none */
};

static const char *cluster_of(const struct shared_collections *shared)
{
    return shared->service->config->cluster_name;
}

static int64_t wall_ms(const struct shared_collections *shared)
{
    return io_wall_ms(shared->service->io);
}

static int read_agreed(struct shared_collections *shared, const char *name, struct arena *arena,
                       struct agreed *agreed, struct error *error)
{
    struct definitions *definitions = atomic_load(&shared->definitions);
    struct buffer text = {0};
    int code = definitions ? definitions_get(definitions, name, &text, &agreed->number, error)
                           : error_set(error, ERROR_UNAVAILABLE, "this node is starting");

    agreed->definition = (struct definition){0};
    if (code != 0)
        code =
            error_wrap(error, "The cluster's collections cannot be changed now, and nothing was");
    else if (agreed->number != 0 &&
             definition_parse(arena_copy(arena, buffer_text(&text), text.size), text.size,
                              cluster_of(shared), arena, &agreed->definition, error) != 0)
        code = error_wrap(error, "Entry `%s` in NATS", name);
    buffer_destroy(&text);
    return code;
}

/* ERROR_EXISTS: another node was faster. */
static int write_agreed(struct shared_collections *shared, const char *name,
                        const struct definition *definition, uint64_t number, struct error *error)
{
    struct buffer text = {0};
    struct definition read;
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    definition_write(definition, cluster_of(shared), &text);
    /* As the others will read it. */
    code =
        definition_parse(buffer_text(&text), text.size, cluster_of(shared), &arena, &read, error);
    if (code == 0)
        code = definitions_put(atomic_load(&shared->definitions), name, &text, number, error);
    arena_destroy(&arena);
    buffer_destroy(&text);
    return code;
}

/* Whether the log has not told of the revision yet. */
static bool is_news(struct shared_collections *shared, uint64_t revision)
{
    for (size_t i = 0; i < shared->note_count && i < NOTED_MAX; i++)
        if (shared->noted[i] == revision)
            return false;
    shared->noted[shared->note_count++ % NOTED_MAX] = revision;
    return true;
}

static int publish(struct shared_collections *shared, const char *name,
                   const struct definition *mine, struct error *error)
{
    struct agreed agreed;
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    code = read_agreed(shared, name, &arena, &agreed, error);
    if (code == 0 && agreed.definition.revision < mine->revision) {
        code = write_agreed(shared, name, mine, agreed.number, error);
        if (code == 0)
            log_warning("windrow",
                        "NATS had lost the definition of collection %s: put back as it is here",
                        name);
        if (code == ERROR_EXISTS) /* the watch tells of it */
            code = 0;
    }
    arena_destroy(&arena);
    return code;
}

/* Makes what is here what the cluster has. */
static int settle(struct shared_collections *shared, const char *name,
                  const struct definition *agreed, struct stop *stop, struct error *error)
{
    struct collections *collections = shared->service->collections;
    struct definition mine;
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    switch (definition_decide(collections_look(collections, name, &arena, &mine), &mine, agreed)) {
    case DEFINITION_KEEP:
        break;
    case DEFINITION_MAKE:
        code = collections_make(collections, name, agreed, error);
        break;
    case DEFINITION_CHANGE:
        code = collections_alter(collections, name, agreed, error);
        break;
    case DEFINITION_REPLACE:
        code = collections_drop(collections, name, stop, error);
        if (code == 0)
            code = collections_make(collections, name, agreed, error);
        break;
    case DEFINITION_DROP:
        code = collections_drop(collections, name, stop, error);
        break;
    case DEFINITION_PUBLISH:
        code = publish(shared, name, &mine, error);
        break;
    case DEFINITION_OPPOSE:
        if (is_news(shared, agreed->revision))
            log_warning("windrow",
                        "collection %s was made over HTTP by another node of the cluster; here %s "
                        "defines it, and that file wins. To have the same one on all nodes, take "
                        "it out of the file and restart",
                        name, config_collection_find(shared->service->config, name)->file);
        break;
    }
    arena_destroy(&arena);
    return code;
}

/* Following. */

static void create_stop(struct shared_collections *shared, struct stop *stop)
{
    stop_create(stop, shared->service->io);
    stop->deadline_ns = thread_deadline(DROP_TIMEOUT_S * INT64_C(1000000000));
    stop->ending = &shared->stopping;
}

/* The entry that was told may have waited while requests changed it, here or elsewhere: a collection that was
 * deleted meanwhile would come back. So it is read again before anything is done about it. */
static int settle_newest(struct shared_collections *shared, const char *name,
                         const struct definition *told, struct arena *arena, struct stop *stop,
                         struct error *error)
{
    struct definition mine;
    enum definition_local local =
        collections_look(shared->service->collections, name, arena, &mine);
    struct agreed newest;

    if (definition_decide(local, &mine, told) == DEFINITION_KEEP)
        return 0;
    if (read_agreed(shared, name, arena, &newest, error) != 0)
        return error->code;
    /* Without an entry NATS has lost its disk since: put_back follows. */
    return newest.number == 0 ? 0 : settle(shared, name, &newest.definition, stop, error);
}

static void told(struct shared_collections *shared, const char *name, struct buffer *text)
{
    struct definition agreed;
    struct error error = {0};
    struct arena arena;
    struct stop stop;
    int code;

    arena_create(&arena, 0);
    create_stop(shared, &stop);
    collections_begin_change(shared->service->collections);
    code = definition_parse(buffer_text(text), text->size, cluster_of(shared), &arena, &agreed,
                            &error);
    if (code == 0)
        code = settle_newest(shared, name, &agreed, &arena, &stop, &error);
    if (code != 0) {
        if (is_news(shared, agreed.revision))
            log_warning("windrow",
                        "collection %s is not as the cluster has it, and is tried again: %s", name,
                        error.text);
        definitions_repeat(atomic_load(&shared->definitions));
    }
    collections_end_change(shared->service->collections);
    arena_destroy(&arena);
}

/* Each entry was told. What is here and was not among them is lost in NATS. */
static void put_back(struct shared_collections *shared)
{
    const struct config *config = shared->service->config;
    struct collections *collections = shared->service->collections;
    const size_t count = config->collection_count;

    for (size_t i = 0; i < count && !atomic_load(&shared->stopping); i++) {
        const char *name = config->collections[i].name;
        struct error error = {0};
        struct definition mine;
        struct arena arena;
        arena_create(&arena, 0);
        collections_begin_change(collections);
        if (!config->collections[i].removed &&
            collections_look(collections, name, &arena, &mine) == DEFINITION_SHARED &&
            publish(shared, name, &mine, &error) != 0)
            log_debug("windrow", "%s", error.text);
        collections_end_change(collections);
        arena_destroy(&arena);
    }
}

static void rest_a_moment(struct shared_collections *shared)
{
    pthread_mutex_lock(&shared->lock);
    if (!atomic_load(&shared->stopping))
        (void)thread_condition_wait(&shared->stop_wanted, &shared->lock,
                                    thread_deadline(WAIT_MS * INT64_C(1000000)));
    pthread_mutex_unlock(&shared->lock);
}

static void *follow(void *context)
{
    struct shared_collections *shared = context;
    char name[DEFINITIONS_NAME_MAX + 1];

    while (!atomic_load(&shared->stopping)) {
        struct buffer text = {0};
        switch (definitions_next(atomic_load(&shared->definitions), WAIT_MS, name, &text)) {
        case DEFINITIONS_ENTRY:
            told(shared, name, &text);
            break;
        case DEFINITIONS_ALL:
            put_back(shared);
            break;
        case DEFINITIONS_AWAY:
            rest_a_moment(shared);
            break;
        case DEFINITIONS_BEGIN:
        case DEFINITIONS_NOTHING:
            break;
        }
        buffer_destroy(&text);
    }
    return NULL;
}

int shared_collections_start(struct service *service, struct shared_collections *shared,
                             struct error *error)
{
    struct definitions *definitions;

    if (!shared || service->config->http_allow_create != CONFIG_TRUE)
        return 0;
    if (definitions_open(service->config, &definitions, error) != 0)
        return error->code;
    atomic_store(&shared->definitions, definitions);
    if (thread_start(&shared->thread, "collections", follow, shared) != 0)
        return error_set(error, ERROR_MEMORY, "cannot start a thread");
    shared->started = true;
    return 0;
}

void shared_collections_stop(struct shared_collections *shared)
{
    if (!shared || !shared->started)
        return;
    pthread_mutex_lock(&shared->lock);
    atomic_store(&shared->stopping, true);
    pthread_cond_broadcast(&shared->stop_wanted);
    pthread_mutex_unlock(&shared->lock);
    (void)pthread_join(shared->thread, NULL);
    shared->started = false;
}

/* What HTTP asks for. */

static int refuse_own(const struct shared_collections *shared, const char *name,
                      struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(shared->service->config, name);

    return error_set(
        error, ERROR_UNSUPPORTED,
        "Collection `%s` was not made over HTTP by this cluster: change %s and restart", name,
        collection->file);
}

static int exists(const char *name, struct error *error)
{
    return error_set(error, ERROR_EXISTS, "Wrong input: Collection `%s` already exists!", name);
}

/* Of a name: here, and in the cluster. */
struct both {
    enum definition_local local;
    struct definition mine;
    struct agreed agreed;
    struct definition newest; /* of the two */
};

static int look_at_both(struct shared_collections *shared, const char *name, struct arena *arena,
                        struct both *both, struct error *error)
{
    if (read_agreed(shared, name, arena, &both->agreed, error) != 0)
        return error->code;
    both->local = collections_look(shared->service->collections, name, arena, &both->mine);
    both->newest = both->agreed.definition.revision >= both->mine.revision ? both->agreed.definition
                                                                           : both->mine;
    return 0;
}

static int create_locked(struct shared_collections *shared, const struct rest_collection_wish *wish,
                         struct arena *arena, struct stop *stop, struct error *error)
{
    struct doc settings = collections_settings(wish, arena);
    struct definition definition;
    struct both both;
    bool is_new_topic;
    int code = look_at_both(shared, wish->name, arena, &both, error);

    if (code != 0)
        return code;
    if (both.local == DEFINITION_OWN || both.local == DEFINITION_SHARED ||
        both.agreed.definition.settings)
        return exists(wish->name, error);
    definition = definition_create(&both.newest, &settings, wall_ms(shared));
    code = collections_make_topic(shared->service->collections, wish, &definition, &is_new_topic,
                                  error);
    if (code == 0 && !is_new_topic)
        settings = definition_begin(&settings, both.newest.ends, arena);
    if (code == 0)
        code = write_agreed(shared, wish->name, &definition, both.agreed.number, error);
    if (code == ERROR_EXISTS)
        return exists(wish->name, error);
    if (code == 0 && settle(shared, wish->name, &definition, stop, error) != 0)
        code = error_wrap(error, "The other nodes have the collection, this one not yet");
    return code;
}

static int create(void *context, const struct rest_collection_wish *wish, struct stop *stop,
                  struct error *error)
{
    struct shared_collections *shared = context;
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    collections_begin_change(shared->service->collections);
    code = create_locked(shared, wish, &arena, stop, error);
    collections_end_change(shared->service->collections);
    arena_destroy(&arena);
    /* Other changes go on: another node may need them to serve its part. */
    return code == 0 ? collections_wait(shared->service->collections, wish->name, stop, error)
                     : code;
}

static int change_locked(struct shared_collections *shared, const char *name,
                         const struct doc *changes, struct arena *arena, struct error *error)
{
    struct definition definition;
    struct doc settings, settled;
    struct stop stop;
    struct both both;
    int code = look_at_both(shared, name, arena, &both, error);

    if (code != 0)
        return code;
    if (both.local == DEFINITION_OWN)
        return refuse_own(shared, name, error);
    if (!both.newest.settings)
        return error_set(error, ERROR_NOT_FOUND, "Not found: Collection `%s` doesn't exist!", name);
    if (rest_changes_settle(arena, changes, doc_get(both.newest.settings, "client_settings"),
                            &settled, error) != 0)
        return error->code;
    settings = definition_with(both.newest.settings, &settled, arena);
    definition = definition_follow(&both.newest, &settings, wall_ms(shared));
    create_stop(shared, &stop);
    code = collections_check(shared->service->collections, name, &definition, error);
    if (code == 0)
        code = write_agreed(shared, name, &definition, both.agreed.number, error);
    return code == 0 ? settle(shared, name, &definition, &stop, error) : code;
}

static int change(void *context, const struct config_collection *collection,
                  const struct doc *changes, struct error *error)
{
    struct shared_collections *shared = context;
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    collections_begin_change(shared->service->collections);
    code = change_locked(shared, collection->name, changes, &arena, error);
    collections_end_change(shared->service->collections);
    arena_destroy(&arena);
    return code;
}

static int find_ends(struct shared_collections *shared, const char *name,
                     const struct doc *settings, struct arena *arena, struct stop *stop,
                     struct doc *ends, struct error *error)
{
    const char *topic = definition_topic(settings, arena);

    return deletion_find(shared->service, name, topic ? topic : name, stop, arena, ends, error);
}

static int remove_locked(struct shared_collections *shared, const char *name, struct arena *arena,
                         struct stop *stop, struct error *error)
{
    struct definition definition;
    struct both both;
    struct doc ends;
    int code;

    do { /* another node may change it or delete it meanwhile: then that is what this follows */
        *error = (struct error){0};
        code = look_at_both(shared, name, arena, &both, error);
        if (code != 0)
            return code;
        if (both.local == DEFINITION_OWN)
            return refuse_own(shared, name, error);
        definition = both.newest;
        if (definition.settings) {
            code = find_ends(shared, name, definition.settings, arena, stop, &ends, error);
            if (code != 0)
                return code;
            definition = definition_follow(&both.newest, NULL, wall_ms(shared));
            definition.ends = ends.type == DOC_NULL ? NULL : &ends;
            code = write_agreed(shared, name, &definition, both.agreed.number, error);
        }
    } while (code == ERROR_EXISTS && stop_check(stop, error) == 0);
    return code == 0 && definition.revision > 0 ? settle(shared, name, &definition, stop, error)
                                                : code;
}

static int remove_collection(void *context, const struct config_collection *collection,
                             struct stop *stop, struct error *error)
{
    struct shared_collections *shared = context;
    struct arena arena;
    int code;

    arena_create(&arena, 0);
    collections_begin_change(shared->service->collections);
    code = remove_locked(shared, collection->name, &arena, stop, error);
    collections_end_change(shared->service->collections);
    arena_destroy(&arena);
    return code;
}

struct rest_collections shared_collections_rest(struct shared_collections *shared)
{
    return (struct rest_collections){
        .context = shared, .create = create, .change = change, .remove = remove_collection};
}
