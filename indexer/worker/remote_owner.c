/* The owner's side of a build on another machine; remote.h has the order of calls. What comes is
 * hostile until the whole file is checked: parts have to follow each other, the size is bounded,
 * the file has to open, its graph to be whole and its recall to be what the collection wants. */
#include "indexer/worker/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/logger.h"
#include "base/memory.h"
#include "indexer/worker/queue.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/source.h"
#include "indexer/worker/span.h"
#include "indexer/worker/state.h"
#include "store/attach.h"
#include "store/describe.h"
#include "store/snapshot.h"

enum {
    SESSION_IDLE_MS = 10 * 60 * 1000,
    SESSIONS_MAX = 64,
    SEGMENT_BYTES_A_ROW = 64 * 1024 /* more is no segment of ours */
};

struct upload_session {
    struct upload_session *next;
    char collection[104], shard[300];
    int64_t start_ms;
    uint64_t generation;      /* as of the run */
    uint64_t run_file_number; /* of a chunk; 0 of a sealed run and of a span */
    uint8_t span_tier;
    uint64_t file_number; /* of the segment */
    uint64_t written_bytes;
    int64_t used_ms;
    char path[BUILD_PATH_BYTES];
};

uint64_t worker_remote_checksum(const void *bytes, size_t size_bytes, uint64_t generation,
                                uint64_t number, uint64_t offset)
{
    return checksum_block(bytes, size_bytes, generation, number, offset);
}

/* Sessions. */

static void session_end(struct worker_pool *pool, struct upload_session *session, bool keep_file)
{
    struct error error = {0};

    if (!keep_file && io_unlink(pool->options.io, session->path, &error) != 0)
        log_warning("indexer", "%s", error.text);
    free(session);
}

/* Only a chunk is named by its file: whatever number came with a sealed run or a span is another
 * name of the same. Two sessions of one run would leave the older one's file behind. */
static uint64_t chunk_file_number(const struct worker_run *run)
{
    return run->generation == 0 && run->span_tier == 0 ? run->file_number : 0;
}

static bool is_of(const struct upload_session *session, const struct worker_run *run)
{
    return session->start_ms == run->start_ms &&
           session->run_file_number == chunk_file_number(run) &&
           session->span_tier == run->span_tier && strcmp(session->shard, run->shard) == 0 &&
           strcmp(session->collection, run->collection) == 0;
}

/* Takes a session out of the list: only one caller works on it. */
static struct upload_session *session_take(struct worker_pool *pool, const struct worker_run *run,
                                           uint64_t file_number)
{
    struct upload_session *found = NULL;

    pthread_mutex_lock(&pool->upload_lock);
    for (struct upload_session **place = &pool->sessions; *place; place = &(*place)->next) {
        if (!is_of(*place, run) || (*place)->generation != run->generation ||
            (*place)->file_number != file_number)
            continue;
        found = *place;
        *place = found->next;
        break;
    }
    pthread_mutex_unlock(&pool->upload_lock);
    return found;
}

static void session_put(struct worker_pool *pool, struct upload_session *session)
{
    session->used_ms = io_monotonic_ns(pool->options.io) / 1000000;
    pthread_mutex_lock(&pool->upload_lock);
    session->next = pool->sessions;
    pool->sessions = session;
    pthread_mutex_unlock(&pool->upload_lock);
}

/* Ends those of the run (NULL: all) and those that nobody goes on with. Returns how many
 * are left. */
static size_t sessions_drop(struct worker_pool *pool, const struct worker_run *run)
{
    int64_t now_ms = io_monotonic_ns(pool->options.io) / 1000000;
    struct upload_session *dropped = NULL;
    size_t left = 0;

    pthread_mutex_lock(&pool->upload_lock);
    for (struct upload_session **place = &pool->sessions; *place;) {
        struct upload_session *session = *place;
        if (run && !is_of(session, run) && now_ms - session->used_ms < SESSION_IDLE_MS) {
            place = &session->next;
            left++;
            continue;
        }
        *place = session->next;
        session->next = dropped;
        dropped = session;
    }
    pthread_mutex_unlock(&pool->upload_lock);
    while (dropped) {
        struct upload_session *next = dropped->next;
        session_end(pool, dropped, false);
        dropped = next;
    }
    return left;
}

void worker_remote_close(struct worker_pool *pool)
{
    (void)sessions_drop(pool, NULL);
}

/* The run. */

