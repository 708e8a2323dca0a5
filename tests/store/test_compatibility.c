/* Stores that earlier versions wrote: see fixtures/README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/files/manifest_format.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/store/cut_names.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, NOW_MS = 1000000, STEPS = 7, TAIL = 6, SEGMENT_BYTES = 2290 };

/* What was appended: ids [put_first, + put_count) at times from `from_ms` on, then deletes. Each
 * step is one group. What happened after it is what the stored files show. */
static const struct step {
    uint32_t put_first, put_count;
    int64_t from_ms;
    uint32_t delete_first, delete_count;
} story[STEPS] = {
    {0, 30, 100, 0, 0},    /* flush: window 0, first chunk */
    {10, 10, 500, 0, 5},   /* flush: second chunk, masks of the first; seal; segment */
    {30, 30, 1100, 0, 0},  /* flush: window 1000, first chunk */
    {30, 10, 1500, 20, 1}, /* flush: second chunk, masks of the run and of the first chunk */
    {60, 20, 2100, 0, 0},  /* flush: window 2000 */
    {70, 5, 2500, 61, 2},  /* flush; both chunks into one unsealed run */
    {80, 10, 3100, 31, 1}, /* stays in the log, with a new version of id 12 */
};

static void tell_story(struct model *model)
{
    struct fixture_group *group = calloc(1, sizeof(*group));

    ck_assert_ptr_nonnull(group);
    model->next_offset = -1;
    for (unsigned step = 0; step < STEPS; step++) {
        const struct step *from = &story[step];
        memset(&group->group, 0, sizeof(group->group));
        fixture_group_start(group, model->next_offset);
        for (uint32_t i = 0; i < from->put_count; i++)
            fixture_group_put(group, from->put_first + i, from->from_ms + i, i == 3 ? 500000 : 0,
                              i % 5 * 40, false);
        for (uint32_t i = 0; i < from->delete_count; i++)
            fixture_group_delete(group, from->delete_first + i, false);
        if (step == TAIL)
            fixture_group_put(group, 12, 1200, 0, 80, false);
        group->group.topic = fixture_topic_fingerprint(group->group.next_offset);
        model_apply(model, &group->group);
    }
    free(group);
}

/* What each release adds to the name of its folder. */
static const char *const releases[] = {"", "-0.2.0"};

#define EACH_RELEASE(release)                                                                      \
    for (size_t release = 0; release < sizeof(releases) / sizeof(releases[0]); release++)

/* Opening changes files: a copy is opened. */
static const char *copy_fixture(size_t release)
{
    static char folder[256];
    char command[1024];

    snprintf(folder, sizeof(folder), "%s/store%s", test_directory(), releases[release]);
    snprintf(command, sizeof(command), "cp -R '%s%s' '%s'", FIXTURE_STORE, releases[release],
             folder);
    ck_assert_int_eq(system(command), 0);
    return folder;
}

static struct store_shard *open_shard(struct store *store, const char *name)
{
    bool packed = strcmp(name, "packed") == 0;
    struct store_shard_options options = {.collection = "news",
                                          .name = name,
                                          .dim = FIXTURE_DIM,
                                          .metric = VECTOR_METRIC_L2,
                                          .window_ms = WINDOW_MS,
                                          .durability = packed ? STORE_DURABILITY_KAFKA
                                                               : STORE_DURABILITY_LOG,
                                          .codec = packed ? VECTOR_CODEC_PACKED : VECTOR_CODEC_RAW};
    struct store_shard *shard;
    struct error error = {0};

    ck_assert_msg(store_shard_open(store, &options, &shard, &error) == 0, "%s", error.text);
    return shard;
}

