/* Who is asked for a shard, by what nodes announce over a real NATS server. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cluster/members.h"
#include "store/lease.h"
#include "store/registry.h"
#include "tests/cluster/asker.h"

struct stage {
    struct asker asker;
    struct members *members;
    struct store_shard *shard; /* "0", claimed in generation 3 */
};

static void stage_open(struct stage *stage)
{
    struct error error = {0};

    asker_open(&stage->asker);
    store_registry_set_ownership(stage->asker.registry, (struct store_ownership){1, 3});
    ck_assert_int_eq(store_registry_claim(stage->asker.registry, &stage->asker.collection, "0",
                                          &stage->shard, &error),
                     0);
    stage->asker.options.roles = CONFIG_ROLE_INGEST;
    ck_assert_msg(members_open(&stage->asker.options, &stage->members, &error) == 0, "%s",
                  error.text);
}

static void stage_close(struct stage *stage)
{
    members_close(stage->members);
    store_registry_close_all(stage->asker.registry, false);
    asker_close(&stage->asker);
}

/* `rest` are the keys of its only collection, after the shards that the node expects. */
static void announce_expecting(struct stage *stage, const char *node, const char *group,
                               bool draining, const char *expected, const char *rest)
{
    static const struct doc_limits limits = {.max_bytes = 1000, .max_depth = 8};
    struct error error = {0};
    struct arena arena;
    struct doc doc;
    char text[500];

    arena_create(&arena, 0);
    (void)snprintf(text, sizeof(text),
                   "{\"v\": 1, \"cluster\": \"test\", \"node\": \"%s\", \"incarnation\": 1, "
                   "\"address\": \"127.0.0.1:1\", \"roles\": [\"ingest\"], \"group\": \"%s\", "
                   "\"draining\": %s, "
                   "\"collections\": [{\"name\": \"news\", \"expected\": [%s], %s}]}",
                   node, group, draining ? "true" : "false", expected, rest);
    ck_assert_msg(doc_parse_json(&arena, text, strlen(text), &limits, &doc, &error) == 0, "%s",
                  error.text);
    asker_publish(&stage->asker, &doc);
    arena_destroy(&arena);
}

static void announce(struct stage *stage, const char *node, const char *group, bool draining,
                     const char *rest)
{
    announce_expecting(stage, node, group, draining, "", rest);
}

/* Names of those who are asked for shard 0, best first. */
static bool owners_are(struct stage *stage, const char *expected)
{
    struct nodes_owner owners[4];
    struct arena arena;
    char names[100] = "";
    size_t count, used = 0;

    arena_create(&arena, 0);
    count = nodes_owners(members_nodes(stage->members), "news", "0", &arena, owners, 4);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s ", owners[i].node);
    arena_destroy(&arena);
    return strcmp(names, expected) == 0;
}

static bool is_fenced(struct stage *stage)
{
    struct store_lease lease;

    ck_assert(store_registry_acquire_shard(stage->asker.registry, "news", "0", &lease));
    store_registry_release(stage->asker.registry, &lease);
    return lease.fenced;
}

START_TEST(of_two_owners_in_one_group_the_newer_generation_is_asked)
{
    static const char *const old = "\"shards\": [[\"0\", 9000, 0, 4]]";
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "a "), announce(&stage, "a", "other-group", false, old));
    ck_assert(!is_fenced(&stage)); /* generations of another group say nothing here */
    UNTIL(owners_are(&stage, "a b "),
          announce(&stage, "b", "other-group", false, "\"shards\": [[\"0\", 8000, 0]]"));
    /* The newer one is asked although the older one is further; whose is not known stays. */
    UNTIL(owners_are(&stage, "b c "), {
        announce(&stage, "a", "other-group", false, old);
        announce(&stage, "b", "other-group", false, "\"shards\": [[\"0\", 8000, 0]]");
        announce(&stage, "c", "other-group", false, "\"shards\": [[\"0\", 10, 0, 5]]");
    });
    stage_close(&stage);
}
END_TEST

