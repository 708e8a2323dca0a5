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
#ifndef STORE_LOG_PREALLOCATOR_H
#define STORE_LOG_PREALLOCATOR_H

struct store_shard;

enum {
    LOG_PREALLOCATOR_ZEROS_SHARE = 32,
    LOG_PREALLOCATOR_ZEROS_FREE_LOGS = 2,
    /* The appender wakes the background thread each time it has written so much. */
    LOG_PREALLOCATOR_STEP_BYTES = 1024 * 1024
};

/** Writes what is due for this shard. The background thread. */
void log_preallocate(struct store_shard *shard);

#endif
