/* What this process knows of jobs: which it has published, is building, or has given up. Keeps
 * reconciliation from queueing the same work again and again. Private to indexer/worker. */
#ifndef INDEXER_WORKER_LEDGER_H
#define INDEXER_WORKER_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "indexer/worker/worker.h"

enum ledger_state {
    LEDGER_NONE,
    LEDGER_PUBLISHED, /* at time_ms */
    LEDGER_BUILDING,
    LEDGER_GIVEN_UP /* until time_ms */
};

struct ledger_entry {
    uint64_t id_hash;
    int64_t time_ms;
    enum ledger_state state;
    char kind[WORKER_KIND_BYTES]; /* of the job that the state is of */
};

enum ledger_claim {
    LEDGER_CLAIMED,
    LEDGER_SAME, /* another thread has a copy of the job */
    LEDGER_OTHER /* another thread builds another kind for the same file */
};

/* Open addressing over hashes of what is built (worker_job_file). Two files of one hash share a
 * fate: an index that comes late. Thread-safe. */
struct ledger {
    pthread_mutex_t lock;
    struct ledger_entry *entries;
    size_t capacity; /* a power of two */
    size_t count;
};

void ledger_create(struct ledger *ledger);
void ledger_destroy(struct ledger *ledger);

void ledger_set(struct ledger *ledger, const struct worker_job *job, enum ledger_state state,
                int64_t time_ms);
/** What was published or given up of another kind says nothing about this job; a build does, of
 * whatever kind. */
struct ledger_entry ledger_get(struct ledger *ledger, const struct worker_job *job);
/** Marks as being built unless another thread has done so. */
enum ledger_claim ledger_claim(struct ledger *ledger, const struct worker_job *job);

#endif
