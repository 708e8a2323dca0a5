/* The sources of several searches over one view, searched side by side.
 *
 *     prepare each source -> plan each search's segments -> tasks -> run -> tasks for what is left
 *
 * A task is a source or a group of segments, for all searches that want it: a source that is scanned
 * whole, or lists, are read once for several. What else is searched (graphs, rows that a filter
 * leaves, several examples) is a task for each search. Each search meets its sources in the order in
 * which it would meet them alone. */
#include "indexer/query/searcher.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "store/snapshot.h"

enum {
    /* Multiplications: a tenth of a millisecond or more. Waking a helper takes tens of
     * microseconds. */
    SHARED_WORK_MIN = 2000000,
    SEGMENT_SEARCH_ROWS = 1000, /* searching a segment costs as much as scanning so many rows */
    GROUP_SEGMENTS_MAX = 32,    /* with more, entry points take longest: split, for other threads */
    GROUP_NODES_MAX = 1 << 30,  /* the same */
    TOGETHER_MIN = 8            /* searches to a task, when there are threads for more tasks */
};

/* One search. */
struct plan_run {
    struct search_plan *plan;
    struct source_search **alone;
    size_t alone_count;
    struct segment_search *segments;
    size_t segment_count;
    struct segment_search **in_groups; /* group after group */
    uint32_t *group_ends;
    bool *enough; /* by group */
    size_t group_count;
};

/* A source, or a group of segments, for one search or several. */
struct task {
    bool is_group;
    uint32_t first, count; /* of the wishes, linked by `next` */
    uint32_t last;
};

/* What one search wants of a task: the number of a source among those alone, or of a group. */
struct wish {
    struct plan_run *run;
    size_t number;
    uint32_t next;
};

struct task_list {
    struct plan_run *runs;
    uint32_t run_count;
    uint32_t together_max; /* searches to a task */
    struct task *tasks;
    struct wish *wishes;
    uint32_t task_count, wish_count;
    struct io *io;
    bool explains;        /* somebody asks what it cost */
    pthread_mutex_t lock; /* of `error` */
    atomic_int code;      /* of the first task that failed; the others are not begun */
    struct error *error;
};

static double now_s(struct io *io)
{
    return (double)io_monotonic_ns(io) / 1e9;
}

/* About how many float32 multiplications it takes. */
static uint64_t plan_work(const struct search_plan *plan)
{
    uint64_t work = 0;

    for (size_t i = 0; i < plan->count; i++) {
        const struct source_search *source = &plan->sources[i];
        uint64_t rows = source->source->row_count;
        if ((source->through || (source->source->segment && !source->searcher->exact)) &&
            rows > SEGMENT_SEARCH_ROWS)
            rows = SEGMENT_SEARCH_ROWS;
        work += rows * source->searcher->dim;
    }
    return work;
}

/* The pool, or NULL when there is too little to do. */
static struct thread_pool *helpers(const struct task_list *list)
{
    const struct query_view *view = list->runs[0].plan->searcher->view;
    uint64_t work = 0;

    for (uint32_t i = 0; i < list->run_count; i++)
        work += plan_work(list->runs[i].plan);
    return work >= (view->shared_work_min ? view->shared_work_min : SHARED_WORK_MIN) ? view->pool
                                                                                     : NULL;
}

static void share_out(struct thread_pool *pool, size_t count, thread_loop_function function,
                      void *context)
{
    /* The pool may have more threads than there are processors: some of its tasks wait. */
    const struct thread_team team = {.pool = pool, .threads = thread_budget_processors()};

    (void)thread_team_for(&team, (uint32_t)count, 1, function, context);
}

/* Preparing. */

static void prepare_source(struct source_search *source, const struct source_search *lender)
{
    struct io *io = source->searcher->view->io;
    double start_s = now_s(io);

    if (!lender || !search_source_borrow(source, lender))
        search_source_prepare(source);
    source->seconds += now_s(io) - start_s;
}

static void prepare_sources(void *context, uint32_t thread, uint32_t index, uint32_t end)
{
    const struct search_plan *plan = context;

    (void)thread;
    assert(end == index + 1);
    prepare_source(&plan->sources[index], plan->lender && index < plan->lender->count
                                              ? &plan->lender->sources[index]
                                              : NULL);
}

