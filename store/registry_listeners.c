/* Who hears of shards that come and go, and under which lock: see struct store_registry. */
#include "store/registry.h"
#include "store/registry_internal.h"

void store_registry_listen(struct store_registry *registry,
                           struct store_registry_listener *listener)
{
    pthread_mutex_lock(&registry->listen_lock);
    pthread_mutex_lock(&registry->lock);
    listener->next = registry->listeners;
    registry->listeners = listener;
    pthread_mutex_unlock(&registry->lock);
    pthread_mutex_unlock(&registry->listen_lock);
}

void store_registry_unlisten(struct store_registry *registry,
                             struct store_registry_listener *listener)
{
    struct store_registry_listener **place;

    pthread_mutex_lock(&registry->listen_lock);
    pthread_mutex_lock(&registry->lock);
    for (place = &registry->listeners; *place != listener; place = &(*place)->next)
        ;
    *place = listener->next;
    pthread_mutex_unlock(&registry->lock);
    pthread_mutex_unlock(&registry->listen_lock);
}

void registry_tell_opened(struct store_registry *registry, const struct registry_entry *entry)
{
    pthread_mutex_lock(&registry->listen_lock);
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->opened)
            at->opened(at->context, entry->shard, entry->collection);
    pthread_mutex_unlock(&registry->listen_lock);
}

void registry_tell_leaving(struct store_registry *registry, const struct registry_entry *entry)
{
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->leaving)
            at->leaving(at->context, entry->shard);
}

void registry_tell_closing(struct store_registry *registry, const struct registry_entry *entry)
{
    pthread_mutex_lock(&registry->listen_lock);
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->closing)
            at->closing(at->context, entry->shard);
    pthread_mutex_unlock(&registry->listen_lock);
}

void registry_tell_changed(struct store_registry *registry)
{
    for (struct store_registry_listener *at = registry->listeners; at; at = at->next)
        if (at->changed)
            at->changed(at->context);
}
