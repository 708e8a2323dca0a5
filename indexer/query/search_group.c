/* A search through segments, group by group.
 *
 * All segments of a group are searched as one: ten windows cost little more than one. Under decay
 * each is searched alone, because a raw score is worth something else in each, and wider until no
 * row behind the last hit can be better: in no window of a span. A result is trusted when it brings as many rows as were
 * asked for, or saw everything. When rows that may not be returned (dead, expired, filtered) crowd
 * out the others, the sources are scanned: k rows come back whenever k matching rows exist. */
#include "base/memory.h"
#include "indexer/query/searcher.h"
#include "store/snapshot.h"

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
    bool scans;  /* all matching rows, by codes */
    bool enough; /* as many as wanted were accepted, or every node was seen */
    struct arena arena;
    struct index_search search;
    struct index_group_query question;
    bool answered; /* the question, but not looked at */
};

static bool accept_row(void *context, uint32_t row)
{
    const struct segment_search *segment = context;
    struct source_search *source = search_segment_source(segment, &row);

    if (!source)
        return false;
    return segment->matching ? search_row_eligible(source, row) : search_row_accepted(source, row);
}

static bool has_lists(const struct segment_search *segment)
{
    return index_segment_kind(segment->segment) == SEGMENT_IVF_PQ;
}

/* A look at each row costs more than its codes. Rows of parts that are not wanted are not met in lists. */
static bool has_to_ask(const struct searcher *searcher, const struct segment_search *segment)
{
    bool meets_all = !has_lists(segment);

    for (uint32_t i = 0; i < segment->part_count; i++)
        if (segment->parts[i] ? !segment->parts[i]->all_eligible : meets_all)
            return true;
    return searcher->filter && !segment->matching;
}

/* Of rows that were accepted; where several examples are asked, of any. */
static struct vector_row find_vector(void *context, uint32_t row, struct error *error)
{
    struct source_search *source = search_segment_source(context, &row);
    struct vector_row none = {.bytes = NULL}, stored;
    struct error local = {0};

    if (!source)
        return none;
    if (store_row_alone(source->source, row, &stored, &local) == 0)
        return stored;
    source->damaged = true;
    search_report_damage(source, &local);
    *error = local;
    return none;
}

static float score_vector(void *context, struct vector_row row)
{
    return search_score_row(context, row);
}

/* Sources that were found damaged are left out from then on, and a segment with none left. Returns whether some were. */
static bool drop_damaged(struct group_search *group)
{
    uint32_t kept = 0;
    bool dropped = false;

    for (uint32_t i = 0; i < group->count; i++) {
        struct segment_search *segment = group->segments[i];
        bool any = false;
        for (uint32_t part = 0; part < segment->part_count; part++) {
            if (segment->parts[part] && segment->parts[part]->damaged) {
                segment->parts[part] = NULL;
                dropped = true;
            }
            any |= segment->parts[part] != NULL;
        }
        if (any)
            group->segments[kept++] = segment;
    }
    group->count = kept;
    return dropped;
}

/* The lowest raw score that may be of use in any of the sources. Without decay it is the same for
 * all; under decay there is one segment. */
static float raw_floor(const struct group_search *group)
{
    const struct segment_search *first = group->segments[0];
    double order = search_floor(group->searcher);
    float lowest = INFINITY;

    for (uint32_t part = 0; part < first->part_count; part++)
        if (first->parts[part])
            lowest = fminf(lowest, search_raw_floor(first->parts[part], order));
    return lowest;
}

/* Whose row the hit is. */
static struct source_search *hit_source(const struct group_search *group, uint32_t hit,
                                        uint32_t *row)
{
    *row = group->hits[hit].row;
    return search_segment_source(group->segments[group->owners[hit]], row);
}

