/* Searches through spans: over windows of every size, of which rows, runs and all of them go. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "indexer/query/view.h"
#include "store/store.h"
#include "tests/indexer/query/question.h"

/* Windows that a span covers are searched through it; `wanted` of them. */
static void check_decayed_spans(struct world *world, struct query_view *view, int64_t half_life_ms,
                                size_t wanted)
{
    struct question question = {.limit = 10};
    struct query_result result;
    struct error error = {0};
    struct arena arena;
    size_t found = 0;
    struct query_search search = {.vector = question.vector,
                                  .limit = 10,
                                  .from_ms = INT64_MIN,
                                  .to_ms = INT64_MAX,
                                  .half_life_ms = half_life_ms,
                                  .explain = true,
                                  .arena = &arena};

    arena_create(&arena, 0);
    world_random_vector(world, question.vector);
    ck_assert_int_eq(query_search_run(view, &search, &result, &error), 0);
    for (size_t i = 0; i < result.explain_count; i++)
        found += strstr(result.explain[i].source, "_span") != NULL;
    arena_destroy(&arena);
    ck_assert_uint_eq(found, wanted);
}

static void check_spans(struct world *world, struct query_view *view, size_t wanted)
{
    check_decayed_spans(world, view, 0, wanted);
}

/* Brute force and the world agree on searches of every kind; spans must not show. */
static void check_questions(struct world *world, struct recall *recall)
{
    struct query_view *view = world_view(world);
    struct question question;

    for (int i = 0; i < 60; i++) {
        question_random(world, &question);
        question.ef = 0;
        if (i % 3 == 0) {
            question.from_ms = START_MS + (int64_t)(test_random(&world->random) % 5) * HOUR_MS / 2;
            question.to_ms =
                question.from_ms + (int64_t)(test_random(&world->random) % 6) * HOUR_MS / 2 + 1;
        }
        if (i % 7 == 0)
            question.half_life_ms = i % 2 ? HOUR_MS : 100 * HOUR_MS;
        question_ask_and_check(world, view, &question, recall);
    }
    query_view_close(view);
}

/* The span's first part is not wanted, and of the others every row is. */
static void check_all_but_the_first_window(struct world *world, struct recall *recall)
{
    struct query_view *view = world_view(world);
    struct question question = {
        .limit = 10, .from_ms = START_MS + HOUR_MS, .to_ms = START_MS + 6 * HOUR_MS};

    world_random_vector(world, question.vector);
    question_ask_and_check(world, view, &question, recall);
    query_view_close(view);
}

static void check_span_of_unequal_windows(bool lists, uint64_t seed)
{
    static const uint32_t rows[] = {1, 700, 3, 0, 1900, 40};
    struct world world;
    struct recall recall = {0};
    struct query_view *view;
    uint64_t id = 0;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, seed);
    world.collection.hnsw_ef = 0;
    world.collection.recall = 0.95;
    atomic_store(&world.clock.now_ms, START_MS + 6 * HOUR_MS);
    for (int hour = 0; hour < 6; hour++) {
        for (uint32_t i = 0; i < rows[hour]; i++)
            world_upsert(&world, 0, id++,
                         START_MS + hour * HOUR_MS + (int64_t)i * (HOUR_MS - 1) / rows[hour], 0,
                         NULL);
        if (rows[hour] > 0)
            world_seal(&world, 0, START_MS + hour * HOUR_MS);
    }
    ck_assert(world_span(&world, 0, START_MS, START_MS + 6 * HOUR_MS, 1, lists));
    view = world_view(&world);
    check_spans(&world, view, 5);
    check_decayed_spans(&world, view, 100 * HOUR_MS, 5);
    check_decayed_spans(&world, view, HOUR_MS, 0); /* scores differ too much between windows */
    query_view_close(view);
    check_all_but_the_first_window(&world, &recall);
    check_questions(&world, &recall);
    for (uint64_t i = 701; i < 704; i++) /* all rows of a window, whose run stays */
        world_delete(&world, 0, i, START_MS + 2 * HOUR_MS);
    world_upsert(&world, 0, 1, START_MS + HOUR_MS, 0, NULL); /* late: the window is sealed anew */
    check_questions(&world, &recall);
    world_seal(&world, 0, START_MS + HOUR_MS);
    view = world_view(&world);
    check_spans(&world, view, 4);
    query_view_close(view);
    check_questions(&world, &recall);
    world_drop(&world, 0, START_MS);
    check_questions(&world, &recall);
    ck_assert(world_span(&world, 0, START_MS, START_MS + 6 * HOUR_MS, 2, lists));
    view = world_view(&world);
    check_spans(&world, view, 4); /* one of two tiers has each of them */
    query_view_close(view);
    check_questions(&world, &recall);
    printf("recall %.4f over %zu\n", (double)recall.right / (double)recall.wanted, recall.wanted);
    ck_assert_double_ge((double)recall.right / (double)recall.wanted, 0.93);
    for (uint64_t i = 0; i < id; i++) /* nothing is left, but the runs and the span are */
        world_delete(&world, 0, i, START_MS);
    check_questions(&world, &recall);
    world_close(&world);
}

