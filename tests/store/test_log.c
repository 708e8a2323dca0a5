/* Log frames and what recovery makes of damaged, torn and stale ones. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/append.h"
#include "store/compaction.h"
#include "store/describe.h"
#include "store/files/log_frame.h"
#include "store/shard.h"
#include "store/store.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { MEMTABLE_BYTES = 64 * 1024 };

static const struct log_frame_identity identity = {7, 3, 99, 8192};

/* A frame of a random group at an aligned place; freed by the caller. */
static uint8_t *build(uint64_t *random, struct log_frame_layout *layout)
{
    static struct fixture_group group;
    uint32_t indices[FIXTURE_GROUP_MAX];
    uint8_t *bytes;

    memset(&group.group, 0, sizeof(group.group));
    fixture_group_random(&group, random, 5, 20, 64, 0, 1000);
    for (uint32_t i = 0; i < FIXTURE_GROUP_MAX; i++)
        indices[i] = i;
    ck_assert_int_eq(log_frame_plan(&group.group, indices, (uint32_t)group.group.record_count,
                                    FIXTURE_DIM, layout, ERROR_IGNORED),
                     0);
    bytes = aligned_alloc(4096, layout->frame_bytes);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 0xaa, layout->frame_bytes);
    log_frame_build(&group.group, indices, FIXTURE_DIM, layout, &identity, 11, LOG_FRAME_SYNCED,
                    bytes);
    return bytes;
}

START_TEST(frame_that_was_built_is_taken_apart)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 50; i++) {
        struct log_frame_layout layout;
        struct log_frame frame;
        struct error error = {0};
        uint8_t *bytes = build(&random, &layout);
        ck_assert_msg(
            log_frame_parse(bytes, layout.frame_bytes, &identity, FIXTURE_DIM, &frame, &error) == 0,
            "%s", error.text);
        ck_assert_uint_eq(layout.frame_bytes % LOG_FRAME_ALIGNMENT, 0);
        ck_assert_uint_eq((uintptr_t)frame.vectors % LOG_FRAME_VECTOR_ALIGNMENT, 0);
        ck_assert_uint_eq(frame.header->record_count, 20);
        free(bytes);
    }
}
END_TEST

/* A frame whose header was changed by someone who knows how to sign it. */
static int parse_signed(uint8_t *bytes, const struct log_frame_layout *layout)
{
    struct log_frame_header *header = (struct log_frame_header *)bytes;
    struct log_frame frame;

    header->checksum = log_frame_checksum(header);
    return log_frame_parse(bytes, layout->frame_bytes, &identity, FIXTURE_DIM, &frame,
                           ERROR_IGNORED);
}

START_TEST(mark_of_a_frame_lies_below_its_next_offset_or_is_not_known)
{
    uint64_t random = test_seed();
    struct log_frame_layout layout;
    uint8_t *bytes = build(&random, &layout);
    struct log_frame_header *header = (struct log_frame_header *)bytes;
    const struct store_topic_fingerprint topic = fixture_topic_fingerprint(header->next_offset);

    ck_assert_int_eq(header->topic_offset, topic.offset);
    ck_assert_uint_eq(header->topic_hash, topic.hash);
    ck_assert_int_eq(parse_signed(bytes, &layout), 0);
    header->topic_offset = header->next_offset;
    ck_assert_int_eq(parse_signed(bytes, &layout), ERROR_CORRUPT);
    header->topic_offset = -1;
    ck_assert_int_eq(parse_signed(bytes, &layout), ERROR_CORRUPT);
    header->topic_offset = 0; /* as before it was kept */
    header->topic_hash = 0;
    ck_assert_int_eq(parse_signed(bytes, &layout), 0);
    free(bytes);
}
END_TEST

START_TEST(every_flipped_byte_of_a_frame_is_noticed)
{
    uint64_t random = test_seed();
    struct log_frame_layout layout;
    struct log_frame frame;
    uint8_t *bytes = build(&random, &layout);
    unsigned missed = 0;

    for (uint64_t i = 0; i < layout.frame_bytes; i++) {
        uint8_t flip = (uint8_t)(1u << (test_random(&random) % 8));
        bytes[i] ^= flip;
        missed += log_frame_parse(bytes, layout.frame_bytes, &identity, FIXTURE_DIM, &frame,
                                  ERROR_IGNORED) != ERROR_CORRUPT;
        bytes[i] ^= flip;
    }
    ck_assert_uint_eq(missed, 0);
    free(bytes);
}
END_TEST

