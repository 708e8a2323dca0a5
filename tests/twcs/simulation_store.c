/* A store of the barest kind: rows in windows, and the jobs that twcs asks for, prepared in one
 * step and committed in a later one. */
#include <stdlib.h>
#include <string.h>

#include "tests/twcs/simulation_world.h"

static struct window *window_find(struct world *world, struct shard *shard, int64_t start_ms,
                                  int64_t length_ms)
{
    struct window *window;
    size_t at = 0;

    while (at < shard->window_count &&
           (shard->windows[at]->start_ms < start_ms || (shard->windows[at]->start_ms == start_ms &&
                                                        shard->windows[at]->length_ms < length_ms)))
        at++;
    if (at < shard->window_count && shard->windows[at]->start_ms == start_ms &&
        shard->windows[at]->length_ms == length_ms)
        return shard->windows[at];
    if (shard->window_count == WINDOWS_MAX)
        world_fail(world, "more than %d windows in a shard", WINDOWS_MAX);
    if (shard->window_count == shard->window_capacity) {
        shard->window_capacity = shard->window_capacity ? 2 * shard->window_capacity : 8;
        shard->windows = realloc(shard->windows, shard->window_capacity * sizeof(struct window *));
        if (!shard->windows)
            abort();
    }
    memmove(shard->windows + at + 1, shard->windows + at,
            (shard->window_count - at) * sizeof(struct window *));
    window = window_new(start_ms, length_ms);
    shard->windows[at] = window;
    shard->window_count++;
    return window;
}

void store_remove_window(struct shard *shard, size_t index)
{
    window_delete(shard->windows[index]);
    shard->window_count--;
    memmove(shard->windows + index, shard->windows + index + 1,
            (shard->window_count - index) * sizeof(struct window *));
}

void store_destroy(struct shard *shard)
{
    while (shard->window_count)
        store_remove_window(shard, shard->window_count - 1);
    free(shard->windows);
}

int64_t store_row_expiry(const struct world *world, const struct row *row)
{
    return twcs_expiry(&world->policy, row->event_ms, row->ttl_ms);
}

int64_t store_max_expiry(const struct world *world, struct window *window)
{
    if (!window->expiry_known) {
        int64_t first_ms = TWCS_NEVER;
        window->max_expiry_ms = TWCS_NO_TIME;
        for (size_t i = 0; i < window->row_count; i++) {
            int64_t expiry_ms = store_row_expiry(world, &window->rows[i]);
            if (expiry_ms > window->max_expiry_ms)
                window->max_expiry_ms = expiry_ms;
            if (expiry_ms < first_ms)
                first_ms = expiry_ms;
        }
        if (world->fault == SIMULATION_EARLY_EXPIRY)
            window->max_expiry_ms = first_ms;
        window->expiry_known = true;
    }
    return window->max_expiry_ms;
}

/* Another TTL means other expiries, another style another order of files. */
void store_take_policy(struct shard *shard)
{
    for (size_t i = 0; i < shard->window_count; i++) {
        shard->windows[i]->expiry_known = false;
        shard->windows[i]->mending = true;
        shard->windows[i]->chunks_at_change = shard->windows[i]->chunk_count;
    }
}

void store_accept(struct world *world, struct shard *shard, int64_t event_ms, int64_t ttl_ms,
                  uint32_t bytes)
{
    int64_t length_ms = world->policy.window_ms;
    struct window *window =
        window_find(world, shard, twcs_window_start(event_ms, length_ms), length_ms);

    struct row row = {.event_ms = event_ms, .ttl_ms = ttl_ms, .bytes = bytes};

    row.key = (uint16_t)world_below(world, length_ms == 0 ? world->key_count : KEYS_MAX);
    if (window->row_of_key && window->row_of_key[row.key]) {
        window_mask_row(window, window->row_of_key[row.key] - 1);
        world->masked++;
        world->present--;
    }
    (void)window_add_row(window, row);
    window->memtable_rows++;
    window->memtable_bytes += bytes;
    window->last_arrival_ms = world->wall_ms;
    window->expiry_known = false;
    world->accepted++;
    world->present++;
}

/* An upsert or a delete of some id: its older version is dead wherever it lies. */
void store_mask_one(struct world *world, struct shard *shard)
{
    struct window *window;

    if (shard->window_count == 0)
        return;
    window = shard->windows[world_below(world, shard->window_count)];
    if (window->row_count == 0)
        return;
    window_mask_row(window, world_below(world, window->row_count));
    world->masked++;
    world->present--;
}

static void window_flush(struct world *world, struct window *window)
{
    uint32_t *rows;
    size_t count = 0;

    if (window->memtable_rows == 0)
        return;
    rows = malloc(window->row_count * sizeof(*rows));
    if (!rows)
        abort();
    for (size_t i = 0; i < window->row_count; i++)
        if (window->rows[i].place == PLACE_MEMTABLE)
            rows[count++] = (uint32_t)i;
    window_write_chunk(world, window, rows, count, 0);
    window->memtable_rows = 0;
    window->memtable_bytes = 0;
    free(rows);
}

