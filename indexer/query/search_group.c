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
    struct segment_search **segments;
    uint32_t count;
    struct index_hit *hits;
    uint32_t *owners; /* of the hits: place in `segments` */
    double *orders;   /* of the hits, decayed */
    uint32_t wanted, ef, found;
    bool enough; /* as many as wanted were accepted, or every node was seen */
    struct arena arena;
};

static bool accept_row(void *context, uint32_t row)
{
    const struct segment_search *segment = context;
    struct source_search *source = search_segment_source(segment, &row);

    if (!source)
        return false;
    return segment->matching ? search_row_eligible(source, row) : search_row_accepted(source, row);
}

/* Only of rows that were accepted. */
static const float *find_vector(void *context, uint32_t row, struct error *error)
{
    struct source_search *source = search_segment_source(context, &row);
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

/* Sources that were found damaged are left out from then on, and a segment with none left. */
static void drop_damaged(struct group_search *group)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < group->count; i++) {
        struct segment_search *segment = group->segments[i];
        bool any = false;
        for (uint32_t part = 0; part < segment->part_count; part++) {
            if (segment->parts[part] && segment->parts[part]->damaged)
                segment->parts[part] = NULL;
            any |= segment->parts[part] != NULL;
        }
        if (any)
            group->segments[kept++] = segment;
    }
    group->count = kept;
}

/* The lowest raw score that may be of use in any of the sources. Without decay it is the same for
 * all; under decay there is one. */
static float raw_floor(const struct group_search *group)
{
    const struct segment_search *first = group->segments[0];
    uint32_t part = 0;

    while (!first->parts[part])
        part++;
    return search_raw_floor(first->parts[part], search_floor(group->searcher));
}

/* Whose row the hit is. */
static struct source_search *hit_source(const struct group_search *group, uint32_t hit,
                                        uint32_t *row)
{
    *row = group->hits[hit].row;
    return search_segment_source(group->segments[group->owners[hit]], row);
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
        struct segment_search *segment = group->segments[i];
        members[i] = (struct index_group_member){
            .segment = segment->segment,
            .depth = search_segment_depth(group->searcher, segment, group->wanted),
            .matching = segment->matching,
            .matching_rows = segment->matching_rows,
            .accept = accept_row,
            .accept_context = segment,
            .vector = find_vector,
            .vector_context = segment};
    }
    group->found = 0;
    group->hits = arena_calloc(&group->arena, group->wanted, sizeof(*group->hits));
    group->owners = arena_calloc(&group->arena, group->wanted, sizeof(*group->owners));
    group->orders = arena_calloc(&group->arena, group->wanted, sizeof(*group->orders));
    code = index_group_search(members, group->count, &search, group->hits, group->owners,
                              &group->found, &group->enough, error);
    for (uint32_t i = 0; code == 0 && i < group->found; i++) {
        uint32_t row;
        const struct source_search *source = hit_source(group, i, &row);
        group->orders[i] = search_row_order(source, row, group->hits[i].score);
    }
    return code;
}

static void offer_hits(const struct group_search *group)
{
    for (uint32_t i = 0; i < group->found; i++) {
        uint32_t row;
        struct source_search *source = hit_source(group, i, &row);
        if (group->orders[i] >= search_floor(group->searcher))
            search_offer(source, row, group->orders[i]);
    }
}

static bool is_too_large(const struct group_search *group)
{
    uint64_t rows = 0;

    for (uint32_t i = 0; i < group->count; i++)
        rows += group->segments[i]->row_count;
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
    const struct source_search *source = group->segments[0]->parts[0];
    size_t limit = group->searcher->top.limit;
    double floor = search_floor(group->searcher);
    double *orders;

    if (group->searcher->search->half_life_ms == 0 || source->decay_min == source->decay_max ||
        group->found < group->wanted)
        return false;
    assert(group->count == 1 && group->segments[0]->part_count == 1);
    orders = arena_calloc(&group->arena, group->found, sizeof(*orders));
    memcpy(orders, group->orders, group->found * sizeof(*orders));
    qsort(orders, group->found, sizeof(*orders), order_descending);
    floor = orders[limit - 1] > floor ? orders[limit - 1] : floor;
    if (search_order_bound(source, (double)group->hits[group->found - 1].score) < floor)
        return false;
    group->wanted = group->wanted < UINT32_MAX / 4 ? group->wanted * 4 : UINT32_MAX;
    group->ef = search_group_ef(group->searcher, group->segments, group->count, group->wanted);
    return true;
}

static int search_rounds(struct group_search *group, bool *enough, struct error *error)
{
    struct error local = {0};
    int round = 0;

    group->wanted = (uint32_t)group->searcher->top.limit;
    group->ef = search_group_ef(group->searcher, group->segments, group->count, group->wanted);
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

/* How explain calls it. */
static const char *segment_name(const struct segment_search *segment)
{
    bool lists = index_segment_kind(segment->segment) == SEGMENT_IVF_PQ;

    if (segment->spans)
        return lists ? "ivf_pq_span" : "hnsw_span";
    return segment_kind_name(lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW);
}

int search_group_run(struct searcher *searcher, struct segment_search *const *segments,
                     uint32_t count, bool *enough, struct error *error)
{
    struct group_search group = {.searcher = searcher, .count = count};
    struct segment_search **own = memory_new(count, sizeof(struct segment_search *));
    int code;

    memcpy(own, segments, count * sizeof(*own));
    group.segments = own;
    *enough = false;
    arena_create(&group.arena, 0);
    code = search_rounds(&group, enough, error);
    for (uint32_t i = 0; *enough && i < count; i++)
        for (uint32_t part = 0; part < segments[i]->part_count; part++)
            if (segments[i]->parts[part])
                segments[i]->parts[part]->how = segment_name(segments[i]);
    arena_destroy(&group.arena);
    free(own);
    return code;
}
