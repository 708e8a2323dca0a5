/* The shard registry: entries in one order (collection, then name), each with a count of leases.
 *
 * Happy path. open_entry opens the shard outside the lock, links the entry in and tells listeners.
 * Users lease it (store_registry_acquire) and give the lease back. close_matching takes it out.
 *
 * Closing, step by step:
 *   1. `leaving` becomes true under the lock: nobody gets a new lease.
 *   2. `closing` of the leases becomes true and listeners hear `leaving`: long work stops. Searches
 *      go on: most end within milliseconds, and to break them off would make points blink.
 *   3. The closer sleeps on `released` until no lease is left. After a while it sets `broken_off`,
 *      at which searches stop too.
 *   4. Listeners hear `closing`, the shard is flushed and closed, then the entry goes. Until then
 *      its name is taken, so that no folder is ever open twice.
 *
 * The race between opening and closing. An entry is visible to close_matching before its listeners
 * have heard of it. So it begins with one lease, which is given back after `opened` was told: no
 * listener hears of a closing first.
 *
 * Locks. listen_lock comes before `lock`. Neither is held while a shard opens, closes or is
 * searched. A lease needs no lock: it is a count that keeps the entry and its shard.
 *
 * This file opens, claims, closes and removes. Beside it: registry_lookup.c (entries by name),
 * registry_leases.c, registry_coverage.c (which shards are missing), registry_listeners.c,
 * registry_waits.c, registry_ownership.c (fencing), registry_kept.c (handed over shards). */
#include "store/registry.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "store/install.h"
#include "store/lease.h"
#include "store/listen.h"
#include "store/places.h"
#include "store/registry_internal.h"
#include "store/settings.h"
#include "store/shard.h"
#include "store/store.h"

/* How long searches may go on in a shard that closes: the next owner waits for it, or serves already. */
#define READS_END_NS             INT64_C(250000000)
#define READS_END_HANDED_OVER_NS INT64_C(2000000000)

struct store_registry *store_registry_new(const struct store_registry_options *options)
{
    struct store_registry *registry = memory_new(1, sizeof(*registry));

    registry->options = *options;
    pthread_mutex_init(&registry->listen_lock, NULL);
    pthread_mutex_init(&registry->lock, NULL);
    thread_condition_create(&registry->released);
    return registry;
}

struct store *store_registry_store(const struct store_registry *registry)
{
    return registry->options.store;
}

void store_registry_delete(struct store_registry *registry)
{
    if (!registry)
        return;
    assert(!registry->entries);
    registry_forget_expectations(registry);
    pthread_mutex_destroy(&registry->listen_lock);
    pthread_mutex_destroy(&registry->lock);
    pthread_cond_destroy(&registry->released);
    free(registry);
}

static struct store_shard_options shard_options(const struct store_registry *registry,
                                                const struct config_collection *collection,
                                                const char *name)
{
    const struct store_settings settings = store_settings_wanted(collection);

    return (struct store_shard_options){
        .collection = collection->name,
        .name = name,
        .dim = settings.dim,
        .metric = settings.metric,
        .key_rule = settings.key_rule,
        .window_ms = collection->window_ms,
        .ttl_ms = collection->ttl_ms,
        .level0_files_max = registry->options.level0_files_max,
        .durability = collection->durability == CONFIG_DURABILITY_KAFKA ? STORE_DURABILITY_KAFKA
                                                                        : STORE_DURABILITY_LOG,
        .codec = collection->storage != VECTOR_CODEC_RAW ? collection->storage : collection->codec,
        .storage_recall = collection->recall,
    };
}