/* Rows of the parts that are wanted, where some are not: neighbours together. NULL: all rows. */
static const struct index_rows *wanted_rows(struct group_search *group,
                                            const struct segment_search *segment, uint32_t *count)
{
    struct index_rows *ranges = NULL;
    bool all = true;

    *count = 0;
    for (uint32_t i = 0; i < segment->part_count; i++)
        all = all && segment->parts[i];
    if (all || !has_lists(segment))
        return NULL;
    ranges = arena_calloc(&group->arena, segment->part_count, sizeof(*ranges));
    for (uint32_t i = 0; i < segment->part_count; i++) {
        uint32_t first = segment->spans[i].first_row, end = first + segment->spans[i].row_count;
        if (!segment->parts[i])
            continue;
        if (*count > 0 && ranges[*count - 1].end == first)
            ranges[*count - 1].end = end;
        else
            ranges[(*count)++] = (struct index_rows){first, end};
    }
    return ranges;
}

/* What the index is asked. */
static void make_question(struct group_search *group)
{
    struct index_group_query *question = &group->question;
    struct index_group_member *members;

    group->search = (struct index_search){.query = group->searcher->query,
                                          .k = group->wanted,
                                          .ef = group->ef,
                                          .floor_score = raw_floor(group),
                                          .scans = group->scans,
                                          .score_context = group->searcher};
    if (group->searcher->scorer.kind != QUERY_NEAREST)
        group->search.score = score_vector;
    arena_reset(&group->arena);
    members = arena_calloc(&group->arena, group->count, sizeof(*members));
    for (uint32_t i = 0; i < group->count; i++) {
        struct segment_search *segment = group->segments[i];
        members[i] = (struct index_group_member){
            .segment = segment->segment,
            .depth = search_segment_depth(group->searcher, segment, group->wanted),
            .matching = segment->matching,
            .matching_rows = segment->matching_rows,
            .accept = has_to_ask(group->searcher, segment) ? accept_row : NULL,
            .accept_context = segment,
            .vector = find_vector,
            .vector_context = segment};
        members[i].ranges = wanted_rows(group, segment, &members[i].range_count);
    }
    *question = (struct index_group_query){
        .members = members,
        .search = &group->search,
        .hits = arena_calloc(&group->arena, group->wanted, sizeof(*question->hits)),
        .hit_members = arena_calloc(&group->arena, group->wanted, sizeof(*question->hit_members))};
    group->orders = arena_calloc(&group->arena, group->wanted, sizeof(*group->orders));
}

/* Its first question may have an answer already, from a search together with others. */
static int search_once(struct group_search *group, struct error *error)
{
    struct index_group_query *question = &group->question;

    if (!group->answered) {
        make_question(group);
        index_group_searches(question, 1, group->count);
    }
    group->answered = false;
    group->hits = question->hits;
    group->owners = question->hit_members;
    group->found = question->hit_count;
    group->enough = question->exhausted;
    for (uint32_t i = 0; question->status == 0 && i < group->found; i++) {
        uint32_t row;
        const struct source_search *source = hit_source(group, i, &row);
        group->orders[i] = search_row_order(source, row, group->hits[i].score);
    }
    if (question->status != 0)
        *error = question->error;
    return question->status;
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
    return group->wanted >= rows || (!group->scans && group->ef > rows / ROWS_PER_EF_MIN);
}

static int order_descending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left < right) - (left > right);
}

/* Whether decay may change the order of the segment's rows. */
static bool has_decay_range(const struct segment_search *segment)
{
    double min = INFINITY, max = 0;

    for (uint32_t i = 0; i < segment->part_count; i++)
        if (segment->parts[i]) {
            min = fmin(min, segment->parts[i]->decay_min);
            max = fmax(max, segment->parts[i]->decay_max);
        }
    return min < max;
}

/* Rows behind the last hit score at most as much as it does; with decay a younger one may still be
 * better than the k-th of what was found. */
static bool widen_for_decay(struct group_search *group)
{
    const struct segment_search *segment = group->segments[0];
    size_t limit = group->searcher->top.limit;
    double floor = search_floor(group->searcher);
    double *orders, best = -INFINITY;

    if (group->searcher->search->half_life_ms == 0 || group->found < group->wanted)
        return false;
    assert(group->count == 1);
    orders = arena_calloc(&group->arena, group->found, sizeof(*orders));
    memcpy(orders, group->orders, group->found * sizeof(*orders));
    qsort(orders, group->found, sizeof(*orders), order_descending);
    floor = orders[limit - 1] > floor ? orders[limit - 1] : floor;
    for (uint32_t i = 0; i < segment->part_count; i++)
        if (segment->parts[i])
            best = fmax(best, search_order_bound(segment->parts[i],
                                                 (double)group->hits[group->found - 1].score));
    if (best < floor || !has_decay_range(segment))
        return false;
    group->wanted = group->wanted < UINT32_MAX / 4 ? group->wanted * 4 : UINT32_MAX;
    group->ef = search_group_ef(group->searcher, group->segments, group->count, group->wanted);
    return true;
}

