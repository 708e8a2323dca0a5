#include "windrow/daemon/host.h"

#include "windrow/backup.h"
#include "windrow/daemon/status.h"
#include "windrow/on_demand.h"

/* ---- what the indexer asks of the program ---- */

static bool host_ready(void *context, char *why, size_t why_bytes)
{
    return service_ready(context, why, why_bytes);
}

static void host_status(void *context, struct arena *arena, struct doc *out)
{
    status_build(context, arena, out);
}

static bool host_alive(void *context)
{
    return service_alive(context);
}

static int host_write(void *context, const struct config_collection *collection,
                      struct indexer_write *writes, size_t count, struct error *error)
{
    struct service *service = context;

    return writer_write(service->writer, collection, writes, count, error);
}

static int host_compact(void *context, const struct config_collection *collection,
                        const struct indexer_window_choice *choice, struct buffer *out,
                        struct error *error)
{
    return on_demand_compact(context, collection, choice, out, error);
}

static int host_control(void *context, const struct config_collection *collection,
                        const char *shard, enum indexer_control control, struct error *error)
{
    struct service *service = context;
    struct ingest *ingest = atomic_load(&service->ingest);

    if (!ingest)
        return error_set(error, ERROR_BUSY, "the service is starting or stopping");
    switch (control) {
    case INDEXER_CONTROL_SKIP:
        return ingest_resume_stopped(ingest, collection->name, shard, INGEST_RESUME_SKIP, error);
    case INDEXER_CONTROL_REBUILD:
        return ingest_resume_stopped(ingest, collection->name, shard, INGEST_RESUME_REBUILD, error);
    case INDEXER_CONTROL_PAUSE:
    case INDEXER_CONTROL_RESUME:
    default:
        return ingest_pause(ingest, collection->name, control == INDEXER_CONTROL_PAUSE, error);
    }
}

static int host_rebuild(void *context, const struct config_collection *collection,
                        const struct indexer_window_choice *choice, struct buffer *out,
                        struct error *error)
{
    return on_demand_rebuild(context, collection, choice, out, error);
}

static int host_backup(void *context, const char *folder, const char *token,
                       const atomic_bool *cancelled, struct buffer *out, struct error *error)
{
    struct service *service = context;

    return backup_run(service->registry, service->io, folder, token, cancelled, out, error);
}

static bool host_trust_clock(void *context, int64_t *before_ms, int64_t *now_ms)
{
    return clock_watch_trust(context, before_ms, now_ms);
}

struct indexer_host host_for_indexer(struct service *service)
{
    return (struct indexer_host){
        .context = service,
        .ready = host_ready,
        .status = host_status,
        .alive = host_alive,
        .write = host_write,
        .compact = host_compact,
        .rebuild = host_rebuild,
        .backup = host_backup,
        .control = host_control,
        .trust_clock = host_trust_clock,
    };
}

/* ---- what ingest asks of the program ---- */

static int host_shard_open(void *context, const struct config_collection *collection,
                           const char *name, struct store_shard **shard, struct error *error)
{
    struct service *service = context;

    return store_registry_claim(service->registry, collection, name, shard, error);
}

static void host_shard_close(void *context, struct store_shard *shard, bool flush)
{
    struct service *service = context;

    store_registry_close(service->registry, shard, flush);
}

static void host_shard_keep(void *context, struct store_shard *shard)
{
    struct service *service = context;

    store_registry_unclaim(service->registry, shard);
    atomic_store(&service->unclaimed_closed, false);
}

static int host_shard_discard(void *context, struct store_shard *shard, struct error *error)
{
    struct service *service = context;

    return store_registry_discard(service->registry, shard, error);
}

static bool host_id_elsewhere(void *context, const struct config_collection *collection,
                              const struct store_shard *own, const uint8_t *key, size_t key_bytes,
                              char *name, size_t name_bytes)
{
    struct service *service = context;

    return store_registry_find_elsewhere(service->registry, collection, own, key, key_bytes,
                                         io_wall_ms(service->io), name, name_bytes);
}

static void host_ingest_alive(void *context)
{
    struct service *service = context;

    atomic_store(&service->ingest_alive_ns, io_monotonic_ns(service->io));
}

struct ingest_host host_for_ingest(struct service *service)
{
    return (struct ingest_host){
        .context = service,
        .shard_open = host_shard_open,
        .shard_close = host_shard_close,
        .shard_keep = host_shard_keep,
        .shard_discard = host_shard_discard,
        .id_elsewhere = host_id_elsewhere,
        .alive = host_ingest_alive,
    };
}
