/* Pools of threads: tasks, loops, waits, priorities and the end. */
#include "base/thread_future.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/test_main.h"

/* A task that says that it runs and then waits until it may end. */
struct gate_task {
    struct thread_task task;
    struct thread_pool *pool;
    sem_t entered, leave;
    bool waits;       /* gives its place away meanwhile */
    bool steps_aside; /* once, before it ends */
    atomic_bool done;
};

static void gate_run(struct thread_task *task, uint32_t thread)
{
    struct gate_task *gate = (struct gate_task *)task;

    (void)thread;
    if (gate->waits)
        ck_assert(thread_pool_wait_begin(gate->pool));
    sem_post(&gate->entered);
    while (sem_wait(&gate->leave) != 0)
        ;
    if (gate->steps_aside) {
        thread_pool_step_aside();
        thread_pool_step_aside();
        sem_post(&gate->entered);
        while (sem_wait(&gate->leave) != 0)
            ;
    }
    if (gate->waits)
        thread_pool_wait_end(gate->pool);
    atomic_store(&gate->done, true);
}

static void gate_create(struct gate_task *gate, struct thread_pool *pool)
{
    *gate = (struct gate_task){.task.run = gate_run, .pool = pool};
    sem_init(&gate->entered, 0, 0);
    sem_init(&gate->leave, 0, 0);
}

static void gate_await(struct gate_task *gate)
{
    for (;;) {
        uint64_t seen = thread_pool_completed(gate->pool);
        if (atomic_load(&gate->done))
            return;
        ck_assert(thread_pool_wait_completed(gate->pool, seen, -1));
    }
}

static bool entered_within(struct gate_task *gate, int64_t limit_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += limit_ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return sem_timedwait(&gate->entered, &until) == 0;
}

/* A task that must begin has all the time a busy machine may need; one that must not begin would do so at once. */
enum { SOON_MS = 60000, NEVER_MS = 50 };

struct count_task {
    struct thread_task task;
    atomic_uint *runs;
};

static void count_run(struct thread_task *task, uint32_t thread)
{
    ck_assert_uint_lt(thread, 4);
    atomic_fetch_add(((struct count_task *)task)->runs, 1);
    free(task);
}

START_TEST(every_task_runs_once_and_may_free_itself)
{
    enum { COUNT = 2000 };
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 4});
    atomic_uint runs = 0;

    for (int i = 0; i < COUNT; i++) {
        struct count_task *task = calloc(1, sizeof(*task));
        *task = (struct count_task){.task.run = count_run, .runs = &runs};
        ck_assert(thread_pool_submit(pool, &task->task));
    }
    while (thread_pool_completed(pool) < COUNT)
        (void)thread_pool_wait_completed(pool, thread_pool_completed(pool), 1000000);
    ck_assert_uint_eq(atomic_load(&runs), COUNT);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(full_queue_refuses_and_a_place_is_free_again)
{
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "test", .threads_max = 1, .queue_max = 1});
    struct gate_task gates[3];

    for (int i = 0; i < 3; i++)
        gate_create(&gates[i], pool);
    ck_assert(thread_pool_submit(pool, &gates[0].task));
    ck_assert(entered_within(&gates[0], SOON_MS));
    ck_assert(thread_pool_submit(pool, &gates[1].task));
    ck_assert(!thread_pool_submit(pool, &gates[2].task));
    sem_post(&gates[0].leave);
    ck_assert(entered_within(&gates[1], SOON_MS));
    ck_assert(thread_pool_submit(pool, &gates[2].task));
    sem_post(&gates[1].leave);
    sem_post(&gates[2].leave);
    thread_pool_delete(pool);
    ck_assert(gates[2].done);
}
END_TEST

