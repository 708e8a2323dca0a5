/* Requests end at their deadline, and when nobody waits for them, whatever they are at. */
#include "tests/indexer/query/query_world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"

enum { ROWS = TEST_SANITIZED ? 80 : 600, CONDITIONS = 4000 };
#define START_MS (INT64_C(1000) * 3600000)

enum operation { COUNT, SEARCH, EXACT_SEARCH, SCROLL, ORDERED_SCROLL, FACET, FORMULA, OPERATIONS };

/* Thousands of conditions on a text, none of which any row meets: milliseconds for each row. */
static const char *slow_json(struct arena *arena)
{
    struct buffer json = {0};
    const char *text;

    buffer_append_text(&json, "{\"should\":[");
    for (int i = 0; i < CONDITIONS; i++)
        buffer_append_format(&json, "%s{\"key\":\"tag\",\"match\":{\"text\":\"u%d v\"}}",
                             i > 0 ? "," : "", i);
    buffer_append_text(&json, "]}");
    text = arena_copy(arena, json.data, json.size);
    buffer_destroy(&json);
    return text;
}

/* The same conditions, of each row that is found without them. */
static int score_slowly(struct query_view *view, const struct query_search *like,
                        struct query_result *result, struct error *error)
{
    const char *json = slow_json(like->arena);
    const struct query_formula *formula;
    struct query_search search = *like;
    struct query_result found;
    struct doc document;

    search.filter = NULL;
    search.limit = ROWS;
    ck_assert_int_eq(doc_parse_json(like->arena, json, strlen(json), NULL, &document, error), 0);
    ck_assert_int_eq(query_formula_compile(&document, NULL, "", like->arena, &formula, error), 0);
    if (query_search_run(view, &search, &found, error) != 0)
        return error->code;
    return query_formula_run(view, formula, &search, &found, 1, result, error);
}

static void open_world(struct world *world)
{
    world_open(world, &(struct world_options){.shard_count = 1,
                                              .dim = 8,
                                              .metric = VECTOR_METRIC_COSINE,
                                              .window_ms = 3600000,
                                              .seed = test_seed()});
    for (uint64_t id = 0; id < ROWS; id++)
        world_upsert(world, 0, id, START_MS, 0, NULL);
}

static int run(struct query_view *view, enum operation operation, const struct query_filter *filter,
               bool partial, struct arena *arena, struct query_result *result, struct error *error)
{
    static const float vector[8] = {1};
    struct query_scroll scroll = {.limit = 10,
                                  .filter = filter,
                                  .arena = arena,
                                  .order_by = operation == ORDERED_SCROLL ? "n" : NULL};
    struct query_search search = {.vector = vector,
                                  .limit = 10,
                                  .exact = operation == EXACT_SEARCH,
                                  .filter = filter,
                                  .partial = partial,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .arena = arena};
    struct query_facet_value *values;
    const uint8_t *next;
    size_t next_bytes, value_count;
    uint64_t count;

    *error = (struct error){0};
    switch (operation) {
    case COUNT:
        return query_count(view, filter, &count, error);
    case SCROLL:
    case ORDERED_SCROLL:
        return query_scroll_run(view, &scroll, result, &next, &next_bytes, error);
    case FACET:
        return query_facet(view, "n", filter, arena, &values, &value_count, error);
    case FORMULA:
        return score_slowly(view, &search, result, error);
    default:
        return query_search_run(view, &search, result, error);
    }
}

static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* What one operation costs this thread, with a view of its own. limit_ns, if not 0: the time until the
 * stop's deadline. */
static int64_t cost_of(struct world *world, enum operation operation, struct stop *stop,
                       int64_t limit_ns, int wanted, bool partial)
{
    const struct query_view_options options = {.collection = &world->collection,
                                               .registry = world->registry,
                                               .io = &world->clock.io,
                                               .timeout_ms = 600000,
                                               .stop = stop};
    struct query_view *view;
    struct query_result result = {0};
    struct arena arena;
    struct error error = {0};
    int64_t start_ns;
    int code;

    arena_create(&arena, 0);
    ck_assert_int_eq(query_view_open(&options, &view, &error), 0);
    {
        const struct query_filter *filter = world_filter(&arena, slow_json(&arena));
        if (limit_ns > 0)
            stop->deadline_ns = io_monotonic_ns(stop->io) + limit_ns;
        start_ns = cpu_ns();
        code = run(view, operation, filter, partial, &arena, &result, &error);
        start_ns = cpu_ns() - start_ns;
    }
    ck_assert_msg(code == wanted, "operation %d: %d instead of %d: %s", operation, code, wanted,
                  error.text);
    ck_assert_int_eq(result.partial, partial);
    query_view_close(view);
    arena_destroy(&arena);
    return start_ns;
}

/* In a memtable, a chunk and a run there are other ways to the rows. */
static void each_form(struct world *world,
                      void (*check)(struct world *world, enum operation operation))
{
    for (int form = 0; form < 3; form++) {
        if (form == 1)
            world_flush(world, 0);
        if (form == 2) {
            atomic_store(&world->clock.now_ms, START_MS + 2 * 3600000);
            world_seal(world, 0, START_MS);
            world_index(world, 0, START_MS);
        }
        /* A formula does not look for rows: one form is as good as another. */
        for (int operation = 0; operation < (form == 0 ? OPERATIONS : FORMULA); operation++)
            check(world, (enum operation)operation);
    }
}

enum { SHARE = 20, SLACK = 5 };

static void check_deadline(struct world *world, enum operation operation)
{
    int64_t whole_ns = cost_of(world, operation, NULL, 0, 0, false);
    struct stop stop;
    int64_t cut_ns;

    for (int partial = 0; partial <= (operation == SEARCH || operation == EXACT_SEARCH);
         partial++) {
        stop_create(&stop, &world->clock.io);
        cut_ns = cost_of(world, operation, &stop, whole_ns / SHARE, partial ? 0 : ERROR_TIMEOUT,
                         partial);
        ck_assert_msg(cut_ns < whole_ns / SHARE * SLACK,
                      "operation %d took %lld us with a deadline of %lld us", operation,
                      (long long)cut_ns / 1000, (long long)whole_ns / SHARE / 1000);
    }
}

START_TEST(a_filter_of_thousands_of_conditions_ends_at_the_deadline)
{
    struct world world;

    open_world(&world);
    each_form(&world, check_deadline);
    world_close(&world);
}
END_TEST

static bool after_some_looks(void *context)
{
    return ++*(int *)context == 3;
}

static void check_abandoned(struct world *world, enum operation operation)
{
    int64_t whole_ns = cost_of(world, operation, NULL, 0, 0, false);
    int looks = 0;
    struct stop stop;

    stop_create(&stop, &world->clock.io);
    stop.abandoned = after_some_looks;
    stop.context = &looks;
    /* Partial or not: nobody is there to take it. */
    if (whole_ns > 10 * STOP_LOOK_MS * INT64_C(1000000))
        ck_assert_int_lt(cost_of(world, operation, &stop, 0, ERROR_CANCELLED, false), whole_ns);
}

START_TEST(a_request_that_nobody_waits_for_is_given_up)
{
    struct world world;

    open_world(&world);
    each_form(&world, check_abandoned);
    world_close(&world);
}
END_TEST

TEST_TABLE(TEST(a_filter_of_thousands_of_conditions_ends_at_the_deadline),
           TEST(a_request_that_nobody_waits_for_is_given_up))
