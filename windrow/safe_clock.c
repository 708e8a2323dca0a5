#include "windrow/safe_clock.h"

#include <pthread.h>
#include <stdlib.h>

#include "twcs/twcs.h"

struct safe_clock {
    struct io io;
    struct io_operations operations;
    struct io *wall;
    pthread_mutex_t lock;
    struct twcs_clock clock; /* only its safe time; by lock */
};

/* Under the lock. */
static int64_t tick(struct safe_clock *clock, bool trusted)
{
    return twcs_clock_tick(&clock->clock, io_wall_ms(clock->wall), trusted);
}

static int64_t safe_wall_ms(struct io *io)
{
    struct safe_clock *clock = (struct safe_clock *)io;
    int64_t now_ms;

    pthread_mutex_lock(&clock->lock);
    now_ms = tick(clock, false);
    pthread_mutex_unlock(&clock->lock);
    return now_ms;
}

struct safe_clock *safe_clock_new(struct io *wall)
{
    struct safe_clock *clock = calloc(1, sizeof(*clock));

    if (!clock)
        abort();
    /* The operating system's functions look at no state of their io. */
    clock->operations = *io_posix()->operations;
    clock->operations.wall_ms = safe_wall_ms;
    clock->io.operations = &clock->operations;
    clock->wall = wall ? wall : io_posix();
    clock->clock.watermark_ms = TWCS_NO_TIME;
    pthread_mutex_init(&clock->lock, NULL);
    (void)tick(clock, true);
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
    if (persisted_ms > clock->clock.safe_wall_ms)
        clock->clock.safe_wall_ms = persisted_ms;
    pthread_mutex_unlock(&clock->lock);
}

bool safe_clock_trust(struct safe_clock *clock)
{
    bool stood;
    int64_t former_ms;

    pthread_mutex_lock(&clock->lock);
    former_ms = tick(clock, false);
    stood = tick(clock, true) > former_ms + TWCS_CLOCK_STEP_MAX_MS;
    pthread_mutex_unlock(&clock->lock);
    return stood;
}

bool safe_clock_stands(struct safe_clock *clock, int64_t *safe_ms, int64_t *wall_ms)
{
    pthread_mutex_lock(&clock->lock);
    *safe_ms = tick(clock, false);
    *wall_ms = io_wall_ms(clock->wall);
    pthread_mutex_unlock(&clock->lock);
    return *wall_ms > *safe_ms && *wall_ms - *safe_ms > TWCS_CLOCK_STEP_MAX_MS;
}