START_TEST(queued_task_can_be_taken_back)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 1});
    struct gate_task gates[4];

    for (int i = 0; i < 4; i++) {
        gate_create(&gates[i], pool);
        ck_assert(thread_pool_submit(pool, &gates[i].task));
    }
    ck_assert(entered_within(&gates[0], SOON_MS));
    ck_assert_ptr_null(thread_pool_unqueue(pool, &gates[0].task));
    ck_assert_ptr_eq(thread_pool_unqueue(pool, &gates[3].task), &gates[3].task);
    ck_assert_ptr_null(thread_pool_unqueue(pool, &gates[3].task));
    ck_assert_ptr_eq(thread_pool_unqueue(pool, NULL), &gates[1].task);
    ck_assert(thread_pool_submit(pool, &gates[3].task));
    for (int i = 0; i < 4; i++)
        sem_post(&gates[i].leave);
    gate_await(&gates[2]);
    gate_await(&gates[3]);
    ck_assert_ptr_null(thread_pool_unqueue(pool, NULL));
    ck_assert(!gates[1].done);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(waiting_task_gives_its_place_away)
{
    enum { WAITING = 3 };
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "test", .threads_max = 1, .waiting_max = WAITING});
    struct gate_task waiting[WAITING], other;

    for (int i = 0; i < WAITING; i++) {
        gate_create(&waiting[i], pool);
        waiting[i].waits = true;
        ck_assert(thread_pool_submit(pool, &waiting[i].task));
        ck_assert(entered_within(&waiting[i], SOON_MS));
    }
    gate_create(&other, pool);
    ck_assert(thread_pool_submit(pool, &other.task));
    ck_assert(entered_within(&other, SOON_MS));
    ck_assert(!thread_pool_wait_begin(pool)); /* no more of those */
    sem_post(&other.leave);
    gate_await(&other);
    for (int i = 0; i < WAITING; i++)
        sem_post(&waiting[i].leave);
    for (int i = 0; i < WAITING; i++)
        gate_await(&waiting[i]);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(lanes_take_turns)
{
    enum { COUNT = 5 };
    static const uint32_t lanes[COUNT] = {0, 0, 0, 2, 2}, order[COUNT] = {0, 3, 1, 4, 2};
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "test", .threads_max = 1, .lanes = 3});
    struct gate_task gates[COUNT];

    for (int i = 0; i < COUNT; i++) {
        gate_create(&gates[i], pool);
        gates[i].task.lane = lanes[i];
        ck_assert(thread_pool_submit(pool, &gates[i].task));
        if (i == 0)
            ck_assert(entered_within(&gates[i], SOON_MS));
    }
    for (int i = 0; i < COUNT; i++) {
        if (i > 0)
            ck_assert(entered_within(&gates[order[i]], SOON_MS));
        sem_post(&gates[order[i]].leave);
    }
    thread_pool_delete(pool);
}
END_TEST