static int open_shard(struct store_registry *registry, const struct config_collection *collection,
                      const char *name, struct store_shard **shard, struct error *error)
{
    struct store_shard_options options = shard_options(registry, collection, name);
    char folder[CONFIG_SHARD_NAME_BYTES];

    config_shard_folder(collection, name, folder);
    options.folder = folder;
    if (store_shard_open(registry->options.store, &options, shard, error) != 0)
        return error_wrap(error, "collection %s: shard %s", collection->name, name);
    if (registry->options.opened &&
        registry->options.opened(registry->options.opened_context, *shard, error) != 0) {
        struct error ignored;
        (void)store_shard_close(*shard, false, &ignored);
        return error_wrap(error, "collection %s: shard %s", collection->name, name);
    }
    return 0;
}

/* Under the lock. Where Kafka is read, a shard that comes is behind until its owner says otherwise:
 * nobody sees it complete before the end of its partition is known. One that was lost and comes back
 * before anybody else had it is what it was. */
static void claim(struct store_registry *registry, struct registry_entry *entry, bool claimed)
{
    if (claimed && !entry->claimed) {
        entry->behind |= registry->options.expects_shards &&
                         (!entry->handed_over || registry_may_have_missed(registry, entry));
        entry->claimed = true;
        entry->reading = STORE_READING;
        registry_own(registry, entry);
        registry_end_hand_over(registry, entry);
    }
    registry_tell_changed(registry);
}

/* Opening replays a log and may take a while, so it runs outside the lock. Only the main thread (at
 * start, before there is a consumer) and the consumer thread open shards: no name is opened twice.
 * Closing may run on another thread than opening (shards that nobody claimed): a shard that is on
 * its way out is waited for, so that no folder is ever open twice. */
static int open_entry(struct store_registry *registry, const struct config_collection *collection,
                      const char *name, bool claimed, struct store_shard **shard,
                      struct error *error)
{
    struct registry_entry *entry;
    struct registry_entry **place;
    bool found;

    pthread_mutex_lock(&registry->lock);
    place = registry_find_place(registry, collection->name, name, &found);
    while (found && (*place)->leaving) {
        pthread_cond_wait(&registry->released, &registry->lock);
        place = registry_find_place(registry, collection->name, name, &found);
    }
    if (found) {
        claim(registry, *place, claimed);
        *shard = (*place)->shard;
    }
    pthread_mutex_unlock(&registry->lock);
    if (found)
        return 0;
    if (open_shard(registry, collection, name, shard, error) != 0)
        return error->code;
    entry = calloc(1, sizeof(*entry));
    if (!entry || !(entry->name = strdup(name)))
        abort();
    entry->collection = collection;
    entry->shard = *shard;
    entry->leases = 1; /* listeners learn of the opening before any closing */
    pthread_mutex_lock(&registry->lock);
    place = registry_find_place(registry, collection->name, name, &found);
    entry->next = *place;
    *place = entry;
    store_shard_set_ttl(*shard, collection->ttl_ms); /* a reload may have come while it opened */
    claim(registry, entry, claimed);
    pthread_mutex_unlock(&registry->lock);
    atomic_fetch_add(&registry->opened, 1);
    store_registry_wake_waits(registry);
    registry_tell_opened(registry, entry);
    registry_give_back(registry, entry);
    return 0;
}

static int open_folders(struct store_registry *registry, const struct config_collection *collection,
                        const char **folders, size_t count, struct error *error)
{
    char name[CONFIG_SHARD_NAME_BYTES];
    struct store_shard *shard;
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++)
        if (config_shard_of_folder(collection, folders[i], name))
            code = open_entry(registry, collection, name, false, &shard, error);
        else
            log_warning(
                "store",
                "%s/%s is of a topic that the collection does not read: it is kept, and not "
                "served. Put the topic back into collections.%s.topics, or remove the folder",
                collection->name, folders[i], collection->name);
    return code;
}

int store_registry_open_collection(struct store_registry *registry,
                                   const struct config_collection *collection, struct error *error)
{
    struct store *store = registry->options.store;
    const char **folders;
    struct arena arena;
    size_t count;
    int code;

    arena_create(&arena, 0);
    code = places_name_shards(store, collection, error);
    if (code == 0)
        code = store_shard_list(store, collection->name, &arena, &folders, &count, error);
    if (code == 0)
        code = open_folders(registry, collection, folders, count, error);
    arena_destroy(&arena);
    return code;
}

