/* Append: a group of records becomes one frame, durable, then rows, then visible.
 *
 *     plan     which records count (of one id and offset the last; expected_version.c), how large the frame is
 *     room     quota; a log file and memtable with space, or a rotation
 *     write    build the frame in the memtable's buffer, write it to the log file
 *     apply    rows into the memtable; the versions they replace are marked dead at their offset
 *     publish  the next offset, with release: from here on searches see all of it
 *
 * A search takes the version and the visible offset of one instant (snapshot.c). Before the publish
 * it sees none of the new rows (their offsets are not below) and every replaced one (dead at an
 * offset that is not below); after it, the other way round. Nothing in between exists.
 *
 * Failures. Before the write nothing has changed. A write that fails for lack of space leaves bytes
 * behind the last frame, which the next one overwrites. Any other failure stops the shard. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/logger.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/operations.h"

enum { APPLY_BATCH = 16, WINDOWS_BEFORE_ROTATION = 4 * MEMTABLE_WINDOWS_MAX };

static int check_record(const struct store_shard *shard, const struct store_group *group, size_t i,
                        int64_t previous, struct error *error)
{
    const struct store_record *record = &group->records[i];

    if (record->offset < 0 || record->offset < previous || record->offset >= group->next_offset)
        return error_set(error, ERROR_INVALID, "record %zu: offset %lld is out of order", i,
                         (long long)record->offset);
    if (record->offset < atomic_load_explicit(&shard->progress.visible, memory_order_relaxed))
        return error_set(error, ERROR_INVALID, "record %zu: offset %lld is already stored", i,
                         (long long)record->offset);
    if (!record->key || record->key_bytes == 0 || record->key_bytes > STORE_KEY_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "record %zu: invalid key of %u bytes", i,
                         record->key_bytes);
    if (record->other_key && (!record->is_delete || record->other_key_bytes == 0 ||
                              record->other_key_bytes > STORE_KEY_MAX_BYTES))
        return error_set(error, ERROR_INVALID, "record %zu: invalid second key of %u bytes", i,
                         record->other_key_bytes);
    if ((record->payload_bytes > 0 || record->has_parts) && !record->payload)
        return error_set(error, ERROR_INVALID, "record %zu has no payload", i);
    return 0;
}

static int check_group(const struct store_shard *shard, const struct store_group *group,
                       struct error *error)
{
    int64_t previous = 0;

    if (group->record_count > UINT32_MAX / 2)
        return error_set(error, ERROR_INVALID, "a group of %zu records is too large",
                         group->record_count);
    if (group->next_offset < 0 ||
        group->next_offset < atomic_load_explicit(&shard->progress.visible, memory_order_relaxed))
        return error_set(error, ERROR_INVALID, "next offset %lld is below the stored one",
                         (long long)group->next_offset);
    if (group->topic.hash != 0 &&
        (group->topic.offset < 0 || group->topic.offset >= group->next_offset))
        return error_set(error, ERROR_INVALID,
                         "the topic fingerprint at offset %lld is not below %lld",
                         (long long)group->topic.offset, (long long)group->next_offset);
    for (size_t i = 0; i < group->record_count; i++) {
        int code = check_record(shard, group, i, previous, error);
        if (code != 0)
            return code;
        previous = group->records[i].offset;
    }
    return 0;
}

static int compare_keys(const void *a, const void *b, void *context)
{
    const struct store_record *records = context;
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    int order = bytes_compare(records[left].key, records[left].key_bytes, records[right].key,
                              records[right].key_bytes);

    return order != 0 ? order : (left > right) - (left < right);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static bool append_same_key(const struct store_record *a, const struct store_record *b)
{
    return bytes_equal(a->key, a->key_bytes, b->key, b->key_bytes);
}

/* Keeps the last record of each id among indices[0..count), which share one offset. */
static uint32_t keep_last(const struct store_record *records, uint32_t *indices, uint32_t count)
{
    uint32_t kept = 0;

    qsort_r(indices, count, sizeof(*indices), compare_keys, (void *)(uintptr_t)records);
    for (uint32_t i = 0; i < count; i++)
        if (i + 1 == count || !append_same_key(&records[indices[i]], &records[indices[i + 1]]))
            indices[kept++] = indices[i];
    qsort(indices, kept, sizeof(*indices), compare_numbers);
    return kept;
}

