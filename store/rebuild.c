/* Rebuild: a window anew from the records it was made of.
 *
 *     begin    flush; the window is claimed; S is the flushed offset: the window's files, which are
 *              all replaced, hold rows below S only. Rows that come later go to memtables and
 *              chunks, as ever, and stay
 *     append   records [from, S) go into a shadow shard in a folder of its own. A record of another
 *              window is a delete there: newest wins, in whichever window it lies. So the shadow
 *              ends with the rows of the window that live at S, and needs no mask of the old files,
 *              which may be damaged
 *     write    the shadow's rows merge into a run of the shard
 *     append   records from S on: what they hide in the run is marked
 *     hold     appends wait, a flush makes all that was appended durable: the last records to mark
 *     commit   one edit: run and masks in, old files and damaged ones out
 *
 * A crash before the edit leaves the shadow's folder, which the next opening of the store removes,
 * and files that no edit names. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/compaction_internal.h"
#include "store/files/table_internal.h"
#include "store/install.h"
#include "store/listen.h"
#include "store/operations.h"
#include "store/rebuild.h"
#include "store/store.h"

#define SHADOW_PREFIX "rebuild~"

enum { GROUP_RECORDS = 512 };

struct store_rebuild {
    struct store_shard *shard;
    struct store_shard *shadow; /* NULL once its rows are in the run */
    struct compaction compaction;
    int64_t start_ms, length_ms;
    int64_t given_offset; /* records below were given */
    int64_t needed_offset;
    bool written;
    bool committed;
    bool maybe_committed; /* the device failed: the edit may count */
};

/* The shadow's folder. */

static void shadow_collection(const struct store_shard *shard, char out[NAME_MAX + 1])
{
    /* No collection can have that name. */
    snprintf(out, NAME_MAX + 1, SHADOW_PREFIX "%s", shard->collection);
}

/* Usually there is none; what cannot be removed is tried again. */
static void remove_folder(struct io *io, const char *folder)
{
    char path[PATH_MAX];
    struct buffer names = {0};
    const char *name = NULL;

    if (store_list_names(io, folder, &names, ERROR_IGNORED) == 0) {
        while ((name = store_next_name(&names, name))) {
            snprintf(path, sizeof(path), "%.3000s/%.250s", folder, name);
            (void)io_unlink(io, path, ERROR_IGNORED);
        }
        (void)io_remove_directory(io, folder, ERROR_IGNORED);
    }
    buffer_destroy(&names);
}

/* Under the store's shadow lock: nobody is between making the collection's folder and its own. */
static void remove_shadow(const struct store_shard *shard)
{
    char collection[NAME_MAX + 1];
    char path[PATH_MAX];

    shadow_collection(shard, collection);
    snprintf(path, sizeof(path), "%.3000s/%s/%s", shard->store->collections, collection,
             shard->folder);
    remove_folder(shard->io, path);
    snprintf(path, sizeof(path), "%.3000s/%s", shard->store->collections, collection);
    (void)io_remove_directory(shard->io, path, ERROR_IGNORED); /* another shard may use it */
}

static void remove_shadows_of(struct store *store, const char *parent, const char *collection)
{
    char folder[PATH_MAX];
    char path[PATH_MAX];
    struct buffer names = {0};
    const char *name = NULL;

    snprintf(folder, sizeof(folder), "%.3000s/%.250s", parent, collection);
    if (store_list_names(store->io, folder, &names, ERROR_IGNORED) == 0) {
        while ((name = store_next_name(&names, name))) {
            snprintf(path, sizeof(path), "%.3300s/%.250s", folder, name);
            remove_folder(store->io, path);
        }
        (void)io_remove_directory(store->io, folder, ERROR_IGNORED);
    }
    buffer_destroy(&names);
}

