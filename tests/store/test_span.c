/* Spans: a part is live exactly while its run is the window's, in snapshots, after opening again, and
 * in what a manifest adds up to. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/attach.h"
#include "store/backup.h"
#include "store/files/manifest_format.h"
#include "store/shard.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "store/tools/backup_folder.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, WINDOWS = 6, NOW_MS = 100000, SEGMENT_BYTES = 77 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct error ok_error = {0};                                                               \
        ck_assert_msg((call) == 0, "%s", ok_error.text);                                           \
    } while (0)

struct world {
    struct io *io;
    char data_dir[256];
    struct store *store;
    struct store_shard *shard;
    struct arena arena;
    struct store_shard_info info; /* as of `look` */
    int objects;                  /* that the store holds */
};

static void release(void *object)
{
    --*(int *)object;
}

static void look(struct world *world)
{
    store_shard_describe(world->shard, &world->arena, &world->info);
}

static void append_by(struct world *world, int64_t window, uint32_t rows, uint32_t first_id,
                      struct store_log_clock log)
{
    struct fixture_group *group = calloc(1, sizeof(*group));

    fixture_group_start(group, store_shard_next_offset(world->shard));
    group->group.clock.log = log;
    for (uint32_t i = 0; i < rows; i++)
        fixture_group_put(group, first_id + i, window * WINDOW_MS + i, 0, 8, false);
    OK(store_shard_append(world->shard, &group->group, &ok_error));
    free(group);
}

static void append(struct world *world, int64_t window, uint32_t rows, uint32_t first_id)
{
    append_by(world, window, rows, first_id, (struct store_log_clock){0});
}

static void seal(struct world *world, int64_t window)
{
    OK(compact_seal(world->shard, window * WINDOW_MS, WINDOW_MS, NOW_MS, &ok_error));
}

static void drop(struct world *world, int64_t window)
{
    OK(store_shard_drop(world->shard, window * WINDOW_MS, WINDOW_MS, "test", &ok_error));
}

static void open_world(struct world *world)
{
    world->store = fixture_store(world->io, world->data_dir, 1 << 20);
    world->shard = fixture_shard(world->store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
    look(world);
}

static void close_world(struct world *world)
{
    OK(store_shard_close(world->shard, true, &ok_error));
    store_close(world->store);
    ck_assert_int_eq(world->objects, 0);
}

/* Sealed windows 0, 1, 2 ... of 4, 5, 6 ... rows. */
static void create(struct world *world)
{
    int64_t *wall_ms;

    *world = (struct world){.io = fixture_io(&wall_ms)};
    *wall_ms = NOW_MS;
    (void)snprintf(world->data_dir, sizeof(world->data_dir), "%s/data", test_directory());
    arena_create(&world->arena, 0);
    open_world(world);
    for (uint32_t window = 0; window < WINDOWS; window++)
        append(world, window, 4 + window, window * 20);
    for (int64_t window = 0; window < WINDOWS; window++)
        seal(world, window);
    look(world);
}

static void destroy(struct world *world)
{
    close_world(world);
    arena_destroy(&world->arena);
}

static char *segment_path(const struct world *world, uint64_t number)
{
    static char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(world->shard),
                   (unsigned long long)number);
    return path;
}

static struct store_span_part part_of(const struct world *world, int64_t window)
{
    for (size_t i = 0; i < world->info.window_count; i++)
        if (world->info.windows[i].start_ms == window * WINDOW_MS)
            return (struct store_span_part){.window_start_ms = window * WINDOW_MS,
                                            .file_number = world->info.windows[i].run.file_number,
                                            .row_count = (uint32_t)world->info.windows[i].run.rows};
    ck_abort_msg("no window %lld", (long long)window);
}

