#include "windrow/daemon/drain.h"

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cluster/cluster.h"
#include "net/http/http.h"
#include "store/append.h"
#include "store/lease.h"
#include "store/registry.h"
#include "store/store.h"
#include "windrow/daemon/service.h"

enum { WAIT_MS = 60000, LOOK_NS = 200 * 1000000 };

/* How long a shard that was given back answers although other nodes have more of it: a group settles in less. */
#define AHEAD_NS INT64_C(3000000000)

void drain_create(struct drain *drain)
{
    pthread_mutex_init(&drain->lock, NULL);
    thread_condition_create(&drain->changed);
}

void drain_destroy(struct drain *drain)
{
    pthread_cond_destroy(&drain->changed);
    pthread_mutex_destroy(&drain->lock);
}

static struct cluster *cluster_of(struct service *service)
{
    struct indexer *indexer = atomic_load(&service->indexer);

    return indexer ? indexer_cluster(indexer) : NULL;
}

int drain_begin(struct service *service, struct error *error)
{
    struct ingest *ingest = atomic_load(&service->ingest);
    struct cluster *cluster = cluster_of(service);

    if ((service->roles & CONFIG_ROLE_INGEST) == 0)
        return error_set(error, ERROR_UNSUPPORTED, "This process has no shards to hand over");
    if (!cluster)
        return error_set(error, ERROR_INVALID,
                         "Without cluster.name nobody is known who could take the shards over");
    if (!ingest)
        return error_set(error, ERROR_BUSY, "The service is starting or stopping");
    if (!atomic_load(&service->drain.begun) && cluster_drain(cluster, error) != 0)
        return error->code;
    if (!atomic_exchange(&service->drain.begun, true)) {
        log_info("windrow", "handing all shards over to other nodes");
        ingest_hand_over(ingest);
    }
    return 0;
}

/* A shard whose next owner is behind it stays here, and is asked for meanwhile. So it is with those that Kafka took
 * back or took away without a word (store/registry_kept.c). */
static bool is_taken(struct cluster *cluster, const struct store_registry_position *position,
                     const struct store_lease *lease)
{
    if (store_lease_collection(lease)->removed)
        return true;
    if (!cluster_taken_over(cluster, position->collection, position->name,
                            store_shard_next_offset(lease->shard)))
        return false;
    log_info("windrow", "%s/%s: another node serves it", position->collection, position->name);
    return true;
}

/* Of one that nobody took: in time others have gone on without it, or nobody comes for it. */
static bool is_forsaken(struct service *service, struct cluster *cluster,
                        const struct store_registry_position *position,
                        const struct store_lease *lease)
{
    int64_t now_ns = io_monotonic_ns(service->io);

    if (!lease->behind && now_ns - lease->handed_over_ns > AHEAD_NS &&
        cluster_ahead(cluster, position->collection, position->name,
                      store_shard_next_offset(lease->shard)))
        store_registry_set_behind(service->registry, position->collection, position->name, true);
    if (!store_lease_is_forsaken(lease, now_ns, service->drain.settled_ns))
        return false;
    log_warning("windrow",
                "%s/%s: closed at offset %lld: it was given back, and no node of this replica set "
                "was heard since that has it or will have it. Its folder stays",
                position->collection, position->name,
                (long long)store_shard_next_offset(lease->shard));
    return true;
}

static void look(struct service *service, struct cluster *cluster)
{
    const bool drains = atomic_load(&service->drain.begun);
    struct store_registry_position position = {0};
    struct store_lease lease;
    size_t closed = 0, left = 0;

    while (store_registry_acquire_next(service->registry, &position, &lease)) {
        struct store_shard *shard = lease.shard;
        bool taken = lease.handed_over && is_taken(cluster, &position, &lease);
        bool forsaken = lease.handed_over && !taken && !drains &&
                        is_forsaken(service, cluster, &position, &lease);
        left += lease.handed_over && !taken;
        store_registry_release(service->registry, &lease);
        if (taken || forsaken)
            store_registry_close(service->registry, shard, true);
        closed += taken;
    }
    if (!drains)
        return;
    pthread_mutex_lock(&service->drain.lock);
    if (left == 0 && (!service->drain.left_group || service->drain.left > 0))
        log_info("windrow", "all shards are handed over");
    service->drain.left_group = true;
    service->drain.handed_over += closed;
    service->drain.left = left;
    pthread_cond_broadcast(&service->drain.changed);
    pthread_mutex_unlock(&service->drain.lock);
}

