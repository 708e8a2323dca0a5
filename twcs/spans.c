/* Spans: which neighbouring sealed windows one index should cover.
 *
 * Groups. Windows of one length fall into groups of TWCS_SPAN_FANOUT^tier by their place on the time
 * line, as windows themselves do: no group ever moves, and groups of a tier lie inside those of the
 * next. So each row is indexed once by its window and at most once a tier, whatever comes and goes.
 *
 * A group gets its span when nothing more is expected: its time is over, late records had one more
 * window's length to come, every window of it is sealed and has nothing to fold in. A window that is
 * never quiet must not keep the others waiting: while it is less than a quarter of the rows it is left
 * out, and answered by itself.
 *
 * A span has to earn its build. It serves until half of it is dead, and then the tier below takes
 * over: windows leave from the old end, one window's length after the other. So it is built while
 * its oldest window has still half of the group's length to live: its life is then the group's
 * length at least.
 *
 * Under a byte cap the oldest windows go, nobody knows when, and the bytes of a span count: what is
 * built pushes windows out. So as many windows have to lie before a group as it has. A span takes half
 * of what its runs take at most; what it pushes out then leaves half of the group's length. */
#include "twcs/rules.h"

static int64_t group_length(int64_t window_length_ms, uint8_t tier)
{
    int64_t length_ms = window_length_ms;

    for (uint8_t i = 0; i < tier; i++)
        if (__builtin_mul_overflow(length_ms, TWCS_SPAN_FANOUT, &length_ms))
            return 0;
    return length_ms;
}

/* One group as the windows show it. */
struct group {
    int64_t start_ms, end_ms;
    int64_t window_ms;   /* length of its windows; others may lie between them */
    size_t first, count; /* windows, sealed or not */
    size_t settled;      /* of those of its length */
    uint64_t settled_rows, rows;
    int64_t oldest_expiry_ms; /* of the settled windows */
};

static struct group group_at(const struct twcs_span_window *windows, size_t count, size_t first,
                             int64_t length_ms)
{
    struct group group = {.start_ms = twcs_window_start(windows[first].start_ms, length_ms),
                          .window_ms = windows[first].length_ms,
                          .first = first,
                          .oldest_expiry_ms = TWCS_NEVER};

    group.end_ms = twcs_add(group.start_ms, length_ms);
    for (size_t i = first; i < count && windows[i].start_ms < group.end_ms; i++) {
        if (windows[i].length_ms != group.window_ms)
            continue;
        group.count = i - first + 1;
        group.rows += windows[i].rows;
        if (!windows[i].settled)
            continue;
        group.settled++;
        group.settled_rows += windows[i].rows;
        if (windows[i].max_expiry_ms < group.oldest_expiry_ms)
            group.oldest_expiry_ms = windows[i].max_expiry_ms;
    }
    return group;
}

/* Whether a window before it is in the same group, which was looked at with that one. */
static bool is_in_former(const struct twcs_span_window *windows, size_t at, int64_t length_ms)
{
    int64_t start_ms = twcs_window_start(windows[at].start_ms, length_ms);

    for (size_t i = at; i-- > 0 && windows[i].start_ms >= start_ms;)
        if (windows[i].length_ms == windows[at].length_ms)
            return true;
    return false;
}

static bool is_quiet(const struct twcs_policy *policy, const struct twcs_clock *clock,
                     const struct group *group)
{
    return twcs_window_closed(policy, clock, twcs_add(group->end_ms, group->window_ms)) &&
           (group->rows - group->settled_rows) * 4 <= group->rows;
}

static bool pays(const struct twcs_policy *policy, const struct twcs_clock *clock,
                 const struct group *group, uint8_t tier)
{
    int64_t length_ms = group->end_ms - group->start_ms;
    int64_t below_ms = group_length(group->window_ms, (uint8_t)(tier - 1));
    size_t windows_below = (size_t)(below_ms / group->window_ms);

    /* Else one segment of the tier below is the same. */
    return group->settled > windows_below &&
           (policy->max_bytes == 0 || group->first >= (size_t)(length_ms / group->window_ms)) &&
           (group->oldest_expiry_ms == TWCS_NEVER ||
            group->oldest_expiry_ms - clock->safe_wall_ms >= length_ms / 2);
}

/* Whether the group has a span that still holds most of what it could. */
static bool is_covered(const struct group *group, uint8_t tier, const struct twcs_span *spans,
                       size_t span_count)
{
    for (size_t i = 0; i < span_count; i++)
        if (spans[i].tier == tier && spans[i].start_ms >= group->start_ms &&
            spans[i].end_ms <= group->end_ms)
            return spans[i].live_rows * 2 >= group->settled_rows &&
                   spans[i].live_rows * 2 >= spans[i].rows;
    return false;
}

struct answer {
    struct twcs_span_decision *decisions;
    size_t count, max;
};

static void add(struct answer *answer, struct twcs_span_decision decision)
{
    if (answer->count < answer->max)
        answer->decisions[answer->count++] = decision;
}

static void decide_tier(const struct twcs_policy *policy, const struct twcs_clock *clock,
                        const struct twcs_span_window *windows, size_t window_count, uint8_t tier,
                        const struct twcs_span *spans, size_t span_count, struct answer *answer)
{
    for (size_t at = 0; at < window_count; at++) {
        int64_t length_ms = group_length(windows[at].length_ms, tier);
        struct group group;
        if (length_ms <= 0 || is_in_former(windows, at, length_ms))
            continue;
        group = group_at(windows, window_count, at, length_ms);
        if (is_quiet(policy, clock, &group) && pays(policy, clock, &group, tier) &&
            !is_covered(&group, tier, spans, span_count))
            add(answer, (struct twcs_span_decision){.action = TWCS_SPAN_BUILD,
                                                    .tier = tier,
                                                    .start_ms = group.start_ms,
                                                    .end_ms = group.end_ms,
                                                    .first_window = group.first,
                                                    .window_count = group.count});
    }
}

/* Whether the answer has a build that takes the span's place. */
static bool is_replaced(const struct answer *answer, const struct twcs_span *span)
{
    for (size_t i = 0; i < answer->count; i++)
        if (answer->decisions[i].action == TWCS_SPAN_BUILD &&
            answer->decisions[i].tier == span->tier &&
            answer->decisions[i].start_ms < span->end_ms &&
            answer->decisions[i].end_ms > span->start_ms)
            return true;
    return false;
}

size_t twcs_decide_spans(const struct twcs_policy *policy, const struct twcs_clock *clock,
                         const struct twcs_span_window *windows, size_t window_count,
                         const struct twcs_span *spans, size_t span_count,
                         struct twcs_span_decision *decisions, size_t max)
{
    struct answer answer = {.decisions = decisions, .max = max};

    for (int tier = 1; tier <= TWCS_SPAN_TIERS; tier++)
        decide_tier(policy, clock, windows, window_count, (uint8_t)tier, spans, span_count,
                    &answer);
    for (size_t i = 0; i < span_count; i++)
        if (spans[i].live_rows * 2 < spans[i].rows && !is_replaced(&answer, &spans[i]))
            add(&answer, (struct twcs_span_decision){
                             .action = TWCS_SPAN_DROP, .tier = spans[i].tier, .span = i});
    return answer.count;
}