static void rounds_begin(struct group_search *group)
{
    group->wanted = (uint32_t)group->searcher->top.limit;
    group->ef = search_group_ef(group->searcher, group->segments, group->count, group->wanted);
    group->scans = search_scans_codes(group->searcher, group->segments, group->count);
}

static bool may_search(const struct group_search *group)
{
    return group->count > 0 && !is_too_large(group) && !search_is_stopped(group->searcher);
}

static int search_rounds(struct group_search *group, bool *enough, struct error *error)
{
    struct error local = {0};
    int round = 0;

    while (round < ROUNDS_MAX && (group->answered || may_search(group))) {
        int code = search_once(group, &local);
        if (code == ERROR_CORRUPT || code == ERROR_IO) {
            /* Whoever reads a vector marks its source. Without one the search would fail for ever: the sources are
             * scanned. */
            if (!drop_damaged(group))
                return 0;
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
    bool lists = has_lists(segment);

    if (segment->spans)
        return lists ? "ivf_pq_span" : "hnsw_span";
    return segment_kind_name(lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW);
}

static void group_open(struct group_search *group, const struct group_request *request,
                       uint32_t count)
{
    *group = (struct group_search){.searcher = request->searcher,
                                   .segments = memory_new(count, sizeof(struct segment_search *)),
                                   .count = count};
    memcpy(group->segments, request->segments, count * sizeof(*group->segments));
    *request->enough = false;
    arena_create(&group->arena, 0);
    rounds_begin(group);
}

static int group_close(struct group_search *group, const struct group_request *request,
                       uint32_t count, struct error *error)
{
    int code = search_rounds(group, request->enough, error);

    for (uint32_t i = 0; *request->enough && i < count; i++)
        for (uint32_t part = 0; part < request->segments[i]->part_count; part++)
            if (request->segments[i]->parts[part])
                request->segments[i]->parts[part]->how = segment_name(request->segments[i]);
    arena_destroy(&group->arena);
    free(group->segments);
    return code;
}

int search_group_run(struct searcher *searcher, struct segment_search *const *segments,
                     uint32_t count, bool *enough, struct error *error)
{
    const struct group_request request = {searcher, segments, enough};
    struct group_search group;

    group_open(&group, &request, count);
    return group_close(&group, &request, count, error);
}

/* The first question of each is asked together; what has to be asked again is asked alone. */
static void ask_together(struct group_search *groups, uint32_t group_count, uint32_t segment_count)
{
    struct index_group_query *questions = memory_new(group_count, sizeof(*questions));
    uint32_t asked = 0;

    for (uint32_t i = 0; i < group_count; i++)
        if (may_search(&groups[i])) {
            make_question(&groups[i]);
            groups[i].answered = true;
            questions[asked++] = groups[i].question;
        }
    index_group_searches(questions, asked, segment_count);
    for (uint32_t i = group_count; i-- > 0;)
        if (groups[i].answered)
            groups[i].question = questions[--asked];
    free(questions);
}

int search_groups_run(const struct group_request *requests, uint32_t request_count,
                      uint32_t segment_count, struct error *error)
{
    struct group_search *groups = memory_new(request_count, sizeof(*groups));
    int code = 0;

    for (uint32_t i = 0; i < request_count; i++)
        group_open(&groups[i], &requests[i], segment_count);
    ask_together(groups, request_count, segment_count);
    for (uint32_t i = 0; i < request_count; i++) {
        struct error local = {0};
        int one = group_close(&groups[i], &requests[i], segment_count, &local);
        if (one != 0 && code == 0) {
            *error = local;
            code = one;
        }
    }
    free(groups);
    return code;
}
