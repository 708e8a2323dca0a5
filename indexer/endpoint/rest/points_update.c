/* Updates: parts of points, and upserts under a condition.
 *
 *     read     the records as they are now, with the offsets of their versions
 *     change   in memory: a record is always written as a whole
 *     write    to Kafka, with the offset of the version that was read (DECODE_EXPECTS_HEADER)
 *     wait     until the shard has come to it: it stores the record while that version is still the
 *              living one (store/expected_version.c), and says so otherwise
 *     again    for those whose version another producer has replaced in between
 *
 * The shard decides in the order of the partition, so that of two writers who read the same version
 * one is refused, whichever process they ask, and no record is overwritten by what was read before
 * it. What a crash or a full list of refusals makes unknown is read again as well: an update that
 * was stored after all is seen by its offset, or applied once more. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/endpoint/rest/payload_edit.h"
#include "indexer/endpoint/rest/write.h"
#include "store/append.h"
#include "store/files/key.h"

/* Points of one round: their refusals fit into what a shard remembers. */
enum { ROUND_POINTS = 512, ROUNDS_MAX = 200, PATH_PARTS_MAX = 32 };

enum update_mode { MODE_UPSERT, MODE_INSERT_ONLY, MODE_UPDATE_ONLY };

struct update_point {
    struct query_key id;
    const float *vector;       /* of UPDATE_UPSERT, and of UPDATE_VECTORS or NULL */
    const struct doc *parts;   /* of the same, or NULL */
    const struct doc *payload; /* of UPDATE_UPSERT, or NULL */
    bool done;
    const char *shard; /* of the last write, NULL: none */
    int64_t offset;
};

struct update {
    struct http_request *request;
    const struct config_collection *collection;
    enum update_kind kind;
    enum update_mode mode;     /* of UPDATE_UPSERT */
    const struct doc *payload; /* of UPDATE_SET and UPDATE_OVERWRITE */
    const struct doc *path;    /* of them: of the map that is changed, or NULL */
    const struct doc *keys;    /* of UPDATE_REMOVE */
    const struct doc
        *removed;       /* of UPDATE_REMOVE_VECTORS: {NAME: null} but for the collection's own */
    bool removes_dense; /* of the same */
    const struct doc *filter; /* points that do not match stay as they are; or NULL */
    bool selects;             /* the filter chooses the points: none was named */
    struct update_point *points;
    size_t count, room;
};

/* Parsing. */

static void make_points(struct update *update, size_t count)
{
    update->points =
        memory_checked(arena_calloc(&update->request->arena, count + 1, sizeof(*update->points)));
    update->count = count;
}

static int parse_ids(struct update *update, const struct doc *ids, struct error *error)
{
    struct query_key *keys;

    if (write_parse_ids(&update->request->arena, ids, &keys, error) != 0)
        return error->code;
    make_points(update, ids->count);
    for (uint32_t i = 0; i < ids->count; i++)
        update->points[i].id = keys[i];
    return 0;
}

static int parse_selection(struct update *update, const struct doc *body, struct error *error)
{
    const struct doc *ids = doc_get(body, "points");

    update->filter = doc_get(body, "filter");
    update->selects = !ids;
    if (ids)
        return parse_ids(update, ids, error);
    return update->filter
               ? 0
               : error_set(error, ERROR_INVALID,
                           "Format error in JSON body: $: expected `points` or `filter`");
}

static int parse_points(struct update *update, const struct doc *body, struct error *error)
{
    struct write_point *points;
    size_t count;

    if (write_parse_points(&update->request->arena, update->collection, body, &points, &count,
                           error) != 0)
        return error->code;
    for (size_t i = 0; update->kind == UPDATE_VECTORS && i < count; i++)
        if (!points[i].vector && (!points[i].parts || points[i].parts->count == 0))
            return error_set(error, ERROR_INVALID,
                             "Validation error in JSON body: [points[%zu].vector: must specify "
                             "vectors to update for point]",
                             i);
    make_points(update, count);
    for (size_t i = 0; i < count; i++)
        update->points[i] = (struct update_point){.id = points[i].id,
                                                  .vector = points[i].vector,
                                                  .parts = points[i].parts,
                                                  .payload = points[i].payload};
    return 0;
}