/* Attaches and returns the code; *number is the file's. */
static int attach(struct world *world, uint8_t tier, const struct store_span_part *parts,
                  uint32_t count, uint64_t *number, struct error *error)
{
    struct store_segment segment = {
        .info = {.bytes = SEGMENT_BYTES, .kind = SEGMENT_HNSW, .recall = 0.99},
        .object = &world->objects,
        .release = release};
    char path[PATH_MAX], bytes[SEGMENT_BYTES];
    FILE *file;
    int code;

    store_shard_reserve_segment(world->shard, &segment.info.file_number, path, sizeof(path));
    *number = segment.info.file_number;
    memset(bytes, (int)*number, sizeof(bytes));
    file = fopen(segment_path(world, *number), "wb");
    ck_assert_uint_eq(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    ck_assert_int_eq(fclose(file), 0);
    code = store_shard_attach_span(world->shard, &segment, tier, WINDOW_MS, parts, count, error);
    world->objects += code == 0;
    return code;
}

/* A span over windows [first, end) as they were described last. */
static uint64_t span_over(struct world *world, uint8_t tier, int64_t first, int64_t end)
{
    struct store_span_part parts[WINDOWS];
    uint32_t count = 0;
    uint64_t number;

    for (int64_t window = first; window < end; window++)
        parts[count++] = part_of(world, window);
    OK(attach(world, tier, parts, count, &number, &ok_error));
    return number;
}

/* Which parts of the span are live, a letter a part; "gone" without the span. Of those that are, the
 * source has the rows of the part. */
static const char *live_parts(const struct store_snapshot *snapshot, uint64_t number)
{
    static char text[WINDOWS + 1];
    size_t count, source_count;
    const struct store_span *spans = store_snapshot_spans(snapshot, &count);
    const struct store_source *sources = store_snapshot_sources(snapshot, &source_count);

    for (size_t i = 0; i < count; i++) {
        uint32_t row = 0;
        if (spans[i].segment->info.file_number != number)
            continue;
        for (uint32_t part = 0; part < spans[i].part_count; part++) {
            uint32_t place = spans[i].places[part];
            bool live = place != STORE_SPAN_DEAD;
            text[part] = live ? 'L' : '-';
            ck_assert_uint_eq(spans[i].parts[part].first_row, row);
            row += spans[i].parts[part].row_count;
            if (!live)
                continue;
            ck_assert_uint_lt(spans[i].first_source + place, source_count);
            ck_assert(sources[spans[i].first_source + place].sealed);
            ck_assert_uint_eq(sources[spans[i].first_source + place].file_number,
                              spans[i].parts[part].file_number);
            ck_assert_uint_eq(sources[spans[i].first_source + place].row_count,
                              spans[i].parts[part].row_count);
        }
        ck_assert_uint_eq(row, spans[i].row_count);
        text[spans[i].part_count] = '\0';
        return text;
    }
    return "gone";
}

static void expect(struct world *world, uint64_t number, const char *live)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(world->shard, NOW_MS);
    size_t described = 0;

    ck_assert_str_eq(live_parts(snapshot, number), live);
    store_snapshot_release(snapshot);
    look(world);
    for (size_t i = 0; i < world->info.span_count; i++) {
        const struct store_span_info *span = &world->info.spans[i];
        uint64_t rows = 0;
        if (span->segment.file_number != number)
            continue;
        described++;
        for (uint32_t part = 0; part < span->part_count; part++) {
            ck_assert_int_eq(span->live[part], live[part] == 'L');
            rows += live[part] == 'L' ? span->parts[part].row_count : 0;
        }
        ck_assert_uint_eq(span->live_rows, rows);
    }
    ck_assert_uint_eq(described, strcmp(live, "gone") != 0);
    ck_assert_int_eq(access(segment_path(world, number), F_OK) == 0, described == 1);
}

/* A worker gives spans their objects after the opening. */
static void reopen(struct world *world)
{
    close_world(world);
    open_world(world);
    for (size_t i = 0; i < world->info.span_count; i++) {
        world->objects++;
        OK(store_shard_load_span(world->shard, world->info.spans[i].segment.file_number,
                                 &world->objects, release, &ok_error));
    }
}

START_TEST(part_is_live_while_its_run_is_the_windows)
{
    struct world world;
    struct store_snapshot *before;
    uint64_t number;

    create(&world);
    number = span_over(&world, 1, 0, WINDOWS);
    expect(&world, number, "LLLLLL");
    before = store_snapshot_acquire(world.shard, NOW_MS);
    drop(&world, 0);
    expect(&world, number, "-LLLLL");
    append(&world, 3, 2, 500); /* late */
    expect(&world, number, "-LLLLL");
    seal(&world, 3);
    expect(&world, number, "-LL-LL");
    ck_assert_str_eq(live_parts(before, number), "LLLLLL");
    store_snapshot_release(before);
    reopen(&world);
    expect(&world, number, "-LL-LL");
    drop(&world, 1);
    drop(&world, 2);
    drop(&world, 4);
    drop(&world, 3); /* not a part any more */
    expect(&world, number, "-----L");
    drop(&world, 5);
    expect(&world, number, "gone");
    reopen(&world);
    expect(&world, number, "gone");
    destroy(&world);
}
END_TEST

START_TEST(span_replaces_those_of_its_tier_that_it_meets)
{
    struct world world;
    uint64_t left, right, above, fresh;

    create(&world);
    left = span_over(&world, 1, 0, 3);
    right = span_over(&world, 1, 3, 6);
    above = span_over(&world, 2, 0, 6);
    expect(&world, left, "LLL");
    expect(&world, right, "LLL");
    append(&world, 1, 2, 500);
    seal(&world, 1);
    look(&world);
    fresh = span_over(&world, 1, 0, 3);
    expect(&world, left, "gone");
    expect(&world, fresh, "LLL");
    expect(&world, right, "LLL");
    expect(&world, above, "L-LLLL");
    reopen(&world);
    expect(&world, fresh, "LLL");
    expect(&world, above, "L-LLLL");
    OK(store_shard_load_span(world.shard, above, NULL, NULL, &ok_error));
    expect(&world, above, "gone");
    ck_assert_int_eq(store_shard_load_span(world.shard, above, NULL, NULL, ERROR_IGNORED),
                     ERROR_NOT_FOUND);
    destroy(&world);
}
END_TEST

