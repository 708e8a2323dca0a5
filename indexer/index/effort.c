/* Measuring effort. Each query's true neighbours are found by brute force. A graph is walked once a
 * query, further and further, and it is noted how far it had gone when each of them was met. Lists
 * are searched with one ef after another until nearly all are found. */
#include "indexer/index/effort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/ivf_file.h"
#include "indexer/index/rerank.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    QUERIES_MAX = 200,
    LIST_QUERIES_MAX = 64, /* lists are searched a dozen times for each, and built in no time */
    QUERIES_MIN = 32,
    QUERY_ROWS = 16,   /* a query for so many rows: small segments take little time to build */
    HUNDREDS_PART = 4, /* one query of so many is asked for its nearest hundred */
    WIDTH_MIN = 64,
    WIDTH_ROWS = 8, /* rows for each place of a walk, which is dearer than a scan before that */
    NEIGHBOURS_MAX = 100,
    KEPT = NEIGHBOURS_MAX + 2, /* with the query itself, and the first that is none of them */
    WALK_WIDTH = 1024,
    LISTS_EF_MIN = 8, /* the first that is tried */
    LIST_HITS = 10,
    LEAST_FOR_DIMENSIONS = 10 /* neighbours that tell how many dimensions rows fill */
};
/* Multiplications that brute force may cost: about a second of one core. */
#define WORK_MAX 1e10
#define ROUNDING 1e-6 /* of an ef that is computed from float32 logarithms */

const double index_effort_recalls[INDEX_EFFORT_LEVELS] = {.7, .8, .9, .95, .97, .98, .99, .995};
/* Rows of each rank that a query has, at most. */
static const uint32_t ranks[INDEX_EFFORT_RANKS] = {1, 1, 10, 100};

bool index_effort_is_valid(const struct index_effort *effort)
{
    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
        for (uint32_t level = 0; level < INDEX_EFFORT_LEVELS; level++) {
            uint32_t ef = effort->ef[rank][level];
            if (ef > INDEX_EFFORT_MAX || (level > 0 && ef < effort->ef[rank][level - 1]) ||
                (rank > 0 && ef < effort->ef[rank - 1][level]))
                return false;
        }
    return true;
}

/* log2 of what each level misses. */
static const double missed_logs[INDEX_EFFORT_LEVELS] = {
    -1.7369655941662059, -2.3219280948873626, -3.3219280948873626, -4.3219280948873608,
    -5.0588936890535674, -5.6438561897747235, -6.6438561897747235, -7.6438561897747235};

struct index_effort_logs index_effort_logs(const struct index_effort *effort)
{
    struct index_effort_logs logs = {.measured = effort->query_count > 0};

    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
        for (uint32_t level = 0; level < INDEX_EFFORT_LEVELS; level++)
            logs.ef[rank][level] = (float)log2(fmax(effort->ef[rank][level], 1));
    return logs;
}

/* Effort is about a power of the share that is missed; beyond the last level, of one over it. */
static double at_recall(const float *efs, double recall)
{
    const uint32_t last = INDEX_EFFORT_LEVELS - 1;
    double missed = log2(fmax(1 - recall, 1e-3)), share;
    uint32_t above = 0;

    while (above < INDEX_EFFORT_LEVELS && index_effort_recalls[above] < recall)
        above++;
    if (above == 0)
        return (double)efs[0];
    if (above > last)
        return (double)efs[last] + missed_logs[last] - missed;
    share = (missed_logs[above - 1] - missed) / (missed_logs[above - 1] - missed_logs[above]);
    return (double)efs[above - 1] + ((double)efs[above] - (double)efs[above - 1]) * share;
}

/* A plan asks it of every segment there is. From logarithms it takes four transcendental functions
 * instead of eight, which were 7 % of a search through 168 windows on four shards. */
