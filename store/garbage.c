#include "store/garbage.h"

#include <stdlib.h>

#include "store/background.h"

void garbage_create(struct garbage *garbage, struct background *background)
{
    *garbage = (struct garbage){.background = background};
    if (pthread_mutex_init(&garbage->lock, NULL) != 0 ||
        pthread_mutex_init(&garbage->collect_lock, NULL) != 0)
        abort();
}

void garbage_destroy(struct garbage *garbage)
{
    pthread_mutex_destroy(&garbage->lock);
    pthread_mutex_destroy(&garbage->collect_lock);
}

void garbage_add(struct garbage *garbage, struct garbage_item *item)
{
    pthread_mutex_lock(&garbage->lock);
    item->next = garbage->items;
    garbage->items = item;
    pthread_mutex_unlock(&garbage->lock);
    background_wake(garbage->background);
}

struct garbage_item *garbage_take(struct garbage *garbage)
{
    struct garbage_item *items;

    pthread_mutex_lock(&garbage->lock);
    items = garbage->items;
    garbage->items = NULL;
    pthread_mutex_unlock(&garbage->lock);
    return items;
}
