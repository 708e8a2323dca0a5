/* Threads that take a place of a pool for a task of their own. */
#include "base/thread_pool.h"

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "tests/support/test_main.h"

enum { LANES = 2 };

struct guest {
    struct thread_pool *pool;
    uint32_t lane;
    sem_t entered, leave;
    bool was_let_in;
    pthread_t handle;
};

static void *visit(void *context)
{
    struct guest *guest = context;

    guest->was_let_in = thread_pool_enter(guest->pool, guest->lane);
    sem_post(&guest->entered);
    if (!guest->was_let_in)
        return NULL;
    while (sem_wait(&guest->leave) != 0)
        ;
    thread_pool_leave(guest->pool);
    return NULL;
}

/* Returns whether it was let in. */
static bool guest_enter(struct guest *guest, struct thread_pool *pool, uint32_t lane)
{
    *guest = (struct guest){.pool = pool, .lane = lane};
    sem_init(&guest->entered, 0, 0);
    sem_init(&guest->leave, 0, 0);
    ck_assert_int_eq(pthread_create(&guest->handle, NULL, visit, guest), 0);
    while (sem_wait(&guest->entered) != 0)
        ;
    if (!guest->was_let_in)
        pthread_join(guest->handle, NULL);
    return guest->was_let_in;
}

static void guest_leave(struct guest *guest)
{
    sem_post(&guest->leave);
    pthread_join(guest->handle, NULL);
}

static struct thread_pool *pool_of(uint32_t threads_max, uint32_t lane_running_max)
{
    return thread_pool_new(&(struct thread_pool_options){.class = THREAD_SEARCH,
                                                         .threads_max = threads_max,
                                                         .waiting_max = 1,
                                                         .lanes = LANES,
                                                         .lane_running_max = lane_running_max});
}

struct marked_task {
    struct thread_task task;
    atomic_bool ran;
};

static void mark(struct thread_task *task, uint32_t thread)
{
    (void)thread;
    atomic_store(&((struct marked_task *)task)->ran, true);
}

START_TEST(guests_take_places_and_tasks_wait_for_them)
{
    struct thread_pool *pool = pool_of(2, 0);
    struct guest guests[3];
    struct marked_task task = {.task.run = mark};
    uint64_t seen = thread_pool_completed(pool);

    ck_assert(guest_enter(&guests[0], pool, 0));
    ck_assert(guest_enter(&guests[1], pool, 0));
    ck_assert(!guest_enter(&guests[2], pool, 0)); /* no place */
    ck_assert(thread_pool_submit(pool, &task.task));
    ck_assert(!atomic_load(&task.ran));
    guest_leave(&guests[0]);
    while (!atomic_load(&task.ran)) { /* who leaves wakes somebody for it */
        ck_assert(thread_pool_wait_completed(pool, seen, -1));
        seen = thread_pool_completed(pool);
    }
    guest_leave(&guests[1]);
    ck_assert(guest_enter(&guests[2], pool, 0));
    guest_leave(&guests[2]);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(guest_does_not_pass_tasks_that_are_queued)
{
    struct thread_pool *pool = pool_of(1, 0);
    struct guest first, second;
    struct marked_task task = {.task.run = mark};

    ck_assert(guest_enter(&first, pool, 0));
    ck_assert(thread_pool_submit(pool, &task.task));
    ck_assert(!guest_enter(&second, pool, 1));
    guest_leave(&first);
    thread_pool_delete(pool);
    ck_assert(atomic_load(&task.ran));
}
END_TEST

START_TEST(guests_of_a_lane_have_its_limit)
{
    struct thread_pool *pool = pool_of(4, 1);
    struct guest first, second, other;

    ck_assert(guest_enter(&first, pool, 0));
    ck_assert(!guest_enter(&second, pool, 0));
    ck_assert(guest_enter(&other, pool, 1));
    guest_leave(&first);
    ck_assert(guest_enter(&second, pool, 0));
    guest_leave(&second);
    guest_leave(&other);
    thread_pool_delete(pool);
}
END_TEST

START_TEST(guest_may_step_aside_and_may_not_wait)
{
    struct thread_pool *pool = pool_of(1, 0);

    for (int i = 0; i < 2; i++) {
        ck_assert(thread_pool_enter(pool, 0));
        ck_assert(!thread_pool_wait_begin(pool));
        thread_pool_step_aside();
        thread_pool_leave(pool);
    }
    thread_pool_delete(pool);
}
END_TEST

struct stopping {
    struct thread_pool *pool;
    atomic_bool stopped;
};

static void *stop(void *context)
{
    struct stopping *stopping = context;

    thread_pool_stop(stopping->pool);
    atomic_store(&stopping->stopped, true);
    return NULL;
}

START_TEST(stop_waits_for_guests_and_lets_no_more_in)
{
    struct stopping stopping = {.pool = pool_of(2, 0)};
    struct guest guest, late;
    pthread_t stopper;

    ck_assert(guest_enter(&guest, stopping.pool, 0));
    ck_assert_int_eq(pthread_create(&stopper, NULL, stop, &stopping), 0);
    while (guest_enter(&late, stopping.pool, 1)) /* until the stop has begun */
        guest_leave(&late);
    ck_assert(!atomic_load(&stopping.stopped));
    guest_leave(&guest);
    pthread_join(stopper, NULL);
    thread_pool_delete(stopping.pool);
}
END_TEST

TEST_TABLE(TEST(guests_take_places_and_tasks_wait_for_them),
           TEST(guest_does_not_pass_tasks_that_are_queued), TEST(guests_of_a_lane_have_its_limit),
           TEST(guest_may_step_aside_and_may_not_wait),
           TEST(stop_waits_for_guests_and_lets_no_more_in))