START_TEST(lane_at_its_limits_leaves_the_rest_to_others)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test",
                                                      .threads_max = 2,
                                                      .waiting_max = 1,
                                                      .lanes = 2,
                                                      .lane_queue_max = 1,
                                                      .lane_running_max = 1});
    struct gate_task gates[3], other;

    for (int i = 0; i < 3; i++)
        gate_create(&gates[i], pool);
    gate_create(&other, pool);
    other.task.lane = 1;
    ck_assert(thread_pool_submit(pool, &gates[0].task));
    ck_assert(entered_within(&gates[0], SOON_MS));
    ck_assert(thread_pool_submit(pool, &gates[1].task));
    ck_assert(!thread_pool_submit(pool, &gates[2].task));
    ck_assert(thread_pool_submit(pool, &other.task));
    ck_assert(entered_within(&other, SOON_MS));
    sem_post(&other.leave);
    gate_await(&other);
    ck_assert(!entered_within(&gates[1], NEVER_MS)); /* though there is a thread for it */
    sem_post(&gates[0].leave);
    ck_assert(entered_within(&gates[1], SOON_MS));
    sem_post(&gates[1].leave);
    gate_await(&gates[1]);
    /* One that waits does not count. */
    gates[2].waits = true;
    gate_create(&gates[0], pool);
    ck_assert(thread_pool_submit(pool, &gates[2].task));
    ck_assert(entered_within(&gates[2], SOON_MS));
    ck_assert(thread_pool_submit(pool, &gates[0].task));
    ck_assert(entered_within(&gates[0], SOON_MS));
    sem_post(&gates[0].leave);
    sem_post(&gates[2].leave);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(expected_wait_follows_what_tasks_waited_lately)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 1});
    struct gate_task gates[5];
    int64_t two_ns;

    for (int i = 0; i < 5; i++)
        gate_create(&gates[i], pool);
    ck_assert(thread_pool_submit(pool, &gates[0].task));
    ck_assert(entered_within(&gates[0], SOON_MS));
    ck_assert_int_eq(thread_pool_wait_ns(pool, 0), 0);
    ck_assert(thread_pool_submit(pool, &gates[1].task));
    ck_assert(!entered_within(&gates[1], NEVER_MS));
    sem_post(&gates[0].leave);
    sem_post(&gates[1].leave);
    gate_await(&gates[1]);
    ck_assert_int_eq(thread_pool_wait_ns(pool, 0), 0);
    for (int i = 2; i < 5; i++) {
        ck_assert(thread_pool_submit(pool, &gates[i].task));
        if (i == 2)
            ck_assert(entered_within(&gates[2], SOON_MS));
        if (i == 3)
            two_ns = thread_pool_wait_ns(pool, 0);
    }
    /* An eighth of what the second one waited, and a little less since the third did not. */
    ck_assert_int_gt(two_ns, 2 * NEVER_MS * INT64_C(1000000) / 16);
    ck_assert_int_eq(thread_pool_wait_ns(pool, 0), two_ns / 2 * 3);
    for (int i = 2; i < 5; i++)
        sem_post(&gates[i].leave);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(task_that_steps_aside_goes_on_beside_another)
{
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "test", .threads_max = 1, .aside_max = 1});
    struct gate_task first, second, third;

    thread_pool_step_aside(); /* not a thread of the pool: nothing happens */
    for (int round = 0; round < 2; round++) {
        gate_create(&first, pool);
        gate_create(&second, pool);
        gate_create(&third, pool);
        first.steps_aside = second.steps_aside = true;
        ck_assert(thread_pool_submit(pool, &first.task));
        ck_assert(entered_within(&first, SOON_MS));
        ck_assert(thread_pool_submit(pool, &second.task));
        ck_assert(thread_pool_submit(pool, &third.task));
        sem_post(&first.leave);
        ck_assert(entered_within(&first, SOON_MS));
        ck_assert(entered_within(&second, SOON_MS));
        sem_post(&second.leave); /* one is aside already: it keeps its place */
        ck_assert(entered_within(&second, SOON_MS));
        ck_assert(!entered_within(&third, NEVER_MS));
        sem_post(&second.leave);
        ck_assert(entered_within(&third, SOON_MS));
        sem_post(&first.leave);
        gate_await(&first);
        sem_post(&third.leave);
        gate_await(&third);
    }
    thread_pool_delete(pool);
}
END_TEST

/* Its place is free already: it has no second one to give. */
START_TEST(waiting_task_does_not_step_aside)
{
    struct thread_pool *pool = thread_pool_new(&(struct thread_pool_options){
        .name = "test", .threads_max = 1, .waiting_max = 1, .aside_max = 1});
    struct gate_task first, second, third;

    gate_create(&first, pool);
    gate_create(&second, pool);
    gate_create(&third, pool);
    first.waits = first.steps_aside = true;
    ck_assert(thread_pool_submit(pool, &first.task));
    ck_assert(entered_within(&first, SOON_MS));
    ck_assert(thread_pool_submit(pool, &second.task));
    ck_assert(entered_within(&second, SOON_MS));
    ck_assert(thread_pool_submit(pool, &third.task));
    sem_post(&first.leave);
    ck_assert(entered_within(&first, SOON_MS));
    ck_assert(!entered_within(&third, NEVER_MS));
    sem_post(&second.leave);
    ck_assert(entered_within(&third, SOON_MS));
    sem_post(&third.leave);
    sem_post(&first.leave);
    gate_await(&first);
    gate_await(&third);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(stop_runs_what_is_queued_and_takes_no_more)
{
    enum { COUNT = 20 };
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 2});
    struct gate_task gates[COUNT];

    for (int i = 0; i < COUNT; i++) {
        gate_create(&gates[i], pool);
        sem_post(&gates[i].leave);
        ck_assert(thread_pool_submit(pool, &gates[i].task));
    }
    thread_pool_stop(pool);
    for (int i = 0; i < COUNT; i++)
        ck_assert(gates[i].done);
    ck_assert(!thread_pool_submit(pool, &gates[0].task));
    thread_pool_delete(pool);
}
END_TEST

