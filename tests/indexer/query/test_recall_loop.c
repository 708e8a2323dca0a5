/* The recall of answers is held, whatever segments promised of themselves. */
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/thread_pool.h"
#include "tests/indexer/query/query_world.h"

enum { HOUR_MS = 3600000, DIM = 32, HOURS = 3, ROWS = 1500, CENTRES = 60, LIMIT = 10 };
static const int64_t START_MS = 1760000000000 / HOUR_MS * HOUR_MS;

/* Time between rounds goes by at once, and each look at the clock takes a step. */
static _Atomic int64_t skipped_ns, step_ns;

static int64_t skipping_ns(struct io *io)
{
    (void)io;
    return io_monotonic_ns(io_posix()) + atomic_fetch_add(&skipped_ns, atomic_load(&step_ns));
}

struct scene {
    struct world world;
    struct query_view_options options;
    float centres[CENTRES][DIM];
};

/* Near to a centre, as far from it as `spread` says. */
static void draw(struct scene *scene, float spread, float *vector)
{
    const float *centre = scene->centres[test_random(&scene->world.random) % CENTRES];

    for (uint32_t d = 0; d < DIM; d++)
        vector[d] = centre[d] + spread * world_uniform(&scene->world);
}

static void open_scene(struct scene *scene, double recall, bool lists, uint64_t seed)
{
    struct world *world = &scene->world;
    float vector[DIM];

    world_open(world, &(struct world_options){.shard_count = 1,
                                              .dim = DIM,
                                              .metric = VECTOR_METRIC_L2,
                                              .window_ms = HOUR_MS,
                                              .seed = seed});
    world->collection.hnsw_ef = 0;
    world->collection.recall = recall;
    world->clock.operations.monotonic_ns = skipping_ns;
    atomic_store(&world->clock.now_ms, START_MS + HOURS * HOUR_MS);
    scene->options = (struct query_view_options){.collection = &world->collection,
                                                 .registry = world->registry,
                                                 .io = &world->clock.io,
                                                 .timeout_ms = INT64_C(100000) * HOUR_MS};
    for (int i = 0; i < CENTRES; i++)
        for (uint32_t d = 0; d < DIM; d++)
            scene->centres[i][d] = world_uniform(world);
    for (uint64_t id = 0; id < HOURS * ROWS; id++) {
        draw(scene, .5f, vector);
        world_upsert(world, 0, id, START_MS + (int64_t)(id / ROWS) * HOUR_MS, 0, vector);
    }
    for (int hour = 0; hour < HOURS; hour++) {
        world_seal(world, 0, START_MS + hour * HOUR_MS);
        world_index_as(world, 0, START_MS + hour * HOUR_MS, lists);
    }
}

static void close_scene(struct scene *scene)
{
    query_recall_forget(scene->world.registry, NULL);
    world_close(&scene->world);
}

/* `recall` 0: as the collection asks. */
static void ask(struct query_view *view, const float *vector, double recall, bool exact,
                struct arena *arena, struct query_result *result)
{
    const struct query_search search = {.vector = vector,
                                        .limit = LIMIT,
                                        .recall = recall,
                                        .exact = exact,
                                        .from_ms = INT64_MIN,
                                        .to_ms = INT64_MAX,
                                        .arena = arena};
    struct error error = {0};

    ck_assert_int_eq(query_search_run(view, &search, result, &error), 0);
    ck_assert_uint_eq(result->hit_count, LIMIT);
}

/* Mean recall of searches. */
static double ask_many(struct scene *scene, float spread, double recall, uint32_t count)
{
    struct query_view *view = world_view(&scene->world);
    uint32_t right = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct query_result exact, found;
        float vector[DIM];
        struct arena arena;
        draw(scene, spread, vector);
        arena_create(&arena, 0);
        ask(view, vector, recall, false, &arena, &found);
        ask(view, vector, 0, true, &arena, &exact);
        for (uint32_t k = 0; k < LIMIT; k++)
            right += found.hits[k].score <= exact.hits[LIMIT - 1].score;
        arena_destroy(&arena);
    }
    query_view_close(view);
    return (double)right / (count * LIMIT);
}