START_TEST(frame_of_another_file_use_or_place_does_not_pass)
{
    static const struct log_frame_identity others[] = {
        {8, 3, 99, 8192}, {7, 4, 99, 8192}, {7, 3, 98, 8192}, {7, 3, 99, 4096}};
    uint64_t random = test_seed();
    struct log_frame_layout layout;
    struct log_frame frame;
    uint8_t *bytes = build(&random, &layout);

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        ck_assert_int_eq(log_frame_parse(bytes, layout.frame_bytes, &others[i], FIXTURE_DIM, &frame,
                                         ERROR_IGNORED),
                         ERROR_CORRUPT);
    ck_assert_int_eq(log_frame_parse(bytes, layout.frame_bytes, &identity, FIXTURE_DIM + 1, &frame,
                                     ERROR_IGNORED),
                     ERROR_CORRUPT);
    for (uint64_t cut = 0; cut < layout.frame_bytes; cut += 64)
        ck_assert_int_eq(log_frame_parse(bytes, cut, &identity, FIXTURE_DIM, &frame, ERROR_IGNORED),
                         ERROR_CORRUPT);
    free(bytes);
}
END_TEST

/* Recovery. */

struct scene {
    struct store *store;
    struct store_shard *shard;
    struct model models[5]; /* after each group */
    char log_path[4096];
    uint64_t ends[5]; /* bytes of the log after each group */
};

static void scene_open(struct scene *scene)
{
    scene->store = fixture_store(fixture_io(NULL), test_directory(), MEMTABLE_BYTES);
    scene->shard = fixture_shard(scene->store, 1000, 0, STORE_DURABILITY_LOG);
}

static void scene_close(struct scene *scene)
{
    ck_assert_int_eq(store_shard_close(scene->shard, false, ERROR_IGNORED), 0);
    store_close(scene->store);
}

/* The end of a test: what scene_start made goes. */
static void scene_destroy(struct scene *scene)
{
    for (size_t i = 0; i < sizeof(scene->models) / sizeof(scene->models[0]); i++)
        model_destroy(&scene->models[i]);
}

/* Four groups in one log file, closed without a flush. */
static void scene_start(struct scene *scene)
{
    uint64_t random = test_seed();
    struct fixture_group *group = calloc(1, sizeof(*group));

    ck_assert_ptr_nonnull(group);
    memset(scene, 0, sizeof(*scene));
    scene_open(scene);
    scene->models[0].next_offset = -1;
    for (int i = 1; i < 5; i++) {
        memset(&group->group, 0, sizeof(group->group));
        fixture_group_random(group, &random, scene->models[i - 1].next_offset, 15, 40, 0, 3000);
        for (size_t r = 0; r < group->group.record_count; r++)
            group->records[r].ttl_ms = 0;
        ck_assert_int_eq(store_shard_append(scene->shard, &group->group, ERROR_IGNORED), 0);
        model_copy(&scene->models[i], &scene->models[i - 1]);
        model_apply(&scene->models[i], &group->group);
        scene->ends[i] = scene->shard->writer.active->used_bytes;
    }
    snprintf(scene->log_path, sizeof(scene->log_path), "%s",
             scene->shard->writer.active->log->path);
    scene_close(scene);
    free(group);
}

static void overwrite(const struct scene *scene, uint64_t offset, uint64_t size, uint8_t value)
{
    int file = open(scene->log_path, O_WRONLY | O_CLOEXEC);
    uint8_t *bytes = malloc(size);

    ck_assert_int_ge(file, 0);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, value, size);
    ck_assert_int_eq(pwrite(file, bytes, size, (off_t)offset), (ssize_t)size);
    ck_assert_int_eq(close(file), 0);
    free(bytes);
}

START_TEST(torn_last_frame_is_the_end_of_the_log)
{
    struct scene scene;
    const char *problem;

    scene_start(&scene);
    overwrite(&scene, scene.ends[4] - 1500, 600, 0x5a);
    scene_open(&scene);
    problem = fixture_check(scene.shard, &scene.models[3], 0, 0);
    ck_assert_msg(!problem, "%s", problem);
    scene_close(&scene);
    scene_destroy(&scene);
}
END_TEST