START_TEST(wait_for_completion_ends_in_time)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 1});

    ck_assert(!thread_pool_wait_completed(pool, 0, 1000000));
    ck_assert(thread_pool_wait_completed(pool, 7, -1));
    thread_pool_delete(pool);
}
END_TEST

enum { LOOP_COUNT = 10007, LOOP_THREADS = 3 };

struct loop_world {
    struct thread_pool *pool;
    atomic_uint touched[LOOP_COUNT];
    uint64_t sums[LOOP_THREADS]; /* each written by its thread alone */
    atomic_bool cancel;
    atomic_uint pieces;
};

static void loop_touch(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct loop_world *world = context;

    ck_assert_uint_lt(thread, LOOP_THREADS);
    atomic_fetch_add(&world->pieces, 1);
    for (uint32_t i = first; i < end; i++) {
        atomic_fetch_add(&world->touched[i], 1);
        world->sums[thread] += i;
    }
}

START_TEST(loop_touches_every_index_once_with_scratch_for_each_thread)
{
    static const uint32_t counts[] = {0, 1, 2, 63, 64, 65, LOOP_COUNT};
    struct thread_pool *pools[] = {
        NULL, thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 7})};

    for (size_t p = 0; p < 2; p++) {
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            struct loop_world *world = calloc(1, sizeof(*world));
            uint64_t sum = 0;
            ck_assert(
                thread_team_for(&(struct thread_team){.pool = pools[p], .threads = LOOP_THREADS},
                                counts[c], 16, loop_touch, world));
            for (uint32_t i = 0; i < LOOP_COUNT; i++)
                ck_assert_uint_eq(atomic_load(&world->touched[i]), i < counts[c]);
            for (uint32_t i = 0; i < LOOP_THREADS; i++)
                sum += world->sums[i];
            ck_assert_uint_eq(sum, (uint64_t)counts[c] * (counts[c] ? counts[c] - 1 : 0) / 2);
            ck_assert_uint_eq(atomic_load(&world->pieces), (counts[c] + 15) / 16);
            free(world);
        }
    }
    thread_pool_delete(pools[1]);
}
END_TEST

static void loop_cancel(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct loop_world *world = context;

    (void)thread;
    (void)end;
    atomic_fetch_add(&world->pieces, 1);
    if (first == 10)
        atomic_store(&world->cancel, true);
}

START_TEST(cancelled_loop_begins_no_further_piece)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 2});
    struct loop_world *world = calloc(1, sizeof(*world));

    ck_assert(!thread_team_for(&(struct thread_team){.pool = pool, .cancel = &world->cancel},
                               LOOP_COUNT, 1, loop_cancel, world));
    ck_assert_uint_lt(atomic_load(&world->pieces), LOOP_COUNT);
    thread_pool_delete(pool);
    free(world);
}
END_TEST

struct meeting {
    pthread_barrier_t barrier;
};

static void loop_meet(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    (void)thread;
    (void)first;
    (void)end;
    pthread_barrier_wait(&((struct meeting *)context)->barrier);
}

