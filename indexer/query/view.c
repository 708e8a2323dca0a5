/* Views: leases and snapshots of all shards of a collection. */
#include "indexer/query/gather.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/logger.h"
#include "base/memory.h"
#include "store/append.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"

enum {
    DEFAULT_TIMEOUT_MS = 30000,
    CLAIM_LOOK_MS = 100,  /* between two looks at who has a shard that moves */
    PATIENT_MAX = 64,     /* views: others that wait need room too */
    WHOLE_WAIT_MS = 10000 /* a killed process loses its shards after Kafka's session, 6 s */
};

int query_shard_compare(const char *a, const char *b)
{
    return strverscmp(a, b);
}

uint32_t query_view_place(const struct query_view *view, const char *shard)
{
    uint32_t place = 0;

    while (place + 1 < view->shard_count && strcmp(view->shards[place].name, shard) != 0)
        place++;
    return place;
}

const struct key_residues *query_shard_residues(struct view_shard *shard)
{
    if (!shard->residues_known)
        shard->residues = store_snapshot_residues(shard->snapshot);
    shard->residues_known = true;
    return &shard->residues;
}

/* What was given up stands still: an offset that it does not have comes elsewhere, if anywhere. A copy that stands in
 * for a peer is not waited for either. */
static bool stands_below(const struct query_view_options *options, const struct store_lease *lease)
{
    const bool stands = lease->handed_over || options->lacking;

    for (size_t i = 0; stands && i < options->min_offset_count; i++)
        if (store_shard_next_offset(lease->shard) <= options->min_offsets[i].offset &&
            strcmp(options->min_offsets[i].shard, store_shard_name(lease->shard)) == 0)
            return true;
    return false;
}

/* Leases of other shards than the wanted ones are given back, and of those that lack records: the
 * asking node is told that they are not here. */
static size_t keep_wanted(struct query_view *view, const struct query_view_options *options,
                          struct store_lease *leases)
{
    size_t kept = 0;

    for (size_t i = 0; i < view->shard_count; i++) {
        const char *name = store_shard_name(leases[i].shard);
        size_t k = 0;
        while (k < options->shard_count && strcmp(options->shards[k], name) != 0)
            k++;
        if (k < options->shard_count && (options->lacking || !leases[i].behind) &&
            !stands_below(options, &leases[i]))
            leases[kept++] = leases[i];
        else
            store_registry_release(view->registry, &leases[i]);
    }
    return kept;
}

static int by_remote_name(const void *a, const void *b)
{
    return query_shard_compare(((const struct view_remote *)a)->name,
                               ((const struct view_remote *)b)->name);
}

/* The labels of the collection's shards, once one is asked for. */
struct labels {
    struct store_expected_shard *shards;
    size_t count;
};

/* In the view's arena. */
static const char *label_of(struct query_view *view, struct labels *labels, const char *name)
{
    const char *label = name;

    if (!labels->shards)
        labels->count = store_registry_expected(view->registry, view->collection->name,
                                                &view->arena, &labels->shards);
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->shards[i].name, name) == 0)
            label = labels->shards[i].label;
    return arena_copy(&view->arena, label, strlen(label));
}

static bool is_stopped(const struct store_lease *lease)
{
    return lease->reading == STORE_STOPPED;
}

bool view_shard_lacks(const struct view_shard *shard)
{
    return shard->lease->late || shard->lease->behind || is_stopped(shard->lease);
}

/* A shard that has just come, or whose assignment is not known yet, lacks records; so does one that stopped, and one
 * that another process is known to have more of. Whoever has them is asked instead, and what is here answers if they
 * fail (gather.c); if nobody has, the shard is searched, and counts as missing where it is certain that there is more. */
static size_t leave_to_peers(struct query_view *view, const struct query_view_options *options,
                             struct store_lease *leases)
{
    struct labels labels = {0};
    size_t kept = 0;

