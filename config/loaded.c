#include "config/loaded.h"

#include <stdlib.h>

void config_free(struct config *config)
{
    struct loaded_config *loaded = (struct loaded_config *)config;

    if (!loaded)
        return;
    arena_destroy(&loaded->arena);
    free(loaded);
}
