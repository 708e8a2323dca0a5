/* Crashes and faults at every operation of a scripted life, on a disk that forgets what was not
 * synced. WINDROW_TEST_CRASHES sets how many. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "tests/store/crash_life.h"
#include "tests/support/test_main.h"

/* The first three operations make the folders. */
enum { STEPS = 40, OUTCOMES = 3, FIRST_OPERATION = 4, SEARCHED_LIVES = 200 };

/* These lives have one thread: there they are for the locks, not for the crashes. */
#if defined(__SANITIZE_THREAD__)
enum { THREAD_SANITIZED = 1 };
#else
enum { THREAD_SANITIZED = 0 };
#endif

/* Crashes by what they hit. */
static struct tally {
    uint64_t doing[LIFE_DOINGS];
    uint64_t rolling;    /* of all these: while a manifest was replaced */
    uint64_t recovering; /* on top of them: while the next process recovered from one */
} tally;

/* Whether crashes hit everything that this kind of life does. */
static bool tally_is_whole(bool unbounded)
{
    bool whole = tally.rolling > 0 && tally.recovering > 0;

    if (THREAD_SANITIZED) /* too few for that */
        return true;
    for (int i = 0; i < LIFE_DOINGS; i++)
        whole &= tally.doing[i] > 0 ||
                 (unbounded && (i == LIFE_SEALING || i == LIFE_TIERING || i == LIFE_ATTACHING));
    return whole;
}

static void tally_report(uint64_t crashes)
{
    static const char *const names[LIFE_DOINGS] = {"opening",   "appending", "flushing",
                                                   "sealing",   "tiering",   "compacting",
                                                   "attaching", "dropping",  "closing"};

    printf("%" PRIu64 " crashes:", crashes);
    for (int i = 0; i < LIFE_DOINGS; i++)
        printf(" %s %" PRIu64 ",", names[i], tally.doing[i]);
    printf(" while a manifest rolled %" PRIu64 "; and in recovery %" PRIu64 "\n", tally.rolling,
           tally.recovering);
}

