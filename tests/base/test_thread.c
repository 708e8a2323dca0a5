/* Threads have the name they were started with, and those they start have it, too. */
#include "base/thread.h"

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

TEST_TABLE(TEST(thread_has_its_name_from_the_start), TEST(thread_started_by_another_has_its_name))
