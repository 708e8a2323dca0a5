/* Getting columns, and keeping them. */
#include "indexer/query/filter/column.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "store/snapshot.h"
#include "store/store.h"

enum {
    BATCH_ROWS = 1024,
    ROWS_MIN = 64, /* fewer are decoded as fast */
    CACHE_PLACES = 4096
};

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct column *cache[CACHE_PLACES]; /* by hash */
static size_t cache_bytes, cache_max_bytes = (size_t)256 << 20;
static uint64_t cache_uses, cache_hits, cache_misses, cache_passes;

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
    free(column->memory);
    column_file_unref(column->file);
    free(column->directory);
    free(column);
}

static bool is_path(const struct column *column, const struct filter_slot *slot)
{
    return bytes_equal(column->image.path, column->image.head->path_bytes, slot->path,
                       slot->path_bytes);
}

static struct column **place_of(const char *directory, uint64_t file_number,
                                const struct filter_slot *slot)
{
    uint64_t hash = XXH3_64bits_withSeed(directory, strlen(directory), file_number) ^
                    XXH3_64bits(slot->path, slot->path_bytes);

    return &cache[hash % CACHE_PLACES];
}

/* With the lock held: finds, and takes a reference. */
static struct column *cache_take(const char *directory, uint64_t file_number,
                                 const struct filter_slot *slot)
{
    for (struct column *column = *place_of(directory, file_number, slot); column;
         column = column->next)
        if (column->file_number == file_number && is_path(column, slot) &&
            strcmp(column->directory, directory) == 0) {
            column->references++;
            column->used = ++cache_uses;
            return column;
        }
    return NULL;
}

static void cache_remove(struct column **place)
{
    struct column *column = *place;

    *place = column->next;
    cache_bytes -= column->bytes;
    column_unref(column);
}

/* The longest unused of those that take memory; one of payload_index only when there is no other. */
static struct column **oldest(const struct column *spared)
{
    struct column **found = NULL;

    for (size_t i = 0; i < CACHE_PLACES; i++)
        for (struct column **at = &cache[i]; *at; at = &(*at)->next)
            if (*at != spared && (*at)->bytes > 0 &&
                (!found || (*at)->listed < (*found)->listed ||
                 ((*at)->listed == (*found)->listed && (*at)->used < (*found)->used)))
                found = at;
    return found;
}

/* Nothing of this table and path is there yet. */
static void cache_put(struct column *column)
{
    const struct filter_slot slot = {column->image.path, column->image.head->path_bytes};
    struct column **place = place_of(column->directory, column->file_number, &slot);

    column->next = *place;
    *place = column;
    column->references++;
    column->used = ++cache_uses;
    cache_bytes += column->bytes;
    while (cache_bytes > cache_max_bytes && (place = oldest(column)) != NULL)
        cache_remove(place);
}

void query_columns_limit(uint64_t max_bytes)
{
    (void)pthread_mutex_lock(&cache_lock);
    cache_max_bytes = (size_t)max_bytes;
    for (struct column **place; cache_bytes > cache_max_bytes && (place = oldest(NULL)) != NULL;)
        cache_remove(place);
    (void)pthread_mutex_unlock(&cache_lock);
}

void query_columns_forget(void)
{
    (void)pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; i < CACHE_PLACES; i++)
        while (cache[i])
            cache_remove(&cache[i]);
    (void)pthread_mutex_unlock(&cache_lock);
}

void query_columns_describe(struct query_columns_info *info)
{
    (void)pthread_mutex_lock(&cache_lock);
    *info = (struct query_columns_info){.hits = cache_hits,
                                        .misses = cache_misses,
                                        .passes = cache_passes,
                                        .bytes = cache_bytes,
                                        .max_bytes = cache_max_bytes};
    for (size_t i = 0; i < CACHE_PLACES; i++)
        for (const struct column *column = cache[i]; column; column = column->next)
            if (column->file)
                info->mapped_bytes += column->image.head->size_bytes;
    (void)pthread_mutex_unlock(&cache_lock);
}

