#include "windrow/daemon/health.h"

#include <stdio.h>

#include "base/io.h"
#include "cluster/cluster.h"
#include "config/config.h"
#include "ingest/ingest.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/builds.h"
#include "windrow/daemon/drain.h"
#include "windrow/daemon/parts.h"

/* A process without shards has nothing to catch up with. One that is there to ask others has to reach them. */
static bool reaches_readers(struct service *service, char *why, size_t why_bytes)
{
    const struct cluster *cluster = service_cluster(service);

    if ((service->roles & CONFIG_ROLE_QUERY) == 0 || !cluster || cluster_reaches_readers(cluster))
        return true;
    snprintf(why, why_bytes, "%s",
             cluster_connected(cluster) ? "no node that reads Kafka is heard"
                                        : "NATS does not answer; other nodes are not heard");
    return false;
}

bool health_ready(struct service *service, char *why, size_t why_bytes)
{
    struct ingest *ingest = atomic_load(&service->ingest);

    if ((service->roles & CONFIG_ROLE_INGEST) == 0)
        return reaches_readers(service, why, why_bytes);
    if (!ingest) {
        snprintf(why, why_bytes, "starting or stopping");
        return false;
    }
    if (drain_has_begun(service->drain)) {
        snprintf(why, why_bytes, "its shards are handed over to other nodes");
        return false;
    }
    return ingest_ready(ingest, why, why_bytes);
}

static bool recent(struct service *service, int64_t alive_ns)
{
    int64_t age_ns = io_monotonic_ns(service->io) - alive_ns;

    return age_ns < (int64_t)HEALTH_LOOP_TIMEOUT_MS * 1000000;
}

bool health_alive(struct service *service)
{
    struct compaction_scheduler *scheduler = atomic_load(&service->scheduler);

    return recent(service,
                  scheduler ? compaction_scheduler_alive_ns(scheduler) : service->start_ns) &&
           ((service->roles & CONFIG_ROLE_INGEST) == 0 ||
            recent(service, atomic_load(&service->ingest_alive_ns)));
}

bool health_connected(struct service *service, char *why, size_t why_bytes)
{
    const struct builds *builds = service_builds(service);
    struct cluster *cluster = service_cluster(service);
    char trouble[256] = "";
    bool queued = !builds || builds_connected(builds, trouble, sizeof(trouble));
    bool heard = !cluster || cluster_connected(cluster);

    if (!queued || !heard)
        (void)snprintf(why, why_bytes, "NATS does not answer%s%s%s%s", trouble[0] ? ": " : "",
                       trouble, queued ? "" : "; index jobs wait",
                       heard ? "" : "; other nodes are not heard");
    return queued && heard;
}