/* As the store's append does: what would bring level 0 over its bound waits. */
bool store_overloaded(const struct shard *shard)
{
    for (size_t i = 0; i < shard->window_count; i++) {
        const struct window *window = shard->windows[i];
        struct twcs_window described = {.length_ms = window->length_ms,
                                        .chunks = window->chunks,
                                        .chunk_count = window->chunk_count};
        if (twcs_overloaded(&described))
            return true;
    }
    return false;
}

void store_flush(struct world *world, struct shard *shard)
{
    if (store_overloaded(shard))
        return;
    for (size_t i = 0; i < shard->window_count; i++)
        window_flush(world, shard->windows[i]);
}

uint64_t store_window_bytes(const struct world *world, const struct window *window)
{
    uint64_t bytes = window->memtable_bytes;

    if (window->sealed)
        bytes += window->run.bytes + window->run.bytes / 8; /* and its segment */
    for (size_t i = 0; i < window->chunk_count; i++)
        bytes += window->chunks[i].bytes;
    if (world->fault != SIMULATION_FORGOTTEN_BYTES)
        bytes += window->job.temporary_bytes;
    return bytes;
}

uint64_t store_bytes(const struct world *world)
{
    uint64_t bytes = 0;

    for (size_t s = 0; s < world->shard_count; s++)
        for (size_t i = 0; i < world->shards[s].window_count; i++)
            bytes += store_window_bytes(world, world->shards[s].windows[i]);
    return bytes;
}

/* The largest expiry of each chunk's rows, and what a fault hides. */
static void describe_chunks(struct world *world, struct window *window)
{
    static uint32_t chunk_of[FILES_MAX]; /* by file number */
    bool merges = window->length_ms == 0 || world->policy.style >= TWCS_STYLE_SIZE_TIERED;

    if (world->next_file >= FILES_MAX)
        world_fail(world, "more than %d files", FILES_MAX);
    if (!merges || world_failed(world))
        return;
    for (size_t i = 0; i < window->chunk_count; i++) {
        struct twcs_run *chunk = &window->chunks[i];
        chunk->max_expiry_ms = TWCS_NO_TIME;
        chunk_of[chunk->file_number] = (uint32_t)i;
        if (world->fault == SIMULATION_NARROW_RANGES)
            chunk->last_key = chunk->first_key;
        if (world->fault == SIMULATION_HIDDEN_MASKS)
            chunk->dead_rows = 0;
    }
    for (size_t i = 0; i < window->row_count; i++) {
        const struct row *row = &window->rows[i];
        int64_t expiry_ms = store_row_expiry(world, row);
        struct twcs_run *chunk;
        if (row->place != PLACE_CHUNK)
            continue;
        chunk = &window->chunks[chunk_of[row->run]];
        if (expiry_ms > chunk->max_expiry_ms)
            chunk->max_expiry_ms = expiry_ms;
    }
}

void store_describe(struct world *world, struct shard *shard, struct twcs_window *windows)
{
    for (size_t i = 0; i < shard->window_count; i++) {
        struct window *window = shard->windows[i];
        describe_chunks(world, window);
        windows[i] = (struct twcs_window){
            .start_ms = window->start_ms,
            .length_ms = window->length_ms,
            .sealed = window->sealed,
            .busy = window->job.running && world->fault != SIMULATION_HIDDEN_JOBS,
            .generation = window->generation,
            .sealed_run = window->run,
            .masked_rows = window->masked_rows,
            .chunks = window->chunks,
            .chunk_count = window->chunk_count,
            .memtable_rows = window->memtable_rows,
            .max_expiry_ms = store_max_expiry(world, window),
            .last_arrival_wall_ms = window->last_arrival_ms,
            .total_bytes = store_window_bytes(world, window),
        };
    }
}

/* Rows that leave a merge or a dropped window must have expired. */
static void rows_expire(struct world *world, const struct shard *shard, struct window *window,
                        bool all, const char *cause)
{
    for (size_t i = window->row_count; i-- > 0;) {
        bool expired = store_row_expiry(world, &window->rows[i]) <= shard->clock.safe_wall_ms;
        if (!all && (!expired || !window->rows[i].covered))
            continue;
        if (!expired)
            world_fail(world, "%s lost a row with event time %lld that expires at %lld, at %lld",
                       cause, (long long)window->rows[i].event_ms,
                       (long long)store_row_expiry(world, &window->rows[i]),
                       (long long)shard->clock.safe_wall_ms);
        window_remove_row(window, i);
        world->expired++;
        world->present--;
    }
}

static uint64_t input_bytes(const struct window *window, const struct twcs_decision *decision)
{
    uint64_t bytes = decision->action == TWCS_RESEAL ? window->run.bytes : 0;
    size_t first = decision->action == TWCS_TIER ? decision->first_chunk : 0;
    size_t count = decision->action == TWCS_TIER ? decision->chunk_count : window->chunk_count;

    for (size_t i = first; i < first + count; i++)
        bytes += window->chunks[i].bytes;
    return bytes;
}

