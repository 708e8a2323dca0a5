/* A disk that forgets: files and names in memory behind the I/O seam, each with what is durable and
 * what the running process sees.
 *
 * shadow_disk_crash keeps what was synced. Of the rest, each sector becomes new, old or garbage by
 * itself, a file's size becomes old or new, and each name that was made, moved or removed without a
 * sync of its folder is taken over or lost by itself. Operations that change something are counted;
 * the disk can die after the N-th (every later operation fails), or make the N-th fail. Not
 * thread-safe. */
#ifndef TESTS_SUPPORT_SHADOW_DISK_H
#define TESTS_SUPPORT_SHADOW_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"

enum { SHADOW_SECTOR_BYTES = 512, SHADOW_NEVER = 0 };

enum shadow_fault {
    SHADOW_FAULT_NONE,
    SHADOW_FAULT_EIO,
    SHADOW_FAULT_ENOSPC, /* of operations that take space; others succeed */
    SHADOW_FAULT_ENOMEM, /* of the same */
    SHADOW_FAULT_EMFILE, /* of opening files, also those that are there */
    SHADOW_FAULT_SHORT   /* of writes: the first half is written */
};

struct shadow_disk;

struct shadow_disk *shadow_disk_new(uint64_t seed);
/** A copy of a disk that no process uses (all files closed). */
struct shadow_disk *shadow_disk_clone(const struct shadow_disk *disk, uint64_t seed);
void shadow_disk_delete(struct shadow_disk *disk);
struct io *shadow_disk_io(struct shadow_disk *disk);

/** Operations that changed something so far. */
uint64_t shadow_disk_operations(const struct shadow_disk *disk);
/** The disk dies while the operation with this number is under way: it may or may not happen. */
void shadow_disk_die_at(struct shadow_disk *disk, uint64_t operation);
bool shadow_disk_dead(const struct shadow_disk *disk);
/** The operation with this number fails; `for_good`: all after it, too, until called again. */
void shadow_disk_fail_at(struct shadow_disk *disk, uint64_t operation, enum shadow_fault fault,
                         bool for_good);
/** Whether the fault has struck. */
bool shadow_disk_struck(const struct shadow_disk *disk);

/** Calls `moment` once, when next a file is created whose name ends with `suffix`; NULL: no more.
 */
void shadow_disk_meanwhile(struct shadow_disk *disk, const char *suffix, void (*moment)(void *),
                           void *context);
/** Whether the process sees a file of this name now. */
bool shadow_disk_has(const struct shadow_disk *disk, const char *path);

/** Sets the wall clock that the disk's users read; it stands still otherwise. */
void shadow_disk_set_wall_ms(struct shadow_disk *disk, int64_t wall_ms);

/** Power off and on: see above. No file may be mapped. */
void shadow_disk_crash(struct shadow_disk *disk);
/** The process dies, the disk lives on: nothing is lost yet. */
void shadow_disk_kill_process(struct shadow_disk *disk);
/** Syncs that only pretend, as a negative control. */
void shadow_disk_lie(struct shadow_disk *disk, bool lie);

#endif
