/* Opening a shard after anything.
 *
 *     manifest     says which files there are, up to which offset they go, which logs are replayed
 *     truncation   no log file may hold frames of a generation that the manifest does not know
 *     orphans      files of reserved numbers that no edit names are removed
 *     sstables     opened with their masks; one that is damaged takes its window out
 *     logs         frames are replayed in order into memtables, which are flushed as they are; new
 *                  records go to a new log file, so that nothing stale can follow a recovered frame
 *
 * Where a log ends. Frames count up by one without a gap. The first that does not parse, or has
 * another number, is the torn end, unless a valid one of the same use of the file lies behind it or
 * the next log goes on with a later number: with `durability: log` each frame was durable before
 * the next was written, so that is damage of acknowledged data and the opening fails. With
 * `durability: kafka` a crash may lose any of the frames: all from the gap on are given up, and
 * Kafka is read again from there.
 *
 * What the last process had written but not synced can be read now and lost later: every file that
 * is gone on with is synced first. */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buffer.h"
#include "base/logger.h"
#include "base/memory.h"
#include "store/append.h"
#include "store/files/folder.h"
#include "store/log_reader.h"
#include "store/operations.h"

struct recovery {
    struct store_shard *shard;
    struct log_file **logs; /* one for each log of the manifest, with a reference */
    size_t log_count;
    struct manifest_log *active; /* copies, by generation */
    size_t active_count;
    struct sstable **sstables; /* one for each table of the manifest; NULL: damaged */
    size_t sstable_count;
    struct buffer damage;
    struct manifest_edit edit; /* logs that turned out to hold nothing */
    bool edited;
};

static struct log_file *find_log(const struct recovery *recovery, uint64_t number)
{
    for (size_t i = 0; i < recovery->log_count; i++)
        if (recovery->logs[i]->number == number)
            return recovery->logs[i];
    return NULL;
}

/* Objects for all log files; a size of 0 when a file is missing. */
static void open_logs(struct recovery *recovery)
{
    struct store_shard *shard = recovery->shard;
    const struct manifest_state *state = &shard->manifest->state;

    recovery->logs = memory_new(state->log_count ? state->log_count : 1, sizeof(*recovery->logs));
    for (size_t i = 0; i < state->log_count; i++) {
        struct log_file *log =
            log_file_new(&shard->logs, shard->io, shard->directory, state->logs[i].number);
        uint64_t size_bytes = 0;
        int file;
        log->log_generation = state->logs[i].log_generation;
        log->salt = state->logs[i].salt;
        log->durable = state->logs[i].durable != 0;
        if (io_open(shard->io, log->path, IO_READ, &file, ERROR_IGNORED) == 0) {
            if (io_size(shard->io, file, log->path, &size_bytes, ERROR_IGNORED) == 0)
                log_file_set_allocated(log, size_bytes);
            (void)io_close(shard->io, file, log->path, ERROR_IGNORED); /* nothing was written */
        }
        recovery->logs[recovery->log_count++] = log;
    }
}

static void note_damage(struct recovery *recovery, const struct manifest_table *table,
                        const char *text)
{
    if (recovery->damage.size > 0)
        buffer_append_text(&recovery->damage, "; ");
    buffer_append_format(&recovery->damage, "window %" PRId64 ": %s",
                         table->description.window_start_ms, text);
    logger_write_event(LOGGER_ERROR, "store", "window_damaged",
                       "%s/%s: window %" PRId64 " is excluded from searches: %s",
                       recovery->shard->collection, recovery->shard->name,
                       table->description.window_start_ms, text);
}

static bool same_window(const struct manifest_table *a, const struct manifest_table *b)
{
    return a->description.window_start_ms == b->description.window_start_ms &&
           a->description.window_length_ms == b->description.window_length_ms;
}

