/* The manifest: what a shard consists of, as an append-only file of checksummed edits.
 *
 * A file goes through four states: *prepare* (its number is reserved by an edit, so that a file no
 * edit names is known to be an orphan), *create* (an edit names it: it is part of the shard),
 * *drop* (an edit takes it out) and *forget* (it is unlinked; told with some later edit). One edit
 * holds any number of changes and applies as a whole.
 *
 * CURRENT names the manifest in use. When that passes a size, the state is written as one edit into
 * the next manifest, synced, and CURRENT is replaced: write, fsync, rename, fsync of the folder.
 *
 * manifest_format.h draws the bytes. */
#ifndef STORE_FILES_MANIFEST_H
#define STORE_FILES_MANIFEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "store/files/record.h"
#include "store/files/segment.h"
#include "store/files/span.h"
#include "store/files/table.h"

/* A chunk or run with what belongs to it. */
struct manifest_table {
    struct table_description description;
    struct table_info info;
    bool sealed;
    uint8_t level;        /* 0 to STORE_LEVELS - 1; of unsealed runs, 0 of all else */
    uint64_t mask_number; /* 0: nothing in it was dead when it was last persisted */
    uint64_t mask_bytes;
    struct store_segment_info segment; /* file_number 0: none */
};

struct manifest_log {
    uint64_t number;
    uint64_t log_generation;
    uint64_t salt;
    int64_t first_sequence; /* of the frames in it */
    uint8_t active;  /* its frames are replayed; else only chunks refer to it, or it is spare */
    uint8_t durable; /* its frames were synced one by one */
};

/* Everything the edits so far add up to. */
struct manifest_state {
    uint16_t version;                 /* of the file that it is in (manifest_format.h) */
    struct store_ownership ownership; /* of the last frame */
    /* Number of the rule by which keys were read as ids (struct store_shard_options), of the last frame; 0: not
     * known. */
    uint16_t key_rule;
    uint32_t dim;
    uint32_t metric;
    uint64_t next_file_number; /* numbers below are reserved; files above are not ours to judge */
    uint64_t next_log_generation;
    int64_t next_offset;                  /* flushed; -1: nothing */
    struct store_topic_fingerprint topic; /* below it */
    int64_t next_sequence;                /* of the first frame that is not flushed */
    struct store_clock clock;
    struct manifest_table *tables;
    size_t table_count, table_capacity;
    struct manifest_log *logs;
    size_t log_count, log_capacity;
    struct span *spans;
    size_t span_count, span_capacity;
    uint64_t *dropped; /* numbers of files that may still exist */
    size_t dropped_count, dropped_capacity;
};

/* Changes that apply together. `struct manifest_edit edit = {0}` starts one. */
struct manifest_edit {
    struct buffer body;
    uint16_t version; /* the file must have this one at least: earlier windrows refuse the edit */
};

void manifest_edit_destroy(struct manifest_edit *edit);
void manifest_edit_identity(struct manifest_edit *edit, uint32_t dim, uint32_t metric);
void manifest_edit_numbers(struct manifest_edit *edit, uint64_t next_file_number,
                           uint64_t next_log_generation);
void manifest_edit_progress(struct manifest_edit *edit, int64_t next_offset, int64_t next_sequence,
                            const struct store_clock *clock);
/** Belongs to the progress that was told before it, which took away the one there was. */
void manifest_edit_topic_fingerprint(struct manifest_edit *edit,
                                     const struct store_topic_fingerprint *topic);
/** The same of the log's clock. Nothing when it is not known. */
void manifest_edit_log_clock(struct manifest_edit *edit, const struct store_log_clock *log);
/** Each time of the clock counts only if it is later than what was there; its log clock does not. */
void manifest_edit_clock(struct manifest_edit *edit, const struct store_clock *clock);
/** Takes over each time of `to` that is later. The log's clock stays what it is. */
void manifest_clock_advance(struct store_clock *clock, const struct store_clock *to);
/** Creates the table or replaces what is known of it (mask and segment included). */
void manifest_edit_table(struct manifest_edit *edit, const struct manifest_table *table);
/** Puts a table that the edit or an earlier one created into a level. */
void manifest_edit_level(struct manifest_edit *edit, uint64_t table_number, uint8_t level);
/** Drops a table with its mask and segment. */
void manifest_edit_table_drop(struct manifest_edit *edit, uint64_t number);
void manifest_edit_mask(struct manifest_edit *edit, uint64_t table_number, uint64_t mask_number,
                        uint64_t mask_bytes);
/** `segment->file_number` 0 takes the segment away. */
void manifest_edit_segment(struct manifest_edit *edit, uint64_t table_number,
                           const struct store_segment_info *segment);
