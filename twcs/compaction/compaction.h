/* compaction: carries out what twcs decides, on the store.
 *
 *     executor    describe (store) -> decide (twcs) -> carry out (store), one decision at a time
 *     scheduler   keeps every open shard flushed, sealed, merged and within its bounds
 *     manual      what an operator asks of windows: compact, rebuild
 *
 * The watermark is ingest's: it alone knows whether a silent partition is idle or unreachable. */
#ifndef TWCS_COMPACTION_COMPACTION_H
#define TWCS_COMPACTION_COMPACTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"
#include "store/describe.h"
#include "twcs/twcs.h"

struct store_registry;

struct store_compaction_result;

/** The policy of a collection. */
struct twcs_policy compaction_policy(const struct config_collection *collection);

/** A shard's clock as twcs and as the store have it. */
struct twcs_clock compaction_clock(const struct store_clock *clock);
struct store_clock compaction_store_clock(const struct twcs_clock *clock);

/* Executor. */

/* One shard as the store and twcs both see it. */
struct compaction_view {
    struct store_shard_info info;
    struct twcs_window *windows; /* same order and count as info.windows */
    struct twcs_policy policy;
    struct twcs_clock clock;
};

/** Describes a shard for twcs. Everything lives in `arena`. */
void compaction_describe(struct store_shard *shard, const struct config_collection *collection,
                         int64_t now_ms, struct arena *arena, struct compaction_view *view);
/** The same for a shard whose description is in view->info already. */
void compaction_view_complete(struct compaction_view *view,
                              const struct config_collection *collection, int64_t now_ms,
                              struct arena *arena);

/* What compaction is behind with. */
struct compaction_debt {
    uint64_t pending_bytes; /* of the files that merges have to read which are due or under way */
    int64_t lag_ms; /* event time since the oldest window that is not sealed should have been */
};

/** The debt of a shard. `arena` is for scratch memory. */
void compaction_debt(const struct compaction_view *view, struct arena *arena,
                     struct compaction_debt *debt);

/** Carries out one decision about `view`, on up to `jobs` threads, until *cancel (may be NULL)
 * becomes true. Errors are those of the store: after ERROR_BUSY and ERROR_NOT_FOUND the view is out
 * of date. `result` may be NULL; it is all zero after a drop. */
int compaction_execute(struct store_shard *shard, const struct compaction_view *view,
                       const struct twcs_decision *decision, unsigned jobs,
                       const atomic_bool *cancel, struct store_compaction_result *result,
                       struct error *error);

/* Scheduler. */

struct compaction_scheduler;

struct compaction_scheduler_options {
    struct store *store;
    struct store_registry *registry;
    struct metrics *metrics;
    struct io *io;      /* its wall clock decides what has expired */
    uint32_t job_count; /* compactions at a time, and threads of one; 0: 1 */
    /* A window was sealed or resealed. Called by the thread that did it; may be NULL. */
    void (*on_sealed)(void *context, struct store_shard *shard,
                      const struct store_window_info *window);
    /* Called within seconds after windows of some shard changed or a shard was opened, again while
     * it returns true, and once a minute: windows grow old without anything happening to them. One
     * call at a time; may be NULL. */
    bool (*reconcile)(void *context);
    void *context;
};

/** Takes care of all shards that are in the registry or come into it. One scheduler a registry. */
int compaction_scheduler_start(const struct compaction_scheduler_options *options,
                               struct compaction_scheduler **scheduler, struct error *error);
/** Finishes the work under way: interrupt the registry before, or that may take long. NULL is
 * allowed. */
void compaction_scheduler_stop(struct compaction_scheduler *scheduler);
/** Looks at every shard now: a TTL or the wall clock changed. Any thread. */
void compaction_scheduler_wake(struct compaction_scheduler *scheduler);
/** When the scheduler last gave a sign of life (io_monotonic_ns); a flush that hangs gives none. */
int64_t compaction_scheduler_alive_ns(const struct compaction_scheduler *scheduler);

/** The series of a collection's seals. */
struct metric *compaction_seal_seconds(struct metrics *metrics, const char *collection);

/* Manual compaction. Any thread; each call returns when the work is done. */

enum compaction_action {
    COMPACTION_NONE, /* there was nothing to do */
    COMPACTION_SEAL,
    COMPACTION_RESEAL,
    COMPACTION_MERGE, /* all files of a window without bounds */
    COMPACTION_REBUILD
};

/** "none", "seal", ... */
const char *compaction_action_name(enum compaction_action action);

/* Takes records of a shard in order; everything below next_offset has been given after it. */
typedef int (*compaction_take_function)(void *context, const struct store_record *records,
                                        size_t count, int64_t next_offset, struct error *error);

/* Reads records of a shard again from where they came from. */
struct compaction_replay {
    const struct config_collection *collection;
    struct store_shard *shard;
    int64_t from_offset, to_offset;
    const atomic_bool *cancelled[2]; /* the second may be NULL */
    compaction_take_function take;
    void *take_context;
};

struct manual_compaction_request {
    const struct config_collection *collection;
    bool has_time; /* the window that holds time_ms; else all of them */
    int64_t time_ms;
    const char *shard;            /* NULL: all */
    const atomic_bool *cancelled; /* nobody waits for the result any more; may be NULL */
    /* For a rebuild. */
    int (*replay)(void *context, const struct compaction_replay *replay, struct error *error);
    void *replay_context;
};

/* What was done to one window, and what it holds now. */
struct manual_compaction_result {
    const char *shard;
    enum compaction_action action;
    struct store_window_info window; /* without chunks and keys */
};

/** Seals the chosen windows, or folds late and dead rows of sealed ones in, or merges all files of
 * a collection without windows. Without a time, only windows that are closed are sealed. Results
 * lie in `arena`. ERROR_NOT_FOUND: no such shard or window here. */
int manual_compaction_compact(struct compaction_scheduler *scheduler,
                              const struct manual_compaction_request *request, struct arena *arena,
                              struct manual_compaction_result **results, size_t *count,
                              struct error *error);

/** Makes the chosen windows anew from replayed records, beside ingestion, and swaps each in with
 * one edit; damaged windows come back. The request must have a time. Errors as above and those of
 * the replay; nothing has changed then. */
int manual_compaction_rebuild(struct compaction_scheduler *scheduler,
                              const struct manual_compaction_request *request, struct arena *arena,
                              struct manual_compaction_result **results, size_t *count,
                              struct error *error);

#endif
