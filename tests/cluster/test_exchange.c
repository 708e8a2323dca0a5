/* Questions to nodes that behave and to nodes that do not. What a good answer holds is not looked at
 * here: tests/indexer/query/test_gather.c does that. */
#include <stdio.h>
#include <string.h>

#include "store/registry.h"
#include "tests/cluster/exchange_stage.h"
#include "tests/support/certificates.h"

START_TEST(one_request_for_all_shards_of_a_node)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(counts.answered, 1);
    ck_assert_uint_eq(taken.answers, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 1);
    ck_assert_uint_eq(stage.fakes[1].asked, 0);
    stage_close(&stage);
}
END_TEST

START_TEST(a_node_that_understands_no_request_of_ours_is_not_asked)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage.protocols[0][0] = QUERY_PROTOCOL + 1;
    stage.protocols[0][1] = QUERY_PROTOCOL + 2;
    stage.protocols[1][0] = QUERY_PROTOCOL_OLDEST;
    stage.protocols[1][1] = QUERY_PROTOCOL + 1;
    stage_announce_both(&stage);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 0);
    ck_assert_uint_eq(stage.fakes[1].asked, 1);
    stage_close(&stage);
}
END_TEST

START_TEST(a_node_that_fails_is_passed_over_at_once)
{
    static const enum behaviour failing[] = {GARBAGE, UNAVAILABLE, OVERLOADED};
    static struct stage stage;

    stage_open(&stage);
    stage_announce_both(&stage);
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        struct query_peer_counts counts;
        struct taken taken;
        atomic_store(&stage.fakes[0].behaviour, failing[i]);
        counts = stage_call(&stage, &taken);
        ck_assert_uint_eq(counts.asked, 2);
        ck_assert_uint_eq(counts.answered, 1);
        ck_assert_uint_eq(taken.shards, SHARDS);
        ck_assert_uint_eq(stage.fakes[1].asked, i + 1);
    }
    stage_close(&stage);
}
END_TEST

START_TEST(nodes_send_the_internal_key_and_its_successor_when_it_changes)
{
    static struct stage stage;
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage);
    for (int i = 0; i < NODES; i++) {
        stage.fakes[i].config.http_api_key = "chief";
        stage.fakes[i].config.http_internal_key = "node\nfresh";
    }
    stage.asker.config.http_api_key = "another";
    (void)stage_call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, 0);
    stage.asker.config.http_internal_key = "node";
    (void)stage_call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage.asker.config.http_internal_key = "fresh\nnode";
    for (int i = 0; i < NODES; i++)
        stage.fakes[i].config.http_internal_key = "fresh";
    (void)stage_call(&stage, &taken);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

/* Starts the server of a node again, over TLS. */
static void serve_with(struct fake *fake, const char *certificate)
{
    fake_close(fake);
    fake->config.http_tls_cert_file = test_certificate(certificate);
    fake->config.http_tls_key_file = test_certificate("key.pem");
    fake->config.http_tls_client_ca_file = test_certificate("ca.pem");
    fake_start(fake);
}

static void open_with_certificates(struct stage *stage, const char *first)
{
    stage_open(stage);
    serve_with(&stage->fakes[0], first);
    serve_with(&stage->fakes[1], "good.pem");
    stage->asker.config.http_tls_cert_file = test_certificate("good.pem");
    stage->asker.config.http_tls_key_file = test_certificate("key.pem");
    stage->asker.config.http_tls_ca_file = test_certificate("ca.pem");
    stage->asker.config.http_tls_crl_file = test_certificate("ca.crl");
    stage->asker.config.http_tls_client_ca_file = test_certificate("ca.pem");
    stage_announce_both(stage);
}

/* The other one has the shards as well. */
START_TEST(nodes_whose_certificate_is_wrong_are_passed_over)
{
    static const char *const wrong[] = {"expired.pem", "elsewhere.pem", "untrusted.pem",
                                        "revoked.pem"};
    static struct stage stage;
    struct taken taken;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        open_with_certificates(&stage, wrong[i]);
        ck_assert_uint_eq(stage_call(&stage, &taken).asked, 2);
        ck_assert_uint_eq(taken.shards, SHARDS);
        ck_assert_uint_eq(stage.fakes[0].asked, 0);
        stage_close(&stage);
        open_with_certificates(&stage, wrong[i]);
        stage.asker.config.http_tls_client_ca_file =
            NULL; /* without one of its own it is refused */
        (void)stage_call(&stage, &taken);
        ck_assert_uint_eq(taken.shards, 0);
        stage_close(&stage);
    }
}
END_TEST

