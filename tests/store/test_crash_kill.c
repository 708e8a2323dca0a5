/* kill -9 of a real process that appends, flushes, seals and drops as it is told, again and again,
 * against a file that says what it was told and what it answered. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/store/kill_oracle.h"
#include "tests/support/compact.h"
#include "tests/support/test_main.h"

/* Set by the build: the long form has more. */
#ifndef KILL_ROUNDS
#define KILL_ROUNDS 18
#endif

/* Groups beside one operation behind them: more would only make the store large. */
enum { MEMTABLE_BYTES = 64 * 1024, ANSWER_TIMEOUT_MS = 60000, GROUPS_BESIDE = 5 };

/* The two threads of the process: appends, and all that goes on behind them. */
enum { HAND_APPEND, HAND_BEHIND, HANDS };

struct hand {
    int socket;
    bool busy;
    size_t number; /* of the operation, in the oracle */
    struct oracle_entry entry;
};

struct answer {
    int32_t code;
    uint64_t generation;
};

/* The process that is killed. */

struct servant {
    struct store_shard *shard;
    int socket;
};

static int append(struct store_shard *shard, const struct oracle_entry *entry)
{
    static struct fixture_group group; /* of the one thread that appends */
    const struct timespec pause = {.tv_nsec = 1000000};
    int code;

    oracle_make_group(entry, &group);
    while ((code = store_shard_append(shard, &group.group, ERROR_IGNORED)) == ERROR_BUSY)
        nanosleep(&pause, NULL);
    return code;
}

static uint64_t generation_of(struct store_shard *shard, int64_t start_ms)
{
    struct store_shard_info info;
    struct arena arena;
    uint64_t generation = 0;

    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++)
        if (info.windows[i].start_ms == start_ms && info.windows[i].sealed)
            generation = info.windows[i].generation;
    arena_destroy(&arena);
    return generation;
}

static struct answer obey(struct store_shard *shard, const struct oracle_entry *entry)
{
    const int64_t start_ms = (int64_t)entry->window * ORACLE_WINDOW_MS;
    struct answer answer = {0};

    switch (entry->kind) {
    case ORACLE_FLUSH:
        answer.code = store_shard_flush(shard, ERROR_IGNORED);
        break;
    case ORACLE_SEAL:
        answer.code = compact_seal(shard, start_ms, ORACLE_WINDOW_MS, 0, ERROR_IGNORED);
        answer.generation = generation_of(shard, start_ms);
        break;
    case ORACLE_DROP:
        answer.code = store_shard_drop(shard, start_ms, ORACLE_WINDOW_MS, "test", ERROR_IGNORED);
        break;
    default:
        answer.code = append(shard, entry);
        break;
    }
    return answer;
}

static void *serve(void *context)
{
    const struct servant *servant = context;
    struct oracle_entry entry;

    while (read(servant->socket, &entry, sizeof(entry)) == (ssize_t)sizeof(entry)) {
        struct answer answer = obey(servant->shard, &entry);
        if (write(servant->socket, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
            break;
    }
    abort(); /* its end is a kill */
}

static void live_until_killed(const char *data_dir, const int sockets[HANDS])
{
    struct store *store = fixture_store(io_posix(), data_dir, MEMTABLE_BYTES);
    struct store_shard *shard = fixture_shard(store, ORACLE_WINDOW_MS, 0, STORE_DURABILITY_LOG);
    struct servant servants[HANDS];
    pthread_t thread;

    for (int i = 0; i < HANDS; i++)
        servants[i] = (struct servant){shard, sockets[i]};
    if (pthread_create(&thread, NULL, serve, &servants[HAND_BEHIND]) != 0)
        abort();
    (void)serve(&servants[HAND_APPEND]);
}

/* The one that kills. */

struct killer {
    struct oracle oracle;
    uint64_t random;
    int64_t next_offset;
    struct hand hands[HANDS];
    pid_t child;
    char data_dir[128];
};

static void sleep_us(uint64_t us)
{
    const struct timespec time = {.tv_sec = (time_t)(us / 1000000),
                                  .tv_nsec = (long)(us % 1000000) * 1000};

    nanosleep(&time, NULL);
}

static void start_child(struct killer *killer)
{
    int pairs[HANDS][2];
    int theirs[HANDS];

    for (int i = 0; i < HANDS; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]), 0);
        killer->hands[i] = (struct hand){.socket = pairs[i][0]};
        theirs[i] = pairs[i][1];
    }
    killer->child = fork();
    ck_assert_int_ge(killer->child, 0);
    if (killer->child == 0) {
        for (int i = 0; i < HANDS; i++)
            (void)close(pairs[i][0]);
        live_until_killed(killer->data_dir, theirs);
    }
    for (int i = 0; i < HANDS; i++)
        ck_assert_int_eq(close(theirs[i]), 0);
}

