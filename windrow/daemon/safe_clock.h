/* The time by which this process expires, hides, drops and judges: the system clock as far as it
 * can be trusted.
 *
 *     new     shards are being opened: the latest of their persisted times, which does not pass
 *     begin   all shards are open. The clock follows the system clock if nothing was persisted, if
 * the system clock is at most one ordinary outage ahead, or if the operator trusts it. A restart
 *             alone confirms nothing
 *     then    it follows the system clock, never back, and never more than TWCS_CLOCK_STEP_MAX_MS
 * ahead at once: a system clock that is a year ahead must not expire everything
 *
 * If the system clock is further ahead, the clock is frozen: it ignores the system clock and
 * continues at the pace of the monotonic clock (twcs_clock_believe), so that a broken time server
 * does not stop windrow. It follows again once the system clock is right or an operator trusts it.
 *
 * It is a struct io whose wall clock is the safe one, so that all parts of the service have the
 * same time. Files and the rest are the operating system's. */
#ifndef WINDROW_SAFE_CLOCK_H
#define WINDROW_SAFE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"

struct safe_clock;

/** Over io_posix(), with the wall and monotonic clock of `wall` (NULL: the operating system's). */
struct safe_clock *safe_clock_new(struct io *wall);
/** Nobody may use its io after this. */
void safe_clock_delete(struct safe_clock *clock);

/** Valid as long as the clock. Its functions may be called from any thread. */
struct io *safe_clock_io(struct safe_clock *clock);

/** The clock is at least at `persisted_ms` from now on. 0: nothing was persisted. */
void safe_clock_raise(struct safe_clock *clock, int64_t persisted_ms);
/** All persisted times are known. The clock follows the system clock if that is at most
 * `downtime_max_ms` ahead of them, or if `trusted`. */
void safe_clock_begin(struct safe_clock *clock, int64_t downtime_max_ms, bool trusted);
/** The operator confirms that the system clock is right. Fills the time before and after. Returns
 * whether the clock was frozen. */
bool safe_clock_trust(struct safe_clock *clock, int64_t *before_ms, int64_t *now_ms);
/** Whether the clock is frozen; fills its time and the system clock's. */
bool safe_clock_frozen(struct safe_clock *clock, int64_t *safe_ms, int64_t *wall_ms);

#endif