START_TEST(a_node_that_is_gone_or_overloaded_is_asked_last)
{
    enum { SEARCHES = 50 };
    static const enum behaviour failing[] = {GOOD, OVERLOADED, TOO_LATE};
    static struct stage stage;
    struct taken taken;

    for (int i = 0; i < 3; i++) {
        unsigned asked = 0;
        stage_open(&stage);
        stage_announce_both(&stage);
        atomic_store(&stage.fakes[0].behaviour, failing[i]);
        if (failing[i] == GOOD)
            http_server_stop(stage.fakes[0].server);
        for (int k = 0; k < SEARCHES; k++) {
            asked += (unsigned)stage_call(&stage, &taken).asked;
            ck_assert_uint_eq(taken.shards, SHARDS);
        }
        /* The other one each time, this one once, and then a probe a second. */
        ck_assert_uint_eq(asked, SEARCHES + 1);
        asker_pass(&stage.asker, SECOND_NS);
        ck_assert_uint_eq(stage_call(&stage, &taken).asked, 2);
        ck_assert_uint_eq(stage_call(&stage, &taken).asked, 1);
        stage_close(&stage);
    }
}
END_TEST

/* Without a hedge the call would wait for its deadline. */
START_TEST(a_slow_node_is_hedged_and_then_asked_last)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage);
    atomic_store(&stage.fakes[0].behaviour, SLOW);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.hedged, 1);
    ck_assert_uint_eq(counts.answered, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.hedged, 0);
    ck_assert_uint_eq(counts.asked, 1);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

static void release_first(struct stage *stage)
{
    atomic_store(&stage->fakes[0].released, true);
}

/* Else the shards would be missing although their owner is about to answer. */
START_TEST(a_hedge_without_shards_leaves_the_slow_request_alone)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage);
    atomic_store(&stage.fakes[0].behaviour, SLOW);
    atomic_store(&stage.fakes[1].behaviour, MOVED);
    stage.moved = release_first;
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 2);
    ck_assert_uint_eq(counts.answered, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 1);
    stage_close(&stage);
}
END_TEST

static void announce_all(struct stage *stage)
{
    static const struct fake_node nodes[NODES] = {
        {"n0", 1000000, 0, SHARDS}, {"n1", 900000, 0, 2}, {"n2", 800000, 2, 1}};

    stage_announce_nodes(stage, nodes, NODES);
}

START_TEST(a_slow_node_is_hedged_to_several_that_share_its_shards)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    announce_all(&stage);
    for (int i = 0; i < 25; i++) /* earns a second hedge */
        (void)stage_call(&stage, &taken);
    atomic_store(&stage.fakes[0].behaviour, SLOW);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.hedged, 2);
    ck_assert_uint_eq(taken.answers, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    stage_close(&stage);
}
END_TEST

/* It has stopped, and nobody else has its shards: they are missing before the deadline. */
START_TEST(a_silent_node_is_not_waited_for)
{
    static struct stage stage;
    int64_t deadline_ns;
    struct query_peer_counts counts;
    struct error error = {0};
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage); /* before this node hears itself, which counts as well */
    ck_assert_int_eq(cluster_announce(stage.cluster, 1, &error), 0);
    for (int i = 0; i < NODES; i++)
        atomic_store(&stage.fakes[i].behaviour, SLOW);
    deadline_ns = io_monotonic_ns(&stage.asker.io) + (int64_t)TIMEOUT_MS * 1000000;
    counts = stage_call_while_time_passes(&stage, &taken);
    ck_assert_uint_eq(counts.answered, 0);
    ck_assert_uint_eq(taken.shards, 0);
    ck_assert_int_lt(io_monotonic_ns(&stage.asker.io), deadline_ns);
    stage_close(&stage);
}
END_TEST

/* No shard is answered for twice: a count would have its rows twice. */
START_TEST(a_hedge_with_some_shards_leaves_the_rest_to_the_slow_node)
{
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage);
    atomic_store(&stage.fakes[0].behaviour, SLOW_ONCE);
    atomic_store(&stage.fakes[1].behaviour, PARTLY);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 3);
    ck_assert_uint_eq(counts.hedged, 1);
    ck_assert_uint_eq(taken.answers, 2);
    ck_assert_uint_eq(taken.shards, SHARDS);
    ck_assert_uint_eq(stage.fakes[0].asked, 2);
    stage_close(&stage);
}
END_TEST

START_TEST(shards_stay_unanswered_when_everybody_fails)
{
    static const enum behaviour failing[] = {GARBAGE, UNAVAILABLE, OVERLOADED, TOO_LATE};
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    stage_announce_both(&stage);
    for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
        for (int k = 0; k < NODES; k++)
            atomic_store(&stage.fakes[k].behaviour, failing[i]);
        counts = stage_call(&stage, &taken);
        ck_assert_uint_eq(counts.asked, 2); /* nobody twice */
        ck_assert_uint_eq(counts.answered, 0);
        ck_assert_uint_eq(taken.shards, 0);
    }
    stage_close(&stage);
}
END_TEST

