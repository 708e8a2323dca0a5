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
 * searched. A lease needs no lock: it is a count that keeps the entry and its shard. */
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
#include "store/events.h"
#include "store/install.h"
#include "store/listen.h"
#include "store/registry_internal.h"
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
    while (registry->expectations) {
        struct registry_expectation *next = registry->expectations->next;
        registry_expectation_free(registry->expectations);
        registry->expectations = next;
    }
    pthread_mutex_destroy(&registry->listen_lock);
    pthread_mutex_destroy(&registry->lock);
    pthread_cond_destroy(&registry->released);
    free(registry);
}

static struct store_shard_options shard_options(const struct store_registry *registry,
                                                const struct config_collection *collection,
                                                const char *name)
{
    return (struct store_shard_options){
        .collection = collection->name,
        .name = name,
        .dim = collection->dim,
        .metric = collection->metric,
        .window_ms = collection->window_ms,
        .ttl_ms = collection->ttl_ms,
        .level0_files_max = registry->options.level0_files_max,
        .durability = collection->durability == CONFIG_DURABILITY_KAFKA ? STORE_DURABILITY_KAFKA
                                                                        : STORE_DURABILITY_LOG,
        .codec = collection->storage != VECTOR_CODEC_RAW ? collection->storage : collection->codec,
        .storage_recall = collection->recall,
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
static struct registry_entry **find(struct store_registry *registry, const char *collection,
                                    const char *name, bool *found)
{
    struct registry_entry **place = &registry->entries;

    *found = false;
    for (; *place; place = &(*place)->next) {
        int order = compare((*place)->collection->name, (*place)->name, collection, name);
        *found = order == 0;
        if (order >= 0)
            break;
    }
    return place;
}

struct registry_entry *registry_find_entry(struct store_registry *registry, const char *collection,
                                           const char *name)
{
    bool found;
    struct registry_entry *entry = *find(registry, collection, name, &found);

    return found && !entry->leaving ? entry : NULL;
}

static int open_shard(struct store_registry *registry, const struct config_collection *collection,
                      const char *name, struct store_shard **shard, struct error *error)
{
    struct store_shard_options options = shard_options(registry, collection, name);

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

static void tell_opened(struct store_registry *registry, const struct registry_entry *entry)
{
    pthread_mutex_lock(&registry->listen_lock);
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->opened)
            at->opened(at->context, entry->shard, entry->collection);
    pthread_mutex_unlock(&registry->listen_lock);
}

static void tell_closing(struct store_registry *registry, const struct registry_entry *entry)
{
    pthread_mutex_lock(&registry->listen_lock);
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->closing)
            at->closing(at->context, entry->shard);
    pthread_mutex_unlock(&registry->listen_lock);
}

static void give_back(struct store_registry *registry, struct registry_entry *entry)
{
    pthread_mutex_lock(&registry->lock);
    assert(entry->leases > 0);
    if (--entry->leases == 0)
        pthread_cond_broadcast(&registry->released);
    pthread_mutex_unlock(&registry->lock);
}

void registry_tell_changed(struct store_registry *registry)
{
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->changed)
            at->changed(at->context);
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
    place = find(registry, collection->name, name, &found);
    while (found && (*place)->leaving) {
        pthread_cond_wait(&registry->released, &registry->lock);
        place = find(registry, collection->name, name, &found);
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
    place = find(registry, collection->name, name, &found);
    entry->next = *place;
    *place = entry;
    store_shard_set_ttl(*shard, collection->ttl_ms); /* a reload may have come while it opened */
    claim(registry, entry, claimed);
    pthread_mutex_unlock(&registry->lock);
    atomic_fetch_add(&registry->opened, 1);
    store_registry_wake_waits(registry);
    tell_opened(registry, entry);
    give_back(registry, entry);
    return 0;
}

int store_registry_open_existing(struct store_registry *registry, const struct config *config,
                                 struct error *error)
{
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    for (size_t i = 0; i < config->collection_count && code == 0; i++) {
        const struct config_collection *collection = &config->collections[i];
        const char **names;
        size_t count;
        code = store_shard_list(registry->options.store, collection->name, &arena, &names, &count,
                                error);
        for (size_t j = 0; j < count && code == 0; j++) {
            struct store_shard *shard;
            code = open_entry(registry, collection, names[j], false, &shard, error);
        }
    }
    arena_destroy(&arena);
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
    struct registry_entry **place;
    bool found;
    int code;

    entry->name = memory_checked(strdup(name));
    entry->collection = collection;
    entry->leaving = true;
    pthread_mutex_lock(&registry->lock);
    place = find(registry, collection->name, name, &found);
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
    code = store_shard_remove(registry->options.store, collection->name, name, error);
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
    tell_closing(registry, entry);
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
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->leaving)
            at->leaving(at->context, entry->shard);
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
    char *name = strdup(store_shard_name(shard));
    int code;

    if (!collection || !name)
        abort();
    store_registry_close(registry, shard, false);
    code = store_shard_remove(registry->options.store, collection, name, error);
    free(collection);
    free(name);
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
    bool found = true;
    int code;

    if (store_registry_acquire_shard(registry, collection->name, name, &lease)) {
        shard = lease.shard;
        store_registry_release(registry, &lease);
        store_registry_close(registry, shard, false);
    }
    pthread_mutex_lock(&registry->lock);
    while ((void)find(registry, collection->name, name, &found), found)
        pthread_cond_wait(&registry->released, &registry->lock);
    pthread_mutex_unlock(&registry->lock);
    code = store_shard_install(store, folder, collection->name, name, error);
    if (code == 0)
        code = store_registry_claim(registry, collection, name, &shard, error);
    if (code == 0)
        (void)store_folder_remove(store->io, folder,
                                  ERROR_IGNORED); /* the next start removes what is left */
    else if (store_shard_uninstall(store, folder, collection->name, name, &failed) != 0)
        return error_wrap(error, "%s/%s: what was here before cannot be put back (%s)",
                          collection->name, name, failed.text);
    return code;
}