static void parse_mode(struct update *update, const struct doc *mode)
{
    if (mode && doc_string_equals(mode, "insert_only"))
        update->mode = MODE_INSERT_ONLY;
    else if (mode && doc_string_equals(mode, "update_only"))
        update->mode = MODE_UPDATE_ONLY;
}

static int check_path(const struct doc *path, const char *where, struct error *error)
{
    struct doc_path rest = {.at = path->string, .end = path->string + path->count};
    struct doc_path_part part;
    int parts = 0;

    if (parse_path(path, where, error) != 0)
        return error->code;
    while (doc_path_next(&rest, &part) == 1)
        parts++;
    return parts <= PATH_PARTS_MAX
               ? 0
               : error_set(error, ERROR_INVALID,
                           "Format error in JSON body: %s: a path has at most %d parts", where,
                           PATH_PARTS_MAX);
}

static int parse_payload(struct update *update, const struct doc *body, struct error *error)
{
    int code = 0;

    update->payload = doc_get(body, "payload");
    update->keys = doc_get(body, "keys");
    if (update->kind == UPDATE_SET)
        update->path = doc_get(body, "key");
    if (update->path)
        code = check_path(update->path, "$.key", error);
    for (uint32_t i = 0; update->keys && i < update->keys->count && code == 0; i++)
        code = check_path(&update->keys->items[i], "$.keys", error);
    return code;
}

static int parse_names(struct update *update, const struct doc *body, struct error *error)
{
    const struct doc *names = doc_get(body, "vector");
    struct doc *removed = doc_items(&update->request->arena, 1);

    if (update->kind != UPDATE_REMOVE_VECTORS)
        return 0;
    *removed = doc_map(&update->request->arena, names->count);
    for (uint32_t i = 0; i < names->count; i++) {
        const struct doc *name = &names->items[i];
        const char *declared = config_part(update->collection, name->string, name->count);
        if (config_is_dense_vector(update->collection, name->string, name->count)) {
            update->removes_dense = true;
            continue;
        }
        if (!declared)
            return parse_no_such_vector(name, error);
        doc_put(removed, declared, doc_null());
    }
    update->removed = removed;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct update_point *left = a, *right = b;
    int order =
        bytes_compare(left->id.bytes, left->id.size_bytes, right->id.bytes, right->id.size_bytes);

    return order != 0 ? order : (left->offset > right->offset) - (left->offset < right->offset);
}

static bool same_id(const struct update_point *a, const struct update_point *b)
{
    return bytes_equal(a->id.bytes, a->id.size_bytes, b->id.bytes, b->id.size_bytes);
}

/* The point with the vectors that a later entry gives it. */
static struct update_point with_vectors(struct arena *arena, const struct update_point *point,
                                        const struct update_point *later)
{
    struct update_point both = *later;
    struct doc *parts;

    if (!both.vector)
        both.vector = point->vector;
    if (!both.parts || !point->parts) {
        both.parts = both.parts ? both.parts : point->parts;
        return both;
    }
    parts = doc_items(arena, 1);
    *parts = payload_merge(arena, point->parts, later->parts);
    both.parts = parts;
    return both;
}

/* One entry an id, as if they came one after the other: the last one counts, of inserts the first, and of
 * vectors each that is named. Sorted by id. */
