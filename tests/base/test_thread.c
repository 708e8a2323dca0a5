/* Threads have the name they were started with, and those they start have it, too. */
#include "base/thread.h"

#include <string.h>
#include <sys/prctl.h>

#include "tests/support/test_main.h"

static void *say_name(void *context)
{
    ck_assert_int_eq(prctl(PR_GET_NAME, context, 0, 0, 0), 0);
    return context;
}

static void *start_another(void *context)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, say_name, context), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return NULL;
}

START_TEST(thread_has_its_name_from_the_start)
{
    char name[THREAD_NAME_MAX + 1] = "";
    pthread_t thread;
    void *returned;

    ck_assert_int_eq(thread_start(&thread, "fifteen-letters", say_name, name), 0);
    ck_assert_int_eq(pthread_join(thread, &returned), 0);
    ck_assert_ptr_eq(returned, name);
    ck_assert_str_eq(name, "fifteen-letters");
}
END_TEST

START_TEST(thread_started_by_another_has_its_name)
{
    char name[THREAD_NAME_MAX + 1] = "";
    pthread_t thread;

    ck_assert_int_eq(thread_start(&thread, "parent", start_another, name), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_str_eq(name, "parent");
}
END_TEST

static double usage_of(const char *name, uint32_t *running)
{
    struct thread_usage names[THREAD_NAMES_MAX];
    uint32_t count = thread_usage_list(names);

    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(names[i].name, name) == 0) {
            *running = names[i].running;
            return names[i].cpu_seconds;
        }
    }
    return -1;
}

static void *use_processor(void *context)
{
    uint32_t running;

    while (usage_of("busy", &running) < 0.02)
        ;
    *(uint32_t *)context = running;
    return NULL;
}

START_TEST(processor_time_of_a_name_outlives_its_threads)
{
    uint32_t running = 0;
    pthread_t thread;
    double first;

    ck_assert_double_eq(usage_of("busy", &running), -1);
    ck_assert_int_eq(thread_start(&thread, "busy", use_processor, &running), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(running, 1);
    first = usage_of("busy", &running);
    ck_assert_double_ge(first, 0.02);
    ck_assert_uint_eq(running, 0);
    ck_assert_int_eq(thread_start(&thread, "busy", use_processor, &running), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_double_gt(usage_of("busy", &running), first);
}
END_TEST

START_TEST(sleep_on_a_condition_ends_with_its_deadline)
{
    static const int64_t in_ns[] = {INT64_MIN, -1, 0, 1, 2000000};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition;

    thread_condition_create(&condition);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sizeof(in_ns) / sizeof(in_ns[0]); i++) {
        int64_t deadline_ns = thread_deadline(in_ns[i]);
        while (thread_condition_wait(&condition, &lock, deadline_ns))
            ;
        ck_assert_int_ge(thread_deadline(0), deadline_ns);
    }
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&condition);
}
END_TEST

struct sleeper {
    pthread_mutex_t lock;
    pthread_cond_t condition;
    int64_t in_ns;
    bool woken;
};

static void *sleep_until_woken(void *context)
{
    struct sleeper *sleeper = context;
    int64_t deadline_ns = thread_deadline(sleeper->in_ns);
    bool in_time = true;

    pthread_mutex_lock(&sleeper->lock);
    while (!sleeper->woken && in_time)
        in_time = thread_condition_wait(&sleeper->condition, &sleeper->lock, deadline_ns);
    pthread_mutex_unlock(&sleeper->lock);
    return in_time ? sleeper : NULL;
}

START_TEST(signal_ends_a_sleep_of_any_length)
{
    static const int64_t in_ns[] = {INT64_C(3600000000000), INT64_MAX - 1, INT64_MAX};

    for (size_t i = 0; i < sizeof(in_ns) / sizeof(in_ns[0]); i++) {
        struct sleeper sleeper = {.lock = PTHREAD_MUTEX_INITIALIZER, .in_ns = in_ns[i]};
        pthread_t thread;
        void *returned;

        thread_condition_create(&sleeper.condition);
        ck_assert_int_eq(thread_start(&thread, NULL, sleep_until_woken, &sleeper), 0);
        pthread_mutex_lock(&sleeper.lock);
        sleeper.woken = true;
        pthread_cond_signal(&sleeper.condition);
        pthread_mutex_unlock(&sleeper.lock);
        ck_assert_int_eq(pthread_join(thread, &returned), 0);
        ck_assert_ptr_eq(returned, &sleeper);
        pthread_cond_destroy(&sleeper.condition);
    }
    ck_assert_int_eq(thread_deadline(INT64_MAX), INT64_MAX);
}
END_TEST

TEST_TABLE(TEST(thread_has_its_name_from_the_start), TEST(thread_started_by_another_has_its_name),
           TEST(processor_time_of_a_name_outlives_its_threads),
           TEST(sleep_on_a_condition_ends_with_its_deadline),
           TEST(signal_ends_a_sleep_of_any_length))
