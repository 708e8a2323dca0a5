/* One operation at the peers. The answers are hostile until they are checked.
 *
 * Happy path: write_request makes the body once for all nodes; the exchange puts the names of the
 * shards in front (query_peer_request) and sends it. The process's own shards are searched
 * meanwhile. gather_finish waits, and accept_answer reads each answer on the thread that waits, one
 * after the other, so that `take` needs no lock.
 *
 * An answer counts as a whole or not at all: the head, the list of shards and the result are checked
 * before anything of it is kept, and a shard counts once, whoever answers first. What is refused
 * here is asked for at the shard's next owner.
 *
 * Of a shard that peers have more of, an older copy may be open here. When nobody else has answered, it does, in the
 * way in which a peer would: the same request, the same answer, named as one that lacks records. Better old than not
 * at all, but only if the answer says so. */
#include "indexer/query/gather.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"

static const struct doc_limits answer_limits = {.max_bytes = (size_t)512 << 20, .max_depth = 96};

bool gather_needed(const struct query_view *view)
{
    return view->remote_count > 0;
}

int gather_protocol(const struct query_view *view)
{
    return view->peers->protocol(view->peers->context);
}

/* The offsets that shards elsewhere are waited for. */
static struct doc offsets_of(const struct query_view *view, struct arena *arena)
{
    struct doc map = doc_map(arena, (uint32_t)view->min_offset_count);

    for (size_t i = 0; i < view->min_offset_count; i++)
        if (query_view_remote(view, view->min_offsets[i].shard))
            doc_put(&map, view->min_offsets[i].shard, doc_integer(view->min_offsets[i].offset));
    return map;
}

static void write_request(struct gather *gather, const struct doc *op)
{
    const struct query_view *view = gather->view;
    struct doc map = doc_map(gather->arena, 8);

    doc_put(&map, "v", doc_integer(gather_protocol(view)));
    doc_put(&map, "collection", wire_text(view->collection->name));
    doc_put(&map, "dim", doc_integer(view->collection->dim));
    doc_put(&map, "now_ms", doc_integer(view->score_now_ms));
    doc_put(&map, "min_offsets", offsets_of(view, gather->arena));
    doc_put(&map, "op", *op);
    doc_write_msgpack(&gather->body, &map);
}

/* [shard names, request]: the request is the same for all nodes, so that it is encoded once. */
void query_peer_request(const struct query_peer_call *call, const char *const *shards,
                        size_t shard_count, struct buffer *out)
{
    const uint8_t array_of_two = 0x92; /* MessagePack */
    const size_t first = out->size;
    struct arena arena;
    struct doc names = {.type = DOC_ARRAY, .count = (uint32_t)shard_count};
    struct doc *items;

    arena_create(&arena, 0);
    names.items = items = doc_items(&arena, names.count);
    for (size_t i = 0; i < shard_count; i++)
        items[i] = wire_text(shards[i]);
    buffer_append_byte(out, array_of_two);
    doc_write_msgpack(out, &names);
    buffer_append(out, call->body, call->body_bytes);
    wire_seal(out, first);
    arena_destroy(&arena);
}

/* Answers. */

/* The shards that an answer has must be among those that were asked for, each once. Of one that somebody else has by now,
 * the rows cannot be told from the others: nothing of the answer counts. */
