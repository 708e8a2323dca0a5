/* What is decided about records before they are in a log: of those that expect a version whether they
 * count, and of deletes what they hit.
 *
 * Whoever changes a part of a record read it at some offset and writes the whole of it back. What
 * another producer wrote in between must not be lost, so the record counts only while the version that
 * was read is the living one. Two records of one group may expect the same version: the first one is
 * met.
 *
 * A delete may come with two ids, since the bytes of its key can be read in two ways. It takes the
 * second one when that lives and the first does not.
 *
 * Decided under the append lock, in offset order, and before the frame is built: what is refused is
 * in no log, what was chosen is, and a replay of the log decides nothing again. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "store/operations.h"

/* The living version of an id; offset STORE_EXPECT_NONE without one. */
struct living {
    int64_t offset, event_time_ms, ttl_ms;
};

/* An id that some record of the group asks about. */
struct asked {
    const uint8_t *key;
    uint16_t key_bytes;
    bool known; /* `living` is as of the last record that was decided */
    struct living living;
};

struct decision {
    struct store_shard *shard;
    const struct store_group *group;
    struct asked *asked; /* sorted by key */
    size_t asked_count;
    struct expect_decision *out;
};

static struct living living_version(struct store_shard *shard, const struct asked *id)
{
    const struct living none = {.offset = STORE_EXPECT_NONE};
    const struct version *version = atomic_load(&shard->versions.current);
    uint64_t hash = table_key_hash(id->key, id->key_bytes);

    /* The newest version of a key is found first; when it is dead, all before it are. */
    for (size_t i = 0; i < version->memtable_count; i++) {
        const struct memtable *memtable = version->memtables[i];
        const struct memtable_row *row;
        uint32_t number = memtable_may_contain(memtable, hash)
                              ? memtable_find(memtable, id->key, id->key_bytes)
                              : MEMTABLE_NONE;
        if (number == MEMTABLE_NONE)
            continue;
        row = memtable_row(memtable, number);
        return atomic_load(&row->dead_at) != MEMTABLE_ALIVE
                   ? none
                   : (struct living){row->offset, row->event_time_ms, row->ttl_ms};
    }
    for (size_t i = 0; i < version->entry_count; i++) {
        const struct sstable *sstable = version->entries[i].sstable;
        uint32_t row;
        if (sstable_find_living(sstable, id->key, id->key_bytes, hash, &row))
            return (struct living){sstable->offsets[row], sstable->event_times[row],
                                   sstable_ttl_ms(sstable, row)};
    }
    return none;
}

/* Offset of the id's version that lives for the record, STORE_EXPECT_NONE without one.
 *
 * It lives until the log has passed its expiry, whatever the wall clock says: whoever reads the record
 * later must decide the same. Its file stays until then (store_shard_settle). */
static int64_t living_offset(const struct decision *decision, struct asked *id,
                             const struct store_record *record)
{
    const struct living *living = &id->living;
    int64_t ttl_ms = atomic_load_explicit(&decision->shard->settings.ttl_ms, memory_order_relaxed);

    if (!id->known)
        id->living = living_version(decision->shard, id);
    id->known = true;
    return living->offset == STORE_EXPECT_NONE ||
                   row_expired(living->event_time_ms, living->ttl_ms, ttl_ms, record->log_time_ms)
               ? STORE_EXPECT_NONE
               : living->offset;
}

static int compare_asked(const void *a, const void *b)
{
    const struct asked *left = a, *right = b;

    return bytes_compare(left->key, left->key_bytes, right->key, right->key_bytes);
}

static struct asked *find_asked(const struct decision *decision, const uint8_t *key,
                                uint16_t key_bytes)
{
    const struct asked wanted = {.key = key, .key_bytes = key_bytes};

    return bsearch(&wanted, decision->asked, decision->asked_count, sizeof(wanted), compare_asked);
}

static bool asks(const struct store_group *group, const struct store_record *record)
{
    return record->expects || record->other_key || (record->is_delete && group->deletes);
}

/* The ids that records ask about, each once. */
static int collect_asked(struct decision *decision, const uint32_t *indices, uint32_t count,
                         struct error *error)
{
    const struct store_record *records = decision->group->records;
    size_t found = 0, kept = 0;

    for (uint32_t i = 0; i < count; i++)
        if (asks(decision->group, &records[indices[i]]))
            found += records[indices[i]].other_key ? 2 : 1;
    if (found == 0)
        return 0;
    decision->asked = malloc(found * sizeof(*decision->asked));
    if (!decision->asked)
        return error_set(error, ERROR_MEMORY, "no memory for a group of %u records", count);
    found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct store_record *record = &records[indices[i]];
        if (!asks(decision->group, record))
            continue;
        decision->asked[found++] =
            (struct asked){.key = record->key, .key_bytes = record->key_bytes};
        if (record->other_key)
            decision->asked[found++] =
                (struct asked){.key = record->other_key, .key_bytes = record->other_key_bytes};
    }
    qsort(decision->asked, found, sizeof(*decision->asked), compare_asked);
    for (size_t i = 0; i < found; i++)
        if (i == 0 || compare_asked(&decision->asked[kept - 1], &decision->asked[i]) != 0)
            decision->asked[kept++] = decision->asked[i];
    decision->asked_count = kept;
    return 0;
}

