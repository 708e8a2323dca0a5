/* A window's segment is built by another process than the one that holds the window: jobs over a
 * real NATS server, the run and the segment over HTTP. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "indexer/http/http.h"
#include "indexer/worker/queue.h"
#include "indexer/worker/remote.h"
#include "indexer/worker/segment_kind.h"
#include "tests/indexer/worker/nats_server.h"
#include "tests/indexer/worker/worker_fixture.h"
#include "tests/support/certificates.h"

#define COLLECTION                                                                                 \
    "dim: 128, metric: l2, index: {recall_floor: 0.5, flat_below: 100, chunk_above: 1000, "        \
    "hnsw: {ef_construct: 300}}"

enum { ACK_WAIT_MS = 1000, ROWS = 6000, ENOUGH_BYTES = 1 << 30 };

/* Whether owners and builders speak TLS, with certificates on both sides. */
static bool over_tls;

static void set_tls(struct config *config)
{
    if (!over_tls)
        return;
    config->http_tls_cert_file = test_certificate("good.pem");
    config->http_tls_key_file = test_certificate("key.pem");
    config->http_tls_ca_file = config->http_tls_client_ca_file = test_certificate("ca.pem");
}

/* The builder: no shard of its own. */

static _Noreturn void run_builder(const char *url, const char *name, int start, bool dies,
                                  uint64_t memory_max_bytes)
{
    static struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct timespec pause = {0, 20 * 1000 * 1000};
    uint32_t threads, building = 0;
    uint64_t memory;
    char byte;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    if (read(start, &byte, 1) != 1)
        _exit(1);
    fixture_open(&fixture, name, "0", COLLECTION);
    store_registry_close_all(fixture.registry, true); /* nothing is open here */
    set_tls(fixture.config);
    fixture.config->build_memory_max_bytes = memory_max_bytes;
    queue = nats_server_queue(url, ACK_WAIT_MS, fixture.metrics);
    pool = fixture_pool(&fixture, queue, 1);
    worker_pool_set_address(pool, "127.0.0.1:1");
    while (!dies || building == 0) {
        worker_pool_describe(pool, &threads, &building, &memory);
        (void)nanosleep(&pause, NULL);
    }
    (void)nanosleep(&pause, NULL);
    (void)kill(getpid(), SIGKILL);
    abort();
}

struct builder {
    pid_t process;
    int start;
};

static struct builder fork_builder(const char *url, const char *name, bool dies,
                                   uint64_t memory_max_bytes)
{
    struct builder builder;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    builder.process = fork();
    ck_assert_int_ge(builder.process, 0);
    if (builder.process == 0) {
        (void)close(ends[1]);
        run_builder(url, name, ends[0], dies, memory_max_bytes);
    }
    (void)close(ends[0]);
    builder.start = ends[1];
    return builder;
}

/* The owner. */

struct owner {
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct http_server *http;
};

static void owner_open(struct owner *owner, const char *url)
{
    struct error error = {0};
    char address[64];

    fixture_open(&owner->fixture, "owner", "0", COLLECTION);
    owner->fixture.config->http_port = 0;
    set_tls(owner->fixture.config);
    owner->queue = nats_server_queue(url, ACK_WAIT_MS, owner->fixture.metrics);
    owner->pool = fixture_pool(&owner->fixture, owner->queue, 0); /* builds nothing itself */
    owner->http = http_server_new(&(struct http_options){.config = owner->fixture.config,
                                                         .metrics = owner->fixture.metrics,
                                                         .io = &owner->fixture.io.io});
    worker_pool_add_routes(owner->pool, owner->http);
    ck_assert_msg(http_server_start(owner->http, &error) == 0, "%s", error.text);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(owner->http));
    worker_pool_set_address(owner->pool, address);
}

static void owner_close(struct owner *owner)
{
    http_server_delete(owner->http);
    worker_pool_stop(owner->pool);
    owner->queue->operations->close(owner->queue);
    fixture_close(&owner->fixture);
}