/* Rounds until a pass has ended. Returns how many there were. */
static uint32_t hold(struct scene *scene)
{
    struct error error = {0};
    uint32_t rounds = 0;
    bool more = true;

    for (; more; rounds++) {
        ck_assert_int_eq(query_recall_hold(&scene->options, &more, &error), 0);
        atomic_fetch_add(&skipped_ns, INT64_C(60) * 1000000000);
    }
    return rounds;
}

static struct query_recall known(const struct scene *scene)
{
    struct query_recall recall;

    ck_assert(query_recall_get(scene->world.registry, "world", &recall));
    return recall;
}

/* The effort that explain tells of each segment: the same of all. */
static double explained(struct scene *scene, double recall)
{
    struct query_view *view = world_view(&scene->world);
    struct query_result result;
    struct error error = {0};
    float vector[DIM];
    struct arena arena;
    double effort;

    draw(scene, .5f, vector);
    arena_create(&arena, 0);
    ck_assert_int_eq(query_search_run(view,
                                      &(struct query_search){.vector = vector,
                                                             .limit = LIMIT,
                                                             .recall = recall,
                                                             .from_ms = INT64_MIN,
                                                             .to_ms = INT64_MAX,
                                                             .explain = true,
                                                             .arena = &arena},
                                      &result, &error),
                     0);
    ck_assert_uint_eq(result.explain_count, HOURS);
    effort = result.explain[0].effort;
    for (int i = 1; i < HOURS; i++)
        ck_assert_double_eq(result.explain[i].effort, effort);
    arena_destroy(&arena);
    query_view_close(view);
    return effort;
}

/* The effort that GET /windows tells; 0: none. */
static double described(struct scene *scene)
{
    struct query_view *view = world_view(&scene->world);
    struct query_shard_doc *shards;
    struct error error = {0};
    struct arena arena;
    double effort = 0;
    size_t count;

    arena_create(&arena, 0);
    ck_assert_int_eq(query_describe(view, &arena, &shards, &count, &error), 0);
    ck_assert_uint_eq(count, 1);
    if (doc_get(&shards[0].doc, "recall")->type == DOC_MAP)
        ck_assert(doc_as_double(doc_get(doc_get(&shards[0].doc, "recall"), "effort"), &effort));
    arena_destroy(&arena);
    query_view_close(view);
    return effort;
}

/* Searches that are unlike the rows, by which segments were measured. */
START_TEST(searches_that_get_too_little_take_more)
{
    for (int lists = 0; lists < 2; lists++) {
        struct scene scene;
        struct query_recall recall;
        double before, after;

        open_scene(&scene, .95, lists, test_seed());
        query_recall_begin(scene.world.registry, &scene.world.collection);
        before = ask_many(&scene, 1.5f, 0, QUERY_RECALL_SEARCHES);
        (void)hold(&scene);
        recall = known(&scene);
        after = ask_many(&scene, 1.5f, 0, 2 * QUERY_RECALL_SEARCHES);
        printf("lists %d: %.3f, with %.2f %.3f, measured %.3f\n", lists, before, recall.effort,
               after, recall.measured);
        ck_assert_uint_eq(recall.searches, QUERY_RECALL_SEARCHES);
        ck_assert_double_lt(before, .945);
        ck_assert_double_gt(recall.effort, 1);
        ck_assert_double_ge(recall.measured, .95);
        ck_assert_double_ge(after, .91);
        close_scene(&scene);
    }
}
END_TEST

START_TEST(searches_that_get_too_much_take_less)
{
    struct scene scene;
    struct query_recall recall;
    double before, after;

    open_scene(&scene, .95, false, test_seed());
    (void)hold(&scene);
    ck_assert_double_eq(explained(&scene, 0), 1);
    ck_assert_double_eq(described(&scene), 0);
    before = ask_many(&scene, .5f, 0, QUERY_RECALL_SEARCHES);
    (void)hold(&scene);
    recall = known(&scene);
    after = ask_many(&scene, .5f, 0, 2 * QUERY_RECALL_SEARCHES);
    printf("%.3f, with %.2f %.3f, measured %.3f\n", before, recall.effort, after, recall.measured);
    ck_assert_double_lt(recall.effort, 1);
    ck_assert_double_eq(explained(&scene, 0), recall.effort);
    ck_assert_double_eq(described(&scene), recall.effort);
    ck_assert_double_eq(explained(&scene, .95), 1); /* nobody has measured such searches */
    ck_assert_double_ge(recall.measured, .95);
    ck_assert_double_le(recall.measured, .98);
    ck_assert_double_ge(after, .91); /* two samples, four times their spread */
    close_scene(&scene);
}
END_TEST

