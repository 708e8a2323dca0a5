/* Whether this process still owns what it has claimed.
 *
 * Kafka's group protocol gives each shard to one process of a consumer group, in a generation that
 * grows with each assignment. It takes a shard from a process that was silent for a session. That
 * process learns of it from the broker, but not at once. Three things keep it from answering meanwhile:
 *
 *     fenced    another process of the group was heard that claims the shard in a newer generation.
 *               This ends when that claim was not heard again in time, or with a newer assignment
 *     doubt     nothing in this process ran for as long as a session may take to end (SIGSTOP, a
 *               machine that slept). Whoever looks first notices, and no claim counts until the
 *               consumer has heard from Kafka that the group still knows this process
 *     absence   it stood still for longer than what others say of a shard counts, which a session may outlast:
 *               nobody took its shards, but others who have them, too, went on without it. Nothing here counts until
 *               others were heard, or could have been for that long again: who has come meanwhile is not known either
 *
 * The race of both: the answer of Kafka, or the word of others, may be older than another pause. So pauses have
 * numbers, ending a doubt or an absence names the number, and looking for a pause comes first. An announcement carries
 * the number, and what this process hears of itself came behind what others had said before (cluster/members.c).
 *
 * A request may have been under way during the pause, and what it read is older than it. Who answers compares the number
 * of pauses with the one before it began (indexer/query/view.c), and begins anew.
 *
 * What this process gave up or lost answers on as it was until the next owner does (registry_kept.c), but not behind
 * a pause: that owner may have had it for long.
 *
 * Either way the shard counts as one that lacks records (`behind` of its leases): others are asked,
 * and without others it is missing in the answer. What a superseded process writes does no harm: it
 * writes its own folder only, and there what Kafka has at those offsets. */
#include <assert.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/registry_internal.h"
#include "store/shard.h"

bool registry_is_absent(const struct store_registry *registry)
{
    return registry->trust.absent_until_ns != 0 &&
           io_monotonic_ns(registry->options.store->io) < registry->trust.absent_until_ns;
}

void registry_end_absence(struct store_registry *registry)
{
    if (registry->trust.absent_until_ns == 0)
        return;
    registry->trust.absent_until_ns = 0;
    registry_tell_changed(registry);
}

/* Silence during the pause says nothing: what counted when it began counts on. Its limit is a time of the monotonic clock,
 * which stood still, too, if the machine slept. */
static void begin_absence(struct store_registry *registry, int64_t now_ns, int64_t began_ns,
                          int64_t paused_ns)
{
    struct registry_trust *trust = &registry->trust;
    const int64_t elapsed_ns = now_ns - began_ns;

    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        if (entry->rival_until_ns > began_ns && entry->rival_until_ns < INT64_MAX - elapsed_ns)
            entry->rival_until_ns += elapsed_ns;
    if (trust->absent_until_ns <= began_ns)
        trust->absent_ns = now_ns - paused_ns;
    trust->absent_until_ns = now_ns + trust->absence_limit_ns;
}

static void begin_doubt(struct store_registry *registry, int64_t paused_ns)
{
    log_warning("store",
                "this process stood still for %.1f s: other processes may have its shards by now. "
                "They count as missing here until Kafka says that they are ours",
                (double)paused_ns / 1e9);
    registry->trust.doubts++;
    registry->trust.doubtful = true;
    /* Their next owners have gone on meanwhile. */
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        entry->behind |= entry->handed_over;
}

static bool is_longer(int64_t paused_ns, int64_t limit_ns)
{
    return limit_ns != 0 && paused_ns > limit_ns;
}

void registry_notice_pause(struct store_registry *registry)
{
    struct registry_trust *trust = &registry->trust;
    struct io *io = registry->options.store->io;
    int64_t now_ns, wall_ms, paused_ns, began_ns = trust->seen_ns;
    bool absent, doubtful;

    if (trust->pause_limit_ns == 0 && trust->absence_limit_ns == 0)
        return;
    now_ns = io_monotonic_ns(io);
    wall_ms = io_wall_ms(io);
    paused_ns = now_ns - began_ns;
    /* A machine that sleeps does not count as time on the monotonic clock. */
    if ((wall_ms - trust->seen_wall_ms) * 1000000 > paused_ns)
        paused_ns = (wall_ms - trust->seen_wall_ms) * 1000000;
    trust->seen_ns = now_ns;
    trust->seen_wall_ms = wall_ms;
    absent = is_longer(paused_ns, trust->absence_limit_ns);
    doubtful = is_longer(paused_ns, trust->pause_limit_ns);
    if (!absent && !doubtful)
        return;
    trust->pauses++;
    if (absent)
        begin_absence(registry, now_ns, began_ns, paused_ns);
    if (doubtful)
        begin_doubt(registry, paused_ns);
    else
        log_info("store",
                 "nothing in this process ran for %.1f s: others may have gone on. Its shards are "
                 "unconfirmed until they are heard",
                 (double)paused_ns / 1e9);
    registry_tell_changed(registry);
}