int store_registry_open_existing(struct store_registry *registry, const struct config *config,
                                 struct error *error)
{
    int code = 0;

    for (size_t i = 0; i < config->collection_count && code == 0; i++)
        if (!config->collections[i].refused)
            code = store_registry_open_collection(registry, &config->collections[i], error);
    return code;
}

int store_registry_claim(struct store_registry *registry,
                         const struct config_collection *collection, const char *name,
                         struct store_shard **shard, struct error *error)
{
    return open_entry(registry, collection, name, true, shard, error);
}

static void forget(struct store_registry *registry, struct registry_entry *entry)
{
    struct registry_entry **place = &registry->entries;

    pthread_mutex_lock(&registry->lock);
    while (*place != entry)
        place = &(*place)->next;
    *place = entry->next;
    pthread_cond_broadcast(&registry->released);
    pthread_mutex_unlock(&registry->lock);
    free(entry->name);
    free(entry);
}

/* An entry without a shard that leaves keeps the name taken. */
int store_registry_remove(struct store_registry *registry,
                          const struct config_collection *collection, const char *name,
                          struct error *error)
{
    struct registry_entry *entry = memory_new(1, sizeof(*entry));
    char folder[CONFIG_SHARD_NAME_BYTES];
    struct registry_entry **place;
    bool found;
    int code;

    entry->name = memory_checked(strdup(name));
    entry->collection = collection;
    entry->leaving = true;
    pthread_mutex_lock(&registry->lock);
    place = registry_find_place(registry, collection->name, name, &found);
    if (!found) {
        entry->next = *place;
        *place = entry;
    }
    pthread_mutex_unlock(&registry->lock);
    if (found) {
        free(entry->name);
        free(entry);
        return error_set(error, ERROR_BUSY, "shard %s is open", name);
    }
    config_shard_folder(collection, name, folder);
    code = store_shard_remove(registry->options.store, collection->name, folder, error);
    forget(registry, entry);
    return code;
}

/* Leaving entries get no new leases; those under way finish. */
static void close_entry(struct store_registry *registry, struct registry_entry *entry, bool flush)
{
    struct error error = {0};
    int64_t end_ns = thread_deadline(entry->handed_over ? READS_END_HANDED_OVER_NS : READS_END_NS);

    pthread_mutex_lock(&registry->lock);
    while (entry->leases > 0 && thread_condition_wait(&registry->released, &registry->lock, end_ns))
        ;
    entry->broken_off = true;
    while (entry->leases > 0)
        pthread_cond_wait(&registry->released, &registry->lock);
    pthread_mutex_unlock(&registry->lock);
    registry_tell_closing(registry, entry);
    if (store_shard_close(entry->shard, flush, &error) != 0)
        log_error("store", "closing %s/%s: %s", entry->collection->name, entry->name, error.text);
    if (registry->options.closed)
        registry->options.closed(registry->options.opened_context, entry->name);
    forget(registry, entry);
}

static bool is_unclaimed(const struct registry_entry *entry, const void *unused)
{
    (void)unused;
    return !entry->claimed && !entry->handed_over;
}

static bool is_shard(const struct registry_entry *entry, const void *shard)
{
    return entry->shard == shard;
}

static bool is_any(const struct registry_entry *entry, const void *unused)
{
    (void)entry;
    (void)unused;
    return true;
}

/* Under the lock. */
static void set_closing(struct store_registry *registry, struct registry_entry *entry)
{
    entry->closing = true;
    store_shard_end_waits(entry->shard);
    registry_tell_leaving(registry, entry);
    registry_tell_changed(registry);
}

