/* What became of records that were written: their offsets are searchable, but a record may have been
 * left out there (expired, late, a dead letter). The shard's owner knows, here or at a peer. */
#include <string.h>

#include "base/memory.h"
#include "indexer/query/gather.h"
#include "store/append.h"

enum { OP_KEYS = 2, WRITTEN_MAX = 1 << 20 };

struct waiting {
    struct query_view *view;
    struct query_written *
        *asked; /* those that peers were asked for, in the order of the operation */
    size_t asked_count;
};

/* {"do": "wait", "offsets": [[shard, offset], ...]} */
static struct doc operation(struct waiting *waiting, struct query_written *written, size_t count)
{
    struct arena *arena = &waiting->view->arena;
    struct doc op = doc_map(arena, OP_KEYS);
    struct doc *list = doc_items(arena, (uint32_t)count);

    waiting->asked = memory_checked(arena_calloc(arena, count + 1, sizeof(*waiting->asked)));
    for (size_t i = 0; i < count; i++) {
        struct doc *pair;
        if (!query_view_remote(waiting->view, written[i].shard))
            continue;
        pair = doc_items(arena, 2);
        pair[0] = wire_text(written[i].shard);
        pair[1] = doc_integer(written[i].offset);
        list[waiting->asked_count] = (struct doc){.type = DOC_ARRAY, .count = 2, .items = pair};
        waiting->asked[waiting->asked_count++] = &written[i];
    }
    doc_put(&op, "do", wire_text("wait"));
    doc_put(
        &op, "offsets",
        (struct doc){.type = DOC_ARRAY, .count = (uint32_t)waiting->asked_count, .items = list});
    return op;
}

/* {"refused": [[place of the offset, reason], ...]} */
static int take_refused(void *context, const struct gather_answer *answer, struct error *error)
{
    const struct waiting *waiting = context;
    const struct doc *list;

    if (wire_get(answer->result, "refused", DOC_ARRAY, &list, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct doc *pair = &list->items[i];
        if (pair->type != DOC_ARRAY || pair->count != 2 || pair->items[0].type != DOC_INT ||
            pair->items[1].type != DOC_STRING || pair->items[0].integer < 0 ||
            (uint64_t)pair->items[0].integer >= waiting->asked_count)
            return error_set(error, ERROR_INVALID, "peer: refused[%u] is not sound", i);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const struct doc *pair = list->items[i].items;
        waiting->asked[pair[0].integer]->refused =
            arena_copy(&waiting->view->arena, pair[1].string, pair[1].count);
    }
    return 0;
}

static const char *refusal_here(const struct query_view *view, const char *shard, size_t length,
                                int64_t offset)
{
    for (size_t i = 0; i < view->shard_count; i++)
        if (strlen(view->shards[i].name) == length &&
            memcmp(view->shards[i].name, shard, length) == 0)
            return store_shard_refusal(view->shards[i].lease->shard, offset);
    return NULL;
}

int query_view_wait(struct query_view *view, struct query_written *written, size_t count,
                    struct error *error)
{
    struct waiting waiting = {.view = view};
    struct gather gather;
    struct doc op = {0};

    if (gather_needed(view))
        op = operation(&waiting, written, count);
    gather_start(&gather, view, &view->arena, &op);
    for (size_t i = 0; i < count; i++)
        written[i].refused =
            refusal_here(view, written[i].shard, strlen(written[i].shard), written[i].offset);
    return gather_finish(&gather, 0, take_refused, &waiting, error);
}

int answer_wait(struct query_view *view, const struct doc *op, struct arena *arena,
                struct doc *result, struct error *error)
{
    const struct doc *offsets;
    struct doc *list;
    uint32_t count = 0;

    if (wire_get(op, "offsets", DOC_ARRAY, &offsets, error) != 0)
        return error->code;
    if (offsets->count > WRITTEN_MAX)
        return error_set(error, ERROR_INVALID, "peer: more than %d offsets", WRITTEN_MAX);
    list = doc_items(arena, offsets->count);
    for (uint32_t i = 0; i < offsets->count; i++) {
        const struct doc *pair = &offsets->items[i];
        const char *reason;
        struct doc *entry;
        if (pair->type != DOC_ARRAY || pair->count != 2 || pair->items[0].type != DOC_STRING ||
            pair->items[1].type != DOC_INT)
            return error_set(error, ERROR_INVALID, "peer: offsets[%u] is not sound", i);
        reason =
            refusal_here(view, pair->items[0].string, pair->items[0].count, pair->items[1].integer);
        if (!reason)
            continue;
        entry = doc_items(arena, 2);
        entry[0] = doc_integer(i);
        entry[1] = wire_text(reason);
        list[count] = (struct doc){.type = DOC_ARRAY, .count = 2, .items = entry};
        count++;
    }
    doc_put(result, "refused", (struct doc){.type = DOC_ARRAY, .count = count, .items = list});
    return 0;
}
