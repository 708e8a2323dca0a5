/* Space that dead rows hold: runs whose every row has expired go, and when the bytes stored pass
 * max_space_amplification times the bytes of live rows, the run with the largest dead share is
 * written again without them, in its own level.
 *
 * Past the bound of 1.5 a third of all bytes is dead, so that the worst run has at least that much:
 * a rewrite copies at most two bytes for each that it gives back.
 *
 * How many rows are masked is known; how many have expired is reckoned from the run's event times
 * as if they were spread evenly. A rewrite leaves out what has expired and so moves the smallest
 * event time up to now - TTL: a wrong guess is not made twice. */
#include "twcs/rules.h"

/* From here on one rewrite counts as nearly free as another. */
#define GAIN_SHARE_MAX 0.99

static double expired_share(const struct twcs_policy *policy, const struct twcs_clock *clock,
                            const struct twcs_run *run)
{
    int64_t oldest_ms; /* event time that expires now */
    double span_ms = (double)run->max_event_ms - (double)run->min_event_ms;

    if (policy->ttl_ms == 0)
        return 0;
    oldest_ms = twcs_subtract(twcs_expired_before_ms(clock), policy->ttl_ms);
    if (run->min_event_ms > oldest_ms)
        return 0;
    if (run->max_event_ms <= oldest_ms)
        return 1;
    return ((double)oldest_ms - (double)run->min_event_ms) / span_ms;
}

static double dead_share(const struct twcs_policy *policy, const struct twcs_clock *clock,
                         const struct twcs_run *run)
{
    double masked;

    if (run->dead_rows >= run->rows)
        return 1;
    masked = (double)run->dead_rows / (double)run->rows;
    return masked + (1 - masked) * expired_share(policy, clock, run);
}

double twcs_space_debt(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       const struct twcs_window *window)
{
    double stored_bytes = 0;
    double live_bytes = 0;
    double allowed = policy->max_space_amplification;
    double worst_share = 0;
    double debt;

    for (size_t i = 0; i < window->chunk_count; i++) {
        double bytes = (double)window->chunks[i].bytes;
        double share = dead_share(policy, clock, &window->chunks[i]);
        stored_bytes += bytes;
        live_bytes += bytes * (1 - share);
        if (share > worst_share)
            worst_share = share;
    }
    if (allowed <= 1 || stored_bytes <= allowed * live_bytes)
        return 0;
    if (live_bytes < 1)
        return stored_bytes;
    /* Dead over allowed dead, as levels are bytes over allowed bytes; 1 and more. And times what
     * the next rewrite gives back for each byte it copies: levels that cannot keep up with
     * ingestion are in debt for ever, and a large run with one live row would wait as long. */
    debt = (stored_bytes / live_bytes - 1) / (allowed - 1);
    if (worst_share > GAIN_SHARE_MAX)
        worst_share = GAIN_SHARE_MAX; /* level 0 still overtakes it when ingestion is to wait */
    return worst_share > 0.5 ? debt * worst_share / (1 - worst_share) : debt;
}

bool twcs_space_pick(const struct twcs_policy *policy, const struct twcs_clock *clock,
                     const struct twcs_window *window, struct twcs_decision *decision)
{
    double worst_share = 0;
    size_t worst = SIZE_MAX;

    for (size_t i = 0; i < window->chunk_count; i++) {
        double share = dead_share(policy, clock, &window->chunks[i]);
        if (share <= worst_share)
            continue;
        worst_share = share;
        worst = i;
    }
    if (worst == SIZE_MAX)
        return false;
    decision->input_count = 0;
    (void)twcs_decision_add(decision, worst);
    decision->output_level = window->chunks[worst].level;
    decision->target_file_bytes = 0;
    decision->trivial_move = false;
    decision->reason = TWCS_REASON_SPACE;
    return true;
}

bool twcs_expired_pick(const struct twcs_clock *clock, const struct twcs_window *window,
                       struct twcs_decision *decision)
{
    decision->input_count = 0;
    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct twcs_run *run = &window->chunks[i];
        if (run->max_expiry_ms == TWCS_NEVER || run->max_expiry_ms > twcs_expired_before_ms(clock))
            continue;
        if (decision->input_count == 0)
            decision->output_level = run->level;
        if (!twcs_decision_add(decision, i))
            break;
    }
    decision->target_file_bytes = 0;
    decision->trivial_move = false;
    decision->reason = TWCS_REASON_EXPIRED;
    return decision->input_count > 0;
}