START_TEST(idle_threads_join_a_loop)
{
    enum { SIDE_BY_SIDE = 3 };
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "test", .threads_max = SIDE_BY_SIDE - 1});
    struct meeting meeting;

    pthread_barrier_init(&meeting.barrier, NULL, SIDE_BY_SIDE);
    /* Ends only if every thread has a piece at the same time; the second time they are asleep. */
    for (int round = 0; round < 2; round++)
        ck_assert(thread_team_for(&(struct thread_team){.pool = pool}, SIDE_BY_SIDE, 1, loop_meet,
                                  &meeting));
    thread_pool_delete(pool);
    pthread_barrier_destroy(&meeting.barrier);
}
END_TEST

START_TEST(loop_does_not_wait_for_a_busy_pool)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 1});
    struct loop_world *world = calloc(1, sizeof(*world));
    struct gate_task gate;

    gate_create(&gate, pool);
    ck_assert(thread_pool_submit(pool, &gate.task));
    ck_assert(entered_within(&gate, SOON_MS));
    ck_assert(
        thread_team_for(&(struct thread_team){.pool = pool}, LOOP_COUNT, 1, loop_touch, world));
    ck_assert(!gate.done);
    sem_post(&gate.leave);
    thread_pool_delete(pool);
    free(world);
}
END_TEST

static void *loop_often(void *context)
{
    struct thread_pool *pool = context;

    for (int i = 0; i < 300; i++) {
        struct loop_world *world = calloc(1, sizeof(*world));
        ck_assert(thread_team_for(&(struct thread_team){.pool = pool, .threads = LOOP_THREADS}, 50,
                                  1, loop_touch, world));
        for (uint32_t at = 0; at < 50; at++)
            ck_assert_uint_eq(world->touched[at], 1);
        free(world);
    }
    return NULL;
}

START_TEST(many_callers_share_a_pool)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 3});
    pthread_t callers[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&callers[i], NULL, loop_often, pool), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(callers[i], NULL);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(lower_class_takes_the_processors_that_are_left)
{
    struct thread_pool *search, *build;
    struct gate_task searches[2], builds[3];

    thread_budget_set(3);
    search = thread_pool_new(
        &(struct thread_pool_options){.name = "search", .class = THREAD_SEARCH, .threads_max = 4});
    build = thread_pool_new(
        &(struct thread_pool_options){.name = "build", .class = THREAD_BUILD, .threads_max = 3});
    for (int i = 0; i < 2; i++) {
        gate_create(&searches[i], search);
        ck_assert(thread_pool_submit(search, &searches[i].task));
        ck_assert(entered_within(&searches[i], SOON_MS));
    }
    for (int i = 0; i < 3; i++) {
        gate_create(&builds[i], build);
        ck_assert(thread_pool_submit(build, &builds[i].task));
    }
    /* One is due to it anyway, and is all that is left. */
    ck_assert(entered_within(&builds[0], SOON_MS));
    ck_assert(!entered_within(&builds[1], NEVER_MS));
    sem_post(&searches[0].leave);
    ck_assert(entered_within(&builds[1], SOON_MS));
    ck_assert(!entered_within(&builds[2], NEVER_MS));
    sem_post(&searches[1].leave);
    ck_assert(entered_within(&builds[2], SOON_MS));
    /* All processors are busy with builds: a search runs at once. */
    gate_create(&searches[0], search);
    ck_assert(thread_pool_submit(search, &searches[0].task));
    ck_assert(entered_within(&searches[0], SOON_MS));
    sem_post(&searches[0].leave);
    for (int i = 0; i < 3; i++)
        sem_post(&builds[i].leave);
    thread_pool_delete(build);
    thread_pool_delete(search);
}
END_TEST