static void sort_points(struct update *update)
{
    size_t kept = 0;

    if (update->count == 0)
        return;
    for (size_t i = 0; i < update->count; i++)
        update->points[i].offset = (int64_t)i; /* its place, for now */
    qsort(update->points, update->count, sizeof(*update->points), by_id);
    for (size_t i = 0; i < update->count; i++) {
        bool again = kept > 0 && same_id(&update->points[kept - 1], &update->points[i]);
        if (again && update->mode == MODE_INSERT_ONLY)
            continue;
        update->points[kept - again] =
            again && update->kind == UPDATE_VECTORS
                ? with_vectors(&update->request->arena, &update->points[kept - 1],
                               &update->points[i])
                : update->points[i];
        kept += !again;
    }
    update->count = kept;
    for (size_t i = 0; i < kept; i++)
        update->points[i].offset = -1;
}

static int parse_kind(struct update *update, const struct doc *body, struct error *error)
{
    switch (update->kind) {
    case UPDATE_UPSERT:
        parse_mode(update, doc_get(body, "update_mode"));
        /* fall through */
    case UPDATE_VECTORS:
        update->filter = doc_get(body, "update_filter");
        return parse_points(update, body, error);
    default:
        if (parse_payload(update, body, error) != 0 || parse_names(update, body, error) != 0)
            return error->code;
        return parse_selection(update, body, error);
    }
}

int update_parse(struct http_request *request, const struct config_collection *collection,
                 enum update_kind kind, const struct doc *body, struct update **out,
                 struct error *error)
{
    struct update *update = memory_checked(arena_calloc(&request->arena, 1, sizeof(*update)));
    const struct query_filter *checked;
    struct error inner = {0};
    int code;

    update->request = request;
    update->collection = collection;
    update->kind = kind;
    code = parse_kind(update, body, error);
    if (code == 0 && update->filter && update->filter->type == DOC_NULL)
        update->filter = NULL;
    if (code == 0 && query_filter_compile(update->filter, config_vector_name(collection),
                                          &request->arena, &checked, &inner) != 0)
        code = parse_filter_fault(&inner, error);
    if (code == 0)
        sort_points(update);
    *out = update;
    return code;
}

bool update_is_conditional(const struct doc *upsert)
{
    const struct doc *mode = doc_get(upsert, "update_mode");
    const struct doc *filter = doc_get(upsert, "update_filter");

    return (filter && filter->type != DOC_NULL) ||
           (mode && mode->type == DOC_STRING && !doc_string_equals(mode, "upsert"));
}

/* One round over some of the points. */

struct round {
    struct update *update;
    struct update_point *points;
    size_t count;
    bool first;
    int64_t timeout_ms;
    struct arena *arena; /* forgotten after the round */
    struct query_view *view;
    struct query_row *rows; /* by point; shard NULL: none, or none that matches */
    bool *exists;           /* by point: there is a version, whether it matches or not */
    struct write_list list;
    struct update_point **of; /* by write */
};

static struct doc filter_of_points(const struct round *round)
{
    struct query_key *ids =
        memory_checked(arena_calloc(round->arena, round->count + 1, sizeof(*ids)));
    size_t count = 0;

    for (size_t i = 0; i < round->count; i++)
        if (!round->points[i].done)
            ids[count++] = round->points[i].id;
    return write_filter_of_ids(round->arena, round->update->filter, ids, count);
}

/* Rows come by id, and so do the points. */
static int find_matching(struct round *round, struct error *error)
{
    struct query_scroll scroll = {
        .limit = ROUND_POINTS, .wants = {.payload = true, .vector = true}, .arena = round->arena};
    struct doc filter = filter_of_points(round);
    struct query_result found = {0};
    const uint8_t *next;
    size_t next_bytes, at = 0;

    if (query_filter_compile(&filter, config_vector_name(round->update->collection), round->arena,
                             &scroll.filter, error) != 0 ||
        query_scroll_run(round->view, &scroll, &found, &next, &next_bytes, error) != 0)
        return error->code;
    for (size_t i = 0; i < found.hit_count; i++) {
        struct update_point hit = {.offset = -1};
        hit.id.bytes = query_row_key(&found.hits[i].row, &hit.id.size_bytes);
        while (at < round->count && !same_id(&round->points[at], &hit))
            at++;
        if (at == round->count)
            return error_set(error, ERROR_CORRUPT, "rows of a filtered page are out of order");
        if (!round->points[at].done)
            round->rows[at] = found.hits[i].row;
    }
    return 0;
}

