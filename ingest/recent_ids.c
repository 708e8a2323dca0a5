#include "ingest/recent_ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/memory.h"
#include "store/files/record.h"

enum { CAPACITY_MIN = 1024 };

/* The id's slot, or the free one for it; the table has room. */
static struct recent_id *slot_of(const struct recent_ids_table *table, uint64_t hash)
{
    size_t at = hash & (table->capacity - 1);

    while (table->slots[at].used && table->slots[at].hash != hash)
        at = (at + 1) & (table->capacity - 1);
    return &table->slots[at];
}

static void grow(struct recent_ids_table *table)
{
    struct recent_ids_table larger = *table;

    larger.capacity = table->capacity ? 2 * table->capacity : CAPACITY_MIN;
    larger.slots = memory_new(larger.capacity, sizeof(*larger.slots));
    for (size_t i = 0; i < table->capacity; i++)
        if (table->slots[i].used)
            *slot_of(&larger, table->slots[i].hash) = table->slots[i];
    free(table->slots);
    *table = larger;
}

static const struct recent_id *find(const struct recent_ids *ids, uint64_t hash)
{
    for (size_t i = 0; i < 2; i++) {
        const struct recent_id *slot =
            ids->tables[i].count > 0 ? slot_of(&ids->tables[i], hash) : NULL;
        if (slot && slot->used)
            return slot;
    }
    return NULL;
}

static bool is_met(const struct recent_ids *ids, const struct store_record *record, uint64_t hash)
{
    const struct recent_id *last;

    if (!record->expects)
        return true;
    if (record->expected_offset == STORE_EXPECT_NEVER)
        return false;
    last = find(ids, hash);
    if (!last)
        return true;
    if (record->expected_offset == STORE_EXPECT_NONE)
        return last->is_delete;
    return !last->is_delete && last->offset <= record->expected_offset;
}

static void remember(struct recent_ids *ids, const struct store_record *record, uint64_t hash)
{
    struct recent_ids_table *young = &ids->tables[0];
    struct recent_id *slot;

    if (young->count > 0 && record->offset - young->from_offset > ids->distance) {
        struct recent_ids_table old = ids->tables[1];
        ids->tables[1] = *young;
        if (old.capacity > 0)
            memset(old.slots, 0, old.capacity * sizeof(*old.slots));
        old.count = 0;
        *young = old;
    }
    if (young->count == 0)
        young->from_offset = record->offset;
    if (4 * (young->count + 1) > 3 * young->capacity)
        grow(young);
    slot = slot_of(young, hash);
    young->count += !slot->used;
    *slot = (struct recent_id){hash, record->offset, true, record->is_delete};
}

bool recent_ids_take(struct recent_ids *ids, const struct store_record *record)
{
    uint64_t hash = XXH3_64bits(record->key, record->key_bytes);
    bool met = is_met(ids, record, hash);

    if (met)
        remember(ids, record, hash);
    return met;
}

bool recent_ids_lives(const struct recent_ids *ids, const struct store_record *record)
{
    const struct recent_id *last = find(ids, XXH3_64bits(record->key, record->key_bytes));

    return last && !last->is_delete;
}

void recent_ids_destroy(struct recent_ids *ids)
{
    free(ids->tables[0].slots);
    free(ids->tables[1].slots);
}