bool query_columns_have_room(void)
{
    bool room;

    (void)pthread_mutex_lock(&cache_lock);
    room = cache_bytes < cache_max_bytes / 4 * 3;
    (void)pthread_mutex_unlock(&cache_lock);
    return room;
}

/* Making. */

/* Columns of one table while they are made. */
struct making {
    const struct query_view *view;
    const struct store_source *source;
    const char *directory;
    const struct query_filter *filter;
    struct column **columns; /* by slot of the filter: what was found or made */
    struct query_row row;
    struct filter_slot slots[FILTER_SLOTS_MAX]; /* those of payload_index first */
    size_t count, listed_count;
    struct buffer images[FILTER_SLOTS_MAX];
};

static int add_batch(const struct making *making, struct column_making *const *columns,
                     uint32_t first, uint32_t rows, struct arena *scratch)
{
    uint32_t numbers[BATCH_ROWS] = {0}; /* gcc cannot tell that `rows` of them are set */
    const uint8_t *payloads[BATCH_ROWS];
    uint32_t payload_bytes[BATCH_ROWS];
    struct error ignored; /* whoever needs the payloads meets the damage again, and reports it */
    int code;

    for (uint32_t i = 0; i < rows; i++)
        numbers[i] = first + i;
    code = store_rows_payloads(making->source, numbers, rows, scratch, payloads, payload_bytes,
                               &ignored);
    for (uint32_t i = 0; code == 0 && i < rows; i++) {
        struct doc payload;
        code = query_payload_decode(&making->row, payloads[i], payload_bytes[i], scratch, &payload,
                                    &ignored);
        for (size_t j = 0; code == 0 && j < making->count; j++)
            column_making_add(columns[j], &payload);
    }
    return code;
}

/* All images in one pass over the payloads. */
static int make_images(struct making *making)
{
    struct column_making *columns[FILTER_SLOTS_MAX];
    struct error ignored; /* whoever needs the columns finds that it has to stop */
    uint32_t row_count = making->source->row_count;
    struct arena scratch;
    int code = 0;

    for (size_t i = 0; i < making->count; i++)
        columns[i] = column_making_new(row_count, &making->slots[i]);
    arena_create(&scratch, 0);
    for (uint32_t first = 0; code == 0 && first < row_count; first += BATCH_ROWS) {
        uint32_t left = row_count - first;
        code = query_view_check(making->view, &ignored);
        if (code == 0)
            code =
                add_batch(making, columns, first, left < BATCH_ROWS ? left : BATCH_ROWS, &scratch);
        arena_reset(&scratch);
    }
    arena_destroy(&scratch);
    for (size_t i = 0; i < making->count; i++) {
        if (code == 0)
            column_making_finish(columns[i], &making->images[i]);
        column_making_delete(columns[i]);
    }
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
            columns[i] = cache_take(directory, source->file_number, &filter->slots[i]);
            *(columns[i] ? &cache_hits : &cache_misses) += 1;
        }
        missing += !columns[i];
    }
    (void)pthread_mutex_unlock(&cache_lock);
    return missing;
}

static bool has_slot(const struct making *making, const struct filter_slot *slot)
{
    for (size_t i = 0; i < making->count; i++)
        if (bytes_equal(making->slots[i].path, making->slots[i].path_bytes, slot->path,
                        slot->path_bytes))
            return true;
    return false;
}

static void add_slot(struct making *making, const struct filter_slot *slot)
{
    if (making->count < FILTER_SLOTS_MAX && !has_slot(making, slot))
        making->slots[making->count++] = *slot;
}

static bool is_listed(const struct config_collection *collection, const struct filter_slot *slot)
{
    for (size_t i = 0; i < collection->payload_index_count; i++)
        if (bytes_equal(collection->payload_index[i], strlen(collection->payload_index[i]),
                        slot->path, slot->path_bytes))
            return true;
    return false;
}

