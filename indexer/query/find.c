/* Rows by their ids, and the shards that hold them. Kafka keeps an id in one partition, until partitions
 * are added or a producer uses another partitioner; offsets of two shards do not compare, so the
 * newest event is the best guess at the newest version. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/query/gather.h"
#include "store/files/residues.h"
#include "store/snapshot.h"

enum {
    CHECK_KEYS = 64 /* between two looks at the clock */,
    HOLDER_FIELDS = 4,
    LOCATE_AT_ONCE = 100000
};

static int find_here(struct query_view *view, const struct query_key *key, struct query_row *row,
                     struct error *error)
{
    row->shard = NULL;
    for (size_t i = 0; i < view->shard_count; i++) {
        const struct store_source *source;
        struct error local = {0};
        struct query_row found;
        uint32_t place;
        int code = store_snapshot_find(view->shards[i].snapshot, key->bytes, key->size_bytes,
                                       &source, &place, &local);
        if (code == ERROR_NOT_FOUND)
            continue;
        if (code != 0) {
            *error = local;
            return error_wrap(error, "shard %s", view->shards[i].name);
        }
        found = query_view_row(view, i, source, place);
        if (!row->shard || query_row_compare_versions(&found, row) < 0)
            *row = found;
    }
    return 0;
}

struct finding {
    struct query_view *view;
    const struct query_key *keys;
    size_t count;
    struct query_wants wants;
    struct arena *arena;
    struct query_row *rows;
};

/* {"hits": [row, ...], "places": [place of its key, ...]} */
static int take_rows(void *context, const struct gather_answer *answer, struct error *error)
{
    struct finding *finding = context;
    const struct doc *places;
    struct query_hit *hits;
    size_t count;

    if (gather_hits(answer, finding->view->collection->dim, finding->wants, finding->arena, &hits,
                    &count, error) != 0 ||
        wire_get(answer->result, "places", DOC_ARRAY, &places, error) != 0)
        return error->code;
    if (places->count != count)
        return error_set(error, ERROR_INVALID, "peer: %u places for %zu rows", places->count,
                         count);
    for (size_t i = 0; i < count; i++) {
        const struct doc *place = &places->items[i];
        const struct query_peer_row *row = hits[i].row.peer;
        const struct query_key *key;
        if (place->type != DOC_INT || place->integer < 0 ||
            (uint64_t)place->integer >= finding->count)
            return error_set(error, ERROR_INVALID, "peer: places[%zu] is not sound", i);
        key = &finding->keys[place->integer];
        if (!bytes_equal(row->key, row->key_bytes, key->bytes, key->size_bytes))
            return error_set(error, ERROR_INVALID, "peer: a row that was not asked for");
    }
    for (size_t i = 0; i < count; i++) {
        struct query_row *mine = &finding->rows[places->items[i].integer];
        const struct query_row *row = &hits[i].row;
        if (!mine->shard || query_row_compare_versions(row, mine) < 0)
            *mine = *row;
    }
    return 0;
}

int query_find_many(struct query_view *view, const struct query_key *keys, size_t count,
                    struct query_wants wants, struct arena *arena, struct query_row *rows,
                    struct error *error)
{
    struct finding finding = {view, keys, count, wants, arena, rows};
    struct gather gather;
    struct doc op = {0};
    int code = 0;

    if (gather_needed(view))
        op = wire_from_keys("find", keys, count, wants, arena);
    gather_start(&gather, view, arena, &op);
    for (size_t i = 0; i < count && code == 0; i++) {
        if (i % CHECK_KEYS == 0)
            code = query_view_check(view, error);
        if (code == 0)
            code = find_here(view, &keys[i], &rows[i], error);
    }
    return gather_finish(&gather, code, take_rows, &finding, error);
}

int query_find(struct query_view *view, const uint8_t *key, size_t key_bytes, struct arena *arena,
               struct query_row *row, struct error *error)
{
    const struct query_key one = {key, key_bytes};
    const struct query_wants wants = {.payload = true, .vector = true};
    int code = query_find_many(view, &one, 1, wants, arena, row, error);

    if (code != 0 || row->shard)
        return code;
    if (query_view_check_all(view, error) != 0)
        return error_wrap(error, "Whether the id exists is not known");
    return error_set(error, ERROR_NOT_FOUND, "no record has this id");
}

/* Holders. */

struct locating {
    struct arena *arena;
    struct query_holders *holders; /* by key; room for every shard of the collection */
    size_t count, room;
};

static int newest_first(const void *a, const void *b)
{
    return query_version_compare(a, b);
}

