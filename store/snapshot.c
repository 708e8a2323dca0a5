/* Snapshots: a version and a visible offset that were current at one instant.
 *
 * The reader loads the version, then the visible offset S, then checks that the version is still
 * the current one. Rows with offsets below S were put into memtables of the version that was
 * current when S was published or of an earlier one, and a version is only replaced by one that
 * holds the same rows: so a version that was current while S was read holds every row below S, and
 * every mask below S has been set in its sstables. Were S read while a newer version was current,
 * rows below S might lie in a memtable that this version does not have. The check excludes that. */
#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/shard.h"
#include "store/snapshot_internal.h"

/* A memtable may hold any time: it is never left out of a search by its bounds. */
static void fill_memtable(struct store_source *source, struct memtable *memtable)
{
    *source = (struct store_source){
        .kind = STORE_SOURCE_MEMTABLE,
        .has_bare = true, /* not known without asking its rows */
        .hidden = STORE_HIDDEN_LATER | STORE_HIDDEN_DEAD | STORE_HIDDEN_EXPIRED,
        .row_count = atomic_load_explicit(&memtable->row_count, memory_order_acquire),
        .min_event_ms = INT64_MIN,
        .max_event_ms = INT64_MAX,
        .inner = memtable};
}

/* What may hide rows of an sstable from the snapshot. Asked after the visible offset was read: every
 * mask below that offset has been counted by then, and rows that die later die at it or behind it. */
static uint8_t hidden_by(const struct store_snapshot *snapshot, struct sstable *sstable)
{
    int64_t own_ms = sstable->ttls ? sstable_min_own_expiry_ms(sstable) : INT64_MAX;
    uint8_t hidden = 0;

    if (sstable->info.max_offset >= snapshot->visible)
        hidden |= STORE_HIDDEN_LATER;
    if (atomic_load_explicit(&sstable->masked_rows, memory_order_acquire) > 0)
        hidden |= STORE_HIDDEN_DEAD;
    if (row_expired(sstable->info.min_event_ms, 0, snapshot->ttl_ms, snapshot->now_ms) ||
        (own_ms != INT64_MAX && own_ms <= snapshot->now_ms))
        hidden |= STORE_HIDDEN_EXPIRED;
    return hidden;
}

static void fill_sstable(const struct store_snapshot *snapshot, struct store_source *source,
                         const struct version_entry *entry)
{
    struct sstable *sstable = entry->sstable;
    const struct attachment *attachment = entry->attachment;

    *source = (struct store_source){
        .kind = sstable->description.kind == TABLE_CHUNK ? STORE_SOURCE_CHUNK : STORE_SOURCE_RUN,
        .window_start_ms = sstable->description.window_start_ms,
        .window_length_ms = sstable->description.window_length_ms,
        .sealed = sstable->sealed,
        .generation = sstable->description.generation,
        .file_number = sstable->description.file_number,
        .row_count = sstable->row_count,
        .has_bare = table_describe(sstable->table)->has_bare,
        .hidden = hidden_by(snapshot, sstable),
        .min_event_ms = sstable->info.min_event_ms,
        .max_event_ms = sstable->info.max_event_ms,
        .masked_rows = atomic_load_explicit(&sstable->masked_rows, memory_order_relaxed),
        .segment = attachment && attachment->segment.object ? &attachment->segment : NULL,
        .inner = sstable};
}

/* Those whose index is loaded. */
static void fill_spans(struct store_snapshot *snapshot, const struct version *version)
{
    snapshot->spans = (struct store_span *)&snapshot->sources[snapshot->source_count];
    snapshot->span_count = 0;
    for (size_t i = 0; i < version->span_count; i++) {
        const struct attachment *attachment = version->spans[i].attachment;
        if (!attachment->segment.object)
            continue;
        snapshot->spans[snapshot->span_count++] =
            (struct store_span){.segment = &attachment->segment,
                                .tier = attachment->span->tier,
                                .row_count = attachment->span->row_count,
                                .part_count = attachment->span->part_count,
                                .parts = attachment->span->parts,
                                .places = version->spans[i].places,
                                .first_source = version->memtable_count};
    }
}