/* As a builder leaves it that dies between its last part and the acknowledgement. */
static void publish_again(struct owner *owner, const struct store_window_info *window)
{
    struct worker_job job = {.collection = "news",
                             .shard = "0",
                             .window_start_ms = window->start_ms,
                             .window_length_ms = window->length_ms,
                             .generation = window->generation,
                             .run_file_number = window->run.file_number,
                             .rows = window->run.rows,
                             .kind = SEGMENT_HNSW};
    struct error error = {0};

    (void)snprintf(job.owner, sizeof(job.owner), "127.0.0.1:%u", http_server_port(owner->http));
    ck_assert_msg(owner->queue->operations->publish(owner->queue, &job, &error) == 0, "%s",
                  error.text);
}

START_TEST(segment_of_a_killed_builder_is_built_by_another_and_swapped_in_by_the_owner)
{
    static struct owner owner;
    struct nats_server server;
    struct builder victim, second;
    struct store_window_info window;
    int status;

    nats_server_start(&server);
    victim = fork_builder(server.url, "victim", true, ENOUGH_BYTES);
    second = fork_builder(server.url, "second", false, ENOUGH_BYTES);
    owner_open(&owner, server.url);
    fixture_seal(&owner.fixture, 5, ROWS);
    fixture_submit(&owner.fixture, owner.pool, 5);
    ck_assert_int_eq(write(victim.start, "g", 1), 1);
    ck_assert_int_eq(waitpid(victim.process, &status, 0), victim.process);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
    ck_assert_uint_eq(fixture_window(&owner.fixture, 5).run.segment.file_number, 0);

    ck_assert_int_eq(write(second.start, "g", 1), 1);
    window = fixture_wait_indexed(&owner.fixture, 5);
    ck_assert_int_eq(window.run.segment.kind, SEGMENT_HNSW);
    ck_assert_double_ge(window.run.segment.recall, 0.5);
    fixture_wait_drained(owner.queue);
    publish_again(&owner, &window);
    fixture_wait_drained(owner.queue);
    ck_assert_uint_eq(fixture_window(&owner.fixture, 5).run.segment.file_number,
                      window.run.segment.file_number);
    ck_assert_int_eq(fixture_count_files(&owner.fixture, ".segment"), 1);
    ck_assert_int_eq(fixture_count_files(&owner.fixture, ".tmp"), 0);

    fixture_flush(&owner.fixture, 6, 1000);
    worker_pool_reconcile(owner.pool);
    ck_assert_double_ge(fixture_wait_chunk(&owner.fixture, 6, 0).segment.recall, 0.5);
    (void)kill(second.process, SIGKILL);
    ck_assert_int_eq(waitpid(second.process, &status, 0), second.process);
    owner_close(&owner);
}
END_TEST

/* The job says which shard, not where: it waits until somebody has the shard. */
START_TEST(job_of_an_owner_that_is_gone_is_built_for_the_next_one)
{
    static struct owner former, owner;
    struct nats_server server;
    struct builder builder;
    struct store_window_info window;
    int status;

    nats_server_start(&server);
    builder = fork_builder(server.url, "builder", false, ENOUGH_BYTES);
    owner_open(&former, server.url);
    fixture_seal(&former.fixture, 5, ROWS);
    fixture_submit(&former.fixture, former.pool, 5);
    owner_close(&former);
    ck_assert_int_eq(write(builder.start, "g", 1), 1);
    owner_open(&owner, server.url); /* elsewhere; it queues nothing */
    window = fixture_wait_indexed(&owner.fixture, 5);
    ck_assert_int_eq(window.run.segment.kind, SEGMENT_HNSW);
    fixture_wait_drained(owner.queue);
    (void)kill(builder.process, SIGKILL);
    ck_assert_int_eq(waitpid(builder.process, &status, 0), builder.process);
    owner_close(&owner);
}
END_TEST

