/* Why the last records that Kafka had were not stored: who wrote one waits for its offset, and would
 * take a visible offset for a stored record. In memory only; a ring per shard, made when something is
 * refused. */
#include <stdlib.h>

#include "base/memory.h"
#include "store/append.h"
#include "store/shard.h"

void refusals_begin(struct store_shard *shard, int64_t next_offset)
{
    shard->refusals.known_from = next_offset;
}

/* Under the lock. The one that it takes the place of is forgotten. */
static void note(struct shard_refusals *refusals, struct store_refusal refusal)
{
    struct store_refusal *place = &refusals->ring[refusals->count % STORE_REFUSALS_MAX];

    if (refusals->count >= STORE_REFUSALS_MAX && place->offset >= refusals->known_from)
        refusals->known_from = place->offset + 1;
    *place = refusal;
    refusals->count++;
}

void refusals_note(struct store_shard *shard, const struct store_refusal *noted, size_t count)
{
    struct shard_refusals *refusals = &shard->refusals;

    if (count == 0)
        return;
    pthread_mutex_lock(&refusals->lock);
    if (!refusals->ring)
        refusals->ring = memory_new(STORE_REFUSALS_MAX, sizeof(*refusals->ring));
    for (size_t i = 0; i < count; i++)
        note(refusals, noted[i]);
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
    if (!reason && offset < refusals->known_from)
        reason = STORE_REFUSAL_UNKNOWN;
    pthread_mutex_unlock(&refusals->lock);
    return reason;
}