static int find_rows(struct round *round, struct error *error)
{
    struct query_key *keys =
        memory_checked(arena_calloc(round->arena, round->count + 1, sizeof(*keys)));
    struct query_row *found =
        memory_checked(arena_calloc(round->arena, round->count + 1, sizeof(*found)));
    const struct query_wants whole = {.payload = true, .vector = true}, none = {0};
    bool filtered = round->update->filter != NULL;
    size_t count = 0, at = 0;

    for (size_t i = 0; i < round->count; i++)
        if (!round->points[i].done)
            keys[count++] = round->points[i].id;
    if (query_find_many(round->view, keys, count, filtered ? none : whole, round->arena, found,
                        error) != 0)
        return error->code;
    for (size_t i = 0; i < round->count; i++) {
        if (round->points[i].done)
            continue;
        round->exists[i] = found[at].shard != NULL;
        if (!filtered)
            round->rows[i] = found[at];
        at++;
    }
    return 0;
}

/* The record's payload as it is to be. */
static int change_payload(const struct round *round, const struct query_row *row,
                          struct doc *payload, struct doc *parts, struct error *error)
{
    const struct update *update = round->update;

    if (query_row_body(row, round->arena, payload, parts, error) != 0)
        return error->code;
    if (update->kind == UPDATE_SET && !update->path)
        *payload = payload_merge(round->arena, payload, update->payload);
    else if (update->kind == UPDATE_SET)
        *payload = payload_merge_at(round->arena, payload, update->path->string,
                                    update->path->count, update->payload);
    else if (update->kind == UPDATE_OVERWRITE)
        *payload = payload_merge(round->arena, &(struct doc){.type = DOC_MAP}, update->payload);
    else if (update->kind == UPDATE_CLEAR)
        *payload = (struct doc){.type = DOC_MAP};
    for (uint32_t i = 0; update->keys && i < update->keys->count; i++)
        *payload = payload_remove_at(round->arena, payload, update->keys->items[i].string,
                                     update->keys->items[i].count);
    return 0;
}

static int add_write(struct round *round, struct update_point *point,
                     const struct write_record *record, const struct query_row *row,
                     struct error *error)
{
    struct rest_write *write;

    if (write_add_record(round->update->request, round->arena, round->update->collection, record,
                         &round->list, &write, error) != 0)
        return error->code;
    write_expect(write, round->view, row ? row->shard : NULL,
                 row ? query_row_offset(row) : STORE_EXPECT_NONE);
    round->of[round->list.count - 1] = point;
    if (!row || write_send_to(round->update->collection, row->shard, write))
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Wrong input: point %.*s lies in shard %s, whose topic was taken out of the "
                     "configuration: it cannot be written to",
                     (int)write->key_bytes, write->key, row->shard);
}

/* The row with parts changed. Its time and TTL stay. */
static int change_row(struct round *round, struct update_point *point, const struct query_row *row,
                      struct error *error)
{
    struct write_record record = {.id = point->id,
                                  .vector = point->vector,
                                  .time_ms = query_row_time_ms(row),
                                  .ttl_ms = query_row_ttl_ms(row)};
    const struct update *update = round->update;
    struct doc payload, parts;

    if (change_payload(round, row, &payload, &parts, error) != 0 ||
        (!record.vector && !update->removes_dense &&
         query_row_vector(row, round->arena, &record.vector, error) != 0))
        return error->code;
    record.payload = &payload;
    if (update->removed)
        parts = payload_merge(round->arena, &parts, update->removed);
    if (point->parts)
        parts = payload_merge(round->arena, &parts, point->parts);
    record.parts = &parts;
    return add_write(round, point, &record, row, error);
}

