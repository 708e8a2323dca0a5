/* SIGHUP: reads the config again and applies what may change while running: the TTLs, API keys, clients' settings, and what
 * is logged in which format. All other settings keep the values that the process started with; the log names those that changed.
 *
 * A collection that was refused, because stored records contradict its settings, comes back when they do not any more. Nobody
 * has used it: it is removed, and another one of its name is adopted, as one that is made over HTTP. */
#include "windrow/daemon/reload.h"

#include <pthread.h>
#include <string.h>

#include "base/logger.h"
#include "ingest/ingest.h"
#include "net/http/http.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/settings.h"
#include "store/store.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/collections.h"
#include "windrow/daemon/log_control.h"
#include "windrow/daemon/parts.h"

static pthread_mutex_t applying = PTHREAD_MUTEX_INITIALIZER; /* lists are replaced */

/* {KEY: {"value", "origin", "reloadable"}} of all keys as the process has them, secrets hidden. */
void reload_handle_config(struct http_request *request)
{
    struct service *service = request->context;

    http_reply_begin(request);
    pthread_mutex_lock(&applying);
    (void)config_show(service->config, NULL, true, &request->reply);
    pthread_mutex_unlock(&applying);
    http_reply_end(request, NULL);
}

static void log_lines(enum logger_level level, const char *event, const char *prefix,
                      struct buffer *lines)
{
    const char *line = buffer_text(lines);

    while (*line) {
        size_t length = strcspn(line, "\n");
        logger_write_event(level, "windrow", event, "%s%.*s", prefix, (int)length, line);
        line += length + (line[length] == '\n');
    }
}

/* Ingest, compaction and shards opened later read the TTL from the config; open shards have a
 * copy. */
void reload_set_ttl(struct service *service, const char *name, int64_t ttl_ms)
{
    struct config *config = service->config;
    const struct config_collection *found = config_collection_find(config, name);
    struct store_lease *leases;
    struct arena arena;
    size_t count;

    if (!found || found->ttl_ms == ttl_ms)
        return;
    config->collections[found - config->collections].ttl_ms = ttl_ms;
    arena_create(&arena, 0);
    count = store_registry_acquire(service->registry, name, &arena, &leases);
    for (size_t k = 0; k < count; k++) {
        store_shard_set_ttl(leases[k].shard, ttl_ms);
        store_registry_release(service->registry, &leases[k]);
    }
    arena_destroy(&arena);
    if (atomic_load(&service->scheduler))
        compaction_scheduler_wake(atomic_load(&service->scheduler));
}

static void apply(struct service *service, const struct config *fresh)
{
    struct config *running = service->config;

    pthread_mutex_lock(&applying);
    if (!config_adopt_keys(running, fresh))
        log_warning("windrow", "http.api_key_file is gone: the API keys stay in force until a "
                               "restart");
    config_adopt_log(running, fresh);
    log_control_apply(running);
    for (size_t i = 0; i < running->collection_count; i++) {
        const struct config_collection *collection = &running->collections[i];
        const struct config_collection *changed = config_collection_find(fresh, collection->name);
        if (!changed || collection->removed)
            continue;
        reload_set_ttl(service, collection->name, changed->ttl_ms);
        config_adopt_client_settings(running, collection->name, changed->client_settings);
    }
    pthread_mutex_unlock(&applying);
    if (atomic_load(&service->scheduler))
        compaction_scheduler_wake(service->scheduler);
}

void reload_tell_refused(const struct config_collection *collection)
{
    logger_write_event(LOGGER_ERROR, "windrow", "collection_refused",
                       "collections.%s is refused, others are served: %s. A reload or a restart "
                       "serves it when the config is right",
                       collection->name, collection->refused);
}

/* A collection that is served keeps the settings that it has. */
static void tell_contradictions(struct service *service, const struct config *fresh)
{
    struct buffer report = {0};

    if (service->config->data_dir)
        (void)store_settings_compare(service->io, service->config->data_dir, fresh, &report);
    log_lines(LOGGER_ERROR, "reload_refused",
              "reload refused, and a restart would refuse the collection, for settings that stored "
              "data contradicts: ",
              &report);
    buffer_destroy(&report);
}

static int serve_again(struct service *service, struct config_collection *refused,
                       struct config *fresh, struct error *error)
{
    struct ingest *ingest = atomic_load(&service->ingest);
    struct config_collection *adopted =
        config_adopt_collection(service->config, fresh, refused->name);
    int code;

    if (!adopted) {
        config_free(fresh);
        return error_set(error, ERROR_BUSY, "too many collections were added: restart");
    }
    /* Before its shards open: workers look up their settings by name. Until its partitions are known, an answer is not complete. */
    refused->removed = true;
    code = store_registry_open_collection(service->registry, adopted, error);
    atomic_store(&service->unclaimed_closed, false); /* others may have some of its shards */
    /* A shard that cannot be opened stops its partition, which tells why. */
    if (ingest && ingest_add_collection(ingest, adopted, code == 0 ? error : ERROR_IGNORED) != 0 &&
        code == 0)
        code = error->code;
    return code;
}

/* Each takes a config of its own, which lives as long as the running one. Whether it is served. */
static bool serve_corrected(struct service *service, struct config_collection *refused)
{
    struct config *running = service->config;
    const struct config_collection *corrected = NULL;
    struct buffer report = {0};
    struct config *own = NULL;
    struct error error = {0};
    bool served = false;

    if (config_load(running->path, &own, &report) == 0)
        corrected = config_collection_find(own, refused->name);
    buffer_destroy(&report);
    if (!corrected ||
        store_settings_check_data(service->io, running->data_dir, corrected, &error) != 0) {
        config_free(own);
        return false;
    }
    collections_begin_change(service->collections);
    served = serve_again(service, refused, own, &error) == 0;
    collections_end_change(service->collections);
    if (served)
        logger_write_event(LOGGER_INFO, "windrow", "collection_served",
                           "collections.%s is served: the config agrees with what is stored",
                           refused->name);
    else
        log_error("windrow", "collection %s is not served: %s", refused->name, error.text);
    return served;
}

static bool serve_all_corrected(struct service *service)
{
    struct config *config = service->config;
    const size_t count = config->collection_count;
    bool any = false;

    for (size_t i = 0; i < count; i++)
        if (!config->collections[i].removed && config->collections[i].refused)
            any |= serve_corrected(service, &config->collections[i]);
    return any;
}

void reload_config(struct service *service)
{
    const char *path = service->config->path;
    struct buffer report = {0};
    struct buffer applied = {0}, restart_needed = {0};
    struct config *fresh = NULL;
    struct error error = {0};
    bool changed;

    if (http_server_reload(service->http, &error) != 0)
        log_error("windrow", "not reloaded: %s", error.text);
    if (config_load(path, &fresh, &report) != 0) {
        log_lines(LOGGER_WARNING, "reload_refused",
                  "reload refused, keeping the running config: ", &report);
    } else {
        changed = serve_all_corrected(service);
        tell_contradictions(service, fresh);
        if (config_compare(service->config, fresh, &applied, &restart_needed)) {
            log_lines(LOGGER_WARNING, "restart_needed", "a restart is needed to apply the changed ",
                      &restart_needed);
            log_lines(LOGGER_INFO, "config_changed", "the reload applies the changed ", &applied);
            apply(service, fresh);
            changed = true;
        }
        logger_write_event(LOGGER_INFO, "windrow", "reloaded", "reloaded %s%s", path,
                           changed ? "" : ": nothing changed");
    }
    config_free(fresh);
    buffer_destroy(&report);
    buffer_destroy(&applied);
    buffer_destroy(&restart_needed);
}
