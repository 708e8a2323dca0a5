/* What a view with peers does about offsets that a request wants to see, and about shards that it has to have: that moved, move,
 * or were given up. */
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "indexer/query/view.h"
#include "store/append.h"
#include "store/files/key.h"
#include "store/registry.h"
#include "tests/indexer/query/query_cluster.h"
#include "tests/support/test_main.h"

static struct query_view_options options_of(struct cluster *cluster, size_t asking,
                                            const struct query_min_offset *wanted)
{
    struct node *node = &cluster->nodes[asking];

    return (struct query_view_options){.collection = &cluster->whole.collection,
                                       .registry = node->world.registry,
                                       .io = &node->world.clock.io,
                                       .min_offsets = wanted,
                                       .min_offset_count = 1,
                                       .peers = &cluster->peers};
}

/* A node that has given its shard away answers at once: waiting for an offset there would last until
 * the deadline, while somebody else has it. */
START_TEST(offsets_of_shards_that_have_left_are_not_waited_for)
{
    static const struct query_min_offset wanted = {"1", 1000000};
    static struct cluster cluster;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    store_registry_close(cluster.nodes[1].world.registry, cluster.nodes[1].world.shards[1], false);
    options = options_of(&cluster, 0, &wanted);
    ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
    ck_assert_msg(query_count(view, NULL, &count, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(query_view_coverage(view)->missing_count, 1);
    ck_assert_str_eq(query_view_coverage(view)->missing[0], "topic[1]");
    query_view_close(view);
    cluster_close(&cluster);
}
END_TEST

static void *close_later(void *context)
{
    struct cluster *cluster = context;

    usleep(20000);
    store_registry_close(cluster->nodes[1].world.registry, cluster->nodes[1].world.shards[1],
                         false);
    return NULL;
}

/* The wait's own "not open here" must not be left for those who read on elsewhere. */
START_TEST(a_wait_that_ends_because_its_shard_leaves_is_no_error)
{
    static const struct query_min_offset wanted = {"1", 1000000};
    static struct cluster cluster;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};
    pthread_t thread;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    options = options_of(&cluster, 1, &wanted);
    ck_assert_int_eq(pthread_create(&thread, NULL, close_later, &cluster), 0);
    ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
    ck_assert_int_eq(error.code, 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    query_view_close(view);
    cluster_close(&cluster);
}
END_TEST

/* The same shard here and at a peer, each in turn given up: an offset that it has is answered, a later one is named
 * as missing, and nobody waits for it. */
START_TEST(offsets_that_a_shard_that_was_given_up_lacks_are_missing)
{
    static struct cluster cluster;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    for (int asking = 0; asking < 2; asking++) {
        struct query_min_offset wanted = {"1", 0};
        struct store_shard *kept = cluster.nodes[1].world.shards[1];
        store_registry_hand_over(cluster.nodes[1].world.registry, kept);
        cluster.asking = (size_t)asking;
        for (int lacks = 0; lacks < 2; lacks++) {
            wanted.offset = store_shard_next_offset(kept) - 1 + lacks;
            options = options_of(&cluster, (size_t)asking, &wanted);
            ck_assert_msg(query_view_open(&options, &view, &error) == 0, "%s", error.text);
            ck_assert_msg(query_count(view, NULL, &count, &error) == 0, "%s", error.text);
            ck_assert_uint_eq(query_view_coverage(view)->missing_count, (size_t)lacks);
            if (lacks)
                ck_assert_str_eq(query_view_coverage(view)->missing[0], "topic[1]");
            query_view_close(view);
        }
    }
    cluster_close(&cluster);
}
END_TEST

static void *end_move(void *context)
{
    struct cluster *cluster = context;
    const struct timespec pause = {.tv_nsec = 200000000};

    (void)nanosleep(&pause, NULL);
    atomic_store(&cluster->moves, false);
    return NULL;
}

/* The same, while everybody who has the shard gave it up: it is waited for until somebody takes it, or for as long as for
 * any offset. */
START_TEST(offsets_that_nobody_has_yet_are_waited_for_while_a_shard_moves)
{
    static struct cluster cluster;
    struct query_min_offset wanted = {"1", 0};
    pthread_t mover;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    store_registry_hand_over(cluster.nodes[1].world.registry, cluster.nodes[1].world.shards[1]);
    wanted.offset = store_shard_next_offset(cluster.nodes[1].world.shards[1]);
    for (size_t asking = 0; asking < 2; asking++) {
        struct query_view_options options = options_of(&cluster, asking, &wanted);
        options.timeout_ms = 300;
        struct query_view *view;
        struct error error = {0};
        cluster.asking = asking;
        atomic_store(&cluster.moves, true);
        ck_assert_int_eq(query_view_open(&options, &view, &error), ERROR_TIMEOUT);
        options.timeout_ms = 0; /* the default */
        ck_assert_int_eq(pthread_create(&mover, NULL, end_move, &cluster), 0);
        ck_assert_msg(query_view_open(&options, &view, &error) == 0, "%s", error.text);
        ck_assert(!atomic_load(&cluster.moves));
        query_view_close(view);
        ck_assert_int_eq(pthread_join(mover, NULL), 0);
    }
    cluster_close(&cluster);
}
END_TEST

/* Shards that have to be there. */

static void *find_shards(void *context)
{
    struct cluster *cluster = context;
    const struct timespec pause = {.tv_nsec = 200000000};

    (void)nanosleep(&pause, NULL);
    store_registry_set_behind(cluster->nodes[0].world.registry, "world", "0", false);
    atomic_store(&cluster->lost, false);
    return NULL;
}

static uint64_t count_whole(const struct query_view_options *options)
{
    struct query_view *view;
    struct error error = {0};
    uint64_t count;

    ck_assert_msg(query_view_open(options, &view, &error) == 0, "%s", error.text);
    ck_assert_msg(query_count(view, NULL, &count, &error) == 0, "%s", error.text);
    ck_assert(query_view_whole(view));
    query_view_close(view);
    return count;
}

/* A shard that nobody has, and one of this process that lacks records: of the same answer. */
START_TEST(a_view_that_has_to_be_whole_waits_for_owners)
{
    static struct cluster cluster;
    struct query_view_options options;
    struct query_view *view;
    struct error error = {0};
    pthread_t finder;
    uint64_t count;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    options = options_of(&cluster, 0, NULL);
    options.min_offset_count = 0;
    options.whole = true;
    count = count_whole(&options);
    for (int own = 0; own < 2; own++) {
        atomic_store(&cluster.lost, !own);
        store_registry_set_behind(cluster.nodes[0].world.registry, "world", "0", own);
        ck_assert_int_eq(pthread_create(&finder, NULL, find_shards, &cluster), 0);
        ck_assert_uint_eq(count_whole(&options), count);
        ck_assert_int_eq(pthread_join(finder, NULL), 0);
    }
    /* Not beyond the request's time. */
    atomic_store(&cluster.lost, true);
    options.timeout_ms = 1000; /* a quarter of it is for the count */
    ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
    ck_assert_int_eq(query_count(view, NULL, &count, &error), ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "topic[1], topic[3]"));
    query_view_close(view);
    cluster_close(&cluster);
}
END_TEST

/* In an outage they would all wait, and leave no room for those who wait for something else. */
START_TEST(few_views_wait_for_owners)
{
    enum { VIEWS = 100 };
    static struct cluster cluster;
    struct query_view *views[VIEWS];
    int patient = 0;

    cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
    for (int round = 0; round < 2; round++) {
        patient = 0;
        for (int i = 0; i < VIEWS; i++) {
            views[i] = cluster_view(&cluster, true);
            patient += views[i]->patient_until_ns != 0;
        }
        ck_assert_int_gt(patient, 0);
        ck_assert_int_lt(patient, VIEWS);
        for (int i = 0; i < VIEWS; i++)
            query_view_close(views[i]);
    }
    cluster_close(&cluster);
}
END_TEST

/* Nobody has it, for all that is known: where a node has not answered, that is not all. */
START_TEST(an_id_that_is_not_found_may_lie_where_nobody_answered)
{
    static struct cluster cluster;
    struct store_key key;
    struct arena arena;

    store_key_from_u64(IDS + 1, &key);
    cluster_open(&cluster, 3, VECTOR_METRIC_COSINE, test_seed());
    cluster_fill(&cluster);
    arena_create(&arena, 0);
    for (int round = 0; round < 3; round++) {
        struct query_view *view;
        struct error error = {0};
        struct query_row row;
        cluster.nodes[1].damage = round == 1 ? SILENT : SOUND;
        view = cluster_view(&cluster, false);
        ck_assert_int_eq(query_find(view, key.bytes, key.size_bytes, &arena, &row, &error),
                         round == 1 ? ERROR_UNAVAILABLE : ERROR_NOT_FOUND);
        ck_assert_int_eq(round == 1, strstr(error.text, "topic[1]") != NULL);
        query_view_close(view);
    }
    arena_destroy(&arena);
    cluster_close(&cluster);
}
END_TEST

/* A shard that has to close breaks a read off. Where others can be asked it begins anew with another view. */
START_TEST(a_read_that_a_closing_shard_breaks_off_may_begin_anew_where_others_can_be_asked)
{
    for (int alone = 0; alone < 2; alone++) {
        static struct cluster cluster;
        struct query_view_options options = {0};
        struct query_view *view;
        struct error error = {0};
        struct stop stop;
        uint64_t count;

        cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
        cluster_fill(&cluster);
        stop_create(&stop, io_posix());
        options.collection = &cluster.whole.collection;
        options.registry = cluster.nodes[0].world.registry;
        options.io = &cluster.nodes[0].world.clock.io;
        options.peers = alone ? NULL : &cluster.peers;
        options.stop = &stop;
        ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), 0);
        ck_assert(!atomic_load(&stop.begin_anew));
        store_registry_interrupt(options.registry);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), ERROR_CANCELLED);
        ck_assert_int_eq(atomic_load(&stop.begin_anew), !alone);
        ck_assert_int_eq(stop_check(&stop, &error), 0);
        query_view_close(view);
        cluster_close(&cluster);
    }
}
END_TEST

