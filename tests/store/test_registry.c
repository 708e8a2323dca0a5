/* The registry of open shards: who has a lease, and which shards of a collection are missing. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/install.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "store/tools/copy.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

static char collection_name[] = "news";

static const struct config_collection collection = {
    .name = collection_name, .dim = 2, .window_ms = 1000};

static const struct store_expected_shard expected[] = {
    {"0", "news[0]"}, {"1", "news[1]"}, {"2", "news[2]"}, {"10", "news[10]"}};

struct world {
    struct store *store;
    struct store_registry *registry;
    struct arena arena;
    struct error error;
};

/* The operating system's, with clocks that a test moves. */
static int64_t paused_ns;

static int64_t read_monotonic_ns(struct io *io)
{
    (void)io;
    return 1000000000 + paused_ns;
}

static int64_t read_wall_ms(struct io *io)
{
    return INT64_C(1700000000000) + read_monotonic_ns(io) / 1000000;
}

/* Files below this folder cannot be opened for so many times. */
static char unreadable[PATH_MAX];
static int refusals;

static int open_or_refuse(struct io *io, const char *path, unsigned flags)
{
    (void)io;
    if (refusals == 0 || strncmp(path, unreadable, strlen(unreadable)) != 0)
        return io_posix()->operations->open(io_posix(), path, flags);
    refusals--;
    return -EIO;
}

static struct io *clock_io(void)
{
    static struct io_operations operations;
    static struct io io = {&operations};

    operations = *io_posix()->operations;
    operations.monotonic_ns = read_monotonic_ns;
    operations.wall_ms = read_wall_ms;
    operations.open = open_or_refuse;
    return &io;
}

static void setup(struct world *world, bool expects_shards)
{
    struct store_options options = {.data_dir = test_directory(),
                                    .memory_max_bytes = 64 << 20,
                                    .memtable_max_bytes = 1 << 20,
                                    .io = clock_io()};

    memset(world, 0, sizeof(*world));
    arena_create(&world->arena, 0);
    ck_assert_int_eq(store_open(&options, &world->store, &world->error), 0);
    world->registry = store_registry_new(
        &(struct store_registry_options){.store = world->store, .expects_shards = expects_shards});
}

static void teardown(struct world *world)
{
    store_registry_close_all(world->registry, false);
    store_registry_delete(world->registry);
    store_close(world->store);
    arena_destroy(&world->arena);
}

static struct store_shard *claim(struct world *world, const char *name)
{
    struct store_shard *shard;

    ck_assert_int_eq(
        store_registry_claim(world->registry, &collection, name, &shard, &world->error), 0);
    return shard;
}

static struct store_coverage coverage_of(struct world *world, size_t lease_count)
{
    struct store_coverage coverage;
    struct store_lease *leases;
    size_t count = store_registry_acquire_covered(world->registry, collection.name, &world->arena,
                                                  &leases, &coverage);

    ck_assert_uint_eq(count, lease_count);
    for (size_t i = 0; i < count; i++)
        store_registry_release(world->registry, &leases[i]);
    return coverage;
}

START_TEST(coverage_is_unknown_until_the_shards_are_told)
{
    struct store_coverage coverage;
    struct world world;

    setup(&world, true);
    claim(&world, "0");
    ck_assert(!coverage_of(&world, 1).known);
    store_registry_expect(world.registry, collection.name, expected, 1);
    coverage = coverage_of(&world, 1);
    ck_assert(coverage.known);
    ck_assert_uint_eq(coverage.missing_count, 0);
    teardown(&world);
}
END_TEST

START_TEST(what_is_open_is_all_where_nobody_tells)
{
    struct store_coverage coverage;
    struct world world;

    setup(&world, false);
    coverage = coverage_of(&world, 0);
    ck_assert(coverage.known);
    ck_assert_uint_eq(coverage.missing_count, 0);
    teardown(&world);
}
END_TEST

