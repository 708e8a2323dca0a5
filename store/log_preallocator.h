/* The log preallocator: a store's background thread. It does what appends and readers should not
 * wait for:
 *
 *     zeros    writes them ahead of the appender, into the active log file and then into the one
 *              that follows it, so that a commit never changes the file system's metadata
 *     garbage  unlinks what was dropped, gives log files back
 *
 * Zeros go twice as far as frames did, in small steps: a shard with little to do writes few. They
 * are a price that is paid once for the files of the open windows, which come back when windows are
 * sealed. Where seals do not keep up it would be paid for every byte, on a device that has too much
 * to do already: so zeros stay below a thirty-second of what was appended, and two log files (with
 * a sixteenth and four, 1 GB over 40 windows wrote 2.15 bytes for each of the user's; 2.1 is the
 * target). What is not ready when the appender comes there, the appender does itself: the
 * preallocator only saves time.
 *
 * Stores with logs of one step and less have none (there is nothing to be gained), so that tests
 * with a simulated disk stay single-threaded. */
#ifndef STORE_LOG_PREALLOCATOR_H
#define STORE_LOG_PREALLOCATOR_H

struct log_preallocator;
struct store_shard;

enum {
    LOG_PREALLOCATOR_ZEROS_SHARE = 32,
    LOG_PREALLOCATOR_ZEROS_FREE_LOGS = 2,
    LOG_PREALLOCATOR_STEP_BYTES =
        1024 * 1024 /* the appender wakes it each time it has written so much */
};

struct log_preallocator *log_preallocator_start(void);
/** Waits for the thread. All shards must have been removed. `preallocator` may be NULL, here and
 * below.
 */
void log_preallocator_stop(struct log_preallocator *preallocator);

void log_preallocator_add(struct log_preallocator *preallocator, struct store_shard *shard);
/** Waits while the thread is at work on the shard. */
void log_preallocator_remove(struct log_preallocator *preallocator, struct store_shard *shard);
/** There is something to do. Any thread, also under the append lock: a flag, and a signal when the
 * thread sleeps. */
void log_preallocator_wake(struct log_preallocator *preallocator);

#endif
