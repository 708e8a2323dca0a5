#include "store/files/log.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "store/files/log_frame.h"
#include "store/files/table.h"

void log_space_create(struct log_space *space, struct garbage *garbage)
{
    *space = (struct log_space){.garbage = garbage};
    if (pthread_mutex_init(&space->lock, NULL) != 0)
        abort();
}

void log_space_destroy(struct log_space *space)
{
    struct log_file *log;

    while ((log = log_space_take_spare(space)) != NULL)
        log_file_delete(log);
    pthread_mutex_destroy(&space->lock);
}

struct log_file *log_space_take_spare(struct log_space *space)
{
    struct log_file *log;

    pthread_mutex_lock(&space->lock);
    log = space->spares;
    if (log) {
        space->spares = (struct log_file *)log->garbage.next;
        log->garbage.next = NULL;
    }
    pthread_mutex_unlock(&space->lock);
    return log;
}

/* A reference to the log that `place` holds, if any. */
static struct log_file *log_of(struct log_space *space, struct log_file *const *place)
{
    struct log_file *log;

    pthread_mutex_lock(&space->lock);
    log = *place;
    if (log)
        log_file_ref(log);
    pthread_mutex_unlock(&space->lock);
    return log;
}

struct log_file *log_space_next_spare(struct log_space *space)
{
    return log_of(space, &space->spares);
}

bool log_space_put_spare(struct log_space *space, struct log_file *log, bool durable,
                         uint64_t max_bytes)
{
    uint64_t bytes = log->allocated_bytes;

    pthread_mutex_lock(&space->lock);
    for (const struct log_file *other = space->spares; other;
         other = (const struct log_file *)other->garbage.next)
        bytes += other->allocated_bytes;
    if (bytes <= max_bytes) {
        log->durable = durable;
        atomic_store_explicit(&log->refs, 1, memory_order_relaxed); /* of whoever takes it */
        log->garbage.next = (struct garbage_item *)space->spares;
        space->spares = log;
    }
    pthread_mutex_unlock(&space->lock);
    return bytes <= max_bytes;
}

void log_space_set_active(struct log_space *space, struct log_file *log)
{
    pthread_mutex_lock(&space->lock);
    space->active = log;
    pthread_mutex_unlock(&space->lock);
}

struct log_file *log_space_active(struct log_space *space)
{
    return log_of(space, &space->active);
}

struct log_file *log_file_new(struct log_space *space, struct io *io, const char *directory,
                              uint64_t number)
{
    struct log_file *log = memory_new(1, sizeof(*log));

    atomic_init(&log->refs, 1);
    log->garbage.kind = GARBAGE_LOG;
    log->space = space;
    log->io = io;
    log->file = -1;
    log->number = number;
    if (pthread_mutex_init(&log->grow_lock, NULL) != 0)
        abort();
    table_path(directory, number, "log", log->path, sizeof(log->path));
    return log;
}

void log_file_ref(struct log_file *log)
{
    uint32_t before = atomic_fetch_add_explicit(&log->refs, 1, memory_order_relaxed);

    assert(before > 0);
    (void)before;
}

void log_file_unref(struct log_file *log)
{
    if (!log)
        return;
    if (atomic_fetch_sub_explicit(&log->refs, 1, memory_order_acq_rel) == 1)
        garbage_add(log->space->garbage, &log->garbage);
}

void log_file_delete(struct log_file *log)
{
    if (!log)
        return;
    if (log->file >= 0)
        (void)io_close(log->io, log->file, log->path,
                       ERROR_IGNORED); /* nothing unsynced matters here */
    pthread_mutex_destroy(&log->grow_lock);
    free(log);
}

void log_file_set_allocated(struct log_file *log, uint64_t bytes)
{
    uint64_t before = atomic_exchange_explicit(&log->allocated_bytes, bytes, memory_order_release);

    /* Wraps around when it shrinks, as unsigned numbers do. */
    atomic_fetch_add_explicit(&log->space->bytes, bytes - before, memory_order_relaxed);
}

static uint64_t allocated(const struct log_file *log)
{
    return atomic_load_explicit(&log->allocated_bytes, memory_order_acquire);
}

static int open_handle(struct log_file *log, unsigned flags, struct error *error)
{
    int code;

    if (log->durable) {
        code = io_open(log->io, log->path, flags | IO_DIRECT, &log->file, error);
        log->direct = code == 0;
        if (code != ERROR_UNSUPPORTED)
            return code;
        /* The file may have been created before O_DIRECT was refused. */
        flags &= ~(unsigned)IO_EXCLUSIVE;
    }
    return io_open(log->io, log->path, flags, &log->file, error);
}