START_TEST(lowest_class_runs_beside_any_load)
{
    struct thread_pool *search, *build;
    struct gate_task searches[2], first_build;

    thread_budget_set(1);
    search = thread_pool_new(
        &(struct thread_pool_options){.name = "search", .class = THREAD_SEARCH, .threads_max = 2});
    build = thread_pool_new(
        &(struct thread_pool_options){.name = "build", .class = THREAD_BUILD, .threads_max = 2});
    for (int i = 0; i < 2; i++) {
        gate_create(&searches[i], search);
        ck_assert(thread_pool_submit(search, &searches[i].task));
        ck_assert(entered_within(&searches[i], SOON_MS));
    }
    gate_create(&first_build, build);
    ck_assert(thread_pool_submit(build, &first_build.task));
    ck_assert(entered_within(&first_build, SOON_MS));
    sem_post(&first_build.leave);
    for (int i = 0; i < 2; i++)
        sem_post(&searches[i].leave);
    thread_pool_delete(build);
    thread_pool_delete(search);
}
END_TEST

START_TEST(waiting_search_leaves_its_processor_to_a_build)
{
    struct thread_pool *search, *build;
    struct gate_task searches[2], builds[2];

    thread_budget_set(2);
    search = thread_pool_new(&(struct thread_pool_options){
        .name = "search", .class = THREAD_SEARCH, .threads_max = 2, .waiting_max = 1});
    build = thread_pool_new(
        &(struct thread_pool_options){.name = "build", .class = THREAD_BUILD, .threads_max = 2});
    gate_create(&searches[0], search);
    ck_assert(thread_pool_submit(search, &searches[0].task));
    ck_assert(entered_within(&searches[0], SOON_MS));
    for (int i = 0; i < 2; i++) {
        gate_create(&builds[i], build);
        ck_assert(thread_pool_submit(build, &builds[i].task));
    }
    ck_assert(entered_within(&builds[0], SOON_MS));
    ck_assert(!entered_within(&builds[1], NEVER_MS));
    /* A second search does not change that until both have their processors free. */
    gate_create(&searches[1], search);
    searches[1].waits = true;
    ck_assert(thread_pool_submit(search, &searches[1].task));
    ck_assert(entered_within(&searches[1], SOON_MS));
    ck_assert(!entered_within(&builds[1], NEVER_MS));
    sem_post(&searches[0].leave);
    ck_assert(entered_within(&builds[1], SOON_MS));
    sem_post(&searches[1].leave);
    for (int i = 0; i < 2; i++)
        sem_post(&builds[i].leave);
    thread_pool_delete(build);
    thread_pool_delete(search);
}
END_TEST

struct nice_task {
    struct thread_task task;
    int nice;
};

static void nice_run(struct thread_task *task, uint32_t thread)
{
    (void)thread;
    ((struct nice_task *)task)->nice = getpriority(PRIO_PROCESS, 0);
}

START_TEST(threads_have_the_nice_value_of_their_pool)
{
    struct thread_pool *pool = thread_pool_new(
        &(struct thread_pool_options){.name = "test", .threads_max = 1, .nice = 19});
    struct nice_task task = {.task.run = nice_run};

    ck_assert(thread_pool_submit(pool, &task.task));
    thread_pool_delete(pool);
    ck_assert_int_eq(task.nice, 19);
}
END_TEST

struct counted_future {
    struct thread_future future; /* first */
    pthread_t ran_on;
    uint32_t runs; /* plain: a wait orders it */
};

static void counted_run(struct thread_future *future)
{
    struct counted_future *counted = (struct counted_future *)future;

    counted->ran_on = pthread_self();
    counted->runs++;
}

START_TEST(future_that_nobody_has_begun_runs_where_it_is_waited_for)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 1});
    struct counted_future queued = {0}, alone = {0}, cancelled = {0};
    struct gate_task gate;

    gate_create(&gate, pool);
    ck_assert(thread_pool_submit(pool, &gate.task));
    ck_assert(entered_within(&gate, SOON_MS)); /* the only thread is busy from here on */
    thread_future_start(&queued.future, pool, counted_run);
    thread_future_start(&cancelled.future, pool, counted_run);
    thread_future_start(&alone.future, NULL, counted_run);
    thread_future_wait(&queued.future);
    thread_future_cancel(&cancelled.future);
    thread_future_wait(&alone.future);
    sem_post(&gate.leave);
    thread_pool_delete(pool);
    ck_assert_uint_eq(queued.runs, 1);
    ck_assert_uint_eq(alone.runs, 1);
    ck_assert_uint_eq(cancelled.runs, 0);
    ck_assert(pthread_equal(queued.ran_on, pthread_self()));
    thread_future_cancel(&queued.future); /* neither one that was waited for, nor one cancelled */
    thread_future_cancel(&cancelled.future);
}
END_TEST