/* A damaged file takes out every file of its window: half a window would be a wrong answer. */
static void take_out_damaged(struct recovery *recovery)
{
    struct store_shard *shard = recovery->shard;
    const struct manifest_state *state = &shard->manifest->state;

    shard->damages.items =
        memory_new(state->table_count ? state->table_count : 1, sizeof(*shard->damages.items));
    for (size_t i = 0; i < state->table_count; i++) {
        const struct manifest_table *table = &state->tables[i];
        struct log_file *log;
        bool damaged = false;
        for (size_t j = 0; j < state->table_count; j++)
            damaged |= !recovery->sstables[j] && same_window(table, &state->tables[j]);
        if (!damaged)
            continue;
        log = find_log(recovery, table->description.log_file_number);
        if (log)
            log_file_ref(log); /* never used again while the window may be looked at */
        shard->damages.items[shard->damages.count++] = (struct damaged_table){
            .log = log,
            .file_number = table->description.file_number,
            .window_start_ms = table->description.window_start_ms,
            .window_length_ms = table->description.window_length_ms,
            .min_offset = table->info.min_offset,
            .generation = table->description.generation,
            .sealed = table->sealed,
            .bytes = table->info.index_bytes + table->mask_bytes + table->segment.bytes +
                     (table->description.kind == TABLE_RUN ? table->info.vector_bytes : 0)};
    }
}

static int open_sstables(struct recovery *recovery, struct error *error)
{
    struct store_shard *shard = recovery->shard;
    const struct manifest_state *state = &shard->manifest->state;

    recovery->sstables =
        memory_new(state->table_count ? state->table_count : 1, sizeof(*recovery->sstables));
    recovery->sstable_count = state->table_count;
    for (size_t i = 0; i < state->table_count; i++) {
        const struct manifest_table *table = &state->tables[i];
        struct log_file *log = find_log(recovery, table->description.log_file_number);
        struct error local = {0};
        int code = sstable_open(&shard->sstables, table, log, &recovery->sstables[i], &local);
        if (code == 0)
            continue;
        if (code != ERROR_CORRUPT && code != ERROR_NOT_FOUND)
            return error_set(error, code, "%s", local.text);
        recovery->sstables[i] = NULL;
        note_damage(recovery, table, local.text);
    }
    take_out_damaged(recovery);
    if (recovery->damage.size > 0) {
        shard->damages.text = memory_checked(strdup(buffer_text(&recovery->damage)));
        atomic_store(&shard->damages.shown, shard->damages.text);
    }
    return 0;
}

static bool window_damaged(const struct store_shard *shard, const struct manifest_table *table)
{
    for (size_t i = 0; i < shard->damages.count; i++)
        if (shard->damages.items[i].file_number == table->description.file_number)
            return true;
    return false;
}

/* The version of what is flushed. */
static void publish_sstables(struct recovery *recovery)
{
    struct store_shard *shard = recovery->shard;
    const struct manifest_state *state = &shard->manifest->state;
    struct version *version = version_copy(NULL);

    for (size_t i = 0; i < state->table_count; i++) {
        const struct manifest_table *table = &state->tables[i];
        const struct store_segment segment = {.info = table->segment};
        struct attachment *attachment = NULL;
        if (window_damaged(shard, table))
            continue;
        if (segment.info.file_number != 0)
            attachment = attachment_new(&shard->garbage, &segment, NULL);
        version_add_sstable(version, recovery->sstables[i], attachment);
        attachment_unref(attachment);
    }
    for (size_t i = 0; i < state->span_count; i++) {
        const struct store_segment segment = {.info = state->spans[i].segment};
        version_add_span(version, attachment_new(&shard->garbage, &segment, &state->spans[i]));
    }
    version_publish(shard, version);
}

/* Whether the header, which is of this use of the log, lies in another place than it was written
 * for. Of an interrupted write it may be the first part only, before zeros or what was there: the
 * dimension comes long after the position, so with the one the other is whole, too. */
static bool is_misplaced(const struct log_frame_header *header, uint64_t at, uint32_t dim)
{
    return header->position != at && header->dim == dim;
}

/* Whether a valid frame of this use of the log lies behind the place where it seems to end, or one
 * that was written to another place: an interrupted write leaves neither. */
static bool later_frame_exists(const struct memtable *memtable, const struct log_file *log,
                               uint64_t from, uint32_t dim)
{
    for (uint64_t at = from; at < memtable->buffer_bytes; at += LOG_FRAME_ALIGNMENT) {
        const struct log_frame_header *header =
            (const struct log_frame_header *)(memtable->buffer + at);
        struct log_frame_identity identity = {log->number, log->log_generation, log->salt, at};
        struct log_frame frame;
        if (header->magic != LOG_FRAME_MAGIC || header->log_generation != log->log_generation)
            continue;
        if ((header->salt == log->salt && is_misplaced(header, at, dim)) ||
            log_frame_parse(memtable->buffer + at, memtable->buffer_bytes - at, &identity, dim,
                            &frame, ERROR_IGNORED) == 0)
            return true;
    }
    return false;
}

