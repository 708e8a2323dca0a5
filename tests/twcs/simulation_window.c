/* Rows and chunks of one window of the simulated store. */
#include <stdlib.h>
#include <string.h>

#include "tests/twcs/simulation_world.h"

static void *grown(void *items, size_t count, size_t *capacity, size_t size_bytes)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 8;
    items = realloc(items, *capacity * size_bytes);
    if (!items)
        abort();
    return items;
}

struct window *window_new(int64_t start_ms, int64_t length_ms)
{
    struct window *window = calloc(1, sizeof(*window));

    if (!window)
        abort();
    window->start_ms = start_ms;
    window->length_ms = length_ms;
    if (length_ms == 0) {
        window->row_of_key = calloc(KEYS_MAX, sizeof(*window->row_of_key));
        if (!window->row_of_key)
            abort();
    }
    return window;
}

void window_delete(struct window *window)
{
    free(window->rows);
    free(window->chunks);
    free(window->row_of_key);
    free(window);
}

struct row *window_add_row(struct window *window, struct row row)
{
    window->rows =
        grown(window->rows, window->row_count, &window->row_capacity, sizeof(struct row));
    window->rows[window->row_count++] = row;
    if (window->row_of_key)
        window->row_of_key[row.key] = (uint32_t)window->row_count;
    return &window->rows[window->row_count - 1];
}

void window_remove_row(struct window *window, size_t index)
{
    struct row *last = &window->rows[--window->row_count];

    if (window->row_of_key) {
        window->row_of_key[last->key] = (uint32_t)index + 1;
        window->row_of_key[window->rows[index].key] = 0;
        if (last == &window->rows[index])
            window->row_of_key[last->key] = 0;
    }
    window->rows[index] = *last;
    window->expiry_known = false;
}

void window_mask_row(struct window *window, size_t index)
{
    const struct row *row = &window->rows[index];

    if (row->place == PLACE_RUN) {
        window->masked_rows++;
    } else if (row->place == PLACE_MEMTABLE) {
        window->memtable_rows--;
        window->memtable_bytes -= row->bytes;
    } else {
        for (size_t i = 0; i < window->chunk_count; i++)
            window->chunks[i].dead_rows += window->chunks[i].file_number == row->run;
    }
    window_remove_row(window, index);
}

void window_add_chunk(struct window *window, struct twcs_run chunk)
{
    window->chunks =
        grown(window->chunks, window->chunk_count, &window->chunk_capacity, sizeof(chunk));
    window->chunks[window->chunk_count++] = chunk;
}

/* Keys as they are compared, for descriptions. */
static const uint8_t *key_bytes(uint16_t key)
{
    static uint8_t keys[KEYS_MAX][2];

    keys[key][0] = (uint8_t)(key >> 8);
    keys[key][1] = (uint8_t)key;
    return keys[key];
}

void window_write_chunk(struct world *world, struct window *window, const uint32_t *rows,
                        size_t count, uint8_t level)
{
    struct twcs_run chunk = {.file_number = ++world->next_file,
                             .rows = count,
                             .level = level,
                             .min_event_ms = INT64_MAX,
                             .max_event_ms = INT64_MIN,
                             .first_key_bytes = 2,
                             .last_key_bytes = 2};
    uint16_t first = UINT16_MAX;
    uint16_t last = 0;

    for (size_t i = 0; i < count; i++) {
        struct row *row = &window->rows[rows[i]];
        row->place = PLACE_CHUNK;
        row->run = chunk.file_number;
        chunk.bytes += row->bytes;
        if (row->event_ms > chunk.max_event_ms)
            chunk.max_event_ms = row->event_ms;
        if (row->event_ms < chunk.min_event_ms)
            chunk.min_event_ms = row->event_ms;
        first = row->key < first ? row->key : first;
        last = row->key > last ? row->key : last;
    }
    chunk.first_key = key_bytes(first);
    chunk.last_key = key_bytes(last);
    window_add_chunk(window, chunk);
}