START_TEST(graph_over_unequal_windows_answers_as_the_windows_would)
{
    check_span_of_unequal_windows(false, test_seed());
}
END_TEST

START_TEST(lists_over_unequal_windows_answer_as_the_windows_would)
{
    check_span_of_unequal_windows(true, test_seed());
}
END_TEST

static size_t count_notes(const struct query_view *view)
{
    const struct store_note *note = store_snapshot_notes(view->shards[0].snapshot);
    size_t count = 0;

    for (; note; note = note->next)
        count++;
    return count;
}

static void ask_of_all(struct world *world, uint32_t limit, size_t notes, struct answer *answer)
{
    struct query_view *view = world_view(world);
    struct question question = {.limit = limit};

    for (int i = 0; i < 3; i++)
        question.vector[i] = (float)(i + 1);
    question_ask(view, &question, answer);
    ck_assert_uint_eq(count_notes(view), notes);
    query_view_close(view);
}

/* A search finds what the one before it has chosen, a version has what was chosen for itself only, and searches that
 * are all different do not pile up notes. */
START_TEST(cover_is_remembered_beside_the_version)
{
    enum { HOURS = 4, ROWS = 600, LIMITS = 20, NOTES_MAX = 16 };
    struct answer first, again;
    struct question narrow = {.limit = 3};
    struct query_view *view;
    struct recall recall = {0};
    struct world world;

    question_open_world(&world, VECTOR_METRIC_L2, 1, 0, test_seed());
    world.collection.hnsw_ef = 0;
    world.collection.recall = 0.95;
    atomic_store(&world.clock.now_ms, START_MS + HOURS * HOUR_MS);
    for (uint64_t id = 0; id < HOURS * ROWS; id++)
        world_upsert(&world, 0, id, START_MS + (int64_t)(id / ROWS) * HOUR_MS, 0, NULL);
    for (int hour = 0; hour < HOURS; hour++)
        world_seal(&world, 0, START_MS + hour * HOUR_MS);
    ck_assert(world_span(&world, 0, START_MS, START_MS + HOURS * HOUR_MS, 1, false));
    ask_of_all(&world, 10, 1, &first);
    ask_of_all(&world, 10, 1, &again);
    ck_assert_uint_eq(first.count, again.count);
    ck_assert_mem_eq(first.ids, again.ids, first.count * sizeof(first.ids[0]));
    for (uint32_t i = 1; i <= LIMITS; i++)
        ask_of_all(&world, 10 + i, i < NOTES_MAX ? i + 1 : NOTES_MAX, &again);
    world_delete(&world, 0, first.ids[0], START_MS); /* begins a memtable: another version */
    ask_of_all(&world, 10, 1, &again);
    world_delete(&world, 0, first.ids[1], START_MS); /* the version stays */
    ask_of_all(&world, 10, 1, &again);
    ck_assert_uint_eq(again.ids[0], first.ids[2]);
    world_drop(&world, 0, START_MS);
    ask_of_all(&world, 10, 1, &again);
    narrow.from_ms = START_MS + HOUR_MS;
    narrow.to_ms = START_MS + 2 * HOUR_MS;
    view = world_view(&world);
    question_ask_and_check(&world, view, &narrow,
                           &recall); /* what is asked of a part leaves no note */
    ck_assert_uint_eq(count_notes(view), 1);
    query_view_close(view);
    check_questions(&world, &recall);
    world_close(&world);
}
END_TEST

