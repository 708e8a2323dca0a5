/* A search through segments, group by group.
 *
 * All segments of a group are searched as one: ten windows cost little more than one. Under decay
 * each is searched alone, because a raw score is worth something else in each, and wider until no
 * row behind the last hit can be better. A result is trusted when it brings as many rows as were
 * asked for, or saw everything. When rows that may not be returned (dead, expired, filtered) crowd
 * out the others, the sources are scanned: k rows come back whenever k matching rows exist. */
#include "base/memory.h"
#include "indexer/query/searcher.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS_MAX = 5,
    ROWS_PER_EF_MIN = 12 /* with fewer rows for each place of ef a scan is cheaper */
};

struct group_search {
    struct searcher *searcher;
    struct source_search **sources;
    uint32_t count;
    struct index_hit *hits;
    uint32_t *owners; /* of the hits: place in `sources` */
    double *orders;   /* of the hits, decayed */
    uint32_t wanted, ef, found;
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
    *error = local;
    return NULL;
}

/* Sources that were found damaged are left out from then on. */
static void drop_damaged(struct group_search *group)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < group->count; i++)
        if (!group->sources[i]->damaged)
            group->sources[kept++] = group->sources[i];
    group->count = kept;
}

/* The lowest raw score that may be of use in any of the sources. */
static float raw_floor(const struct group_search *group)
{
    float lowest = INFINITY;

    for (uint32_t i = 0; i < group->count; i++)
        lowest = fminf(lowest, search_raw_floor(group->sources[i], search_floor(group->searcher)));
    return lowest;
}

static int search_once(struct group_search *group, struct error *error)
{
    struct index_search search = {.query = group->searcher->query,
                                  .k = group->wanted,
                                  .ef = group->ef,
                                  .floor_score = raw_floor(group)};
    struct index_group_member *members;
    int code;

    arena_reset(&group->arena);
    members = arena_calloc(&group->arena, group->count, sizeof(*members));
    for (uint32_t i = 0; i < group->count; i++) {
        struct source_search *source = group->sources[i];
        members[i] =
            (struct index_group_member){.segment = source->source->segment->object,
                                        .depth = search_source_depth(source, group->wanted),
                                        .matching = source->matching,
                                        .matching_rows = source->matching_rows,
                                        .accept = accept_row,
                                        .accept_context = source,
                                        .vector = find_vector,
                                        .vector_context = source};
    }
    group->found = 0;
    group->hits = arena_calloc(&group->arena, group->wanted, sizeof(*group->hits));
    group->owners = arena_calloc(&group->arena, group->wanted, sizeof(*group->owners));
    group->orders = arena_calloc(&group->arena, group->wanted, sizeof(*group->orders));
    code = index_group_search(members, group->count, &search, group->hits, group->owners,
                              &group->found, &group->enough, error);
    for (uint32_t i = 0; code == 0 && i < group->found; i++)
        group->orders[i] = search_row_order(group->sources[group->owners[i]], group->hits[i].row,
                                            group->hits[i].score);
    return code;
}

static void offer_hits(const struct group_search *group)
{
    for (uint32_t i = 0; i < group->found; i++)
        if (group->orders[i] >= search_floor(group->searcher))
            search_offer(group->sources[group->owners[i]], group->hits[i].row, group->orders[i]);
}

static bool is_too_large(const struct group_search *group)
{
    uint64_t rows = 0;

    for (uint32_t i = 0; i < group->count; i++)
        rows += group->sources[i]->source->row_count;
    return group->wanted >= rows || group->ef > rows / ROWS_PER_EF_MIN;
}

static int order_descending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left < right) - (left > right);
}

/* Rows behind the last hit score at most as much as it does; with decay a younger one may still be
 * better than the k-th of what was found. */
static bool widen_for_decay(struct group_search *group)
{
    const struct source_search *source = group->sources[0];
    size_t limit = group->searcher->top.limit;
    double floor = search_floor(group->searcher);
    double *orders;

    if (source->decay_min == source->decay_max || group->found < group->wanted)
        return false;
    assert(group->count == 1);
    orders = arena_calloc(&group->arena, group->found, sizeof(*orders));
    memcpy(orders, group->orders, group->found * sizeof(*orders));
    qsort(orders, group->found, sizeof(*orders), order_descending);
    floor = orders[limit - 1] > floor ? orders[limit - 1] : floor;
    if (search_order_bound(source, (double)group->hits[group->found - 1].score) < floor)
        return false;
    group->wanted = group->wanted < UINT32_MAX / 4 ? group->wanted * 4 : UINT32_MAX;
    group->ef = search_group_ef(group->searcher, group->sources, group->count, group->wanted);
    return true;
}

static int search_rounds(struct group_search *group, bool *enough, struct error *error)
{
    struct error local = {0};
    int round = 0;

    group->wanted = (uint32_t)group->searcher->top.limit;
    group->ef = search_group_ef(group->searcher, group->sources, group->count, group->wanted);
    while (round < ROUNDS_MAX && group->count > 0 && !is_too_large(group) &&
           !search_is_stopped(group->searcher)) {
        int code = search_once(group, &local);
        if (code == ERROR_CORRUPT || code == ERROR_IO) {
            drop_damaged(group); /* at least one went */
            continue;
        }
        if (code != 0) {
            *error = local;
            return code;
        }
        if (!group->enough && group->found < group->wanted)
            return 0;
        if (!widen_for_decay(group)) {
            offer_hits(group);
            *enough = true;
            return 0;
        }
        round++;
    }
    *enough = group->count == 0;
    return 0;
}

int search_group_run(struct searcher *searcher, struct source_search *const *sources,
                     uint32_t count, bool *enough, struct error *error)
{
    struct group_search group = {.searcher = searcher, .count = count};
    struct source_search **own = memory_new(count, sizeof(*own));
    int code;

    memcpy(own, sources, count * sizeof(*own));
    group.sources = own;
    *enough = false;
    arena_create(&group.arena, 0);
    code = search_rounds(&group, enough, error);
    for (uint32_t i = 0; *enough && i < count; i++)
        sources[i]->how =
            segment_kind_name(index_segment_kind(sources[i]->source->segment->object));
    arena_destroy(&group.arena);
    free(own);
    return code;
}