static void remove_shadows_in(struct store *store, const char *parent)
{
    struct buffer names = {0};
    const char *name = NULL;

    if (store_list_names(store->io, parent, &names, ERROR_IGNORED) == 0)
        while ((name = store_next_name(&names, name)))
            if (strncmp(name, SHADOW_PREFIX, strlen(SHADOW_PREFIX)) == 0)
                remove_shadows_of(store, parent, name);
    buffer_destroy(&names);
}

/* Those of an earlier windrow lay beside LOCK. */
void rebuild_remove_shadows(struct store *store)
{
    remove_shadows_in(store, store->collections);
    remove_shadows_in(store, store->data_dir);
}

static int open_shadow(struct store_rebuild *rebuild, struct error *error)
{
    struct store_shard *shard = rebuild->shard;
    char collection[NAME_MAX + 1];
    struct store_shard_options options = {
        .collection = collection,
        .name = shard->name,
        .folder = shard->folder,
        .dim = shard->dim,
        .metric = shard->metric,
        .window_ms = rebuild->length_ms,
        .durability = STORE_DURABILITY_KAFKA, /* nothing of it must outlive a crash */
    };
    int code;

    shadow_collection(shard, collection);
    pthread_mutex_lock(&shard->store->shadow_lock);
    remove_shadow(shard);
    code = store_shard_open(shard->store, &options, &rebuild->shadow, error);
    pthread_mutex_unlock(&shard->store->shadow_lock);
    return code;
}

static void close_shadow(struct store_rebuild *rebuild)
{
    if (!rebuild->shadow)
        return;
    (void)store_shard_close(rebuild->shadow, false, ERROR_IGNORED);
    rebuild->shadow = NULL;
    pthread_mutex_lock(&rebuild->shard->store->shadow_lock);
    remove_shadow(rebuild->shard);
    pthread_mutex_unlock(&rebuild->shard->store->shadow_lock);
}

/* Begin. */

/* What is replaced, and the first offset of it. Under the commit lock. */
static int64_t take_replaced(struct store_rebuild *rebuild)
{
    struct store_shard *shard = rebuild->shard;
    struct compaction *compaction = &rebuild->compaction;
    struct version *version = version_acquire(shard);
    int64_t from_offset = INT64_MAX;
    uint64_t generation = 0;
    size_t first;
    size_t count = version_window(version, rebuild->start_ms, rebuild->length_ms, &first);

    for (size_t i = first; i < first + count; i++) {
        struct sstable *sstable = version->entries[i].sstable;
        compaction_replace(compaction, sstable);
        compaction->like.sealed |= sstable->sealed;
        if (sstable->info.min_offset < from_offset)
            from_offset = sstable->info.min_offset;
    }
    version_unref(version);
    for (size_t i = 0; i < shard->damages.count; i++) {
        const struct damaged_table *damage = &shard->damages.items[i];
        if (!damage_is_of(damage, rebuild->start_ms, rebuild->length_ms))
            continue;
        compaction->like.sealed |= damage->sealed;
        if (damage->generation > generation)
            generation = damage->generation;
        if (damage->min_offset < from_offset)
            from_offset = damage->min_offset;
    }
    pthread_mutex_lock(&shard->windows.lock);
    if (windows_note(&shard->windows, rebuild->start_ms, rebuild->length_ms)->last_generation <
        generation)
        windows_note(&shard->windows, rebuild->start_ms, rebuild->length_ms)->last_generation =
            generation;
    pthread_mutex_unlock(&shard->windows.lock);
    return from_offset;
}

static int begin(struct store_rebuild *rebuild, int64_t *from_offset, int64_t *to_offset,
                 struct error *error)
{
    struct store_shard *shard = rebuild->shard;
    int code = flush_all(shard, error);

    if (code != 0)
        return code;
    pthread_mutex_lock(&shard->commit.lock);
    *from_offset = take_replaced(rebuild);
    *to_offset = shard->commit.flushed_offset;
    pthread_mutex_unlock(&shard->commit.lock);
    if (*from_offset == INT64_MAX)
        return error_set(error, ERROR_NOT_FOUND, "the window does not exist");
    rebuild->given_offset = *from_offset;
    rebuild->needed_offset = *to_offset;
    return open_shadow(rebuild, error);
}

