/* Write buffers of memtables, kept for the next one.
 *
 * A fresh mapping costs a page fault and a zeroed page for every page of a frame, which on virtual
 * machines took longer than writing the frame (0.45 ms of 0.7 ms for 200 KB). Frames are built
 * whole, gaps included: what an earlier use left in a buffer reaches no file.
 *
 * What lies here is counted in the store's memory, and goes first when that becomes short. */
#ifndef STORE_BUFFERS_H
#define STORE_BUFFERS_H

#include <pthread.h>
#include <stdint.h>

enum { BUFFERS_KEPT_MAX = 8 };

struct store;

struct buffers {
    pthread_mutex_t lock;
    uint8_t *kept[BUFFERS_KEPT_MAX];
    uint32_t count;
    uint64_t each_bytes; /* all are as large */
};

void buffers_create(struct buffers *buffers, uint64_t each_bytes);
void buffers_destroy(struct buffers *buffers);

/** A buffer of `size_bytes`, of any content; aligned to pages. NULL without memory. */
uint8_t *buffers_take(struct store *store, uint64_t size_bytes);
void buffers_give(struct store *store, uint8_t *buffer, uint64_t size_bytes);
/** Unmaps all that lie here. Any thread. */
void buffers_release(struct store *store);

#endif