/* Numbers of the records that count, in order; malloc'ed, NULL without memory. */
static uint32_t *choose_records(const struct store_group *group, uint32_t *count)
{
    uint32_t *indices = malloc((group->record_count ? group->record_count : 1) * sizeof(*indices));
    uint32_t kept = 0;
    size_t i = 0;

    if (!indices)
        return NULL;
    while (i < group->record_count) {
        uint32_t first = kept;
        int64_t offset = group->records[i].offset;
        for (; i < group->record_count && group->records[i].offset == offset; i++)
            indices[kept++] = (uint32_t)i;
        if (kept - first > 1)
            kept = first + keep_last(group->records, indices + first, kept - first);
    }
    *count = kept;
    return indices;
}

/* Where the preallocator finds what it is to make longer. */
static void set_active_log(struct store_shard *shard, struct log_file *log)
{
    log_space_set_active(&shard->logs, log);
    if (log)
        background_wake(shard->store->background);
}

void append_rotate(struct store_shard *shard)
{
    if (!shard->writer.active)
        return;
    set_active_log(shard, NULL);
    memtable_unref(shard->writer.active); /* the version still holds it */
    shard->writer.active = NULL;
    atomic_store_explicit(&shard->writer.active_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&shard->writer.many_windows, false, memory_order_relaxed);
    atomic_fetch_add_explicit(&shard->writer.immutable_count, 1, memory_order_release);
}

/* A log file ready to be written, with its log generation durable in the manifest. */
static int take_log(struct store_shard *shard, uint64_t first_bytes, struct log_file **out,
                    struct error *error)
{
    struct manifest_edit edit = {0};
    struct manifest_log use = {.active = 1, .first_sequence = shard->writer.next_sequence};
    struct log_file *log = log_space_take_spare(&shard->logs);
    bool create = log == NULL;
    uint64_t number = 0;
    int code = 0;

