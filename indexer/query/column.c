/* Making columns and keeping them. */
#include "indexer/query/column.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/thread.h"

enum {
    BATCH_ROWS = 1024,
    ROWS_MIN = 64,          /* fewer are decoded as fast */
    ENTRY_BYTES_MAX = 4096, /* of one row's values */
    /* Allowed for values: so much a row, and so much for any table. */
    BYTES_A_ROW = 48,
    BYTES_FREE = 256 * 1024
};
static const size_t CACHE_MAX_BYTES = (size_t)256 << 20;

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct column *cache;
static size_t cache_bytes;
static uint64_t cache_hits, cache_misses;

/* One pass over a table at a time; the others wait for its columns. */
static struct {
    pthread_once_t once;
    pthread_mutex_t lock;
    pthread_cond_t free;
    bool taken;
} building = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

static void building_create(void)
{
    thread_condition_create(&building.free);
}

/* False at the end of the view's time. */
static bool building_take(const struct query_view *view)
{
    int64_t deadline_ns = thread_deadline(view->stop->deadline_ns - io_monotonic_ns(view->io));
    bool taken;

    (void)pthread_once(&building.once, building_create);
    (void)pthread_mutex_lock(&building.lock);
    while (building.taken && thread_condition_wait(&building.free, &building.lock, deadline_ns))
        ;
    taken = !building.taken;
    building.taken = true;
    (void)pthread_mutex_unlock(&building.lock);
    return taken;
}

static void building_give(void)
{
    (void)pthread_mutex_lock(&building.lock);
    building.taken = false;
    (void)pthread_cond_signal(&building.free);
    (void)pthread_mutex_unlock(&building.lock);
}

/* The cache. */

/* With the cache's lock held. */
static void column_unref(struct column *column)
{
    if (--column->references > 0)
        return;
    arena_destroy(&column->arena);
    free(column->codes);
    free(column->starts);
    free(column->numbers);
    free(column->rows);
    free(column->values);
    free(column->directory);
    free(column->path);
    free(column);
}

static bool is_wanted(const struct column *column, const char *directory,
                      const struct store_source *source, const struct filter_slot *slot)
{
    return column->file_number == source->file_number && column->row_count == source->row_count &&
           column->path_bytes == slot->path_bytes &&
           memcmp(column->path, slot->path, slot->path_bytes) == 0 &&
           strcmp(column->directory, directory) == 0;
}

/* With the lock held: finds, takes a reference, moves to the front. */
static struct column *cache_take(const char *directory, const struct store_source *source,
                                 const struct filter_slot *slot)
{
    for (struct column **place = &cache; *place; place = &(*place)->next) {
        struct column *column = *place;
        if (!is_wanted(column, directory, source, slot))
            continue;
        *place = column->next;
        column->next = cache;
        cache = column;
        column->references++;
        return column;
    }
    return NULL;
}

/* The longest unused that may go; with `listed` one of payload_index, else another one. */
static struct column **oldest(const struct column *spared, bool listed)
{
    struct column **found = NULL;

    for (struct column **place = &cache; *place; place = &(*place)->next)
        if (*place != spared && (*place)->listed == listed)
            found = place;
    return found;
}

static void cache_put(struct column *column)
{
    column->next = cache;
    cache = column;
    column->references++;
    cache_bytes += column->bytes;
    while (cache_bytes > CACHE_MAX_BYTES) {
        struct column **place = oldest(column, false);
        struct column *old;
        if (!place)
            place = oldest(column, true);
        if (!place)
            return;
        old = *place;
        *place = old->next;
        cache_bytes -= old->bytes;
        column_unref(old);
    }
}

void query_columns_describe(struct query_columns_info *info)
{
    (void)pthread_mutex_lock(&cache_lock);
    *info = (struct query_columns_info){.hits = cache_hits,
                                        .misses = cache_misses,
                                        .bytes = cache_bytes,
                                        .max_bytes = CACHE_MAX_BYTES};
    (void)pthread_mutex_unlock(&cache_lock);
}