    for (size_t i = 0; i < view->shard_count; i++) {
        const char *name = store_shard_name(leases[i].shard);
        const bool behind = leases[i].behind || stands_below(options, &leases[i]);
        const char *label;
        if (!behind && !leases[i].late && !is_stopped(&leases[i])) {
            leases[kept++] = leases[i];
            continue;
        }
        label = label_of(view, &labels, name);
        if ((behind || leases[i].late) &&
            view->peers->serves(view->peers->context, view->collection, name)) {
            view->remotes[view->remote_count++] =
                (struct view_remote){.name = arena_copy(&view->arena, name, strlen(name)),
                                     .label = label,
                                     .here = true,
                                     .known_offset = leases[i].known_offset};
            store_registry_release(view->registry, &leases[i]);
        } else {
            if (behind || is_stopped(&leases[i]))
                view->behind[view->behind_count++] = label;
            leases[kept++] = leases[i];
        }
    }
    return kept;
}

/* What the view leaves out as long as no peer has answered. */
static void cover_nothing_yet(struct query_view *view)
{
    struct store_coverage *coverage = &view->coverage;

    coverage->missing = memory_checked(
        arena_calloc(&view->arena, view->remote_count + view->behind_count + 1, sizeof(char *)));
    coverage->missing_count = 0;
    for (size_t i = 0; i < view->behind_count; i++)
        coverage->missing[coverage->missing_count++] = view->behind[i];
    for (size_t i = 0; i < view->remote_count; i++)
        coverage->missing[coverage->missing_count++] = view->remotes[i].label;
}

/* Without peers: what stopped lacks what Kafka has got since. */
static void name_stopped(struct query_view *view, const struct store_lease *leases)
{
    struct store_coverage *coverage = &view->coverage;
    struct labels labels = {0};
    size_t stopped = 0, count = coverage->missing_count;
    const char **missing;

    for (size_t i = 0; i < view->shard_count; i++)
        stopped += is_stopped(&leases[i]);
    if (stopped == 0)
        return;
    missing = memory_checked(arena_calloc(&view->arena, count + stopped + 1, sizeof(char *)));
    for (size_t i = 0; i < count; i++)
        missing[i] = coverage->missing[i];
    for (size_t i = 0; i < view->shard_count; i++)
        if (is_stopped(&leases[i]))
            missing[count++] = label_of(view, &labels, store_shard_name(leases[i].shard));
    coverage->missing = missing;
    coverage->missing_count = count;
}

/* Peers are asked for every shard that is expected and not open here. */
static void take_remotes(struct query_view *view, const struct query_view_options *options,
                         struct store_lease *leases)
{
    const struct store_coverage *coverage = &view->coverage;
    size_t most = coverage->missing_count + view->shard_count;

    view->remote_count = view->behind_count = 0;
    if (!view->peers && !options->shards && coverage->known)
        name_stopped(view, leases);
    if (!view->peers || !coverage->known)
        return;
    view->coverage.elsewhere = false;
    view->remotes = memory_checked(arena_calloc(&view->arena, most + 1, sizeof(*view->remotes)));
    view->behind = memory_checked(arena_calloc(&view->arena, most + 1, sizeof(*view->behind)));
    for (size_t i = 0; i < coverage->missing_count; i++)
        view->remotes[view->remote_count++] =
            (struct view_remote){.name = coverage->missing_names[i], .label = coverage->missing[i]};
    view->shard_count = leave_to_peers(view, options, leases);
    if (view->remote_count > 1)
        qsort(view->remotes, view->remote_count, sizeof(*view->remotes), by_remote_name);
    cover_nothing_yet(view);
}

/* Takes what is open right now. Leases and snapshots live in the view's arena. */
static void view_take(struct query_view *view, const struct query_view_options *options)
{
    struct store_lease *leases = NULL;

    view->pauses = view->shared ? store_registry_pauses(view->registry) : 0;
    view->now_ms = io_wall_ms(view->io);
    view->score_now_ms = options->score_now_ms ? options->score_now_ms : view->now_ms;
    view->shard_count = store_registry_acquire_covered(view->registry, view->collection->name,
                                                       &view->arena, &leases, &view->coverage);
    if (options->shards)
        view->shard_count = keep_wanted(view, options, leases);
    take_remotes(view, options, leases);
    view->shards = arena_calloc(&view->arena, view->shard_count + 1, sizeof(*view->shards));
    view->freshness = arena_calloc(&view->arena, view->shard_count + 1, sizeof(*view->freshness));
    for (size_t i = 0; i < view->shard_count; i++) {
        struct view_shard *shard = &view->shards[i];
        shard->lease = &leases[i];
        shard->name = store_shard_name(leases[i].shard);
        shard->snapshot = store_snapshot_acquire(leases[i].shard, view->now_ms);
        assert(shard->snapshot);
        shard->sources = store_snapshot_sources(shard->snapshot, &shard->source_count);
        view->freshness[i] = (struct query_shard_freshness){
            .shard = shard->name,
            .next_offset = store_snapshot_next_offset(shard->snapshot),
            .watermark_ms = store_snapshot_watermark_ms(shard->snapshot),
            .lacks = leases[i].behind || is_stopped(&leases[i]),
            .known_offset = leases[i].known_offset};
    }
}

