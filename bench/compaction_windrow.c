/* windrow's side: flushes, merges and seals are done between two groups, when they are due, as by
 * a service that keeps up. The clock is that of the events. */
#include <stdlib.h>
#include <string.h>

#include "bench/compaction.h"
#include "bench/measure.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "twcs/compaction/compaction.h"

enum { DECISIONS = 16, TURNS_MAX = 10000 };

static const int64_t late_ms = COMPACTION_WINDOW_MS / 6;

struct way {
    const char *name;
    enum config_style style;
    bool windows;
};

static const struct way ways[] = {{"time_window", CONFIG_STYLE_TIME_WINDOW, true},
                                  {"fifo", CONFIG_STYLE_FIFO, true},
                                  {"size_tiered", CONFIG_STYLE_SIZE_TIERED, true},
                                  {"leveled", CONFIG_STYLE_LEVELED, true},
                                  {"hybrid", CONFIG_STYLE_HYBRID, true},
                                  {"size_tiered, no windows", CONFIG_STYLE_SIZE_TIERED, false},
                                  {"leveled, no windows", CONFIG_STYLE_LEVELED, false},
                                  {"hybrid, no windows", CONFIG_STYLE_HYBRID, false}};

struct run {
    struct config_collection collection;
    struct metrics *metrics;
    struct store *store;
    struct store_shard *shard;
    int64_t now_ms;
    struct compaction_result counts; /* only what maintain() counts */
    struct arena arena;
};

size_t compaction_windrow_count(void)
{
    return sizeof(ways) / sizeof(ways[0]);
}

static void check(int code, const struct error *error)
{
    if (code != 0)
        bench_fail("windrow", error->text);
}

static void open_run(struct run *run, const struct way *way, const char *folder)
{
    struct store_options options = {.data_dir = folder,
                                    .memory_max_bytes = UINT64_C(512) << 20,
                                    .memtable_max_bytes = COMPACTION_MEMTABLE_BYTES};
    struct store_shard_options shard = {.collection = "bench",
                                        .name = "0",
                                        .dim = BENCH_DIM,
                                        .window_ms = way->windows ? COMPACTION_WINDOW_MS : 0,
                                        .level0_files_max = TWCS_LEVEL0_FILES_MAX,
                                        .durability = STORE_DURABILITY_LOG};
    struct error error = {0};

    *run = (struct run){
        .collection = {.name = "bench",
                       .window_ms = shard.window_ms,
                       .max_future_ms = COMPACTION_WINDOW_MS,
                       .idle_timeout_ms = COMPACTION_WINDOW_MS,
                       .late_allowed_ms = late_ms,
                       .compaction_style = way->style,
                       .max_space_amplification = 1.5,
                       .size_tiered_min_threshold = 4,
                       .size_tiered_max_threshold = 32,
                       .leveled_target_file_size_bytes = COMPACTION_FILE_BYTES,
                       .leveled_size_ratio = COMPACTION_SIZE_RATIO},
        .metrics = metrics_new(),
    };
    arena_create(&run->arena, 0);
    options.metrics = run->metrics;
    check(store_open(&options, &run->store, &error), &error);
    check(store_shard_open(run->store, &shard, &run->shard, &error), &error);
}

static void note_levels(struct run *run, const struct compaction_view *view)
{
    for (size_t i = 0; i < view->info.window_count; i++)
        for (size_t k = 0; k < view->info.windows[i].chunk_count; k++)
            if (view->info.windows[i].chunks[k].level > run->counts.deepest_level)
                run->counts.deepest_level = view->info.windows[i].chunks[k].level;
}

static void note_decision(struct run *run, const struct compaction_view *view,
                          const struct twcs_decision *decision)
{
    const struct store_file_info *chunks = view->info.windows[decision->window].chunks;

    run->counts.seals += decision->action == TWCS_SEAL || decision->action == TWCS_RESEAL;
    run->counts.tiers += decision->action == TWCS_TIER;
    if (decision->action != TWCS_COMPACT || decision->trivial_move)
        return;
    run->counts.compactions++;
    for (uint32_t i = 0; i < decision->input_count; i++)
        run->counts.read_into_level[decision->output_level] += chunks[decision->inputs[i]].bytes;
}

