#include "indexer/query/wire.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "base/memory.h"
#include "indexer/query/filter/filter.h"
#include "store/files/key.h"
#include "store/files/parts.h"
#include "store/snapshot.h"

enum { ROW_FIELDS_MIN = 10, ROW_FIELDS = 11, KEYS_MAX = 1 << 20, VECTOR_ALIGNMENT = 64 };

void wire_seal(struct buffer *buffer, size_t first)
{
    const uint64_t sum = XXH3_64bits(buffer->data + first, buffer->size - first);

    buffer_append(buffer, &sum, sizeof(sum));
}

int wire_open(const void *body, size_t *body_bytes, struct error *error)
{
    uint64_t sum;

    if (*body_bytes <= sizeof(sum))
        return error_set(error, ERROR_INVALID, "peer: a body of %zu bytes", *body_bytes);
    *body_bytes -= sizeof(sum);
    memcpy(&sum, (const uint8_t *)body + *body_bytes, sizeof(sum));
    if (sum != XXH3_64bits(body, *body_bytes))
        return error_set(error, ERROR_INVALID, "peer: the body does not fit its checksum");
    return 0;
}

struct doc wire_bytes(const void *bytes, size_t size_bytes)
{
    return (struct doc){.type = DOC_BYTES, .count = (uint32_t)size_bytes, .string = bytes};
}

struct doc wire_text(const char *text)
{
    return (struct doc){.type = DOC_STRING, .count = (uint32_t)strlen(text), .string = text};
}

int wire_get(const struct doc *map, const char *key, enum doc_type type, const struct doc **value,
             struct error *error)
{
    *value = doc_get(map, key);
    if (*value && (*value)->type == type)
        return 0;
    return error_set(error, ERROR_INVALID, "peer: `%s` is missing or of another type", key);
}

int wire_get_i64(const struct doc *map, const char *key, int64_t *value, struct error *error)
{
    const struct doc *found = doc_get(map, key);

    if (found && found->type == DOC_INT) {
        *value = found->integer;
        return 0;
    }
    return error_set(error, ERROR_INVALID, "peer: `%s` is not an integer", key);
}

int wire_get_version(const struct doc *map, int64_t *version, struct error *error)
{
    if (wire_get_i64(map, "v", version, error) != 0)
        return error->code;
    if (*version >= QUERY_PROTOCOL_OLDEST && *version <= QUERY_PROTOCOL)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "peer: it speaks version %lld of the protocol, this process %d to %d",
                     (long long)*version, QUERY_PROTOCOL_OLDEST, QUERY_PROTOCOL);
}

struct doc wire_from_residues(const struct key_residues *residues, struct arena *arena)
{
    struct doc *items = doc_items(arena, KEY_HASHES);

    for (uint32_t i = 0; i < KEY_HASHES; i++) {
        struct doc *pair = doc_items(arena, 2);
        pair[0] = doc_integer(residues->by[i].step);
        pair[1] = doc_integer(residues->by[i].rest);
        items[i] = (struct doc){.type = DOC_ARRAY, .count = 2, .items = pair};
    }
    return (struct doc){.type = DOC_ARRAY, .count = KEY_HASHES, .items = items};
}

static bool is_residue(const struct doc *pair)
{
    return pair->type == DOC_ARRAY && pair->count >= 2 && pair->items[0].type == DOC_INT &&
           pair->items[1].type == DOC_INT && pair->items[0].integer >= 0 &&
           pair->items[0].integer <= UINT32_MAX && pair->items[1].integer >= 0 &&
           pair->items[1].integer <= UINT32_MAX;
}

/* A later version may know more hashes, or fewer. */
bool wire_to_residues(const struct doc *shard, struct key_residues *residues)
{
    enum { PLACE = 3 };
    const struct doc *list = shard->count > PLACE ? &shard->items[PLACE] : NULL;

    *residues = KEY_RESIDUES_ALL;
    if (list && list->type != DOC_ARRAY)
        return false;
    for (uint32_t i = 0; list && i < list->count && i < KEY_HASHES; i++) {
        if (!is_residue(&list->items[i]))
            return false;
        residues->by[i] = (struct key_residue){(uint32_t)list->items[i].items[0].integer,
                                               (uint32_t)list->items[i].items[1].integer};
    }
    return true;
}