uint32_t index_effort_ef(const struct index_effort_logs *logs, double k, double recall)
{
    const uint32_t last = INDEX_EFFORT_RANKS - 1;
    double place = log2(fmax(k, .1)) * M_LN2 / M_LN10 + 1, ef;
    uint32_t rank = (uint32_t)place;

    if (!logs->measured)
        return 0;
    if (rank >= last) {
        ef = exp2(at_recall(logs->ef[last], recall)) * k / ranks[last];
    } else {
        double below = at_recall(logs->ef[rank], recall);
        double above = at_recall(logs->ef[rank + 1], recall);
        ef = exp2(below + (above - below) * (place - rank));
    }
    /* A measured number comes back as itself, not as the next one. */
    return ef < INDEX_EFFORT_MAX ? (uint32_t)ceil(ef * (1 - ROUNDING)) : INDEX_EFFORT_MAX;
}

/* Measuring. */

struct measuring {
    const struct index_segment *segment;
    const struct index_effort_sample *sample;
    uint32_t query_count;
    uint32_t rows[QUERIES_MAX]; /* that are the queries */
    float *moved;               /* a query on its way to its nearest row */
    struct index_hit *hits;     /* of the queries, KEPT each */
    struct index_top tops[QUERIES_MAX];
    /* Of each true neighbour among the nearest of a rank, the ef that met it. */
    uint64_t *needed[INDEX_EFFORT_RANKS];
    uint32_t needed_count[INDEX_EFFORT_RANKS];
};

static const float *query_of(const struct measuring *measuring, uint32_t query)
{
    return measuring->sample->vectors + (size_t)measuring->rows[query] * measuring->sample->dim;
}

struct vector_row index_sample_row(void *context, uint32_t row, struct error *error)
{
    const struct index_effort_sample *sample = context;

    (void)error;
    return vector_row_float32(sample->vectors + (size_t)row * sample->dim);
}

/* A query's neighbours without itself, nearest first. */
struct neighbours {
    struct index_hit hits[KEPT];
    uint32_t count;
    bool repeated; /* another row is as near as itself */
};

static void neighbours_of(const struct measuring *measuring, uint32_t query,
                          struct neighbours *neighbours)
{
    const struct index_top *top = &measuring->tops[query];
    float own = -INFINITY;

    neighbours->count = 0;
    for (uint32_t i = 0; i < top->count; i++)
        if (top->hits[i].row == measuring->rows[query])
            own = top->hits[i].score;
        else
            neighbours->hits[neighbours->count++] = top->hits[i];
    neighbours->repeated = false;
    for (uint32_t i = 0; i < neighbours->count; i++)
        neighbours->repeated = neighbours->repeated || neighbours->hits[i].score == own;
}

/* A walk need not meet outliers: searches look at each of them. */
static void leave_out_outliers(const struct index_outliers *outliers, struct neighbours *neighbours)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < neighbours->count; i++)
        if (!index_outliers_have(outliers, neighbours->hits[i].row))
            neighbours->hits[kept++] = neighbours->hits[i];
    neighbours->count = kept;
}

/* How many of the nearest `wanted` are nearer than the next one: of rows that are equally near any
 * may be returned. */
static uint32_t certain(const struct neighbours *neighbours, uint32_t wanted)
{
    uint32_t count = neighbours->count < wanted ? neighbours->count : wanted;

    if (count == neighbours->count)
        return count;
    while (count > 0 && !(neighbours->hits[count - 1].score > neighbours->hits[count].score))
        count--;
    return count;
}

static uint32_t count_queries(const struct index_effort_sample *sample, uint32_t most)
{
    double affordable = WORK_MAX / ((double)sample->count * sample->dim);
    uint32_t count = affordable < QUERIES_MIN ? QUERIES_MIN
                     : affordable < most      ? (uint32_t)affordable
                                              : most;

    if (count > sample->count / QUERY_ROWS)
        count = sample->count / QUERY_ROWS;
    count = count > QUERIES_MIN ? count : QUERIES_MIN;
    count = count < sample->count ? count : sample->count;
    return count;
}

