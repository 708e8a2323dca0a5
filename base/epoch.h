/* Epoch-based reclamation: readers take the current version of something without locks; a replaced
 * version is freed when the last reader that could hold it has left.
 *
 *     reader                                   writer
 *     unsigned slot = epoch_enter(e);          old = atomic_exchange(&current, fresh);
 *     v = atomic_load(&current); ref(v);       epoch_retire(e, old, free_fn);
 *     epoch_leave(e, slot);
 *
 * Sections are short (take a reference, leave). Slots are claimed with one compare-and-swap,
 * starting at a place that depends on the thread; more than EPOCH_SLOTS concurrent readers spin. */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <stdatomic.h>
#include <stdint.h>

enum { EPOCH_SLOTS = 128 };

struct epoch;

struct epoch *epoch_new(void);
/** Frees everything retired. No reader may be inside. */
void epoch_delete(struct epoch *epoch);

/** Enters a read section; returns the slot to give back. Lock-free, any thread. */
unsigned epoch_enter(struct epoch *epoch);
void epoch_leave(struct epoch *epoch, unsigned slot);

/** Calls `release(object)` once no reader is left that entered before now: at once, or at a later
 * epoch_retire or epoch_collect. Takes a lock against other writers. */
void epoch_retire(struct epoch *epoch, void *object, void (*release)(void *object));
/** Frees what can be freed now. */
void epoch_collect(struct epoch *epoch);

#endif
