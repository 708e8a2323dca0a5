/* facet: how many rows have each value of a payload field. Always exact: every matching row is
 * looked at, so that memory is bounded by the number of values. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/query/gather.h"
#include "indexer/query/row_scan.h"

enum { SLOTS_FIRST = 256 };

struct facet_value {
    struct doc value; /* string, integer or boolean; type DOC_NULL: a free slot */
    uint64_t hash;
    uint64_t count;
    uint64_t last_row; /* number of the row that was counted last: a row counts once for a value */
};

struct facet {
    const char *key;
    struct arena *values_arena;
    struct facet_value *slots; /* open addressing, at most half full */
    size_t slot_count;         /* a power of two */
    size_t used;
    uint64_t row;
    uint64_t weight; /* of a row: more than 1 for counts of a peer */
    bool overflow;
};

/* Chosen collisions only gain a slow request, bounded by its timeout. */
static uint64_t hash_of(const struct doc *value)
{
    const uint8_t *bytes = (const uint8_t *)&value->integer;
    size_t size_bytes = sizeof(value->integer);

    if (value->type == DOC_STRING) {
        bytes = (const uint8_t *)value->string;
        size_bytes = value->count;
    } else if (value->type == DOC_BOOL) {
        return value->boolean ? 1 : 2;
    }
    return XXH3_64bits_withSeed(bytes, size_bytes, value->type);
}

static bool same(const struct facet_value *slot, uint64_t hash, const struct doc *value)
{
    return slot->hash == hash && slot->value.type == value->type && doc_equal(&slot->value, value);
}

static struct facet_value *slot_for(struct facet_value *slots, size_t slot_count, uint64_t hash,
                                    const struct doc *value)
{
    size_t place = (size_t)(hash ^ (hash >> 32)) & (slot_count - 1);

    while (slots[place].value.type != DOC_NULL && !same(&slots[place], hash, value))
        place = (place + 1) & (slot_count - 1);
    return &slots[place];
}

static void grow(struct facet *facet)
{
    size_t wanted = facet->slot_count ? 2 * facet->slot_count : SLOTS_FIRST;
    struct facet_value *fresh = memory_new(wanted, sizeof(*fresh));

    for (size_t i = 0; i < facet->slot_count; i++) {
        struct facet_value *old = &facet->slots[i];
        if (old->value.type != DOC_NULL)
            *slot_for(fresh, wanted, old->hash, &old->value) = *old;
    }
    free(facet->slots);
    facet->slots = fresh;
    facet->slot_count = wanted;
}

static bool count_value(void *context, const struct doc *value)
{
    struct facet *facet = context;
    struct facet_value *slot;
    uint64_t hash;

    if (value->type == DOC_ARRAY) {
        for (uint32_t i = 0; i < value->count; i++)
            (void)count_value(context, &value->items[i]);
        return false;
    }
    if (value->type != DOC_STRING && value->type != DOC_INT && value->type != DOC_UINT &&
        value->type != DOC_BOOL)
        return false;
    if (2 * (facet->used + 1) > facet->slot_count)
        grow(facet);
    hash = hash_of(value);
    slot = slot_for(facet->slots, facet->slot_count, hash, value);
    if (slot->value.type == DOC_NULL) {
        if (facet->used == QUERY_FACET_VALUES_MAX) {
            facet->overflow = true;
            return true;
        }
        *slot = (struct facet_value){.value = *value, .hash = hash};
        if (value->type == DOC_STRING)
            slot->value.string = arena_copy(facet->values_arena, value->string, value->count);
        facet->used++;
    }
    slot->count += slot->last_row != facet->row ? facet->weight : 0;
    slot->last_row = facet->row;
    return false;
}

static int check_overflow(const struct facet *facet, struct error *error)
{
    if (!facet->overflow)
        return 0;
    return error_set(error, ERROR_INVALID, "Wrong input: `%.100s` has more than %d distinct values",
                     facet->key, QUERY_FACET_VALUES_MAX);
}

static int count_row(void *context, const struct query_row *row, const uint8_t *bytes,
                     size_t size_bytes, struct arena *scratch, struct error *error)
{
    struct facet *facet = context;
    struct doc payload;

    if (query_payload_decode(row, bytes, size_bytes, scratch, &payload, error) != 0)
        return error->code;
    facet->row++;
    (void)doc_visit_path(&payload, facet->key, strlen(facet->key), count_value, facet);
    return check_overflow(facet, error);
}