/* Inputs out, output in: what came meanwhile stays behind them. */
static void chunks_replace(struct window *window, const struct twcs_run *output)
{
    size_t first = window->job.first_chunk;
    size_t behind = first + window->job.chunk_count;

    memmove(window->chunks + first + (output ? 1 : 0), window->chunks + behind,
            (window->chunk_count - behind) * sizeof(struct twcs_run));
    window->chunk_count -= window->job.chunk_count - (output ? 1 : 0);
    if (output)
        window->chunks[first] = *output;
}

static void commit_tier(struct world *world, struct window *window)
{
    struct twcs_run output = {.file_number = ++world->next_file};
    size_t first = window->job.first_chunk;
    uint32_t *rows = malloc((window->row_count + 1) * sizeof(*rows));
    size_t count = 0;

    if (!rows)
        abort();
    for (size_t i = 0; i < window->row_count; i++)
        for (size_t c = first; c < first + window->job.chunk_count; c++)
            if (window->rows[i].place == PLACE_CHUNK &&
                window->rows[i].run == window->chunks[c].file_number)
                rows[count++] = (uint32_t)i;
    if (count > 0) { /* written behind the others, then put where its inputs were */
        window_write_chunk(world, window, rows, count, 0);
        output = window->chunks[--window->chunk_count];
    }
    chunks_replace(window, count > 0 ? &output : NULL);
    free(rows);
}

static void commit_major(struct world *world, struct shard *shard, struct window *window)
{
    struct twcs_run output = {.file_number = ++world->next_file, .max_event_ms = INT64_MIN};

    if (window->sealed != (window->job.action == TWCS_RESEAL))
        world_fail(world, "window %lld: a second first major", (long long)window->start_ms);
    rows_expire(world, shard, window, false, "a major");
    for (size_t i = 0; i < window->row_count; i++) {
        struct row *row = &window->rows[i];
        if (!row->covered)
            continue;
        row->covered = false;
        row->place = PLACE_RUN;
        output.rows++;
        output.bytes += row->bytes;
        if (row->event_ms > output.max_event_ms)
            output.max_event_ms = row->event_ms;
    }
    chunks_replace(window, NULL);
    window->run = output;
    window->masked_rows = 0;
    window->generation++;
    if (!window->sealed)
        window->sealed_watermark_ms = shard->clock.watermark_ms;
    window->sealed = true;
    if (world->fault != SIMULATION_LOST_WATERMARK)
        shard->persisted = shard->clock;
}

static void job_commit(struct world *world, struct shard *shard, struct window *window)
{
    if (window->job.action == TWCS_TIER)
        commit_tier(world, window);
    else if (window->job.action == TWCS_COMPACT)
        compact_commit(world, shard, window);
    else
        commit_major(world, shard, window);
    world->report->actions[window->job.action]++;
    window->job = (struct job){0};
    window->due_since = 0;
}

static void job_begin(struct world *world, struct shard *shard, struct window *window,
                      const struct twcs_decision *decision)
{
    bool major = decision->action != TWCS_TIER;

    if (window->job.running) {
        world_fail(world, "two jobs of window %lld at once", (long long)window->start_ms);
        return;
    }
    if (decision->action == TWCS_COMPACT) {
        compact_begin(world, window, decision);
        /* What reads nothing is done at once. */
        if (decision->trivial_move || decision->reason == TWCS_REASON_EXPIRED)
            job_commit(world, shard, window);
        return;
    }
    if (major)
        window_flush(world, window);
    window->job = (struct job){
        .running = true,
        .action = decision->action,
        .steps_left = (unsigned)world_below(world, 4),
        .first_chunk = major ? 0 : decision->first_chunk,
        .chunk_count = major ? window->chunk_count : decision->chunk_count,
        .temporary_bytes = input_bytes(window, decision),
    };
    for (size_t i = 0; i < window->row_count; i++)
        window->rows[i].covered = major;
}

void store_advance_jobs(struct world *world, struct shard *shard)
{
    for (size_t i = shard->window_count; i-- > 0;) {
        struct window *window = shard->windows[i];
        if (window->job.running && window->job.steps_left-- == 0)
            job_commit(world, shard, window);
        if (!window->job.running && window->row_count == 0 && window->chunk_count == 0)
            store_remove_window(shard, i);
    }
}

void store_abandon_jobs(struct shard *shard)
{
    for (size_t i = 0; i < shard->window_count; i++) {
        shard->windows[i]->job = (struct job){0};
        for (size_t r = 0; r < shard->windows[i]->row_count; r++)
            shard->windows[i]->rows[r].covered = false;
    }
}

/* Removes the windows of drops; indexes of later decisions would move, so the caller passes
 * decisions from the last to the first. */
void store_begin(struct world *world, struct shard *shard, const struct twcs_decision *decision)
{
    struct window *window = shard->windows[decision->window];

    if (decision->action != TWCS_DROP_TTL) {
        job_begin(world, shard, window, decision);
        return;
    }
    if (window->job.running)
        world_fail(world, "window %lld dropped under a job", (long long)window->start_ms);
    rows_expire(world, shard, window, true, "a TTL drop");
    world->report->actions[TWCS_DROP_TTL]++;
    store_remove_window(shard, decision->window);
}