/* A shard that is open here, and the window's generation, or the runs of the span, in it. */
struct here {
    struct worker_pool *pool;
    struct arena arena;
    struct store_lease lease;
    const struct config_collection *collection;
    struct store_snapshot *snapshot;
    const struct worker_span *span; /* NULL: one file */
    struct worker_rows rows;
};

static void here_leave(struct here *here)
{
    if (here->snapshot)
        store_snapshot_release(here->snapshot);
    if (here->lease.shard)
        store_registry_release(here->pool->options.registry, &here->lease);
    arena_destroy(&here->arena);
}

static struct worker_job job_of(const struct worker_run *run)
{
    struct worker_job job = {.window_start_ms = run->start_ms,
                             .window_length_ms = run->length_ms,
                             .span_tier = run->span_tier};

    if (run->span_tier > 0)
        job.run_checksum = run->generation;
    else
        job.generation = run->generation;
    return job;
}

/* The file, unless the job was delivered twice and has been done meanwhile. */
static int find_file(struct here *here, const struct worker_run *run, struct error *error)
{
    const struct worker_pool_options *options = &here->pool->options;
    struct worker_job job = job_of(run);
    const struct store_source **file = memory_checked(arena_calloc(&here->arena, 1, sizeof(*file)));
    enum segment_kind kind;

    if (worker_source_find(run, here->snapshot, file, error) != 0)
        return error->code;
    here->rows = (struct worker_rows){file, 1, (*file)->row_count};
    job.rows = here->rows.row_count;
    kind = worker_job_kind(options->config, here->collection, &job, io_wall_ms(options->io));
    if ((*file)->segment && worker_kind_serves(here->collection, kind, (*file)->segment->info.kind))
        return error_set(error, ERROR_NOT_FOUND, "it already has its %s segment",
                         segment_kind_name((*file)->segment->info.kind));
    return 0;
}

/* A span that is there, or whose runs are others by now, is not wanted. The snapshot is older than
 * what decides that: a run that went between them is still in it, and is seen to be dead when the
 * span is attached. */
static int find_span(struct here *here, const struct worker_run *run, struct error *error)
{
    const struct worker_pool_options *options = &here->pool->options;
    const struct worker_job job = job_of(run);
    struct store_shard_info info;

    store_shard_describe(here->lease.shard, &here->arena, &info);
    here->span = worker_span_find(options->config, here->collection, &info, io_wall_ms(options->io),
                                  &job, &here->arena);
    if (!here->span)
        return error_set(error, ERROR_NOT_FOUND, "no span over these runs is wanted");
    return worker_span_rows(here->span, here->snapshot, &here->arena, &here->rows, error);
}

static int here_enter(struct here *here, struct worker_pool *pool, const struct worker_run *run,
                      struct error *error)
{
    *here = (struct here){.pool = pool};
    arena_create(&here->arena, 0);
    here->collection = config_collection_find(pool->options.config, run->collection);
    if (!here->collection || !store_registry_acquire_shard(pool->options.registry, run->collection,
                                                           run->shard, &here->lease))
        return error_set(error, ERROR_NOT_FOUND, "%s/%s is not open here", run->collection,
                         run->shard);
    here->snapshot = store_snapshot_acquire(here->lease.shard, io_wall_ms(pool->options.io));
    return run->span_tier > 0 ? find_span(here, run, error) : find_file(here, run, error);
}

int worker_remote_vectors(struct worker_pool *pool, const struct worker_run *run, uint64_t first,
                          uint64_t count, struct buffer *out, struct error *error)
{
    struct here here;
    size_t start = out->size, size_bytes = 0;
    uint64_t checksum;
    int code = here_enter(&here, pool, run, error);

    if (code == 0) {
        size_t row_bytes = here.collection->dim * sizeof(float);
        if (count == 0 || first >= here.rows.row_count || count > here.rows.row_count - first ||
            count * row_bytes > REMOTE_PART_BYTES + row_bytes)
            code = error_set(error, ERROR_INVALID,
                             "rows %llu to %llu of %u: out of range, or too many",
                             (unsigned long long)first, (unsigned long long)(first + count),
                             here.rows.row_count);
        size_bytes = count * row_bytes;
    }
    if (code == 0) {
        uint8_t *bytes;
        (void)buffer_reserve(out, sizeof(checksum) + size_bytes);
        bytes = out->data + start + sizeof(checksum);
        code = worker_rows_copy(&here.rows, (uint32_t)first, (uint32_t)count, here.collection->dim,
                                NULL, bytes, error);
        checksum =
            worker_remote_checksum(bytes, size_bytes, run->generation, here.rows.row_count, first);
        memcpy(out->data + start, &checksum, sizeof(checksum));
    }
    if (code == 0)
        out->size += sizeof(checksum) + size_bytes;
    here_leave(&here);
    return code;
}