/* Shards that lack records, here or at a peer: what they have is in the answer, which names them. */
START_TEST(shards_that_lack_records_are_named_with_how_far_they_are_known_to_go)
{
    enum { KNOWN = 1000000 };
    static const struct {
        size_t node;
        enum store_reading reading;
        int64_t others;      /* what others are known to have of the node's first shard */
        bool served;         /* some other process has it, which does not answer */
        const char *missing; /* NULL: nothing */
    } cases[] = {
        {1, STORE_READING, 1, false, NULL},           {1, STORE_STOPPED, 1, false, "topic[1]"},
        {1, STORE_READING, KNOWN, false, "topic[1]"}, {0, STORE_STOPPED, 1, false, "topic[0]"},
        {0, STORE_STOPPED, 1, true, "topic[0]"},      {0, STORE_READING, KNOWN, true, "topic[0]"},
        {0, STORE_READING, KNOWN, false, NULL},       {0, STORE_READING, 1, true, NULL}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct cluster cluster;
        const char *shard = cases[i].node == 0 ? "0" : "1";
        struct store_registry *registry;
        const struct query_shard_freshness *fresh;
        const struct store_coverage *coverage;
        struct query_view *view;
        struct error error = {0};
        uint64_t whole, count;
        size_t shards;

        cluster_open(&cluster, 2, VECTOR_METRIC_COSINE, test_seed());
        for (size_t id = 0; id < SHARDS; id++)
            cluster_upsert_near(&cluster, id, id, 0.5F);
        cluster_set_clock(&cluster, start_ms + 9 * hour_ms);
        view = cluster_view(&cluster, true);
        ck_assert_int_eq(query_count(view, NULL, &whole, &error), 0);
        query_view_close(view);
        registry = cluster.nodes[cases[i].node].world.registry;
        store_registry_watch_others(registry, 1000, INT64_MAX);
        store_registry_note_others(registry, "world", shard, cases[i].others, INT64_MAX);
        store_registry_set_reading(registry, "world", shard, cases[i].reading);
        atomic_store(&cluster.moves, cases[i].served);
        view = cluster_view(&cluster, false);
        ck_assert_int_eq(query_count(view, NULL, &count, &error), 0);
        coverage = query_view_coverage(view);
        ck_assert_uint_eq(coverage->missing_count, cases[i].missing ? 1 : 0);
        if (cases[i].missing)
            ck_assert_str_eq(coverage->missing[0], cases[i].missing);
        ck_assert_uint_eq(count, whole);
        fresh = query_view_freshness(view, &shards);
        for (size_t k = 0; k < shards; k++) {
            ck_assert_int_eq(fresh[k].lacks,
                             cases[i].missing && strcmp(fresh[k].shard, shard) == 0);
            if (fresh[k].lacks && cases[i].others == KNOWN)
                ck_assert_int_eq(fresh[k].known_offset, KNOWN);
        }
        ck_assert_int_eq(query_view_check_all(view, &error),
                         cases[i].missing ? ERROR_UNAVAILABLE : 0);
        query_view_close(view);
        cluster_close(&cluster);
    }
}
END_TEST