/* Replays the frames that lie in the memtable's buffer. */
static int replay_frames(struct store_shard *shard, struct memtable *memtable,
                         const struct log_file *log, struct error *error)
{
    const struct version *version = atomic_load(&shard->versions.current);
    uint64_t at = 0;

    while (at < memtable->buffer_bytes) {
        struct log_frame_identity identity = {log->number, log->log_generation, log->salt, at};
        struct log_frame frame;
        struct store_clock clock;
        struct error local = {0};
        int code = log_frame_parse(memtable->buffer + at, memtable->buffer_bytes - at, &identity,
                                   shard->dim, &frame, &local);
        if (code == ERROR_UNSUPPORTED)
            return error_set(error, code, "%s: byte %" PRIu64 ": %s", log->path, at, local.text);
        if (code != 0 || frame.header->sequence != (uint64_t)shard->writer.next_sequence)
            break;
        if (frame.header->first_offset < atomic_load(&shard->progress.visible))
            return error_set(error, ERROR_CORRUPT,
                             "%s: the frame at byte %" PRIu64 " is out of order", log->path, at);
        if (!memtable_reserve_rows(memtable, frame.header->vector_count, frame.header->frame_bytes))
            return error_set(error, ERROR_MEMORY, "%s: no memory for %u rows", log->path,
                             frame.header->vector_count);
        append_apply_frame(shard, memtable, version, &frame, 0);
        clock = store_shard_clock(shard);
        manifest_clock_advance(&clock, &memtable->clock);
        clock.log = memtable->clock.log;
        append_publish(shard, memtable->next_offset, &memtable->topic, &clock);
        shard->writer.next_sequence++;
        at += frame.header->frame_bytes;
    }
    if (log->durable && later_frame_exists(memtable, log, at, shard->dim))
        return error_set(error, ERROR_CORRUPT,
                         "%s: damaged at byte %" PRIu64 ", acknowledged records follow", log->path,
                         at);
    return 0;
}

static void log_holds_nothing(struct recovery *recovery, struct log_file *log)
{
    manifest_edit_log_done(&recovery->edit, log->number);
    recovery->edited = true;
}

/* A log without a byte: the crash came before its first frame. */
static int check_empty(struct recovery *recovery, struct log_file *log, struct error *error)
{
    struct io *io = recovery->shard->io;
    int file;
    int code = io_open(io, log->path, IO_READ, &file, error);

    if (code == ERROR_NOT_FOUND)
        return error_set(error, ERROR_CORRUPT, "%s is missing", log->path);
    if (code != 0)
        return code;
    (void)io_close(io, file, log->path, ERROR_IGNORED); /* nothing was written */
    log_holds_nothing(recovery, log);
    return 0;
}

static int replay_log(struct recovery *recovery, struct log_reader *reader, struct error *error)
{
    struct store_shard *shard = recovery->shard;
    struct log_file *log = reader->log;
    struct memtable *memtable;
    struct version *version;
    int code = log_reader_wait(reader, &memtable, error);

    if (code != 0)
        return code;
    memtable->first_sequence = shard->writer.next_sequence;
    version = version_copy(atomic_load(&shard->versions.current));
    version_add_memtable(version, memtable);
    version_publish(shard, version);
    code = replay_frames(shard, memtable, log, error);
    if (code == 0 && memtable->frame_count > 0) {
        memtable_release_tail(memtable);
        atomic_fetch_add_explicit(&shard->writer.immutable_count, 1, memory_order_release);
    } else if (code == 0) {
        version = version_copy(atomic_load(&shard->versions.current));
        version_remove_memtable(version, memtable);
        version_publish(shard, version);
        log_holds_nothing(recovery, log);
    }
    memtable_unref(memtable);
    return code;
}

static int compare_generations(const void *a, const void *b)
{
    const struct manifest_log *left = a;
    const struct manifest_log *right = b;

    return left->log_generation < right->log_generation
               ? -1
               : left->log_generation > right->log_generation;
}

