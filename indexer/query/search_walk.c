/* Segments, walked.
 *
 * All segments of a search are walked as one: ten windows cost little more than one. Under decay
 * each is walked alone, because a raw score is worth something else in each, and wider until no row
 * behind the last hit can be better. A walk is trusted when it brings as many rows as were asked
 * for, or saw everything. When rows that may not be returned (dead, expired, filtered) crowd out
 * the ones that may, the sources are scanned: k rows come back whenever k matching rows exist. */
#include "indexer/query/search.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WALK_ROUNDS = 5,
    WALK_ROWS_MIN = 12 /* rows to a place in the pool: wider walks are left to the scan */
};

struct walk {
    struct searcher *searcher;
    struct source_search **sources;
    uint32_t count;
    struct index_hit *hits;
    uint32_t *owners; /* of the hits: place in `sources` */
    double *orders;   /* of the hits, decayed */
    uint32_t wanted, width, found;
    bool enough; /* as many as wanted were accepted, or every node was seen */
    struct arena arena;
};

static bool accept_row(void *context, uint32_t row)
{
    struct source_search *source = context;

    return source->matching ? search_row_eligible(source, row) : search_row_accepted(source, row);
}

static const float *find_vector(void *context, uint32_t row, struct error *error)
{
    struct source_search *source = context;
    const float *vector;
    uint32_t count;
    struct error local = {0};

    if (store_row_vectors(source->source, row, &vector, &count, &local) == 0)
        return vector;
    source->damaged = true;
    search_report_damage(source, &local);
    if (error)
        *error = local;
    return NULL;
}

/* Sources that were found damaged are left out from then on. */
static void drop_damaged(struct walk *walk)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < walk->count; i++)
        if (!walk->sources[i]->damaged)
            walk->sources[kept++] = walk->sources[i];
    walk->count = kept;
}

/* The lowest raw score that may be of use in any of the sources. */
static float raw_floor(const struct walk *walk)
{
    float lowest = INFINITY;

    for (uint32_t i = 0; i < walk->count; i++)
        lowest = fminf(lowest, search_raw_floor(walk->sources[i], search_floor(walk->searcher)));
    return lowest;
}

static int walk_once(struct walk *walk, struct error *error)
{
    struct index_search search = {.query = walk->searcher->query,
                                  .k = walk->wanted,
                                  .ef = walk->width,
                                  .floor_score = raw_floor(walk)};
    struct index_member *members;
    int code;

    arena_reset(&walk->arena);
    members = arena_calloc(&walk->arena, walk->count, sizeof(*members));
    for (uint32_t i = 0; i < walk->count; i++) {
        struct source_search *source = walk->sources[i];
        members[i] = (struct index_member){.segment = source->source->segment->object,
                                           .matching = source->matching,
                                           .matching_rows = source->matching_rows,
                                           .accept = accept_row,
                                           .accept_context = source,
                                           .vector = find_vector,
                                           .vector_context = source};
    }
    walk->found = 0;
    walk->hits = arena_calloc(&walk->arena, walk->wanted, sizeof(*walk->hits));
    walk->owners = arena_calloc(&walk->arena, walk->wanted, sizeof(*walk->owners));
    walk->orders = arena_calloc(&walk->arena, walk->wanted, sizeof(*walk->orders));
    code = index_members_search(members, walk->count, &search, walk->hits, walk->owners,
                                &walk->found, &walk->enough, error);
    for (uint32_t i = 0; code == 0 && i < walk->found; i++)
        walk->orders[i] = search_row_order(walk->sources[walk->owners[i]], walk->hits[i].row,
                                           walk->hits[i].score);
    return code;
}

static void offer_hits(const struct walk *walk)
{
    for (uint32_t i = 0; i < walk->found; i++)
        if (walk->orders[i] >= search_floor(walk->searcher))
            search_offer(walk->sources[walk->owners[i]], walk->hits[i].row, walk->orders[i]);
}

static bool is_too_wide(const struct walk *walk)
{
    uint64_t rows = 0;

    for (uint32_t i = 0; i < walk->count; i++)
        rows += walk->sources[i]->source->row_count;
    return walk->wanted >= rows || walk->width > rows / WALK_ROWS_MIN;
}

static int order_descending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left < right) - (left > right);
}

/* Rows behind the last hit score at most as much as it does; with decay a younger one may still be
 * better than the k-th of what was found. */
static bool widen_for_decay(struct walk *walk)
{
    const struct source_search *source = walk->sources[0];
    size_t limit = walk->searcher->top.limit;
    double floor = search_floor(walk->searcher);
    double *orders;

    if (source->decay_min == source->decay_max || walk->found < walk->wanted)
        return false;
    assert(walk->count == 1);
    orders = arena_calloc(&walk->arena, walk->found, sizeof(*orders));
    memcpy(orders, walk->orders, walk->found * sizeof(*orders));
    qsort(orders, walk->found, sizeof(*orders), order_descending);
    floor = orders[limit - 1] > floor ? orders[limit - 1] : floor;
    if (search_order_bound(source, (double)walk->hits[walk->found - 1].score) < floor)
        return false;
    walk->wanted = walk->wanted < UINT32_MAX / 4 ? walk->wanted * 4 : UINT32_MAX;
    walk->width = search_walk_width(walk->searcher, walk->sources, walk->count, walk->wanted);
    return true;
}

static int walk_rounds(struct walk *walk, bool *enough, struct error *error)
{
    struct error local = {0};
    int round = 0;

    walk->wanted = (uint32_t)walk->searcher->top.limit;
    walk->width = search_walk_width(walk->searcher, walk->sources, walk->count, walk->wanted);
    while (round < WALK_ROUNDS && walk->count > 0 && !is_too_wide(walk)) {
        int code = walk_once(walk, &local);
        if (code == ERROR_CORRUPT || code == ERROR_IO) {
            drop_damaged(walk); /* at least one went */
            continue;
        }
        if (code != 0) {
            if (error)
                *error = local;
            return code;
        }
        if (!walk->enough && walk->found < walk->wanted)
            return 0;
        if (!widen_for_decay(walk)) {
            offer_hits(walk);
            *enough = true;
            return 0;
        }
        round++;
    }
    *enough = walk->count == 0;
    return 0;
}

int search_walk_run(struct searcher *searcher, struct source_search *const *sources, uint32_t count,
                    bool *enough, struct error *error)
{
    struct walk walk = {.searcher = searcher, .count = count};
    struct source_search **own = calloc(count, sizeof(*own));
    int code;

    if (!own)
        abort();
    memcpy(own, sources, count * sizeof(*own));
    walk.sources = own;
    *enough = false;
    arena_create(&walk.arena, 0);
    code = search_out_of_time(searcher) ? 0 : walk_rounds(&walk, enough, error);
    for (uint32_t i = 0; *enough && i < count; i++)
        sources[i]->how = index_segment_kind(sources[i]->source->segment->object);
    arena_destroy(&walk.arena);
    free(own);
    return code;
}