static void view_give_back(struct query_view *view)
{
    for (size_t i = 0; i < view->shard_count; i++) {
        store_snapshot_release(view->shards[i].snapshot);
        store_registry_release(view->registry, view->shards[i].lease);
    }
    view->shard_count = 0;
    view->remote_count = view->behind_count = 0;
    arena_reset(&view->arena);
}

static int64_t timeout_of(const struct query_view_options *options)
{
    int64_t most_ms = INT64_MAX / 4 / 1000000;

    if (options->timeout_ms <= 0)
        return DEFAULT_TIMEOUT_MS;
    return options->timeout_ms < most_ms ? options->timeout_ms : most_ms;
}

/* Where an offset is waited for. */
enum offset_place {
    OFFSET_HERE,    /* in a shard of the view */
    OFFSET_MOVES,   /* whoever had the shard gave it up before it, and nobody else has come yet */
    OFFSET_NOWHERE, /* until the shard is opened here */
};

/* An offset that is not seen yet and has to be waited for here, or NULL. Those of shards elsewhere travel with
 * the operations: their owners wait. A peer that has not got the shard (any more) says so at once. */
static const struct query_min_offset *unseen_offset(const struct query_view *view,
                                                    const struct query_view_options *options,
                                                    enum offset_place *place)
{
    const struct query_peers *peers = view->peers;

    for (size_t i = 0; i < options->min_offset_count; i++) {
        const struct query_min_offset *wanted = &options->min_offsets[i];
        bool here, remote, reached;
        size_t k = 0;
        while (k < view->shard_count && strcmp(view->shards[k].name, wanted->shard) != 0)
            k++;
        here = k < view->shard_count;
        remote = !here && query_view_remote(view, wanted->shard);
        if (here ? view->freshness[k].next_offset > wanted->offset : !remote && options->shards)
            continue;
        *place = here ? OFFSET_HERE : OFFSET_NOWHERE;
        if (remote || (here && peers && view->shards[k].lease->handed_over)) {
            reached =
                peers->reaches(peers->context, view->collection, wanted->shard, wanted->offset);
            *place = OFFSET_MOVES;
            if (reached ||
                (remote && !peers->serves(peers->context, view->collection, wanted->shard)))
                continue;
        }
        return wanted;
    }
    return NULL;
}

/* A claim of this process wakes who waits, that of another one does not. */
static int wait_for_claim(const struct query_view *view, int64_t deadline_ns, struct error *error)
{
    int64_t look_ns = io_monotonic_ns(view->io) + (int64_t)CLAIM_LOOK_MS * 1000000;
    int code = store_registry_wait_opened(
        view->registry, look_ns < deadline_ns ? look_ns : deadline_ns, view->stop->ending, error);

    return code == ERROR_TIMEOUT && look_ns < deadline_ns ? 0 : code;
}

/* Nothing is held meanwhile: a lease would keep a shard open that has to move. When it moves, and
 * somebody else can be asked, the wait ends. */
static int wait_for_offset(const struct query_view *view, const struct query_view_options *options,
                           const struct query_min_offset *wanted, enum offset_place place,
                           struct error *error)
{
    struct error failed = {0};
    int code = place == OFFSET_MOVES
                   ? wait_for_claim(view, view->stop->deadline_ns, &failed)
                   : store_registry_wait_visible(
                         view->registry, view->collection->name, wanted->shard, wanted->offset,
                         place == OFFSET_HERE && (options->shards || options->peers),
                         view->stop->deadline_ns, view->stop->ending, &failed);