/* The codebook. */

static int append_codebook_part(const struct buffer *codebook, uint64_t offset, struct buffer *out,
                                struct error *error)
{
    uint64_t total_bytes = codebook->size, left = total_bytes - offset;

    if (offset >= codebook->size)
        return error_set(error, ERROR_INVALID, "byte %llu of %zu: out of range",
                         (unsigned long long)offset, codebook->size);
    buffer_append(out, &total_bytes, sizeof(total_bytes));
    buffer_append(out, codebook->data + offset,
                  left < REMOTE_PART_BYTES ? (size_t)left : REMOTE_PART_BYTES);
    return 0;
}

int worker_remote_codebook(struct worker_pool *pool, const struct worker_run *run, uint64_t offset,
                           struct buffer *out, struct error *error)
{
    struct index_ivf_codebook *codebook = NULL;
    struct buffer packed = {0};
    struct here here;
    int code = here_enter(&here, pool, run, error);

    if (code == 0) {
        struct store_registry *registry = pool->options.registry;
        int64_t now_ms = io_wall_ms(pool->options.io);
        codebook = here.span && here.span->history
                       ? worker_source_base_codebook(registry, run->collection, now_ms)
                       : worker_source_codebook(registry, run->collection, run->start_ms, now_ms);
        code = codebook ? index_codebook_pack(codebook, &packed, error)
                        : error_set(error, ERROR_NOT_FOUND, "no window of %s has lists yet",
                                    run->collection);
    }
    if (code == 0)
        code = append_codebook_part(&packed, offset, out, error);
    index_codebook_delete(codebook);
    buffer_destroy(&packed);
    here_leave(&here);
    return code;
}

/* The segment. */

int worker_remote_begin(struct worker_pool *pool, const struct worker_run *run,
                        uint64_t *file_number, struct error *error)
{
    struct upload_session *session;
    struct here here;
    int file;
    int code = here_enter(&here, pool, run, error);

    if (code == 0 && sessions_drop(pool, run) >= SESSIONS_MAX)
        code = error_set(error, ERROR_BUSY, "too many segment uploads are in progress");
    if (code != 0) {
        here_leave(&here);
        return code;
    }
    session = memory_new(1, sizeof(*session));
    (void)snprintf(session->collection, sizeof(session->collection), "%s", run->collection);
    (void)snprintf(session->shard, sizeof(session->shard), "%s", run->shard);
    session->start_ms = run->start_ms;
    session->generation = run->generation;
    session->run_file_number = chunk_file_number(run);
    session->span_tier = run->span_tier;
    store_shard_reserve_segment(here.lease.shard, &session->file_number, session->path,
                                sizeof(session->path));
    *file_number = session->file_number;
    code = io_open(pool->options.io, session->path, IO_WRITE | IO_CREATE, &file, error);
    if (code == 0)
        code = io_close(pool->options.io, file, session->path, error);
    if (code == 0)
        session_put(pool, session);
    else
        session_end(pool, session, false);
    here_leave(&here);
    return code;
}

static int write_part(struct worker_pool *pool, struct upload_session *session,
                      const struct worker_part *part, struct error *error)
{
    const uint8_t *bytes = part->bytes + REMOTE_CHECKSUM_BYTES;
    size_t size_bytes = part->size_bytes - REMOTE_CHECKSUM_BYTES;
    struct io *io = pool->options.io;
    struct error ignored = {0};
    uint64_t checksum;
    int file;
    int code;

    memcpy(&checksum, part->bytes, sizeof(checksum));
    if (part->offset != session->written_bytes)
        return error_set(error, ERROR_INVALID, "offset: expected %llu",
                         (unsigned long long)session->written_bytes);
    if (checksum != worker_remote_checksum(bytes, size_bytes, session->generation,
                                           session->file_number, part->offset))
        return error_set(error, ERROR_CORRUPT, "wrong checksum of the part");
    code = io_open(io, session->path, IO_WRITE, &file, error);
    if (code != 0)
        return code;
    code = io_write(io, file, session->path, bytes, size_bytes, part->offset, error);
    session->written_bytes += size_bytes;
    if (code == 0 && session->written_bytes == part->total_bytes)
        code = io_datasync(io, file, session->path, error);
    if (io_close(io, file, session->path, code == 0 ? error : &ignored) != 0 && code == 0)
        code = error->code;
    return code;
}