bool query_columns_have_room(void)
{
    bool room;

    (void)pthread_mutex_lock(&cache_lock);
    room = cache_bytes < CACHE_MAX_BYTES / 4 * 3;
    (void)pthread_mutex_unlock(&cache_lock);
    return room;
}

/* Making. */

/* One column while it is made: the dictionary is found by the encoded values. */
struct making {
    struct column *column;
    const struct filter_slot *slot;
    uint32_t *places; /* code + 1 by hash */
    uint64_t *hashes; /* by code */
    const uint8_t **encoded;
    uint32_t *encoded_bytes;
    uint32_t place_count; /* a power of two */
    struct doc *found;    /* what the path leads to in one row */
    uint32_t found_count, found_room;
};

static bool visit_found(void *context, const struct doc *value)
{
    struct making *making = context;

    if (making->found_count == making->found_room) {
        making->found_room = making->found_room ? making->found_room * 2 : 16;
        making->found = memory_resize(making->found, making->found_room, sizeof(*making->found));
    }
    making->found[making->found_count++] = *value;
    return false;
}

static void dictionary_grow(struct making *making)
{
    struct column *column = making->column;
    uint32_t room = column->value_room ? column->value_room * 2 : 64;

    column->values = memory_resize(column->values, room, sizeof(*column->values));
    making->hashes = memory_resize(making->hashes, room, sizeof(*making->hashes));
    making->encoded = memory_resize(making->encoded, room, sizeof(*making->encoded));
    making->encoded_bytes =
        memory_resize(making->encoded_bytes, room, sizeof(*making->encoded_bytes));
    column->value_room = room;
    making->place_count = room * 2;
    free(making->places);
    making->places = memory_new(making->place_count, sizeof(*making->places));
    for (uint32_t code = 0; code < column->value_count; code++) {
        uint32_t at = (uint32_t)making->hashes[code] & (making->place_count - 1);
        while (making->places[at])
            at = (at + 1) & (making->place_count - 1);
        making->places[at] = code + 1;
    }
}

/* The code of the encoded values, new or known; false when the column gets too large. */
static bool dictionary_code(struct making *making, const struct buffer *encoded, uint32_t *code)
{
    struct column *column = making->column;
    uint64_t hash = XXH3_64bits(encoded->data, encoded->size);
    uint32_t at;

    if (column->value_count == column->value_room)
        dictionary_grow(making);
    at = (uint32_t)hash & (making->place_count - 1);
    for (; making->places[at]; at = (at + 1) & (making->place_count - 1)) {
        *code = making->places[at] - 1;
        if (making->hashes[*code] == hash && making->encoded_bytes[*code] == encoded->size &&
            memcmp(making->encoded[*code], encoded->data, encoded->size) == 0)
            return true;
    }
    *code = column->value_count;
    making->encoded[*code] =
        (const uint8_t *)arena_copy(&column->arena, encoded->data, encoded->size);
    making->encoded_bytes[*code] = (uint32_t)encoded->size;
    making->hashes[*code] = hash;
    if (doc_parse_msgpack(&column->arena, making->encoded[*code], encoded->size, NULL,
                          &column->values[*code], ERROR_IGNORED) != 0)
        return false;
    making->places[at] = ++column->value_count;
    return column->arena.used_bytes + column->value_count * sizeof(*column->values) <=
           (size_t)column->row_count * BYTES_A_ROW + BYTES_FREE;
}

static void give_up(struct making *making)
{
    free(making->column->codes);
    making->column->codes = NULL;
}

static void take_row(struct making *making, uint32_t row, const struct doc *payload,
                     struct buffer *encoded)
{
    struct doc values;

    if (!making->column->codes)
        return;
    making->found_count = 0;
    (void)doc_visit_path(payload, making->slot->path, making->slot->path_bytes, visit_found,
                         making);
    values = (struct doc){.type = DOC_ARRAY, .count = making->found_count, .items = making->found};
    encoded->size = 0;
    doc_write_msgpack(encoded, &values);
    if (encoded->size > ENTRY_BYTES_MAX ||
        !dictionary_code(making, encoded, &making->column->codes[row]))
        give_up(making);
}