static bool nobody_waits(void *context)
{
    const struct stage *stage = context;

    return atomic_load(&stage->fakes[0].asked) + atomic_load(&stage->fakes[1].asked) == 2;
}

/* Both nodes are busy by then: the first one, and the one that was to be faster. */
START_TEST(nodes_get_less_time_than_there_is_and_end_with_the_asking_request)
{
    enum { ANNOUNCED = 2 };
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;
    struct stop stop;

    stage_open(&stage);
    stage_announce_both(&stage);
    for (int i = 0; i < ANNOUNCED; i++)
        atomic_store(&stage.fakes[i].behaviour, SLOW);
    stop_create(&stop, io_posix());
    stop.abandoned = nobody_waits;
    stop.context = &stage;
    counts = stage_call_until(&stage, &taken, &stop);
    ck_assert_uint_eq(counts.asked, ANNOUNCED);
    ck_assert_uint_eq(counts.answered, 0);
    for (int i = 0; i < ANNOUNCED; i++) {
        while (atomic_load(&stage.fakes[i].ended) == 0)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        ck_assert_int_eq(atomic_load(&stage.fakes[i].ended), ERROR_CANCELLED);
        ck_assert_int_gt(atomic_load(&stage.fakes[i].timeout_ms), 0);
        ck_assert_int_lt(atomic_load(&stage.fakes[i].timeout_ms), TIMEOUT_MS / 32 * 31 + 1);
    }
    stage_close(&stage);
}
END_TEST

START_TEST(announcements_of_others_are_counted_and_ignored)
{
    static const char subject[] = "windrow.cluster.test.nodes";
    static const char truncated[] = "\x86\xa1v\x01";
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;

    stage_open(&stage);
    UNTIL(stage_outcomes(&stage, "malformed") >= 4 &&
              stage_outcomes(&stage, "foreign_cluster") >= 2 &&
              stage_outcomes(&stage, "version") >= 2,
          {
              stage_announce(&stage, "other", "n0", http_server_port(stage.fakes[0].server), 10, 0,
                             SHARDS);
              stage.version = 2;
              stage_announce_fake(&stage, 0, (struct fake_node){"n0", 10, 0, SHARDS});
              stage.version = 0;
              (void)natsConnection_PublishString(stage.asker.connection, subject, "hello");
              (void)natsConnection_Publish(stage.asker.connection, subject, truncated,
                                           sizeof(truncated) - 1);
              (void)natsConnection_Flush(stage.asker.connection);
          });
    ck_assert_int_eq(stage_outcomes(&stage, "taken"), 0);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 0);
    stage_close(&stage);
}
END_TEST

/* What follows the host would choose another one, or another route. */
START_TEST(addresses_that_are_more_than_host_and_port_are_not_called)
{
    static const char *const addresses[] = {"there@127.0.0.1:%u", "127.0.0.1:%u/backup?",
                                            "127.0.0.1:%u?", "127.0.0.1:%u#", "127.0.0.1 :%u"};
    static struct stage stage;
    struct query_peer_counts counts;
    struct taken taken;
    int refused = 0;

    stage_open(&stage);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        stage.address = addresses[i];
        UNTIL(stage_outcomes(&stage, "malformed") > refused,
              stage_announce_fake(&stage, 0, (struct fake_node){"n0", 10, 0, SHARDS}));
        refused = stage_outcomes(&stage, "malformed");
    }
    ck_assert_int_eq(stage_outcomes(&stage, "taken"), 0);
    counts = stage_call(&stage, &taken);
    ck_assert_uint_eq(counts.asked, 0);
    stage_close(&stage);
}
END_TEST

/* Time until an announcement that offers so many shards. */
static int64_t announced_ns(natsSubscription *announcements, uint32_t shards)
{
    const int64_t start_ns = io_monotonic_ns(io_posix());
    bool found = false;

    while (!found) {
        natsMsg *message = NULL;
        struct arena arena;
        struct doc doc;
        struct error error = {0};
        const struct doc *collections;
        ck_assert_int_eq(natsSubscription_NextMsg(&message, announcements, TIMEOUT_MS), NATS_OK);
        arena_create(&arena, 0);
        ck_assert_int_eq(doc_parse_msgpack(&arena, (const uint8_t *)natsMsg_GetData(message),
                                           (size_t)natsMsg_GetDataLength(message), NULL, &doc,
                                           &error),
                         0);
        collections = doc_get(&doc, "collections");
        found = doc_get(&collections->items[0], "shards")->count == shards;
        arena_destroy(&arena);
        natsMsg_Destroy(message);
    }
    return io_monotonic_ns(io_posix()) - start_ns;
}

