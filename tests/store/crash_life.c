#include "tests/store/crash_life.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/attach.h"
#include "store/shard.h"
#include "store/store.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/test_main.h"

enum { IDS = 24, NOW_MS = 1000000, MEMTABLE_BYTES = 32 * 1024, ROLL_BYTES = 24 * 1024 };

static void make_group(const struct life_event *event, struct fixture_group *group)
{
    uint64_t random = event->seed | 1;

    memset(&group->group, 0, sizeof(group->group));
    fixture_group_random(group, &random, event->next_offset, (uint32_t)(test_random(&random) % 12),
                         IDS, NOW_MS - 2 * LIFE_WINDOW_MS, NOW_MS);
    /* Nothing expires here: the wall clock does not move. */
    for (size_t i = 0; i < group->group.record_count; i++)
        group->records[i].ttl_ms = 0;
}

static int life_open(struct life *life, struct error *error)
{
    struct store_options store_options = {.data_dir = life->data_dir,
                                          .memory_max_bytes = UINT64_C(1) << 26,
                                          .memtable_max_bytes = MEMTABLE_BYTES,
                                          .io = life->io};
    struct store_shard_options options = {.collection = "c",
                                          .name = "0",
                                          .dim = FIXTURE_DIM,
                                          .window_ms = life->unbounded ? 0 : LIFE_WINDOW_MS,
                                          .durability = life->durability};
    int code;

    life->doing = LIFE_OPENING;
    code = store_open(&store_options, &life->store, error);
    if (code != 0)
        return code;
    code = store_shard_open(life->store, &options, &life->shard, error);
    if (code != 0) {
        store_close(life->store);
        life->store = NULL;
        life->shard = NULL;
        return code;
    }
    life->shard->manifest->roll_bytes = ROLL_BYTES;
    if (life->extend)
        life->shard->writer.extend_min_bytes = 0;
    return 0;
}

void life_stop(struct life *life)
{
    fixture_abandon(&life->store, &life->shard);
}

/* Whether a step that failed is worth another try: what was short is there again. */
static bool life_relieved(struct life *life, int code)
{
    if (!life->tolerant || !error_is_shortage(code) || code == ERROR_BUSY)
        return false;
    if (life->disk)
        shadow_disk_fail_at(life->disk, SHADOW_NEVER, SHADOW_FAULT_NONE, false);
    if (life->relieve)
        life->relieve();
    return true;
}

static int life_append(struct life *life, struct error *error)
{
    static struct fixture_group group;
    struct life_event *event = &life->events[life->event_count];
    int code;

    *event = (struct life_event){.kind = LIFE_GROUP,
                                 .seed = test_random(&life->random),
                                 .next_offset = store_shard_next_offset(life->shard)};
    make_group(event, &group);
    event->after = group.group.next_offset;
    life->event_count++;
    life->doing = LIFE_APPENDING;
    code = store_shard_append(life->shard, &group.group, error);
    if (life_relieved(life, code))
        code = store_shard_append(life->shard, &group.group, error);
    event->acknowledged = code == 0 && !atomic_load(&life->cutting);
    return code;
}

static int life_flush(struct life *life, struct error *error)
{
    int64_t next_offset = store_shard_next_offset(life->shard);
    int code;

    life->doing = LIFE_FLUSHING;
    code = store_shard_flush(life->shard, error);
    if (life_relieved(life, code))
        code = store_shard_flush(life->shard, error);
    if (code == 0)
        life->flushed_offset = next_offset;
    return code;
}

/* Records come, and may be flushed, while a file is being written. */
static void life_in_between(void *context)
{
    struct life *life = context;
    enum life_doing doing = life->doing;
    struct error error = {0};

    life->meanwhile_code = life_append(life, &error);
    if (life->meanwhile_code == 0 && doing != LIFE_FLUSHING && test_random(&life->random) % 2)
        life->meanwhile_code = life_flush(life, &error);
    life->doing = doing;
}

/* Every other time something happens in between. */
static void life_begin_long_work(struct life *life, enum life_doing doing)
{
    life->doing = doing;
    life->meanwhile_code = 0;
    if (life->disk && test_random(&life->random) % 2)
        shadow_disk_meanwhile(life->disk, doing == LIFE_FLUSHING ? ".chunk" : ".run",
                              life_in_between, life);
}