/* {"holders": [[key's place, shard's place, event time, offset], ...]}. Nodes of windrow 0.2 and before
 * leave the offset out. */
static int take_holders(void *context, const struct gather_answer *answer, struct error *error)
{
    struct locating *locating = context;
    const struct doc *list;

    if (wire_get(answer->result, "holders", DOC_ARRAY, &list, error) != 0)
        return error->code;
    if (list->count > locating->count * answer->shard_count)
        return error_set(error, ERROR_INVALID, "peer: more holders than keys and shards");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct doc *entry = &list->items[i];
        if (entry->type != DOC_ARRAY || entry->count < 3 || entry->items[0].type != DOC_INT ||
            entry->items[1].type != DOC_INT || entry->items[2].type != DOC_INT ||
            entry->items[0].integer < 0 || entry->items[1].integer < 0 ||
            (size_t)entry->items[0].integer >= locating->count ||
            (size_t)entry->items[1].integer >= answer->shard_count)
            return error_set(error, ERROR_INVALID, "peer: holders[%u] is not sound", i);
        if (entry->count > 3 && (entry->items[3].type != DOC_INT || entry->items[3].integer < -1))
            return error_set(error, ERROR_INVALID, "peer: holders[%u] is not sound", i);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const struct doc *fields = list->items[i].items;
        struct query_holders *holders = &locating->holders[fields[0].integer];
        if (holders->count < locating->room) /* a node that repeats itself */
            holders->versions[holders->count++] =
                (struct query_version){answer->shards[fields[1].integer], fields[2].integer,
                                       list->items[i].count > 3 ? fields[3].integer : -1};
    }
    return 0;
}

static void locate_here(struct query_view *view, const struct query_key *key,
                        struct query_holders *holders)
{
    holders->count = 0;
    for (size_t i = 0; i < view->shard_count; i++) {
        const struct store_source *source;
        struct error ignored = {0};
        uint32_t row;
        int code = store_snapshot_find(view->shards[i].snapshot, key->bytes, key->size_bytes,
                                       &source, &row, &ignored);
        if (code == ERROR_NOT_FOUND)
            continue;
        holders->versions[holders->count++] = (struct query_version){
            view->shards[i].name, code == 0 ? store_row_event_time_ms(source, row) : INT64_MIN,
            code == 0 ? store_row_offset(source, row) : -1};
    }
}

/* Asks the peers; what they answer is taken by gather_finish. */
static struct locating locate_start(struct gather *gather, struct query_view *view,
                                    const struct query_key *keys, size_t count, struct arena *arena)
{
    struct locating locating = {
        .arena = arena, .count = count, .room = view->shard_count + view->remote_count};
    struct doc op = {0};

    if (gather_needed(view))
        op = wire_from_keys("locate", keys, count, (struct query_wants){0}, arena);
    gather_start(gather, view, arena, &op);
    locating.holders = memory_checked(arena_calloc(arena, count + 1, sizeof(*locating.holders)));
    for (size_t i = 0; i < count; i++)
        locating.holders[i].versions =
            memory_checked(arena_calloc(arena, locating.room + 1, sizeof(struct query_version)));
    return locating;
}

int query_locate(struct query_view *view, const struct query_key *keys, size_t count,
                 struct arena *arena, struct query_holders **holders, struct error *error)
{
    struct gather gather;
    struct locating locating = locate_start(&gather, view, keys, count, arena);
    int code = 0;

    *holders = locating.holders;
    for (size_t i = 0; i < count && code == 0; i++) {
        if (i % CHECK_KEYS == 0 && (code = query_view_check(view, error)) != 0)
            break;
        locate_here(view, &keys[i], &locating.holders[i]);
    }
    code = gather_finish(&gather, code, take_holders, &locating, error);
    for (size_t i = 0; i < count && code == 0; i++)
        if (locating.holders[i].count > 1)
            qsort(locating.holders[i].versions, locating.holders[i].count,
                  sizeof(*locating.holders[i].versions), newest_first);
    return code;
}

int query_locate_hits(struct query_view *view, const struct query_hit *hits, size_t count,
                      struct arena *arena, struct query_holders **holders, struct error *error)
{
    struct query_key *keys = memory_checked(arena_calloc(arena, count + 1, sizeof(*keys)));

    for (size_t i = 0; i < count; i++)
        keys[i].bytes = query_row_key(&hits[i].row, &keys[i].size_bytes);
    return query_locate(view, keys, count, arena, holders, error);
}

/* Newest versions. */

static int key_then_newest(const void *a, const void *b)
{
    const struct query_hit *left = *(struct query_hit *const *)a;
    const struct query_hit *right = *(struct query_hit *const *)b;
    int order = query_row_compare_ids(&left->row, &right->row);

    return order != 0 ? order : query_row_compare_versions(&left->row, &right->row);
}

