/* Appends on threads of their own, so that reading, decoding and writing go on side by side.
 *
 * The consumer hands over a group of one partition and gathers the next one meanwhile; while a
 * group is being written all that comes gathers in the next, so that groups grow with the load and
 * a lone record waits for nothing. One append a partition is under way at most: order is the
 * consumer's. Private to ingest/. */
#ifndef INGEST_APPEND_POOL_H
#define INGEST_APPEND_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "base/thread_pool.h"
#include "store/files/record.h"

struct store_shard;

enum { APPEND_THREADS = 2 }; /* one builds its frame while the other waits for the device */

/* One append; its owner keeps it, and what `group` points to, until it is done. */
struct append_job {
    struct thread_task task; /* the first member */
    struct append_pool *pool;
    struct store_shard *shard;
    struct store_group group;
    struct store_unmet unmet;
    struct store_deletes deletes;
    /* What came of it. */
    int code;
    struct error error;
    int64_t done_wall_ms;
    bool under_way; /* guarded by the pool's lock */
};

struct append_pool;

/** `wake` is called by an append's thread, with the pool's lock held, when the append is done and the consumer is about to
 * sleep (append_pool_may_sleep). */
struct append_pool *append_pool_new(struct io *io, void (*wake)(void *context), void *context);
/** Nothing may be under way. */
void append_pool_delete(struct append_pool *pool);

/* The calls below are for one thread, the consumer's. */

void append_pool_submit(struct append_pool *pool, struct append_job *job);
/** Whether it is done, and nobody is woken for it any more. Worth asking when there is news. */
bool append_pool_is_done(struct append_pool *pool, struct append_job *job);
/** Waits for one append. */
void append_pool_wait(struct append_pool *pool, struct append_job *job);
/** Whether some append was done since the last call. */
bool append_pool_news(struct append_pool *pool);
/** Before the consumer sleeps elsewhere: false when there is news. After it: pass false. */
bool append_pool_may_sleep(struct append_pool *pool, bool sleeps);

#endif