/* Never served bad: whoever built it. */
static int verify_segment(struct here *here, struct build *build, struct error *error)
{
    const struct config_collection *collection = here->collection;
    struct recall_sample sample = recall_sample_of(collection, here->lease.closing);
    bool good = true;
    int code =
        index_segment_open(here->pool->options.io, build->path, build->file_number, sample.metric,
                           sample.dim, here->rows.row_count, &build->segment, error);

    if (code == 0)
        code = index_segment_validate(build->segment, error);
    sample.vectors = worker_rows_stored;
    sample.context = &here->rows;
    sample.row_count = here->rows.row_count;
    if (code == 0)
        code = recall_measure(build->segment, build->path, &sample, &build->recall, &good, error);
    if (code == 0 && !good)
        code = error_set(error, ERROR_INVALID, "recall %.3f is below the floor of %.3f",
                         build->recall, collection->recall_floor);
    return code;
}

static int finish(struct here *here, const struct upload_session *session, struct error *error)
{
    struct build build = {.io = here->pool->options.io,
                          .metrics = here->pool->options.metrics,
                          .collection = here->collection,
                          .memory = &here->pool->memory,
                          .window_start_ms = session->start_ms,
                          .shard = session->shard,
                          .row_count = here->rows.row_count,
                          .span = here->span,
                          .file_number = session->file_number,
                          .segment_bytes = session->written_bytes};
    int code;

    (void)snprintf(build.path, sizeof(build.path), "%s", session->path);
    code = verify_segment(here, &build, error);
    if (code == 0)
        code =
            worker_build_attach(&build, here->lease.shard, here->rows.files[0]->file_number, error);
    worker_build_end(&build);
    if (code == 0)
        logger_write_event(LOGGER_INFO, "indexer", "segment_received",
                           "%s %lld of %s/%s: serving a segment built elsewhere, recall %.3f",
                           here->span ? "windows from" : "window", (long long)session->start_ms,
                           session->collection, session->shard, build.recall);
    return code;
}

int worker_remote_part(struct worker_pool *pool, const struct worker_run *run,
                       const struct worker_part *part, bool *attached, struct error *error)
{
    struct upload_session *session;
    struct here here;
    bool finishing = false;
    int code = here_enter(&here, pool, run, error);

    *attached = false;
    session = here.lease.shard ? session_take(pool, run, part->file_number) : NULL;
    if (code == 0 && !session)
        code = error_set(error, ERROR_NOT_FOUND, "no upload of this segment is in progress");
    if (code == 0 && (part->size_bytes <= REMOTE_CHECKSUM_BYTES ||
                      part->total_bytes > (uint64_t)here.rows.row_count * SEGMENT_BYTES_A_ROW ||
                      part->offset > part->total_bytes ||
                      part->size_bytes - REMOTE_CHECKSUM_BYTES > part->total_bytes - part->offset))
        code = error_set(error, ERROR_INVALID, "not part of a segment");
    if (code == 0)
        code = write_part(pool, session, part, error);
    if (code == 0 && session->written_bytes == part->total_bytes) {
        finishing = true;
        code = finish(&here, session, error);
        *attached = code == 0;
    }
    if (session && code == 0 && !finishing)
        session_put(pool, session);
    else if (session)
        session_end(pool, session, finishing); /* finish renamed or removed the file */
    here_leave(&here);
    return code;
}

int worker_remote_give_up(struct worker_pool *pool, const struct worker_run *run, const char *kind,
                          struct error *error)
{
    struct worker_job job = job_of(run);
    struct here here;
    int code = here_enter(&here, pool, run, error);

    job.run_file_number = run->file_number;
    (void)snprintf(job.collection, sizeof(job.collection), "%s", run->collection);
    (void)snprintf(job.shard, sizeof(job.shard), "%s", run->shard);
    (void)snprintf(job.group, sizeof(job.group), "%s", pool->group);
    job.kind = segment_kind_parse(kind);
    if (code == 0 && !worker_is_kind(job.kind))
        code = error_set(error, ERROR_INVALID, "give_up: expected hnsw or ivf_pq");
    (void)sessions_drop(pool, run);
    if (code == 0)
        job_tracker_give_up(&pool->tracker, &job, INT64_MAX, JOB_LOW_RECALL, 0);
    here_leave(&here);
    return code;
}