int store_rebuild_begin(struct store_shard *shard, int64_t window_start_ms,
                        int64_t window_length_ms, struct store_rebuild **out, int64_t *from_offset,
                        int64_t *to_offset, struct error *error)
{
    struct store_rebuild *rebuild;
    int code = shard_check_running(shard, error);

    if (code == 0 && window_length_ms <= 0)
        code = error_set(error, ERROR_INVALID, "a collection without windows cannot rebuild one");
    if (code == 0)
        code = window_lock_take(&shard->windows, window_start_ms, window_length_ms, error);
    if (code != 0)
        return code;
    rebuild = memory_new(1, sizeof(*rebuild));
    *rebuild = (struct store_rebuild){
        .shard = shard,
        .start_ms = window_start_ms,
        .length_ms = window_length_ms,
        .compaction = {.shard = shard,
                       .rebuilds = true,
                       .merge = {.shard = shard, .jobs = shard->store->merge_threads},
                       .like = {.description = {.window_start_ms = window_start_ms,
                                                .window_length_ms = window_length_ms}}}};
    code = begin(rebuild, from_offset, to_offset, error);
    if (code != 0) {
        (void)shard_check_stop(shard, code, error);
        store_rebuild_end(rebuild);
        return code;
    }
    *out = rebuild;
    return 0;
}

/* Records. */

static int append_group(struct store_rebuild *rebuild, const struct store_group *group,
                        const atomic_bool *cancel, struct error *error)
{
    int code;

    while ((code = store_shard_append(rebuild->shadow, group, error)) == ERROR_BUSY) {
        /* The flush is what gives room, unless other shards hold the memory. */
        code = store_shard_flush(rebuild->shadow, error);
        if (code == 0)
            code = store_shard_wait_room(rebuild->shadow, INT64_MAX, cancel, error);
        if (code != 0)
            return code;
    }
    if (code == 0)
        code = store_shard_flush_due(rebuild->shadow, error);
    return code;
}

static int append_to_shadow(struct store_rebuild *rebuild, const struct store_record *records,
                            size_t count, int64_t next_offset, const atomic_bool *cancel,
                            struct error *error)
{
    struct store_record changed[GROUP_RECORDS];
    size_t done = 0;
    int code = 0;

    do {
        size_t size = count - done < GROUP_RECORDS ? count - done : GROUP_RECORDS;
        struct store_group group = {.records = changed, .record_count = size};
        /* Records of one offset are one message: a group ends behind it. */
        while (done + size < count && size > 1 &&
               records[done + size - 1].offset == records[done + size].offset)
            size--;
        if (done + size < count && records[done + size - 1].offset == records[done + size].offset)
            return error_set(error, ERROR_INVALID, "the message has too many records");
        for (size_t i = 0; i < size; i++) {
            changed[i] = records[done + i];
            changed[i].expects = false; /* whoever gives it knows that it counted */
            if (!changed[i].is_delete &&
                memtable_window_start(changed[i].event_time_ms, rebuild->length_ms) !=
                    rebuild->start_ms) {
                changed[i].is_delete = true;
                changed[i].vector = NULL;
                changed[i].payload = NULL;
                changed[i].payload_bytes = 0;
                changed[i].has_parts = false;
            }
        }
        done += size;
        group.record_count = size;
        group.next_offset = done < count ? records[done].offset : next_offset;
        code = append_group(rebuild, &group, cancel, error);
    } while (code == 0 && done < count);
    return code;
}

/* A record that came after the run was begun hides the row of its id. */
static void mark(struct store_rebuild *rebuild, const struct store_record *record)
{
    uint64_t hash = table_key_hash(record->key, record->key_bytes);

    for (size_t i = 0; i < rebuild->compaction.outputs.count; i++) {
        struct sstable *sstable = rebuild->compaction.outputs.items[i].sstable;
        uint32_t row;
        if (sstable_find_living(sstable, record->key, record->key_bytes, hash, &row) &&
            sstable->offsets[row] < record->offset)
            sstable_kill(sstable, row, record->offset);
    }
}