static void ask_again(struct scene *scene, int times)
{
    struct query_view *view = world_view(&scene->world);
    struct query_result result;
    float vector[DIM];
    struct arena arena;

    draw(scene, .5f, vector);
    arena_create(&arena, 0);
    for (int i = 0; i < times; i++)
        ask(view, vector, 0, false, &arena, &result);
    arena_destroy(&arena);
    query_view_close(view);
}

/* Nor does one that is asked again and again. */
START_TEST(few_searches_lower_nothing)
{
    struct scene scene;
    struct query_recall recall;

    open_scene(&scene, .95, false, test_seed());
    (void)hold(&scene);
    ck_assert(!query_recall_get(scene.world.registry, "world", &recall));
    ck_assert_uint_eq(query_recall_bytes(), 0);
    (void)ask_many(&scene, .5f, 0, 30);
    ask_again(&scene, 100);
    ck_assert_uint_eq(query_recall_bytes(), 31 * DIM * sizeof(float));
    (void)hold(&scene);
    ck_assert(!query_recall_get(scene.world.registry, "world", &recall));
    (void)ask_many(&scene, .5f, 0, 1);
    (void)hold(&scene);
    ck_assert_uint_eq(known(&scene).searches, 32);
    ck_assert_double_ge(known(&scene).effort, 1); /* by chance they may ask for more */
    (void)ask_many(&scene, .5f, 0, QUERY_RECALL_SEARCHES);
    (void)hold(&scene);
    ck_assert_uint_eq(known(&scene).searches, QUERY_RECALL_SEARCHES);
    ck_assert_double_lt(known(&scene).effort, 1);
    ck_assert_uint_eq(query_recall_bytes(), QUERY_RECALL_SEARCHES * DIM * sizeof(float));
    query_recall_forget(scene.world.registry, "world");
    ck_assert_uint_eq(query_recall_bytes(), 0);
    ck_assert(!query_recall_get(scene.world.registry, "world", &recall));
    close_scene(&scene);
}
END_TEST

START_TEST(comparing_takes_a_twentieth_of_the_time)
{
    enum { SEARCHES = 64, STEP_MS = 20, ROUND_MS = 200, PAUSE_MS = 1000 };
    const int64_t ms = 1000000;
    struct scene scene;
    struct query_recall recall;
    int64_t began_ns, busy_ns = 0, last_ns = 0;
    uint32_t rounds = 0;

    open_scene(&scene, .95, false, test_seed());
    query_recall_begin(scene.world.registry, &scene.world.collection);
    (void)ask_many(&scene, .5f, 0, SEARCHES);
    atomic_store(&step_ns, STEP_MS * ms);
    began_ns = skipping_ns(NULL);
    while (!query_recall_get(scene.world.registry, "world", &recall)) {
        int64_t before_ns = skipping_ns(NULL), took_ns;
        struct error error = {0};
        bool more;
        ck_assert_int_eq(query_recall_hold(&scene.options, &more, &error), 0);
        took_ns = skipping_ns(NULL) - before_ns;
        if (took_ns >= ROUND_MS * ms || !more) {
            rounds++;
            busy_ns += last_ns;
            last_ns = took_ns; /* the rest after the last one is not waited for */
        }
        atomic_fetch_add(&skipped_ns, PAUSE_MS * ms);
    }
    ck_assert_uint_eq(recall.searches, SEARCHES);
    ck_assert_uint_gt(rounds, SEARCHES * STEP_MS / ROUND_MS / 2);
    ck_assert_int_ge(skipping_ns(NULL) - began_ns, 15 * busy_ns); /* 20 times what they measure */
    atomic_store(&step_ns, 0);
    close_scene(&scene);
}
END_TEST

