/* A store's background thread: what appends and readers should not wait for.
 *
 *     zeros    ahead of the appender (log_preallocator.h)
 *     garbage  unlinking what was dropped, taking log files back (collect.h)
 *
 * It sleeps on a condition until somebody wakes it, then does the work of every member once.
 *
 * Stores with logs of one step and less have none (there is nothing to be gained), so that tests
 * with a simulated disk stay single-threaded. */
#ifndef STORE_BACKGROUND_H
#define STORE_BACKGROUND_H

struct background;

/* One shard's work. It lies in the shard. */
struct background_member {
    struct background_member *next;
    void (*work)(struct background_member *member);
};

/** NULL when no thread can be had: appends do without. */
struct background *background_start(void);
/** Waits for the thread. All members must have been removed. `background` may be NULL, here and
 * below. */
void background_stop(struct background *background);

void background_add(struct background *background, struct background_member *member);
/** Waits while the thread is at work on the member. */
void background_remove(struct background *background, struct background_member *member);
/** There is something to do. Any thread, under any lock: a flag, and a signal when it was not set.
 */
void background_wake(struct background *background);

#endif
