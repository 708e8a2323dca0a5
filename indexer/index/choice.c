#include "indexer/index/choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/effort.h"
#include "indexer/index/segment.h"

enum {
    SAMPLE_PART = 8, /* of the rows */
    SAMPLE_MIN = 4096,
    SAMPLE_MAX = 16384,
    TIMED_QUERIES = 256, /* so many that they do not all find the same lists in the cache */
    TIMED_ROWS = 32,     /* one of so many rows is a query */
    TIMED_ROUNDS = 3,
    TIMED_HITS = 10,
    SCORED_BYTES = 32 * 1024, /* of vectors that are scored to time it */
    SCORED_TIMES = 2,
    SCORED_BETWEEN = 16, /* searches between two timings of it */
    FAR_STEP = 7919      /* rows between a row and the other one */
};
#define COST_POWER     .53
#define FAR_SHARE      .25F /* of the way to another row that a query is moved */
#define COST_MAX       1e12
#define GRAPH_GAIN_MIN 1.1

bool index_choice_is_valid(const struct index_choice *choice)
{
    const float numbers[] = {choice->graph_cost, choice->lists_cost, choice->cost,
                             choice->score_ns};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (!(numbers[i] >= 0 && numbers[i] <= COST_MAX))
            return false;
    return choice->how <= INDEX_CHOICE_COMPARE && choice->recall >= 0 && choice->recall <= 1;
}

double index_choice_scale(double cost, uint64_t rows, uint64_t to_rows)
{
    return rows > 0 ? cost * pow((double)to_rows / (double)rows, COST_POWER) : cost;
}

bool index_choice_takes_lists(double graph_cost, double lists_cost)
{
    return lists_cost <= graph_cost * GRAPH_GAIN_MIN;
}

double index_choice_rate(const struct index_choice *choice, double cost)
{
    double ns = cost * (double)choice->score_ns;

    return ns > 0 ? 1e9 / ns : 0;
}

/* Timing. Others use the machine too: scoring is timed between the searches, so that what slows
 * these down slows it, too, and of a few rounds the middle one counts. */

static double thread_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Of one vector, of those that stay in the cache. */
static double time_scoring(enum vector_metric metric, const struct index_effort_sample *sample,
                           float *scores, uint32_t count)
{
    double began;

    index_score_block(metric, sample->vectors, sample->vectors, count, sample->dim, scores);
    began = thread_ns();
    for (int i = 0; i < SCORED_TIMES; i++)
        index_score_block(metric, sample->vectors, sample->vectors, count, sample->dim, scores);
    return (thread_ns() - began) / ((double)SCORED_TIMES * count);
}

static int search_once(const struct index_segment *segment,
                       const struct index_effort_sample *sample, const float *query, double *ns,
                       struct error *error)
{
    struct index_hit hits[TIMED_HITS];
    struct index_search search = {.query = query,
                                  .k = TIMED_HITS,
                                  .ef =
                                      index_segment_default_ef(segment, TIMED_HITS, sample->recall),
                                  .floor_score = -INFINITY,
                                  .vector = index_sample_row,
                                  .vector_context = (void *)(uintptr_t)sample};
    bool exhausted;
    uint32_t count;
    double began = thread_ns();

    if (index_segment_search(segment, &search, hits, &count, &exhausted, error) != 0)
        return error->code;
    *ns += thread_ns() - began;
    return 0;
}

/* Queries lie between the rows: a row itself, or near copies of it, would be found so soon that lists
 * look better than they are. */
static float *make_queries(const struct index_effort_sample *sample, enum vector_metric metric,
                           uint32_t queries)
{
    float *made = index_allocate((size_t)queries * sample->dim, sizeof(float));

    for (uint64_t q = 0; q < queries; q++) {
        uint64_t row = (2 * q + 1) * sample->count / (2 * (uint64_t)queries);
        uint64_t other = (row + (q + 1) * FAR_STEP) % sample->count;
        float *query = made + q * sample->dim;
        for (uint32_t d = 0; d < sample->dim; d++)
            query[d] = (1 - FAR_SHARE) * sample->vectors[row * sample->dim + d] +
                       FAR_SHARE * sample->vectors[other * sample->dim + d];
        if (metric == VECTOR_METRIC_COSINE)
            (void)index_normalise(query, sample->dim);
    }
    return made;
}

/* Of a search and of scoring a vector, in one round. */
struct timing {
    double search_ns, score_ns;
};

static int by_cost(const void *a, const void *b)
{
    const struct timing *left = a, *right = b;
    double difference = left->search_ns * right->score_ns - right->search_ns * left->score_ns;

    return (difference > 0) - (difference < 0);
}

static int time_round(const struct index_segment *segment, const struct index_effort_sample *sample,
                      const float *queries, uint32_t query_count, struct timing *timing,
                      struct error *error)
{
    enum vector_metric metric = index_segment_metric(segment);
    uint32_t scored = SCORED_BYTES / (sample->dim * (uint32_t)sizeof(float)) + 1, samples = 0;
    float *scores;
    int code = 0;