/* Hits that leave are marked by having no shard. */
static void drop_marked(struct hit_list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++)
        if (list->hits[i].row.shard)
            list->hits[kept++] = list->hits[i];
    list->count = kept;
}

/* Of an id that is there twice the newest version stays. */
static void drop_repeated(struct hit_list *list, struct arena *arena)
{
    struct query_hit **by_key;

    if (list->count < 2)
        return;
    by_key = memory_checked(arena_calloc(arena, list->count, sizeof(struct query_hit *)));
    for (size_t i = 0; i < list->count; i++)
        by_key[i] = &list->hits[i];
    qsort(by_key, list->count, sizeof(struct query_hit *), key_then_newest);
    for (size_t i = list->count - 1; i > 0; i--)
        if (query_row_compare_ids(&by_key[i]->row, &by_key[i - 1]->row) == 0)
            by_key[i]->row.shard = NULL;
    drop_marked(list);
}

/* A hit whose id may have a newer version elsewhere. */
struct suspect {
    struct query_row *row;
    struct query_key key;
    struct key_hashes hashes;
};

struct suspects {
    struct suspect *items;
    size_t count;
};

static struct suspects suspects_of(struct hit_list *const *lists, size_t list_count,
                                   size_t hit_count, struct arena *arena)
{
    struct suspects suspects = {
        .items = memory_checked(arena_calloc(arena, hit_count + 1, sizeof(struct suspect)))};

    for (size_t i = 0; i < list_count; i++)
        for (size_t k = 0; k < lists[i]->count; k++) {
            struct suspect *one = &suspects.items[suspects.count++];
            one->row = &lists[i]->hits[k].row;
            one->key.bytes = query_row_key(one->row, &one->key.size_bytes);
            key_hashes_of(one->key.bytes, one->key.size_bytes, &one->hashes);
        }
    return suspects;
}

/* The row leaves where the shard has a newer version of it. */
static void compare_with(const struct view_shard *shard, struct suspect *suspect)
{
    const struct query_version version = query_row_version(suspect->row);
    const struct store_source *source;
    struct query_version other;
    uint32_t row;

    if (store_snapshot_find_since(shard->snapshot, suspect->key.bytes, suspect->key.size_bytes,
                                  version.time_ms, &source, &row, ERROR_IGNORED) != 0)
        return;
    other = (struct query_version){shard->name, store_row_event_time_ms(source, row),
                                   store_row_offset(source, row)};
    if (query_version_compare(&other, &version) < 0)
        suspect->row->shard = NULL;
}

/* Looks at the shards of this process. */
static int mark_old_here(struct query_view *view, const struct suspects *suspects,
                         struct error *error)
{
    for (size_t i = 0; i < suspects->count; i++) {
        struct suspect *one = &suspects->items[i];
        if (i % CHECK_KEYS == 0 && stop_check(view->stop, error) != 0)
            return error->code;
        for (size_t k = 0; k < view->shard_count && one->row->shard; k++)
            if (strcmp(view->shards[k].name, one->row->shard) != 0 &&
                key_residues_may_hold(query_shard_residues(&view->shards[k]), &one->hashes))
                compare_with(&view->shards[k], one);
    }
    return 0;
}

/* Keeps the hits whose ids may lie in a shard of a peer, and lets only such shards be asked. A peer that
 * has just not answered is not asked again: the answer lacks its shards already. */
static void keep_elsewhere(struct query_view *view, struct suspects *suspects)
{
    size_t kept = 0;

    for (size_t i = 0; i < view->remote_count; i++)
        view->remotes[i].left_out = true;
    for (size_t i = 0; i < suspects->count; i++) {
        const struct suspect one = suspects->items[i];
        bool asks = false;
        for (size_t k = 0; k < view->remote_count && one.row->shard; k++) {
            struct view_remote *remote = &view->remotes[k];
            if (remote->answered_now && strcmp(remote->name, one.row->shard) != 0 &&
                key_residues_may_hold(&remote->residues, &one.hashes)) {
                remote->left_out = false;
                asks = true;
            }
        }
        if (asks)
            suspects->items[kept++] = one;
    }
    suspects->count = kept;
    for (size_t i = 0; kept == 0 && i < view->remote_count; i++)
        view->remotes[i].left_out = false;
}

static int mark_old_elsewhere(struct query_view *view, const struct suspects *suspects,
                              struct arena *arena, struct error *error)
{
    struct query_key *keys =
        memory_checked(arena_calloc(arena, suspects->count + 1, sizeof(*keys)));
    struct locating locating;
    struct gather gather;
    int code;

