#include <stdio.h>

#include "windrow/service.h"

bool service_ready(struct service *service, char *why, size_t why_bytes)
{
    struct ingest *ingest = atomic_load(&service->ingest);

    if ((service->roles & CONFIG_ROLE_INGEST) == 0)
        return true; /* builds for others: nothing to catch up with */
    if (!ingest) {
        snprintf(why, why_bytes, "starting or stopping");
        return false;
    }
    return ingest_ready(ingest, why, why_bytes);
}

static bool recent(struct service *service, _Atomic int64_t *alive_ns)
{
    int64_t age_ns = io_monotonic_ns(service->io) - atomic_load(alive_ns);

    return age_ns < (int64_t)SERVICE_LOOP_TIMEOUT_MS * 1000000;
}

bool service_alive(struct service *service)
{
    return recent(service, &service->flush_alive_ns) &&
           ((service->roles & CONFIG_ROLE_INGEST) == 0 ||
            recent(service, &service->ingest_alive_ns));
}
