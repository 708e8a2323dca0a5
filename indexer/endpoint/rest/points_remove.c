/* Removals: versions of points that were read, and are taken out while they are still the living ones.
 *
 *     look     which versions have to go: those that match a filter, or old ones of ids in several
 *              shards
 *     send     a tombstone for each, with the offset of the version that was read
 *              (DECODE_EXPECTS_HEADER), to the shard that has it
 *     wait     until the shards have come to them: a tombstone counts while that version is still the
 *              living one (store/expected_version.c)
 *     again    for the ids whose version another producer has replaced in between
 *
 * So an upsert that comes between the look and the tombstone stays, unless the next look finds that
 * it has to go as well. Ids are chosen by the first look: later ones are for those that were refused. */
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/endpoint/rest/write.h"
#include "store/files/key.h"

enum { ROUNDS_MAX = 200, IDS_AT_ONCE = 512 };

struct removal {
    struct http_request *request;
    const struct config_collection *collection;
    struct parse_extras extras; /* offsets are waited for by the first look only */
    /* Adds the tombstones; of `ids`, or of all in the first round. */
    int (*look)(struct removal *removal, struct error *error);
    /* Of one round. Two take turns: what a round leaves to the next one lives in its own arena. */
    struct arena arenas[2];
    struct arena *arena;
    struct query_view *view;
    struct write_list list;
    struct query_key *ids; /* that are left for this round; NULL: the first one */
    size_t id_count;
    size_t removed;
    int64_t operation;        /* the largest offset that was written */
    const struct doc *filter; /* of a delete */
    /* Of a repair. */
    struct query_scroll page;
    size_t scanned, found;
    const uint8_t *next; /* key where the next page begins, NULL: there is none */
    size_t next_bytes;
    bool dry_run;
};

/* Rounds. */

/* *sent: false where the shard's topic left the configuration, so that nothing can be written to it. */
static int add_version(struct removal *removal, const struct query_key *id,
                       const struct query_version *version, bool *sent, struct error *error)
{
    struct rest_write *write;

    if (version->offset < 0)
        return error_set(error, ERROR_UNSUPPORTED,
                         "A point lies in several partitions, and the node that serves %s is of an "
                         "older version, which does not tell the version that it has: upgrade it",
                         version->shard);
    write = write_add(removal->arena, &removal->list, id->bytes, id->size_bytes);
    *sent = write_send_to(removal->collection, version->shard, write);
    if (*sent)
        write_expect(write, removal->view, version->shard, version->offset);
    else
        removal->list.count--;
    return 0;
}

static void keep_for_next(struct removal *removal, size_t *count, const struct query_key *id)
{
    const struct query_key *last = *count > 0 ? &removal->ids[*count - 1] : NULL;

    if (last && bytes_equal(last->bytes, last->size_bytes, id->bytes, id->size_bytes))
        return; /* versions of one id stand side by side */
    removal->ids[(*count)++] = *id;
}

static int send_round(struct removal *removal, struct error *error)
{
    struct write_list *list = &removal->list;
    struct query_written *written;
    size_t left = 0;
    int code = write_produce(removal->request, removal->collection, list, error);

    if (code == 0)
        code = write_wait(removal->request, removal->collection, list, removal->extras.timeout_ms,
                          &written, error);
    if (code != 0)
        return code;
    removal->ids =
        memory_checked(arena_calloc(removal->arena, list->count + 1, sizeof(*removal->ids)));
    for (size_t i = 0; i < list->count; i++) {
        if (list->writes[i].offset > removal->operation)
            removal->operation = list->writes[i].offset;
        removal->removed += written[i].refused == NULL;
        if (write_is_superseded(written[i].refused)) {
            keep_for_next(removal, &left, &list->ids[i]);
            written[i].refused = NULL;
        }
    }
    removal->id_count = left;
    return write_check_stored(list, written, error);
}

static int run_round(struct removal *removal, struct error *error)
{
    int code = parse_whole_view(removal->request, removal->collection, &removal->extras,
                                &removal->view, error);

    removal->list = (struct write_list){0};
    if (code == 0)
        code = removal->look(removal, error);
    query_view_close(removal->view);
    removal->view = NULL;
    removal->extras.min_offset_count = 0;
    removal->id_count = 0;
    if (code == 0 && removal->list.count > 0 && !removal->dry_run)
        code = send_round(removal, error);
    return code;
}

