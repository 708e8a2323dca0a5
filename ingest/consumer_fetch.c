/* Keeps librdkafka fetching in a backlog.
 *
 * When its queue is full (queued.max.messages.kbytes), librdkafka up to 2.1 looks again only after
 * a second, unless something else wakes the broker's thread: a reader that empties the queue faster
 * stands still for the rest of that second (librdkafka issue 2879; 2.2 has fetch.queue.backoff.ms).
 * Any request to the partition's leader wakes that thread, and the observer asks the leaders for
 * offsets anyway: so it is told to ask as soon as half of what was queued has been read. */
#include "ingest/consumer.h"

enum {
    LOOK_EVERY = 64,     /* messages: the length of the queue is behind a lock */
    WORTH_MESSAGES = 16, /* a queue that was never longer than this was never full */
};

#define WAKE_NS (10 * NS_PER_MS) /* at least between two */

void consumer_fetch_keep_up(struct ingest *ingest)
{
    int64_t now_ns;
    size_t length;

    if (++ingest->fetch.unlooked < LOOK_EVERY)
        return;
    ingest->fetch.unlooked = 0;
    length = rd_kafka_queue_length(ingest->fetch.queue);
    if (length > ingest->fetch.peak)
        ingest->fetch.peak = length;
    if (ingest->fetch.peak < WORTH_MESSAGES || length > ingest->fetch.peak / 2)
        return;
    now_ns = io_monotonic_ns(ingest->io);
    if (now_ns - ingest->fetch.woken_ns < WAKE_NS)
        return;
    ingest->fetch.woken_ns = now_ns;
    ingest->fetch.peak = length;
    consumer_observe_soon(ingest);
}
