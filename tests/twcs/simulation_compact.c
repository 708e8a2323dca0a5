/* Compaction in the simulated store, and what must hold for levels after each step. */
#include <stdlib.h>
#include <string.h>

#include "tests/twcs/simulation_world.h"

static bool is_input(const struct window *window, const struct twcs_decision *decision,
                     uint64_t file_number)
{
    for (uint32_t i = 0; i < decision->input_count; i++)
        if (window->chunks[decision->inputs[i]].file_number == file_number)
            return true;
    return false;
}

void compact_begin(struct world *world, struct window *window, const struct twcs_decision *decision)
{
    window->job = (struct job){
        .running = true,
        .action = TWCS_COMPACT,
        .steps_left = decision->trivial_move ? 0 : (unsigned)world_below(world, 4),
        .compact = *decision,
    };
    for (uint32_t i = 0; i < decision->input_count && !decision->trivial_move; i++)
        window->job.temporary_bytes += window->chunks[decision->inputs[i]].bytes;
}

static void forget_inputs(struct window *window)
{
    const struct twcs_decision *decision = &window->job.compact;
    size_t kept = 0;
    uint32_t next = 0;

    for (size_t i = 0; i < window->chunk_count; i++) {
        if (next < decision->input_count && decision->inputs[next] == i)
            next++;
        else
            window->chunks[kept++] = window->chunks[i];
    }
    window->chunk_count = kept;
}

static const struct window *sorted_window;

static int by_key(const void *a, const void *b)
{
    return (int)sorted_window->rows[*(const uint32_t *)a].key -
           (int)sorted_window->rows[*(const uint32_t *)b].key;
}

/* Cuts at the target, never inside a key. */
static void write_outputs(struct world *world, struct window *window, uint32_t *rows, size_t count)
{
    const struct twcs_decision *decision = &window->job.compact;
    uint64_t target = decision->target_file_bytes;
    size_t first = 0;
    uint64_t bytes = 0;

    sorted_window = window;
    qsort(rows, count, sizeof(*rows), by_key);
    for (size_t i = 0; i < count; i++) {
        bytes += window->rows[rows[i]].bytes;
        if (i + 1 < count && (target == 0 || bytes < target ||
                              window->rows[rows[i]].key == window->rows[rows[i + 1]].key))
            continue;
        window_write_chunk(world, window, rows + first, i + 1 - first, decision->output_level);
        first = i + 1;
        bytes = 0;
    }
}

void compact_commit(struct world *world, struct shard *shard, struct window *window)
{
    const struct twcs_decision *decision = &window->job.compact;
    uint32_t *rows;
    size_t count = 0;

    world->report->reasons[decision->reason]++;
    world->report->moves += decision->trivial_move;
    if (decision->trivial_move) {
        window->chunks[decision->inputs[0]].level = decision->output_level;
        return;
    }
    rows = malloc((window->row_count + 1) * sizeof(*rows));
    if (!rows)
        abort();
    for (size_t i = window->row_count; i-- > 0;) {
        struct row *row = &window->rows[i];
        bool expired = store_row_expiry(world, row) <= shard->clock.safe_wall_ms;
        if (row->place != PLACE_CHUNK || !is_input(window, decision, row->run))
            continue;
        if (!expired && decision->reason == TWCS_REASON_EXPIRED)
            world_fail(world, "a run was called expired that holds a row of %lld",
                       (long long)row->event_ms);
        if (!expired)
            continue;
        window_remove_row(window, i);
        world->expired++;
        world->present--;
    }
    for (size_t i = 0; i < window->row_count; i++)
        if (window->rows[i].place == PLACE_CHUNK && is_input(window, decision, window->rows[i].run))
            rows[count++] = (uint32_t)i;
    forget_inputs(window);
    write_outputs(world, window, rows, count);
    free(rows);
}

void compact_check_decision(struct world *world, const struct twcs_window *window,
                            const struct twcs_decision *decision)
{
    bool alone = decision->reason == TWCS_REASON_SPACE || decision->reason == TWCS_REASON_EXPIRED;

    if (window->sealed || decision->input_count == 0 || decision->output_level >= TWCS_LEVEL_COUNT)
        world_fail(world, "a compaction of nothing, or into nowhere");
    for (uint32_t i = 0; i < decision->input_count; i++)
        if (decision->inputs[i] >= window->chunk_count ||
            (i > 0 && decision->inputs[i] <= decision->inputs[i - 1]))
            world_fail(world, "inputs of a compaction are out of order");
    if (decision->trivial_move &&
        (decision->input_count != 1 ||
         decision->output_level != window->chunks[decision->inputs[0]].level + 1))
        world_fail(world, "a move of more than one run, or by more than one level");
    if (decision->input_count == 1 && !decision->trivial_move && !alone)
        world_fail(world, "a run is rewritten for nothing");
    if (twcs_overloaded(window) && decision->output_level == 0 &&
        decision->reason != TWCS_REASON_EXPIRED)
        world_fail(world, "ingestion waits, and something else is merged");
}

