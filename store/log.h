/* A log file: zero-written ahead of small frames, written front to back by one memtable's groups,
 * then kept as the vector column of that memtable's chunks, then used again.
 *
 * Happy path of a write: one pwrite of the whole frame with O_DIRECT | O_DSYNC from the memtable's
 * aligned buffer onto bytes that the file already has; nothing of the file system's metadata
 * changes. Where O_DIRECT is refused: pwrite, then fdatasync. With durability `kafka`: pwrite, and
 * one fdatasync before the flush.
 *
 * Failure: an error of the device leaves the file's content unknown; the shard stops and nothing is
 * retried here. No space (while the file grows) leaves everything as it was. */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "store/store.h"

enum {
    LOG_GROW_MIN_BYTES = 4 * 1024 * 1024,
    /* Writing zeros first spares each later commit a change of metadata, but writes everything
     * twice the first time. It pays for small frames, where the commit is what costs; frames of
     * this size and more extend the file instead, which costs them one journal commit each. */
    LOG_EXTEND_MIN_BYTES = 64 * 1024,
    LOG_PATH_BYTES = 4096
};

struct store_shard;

/* Shared by the memtable that writes it and the chunks whose vectors it holds. The last one to
 * leave hands it to the shard (log_file_unref), which uses it again or removes it. */
struct log_file {
    struct log_file *next; /* in the shard's lists of spare and released files */
    _Atomic uint32_t refs;
    struct store_shard *shard;
    struct io *io;
    char path[LOG_PATH_BYTES];
    int file;     /* open for writing; -1 when not */
    bool direct;  /* opened with O_DIRECT | O_DSYNC */
    bool durable; /* writes are synced one by one (durability log) */
    uint64_t number;
    uint64_t epoch;
    uint64_t salt;
    uint64_t allocated_bytes; /* zero-written so far */
};

/** A file object without a file yet; one reference. */
struct log_file *log_file_new(struct store_shard *shard, struct io *io, const char *directory,
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

/** Makes sure that [0, end) is allocated; grows in steps towards `capacity_bytes`. */
int log_file_grow(struct log_file *log, uint64_t end, uint64_t capacity_bytes, struct error *error);

/** Writes a frame; durable on return when the file is `durable`. */
int log_file_write(struct log_file *log, const uint8_t *bytes, uint64_t size_bytes,
                   uint64_t position, struct error *error);
/** Makes everything written durable (a no-op for durable files). */
int log_file_sync(struct log_file *log, struct error *error);

#endif
