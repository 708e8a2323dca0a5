/* What nobody uses any more: tables and segments that were dropped, log files without a reader.
 *
 * The last reader to leave only puts them on a list, so that a search never pays for an unlink;
 * the preallocator carries it out, or whoever next flushes, seals or drops. Log files go to the
 * spares first, to be used again. */
#ifndef STORE_GARBAGE_H
#define STORE_GARBAGE_H

#include <stdint.h>

struct attachment;
struct log_file;
struct sstable;
struct store_shard;

/** Any thread. An sstable or attachment that was not dropped is only closed. */
void garbage_add_sstable(struct store_shard *shard, struct sstable *sstable);
void garbage_add_attachment(struct store_shard *shard, struct attachment *attachment);
void garbage_add_log(struct store_shard *shard, struct log_file *log);

/** Closes, unlinks and recycles what is on the lists. Any thread, not under the append lock. */
void garbage_collect(struct store_shard *shard);

/** The same, but for the caller who should not wait for unlinks: the preallocator does it, if there
 * is one. */
void garbage_collect_behind(struct store_shard *shard);

/** Bytes of files that wait to be unlinked, and of spare log files. */
uint64_t garbage_bytes(struct store_shard *shard);

/** A spare log file with its reference, or NULL. */
struct log_file *garbage_take_spare(struct store_shard *shard);
/** The one that is taken next, with a reference of the caller's, or NULL; it stays among the
 * spares.
 */
struct log_file *garbage_next_spare(struct store_shard *shard);
/** The log file that takes appends, with a reference, or NULL. Any thread. */
struct log_file *garbage_active_log(struct store_shard *shard);
/** Puts a file that nothing refers to among the spares, or removes it when there are enough. */
void garbage_put_spare(struct store_shard *shard, struct log_file *log);
/** Frees all objects; touches no file but to close it. */
void garbage_destroy(struct store_shard *shard);

#endif