START_TEST(missing_shards_are_named_until_they_open)
{
    struct store_coverage coverage;
    struct store_shard *shard;
    struct world world;

    setup(&world, true);
    store_registry_expect(world.registry, "another", expected, 4);
    store_registry_expect(world.registry, collection.name, expected, 4);
    shard = claim(&world, "1");
    claim(&world, "10");
    coverage = coverage_of(&world, 2);
    ck_assert_uint_eq(coverage.missing_count, 2);
    ck_assert_str_eq(coverage.missing[0], "news[0]");
    ck_assert_str_eq(coverage.missing[1], "news[2]");
    claim(&world, "0");
    claim(&world, "2");
    ck_assert_uint_eq(coverage_of(&world, 4).missing_count, 0);

    store_registry_close(world.registry, shard, false);
    coverage = coverage_of(&world, 3);
    ck_assert_uint_eq(coverage.missing_count, 1);
    ck_assert_str_eq(coverage.missing[0], "news[1]");
    teardown(&world);
}
END_TEST

/* Partitions are added to a topic while it is read. */
static bool is_behind(struct world *world)
{
    struct store_lease lease;
    bool behind;

    ck_assert(store_registry_acquire_shard(world->registry, collection.name, "0", &lease));
    behind = lease.behind;
    store_registry_release(world->registry, &lease);
    return behind;
}