START_TEST(a_node_that_waits_to_answer_supersedes_all_but_one_that_drains)
{
    static const char *const old = "\"shards\": [[\"0\", 9000, 0, 4]]";
    static const char *const waiting = "\"shards\": [], \"claims\": [[\"0\", 5, \"behind\"]]";
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "a "), announce(&stage, "a", "other-group", false, old));
    UNTIL(owners_are(&stage, ""), {
        announce(&stage, "a", "other-group", false, old);
        announce(&stage, "b", "other-group", false, waiting);
    });
    UNTIL(owners_are(&stage, "a "), {
        announce(&stage, "a", "other-group", true, old);
        announce(&stage, "b", "other-group", false, waiting);
    });
    UNTIL(owners_are(&stage, ""), announce(&stage, "a", "other-group", false, old));
    UNTIL(owners_are(&stage, "a "),
          announce(&stage, "a", "other-group", false, "\"shards\": [[\"0\", 9000, 0, 4, true]]"));
    stage_close(&stage);
}
END_TEST

START_TEST(an_own_shard_is_fenced_while_a_newer_claim_is_heard)
{
    static struct stage stage;

    stage_open(&stage);
    UNTIL(is_fenced(&stage),
          announce(&stage, "a", "group", false, "\"shards\": [[\"0\", 10, 0, 4]]"));
    store_registry_set_ownership(stage.asker.registry, (struct store_ownership){1, 4});
    ck_assert(!is_fenced(&stage)); /* it came back */
    UNTIL(is_fenced(&stage), announce(&stage, "a", "group", false,
                                      "\"shards\": [], \"claims\": [[\"0\", 5, \"behind\"]]"));
    UNTIL(!is_fenced(&stage), (void)0); /* silence */
    stage_close(&stage);
}
END_TEST

/* `silent` nodes have not been heard for three seconds; nodes in `say` go on. */
#define PASS(stage, seconds, silent, say)                                                          \
    do {                                                                                           \
        asker_settle(&(stage)->asker);                                                             \
        asker_pass(&(stage)->asker, (seconds)*SECOND_NS);                                          \
        say;                                                                                       \
        UNTIL(silent_are(stage, silent), say);                                                     \
    } while (0)

/* Names of those who are silent, in GET /cluster. */
static bool silent_are(struct stage *stage, const char *expected)
{
    struct arena arena;
    struct doc described;
    const struct doc *nodes;
    char names[100] = "";
    size_t used = 0;

    arena_create(&arena, 0);
    members_describe(stage->members, &arena, &described);
    nodes = doc_get(&described, "nodes");
    for (uint32_t i = 0; i < nodes->count; i++)
        if (doc_get(&nodes->items[i], "silent")->boolean)
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%.*s ",
                                     (int)doc_get(&nodes->items[i], "node")->count,
                                     doc_get(&nodes->items[i], "node")->string);
    arena_destroy(&arena);
    return strcmp(names, expected) == 0;
}

static void stage_open_announcing(struct stage *stage)
{
    struct error error = {0};

    stage_open(stage);
    ck_assert_msg(members_announce(stage->members, 2, &error) == 0, "%s", error.text);
}

START_TEST(a_silent_node_is_the_last_owner_until_it_is_heard_again)
{
    static const char *const much = "\"shards\": [[\"0\", 9000, 0]]";
    static const char *const little = "\"shards\": [[\"0\", 10, 0]]";
    static struct stage stage;

    stage_open_announcing(&stage);
    UNTIL(owners_are(&stage, "a b "), {
        announce(&stage, "a", "other-group", false, much);
        announce(&stage, "b", "third-group", false, little);
    });
    PASS(&stage, 2, "", announce(&stage, "b", "third-group", false, little));
    PASS(&stage, 2, "a ", announce(&stage, "b", "third-group", false, little));
    ck_assert(owners_are(&stage, "b a "));
    UNTIL(owners_are(&stage, "a b "), announce(&stage, "a", "other-group", false, much));
    ck_assert(silent_are(&stage, ""));
    stage_close(&stage);
}
END_TEST

