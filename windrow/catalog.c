#include "windrow/catalog.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "twcs/twcs.h"

struct catalog_entry {
    struct catalog_entry *next;
    const struct config_collection *collection;
    char *name; /* outlives the shard while it closes */
    struct store_shard *shard;
    unsigned leases;       /* under the catalog's lock */
    bool leaving;          /* being closed: no new leases; the name is free again after it */
    atomic_bool closing;   /* long work on a lease stops when it sees this */
    bool claimed;          /* Kafka assigned it to us */
    bool maintaining;      /* one maintenance thread at a time; under the lock */
    int64_t maintained_ns; /* when the last one was done; under the lock */
};

struct catalog {
    struct store *store;
    catalog_opened_function opened;
    void *opened_context;
    pthread_mutex_t lock;
    pthread_cond_t released;
    struct catalog_entry *entries; /* by collection, then by name */
};

struct catalog *catalog_new(struct store *store)
{
    struct catalog *catalog = calloc(1, sizeof(*catalog));

    if (!catalog)
        abort();
    catalog->store = store;
    pthread_mutex_init(&catalog->lock, NULL);
    pthread_cond_init(&catalog->released, NULL);
    return catalog;
}

void catalog_delete(struct catalog *catalog)
{
    if (!catalog)
        return;
    assert(!catalog->entries);
    pthread_mutex_destroy(&catalog->lock);
    pthread_cond_destroy(&catalog->released);
    free(catalog);
}

void catalog_on_open(struct catalog *catalog, catalog_opened_function opened, void *context)
{
    catalog->opened = opened;
    catalog->opened_context = context;
}

static enum store_metric metric_of(const struct config_collection *collection)
{
    switch (collection->metric) {
    case CONFIG_METRIC_DOT:
        return STORE_METRIC_DOT;
    case CONFIG_METRIC_L2:
        return STORE_METRIC_L2;
    case CONFIG_METRIC_COSINE:
        break;
    }
    return STORE_METRIC_COSINE;
}

static struct store_shard_options shard_options(const struct config_collection *collection,
                                                const char *name)
{
    return (struct store_shard_options){
        .collection = collection->name,
        .name = name,
        .dim = collection->dim,
        .metric = metric_of(collection),
        .window_ms = collection->window_ms,
        .ttl_ms = collection->ttl_ms,
        .level0_files_max = TWCS_LEVEL0_FILES_MAX,
        .durability = collection->durability == CONFIG_DURABILITY_KAFKA ? STORE_DURABILITY_KAFKA
                                                                        : STORE_DURABILITY_LOG,
        .codec = collection->codec == CONFIG_CODEC_PACKED ? STORE_CODEC_PACKED : STORE_CODEC_RAW,
    };
}

static int compare(const char *collection_a, const char *name_a, const char *collection_b,
                   const char *name_b)
{
    int order = strcmp(collection_a, collection_b);

    /* strverscmp puts shard 10 after shard 9. */
    return order ? order : strverscmp(name_a, name_b);
}

/* Under the lock. The place where an entry of that name is or belongs. */
static struct catalog_entry **find(struct catalog *catalog, const char *collection,
                                   const char *name, bool *found)
{
    struct catalog_entry **place = &catalog->entries;

    *found = false;
    for (; *place; place = &(*place)->next) {
        int order = compare((*place)->collection->name, (*place)->name, collection, name);
        *found = order == 0;
        if (order >= 0)
            break;
    }
    return place;
}

static int open_shard(struct catalog *catalog, const struct config_collection *collection,
                      const char *name, struct store_shard **shard, struct error *error)
{
    struct store_shard_options options = shard_options(collection, name);

    if (store_shard_open(catalog->store, &options, shard, error) != 0)
        return error_wrap(error, "collection %s: shard %s", collection->name, name);
    if (catalog->opened && catalog->opened(catalog->opened_context, *shard, error) != 0) {
        struct error ignored;
        (void)store_shard_close(*shard, false, &ignored);
        return error_wrap(error, "collection %s: shard %s", collection->name, name);
    }
    return 0;
}

/* Opening replays a log and may take a while, so it runs outside the lock. Only the main thread (at
 * start, before there is a consumer) and the consumer thread open shards: no name is opened twice.
 * Closing may run on another thread than opening (shards that nobody claimed): a shard that is on
 * its way out is waited for, so that no folder is ever open twice. */
static int open_entry(struct catalog *catalog, const struct config_collection *collection,
                      const char *name, bool claimed, struct store_shard **shard,
                      struct error *error)
{
    struct catalog_entry *entry;
    struct catalog_entry **place;
    bool found;