    if (code == ERROR_NOT_FOUND)
        return 0;
    if (code == ERROR_CANCELLED)
        return error_set(error, code, "the service is stopping");
    if (code == ERROR_TIMEOUT)
        return error_set(error, code,
                         "offset %lld of partition %s was not searchable within %lld ms",
                         (long long)wanted->offset, wanted->shard, (long long)timeout_of(options));
    return code == 0 ? 0 : error_set(error, code, "%s", failed.text);
}

/* An error has room for a few names only. */
static void join_names(const struct store_coverage *coverage, char *out, size_t out_bytes)
{
    enum { NAMED_MAX = 4 };
    int used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < coverage->missing_count && i < NAMED_MAX; i++)
        used += snprintf(out + used, out_bytes - (size_t)used, "%s%.60s", i > 0 ? ", " : "",
                         coverage->missing[i]);
    if (coverage->missing_count > NAMED_MAX)
        (void)snprintf(out + used, out_bytes - (size_t)used, " and %zu more",
                       coverage->missing_count - NAMED_MAX);
}

int query_view_check_all(const struct query_view *view, struct error *error)
{
    const char *collection = view->collection->name;
    char names[320];

    if (query_view_whole(view))
        return 0;
    if (!view->coverage.known)
        return error_set(error, ERROR_UNAVAILABLE,
                         "Not complete: it is not known yet which partitions %s has, because no "
                         "Kafka broker has answered",
                         collection);
    join_names(&view->coverage, names, sizeof(names));
    return error_set(error, ERROR_UNAVAILABLE, "Not complete: %s %s of %s",
                     view->peers ? "no node answered for" : "this process does not serve", names,
                     collection);
}

int query_view_check_whole(const struct query_view *view, struct error *error)
{
    return view->whole ? query_view_check_all(view, error) : 0;
}

/* What peers do not answer for is known after the operation. */
static int check_coverage(const struct query_view *view, struct error *error)
{
    if (view->coverage.elsewhere)
        return error_set(error, ERROR_UNAVAILABLE,
                         view->peers
                             ? "No node that has points of %s was found yet"
                             : "This process has no points of %s: it runs without the ingest "
                               "role. Ask a process that has it",
                         view->collection->name);
    return view->remote_count > 0 ? 0 : query_view_check_whole(view, error);
}

/* Shards are leased by the collection's name, which another one may have got, of other dimensions. The mark is set before
 * the shards go and before another one comes: without it, those in hand are the collection's own. */
static int check_collection(const struct query_view *view, struct error *error)
{
    if (!view->collection->removed)
        return 0;
    return error_set(error, ERROR_NOT_FOUND, "Not found: Collection `%.200s` doesn't exist!",
                     view->collection->name);
}

/* A name that no partition of the collection can have would be waited for until the deadline. */
static int check_offsets(const struct query_view *view, const struct query_view_options *options,
                         struct error *error)
{
    const char *topic;
    int32_t partition;

    for (size_t i = 0; i < options->min_offset_count && !options->shards; i++) {
        const char *name = options->min_offsets[i].shard;
        size_t k = 0;
        while (k < view->shard_count && strcmp(view->shards[k].name, name) != 0)
            k++;
        if (k == view->shard_count && !query_view_remote(view, name) &&
            !config_shard_partition(view->collection, name, &topic, &partition))
            return error_set(error, ERROR_INVALID,
                             "Wrong input: min_offsets: %s has no partition `%.100s`: the first "
                             "topic's are `0`, `1` and so on, another topic's TOPIC-0",
                             view->collection->name, name);
    }
    return 0;
}

/* Whether each shard that the collection has is here, or somebody has said that it is there. */
static bool has_owners(const struct query_view *view)
{
    const struct query_peers *peers = view->peers;

    if (!view->coverage.known || view->behind_count > 0)
        return false;
    for (size_t i = 0; i < view->remote_count; i++)
        if (!peers->serves(peers->context, view->collection, view->remotes[i].name))
            return false;
    return true;
}

/* A shard that moves has an owner again in a moment, and one whose process died when Kafka has noticed. Nothing is
 * held meanwhile, as with offsets. Who could not wait without a thread does not: an outage would take all of them. */
static int wait_for_owners(struct query_view *view, const struct query_view_options *options,
                           struct error *error)
{
    struct thread_pool *pool =
        options->min_offset_count > 0 ? NULL : view->pool; /* its caller waits already */
    struct error failed = {0};
    int code = 0;

