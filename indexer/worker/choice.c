#include "indexer/worker/choice.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/arena.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/source.h"
#include "store/files/segment.h"
#include "store/lease.h"
#include "store/snapshot.h"

enum {
    COMPARED_MAX = 3,  /* youngest segments of a kind whose costs count */
    COMPARE_EACH = 32, /* of so many files one gets the other kind, so that it is measured again */
    ROWS_APART = 2     /* segments of up to so many times the rows, or the part of them, compare */
};
#define CLOSE        1.5 /* times the cost of a kind that the other one may cost and be worth measuring */
#define RECALL_APART .005

/* What segments of one kind cost, scaled to the rows in question, youngest first. */
struct known {
    double costs[COMPARED_MAX];
    int64_t start_ms[COMPARED_MAX];
    uint32_t count;
};

struct knowledge {
    const struct config_collection *collection;
    uint64_t rows;
    struct known kinds[2]; /* graphs, lists */
    /* Of the youngest segment that compares: */
    int64_t newest_ms;
    double expected[2];
};

static void add_cost(struct known *known, double cost, int64_t start_ms)
{
    uint32_t place = known->count;

    while (place > 0 && known->start_ms[place - 1] < start_ms)
        place--;
    if (place == COMPARED_MAX)
        return;
    if (known->count < COMPARED_MAX)
        known->count++;
    for (uint32_t i = known->count - 1; i > place; i--) {
        known->costs[i] = known->costs[i - 1];
        known->start_ms[i] = known->start_ms[i - 1];
    }
    known->costs[place] = cost;
    known->start_ms[place] = start_ms;
}

static bool compares(const struct knowledge *knowledge, const struct index_choice *choice,
                     uint64_t rows)
{
    return choice->cost > 0 && rows <= knowledge->rows * ROWS_APART &&
           rows * ROWS_APART >= knowledge->rows &&
           fabs((double)choice->recall - knowledge->collection->recall) < RECALL_APART;
}

static void add_segment(struct knowledge *knowledge, const struct store_segment *stored,
                        uint64_t rows, int64_t start_ms)
{
    const struct index_segment *segment = stored ? stored->object : NULL;
    const struct index_choice *choice = segment ? index_segment_choice(segment) : NULL;
    bool lists;

    if (!choice || !compares(knowledge, choice, rows))
        return;
    lists = index_segment_kind(segment) == SEGMENT_IVF_PQ;
    add_cost(&knowledge->kinds[lists],
             index_choice_scale((double)choice->cost, rows, knowledge->rows), start_ms);
    if (choice->graph_cost > 0 && choice->lists_cost > 0 && start_ms >= knowledge->newest_ms) {
        knowledge->newest_ms = start_ms;
        knowledge->expected[0] =
            index_choice_scale((double)choice->graph_cost, rows, knowledge->rows);
        knowledge->expected[1] =
            index_choice_scale((double)choice->lists_cost, rows, knowledge->rows);
    }
}

static void look_at_shard(struct knowledge *knowledge, const struct store_snapshot *snapshot)
{
    size_t count, span_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    const struct store_span *spans = store_snapshot_spans(snapshot, &span_count);

    for (size_t i = 0; i < count; i++)
        add_segment(knowledge, sources[i].segment, sources[i].row_count,
                    sources[i].window_start_ms);
    for (size_t i = 0; i < span_count; i++)
        add_segment(knowledge, spans[i].segment, spans[i].row_count,
                    spans[i].parts[0].window_start_ms);
}

/* Others use the machines too, which only ever makes a search dearer. */
static double least_cost(const struct known *known)
{
    double least = INFINITY;

    for (uint32_t i = 0; i < known->count; i++)
        least = fmin(least, known->costs[i]);
    return least;
}