static int compare_values(const struct doc *a, const struct doc *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case DOC_STRING:
        return bytes_compare(a->string, a->count, b->string, b->count);
    case DOC_INT:
        return (a->integer > b->integer) - (a->integer < b->integer);
    case DOC_UINT:
        return (a->unsigned_integer > b->unsigned_integer) -
               (a->unsigned_integer < b->unsigned_integer);
    default:
        return (int)a->boolean - (int)b->boolean;
    }
}

/* The most frequent first, equal ones by value. */
static int by_count(const void *a, const void *b)
{
    const struct query_facet_value *left = a;
    const struct query_facet_value *right = b;

    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return compare_values(&left->value, &right->value);
}

static int count_here(struct query_view *view, const struct query_filter *filter,
                      struct facet *facet, struct error *error)
{
    const struct row_scan_options options = {.view = view,
                                             .filter = filter,
                                             .needs_payload = true,
                                             .visit = count_row,
                                             .context = facet};

    facet->weight = 1;
    return query_row_scan(&options, error);
}

/* {"values": [[value, count], ...]} */
static int take_values(void *context, const struct gather_answer *answer, struct error *error)
{
    struct facet *facet = context;
    const struct doc *list;

    if (wire_get(answer->result, "values", DOC_ARRAY, &list, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct doc *pair = &list->items[i];
        if (pair->type != DOC_ARRAY || pair->count != 2 || pair->items[1].type != DOC_INT ||
            pair->items[1].integer <= 0 || pair->items[0].type == DOC_ARRAY ||
            pair->items[0].type == DOC_MAP)
            return error_set(error, ERROR_INVALID, "peer: values[%u] is not sound", i);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        facet->row++;
        facet->weight = (uint64_t)list->items[i].items[1].integer;
        (void)count_value(facet, &list->items[i].items[0]);
    }
    return 0;
}

/* Moves the values into the arena; the strings are there already. */
static void collect(const struct facet *facet, struct arena *arena,
                    struct query_facet_value **values, size_t *count)
{
    *values = memory_checked(arena_calloc(arena, facet->used + 1, sizeof(**values)));
    *count = 0;
    for (size_t i = 0; i < facet->slot_count; i++)
        if (facet->slots[i].value.type != DOC_NULL)
            (*values)[(*count)++] =
                (struct query_facet_value){facet->slots[i].value, facet->slots[i].count};
    if (*count > 1)
        qsort(*values, *count, sizeof(**values), by_count);
}

int query_facet(struct query_view *view, const char *key, const struct query_filter *filter,
                struct arena *arena, struct query_facet_value **values, size_t *count,
                struct error *error)
{
    struct facet facet = {.key = key, .values_arena = arena};
    const struct doc op = wire_from_filter("facet", filter, key, arena);
    struct gather gather;
    int code;

    gather_start(&gather, view, arena, &op);
    code = count_here(view, filter, &facet, error);
    code = gather_finish(&gather, code, take_values, &facet, error);
    if (code == 0)
        code = check_overflow(&facet, error);
    if (code == 0)
        collect(&facet, arena, values, count);
    free(facet.slots);
    return code;
}

int answer_facet(struct query_view *view, const struct doc *op, struct arena *arena,
                 struct doc *result, struct error *error)
{
    struct facet facet = {.values_arena = arena};
    const struct query_filter *filter;
    struct query_facet_value *values;
    const struct doc *key;
    struct doc *list;
    size_t count;
    int code;

    if (wire_get(op, "key", DOC_STRING, &key, error) != 0 ||
        wire_to_filter(op, view->collection, arena, &filter, error) != 0)
        return error->code;
    facet.key = arena_copy(arena, key->string, key->count);
    code = count_here(view, filter, &facet, error);
    if (code == 0) {
        collect(&facet, arena, &values, &count);
        list = doc_items(arena, (uint32_t)count);
        for (size_t i = 0; i < count; i++) {
            struct doc *pair = doc_items(arena, 2);
            pair[0] = values[i].value;
            pair[1] = doc_integer((int64_t)values[i].count);
            list[i] = (struct doc){.type = DOC_ARRAY, .count = 2, .items = pair};
        }
        doc_put(result, "values",
                (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = list});
    }
    free(facet.slots);
    return code;
}
