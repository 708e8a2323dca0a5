/* What this process may still take for its own, and for complete: other claims, other copies, pauses. */
#include <string.h>

#include "store/append.h"
#include "tests/store/registry_world.h"
#include "tests/support/test_main.h"

START_TEST(a_shard_that_somebody_has_in_a_newer_generation_is_fenced)
{
    struct store_shard *shard;
    struct world world;

    world_paused_ns = 0;
    world_open(&world, true);
    world_own(&world, 5);
    shard = world_claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert_int_eq(world_lease(&world).generation, 5);
    world_note_rival(&world, 5, 100);
    world_note_rival(&world, 4, 100);
    ck_assert(!world_is_behind(&world));
    world_note_rival(&world, 7, 100);
    world_note_rival(&world, 6, 1000); /* a word about less changes nothing */
    ck_assert(world_is_behind(&world));
    ck_assert(world_lease(&world).fenced);
    world_paused_ns = 90;
    world_note_rival(&world, 7, 100);
    world_paused_ns = 180;
    ck_assert(world_is_behind(&world)); /* it said so again */
    world_paused_ns = 200;
    ck_assert(!world_is_behind(&world)); /* it said no more */

    world_note_rival(&world, 7, 100);
    ck_assert(world_is_behind(&world));
    world_own(&world, 8); /* the shard came back */
    ck_assert(!world_is_behind(&world));
    world_note_rival(&world, 9, 100);
    store_registry_hand_over(world.registry, shard);
    ck_assert(!world_is_behind(&world)); /* it answers until the next owner does */
    world_own(&world, 0);
    ck_assert_int_eq(world_lease(&world).generation, 8);
    world_close(&world);
}
END_TEST

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
        world_paused_ns = 0;
        world_open(&world, true);
        store_registry_watch_others(world.registry, 100, 50);
        (void)world_claim(&world, "0");
        world_note_others(&world, cases[i].first, 1000);
        world_paused_ns = 30;
        world_note_others(&world, cases[i].then, 1000);
        store_registry_set_reading(world.registry, collection.name, "0", cases[i].reading);
        world_paused_ns = cases[i].at_ns;
        lease = world_lease(&world);
        ck_assert_msg(lease.late == cases[i].late, "case %zu", i);
        ck_assert_int_eq(lease.reading, cases[i].reading);
        ck_assert_int_eq(lease.known_offset, cases[i].at_ns > 1000            ? 0
                                             : cases[i].first > cases[i].then ? cases[i].first
                                                                              : cases[i].then);
        world_close(&world);
    }
    world_paused_ns = 0;
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

    world_own(world, generation);
    shard = world_claim(world, "0");
    store_registry_set_behind(world->registry, collection.name, "0", false);
    store_registry_hand_over(world->registry, shard);
    return shard;
}

START_TEST(a_handed_over_shard_that_comes_back_is_what_it_was)
{
    struct store_shard *shard;
    struct world world;

    world_open(&world, true);
    shard = hand_over(&world, 5);
    note_server(&world, 5); /* itself, as others heard it before */
    world_note_rival(&world, 6, 100);
    ck_assert(!world_is_behind(&world));
    world_own(&world, 7);
    ck_assert_ptr_eq(world_claim(&world, "0"), shard); /* it was not opened again */
    ck_assert(!world_is_behind(&world));
    ck_assert(!world_lease(&world).handed_over);
    ck_assert_int_eq(world_lease(&world).generation, 7);
    world_close(&world);
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

    world_paused_ns = 0;
    world_open(&world, true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        world_own(&world, generation);
        shard = world_claim(&world, "0");
        store_registry_set_behind(world.registry, collection.name, "0", false);
        store_registry_note_hearing(world.registry, 0);
        store_registry_hand_over(world.registry, shard);
        ck_assert(!world_is_behind(&world));
        world_paused_ns += cases[i].silent_s * INT64_C(1000000000);
        if (cases[i].heard)
            store_registry_note_hearing(world.registry, 0);
        generation += cases[i].generations;
        world_own(&world, generation);
        (void)world_claim(&world, "0");
        ck_assert_msg(world_is_behind(&world) == cases[i].behind, "case %zu", i);
        store_registry_set_behind(world.registry, collection.name, "0", false);
        ck_assert(!world_is_behind(&world));
    }
    world_paused_ns = 0;
    world_close(&world);
}
END_TEST

