/* Happy path of a commit: one frame behind the last, one fdatasync, then the state in memory moves.
 *
 * Failures. No space while the frame is written: it is incomplete on the device, so it does not
 * count; the next commit writes over it. Any other failure: the frame may or may not be there after
 * a restart. The caller stops the shard and must leave alone every file the edit names. */
#include "store/files/manifest.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "store/files/manifest_format.h"

enum { NUMBERS_LOW = 16 };

/* The name of a manifest file; numbers only grow. */
static void manifest_path(const char *directory, uint64_t number, char *path)
{
    snprintf(path, PATH_MAX, "%s/MANIFEST-%06" PRIu64, directory, number);
}

/* Writes MANIFEST-number with the state as its only frame and makes it durable, name included. */
static int write_file(struct manifest *manifest, uint64_t number, const char *path, int *file,
                      uint64_t *size_bytes, struct error *error)
{
    struct manifest_edit edit = {0};
    struct buffer frame = {0};
    int code;

    manifest->state.ownership = atomic_load(&manifest->ownership);
    manifest_state_encode(&manifest->state, &edit);
    manifest_frame_encode(&frame, &manifest->state, number, 0, 0, edit.body.data, edit.body.size);
    *file = -1;
    code = io_open(manifest->io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, file, error);
    if (code == 0)
        code = io_write(manifest->io, *file, path, frame.data, frame.size, 0, error);
    if (code == 0)
        code = io_datasync(manifest->io, *file, path, error);
    if (code == 0)
        code = io_sync_directory(manifest->io, manifest->directory, error);
    *size_bytes = frame.size;
    if (code != 0 && *file >= 0) {
        (void)io_close(manifest->io, *file, path, ERROR_IGNORED); /* the first error is reported */
        *file = -1;
    }
    manifest_edit_destroy(&edit);
    buffer_destroy(&frame);
    return code;
}

static int write_current(struct manifest *manifest, uint64_t number, struct error *error)
{
    char line[128];

    manifest_current_format(number, line, sizeof(line));
    return io_replace_file(manifest->io, manifest->directory, "CURRENT", line, strlen(line), error);
}

static void count_written(struct manifest *manifest, uint64_t size_bytes)
{
    manifest->written_bytes += size_bytes;
    metric_add(manifest->bytes_written, (double)size_bytes);
}

void manifest_count_bytes(struct manifest *manifest, struct metric *bytes_written)
{
    pthread_mutex_lock(&manifest->lock);
    manifest->bytes_written = bytes_written;
    metric_add(bytes_written, (double)manifest->written_bytes);
    pthread_mutex_unlock(&manifest->lock);
}

/* The least version that a state needs. */
static uint16_t version_of(const struct manifest_state *state)
{
    if (state->clock.log.known)
        return MANIFEST_VERSION_LOG_CLOCK;
    return state->span_count > 0 ? MANIFEST_VERSION_SPANS : MANIFEST_VERSION;
}

/* Order of a roll. The new file is whole and durable, name included, before CURRENT names it; the
 * old one goes only after that. A crash before the rename leaves an orphan, one after it leaves the
 * old file as an orphan; both are removed when the shard is opened. */
/* Starts the next manifest file from the state. Its version is at least `least`, for the edits to
 * come. A shortage leaves the old one in use. */
static int manifest_roll(struct manifest *manifest, uint16_t least, struct error *error)
{
    uint64_t number = manifest->manifest_number + 1;
    uint16_t version = manifest->state.version;
    char path[PATH_MAX];
    char *old_path = manifest->path;
    uint64_t size_bytes;
    int file;
    int code;

    manifest_path(manifest->directory, number, path);
    manifest->state.version = version_of(&manifest->state);
    if (manifest->state.version < least)
        manifest->state.version = least;
    code = write_file(manifest, number, path, &file, &size_bytes, error);
    if (code == 0)
        code = write_current(manifest, number, error);
    if (code != 0) {
        manifest->state.version = version;
        if (file >= 0)
            (void)io_close(manifest->io, file, path,
                           ERROR_IGNORED); /* the first error is reported */
        return code;
    }
    if (manifest->file >= 0) {
        (void)io_close(manifest->io, manifest->file, old_path,
                       ERROR_IGNORED); /* synced, not used again */
        (void)io_unlink(manifest->io, old_path,
                        ERROR_IGNORED); /* else an orphan, removed when opened */
    }
    manifest->file = file;
    manifest->path = memory_checked(strdup(path));
    free(old_path);
    manifest->manifest_number = number;
    manifest->sequence = 1;
    manifest->position = size_bytes;
    manifest->snapshot_bytes = size_bytes;
    count_written(manifest, size_bytes);
    return 0;
}

