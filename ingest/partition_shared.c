/* What other threads see of a partition, and what the registry of shards is told of it. Under the list's lock. */
#include "ingest/partition.h"
#include "store/registry.h"

int64_t partition_lag(const struct partition *partition)
{
    const struct partition_shared *shared = &partition->shared;
    int64_t from = shared->next_offset;

    if (shared->end_offset < 0)
        return -1;
    if (from < 0)
        from = shared->begin_offset < 0 ? 0 : shared->begin_offset;
    return shared->end_offset > from ? shared->end_offset - from : 0;
}

static enum store_reading reading_of(enum partition_state state)
{
    if (state == PARTITION_STOPPED)
        return STORE_STOPPED;
    return state == PARTITION_HELD_BY_OPERATOR || state == PARTITION_WAITING_CLOCK ? STORE_HELD
                                                                                   : STORE_READING;
}

/* A stopped or held partition, or one that waits for the clock, is for an operator: /status and a
 * metric show it, and the others must go on serving. */
bool partition_caught_up(const struct partition *partition)
{
    const struct partition_shared *shared = &partition->shared;

    if (shared->state == PARTITION_FETCHING)
        return false;
    if (reading_of(shared->state) != STORE_READING)
        return true;
    return shared->target_offset >= 0 &&
           (shared->next_offset >= shared->target_offset ||
            (shared->next_offset < 0 && shared->begin_offset >= shared->target_offset));
}

void partition_tell_behind(struct partition *partition)
{
    bool behind = !partition_caught_up(partition);
    /* What finds no room lacks the records that it could not store. */
    enum store_reading reading =
        partition->shared.full ? STORE_STOPPED : reading_of(partition->shared.state);

    if (reading != partition->shared.reading)
        store_registry_set_reading(partition->context->registry, partition->name.collection->name,
                                   partition->name.shard, reading);
    partition->shared.reading = reading;
    if (behind == partition->shared.behind)
        return;
    partition->shared.behind = behind;
    store_registry_set_behind(partition->context->registry, partition->name.collection->name,
                              partition->name.shard, behind);
}