const struct store_span *store_snapshot_spans(const struct store_snapshot *snapshot, size_t *count)
{
    *count = snapshot->span_count;
    return snapshot->spans;
}

const struct store_note *store_snapshot_notes(const struct store_snapshot *snapshot)
{
    return atomic_load_explicit(&snapshot->version->notes, memory_order_acquire);
}

void store_snapshot_add_note(const struct store_snapshot *snapshot, struct store_note *note)
{
    struct version *version = snapshot->version;

    note->next = atomic_load_explicit(&version->notes, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&version->notes, &note->next, note,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

struct store_snapshot *store_snapshot_acquire(struct store_shard *shard, int64_t now_ms)
{
    return snapshot_acquire_between(shard, now_ms, NULL, NULL);
}

struct store_snapshot *snapshot_acquire_between(struct store_shard *shard, int64_t now_ms,
                                                void (*between)(void *context), void *context)
{
    struct store_snapshot *snapshot;
    struct version *version;
    int64_t visible;
    size_t count;

    atomic_fetch_add(&shard->snapshots.count, 1);
    while (atomic_load(&shard->snapshots.trimming))
        (void)sched_yield();
    for (;;) {
        version = version_acquire(shard);
        if (between)
            between(context);
        visible = atomic_load(&shard->progress.visible);
        if (atomic_load(&shard->versions.current) == version)
            break;
        version_unref(version);
    }
    count = version->memtable_count + version->entry_count;
    snapshot = memory_checked(malloc(sizeof(*snapshot) + count * sizeof(snapshot->sources[0]) +
                                     version->span_count * sizeof(snapshot->spans[0])));
    snapshot->shard = shard;
    snapshot->version = version;
    snapshot->visible = visible;
    snapshot->now_ms = now_ms;
    snapshot->ttl_ms = atomic_load_explicit(&shard->settings.ttl_ms, memory_order_relaxed);
    snapshot->watermark_ms =
        atomic_load_explicit(&shard->progress.watermark_ms, memory_order_relaxed);
    snapshot->source_count = count;
    for (size_t i = 0; i < version->memtable_count; i++)
        fill_memtable(&snapshot->sources[i], version->memtables[i]);
    for (size_t i = 0; i < version->entry_count; i++)
        fill_sstable(snapshot, &snapshot->sources[version->memtable_count + i],
                     &version->entries[i]);
    fill_spans(snapshot, version);
    return snapshot;
}

/* Gives the memory of decoded blocks back when there is too much of it and nobody can hold a
 * pointer into it. The caller's snapshot is released but for its count, which keeps the shard.
 * Either a snapshot that is being taken sees `trimming`, or this sees its count. */
static void trim_decoded(struct store_shard *shard)
{
    struct version *version;

    if (atomic_load_explicit(&shard->store->memory.decoded_bytes, memory_order_relaxed) <=
            memory_decoded_max(&shard->store->memory) ||
        atomic_exchange(&shard->snapshots.trimming, true))
        return;
    if (atomic_load(&shard->snapshots.count) == 1) {
        version = version_acquire(shard);
        for (size_t i = 0; i < version->entry_count; i++)
            if (table_decoded_bytes(version->entries[i].sstable->table) > 0)
                table_trim(version->entries[i].sstable->table);
        version_unref(version);
        events_room(&shard->store->events);
    }
    atomic_store(&shard->snapshots.trimming, false);
}

void store_snapshot_release(struct store_snapshot *snapshot)
{
    struct store_events *events;
    struct store_shard *shard;

    if (!snapshot)
        return;
    shard = snapshot->shard;
    version_unref(snapshot->version);
    free(snapshot);
    trim_decoded(shard);
    events = &shard->store->events;
    /* The shard may be freed as soon as the count is 0, unless it closes and this is the last: then
     * its thread waits for `snapshots_left`, and for the lock. */
    if (atomic_fetch_sub(&shard->snapshots.count, 1) == (SHARD_LEAVING | 1)) {
        pthread_mutex_lock(&events->lock);
        shard->snapshots.all_released = true;
        pthread_cond_broadcast(&events->happened);
        pthread_mutex_unlock(&events->lock);
    }
}

int64_t store_snapshot_next_offset(const struct store_snapshot *snapshot)
{
    return snapshot->visible;
}

int64_t store_snapshot_watermark_ms(const struct store_snapshot *snapshot)
{
    return snapshot->watermark_ms;
}

const struct store_source *store_snapshot_sources(const struct store_snapshot *snapshot,
                                                  size_t *count)
{
    *count = snapshot->source_count;
    return snapshot->sources;
}

static bool memtable_row_visible(const struct store_snapshot *snapshot,
                                 const struct memtable_row *row)
{
    return row->offset < snapshot->visible &&
           atomic_load_explicit(&row->dead_at, memory_order_relaxed) >= snapshot->visible &&
           !row_expired(row->event_time_ms, row->ttl_ms, snapshot->ttl_ms, snapshot->now_ms);
}

/* Each question reads a line of memory of its own, so that only those that may hide the row are
 * asked. */
bool store_row_visible(const struct store_snapshot *snapshot, const struct store_source *source,
                       uint32_t row)
{
    const struct sstable *sstable = source->inner;
    uint8_t hidden = source->hidden;

    if (source->kind == STORE_SOURCE_MEMTABLE)
        return memtable_row_visible(snapshot, memtable_row(source->inner, row));
    if ((hidden & STORE_HIDDEN_LATER) && sstable->offsets[row] >= snapshot->visible)
        return false;
    if ((hidden & STORE_HIDDEN_DEAD) && sstable_dead_at(sstable, row) < snapshot->visible)
        return false;
    return !(hidden & STORE_HIDDEN_EXPIRED) ||
           !row_expired(sstable->event_times[row], sstable_ttl_ms(sstable, row), snapshot->ttl_ms,
                        snapshot->now_ms);
}

uint64_t store_snapshot_count(const struct store_snapshot *snapshot, int64_t from_ms, int64_t to_ms)
{
    uint64_t count = 0;

    for (size_t i = 0; i < snapshot->source_count; i++) {
        const struct store_source *source = &snapshot->sources[i];
        if (source->max_event_ms < from_ms || source->min_event_ms >= to_ms)
            continue;
        for (uint32_t row = 0; row < source->row_count; row++) {
            int64_t time_ms = store_row_event_time_ms(source, row);
            count +=
                time_ms >= from_ms && time_ms < to_ms && store_row_visible(snapshot, source, row);
        }
    }
    return count;
}

int64_t store_row_event_time_ms(const struct store_source *source, uint32_t row)
{
    if (source->kind == STORE_SOURCE_MEMTABLE)
        return memtable_row(source->inner, row)->event_time_ms;
    return ((const struct sstable *)source->inner)->event_times[row];
}

int64_t store_row_offset(const struct store_source *source, uint32_t row)
{
    if (source->kind == STORE_SOURCE_MEMTABLE)
        return memtable_row(source->inner, row)->offset;
    return ((const struct sstable *)source->inner)->offsets[row];
}

int64_t store_row_ttl_ms(const struct store_source *source, uint32_t row)
{
    const struct sstable *sstable = source->inner;

    if (source->kind == STORE_SOURCE_MEMTABLE)
        return memtable_row(source->inner, row)->ttl_ms;
    return sstable_ttl_ms(sstable, row);
}

bool store_row_is_bare(const struct store_source *source, uint32_t row)
{
    if (source->kind == STORE_SOURCE_MEMTABLE)
        return memtable_row(source->inner, row)->bare;
    return source->has_bare && sstable_is_bare(source->inner, row);
}

const uint8_t *store_row_key(const struct store_source *source, uint32_t row, size_t *key_bytes)
{
    if (source->kind == STORE_SOURCE_MEMTABLE) {
        const struct memtable_row *from = memtable_row(source->inner, row);
        *key_bytes = from->key_bytes;
        return from->key;
    }
    return table_key(((const struct sstable *)source->inner)->table, row, key_bytes);
}

enum vector_codec store_source_codec(const struct store_source *source)
{
    if (source->kind == STORE_SOURCE_MEMTABLE)
        return VECTOR_CODEC_RAW;
    return ((const struct sstable *)source->inner)->description.codec;
}

int store_row_stored(const struct store_source *source, uint32_t row, struct vector_row *rows,
                     uint32_t *count, struct error *error)
{
    const float *vectors;
    int code;

    if (source->kind != STORE_SOURCE_MEMTABLE)
        return table_rows(((const struct sstable *)source->inner)->table, row, rows, count, error);
    code = store_row_vectors(source, row, &vectors, count, error);
    *rows = vector_row_float32(vectors);
    return code;
}

int store_row_alone(const struct store_source *source, uint32_t row, struct vector_row *stored,
                    struct error *error)
{
    uint32_t count;

    if (source->kind == STORE_SOURCE_MEMTABLE)
        return store_row_stored(source, row, stored, &count, error);
    return table_row_alone(((const struct sstable *)source->inner)->table, row, stored, error);
}

int store_row_vector(const struct store_source *source, uint32_t row, struct arena *arena,
                     const float **vector, struct error *error)
{
    struct vector_row stored;
    uint32_t dim;
    float *values = NULL;
    int code = store_row_alone(source, row, &stored, error);

    if (code != 0)
        return code;
    if (!vector_codec_is_float32(stored.codec)) {
        dim = ((const struct sstable *)source->inner)->description.dim;
        values = arena_alloc(arena, dim * sizeof(float), _Alignof(float));
        if (!values)
            return error_set(error, ERROR_MEMORY, "no memory for a vector");
        vector_row_decode(stored, dim, values);
    }
    *vector = values ? values : stored.bytes;
    return 0;
}

int store_row_vectors(const struct store_source *source, uint32_t row, const float **vectors,
                      uint32_t *count, struct error *error)
{
    if (source->kind == STORE_SOURCE_MEMTABLE) {
        const struct memtable_row *from = memtable_row(source->inner, row);
        uint32_t left = source->row_count - row;
        *vectors = from->vector;
        *count = from->contiguous < left ? from->contiguous : left;
        return 0;
    }
    return table_vectors(((const struct sstable *)source->inner)->table, row, vectors, count,
                         error);
}

static struct sstable *run_of(const struct store_source *source)
{
    assert(source->kind == STORE_SOURCE_RUN);
    return source->inner;
}

void store_source_columns_path(const struct store_source *source, bool temporary, char *path,
                               size_t path_bytes)
{
    const struct sstable *run = run_of(source);

    table_path(run->home->directory, run->description.file_number,
               temporary ? "columns.tmp" : "columns", path, path_bytes);
}

void store_source_columns_written(const struct store_source *source, uint64_t size_bytes)
{
    atomic_store_explicit(&run_of(source)->columns_bytes, size_bytes, memory_order_relaxed);
}

int store_row_payload(const struct store_source *source, uint32_t row, struct arena *arena,
                      const uint8_t **payload, size_t *payload_bytes, struct error *error)
{
    static const uint8_t empty_map = 0x80;

    if (source->kind == STORE_SOURCE_MEMTABLE) {
        const struct memtable_row *from = memtable_row(source->inner, row);
        *payload = from->payload_bytes > 0 ? from->payload : &empty_map;
        *payload_bytes = from->payload_bytes > 0 ? from->payload_bytes : 1;
        return 0;
    }
    return table_payload(((const struct sstable *)source->inner)->table, row, arena, payload,
                         payload_bytes, error);
}

int store_rows_payloads(const struct store_source *source, const uint32_t *rows, uint32_t count,
                        struct arena *arena, const uint8_t **payloads, uint32_t *payload_bytes,
                        struct error *error)
{
    if (source->kind != STORE_SOURCE_MEMTABLE)
        return table_gather_payloads(((const struct sstable *)source->inner)->table, rows, count,
                                     arena, payloads, payload_bytes, error);
    for (uint32_t i = 0; i < count; i++) {
        size_t size_bytes;
        int code = store_row_payload(source, rows[i], arena, &payloads[i], &size_bytes, error);
        if (code != 0)
            return code;
        payload_bytes[i] = (uint32_t)size_bytes;
    }
    return 0;
}

struct key_residues store_snapshot_residues(const struct store_snapshot *snapshot)
{
    struct key_residues all = KEY_RESIDUES_NONE;

    for (size_t i = 0; i < snapshot->source_count; i++) {
        const struct store_source *source = &snapshot->sources[i];
        if (source->kind == STORE_SOURCE_MEMTABLE) {
            const struct key_residues one =
                key_residues_read(&((const struct memtable *)source->inner)->residues);
            key_residues_merge(&all, &one);
        } else {
            key_residues_merge(&all,
                               table_residues(((const struct sstable *)source->inner)->table));
        }
    }
    return all;
}

/* The key's newest row below the visible offset in a memtable, or MEMTABLE_NONE. */
static uint32_t memtable_newest_below(const struct memtable *memtable, const uint8_t *key,
                                      size_t key_bytes, int64_t visible)
{
    uint32_t row = memtable_find(memtable, key, key_bytes);

    while (row != MEMTABLE_NONE && memtable_row(memtable, row)->offset >= visible)
        row = memtable_row(memtable, row)->older;
    return row;
}

int store_snapshot_find(const struct store_snapshot *snapshot, const uint8_t *key, size_t key_bytes,
                        const struct store_source **source, uint32_t *row, struct error *error)
{
    return store_snapshot_find_since(snapshot, key, key_bytes, INT64_MIN, source, row, error);
}

int store_snapshot_find_since(const struct store_snapshot *snapshot, const uint8_t *key,
                              size_t key_bytes, int64_t since_ms,
                              const struct store_source **source, uint32_t *row,
                              struct error *error)
{
    const struct shard_metrics *metrics = &snapshot->shard->metrics;
    size_t memtables = snapshot->version->memtable_count;
    uint64_t hash = 0;

    metric_add(metrics->lookups, 1);
    for (size_t i = 0; i < memtables; i++) {
        *row = memtable_newest_below(snapshot->version->memtables[i], key, key_bytes,
                                     snapshot->visible);
        if (*row == MEMTABLE_NONE)
            continue;
        *source = &snapshot->sources[i];
        /* It is the newest of all: where it is not visible, no older one is. */
        if (store_row_visible(snapshot, *source, *row))
            return 0;
        return error_set(error, ERROR_NOT_FOUND, "the id does not exist");
    }
    if (snapshot->source_count > memtables) {
        hash = table_key_hash(key, key_bytes);
        for (size_t i = memtables; i < snapshot->source_count; i++)
            if (snapshot->sources[i].max_event_ms >= since_ms)
                table_prefetch(((struct sstable *)snapshot->sources[i].inner)->table, hash);
    }
    /* Newest to oldest: later windows first, in a window its chunks before the run they will join.
     * At most one version of an id is visible, so that the order saves reads and decides nothing.
     */
    for (size_t i = snapshot->source_count; i-- > memtables;) {
        const struct sstable *sstable = snapshot->sources[i].inner;
        if (snapshot->sources[i].max_event_ms < since_ms ||
            !table_may_contain(sstable->table, hash))
            continue;
        metric_add(metrics->lookup_reads, 1);
        if (!table_find(sstable->table, key, key_bytes, hash, row) ||
            !store_row_visible(snapshot, &snapshot->sources[i], *row))
            continue;
        *source = &snapshot->sources[i];
        return 0;
    }
    return error_set(error, ERROR_NOT_FOUND, "the id does not exist");
}