static void send_operation(struct killer *killer, struct hand *hand,
                           const struct oracle_entry *entry)
{
    hand->entry = *entry;
    hand->number = oracle_begin(&killer->oracle, entry);
    hand->busy = true;
    ck_assert_int_eq(send(hand->socket, entry, sizeof(*entry), MSG_NOSIGNAL), sizeof(*entry));
}

static void send_group(struct killer *killer)
{
    static struct fixture_group group;
    const struct hand *behind = &killer->hands[HAND_BEHIND];
    struct oracle_entry entry = {.kind = test_random(&killer->random) % 8 ? ORACLE_PUTS
                                                                          : ORACLE_DELETES,
                                 .seed = test_random(&killer->random),
                                 .before = killer->next_offset,
                                 .window = -1};

    if (behind->busy && behind->entry.kind == ORACLE_DROP)
        entry.window = behind->entry.window;
    oracle_make_group(&entry, &group);
    entry.after = group.group.next_offset;
    send_operation(killer, &killer->hands[HAND_APPEND], &entry);
}

/* A drop begins while no group is under way, which may have rows of its window. */
static void send_behind(struct killer *killer, enum oracle_kind kind)
{
    const struct hand *appends = &killer->hands[HAND_APPEND];
    struct oracle_entry entry = {.kind = kind,
                                 .before =
                                     appends->busy ? appends->entry.before : killer->next_offset,
                                 .window = -1};

    if (kind == ORACLE_DROP && appends->busy)
        return;
    if (kind != ORACLE_FLUSH)
        entry.window = (int32_t)(test_random(&killer->random) % ORACLE_WINDOWS);
    send_operation(killer, &killer->hands[HAND_BEHIND], &entry);
}

/* Takes an answer if there is one. */
static bool take_answer(struct killer *killer, struct hand *hand)
{
    struct answer answer;
    ssize_t got = recv(hand->socket, &answer, sizeof(answer), MSG_DONTWAIT);

    if (got != (ssize_t)sizeof(answer))
        return false;
    ck_assert_msg(answer.code == 0, "operation of kind %d: code %d", (int)hand->entry.kind,
                  answer.code);
    oracle_acknowledge(&killer->oracle, hand->number, answer.generation);
    hand->busy = false;
    if (hand == &killer->hands[HAND_APPEND])
        killer->next_offset = hand->entry.after;
    return true;
}

/* Keeps both hands busy until an operation of the kind that is wanted, after some others, is under
 * way. */
static void work_until(struct killer *killer, enum oracle_kind wanted, unsigned operations)
{
    struct hand *hands = killer->hands;
    enum oracle_kind next = ORACLE_FLUSH;
    unsigned groups = 0; /* since the operation behind them began */

    for (;;) {
        struct pollfd polled[HANDS];
        if (!hands[HAND_BEHIND].busy) {
            if (operations == 0 && wanted >= ORACLE_FLUSH)
                next = wanted;
            send_behind(killer, next);
            if (hands[HAND_BEHIND].busy) {
                next = ORACLE_FLUSH + test_random(&killer->random) % 3;
                groups = 0;
            }
        }
        if (!hands[HAND_APPEND].busy && hands[HAND_BEHIND].busy && groups < GROUPS_BESIDE) {
            send_group(killer);
            groups++;
        }
        for (int i = 0; i < HANDS; i++) {
            if (operations == 0 && hands[i].busy && hands[i].entry.kind == wanted)
                return;
            polled[i] = (struct pollfd){.fd = hands[i].socket, .events = POLLIN};
        }
        ck_assert_int_gt(poll(polled, HANDS, ANSWER_TIMEOUT_MS), 0);
        for (int i = 0; i < HANDS; i++) {
            ck_assert_msg(!(polled[i].revents & POLLHUP), "the process died by itself");
            if (take_answer(killer, &hands[i]) && operations > 0)
                operations--;
        }
    }
}

