/* The memory that all shards of a store share.
 *
 *     used      memtables with their write buffers, and the buffers kept here
 *     decoded   blocks of packed runs that searches asked for
 *
 * Write buffers are kept for the next memtable. A fresh mapping costs a page fault and a zeroed
 * page for every page of a frame, which on virtual machines took longer than writing the frame
 * (0.45 ms of 0.7 ms for 200 KB). Frames are built whole, gaps included: what an earlier use left
 * in a buffer reaches no file. Kept buffers go first when memory becomes short. */
#ifndef STORE_MEMORY_H
#define STORE_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct store_events;

enum { MEMORY_BUFFERS_MAX = 8 };

struct store_memory {
    struct store_events *events; /* told when memory is given back */
    uint64_t max_bytes;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t decoded_bytes;
    uint64_t buffer_bytes; /* all kept buffers are as large */
    pthread_mutex_t lock;  /* guards what follows; a leaf */
    uint8_t *buffers[MEMORY_BUFFERS_MAX];
    uint32_t buffer_count;
};

void memory_create(struct store_memory *memory, struct store_events *events, uint64_t max_bytes,
                   uint64_t buffer_bytes);
void memory_destroy(struct store_memory *memory);

/** A buffer of `size_bytes`, of any content; aligned to pages. NULL without memory. */
uint8_t *memory_take_buffer(struct store_memory *memory, uint64_t size_bytes);
void memory_give_buffer(struct store_memory *memory, uint8_t *buffer, uint64_t size_bytes);
/** Unmaps the kept buffers. Any thread. */
void memory_release_buffers(struct store_memory *memory);

/** How much decoded blocks may hold before they are given back. */
static inline uint64_t memory_decoded_max(const struct store_memory *memory)
{
    return memory->max_bytes / 4;
}

/** What counts against max_bytes. Decoded blocks go when no search is under way, so that more of
 * them than their share must not hold the writer back. */
static inline uint64_t memory_used(const struct store_memory *memory)
{
    uint64_t decoded = atomic_load_explicit(&memory->decoded_bytes, memory_order_relaxed);
    uint64_t most = memory_decoded_max(memory);

    return atomic_load_explicit(&memory->used_bytes, memory_order_relaxed) +
           (decoded < most ? decoded : most);
}

/** Shards that hold at least their share of it should flush. */
static inline bool memory_is_short(const struct store_memory *memory)
{
    return memory_used(memory) > memory->max_bytes / 4 * 3;
}

#endif