static int upsert_point(struct round *round, struct update_point *point,
                        const struct query_row *row, bool exists, struct error *error)
{
    const struct update *update = round->update;
    const struct write_record record = {.id = point->id,
                                        .vector = point->vector,
                                        .parts = point->parts,
                                        .payload = point->payload,
                                        .time_ms = WRITE_NOW};

    if (exists ? update->mode == MODE_INSERT_ONLY || !row : update->mode == MODE_UPDATE_ONLY) {
        point->done = true;
        return 0;
    }
    return add_write(round, point, &record, exists ? row : NULL, error);
}

static int missing_point(const struct update_point *point, struct arena *arena, struct error *error)
{
    struct doc id = store_key_to_doc(point->id.bytes, point->id.size_bytes, arena);
    struct buffer text = {0};
    int code;

    doc_write_json(&text, &id);
    code = error_set(error, ERROR_NOT_FOUND, "Not found: No point with id %.*s found",
                     (int)text.size, (const char *)text.data);
    buffer_destroy(&text);
    return code;
}

static int prepare_point(struct round *round, size_t i, struct error *error)
{
    const struct update *update = round->update;
    struct update_point *point = &round->points[i];
    const struct query_row *row = round->rows[i].shard ? &round->rows[i] : NULL;

    if (point->done)
        return 0;
    if (row && point->shard && strcmp(row->shard, point->shard) == 0 &&
        query_row_offset(row) == point->offset) {
        point->done = true; /* what became of it was unknown, and now is not */
        return 0;
    }
    if (update->kind == UPDATE_UPSERT)
        return upsert_point(round, point, row, round->exists[i] || row, error);
    if (row)
        return change_row(round, point, row, error);
    if (round->first && !round->exists[i] && !update->selects)
        return missing_point(point, round->arena, error);
    point->done = true; /* it does not match, or was deleted meanwhile */
    return 0;
}

static int prepare(struct round *round, struct error *error)
{
    const bool named = !round->update->selects;
    struct arena *arena = round->arena;
    int code = 0;

    round->rows = memory_checked(arena_calloc(arena, round->count + 1, sizeof(*round->rows)));
    round->exists = memory_checked(arena_calloc(arena, round->count + 1, sizeof(bool)));
    round->of = memory_checked(arena_calloc(arena, round->count + 1, sizeof(*round->of)));
    if (round->update->filter)
        code = find_matching(round, error);
    if (code == 0 && (named || !round->update->filter))
        code = find_rows(round, error);
    for (size_t i = 0; i < round->count && code == 0; i++)
        code = prepare_point(round, i, error);
    return code;
}

static int send_round(struct round *round, int64_t *operation, struct error *error)
{
    struct update *update = round->update;
    struct query_written *written;
    int code = write_produce(update->request, update->collection, &round->list, error);

    if (code == 0)
        code = write_wait(update->request, update->collection, &round->list, round->timeout_ms,
                          &written, error);
    if (code != 0)
        return code;
    for (size_t i = 0; i < round->list.count; i++) {
        struct update_point *point = round->of[i];
        if (round->list.writes[i].offset > *operation)
            *operation = round->list.writes[i].offset;
        point->shard = written[i].shard;
        point->offset = written[i].offset;
        point->done = !write_is_superseded(written[i].refused);
        if (!point->done)
            written[i].refused = NULL;
    }
    return write_check_stored(&round->list, written, error);
}

static int run_round(struct round *round, int64_t *operation, struct error *error)
{
    struct query_view_options options = {
        .collection = round->update->collection, .timeout_ms = round->timeout_ms, .whole = true};
    int code = parse_open_view(round->update->request, &options, false, &round->view, error);

    if (code == 0)
        code = prepare(round, error);
    query_view_close(round->view);
    if (code == 0 && round->list.count > 0)
        code = send_round(round, operation, error);
    return code;
}