/* Files and windows as the story left them. */
static void check_windows(struct store_shard *shard)
{
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    ck_assert_uint_eq(info.window_count, 4);
    ck_assert_uint_eq(info.damage_count, 0);
    ck_assert(info.windows[0].sealed);
    ck_assert_uint_eq(info.windows[0].generation, 1);
    ck_assert_uint_eq(info.windows[0].run.rows, 24); /* 5 of 30 deleted, 1 expired */
    ck_assert_uint_eq(info.windows[0].run.segment.bytes, SEGMENT_BYTES);
    ck_assert_double_eq(info.windows[0].run.segment.recall, 0.97);
    ck_assert_str_eq(store_window_state(&info.windows[0]), "indexed");
    ck_assert_uint_eq(info.windows[1].chunk_count, 2);
    ck_assert_uint_eq(info.windows[2].chunk_count, 1);
    ck_assert_uint_eq(info.windows[2].chunks[0].rows, 16); /* 2 of 20 deleted, 2 expired */
    ck_assert_uint_eq(info.windows[3].memtable_rows, 10);
    ck_assert_int_eq(info.clock.watermark_ms, story[TAIL].from_ms);
    arena_destroy(&arena);
}

static void check_shard(const char *data_dir, const char *name, const struct model *model)
{
    struct error error = {0};
    struct store *store = fixture_store(fixture_io(NULL), data_dir, 64 * 1024);
    struct store_shard *shard = open_shard(store, name);
    const char *problem = fixture_check(shard, model, NOW_MS, 0);

    ck_assert_msg(!problem, "%s/%s: %s", data_dir, name, problem);
    check_windows(shard);
    /* And it goes on: what was unsealed is sealed, what was in the log is flushed. */
    for (int64_t start_ms = 0; start_ms <= 3000; start_ms += WINDOW_MS)
        ck_assert_msg(compact_seal(shard, start_ms, WINDOW_MS, NOW_MS, &error) == 0, "%s",
                      error.text);
    problem = fixture_check(shard, model, NOW_MS, 0);
    ck_assert_msg(!problem, "%s/%s, sealed: %s", data_dir, name, problem);
    ck_assert_int_eq(store_shard_close(shard, true, &error), 0);
    store_close(store);
    store = fixture_store(fixture_io(NULL), data_dir, 64 * 1024);
    shard = open_shard(store, name);
    problem = fixture_check(shard, model, NOW_MS, 0);
    ck_assert_msg(!problem, "%s/%s, opened again: %s", data_dir, name, problem);
    ck_assert_int_eq(store_shard_close(shard, true, &error), 0);
    store_close(store);
}

START_TEST(store_of_an_earlier_version_opens_with_every_row_and_goes_on)
{
    struct model model = {0};

    tell_story(&model);
    EACH_RELEASE(release)
    {
        const char *data_dir = copy_fixture(release);
        check_shard(data_dir, "raw", &model);
        check_shard(data_dir, "packed", &model);
    }
    model_destroy(&model);
}
END_TEST

START_TEST(store_of_an_earlier_version_is_verified)
{
    EACH_RELEASE(release)
    {
        struct buffer findings = {0};
        struct error error = {0};
        int code = store_verify(fixture_io(NULL), copy_fixture(release), NULL, &findings, &error);

        ck_assert_msg(code == 0, "store%s: %s: %s", releases[release], error.text,
                      buffer_text(&findings));
        buffer_destroy(&findings);
    }
}
END_TEST

static void add_collection(const char *data_dir)
{
    char command[1024];

    snprintf(command, sizeof(command), "cp -R '%s/news' '%s/clicks'", data_dir, data_dir);
    ck_assert_int_eq(system(command), 0);
}

static bool has_folder(const char *data_dir, const char *name)
{
    char path[1600];

    snprintf(path, sizeof(path), "%s/%s", data_dir, name);
    return access(path, F_OK) == 0;
}

/* Each collection is where it belongs, and an earlier windrow cannot read what is in its former place. */
static void check_places(const char *data_dir)
{
    static const char *const names[] = {"news", "clicks"};

    for (size_t i = 0; i < 2; i++) {
        struct manifest_state state;
        struct error error = {0};
        char path[1024];

        snprintf(path, sizeof(path), "collections.d/%s/raw/CURRENT", names[i]);
        ck_assert(has_folder(data_dir, path));
        snprintf(path, sizeof(path), "%s/raw", names[i]);
        ck_assert(!has_folder(data_dir, path));
        snprintf(path, sizeof(path), "%s~moved", names[i]);
        ck_assert(!has_folder(data_dir, path));
        snprintf(path, sizeof(path), "%s/%s/moved-to-collections.d", data_dir, names[i]);
        ck_assert_int_eq(manifest_read_current(io_posix(), path, &state, &error),
                         ERROR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(error.text, "a newer windrow wrote it"));
        manifest_state_destroy(&state);
    }
}

