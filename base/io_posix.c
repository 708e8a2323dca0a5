/* The operating system behind the I/O seam. EINTR is retried here and nowhere else. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { ZERO_CHUNK_BYTES = 256 * 1024, ZERO_ALIGNMENT = 4096, READ_AHEAD_BYTES = 128 * 1024 };

/* Aligned for O_DIRECT. Never written. */
static const uint8_t zero_chunk[ZERO_CHUNK_BYTES] __attribute__((aligned(4096)));

static int result_of(int result)
{
    return result < 0 ? -errno : result;
}

static int open_retried(const char *path, int mode)
{
    int file;

    do {
        file = open(path, mode, 0640);
    } while (file < 0 && errno == EINTR);
    return file;
}

static int posix_open(struct io *io, const char *path, unsigned flags)
{
    int mode = flags & IO_WRITE ? O_RDWR : O_RDONLY;
    int file = -1;

    (void)io;
    mode |= O_CLOEXEC;
    mode |= flags & IO_CREATE ? O_CREAT : 0;
    mode |= flags & IO_EXCLUSIVE ? O_EXCL : 0;
    mode |= flags & IO_TRUNCATE ? O_TRUNC : 0;
    mode |= flags & IO_DIRECT ? O_DIRECT | O_DSYNC : 0;
    mode |= flags & IO_APPEND_SYNC ? O_DSYNC : 0;
    if (flags & IO_UNCACHED) {
        file = open_retried(path, mode | O_DIRECT);
        /* Refusing O_DIRECT comes after creating the file. */
        mode &= file < 0 && errno == EINVAL ? ~O_EXCL : ~0;
    }
    if (file < 0)
        file = open_retried(path, mode);
    if (file >= 0)
        return file;
    /* tmpfs and some network file systems answer EINVAL to O_DIRECT alone. */
    return flags & IO_DIRECT && errno == EINVAL ? -EOPNOTSUPP : -errno;
}

static int posix_close(struct io *io, int file)
{
    (void)io;
    /* Linux has released the descriptor even when close is interrupted: closing again could hit
     * somebody else's file. */
    return close(file) < 0 && errno != EINTR ? -errno : 0;
}