static size_t left_of(const struct round *round)
{
    size_t left = 0;

    for (size_t i = 0; i < round->count; i++)
        left += !round->points[i].done;
    return left;
}

/* Some points, until each of them is done. */
static int run_points(struct update *update, struct update_point *points, size_t count,
                      int64_t timeout_ms, int64_t *operation, struct error *error)
{
    struct arena arena;
    int code = 0;
    size_t left = count;

    arena_create(&arena, 0);
    for (int i = 0; i < ROUNDS_MAX && left > 0 && code == 0; i++) {
        struct round round = {.update = update,
                              .points = points,
                              .count = count,
                              .first = i == 0,
                              .timeout_ms = timeout_ms,
                              .arena = &arena};
        arena_reset(&arena);
        code = run_round(&round, operation, error);
        left = left_of(&round);
    }
    arena_destroy(&arena);
    if (code == ERROR_TIMEOUT)
        return error_set(error, ERROR_TIMEOUT,
                         "Timeout: %zu of %zu points are not known to be changed. Others changed "
                         "them at the same time, or the shards are behind",
                         left, count);
    if (code == 0 && left > 0)
        return error_set(error, ERROR_BUSY,
                         "%zu of %zu points were changed by others each of %d times that they were "
                         "read and written back",
                         left, count, ROUNDS_MAX);
    return code;
}

/* Room for so many more. */
static void reserve_points(struct update *update, size_t more)
{
    struct update_point *points;

    if (update->count + more <= update->room)
        return;
    update->room = 2 * (update->count + more);
    points =
        memory_checked(arena_calloc(&update->request->arena, update->room + 1, sizeof(*points)));
    if (update->count > 0)
        memcpy(points, update->points, update->count * sizeof(*points));
    update->points = points;
}

static int add_matching(struct update *update, struct query_view *view, struct error *error)
{
    struct arena *arena = &update->request->arena;
    struct query_scroll scroll = {.limit = WRITE_FILTER_PAGE, .arena = arena};
    struct query_result page;
    const uint8_t *next;
    size_t next_bytes;

    if (query_filter_compile(update->filter, config_vector_name(update->collection), arena,
                             &scroll.filter, error) != 0)
        return error->code;
    do {
        if (query_scroll_run(view, &scroll, &page, &next, &next_bytes, error) != 0)
            return error->code;
        reserve_points(update, page.hit_count);
        for (size_t i = 0; i < page.hit_count; i++) {
            struct query_key *id = &update->points[update->count++].id;
            id->bytes = query_row_key(&page.hits[i].row, &id->size_bytes);
            id->bytes =
                (const uint8_t *)memory_checked(arena_copy(arena, id->bytes, id->size_bytes));
        }
        scroll.from_key = next;
        scroll.from_key_bytes = next_bytes;
    } while (next);
    return 0;
}

/* The points that match now. */
static int select_points(struct update *update, int64_t timeout_ms, struct error *error)
{
    struct query_view_options options = {
        .collection = update->collection, .timeout_ms = timeout_ms, .whole = true};
    struct query_view *view = NULL;
    int code = parse_open_view(update->request, &options, false, &view, error);

    if (code == 0)
        code = add_matching(update, view, error);
    query_view_close(view);
    if (code == 0)
        sort_points(update);
    return code;
}

int update_run(struct update *update, int64_t timeout_ms, int64_t *operation, struct error *error)
{
    int code = update->selects ? select_points(update, timeout_ms, error) : 0;

    for (size_t at = 0; at < update->count && code == 0; at += ROUND_POINTS) {
        size_t some = update->count - at < ROUND_POINTS ? update->count - at : ROUND_POINTS;
        code = run_points(update, update->points + at, some, timeout_ms, operation, error);
    }
    return code;
}
