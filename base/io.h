/* The I/O seam: every file operation, clock and random number of the store goes through one table,
 * so that tests can fail, delay, reorder and crash any of them (tests/support/shadow_disk.c).
 *
 * Functions are thread-safe. They return 0 (or a count) or a negative enum error_code with the path
 * and the operation in the error's text. Nothing is retried after EIO; EINTR is retried inside. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

enum io_open_flags {
    IO_READ = 0,           /* read only */
    IO_WRITE = 1 << 0,     /* read and write */
    IO_CREATE = 1 << 1,    /* create when missing */
    IO_EXCLUSIVE = 1 << 2, /* with IO_CREATE: fail when it exists */
    IO_TRUNCATE = 1 << 3,
    IO_DIRECT = 1 << 4, /* O_DIRECT | O_DSYNC; ERROR_UNSUPPORTED where the file system refuses */
    IO_APPEND_SYNC = 1 << 5, /* O_DSYNC without O_DIRECT */
    /* O_DIRECT alone, for much data that nobody reads soon; ignored where the file system refuses.
     */
    IO_UNCACHED = 1 << 6
};

/** Called for each name in a folder, "." and ".." left out, in no order. Non-zero stops the
 * listing. */
typedef int (*io_list_function)(void *context, const char *name);

struct io;

enum { IO_PAGE_BYTES = 4096 };

/* Bytes of a mapping. */
struct io_range {
    const void *bytes;
    size_t size_bytes;
};

/* Raw operations: return a negative errno on failure (the wrappers below make texts of it). */
struct io_operations {
    int (*open)(struct io *io, const char *path, unsigned flags); /* a handle >= 0 */
    int (*close)(struct io *io, int file);
    int64_t (*pread)(struct io *io, int file, void *bytes, size_t size_bytes, uint64_t offset);
    int64_t (*pwrite)(struct io *io, int file, const void *bytes, size_t size_bytes,
                      uint64_t offset);
    int (*datasync)(struct io *io, int file);
    int (*sync_directory)(struct io *io, const char *path);
    int (*allocate)(struct io *io, int file, uint64_t size_bytes); /* preallocates and zero-fills */
    int (*truncate)(struct io *io, int file, uint64_t size_bytes);
    int64_t (*size)(struct io *io, int file);
    void (*read_ahead)(struct io *io, int file, uint64_t size_bytes); /* NULL: there is no cache */
    int (*map)(struct io *io, int file, uint64_t size_bytes, const void **bytes); /* read only */
    int (*unmap)(struct io *io, const void *bytes, uint64_t size_bytes);
    /* Both NULL: mapped bytes are in memory. */
    void (*expect_random)(struct io *io, const void *bytes, uint64_t size_bytes);
    void (*fetch)(struct io *io, const struct io_range *ranges, uint32_t count);
    int (*rename)(struct io *io, const char *from, const char *to);
    int (*unlink)(struct io *io, const char *path);
    int (*link)(struct io *io, const char *from, const char *to);
    int (*make_directory)(struct io *io, const char *path); /* 0 when it exists already */
    int (*remove_directory)(struct io *io, const char *path);
    int (*list)(struct io *io, const char *path, io_list_function function, void *context);
    int (*lock)(struct io *io, int file); /* exclusive, not waiting: -EWOULDBLOCK */
    int64_t (*wall_ms)(struct io *io);    /* milliseconds since the epoch */
    int64_t (*monotonic_ns)(struct io *io);
    void (*random)(struct io *io, void *bytes, size_t size_bytes);
};

/* Implementations embed this as their first member. */
struct io {
    const struct io_operations *operations;
};

/** The operating system's. Shared, never freed. */
struct io *io_posix(void);

int io_open(struct io *io, const char *path, unsigned flags, int *file, struct error *error);
int io_close(struct io *io, int file, const char *path, struct error *error);
/** Reads exactly `size_bytes`; a file that ends before is ERROR_CORRUPT. */
int io_read(struct io *io, int file, const char *path, void *bytes, size_t size_bytes,
            uint64_t offset, struct error *error);
/** Writes everything; a short write goes on from where it stopped. */
int io_write(struct io *io, int file, const char *path, const void *bytes, size_t size_bytes,
             uint64_t offset, struct error *error);
