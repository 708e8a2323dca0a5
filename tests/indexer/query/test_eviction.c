/* Searches whose rows and segments are not in memory: the kernel is made to give up what it has of the
 * store's files before each search. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/indexer/query/question.h"

enum { ROWS = 6000, QUESTIONS = 25 };

/* Unmapped pages of a file can be given up: those that are mapped are let go of first. */
static void evict(const struct world *world)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], path[400];

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long begin, end;
        int file;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %399s", &begin, &end, path) != 3 ||
            strncmp(path, world->folder, strlen(world->folder)) != 0)
            continue;
        ck_assert_int_eq(madvise((void *)begin, end - begin, MADV_DONTNEED), 0);
        file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            continue;
        (void)fdatasync(file);
        ck_assert_int_eq(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
        ck_assert_int_eq(close(file), 0);
    }
    ck_assert_int_eq(fclose(maps), 0);
}

/* Half an hour of rows, sealed, with a segment. */
static void fill(struct world *world, bool lists, enum vector_codec codec)
{
    atomic_store(&world->clock.now_ms, START_MS + HOUR_MS);
    world->collection.storage = codec;
    world_restart(world);
    for (uint64_t id = 0; id < ROWS; id++)
        world_upsert(world, 0, id, START_MS + (int64_t)id, 0, NULL);
    world_seal(world, 0, START_MS);
    world_index_as(world, 0, START_MS, lists);
}

static double reads_of(const struct answer *answer)
{
    double reads = 0;

    for (size_t i = 0; i < answer->result.explain_count; i++)
        reads += answer->result.explain[i].reads;
    return reads;
}

static void ask(struct query_view *view, const struct question *question, struct answer *answer,
                struct arena *arena)
{
    struct query_search search = question_search(question, arena);
    struct error error = {0};

    search.explain = true;
    ck_assert_msg(query_search_run(view, &search, &answer->result, &error) == 0, "%s", error.text);
    answer->count = answer->result.hit_count;
    for (size_t i = 0; i < answer->count; i++) {
        answer->ids[i] = world_hit_id(&answer->result.hits[i].row);
        answer->scores[i] = answer->result.hits[i].score;
    }
}

static void check_same(const struct answer *left, const struct answer *right)
{
    ck_assert_uint_eq(left->count, right->count);
    ck_assert_mem_eq(left->ids, right->ids, left->count * sizeof(*left->ids));
    ck_assert_mem_eq(left->scores, right->scores, left->count * sizeof(*left->scores));
}

static void check_evicted(enum vector_metric metric, bool lists, enum vector_codec codec)
{
    static struct question questions[QUESTIONS];
    static struct answer warm[QUESTIONS], cold;
    struct world world;
    struct query_view *view;
    struct arena arena;
    double reads = 0;

    question_open_world(&world, metric, 1, 0, test_seed());
    fill(&world, lists, codec);
    view = world_view(&world);
    arena_create(&arena, 0);
    for (int i = 0; i < QUESTIONS; i++) {
        question_random(&world, &questions[i]);
        questions[i].exact = i % 10 == 9;
        ask(view, &questions[i], &warm[i], &arena);
        ask(view, &questions[i], &warm[i], &arena);
        ck_assert_double_eq(reads_of(&warm[i]), 0);
    }
    for (int i = 0; i < QUESTIONS; i++) {
        evict(&world);
        ask(view, &questions[i], &cold, &arena);
        check_same(&warm[i], &cold);
        reads += reads_of(&cold);
    }
    arena_destroy(&arena);
    query_view_close(view);
    world_close(&world);
    if (reads == 0)
        test_skip("this file system keeps its pages");
}

START_TEST(lists_that_have_to_be_read_answer_the_same_and_tell_the_reads)
{
    check_evicted(VECTOR_METRIC_L2, true, VECTOR_CODEC_RAW);
    check_evicted(VECTOR_METRIC_DOT, true, VECTOR_CODEC_INT8);
}
END_TEST

START_TEST(graphs_that_have_to_be_read_answer_the_same_and_tell_the_reads)
{
    check_evicted(VECTOR_METRIC_L2, false, VECTOR_CODEC_RAW);
    check_evicted(VECTOR_METRIC_COSINE, false, VECTOR_CODEC_FLOAT16);
}
END_TEST

TEST_TABLE(TEST(lists_that_have_to_be_read_answer_the_same_and_tell_the_reads),
           TEST(graphs_that_have_to_be_read_answer_the_same_and_tell_the_reads))
