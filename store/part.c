#include "store/part.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/shard.h"
#include "store/skiplist.h"

static int load_masks(struct part *part, uint64_t mask_number, struct error *error)
{
    struct mask_entry *entries = NULL;
    uint32_t count = 0;
    int code = mask_read(part->shard->io, part->shard->directory, mask_number,
                         part->description.file_number, part->row_count, &entries, &count, error);

    if (code != 0)
        return code;
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].row >= part->row_count || part_dead_at(part, entries[i].row) != PART_ALIVE) {
            free(entries);
            return error_set(error, ERROR_CORRUPT, "mask %llu names a row twice or beyond the end",
                             (unsigned long long)mask_number);
        }
        part_kill(part, entries[i].row, entries[i].dead_at_offset);
    }
    free(entries);
    part->persisted_rows = count;
    part->masked_last = count;
    return 0;
}

int part_open(struct store_shard *shard, const struct manifest_table *from, struct log_file *log,
              struct part **out, struct error *error)
{
    struct part *part = calloc(1, sizeof(*part));
    int code;

    if (!part)
        return error_set(error, ERROR_MEMORY, "no memory to open a table");
    atomic_init(&part->refs, 1);
    part->shard = shard;
    part->description = from->description;
    part->description.dim = shard->dim;
    part->info = from->info;
    part->sealed = from->sealed;
    atomic_init(&part->level, from->level);
    if (pthread_mutex_init(&part->expiry_lock, NULL) != 0)
        abort();
    code = table_open(shard->io, shard->directory, &part->description, &part->info, &part->table,
                      error);
    if (code != 0) {
        part_delete(part);
        return code;
    }
    table_count_decoded(part->table, &shard->store->decoded_bytes);
    part->row_count = table_row_count(part->table);
    part->event_times = table_event_times(part->table);
    part->offsets = table_offsets(part->table);
    part->ttls = table_ttls(part->table);
    if (part->row_count > 0) {
        part->first_key =
            table_key(part->table, table_row_at(part->table, 0), &part->first_key_bytes);
        part->last_key = table_key(part->table, table_row_at(part->table, part->row_count - 1),
                                   &part->last_key_bytes);
    }
    part->page_count = (part->row_count + PART_PAGE_ROWS - 1) / PART_PAGE_ROWS;
    part->pages = calloc(part->page_count ? part->page_count : 1, sizeof(*part->pages));
    if (!part->pages) {
        code =
            error_set(error, ERROR_MEMORY, "no memory for the masks of %u rows", part->row_count);
        part->page_count = 0;
        part_delete(part);
        return code;
    }
    if (from->mask_number != 0) {
        part->mask_number = from->mask_number;
        atomic_store_explicit(&part->mask_bytes, from->mask_bytes, memory_order_relaxed);
        code = load_masks(part, from->mask_number, error);
        if (code != 0) {
            part_delete(part);
            return code;
        }
    }
    if (log) {
        log_file_ref(log);
        part->log = log;
    }
    *out = part;
    return 0;
}

void part_ref(struct part *part)
{
    uint32_t before = atomic_fetch_add_explicit(&part->refs, 1, memory_order_relaxed);

    assert(before > 0);
    (void)before;
}

void part_unref(struct part *part)
{
    if (part && atomic_fetch_sub_explicit(&part->refs, 1, memory_order_acq_rel) == 1)
        garbage_add_part(part->shard, part);
}

void part_delete(struct part *part)
{
    if (!part)
        return;
    if (part->table)
        table_close(part->table);
    for (uint32_t i = 0; i < part->page_count; i++)
        free(atomic_load_explicit(&part->pages[i], memory_order_relaxed));
    free(part->pages);
    log_file_unref(part->log);
    pthread_mutex_destroy(&part->expiry_lock);
    free(part);
}

/* Over the rows that are left. */
static void find_max_expiry(struct part *part, int64_t dead_below, int64_t ttl_ms)
{
    part->max_expiry_ms = INT64_MIN;
    part->expiry_pending = false;
    for (uint32_t row = 0; row < part->row_count; row++) {
        int64_t dead_at = part_dead_at(part, row);
        int64_t expiry_ms;
        part->expiry_pending |= dead_at != PART_ALIVE && dead_at >= dead_below;
        if (dead_at < dead_below)
            continue;
        expiry_ms =
            shard_row_expiry_ms(part->event_times[row], part->ttls ? part->ttls[row] : 0, ttl_ms);
        part->max_expiry_ms = expiry_ms > part->max_expiry_ms ? expiry_ms : part->max_expiry_ms;
    }
}

/* Without rows that are dead or have a TTL of their own the newest row says it. Else all rows are
 * looked at, again only when the TTL changes, when rows seen dead may be so for good now, or when a
 * sixteenth more of them has died. */
int64_t part_max_expiry_ms(struct part *part, int64_t dead_below)
{
    int64_t ttl_ms = atomic_load_explicit(&part->shard->ttl_ms, memory_order_relaxed);
    uint32_t masked = atomic_load_explicit(&part->masked_rows, memory_order_acquire);
    int64_t max_ms;

    if (masked == 0 && !part->ttls)
        return shard_row_expiry_ms(part->info.max_event_ms, 0, ttl_ms);
    pthread_mutex_lock(&part->expiry_lock);
    if (!part->expiry_known || part->expiry_ttl_ms != ttl_ms ||
        (part->expiry_pending && part->expiry_dead_below != dead_below) ||
        masked - part->expiry_masked_rows > part->row_count / 16 ||
        (masked == part->row_count && part->expiry_masked_rows != masked)) {
        find_max_expiry(part, dead_below, ttl_ms);
        part->expiry_ttl_ms = ttl_ms;
        part->expiry_dead_below = dead_below;
        part->expiry_masked_rows = masked;
        part->expiry_known = true;
    }
    max_ms = part->max_expiry_ms;
    pthread_mutex_unlock(&part->expiry_lock);
    return max_ms;
}