/* Nobody waits for an offset that only the peer had which has failed. */
START_TEST(offsets_that_a_late_copy_lacks_are_missing)
{
    static struct cluster cluster;
    struct query_min_offset wanted = {"0", 0};
    struct store_shard *late;

    cluster_open_late(&cluster);
    cluster.nodes[4].damage = SILENT;
    late = cluster.nodes[0].world.shards[0];
    for (size_t lacks = 0; lacks < 2; lacks++) {
        struct query_view_options options = options_of(&cluster, 0, &wanted);
        struct query_view *view;
        struct error error = {0};
        uint64_t count;
        size_t answered;
        wanted.offset = store_shard_next_offset(late) - 1 + (int64_t)lacks;
        ck_assert_msg(query_view_open(&options, &view, &error) == 0, "%s", error.text);
        ck_assert_msg(query_count(view, NULL, &count, &error) == 0, "%s", error.text);
        ck_assert_uint_eq(query_view_coverage(view)->missing_count, 1);
        ck_assert_str_eq(query_view_coverage(view)->missing[0], "topic[0]");
        (void)query_view_freshness(view, &answered);
        ck_assert_uint_eq(answered, SHARDS - lacks);
        query_view_close(view);
    }
    cluster_close(&cluster);
}
END_TEST

TEST_TABLE(TEST(offsets_that_a_late_copy_lacks_are_missing),
           TEST(shards_that_lack_records_are_named_with_how_far_they_are_known_to_go),
           TEST(a_read_that_a_closing_shard_breaks_off_may_begin_anew_where_others_can_be_asked),
           TEST(an_id_that_is_not_found_may_lie_where_nobody_answered),
           TEST(few_views_wait_for_owners), TEST(a_view_that_has_to_be_whole_waits_for_owners),
           TEST(offsets_that_a_shard_that_was_given_up_lacks_are_missing),
           TEST(offsets_that_nobody_has_yet_are_waited_for_while_a_shard_moves),
           TEST(offsets_of_shards_that_have_left_are_not_waited_for),
           TEST(a_wait_that_ends_because_its_shard_leaves_is_no_error))
