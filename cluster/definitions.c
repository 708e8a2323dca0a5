/* Happy path: connect, find or create the bucket, watch all of its keys: the server tells the last value
 * of each and then every change.
 *
 * Failure modes: a server that is away, or lost its disk. After each reconnect and each error that a
 * lost bucket can explain, bucket and watch are made anew. They are made anew every minute, too: what a
 * lost message hid then comes to light.
 *
 * Race: after a reconnect a thread of the library (nats.c 3.4) makes the consumer of a watch anew. When the watch is destroyed
 * meanwhile, the library reads the consumer's name after that thread has freed it. So a watch that a doubt ended is only
 * put aside. It goes after a minute without a doubt, or when the connection is closed, which ends that thread's work. */
#include "cluster/definitions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/logger.h"
#include "base/memory.h"
#include "net/nats/connection.h"

enum {
    REQUEST_WAIT_MS = 3000,
    LOOK_AGAIN_MS = 60000,
    REPEAT_MS = 3000,
    ENTRY_MAX = 1 << 20,
    FORMER_MAX = 16
};

struct definitions {
    struct nats_connection *connection;
    char bucket[160];
    int replicas;
    pthread_mutex_t lock; /* of the next three */
    jsCtx *context;
    kvStore *store; /* NULL: look for it */
    uint64_t generation;

    /* Of the thread that watches. */
    kvWatcher *watcher;
    kvWatcher *former[FORMER_MAX]; /* put aside */
    size_t former_count;
    int64_t former_end_ms; /* they are destroyed no earlier */
    int64_t look_again_ms;
};

static int64_t now_ms(void)
{
    return io_monotonic_ns(io_posix()) / 1000000;
}

bool definitions_name_is_valid(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length <= DEFINITIONS_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
               length;
}

int definitions_open(const struct config *config, struct definitions **definitions,
                     struct error *error)
{
    const struct nats_connection_options options = {
        .urls = config->nats_url,
        .name = config->node,
        .security = &config->nats_security,
        .module = "cluster",
        .effect = "collections that other nodes make or delete are noticed later"};
    struct definitions *fresh = memory_new(1, sizeof(*fresh));

    if (nats_connection_open(&options, &fresh->connection, error) != 0) {
        free(fresh);
        return error->code;
    }
    (void)snprintf(fresh->bucket, sizeof(fresh->bucket), "%s_%s_collections", config->nats_prefix,
                   config->cluster_name);
    fresh->replicas = (int)config->nats_replicas;
    pthread_mutex_init(&fresh->lock, NULL);
    *definitions = fresh;
    return 0;
}

/* Under the lock. */
static void forget_store(struct definitions *definitions)
{
    kvStore_Destroy(definitions->store);
    jsCtx_Destroy(definitions->context);
    definitions->store = NULL;
    definitions->context = NULL;
}

static void destroy_former(struct definitions *definitions)
{
    while (definitions->former_count > 0)
        kvWatcher_Destroy(definitions->former[--definitions->former_count]);
}

void definitions_close(struct definitions *definitions)
{
    if (!definitions)
        return;
    forget_store(definitions);
    nats_connection_close(definitions->connection);
    kvWatcher_Destroy(definitions->watcher);
    destroy_former(definitions);
    pthread_mutex_destroy(&definitions->lock);
    free(definitions);
}

static natsStatus find_bucket(struct definitions *definitions)
{
    kvConfig config;
    natsStatus status = js_KeyValue(&definitions->store, definitions->context, definitions->bucket);

    if (status != NATS_NOT_FOUND)
        return status;
    (void)kvConfig_Init(&config);
    config.Bucket = definitions->bucket;
    config.Description = "windrow: collections that were made over HTTP";
    config.History = 1;
    config.StorageType = js_FileStorage;
    config.Replicas = definitions->replicas;
    status = js_CreateKeyValue(&definitions->store, definitions->context, &config);
    if (status == NATS_OK)
        log_info("cluster", "created the NATS bucket %s", definitions->bucket);
    return status;
}

/* Under the lock. */
static int find_store(struct definitions *definitions, struct error *error)
{
    const uint64_t generation = nats_connection_generation(definitions->connection);
    jsOptions options;
    natsStatus status;
    char trouble[256];

    if (!nats_connection_is_up(definitions->connection)) {
        nats_connection_trouble(definitions->connection, trouble, sizeof(trouble));
        return error_set(error, ERROR_UNAVAILABLE, "NATS does not answer%s%s",
                         trouble[0] ? ": " : "", trouble);
    }
    if (definitions->store && definitions->generation == generation)
        return 0;
    forget_store(definitions);
    (void)jsOptions_Init(&options);
    options.Wait = REQUEST_WAIT_MS;
    status = natsConnection_JetStream(&definitions->context,
                                      nats_connection_handle(definitions->connection), &options);
    if (status == NATS_OK)
        status = find_bucket(definitions);
    definitions->generation = generation;
    if (status == NATS_OK)
        return 0;
    forget_store(definitions);
    (void)nats_connection_error(error, status, 0, "look for the bucket");
    error->code = ERROR_UNAVAILABLE;
    return error_wrap(error, "bucket %s", definitions->bucket);
}

/* Under the lock. A failed request may mean that the bucket is gone. */
static int fail(struct definitions *definitions, natsStatus status, const char *what,
                struct error *error)
{
    forget_store(definitions);
    nats_connection_doubt(definitions->connection);
    (void)nats_connection_error(error, status, 0, what);
    error->code = ERROR_UNAVAILABLE;
    return error_wrap(error, "bucket %s", definitions->bucket);
}