struct store_ownership manifest_set_ownership(struct manifest *manifest,
                                              struct store_ownership ownership)
{
    return atomic_exchange(&manifest->ownership, ownership);
}

/* By way of the bytes: the copy shares no memory with the state. */
void manifest_copy_state(struct manifest *manifest, struct manifest_state *state)
{
    struct manifest_edit edit = {0};
    int code;

    *state = (struct manifest_state){0};
    pthread_mutex_lock(&manifest->lock);
    state->ownership = atomic_load(&manifest->ownership);
    state->key_rule = manifest->state.key_rule;
    manifest_state_encode(&manifest->state, &edit);
    pthread_mutex_unlock(&manifest->lock);
    code = manifest_state_apply(state, edit.body.data, edit.body.size, ERROR_IGNORED);
    assert(code == 0); /* we made it ourselves */
    (void)code;
    manifest_edit_destroy(&edit);
}

int manifest_write_new(struct io *io, const char *directory, const struct manifest_state *state,
                       struct error *error)
{
    struct manifest manifest = {
        .io = io, .file = -1, .state = *state, .ownership = state->ownership};
    int code;

    manifest.directory = memory_checked(strdup(directory));
    code = manifest_roll(&manifest, MANIFEST_VERSION, error);
    if (manifest.file >= 0)
        (void)io_close(io, manifest.file, manifest.path, ERROR_IGNORED); /* all of it is synced */
    free(manifest.directory);
    free(manifest.path);
    return code;
}

/* Files that only a shard with a history has: without CURRENT they mean that it was lost. */
static int find_history(void *context, const char *name)
{
    static const char *const endings[] = {".log", ".chunk", ".run", ".mask", ".segment"};
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t ending = strlen(endings[i]);
        if (length > ending && strcmp(name + length - ending, endings[i]) == 0) {
            *(bool *)context = true;
            return 1;
        }
    }
    return 0;
}

static int manifest_start(struct manifest *manifest, uint32_t dim, uint32_t metric,
                          struct error *error)
{
    bool history = false;
    int code = io_list(manifest->io, manifest->directory, find_history, &history, error);

    if (code != 0)
        return code;
    if (history)
        return error_set(error, ERROR_CORRUPT, "%s has data files but no CURRENT",
                         manifest->directory);
    manifest->state = (struct manifest_state){.dim = dim,
                                              .metric = metric,
                                              .next_file_number = 1 + MANIFEST_NUMBERS_RESERVED,
                                              .next_log_generation = 1,
                                              .next_offset = -1,
                                              .clock = {.watermark_ms = INT64_MIN}};
    return manifest_roll(manifest, MANIFEST_VERSION, error);
}

/* The end of the file may be torn: a crash during the last commit. What is read is synced, as it may
 * only be in the page cache, then a torn manifest is rolled, so that no later edit lies behind
 * bytes that cannot be read. */