static int life_end_long_work(struct life *life, int code)
{
    if (life->disk)
        shadow_disk_meanwhile(life->disk, NULL, NULL, NULL);
    if (code == 0)
        code = life->meanwhile_code;
    life->meanwhile_code = 0;
    return code;
}

/* Some of the window's files into small ones of a level, or one into another level. */
static int life_compact(struct life *life, const struct store_window_info *window,
                        struct error *error)
{
    uint64_t numbers[LIFE_EVENTS_MAX];
    uint8_t level = (uint8_t)(test_random(&life->random) % STORE_LEVELS);
    size_t count = 0;

    life_begin_long_work(life, LIFE_COMPACTING);
    for (size_t i = 0; i < window->chunk_count && count < LIFE_EVENTS_MAX; i++)
        if (count == 0 || test_random(&life->random) % 4)
            numbers[count++] = window->chunks[i].file_number;
    if (count == 1 && test_random(&life->random) % 2)
        return compact_move(life->shard, window, numbers[0], level, error);
    return compact_merge(life->shard, window, numbers, count, level,
                         test_random(&life->random) % 2 ? 4096 : 0, NOW_MS, 1, error);
}

/* A segment of a few bytes, as a worker hands it in. *written false without an error: a worker that
 * cannot write its file gives up, which is not the store's failure. */
static int life_write_segment(struct life *life, struct store_segment *segment, bool *written,
                              struct error *error)
{
    uint8_t bytes[700];
    char path[128];
    char final[128];
    int file;
    int code;

    *written = false;
    *segment = (struct store_segment){.info = {.kind = SEGMENT_FLAT, .recall = 1}};
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)test_random(&life->random);
    segment->info.bytes = 1 + test_random(&life->random) % sizeof(bytes);
    store_shard_reserve_segment(life->shard, &segment->info.file_number, path, sizeof(path));
    if (store_shard_stopped(life->shard))
        return error_set(error, ERROR_IO, "%s", store_shard_stopped(life->shard));
    snprintf(final, sizeof(final), "%.*s", (int)(strlen(path) - strlen(".tmp")), path);
    code = io_open(life->io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file, error);
    if (code != 0)
        return 0;
    code = io_write(life->io, file, path, bytes, segment->info.bytes, 0, error);
    if (code == 0)
        code = io_datasync(life->io, file, path, error);
    (void)io_close(life->io, file, path, ERROR_IGNORED); /* the first error counts */
    if (code == 0)
        code = io_rename(life->io, path, final, error);
    if (code == 0)
        code = io_sync_directory(life->io, store_shard_directory(life->shard), error);
    *written = code == 0;
    return 0;
}

/* For a sealed run or a chunk. */
static int life_attach(struct life *life, uint64_t file_number, struct error *error)
{
    struct store_segment segment;
    bool written;
    int code;

    life->doing = LIFE_ATTACHING;
    code = life_write_segment(life, &segment, &written, error);
    if (code != 0 || !written)
        return code;
    return store_shard_attach(life->shard, file_number, &segment, error);
}

/* Over all sealed windows, in one of the tiers. */
static int life_attach_span(struct life *life, const struct store_shard_info *info,
                            struct error *error)
{
    struct store_span_part parts[LIFE_EVENTS_MAX];
    struct store_segment segment;
    uint32_t count = 0;
    bool written;
    int code;

    life->doing = LIFE_ATTACHING;
    for (size_t i = 0; i < info->window_count && count < LIFE_EVENTS_MAX; i++)
        if (info->windows[i].sealed)
            parts[count++] =
                (struct store_span_part){.window_start_ms = info->windows[i].start_ms,
                                         .file_number = info->windows[i].run.file_number,
                                         .row_count = (uint32_t)info->windows[i].run.rows};
    code = count > 0 ? life_write_segment(life, &segment, &written, error) : 0;
    if (code != 0 || count == 0 || !written)
        return code;
    return store_shard_attach_span(life->shard, &segment,
                                   1 + test_random(&life->random) % STORE_SPAN_TIERS,
                                   LIFE_WINDOW_MS, parts, count, error);
}

