/* A log file: zero-written ahead of the frames, written front to back by one memtable's groups,
 * then kept as the vector column of that memtable's chunks, then used again.
 *
 * Happy path of a write: one pwrite of the whole frame with O_DIRECT | O_DSYNC from the memtable's
 * aligned buffer onto bytes that the file already has; nothing of the file system's metadata
 * changes, so that no journal commit stands between the frame and its sync. Zeros are written by
 * the preallocator (store/log_preallocator.c), behind the appender and without a sync of each write; a
 * file that comes back from a sealed window has its bytes already. Where O_DIRECT is refused:
 * pwrite, then fdatasync. With durability `kafka`: pwrite, and one fdatasync before the flush;
 * zeros would be for nothing.
 *
 * Two threads at the end of the file. Whoever makes the file longer, with zeros or with a frame,
 * holds grow_lock; allocated_bytes is raised (release) when what lies below is on the device. Below
 * it only the appender writes.
 *
 * Failure: an error of the device leaves the file's content unknown; the shard stops and nothing is
 * retried here. No space (while the file grows) leaves everything as it was. */
#ifndef STORE_FILES_LOG_H
#define STORE_FILES_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "store/files/background.h"
#include "store/files/record.h"

enum {
    LOG_GROW_BYTES = 4 * 1024 * 1024, /* zeros written at a time */
    /* Where the preallocator has fallen behind, a small frame waits for zeros, which the next
     * hundred then have too. A frame of this size and more extends the file instead: the journal
     * commit that this costs is short beside writing so much twice. */
    LOG_EXTEND_MIN_BYTES = 64 * 1024,
    /* While frames are this large the preallocator writes no zeros either: in a backlog the device
     * and the processors are what is short, and zeros take as much of both as frames do. */
    LOG_BULK_BYTES = 256 * 1024,
    LOG_PATH_BYTES = 4096
};

struct log_file;

/* What the log files of a shard have in common. */
struct log_space {
    struct garbage *garbage;      /* where files go that nobody refers to */
    struct metric *written_bytes; /* may be NULL */
    _Atomic uint64_t bytes;       /* of all files, spares included */
    pthread_mutex_t lock;         /* guards spares and active; a leaf */
    struct log_file *spares;      /* to be used again; each with one reference, its taker's */
    struct log_file *active;      /* of the active memtable, which holds the reference */
    uint64_t zeros_bytes;         /* written ahead since the opening; the background thread's */
};

/* Shared by the memtable that writes it and the chunks whose vectors it holds. The last one to
 * leave hands it to the shard (log_file_unref), which uses it again or removes it. */
struct log_file {
    struct garbage_item garbage; /* first; also its place among the spares */
    _Atomic uint32_t refs;
    struct log_space *space;
    struct io *io;
    char path[LOG_PATH_BYTES];
    int file;     /* open for writing; -1 when not */
    bool direct;  /* opened with O_DIRECT | O_DSYNC */
    bool durable; /* writes are synced one by one (durability log) */
    uint64_t number;
    uint64_t log_generation;
    uint64_t salt;
    pthread_mutex_t grow_lock;
    _Atomic uint64_t allocated_bytes; /* of the file, all of them written once */
};

void log_space_create(struct log_space *space, struct garbage *garbage);
/** Frees the spares; touches no file but to close it. */
void log_space_destroy(struct log_space *space);
/** A spare file with its reference, or NULL. */
struct log_file *log_space_take_spare(struct log_space *space);
/** The one that is taken next, with a reference of the caller's, or NULL; it stays a spare. */
struct log_file *log_space_next_spare(struct log_space *space);
/** Keeps a file that nothing refers to, `durable` as it will be opened, if the spares then have
 * `max_bytes` at most. False: it stays the caller's. */
bool log_space_put_spare(struct log_space *space, struct log_file *log, bool durable,
                         uint64_t max_bytes);
void log_space_set_active(struct log_space *space, struct log_file *log);
/** The file that takes appends, with a reference, or NULL. Any thread. */
struct log_file *log_space_active(struct log_space *space);

/** A file object without a file yet; one reference. */
struct log_file *log_file_new(struct log_space *space, struct io *io, const char *directory,
                              uint64_t number);
void log_file_ref(struct log_file *log);
void log_file_unref(struct log_file *log);
/** Frees the object; no file operation but close. */
void log_file_delete(struct log_file *log);

/** Notes how many bytes the file has, for the shard's total. */
void log_file_set_allocated(struct log_file *log, uint64_t bytes);

/** Opens for writing (creates the file when `create`) and makes room for `allocate_bytes`. On
 * failure a created file is removed again. The folder is not synced. */
int log_file_open(struct log_file *log, bool create, enum store_durability durability,
                  uint64_t allocate_bytes, struct error *error);
/** Closes the handle; what was written stays. */
int log_file_close(struct log_file *log, struct error *error);

/** Makes sure that [0, end) is zero-written; where it is not, zeros go up to `want_bytes`. Nothing
 * to do for files that are not durable frame by frame. Any thread with a reference. */
int log_file_grow(struct log_file *log, uint64_t end, uint64_t want_bytes, struct error *error);

/** Writes a frame; durable on return when the file is `durable`. What goes beyond the zeros extends
 * the file. */
int log_file_write(struct log_file *log, const uint8_t *bytes, uint64_t size_bytes,
                   uint64_t position, struct error *error);
/** Makes everything written durable (a no-op for durable files). */
int log_file_sync(struct log_file *log, struct error *error);

#endif
