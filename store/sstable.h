/* An sstable: a chunk or run of the shard, with the masks of its rows.
 *
 * Masks say at which offset a row died. They are kept in pages that are made when the first row of
 * the page dies. The writer sets them under the shard's append lock; readers look without locks: a
 * reader that took its visible offset with acquire sees every mask below it. */
#ifndef STORE_SSTABLE_H
#define STORE_SSTABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/files/background.h"
#include "store/files/log.h"
#include "store/files/manifest.h"
#include "store/files/table.h"

enum { SSTABLE_PAGE_ROWS = 512 };
#define SSTABLE_ALIVE INT64_MAX

struct sstable_page {
    _Atomic int64_t dead_at[SSTABLE_PAGE_ROWS];
};

/* What the sstables of a shard have in common. */
struct sstable_home {
    struct io *io;
    const char *directory;
    uint32_t dim;
    struct garbage *garbage;         /* where sstables go that nobody refers to */
    _Atomic uint64_t *decoded_bytes; /* of the store: blocks that searches asked for */
    const _Atomic int64_t *ttl_ms;   /* of the shard */
};

struct sstable {
    struct garbage_item garbage; /* first */
    _Atomic uint32_t refs;
    const struct sstable_home *home;
    struct table *table;
    struct table_description description;
    struct table_info info;
    bool sealed;
    enum vector_codec
        refused_codec;     /* set when it was written: it would have lost recall; RAW: none */
    double refused_recall; /* with that one; -1: not measured */
    _Atomic uint8_t level;
    uint32_t row_count;
    const int64_t *event_times;
    const int64_t *offsets;
    const int64_t *ttls; /* sstable_ttl_ms; NULL: none, and every row has a vector */
    const uint8_t *first_key, *last_key;
    size_t first_key_bytes, last_key_bytes;
    struct log_file *log; /* of a chunk: holds its vectors */
    _Atomic(struct sstable_page *) *pages;
    uint32_t page_count;
    _Atomic uint32_t masked_rows;
    uint32_t masked_last;            /* masked_rows when masks were last persisted; commit lock */
    _Atomic uint32_t persisted_rows; /* rows in the persisted mask; changed under the commit lock */
    uint64_t mask_number;            /* commit lock */
    _Atomic uint64_t mask_bytes;
    _Atomic uint64_t columns_bytes;    /* of a run: size of n.columns; 0: there is none */
    _Atomic int64_t min_own_expiry_ms; /* INT64_MIN: not looked for yet */
    pthread_mutex_t expiry_lock;       /* guards what sstable_max_expiry_ms remembers */
    bool expiry_known;
    bool expiry_pending; /* a row was dead, but not yet below */
    int64_t expiry_dead_below;
    int64_t expiry_ttl_ms;
    uint32_t expiry_masked_rows;
    int64_t max_expiry_ms;
    _Atomic bool dropped; /* the manifest has dropped it: files go with the last reference */
};

/** Opens the table the manifest describes, masks included. `log` (chunks) is referenced. */
int sstable_open(const struct sstable_home *home, const struct manifest_table *table,
                 struct log_file *log, struct sstable **sstable, struct error *error);
void sstable_ref(struct sstable *sstable);
void sstable_unref(struct sstable *sstable);
/** Closes the table and frees; touches no other file. */
void sstable_delete(struct sstable *sstable);

/** Offset at which the row died, SSTABLE_ALIVE when it has not. Any thread. */
static inline int64_t sstable_dead_at(const struct sstable *sstable, uint32_t row)
{
    const struct sstable_page *page =
        atomic_load_explicit(&sstable->pages[row / SSTABLE_PAGE_ROWS], memory_order_acquire);

    return page
               ? atomic_load_explicit(&page->dead_at[row % SSTABLE_PAGE_ROWS], memory_order_acquire)
               : SSTABLE_ALIVE;
}

/** The row's own TTL, 0: none. */
static inline int64_t sstable_ttl_ms(const struct sstable *sstable, uint32_t row)
{
    return sstable->ttls ? table_ttl_ms(sstable->ttls[row]) : 0;
}

/** Whether the row has no vector. */
static inline bool sstable_is_bare(const struct sstable *sstable, uint32_t row)
{
    return sstable->ttls && table_ttl_bare(sstable->ttls[row]);
}

/** The largest expiry of the rows that did not die below `dead_below`, under the shard's TTL;
 * INT64_MAX: some row never expires, INT64_MIN: no row is left. Never too early; too late when few
 * rows died since it was looked at. Any thread. */
int64_t sstable_max_expiry_ms(struct sstable *sstable, int64_t dead_below);

/** The least expiry that a row has by a TTL of its own, dead rows among them; INT64_MAX: none has one.
 * The first call looks at all rows (a millisecond for a million). Any thread. */
int64_t sstable_min_own_expiry_ms(struct sstable *sstable);

/** Marks a living row dead. Under the append lock, or before the sstable is published. */
void sstable_kill(struct sstable *sstable, uint32_t row, int64_t offset);

/** The living row of the key, if any; `key_hash` is table_key_hash of it. Under the append lock. */
bool sstable_find_living(const struct sstable *sstable, const uint8_t *key, size_t key_bytes,
                         uint64_t key_hash, uint32_t *row);

/** Rows that died below `below`, ascending, malloc'ed; the caller frees. */
struct mask_entry *sstable_collect_masks(const struct sstable *sstable, int64_t below,
                                         uint32_t *count);

/** When a row expires: event time and the shorter of the shard's TTL and its own (0: none).
 * INT64_MAX: never. */
static inline int64_t row_expiry_ms(int64_t event_time_ms, int64_t row_ttl_ms, int64_t ttl_ms)
{
    int64_t shorter = row_ttl_ms > 0 && (ttl_ms == 0 || row_ttl_ms < ttl_ms) ? row_ttl_ms : ttl_ms;
    int64_t expiry;

    if (shorter == 0 || __builtin_add_overflow(event_time_ms, shorter, &expiry))
        return INT64_MAX;
    return expiry;
}

/** Whether a row expired at `now_ms`: TTL of the shard (0: none) and its own (0: none). */
static inline bool row_expired(int64_t event_time_ms, int64_t row_ttl_ms, int64_t ttl_ms,
                               int64_t now_ms)
{
    int64_t expiry = row_expiry_ms(event_time_ms, row_ttl_ms, ttl_ms);

    return expiry <= now_ms && expiry != INT64_MAX;
}

#endif
