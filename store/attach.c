/* Attaching an index segment to a run or chunk: one edit, then one version. A search holds either
 * the version without it or the one with it. A file's number is never given to another file, so
 * that a segment built for it can only ever meet the rows that it was built over. */
#include <stdio.h>
#include <string.h>

#include "store/attach.h"
#include "store/files/manifest_format.h"
#include "store/files/table_map.h"
#include "store/operations.h"

/* Publishes a version in which the sstable has this attachment (or none). `drop_former`: its file
 * goes with its last reader. Under the commit lock. */
static void publish_attachment(struct store_shard *shard, uint64_t sstable_number,
                               struct attachment *attachment, bool drop_former)
{
    struct version *next;
    struct version_entry *entry;

    shard_publish_lock(shard);
    next = version_copy(atomic_load(&shard->versions.current));
    entry = version_find(next, sstable_number);
    if (entry->attachment && drop_former)
        atomic_store(&entry->attachment->dropped, true);
    attachment_unref(entry->attachment);
    entry->attachment = attachment;
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->writer.lock);
}

int segment_read_checksum(struct store_shard *shard, struct store_segment_info *info,
                          struct error *error)
{
    struct table_map map = {0};
    int code =
        table_map_open(shard->io, shard->directory, info->file_number, "segment", 1, &map, error);

    if (code != 0)
        return code;
    if (map.size_bytes != info->bytes)
        code = error_set(error, ERROR_INVALID, "%s: has %llu bytes, expected %llu", map.path,
                         (unsigned long long)map.size_bytes, (unsigned long long)info->bytes);
    info->checksum = manifest_segment_checksum(map.bytes, map.size_bytes, info->file_number);
    table_map_close(shard->io, &map);
    return code;
}

/* Edit and version for a segment of a run; `attachment` NULL takes it away. */
static int change_segment(struct store_shard *shard, uint64_t sstable_number,
                          const struct store_segment_info *info, struct attachment *attachment,
                          struct error *error)
{
    struct manifest_edit edit = {0};
    int code;

    manifest_edit_segment(&edit, sstable_number, info);
    code = manifest_commit(shard->manifest, &edit, error);
    if (code == 0)
        publish_attachment(shard, sstable_number, attachment, true);
    manifest_edit_destroy(&edit);
    return code;
}

static int no_such_file(struct error *error, uint64_t file_number)
{
    return error_set(error, ERROR_NOT_FOUND, "file %llu is no longer part of the shard",
                     (unsigned long long)file_number);
}

/* Ends a change: gives the version and the commit lock back. */
static int finish(struct store_shard *shard, struct version *version, int code, const char *verb,
                  struct error *error)
{
    version_unref(version);
    pthread_mutex_unlock(&shard->commit.lock);
    garbage_collect_behind(shard);
    if (code == 0)
        shard_windows_changed(shard);
    else
        error_wrap(error, "%s/%s: %s segment", shard->collection, shard->name, verb);
    return code;
}

int store_shard_attach(struct store_shard *shard, uint64_t file_number,
                       const struct store_segment *segment, struct error *error)
{
    struct store_segment known = *segment;
    struct attachment *attachment;
    struct version *version;
    int code;

    garbage_collect_behind(shard);
    code = segment_read_checksum(shard, &known.info, error);
    pthread_mutex_lock(&shard->commit.lock);
    if (code == 0)
        code = shard_check_running(shard, error);
    version = version_acquire(shard);
    if (code == 0 && !version_find(version, file_number))
        code = no_such_file(error, file_number);
    if (code == 0) {
        attachment = attachment_new(&shard->garbage, &known, NULL);
        code = change_segment(shard, file_number, &known.info, attachment, error);
        if (code == 0) {
            windows_pending_done(&shard->windows, known.info.file_number);
        } else {
            attachment->segment.object = NULL; /* stays the caller's */
            attachment_delete(attachment);
        }
        (void)shard_check_stop(shard, code, error);
    }
    return finish(shard, version, code, "attach", error);
}

int store_shard_load_segment(struct store_shard *shard, uint64_t file_number, void *object,
                             void (*release)(void *object), struct error *error)
{
    const struct store_segment_info none = {.recall = -1};
    struct store_segment segment = {.object = object, .release = release};
    struct version_entry *entry;
    struct version *version;
    int code = 0;

    pthread_mutex_lock(&shard->commit.lock);
    version = version_acquire(shard);
    entry = version_find(version, file_number);
    if (!entry || !entry->attachment) {
        code = no_such_file(error, file_number);
    } else if (object) {
        segment.info = entry->attachment->segment.info;
        publish_attachment(shard, file_number, attachment_new(&shard->garbage, &segment, NULL),
                           false);
    } else {
        code = shard_check_running(shard, error);
        if (code == 0)
            code = change_segment(shard, file_number, &none, NULL, error);
        (void)shard_check_stop(shard, code, error);
    }
    return finish(shard, version, code, "load", error);
}

void store_shard_reserve_segment(struct store_shard *shard, uint64_t *file_number, char *path,
                                 size_t path_bytes)
{
    struct error error;
    int code = windows_pending_reserve(&shard->windows, shard->manifest, file_number, &error);

    /* The shard has stopped then: the attach will say so. The number collides with nothing. */
    if (code != 0) {
        (void)shard_check_stop(shard, code, &error);
        *file_number = UINT64_MAX;
    }
    table_path(shard->directory, *file_number, "segment.tmp", path, path_bytes);
}
