/* A k-way merge by key over what each part says is its key order.
 *
 * Rows are taken in batches: the winners of a batch are chosen by a tournament over the parts'
 * cursors (a binary heap), then their vectors are gathered part by part, then they go to the writer
 * in order. Of one id at most one version lives, so that masks alone decide; should two ever live,
 * the larger offset wins. */
#include "store/merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/shard.h"
#include "store/skiplist.h"

enum { MERGE_BATCH_ROWS = 256 };

struct merge_input {
    struct part *part;
    uint32_t place; /* next place of the key order */
    uint32_t row;   /* the row at it */
    const uint8_t *key;
    size_t key_bytes;
    uint32_t *rows;   /* of the batch, in this part */
    uint32_t *places; /* where they stand in the batch */
    uint32_t count;
};

struct merge_state {
    const struct merge *merge;
    struct merge_input *inputs;
    struct merge_input **heap;
    size_t heap_count;
    struct table_writer *writer;
    struct arena arena;
    struct merge_input **batch_input; /* who has the i-th row of the batch */
    uint32_t *batch_row;
    const float **batch_vector;
    float *vectors;
    uint32_t batch_count;
    uint64_t written;
};

static bool row_survives(const struct merge *merge, const struct part *part, uint32_t row)
{
    int64_t ttl_ms = atomic_load_explicit(&merge->shard->ttl_ms, memory_order_relaxed);

    return part_dead_at(part, row) >= merge->dead_below &&
           !shard_row_expired(part->event_times[row], part->ttls ? part->ttls[row] : 0, ttl_ms,
                              merge->now_ms);
}

/* Moves to the next row that survives; false at the end. */
static bool input_advance(const struct merge *merge, struct merge_input *input)
{
    for (; input->place < input->part->row_count; input->place++) {
        input->row = table_row_at(input->part->table, input->place);
        if (!row_survives(merge, input->part, input->row))
            continue;
        input->key = table_key(input->part->table, input->row, &input->key_bytes);
        input->place++;
        return true;
    }
    return false;
}

/* By key, of one key the larger offset first. */
static bool input_before(const struct merge_input *a, const struct merge_input *b)
{
    int order = skiplist_compare(a->key, a->key_bytes, b->key, b->key_bytes);

    if (order != 0)
        return order < 0;
    return a->part->offsets[a->row] > b->part->offsets[b->row];
}

static void heap_sink(struct merge_state *state, size_t at)
{
    struct merge_input *item = state->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= state->heap_count)
            break;
        if (child + 1 < state->heap_count &&
            input_before(state->heap[child + 1], state->heap[child]))
            child++;
        if (!input_before(state->heap[child], item))
            break;
        state->heap[at] = state->heap[child];
        at = child;
    }
    state->heap[at] = item;
}

static void state_create(struct merge_state *state, const struct merge *merge)
{
    uint32_t dim = merge->shard->dim;

    *state = (struct merge_state){.merge = merge};
    arena_create(&state->arena, 0);
    state->inputs = calloc(merge->input_count, sizeof(*state->inputs));
    state->heap = calloc(merge->input_count, sizeof(*state->heap));
    state->batch_input = calloc(MERGE_BATCH_ROWS, sizeof(*state->batch_input));
    state->batch_row = calloc(MERGE_BATCH_ROWS, sizeof(*state->batch_row));
    state->batch_vector = calloc(MERGE_BATCH_ROWS, sizeof(*state->batch_vector));
    state->vectors =
        aligned_alloc(64, ((size_t)MERGE_BATCH_ROWS * dim * sizeof(float) + 63) / 64 * 64);
    if (!state->inputs || !state->heap || !state->batch_input || !state->batch_row ||
        !state->batch_vector || !state->vectors)
        abort();
    for (size_t i = 0; i < merge->input_count; i++) {
        struct merge_input *input = &state->inputs[i];
        input->part = merge->inputs[i];
        input->rows = calloc(MERGE_BATCH_ROWS, sizeof(*input->rows));
        input->places = calloc(MERGE_BATCH_ROWS, sizeof(*input->places));
        if (!input->rows || !input->places)
            abort();
        if (input_advance(merge, input))
            state->heap[state->heap_count++] = input;
    }
    for (size_t i = state->heap_count / 2; i-- > 0;)
        heap_sink(state, i);
}

static void state_destroy(struct merge_state *state)
{
    for (size_t i = 0; i < state->merge->input_count; i++) {
        free(state->inputs[i].rows);
        free(state->inputs[i].places);
    }
    free(state->inputs);
    free(state->heap);
    free(state->batch_input);
    free(state->batch_row);
    free(state->batch_vector);
    free(state->vectors);
    arena_destroy(&state->arena);
}