START_TEST(of_two_claims_the_newer_one_ends_a_handed_over_shard)
{
    struct store_shard *shard;
    struct world world;

    world_open(&world, true);
    shard = hand_over(&world, 5);
    note_server(&world, 4);
    ck_assert(!world_is_behind(&world));
    note_server(&world, 7);
    ck_assert(world_is_behind(&world));
    /* What the other process has shown must not vanish: it has to read that first. */
    world_own(&world, 8);
    ck_assert_ptr_eq(world_claim(&world, "0"), shard);
    ck_assert(world_is_behind(&world));
    store_registry_set_behind(world.registry, collection.name, "0", false);
    ck_assert(!world_is_behind(&world));
    world_close(&world);
}
END_TEST

static bool is_forsaken(struct world *world, int64_t settled_ns)
{
    struct store_lease lease = world_lease(world);

    return store_lease_is_forsaken(&lease, io_monotonic_ns(world_clock_io()), settled_ns);
}

START_TEST(a_handed_over_shard_that_nobody_comes_for_is_forsaken_in_time)
{
    const int64_t minute_ns = 60 * INT64_C(1000000000);
    struct store_shard *shard;
    struct world world;

    world_paused_ns = 0;
    world_open(&world, true);
    world_own(&world, 5);
    shard = world_claim(&world, "0");
    world_paused_ns = 10 * minute_ns;
    ck_assert(!is_forsaken(&world, 0)); /* claimed */
    store_registry_hand_over(world.registry, shard);
    ck_assert_int_eq(world_lease(&world).handed_over_ns, io_monotonic_ns(world_clock_io()));
    world_paused_ns += minute_ns;
    ck_assert(!is_forsaken(&world, 0));
    world_note_rival(&world, 6, 100); /* somebody reads what it lacks */
    world_paused_ns += minute_ns;
    ck_assert(!is_forsaken(&world, 0));
    world_paused_ns += 1;
    ck_assert(is_forsaken(&world, 0));
    ck_assert(
        !is_forsaken(&world, io_monotonic_ns(world_clock_io()) - minute_ns)); /* no word of Kafka */
    world_paused_ns = 0;
    world_close(&world);
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

    world_paused_ns = 0;
    world_open(&world, true);
    arena_create(&arena, 0);
    world_own(&world, 5);
    shard = world_claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    store_registry_hand_over(world.registry, shard);
    world_own(&world, 7);
    store_registry_set_coming(world.registry, collection.name, "0", true);
    store_registry_set_coming(world.registry, collection.name, "1", true);
    ck_assert_uint_eq(
        store_registry_coming(world.registry, collection.name, &arena, &names, &generation), 2);
    ck_assert_str_eq(names[0], "0");
    ck_assert_str_eq(names[1], "1");
    ck_assert_int_eq(generation, 7);
    ck_assert_uint_eq(store_registry_coming(world.registry, "other", &arena, &names, &generation),
                      0);
    world_paused_ns = 10 * minute_ns;
    ck_assert(!is_forsaken(&world, 0));
    ck_assert(!world_is_behind(&world));
    store_registry_set_coming(world.registry, collection.name, "0", false);
    store_registry_set_coming(world.registry, collection.name, "0", false);
    store_registry_set_coming(world.registry, collection.name, "1", false);
    ck_assert_uint_eq(
        store_registry_coming(world.registry, collection.name, &arena, &names, &generation), 0);
    ck_assert(is_forsaken(&world, 0));
    world_paused_ns = 0;
    arena_destroy(&arena);
    world_close(&world);
}
END_TEST