static void prepare(const struct task_list *list)
{
    struct thread_pool *pool = helpers(list);

    for (uint32_t i = 0; i < list->run_count; i++) {
        struct search_plan *plan = list->runs[i].plan;
        if (plan->searcher->filter)
            share_out(pool, plan->count, prepare_sources, plan);
        else /* no time to speak of: two looks at the clock would take longer */
            for (size_t j = 0; j < plan->count; j++)
                search_source_prepare(&plan->sources[j]);
    }
}

/* Groups. */

static bool searched_together(const struct segment_search *a, const struct segment_search *b)
{
    uint32_t group = index_segment_group(a->segment);

    return group > 0 && group == index_segment_group(b->segment);
}

/* Puts `first` and all that can be searched with it into a new group, as far as it has room. */
static void make_group(struct plan_run *run, size_t first)
{
    bool together = run->plan->searcher->search->half_life_ms == 0;
    uint32_t begin = run->group_count > 0 ? run->group_ends[run->group_count - 1] : 0;
    uint32_t end = begin;
    uint64_t nodes = 0;

    for (size_t i = first;
         i < run->segment_count && end - begin < (together ? GROUP_SEGMENTS_MAX : 1); i++) {
        struct segment_search *segment = &run->segments[i];
        uint64_t more = (uint64_t)segment->row_count + 2 * SEGMENT_SEARCH_ROWS;
        if (segment->grouped)
            continue;
        if (i > first &&
            (nodes + more > GROUP_NODES_MAX || !searched_together(&run->segments[first], segment)))
            continue;
        segment->grouped = true;
        run->in_groups[end++] = segment;
        nodes += more;
    }
    run->group_ends[run->group_count++] = end;
}

/* Unsealed rows first, then the newest window: what is asked for most is often fresh, and a high
 * floor makes the rest cheap. */
static int compare_sources(const void *left, const void *right)
{
    const struct source_search *a = *(struct source_search *const *)left;
    const struct source_search *b = *(struct source_search *const *)right;

    if (a->source->sealed != b->source->sealed)
        return a->source->sealed ? 1 : -1;
    if (a->source->max_event_ms != b->source->max_event_ms)
        return a->source->max_event_ms < b->source->max_event_ms ? 1 : -1;
    if (a->shard != b->shard)
        return a->shard < b->shard ? -1 : 1;
    return (a->source > b->source) - (a->source < b->source);
}

void search_sources_sort(struct source_search **sources, size_t count)
{
    if (count > 1)
        qsort(sources, count, sizeof(*sources), compare_sources);
}

/* Every source is alone, or the segment that has its rows is in a group. Segments that share a
 * codebook are searched as one group, even when windows of other shards lie between them. */
static void plan_run(struct plan_run *run)
{
    struct search_plan *plan = run->plan;
    struct arena *arena = plan->searcher->search->arena;

    run->segments =
        search_plan_segments(plan->searcher, plan->sources, plan->count, &run->segment_count);
    run->in_groups = arena_calloc(arena, run->segment_count + 1, sizeof(struct segment_search *));
    run->group_ends = arena_calloc(arena, run->segment_count + 1, sizeof(*run->group_ends));
    run->enough = arena_calloc(arena, run->segment_count + 1, sizeof(*run->enough));
    run->alone = arena_calloc(arena, plan->count + 1, sizeof(struct source_search *));
    for (size_t i = 0; i < plan->count; i++)
        if (!plan->sources[i].through && plan->sources[i].path != ACCESS_NONE)
            run->alone[run->alone_count++] = &plan->sources[i];
    search_sources_sort(run->alone, run->alone_count);
    for (size_t i = 0; i < run->segment_count; i++)
        if (!run->segments[i].grouped)
            make_group(run, i);
}

static uint32_t group_first(const struct plan_run *run, size_t group)
{
    return group > 0 ? run->group_ends[group - 1] : 0;
}

/* Where a group found too few rows, its sources are searched without their segments. */
static void plan_second(struct plan_run *run)
{
    uint32_t at = 0;

    run->alone_count = 0;
    for (size_t i = 0; i < run->group_count; i++)
        for (; at < run->group_ends[i]; at++)
            for (uint32_t part = 0; !run->enough[i] && part < run->in_groups[at]->part_count;
                 part++)
                if (run->in_groups[at]->parts[part])
                    run->alone[run->alone_count++] = run->in_groups[at]->parts[part];
    search_sources_sort(run->alone, run->alone_count);
    run->group_count = 0;
}

