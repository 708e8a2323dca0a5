/* Owners that come during a question, and owners that have fallen silent. */
#include <pthread.h>
#include <unistd.h>

#include "store/lease.h"
#include "store/registry.h"
#include "tests/cluster/exchange_stage.h"

static const struct fake_node all_of_first = {"n0", 1000000, 0, SHARDS};
static const struct fake_node all_of_second = {"n1", 900000, 0, SHARDS};

/* The first node has given its shards away; that the second one has them is heard now. */
static void announce_second(struct stage *stage)
{
    const int before = stage_outcomes(stage, "taken");

    UNTIL(stage_outcomes(stage, "taken") > before, stage_announce_fake(stage, 1, all_of_second));
}

START_TEST(a_shard_that_moves_during_a_search_is_looked_for_again)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    atomic_store(&stage.fakes[0].behaviour, MOVED);
    stage.moved = announce_second;
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(counts.answered, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 1);
    ck_assert_uint_eq(stage.fakes[1].asked, 1);
    stage_close(&stage);
}
END_TEST

static void *announce_late(void *context)
{
    usleep(50000);
    announce_second(context);
    return NULL;
}

static pthread_t late;

static void announce_second_later(struct stage *stage)
{
    ck_assert_int_eq(pthread_create(&late, NULL, announce_late, stage), 0);
}

/* The node that has given its shards away knows of their next owner earlier than the asking one. */
START_TEST(the_next_owner_of_a_shard_that_moved_is_waited_for)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    atomic_store(&stage.fakes[0].behaviour, MOVED);
    stage.moved = announce_second_later;
    counts = stage_call(&stage, &taken);
    ck_assert_int_eq(pthread_join(late, NULL), 0);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(counts.answered, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

static void announce_newer_owner(struct stage *stage)
{
    const int before = stage_outcomes(stage, "taken");

    stage->generation = 5;
    UNTIL(stage_outcomes(stage, "taken") > before,
          stage_announce_fake(stage, 1, (struct fake_node){"n1", 900000, 0, 1}));
}

/* The first node has not heard that the second one has taken shard 0 over, and answers for all. */
START_TEST(what_a_node_answered_in_an_older_generation_than_is_heard_by_then_is_discarded)
{
    static const char series[] = "windrow_cluster_requests_total{outcome=\"superseded\"} ";
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage.generation = stage.answered_generations[0] = 4;
    stage.answered_generations[1] = 5;
    stage_announce_nodes(&stage, &all_of_first, 1);
    stage.answered = announce_newer_owner;
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 3); /* the first one again, for what is its own */
    ck_assert_uint_eq(counts.answered, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 2);
    ck_assert_uint_eq(stage.fakes[1].asked, 1);
    ck_assert_int_eq(asker_metric(&stage.asker, series), 1);
    stage_close(&stage);
}
END_TEST

static void claim_all(struct stage *stage)
{
    static const char *const shards[SHARDS] = {"0", "1", "2"};
    struct store_shard *shard;
    struct error error = {0};

    for (int i = 0; i < SHARDS; i++)
        ck_assert_msg(store_registry_claim(stage->asker.registry, &stage->asker.collection,
                                           shards[i], &shard, &error) == 0,
                      "%s", error.text);
}

/* The asking node has given no shard away and hears of no other owner: it is the next one itself. */
START_TEST(a_shard_that_moves_to_the_asking_node_during_a_search_is_answered_there)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    atomic_store(&stage.fakes[0].behaviour, MOVED);
    stage.moved = claim_all;
    counts = stage_call_while_time_passes(&stage, &taken);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(taken.own_shards, SHARDS);
    ck_assert_uint_eq(counts.asked, 1); /* other nodes */
    ck_assert_uint_eq(counts.answered, 1);
    store_registry_close_all(stage.asker.registry, false);
    stage_close(&stage);
}
END_TEST

enum { PATIENT_MS = 2000 };

