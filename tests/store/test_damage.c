/* A small store with a file of each kind, and every page of it damaged in every way: flipped,
 * zeroed, cut off, replaced by another page, swapped with one; every byte of small files. verify
 * finds each; a shard that opens all the same says so, or answers as if nothing had happened.
 *
 * What no one can tell from damage is how a log ends that would be replayed: a last frame that was
 * interrupted, or a file that was cut off. There the shard may answer as it did before. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/append.h"
#include "store/attach.h"
#include "store/files/log_frame.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shadow_disk.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum {
    PAGE_BYTES = 4096,
    SMALL_BYTES = 1024,
    WINDOW_MS = 1000,
    NOW_MS = 1000000,
    FILES_MAX = 32,
    GROUPS = 20,
    MEMTABLE_BYTES = 128 * 1024
};

#define FOLDER     "/data/collections.d/news/3"
#define WHOLE_FILE SIZE_MAX /* instead of a place in it */

struct file {
    char name[64];
    char path[128];
    uint8_t *bytes;
    size_t size_bytes;
    size_t frames_end, last_frame; /* of a log */
    bool active;                   /* the log that would be replayed */
};

struct store_files {
    struct shadow_disk *disk;
    struct file files[FILES_MAX];
    size_t count;
    struct model models[GROUPS]; /* after each group */
    size_t model_count;
};

enum outcome { IDENTICAL, DETECTED, SHORTER, WRONG };

static void append(struct store_files *files, struct store_shard *shard, uint64_t *random,
                   int groups)
{
    static struct fixture_group group;

    for (int i = 0; i < groups; i++) {
        struct model *model = &files->models[files->model_count];
        struct error error = {0};
        memset(&group.group, 0, sizeof(group.group));
        *model = (struct model){.next_offset = -1};
        if (files->model_count > 0)
            model_copy(model, &files->models[files->model_count - 1]);
        fixture_group_random(&group, random, model->next_offset, 16, 100, NOW_MS - 3 * WINDOW_MS,
                             NOW_MS);
        for (size_t j = 0; j < group.group.record_count; j++)
            group.records[j].ttl_ms = 0;
        ck_assert_msg(store_shard_append(shard, &group.group, &error) == 0, "%s", error.text);
        model_apply(model, &group.group);
        files->model_count++;
    }
}