/* Into the cache, unless one is there already, and to the filter's slots that wait for it. */
static void keep(const struct making *making, const struct column *fresh)
{
    const struct filter_slot slot = {fresh->image.path, fresh->image.head->path_bytes};
    struct column *column;

    (void)pthread_mutex_lock(&cache_lock);
    column = cache_take(making->directory, making->source->file_number, &slot);
    if (!column) {
        column = memory_new(1, sizeof(*column));
        *column = *fresh;
        column->references = 1;
        column->directory = memory_checked(strdup(making->directory));
        column->file_number = making->source->file_number;
        column->listed = is_listed(making->view->collection, &slot);
        cache_put(column);
    } else {
        free(fresh->memory);
        column_file_unref(fresh->file);
    }
    for (uint32_t i = 0; i < making->filter->slot_count; i++)
        if (!making->columns[i] && is_path(column, &making->filter->slots[i])) {
            making->columns[i] = column;
            column->references++;
        }
    column_unref(column);
    (void)pthread_mutex_unlock(&cache_lock);
}

/* Takes over the image's memory. */
static void keep_image(const struct making *making, struct buffer *image)
{
    struct column column = {.memory = image->data, .bytes = image->capacity};

    column_image_view(image->data, &column.image);
    *image = (struct buffer){0};
    keep(making, &column);
}

/* Every column of the file beside the run. */
static void keep_file(const struct making *making, struct column_file *file)
{
    for (uint32_t i = 0; i < file->column_count; i++) {
        struct column column = {.file = file, .image = file->columns[i]};
        column_file_ref(file);
        keep(making, &column);
    }
    column_file_unref(file);
}

/* False when no file can be used. */
static bool open_file(const struct making *making)
{
    struct column_file *file;
    struct error error = {0};
    char path[PATH_MAX];
    int code;

    store_source_columns_path(making->source, false, path, sizeof(path));
    code = column_file_open(making->view->io, path, making->source->file_number,
                            making->source->row_count, &file, &error);
    if (code == 0)
        keep_file(making, file);
    else if (code == ERROR_CORRUPT || code == ERROR_UNSUPPORTED)
        log_warning("query", "%s is read no more and is made again from payloads: %s", path,
                    error.text);
    return code == 0;
}

/* Writes the columns of payload_index and maps them. What cannot be written stays in memory. */
static void write_file(struct making *making)
{
    struct error error = {0};
    char path[PATH_MAX], temporary[PATH_MAX];
    uint64_t size_bytes;

    store_source_columns_path(making->source, false, path, sizeof(path));
    store_source_columns_path(making->source, true, temporary, sizeof(temporary));
    if (column_file_write(making->view->io, temporary, path, making->source->file_number,
                          making->source->row_count, making->images, making->listed_count,
                          &size_bytes, &error) != 0) {
        log_warning("query", "columns of payload_index stay in memory: %s", error.text);
        return;
    }
    store_source_columns_written(making->source, size_bytes);
    (void)open_file(making);
}

/* What is missing, and for a run all of payload_index with it: its file is written as a whole. */
static void choose_slots(struct making *making)
{
    const struct query_filter *filter = making->filter;
    struct column *const *columns = making->columns;
    const struct config_collection *collection = making->view->collection;
    bool listed = false;

    for (uint32_t i = 0; i < filter->slot_count; i++)
        listed |= !columns[i] && is_listed(collection, &filter->slots[i]);
    if (listed && making->source->kind == STORE_SOURCE_RUN)
        for (size_t i = 0; i < collection->payload_index_count; i++)
            add_slot(making, &(struct filter_slot){collection->payload_index[i],
                                                   strlen(collection->payload_index[i])});
    making->listed_count = making->count;
    for (uint32_t i = 0; i < filter->slot_count; i++)
        if (!columns[i])
            add_slot(making, &filter->slots[i]);
}

static void make_missing(const struct query_view *view, size_t shard,
                         const struct store_source *source, const struct query_filter *filter,
                         struct column **columns)
{
    const char *directory = store_shard_directory(view->shards[shard].lease->shard);
    struct making *making = memory_new(1, sizeof(*making));

