/* A backup of all shards that are open here. */

#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/logger.h"
#include "base/memory.h"
#include "store/backup.h"
#include "store/lease.h"
#include "store/tools/backup_folder.h"

struct list {
    struct store_backup_shard *shards;
    size_t count, capacity;
    struct arena arena; /* names, which outlive the leases */
};

static const char *keep(struct list *list, const char *name)
{
    const char *kept = memory_checked(arena_copy(&list->arena, name, strlen(name)));
    return kept;
}

static void add(struct list *list, const struct store_backup_shard *done)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->shards = memory_resize(list->shards, list->capacity, sizeof(*list->shards));
    }
    list->shards[list->count] = *done;
    list->shards[list->count].collection = keep(list, done->collection);
    list->shards[list->count].name = keep(list, done->name);
    list->shards[list->count].folder = keep(list, done->folder);
    list->count++;
}

static void append_shard(struct buffer *out, const struct store_backup_shard *done)
{
    buffer_append_text(out, "{\"collection\":");
    doc_write_json_string(out, done->collection, strlen(done->collection));
    buffer_append_text(out, ",\"shard\":");
    doc_write_json_string(out, done->name, strlen(done->name));
    buffer_append_format(out,
                         ",\"next_offset\":%lld,\"files\":%llu,\"bytes\":%llu,"
                         "\"copied_bytes\":%llu}",
                         (long long)done->next_offset, (unsigned long long)done->file_count,
                         (unsigned long long)done->bytes, (unsigned long long)done->copied_bytes);
}

static int back_up_shards(struct store_registry *registry, const char *folder,
                          const atomic_bool *cancelled, struct list *list, struct error *error)
{
    struct store_registry_position position = {0};
    struct store_lease lease;
    int code = 0;

    while (code == 0 && store_registry_acquire_next(registry, &position, &lease)) {
        struct store_backup_shard done = {0};
        if (cancelled && atomic_load(cancelled))
            code = error_set(error, ERROR_CANCELLED, "the backup was cancelled");
        if (code == 0)
            code = store_shard_backup(lease.shard, folder, lease.closing, &done, error);
        if (code == 0)
            add(list, &done);
        store_registry_release(registry, &lease);
    }
    return code;
}

int store_registry_backup(struct store_registry *registry, struct io *io, const char *folder,
                          const char *token, const atomic_bool *cancelled, struct buffer *out,
                          struct error *error)
{
    struct list list = {0};
    int code = store_backup_check(io, folder, token, error);

    arena_create(&list.arena, 0);
    if (code == 0)
        code = back_up_shards(registry, folder, cancelled, &list, error);
    if (code == 0 && list.count == 0)
        code = error_set(error, ERROR_NOT_FOUND, "this process has no open shard");
    if (code == 0)
        code = store_backup_finish(io, folder, list.shards, list.count, error);
    if (code == 0) {
        logger_write_event(LOGGER_INFO, "store", "backup_written", "%zu shards backed up to %s",
                           list.count, folder);
        buffer_append_byte(out, '[');
        for (size_t i = 0; i < list.count; i++) {
            if (i > 0)
                buffer_append_byte(out, ',');
            append_shard(out, &list.shards[i]);
        }
        buffer_append_byte(out, ']');
    }
    free(list.shards);
    arena_destroy(&list.arena);
    return code;
}