static void fill_choice(const struct knowledge *knowledge, struct worker_job *job)
{
    struct index_choice *choice = &job->choice;
    double costs[2];
    bool measured[2], lists, close;

    for (int kind = 0; kind < 2; kind++) {
        measured[kind] = knowledge->kinds[kind].count > 0;
        costs[kind] =
            measured[kind] ? least_cost(&knowledge->kinds[kind]) : knowledge->expected[kind];
        if (!(costs[kind] > 0)) /* a segment from before costs were noted beside it */
            choice->how = INDEX_CHOICE_TRIAL;
    }
    if (choice->how == INDEX_CHOICE_TRIAL)
        return;
    lists = index_choice_takes_lists(costs[0], costs[1]);
    close = costs[!lists] < costs[lists] * CLOSE;
    choice->how = INDEX_CHOICE_KNOWN;
    if (!measured[lists]) /* expected to be better */
        choice->how = INDEX_CHOICE_COMPARE;
    else if (close && (!measured[!lists] || job->run_checksum % COMPARE_EACH == 0)) {
        choice->how = INDEX_CHOICE_COMPARE;
        lists = !lists;
    }
    choice->graph_cost = (float)costs[0];
    choice->lists_cost = (float)costs[1];
    job->chosen = lists ? SEGMENT_IVF_PQ : SEGMENT_HNSW;
}

void worker_choose(struct store_registry *registry, const struct config_collection *collection,
                   int64_t now_ms, struct worker_job *job)
{
    struct knowledge knowledge = {
        .collection = collection, .rows = job->rows, .newest_ms = INT64_MIN};
    struct store_lease *leases;
    struct arena arena;
    size_t count;

    job->chosen = SEGMENT_NONE;
    job->choice = (struct index_choice){0};
    /* A search meets many small segments at once. Those of one kind are entered together, which is worth
     * more than the kind: 55 windows of 1,090 rows of both kinds took twice as long as of either. */
    if (!worker_kind_is_free(collection, job->kind) || job->rows < collection->flat_below_rows)
        return;
    arena_create(&arena, 0);
    count = store_registry_acquire(registry, collection->name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        struct store_snapshot *snapshot = store_snapshot_acquire(leases[i].shard, now_ms);
        look_at_shard(&knowledge, snapshot);
        store_snapshot_release(snapshot);
        store_registry_release(registry, &leases[i]);
    }
    arena_destroy(&arena);
    fill_choice(&knowledge, job);
    /* Chunks are merged soon: a trial does not pay for itself. */
    if (job->choice.how == INDEX_CHOICE_TRIAL && job->generation == 0 && job->span_tier == 0)
        job->choice.how = INDEX_CHOICE_NONE;
}

void worker_build_choose(struct build *build, const struct worker_job *job)
{
    enum segment_kind kind = job->chosen != SEGMENT_NONE ? job->chosen : job->kind;

    build->choice = job->choice;
    build->lists = kind == SEGMENT_IVF_PQ;
}

static int try_both(struct build *build, struct error *error)
{
    static atomic_uint trials; /* of this process, for the file's name */
    char path[BUILD_PATH_BYTES];
    int code;

    (void)snprintf(path, sizeof(path), "%s/trial-%u.building", build->directory,
                   atomic_fetch_add(&trials, 1));
    code = index_choice_try(build->vectors, build->row_count, &build->options,
                            build->collection->recall, build->io, path, &build->choice, error);
    if (code == 0)
        build->lists = index_choice_takes_lists((double)build->choice.graph_cost,
                                                (double)build->choice.lists_cost);
    return code;
}

static int find_codebook(struct build *build, struct error *error)
{
    if (build->fetch_codebook)
        return build->fetch_codebook(build, error);
    build->codebook = worker_source_codebook(build->registry, build->collection->name,
                                             build->window_start_ms, io_wall_ms(build->io));
    return 0;
}

int worker_build_chosen(struct build *build, bool *low_recall, struct error *error)
{
    bool was_lists = build->lists;
    int code = build->choice.how == INDEX_CHOICE_TRIAL ? try_both(build, error) : 0;

    if (code == 0 && build->lists)
        code = find_codebook(build, error);
    if (code == 0 && build->lists != was_lists)
        code = worker_build_begin(build, error);
    build->options.codebook = build->codebook;
    if (code == 0)
        code = worker_build_good(build, low_recall, error);
    if (code != 0 || !*low_recall || !build->lists || build->choice.how == INDEX_CHOICE_NONE)
        return code;
    build->lists = false;
    code = worker_build_begin(build, error);
    return code == 0 ? worker_build_good(build, low_recall, error) : code;
}
