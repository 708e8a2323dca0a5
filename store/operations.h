/* What the operations of a shard call of each other. Each section names the file where it is done
 * and explained. */
#ifndef STORE_OPERATIONS_H
#define STORE_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

#include "store/shard.h"

/* append.c */
/** Puts the rows of a frame that lies in the memtable's buffer into the memtable and marks what
 * they replace as dead. Under the append lock. */
void append_apply_frame(struct store_shard *shard, struct memtable *memtable,
                        const struct version *version, const struct log_frame *frame,
                        int64_t arrival_wall_ms);
/** Publishes next offset, topic and clock. Under the append lock. */
void append_publish(struct store_shard *shard, int64_t next_offset,
                    const struct store_topic_fingerprint *topic, const struct store_clock *clock);
/** Makes the active memtable immutable. Under the append lock. */
void append_rotate(struct store_shard *shard);

/* expected_version.c */

struct expect_decision {
    struct store_refusal *refused; /* malloc'ed, NULL: none */
    size_t refused_count;
    /* The group's, malloc'ed, with the ids that deletes of two readings hit; NULL: as they are. */
    struct store_record *records;
};

/** Takes the records out of indices[0..*count) that expect another version of their id than the one
 * that lives, and finds what deletes hit. Says so in group->unmet and group->deletes. Under the append
 * lock. */
int expect_check(struct store_shard *shard, const struct store_group *group, uint32_t *indices,
                 uint32_t *count, struct expect_decision *out, struct error *error);

/* flush.c */

/** Rotates the memtable and flushes all that are immutable. Takes the flush lock. */
int flush_all(struct store_shard *shard, struct error *error);

/* mask_update.c */

struct mask_update {
    struct sstable *sstable;
    uint64_t number; /* 0: nothing was written */
    uint64_t bytes;
    uint32_t rows;
    uint32_t masked_seen;
};

/** Writes a mask file for what died below `below` when that is more than was persisted, and adds it
 * to the edit. */
int masks_persist(struct store_shard *shard, struct sstable *sstable, int64_t below,
                  struct manifest_edit *edit, struct mask_update *update, struct error *error);
/** The same for every sstable of the version; the files' names are durable on return. `*updates` is
 * malloc'ed. */
int masks_persist_all(struct store_shard *shard, struct version *version, int64_t below,
                      struct manifest_edit *edit, struct mask_update **updates, size_t *count,
                      struct error *error);
/** The edit is durable. */
void masks_written(struct store_shard *shard, const struct mask_update *update);
/** The edit failed; `remove` when it certainly does not count. */
void masks_abandoned(struct store_shard *shard, const struct mask_update *update, bool remove);

/* window_lock.c: work that has a window to itself */

typedef int (*window_lock_function)(void *context, struct error *error);

/** Claims the window, runs `work`, lets go of it. Garbage is collected before and after; a device
 * that failed stops the shard. Errors are wrapped with shard, `verb` and window. ERROR_BUSY:
 * somebody else works on it. */
int window_lock_run(struct store_shard *shard, const char *verb, int64_t start_ms,
                    int64_t length_ms, window_lock_function work, void *context,
                    struct error *error);

/** ERROR_CORRUPT when some file of the window is damaged: what is left of it must not be merged. */
int window_check_damage(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                        struct error *error);

/* collect.c */

/** Closes, unlinks and recycles what is on the list. Any thread, not under the append lock. */
void garbage_collect(struct store_shard *shard);

/** The same, but for the caller who should not wait for unlinks: the background thread does it, if
 * there is one. */
void garbage_collect_behind(struct store_shard *shard);

/** Bytes of files that wait to be unlinked. */
uint64_t garbage_bytes(struct store_shard *shard);

/* span_attach.c */

/** Takes spans out of a version about to be published that the edit before it has dropped. */
void version_drop_dead_spans(struct store_shard *shard, struct version *version);

/* attach.c */

/** Takes the checksum of a segment's file that is about to be attached, so that verify can tell it
 * from another one. */
int segment_read_checksum(struct store_shard *shard, struct store_segment_info *info,
                          struct error *error);

/* log_preallocator.c */

enum {
    LOG_PREALLOCATOR_ZEROS_SHARE = 32,
    LOG_PREALLOCATOR_ZEROS_FREE_LOGS = 2,
    /* The appender wakes the background thread each time it has written so much. */
    LOG_PREALLOCATOR_STEP_BYTES = 1024 * 1024
};

/** Writes what is due for this shard. The background thread. */
void log_preallocate(struct store_shard *shard);

/* recovery.c */

/** Replays logs into memtables; the first version is published. Called once, while opening. */
int recovery_run(struct store_shard *shard, struct error *error);

/* rebuild.c */

/** Removes all shadows. The store is being opened: no rebuild is under way. */
void rebuild_remove_shadows(struct store *store);

#endif
