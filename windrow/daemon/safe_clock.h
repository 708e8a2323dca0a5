/* The wall clock as far as this process trusts it: the one that expires, hides, drops and judges.
 *
 *     new    while shards are opened: where the latest of their persisted clocks stood
 *     begin  all are open. The wall clock counts when nothing was persisted, or when it is ahead by
 *            no more than an ordinary outage, or when an operator said so; a start is no such word
 *     then   it follows the wall clock, never back, and no leap ahead of more than
 *            TWCS_CLOCK_STEP_MAX_MS: a clock that is a year ahead must not expire everything
 *
 * When the wall clock is too far ahead, the clock stands by what it has: it goes on at the pace of
 * the monotonic clock (twcs_clock_believe), so that an outage of the time server is no outage of
 * windrow. It follows again once the wall clock is right, or on an operator's word.
 *
 * It is a struct io whose wall clock is the safe one, so that all parts of the service have the
 * same time; files and the rest are the operating system's. */
#ifndef WINDROW_SAFE_CLOCK_H
#define WINDROW_SAFE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"

struct safe_clock;

/** Over io_posix(), with both clocks of `wall` (NULL: the operating system's). */
struct safe_clock *safe_clock_new(struct io *wall);
/** Nobody may use its io any more. */
void safe_clock_delete(struct safe_clock *clock);

/** Valid as long as the clock. Its functions may be called from any thread. */
struct io *safe_clock_io(struct safe_clock *clock);

/** What was persisted: the clock is at least there from now on. 0: nothing was. */
void safe_clock_raise(struct safe_clock *clock, int64_t persisted_ms);
/** All that is persisted was told. The wall clock is followed when it is no more than
 * `downtime_max_ms` ahead of that, or when `trusted`. */
void safe_clock_begin(struct safe_clock *clock, int64_t downtime_max_ms, bool trusted);
/** The word that the wall clock is right. Returns whether it was waited for. */
bool safe_clock_trust(struct safe_clock *clock);
/** Whether it stands; then the two times, for people. */
bool safe_clock_stands(struct safe_clock *clock, int64_t *safe_ms, int64_t *wall_ms);

#endif