static void make_root(struct shadow_disk *disk)
{
    struct io *io = shadow_disk_io(disk);

    ck_assert_int_eq(io_make_directory(io, "", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_make_directory(io, "/data", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_sync_directory(io, "", ERROR_IGNORED), 0);
}

static void life_start(struct life *life, uint64_t seed, enum store_durability durability)
{
    memset(life, 0, sizeof(*life));
    life->disk = shadow_disk_new(seed);
    life->io = shadow_disk_io(life->disk);
    life->data_dir = "/data";
    make_root(life->disk);
    life->random = seed | 1;
    life->durability = durability;
}

/* One outcome of the crash; with chance, recovery crashes as well. */
static void recover(const struct life *dead, uint64_t seed, uint64_t operation)
{
    struct life *life = malloc(sizeof(*life));
    uint64_t random = seed | 1;
    const char *problem;
    bool was_dead;

    if (!life)
        abort();
    *life = *dead;
    life->disk = shadow_disk_clone(dead->disk, seed);
    life->io = shadow_disk_io(life->disk);
    /* Sometimes only the process dies: what it had not synced is read by the next one, which goes
     * on with it, and is lost after that. */
    if (test_random(&random) % 4 == 0) {
        shadow_disk_kill_process(life->disk);
        problem = life_check(life);
        /* An append syncs the manifest: without one, what was read and relied on is at stake. */
        if (!problem && test_random(&random) % 2)
            problem = life_append_once(life);
        life_stop(life);
        if (problem)
            ck_abort_msg("killed %" PRIu64 " at operation %" PRIu64 ": %s", seed, operation,
                         problem);
    }
    shadow_disk_crash(life->disk);
    for (int i = 0; i < 2 && test_random(&random) % 3 == 0; i++) {
        shadow_disk_die_at(life->disk, 1 + test_random(&random) % 12);
        problem = life_check(life);
        was_dead = shadow_disk_dead(life->disk);
        tally.recovering += was_dead;
        life_stop(life);
        if (problem && !was_dead)
            ck_abort_msg("operation %" PRIu64 ": %s", operation, problem);
        shadow_disk_crash(life->disk);
    }
    problem = life_check(life);
    if (!problem)
        problem = life_go_on(life);
    if (problem)
        ck_abort_msg("crash %" PRIu64 " at operation %" PRIu64 ": %s", seed, operation, problem);
    life_stop(life);
    shadow_disk_delete(life->disk);
    free(life);
}

/* Dies at one operation after the other until the life completes. With `only_news` it goes on from
 * those deaths only that hit what none in a life before did. */
static uint64_t crash_everywhere(uint64_t seed, enum store_durability durability, bool unbounded,
                                 bool only_news, uint64_t wanted)
{
    struct life *life = malloc(sizeof(*life));
    const struct tally before = tally;
    uint64_t crashes = 0;
    uint64_t operation = FIRST_OPERATION;
    bool dead = true;
    bool counts;

    ck_assert_ptr_nonnull(life);
    for (; dead && crashes < wanted; operation++) {
        life_start(life, seed, durability);
        life->unbounded = unbounded;
        shadow_disk_die_at(life->disk, operation);
        life_run(life, STEPS);
        dead = shadow_disk_dead(life->disk);
        ck_assert_msg(dead || life->code == 0, "seed %" PRIu64 ": %s", seed, life->text);
        life_stop(life);
        counts = dead && !(only_news && before.doing[life->doing] > 0);
        if (counts) {
            tally.doing[life->doing] += OUTCOMES;
            tally.rolling +=
                shadow_disk_has(life->disk, "/data/collections.d/c/0/CURRENT.tmp") ? OUTCOMES : 0;
        }
        for (unsigned i = 0; i < OUTCOMES && counts; i++, crashes++)
            recover(life, seed * 31 + operation * OUTCOMES + i, operation);
        shadow_disk_delete(life->disk);
    }
    free(life);
    return crashes;
}

static void crash_lives(enum store_durability durability, bool unbounded, uint64_t wanted)
{
    uint64_t random = test_seed();
    uint64_t crashes = 0;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    if (getenv("WINDROW_TEST_CRASHES"))
        wanted = strtoull(getenv("WINDROW_TEST_CRASHES"), NULL, 10);
    else if (TEST_SANITIZED)
        wanted /= THREAD_SANITIZED ? 8 : 2;
    while (crashes < wanted)
        crashes += crash_everywhere(test_random(&random) >> 8, durability, unbounded, false,
                                    wanted - crashes);
    /* Few lives without windows drop something. */
    for (int life = 0; !tally_is_whole(unbounded) && life < SEARCHED_LIVES; life++)
        crashes += crash_everywhere(test_random(&random) >> 8, durability, unbounded, true, wanted);
    tally_report(crashes);
    ck_assert(tally_is_whole(unbounded));
}

START_TEST(crash_at_any_operation_keeps_all_that_was_acknowledged)
{
    crash_lives(STORE_DURABILITY_LOG, false, 5000);
}
END_TEST

START_TEST(crash_of_a_shard_without_windows_keeps_all_that_was_acknowledged)
{
    crash_lives(STORE_DURABILITY_LOG, true, 1500);
}
END_TEST

START_TEST(crash_without_synced_log_keeps_a_prefix_and_all_that_was_flushed)
{
    crash_lives(STORE_DURABILITY_KAFKA, false, 3500);
}
END_TEST

/* The tests above are worth something only if they notice a sync that is missing. */
START_TEST(crash_on_a_disk_that_lies_about_syncs_is_noticed)
{
    uint64_t random = test_seed();
    struct life *life = malloc(sizeof(*life));
    unsigned noticed = 0;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    ck_assert_ptr_nonnull(life);
    for (int i = 0; i < 20; i++) {
        life_start(life, test_random(&random) >> 8, STORE_DURABILITY_LOG);
        shadow_disk_lie(life->disk, true);
        life_run(life, STEPS);
        life_stop(life);
        shadow_disk_crash(life->disk);
        noticed += life_check(life) != NULL;
        life_stop(life);
        shadow_disk_delete(life->disk);
    }
    ck_assert_uint_gt(noticed, 15);
    free(life);
}
END_TEST

static bool is_shortage(enum shadow_fault fault)
{
    return fault == SHADOW_FAULT_ENOSPC || fault == SHADOW_FAULT_ENOMEM ||
           fault == SHADOW_FAULT_EMFILE;
}

/* The life with the N-th operation failing; then the same disk without the fault. */
static bool fault_once(uint64_t seed, uint64_t operation, enum shadow_fault fault, bool for_good)
{
    struct life *life = malloc(sizeof(*life));
    const char *problem;
    bool struck;

    ck_assert_ptr_nonnull(life);
    life_start(life, seed, STORE_DURABILITY_LOG);
    shadow_disk_fail_at(life->disk, operation, fault, for_good);
    life->tolerant = is_shortage(fault);
    life_run(life, STEPS);
    struck = shadow_disk_struck(life->disk);
    ck_assert_msg(life->code == 0 || life->code == ERROR_IO || error_is_shortage(life->code),
                  "operation %" PRIu64 " of seed %" PRIu64 ": code %d, %s", operation, seed,
                  life->code, life->text);
    if (fault == SHADOW_FAULT_SHORT)
        ck_assert_msg(life->code == 0,
                      "a short write at operation %" PRIu64 " of seed %" PRIu64
                      " was not gone on with: %s",
                      operation, seed, life->text);
    if (life->code == ERROR_IO && life->shard)
        ck_assert_ptr_nonnull(store_shard_stopped(life->shard));
    if (is_shortage(fault) && life->shard)
        ck_assert_msg(!store_shard_stopped(life->shard), "a shortage stopped the shard: %s",
                      store_shard_stopped(life->shard));
    life_stop(life);
    shadow_disk_fail_at(life->disk, SHADOW_NEVER, SHADOW_FAULT_NONE, false);
    if (operation % 2)
        shadow_disk_crash(life->disk);
    problem = life_check(life);
    if (!problem)
        problem = life_go_on(life);
    ck_assert_msg(!problem, "fault %d at operation %" PRIu64 " of seed %" PRIu64 ": %s", (int)fault,
                  operation, seed, problem);
    life_stop(life);
    shadow_disk_delete(life->disk);
    free(life);
    return struck;
}

static void fault_everywhere(enum shadow_fault fault, bool for_good)
{
    uint64_t random = test_seed();
    /* Where every write is cut, each takes a dozen. The other shortages share the paths of a full disk. */
    int bounded = (fault == SHADOW_FAULT_SHORT && for_good) || fault == SHADOW_FAULT_ENOMEM ||
                          fault == SHADOW_FAULT_EMFILE
                      ? 1
                      : 2;
    int lives = getenv("WINDROW_TEST_SLOW") ? 20 : bounded;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    for (int i = 0; i < lives; i++) {
        uint64_t seed = test_random(&random) >> 8;
        uint64_t operation = FIRST_OPERATION;
        while (fault_once(seed, operation, fault, for_good))
            operation += TEST_SANITIZED ? 1 + test_random(&random) % 12 : 1;
        ck_assert_uint_gt(operation, 50);
    }
}

START_TEST(an_operation_that_fails_stops_writes_and_loses_nothing)
{
    fault_everywhere(SHADOW_FAULT_EIO, false);
}
END_TEST

START_TEST(a_device_that_fails_for_good_stops_writes_and_loses_nothing)
{
    fault_everywhere(SHADOW_FAULT_EIO, true);
}
END_TEST

START_TEST(a_full_disk_pauses_and_resumes)
{
    fault_everywhere(SHADOW_FAULT_ENOSPC, true);
}
END_TEST

START_TEST(a_disk_that_is_full_once_changes_nothing)
{
    fault_everywhere(SHADOW_FAULT_ENOSPC, false);
}
END_TEST

START_TEST(no_memory_pauses_and_resumes)
{
    fault_everywhere(SHADOW_FAULT_ENOMEM, true);
}
END_TEST

START_TEST(no_descriptors_pause_and_resume)
{
    fault_everywhere(SHADOW_FAULT_EMFILE, true);
}
END_TEST

START_TEST(no_descriptor_once_changes_nothing)
{
    fault_everywhere(SHADOW_FAULT_EMFILE, false);
}
END_TEST

START_TEST(a_short_write_is_gone_on_with)
{
    fault_everywhere(SHADOW_FAULT_SHORT, false);
}
END_TEST

START_TEST(a_device_that_writes_short_for_good_is_gone_on_with)
{
    fault_everywhere(SHADOW_FAULT_SHORT, true);
}
END_TEST

TEST_TABLE(TEST(crash_at_any_operation_keeps_all_that_was_acknowledged),
           TEST(crash_of_a_shard_without_windows_keeps_all_that_was_acknowledged),
           TEST(crash_without_synced_log_keeps_a_prefix_and_all_that_was_flushed),
           TEST(crash_on_a_disk_that_lies_about_syncs_is_noticed),
           TEST(an_operation_that_fails_stops_writes_and_loses_nothing),
           TEST(a_device_that_fails_for_good_stops_writes_and_loses_nothing),
           TEST(a_full_disk_pauses_and_resumes), TEST(a_disk_that_is_full_once_changes_nothing),
           TEST(no_memory_pauses_and_resumes), TEST(no_descriptors_pause_and_resume),
           TEST(no_descriptor_once_changes_nothing), TEST(a_short_write_is_gone_on_with),
           TEST(a_device_that_writes_short_for_good_is_gone_on_with))