/* What an interrupted write leaves of its header is neither a later frame nor one out of place. */
START_TEST(frame_cut_at_any_byte_of_its_header_is_the_end_of_the_log)
{
    static const uint8_t before[] = {0, 0x5a};
    struct scene scene;

    scene_start(&scene);
    for (uint64_t kept = sizeof(struct log_frame_header); kept-- > 0;) {
        for (size_t i = 0; i < sizeof(before); i++) {
            const char *problem;
            overwrite(&scene, scene.ends[3] + kept, scene.ends[4] - scene.ends[3] - kept,
                      before[i]);
            scene_open(&scene);
            problem = fixture_check(scene.shard, &scene.models[3], 0, 0);
            ck_assert_msg(!problem, "%d bytes: %s", (int)kept, problem);
            scene_close(&scene);
        }
    }
    scene_destroy(&scene);
}
END_TEST

START_TEST(zeros_from_a_frame_on_are_the_end_of_the_log)
{
    struct scene scene;
    const char *problem;

    scene_start(&scene);
    overwrite(&scene, scene.ends[2], scene.ends[4] - scene.ends[2], 0);
    scene_open(&scene);
    problem = fixture_check(scene.shard, &scene.models[2], 0, 0);
    ck_assert_msg(!problem, "%s", problem);
    scene_close(&scene);
    scene_destroy(&scene);
}
END_TEST

START_TEST(damaged_frame_before_acknowledged_ones_fails_the_opening)
{
    struct store_shard_options options = {.collection = "news",
                                          .name = "3",
                                          .dim = FIXTURE_DIM,
                                          .metric = VECTOR_METRIC_L2,
                                          .window_ms = 1000};
    struct scene scene;
    struct error error = {0};

    scene_start(&scene);
    overwrite(&scene, scene.ends[1] + 300, 1, 0x77);
    scene.store = fixture_store(fixture_io(NULL), test_directory(), MEMTABLE_BYTES);
    ck_assert_int_eq(store_shard_open(scene.store, &options, &scene.shard, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "acknowledged records follow"), "%s", error.text);
    store_close(scene.store);
    scene_destroy(&scene);
}
END_TEST

START_TEST(stale_frames_of_a_recycled_log_are_not_replayed)
{
    struct scene scene;
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct store_shard_info info;
    struct arena arena;
    const char *problem;
    uint64_t before;

    ck_assert_ptr_nonnull(group);
    scene_start(&scene);
    arena_create(&arena, 0);
    scene_open(&scene);
    /* Everything goes: the log file is free and holds four whole frames. */
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    store_shard_describe(scene.shard, &arena, &info);
    before = info.log_bytes;
    for (size_t i = 0; i < info.window_count; i++) {
        ck_assert_int_eq(
            store_shard_drop(scene.shard, info.windows[i].start_ms, 1000, "test", ERROR_IGNORED),
            0);
        model_drop(&scene.models[4], info.windows[i].start_ms, 1000);
    }
    store_shard_describe(scene.shard, &arena, &info);
    fixture_group_start(group, scene.models[4].next_offset);
    fixture_group_put(group, 1, 10, 0, 0, false);
    ck_assert_int_eq(store_shard_append(scene.shard, &group->group, ERROR_IGNORED), 0);
    model_apply(&scene.models[4], &group->group);
    ck_assert_str_eq(scene.shard->writer.active->log->path, scene.log_path);
    ck_assert_uint_eq(atomic_load(&scene.shard->logs.bytes), before);
    scene_close(&scene);
    scene_open(&scene);
    problem = fixture_check(scene.shard, &scene.models[4], 0, 0);
    ck_assert_msg(!problem, "%s", problem);
    scene_close(&scene);
    arena_destroy(&arena);
    free(group);
    scene_destroy(&scene);
}
END_TEST

