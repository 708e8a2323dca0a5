/* Waits for a shard that may not be open here yet, or for a record in it. */
#include "store/events.h"
#include "store/lease.h"
#include "store/listen.h"
#include "store/registry_internal.h"
#include "store/shard.h"

/* Waits for a shard that is not open here cannot sleep on its store_shard_wait_visible. They sleep
 * until some shard was opened, then look again: openings are rare. */
struct opening {
    const struct store_registry *registry;
    uint64_t seen;
};

static bool has_opened(const void *context)
{
    const struct opening *opening = context;

    return atomic_load(&opening->registry->opened) != opening->seen;
}

int store_registry_wait_visible(struct store_registry *registry, const char *collection,
                                const char *name, int64_t offset, bool while_open,
                                int64_t deadline_ns, const atomic_bool *cancel, struct error *error)
{
    struct store *store = registry->options.store;

    for (;;) {
        struct opening opening = {registry, atomic_load(&registry->opened)};
        struct store_lease lease;
        int code;
        if (store_registry_acquire_shard(registry, collection, name, &lease)) {
            code = store_shard_wait_visible(lease.shard, offset, deadline_ns, cancel, error);
            store_registry_release(registry, &lease);
            if (code != ERROR_CANCELLED || (cancel && atomic_load(cancel)))
                return code;
        }
        if (while_open)
            return error_set(error, ERROR_NOT_FOUND, "shard %s is not open here", name);
        /* Not open here, or about to close: it may be opened (again). */
        code = events_wait(&store->events, has_opened, &opening, deadline_ns, cancel, error);
        if (code != 0)
            return code;
    }
}

int store_registry_wait_opened(struct store_registry *registry, int64_t deadline_ns,
                               const atomic_bool *cancel, struct error *error)
{
    const struct opening opening = {registry, atomic_load(&registry->opened)};

    return events_wait(&registry->options.store->events, has_opened, &opening, deadline_ns, cancel,
                       error);
}

void store_registry_wake_waits(struct store_registry *registry)
{
    store_wake_waits(registry->options.store);
}