static int manifest_resume(struct manifest *manifest, uint64_t number, struct error *error)
{
    char path[PATH_MAX];
    bool clean = false;
    int code = manifest_read(manifest->io, manifest->directory, number, &manifest->state,
                             &manifest->position, &manifest->sequence, &clean, error);

    atomic_store(&manifest->ownership, manifest->state.ownership);
    if (code != 0)
        return code == ERROR_NOT_FOUND
                   ? error_set(error, ERROR_CORRUPT,
                               "CURRENT names manifest %" PRIu64 ", which does not exist", number)
                   : code;
    manifest_path(manifest->directory, number, path);
    manifest->manifest_number = number;
    manifest->path = memory_checked(strdup(path));
    manifest->snapshot_bytes = MANIFEST_FRAME_ALIGNMENT;
    code = io_open(manifest->io, path, IO_WRITE, &manifest->file, error);
    /* What the last process had not synced yet may be read now and lost later. */
    if (code == 0)
        code = io_datasync(manifest->io, manifest->file, path, error);
    if (code == 0)
        code = io_sync_directory(manifest->io, manifest->directory, error);
    if (code == 0 && !clean)
        code = manifest_roll(manifest, MANIFEST_VERSION, error);
    /* Without space the torn end stays and the next edit is written over it. */
    return manifest->file >= 0 && error_is_shortage(code) ? 0 : code;
}

int manifest_open(struct io *io, const char *directory, uint32_t dim, uint32_t metric,
                  struct manifest **out, struct error *error)
{
    struct manifest *manifest = memory_new(1, sizeof(*manifest));
    uint64_t number;
    int code;

    manifest->io = io;
    manifest->file = -1;
    manifest->roll_bytes = MANIFEST_ROLL_BYTES;
    manifest->directory = strdup(directory);
    if (!manifest->directory || pthread_mutex_init(&manifest->lock, NULL) != 0)
        abort();
    code = manifest_current_read(io, directory, &number, error);
    if (code == ERROR_NOT_FOUND) {
        code = manifest_start(manifest, dim, metric, error);
    } else if (code == 0) {
        code = manifest_resume(manifest, number, error);
        /* Numbers that the last process had reserved are not handed out again. */
        manifest->last_number = manifest->state.next_file_number - 1;
    }
    if (code != 0) {
        manifest_close(manifest);
        return code;
    }
    *out = manifest;
    return 0;
}

int manifest_leave_spans(struct manifest *manifest, struct error *error)
{
    int code = 0;

    pthread_mutex_lock(&manifest->lock);
    if (manifest->state.version > version_of(&manifest->state))
        code = manifest_roll(manifest, MANIFEST_VERSION, error);
    pthread_mutex_unlock(&manifest->lock);
    return code;
}

void manifest_close(struct manifest *manifest)
{
    if (!manifest)
        return;
    if (manifest->file >= 0)
        (void)io_close(manifest->io, manifest->file, manifest->path,
                       ERROR_IGNORED); /* all of it is synced */
    manifest_state_destroy(&manifest->state);
    pthread_mutex_destroy(&manifest->lock);
    free(manifest->forgotten);
    free(manifest->directory);
    free(manifest->path);
    free(manifest);
}

/* A write that failed for lack of space or memory is known to be incomplete: the position does not move, and
 * the next frame is written over it. After any other failure the frame may count or not, and so may
 * what the caller did for it: ERROR_IO, which stops the shard. */
/* Writes one frame and applies it. Under the lock. */
static int commit_body(struct manifest *manifest, const struct buffer *body, struct error *error)
{
    struct buffer frame = {0};
    int code;

    manifest->state.ownership = atomic_load(&manifest->ownership);
    manifest_frame_encode(&frame, &manifest->state, manifest->manifest_number, manifest->sequence,
                          manifest->position, body->data, body->size);
    code = io_write(manifest->io, manifest->file, manifest->path, frame.data, frame.size,
                    manifest->position, error);
    if (code != 0 && !error_is_shortage(code))
        code = io_failed(error);
    if (code == 0 && io_datasync(manifest->io, manifest->file, manifest->path, error) != 0)
        code = io_failed(error);
    if (code == 0) {
        manifest->position += frame.size;
        count_written(manifest, frame.size);
        manifest->sequence++;
        code = manifest_state_apply(&manifest->state, body->data, body->size, error);
        assert(code == 0); /* we made it ourselves */
        manifest->forgotten_count = 0;
    }
    buffer_destroy(&frame);
    return code;
}

