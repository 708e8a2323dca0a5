/* kill -9 of a real process that appends, flushes and seals, again and again, against what it had
 * acknowledged: a shared page that outlives it. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "tests/store/shard_fixture.h"
#include "tests/support/test_main.h"

enum { ROUNDS = 25, WINDOW_MS = 1000, IDS = 60 };

struct shared {
    _Atomic int64_t acknowledged; /* next offset after the last group that was */
    _Atomic bool appending;
};

/* The group that follows an offset is always the same one. */
static void make_group(uint64_t seed, int64_t next_offset, struct fixture_group *group)
{
    uint64_t random = (seed ^ ((uint64_t)next_offset * 0x9e3779b97f4a7c15)) | 1;

    memset(&group->group, 0, sizeof(group->group));
    fixture_group_random(group, &random, next_offset, 1 + (uint32_t)(test_random(&random) % 20),
                         IDS, 0, 4 * WINDOW_MS);
    for (size_t i = 0; i < group->group.record_count; i++)
        group->records[i].ttl_ms = 0;
    if (group->group.next_offset == next_offset)
        group->group.next_offset++;
}

static void *work_behind(void *context)
{
    struct store_shard *shard = context;
    struct arena arena;

    arena_create(&arena, 0);
    for (;;) {
        struct store_shard_info info;
        if (store_shard_flush(shard, NULL) != 0)
            abort();
        store_shard_describe(shard, &arena, &info);
        for (size_t i = 0; i < info.window_count; i++)
            if (info.windows[i].chunk_count > 2 &&
                store_shard_seal(shard, info.windows[i].start_ms, WINDOW_MS, 0, NULL, NULL, NULL))
                abort();
        arena_reset(&arena);
    }
    return NULL;
}

static void live_until_killed(struct shared *shared, uint64_t seed)
{
    static struct fixture_group group;
    const struct timespec pause = {.tv_nsec = 1000000};
    struct store *store = fixture_store(io_posix(), test_directory(), 64 * 1024);
    struct store_shard *shard = fixture_shard(store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
    pthread_t thread;

    if (pthread_create(&thread, NULL, work_behind, shard) != 0)
        abort();
    for (;;) {
        int code;
        make_group(seed, store_shard_next_offset(shard), &group);
        while ((code = store_shard_append(shard, &group.group, NULL)) == ERROR_BUSY)
            nanosleep(&pause, NULL);
        if (code != 0)
            abort();
        atomic_store(&shared->acknowledged, group.group.next_offset);
        atomic_store(&shared->appending, true);
    }
}

/* The model after all groups up to an offset; false when no group ends there. */
static bool build_model(uint64_t seed, int64_t next_offset, struct model *model)
{
    static struct fixture_group group;

    *model = (struct model){.next_offset = -1};
    while (model->next_offset < next_offset) {
        make_group(seed, model->next_offset, &group);
        model_apply(model, &group.group);
    }
    return model->next_offset == next_offset;
}

START_TEST(process_killed_at_any_time_loses_nothing_acknowledged)
{
    uint64_t seed = test_seed();
    uint64_t random = seed;
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct buffer findings = {0};

    ck_assert_ptr_ne(shared, MAP_FAILED);
    logger_set_level(LOGGER_ERROR);
    (void)test_directory(); /* made here, so that the children use the same one */
    atomic_store(&shared->acknowledged, -1);
    for (int round = 0; round < ROUNDS; round++) {
        const struct timespec tick = {.tv_nsec = 1000000};
        struct timespec life = {.tv_nsec = (long)(1 + test_random(&random) % 40) * 1000000};
        struct store *store;
        struct store_shard *shard;
        struct model model;
        const char *problem;
        pid_t child;
        int64_t next_offset;
        int status;

        atomic_store(&shared->appending, false);
        child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            live_until_killed(shared, seed);
        while (!atomic_load(&shared->appending) && waitpid(child, &status, WNOHANG) == 0)
            nanosleep(&tick, NULL);
        nanosleep(&life, NULL);
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        store = fixture_store(io_posix(), test_directory(), 64 * 1024);
        shard = fixture_shard(store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
        next_offset = store_shard_next_offset(shard);
        ck_assert_int_ge(next_offset, atomic_load(&shared->acknowledged));
        ck_assert(build_model(seed, next_offset, &model));
        problem = fixture_check(shard, &model, 0, 0);
        ck_assert_msg(!problem, "round %d: %s", round, problem);
        model_destroy(&model);
        ck_assert_int_eq(store_shard_close(shard, test_random(&random) % 2, NULL), 0);
        store_close(store);
    }
    printf("%" PRId64 " offsets survived %d kills\n", atomic_load(&shared->acknowledged), ROUNDS);
    ck_assert_msg(store_verify(io_posix(), test_directory(), &findings, NULL) == 0, "%s",
                  buffer_text(&findings));
    buffer_destroy(&findings);
    munmap(shared, sizeof(*shared));
}
END_TEST

TEST_TABLE(TEST(process_killed_at_any_time_loses_nothing_acknowledged))
