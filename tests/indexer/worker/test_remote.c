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

#include "indexer/worker/queue.h"
#include "indexer/worker/remote.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/span.h"
#include "net/http/http.h"
#include "store/compaction.h"
#include "store/snapshot.h"
#include "tests/indexer/worker/nats_queue.h"
#include "tests/indexer/worker/worker_fixture.h"
#include "tests/support/certificates.h"
#include "tests/support/nats_server.h"

#define COLLECTION                                                                                 \
    "dim: 128, metric: l2, index: {recall_floor: 0.5, flat_below: 800, chunk_above: 1000, "        \
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
    queue = nats_queue_open(url, ACK_WAIT_MS, fixture.metrics);
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
    owner->queue = nats_queue_open(url, ACK_WAIT_MS, owner->fixture.metrics);
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

/* The builder tried both kinds, built the one that it found better and said so in the file. */
static void check_choice(struct worker_fixture *fixture, enum segment_kind kind)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(fixture->shard, 0);
    const struct index_choice *choice;
    const struct store_source *sources;
    size_t count;

    sources = store_snapshot_sources(snapshot, &count);
    ck_assert_uint_eq(count, 1);
    choice = index_segment_choice(sources[0].segment->object);
    ck_assert_uint_eq(choice->how, INDEX_CHOICE_TRIAL);
    ck_assert_int_eq(
        kind, index_choice_takes_lists((double)choice->graph_cost, (double)choice->lists_cost)
                  ? SEGMENT_IVF_PQ
                  : SEGMENT_HNSW);
    ck_assert_float_gt(choice->cost, 0);
    store_snapshot_release(snapshot);
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
    check_choice(&owner.fixture, window.run.segment.kind);
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
    ck_assert_int_ne(window.run.segment.kind, SEGMENT_FLAT);
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

static void hostile_open(struct hostile *hostile, const char *yaml)
{
    struct error error = {0};

    fixture_open(&hostile->fixture, "hostile", "0", yaml);
    ck_assert_int_eq(worker_queue_local(hostile->fixture.metrics, &hostile->queue, &error), 0);
    hostile->pool = fixture_pool(&hostile->fixture, hostile->queue, 0);
}

static void hostile_close(struct hostile *hostile)
{
    worker_pool_stop(hostile->pool);
    ck_assert_int_eq(fixture_count_files(&hostile->fixture, ".tmp"), 0);
    hostile->queue->operations->close(hostile->queue);
    fixture_close(&hostile->fixture);
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

    hostile_open(&hostile, "dim: 16, metric: l2");
    fixture_seal(&hostile.fixture, 5, 500);
    hostile.run = (struct worker_run){.collection = "news",
                                      .shard = "0",
                                      .start_ms = fixture_window(&hostile.fixture, 5).start_ms,
                                      .length_ms = WINDOW_MS,
                                      .generation = 1};
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
    hostile_close(&hostile);
}
END_TEST

/* Requests in any order, of any numbers, by several at once. */

struct attacker {
    struct hostile own; /* the pool is shared, the upload not */
    pthread_t thread;
    uint64_t seed;
};

static uint64_t pick(struct attacker *attacker, const uint64_t *values, size_t count)
{
    return values[test_random(&attacker->seed) % count];
}

static void send_any_part(struct attacker *attacker)
{
    static const uint64_t offsets[] = {0, 0, 32, 64, 96, 128, UINT64_MAX, UINT64_MAX - 63};
    static const uint64_t totals[] = {0, 32, 64, 128, 128, 192, 1 << 20, UINT64_MAX};
    static const uint64_t strays[] = {0, 0, 0, 0, 0, 1, UINT64_MAX, 1000};
    struct hostile *own = &attacker->own;
    uint64_t file_number = own->file_number;

    own->file_number += pick(attacker, strays, sizeof(strays) / sizeof(strays[0]));
    (void)send(own, pick(attacker, offsets, sizeof(offsets) / sizeof(offsets[0])),
               pick(attacker, totals, sizeof(totals) / sizeof(totals[0])),
               test_random(&attacker->seed) % 65, test_random(&attacker->seed) % 8 == 0);
    own->file_number = file_number;
}

static void *attack(void *context)
{
    enum { REQUESTS = TEST_SANITIZED ? 1000 : 4000 };
    struct attacker *attacker = context;
    struct hostile *own = &attacker->own;
    struct error error = {0};

    for (int i = 0; i < REQUESTS; i++)
        switch (test_random(&attacker->seed) % 16) {
        case 0:
        case 1:
            (void)worker_remote_begin(own->pool, &own->run, &own->file_number, &error);
            break;
        case 2: /* a generation that is not there, a chunk that is none, a span */
            own->run.generation = 1 + test_random(&attacker->seed) % 2;
            own->run.file_number = test_random(&attacker->seed) % 4 == 0;
            own->run.span_tier = (uint8_t)(test_random(&attacker->seed) % 8 == 0);
            break;
        case 3:
            (void)worker_remote_give_up(own->pool, &own->run,
                                        test_random(&attacker->seed) % 2 ? "hnsw" : "", &error);
            break;
        default:
            send_any_part(attacker);
        }
    return NULL;
}