static int run_rounds(struct removal *removal, struct error *error)
{
    int code = 0;

    arena_create(&removal->arenas[0], 0);
    arena_create(&removal->arenas[1], 0);
    for (int i = 0; code == 0 && i < ROUNDS_MAX && (i == 0 || removal->id_count > 0); i++) {
        removal->arena = &removal->arenas[i % 2];
        arena_reset(removal->arena);
        code = run_round(removal, error);
    }
    arena_destroy(&removal->arenas[0]);
    arena_destroy(&removal->arenas[1]);
    if (code == ERROR_TIMEOUT)
        return error_set(error, ERROR_TIMEOUT,
                         "Timeout: points that were to be deleted are not known to be. Others "
                         "changed them at the same time, or the shards are behind");
    if (code == 0 && removal->id_count > 0)
        return error_set(error, ERROR_BUSY,
                         "%zu points kept changing: gave up after %d attempts to delete them; "
                         "retry later",
                         removal->id_count, ROUNDS_MAX);
    return code;
}

/* Deletes by filter. */

static struct query_key key_of(const struct query_row *row)
{
    struct query_key key;

    key.bytes = query_row_key(row, &key.size_bytes);
    return key;
}

static int add_match(struct removal *removal, const struct query_row *row,
                     const struct query_holders *holders, struct error *error)
{
    const struct query_version match = query_row_version(row);
    const struct query_key id = key_of(row);
    bool sent;

    if (add_version(removal, &id, &match, &sent, error) != 0)
        return error->code;
    if (!sent)
        return error_set(
            error, ERROR_INVALID,
            "Wrong input: a point that matches lies in shard %s, whose topic was taken "
            "out of the configuration: it cannot be deleted",
            row->shard);
    /* Old versions in other shards go as well, or they would be seen in its place. One that is newer
     * came after the filter was looked at. */
    for (size_t i = 0; holders && i < holders->count; i++)
        if (strcmp(holders->versions[i].shard, row->shard) != 0 &&
            query_version_compare(&match, &holders->versions[i]) < 0 &&
            add_version(removal, &id, &holders->versions[i], &sent, error) != 0)
            return error->code;
    return 0;
}

static int add_matches(struct removal *removal, struct query_scroll *scroll, struct error *error)
{
    struct query_holders *holders = NULL;
    struct query_result page;
    const uint8_t *next;
    size_t next_bytes;

    do {
        if (query_scroll_run(removal->view, scroll, &page, &next, &next_bytes, error) != 0)
            return error->code;
        if (!write_has_one_place(removal->view) &&
            query_locate_hits(removal->view, page.hits, page.hit_count, removal->arena, &holders,
                              error) != 0)
            return error->code;
        for (size_t i = 0; i < page.hit_count; i++)
            if (add_match(removal, &page.hits[i].row, holders ? &holders[i] : NULL, error) != 0)
                return error->code;
        scroll->from_key = next;
        scroll->from_key_bytes = next_bytes;
    } while (next);
    return 0;
}

/* Most ids of a later round are gone by now, when it was not known what became of them. */
static int drop_gone(struct removal *removal, struct error *error)
{
    struct query_row *rows =
        memory_checked(arena_calloc(removal->arena, removal->id_count + 1, sizeof(*rows)));
    size_t left = 0;

    if (query_find_many(removal->view, removal->ids, removal->id_count, (struct query_wants){0},
                        removal->arena, rows, error) != 0)
        return error->code;
    for (size_t i = 0; i < removal->id_count; i++)
        if (rows[i].shard)
            removal->ids[left++] = removal->ids[i];
    removal->id_count = left;
    return 0;
}

static int look_for_matches(struct removal *removal, struct error *error)
{
    struct query_scroll scroll = {.limit = WRITE_FILTER_PAGE, .arena = removal->arena};

    if (!removal->ids) {
        if (query_filter_compile(removal->filter, config_vector_name(removal->collection),
                                 removal->arena, &scroll.filter, error) != 0)
            return error->code;
        return add_matches(removal, &scroll, error);
    }
    if (drop_gone(removal, error) != 0)
        return error->code;
    for (size_t at = 0; at < removal->id_count; at += IDS_AT_ONCE) {
        const struct query_key *ids = removal->ids + at;
        size_t count = removal->id_count - at < IDS_AT_ONCE ? removal->id_count - at : IDS_AT_ONCE;
        struct doc filter = write_filter_of_ids(removal->arena, removal->filter, ids, count);
        scroll.from_key = NULL;
        if (query_filter_compile(&filter, config_vector_name(removal->collection), removal->arena,
                                 &scroll.filter, error) != 0 ||
            add_matches(removal, &scroll, error) != 0)
            return error->code;
    }
    return 0;
}

