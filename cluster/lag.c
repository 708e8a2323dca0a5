#include "cluster/lag.h"

#include <string.h>

#include "base/memory.h"
#include "cluster/claims.h"

enum { END_FIELD = 5, HEADS_MIN = 64 };

/* How far a shard goes. */
struct head {
    const struct doc *collection, *shard; /* names */
    int64_t next_offset, watermark_ms;
};

struct lags {
    struct arena *arena;
    struct head *heads;
    size_t count, room;
};

struct lags *lags_new(struct arena *arena)
{
    struct lags *lags = memory_checked(arena_calloc(arena, 1, sizeof(*lags)));

    lags->arena = arena;
    return lags;
}

static struct head *find(const struct lags *lags, const struct doc *collection,
                         const struct doc *shard)
{
    for (size_t i = 0; i < lags->count; i++)
        if (doc_equal(lags->heads[i].shard, shard) &&
            doc_equal(lags->heads[i].collection, collection))
            return &lags->heads[i];
    return NULL;
}

static struct head *add(struct lags *lags, const struct doc *collection, const struct doc *shard)
{
    struct head *heads;

    if (lags->count == lags->room) {
        lags->room = lags->room > 0 ? 2 * lags->room : HEADS_MIN;
        heads = memory_checked(arena_calloc(lags->arena, lags->room, sizeof(*heads)));
        if (lags->count > 0)
            memcpy(heads, lags->heads, lags->count * sizeof(*heads));
        lags->heads = heads;
    }
    lags->heads[lags->count] = (struct head){collection, shard, 0, INT64_MIN};
    return &lags->heads[lags->count++];
}

static void note(struct lags *lags, const struct doc *collection, const struct doc *shard,
                 int64_t next_offset, int64_t watermark_ms)
{
    struct head *head = find(lags, collection, shard);

    if (!head)
        head = add(lags, collection, shard);
    if (next_offset > head->next_offset)
        head->next_offset = next_offset;
    if (watermark_ms > head->watermark_ms)
        head->watermark_ms = watermark_ms;
}

/* Nodes of versions before do not say. */
static int64_t end_of(const struct doc *shard)
{
    return shard->count > END_FIELD && shard->items[END_FIELD].type == DOC_INT
               ? shard->items[END_FIELD].integer
               : -1;
}

void lags_note(struct lags *lags, const struct doc *collections)
{
    for (uint32_t i = 0; i < collections->count; i++) {
        const struct doc *name = doc_get(&collections->items[i], "name");
        const struct doc *shards = doc_get(&collections->items[i], "shards");
        const struct doc *claims = doc_get(&collections->items[i], "claims");
        for (uint32_t k = 0; k < shards->count; k++) {
            const struct doc *fields = shards->items[k].items;
            note(lags, name, &fields[0], fields[1].integer, fields[2].integer);
            note(lags, name, &fields[0], end_of(&shards->items[k]), INT64_MIN);
        }
        for (uint32_t k = 0; claims && k < claims->count; k++)
            note(lags, name, &claims->items[k].items[0], claims_end(&claims->items[k]), INT64_MIN);
    }
}

void lags_describe(const struct lags *lags, const struct doc *collection, const struct doc *shard,
                   int64_t next_offset, int64_t watermark_ms, struct doc *entry)
{
    const struct head *head = find(lags, collection, shard);
    int64_t from = next_offset > 0 ? next_offset : 0, behind_ms = 0;
    bool timed = head && head->watermark_ms != INT64_MIN && watermark_ms != INT64_MIN &&
                 !__builtin_sub_overflow(head->watermark_ms, watermark_ms, &behind_ms);

    doc_put(entry, "behind_records",
            doc_integer(head && head->next_offset > from ? head->next_offset - from : 0));
    doc_put(entry, "behind_seconds", timed ? doc_number((double)behind_ms / 1e3) : doc_null());
}