/* In no moment between its coming and its owner's word a shard counts as complete. */
START_TEST(a_shard_that_comes_is_behind_until_its_owner_says_otherwise)
{
    struct world world;
    struct store_shard *shard;

    setup(&world, true);
    shard = claim(&world, "0");
    ck_assert(is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert(!is_behind(&world));
    (void)claim(&world, "0"); /* it did not go */
    ck_assert(!is_behind(&world));
    store_registry_unclaim(world.registry, shard);
    ck_assert(is_behind(&world));
    (void)claim(&world, "0");
    ck_assert(is_behind(&world));
    teardown(&world);
    setup(&world, false);
    (void)claim(&world, "0");
    ck_assert(!is_behind(&world));
    teardown(&world);
}
END_TEST

START_TEST(a_shard_that_is_handed_over_answers_as_it_was_until_it_is_closed)
{
    struct world world;
    struct store_shard *shard;

    setup(&world, true);
    shard = claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    store_registry_hand_over(world.registry, shard);
    store_registry_close_unclaimed(world.registry);
    ck_assert(!is_behind(&world));
    (void)claim(&world, "0"); /* it came back before anybody else had it */
    ck_assert(!is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", true);
    store_registry_hand_over(world.registry, shard);
    ck_assert(is_behind(&world)); /* it had not caught up */
    (void)claim(&world, "0");
    ck_assert(is_behind(&world));
    store_registry_close(world.registry, shard, true);
    (void)coverage_of(&world, 0);
    teardown(&world);
}
END_TEST

struct closing {
    struct store_registry *registry;
    struct store_shard *shard;
};

static void *close_it(void *context)
{
    const struct closing *closing = context;

    store_registry_close(closing->registry, closing->shard, true);
    return NULL;
}

/* One lease is given back when long work has to stop, the other as late as searches are broken off. */
START_TEST(a_shard_that_closes_breaks_searches_off_later_than_long_work)
{
    struct store_lease work, search;
    struct world world;
    struct closing closing;
    pthread_t closer;

    setup(&world, false);
    closing = (struct closing){world.registry, claim(&world, "0")};
    ck_assert(store_registry_acquire_shard(world.registry, collection.name, "0", &work));
    ck_assert(store_registry_acquire_shard(world.registry, collection.name, "0", &search));
    ck_assert_int_eq(pthread_create(&closer, NULL, close_it, &closing), 0);
    while (!atomic_load(work.closing))
        sched_yield();
    ck_assert(!store_registry_acquire_shard(world.registry, collection.name, "0",
                                            &(struct store_lease){0}));
    store_registry_release(world.registry, &work);
    while (!atomic_load(search.broken_off))
        sched_yield();
    store_registry_release(world.registry, &search);
    pthread_join(closer, NULL);
    (void)coverage_of(&world, 0);
    teardown(&world);
}
END_TEST

START_TEST(a_search_in_a_shard_that_closes_is_let_end)
{
    struct store_lease search;
    bool broken_off;
    struct world world;
    struct closing closing;
    pthread_t closer;

    setup(&world, false);
    closing = (struct closing){world.registry, claim(&world, "0")};
    store_registry_hand_over(world.registry, closing.shard);
    ck_assert(store_registry_acquire_shard(world.registry, collection.name, "0", &search));
    ck_assert_int_eq(pthread_create(&closer, NULL, close_it, &closing), 0);
    while (!atomic_load(search.closing))
        sched_yield();
    broken_off = atomic_load(search.broken_off);
    store_registry_release(world.registry, &search);
    pthread_join(closer, NULL);
    ck_assert(!broken_off);
    teardown(&world);
}
END_TEST

static struct store_lease lease_of(struct world *world)
{
    struct store_lease lease;

    ck_assert(store_registry_acquire_shard(world->registry, collection.name, "0", &lease));
    store_registry_release(world->registry, &lease);
    return lease;
}

static void own(struct world *world, int32_t generation)
{
    store_registry_set_ownership(world->registry, (struct store_ownership){1, generation});
}

static void note_rival(struct world *world, int32_t generation, int64_t for_ns)
{
    store_registry_note_rival(world->registry, collection.name, "0", generation, false,
                              io_monotonic_ns(clock_io()) + for_ns);
}

START_TEST(a_shard_that_somebody_has_in_a_newer_generation_is_fenced)
{
    struct store_shard *shard;
    struct world world;

    paused_ns = 0;
    setup(&world, true);
    own(&world, 5);
    shard = claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert_int_eq(lease_of(&world).generation, 5);
    note_rival(&world, 5, 100);
    note_rival(&world, 4, 100);
    ck_assert(!is_behind(&world));
    note_rival(&world, 7, 100);
    note_rival(&world, 6, 1000); /* a word about less changes nothing */
    ck_assert(is_behind(&world));
    ck_assert(lease_of(&world).fenced);
    paused_ns = 90;
    note_rival(&world, 7, 100);
    paused_ns = 180;
    ck_assert(is_behind(&world)); /* it said so again */
    paused_ns = 200;
    ck_assert(!is_behind(&world)); /* it said no more */

    note_rival(&world, 7, 100);
    ck_assert(is_behind(&world));
    own(&world, 8); /* the shard came back */
    ck_assert(!is_behind(&world));
    note_rival(&world, 9, 100);
    store_registry_hand_over(world.registry, shard);
    ck_assert(!is_behind(&world)); /* it answers until the next owner does */
    own(&world, 0);
    ck_assert_int_eq(lease_of(&world).generation, 8);
    teardown(&world);
}
END_TEST

static void note_others(struct world *world, int64_t next_offset, int64_t for_ns)
{
    store_registry_note_others(world->registry, collection.name, "0", next_offset,
                               io_monotonic_ns(clock_io()) + for_ns);
}

/* Behind by at most 100 records, and for 50 ns. The shard is empty: what others have is what it lacks. */
START_TEST(a_copy_is_late_while_others_have_more_for_too_long_or_too_much_of_it)
{
    static const struct {
        int64_t first, then; /* what others say at 0 and at 30 ns */
        enum store_reading reading;
        int64_t at_ns;
        bool late;
    } cases[] = {{10, 20, STORE_READING, 40, false},  {10, 20, STORE_READING, 60, true},
                 {0, 20, STORE_READING, 60, false},   {0, 101, STORE_READING, 31, true},
                 {10, 20, STORE_HELD, 31, true},      {10, 20, STORE_STOPPED, 31, true},
                 {0, 0, STORE_HELD, 100, false},      {500, 10, STORE_READING, 31, true},
                 {10, 20, STORE_READING, 1100, false} /* nobody says so any more */};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct store_lease lease;
        struct world world;
        paused_ns = 0;
        setup(&world, true);
        store_registry_watch_others(world.registry, 100, 50);
        (void)claim(&world, "0");
        note_others(&world, cases[i].first, 1000);
        paused_ns = 30;
        note_others(&world, cases[i].then, 1000);
        store_registry_set_reading(world.registry, collection.name, "0", cases[i].reading);
        paused_ns = cases[i].at_ns;
        lease = lease_of(&world);
        ck_assert_msg(lease.late == cases[i].late, "case %zu", i);
        ck_assert_int_eq(lease.reading, cases[i].reading);
        ck_assert_int_eq(lease.known_offset, cases[i].at_ns > 1000            ? 0
                                             : cases[i].first > cases[i].then ? cases[i].first
                                                                              : cases[i].then);
        teardown(&world);
    }
    paused_ns = 0;
}
END_TEST

static void note_server(struct world *world, int32_t generation)
{
    store_registry_note_rival(world->registry, collection.name, "0", generation, true, INT64_MAX);
}

/* Shard "0", which was served in that generation. */
static struct store_shard *hand_over(struct world *world, int32_t generation)
{
    struct store_shard *shard;

    own(world, generation);
    shard = claim(world, "0");
    store_registry_set_behind(world->registry, collection.name, "0", false);
    store_registry_hand_over(world->registry, shard);
    return shard;
}

START_TEST(a_handed_over_shard_that_comes_back_is_what_it_was)
{
    struct store_shard *shard;
    struct world world;

    setup(&world, true);
    shard = hand_over(&world, 5);
    note_server(&world, 5); /* itself, as others heard it before */
    note_rival(&world, 6, 100);
    ck_assert(!is_behind(&world));
    own(&world, 7);
    ck_assert_ptr_eq(claim(&world, "0"), shard); /* it was not opened again */
    ck_assert(!is_behind(&world));
    ck_assert(!lease_of(&world).handed_over);
    ck_assert_int_eq(lease_of(&world).generation, 7);
    teardown(&world);
}
END_TEST

/* NATS is cut off between two looks: others may have had the shard, and shown more of it. */
START_TEST(a_handed_over_shard_that_others_may_have_had_unheard_is_behind)
{
    static const struct {
        int silent_s; /* before it comes back */
        bool heard;   /* again, by then */
        int generations;
        bool behind;
    } cases[] = {{1, false, 2, false}, {1, true, 2, false}, {3, false, 2, true},
                 {3, true, 2, true},   {3, true, 1, false}, {3, false, 1, false}};
    struct store_shard *shard;
    struct world world;
    int32_t generation = 5;

    paused_ns = 0;
    setup(&world, true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        own(&world, generation);
        shard = claim(&world, "0");
        store_registry_set_behind(world.registry, collection.name, "0", false);
        store_registry_note_hearing(world.registry);
        store_registry_hand_over(world.registry, shard);
        ck_assert(!is_behind(&world));
        paused_ns += cases[i].silent_s * INT64_C(1000000000);
        if (cases[i].heard)
            store_registry_note_hearing(world.registry);
        generation += cases[i].generations;
        own(&world, generation);
        (void)claim(&world, "0");
        ck_assert_msg(is_behind(&world) == cases[i].behind, "case %zu", i);
        store_registry_set_behind(world.registry, collection.name, "0", false);
        ck_assert(!is_behind(&world));
    }
    paused_ns = 0;
    teardown(&world);
}
END_TEST

START_TEST(of_two_claims_the_newer_one_ends_a_handed_over_shard)
{
    struct store_shard *shard;
    struct world world;

    setup(&world, true);
    shard = hand_over(&world, 5);
    note_server(&world, 4);
    ck_assert(!is_behind(&world));
    note_server(&world, 7);
    ck_assert(is_behind(&world));
    /* What the other process has shown must not vanish: it has to read that first. */
    own(&world, 8);
    ck_assert_ptr_eq(claim(&world, "0"), shard);
    ck_assert(is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert(!is_behind(&world));
    teardown(&world);
}
END_TEST

static bool is_forsaken(struct world *world, int64_t settled_ns)
{
    struct store_lease lease = lease_of(world);

    return store_lease_is_forsaken(&lease, io_monotonic_ns(clock_io()), settled_ns);
}

START_TEST(a_handed_over_shard_that_nobody_comes_for_is_forsaken_in_time)
{
    const int64_t minute_ns = 60 * INT64_C(1000000000);
    struct store_shard *shard;
    struct world world;

    paused_ns = 0;
    setup(&world, true);
    own(&world, 5);
    shard = claim(&world, "0");
    paused_ns = 10 * minute_ns;
    ck_assert(!is_forsaken(&world, 0)); /* claimed */
    store_registry_hand_over(world.registry, shard);
    ck_assert_int_eq(lease_of(&world).handed_over_ns, io_monotonic_ns(clock_io()));
    paused_ns += minute_ns;
    ck_assert(!is_forsaken(&world, 0));
    note_rival(&world, 6, 100); /* somebody reads what it lacks */
    paused_ns += minute_ns;
    ck_assert(!is_forsaken(&world, 0));
    paused_ns += 1;
    ck_assert(is_forsaken(&world, 0));
    ck_assert(!is_forsaken(&world, io_monotonic_ns(clock_io()) - minute_ns)); /* no word of Kafka */
    paused_ns = 0;
    teardown(&world);
}
END_TEST

/* Nothing is claimed until the copy is here, and it may take long. */
START_TEST(a_handed_over_shard_whose_copy_comes_here_is_kept)
{
    const int64_t minute_ns = 60 * INT64_C(1000000000);
    struct store_shard *shard;
    struct world world;
    struct arena arena;
    const char **names;
    int32_t generation;

    paused_ns = 0;
    setup(&world, true);
    arena_create(&arena, 0);
    own(&world, 5);
    shard = claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    store_registry_hand_over(world.registry, shard);
    own(&world, 7);
    store_registry_set_coming(world.registry, collection.name, "0", true);
    store_registry_set_coming(world.registry, collection.name, "1", true);
    ck_assert_uint_eq(
        store_registry_coming(world.registry, collection.name, &arena, &names, &generation), 2);
    ck_assert_str_eq(names[0], "0");
    ck_assert_str_eq(names[1], "1");
    ck_assert_int_eq(generation, 7);
    ck_assert_uint_eq(store_registry_coming(world.registry, "other", &arena, &names, &generation),
                      0);
    paused_ns = 10 * minute_ns;
    ck_assert(!is_forsaken(&world, 0));
    ck_assert(!is_behind(&world));
    store_registry_set_coming(world.registry, collection.name, "0", false);
    store_registry_set_coming(world.registry, collection.name, "0", false);
    store_registry_set_coming(world.registry, collection.name, "1", false);
    ck_assert_uint_eq(
        store_registry_coming(world.registry, collection.name, &arena, &names, &generation), 0);
    ck_assert(is_forsaken(&world, 0));
    paused_ns = 0;
    arena_destroy(&arena);
    teardown(&world);
}
END_TEST

START_TEST(after_a_pause_no_claim_counts_until_the_group_has_answered)
{
    struct store_shard *shard;
    struct world world;
    uint64_t doubt, next;

    paused_ns = 0;
    setup(&world, true);
    shard = claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    paused_ns = 5000000;
    ck_assert(!is_behind(&world)); /* nobody asked to watch */
    store_registry_watch_pauses(world.registry, 1000);
    paused_ns += 1000;
    ck_assert(!is_behind(&world));
    ck_assert_uint_eq(store_registry_doubt(world.registry), 0);
    paused_ns += 1001;
    ck_assert(is_behind(&world)); /* whoever looks first notices */
    ck_assert(lease_of(&world).doubtful);
    doubt = store_registry_doubt(world.registry);
    ck_assert_uint_ne(doubt, 0);

    /* An answer that was under way during another pause is worth nothing. */
    paused_ns += 1001;
    store_registry_end_doubt(world.registry, doubt);
    ck_assert(is_behind(&world));
    next = store_registry_doubt(world.registry);
    ck_assert_uint_ne(next, doubt);
    store_registry_end_doubt(world.registry, next);
    ck_assert(!is_behind(&world));
    /* What was lost meanwhile has had another owner: it does not answer as what is handed over does. */
    paused_ns += 1001;
    store_registry_hand_over(world.registry, shard);
    ck_assert(is_behind(&world));
    store_registry_end_doubt(world.registry, store_registry_doubt(world.registry));
    ck_assert(is_behind(&world));
    ck_assert_uint_eq(store_registry_doubt(world.registry), 0);
    paused_ns = 0;
    teardown(&world);
}
END_TEST

static const struct config_collection wide = {
    .name = collection_name, .dim = FIXTURE_DIM, .window_ms = 1000};

/* Stores one record, so that the shard's offset is behind it. */
static int64_t fill(struct world *world, struct store_shard *shard, int64_t offset)
{
    static struct fixture_group group;

    fixture_group_start(&group, offset);
    fixture_group_put(&group, 1, 500, 0, 4, false);
    ck_assert_msg(store_shard_append(shard, &group.group, &world->error) == 0, "%s",
                  world->error.text);
    return group.group.next_offset;
}

/* A copy that is another process's shard, whole and flushed, in a folder of its own. */
static int64_t make_copy(struct world *world, char folder[PATH_MAX])
{
    char from[PATH_MAX], to[PATH_MAX];
    struct store_shard *shard;
    int64_t next_offset;

    ck_assert_int_eq(store_registry_claim(world->registry, &wide, "0", &shard, &world->error), 0);
    next_offset = fill(world, shard, 5000);
    store_registry_close(world->registry, shard, true);
    ck_assert_int_eq(store_copy_incoming(clock_io(), test_directory(), collection.name, "0", folder,
                                         &world->error),
                     0);
    (void)snprintf(from, sizeof(from), "%s/collections.d/news/0", test_directory());
    (void)snprintf(to, sizeof(to), "%.3000s/news/0", folder);
    ck_assert_int_eq(rmdir(to), 0);
    ck_assert_int_eq(rename(from, to), 0);
    return next_offset;
}

/* Whatever is wrong with it was not seen by those who verified it: the shard goes on from what it had. */
START_TEST(a_copy_that_cannot_be_opened_leaves_what_was_there)
{
    struct store_shard *shard;
    char folder[PATH_MAX];
    struct world world;
    int64_t before, copied;

    for (int had = 0; had < 2; had++) {
        setup(&world, true);
        (void)snprintf(unreadable, sizeof(unreadable), "%s/collections.d/news/0/",
                       test_directory());
        copied = make_copy(&world, folder);
        before = -1;
        if (had) {
            ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error),
                             0);
            before = fill(&world, shard, 10);
            store_registry_unclaim(world.registry, shard);
        }
        refusals = 1;
        ck_assert_int_ne(store_registry_install(world.registry, &wide, "0", folder, &world.error),
                         0);
        ck_assert_int_eq(refusals, 0);
        ck_assert_int_eq(store_folder_remove(clock_io(), folder, &world.error), 0);
        ck_assert_msg(store_registry_claim(world.registry, &wide, "0", &shard, &world.error) == 0,
                      "%s", world.error.text);
        ck_assert_int_eq(store_shard_next_offset(shard), before);
        ck_assert_int_eq(store_registry_discard(world.registry, shard, &world.error), 0);

        ck_assert_int_eq(make_copy(&world, folder), copied);
        ck_assert_int_eq(store_registry_install(world.registry, &wide, "0", folder, &world.error),
                         0);
        ck_assert_int_eq(access(folder, F_OK), -1);
        ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error), 0);
        ck_assert_int_eq(store_shard_next_offset(shard), copied);
        ck_assert_int_eq(store_registry_discard(world.registry, shard, &world.error), 0);
        teardown(&world);
    }
}
END_TEST