int write_delete_matching(struct http_request *request, const struct config_collection *collection,
                          const struct doc *filter, const struct parse_extras *extras,
                          int64_t *operation, struct error *error)
{
    struct removal removal = {.request = request,
                              .collection = collection,
                              .extras = *extras,
                              .look = look_for_matches,
                              .filter = filter};
    int code = run_rounds(&removal, error);

    if (removal.operation > *operation)
        *operation = removal.operation;
    return code;
}

/* Ids in several shards. */

static int look_at_page(struct removal *removal, struct query_key **ids, size_t *count,
                        struct error *error)
{
    struct query_result page;
    const uint8_t *next;

    removal->page.arena = removal->arena;
    if (query_scroll_run(removal->view, &removal->page, &page, &next, &removal->next_bytes,
                         error) != 0)
        return error->code;
    if (next)
        removal->next = (const uint8_t *)memory_checked(
            arena_copy(&removal->request->arena, next, removal->next_bytes));
    removal->scanned = *count = page.hit_count;
    *ids = memory_checked(arena_calloc(removal->arena, *count + 1, sizeof(**ids)));
    for (size_t i = 0; i < *count; i++)
        (*ids)[i] = key_of(&page.hits[i].row);
    return 0;
}

/* A tombstone for each version but the newest, as every read sees them. Partitions of a topic that left
 * the configuration cannot be written to. */
static int look_for_old_versions(struct removal *removal, struct error *error)
{
    const bool first = removal->ids == NULL;
    struct query_key *ids = removal->ids;
    size_t count = removal->id_count;
    struct query_holders *holders;
    bool sent;

    if (first && look_at_page(removal, &ids, &count, error) != 0)
        return error->code;
    if (query_locate(removal->view, ids, count, removal->arena, &holders, error) != 0)
        return error->code;
    for (size_t i = 0; i < count; i++) {
        removal->found += first && holders[i].count > 1;
        for (size_t k = 1; k < holders[i].count; k++)
            if (add_version(removal, &ids[i], &holders[i].versions[k], &sent, error) != 0)
                return error->code;
    }
    return 0;
}

static void reply_repair(struct http_request *request, const struct removal *removal)
{
    http_reply_begin(request);
    buffer_append_format(&request->reply,
                         "{\"scanned\":%zu,\"found\":%zu,\"removed\":%zu,\"next_page_offset\":",
                         removal->scanned, removal->found, removal->removed);
    if (removal->next) {
        struct doc id = store_key_to_doc(removal->next, removal->next_bytes, &request->arena);
        doc_write_json(&request->reply, &id);
    } else {
        buffer_append_text(&request->reply, "null");
    }
    buffer_append_byte(&request->reply, '}');
    http_reply_end(request, NULL);
}

/* One page. */
void rest_handle_repair(struct http_request *request)
{
    struct removal removal = {.request = request, .look = look_for_old_versions};
    const struct doc *offset, *dry_run;
    struct error error = {0};
    struct store_key from;
    struct doc body;
    int code = write_open(request, &removal.collection, &body, &removal.extras, &error);

    if (code == 0)
        code = parse_limit(&body, WRITE_FILTER_PAGE, &removal.page.limit, &error);
    offset = code == 0 ? doc_get(&body, "offset") : NULL;
    if (offset && (code = parse_id(offset, &from, &error)) == 0) {
        removal.page.from_key = from.bytes;
        removal.page.from_key_bytes = from.size_bytes;
    }
    dry_run = code == 0 ? doc_get(&body, "dry_run") : NULL;
    removal.dry_run = dry_run && dry_run->boolean;
    if (code == 0)
        code = run_rounds(&removal, &error);
    if (code == 0)
        reply_repair(request, &removal);
    else
        http_reply_from_error(request, &error);
}
