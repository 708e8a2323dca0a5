/* Many small reads at once, for searches of files that do not fit into memory.
 *
 * A read past the page cache costs less processor time than a page fault: no page is taken from others,
 * mapped, and given up again; and what is read over and over, codes and centroids, stays in the cache.
 * Reads go to the kernel in one io_uring submission, so that the device has all of them at once. Where
 * there is no io_uring (built without it, or refused by the kernel) they are made one after another.
 *
 * A ring belongs to its thread and goes with it. */
#include "base/io.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifdef WINDROW_URING
#include <liburing.h>
#endif

enum { RESIDENT_PAGES_MAX = 64 };

static int file_of(struct io_mapping *mapping)
{
    int file = atomic_load_explicit(&mapping->file, memory_order_acquire), none = -1;
    struct error ignored;

    if (file >= 0)
        return file;
    if (io_open(mapping->io, mapping->path, IO_READ | IO_UNCACHED, &file, &ignored) != 0)
        return -1;
    if (atomic_compare_exchange_strong(&mapping->file, &none, file))
        return file;
    (void)io_close(mapping->io, file, mapping->path, &ignored); /* another thread was first */
    return none;
}

void io_mapping_close(struct io_mapping *mapping)
{
    int file = atomic_exchange(&mapping->file, -1);
    struct error ignored;

    if (file >= 0)
        (void)io_close(mapping->io, file, mapping->path, &ignored);
}

static void read_one(struct io_read *read)
{
    struct io *io = read->mapping->io;
    int file = file_of(read->mapping);

    read->got = file < 0
                    ? -EIO
                    : io->operations->pread(io, file, read->bytes, read->size_bytes, read->offset);
}

#ifdef WINDROW_URING

enum { RING_READS = 128 };

/* The key only tells when the thread ends. */
static pthread_once_t ring_once = PTHREAD_ONCE_INIT;
static pthread_key_t ring_key;
static _Thread_local struct {
    struct io_uring ring;
    enum { RING_NONE, RING_READY, RING_REFUSED } state;
} thread;

static void ring_delete(void *context)
{
    io_uring_queue_exit(context);
}

static void ring_key_create(void)
{
    if (pthread_key_create(&ring_key, ring_delete) != 0)
        abort();
}

/* NULL: the kernel gives none. */
static struct io_uring *ring_get(void)
{
    if (thread.state != RING_NONE)
        return thread.state == RING_READY ? &thread.ring : NULL;
    thread.state = RING_REFUSED;
    (void)pthread_once(&ring_once, ring_key_create);
    if (io_uring_queue_init(RING_READS, &thread.ring, 0) != 0)
        return NULL;
    if (pthread_setspecific(ring_key, &thread.ring) != 0) {
        io_uring_queue_exit(&thread.ring);
        return NULL;
    }
    thread.state = RING_READY;
    return &thread.ring;
}

/* At most RING_READS. False: the ring failed, and none of them is under way any more. */
static bool read_together(struct io_uring *ring, struct io_read *reads, uint32_t count)
{
    uint32_t submitted = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct io_uring_sqe *entry = io_uring_get_sqe(ring);
        assert(entry); /* the ring is empty between calls */
        io_uring_prep_read(entry, file_of(reads[i].mapping), reads[i].bytes, reads[i].size_bytes,
                           reads[i].offset);
        io_uring_sqe_set_data(entry, &reads[i]);
    }
    while (submitted < count) {
        int some = io_uring_submit(ring);
        if (some <= 0 && some != -EINTR && some != -EAGAIN)
            break;
        submitted += some > 0 ? (uint32_t)some : 0;
    }
    for (uint32_t done = 0; done < submitted; done++) {
        struct io_uring_cqe *entry;
        int result;
        do {
            result = io_uring_wait_cqe(ring, &entry);
        } while (result == -EINTR);
        if (result != 0)
            abort(); /* the kernel may still write into the caller's memory */
        ((struct io_read *)io_uring_cqe_get_data(entry))->got = entry->res;
        io_uring_cqe_seen(ring, entry);
    }
    return submitted == count;
}

/* How many were made. */
static uint32_t read_with_ring(struct io_read *reads, uint32_t count)
{
    struct io_uring *ring = ring_get();
    uint32_t done = 0;

    while (ring && done < count) {
        uint32_t some = count - done < RING_READS ? count - done : RING_READS;
        if (!read_together(ring, reads + done, some)) {
            (void)pthread_setspecific(ring_key, NULL);
            io_uring_queue_exit(ring);
            thread.state = RING_REFUSED;
            break;
        }
        done += some;
    }
    return done;
}

#else

static uint32_t read_with_ring(struct io_read *reads, uint32_t count)
{
    (void)reads;
    (void)count;
    return 0;
}

#endif

void io_read_many(struct io_read *reads, uint32_t count)
{
    /* Files of a test's own have no descriptors that the kernel knows. */
    bool real =
        count > 1 && reads[0].mapping->io->operations->pread == io_posix()->operations->pread;

    for (uint32_t i = real ? read_with_ring(reads, count) : 0; i < count; i++)
        read_one(&reads[i]);
}

bool io_is_resident(const struct io_mapping *mapping, const void *bytes, size_t size_bytes)
{
    uintptr_t first = (uintptr_t)bytes / IO_PAGE_BYTES * IO_PAGE_BYTES;
    size_t pages = ((uintptr_t)bytes + size_bytes - first + IO_PAGE_BYTES - 1) / IO_PAGE_BYTES;
    unsigned char resident[RESIDENT_PAGES_MAX];

    if (!io_reads_mappings(mapping->io))
        return true;
    if (pages > RESIDENT_PAGES_MAX || mincore((void *)first, pages * IO_PAGE_BYTES, resident) != 0)
        return false;
    for (size_t i = 0; i < pages; i++)
        if (!(resident[i] & 1))
            return false;
    return true;
}

struct io_thread_reads io_thread_reads(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_THREAD, &usage) != 0)
        abort();
    /* ru_inblock counts 512 bytes, whoever asked for them: faults, reading ahead, reads. */
    return (struct io_thread_reads){.pages = (uint64_t)usage.ru_inblock / (IO_PAGE_BYTES / 512),
                                    .waits = (uint64_t)usage.ru_majflt};
}