    if (create) {
        code = manifest_reserve(shard->manifest, &number, error);
        if (code != 0)
            return code;
        log = log_file_new(&shard->logs, shard->io, shard->directory, number);
    }
    code = log_file_open(log, create, shard->durability,
                         first_bytes < shard->writer.extend_min_bytes ? first_bytes : 0, error);
    if (code == 0 && create)
        code = io_sync_directory(shard->io, shard->directory, error);
    if (code == 0) {
        use.number = log->number;
        use.log_generation = log->log_generation = manifest_take_log_generation(shard->manifest);
        io_random(shard->io, &log->salt, sizeof(log->salt));
        use.salt = log->salt;
        use.durable = log->durable;
        manifest_edit_log_use(&edit, &use);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    manifest_edit_destroy(&edit);
    if (code == 0) {
        *out = log;
        return 0;
    }
    /* In a shortage the edit is known not to count: the file stays a spare or an orphan. */
    (void)log_file_close(log, ERROR_IGNORED);
    if (create && error_is_shortage(code)) {
        (void)io_unlink(shard->io, log->path, ERROR_IGNORED); /* the opening already reported why */
        log_file_set_allocated(log, 0);
    }
    if (create || !error_is_shortage(code))
        log_file_delete(log);
    else
        garbage_add(&shard->garbage, &log->garbage);
    return code;
}

/* Opens a memtable with its log file and publishes the version that has it. */
static int open_memtable(struct store_shard *shard, uint64_t frame_bytes, struct error *error)
{
    uint64_t capacity = memtable_buffer_bytes(shard->store->memtable_max_bytes);
    struct memtable *memtable;
    struct log_file *log = NULL;
    struct version *version;
    uint64_t seed;
    int code;

    if (capacity < frame_bytes)
        capacity = frame_bytes;
    io_random(shard->io, &seed, sizeof(seed));
    /* First what may fail without a trace: a log in use that gets no frame would have a place in
     * the order of frames that others take. */
    memtable = memtable_new(&shard->store->memory, NULL, capacity, shard->window_ms, seed);
    if (!memtable)
        return error_set(error, ERROR_MEMORY, "no memory for a memtable of %llu bytes",
                         (unsigned long long)capacity);
    code = take_log(shard, frame_bytes, &log, error);
    if (code != 0) {
        memtable_unref(memtable);
        return code;
    }
    memtable->log = log;
    memtable->first_sequence = shard->writer.next_sequence;
    version = version_copy(atomic_load(&shard->versions.current));
    version_add_memtable(version, memtable);
    version_publish(shard, version);
    shard->writer.active = memtable;
    set_active_log(shard, log);
    return 0;
}

/* Whether the active memtable takes another frame of this size. */
static bool active_fits(const struct store_shard *shard, uint64_t frame_bytes)
{
    const struct memtable *active = shard->writer.active;

    if (active->used_bytes + frame_bytes > active->buffer_bytes)
        return false;
    if (active->frame_count == 0)
        return true;
    return active->accounted_bytes + frame_bytes <= shard->store->memtable_max_bytes &&
           active->window_count <= WINDOWS_BEFORE_ROTATION;
}

/* Memory of all shards against the quota. What is over it must wait for a flush, but for the first
 * group of a shard that has nothing to flush. */
static int check_quota(struct store_shard *shard, uint64_t frame_bytes, struct error *error)
{
    struct store *store = shard->store;

    if (memory_used(&store->memory) + frame_bytes <= store->memory.max_bytes)
        return 0;
    memory_release_buffers(&store->memory);
    if (memory_used(&store->memory) + frame_bytes <= store->memory.max_bytes)
        return 0;
    if (!shard->writer.active &&
        atomic_load_explicit(&shard->writer.immutable_count, memory_order_relaxed) == 0)
        return 0;
    return error_set(error, ERROR_BUSY,
                     "memory quota of %llu bytes is reached, waiting for a flush",
                     (unsigned long long)store->memory.max_bytes);
}

bool store_shard_compaction_behind(const struct store_shard *shard)
{
    /* Each memtable that waits for its flush is a file to be. */
    return shard->settings.level0_files_max > 0 &&
           atomic_load_explicit(&shard->versions.level0_files, memory_order_relaxed) +
                   atomic_load_explicit(&shard->writer.immutable_count, memory_order_relaxed) >=
               shard->settings.level0_files_max;
}

static int check_compaction(const struct store_shard *shard, struct error *error)
{
    return store_shard_compaction_behind(shard)
               ? error_set(error, ERROR_BUSY,
                           "level 0 has its maximum of %u files, waiting for a compaction",
                           shard->settings.level0_files_max)
               : 0;
}

static int check_held(const struct store_shard *shard, struct error *error)
{
    return atomic_load(&shard->writer.held)
               ? error_set(error, ERROR_BUSY, "a window is being swapped in")
               : 0;
}

/* From the first append that waits, for whatever it was then, to the next that does not. */
static void count_stall(struct store_shard *shard, struct metric *cause, bool stalled)
{
    if (stalled && shard->writer.stalled_since_ns == 0) {
        shard->writer.stalled_since_ns = io_monotonic_ns(shard->io);
        shard->writer.stalled_for = cause;
    }
    if (!stalled && shard->writer.stalled_since_ns != 0) {
        metric_add(shard->writer.stalled_for,
                   (double)(io_monotonic_ns(shard->io) - shard->writer.stalled_since_ns) / 1e9);
        shard->writer.stalled_since_ns = 0;
    }
}

/* The clock still moves, so that what is open closes and may go. */
static int check_cap(struct store_shard *shard, const struct store_group *group,
                     struct error *error)
{
    if (group->record_count == 0 ||
        !atomic_load_explicit(&shard->settings.over_cap, memory_order_relaxed))
        return 0;
    count_stall(shard, shard->metrics.stall_cap_seconds, true);
    return error_set(error, ERROR_BUSY,
                     "the collection exceeds max_bytes and no window may be dropped");
}

/* All that may refuse an append stands here, before anything is written. The order decides what a
 * stall is counted as. A rotation makes a file for the next flush: it waits for compaction, frames
 * that fit into the active memtable do not. */
static int make_room(struct store_shard *shard, uint64_t frame_bytes, struct error *error)
{
    bool rotates = shard->writer.active && !active_fits(shard, frame_bytes);
    struct metric *cause = shard->metrics.stall_memory_seconds;
    int code = check_held(shard, error);

    if (code != 0)
        cause = shard->metrics.stall_held_seconds;
    else
        code = check_quota(shard, frame_bytes, error);
    if (code == 0 && rotates) {
        code = check_compaction(shard, error);
        cause = shard->metrics.stall_compaction_seconds;
    }
    count_stall(shard, cause, code != 0);
    if (code != 0)
        return code;
    if (rotates)
        append_rotate(shard);
    if (!shard->writer.active)
        code = open_memtable(shard, frame_bytes, error);
    if (code == 0 && frame_bytes < shard->writer.extend_min_bytes) {
        uint64_t end = shard->writer.active->used_bytes + frame_bytes;
        uint64_t left = shard->writer.active->buffer_bytes - end;
        code = log_file_grow(shard->writer.active->log, end,
                             end + (left < LOG_GROW_BYTES ? left : LOG_GROW_BYTES), error);
    }
    return code;
}

/* The frame is built where it stays: the memtable's buffer is an image of the log file, so that rows
 * point at what was written and nothing is copied twice. */
static int write_frame(struct store_shard *shard, const struct store_group *group,
                       const uint32_t *indices, const struct log_frame_layout *layout,
                       struct error *error)
{
    struct memtable *active = shard->writer.active;
    struct log_file *log = active->log;
    uint8_t *bytes = active->buffer + active->used_bytes;
    struct log_frame_identity identity = {log->number, log->log_generation, log->salt,
                                          active->used_bytes};
    uint16_t flags = log->durable ? LOG_FRAME_SYNCED : 0;
    int64_t before;
    int code;