static void making_start(struct making *making, const char *directory,
                         const struct store_source *source, const struct filter_slot *slot)
{
    struct column *column = memory_new(1, sizeof(*column));

    arena_create(&column->arena, 0);
    column->references = 1;
    column->directory = memory_checked(strdup(directory));
    column->path = memory_checked(malloc(slot->path_bytes + 1));
    memcpy(column->path, slot->path, slot->path_bytes);
    column->path_bytes = slot->path_bytes;
    column->file_number = source->file_number;
    column->row_count = source->row_count;
    column->codes = memory_new(source->row_count, sizeof(*column->codes));
    *making = (struct making){.column = column, .slot = slot};
}

/* Rows by code: a counting sort. */
static void make_postings(struct column *column)
{
    uint32_t *next = memory_new((size_t)column->value_count + 1, sizeof(*next));

    column->starts = memory_new((size_t)column->value_count + 1, sizeof(*column->starts));
    column->rows = memory_new(column->row_count, sizeof(*column->rows));
    for (uint32_t row = 0; row < column->row_count; row++)
        column->starts[column->codes[row] + 1]++;
    for (uint32_t code = 0; code < column->value_count; code++)
        column->starts[code + 1] += column->starts[code];
    memcpy(next, column->starts, column->value_count * sizeof(*next));
    for (uint32_t row = 0; row < column->row_count; row++)
        column->rows[next[column->codes[row]]++] = row;
    free(next);
}

static struct column *making_finish(struct making *making)
{
    struct column *column = making->column;

    free(making->places);
    free(making->hashes);
    free(making->encoded);
    free(making->encoded_bytes);
    free(making->found);
    if (!column->codes) {
        arena_destroy(&column->arena);
        free(column->values);
        column->values = NULL;
        column->value_count = column->value_room = 0;
    }
    column->bytes = sizeof(*column) + column->arena.reserved_bytes +
                    column->value_room * (sizeof(*column->values) + sizeof(*column->numbers));
    if (column->codes)
        column->bytes +=
            ((size_t)column->row_count * 2 + column->value_count + 1) * sizeof(*column->codes);
    return column;
}

static int make_batch(struct making *makings, size_t count, const struct query_row *row,
                      uint32_t first, uint32_t rows, struct arena *scratch, struct buffer *encoded)
{
    uint32_t numbers[BATCH_ROWS];
    const uint8_t *payloads[BATCH_ROWS];
    uint32_t payload_bytes[BATCH_ROWS];
    struct error ignored; /* whoever needs the payloads meets the damage again, and reports it */
    int code;

    for (uint32_t i = 0; i < rows; i++)
        numbers[i] = first + i;
    code =
        store_rows_payloads(row->source, numbers, rows, scratch, payloads, payload_bytes, &ignored);
    for (uint32_t i = 0; code == 0 && i < rows; i++) {
        struct doc payload;
        code =
            query_payload_decode(row, payloads[i], payload_bytes[i], scratch, &payload, &ignored);
        for (size_t j = 0; code == 0 && j < count; j++)
            take_row(&makings[j], first + i, &payload, encoded);
    }
    return code;
}

/* All missing columns in one pass over the payloads. */
static int make_columns(const struct query_view *view, struct making *makings, size_t count,
                        const struct query_row *row)
{
    struct error ignored; /* whoever needs the columns finds that it has to stop */
    struct buffer encoded = {0};
    struct arena scratch;
    int code = 0;

    arena_create(&scratch, 0);
    for (uint32_t first = 0; code == 0 && first < row->source->row_count; first += BATCH_ROWS) {
        uint32_t left = row->source->row_count - first;
        code = query_view_check(view, &ignored);
        if (code == 0)
            code = make_batch(makings, count, row, first, left < BATCH_ROWS ? left : BATCH_ROWS,
                              &scratch, &encoded);
        arena_reset(&scratch);
    }
    arena_destroy(&scratch);
    buffer_destroy(&encoded);
    return code;
}