/* Squared, from a score; vectors of a product are taken as if they were of unit length. */
static double distance_square(const struct measuring *measuring, float score)
{
    return fmax(index_segment_metric(measuring->segment) == VECTOR_METRIC_L2
                    ? -(double)score
                    : 2 - 2 * (double)score,
                0);
}

/* How many dimensions rows fill around the query; 0: cannot be told. */
static double dimensions_near(const struct measuring *measuring, const struct neighbours *near)
{
    double sum = 0, farthest = 0;

    if (near->count < LEAST_FOR_DIMENSIONS)
        return 0;
    farthest = distance_square(measuring, near->hits[near->count - 1].score);
    for (uint32_t i = 0; i + 1 < near->count; i++) {
        double square = distance_square(measuring, near->hits[i].score);
        if (!(square > 0))
            return 0;
        sum += log(farthest / square) / 2;
    }
    return sum > 0 ? (near->count - 2) / sum : 0;
}

/* Towards the nearest row, to the distance of a tenth of a row. That row stays the nearest of a
 * moved query, by the triangle inequality; with products of vectors of any length it might not, so
 * these are left where they are. */
static void move_query(struct measuring *measuring, uint32_t query, const struct neighbours *near)
{
    const struct index_effort_sample *sample = measuring->sample;
    enum vector_metric metric = index_segment_metric(measuring->segment);
    const float *from = query_of(measuring, query);
    double dimensions = metric == VECTOR_METRIC_DOT ? 0 : dimensions_near(measuring, near);
    float share = dimensions > 0 ? (float)pow(.1, 1 / dimensions) : 1;

    for (uint32_t d = 0; d < sample->dim; d++) {
        float to = near->count > 0 ? sample->vectors[(size_t)near->hits[0].row * sample->dim + d]
                                   : from[d];
        measuring->moved[d] = to + share * (from[d] - to);
    }
    if (metric == VECTOR_METRIC_COSINE)
        (void)index_normalise(measuring->moved, sample->dim);
}

static void note(struct measuring *measuring, uint32_t rank, const uint32_t *met, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        measuring->needed[rank][measuring->needed_count[rank]++] = met[i];
}

/* The walk for the nearest one begins as those through one of many segments do, that for the others
 * as one through this segment alone. */
static void walk(struct measuring *measuring, uint32_t query)
{
    const struct index_effort_sample *sample = measuring->sample;
    uint32_t met[NEIGHBOURS_MAX];
    const float *own = query_of(measuring, query);
    struct neighbours near;
    struct index_walk walk = {
        .query = own, .hits = near.hits, .met = met, .width = sample->count / WIDTH_ROWS};

    walk.width = walk.width < WIDTH_MIN    ? WIDTH_MIN
                 : walk.width < WALK_WIDTH ? walk.width
                                           : WALK_WIDTH;

    neighbours_of(measuring, query, &near);
    leave_out_outliers(&measuring->segment->outliers, &near);
    /* Its equals hang below it. */
    walk.hidden_row = near.repeated ? INDEX_NO_ROW : measuring->rows[query];
    walk.one_of_many = true;
    walk.count = certain(&near, 1);
    index_graph_walk(measuring->segment, &walk);
    note(measuring, 1, met, walk.count);
    move_query(measuring, query, &near);
    walk.query = measuring->moved;
    index_graph_walk(measuring->segment, &walk);
    note(measuring, 0, met, walk.count);
    walk.query = own;
    walk.one_of_many = false;
    walk.count = certain(&near, 10);
    index_graph_walk(measuring->segment, &walk);
    note(measuring, 2, met, walk.count);
    if (query % HUNDREDS_PART != 0)
        return;
    walk.count = certain(&near, NEIGHBOURS_MAX);
    index_graph_walk(measuring->segment, &walk);
    note(measuring, 3, met, walk.count);
}

