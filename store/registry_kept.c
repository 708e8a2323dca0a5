/* Shards that this process gave back to its consumer group, or lost, and keeps open.
 *
 * Kafka takes a shard from one process before it gives it to the next one, and that one has to open or copy it and
 * to read what it lacks. When the broker dies that coordinates the groups, those of all replica sets do so at the
 * same time. So whoever had the shard answers on, as complete as it was, and writes nothing: no record is stored,
 * no segment is built. Its offset and its watermark stand still, which every answer shows.
 *
 *     claimed --hand_over--> kept --claim--> claimed     it came back, without being opened or copied again
 *                              |
 *                              +--> behind --> closed
 *
 * kept      Answers. Who asks for an offset that it does not have is not kept waiting: it will not come here.
 * behind    Does not answer where somebody else does, and is named as missing elsewhere. From the moment at which
 *           another process of the group was heard that answers for it in a newer generation: of two claims the
 *           newer one wins. Or at the word of the program, when others have gone on without it
 *           (windrow/daemon/drain.c). It stays so when it comes back, until its owner has read what it lacks:
 *           points that others have shown by then must not vanish. For the same reason what comes back is behind
 *           when others could not be heard meanwhile (NATS was cut off), unless it comes back in the very next
 *           generation: nobody has it between two. A cut is noticed within two seconds; what moves there and
 *           back in less is not.
 * closed    By the program: another process has it up to the same offset; or nobody was heard for a while who
 *           will have it (`awaited_ns`), so that a copy does not stay for ever as if it were the newest.
 *
 * While a copy of the shard comes to this process, nothing is claimed yet: it keeps what it has, and its
 * announcements say that it will have the shard (store_registry_set_coming), so that others do, too.
 *
 * The next owner may begin with older data than this copy, or none. It answers only when it has read what Kafka had
 * when the shard came to it, and that is more than anybody had read before. */
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "store/lease.h"
#include "store/listen.h"
#include "store/registry_internal.h"
#include "store/shard.h"

/* Longer than Kafka's session (45 s by default): within it a dead owner's shard has another one. */
#define FORSAKEN_NS INT64_C(60000000000)

#define DEAF_NS INT64_C(2000000000) /* processes announce themselves once a second */

static bool is_deaf(const struct store_registry *registry)
{
    const int64_t heard_ns = registry->trust.heard_ns;

    return heard_ns != 0 && io_monotonic_ns(registry->options.store->io) - heard_ns > DEAF_NS;
}

void store_registry_note_hearing(struct store_registry *registry, uint64_t pauses)
{
    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    if (pauses == registry->trust.pauses) {
        if (is_deaf(registry))
            for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
                entry->unheard |= entry->handed_over;
        registry->trust.heard_ns = io_monotonic_ns(registry->options.store->io);
        registry_end_absence(registry);
    }
    pthread_mutex_unlock(&registry->lock);
}

bool registry_may_have_missed(const struct store_registry *registry,
                              const struct registry_entry *entry)
{
    const int32_t former = entry->ownership.generation, next = registry->trust.ownership.generation;

    return (entry->unheard || is_deaf(registry)) &&
           (former == 0 || (next != former && next != former + 1));
}

void store_registry_hand_over(struct store_registry *registry, struct store_shard *shard)
{
    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        if (entry->shard == shard) {
            entry->claimed = false;
            entry->handed_over = true;
            entry->unheard = false;
            entry->handed_over_ns = entry->awaited_ns =
                io_monotonic_ns(registry->options.store->io);
            entry->behind |= registry->trust.doubtful;
            store_shard_set_still(shard, true);
        }
    registry_tell_changed(registry);
    pthread_mutex_unlock(&registry->lock);
}

void registry_end_hand_over(struct store_registry *registry, struct registry_entry *entry)
{
    if (!entry->handed_over)
        return;
    entry->handed_over = false;
    store_shard_set_still(entry->shard, false);
    atomic_fetch_add(&registry->opened, 1);
    store_registry_wake_waits(registry);
}

void registry_note_next(struct store_registry *registry, struct registry_entry *entry, bool serves)
{
    entry->awaited_ns = io_monotonic_ns(registry->options.store->io);
    if (!serves || entry->behind)
        return;
    entry->behind = true;
    log_info("store", "%s/%s: another process answers for it by now", entry->collection->name,
             entry->name);
    registry_tell_changed(registry);
}

bool store_lease_is_forsaken(const struct store_lease *lease, int64_t now_ns, int64_t settled_ns)
{
    int64_t since_ns = lease->awaited_ns > settled_ns ? lease->awaited_ns : settled_ns;

    return lease->handed_over && now_ns - since_ns > FORSAKEN_NS;
}

static struct registry_coming **find_coming(struct store_registry *registry, const char *collection,
                                            const char *name)
{
    struct registry_coming **place = &registry->coming;

    while (*place &&
           (strcmp((*place)->collection, collection) != 0 || strcmp((*place)->name, name) != 0))
        place = &(*place)->next;
    return place;
}

bool registry_is_coming(const struct store_registry *registry, const char *collection,
                        const char *name)
{
    for (const struct registry_coming *at = registry->coming; at; at = at->next)
        if (strcmp(at->collection, collection) == 0 && strcmp(at->name, name) == 0)
            return true;
    return false;
}

void store_registry_set_coming(struct store_registry *registry, const char *collection,
                               const char *name, bool coming)
{
    struct registry_coming **place, *found;

    pthread_mutex_lock(&registry->lock);
    place = find_coming(registry, collection, name);
    found = *place;
    if (coming && !found) {
        *place = memory_new(1, sizeof(**place));
        (*place)->collection = memory_checked(strdup(collection));
        (*place)->name = memory_checked(strdup(name));
    } else if (!coming && found) {
        *place = found->next;
        free(found->collection);
        free(found->name);
        free(found);
    }
    registry_tell_changed(registry);
    pthread_mutex_unlock(&registry->lock);
}

size_t store_registry_coming(struct store_registry *registry, const char *collection,
                             struct arena *arena, const char ***names, int32_t *generation)
{
    size_t count = 0;

    pthread_mutex_lock(&registry->lock);
    for (const struct registry_coming *at = registry->coming; at; at = at->next)
        count++;
    *names = memory_checked(arena_calloc(arena, count + 1, sizeof(**names)));
    count = 0;
    for (const struct registry_coming *at = registry->coming; at; at = at->next)
        if (strcmp(at->collection, collection) == 0)
            (*names)[count++] = arena_copy(arena, at->name, strlen(at->name));
    *generation = registry->trust.ownership.generation;
    pthread_mutex_unlock(&registry->lock);
    return count;
}
