/* The log preallocator: zeros ahead of the appender, written by the background thread into the
 * active log file and then into the one that follows it, so that a commit never changes the file
 * system's metadata.
 *
 * Zeros go twice as far as frames did, in small steps: a shard with little to do writes few. They
 * are a price that is paid once for the files of the open windows, which come back when windows are
 * sealed. Where seals do not keep up it would be paid for every byte, on a device that has too much
 * to do already: so zeros stay below a thirty-second of what was appended, and two log files (with
 * a sixteenth and four, 1 GB over 40 windows wrote 2.15 bytes for each of the user's; 2.1 is the
 * target). What is not ready when the appender comes there, the appender does itself: the
 * preallocator only saves time. */
#include "store/operations.h"

/* How far zeros should go: twice as far as what is written, and a step more. */
static uint64_t zeros_target(uint64_t used_bytes)
{
    return 2 * used_bytes + LOG_GROW_BYTES;
}

static bool may_write_zeros(const struct store_shard *shard)
{
    return shard->logs.zeros_bytes <
           atomic_load_explicit(&shard->writer.frames_bytes, memory_order_relaxed) /
                   LOG_PREALLOCATOR_ZEROS_SHARE +
               LOG_PREALLOCATOR_ZEROS_FREE_LOGS * shard->store->memtable_max_bytes;
}

/* A step at a time: an appender that comes to the end of the zeros waits for one step at most. */
static int write_zeros(struct store_shard *shard, struct log_file *log, uint64_t target,
                       struct error *error)
{
    uint64_t at = atomic_load(&log->allocated_bytes);
    int code = 0;

    while (code == 0 && at < target && may_write_zeros(shard)) {
        uint64_t end = target - at > LOG_GROW_BYTES ? at + LOG_GROW_BYTES : target;
        code = log_file_grow(log, end, end, error);
        if (code == 0)
            shard->logs.zeros_bytes += end - at;
        at = end;
    }
    return code;
}

/* A file for the memtable after the active one. It stands in the manifest as one that nothing
 * refers to, which is what a spare is. */
static int create_spare(struct store_shard *shard, struct error *error)
{
    struct manifest_edit edit = {0};
    struct manifest_log use = {.durable = 1};
    struct log_file *log;
    int code = manifest_reserve(shard->manifest, &use.number, error);

    if (code != 0)
        return code;
    log = log_file_new(&shard->logs, shard->io, shard->directory, use.number);
    code = log_file_open(log, true, shard->durability, 0, error);
    if (code != 0) {
        log_file_delete(log);
        return code;
    }
    code = io_sync_directory(shard->io, shard->directory, error);
    if (code == 0) {
        use.log_generation = manifest_take_log_generation(shard->manifest);
        manifest_edit_log_use(&edit, &use);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    manifest_edit_destroy(&edit);
    (void)log_file_close(log, ERROR_IGNORED); /* nothing was written */
    if (code == 0) {
        log_file_unref(log);
        garbage_collect(shard); /* puts it among the spares */
        return 0;
    }
    if (error_is_shortage(code)) {
        (void)io_unlink(shard->io, log->path, ERROR_IGNORED); /* else an orphan */
        log_file_set_allocated(log, 0);
    }
    log_file_delete(log);
    return code;
}

static int prepare_next(struct store_shard *shard, uint64_t target, struct error *error)
{
    struct log_file *spare = log_space_next_spare(&shard->logs);
    int code = 0;

    if (!spare && may_write_zeros(shard)) {
        code = create_spare(shard, error);
        spare = code == 0 ? log_space_next_spare(&shard->logs) : NULL;
    }
    if (!spare)
        return code;
    code = write_zeros(shard, spare, target, error);
    log_file_unref(spare);
    return code;
}

void log_preallocate(struct store_shard *shard)
{
    uint64_t capacity = shard->store->memtable_max_bytes;
    uint64_t target = zeros_target(atomic_load(&shard->writer.active_bytes));
    struct error error = {0};
    struct log_file *log;
    int code = 0;

    if (shard->durability != STORE_DURABILITY_LOG || atomic_load(&shard->stop.reason) ||
        atomic_load_explicit(&shard->writer.bulk, memory_order_relaxed))
        return;
    log = log_space_active(&shard->logs);
    if (!log)
        return;
    code = write_zeros(shard, log, target < capacity ? target : capacity, &error);
    log_file_unref(log);
    if (code == 0 && target > capacity)
        code = prepare_next(shard, target - capacity < capacity ? target - capacity : capacity,
                            &error);
    /* Of a shortage the appender learns by itself, with the frame that does not fit. */
    if (!error_is_shortage(code))
        (void)shard_check_stop(shard, code, &error);
}