bool wire_to_lack(const struct doc *shard, struct wire_lack *lack)
{
    enum { PLACE = 4 };

    *lack = (struct wire_lack){0};
    if (shard->count <= PLACE + 1)
        return true;
    if (shard->items[PLACE].type != DOC_BOOL || shard->items[PLACE + 1].type != DOC_INT)
        return false;
    *lack = (struct wire_lack){shard->items[PLACE].boolean, shard->items[PLACE + 1].integer};
    return true;
}

bool wire_to_generation(const struct doc *shard, int32_t *generation)
{
    enum { PLACE = 6 };

    *generation = 0;
    if (shard->count <= PLACE)
        return true;
    if (shard->items[PLACE].type != DOC_INT || shard->items[PLACE].integer < 0 ||
        shard->items[PLACE].integer > INT32_MAX)
        return false;
    *generation = (int32_t)shard->items[PLACE].integer;
    return true;
}

int wire_get_u32(const struct doc *map, const char *key, uint32_t max, uint32_t *value,
                 struct error *error)
{
    int64_t wide = 0;

    if (wire_get_i64(map, key, &wide, error) != 0)
        return error->code;
    if (wide < 0 || wide > max)
        return error_set(error, ERROR_INVALID, "peer: `%s` is not between 0 and %u", key, max);
    *value = (uint32_t)wide;
    return 0;
}

int wire_get_double(const struct doc *map, const char *key, double *value, struct error *error)
{
    const struct doc *found = doc_get(map, key);

    if (found && doc_as_double(found, value) && !isnan(*value))
        return 0;
    return error_set(error, ERROR_INVALID, "peer: `%s` is not a number", key);
}

bool wire_get_bool(const struct doc *map, const char *key)
{
    const struct doc *found = doc_get(map, key);

    return found && found->type == DOC_BOOL && found->boolean;
}

/* Rows. */

int wire_from_hit(const struct query_hit *hit, uint32_t shard, uint32_t dim,
                  struct query_wants wants, struct arena *arena, struct doc *row,
                  struct error *error)
{
    struct doc *fields = doc_items(arena, ROW_FIELDS);
    size_t key_bytes, payload_bytes;
    const uint8_t *key = query_row_key(&hit->row, &key_bytes);
    const uint8_t *payload;
    const float *vector;

    fields[0] = wire_bytes(key, key_bytes);
    fields[1] = doc_integer(shard);
    fields[2] = doc_integer(query_row_time_ms(&hit->row));
    fields[3] = doc_integer(query_row_offset(&hit->row));
    fields[4] = doc_integer(query_row_window_ms(&hit->row));
    fields[5] = doc_number((double)hit->score);
    fields[6] = doc_number(hit->order);
    fields[7] = doc_number(hit->order_rest);
    fields[10] = doc_integer(query_row_ttl_ms(&hit->row));
    if (wants.payload) {
        if (store_row_payload(hit->row.source, hit->row.row, arena, &payload, &payload_bytes,
                              error) != 0)
            return error->code;
        fields[8] = wire_bytes(payload, payload_bytes);
    }
    if (wants.vector) {
        if (query_row_vector(&hit->row, arena, &vector, error) != 0)
            return error->code;
        if (vector)
            fields[9] = wire_bytes(vector, dim * sizeof(float));
    }
    *row = (struct doc){.type = DOC_ARRAY, .count = ROW_FIELDS, .items = fields};
    return 0;
}

static int bad_row(struct error *error, const char *what)
{
    return error_set(error, ERROR_INVALID, "peer: a row's %s is not sound", what);
}

static int to_vector(const struct doc *bytes, uint32_t dim, struct arena *arena,
                     const float **vector, struct error *error)
{
    float *copy;

    if (bytes->type != DOC_BYTES || bytes->count != dim * sizeof(float))
        return bad_row(error, "vector");
    copy = memory_checked(arena_alloc(arena, dim * sizeof(float), VECTOR_ALIGNMENT));
    memcpy(copy, bytes->string, dim * sizeof(float));
    for (uint32_t i = 0; i < dim; i++)
        if (!isfinite(copy[i]))
            return bad_row(error, "vector");
    *vector = copy;
    return 0;
}

