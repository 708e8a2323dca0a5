/* Workers on a real NATS server: processes that die, share the queue, or find it empty. */
#include <nats/nats.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "indexer/worker/queue.h"
#include "tests/indexer/worker/nats_queue.h"
#include "tests/indexer/worker/worker_fixture.h"
#include "tests/support/nats_server.h"

#define SMALL "dim: 16, metric: l2, index: {flat_below: 100}"
#define SLOW                                                                                       \
    "dim: 256, metric: l2, index: {recall_floor: 0, flat_below: 100, hnsw: {ef_construct: 400}}"

enum { ACK_WAIT_MS = 1000, SLOW_ROWS = 20000 };

/* Seals a window, lets a worker begin with it, and dies. */
static _Noreturn void build_and_die(const struct nats_server *server)
{
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    uint32_t threads;
    uint32_t building = 0;
    uint64_t memory;

    fixture_open(&fixture, "killed", "0", SLOW);
    fixture_seal(&fixture, 5, SLOW_ROWS);
    queue = nats_queue_open(server->url, ACK_WAIT_MS, fixture.metrics);
    pool = fixture_pool(&fixture, queue, 1);
    fixture_submit(&fixture, pool, 5);
    while (building == 0)
        worker_pool_describe(pool, &threads, &building, &memory);
    kill(getpid(), SIGKILL);
    abort();
}

/* Counts reports that a build is still under way. */
static void on_answer(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                      void *closure)
{
    static const char progress[] = "+WPI";
    atomic_int *reports = closure;

    (void)connection;
    (void)subscription;
    if (natsMsg_GetDataLength(message) == (int)strlen(progress) &&
        memcmp(natsMsg_GetData(message), progress, strlen(progress)) == 0)
        atomic_fetch_add(reports, 1);
    natsMsg_Destroy(message);
}

START_TEST(job_of_a_killed_worker_is_redelivered_and_done)
{
    static atomic_int reports;
    natsConnection *connection = NULL;
    natsSubscription *subscription = NULL;
    struct nats_server server;
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    int status;
    pid_t child;

    nats_server_start(&server);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        build_and_die(&server);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);

    fixture_open(&fixture, "killed", "0", SLOW);
    ck_assert_uint_eq(fixture_window(&fixture, 5).run.segment.file_number, 0);
    ck_assert_int_eq(fixture_count_files(&fixture, ".tmp"), 0);
    ck_assert_int_eq(natsConnection_ConnectTo(&connection, server.url), NATS_OK);
    ck_assert_int_eq(natsConnection_Subscribe(&subscription, connection, "$JS.ACK.TEST.workers.>",
                                              on_answer, &reports),
                     NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(connection), NATS_OK);
    queue = nats_queue_open(server.url, ACK_WAIT_MS, fixture.metrics);
    pool = fixture_pool(&fixture, queue, 2);
    ck_assert_uint_eq(fixture_wait_indexed(&fixture, 5).run.rows, SLOW_ROWS);
    fixture_wait_drained(queue);
    /* The build takes longer than a sixth of the ack wait. */
    ck_assert_int_eq(natsConnection_Flush(connection), NATS_OK);
    ck_assert_int_ge(atomic_load(&reports), 1);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    worker_pool_stop(pool);
    queue->operations->close(queue);
    fixture_close(&fixture);
}
END_TEST

START_TEST(two_processes_share_a_queue_and_each_indexes_its_own_shard)
{
    static const char *const names[] = {"first", "second"};
    struct nats_server server;
    struct worker_fixture fixtures[2];
    struct worker_queue *queues[2];
    struct worker_pool *pools[2];

    nats_server_start(&server);
    for (int i = 0; i < 2; i++) {
        fixture_open(&fixtures[i], names[i], i ? "1" : "0", SMALL);
        queues[i] = nats_queue_open(server.url, ACK_WAIT_MS, fixtures[i].metrics);
        pools[i] = fixture_pool(&fixtures[i], queues[i], 2);
    }
    for (int64_t number = 1; number <= 5; number++) {
        for (int i = 0; i < 2; i++) {
            fixture_seal(&fixtures[i], number, 200);
            fixture_submit(&fixtures[i], pools[i], number);
        }
    }
    for (int64_t number = 1; number <= 5; number++)
        for (int i = 0; i < 2; i++)
            (void)fixture_wait_indexed(&fixtures[i], number);
    fixture_wait_drained(queues[0]);
    for (int i = 0; i < 2; i++) {
        worker_pool_stop(pools[i]);
        queues[i]->operations->close(queues[i]);
        ck_assert_int_eq(fixture_count_files(&fixtures[i], ".segment"), 5);
        ck_assert_double_eq(fixture_counter(&fixtures[i], "windrow_index_dead_letters_total"), 0);
        fixture_close(&fixtures[i]);
    }
}
END_TEST