static int replay_logs(struct recovery *recovery, struct error *error)
{
    struct store_shard *shard = recovery->shard;
    const struct manifest_state *state = &shard->manifest->state;
    struct log_reader *readers;
    size_t started = 0;
    bool durable_before = true;
    int code = 0;

    recovery->active =
        memory_new(state->log_count ? state->log_count : 1, sizeof(*recovery->active));
    for (size_t i = 0; i < state->log_count; i++)
        if (state->logs[i].active)
            recovery->active[recovery->active_count++] = state->logs[i];
    qsort(recovery->active, recovery->active_count, sizeof(*recovery->active), compare_generations);
    readers = memory_new(recovery->active_count ? recovery->active_count : 1, sizeof(*readers));
    for (size_t i = 0; i < recovery->active_count && code == 0; i++) {
        const struct manifest_log *log = &recovery->active[i];
        if (log->first_sequence != shard->writer.next_sequence) {
            if (durable_before || log->first_sequence < shard->writer.next_sequence) {
                code = error_set(error, ERROR_CORRUPT,
                                 "log %" PRIu64 " starts with frame %" PRId64 ", expected %" PRId64
                                 ": acknowledged records are missing",
                                 log->number, log->first_sequence, shard->writer.next_sequence);
                break;
            }
            /* Everything from the gap on was never durable: Kafka has it. */
            log_warning("store", "%s/%s: log %" PRIu64 " follows a gap and is discarded",
                        shard->collection, shard->name, log->number);
            log_holds_nothing(recovery, find_log(recovery, log->number));
            continue;
        }
        started = started < i ? i : started;
        for (; started <= i + LOG_READERS_AHEAD && started < recovery->active_count; started++) {
            struct log_file *next = find_log(recovery, recovery->active[started].number);
            if (next->allocated_bytes >= LOG_FRAME_ALIGNMENT)
                log_reader_start(&readers[started], next, shard->store, shard->window_ms);
        }
        code = readers[i].log ? replay_log(recovery, &readers[i], error)
                              : check_empty(recovery, find_log(recovery, log->number), error);
        durable_before = log->durable != 0;
    }
    for (size_t i = 0; i < started; i++)
        log_reader_destroy(&readers[i]);
    free(readers);
    return code;
}

/* Tells the manifest about empty logs. In a shortage they are found again at the next opening;
 * using them again before that is fine. */
static int finish_logs(struct recovery *recovery, struct error *error)
{
    struct manifest *manifest = recovery->shard->manifest;
    int code = 0;

    if (recovery->edited) {
        code = manifest_commit(manifest, &recovery->edit, error);
        if (error_is_shortage(code))
            code = 0;
    }
    return code;
}

int recovery_run(struct store_shard *shard, struct error *error)
{
    struct recovery recovery = {.shard = shard};
    const struct manifest_state *state = &shard->manifest->state;
    bool all_removed = false;
    int code = manifest_truncation_check(shard->io, shard->directory, state, error);

    if (code == 0)
        code = orphans_remove(shard->manifest, &all_removed, error);
    if (code == 0 && all_removed)
        for (size_t i = 0; i < state->dropped_count; i++)
            manifest_forget(shard->manifest, state->dropped[i]);
    shard->commit.flushed_offset = state->next_offset;
    shard->writer.next_sequence = state->next_sequence;
    append_publish(shard, state->next_offset, &state->topic, &state->clock);
    open_logs(&recovery);
    if (code == 0)
        code = open_sstables(&recovery, error);
    if (code == 0) {
        publish_sstables(&recovery);
        code = replay_logs(&recovery, error);
    }
    if (code == 0)
        code = finish_logs(&recovery, error);
    for (size_t i = 0; i < recovery.sstable_count; i++)
        sstable_unref(recovery.sstables[i]);
    for (size_t i = 0; i < recovery.log_count; i++)
        log_file_unref(recovery.logs[i]);
    if (code == 0)
        garbage_collect(shard);
    free(recovery.logs);
    free(recovery.active);
    free(recovery.sstables);
    buffer_destroy(&recovery.damage);
    manifest_edit_destroy(&recovery.edit);
    return code;
}
