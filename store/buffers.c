#include "store/buffers.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "store/shard.h"

void buffers_create(struct buffers *buffers, uint64_t each_bytes)
{
    *buffers = (struct buffers){.each_bytes = each_bytes};
    if (pthread_mutex_init(&buffers->lock, NULL) != 0)
        abort();
}

void buffers_destroy(struct buffers *buffers)
{
    for (uint32_t i = 0; i < buffers->count; i++)
        (void)munmap(buffers->kept[i], buffers->each_bytes);
    pthread_mutex_destroy(&buffers->lock);
}

uint8_t *buffers_take(struct store *store, uint64_t size_bytes)
{
    struct buffers *buffers = &store->buffers;
    uint8_t *buffer = NULL;
    void *fresh;

    pthread_mutex_lock(&buffers->lock);
    if (size_bytes == buffers->each_bytes && buffers->count > 0)
        buffer = buffers->kept[--buffers->count];
    pthread_mutex_unlock(&buffers->lock);
    if (buffer) {
        atomic_fetch_sub_explicit(&store->memory_used_bytes, size_bytes, memory_order_relaxed);
        return buffer;
    }
    fresh = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return NULL;
    /* Fewer page faults while frames are built and fewer TLB misses while they are scanned. */
    if (size_bytes >= (uint64_t)LOG_GROW_BYTES)
        (void)madvise(fresh, size_bytes, MADV_HUGEPAGE); /* only a hint */
    return fresh;
}

void buffers_give(struct store *store, uint8_t *buffer, uint64_t size_bytes)
{
    struct buffers *buffers = &store->buffers;
    uint64_t used = atomic_load_explicit(&store->memory_used_bytes, memory_order_relaxed);
    bool kept = false;

    pthread_mutex_lock(&buffers->lock);
    if (size_bytes == buffers->each_bytes && buffers->count < BUFFERS_KEPT_MAX &&
        used + size_bytes <= store->memory_max_bytes / 2) {
        buffers->kept[buffers->count++] = buffer;
        atomic_fetch_add_explicit(&store->memory_used_bytes, size_bytes, memory_order_relaxed);
        kept = true;
    }
    pthread_mutex_unlock(&buffers->lock);
    if (!kept)
        (void)munmap(buffer, size_bytes);
}

void buffers_release(struct store *store)
{
    struct buffers *buffers = &store->buffers;

    pthread_mutex_lock(&buffers->lock);
    atomic_fetch_sub_explicit(&store->memory_used_bytes, buffers->count * buffers->each_bytes,
                              memory_order_relaxed);
    while (buffers->count > 0)
        (void)munmap(buffers->kept[--buffers->count], buffers->each_bytes);
    pthread_mutex_unlock(&buffers->lock);
}