static int take_shards(struct gather *gather, const struct query_peer_answer *answer,
                       const struct doc *list, struct gather_answer *taken,
                       struct view_remote **remotes, struct error *error)
{
    size_t superseded = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        const struct doc *entry = &list->items[i];
        struct key_residues residues;
        struct wire_lack lack;
        int32_t generation;
        size_t place = 0;
        if (entry->type != DOC_ARRAY || entry->count < 3 || entry->items[0].type != DOC_STRING ||
            entry->items[1].type != DOC_INT || entry->items[2].type != DOC_INT ||
            !wire_to_residues(entry, &residues) || !wire_to_lack(entry, &lack) ||
            !wire_to_generation(entry, &generation))
            return error_set(error, ERROR_INVALID, "peer: shards[%u] is not sound", i);
        while (place < answer->shard_count &&
               !doc_string_equals(&entry->items[0], answer->shards[place]))
            place++;
        if (place == answer->shard_count || answer->served[place])
            return error_set(error, ERROR_INVALID, "peer: shards[%u] was not asked for", i);
        answer->served[place] = true;
        remotes[i] = query_view_remote(gather->view, answer->shards[place]);
        taken->shards[taken->shard_count++] = remotes[i]->name;
        superseded += answer->superseded && answer->superseded(answer->asker, place, generation);
    }
    return superseded == 0
               ? 0
               : error_set(error, ERROR_UNAVAILABLE,
                           "peer: other nodes have %zu of its shards in a newer generation",
                           superseded);
}

/* Whether every shard of the answer also has a copy here. The rest of the time is kept for these copies
 * (`peers_deadline`). */
static bool all_are_here(const struct gather *gather, const struct query_peer_answer *answer)
{
    bool here = true;

    for (size_t i = 0; i < answer->shard_count; i++)
        here &= query_view_remote(gather->view, answer->shards[i])->here;
    return here;
}

/* Time that is over is over everywhere, but for copies that are here. Anything else may be that node's trouble alone, an
 * older version for example: the request was checked by this process before it was sent. */
static int take_error(struct gather *gather, const struct query_peer_answer *answer,
                      const struct doc *pair, struct error *error)
{
    if (pair->type != DOC_ARRAY || pair->count != 2 || pair->items[0].type != DOC_INT ||
        pair->items[1].type != DOC_STRING)
        return error_set(error, ERROR_INVALID, "peer: the error is not sound");
    if (pair->items[0].integer != ERROR_TIMEOUT || all_are_here(gather, answer))
        return error_set(error, ERROR_UNAVAILABLE, "%.*s", (int)pair->items[1].count,
                         pair->items[1].string);
    (void)error_set(&gather->failure, ERROR_TIMEOUT, "%.*s", (int)pair->items[1].count,
                    pair->items[1].string);
    for (size_t i = 0; i < answer->shard_count; i++)
        answer->served[i] = true;
    return 0;
}

/* The version first: what another version means by the rest is not known. */
static int check_head(const struct gather *gather, const struct doc *whole, struct error *error)
{
    const struct config_collection *collection = gather->view->collection;
    const struct doc *name;
    int64_t version;
    uint32_t dim;

    if (wire_get_version(whole, &version, error) != 0)
        return error->code;
    if (doc_get(whole, "error"))
        return 0;
    if (wire_get(whole, "collection", DOC_STRING, &name, error) != 0 ||
        wire_get_u32(whole, "dim", UINT32_MAX, &dim, error) != 0)
        return error->code;
    if (!doc_string_equals(name, collection->name) || dim != collection->dim)
        return error_set(error, ERROR_INVALID, "peer: another collection, or another dimension");
    return 0;
}

/* What one answer of the view lacked, the view lacks, whoever answers its next operation. */
static void note_lack(struct view_remote *remote, struct wire_lack lack)
{
    remote->lack.lacks |= lack.lacks;
    if (lack.known_offset > remote->lack.known_offset)
        remote->lack.known_offset = lack.known_offset;
}