/* What it had may have moved: whoever has it in a newer generation takes its place, and it takes nobody's. */
START_TEST(a_silent_node_of_an_older_generation_is_not_asked)
{
    static const char *const newer = "\"shards\": [[\"0\", 10, 0, 5]]";
    static const char *const older = "\"shards\": [[\"0\", 9000, 0, 4]]";
    static const char *const waiting = "\"shards\": [], \"claims\": [[\"0\", 5, \"behind\"]]";
    static struct stage stage;

    stage_open_announcing(&stage);
    UNTIL(owners_are(&stage, "a "), announce(&stage, "a", "other-group", false, older));
    PASS(&stage, 4, "a ", (void)0);
    ck_assert(owners_are(&stage, "a "));
    UNTIL(owners_are(&stage, ""), announce(&stage, "b", "other-group", false, waiting));
    UNTIL(owners_are(&stage, "b "), announce(&stage, "b", "other-group", false, newer));
    /* Both are silent: the newer one is asked still. */
    PASS(&stage, 4, "b a ", (void)0);
    ck_assert(owners_are(&stage, "b "));
    /* The older one is heard, and so before the newer one. */
    UNTIL(owners_are(&stage, "a b "), announce(&stage, "a", "other-group", false, older));
    stage_close(&stage);
}
END_TEST

START_TEST(a_silent_node_is_gone_after_half_a_minute_without_an_answer)
{
    static const char *const shards = "\"shards\": [[\"0\", 10, 0]]";
    static const char address[] = "127.0.0.1:1";
    static struct stage stage;

    stage_open_announcing(&stage);
    UNTIL(owners_are(&stage, "a "), announce(&stage, "a", "other-group", false, shards));
    nodes_note(members_nodes(stage.members), address,
               false); /* while it is heard that is another matter */
    ck_assert(owners_are(&stage, "a "));
    PASS(&stage, 4, "a ", (void)0);
    for (int i = 0; i < 3; i++) {
        nodes_note(members_nodes(stage.members), address, true);
        asker_pass(&stage.asker, 20 * SECOND_NS);
        ck_assert(owners_are(&stage, "a "));
        ck_assert(nodes_reaches_readers(members_nodes(stage.members)));
    }
    nodes_note(members_nodes(stage.members), address, false);
    ck_assert(owners_are(&stage, ""));
    ck_assert(!nodes_reaches_readers(members_nodes(stage.members)));
    PASS(&stage, 4, "a ", (void)0);
    ck_assert(owners_are(&stage, "a ")); /* once more */
    PASS(&stage, 10, "", (void)0);
    ck_assert(owners_are(&stage, ""));
    ck_assert(
        !nodes_expects(members_nodes(stage.members), address, io_monotonic_ns(&stage.asker.io)));
    stage_close(&stage);
}
END_TEST

/* Their silence is this process's own: it keeps the last addresses, and for half a minute after it hears again. */
START_TEST(nobody_is_gone_while_this_process_cannot_hear)
{
    static const struct {
        int64_t seconds;
        bool hears;
        const char *owners;
    } steps[] = {{20, false, "a "}, {3600, false, "a "}, {29, true, "a "}, {2, true, ""}};
    static struct stage stage;
    struct nodes *nodes;
    size_t heard, silent;

    stage_open(&stage);
    nodes = members_nodes(stage.members);
    ck_assert(!nodes_reaches_readers(nodes));
    UNTIL(owners_are(&stage, "a "),
          announce(&stage, "a", "other-group", false, "\"shards\": [[\"0\", 10, 0]]"));
    asker_settle(&stage.asker);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const bool there = *steps[i].owners;
        asker_pass(&stage.asker, steps[i].seconds * SECOND_NS);
        nodes_judge(nodes, steps[i].hears, &heard, &silent);
        ck_assert_uint_eq(heard, 0);
        ck_assert_uint_eq(silent, there);
        ck_assert_msg(owners_are(&stage, steps[i].owners), "step %zu", i);
        ck_assert_int_eq(nodes_reaches_readers(nodes), there);
    }
    stage_close(&stage);
}
END_TEST