    for (size_t i = 0; i < suspects->count; i++)
        keys[i] = suspects->items[i].key;
    locating = locate_start(&gather, view, keys, suspects->count, arena);
    code = gather_finish(&gather, 0, take_holders, &locating, error);
    for (size_t i = 0; code == 0 && i < suspects->count; i++) {
        struct query_row *row = suspects->items[i].row;
        const struct query_version version = query_row_version(row);
        /* In the hit's own shard it may have been written anew since: that is another moment's version, not another
         * shard's. */
        for (size_t k = 0; k < locating.holders[i].count; k++)
            if (strcmp(locating.holders[i].versions[k].shard, version.shard) != 0 &&
                query_version_compare(&locating.holders[i].versions[k], &version) < 0)
                row->shard = NULL;
    }
    return code;
}

int query_keep_newest(struct query_view *view, struct hit_list *const *lists, size_t list_count,
                      struct arena *arena, struct error *error)
{
    int code = 0;

    if (view->shard_count + view->remote_count < 2)
        return 0;
    for (size_t i = 0; i < list_count; i++)
        drop_repeated(lists[i], arena);
    for (size_t first = 0, end = 0; first < list_count && code == 0; first = end) {
        struct suspects suspects;
        size_t hit_count = 0;
        while (end < list_count &&
               (end == first || hit_count + lists[end]->count <= LOCATE_AT_ONCE))
            hit_count += lists[end++]->count;
        suspects = suspects_of(lists + first, end - first, hit_count, arena);
        code = mark_old_here(view, &suspects, error);
        if (code == 0)
            keep_elsewhere(view, &suspects);
        if (code == 0 && suspects.count > 0)
            code = mark_old_elsewhere(view, &suspects, arena, error);
    }
    for (size_t i = 0; i < list_count; i++)
        drop_marked(lists[i]);
    return code;
}

/* For a peer. */

int answer_find(struct query_view *view, const struct doc *op, struct arena *arena,
                struct doc *result, struct error *error)
{
    struct query_wants wants;
    struct query_key *keys;
    struct doc *hits, *places;
    size_t count;
    uint32_t found = 0;

    if (wire_to_keys(op, arena, &keys, &count, &wants, error) != 0)
        return error->code;
    hits = doc_items(arena, (uint32_t)count);
    places = doc_items(arena, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        struct query_hit hit = {0};
        if (i % CHECK_KEYS == 0 && query_view_check(view, error) != 0)
            return error->code;
        if (find_here(view, &keys[i], &hit.row, error) != 0)
            return error->code;
        if (!hit.row.shard)
            continue;
        if (wire_from_hit(&hit, query_view_place(view, hit.row.shard), view->collection->dim, wants,
                          arena, &hits[found], error) != 0)
            return error->code;
        places[found++] = doc_integer((int64_t)i);
    }
    doc_put(result, "hits", (struct doc){.type = DOC_ARRAY, .count = found, .items = hits});
    doc_put(result, "places", (struct doc){.type = DOC_ARRAY, .count = found, .items = places});
    return 0;
}

int answer_locate(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error)
{
    struct query_wants wants;
    struct query_key *keys;
    struct query_holders holders;
    struct doc *list;
    size_t count;
    uint32_t used = 0;

    if (wire_to_keys(op, arena, &keys, &count, &wants, error) != 0)
        return error->code;
    holders.versions =
        memory_checked(arena_calloc(arena, view->shard_count + 1, sizeof(*holders.versions)));
    if (count > UINT32_MAX / (view->shard_count + 1))
        return error_set(error, ERROR_INVALID, "peer: more keys than an answer holds");
    list = doc_items(arena, (uint32_t)(count * view->shard_count));
    for (size_t i = 0; i < count; i++) {
        if (i % CHECK_KEYS == 0 && query_view_check(view, error) != 0)
            return error->code;
        locate_here(view, &keys[i], &holders);
        for (size_t k = 0; k < holders.count; k++) {
            struct doc *fields = doc_items(arena, HOLDER_FIELDS);
            fields[0] = doc_integer((int64_t)i);
            fields[1] = doc_integer(query_view_place(view, holders.versions[k].shard));
            fields[2] = doc_integer(holders.versions[k].time_ms);
            fields[3] = doc_integer(holders.versions[k].offset);
            list[used++] = (struct doc){.type = DOC_ARRAY, .count = HOLDER_FIELDS, .items = fields};
        }
    }
    doc_put(result, "holders", (struct doc){.type = DOC_ARRAY, .count = used, .items = list});
    return 0;
}