/* Seals, compacts, tiers, drops or indexes one of the windows there are. */
static int life_window(struct life *life, struct error *error)
{
    struct store_shard_info info;
    struct store_window_info window;
    struct arena arena;
    uint64_t chance = test_random(&life->random) % 8;
    int code = 0;

    arena_create(&arena, 0);
    store_shard_describe(life->shard, &arena, &info);
    if (info.window_count == 0)
        goto out;
    window = info.windows[test_random(&life->random) % info.window_count];
    if (chance < (life->unbounded ? 1 : 2)) {
        struct life_event *event = &life->events[life->event_count++];
        *event = (struct life_event){
            .kind = LIFE_DROP, .next_offset = info.next_offset, .start_ms = window.start_ms};
        life->doing = LIFE_DROPPING;
        code = store_shard_drop(life->shard, window.start_ms, window.length_ms, "test", error);
        if (life_relieved(life, code))
            code = store_shard_drop(life->shard, window.start_ms, window.length_ms, "test", error);
        event->acknowledged = code == 0 && !atomic_load(&life->cutting);
    } else if (window.chunk_count > 0 && chance < (life->unbounded ? 6 : 3)) {
        code = life_compact(life, &window, error);
    } else if (chance == 7 && window.sealed) {
        code = test_random(&life->random) % 2 ? life_attach(life, window.run.file_number, error)
                                              : life_attach_span(life, &info, error);
    } else if (chance >= 6 && window.chunk_count > 0) {
        code = life_attach(
            life, window.chunks[test_random(&life->random) % window.chunk_count].file_number,
            error);
    } else if (chance < 5 && window.chunk_count > 1) {
        life_begin_long_work(life, LIFE_TIERING);
        code =
            compact_tier(life->shard, window.start_ms, window.length_ms, window.chunk_count, error);
    } else if (!life->unbounded) {
        life_begin_long_work(life, LIFE_SEALING);
        code = compact_seal(life->shard, window.start_ms, window.length_ms, NOW_MS, error);
    }
    code = life_end_long_work(life, code);
    if (life_relieved(life, code))
        code = 0;
out:
    arena_destroy(&arena);
    return code;
}

static int life_reopen(struct life *life, struct error *error)
{
    int64_t next_offset = store_shard_next_offset(life->shard);
    bool flush = life->durability == STORE_DURABILITY_KAFKA || test_random(&life->random) % 2;
    int code;

    life->doing = LIFE_CLOSING;
    code = store_shard_close(life->shard, flush, error);
    if (code == 0 && flush)
        life->flushed_offset = next_offset;
    life->shard = NULL;
    store_close(life->store);
    life->store = NULL;
    if (code == 0)
        code = life_open(life, error);
    return code;
}

static int life_step(struct life *life, struct error *error)
{
    uint64_t chance = test_random(&life->random) % 100;

    if (chance < 60)
        return life_append(life, error);
    if (chance < 74)
        return life_flush(life, error);
    if (chance < 94)
        return life_window(life, error);
    return life_reopen(life, error);
}

/* What chance alone does in every third life only: some files are merged, and one gets a segment.
 */
static int life_do_the_rare(struct life *life, struct error *error)
{
    const struct store_window_info *window;
    struct store_shard_info info;
    struct arena arena;
    int code = life_flush(life, error);

    arena_create(&arena, 0);
    for (int attaching = 0; attaching < 2 && code == 0; attaching++) {
        store_shard_describe(life->shard, &arena, &info);
        if (info.window_count == 0)
            break;
        window = &info.windows[info.window_count - 1];
        if (attaching && window->chunk_count > 0)
            code = life_attach(life, window->chunks[0].file_number, error);
        else if (attaching && window->sealed)
            code = life_attach(life, window->run.file_number, error);
        else if (!attaching && window->chunk_count > 0)
            code = life_end_long_work(life, life_compact(life, window, error));
        if (life_relieved(life, code))
            code = 0;
    }
    arena_destroy(&arena);
    return code;
}

void life_run(struct life *life, unsigned steps)
{
    struct error error = {0};

    life->flushed_offset = -1;
    life->extend = test_random(&life->random) % 2;
    life->code = life_open(life, &error);
    for (unsigned i = 0; i < steps && life->code == 0 && !atomic_load(&life->cutting); i++)
        life->code = i == steps / 2 ? life_do_the_rare(life, &error) : life_step(life, &error);
    snprintf(life->text, sizeof(life->text), "%s", error.text);
}

/* The state after the groups below `next_offset` and the drops: those acknowledged, and the one
 * that was under way when `with_open_drop`. */
static void replay_events(const struct life *life, int64_t next_offset, bool with_open_drop,
                          struct model *model)
{
    static struct fixture_group group;