int io_datasync(struct io *io, int file, const char *path, struct error *error);
int io_sync_directory(struct io *io, const char *path, struct error *error);
int io_allocate(struct io *io, int file, const char *path, uint64_t size_bytes,
                struct error *error);
int io_truncate(struct io *io, int file, const char *path, uint64_t size_bytes,
                struct error *error);
int io_size(struct io *io, int file, const char *path, uint64_t *size_bytes, struct error *error);
/** Asks for [0, size_bytes) to be in the page cache soon. A hint: nothing fails. */
void io_read_ahead(struct io *io, int file, uint64_t size_bytes);
/** Maps [0, size_bytes) for reading. Unmap with io_unmap. */
int io_map(struct io *io, int file, const char *path, uint64_t size_bytes, const void **bytes,
           struct error *error);
void io_unmap(struct io *io, const void *bytes, uint64_t size_bytes);
/** Pages of mapped bytes will be touched in no order: each is read when it is, without those around it.
 * A hint, for whole pages. */
void io_expect_random(struct io *io, const void *bytes, uint64_t size_bytes);
/** Asks for mapped bytes to be in memory soon, and does not wait: what is not there is read side by
 * side. Each range costs a system call, also when all of it is there. A hint. */
void io_fetch(struct io *io, const struct io_range *ranges, uint32_t count);
/* A file mapped whole whose bytes may also be read past the page cache. The path outlives it. */
struct io_mapping {
    struct io *io;
    const char *path;
    const uint8_t *bytes; /* NULL: not mapped */
    uint64_t size_bytes;
    _Atomic int file; /* to read from; below 0: not opened yet */
};

/* One read of many. */
struct io_read {
    struct io_mapping *mapping;
    uint64_t offset; /* a multiple of IO_PAGE_BYTES, as are the others */
    uint32_t size_bytes;
    uint8_t *bytes;
    int64_t got; /* filled: bytes read, less at the end of the file; or a negative errno */
};

/** Reads all of them side by side, past the page cache where the file system can, and returns when all are
 * done. Thread-safe. */
void io_read_many(struct io_read *reads, uint32_t count);
/** Closes what io_read_many opened. */
void io_mapping_close(struct io_mapping *mapping);
/** Whether all of these mapped bytes are in memory now. */
bool io_is_resident(const struct io_mapping *mapping, const void *bytes, size_t size_bytes);

/** 4 KiB pages that the calling thread had read from storage so far, for whatever reason, and how often
 * it waited for one that it touched. */
struct io_thread_reads {
    uint64_t pages, waits;
};
struct io_thread_reads io_thread_reads(void);

/** Whether mapped bytes may have to be read when they are touched. */
bool io_reads_mappings(const struct io *io);
int io_rename(struct io *io, const char *from, const char *to, struct error *error);
/** A file that is not there is not an error. */
int io_unlink(struct io *io, const char *path, struct error *error);
int io_link(struct io *io, const char *from, const char *to, struct error *error);
/** Creates the folder; its parent must exist. Existing is fine. */
int io_make_directory(struct io *io, const char *path, struct error *error);
int io_remove_directory(struct io *io, const char *path, struct error *error);
int io_list(struct io *io, const char *path, io_list_function function, void *context,
            struct error *error);
int io_lock(struct io *io, int file, const char *path, struct error *error);

/** Writes FOLDER/NAME durably, under NAME.tmp first: the file is the old one or the new one. */
int io_replace_file(struct io *io, const char *folder, const char *name, const void *bytes,
                    size_t size_bytes, struct error *error);
/** Appends the content of FOLDER/NAME; more than 16 MiB is ERROR_CORRUPT. */
int io_read_file(struct io *io, const char *folder, const char *name, struct buffer *bytes,
                 struct error *error);

/** Room for users on the disk that holds `path`, and its size. False when nobody knows. */
bool io_disk_room(const char *path, uint64_t *free_bytes, uint64_t *size_bytes);

int64_t io_wall_ms(struct io *io);
int64_t io_monotonic_ns(struct io *io);
void io_random(struct io *io, void *bytes, size_t size_bytes);

/** A sync that failed, or a write that may have happened in part: whatever errno said, nobody knows
 * what is on the device, so the code becomes ERROR_IO, which is not retried. */
static inline int io_failed(struct error *error)
{
    error->code = ERROR_IO;
    return ERROR_IO;
}

#endif
