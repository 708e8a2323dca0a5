/* Why the last records that Kafka had were not stored: who wrote one waits for its offset, and would
 * take a visible offset for a stored record. In memory only; a ring per shard, made when something is
 * refused. */
#include <stdlib.h>

#include "base/memory.h"
#include "store/shard.h"

void refusals_note(struct store_shard *shard, const struct store_group *group)
{
    struct shard_refusals *refusals = &shard->refusals;

    if (group->refusal_count == 0)
        return;
    pthread_mutex_lock(&refusals->lock);
    if (!refusals->ring)
        refusals->ring = memory_new(STORE_REFUSALS_MAX, sizeof(*refusals->ring));
    for (size_t i = 0; i < group->refusal_count; i++)
        refusals->ring[refusals->count++ % STORE_REFUSALS_MAX] = group->refusals[i];
    pthread_mutex_unlock(&refusals->lock);
}

const char *store_shard_refusal(struct store_shard *shard, int64_t offset)
{
    struct shard_refusals *refusals = &shard->refusals;
    const char *reason = NULL;
    size_t kept;

    pthread_mutex_lock(&refusals->lock);
    kept = refusals->count < STORE_REFUSALS_MAX ? refusals->count : STORE_REFUSALS_MAX;
    for (size_t i = 1; i <= kept && !reason; i++) {
        const struct store_refusal *one =
            &refusals->ring[(refusals->count - i) % STORE_REFUSALS_MAX];
        reason = one->offset == offset ? one->reason : NULL;
    }
    pthread_mutex_unlock(&refusals->lock);
    return reason;
}