/* The next winner into the batch; losers of the same key are passed over. */
static void take_winner(struct merge_state *state)
{
    struct merge_input *winner = state->heap[0];
    const uint8_t *key = winner->key;
    size_t key_bytes = winner->key_bytes;

    state->batch_input[state->batch_count] = winner;
    state->batch_row[state->batch_count] = winner->row;
    winner->rows[winner->count] = winner->row;
    winner->places[winner->count++] = state->batch_count++;
    do {
        if (!input_advance(state->merge, state->heap[0]))
            state->heap[0] = state->heap[--state->heap_count];
        if (state->heap_count > 0)
            heap_sink(state, 0);
    } while (state->heap_count > 0 &&
             skiplist_compare(state->heap[0]->key, state->heap[0]->key_bytes, key, key_bytes) == 0);
}

static int gather_vectors(struct merge_state *state, struct error *error)
{
    const struct merge *merge = state->merge;
    uint32_t dim = merge->shard->dim;
    float *to = state->vectors;

    for (size_t i = 0; i < merge->input_count; i++) {
        struct merge_input *input = &state->inputs[i];
        int code;
        if (input->count == 0)
            continue;
        code = table_gather(input->part->table, input->rows, input->count, to, error);
        if (code != 0)
            return code;
        for (uint32_t j = 0; j < input->count; j++)
            state->batch_vector[input->places[j]] = to + (size_t)j * dim;
        to += (size_t)input->count * dim;
        input->count = 0;
    }
    return 0;
}

static int write_batch(struct merge_state *state, struct error *error)
{
    int code = gather_vectors(state, error);

    for (uint32_t i = 0; i < state->batch_count && code == 0; i++) {
        const struct part *part = state->batch_input[i]->part;
        uint32_t row = state->batch_row[i];
        struct table_row out = {.event_time_ms = part->event_times[row],
                                .offset = part->offsets[row],
                                .ttl_ms = part->ttls ? part->ttls[row] : 0,
                                .vector = state->batch_vector[i]};
        size_t key_bytes;
        size_t payload_bytes;
        out.key = table_key(part->table, row, &key_bytes);
        out.key_bytes = (uint16_t)key_bytes;
        code = table_payload(part->table, row, &state->arena, &out.payload, &payload_bytes, error);
        if (code != 0)
            break;
        out.payload_bytes = (uint32_t)payload_bytes;
        code = table_writer_add(state->writer, &out, error);
    }
    state->written += state->batch_count;
    state->batch_count = 0;
    arena_reset(&state->arena);
    return code;
}

static int merge_rows(struct merge_state *state, struct error *error)
{
    int code = 0;

    while (state->heap_count > 0 && code == 0) {
        if (state->merge->cancel && *state->merge->cancel)
            return error_set(error, ERROR_CANCELLED, "the merge was cancelled");
        while (state->heap_count > 0 && state->batch_count < MERGE_BATCH_ROWS)
            take_winner(state);
        code = write_batch(state, error);
    }
    return code;
}

int merge_run(const struct merge *merge, struct manifest_table *table, struct part **part,
              struct error *error)
{
    struct store_shard *shard = merge->shard;
    struct merge_state state;
    int code;

    *part = NULL;
    state_create(&state, merge);
    code =
        table_writer_open(shard->io, shard->directory, &table->description, &state.writer, error);
    if (code == 0) {
        code = merge_rows(&state, error);
        if (code != 0 || state.written == 0)
            table_writer_abort(state.writer);
        else
            code = table_writer_finish(state.writer, &table->info, error);
    }
    if (code == 0 && state.written > 0) {
        assert(table->info.row_count == state.written);
        metric_add(shard->metrics.bytes_run,
                   (double)(table->info.index_bytes + table->info.vector_bytes));
        code = part_open(shard, table, NULL, part, error);
    }
    state_destroy(&state);
    return code;
}

static void carry_row(struct part *run, const struct part *input, uint32_t row, int64_t dead_at)
{
    size_t key_bytes;
    const uint8_t *key = table_key(input->table, row, &key_bytes);
    uint32_t found;

    /* The run has another version of the key when this row lost, or none when it had expired. */
    if (table_find(run->table, key, key_bytes, table_key_hash(key, key_bytes), &found) &&
        run->offsets[found] == input->offsets[row] && part_dead_at(run, found) == PART_ALIVE)
        part_kill(run, found, dead_at);
}

void merge_carry_masks(const struct merge *merge, struct part *run, int64_t below)
{
    for (size_t i = 0; i < merge->input_count; i++) {
        const struct part *input = merge->inputs[i];
        for (uint32_t p = 0; p < input->page_count; p++) {
            const struct part_page *page =
                atomic_load_explicit(&input->pages[p], memory_order_acquire);
            if (!page)
                continue;
            for (uint32_t j = 0; j < PART_PAGE_ROWS; j++) {
                int64_t dead_at = atomic_load_explicit(&page->dead_at[j], memory_order_acquire);
                if (dead_at >= merge->dead_below && dead_at < below)
                    carry_row(run, input, p * PART_PAGE_ROWS + j, dead_at);
            }
        }
    }
}