static int get_locked(struct definitions *definitions, const char *name, struct buffer *text,
                      uint64_t *number, struct error *error)
{
    kvEntry *entry = NULL;
    natsStatus status;

    *number = 0;
    if (find_store(definitions, error) != 0)
        return error->code;
    status = kvStore_Get(&entry, definitions->store, name);
    if (status == NATS_NOT_FOUND)
        return 0;
    if (status != NATS_OK)
        return fail(definitions, status, "read", error);
    *number = kvEntry_Revision(entry);
    buffer_append(text, kvEntry_Value(entry), (size_t)kvEntry_ValueLen(entry));
    kvEntry_Destroy(entry);
    return 0;
}

int definitions_get(struct definitions *definitions, const char *name, struct buffer *text,
                    uint64_t *number, struct error *error)
{
    int code;

    pthread_mutex_lock(&definitions->lock);
    code = get_locked(definitions, name, text, number, error);
    pthread_mutex_unlock(&definitions->lock);
    return code;
}

/* What became of a write without an answer, or of one that was refused: the entry tells. */
static int find_outcome(struct definitions *definitions, const char *name,
                        const struct buffer *text, uint64_t former, natsStatus status,
                        struct error *error)
{
    struct buffer found = {0};
    struct error unread = {0};
    uint64_t number;
    int code = get_locked(definitions, name, &found, &number, &unread);

    if (code == 0 && found.size == text->size && memcmp(found.data, text->data, text->size) == 0)
        code = 0;
    else if (code == 0 && number != former)
        code = error_set(error, ERROR_EXISTS, "somebody else changed the entry at the same time");
    else
        code = fail(definitions, status, "write", error);
    buffer_destroy(&found);
    return code;
}

int definitions_put(struct definitions *definitions, const char *name, const struct buffer *text,
                    uint64_t number, struct error *error)
{
    natsStatus status;
    int code = ERROR_INVALID;

    if (text->size > ENTRY_MAX)
        return error_set(error, ERROR_INVALID, "Wrong input: more than 1 MiB of settings");
    pthread_mutex_lock(&definitions->lock);
    code = find_store(definitions, error);
    if (code == 0) {
        status = number == 0
                     ? kvStore_Create(NULL, definitions->store, name, text->data, (int)text->size)
                     : kvStore_Update(NULL, definitions->store, name, text->data, (int)text->size,
                                      number);
        if (status != NATS_OK)
            code = find_outcome(definitions, name, text, number, status, error);
    }
    pthread_mutex_unlock(&definitions->lock);
    return code;
}

/* Watching. */

void definitions_repeat(struct definitions *definitions)
{
    int64_t soon_ms = now_ms() + REPEAT_MS;

    if (definitions->look_again_ms > soon_ms)
        definitions->look_again_ms = soon_ms;
}

static void end_watch(struct definitions *definitions, bool doubtful)
{
    if (doubtful)
        definitions->former_end_ms = now_ms() + LOOK_AGAIN_MS;
    if (definitions->former_count == FORMER_MAX)
        destroy_former(definitions);
    if (definitions->watcher)
        definitions->former[definitions->former_count++] = definitions->watcher;
    definitions->watcher = NULL;
    if (now_ms() >= definitions->former_end_ms)
        destroy_former(definitions);
}

static bool watch(struct definitions *definitions)
{
    struct error error = {0};
    natsStatus status = NATS_ERR;
    int code;

    pthread_mutex_lock(&definitions->lock);
    forget_store(definitions);
    code = find_store(definitions, &error);
    if (code == 0 &&
        (status = kvStore_WatchAll(&definitions->watcher, definitions->store, NULL)) != NATS_OK)
        code = fail(definitions, status, "watch", &error);
    pthread_mutex_unlock(&definitions->lock);
    if (code != 0)
        log_debug("cluster", "%s", error.text);
    definitions->look_again_ms = now_ms() + (code == 0 ? LOOK_AGAIN_MS : REPEAT_MS);
    return code == 0;
}

/* No entry: all were told. */
static enum definitions_event take(const char *bucket, kvEntry *entry,
                                   char name[DEFINITIONS_NAME_MAX + 1], struct buffer *text)
{
    enum definitions_event event = DEFINITIONS_NOTHING;

    if (!entry)
        return DEFINITIONS_ALL;
    if (kvEntry_Operation(entry) == kvOp_Put && definitions_name_is_valid(kvEntry_Key(entry))) {
        (void)snprintf(name, DEFINITIONS_NAME_MAX + 1, "%s", kvEntry_Key(entry));
        buffer_append(text, kvEntry_Value(entry), (size_t)kvEntry_ValueLen(entry));
        event = DEFINITIONS_ENTRY;
    } else {
        log_warning("cluster", "bucket %s: ignored %.100s, which windrow did not write", bucket,
                    kvEntry_Key(entry));
    }
    kvEntry_Destroy(entry);
    return event;
}

enum definitions_event definitions_next(struct definitions *definitions, int64_t wait_ms,
                                        char name[DEFINITIONS_NAME_MAX + 1], struct buffer *text)
{
    kvEntry *entry = NULL;
    natsStatus status;
    bool doubtful;

    nats_connection_mend(definitions->connection);
    if (nats_connection_is_up(definitions->connection) &&
        ((doubtful = nats_connection_end_doubt(definitions->connection)) ||
         now_ms() >= definitions->look_again_ms)) {
        end_watch(definitions, doubtful);
        if (watch(definitions))
            return DEFINITIONS_BEGIN;
    }
    if (!definitions->watcher)
        return DEFINITIONS_AWAY;
    status = kvWatcher_Next(&entry, definitions->watcher, wait_ms);
    if (status == NATS_OK)
        return take(definitions->bucket, entry, name, text);
    if (status == NATS_TIMEOUT)
        return DEFINITIONS_NOTHING;
    definitions_repeat(definitions);
    return DEFINITIONS_AWAY;
}