static size_t expected_count(struct stage *stage)
{
    struct store_expected_shard *shards;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_expected(stage->asker.registry, "news", &arena, &shards);
    arena_destroy(&arena);
    return count;
}

/* Announces what a node expects, and waits until that was heard. */
static size_t expected_after(struct stage *stage, const char *node, const char *expected)
{
    announce_expecting(stage, node, "group", false, expected, "\"shards\": []");
    asker_settle(&stage->asker);
    return expected_count(stage);
}

START_TEST(a_process_without_shards_expects_what_any_node_that_is_heard_expects)
{
    static const char *const two = "[\"1\", \"t[1]\"], [\"0\", \"t[0]\"]";
    static const char *const one = "[\"0\", \"t[0]\"]";
    static struct stage stage;
    struct error error = {0};
    size_t heard, silent;

    asker_open(&stage.asker);
    stage.asker.options.roles = CONFIG_ROLE_QUERY;
    ck_assert_int_eq(members_open(&stage.asker.options, &stage.members, &error), 0);
    UNTIL(expected_count(&stage) == 1,
          announce_expecting(&stage, "a", "group", false, one, "\"shards\": []"));
    ck_assert_uint_eq(expected_after(&stage, "b", two), 2);
    ck_assert_uint_eq(expected_after(&stage, "a", one), 2); /* it has not seen the new one yet */
    ck_assert_uint_eq(expected_after(&stage, "a", ""), 2);  /* it has just started */
    ck_assert_uint_eq(expected_after(&stage, "b", one), 1); /* nobody sees it any more */
    ck_assert_uint_eq(expected_after(&stage, "b", ""), 1);
    /* Nor does anybody who is heard. */
    ck_assert_uint_eq(expected_after(&stage, "b", two), 2);
    asker_pass(&stage.asker, 4 * SECOND_NS);
    nodes_judge(members_nodes(stage.members), true, &heard, &silent);
    ck_assert_uint_eq(silent, 2);
    ck_assert_uint_eq(expected_count(&stage), 2);
    ck_assert_uint_eq(expected_after(&stage, "a", one), 1);
    stage_close(&stage);
}
END_TEST

START_TEST(only_nodes_that_are_heard_take_over)
{
    static const char *const rest = "\"shards\": [[\"0\", 10, 0, 4]]";
    static struct stage stage;

    stage_open_announcing(&stage);
    UNTIL(nodes_taken_over(members_nodes(stage.members), "news", "0", 10),
          announce(&stage, "a", "group", false, rest));
    ck_assert_uint_eq(nodes_successors(members_nodes(stage.members)), 1);
    PASS(&stage, 4, "a ", (void)0);
    ck_assert(!nodes_taken_over(members_nodes(stage.members), "news", "0", 10));
    ck_assert_uint_eq(nodes_successors(members_nodes(stage.members)), 0);
    stage_close(&stage);
}
END_TEST

START_TEST(two_that_hand_a_shard_over_do_not_take_it_from_each_other)
{
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "a "),
          announce(&stage, "a", "group", false, "\"shards\": [[\"0\", 10, 0, 4, true]]"));
    ck_assert(!nodes_taken_over(members_nodes(stage.members), "news", "0", 10));
    UNTIL(nodes_taken_over(members_nodes(stage.members), "news", "0", 10),
          announce(&stage, "b", "group", false, "\"shards\": [[\"0\", 10, 0, 5]]"));
    ck_assert(!nodes_taken_over(members_nodes(stage.members), "news", "0", 11));
    stage_close(&stage);
}
END_TEST

static bool is_behind(struct stage *stage)
{
    struct store_lease lease;

    ck_assert(store_registry_acquire_shard(stage->asker.registry, "news", "0", &lease));
    store_registry_release(stage->asker.registry, &lease);
    return lease.behind;
}

