/* Flush: an immutable memtable becomes one chunk for each window it touches. Only the index is
 * written; the vectors stay where the log has them.
 *
 * What is written and what is not. Let E be the offset after the memtable's last record. A row that
 * died below E, or has expired, is left out: whoever can see the chunk has at least E visible. A
 * row that died at E or later is written, for the record that killed it may not survive a crash
 * (durability kafka); its mask goes over to the chunk in memory, and replay finds it again.
 *
 * Masks that records below E set in other sstables were only in the log until now: they are written
 * as mask files and become durable with the same edit. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/operations.h"

enum { ROW_NOT_WRITTEN = UINT32_MAX };

/* A chunk that was written and waits for its edit. */
struct flush_chunk {
    struct manifest_table table;
    struct sstable *sstable;
};

struct flush_job {
    struct store_shard *shard;
    struct memtable *memtable;
    int64_t end_offset;        /* E */
    int64_t expired_before_ms; /* rows that expired by then are left out */
    uint32_t row_count;
    uint32_t *chunk_rows;       /* per memtable row: its number in its window's chunk */
    struct flush_chunk *chunks; /* one a window of the memtable; file_number 0: no row left */
    uint32_t chunk_count;
};

/* Whether the row goes into a chunk. Stable for the whole flush: see above. */
static bool row_survives(const struct flush_job *job, const struct memtable_row *row)
{
    int64_t ttl_ms = atomic_load_explicit(&job->shard->settings.ttl_ms, memory_order_relaxed);

    return atomic_load_explicit(&row->dead_at, memory_order_acquire) >= job->end_offset &&
           !row_expired(row->event_time_ms, row->ttl_ms, ttl_ms, job->expired_before_ms);
}

static int write_rows(struct flush_job *job, uint32_t window, struct table_writer *writer,
                      struct error *error)
{
    static const uint8_t empty_map = 0x80;
    const struct memtable *memtable = job->memtable;
    uint32_t written = 0;

    for (uint32_t i = 0; i < job->row_count; i++) {
        const struct memtable_row *from = memtable_row(memtable, i);
        struct table_row row;
        int code;
        if (from->window != window || job->chunk_rows[i] == ROW_NOT_WRITTEN)
            continue;
        row = (struct table_row){.key = from->key,
                                 .key_bytes = from->key_bytes,
                                 .event_time_ms = from->event_time_ms,
                                 .offset = from->offset,
                                 .ttl_ms = from->ttl_ms,
                                 .payload = from->payload_bytes > 0 ? from->payload : &empty_map,
                                 .payload_bytes = from->payload_bytes > 0 ? from->payload_bytes : 1,
                                 .vector = from->vector,
                                 .bare = from->bare,
                                 .log_position =
                                     (uint64_t)((const uint8_t *)from->vector - memtable->buffer)};
        job->chunk_rows[i] = written++;
        code = table_writer_add(writer, &row, error);
        if (code != 0)
            return code;
    }
    return 0;
}

static int write_chunk(struct flush_job *job, uint32_t window, struct error *error)
{
    struct store_shard *shard = job->shard;
    struct manifest_table *table = &job->chunks[window].table;
    struct table_writer *writer;
    int code = windows_pending_reserve(&shard->windows, shard->manifest,
                                       &table->description.file_number, error);

    if (code != 0)
        return code;
    table->description.kind = TABLE_CHUNK;
    table->description.codec = VECTOR_CODEC_RAW;
    table->description.has_parts = job->memtable->has_parts;
    table->description.has_bare = job->memtable->has_bare;
    table->description.log_file_number = job->memtable->log->number;
    table->description.dim = shard->dim;
    table->description.window_start_ms = job->memtable->windows[window].start_ms;
    table->description.window_length_ms = job->memtable->window_ms;
    code = table_writer_open(shard->io, shard->directory, &table->description, &writer, error);
    if (code != 0)
        return code;
    code = write_rows(job, window, writer, error);
    if (code != 0) {
        table_writer_abort(writer);
        return code;
    }
    code = table_writer_finish(writer, &table->info, error);
    if (code == 0)
        metric_add(shard->metrics.bytes_chunk, (double)table->info.index_bytes);
    return code;
}

/* Decides once which rows are written, so that a row that dies meanwhile cannot shift the others.
 */
static int write_chunks(struct flush_job *job, struct error *error)
{
    uint32_t *rows = calloc(job->chunk_count ? job->chunk_count : 1, sizeof(*rows));
    int code = 0;

    if (!rows)
        return error_set(error, ERROR_MEMORY, "no memory to flush %u windows", job->chunk_count);
    for (uint32_t i = 0; i < job->row_count; i++) {
        const struct memtable_row *row = memtable_row(job->memtable, i);
        bool survives = row_survives(job, row);
        job->chunk_rows[i] = survives ? 0 : ROW_NOT_WRITTEN;
        rows[row->window] += survives;
    }
    for (uint32_t i = 0; i < job->chunk_count && code == 0; i++)
        if (rows[i] > 0)
            code = write_chunk(job, i, error);
    for (uint32_t i = 0; i < job->chunk_count && code == 0; i++)
        if (rows[i] > 0)
            code = sstable_open(&job->shard->sstables, &job->chunks[i].table, job->memtable->log,
                                &job->chunks[i].sstable, error);
    free(rows);
    return code;
}

