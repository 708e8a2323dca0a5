/* Rebuilding a window from the records it was made of. */
#ifndef STORE_REBUILD_H
#define STORE_REBUILD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/files/record.h"

struct store_shard;

/* One window anew, beside the shard that goes on: records from the first of the window on are
 * appended to a shadow shard, where what lies in other windows counts as a delete, so that what is
 * left is what the window should hold. Then appends to the shard wait for a moment, and one edit
 * swaps the window in. A window that is damaged comes back. One thread. */
struct store_rebuild;

/** Claims the window. Records of the offsets [*from_offset, *to_offset) must be given to
 * store_rebuild_append in order. ERROR_NOT_FOUND: no such window; ERROR_BUSY: it is being worked
 * on.
 */
int store_rebuild_begin(struct store_shard *shard, int64_t window_start_ms,
                        int64_t window_length_ms, struct store_rebuild **rebuild,
                        int64_t *from_offset, int64_t *to_offset, struct error *error);
/** Records that the shard took when they were appended, those of all windows: what they expect is
 * not looked at again. Everything below `next_offset`
 * has been given after it. */
int store_rebuild_append(struct store_rebuild *rebuild, const struct store_record *records,
                         size_t count, int64_t next_offset, const atomic_bool *cancel,
                         struct error *error);
/** Writes the window; rows expired at `now_ms` go. *to_offset: what came to the shard meanwhile, up
 * to which records must be given now, to see what they hide. */
int store_rebuild_write(struct store_rebuild *rebuild, int64_t now_ms, const atomic_bool *cancel,
                        int64_t *to_offset, struct error *error);
/** Appends to the shard wait from here to the end; *to_offset: the last records to be given. */
int store_rebuild_hold(struct store_rebuild *rebuild, int64_t *to_offset, struct error *error);
/** Swaps the window in. */
int store_rebuild_commit(struct store_rebuild *rebuild, struct error *error);
/** Frees it; without a commit nothing has changed. */
void store_rebuild_end(struct store_rebuild *rebuild);

#endif
