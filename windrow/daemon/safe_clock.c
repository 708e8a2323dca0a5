#include "windrow/daemon/safe_clock.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "twcs/twcs.h"

#define NS_PER_MS INT64_C(1000000)

struct safe_clock {
    struct io io;
    struct io_operations operations;
    struct io *wall;
    pthread_mutex_t lock;
    /* By lock. */
    int64_t safe_ms;
    int64_t seen_ns; /* monotonic clock when it was safe_ms */
    bool persisted;  /* some shard has a persisted time */
    bool begun;      /* all persisted times are known */
    bool frozen;
};

/* Under the lock. */
static int64_t tick(struct safe_clock *clock, int64_t step_max_ms)
{
    int64_t elapsed_ms = (io_monotonic_ns(clock->wall) - clock->seen_ns) / NS_PER_MS;

    clock->seen_ns += elapsed_ms * NS_PER_MS;
    clock->safe_ms = twcs_clock_believe(clock->safe_ms, elapsed_ms, io_wall_ms(clock->wall),
                                        step_max_ms, &clock->frozen);
    return clock->safe_ms;
}

/* Under the lock. No time passes until all shards are open: a shard not opened yet may have
 * persisted a later time. Where nothing is stored, nothing can expire, and the system clock counts.
 */
static int64_t now(struct safe_clock *clock)
{
    if (clock->begun)
        return tick(clock, TWCS_CLOCK_STEP_MAX_MS);
    return clock->persisted ? clock->safe_ms : io_wall_ms(clock->wall);
}

static int64_t safe_wall_ms(struct io *io)
{
    struct safe_clock *clock = (struct safe_clock *)io;
    int64_t now_ms;

    pthread_mutex_lock(&clock->lock);
    now_ms = now(clock);
    pthread_mutex_unlock(&clock->lock);
    return now_ms;
}

struct safe_clock *safe_clock_new(struct io *wall)
{
    struct safe_clock *clock = memory_new(1, sizeof(*clock));

    /* The operating system's functions ignore their io, so this copy may carry them. */
    clock->operations = *io_posix()->operations;
    clock->operations.wall_ms = safe_wall_ms;
    clock->io.operations = &clock->operations;
    clock->wall = wall ? wall : io_posix();
    pthread_mutex_init(&clock->lock, NULL);
    return clock;
}

void safe_clock_delete(struct safe_clock *clock)
{
    if (!clock)
        return;
    pthread_mutex_destroy(&clock->lock);
    free(clock);
}

struct io *safe_clock_io(struct safe_clock *clock)
{
    return &clock->io;
}

void safe_clock_raise(struct safe_clock *clock, int64_t persisted_ms)
{
    pthread_mutex_lock(&clock->lock);
    if (persisted_ms > clock->safe_ms)
        clock->safe_ms = persisted_ms;
    clock->persisted |= persisted_ms > 0;
    pthread_mutex_unlock(&clock->lock);
}

void safe_clock_begin(struct safe_clock *clock, int64_t downtime_max_ms, bool trusted)
{
    pthread_mutex_lock(&clock->lock);
    clock->begun = true;
    clock->seen_ns = io_monotonic_ns(clock->wall);
    (void)tick(clock, trusted || !clock->persisted ? INT64_MAX : downtime_max_ms);
    pthread_mutex_unlock(&clock->lock);
}

bool safe_clock_trust(struct safe_clock *clock, int64_t *before_ms, int64_t *now_ms)
{
    bool was_frozen;

    pthread_mutex_lock(&clock->lock);
    *before_ms = now(clock);
    was_frozen = clock->frozen;
    if (clock->begun)
        (void)tick(clock, INT64_MAX);
    *now_ms = now(clock);
    pthread_mutex_unlock(&clock->lock);
    return was_frozen;
}

bool safe_clock_frozen(struct safe_clock *clock, int64_t *safe_ms, int64_t *wall_ms)
{
    bool frozen;

    pthread_mutex_lock(&clock->lock);
    *safe_ms = now(clock);
    *wall_ms = io_wall_ms(clock->wall);
    frozen = clock->frozen;
    pthread_mutex_unlock(&clock->lock);
    return frozen;
}
