/* An sstable and its masks.
 *
 * A row dies when a newer version or a delete of its id is appended. Its mask is the offset of that
 * record. A snapshot with visible offset S sees the row when dead_at >= S, so that searches before
 * and after the record both get one version, without any lock.
 *
 * Why the orders are what they are. The killer (append lock held) stores dead_at with release, and
 * only then moves the visible offset. A reader that acquires a visible offset S has all dead_at
 * below S. A page is filled with SSTABLE_ALIVE before its pointer is released, so that no reader
 * sees a page half made. Pages are never freed before the sstable: readers keep no reference to
 * them.
 *
 * Memory: 4 KiB for each 512 rows of which one died; nothing for the others. */
#include "store/sstable.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/skiplist.h"

/* What the last flush persisted. Rows that died later are killed again by the replay of the log. */
static int load_masks(struct sstable *sstable, uint64_t mask_number, struct error *error)
{
    struct mask_entry *entries = NULL;
    uint32_t count = 0;
    int code =
        mask_read(sstable->home->io, sstable->home->directory, mask_number,
                  sstable->description.file_number, sstable->row_count, &entries, &count, error);

    if (code != 0)
        return code;
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].row >= sstable->row_count ||
            sstable_dead_at(sstable, entries[i].row) != SSTABLE_ALIVE) {
            free(entries);
            return error_set(error, ERROR_CORRUPT, "mask %llu lists a row twice or past the end",
                             (unsigned long long)mask_number);
        }
        sstable_kill(sstable, entries[i].row, entries[i].dead_at_offset);
    }
    free(entries);
    sstable->persisted_rows = count;
    sstable->masked_last = count;
    return 0;
}

