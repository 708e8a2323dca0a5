/* Happy path: take a buffer of the log's size, read the whole file into it past the page cache, sync
 * the file. The sync is there because what the last process wrote without one may be read now and
 * lost in the next crash: replayed rows would be visible and not durable.
 *
 * The bytes are not looked at here. The replay checks each frame (recovery.c). */
#include "store/log_reader.h"

#include <inttypes.h>

#include "store/memtable.h"
#include "store/shard.h"

static int read_file(struct log_reader *reader, struct error *error)
{
    struct io *io = reader->log->io;
    struct memtable *memtable = reader->memtable;
    const char *path = reader->log->path;
    int file;
    /* Past the page cache, where so much would cost its pages for nothing. */
    int code = io_open(io, path, IO_READ | IO_UNCACHED, &file, error);

    if (code != 0)
        return code;
    code = io_read(io, file, path, memtable->buffer, (size_t)memtable->buffer_bytes, 0, error);
    if (code == 0)
        code = io_datasync(io, file, path, error);
    if (io_close(io, file, path, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
        code = ERROR_IO;
    return code;
}

static int read_log(struct log_reader *reader, struct error *error)
{
    struct log_file *log = reader->log;
    uint64_t bytes = log->allocated_bytes / LOG_FRAME_ALIGNMENT * LOG_FRAME_ALIGNMENT;
    uint64_t seed;

    io_random(log->io, &seed, sizeof(seed));
    log_file_ref(log); /* the memtable's */
    reader->memtable = memtable_new(&reader->store->memory, log, bytes, reader->window_ms, seed);
    if (reader->memtable)
        return read_file(reader, error);
    log_file_unref(log);
    return error_set(error, ERROR_MEMORY, "%s: no memory to replay %" PRIu64 " bytes", log->path,
                     bytes);
}

static void run(struct thread_future *future)
{
    struct log_reader *reader = (struct log_reader *)future;

    reader->code = read_log(reader, &reader->error);
}

void log_reader_start(struct log_reader *reader, struct log_file *log, struct store *store,
                      int64_t window_ms)
{
    *reader = (struct log_reader){.log = log, .store = store, .window_ms = window_ms};
    thread_future_start(&reader->future,
                        log->allocated_bytes >= LOG_GROW_BYTES ? store->log_readers : NULL, run);
}

int log_reader_wait(struct log_reader *reader, struct memtable **memtable, struct error *error)
{
    thread_future_wait(&reader->future);
    if (reader->code != 0) {
        *error = reader->error;
        return reader->code;
    }
    *memtable = reader->memtable;
    reader->memtable = NULL;
    return 0;
}

void log_reader_destroy(struct log_reader *reader)
{
    thread_future_cancel(&reader->future);
    memtable_unref(reader->memtable);
}