/* Killed: it is still announced. */
START_TEST(a_patient_call_waits_for_the_next_owner_of_a_node_that_is_gone)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    http_server_stop(stage.fakes[0].server);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, 0);
    stage.patient_ms = PATIENT_MS;
    announce_second_later(&stage);
    counts = stage_call(&stage, &taken);
    ck_assert_int_eq(pthread_join(late, NULL), 0);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(counts.answered, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

static void *come_back_late(void *context)
{
    struct stage *stage = context;
    const int before = stage_outcomes(stage, "taken");

    UNTIL(atomic_load(&stage->fakes[0].asked) > 0, (void)0);
    usleep(50000);
    asker_pass(&stage->asker, SECOND_NS / 1000);
    atomic_store(&stage->fakes[0].behaviour, GOOD);
    UNTIL(stage_outcomes(stage, "taken") > before, stage_announce_fake(stage, 0, all_of_first));
    return NULL;
}

START_TEST(a_patient_call_asks_a_node_again_that_has_come_back)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    asker_settle(&stage.asker);
    atomic_store(&stage.fakes[0].behaviour, UNAVAILABLE); /* it stops, or hands a shard over */
    stage.patient_ms = PATIENT_MS;
    ck_assert_int_eq(pthread_create(&late, NULL, come_back_late, &stage), 0);
    counts = stage_call(&stage, &taken);
    ck_assert_int_eq(pthread_join(late, NULL), 0);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

START_TEST(a_patient_call_ends_before_its_deadline)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;
    int64_t begun_ns;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    http_server_stop(stage.fakes[0].server);
    stage.patient_ms = PATIENT_MS;
    begun_ns = io_monotonic_ns(&stage.asker.io);
    counts = stage_call_while_time_passes(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, 0);
    ck_assert_int_ge(io_monotonic_ns(&stage.asker.io) - begun_ns, PATIENT_MS * INT64_C(1000000));
    ck_assert_int_lt(io_monotonic_ns(&stage.asker.io) - begun_ns, TIMEOUT_MS * INT64_C(1000000));
    stage_close(&stage);
}
END_TEST

/* Time does not pass: whoever waits does not end. */
START_TEST(a_patient_call_does_not_wait_for_busy_nodes_or_while_a_shard_has_to_close)
{
    static const enum behaviour failing[] = {OVERLOADED, TOO_LATE, GARBAGE, MOVED};
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_nodes(&stage, &all_of_first, 1);
    stage.patient_ms = PATIENT_MS;
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        atomic_store(&stage.fakes[0].behaviour, failing[i]);
        atomic_store(&stage.closes, failing[i] == MOVED);
        counts = failing[i] == MOVED ? stage_call_while_time_passes(&stage, &taken)
                                     : stage_call(&stage, &taken);
        ck_assert_uint_eq(counts.asked, 1);
        ck_assert_uint_eq(taken.shards, 0);
    }
    stage_close(&stage);
}
END_TEST

static void *claim_late(void *context)
{
    struct stage *stage = context;
    struct store_shard *shard;
    struct error error = {0};

    usleep(50000);
    ck_assert_msg(store_registry_claim(stage->asker.registry, &stage->asker.collection, "0", &shard,
                                       &error) == 0,
                  "%s", error.text);
    return NULL;
}

/* Of two nodes one was killed: its shards come to the one that is asked. */
START_TEST(a_shard_that_comes_to_the_asking_process_is_answered_there)
{
    static const struct store_expected_shard expected = {"0", "topic[0]"};
    static struct stage stage;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    stage_open(&stage);
    store_registry_expect(stage.asker.registry, "news", &expected, 1);
    stage_announce_nodes(&stage, &all_of_first, 1);
    http_server_stop(stage.fakes[0].server);
    options = (struct query_view_options){.collection = &stage.asker.collection,
                                          .registry = stage.asker.registry,
                                          .io = &stage.asker.io,
                                          .whole = true,
                                          .peers = cluster_peers(stage.cluster)};
    ck_assert_msg(query_view_open(&options, &view, &error) == 0, "%s", error.text);
    ck_assert_int_eq(pthread_create(&late, NULL, claim_late, &stage), 0);
    ck_assert_msg(query_count(view, NULL, &count, &error) == 0, "%s", error.text);
    ck_assert_int_eq(pthread_join(late, NULL), 0);
    ck_assert(query_view_whole(view));
    ck_assert_uint_eq(query_view_peers(view).asked, 1);
    query_view_close(view);
    store_registry_close_all(stage.asker.registry, false);
    stage_close(&stage);
}
END_TEST

/* Time passes, and nobody but those in `heard` says anything. Returns when the asking node has noticed. */
static void fall_silent(struct stage *stage, const struct fake_node *heard, int count, int silent)
{
    asker_settle(&stage->asker);
    asker_pass(&stage->asker, 4 * SECOND_NS);
    UNTIL(stage_gauge(stage, "windrow_cluster_silent_nodes") == silent, {
        for (int i = 0; i < count; i++)
            stage_announce_fake(stage, i, heard[i]);
    });
}

static void stage_open_and_announce(struct stage *stage)
{
    struct error error = {0};

    stage_open(stage);
    stage_announce_both(stage); /* before this node hears itself, which counts as well */
    ck_assert_int_eq(cluster_announce(stage->cluster, 1, &error), 0);
}