static void attach_segment(struct io *io, struct store_shard *shard,
                           const struct store_window_info *window)
{
    struct store_segment segment = {.info = {.kind = SEGMENT_FLAT, .recall = 1, .bytes = 9000}};
    struct error error = {0};
    uint8_t bytes[9000];
    char path[256];
    char final[256];
    int file;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * i >> 5);
    store_shard_reserve_segment(shard, &segment.info.file_number, path, sizeof(path));
    (void)snprintf(final, sizeof(final), "%.*s", (int)(strlen(path) - 4), path);
    ck_assert_int_eq(io_open(io, path, IO_WRITE | IO_CREATE, &file, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_write(io, file, path, bytes, sizeof(bytes), 0, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_close(io, file, path, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_rename(io, path, final, ERROR_IGNORED), 0);
    ck_assert_msg(store_shard_attach(shard, window->run.file_number, &segment, &error) == 0, "%s",
                  error.text);
}

static int take_name(void *context, const char *name)
{
    struct store_files *files = context;
    struct file *file = &files->files[files->count++];

    ck_assert_uint_le(files->count, FILES_MAX);
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    (void)snprintf(file->path, sizeof(file->path), FOLDER "/%s", name);
    return 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);

    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

/* Where the frames of a log end; behind that lie zeros. */
static void find_frames(struct file *file)
{
    const struct log_frame_header *header = (const struct log_frame_header *)file->bytes;
    struct log_frame_identity identity = {header->file_number, header->log_generation, header->salt,
                                          0};
    struct log_frame frame;

    while (identity.position < file->size_bytes &&
           log_frame_parse(file->bytes + identity.position, file->size_bytes - identity.position,
                           &identity, 0, &frame, ERROR_IGNORED) == 0) {
        file->last_frame = identity.position;
        identity.position += frame.header->frame_bytes;
    }
    file->frames_end = identity.position;
}

static void read_files(struct store_files *files, int64_t flushed_offset)
{
    struct io *io = shadow_disk_io(files->disk);

    ck_assert_int_eq(io_list(io, FOLDER, take_name, files, ERROR_IGNORED), 0);
    for (size_t i = 0; i < files->count; i++) {
        struct file *file = &files->files[i];
        uint64_t size_bytes;
        int handle;
        ck_assert_int_eq(io_open(io, file->path, IO_READ, &handle, ERROR_IGNORED), 0);
        ck_assert_int_eq(io_size(io, handle, file->path, &size_bytes, ERROR_IGNORED), 0);
        file->size_bytes = (size_t)size_bytes;
        file->bytes = aligned_alloc(64, (file->size_bytes + 64) / 64 * 64);
        ck_assert_ptr_nonnull(file->bytes);
        ck_assert_int_eq(
            io_read(io, handle, file->path, file->bytes, file->size_bytes, 0, ERROR_IGNORED), 0);
        ck_assert_int_eq(io_close(io, handle, file->path, ERROR_IGNORED), 0);
        if (!has_suffix(file->name, ".log"))
            continue;
        find_frames(file);
        file->active =
            ((const struct log_frame_header *)file->bytes)->first_offset >= flushed_offset;
    }
}

/* A run with a segment and a mask, chunks of other windows, and records that only the log has. */
static void create(struct store_files *files)
{
    uint64_t random = test_seed();
    struct store_shard_info info;
    struct store_shard *shard;
    struct store *store;
    struct arena arena;
    struct error error = {0};
    struct io *io;
    int64_t flushed_offset;

    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    memset(files, 0, sizeof(*files));
    files->disk = shadow_disk_new(random);
    io = shadow_disk_io(files->disk);
    ck_assert_int_eq(io_make_directory(io, "", ERROR_IGNORED), 0);
    ck_assert_int_eq(io_make_directory(io, "/data", ERROR_IGNORED), 0);
    store = fixture_store(io, "/data", MEMTABLE_BYTES);
    shard = fixture_shard(store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
    append(files, shard, &random, 8);
    ck_assert_msg(store_shard_flush(shard, &error) == 0, "%s", error.text);
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    ck_assert_msg(compact_seal(shard, info.windows[0].start_ms, WINDOW_MS, NOW_MS, &error) == 0,
                  "%s", error.text);
    store_shard_describe(shard, &arena, &info);
    attach_segment(io, shard, &info.windows[0]);
    append(files, shard, &random, 6); /* overwrites rows of the run: a mask */
    ck_assert_msg(store_shard_flush(shard, &error) == 0, "%s", error.text);
    flushed_offset = store_shard_next_offset(shard);
    append(files, shard, &random, 5);
    ck_assert_msg(store_shard_close(shard, false, &error) == 0, "%s", error.text);
    store_close(store);
    arena_destroy(&arena);
    shadow_disk_kill_process(files->disk);
    read_files(files, flushed_offset);
}

static void destroy(struct store_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->files[i].bytes);
    for (size_t i = 0; i < files->model_count; i++)
        model_destroy(&files->models[i]);
    shadow_disk_delete(files->disk);
}

/* Judging. */

static bool verify_finds(struct io *io)
{
    struct buffer findings = {0};
    int code = store_verify(io, "/data", NULL, &findings, ERROR_IGNORED);
    bool found = findings.size > 0;

    ck_assert_int_eq(code, found ? ERROR_CORRUPT : 0);
    buffer_destroy(&findings);
    return found;
}

/* Every row that is returned is one of the model's, bit by bit, or an error. */
static bool rows_are_right(struct store_shard *shard, const struct model *model)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, NOW_MS);
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    bool right = true;
    struct arena arena;

    arena_create(&arena, 0);
    for (size_t s = 0; s < count && right; s++)
        for (uint32_t row = 0; row < sources[s].row_count && right; row++)
            if (store_row_visible(snapshot, &sources[s], row)) {
                right = fixture_row_is_right(&sources[s], row, model, &arena);
                arena_reset(&arena);
            }
    arena_destroy(&arena);
    store_snapshot_release(snapshot);
    return right;
}

static const struct model *model_at(const struct store_files *files, int64_t next_offset)
{
    for (size_t i = 0; i < files->model_count; i++)
        if (files->models[i].next_offset == next_offset)
            return &files->models[i];
    return NULL;
}