    if (view->patient_until_ns == 0 || has_owners(view) || (pool && !thread_pool_wait_begin(pool)))
        return 0;
    while (code == 0 && !has_owners(view)) {
        view_give_back(view);
        code = wait_for_claim(view, view->patient_until_ns, &failed);
        if (code == 0)
            code = stop_check(view->stop, &failed);
        view_take(view, options);
    }
    if (pool)
        thread_pool_wait_end(pool);
    return code == ERROR_CANCELLED ? error_set(error, code, "%s", failed.text) : 0;
}

static atomic_uint patient_views;

static bool may_be_patient(void)
{
    if (atomic_fetch_add(&patient_views, 1) < PATIENT_MAX)
        return true;
    atomic_fetch_sub(&patient_views, 1);
    return false;
}

/* What is left of the request's time is for its answer, or for the names of what is missing. */
static int64_t patience(const struct query_view *view)
{
    const int64_t now_ns = io_monotonic_ns(view->io), left_ns = view->stop->deadline_ns - now_ns;
    const int64_t most_ns = (int64_t)WHOLE_WAIT_MS * 1000000;

    return now_ns + (left_ns / 4 * 3 < most_ns ? left_ns / 4 * 3 : most_ns);
}

int query_view_open(const struct query_view_options *options, struct query_view **view,
                    struct error *error)
{
    struct query_view *fresh = memory_new(1, sizeof(*fresh));
    const struct query_min_offset *unseen;
    enum offset_place place;

    arena_create(&fresh->arena, 0);
    fresh->io = options->io ? options->io : io_posix();
    fresh->collection = options->collection;
    fresh->registry = options->registry;
    fresh->pool = options->pool;
    fresh->shared_work_min = options->shared_work_min;
    fresh->peers = options->shards ? NULL : options->peers;
    fresh->shared = options->peers || options->shards;
    fresh->describer = options->describer;
    fresh->min_offsets = options->min_offsets;
    fresh->min_offset_count = options->min_offset_count;
    fresh->whole = options->whole;
    fresh->stop = options->stop;
    if (!fresh->stop) {
        fresh->stop = &fresh->own_stop;
        stop_create(fresh->stop, fresh->io);
        fresh->stop->deadline_ns = io_monotonic_ns(fresh->io) + timeout_of(options) * 1000000;
    }
    if (fresh->whole && fresh->peers && may_be_patient())
        fresh->patient_until_ns = patience(fresh);
    view_take(fresh, options);
    if (wait_for_owners(fresh, options, error) != 0 || check_coverage(fresh, error) != 0 ||
        check_offsets(fresh, options, error) != 0) {
        query_view_close(fresh);
        return error->code;
    }
    while ((unseen = unseen_offset(fresh, options, &place))) {
        view_give_back(fresh);
        if (wait_for_offset(fresh, options, unseen, place, error) != 0) {
            query_view_close(fresh);
            return error->code;
        }
        view_take(fresh, options);
    }
    if (check_collection(fresh, error) != 0) {
        query_view_close(fresh);
        return error->code;
    }
    *view = fresh;
    return 0;
}

void query_view_close(struct query_view *view)
{
    if (!view)
        return;
    view_give_back(view);
    if (view->patient_until_ns != 0)
        atomic_fetch_sub(&patient_views, 1);
    arena_destroy(&view->arena);
    free(view);
}

const struct query_shard_freshness *query_view_freshness(const struct query_view *view,
                                                         size_t *count)
{
    *count = view->all_freshness ? view->all_count : view->shard_count;
    return view->all_freshness ? view->all_freshness : view->freshness;
}

struct query_peer_counts query_view_peers(const struct query_view *view)
{
    return view->peer_counts;
}

struct view_remote *query_view_remote(const struct query_view *view, const char *name)
{
    for (size_t i = 0; i < view->remote_count; i++)
        if (strcmp(view->remotes[i].name, name) == 0)
            return &view->remotes[i];
    return NULL;
}

