/* Whether what is open here is behind what other processes have of it.
 *
 * Replica sets read a partition each for itself. One of them is held by an operator, stops, or reads slowly, and the
 * others go on: what it has is right and old. Others announce how far they are, about once a second, and each process
 * judges its own copies by that:
 *
 *     late      another process that is heard has more, and this one is behind by more records than are tolerated, or
 *               has lacked some of them for longer than is tolerated, or reads no further
 *     stopped   its partition stopped: it lacks whatever Kafka has got since
 *
 * Such a copy is announced as one, asked last, and answers say what it lacks. It says so of itself, because it alone knows
 * how far it is now: the others have its last announcement.
 *
 * A copy that is a moment behind at every moment is not late: the mark is an offset that others had, and moves when it
 * was reached here. What others got while this process stood still (registry_ownership.c) counts as lacked since then. */
#include "store/append.h"
#include "store/registry_internal.h"
#include "store/shard.h"

void store_registry_watch_others(struct store_registry *registry, int64_t fresh_records,
                                 int64_t fresh_ns)
{
    pthread_mutex_lock(&registry->lock);
    registry->fresh_records = fresh_records;
    registry->fresh_ns = fresh_ns;
    pthread_mutex_unlock(&registry->lock);
}

static int64_t own_offset(const struct registry_entry *entry)
{
    int64_t offset = entry->shard ? store_shard_next_offset(entry->shard) : 0;

    return offset < 0 ? 0 : offset;
}

void store_registry_note_others(struct store_registry *registry, const char *collection,
                                const char *name, int64_t next_offset, int64_t until_ns)
{
    struct registry_entry *entry;
    int64_t now_ns;

    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    now_ns = io_monotonic_ns(registry->options.store->io);
    entry = registry_find_entry(registry, collection, name);
    if (entry && (next_offset >= entry->others_offset || now_ns >= entry->others_until_ns)) {
        entry->others_offset = next_offset;
        entry->others_until_ns = until_ns;
    }
    if (entry && own_offset(entry) >= entry->mark_offset) {
        entry->mark_offset = next_offset;
        entry->mark_ns = registry_is_absent(registry) ? registry->trust.absent_ns : now_ns;
    }
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_set_reading(struct store_registry *registry, const char *collection,
                                const char *name, enum store_reading reading)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    entry = registry_find_entry(registry, collection, name);
    if (entry && entry->reading != reading) {
        entry->reading = reading;
        registry_tell_changed(registry);
    }
    pthread_mutex_unlock(&registry->lock);
}

/* Under the lock. */
bool registry_is_late(const struct store_registry *registry, const struct registry_entry *entry)
{
    const int64_t own = own_offset(entry);
    int64_t now_ns;

    if (entry->others_offset <= own) /* each request asks: the clock last */
        return false;
    now_ns = io_monotonic_ns(registry->options.store->io);
    if (now_ns >= entry->others_until_ns)
        return false;
    return entry->reading != STORE_READING ||
           entry->others_offset - own > registry->fresh_records ||
           (entry->mark_offset > own && now_ns - entry->mark_ns > registry->fresh_ns);
}

/* Under the lock. */
int64_t registry_known_offset(const struct store_registry *registry,
                              const struct registry_entry *entry)
{
    int64_t known = entry->end_offset;

    if (entry->others_offset > known &&
        io_monotonic_ns(registry->options.store->io) < entry->others_until_ns)
        known = entry->others_offset;
    return known > own_offset(entry) ? known : own_offset(entry);
}
