#include "tests/store/kill_oracle.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/append.h"
#include "store/describe.h"
#include "store/snapshot.h"
#include "tests/support/test_main.h"

static char complaint[512];

void oracle_make_group(const struct oracle_entry *entry, struct fixture_group *group)
{
    uint64_t random = entry->seed | 1;
    uint64_t count = 1 + test_random(&random) % 20;

    fixture_group_start(group, entry->before);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t id = (uint32_t)(test_random(&random) % ORACLE_IDS);
        int32_t window = (int32_t)(test_random(&random) % ORACLE_WINDOWS);
        int64_t within_ms = (int64_t)(test_random(&random) % ORACLE_WINDOW_MS);
        bool same_message = test_random(&random) % 4 == 0;
        if (window == entry->window)
            window = (window + 1) % ORACLE_WINDOWS;
        if (entry->kind == ORACLE_DELETES || test_random(&random) % 10 == 0)
            fixture_group_delete(group, id, same_message);
        else
            fixture_group_put(group, id, window * ORACLE_WINDOW_MS + within_ms, 0,
                              (uint32_t)(test_random(&random) % 5 * 40), same_message);
    }
}

static void entry_write(const struct oracle *oracle, size_t number,
                        const struct oracle_entry *entry)
{
    if (pwrite(oracle->file, entry, sizeof(*entry), (off_t)(number * sizeof(*entry))) !=
        (ssize_t)sizeof(*entry))
        abort();
}

static void entry_read(const struct oracle *oracle, size_t number, struct oracle_entry *entry)
{
    if (pread(oracle->file, entry, sizeof(*entry), (off_t)(number * sizeof(*entry))) !=
        (ssize_t)sizeof(*entry))
        abort();
}

void oracle_create(struct oracle *oracle, const char *path)
{
    *oracle = (struct oracle){.model = {.next_offset = -1}, .flushed_offset = -1};
    oracle->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (oracle->file < 0)
        abort();
    for (int i = 0; i < ORACLE_WINDOWS; i++)
        oracle->windows[i].sealed_offset = -1;
}

void oracle_destroy(struct oracle *oracle)
{
    model_destroy(&oracle->model);
    if (close(oracle->file) != 0)
        abort();
}

size_t oracle_begin(struct oracle *oracle, const struct oracle_entry *entry)
{
    struct oracle_entry pending = *entry;

    pending.state = ORACLE_PENDING;
    entry_write(oracle, oracle->count, &pending);
    return oracle->count++;
}

void oracle_acknowledge(struct oracle *oracle, size_t number, uint64_t generation)
{
    struct oracle_entry entry;

    entry_read(oracle, number, &entry);
    entry.state = ORACLE_ACKNOWLEDGED;
    entry.generation = generation;
    entry_write(oracle, number, &entry);
}

/* What the shard says of one window. */
struct found_window {
    bool exists;
    uint64_t generation;
};

static const char *find_windows(struct store_shard *shard, struct found_window *found)
{
    struct store_shard_info info;
    struct arena arena;
    const char *problem = NULL;

    memset(found, 0, ORACLE_WINDOWS * sizeof(*found));
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        const struct store_window_info *window = &info.windows[i];
        int64_t at = window->start_ms / ORACLE_WINDOW_MS;
        if (at < 0 || at >= ORACLE_WINDOWS || window->length_ms != ORACLE_WINDOW_MS) {
            problem = "a window that nobody wrote to";
            break;
        }
        found[at] = (struct found_window){true, window->sealed ? window->generation : 0};
    }
    arena_destroy(&arena);
    return problem;
}

static bool model_has_rows(const struct model *model, int32_t window)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->rows[i].event_time_ms / ORACLE_WINDOW_MS == window)
            return true;
    return false;
}

/* Whether a pending operation happened, by the mark that it leaves last. Whether it did so wholly
 * is what the comparisons tell. */
static bool happened(const struct oracle *oracle, const struct oracle_entry *entry,
                     int64_t next_offset, const struct found_window *found)
{
    switch (entry->kind) {
    case ORACLE_PUTS:
    case ORACLE_DELETES:
        return next_offset >= entry->after;
    case ORACLE_SEAL:
        return found[entry->window].generation != oracle->windows[entry->window].generation;
    case ORACLE_DROP:
        return !found[entry->window].exists;
    default:
        return false; /* a flush without an answer may have done anything: nothing visible */
    }
}