START_TEST(uploads_in_any_order_attach_nothing_and_leave_nothing)
{
    enum { ATTACKERS = 3 };
    static struct hostile hostile;
    static struct attacker attackers[ATTACKERS];
    uint64_t seed = test_seed();

    hostile_open(&hostile, "dim: 16, metric: l2");
    fixture_seal(&hostile.fixture, 5, 500);
    hostile.run = (struct worker_run){.collection = "news",
                                      .shard = "0",
                                      .start_ms = fixture_window(&hostile.fixture, 5).start_ms,
                                      .length_ms = WINDOW_MS,
                                      .generation = 1};
    for (uint64_t i = 0; i < ATTACKERS; i++) {
        attackers[i] =
            (struct attacker){.own = {.pool = hostile.pool, .run = hostile.run}, .seed = seed + i};
        ck_assert_int_eq(pthread_create(&attackers[i].thread, NULL, attack, &attackers[i]), 0);
    }
    for (int i = 0; i < ATTACKERS; i++)
        ck_assert_int_eq(pthread_join(attackers[i].thread, NULL), 0);
    ck_assert_uint_eq(fixture_window(&hostile.fixture, 5).run.segment.file_number, 0);
    ck_assert_int_eq(fixture_count_files(&hostile.fixture, ".segment"), 0);
    begin(&hostile); /* what was in progress is no obstacle */
    ck_assert_int_eq(fixture_count_files(&hostile.fixture, ".tmp"), 1);
    ck_assert_int_eq(send(&hostile, 0, 128, 64, false), 0);
    ck_assert_int_eq(send(&hostile, 64, 128, 64, false), ERROR_CORRUPT);
    hostile_close(&hostile);
}
END_TEST

/* Spans. */

enum { SPAN_WINDOWS = 8, SPAN_ROWS = 50, SPAN_LATER = 12 };

/* Too few rows a window for a segment of its own; a later row says that their time is over. */
static void seal_span(struct worker_fixture *fixture)
{
    fixture->config->collections[0].spans = CONFIG_SPANS_AUTO;
    for (int64_t window = 0; window < SPAN_WINDOWS; window++)
        fixture_seal(fixture, window, SPAN_ROWS);
    fixture_flush(fixture, SPAN_LATER, 1);
}

/* Those attached; *span is the first. */
static size_t count_spans(struct worker_fixture *fixture, struct store_span_info *span)
{
    struct store_shard_info info;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    store_shard_describe(fixture->shard, &arena, &info);
    count = info.span_count;
    if (count > 0)
        *span = info.spans[0];
    arena_destroy(&arena);
    return count;
}

START_TEST(span_is_built_by_another_process_and_swapped_in_by_the_owner)
{
    static struct owner owner;
    struct nats_server server;
    struct builder builder;
    struct store_span_info span;
    int status;

    nats_server_start(&server);
    builder = fork_builder(server.url, "builder", false, ENOUGH_BYTES);
    owner_open(&owner, server.url);
    seal_span(&owner.fixture);
    ck_assert_int_eq(write(builder.start, "g", 1), 1);
    while (worker_pool_reconcile(owner.pool)) /* ctest ends what never comes */
        fixture_wait_drained(owner.queue);
    ck_assert_uint_eq(count_spans(&owner.fixture, &span), 1);
    ck_assert_uint_eq(span.tier, 1);
    ck_assert_uint_eq(span.part_count, SPAN_WINDOWS);
    ck_assert_uint_eq(span.live_rows, SPAN_WINDOWS * SPAN_ROWS);
    ck_assert_double_ge(span.segment.recall, 0.5);
    ck_assert_int_eq(fixture_count_files(&owner.fixture, ".segment"), 1);
    ck_assert_int_eq(fixture_count_files(&owner.fixture, ".tmp"), 0);
    (void)kill(builder.process, SIGKILL);
    ck_assert_int_eq(waitpid(builder.process, &status, 0), builder.process);
    owner_close(&owner);
}
END_TEST

/* What a builder of the span makes of vectors that it fetched. */
static struct buffer build_segment(struct hostile *hostile, const float *vectors, uint32_t rows)
{
    const struct index_build_options options = {
        .metric = VECTOR_METRIC_L2, .dim = 16, .m = 16, .ef_construct = 100, .thread_count = 1};
    struct index_hnsw_graph *graph;
    struct buffer bytes = {0};
    uint64_t size;
    char path[400];
    FILE *file;

