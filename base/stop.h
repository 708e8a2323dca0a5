/* stop: when work that somebody asked for has to end.
 *
 * A request has one `struct stop`. Everything that works for it, on whatever thread, asks stop_check
 * about once a millisecond: a call costs a look at the clock. Work that comes in small steps of uneven
 * size counts them in a stop_meter, and a check is made once in so many steps. */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"

enum { STOP_METER_STEPS = 4096, STOP_LOOK_MS = 10 };

struct stop {
    struct io *io;
    int64_t deadline_ns;       /* of io_monotonic_ns; INT64_MAX: none. Set before the work begins */
    const atomic_bool *ending; /* true: the process ends, who only waits gives up; may be NULL */
    /** Whether nobody waits for the outcome any more. Asked by stop_check every STOP_LOOK_MS, on the
     * thread that checks; NULL: somebody always does. */
    bool (*abandoned)(void *context);
    void *context;
    _Atomic int64_t next_look_ns;
    atomic_int code; /* not 0: why it stopped; stays */
    /* Set by who broke the work off: what was in its way is gone when it begins anew. Whoever runs the work may do that
     * once for each time, if it changes nothing. */
    atomic_bool begin_anew;
};

/** Without a deadline. */
void stop_create(struct stop *stop, struct io *io);
/** 0, ERROR_TIMEOUT behind the deadline or ERROR_CANCELLED when nobody waits: the work is given up,
 * and every later call says so again. Any thread. */
int stop_check(struct stop *stop, struct error *error);

/* Steps of some ten nanoseconds. One thread. */
struct stop_meter {
    struct stop *stop; /* NULL: it never stops */
    uint32_t steps;
};

/** As stop_check, which is called when STOP_METER_STEPS have come together. */
int stop_meter_check(struct stop_meter *meter, struct error *error);

static inline int stop_meter_add(struct stop_meter *meter, uint32_t steps, struct error *error)
{
    meter->steps += steps < STOP_METER_STEPS ? steps : STOP_METER_STEPS;
    return meter->steps < STOP_METER_STEPS ? 0 : stop_meter_check(meter, error);
}

#endif