int log_file_open(struct log_file *log, bool create, enum store_durability durability,
                  uint64_t allocate_bytes, struct error *error)
{
    unsigned flags = create ? IO_WRITE | IO_CREATE | IO_EXCLUSIVE : IO_WRITE;
    uint64_t size_bytes = 0;
    int code;

    assert(log->file < 0);
    if (create)
        log->durable = durability == STORE_DURABILITY_LOG;
    /* A spare is so already, and the preallocator may be reading that. */
    assert(log->durable == (durability == STORE_DURABILITY_LOG));
    log->direct = false;
    code = open_handle(log, flags, error);
    /* The log preallocator may be making a spare longer. */
    pthread_mutex_lock(&log->grow_lock);
    if (code == 0)
        code = io_size(log->io, log->file, log->path, &size_bytes, error);
    if (code == 0)
        log_file_set_allocated(log, size_bytes);
    pthread_mutex_unlock(&log->grow_lock);
    if (code == 0)
        code = log_file_grow(log, allocate_bytes, allocate_bytes, error);
    if (code == 0)
        return 0;
    if (log->file >= 0)
        (void)io_close(log->io, log->file, log->path,
                       ERROR_IGNORED); /* the first error is reported */
    log->file = -1;
    if (create) {
        log_file_set_allocated(log, 0);
        (void)io_unlink(log->io, log->path,
                        ERROR_IGNORED); /* else an orphan, removed at the next opening */
    }
    return code;
}

int log_file_close(struct log_file *log, struct error *error)
{
    int file = log->file;

    log->file = -1;
    return file < 0 ? 0 : io_close(log->io, file, log->path, error);
}

/* Writes zeros through a handle of its own: through the log's each piece would be synced by itself.
 * Holds grow_lock. */
static int write_zeros(struct log_file *log, uint64_t want, struct error *error)
{
    int file;
    int code = io_open(log->io, log->path, IO_WRITE | IO_UNCACHED, &file, error);

    if (code != 0)
        return code;
    code = io_allocate(log->io, file, log->path, want, error);
    /* The frames that follow change no metadata: it has to be on the device before them. */
    if (code == 0 && io_datasync(log->io, file, log->path, error) != 0)
        code = io_failed(error);
    (void)io_close(log->io, file, log->path, ERROR_IGNORED); /* all of it is synced */
    return code;
}

int log_file_grow(struct log_file *log, uint64_t end, uint64_t want_bytes, struct error *error)
{
    int code = 0;

    if (!log->durable || end <= allocated(log))
        return 0;
    if (want_bytes < end)
        want_bytes = end;
    want_bytes = (want_bytes + LOG_FRAME_ALIGNMENT - 1) / LOG_FRAME_ALIGNMENT * LOG_FRAME_ALIGNMENT;
    pthread_mutex_lock(&log->grow_lock);
    if (end > allocated(log)) {
        uint64_t zeros_bytes = want_bytes - allocated(log);
        code = write_zeros(log, want_bytes, error);
        metric_add(log->space->written_bytes, (double)zeros_bytes);
        if (code == 0)
            log_file_set_allocated(log, want_bytes);
    }
    pthread_mutex_unlock(&log->grow_lock);
    return code;
}

static int write_frame(struct log_file *log, const uint8_t *bytes, uint64_t size_bytes,
                       uint64_t position, struct error *error)
{
    int code = io_write(log->io, log->file, log->path, bytes, size_bytes, position, error);

    if (code != 0 && !error_is_shortage(code))
        return io_failed(error);
    if (code == 0 && log->durable && !log->direct &&
        io_datasync(log->io, log->file, log->path, error) != 0)
        return io_failed(error);
    return code;
}

int log_file_write(struct log_file *log, const uint8_t *bytes, uint64_t size_bytes,
                   uint64_t position, struct error *error)
{
    int code;

    if (position + size_bytes <= allocated(log))
        return write_frame(log, bytes, size_bytes, position, error);
    pthread_mutex_lock(&log->grow_lock);
    code = write_frame(log, bytes, size_bytes, position, error);
    if (code == 0 && position + size_bytes > allocated(log))
        log_file_set_allocated(log, position + size_bytes);
    pthread_mutex_unlock(&log->grow_lock);
    return code;
}

int log_file_sync(struct log_file *log, struct error *error)
{
    if (log->durable || log->file < 0)
        return 0;
    return io_datasync(log->io, log->file, log->path, error) == 0 ? 0 : io_failed(error);
}
