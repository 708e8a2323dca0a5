/* Work that has a window to itself: seal, tier, compact, drop. */
#ifndef STORE_WINDOW_LOCK_H
#define STORE_WINDOW_LOCK_H

#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

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

#endif