static int measure_walks(struct measuring *measuring, struct index_effort *effort,
                         struct error *error)
{
    for (uint32_t q = 0; q < measuring->query_count; q++) {
        if (measuring->sample->cancel && atomic_load(measuring->sample->cancel))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        walk(measuring, q);
    }
    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++) {
        uint64_t *needed = measuring->needed[rank];
        uint32_t count = measuring->needed_count[rank];
        index_entries_sort(needed, count);
        for (uint32_t level = 0; level < INDEX_EFFORT_LEVELS && count > 0; level++)
            effort->ef[rank][level] =
                (uint32_t)needed[(uint32_t)ceil(index_effort_recalls[level] * count) - 1];
        /* By chance, a walk that was entered more carefully may have met ten sooner than one. */
        for (uint32_t level = 0; level < INDEX_EFFORT_LEVELS && rank > 0; level++)
            if (effort->ef[rank][level] < effort->ef[rank - 1][level])
                effort->ef[rank][level] = effort->ef[rank - 1][level];
    }
    return 0;
}

/* Of the ten nearest of all queries, how many a search of lists with `ef` finds, of how many. */
static int search_lists(const struct measuring *measuring, uint32_t ef, uint32_t *found,
                        uint32_t *all, struct error *error)
{
    struct index_effort_sample sample = *measuring->sample;

    *found = *all = 0;
    for (uint32_t q = 0; q < measuring->query_count; q++) {
        struct neighbours near;
        struct index_hit hits[LIST_HITS];
        uint32_t hit_count, wanted;
        bool exhausted;
        struct index_search search = {.query = query_of(measuring, q),
                                      .k = LIST_HITS,
                                      .ef = ef,
                                      .floor_score = -INFINITY,
                                      .vector = index_sample_row,
                                      .vector_context = &sample,
                                      .hides = true,
                                      .hidden_row = measuring->rows[q]};
        neighbours_of(measuring, q, &near);
        wanted = certain(&near, LIST_HITS);
        if (index_segment_search(measuring->segment, &search, hits, &hit_count, &exhausted,
                                 error) != 0)
            return error->code;
        for (uint32_t i = 0; i < hit_count && wanted > 0; i++)
            *found += hits[i].score >= near.hits[wanted - 1].score;
        *all += wanted;
    }
    return 0;
}

/* A search of lists for more rows than it has places for reads as many more by itself
 * (ivf_search.c), and of many windows it reads all that one of them needs: one curve is enough. */
static int measure_lists(const struct measuring *measuring, struct index_effort *effort,
                         struct error *error)
{
    uint32_t level = 0, ef, found = 0, all = 0;

    for (ef = LISTS_EF_MIN; level < INDEX_EFFORT_LEVELS && ef <= WALK_WIDTH; ef += ef / 2) {
        if (measuring->sample->cancel && atomic_load(measuring->sample->cancel))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        if (search_lists(measuring, ef, &found, &all, error) != 0)
            return error->code;
        for (; level < INDEX_EFFORT_LEVELS && found >= index_effort_recalls[level] * all; level++)
            effort->ef[2][level] = ef;
    }
    for (; level < INDEX_EFFORT_LEVELS; level++)
        effort->ef[2][level] = ef;
    for (level = 0; level < INDEX_EFFORT_LEVELS; level++) {
        effort->ef[0][level] = effort->ef[1][level] = effort->ef[2][level];
        ef = effort->ef[2][level] * NEIGHBOURS_MAX / INDEX_IVF_EF_DEFAULT;
        effort->ef[3][level] = ef < INDEX_EFFORT_MAX ? ef : INDEX_EFFORT_MAX;
    }
    return 0;
}

/* From all over the segment. */
static void choose_queries(struct measuring *measuring)
{
    const struct index_outliers *outliers = &measuring->segment->outliers;
    uint64_t rows = measuring->sample->count, count = measuring->query_count;

    for (uint64_t q = 0; q < count; q++)
        measuring->rows[q] =
            index_outliers_stand_in(outliers, (uint32_t)((2 * q + 1) * rows / (2 * count)));
}