    snprintf(path, sizeof(path), "%s/built", hostile->fixture.data_dir);
    ck_assert_int_eq(index_hnsw_build(vectors, rows, &options, &graph, ERROR_IGNORED), 0);
    ck_assert_int_eq(
        index_segment_write(io_posix(), path, hostile->file_number, graph, &size, ERROR_IGNORED),
        0);
    index_hnsw_graph_delete(graph);
    (void)buffer_reserve(&bytes, REMOTE_CHECKSUM_BYTES + size);
    bytes.size = REMOTE_CHECKSUM_BYTES + size;
    file = fopen(path, "r");
    ck_assert_uint_eq(fread(bytes.data + REMOTE_CHECKSUM_BYTES, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(unlink(path), 0);
    return bytes;
}

/* Sends the file but for its last bytes, as if it were all. */
static int upload(struct hostile *hostile, struct buffer *bytes, size_t cut, bool *attached)
{
    size_t size = bytes->size - REMOTE_CHECKSUM_BYTES - cut;
    uint64_t checksum = worker_remote_checksum(bytes->data + REMOTE_CHECKSUM_BYTES, size,
                                               hostile->run.generation, hostile->file_number, 0);
    struct worker_part part = {hostile->file_number, 0, size, bytes->data,
                               REMOTE_CHECKSUM_BYTES + size};
    int code;

    memcpy(bytes->data, &checksum, sizeof(checksum));
    code = worker_remote_part(hostile->pool, &hostile->run, &part, attached, ERROR_IGNORED);
    buffer_destroy(bytes);
    return code;
}

/* The only span that is wanted. */
static void find_span(struct hostile *hostile)
{
    const struct config *config = hostile->fixture.config;
    struct store_shard_info info;
    struct worker_span_plan plan;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(hostile->fixture.shard, &arena, &info);
    plan = worker_spans_plan(config, &config->collections[0], &info, 0, &arena);
    ck_assert_uint_eq(plan.wanted_count, 1);
    hostile->run = (struct worker_run){.collection = "news",
                                       .shard = "0",
                                       .start_ms = plan.wanted[0].start_ms,
                                       .length_ms = plan.wanted[0].end_ms - plan.wanted[0].start_ms,
                                       .generation = plan.wanted[0].parts_hash,
                                       .span_tier = plan.wanted[0].tier};
    arena_destroy(&arena);
}

START_TEST(span_is_only_what_was_built_over_its_runs_as_they_are)
{
    enum { ROWS_ALL = SPAN_WINDOWS * SPAN_ROWS };
    static struct hostile hostile;
    static float vectors[ROWS_ALL * 16], others[ROWS_ALL * 16];
    struct store_span_info span;
    struct buffer out = {0}, bytes;
    bool attached;

    hostile_open(&hostile, "dim: 16, metric: l2, index: {flat_below: 800}");
    seal_span(&hostile.fixture);
    find_span(&hostile);
    ck_assert_int_eq(
        worker_remote_vectors(hostile.pool, &hostile.run, 0, ROWS_ALL, &out, ERROR_IGNORED), 0);
    ck_assert_uint_eq(out.size, REMOTE_CHECKSUM_BYTES + sizeof(vectors));
    memcpy(vectors, out.data + REMOTE_CHECKSUM_BYTES, sizeof(vectors));
    for (size_t i = 0; i < ROWS_ALL * 16; i++)
        others[i] = vectors[ROWS_ALL * 16 - 1 - i];
    out.size = 0; /* rows of two runs in one message */
    ck_assert_int_eq(
        worker_remote_vectors(hostile.pool, &hostile.run, SPAN_ROWS - 1, 2, &out, ERROR_IGNORED),
        0);
    ck_assert_mem_eq(out.data + REMOTE_CHECKSUM_BYTES, vectors + (size_t)(SPAN_ROWS - 1) * 16,
                     2 * 16 * sizeof(float));
    ck_assert_int_eq(
        worker_remote_vectors(hostile.pool, &hostile.run, ROWS_ALL - 1, 2, &out, ERROR_IGNORED),
        ERROR_INVALID);
    buffer_destroy(&out);

    begin(&hostile);
    bytes = build_segment(&hostile, vectors, ROWS_ALL);
    ck_assert_int_eq(upload(&hostile, &bytes, 100, &attached), ERROR_CORRUPT); /* truncated */
    begin(&hostile);
    bytes = build_segment(&hostile, others, ROWS_ALL);
    ck_assert_int_eq(upload(&hostile, &bytes, 0, &attached), ERROR_INVALID); /* finds nothing */
    begin(&hostile);
    bytes = build_segment(&hostile, vectors, ROWS_ALL - 1);
    ck_assert_int_eq(upload(&hostile, &bytes, 0, &attached), ERROR_CORRUPT); /* of other rows */
    ck_assert_uint_eq(count_spans(&hostile.fixture, &span), 0);

    begin(&hostile); /* a run of it goes while the builder is at work */
    bytes = build_segment(&hostile, vectors, ROWS_ALL);
    ck_assert_int_eq(store_shard_drop(hostile.fixture.shard, 0, WINDOW_MS, "test", ERROR_IGNORED),
                     0);
    ck_assert_int_eq(upload(&hostile, &bytes, 0, &attached), ERROR_NOT_FOUND);
    ck_assert_int_eq(
        worker_remote_begin(hostile.pool, &hostile.run, &hostile.file_number, ERROR_IGNORED),
        ERROR_NOT_FOUND);
    ck_assert_uint_eq(count_spans(&hostile.fixture, &span), 0);

    find_span(&hostile); /* over the others */
    begin(&hostile);
    bytes = build_segment(&hostile, vectors + (size_t)SPAN_ROWS * 16, ROWS_ALL - SPAN_ROWS);
    ck_assert_int_eq(upload(&hostile, &bytes, 0, &attached), 0);
    ck_assert(attached);
    ck_assert_uint_eq(count_spans(&hostile.fixture, &span), 1);
    ck_assert_uint_eq(span.part_count, SPAN_WINDOWS - 1);
    ck_assert_int_eq(/* it is there */
                     worker_remote_begin(hostile.pool, &hostile.run, &hostile.file_number,
                                         ERROR_IGNORED),
                     ERROR_NOT_FOUND);
    hostile_close(&hostile);
}
END_TEST

START_TEST(span_that_a_builder_gave_up_is_not_queued_again)
{
    static struct hostile hostile;

    hostile_open(&hostile, "dim: 16, metric: l2, index: {flat_below: 800}");
    seal_span(&hostile.fixture);
    find_span(&hostile);
    ck_assert(worker_pool_reconcile(hostile.pool));
    ck_assert_int_eq(worker_remote_give_up(hostile.pool, &hostile.run, "hnsw", ERROR_IGNORED), 0);
    ck_assert(!worker_pool_reconcile(hostile.pool));
    hostile_close(&hostile);
}
END_TEST

/* A collection of which spans may be lists over all windows, once there are many. This one has few. */
START_TEST(span_of_few_windows_shares_the_codebook_of_a_window)
{
    static struct hostile hostile;
    struct config_collection *collection;
    struct buffer out = {0};

    hostile_open(&hostile, "dim: 16, metric: l2, index: {flat_below: 800}");
    worker_pool_stop(hostile.pool);
    hostile.pool = fixture_pool(&hostile.fixture, hostile.queue, 1); /* builds for itself */
    collection = &hostile.fixture.config->collections[0];
    collection->index_kind = CONFIG_INDEX_IVF_PQ;
    fixture_seal(&hostile.fixture, SPAN_WINDOWS, 500);
    fixture_submit(&hostile.fixture, hostile.pool, SPAN_WINDOWS);
    (void)fixture_wait_indexed(&hostile.fixture, SPAN_WINDOWS);
    ck_assert_uint_ne(fixture_codebook(&hostile.fixture, SPAN_WINDOWS), 0);
    collection->index_kind = CONFIG_INDEX_AUTO;
    seal_span(&hostile.fixture);
    find_span(&hostile);
    ck_assert_int_eq(worker_remote_codebook(hostile.pool, &hostile.run, 0, &out, ERROR_IGNORED), 0);
    ck_assert_uint_gt(out.size, REMOTE_CHECKSUM_BYTES);
    buffer_destroy(&out);
    hostile_close(&hostile);
}
END_TEST

TEST_TABLE(TEST(segment_travels_over_tls_between_two_that_know_each_other),
           TEST(builder_without_room_for_a_graph_brings_lists_once),
           TEST(job_of_an_owner_that_is_gone_is_built_for_the_next_one),
           TEST(segment_of_a_killed_builder_is_built_by_another_and_swapped_in_by_the_owner),
           TEST(what_is_no_segment_is_never_swapped_in_and_leaves_nothing),
           TEST(uploads_in_any_order_attach_nothing_and_leave_nothing),
           TEST(span_is_built_by_another_process_and_swapped_in_by_the_owner),
           TEST(span_is_only_what_was_built_over_its_runs_as_they_are),
           TEST(span_that_a_builder_gave_up_is_not_queued_again),
           TEST(span_of_few_windows_shares_the_codebook_of_a_window))