static enum outcome judge_shard(const struct store_files *files, struct store_shard *shard)
{
    const struct model *whole = &files->models[files->model_count - 1];
    const struct model *model = model_at(files, store_shard_next_offset(shard));

    if (!model || !rows_are_right(shard, model))
        return WRONG;
    if (store_shard_damage(shard))
        return DETECTED;
    if (!fixture_check(shard, model, NOW_MS, 0))
        return model == whole ? IDENTICAL : SHORTER;
    /* Rows are missing or cannot be read: a vector or payload whose block fails is an error. */
    return fixture_read_error(shard, NOW_MS) ? DETECTED : WRONG;
}

static enum outcome judge_open(const struct store_files *files, struct io *io)
{
    const struct store_options store_options = {.data_dir = "/data",
                                                .memory_max_bytes = UINT64_C(1) << 28,
                                                .memtable_max_bytes = MEMTABLE_BYTES,
                                                .io = io};
    const struct store_shard_options options = {.collection = "news",
                                                .name = "3",
                                                .dim = FIXTURE_DIM,
                                                .metric = VECTOR_METRIC_L2,
                                                .window_ms = WINDOW_MS};
    struct store *store;
    struct store_shard *shard;
    struct error error = {0};
    enum outcome outcome = DETECTED;
    int code;

    ck_assert_msg(store_open(&store_options, &store, &error) == 0, "%s", error.text);
    code = store_shard_open(store, &options, &shard, &error);
    if (code == 0) {
        outcome = judge_shard(files, shard);
        (void)store_shard_close(shard, false, ERROR_IGNORED);
    } else {
        ck_assert_msg(code == ERROR_CORRUPT, "opening fails with %d: %s", code, error.text);
    }
    store_close(store);
    return outcome;
}

/* What verify may pass over: vectors apart, no one reads the last frame of a flushed log; a
 * manifest cut off between two edits is one that never had the later ones (where they brought a log
 * into use, that is found); a log that would be replayed and ends sooner is one that less was
 * written to. */
static bool may_be_silent(const struct file *file, size_t size_bytes, size_t place,
                          enum outcome outcome)
{
    if (file->frames_end > 0)
        return place >= file->last_frame || (file->active && size_bytes < file->size_bytes);
    return strncmp(file->name, "MANIFEST-", 9) == 0 && outcome == IDENTICAL &&
           size_bytes < file->size_bytes;
}

/* What a damaged file has: `size_bytes` of `bytes`. */
static void judge(const struct store_files *files, const struct file *file, const uint8_t *bytes,
                  size_t size_bytes, const char *what, size_t place, unsigned *outcomes)
{
    struct shadow_disk *disk;
    struct io *io;
    enum outcome outcome;
    bool tail = file->active && (place >= file->last_frame || size_bytes < file->size_bytes);
    bool found;
    int handle;

    if (size_bytes == file->size_bytes && memcmp(bytes, file->bytes, size_bytes) == 0)
        return;
    disk = shadow_disk_clone(files->disk, place + 1);
    io = shadow_disk_io(disk);
    ck_assert_int_eq(io_open(io, file->path, IO_WRITE | IO_TRUNCATE, &handle, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_write(io, handle, file->path, bytes, size_bytes, 0, ERROR_IGNORED), 0);
    ck_assert_int_eq(io_close(io, handle, file->path, ERROR_IGNORED), 0);
    found = verify_finds(io);
    outcome = judge_open(files, io);
    if (!found && !may_be_silent(file, size_bytes, place, outcome))
        ck_abort_msg("%s, byte %zu %s: verify finds nothing", file->name, place, what);
    if (outcome == WRONG || (outcome == SHORTER && !tail))
        ck_abort_msg("%s, byte %zu %s: %s", file->name, place, what,
                     outcome == WRONG ? "wrong data" : "acknowledged groups are silently missing");
    outcomes[outcome]++;
    shadow_disk_delete(disk);
}

static void damage_page(const struct store_files *files, const struct file *file, size_t end,
                        size_t at, uint64_t *random, unsigned *outcomes)
{
    size_t length = end - at < PAGE_BYTES ? end - at : PAGE_BYTES;
    size_t pages = (end + PAGE_BYTES - 1) / PAGE_BYTES;
    size_t other = test_random(random) % pages * PAGE_BYTES;
    size_t other_length = end - other < length ? end - other : length;
    size_t place = at + test_random(random) % length;
    uint8_t *bytes = malloc(file->size_bytes);

    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, file->bytes, file->size_bytes);
    bytes[place] ^= (uint8_t)(1U << test_random(random) % 8);
    judge(files, file, bytes, file->size_bytes, "flipped", place, outcomes);
    bytes[place] = file->bytes[place];
    memset(bytes + at, 0, length);
    judge(files, file, bytes, file->size_bytes, "zeroed", at, outcomes);
    memcpy(bytes + at, file->bytes + other, other_length);
    memcpy(bytes + at + other_length, file->bytes + at + other_length, length - other_length);
    judge(files, file, bytes, file->size_bytes, "replaced by another page", at, outcomes);
    memcpy(bytes + other, file->bytes + at, other_length);
    judge(files, file, bytes, file->size_bytes, "swapped with another page",
          at < other ? at : other, outcomes);
    judge(files, file, file->bytes, at, "cut off", at, outcomes);
    free(bytes);
}