    pthread_mutex_lock(&catalog->lock);
    place = find(catalog, collection->name, name, &found);
    while (found && (*place)->leaving) {
        pthread_cond_wait(&catalog->released, &catalog->lock);
        place = find(catalog, collection->name, name, &found);
    }
    if (found) {
        (*place)->claimed |= claimed;
        *shard = (*place)->shard;
    }
    pthread_mutex_unlock(&catalog->lock);
    if (found)
        return 0;
    if (open_shard(catalog, collection, name, shard, error) != 0)
        return error->code;
    entry = calloc(1, sizeof(*entry));
    if (!entry || !(entry->name = strdup(name)))
        abort();
    entry->collection = collection;
    entry->shard = *shard;
    entry->claimed = claimed;
    pthread_mutex_lock(&catalog->lock);
    place = find(catalog, collection->name, name, &found);
    entry->next = *place;
    *place = entry;
    store_shard_set_ttl(*shard, collection->ttl_ms); /* a reload may have come while it opened */
    pthread_mutex_unlock(&catalog->lock);
    return 0;
}

int catalog_open_existing(struct catalog *catalog, const struct config *config, struct error *error)
{
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    for (size_t i = 0; i < config->collection_count && code == 0; i++) {
        const struct config_collection *collection = &config->collections[i];
        const char **names;
        size_t count;
        code = store_shard_list(catalog->store, collection->name, &arena, &names, &count, error);
        for (size_t j = 0; j < count && code == 0; j++) {
            struct store_shard *shard;
            code = open_entry(catalog, collection, names[j], false, &shard, error);
        }
    }
    arena_destroy(&arena);
    return code;
}

int catalog_claim(struct catalog *catalog, const struct config_collection *collection,
                  const char *name, struct store_shard **shard, struct error *error)
{
    return open_entry(catalog, collection, name, true, shard, error);
}

static void forget(struct catalog *catalog, struct catalog_entry *entry)
{
    struct catalog_entry **place = &catalog->entries;

    pthread_mutex_lock(&catalog->lock);
    while (*place != entry)
        place = &(*place)->next;
    *place = entry->next;
    pthread_cond_broadcast(&catalog->released);
    pthread_mutex_unlock(&catalog->lock);
    free(entry->name);
    free(entry);
}

/* Leaving entries get no new leases; those under way finish. */
static void close_entry(struct catalog *catalog, struct catalog_entry *entry, bool flush)
{
    struct error error = {0};

    pthread_mutex_lock(&catalog->lock);
    while (entry->leases > 0)
        pthread_cond_wait(&catalog->released, &catalog->lock);
    pthread_mutex_unlock(&catalog->lock);
    if (store_shard_close(entry->shard, flush, &error) != 0)
        log_error("windrow", "closing %s/%s: %s", entry->collection->name, entry->name, error.text);
    forget(catalog, entry);
}

static bool is_unclaimed(const struct catalog_entry *entry, const void *unused)
{
    (void)unused;
    return !entry->claimed;
}

static bool is_shard(const struct catalog_entry *entry, const void *shard)
{
    return entry->shard == shard;
}

static bool is_any(const struct catalog_entry *entry, const void *unused)
{
    (void)entry;
    (void)unused;
    return true;
}

static void close_matching(struct catalog *catalog, bool flush,
                           bool (*matches)(const struct catalog_entry *, const void *),
                           const void *context)
{
    for (;;) {
        struct catalog_entry *entry;
        pthread_mutex_lock(&catalog->lock);
        entry = catalog->entries;
        while (entry && (entry->leaving || !matches(entry, context)))
            entry = entry->next;
        if (entry) {
            entry->leaving = true;
            entry->closing = true;
        }
        pthread_mutex_unlock(&catalog->lock);
        if (!entry)
            return;
        close_entry(catalog, entry, flush);
    }
}

void catalog_close(struct catalog *catalog, struct store_shard *shard, bool flush)
{
    close_matching(catalog, flush, is_shard, shard);
}

int catalog_discard(struct catalog *catalog, struct store_shard *shard, struct error *error)
{
    char *collection = strdup(store_shard_collection(shard));
    char *name = strdup(store_shard_name(shard));
    int code;

    if (!collection || !name)
        abort();
    catalog_close(catalog, shard, false);
    code = store_shard_remove(catalog->store, collection, name, error);
    free(collection);
    free(name);
    return code;
}

void catalog_unclaim(struct catalog *catalog, struct store_shard *shard)
{
    pthread_mutex_lock(&catalog->lock);
    for (struct catalog_entry *entry = catalog->entries; entry; entry = entry->next)
        entry->claimed &= entry->shard != shard;
    pthread_mutex_unlock(&catalog->lock);
}

void catalog_close_unclaimed(struct catalog *catalog)
{
    close_matching(catalog, true, is_unclaimed, NULL);
}

void catalog_interrupt(struct catalog *catalog)
{
    pthread_mutex_lock(&catalog->lock);
    for (struct catalog_entry *entry = catalog->entries; entry; entry = entry->next)
        entry->closing = true;
    pthread_mutex_unlock(&catalog->lock);
}