START_TEST(an_own_shard_that_is_handed_over_answers_until_a_newer_claim_does)
{
    static struct stage stage;

    stage_open(&stage);
    store_registry_hand_over(stage.asker.registry, stage.shard);
    UNTIL(owners_are(&stage, ""), announce(&stage, "a", "group", false,
                                           "\"shards\": [], \"claims\": [[\"0\", 4, \"behind\"]]"));
    UNTIL(owners_are(&stage, "b "),
          announce(&stage, "b", "other-group", false, "\"shards\": [[\"0\", 10, 0, 9]]"));
    ck_assert(!is_behind(&stage)); /* another group is another replica set */
    UNTIL(is_behind(&stage),
          announce(&stage, "a", "group", false, "\"shards\": [[\"0\", 10, 0, 4]]"));
    stage_close(&stage);
}
END_TEST

START_TEST(who_has_given_a_shard_up_is_asked_after_who_goes_on_with_it)
{
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "a "),
          announce(&stage, "a", "other-group", false, "\"shards\": [[\"0\", 9000, 0, 4, true]]"));
    ck_assert(!nodes_ahead(members_nodes(stage.members), "news", "0", 5));
    UNTIL(owners_are(&stage, "b a "),
          announce(&stage, "b", "third-group", false, "\"shards\": [[\"0\", 10, 0, 3]]"));
    ck_assert(nodes_ahead(members_nodes(stage.members), "news", "0", 9));
    ck_assert(!nodes_ahead(members_nodes(stage.members), "news", "0", 10));
    stage_close(&stage);
}
END_TEST

/* The shard is given up and comes back two generations later. Returns whether it lacks records then. */
static bool comes_back_behind(struct stage *stage, int32_t generation, void (*wait)(struct stage *))
{
    struct store_registry *registry = stage->asker.registry;
    struct store_shard *shard;
    struct store_lease lease;
    struct error error = {0};

    store_registry_set_behind(registry, "news", "0", false);
    store_registry_hand_over(registry, stage->shard);
    wait(stage);
    store_registry_set_ownership(registry, (struct store_ownership){1, generation});
    ck_assert_int_eq(store_registry_claim(registry, &stage->asker.collection, "0", &shard, &error),
                     0);
    ck_assert_ptr_eq(shard, stage->shard);
    ck_assert(store_registry_acquire_shard(registry, "news", "0", &lease));
    store_registry_release(registry, &lease);
    return lease.behind;
}

static void wait_for_own_words(struct stage *stage)
{
    static const char series[] = "windrow_cluster_announcements_total{outcome=\"taken\"} ";
    const int enough = asker_metric(&stage->asker, series) + 4;

    UNTIL(asker_metric(&stage->asker, series) >= enough, (void)0);
}

static void wait_in_silence(struct stage *stage)
{
    static const struct timespec silence = {.tv_sec = 2, .tv_nsec = 100000000};

    nats_server_pause(&stage->asker.nats);
    (void)nanosleep(&silence, NULL);
}

/* Whoever does not hear itself hears nobody: others may have had the shard. */
START_TEST(a_shard_that_comes_back_while_nobody_is_heard_lacks_records)
{
    enum { ROUNDS_MAX = 10 }; /* a busy machine may take seconds to say a word */
    static struct stage stage;
    int32_t generation = 3;
    struct error error = {0};
    int round = 0;

    asker_open(&stage.asker);
    store_registry_delete(stage.asker.registry);
    stage.asker.registry = store_registry_new(
        &(struct store_registry_options){.store = stage.asker.store, .expects_shards = true});
    stage.asker.options.registry = stage.asker.registry;
    stage.asker.options.roles = CONFIG_ROLE_INGEST;
    store_registry_set_ownership(stage.asker.registry, (struct store_ownership){1, generation});
    ck_assert_int_eq(store_registry_claim(stage.asker.registry, &stage.asker.collection, "0",
                                          &stage.shard, &error),
                     0);
    ck_assert_int_eq(members_open(&stage.asker.options, &stage.members, &error), 0);
    ck_assert_int_eq(members_announce(stage.members, 1, &error), 0);
    while (round < ROUNDS_MAX && comes_back_behind(&stage, generation += 2, wait_for_own_words))
        round++;
    ck_assert_int_lt(round, ROUNDS_MAX);
    ck_assert(comes_back_behind(&stage, generation += 2, wait_in_silence));
    nats_server_resume(&stage.asker.nats);
    stage_close(&stage);
}
END_TEST