/* Adds what waits to be told: unlinked files, and more numbers when few are left. */
static void complete_edit(struct manifest *manifest, struct manifest_edit *edit)
{
    for (size_t i = 0; i < manifest->forgotten_count; i++)
        manifest_edit_forget(edit, manifest->forgotten[i]);
    if (manifest->last_number + NUMBERS_LOW >= manifest->state.next_file_number)
        manifest_edit_numbers(edit, manifest->last_number + 1 + MANIFEST_NUMBERS_RESERVED,
                              manifest->state.next_log_generation);
}

int manifest_commit(struct manifest *manifest, struct manifest_edit *edit, struct error *error)
{
    bool newer;
    int code = 0;

    pthread_mutex_lock(&manifest->lock);
    /* A frame that a former windrow does not know would look to it like the torn end of the file:
     * it has to meet one at the beginning. */
    newer = manifest->state.version < edit->version;
    if (newer || (manifest->position > manifest->roll_bytes &&
                  manifest->position > manifest->snapshot_bytes * 4))
        code = manifest_roll(manifest, edit->version, error);
    if (error_is_shortage(code) && !newer)
        code = 0; /* the old file goes on */
    if (code == 0) {
        complete_edit(manifest, edit);
        code = commit_body(manifest, &edit->body, error);
    }
    pthread_mutex_unlock(&manifest->lock);
    if (code != 0)
        error_wrap(error, "manifest of %s", manifest->directory);
    return code;
}

/* Every frame has the rule, so one without records is enough. */
int manifest_keep_key_rule(struct manifest *manifest, uint16_t key_rule, struct error *error)
{
    struct manifest_edit edit = {0};
    int code;

    pthread_mutex_lock(&manifest->lock);
    manifest->state.key_rule = key_rule;
    pthread_mutex_unlock(&manifest->lock);
    code = manifest_commit(manifest, &edit, error);
    manifest_edit_destroy(&edit);
    return error_is_shortage(code) ? 0 : code;
}

/* Numbers are reserved by the block, so that most files cost no edit. Numbers that a crash leaves
 * unused are never given out again: `next_file_number` is durable before any of them is used. */
int manifest_reserve(struct manifest *manifest, uint64_t *number, struct error *error)
{
    struct manifest_edit edit = {0};
    int code = 0;

    pthread_mutex_lock(&manifest->lock);
    if (manifest->last_number + 1 >= manifest->state.next_file_number) {
        complete_edit(manifest, &edit);
        code = commit_body(manifest, &edit.body, error);
    }
    if (code == 0) {
        *number = ++manifest->last_number;
        assert(*number < manifest->state.next_file_number);
    }
    pthread_mutex_unlock(&manifest->lock);
    manifest_edit_destroy(&edit);
    return code;
}

uint64_t manifest_take_log_generation(struct manifest *manifest)
{
    uint64_t generation;

    pthread_mutex_lock(&manifest->lock);
    generation = manifest->state.next_log_generation++;
    pthread_mutex_unlock(&manifest->lock);
    return generation;
}

void manifest_forget(struct manifest *manifest, uint64_t number)
{
    pthread_mutex_lock(&manifest->lock);
    if (manifest->forgotten_count == manifest->forgotten_capacity) {
        size_t capacity = manifest->forgotten_capacity ? manifest->forgotten_capacity * 2 : 16;
        uint64_t *grown = memory_resize(manifest->forgotten, capacity, sizeof(*grown));
        manifest->forgotten = grown;
        manifest->forgotten_capacity = capacity;
    }
    manifest->forgotten[manifest->forgotten_count++] = number;
    pthread_mutex_unlock(&manifest->lock);
}

bool manifest_has_span(struct manifest *manifest, uint64_t number)
{
    bool found = false;

    pthread_mutex_lock(&manifest->lock);
    for (size_t i = 0; i < manifest->state.span_count; i++)
        found |= manifest->state.spans[i].segment.file_number == number;
    pthread_mutex_unlock(&manifest->lock);
    return found;
}

uint64_t manifest_bytes(struct manifest *manifest)
{
    uint64_t bytes;

    pthread_mutex_lock(&manifest->lock);
    bytes = manifest->position;
    pthread_mutex_unlock(&manifest->lock);
    return bytes;
}