/* After each step. */

static uint8_t sorted_from(enum twcs_style style)
{
    return style == TWCS_STYLE_LEVELED ? 1 : style == TWCS_STYLE_HYBRID ? 3 : TWCS_LEVEL_COUNT;
}

static bool keys_meet(const struct twcs_run *a, const struct twcs_run *b)
{
    return memcmp(a->first_key, b->last_key, 2) <= 0 && memcmp(b->first_key, a->last_key, 2) <= 0;
}

static bool is_disordered(const struct world *world, const struct window *window)
{
    for (size_t i = 0; i < window->chunk_count; i++)
        for (size_t j = 0; j < i; j++)
            if (window->chunks[i].level >= sorted_from(world->policy.style) &&
                window->chunks[i].level == window->chunks[j].level &&
                keys_meet(&window->chunks[i], &window->chunks[j]))
                return true;
    return false;
}

/* What has been so `since` must end before `until`. */
static bool is_overdue(const struct world *world, bool now, uint64_t patience, uint64_t *since,
                       uint64_t *until)
{
    if (!now) {
        *since = 0;
    } else if (*since == 0) {
        *since = world->step;
        *until = world->step + patience;
    }
    return now && world->step > *until;
}

static void check_order(struct world *world, const struct shard *shard, struct window *window)
{
    bool disordered = is_disordered(world, window);
    /* What only waits for what pins it is dropped, not merged. */
    bool leaves =
        window->length_ms > 0 && store_max_expiry(world, window) <= shard->clock.safe_wall_ms;

    window->mending &= disordered;
    if (disordered && !window->mending)
        world_fail(world, "a key is in two files of one level");
    /* Other merges, and new changes of the style, come between. */
    if (is_overdue(world, disordered && !leaves, 100 + 10 * window->chunk_count,
                   &window->disorder_since, &window->disorder_until))
        world_fail(world, "files of a former style have shared keys since step %llu",
                   (unsigned long long)window->disorder_since);
}

/* Counted from the rows, not taken from what the chunks say of themselves. */
static double live_bytes_of(const struct window *window)
{
    static uint32_t live_rows[FILES_MAX]; /* by file number */
    double bytes = 0;

    for (size_t i = 0; i < window->chunk_count; i++)
        live_rows[window->chunks[i].file_number] = 0;
    for (size_t i = 0; i < window->row_count; i++)
        if (window->rows[i].place == PLACE_CHUNK)
            live_rows[window->rows[i].run]++;
    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct twcs_run *chunk = &window->chunks[i];
        bytes += (double)chunk->bytes * live_rows[chunk->file_number] /
                 (double)(chunk->rows ? chunk->rows : 1);
    }
    return bytes;
}

/* Bytes of chunks over bytes of what is not masked in them, by the mean of each chunk: which of its
 * rows are the large ones no run tells. The margin is for what comes while merges are under way.
 * How much of a run has expired twcs can only reckon, but a run whose last row has must go. */
static void check_space(struct world *world, const struct shard *shard, struct window *window)
{
    double bound = 1.3 * world->policy.max_space_amplification;
    uint64_t stored_bytes = 0;
    double live_bytes = live_bytes_of(window);
    bool expired = false;

    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct twcs_run *chunk = &window->chunks[i];
        stored_bytes += chunk->bytes;
        /* With few ids a run is superseded whole in each step: these are not counted. */
        expired |= chunk->max_expiry_ms > TWCS_NO_TIME &&
                   chunk->max_expiry_ms <= shard->clock.safe_wall_ms - 10 * world->step_ms;
    }
    /* Each run is rewritten by a job of its own. */
    if (is_overdue(world, stored_bytes > 50000000 && (double)stored_bytes > bound * live_bytes,
                   20 + 5 * window->chunk_count, &window->waste_since, &window->waste_until))
        world_fail(world, "%llu bytes stored for %.0f live ones since step %llu",
                   (unsigned long long)stored_bytes, live_bytes,
                   (unsigned long long)window->waste_since);
    if (is_overdue(world, expired, 15, &window->expired_since, &window->expired_until))
        world_fail(world, "a run has been expired since step %llu",
                   (unsigned long long)window->expired_since);
}

void compact_check(struct world *world, const struct shard *shard, struct window *window)
{
    size_t level0 = 0;

    for (size_t i = 0; i < window->chunk_count; i++)
        level0 += window->chunks[i].level == 0;
    if (window->length_ms == 0 && level0 > TWCS_LEVEL0_FILES_MAX)
        world_fail(world, "%zu files in level 0", level0);
    if (window->sealed)
        return;
    check_order(world, shard, window);
    if (window->length_ms == 0)
        check_space(world, shard, window);
}