/* Longer than what others say counts, shorter than a session: nobody took the shard, but others went on. */
START_TEST(after_an_absence_a_shard_is_behind_until_others_are_heard)
{
    struct store_shard *shard;
    struct world world;

    world_paused_ns = 0;
    world_open(&world, true);
    shard = world_claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    store_registry_watch_others(world.registry, 100, 1000);
    store_registry_watch_absence(world.registry, 1000);
    world_paused_ns += 1000;
    ck_assert(!world_is_behind(&world));
    ck_assert_uint_eq(store_registry_pauses(world.registry), 0);
    world_paused_ns += 1001; /* nobody else was heard to have it, but may have got it since */
    ck_assert(world_is_behind(&world)); /* whoever looks first notices */
    ck_assert(world_lease(&world).doubtful);
    ck_assert_uint_eq(store_registry_pauses(world.registry), 1);
    store_registry_note_hearing(world.registry, 0); /* a word from before */
    ck_assert(world_is_behind(&world));
    world_note_others(&world, 20, 1000000);
    store_registry_note_hearing(world.registry, 1);
    ck_assert(!world_is_behind(&world));
    ck_assert(world_lease(&world).late); /* it lacks them since the absence began */

    /* Without a word from anybody it ends, too. */
    world_paused_ns += 1001;
    ck_assert(world_is_behind(&world));
    world_paused_ns += 999;
    ck_assert(world_is_behind(&world));
    world_paused_ns += 1;
    ck_assert(!world_is_behind(&world));

    /* A newer claim that was heard before counts on. */
    world_own(&world, 5);
    world_note_rival(&world, 6, 100);
    world_paused_ns += 1001;
    ck_assert(world_lease(&world).fenced);
    world_paused_ns += 100;
    ck_assert(!world_lease(&world).fenced);
    world_note_rival(&world, 6, 100);
    world_slept_ms = 3600000; /* which is no time of the clock by which the claim ends */
    ck_assert(world_lease(&world).fenced);
    world_paused_ns += 100;
    ck_assert(!world_lease(&world).fenced);
    store_registry_note_hearing(world.registry, store_registry_pauses(world.registry));

    /* What was given up may have another owner who was not heard yet. */
    store_registry_hand_over(world.registry, shard);
    ck_assert(!world_is_behind(&world));
    world_paused_ns += 1001;
    ck_assert(world_is_behind(&world));
    store_registry_note_hearing(world.registry, store_registry_pauses(world.registry));
    ck_assert(!world_is_behind(&world));
    ck_assert_uint_eq(store_registry_doubt(world.registry), 0);
    world_paused_ns = world_slept_ms = 0;
    world_close(&world);
}
END_TEST

START_TEST(after_a_pause_no_claim_counts_until_the_group_has_answered)
{
    struct store_shard *shard;
    struct world world;
    uint64_t doubt, next;

    world_paused_ns = 0;
    world_open(&world, true);
    shard = world_claim(&world, "0");
    store_registry_set_behind(world.registry, collection.name, "0", false);
    world_paused_ns = 5000000;
    ck_assert(!world_is_behind(&world)); /* nobody asked to watch */
    store_registry_watch_pauses(world.registry, 1000);
    world_paused_ns += 1000;
    ck_assert(!world_is_behind(&world));
    ck_assert_uint_eq(store_registry_doubt(world.registry), 0);
    world_paused_ns += 1001;
    ck_assert(world_is_behind(&world)); /* whoever looks first notices */
    ck_assert(world_lease(&world).doubtful);
    doubt = store_registry_doubt(world.registry);
    ck_assert_uint_ne(doubt, 0);

    /* An answer that was under way during another pause is worth nothing. */
    world_paused_ns += 1001;
    store_registry_end_doubt(world.registry, doubt);
    ck_assert(world_is_behind(&world));
    next = store_registry_doubt(world.registry);
    ck_assert_uint_ne(next, doubt);
    store_registry_end_doubt(world.registry, next);
    ck_assert(!world_is_behind(&world));
    /* What was lost meanwhile has had another owner: it does not answer as what is handed over does. */
    world_paused_ns += 1001;
    store_registry_hand_over(world.registry, shard);
    ck_assert(world_is_behind(&world));
    store_registry_end_doubt(world.registry, store_registry_doubt(world.registry));
    ck_assert(world_is_behind(&world));
    ck_assert_uint_eq(store_registry_doubt(world.registry), 0);
    world_paused_ns = 0;
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(a_shard_that_somebody_has_in_a_newer_generation_is_fenced),
           TEST(a_copy_is_late_while_others_have_more_for_too_long_or_too_much_of_it),
           TEST(a_handed_over_shard_that_comes_back_is_what_it_was),
           TEST(a_handed_over_shard_that_others_may_have_had_unheard_is_behind),
           TEST(of_two_claims_the_newer_one_ends_a_handed_over_shard),
           TEST(a_handed_over_shard_that_nobody_comes_for_is_forsaken_in_time),
           TEST(a_handed_over_shard_whose_copy_comes_here_is_kept),
           TEST(after_an_absence_a_shard_is_behind_until_others_are_heard),
           TEST(after_a_pause_no_claim_counts_until_the_group_has_answered))
