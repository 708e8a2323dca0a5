/* Writing: groups of records, and the state that came with the last one. */
#ifndef STORE_APPEND_H
#define STORE_APPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/files/record.h"

struct store_shard;

/** Appends one group: durable under the shard's mode and visible when this returns 0. All of it or
 * nothing. ERROR_BUSY: memory quota reached or level 0 full, flush or compaction is behind, try
 * again (stall). ERROR_MEMORY, ERROR_NO_FILES: the system has none left, likewise. ERROR_NO_SPACE: nothing was
 * written, may be tried again later. ERROR_IO: the shard is stopped for writing until it is opened
 * again (store_shard_stopped). */
int store_shard_append(struct store_shard *shard, const struct store_group *group,
                       struct error *error);

enum { STORE_REFUSALS_MAX = 4096 };

/* What is told about an offset whose refusal may be forgotten. */
#define STORE_REFUSAL_UNKNOWN "unknown"

/** Why the record at a visible offset was not stored; NULL: it was. The last STORE_REFUSALS_MAX of
 * the shard since it was opened are known; before those it is STORE_REFUSAL_UNKNOWN. Any thread with
 * a lease. */
const char *store_shard_refusal(struct store_shard *shard, int64_t offset);

/** Next offset to read from Kafka; -1 when nothing was ever stored. Any thread, lock-free. */
int64_t store_shard_next_offset(const struct store_shard *shard);
/** What came with the next offset; not known when nothing was. Any thread; waits for an append that
 * is under way. */
struct store_topic_fingerprint store_shard_topic_fingerprint(struct store_shard *shard);
/** Its log clock is of one instant only while nothing is appended. */
struct store_clock store_shard_clock(const struct store_shard *shard);
/** Whoever reads the log knows that no record to come was written before `settled_ms`, even if none
 * tells so: rows that expired before may leave their files (struct store_shard_info). Never goes back;
 * forgotten when the shard closes. Any thread. */
void store_shard_settle(struct store_shard *shard, int64_t settled_ms);
/** How far the log has come: no record to come finds a version alive that expired by then. INT64_MAX:
 * no log tells the time, or the disk was full a moment ago, so that files go by the wall clock. Any
 * thread. */
int64_t store_shard_log_passed_ms(const struct store_shard *shard);
/** Rows that expired by then may leave the shard's files, when the wall clock is `wall_ms`: no reader
 * sees them, and the log has passed them. Any thread. */
int64_t store_shard_expired_before_ms(const struct store_shard *shard, int64_t wall_ms);
/** Makes the safe clock durable without a group: what a start finds is then at least this.
 * Watermark and arrivals stay what they are. Any thread. */
int store_shard_keep_clock(struct store_shard *shard, int64_t safe_wall_ms, struct error *error);
/** Non-NULL text when a failed sync or manifest write stopped writes. */
const char *store_shard_stopped(const struct store_shard *shard);
/** Whether a flush is due: memtable full, or it touches too many windows, or memory is short. */
bool store_shard_needs_flush(const struct store_shard *shard);
/** Whether appends wait for a compaction: level 0 is full, another flush must wait too. */
bool store_shard_compaction_behind(const struct store_shard *shard);

/** What the manifest holds from now on is written under it. Any thread. */
void store_shard_set_ownership(struct store_shard *shard, struct store_ownership ownership);

/** While `over`, appends of records are ERROR_BUSY: the byte cap is passed and nothing may be
 * dropped. Returns what it was. Any thread. */
bool store_shard_set_over_cap(struct store_shard *shard, bool over);

#endif