static int refuse(struct decision *decision, uint32_t count, const struct store_record *record,
                  struct error *error)
{
    struct expect_decision *out = decision->out;

    if (!out->refused)
        out->refused = malloc(count * sizeof(*out->refused));
    if (!out->refused)
        return error_set(error, ERROR_MEMORY, "no memory for a group of %u records", count);
    out->refused[out->refused_count++] = (struct store_refusal){
        record->offset, record->expected_offset == STORE_EXPECT_NONE ? "exists" : "superseded"};
    if (decision->group->unmet) {
        decision->group->unmet->records++;
        decision->group->unmet->deletes += record->is_delete;
    }
    return 0;
}

/* The record goes to the id that its key was read as second. The group stays as it is: it may be
 * tried again. */
static int take_other(struct decision *decision, uint32_t number, struct error *error)
{
    const struct store_group *group = decision->group;
    struct store_record **records = &decision->out->records;

    if (!*records) {
        *records = malloc(group->record_count * sizeof(**records));
        if (!*records)
            return error_set(error, ERROR_MEMORY, "no memory for a group of %zu records",
                             group->record_count);
        memcpy(*records, group->records, group->record_count * sizeof(**records));
    }
    (*records)[number].key = group->records[number].other_key;
    (*records)[number].key_bytes = group->records[number].other_key_bytes;
    return 0;
}

static void count_delete(const struct store_group *group, const struct store_record *record,
                         enum store_delete_outcome outcome)
{
    struct store_deletes *deletes = group->deletes;

    if (!deletes)
        return;
    deletes->counts[outcome]++;
    if (record->is_foreign && outcome == STORE_DELETE_NO_SUCH_ID)
        deletes->no_such_id = record;
    if (record->is_foreign && outcome == STORE_DELETE_AMBIGUOUS)
        deletes->ambiguous = record;
}

/* Which id a delete hits, and what that is counted as. */
static int decide_delete(struct decision *decision, uint32_t number, struct asked **id,
                         enum store_delete_outcome *outcome, struct error *error)
{
    const struct store_record *record = &decision->group->records[number];
    bool first = living_offset(decision, *id, record) != STORE_EXPECT_NONE;
    struct asked *other =
        record->other_key ? find_asked(decision, record->other_key, record->other_key_bytes) : NULL;
    bool second = other && living_offset(decision, other, record) != STORE_EXPECT_NONE;

    *outcome = first && second ? STORE_DELETE_AMBIGUOUS
               : first         ? STORE_DELETE_DONE
               : second        ? STORE_DELETE_OTHER_READING
                               : STORE_DELETE_NO_SUCH_ID;
    if (*outcome != STORE_DELETE_OTHER_READING)
        return 0;
    *id = other;
    return take_other(decision, number, error);
}

/* One record, in order; *refused when it does not count. */
static int decide(struct decision *decision, uint32_t number, uint32_t count, bool *refused,
                  struct error *error)
{
    const struct store_group *group = decision->group;
    const struct store_record *record = &group->records[number];
    struct asked *id = find_asked(decision, record->key, record->key_bytes);
    enum store_delete_outcome outcome = STORE_DELETE_DONE;
    int code = 0;

    *refused = false;
    if (!id)
        return 0;
    if (record->is_delete && asks(group, record))
        code = decide_delete(decision, number, &id, &outcome, error);
    if (code == 0 && record->expects &&
        record->expected_offset != living_offset(decision, id, record)) {
        *refused = true;
        outcome = STORE_DELETE_UNMET;
        code = refuse(decision, count, record, error);
    }
    if (code == 0 && record->is_delete)
        count_delete(group, record, outcome);
    if (code != 0 || *refused)
        return code;
    id->known = true;
    id->living = (struct living){record->is_delete ? STORE_EXPECT_NONE : record->offset,
                                 record->event_time_ms, record->ttl_ms};
    return 0;
}

int expect_check(struct store_shard *shard, const struct store_group *group, uint32_t *indices,
                 uint32_t *count, struct expect_decision *out, struct error *error)
{
    struct decision decision = {.shard = shard, .group = group, .out = out};
    const uint32_t given = *count;
    uint32_t kept = 0;
    int code;

    *out = (struct expect_decision){0};
    if (group->unmet)
        *group->unmet = (struct store_unmet){0};
    if (group->deletes)
        *group->deletes = (struct store_deletes){0};
    code = collect_asked(&decision, indices, given, error);
    if (code != 0 || decision.asked_count == 0)
        return code;
    for (uint32_t i = 0; i < given && code == 0; i++) {
        bool refused;
        code = decide(&decision, indices[i], given, &refused, error);
        if (!refused)
            indices[kept++] = indices[i];
    }
    free(decision.asked);
    *count = kept;
    return code;
}