    log_frame_build(group, indices, shard->dim, layout, &identity,
                    (uint64_t)shard->writer.next_sequence, flags, bytes);
    atomic_store_explicit(&shard->writer.bulk, layout->frame_bytes >= LOG_BULK_BYTES,
                          memory_order_relaxed);
    before = io_monotonic_ns(shard->io);
    code = log_file_write(log, bytes, layout->frame_bytes, active->used_bytes, error);
    if (code != 0)
        return code;
    if (log->durable)
        metric_observe(shard->metrics.fsync_seconds,
                       (double)(io_monotonic_ns(shard->io) - before) / 1e9);
    metric_add(shard->metrics.bytes_log, (double)layout->frame_bytes);
    atomic_fetch_add_explicit(&shard->writer.frames_bytes, layout->frame_bytes,
                              memory_order_relaxed);
    metric_add(shard->metrics.user_bytes,
               (double)(layout->keys_bytes + layout->payloads_bytes) +
                   (double)layout->vector_count * shard->dim * (double)sizeof(float));
    return 0;
}

/* Marks the living version in chunks and runs dead, if there is one. */
static void kill_in_sstables(const struct version *version, const uint8_t *key, uint16_t key_bytes,
                             uint64_t key_hash, int64_t offset)
{
    for (size_t i = 0; i < version->entry_count; i++) {
        struct sstable *sstable = version->entries[i].sstable;
        uint32_t row;
        if (sstable_find_living(sstable, key, key_bytes, key_hash, &row)) {
            sstable_kill(sstable, row, offset);
            return; /* at most one version of an id lives */
        }
    }
}

/* A record of a batch, by its key. */
struct applied {
    const uint8_t *key;
    uint64_t hash;
    int64_t offset;
    uint16_t key_bytes;
};

static bool is_alive(const struct memtable *memtable, uint32_t row)
{
    return atomic_load_explicit(&memtable_row(memtable, row)->dead_at, memory_order_relaxed) ==
           MEMTABLE_ALIVE;
}

/* Looks up a batch in everything but the memtable that the batch went to. */
static void kill_batch(struct store_shard *shard, const struct memtable *memtable,
                       const struct version *version, const struct applied *batch, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        bool found = false;
        /* The newest version of a key is found first; when it is dead, all before it are. */
        for (size_t m = 0; m < version->memtable_count && !found; m++) {
            struct memtable *older = version->memtables[m];
            uint32_t row = older == memtable || !memtable_may_contain(older, batch[i].hash)
                               ? MEMTABLE_NONE
                               : memtable_find(older, batch[i].key, batch[i].key_bytes);
            if (row == MEMTABLE_NONE)
                continue;
            found = true;
            if (is_alive(older, row)) {
                pthread_mutex_lock(&shard->windows.lock);
                memtable_kill(older, row, batch[i].offset);
                pthread_mutex_unlock(&shard->windows.lock);
            }
        }
        if (!found)
            kill_in_sstables(version, batch[i].key, batch[i].key_bytes, batch[i].hash,
                             batch[i].offset);
    }
}