/* One decision at a time, so that each is about what is. */
static void maintain(struct run *run)
{
    struct twcs_decision decisions[DECISIONS];
    struct compaction_view view;

    for (int turn = 0; turn < TURNS_MAX; turn++) {
        struct error error = {0};
        arena_reset(&run->arena);
        compaction_describe(run->shard, &run->collection, run->now_ms, &run->arena, &view);
        note_levels(run, &view);
        if (twcs_decide(&view.policy, &view.clock, view.windows, view.info.window_count, decisions,
                        DECISIONS) == 0)
            return;
        note_decision(run, &view, &decisions[0]);
        check(compaction_execute(run->shard, &view, &decisions[0], 1, NULL, NULL, &error), &error);
    }
    bench_fail("windrow", "merges do not come to rest");
}

static void flush(struct run *run)
{
    struct error error = {0};

    check(store_shard_flush(run->shard, &error), &error);
    maintain(run);
}

static void append(struct run *run, struct store_group *group)
{
    struct error error = {0};
    int code;

    group->clock = (struct store_clock){.watermark_ms = run->now_ms,
                                        .last_record_wall_ms = run->now_ms,
                                        .safe_wall_ms = run->now_ms};
    while ((code = store_shard_append(run->shard, group, &error)) == ERROR_BUSY)
        flush(run);
    check(code, &error);
    check(store_shard_flush_due(run->shard, &error), &error);
    maintain(run); /* the clock may have closed a window */
}

static void append_all(struct run *run, struct compaction_load *load)
{
    static struct compaction_row rows[BENCH_GROUP];
    struct store_record records[BENCH_GROUP];
    struct store_group group = {.records = records};
    int64_t first = (int64_t)load->next;

    do {
        size_t count = 0;
        while (count < BENCH_GROUP && compaction_load_next(load, &rows[count])) {
            const struct compaction_row *row = &rows[count];
            records[count++] = (struct store_record){.key = row->key,
                                                     .key_bytes = BENCH_KEY_BYTES,
                                                     .offset = first++,
                                                     .event_time_ms = row->event_time_ms,
                                                     .vector = row->vector,
                                                     .payload = row->payload,
                                                     .payload_bytes = BENCH_PAYLOAD_BYTES};
            run->now_ms = row->event_time_ms;
        }
        group.record_count = count;
        group.next_offset = first;
        append(run, &group);
    } while (group.record_count == BENCH_GROUP);
}

/* The last windows close once the clock has passed them. */
static void finish(struct run *run, const struct compaction_load *load)
{
    struct store_group idle = {.next_offset = (int64_t)load->next};

    flush(run);
    run->now_ms += 2 * COMPACTION_WINDOW_MS;
    append(run, &idle);
}

static double written(const struct run *run, const char *kind)
{
    struct metric_label labels[] = {{"collection", "bench"}, {"shard", "0"}, {"kind", kind}};

    return metric_value(
        metrics_counter(run->metrics, "windrow_lsm_bytes_written_total", "", labels, 3));
}

/* Both sides must end with the newest row of each id, or the bytes say nothing. */
static void check_rows(struct run *run, uint64_t distinct)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(run->shard, run->now_ms);

    if (store_snapshot_count(snapshot, 0, INT64_MAX) != distinct)
        bench_fail("windrow", "rows are missing or too many");
    store_snapshot_release(snapshot);
}

void compaction_windrow_run(size_t way, const char *folder, struct compaction_load *load,
                            struct compaction_result *result)
{
    uint64_t before = bench_device_bytes();
    struct error error = {0};
    struct run run;

    open_run(&run, &ways[way], folder);
    append_all(&run, load);
    finish(&run, load);
    *result = run.counts;
    result->name = ways[way].name;
    result->distinct = load->distinct;
    result->device_bytes = bench_device_bytes() - before;
    result->log_bytes = written(&run, "log");
    result->flush_bytes = written(&run, "chunk");
    result->merge_bytes = written(&run, "run");
    result->folder_bytes = bench_folder_bytes(folder);
    result->folder_files = bench_folder_files(folder);
    check_rows(&run, load->distinct);
    check(store_shard_close(run.shard, false, &error), &error);
    store_close(run.store);
    metrics_delete(run.metrics);
    arena_destroy(&run.arena);
}