START_TEST(a_silent_node_that_lives_answers_where_nobody_else_does)
{
    static const struct fake_node some_of_first = {"n0", 1000000, 0, 1};
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open_and_announce(&stage);
    fall_silent(&stage, NULL, 0, 2);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    /* The second one is asked for what the first, which is heard again, has no more. */
    fall_silent(&stage, &some_of_first, 1, 1);
    atomic_store(&stage.fakes[1].asked, 0);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[1].asked, 1);
    stage_close(&stage);
}
END_TEST

START_TEST(a_silent_node_is_asked_and_not_waited_for)
{
    static struct stage stage;
    const struct query_peers *peers;

    stage_open_and_announce(&stage);
    fall_silent(&stage, NULL, 0, 2);
    peers = cluster_peers(stage.cluster);
    ck_assert(peers->serves(peers->context, &stage.asker.collection, "0"));
    ck_assert(peers->reaches(peers->context, &stage.asker.collection, "0", INT64_MAX));
    ck_assert(!peers->reaches(peers->context, &stage.asker.collection, "77", 0));
    stage_close(&stage);
}
END_TEST

START_TEST(a_silent_node_is_asked_after_one_that_is_heard)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open_and_announce(&stage);
    for (int i = 0; i < NODES - 1; i++)
        atomic_store(&stage.fakes[i].asked, 0);
    /* The second one has less, and is heard. */
    asker_settle(&stage.asker);
    asker_pass(&stage.asker, 2 * SECOND_NS);
    announce_second(&stage);
    asker_pass(&stage.asker, 2 * SECOND_NS);
    UNTIL(stage_gauge(&stage, "windrow_cluster_silent_nodes") == 1, announce_second(&stage));
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[1].asked, 1);
    atomic_store(&stage.fakes[1].behaviour, UNAVAILABLE);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 1);
    stage_close(&stage);
}
END_TEST

START_TEST(a_silent_node_that_fails_is_left_alone_for_a_while)
{
    enum { SEARCHES = 20 };
    static struct stage stage;
    struct taken taken;

    stage_open_and_announce(&stage);
    fall_silent(&stage, NULL, 0, 2);
    for (int i = 0; i < NODES - 1; i++)
        http_server_stop(stage.fakes[i].server);
    for (int again = 0; again < 2; again++) {
        unsigned asked = 0;
        for (int i = 0; i < SEARCHES; i++) {
            asked += (unsigned)stage_call(&stage, &taken).asked;
            ck_assert_uint_eq(taken.shards, 0);
        }
        ck_assert_uint_eq(asked, NODES - 1); /* each once, and again after three seconds */
        asker_pass(&stage.asker, 4 * SECOND_NS);
    }
    stage_close(&stage);
}
END_TEST

/* Whoever hangs is waited for by one search, and not until its deadline. */
START_TEST(a_silent_node_that_hangs_is_given_up)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;
    int64_t deadline_ns;

    stage_open_and_announce(&stage);
    fall_silent(&stage, NULL, 0, 2);
    for (int i = 0; i < NODES - 1; i++)
        atomic_store(&stage.fakes[i].behaviour, SLOW);
    deadline_ns = io_monotonic_ns(&stage.asker.io) + (int64_t)TIMEOUT_MS * 1000000;
    counts = stage_call_while_time_passes(&stage, &taken);
    ck_assert_uint_eq(counts.answered, 0);
    ck_assert_int_lt(io_monotonic_ns(&stage.asker.io), deadline_ns);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 0);
    stage_close(&stage);
}
END_TEST

TEST_TABLE(TEST(a_shard_that_moves_during_a_search_is_looked_for_again),
           TEST(what_a_node_answered_in_an_older_generation_than_is_heard_by_then_is_discarded),
           TEST(the_next_owner_of_a_shard_that_moved_is_waited_for),
           TEST(a_shard_that_moves_to_the_asking_node_during_a_search_is_answered_there),
           TEST(a_patient_call_waits_for_the_next_owner_of_a_node_that_is_gone),
           TEST(a_patient_call_asks_a_node_again_that_has_come_back),
           TEST(a_patient_call_ends_before_its_deadline),
           TEST(a_patient_call_does_not_wait_for_busy_nodes_or_while_a_shard_has_to_close),
           TEST(a_shard_that_comes_to_the_asking_process_is_answered_there),
           TEST(a_silent_node_that_lives_answers_where_nobody_else_does),
           TEST(a_silent_node_is_asked_and_not_waited_for),
           TEST(a_silent_node_is_asked_after_one_that_is_heard),
           TEST(a_silent_node_that_fails_is_left_alone_for_a_while),
           TEST(a_silent_node_that_hangs_is_given_up))
