#include "windrow/daemon/window_metrics.h"

#include <string.h>

#include "windrow/daemon/service.h"

static const char *const states[] = {"open", "sealing", "sealed", "indexed"};

enum { STATE_COUNT = sizeof(states) / sizeof(states[0]) };

static void count_shard(struct store_shard *shard, struct arena *arena,
                        unsigned counts[STATE_COUNT])
{
    struct store_shard_info info;

    store_shard_describe(shard, arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        const char *state = store_window_state(&info.windows[i]);
        for (size_t k = 0; k < STATE_COUNT; k++)
            counts[k] += strcmp(states[k], state) == 0;
    }
}

static void count_collection(struct service *service, const struct config_collection *collection)
{
    unsigned counts[STATE_COUNT] = {0};
    struct store_lease *leases;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_acquire(service->registry, collection->name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        count_shard(leases[i].shard, &arena, counts);
        store_registry_release(service->registry, &leases[i]);
    }
    arena_destroy(&arena);
    for (size_t k = 0; k < STATE_COUNT; k++) {
        struct metric_label labels[] = {{"collection", collection->name}, {"state", states[k]}};
        metric_set(
            metrics_gauge(service->metrics, "windrow_windows", "Windows by state", labels, 2),
            counts[k]);
    }
}

static void refresh(void *context)
{
    struct service *service = context;

    for (size_t i = 0; i < service->config->collection_count; i++)
        count_collection(service, &service->config->collections[i]);
}

void window_metrics_register(struct service *service)
{
    metrics_on_render(service->metrics, refresh, service);
}