START_TEST(span_that_fits_no_run_is_refused)
{
    struct world world;
    struct store_span_part good[3], parts[3];
    uint64_t number;

    create(&world);
    for (uint32_t i = 0; i < 3; i++)
        good[i] = part_of(&world, i);
    for (int wrong = 0; wrong < 6; wrong++) {
        uint8_t tier = wrong == 0 ? STORE_SPAN_TIERS + 1 : 1;
        memcpy(parts, good, sizeof(parts));
        if (wrong == 1)
            parts[1].row_count++;
        if (wrong == 2)
            parts[1] = good[0];
        if (wrong == 3)
            parts[2].window_start_ms = INT64_MAX - 1;
        if (wrong == 4)
            parts[2].file_number = good[1].file_number;
        ck_assert_int_eq(attach(&world, tier, parts, wrong == 5 ? 0 : 3, &number, ERROR_IGNORED),
                         ERROR_INVALID);
        ck_assert_int_eq(unlink(segment_path(&world, number)), 0);
    }
    drop(&world, 0);
    OK(attach(&world, 1, good, 3, &number, &ok_error));
    expect(&world, number, "-LL");
    drop(&world, 1);
    ck_assert_int_eq(attach(&world, 2, good, 3, &number, ERROR_IGNORED), ERROR_NOT_FOUND);
    destroy(&world);
}
END_TEST

/* Version of the first frame of the manifest in use: what another windrow looks at first. */
static uint16_t manifest_version(const struct world *world)
{
    struct manifest_frame_header header;
    char path[PATH_MAX];
    uint64_t number;
    FILE *file;

    OK(manifest_current_read(world->io, store_shard_directory(world->shard), &number, &ok_error));
    (void)snprintf(path, sizeof(path), "%s/MANIFEST-%06llu", store_shard_directory(world->shard),
                   (unsigned long long)number);
    file = fopen(path, "rb");
    ck_assert_uint_eq(fread(&header, sizeof(header), 1, file), 1);
    ck_assert_int_eq(fclose(file), 0);
    return header.version;
}

START_TEST(manifest_with_spans_has_a_version_that_older_ones_refuse)
{
    struct world world;
    uint64_t number;

    create(&world);
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION);
    number = span_over(&world, 2, 0, 2);
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION_SPANS);
    reopen(&world);
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION_SPANS);
    OK(store_shard_load_span(world.shard, number, NULL, NULL, &ok_error));
    reopen(&world); /* nothing but a stop */
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION);
    number = span_over(&world, 2, 0, 2);
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION_SPANS);
    OK(store_shard_load_span(world.shard, number, NULL, NULL, &ok_error));
    world.shard->manifest->roll_bytes = 0;
    for (uint32_t i = 0; i < 100 && manifest_version(&world) != MANIFEST_VERSION; i++) {
        append(&world, 1, 1, i);
        OK(store_shard_flush(world.shard, &ok_error));
    }
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION);
    destroy(&world);
}
END_TEST

START_TEST(manifest_has_the_version_of_log_clocks_while_its_state_has_one)
{
    struct world world;

    create(&world);
    append_by(&world, 1, 1, 0, (struct store_log_clock){true, NOW_MS, NOW_MS, NOW_MS});
    reopen(&world); /* flushed at the stop */
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION_LOG_CLOCK);
    reopen(&world);
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION_LOG_CLOCK);
    (void)span_over(&world, 2, 0, 2);
    append(&world, 1, 1, 0); /* by who keeps no log clock */
    reopen(&world);
    ck_assert_uint_eq(manifest_version(&world), MANIFEST_VERSION_SPANS);
    destroy(&world);
}
END_TEST

START_TEST(backup_brings_spans)
{
    struct world world, copy;
    char token[STORE_BACKUP_TOKEN_BYTES], folder[300];
    struct store_backup_shard done;
    struct buffer findings = {0};
    uint64_t number, bytes;
    size_t shards;

    create(&world);
    number = span_over(&world, 1, 0, 4);
    drop(&world, 1);
    (void)snprintf(folder, sizeof(folder), "%s/backup", test_directory());
    OK(store_backup_begin(world.io, folder, token, &ok_error));
    OK(store_shard_backup(world.shard, folder, NULL, &done, &ok_error));
    OK(store_backup_finish(world.io, folder, &done, 1, &ok_error));
    copy = world;
    copy.objects = 0;
    (void)snprintf(copy.data_dir, sizeof(copy.data_dir), "%s/copy", test_directory());
    OK(store_restore(world.io, folder, copy.data_dir, &shards, &bytes, &ok_error));
    destroy(&world);
    arena_create(&copy.arena, 0);
    open_world(&copy);
    reopen(&copy);
    expect(&copy, number, "L-LL");
    destroy(&copy);
    OK(store_verify(world.io, copy.data_dir, NULL, &findings, &ok_error));
    buffer_destroy(&findings);
}
END_TEST

TEST_TABLE(TEST(part_is_live_while_its_run_is_the_windows),
           TEST(span_replaces_those_of_its_tier_that_it_meets),
           TEST(span_that_fits_no_run_is_refused),
           TEST(manifest_with_spans_has_a_version_that_older_ones_refuse),
           TEST(manifest_has_the_version_of_log_clocks_while_its_state_has_one),
           TEST(backup_brings_spans))