/* The builder attaches them while somebody asks. */
START_TEST(segments_that_came_after_the_view_are_described_in_full)
{
    const struct doc *windows, *window, *segment, *span;
    struct query_shard_doc *shards;
    struct query_view *view;
    struct error error = {0};
    struct world world;
    struct arena arena;
    size_t count;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, test_seed());
    world.collection.hnsw_ef = 0;
    world.collection.recall = 0.95;
    atomic_store(&world.clock.now_ms, START_MS + HOUR_MS);
    for (uint64_t id = 0; id < 500; id++)
        world_upsert(&world, 0, id, START_MS + (int64_t)id, 0, NULL);
    world_flush(&world, 0);
    world_seal(&world, 0, START_MS);
    view = world_view(&world);
    world_index(&world, 0, START_MS);
    ck_assert(world_span(&world, 0, START_MS, START_MS + HOUR_MS, 1, false));
    arena_create(&arena, 0);
    ck_assert_int_eq(query_describe(view, &arena, &shards, &count, &error), 0);
    ck_assert_uint_eq(count, 1);
    windows = doc_get(&shards[0].doc, "windows");
    ck_assert_uint_eq(windows->count, 1);
    window = &windows->items[0];
    segment = doc_get(window, "segment");
    ck_assert(segment && doc_get(segment, "choice")->type == DOC_MAP);
    span = doc_get(window, "span");
    ck_assert(span->count == 1 && doc_get(&span->items[0], "choice")->type == DOC_MAP);
    arena_destroy(&arena);
    query_view_close(view);
    world_close(&world);
}
END_TEST

/* Builds gave the second window up. */
static bool say_why(void *context, struct store_shard *shard,
                    const struct store_window_info *window, char *why, size_t why_bytes)
{
    (void)context;
    (void)shard;
    (void)snprintf(why, why_bytes, "given up");
    return window->start_ms == START_MS + HOUR_MS;
}

static void add_nothing(void *context, struct query_described *shards, size_t count,
                        struct arena *arena)
{
    (void)context;
    (void)shards;
    (void)count;
    (void)arena;
}

/* An index at the first window, none at the others, the last one open. */
START_TEST(the_reason_of_a_window_is_that_of_builds_where_they_have_one)
{
    static const char *const beginnings[] = {"younger than", "given up", "no segment yet",
                                             "open windows"};
    const struct query_describer describer = {.add = add_nothing, .why_scanned = say_why};
    const struct doc *windows;
    struct query_shard_doc *shards;
    struct query_view *view;
    struct error error = {0};
    struct world world;
    struct arena arena;
    size_t count;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, test_seed());
    world.describer = &describer;
    atomic_store(&world.clock.now_ms, START_MS + 4 * HOUR_MS);
    for (uint64_t id = 0; id < 400; id++)
        world_upsert(&world, 0, id, START_MS + (int64_t)(id % 4) * HOUR_MS, 0, NULL);
    world_flush(&world, 0);
    for (int hour = 0; hour < 3; hour++)
        world_seal(&world, 0, START_MS + hour * HOUR_MS);
    world_index(&world, 0, START_MS);
    view = world_view(&world);
    arena_create(&arena, 0);
    ck_assert_int_eq(query_describe(view, &arena, &shards, &count, &error), 0);
    windows = doc_get(&shards[0].doc, "windows");
    ck_assert_uint_eq(windows->count, 4);
    for (uint32_t i = 0; i < windows->count; i++) {
        const struct doc *reason = doc_get(&windows->items[i], "reason");
        ck_assert(reason && reason->type == DOC_STRING);
        ck_assert_msg(reason->count >= strlen(beginnings[i]) &&
                          memcmp(reason->string, beginnings[i], strlen(beginnings[i])) == 0,
                      "window %u: %.*s", i, (int)reason->count, reason->string);
    }
    arena_destroy(&arena);
    query_view_close(view);
    world_close(&world);
}
END_TEST