    *model = (struct model){.next_offset = -1};
    for (size_t i = 0; i < life->event_count; i++) {
        const struct life_event *event = &life->events[i];
        if (event->kind == LIFE_GROUP && event->after <= next_offset) {
            make_group(event, &group);
            model_apply(model, &group.group);
        } else if (event->kind == LIFE_DROP && (event->acknowledged || with_open_drop)) {
            model_drop(model, event->start_ms, life->unbounded ? 0 : LIFE_WINDOW_MS);
        }
    }
    model->next_offset = next_offset;
}

/* Whether `next_offset` is a state that may come back: where some group ended, nothing
 * acknowledged missing. */
static const char *check_prefix(struct life *life, int64_t next_offset)
{
    int64_t least = -1;
    bool known = next_offset == -1;

    for (size_t i = 0; i < life->event_count; i++) {
        const struct life_event *event = &life->events[i];
        if (event->kind != LIFE_GROUP)
            continue;
        known |= event->after == next_offset;
        if (event->acknowledged && life->durability == STORE_DURABILITY_LOG)
            least = event->after;
    }
    if (life->durability == STORE_DURABILITY_KAFKA)
        least = life->flushed_offset;
    if (known && next_offset >= least)
        return NULL;
    snprintf(life->text, sizeof(life->text), "next offset %" PRId64 ", promised %" PRId64 "%s",
             next_offset, least, known ? "" : ", and no group ends there");
    return life->text;
}

const char *life_check(struct life *life)
{
    struct error error = {0};
    const char *problem;
    struct model model;
    int64_t next_offset;

    if (life_open(life, &error) != 0) {
        snprintf(life->text, sizeof(life->text), "%s", error.text);
        return life->text;
    }
    if (store_shard_damage(life->shard)) {
        snprintf(life->text, sizeof(life->text), "%s", store_shard_damage(life->shard));
        return life->text;
    }
    next_offset = store_shard_next_offset(life->shard);
    problem = check_prefix(life, next_offset);
    if (problem)
        return problem;
    for (int with_open_drop = 0; with_open_drop < 2; with_open_drop++) {
        replay_events(life, next_offset, with_open_drop, &model);
        problem = fixture_check(life->shard, &model, NOW_MS, 0);
        model_destroy(&model);
        if (!problem)
            break;
    }
    if (problem)
        return problem;
    /* From here on what came back is what is promised. */
    for (size_t i = 0; i < life->event_count; i++) {
        struct life_event *event = &life->events[i];
        if (event->kind == LIFE_GROUP && event->after > next_offset)
            *event = (struct life_event){.kind = LIFE_GROUP, .after = INT64_MAX}; /* given up */
    }
    return NULL;
}

const char *life_append_once(struct life *life)
{
    struct error error = {0};

    if (life->event_count == LIFE_EVENTS_MAX || life_append(life, &error) == 0)
        return NULL;
    snprintf(life->text, sizeof(life->text), "append: %s", error.text);
    return life->text;
}

const char *life_go_on(struct life *life)
{
    struct buffer findings = {0};
    struct error error = {0};
    const char *problem = NULL;
    struct model model;
    bool with_open_drop = false;

    replay_events(life, store_shard_next_offset(life->shard), false, &model);
    with_open_drop = fixture_check(life->shard, &model, NOW_MS, 0) != NULL;
    model_destroy(&model);
    replay_events(life, store_shard_next_offset(life->shard), with_open_drop, &model);
    for (int i = 0; i < 3 && !problem; i++) {
        static struct fixture_group group;
        struct life_event event = {.seed = test_random(&life->random),
                                   .next_offset = store_shard_next_offset(life->shard)};
        make_group(&event, &group);
        if (store_shard_append(life->shard, &group.group, &error) != 0 ||
            (i == 1 && store_shard_flush(life->shard, &error) != 0)) {
            snprintf(life->text, sizeof(life->text), "going on: %s", error.text);
            problem = life->text;
            break;
        }
        model_apply(&model, &group.group);
        problem = fixture_check(life->shard, &model, NOW_MS, 0);
    }
    model_destroy(&model);
    life_stop(life);
    if (!problem && store_verify(life->io, life->data_dir, NULL, &findings, &error) != 0) {
        snprintf(life->text, sizeof(life->text), "verify: %.200s: %.800s", error.text,
                 buffer_text(&findings));
        problem = life->text;
    }
    buffer_destroy(&findings);
    return problem;
}
