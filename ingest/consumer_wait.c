/* What a partition waits for, and who is told: the log, /status and windrow_partition_waiting.
 *
 * A group waits for its dead letters, for the store or for disk space; it is tried again. A message
 * waits for the clock: by the wall clock its event time is fine, but the clock stands and by that
 * it lies in the future. As a dead letter it would be lost for the collection although it is as it
 * should be; so the partition pauses in front of it, and goes on by itself when the clock does. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "ingest/consumer.h"

/* Waits that end at once are nobody's business. */
#define TELL_AFTER_NS NS_PER_S

static void tell(struct partition *partition, enum partition_wait why, const char *text)
{
    struct ingest *ingest = partition->ingest;

    partition->wait_told = true;
    for (enum partition_wait other = WAIT_NONE + 1; other < WAIT_COUNT; other++)
        metric_set(partition->metrics.waiting[other], other == why);
    pthread_mutex_lock(&ingest->lock);
    snprintf(partition->shared.waiting, sizeof(partition->shared.waiting), "%s", text);
    partition->shared.clock_wait = why == WAIT_CLOCK;
    pthread_mutex_unlock(&ingest->lock);
}

static void count_wait(struct partition *partition, int64_t since_ns, bool say)
{
    int64_t waited_ns = io_monotonic_ns(partition->ingest->io) - since_ns;

    metric_add(partition->metrics.stalled, (double)waited_ns / 1e9);
    if (say || waited_ns >= CONSUMER_COMPLAIN_NS)
        log_info("ingest", PARTITION_FORMAT " goes on after %.1f s", PARTITION_NAME(partition),
                 (double)waited_ns / 1e9);
}

static void tell_end(struct partition *partition)
{
    if (partition->wait_told)
        tell(partition, WAIT_NONE, "");
    partition->wait_told = false;
}

void partition_wait_forget(struct partition *partition)
{
    partition->wait = WAIT_NONE;
    partition->clock_wait_ns = 0;
    tell_end(partition);
}

/* ---- the group ---- */

void partition_wait_for(struct partition *partition, enum partition_wait why, int64_t retry_in_ns,
                        const char *text)
{
    int64_t now_ns = io_monotonic_ns(partition->ingest->io);

    if (partition->wait == WAIT_NONE) {
        partition->wait_since_ns = now_ns;
        /* Short waits for memory and acknowledgements are normal; a full disk never is. */
        partition->complained_ns = why == WAIT_SPACE ? now_ns - CONSUMER_COMPLAIN_NS : now_ns;
    }
    if (partition->clock_wait_ns == 0 && now_ns - partition->wait_since_ns >= TELL_AFTER_NS &&
        (!partition->wait_told || partition->wait != why))
        tell(partition, why, text);
    partition->wait = why;
    partition->retry_ns = now_ns + retry_in_ns;
    if (now_ns - partition->complained_ns >= CONSUMER_COMPLAIN_NS) {
        log_warning("ingest", PARTITION_FORMAT " waits at offset %lld: %s",
                    PARTITION_NAME(partition), (long long)partition->next_offset, text);
        partition->complained_ns = now_ns;
    }
}

void partition_wait_ended(struct partition *partition)
{
    if (partition->wait == WAIT_NONE)
        return;
    count_wait(partition, partition->wait_since_ns, partition->wait == WAIT_SPACE);
    partition->wait = WAIT_NONE;
    if (partition->clock_wait_ns == 0)
        tell_end(partition);
}

/* ---- a message ---- */

/* The first record that is in the future by the clock and not by `wall_ms`, or NULL. */
static const struct store_record *find_future(const struct partition *partition, int64_t wall_ms,
                                              const struct decode_result *decoded)
{
    for (size_t i = 0; i < decoded->record_count; i++)
        if (!decoded->records[i].is_delete &&
            twcs_future_waits(&partition->policy, &partition->clock,
                              decoded->records[i].event_time_ms, wall_ms))
            return &decoded->records[i];
    return NULL;
}

static void clock_wait_begins(struct partition *partition, int64_t offset, int64_t event_time_ms,
                              int64_t wall_ms)
{
    char text[sizeof(partition->shared.waiting)];
    char event[TEXT_TIME_BYTES];
    char safe[TEXT_TIME_BYTES];
    char wall[TEXT_TIME_BYTES];

    snprintf(text, sizeof(text),
             "the record at offset %lld has event time %s. That is right by the system clock (%s) "
             "but in "
             "the future by the clock frozen at %s. It waits: correct the system clock, or run "
             "`windrow trust-clock` if it is right",
             (long long)offset, text_format_time(event_time_ms, event),
             text_format_time(wall_ms, wall),
             text_format_time(partition->clock.safe_wall_ms, safe));
    partition->clock_wait_ns = io_monotonic_ns(partition->ingest->io);
    partition->pause_pending |= !partition->paused;
    log_warning("ingest", PARTITION_FORMAT " waits: %s", PARTITION_NAME(partition), text);
    tell(partition, WAIT_CLOCK, text);
}

bool partition_wait_for_clock(struct partition *partition, int64_t offset,
                              const struct decode_result *decoded)
{
    const struct store_record *record = NULL;
    int64_t wall_ms = INT64_MAX;

    /* Seldom true, so that usually no clock is read: the partition's own is never ahead. */
    if (find_future(partition, wall_ms, decoded)) {
        (void)twcs_clock_follow(&partition->clock, io_wall_ms(partition->ingest->io));
        wall_ms = io_wall_ms(partition->ingest->wall);
        record = find_future(partition, wall_ms, decoded);
    }
    if (record && partition->clock_wait_ns == 0)
        clock_wait_begins(partition, offset, record->event_time_ms, wall_ms);
    if (record)
        return true;
    if (partition->clock_wait_ns != 0) {
        count_wait(partition, partition->clock_wait_ns, true);
        partition->clock_wait_ns = 0;
        tell_end(partition);
    }
    return false;
}