START_TEST(emptied_server_only_delays_an_index)
{
    struct nats_server server;
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;

    nats_server_start(&server);
    fixture_open(&fixture, "emptied", "0", SMALL);
    queue = nats_queue_open(server.url, ACK_WAIT_MS, fixture.metrics);
    pool = fixture_pool(&fixture, queue, 0); /* publishes only */
    for (int64_t number = 1; number <= 3; number++) {
        fixture_seal(&fixture, number, 200);
        fixture_submit(&fixture, pool, number);
    }
    ck_assert_int_eq(queue->operations->depth(queue), 3);
    worker_pool_stop(pool);
    nats_server_kill(&server);
    nats_server_wipe(&server);
    nats_server_restart(&server);
    pool = fixture_pool(&fixture, queue, 2);
    for (int64_t number = 1; number <= 3;) {
        struct timespec pause = {0, 50 * 1000 * 1000};
        worker_pool_reconcile(pool);
        nanosleep(&pause, NULL);
        number += fixture_window(&fixture, number).run.segment.file_number != 0;
    }
    fixture_wait_drained(queue);
    worker_pool_stop(pool);
    queue->operations->close(queue);
    fixture_close(&fixture);
}
END_TEST

/* A window that grows old while the queue is busy and the former message id is remembered. */
START_TEST(change_of_kind_waits_for_nothing)
{
    struct nats_server server;
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct worker_job foreign = {.collection = "elsewhere",
                                 .shard = "0",
                                 .window_length_ms = WINDOW_MS,
                                 .generation = 1,
                                 .passes = 17}; /* passed on a few times more */
    struct error error = {0};

    nats_server_start(&server);
    fixture_open(&fixture, "aging", "0", SMALL);
    fixture.config->collections[0].index_kind = CONFIG_INDEX_HNSW;
    queue = nats_queue_open(server.url, ACK_WAIT_MS, fixture.metrics);
    pool = fixture_pool(&fixture, queue, 1);
    fixture_seal(&fixture, 1, 8000);
    fixture_submit(&fixture, pool, 1);
    ck_assert_int_eq(fixture_wait_indexed(&fixture, 1).run.segment.kind, SEGMENT_HNSW);
    fixture_wait_drained(queue);
    ck_assert_msg(queue->operations->publish(queue, &foreign, &error) == 0, "%s", error.text);
    fixture.config->collections[0].index_kind = CONFIG_INDEX_AUTO;
    fixture.config->collections[0].ivf_pq_after_ms = 1000;
    worker_pool_reconcile(pool); /* once: whatever is dropped now stays away */
    fixture_wait_drained(queue);
    ck_assert_int_eq(fixture_window(&fixture, 1).run.segment.kind, SEGMENT_IVF_PQ);
    fixture_wait_files(&fixture, ".segment", 1);
    worker_pool_stop(pool);
    queue->operations->close(queue);
    fixture_close(&fixture);
}
END_TEST

START_TEST(poison_job_reaches_the_dead_letter_stream)
{
    struct nats_server server;
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    natsConnection *connection = NULL;
    jsCtx *context = NULL;
    jsStreamInfo *info = NULL;

    nats_server_start(&server);
    fixture_open(&fixture, "poison", "0", SMALL);
    queue = nats_queue_open(server.url, ACK_WAIT_MS, fixture.metrics);
    pool = fixture_pool(&fixture, queue, 1);
    atomic_store(&fixture.io.fail, true);
    fixture_seal(&fixture, 5, 200);
    fixture_submit(&fixture, pool, 5);
    fixture_wait_counter(&fixture, "windrow_index_dead_letters_total", 1);
    fixture_wait_drained(queue);
    worker_pool_reconcile(pool); /* given up: not queued again */
    ck_assert_int_eq(queue->operations->depth(queue), 0);
    ck_assert_int_eq(natsConnection_ConnectTo(&connection, server.url), NATS_OK);
    ck_assert_int_eq(natsConnection_JetStream(&context, connection, NULL), NATS_OK);
    ck_assert_int_eq(js_GetStreamInfo(&info, context, "TEST_DEAD", NULL, NULL), NATS_OK);
    ck_assert_uint_eq(info->State.Msgs, 1);
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(context);
    natsConnection_Destroy(connection);
    worker_pool_stop(pool);
    queue->operations->close(queue);
    fixture_close(&fixture);
}
END_TEST

TEST_TABLE(TEST(job_of_a_killed_worker_is_redelivered_and_done),
           TEST(two_processes_share_a_queue_and_each_indexes_its_own_shard),
           TEST(emptied_server_only_delays_an_index), TEST(change_of_kind_waits_for_nothing),
           TEST(poison_job_reaches_the_dead_letter_stream))