struct wait {
    struct world *world;
    int64_t offset;
    int code;
};

static void *wait_for_it(void *context)
{
    struct wait *wait = context;
    struct error error = {0};

    wait->code = store_registry_wait_visible(wait->world->registry, collection.name, "0",
                                             wait->offset, true, INT64_MAX, NULL, &error);
    return NULL;
}

START_TEST(nobody_waits_for_an_offset_that_a_handed_over_shard_does_not_have)
{
    struct store_shard *shard;
    struct world world;
    struct wait wait = {.world = &world};
    pthread_t thread;

    setup(&world, true);
    ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error), 0);
    wait.offset = fill(&world, shard, 10);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &wait), 0);
    usleep(10000); /* asleep, most of the time */
    store_registry_hand_over(world.registry, shard);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(wait.code, ERROR_NOT_FOUND);
    wait_for_it(&wait);
    ck_assert_int_eq(wait.code, ERROR_NOT_FOUND);
    wait.offset--;
    wait_for_it(&wait);
    ck_assert_int_eq(wait.code, 0); /* what it has is there */
    wait.offset++;
    ck_assert_int_eq(store_registry_claim(world.registry, &wide, "0", &shard, &world.error), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &wait), 0);
    (void)fill(&world, shard, wait.offset);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(wait.code, 0);
    teardown(&world);
}
END_TEST