/* The filters of all memtables and sstables are far apart in memory: asks for all lines before the
 * first look. */
static void prefetch_batch(const struct version *version, const struct applied *batch,
                           unsigned count)
{
    for (size_t m = 0; m < version->memtable_count; m++)
        for (unsigned i = 0; i < count; i++)
            memtable_prefetch(version->memtables[m], batch[i].hash);
    for (size_t p = 0; p < version->entry_count; p++)
        for (unsigned i = 0; i < count; i++)
            table_prefetch(version->entries[p].sstable->table, batch[i].hash);
}

/* Kills the key's newest row in this memtable; false when it has none. Under the notes lock. */
static bool delete_here(struct memtable *memtable, const struct applied *record)
{
    uint32_t row = memtable_find(memtable, record->key, record->key_bytes);

    if (row == MEMTABLE_NONE)
        return false;
    if (is_alive(memtable, row))
        memtable_kill(memtable, row, record->offset);
    return true;
}

/* Puts a row in; true when an older version in the same memtable was found (and is dead now). Under
 * the notes lock. */
static bool insert_here(struct memtable *memtable, const struct memtable_row *row,
                        const struct applied *record, int64_t arrival_wall_ms)
{
    uint32_t previous;

    (void)memtable_insert(memtable, row, record->hash, arrival_wall_ms, &previous);
    if (previous == MEMTABLE_NONE)
        return false;
    if (is_alive(memtable, previous))
        memtable_kill(memtable, previous, record->offset);
    return true;
}

/* Where the next record's columns are. */
struct frame_place {
    uint32_t record;
    const uint8_t *key;
    const uint8_t *payload;
    const float *vector;
    uint32_t vectors_left;
};

/* Puts a batch in. What has no older version in this memtable is left in `batch`: so many. */
static unsigned apply_batch(struct store_shard *shard, struct memtable *memtable,
                            const struct log_frame *frame, struct frame_place *place,
                            int64_t arrival_wall_ms, struct applied *batch, unsigned count)
{
    unsigned elsewhere = 0;

    pthread_mutex_lock(&shard->windows.lock);
    for (unsigned i = 0; i < count; i++) {
        const struct log_frame_record *record = &frame->records[place->record++];
        bool here;
        if (record->flags & LOG_RECORD_DELETE) {
            here = delete_here(memtable, &batch[i]);
        } else {
            struct memtable_row row = {.key = batch[i].key,
                                       .payload = place->payload,
                                       .vector = place->vector,
                                       .event_time_ms = record->event_time_ms,
                                       .offset = record->offset,
                                       .ttl_ms = record->ttl_ms,
                                       .payload_bytes = record->payload_bytes,
                                       .contiguous = place->vectors_left--,
                                       .key_bytes = record->key_bytes,
                                       .bare = (record->flags & LOG_RECORD_BARE) != 0};
            here = insert_here(memtable, &row, &batch[i], arrival_wall_ms);
            memtable->has_parts |= (record->flags & LOG_RECORD_PARTS) != 0;
            memtable->has_bare |= row.bare;
            place->vector += shard->dim;
        }
        if (!here)
            batch[elsewhere++] = batch[i];
        place->payload += record->payload_bytes;
    }
    pthread_mutex_unlock(&shard->windows.lock);
    return elsewhere;
}

