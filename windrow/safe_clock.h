/* The wall clock as far as this process trusts it: the one that expires, hides, drops and judges.
 *
 * It never goes back, and it does not follow a leap ahead of more than TWCS_CLOCK_STEP_MAX_MS: a
 * clock that is a year ahead for one second must not expire everything. Then it stands, /status and
 * the log say so, and SIGHUP is the operator's word that the new time is right. The start of the
 * process is such a word too: time goes on while nobody runs.
 *
 * It is a struct io whose wall clock is the safe one, so that all parts of the service have the
 * same time; files and the rest are the operating system's. */
#ifndef WINDROW_SAFE_CLOCK_H
#define WINDROW_SAFE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"

struct safe_clock;

/** Over io_posix(), with the wall clock of `wall` (NULL: the operating system's). */
struct safe_clock *safe_clock_new(struct io *wall);
/** Nobody may use its io any more. */
void safe_clock_delete(struct safe_clock *clock);

/** Valid as long as the clock. Its functions may be called from any thread. */
struct io *safe_clock_io(struct safe_clock *clock);

/** What was persisted: the clock is at least there from now on. */
void safe_clock_raise(struct safe_clock *clock, int64_t persisted_ms);
/** The word that the wall clock is right. Returns whether it was waited for. */
bool safe_clock_trust(struct safe_clock *clock);
/** Whether it stands; then the two times, for people. */
bool safe_clock_stands(struct safe_clock *clock, int64_t *safe_ms, int64_t *wall_ms);

#endif