/* Not after the rest of the period: that is how long searches would call the shard missing. */
START_TEST(a_shard_that_comes_is_announced_at_once)
{
    enum { CHANGES = 6 };
    static struct stage stage;
    natsSubscription *announcements;
    struct store_shard *shard;
    struct error error = {0};
    int64_t period_ns, changes_ns = 0;

    stage_open(&stage);
    ck_assert_int_eq(natsConnection_SubscribeSync(&announcements, stage.asker.connection,
                                                  "windrow.cluster.test.nodes"),
                     NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(stage.asker.connection), NATS_OK);
    ck_assert_int_eq(cluster_announce(stage.cluster, 1, &error), 0);
    (void)announced_ns(announcements, 0);
    period_ns = announced_ns(announcements, 0);
    ck_assert_msg(store_registry_claim(stage.asker.registry, &stage.asker.collection, "0", &shard,
                                       &error) == 0,
                  "%s", error.text);
    changes_ns += announced_ns(announcements, 1);
    for (int i = 0; i < CHANGES; i++) {
        store_registry_set_behind(stage.asker.registry, "news", "0", i % 2 == 0);
        changes_ns += announced_ns(announcements, i % 2 == 0 ? 0 : 1);
    }
    ck_assert_int_lt(changes_ns, period_ns * CHANGES / 2);
    cluster_leave(stage.cluster);
    store_registry_close_all(stage.asker.registry, false);
    natsSubscription_Destroy(announcements);
    stage_close(&stage);
}
END_TEST

/* Whether an announcement says so of shard 0. */
static bool announces_claim(natsSubscription *announcements)
{
    natsMsg *message = NULL;
    struct arena arena;
    struct doc doc;
    struct error error = {0};
    const struct doc *claims;
    bool found;

    ck_assert_int_eq(natsSubscription_NextMsg(&message, announcements, TIMEOUT_MS), NATS_OK);
    arena_create(&arena, 0);
    ck_assert_int_eq(doc_parse_msgpack(&arena, (const uint8_t *)natsMsg_GetData(message),
                                       (size_t)natsMsg_GetDataLength(message), NULL, &doc, &error),
                     0);
    claims = doc_get(&doc_get(&doc, "collections")->items[0], "claims");
    found = claims->count == 1 && doc_string_equals(&claims->items[0].items[0], "0") &&
            claims->items[0].items[1].integer == 7 &&
            doc_string_equals(&claims->items[0].items[2], "behind");
    arena_destroy(&arena);
    natsMsg_Destroy(message);
    return found;
}

/* Else those who keep it would close it after a minute, while it is copied. */
START_TEST(a_shard_whose_copy_is_on_its_way_is_claimed)
{
    static struct stage stage;
    natsSubscription *announcements;
    struct error error = {0};

    stage_open(&stage);
    ck_assert_int_eq(natsConnection_SubscribeSync(&announcements, stage.asker.connection,
                                                  "windrow.cluster.test.nodes"),
                     NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(stage.asker.connection), NATS_OK);
    store_registry_set_ownership(stage.asker.registry, (struct store_ownership){1, 7});
    ck_assert_int_eq(cluster_announce(stage.cluster, 1, &error), 0);
    for (int coming = 1; coming >= 0; coming--) {
        store_registry_set_coming(stage.asker.registry, "news", "0", coming);
        while (announces_claim(announcements) != coming)
            ;
    }
    natsSubscription_Destroy(announcements);
    stage_close(&stage);
}
END_TEST

TEST_TABLE(TEST(a_shard_whose_copy_is_on_its_way_is_claimed),
           TEST(one_request_for_all_shards_of_a_node),
           TEST(a_node_that_understands_no_request_of_ours_is_not_asked),
           TEST(a_node_that_fails_is_passed_over_at_once),
           TEST(nodes_send_the_internal_key_and_its_successor_when_it_changes),
           TEST(nodes_whose_certificate_is_wrong_are_passed_over),
           TEST(a_node_that_is_gone_or_overloaded_is_asked_last),
           TEST(a_slow_node_is_hedged_and_then_asked_last),
           TEST(a_slow_node_is_hedged_to_several_that_share_its_shards),
           TEST(a_silent_node_is_not_waited_for),
           TEST(a_hedge_without_shards_leaves_the_slow_request_alone),
           TEST(a_hedge_with_some_shards_leaves_the_rest_to_the_slow_node),
           TEST(shards_stay_unanswered_when_everybody_fails),
           TEST(nodes_get_less_time_than_there_is_and_end_with_the_asking_request),
           TEST(announcements_of_others_are_counted_and_ignored),
           TEST(addresses_that_are_more_than_host_and_port_are_not_called),
           TEST(a_shard_that_comes_is_announced_at_once))