/* For appends and for the replay of a log: both see the same bytes and come to the same rows.
 *
 * In batches, for two reasons. The look for older versions touches the filter of every file, and
 * the misses of sixteen keys overlap. And the notes lock is taken once a batch, not once a record.
 *
 * Two versions of one id may be in one batch: they are applied in order, so that the second finds
 * the first in this memtable. Only ids without a version here are looked up elsewhere. */
void append_apply_frame(struct store_shard *shard, struct memtable *memtable,
                        const struct version *version, const struct log_frame *frame,
                        int64_t arrival_wall_ms)
{
    const uint32_t record_count = frame->header->record_count;
    struct frame_place place = {.key = frame->keys,
                                .payload = frame->payloads,
                                .vector = frame->vectors,
                                .vectors_left = frame->header->vector_count};
    struct applied batch[APPLY_BATCH];

    while (place.record < record_count) {
        unsigned count = 0;
        for (; count < APPLY_BATCH && place.record + count < record_count; count++) {
            const struct log_frame_record *record = &frame->records[place.record + count];
            batch[count] = (struct applied){.key = place.key,
                                            .hash = table_key_hash(place.key, record->key_bytes),
                                            .offset = record->offset,
                                            .key_bytes = record->key_bytes};
            place.key += record->key_bytes;
        }
        prefetch_batch(version, batch, count);
        count = apply_batch(shard, memtable, frame, &place, arrival_wall_ms, batch, count);
        kill_batch(shard, memtable, version, batch, count);
    }
    memtable->next_offset = frame->header->next_offset;
    memtable->topic =
        (struct store_topic_fingerprint){frame->header->topic_offset, frame->header->topic_hash};
    memtable->clock =
        (struct store_clock){frame->header->watermark_ms,
                             frame->header->last_record_wall_ms,
                             frame->header->safe_wall_ms,
                             {frame->header->log_known != 0, frame->header->log_time_ms,
                              frame->header->log_stamp_ms, frame->header->log_watermark_ms}};
    memtable->used_bytes = frame->header->position + frame->header->frame_bytes;
    memtable->frame_count++;
    memtable_account(memtable);
}

/* `visible` is the last store and a sequentially consistent one: whoever sees it sees the rows, the
 * masks and the clock before it, and a waiting thread that misses it has been counted (events.h). */
void append_publish(struct store_shard *shard, int64_t next_offset,
                    const struct store_topic_fingerprint *topic, const struct store_clock *clock)
{
    shard->writer.topic = *topic;
    atomic_store_explicit(&shard->progress.watermark_ms, clock->watermark_ms, memory_order_relaxed);
    atomic_store_explicit(&shard->progress.last_record_wall_ms, clock->last_record_wall_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&shard->progress.safe_wall_ms, clock->safe_wall_ms, memory_order_relaxed);
    atomic_store_explicit(&shard->progress.log_time_ms, clock->log.time_ms, memory_order_relaxed);
    atomic_store_explicit(&shard->progress.log_stamp_ms, clock->log.stamp_ms, memory_order_relaxed);
    atomic_store_explicit(&shard->progress.log_watermark_ms, clock->log.watermark_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&shard->progress.log_known, clock->log.known, memory_order_relaxed);
    atomic_store(&shard->progress.visible, next_offset);
}

/* All that can fail comes before the end of write_frame. After it the group is durable and the rest
 * may not fail: rows have their memory (memtable_reserve_rows), masks abort without. */
