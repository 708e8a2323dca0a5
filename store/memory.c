/* Buffers of memtables are large and come from mmap, so that they go back to the system at once.
 * A few of one size are kept for the next memtable, only while less than half of the quota is in
 * use: they count as used. Giving one back may be what an append waits for (events_room). */
#include "store/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "store/events.h"

/* Below it huge pages are not worth their size. */
enum { HUGE_PAGES_MIN_BYTES = 4 * 1024 * 1024 };

void memory_create(struct store_memory *memory, struct store_events *events, uint64_t max_bytes,
                   uint64_t buffer_bytes)
{
    *memory = (struct store_memory){
        .events = events, .max_bytes = max_bytes, .buffer_bytes = buffer_bytes};
    if (pthread_mutex_init(&memory->lock, NULL) != 0)
        abort();
}

void memory_destroy(struct store_memory *memory)
{
    for (uint32_t i = 0; i < memory->buffer_count; i++)
        (void)munmap(memory->buffers[i], memory->buffer_bytes);
    pthread_mutex_destroy(&memory->lock);
}

uint8_t *memory_take_buffer(struct store_memory *memory, uint64_t size_bytes)
{
    uint8_t *buffer = NULL;
    void *fresh;

    pthread_mutex_lock(&memory->lock);
    if (size_bytes == memory->buffer_bytes && memory->buffer_count > 0)
        buffer = memory->buffers[--memory->buffer_count];
    pthread_mutex_unlock(&memory->lock);
    if (buffer) {
        atomic_fetch_sub_explicit(&memory->used_bytes, size_bytes, memory_order_relaxed);
        return buffer;
    }
    fresh = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return NULL;
    /* Fewer page faults while frames are built and fewer TLB misses while they are scanned. */
    if (size_bytes >= (uint64_t)HUGE_PAGES_MIN_BYTES)
        (void)madvise(fresh, size_bytes, MADV_HUGEPAGE); /* only a hint */
    return fresh;
}

void memory_give_buffer(struct store_memory *memory, uint8_t *buffer, uint64_t size_bytes)
{
    uint64_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
    bool kept = false;

    pthread_mutex_lock(&memory->lock);
    if (size_bytes == memory->buffer_bytes && memory->buffer_count < MEMORY_BUFFERS_MAX &&
        used + size_bytes <= memory->max_bytes / 2) {
        memory->buffers[memory->buffer_count++] = buffer;
        atomic_fetch_add_explicit(&memory->used_bytes, size_bytes, memory_order_relaxed);
        kept = true;
    }
    pthread_mutex_unlock(&memory->lock);
    if (!kept)
        (void)munmap(buffer, size_bytes);
    events_room(memory->events);
}

void memory_release_buffers(struct store_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    atomic_fetch_sub_explicit(&memory->used_bytes, memory->buffer_count * memory->buffer_bytes,
                              memory_order_relaxed);
    while (memory->buffer_count > 0)
        (void)munmap(memory->buffers[--memory->buffer_count], memory->buffer_bytes);
    pthread_mutex_unlock(&memory->lock);
}