static void report(const struct file *file, const unsigned *outcomes)
{
    printf("%-16s %6zu bytes: %u detected, %u identical, %u as before the last frame\n", file->name,
           file->size_bytes, outcomes[DETECTED], outcomes[IDENTICAL], outcomes[SHORTER]);
}

START_TEST(every_damaged_page_is_found_and_gives_no_wrong_answer)
{
    static struct store_files files;
    uint64_t random = test_seed();

    create(&files);
    ck_assert(!verify_finds(shadow_disk_io(files.disk)));
    for (size_t i = 0; i < files.count; i++) {
        const struct file *file = &files.files[i];
        size_t end = file->frames_end > 0 ? file->frames_end : file->size_bytes;
        unsigned outcomes[4] = {0};
        for (size_t at = 0; at < end; at += PAGE_BYTES)
            damage_page(&files, file, end, at, &random, outcomes);
        report(file, outcomes);
        ck_assert_uint_gt(outcomes[DETECTED] + outcomes[IDENTICAL] + outcomes[SHORTER], 0);
    }
    destroy(&files);
}
END_TEST

START_TEST(every_changed_byte_of_small_files_is_found_and_gives_no_wrong_answer)
{
    static struct store_files files;
    uint64_t random = test_seed();
    unsigned small = 0;

    create(&files);
    for (size_t i = 0; i < files.count; i++) {
        const struct file *file = &files.files[i];
        unsigned outcomes[4] = {0};
        uint8_t bytes[SMALL_BYTES];
        if (file->size_bytes > SMALL_BYTES)
            continue;
        small++;
        memcpy(bytes, file->bytes, file->size_bytes);
        for (size_t at = 0; at < file->size_bytes;
             at += TEST_SANITIZED ? 1 + test_random(&random) % 12 : 1) {
            bytes[at] ^= (uint8_t)(1 + test_random(&random) % 255);
            judge(&files, file, bytes, file->size_bytes, "changed", at, outcomes);
            bytes[at] = file->bytes[at];
            judge(&files, file, bytes, at, "cut off", at, outcomes);
        }
        report(file, outcomes);
    }
    ck_assert_uint_ge(small, 2); /* CURRENT and a mask */
    destroy(&files);
}
END_TEST

/* A file of another number, or of an earlier time, in the place of the right one. */
START_TEST(every_misplaced_file_is_found_and_gives_no_wrong_answer)
{
    static struct store_files files;

    create(&files);
    for (size_t i = 0; i < files.count; i++) {
        unsigned outcomes[4] = {0};
        for (size_t j = 0; j < files.count; j++) {
            const struct file *other = &files.files[j];
            if (i == j || other->size_bytes == 0)
                continue;
            judge(&files, &files.files[i], other->bytes, other->size_bytes, other->name, WHOLE_FILE,
                  outcomes);
        }
        report(&files.files[i], outcomes);
    }
    destroy(&files);
}
END_TEST

TEST_TABLE(TEST(every_damaged_page_is_found_and_gives_no_wrong_answer),
           TEST(every_changed_byte_of_small_files_is_found_and_gives_no_wrong_answer),
           TEST(every_misplaced_file_is_found_and_gives_no_wrong_answer))