START_TEST(folder_of_a_closed_shard_is_removed_and_an_open_one_is_not)
{
    struct world world;
    struct store_shard *shard;
    struct error error = {0};
    const char **names;
    struct arena arena;
    size_t count;

    setup(&world, true);
    arena_create(&arena, 0);
    shard = claim(&world, "0");
    ck_assert_int_eq(store_registry_remove(world.registry, &collection, "0", &error), ERROR_BUSY);
    store_registry_close(world.registry, shard, true);
    ck_assert_int_eq(store_registry_remove(world.registry, &collection, "0", &error), 0);
    ck_assert_int_eq(store_shard_list(world.store, collection.name, &arena, &names, &count, &error),
                     0);
    ck_assert_uint_eq(count, 0);
    (void)claim(&world, "0"); /* its name is free */
    arena_destroy(&arena);
    teardown(&world);
}
END_TEST

START_TEST(later_word_about_the_shards_replaces_the_earlier_one)
{
    struct store_coverage coverage;
    struct world world;

    setup(&world, true);
    claim(&world, "0");
    store_registry_expect(world.registry, collection.name, expected, 1);
    ck_assert_uint_eq(coverage_of(&world, 1).missing_count, 0);
    store_registry_expect(world.registry, collection.name, expected, 2);
    coverage = coverage_of(&world, 1);
    ck_assert_uint_eq(coverage.missing_count, 1);
    ck_assert_str_eq(coverage.missing[0], "news[1]");
    teardown(&world);
}
END_TEST