/* The rows that died since the chunk was written die in it too. Under the append lock. */
static void carry_masks(const struct flush_job *job)
{
    for (uint32_t i = 0; i < job->row_count; i++) {
        const struct memtable_row *row = memtable_row(job->memtable, i);
        int64_t dead_at = atomic_load_explicit(&row->dead_at, memory_order_relaxed);
        if (dead_at != MEMTABLE_ALIVE && job->chunk_rows[i] != ROW_NOT_WRITTEN)
            sstable_kill(job->chunks[row->window].sstable, job->chunk_rows[i], dead_at);
    }
}

/* Windows keep what their memtables knew of arrivals. */
static void keep_arrivals(const struct flush_job *job)
{
    struct store_shard *shard = job->shard;

    pthread_mutex_lock(&shard->windows.lock);
    for (uint32_t i = 0; i < job->memtable->window_count; i++) {
        const struct memtable_window *from = &job->memtable->windows[i];
        struct window_note *to =
            windows_note(&shard->windows, from->start_ms, job->memtable->window_ms);
        if (from->last_arrival_wall_ms > to->last_arrival_wall_ms)
            to->last_arrival_wall_ms = from->last_arrival_wall_ms;
    }
    pthread_mutex_unlock(&shard->windows.lock);
}

static void publish(const struct flush_job *job)
{
    struct store_shard *shard = job->shard;
    struct version *next;

    keep_arrivals(job);
    shard_publish_lock(shard);
    carry_masks(job);
    next = version_copy(atomic_load(&shard->versions.current));
    version_remove_memtable(next, job->memtable);
    for (uint32_t i = 0; i < job->chunk_count; i++)
        if (job->chunks[i].sstable)
            version_add_sstable(next, job->chunks[i].sstable, NULL);
    version_publish(shard, next);
    atomic_fetch_sub_explicit(&shard->writer.immutable_count, 1, memory_order_release);
    pthread_mutex_unlock(&shard->writer.lock);
}

/* Edit, then version: what a search sees is durable. In between the chunks are durable and the
 * memtable is still what searches read; both hold the same rows. Under the commit lock. */
static int commit(struct flush_job *job, struct error *error)
{
    struct store_shard *shard = job->shard;
    struct manifest_edit edit = {0};
    struct mask_update *updates = NULL;
    size_t update_count = 0;
    struct version *version = version_acquire(shard);
    int64_t next_sequence = job->memtable->first_sequence + (int64_t)job->memtable->frame_count;
    int code =
        masks_persist_all(shard, version, job->end_offset, &edit, &updates, &update_count, error);

    for (uint32_t i = 0; i < job->chunk_count; i++)
        if (job->chunks[i].sstable)
            manifest_edit_table(&edit, &job->chunks[i].table);
    manifest_edit_log_done(&edit, job->memtable->log->number);
    manifest_edit_progress(&edit, job->end_offset, next_sequence, &job->memtable->clock);
    manifest_edit_topic_fingerprint(&edit, &job->memtable->topic);
    manifest_edit_log_clock(&edit, &job->memtable->clock.log);
    if (code == 0)
        code = manifest_commit(shard->manifest, &edit, error);
    if (code == 0) {
        shard->commit.flushed_offset = job->end_offset;
        for (size_t i = 0; i < update_count; i++)
            masks_written(shard, &updates[i]);
        publish(job);
    }
    for (size_t i = 0; i < update_count && code != 0; i++)
        masks_abandoned(shard, &updates[i], code != ERROR_IO);
    manifest_edit_destroy(&edit);
    free(updates);
    version_unref(version);
    return code;
}

/* Writes and commits the oldest immutable memtable. The oldest first, always: an edit says that all
 * below its end offset is flushed, and the logs of younger memtables are still replayed.
 *
 * Chunks are written without a lock but flush_lock. Rows go on dying meanwhile; see write_chunks and
 * carry_masks. Only the edit and the swap of memtable for chunks take the commit lock. */
