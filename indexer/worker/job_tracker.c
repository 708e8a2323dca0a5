/* An open hash table of what this process knows about jobs, keyed by the hash of the file that a job
 * is for. It is a memory, not a truth: a lost entry means that a job is published once more, which
 * finds its work done. So two files of one hash (64 bits) cost a delay at worst, and the table may
 * forget when it is full.
 *
 * Linear probing, at most half full; entries are never removed, only set to JOB_NONE, which growing
 * drops. */
#include "indexer/worker/job_tracker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/memory.h"
#include "indexer/worker/queue.h"

enum { TRACKER_CAPACITY_MIN = 256, TRACKER_CAPACITY_MAX = 1 << 17 };

static uint64_t hash_of(const struct worker_job *job)
{
    char id[WORKER_JOB_ID_BYTES];
    uint64_t hash;

    worker_job_file(job, id, sizeof(id));
    hash = XXH3_64bits(id, strlen(id));
    return hash ? hash : 1; /* 0 marks a free place */
}

static struct job_entry *new_entries(size_t capacity)
{
    struct job_entry *entries = memory_new(capacity, sizeof(*entries));

    return entries;
}

void job_tracker_create(struct job_tracker *tracker)
{
    pthread_mutex_init(&tracker->lock, NULL);
    tracker->capacity = TRACKER_CAPACITY_MIN;
    tracker->count = 0;
    tracker->entries = new_entries(tracker->capacity);
}

void job_tracker_destroy(struct job_tracker *tracker)
{
    free(tracker->entries);
    pthread_mutex_destroy(&tracker->lock);
}

/* The place of a hash, or the free one where it belongs. */
static struct job_entry *place_of(struct job_tracker *tracker, uint64_t hash)
{
    size_t at = hash & (tracker->capacity - 1);

    while (tracker->entries[at].id_hash != 0 && tracker->entries[at].id_hash != hash)
        at = (at + 1) & (tracker->capacity - 1);
    return &tracker->entries[at];
}

/* Doubles; at the largest size only what must not be forgotten stays: builds and what was given up
 * come back soon enough, and a publication that is forgotten is only published again. */
static void grow(struct job_tracker *tracker)
{
    struct job_entry *former = tracker->entries;
    size_t former_capacity = tracker->capacity;
    bool full = tracker->capacity == TRACKER_CAPACITY_MAX;

    if (!full)
        tracker->capacity *= 2;
    tracker->entries = new_entries(tracker->capacity);
    tracker->count = 0;
    for (size_t i = 0; i < former_capacity; i++) {
        if (former[i].state == JOB_NONE || (full && former[i].state != JOB_BUILDING))
            continue;
        *place_of(tracker, former[i].id_hash) = former[i];
        tracker->count++;
    }
    free(former);
}

/* Under the lock. */
static struct job_entry *open_entry(struct job_tracker *tracker, const struct worker_job *job)
{
    uint64_t hash = hash_of(job);
    struct job_entry *entry = place_of(tracker, hash);

    if (entry->id_hash == hash)
        return entry;
    if (2 * (tracker->count + 1) > tracker->capacity) {
        grow(tracker);
        entry = place_of(tracker, hash);
    }
    entry->id_hash = hash;
    tracker->count++;
    return entry;
}

static void write_entry(struct job_entry *entry, const struct worker_job *job, enum job_state state,
                        int64_t time_ms)
{
    entry->state = state;
    entry->time_ms = time_ms;
    entry->kind = job->kind;
}

void job_tracker_set(struct job_tracker *tracker, const struct worker_job *job,
                     enum job_state state, int64_t time_ms)
{
    pthread_mutex_lock(&tracker->lock);
    write_entry(open_entry(tracker, job), job, state, time_ms);
    pthread_mutex_unlock(&tracker->lock);
}

void job_tracker_give_up(struct job_tracker *tracker, const struct worker_job *job,
                         int64_t until_ms, enum job_reason reason, double recall)
{
    struct job_entry *entry;

    pthread_mutex_lock(&tracker->lock);
    entry = open_entry(tracker, job);
    write_entry(entry, job, JOB_GIVEN_UP, until_ms);
    entry->reason = reason;
    entry->recall = (float)recall;
    pthread_mutex_unlock(&tracker->lock);
}

struct job_entry job_tracker_get(struct job_tracker *tracker, const struct worker_job *job)
{
    struct job_entry entry;

    pthread_mutex_lock(&tracker->lock);
    entry = *place_of(tracker, hash_of(job));
    pthread_mutex_unlock(&tracker->lock);
    if (entry.state != JOB_BUILDING && entry.kind != job->kind)
        entry.state = JOB_NONE;
    return entry;
}

enum job_claim job_tracker_claim(struct job_tracker *tracker, const struct worker_job *job)
{
    enum job_claim claim = JOB_CLAIMED;
    struct job_entry *entry;

    pthread_mutex_lock(&tracker->lock);
    entry = open_entry(tracker, job);
    if (entry->state == JOB_BUILDING)
        claim = entry->kind == job->kind ? JOB_SAME : JOB_OTHER;
    else
        write_entry(entry, job, JOB_BUILDING, 0);
    pthread_mutex_unlock(&tracker->lock);
    return claim;
}
