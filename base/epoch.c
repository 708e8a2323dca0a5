/* Why a retired object is freed only after its readers left:
 *
 * A reader publishes the epoch it saw in its slot and only then loads the shared pointer. A writer
 * swaps the pointer, then moves the global epoch from E to E + 1 and stamps the old object with E,
 * then looks at the slots. All of these are sequentially consistent, so either the writer's look
 * sees the slot, or the reader's load comes after the swap and gets the new pointer. A reader whose
 * slot says more than E read the epoch after the swap: it cannot hold the object. A reader that was
 * delayed between reading the epoch and publishing it shows an older epoch than necessary, which
 * only keeps objects longer. */
#include "base/epoch.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/memory.h"

enum { SLOT_FREE = 0 };

struct epoch_slot {
    _Alignas(64) _Atomic uint64_t entered; /* SLOT_FREE, or the epoch its reader saw */
};

struct epoch_retired {
    struct epoch_retired *next;
    void *object;
    void (*release)(void *object);
    uint64_t stamp; /* free once every reader inside entered after this epoch */
};

struct epoch {
    struct epoch_slot slots[EPOCH_SLOTS];
    _Atomic uint64_t current;     /* starts at 1: a slot's 0 means free */
    pthread_mutex_t lock;         /* guards the list */
    struct epoch_retired *oldest; /* stamps ascend along the list */
    struct epoch_retired **tail;
};

struct epoch *epoch_new(void)
{
    struct epoch *epoch = memory_checked(aligned_alloc(64, sizeof(*epoch)));
    for (unsigned i = 0; i < EPOCH_SLOTS; i++)
        atomic_init(&epoch->slots[i].entered, SLOT_FREE);
    atomic_init(&epoch->current, 1);
    if (pthread_mutex_init(&epoch->lock, NULL) != 0)
        abort();
    epoch->oldest = NULL;
    epoch->tail = &epoch->oldest;
    return epoch;
}

void epoch_delete(struct epoch *epoch)
{
    if (!epoch)
        return;
    for (unsigned i = 0; i < EPOCH_SLOTS; i++)
        assert(atomic_load(&epoch->slots[i].entered) == SLOT_FREE);
    epoch_collect(epoch);
    assert(epoch->oldest == NULL);
    pthread_mutex_destroy(&epoch->lock);
    free(epoch);
}

/* Threads start at different slots so that they do not fight for a cache line. */
static unsigned first_slot(void)
{
    static _Atomic unsigned threads;
    static _Thread_local unsigned own;

    if (own == 0)
        own = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    return own;
}

unsigned epoch_enter(struct epoch *epoch)
{
    unsigned start = first_slot();

    for (unsigned i = 0;; i++) {
        unsigned slot = (start + i) % EPOCH_SLOTS;
        uint64_t expected = SLOT_FREE;
        if (atomic_compare_exchange_strong(&epoch->slots[slot].entered, &expected,
                                           atomic_load(&epoch->current)))
            return slot;
        if (i % EPOCH_SLOTS == EPOCH_SLOTS - 1)
            sched_yield();
    }
}

void epoch_leave(struct epoch *epoch, unsigned slot)
{
    assert(slot < EPOCH_SLOTS);
    assert(atomic_load_explicit(&epoch->slots[slot].entered, memory_order_relaxed) != SLOT_FREE);
    atomic_store(&epoch->slots[slot].entered, SLOT_FREE);
}

static uint64_t oldest_reader(struct epoch *epoch)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < EPOCH_SLOTS; i++) {
        uint64_t entered = atomic_load(&epoch->slots[i].entered);
        if (entered != SLOT_FREE && entered < oldest)
            oldest = entered;
    }
    return oldest;
}

void epoch_collect(struct epoch *epoch)
{
    struct epoch_retired *ready = NULL;
    struct epoch_retired **ready_tail = &ready;
    uint64_t oldest;

    pthread_mutex_lock(&epoch->lock);
    oldest = epoch->oldest ? oldest_reader(epoch) : 0;
    while (epoch->oldest && epoch->oldest->stamp < oldest) {
        *ready_tail = epoch->oldest;
        ready_tail = &epoch->oldest->next;
        epoch->oldest = epoch->oldest->next;
    }
    *ready_tail = NULL;
    if (!epoch->oldest)
        epoch->tail = &epoch->oldest;
    pthread_mutex_unlock(&epoch->lock);

    /* Outside the lock: a release may retire what the object held. */
    while (ready) {
        struct epoch_retired *next = ready->next;
        ready->release(ready->object);
        free(ready);
        ready = next;
    }
}

void epoch_retire(struct epoch *epoch, void *object, void (*release)(void *object))
{
    struct epoch_retired *retired = memory_checked(malloc(sizeof(*retired)));
    *retired = (struct epoch_retired){.object = object, .release = release};
    pthread_mutex_lock(&epoch->lock);
    retired->stamp = atomic_fetch_add(&epoch->current, 1);
    *epoch->tail = retired;
    epoch->tail = &retired->next;
    pthread_mutex_unlock(&epoch->lock);
    epoch_collect(epoch);
}