/* The file of filter columns is no part of the manifest: without it, it is made again. */
static void find_columns(struct sstable *sstable)
{
    char path[PATH_MAX];
    uint64_t size_bytes = 0;
    int file;

    if (sstable->description.kind == TABLE_CHUNK)
        return;
    table_path(sstable->home->directory, sstable->description.file_number, "columns", path,
               sizeof(path));
    if (io_open(sstable->home->io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return;
    if (io_size(sstable->home->io, file, path, &size_bytes, ERROR_IGNORED) == 0)
        atomic_init(&sstable->columns_bytes, size_bytes);
    (void)io_close(sstable->home->io, file, path, ERROR_IGNORED); /* nothing was written */
}

int sstable_open(const struct sstable_home *home, const struct manifest_table *from,
                 struct log_file *log, struct sstable **out, struct error *error)
{
    struct sstable *sstable = calloc(1, sizeof(*sstable));
    int code;

    if (!sstable)
        return error_set(error, ERROR_MEMORY, "no memory to open a table");
    atomic_init(&sstable->refs, 1);
    atomic_init(&sstable->min_own_expiry_ms, INT64_MIN);
    sstable->garbage.kind = GARBAGE_SSTABLE;
    sstable->home = home;
    sstable->description = from->description;
    sstable->description.dim = home->dim;
    sstable->info = from->info;
    sstable->sealed = from->sealed;
    atomic_init(&sstable->level, from->level);
    if (pthread_mutex_init(&sstable->expiry_lock, NULL) != 0)
        abort();
    code = table_open(home->io, home->directory, &sstable->description, &sstable->info,
                      &sstable->table, error);
    if (code != 0) {
        sstable_delete(sstable);
        return code;
    }
    table_count_decoded(sstable->table, home->decoded_bytes);
    find_columns(sstable);
    sstable->row_count = table_row_count(sstable->table);
    sstable->event_times = table_event_times(sstable->table);
    sstable->offsets = table_offsets(sstable->table);
    sstable->ttls = table_ttls(sstable->table);
    if (sstable->row_count > 0) {
        sstable->first_key =
            table_key(sstable->table, table_row_at(sstable->table, 0), &sstable->first_key_bytes);
        sstable->last_key =
            table_key(sstable->table, table_row_at(sstable->table, sstable->row_count - 1),
                      &sstable->last_key_bytes);
    }
    sstable->page_count = (sstable->row_count + SSTABLE_PAGE_ROWS - 1) / SSTABLE_PAGE_ROWS;
    sstable->pages = calloc(sstable->page_count ? sstable->page_count : 1, sizeof(*sstable->pages));
    if (!sstable->pages) {
        code = error_set(error, ERROR_MEMORY, "no memory for the masks of %u rows",
                         sstable->row_count);
        sstable->page_count = 0;
        sstable_delete(sstable);
        return code;
    }
    if (from->mask_number != 0) {
        sstable->mask_number = from->mask_number;
        atomic_store_explicit(&sstable->mask_bytes, from->mask_bytes, memory_order_relaxed);
        code = load_masks(sstable, from->mask_number, error);
        if (code != 0) {
            sstable_delete(sstable);
            return code;
        }
    }
    if (log) {
        log_file_ref(log);
        sstable->log = log;
    }
    *out = sstable;
    return 0;
}

void sstable_ref(struct sstable *sstable)
{
    uint32_t before = atomic_fetch_add_explicit(&sstable->refs, 1, memory_order_relaxed);

    assert(before > 0);
    (void)before;
}

void sstable_unref(struct sstable *sstable)
{
    if (sstable && atomic_fetch_sub_explicit(&sstable->refs, 1, memory_order_acq_rel) == 1)
        garbage_add(sstable->home->garbage, &sstable->garbage);
}

void sstable_delete(struct sstable *sstable)
{
    if (!sstable)
        return;
    if (sstable->table)
        table_close(sstable->table);
    for (uint32_t i = 0; i < sstable->page_count; i++)
        free(atomic_load_explicit(&sstable->pages[i], memory_order_relaxed));
    free(sstable->pages);
    log_file_unref(sstable->log);
    pthread_mutex_destroy(&sstable->expiry_lock);
    free(sstable);
}

/* Over the rows that are left. */
static void find_max_expiry(struct sstable *sstable, int64_t dead_below, int64_t ttl_ms)
{
    sstable->max_expiry_ms = INT64_MIN;
    sstable->expiry_pending = false;
    for (uint32_t row = 0; row < sstable->row_count; row++) {
        int64_t dead_at = sstable_dead_at(sstable, row);
        int64_t expiry_ms;
        sstable->expiry_pending |= dead_at != SSTABLE_ALIVE && dead_at >= dead_below;
        if (dead_at < dead_below)
            continue;
        expiry_ms = row_expiry_ms(sstable->event_times[row], sstable_ttl_ms(sstable, row), ttl_ms);
        sstable->max_expiry_ms =
            expiry_ms > sstable->max_expiry_ms ? expiry_ms : sstable->max_expiry_ms;
    }
}

/* Without rows that are dead or have a TTL of their own the newest row says it. Else all rows are
 * looked at, again only when the TTL changes, when rows seen dead may be so for good now, or when a
 * sixteenth more of them has died. */
int64_t sstable_max_expiry_ms(struct sstable *sstable, int64_t dead_below)
{
    int64_t ttl_ms = atomic_load_explicit(sstable->home->ttl_ms, memory_order_relaxed);
    uint32_t masked = atomic_load_explicit(&sstable->masked_rows, memory_order_acquire);
    int64_t max_ms;

    if (masked == 0 && !sstable->ttls)
        return row_expiry_ms(sstable->info.max_event_ms, 0, ttl_ms);
    pthread_mutex_lock(&sstable->expiry_lock);
    if (!sstable->expiry_known || sstable->expiry_ttl_ms != ttl_ms ||
        (sstable->expiry_pending && sstable->expiry_dead_below != dead_below) ||
        masked - sstable->expiry_masked_rows > sstable->row_count / 16 ||
        (masked == sstable->row_count && sstable->expiry_masked_rows != masked)) {
        find_max_expiry(sstable, dead_below, ttl_ms);
        sstable->expiry_ttl_ms = ttl_ms;
        sstable->expiry_dead_below = dead_below;
        sstable->expiry_masked_rows = masked;
        sstable->expiry_known = true;
    }
    max_ms = sstable->max_expiry_ms;
    pthread_mutex_unlock(&sstable->expiry_lock);
    return max_ms;
}

/* Rows and their TTLs do not change: whoever comes first finds what everybody else would. */
int64_t sstable_min_own_expiry_ms(struct sstable *sstable)
{
    int64_t min_ms = atomic_load_explicit(&sstable->min_own_expiry_ms, memory_order_relaxed);

    if (min_ms != INT64_MIN)
        return min_ms;
    min_ms = INT64_MAX;
    for (uint32_t row = 0; sstable->ttls && row < sstable->row_count; row++) {
        int64_t expiry_ms =
            row_expiry_ms(sstable->event_times[row], sstable_ttl_ms(sstable, row), 0);
        min_ms = expiry_ms < min_ms ? expiry_ms : min_ms;
    }
    /* An event time may be as low as that number; one more is as good. */
    min_ms = min_ms > INT64_MIN ? min_ms : INT64_MIN + 1;
    atomic_store_explicit(&sstable->min_own_expiry_ms, min_ms, memory_order_relaxed);
    return min_ms;
}

static struct sstable_page *page_new(void)
{
    struct sstable_page *page = memory_checked(malloc(sizeof(*page)));
    for (uint32_t i = 0; i < SSTABLE_PAGE_ROWS; i++)
        atomic_init(&page->dead_at[i], SSTABLE_ALIVE);
    return page;
}

void sstable_kill(struct sstable *sstable, uint32_t row, int64_t offset)
{
    _Atomic(struct sstable_page *) *slot = &sstable->pages[row / SSTABLE_PAGE_ROWS];
    struct sstable_page *page = atomic_load_explicit(slot, memory_order_relaxed);

    assert(row < sstable->row_count);
    assert(sstable_dead_at(sstable, row) == SSTABLE_ALIVE);
    if (!page) {
        page = page_new();
        atomic_store_explicit(slot, page, memory_order_release);
    }
    atomic_store_explicit(&page->dead_at[row % SSTABLE_PAGE_ROWS], offset, memory_order_release);
    atomic_fetch_add_explicit(&sstable->masked_rows, 1, memory_order_release);
}

bool sstable_find_living(const struct sstable *sstable, const uint8_t *key, size_t key_bytes,
                         uint64_t key_hash, uint32_t *row)
{
    return table_may_contain(sstable->table, key_hash) &&
           table_find(sstable->table, key, key_bytes, key_hash, row) &&
           sstable_dead_at(sstable, *row) == SSTABLE_ALIVE;
}

/* In the order of rows, as the mask file wants them. Rows go on dying while it looks: `below` is
 * the flushed offset, and nothing dies below that any more. */
struct mask_entry *sstable_collect_masks(const struct sstable *sstable, int64_t below,
                                         uint32_t *count)
{
    uint32_t capacity = atomic_load_explicit(&sstable->masked_rows, memory_order_acquire);
    struct mask_entry *entries = memory_new(capacity ? capacity : 1, sizeof(*entries));

    *count = 0;
    for (uint32_t i = 0; i < sstable->page_count; i++) {
        const struct sstable_page *page =
            atomic_load_explicit(&sstable->pages[i], memory_order_acquire);
        if (!page)
            continue;
        for (uint32_t j = 0; j < SSTABLE_PAGE_ROWS; j++) {
            int64_t dead_at = atomic_load_explicit(&page->dead_at[j], memory_order_acquire);
            /* Rows that die meanwhile die at `below` or later: they are not in the count. */
            if (dead_at >= below)
                continue;
            assert(*count < capacity);
            entries[(*count)++] =
                (struct mask_entry){.row = i * SSTABLE_PAGE_ROWS + j, .dead_at_offset = dead_at};
        }
    }
    return entries;
}