void catalog_close_all(struct catalog *catalog, bool flush)
{
    close_matching(catalog, flush, is_any, NULL);
}

/* Under the lock. */
static struct indexer_shard_lease lease_of(struct catalog_entry *entry)
{
    entry->leases++;
    return (struct indexer_shard_lease){
        .shard = entry->shard, .closing = &entry->closing, .token = entry};
}

static bool is_wanted(const struct catalog_entry *entry, const char *collection)
{
    return !entry->leaving && (!collection || strcmp(entry->collection->name, collection) == 0);
}

size_t catalog_acquire(struct catalog *catalog, const char *collection, struct arena *arena,
                       struct indexer_shard_lease **leases)
{
    size_t count = 0;

    pthread_mutex_lock(&catalog->lock);
    for (struct catalog_entry *entry = catalog->entries; entry; entry = entry->next)
        count += is_wanted(entry, collection);
    *leases = arena_calloc(arena, count ? count : 1, sizeof(**leases));
    if (!*leases)
        abort();
    count = 0;
    for (struct catalog_entry *entry = catalog->entries; entry; entry = entry->next) {
        if (is_wanted(entry, collection))
            (*leases)[count++] = lease_of(entry);
    }
    pthread_mutex_unlock(&catalog->lock);
    return count;
}

static bool holds(struct store_shard *shard, const uint8_t *key, size_t key_bytes, int64_t now_ms)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    const struct store_source *source;
    uint32_t row;
    bool found = store_snapshot_find(snapshot, key, key_bytes, &source, &row, NULL) == 0;

    store_snapshot_release(snapshot);
    return found;
}

bool catalog_find_elsewhere(struct catalog *catalog, const struct config_collection *collection,
                            const struct store_shard *own, const uint8_t *key, size_t key_bytes,
                            int64_t now_ms, char *name, size_t name_bytes)
{
    struct indexer_shard_lease *leases;
    struct arena arena;
    bool found = false;
    size_t count;

    arena_create(&arena, 0);
    count = catalog_acquire(catalog, collection->name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        if (!found && leases[i].shard != own && holds(leases[i].shard, key, key_bytes, now_ms)) {
            snprintf(name, name_bytes, "%s", store_shard_name(leases[i].shard));
            found = true;
        }
        catalog_release(catalog, &leases[i]);
    }
    arena_destroy(&arena);
    return found;
}

bool catalog_acquire_next(struct catalog *catalog, struct catalog_position *position,
                          struct indexer_shard_lease *lease)
{
    struct catalog_entry *entry;

    pthread_mutex_lock(&catalog->lock);
    entry = catalog->entries;
    while (entry && (entry->leaving || compare(entry->collection->name, entry->name,
                                               position->collection, position->name) <= 0))
        entry = entry->next;
    if (entry) {
        *lease = lease_of(entry);
        snprintf(position->collection, sizeof(position->collection), "%s", entry->collection->name);
        snprintf(position->name, sizeof(position->name), "%s", entry->name);
    }
    pthread_mutex_unlock(&catalog->lock);
    return entry != NULL;
}

bool catalog_begin_maintain(struct catalog *catalog, int64_t before_ns,
                            struct indexer_shard_lease *lease)
{
    struct catalog_entry *longest = NULL;

    pthread_mutex_lock(&catalog->lock);
    for (struct catalog_entry *entry = catalog->entries; entry; entry = entry->next)
        if (!entry->leaving && !entry->maintaining && entry->maintained_ns < before_ns &&
            (!longest || entry->maintained_ns < longest->maintained_ns))
            longest = entry;
    if (longest) {
        longest->maintaining = true;
        *lease = lease_of(longest);
    }
    pthread_mutex_unlock(&catalog->lock);
    return longest != NULL;
}

void catalog_end_maintain(struct catalog *catalog, struct indexer_shard_lease *lease,
                          int64_t now_ns)
{
    struct catalog_entry *entry = lease->token;

    pthread_mutex_lock(&catalog->lock);
    entry->maintaining = false;
    entry->maintained_ns = now_ns;
    pthread_mutex_unlock(&catalog->lock);
    catalog_release(catalog, lease);
}

void catalog_release(struct catalog *catalog, struct indexer_shard_lease *lease)
{
    struct catalog_entry *entry = lease->token;

    pthread_mutex_lock(&catalog->lock);
    assert(entry->leases > 0);
    if (--entry->leases == 0)
        pthread_cond_broadcast(&catalog->released);
    pthread_mutex_unlock(&catalog->lock);
    lease->shard = NULL;
}

const struct config_collection *catalog_lease_collection(const struct indexer_shard_lease *lease)
{
    const struct catalog_entry *entry = lease->token;

    return entry->collection;
}