static void kill_child(struct killer *killer)
{
    int status;

    ck_assert_int_eq(kill(killer->child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(killer->child, &status, 0), killer->child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* What it answered before it died was promised. */
    for (int i = 0; i < HANDS; i++) {
        if (killer->hands[i].busy)
            (void)take_answer(killer, &killer->hands[i]);
        ck_assert_int_eq(close(killer->hands[i].socket), 0);
    }
}

static void settle(struct killer *killer, unsigned round)
{
    struct store *store = fixture_store(io_posix(), killer->data_dir, MEMTABLE_BYTES);
    struct store_shard *shard = fixture_shard(store, ORACLE_WINDOW_MS, 0, STORE_DURABILITY_LOG);
    const char *problem = oracle_settle(&killer->oracle, shard);
    struct buffer findings = {0};

    ck_assert_msg(!problem, "round %u: %s", round, problem);
    killer->next_offset = killer->oracle.model.next_offset;
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
    ck_assert_msg(store_verify(io_posix(), killer->data_dir, NULL, &findings, ERROR_IGNORED) == 0,
                  "round %u: %s", round, buffer_text(&findings));
    buffer_destroy(&findings);
}

static bool was_everywhere(const struct oracle *oracle)
{
    bool all = true;

    for (int i = 0; i < ORACLE_KINDS; i++)
        all &= oracle->pending[i] > 0;
    return all;
}

START_TEST(process_killed_at_any_time_keeps_all_it_acknowledged_and_nothing_by_half)
{
    static const char *const names[ORACLE_KINDS] = {"puts", "deletes", "flushes", "seals", "drops"};
    struct killer *killer = calloc(1, sizeof(*killer));
    char path[128];
    unsigned round = 0;

    ck_assert_ptr_nonnull(killer);
    killer->random = test_seed();
    logger_set_level(LOGGER_ERROR);
    (void)snprintf(path, sizeof(path), "%s/oracle", test_directory());
    (void)snprintf(killer->data_dir, sizeof(killer->data_dir), "%s/data", test_directory());
    oracle_create(&killer->oracle, path);
    killer->next_offset = -1;
    for (; round < KILL_ROUNDS || (!was_everywhere(&killer->oracle) && round < 4 * KILL_ROUNDS);
         round++) {
        unsigned wanted = round % (ORACLE_KINDS + 1);
        unsigned operations = (unsigned)(test_random(&killer->random) % 40);
        start_child(killer);
        if (wanted < ORACLE_KINDS)
            work_until(killer, (enum oracle_kind)wanted, operations);
        /* Now and then it is killed while it recovers. */
        sleep_us(test_random(&killer->random) % (UINT64_C(1) << test_random(&killer->random) % 15));
        kill_child(killer);
        settle(killer, round);
    }
    printf("%u kills, %zu operations; pending at a kill (not done):", round, killer->oracle.count);
    for (int i = 0; i < ORACLE_KINDS; i++)
        printf(" %s %u (%u)", names[i], killer->oracle.pending[i], killer->oracle.undone[i]);
    printf("\n");
    ck_assert(was_everywhere(&killer->oracle));
    oracle_destroy(&killer->oracle);
    free(killer);
}
END_TEST

TEST_TABLE(TEST(process_killed_at_any_time_keeps_all_it_acknowledged_and_nothing_by_half))