static void find_neighbours(struct measuring *measuring)
{
    const struct index_effort_sample *sample = measuring->sample;
    const float *queries[QUERIES_MAX];

    for (uint32_t q = 0; q < measuring->query_count; q++) {
        queries[q] = query_of(measuring, q);
        index_top_create(&measuring->tops[q], measuring->hits + (size_t)q * KEPT, KEPT);
    }
    index_exact_tops(index_segment_metric(measuring->segment), sample->vectors, sample->count,
                     sample->dim, queries, measuring->query_count, measuring->tops, sample->cancel);
    for (uint32_t q = 0; q < measuring->query_count; q++)
        index_top_sort(&measuring->tops[q]);
}

static int write_header(const struct index_segment *segment, const char *path, struct error *error)
{
    union {
        struct index_segment_header graph;
        struct index_ivf_header lists;
    } header;
    struct error ignored;
    int file, code;

    memcpy(&header, segment->bytes, sizeof(header));
    if (segment->ivf) {
        header.lists.effort = segment->effort;
        header.lists.choice = segment->choice;
        header.lists.checksum = index_ivf_header_checksum(&header.lists);
    } else {
        header.graph.effort = segment->effort;
        header.graph.choice = segment->choice;
        header.graph.checksum = index_header_checksum(&header.graph);
    }
    code = io_open(segment->io, path, IO_WRITE, &file, error);
    if (code != 0)
        return code;
    code = io_write(segment->io, file, path, &header, sizeof(header), 0, error);
    if (code == 0)
        code = io_datasync(segment->io, file, path, error);
    if (code == 0)
        return io_close(segment->io, file, path, error);
    (void)io_close(segment->io, file, path, &ignored); /* the first error is the one to report */
    return code;
}

int index_segment_measure_effort(struct index_segment *segment, const char *path,
                                 const struct index_effort_sample *sample, struct error *error)
{
    struct measuring *measuring = index_allocate_zeroed(1, sizeof(*measuring));
    struct index_effort effort = {0};
    int code;

    measuring->segment = segment;
    measuring->sample = sample;
    measuring->query_count = count_queries(sample, segment->ivf ? LIST_QUERIES_MAX : QUERIES_MAX);
    measuring->hits =
        index_allocate((size_t)measuring->query_count * KEPT, sizeof(struct index_hit));
    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
        measuring->needed[rank] =
            index_allocate((size_t)measuring->query_count * ranks[rank], sizeof(uint64_t));
    measuring->moved = index_allocate(sample->dim, sizeof(float));
    choose_queries(measuring);
    find_neighbours(measuring);
    code = segment->ivf ? measure_lists(measuring, &effort, error)
                        : measure_walks(measuring, &effort, error);
    effort.query_count = measuring->query_count;
    if (code == 0) {
        segment->effort = effort;
        segment->effort_logs = index_effort_logs(&effort);
        if (sample->choice)
            segment->choice = *sample->choice;
        if (sample->recall > 0)
            code = index_choice_measure(segment, sample, &segment->choice, error);
    }
    if (code == 0)
        code = write_header(segment, path, error);
    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
        free(measuring->needed[rank]);
    free(measuring->moved);
    free(measuring->hits);
    free(measuring);
    return code;
}

int index_segment_raise_effort(struct index_segment *segment, const char *path, double k,
                               double recall, uint32_t ef, struct error *error)
{
    struct index_effort *effort = &segment->effort;
    double factor = ef / fmax(index_segment_effort(segment, k, recall), 1);

    if (effort->query_count == 0 || factor <= 1)
        return 0;
    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
        for (uint32_t level = 0; level < INDEX_EFFORT_LEVELS; level++)
            effort->ef[rank][level] =
                (uint32_t)fmin(ceil(fmax(effort->ef[rank][level], 1) * factor), INDEX_EFFORT_MAX);
    segment->effort_logs = index_effort_logs(effort);
    segment->choice.cost *= (float)factor; /* a search costs about what its effort does */
    return write_header(segment, path, error);
}

int index_segment_take_effort(struct index_segment *segment, const char *path,
                              const struct index_segment *from, struct error *error)
{
    segment->effort = from->effort;
    segment->effort_logs = index_effort_logs(&segment->effort);
    return write_header(segment, path, error);
}
