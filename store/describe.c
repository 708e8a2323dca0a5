/* What the shard consists of, for the policy and for people: windows from a version, memtables and
 * notes, bytes from the manifest, the logs and the files that are being written.
 *
 * The parts are read one after the other, not at one instant: a decision that is made on them is
 * checked again by whoever carries it out, under the window lock. Everything lies in the caller's
 * arena. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/append.h"
#include "store/describe.h"
#include "store/merge.h"
#include "store/operations.h"
#include "store/snapshot.h"

struct describe_job {
    struct store_shard *shard;
    struct arena *arena;
    struct store_shard_info *info;
    size_t capacity;
    int64_t flushed_offset; /* rows dead below are so for good */
};

/* The window's description, made when missing. */
static struct store_window_info *window_of(struct describe_job *job, int64_t start_ms,
                                           int64_t length_ms)
{
    struct store_shard_info *info = job->info;
    struct store_window_info *window;

    for (size_t i = info->window_count; i-- > 0;)
        if (info->windows[i].start_ms == start_ms && info->windows[i].length_ms == length_ms)
            return &info->windows[i];
    if (info->window_count == job->capacity) {
        size_t capacity = job->capacity ? job->capacity * 2 : 32;
        struct store_window_info *grown =
            memory_checked(arena_calloc(job->arena, capacity, sizeof(*grown)));
        if (info->window_count > 0)
            memcpy(grown, info->windows, info->window_count * sizeof(*grown));
        info->windows = grown;
        job->capacity = capacity;
    }
    window = &info->windows[info->window_count++];
    *window = (struct store_window_info){.start_ms = start_ms,
                                         .length_ms = length_ms,
                                         .run = {.segment = {.recall = -1}},
                                         .min_event_ms = INT64_MAX,
                                         .max_event_ms = INT64_MIN,
                                         .max_expiry_ms = INT64_MIN};
    return window;
}

static void expire_at(struct store_window_info *window, int64_t expiry_ms)
{
    if (expiry_ms > window->max_expiry_ms)
        window->max_expiry_ms = expiry_ms;
}

static void widen(struct store_window_info *window, int64_t min_ms, int64_t max_ms)
{
    if (min_ms < window->min_event_ms)
        window->min_event_ms = min_ms;
    if (max_ms > window->max_event_ms)
        window->max_event_ms = max_ms;
}

static void add_sstable(struct describe_job *job, const struct version_entry *entry)
{
    const struct sstable *sstable = entry->sstable;
    uint64_t masked = atomic_load_explicit(&sstable->masked_rows, memory_order_acquire);
    uint64_t mask_bytes = atomic_load_explicit(&sstable->mask_bytes, memory_order_relaxed);
    uint64_t columns_bytes = atomic_load_explicit(&sstable->columns_bytes, memory_order_relaxed);
    struct store_window_info *window =
        window_of(job, sstable->description.window_start_ms, sstable->description.window_length_ms);
    struct store_file_info file = {
        .file_number = sstable->description.file_number,
        .bytes = sstable->info.index_bytes + sstable->info.vector_bytes,
        .rows = sstable->info.row_count,
        .min_event_ms = sstable->info.min_event_ms,
        .max_event_ms = sstable->info.max_event_ms,
        .min_offset = sstable->info.min_offset,
        .max_offset = sstable->info.max_offset,
        .level = atomic_load_explicit(&sstable->level, memory_order_relaxed),
        .dead_rows = atomic_load_explicit(&sstable->persisted_rows, memory_order_relaxed),
        .max_expiry_ms = sstable_max_expiry_ms(entry->sstable, job->flushed_offset),
        .first_key_bytes = (uint16_t)sstable->first_key_bytes,
        .last_key_bytes = (uint16_t)sstable->last_key_bytes,
        .checksum = sstable->info.footer_checksum,
        .codec = sstable->description.codec,
        .recall = table_recall(sstable->table),
        .refused = sstable->refused_codec,
        .refused_recall = sstable->refused_recall,
        .segment = {.recall = -1}};

    /* The sstable may go while the description is looked at. */
    file.first_key =
        memory_checked(arena_copy(job->arena, sstable->first_key, sstable->first_key_bytes));
    file.last_key =
        memory_checked(arena_copy(job->arena, sstable->last_key, sstable->last_key_bytes));
    if (entry->attachment)
        file.segment = entry->attachment->segment.info;
    expire_at(window, file.max_expiry_ms);
    window->total_bytes += file.bytes + mask_bytes + columns_bytes + file.segment.bytes;
    window->live_rows += file.rows - masked;
    widen(window, file.min_event_ms, file.max_event_ms);
    job->info->bytes[STORE_BYTES_MASK] += mask_bytes;
    job->info->bytes[STORE_BYTES_COLUMNS] += columns_bytes;
    job->info->bytes[STORE_BYTES_SEGMENT] += file.segment.bytes;
    if (sstable->description.kind == TABLE_RUN)
        job->info->bytes[STORE_BYTES_RUN] += file.bytes;
    else /* a chunk's vectors count with the log files */
        job->info->bytes[STORE_BYTES_CHUNK] += sstable->info.index_bytes;
    if (!sstable->sealed) {
        window->chunks[window->chunk_count++] = file;
        return;
    }
    window->sealed = true;
    window->generation = sstable->description.generation;
    window->run = file;
    window->masked_rows = file.dead_rows;
}

