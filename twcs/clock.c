/* One shard's clock: the log's, which decides what is stored, the watermark of event time, and the wall
 * clock as far as it is trusted.
 *
 * The latter two only go forward, whatever the wall clock does: a watermark that fell back would reopen
 * sealed windows, a safe clock that fell back would show expired rows again. The safe clock also
 * refuses to leap: a wall clock that is a year ahead for one second must not expire everything. A
 * leap that is not believed does not stop time either: whichever clock is wrong, a second that
 * passes is a second. */
#include "twcs/rules.h"

int64_t twcs_clock_tick(struct twcs_clock *clock, int64_t wall_ms, bool trusted)
{
    int64_t step = twcs_subtract(wall_ms, clock->safe_wall_ms);

    if (step <= 0 || (step > TWCS_CLOCK_STEP_MAX_MS && !trusted))
        return clock->safe_wall_ms;
    /* Nobody listened while the process was down: that time is not silence of the producers. If it
     * counted, the watermark would run ahead of a backlog that is about to be read, and make it
     * late. */
    if (trusted && clock->watermark_ms != TWCS_NO_TIME)
        clock->last_record_wall_ms = twcs_add(clock->last_record_wall_ms, step);
    clock->safe_wall_ms = wall_ms;
    return wall_ms;
}

int64_t twcs_clock_believe(int64_t safe_ms, int64_t elapsed_ms, int64_t wall_ms,
                           int64_t step_max_ms, bool *stands)
{
    int64_t paced_ms = elapsed_ms > 0 ? twcs_add(safe_ms, elapsed_ms) : safe_ms;

    *stands = twcs_subtract(wall_ms, paced_ms) > step_max_ms;
    if (*stands)
        return paced_ms;
    return wall_ms > safe_ms ? wall_ms : safe_ms;
}

int64_t twcs_clock_follow(struct twcs_clock *clock, int64_t safe_ms)
{
    /* An ordinary step is no time that nobody listened. */
    return twcs_clock_tick(clock, safe_ms,
                           twcs_subtract(safe_ms, clock->safe_wall_ms) > TWCS_CLOCK_STEP_MAX_MS);
}

int64_t twcs_clock_stamp(struct twcs_clock *clock, const struct twcs_policy *policy,
                         int64_t timestamp_ms, int64_t wall_ms)
{
    struct twcs_log_clock *log = &clock->log;
    int64_t reached_ms = timestamp_ms < log->stamp_ms ? timestamp_ms : log->stamp_ms;

    if (timestamp_ms < 0 || timestamp_ms > twcs_add(wall_ms, policy->max_future_ms))
        return TWCS_NO_TIME;
    log->stamp_ms = timestamp_ms;
    if (reached_ms > log->time_ms)
        log->time_ms = reached_ms;
    return timestamp_ms;
}

int64_t twcs_log_time(const struct twcs_clock *clock, int64_t stamp_ms)
{
    return stamp_ms > clock->log.time_ms ? stamp_ms : clock->log.time_ms;
}

/* One producer whose timestamps are ahead must not make the others' records late: until a second
 * record confirms its time, its event times count up to max_future only. */
static void observe_log(struct twcs_log_clock *log, const struct twcs_policy *policy,
                        int64_t event_time_ms, int64_t stamp_ms)
{
    int64_t time_ms = log->time_ms != TWCS_NO_TIME ? log->time_ms : stamp_ms;
    int64_t bound_ms = twcs_add(time_ms, policy->max_future_ms);

    if (time_ms != TWCS_NO_TIME && event_time_ms > bound_ms)
        event_time_ms = bound_ms;
    if (event_time_ms > log->watermark_ms)
        log->watermark_ms = event_time_ms;
}

void twcs_clock_observe(struct twcs_clock *clock, const struct twcs_policy *policy,
                        int64_t event_time_ms, int64_t stamp_ms, int64_t wall_ms)
{
    observe_log(&clock->log, policy, event_time_ms, stamp_ms);
    if (event_time_ms > clock->watermark_ms)
        clock->watermark_ms = event_time_ms;
    /* A wall clock that was set back must not make a record look older than the safe clock, or the
     * shard would be idle the moment it arrives. */
    clock->last_record_wall_ms = wall_ms > clock->safe_wall_ms ? wall_ms : clock->safe_wall_ms;
}

bool twcs_clock_idle(struct twcs_clock *clock, const struct twcs_policy *policy)
{
    int64_t reached = twcs_subtract(clock->safe_wall_ms, policy->idle_timeout_ms);

    /* Without a record there is no window to close, and a backfill that starts later must find
     * nothing that makes it late. */
    if (clock->watermark_ms == TWCS_NO_TIME)
        return false;
    /* Stamped by a wall clock that the safe clock did not follow: silence counts from now. */
    if (clock->last_record_wall_ms > clock->safe_wall_ms)
        clock->last_record_wall_ms = clock->safe_wall_ms;
    if (clock->last_record_wall_ms > reached || clock->watermark_ms >= reached)
        return false;
    clock->watermark_ms = reached;
    return true;
}

int64_t twcs_expired_before_ms(const struct twcs_clock *clock)
{
    return twcs_subtract(clock->safe_wall_ms, clock->log_lag_ms);
}