static int accept_answer(void *context, const struct query_peer_answer *answer, struct error *error)
{
    struct gather *gather = context;
    struct arena *arena = gather->arena;
    const uint8_t *body = memory_checked(arena_copy(arena, answer->body, answer->body_bytes));
    struct gather_answer taken = {0};
    const struct doc *list;
    struct view_remote **remotes;
    size_t body_bytes = answer->body_bytes;
    struct doc whole;

    if (stop_check(gather->view->stop, error) != 0 || wire_open(body, &body_bytes, error) != 0 ||
        doc_parse_msgpack(arena, body, body_bytes, &answer_limits, &whole, error) != 0 ||
        check_head(gather, &whole, error) != 0)
        return error->code;
    if (doc_get(&whole, "error"))
        return take_error(gather, answer, doc_get(&whole, "error"), error);
    if (wire_get(&whole, "shards", DOC_ARRAY, &list, error) != 0 ||
        wire_get(&whole, "result", DOC_MAP, &taken.result, error) != 0)
        return error->code;
    if (answer->node)
        taken.node = arena_copy(arena, answer->node, strlen(answer->node));
    taken.shards =
        memory_checked(arena_calloc(arena, answer->shard_count + 1, sizeof(*taken.shards)));
    remotes =
        memory_checked(arena_calloc(arena, answer->shard_count + 1, sizeof(struct view_remote *)));
    if (take_shards(gather, answer, list, &taken, remotes, error) != 0 ||
        (gather->take && gather->take(gather->context, &taken, error) != 0)) {
        memset(answer->served, 0, answer->shard_count * sizeof(*answer->served));
        return error->code;
    }
    for (size_t i = 0; i < taken.shard_count; i++) {
        struct wire_lack lack;
        remotes[i]->answered = true;
        remotes[i]->answered_now = true;
        remotes[i]->next_offset = list->items[i].items[1].integer;
        remotes[i]->watermark_ms = list->items[i].items[2].integer;
        (void)wire_to_residues(&list->items[i], &remotes[i]->residues);
        (void)wire_to_lack(&list->items[i], &lack);
        note_lack(remotes[i], lack);
    }
    return 0;
}

/* Copies of this process. */

/* Those that no peer has answered for, in the gather's arena. */
static const char **unanswered_here(const struct gather *gather, size_t *count)
{
    const struct query_view *view = gather->view;
    const char **names =
        memory_checked(arena_calloc(gather->arena, view->remote_count + 1, sizeof(*names)));

    *count = 0;
    for (size_t i = 0; i < view->remote_count; i++) {
        const struct view_remote *remote = &view->remotes[i];
        if (remote->here && !remote->answered_now && !remote->left_out)
            names[(*count)++] = remote->name;
    }
    return names;
}

/* A copy that has become level with what the view knew lacks nothing. One that is the freshest by now, because nobody
 * else is heard any more, lacks what the others had. */
static void note_own_lack(const struct gather *gather, const struct query_peer_answer *answer)
{
    for (size_t i = 0; i < answer->shard_count; i++) {
        struct view_remote *remote = query_view_remote(gather->view, answer->shards[i]);
        if (answer->served[i] && remote->next_offset < remote->known_offset)
            note_lack(remote, (struct wire_lack){true, remote->known_offset});
    }
}

static void answer_from_copies(struct gather *gather)
{
    const struct query_view *view = gather->view;
    const struct query_view_options options = {.collection = view->collection,
                                               .registry = view->registry,
                                               .io = view->io,
                                               .stop = view->stop,
                                               .pool = view->pool,
                                               .shared_work_min = view->shared_work_min,
                                               .describer = view->describer,
                                               .lacking = true};
    struct buffer request = {0}, reply = {0};
    struct query_peer_answer answer = {0};
    struct error error = {0};

    answer.shards = unanswered_here(gather, &answer.shard_count);
    if (answer.shard_count == 0 || gather->failure.code != 0)
        return;
    answer.served =
        memory_checked(arena_calloc(gather->arena, answer.shard_count, sizeof(*answer.served)));
    query_peer_request(&gather->call, answer.shards, answer.shard_count, &request);
    if (query_answer(NULL, &options, request.data, request.size, &reply, &error) == 0) {
        answer.body = reply.data;
        answer.body_bytes = reply.size;
        if (accept_answer(gather, &answer, &error) == 0)
            note_own_lack(gather, &answer);
    }
    if (error.code != 0)
        log_debug("query", "no peer answers for a shard, and the copy that is here does not: %s",
                  error.text);
    buffer_destroy(&request);
    buffer_destroy(&reply);
}

int gather_hits(const struct gather_answer *answer, uint32_t dim, struct query_wants wants,
                struct arena *arena, struct query_hit **hits, size_t *count, struct error *error)
{
    const struct doc *list;