/** Creates the span. */
void manifest_edit_span(struct manifest_edit *edit, const struct span *span);
void manifest_edit_span_drop(struct manifest_edit *edit, uint64_t number);
/** A log file comes into use (again) with this generation. */
void manifest_edit_log_use(struct manifest_edit *edit, const struct manifest_log *log);
void manifest_edit_log_done(struct manifest_edit *edit, uint64_t number);
void manifest_edit_log_drop(struct manifest_edit *edit, uint64_t number);
void manifest_edit_dropped(struct manifest_edit *edit, uint64_t number);
void manifest_edit_forget(struct manifest_edit *edit, uint64_t number);

/** Applies the body of an edit to a state. ERROR_CORRUPT when it makes no sense. */
int manifest_state_apply(struct manifest_state *state, const uint8_t *body, size_t body_bytes,
                         struct error *error);
/** The whole state as one edit. */
void manifest_state_encode(const struct manifest_state *state, struct manifest_edit *edit);
void manifest_state_destroy(struct manifest_state *state);
struct manifest_table *manifest_state_table(const struct manifest_state *state, uint64_t number);
struct manifest_log *manifest_state_log(const struct manifest_state *state, uint64_t number);
/** Whether any file of this number belongs to the shard now. */
bool manifest_state_refers(const struct manifest_state *state, uint64_t number);

enum { MANIFEST_NUMBERS_RESERVED = 64, MANIFEST_ROLL_BYTES = 1024 * 1024 };

struct manifest {
    struct io *io;
    char *directory;
    char *path; /* of the current manifest */
    int file;
    uint64_t manifest_number;
    uint64_t position; /* where the next edit goes */
    uint64_t sequence; /* of the next edit in this file */
    uint64_t roll_bytes;
    uint64_t snapshot_bytes; /* size of the edit the file starts with */
    uint64_t last_number;    /* file numbers handed out */
    struct manifest_state state;
    uint64_t *forgotten; /* unlinked, to be told with the next edit */
    size_t forgotten_count, forgotten_capacity;
    uint64_t written_bytes;                   /* since opening, for write amplification */
    struct metric *bytes_written;             /* the same, for people; NULL: nobody asks */
    _Atomic struct store_ownership ownership; /* of the frames that follow; under no lock */
    pthread_mutex_t lock;                     /* guards all else; a leaf */
};

/** An edit says that keys are read as ids by this rule, and those that follow do. A shortage leaves it to these. */
int manifest_keep_key_rule(struct manifest *manifest, uint16_t key_rule, struct error *error);
/** Opens the shard folder's manifest, or starts one with this identity when the folder is new.
 * ERROR_CORRUPT when CURRENT or an edit is damaged. */
int manifest_open(struct io *io, const char *directory, uint32_t dim, uint32_t metric,
                  struct manifest **manifest, struct error *error);
/** For who has switched spans off and goes back to a windrow that does not know them: begins a file of
 * the least version that the state needs, unless the present one is of it. A state with a log clock
 * stays at version 3. After a failure the present file is as good as before. */
int manifest_leave_spans(struct manifest *manifest, struct error *error);
void manifest_close(struct manifest *manifest);

/** Writes and syncs one edit, then applies it. On any error but ERROR_NO_SPACE nobody knows whether
 * it will be there after a restart: the shard must stop writing. Any thread. */
int manifest_commit(struct manifest *manifest, struct manifest_edit *edit, struct error *error);

/** The edits that follow are written under this ownership. Returns the one before. Does not wait. Any
 * thread. */
struct store_ownership manifest_set_ownership(struct manifest *manifest,
                                              struct store_ownership ownership);
/** What the edits so far add up to, as of now; destroy it. Any thread. */
void manifest_copy_state(struct manifest *manifest, struct manifest_state *state);
/** Makes the folder a shard of this state, durably: MANIFEST-1, then CURRENT. */
int manifest_write_new(struct io *io, const char *directory, const struct manifest_state *state,
                       struct error *error);

/** Whether the span of this number still belongs to the shard. Any thread. */
bool manifest_has_span(struct manifest *manifest, uint64_t number);

/** A fresh file number, reserved durably. Any thread. */
int manifest_reserve(struct manifest *manifest, uint64_t *number, struct error *error);
/** A fresh generation for a log; becomes durable with the edit that uses it. Any thread. */
uint64_t manifest_take_log_generation(struct manifest *manifest);
/** The files of this number are unlinked. Any thread. */
void manifest_forget(struct manifest *manifest, uint64_t number);
/** What was written since the opening, and all that follows, is added to `bytes_written`. */
void manifest_count_bytes(struct manifest *manifest, struct metric *bytes_written);
/** Size of the manifest file. Any thread. */
uint64_t manifest_bytes(struct manifest *manifest);

#endif