/* Tasks. */

static bool are_same_groups(const struct wish *a, const struct wish *b)
{
    uint32_t first = group_first(a->run, a->number), other = group_first(b->run, b->number);
    uint32_t count = a->run->group_ends[a->number] - first;

    if (b->run->group_ends[b->number] - other != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (a->run->in_groups[first + i]->segment != b->run->in_groups[other + i]->segment)
            return false;
    return true;
}

static bool may_share(const struct wish *wish, bool is_group)
{
    const struct searcher *searcher = wish->run->plan->searcher;

    if (!is_group)
        return search_source_is_shared(wish->run->alone[wish->number]);
    return searcher->scorer.kind == QUERY_NEAREST && searcher->search->half_life_ms == 0 &&
           index_segment_kind(
               wish->run->in_groups[group_first(wish->run, wish->number)]->segment) ==
               SEGMENT_IVF_PQ;
}

static bool belongs(const struct task_list *list, const struct task *task, const struct wish *wish)
{
    const struct wish *first = &list->wishes[task->first];

    if (task->count >= list->together_max || !may_share(first, task->is_group))
        return false;
    return task->is_group
               ? are_same_groups(first, wish)
               : first->run->alone[first->number]->source == wish->run->alone[wish->number]->source;
}

/* The tasks of one kind that former searches of the list made, and where to look first among them. */
struct former_tasks {
    uint32_t first, count;
    uint32_t hint;
};

/* Puts a wish to others of its kind, or makes a task. No search wants a thing twice, so that only what
 * former searches wanted is looked at. They mostly want the same in the same order: the task behind
 * the one that the search joined last is looked at first. */
static void add_wish(struct task_list *list, struct former_tasks *former, struct wish wish,
                     bool is_group)
{
    uint32_t place = list->wish_count++;
    struct task *task = NULL;

    list->wishes[place] = wish;
    for (uint32_t i = 0; i < former->count && may_share(&wish, is_group); i++) {
        uint32_t at = former->first + (former->hint + i) % former->count;
        if (belongs(list, &list->tasks[at], &wish)) {
            task = &list->tasks[at];
            former->hint = at - former->first + 1;
            break;
        }
    }
    if (task) {
        list->wishes[task->last].next = place;
    } else {
        task = &list->tasks[list->task_count++];
        *task = (struct task){.is_group = is_group, .first = place};
    }
    task->last = place;
    task->count++;
}

static void make_tasks(struct task_list *list)
{
    uint32_t groups_begin;

    list->task_count = list->wish_count = 0;
    for (uint32_t i = 0; i < list->run_count; i++) {
        struct former_tasks former = {.count = list->task_count};
        for (size_t j = 0; j < list->runs[i].alone_count; j++)
            add_wish(list, &former, (struct wish){&list->runs[i], j, 0}, false);
    }
    groups_begin = list->task_count;
    for (uint32_t i = 0; i < list->run_count; i++) {
        struct former_tasks former = {.first = groups_begin,
                                      .count = list->task_count - groups_begin};
        for (size_t j = 0; j < list->runs[i].group_count; j++)
            add_wish(list, &former, (struct wish){&list->runs[i], j, 0}, true);
    }
}

/* What a task has taken since then, of each of so many. Pages are counted where somebody asks. */
struct spent {
    double seconds, reads;
};

static struct spent spent_now(const struct task_list *list)
{
    return (struct spent){now_s(list->io), list->explains ? (double)io_thread_reads().pages : 0};
}

static struct spent spent_since(const struct task_list *list, struct spent start, uint32_t parts)
{
    struct spent now = spent_now(list);

    return (struct spent){(now.seconds - start.seconds) / parts, (now.reads - start.reads) / parts};
}

static void add_spent(struct source_search *source, struct spent spent)
{
    source->seconds += spent.seconds;
    source->reads += spent.reads;
}

static int scan_sources(const struct task_list *list, const struct task *task, struct error *error)
{
    struct source_search *sources[SEARCH_TOGETHER_MAX];
    struct spent start = spent_now(list), spent;
    uint32_t at = task->first;
    int code;

    for (uint32_t i = 0; i < task->count; i++, at = list->wishes[at].next)
        sources[i] = list->wishes[at].run->alone[list->wishes[at].number];
    code = task->count == 1 ? search_source_run(sources[0], error)
                            : search_sources_run(sources, task->count, error);
    spent = spent_since(list, start, task->count);
    for (uint32_t i = 0; i < task->count; i++)
        add_spent(sources[i], spent);
    return code;
}

static void share_spent(const struct segment_search *segment, struct spent spent)
{
    uint32_t sources = 0;

    for (uint32_t i = 0; i < segment->part_count; i++)
        sources += segment->parts[i] != NULL;
    for (uint32_t i = 0; i < segment->part_count; i++)
        if (segment->parts[i])
            add_spent(segment->parts[i],
                      (struct spent){spent.seconds / sources, spent.reads / sources});
}

static int search_groups(const struct task_list *list, const struct task *task, struct error *error)
{
    struct group_request requests[SEARCH_TOGETHER_MAX];
    const struct wish *wish = &list->wishes[task->first];
    uint32_t count = wish->run->group_ends[wish->number] - group_first(wish->run, wish->number);
    struct spent start = spent_now(list), spent;
    uint32_t at = task->first;
    int code;

    for (uint32_t i = 0; i < task->count; i++, at = list->wishes[at].next) {
        wish = &list->wishes[at];
        requests[i] = (struct group_request){
            wish->run->plan->searcher, wish->run->in_groups + group_first(wish->run, wish->number),
            &wish->run->enough[wish->number]};
    }
    code = task->count == 1 ? search_group_run(requests[0].searcher, requests[0].segments, count,
                                               requests[0].enough, error)
                            : search_groups_run(requests, task->count, count, error);
    spent = spent_since(list, start, task->count * count);
    for (uint32_t i = 0; i < task->count; i++)
        for (uint32_t j = 0; j < count; j++)
            share_spent(requests[i].segments[j], spent);
    return code;
}

static void run_task(void *context, uint32_t thread, uint32_t index, uint32_t end)
{
    struct task_list *list = context;
    struct error local = {0};
    int code;

    (void)thread;
    assert(end == index + 1);
    if (atomic_load(&list->code) != 0)
        return;
    code = list->tasks[index].is_group ? search_groups(list, &list->tasks[index], &local)
                                       : scan_sources(list, &list->tasks[index], &local);
    if (code == 0)
        return;
    (void)pthread_mutex_lock(&list->lock);
    if (atomic_load(&list->code) == 0)
        *list->error = local;
    atomic_store(&list->code, code);
    (void)pthread_mutex_unlock(&list->lock);
}

/* Room for one task for each source of each search, which is more than there are. */
static void list_open(struct task_list *list, struct search_plan *const *plans, uint32_t count)
{
    const struct query_view *view = plans[0]->searcher->view;
    struct arena *arena = plans[0]->searcher->search->arena;
    uint32_t threads = view->pool ? thread_budget_processors() : 1;
    uint32_t each = (count + threads - 1) / threads;
    size_t most = 1;

    list->io = view->io;
    list->run_count = count;
    list->runs = memory_checked(arena_calloc(arena, count, sizeof(*list->runs)));
    for (uint32_t i = 0; i < count; i++) {
        list->runs[i].plan = plans[i];
        list->explains |= plans[i]->searcher->search->explain;
        most += plans[i]->count;
    }
    each = each < TOGETHER_MIN ? TOGETHER_MIN : each;
    list->together_max = each < SEARCH_TOGETHER_MAX ? each : SEARCH_TOGETHER_MAX;
    list->tasks = memory_checked(arena_calloc(arena, most, sizeof(*list->tasks)));
    list->wishes = memory_checked(arena_calloc(arena, most, sizeof(*list->wishes)));
}

int search_plans_run(struct search_plan *const *plans, uint32_t count, struct error *error)
{
    struct task_list list = {.lock = PTHREAD_MUTEX_INITIALIZER, .error = error};
    struct thread_pool *pool;

    list_open(&list, plans, count);
    prepare(&list);
    for (uint32_t i = 0; i < count; i++)
        plan_run(&list.runs[i]);
    pool = helpers(&list);
    make_tasks(&list);
    share_out(pool, list.task_count, run_task, &list);
    for (uint32_t i = 0; i < count; i++)
        plan_second(&list.runs[i]);
    make_tasks(&list);
    share_out(pool, list.task_count, run_task, &list);
    for (uint32_t i = 0; i < count; i++)
        for (size_t j = 0; j < plans[i]->count; j++)
            search_source_finish(&plans[i]->sources[j]);
    return atomic_load(&list.code);
}