int wire_to_hit(const struct doc *row, const char *const *shards, size_t shard_count, uint32_t dim,
                struct query_wants wants, struct arena *arena, struct query_hit *hit,
                struct error *error)
{
    struct query_peer_row *peer = memory_checked(arena_calloc(arena, 1, sizeof(*peer)));
    const struct doc *fields = row->items;
    double numbers[3];

    if (row->type != DOC_ARRAY || row->count < ROW_FIELDS_MIN)
        return bad_row(error, "length");
    if (fields[0].type != DOC_BYTES || fields[0].count == 0 ||
        fields[0].count > sizeof(((struct store_key *)NULL)->bytes))
        return bad_row(error, "key");
    for (int i = 1; i < 5; i++)
        if (fields[i].type != DOC_INT)
            return bad_row(error, "position");
    if (fields[1].integer < 0 || (size_t)fields[1].integer >= shard_count || fields[3].integer < 0)
        return bad_row(error, "position");
    for (int i = 0; i < 3; i++)
        if (!doc_as_double(&fields[5 + i], &numbers[i]))
            return bad_row(error, "score");
    if (isinf(numbers[1])) /* nodes before 0.2 send infinity less itself */
        numbers[2] = 0;
    if (!isfinite((float)numbers[0]) || isnan(numbers[1]) || !isfinite(numbers[2]))
        return bad_row(error, "score");
    peer->key = (const uint8_t *)fields[0].string;
    peer->key_bytes = fields[0].count;
    peer->time_ms = fields[2].integer;
    peer->offset = fields[3].integer;
    peer->window_start_ms = fields[4].integer;
    if (row->count > 10 && fields[10].type == DOC_INT && fields[10].integer > 0)
        peer->ttl_ms = fields[10].integer;
    if (wants.payload) {
        if (fields[8].type != DOC_BYTES)
            return bad_row(error, "payload");
        peer->payload = (const uint8_t *)fields[8].string;
        peer->payload_bytes = fields[8].count;
    }
    if (wants.vector && fields[9].type != DOC_NULL &&
        to_vector(&fields[9], dim, arena, &peer->vector, error) != 0)
        return error->code;
    *hit = (struct query_hit){.row = {.shard = shards[fields[1].integer], .peer = peer},
                              .score = (float)numbers[0],
                              .order = numbers[1],
                              .order_rest = numbers[2]};
    return 0;
}

/* Operations. */

static void put_wants(struct doc *map, struct query_wants wants)
{
    doc_put(map, "payload", doc_bool(wants.payload));
    doc_put(map, "with_vector", doc_bool(wants.vector));
}

static struct query_wants to_wants(const struct doc *op)
{
    return (struct query_wants){.payload = wire_get_bool(op, "payload"),
                                .vector = wire_get_bool(op, "with_vector")};
}

int wire_needs(const struct doc *op)
{
    const struct doc *needs = doc_get(op, "needs");

    return needs ? (int)needs->integer : QUERY_PROTOCOL_OLDEST;
}

static void put_needs(struct doc *map, int version)
{
    if (version > QUERY_PROTOCOL_OLDEST)
        doc_put(map, "needs", doc_integer(version));
}

static int filter_needs(const struct query_filter *filter)
{
    return filter && filter->recent ? QUERY_PROTOCOL_EXAMPLES : QUERY_PROTOCOL_OLDEST;
}

static void put_filter(struct doc *map, const struct query_filter *filter)
{
    if (filter && filter->document.type != DOC_NULL)
        doc_put(map, "filter", filter->document);
}

int wire_to_filter(const struct doc *op, const struct config_collection *collection,
                   struct arena *arena, const struct query_filter **filter, struct error *error)
{
    return query_filter_compile(doc_get(op, "filter"), config_vector_name(collection), arena,
                                filter, error);
}

static const char *const scorers[] = {[QUERY_BEST_SCORE] = "best_score",
                                      [QUERY_SUM_SCORES] = "sum_scores",
                                      [QUERY_DISCOVER] = "discover",
                                      [QUERY_CONTEXT] = "context",
                                      [QUERY_WEIGHTED_SCORES] = "weighted"};