bool registry_is_fenced(const struct store_registry *registry, const struct registry_entry *entry)
{
    return entry->rival_generation > entry->ownership.generation && entry->claimed &&
           io_monotonic_ns(registry->options.store->io) < entry->rival_until_ns;
}

void registry_own(struct store_registry *registry, struct registry_entry *entry)
{
    if (registry->trust.ownership.generation == 0)
        return;
    entry->ownership = registry->trust.ownership;
    store_shard_set_ownership(entry->shard, entry->ownership);
}

void store_registry_set_ownership(struct store_registry *registry, struct store_ownership ownership)
{
    pthread_mutex_lock(&registry->lock);
    registry->trust.ownership = ownership;
    for (struct registry_entry *entry = registry->entries; entry; entry = entry->next)
        if (entry->claimed && !entry->leaving)
            registry_own(registry, entry);
    registry_tell_changed(registry);
    pthread_mutex_unlock(&registry->lock);
}

/* Under the lock. */
static void fence(struct store_registry *registry, struct registry_entry *entry, int32_t generation,
                  int64_t until_ns)
{
    bool was_fenced = registry_is_fenced(registry, entry);

    if (generation > entry->rival_generation || !was_fenced)
        entry->rival_generation = generation;
    if (generation == entry->rival_generation)
        entry->rival_until_ns = until_ns;
    if (was_fenced)
        return;
    log_warning("store",
                "%s/%s is fenced: another process has it in generation %d of the consumer "
                "group, this one in generation %d",
                entry->collection->name, entry->name, generation, entry->ownership.generation);
    registry_tell_changed(registry);
}

void store_registry_note_rival(struct store_registry *registry, const char *collection,
                               const char *name, int32_t generation, bool serves, int64_t until_ns)
{
    struct registry_entry *entry;

    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    entry = registry_find_entry(registry, collection, name);
    if (entry && entry->ownership.generation != 0 && generation > entry->ownership.generation) {
        if (entry->claimed)
            fence(registry, entry, generation, until_ns);
        else if (entry->handed_over)
            registry_note_next(registry, entry, serves);
    }
    pthread_mutex_unlock(&registry->lock);
}

/* Under the lock, before a limit changes: what was before is judged by the limits that there were. */
static void begin_watch(struct store_registry *registry)
{
    struct registry_trust *trust = &registry->trust;

    registry_notice_pause(registry);
    trust->seen_ns = io_monotonic_ns(registry->options.store->io);
    trust->seen_wall_ms = io_wall_ms(registry->options.store->io);
}

void store_registry_watch_pauses(struct store_registry *registry, int64_t limit_ns)
{
    struct registry_trust *trust = &registry->trust;

    assert(limit_ns > 0);
    pthread_mutex_lock(&registry->lock);
    begin_watch(registry);
    trust->pause_limit_ns = limit_ns;
    pthread_mutex_unlock(&registry->lock);
}

void store_registry_watch_absence(struct store_registry *registry, int64_t limit_ns)
{
    assert(limit_ns > 0);
    pthread_mutex_lock(&registry->lock);
    begin_watch(registry);
    registry->trust.absence_limit_ns = limit_ns;
    pthread_mutex_unlock(&registry->lock);
}

uint64_t store_registry_pauses(struct store_registry *registry)
{
    uint64_t pauses;

    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    pauses = registry->trust.pauses;
    pthread_mutex_unlock(&registry->lock);
    return pauses;
}

uint64_t store_registry_doubt(struct store_registry *registry)
{
    uint64_t doubt;

    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    doubt = registry->trust.doubtful ? registry->trust.doubts : 0;
    pthread_mutex_unlock(&registry->lock);
    return doubt;
}

void store_registry_end_doubt(struct store_registry *registry, uint64_t doubt)
{
    pthread_mutex_lock(&registry->lock);
    registry_notice_pause(registry);
    if (registry->trust.doubtful && registry->trust.doubts == doubt) {
        registry->trust.doubtful = false;
        log_info("store", "Kafka says that the shards of this process are still its own");
        registry_tell_changed(registry);
    }
    pthread_mutex_unlock(&registry->lock);
}