void drain_tick(struct service *service)
{
    struct ingest *ingest = atomic_load(&service->ingest);
    struct cluster *cluster = cluster_of(service);

    if (!ingest || !ingest_settled(ingest))
        service->drain.settled_ns = io_monotonic_ns(service->io);
    if (cluster && ingest && (!atomic_load(&service->drain.begun) || ingest_handed_over(ingest)))
        look(service, cluster);
}

static bool is_done(struct drain *drain)
{
    bool done;

    pthread_mutex_lock(&drain->lock);
    done = drain->left_group && drain->left == 0;
    pthread_mutex_unlock(&drain->lock);
    return done;
}

bool drain_over(struct service *service)
{
    return !atomic_load(&service->drain.begun) || is_done(&service->drain) ||
           cluster_successors(cluster_of(service)) == 0;
}

/* Over HTTP. */

static void wait_for_end(struct service *service, const atomic_bool *cancelled, int64_t timeout_ms)
{
    struct drain *drain = &service->drain;
    int64_t end_ns = io_monotonic_ns(service->io) + timeout_ms * 1000000;

    while (!drain_over(service) && !atomic_load(cancelled) &&
           io_monotonic_ns(service->io) < end_ns) {
        pthread_mutex_lock(&drain->lock);
        (void)thread_condition_wait(&drain->changed, &drain->lock, thread_deadline(LOOK_NS));
        pthread_mutex_unlock(&drain->lock);
    }
}

static struct doc describe_left(struct service *service, struct arena *arena)
{
    struct store_lease *leases;
    size_t count = store_registry_acquire(service->registry, NULL, arena, &leases);
    struct doc *items = doc_items(arena, (uint32_t)count);
    uint32_t left = 0;

    for (size_t i = 0; i < count; i++) {
        struct doc *entry = &items[left];
        if (leases[i].handed_over) {
            *entry = doc_map(arena, 3);
            doc_put(entry, "collection", doc_text(arena, store_shard_collection(leases[i].shard)));
            doc_put(entry, "shard", doc_text(arena, store_shard_name(leases[i].shard)));
            doc_put(entry, "next_offset", doc_integer(store_shard_next_offset(leases[i].shard)));
            left++;
        }
        store_registry_release(service->registry, &leases[i]);
    }
    return (struct doc){.type = DOC_ARRAY, .count = left, .items = items};
}

static void reply(struct service *service, struct http_request *request)
{
    struct doc result = doc_map(&request->arena, 2);

    pthread_mutex_lock(&service->drain.lock);
    doc_put(&result, "handed_over", doc_integer((int64_t)service->drain.handed_over));
    pthread_mutex_unlock(&service->drain.lock);
    doc_put(&result, "left", describe_left(service, &request->arena));
    doc_write_json(&request->reply, &result);
}

void drain_handle(struct http_request *request)
{
    struct service *service = request->context;
    struct error error = {0};
    int64_t timeout_ms = WAIT_MS;
    struct doc body;
    int code = http_request_body(request, &body, &error);

    if (code == 0 && doc_get(&body, "timeout_ms"))
        (void)doc_as_i64(doc_get(&body, "timeout_ms"), &timeout_ms);
    if (code == 0)
        code = drain_begin(service, &error);
    if (code == 0 && !http_request_wait_begin(request))
        code = error_set(&error, ERROR_BUSY, "Too many requests wait");
    if (code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    wait_for_end(service, http_request_cancelled(request), timeout_ms);
    http_reply_begin(request);
    reply(service, request);
    http_request_wait_end(request);
    http_reply_end(request, NULL);
}
