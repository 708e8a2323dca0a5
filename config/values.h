/* One value: from a tree node into its field. Private to config/. */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include "config/loaded.h"
#include "config/properties.h"
#include "config/tree.h"

/** Reads `node` into the field of `base` (a struct loaded_config or a struct config_collection) or
 * reports why not, in which case the field stays as it is. `path` names the value in messages. */
bool value_set(struct loaded_config *loaded, const struct property *property,
               const struct tree_node *node, const char *path, void *base, struct report *report);

#endif