TEST_TABLE(TEST(a_copy_is_late_while_others_have_more_for_too_long_or_too_much_of_it),
           TEST(a_copy_that_cannot_be_opened_leaves_what_was_there),
           TEST(a_shard_that_somebody_has_in_a_newer_generation_is_fenced),
           TEST(after_a_pause_no_claim_counts_until_the_group_has_answered),
           TEST(a_shard_that_comes_is_behind_until_its_owner_says_otherwise),
           TEST(coverage_is_unknown_until_the_shards_are_told),
           TEST(what_is_open_is_all_where_nobody_tells),
           TEST(missing_shards_are_named_until_they_open),
           TEST(a_shard_that_is_handed_over_answers_as_it_was_until_it_is_closed),
           TEST(a_handed_over_shard_that_comes_back_is_what_it_was),
           TEST(of_two_claims_the_newer_one_ends_a_handed_over_shard),
           TEST(a_handed_over_shard_that_nobody_comes_for_is_forsaken_in_time),
           TEST(a_handed_over_shard_whose_copy_comes_here_is_kept),
           TEST(a_handed_over_shard_that_others_may_have_had_unheard_is_behind),
           TEST(nobody_waits_for_an_offset_that_a_handed_over_shard_does_not_have),
           TEST(a_shard_that_closes_breaks_searches_off_later_than_long_work),
           TEST(a_search_in_a_shard_that_closes_is_let_end),
           TEST(folder_of_a_closed_shard_is_removed_and_an_open_one_is_not),
           TEST(later_word_about_the_shards_replaces_the_earlier_one))