START_TEST(group_larger_than_the_memtable_gets_a_log_of_its_size)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct store *store = fixture_store(fixture_io(NULL), test_directory(), 8192);
    struct store_shard *shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    struct model model = {.next_offset = -1};
    const char *problem;

    ck_assert_ptr_nonnull(group);
    for (int round = 0; round < 3; round++) {
        memset(&group->group, 0, sizeof(group->group));
        fixture_group_start(group, model.next_offset);
        for (uint32_t i = 0; i < FIXTURE_GROUP_MAX; i++)
            fixture_group_put(group, i, 100, 0, 400, false);
        ck_assert_int_eq(store_shard_append(shard, &group->group, ERROR_IGNORED), 0);
        model_apply(&model, &group->group);
        problem = fixture_check(shard, &model, 0, 0);
        ck_assert_msg(!problem, "%s", problem);
    }
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    problem = fixture_check(shard, &model, 0, 0);
    ck_assert_msg(!problem, "%s", problem);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
    model_destroy(&model);
    free(group);
}
END_TEST

START_TEST(full_memory_stalls_the_writer_until_a_flush)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct store_options options = {.data_dir = test_directory(),
                                    .memory_max_bytes = 256 * 1024,
                                    .memtable_max_bytes = MEMTABLE_BYTES,
                                    .io = fixture_io(NULL)};
    struct store *store;
    struct store_shard *shard;
    int code = 0;
    int groups = 0;

    ck_assert_ptr_nonnull(group);
    ck_assert_int_eq(store_open(&options, &store, ERROR_IGNORED), 0);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    while (code == 0 && groups++ < 1000) {
        memset(&group->group, 0, sizeof(group->group));
        fixture_group_start(group, store_shard_next_offset(shard));
        fixture_group_put(group, (uint32_t)groups, 100, 0, 100, false);
        code = store_shard_append(shard, &group->group, ERROR_IGNORED);
    }
    ck_assert_int_eq(code, ERROR_BUSY);
    ck_assert(store_shard_needs_flush(shard));
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert(!store_shard_needs_flush(shard));
    ck_assert_int_eq(store_shard_append(shard, &group->group, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
    free(group);
}
END_TEST

START_TEST(due_flush_leaves_the_memtable_that_has_just_begun)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct store_options options = {.data_dir = test_directory(),
                                    .memory_max_bytes = 64 * MEMTABLE_BYTES,
                                    .memtable_max_bytes = MEMTABLE_BYTES,
                                    .io = fixture_io(NULL)};
    struct store_shard_info info;
    struct arena arena;
    struct store *store;
    struct store_shard *shard;
    uint32_t groups = 0;

    ck_assert_ptr_nonnull(group);
    arena_create(&arena, 0);
    ck_assert_int_eq(store_open(&options, &store, ERROR_IGNORED), 0);
    shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    ck_assert_int_eq(store_shard_flush_due(shard, ERROR_IGNORED), 0); /* nothing is */
    while (!store_shard_needs_flush(shard)) {
        memset(&group->group, 0, sizeof(group->group));
        fixture_group_start(group, store_shard_next_offset(shard));
        fixture_group_put(group, ++groups, 100, 0, 100, false);
        ck_assert_int_eq(store_shard_append(shard, &group->group, ERROR_IGNORED), 0);
    }
    ck_assert_int_eq(store_shard_flush_due(shard, ERROR_IGNORED), 0);
    ck_assert(!store_shard_needs_flush(shard));
    store_shard_describe(shard, &arena, &info);
    ck_assert_uint_eq(info.window_count, 1);
    ck_assert_uint_eq(info.windows[0].chunk_count, 1);
    ck_assert_uint_eq(info.windows[0].chunks[0].rows, groups - 1);
    ck_assert_uint_eq(info.windows[0].memtable_rows, 1);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    store_shard_describe(shard, &arena, &info);
    ck_assert_uint_eq(info.windows[0].chunk_count, 2);
    ck_assert_int_eq(store_shard_close(shard, true, ERROR_IGNORED), 0);
    store_close(store);
    arena_destroy(&arena);
    free(group);
}
END_TEST

static void reopen_scene(struct scene *scene)
{
    scene_close(scene);
    scene_open(scene);
}

static void expect_topic_fingerprint(struct scene *scene, struct store_topic_fingerprint expected)
{
    struct store_topic_fingerprint topic = store_shard_topic_fingerprint(scene->shard);

    ck_assert_int_eq(topic.offset, expected.offset);
    ck_assert_uint_eq(topic.hash, expected.hash);
}

