/* Records that expect a version: whoever changes a part of a record read it at some offset and writes
 * the whole of it back. What another producer wrote in between must not be lost, so the record counts
 * only while the version that was read is the living one.
 *
 * Decided under the append lock, in offset order, and before the frame is built: what is refused is
 * in no log, and a replay of the log decides nothing again. Two records of one group may expect the
 * same version: the first one is met. */
#include <stdlib.h>
#include <string.h>

#include "store/operations.h"

/* Offset of the id's living version, STORE_EXPECT_NONE without one. */
static int64_t living_offset(struct store_shard *shard, const struct store_record *record,
                             int64_t now_ms)
{
    const struct version *version = atomic_load(&shard->versions.current);
    uint64_t hash = table_key_hash(record->key, record->key_bytes);
    int64_t ttl_ms = atomic_load_explicit(&shard->settings.ttl_ms, memory_order_relaxed);

    /* The newest version of a key is found first; when it is dead, all before it are. */
    for (size_t i = 0; i < version->memtable_count; i++) {
        const struct memtable *memtable = version->memtables[i];
        const struct memtable_row *row;
        uint32_t number = memtable_may_contain(memtable, hash)
                              ? memtable_find(memtable, record->key, record->key_bytes)
                              : MEMTABLE_NONE;
        if (number == MEMTABLE_NONE)
            continue;
        row = memtable_row(memtable, number);
        return atomic_load(&row->dead_at) != MEMTABLE_ALIVE ||
                       row_expired(row->event_time_ms, row->ttl_ms, ttl_ms, now_ms)
                   ? STORE_EXPECT_NONE
                   : row->offset;
    }
    for (size_t i = 0; i < version->entry_count; i++) {
        const struct sstable *sstable = version->entries[i].sstable;
        uint32_t row;
        if (sstable_find_living(sstable, record->key, record->key_bytes, hash, &row))
            return row_expired(sstable->event_times[row], sstable->ttls ? sstable->ttls[row] : 0,
                               ttl_ms, now_ms)
                       ? STORE_EXPECT_NONE
                       : sstable->offsets[row];
    }
    return STORE_EXPECT_NONE;
}

static void refuse(const struct store_group *group, uint32_t *index, struct expect_refused *refused)
{
    const struct store_record *record = &group->records[*index];

    refused->list[refused->count++] = (struct store_refusal){
        record->offset, record->expected_offset == STORE_EXPECT_NONE ? "exists" : "superseded"};
    if (group->unmet) {
        group->unmet->records++;
        group->unmet->deletes += record->is_delete;
    }
    *index = UINT32_MAX;
}

/* The records of one id, in order; those that are refused become UINT32_MAX. */
static void check_id(struct store_shard *shard, const struct store_group *group, uint32_t *indices,
                     uint32_t count, struct expect_refused *refused)
{
    int64_t living = 0;
    bool known = false;

    for (uint32_t i = 0; i < count; i++) {
        const struct store_record *record = &group->records[indices[i]];
        if (record->expects && !known)
            living = living_offset(shard, record, group->clock.safe_wall_ms);
        known |= record->expects;
        if (record->expects && record->expected_offset != living) {
            refuse(group, &indices[i], refused);
            continue;
        }
        living = record->is_delete ? STORE_EXPECT_NONE : record->offset;
        known = true;
    }
}

static bool any_expects(const struct store_group *group, const uint32_t *indices, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (group->records[indices[i]].expects)
            return true;
    return false;
}

int expect_check(struct store_shard *shard, const struct store_group *group, uint32_t *indices,
                 uint32_t *count, struct expect_refused *refused, struct error *error)
{
    const struct store_record *records = group->records;
    uint32_t kept = 0;

    *refused = (struct expect_refused){0};
    if (group->unmet)
        *group->unmet = (struct store_unmet){0};
    if (!any_expects(group, indices, *count))
        return 0;
    refused->list = malloc(*count * sizeof(*refused->list));
    if (!refused->list)
        return error_set(error, ERROR_MEMORY, "no memory for a group of %u records", *count);
    append_sort_by_key(records, indices, *count);
    for (uint32_t from = 0, to; from < *count; from = to) {
        for (to = from + 1; to < *count; to++)
            if (!append_same_key(&records[indices[from]], &records[indices[to]]))
                break;
        check_id(shard, group, indices + from, to - from, refused);
    }
    for (uint32_t i = 0; i < *count; i++)
        if (indices[i] != UINT32_MAX)
            indices[kept++] = indices[i];
    *count = kept;
    append_sort_by_number(indices, kept);
    return 0;
}