static int flush_memtable(struct store_shard *shard, struct memtable *memtable, struct error *error)
{
    struct flush_job job = {
        .shard = shard,
        .memtable = memtable,
        .end_offset = memtable->next_offset,
        .expired_before_ms = store_shard_expired_before_ms(shard, io_wall_ms(shard->io)),
        .row_count = atomic_load_explicit(&memtable->row_count, memory_order_acquire),
        .chunk_count = memtable->window_count};
    int code;

    job.chunk_rows = calloc(job.row_count ? job.row_count : 1, sizeof(*job.chunk_rows));
    job.chunks = calloc(job.chunk_count ? job.chunk_count : 1, sizeof(*job.chunks));
    if (!job.chunk_rows || !job.chunks) {
        free(job.chunk_rows);
        free(job.chunks);
        return error_set(error, ERROR_MEMORY, "no memory to flush %u rows", job.row_count);
    }
    /* Chunks point into the log file: it is durable before an edit names them. */
    code = log_file_sync(memtable->log, error);
    if (code == 0)
        code = write_chunks(&job, error);
    if (code == 0) {
        pthread_mutex_lock(&shard->commit.lock);
        code = commit(&job, error);
        pthread_mutex_unlock(&shard->commit.lock);
    }
    for (uint32_t i = 0; i < job.chunk_count; i++) {
        if (job.chunks[i].table.description.file_number != 0)
            windows_pending_done(&shard->windows, job.chunks[i].table.description.file_number);
        /* Unless an edit that failed may name it after all, what was written for nothing goes. */
        if (job.chunks[i].sstable && code != 0 && code != ERROR_IO)
            atomic_store(&job.chunks[i].sstable->dropped, true);
        sstable_unref(job.chunks[i].sstable); /* the version holds it */
    }
    if (code == 0)
        (void)log_file_close(memtable->log, ERROR_IGNORED); /* all of it is synced */
    free(job.chunk_rows);
    free(job.chunks);
    return shard_check_stop(shard, code, error);
}

/* The oldest memtable that takes no appends any more, with a reference, or NULL. */
static struct memtable *oldest_immutable(struct store_shard *shard)
{
    struct memtable *memtable;
    struct version *version;

    /* Counted after it was published, removed by flushes only: the version has it. */
    if (atomic_load_explicit(&shard->writer.immutable_count, memory_order_acquire) == 0)
        return NULL;
    version = version_acquire(shard);
    assert(version->memtable_count > 0);
    memtable = version->memtables[version->memtable_count - 1];
    memtable_ref(memtable);
    version_unref(version);
    return memtable;
}

/* Whether the memtable that takes appends is to be written too. What has just begun behind a full
 * one stays: its crumb of a chunk would keep its neighbours from merging. Under the append lock. */
static bool active_is_due(const struct store_shard *shard)
{
    return atomic_load_explicit(&shard->writer.many_windows, memory_order_relaxed) ||
           (atomic_load(&shard->writer.immutable_count) == 0 && store_shard_needs_flush(shard));
}

/* Only what is there now: a writer that never pauses would keep a flush going for ever, and the
 * seal that waits for it. */
static int flush_memtables(struct store_shard *shard, bool all, struct error *error)
{
    uint32_t due = 0;
    int code;

    pthread_mutex_lock(&shard->flush_lock);
    code = shard_check_running(shard, error);
    if (code == 0) {
        shard_publish_lock(shard);
        if (shard->writer.active && shard->writer.active->frame_count > 0 &&
            (all || active_is_due(shard)))
            append_rotate(shard);
        due = atomic_load(&shard->writer.immutable_count);
        pthread_mutex_unlock(&shard->writer.lock);
    }
    for (; code == 0 && due > 0; due--) {
        struct memtable *memtable = oldest_immutable(shard);
        if (!memtable)
            break;
        code = flush_memtable(shard, memtable, error);
        memtable_unref(memtable);
    }
    pthread_mutex_unlock(&shard->flush_lock);
    return code;
}

int flush_all(struct store_shard *shard, struct error *error)
{
    return flush_memtables(shard, true, error);
}

static int flush(struct store_shard *shard, bool all, struct error *error)
{
    int code;

    garbage_collect_behind(shard);
    code = flush_memtables(shard, all, error);
    garbage_collect_behind(shard);
    if (code == 0)
        shard_windows_changed(shard);
    if (code != 0)
        error_wrap(error, "%s/%s: flush", shard->collection, shard->name);
    return code;
}

int store_shard_flush(struct store_shard *shard, struct error *error)
{
    return flush(shard, true, error);
}

int store_shard_flush_due(struct store_shard *shard, struct error *error)
{
    return store_shard_needs_flush(shard) ? flush(shard, false, error) : 0;
}

/* The safe clock of a shard that takes no records, idle or without a broker. A start must know how
 * long nobody ran, and that is more than how long nothing was appended. */
int store_shard_keep_clock(struct store_shard *shard, int64_t safe_wall_ms, struct error *error)
{
    const struct store_clock clock = {.watermark_ms = INT64_MIN, .safe_wall_ms = safe_wall_ms};
    struct manifest_edit edit = {0};
    int code;

    pthread_mutex_lock(&shard->commit.lock);
    code = shard_check_running(shard, error);
    if (code == 0) {
        manifest_edit_clock(&edit, &clock);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    pthread_mutex_unlock(&shard->commit.lock);
    if (code == 0) {
        pthread_mutex_lock(&shard->writer.lock);
        if (safe_wall_ms >
            atomic_load_explicit(&shard->progress.safe_wall_ms, memory_order_relaxed))
            atomic_store_explicit(&shard->progress.safe_wall_ms, safe_wall_ms,
                                  memory_order_relaxed);
        pthread_mutex_unlock(&shard->writer.lock);
    }
    manifest_edit_destroy(&edit);
    return shard_check_stop(shard, code, error);
}
