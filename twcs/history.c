/* Base and tail: two spans over all settled windows of a shard, for indexes that are put together from parts.
 *
 * Lists of one codebook are merged by copying codes, some 60 bytes a row (indexer/index/ivf_merge.c). So a span need
 * not wait until a group of windows is complete, and need not be small: the base covers all that is settled, the tail
 * what has settled since. A search goes through two segments, whatever the number of windows.
 *
 * The tail is put together anew whenever a window settles. When it would have more than an eighth of the base's rows,
 * the base is, with all of it. So a row is copied into the tail by each window that settles while it lies there, some
 * ten times where windows are a hundred and seventieth each, and into the base eight times in its life.
 *
 * Windows leave the base at its old end and are dead weight in it: a quarter of the rows at most. A window that is
 * sealed anew is dead in the base and goes into the tail. */
#include "twcs/rules.h"

enum { DEAD_PART = 4 };

/* What a shard has. */
struct history {
    size_t oldest, newest; /* settled windows; the spans' windows have the length of the newest */
    size_t settled;        /* windows of that length */
    size_t homeless;       /* of them those that are in no span */
    uint64_t uncovered_rows;
    const struct twcs_span *base; /* NULL: none, or not the only span of its tier */
    size_t bases;                 /* spans of its tier */
};

static struct history look(const struct twcs_span_window *windows, size_t window_count,
                           const struct twcs_span *spans, size_t span_count)
{
    struct history history = {0};
    int64_t length_ms = 0;

    for (size_t i = window_count; i-- > 0 && history.settled < TWCS_HISTORY_WINDOWS_MAX;) {
        const struct twcs_span_window *window = &windows[i];
        if (!window->settled || (length_ms > 0 && window->length_ms != length_ms))
            continue;
        if (length_ms == 0)
            history.newest = i;
        length_ms = window->length_ms;
        history.oldest = i;
        history.settled++;
        if (window->in_base)
            continue;
        history.uncovered_rows += window->rows;
        history.homeless += !window->in_tail;
    }
    for (size_t i = 0; i < span_count; i++) {
        if (spans[i].tier == TWCS_BASE_TIER)
            history.base = history.bases++ == 0 && spans[i].lists ? &spans[i] : NULL;
    }
    return history;
}

static bool wants_base(const struct history *history)
{
    const struct twcs_span *base = history->base;

    return !base || history->uncovered_rows * TWCS_TAIL_PART > base->live_rows ||
           (base->rows - base->live_rows) * DEAD_PART > base->rows;
}

/* Whether a window that no base has is in it. Graphs are of a former setting. */
static bool is_needed(const struct twcs_span *tail, const struct twcs_span_window *windows,
                      size_t window_count)
{
    for (size_t i = 0; i < window_count && tail->lists; i++)
        if (windows[i].in_tail && !windows[i].in_base && windows[i].start_ms >= tail->start_ms &&
            windows[i].start_ms < tail->end_ms)
            return true;
    return false;
}

size_t twcs_decide_history(const struct twcs_span_window *windows, size_t window_count,
                           const struct twcs_span *spans, size_t span_count,
                           struct twcs_span_decision *decisions, size_t max)
{
    struct history history = look(windows, window_count, spans, span_count);
    bool has = history.settled >= TWCS_HISTORY_WINDOWS_MIN;
    bool base = has && wants_base(&history), tail = has && !base && history.homeless > 0;
    size_t count = 0;

    if ((base || tail) && count < max)
        decisions[count++] = (struct twcs_span_decision){
            .action = TWCS_SPAN_BUILD,
            .tier = base ? TWCS_BASE_TIER : TWCS_TAIL_TIER,
            .start_ms = windows[history.oldest].start_ms,
            .end_ms = twcs_add(windows[history.newest].start_ms, windows[history.newest].length_ms),
            .first_window = history.oldest,
            .window_count = history.newest - history.oldest + 1,
            .beside_base = tail};
    /* While one is built the former one is of use; what a build meets it replaces. */
    for (size_t i = 0; i < span_count && count < max; i++)
        if (!has || (!base && !tail && spans[i].tier == TWCS_TAIL_TIER &&
                     !is_needed(&spans[i], windows, window_count)))
            decisions[count++] = (struct twcs_span_decision){
                .action = TWCS_SPAN_DROP, .tier = spans[i].tier, .span = i};
    return count;
}
