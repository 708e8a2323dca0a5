/* Carrying out decisions about files: flush, seal, merge, move, drop. */
#ifndef STORE_COMPACTION_H
#define STORE_COMPACTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/describe.h"

/** Rotates the memtable and writes its chunks; nothing to do is fine. */
int store_shard_flush(struct store_shard *shard, struct error *error);

/** Writes what store_shard_needs_flush means, if anything: full memtables, and the one that takes
 * appends only when it is due itself. What keeps a shard flushed in the background. */
int store_shard_flush_due(struct store_shard *shard, struct error *error);

enum store_compaction_kind {
    /* The window's one major: its unsealed files, and its run when it is sealed already, become one
     * run of the next generation. Rows in the memtable are flushed first. A window left without
     * rows is dropped. */
    STORE_COMPACTION_SEAL,
    /* Some unsealed files become as many of one level as target_file_bytes asks for. No key comes
     * into two of them; without a row that survives there is no output. */
    STORE_COMPACTION_MERGE,
    /* One unsealed file changes its level as it is. */
    STORE_COMPACTION_MOVE
};

/* One compaction of one window. */
struct store_compaction_request {
    enum store_compaction_kind kind;
    int64_t window_start_ms, window_length_ms;
    const uint64_t *file_numbers; /* merge: any unsealed files of the window; move: one */
    size_t file_count;
    uint8_t output_level;            /* merge, move */
    uint64_t target_file_bytes;      /* merge; 0: one output */
    int64_t now_ms;                  /* rows expired by then go; INT64_MIN: all stay */
    const struct store_clock *clock; /* becomes durable with the edit; may be NULL */
    unsigned jobs;                   /* threads, over ranges of keys; 0: the store's limit */
    const atomic_bool *cancel;       /* looked at between blocks; may be NULL */
};

struct store_compaction_result {
    struct store_window_info window; /* after it, without chunks and keys */
    uint64_t rows_in, bytes_in;      /* of the files that were merged */
    uint64_t rows_out, bytes_out;    /* of those in their place */
};

/** Carries a request out, with one manifest edit at its end. Newest version per id wins; masked
 * rows go. Nothing has changed after an error: ERROR_CANCELLED; ERROR_BUSY: other work holds the
 * window; ERROR_NOT_FOUND: a file is no longer there, the description is out of date;
 * ERROR_CORRUPT: the window is damaged. `result` may be NULL. Any thread. */
int store_shard_compact(struct store_shard *shard, const struct store_compaction_request *request,
                        struct store_compaction_result *result, struct error *error);

/** Drops a whole window (run, chunks, masks, segment) in one manifest edit. Rows of it that are
 * still in a memtable are flushed first. `cause` ("ttl", "fifo") is for the log and the metric. */
int store_shard_drop(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     const char *cause, struct error *error);
/** The same for the TTL: ERROR_BUSY and nothing changed when a row of it, also one that came a
 * moment ago, lives past `now_ms`. */
int store_shard_drop_expired(struct store_shard *shard, int64_t window_start_ms,
                             int64_t window_length_ms, int64_t now_ms, struct error *error);

#endif
