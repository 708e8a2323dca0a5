#include "indexer/worker/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "indexer/worker/queue.h"

enum { LEDGER_CAPACITY_MIN = 256, LEDGER_CAPACITY_MAX = 1 << 17 };

static uint64_t hash_of(const struct worker_job *job)
{
    char id[WORKER_JOB_ID_BYTES];
    uint64_t hash;

    worker_job_file(job, id, sizeof(id));
    hash = XXH3_64bits(id, strlen(id));
    return hash ? hash : 1; /* 0 marks a free place */
}

static struct ledger_entry *new_entries(size_t capacity)
{
    struct ledger_entry *entries = calloc(capacity, sizeof(*entries));

    if (!entries)
        abort();
    return entries;
}

void ledger_create(struct ledger *ledger)
{
    pthread_mutex_init(&ledger->lock, NULL);
    ledger->capacity = LEDGER_CAPACITY_MIN;
    ledger->count = 0;
    ledger->entries = new_entries(ledger->capacity);
}

void ledger_destroy(struct ledger *ledger)
{
    free(ledger->entries);
    pthread_mutex_destroy(&ledger->lock);
}

/* The place of a hash, or the free one where it belongs. */
static struct ledger_entry *place_of(struct ledger *ledger, uint64_t hash)
{
    size_t at = hash & (ledger->capacity - 1);

    while (ledger->entries[at].id_hash != 0 && ledger->entries[at].id_hash != hash)
        at = (at + 1) & (ledger->capacity - 1);
    return &ledger->entries[at];
}

/* Doubles; at the largest size only what must not be forgotten stays: builds and what was given up
 * come back soon enough, and a publication that is forgotten is only published again. */
static void grow(struct ledger *ledger)
{
    struct ledger_entry *former = ledger->entries;
    size_t former_capacity = ledger->capacity;
    bool full = ledger->capacity == LEDGER_CAPACITY_MAX;

    if (!full)
        ledger->capacity *= 2;
    ledger->entries = new_entries(ledger->capacity);
    ledger->count = 0;
    for (size_t i = 0; i < former_capacity; i++) {
        if (former[i].state == LEDGER_NONE || (full && former[i].state != LEDGER_BUILDING))
            continue;
        *place_of(ledger, former[i].id_hash) = former[i];
        ledger->count++;
    }
    free(former);
}

/* Under the lock. */
static struct ledger_entry *open_entry(struct ledger *ledger, const struct worker_job *job)
{
    uint64_t hash = hash_of(job);
    struct ledger_entry *entry = place_of(ledger, hash);

    if (entry->id_hash == hash)
        return entry;
    if (2 * (ledger->count + 1) > ledger->capacity) {
        grow(ledger);
        entry = place_of(ledger, hash);
    }
    entry->id_hash = hash;
    ledger->count++;
    return entry;
}

static void write_entry(struct ledger_entry *entry, const struct worker_job *job,
                        enum ledger_state state, int64_t time_ms)
{
    entry->state = state;
    entry->time_ms = time_ms;
    (void)snprintf(entry->kind, sizeof(entry->kind), "%s", job->kind);
}

void ledger_set(struct ledger *ledger, const struct worker_job *job, enum ledger_state state,
                int64_t time_ms)
{
    pthread_mutex_lock(&ledger->lock);
    write_entry(open_entry(ledger, job), job, state, time_ms);
    pthread_mutex_unlock(&ledger->lock);
}

struct ledger_entry ledger_get(struct ledger *ledger, const struct worker_job *job)
{
    struct ledger_entry entry;

    pthread_mutex_lock(&ledger->lock);
    entry = *place_of(ledger, hash_of(job));
    pthread_mutex_unlock(&ledger->lock);
    if (entry.state != LEDGER_BUILDING && strcmp(entry.kind, job->kind) != 0)
        entry.state = LEDGER_NONE;
    return entry;
}

enum ledger_claim ledger_claim(struct ledger *ledger, const struct worker_job *job)
{
    enum ledger_claim claim = LEDGER_CLAIMED;
    struct ledger_entry *entry;

    pthread_mutex_lock(&ledger->lock);
    entry = open_entry(ledger, job);
    if (entry->state == LEDGER_BUILDING)
        claim = strcmp(entry->kind, job->kind) == 0 ? LEDGER_SAME : LEDGER_OTHER;
    else
        write_entry(entry, job, LEDGER_BUILDING, 0);
    pthread_mutex_unlock(&ledger->lock);
    return claim;
}