static const char *apply(struct oracle *oracle, const struct oracle_entry *entry)
{
    static struct fixture_group group;

    switch (entry->kind) {
    case ORACLE_PUTS:
    case ORACLE_DELETES:
        if (oracle->model.next_offset >= 0 && entry->before != oracle->model.next_offset)
            return "the oracle itself has a hole";
        oracle_make_group(entry, &group);
        model_apply(&oracle->model, &group.group);
        break;
    case ORACLE_FLUSH:
        oracle->flushed_offset = entry->before;
        break;
    case ORACLE_SEAL:
        oracle->windows[entry->window].sealed_offset = entry->before;
        oracle->windows[entry->window].generation = entry->generation;
        break;
    default:
        model_drop(&oracle->model, (int64_t)entry->window * ORACLE_WINDOW_MS, ORACLE_WINDOW_MS);
        oracle->windows[entry->window].sealed_offset = -1;
        oracle->windows[entry->window].generation = 0;
        break;
    }
    return NULL;
}

/* Applies what was acknowledged and decides what was pending. */
static const char *replay(struct oracle *oracle, int64_t next_offset,
                          const struct found_window *found)
{
    const char *problem = NULL;

    for (; oracle->settled < oracle->count && !problem; oracle->settled++) {
        struct oracle_entry entry;
        entry_read(oracle, oracle->settled, &entry);
        if (entry.state == ORACLE_PENDING) {
            bool done = happened(oracle, &entry, next_offset, found);
            oracle->pending[entry.kind]++;
            oracle->undone[entry.kind] += !done;
            entry.state = done ? ORACLE_ACKNOWLEDGED : ORACLE_UNDONE;
            if (done && entry.kind == ORACLE_SEAL) {
                uint64_t before = oracle->windows[entry.window].generation;
                entry.generation = found[entry.window].generation;
                if (entry.generation == 0 ? model_has_rows(&oracle->model, entry.window)
                                          : entry.generation < before)
                    problem = "a pending seal took a window away or back";
            }
            entry_write(oracle, oracle->settled, &entry);
        }
        if (!problem && entry.state == ORACLE_ACKNOWLEDGED)
            problem = apply(oracle, &entry);
    }
    return problem;
}

/* What was flushed is in no memtable, and what was sealed is in a sealed run. */
static const char *check_places(const struct oracle *oracle, struct store_shard *shard)
{
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, 0);
    const char *problem = NULL;
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    for (size_t s = 0; s < count; s++)
        for (uint32_t row = 0; row < sources[s].row_count; row++) {
            int64_t offset = store_row_offset(&sources[s], row);
            int64_t window = store_row_event_time_ms(&sources[s], row) / ORACLE_WINDOW_MS;
            if (!store_row_visible(snapshot, &sources[s], row) || sources[s].sealed)
                continue;
            if (sources[s].kind == STORE_SOURCE_MEMTABLE && offset < oracle->flushed_offset)
                problem = "a row that was flushed is in memory";
            if (offset < oracle->windows[window].sealed_offset)
                problem = "a row that was sealed is in no sealed run";
        }
    store_snapshot_release(snapshot);
    return problem;
}

const char *oracle_settle(struct oracle *oracle, struct store_shard *shard)
{
    struct found_window found[ORACLE_WINDOWS];
    int64_t next_offset = store_shard_next_offset(shard);
    const char *problem = store_shard_damage(shard);

    if (!problem)
        problem = find_windows(shard, found);
    if (!problem)
        problem = replay(oracle, next_offset, found);
    if (!problem)
        problem = fixture_check(shard, &oracle->model, 0, 0);
    if (!problem)
        problem = check_places(oracle, shard);
    for (int i = 0; i < ORACLE_WINDOWS && !problem; i++)
        if (found[i].generation != oracle->windows[i].generation) {
            (void)snprintf(complaint, sizeof(complaint),
                           "window %d is of generation %" PRIu64 ", not %" PRIu64, i,
                           found[i].generation, oracle->windows[i].generation);
            problem = complaint;
        }
    return problem;
}
