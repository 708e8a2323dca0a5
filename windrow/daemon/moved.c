#include "windrow/daemon/moved.h"

#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "cluster/cluster.h"
#include "store/install.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "windrow/daemon/parts.h"

#define LOOK_NS INT64_C(2000000000)

/* A folder whose shard is served elsewhere. */
struct folder {
    struct folder *next;
    const struct config_collection *collection;
    char *name;
    int64_t since_ns; /* it is, without a break that was seen */
    bool seen;        /* in this look */
};

struct moved {
    struct service *service;
    struct folder *folders;
    int64_t looked_ns;
    struct metric *count, *removed;
};

struct moved *moved_new(struct service *service)
{
    struct moved *moved = memory_new(1, sizeof(*moved));

    moved->service = service;
    moved->count = metrics_gauge(service->metrics, "windrow_moved_shards",
                                 "Folders of shards that other nodes serve by now", NULL, 0);
    moved->removed = metrics_counter(service->metrics, "windrow_moved_shards_removed_total",
                                     "Such folders that were removed", NULL, 0);
    return moved;
}

static void drop(struct folder **place)
{
    struct folder *folder = *place;

    *place = folder->next;
    free(folder->name);
    free(folder);
}

void moved_delete(struct moved *moved)
{
    if (!moved)
        return;
    while (moved->folders)
        drop(&moved->folders);
    free(moved);
}

static struct folder **find(struct moved *moved, const struct config_collection *collection,
                            const char *name)
{
    struct folder **place = &moved->folders;

    while (*place && ((*place)->collection != collection || strcmp((*place)->name, name) != 0))
        place = &(*place)->next;
    return place;
}

/* Kept for the next look; removed once it is old enough. */
static void note(struct moved *moved, const struct config_collection *collection, const char *name)
{
    struct service *service = moved->service;
    int64_t keep_ns = service->config->cluster_keep_moved_ms * 1000000;
    int64_t now_ns = io_monotonic_ns(service->io);
    struct folder **place = find(moved, collection, name);
    struct error error = {0};

    if (!*place) {
        *place = memory_new(1, sizeof(**place));
        (*place)->collection = collection;
        (*place)->name = memory_checked(strdup(name));
        (*place)->since_ns = now_ns;
    }
    (*place)->seen = true;
    if (keep_ns == 0 || now_ns - (*place)->since_ns < keep_ns)
        return;
    if (store_registry_remove(service->registry, collection, name, &error) != 0) {
        log_warning("windrow", "%s/%s moved away and cannot be removed: %s", collection->name, name,
                    error.text);
        (*place)->since_ns = now_ns;
        return;
    }
    metric_add(moved->removed, 1);
    log_info("windrow", "%s/%s: removed its folder, another node serves the shard",
             collection->name, name);
    (*place)->seen = false;
}

static bool is_open(struct service *service, const char *collection, const char *name)
{
    struct store_lease lease;
    bool open = store_registry_acquire_shard(service->registry, collection, name, &lease);

    if (open)
        store_registry_release(service->registry, &lease);
    return open;
}

/* Returns how many of the collection's folders are of shards that are not open here. */
static size_t look_at(struct moved *moved, struct cluster *cluster,
                      const struct config_collection *collection, struct arena *arena)
{
    struct service *service = moved->service;
    char name[CONFIG_SHARD_NAME_BYTES];
    const char **folders;
    size_t count, closed = 0;

    if (store_shard_list(service->store, collection->name, arena, &folders, &count,
                         ERROR_IGNORED) != 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (!config_shard_of_folder(collection, folders[i], name) ||
            is_open(service, collection->name, name))
            continue;
        closed++;
        if (cluster_taken_over(cluster, collection->name, name,
                               store_shard_peek(service->store, collection->name, folders[i])))
            note(moved, collection, name);
    }
    return closed;
}

void moved_tick(struct moved *moved)
{
    struct service *service = moved->service;
    struct cluster *cluster = service_cluster(service);
    int64_t now_ns = io_monotonic_ns(service->io);
    struct arena arena;
    size_t count = 0;

    if (!cluster || now_ns - moved->looked_ns < LOOK_NS)
        return;
    moved->looked_ns = now_ns;
    for (struct folder *folder = moved->folders; folder; folder = folder->next)
        folder->seen = false;
    arena_create(&arena, 0);
    for (size_t i = 0; i < service->config->collection_count; i++)
        if (!service->config->collections[i].refused)
            count += look_at(moved, cluster, &service->config->collections[i], &arena);
    arena_destroy(&arena);
    for (struct folder **place = &moved->folders; *place;) {
        if ((*place)->seen)
            place = &(*place)->next;
        else
            drop(place);
    }
    metric_set(moved->count, (double)count);
}