    making->view = view;
    making->source = source;
    making->directory = directory;
    making->filter = filter;
    making->columns = columns;
    making->row = query_view_row(view, shard, source, 0);
    choose_slots(making);
    if (making->listed_count > 0 && open_file(making) &&
        take_known(directory, source, filter, columns) == 0) {
        free(making);
        return;
    }
    (void)pthread_mutex_lock(&cache_lock);
    cache_passes++;
    (void)pthread_mutex_unlock(&cache_lock);
    /* Damage is not remembered: the window may be rebuilt. */
    if (make_images(making) == 0) {
        if (making->listed_count > 0)
            write_file(making);
        for (size_t i = 0; i < making->count; i++)
            keep_image(making, &making->images[i]);
    }
    for (size_t i = 0; i < making->count; i++)
        buffer_destroy(&making->images[i]);
    free(making);
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
        building_give();
    }
    for (uint32_t i = 0; i < filter->slot_count; i++)
        all = all && columns[i] && column_image_is_fit(&columns[i]->image);
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
        binding->answers[i] =
            arena_calloc(arena, (size_t)binding->columns[i]->image.head->value_count + 1, 1);
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

/* Whether a version holds the file still. */
static bool is_live(const struct query_view *view, const struct column *column)
{
    for (size_t i = 0; i < view->shard_count; i++) {
        const struct view_shard *from = &view->shards[i];
        if (strcmp(store_shard_directory(from->lease->shard), column->directory) != 0)
            continue;
        for (size_t j = 0; j < from->source_count; j++)
            if (from->sources[j].kind != STORE_SOURCE_MEMTABLE &&
                from->sources[j].file_number == column->file_number)
                return true;
    }
    return false;
}

/* Columns of tables that the collection has no more: a mapping would keep a removed file's bytes on
 * the disk. One that was made since the view was opened goes, too, and is made or mapped again. */
static void forget_gone(const struct query_view *view)
{
    const char *directory =
        view->shard_count > 0 ? store_shard_directory(view->shards[0].lease->shard) : "";
    const char *slash = strrchr(directory, '/');

    (void)pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; slash && i < CACHE_PLACES; i++)
        for (struct column **at = &cache[i]; *at;) {
            bool same = strncmp((*at)->directory, directory, (size_t)(slash - directory) + 1) == 0;
            if (same && !is_live(view, *at))
                cache_remove(at);
            else
                at = &(*at)->next;
        }
    (void)pthread_mutex_unlock(&cache_lock);
}

static size_t preload_shard(const struct query_view *view, size_t shard,
                            const struct query_filter *filter, struct error *error)
{
    const struct view_shard *from = &view->shards[shard];
    size_t made = 0;

    for (size_t i = 0; i < from->source_count; i++) {
        const struct store_source *source = &from->sources[i];
        struct column *columns[FILTER_SLOTS_MAX];
        if (query_view_check(view, error) != 0)
            break;
        if ((source->kind != STORE_SOURCE_RUN && !query_columns_have_room()) ||
            !query_columns_missing(view, shard, source, filter))
            continue;
        if (query_columns_acquire(view, shard, source, filter, columns))
            query_columns_release(columns, filter->slot_count);
        made++;
    }
    return made;
}

int query_column_preload(const struct query_view_options *options, size_t *made,
                         struct error *error)
{
    bool any = options->collection->payload_index_count > 0;
    const struct query_filter *filter = NULL;
    struct query_view *view;
    struct arena arena;
    int code = 0;

    *made = 0;
    arena_create(&arena, 0);
    if (any)
        code = compile_fields(options->collection, &arena, &filter, error);
    if (code == 0)
        code = query_view_open(options, &view, error);
    if (code == 0) {
        forget_gone(view);
        for (size_t i = 0; i < view->shard_count && any && error->code == 0; i++)
            *made += preload_shard(view, i, filter, error);
        code = error->code;
        query_view_close(view);
    }
    arena_destroy(&arena);
    return any ? code : 0;
}