static struct part_page *page_new(void)
{
    struct part_page *page = malloc(sizeof(*page));

    if (!page)
        abort();
    for (uint32_t i = 0; i < PART_PAGE_ROWS; i++)
        atomic_init(&page->dead_at[i], PART_ALIVE);
    return page;
}

void part_kill(struct part *part, uint32_t row, int64_t offset)
{
    _Atomic(struct part_page *) *slot = &part->pages[row / PART_PAGE_ROWS];
    struct part_page *page = atomic_load_explicit(slot, memory_order_relaxed);

    assert(row < part->row_count);
    assert(part_dead_at(part, row) == PART_ALIVE);
    if (!page) {
        page = page_new();
        atomic_store_explicit(slot, page, memory_order_release);
    }
    atomic_store_explicit(&page->dead_at[row % PART_PAGE_ROWS], offset, memory_order_release);
    atomic_fetch_add_explicit(&part->masked_rows, 1, memory_order_release);
}

bool part_spans(const struct part *part, const uint8_t *key, size_t key_bytes)
{
    return part->row_count > 0 &&
           skiplist_compare(key, key_bytes, part->first_key, part->first_key_bytes) >= 0 &&
           skiplist_compare(key, key_bytes, part->last_key, part->last_key_bytes) <= 0;
}

bool part_find_living(const struct part *part, const uint8_t *key, size_t key_bytes,
                      uint64_t key_hash, uint32_t *row)
{
    return table_may_contain(part->table, key_hash) &&
           table_find(part->table, key, key_bytes, key_hash, row) &&
           part_dead_at(part, *row) == PART_ALIVE;
}

struct mask_entry *part_collect_masks(const struct part *part, int64_t below, uint32_t *count)
{
    uint32_t capacity = atomic_load_explicit(&part->masked_rows, memory_order_acquire);
    struct mask_entry *entries = calloc(capacity ? capacity : 1, sizeof(*entries));

    if (!entries)
        abort();
    *count = 0;
    for (uint32_t i = 0; i < part->page_count; i++) {
        const struct part_page *page = atomic_load_explicit(&part->pages[i], memory_order_acquire);
        if (!page)
            continue;
        for (uint32_t j = 0; j < PART_PAGE_ROWS; j++) {
            int64_t dead_at = atomic_load_explicit(&page->dead_at[j], memory_order_acquire);
            /* Rows that die meanwhile die at `below` or later: they are not in the count. */
            if (dead_at >= below)
                continue;
            assert(*count < capacity);
            entries[(*count)++] =
                (struct mask_entry){.row = i * PART_PAGE_ROWS + j, .dead_at_offset = dead_at};
        }
    }
    return entries;
}

int part_persist_masks(struct part *part, int64_t below, struct manifest_edit *edit,
                       struct part_mask_update *update, struct error *error)
{
    struct store_shard *shard = part->shard;
    struct mask_entry *entries;
    uint32_t seen = atomic_load_explicit(&part->masked_rows, memory_order_acquire);
    int code = 0;

    *update = (struct part_mask_update){.part = part, .masked_seen = seen};
    if (seen == part->masked_last)
        return 0;
    entries = part_collect_masks(part, below, &update->rows);
    if (update->rows > part->persisted_rows) {
        code = shard_pending_reserve(shard, &update->number, error);
        if (code == 0)
            code = mask_write(shard->io, shard->directory, update->number,
                              part->description.file_number, entries, update->rows, &update->bytes,
                              error);
        if (code == 0)
            manifest_edit_mask(edit, part->description.file_number, update->number, update->bytes);
    }
    free(entries);
    return code;
}

void part_masks_written(const struct part_mask_update *update)
{
    struct part *part = update->part;
    struct store_shard *shard = part->shard;
    char path[LOG_PATH_BYTES];

    /* All that is marked is persisted: nothing to collect until more rows die. */
    if (update->rows == update->masked_seen)
        part->masked_last = update->masked_seen;
    if (update->number == 0)
        return;
    if (part->mask_number != 0) {
        table_path(shard->directory, part->mask_number, "mask", path, sizeof(path));
        if (io_unlink(shard->io, path, NULL) == 0) /* else dropped: removed at the next opening */
            manifest_forget(shard->manifest, part->mask_number);
    }
    part->mask_number = update->number;
    part->persisted_rows = update->rows;
    atomic_store_explicit(&part->mask_bytes, update->bytes, memory_order_relaxed);
    shard_pending_done(shard, update->number);
    metric_add(shard->metrics.bytes_mask, (double)update->bytes);
}

void part_masks_abandoned(const struct part_mask_update *update, bool remove)
{
    struct store_shard *shard = update->part->shard;
    char path[LOG_PATH_BYTES];

    if (update->number == 0)
        return;
    table_path(shard->directory, update->number, "mask", path, sizeof(path));
    if (remove)
        (void)io_unlink(shard->io, path, NULL); /* else an orphan, removed at the next opening */
    shard_pending_done(shard, update->number);
}
