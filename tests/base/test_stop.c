#include "base/stop.h"

#include <string.h>

#include "tests/support/test_main.h"

struct slow_clock {
    struct io io; /* first */
    struct io_operations operations;
    int64_t now_ns;
};

static int64_t clock_ns(struct io *io)
{
    return ((struct slow_clock *)io)->now_ns;
}

static void clock_open(struct slow_clock *clock)
{
    *clock = (struct slow_clock){.operations = *io_posix()->operations};
    clock->operations.monotonic_ns = clock_ns;
    clock->io.operations = &clock->operations;
}

static const int64_t ms = 1000000;

START_TEST(it_stops_behind_its_deadline_and_stays_so)
{
    struct slow_clock clock;
    struct error error = {0};
    struct stop stop;

    clock_open(&clock);
    stop_create(&stop, &clock.io);
    clock.now_ns = INT64_MAX - 1;
    ck_assert_int_eq(stop_check(&stop, &error), 0);
    stop.deadline_ns = 5 * ms;
    clock.now_ns = 5 * ms;
    ck_assert_int_eq(stop_check(&stop, &error), 0);
    clock.now_ns++;
    ck_assert_int_eq(stop_check(&stop, &error), ERROR_TIMEOUT);
    ck_assert_str_eq(error.text, "the request took longer than its timeout");
    clock.now_ns = 0;
    ck_assert_int_eq(stop_check(&stop, &error), ERROR_TIMEOUT);
}
END_TEST

struct audience {
    int looks;
    bool gone;
};

static bool is_gone(void *context)
{
    struct audience *audience = context;

    audience->looks++;
    return audience->gone;
}

START_TEST(it_looks_now_and_then_whether_somebody_waits)
{
    struct slow_clock clock;
    struct audience audience = {0};
    struct error error = {0};
    struct stop stop;

    clock_open(&clock);
    stop_create(&stop, &clock.io);
    stop.abandoned = is_gone;
    stop.context = &audience;
    for (; clock.now_ns < 10 * STOP_LOOK_MS * ms; clock.now_ns += ms)
        ck_assert_int_eq(stop_check(&stop, &error), 0);
    ck_assert_int_eq(audience.looks, 10);
    audience.gone = true;
    ck_assert_int_eq(stop_check(&stop, &error), ERROR_CANCELLED);
    audience.gone = false;
    ck_assert_int_eq(stop_check(&stop, &error), ERROR_CANCELLED);
}
END_TEST

START_TEST(a_meter_checks_once_in_so_many_steps)
{
    struct slow_clock clock;
    struct error error = {0};
    struct stop stop;
    struct stop_meter meter = {.stop = &stop}, endless = {0};

    clock_open(&clock);
    stop_create(&stop, &clock.io);
    stop.deadline_ns = -1;
    ck_assert_int_eq(stop_meter_add(&meter, STOP_METER_STEPS - 1, &error), 0);
    ck_assert_int_eq(stop_meter_add(&meter, 1, &error), ERROR_TIMEOUT);
    ck_assert_int_eq(stop_meter_add(&meter, 1, &error), ERROR_TIMEOUT);
    meter = (struct stop_meter){.stop = &stop};
    ck_assert_int_eq(stop_meter_add(&meter, UINT32_MAX, &error), ERROR_TIMEOUT);
    ck_assert_int_eq(stop_meter_add(&endless, UINT32_MAX, &error), 0);
    ck_assert_uint_eq(endless.steps, 0);
}
END_TEST

TEST_TABLE(TEST(it_stops_behind_its_deadline_and_stays_so),
           TEST(it_looks_now_and_then_whether_somebody_waits),
           TEST(a_meter_checks_once_in_so_many_steps))