/* Damage. */

/* One bit in the middle of every second file of vectors. */
static size_t damage_vectors(const char *directory)
{
    DIR *folder = opendir(directory);
    const struct dirent *entry;
    size_t found = 0;

    ck_assert_ptr_nonnull(folder);
    while ((entry = readdir(folder))) {
        char path[600];
        off_t middle;
        uint8_t byte;
        int file;
        if (!strstr(entry->d_name, ".vectors") || found++ % 2 != 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        file = open(path, O_RDWR);
        middle = lseek(file, 0, SEEK_END) / 2;
        ck_assert_int_eq(pread(file, &byte, 1, middle), 1);
        byte ^= 0x40;
        ck_assert_int_eq(pwrite(file, &byte, 1, middle), 1);
        close(file);
    }
    closedir(folder);
    return found;
}

/* Vectors are mapped: damage is what a failing disk looks like to a search. */
static void check_damaged_segments(bool lists, uint64_t seed)
{
    enum { HOURS = 6, ROWS = 700, SEARCHES = 12 };
    struct world world;
    struct query_view *view;
    struct arena arena;
    float vectors[SEARCHES][WORLD_DIM_MAX];
    uint64_t id = 0;

    question_open_world(&world, VECTOR_METRIC_COSINE, 1, 0, seed);
    atomic_store(&world.clock.now_ms, START_MS + HOURS * HOUR_MS);
    for (int hour = 0; hour < HOURS; hour++) {
        for (uint32_t i = 0; i < ROWS; i++)
            world_upsert(&world, 0, id++, START_MS + hour * HOUR_MS + (int64_t)i, 0, NULL);
        world_seal(&world, 0, START_MS + hour * HOUR_MS);
        world_index_as(&world, 0, START_MS + hour * HOUR_MS, lists);
    }
    ck_assert(world_span(&world, 0, START_MS, START_MS + 4 * HOUR_MS, 1, lists));
    ck_assert_uint_ge(damage_vectors(store_shard_directory(world.shards[0])), HOURS);
    world_restart(&world); /* what the seal has checked is not checked again by its process */
    view = world_view(&world);
    arena_create(&arena, 0);
    for (int kind = 0; kind < 4; kind++) {
        struct query_search searches[SEARCHES];
        struct query_result results[SEARCHES];
        struct error error = {0};
        for (size_t i = 0; i < SEARCHES; i++) {
            world_random_vector(&world, vectors[i]);
            searches[i] = (struct query_search){.vector = vectors[i],
                                                .limit = 10 + 20 * (uint32_t)i,
                                                .from_ms = INT64_MIN,
                                                .to_ms = INT64_MAX,
                                                .half_life_ms = kind == 1 ? 100 * HOUR_MS : 0,
                                                .arena = &arena};
            if (kind == 2)
                searches[i].scorer = (struct query_scorer){
                    .kind = QUERY_BEST_SCORE, .examples = vectors[0], .positive_count = 1};
            if (kind == 3)
                searches[i].filter = world_filter(&arena, "{\"must_not\":[{\"has_id\":[1,2,3]}]}");
        }
        ck_assert_msg(query_searches_run(view, searches, SEARCHES, results, &error) == 0, "%s",
                      error.text);
        for (size_t i = 0; i < SEARCHES; i++) {
            ck_assert_uint_gt(results[i].hit_count, 0);
            ck_assert(results[i].partial);
        }
    }
    arena_destroy(&arena);
    query_view_close(view);
    world_close(&world);
}

START_TEST(searches_through_damaged_segments_end_and_say_so)
{
    check_damaged_segments(false, test_seed());
    check_damaged_segments(true, test_seed() + 1);
}
END_TEST

TEST_TABLE(TEST(searches_through_damaged_segments_end_and_say_so),
           TEST(graph_over_unequal_windows_answers_as_the_windows_would),
           TEST(lists_over_unequal_windows_answer_as_the_windows_would),
           TEST(cover_is_remembered_beside_the_version),
           TEST(segments_that_came_after_the_view_are_described_in_full),
           TEST(the_reason_of_a_window_is_that_of_builds_where_they_have_one))