static int64_t posix_pread(struct io *io, int file, void *bytes, size_t size_bytes, uint64_t offset)
{
    ssize_t got;

    (void)io;
    do {
        got = pread(file, bytes, size_bytes, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static int64_t posix_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                            uint64_t offset)
{
    ssize_t put;

    (void)io;
    do {
        put = pwrite(file, bytes, size_bytes, (off_t)offset);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

static int posix_datasync(struct io *io, int file)
{
    (void)io;
    return result_of(fdatasync(file));
}

static int sync_folder(const char *path)
{
    int file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result;

    if (file < 0)
        return -errno;
    result = result_of(fsync(file));
    if (close(file) < 0 && result == 0 && errno != EINTR)
        result = -errno;
    return result;
}

/* A rename that took place and could not be synced stops a shard. So it never fails for want of a descriptor: one is
 * kept for it. Another thread may take that one in the moment that it is free; then the sync fails. */
static pthread_once_t kept_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static int kept_file = -1;

static void keep_file(void)
{
    kept_file = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int posix_sync_directory(struct io *io, const char *path)
{
    int result;

    (void)io;
    (void)pthread_once(&kept_once, keep_file);
    result = sync_folder(path);
    if (result != -EMFILE && result != -ENFILE)
        return result;
    pthread_mutex_lock(&kept_lock);
    if (kept_file >= 0)
        (void)close(kept_file);
    result = sync_folder(path);
    keep_file();
    pthread_mutex_unlock(&kept_lock);
    return result;
}

static int64_t posix_size(struct io *io, int file)
{
    struct stat info;

    (void)io;
    return fstat(file, &info) < 0 ? -errno : (int64_t)info.st_size;
}

static int posix_truncate(struct io *io, int file, uint64_t size_bytes)
{
    int result;

    (void)io;
    do {
        result = ftruncate(file, (off_t)size_bytes);
    } while (result < 0 && errno == EINTR);
    return result_of(result);
}

/* Bytes that the file has keep their content; the rest is written as zeros. fallocate alone leaves
 * unwritten extents, and the first commit to each would pay for a journal transaction; it is called
 * for contiguity and to learn early that the device is full. */
static int posix_allocate(struct io *io, int file, uint64_t size_bytes)
{
    int64_t size = posix_size(io, file);
    uint64_t offset;

    if (size < 0)
        return (int)size;
    offset = ((uint64_t)size + ZERO_ALIGNMENT - 1) / ZERO_ALIGNMENT * ZERO_ALIGNMENT;
    if ((uint64_t)size >= size_bytes)
        return 0;
    /* With O_DIRECT only whole blocks can be written: the rest of the last one becomes zeros. */
    if (offset > (uint64_t)size) {
        int result = posix_truncate(io, file, offset < size_bytes ? offset : size_bytes);
        if (result < 0)
            return result;
    }
    if (offset >= size_bytes)
        return 0;
    if (fallocate(file, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)(size_bytes - offset)) < 0 &&
        errno != EOPNOTSUPP && errno != EINTR)
        return -errno;
    while (offset < size_bytes) {
        uint64_t left = size_bytes - offset;
        size_t want = left < ZERO_CHUNK_BYTES ? (size_t)left : ZERO_CHUNK_BYTES;
        int64_t put = posix_pwrite(io, file, zero_chunk, want, offset);
        if (put <= 0)
            return put < 0 ? (int)put : -EIO;
        offset += (uint64_t)put;
    }
    return 0;
}

static void posix_read_ahead(struct io *io, int file, uint64_t size_bytes)
{
    (void)io;
    /* Of one call the kernel takes as much as one read-ahead of the device and forgets the rest. */
    for (uint64_t at = 0; at < size_bytes; at += READ_AHEAD_BYTES)
        (void)posix_fadvise(file, (off_t)at, READ_AHEAD_BYTES, POSIX_FADV_WILLNEED);
}

static int posix_map(struct io *io, int file, uint64_t size_bytes, const void **bytes)
{
    void *mapped = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, file, 0);

    (void)io;
    if (mapped == MAP_FAILED)
        return -errno;
    *bytes = mapped;
    return 0;
}

static int posix_unmap(struct io *io, const void *bytes, uint64_t size_bytes)
{
    (void)io;
    return result_of(munmap((void *)(uintptr_t)bytes, size_bytes));
}

/* From the border of the first byte's page. */
static void advise(const void *bytes, uint64_t size_bytes, int advice)
{
    uintptr_t skipped = (uintptr_t)bytes % IO_PAGE_BYTES;

    (void)madvise((void *)((uintptr_t)bytes - skipped), size_bytes + skipped, advice);
}

static void posix_expect_random(struct io *io, const void *bytes, uint64_t size_bytes)
{
    (void)io;
    advise(bytes, size_bytes, MADV_RANDOM);
}

static void posix_fetch(struct io *io, const struct io_range *ranges, uint32_t count)
{
    (void)io;
    for (uint32_t i = 0; i < count; i++)
        for (size_t at = 0; at < ranges[i].size_bytes; at += READ_AHEAD_BYTES) {
            size_t left = ranges[i].size_bytes - at;
            advise((const uint8_t *)ranges[i].bytes + at,
                   left < READ_AHEAD_BYTES ? left : READ_AHEAD_BYTES, MADV_WILLNEED);
        }
}

static int posix_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return result_of(rename(from, to));
}

static int posix_unlink(struct io *io, const char *path)
{
    (void)io;
    return result_of(unlink(path));
}

static int posix_link(struct io *io, const char *from, const char *to)
{
    (void)io;
    return result_of(link(from, to));
}

static int posix_make_directory(struct io *io, const char *path)
{
    struct stat info;

    (void)io;
    if (mkdir(path, 0750) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &info) < 0)
        return -errno;
    return S_ISDIR(info.st_mode) ? 0 : -ENOTDIR;
}

static int posix_remove_directory(struct io *io, const char *path)
{
    (void)io;
    return result_of(rmdir(path));
}

static int posix_list(struct io *io, const char *path, io_list_function function, void *context)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    int result = 0;

    (void)io;
    if (!folder)
        return -errno;
    for (;;) {
        errno = 0;
        entry = readdir(folder);
        if (!entry) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (function(context, entry->d_name) != 0)
            break;
    }
    if (closedir(folder) < 0 && result == 0)
        result = -errno;
    return result;
}

static int posix_lock(struct io *io, int file)
{
    int result;

    (void)io;
    do {
        result = flock(file, LOCK_EX | LOCK_NB);
    } while (result < 0 && errno == EINTR);
    return result_of(result);
}

static int64_t posix_wall_ms(struct io *io)
{
    struct timespec now;

    (void)io;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0)
        abort();
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t posix_monotonic_ns(struct io *io)
{
    struct timespec now;

    (void)io;
    if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        abort();
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void posix_random(struct io *io, void *bytes, size_t size_bytes)
{
    uint8_t *to = bytes;

    (void)io;
    while (size_bytes > 0) {
        ssize_t got = getrandom(to, size_bytes, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            to += got;
            size_bytes -= (size_t)got;
        }
    }
}

bool io_disk_room(const char *path, uint64_t *free_bytes, uint64_t *size_bytes)
{
    struct statvfs disk;

    if (statvfs(path, &disk) != 0)
        return false;
    *free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    *size_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    return true;
}

struct io *io_posix(void)
{
    static const struct io_operations operations = {
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .datasync = posix_datasync,
        .sync_directory = posix_sync_directory,
        .allocate = posix_allocate,
        .truncate = posix_truncate,
        .size = posix_size,
        .read_ahead = posix_read_ahead,
        .map = posix_map,
        .unmap = posix_unmap,
        .expect_random = posix_expect_random,
        .fetch = posix_fetch,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .link = posix_link,
        .make_directory = posix_make_directory,
        .remove_directory = posix_remove_directory,
        .list = posix_list,
        .lock = posix_lock,
        .wall_ms = posix_wall_ms,
        .monotonic_ns = posix_monotonic_ns,
        .random = posix_random,
    };
    static struct io instance = {&operations};

    return &instance;
}