/* Two collections move; wherever that ends, the next start goes on. */
START_TEST(move_of_collections_that_was_cut_off_goes_on_with_the_next_start)
{
    struct model model = {0};
    unsigned cut = 0;
    bool whole = false;

    tell_story(&model);
    for (; !whole && cut < 60; cut++) {
        char command[512];
        const char *data_dir = copy_fixture(cut % 2);
        struct store_options options = {.data_dir = data_dir, .io = cut_names_io(cut)};
        struct store *store;
        struct error error = {0};

        add_collection(data_dir);
        whole = store_open(&options, &store, &error) == 0;
        if (whole)
            store_close(store);
        if (cut % 5 == 0)
            check_shard(data_dir, "raw", &model);
        store = fixture_store(fixture_io(NULL), data_dir, 64 * 1024);
        store_close(store);
        check_places(data_dir);
        snprintf(command, sizeof(command), "rm -R '%s'", data_dir);
        ck_assert_int_eq(system(command), 0);
    }
    ck_assert(whole);
    ck_assert_uint_gt(cut, 20);
    model_destroy(&model);
}
END_TEST

/* As docs/operations.md says, but the notice was left: it is no shard of the collection when that moves again. */
START_TEST(collection_that_went_back_moves_again)
{
    const char *data_dir = copy_fixture(1);
    struct store *store = fixture_store(fixture_io(NULL), data_dir, 64 * 1024);
    char command[1024];

    store_close(store);
    snprintf(command, sizeof(command), "mv '%s'/collections.d/news/* '%s/news'", data_dir,
             data_dir);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof(command), "rmdir '%s/collections.d/news'", data_dir);
    ck_assert_int_eq(system(command), 0);
    store = fixture_store(fixture_io(NULL), data_dir, 64 * 1024);
    ck_assert(has_folder(data_dir, "collections.d/news/raw/CURRENT"));
    ck_assert(!has_folder(data_dir, "collections.d/news/moved-to-collections.d"));
    ck_assert(has_folder(data_dir, "news/moved-to-collections.d/CURRENT"));
    snprintf(command, sizeof(command), "rm -R '%s'/collections.d/news/*", data_dir);
    ck_assert_int_eq(system(command), 0);
    store_collection_forget(store, "news");
    ck_assert(!has_folder(data_dir, "news") && !has_folder(data_dir, "collections.d/news"));
    store_close(store);
}
END_TEST

/* An earlier windrow was started again after the move, and wrote beside LOCK. */
START_TEST(collection_in_both_places_is_refused_and_both_stay)
{
    const char *data_dir = copy_fixture(1);
    struct store_options options = {.data_dir = data_dir};
    struct error error = {0};
    struct store *store = fixture_store(fixture_io(NULL), data_dir, 64 * 1024);
    char command[512];

    store_close(store);
    snprintf(command, sizeof(command), "cp -R '%s/collections.d/news/raw' '%s/news'", data_dir,
             data_dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(store_open(&options, &store, &error), ERROR_EXISTS);
    ck_assert_ptr_nonnull(strstr(error.text, "is of an earlier windrow"));
    ck_assert(has_folder(data_dir, "news/raw/CURRENT"));
    ck_assert(has_folder(data_dir, "collections.d/news/raw/CURRENT"));
}
END_TEST

TEST_TABLE(TEST(move_of_collections_that_was_cut_off_goes_on_with_the_next_start),
           TEST(collection_that_went_back_moves_again),
           TEST(collection_in_both_places_is_refused_and_both_stay),
           TEST(store_of_an_earlier_version_opens_with_every_row_and_goes_on),
           TEST(store_of_an_earlier_version_is_verified))