/* Both lists are in the order of their names. */
static void merge_freshness(struct query_view *view)
{
    struct query_shard_freshness *all = memory_checked(
        arena_calloc(&view->arena, view->shard_count + view->remote_count + 1, sizeof(*all)));
    size_t local = 0;

    view->all_count = 0;
    for (size_t i = 0; i <= view->remote_count; i++) {
        const struct view_remote *remote = i < view->remote_count ? &view->remotes[i] : NULL;
        while (local < view->shard_count &&
               (!remote || query_shard_compare(view->freshness[local].shard, remote->name) < 0))
            all[view->all_count++] = view->freshness[local++];
        if (remote && remote->answered)
            all[view->all_count++] =
                (struct query_shard_freshness){.shard = remote->name,
                                               .next_offset = remote->next_offset,
                                               .watermark_ms = remote->watermark_ms,
                                               .lacks = remote->lack.lacks,
                                               .known_offset = remote->lack.known_offset};
    }
    view->all_freshness = all;
}

void query_view_note_answers(struct query_view *view)
{
    struct store_coverage *coverage = &view->coverage;

    coverage->missing_count = view->behind_count;
    for (size_t i = 0; i < view->remote_count; i++) {
        struct view_remote *remote = &view->remotes[i];
        remote->failed |= !remote->answered_now && !remote->left_out;
        remote->left_out = false;
        if (remote->failed || (remote->answered && remote->lack.lacks))
            coverage->missing[coverage->missing_count++] = remote->label;
    }
    merge_freshness(view);
}

const struct store_coverage *query_view_coverage(const struct query_view *view)
{
    return &view->coverage;
}

bool query_view_whole(const struct query_view *view)
{
    return store_coverage_whole(&view->coverage);
}

int query_view_check(const struct query_view *view, struct error *error)
{
    if (stop_check(view->stop, error) != 0)
        return error->code;
    for (size_t i = 0; i < view->shard_count; i++)
        if (atomic_load(view->shards[i].lease->broken_off)) {
            if (view->peers) /* another view finds the shard there, or says that it is missing */
                atomic_store(&view->stop->begin_anew, true);
            return error_set(error, ERROR_CANCELLED, "this process is closing partition %s",
                             view->shards[i].name);
        }
    return 0;
}

int query_view_check_awake(const struct query_view *view, struct error *error)
{
    if (!view->shared || store_registry_pauses(view->registry) == view->pauses)
        return 0;
    if (view->peers)
        atomic_store(&view->stop->begin_anew, true);
    return error_set(error, ERROR_CANCELLED,
                     "this process stood still while it read %s: what it read may be old by now",
                     view->collection->name);
}

int query_version_compare(const struct query_version *a, const struct query_version *b)
{
    if (a->time_ms != b->time_ms)
        return a->time_ms > b->time_ms ? -1 : 1;
    return query_shard_compare(a->shard, b->shard);
}

struct query_version query_row_version(const struct query_row *row)
{
    return (struct query_version){row->shard, query_row_time_ms(row), query_row_offset(row)};
}

int query_row_compare_versions(const struct query_row *a, const struct query_row *b)
{
    const struct query_version left = query_row_version(a), right = query_row_version(b);

    return query_version_compare(&left, &right);
}

struct query_row query_view_row(const struct query_view *view, size_t shard,
                                const struct store_source *source, uint32_t row)
{
    return (struct query_row){.snapshot = view->shards[shard].snapshot,
                              .source = source,
                              .row = row,
                              .shard = view->shards[shard].name,
                              .window_ms = view->collection->window_ms};
}

/* A damaged file is met again by every search until its window is rebuilt: one line is enough. The
 * table forgets by being overwritten, which only repeats a line. */
void query_view_report(const struct query_view *view, size_t shard,
                       const struct store_source *source, const struct error *error)
{
    enum { REMEMBERED = 256 };
    static _Atomic uint64_t reported[REMEMBERED];
    const char *shard_name = view->shards[shard].name, *collection = view->collection->name;
    uint64_t name = XXH3_64bits_withSeed(
        collection, strlen(collection),
        XXH3_64bits_withSeed(shard_name, strlen(shard_name), source->file_number));
    uint64_t former =
        atomic_exchange_explicit(&reported[(name >> 32) % REMEMBERED], name, memory_order_relaxed);
    if (former != name)
        log_error("query",
                  "excluded from searches: collection=%s shard=%s file=%llu window=%lld: %s",
                  view->collection->name, view->shards[shard].name,
                  (unsigned long long)source->file_number, (long long)source->window_start_ms,
                  error->text);
}