START_TEST(segment_travels_over_tls_between_two_that_know_each_other)
{
    static struct owner owner;
    struct nats_server server;
    struct builder builder;
    int status;

    over_tls = true;
    (void)test_certificate("ca.pem"); /* one folder for both processes */
    nats_server_start(&server);
    builder = fork_builder(server.url, "builder", false, ENOUGH_BYTES);
    owner_open(&owner, server.url);
    fixture_flush(&owner.fixture, 6, 1000);
    worker_pool_reconcile(owner.pool);
    ck_assert_int_eq(write(builder.start, "g", 1), 1);
    ck_assert_double_ge(fixture_wait_chunk(&owner.fixture, 6, 0).segment.recall, 0.5);
    (void)kill(builder.process, SIGKILL);
    ck_assert_int_eq(waitpid(builder.process, &status, 0), builder.process);
    owner_close(&owner);
}
END_TEST

/* Its lists are better than nothing, and asking for the graph again would bring the same. */
START_TEST(builder_without_room_for_a_graph_brings_lists_once)
{
    static struct owner owner;
    const struct index_build_options options = {
        .metric = VECTOR_METRIC_L2, .dim = 128, .m = 16, .ef_construct = 300, .thread_count = 1};
    uint64_t room = worker_build_bytes(&options, true, ROWS, true);
    struct nats_server server;
    struct builder builder;
    struct store_window_info window;
    int status;

    ck_assert_uint_lt(room, worker_build_bytes(&options, false, ROWS, true));
    nats_server_start(&server);
    builder = fork_builder(server.url, "small", false, room);
    owner_open(&owner, server.url);
    fixture_seal(&owner.fixture, 5, ROWS);
    fixture_submit(&owner.fixture, owner.pool, 5);
    ck_assert_int_eq(write(builder.start, "g", 1), 1);
    window = fixture_wait_indexed(&owner.fixture, 5);
    ck_assert_int_eq(window.run.segment.kind, SEGMENT_IVF_PQ);
    fixture_wait_drained(owner.queue);
    worker_pool_reconcile(owner.pool);
    fixture_wait_drained(owner.queue);
    ck_assert_uint_eq(fixture_window(&owner.fixture, 5).run.segment.file_number,
                      window.run.segment.file_number);
    /* And the next window's are of the same codebook, which the owner has. */
    fixture_seal(&owner.fixture, 6, ROWS);
    fixture_submit(&owner.fixture, owner.pool, 6);
    ck_assert_int_eq(fixture_wait_indexed(&owner.fixture, 6).run.segment.kind, SEGMENT_IVF_PQ);
    ck_assert_uint_ne(fixture_codebook(&owner.fixture, 5), 0);
    ck_assert_uint_eq(fixture_codebook(&owner.fixture, 5), fixture_codebook(&owner.fixture, 6));
    (void)kill(builder.process, SIGKILL);
    ck_assert_int_eq(waitpid(builder.process, &status, 0), builder.process);
    owner_close(&owner);
}
END_TEST

/* What a builder may send. */

struct hostile {
    struct worker_fixture fixture;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct worker_run run;
    uint64_t file_number;
};

static void hostile_open(struct hostile *hostile)
{
    struct error error = {0};

    fixture_open(&hostile->fixture, "hostile", "0", "dim: 16, metric: l2");
    ck_assert_int_eq(worker_queue_local(hostile->fixture.metrics, &hostile->queue, &error), 0);
    hostile->pool = fixture_pool(&hostile->fixture, hostile->queue, 0);
    fixture_seal(&hostile->fixture, 5, 500);
    hostile->run = (struct worker_run){.collection = "news",
                                       .shard = "0",
                                       .start_ms = fixture_window(&hostile->fixture, 5).start_ms,
                                       .length_ms = WINDOW_MS,
                                       .generation = 1};
}