static void add_memtable(struct describe_job *job, const struct memtable *memtable)
{
    int64_t ttl_ms = atomic_load_explicit(&job->shard->settings.ttl_ms, memory_order_relaxed);

    job->info->memtable_bytes +=
        atomic_load_explicit(&memtable->memory_bytes, memory_order_relaxed);
    for (uint32_t i = 0; i < memtable->window_count; i++) {
        const struct memtable_window *from = &memtable->windows[i];
        struct store_window_info *window = window_of(job, from->start_ms, memtable->window_ms);
        window->memtable_rows += from->rows;
        window->live_rows += from->rows - from->dead_rows;
        widen(window, from->min_event_ms, from->max_event_ms);
        if (from->rows > from->dead_rows)
            expire_at(window, row_expiry_ms(from->max_event_ms, 0, ttl_ms));
        if (from->last_arrival_wall_ms > window->last_arrival_wall_ms)
            window->last_arrival_wall_ms = from->last_arrival_wall_ms;
    }
}

static uint64_t file_size(struct store_shard *shard, uint64_t number, const char *extension)
{
    char path[LOG_PATH_BYTES];
    uint64_t size_bytes = 0;
    int file;

    table_path(shard->directory, number, extension, path, sizeof(path));
    if (io_open(shard->io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return 0;
    if (io_size(shard->io, file, path, &size_bytes, ERROR_IGNORED) != 0)
        size_bytes = 0;
    (void)io_close(shard->io, file, path, ERROR_IGNORED); /* nothing was written */
    return size_bytes;
}

/* Files that are being written: runs, chunks, masks, segments. */
static uint64_t pending_bytes(struct store_shard *shard)
{
    static const char *const extensions[] = {"chunk", "run",     "vectors",
                                             "mask",  "segment", "segment.tmp"};
    uint64_t *numbers;
    uint64_t bytes = 0;
    size_t count;

    pthread_mutex_lock(&shard->windows.lock);
    count = shard->windows.pending_count;
    numbers = memory_checked(malloc((count ? count : 1) * sizeof(*numbers)));
    if (count > 0)
        memcpy(numbers, shard->windows.pending, count * sizeof(*numbers));
    pthread_mutex_unlock(&shard->windows.lock);
    for (size_t i = 0; i < count; i++)
        for (size_t e = 0; e < sizeof(extensions) / sizeof(extensions[0]); e++)
            bytes += file_size(shard, numbers[i], extensions[e]);
    free(numbers);
    return bytes;
}

static int compare_windows(const void *a, const void *b)
{
    const struct store_window_info *left = a;
    const struct store_window_info *right = b;

    if (left->start_ms != right->start_ms)
        return left->start_ms < right->start_ms ? -1 : 1;
    return left->length_ms < right->length_ms ? -1 : left->length_ms > right->length_ms;
}

/* Chunk arrays are sized before sstables are added: one place for each part of the window. */
static void reserve_chunks(struct describe_job *job, const struct version *version)
{
    for (size_t i = 0; i < version->entry_count; i++) {
        const struct table_description *description = &version->entries[i].sstable->description;
        window_of(job, description->window_start_ms, description->window_length_ms)->chunk_count++;
    }
    for (size_t i = 0; i < job->info->window_count; i++) {
        struct store_window_info *window = &job->info->windows[i];
        window->chunks =
            memory_checked(arena_calloc(job->arena, window->chunk_count, sizeof(*window->chunks)));
        window->chunk_count = 0;
    }
}

static void add_spans(struct describe_job *job, const struct version *version)
{
    struct store_shard_info *info = job->info;

    info->spans =
        memory_checked(arena_calloc(job->arena, version->span_count + 1, sizeof(*info->spans)));
    for (size_t i = 0; i < version->span_count; i++) {
        const struct attachment *attachment = version->spans[i].attachment;
        const struct span *span = attachment->span;
        struct store_span_info *to = &info->spans[info->span_count++];
        bool *live = memory_checked(arena_calloc(job->arena, span->part_count, sizeof(*live)));
        struct store_span_part *parts =
            memory_checked(arena_calloc(job->arena, span->part_count, sizeof(*parts)));
        *to = (struct store_span_info){.segment = attachment->segment.info,
                                       .tier = span->tier,
                                       .window_length_ms = span->window_length_ms,
                                       .live = live,
                                       .part_count = span->part_count,
                                       .rows = span->row_count};
        to->parts = memcpy(parts, span->parts, span->part_count * sizeof(*parts));
        for (uint32_t part = 0; part < span->part_count; part++) {
            live[part] = version->spans[i].places[part] != STORE_SPAN_DEAD;
            to->live_rows += live[part] ? span->parts[part].row_count : 0;
        }
        info->bytes[STORE_BYTES_SEGMENT] += to->segment.bytes;
    }
}

/* Each window once. */
static void add_damages(struct describe_job *job)
{
    const struct store_shard *shard = job->shard;
    struct store_shard_info *info = job->info;

    info->damages =
        memory_checked(arena_calloc(job->arena, shard->damages.count + 1, sizeof(*info->damages)));
    for (size_t i = 0; i < shard->damages.count; i++) {
        const struct damaged_table *damage = &shard->damages.items[i];
        bool known = false;
        for (size_t k = 0; k < info->damage_count; k++)
            known |= damage_is_of(damage, info->damages[k].start_ms, info->damages[k].length_ms);
        if (!known)
            info->damages[info->damage_count++] = (struct store_damage_info){
                .start_ms = damage->window_start_ms, .length_ms = damage->window_length_ms};
    }
}

static void read_committed(struct describe_job *job)
{
    struct store_shard *shard = job->shard;

    pthread_mutex_lock(&shard->commit.lock);
    for (size_t i = 0; i < shard->damages.count; i++)
        job->info->bytes[STORE_BYTES_DAMAGED] += shard->damages.items[i].bytes;
    job->flushed_offset = shard->commit.flushed_offset;
    add_damages(job);
    pthread_mutex_unlock(&shard->commit.lock);
}

static void set_ratios(struct store_shard *shard, const struct store_shard_info *info,
                       const struct version *version)
{
    const struct shard_metrics *metrics = &shard->metrics;
    double user = metric_value(metrics->user_bytes);
    double written = metric_value(metrics->bytes_log) + metric_value(metrics->bytes_chunk) +
                     metric_value(metrics->bytes_run) + metric_value(metrics->bytes_mask) +
                     (double)shard->manifest->written_bytes;
    uint64_t live_rows = 0;

    if (!shard->store->metrics)
        return;
    for (size_t i = 0; i < info->window_count; i++)
        live_rows += info->windows[i].live_rows;
    metric_set(metrics->tables, (double)version->entry_count);
    if (user > 0)
        metric_set(metrics->write_amplification, written / user);
    if (live_rows > 0)
        metric_set(metrics->space_amplification,
                   (double)info->total_bytes /
                       ((double)live_rows * shard->dim * (double)sizeof(float)));
}

void store_shard_describe_window(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                                 struct store_window_info *window)
{
    struct store_shard_info info = {0};
    struct arena arena;
    struct describe_job job = {.shard = shard, .arena = &arena, .info = &info};
    struct version *version;
    size_t first;
    size_t count;

    arena_create(&arena, 0);
    pthread_mutex_lock(&shard->commit.lock);
    job.flushed_offset = shard->commit.flushed_offset;
    pthread_mutex_unlock(&shard->commit.lock);
    version = version_acquire(shard);
    (void)window_of(&job, start_ms, length_ms);
    count = version_window(version, start_ms, length_ms, &first);
    info.windows->chunks =
        memory_checked(arena_calloc(&arena, count + 1, sizeof(*info.windows->chunks)));
    for (size_t i = first; i < first + count; i++)
        add_sstable(&job, &version->entries[i]);
    pthread_mutex_lock(&shard->windows.lock);
    for (size_t i = 0; i < version->memtable_count; i++)
        add_memtable(&job, version->memtables[i]);
    pthread_mutex_unlock(&shard->windows.lock);
    version_unref(version);
    *window = info.windows[0]; /* memtables may have added others behind it */
    window->chunks = NULL;
    window->run.first_key = window->run.last_key = NULL;
    arena_destroy(&arena);
}

void store_shard_describe(struct store_shard *shard, struct arena *arena,
                          struct store_shard_info *info)
{
    struct describe_job job = {.shard = shard, .arena = arena, .info = info};
    struct version *version;

    garbage_collect_behind(shard);
    *info = (struct store_shard_info){0};
    read_committed(&job);
    version = version_acquire(shard);
    reserve_chunks(&job, version);
    for (size_t i = 0; i < version->entry_count; i++)
        add_sstable(&job, &version->entries[i]);
    add_spans(&job, version);
    pthread_mutex_lock(&shard->windows.lock);
    for (size_t i = 0; i < version->memtable_count; i++)
        add_memtable(&job, version->memtables[i]);
    for (size_t i = 0; i < info->window_count; i++) {
        struct store_window_info *window = &info->windows[i];
        const struct window_note *note =
            windows_note(&shard->windows, window->start_ms, window->length_ms);
        window->busy = note->locked;
        if (note->merge) {
            window->merge_rows = note->merge->rows;
            window->merge_rows_done =
                atomic_load_explicit(&note->merge->rows_done, memory_order_relaxed);
        }
        if (note->last_arrival_wall_ms > window->last_arrival_wall_ms)
            window->last_arrival_wall_ms = note->last_arrival_wall_ms;
    }
    pthread_mutex_unlock(&shard->windows.lock);
    if (info->window_count > 0)
        qsort(info->windows, info->window_count, sizeof(*info->windows), compare_windows);
    info->log_bytes = atomic_load_explicit(&shard->logs.bytes, memory_order_relaxed);
    info->bytes[STORE_BYTES_LOG] = info->log_bytes;
    info->bytes[STORE_BYTES_MANIFEST] = manifest_bytes(shard->manifest);
    info->bytes[STORE_BYTES_PINNED] = garbage_bytes(shard);
    info->bytes[STORE_BYTES_TEMPORARY] = pending_bytes(shard);
    for (size_t i = 0; i < STORE_BYTES_COUNT; i++)
        info->total_bytes += info->bytes[i];
    info->immutable_memtables =
        version->memtable_count > 0 ? (uint32_t)version->memtable_count - 1 : 0;
    info->next_offset = store_shard_next_offset(shard);
    info->clock = store_shard_clock(shard);
    info->log_passed_ms = store_shard_log_passed_ms(shard);
    set_ratios(shard, info, version);
    version_unref(version);
}

const char *store_bytes_kind_name(enum store_bytes_kind kind)
{
    static const char *const names[STORE_BYTES_COUNT] = {
        [STORE_BYTES_LOG] = "log",
        [STORE_BYTES_CHUNK] = "chunk",
        [STORE_BYTES_RUN] = "run",
        [STORE_BYTES_MASK] = "mask",
        [STORE_BYTES_SEGMENT] = "segment",
        [STORE_BYTES_COLUMNS] = "columns",
        [STORE_BYTES_MANIFEST] = "manifest",
        [STORE_BYTES_PINNED] = "pinned",
        [STORE_BYTES_TEMPORARY] = "temporary",
        [STORE_BYTES_DAMAGED] = "damaged",
    };

    return names[kind];
}

void store_memory_describe(struct store *store, struct store_memory_info *info)
{
    struct store_memory *memory = &store->memory;
    uint64_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);

    pthread_mutex_lock(&memory->lock);
    info->buffer_bytes = memory->buffer_count * memory->buffer_bytes;
    pthread_mutex_unlock(&memory->lock);
    info->memtable_bytes = used > info->buffer_bytes ? used - info->buffer_bytes : 0;
    info->decoded_bytes = atomic_load_explicit(&memory->decoded_bytes, memory_order_relaxed);
    info->max_bytes = memory->max_bytes;
}

uint64_t store_decoded_blocks(void)
{
    return table_decoded_blocks();
}

uint64_t store_damaged_blocks(void)
{
    return table_damaged_blocks();
}

const char *store_window_state(const struct store_window_info *window)
{
    if (window->sealed)
        return window->run.segment.file_number ? "indexed" : "sealed";
    return window->busy ? "sealing" : "open";
}
