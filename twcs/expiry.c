/* What goes whole: windows whose rows have all expired, and the oldest one over the byte cap. */
#include "twcs/rules.h"

/* A row is hidden from the millisecond of its expiry on. A window may go from the one of its last
 * row's, once the log has passed it too. */
bool twcs_ttl_expired(const struct twcs_clock *clock, const struct twcs_window *window)
{
    /* What is unbounded takes records all the time: its runs go one by one. */
    if (window->length_ms == 0)
        return false;
    return window->max_expiry_ms != TWCS_NEVER &&
           window->max_expiry_ms <= twcs_expired_before_ms(clock);
}

static bool waits_for_log(const struct twcs_clock *clock, int64_t max_expiry_ms)
{
    return max_expiry_ms != TWCS_NEVER && max_expiry_ms <= clock->safe_wall_ms &&
           max_expiry_ms > twcs_expired_before_ms(clock);
}

bool twcs_drop_waits(const struct twcs_clock *clock, const struct twcs_window *window)
{
    if (window->length_ms > 0)
        return waits_for_log(clock, window->max_expiry_ms);
    for (size_t i = 0; i < window->chunk_count; i++)
        if (waits_for_log(clock, window->chunks[i].max_expiry_ms))
            return true;
    return false;
}

const char *twcs_drop_blocker(const struct twcs_policy *policy, const struct twcs_clock *clock,
                              const struct twcs_window *window)
{
    int64_t end_ms = twcs_add(window->start_ms, window->length_ms);

    if (!twcs_ttl_expired(clock, window)) {
        /* Past its time by the policy, yet a row lives on. */
        if (window->length_ms > 0 && policy->ttl_ms > 0 &&
            twcs_add(end_ms, policy->ttl_ms) <= clock->safe_wall_ms)
            return twcs_drop_waits(clock, window) ? "the partition has not been read that far"
                                                  : "some of its rows have not expired";
        return NULL;
    }
    if (window->busy)
        return "a compaction or an index build of it is under way";
    return NULL;
}

/* What the byte cap takes next.
 *
 * The oldest goes, and only the oldest: while a job holds it the pick waits instead of taking the
 * next one, or the collection would keep a window older than one it lost. In the same way nothing
 * that is alive goes while an expired window only waits for a job to end. */
static bool goes_before(const struct twcs_fifo_window *a, const struct twcs_fifo_window *b)
{
    if (a->expired != b->expired)
        return a->expired;
    /* The order of expired windows matters to nobody: a free one first. */
    if (a->expired && a->busy != b->busy)
        return b->busy;
    if (a->end_ms != b->end_ms)
        return a->end_ms < b->end_ms;
    /* Shards share window times: any free one of the oldest will do. */
    return !a->busy && b->busy;
}

size_t twcs_fifo_pick(const struct twcs_policy *policy, const struct twcs_fifo_window *windows,
                      size_t window_count, uint64_t total_bytes, bool *starved)
{
    size_t best = SIZE_MAX;

    *starved = false;
    if (policy->max_bytes == 0 || total_bytes <= policy->max_bytes)
        return SIZE_MAX;
    for (size_t i = 0; i < window_count; i++) {
        if (windows[i].open)
            continue;
        if (best == SIZE_MAX || goes_before(&windows[i], &windows[best]))
            best = i;
    }
    if (best != SIZE_MAX && !windows[best].busy)
        return best;
    *starved = true;
    return SIZE_MAX;
}