struct gate {
    struct thread_task task;
    sem_t entered, leave;
};

static void gate_run(struct thread_task *task, uint32_t thread)
{
    struct gate *gate = (struct gate *)task;

    (void)thread;
    sem_post(&gate->entered);
    while (sem_wait(&gate->leave) != 0)
        ;
}

START_TEST(nothing_is_compared_while_searches_wait)
{
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "http", .class = THREAD_SEARCH, .threads_max = 1});
    struct scene scene;
    struct query_recall recall;
    struct gate gates[2];

    open_scene(&scene, .95, false, test_seed());
    query_recall_begin(scene.world.registry, &scene.world.collection);
    (void)ask_many(&scene, .5f, 0, 32);
    for (int i = 0; i < 2; i++) {
        gates[i] = (struct gate){.task.run = gate_run};
        sem_init(&gates[i].entered, 0, 0);
        sem_init(&gates[i].leave, 0, 0);
        ck_assert(thread_pool_submit(pool, &gates[i].task));
    }
    while (sem_wait(&gates[0].entered) != 0)
        ;
    (void)hold(&scene); /* the second one waits for the thread */
    ck_assert(!query_recall_get(scene.world.registry, "world", &recall));
    for (int i = 0; i < 2; i++)
        sem_post(&gates[i].leave);
    thread_pool_delete(pool);
    (void)hold(&scene);
    ck_assert_uint_eq(known(&scene).searches, 32);
    close_scene(&scene);
}
END_TEST

enum { OWN = 50 };

struct asker {
    struct scene *scene;
    pthread_t thread;
    atomic_bool stop;
    uint64_t asked, answered;
    float vectors[OWN][DIM];
};

/* Nothing is asserted here: only one thread may. */
static void *ask_on(void *context)
{
    struct asker *asker = context;

    for (uint32_t i = 0; !atomic_load(&asker->stop); i = (i + 1) % OWN) {
        struct query_search search = {
            .vector = asker->vectors[i], .limit = LIMIT, .from_ms = INT64_MIN, .to_ms = INT64_MAX};
        struct query_result result = {0};
        struct query_view *view;
        struct error error = {0};
        struct arena arena;
        if (query_view_open(&asker->scene->options, &view, &error) != 0)
            break;
        arena_create(&arena, 0);
        search.arena = &arena;
        asker->answered +=
            query_search_run(view, &search, &result, &error) == 0 && result.hit_count == LIMIT;
        asker->asked++;
        arena_destroy(&arena);
        query_view_close(view);
    }
    return NULL;
}

START_TEST(rounds_go_on_beside_searches)
{
    struct scene scene;
    struct asker askers[2];
    struct query_recall recall;
    struct error error = {0};

    open_scene(&scene, .95, false, test_seed());
    for (int i = 0; i < 2; i++) {
        askers[i] = (struct asker){.scene = &scene};
        for (int k = 0; k < OWN; k++)
            draw(&scene, .5f, askers[i].vectors[k]);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask_on, &askers[i]), 0);
    for (int pass = 0; pass < 2; pass++) {
        do { /* until there are enough searches, and a pass has ended */
            bool more;
            ck_assert_int_eq(query_recall_hold(&scene.options, &more, &error), 0);
            atomic_fetch_add(&skipped_ns, INT64_C(10) * 1000000000);
        } while (!query_recall_get(scene.world.registry, "world", &recall));
        query_recall_forget(scene.world.registry, NULL);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&askers[i].stop, true);
        pthread_join(askers[i].thread, NULL);
        ck_assert_uint_gt(askers[i].asked, 0);
        ck_assert_uint_eq(askers[i].answered, askers[i].asked);
    }
    close_scene(&scene);
}
END_TEST

TEST_TABLE(TEST(searches_that_get_too_little_take_more), TEST(searches_that_get_too_much_take_less),
           TEST(few_searches_lower_nothing), TEST(comparing_takes_a_twentieth_of_the_time),
           TEST(nothing_is_compared_while_searches_wait), TEST(rounds_go_on_beside_searches))