static const struct doc *described_shard(struct stage *stage, struct arena *arena, const char *node,
                                         const char *list)
{
    const struct doc *nodes, *shards;
    struct doc described;

    members_describe(stage->members, arena, &described);
    nodes = doc_get(&described, "nodes");
    for (uint32_t i = 0; i < nodes->count; i++) {
        shards = doc_get(&nodes->items[i], list);
        if (doc_string_equals(doc_get(&nodes->items[i], "node"), node) && shards->count == 1)
            return &shards->items[0];
    }
    return NULL;
}

/* "records seconds"; "-": null. */
static bool lag_is(struct stage *stage, const char *node, const char *list, const char *expected)
{
    const struct doc *shard, *seconds;
    struct arena arena;
    char text[60] = "";

    arena_create(&arena, 0);
    shard = described_shard(stage, &arena, node, list);
    seconds = shard ? doc_get(shard, "behind_seconds") : NULL;
    if (seconds)
        (void)snprintf(text, sizeof(text), seconds->type == DOC_NULL ? "%lld -" : "%lld %.1f",
                       (long long)doc_get(shard, "behind_records")->integer, seconds->number);
    arena_destroy(&arena);
    return strcmp(text, expected) == 0;
}

START_TEST(lag_is_told_behind_the_furthest_copy_and_the_end_of_the_partition)
{
    static struct stage stage;

    stage_open(&stage);
    UNTIL(lag_is(&stage, "a", "shards", "0 0.0"),
          announce(&stage, "a", "g1", false, "\"shards\": [[\"0\", 900, 70000, 4]]"));
    UNTIL(lag_is(&stage, "b", "shards", "200 2.5"),
          announce(&stage, "b", "g2", false, "\"shards\": [[\"0\", 700, 67500, 4, false, 0]]"));
    /* One that lacks records says how far it is; what it has heard of the end counts for all. */
    UNTIL(lag_is(&stage, "c", "claims", "880 -"),
          announce(&stage, "c", "g3", false,
                   "\"shards\": [], \"claims\": [[\"0\", 5, \"behind\", 20, 0]]"));
    UNTIL(lag_is(&stage, "c", "claims", "1180 -"),
          announce(&stage, "c", "g3", false,
                   "\"shards\": [], \"claims\": [[\"0\", 5, \"behind\", 20, 1200]]"));
    ck_assert(lag_is(&stage, "a", "shards", "300 0.0"));
    ck_assert(lag_is(&stage, "b", "shards", "500 2.5"));
    store_registry_note_end(stage.asker.registry, "news", "0", 1300);
    ck_assert(lag_is(&stage, "a", "shards", "400 0.0"));
    ck_assert(lag_is(&stage, "asker", "shards", "1300 -")); /* empty: no watermark */
    /* Hostile numbers. */
    UNTIL(lag_is(&stage, "b", "shards", "9223372036854775807 0.0"),
          announce(&stage, "b", "g2", false,
                   "\"shards\": [[\"0\", -9223372036854775807, 9223372036854775807, 4, false, "
                   "9223372036854775807]]"));
    UNTIL(lag_is(&stage, "a", "shards", "9223372036854775807 -"),
          announce(&stage, "a", "g1", false, "\"shards\": [[\"0\", -1, -9223372036854775807, 4]]"));
    stage_close(&stage);
}
END_TEST

static bool is_late(struct stage *stage)
{
    struct store_lease lease;

    ck_assert(store_registry_acquire_shard(stage->asker.registry, "news", "0", &lease));
    store_registry_release(stage->asker.registry, &lease);
    return lease.late;
}

