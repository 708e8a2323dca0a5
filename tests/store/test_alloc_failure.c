/* The N-th allocation of a scripted life fails, once and for good, for N = 1 until the life
 * completes.
 *
 * The linker puts the functions below in front of malloc and its like in everything that is linked
 * statically, the store and its base (tests/store/CMakeLists.txt). The house lets the control plane
 * abort without memory: an abort here is the death of the process, on a disk that lives on. What
 * grows with the data must be an error, after which the same process goes on. Either way the next
 * opening has everything that was acknowledged. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/logger.h"
#include "tests/store/crash_life.h"
#include "tests/support/test_main.h"

enum { STEPS = 30, NEVER = 0, LARGE_BYTES = 64 * 1024 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__real_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
_Noreturn void __real_abort(void);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
_Noreturn void __wrap_abort(void);

/* A process that died without memory leaves its memory behind. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* ... and its locks. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "detect_deadlocks=0";
}

static struct {
    bool armed; /* the life is under way */
    uint64_t count, fail_at;
    bool for_good, struck;
    size_t failed_bytes; /* of the last one that failed */
    const void *abort_site;
    sigjmp_buf death;
} memory;

static bool fails(size_t size)
{
    if (!memory.armed)
        return false;
    memory.count++;
    if (memory.fail_at == NEVER || memory.count < memory.fail_at ||
        (memory.count > memory.fail_at && !memory.for_good))
        return false;
    memory.struck = true;
    memory.failed_bytes = size;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(count * size) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails(size) ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(size) ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails(strlen(text) + 1) ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    return fails(size) ? MAP_FAILED : __real_mmap(address, size, protection, flags, file, offset);
}

_Noreturn void __wrap_abort(void)
{
    if (!memory.armed)
        __real_abort();
    memory.armed = false;
    memory.abort_site = __builtin_return_address(0);
    siglongjmp(memory.death, 1);
}

static void relieve(void)
{
    memory.fail_at = NEVER;
}

struct tally {
    unsigned died, failed, unnoticed, large_deaths;
};

static struct life *life_new(uint64_t seed)
{
    struct life *life = calloc(1, sizeof(*life));
    struct io *io;

    ck_assert_ptr_nonnull(life);
    life->disk = shadow_disk_new(seed);
    life->io = io = shadow_disk_io(life->disk);
    life->data_dir = "/data";
    life->random = seed | 1;
    life->durability = STORE_DURABILITY_LOG;
    life->tolerant = seed % 2;
    life->relieve = relieve;
    ck_assert_int_eq(io_make_directory(io, "", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_make_directory(io, "/data", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_sync_directory(io, "", ERROR_IGNORED), 0);
    return life;
}

/* Runs the life; whether the process died in it. */
static bool run_until_death(struct life *life, uint64_t fail_at, bool for_good)
{
    memory.count = 0;
    memory.fail_at = fail_at;
    memory.for_good = for_good;
    memory.struck = false;
    memory.abort_site = NULL;
    if (sigsetjmp(memory.death, 0) != 0) {
        life->shard = NULL; /* whatever a process had is gone */
        life->store = NULL;
        return true;
    }
    memory.armed = true;
    life_run(life, STEPS);
    memory.armed = false;
    life_stop(life);
    return false;
}

/* False: the life completed before its N-th allocation. */
static bool fail_once(uint64_t seed, uint64_t fail_at, bool for_good, struct tally *tally)
{
    struct life *life = life_new(seed);
    bool died = run_until_death(life, fail_at, for_good);
    bool struck = memory.struck;
    const char *problem;

    ck_assert_msg(died || life->code == 0 || life->code == ERROR_MEMORY ||
                      (struck && life->code == ERROR_IO),
                  "allocation %" PRIu64 " of seed %" PRIu64 ": code %d, %s", fail_at, seed,
                  life->code, life->text);
    tally->died += died;
    tally->failed += struck && !died && life->code != 0;
    tally->unnoticed += struck && !died && life->code == 0;
    if (died && memory.failed_bytes >= LARGE_BYTES) {
        tally->large_deaths++;
        printf("allocation %" PRIu64 " of %zu bytes: death at %p\n", fail_at, memory.failed_bytes,
               memory.abort_site);
    }
    if (died && getenv("WINDROW_TEST_SITES"))
        printf("site %p\n", memory.abort_site);
    shadow_disk_kill_process(life->disk);
    if (fail_at % 2)
        shadow_disk_crash(life->disk);
    problem = life_check(life);
    if (!problem)
        problem = life_go_on(life);
    ck_assert_msg(!problem, "allocation %" PRIu64 " of seed %" PRIu64 ", %s: %s", fail_at, seed,
                  died         ? "death"
                  : life->code ? "error"
                               : "success",
                  problem);
    life_stop(life);
    shadow_disk_delete(life->disk);
    free(life);
    return struck;
}

static void fail_everywhere(bool for_good)
{
    uint64_t random = test_seed();
    struct tally tally = {0};
    uint64_t fail_at = 0;
    int lives = getenv("WINDROW_TEST_SLOW") ? 20 : 2; /* one tolerant, one that ends */

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    for (int i = 0; i < lives; i++) {
        uint64_t seed = (test_random(&random) >> 8) / 2 * 2 + (uint64_t)i % 2;
        for (fail_at = 1; fail_once(seed, fail_at, for_good, &tally); fail_at++)
            fail_at += TEST_SANITIZED ? test_random(&random) % 40 : 0;
        printf("seed %" PRIu64 ": %" PRIu64 " allocations\n", seed, fail_at - 1);
        ck_assert_uint_gt(fail_at, 300);
    }
    printf("%u deaths, %u errors, %u lives that went on\n", tally.died, tally.failed,
           tally.unnoticed);
    ck_assert_uint_eq(tally.large_deaths, 0);
    ck_assert_uint_gt(tally.failed, TEST_SANITIZED ? 0 : 100);
    ck_assert_uint_gt(tally.unnoticed, TEST_SANITIZED ? 0 : 100);
}

START_TEST(an_allocation_that_fails_loses_nothing)
{
    fail_everywhere(false);
}
END_TEST

START_TEST(memory_that_is_gone_for_good_loses_nothing)
{
    fail_everywhere(true);
}
END_TEST

TEST_TABLE(TEST(an_allocation_that_fails_loses_nothing),
           TEST(memory_that_is_gone_for_good_loses_nothing))
