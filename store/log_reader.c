#include "store/log_reader.h"

#include <inttypes.h>

#include "store/shard.h"

static int read_file(struct log_reader *reader, struct error *error)
{
    struct io *io = reader->shard->io;
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
    if (io_close(io, file, path, code == 0 ? error : NULL) != 0 && code == 0)
        code = ERROR_IO;
    return code;
}

static int read_log(struct log_reader *reader, struct error *error)
{
    struct store_shard *shard = reader->shard;
    struct log_file *log = reader->log;
    uint64_t bytes = log->allocated_bytes / LOG_FRAME_ALIGNMENT * LOG_FRAME_ALIGNMENT;
    uint64_t seed;

    io_random(shard->io, &seed, sizeof(seed));
    log_file_ref(log); /* the memtable's */
    reader->memtable =
        memtable_new(shard->store, log, bytes,
                     atomic_load_explicit(&shard->window_ms, memory_order_relaxed), seed);
    if (reader->memtable)
        return read_file(reader, error);
    log_file_unref(log);
    return error_set(error, ERROR_MEMORY, "%s: no memory to replay %" PRIu64 " bytes", log->path,
                     bytes);
}

static void *run(void *context)
{
    struct log_reader *reader = context;

    reader->code = read_log(reader, &reader->error);
    return NULL;
}

void log_reader_start(struct log_reader *reader, struct store_shard *shard, struct log_file *log)
{
    *reader = (struct log_reader){.shard = shard, .log = log};
    reader->threaded = log->allocated_bytes >= LOG_GROW_BYTES &&
                       pthread_create(&reader->thread, NULL, run, reader) == 0;
}

int log_reader_wait(struct log_reader *reader, struct memtable **memtable, struct error *error)
{
    if (reader->threaded)
        pthread_join(reader->thread, NULL);
    else
        run(reader);
    reader->threaded = false;
    if (reader->code != 0) {
        if (error)
            *error = reader->error;
        return reader->code;
    }
    *memtable = reader->memtable;
    reader->memtable = NULL;
    return 0;
}

void log_reader_destroy(struct log_reader *reader)
{
    if (reader->threaded)
        pthread_join(reader->thread, NULL);
    memtable_unref(reader->memtable);
}