static int search_needs(const struct query_search *search)
{
    if (search->extra)
        return QUERY_PROTOCOL_EXTRAS;
    switch (search->scorer.kind) {
    case QUERY_NEAREST:
        return filter_needs(search->filter);
    case QUERY_WEIGHTED_SCORES:
        return QUERY_PROTOCOL_WEIGHTS;
    default:
        return QUERY_PROTOCOL_EXAMPLES;
    }
}

static void put_scorer(struct doc *map, const struct query_scorer *scorer, uint32_t dim)
{
    size_t count = (size_t)scorer->positive_count + scorer->negative_count;

    doc_put(map, "scorer", wire_text(scorers[scorer->kind]));
    doc_put(map, "examples", wire_bytes(scorer->examples, count * dim * sizeof(float)));
    doc_put(map, "positive", doc_integer(scorer->positive_count));
    if (scorer->weights)
        doc_put(map, "weights", wire_bytes(scorer->weights, count * sizeof(float)));
}

static int to_weights(const struct doc *op, struct arena *arena, struct query_scorer *scorer,
                      struct error *error)
{
    size_t size_bytes =
        ((size_t)scorer->positive_count + scorer->negative_count) * sizeof(*scorer->weights);
    const struct doc *bytes;
    float *copy;

    if (wire_get(op, "weights", DOC_BYTES, &bytes, error) != 0)
        return error->code;
    if (bytes->count != size_bytes)
        return error_set(error, ERROR_INVALID, "peer: the examples have not one weight each");
    copy = memory_checked(arena_alloc(arena, size_bytes + 1, VECTOR_ALIGNMENT));
    memcpy(copy, bytes->string, size_bytes);
    scorer->weights = copy;
    return 0;
}

static int to_examples(const struct doc *op, uint32_t dim, struct arena *arena,
                       struct query_scorer *scorer, struct error *error)
{
    size_t row_bytes = dim * sizeof(float);
    const struct doc *bytes;
    float *copy;

    if (wire_get(op, "examples", DOC_BYTES, &bytes, error) != 0 ||
        wire_get_u32(op, "positive", QUERY_EXAMPLES_MAX, &scorer->positive_count, error) != 0)
        return error->code;
    if (bytes->count % row_bytes != 0 || bytes->count / row_bytes < scorer->positive_count)
        return error_set(error, ERROR_INVALID, "peer: the examples are not sound");
    scorer->negative_count = (uint32_t)(bytes->count / row_bytes) - scorer->positive_count;
    copy = memory_checked(arena_alloc(arena, bytes->count + 1, VECTOR_ALIGNMENT));
    memcpy(copy, bytes->string, bytes->count);
    scorer->examples = copy; /* the search checks the numbers */
    return scorer->kind == QUERY_WEIGHTED_SCORES ? to_weights(op, arena, scorer, error) : 0;
}

static int to_scorer(const struct doc *op, uint32_t dim, struct arena *arena,
                     struct query_search *search, struct error *error)
{
    const struct doc *name = doc_get(op, "scorer");
    const struct doc *vector;
    int kind = QUERY_NEAREST;

    if (name)
        for (kind = QUERY_WEIGHTED_SCORES; kind > QUERY_NEAREST; kind--)
            if (doc_string_equals(name, scorers[kind]))
                break;
    if (name && kind == QUERY_NEAREST)
        return error_set(error, ERROR_INVALID, "peer: unknown scorer");
    search->scorer.kind = (enum query_scorer_kind)kind;
    if (name && to_examples(op, dim, arena, &search->scorer, error) != 0)
        return error->code;
    if (kind != QUERY_NEAREST && kind != QUERY_DISCOVER)
        return 0;
    if (wire_get(op, "vector", DOC_BYTES, &vector, error) != 0)
        return error->code;
    search->vector_rows = 1;
    if (search->extra && search->extra->multiple)
        search->vector_rows = vector->count / (dim * (uint32_t)sizeof(float));
    if (search->vector_rows == 0 || search->vector_rows > PARTS_LIST_MAX_VALUES / dim)
        return bad_row(error, "vector");
    return to_vector(vector, search->vector_rows * dim, arena, &search->vector, error);
}

/* A node may not know the vector yet, or any more. */
static int to_extra(const struct doc *op, const struct config_collection *collection,
                    struct query_search *search, struct error *error)
{
    const struct doc *name = doc_get(op, "extra");