int store_rebuild_append(struct store_rebuild *rebuild, const struct store_record *records,
                         size_t count, int64_t next_offset, const atomic_bool *cancel,
                         struct error *error)
{
    int code = 0;

    if (next_offset < rebuild->given_offset)
        return error_set(error, ERROR_INVALID, "offset %lld is out of order",
                         (long long)next_offset);
    if (rebuild->written)
        for (size_t i = 0; i < count; i++)
            mark(rebuild, &records[i]);
    else
        code = append_to_shadow(rebuild, records, count, next_offset, cancel, error);
    if (code == 0)
        rebuild->given_offset = next_offset;
    return code;
}

static int check_given(const struct store_rebuild *rebuild, struct error *error)
{
    return rebuild->given_offset < rebuild->needed_offset
               ? error_set(error, ERROR_INVALID, "records from offset %lld to %lld are missing",
                           (long long)rebuild->given_offset, (long long)rebuild->needed_offset)
               : 0;
}

/* The run. */

int store_rebuild_write(struct store_rebuild *rebuild, int64_t now_ms, const atomic_bool *cancel,
                        int64_t *to_offset, struct error *error)
{
    struct compaction *compaction = &rebuild->compaction;
    struct version *version;
    size_t first;
    size_t count;
    int code = check_given(rebuild, error);

    if (code == 0)
        code = store_shard_flush(rebuild->shadow, error);
    if (code != 0)
        return code;
    version = version_acquire(rebuild->shadow);
    count = version_window(version, rebuild->start_ms, rebuild->length_ms, &first);
    for (size_t i = first; i < first + count; i++)
        compaction_add(compaction, version->entries[i].sstable);
    version_unref(version);
    compaction->merge.now_ms = now_ms;
    compaction->merge.cancel = cancel;
    compaction->merge.dead_below = INT64_MAX; /* whatever died in the shadow */
    if (count > 0)
        code = compaction_merge(compaction, error);
    rebuild->written = code == 0;
    *to_offset = rebuild->needed_offset = store_shard_next_offset(rebuild->shard);
    return code;
}

int store_rebuild_hold(struct store_rebuild *rebuild, int64_t *to_offset, struct error *error)
{
    struct store_shard *shard = rebuild->shard;
    int code = check_given(rebuild, error);

    if (code != 0)
        return code;
    atomic_store(&shard->writer.held, true);
    code = flush_all(shard, error); /* it takes the append lock: no append is under way behind it */
    *to_offset = rebuild->needed_offset = store_shard_next_offset(shard);
    return code;
}

int store_rebuild_commit(struct store_rebuild *rebuild, struct error *error)
{
    struct store_shard *shard = rebuild->shard;
    int code = check_given(rebuild, error);

    if (code == 0 && (!rebuild->written || !atomic_load(&shard->writer.held)))
        code = error_set(error, ERROR_INVALID, "the rebuild is not ready to be swapped in");
    if (code != 0)
        return code;
    code = shard_check_stop(shard, compaction_commit(&rebuild->compaction, error), error);
    rebuild->committed = code == 0;
    rebuild->maybe_committed = code == ERROR_IO;
    return code;
}

void store_rebuild_end(struct store_rebuild *rebuild)
{
    struct store_shard *shard = rebuild->shard;

    atomic_store(&shard->writer.held, false);
    compaction_end(&rebuild->compaction, !rebuild->committed && !rebuild->maybe_committed);
    close_shadow(rebuild);
    window_lock_release(&shard->windows, rebuild->start_ms, rebuild->length_ms);
    events_notify(&shard->store->events);
    garbage_collect(shard);
    shard_windows_changed(shard); /* also when only `held` ended */
    free(rebuild);
}