/* Acquiring. */

/* Takes what the cache has; returns how many are missing. */
static size_t take_known(const char *directory, const struct store_source *source,
                         const struct query_filter *filter, struct column **columns)
{
    size_t missing = 0;

    (void)pthread_mutex_lock(&cache_lock);
    for (uint32_t i = 0; i < filter->slot_count; i++) {
        if (!columns[i]) {
            columns[i] = cache_take(directory, source, &filter->slots[i]);
            *(columns[i] ? &cache_hits : &cache_misses) += 1;
        }
        missing += !columns[i];
    }
    (void)pthread_mutex_unlock(&cache_lock);
    return missing;
}

static bool is_listed(const struct config_collection *collection, const struct filter_slot *slot)
{
    for (size_t i = 0; i < collection->payload_index_count; i++)
        if (strlen(collection->payload_index[i]) == slot->path_bytes &&
            memcmp(collection->payload_index[i], slot->path, slot->path_bytes) == 0)
            return true;
    return false;
}

static void make_missing(const struct query_view *view, size_t shard,
                         const struct store_source *source, const struct query_filter *filter,
                         struct column **columns)
{
    const char *directory = store_shard_directory(view->shards[shard].lease->shard);
    struct making makings[FILTER_SLOTS_MAX];
    struct column *finished[FILTER_SLOTS_MAX];
    uint32_t slots[FILTER_SLOTS_MAX];
    struct query_row row = query_view_row(view, shard, source, 0);
    size_t count = 0;
    int code;

    for (uint32_t i = 0; i < filter->slot_count; i++) {
        bool again = false; /* another condition on the same path */
        for (size_t j = 0; j < count; j++)
            again = again || is_wanted(makings[j].column, directory, source, &filter->slots[i]);
        if (columns[i] || again)
            continue;
        slots[count] = i;
        making_start(&makings[count], directory, source, &filter->slots[i]);
        makings[count++].column->listed = is_listed(view->collection, &filter->slots[i]);
    }
    code = make_columns(view, makings, count, &row);
    for (size_t i = 0; i < count; i++) {
        if (code == 0 && makings[i].column->codes) {
            query_column_arrange(makings[i].column);
            make_postings(makings[i].column);
        }
        finished[i] = making_finish(&makings[i]);
    }
    (void)pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; i < count; i++) {
        struct column *column = finished[i];
        if (code == 0) {
            cache_put(column);
            columns[slots[i]] = column;
        } else {
            column_unref(column); /* damage is not remembered: the window may be rebuilt */
        }
    }
    (void)pthread_mutex_unlock(&cache_lock);
}

bool query_columns_missing(const struct query_view *view, size_t shard,
                           const struct store_source *source, const struct query_filter *filter)
{
    const char *directory = store_shard_directory(view->shards[shard].lease->shard);
    struct column *columns[FILTER_SLOTS_MAX] = {0};
    size_t missing;

    if (!filter->bindable || filter->slot_count == 0 || source->kind == STORE_SOURCE_MEMTABLE ||
        source->row_count < ROWS_MIN)
        return false;
    missing = take_known(directory, source, filter, columns);
    query_columns_release(columns, filter->slot_count);
    return missing > 0;
}

bool query_columns_acquire(const struct query_view *view, size_t shard,
                           const struct store_source *source, const struct query_filter *filter,
                           struct column **columns)
{
    const char *directory = store_shard_directory(view->shards[shard].lease->shard);
    bool all = true;