static void close_matching(struct store_registry *registry, bool flush,
                           bool (*matches)(const struct registry_entry *, const void *),
                           const void *context)
{
    for (;;) {
        struct registry_entry *entry;
        pthread_mutex_lock(&registry->lock);
        entry = registry->entries;
        while (entry && (entry->leaving || !matches(entry, context)))
            entry = entry->next;
        if (entry) {
            entry->leaving = true;
            set_closing(registry, entry);
        }
        pthread_mutex_unlock(&registry->lock);
        if (!entry)
            return;
        close_entry(registry, entry, flush);
    }
}

void store_registry_close(struct store_registry *registry, struct store_shard *shard, bool flush)
{
    close_matching(registry, flush, is_shard, shard);
}

int store_registry_discard(struct store_registry *registry, struct store_shard *shard,
                           struct error *error)
{
    char *collection = strdup(store_shard_collection(shard));
    char *folder = strdup(shard->folder);
    int code;

    if (!collection || !folder)
        abort();
    store_registry_close(registry, shard, false);
    code = store_shard_remove(registry->options.store, collection, folder, error);
    free(collection);
    free(folder);
    return code;
}

int store_registry_install(struct store_registry *registry,
                           const struct config_collection *collection, const char *name,
                           const char *folder, struct error *error)
{
    struct store *store = registry->options.store;
    struct store_shard *shard;
    struct error failed = {0};
    struct store_lease lease;
    char place[CONFIG_SHARD_NAME_BYTES];
    bool found = true;
    int code;

    config_shard_folder(collection, name, place);
    if (store_registry_acquire_shard(registry, collection->name, name, &lease)) {
        shard = lease.shard;
        store_registry_release(registry, &lease);
        store_registry_close(registry, shard, false);
    }
    pthread_mutex_lock(&registry->lock);
    while ((void)registry_find_place(registry, collection->name, name, &found), found)
        pthread_cond_wait(&registry->released, &registry->lock);
    pthread_mutex_unlock(&registry->lock);
    code = store_shard_install(store, folder, collection->name, place, error);
    if (code == 0)
        code = store_registry_claim(registry, collection, name, &shard, error);
    if (code == 0)
        (void)store_folder_remove(store->io, folder,
                                  ERROR_IGNORED); /* the next start removes what is left */
    else if (store_shard_uninstall(store, folder, collection->name, place, &failed) != 0)
        return error_wrap(error, "%s/%s: what was here before cannot be put back (%s)",
                          collection->name, name, failed.text);
    return code;
}

int64_t store_registry_peek(struct store_registry *registry,
                            const struct config_collection *collection, const char *name)
{
    char folder[CONFIG_SHARD_NAME_BYTES];

    config_shard_folder(collection, name, folder);
    return store_shard_peek(registry->options.store, collection->name, folder);
}

void store_registry_unclaim(struct store_registry *registry, struct store_shard *shard)
{
    pthread_mutex_lock(&registry->lock);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        entry->claimed &= entry->shard != shard;
    registry_tell_changed(registry);
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_close_unclaimed(struct store_registry *registry)
{
    close_matching(registry, true, is_unclaimed, NULL);
}

void store_registry_interrupt(struct store_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        if (entry->shard) {
            entry->broken_off = true;
            set_closing(registry, entry);
        }
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_close_all(struct store_registry *registry, bool flush)
{
    close_matching(registry, flush, is_any, NULL);
}

void store_registry_set_behind(struct store_registry *registry, const char *collection,
                               const char *name, bool behind)
{
    pthread_mutex_lock(&registry->lock);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        if (!entry->leaving && entry->behind != behind &&
            registry_compare_names(entry->collection->name, entry->name, collection, name) == 0) {
            entry->behind = behind;
            registry_tell_changed(registry);
        }
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_note_end(struct store_registry *registry, const char *collection,
                             const char *name, int64_t end_offset)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    entry = registry_find_entry(registry, collection, name);
    if (entry)
        entry->end_offset = end_offset;
    pthread_mutex_unlock(&registry->lock);
}