START_TEST(futures_run_once_for_each_start)
{
    enum { FUTURES = 7, ROUNDS = 300 };
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "test", .threads_max = 3});
    struct counted_future futures[FUTURES] = {0};

    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < FUTURES; i++)
            thread_future_start(&futures[i].future, pool, counted_run);
        for (int i = 0; i < FUTURES; i++) {
            thread_future_wait(&futures[i].future);
            ck_assert_uint_eq(futures[i].runs, round);
        }
    }
    thread_pool_delete(pool);
}
END_TEST

static struct thread_pool_usage usage_of(const char *name)
{
    struct thread_pool_usage names[THREAD_POOLS_MAX];
    uint32_t count = thread_pool_usage_list(names);

    for (uint32_t i = 0; i < count; i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i];
    return (struct thread_pool_usage){.name = NULL};
}

/* windrow_pool_queued_tasks and its like. */
START_TEST(usage_counts_tasks_and_how_long_they_waited)
{
    struct thread_pool *pool =
        thread_pool_new(&(struct thread_pool_options){.name = "counted", .threads_max = 1});
    struct gate_task gates[2];

    for (int i = 0; i < 2; i++)
        gate_create(&gates[i], pool);
    ck_assert(thread_pool_submit(pool, &gates[0].task));
    ck_assert(entered_within(&gates[0], SOON_MS));
    ck_assert(thread_pool_submit(pool, &gates[1].task));
    ck_assert(!entered_within(&gates[1], NEVER_MS));
    ck_assert_uint_eq(usage_of("counted").queued, 1);
    ck_assert_uint_eq(usage_of("counted").running, 1);
    ck_assert_uint_eq(usage_of("counted").tasks, 1);
    sem_post(&gates[0].leave);
    sem_post(&gates[1].leave);
    thread_pool_delete(pool);
    ck_assert_uint_eq(usage_of("counted").queued, 0);
    ck_assert_uint_eq(usage_of("counted").running, 0);
    ck_assert_uint_eq(usage_of("counted").tasks, 2);
    ck_assert_double_gt(usage_of("counted").queue_seconds, NEVER_MS * 1e-3 / 2);
}
END_TEST

TEST_TABLE(TEST(every_task_runs_once_and_may_free_itself),
           TEST(full_queue_refuses_and_a_place_is_free_again), TEST(queued_task_can_be_taken_back),
           TEST(waiting_task_gives_its_place_away), TEST(lanes_take_turns),
           TEST(lane_at_its_limits_leaves_the_rest_to_others),
           TEST(expected_wait_follows_what_tasks_waited_lately),
           TEST(task_that_steps_aside_goes_on_beside_another),
           TEST(waiting_task_does_not_step_aside), TEST(stop_runs_what_is_queued_and_takes_no_more),
           TEST(wait_for_completion_ends_in_time),
           TEST(loop_touches_every_index_once_with_scratch_for_each_thread),
           TEST(cancelled_loop_begins_no_further_piece), TEST(idle_threads_join_a_loop),
           TEST(loop_does_not_wait_for_a_busy_pool), TEST(many_callers_share_a_pool),
           TEST(lower_class_takes_the_processors_that_are_left),
           TEST(lowest_class_runs_beside_any_load),
           TEST(waiting_search_leaves_its_processor_to_a_build),
           TEST(threads_have_the_nice_value_of_their_pool),
           TEST(future_that_nobody_has_begun_runs_where_it_is_waited_for),
           TEST(futures_run_once_for_each_start), TEST(usage_counts_tasks_and_how_long_they_waited))