    scored = scored < sample->count ? scored : sample->count;
    scores = index_allocate(scored, sizeof(float));
    *timing = (struct timing){0};
    for (uint32_t q = 0; q < query_count && code == 0; q++) {
        if (q % SCORED_BETWEEN == 0) {
            timing->score_ns += time_scoring(metric, sample, scores, scored);
            samples++;
        }
        code = sample->cancel && atomic_load(sample->cancel)
                   ? error_set(error, ERROR_CANCELLED, "cancelled")
                   : search_once(segment, sample, queries + (size_t)q * sample->dim,
                                 &timing->search_ns, error);
    }
    timing->search_ns /= query_count;
    timing->score_ns = fmax(timing->score_ns / samples, .1);
    free(scores);
    return code;
}

int index_choice_measure(const struct index_segment *segment,
                         const struct index_effort_sample *sample, struct index_choice *choice,
                         struct error *error)
{
    struct timing rounds[TIMED_ROUNDS];
    const struct timing *middle = &rounds[TIMED_ROUNDS / 2];
    uint32_t queries = sample->count / TIMED_ROWS + 1;
    float *made;
    int code = 0;

    queries = queries < TIMED_QUERIES ? queries : TIMED_QUERIES;
    made = make_queries(sample, index_segment_metric(segment), queries);
    for (int i = 0; i < TIMED_ROUNDS && code == 0; i++)
        code = time_round(segment, sample, made, queries, &rounds[i], error);
    free(made);
    if (code != 0)
        return code;
    qsort(rounds, TIMED_ROUNDS, sizeof(rounds[0]), by_cost);
    choice->score_ns = (float)middle->score_ns;
    choice->recall = (float)sample->recall;
    choice->cost = (float)fmin(middle->search_ns / middle->score_ns, COST_MAX);
    return 0;
}

/* The trial. */

static int build_kind(const struct index_effort_sample *sample,
                      const struct index_build_options *options, bool lists, struct io *io,
                      const char *path, struct error *error)
{
    struct index_hnsw_graph *graph = NULL;
    struct index_ivf *ivf = NULL;
    uint64_t size_bytes;
    int code = lists ? index_ivf_build(sample->vectors, sample->count, options, &ivf, error)
                     : index_hnsw_build(sample->vectors, sample->count, options, &graph, error);

    if (code == 0)
        code = lists ? index_ivf_write(io, path, 1, ivf, &size_bytes, error)
                     : index_segment_write(io, path, 1, graph, &size_bytes, error);
    index_ivf_delete(ivf);
    index_hnsw_graph_delete(graph);
    return code;
}

static int try_kind(const struct index_effort_sample *sample,
                    const struct index_build_options *options, bool lists, struct io *io,
                    const char *path, float *cost, struct error *error)
{
    struct index_segment *segment = NULL;
    struct error ignored;
    int code = build_kind(sample, options, lists, io, path, error);

    if (code == 0)
        code = index_segment_open(io, path, 1, options->metric, options->dim, sample->count,
                                  &segment, error);
    if (code == 0)
        code = index_segment_measure_effort(segment, path, sample, error);
    if (code == 0)
        *cost = index_segment_choice(segment)->cost;
    if (segment)
        index_segment_close(segment);
    (void)io_unlink(io, path, &ignored); /* of a failed build there may be none */
    return code;
}

int index_choice_try(const float *vectors, uint32_t count,
                     const struct index_build_options *options, double recall, struct io *io,
                     const char *path, struct index_choice *choice, struct error *error)
{
    struct index_build_options own = *options;
    struct index_effort_sample sample = {
        .dim = options->dim, .recall = recall, .cancel = options->cancel};
    size_t row_bytes = options->dim * sizeof(float);
    float *copy;
    int code;

    sample.count = count / SAMPLE_PART;
    sample.count = sample.count < SAMPLE_MIN ? SAMPLE_MIN : sample.count;
    sample.count = sample.count > SAMPLE_MAX ? SAMPLE_MAX : sample.count;
    sample.count = sample.count < count ? sample.count : count;
    copy = index_allocate(sample.count, row_bytes);
    for (uint32_t i = 0; i < sample.count; i++)
        memcpy(copy + (size_t)i * options->dim,
               vectors + (uint64_t)i * count / sample.count * options->dim, row_bytes);
    sample.vectors = copy;
    own.codebook = NULL;
    own.progress = NULL;
    *choice = (struct index_choice){.how = INDEX_CHOICE_TRIAL, .sample_rows = sample.count};
    code = try_kind(&sample, &own, false, io, path, &choice->graph_cost, error);
    if (code == 0)
        code = try_kind(&sample, &own, true, io, path, &choice->lists_cost, error);
    choice->graph_cost = (float)index_choice_scale(choice->graph_cost, sample.count, count);
    choice->lists_cost = (float)index_choice_scale(choice->lists_cost, sample.count, count);
    free(copy);
    return code;
}