static int send(struct hostile *hostile, uint64_t offset, uint64_t total, size_t size, bool damaged)
{
    uint8_t bytes[REMOTE_CHECKSUM_BYTES + 64] = {0};
    uint64_t checksum = worker_remote_checksum(bytes + REMOTE_CHECKSUM_BYTES, size, 1,
                                               hostile->file_number, offset);
    struct worker_part part = {hostile->file_number, offset, total, bytes,
                               REMOTE_CHECKSUM_BYTES + size};
    struct error error = {0};
    bool attached;
    int code;

    memcpy(bytes, &checksum, sizeof(checksum));
    bytes[0] ^= damaged;
    code = worker_remote_part(hostile->pool, &hostile->run, &part, &attached, &error);
    ck_assert(!attached);
    return code;
}

static void begin(struct hostile *hostile)
{
    struct error error = {0};

    ck_assert_int_eq(
        worker_remote_begin(hostile->pool, &hostile->run, &hostile->file_number, &error), 0);
}

START_TEST(what_is_no_segment_is_never_swapped_in_and_leaves_nothing)
{
    static struct hostile hostile;
    struct buffer out = {0};
    struct error error = {0};

    hostile_open(&hostile);
    ck_assert_int_eq(send(&hostile, 0, 64, 64, false), ERROR_NOT_FOUND); /* nobody began */
    begin(&hostile);
    ck_assert_int_eq(send(&hostile, 0, 64, 64, true), ERROR_CORRUPT);
    begin(&hostile);
    ck_assert_int_eq(send(&hostile, 8, 128, 64, false), ERROR_INVALID); /* a gap */
    begin(&hostile);
    ck_assert_int_eq(send(&hostile, 0, UINT64_MAX, 64, false), ERROR_INVALID);
    begin(&hostile);
    ck_assert_int_eq(send(&hostile, 0, 32, 64, false), ERROR_INVALID); /* more than all */
    begin(&hostile);
    ck_assert_int_eq(send(&hostile, 0, 128, 64, false), 0);
    ck_assert_int_eq(send(&hostile, 64, 128, 64, false), ERROR_CORRUPT); /* no segment */
    ck_assert_uint_eq(fixture_window(&hostile.fixture, 5).run.segment.file_number, 0);
    begin(&hostile); /* whose builder dies: the pool's end takes it away */

    ck_assert_int_eq(worker_remote_vectors(hostile.pool, &hostile.run, 499, 2, &out, &error),
                     ERROR_INVALID);
    ck_assert_int_eq(worker_remote_vectors(hostile.pool, &hostile.run, 500, 1, &out, &error),
                     ERROR_INVALID);
    ck_assert_int_eq(worker_remote_vectors(hostile.pool, &hostile.run, 0, 500, &out, &error), 0);
    ck_assert_uint_eq(out.size, REMOTE_CHECKSUM_BYTES + 500 * 16 * sizeof(float));
    ck_assert_int_eq(worker_remote_codebook(hostile.pool, &hostile.run, 0, &out, &error),
                     ERROR_NOT_FOUND); /* nothing has lists */
    hostile.run.generation = 2;
    ck_assert_int_eq(worker_remote_vectors(hostile.pool, &hostile.run, 0, 1, &out, &error),
                     ERROR_NOT_FOUND);
    buffer_destroy(&out);
    worker_pool_stop(hostile.pool);
    ck_assert_int_eq(fixture_count_files(&hostile.fixture, ".tmp"), 0);
    hostile.queue->operations->close(hostile.queue);
    fixture_close(&hostile.fixture);
}
END_TEST

TEST_TABLE(TEST(segment_travels_over_tls_between_two_that_know_each_other),
           TEST(builder_without_room_for_a_graph_brings_lists_once),
           TEST(job_of_an_owner_that_is_gone_is_built_for_the_next_one),
           TEST(segment_of_a_killed_builder_is_built_by_another_and_swapped_in_by_the_owner),
           TEST(what_is_no_segment_is_never_swapped_in_and_leaves_nothing))