    if (!name)
        return 0;
    search->extra = name->type == DOC_STRING
                        ? config_extra_vector(collection, name->string, name->count)
                        : NULL;
    return search->extra ? 0
                         : error_set(error, ERROR_INVALID,
                                     "peer: the collection has no such extra vector here");
}

struct doc wire_from_search(const struct query_search *search, uint32_t limit, uint32_t dim,
                            struct arena *arena)
{
    struct doc map = doc_map(arena, 21);
    bool nearest = search->scorer.kind == QUERY_NEAREST;

    doc_put(&map, "do", wire_text("search"));
    put_needs(&map, search_needs(search));
    if (search->extra)
        doc_put(&map, "extra", wire_text(search->extra->name));
    if (search->vector)
        doc_put(&map, "vector",
                wire_bytes(search->vector,
                           (search->extra && search->extra->multiple ? search->vector_rows : 1) *
                               dim * sizeof(float)));
    if (!nearest)
        put_scorer(&map, &search->scorer, dim);
    doc_put(&map, "limit", doc_integer(limit));
    doc_put(&map, "ef", doc_integer(search->ef));
    doc_put(&map, "recall", doc_number(search->recall));
    doc_put(&map, "exact", doc_bool(search->exact));
    doc_put(&map, "from", doc_integer(search->from_ms));
    doc_put(&map, "to", doc_integer(search->to_ms));
    doc_put(&map, "half_life", doc_integer(search->half_life_ms));
    doc_put(&map, "explain", doc_bool(search->explain));
    doc_put(&map, "partial", doc_bool(search->partial));
    put_wants(&map, search->wants);
    put_filter(&map, search->filter);
    if (search->has_threshold)
        doc_put(&map, "threshold", doc_number((double)search->threshold));
    if (search->exclude_key)
        doc_put(&map, "exclude", wire_bytes(search->exclude_key, search->exclude_key_bytes));
    return map;
}

struct doc wire_from_searches(const struct doc *searches, uint32_t count, struct arena *arena)
{
    struct doc op = doc_map(arena, 3);
    int needs = QUERY_PROTOCOL_SEARCHES;

    for (uint32_t i = 0; i < count; i++)
        needs = wire_needs(&searches[i]) > needs ? wire_needs(&searches[i]) : needs;
    doc_put(&op, "do", wire_text("searches"));
    put_needs(&op, needs);
    doc_put(&op, "searches", (struct doc){.type = DOC_ARRAY, .count = count, .items = searches});
    return op;
}

int wire_to_search(const struct doc *op, const struct config_collection *collection,
                   struct arena *arena, struct query_search *search, struct error *error)
{
    const struct doc *threshold = doc_get(op, "threshold");
    const struct doc *exclude = doc_get(op, "exclude");
    double value = 0;

    *search = (struct query_search){.arena = arena,
                                    .duplicates = true,
                                    .exact = wire_get_bool(op, "exact"),
                                    .explain = wire_get_bool(op, "explain"),
                                    .partial = wire_get_bool(op, "partial"),
                                    .wants = to_wants(op)};
    if (to_extra(op, collection, search, error) != 0 ||
        to_scorer(op, search->extra ? search->extra->dim : collection->dim, arena, search, error) !=
            0 ||
        wire_get_u32(op, "limit", QUERY_LIMIT_MAX, &search->limit, error) != 0 ||
        wire_get_u32(op, "ef", UINT32_MAX, &search->ef, error) != 0 ||
        wire_get_double(op, "recall", &search->recall, error) != 0 ||
        wire_get_i64(op, "from", &search->from_ms, error) != 0 ||
        wire_get_i64(op, "to", &search->to_ms, error) != 0 ||
        wire_get_i64(op, "half_life", &search->half_life_ms, error) != 0 ||
        (threshold && wire_get_double(op, "threshold", &value, error) != 0) ||
        wire_to_filter(op, collection, arena, &search->filter, error) != 0)
        return error->code;
    search->has_threshold = threshold != NULL;
    search->threshold = (float)value;
    if (exclude && exclude->type == DOC_BYTES) {
        search->exclude_key = (const uint8_t *)exclude->string;
        search->exclude_key_bytes = exclude->count;
    }
    return 0;
}

struct doc wire_from_scroll(const struct query_scroll *scroll, uint32_t limit, struct arena *arena)
{
    struct doc map = doc_map(arena, 14);

