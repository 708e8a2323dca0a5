#include <string.h>

#include "base/memory.h"
#include "twcs/compaction/compaction.h"

enum { DECISIONS_MAX = 256 };

static uint64_t chunk_bytes(const struct twcs_window *window, size_t first, size_t count)
{
    uint64_t bytes = 0;

    for (size_t i = first; i < first + count; i++)
        bytes += window->chunks[i].bytes;
    return bytes;
}

/* What a decision would read and write again. */
static uint64_t decision_bytes(const struct twcs_decision *decision,
                               const struct twcs_window *window)
{
    uint64_t bytes = 0;

    switch (decision->action) {
    case TWCS_DROP_TTL:
        return 0;
    case TWCS_SEAL:
    case TWCS_RESEAL:
        return chunk_bytes(window, 0, window->chunk_count) +
               (window->sealed ? window->sealed_run.bytes : 0);
    case TWCS_TIER:
        return chunk_bytes(window, decision->first_chunk, decision->chunk_count);
    case TWCS_COMPACT:
        break;
    }
    for (uint32_t i = 0; i < decision->input_count && !decision->trivial_move; i++)
        bytes += window->chunks[decision->inputs[i]].bytes;
    return bytes;
}

static int64_t lag_ms(const struct compaction_view *view, const struct twcs_window *window)
{
    int64_t end_ms = window->start_ms + window->length_ms;

    if (window->length_ms == 0 || window->sealed ||
        (window->chunk_count == 0 && window->memtable_rows == 0) ||
        !twcs_window_closed(&view->policy, &view->clock, end_ms))
        return 0;
    return view->clock.watermark_ms - end_ms - view->policy.late_allowed_ms;
}

void compaction_debt(const struct compaction_view *view, struct arena *arena,
                     struct compaction_debt *debt)
{
    struct twcs_decision *decisions =
        memory_checked(arena_calloc(arena, DECISIONS_MAX, sizeof(*decisions)));
    struct twcs_policy policy = view->policy;
    size_t count;

    *debt = (struct compaction_debt){0};
    policy.max_jobs = 0; /* all of it, not what may begin now */
    count = twcs_decide(&policy, &view->clock, view->windows, view->info.window_count, decisions,
                        DECISIONS_MAX);
    for (size_t i = 0; i < count; i++)
        debt->pending_bytes += decision_bytes(&decisions[i], &view->windows[decisions[i].window]);
    for (size_t i = 0; i < view->info.window_count; i++) {
        const struct twcs_window *window = &view->windows[i];
        int64_t behind_ms = lag_ms(view, window);
        if (window->busy)
            debt->pending_bytes += chunk_bytes(window, 0, window->chunk_count);
        if (behind_ms > debt->lag_ms)
            debt->lag_ms = behind_ms;
    }
}