/* It knows best how far it is: a word about 9,000 records may be old. */
START_TEST(a_node_that_says_that_others_have_more_is_asked_last)
{
    static const char *const late = "\"shards\": [[\"0\", 9000, 0, 4, false, 0, true]]";
    static const char *const left = "\"shards\": [[\"0\", 9000, 0, 4, true, 0, false]]";
    static const char *const fresh = "\"shards\": [[\"0\", 9000, 0, 4, false, 0, false]]";
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "c b a "), {
        announce(&stage, "a", "g1", false, late);
        announce(&stage, "b", "g2", false, left);
        announce(&stage, "c", "g3", false, fresh);
    });
    UNTIL(owners_are(&stage, "a c b "), {
        announce(&stage, "a", "g1", false, fresh);
        announce(&stage, "b", "g2", false, left);
        announce(&stage, "c", "g3", false, "\"shards\": [[\"0\", 9000, 0, 4, false, 0]]");
    });
    stage_close(&stage);
}
END_TEST

/* It was deleted and made again, and the node has not heard of it. */
START_TEST(a_node_with_a_former_collection_of_the_name_is_not_asked)
{
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "b "), {
        announce(&stage, "a", "g1", false, "\"begin\": 5, \"shards\": [[\"0\", 20001, 0, 4]]");
        announce(&stage, "b", "g2", false, "\"shards\": [[\"0\", 100, 0, 4]]");
    });
    ck_assert(!is_late(&stage));
    UNTIL(owners_are(&stage, "a b "), {
        announce(&stage, "a", "g1", false, "\"begin\": 0, \"shards\": [[\"0\", 200, 0, 4]]");
        announce(&stage, "b", "g2", false, "\"shards\": [[\"0\", 100, 0, 4]]");
    });
    stage_close(&stage);
}
END_TEST

START_TEST(an_own_copy_is_late_while_a_node_is_heard_that_has_more)
{
    static struct stage stage;

    stage_open(&stage);
    UNTIL(owners_are(&stage, "a "),
          announce(&stage, "a", "g1", false, "\"shards\": [[\"0\", 9000, 0, 4]]"));
    ck_assert(!is_late(&stage)); /* for a moment, and by a few records */
    store_registry_set_reading(stage.asker.registry, "news", "0", STORE_HELD);
    ck_assert(is_late(&stage));
    store_registry_set_reading(stage.asker.registry, "news", "0", STORE_READING);
    UNTIL(is_late(&stage),
          announce(&stage, "a", "g1", false, "\"shards\": [[\"0\", 10001, 0, 4]]"));
    stage_close(&stage);
}
END_TEST

TEST_TABLE(TEST(a_node_with_a_former_collection_of_the_name_is_not_asked),
           TEST(a_node_that_says_that_others_have_more_is_asked_last),
           TEST(an_own_copy_is_late_while_a_node_is_heard_that_has_more),
           TEST(lag_is_told_behind_the_furthest_copy_and_the_end_of_the_partition),
           TEST(a_shard_that_comes_back_while_nobody_is_heard_lacks_records),
           TEST(an_own_shard_that_is_handed_over_answers_until_a_newer_claim_does),
           TEST(who_has_given_a_shard_up_is_asked_after_who_goes_on_with_it),
           TEST(of_two_owners_in_one_group_the_newer_generation_is_asked),
           TEST(a_node_that_waits_to_answer_supersedes_all_but_one_that_drains),
           TEST(an_own_shard_is_fenced_while_a_newer_claim_is_heard),
           TEST(a_silent_node_is_the_last_owner_until_it_is_heard_again),
           TEST(a_silent_node_of_an_older_generation_is_not_asked),
           TEST(a_silent_node_is_gone_after_half_a_minute_without_an_answer),
           TEST(nobody_is_gone_while_this_process_cannot_hear),
           TEST(a_process_without_shards_expects_what_any_node_that_is_heard_expects),
           TEST(only_nodes_that_are_heard_take_over),
           TEST(two_that_hand_a_shard_over_do_not_take_it_from_each_other))