    assert(limit <= WIRE_ROWS_MAX); /* a peer would refuse it */
    doc_put(&map, "do", wire_text("scroll"));
    put_needs(&map, scroll->sample ? QUERY_PROTOCOL_EXAMPLES : filter_needs(scroll->filter));
    if (scroll->sample) {
        doc_put(&map, "sample", doc_bool(true));
        doc_put(&map, "seed", doc_integer((int64_t)scroll->seed));
        doc_put(&map, "descending", doc_bool(scroll->descending));
    }
    doc_put(&map, "limit", doc_integer(limit));
    put_wants(&map, scroll->wants);
    put_filter(&map, scroll->filter);
    if (scroll->from_key)
        doc_put(&map, "from_key", wire_bytes(scroll->from_key, scroll->from_key_bytes));
    if (scroll->order_by) {
        doc_put(&map, "order_by", wire_text(scroll->order_by));
        doc_put(&map, "descending", doc_bool(scroll->descending));
        if (scroll->start_from)
            doc_put(&map, "start_from", *scroll->start_from);
        doc_put(&map, "once", doc_bool(scroll->once)); /* peers of 0.2.0 always do so */
    }
    return map;
}

int wire_to_scroll(const struct doc *op, const struct config_collection *collection,
                   struct arena *arena, struct query_scroll *scroll, struct error *error)
{
    const struct doc *order_by = doc_get(op, "order_by");
    const struct doc *from = doc_get(op, "from_key");

    *scroll = (struct query_scroll){.arena = arena,
                                    .wants = to_wants(op),
                                    .descending = wire_get_bool(op, "descending"),
                                    .sample = wire_get_bool(op, "sample"),
                                    .once = wire_get_bool(op, "once"),
                                    .start_from = doc_get(op, "start_from")};
    int64_t seed = 0;

    if (wire_get_u32(op, "limit", WIRE_ROWS_MAX, &scroll->limit, error) != 0 ||
        (scroll->sample && wire_get_i64(op, "seed", &seed, error) != 0) ||
        wire_to_filter(op, collection, arena, &scroll->filter, error) != 0)
        return error->code;
    scroll->seed = (uint64_t)seed;
    if (order_by && order_by->type == DOC_STRING)
        scroll->order_by = arena_copy(arena, order_by->string, order_by->count);
    if (from && from->type == DOC_BYTES) {
        scroll->from_key = (const uint8_t *)from->string;
        scroll->from_key_bytes = from->count;
    }
    return 0;
}

struct doc wire_from_keys(const char *name, const struct query_key *keys, size_t count,
                          struct query_wants wants, struct arena *arena)
{
    struct doc map = doc_map(arena, 4);
    struct doc *items = doc_items(arena, (uint32_t)count);

    for (size_t i = 0; i < count; i++)
        items[i] = wire_bytes(keys[i].bytes, keys[i].size_bytes);
    doc_put(&map, "do", wire_text(name));
    doc_put(&map, "keys",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items});
    put_wants(&map, wants);
    return map;
}

int wire_to_keys(const struct doc *op, struct arena *arena, struct query_key **keys, size_t *count,
                 struct query_wants *wants, struct error *error)
{
    const struct doc *list;

    if (wire_get(op, "keys", DOC_ARRAY, &list, error) != 0)
        return error->code;
    if (list->count > KEYS_MAX)
        return error_set(error, ERROR_INVALID, "peer: more than %d keys", KEYS_MAX);
    *keys = memory_checked(arena_calloc(arena, (size_t)list->count + 1, sizeof(**keys)));
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].type != DOC_BYTES)
            return error_set(error, ERROR_INVALID, "peer: keys[%u] is not a key", i);
        (*keys)[i] =
            (struct query_key){(const uint8_t *)list->items[i].string, list->items[i].count};
    }
    *count = list->count;
    *wants = to_wants(op);
    return 0;
}

struct doc wire_from_filter(const char *name, const struct query_filter *filter, const char *key,
                            struct arena *arena)
{
    struct doc map = doc_map(arena, 4);

    doc_put(&map, "do", wire_text(name));
    put_needs(&map, filter_needs(filter));
    put_filter(&map, filter);
    if (key)
        doc_put(&map, "key", wire_text(key));
    return map;
}