static int append_group(struct store_shard *shard, const struct store_group *given,
                        const uint32_t *indices, uint32_t count,
                        const struct expect_decision *decision, struct error *error)
{
    struct store_group decided = *given;
    const struct store_group *group = &decided;
    struct log_frame_layout layout;
    struct log_frame frame;
    struct memtable *active;
    uint64_t before;
    int code;

    if (decision->records)
        decided.records = decision->records;
    code = log_frame_plan(group, indices, count, shard->dim, &layout, error);
    if (code == 0)
        code = make_room(shard, layout.frame_bytes, error);
    /* Once the frame is durable there is no way back. */
    if (code == 0 &&
        !memtable_reserve_rows(shard->writer.active, layout.vector_count, layout.frame_bytes))
        code = error_set(error, ERROR_MEMORY, "no memory for %u rows", layout.vector_count);
    if (code == 0)
        code = write_frame(shard, group, indices, &layout, error);
    if (code != 0)
        return code;

    active = shard->writer.active;
    log_frame_locate(active->buffer + active->used_bytes, &frame);
    append_apply_frame(shard, active, atomic_load(&shard->versions.current), &frame,
                       io_wall_ms(shard->io));
    shard->writer.next_sequence++;
    refusals_note(shard, group->refusals, group->refusal_count);
    refusals_note(shard, decision->refused, decision->refused_count);
    append_publish(shard, group->next_offset, &active->topic, &group->clock);
    before = atomic_exchange_explicit(&shard->writer.active_bytes, active->accounted_bytes,
                                      memory_order_relaxed);
    if (before / LOG_PREALLOCATOR_STEP_BYTES !=
        active->accounted_bytes / LOG_PREALLOCATOR_STEP_BYTES)
        background_wake(shard->store->background);
    atomic_store_explicit(&shard->writer.many_windows, active->window_count > MEMTABLE_WINDOWS_MAX,
                          memory_order_relaxed);
    metric_set(shard->metrics.memtable_bytes, (double)active->accounted_bytes);
    return 0;
}

int store_shard_append(struct store_shard *shard, const struct store_group *group,
                       struct error *error)
{
    struct expect_decision decision = {0};
    uint32_t *indices = NULL;
    uint32_t count = 0;
    int code;

    shard_append_lock(shard);
    atomic_store(&shard->writer.room_seen, atomic_load(&shard->store->events.room));
    code = shard_check_running(shard, error);
    if (code == 0)
        code = check_group(shard, group, error);
    if (code == 0)
        code = check_cap(shard, group, error);
    if (code == 0) {
        indices = choose_records(group, &count);
        code = indices ? expect_check(shard, group, indices, &count, &decision, error)
                       : error_set(error, ERROR_MEMORY, "no memory for a group of %zu records",
                                   group->record_count);
        if (code == 0)
            code = append_group(shard, group, indices, count, &decision, error);
        (void)shard_check_stop(shard, code, error);
    }
    free(indices);
    free(decision.refused);
    free(decision.records);
    pthread_mutex_unlock(&shard->writer.lock);
    shard_appended(shard, code == 0);
    if (code != 0)
        error_wrap(error, "%s/%s: append", shard->collection, shard->name);
    return code;
}

bool store_shard_needs_flush(const struct store_shard *shard)
{
    const struct store *store = shard->store;
    uint64_t used = memory_used(&store->memory);
    uint64_t mine = atomic_load_explicit(&shard->writer.active_bytes, memory_order_relaxed);
    uint32_t shards = atomic_load_explicit(&store->shard_count, memory_order_relaxed);

    if (atomic_load_explicit(&shard->writer.immutable_count, memory_order_acquire) > 0 ||
        atomic_load_explicit(&shard->writer.many_windows, memory_order_relaxed))
        return true;
    if (mine > 0 && used >= store->memory.max_bytes)
        return true;
    /* Soon short of memory: those shards flush that hold at least their share. */
    return mine > 0 && used > store->memory.max_bytes / 4 * 3 &&
           mine >= used / (shards ? shards : 1);
}