    if (wire_get(answer->result, "hits", DOC_ARRAY, &list, error) != 0)
        return error->code;
    if (list->count > WIRE_ROWS_MAX)
        return error_set(error, ERROR_INVALID, "peer: more hits than any limit");
    *hits = memory_checked(arena_calloc(arena, (size_t)list->count + 1, sizeof(**hits)));
    *count = list->count;
    for (uint32_t i = 0; i < list->count; i++)
        if (wire_to_hit(&list->items[i], answer->shards, answer->shard_count, dim, wants, arena,
                        &(*hits)[i], error) != 0)
            return error->code;
    return 0;
}

/* Exchange. */

/* The rest of the time is for what peers answer at the last moment, or for the copies that are here if they do not. */
static int64_t peers_deadline(const struct query_view *view)
{
    enum { SHARE = 32, SHARE_HERE = 8 };
    int64_t share = SHARE;

    for (size_t i = 0; i < view->remote_count; i++)
        if (view->remotes[i].here && !view->remotes[i].left_out)
            share = SHARE_HERE;
    return view->stop->deadline_ns - (view->stop->deadline_ns - io_monotonic_ns(view->io)) / share;
}

/* Who closes a shard sleeps until its leases are back. */
static bool may_wait(void *context)
{
    const struct gather *gather = context;
    bool wanted_back = false;

    for (size_t i = 0; i < gather->view->shard_count; i++)
        wanted_back |= atomic_load(gather->view->shards[i].lease->closing);
    return !wanted_back;
}

void gather_start(struct gather *gather, struct query_view *view, struct arena *arena,
                  const struct doc *op)
{
    const char **names;
    size_t wanted = 0;

    *gather = (struct gather){.view = view, .arena = arena};
    if (!gather_needed(view))
        return;
    if (wire_needs(op) > gather_protocol(view)) {
        (void)error_set(&gather->failure, ERROR_UNSUPPORTED,
                        "windrow does not support this request while nodes of an older version are "
                        "in the cluster (`protocol` in GET /cluster): upgrade them");
        return;
    }
    write_request(gather, op);
    names = memory_checked(arena_calloc(arena, view->remote_count, sizeof(*names)));
    for (size_t i = 0; i < view->remote_count; i++) {
        if (view->remotes[i].left_out)
            continue;
        names[wanted++] = view->remotes[i].name;
        view->remotes[i].answered_now = false;
    }
    gather->call = (struct query_peer_call){.collection = view->collection,
                                            .shards = names,
                                            .shard_count = wanted,
                                            .body = gather->body.data,
                                            .body_bytes = gather->body.size,
                                            .deadline_ns = peers_deadline(view),
                                            .patient_until_ns = view->patient_until_ns,
                                            .may_wait = may_wait,
                                            .stop = view->stop,
                                            .pool = view->pool,
                                            .accept = accept_answer,
                                            .context = gather};
    gather->exchange = view->peers->start(view->peers->context, &gather->call);
}

int gather_finish(struct gather *gather, int local,
                  int (*take)(void *context, const struct gather_answer *answer,
                              struct error *error),
                  void *context, struct error *error)
{
    struct query_view *view = gather->view;

    if (!gather->exchange && local == 0 && gather->failure.code != 0)
        *error = gather->failure;
    if (!gather->exchange) {
        if (local == 0 && gather->failure.code == 0)
            return query_view_check_awake(view, error);
        return local != 0 ? local : gather->failure.code;
    }
    gather->take = take;
    gather->context = context;
    view->peers->finish(gather->exchange, local != 0, &view->peer_counts);
    if (local == 0)
        answer_from_copies(gather);
    buffer_destroy(&gather->body);
    if (local != 0)
        return local;
    query_view_note_answers(view);
    if (query_view_check_awake(view, error) != 0)
        return error->code;
    if (gather->failure.code != 0) {
        *error = gather->failure;
        return error->code;
    }
    return query_view_check_whole(view, error);
}