/* From the log, then from the manifest; without records, and taken away on purpose. */
START_TEST(mark_comes_back_with_the_next_offset)
{
    struct scene scene;
    struct store_group group = {0};
    const struct store_topic_fingerprint none = {0};

    scene_start(&scene);
    scene_open(&scene);
    group.next_offset = store_shard_next_offset(scene.shard);
    group.topic = fixture_topic_fingerprint(group.next_offset);
    expect_topic_fingerprint(&scene, group.topic);
    ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
    reopen_scene(&scene);
    expect_topic_fingerprint(&scene, group.topic);

    group.next_offset += 7;
    ck_assert_int_eq(store_shard_append(scene.shard, &group, ERROR_IGNORED), 0);
    reopen_scene(&scene);
    expect_topic_fingerprint(&scene, group.topic);
    ck_assert_int_eq(store_shard_next_offset(scene.shard), group.next_offset);

    for (int flush = 0; flush < 2; flush++) {
        group.topic = fixture_topic_fingerprint(group.next_offset);
        ck_assert_int_eq(store_shard_append(scene.shard, &group, ERROR_IGNORED), 0);
        ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
        group.topic = none;
        ck_assert_int_eq(store_shard_append(scene.shard, &group, ERROR_IGNORED), 0);
        expect_topic_fingerprint(&scene, none);
        if (flush)
            ck_assert_int_eq(store_shard_flush(scene.shard, ERROR_IGNORED), 0);
        reopen_scene(&scene);
        expect_topic_fingerprint(&scene, none);
    }
    group.topic = (struct store_topic_fingerprint){group.next_offset, 1};
    ck_assert_int_eq(store_shard_append(scene.shard, &group, ERROR_IGNORED), ERROR_INVALID);
    group.topic.offset = -1;
    ck_assert_int_eq(store_shard_append(scene.shard, &group, ERROR_IGNORED), ERROR_INVALID);
    expect_topic_fingerprint(&scene, none);
    scene_close(&scene);
    scene_destroy(&scene);
}
END_TEST

/* The last frame's, as it was when that was appended: also when a windrow that keeps none wrote it. */
START_TEST(log_clock_comes_back_with_the_next_offset)
{
    struct scene scene;
    struct store_group group = {0};

    scene_start(&scene);
    for (int i = 0; i < 4; i++) {
        const bool known = i % 2 == 0;
        struct store_log_clock log;
        scene_open(&scene);
        group.next_offset = store_shard_next_offset(scene.shard) + 1;
        group.clock.log =
            known ? (struct store_log_clock){true, 5 - i, 6, 7} : (struct store_log_clock){0};
        ck_assert_int_eq(store_shard_append(scene.shard, &group, ERROR_IGNORED), 0);
        reopen_scene(&scene);
        log = store_shard_clock(scene.shard).log;
        ck_assert_int_eq(log.known, known);
        ck_assert_int_eq(log.time_ms, group.clock.log.time_ms);
        ck_assert_int_eq(log.stamp_ms, group.clock.log.stamp_ms);
        ck_assert_int_eq(log.watermark_ms, group.clock.log.watermark_ms);
        scene_close(&scene);
    }
    scene_destroy(&scene);
}
END_TEST

TEST_TABLE(TEST(frame_that_was_built_is_taken_apart),
           TEST(mark_of_a_frame_lies_below_its_next_offset_or_is_not_known),
           TEST(mark_comes_back_with_the_next_offset),
           TEST(log_clock_comes_back_with_the_next_offset),
           TEST(every_flipped_byte_of_a_frame_is_noticed),
           TEST(frame_of_another_file_use_or_place_does_not_pass),
           TEST(torn_last_frame_is_the_end_of_the_log),
           TEST(frame_cut_at_any_byte_of_its_header_is_the_end_of_the_log),
           TEST(zeros_from_a_frame_on_are_the_end_of_the_log),
           TEST(damaged_frame_before_acknowledged_ones_fails_the_opening),
           TEST(stale_frames_of_a_recycled_log_are_not_replayed),
           TEST(group_larger_than_the_memtable_gets_a_log_of_its_size),
           TEST(full_memory_stalls_the_writer_until_a_flush),
           TEST(due_flush_leaves_the_memtable_that_has_just_begun))