    if (!filter->bindable || filter->slot_count == 0 || source->kind == STORE_SOURCE_MEMTABLE ||
        source->row_count < ROWS_MIN)
        return false;
    memset(columns, 0, filter->slot_count * sizeof(*columns));
    if (take_known(directory, source, filter, columns) > 0 && building_take(view)) {
        if (take_known(directory, source, filter, columns) > 0)
            make_missing(view, shard, source, filter, columns);
        (void)take_known(directory, source, filter, columns);
        building_give();
    }
    for (uint32_t i = 0; i < filter->slot_count; i++)
        all = all && columns[i] && columns[i]->codes;
    if (!all)
        query_columns_release(columns, filter->slot_count);
    return all;
}

void query_columns_release(struct column **columns, size_t count)
{
    (void)pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; i < count; i++)
        if (columns[i])
            column_unref(columns[i]);
    (void)pthread_mutex_unlock(&cache_lock);
}

struct filter_binding *query_binding_make(const struct query_view *view, size_t shard,
                                          const struct store_source *source,
                                          const struct query_filter *filter, struct arena *arena)
{
    struct filter_binding *binding = arena_calloc(arena, 1, sizeof(*binding));

    binding->columns =
        arena_calloc(arena, (size_t)filter->slot_count + 1, sizeof(*binding->columns));
    binding->answers =
        arena_calloc(arena, (size_t)filter->slot_count + 1, sizeof(*binding->answers));
    if (!query_columns_acquire(view, shard, source, filter, binding->columns))
        return NULL;
    for (uint32_t i = 0; i < filter->slot_count; i++)
        binding->answers[i] = arena_calloc(arena, binding->columns[i]->value_count + 1, 1);
    return binding;
}

void query_binding_drop(struct filter_binding *binding, const struct query_filter *filter)
{
    if (binding)
        query_columns_release(binding->columns, filter->slot_count);
}

/* A filter that looks at all of them: columns are made for a filter's paths. */
static int compile_fields(const struct config_collection *collection, struct arena *arena,
                          const struct query_filter **filter, struct error *error)
{
    struct buffer text = {0};
    struct doc doc;
    int code;

    buffer_append_text(&text, "{\"should\":[");
    for (size_t i = 0; i < collection->payload_index_count && i < FILTER_SLOTS_MAX; i++) {
        buffer_append_text(&text, i > 0 ? ",{\"key\":" : "{\"key\":");
        doc_write_json_string(&text, collection->payload_index[i],
                              strlen(collection->payload_index[i]));
        buffer_append_text(&text, ",\"match\":{\"value\":0}}");
    }
    buffer_append_text(&text, "]}");
    code = doc_parse_json(arena, buffer_text(&text), text.size, NULL, &doc, error);
    if (code == 0)
        code = query_filter_compile(&doc, arena, filter, error);
    buffer_destroy(&text);
    return code;
}

static size_t preload_shard(const struct query_view *view, size_t shard,
                            const struct query_filter *filter, struct error *error)
{
    const struct view_shard *from = &view->shards[shard];
    size_t made = 0;

    for (size_t i = 0; i < from->source_count; i++) {
        struct column *columns[FILTER_SLOTS_MAX];
        if (!query_columns_have_room() || query_view_check(view, error) != 0)
            break;
        if (!query_columns_missing(view, shard, &from->sources[i], filter))
            continue;
        if (query_columns_acquire(view, shard, &from->sources[i], filter, columns))
            query_columns_release(columns, filter->slot_count);
        made++;
    }
    return made;
}

int query_column_preload(const struct query_view_options *options, size_t *made,
                         struct error *error)
{
    const struct query_filter *filter;
    struct query_view *view;
    struct arena arena;
    int code = 0;

    *made = 0;
    if (options->collection->payload_index_count == 0)
        return 0;
    arena_create(&arena, 0);
    code = compile_fields(options->collection, &arena, &filter, error);
    if (code == 0)
        code = query_view_open(options, &view, error);
    if (code == 0) {
        for (size_t i = 0; i < view->shard_count && error->code == 0; i++)
            *made += preload_shard(view, i, filter, error);
        code = error->code;
        query_view_close(view);
    }
    arena_destroy(&arena);
    return code;
}