bool store_registry_in_use(struct store_registry *registry, const char *collection)
{
    bool in_use = false;

    pthread_mutex_lock(&registry->lock);
    for (const struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        in_use |= (entry->claimed || entry->handed_over || entry->leaving) &&
                  strcmp(entry->collection->name, collection) == 0;
    pthread_mutex_unlock(&registry->lock);
    return in_use;
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

void store_registry_listen(struct store_registry *registry,
                           struct store_registry_listener *listener)
{
    pthread_mutex_lock(&registry->listen_lock);
    pthread_mutex_lock(&registry->lock);
    listener->next = registry->listeners;
    registry->listeners = listener;
    pthread_mutex_unlock(&registry->lock);
    pthread_mutex_unlock(&registry->listen_lock);
}

void store_registry_unlisten(struct store_registry *registry,
                             struct store_registry_listener *listener)
{
    struct store_registry_listener **place;

    pthread_mutex_lock(&registry->listen_lock);
    pthread_mutex_lock(&registry->lock);
    for (place = &registry->listeners; *place != listener; place = &(*place)->next)
        ;
    *place = listener->next;
    pthread_mutex_unlock(&registry->lock);
    pthread_mutex_unlock(&registry->listen_lock);
}

void store_registry_close_all(struct store_registry *registry, bool flush)
{
    close_matching(registry, flush, is_any, NULL);
}

/* Under the lock. */
static struct store_lease lease_of(struct store_registry *registry, struct registry_entry *entry)
{
    bool fenced = registry_is_fenced(registry, entry);
    bool doubtful = entry->claimed && registry->trust.doubtful;
    bool coming =
        registry->coming && registry_is_coming(registry, entry->collection->name, entry->name);

    entry->leases++;
    return (struct store_lease){
        .shard = entry->shard,
        .closing = &entry->closing,
        .broken_off = &entry->broken_off,
        .token = entry,
        .behind = entry->behind || fenced || doubtful || (!entry->claimed && !entry->handed_over),
        .claimed = entry->claimed,
        .fenced = fenced,
        .doubtful = doubtful,
        .handed_over = entry->handed_over,
        .handed_over_ns = entry->handed_over_ns,
        .awaited_ns = coming ? io_monotonic_ns(registry->options.store->io) : entry->awaited_ns,
        .generation = entry->ownership.generation,
        .end_offset = entry->end_offset};
}

static bool is_wanted(const struct registry_entry *entry, const char *collection)
{
    return !entry->leaving && (!collection || strcmp(entry->collection->name, collection) == 0);
}

/* Under the lock. */
static size_t lease_all(struct store_registry *registry, const char *collection,
                        struct arena *arena, struct store_lease **leases)
{
    size_t count = 0;

    registry_notice_pause(registry);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        count += is_wanted(entry, collection);
    *leases = arena_calloc(arena, count ? count : 1, sizeof(**leases));
    if (!*leases)
        abort();
    count = 0;
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next) {
        if (is_wanted(entry, collection))
            (*leases)[count++] = lease_of(registry, entry);
    }
    return count;
}

size_t store_registry_acquire(struct store_registry *registry, const char *collection,
                              struct arena *arena, struct store_lease **leases)
{
    size_t count;

    pthread_mutex_lock(&registry->lock);
    count = lease_all(registry, collection, arena, leases);
    pthread_mutex_unlock(&registry->lock);
    return count;
}

/* Under the lock. Every search comes here: entries and expected shards have one order, so that one
 * walk over both tells which are missing. */
static void cover(struct store_registry *registry, const char *collection, struct arena *arena,
                  struct store_coverage *coverage)
{
    const struct registry_expectation *expectation =
        *registry_expectation_find(&registry->expectations, collection);
    const struct registry_entry *entry = registry->entries;

    *coverage = (struct store_coverage){.elsewhere = registry->options.owns_none,
                                        .known = !registry->options.expects_shards || expectation};
    for (size_t i = 0; expectation && i < expectation->count; i++) {
        const struct store_expected_shard *shard = &expectation->shards[i];
        int order = -1;
        while (entry &&
               (order = compare(entry->collection->name, entry->name, collection, shard->name)) < 0)
            entry = entry->next;
        if (entry && order == 0 && !entry->leaving)
            continue;
        if (!coverage->missing) {
            coverage->missing =
                memory_checked(arena_calloc(arena, expectation->count, sizeof(char *)));
            coverage->missing_names =
                memory_checked(arena_calloc(arena, expectation->count, sizeof(char *)));
        }
        coverage->missing_names[coverage->missing_count] =
            arena_copy(arena, shard->name, strlen(shard->name));
        coverage->missing[coverage->missing_count++] =
            arena_copy(arena, shard->label, strlen(shard->label));
    }
}

size_t store_registry_acquire_covered(struct store_registry *registry, const char *collection,
                                      struct arena *arena, struct store_lease **leases,
                                      struct store_coverage *coverage)
{
    size_t count;

    pthread_mutex_lock(&registry->lock);
    count = lease_all(registry, collection, arena, leases);
    cover(registry, collection, arena, coverage);
    pthread_mutex_unlock(&registry->lock);
    return count;
}

void store_registry_coverage(struct store_registry *registry, const char *collection,
                             struct arena *arena, struct store_coverage *coverage)
{
    pthread_mutex_lock(&registry->lock);
    cover(registry, collection, arena, coverage);
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_expect(struct store_registry *registry, const char *collection,
                           const struct store_expected_shard *shards, size_t count)
{
    struct registry_expectation *fresh = registry_expectation_new(collection, shards, count);
    struct registry_expectation **place;
    struct registry_expectation *former;

    pthread_mutex_lock(&registry->lock);
    place = registry_expectation_find(&registry->expectations, collection);
    former = *place;
    fresh->next = former ? former->next : NULL;
    *place = fresh;
    pthread_mutex_unlock(&registry->lock);
    if (former)
        registry_expectation_free(former);
}

void store_registry_set_behind(struct store_registry *registry, const char *collection,
                               const char *name, bool behind)
{
    pthread_mutex_lock(&registry->lock);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        if (!entry->leaving && entry->behind != behind &&
            compare(entry->collection->name, entry->name, collection, name) == 0) {
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

size_t store_registry_expected(struct store_registry *registry, const char *collection,
                               struct arena *arena, struct store_expected_shard **shards)
{
    const struct registry_expectation *expectation;
    size_t count;

    pthread_mutex_lock(&registry->lock);
    expectation = *registry_expectation_find(&registry->expectations, collection);
    count = expectation ? expectation->count : 0;
    *shards = memory_checked(arena_calloc(arena, count + 1, sizeof(**shards)));
    for (size_t i = 0; i < count; i++) {
        const struct store_expected_shard *shard = &expectation->shards[i];
        (*shards)[i].name = arena_copy(arena, shard->name, strlen(shard->name));
        (*shards)[i].label = arena_copy(arena, shard->label, strlen(shard->label));
    }
    pthread_mutex_unlock(&registry->lock);
    return count;
}

bool store_registry_acquire_shard(struct store_registry *registry, const char *collection,
                                  const char *name, struct store_lease *lease)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    entry = registry_find_entry(registry, collection, name);
    if (entry)
        *lease = lease_of(registry, entry);
    pthread_mutex_unlock(&registry->lock);
    return entry != NULL;
}

bool store_registry_acquire_next(struct store_registry *registry,
                                 struct store_registry_position *position,
                                 struct store_lease *lease)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    entry = registry->entries;
    while (entry && (entry->leaving || compare(entry->collection->name, entry->name,
                                               position->collection, position->name) <= 0))
        entry = entry->next;
    if (entry) {
        *lease = lease_of(registry, entry);
        snprintf(position->collection, sizeof(position->collection), "%s", entry->collection->name);
        snprintf(position->name, sizeof(position->name), "%s", entry->name);
    }
    pthread_mutex_unlock(&registry->lock);
    return entry != NULL;
}

void store_registry_release(struct store_registry *registry, struct store_lease *lease)
{
    give_back(registry, lease->token);
    lease->shard = NULL;
}

const struct config_collection *store_lease_collection(const struct store_lease *lease)
{
    const struct registry_entry *entry = lease->token;

    return entry->collection;
}

/* Waits for a shard that is not open here cannot sleep on its store_shard_wait_visible. They sleep
 * until some shard was opened, then look again: openings are rare. */
struct opening {
    const struct store_registry *registry;
    uint64_t seen;
};

static bool has_opened(const void *context)
{
    const struct opening *opening = context;

    return atomic_load(&opening->registry->opened) != opening->seen;
}

int store_registry_wait_visible(struct store_registry *registry, const char *collection,
                                const char *name, int64_t offset, bool while_open,
                                int64_t deadline_ns, const atomic_bool *cancel, struct error *error)
{
    struct store *store = registry->options.store;

    for (;;) {
        struct opening opening = {registry, atomic_load(&registry->opened)};
        struct store_lease lease;
        int code;
        if (store_registry_acquire_shard(registry, collection, name, &lease)) {
            code = store_shard_wait_visible(lease.shard, offset, deadline_ns, cancel, error);
            store_registry_release(registry, &lease);
            if (code != ERROR_CANCELLED || (cancel && atomic_load(cancel)))
                return code;
        }
        if (while_open)
            return error_set(error, ERROR_NOT_FOUND, "shard %s is not open here", name);
        /* Not open here, or about to close: it may be opened (again). */
        code = events_wait(&store->events, has_opened, &opening, deadline_ns, cancel, error);
        if (code != 0)
            return code;
    }
}

int store_registry_wait_opened(struct store_registry *registry, int64_t deadline_ns,
                               const atomic_bool *cancel, struct error *error)
{
    const struct opening opening = {registry, atomic_load(&registry->opened)};

    return events_wait(&registry->options.store->events, has_opened, &opening, deadline_ns, cancel,
                       error);
}

void store_registry_wake_waits(struct store_registry *registry)
{
    store_wake_waits(registry->options.store);
}
