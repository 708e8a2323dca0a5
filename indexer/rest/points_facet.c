/* facet: how many rows have each value of a payload field. Always exact: every matching row is
 * looked at, so that memory is bounded by the number of values. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/memory.h"
#include "indexer/rest/parse.h"
#include "indexer/rest/render.h"

enum { LIMIT_DEFAULT = 10, VALUES_MAX = 1 << 20, SLOTS_FIRST = 256 };

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
        if (facet->used == VALUES_MAX) {
            facet->overflow = true;
            return true;
        }
        *slot = (struct facet_value){.value = *value, .hash = hash};
        if (value->type == DOC_STRING)
            slot->value.string = arena_copy(facet->values_arena, value->string, value->count);
        facet->used++;
    }
    slot->count += slot->last_row != facet->row;
    slot->last_row = facet->row;
    return false;
}

static int count_row(void *context, const struct query_row *row, const struct doc *payload,
                     struct error *error)
{
    struct facet *facet = context;

    (void)row;
    facet->row++;
    (void)doc_visit_path(payload, facet->key, strlen(facet->key), count_value, facet);
    if (facet->overflow)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: `%.100s` has more than %d distinct values", facet->key,
                         VALUES_MAX);
    return 0;
}

static int compare_values(const struct doc *a, const struct doc *b)
{
    size_t common = a->count < b->count ? a->count : b->count;
    int order;

    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case DOC_STRING:
        order = memcmp(a->string, b->string, common);
        return order ? order : (a->count > b->count) - (a->count < b->count);
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
    const struct facet_value *left = a;
    const struct facet_value *right = b;

    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return compare_values(&left->value, &right->value);
}

static void render(struct http_request *request, struct facet *facet, uint32_t limit)
{
    struct buffer *out = &request->reply;
    size_t count = 0;

    for (size_t i = 0; i < facet->slot_count; i++) {
        if (facet->slots[i].value.type != DOC_NULL)
            facet->slots[count++] = facet->slots[i];
    }
    if (count > 0)
        qsort(facet->slots, count, sizeof(*facet->slots), by_count);
    http_reply_begin(request);
    buffer_append_text(out, "{\"hits\":[");
    for (size_t i = 0; i < count && i < limit; i++) {
        buffer_append_text(out, i > 0 ? ",{\"value\":" : "{\"value\":");
        doc_write_json(out, &facet->slots[i].value);
        buffer_append_format(out, ",\"count\":%llu}", (unsigned long long)facet->slots[i].count);
    }
    buffer_append_text(out, "]}");
}

static int parse_key(struct http_request *request, const struct doc *body, const char **key,
                     struct error *error)
{
    const struct doc *doc = doc_get(body, "key");

    if (!doc || doc->type != DOC_STRING || doc->count == 0)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.key: expected a payload key");
    if (doc->string[0] == '@')
        return error_set(error, ERROR_UNSUPPORTED, "windrow does not facet virtual keys");
    *key = arena_copy(&request->arena, doc->string, doc->count);
    return 0;
}

void rest_handle_facet(struct http_request *request)
{
    static const char *const known[] = {"key",       "limit",   "filter", "exact",
                                        "shard_key", "windrow", NULL};
    struct facet facet = {.values_arena = &request->arena};
    const struct config_collection *collection;
    const struct query_filter *filter = NULL;
    struct query_view *view = NULL;
    struct parse_extras extras;
    struct error error = {0};
    uint32_t limit = 0;
    struct doc body;
    int code = parse_open(request, known, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_key(request, &body, &facet.key, &error);
    if (code == 0)
        code = parse_limit(&body, LIMIT_DEFAULT, &limit, &error);
    if (code == 0)
        code = parse_filter(request, &body, &filter, &error);
    if (code == 0)
        code = query_visit(view, filter, count_row, &facet, &error);
    if (code == 0) {
        render(request, &facet, limit);
        http_reply_end(request, render_windrow(request, view, NULL));
    } else {
        http_reply_from_error(request, &error);
    }
    free(facet.slots);
    query_view_close(view);
}
