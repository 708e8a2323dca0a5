/* A version: which memtables, sstables and segments make up the shard at one instant. Immutable
 * once published. Readers take a reference inside an epoch section; a replaced version is released
 * when the last reader that could be taking it has left. */
#ifndef STORE_VERSION_H
#define STORE_VERSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "store/files/background.h"
#include "store/files/segment.h"
#include "store/files/span.h"
#include "store/memtable.h"
#include "store/sstable.h"

struct store_note;

/* An index attached to an sstable, or over several of them. `segment.object` is NULL until it is loaded. */
struct attachment {
    struct garbage_item garbage; /* first */
    _Atomic uint32_t refs;
    struct garbage *collector;
    struct store_segment segment;
    struct span *span;    /* what it covers; NULL: one sstable */
    _Atomic bool dropped; /* its file goes with the last reference */
};

struct version_entry {
    struct sstable *sstable;
    struct attachment *attachment; /* or NULL */
};

struct version_span {
    struct attachment *attachment; /* with a span */
    uint32_t *places; /* by part: the entry of its run, or STORE_SPAN_DEAD; made for publishing */
};

struct version {
    _Atomic uint32_t refs;
    struct memtable **memtables; /* newest first; the first is the active one if it takes appends */
    size_t memtable_count;
    struct version_entry *entries; /* by window, then sealed run first, then by offset */
    size_t entry_count;
    struct version_span *spans;
    size_t span_count;
    _Atomic(struct store_note *) notes; /* of readers; not copied, for they are of this version */
};

/** A copy with one reference, to be changed and published; `from` may be NULL (empty). */
struct version *version_copy(const struct version *from);
void version_ref(struct version *version);
void version_unref(struct version *version);

void version_add_memtable(struct version *version, struct memtable *memtable); /* as the newest */
void version_remove_memtable(struct version *version, const struct memtable *memtable);
void version_add_sstable(struct version *version, struct sstable *sstable,
                         struct attachment *attachment);
void version_remove_sstable(struct version *version, const struct sstable *sstable);
/** Removes an sstable that the manifest has dropped: its files, and those of its segment, go when
 * their last reader leaves. */
void version_drop_sstable(struct version *version, struct sstable *sstable);
struct version_entry *version_find(struct version *version, uint64_t file_number);

/** Takes over the caller's reference. */
void version_add_span(struct version *version, struct attachment *attachment);
/** NULL when there is no span of this file. */
struct version_span *version_find_span(const struct version *version, uint64_t file_number);
/** Takes it out; `drop`: the manifest has dropped it, and its file goes with its last reader. */
void version_remove_span(struct version *version, struct version_span *span, bool drop);

/** Entries of a window: [first, first + count). */
size_t version_window(const struct version *version, int64_t start_ms, int64_t length_ms,
                      size_t *first);

/* Which version is current. Written under the append lock, read without one. */
struct shard_versions {
    _Atomic(struct version *) current;
    struct epoch *epoch;           /* of the readers that are taking a reference */
    _Atomic uint32_t level0_files; /* of the window without bounds, in the current version */
};

void versions_create(struct shard_versions *versions);
/** The last version has been replaced by NULL and collected. */
void versions_destroy(struct shard_versions *versions);
/** Releases versions that the last reader has left. */
void versions_collect(struct shard_versions *versions);

/** The current version with a reference. Lock-free, any thread. */
struct version *versions_acquire(struct shard_versions *versions);
/** Makes it the current one; takes over the caller's reference. Under the append lock. */
void versions_publish(struct shard_versions *versions, struct version *version);

/** `span` (may be NULL) is copied. */
struct attachment *attachment_new(struct garbage *collector, const struct store_segment *segment,
                                  const struct span *span);
void attachment_ref(struct attachment *attachment);
void attachment_unref(struct attachment *attachment);
void attachment_delete(struct attachment *attachment);

#endif
